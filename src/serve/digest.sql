-- ---------------------------------------------------------------------------
-- What a device should hold, as a hash
-- ---------------------------------------------------------------------------
-- Not STRICT: schema_version NULL is the one that the device declared last.
CREATE FUNCTION sync_digest(device uuid, scope text, schema_version int DEFAULT NULL,
    OUT digest text, OUT row_count bigint, OUT waiting int)
RETURNS record
AS 'MODULE_PATHNAME', 'sync_digest'
LANGUAGE C STABLE PARALLEL UNSAFE;
COMMENT ON FUNCTION sync_digest(uuid, text, int) IS
'a hash of all rows of a scope that a device should hold, which it can compute over its own; waiting: its changes that wait for other rows';

CREATE FUNCTION sync_digest_parts(device uuid, scope text, prefix text DEFAULT '', schema_version int DEFAULT NULL,
    OUT part text, OUT digest text, OUT row_count bigint)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'sync_digest_parts'
LANGUAGE C STABLE PARALLEL UNSAFE ROWS 256;
COMMENT ON FUNCTION sync_digest_parts(uuid, text, text, int) IS
'sync_digest in up to 256 parts: rows whose key''s hash begins with the prefix, by the two digits that follow';

CREATE FUNCTION sync_digest_rows(device uuid, scope text, prefix text DEFAULT '', schema_version int DEFAULT NULL,
    OUT table_name text, OUT key jsonb, OUT digest text)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'sync_digest_rows'
LANGUAGE C STABLE PARALLEL UNSAFE ROWS 1000;
COMMENT ON FUNCTION sync_digest_rows(uuid, text, text, int) IS
'the rows of a part, each with its own digest';
