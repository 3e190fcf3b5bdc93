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

-- one that is made anew has a later one than its deletion, which was later than the row
CREATE VIEW deletion AS
    SELECT w.id, f.hlc AS deleted FROM wide w, offline_sync.tombstone t, row_clock_floor(t.clock) f
    WHERE t.key = convert_to(chr(length(w.id::text)) || w.id, 'UTF8');
CREATE VIEW written AS
    SELECT id, min(hlc) AS first, max(hlc) AS last FROM wide, row_clock_entries('wide', _sync) GROUP BY id;
CREATE TABLE written_before AS TABLE written;
BEGIN;
CREATE TEMP TABLE kept ON COMMIT DROP AS SELECT id, a, b, c, d, e, f, g, h FROM wide;
UPDATE wide SET b = 1;
DELETE FROM wide;
INSERT INTO wide TABLE kept;
UPDATE wide SET id = -id WHERE id % 2 = 0;
INSERT INTO wide SELECT * FROM kept WHERE id % 2 = 0;
COMMIT;
SELECT count(*), bool_and(written_before.last < deleted) AND bool_and(deleted < written.first) AS ok
FROM written JOIN deletion USING (id) JOIN written_before USING (id);
DELETE FROM wide WHERE id < 0;
DO $$ BEGIN FOR i IN 1 .. 100 LOOP DELETE FROM wide WHERE id = i; INSERT INTO wide (id, a, g) VALUES (i, 'one', repeat('g', 100)); END LOOP; END $$;
SELECT count(*), bool_and(deleted < written.first) AS ok FROM written JOIN deletion USING (id) WHERE id <= 100;

-- a tombstone's image, of more columns than jsonb has offsets for
SELECT image - '8' AS image, length(image ->> '8') FROM offline_sync.tombstone WHERE key = '\x0131';
DO $$ BEGIN EXECUTE (SELECT 'CREATE TABLE many (' || string_agg(format('c%s int DEFAULT nullif(%s %% 7, 0)', n, n), ', ') || ', PRIMARY KEY (c1))' FROM generate_series(1, 100) n); END $$;
SELECT sync_enable_table('many');
INSERT INTO many DEFAULT VALUES;
DELETE FROM many;
SELECT image = (SELECT jsonb_object_agg(n, nullif(n % 7, 0)::text) FROM generate_series(1, 100) n) AS same,
       (SELECT count(*) FROM jsonb_each_text(image) WHERE value IS DISTINCT FROM image ->> key OR value <> (key::int % 7)::text) AS wrong
FROM offline_sync.tombstone WHERE image ? '100';

-- rows from other rows of the same table, whose clocks are not theirs; and after a column was added behind the clock
INSERT INTO wide SELECT id + 1000, a, b, c, d, e, f, g, h FROM wide WHERE id <= 10;
INSERT INTO wide SELECT (w).* FROM (SELECT wide AS w FROM wide WHERE id = 1) s ON CONFLICT DO NOTHING;
ALTER TABLE wide ADD z int;
UPDATE wide SET z = 1 WHERE id > 1000;
SELECT * FROM shapes() WHERE ids LIKE '1___-%';

-- more deletions than are kept in memory; what a subtransaction undid is not among them, what several did is
CREATE TABLE lot (id int PRIMARY KEY);
SELECT sync_enable_table('lot') \g /dev/null
CREATE VIEW lot_deleted AS
    SELECT key FROM offline_sync.tombstone JOIN sync_tables USING (table_id) WHERE relation = 'lot'::regclass;
INSERT INTO lot SELECT generate_series(1, 18000);
BEGIN;
SAVEPOINT a;
DELETE FROM lot WHERE id <= 17500;
ROLLBACK TO a;
DELETE FROM lot WHERE id <= 5;
SAVEPOINT b;
INSERT INTO lot VALUES (1), (2);
DELETE FROM lot WHERE id BETWEEN 2 AND 17500;
RELEASE b;
DELETE FROM lot WHERE id > 17990;
COMMIT;
SELECT count(*), count(DISTINCT key) FROM lot_deleted;
SELECT count(*), min(id), max(id) FROM lot;
INSERT INTO lot SELECT generate_series(2, 17000);
DELETE FROM lot;
SELECT count(*), count(DISTINCT key) FROM lot_deleted;
