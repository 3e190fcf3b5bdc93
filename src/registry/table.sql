-- ---------------------------------------------------------------------------
-- Tracked tables and their columns
-- ---------------------------------------------------------------------------
CREATE TABLE offline_sync.tracked_table (
    table_id        int         CONSTRAINT tracked_table_pkey PRIMARY KEY,      -- never reused
    wire_name       text        NOT NULL,
    schema_name     text        NOT NULL,         -- where it was last seen: to find it
    table_name      text        NOT NULL,         --   again, and for people
    scope_column_id int,                          -- NULL: all rows are in scope ''
    on_delete       text        NOT NULL DEFAULT 'delete_wins',
    mode            text        NOT NULL DEFAULT 'merge',
    consistency     text        NOT NULL DEFAULT 'relaxed',
    audit           text        NOT NULL DEFAULT 'outcomes',
    enabled_node    int         NOT NULL,         -- the stamp that a NULL row clock means
    enabled_xid     xid8        NOT NULL,
    enabled_hlc     hlc         NOT NULL,
    enabled_columns int         NOT NULL,         -- column ids 1 .. this existed then
    enabled_at      timestamptz NOT NULL,
    is_enabled      boolean     NOT NULL DEFAULT true
);
CREATE UNIQUE INDEX tracked_table_wire_name ON offline_sync.tracked_table (wire_name) WHERE is_enabled;
COMMENT ON TABLE offline_sync.tracked_table IS 'tables that are or were kept in sync';

CREATE TABLE offline_sync.tracked_column (
    table_id        int         NOT NULL,
    column_id       int         NOT NULL,         -- never reused within the table
    column_name     text        NOT NULL,         -- where it was last seen
    attnum          int         NOT NULL,
    node            uuid        NOT NULL,         -- the node on which attnum holds
    type_name       text        NOT NULL,
    key_position    int,                          -- 1 .. within the primary key
    policy          text,                         -- NULL: the type's default
    options         jsonb       NOT NULL DEFAULT '{}',
    is_dropped      boolean     NOT NULL DEFAULT false,
    CONSTRAINT tracked_column_pkey PRIMARY KEY (table_id, column_id)
);
COMMENT ON TABLE offline_sync.tracked_column IS 'columns of tracked tables, by the ids that row clocks use';

SELECT pg_catalog.pg_extension_config_dump('offline_sync.tracked_table', '');
SELECT pg_catalog.pg_extension_config_dump('offline_sync.tracked_column', '');

CREATE FUNCTION sync_registry_changed() RETURNS trigger
AS 'MODULE_PATHNAME', 'sync_registry_changed'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION sync_registry_changed()
IS 'trigger that makes every session read the registry again';
REVOKE ALL ON FUNCTION sync_registry_changed() FROM PUBLIC;

CREATE TRIGGER registry_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE
    ON offline_sync.tracked_table FOR EACH STATEMENT EXECUTE FUNCTION sync_registry_changed();
ALTER TABLE offline_sync.tracked_table ENABLE ALWAYS TRIGGER registry_changed;
COMMENT ON TRIGGER registry_changed ON offline_sync.tracked_table
IS 'makes every session read the registry again';

CREATE FUNCTION sync_enable_table(relation regclass, scope name DEFAULT NULL,
    policies jsonb DEFAULT '{}', options jsonb DEFAULT '{}') RETURNS void
AS 'MODULE_PATHNAME', 'sync_enable_table'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION sync_enable_table(regclass, name, jsonb, jsonb)
IS 'keep a table in sync with devices; for its owner';

CREATE FUNCTION sync_set_table_options(relation regclass, options jsonb) RETURNS void
AS 'MODULE_PATHNAME', 'sync_set_table_options'
LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION sync_set_table_options(regclass, jsonb)
IS 'change the options named, of those that sync_enable_table() takes, from now on; for the table''s owner';

CREATE FUNCTION sync_disable_table(relation regclass) RETURNS void
AS 'MODULE_PATHNAME', 'sync_disable_table'
LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION sync_disable_table(regclass)
IS 'stop keeping a table in sync: its data stays, devices are not told; for its owner';

CREATE FUNCTION sync_tables_info(OUT table_id int, OUT table_name text, OUT relation regclass,
    OUT scope_column name, OUT policies jsonb, OUT on_delete text, OUT mode text,
    OUT consistency text, OUT audit text, OUT enabled_at timestamptz) RETURNS SETOF record
AS 'MODULE_PATHNAME', 'sync_tables_info'
LANGUAGE C STABLE STRICT PARALLEL SAFE ROWS 100;
COMMENT ON FUNCTION sync_tables_info()
IS 'tables kept in sync that the caller may read; used by sync_tables';

CREATE VIEW sync_tables AS SELECT * FROM sync_tables_info();
COMMENT ON VIEW sync_tables IS 'tables kept in sync, with their rules';
GRANT SELECT ON sync_tables TO PUBLIC;

CREATE FUNCTION row_clock_entries(relation regclass, clock row_clock)
RETURNS TABLE (column_name name, hlc hlc, replica uuid, node uuid, "position" xid8)
AS 'MODULE_PATHNAME', 'sync_row_clock_entries'
LANGUAGE C STABLE PARALLEL SAFE ROWS 10;
COMMENT ON FUNCTION row_clock_entries(regclass, row_clock)
IS 'who wrote each column of a row last, when, and where that is stored';

-- what users' DDL means to tracked tables
CREATE FUNCTION sync_ddl_command_start() RETURNS event_trigger
AS 'MODULE_PATHNAME', 'sync_ddl_command_start'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION sync_ddl_command_start()
IS 'event trigger: sees that a new type does not change keys';

CREATE FUNCTION sync_ddl_command_end() RETURNS event_trigger
AS 'MODULE_PATHNAME', 'sync_ddl_command_end'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION sync_ddl_command_end()
IS 'event trigger: keeps the registry true to the tables';

CREATE FUNCTION sync_sql_drop() RETURNS event_trigger
AS 'MODULE_PATHNAME', 'sync_sql_drop'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION sync_sql_drop()
IS 'event trigger: ends the registration of dropped tables';

CREATE EVENT TRIGGER offline_sync_ddl_start ON ddl_command_start
    WHEN TAG IN ('ALTER TABLE')
    EXECUTE FUNCTION sync_ddl_command_start();
COMMENT ON EVENT TRIGGER offline_sync_ddl_start IS 'sees for offline_sync that a new type does not change keys';

CREATE EVENT TRIGGER offline_sync_ddl ON ddl_command_end
    WHEN TAG IN ('ALTER TABLE', 'ALTER SCHEMA', 'CREATE TABLE')
    EXECUTE FUNCTION sync_ddl_command_end();
COMMENT ON EVENT TRIGGER offline_sync_ddl IS 'keeps the registry of offline_sync true to the tables';

CREATE EVENT TRIGGER offline_sync_drop ON sql_drop
    WHEN TAG IN ('DROP TABLE', 'DROP SCHEMA', 'DROP OWNED', 'DROP EXTENSION')
    EXECUTE FUNCTION sync_sql_drop();
COMMENT ON EVENT TRIGGER offline_sync_drop IS 'ends the registration of dropped tables in offline_sync';
