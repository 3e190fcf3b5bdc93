-- A tracked table with a scope column, :devices devices, each with the scope "one" and one of its
-- own ("own 3"), and for each of them :deltas deltas and one to begin with, of :per_delta inserts
-- each, of some :kinds: "one" or "own", the scope that the rows are in, or "other", the next device's.
\set ON_ERROR_STOP on
CREATE EXTENSION offline_sync;
CREATE TABLE item (id uuid PRIMARY KEY, scope text NOT NULL, title text, body text, done bool, prio int, updated_at timestamptz);
SELECT sync_enable_table('item', 'scope') \g /dev/null
SELECT sync_register_device(md5('device ' || n)::uuid, ARRAY['one', 'own ' || n]) FROM generate_series(1, :devices) n \g /dev/null
CREATE SCHEMA bench;
CREATE UNLOGGED TABLE bench.delta (device int, kind text, n int, json text, PRIMARY KEY (device, kind, n));
INSERT INTO bench.delta
    SELECT d, k, n, jsonb_build_object('format', 1, 'replica', md5('device ' || d)::uuid, 'changes',
        jsonb_agg(jsonb_build_object('seq', n * :per_delta + c, 'hlc', '2026-11-20T10:00:00.000Z/0', 'table', 'item',
            'key', jsonb_build_object('id', md5(concat_ws(' ', d, n, c))::uuid),
            'insert', jsonb_build_object('scope', CASE k WHEN 'one' THEN 'one' WHEN 'own' THEN 'own ' || d ELSE 'own ' || d % :devices + 1 END,
                'title', 'title of ' || c, 'body', repeat(md5(c::text), 4), 'done', c % 3 = 0, 'prio', c % 7,
                'updated_at', '2026-11-20 10:00:00+00')) ORDER BY c))::text
    FROM generate_series(1, :devices) d, unnest(:'kinds'::text[]) k, generate_series(0, :deltas) n, generate_series(1, :per_delta) c
    GROUP BY d, k, n;
VACUUM ANALYZE;
