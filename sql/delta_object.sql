-- delta: objects that are added, key by key.  Laws and bytes: test/pgtap/delta_object.sql
CREATE FUNCTION outcome(cells text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  detail text;
BEGIN
  RETURN substring(format('{"format":1,"replica":"11111111-1111-1111-1111-111111111111","changes":[{"seq":1,"hlc":"2026-11-20T10:00:00.000Z/0","table":"t","key":{"id":1},%s}]}',
                          cells)::delta::text FROM '"key":{"id":1},(.*)}]}$');
EXCEPTION WHEN OTHERS THEN
  RETURN SQLSTATE || ': ' || SQLERRM;
END $$;

-- as it is written, beside lists
SELECT outcome('"add":{"v": { "b" : 1,"a":[1.0, {}], "b":2} ,"w":["z","y"]},"remove":{"v":["c","a","c"]}');
SELECT outcome('"add":{"v":{}},"remove":{"v":[]},"set":{"w":{}}');
-- an object with the one key $json is wrapped, as it is everywhere
SELECT outcome('"add":{"v":{"$json":{"$json":1}}}');
SELECT outcome('"add":{"v":{"$json":{"a":1}}}');
SELECT outcome('"add":{"v":{"$json":1,"a":2}}');

SELECT outcome('"add":{"v":{"$json":1}}');
SELECT outcome('"add":{"v":{"$json":["a"]}}');
SELECT outcome('"add":{"v":{"$json":null}}');
SELECT outcome('"add":{"v":null}');
SELECT outcome('"add":{"v":1}');
SELECT outcome('"add":{"v":"{}"}');
SELECT outcome('"add":{"v":{"a"}}');
SELECT outcome('"add":{"v":{"a":1,}}');
SELECT outcome('"add":{"v":{"a":1}');
SELECT outcome('"add":{"v":{"a":1},"v":{"b":1}}');
SELECT outcome('"add":{"v":["a"],"v":{"b":1}}');
SELECT outcome('"remove":{"v":{"a":1}}');
SELECT outcome('"increment":{"v":{"a":1}}');
-- limits
SET offline_sync.max_value_size = '1kB';
SELECT outcome(format('"add":{"v":{"a":"%s"}}', repeat('x', 1017)));
SELECT length(outcome(format('"add":{"v":{"a":"%s"}}', repeat('x', 1016))));
RESET offline_sync.max_value_size;
SELECT outcome('"add":{"v":{"a":' || repeat('[', 1000) || repeat(']', 1000) || '}}');
SELECT length(outcome('"add":{"v":{"a":' || repeat('[', 999) || repeat(']', 999) || '}}'));
-- a look inside
SELECT change FROM delta_changes('{"format":1,"replica":"11111111-1111-1111-1111-111111111111","changes":[{"seq":1,"hlc":"2026-11-20T10:00:00.000Z/0","table":"t","key":{"id":1},"add":{"v":{"a":1}}}]}'::delta) AS change;
DROP FUNCTION outcome;
