-- ---------------------------------------------------------------------------
-- Clean-up, for any scheduler
-- ---------------------------------------------------------------------------
CREATE FUNCTION sync_maintenance(max_rows int DEFAULT 10000,
    OUT task text, OUT removed bigint, OUT more boolean)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'sync_maintenance'
LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE ROWS 6;
COMMENT ON FUNCTION sync_maintenance(int) IS
'remove what is no longer needed, up to max_rows of each kind, and fence (task fence) devices that were silent too long; call again while more is true';
REVOKE EXECUTE ON FUNCTION sync_maintenance(int) FROM PUBLIC;
