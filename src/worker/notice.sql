-- ---------------------------------------------------------------------------
-- Notices that there is something to pull
-- ---------------------------------------------------------------------------
-- One row.  Not dumped: a restored database has channels of its own.
CREATE TABLE offline_sync.notice (
    only_row    boolean     PRIMARY KEY DEFAULT true CHECK (only_row),
    secret      bytea       NOT NULL,             -- 32 bytes, that channels' names are made with
    seen        version_vector                    -- what notices were sent for; NULL: none ever
);
COMMENT ON TABLE offline_sync.notice IS 'what notices were sent for, and the secret in the names of their channels';
INSERT INTO offline_sync.notice (secret) VALUES (pg_catalog.sha256(pg_catalog.convert_to(
    pg_catalog.gen_random_uuid()::text || pg_catalog.gen_random_uuid()::text, 'UTF8')));

CREATE FUNCTION sync_channels(device uuid, OUT scope text, OUT channel text)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'sync_channels'
LANGUAGE C STABLE STRICT PARALLEL UNSAFE ROWS 10;
COMMENT ON FUNCTION sync_channels(uuid) IS
'channels to LISTEN to for a device: one for each scope that it may pull, and one (scope is null) for news about what it may pull';

CREATE FUNCTION sync_send_notices() RETURNS int
AS 'MODULE_PATHNAME', 'sync_send_notices'
LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION sync_send_notices() IS
'notify the channels of what has changed since the last call, each once; for schedulers';
REVOKE EXECUTE ON FUNCTION sync_send_notices() FROM PUBLIC;
