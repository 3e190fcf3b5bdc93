--
-- Enabling and disabling tables
--
SELECT current_database() AS original \gset
CREATE DATABASE regress_sync_enable;     -- other tests' tables are not in the way
\c regress_sync_enable
CREATE EXTENSION offline_sync;
SELECT coalesce(max(table_id), 0) AS base FROM offline_sync.tracked_table \gset
CREATE TYPE mood AS ENUM ('sad', 'ok');
CREATE DOMAIN positive AS int CHECK (value > 0);
CREATE TABLE meeting (
    id          uuid PRIMARY KEY,
    calendar    text,
    title       text DEFAULT 'new',
    quantity    int DEFAULT 0,
    mood        mood,
    priority    positive,
    tags        text[],
    starts_at   timestamptz,
    upper_title text GENERATED ALWAYS AS (upper(title)) STORED,
    doc         jsonb
);
INSERT INTO meeting (id, calendar)
SELECT gen_random_uuid(), 'work' FROM generate_series(1, 1000);
SELECT pg_relation_filenode('meeting') AS filenode \gset

SELECT sync_enable_table('meeting', 'calendar', '{"quantity": "counter"}');

-- no rewrite, no backfill
SELECT pg_relation_filenode('meeting') = :filenode AS same_file,
       count(*) = 1000 AND bool_and(_sync IS NULL) AS untouched
FROM meeting;
SELECT table_name, relation, scope_column, policies, on_delete, mode, consistency, audit,
       enabled_at <= now() AS enabled
FROM sync_tables WHERE table_id > :base;
SELECT tgname, tgenabled, tgnargs, rtrim(encode(tgargs, 'escape'), '\0')::int - :base AS table_id, tgfoid::regproc
FROM pg_trigger WHERE tgrelid = 'meeting'::regclass AND NOT tgisinternal ORDER BY 1;
SELECT col_description('meeting'::regclass, attnum) FROM pg_attribute
WHERE attrelid = 'meeting'::regclass AND attname = '_sync';
SELECT column_id, column_name, type_name, key_position, policy
FROM offline_sync.tracked_column WHERE table_id > :base ORDER BY column_id;
-- an event at the position of enabling tells devices that there is a new table
SELECT l.scope IS NULL AS every_scope, convert_from(l.key, 'UTF8')::int - :base AS table_id
FROM offline_sync.tracked_table t JOIN offline_sync.change_log l
  ON (l.node, l.xid) = (t.enabled_node, t.enabled_xid) AND l.table_id = 0
WHERE t.table_id > :base;
-- a row without a clock has the stamp of enabling in every column
SELECT count(*), count(DISTINCT (e.hlc, e.replica, e.node, e."position")) AS stamps,
       bool_and(e.hlc = t.enabled_hlc AND e."position" = t.enabled_xid) AS of_enabling
FROM row_clock_entries('meeting', NULL) e, offline_sync.tracked_table t
WHERE t.table_id > :base;

--
-- What cannot be enabled
--
SELECT sync_enable_table('meeting');                                -- twice
SELECT sync_enable_table(NULL);
SELECT sync_enable_table(0);
SELECT sync_enable_table('pg_class');
SELECT sync_enable_table('offline_sync.tombstone');
CREATE VIEW meeting_view AS SELECT * FROM meeting;
CREATE MATERIALIZED VIEW meeting_matview AS SELECT id FROM meeting;
CREATE SEQUENCE meeting_sequence;
SELECT sync_enable_table('meeting_view');
SELECT sync_enable_table('meeting_matview');
SELECT sync_enable_table('meeting_sequence');
SELECT sync_enable_table('meeting_pkey');
DROP VIEW meeting_view;
DROP MATERIALIZED VIEW meeting_matview;
CREATE TEMP TABLE temporary (id int PRIMARY KEY);
SELECT sync_enable_table('temporary');
CREATE UNLOGGED TABLE unlogged (id int PRIMARY KEY);
SELECT sync_enable_table('unlogged');
CREATE TABLE keyless (id int UNIQUE NOT NULL);
SELECT sync_enable_table('keyless');
CREATE TABLE taken (id int PRIMARY KEY, _sync text);
SELECT sync_enable_table('taken');
CREATE TABLE ancestor (id int PRIMARY KEY);
CREATE TABLE descendant (extra text) INHERITS (ancestor);
SELECT sync_enable_table('ancestor');
CREATE TABLE generated (a int, b int GENERATED ALWAYS AS (a + 1) STORED,
                        c text GENERATED ALWAYS AS ('x') STORED, PRIMARY KEY (b));
SELECT sync_enable_table('generated');

CREATE TABLE item (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, team text, n int,
                   label text, g text GENERATED ALWAYS AS ('x') STORED);
SELECT sync_enable_table('item', 'no_such_column');
SELECT sync_enable_table('item', '_sync');
SELECT sync_enable_table('item', 'ctid');
SELECT sync_enable_table('item', 'g');                              -- generated
SELECT sync_enable_table('item', NULL, '[]');
SELECT sync_enable_table('item', NULL, '"lww"');
SELECT sync_enable_table('item', NULL, '{"n": "no_such_policy"}');
SELECT sync_enable_table('item', NULL, '{"n": 1}');
SELECT sync_enable_table('item', NULL, '{"n": {"order": []}}');
SELECT sync_enable_table('item', NULL, '{"n": {"policy": "counter", "start": 1}}');
SELECT sync_enable_table('item', NULL, '{"no_such_column": "lww"}');
SELECT sync_enable_table('item', NULL, '{"label": "counter"}');
SELECT sync_enable_table('item', NULL, '{"id": "counter"}');        -- the key
SELECT sync_enable_table('item', 'n', '{"n": "counter"}');          -- the scope
SELECT sync_enable_table('item', NULL, '{"n": "orset"}');
SELECT sync_enable_table('item', NULL, '{}', '{"no_such_option": 1}');
SELECT sync_enable_table('item', NULL, '{}', '{"on_delete": "newest"}');
SELECT sync_enable_table('item', NULL, '{}', '{"mode": "archive"}');
SELECT sync_enable_table('item', NULL, '{}', '{"consistency": "eventual"}');
SELECT sync_enable_table('item', NULL, '{}', '{"audit": true}');
SELECT sync_enable_table('item', NULL, '{}', '{"name": ""}');
SELECT sync_enable_table('item', NULL, '{}', '{"name": "meeting"}');
-- nothing of all that has left a trace
SELECT count(*) FROM offline_sync.tracked_table WHERE table_id > :base;
SELECT attname FROM pg_attribute WHERE attrelid = 'item'::regclass AND attname = '_sync';
SELECT count(*) FROM pg_trigger WHERE tgrelid = 'item'::regclass;

-- only the owner
CREATE ROLE regress_sync_stranger;
SET ROLE regress_sync_stranger;
SELECT sync_enable_table('item');
SELECT sync_disable_table('meeting');
SELECT sync_set_policy('meeting', 'title', 'lww');
SELECT count(*) FROM sync_tables WHERE table_id > :base;
RESET ROLE;
GRANT SELECT (id) ON meeting TO regress_sync_stranger;
SET ROLE regress_sync_stranger;
SELECT table_name FROM sync_tables WHERE table_id > :base;
SELECT * FROM offline_sync.tracked_table;
RESET ROLE;
REVOKE SELECT (id) ON meeting FROM regress_sync_stranger;

-- an owner who has no other rights
CREATE SCHEMA regress_sync AUTHORIZATION regress_sync_stranger;
SET ROLE regress_sync_stranger;
CREATE TABLE regress_sync.own (id int PRIMARY KEY, n numeric);
SELECT sync_enable_table('regress_sync.own', 'id');
SELECT sync_set_policy('regress_sync.own', 'n', 'counter');
SELECT table_name, scope_column, policies FROM sync_tables WHERE table_id > :base;
ALTER TABLE regress_sync.own ADD COLUMN more text;
SELECT sync_set_policy('regress_sync.own', 'more', 'lww');
SELECT sync_disable_table('regress_sync.own');
DROP SCHEMA regress_sync CASCADE;
RESET ROLE;

--
-- Policies
--
SELECT sync_set_policy('meeting', 'title', 'counter');
SELECT sync_set_policy('meeting', 'id', 'counter');
SELECT sync_set_policy('meeting', 'priority', 'counter');           -- a domain
SELECT sync_set_policy('meeting', 'title', 'orset');
SELECT sync_set_policy('meeting', 'title', 'no_such_policy');
SELECT sync_set_policy('meeting', 'title', 'lww', '{"a": 1}');
SELECT sync_set_policy('meeting', 'title', 'lww', '[]');
SELECT sync_set_policy('meeting', 'no_such_column', 'lww');
SELECT sync_set_policy('meeting', '_sync', 'lww');
SELECT sync_set_policy('item', 'n', 'counter');                     -- not enabled
SELECT sync_set_policy('meeting', 'quantity', 'lww');
SELECT policies FROM sync_tables WHERE table_id > :base;
SELECT sync_set_policy('meeting', 'quantity', 'counter');
SELECT policies FROM sync_tables WHERE table_id > :base;
-- a table whose policies are given as objects, with all options
SELECT sync_enable_table('item', 'team', '{"n": {"policy": "counter"}}',
                         '{"name": "things", "audit": "full", "on_delete": "delete_wins",
                           "mode": "merge", "consistency": "relaxed"}');
SELECT table_name, relation, scope_column, policies, audit FROM sync_tables WHERE table_name = 'things';

--
-- Disabling
--
SELECT sync_disable_table('keyless');
SELECT sync_disable_table('item');
SELECT sync_disable_table('item');
SELECT sync_disable_table('meeting');
SELECT count(*) FROM meeting;
SELECT count(*) FROM pg_attribute WHERE attrelid = 'meeting'::regclass AND attname = '_sync' AND NOT attisdropped;
SELECT count(*) FROM pg_trigger WHERE tgrelid = 'meeting'::regclass AND NOT tgisinternal;
SELECT count(*) FROM sync_tables WHERE table_id > :base;
INSERT INTO meeting (id) VALUES (gen_random_uuid());
-- enabled anew: a table id is never used again
SELECT sync_enable_table('meeting', 'calendar');
SELECT table_id - :base AS table_id, wire_name, is_enabled FROM offline_sync.tracked_table
WHERE table_id > :base ORDER BY 1;
-- a rolled back enabling leaves nothing, in this backend's cache either
BEGIN;
SELECT sync_enable_table('item');
SELECT count(*) FROM sync_tables WHERE table_id > :base;
ROLLBACK;
SELECT count(*) FROM sync_tables WHERE table_id > :base;
BEGIN;
SAVEPOINT s;
SELECT sync_disable_table('meeting');
ROLLBACK TO s;
SELECT count(*) FROM sync_tables WHERE table_id > :base;
COMMIT;
SELECT table_name FROM sync_tables WHERE table_id > :base;

--
-- 100,000 rows: no rewrite, and quick
--
CREATE TABLE large AS SELECT i AS id, i::text AS t FROM generate_series(1, 100000) i;
ALTER TABLE large ADD PRIMARY KEY (id);
SELECT pg_relation_filenode('large') AS filenode, clock_timestamp() AS began \gset
SELECT sync_enable_table('large');
SELECT pg_relation_filenode('large') = :filenode AS same_file,
       clock_timestamp() - :'began' < interval '1 second' AS quick;

DROP TABLE large, meeting, item, unlogged, keyless, taken, descendant, ancestor, generated;
DROP SEQUENCE meeting_sequence;
DROP TYPE mood;
DROP DOMAIN positive;
DROP ROLE regress_sync_stranger;
SELECT count(*) FROM sync_tables WHERE table_id > :base;

\c :original
DROP DATABASE regress_sync_enable;
