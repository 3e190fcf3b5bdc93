-- orset: the GIN index is used, and finds what a scan of the table finds

CREATE TABLE meeting (id int, attendees orset);
-- sets of 0 to 6 of 300 elements; some elements are too long for an index entry,
-- and alike at the beginning; some sets have tags
INSERT INTO meeting
SELECT n, CASE n % 3 WHEN 0 THEN orset_add(set, 'x' || n % 50, md5('r')::uuid, n) ELSE set END
FROM (SELECT n, array(SELECT CASE e % 10 WHEN 0 THEN repeat('long ', 800) || e
                                         WHEN 1 THEN repeat('x', 247 + e % 3)
                                         ELSE 'x' || e END
                      FROM generate_series(1, n % 7) AS i, LATERAL (SELECT n * i * 7919 % 300 AS e) AS r)::orset AS set
      FROM generate_series(1, 3000) AS n) AS s;
CREATE INDEX meeting_attendees ON meeting USING gin (attendees);
-- after the index: these are in its pending list
INSERT INTO meeting SELECT id + 3000, attendees FROM meeting WHERE id <= 200;
INSERT INTO meeting VALUES (4000, NULL), (4001, '{}');

SET enable_seqscan = off;
EXPLAIN (COSTS OFF) SELECT id FROM meeting WHERE attendees @> 'x7';
EXPLAIN (COSTS OFF) SELECT id FROM meeting WHERE attendees @> ARRAY['x7', 'x14'];
EXPLAIN (COSTS OFF) SELECT id FROM meeting WHERE attendees ? 'x7';

-- what the index finds for many questions, against the table
CREATE TABLE question AS
SELECT DISTINCT element FROM meeting, orset_elements(attendees) AS element
UNION ALL
VALUES ('x'), (''), ('no such element'), (repeat('long ', 800) || 'no such'), (repeat('x', 248)),
       (repeat('x', 10000));

CREATE FUNCTION found(by_index boolean, condition text) RETURNS int[] LANGUAGE plpgsql AS $$
DECLARE
  result int[];
BEGIN
  PERFORM set_config('enable_seqscan', (NOT by_index)::text, true),
          set_config('enable_bitmapscan', by_index::text, true);
  EXECUTE 'SELECT array(SELECT id FROM meeting WHERE ' || condition || ' ORDER BY id)' INTO result;
  RETURN result;
END $$;

SELECT count(*) > 200 AS questions,
       count(*) FILTER (WHERE cardinality(found(true, format('attendees @> %L', element))) > 0) > 200 AS answers,
       bool_and(found(true, format('attendees @> %L', element))
                = found(false, format('attendees @> %L', element))) AS same_for_element,
       bool_and(found(true, format('attendees ? %L', element))
                = found(false, format('attendees @> %L', element))) AS same_for_exists
FROM question;
SELECT bool_and(found(true, condition) = found(false, condition)) AS same_for_array,
       bool_or(cardinality(found(true, condition)) > 0) AS answers
FROM (SELECT format('attendees @> ARRAY[%L, %L]', a, b) AS condition
      FROM (SELECT id, min(e) AS a, max(e) AS b FROM meeting, orset_elements(attendees) AS e
            WHERE id % 11 = 0 GROUP BY id) AS s) AS q;
SELECT found(true, condition) = found(false, condition) AS same, cardinality(found(true, condition)) AS found
FROM (VALUES ('attendees @> ''{}''::text[]'),
             ('attendees @> ARRAY[NULL]::text[]'),
             ('attendees @> ARRAY[''x7'', NULL]'),
             ('attendees @> ''x7'' OR attendees @> ''x14''')) AS v (condition);

-- a row that changes is found by its new elements only
UPDATE meeting SET attendees = orset_remove(orset_add(attendees, 'new', md5('r')::uuid, 100000), 'x7')
WHERE attendees @> 'x7';
SELECT found(true, 'attendees @> ''x7''') AS old, cardinality(found(true, 'attendees @> ''new''')) > 10 AS new;

SELECT amvalidate(oid) FROM pg_opclass WHERE opcname ~ '^(orset|row_clock)_' ORDER BY opcname;
-- one transition state for each worker, then combined
SET parallel_setup_cost = 0;
SET parallel_tuple_cost = 0;
SET min_parallel_table_scan_size = 0;
SET enable_seqscan = on;
ALTER TABLE meeting SET (parallel_workers = 2);
EXPLAIN (COSTS OFF) SELECT orset_merge_agg(attendees) FROM meeting;
SELECT orset_merge_agg(attendees) AS in_parallel FROM meeting \gset
SET max_parallel_workers_per_gather = 0;
SELECT orset_merge_agg(attendees) = :'in_parallel' AS same, orset_count(orset_merge_agg(attendees)) > 200 AS many
FROM meeting;

DROP FUNCTION found;
DROP TABLE meeting, question;
