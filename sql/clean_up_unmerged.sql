--
-- sync_maintenance: what a device pushed before it acknowledged a deletion, and what is merged only
-- afterwards, meets the tombstone as it would have done at once
--
SET client_min_messages = warning;
CREATE FUNCTION dev(d text) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$ SELECT ('00000000-0000-0000-0000-00000000000' || d)::uuid $$;
SELECT count(sync_register_device(dev(d))) AS devices FROM unnest('{a,b,c}'::text[]) AS d;
CREATE TABLE team (id int PRIMARY KEY);
CREATE TABLE note (id int PRIMARY KEY, team int REFERENCES team, title text);
SELECT sync_enable_table('team');
SELECT sync_enable_table('note', options => '{"on_delete": "update_wins"}');
INSERT INTO note SELECT g, NULL, 'old' FROM generate_series(1, 4) AS g;
SELECT delta_to(sync_changes_since(dev('a'), '{}'))::text AS seen \gset
CREATE FUNCTION everybody_has_seen_it() RETURNS bigint LANGUAGE sql AS
$$ SELECT count(*) FROM sync_devices AS d, sync_ack(device, delta_to(sync_changes_since(device, '{}'))) WHERE d.status <> 'revoked' $$;
-- all that may go
CREATE PROCEDURE clean_up() LANGUAGE plpgsql AS $$
BEGIN
    FOR i IN 1 .. 3 LOOP
        PERFORM everybody_has_seen_it();
        COMMIT;
        PERFORM sync_maintenance();
        COMMIT;
    END LOOP;
END $$;
CREATE VIEW tombstones AS SELECT offline_sync.row_key_json(table_id, key) AS key FROM offline_sync.tombstone ORDER BY 1;

-- One change waits for the row that it refers to, two are in the queue.
SELECT status, deferred FROM sync_apply_delta(format('{"format": 1, "replica": "%s", "context": %s, "changes": [%s]}', dev('a'), :'seen',
    '{"seq": 1, "hlc": "2026-01-01T10:00:00.000Z/0", "table": "note", "key": {"id": 1}, "set": {"team": 7, "title": "waited"}}')::delta);
SELECT sync_submit_delta(format('{"format": 1, "replica": "%s", "context": %s, "changes": [%s]}', dev(d), :'seen', format(
    '{"seq": 1, "hlc": "2026-01-01T10:00:00.000Z/0", "table": "note", "key": {"id": %s}, "set": {"title": "queued"}}', id))::delta) IS NOT NULL AS is_submitted
FROM (VALUES ('b', 2), ('c', 3)) AS x(d, id);
DELETE FROM note;
CALL clean_up();
SELECT * FROM tombstones;

-- A device that may not push it any more is not waited for, nor a queue that is empty.
SELECT sync_revoke_device(dev('c'));
SELECT * FROM sync_process_queue();
SELECT id, title FROM note ORDER BY id;
CALL clean_up();
SELECT * FROM tombstones;
INSERT INTO team VALUES (7);
SELECT id, title FROM note ORDER BY id;
SELECT right(device::text, 1) AS device, seq, outcome, reason FROM sync_audit ORDER BY device, seq;
CALL clean_up();
SELECT * FROM tombstones;

-- A queued delta from after its device had seen the deletion is not waited for.
INSERT INTO note VALUES (5, NULL, 'old');
DELETE FROM note WHERE id = 5;
SELECT sync_submit_delta(format('{"format": 1, "replica": "%s", "context": %s, "changes": [%s]}', dev('a'),
    delta_to(sync_changes_since(dev('a'), '{}'))::text,
    '{"seq": 2, "hlc": "2026-01-01T10:00:00.000Z/0", "table": "note", "key": {"id": 9}, "insert": {"title": "queued"}}')::delta) IS NOT NULL AS is_submitted;
CALL clean_up();
SELECT * FROM tombstones;
SELECT processed FROM sync_process_queue();
