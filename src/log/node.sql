-- ---------------------------------------------------------------------------
-- Nodes: the identities under which this database has stored changes
-- ---------------------------------------------------------------------------
CREATE TABLE offline_sync.node (
    id          int         PRIMARY KEY,          -- small local number, ascending in succession
    node        uuid        NOT NULL UNIQUE,
    began_xid   xid8        NOT NULL,
    final_xid   xid8,                             -- largest position it stored; NULL while current
    began_at    timestamptz NOT NULL,
    system_identifier bigint NOT NULL,            -- of the cluster whose transactions its positions are
    open_at_end version_vector                    -- transactions that were open when it ended; NULL while current
);
COMMENT ON TABLE offline_sync.node IS 'the identities under which this database has stored changes';

-- Up to where a node's transactions had all ended, noted now and then: not long
-- ago for the newest row of a node.  Rows are only added and removed, so that
-- nobody waits for somebody else's open transaction.
CREATE TABLE offline_sync.node_settled (
    node_id     int         NOT NULL,
    xid         xid8        NOT NULL,             -- all before it had ended
    checkpoint  pg_lsn      NOT NULL              -- the latest one by then
);
COMMENT ON TABLE offline_sync.node_settled IS 'up to where all transactions of a node had ended';

-- One row: what sync_new_incarnation() changes.  Not dumped: a restored
-- database gets a nonce of its own.
CREATE TABLE offline_sync.incarnation (
    only_row    boolean     PRIMARY KEY DEFAULT true CHECK (only_row),
    nonce       uuid        NOT NULL,
    changed_at  timestamptz NOT NULL
);
COMMENT ON TABLE offline_sync.incarnation IS 'the part of the node''s identity that sync_new_incarnation() changes';

INSERT INTO offline_sync.incarnation (nonce, changed_at)
    VALUES (pg_catalog.gen_random_uuid(), pg_catalog.now());

SELECT pg_catalog.pg_extension_config_dump('offline_sync.node', '');
SELECT pg_catalog.pg_extension_config_dump('offline_sync.node_settled', '');

CREATE FUNCTION sync_node() RETURNS uuid
AS 'MODULE_PATHNAME', 'sync_node'
LANGUAGE C STABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION sync_node() IS 'identity of this database as a node';

CREATE FUNCTION sync_new_incarnation() RETURNS uuid
AS 'MODULE_PATHNAME', 'sync_new_incarnation'
LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION sync_new_incarnation() IS 'make this database a new node, after a disk snapshot of it was restored';
REVOKE ALL ON FUNCTION sync_new_incarnation() FROM PUBLIC;
