--
-- Attempts of somebody who has a device, or a role, that is not his, and the answers
--
\set VERBOSITY terse
CREATE ROLE regress_trust_ann;
CREATE ROLE regress_trust_bob;
GRANT CREATE ON SCHEMA public TO regress_trust_bob;
CREATE FUNCTION raised(statement text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE statement;
    RETURN 'nothing';
EXCEPTION WHEN OTHERS THEN
    RETURN sqlstate || ': ' || sqlerrm;
END $$;

CREATE TABLE task (id int PRIMARY KEY, team text NOT NULL, title text UNIQUE, pay int, room int, CHECK (pay < 1000));
SELECT sync_enable_table('task', 'team');
SELECT sync_mask_columns('task', '{pay}');
GRANT SELECT, INSERT, UPDATE, DELETE ON task TO regress_trust_ann, regress_trust_bob;
INSERT INTO task VALUES (1, 'red', 'red-secret', 101, 1), (2, 'blue', 'blue-secret', 102, 2), (3, 'green', 'green-secret', 103, 3);

-- bob's devices: b pushes and pulls blue; r only reads it; w only writes it; g is revoked.  ann's: a
SELECT count(sync_register_device(d::uuid, s, o::regrole)) FROM (VALUES
    ('00000000-0000-0000-0000-0000000000aa', '{red}'::text[], 'regress_trust_ann'),
    ('00000000-0000-0000-0000-0000000000bb', '{blue}', 'regress_trust_bob'),
    ('00000000-0000-0000-0000-0000000000b1', '{}', 'regress_trust_bob'),
    ('00000000-0000-0000-0000-0000000000b2', '{}', 'regress_trust_bob'),
    ('00000000-0000-0000-0000-0000000000b3', '{blue}', 'regress_trust_bob')) v(d, s, o);
SELECT sync_grant_scope('00000000-0000-0000-0000-0000000000b1', 'blue', push => false);
SELECT sync_grant_scope('00000000-0000-0000-0000-0000000000b2', 'blue', pull => false);
SELECT sync_revoke_device('00000000-0000-0000-0000-0000000000b3');

CREATE FUNCTION delta(d text, first_seq int, VARIADIC changes text[]) RETURNS delta LANGUAGE sql AS $$
SELECT format('{"format": 1, "replica": "00000000-0000-0000-0000-0000000000%s", "context": {}, "changes": [%s]}', d,
    (SELECT string_agg(format('{"seq": %s, "hlc": "2100-01-01T10:00:00.000Z/0", "table": "task", %s}', first_seq + n - 1, c), ', ' ORDER BY n)
     FROM unnest(changes) WITH ORDINALITY AS u(c, n)))::delta
$$;
-- all that comes back, values included
CREATE FUNCTION attempt(d text, first_seq int, VARIADIC changes text[]) RETURNS SETOF text LANGUAGE sql AS $$
WITH r AS MATERIALIZED (SELECT * FROM sync_apply_delta(delta(d, first_seq, VARIADIC changes)))
SELECT concat_ws(' ', r.status, 'outcome:', o ->> 'seq', o ->> 'outcome', o ->> 'reason', o ->> 'sqlstate', o ->> 'message', o ->> 'detail')
FROM r, jsonb_array_elements(r.outcomes) o
UNION ALL
SELECT concat_ws(' ', 'told:', c.kind, c.key, c.changes) FROM r, delta_changes(r.corrections) c
$$;
CREATE FUNCTION pulled(d text) RETURNS SETOF text LANGUAGE sql AS $$
SELECT concat_ws(' ', c.kind, c.key, c.changes) FROM delta_changes(sync_changes_since(('00000000-0000-0000-0000-0000000000' || d)::uuid, '{}', 1000)) c
$$;

SET SESSION AUTHORIZATION regress_trust_bob;

-- other owner's device; unknown device
SELECT raised($$SELECT attempt('aa', 1, '"key": {"id": 1}, "delete": true')$$);
SELECT raised($$SELECT pulled('aa')$$);
SELECT raised($$SELECT sync_hello('00000000-0000-0000-0000-0000000000aa')$$);
SELECT raised($$SELECT sync_ack('00000000-0000-0000-0000-0000000000aa', '{}')$$);
SELECT raised($$SELECT attempt('ff', 1, '"key": {"id": 1}, "delete": true')$$);
SELECT raised($$SELECT pulled('ff')$$);
SELECT raised($$SELECT sync_hello('00000000-0000-0000-0000-0000000000ff')$$);
-- a node's delta, and one in a node's name
SELECT left(raised(format($$SELECT sync_apply_delta('{"format": 1, "replica": "%s", "context": {}, "changes": []}')$$, sync_node())), 13) AS raised;
SELECT raised($$SELECT sync_apply_delta(sync_changes_since('00000000-0000-0000-0000-0000000000bb', '{}'))$$) <> 'nothing' AS served_refused;

-- rights of one's own making
SELECT raised($$SELECT sync_register_device('00000000-0000-0000-0000-0000000000aa', owner => 'regress_trust_bob')$$);
SELECT raised($$SELECT sync_grant_scope('00000000-0000-0000-0000-0000000000bb', 'red')$$);
SELECT raised($$SELECT sync_mask_columns('task', '{pay}', push => true, pull => true)$$);
SELECT raised($$SELECT sync_grant_access('regress_trust_bob', 'admin')$$);
SELECT raised($$SELECT sync_purge_row('task', '{"id": 1}')$$);
SELECT raised($$SELECT sync_forget_device('00000000-0000-0000-0000-0000000000bb')$$);
SELECT raised($$INSERT INTO offline_sync.device_scope VALUES ('00000000-0000-0000-0000-0000000000bb', 'red', true, true, 1, '1')$$);

-- push to a foreign scope: by value, of a row there, of one's own row, there and back
SELECT attempt('bb', 1, '"key": {"id": 10}, "insert": {"team": "red", "title": "x"}');
SELECT attempt('bb', 2, '"key": {"id": 1}, "set": {"title": "x"}');
SELECT attempt('bb', 3, '"key": {"id": 1}, "delete": true');
SELECT attempt('bb', 4, '"key": {"id": 1}, "insert": {"team": "blue", "title": "x"}');
SELECT attempt('bb', 5, '"key": {"id": 1}, "set": {"team": "blue"}');
SELECT attempt('bb', 6, '"key": {"id": 2}, "set": {"team": "red"}');
SELECT attempt('bb', 7, '"key": {"id": 11}, "insert": {"title": "x"}');
-- by a device that may only read, to a scope that it may only write
SELECT attempt('b1', 1, '"key": {"id": 2}, "set": {"title": "x"}', '"key": {"id": 2}, "delete": true', '"key": {"id": 12}, "insert": {"team": "blue"}');
SELECT attempt('b2', 1, '"key": {"id": 2}, "set": {"room": 22}', '"key": {"id": 13}, "insert": {"team": "blue", "room": 13}');
-- pull
SELECT pulled('bb');
SELECT pulled('b1');
SELECT pulled('b2');
-- a masked column: read, written, by an answer, by an error
SELECT attempt('bb', 8, '"key": {"id": 2}, "set": {"pay": 1}', '"key": {"id": 14}, "insert": {"team": "blue", "pay": 2}',
                        '"key": {"id": 2}, "insert": {"team": "blue", "title": "blue-secret"}');
-- a revoked device
SELECT attempt('b3', 1, '"key": {"id": 2}, "set": {"title": "x"}');
SELECT pulled('b3');
SELECT status FROM sync_hello('00000000-0000-0000-0000-0000000000b3');
RESET SESSION AUTHORIZATION;

-- errors that show rows: of a scope that the device does not pull, of a column it is not served
ALTER TABLE task ADD CONSTRAINT no_room_9 CHECK (room <> 9);
SET SESSION AUTHORIZATION regress_trust_bob;
SELECT attempt('bb', 11, '"key": {"id": 2}, "set": {"room": 9}');
SELECT attempt('b2', 3, '"key": {"id": 2}, "set": {"room": 9}');
RESET SESSION AUTHORIZATION;
SELECT sync_mask_columns('task', '{pay}', push => true, pull => true);
ALTER TABLE task ADD CONSTRAINT one_room EXCLUDE USING gist (int4range(room, room, '[]') WITH &&);
SET SESSION AUTHORIZATION regress_trust_bob;
SELECT attempt('b2', 4, '"key": {"id": 2}, "set": {"room": 9}');
SELECT attempt('bb', 12, '"key": {"id": 15}, "insert": {"team": "blue", "title": "mine", "room": 1}');
SELECT attempt('bb', 13, '"key": {"id": 15}, "insert": {"team": "blue", "title": "red-secret"}');
RESET SESSION AUTHORIZATION;

-- tombstones of a foreign scope: a delete, and what comes after it
DELETE FROM task WHERE id IN (1, 3);
SET SESSION AUTHORIZATION regress_trust_bob;
SELECT attempt('bb', 14, '"key": {"id": 1}, "set": {"title": "x"}', '"key": {"id": 1}, "delete": true', '"key": {"id": 3}, "insert": {"team": "blue", "title": "y"}');
SELECT pulled('bb') AS p EXCEPT SELECT pulled('b1') ORDER BY 1;
-- what others' conflicts and audit hold
SELECT count(*) FROM sync_conflicts WHERE device = '00000000-0000-0000-0000-0000000000aa';
SELECT DISTINCT device FROM sync_audit WHERE device::text NOT LIKE '%b_' ORDER BY 1;
SELECT device FROM sync_devices ORDER BY 1;

-- SET: the settings that a client may set, and what none of them does
RESET SESSION AUTHORIZATION;
SELECT name, context FROM pg_settings WHERE name LIKE 'offline_sync.%' AND context = 'user' ORDER BY name;
SET SESSION AUTHORIZATION regress_trust_bob;
SELECT raised($$SET offline_sync.actor = 'x'$$);
SELECT raised($$SET offline_sync.device = '00000000-0000-0000-0000-0000000000aa'$$);
SELECT raised($$SET offline_sync.max_delta_size = '1GB'$$);
SELECT raised($$SET offline_sync.max_clock_skew = '1000h'$$);
SELECT raised($$SET offline_sync.durable_acks = off$$);
SELECT raised($$SET ROLE regress_trust_ann$$);
SELECT raised($$SET session_replication_role = replica$$);
SELECT raised($$SELECT sync_set_capture(false)$$);

-- Names in the way, of functions, operators, casts and tables
CREATE FUNCTION public.trap() RETURNS text LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'trapped'; END $$;
CREATE FUNCTION public.trap2(text, text) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'trapped'; END $$;
CREATE FUNCTION public.trap4(int, int) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'trapped'; END $$;
CREATE FUNCTION public.trapu(uuid, uuid) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'trapped'; END $$;
CREATE OPERATOR public.= (FUNCTION = public.trap2, LEFTARG = text, RIGHTARG = text);
CREATE OPERATOR public.= (FUNCTION = public.trap4, LEFTARG = int, RIGHTARG = int);
CREATE OPERATOR public.> (FUNCTION = public.trap4, LEFTARG = int, RIGHTARG = int);
CREATE OPERATOR public.= (FUNCTION = public.trapu, LEFTARG = uuid, RIGHTARG = uuid);
CREATE FUNCTION public.now() RETURNS timestamptz LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'trapped'; END $$;
CREATE FUNCTION public.has_function_privilege(text, text) RETURNS boolean LANGUAGE sql AS $$ SELECT true $$;
CREATE FUNCTION public.pg_has_role(oid, text) RETURNS boolean LANGUAGE sql AS $$ SELECT true $$;
CREATE FUNCTION public.jsonb_array_elements(jsonb) RETURNS SETOF jsonb LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'trapped'; END $$;
CREATE TEMPORARY TABLE device (device uuid);
CREATE TEMPORARY TABLE pg_roles (rolname name, oid oid);
SET search_path = public, pg_temp, pg_catalog;
SELECT OPERATOR(pg_catalog.-) 1 AS traps_are_set FROM task WHERE pg_catalog.length(title) OPERATOR(pg_catalog.<) 0;
SELECT raised($$SELECT 1 = 1$$);
SELECT status FROM sync_apply_delta('{"format": 1, "replica": "00000000-0000-0000-0000-0000000000bb", "context": {}, "changes": [
    {"seq": 17, "hlc": "2100-01-01T10:00:00.000Z/0", "table": "task", "key": {"id": 2}, "set": {"title": "blue-2"}},
    {"seq": 18, "hlc": "2100-01-01T10:00:00.000Z/1", "table": "task", "key": {"id": 16}, "insert": {"team": "blue", "title": "new"}},
    {"seq": 19, "hlc": "2100-01-01T10:00:00.000Z/2", "table": "task", "key": {"id": 13}, "delete": true}]}');
SELECT sync_changes_since('00000000-0000-0000-0000-0000000000bb', '{}') IS NOT NULL AS pulled;
SELECT sync_ack('00000000-0000-0000-0000-0000000000bb', '{}');
SELECT pg_catalog.count(*) AS devices FROM sync_devices;
SELECT pg_catalog.count(*) AS stats FROM sync_stats;
SELECT pg_catalog.count(DISTINCT device) AS of_devices FROM sync_audit;
RESET search_path;
RESET SESSION AUTHORIZATION;
SET search_path = public, pg_temp, pg_catalog;
SELECT sync_mask_columns('task', '{room}', push => false, pull => true);
SELECT sync_purge_row('task', '{"id": 13}');
SELECT sync_forget_device('00000000-0000-0000-0000-0000000000b1');
SELECT sync_grant_access('regress_trust_ann', 'admin'), sync_revoke_access('regress_trust_ann', 'admin');
RESET search_path;
SET search_path = pg_catalog, public;
SELECT id, team, title, room FROM task ORDER BY id;
SET client_min_messages = warning;
DROP OWNED BY regress_trust_ann, regress_trust_bob;
DROP ROLE regress_trust_ann, regress_trust_bob;
