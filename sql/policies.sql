--
-- Column policies: what three concurrent writes of one cell leave, in every order of arrival
--
SET client_min_messages = warning;
SELECT sync_register_device(('00000000-0000-0000-0000-00000000000' || d)::uuid, label => d) IS NOT NULL AS registered
FROM unnest('{a,b,c}'::text[]) AS d;
SET test.step = 1;
CREATE TABLE result (policy text, arrived text, value text, conflicts int, open int);

-- Devices a, b and c write at 00:00, 01:00 and 02:00, or, with test.step 0, at the same time; all had seen
-- the row as SQL made it.
-- A push is a transaction of its own: the context covers none of the others.
CREATE PROCEDURE try(policy text, type text, start text, VARIADIC sent text[]) LANGUAGE plpgsql AS $$
DECLARE
    arrived text; d text; i int; seen text; first_seq int; value text; n int; total int;
BEGIN
    FOREACH arrived IN ARRAY '{abc,acb,bac,bca,cab,cba}'::text[] LOOP
        EXECUTE format('CREATE TABLE cell (id int PRIMARY KEY, v %s)', type);
        PERFORM sync_enable_table('cell', policies => jsonb_build_object('v', policy));
        INSERT INTO cell VALUES (1);
        EXECUTE format('UPDATE cell SET v = %L', start);
        seen := format('{"%s": %s}', sync_node(), pg_current_xact_id());
        COMMIT;
        total := 0;
        FOR n IN 1 .. 3 LOOP
            d := substr(arrived, n, 1);
            i := ascii(d) - ascii('a') + 1;
            SELECT h.acked_seq + 1 INTO first_seq FROM sync_hello(('00000000-0000-0000-0000-00000000000' || d)::uuid) AS h;
            SELECT total + a.conflicts INTO total FROM sync_apply_delta(format(
                '{"format": 1, "replica": "00000000-0000-0000-0000-00000000000%s", "context": %s, "changes": [{"seq": %s, '
                '"hlc": "2026-01-0%sT0%s:00:00.000Z/0", "table": "cell", "key": {"id": 1}, "set": {"v": %s}}]}',
                d, seen, first_seq, 2 - current_setting('test.step')::int, (i - 1) * current_setting('test.step')::int, coalesce(to_json(sent[i])::text, 'null'))::delta) AS a;
            COMMIT;
        END LOOP;
        SELECT coalesce(v::text, 'null') INTO value FROM cell;
        INSERT INTO result SELECT try.policy, arrived, value, total, count(*) FILTER (WHERE s.state = 'open')
            FROM sync_conflicts AS s WHERE s.table_name = 'cell';
        DROP TABLE cell;
        DELETE FROM offline_sync.conflict;
        COMMIT;
    END LOOP;
END $$;

-- Independent of the order
CALL try('lww', 'text', 'start', 'from a', 'from b', 'from c');
CALL try('max', 'int', '5', '7', '30', '9');
CALL try('max', 'int', '50', '7', '30', '9');
CALL try('max', 'numeric', '1', '7.0', '7.00', '7');
CALL try('max', 'text', NULL, 'x', NULL, 'y');
CALL try('min', 'int', '5', '7', '3', '4');
CALL try('min', 'date', NULL, '2026-03-01', NULL, '2026-02-01');
CALL try('first_writer', 'text', NULL, 'from a', 'from b', 'from c');
CALL try('first_writer', 'text', 'taken', 'from a', 'from b', 'from c');
CALL try('first_writer', 'text', NULL, NULL, 'from b', 'from c');
-- ... also when they write at the same time, on the next day
SET test.step = 0;
CALL try('lww', 'text', 'start', 'from a', 'from b', 'from c');
CALL try('max', 'numeric', '1', '7.0', '7.00', '7');
CALL try('first_writer', 'text', NULL, 'from a', 'from b', 'from c');
SET test.step = 1;
SELECT policy, value, count(*) AS orders
FROM (SELECT *, (row_number() OVER () - 1) / 6 AS call FROM result) AS r GROUP BY call, policy, value ORDER BY call;
TRUNCATE result;

-- The server decides: who comes first is stored, the others are told
CALL try('server_wins', 'text', 'start', 'from a', 'from b', 'from c');
CALL try('manual', 'text', 'start', 'from a', 'from b', 'from c');
SELECT * FROM result;

-- A policy must fit its column
CREATE TABLE misfit (id int PRIMARY KEY, p point, t text, n int);
SELECT sync_enable_table('misfit', policies => '{"p": "max"}');
SELECT sync_enable_table('misfit', policies => '{"n": "maximum"}');
SELECT sync_enable_table('misfit', policies => '{"n": "max", "t": "first_writer"}');
SELECT sync_set_policy('misfit', 'p', 'min');
SELECT sync_set_policy('misfit', 'p', 'manual');
SELECT policies FROM sync_tables WHERE table_name = 'misfit';

-- Manual: a person decides, by an update that flows to all devices
CREATE TABLE note (id int PRIMARY KEY, v text, tags orset);
SELECT sync_enable_table('note', policies => '{"v": "manual"}');
INSERT INTO note VALUES (1, 'ours'), (2, 'ours');
CREATE FUNCTION push_note(d text, id int, v text) RETURNS int LANGUAGE sql AS $$
    SELECT a.conflicts FROM sync_hello(('00000000-0000-0000-0000-00000000000' || d)::uuid) AS h, sync_apply_delta(format(
        '{"format": 1, "replica": "00000000-0000-0000-0000-00000000000%s", "changes": [{"seq": %s, '
        '"hlc": "2026-01-01T00:00:00.000Z/0", "table": "note", "key": {"id": %s}, "set": {"v": "%s"}}]}',
        d, h.acked_seq + 1, id, v)::delta) AS a
$$;
SELECT push_note('a', 1, 'theirs'), push_note('b', 2, 'theirs');
CREATE ROLE regress_reader;
CREATE ROLE regress_editor;
GRANT SELECT ON note TO regress_reader;
GRANT SELECT, UPDATE ON note TO regress_editor;
SELECT conflict AS first FROM sync_conflicts WHERE key ->> 'id' = '1' \gset
SELECT conflict AS second FROM sync_conflicts WHERE key ->> 'id' = '2' \gset
SELECT sync_resolve_conflict(:'first', 'theirs');
SELECT sync_resolve_conflict(:'first', 'value');
SELECT sync_resolve_conflict('00000000-0000-0000-0000-000000000000', 'current');
SET ROLE regress_reader;
SELECT sync_resolve_conflict(:'first', 'incoming');
SELECT sync_resolve_conflict(:'first', 'current');
SET ROLE regress_editor;
SELECT sync_resolve_conflict(:'first', 'incoming');
SELECT sync_resolve_conflict(:'first', 'incoming');
SELECT sync_resolve_conflict(:'second', 'value', '"both"');
RESET ROLE;
SELECT c.key ->> 'id' AS id, n.v, c.state, c.current_value, c.incoming_value, c.decision, c.resolved_by,
       e.replica = sync_node() AS is_the_nodes_write
FROM sync_conflicts c JOIN note n ON n.id = (c.key ->> 'id')::int, row_clock_entries('note', n._sync) e
WHERE e.column_name = 'v' ORDER BY 1;
DROP TABLE note;
DROP ROLE regress_reader, regress_editor;

-- Rows: what is left of a delete against updates, in every order of arrival
CREATE TABLE row_result (rules text, arrived text, value text, conflicts int, open int, outcomes text);
CREATE PROCEDURE try_row(rules jsonb, VARIADIC sent text[]) LANGUAGE plpgsql AS $$
DECLARE
    arrived text; d text; i int; seen text; first_seq int; value text; n int; total int; said text; r record;
BEGIN
    FOREACH arrived IN ARRAY '{abc,acb,bac,bca,cab,cba}'::text[] LOOP
        CREATE TABLE cell (id int PRIMARY KEY, v text, w text DEFAULT 'filled', n int DEFAULT 0, tags orset);
        PERFORM sync_enable_table('cell', policies => '{"n": "counter"}', options => rules);
        INSERT INTO cell VALUES (1, 'start', 'start', 10, '{"x"}');
        seen := format('{"%s": %s}', sync_node(), pg_current_xact_id());
        COMMIT;
        total := 0;
        said := '';
        FOR n IN 1 .. 3 LOOP
            d := substr(arrived, n, 1);
            i := ascii(d) - ascii('a') + 1;
            SELECT h.acked_seq + 1 INTO first_seq FROM sync_hello(('00000000-0000-0000-0000-00000000000' || d)::uuid) AS h;
            SELECT a.conflicts, a.outcomes INTO r FROM sync_apply_delta(format(
                '{"format": 1, "replica": "00000000-0000-0000-0000-00000000000%s", "context": %s, "changes": [{"seq": %s, '
                '"hlc": "2026-01-01T0%s:00:00.000Z/0", "table": "cell", "key": {"id": 1}, %s}]}',
                d, seen, first_seq, i - 1, sent[i])::delta) AS a;
            total := total + r.conflicts;
            said := concat_ws(' ', said, d, coalesce(r.outcomes #>> '{0,outcome}', 'applied'), r.outcomes #>> '{0,reason}');
            COMMIT;
        END LOOP;
        SELECT concat_ws('/', c.v, c.w, c.n, c.tags::text[]) INTO value FROM cell AS c;
        INSERT INTO row_result SELECT rules, arrived, value, total, count(*) FILTER (WHERE s.state = 'open'), said
            FROM sync_conflicts AS s WHERE s.table_name = 'cell';
        DROP TABLE cell;
        DELETE FROM offline_sync.conflict;
        COMMIT;
    END LOOP;
END $$;
CALL try_row('{}', '"delete": true', '"set": {"v": "from b"}', '"set": {"w": "from c"}, "increment": {"n": 1}, "add": {"tags": ["y"]}');
CALL try_row('{"on_delete": "update_wins"}', '"delete": true', '"set": {"v": "from b"}', '"set": {"w": "from c"}, "increment": {"n": 1}, "add": {"tags": ["y"]}');
CALL try_row('{"on_delete": "update_wins"}', '"delete": true', '"set": {"v": "from b"}', '"delete": true');
SELECT rules, value, count(*) AS orders
FROM (SELECT *, (row_number() OVER () - 1) / 6 AS call FROM row_result) AS r GROUP BY call, rules, value ORDER BY call;
TRUNCATE row_result;
-- strong: nothing is merged with a concurrent write, a person decides
CALL try_row('{"consistency": "strong"}', '"set": {"v": "from a"}', '"set": {"w": "from b"}', '"delete": true');
-- append_only: rows are inserted, never changed
CALL try_row('{"mode": "append_only"}', '"set": {"v": "from a"}', '"insert": {"v": "again"}', '"delete": true');
SELECT * FROM row_result;
-- a delete that had seen the updates takes place under update_wins, too; and what had seen it finds no row
CREATE TABLE cell (id int PRIMARY KEY, v text);
SELECT sync_enable_table('cell', options => '{"on_delete": "update_wins"}');
INSERT INTO cell VALUES (1, 'start');
SELECT format('{"%s": %s}', sync_node(), pg_snapshot_xmax(pg_current_snapshot())::text) AS seen,
       acked_seq + 1 AS first, acked_seq + 2 AS second, acked_seq + 3 AS third FROM sync_hello('00000000-0000-0000-0000-00000000000a') \gset
SELECT r.status, r.conflicts, r.outcomes #>> '{0,reason}' AS reason FROM sync_apply_delta(format(
    '{"format": 1, "replica": "00000000-0000-0000-0000-00000000000a", "context": %s, "changes": [
      {"seq": %s, "hlc": "2026-01-01T00:00:00.000Z/0", "table": "cell", "key": {"id": 1}, "delete": true},
      {"seq": %s, "hlc": "2026-01-01T00:00:00.000Z/0", "table": "cell", "key": {"id": 1}, "set": {"v": "gone"}},
      {"seq": %s, "hlc": "2026-01-01T00:00:00.000Z/0", "table": "cell", "key": {"id": 1}, "insert": {"v": "fresh"}}]}',
    :'seen', :first, :second, :third)::delta) AS r;
SELECT id, v FROM cell;
DROP TABLE cell;
-- a device that has dropped the row gets it back whole when somebody else's update revives it
CREATE TABLE revived (id int PRIMARY KEY, v text, w text, tags orset);
SELECT sync_enable_table('revived', options => '{"on_delete": "update_wins"}');
INSERT INTO revived VALUES (1, 'v', 'w', '{"x"}');
SELECT delta_to(sync_changes_since('00000000-0000-0000-0000-00000000000c', '{}'))::text AS before \gset
DELETE FROM revived;
SELECT d::text AS page, delta_to(d)::text AS after FROM sync_changes_since('00000000-0000-0000-0000-00000000000c', :'before') AS d \gset
SELECT kind, key, changes FROM delta_changes(:'page') WHERE table_name = 'revived';
SELECT acked_seq + 1 AS first FROM sync_hello('00000000-0000-0000-0000-00000000000a') \gset
SELECT r.status, r.conflicts FROM sync_apply_delta(format(
    '{"format": 1, "replica": "00000000-0000-0000-0000-00000000000a", "context": %s, "changes": [
      {"seq": %s, "hlc": "2026-01-01T00:00:00.000Z/0", "table": "revived", "key": {"id": 1}, "set": {"v": "again"}}]}',
    :'before', :first)::delta) AS r;
SELECT kind, key, changes FROM delta_changes(sync_changes_since('00000000-0000-0000-0000-00000000000c', :'after')) WHERE table_name = 'revived';
SELECT count(*) AS tombstones FROM offline_sync.tombstone t JOIN offline_sync.tracked_table USING (table_id) WHERE wire_name = 'revived';
DROP TABLE revived;
-- a device that revives a row, deletes it and makes it anew, in one delta: the last one is fresh
CREATE TABLE revived (id int PRIMARY KEY, v text, w text);
SELECT sync_enable_table('revived', options => '{"on_delete": "update_wins"}');
INSERT INTO revived VALUES (1, 'v', 'w');
SELECT format('{"%s": %s}', sync_node(), pg_snapshot_xmax(pg_current_snapshot())::text::bigint - 1) AS before, acked_seq + 1 AS first
FROM sync_hello('00000000-0000-0000-0000-00000000000a') \gset
DELETE FROM revived;
SELECT r.status, r.applied, r.conflicts FROM sync_apply_delta(format(
    '{"format": 1, "replica": "00000000-0000-0000-0000-00000000000a", "context": %s, "changes": [
      {"seq": %s, "hlc": "2026-01-01T00:00:00.000Z/0", "table": "revived", "key": {"id": 1}, "set": {"v": "again"}},
      {"seq": %s, "hlc": "2026-01-01T00:00:00.000Z/0", "table": "revived", "key": {"id": 1}, "delete": true},
      {"seq": %s, "hlc": "2026-01-01T00:00:00.000Z/0", "table": "revived", "key": {"id": 1}, "insert": {"v": "fresh"}}]}',
    :'before', :first, :first + 1, :first + 2)::delta) AS r;
SELECT id, v, w FROM revived;
-- ... also where the row was alive when the delta came
SELECT r.status, r.applied, r.conflicts FROM sync_apply_delta(format(
    '{"format": 1, "replica": "00000000-0000-0000-0000-00000000000a", "context": %s, "changes": [
      {"seq": %s, "hlc": "2026-01-01T00:00:00.000Z/0", "table": "revived", "key": {"id": 1}, "delete": true},
      {"seq": %s, "hlc": "2026-01-01T00:00:00.000Z/0", "table": "revived", "key": {"id": 1}, "insert": {"v": "fresher"}}]}',
    :'before', :first + 3, :first + 4)::delta) AS r;
SELECT id, v, w FROM revived;
-- ... and a row deleted twice, with a write in between, keeps its image
SELECT r.status, r.applied FROM sync_apply_delta(format(
    '{"format": 1, "replica": "00000000-0000-0000-0000-00000000000a", "context": %s, "changes": [
      {"seq": %s, "hlc": "2026-01-01T00:00:00.000Z/0", "table": "revived", "key": {"id": 1}, "delete": true},
      {"seq": %s, "hlc": "2026-01-01T00:00:00.000Z/0", "table": "revived", "key": {"id": 2}, "insert": {"v": "short"}},
      {"seq": %s, "hlc": "2026-01-01T00:00:00.000Z/0", "table": "revived", "key": {"id": 2}, "delete": true},
      {"seq": %s, "hlc": "2026-01-01T00:00:00.000Z/0", "table": "revived", "key": {"id": 1}, "delete": true}]}',
    :'before', :first + 5, :first + 6, :first + 7, :first + 8)::delta) AS r;
SELECT image ->> '2' AS v FROM offline_sync.tombstone JOIN offline_sync.tracked_table t USING (table_id)
WHERE t.wire_name = 'revived' AND t.is_enabled ORDER BY 1;
DROP TABLE revived;
