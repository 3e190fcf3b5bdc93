--
-- Policies with options: priority, custom; and opaque, which nobody looks into
--
SET client_min_messages = warning;
CREATE SCHEMA rules;
CREATE FUNCTION rules.longer(current text, incoming text, context jsonb) RETURNS text IMMUTABLE LANGUAGE sql AS $$
    SELECT CASE WHEN length(incoming) > length(current) THEN incoming ELSE current END
$$;
CREATE FUNCTION rules.anything(current anyelement, incoming anyelement, context jsonb) RETURNS anyelement
    IMMUTABLE LANGUAGE sql AS 'SELECT $1';
CREATE FUNCTION rules.volatile(current text, incoming text, context jsonb) RETURNS text LANGUAGE sql AS 'SELECT $1';
CREATE FUNCTION rules.many(current text, incoming text, context jsonb) RETURNS SETOF text IMMUTABLE LANGUAGE sql AS 'SELECT $1';
CREATE FUNCTION rules.other(current text, incoming text, context jsonb) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT 1';
CREATE FUNCTION rules.two(current text, incoming text) RETURNS text IMMUTABLE LANGUAGE sql AS 'SELECT $1';
CREATE DOMAIN rules.word AS text CHECK (VALUE <> '');
CREATE TABLE ruled (id int PRIMARY KEY, t text, n int, w rules.word, b bytea, g text GENERATED ALWAYS AS (t) STORED);

-- Options are checked, and refused as a whole
SELECT sync_enable_table('ruled', policies => '{"t": "priority"}');
SELECT sync_enable_table('ruled', policies => '{"t": {"policy": "priority", "order": []}}');
SELECT sync_enable_table('ruled', policies => '{"t": {"policy": "priority", "order": "manager"}}');
SELECT sync_enable_table('ruled', policies => '{"t": {"policy": "priority", "order": ["a", 1]}}');
SELECT sync_enable_table('ruled', policies => '{"t": {"policy": "priority", "order": ["a", "b", "a"]}}');
SELECT sync_enable_table('ruled', policies => '{"t": {"policy": "priority", "order": ["a"], "classes": 1}}');
SELECT sync_enable_table('ruled', policies => '{"t": {"policy": "lww", "order": ["a"]}}');
SELECT sync_enable_table('ruled', policies => '{"t": "custom"}');
SELECT sync_enable_table('ruled', policies => '{"t": {"policy": "custom", "function": 1}}');
SELECT sync_enable_table('ruled', policies => '{"t": {"policy": "custom", "function": ""}}');
SELECT sync_enable_table('ruled', policies => '{"t": {"policy": "custom", "function": "longer"}}');
SELECT sync_enable_table('ruled', policies => '{"n": "opaque"}');
SELECT sync_enable_table('ruled', policies => '{"t": {"policy": "priority", "order": ["manager", "worker"]},
    "n": {"policy": "custom", "function": "rules.anything"}, "b": "opaque"}');
SELECT policies FROM sync_tables WHERE table_name = 'ruled';

-- Keys are never merged
SELECT sync_set_policy('ruled', 'id', 'first_writer');

-- A function must be there, merge two values into one and be callable by the caller
SELECT sync_set_policy('ruled', 't', 'custom', '{"function": "rules.missing"}');
SELECT sync_set_policy('ruled', 't', 'custom', '{"function": "nowhere.longer"}');
SELECT sync_set_policy('ruled', 't', 'custom', '{"function": "postgres.rules.longer"}');
SELECT sync_set_policy('ruled', 'n', 'custom', '{"function": "rules.longer"}');
SELECT sync_set_policy('ruled', 't', 'custom', '{"function": "rules.two"}');
SELECT sync_set_policy('ruled', 't', 'custom', '{"function": "rules.volatile"}');
SELECT sync_set_policy('ruled', 't', 'custom', '{"function": "rules.many"}');
SELECT sync_set_policy('ruled', 't', 'custom', '{"function": "rules.other"}');
SELECT sync_set_policy('ruled', 'g', 'custom', '{"function": "rules.longer"}');
SELECT sync_set_policy('ruled', 'id', 'custom', '{"function": "rules.anything"}');
CREATE FUNCTION pg_temp.longer(current text, incoming text, context jsonb) RETURNS text IMMUTABLE LANGUAGE sql AS 'SELECT $1';
SELECT sync_set_policy('ruled', 't', 'custom', '{"function": "pg_temp.longer"}');
DO $$
DECLARE schema text := pg_my_temp_schema()::regnamespace;
BEGIN
    PERFORM sync_set_policy('ruled', 't', 'custom', jsonb_build_object('function', schema || '.longer'));
EXCEPTION WHEN undefined_function THEN RAISE WARNING 'not found in a temporary schema';
END $$;
CREATE ROLE regress_rules;
ALTER TABLE ruled OWNER TO regress_rules;
REVOKE ALL ON FUNCTION rules.longer FROM PUBLIC;
SET ROLE regress_rules;
SELECT sync_set_policy('ruled', 't', 'custom', '{"function": "rules.longer"}');
RESET ROLE;
SELECT sync_set_policy('ruled', 't', 'custom', '{"function": "rules.longer"}');
-- ... a domain's column takes a function of the type below it, too
SELECT sync_set_policy('ruled', 'w', 'custom', '{"function": "rules.longer"}');
SELECT column_name, policy, options FROM offline_sync.tracked_column
WHERE policy IS NOT NULL AND table_id = (SELECT max(table_id) FROM offline_sync.tracked_table WHERE wire_name = 'ruled') ORDER BY 1;
DROP TABLE ruled;

-- Devices by their classes; "other" is a second worker, "intern" has a class that is not listed, "none" has none.
-- A push is a transaction of its own.
CREATE FUNCTION id(device text) RETURNS uuid IMMUTABLE LANGUAGE sql AS
    $$ SELECT ('00000000-0000-0000-0000-0000000fff0' || array_position('{manager,worker,other,intern,none}', device))::uuid $$;
SELECT sync_register_device(id(d), label => d, class => CASE d WHEN 'other' THEN 'worker' WHEN 'none' THEN NULL ELSE d END) = id(d) AS registered
FROM unnest('{manager,worker,other,intern,none}'::text[]) AS d;
-- changes: JSON objects without seq and hlc; at: what their clock shows, in hours; seen: what the device had seen
CREATE FUNCTION push(device text, seen text, at int, VARIADIC changes text[]) RETURNS TABLE (n bigint, outcome text, reason text, sqlstate text, col text, message text, detail text)
LANGUAGE sql AS $$
    WITH pushed AS MATERIALIZED (
        SELECT h.acked_seq, a.outcomes
        FROM sync_hello(id(device)) AS h, sync_apply_delta(jsonb_build_object('format', 1, 'replica', id(device), 'context', seen::jsonb, 'changes',
            (SELECT jsonb_agg(c::jsonb || jsonb_build_object('seq', h.acked_seq + i, 'hlc', to_char(timestamp '2020-01-01' + at * interval '1 hour', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z/0"')) ORDER BY i)
             FROM unnest(changes) WITH ORDINALITY AS u(c, i)))::text::delta) AS a)
    SELECT i, coalesce(o.outcome, 'applied'), o.reason, o.sqlstate, o."column", o.message, o.detail
    FROM pushed CROSS JOIN generate_series(1, cardinality(changes)) AS i
    LEFT JOIN LATERAL jsonb_to_recordset(outcomes) AS o(seq bigint, outcome text, reason text, sqlstate text, "column" text, message text, detail text) ON o.seq = acked_seq + i
    ORDER BY i
$$;
CREATE FUNCTION change(id int, cells jsonb) RETURNS text IMMUTABLE LANGUAGE sql AS
    $$ SELECT jsonb_build_object('table', 'ruled', 'key', jsonb_build_object('id', id), 'set', cells)::text $$;
-- what this database has stored so far
CREATE FUNCTION all_seen() RETURNS text LANGUAGE sql AS
    $$ SELECT format('{"%s": %s}', sync_node(), pg_snapshot_xmax(pg_current_snapshot())::text::bigint - 1) $$;

-- Priority: writers are "device hour", or "sql"; what is left of their writes to one cell, none having seen another's
CREATE TABLE result (n int GENERATED ALWAYS AS IDENTITY, arrived text, value text, decisions text);
CREATE PROCEDURE meet(VARIADIC arrived text[]) LANGUAGE plpgsql AS $$
DECLARE
    row_id int; seen text; writer text;
BEGIN
    INSERT INTO ruled SELECT coalesce(max(id), 0) + 1, 'start' FROM ruled RETURNING id INTO row_id;
    COMMIT;
    seen := all_seen();
    FOREACH writer IN ARRAY arrived LOOP
        IF writer = 'sql' THEN
            UPDATE ruled SET t = 'sql' WHERE id = row_id;
        ELSE
            PERFORM push(split_part(writer, ' ', 1), seen, row_id * 10 + split_part(writer, ' ', 2)::int, change(row_id, jsonb_build_object('t', writer)));
        END IF;
        COMMIT;
    END LOOP;
    INSERT INTO result (arrived, value, decisions)
        SELECT array_to_string(arrived, ', '), t, (SELECT string_agg(c.decision || ' ' || c.policy, ', ' ORDER BY c.detected_at) FROM sync_conflicts c
                                                   WHERE c.table_name = 'ruled' AND c.key ->> 'id' = row_id::text) FROM ruled WHERE id = row_id;
    COMMIT;
END $$;
CREATE TABLE ruled (id int PRIMARY KEY, t text, n int, v varchar(12), w rules.word);
SELECT sync_enable_table('ruled', policies => '{"t": {"policy": "priority", "order": ["manager", "worker"]}}', options => '{"audit": "full"}');
CALL meet('worker 3', 'manager 1');
CALL meet('manager 1', 'worker 3');
CALL meet('worker 1', 'other 2');
CALL meet('other 2', 'worker 1');
CALL meet('intern 3', 'worker 1');
CALL meet('worker 1', 'intern 3');
CALL meet('none 3', 'intern 1');
CALL meet('intern 1', 'none 3');
CALL meet('worker 3', 'manager 1', 'other 4');
-- SQL knows what it overwrites; among devices' writes it is like one without a class
CALL meet('manager 1', 'sql');
CALL meet('sql', 'worker 1');
CALL meet('sql', 'intern 1');
-- ... unless "server" is listed
SELECT sync_set_policy('ruled', 't', 'priority', '{"order": ["manager", "server", "worker"]}');
CALL meet('sql', 'worker 1');
CALL meet('sql', 'manager 1');
SELECT arrived, value, decisions FROM result ORDER BY n;
-- a class is what it is now
SELECT sync_register_device(id('intern'), label => 'intern', class => 'manager') = id('intern') AS promoted;
CALL meet('intern 1', 'worker 3');
SELECT arrived, value, decisions FROM result ORDER BY n DESC LIMIT 1;
-- who had seen the higher one's write may overwrite it
INSERT INTO ruled VALUES (100, 'start');
SELECT outcome, reason FROM push('manager', all_seen(), 1010, change(100, '{"t": "manager"}'));
SELECT outcome, reason FROM push('none', all_seen(), 1020, change(100, '{"t": "none"}'));
SELECT t FROM ruled WHERE id = 100;
DROP TABLE ruled;

-- Custom
CREATE FUNCTION rules.joined(current text, incoming text, context jsonb) RETURNS text STABLE LANGUAGE plpgsql AS $$
BEGIN
    IF incoming = 'fail' THEN
        RAISE EXCEPTION 'no' USING ERRCODE = '22000', DETAIL = 'not that';
    END IF;
    RETURN nullif(concat_ws('+', current, incoming), 'NULL+NULL');
END $$;
CREATE FUNCTION rules.strict(current int, incoming int, context jsonb) RETURNS int IMMUTABLE STRICT LANGUAGE sql AS 'SELECT -1';
CREATE TABLE ruled (id int PRIMARY KEY, t text, n int, v varchar(12), w rules.word);
SELECT sync_enable_table('ruled', policies => '{"t": {"policy": "custom", "function": "rules.joined"},
    "n": {"policy": "custom", "function": "rules.strict"}, "v": {"policy": "custom", "function": "rules.joined"},
    "w": {"policy": "custom", "function": "rules.longer"}}', options => '{"audit": "full"}');
SELECT all_seen() AS none \gset
INSERT INTO ruled SELECT i, 'ours', 1, 'short', 'word' FROM generate_series(1, 4) AS i;
SELECT all_seen() AS rows \gset
-- one fails, the others go through; and so does one whose result the column cannot take
SELECT * FROM push('worker', :'none', 1030, change(1, '{"t": "theirs", "w": "words"}'), change(2, '{"t": "fail"}'),
    change(3, '{"t": "ours", "w": "w"}'), change(4, '{"v": "much longer"}'), change(4, '{"v": "fits"}'));
SELECT id, t, v, w, (SELECT string_agg(e.column_name || CASE e.replica WHEN id('worker') THEN ' worker' ELSE ' node' END, ', ' ORDER BY e.column_name)
                     FROM row_clock_entries('ruled', _sync) e WHERE e.column_name IN ('t', 'v', 'w')) AS written_by
FROM ruled ORDER BY id;
SELECT key ->> 'id' AS id, column_name, current_value, incoming_value, decision, state FROM sync_conflicts
WHERE table_name = 'ruled' AND policy = 'custom' ORDER BY 1, 2;
SELECT key ->> 'id' AS id, incoming, previous, policy, outcome, reason FROM sync_audit WHERE table_name = 'ruled' AND policy = 'custom' OR reason = 'custom_function' ORDER BY seq;
-- a device that has the row is told what was made of its value
SELECT a.status, a.merged, c.changes FROM sync_hello(id('other')) AS h, sync_apply_delta(format('{"format": 1, "replica": "%s", "context": %s, "changes": [
    {"seq": %s, "hlc": "2020-03-01T00:00:00.000Z/0", "table": "ruled", "key": {"id": 1}, "set": {"t": "other"}}]}', id('other'), :'rows', h.acked_seq + 1)::delta) AS a,
    delta_changes(a.corrections) AS c;
-- NULL and a strict function: the later write; a write that had seen what it overwrites is not the function's business
SELECT outcome, reason FROM push('worker', :'none', 1040, change(1, '{"n": null}'), change(2, '{"n": 2}'));
SELECT outcome, reason FROM push('worker', all_seen(), 1050, change(3, '{"t": "fail"}'));
SELECT id, t, n FROM ruled WHERE id <= 3 ORDER BY id;

-- arrays come out of PL/pgSQL in another form than they are stored in
CREATE TABLE listed (id int PRIMARY KEY, a int[], p point);
CREATE FUNCTION rules.longer(current int[], incoming int[], context jsonb) RETURNS int[] STABLE LANGUAGE plpgsql AS $$
BEGIN
    IF cardinality(current) = cardinality(incoming) THEN
        current := current || incoming;
    ELSIF cardinality(current) < cardinality(incoming) THEN
        current := incoming[1:1] || incoming[2:];
    END IF;
    RETURN current;
END $$;
SELECT sync_enable_table('listed', policies => '{"a": {"policy": "custom", "function": "rules.longer"}, "p": {"policy": "custom", "function": "rules.anything"}}');
INSERT INTO listed SELECT i, '{1,2}', '(1,2)' FROM generate_series(1, 3) AS i;
SELECT outcome, reason FROM push('worker', :'none', 1055, VARIADIC (SELECT array_agg(jsonb_build_object('table', 'listed', 'key', jsonb_build_object('id', i), 'set', jsonb_build_object('a', a, 'p', '(3,4)'))::text)
                                                                     FROM (VALUES (1, '{3}'), (2, '{3,4}'), (3, '{3,4,5}')) AS v(i, a)));
SELECT id, a, p FROM listed ORDER BY id;
SELECT key ->> 'id' AS id, column_name, decision FROM sync_conflicts WHERE table_name = 'listed' ORDER BY 1, 2;
DROP TABLE listed;

-- It runs as the caller, under his settings, and is told what it decides about
CREATE FUNCTION rules.who(current text, incoming text, context jsonb) RETURNS text STABLE LANGUAGE sql AS
    $$ SELECT concat_ws(' ', current_user, current_setting('datestyle'), current_setting('search_path')) $$;
CREATE FUNCTION rules.told(current text, incoming text, context jsonb) RETURNS text STABLE LANGUAGE sql AS
    $$ SELECT jsonb_pretty(context #- '{current,hlc}' #- '{current,replica}' #- '{incoming,seq}') $$;
CREATE FUNCTION rules.definer(current text, incoming text, context jsonb) RETURNS text STABLE LANGUAGE sql SECURITY DEFINER SET datestyle = 'German' AS
    $$ SELECT concat_ws(' ', current_user = 'regress_rules', current_setting('datestyle')) $$;
ALTER TABLE ruled OWNER TO regress_rules;
GRANT USAGE ON SCHEMA rules TO regress_rules;
SELECT sync_register_device(id('manager'), owner => 'regress_rules', class => 'manager') = id('manager') AS handed_over;
SELECT sync_set_policy('ruled', 't', 'custom', '{"function": "rules.who"}'), sync_set_policy('ruled', 'w', 'custom', '{"function": "rules.told"}');
-- nothing of the same name in front of it is used
CREATE FUNCTION public.who(current text, incoming text, context jsonb) RETURNS text STABLE LANGUAGE sql AS $$ SELECT 'public' $$;
CREATE FUNCTION pg_temp.who(current text, incoming text, context jsonb) RETURNS text STABLE LANGUAGE sql AS $$ SELECT 'temporary' $$;
SET ROLE regress_rules;
SET datestyle = 'SQL, DMY';
SET search_path = pg_temp, public;
SELECT outcome, reason FROM push('manager', :'none', 1060, change(1, '{"t": "x", "w": "x"}'));
RESET datestyle;
RESET search_path;
RESET ROLE;
SELECT t, w FROM ruled WHERE id = 1;
SELECT sync_set_policy('ruled', 't', 'custom', '{"function": "rules.definer"}');
SET ROLE regress_rules;
SELECT outcome, reason FROM push('manager', :'none', 1070, change(2, '{"t": "x"}'));
RESET ROLE;
SELECT t FROM ruled WHERE id = 2;

-- Without the right to execute it, or with a function that is not what it was: outcomes, each for its change
REVOKE ALL ON FUNCTION rules.definer FROM PUBLIC;
SET ROLE regress_rules;
SELECT outcome, reason, sqlstate, col, message FROM push('manager', :'none', 1080, change(2, '{"t": "y"}'), change(2, '{"n": 5}'));
RESET ROLE;
ALTER FUNCTION rules.definer VOLATILE;
SELECT outcome, reason, sqlstate, col, message FROM push('worker', :'none', 1090, change(2, '{"t": "y"}'), change(2, '{"n": 5}'));
DROP FUNCTION rules.definer;
SELECT outcome, reason, sqlstate, col, message FROM push('worker', :'none', 1100, change(2, '{"t": "y"}'), change(2, '{"n": 5}'));
-- A function that is only watched: what it would have made of both, or how it failed
SELECT sync_set_policy('ruled', 't', 'lww'), sync_set_policy('ruled', 't', 'custom', '{"function": "rules.joined", "shadow": true}');
SELECT sync_set_policy('ruled', 'w', 'custom', '{"function": "rules.longer"}'),
       sync_set_policy('ruled', 'w', 'custom', '{"function": "rules.anything", "shadow": true}');
UPDATE ruled SET t = 'now', w = 'now' WHERE id = 4;
SELECT outcome, reason FROM push('worker', :'none', 1105, change(4, '{"t": "then"}'), change(4, '{"t": "fail", "w": "longer"}'), change(4, '{"t": "again", "w": "w"}'));
SELECT t, w FROM ruled WHERE id = 4;
SELECT column_name, current_value, incoming_value, policy, decision, shadow_policy, shadow_decision, shadow_value, shadow_error
FROM sync_conflicts WHERE table_name = 'ruled' AND shadow_policy IS NOT NULL ORDER BY seq, column_name;
SELECT column_name, conflicts, same, different, errors FROM sync_shadow_report WHERE table_name = 'ruled' ORDER BY 1;
-- one that writes, though it is declared not to; and one that pushes
CREATE TABLE note (t text);
CREATE FUNCTION rules.write() RETURNS void LANGUAGE sql AS 'INSERT INTO note VALUES (1)';
CREATE FUNCTION rules.liar(current text, incoming text, context jsonb) RETURNS text STABLE LANGUAGE plpgsql AS
    $$ BEGIN PERFORM rules.write(); RETURN incoming; END $$;
CREATE FUNCTION rules.pusher(current text, incoming text, context jsonb) RETURNS text STABLE LANGUAGE plpgsql AS
    $$ BEGIN PERFORM push('other', '{}', 1, change(1, '{}')); RETURN incoming; END $$;
SELECT sync_set_policy('ruled', 't', 'custom', '{"function": "rules.liar"}'), sync_set_policy('ruled', 'w', 'custom', '{"function": "rules.pusher"}');
SELECT outcome, reason, sqlstate, message FROM push('worker', :'none', 1110, change(2, '{"t": "y"}'), change(2, '{"w": "y"}'), change(2, '{"n": 6}'));
SELECT count(*) AS written FROM note;
DROP TABLE note, ruled;

-- Opaque: lww, and what it holds appears nowhere; "secret" is what devices send here
CREATE TABLE ruled (id int PRIMARY KEY, b bytea CHECK (length(b) < 20), t text);
SELECT sync_enable_table('ruled', policies => '{"b": "opaque"}', options => '{"audit": "full"}');
SELECT all_seen() AS none \gset
INSERT INTO ruled VALUES (1, 'secret of sql', 'clear'), (2, 'secret of sql', 'clear'), (3, NULL, 'clear');
CREATE FUNCTION cells(col text, value bytea) RETURNS jsonb LANGUAGE sql AS $$ SELECT jsonb_build_object(col, '\x' || encode(value, 'hex')) $$;
SELECT cells('b', 'secret of worker') || '{"t": "clear"}' AS of_worker, cells('b', 'secret of manager') AS of_manager,
       cells('b', 'secret that is too long') AS too_long \gset
SELECT * FROM push('worker', :'none', 1120, change(1, :'of_worker'), change(2, :'too_long'), change(3, :'of_worker'), change(1, '{"b": "\\xsecret"}'),
    change(2, '{"b": 5}'), change(4, :'of_worker'), change(2, '{"b": "secret \\163"}'), change(2, '{"bb": "secret"}'));
SELECT * FROM push('worker', all_seen(), 1120, change(2, :'too_long'), change(3, :'of_worker'));
SELECT status FROM sync_apply_delta(format('{"format": 1, "replica": "%s", "changes": [{"seq": 1000, "hlc": "2020-03-01T00:00:00.000Z/0", "table": "ruled", "key": {"id": 1}, "set": %s}]}',
    id('worker'), :'of_worker')::delta);
SET ROLE regress_rules;
SELECT outcome, reason FROM push('manager', :'none', 1130, change(1, :'of_manager'));
RESET ROLE;
GRANT ALL ON ruled TO regress_rules;
SET ROLE regress_rules;
SELECT outcome, reason FROM push('manager', all_seen(), 1140, change(1, :'of_manager'));
RESET ROLE;
SELECT id, convert_from(b, 'UTF8') AS b FROM ruled ORDER BY id;
SELECT key ->> 'id' AS id, device = id('worker') AS by_worker, current_value, incoming_value, decision FROM sync_conflicts
WHERE table_name = 'ruled' AND column_name = 'b' ORDER BY device, seq;
SELECT incoming, previous, outcome, reason FROM sync_audit WHERE table_name = 'ruled' AND previous ? 'b' ORDER BY device, seq;
SELECT 'sha256:' || encode(sha256('secret of worker'), 'hex') AS digest, length('secret of worker') AS bytes;
CREATE FUNCTION is_hidden() RETURNS TABLE (conflicts bool, audit bool, journal bool) LANGUAGE sql AS $$
    WITH secret AS (SELECT '(?i)(secret|' || encode('secret', 'hex') || '|' || encode('secret', 'base64') || ')' AS pattern)
    SELECT NOT EXISTS (SELECT FROM offline_sync.conflict c WHERE c::text ~ pattern),
           NOT EXISTS (SELECT FROM sync_audit a WHERE a.table_name = 'ruled' AND a::text ~ pattern),
           NOT EXISTS (SELECT FROM offline_sync.journal j WHERE concat(j.outcomes, j.details) ~ pattern) FROM secret
$$;
SELECT * FROM is_hidden();
-- ... under whatever name the column goes, or once it is gone
ALTER TABLE ruled RENAME b TO c;
SELECT incoming FROM sync_audit WHERE table_name = 'ruled' AND device = id('manager') AND incoming #> '{set,b}' IS NOT NULL AND outcome = 'applied';
SELECT * FROM is_hidden();
-- a person who prefers what did not prevail gets it from the journal
UPDATE ruled SET c = 'secret of sql', t = 'later' WHERE id = 1;
SELECT outcome FROM push('worker', :'none', 1150, change(1, cells('c', '\x00ff'::bytea || 'secret')));
SELECT conflict, incoming_value FROM sync_conflicts WHERE table_name = 'ruled' AND policy = 'opaque' AND decision = 'current' ORDER BY seq DESC LIMIT 1 \gset
SELECT :'incoming_value';
SELECT sync_resolve_conflict(:'conflict', 'incoming');
SELECT c, t FROM ruled WHERE id = 1;
SELECT outcome FROM push('worker', :'none', 1160, change(1, cells('c', 'secret lost')));
SELECT conflict FROM sync_conflicts WHERE table_name = 'ruled' AND policy = 'opaque' AND decision = 'current' ORDER BY seq DESC LIMIT 1 \gset
BEGIN;
DELETE FROM offline_sync.journal;
SELECT sync_resolve_conflict(:'conflict', 'incoming');
ROLLBACK;
SELECT sync_resolve_conflict(:'conflict', 'current');
SELECT * FROM is_hidden();
ALTER TABLE ruled DROP COLUMN c;
SELECT * FROM is_hidden();
SELECT sync_disable_table('ruled');
SELECT * FROM is_hidden();

DROP TABLE ruled, result;
DROP PROCEDURE meet;
DROP FUNCTION id, push, change, all_seen, is_hidden, cells, public.who;
DROP SCHEMA rules CASCADE;
DROP ROLE regress_rules;
