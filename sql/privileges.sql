--
-- Who may do what, and see what: devices, their calls, the state tables, the views
--
\set VERBOSITY terse

CREATE FUNCTION raised(statement text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE statement;
    RETURN 'nothing';
EXCEPTION WHEN OTHERS THEN
    RETURN sqlstate || ': ' || sqlerrm;
END $$;

CREATE ROLE regress_sync_admin;               -- may register devices
CREATE ROLE regress_sync_ann;                 -- owns device 1
CREATE ROLE regress_sync_app IN ROLE regress_sync_ann;
CREATE ROLE regress_sync_distant NOINHERIT IN ROLE regress_sync_ann;
CREATE ROLE regress_sync_bob;                 -- owns device 2
CREATE ROLE regress_sync_lost;                -- owned device 3
GRANT EXECUTE ON FUNCTION sync_register_device, sync_revoke_device,
    sync_grant_scope, sync_revoke_scope TO regress_sync_admin;

SET ROLE regress_sync_admin;
SELECT sync_register_device('d1000000-0000-0000-0000-000000000001', '{ann}', 'regress_sync_ann', 'ann''s phone');
SELECT sync_register_device('d1000000-0000-0000-0000-000000000002', '{bob}', 'regress_sync_bob', 'bob''s phone');
SELECT sync_register_device('d1000000-0000-0000-0000-000000000003', '{lost}', 'regress_sync_lost', 'lost');
RESET ROLE;
DROP ROLE regress_sync_lost;

-- ---------------------------------------------------------------------------
-- The state is closed, whatever is added to it
-- ---------------------------------------------------------------------------

SELECT c.relname, c.relkind
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = 'offline_sync' AND c.relkind IN ('r', 'v', 'm', 'p', 'S', 'f')
  AND (has_table_privilege('regress_sync_ann', c.oid, 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER')
       OR has_any_column_privilege('regress_sync_ann', c.oid, 'SELECT, INSERT, UPDATE, REFERENCES'));
SELECT has_schema_privilege('regress_sync_ann', 'offline_sync', 'USAGE') AS usage,
       has_schema_privilege('regress_sync_ann', 'offline_sync', 'CREATE') AS creation;
SET ROLE regress_sync_ann;
SELECT raised('TABLE offline_sync.device');
SELECT raised('TABLE offline_sync.journal');
SELECT raised($$SELECT offline_sync.device_lag('d1000000-0000-0000-0000-000000000002', '{}')$$);

-- ---------------------------------------------------------------------------
-- The calls
-- ---------------------------------------------------------------------------

SELECT raised($$SELECT sync_register_device(NULL)$$);
SELECT raised($$SELECT sync_revoke_device('d1000000-0000-0000-0000-000000000001')$$);
SELECT raised($$SELECT sync_grant_scope('d1000000-0000-0000-0000-000000000001', 'b')$$);
SELECT raised($$SELECT sync_revoke_scope('d1000000-0000-0000-0000-000000000001', 'ann')$$);

-- the owner and the members of its role; nobody else
SELECT acked_seq FROM sync_hello('d1000000-0000-0000-0000-000000000001');
SELECT sync_ack('d1000000-0000-0000-0000-000000000001', '{}');
SELECT raised($$SELECT sync_hello('d1000000-0000-0000-0000-000000000002')$$);
SELECT raised($$SELECT sync_ack('d1000000-0000-0000-0000-000000000002', '{}')$$);
SELECT raised($$SELECT sync_hello('d1000000-0000-0000-0000-00000000000f')$$);
SELECT raised($$SELECT sync_hello('d1000000-0000-0000-0000-000000000003')$$);
SET ROLE regress_sync_app;
SELECT acked_seq FROM sync_hello('d1000000-0000-0000-0000-000000000001');
SET ROLE regress_sync_distant;
SELECT raised($$SELECT sync_hello('d1000000-0000-0000-0000-000000000001')$$);
-- who may register devices does not thereby speak for them
SET ROLE regress_sync_admin;
SELECT raised($$SELECT sync_hello('d1000000-0000-0000-0000-000000000001')$$);
-- a device whose owner is gone gets another one
SELECT sync_register_device('d1000000-0000-0000-0000-000000000003', '{}', 'regress_sync_bob');
SET ROLE regress_sync_bob;
SELECT acked_seq FROM sync_hello('d1000000-0000-0000-0000-000000000003');
RESET ROLE;

-- ---------------------------------------------------------------------------
-- The views
-- ---------------------------------------------------------------------------

SET ROLE regress_sync_ann;
SELECT label, status, scopes, lag_changes FROM sync_devices ORDER BY label;
SELECT count(*) FROM sync_stats;
SET ROLE regress_sync_app;
SELECT label FROM sync_devices ORDER BY label;
SET ROLE regress_sync_distant;
SELECT label FROM sync_devices ORDER BY label;
SET ROLE regress_sync_bob;
SELECT label FROM sync_devices ORDER BY label;
SET ROLE regress_sync_admin;
SELECT label FROM sync_devices WHERE device::text LIKE 'd1%' ORDER BY label;
SELECT count(*) > 0 AS has_stats FROM sync_stats;
RESET ROLE;

-- a function in the query meets no row that the view withholds
GRANT CREATE ON SCHEMA public TO regress_sync_ann;
SET ROLE regress_sync_ann;
CREATE FUNCTION leak(text) RETURNS boolean LANGUAGE plpgsql COST 0.0000001 AS $$
BEGIN
    RAISE NOTICE 'met %', $1;
    RETURN true;
END $$;
SELECT label FROM sync_devices WHERE leak(label);

-- ---------------------------------------------------------------------------
-- Names that somebody put in the way change nothing
-- ---------------------------------------------------------------------------

CREATE TABLE expected AS
SELECT d.*, (SELECT acked_seq FROM sync_hello(d.device)) AS hello FROM sync_devices d;
RESET ROLE;
CREATE SCHEMA trap AUTHORIZATION regress_sync_ann;
GRANT CREATE, TEMPORARY ON DATABASE :"DBNAME" TO regress_sync_ann;
SET ROLE regress_sync_ann;
SET search_path = trap, pg_temp, public;
CREATE TABLE trap.device (device uuid, owner text);
CREATE TABLE trap.device_scope (LIKE trap.device);
CREATE TABLE trap.pg_roles (rolname name, oid oid);
INSERT INTO trap.pg_roles VALUES ('regress_sync_bob', 'regress_sync_ann'::regrole);
CREATE TEMPORARY TABLE device (device uuid, owner text);
CREATE TEMPORARY TABLE pg_roles AS TABLE trap.pg_roles;
CREATE TEMPORARY TABLE pg_class (oid oid);
CREATE FUNCTION trap.pg_has_role(oid, text) RETURNS boolean LANGUAGE sql AS 'SELECT true';
CREATE FUNCTION trap.has_function_privilege(oid, text) RETURNS boolean LANGUAGE sql AS 'SELECT true';

CREATE FUNCTION trap.device_lag(uuid, version_vector) RETURNS bigint LANGUAGE sql AS 'SELECT 99::bigint';
CREATE FUNCTION trap.always(uuid, uuid) RETURNS boolean LANGUAGE sql AS 'SELECT true';
CREATE FUNCTION trap.always(name, text) RETURNS boolean LANGUAGE sql AS 'SELECT true';
CREATE OPERATOR trap.= (FUNCTION = trap.always, LEFTARG = uuid, RIGHTARG = uuid);
CREATE OPERATOR trap.= (FUNCTION = trap.always, LEFTARG = name, RIGHTARG = text);
SET search_path = trap, pg_catalog, pg_temp, public;
SELECT 'd1000000-0000-0000-0000-000000000001'::uuid = 'd1000000-0000-0000-0000-000000000002'::uuid AS trap_works;
SELECT count(*) AS devices FROM public.sync_devices;
SELECT count(*) AS same FROM (
    SELECT d.*, (SELECT acked_seq FROM public.sync_hello(d.device)) AS hello FROM public.sync_devices d
    INTERSECT TABLE public.expected) AS s;
SELECT public.raised($$SELECT public.sync_hello('d1000000-0000-0000-0000-000000000002')$$);
SELECT public.sync_ack('d1000000-0000-0000-0000-000000000001', '{}');

-- nor for those with more rights
RESET ROLE;
SELECT public.sync_grant_scope('d1000000-0000-0000-0000-000000000001', 'x');
SELECT public.sync_register_device('d1000000-0000-0000-0000-000000000002', '{y}', 'regress_sync_bob');
RESET search_path;
SELECT label, scopes FROM sync_devices WHERE device::text LIKE 'd1%' ORDER BY label;

DROP SCHEMA trap CASCADE;
DROP TABLE expected;
DROP TABLE pg_temp.device, pg_temp.pg_roles, pg_temp.pg_class;
DROP FUNCTION raised, leak;
REVOKE ALL ON DATABASE :"DBNAME" FROM regress_sync_ann;
REVOKE ALL ON SCHEMA public FROM regress_sync_ann;
REVOKE EXECUTE ON FUNCTION sync_register_device, sync_revoke_device,
    sync_grant_scope, sync_revoke_scope FROM regress_sync_admin;
DROP ROLE regress_sync_admin, regress_sync_ann, regress_sync_app, regress_sync_distant, regress_sync_bob;
