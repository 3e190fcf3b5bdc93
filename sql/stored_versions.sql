--
-- What is stored of a push is read by the version of the schema that it was made for,
-- which a delta need not say
--
SET client_min_messages = warning;
CREATE SCHEMA stored_test;
SET search_path = stored_test, public;
CREATE TABLE note (id int PRIMARY KEY, title text, size int);
SELECT sync_enable_table('note', options => '{"name": "note", "consistency": "strong"}');
SELECT sync_register_device('aaaaaaaa-0000-4000-8000-000000000001') IS NOT NULL AS a,
       sync_register_device('bbbbbbbb-0000-4000-8000-000000000002') IS NOT NULL AS b;
INSERT INTO note VALUES (1, 'x', 1), (2, 'x', 1), (3, 'x', 1);
CREATE FUNCTION push(device uuid, seq int, key jsonb, cells jsonb, version int, OUT status text, OUT outcomes jsonb)
LANGUAGE sql AS $$
    SELECT r.status, (SELECT jsonb_agg(o - 'message') FROM jsonb_array_elements(r.outcomes) o)
    FROM sync_apply_delta(jsonb_strip_nulls(jsonb_build_object('format', 1, 'replica', device, 'schema_version', version,
        'changes', jsonb_build_array(jsonb_build_object('seq', seq, 'hlc', '2026-01-01T00:00:01Z/0', 'table', 'note', 'key', key, 'set', cells))))::text::delta) r $$;

-- two pushes that do not say it: one device never has, the other has said 2 before
SELECT * FROM push('aaaaaaaa-0000-4000-8000-000000000001', 1, '{"id": 1}', '{"title": "from a", "size": 2}', NULL);
ALTER TABLE note RENAME title TO name;
SELECT * FROM push('bbbbbbbb-0000-4000-8000-000000000002', 1, '{"id": 3}', '{"name": "from b", "size": 2}', 2);
SELECT * FROM push('bbbbbbbb-0000-4000-8000-000000000002', 2, '{"id": 2}', '{"name": "from b", "size": 3}', NULL);
-- the names come to mean something else
ALTER TABLE note RENAME name TO heading;
ALTER TABLE note RENAME size TO title;
ALTER TABLE note RENAME id TO ident;
SELECT * FROM push('bbbbbbbb-0000-4000-8000-000000000002', 3, '{"ident": 3}', '{"heading": "later"}', 5);
SELECT sync_resolve_conflict(conflict, 'incoming') FROM sync_conflicts WHERE seq = 1 AND device = 'aaaaaaaa-0000-4000-8000-000000000001';
SELECT sync_resolve_conflict(conflict, 'incoming') FROM sync_conflicts WHERE seq = 2;
SELECT ident, heading, title FROM note ORDER BY 1;

-- what is purged of the row is found in all of them
DELETE FROM note WHERE ident < 3;
SELECT sync_purge_row('note', '{"ident": 1}'), sync_purge_row('note', '{"ident": 2}');
SELECT count(*) FROM offline_sync.journal j, delta_changes(j.delta) c WHERE c.changes::text LIKE '%from a%' OR (c.changes::text LIKE '%from b%' AND c.seq = 2);

DROP SCHEMA stored_test CASCADE;
