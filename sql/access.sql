--
-- Levels of access for roles: admin, gateway, monitor
--
\set VERBOSITY terse
CREATE ROLE regress_access_admin;
CREATE ROLE regress_access_gateway;
CREATE ROLE regress_access_monitor;
CREATE ROLE regress_access_owner;
CREATE ROLE regress_access_nobody;
GRANT regress_access_owner TO regress_access_gateway;

CREATE FUNCTION raised(statement text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE statement;
    RETURN 'nothing';
EXCEPTION WHEN OTHERS THEN
    RETURN sqlstate || ': ' || sqlerrm;
END $$;

-- what the extension's functions and views are open to a role, and not to PUBLIC
CREATE FUNCTION granted(role name) RETURNS SETOF text LANGUAGE sql AS $$
    SELECT p.proname FROM pg_depend d
    JOIN pg_extension e ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid AND e.extname = 'offline_sync'
    JOIN pg_proc p ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid
    WHERE EXISTS (SELECT FROM aclexplode(p.proacl) a WHERE a.grantee = role::regrole AND a.privilege_type = 'EXECUTE')
    UNION ALL
    SELECT c.relname FROM pg_depend d
    JOIN pg_extension e ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid AND e.extname = 'offline_sync'
    JOIN pg_class c ON d.classid = 'pg_class'::regclass AND d.objid = c.oid
    WHERE EXISTS (SELECT FROM aclexplode(c.relacl) a WHERE a.grantee = role::regrole)
    ORDER BY 1
$$;

SELECT sync_grant_access('regress_access_admin', 'admin');
SELECT sync_grant_access('regress_access_gateway', 'gateway');
SELECT sync_grant_access('regress_access_monitor', 'monitor');

-- An admin has all functions that are closed to PUBLIC, but these two
SELECT p.oid::regprocedure::text AS left_out FROM pg_depend d
JOIN pg_extension e ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid AND e.extname = 'offline_sync'
JOIN pg_proc p ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid
WHERE NOT has_function_privilege('regress_access_admin', p.oid, 'EXECUTE')
  AND p.prorettype <> 'trigger'::regtype ORDER BY 1;
SELECT string_agg(g, ' ') FROM granted('regress_access_gateway') g;
SELECT count(*) > 5 AS has_views FROM granted('regress_access_monitor') g WHERE g <> 'sync_may_monitor';
-- none has the state
SELECT r.rolname FROM pg_roles r WHERE r.rolname LIKE 'regress_access%'
AND has_schema_privilege(r.oid, 'offline_sync', 'USAGE');

-- They do what they are for
CREATE TABLE access_note (id int PRIMARY KEY, body text);
SELECT sync_enable_table('access_note');
SET ROLE regress_access_admin;
SELECT sync_register_device('00000000-0000-0000-0000-0000000acce5', owner => 'regress_access_owner', label => 'phone');
SELECT raised($$SELECT sync_hello('00000000-0000-0000-0000-0000000acce5')$$);
SELECT raised($$SELECT sync_grant_access('regress_access_nobody', 'admin')$$);
SET ROLE regress_access_gateway;
SELECT acked_seq FROM sync_hello('00000000-0000-0000-0000-0000000acce5');
SELECT raised($$SELECT sync_register_device(NULL)$$);
-- ... with their own rights on tables
SELECT status, outcomes -> 0 ->> 'sqlstate' AS sqlstate FROM sync_apply_delta(
    '{"format": 1, "replica": "00000000-0000-0000-0000-0000000acce5", "context": {}, "changes": [
      {"seq": 1, "hlc": "2026-01-01T10:00:00.000Z/0", "table": "access_note", "key": {"id": 1}, "insert": {"body": "x"}}]}');
SET ROLE regress_access_monitor;
SELECT label, status FROM sync_devices WHERE device = '00000000-0000-0000-0000-0000000acce5';
SELECT count(*) > 0 AS has_stats FROM sync_stats;
SELECT count(*) AS values_seen FROM sync_audit;
SELECT raised($$SELECT sync_hello('00000000-0000-0000-0000-0000000acce5')$$);
SELECT raised($$SELECT sync_revoke_device('00000000-0000-0000-0000-0000000acce5')$$);
SET ROLE regress_access_nobody;
SELECT count(*) AS devices FROM sync_devices;
SELECT count(*) AS stats FROM sync_stats;
SELECT raised($$SELECT sync_grant_access('regress_access_nobody', 'admin')$$);
RESET ROLE;

-- Only the extension's owner grants, even where somebody may execute the function
GRANT EXECUTE ON FUNCTION sync_grant_access, sync_revoke_access TO regress_access_admin;
SET ROLE regress_access_admin;
SELECT raised($$SELECT sync_grant_access('regress_access_nobody', 'admin')$$);
SELECT raised($$SELECT sync_revoke_access('regress_access_gateway', 'gateway')$$);
RESET ROLE;
REVOKE EXECUTE ON FUNCTION sync_grant_access, sync_revoke_access FROM regress_access_admin;

-- Names in the way are not granted, nor called
CREATE SCHEMA trap;
CREATE FUNCTION trap.sync_register_device(device uuid, scopes text[], owner regrole, label text, public_key bytea, class text)
RETURNS uuid LANGUAGE sql AS $$ SELECT $1 $$;
CREATE FUNCTION trap.sync_hello(device uuid) RETURNS uuid LANGUAGE sql AS $$ SELECT $1 $$;
CREATE VIEW trap.sync_devices AS SELECT 1;
REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA trap FROM PUBLIC;
SET search_path = trap, public, pg_catalog;
SELECT sync_grant_access('regress_access_nobody', 'gateway'), sync_grant_access('regress_access_nobody', 'monitor');
SELECT sync_grant_access('regress_access_nobody', 'admin');
RESET search_path;
SELECT count(*) FROM pg_proc WHERE pronamespace = 'trap'::regnamespace AND has_function_privilege('regress_access_nobody', oid, 'EXECUTE');
SELECT has_table_privilege('regress_access_nobody', 'trap.sync_devices', 'SELECT');
DROP SCHEMA trap CASCADE;

-- What was given goes again: nothing is left that would keep the role
SELECT sync_revoke_access('regress_access_nobody', l) FROM unnest('{admin,gateway,monitor}'::text[]) l;
SELECT * FROM granted('regress_access_nobody');
DROP ROLE regress_access_nobody;
SELECT sync_revoke_access('regress_access_monitor', 'monitor');
SET ROLE regress_access_monitor;
SELECT count(*) AS devices FROM sync_devices;
RESET ROLE;

SELECT raised($$SELECT sync_grant_access('regress_access_admin', 'root')$$);
SELECT raised($$SELECT sync_grant_access(NULL, 'admin')$$);
SELECT raised($$SELECT sync_grant_access('regress_access_admin', NULL)$$);

-- An extension in a schema of its own: its use is granted, too
DROP ROLE regress_access_monitor;
SELECT sync_revoke_access('regress_access_admin', 'admin'), sync_revoke_access('regress_access_gateway', 'gateway');
DROP EXTENSION offline_sync CASCADE;
CREATE SCHEMA own;
CREATE EXTENSION offline_sync SCHEMA own;
SELECT own.sync_grant_access('regress_access_gateway', 'gateway');
SELECT has_schema_privilege('regress_access_gateway', 'own', 'USAGE') AS usage;
SET ROLE regress_access_gateway;
SELECT own.sync_node() IS NOT NULL AS node;
RESET ROLE;
DROP EXTENSION offline_sync CASCADE;
DROP SCHEMA own;
DROP ROLE regress_access_admin, regress_access_gateway, regress_access_owner;
