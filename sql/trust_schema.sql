--
-- What others create in the extension's schema is not what the owner of the state runs
--
\set VERBOSITY terse
SET client_min_messages = warning;
CREATE ROLE regress_planter;
GRANT CREATE ON SCHEMA public TO regress_planter;
CREATE TABLE item (id int PRIMARY KEY, team text);
SELECT sync_enable_table('item', 'team');
SELECT sync_register_device('00000000-0000-0000-0000-00000000000a', '{red}', 'regress_planter');
INSERT INTO item VALUES (1, 'red'), (2, 'blue');

SET SESSION AUTHORIZATION regress_planter;
-- Each fits what is called better than the server's own, which takes arguments of any type
CREATE FUNCTION planted() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    RAISE WARNING 'planted code runs as %', CASE current_user WHEN 'regress_planter' THEN 'its creator' ELSE 'somebody else' END;
END $$;
CREATE FUNCTION unnest(text[]) RETURNS SETOF text LANGUAGE sql AS $$ SELECT planted(); SELECT 'x' $$;
CREATE FUNCTION gather(text[], text) RETURNS text[] LANGUAGE sql AS $$ SELECT planted(); SELECT $1 $$;
CREATE AGGREGATE array_agg(text) (sfunc = gather, stype = text[], initcond = '{}');
CREATE FUNCTION has_function_privilege(oid, regprocedure, text) RETURNS bool LANGUAGE sql AS $$ SELECT planted(); SELECT true $$;
CREATE FUNCTION equal(oid, regclass) RETURNS bool LANGUAGE sql AS $$ SELECT planted(); SELECT false $$;
CREATE OPERATOR = (leftarg = oid, rightarg = regclass, procedure = equal);
CREATE FUNCTION member(jsonb, jsonb) RETURNS jsonb LANGUAGE sql AS $$ SELECT planted(); SELECT $1 $$;
CREATE OPERATOR -> (leftarg = jsonb, rightarg = jsonb, procedure = member);
CREATE FUNCTION gather_json(jsonb, jsonb) RETURNS jsonb LANGUAGE sql AS $$ SELECT planted(); SELECT $1 $$;
CREATE AGGREGATE jsonb_agg(jsonb) (sfunc = gather_json, stype = jsonb, initcond = '[]');
CREATE FUNCTION unnest(delta[]) RETURNS SETOF delta LANGUAGE sql AS $$ SELECT planted(); SELECT NULL::delta WHERE false $$;
SELECT public.unnest('{a}'::text[]);

-- A poll
SELECT scopes FROM sync_changed_scopes('{}');
-- A table that is dropped
CREATE TABLE mine (id int PRIMARY KEY);
SELECT sync_enable_table('mine');
DROP TABLE mine;
RESET SESSION AUTHORIZATION;
SELECT table_name FROM offline_sync.tracked_table WHERE is_enabled ORDER BY 1;

-- What an administrator calls
SELECT status, rejected FROM sync_apply_delta('{"format": 1, "replica": "00000000-0000-0000-0000-00000000000a", "changes": [
    {"seq": 1, "hlc": "2026-01-01T10:00:00.000Z/0", "table": "item", "key": {"id": 1}, "delete": true},
    {"seq": 2, "hlc": "2026-01-01T10:00:00.000Z/0", "table": "item", "key": {"id": 9}, "delete": true}]}');
SELECT sync_submit_delta('{"format": 1, "replica": "00000000-0000-0000-0000-00000000000a", "changes": [
    {"seq": 3, "hlc": "2026-01-01T10:00:00.000Z/0", "table": "item", "key": {"id": 1}, "insert": {"team": "red"}},
    {"seq": 4, "hlc": "2026-01-01T10:00:00.000Z/0", "table": "item", "key": {"id": 1}, "delete": true}]}') IS NOT NULL AS submitted;
SELECT sync_process_queue() IS NOT NULL AS processed;
SELECT sync_purge_row('item', '{"id": 1}');
SELECT sync_forget_device('00000000-0000-0000-0000-00000000000a');
SELECT sync_maintenance() IS NOT NULL AS maintained;

SELECT sync_disable_table('item');
DROP TABLE item;
DROP OWNED BY regress_planter;
DROP ROLE regress_planter;
