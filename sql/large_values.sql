--
-- Large values that many changes meet: conflicts, audit, images of deleted rows
--
SET client_min_messages = warning;
CREATE SCHEMA large_values;
SET search_path = large_values, public;
CREATE TABLE page (id int PRIMARY KEY, body text, tags orset);
CREATE TABLE gone (id int PRIMARY KEY, body text, v text, n int, tags orset, o jsonb, CHECK (v <> 'bad'));
SELECT sync_enable_table('page', policies => '{"body": "manual"}', options => '{"name": "page"}');
SELECT sync_enable_table('gone', policies => '{"n": "counter", "o": "json"}', options => '{"name": "gone", "on_delete": "lww"}');
SELECT sync_register_device('aaaaaaaa-0000-4000-8000-000000000001') IS NOT NULL AS a,
       sync_register_device('bbbbbbbb-0000-4000-8000-000000000002') IS NOT NULL AS b;
-- push changes that differ only in what %s stands for
CREATE FUNCTION push(device uuid, context version_vector, hlc text, first int, last int, change text,
                     OUT status text, OUT superseded int, OUT merged int, OUT rejected int, OUT conflicts int)
LANGUAGE sql AS $$
    SELECT r.status, r.superseded, r.merged, r.rejected, r.conflicts
    FROM sync_apply_delta((SELECT format('{"format": 1, "replica": "%s", "context": %s, "changes": [%s]}', device, context,
             string_agg(format('{"seq": %s, "hlc": "%s/%s", ', n, hlc, n) || replace(change, '%s', n::text) || '}', ', ' ORDER BY n))
         FROM generate_series(first, last) AS n)::delta) AS r $$;
-- text that does not compress
CREATE FUNCTION noise(seed text, n int) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT string_agg(md5(seed || i), '') FROM generate_series(1, n / 32) AS i $$;

-- Values that are stored out of line: the conflicts are found by their keys all the same
INSERT INTO page SELECT n, 'x' FROM generate_series(1, 3) AS n;
SELECT delta_to(sync_changes_since('aaaaaaaa-0000-4000-8000-000000000001', '{}')) AS seen \gset
UPDATE page SET body = noise(id::text, 10000);
SELECT * FROM push('aaaaaaaa-0000-4000-8000-000000000001', :'seen', '2026-01-01T00:00:00Z', 1, 3,
                   '"table": "page", "key": {"id": %s}, "set": {"body": "y%s"}');
SELECT conflict AS one FROM sync_conflicts WHERE key = '{"id": 2}' \gset
SET enable_seqscan = off;
SET enable_bitmapscan = off;
SELECT count(*) FROM offline_sync.conflict WHERE device = 'aaaaaaaa-0000-4000-8000-000000000001' AND state = 'open' AND current_value IS NOT NULL;
SELECT sync_resolve_conflict(:'one', 'incoming');
RESET enable_seqscan;
RESET enable_bitmapscan;
SELECT id, left(body, 2) = 'y2' AS incoming, length(body) FROM page ORDER BY id;

-- A push that meets a large value again and again goes through; of what is too
-- much for one audit record the first ones are kept
UPDATE page SET body = repeat('y', 1000000) WHERE id = 3;
SELECT * FROM push('aaaaaaaa-0000-4000-8000-000000000001', :'seen', '2026-01-01T00:00:01Z', 4, 300,
                   '"table": "page", "key": {"id": 3}, "set": {"body": "z%s"}');
SELECT count(*) AS conflicts, count(current_value) BETWEEN 60 AND 70 AS have_value, count(incoming_value) AS have_incoming
FROM offline_sync.conflict WHERE seq >= 4;

-- A deleted row that many changes go into: as if it had come back after each
INSERT INTO gone VALUES (1, repeat('x', 1000000), 'x', 1, ARRAY['a']::orset, '{"k": 1}');
SELECT delta_to(sync_changes_since('bbbbbbbb-0000-4000-8000-000000000002', '{}')) AS seen \gset
DELETE FROM gone;
SELECT * FROM push('bbbbbbbb-0000-4000-8000-000000000002', :'seen', '2020-01-01T00:00:00Z', 1, 500,
                   '"table": "gone", "key": {"id": 1}, "set": {"v": "v%s"}, "increment": {"n": 2}, "add": {"tags": ["t%s"], "o": {"k%s": %s}}');
SELECT count(*) FROM gone;
SELECT image ->> '3' AS v, image ->> '4' AS n, length(image ->> '2') FROM offline_sync.tombstone
WHERE table_id = (SELECT table_id FROM offline_sync.tracked_table WHERE wire_name = 'gone');
SELECT * FROM push('bbbbbbbb-0000-4000-8000-000000000002', :'seen', '2020-01-01T00:00:01Z', 501, 501,
                   '"table": "gone", "key": {"id": 1}, "set": {"v": "bad"}');
-- brought back by the same push as the last of them
SELECT r.status, r.superseded, r.merged, r.rejected
FROM sync_apply_delta(format('{"format": 1, "replica": "bbbbbbbb-0000-4000-8000-000000000002", "context": %s, "changes": [
  {"seq": 502, "hlc": "2020-01-01T00:00:02Z/0", "table": "gone", "key": {"id": 1}, "increment": {"n": 100}, "add": {"tags": ["u"], "o": {"u": 1}}},
  {"seq": 503, "hlc": "2020-01-01T00:00:03Z/0", "table": "gone", "key": {"id": 1}, "set": {"v": "last"}, "add": {"tags": ["w"], "o": {"w": 1}}},
  {"seq": 504, "hlc": "2099-01-01T00:00:00Z/0", "table": "gone", "key": {"id": 1}, "increment": {"n": 1000}, "add": {"o": {"z": 1}}}]}', :'seen')::delta) AS r;
SELECT id, length(body), v, n, cardinality(tags::text[]) AS tags, (SELECT count(*) FROM jsonb_object_keys(o)) AS keys FROM gone;

DROP SCHEMA large_values CASCADE;
