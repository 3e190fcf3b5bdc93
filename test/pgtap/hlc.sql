-- hlc: what goes in comes out, and the order is that of (milliseconds, counter).
-- Oracles: the server's own timestamptz up to the year 9999, and numeric.
\set ON_ERROR_STOP true
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pgtap;
CREATE EXTENSION IF NOT EXISTS offline_sync;
BEGIN;
\ir ../binary_input.sql
SELECT plan(17);

SELECT coalesce(nullif(current_setting('test.seed', true), ''), round(random()::numeric, 6)::text)::float8 AS seed \gset
SELECT diag('seed ' || :'seed');
SELECT setseed(:'seed');

-- Random milliseconds, half of them small, the edges, and every day around the
-- ends of February
CREATE TEMP TABLE sample AS
SELECT row_number() OVER () AS id, ms, counter, hlc(to_timestamp(ms / 1000) + ms % 1000 * interval '1 ms', counter) AS h
FROM (
  SELECT floor(random() * (CASE WHEN n % 2 = 0 THEN 281474976710656 ELSE 4e12 END))::bigint,
         floor(random() * 65536)::int
  FROM generate_series(1, 2000) AS n
  UNION ALL
  SELECT ms, counter FROM unnest('{0,1,999,1000,86399999,86400000,281474976710654,281474976710655}'::bigint[]) AS ms,
                          unnest('{0,1,32767,32768,65535}'::int[]) AS counter
  UNION ALL
  SELECT extract(epoch FROM make_date(y, 2, 27) + d)::bigint * 1000, 0
  FROM generate_series(1970, 2500) AS y, generate_series(0, 4) AS d) AS s (ms, counter);

SELECT is(count(*), 4695::bigint, 'there is something to look at') FROM sample;
SELECT ok(bool_and(h::text::hlc = h), 'text round trip') FROM sample;
SELECT ok(bool_and(h::text ~ '^\d{4,5}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d\d\dZ/(0|[1-9]\d*)$'), 'text is canonical') FROM sample;
SELECT ok(bool_and(h::text = to_char(to_timestamp(ms / 1000) AT TIME ZONE 'UTC', 'FMYYYY-MM-DD"T"HH24:MI:SS.')
                             || lpad((ms % 1000)::text, 3, '0') || 'Z/' || counter),
          'text is what to_char makes of the time') FROM sample;
SELECT ok(bool_and(hlc_send(h) = int8send(((ms - CASE WHEN ms >= 140737488355328 THEN 281474976710656 ELSE 0 END) << 16) + counter)),
          'binary is 48 bits of milliseconds and 16 of counter') FROM sample;
SELECT ok(bool_and(pg_temp.binary_input('hlc', hlc_send(h)) = h::text), 'binary round trip')
FROM sample WHERE id % 100 = 0 OR ms > 281474976710000;

-- every pattern of bits is a value
SELECT ok(bool_and(value ~ '^\d{4}' AND hlc_send(value::hlc) = bytes), 'every binary value has a text')
FROM (SELECT bytes, pg_temp.binary_outcome('hlc', bytes) AS value
      FROM generate_series(1, 64) AS n,
           LATERAL (SELECT set_byte(substr(decode(md5(random()::text), 'hex'), 1, 8), n % 8, n % 2 * 255)) AS s (bytes)) AS s;

SELECT ok(bool_and(hlc_counter(h) = counter), 'hlc_counter') FROM sample;
SELECT ok(bool_and(h::timestamptz = to_timestamp(ms / 1000) + ms % 1000 * interval '1 ms'), 'cast to timestamptz') FROM sample;
SELECT ok(bool_and(hlc(h::timestamptz + interval '999 us', counter) = h), 'microseconds are cut off') FROM sample;

CREATE TEMP TABLE pair AS
SELECT a.h AS a, b.h AS b, a.ms::numeric * 65536 + a.counter AS x, b.ms::numeric * 65536 + b.counter AS y
FROM sample AS a, sample AS b WHERE (a.id * 7919 + b.id) % 400 = 0 OR a.id > 4600 AND b.id > 4600
                                 OR a.id > 2000 AND a.id < 2041 AND b.id > 2000 AND b.id < 2041;
SELECT ok(bool_and((a < b) = (x < y) AND (a <= b) = (x <= y) AND (a = b) = (x = y)
                   AND (a >= b) = (x >= y) AND (a > b) = (x > y) AND (a <> b) = (x <> y)),
          'operators agree with numeric') FROM pair;
SELECT ok(bool_and(hlc_cmp(a, b) = sign(x - y)), 'hlc_cmp agrees with numeric') FROM pair;
SELECT ok(bool_and(hlc_smaller(a, b) = CASE WHEN x < y THEN a ELSE b END
                   AND hlc_larger(a, b) = CASE WHEN x < y THEN b ELSE a END), 'smaller and larger') FROM pair;
SELECT ok(bool_and(by_h = by_x), 'sorting agrees with numeric')
FROM (SELECT dense_rank() OVER (ORDER BY h) AS by_h,
             dense_rank() OVER (ORDER BY ms::numeric * 65536 + counter) AS by_x FROM sample) AS s;
SELECT ok((SELECT min(h) FROM sample) = (SELECT h FROM sample ORDER BY ms, counter LIMIT 1)
          AND (SELECT max(h) FROM sample) = (SELECT h FROM sample ORDER BY ms DESC, counter DESC LIMIT 1), 'min and max');
SELECT ok(count(DISTINCT hlc_hash(h)) > count(DISTINCT h) * 0.99 AND bool_and(hlc_hash(h) = hlc_hash(h::text::hlc)),
          'hash: equal values agree, others rarely do') FROM sample;
SELECT ok(bool_and(hlc_hash(h) = hlc_hash_extended(h, 0)::bit(32)::int), 'both hashes agree without a seed') FROM sample;

SELECT * FROM finish();
ROLLBACK;
