--
-- Changing the options of a table that is kept in sync
--
SET client_min_messages = warning;
CREATE TABLE task (id int PRIMARY KEY, what text, done bool);
SELECT sync_enable_table('task', options => '{"audit": "full", "name": "job"}');
SELECT count(sync_register_device(d)) AS devices FROM (VALUES ('00000000-0000-0000-0000-00000000000a'::uuid), ('00000000-0000-0000-0000-00000000000b')) AS v (d);
CREATE VIEW options AS SELECT table_name, on_delete, mode, consistency, audit FROM sync_tables WHERE relation = 'task'::regclass;
CREATE FUNCTION push(d text, context text, change text) RETURNS text LANGUAGE sql VOLATILE AS $$
SELECT concat_ws(' ', a.status, a.applied, a.outcomes #>> '{0,outcome}', a.outcomes #>> '{0,reason}')
FROM sync_hello(('00000000-0000-0000-0000-00000000000' || d)::uuid) AS h, sync_apply_delta(format(
    '{"format": 1, "replica": "00000000-0000-0000-0000-00000000000%s", "context": %s, "changes": [{"seq": %s, "hlc": "%s", "table": "job", "key": {"id": 1}, %s}]}',
    d, context, h.acked_seq + 1, '2026-01-01T10:00:00.000Z/0', change)::delta) AS a
$$;

-- what is not named stays
SELECT sync_set_table_options('task', '{"on_delete": "update_wins"}');
TABLE options;
SELECT sync_set_table_options('task', '{"mode": "append_only", "consistency": "strong", "audit": "off", "on_delete": "lww", "name": "job"}');
TABLE options;
SELECT sync_set_table_options('task', '{}');
TABLE options;

-- it holds from the next push on, in this session and in others, and goes with a rollback
INSERT INTO task VALUES (1, 'paint', false);
SELECT delta_to(sync_changes_since('00000000-0000-0000-0000-00000000000a', '{}')) AS seen \gset
SELECT push('a', :'seen', '"set": {"what": "sand"}');
BEGIN;
SELECT sync_set_table_options('task', '{"mode": "merge", "consistency": "relaxed"}');
SELECT push('a', :'seen', '"set": {"what": "sand"}');
ROLLBACK;
SELECT push('a', :'seen', '"set": {"what": "sand"}');
SELECT sync_set_table_options('task', '{"mode": "merge", "consistency": "relaxed", "on_delete": "delete_wins"}');
\c
SELECT push('a', :'seen', '"set": {"what": "sand"}');
SELECT push('b', :'seen', '"delete": true');
SELECT count(*) AS tasks FROM task;

-- what is refused
SELECT sync_set_table_options('task', '{"name": "task"}');
SELECT sync_set_table_options('task', '{"colour": "red"}');
SELECT sync_set_table_options('task', '{"mode": "lazy"}');
SELECT sync_set_table_options('task', '[]');
CREATE TABLE plain (id int PRIMARY KEY);
SELECT sync_set_table_options('plain', '{"mode": "merge"}');
CREATE ROLE regress_options;
SET ROLE regress_options;
SELECT sync_set_table_options('task', '{"mode": "append_only"}');
RESET ROLE;
BEGIN READ ONLY;
SELECT sync_set_table_options('task', '{"mode": "append_only"}');
ROLLBACK;
DROP VIEW options;
TABLE task;
DROP TABLE task, plain;
DROP ROLE regress_options;
DELETE FROM offline_sync.device;
