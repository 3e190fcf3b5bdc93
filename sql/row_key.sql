--
-- Keys of rows as bytes: one row has one key, however its value is spelled and
-- whatever its type becomes
--
SELECT current_database() AS original \gset
CREATE DATABASE regress_sync_row_key;     -- other tests' tables are not in the way
\c regress_sync_row_key
CREATE EXTENSION offline_sync;
CREATE DOMAIN own_uuid AS uuid;
CREATE TABLE spelling (n int GENERATED ALWAYS AS IDENTITY, type text, value text, settings text, key bytea);

-- each in a transaction of its own: a tombstone is written at its end
CREATE PROCEDURE find_keys() LANGUAGE plpgsql AS $$
DECLARE s spelling;
BEGIN
    FOR s IN SELECT * FROM spelling WHERE key IS NULL ORDER BY n LOOP
        EXECUTE format('CREATE TABLE keyed (k %s PRIMARY KEY)', s.type);
        PERFORM sync_enable_table('keyed');
        EXECUTE coalesce(s.settings, 'SELECT');
        EXECUTE format('INSERT INTO keyed VALUES (%L)', s.value);
        DELETE FROM keyed;
        COMMIT;
        UPDATE spelling SET key = t.key FROM offline_sync.tombstone t
        WHERE n = s.n AND t.table_id = (SELECT max(table_id) FROM offline_sync.tracked_table);
        DROP TABLE keyed;
        COMMIT;
    END LOOP;
END $$;

INSERT INTO spelling (type, value, settings) VALUES
    ('int', '7', NULL), ('int2', '7', NULL), ('int8', '7', NULL), ('numeric', '7.000', NULL), ('numeric(10,3)', '7', NULL),
    ('int8', '-9223372036854775808', NULL),
    ('numeric', '1000', NULL), ('numeric', 'NaN', NULL),
    ('char(3)', 'a', NULL), ('char(5)', 'a', NULL), ('varchar', 'a', NULL),
    ('float8', '-0', NULL), ('float8', '0', NULL), ('float8', '0.1', 'SET LOCAL extra_float_digits = -15'),
    ('text', '', NULL),
    ('uuid', 'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11', NULL), ('own_uuid', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', NULL),
    ('timestamptz', '2026-02-01 00:00+05:30', 'SET LOCAL datestyle = German'), ('timestamptz', '2026-01-31 18:30+00', NULL),
    ('date', '2026-02-01', 'SET LOCAL datestyle = "SQL, DMY"'),
    ('interval', '1 day', 'SET LOCAL intervalstyle = iso_8601'),
    ('bytea', '\x00ff', 'SET LOCAL bytea_output = escape'),
    ('text[]', '{a,NULL,"null"}', 'SET LOCAL array_nulls = off'),
    ('boolean', 'true', NULL), ('inet', '10.0.0.1', NULL);
CALL find_keys();
SELECT type, value, settings, encode(key, 'escape') AS key FROM spelling WHERE type NOT LIKE '%uuid' ORDER BY n;
SELECT type, encode(key, 'hex') AS key FROM spelling WHERE type LIKE '%uuid' ORDER BY n;
-- a length of more than one byte
TRUNCATE spelling;
INSERT INTO spelling (type, value) VALUES ('text', repeat('x', 200));
CALL find_keys();
SELECT key = '\xc801'::bytea || repeat('x', 200)::bytea AS two_bytes_of_length FROM spelling;

-- a composite key, in the key's order, not the table's; the same after a change of types
CREATE TABLE composite (b text, a int, c uuid, PRIMARY KEY (a, b));
SELECT sync_enable_table('composite');
SELECT max(table_id) AS composite FROM offline_sync.tracked_table \gset
INSERT INTO composite VALUES ('x', 1);
DELETE FROM composite;
ALTER TABLE composite ALTER a TYPE bigint, ALTER b TYPE varchar(10);
INSERT INTO composite VALUES ('x', 1);
DELETE FROM composite;
SELECT encode(key, 'escape') AS key FROM offline_sync.tombstone WHERE table_id = :composite;

DROP TABLE spelling, composite;
DROP PROCEDURE find_keys();
DROP DOMAIN own_uuid;

\c :original
DROP DATABASE regress_sync_row_key;
