-- row_clock: the text form, and what is not one.  Laws: test/pgtap/row_clock.sql

-- U, V, W stand for uuids, S for a whole stamp
CREATE FUNCTION clock(short text) RETURNS row_clock LANGUAGE sql IMMUTABLE AS $$
  SELECT replace(replace(replace(replace(short,
           'S', '"hlc":"2026-11-20T10:00:00.123Z/4","replica":"U","node":"V","xid":742'),
           'U', '11111111-1111-1111-1111-111111111111'),
           'V', '22222222-2222-2222-2222-222222222222'),
           'W', '33333333-3333-3333-3333-333333333333')::row_clock
$$;
CREATE FUNCTION outcome(short text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  detail text;
BEGIN
  RETURN clock(short)::text;
EXCEPTION WHEN OTHERS THEN
  GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL;
  RETURN SQLSTATE || ': ' || SQLERRM || coalesce(nullif('; ' || detail, '; '), '');
END $$;

SELECT clock('{}');
SELECT clock('{"stamps":[]}');
SELECT clock('{"stamps":[{S,"columns":[3,1,2],"scope":true}]}');
-- members in any order, white space, numbers as strings, one stamp in pieces
SELECT clock(' { "stamps" : [ {"columns":["2"],"xid":"742","node":"V","replica":"U","hlc":"2026-11-20T10:00:00.123Z/4"},'
             ' {"scop\u0065":true,S} , {S, "columns":[1]}] } ');
-- columns at the end without a stamp leave no trace, those before do
SELECT clock('{"stamps":[{S,"columns":[1,3]}]}');
-- the floor, the scope and the columns have their own stamps
SELECT clock('{"stamps":[{S,"columns":[1]},'
             '{"hlc":"2026-11-20T10:00:00Z/0","replica":"W","node":"V","xid":750,"floor":2},'
             '{"hlc":"2026-11-19T10:00:00Z/0","replica":"U","node":"V","xid":600,"floor":1,"scope":true}]}') AS rc \gset
SELECT row_clock_entries(:'rc');
SELECT row_clock_scope(:'rc');
SELECT row_clock_floor(:'rc');
SELECT row_clock_max_hlc(:'rc');
SELECT row_clock_max_hlc('{}') IS NULL AS nothing_has_no_hlc;

SELECT outcome('');
SELECT outcome('null');
SELECT outcome('[]');
SELECT outcome('{');
SELECT outcome('{}}');
SELECT outcome('{"stamps"}');
SELECT outcome('{"stamps":{}}');
SELECT outcome('{"stamps":[],"stamps":[]}');
SELECT outcome('{"clock":[]}');
SELECT outcome('{"stamps":[],}');
SELECT outcome('{"stamps":[{S,"columns":[1]},]}');
SELECT outcome('{"stamps":[{S,"columns":[1]}');
-- a stamp must be whole, and be good for something
SELECT outcome('{"stamps":[{}]}');
SELECT outcome('{"stamps":[{"hlc":"2026-11-20T10:00:00Z/0","replica":"U","node":"V","columns":[1]}]}');
SELECT outcome('{"stamps":[{S}]}');
SELECT outcome('{"stamps":[{S,"columns":[]}]}');
SELECT outcome('{"stamps":[{S,S,"columns":[1]}]}');
SELECT outcome('{"stamps":[{S,"columns":[1],"column":[2]}]}');
SELECT outcome('{"stamps":[{"hlc":"2026-11-20","replica":"U","node":"V","xid":1,"columns":[1]}]}');
SELECT outcome('{"stamps":[{"hlc":"2026-11-20T10:00:00Z/0","replica":"1","node":"V","xid":1,"columns":[1]}]}');
SELECT outcome('{"stamps":[{"hlc":"2026-11-20T10:00:00Z/0","replica":"U","node":null,"xid":1,"columns":[1]}]}');
SELECT outcome('{"stamps":[{"hlc":"2026-11-20T10:00:00Z/0","replica":"U","node":"V","xid":-1,"columns":[1]}]}');
SELECT outcome('{"stamps":[{"hlc":"2026-11-20T10:00:00Z/0","replica":"U","node":"V","xid":1.0,"columns":[1]}]}');
SELECT outcome('{"stamps":[{"hlc":"2026-11-20T10:00:00Z/0","replica":"U","node":"V","xid":01,"columns":[1]}]}');
SELECT outcome('{"stamps":[{"hlc":"2026-11-20T10:00:00Z/0","replica":"U","node":"V","xid":9223372036854775808,"columns":[1]}]}');
-- the largest that is legal
SELECT outcome('{"stamps":[{"hlc":"10889-08-02T05:31:50.655Z/65535","replica":"U","node":"V","xid":9223372036854775807,"columns":[1600]}]}');
SELECT outcome('{"stamps":[{S,"columns":[0]}]}');
SELECT outcome('{"stamps":[{S,"columns":[1601]}]}');
SELECT outcome('{"stamps":[{S,"columns":[1,1]}]}');
SELECT outcome('{"stamps":[{S,"columns":[1]},{S,"columns":[1]}]}');
SELECT outcome('{"stamps":[{S,"columns":[1,]}]}');
SELECT outcome('{"stamps":[{S,"columns":1}]}');
SELECT outcome('{"stamps":[{S,"scope":false}]}');
SELECT outcome('{"stamps":[{S,"scope":true},{S,"scope":true}]}');
SELECT outcome('{"stamps":[{S,"floor":0}]}');
SELECT outcome('{"stamps":[{S,"floor":1001}]}');
-- places in the floor are taken once, without gaps
SELECT outcome('{"stamps":[{S,"floor":2}]}');
SELECT outcome('{"stamps":[{S,"floor":1},{S,"floor":1}]}');

DROP FUNCTION outcome, clock;
