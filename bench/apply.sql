-- The workload: a table of :rows rows, and :changes changes in random order, one half updates of
-- two columns, 40 % inserts, 10 % deletes; batches of :batch, as a delta's changes and as the arrays that
-- hand-written statements take: whole rows, and with NULL for what an update leaves alone.  Seeded, so every run has
-- the same.
\set ON_ERROR_STOP on
SELECT setseed(0.5);

CREATE TABLE item (
    id         uuid PRIMARY KEY,
    title      text,
    body       text,
    done       bool,
    prio       int,
    updated_at timestamptz
);

CREATE FUNCTION item_body(n int) RETURNS text LANGUAGE sql IMMUTABLE AS
$$ SELECT md5(n::text) || ' said "yes", ' || md5((n + 1)::text) || ' said no; ' || md5((n + 2)::text) $$;

INSERT INTO item
    SELECT md5('item ' || n)::uuid, 'title of ' || n, item_body(n), n % 3 = 0, n % 7,
           timestamptz '2026-01-01 00:00:00+00' + n * interval '1 second'
    FROM generate_series(1, :rows) n;

CREATE SCHEMA bench;

CREATE UNLOGGED TABLE bench.change AS
    SELECT row_number() OVER (ORDER BY random())::int AS seq, k.kind,
           md5('item ' || CASE k.kind WHEN 'insert' THEN :rows + n ELSE n END)::uuid AS id, n
    FROM generate_series(1, :changes) n,
         LATERAL (SELECT CASE WHEN n % 10 < 5 THEN 'update' WHEN n % 10 < 9 THEN 'insert' ELSE 'delete' END) k (kind);

CREATE UNLOGGED TABLE bench.batch AS
    SELECT (seq - 1) / :batch + 1 AS n,
           string_agg((jsonb_build_object('seq', seq, 'hlc', '2026-11-20T10:00:00.000Z/0', 'table', 'item',
                                          'key', jsonb_build_object('id', id))
                       || CASE kind
                          WHEN 'update' THEN jsonb_build_object('set', jsonb_build_object(
                              'title', 'new title of ' || n, 'updated_at', '2026-11-20 10:00:00+00'))
                          WHEN 'insert' THEN jsonb_build_object('insert', jsonb_build_object(
                              'title', 'title of ' || n, 'body', item_body(n), 'done', n % 3 = 0, 'prio', n % 7,
                              'updated_at', '2026-11-20 10:00:00+00'))
                          ELSE '{"delete": true}' END)::text, ',' ORDER BY seq) AS changes,
           (array_agg(id ORDER BY seq) FILTER (WHERE kind <> 'delete'))::text AS id,
           (array_agg(CASE kind WHEN 'update' THEN 'new title of ' ELSE 'title of ' END || n ORDER BY seq)
               FILTER (WHERE kind <> 'delete'))::text AS title,
           (array_agg(item_body(n) ORDER BY seq) FILTER (WHERE kind <> 'delete'))::text AS body,
           (array_agg(n % 3 = 0 ORDER BY seq) FILTER (WHERE kind <> 'delete'))::text AS done,
           (array_agg(n % 7 ORDER BY seq) FILTER (WHERE kind <> 'delete'))::text AS prio,
           (array_agg(CASE kind WHEN 'insert' THEN item_body(n) END ORDER BY seq) FILTER (WHERE kind <> 'delete'))::text AS sparse_body,
           (array_agg(CASE kind WHEN 'insert' THEN n % 3 = 0 END ORDER BY seq) FILTER (WHERE kind <> 'delete'))::text AS sparse_done,
           (array_agg(CASE kind WHEN 'insert' THEN n % 7 END ORDER BY seq) FILTER (WHERE kind <> 'delete'))::text AS sparse_prio,
           (array_agg('2026-11-20 10:00:00+00'::text ORDER BY seq) FILTER (WHERE kind <> 'delete'))::text AS updated_at,
           coalesce((array_agg(id) FILTER (WHERE kind = 'delete'))::text, '{}') AS gone
    FROM bench.change GROUP BY 1;
ALTER TABLE bench.batch ADD PRIMARY KEY (n);

-- what the second baseline writes, as thin as a log can be from which devices pull
CREATE TABLE bench.log (scope text, node int NOT NULL, xid xid8 NOT NULL, part int NOT NULL, table_id int NOT NULL, key bytea NOT NULL);
CREATE INDEX ON bench.log (scope, node, xid, part);
VACUUM ANALYZE;
