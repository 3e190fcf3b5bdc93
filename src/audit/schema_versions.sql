-- What happened to the columns of the tables that the caller may read.  A type that is
-- an extension's or a user's is named with its schema.
CREATE VIEW sync_schema_versions WITH (security_barrier) AS
SELECT h.version,
       t.wire_name AS table_name,
       c.column_name,
       h.change,
       h.old_name, h.new_name,
       pg_catalog.regexp_replace(h.old_type, '^pg_catalog\.', '') AS old_type,
       pg_catalog.regexp_replace(h.new_type, '^pg_catalog\.', '') AS new_type,
       CASE WHEN h.change = 'retyped'
            THEN (SELECT pg_catalog.regexp_replace(
                             pg_catalog.string_agg(v.up || coalesce(', ' || v.down, ''), '; ' ORDER BY v.to_type),
                             '\mpg_catalog\.', '', 'g')
                  FROM offline_sync.column_conversion v
                  WHERE v.table_id = h.table_id AND v.column_id = h.column_id
                    AND v.from_type = h.old_type)
       END AS conversion,
       h.at, h.by
FROM offline_sync.column_history h
JOIN offline_sync.table_access t ON t.table_id = h.table_id
JOIN offline_sync.tracked_column c ON c.table_id = h.table_id AND c.column_id = h.column_id
WHERE t.is_readable;
COMMENT ON VIEW sync_schema_versions IS
    'versions of the schema: what each one did to a column of a tracked table (column_name is its last name), and the functions that convert values of its former type, up and down';
GRANT SELECT ON sync_schema_versions TO PUBLIC;
