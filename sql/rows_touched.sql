--
-- A row that is written for its clock alone: the change left nothing in its cells,
-- but the row has to remember it (on_delete other than delete_wins, strong)
--
SET client_min_messages = warning;
CREATE SCHEMA touched_test;
SET search_path = touched_test, public;
CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;

-- keys that no UPDATE may set; by statements, and without
CREATE TABLE plain (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, no int GENERATED ALWAYS AS IDENTITY, v text);
CREATE TABLE stated (LIKE plain INCLUDING ALL);
CREATE TRIGGER nothing AFTER INSERT OR UPDATE ON stated FOR EACH ROW EXECUTE FUNCTION nothing();
SELECT sync_enable_table('plain', options => '{"on_delete": "lww", "name": "plain"}'),
       sync_enable_table('stated', options => '{"on_delete": "update_wins", "name": "stated"}');
SELECT sync_register_device('aaaaaaaa-0000-4000-8000-000000000001') IS NOT NULL AS a,
       sync_register_device('bbbbbbbb-0000-4000-8000-000000000002') IS NOT NULL AS b;
CREATE FUNCTION push(device uuid, changes jsonb, OUT status text, OUT outcomes jsonb)
LANGUAGE sql AS $$
    SELECT r.status, (SELECT jsonb_agg(o - '{message,detail}'::text[]) FROM jsonb_array_elements(r.outcomes) o)
    FROM sync_apply_delta(jsonb_build_object('format', 1, 'replica', device, 'changes', changes)::text::delta) r $$;

SELECT * FROM push('aaaaaaaa-0000-4000-8000-000000000001', '[
  {"seq": 1, "hlc": "2026-01-01T00:00:01Z/0", "table": "plain", "key": {"id": 1}, "insert": {"no": 1, "v": "a"}},
  {"seq": 2, "hlc": "2026-01-01T00:00:01Z/0", "table": "stated", "key": {"id": 1}, "insert": {"no": 1, "v": "a"}}]');
-- no cells
SELECT * FROM push('bbbbbbbb-0000-4000-8000-000000000002', '[
  {"seq": 1, "hlc": "2026-01-01T00:00:02Z/0", "table": "plain", "key": {"id": 1}, "insert": {}},
  {"seq": 2, "hlc": "2026-01-01T00:00:02Z/0", "table": "stated", "key": {"id": 1}, "insert": {}}]');
-- the row's own stamp is the later one's
SELECT (SELECT left(replica::text, 8) FROM row_clock_entries('plain', p._sync) WHERE column_name = 'id') AS plain,
       (SELECT replica = node FROM row_clock_entries('stated', s._sync) WHERE column_name = 'id') AS stated_node FROM plain p, stated s;
SELECT id, no, v FROM plain UNION ALL SELECT id, no, v FROM stated;
-- cells that lose, one of a column that no UPDATE may set
UPDATE plain SET v = 'sql';
UPDATE stated SET v = 'sql';
SELECT * FROM push('aaaaaaaa-0000-4000-8000-000000000001', '[
  {"seq": 3, "hlc": "2026-01-01T00:00:03Z/0", "table": "plain", "key": {"id": 1}, "set": {"v": "late"}},
  {"seq": 4, "hlc": "2026-01-01T00:00:03Z/0", "table": "stated", "key": {"id": 1}, "set": {"v": "late"}}]');
SELECT id, no, v FROM plain UNION ALL SELECT id, no, v FROM stated;

-- who may update one column only
CREATE ROLE touching;
GRANT USAGE ON SCHEMA touched_test TO touching;
GRANT SELECT, INSERT ON plain, stated TO touching;
GRANT UPDATE (v) ON plain, stated TO touching;
SELECT sync_register_device('cccccccc-0000-4000-8000-000000000003', owner => 'touching') IS NOT NULL AS c;
SET ROLE touching;
SELECT * FROM push('cccccccc-0000-4000-8000-000000000003', '[
  {"seq": 1, "hlc": "2036-01-01T00:00:04Z/0", "table": "plain", "key": {"id": 1}, "insert": {}},
  {"seq": 2, "hlc": "2036-01-01T00:00:04Z/0", "table": "stated", "key": {"id": 1}, "insert": {}}]');
RESET ROLE;
REVOKE UPDATE (v) ON plain, stated FROM touching;
SET ROLE touching;
SELECT * FROM push('cccccccc-0000-4000-8000-000000000003', '[
  {"seq": 3, "hlc": "2036-01-01T00:00:05Z/0", "table": "plain", "key": {"id": 1}, "insert": {}},
  {"seq": 4, "hlc": "2036-01-01T00:00:05Z/0", "table": "stated", "key": {"id": 1}, "insert": {}}]');
RESET ROLE;

DROP SCHEMA touched_test CASCADE;
DROP OWNED BY touching;
DROP ROLE touching;
