-- version_vector: the text form and what is not one, the binary form, operators
-- and functions.  Laws: test/pgtap/version_vector.sql
\getenv srcdir PG_ABS_SRCDIR
\set file :srcdir '/test/binary_input.sql'
\set ECHO none
\i :file
\set ECHO all

-- A, B, C stand for uuids
CREATE FUNCTION expand(short text) RETURNS text LANGUAGE sql IMMUTABLE AS $$
  SELECT replace(replace(replace(short, 'A', 'aaaaaaaa-0000-0000-0000-000000000001'),
                                        'B', 'bbbbbbbb-0000-0000-0000-000000000002'),
                                        'C', 'cccccccc-0000-0000-0000-000000000003')
$$;
CREATE FUNCTION vv(short text) RETURNS version_vector LANGUAGE sql IMMUTABLE AS $$
  SELECT expand(short)::version_vector
$$;
CREATE FUNCTION short(vv version_vector) RETURNS text LANGUAGE sql IMMUTABLE AS $$
  SELECT replace(replace(replace(vv::text, 'aaaaaaaa-0000-0000-0000-000000000001', 'A'),
                                           'bbbbbbbb-0000-0000-0000-000000000002', 'B'),
                                           'cccccccc-0000-0000-0000-000000000003', 'C')
$$;
CREATE FUNCTION outcome(value text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  detail text;
BEGIN
  RETURN short(vv(value));
EXCEPTION WHEN OTHERS THEN
  GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL;
  RETURN SQLSTATE || ': ' || detail;
END $$;

SELECT vv('{"A":17,"B":"20,22,24-30"}');
SELECT outcome('{}');
SELECT outcome(E' \t\r\n{ } ');
SELECT outcome(E'{\n  "A" : 17 ,\t"B" :"20,22" }\n');
-- a plain number may be given as a string
SELECT outcome('{"A":"17"}');
-- no base
SELECT outcome('{"A":"0,25"}');
-- pieces in any order, adjacent, overlapping, repeated, within the base
SELECT outcome('{"A":"20,24-30,22"}');
SELECT outcome('{"A":"20,22,21"}');
SELECT outcome('{"A":"20,22-25,24-30,24,30-31,5-9"}');
SELECT outcome('{"A":"0,3,1,2"}');
SELECT outcome('{"A":"0,1-1"}');
-- what covers nothing goes
SELECT outcome('{"A":0,"B":"0"}');
-- keys are joined, and sorted by their bytes
SELECT outcome('{"C":1,"A":2,"B":3}');
SELECT outcome('{"A":5,"B":1,"A":"0,6-9","A":3}');
-- other spellings of a uuid
SELECT short('{"AAAAAAAA-0000-0000-0000-000000000001":1}'::version_vector);
SELECT outcome('{"aaaaaaaa000000000000000000000001":1}');
SELECT outcome('{"{aaaaaaaa-0000-0000-0000-000000000001}":1}');
SELECT outcome('{"aaaa-aaaa-0000-0000-0000-0000-0000-0001":1}');
-- the largest counter
SELECT outcome('{"A":9223372036854775807}');
SELECT outcome('{"A":"9223372036854775806,9223372036854775807"}');
SELECT outcome('{"A":"0,9223372036854775807"}');

-- malformed: 22P02
SELECT outcome('');
SELECT outcome('null');
SELECT outcome('[]');
SELECT outcome('17');
SELECT outcome('"A"');
SELECT outcome('{');
SELECT outcome('}');
SELECT outcome('{}}');
SELECT outcome('{} {}');
SELECT outcome('{"A"');
SELECT outcome('{"A":');
SELECT outcome('{"A":1');
SELECT outcome('{"A":1,');
SELECT outcome('{"A":1,}');
SELECT outcome('{,"A":1}');
SELECT outcome('{"A":1 "B":1}');
SELECT outcome('{"A" 1}');
SELECT outcome('{A:1}');
SELECT outcome('{''A'':1}');
SELECT outcome('{"A:1}');
SELECT outcome('{"A":"1}');
-- keys that are no uuid
SELECT outcome('{"":1}');
SELECT outcome('{"device":1}');
SELECT outcome('{" A":1}');
SELECT outcome('{"A0":1}');
SELECT outcome('{"aaaaaaaa-0000-0000-0000-00000000001":1}');
SELECT outcome('{"gaaaaaaa-0000-0000-0000-000000000001":1}');
SELECT outcome('{"aaaaaaaa--0000-0000-0000-000000000001":1}');
SELECT outcome('{"aaa-aaaaa-0000-0000-0000-000000000001":1}');
SELECT outcome('{"{aaaaaaaa-0000-0000-0000-000000000001":1}');
SELECT outcome('{"aaaaaaaa-0000-0000-0000-000000000001}":1}');
SELECT outcome('{"aaaaaaaa-0000-0000-0000-000000000001-":1}');
-- escapes, which nothing here needs
SELECT outcome('{"\u0061aaaaaaa-0000-0000-0000-000000000001":1}');
SELECT outcome('{"A":"\u0031"}');
-- no counter
SELECT outcome('{"A":null}');
SELECT outcome('{"A":true}');
SELECT outcome('{"A":[1]}');
SELECT outcome('{"A":{"base":1}}');
SELECT outcome('{"A":""}');
SELECT outcome('{"A":"x"}');
-- integers, without sign, fraction, exponent, leading zeros
SELECT outcome('{"A":-1}');
SELECT outcome('{"A":+1}');
SELECT outcome('{"A":1.0}');
SELECT outcome('{"A":1e3}');
SELECT outcome('{"A":01}');
SELECT outcome('{"A":"01"}');
SELECT outcome('{"A":"0x1"}');
SELECT outcome('{"A":" 1"}');
SELECT outcome('{"A":"1 "}');
-- beyond bigint, also where 64 bits wrap around
SELECT outcome('{"A":9223372036854775808}');
SELECT outcome('{"A":"0,9223372036854775808"}');
SELECT outcome('{"A":18446744073709551617}');
SELECT outcome('{"A":99999999999999999999999999}');
-- a base comes first: this would not be "up to 24"
SELECT outcome('{"A":"24-30"}');
-- pieces
SELECT outcome('{"A":"1,"}');
SELECT outcome('{"A":",1"}');
SELECT outcome('{"A":"1,,3"}');
SELECT outcome('{"A":"1, 3"}');
SELECT outcome('{"A":"1;3"}');
SELECT outcome('{"A":"1,3-"}');
SELECT outcome('{"A":"1,-3"}');
SELECT outcome('{"A":"1,3-4-5"}');
-- backwards
SELECT outcome('{"A":"1,9-5"}');
-- 0 is a base, and nothing else: counters start at 1
SELECT outcome('{"A":"1,0"}');
SELECT outcome('{"A":"1,0-3"}');
-- the message shows the input
SELECT '{"A":1}'::version_vector;
-- a value too large to be kept
SELECT count(*) FROM (
  SELECT format('{"%s":"0,%s"}', gen_random_uuid(), string_agg((2 * n)::text, ','))::version_vector
  FROM generate_series(1, 1000000) AS n) AS largest;
DO $$
BEGIN
  PERFORM format('{"%s":"0,%s"}', gen_random_uuid(), string_agg((2 * n)::text, ','))::version_vector
  FROM generate_series(1, 1000001) AS n;
EXCEPTION WHEN program_limit_exceeded THEN
  RAISE NOTICE '%', SQLERRM;
END $$;

-- binary: version, then count of entries; each: uuid, count of ranges; each: left
-- out, further.
\set A aaaaaaaa000000000000000000000001
\set B bbbbbbbb000000000000000000000002
SELECT version_vector_send('{}');
SELECT version_vector_send(vv('{"A":17}'));
SELECT version_vector_send(vv('{"A":"20,22,24-30","B":"0,300"}'));
SELECT pg_temp.binary_outcome('version_vector', '\x0100');
SELECT pg_temp.binary_outcome('version_vector', ('\x0101' || :'A' || '010010')::bytea);
SELECT pg_temp.binary_outcome('version_vector', ('\x0102' || :'A' || '03001300000106' || :'B' || '01ab0200')::bytea);
-- the largest counter, as base and as the end of a range behind another
SELECT pg_temp.binary_outcome('version_vector', ('\x0101' || :'A' || '0100feffffffffffffff7f')::bytea);
SELECT pg_temp.binary_outcome('version_vector', ('\x0101' || :'A' || '02000000fcffffffffffffff7f')::bytea);
-- one more
SELECT pg_temp.binary_outcome('version_vector', ('\x0101' || :'A' || '0100ffffffffffffffff7f')::bytea);
SELECT pg_temp.binary_outcome('version_vector', ('\x0101' || :'A' || '01ffffffffffffffff7f00')::bytea);
SELECT pg_temp.binary_outcome('version_vector', ('\x0101' || :'A' || '02000000fdffffffffffffff7f')::bytea);
-- sums that wrap around
SELECT pg_temp.binary_outcome('version_vector', ('\x0101' || :'A' || '01ffffffffffffffffff01ffffffffffffffffff01')::bytea);
SELECT pg_temp.binary_outcome('version_vector', ('\x0101' || :'A' || '02' || '00feffffffffffffff7f' || '0000')::bytea);
-- empty; a version of the future, of no time
SELECT pg_temp.binary_outcome('version_vector', '\x');
SELECT pg_temp.binary_outcome('version_vector', '\x0200');
SELECT pg_temp.binary_outcome('version_vector', '\xff00');
SELECT pg_temp.binary_outcome('version_vector', '\x0000');
-- no count, bytes left over
SELECT pg_temp.binary_outcome('version_vector', '\x01');
SELECT pg_temp.binary_outcome('version_vector', '\x010000');
SELECT pg_temp.binary_outcome('version_vector', ('\x0101' || :'A' || '01001000')::bytea);
-- counts that the bytes cannot hold: nothing is allocated for them
SELECT pg_temp.binary_outcome('version_vector', '\x01ffffffff0f');
SELECT pg_temp.binary_outcome('version_vector', '\x01ffffffffffffffffff01');
SELECT pg_temp.binary_outcome('version_vector', ('\x0102' || :'A' || '010010')::bytea);
SELECT pg_temp.binary_outcome('version_vector', ('\x0101' || :'A' || 'ffffffff0f0010')::bytea);
SELECT pg_temp.binary_outcome('version_vector', ('\x0101' || :'A' || 'ffffffffffffffffff010010')::bytea);
-- an entry without ranges
SELECT pg_temp.binary_outcome('version_vector', ('\x0101' || :'A' || '000000')::bytea);
-- entries out of order, or twice
SELECT pg_temp.binary_outcome('version_vector', ('\x0102' || :'B' || '010010' || :'A' || '010010')::bytea);
SELECT pg_temp.binary_outcome('version_vector', ('\x0102' || :'A' || '010010' || :'A' || '010010')::bytea);
-- integers that are not in their shortest form, or do not end
SELECT pg_temp.binary_outcome('version_vector', '\x018000');
SELECT pg_temp.binary_outcome('version_vector', ('\x0101' || :'A' || '01009000')::bytea);
SELECT pg_temp.binary_outcome('version_vector', ('\x0101' || :'A' || '0100ffffffffffffffffffff01')::bytea);
SELECT pg_temp.binary_outcome('version_vector', ('\x0101' || :'A' || '010090')::bytea);
-- cut off anywhere
SELECT count(*) AS longer, count(*) FILTER (WHERE result LIKE '22P03:%') AS malformed
FROM version_vector_send(vv('{"A":"20,22,24-30","B":"0,300"}')) AS whole,
     generate_series(0, length(whole) - 1) AS n,
     pg_temp.binary_outcome('version_vector', substr(whole, 1, n)) AS result;

-- operators
SELECT short(vv('{"A":5,"B":"3,7"}') | vv('{"A":"2,6-8","C":1}'));
SELECT short(vv_join('{}', '{}'));
CREATE FUNCTION relations(a text, b text) RETURNS text LANGUAGE sql AS $$
  SELECT concat_ws(' ', CASE WHEN vv(a) = vv(b) THEN '=' END, CASE WHEN vv(a) <> vv(b) THEN '<>' END,
                        CASE WHEN vv(a) < vv(b) THEN '<' END, CASE WHEN vv(a) <= vv(b) THEN '<=' END,
                        CASE WHEN vv(a) > vv(b) THEN '>' END, CASE WHEN vv(a) >= vv(b) THEN '>=' END,
                        CASE WHEN vv(a) || vv(b) THEN '||' END,
                        CASE WHEN vv(a) @> vv(b) THEN '@>' END, CASE WHEN vv(a) <@ vv(b) THEN '<@' END)
$$;
SELECT relations('{}', '{}');
SELECT relations('{}', '{"A":1}');
SELECT relations('{"A":1}', '{"A":1}');
SELECT relations('{"A":2}', '{"A":1}');
SELECT relations('{"A":1}', '{"B":1}');
SELECT relations('{"A":1,"B":2}', '{"A":2,"B":1}');
SELECT relations('{"A":1,"B":2}', '{"B":1}');
SELECT relations('{"A":"5,7"}', '{"A":7}');
SELECT relations('{"A":"5,7"}', '{"A":6}');
SELECT relations('{"A":"5,7-9"}', '{"A":"5,8"}');
SELECT relations('{"A":"5,7-9"}', '{"A":"5,9-10"}');
SELECT relations('{"A":"0,7"}', '{"A":"0,9"}');

-- what is covered
SELECT counter, vv_covers(vv('{"A":"2,5-6"}'), expand('A')::uuid, counter) AS by_function,
       vv('{"A":"2,5-6"}') @> ROW(expand('A')::uuid, counter)::version_vector_entry AS by_operator
FROM unnest('{0,1,2,3,4,5,6,7,9223372036854775807}'::bigint[]) AS counter;
SELECT vv_covers('{}', expand('A')::uuid, 0), vv_covers('{}', expand('A')::uuid, 1);
SELECT vv_covers(vv('{"A":9223372036854775807}'), expand('A')::uuid, 9223372036854775807);
-- a row without a type will do
SELECT vv('{"A":2}') @> ROW(expand('A')::uuid, 2);
SELECT (vv('{"A":2}') @> ROW(NULL, 2)::version_vector_entry) IS NULL AS of_nobody;
SELECT vv_covers('{}', expand('A')::uuid, -1);

SELECT vv_get(vv('{"A":"2,5-6"}'), expand('A')::uuid), vv_get(vv('{"A":"0,5-6"}'), expand('A')::uuid),
       vv_get(vv('{"A":"0,5-6"}'), expand('B')::uuid);
SELECT short(vv_increment('{}', expand('A')::uuid));
SELECT short(vv_increment(vv('{"B":7}'), expand('A')::uuid));
SELECT short(vv_increment(vv('{"A":7,"B":7}'), expand('A')::uuid));
-- the next after the largest
SELECT short(vv_increment(vv('{"A":"2,5-6"}'), expand('A')::uuid));
SELECT vv_increment(vv('{"A":"2,9223372036854775807"}'), expand('A')::uuid);

SELECT * FROM vv_entries(vv('{"A":17,"B":"20,22,24-30","C":"0,25"}'));
SELECT * FROM vv_entries('{}');

-- aggregate
SELECT short(vv_join_agg(vv(v))) FROM unnest(ARRAY['{"A":5}', '{"B":1}', NULL, '{"A":"0,7"}', '{}', '{"A":6}']) AS v;
SELECT short(vv_join_agg(vv(v))) FROM unnest(ARRAY['{}', NULL]) AS v;
SELECT vv_join_agg(v) IS NULL AS none FROM unnest(ARRAY[]::version_vector[]) AS v;
SELECT vv_join_agg(v) IS NULL AS none FROM unnest(ARRAY[NULL]::version_vector[]) AS v;
-- the state goes on after a result was taken
SELECT short(vv_join_agg(vv(v)) OVER (ORDER BY n))
FROM unnest(ARRAY['{"A":1}', '{"A":"0,3"}', '{"A":2}']) WITH ORDINALITY AS s (v, n);

-- DISTINCT, GROUP BY, hash joins, hash index, in columns wide enough to be compressed
CREATE TABLE vv_test (id int, seen version_vector);
INSERT INTO vv_test
SELECT n, format('{"%s":%s,"%s":"0,%s"}', md5((n % 10)::text)::uuid, n % 3 + 1, md5('other')::uuid,
                 (SELECT string_agg((i * 3)::text, ',') FROM generate_series(1, n % 5 * 200 + 1) AS i))::version_vector
FROM generate_series(1, 600) AS n;
SELECT count(*) FROM (SELECT DISTINCT seen FROM vv_test) AS s;
SELECT count(*), min(n), max(n) FROM (SELECT count(*) AS n FROM vv_test GROUP BY seen) AS s;
SET enable_nestloop = off;
SELECT count(*) FROM vv_test AS a JOIN vv_test AS b USING (seen);
CREATE INDEX ON vv_test USING hash (seen);
SET enable_seqscan = off;
SELECT count(*) FROM vv_test WHERE seen = (SELECT seen FROM vv_test WHERE id = 44);
RESET enable_seqscan;
RESET enable_nestloop;
SELECT bool_and(seen::text::version_vector = seen AND vv_hash(seen) = vv_hash(seen::text::version_vector)) AS same
FROM vv_test;
SELECT vv_hash(vv('{"A":1}')) = vv_hash_extended(vv('{"A":1}'), 0)::bit(32)::int AS low_bits_agree,
       vv_hash_extended(vv('{"A":1}'), 0) <> vv_hash_extended(vv('{"A":1}'), 1) AS seed_matters;
DROP TABLE vv_test;

DROP FUNCTION outcome, relations, vv, short, expand;
