-- sync_maintenance: what is removed, what stays, and what follows from it
SET client_min_messages = warning;
SELECT sync_register_device('aaaaaaaa-0000-4000-8000-000000000001') IS NOT NULL AS a,
       sync_register_device('bbbbbbbb-0000-4000-8000-000000000002') IS NOT NULL AS b,
       sync_register_device('cccccccc-0000-4000-8000-000000000003') IS NOT NULL AS c;
CREATE TABLE note (id int PRIMARY KEY, title text, tags orset);
SELECT sync_enable_table('note');

-- push changes with the context given; times do not matter here
CREATE FUNCTION push(device uuid, context version_vector, changes jsonb,
                     OUT status text, OUT outcomes jsonb)
LANGUAGE sql AS $$
    SELECT r.status, (SELECT jsonb_agg(o - 'message' - 'conflicts') FROM jsonb_array_elements(r.outcomes) o)
    FROM sync_apply_delta(jsonb_build_object('format', 1, 'replica', device,
             'context', context::text::jsonb, 'changes', changes)::text::delta) r $$;

-- as if everything there is had happened so long ago
CREATE FUNCTION age_all(age interval) RETURNS void
LANGUAGE sql AS $$
    UPDATE offline_sync.journal SET reconciliation =
        (lpad(to_hex((extract(epoch FROM now() - age) * 1000)::bigint), 12, '0')
         || substr(replace(reconciliation::text, '-', ''), 13))::uuid;
    UPDATE offline_sync.conflict SET detected_at = now() - age, conflict =
        (lpad(to_hex((extract(epoch FROM now() - age) * 1000)::bigint), 12, '0')
         || substr(replace(conflict::text, '-', ''), 13))::uuid;
$$;
CREATE VIEW journal AS
    SELECT left(device::text, 1) AS device, first_seq, last_seq, status
    FROM offline_sync.journal ORDER BY device, last_seq, status;

SELECT * FROM push('aaaaaaaa-0000-4000-8000-000000000001', '{}', '[
  {"seq": 1, "hlc": "2026-01-01T00:00:01Z/0", "table": "note", "key": {"id": 1}, "insert": {"title": "one", "tags": ["x"]}}]');
SELECT delta_to(sync_changes_since('cccccccc-0000-4000-8000-000000000003', '{}')) AS seen_by_c \gset
SELECT * FROM push('aaaaaaaa-0000-4000-8000-000000000001', '{}', '[
  {"seq": 2, "hlc": "2026-01-01T00:00:02Z/0", "table": "note", "key": {"id": 2}, "insert": {"title": "two"}}]');
SELECT * FROM push('bbbbbbbb-0000-4000-8000-000000000002', '{}', '[
  {"seq": 1, "hlc": "2026-01-01T00:00:03Z/0", "table": "note", "key": {"id": 2}, "insert": {"title": "zwei"}}]');
SELECT * FROM push('bbbbbbbb-0000-4000-8000-000000000002', '{}', '[
  {"seq": 2, "hlc": "2026-01-01T00:00:04Z/0", "table": "note", "key": {"id": 3}, "insert": {"title": "three"}}]');
SELECT * FROM push('bbbbbbbb-0000-4000-8000-000000000002', '{}', '[
  {"seq": 9, "hlc": "2026-01-01T00:00:04Z/0", "table": "note", "key": {"id": 9}, "delete": true}]');

-- nothing is old enough
SELECT * FROM sync_maintenance();

-- Older than audit_retention, not than device_expiry: what was answered goes, or
-- stored nothing; but a device's last reconciliation stays.
SET offline_sync.audit_retention = '30d';
SELECT age_all('40 days');
BEGIN;
SELECT sync_ack('aaaaaaaa-0000-4000-8000-000000000001', '{"aaaaaaaa-0000-4000-8000-000000000001": 2}');
SELECT * FROM sync_maintenance();
SELECT * FROM journal;
SELECT count(*) AS conflicts FROM sync_conflicts;
ROLLBACK;

-- older than device_expiry: answered or not; in batches
SELECT age_all('100 days');
SELECT * FROM sync_maintenance(2);
SELECT * FROM sync_maintenance(2);
SELECT * FROM journal;
SELECT count(*) FROM sync_audit;

-- seqs that the journal no longer knows are known all the same
SELECT * FROM push('aaaaaaaa-0000-4000-8000-000000000001', '{}', '[
  {"seq": 1, "hlc": "2026-01-01T00:00:01Z/0", "table": "note", "key": {"id": 1}, "insert": {"title": "one", "tags": ["x"]}}]');

-- and a tag whose push it no longer knows goes only with who had seen that push
SELECT * FROM push('bbbbbbbb-0000-4000-8000-000000000002', '{}', '[
  {"seq": 3, "hlc": "2026-01-01T00:00:05Z/0", "table": "note", "key": {"id": 1}, "remove": {"tags": ["x"]}}]');
SELECT id, title, tags::text[] FROM note ORDER BY id;
SELECT delta_to(sync_changes_since('cccccccc-0000-4000-8000-000000000003', '{}')) AS seen_by_c \gset
SELECT * FROM push('cccccccc-0000-4000-8000-000000000003', :'seen_by_c', '[
  {"seq": 1, "hlc": "2026-01-01T00:00:06Z/0", "table": "note", "key": {"id": 1}, "remove": {"tags": ["x"]}}]');
SELECT id, title, tags::text[] FROM note ORDER BY id;

-- open conflicts wait for a person, however long; once decided they go
SELECT sync_set_policy('note', 'title', 'manual');
SELECT * FROM push('bbbbbbbb-0000-4000-8000-000000000002', '{}', '[
  {"seq": 4, "hlc": "2026-01-01T00:00:07Z/0", "table": "note", "key": {"id": 1}, "set": {"title": "eins"}}]');
SELECT age_all('100 days');
SELECT removed FROM sync_maintenance() WHERE task = 'conflicts';
SELECT sync_resolve_conflict(conflict, 'incoming') FROM sync_conflicts WHERE state = 'open';
SELECT removed FROM sync_maintenance() WHERE task = 'conflicts';
UPDATE offline_sync.conflict SET resolved_at = now() - interval '100 days';
SELECT removed FROM sync_maintenance() WHERE task = 'conflicts';
SELECT title FROM note WHERE id = 1;

-- not for everybody
SELECT sync_maintenance(0);
CREATE ROLE regress_nobody;
SET ROLE regress_nobody;
SELECT sync_maintenance();
RESET ROLE;
DROP ROLE regress_nobody;

-- never is a long time
SET offline_sync.device_expiry = 2147483647;
SET offline_sync.audit_retention = 2147483647;
SELECT task, removed FROM sync_maintenance() WHERE removed > 0;
RESET offline_sync.device_expiry;
RESET offline_sync.audit_retention;
