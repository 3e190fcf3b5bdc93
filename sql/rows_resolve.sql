--
-- Conflicts about whole rows, decided by a person; the status of a row and of a device
--
SET client_min_messages = warning;
CREATE FUNCTION dev(d text) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$ SELECT ('00000000-0000-0000-0000-00000000000' || d)::uuid $$;
SELECT count(sync_register_device(dev(d))) AS devices FROM unnest('{a,b}'::text[]) AS d;
CREATE FUNCTION push(d text, context text, VARIADIC changes text[]) RETURNS TABLE (status text, counts text, conflicts int) LANGUAGE sql VOLATILE AS $$
SELECT r.status, format('%s/%s/%s/%s', r.applied, r.merged, r.superseded, r.rejected), r.conflicts
FROM sync_hello(dev(d)) AS h, sync_apply_delta(format('{"format": 1, "replica": "%s", "context": %s, "changes": [%s]}', dev(d), context,
    (SELECT string_agg(format('{"seq": %s, "hlc": "2026-01-01T10:%s:00.000Z/0", %s}', h.acked_seq + n, left(c, 2), substr(c, 4)), ', ' ORDER BY n)
     FROM unnest(changes) WITH ORDINALITY AS u (c, n)))::delta) AS r
$$;
CREATE FUNCTION seen(d text) RETURNS text LANGUAGE sql VOLATILE AS $$ SELECT delta_to(sync_changes_since(dev(d), '{}'))::text $$;
-- the conflict about a row, by its id (the last one, where there are several)
CREATE FUNCTION conflict(row_id text) RETURNS uuid LANGUAGE sql STABLE AS
$$ SELECT c.conflict FROM sync_conflicts AS c WHERE c.key ->> 'id' = row_id AND c.column_name IS NULL ORDER BY c.seq DESC LIMIT 1 $$;
CREATE VIEW shown AS SELECT c.key ->> 'id' AS id, c.seq, c.incoming_value, c.policy, c.decision, c.state, c.resolved_by FROM sync_conflicts AS c ORDER BY 1, 2;

CREATE TABLE note (id int PRIMARY KEY, owner text DEFAULT 'sql', v text, w text, n numeric(9,2), tags orset, j jsonb, doubled numeric GENERATED ALWAYS AS (n * 2) STORED);
SELECT sync_enable_table('note', policies => '{"n": "counter"}');
INSERT INTO note SELECT g, 'sql', 'v', 'w', 10, '{"x", "y"}', '{"a": 1}' FROM generate_series(1, 9) AS g;
SELECT seen('a') AS seen \gset
-- all rows are deleted, while b changes them; b loses, and deletes nothing of it
SELECT * FROM push('a', :'seen', '01 "table": "note", "key": {"id": 1}, "delete": true', '01 "table": "note", "key": {"id": 2}, "delete": true', '01 "table": "note", "key": {"id": 3}, "delete": true',
    '01 "table": "note", "key": {"id": 4}, "delete": true', '01 "table": "note", "key": {"id": 5}, "delete": true');
SELECT * FROM push('b', :'seen', '02 "table": "note", "key": {"id": 1}, "set": {"v": "b", "j": {"$json": null}}, "increment": {"n": "1.50"}, "add": {"tags": ["z"]}, "remove": {"tags": ["x"]}',
    '02 "table": "note", "key": {"id": 2}, "set": {"tags": ["p"], "w": null}', '02 "table": "note", "key": {"id": 3}, "set": {"v": "b"}', '02 "table": "note", "key": {"id": 4}, "set": {"v": "b"}', '02 "table": "note", "key": {"id": 5}, "insert": {"v": "b"}');
TABLE shown;
-- what came in: the row is back from its last image, with what the change did; once
SELECT sync_resolve_conflict(conflict('1'), 'incoming');
SELECT sync_resolve_conflict(conflict('1'), 'incoming');
SELECT sync_resolve_conflict(conflict('2'), 'incoming');
SELECT id, owner, v, w, n, tags::text[], j, doubled FROM note WHERE id IN (1, 2) ORDER BY id;
-- a value: the row with these and nothing else; a column that is not there, or not to be written
SELECT sync_resolve_conflict(conflict('3'), 'value', '{"v": "person", "n": 3, "tags": ["q"], "w": null}');
SELECT sync_resolve_conflict(conflict('4'), 'value', '{"nowhere": 1}');
SELECT sync_resolve_conflict(conflict('4'), 'value', '{"id": 1}');
SELECT sync_resolve_conflict(conflict('4'), 'value', '{"doubled": 1}');
SELECT sync_resolve_conflict(conflict('4'), 'value', '"v"');
SELECT sync_resolve_conflict(conflict('4'), 'value', '{"n": "many"}');
SELECT sync_resolve_conflict(conflict('4'), 'current');
SELECT sync_resolve_conflict(conflict('5'), 'value', '{}');
SELECT id, owner, v, w, n, tags::text[], j, doubled FROM note WHERE id IN (3, 4, 5) ORDER BY id;
-- it flows to all devices
SELECT c.key ->> 'id' AS id, c.kind, c.changes - 'scope' AS changes FROM delta_changes(sync_changes_since(dev('a'), :'seen')) AS c ORDER BY 1;
SELECT id, state, resolved_by = current_user AS by_me FROM shown ORDER BY 1;
DROP TABLE note;

-- A row that lives: strong, and deletes that lost
CREATE TABLE firm (id int PRIMARY KEY, v text, n int);
SELECT sync_enable_table('firm', policies => '{"n": "counter"}', options => '{"consistency": "strong"}');
CREATE TABLE lasting (id int PRIMARY KEY, v text);
SELECT sync_enable_table('lasting', options => '{"on_delete": "update_wins"}');
INSERT INTO firm SELECT g, 'v', 1 FROM generate_series(11, 15) AS g;
INSERT INTO lasting SELECT g, 'v' FROM generate_series(21, 22) AS g;
SELECT seen('a') AS seen \gset
UPDATE firm SET v = 'sql', n = 2;
UPDATE lasting SET v = 'sql';
SELECT * FROM push('b', :'seen', '03 "table": "firm", "key": {"id": 11}, "set": {"v": "b"}, "increment": {"n": 5}', '03 "table": "firm", "key": {"id": 12}, "delete": true', '03 "table": "firm", "key": {"id": 13}, "set": {"v": "b"}',
    '03 "table": "firm", "key": {"id": 14}, "insert": {"v": "b", "n": 7}', '03 "table": "lasting", "key": {"id": 21}, "delete": true', '03 "table": "lasting", "key": {"id": 22}, "delete": true');
-- open ones are the status of the row, and of the device that met them
SELECT id, sync_row_status('firm', jsonb_build_object('id', id)) FROM firm UNION ALL SELECT 21, sync_row_status('lasting', '{"id": 21}') ORDER BY 1;
SELECT right(device::text, 1) AS device, status, open_conflicts FROM sync_devices ORDER BY 1;
SELECT sync_resolve_conflict(conflict('11'), 'incoming'), sync_resolve_conflict(conflict('12'), 'incoming'), sync_resolve_conflict(conflict('13'), 'value', '{"v": "person"}'),
       sync_resolve_conflict(conflict('14'), 'incoming'), sync_resolve_conflict(conflict('21'), 'incoming'), sync_resolve_conflict(conflict('22'), 'current');
SELECT id, v, n, sync_row_status('firm', jsonb_build_object('id', id)) FROM firm UNION ALL SELECT id, v, NULL, sync_row_status('lasting', jsonb_build_object('id', id)) FROM lasting ORDER BY 1;
SELECT sync_ack(dev(d), seen(d)::version_vector) FROM unnest('{a,b}'::text[]) AS d;
SELECT right(device::text, 1) AS device, status, open_conflicts FROM sync_devices ORDER BY 1;
-- one conflict is closed, not the others about the same row
SELECT * FROM push('b', :'seen', '04 "table": "firm", "key": {"id": 15}, "set": {"v": "b"}', '04 "table": "firm", "key": {"id": 15}, "delete": true');
SELECT sync_resolve_conflict(conflict('15'), 'current');
SELECT id, incoming_value, state FROM shown WHERE id = '15';
SELECT sync_row_status('firm', '{"id": 15}'), sync_row_status('firm', '{"id": 12}') AS gone, sync_row_status('firm', '{"id": "15"}') AS by_text;
SELECT sync_row_status('firm', '{"id": null}');
SELECT sync_row_status('firm', '{"key": 1}');
SELECT sync_row_status('firm', '[1]');
SELECT sync_row_status('firm', '{"id": "x"}');
SELECT sync_row_status('pg_class', '{"oid": 1}');

-- Who sees a conflict, but may not write the row, cannot resolve it
CREATE ROLE regress_reader;
CREATE ROLE regress_updater;
CREATE ROLE regress_stranger;
GRANT SELECT ON firm TO regress_reader, regress_updater;
GRANT UPDATE ON firm TO regress_updater;
SELECT * FROM push('b', :'seen', '05 "table": "firm", "key": {"id": 15}, "delete": true');
SELECT conflict('15') AS id \gset
\set VERBOSITY sqlstate
SET ROLE regress_reader;
SELECT sync_row_status('firm', '{"id": 15}');
SELECT sync_resolve_conflict(:'id', 'current');
SELECT sync_resolve_conflict(:'id', 'incoming');
SELECT sync_resolve_conflict(:'id', 'value', '{"v": "mine"}');
SET ROLE regress_stranger;
SELECT sync_row_status('firm', '{"id": 15}');
SELECT sync_resolve_conflict(:'id', 'current');
SET ROLE regress_updater;
SELECT sync_resolve_conflict(:'id', 'incoming');        -- may not delete
-- by row security: seen, but not to be written; not even seen
RESET ROLE;
ALTER TABLE firm ENABLE ROW LEVEL SECURITY;
CREATE POLICY seen ON firm FOR SELECT TO regress_updater USING (id = 15);
SET ROLE regress_updater;
SELECT sync_row_status('firm', '{"id": 15}') AS seen, sync_row_status('firm', '{"id": 11}') AS hidden;
SELECT sync_resolve_conflict(:'id', 'current');
SELECT sync_resolve_conflict(:'id', 'incoming');
SELECT sync_resolve_conflict(:'id', 'value', '{"v": "mine"}');
RESET ROLE;
-- a row that is gone does not come back through who may not insert it, nor into where he may not
CREATE POLICY written ON firm FOR UPDATE TO regress_updater USING (true) WITH CHECK (v = 'mine');
GRANT INSERT, DELETE ON firm TO regress_updater;
DELETE FROM firm WHERE id = 15;
SELECT * FROM push('b', :'seen', '06 "table": "firm", "key": {"id": 15}, "set": {"v": "mine"}');
SELECT conflict('15') AS id \gset
SET ROLE regress_updater;
SELECT sync_resolve_conflict(:'id', 'incoming');
SELECT sync_resolve_conflict(:'id', 'value', '{"v": "mine"}');
RESET ROLE;
CREATE POLICY made ON firm FOR INSERT TO regress_updater WITH CHECK (v = 'mine');
SET ROLE regress_updater;
SELECT sync_resolve_conflict(:'id', 'value', '{"v": "yours"}');
SELECT sync_resolve_conflict(:'id', 'incoming');
SELECT sync_resolve_conflict(:'id', 'incoming');
RESET ROLE;
SELECT * FROM firm WHERE id = 15 AND _sync IS NOT NULL \gset kept_
SELECT :'kept_v' AS v, :'kept_n' AS n;
\set VERBOSITY default
-- a change that waits for the row that it refers to
ALTER TABLE lasting ADD parent int REFERENCES lasting;
SELECT * FROM push('b', :'seen', '07 "table": "lasting", "key": {"id": 22}, "set": {"parent": 99}');
SELECT sync_row_status('lasting', '{"id": 22}');
INSERT INTO lasting VALUES (99, 'parent');
SELECT r.status FROM sync_hello(dev('a')) AS h, sync_apply_delta(format('{"format": 1, "replica": "%s", "changes": [{"seq": %s, "hlc": "2026-01-01T10:08:00.000Z/0", "table": "lasting", "key": {"id": 99}, "set": {"v": "x"}}]}', dev('a'), h.acked_seq + 1)::delta) AS r;
SELECT parent, sync_row_status('lasting', '{"id": 22}') FROM lasting WHERE id = 22;
DROP TABLE firm, lasting;
DELETE FROM offline_sync.device;
DROP ROLE regress_reader, regress_updater, regress_stranger;
