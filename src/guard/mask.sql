-- ---------------------------------------------------------------------------
-- Columns that are not for every device
-- ---------------------------------------------------------------------------
-- A row stays when its mask is lifted: devices that pulled under it lack values.
CREATE TABLE offline_sync.column_mask (
    table_id        int         NOT NULL,
    column_id       int         NOT NULL,
    class           text        COLLATE "C",      -- NULL: devices of every class
    can_push        boolean     NOT NULL,
    can_pull        boolean     NOT NULL,
    shown_node      int,                          -- position at which pull was allowed again; NULL: never
    shown_xid       xid8
);
CREATE UNIQUE INDEX column_mask_column ON offline_sync.column_mask (table_id, column_id, class) NULLS NOT DISTINCT;
COMMENT ON TABLE offline_sync.column_mask IS 'columns that are not accepted from devices, or not served to them';

SELECT pg_catalog.pg_extension_config_dump('offline_sync.column_mask', '');

CREATE FUNCTION sync_mask_columns(relation regclass, columns name[], class text DEFAULT NULL,
    push boolean DEFAULT false, pull boolean DEFAULT false) RETURNS void
AS 'MODULE_PATHNAME', 'sync_mask_columns'
LANGUAGE C VOLATILE PARALLEL UNSAFE;              -- class NULL: all devices
COMMENT ON FUNCTION sync_mask_columns(regclass, name[], text, boolean, boolean) IS
    'say whether columns are accepted from the devices of a class (null: of all), and served to them; for the table''s owner';

CREATE VIEW sync_masks WITH (security_barrier) AS
SELECT t.wire_name AS table_name, c.column_name, m.class, m.can_push AS push, m.can_pull AS pull
FROM offline_sync.column_mask m
JOIN offline_sync.table_access t ON t.table_id = m.table_id
JOIN offline_sync.tracked_column c ON c.table_id = m.table_id AND c.column_id = m.column_id
WHERE t.is_readable AND t.is_enabled AND NOT c.is_dropped
  AND NOT (m.can_push AND m.can_pull);
COMMENT ON VIEW sync_masks IS
    'columns that are not accepted from devices of a class (null: of all), or not served to them';
GRANT SELECT ON sync_masks TO PUBLIC;
