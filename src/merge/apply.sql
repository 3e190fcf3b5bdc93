-- ---------------------------------------------------------------------------
-- Push
-- ---------------------------------------------------------------------------
CREATE FUNCTION sync_apply_delta(delta delta,
    OUT reconciliation uuid, OUT status text, OUT acked_seq bigint,
    OUT applied int, OUT merged int, OUT superseded int, OUT rejected int,
    OUT deferred int, OUT conflicts int, OUT outcomes jsonb,
    OUT corrections delta, OUT hlc hlc)
RETURNS record
AS 'MODULE_PATHNAME', 'sync_apply_delta'
LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION sync_apply_delta(delta) IS
'merge a device''s changes into the tables; says what became of each and what the device must correct';

CREATE FUNCTION sync_retry_pending(max_changes int DEFAULT 1000,
    OUT applied bigint, OUT rejected bigint, OUT expired bigint, OUT waiting bigint)
AS 'MODULE_PATHNAME', 'sync_retry_pending'
LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION sync_retry_pending(int) IS
'try again changes that wait for the row that they refer to, with the rights of those who pushed them; for schedulers';
REVOKE EXECUTE ON FUNCTION sync_retry_pending(int) FROM PUBLIC;

CREATE FUNCTION sync_parent_arrived() RETURNS trigger
AS 'MODULE_PATHNAME', 'sync_parent_arrived'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION sync_parent_arrived()
IS 'trigger that tries again the changes that waited for rows of the table';
