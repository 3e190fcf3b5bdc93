-- ---------------------------------------------------------------------------
-- Capture of local writes
-- ---------------------------------------------------------------------------
CREATE FUNCTION sync_capture() RETURNS trigger
AS 'MODULE_PATHNAME', 'sync_capture'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION sync_capture() IS 'trigger that stamps and logs rows written by SQL; made by sync_enable_table()';

CREATE FUNCTION sync_capture_truncate() RETURNS trigger
AS 'MODULE_PATHNAME', 'sync_capture_truncate'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION sync_capture_truncate() IS 'trigger that records the deletion of every row; made by sync_enable_table()';

CREATE FUNCTION sync_set_capture("on" boolean) RETURNS void
AS 'MODULE_PATHNAME', 'sync_set_capture'
LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION sync_set_capture(boolean) IS 'switch capture off and on in this session, for bulk loads that devices must not see';
REVOKE ALL ON FUNCTION sync_set_capture(boolean) FROM PUBLIC;
