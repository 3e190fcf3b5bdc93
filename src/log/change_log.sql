-- ---------------------------------------------------------------------------
-- The change log and the tombstones
-- ---------------------------------------------------------------------------
CREATE TABLE offline_sync.change_log (
    scope       text,                             -- NULL: an event for every scope
    node        int         NOT NULL,
    xid         xid8        NOT NULL,
    part        int         NOT NULL,
    table_id    int         NOT NULL,             -- 0: an event, not a row
    key         bytea       NOT NULL
);
CREATE INDEX change_log_position ON offline_sync.change_log (scope, node, xid, part);

CREATE TABLE offline_sync.tombstone (
    table_id    int         NOT NULL,
    key         bytea       NOT NULL,
    scope       text,
    node        int         NOT NULL,             -- position of the latest delete
    xid         xid8        NOT NULL,
    clock       row_clock   NOT NULL,
    image       jsonb,                            -- {"<column id>": text or null}
    CONSTRAINT tombstone_pkey PRIMARY KEY (table_id, key)
);
ALTER TABLE offline_sync.tombstone ALTER COLUMN clock SET STORAGE MAIN;
