-- ---------------------------------------------------------------------------
-- Devices and scopes
-- ---------------------------------------------------------------------------
CREATE TABLE offline_sync.device (
    device          uuid        NOT NULL CONSTRAINT device_pkey PRIMARY KEY,
    owner           text        NOT NULL,         -- role name
    label           text,
    class           text,
    public_key      bytea,
    acked_seq       bigint      NOT NULL DEFAULT 0,
    hlc             hlc         NOT NULL,         -- of its last stored change
    registered_at   timestamptz NOT NULL,
    last_push_at    timestamptz,
    last_ack_at     timestamptz,
    seen            version_vector NOT NULL,      -- what it acknowledged
    revoked_at      timestamptz,
    schema_version  int,                          -- that it declared last
    waiting         int         NOT NULL DEFAULT 0, -- number of its changes that wait
    require_signature boolean   NOT NULL DEFAULT false,
    previous_key    bytea,                        -- also accepted, for a while
    previous_key_until timestamptz,
    bucket_full_at  timestamptz,                  -- when it may push a whole burst again
    class_node      int,                          -- position at which it got another class; NULL: never
    class_xid       xid8,
    fenced_at       timestamptz,                  -- clean-up goes on without it until it has started afresh
    returned_at     timestamptz,                  -- it has called since: clean-up waits for it again, but
    returned_node   int,                          -- it needs nothing of what had ended before this position
    returned_horizon xid8
) WITH (fillfactor = 70);                         -- progress is a heap-only update
COMMENT ON TABLE offline_sync.device IS 'devices: see the view sync_devices';

CREATE TABLE offline_sync.device_scope (
    device          uuid        NOT NULL,
    scope           text        COLLATE "C" NOT NULL,
    can_push        boolean     NOT NULL,
    can_pull        boolean     NOT NULL,
    granted_node    int         NOT NULL,         -- position of the latest grant to pull
    granted_xid     xid8        NOT NULL,
    revoked_node    int,                          -- position of its latest revocation
    revoked_xid     xid8,
    granted_horizon xid8        NOT NULL,         -- when it was granted, all transactions before had ended
    CONSTRAINT device_scope_pkey PRIMARY KEY (device, scope)
);
CREATE INDEX device_scope_scope ON offline_sync.device_scope (scope);
COMMENT ON TABLE offline_sync.device_scope IS 'what each device may do with which scope';

SELECT pg_catalog.pg_extension_config_dump('offline_sync.device', '');
SELECT pg_catalog.pg_extension_config_dump('offline_sync.device_scope', '');

-- For whoever administers devices

CREATE FUNCTION sync_register_device(
    device      uuid,
    scopes      text[]  DEFAULT '{""}',
    owner       regrole DEFAULT pg_catalog.quote_ident(CURRENT_USER)::pg_catalog.regrole,
    label       text    DEFAULT NULL,
    public_key  bytea   DEFAULT NULL,
    class       text    DEFAULT NULL)
RETURNS uuid
AS 'MODULE_PATHNAME', 'sync_register_device'
LANGUAGE C VOLATILE PARALLEL UNSAFE;              -- NULL: a new uuid, nothing said
COMMENT ON FUNCTION sync_register_device(uuid, text[], regrole, text, bytea, text) IS
    'register a device (NULL: under a new uuid), or say more of a registered one; scopes that it never had are granted';
REVOKE EXECUTE ON FUNCTION sync_register_device(uuid, text[], regrole, text, bytea, text) FROM PUBLIC;

CREATE FUNCTION sync_revoke_device(device uuid)
RETURNS void
AS 'MODULE_PATHNAME', 'sync_revoke_device'
LANGUAGE C VOLATILE PARALLEL UNSAFE;              -- NULL: an error, not nothing
COMMENT ON FUNCTION sync_revoke_device(uuid) IS
    'let a device neither push nor pull any more, for good';
REVOKE EXECUTE ON FUNCTION sync_revoke_device(uuid) FROM PUBLIC;

CREATE FUNCTION sync_grant_scope(
    device      uuid,
    scope       text,
    push        boolean DEFAULT true,
    pull        boolean DEFAULT true)
RETURNS void
AS 'MODULE_PATHNAME', 'sync_grant_scope'
LANGUAGE C VOLATILE PARALLEL UNSAFE;              -- NULL: an error, not nothing
COMMENT ON FUNCTION sync_grant_scope(uuid, text, boolean, boolean) IS
    'set what a device may do with the rows of a scope';
REVOKE EXECUTE ON FUNCTION sync_grant_scope(uuid, text, boolean, boolean) FROM PUBLIC;

CREATE FUNCTION sync_revoke_scope(device uuid, scope text)
RETURNS void
AS 'MODULE_PATHNAME', 'sync_revoke_scope'
LANGUAGE C VOLATILE PARALLEL UNSAFE;              -- NULL: an error, not nothing
COMMENT ON FUNCTION sync_revoke_scope(uuid, text) IS
    'take a scope from a device: it is told to forget the rows';
REVOKE EXECUTE ON FUNCTION sync_revoke_scope(uuid, text) FROM PUBLIC;

-- For devices: the caller must be a member of the device's owner role

CREATE FUNCTION sync_hello(
    device          uuid,
    OUT node        uuid,
    OUT protocol    int,
    OUT acked_seq   bigint,
    OUT hlc         hlc,
    OUT status      text,
    OUT schema_version int,
    OUT limits      jsonb)
AS 'MODULE_PATHNAME', 'sync_hello'
LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION sync_hello(uuid) IS
    'where a device stands: what was acknowledged, its status, and the limits (sizes in bytes, times in milliseconds)';

CREATE FUNCTION sync_ack(device uuid, seen version_vector)
RETURNS void
AS 'MODULE_PATHNAME', 'sync_ack'
LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION sync_ack(uuid, version_vector) IS
    'the device has durably stored everything that the vector covers';

-- For the views

CREATE FUNCTION offline_sync.device_lag(device uuid, seen version_vector)
RETURNS bigint
AS 'MODULE_PATHNAME', 'sync_device_lag'
LANGUAGE C STABLE STRICT PARALLEL RESTRICTED;
COMMENT ON FUNCTION offline_sync.device_lag(uuid, version_vector) IS
    'number of log entries for a device that a vector does not cover, counted up to 10000';

CREATE FUNCTION offline_sync.device_has_new_grant(device uuid, seen version_vector)
RETURNS boolean
AS 'MODULE_PATHNAME', 'sync_device_has_new_grant'
LANGUAGE C STABLE STRICT PARALLEL RESTRICTED;
COMMENT ON FUNCTION offline_sync.device_has_new_grant(uuid, version_vector) IS
    'may a device pull a scope whose grant a vector does not cover?';

CREATE FUNCTION offline_sync.device_is_expired(last_seen_at timestamptz)
RETURNS boolean
AS 'MODULE_PATHNAME', 'sync_device_is_expired_at'
LANGUAGE C STABLE STRICT PARALLEL RESTRICTED;
COMMENT ON FUNCTION offline_sync.device_is_expired(timestamptz) IS
    'is that longer ago than offline_sync.device_expiry?';
