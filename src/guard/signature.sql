-- ---------------------------------------------------------------------------
-- Signed deltas: the keys of devices
-- ---------------------------------------------------------------------------
CREATE FUNCTION sync_rotate_key(device uuid, new_key bytea, overlap interval DEFAULT '7 days')
RETURNS void
AS 'MODULE_PATHNAME', 'sync_rotate_key'
LANGUAGE C VOLATILE PARALLEL UNSAFE;              -- NULL: an error, not nothing
COMMENT ON FUNCTION sync_rotate_key(uuid, bytea, interval) IS
    'give a device another Ed25519 public key (32 bytes); the one it had stays good for the overlap, given the present key: no longer than that';
REVOKE EXECUTE ON FUNCTION sync_rotate_key(uuid, bytea, interval) FROM PUBLIC;

CREATE FUNCTION sync_require_signature(device uuid, required boolean DEFAULT true)
RETURNS void
AS 'MODULE_PATHNAME', 'sync_require_signature'
LANGUAGE C VOLATILE PARALLEL UNSAFE;              -- NULL: an error, not nothing
COMMENT ON FUNCTION sync_require_signature(uuid, boolean) IS
    'refuse the deltas of a device that are not signed with its key';
REVOKE EXECUTE ON FUNCTION sync_require_signature(uuid, boolean) FROM PUBLIC;

