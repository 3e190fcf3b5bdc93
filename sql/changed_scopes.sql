--
-- Which scopes have changed, for gateways that poll
--
\set VERBOSITY terse
SET client_min_messages = warning;
CREATE ROLE regress_scopes_ann;
CREATE ROLE regress_scopes_bob IN ROLE regress_scopes_ann;
CREATE ROLE regress_scopes_eve;
CREATE ROLE regress_scopes_gateway;
CREATE ROLE regress_scopes_monitor;
CREATE FUNCTION id(d text) RETURNS uuid LANGUAGE sql IMMUTABLE AS
$$ SELECT ('00000000-0000-0000-0000-00000000000' || d)::uuid $$;
SELECT sync_grant_access('regress_scopes_gateway', 'gateway');
SELECT sync_grant_access('regress_scopes_monitor', 'monitor');
CREATE TABLE item (id int PRIMARY KEY, team text, name text);
SELECT sync_enable_table('item', scope => 'team');
SELECT count(sync_register_device(id(d), scopes => s::text[], owner => o::regrole))
FROM (VALUES ('a', '{red,green}', 'regress_scopes_ann'), ('b', '{blue}', 'regress_scopes_eve'), ('c', '{green}', 'regress_scopes_eve')) AS x (d, s, o);
SELECT sync_grant_scope(id('c'), 'silver', push => true, pull => false);

-- what each reader last saw; poll() asks from there on
CREATE TABLE reader (name text PRIMARY KEY, seen version_vector);
INSERT INTO reader VALUES ('all', NULL), ('ann', NULL), ('bob', NULL), ('eve', NULL), ('gateway', NULL), ('monitor', NULL);
CREATE FUNCTION poll(reader text DEFAULT 'all') RETURNS text[] LANGUAGE plpgsql AS $$
DECLARE
    answer record;
    since version_vector := (SELECT r.seen FROM reader AS r WHERE r.name = reader);
BEGIN
    EXECUTE 'SET LOCAL ROLE ' || CASE reader WHEN 'all' THEN 'NONE' ELSE 'regress_scopes_' || reader END;
    SELECT * INTO answer FROM sync_changed_scopes(since);
    SET LOCAL ROLE NONE;
    UPDATE reader AS r SET seen = answer.seen WHERE r.name = reader;
    RETURN answer.scopes;
END $$;
CREATE FUNCTION poll_all() RETURNS TABLE (reader text, scopes text[]) LANGUAGE sql AS $$ SELECT name, poll(name) FROM reader ORDER BY name $$;

-- From now on: nothing yet
SELECT * FROM poll_all();
-- Scopes that were written to, once each, and only for those who may know
INSERT INTO item SELECT n, (ARRAY['red', 'green', 'blue', 'none'])[n % 4 + 1], 'x' FROM generate_series(1, 40) AS n;
UPDATE item SET name = 'y' WHERE team = 'red';
INSERT INTO item VALUES (100, 'silver', 'pushed to, never pulled'), (101, NULL, 'in no scope');
SELECT * FROM poll_all();
SELECT * FROM poll_all();
SELECT status FROM sync_apply_delta(format('{"format": 1, "replica": "%s", "changes": [{"seq": 1, "hlc": "2026-01-01T00:00:00Z/0", "table": "item", "key": {"id": 1}, "set": {"name": "z"}}]}', id('a'))::delta);
SELECT status FROM sync_apply_delta(format('{"format": 1, "replica": "%s", "changes": [{"seq": 1, "hlc": "2026-01-01T00:00:00Z/0", "table": "item", "key": {"id": 2}, "set": {"name": "z"}}]}', id('b'))::delta);
SELECT id, team, name FROM item WHERE id < 3 ORDER BY id;
SELECT * FROM poll_all();
-- a row that moves is a change in both scopes, a deletion in one
UPDATE item SET team = 'blue' WHERE id = 1;
SELECT poll();
DELETE FROM item WHERE id = 1;
SELECT poll();
-- what is rolled back is none
BEGIN;
UPDATE item SET name = 'never';
ROLLBACK;
BEGIN;
SAVEPOINT s;
UPDATE item SET name = 'never' WHERE team = 'green';
ROLLBACK TO s;
UPDATE item SET name = 'ever' WHERE team = 'none';
COMMIT;
SELECT poll();
-- What a transaction writes is told after its commit
BEGIN;
UPDATE item SET name = 'own' WHERE id = 2;
SELECT poll();
COMMIT;
SELECT poll();
SELECT poll();
SELECT * FROM poll_all();

-- Grants are changes of their scope; what concerns all devices is a change of every scope that may be pulled
SELECT sync_grant_scope(id('b'), 'red');
SELECT * FROM poll_all();
CREATE TABLE another (id int PRIMARY KEY, team text);
SELECT sync_enable_table('another', scope => 'team');
SELECT * FROM poll_all();
SELECT sync_revoke_scope(id('b'), 'red');
SELECT sync_revoke_device(id('c'));
UPDATE item SET name = 'after the revocation' WHERE team IN ('red', 'green');
SELECT * FROM poll_all();
-- Everything since nothing
SELECT scopes FROM sync_changed_scopes('{}');
-- A vector of a future that is lost: everything that anybody may pull
SELECT scopes, seen = (SELECT s.seen FROM sync_changed_scopes(NULL) AS s) AS begins_anew
FROM sync_changed_scopes(format('{"%s": 4000000000}', sync_node())::version_vector);
-- Many transactions, a few scopes, gaps in the vector
DO $$ BEGIN FOR i IN 1..50 LOOP INSERT INTO item VALUES (1000 + i, 'many ' || i % 5, 'x'); COMMIT; END LOOP; END $$;
SELECT poll();

-- Channels: of what the device may pull, and of the device; for its owner only
SELECT scope, channel ~ '^sync_[0-9a-f]{32}$' AS well_named FROM sync_channels(id('a'));
SELECT count(DISTINCT channel) FROM (SELECT * FROM sync_channels(id('a')) UNION SELECT * FROM sync_channels(id('b')) UNION SELECT * FROM sync_channels(id('c'))) AS x;
SELECT scope FROM sync_channels(id('b'));
SELECT scope FROM sync_channels(id('c'));
SET ROLE regress_scopes_bob;
SELECT count(*) FROM sync_channels(id('a'));
SELECT sync_channels(id('b'));
SELECT sync_send_notices();
SELECT * FROM offline_sync.notice;
RESET ROLE;
-- Notices, each once
SELECT sync_send_notices();
UPDATE item SET name = 'noticed' WHERE team IN ('red', 'blue');
UPDATE item SET name = 'noticed again' WHERE team IN ('red', 'blue');
SELECT sync_send_notices();
SELECT sync_send_notices();
SELECT sync_grant_scope(id('b'), 'green');
SELECT sync_send_notices();
SELECT sync_mask_columns('item', '{name}', class => 'worker');
SELECT sync_mask_columns('item', '{name}', class => 'worker', pull => true, push => true);
SELECT sync_send_notices();
BEGIN READ ONLY;
SELECT sync_send_notices();
ROLLBACK;

SELECT sync_revoke_access('regress_scopes_gateway', 'gateway'), sync_revoke_access('regress_scopes_monitor', 'monitor');
DROP OWNED BY regress_scopes_gateway, regress_scopes_monitor;
DROP ROLE regress_scopes_ann, regress_scopes_bob, regress_scopes_eve, regress_scopes_gateway, regress_scopes_monitor;
