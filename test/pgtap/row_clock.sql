-- row_clock: what goes in comes out, equal clocks have equal bytes, damaged
-- bytes are noticed, and a clock is as small as promised.
--
-- The oracle is a table of (clock, what, id, stamp) from which texts are made,
-- in random order and with repeated stamps; entries, scope and floor must
-- return exactly those rows.
\set ON_ERROR_STOP true
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pgtap;
CREATE EXTENSION IF NOT EXISTS offline_sync;
BEGIN;
SELECT plan(62);

SELECT coalesce(nullif(current_setting('test.seed', true), ''), round(random()::numeric, 6)::text)::float8 AS seed \gset
SELECT diag('seed ' || :'seed');
SELECT setseed(:'seed');

CREATE TEMP TABLE stamp AS
SELECT n AS stamp,
       ('2026-11-20T10:00:00Z'::timestamptz
        + (random() * 1e8)::int * interval '1 ms') AS at,
       (random() * random() * 65535)::int AS counter,
       md5('replica' || (random() * 5)::int)::uuid AS replica,
       md5('node' || (random() * 2)::int)::uuid AS node,
       (random() * 1e5)::bigint + (CASE WHEN random() < 0.1
                                        THEN 2::bigint ^ 62 ELSE 0 END)::bigint AS xid
FROM generate_series(1, 40) AS n;

-- a device's own node, so that replica = node occurs
UPDATE stamp SET node = replica WHERE stamp % 4 = 0;

-- clocks 1 .. 300: of one stamp, of few, of many; with gaps; with a floor
CREATE TEMP TABLE cell AS
SELECT c AS clock, 'column' AS what, id,
       (CASE c % 3 WHEN 0 THEN 1 + c % 40
                   WHEN 1 THEN 1 + (c + (random() * 2)::int) % 40
                   ELSE 1 + floor(random() * 40) END)::int AS stamp
FROM generate_series(1, 300) AS c, generate_series(1, 1 + c % 37) AS id
WHERE c % 7 < 4 OR random() < 0.6
UNION ALL
SELECT c, 'scope', 0, 1 + c % 40
FROM generate_series(1, 300) AS c WHERE c % 5 > 0
UNION ALL
SELECT c, 'floor', f, (c * 7 + f) % 40 + 1
FROM generate_series(1, 300) AS c, generate_series(1, c % 4) AS f
WHERE c % 6 = 0;

CREATE FUNCTION pg_temp.clock_text(c int) RETURNS text LANGUAGE sql VOLATILE AS $$
  -- one member for each cell, so every stamp comes several times
  SELECT coalesce(format('{"stamps":[%s]}', string_agg(format(
           '{"hlc":"%s","replica":"%s","node":"%s","xid":%s,%s}',
           hlc(at, counter), replica, node, xid,
           CASE what WHEN 'column' THEN format('"columns":[%s]', id)
                     WHEN 'scope' THEN '"scope":true'
                     ELSE format('"floor":%s', id) END), ', ' ORDER BY random())), '{}')
  FROM cell JOIN stamp USING (stamp) WHERE clock = c
$$;

CREATE TEMP TABLE clock AS
SELECT c AS clock, pg_temp.clock_text(c)::row_clock AS rc, pg_temp.clock_text(c)::row_clock AS again
FROM generate_series(1, 300) AS c;

CREATE TEMP VIEW oracle AS
SELECT clock, what, id, hlc(at, counter) AS hlc, replica, node, xid::text::xid8 AS "position"
FROM cell JOIN stamp USING (stamp);
CREATE TEMP VIEW content AS
SELECT clock, 'column' AS what, column_id AS id, e.hlc, replica, node, "position"
FROM clock, row_clock_entries(rc) AS e
UNION ALL
SELECT clock, 'scope', 0, s.hlc, replica, node, "position"
FROM clock, row_clock_scope(rc) AS s
UNION ALL
SELECT clock, 'floor', place, f.hlc, replica, node, "position"
FROM clock, row_clock_floor(rc) AS f;

SELECT ok(count(*) > 3000, 'the oracle has cells') FROM oracle;
SELECT is((SELECT count(*) FROM (TABLE oracle EXCEPT ALL TABLE content) AS d), 0::bigint,
          'nothing of the oracle is missing');
SELECT is((SELECT count(*) FROM (TABLE content EXCEPT ALL TABLE oracle) AS d), 0::bigint,
          'nothing is there that is not in the oracle');

SELECT ok(bool_and(rc = again AND row_clock_send(rc) = row_clock_send(again)),
          'two spellings of one clock have equal bytes') FROM clock;
SELECT ok(bool_and(rc::text::row_clock = rc AND rc::text::row_clock::text = rc::text),
          'text round trip') FROM clock;
SELECT ok(bool_and(row_clock_hash(rc) = row_clock_hash(again)
                   AND row_clock_hash_extended(rc, 0)::bit(32) = row_clock_hash(rc)::bit(32)
                   AND row_clock_hash_extended(rc, 1) = row_clock_hash_extended(again, 1)),
          'equal clocks have equal hashes') FROM clock;
SELECT is((SELECT count(DISTINCT row_clock_send(rc)) FROM clock),
          (SELECT count(DISTINCT cells) FROM
             (SELECT string_agg(format('%s %s %s %s %s %s', what, id, o.hlc, replica, node, "position"),
                                ',' ORDER BY what, id) AS cells
              FROM oracle AS o GROUP BY clock) AS c)
          + (SELECT count(*) > 0 FROM clock WHERE clock NOT IN (SELECT clock FROM oracle))::int,
          'different clocks have different bytes');
SELECT ok(bool_and(row_clock_max_hlc(rc) IS NOT DISTINCT FROM
                   (SELECT max(o.hlc) FROM oracle AS o WHERE o.clock = clock.clock)),
          'row_clock_max_hlc is the largest of all') FROM clock;
SELECT ok(bool_and((a.rc = b.rc) = (row_clock_send(a.rc) = row_clock_send(b.rc))
                   AND (a.rc <> b.rc) = NOT (a.rc = b.rc)),
          '= and <> say what the bytes say')
FROM clock AS a, clock AS b WHERE a.clock <= 60;

\ir ../binary_input.sql
SELECT ok(bool_and(pg_temp.binary_input('row_clock', row_clock_send(rc)) = rc::text),
          'binary round trip') FROM clock WHERE clock <= 150;

-- Damage: cut off anywhere, or one byte changed: refused, or another valid
-- clock whose bytes are exactly those.
SELECT is((SELECT count(*)
           FROM clock, generate_series(0, length(row_clock_send(rc)) - 1) AS n,
                pg_temp.binary_outcome('row_clock', substr(row_clock_send(rc), 1, n)) AS outcome
           WHERE clock IN (3, 6, 38, 100) AND outcome !~ '^(22P03|08P01):'), 0::bigint,
          'no prefix of a clock is a clock');
CREATE TEMP TABLE mutant AS
SELECT set_byte(row_clock_send(rc), (random() * (length(row_clock_send(rc)) - 1))::int,
                (random() * 255)::int) AS bytes, NULL::text AS outcome
FROM clock, generate_series(1, 100) WHERE clock IN (3, 6, 36, 100, 298);
UPDATE mutant SET outcome = pg_temp.binary_outcome('row_clock', bytes);
SELECT ok(count(DISTINCT bytes) > 300, 'mutants differ') FROM mutant;
SELECT is((SELECT count(*) FROM mutant
           WHERE outcome !~ '^\{' AND outcome !~ '^(22P03|0A000):'), 0::bigint,
          'a changed byte raises nothing but our errors');
SELECT is((SELECT count(*) FROM mutant
           WHERE outcome ~ '^\{' AND row_clock_send(outcome::row_clock) <> bytes), 0::bigint,
          'bytes that are accepted are the canonical ones');
SELECT ok(count(*) FILTER (WHERE outcome ~ '^\{') > 20
          AND count(*) FILTER (WHERE outcome ~ '^22P03:') > 20,
          'some mutants pass, some do not') FROM mutant;

-- One by one.  U and V stand for uuids, S for a stamp of replica and node U; a
-- value without a SQLSTATE is good, and shows what the next ones spoil.
SELECT is(coalesce(substring(outcome FROM '^([0-9A-Z]{5}):'), 'good'), expected, why)
FROM (VALUES
  ('good',  'a clock of one stamp',               '01 13 01 8a01 00 07 U'),
  ('good',  'and of a device''s stamp',           '01 11 01 8a01 00 07 V U'),
  ('08P01', 'no version',                         ''),
  ('22P03', 'nothing but the version',            '01'),
  ('0A000', 'a later version',                    '02 13 01 8a01 00 07 U'),
  ('0A000', 'no such version',                    '00 13 01 8a01 00 07 U'),
  ('22P03', 'a later format',                     '01 23 01 8a01 00 07 U'),
  ('22P03', 'a reserved bit',                     '01 17 01 8a01 00 07 U'),
  ('22P03', 'own, but not whole',                 '01 12 01 8a01 00 07 U'),
  ('22P03', 'too many columns',                   '01 13 c10c 8a01 00 07 U'),
  ('good',  'as many as there may be',            '01 13 c00c 8a01 00 07 U'),
  ('22P03', 'a number that is longer than needed', '01 13 01 8a8100 00 07 U'),
  ('22P03', 'a number that never ends',           '01 13 01 ffffffffffffffffffffff 00 07 U'),
  ('22P03', 'milliseconds beyond 48 bits',        '01 13 01 80808080808040 00 07 U'),
  ('22P03', 'a counter beyond 16 bits',           '01 13 01 8a01 808004 07 U'),
  ('22P03', 'a xid beyond 63 bits',               '01 13 01 8a01 00 80808080808080808001 U'),
  ('22P03', 'one byte more',                      '01 13 01 8a01 00 07 U 00'),
  ('22P03', 'the node is there, but the same',    '01 11 01 8a01 00 07 U U'),
  ('good',  'no stamp',                           '01 10 00 00 00 00 00'),
  ('good',  'a column without the scope',         '01 10 01 01U 01 S 00 00 01'),
  ('22P03', 'whole, but not marked so',           '01 10 01 01U 01 S 01 00 01'),
  ('22P03', 'a column too few',                   '01 10 02 01U 01 S 00 00 01'),
  ('22P03', 'a run that is too long',             '01 10 01 01U 01 S 00 00 03'),
  ('22P03', 'a run that could be one with the next', '01 10 02 01U 01 S 00 00 01 01'),
  ('22P03', 'a last column without a stamp',      '01 10 02 01U 01 S 00 00 01 00'),
  ('good',  'a column without a stamp before',    '01 10 02 01U 01 S 00 00 00 01'),
  ('22P03', 'a replica that nobody refers to',    '01 10 01 02UV 01 00 07 8a01 00 00 00 01'),
  ('22P03', 'replicas in the wrong order',        '01 10 01 02VU 01 02 07 8a01 00 00 00 01'),
  ('good',  'replicas in the right order',        '01 10 01 02UV 01 02 07 8a01 00 00 00 01'),
  ('22P03', 'a replica that is not there',        '01 10 01 01U 01 01 07 8a01 00 00 00 01'),
  ('22P03', 'more replicas than bytes',           '01 10 01 8827U 01 S 00 00 01'),
  ('22P03', 'more stamps than bytes',             '01 10 01 01U a80a S 00 00 01'),
  ('good',  'two stamps',                         '01 10 01 01U 02 S 00 01 00 00 02 00 01'),
  ('22P03', 'twice the same',                     '01 10 01 01U 02 S 00 00 00 00 02 00 01'),
  ('22P03', 'a stamp that nobody refers to',      '01 10 01 01U 02 S 00 01 00 00 00 00 01'),
  ('22P03', 'before the beginning of time',       '01 10 01 01U 01 00 07 8b01 00 00 00 01'),
  ('22P03', 'a scope stamp that is not there',    '01 10 01 01U 01 S 02 00 01'),
  ('good',  'a floor of one',                     '01 10 01 01U 01 S 01 01 00 01'),
  ('22P03', 'twice in the floor',                 '01 10 01 01U 01 S 01 02 00 00 01'),
  ('22P03', 'a floor stamp that is not there',    '01 10 01 01U 01 S 01 01 01 01'),
  ('22P03', 'a floor too long',                   '01 10 01 01U 01 S 01 e907 00 01')
  ) AS v (expected, why, bytes),
  LATERAL (SELECT pg_temp.binary_outcome('row_clock', decode(replace(replace(replace(replace(bytes,
             'S', '00 07 8a01 00'), 'U', repeat('11', 16)), 'V', repeat('22', 16)), ' ', ''), 'hex'))) AS o (outcome);

-- Size in a tuple.  A device's uuid and a node's, a whole row of 40 columns.
CREATE TEMP TABLE sized (n int, rc row_clock);
CREATE FUNCTION pg_temp.sized_text(stamps int, same_replica boolean) RETURNS text LANGUAGE sql AS $$
  SELECT format('{"stamps":[%s]}', string_agg(format(
           '{"hlc":"%s","replica":"%s","node":"%s","xid":%s,"columns":%s%s}',
           hlc('2026-11-20T10:00:00.123Z'::timestamptz + n * interval '26 hours', n),
           md5(CASE WHEN same_replica THEN '' ELSE n::text END)::uuid, md5('node')::uuid,
           4000000000::bigint + n * 1000003,
           CASE WHEN n = 1 THEN to_json(array(SELECT c FROM generate_series(1, 40) AS c
                                              WHERE c NOT IN (SELECT 3 * generate_series(2, stamps))))
                ELSE to_json(ARRAY[3 * n]) END,
           CASE WHEN n = 1 THEN ',"scope":true' END), ','))
  FROM generate_series(1, stamps) AS n
$$;
INSERT INTO sized SELECT n, pg_temp.sized_text(n, true)::row_clock FROM generate_series(1, 12) AS n;
SELECT ok(pg_column_size(rc) <= 48, 'a row written whole: ' || pg_column_size(rc) || ' bytes')
FROM sized WHERE n = 1;
SELECT ok(max(more) <= 24, 'a further stamp by a known replica: at most ' || max(more) || ' bytes')
FROM (SELECT pg_column_size(rc) - lag(pg_column_size(rc)) OVER (ORDER BY n) AS more FROM sized) AS s;
INSERT INTO sized VALUES (100, replace(pg_temp.sized_text(1, true), md5('')::uuid::text,
                                       md5('node')::uuid::text)::row_clock);
SELECT ok(pg_column_size(rc) <= 32, 'a row written whole by the node: ' || pg_column_size(rc) || ' bytes')
FROM sized WHERE n = 100;

-- The largest: 1,600 columns, the scope and a floor of 1,000, all different.
CREATE TEMP TABLE largest AS
SELECT format('{"stamps":[%s]}', string_agg(format(
         '{"hlc":"%s","replica":"%s","node":"%s","xid":%s,%s}',
         hlc('2026-11-20T10:00:00Z'::timestamptz + n * interval '1 hour'), md5(n::text)::uuid,
         md5('n' || n)::uuid, n,
         CASE WHEN n <= 1600 THEN format('"columns":[%s]', n)
              WHEN n = 1601 THEN '"scope":true'
              ELSE format('"floor":%s', n - 1601) END), ','))::row_clock AS rc
FROM generate_series(1, 2601) AS n;
SELECT ok(rc::text::row_clock = rc AND pg_column_size(rc) < 200000, 'the largest clock')
FROM largest;

-- A stored value that is damaged is noticed when it is read: a type with the
-- same representation but no checks stands in for a broken disk.
CREATE CAST (bytea AS row_clock) WITHOUT FUNCTION;
SELECT throws_ok(format('SELECT %L::bytea::row_clock::text', bytes), 'XX001')
FROM (VALUES ('\x1101'::bytea), ('\x2100')) AS v (bytes);

SELECT * FROM finish();
ROLLBACK;
