-- ---------------------------------------------------------------------------
-- Views of policies: their history, and what candidates would have decided
--
-- For those who may SELECT from the table, as in the other views.
-- ---------------------------------------------------------------------------

-- What was set for a column or table that is gone holds no more, although nobody
-- ended it.
CREATE VIEW offline_sync.visible_policy WITH (security_barrier) AS
SELECT p.*, t.wire_name, c.column_name,
       CASE WHEN p.is_reverted THEN 'reverted'
            WHEN p.ended_at IS NOT NULL OR c.is_dropped OR NOT t.is_enabled THEN 'replaced'
            ELSE p.kind
       END AS state
FROM offline_sync.column_policy p
JOIN offline_sync.table_access t ON t.table_id = p.table_id
JOIN offline_sync.tracked_column c
       ON c.table_id = p.table_id AND c.column_id = p.column_id
WHERE t.is_readable;
COMMENT ON VIEW offline_sync.visible_policy IS 'the history of policies that the caller may see';

CREATE VIEW sync_policies WITH (security_barrier) AS
SELECT p.wire_name AS table_name, p.column_name, p.scope, p.policy, p.options,
       p.state, p.set_by, p.set_at, p.ended_by, p.ended_at, p.step
FROM offline_sync.visible_policy p;
COMMENT ON VIEW sync_policies IS
    'history of the policies of columns: for which scope (null: for all rows), who set them and when, and which hold; step 0 is that of enabling the table';

-- Numbers only, so of all devices and rows.
CREATE VIEW sync_shadow_report WITH (security_barrier) AS
SELECT p.wire_name AS table_name, p.column_name, p.policy, p.options, p.scope,
       p.state, p.set_at,
       coalesce(k.conflicts, 0) AS conflicts,
       coalesce(k.same, 0) AS same,
       coalesce(k.different, 0) AS different,
       coalesce(k.errors, 0) AS errors
FROM offline_sync.visible_policy p
LEFT JOIN (SELECT c.table_id, c.column_id, c.shadow_step,
                  count(*) AS conflicts,
                  count(*) FILTER (WHERE c.shadow_is_same) AS same,
                  count(*) FILTER (WHERE NOT c.shadow_is_same) AS different,
                  count(*) FILTER (WHERE c.shadow_error IS NOT NULL) AS errors
           FROM offline_sync.conflict c
           WHERE c.shadow_step IS NOT NULL
           GROUP BY c.table_id, c.column_id, c.shadow_step) k
       ON k.table_id = p.table_id AND k.column_id = p.column_id AND k.shadow_step = p.step
WHERE p.kind = 'shadow';
COMMENT ON VIEW sync_shadow_report IS
    'candidates for a column''s policy, and how often they would have left the same value, of the conflicts that are kept';

GRANT SELECT ON sync_policies, sync_shadow_report TO PUBLIC;
