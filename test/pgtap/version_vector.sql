-- version_vector: the laws of joining and of the causal order, and one form for
-- each value.
--
-- The oracle is a set of up to 60 (replica, counter), 3 replicas with counters from
-- 1 to 20, kept as the bits of a bigint: join is |, the order is that of sets.
-- The texts are written from random pieces of such a set.
\set ON_ERROR_STOP true
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pgtap;
CREATE EXTENSION IF NOT EXISTS offline_sync;
BEGIN;
\ir ../binary_input.sql
SELECT plan(35);

SELECT coalesce(nullif(current_setting('test.seed', true), ''), round(random()::numeric, 6)::text)::float8 AS seed \gset
SELECT diag('seed ' || :'seed');
SELECT setseed(:'seed');

CREATE TEMP TABLE replica AS
SELECT r, uuid FROM unnest('{ffffffff-0000-0000-0000-000000000000,00000000-0000-0000-0000-0000000000ff,
                             7fffffff-0000-0000-0000-000000000000}'::uuid[]) WITH ORDINALITY AS s (uuid, r);

CREATE FUNCTION pg_temp.bit(r bigint, counter int) RETURNS bigint LANGUAGE sql IMMUTABLE AS
$$ SELECT 1::bigint << (20 * (r - 1) + counter - 1)::int $$;

-- Vectors 1 .. 300 as pieces: one base per replica, then any others
CREATE TEMP TABLE piece AS
SELECT v, r, true AS is_base, 1 AS lo, (CASE WHEN random() < 0.3 THEN 0 ELSE random() * 12 END)::int AS hi
FROM generate_series(1, 300) AS v, generate_series(1, 3) AS r
WHERE random() < 0.8 AND v <> 1
UNION ALL
SELECT v, r, false, lo, least(20, lo + (random() * random() * 6)::int)
FROM generate_series(1, 300) AS v, generate_series(1, 3) AS r, generate_series(1, 5) AS p,
     LATERAL (SELECT 1 + floor(random() * 20 + 0 * (v + r + p))::int) AS s (lo)
WHERE random() < 0.3 AND v <> 1;

-- One spelling: keys and pieces in any order, a key perhaps twice, in either case
CREATE FUNCTION pg_temp.spelling(vector int) RETURNS text LANGUAGE sql VOLATILE AS $$
  SELECT '{' || coalesce(string_agg(entry, ', ' ORDER BY random()), '') || '}' FROM (
    SELECT format('"%s": "%s%s"', CASE WHEN random() < 0.5 THEN upper(uuid::text) ELSE uuid::text END,
                  coalesce(max(hi) FILTER (WHERE is_base), 0),
                  coalesce(string_agg(',' || lo || CASE WHEN hi > lo OR random() < 0.1 THEN '-' || hi ELSE '' END,
                                      '' ORDER BY random()) FILTER (WHERE NOT is_base), '')) AS entry
    FROM piece JOIN replica USING (r), LATERAL (SELECT random() < 0.3 AND v > 0) AS s (apart)
    WHERE v = vector
    GROUP BY uuid, apart) AS s
$$;

-- the canonical text of a set
CREATE FUNCTION pg_temp.canonical(bits bigint) RETURNS text LANGUAGE sql STABLE AS $$
  SELECT '{' || coalesce(string_agg(format('"%s": %s', uuid, CASE WHEN later IS NULL THEN base::text
                                                                  ELSE format('"%s,%s"', base, later) END),
                                    ', ' ORDER BY uuid), '') || '}'
  FROM (SELECT r, coalesce(max(hi) FILTER (WHERE lo = 1), 0) AS base,
               string_agg(CASE WHEN lo = hi THEN lo::text ELSE lo || '-' || hi END, ',' ORDER BY lo)
                 FILTER (WHERE lo > 1) AS later
        FROM (SELECT r, min(counter) AS lo, max(counter) AS hi
              FROM (SELECT r, counter, counter - row_number() OVER (PARTITION BY r ORDER BY counter) AS run
                    FROM generate_series(1, 3) AS r, generate_series(1, 20) AS counter
                    WHERE bits & pg_temp.bit(r, counter) <> 0) AS covered
              GROUP BY r, run) AS range
        GROUP BY r) AS entry JOIN replica USING (r)
$$;

CREATE TABLE vector AS
SELECT v, spelling, spelling::version_vector AS vv, coalesce(bits, 0) AS bits
FROM generate_series(1, 300) AS v
CROSS JOIN LATERAL pg_temp.spelling(v) AS spelling
LEFT JOIN (SELECT v, bit_or(pg_temp.bit(r, counter)) AS bits
           FROM piece, generate_series(lo, hi) AS counter GROUP BY v) AS oracle USING (v);
INSERT INTO vector
SELECT 300 + v, pg_temp.spelling(v), pg_temp.spelling(v)::version_vector, bits FROM vector WHERE v % 10 = 1;
ANALYZE vector;

-- what they cover, and how they are written
SELECT ok(count(DISTINCT bits) > 200 AND bool_or(bits = 0) AND count(DISTINCT spelling) > 300,
          'the vectors differ, and so do their spellings') FROM vector;
SELECT ok(bool_and(vv_covers(vv, uuid, counter) = (bits & pg_temp.bit(r, counter) <> 0)), 'vv_covers')
FROM vector, replica, generate_series(1, 20) AS counter;
SELECT ok(bool_and((vv @> ROW(uuid, counter)::version_vector_entry) = vv_covers(vv, uuid, counter)), '@> of an entry')
FROM vector, replica, generate_series(0, 22) AS counter;
SELECT ok(bool_and(vv::text = pg_temp.canonical(bits)), 'all texts are canonical') FROM vector;
SELECT ok(bool_and(version_vector_send(vv) = version_vector_send(pg_temp.spelling(v)::version_vector)),
          'any spelling of a value has the same bytes') FROM vector WHERE v <= 300;
SELECT ok(bool_and(vv::text::version_vector = vv AND vv::text::version_vector::text = vv::text), 'text round trip') FROM vector;
SELECT ok(bool_and(pg_temp.binary_input('version_vector', version_vector_send(vv)) = vv::text), 'binary round trip')
FROM vector WHERE v % 4 = 1;
SELECT ok(count(DISTINCT version_vector_send(vv)) = count(DISTINCT bits), 'different values have different bytes') FROM vector;
SELECT ok(bool_and(vv_get(vv, uuid) = coalesce((SELECT max(n) FROM generate_series(1, 20) AS n
            WHERE (SELECT bool_and(bits & pg_temp.bit(r, m) <> 0) FROM generate_series(1, n) AS m)), 0)), 'vv_get')
FROM vector, replica WHERE v % 3 = 0;
SELECT ok(bool_and(coalesce(entries = vv, bits = 0)), 'vv_entries has all of it') FROM vector
LEFT JOIN LATERAL (SELECT format('{%s}', string_agg(format('"%s":"%s"', replica, concat_ws(',', base, nullif(intervals, ''))), ','))::version_vector
                   FROM vv_entries(vv)) AS s (entries) ON true;

-- the order
CREATE TEMP TABLE pair AS
SELECT a.vv AS a, b.vv AS b, a.bits AS x, b.bits AS y FROM vector AS a, vector AS b;
-- random pairs seldom compare, so compare with joins too
INSERT INTO pair SELECT a, a | b, x, x | y FROM pair WHERE random() < 0.1;
INSERT INTO pair SELECT b, a, y, x FROM pair WHERE random() < 0.1;
SELECT ok(count(*) FILTER (WHERE x = y) > 100 AND count(*) FILTER (WHERE x <> y AND x & y = x) > 1000
          AND count(*) FILTER (WHERE x <> y AND x & y = y) > 1000
          AND count(*) FILTER (WHERE x & y NOT IN (x, y)) > 1000, 'pairs of all kinds') FROM pair;
SELECT ok(bool_and((a = b) = (x = y) AND (a <> b) = (x <> y)), '= and <> are those of sets') FROM pair;
SELECT ok(bool_and((a <= b) = (x & y = x) AND (a >= b) = (x & y = y)), '<= and >= are those of sets') FROM pair;
SELECT ok(bool_and((a < b) = (x & y = x AND x <> y) AND (a > b) = (x & y = y AND x <> y)), '< and > are those of sets') FROM pair;
SELECT ok(bool_and((a || b) = (x & y <> x AND x & y <> y)), '|| is: neither contains the other') FROM pair;
SELECT ok(bool_and((a @> b) = (a >= b) AND (a <@ b) = (a <= b)), '@> and <@ are >= and <=') FROM pair;
SELECT ok(bool_and((a = b)::int + (a < b)::int + (a > b)::int + (a || b)::int = 1), 'exactly one of =, <, >, || holds') FROM pair;
SELECT ok(bool_and(vv <= vv AND vv >= vv AND NOT vv < vv AND NOT vv || vv), 'reflexive') FROM vector;
SELECT ok(bool_and((a = b) = (a <= b AND b <= a)), 'antisymmetric') FROM pair;
SELECT ok(bool_and(a <= c) AND count(*) > 1000, 'transitive')
FROM (SELECT a, b FROM pair WHERE a < b AND x <> 0 LIMIT 4000) AS p JOIN LATERAL (SELECT b | vv AS c FROM vector WHERE v <= 10) AS s ON b <= c;

-- joining
SELECT ok(bool_and((a | b)::text = pg_temp.canonical(x | y)), 'the join is the union')
FROM pair WHERE random() < 0.01;
SELECT ok(bool_and((a | b) = (b | a)), 'commutative') FROM pair;
SELECT ok(bool_and(((p.a | p.b) | c.vv) = (p.a | (p.b | c.vv))), 'associative')
FROM (SELECT * FROM pair WHERE random() < 0.1) AS p, vector AS c WHERE v % 50 = 2;
SELECT ok(bool_and((vv | vv) = vv), 'idempotent') FROM vector;
SELECT ok(bool_and((vv | '{}') = vv AND ('{}' | vv) = vv), 'the empty vector is the identity') FROM vector;
SELECT ok(bool_and(a <= (a | b) AND b <= (a | b)), 'a join is an upper bound') FROM pair;
SELECT ok(bool_and((a | b) <= c) AND count(*) > 1000, 'and the least')
FROM (SELECT a.vv AS a, b.vv AS b, c.vv AS c
      FROM vector AS a JOIN vector AS c ON a.vv <= c.vv JOIN vector AS b ON b.vv <= c.vv
      UNION ALL
      SELECT a, b, a | b | vv FROM (SELECT * FROM pair WHERE random() < 0.01) AS p, vector WHERE v <= 5) AS s;
SELECT ok(bool_and((a <= b) = ((a | b) = b)), 'order and join say the same') FROM pair;

-- increment
SELECT ok(bool_and(vv < vv_increment(vv, uuid)
                   AND vv_increment(vv, uuid) = (vv | format('{"%s": "0,%s"}', uuid, 1 + last)::version_vector)),
          'vv_increment covers the counter after the largest')
FROM vector, replica, LATERAL (SELECT coalesce(max(n), 0) FROM generate_series(1, 20) AS n
                               WHERE bits & pg_temp.bit(r, n) <> 0) AS s (last)
WHERE v % 3 = 0;

-- the aggregate
SELECT ok(bool_and(agg::text = pg_temp.canonical(bits)), 'vv_join_agg is the union of all')
FROM (SELECT vv_join_agg(vv) AS agg, bit_or(bits) AS bits FROM vector GROUP BY v % 37) AS s;
CREATE TABLE many AS
SELECT format('{"%s": "%s,%s"}', md5((n % 50)::text)::uuid, n % 3, n * 7919 % 20000 + 1)::version_vector AS vv
FROM generate_series(1, 20000) AS n;
ANALYZE many;
SELECT vv_join_agg(vv) AS serial FROM many \gset
SET LOCAL max_parallel_workers_per_gather = 2;
SET LOCAL parallel_setup_cost = 0;
SET LOCAL parallel_tuple_cost = 0;
SET LOCAL min_parallel_table_scan_size = 0;
CREATE FUNCTION pg_temp.plan(query text) RETURNS SETOF text LANGUAGE plpgsql AS
$$ BEGIN RETURN QUERY EXECUTE 'EXPLAIN (COSTS OFF) ' || query; END $$;
SELECT ok(bool_or(line LIKE '%Partial Aggregate%'), 'the aggregate runs in parallel')
FROM pg_temp.plan('SELECT vv_join_agg(vv) FROM many') AS line;
SELECT ok(vv_join_agg(vv) = :'serial'::version_vector, 'and comes to the same') FROM many;
RESET max_parallel_workers_per_gather;

-- hashing
SELECT ok(bool_and(vv_hash(vv) = vv_hash(pg_temp.spelling(v)::version_vector)
                   AND vv_hash_extended(vv, 42) = vv_hash_extended(pg_temp.spelling(v)::version_vector, 42)),
          'equal vectors hash alike') FROM vector WHERE v <= 300;
SELECT is((SELECT count(*) FROM (SELECT DISTINCT vv FROM vector) AS s),
          (SELECT count(DISTINCT bits) FROM vector), 'DISTINCT');

-- Damaged bytes are refused, or are the one form of another value.
CREATE TEMP TABLE damaged AS
SELECT bytes, pg_temp.binary_outcome('version_vector', bytes) AS outcome
FROM (SELECT CASE n % 4 WHEN 0 THEN set_byte(whole, at, floor(random() * 256)::int)
                        WHEN 1 THEN set_byte(whole, at, get_byte(whole, at) # (1 << (random() * 7)::int))
                        WHEN 2 THEN substr(whole, 1, at) || substr(whole, at + 2)
                        ELSE substr(whole, 1, at) || '\x80'::bytea || substr(whole, at + 1) END AS bytes
      FROM generate_series(1, 300) AS n
      JOIN LATERAL (SELECT version_vector_send(vv) FROM vector WHERE v = n) AS w (whole) ON true,
      LATERAL (SELECT floor(random() * length(whole))::int) AS a (at)) AS s;
SELECT ok(bool_and(CASE WHEN outcome LIKE '{%' THEN version_vector_send(outcome::version_vector) = bytes
                        ELSE outcome LIKE '22P03: %' OR outcome LIKE '0A000: %' END)
          AND count(*) FILTER (WHERE outcome LIKE '22P03: %') > 20 AND count(*) FILTER (WHERE outcome LIKE '{%') > 20,
          'damaged bytes') FROM damaged;

SELECT * FROM finish();
ROLLBACK;
