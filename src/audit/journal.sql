-- ---------------------------------------------------------------------------
-- The journal: each delta as received, and what became of it
-- ---------------------------------------------------------------------------
CREATE TABLE offline_sync.journal (
    reconciliation  uuid        NOT NULL CONSTRAINT journal_pkey PRIMARY KEY,
    device          uuid        NOT NULL,
    first_seq       bigint      NOT NULL,         -- of the changes that were new here
    last_seq        bigint      NOT NULL,         -- 0: nothing was stored
    node            int         NOT NULL,         -- position
    xid             xid8        NOT NULL,
    is_told         boolean     NOT NULL DEFAULT true, -- the answer told all that was written there
    began           hlc         NOT NULL DEFAULT '1970-01-01T00:00:00.000Z/0', -- between these clocks:
    ended           hlc         NOT NULL DEFAULT '1970-01-01T00:00:00.000Z/0', -- the transaction may have written more
    schema_version  int         NOT NULL DEFAULT 0, -- whose names and types the delta uses; 0: the present one
    received_at     timestamptz NOT NULL,
    role            text        NOT NULL,
    status          text        NOT NULL,
    delta           delta       NOT NULL,         -- as received, an overlap included
    outcomes        jsonb       NOT NULL,         -- array: changes that did not simply apply
    details         jsonb       NOT NULL          -- array for the audit: see sync_audit
);
-- Every push is kept, so its compression is on every push's way: lz4 where the server
-- has it takes a tenth of pglz's time.
DO $$
BEGIN
    ALTER TABLE offline_sync.journal ALTER COLUMN delta SET COMPRESSION lz4;
EXCEPTION WHEN feature_not_supported THEN
    NULL;
END
$$;
CREATE INDEX journal_device ON offline_sync.journal (device, last_seq);

-- Up to where the journal was pruned: everything that it no longer knows of a node
-- is at or before this position.
CREATE TABLE offline_sync.journal_forgotten (
    node            int         NOT NULL CONSTRAINT journal_forgotten_pkey PRIMARY KEY,
    xid             xid8        NOT NULL
);

CREATE TABLE offline_sync.conflict (
    conflict        uuid        NOT NULL CONSTRAINT conflict_pkey PRIMARY KEY,
    reconciliation  uuid        NOT NULL,
    device          uuid        NOT NULL,         -- whose push met it
    seq             bigint      NOT NULL,
    scope           text,
    table_id        int         NOT NULL,
    key             bytea       NOT NULL,
    column_id       int,                          -- NULL: the row
    policy          text        NOT NULL,
    decision        text        NOT NULL,         -- 'current' | 'incoming' | 'merged'
    state           text        NOT NULL,         -- 'auto' | 'open' | 'resolved'
    current_value   jsonb,
    incoming_value  jsonb,
    current_hlc     hlc,
    incoming_hlc    hlc,
    current_replica uuid,
    incoming_replica uuid,
    detected_at     timestamptz NOT NULL,
    resolved_at     timestamptz,
    resolved_by     text,
    shadow_step     int,                          -- NULL: no candidate was watched
    shadow_policy   text,
    shadow_decision text,                         -- as decision; NULL: it raised an error
    shadow_value    jsonb,                        -- what it made of both
    shadow_error    text,
    shadow_is_same  boolean                       -- would the cell hold the same?
);
CREATE INDEX conflict_device ON offline_sync.conflict (device, state);
CREATE INDEX conflict_row ON offline_sync.conflict (table_id, key);

COMMENT ON TABLE offline_sync.journal IS 'each delta as received, and what became of it: see the view sync_audit';
COMMENT ON TABLE offline_sync.journal_forgotten IS 'up to which position of each node the journal was pruned';
COMMENT ON TABLE offline_sync.conflict IS 'concurrent writes that met: see the view sync_conflicts';

SELECT pg_catalog.pg_extension_config_dump('offline_sync.journal', '');
SELECT pg_catalog.pg_extension_config_dump('offline_sync.journal_forgotten', '');
SELECT pg_catalog.pg_extension_config_dump('offline_sync.conflict', '');
