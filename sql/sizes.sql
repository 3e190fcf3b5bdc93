-- What metadata costs in bytes: bounds that a change of the formats must keep.
CREATE TABLE size_one (id int PRIMARY KEY, a text, b text, c text);
CREATE TABLE size_three (k1 int, k2 int, k3 int, a text, PRIMARY KEY (k1, k2, k3));
CREATE TABLE size_four (k1 int, k2 int, k3 int, k4 int, a text, PRIMARY KEY (k1, k2, k3, k4));
CREATE TABLE size_late (a text, id int PRIMARY KEY);
SELECT sync_enable_table(t::regclass) FROM unnest('{size_one,size_three,size_four,size_late}'::text[]) t;
SELECT sync_register_device('d0000000-0000-4000-8000-000000000001');

-- a row written whole by one device, with the highest counter of its clock
SELECT status FROM sync_apply_delta('{"format": 1, "replica": "d0000000-0000-4000-8000-000000000001", "changes": [
    {"seq": 1, "hlc": "2025-11-20T10:00:00.000Z/65535", "table": "size_one", "key": {"id": 1}, "insert": {"a": "x", "b": "y", "c": "z"}},
    {"seq": 2, "hlc": "2025-11-20T11:00:00.000Z/0", "table": "size_three", "key": {"k1": 1, "k2": 1, "k3": 1}, "insert": {"a": "x"}},
    {"seq": 3, "hlc": "2025-11-20T11:00:00.000Z/1", "table": "size_four", "key": {"k1": 1, "k2": 1, "k3": 1, "k4": 1}, "insert": {"a": "x"}},
    {"seq": 4, "hlc": "2025-11-20T11:00:00.000Z/2", "table": "size_late", "key": {"id": 1}, "insert": {"a": "x"}}]}');
CREATE TABLE sizes AS SELECT 1 AS stamps, pg_column_size(_sync) AS bytes FROM size_one;
SELECT bytes <= 48 AS whole_by_device FROM sizes;
SELECT pg_column_size(_sync) <= 48 AS key_of_three FROM size_three;
SELECT pg_column_size(_sync) BETWEEN 49 AND 54 AS key_of_four FROM size_four;
SELECT pg_column_size(_sync) <= 48 AS key_last FROM size_late;

-- by the node
INSERT INTO size_one VALUES (2, 'x', 'y', 'z');
SELECT pg_column_size(_sync) <= 32 AS whole_by_node FROM size_one WHERE id = 2;

-- each further stamp: by the node, by another device
UPDATE size_one SET a = 'other' WHERE id = 1;
INSERT INTO sizes SELECT 2, pg_column_size(_sync) FROM size_one WHERE id = 1;
UPDATE size_one SET b = 'other' WHERE id = 1;
INSERT INTO sizes SELECT 3, pg_column_size(_sync) FROM size_one WHERE id = 1;
SELECT stamps, bytes - lag(bytes) OVER (ORDER BY stamps) <= 24 AS further_stamp FROM sizes ORDER BY 1;

-- the text form brings all of them back
CREATE TABLE clocks AS SELECT 1 AS n, _sync AS v FROM size_one UNION ALL SELECT 2, _sync FROM size_three
    UNION ALL SELECT 3, _sync FROM size_four UNION ALL SELECT 4, _sync FROM size_late;
SELECT n, bool_and(v::text::row_clock = v) AS by_text FROM clocks GROUP BY n ORDER BY n;

DROP TABLE size_one, size_three, size_four, size_late, sizes, clocks;
SELECT sync_revoke_device('d0000000-0000-4000-8000-000000000001');
