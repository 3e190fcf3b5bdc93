-- orset: the text forms, what is not one, casts.  Laws: test/pgtap/orset.sql

-- U and V stand for uuids
CREATE FUNCTION outcome(short text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  detail text;
BEGIN
  RETURN replace(replace(short, 'U', '11111111-1111-1111-1111-111111111111'),
                 'V', '22222222-2222-2222-2222-222222222222')::orset::text;
EXCEPTION WHEN OTHERS THEN
  GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL;
  RETURN SQLSTATE || ': ' || SQLERRM || coalesce(nullif('; ' || detail, '; '), '');
END $$;

-- the short form
SELECT outcome('{}');
SELECT outcome('{"bob","ann"}');
SELECT outcome(' { "bob" , "ann" , "bob" } ');
SELECT outcome('["bob","ann"]');
SELECT outcome('[]');
SELECT outcome('{""}');
SELECT outcome('{"a b","{}",":","\"\\\/\b\f\n\r\t","\u00e4\u20ac\ud83d\ude00"}');
SELECT outcome('{"elements"}');
-- in bytewise order, whatever the locale
SELECT outcome('{"b","B","a","Ab","ä","aa",""}');
-- the full form
SELECT outcome('{"elements":{}}');
SELECT outcome('{"elements":{"bob":[],"ann":[["U",5]]},"context":{"U":7}}');
SELECT outcome('{"context":{"V": "0,2-3"}, "elements":{"ann":[["V","3"],["U",5],["V",2],["V",3]]}}');
-- a plain mark beside tags, once or twice; without tags it goes without saying
SELECT outcome('{"elements":{"ann":[["U",5],null,null],"bob":[null],"eve":[]}}');
-- the context without elements
SELECT outcome('{"elements":{},"context":{"U":7}}');
-- nothing was ever tagged: the short form
SELECT outcome('{"elements":{"ann":[null]},"context":{}}');
SELECT outcome('{"elements":{"ann":[["U",9223372036854775807]]}}');

SELECT outcome('');
SELECT outcome('{');
SELECT outcome('"ann"');
SELECT outcome('null');
SELECT outcome('{ann}');
SELECT outcome('{"ann"');
SELECT outcome('{"ann}');
SELECT outcome('{"ann",}');
SELECT outcome('{"ann" "bob"}');
SELECT outcome('{"ann"]');
SELECT outcome('["ann"}');
SELECT outcome('{"ann"} x');
SELECT outcome('{null}');
SELECT outcome('{1}');
-- not text
SELECT outcome('{"a\u0000b"}');
SELECT outcome('{"\ud83d"}');
SELECT outcome('{"\ude00"}');
SELECT outcome('{"\ud83d\u0041"}');
SELECT outcome('{"\u00g0"}');
SELECT outcome('{"\x41"}');
SELECT outcome('{"\');
SELECT outcome(E'{"a\nb"}');
-- the one form or the other
SELECT outcome('{"ann":[],"bob"}');
SELECT outcome('{"ann","bob":[]}');
SELECT outcome('{"ann":[["U",5]]}');
SELECT outcome('{"elements":["ann"]}');
SELECT outcome('{"elements":{},"elements":{}}');
SELECT outcome('{"context":{}}');
SELECT outcome('{"elements":{},"context":{},"more":1}');
SELECT outcome('{"elements":{"ann":[],"ann":[]}}');
SELECT outcome('{"elements":{"ann":null}}');
SELECT outcome('{"elements":{"ann":["U",5]}}');
SELECT outcome('{"elements":{"ann":[["U"]]}}');
SELECT outcome('{"elements":{"ann":[["U",5,6]]}}');
SELECT outcome('{"elements":{"ann":[["U",0]]}}');
SELECT outcome('{"elements":{"ann":[["U",-1]]}}');
SELECT outcome('{"elements":{"ann":[["U",1.5]]}}');
SELECT outcome('{"elements":{"ann":[["U",9223372036854775808]]}}');
SELECT outcome('{"elements":{"ann":[["11",5]]}}');
SELECT outcome('{"elements":{},"context":{"U":-1}}');
SELECT outcome('{"elements":{},"context":[]}');
SELECT outcome('{"elements":{},"context":{"U":1}');
SELECT outcome('{"elements":{},"context":{"U":1');

-- limits are named
SELECT outcome(format('{"%s"}', repeat('x', 1024 * 1024 + 1)));
SELECT outcome(format('{"%s"}', repeat('x', 1024 * 1024))) ~ '^\{"x' AS largest_element;

-- casts are there for assignments, and on demand
CREATE TABLE meeting (attendees orset, names text[]);
INSERT INTO meeting VALUES (ARRAY['bob', 'ann', 'bob'], '{"eve","dan"}'::orset);
SELECT * FROM meeting;
SELECT ARRAY[]::text[]::orset, '{}'::orset::text[];
SELECT 'ann' = ANY (attendees::text[]) AS is_there FROM meeting;
SELECT ARRAY['ann', NULL]::orset;
SELECT ARRAY[['ann', 'bob'], ['eve', 'dan']]::orset;
-- a literal beside @> is an element, never a set
SELECT attendees @> 'ann' AS ann, attendees @> '{"ann"}' AS literal, attendees ? 'bob' AS bob FROM meeting;
-- grouped and joined by hashing
SELECT set, count(*) FROM (VALUES ('{"a"}'::orset), ('["a"]'), ('{"b"}')) AS v (set) GROUP BY set ORDER BY set::text;

SELECT orset_add('{"ann"}', 'bob', '11111111-1111-1111-1111-111111111111', 1) AS added \gset
SELECT :'added' AS added, orset_elements(:'added');
SELECT * FROM orset_tags(:'added');
SELECT orset_context(:'added'), orset_count(:'added');
SELECT orset_remove(:'added', 'ann');
SELECT orset_remove(:'added', 'bob');

DROP TABLE meeting;
DROP FUNCTION outcome;

-- for SQL: add and remove without naming a tag
SELECT '{"ann"}'::orset || 'bob' AS added, '{"ann"}'::orset || 'ann' AS there, '{"ann","bob"}'::orset - 'ann' AS removed, '{}'::orset - 'ann' AS absent;
SELECT ('{"elements":{"ann":[["a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",5]]},"context":{"a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11":5}}'::orset || 'bob')::text AS beside_a_tag;
