-- ---------------------------------------------------------------------------
-- What a device has not seen yet
-- ---------------------------------------------------------------------------

-- Volatile, though it writes nothing: each call must be one page, and the
-- planner evaluates a stable function as often as its result is mentioned.
-- Not STRICT: resume NULL is the start, since NULL means nothing seen, schema_version
-- NULL the one that the device declared last.
CREATE FUNCTION sync_changes_since(device uuid, since version_vector,
        max_changes int DEFAULT 1000, resume text DEFAULT NULL, schema_version int DEFAULT NULL)
    RETURNS delta
    AS 'MODULE_PATHNAME', 'sync_changes_since'
    LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION sync_changes_since(uuid, version_vector, int, text, int) IS
    'the next page of changes that a device has not seen; loop while delta_has_more(): since := delta_to(), resume := delta_resume()';
