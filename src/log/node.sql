-- ---------------------------------------------------------------------------
-- Nodes: the identities under which this database has stored changes
-- ---------------------------------------------------------------------------
CREATE TABLE offline_sync.node (
    id          int         PRIMARY KEY,          -- small local number, ascending in succession
    node        uuid        NOT NULL UNIQUE,
    began_xid   xid8        NOT NULL,
    final_xid   xid8,                             -- largest position it stored; NULL while current
    began_at    timestamptz NOT NULL
);

-- one row: what sync_new_incarnation() changes
CREATE TABLE offline_sync.incarnation (
    only_row    boolean     PRIMARY KEY DEFAULT true CHECK (only_row),
    nonce       uuid        NOT NULL,
    changed_at  timestamptz NOT NULL
);
