-- ---------------------------------------------------------------------------
-- The change log and the tombstones
-- ---------------------------------------------------------------------------
CREATE TABLE offline_sync.change_log (
    scope       text        COLLATE "C",          -- NULL: an event for every scope
    node        int         NOT NULL,
    xid         xid8        NOT NULL,
    part        int         NOT NULL,
    table_id    int         NOT NULL,             -- 0: an event, not a row
    key         bytea       NOT NULL,             -- several: each after its length, a varint
    nkeys       int         NOT NULL DEFAULT 1    -- entries in this row
);
CREATE INDEX change_log_position ON offline_sync.change_log (scope, node, xid, part);
CREATE INDEX change_log_recent ON offline_sync.change_log (node, xid, scope);
COMMENT ON TABLE offline_sync.change_log IS 'which rows were written at which position: where to look, not what is true';

-- Not unique: two transactions that delete a key that is not there both leave
-- a tombstone, and neither waits for the other.  Readers take them together.
CREATE TABLE offline_sync.tombstone (
    table_id    int         NOT NULL,
    key         bytea       NOT NULL,
    scope       text        COLLATE "C",          -- NULL: in none
    node        int         NOT NULL,             -- position of the latest delete
    xid         xid8        NOT NULL,
    clock       row_clock   NOT NULL,
    image       jsonb                             -- {"<column id>": text or null}
);
CREATE INDEX tombstone_key ON offline_sync.tombstone (table_id, key);
CREATE INDEX tombstone_position ON offline_sync.tombstone (node, xid);
ALTER TABLE offline_sync.tombstone ALTER COLUMN clock SET STORAGE MAIN;
COMMENT ON TABLE offline_sync.tombstone IS 'row clocks and last images of deleted rows';

-- The largest position of an entry that was removed: a vector that does not cover
-- all up to there cannot be continued in that scope.
CREATE TABLE offline_sync.log_forgotten (
    scope       text        COLLATE "C" NOT NULL,
    node        int         NOT NULL,
    xid         xid8        NOT NULL,
    CONSTRAINT log_forgotten_pkey PRIMARY KEY (scope, node)
);
CREATE INDEX log_forgotten_position ON offline_sync.log_forgotten (node, xid);
COMMENT ON TABLE offline_sync.log_forgotten IS 'up to where entries were removed from the change log';

-- At most one row.  A moment: when it was noted, all transactions before "settled" had
-- ended, and none from "ended" on had begun.  And the last one that every device came
-- past: tombstones of transactions before its "settled" may be gone.
CREATE TABLE offline_sync.tombstone_release (
    only_row    boolean     NOT NULL DEFAULT true CONSTRAINT tombstone_release_pkey PRIMARY KEY CHECK (only_row),
    node        int         NOT NULL,
    settled     xid8        NOT NULL,
    ended       xid8        NOT NULL,
    released_node    int,                         -- NULL: none yet
    released_settled xid8,
    released_ended   xid8
);
COMMENT ON TABLE offline_sync.tombstone_release IS 'which tombstones no device needs any more';

SELECT pg_catalog.pg_extension_config_dump('offline_sync.log_forgotten', '');
SELECT pg_catalog.pg_extension_config_dump('offline_sync.tombstone_release', '');
SELECT pg_catalog.pg_extension_config_dump('offline_sync.change_log', '');
SELECT pg_catalog.pg_extension_config_dump('offline_sync.tombstone', '');
