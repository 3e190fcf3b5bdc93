-- ---------------------------------------------------------------------------
-- Access for roles of the installer's choice
-- ---------------------------------------------------------------------------
CREATE FUNCTION sync_grant_access(role regrole, level text)
RETURNS void
AS 'MODULE_PATHNAME', 'sync_grant_access'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION sync_grant_access(regrole, text) IS
    'grant a role what an admin, a gateway or a monitor needs of the extension; for the extension''s owner';
REVOKE EXECUTE ON FUNCTION sync_grant_access(regrole, text) FROM PUBLIC;

CREATE FUNCTION sync_revoke_access(role regrole, level text)
RETURNS void
AS 'MODULE_PATHNAME', 'sync_revoke_access'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION sync_revoke_access(regrole, text) IS
    'take from a role what sync_grant_access gave it; for the extension''s owner';
REVOKE EXECUTE ON FUNCTION sync_revoke_access(regrole, text) FROM PUBLIC;

-- A privilege that the views ask for; calling it does nothing.
CREATE FUNCTION sync_may_monitor()
RETURNS boolean
LANGUAGE sql STABLE PARALLEL SAFE
RETURN true;
COMMENT ON FUNCTION sync_may_monitor() IS
    'whoever may execute this sees all devices, and the statistics, in the views';
REVOKE EXECUTE ON FUNCTION sync_may_monitor() FROM PUBLIC;
