--
-- A change that waits for some row of a table, not known which, is tried when that table is written: also by
-- the very push that brought the change
--
SET client_min_messages = warning;
CREATE TABLE team (id int PRIMARY KEY, name text UNIQUE);
CREATE TABLE task (id int PRIMARY KEY, team text REFERENCES team (name));
SELECT sync_enable_table('team');
SELECT sync_enable_table('task');
CREATE FUNCTION id(device char) RETURNS uuid LANGUAGE sql IMMUTABLE AS
$$ SELECT ('00000000-0000-0000-0000-00000000000' || device)::uuid $$;
SELECT sync_register_device(id(d), label => d) IS NOT NULL AS registered FROM unnest('{a,b}'::char[]) AS d;
CREATE FUNCTION push(device char, changes text, OUT status text, OUT applied int, OUT deferred int, OUT outcomes text)
LANGUAGE sql AS $$
    SELECT r.status, r.applied, r.deferred,
           (SELECT string_agg(concat_ws(' ', o ->> 'seq', o ->> 'outcome', o ->> 'reason'), '; ') FROM jsonb_array_elements(r.outcomes) AS o)
    FROM sync_apply_delta(format('{"format": 1, "replica": "%s", "changes": [%s]}', id(device), changes)::delta) AS r $$;
CREATE VIEW waiting AS SELECT right(device::text, 1) AS device, seq, reason FROM offline_sync.waiting ORDER BY 1, 2;

SELECT * FROM push('b', '{"seq": 1, "hlc": "2026-01-01T00:00:01Z/0", "table": "task", "key": {"id": 1}, "insert": {"team": "one"}}');
-- a team that none of them waits for
SELECT * FROM push('a', '
  {"seq": 1, "hlc": "2026-01-01T00:00:01Z/0", "table": "task", "key": {"id": 2}, "insert": {"team": "two"}},
  {"seq": 2, "hlc": "2026-01-01T00:00:02Z/0", "table": "team", "key": {"id": 9}, "insert": {"name": "nine"}}');
SELECT * FROM waiting;
-- those that they wait for
INSERT INTO team VALUES (2, 'two');
SELECT * FROM waiting;
INSERT INTO team VALUES (1, 'one');
SELECT * FROM waiting;
SELECT id, team FROM task ORDER BY id;
