-- ---------------------------------------------------------------------------
-- Which scopes have changed, for gateways that poll
-- ---------------------------------------------------------------------------
-- Not STRICT: since NULL is "from now on".
CREATE FUNCTION sync_changed_scopes(since version_vector,
    OUT scopes text[], OUT seen version_vector)
RETURNS record
AS 'MODULE_PATHNAME', 'sync_changed_scopes'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION sync_changed_scopes(version_vector) IS
'scopes that were written to since, as far as the caller may pull or monitor them; seen is the next since, NULL is from now on';
