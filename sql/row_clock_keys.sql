-- row_clock: the keys of objects.  Bytes and laws: test/pgtap/row_clock_keys.sql

-- U and V stand for uuids, S and Q for whole stamps
CREATE FUNCTION clock(short text) RETURNS row_clock LANGUAGE sql IMMUTABLE AS $$
  SELECT replace(replace(replace(replace(short,
           'S', '"hlc":"2026-11-20T10:00:00.123Z/4","replica":"U","node":"V","xid":742'),
           'Q', '"hlc":"2026-11-20T11:00:00.123Z/0","replica":"V","node":"V","xid":750'),
           'U', '11111111-1111-1111-1111-111111111111'),
           'V', '22222222-2222-2222-2222-222222222222')::row_clock
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

-- keys of two columns, some removed, some in pieces; they come out sorted bytewise
SELECT clock('{"stamps":[{S,"columns":[1,2],"base":[1],"keys":{"2":["z"]},"removed":{"2":["y",""]}},'
             '{Q,"columns":[3],"scope":true,"base":[2],"keys":{"1":["b","a"]},"removed":{"1":["B","a\"\u0001b"]}}, {Q,"keys":{"1":["ü","ab"]}}]}') AS rc \gset
SELECT :'rc';
SELECT column_id, key, is_removed, xid, replica = node AS by_node
FROM row_clock_keys(:'rc') AS k (column_id, key, is_removed, hlc, replica, node, xid);
SELECT column_id, xid FROM row_clock_entries(:'rc') AS e (column_id, hlc, replica, node, xid);
SELECT row_clock_max_hlc(:'rc');
-- a key counts for the latest hlc; a column without keys is as it was
SELECT row_clock_max_hlc(clock('{"stamps":[{S,"columns":[1]},{Q,"keys":{"1":["a"]}}]}'));
SELECT count(*) FROM row_clock_keys(clock('{"stamps":[{S,"columns":[1]}]}'));
SELECT clock('{"stamps":[{S,"columns":[1],"keys":{},"removed":{"1":[]},"base":[]}]}');

SELECT outcome('{"stamps":[{S,"columns":[1],"keys":["a"]}]}');
SELECT outcome('{"stamps":[{S,"columns":[1],"keys":{"a":["a"]}}]}');
SELECT outcome('{"stamps":[{S,"columns":[1],"keys":{1:["a"]}}]}');
SELECT outcome('{"stamps":[{S,"columns":[1],"keys":{"0":["a"]}}]}');
SELECT outcome('{"stamps":[{S,"columns":[1],"keys":{"1601":["a"]}}]}');
SELECT outcome('{"stamps":[{S,"columns":[1],"keys":{"1":"a"}}]}');
SELECT outcome('{"stamps":[{S,"columns":[1],"keys":{"1":[1]}}]}');
SELECT outcome('{"stamps":[{S,"columns":[1],"keys":{"1":[null]}}]}');
SELECT outcome('{"stamps":[{S,"columns":[1],"keys":{"1":["a"]},"keys":{"1":["b"]}}]}');
SELECT outcome('{"stamps":[{S,"columns":[1],"base":{"1":["a"]}}]}');
SELECT outcome('{"stamps":[{S,"keys":{}}]}');
-- a column with keys has a stamp itself
SELECT outcome('{"stamps":[{S,"columns":[2],"keys":{"1":["a"]}}]}');
SELECT outcome('{"stamps":[{S,"keys":{"1":["a"]}}]}');
-- each key once, and one base, which is not what goes without saying
SELECT outcome('{"stamps":[{S,"columns":[1],"keys":{"1":["a","a"]}}]}');
SELECT outcome('{"stamps":[{S,"columns":[1],"keys":{"1":["a"]},"removed":{"1":["a"]}}]}');
SELECT outcome('{"stamps":[{S,"columns":[1],"keys":{"1":["a"]}},{Q,"keys":{"1":["a"]}}]}');
SELECT outcome('{"stamps":[{S,"columns":[1],"base":[1,1]}]}');
SELECT outcome('{"stamps":[{S,"columns":[1]},{Q,"base":[1]},{S,"base":[1]}]}');
SELECT outcome('{"stamps":[{S,"columns":[1],"base":[1]}]}');
SELECT clock('{"stamps":[{S,"columns":[1]},{Q,"base":[1]}]}');
-- keys that have the base's stamp are not named, unless they were removed
SELECT outcome('{"stamps":[{S,"columns":[1],"base":[1],"keys":{"1":["a"]},"removed":{"1":["b"]}}]}');
SELECT outcome('{"stamps":[{S,"columns":[1,2],"base":[1],"removed":{"1":["b"]},"keys":{"2":["a"]}}]}');
-- limits
SELECT outcome(format('{"stamps":[{S,"columns":[1],"keys":{"1":["%s"]}}]}', repeat('a', 1025)));
SELECT length(outcome(format('{"stamps":[{S,"columns":[1],"keys":{"1":["%s"]}}]}', repeat('a', 1024))));
SELECT outcome(format('{"stamps":[{S,"columns":[1],"keys":{"1":[%s]}}]}', string_agg(to_json(n::text)::text, ','))) FROM generate_series(1, 10001) AS n;
SELECT count(*) FROM (SELECT format('{"stamps":[{S,"columns":[1],"keys":{"1":[%s]}}]}', string_agg(to_json(n::text)::text, ',')) AS short
                      FROM generate_series(1, 10000) AS n) AS s, row_clock_keys(clock(short));

DROP FUNCTION outcome, clock;
