--
-- Devices and scopes: registering, granting, revoking, hello and ack
--
\set VERBOSITY terse

-- what a statement raises: its SQLSTATE and message, uuids of nodes left out
CREATE FUNCTION raised(statement text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE statement;
    RETURN 'nothing';
EXCEPTION WHEN OTHERS THEN
    RETURN sqlstate || ': ' || replace(sqlerrm, sync_node()::text, '<node>');
END $$;

-- an acknowledgement, and what was taken from it; through jsonb, which sorts the
-- node first whatever its uuid is
CREATE FUNCTION ack(seen text) RETURNS text LANGUAGE sql
BEGIN ATOMIC
    SELECT sync_ack('d0000000-0000-0000-0000-000000000001', seen::version_vector);
    SELECT replace(d.seen::text, sync_node()::text, 'node')::jsonb::text
    FROM offline_sync.device d WHERE d.device = 'd0000000-0000-0000-0000-000000000001';
END;

-- an entry in the log, as a write to a tracked table leaves it; its position
CREATE FUNCTION log_write(scope text) RETURNS bigint LANGUAGE sql
BEGIN ATOMIC
    INSERT INTO offline_sync.change_log
    SELECT scope, max(n.id), pg_current_xact_id(), 0, 1, '\x00' FROM offline_sync.node n;
    SELECT pg_current_xact_id()::text::bigint;
END;

CREATE VIEW grants AS
SELECT s.scope, s.can_push, s.can_pull, s.granted_xid, s.revoked_xid,
       (SELECT count(*) FROM offline_sync.change_log l
        WHERE l.scope = s.scope AND l.table_id = 0
          AND l.key = s.device::text::bytea) AS events
FROM offline_sync.device_scope s
WHERE s.device = 'd0000000-0000-0000-0000-000000000001';

\set device '''d0000000-0000-0000-0000-000000000001'''

-- ---------------------------------------------------------------------------
-- Registering
-- ---------------------------------------------------------------------------

SELECT sync_register_device(:device, '{a,b,a}', label => 'phone', class => 'worker');
SELECT label, class, owner = current_user AS is_mine, status, scopes, acked_seq, seen,
       last_push_at, last_ack_at, lag_changes, lag, open_conflicts, pending
FROM sync_devices WHERE device = :device;
SELECT scope, can_push, can_pull, granted_xid IS NOT NULL AS has_position, revoked_xid, events
FROM grants ORDER BY scope;

-- without a uuid it gets one; without scopes, the one of tables without a scope
SELECT sync_register_device(NULL) AS generated \gset
SELECT device <> :device AS is_new, scopes FROM sync_devices WHERE device = :'generated';
SELECT sync_register_device('d0000000-0000-0000-0000-000000000002', NULL);
SELECT scopes FROM sync_devices WHERE device = 'd0000000-0000-0000-0000-000000000002';

-- again: what is not said stays, so does progress, and scopes are only added
UPDATE offline_sync.device SET acked_seq = 7 WHERE device = :device;
CREATE TABLE before AS SELECT * FROM grants;
CREATE ROLE "regress_sync Owner";
SELECT sync_register_device(:device, '{c,a}', '"regress_sync Owner"', public_key => decode(repeat('00', 32), 'hex'));
SELECT label, class, owner, scopes, acked_seq FROM sync_devices WHERE device = :device;
SELECT length(public_key) FROM offline_sync.device WHERE device = :device;
SELECT count(*) = 2 AS grants_stay FROM before JOIN grants USING (scope, granted_xid, events);

-- a role whose name needs quotes, by default
GRANT EXECUTE ON FUNCTION sync_register_device TO "regress_sync Owner";
SET ROLE "regress_sync Owner";
SELECT sync_register_device('d0000000-0000-0000-0000-000000000003');
RESET ROLE;
SELECT owner FROM sync_devices WHERE device = 'd0000000-0000-0000-0000-000000000003';

-- not a device's name: nil, a node's
SELECT raised($$SELECT sync_register_device('00000000-0000-0000-0000-000000000000')$$);
SELECT raised($$SELECT sync_register_device(sync_node())$$);
-- no owner, no such owner, no scope, no key
SELECT raised($$SELECT sync_register_device(NULL, owner => NULL)$$);
SELECT raised($$SELECT sync_register_device(NULL, owner => 'regress_sync_nobody')$$);
SELECT raised($$SELECT sync_register_device(NULL, '{a,NULL}')$$);
SELECT raised($$SELECT sync_register_device(NULL, public_key => '\x00')$$);

-- ---------------------------------------------------------------------------
-- Granting and revoking scopes
-- ---------------------------------------------------------------------------

-- the same again changes nothing
CREATE TABLE granted AS SELECT * FROM grants WHERE scope = 'a';
SELECT sync_grant_scope(:device, 'a');
SELECT g = b AS is_unchanged FROM grants g, granted b WHERE g.scope = 'a';

-- less: the end of pull has a position and an event, the end of push has none
SELECT sync_grant_scope(:device, 'b', push => false);
SELECT can_push, can_pull, revoked_xid, events FROM grants WHERE scope = 'b';
SELECT sync_grant_scope(:device, 'a', pull => false);
SELECT g.can_push, g.can_pull, g.granted_xid = b.granted_xid AS same_grant,
       g.revoked_xid > g.granted_xid AS is_later, g.events
FROM grants g JOIN granted b USING (scope);

-- anew: a new position, and what was revoked before is remembered
CREATE TABLE revoked AS SELECT * FROM grants WHERE scope = 'a';
SELECT sync_grant_scope(:device, 'a');
SELECT g.can_push, g.can_pull, g.granted_xid > b.revoked_xid AS is_later,
       g.revoked_xid = b.revoked_xid AS same_revocation, g.events
FROM grants g JOIN revoked b USING (scope);

-- gone, once; registering again does not bring it back, granting does
SELECT sync_revoke_scope(:device, 'b');
CREATE TABLE gone AS SELECT * FROM grants WHERE scope = 'b';
SELECT sync_revoke_scope(:device, 'b');
SELECT sync_register_device(:device, '{b}') IS NOT NULL AS ok;
SELECT g = b AS is_unchanged, g.can_push, g.can_pull, g.events FROM grants g, gone b WHERE g.scope = 'b';
SELECT scopes FROM sync_devices WHERE device = :device;
SELECT sync_grant_scope(:device, 'b');
SELECT scopes FROM sync_devices WHERE device = :device;

-- what cannot be granted or revoked
SELECT raised($$SELECT sync_grant_scope('d0000000-0000-0000-0000-000000000001', 'a', false, false)$$);
SELECT raised($$SELECT sync_revoke_scope('d0000000-0000-0000-0000-000000000001', 'z')$$);
SELECT raised($$SELECT sync_grant_scope('d0000000-0000-0000-0000-00000000000f', 'a')$$);
SELECT raised($$SELECT sync_revoke_scope('d0000000-0000-0000-0000-00000000000f', 'a')$$);
SELECT raised($$SELECT sync_revoke_device('d0000000-0000-0000-0000-00000000000f')$$);

-- a grant that is rolled back leaves no event
BEGIN;
SELECT sync_grant_scope(:device, 'rolled back');
ROLLBACK;
SELECT count(*) FROM offline_sync.change_log WHERE scope = 'rolled back';

-- ---------------------------------------------------------------------------
-- Hello
-- ---------------------------------------------------------------------------

SELECT node = sync_node() AS node, protocol, acked_seq,
       abs(extract(epoch FROM hlc::timestamptz - clock_timestamp())) < 600 AS hlc,
       status, schema_version
FROM sync_hello(:device);
SELECT l.key, l.value FROM sync_hello(:device) h, jsonb_each(h.limits) l ORDER BY l.key;
SET offline_sync.max_delta_changes = 12;
SELECT limits->'max_delta_changes' AS max_delta_changes FROM sync_hello(:device);
RESET offline_sync.max_delta_changes;
SELECT raised($$SELECT sync_hello('d0000000-0000-0000-0000-00000000000f')$$);

-- it reads only; the others say who they are
BEGIN READ ONLY;
SELECT acked_seq FROM sync_hello(:device);
SELECT raised($$SELECT sync_ack('d0000000-0000-0000-0000-000000000001', '{}')$$);
SELECT raised($$SELECT sync_register_device(NULL)$$);
SELECT raised($$SELECT sync_revoke_device('d0000000-0000-0000-0000-000000000001')$$);
SELECT raised($$SELECT sync_grant_scope('d0000000-0000-0000-0000-000000000001', 'a')$$);
SELECT raised($$SELECT sync_revoke_scope('d0000000-0000-0000-0000-000000000001', 'a')$$);
COMMIT;

-- ---------------------------------------------------------------------------
-- Acknowledging
-- ---------------------------------------------------------------------------

-- up to the grants: everything there is
SELECT max(granted_xid) AS granted FROM grants \gset
SELECT ack(format('{"%s": %s}', sync_node(), :granted)) = format('{"node": %s}', :granted) AS ok;
SELECT status, lag_changes, lag, last_ack_at IS NOT NULL AS has_acked FROM sync_devices WHERE device = :device;
SELECT status FROM sync_hello(:device);

-- joined, never going back
SELECT ack('{}') = format('{"node": %s}', :granted) AS ok;
SELECT ack(format('{"%s": %s}', sync_node(), 1)) = format('{"node": %s}', :granted) AS ok;

-- two writes in a scope of its, one elsewhere: two behind
SELECT log_write('a') AS first \gset
SELECT log_write('z') AS elsewhere \gset
SELECT log_write('c') AS second \gset
SELECT status, lag_changes, lag > '0' AS has_lag FROM sync_devices WHERE device = :device;
SELECT status FROM sync_hello(:device);
-- the later of both is seen first
SELECT ack(format('{"%s": "0,%s"}', sync_node(), :second))
     = format('{"node": "%s,%s"}', :granted, :second) AS ok;
SELECT status, lag_changes FROM sync_devices WHERE device = :device;
SELECT ack(format('{"%s": %s}', sync_node(), :second)) = format('{"node": %s}', :second) AS ok;
SELECT status, lag_changes, lag FROM sync_devices WHERE device = :device;

-- its own changes only as far as they are stored; of other replicas nothing
CREATE TABLE acked AS SELECT ack('{"d0000000-0000-0000-0000-000000000001": "3,5-9,20",
                                   "d0000000-0000-0000-0000-000000000003": 4}') AS seen;
SELECT replace(seen, :'second', '<second>') FROM acked;

-- a lost future: said, and not believed
SELECT replace(ack(format('{"%s": %s}', sync_node(), pg_current_xact_id()::text::bigint + 1000000)), :'second', '<second>');

SELECT raised($$SELECT sync_ack('d0000000-0000-0000-0000-00000000000f', '{}')$$);
SET offline_sync.max_value_size = '1kB';
SELECT raised($$
    SELECT sync_ack('d0000000-0000-0000-0000-000000000001',
                    (SELECT json_object_agg(gen_random_uuid(), 1) FROM generate_series(1, 100))::text::version_vector)$$);
RESET offline_sync.max_value_size;

-- ---------------------------------------------------------------------------
-- Expired: only what is new brings a device back
-- ---------------------------------------------------------------------------

UPDATE offline_sync.device SET registered_at = '2020-01-01', last_ack_at = '2020-01-02' WHERE device = :device;
SELECT h.status, d.status FROM sync_hello(:device) h, sync_devices d WHERE d.device = :device;
SELECT log_write('a') AS third \gset
SELECT ack('{}') IS NOT NULL AS ok;
SELECT status FROM sync_hello(:device);
SELECT ack(format('{"%s": %s}', sync_node(), :third)) = replace((SELECT seen FROM acked), :'second', :'third') AS ok;
SELECT status FROM sync_hello(:device);
-- nothing new, but all there is
UPDATE offline_sync.device SET last_ack_at = '2020-01-02' WHERE device = :device;
SELECT ack('{}') IS NOT NULL AS ok;
SELECT status FROM sync_hello(:device);

-- ---------------------------------------------------------------------------
-- Revoked, for good
-- ---------------------------------------------------------------------------

SELECT sync_revoke_device(:device);
SELECT revoked_at FROM offline_sync.device WHERE device = :device \gset
SELECT sync_revoke_device(:device);
SELECT revoked_at = :'revoked_at' AS ok FROM offline_sync.device WHERE device = :device;
SELECT h.status, d.status FROM sync_hello(:device) h, sync_devices d WHERE d.device = :device;
SELECT raised($$SELECT sync_register_device('d0000000-0000-0000-0000-000000000001')$$);
SELECT raised($$SELECT sync_grant_scope('d0000000-0000-0000-0000-000000000001', 'a')$$);
SELECT raised($$SELECT sync_ack('d0000000-0000-0000-0000-000000000001', '{}')$$);
SELECT sync_revoke_scope(:device, 'a');
SELECT scopes FROM sync_devices WHERE device = :device;

DROP VIEW grants;
DROP TABLE before, granted, revoked, gone, acked;
DROP FUNCTION raised, ack, log_write;
REVOKE EXECUTE ON FUNCTION sync_register_device FROM "regress_sync Owner";
DROP ROLE "regress_sync Owner";
