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
