--
-- A new type of a key column, or the scope column, must leave the text of its values
--
SET client_min_messages = warning;
SET timezone = 'Europe/Paris';
CREATE SCHEMA rekey_test;
SET search_path = rekey_test, public;
CREATE TABLE day (at date PRIMARY KEY, room int, note text);
CREATE TABLE part (id numeric(10,2), kind text, v text, PRIMARY KEY (kind, id)) PARTITION BY LIST (kind);
CREATE TABLE part_a PARTITION OF part FOR VALUES IN ('a');
CREATE TABLE pair (id int PRIMARY KEY, v text);
CREATE TABLE stamp (id timestamp PRIMARY KEY);
CREATE TABLE free (id date PRIMARY KEY);
SELECT sync_enable_table('day', 'room', options => '{"name": "day"}'),
       sync_enable_table('part', options => '{"name": "part"}'),
       sync_enable_table('pair', options => '{"name": "pair"}'),
       sync_enable_table('stamp', options => '{"name": "stamp"}');
INSERT INTO day VALUES ('2026-01-01', 1, 'x'), ('2026-01-02', 1, 'y');
INSERT INTO part VALUES (1.50, 'a', 'x'), (2, 'a', 'y');
INSERT INTO pair VALUES (1, 'x'), (2, 'y');
INSERT INTO stamp VALUES ('2026-01-01 10:00');
INSERT INTO free VALUES ('2026-01-01');

-- with a rewrite, and without one; the key, and the scope
ALTER TABLE day ALTER at TYPE timestamp;
ALTER TABLE day ALTER room TYPE numeric(4,1);
ALTER TABLE day ALTER room TYPE text USING 'room ' || room;
SET timezone = 'UTC';
ALTER TABLE stamp ALTER id TYPE timestamptz;
RESET timezone;
ALTER TABLE part ALTER id TYPE numeric(10,1), ALTER v TYPE varchar;
ALTER TABLE pair ALTER id TYPE int USING id + 1;
ALTER TABLE pair ALTER id TYPE int USING 3 - id;
-- in a subtransaction, and what follows
DO $$
BEGIN
    ALTER TABLE pair ALTER id TYPE bigint USING id * 2;
EXCEPTION WHEN feature_not_supported THEN
    ALTER TABLE pair ALTER id TYPE bigint;
END $$;
-- the same text
ALTER TABLE pair ALTER id TYPE text, ALTER v TYPE varchar(20);
ALTER TABLE pair ALTER id TYPE int USING id::int;
ALTER TABLE IF EXISTS day ALTER room TYPE bigint, ALTER note TYPE varchar USING upper(note);
ALTER TABLE IF EXISTS nowhere ALTER room TYPE bigint;
ALTER TABLE free ALTER id TYPE timestamp;
SELECT * FROM free;

-- as the hint says
SELECT sync_register_device('aaaaaaaa-0000-4000-8000-000000000001', scopes => '{1}') IS NOT NULL AS a;
SELECT delta_to(sync_changes_since('aaaaaaaa-0000-4000-8000-000000000001', '{}')) AS seen \gset
ALTER TABLE day ALTER at TYPE text;
UPDATE day SET at = at || ' 00:00:00';
ALTER TABLE day ALTER at TYPE timestamp USING at::timestamp;
SELECT c.kind, c.key, c.changes FROM sync_changes_since('aaaaaaaa-0000-4000-8000-000000000001', :'seen') d, delta_changes(d) c ORDER BY 1, 2;

-- a key that is gone, and none of the present type
CREATE TABLE code (id text PRIMARY KEY, v text);
SELECT sync_enable_table('code', options => '{"name": "code"}');
SELECT sync_register_device('bbbbbbbb-0000-4000-8000-000000000002') IS NOT NULL AS b;
INSERT INTO code VALUES ('one', 'x'), ('2', 'y');
SELECT delta_to(sync_changes_since('bbbbbbbb-0000-4000-8000-000000000002', '{}')) AS seen \gset
DELETE FROM code WHERE id = 'one';
UPDATE code SET v = 'z';
ALTER TABLE code ALTER id TYPE int USING id::int;
SELECT c.kind, c.key, c.changes FROM sync_changes_since('bbbbbbbb-0000-4000-8000-000000000002', :'seen') d, delta_changes(d) c ORDER BY 1;

-- nobody but the owner waits for a lock, or is told
CREATE ROLE rekey_stranger;
GRANT USAGE ON SCHEMA rekey_test TO rekey_stranger;
SET ROLE rekey_stranger;
ALTER TABLE day ALTER at TYPE date;
RESET ROLE;
DROP OWNED BY rekey_stranger;
DROP ROLE rekey_stranger;
DROP SCHEMA rekey_test CASCADE;
