-- Rows of one statement: they may share a stamp, and a clock; none gets that of another.
CREATE TABLE wide (
    id int PRIMARY KEY, a text, b int, c numeric, d bool, e bigint, f text, g text, h timestamptz);
SELECT sync_enable_table('wide');

-- which columns of a row have which stamp: the latest one is 1
CREATE FUNCTION stamps(c row_clock) RETURNS text LANGUAGE sql AS $$
    SELECT string_agg(columns || ' ' || n, ', ' ORDER BY n)
    FROM (SELECT string_agg(column_name, '' ORDER BY column_name) AS columns, rank() OVER (ORDER BY hlc DESC) AS n
          FROM row_clock_entries('wide', c) WHERE column_name <> 'id' GROUP BY hlc, "position") s $$;
CREATE FUNCTION shapes() RETURNS TABLE (stamps text, rows bigint, ids text) LANGUAGE sql AS $$
    SELECT stamps(_sync), count(*), min(id) || '-' || max(id) FROM wide GROUP BY 1 ORDER BY min(id) $$;

-- with NULLs and without, short and toasted, so that the clock stands at different places
INSERT INTO wide
    SELECT i, CASE WHEN i % 2 = 0 THEN 'a' END, i, 2.5, true, i, 'f', repeat('g', i * 100),
           CASE WHEN i % 3 = 0 THEN timestamptz '2026-01-01 00:00:00+00' END
    FROM generate_series(1, 300) i;
CREATE TABLE before AS SELECT * FROM wide;
SELECT * FROM shapes();

-- rows whose clocks differ, in one statement
UPDATE wide SET a = 'x' WHERE id > 100;
UPDATE wide SET b = -b, h = '2026-02-02 00:00:00+00' WHERE id > 200;
SELECT * FROM shapes();
UPDATE wide SET f = NULL;
SELECT * FROM shapes();

-- other columns changed in every second row
UPDATE wide SET c = CASE WHEN id % 2 = 0 THEN 3.5 ELSE c END, d = CASE WHEN id % 2 = 1 THEN false ELSE d END;
SELECT stamps(_sync), count(*), bool_and(id % 2 = 0) AS even FROM wide WHERE id <= 100 GROUP BY 1 ORDER BY 1;

UPDATE wide SET f = 'new' WHERE id % 2 = 0;
SELECT stamps(_sync), count(*), bool_and(id % 2 = 0) AS even FROM wide GROUP BY 1 ORDER BY 1;

-- nothing else was touched
SELECT count(*) FROM wide JOIN before USING (id)
WHERE wide.a IS NOT DISTINCT FROM CASE WHEN id > 100 THEN 'x' ELSE before.a END
  AND wide.b = CASE WHEN id > 200 THEN -before.b ELSE before.b END
  AND wide.e = before.e AND wide.g = before.g
  AND wide.h IS NOT DISTINCT FROM CASE WHEN id > 200 THEN '2026-02-02 00:00:00+00' ELSE before.h END;

-- a row that is written twice in a transaction has a later stamp for the later write
BEGIN;
UPDATE wide SET a = 'one';
UPDATE wide SET b = 0;
COMMIT;
SELECT DISTINCT split_part(stamps(_sync), ',', 1) FROM wide;

-- rows from other rows of the same table, whose clocks are not theirs; and after a column was added behind the clock
INSERT INTO wide SELECT id + 1000, a, b, c, d, e, f, g, h FROM wide WHERE id <= 10;
INSERT INTO wide SELECT (w).* FROM (SELECT wide AS w FROM wide WHERE id = 1) s ON CONFLICT DO NOTHING;
ALTER TABLE wide ADD z int;
UPDATE wide SET z = 1 WHERE id > 1000;
SELECT * FROM shapes() WHERE ids LIKE '1___-%';
