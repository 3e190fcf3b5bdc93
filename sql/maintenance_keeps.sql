--
-- sync_maintenance: journal rows that somebody still needs
--
SET client_min_messages = warning;
CREATE SCHEMA maintenance_keeps;
SET search_path = maintenance_keeps, public;
CREATE TABLE team (id int PRIMARY KEY);
CREATE TABLE task (id int PRIMARY KEY, team int REFERENCES team, title text);
CREATE TABLE firm (id int PRIMARY KEY, name text);
SELECT sync_enable_table('team', options => '{"name": "team"}');
SELECT sync_enable_table('task', options => '{"name": "task"}');
SELECT sync_enable_table('firm', options => '{"name": "firm", "consistency": "strong"}');
SELECT sync_register_device('aaaaaaaa-0000-4000-8000-000000000001') IS NOT NULL AS a;
CREATE FUNCTION push(context version_vector, changes jsonb, OUT status text, OUT outcomes jsonb)
LANGUAGE sql AS $$
    SELECT r.status, (SELECT jsonb_agg(o - 'message' - 'conflicts') FROM jsonb_array_elements(r.outcomes) o)
    FROM sync_apply_delta(jsonb_build_object('format', 1, 'replica', 'aaaaaaaa-0000-4000-8000-000000000001',
             'context', context::text::jsonb, 'changes', changes)::text::delta) r $$;
CREATE FUNCTION age_journal(age interval) RETURNS void
LANGUAGE sql AS $$
    UPDATE offline_sync.journal SET reconciliation =
        (lpad(to_hex((extract(epoch FROM now() - age) * 1000)::bigint), 12, '0')
         || substr(replace(reconciliation::text, '-', ''), 13))::uuid $$;
CREATE VIEW journal AS SELECT first_seq, last_seq FROM offline_sync.journal ORDER BY last_seq;
SET offline_sync.audit_retention = '1d';

INSERT INTO task VALUES (5, NULL, 'server');
INSERT INTO firm VALUES (1, 'one');
SELECT delta_to(sync_changes_since('aaaaaaaa-0000-4000-8000-000000000001', '{}')) AS seen \gset

-- What waited comes to its end: until the device has acknowledged that, the next pull has to tell it
SELECT * FROM push(:'seen', '[
  {"seq": 1, "hlc": "2026-01-01T00:00:01Z/0", "table": "task", "key": {"id": 5}, "set": {"team": 1, "title": "device"}}]');
SELECT * FROM push(:'seen', '[
  {"seq": 2, "hlc": "2026-01-01T00:00:02Z/0", "table": "task", "key": {"id": 6}, "insert": {"title": "x"}}]');
SELECT delta_to(sync_changes_since('aaaaaaaa-0000-4000-8000-000000000001', :'seen')) AS seen \gset
SELECT sync_ack('aaaaaaaa-0000-4000-8000-000000000001', :'seen');
UPDATE offline_sync.waiting SET expires_at = now();
SELECT expired FROM sync_retry_pending();
SELECT age_journal('200 days');
SELECT * FROM sync_maintenance();
SELECT * FROM journal;
SELECT table_name, key, changes FROM delta_changes(sync_changes_since('aaaaaaaa-0000-4000-8000-000000000001', :'seen'));
SELECT delta_to(sync_changes_since('aaaaaaaa-0000-4000-8000-000000000001', :'seen')) AS seen \gset
SELECT sync_ack('aaaaaaaa-0000-4000-8000-000000000001', :'seen');
SELECT * FROM sync_maintenance();
SELECT * FROM journal;

-- An open conflict about a row: what the device had wanted is only in the journal
UPDATE firm SET name = 'uno';
SELECT * FROM push(:'seen', '[
  {"seq": 3, "hlc": "2026-01-01T00:00:03Z/0", "table": "firm", "key": {"id": 1}, "set": {"name": "eins"}}]');
SELECT * FROM push(:'seen', '[
  {"seq": 4, "hlc": "2026-01-01T00:00:04Z/0", "table": "task", "key": {"id": 6}, "set": {"title": "y"}}]');
SELECT age_journal('200 days');
SELECT * FROM sync_maintenance();
SELECT * FROM journal;
SELECT sync_resolve_conflict(conflict, 'incoming') FROM sync_conflicts WHERE state = 'open' AND table_name = 'firm';
SELECT id, name FROM firm;
SELECT removed FROM sync_maintenance() WHERE task = 'journal';
SELECT * FROM journal;

DROP SCHEMA maintenance_keeps CASCADE;
