--
-- sync_maintenance: a row about which somebody may still decide can come back from its last image
--
SET client_min_messages = warning;
CREATE FUNCTION dev(d text) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$ SELECT ('00000000-0000-0000-0000-00000000000' || d)::uuid $$;
SELECT count(sync_register_device(dev(d))) AS devices FROM unnest('{a,b}'::text[]) AS d;
CREATE TABLE note (id int PRIMARY KEY, v text, w text);
SELECT sync_enable_table('note');
INSERT INTO note SELECT g, 'v', 'w' FROM generate_series(1, 3) AS g;
SELECT delta_to(sync_changes_since(dev('a'), '{}'))::text AS seen \gset
DELETE FROM note;
-- a change of two of the rows loses
SELECT status, superseded, conflicts FROM sync_apply_delta(format('{"format": 1, "replica": "%s", "context": %s, "changes": [%s, %s]}', dev('a'), :'seen',
    '{"seq": 1, "hlc": "2026-01-01T10:00:00.000Z/0", "table": "note", "key": {"id": 1}, "set": {"v": "a"}}',
    '{"seq": 2, "hlc": "2026-01-01T10:00:00.000Z/0", "table": "note", "key": {"id": 2}, "set": {"v": "a"}}')::delta);
-- all have seen it
CREATE FUNCTION everybody_has_seen_it() RETURNS bigint LANGUAGE sql AS
$$ SELECT count(*) FROM unnest('{a,b}'::text[]) AS d, sync_ack(dev(d), delta_to(sync_changes_since(dev(d), '{}'))) $$;
CREATE FUNCTION clean_up() RETURNS TABLE (removed bigint) LANGUAGE sql AS $$ SELECT m.removed FROM sync_maintenance() m WHERE m.task = 'tombstones' $$;
SELECT everybody_has_seen_it();
SELECT * FROM clean_up();
SELECT * FROM clean_up();
SELECT count(*) FROM offline_sync.tombstone;
SELECT sync_resolve_conflict(conflict, 'incoming') FROM sync_conflicts WHERE key ->> 'id' = '1';
SELECT id, v, w FROM note;
-- what was decided is not waited for
SELECT sync_resolve_conflict(conflict, 'current') FROM sync_conflicts WHERE key ->> 'id' = '2';
SELECT everybody_has_seen_it();
SELECT * FROM clean_up();
SELECT count(*) FROM offline_sync.tombstone;
