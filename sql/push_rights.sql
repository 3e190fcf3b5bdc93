--
-- A push writes nothing that its caller could not write by SQL, and nobody else's
-- table takes the place of one that was dropped
--
SET client_min_messages = warning;
CREATE TABLE note (id int PRIMARY KEY, owner name DEFAULT current_user, body text);
ALTER TABLE note ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON note USING (owner = current_user);
CREATE ROLE regress_sync_ann;
CREATE ROLE regress_sync_bob;
CREATE ROLE regress_sync_cid;
GRANT SELECT, INSERT, UPDATE, DELETE ON note TO regress_sync_ann, regress_sync_cid;
GRANT SELECT ON note TO regress_sync_bob;
SELECT sync_enable_table('note', policies => '{"body": "manual"}');
INSERT INTO note VALUES (1, 'regress_sync_ann', 'ann''s');
SELECT sync_register_device('00000000-0000-0000-0000-00000000000a', owner => 'regress_sync_ann') IS NOT NULL AS a;
SELECT sync_register_device('00000000-0000-0000-0000-00000000000b', owner => 'regress_sync_bob') IS NOT NULL AS b;

CREATE FUNCTION push(device char, first_seq int, context text, VARIADIC changes text[])
RETURNS TABLE (status text, outcomes text) LANGUAGE sql AS $$
SELECT r.status, (SELECT string_agg(concat_ws(' ', o ->> 'seq', o ->> 'outcome', o ->> 'reason', o ->> 'sqlstate'), '; ')
    FROM jsonb_array_elements(r.outcomes) AS o)
FROM sync_apply_delta(format('{"format": 1, "replica": "00000000-0000-0000-0000-00000000000%s", "context": %s, "changes": [%s]}',
    device, context,
    (SELECT string_agg(format('{"seq": %s, "hlc": "2026-01-01T10:00:00.000Z/0", "table": "note", %s}', first_seq + n - 1, c), ', ' ORDER BY n)
     FROM unnest(changes) WITH ORDINALITY AS u(c, n)))::delta) AS r
$$;

-- A row that bob cannot see: made and deleted in one delta it would leave a delete
SET ROLE regress_sync_bob;
SELECT * FROM push('b', 1, '{}', '"key": {"id": 1}, "insert": {"body": "bob''s"}', '"key": {"id": 1}, "delete": true');
RESET ROLE;
GRANT INSERT ON note TO regress_sync_bob;
SET ROLE regress_sync_bob;
SELECT * FROM push('b', 3, '{}', '"key": {"id": 1}, "insert": {"body": "bob''s"}', '"key": {"id": 1}, "delete": true');
RESET ROLE;
SELECT count(*) AS tombstones FROM offline_sync.tombstone;
-- ... and a row that is gone takes no delete of his
INSERT INTO note VALUES (2, 'regress_sync_bob', 'x');
DELETE FROM note WHERE id = 2;
SET ROLE regress_sync_bob;
SELECT * FROM push('b', 5, '{}', '"key": {"id": 2}, "delete": true');
RESET ROLE;

-- A conflict about a row that one cannot see is not one's own to close
SET ROLE regress_sync_ann;
SELECT * FROM push('a', 1, '{}', '"key": {"id": 1}, "set": {"body": "later"}');
SELECT conflict FROM sync_conflicts WHERE state = 'open' \gset
SET ROLE regress_sync_cid;
SELECT sync_resolve_conflict(:'conflict', 'current');
SET ROLE regress_sync_ann;
SELECT sync_resolve_conflict(:'conflict', 'current');
RESET ROLE;

-- A push in a push
CREATE FUNCTION push_again() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM push('a', 2, '{}', '"key": {"id": 3}, "delete": true');
    RETURN new;
END $$;
CREATE TRIGGER again BEFORE INSERT ON note FOR EACH ROW EXECUTE FUNCTION push_again();
SELECT * FROM push('a', 2, '{}', '"key": {"id": 3}, "insert": {"body": "x"}');
DROP TRIGGER again ON note;

-- What another device wrote in the same transaction, one has not seen
CREATE TABLE memo (id int PRIMARY KEY, body text);
SELECT sync_enable_table('memo', options => '{"name": "memo"}');
INSERT INTO memo VALUES (1, 'x');
SELECT sync_register_device('00000000-0000-0000-0000-00000000000c') IS NOT NULL AS c;
SELECT sync_register_device('00000000-0000-0000-0000-00000000000d') IS NOT NULL AS d;
SELECT format('{"%s": %s}', sync_node(), pg_snapshot_xmax(pg_current_snapshot())::text::bigint - 1) AS seen,
       format('{"%s": %s, "00000000-0000-0000-0000-00000000000d": 1}', sync_node(), pg_snapshot_xmax(pg_current_snapshot())::text::bigint - 1) AS seen_own \gset
BEGIN;
SELECT status FROM sync_apply_delta(('{"format": 1, "replica": "00000000-0000-0000-0000-00000000000c", "context": ' || :'seen' ||
    ', "changes": [{"seq": 1, "hlc": "2026-02-01T10:00:00.000Z/0", "table": "memo", "key": {"id": 1}, "set": {"body": "c"}}]}')::delta);
SELECT status FROM sync_apply_delta(('{"format": 1, "replica": "00000000-0000-0000-0000-00000000000d", "context": ' || :'seen' ||
    ', "changes": [{"seq": 1, "hlc": "2026-01-01T10:00:00.000Z/0", "table": "memo", "key": {"id": 2}, "insert": {"body": "d"}}]}')::delta);
COMMIT;
SELECT status, superseded, conflicts FROM sync_apply_delta(('{"format": 1, "replica": "00000000-0000-0000-0000-00000000000d", "context": ' || :'seen_own' ||
    ', "changes": [{"seq": 2, "hlc": "2026-01-01T10:01:00.000Z/0", "table": "memo", "key": {"id": 1}, "set": {"body": "d"}}]}')::delta);
SELECT id, body FROM memo ORDER BY id;

-- Somebody's table with a trigger for the memos
SELECT table_id FROM offline_sync.tracked_table WHERE table_name = 'memo' \gset
CREATE TABLE other (id int PRIMARY KEY, body text, _sync row_clock);
CREATE TRIGGER "~offline_sync_capture" BEFORE INSERT OR UPDATE OR DELETE ON other
    FOR EACH ROW EXECUTE FUNCTION sync_capture(:'table_id');
DROP TABLE memo;
SELECT table_name, relation FROM sync_tables ORDER BY 1;

DROP OWNED BY regress_sync_ann, regress_sync_bob, regress_sync_cid;
DROP ROLE regress_sync_ann, regress_sync_bob, regress_sync_cid;
