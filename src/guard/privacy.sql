-- ---------------------------------------------------------------------------
-- Privacy: values that are to be gone from the records
-- ---------------------------------------------------------------------------
CREATE FUNCTION sync_forget_device(device uuid)
RETURNS void
AS 'MODULE_PATHNAME', 'sync_forget_device'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION sync_forget_device(uuid) IS
    'revoke a device, and take what it sent, and what tells whose it is, out of the records; rows that it wrote stay';
REVOKE EXECUTE ON FUNCTION sync_forget_device(uuid) FROM PUBLIC;

CREATE FUNCTION sync_purge_row(relation regclass, key jsonb)
RETURNS void
AS 'MODULE_PATHNAME', 'sync_purge_row'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION sync_purge_row(regclass, jsonb) IS
    'take the values of a deleted row out of the records; devices are still told of the deletion; for the table''s owner';
