-- ---------------------------------------------------------------------------
-- Versions of the schema: what happened to the columns of tracked tables
-- ---------------------------------------------------------------------------
CREATE TABLE offline_sync.column_history (
    version         int         NOT NULL,         -- of the schema, that this change made
    table_id        int         NOT NULL,
    column_id       int         NOT NULL,
    change          text        NOT NULL,         -- added, renamed, dropped, retyped
    old_name        text,                         -- NULL: added
    new_name        text,                         -- NULL: dropped
    old_type        text,
    new_type        text,
    at              timestamptz NOT NULL,
    by              text        NOT NULL,         -- role
    node            int         NOT NULL,         -- that made the version
    CONSTRAINT column_history_pkey PRIMARY KEY (version, table_id, column_id, change)
);
CREATE INDEX column_history_table ON offline_sync.column_history (table_id, version);
COMMENT ON TABLE offline_sync.column_history IS 'how columns of tracked tables came to be what they are: see the view sync_schema_versions';

CREATE TABLE offline_sync.column_conversion (
    table_id        int         NOT NULL,
    column_id       int         NOT NULL,
    from_type       text        NOT NULL,         -- that older devices have
    to_type         text        NOT NULL,         -- the column's, when this was registered
    up              text        NOT NULL,         -- functions, with the types of their arguments
    down            text,
    at              timestamptz NOT NULL,
    by              text        NOT NULL,
    CONSTRAINT column_conversion_pkey PRIMARY KEY (table_id, column_id, from_type, to_type)
);
COMMENT ON TABLE offline_sync.column_conversion IS 'functions between the types that a column had: see sync_register_conversion';

SELECT pg_catalog.pg_extension_config_dump('offline_sync.column_history', '');
SELECT pg_catalog.pg_extension_config_dump('offline_sync.column_conversion', '');

-- a restore fills the table: every session then has to count again
CREATE TRIGGER registry_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE
    ON offline_sync.column_history FOR EACH STATEMENT EXECUTE FUNCTION sync_registry_changed();
ALTER TABLE offline_sync.column_history ENABLE ALWAYS TRIGGER registry_changed;
COMMENT ON TRIGGER registry_changed ON offline_sync.column_history
IS 'makes every session read the registry again';

CREATE FUNCTION sync_register_conversion(relation regclass, column_name name, from_type regtype,
    up regprocedure, down regprocedure DEFAULT NULL) RETURNS void
AS 'MODULE_PATHNAME', 'sync_register_conversion'
LANGUAGE C VOLATILE PARALLEL UNSAFE;                -- NULL: values go down as text
COMMENT ON FUNCTION sync_register_conversion(regclass, name, regtype, regprocedure, regprocedure)
IS 'how values of a column''s former type become ones of its present type, and back; for the table''s owner';
