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
    revoked_at      timestamptz
);

CREATE TABLE offline_sync.device_scope (
    device          uuid        NOT NULL,
    scope           text        NOT NULL,
    can_push        boolean     NOT NULL,
    can_pull        boolean     NOT NULL,
    granted_node    int         NOT NULL,         -- position of the grant to pull
    granted_xid     xid8        NOT NULL,
    revoked_node    int,                          -- position of the revocation
    revoked_xid     xid8,
    CONSTRAINT device_scope_pkey PRIMARY KEY (device, scope)
);
