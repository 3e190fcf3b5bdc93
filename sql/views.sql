--
-- The views of the journal and of conflicts: what they say, and to whom
--
\set VERBOSITY terse
\set ann '''d2000000-0000-0000-0000-000000000001'''
\set bob '''d2000000-0000-0000-0000-000000000002'''

CREATE ROLE regress_sync_admin;
CREATE ROLE regress_sync_ann;
CREATE ROLE regress_sync_bob;
GRANT EXECUTE ON FUNCTION sync_register_device TO regress_sync_admin;
SELECT sync_register_device(:ann, owner => 'regress_sync_ann');
SELECT sync_register_device(:bob, owner => 'regress_sync_bob');

-- of four tables the owners of devices may read three, one of them row by row
CREATE TABLE audited_open (id int PRIMARY KEY, body text);
CREATE TABLE audited_closed (id int PRIMARY KEY, body text);
CREATE TABLE audited_rows (id int PRIMARY KEY, body text);
CREATE TABLE audited_off (id int PRIMARY KEY, body text);
GRANT SELECT ON audited_open, audited_rows, audited_off TO regress_sync_ann, regress_sync_bob;
GRANT SELECT (id, body) ON audited_closed TO regress_sync_ann;
ALTER TABLE audited_rows ENABLE ROW LEVEL SECURITY;
SELECT sync_enable_table(t::regclass)
FROM unnest('{audited_open, audited_closed, audited_rows}'::text[]) t;
SELECT sync_enable_table('audited_off', options => '{"audit": "off"}');

-- a delta of one change to each table, from this seq on
CREATE FUNCTION delta_of(device uuid, seq bigint) RETURNS delta LANGUAGE sql AS $$
    SELECT format('{"format": 1, "replica": "%s", "context": {}, "changes": [
        {"seq": %s, "hlc": "2026-11-20T10:00:00.000Z/0", "table": "audited_open", "key": {"id": 1}, "insert": {"body": "open"}},
        {"seq": %s, "hlc": "2026-11-20T10:00:00.000Z/1", "table": "audited_closed", "key": {"id": 2}, "set": {"body": "closed"}},
        {"seq": %s, "hlc": "2026-11-20T10:00:00.000Z/2", "table": "audited_rows", "key": {"id": 3}, "set": {"body": "rows"}},
        {"seq": %s, "hlc": "2026-11-20T10:00:00.000Z/3", "table": "audited_off", "key": {"id": 4}, "delete": true},
        {"seq": %s, "hlc": "2026-11-20T10:00:00.000Z/4", "table": "unheard_of", "key": {"id": 5}, "delete": true}]}',
        device, seq, seq + 1, seq + 2, seq + 3, seq + 4)::delta
$$;

-- ann: a push of which the first change had come before, then a refused one;
-- bob: one push with nothing said about its changes
INSERT INTO offline_sync.journal
    (reconciliation, device, first_seq, last_seq, node, xid, received_at, role, status, delta, outcomes, details)
VALUES
    ('e0000000-0000-0000-0000-000000000001', :ann, 2, 5, 1, '5', '2026-11-20 12:00+0', 'regress_sync_ann', 'partial',
     delta_of(:ann, 1),
     '[{"seq": 5, "outcome": "rejected", "reason": "no_table"}]',
     '[{"seq": 2, "outcome": "merged", "scope": "", "policy": "lww", "previous": {"body": "before"},
        "previous_stamps": {"body": ["2026-11-20T09:00:00.000Z/0", "d2000000-0000-0000-0000-000000000002"]},
        "hlc": "2026-11-20T10:00:00.000Z/7"},
       {"seq": 3, "outcome": "superseded", "reason": "later", "scope": "", "policy": "lww", "previous": {"body": "someone''s"}}]'),
    ('e0000000-0000-0000-0000-000000000002', :ann, 6, 0, 1, '6', '2026-11-20 12:01+0', 'regress_sync_ann', 'rejected',
     delta_of(:ann, 6), '[{"reason": "revoked"}]', '[]'),
    ('e0000000-0000-0000-0000-000000000003', :bob, 1, 5, 1, '7', '2026-11-20 12:02+0', 'regress_sync_bob', 'applied',
     delta_of(:bob, 1), '[]', '[]');
INSERT INTO offline_sync.conflict
    (conflict, reconciliation, device, seq, scope, table_id, key, column_id, policy, decision, state,
     current_value, incoming_value, current_hlc, incoming_hlc, current_replica, incoming_replica, detected_at)
SELECT overlay('f0000000-0000-0000-0000-000000000000' PLACING lpad(n::text, 2, '0') FROM 35)::uuid,
       'e0000000-0000-0000-0000-000000000001', :ann, n, '', t.table_id, '\x0137',
       CASE t.table_name WHEN 'audited_open' THEN c.column_id END,
       'lww', 'current', CASE n WHEN 1 THEN 'open' ELSE 'auto' END, '"server"', '"device"',
       '2026-11-20T10:00:00.000Z/1', '2026-11-20T10:00:00.000Z/0', sync_node(), :ann, '2026-11-20 12:00+0'
FROM unnest('{audited_open, audited_closed, audited_rows}'::text[]) WITH ORDINALITY w(wire_name, n)
JOIN offline_sync.tracked_table t USING (wire_name)
JOIN offline_sync.tracked_column c ON c.table_id = t.table_id AND c.column_name = 'body';

-- ---------------------------------------------------------------------------
-- Whoever may read everything
-- ---------------------------------------------------------------------------

SELECT right(reconciliation::text, 2) AS r, seq, role, scope, table_name, key, operation, incoming,
       previous, incoming_hlc, previous_stamps, policy, outcome, reason
FROM sync_audit WHERE device IN (:ann, :bob) ORDER BY 1, 2;
SELECT right(conflict::text, 2) AS c, table_name, key, column_name, scope, current_value, incoming_value,
       current_hlc, incoming_hlc, current_replica = sync_node() AS node, incoming_replica = device AS device,
       policy, decision, state, right(reconciliation::text, 2) AS r, seq, detected_at IS NOT NULL AS has_time,
       resolved_at, resolved_by
FROM sync_conflicts WHERE device = :ann ORDER BY 1;
SELECT status, open_conflicts FROM sync_devices WHERE device IN (:ann, :bob) ORDER BY device;

-- ---------------------------------------------------------------------------
-- Owners see their devices, of tables that they may read; not what others wrote
-- where row security decides
-- ---------------------------------------------------------------------------

SET ROLE regress_sync_ann;
SELECT right(reconciliation::text, 2) AS r, seq, table_name, incoming, previous, outcome FROM sync_audit ORDER BY 1, 2;
SELECT table_name, column_name, current_value, incoming_value FROM sync_conflicts ORDER BY 1;
SET ROLE regress_sync_bob;
SELECT right(reconciliation::text, 2) AS r, seq, table_name, previous FROM sync_audit ORDER BY 1, 2;
SELECT count(*) FROM sync_conflicts;
-- who registers devices sees all devices, but reads no table for that
SET ROLE regress_sync_admin;
SELECT right(reconciliation::text, 2) AS r, seq, table_name FROM sync_audit WHERE device IN (:ann, :bob) ORDER BY 1, 2;
SELECT count(*) FROM sync_conflicts WHERE device = :ann;
-- a schema that is closed closes its tables
RESET ROLE;
CREATE SCHEMA closed;
ALTER TABLE audited_open SET SCHEMA closed;
UPDATE offline_sync.tracked_table SET schema_name = 'closed' WHERE wire_name = 'audited_open';
SET ROLE regress_sync_ann;
SELECT count(*) FROM sync_conflicts WHERE table_name = 'audited_open';
RESET ROLE;

-- what is left of a table that is gone is for those who may read everything
SELECT sync_disable_table('audited_rows');
DROP TABLE audited_rows;
SELECT count(*) FROM sync_audit WHERE device = :ann AND table_name = 'audited_rows';
SET ROLE regress_sync_ann;
SELECT count(*) FROM sync_audit WHERE table_name = 'audited_rows';
RESET ROLE;

DELETE FROM offline_sync.journal WHERE device IN (:ann, :bob);
DELETE FROM offline_sync.conflict WHERE device IN (:ann, :bob);
DROP FUNCTION delta_of;
SELECT sync_disable_table(t::regclass)
FROM unnest('{closed.audited_open, audited_closed, audited_off}'::text[]) t;
DROP TABLE closed.audited_open, audited_closed, audited_off;
DROP SCHEMA closed;
REVOKE EXECUTE ON FUNCTION sync_register_device FROM regress_sync_admin;
DROP ROLE regress_sync_admin, regress_sync_ann, regress_sync_bob;
