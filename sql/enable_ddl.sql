--
-- What DDL does to tables that are kept in sync
--
SELECT current_database() AS original \gset
CREATE DATABASE regress_sync_enable_ddl;     -- other tests' tables are not in the way
\c regress_sync_enable_ddl
CREATE EXTENSION offline_sync;
CREATE FUNCTION registered(table_id int) RETURNS TABLE (id int, name text, type text, dropped boolean)
LANGUAGE sql AS $$
  SELECT column_id, column_name, type_name, is_dropped FROM offline_sync.tracked_column c
  WHERE c.table_id = $1 ORDER BY column_id $$;
CREATE TABLE note (id int PRIMARY KEY, scope text, a text, b text, n int);
SELECT sync_enable_table('note', 'scope', '{"n": "counter"}');
SELECT max(table_id) AS note FROM offline_sync.tracked_table \gset

-- columns keep their ids when they are renamed, even in a circle
ALTER TABLE note RENAME a TO c;
ALTER TABLE note RENAME b TO a;
ALTER TABLE note RENAME c TO b;
SELECT * FROM registered(:note);
-- a new column gets the next id, a dropped one keeps its own for ever
ALTER TABLE note ADD d date, DROP b;
ALTER TABLE note ADD b text;
SELECT * FROM registered(:note);
ALTER TABLE note ALTER d TYPE timestamptz, ALTER id TYPE bigint;
SELECT * FROM registered(:note);
SELECT column_name FROM row_clock_entries('note', NULL);

-- the name of the table changes, its name for devices does not
ALTER TABLE note RENAME TO "Note ""1""";
SELECT table_name, relation FROM sync_tables WHERE table_id >= :note;
CREATE SCHEMA one;
ALTER TABLE "Note ""1""" SET SCHEMA one;
SELECT table_name, relation FROM sync_tables WHERE table_id >= :note;
ALTER SCHEMA one RENAME TO "Two";
SELECT table_name, relation FROM sync_tables WHERE table_id >= :note;
SELECT schema_name, table_name FROM offline_sync.tracked_table WHERE table_id = :note;

-- what tracking needs cannot be taken away
\set note_table '"Two"."Note ""1"""'
ALTER TABLE :note_table DROP COLUMN _sync;
ALTER TABLE :note_table RENAME _sync TO clock;
ALTER TABLE :note_table DROP COLUMN scope;
ALTER TABLE :note_table DROP CONSTRAINT note_pkey;
ALTER TABLE :note_table DROP CONSTRAINT note_pkey, ADD PRIMARY KEY (id, scope);
ALTER TABLE :note_table ALTER n TYPE text;
ALTER TABLE :note_table ALTER id TYPE uuid USING NULL;
ALTER TABLE :note_table ALTER _sync TYPE text;
ALTER TABLE :note_table SET UNLOGGED;
CREATE TABLE child () INHERITS (:note_table);
CREATE TABLE child (LIKE :note_table);
ALTER TABLE child INHERIT :note_table;
DROP TABLE child;
-- the triggers stay ENABLE ALWAYS
ALTER TABLE :note_table DISABLE TRIGGER ALL;
ALTER TABLE :note_table ENABLE TRIGGER ALL;
SELECT tgname, tgenabled FROM pg_trigger WHERE tgrelid = :'note_table'::regclass ORDER BY 1;
-- but exchanged for the same
ALTER TABLE :note_table DROP CONSTRAINT note_pkey, ADD CONSTRAINT note_key PRIMARY KEY (id) DEFERRABLE;
ALTER TABLE :note_table RENAME scope TO team;
SELECT scope_column FROM sync_tables WHERE table_id >= :note;

-- without event triggers: names first, then place and type
ALTER EVENT TRIGGER offline_sync_ddl DISABLE;
ALTER TABLE :note_table RENAME a TO z;
ALTER TABLE :note_table ADD COLUMN late text;
ALTER TABLE :note_table SET SCHEMA public;
ALTER TABLE "Note ""1""" RENAME TO note;
SELECT relation FROM sync_tables WHERE table_id >= :note;
ALTER EVENT TRIGGER offline_sync_ddl ENABLE;
SELECT * FROM registered(:note) WHERE NOT dropped;
SELECT column_name FROM row_clock_entries('note', NULL);    -- asks by relation: brings the record up to date
SELECT * FROM registered(:note) WHERE NOT dropped;
SELECT schema_name, table_name FROM offline_sync.tracked_table WHERE table_id = :note;

-- two tables of one name
CREATE SCHEMA "One";
CREATE TABLE "One".note (id text PRIMARY KEY);
CREATE TABLE "Two".note (id text, k bigint, PRIMARY KEY (k, id));
SELECT sync_enable_table('"One".note');
SELECT sync_enable_table('"Two".note', NULL, '{}', '{"name": "note"}');
SELECT sync_enable_table('"Two".note');
SELECT table_name, relation FROM sync_tables WHERE table_id >= :note ORDER BY 1;
SELECT c.table_id - :note AS t, column_name, key_position FROM offline_sync.tracked_column c
WHERE c.table_id > :note AND key_position IS NOT NULL ORDER BY 1, 3;
-- a name that has become free, and a copy
DROP TABLE "One".note;
SELECT table_name, relation FROM sync_tables WHERE table_id >= :note ORDER BY 1;
CREATE TABLE "One".note (LIKE note INCLUDING ALL);
SELECT table_name, relation FROM sync_tables WHERE table_id >= :note ORDER BY 1;

-- somebody's own trigger does not make a table another one
CREATE TABLE impostor (id int PRIMARY KEY, _sync row_clock);
SELECT format('CREATE TRIGGER "~offline_sync_capture" BEFORE INSERT OR UPDATE OR DELETE ON impostor '
              'FOR EACH ROW EXECUTE FUNCTION sync_capture(%L)', :note) AS statement \gset
:statement;
SELECT row_clock_entries('impostor', NULL);
SELECT sync_disable_table('impostor');
SELECT table_name, relation FROM sync_tables WHERE table_id >= :note ORDER BY 1;
DROP TABLE impostor;

--
-- Partitioned tables
--
CREATE TABLE log (day date, id int, text text, PRIMARY KEY (day, id)) PARTITION BY RANGE (day);
CREATE TABLE log_1 PARTITION OF log FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
CREATE TABLE log_2 PARTITION OF log FOR VALUES FROM ('2026-02-01') TO ('2026-03-01') PARTITION BY LIST (id);
CREATE TABLE log_2_a PARTITION OF log_2 DEFAULT;
SELECT sync_enable_table('log_1');
SELECT sync_enable_table('log');
SELECT sync_set_policy('log_1', 'text', 'lww');
SELECT sync_disable_table('log_2');
CREATE VIEW log_triggers AS
SELECT tgrelid::regclass, tgname, tgenabled FROM pg_trigger
WHERE tgname LIKE '~offline%' AND tgrelid::regclass::text LIKE 'log%'
ORDER BY tgrelid::regclass::text, tgname;
TABLE log_triggers;
SELECT count(*) FROM row_clock_entries('log_2_a', NULL);
-- all of them fire always, also after a bulk load
ALTER TABLE log DISABLE TRIGGER USER;
ALTER TABLE log ENABLE TRIGGER USER;
SELECT DISTINCT tgenabled FROM log_triggers;
-- a new partition
CREATE TABLE log_3 PARTITION OF log FOR VALUES FROM ('2026-03-01') TO ('2026-04-01');
SELECT * FROM log_triggers WHERE tgrelid = 'log_3'::regclass;
-- one that was a table before
CREATE TABLE log_4 (id int NOT NULL, gone int, day date NOT NULL, text text, _sync row_clock);
ALTER TABLE log_4 DROP gone;
INSERT INTO log_4 VALUES (1, '2026-04-01', 'x');
ALTER TABLE log ATTACH PARTITION log_4 FOR VALUES FROM ('2026-04-01') TO ('2026-05-01');
TRUNCATE log_4;
ALTER TABLE log ATTACH PARTITION log_4 FOR VALUES FROM ('2026-04-01') TO ('2026-05-01');
SELECT * FROM log_triggers WHERE tgrelid = 'log_4'::regclass;
ALTER TABLE log DETACH PARTITION log_4;
SELECT * FROM log_triggers WHERE tgrelid = 'log_4'::regclass;
SELECT row_clock_entries('log_4', NULL);
DROP TABLE log_3;
SELECT sync_disable_table('log');
TABLE log_triggers;
SELECT sync_enable_table('log');
SELECT count(*) FROM log_triggers;

-- dropped in several ways
SELECT table_name FROM sync_tables WHERE table_id >= :note ORDER BY 1;
DROP VIEW log_triggers;
DROP TABLE log;
DROP SCHEMA "Two" CASCADE;
SELECT table_name FROM sync_tables WHERE table_id >= :note ORDER BY 1;
BEGIN;
DROP TABLE note;
SELECT table_name FROM sync_tables WHERE table_id >= :note ORDER BY 1;
ROLLBACK;
SELECT table_name FROM sync_tables WHERE table_id >= :note ORDER BY 1;
DROP TABLE note, log_4;
SELECT count(*) FROM sync_tables WHERE table_id >= :note;
SELECT count(*) FROM offline_sync.tracked_table WHERE is_enabled AND table_id >= :note;
DROP SCHEMA "One" CASCADE;
DROP FUNCTION registered(int);

\c :original
DROP DATABASE regress_sync_enable_ddl;
