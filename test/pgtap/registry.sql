--
-- Values of every type survive the way out to a device and in again bit for bit,
-- whatever the session's settings are
--
BEGIN;
CREATE EXTENSION IF NOT EXISTS pgtap;
CREATE EXTENSION offline_sync;
SELECT * FROM no_plan();

CREATE TYPE mood AS ENUM ('sad', 'it''s "ok"');
CREATE DOMAIN short_numeric AS numeric(10,2) CHECK (value > 0);
CREATE DOMAIN any_json AS jsonb;
CREATE DOMAIN own_uuid AS uuid;
CREATE TYPE pair AS (a int, "b c" text, d timestamptz, e float8[]);
CREATE SCHEMA "S p";
CREATE TYPE "S p"."T y" AS ENUM ('x');

CREATE TABLE source (
    id int, u uuid, o own_uuid, k numeric, c char(5), ts timestamptz, f float8,
    t_bool bool, t_int2 int2, t_int8 int8, t_numeric numeric, t_float4 float4, t_float8 float8,
    t_text text, t_varchar varchar(10), t_name name, t_char "char", t_bytea bytea,
    t_date date, t_time time, t_timetz timetz, t_timestamp timestamp, t_timestamptz timestamptz, t_interval interval,
    t_json json, t_jsonb jsonb, t_any_json any_json, t_jsonpath jsonpath,
    t_texts text[], t_ints int[], t_times timestamptz[],
    t_int4range int4range, t_tstzrange tstzrange, t_tstzmultirange tstzmultirange,
    t_mood mood, t_short short_numeric, t_pair pair, t_pairs pair[],
    t_money money, t_bit bit(5), t_varbit varbit,
    t_inet inet, t_cidr cidr, t_macaddr macaddr, t_macaddr8 macaddr8,
    t_tsvector tsvector, t_tsquery tsquery, t_xml xml,
    t_point point, t_line line, t_lseg lseg, t_box box, t_path path, t_polygon polygon, t_circle circle,
    t_regclass regclass, t_regproc regproc, t_regprocedure regprocedure, t_regoperator regoperator,
    t_regtype regtype, t_regrole regrole, t_regnamespace regnamespace, t_regconfig regconfig,
    t_oid oid, t_xid xid, t_xid8 xid8, t_tid tid, t_lsn pg_lsn, t_snapshot pg_snapshot, t_oidvector oidvector,
    t_enum "S p"."T y",
    PRIMARY KEY (id, u, o, k, c, ts, f));

INSERT INTO source VALUES
(-5, 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a12', 1.500, 'ab', '2026-01-02 03:04:05.678901+05:30', '0.1',
 true, -32768, 9223372036854775807, '12345678901234567890123456789012345678.123456789', '3.4028235e38', '-0',
 E'tab\t"q" \\ \u00e9\u2028 \x01', 'a', 'nm', 'x', '\x00ff5c27',
 '2026-02-03', '23:59:59.999999', '23:59:59.999999-15:59', '0001-01-01 00:00:00 BC', '294276-12-31 23:59:59.999999+00', '-1 year -2 mons +3 days -04:05:06.789',
 '{ "a" :  1.0,   "a": "\u0041\ud83d\ude00" }', '{"b": [1, 1.50, null, "x\ny"], "a": {}}', '{"z": null}', '$.a[*] ? (@ > 1)',
 '{a,NULL,"NULL","b,c","",null}', '[0:1][3:4]={{1,2},{3,4}}', '{2026-01-01 00:00+00,infinity,NULL}',
 '[1,5)', '["2026-01-01 00:00+02",)', '{[2026-01-01,2026-02-01),[2026-03-01,)}',
 'it''s "ok"', 12.30, ROW (1, 'q "x", (y)', '2026-01-01 01:00+03', '{0.1,NaN,-Infinity}'), ARRAY[ROW (NULL, '', NULL, NULL)::pair],
 '-1234.56', B'10101', B'', '10.1.2.3/8', '10.0.0.0/8', '08:00:2b:01:02:03', '08:00:2b:01:02:03:04:05',
 $$'a b':1A,2B 'c'$$, $$'a b' & !c:AB$$, '<a>text <b/> more</a>tail',
 '(1.1,-0)', '{1,2,3}', '[(0,0),(1,1)]', '(1,1),(0,0)', '[(0,0),(1e300,1e-300)]', '((0,0),(1,1),(1,0))', '<(0,0),5>',
 'pg_class', 'pg_catalog.now', 'sum(int4)', '+(int4,int4)', '"S p"."T y"', 'pg_monitor', '"S p"', 'english',
 '4294967295', '4294967295', '18446744073709551615', '(1,2)', '16/B374D848', '10:20:10,14,15', '1 2 3', 'x');
INSERT INTO source (id, u, o, k, c, ts, f, t_numeric, t_float4, t_float8, t_timestamp, t_date, t_interval,
                    t_json, t_jsonb, t_any_json, t_text, t_texts, t_int4range, t_tstzrange, t_tstzmultirange, t_bytea, t_xml, t_bool)
VALUES (1, gen_random_uuid(), gen_random_uuid(), 'NaN', '', 'infinity', 'NaN', '-0.00', '-Infinity', 'NaN', '-infinity', 'infinity', '0',
        'null', 'null', 'null', '', '{}', 'empty', 'empty', '{}', '', '', false);
INSERT INTO source (id, u, o, k, c, ts, f, t_numeric, t_float4, t_float8, t_json, t_jsonb, t_any_json)
VALUES (2, gen_random_uuid(), gen_random_uuid(), 1e30, 'a b', '-infinity', '4.9406564584124654e-324', 'Infinity', '1e-45', '4.9406564584124654e-324', '"str\/ing"', '"str"', '"x"'),
       (3, gen_random_uuid(), gen_random_uuid(), 0.00, 'x', '2026-01-01', '1.7976931348623157e308', '1e-30', '0.1', '1.7976931348623157e308', '[1 , 2]', '{"$json": null}', '{"$json": 1}'),
       (4, gen_random_uuid(), gen_random_uuid(), 1, 'y', '2026-01-01', '0.1', '-1e-1000', '16777216', '0.30000000000000004', '{"$json": 1}', '[]', 'true'),
       (5, gen_random_uuid(), gen_random_uuid(), 1, 'y', '2026-01-01', '-Infinity', 'NaN', 'NaN', '9007199254740993', '1e400', '1e400', '1e400'),
       (6, gen_random_uuid(), gen_random_uuid(), 1, 'y', '2026-01-01', '1', 1.000, 1, 1, 'true', 'false', '{"$json": {"$json": null}}');
CREATE TABLE target (LIKE source INCLUDING ALL);

SELECT sync_enable_table('source');
SELECT sync_enable_table('target');
SELECT sync_register_device('11111111-1111-4111-8111-111111111111');
SELECT sync_register_device('22222222-2222-4222-8222-222222222222');

CREATE PROCEDURE odd_settings() LANGUAGE plpgsql AS $$
BEGIN
    SET LOCAL datestyle = 'German';
    SET LOCAL timezone = 'Asia/Kolkata';
    SET LOCAL intervalstyle = 'iso_8601';
    SET LOCAL extra_float_digits = -15;
    SET LOCAL bytea_output = 'escape';
    SET LOCAL xmloption = 'document';
    SET LOCAL array_nulls = off;
    SET LOCAL quote_all_identifiers = on;
    SET LOCAL search_path = "S p", public;
END $$;
CREATE PROCEDURE plain_settings() LANGUAGE plpgsql AS $$
BEGIN
    RESET datestyle; RESET timezone; RESET intervalstyle; RESET extra_float_digits; RESET bytea_output;
    RESET xmloption; RESET array_nulls; RESET quote_all_identifiers; RESET search_path;
END $$;

-- what a device gets of a table, each change as the row of another table
CREATE FUNCTION as_pushed(served delta, device uuid, from_table text, to_table text) RETURNS delta
LANGUAGE sql AS $$
    SELECT format('{"format": 1, "replica": "%s", "changes": [%s]}', device, string_agg(
             format('{"seq": %s, "hlc": "2026-01-01T00:00:00.000Z/0", "table": "%s", "key": %s, "insert": %s}',
                    n, to_table, change->'key', change->'insert'), ', ' ORDER BY n))::delta
    FROM (SELECT change, row_number() OVER () AS n
          FROM json_array_elements(served::text::json->'changes') change
          WHERE change->>'table' = from_table AND change->'insert' IS NOT NULL) c $$;

-- served under odd settings, applied under odd ones
CALL odd_settings();
CREATE TEMPORARY TABLE served AS
SELECT public.sync_changes_since('11111111-1111-4111-8111-111111111111', '{}') AS d;
CREATE TEMPORARY TABLE applied AS
SELECT r.* FROM served, public.sync_apply_delta(public.as_pushed(d, '22222222-2222-4222-8222-222222222222', 'source', 'target')) r;
SELECT current_setting('datestyle') || ' ' || current_setting('timezone') AS settings \gset
CALL public.plain_settings();
SELECT is(:'settings'::text, 'German, DMY Asia/Kolkata', 'the session''s settings stay');
SELECT is((SELECT status FROM applied), 'applied', 'everything served can be applied');
SELECT is((SELECT outcomes FROM applied), '[]'::jsonb, 'nothing of it is refused or altered');
SELECT is((SELECT applied FROM applied), 7, 'every row');
SELECT is((SELECT coalesce(json_array_length(corrections::text::json->'changes'), 0) FROM applied), 0,
          'and what is stored is what was sent');

-- compares the stored bytes, column by column so that a failure tells which
CREATE FUNCTION differing() RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE col text; n int;
BEGIN
    FOR col IN SELECT attname FROM pg_attribute
               WHERE attrelid = 'source'::regclass AND attnum > 0 AND attname <> '_sync' ORDER BY attnum
    LOOP
        EXECUTE format('SELECT count(*) FROM source s FULL JOIN target t USING (id)
                        WHERE record_image_eq(ROW (s.%1$I), ROW (t.%1$I)) IS NOT TRUE', col) INTO n;
        IF n > 0 THEN RETURN NEXT col || ' in ' || n || ' rows'; END IF;
    END LOOP;
END $$;
SELECT is_empty('SELECT differing()', 'every value of every type, bit for bit');
UPDATE target SET t_text = t_text || 'x' WHERE id = -5;
SELECT is((SELECT array_agg(d) FROM differing() d), '{t_text in 1 rows}'::text[], 'the comparison can fail');

-- served again under other settings: the same letters
CREATE TEMPORARY TABLE served_again AS
SELECT sync_changes_since('11111111-1111-4111-8111-111111111111', '{}') AS d;
SELECT is((SELECT as_pushed(d, '22222222-2222-4222-8222-222222222222', 'source', 'target') FROM served_again)::text,
          (SELECT as_pushed(d, '22222222-2222-4222-8222-222222222222', 'source', 'target') FROM served)::text,
          'the text of values does not depend on the session');

-- ---------------------------------------------------------------------------
-- Errors that clients and administrators act on
-- ---------------------------------------------------------------------------
CREATE TABLE plain (id int PRIMARY KEY, _sync int, n int);
CREATE VIEW plain_view AS TABLE plain;
CREATE TABLE keyless (id int);
CREATE TEMPORARY TABLE fleeting (id int PRIMARY KEY);
SELECT throws_ok('SELECT sync_enable_table(''source'')', '42710');
SELECT throws_ok('SELECT sync_enable_table(''plain'')', '42701');
SELECT throws_ok('SELECT sync_enable_table(''plain_view'')', '42809');
SELECT throws_ok('SELECT sync_enable_table(''keyless'')', '55000');
SELECT throws_ok('SELECT sync_enable_table(''fleeting'')', '0A000');
SELECT throws_ok('SELECT sync_enable_table(''pg_class'')', '42501');
SELECT throws_ok('SELECT sync_enable_table(0)', '42P01');
SELECT throws_ok('SELECT sync_disable_table(''keyless'')', '55000');
SELECT throws_ok('SELECT sync_set_policy(''source'', ''nothing'', ''lww'')', '42703');
SELECT throws_ok('SELECT sync_set_policy(''source'', ''t_text'', ''counter'')', '42804');
SELECT throws_ok('SELECT sync_set_policy(''source'', ''t_text'', ''nothing'')', '22023');
ALTER TABLE plain DROP _sync CASCADE;
SELECT throws_ok('SELECT sync_enable_table(''plain'', ''nothing'')', '42703');
SELECT throws_ok('SELECT sync_enable_table(''plain'', NULL, ''{"n": "nothing"}'')', '22023');
SELECT throws_ok('SELECT sync_enable_table(''plain'', NULL, ''{}'', ''{"nothing": ""}'')', '22023');
SELECT throws_ok('SELECT sync_enable_table(''plain'', NULL, ''{}'', ''{"name": "source"}'')', '42710');
SELECT throws_ok('ALTER TABLE source DROP COLUMN _sync', '55000');
SELECT throws_ok('ALTER TABLE source DROP CONSTRAINT source_pkey', '55000');
SELECT lives_ok('SELECT sync_enable_table(''plain'')');

SELECT * FROM finish();
ROLLBACK;
