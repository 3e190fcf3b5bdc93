-- ---------------------------------------------------------------------------
-- Changes that wait for their parent
-- ---------------------------------------------------------------------------
-- The change itself is in the journal's delta.
CREATE TABLE offline_sync.waiting (
    device          uuid        NOT NULL,
    seq             bigint      NOT NULL,
    unit            bigint      NOT NULL,         -- first seq of its group
    reconciliation  uuid        NOT NULL,         -- that brought it
    table_id        int         NOT NULL,         -- the row; 0: an intent
    key             bytea       NOT NULL,
    scope           text        COLLATE "C",      -- NULL: not known
    hlc             hlc         NOT NULL,         -- lifted when it came
    schema_version  int         NOT NULL,         -- that it was made for; 0: the present one
    role            text        NOT NULL,         -- who pushed it, by name
    reason          text        NOT NULL,         -- 'missing_parent' | 'waits_for' | 'group'
    constraint_name text,
    parent_table_id int,                          -- NULL: not known, or not tracked
    parent_key      bytea,                        -- NULL: some row of that table
    since           timestamptz NOT NULL,
    expires_at      timestamptz NOT NULL,
    CONSTRAINT waiting_pkey PRIMARY KEY (device, seq)
);
CREATE INDEX waiting_row ON offline_sync.waiting (table_id, key);
CREATE INDEX waiting_parent ON offline_sync.waiting (parent_table_id, parent_key);
COMMENT ON TABLE offline_sync.waiting IS 'changes that wait for the row that they refer to';

-- What became of them was stored later than their journal row says; kept as long as that.
CREATE TABLE offline_sync.late_change (
    device          uuid        NOT NULL,
    seq             bigint      NOT NULL,
    node            int         NOT NULL,         -- position
    xid             xid8        NOT NULL,
    table_id        int         NOT NULL,
    key             bytea       NOT NULL,
    CONSTRAINT late_change_pkey PRIMARY KEY (device, seq)
);
CREATE INDEX late_change_position ON offline_sync.late_change (device, node, xid);
COMMENT ON TABLE offline_sync.late_change IS 'changes that had waited for the row that they refer to, and where their end is stored';

SELECT pg_catalog.pg_extension_config_dump('offline_sync.waiting', '');
SELECT pg_catalog.pg_extension_config_dump('offline_sync.late_change', '');
