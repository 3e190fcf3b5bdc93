-- ---------------------------------------------------------------------------
-- Conflicts for people
-- ---------------------------------------------------------------------------
CREATE FUNCTION sync_resolve_conflict(conflict uuid, resolution text, value jsonb DEFAULT NULL)
RETURNS void
AS 'MODULE_PATHNAME', 'sync_resolve_conflict'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION sync_resolve_conflict(uuid, text, jsonb) IS
'decide a conflict: keep what is stored (current), take what came in (incoming), or write a value';
