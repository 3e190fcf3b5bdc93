--
-- Changes that wait for a row which the same push brings, though not by a change of its own
--
SET client_min_messages = warning;
CREATE SCHEMA pending_same_push;
SET search_path = pending_same_push, public;
CREATE TABLE team (id int PRIMARY KEY);
CREATE TABLE task (id int PRIMARY KEY, team int REFERENCES team);
SELECT sync_enable_table('team', options => '{"name": "team"}');
SELECT sync_enable_table('task', options => '{"name": "task"}');
SELECT sync_register_device('aaaaaaaa-0000-4000-8000-000000000001') IS NOT NULL AS a;
CREATE FUNCTION found_team(args jsonb, context jsonb) RETURNS void LANGUAGE sql AS $$
    INSERT INTO pending_same_push.team VALUES ((args ->> 'id')::int) $$;
SELECT sync_register_intent('found_team', 'found_team(jsonb, jsonb)');
CREATE FUNCTION push(changes text, OUT status text, OUT applied int, OUT deferred int, OUT outcomes text)
LANGUAGE sql AS $$
    SELECT r.status, r.applied, r.deferred,
           (SELECT string_agg(concat_ws(' ', o ->> 'seq', o ->> 'outcome', o ->> 'reason'), '; ') FROM jsonb_array_elements(r.outcomes) AS o)
    FROM sync_apply_delta(format('{"format": 1, "replica": "aaaaaaaa-0000-4000-8000-000000000001", "changes": [%s]}', changes)::delta) AS r $$;

-- a team waits with its group, and comes when that does
SELECT * FROM push('
  {"seq": 1, "hlc": "2026-01-01T00:00:01Z/0", "group": 1, "table": "team", "key": {"id": 7}, "insert": {}},
  {"seq": 2, "hlc": "2026-01-01T00:00:02Z/0", "group": 1, "table": "task", "key": {"id": 70}, "insert": {"team": 8}}');
SELECT * FROM push('
  {"seq": 3, "hlc": "2026-01-01T00:00:03Z/0", "table": "task", "key": {"id": 71}, "insert": {"team": 7}},
  {"seq": 4, "hlc": "2026-01-01T00:00:04Z/0", "table": "team", "key": {"id": 8}, "insert": {}}');
SELECT id, team FROM task ORDER BY id;

-- a team that a handler makes
SELECT * FROM push('
  {"seq": 5, "hlc": "2026-01-01T00:00:05Z/0", "table": "task", "key": {"id": 72}, "insert": {"team": 9}},
  {"seq": 6, "hlc": "2026-01-01T00:00:06Z/0", "intent": "found_team", "args": {"id": 9}}');
SELECT id, team FROM task ORDER BY id;
SELECT count(*) AS waiting FROM offline_sync.waiting;

DROP SCHEMA pending_same_push CASCADE;
