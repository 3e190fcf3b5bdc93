-- hlc: the text form and what is not one, the binary form, conversions, order.
-- Laws: test/pgtap/hlc.sql
\getenv srcdir PG_ABS_SRCDIR
\set file :srcdir '/test/binary_input.sql'
\set ECHO none
\i :file
\set ECHO all

CREATE FUNCTION outcome(value text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
  RETURN value::hlc::text;
EXCEPTION WHEN OTHERS THEN
  RETURN SQLSTATE || ': ' || SQLERRM;
END $$;
CREATE FUNCTION outcome(at timestamptz, counter int) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
  RETURN hlc(at, counter)::text;
EXCEPTION WHEN OTHERS THEN
  RETURN SQLSTATE || ': ' || SQLERRM;
END $$;

SELECT outcome('2026-11-20T10:00:00.123Z/4');
-- the first and the last
SELECT outcome('1970-01-01T00:00:00.000Z/0');
SELECT outcome('10889-08-02T05:31:50.655Z/65535');
-- fewer digits of fraction, no fraction, no counter
SELECT outcome('2026-11-20T10:00:00.12Z/4');
SELECT outcome('2026-11-20T10:00:00.1Z/4');
SELECT outcome('2026-11-20T10:00:00Z/4');
SELECT outcome('2026-11-20T10:00:00.123Z');
SELECT outcome('2026-11-20T10:00:00Z');
-- leap years: every fourth, not every hundredth, but every four hundredth
SELECT outcome('2024-02-29T23:59:59.999Z/0');
SELECT outcome('2000-02-29T00:00:00.000Z/0');
SELECT outcome('9999-12-31T23:59:59.999Z/65535');
SELECT outcome('10000-01-01T00:00:00.000Z/0');

-- malformed: 22P02
SELECT outcome('');
SELECT outcome('now');
-- white space is no part of it
SELECT outcome(' 2026-11-20T10:00:00.123Z/4');
SELECT outcome('2026-11-20T10:00:00.123Z/4 ');
-- cut off anywhere
SELECT count(*) AS malformed FROM generate_series(0, 19) AS n
WHERE outcome(left('2026-11-20T10:00:00.123Z/4', n)) LIKE '22P02:%';
SELECT outcome('2026-11-20T10:00:00.123');
SELECT outcome('2026-11-20T10:00:00.123Z/');
-- other separators, lower case
SELECT outcome('2026-11-20 10:00:00.123Z/4');
SELECT outcome('2026-11-20t10:00:00.123z/4');
SELECT outcome('2026/11/20T10:00:00.123Z/4');
SELECT outcome('20261120T100000.123Z/4');
-- a point without digits, digits that a clock cannot hold
SELECT outcome('2026-11-20T10:00:00.Z/4');
SELECT outcome('2026-11-20T10:00:00.1234Z/4');
SELECT outcome('2026-11-20T10:00:00,123Z/4');
-- another zone, none
SELECT outcome('2026-11-20T10:00:00.123+00:00/4');
SELECT outcome('2026-11-20T10:00:00.123/4');
-- years have four digits, or five where they need them
SELECT outcome('226-11-20T10:00:00.123Z/4');
SELECT outcome('02026-11-20T10:00:00.123Z/4');
SELECT outcome('110889-11-20T10:00:00.123Z/4');
SELECT outcome('-2026-11-20T10:00:00.123Z/4');
SELECT outcome('2026-1-20T10:00:00.123Z/4');
-- a counter has no sign and no leading zeros
SELECT outcome('2026-11-20T10:00:00.123Z/-4');
SELECT outcome('2026-11-20T10:00:00.123Z/+4');
SELECT outcome('2026-11-20T10:00:00.123Z/04');
SELECT outcome('2026-11-20T10:00:00.123Z/00');
SELECT outcome('2026-11-20T10:00:00.123Z/4x');
SELECT outcome('2026-11-20T10:00:00.123Z/0x4');
SELECT outcome('2026-11-20T10:00:00.123Z/4/4');
-- digits of other scripts
SELECT outcome('２026-11-20T10:00:00.123Z/4');

-- well-formed, but there is no such value: 22008
SELECT outcome('2026-00-20T10:00:00.123Z/4');
SELECT outcome('2026-13-20T10:00:00.123Z/4');
SELECT outcome('2026-11-00T10:00:00.123Z/4');
SELECT outcome('2026-11-31T10:00:00.123Z/4');
SELECT outcome('2026-02-29T10:00:00.123Z/4');
SELECT outcome('2100-02-29T10:00:00.123Z/4');
SELECT outcome('2026-11-20T24:00:00.000Z/4');
SELECT outcome('2026-11-20T10:60:00.123Z/4');
-- leap seconds cannot be held
SELECT outcome('2016-12-31T23:59:60.000Z/4');
SELECT outcome('2026-11-20T10:00:00.123Z/65536');
SELECT outcome('2026-11-20T10:00:00.123Z/18446744073709551620');
SELECT outcome('1969-12-31T23:59:59.999Z/0');
SELECT outcome('0000-01-01T00:00:00.000Z/0');
SELECT outcome('10889-08-02T05:31:50.656Z/0');
SELECT outcome('99999-12-31T23:59:59.999Z/0');

-- text does not depend on the session
SET datestyle = 'SQL, DMY';
SET timezone = 'Pacific/Chatham';
SELECT outcome('2026-11-20T10:00:00.123Z/4');
SELECT '2026-11-20T10:00:00.123Z/4'::hlc::timestamptz = '2026-11-20 10:00:00.123+00' AS same_moment;
RESET datestyle;
RESET timezone;

-- binary
SELECT hlc_send('1970-01-01T00:00:00.001Z/2');
SELECT pg_temp.binary_outcome('hlc', '\x0000000000010002');
SELECT pg_temp.binary_outcome('hlc', '\xffffffffffffffff');
SELECT pg_temp.binary_outcome('hlc', '\x8000000000000000');
-- cut off, too long, empty
SELECT pg_temp.binary_outcome('hlc', '\x00000000000100');
SELECT pg_temp.binary_outcome('hlc', '\x000000000001000200');
SELECT pg_temp.binary_outcome('hlc', '');

-- conversions
SELECT hlc('2026-11-20 10:00:00.123999+00', 7);
SELECT hlc('2026-11-20 10:00:00.123999+00'::timestamptz);
SELECT hlc('10889-08-02 05:31:50.655999+00', 65535);
SELECT hlc_counter('2026-11-20T10:00:00.123Z/65535');
CREATE TEMP TABLE moment (at timestamptz);
INSERT INTO moment SELECT '2026-11-20T10:00:00.123Z/4'::hlc;
SELECT at = '2026-11-20 10:00:00.123+00' AS cast_by_assignment FROM moment;
-- out of range
SELECT outcome('1969-12-31 23:59:59.999999+00', 0);
SELECT outcome('10889-08-02 05:31:50.656+00', 0);
SELECT outcome('infinity', 0);
SELECT outcome('-infinity', 0);
SELECT outcome('4713-01-01 00:00:00+00 BC', 0);
SELECT outcome('294276-12-31 23:59:59.999999+00', 0);
SELECT outcome('2026-11-20 10:00:00+00', -1);
SELECT outcome('2026-11-20 10:00:00+00', 65536);

-- order: milliseconds, then counter, both without sign
SELECT min(h), max(h), count(DISTINCT h)
FROM unnest(ARRAY['2026-11-20T10:00:00.123Z/4', '2026-11-20T10:00:00.123Z/40',
                  '2026-11-20T10:00:00.122Z/65535', '1970-01-01T00:00:00.000Z/0',
                  '10889-08-02T05:31:50.655Z/65535', '2026-11-20T10:00:00.123Z/4']::hlc[]) AS h;
SELECT min(h) IS NULL AND max(h) IS NULL AS nothing_has_no_order FROM unnest('{}'::hlc[]) AS h;

-- indexes serve order, equality and min/max
CREATE FUNCTION uses(query text, index text) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
  plan json;
BEGIN
  EXECUTE 'EXPLAIN (FORMAT json) ' || query INTO plan;
  RETURN strpos(plan::text, format('"Index Name": "%s"', index)) > 0;
END $$;
CREATE TABLE hlc_test (h hlc);
INSERT INTO hlc_test SELECT hlc('2026-11-20 10:00:00+00'::timestamptz + n * interval '1 ms', n % 7)
FROM generate_series(1, 2000) AS n;
CREATE INDEX hlc_btree ON hlc_test (h);
CREATE INDEX hlc_hash ON hlc_test USING hash (h);
ANALYZE hlc_test;
SET enable_seqscan = off;
SELECT uses('SELECT max(h) FROM hlc_test', 'hlc_btree');
SELECT max(h), min(h) FROM hlc_test;
SELECT uses($$SELECT FROM hlc_test WHERE h < '2026-11-20T10:00:00.100Z/0'$$, 'hlc_btree');
SELECT count(*) FROM hlc_test WHERE h < '2026-11-20T10:00:00.100Z/0';
SELECT count(*) FROM hlc_test WHERE h >= '2026-11-20T10:00:01.900Z/0';
DROP INDEX hlc_btree;
SELECT uses($$SELECT FROM hlc_test WHERE h = '2026-11-20T10:00:00.700Z/0'$$, 'hlc_hash');
SELECT h FROM hlc_test WHERE h = '2026-11-20T10:00:00.700Z/0';
RESET enable_seqscan;

DROP TABLE hlc_test;
DROP FUNCTION outcome(text), outcome(timestamptz, int), uses;
