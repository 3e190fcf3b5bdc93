-- ---------------------------------------------------------------------------
-- Policies of columns: which hold, on trial or only watched, and which did
-- ---------------------------------------------------------------------------

-- One row for each time that a policy was set.  The one that holds for all rows is
-- in tracked_column, too, where it is needed with the column.
CREATE TABLE offline_sync.column_policy (
    table_id        int         NOT NULL,
    column_id       int         NOT NULL,
    step            int         NOT NULL,         -- 0: with which the table was enabled
    kind            text        NOT NULL,         -- 'active' | 'trial' | 'shadow'
    scope           text        COLLATE "C",      -- NULL: all rows
    policy          text        NOT NULL,
    options         jsonb       NOT NULL,
    set_by          text        NOT NULL,         -- role name
    set_at          timestamptz NOT NULL,
    ended_by        text,                         -- NULL: it holds
    ended_at        timestamptz,
    ended_step      int,                          -- what ended it; NULL: a revert, or the
                                                  --   table is not kept in sync any more
    is_reverted     boolean     NOT NULL DEFAULT false,
    CONSTRAINT column_policy_pkey PRIMARY KEY (table_id, column_id, step)
);
COMMENT ON TABLE offline_sync.column_policy IS 'history of the policies of columns: see the view sync_policies';

SELECT pg_catalog.pg_extension_config_dump('offline_sync.column_policy', '');

CREATE FUNCTION sync_set_policy(relation regclass, column_name name, policy text,
    options jsonb DEFAULT '{}') RETURNS void
AS 'MODULE_PATHNAME', 'sync_set_policy'
LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION sync_set_policy(regclass, name, text, jsonb)
IS 'choose the rule that merges a column, for all rows or those of one scope, or only watch what it would decide; for the table''s owner';

CREATE FUNCTION sync_revert_policy(relation regclass, column_name name) RETURNS void
AS 'MODULE_PATHNAME', 'sync_revert_policy'
LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION sync_revert_policy(regclass, name)
IS 'undo the latest choice of a policy for a column that is not undone yet; for the table''s owner';
