-- ---------------------------------------------------------------------------
-- Views: what an administrator, and an owner of devices, may see
--
-- The state tables are closed; the views read them with their owner's rights, so
-- each view chooses its rows by what the caller may see:
--
--   devices    whose owner role the caller is a member of; all of them for those
--              who may register devices, or monitor
--   values     of tables that the caller may SELECT.  Where row security applies
--              to the caller, values that somebody else may have written, and
--              keys and scopes of others' changes, are left out, since no policy can be asked about them any more.
--
-- Functions and operators run as the caller, but were looked up when the view
-- was created: nothing in the caller's search_path can take their place.
-- ---------------------------------------------------------------------------

CREATE FUNCTION offline_sync.row_key_json(table_id int, key bytea)
RETURNS jsonb
AS 'MODULE_PATHNAME', 'sync_row_key_json'
LANGUAGE C STABLE STRICT PARALLEL RESTRICTED;
COMMENT ON FUNCTION offline_sync.row_key_json(int, bytea) IS
    'an encoded primary key as a JSON object';

CREATE FUNCTION offline_sync.mask_changes(changes jsonb, clear text[])
RETURNS jsonb
AS 'MODULE_PATHNAME', 'sync_mask_changes'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION offline_sync.mask_changes(jsonb, text[]) IS
    'what a change brought, with only digests of columns that are not listed';

CREATE VIEW offline_sync.visible_device WITH (security_barrier) AS
SELECT d.*, o.is_own
FROM offline_sync.device d
CROSS JOIN LATERAL (SELECT EXISTS (SELECT FROM pg_catalog.pg_roles r
                                   WHERE r.rolname = d.owner
                                     AND pg_catalog.pg_has_role(r.oid, 'USAGE'))) AS o(is_own)
WHERE pg_catalog.has_function_privilege(
          'sync_register_device(uuid, text[], regrole, text, bytea, text)'::pg_catalog.regprocedure,
          'EXECUTE')
   OR pg_catalog.has_function_privilege('sync_may_monitor()'::pg_catalog.regprocedure, 'EXECUTE')
   OR o.is_own;
COMMENT ON VIEW offline_sync.visible_device IS 'the devices that the caller may see';

-- A table that is gone protects nothing any more; what it held is then for those
-- who may read everything.
CREATE VIEW offline_sync.table_access WITH (security_barrier) AS
SELECT t.table_id, t.wire_name, t.is_enabled, t.audit,
       CASE WHEN c.oid IS NULL
            THEN pg_catalog.pg_has_role('pg_read_all_data', 'USAGE')
            ELSE pg_catalog.has_schema_privilege(n.oid, 'USAGE')
             AND pg_catalog.has_table_privilege(c.oid, 'SELECT')
       END AS is_readable,
       c.oid IS NOT NULL AND pg_catalog.row_security_active(c.oid) AS has_row_security
FROM offline_sync.tracked_table t
LEFT JOIN (pg_catalog.pg_class c
           JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace)
       ON n.nspname = t.schema_name AND c.relname = t.table_name;
COMMENT ON VIEW offline_sync.table_access IS 'what the caller may see of the tracked tables';

CREATE VIEW sync_devices WITH (security_barrier) AS
SELECT d.device, d.label, d.class, d.owner,
       CASE WHEN d.revoked_at IS NOT NULL THEN 'revoked'
            WHEN d.fenced_at IS NOT NULL
              OR offline_sync.device_is_expired(
                     greatest(d.registered_at, d.last_ack_at)) THEN 'expired'
            WHEN c.open_conflicts > 0 THEN 'conflict'
            WHEN l.lag_changes > 0 OR d.waiting > 0
              OR offline_sync.device_has_new_grant(d.device, d.seen) THEN 'pending'
            ELSE 'synced'
       END AS status,
       ARRAY(SELECT s.scope
             FROM offline_sync.device_scope s
             WHERE s.device = d.device AND (s.can_push OR s.can_pull)
             ORDER BY s.scope) AS scopes,
       d.acked_seq, d.seen, d.last_push_at, d.last_ack_at,
       l.lag_changes,
       CASE WHEN l.lag_changes > 0
            THEN pg_catalog.now() - coalesce(d.last_ack_at, d.registered_at)
            ELSE '0'::interval
       END AS lag,
       c.open_conflicts,
       d.waiting::bigint AS pending
FROM offline_sync.visible_device d
-- OFFSET 0: count once, not once for each use
CROSS JOIN LATERAL (SELECT offline_sync.device_lag(d.device, d.seen) AS lag_changes
                    OFFSET 0) l
CROSS JOIN LATERAL (SELECT count(*) AS open_conflicts
                    FROM offline_sync.conflict k
                    WHERE k.device = d.device AND k.state = 'open') c;
COMMENT ON VIEW sync_devices IS
    'devices, what they may sync and how far they are; lag_changes is counted up to 10000';

CREATE VIEW sync_conflicts WITH (security_barrier) AS
SELECT k.conflict,
       t.wire_name AS table_name,
       CASE WHEN d.is_own OR NOT t.has_row_security
            THEN offline_sync.row_key_json(k.table_id, k.key) END AS key,
       tc.column_name,
       CASE WHEN d.is_own OR NOT t.has_row_security THEN k.scope END AS scope,
       CASE WHEN NOT t.has_row_security THEN k.current_value END AS current_value,
       CASE WHEN d.is_own OR NOT t.has_row_security THEN k.incoming_value END AS incoming_value,
       k.current_hlc, k.incoming_hlc, k.current_replica, k.incoming_replica,
       k.policy, k.decision, k.state, k.reconciliation, k.device, k.seq,
       k.detected_at, k.resolved_at, k.resolved_by,
       k.shadow_policy, k.shadow_decision,
       CASE WHEN NOT t.has_row_security THEN k.shadow_value END AS shadow_value,
       CASE WHEN NOT t.has_row_security THEN k.shadow_error END AS shadow_error
FROM offline_sync.conflict k
JOIN offline_sync.visible_device d ON d.device = k.device
JOIN offline_sync.table_access t ON t.table_id = k.table_id
LEFT JOIN offline_sync.tracked_column tc
       ON tc.table_id = k.table_id AND tc.column_id = k.column_id
WHERE t.is_readable;
COMMENT ON VIEW sync_conflicts IS
    'concurrent writes of one cell, or of one row (column_name is null), and how they were decided';

-- Tables, by the name in deltas, that have or had a column whose values nobody is to
-- see, and the columns that may be seen: a name that is not a column's (any more)
-- may be an old name of such a column.
CREATE VIEW offline_sync.opaque_table WITH (security_barrier) AS
SELECT c.wire_name,
       coalesce(array_agg(c.column_name) FILTER (WHERE c.is_there AND NOT c.is_opaque), '{}') AS clear
FROM (SELECT t.wire_name, tc.column_name,
             coalesce(bool_or(tc.policy = 'opaque'), false) AS is_opaque,
             bool_or(NOT tc.is_dropped) AS is_there
      FROM offline_sync.tracked_table t
      JOIN offline_sync.tracked_column tc ON tc.table_id = t.table_id
      GROUP BY t.wire_name, tc.column_name) AS c
GROUP BY c.wire_name
HAVING bool_or(c.is_opaque);
COMMENT ON VIEW offline_sync.opaque_table IS 'which columns of a change to show, where some must not be';

-- A change without a detail simply applied, or its delta was refused as a whole.
CREATE VIEW sync_audit WITH (security_barrier) AS
SELECT j.reconciliation, j.device, c.seq, j.received_at, j.role,
       CASE WHEN d.is_own OR v.is_open THEN a.scope END AS scope,
       c.table_name,
       CASE WHEN d.is_own OR v.is_open THEN c.key END AS key,
       c.kind AS operation,
       CASE WHEN NOT (d.is_own OR v.is_open) THEN NULL
            WHEN c.kind = 'intent'
            THEN coalesce(c.changes OPERATOR(pg_catalog.->) 'args', '{}')
            WHEN m.wire_name IS NOT NULL
            THEN offline_sync.mask_changes(c.changes, m.clear)
            ELSE c.changes
       END AS incoming,
       CASE WHEN v.is_open THEN a.previous END AS previous,
       coalesce(a.hlc, c.hlc) AS incoming_hlc,
       a.previous_stamps, a.policy,
       coalesce(a.outcome, o.outcome,
                CASE WHEN j.last_seq < j.first_seq THEN j.status ELSE 'applied' END) AS outcome,
       coalesce(a.reason, o.reason,
                CASE WHEN j.last_seq < j.first_seq
                     THEN j.outcomes OPERATOR(pg_catalog.#>>) '{0,reason}' END) AS reason,
       CASE WHEN c.kind = 'intent'
            THEN c.changes OPERATOR(pg_catalog.->>) 'intent' END AS intent,
       CASE WHEN d.is_own OR v.is_open THEN o.result END AS result,
       CASE WHEN a.wrote IS NOT NULL
            THEN pg_catalog.jsonb_build_object(
                     'count', a.wrote OPERATOR(pg_catalog.->) 'count',
                     'rows',
                     (SELECT coalesce(pg_catalog.jsonb_agg(
                                 pg_catalog.jsonb_build_array(w.wire_name, r.named[1])
                                 ORDER BY r.place), '[]')
                      FROM pg_catalog.jsonb_array_elements(a.wrote OPERATOR(pg_catalog.->) 'rows')
                           WITH ORDINALITY AS r (named, place)
                      JOIN offline_sync.table_access w ON w.table_id = r.named[0]::int
                      WHERE w.is_readable AND NOT w.has_row_security AND w.audit <> 'off'))
       END AS wrote,
       CASE WHEN c.kind = 'intent' AND (d.is_own OR v.is_open)
            THEN coalesce(a.message, o.message) END AS error
FROM offline_sync.journal j
JOIN offline_sync.visible_device d ON d.device = j.device
-- of a large delta that was refused the journal may have no change at all
LEFT JOIN LATERAL delta_changes(j.delta) c ON true
LEFT JOIN LATERAL pg_catalog.jsonb_to_recordset(j.details)
          AS a(seq bigint, scope text, policy text, outcome text, reason text,
               hlc hlc, previous jsonb, previous_stamps jsonb, message text, wrote jsonb)
       ON a.seq = c.seq
LEFT JOIN LATERAL pg_catalog.jsonb_to_recordset(j.outcomes)
          AS o(seq bigint, outcome text, reason text, message text, result jsonb)
       ON o.seq = c.seq
LEFT JOIN offline_sync.table_access t
       ON t.wire_name = c.table_name AND t.is_enabled
LEFT JOIN offline_sync.opaque_table m ON m.wire_name = c.table_name
-- intents, and what is of no table, are for those who may read everything
CROSS JOIN LATERAL (SELECT NOT coalesce(t.has_row_security,
                                        NOT pg_catalog.pg_has_role('pg_read_all_data', 'USAGE'))
                   ) AS v(is_open)
WHERE (j.last_seq < j.first_seq OR c.seq BETWEEN j.first_seq AND j.last_seq)
  AND coalesce(t.is_readable AND t.audit <> 'off', NOT EXISTS (
          SELECT FROM offline_sync.table_access u
          WHERE u.wire_name = c.table_name AND NOT u.is_readable));
COMMENT ON VIEW sync_audit IS
    'what each change of a device met and what became of it, one row per change';

-- What clean-up leaves for somebody's sake.
CREATE VIEW sync_holdbacks WITH (security_barrier) AS
SELECT d.device, d.label, d.owner,
       greatest(d.registered_at, d.last_ack_at, d.returned_at) AS since,
       l.entries
FROM offline_sync.visible_device d
CROSS JOIN LATERAL (SELECT offline_sync.device_lag(d.device, d.seen) AS entries
                    OFFSET 0) l
WHERE d.revoked_at IS NULL AND (d.fenced_at IS NULL OR d.returned_at IS NOT NULL)
  AND l.entries > 0;
COMMENT ON VIEW sync_holdbacks IS
    'devices that entries of the change log are kept for, and tombstones, until they acknowledge them or expire; entries are counted up to 10000';

-- Sizes of what grows; numbers of rows there are estimates.
CREATE VIEW sync_stats WITH (security_barrier) AS
SELECT s.name, s.value
FROM (
    SELECT 'nodes', count(*) FROM offline_sync.node
    UNION ALL
    SELECT 'tables', count(*) FROM offline_sync.tracked_table t WHERE t.is_enabled
    UNION ALL
    SELECT 'devices', count(*) FROM offline_sync.device d WHERE d.revoked_at IS NULL
    UNION ALL
    SELECT 'revoked_devices', count(*) FROM offline_sync.device d WHERE d.revoked_at IS NOT NULL
    UNION ALL
    SELECT 'fenced_devices', count(*) FROM offline_sync.device d
    WHERE d.revoked_at IS NULL AND d.fenced_at IS NOT NULL
    UNION ALL
    SELECT 'longest_silence_seconds',             -- of those that clean-up waits for
           (SELECT extract(epoch FROM pg_catalog.now() -
                                      min(greatest(d.registered_at, d.last_ack_at, d.returned_at)))::bigint
            FROM offline_sync.device d
            WHERE d.revoked_at IS NULL AND (d.fenced_at IS NULL OR d.returned_at IS NOT NULL))
    UNION ALL
    SELECT 'unsettled_transactions',              -- ids from the oldest open one on
           (pg_catalog.pg_snapshot_xmax(s)::text::bigint - pg_catalog.pg_snapshot_xmin(s)::text::bigint)
    FROM pg_catalog.pg_current_snapshot() AS s
    UNION ALL
    SELECT 'open_conflicts', count(*) FROM offline_sync.conflict k WHERE k.state = 'open'
    UNION ALL
    SELECT 'oldest_delta_seconds',
           (SELECT extract(epoch FROM pg_catalog.now() - j.received_at)::bigint
            FROM offline_sync.journal j
            ORDER BY j.reconciliation             -- ids ascend with time
            LIMIT 1)
    UNION ALL
    SELECT g.name || '_entries', pg_catalog.pg_stat_get_live_tuples(g.relid)
    FROM (VALUES ('change_log', 'offline_sync.change_log'::regclass),
                 ('tombstone', 'offline_sync.tombstone'),
                 ('journal', 'offline_sync.journal'),
                 ('conflict', 'offline_sync.conflict')) AS g(name, relid)
    UNION ALL
    SELECT g.name || '_bytes', pg_catalog.pg_total_relation_size(g.relid)
    FROM (VALUES ('change_log', 'offline_sync.change_log'::regclass),
                 ('tombstone', 'offline_sync.tombstone'),
                 ('journal', 'offline_sync.journal'),
                 ('conflict', 'offline_sync.conflict')) AS g(name, relid)
) AS s(name, value)
WHERE pg_catalog.pg_has_role('pg_monitor', 'USAGE')
   OR pg_catalog.has_function_privilege(
          'sync_register_device(uuid, text[], regrole, text, bytea, text)'::pg_catalog.regprocedure,
          'EXECUTE')
   OR pg_catalog.has_function_privilege('sync_may_monitor()'::pg_catalog.regprocedure, 'EXECUTE');
COMMENT ON VIEW sync_stats IS
    'size of the state: what it holds, numbers of entries (estimates) and bytes; for members of pg_monitor and those who may register devices, or monitor';

GRANT SELECT ON sync_devices, sync_conflicts, sync_audit, sync_stats, sync_holdbacks TO PUBLIC;
