--
-- Intents: a device asks for something by name, and a function of the server does it, as the caller, in the push
--
SET client_min_messages = warning;
CREATE ROLE regress_sync_ann;
CREATE ROLE regress_sync_bob;
CREATE TABLE stock (sku text PRIMARY KEY, site text NOT NULL, quantity int NOT NULL CHECK (quantity >= 0), note text, hits int NOT NULL DEFAULT 0);
SELECT sync_enable_table('stock', 'site', '{"hits": "counter"}');
INSERT INTO stock VALUES ('a', 'north', 10), ('b', 'north', 5), ('c', 'south', 7);
GRANT SELECT, INSERT, UPDATE, DELETE ON stock TO regress_sync_ann, regress_sync_bob;
SELECT sync_register_device(('00000000-0000-0000-0000-00000000000' || d)::uuid, '{north}',
                            (CASE d WHEN 'b' THEN 'regress_sync_bob' ELSE 'regress_sync_ann' END)::regrole) IS NOT NULL AS registered
FROM unnest('{a,b,c}'::text[]) AS d;

-- --------------------------------------------------------------------------
-- Registering
-- --------------------------------------------------------------------------
CREATE FUNCTION reserve(args jsonb, context jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE left_over int;
BEGIN
    UPDATE public.stock SET quantity = quantity - (args ->> 'n')::int WHERE sku = args ->> 'sku' RETURNING quantity INTO left_over;
    IF left_over IS NULL THEN
        RAISE EXCEPTION 'no such thing: %', args ->> 'sku' USING DETAIL = 'Look at the shelf.', ERRCODE = 'no_data_found';
    END IF;
    RETURN jsonb_build_object('left', left_over);
END $$;
CREATE FUNCTION bad_args(args jsonb) RETURNS jsonb LANGUAGE sql AS 'SELECT args';
CREATE FUNCTION bad_result(args jsonb, context jsonb) RETURNS int LANGUAGE sql AS 'SELECT 1';
CREATE FUNCTION bad_set(args jsonb, context jsonb) RETURNS SETOF jsonb LANGUAGE sql AS 'SELECT args';
CREATE PROCEDURE bad_procedure(args jsonb, context jsonb) LANGUAGE sql AS 'SELECT args';
CREATE FUNCTION pg_temp.bad_place(args jsonb, context jsonb) RETURNS jsonb LANGUAGE sql AS 'SELECT args';
SELECT sync_register_intent('reserve', 'reserve(jsonb, jsonb)');
SELECT sync_register_intent('bad', 'bad_args(jsonb)');
SELECT sync_register_intent('bad', 'bad_result(jsonb, jsonb)');
SELECT sync_register_intent('bad', 'bad_set(jsonb, jsonb)');
SELECT sync_register_intent('bad', 'bad_procedure(jsonb, jsonb)');
SELECT sync_register_intent('bad', 'pg_temp.bad_place(jsonb, jsonb)');
SELECT sync_register_intent('bad', 0);
SELECT sync_register_intent('', 'reserve(jsonb, jsonb)');
SELECT sync_register_intent(repeat('x', 256), 'reserve(jsonb, jsonb)');
SELECT sync_register_intent('reserve', 'reserve(jsonb, jsonb)', '{"retry": true}');
SELECT sync_register_intent('reserve', 'reserve(jsonb, jsonb)', '[]');
SELECT sync_unregister_intent('bad');
SELECT name, handler, options, registered_by = current_user AS by_me, is_callable FROM sync_intents;
-- who may register is who may execute the function, and the handler
SET ROLE regress_sync_ann;
SELECT sync_register_intent('mine', 'reserve(jsonb, jsonb)');
SELECT sync_unregister_intent('reserve');
RESET ROLE;
GRANT EXECUTE ON FUNCTION sync_register_intent TO regress_sync_ann;
REVOKE EXECUTE ON FUNCTION reserve FROM PUBLIC;
SET ROLE regress_sync_ann;
SELECT sync_register_intent('mine', 'reserve(jsonb, jsonb)');
RESET ROLE;
GRANT EXECUTE ON FUNCTION reserve TO regress_sync_ann;
SET ROLE regress_sync_ann;
SELECT sync_register_intent('mine', 'reserve(jsonb, jsonb)');
SELECT name, registered_by, is_callable FROM sync_intents ORDER BY name COLLATE "C" DESC LIMIT 1 OFFSET 1;
RESET ROLE;
REVOKE EXECUTE ON FUNCTION sync_register_intent FROM regress_sync_ann;
-- others see those that they may call
SET ROLE regress_sync_ann;
SELECT name FROM sync_intents ORDER BY name;
SET ROLE regress_sync_bob;
SELECT name FROM sync_intents ORDER BY name;
RESET ROLE;
SELECT sync_unregister_intent('mine');

-- --------------------------------------------------------------------------
-- Pushing.  The device has seen nothing after "seen"; "told" are the corrections.
-- --------------------------------------------------------------------------
SELECT set_config('test.seen', format('{"%s": %s}', sync_node(), pg_current_xact_id()), false) IS NOT NULL AS is_set \gset
CREATE FUNCTION push(device char, first_seq int, VARIADIC changes text[])
RETURNS TABLE (answer text, outcomes text, told text) LANGUAGE sql AS $$
SELECT concat_ws(' ', r.status, r.acked_seq, r.applied, r.merged, r.superseded, r.rejected),
    (SELECT string_agg(concat_ws(' ', o ->> 'seq', o ->> 'outcome', o ->> 'reason', o ->> 'sqlstate', o ->> 'message', nullif(o ->> 'detail', substring(o ->> 'detail' FROM '^Failing row.*')), o ->> 'result'), '; ')
     FROM jsonb_array_elements(r.outcomes) AS o),
    (SELECT string_agg(concat_ws(' ', c.kind, c.table_name, c.key, c.changes), '; ' ORDER BY c.table_name, c.key::text)
     FROM delta_changes(r.corrections) AS c)
FROM sync_apply_delta(format('{"format": 1, "replica": "00000000-0000-0000-0000-00000000000%s", "context": %s, "changes": [%s]}',
    device, (current_setting('test.seen')::jsonb || jsonb_build_object('00000000-0000-0000-0000-00000000000' || device, greatest(first_seq - 1, 0))),
    (SELECT string_agg(format('{"seq": %s, "hlc": "2026-01-01T10:00:00.000Z/%s", %s}', first_seq + n - 1, first_seq + n, c), ', ' ORDER BY n)
     FROM unnest(changes) WITH ORDINALITY AS u(c, n)))::delta) AS r
$$;
SET ROLE regress_sync_ann;

-- a result, an error, an unknown one
SELECT * FROM push('a', 1, '"intent": "reserve", "args": {"sku": "a", "n": 3}');
SELECT * FROM push('a', 2, '"intent": "reserve", "args": {"sku": "x", "n": 3}', '"intent": "reserve", "args": {"sku": "b", "n": 6}', '"intent": "dance"');
SELECT * FROM push('a', 5, '"intent": "reserve"');
-- sent again it is not done again, and says the same
SELECT answer, outcomes FROM push('a', 1, '"intent": "reserve", "args": {"sku": "a", "n": 3}');
SELECT answer, outcomes FROM push('a', 1, '"intent": "reserve", "args": {"sku": "a", "n": 4}');
SELECT sku, quantity FROM stock ORDER BY sku;
-- a row of a scope that the device does not pull is none of its business
SELECT * FROM push('a', 6, '"intent": "reserve", "args": {"sku": "c", "n": 1}');

-- the order: an intent sees what was before it, and what comes after it counts as made in sight of what it did
SELECT * FROM push('a', 7,
    '"table": "stock", "key": {"sku": "d"}, "insert": {"site": "north", "quantity": 4}',
    '"intent": "reserve", "args": {"sku": "d", "n": 1}',
    '"table": "stock", "key": {"sku": "d"}, "set": {"quantity": 50}, "increment": {"hits": 1}',
    '"intent": "reserve", "args": {"sku": "d", "n": 8}',
    '"table": "stock", "key": {"sku": "d"}, "set": {"note": "last"}');
SELECT sku, site, quantity, note, hits FROM stock WHERE sku = 'd';
SELECT count(*) AS conflicts FROM sync_conflicts;

-- what fails takes nothing else with it: order and results stay when the delta is split
SELECT * FROM push('a', 12,
    '"table": "stock", "key": {"sku": "a"}, "set": {"note": "first"}',
    '"intent": "reserve", "args": {"sku": "a", "n": 1}',
    '"table": "stock", "key": {"sku": "b"}, "set": {"quantity": -1}',
    '"intent": "reserve", "args": {"sku": "a", "n": 100}',
    '"intent": "reserve", "args": {"sku": "a", "n": 2}');
SELECT sku, site, quantity, note, hits FROM stock WHERE sku IN ('a', 'b') ORDER BY sku;

-- groups: an error of an intent undoes the group, an error of the group undoes the intent
SELECT * FROM push('a', 17,
    '"group": 1, "table": "stock", "key": {"sku": "a"}, "set": {"note": "group 1"}',
    '"group": 1, "intent": "reserve", "args": {"sku": "a", "n": 100}',
    '"group": 2, "intent": "reserve", "args": {"sku": "a", "n": 1}',
    '"group": 2, "table": "stock", "key": {"sku": "b"}, "set": {"quantity": -1}',
    '"group": 3, "intent": "reserve", "args": {"sku": "a", "n": 1}',
    '"group": 3, "intent": "dance"',
    '"group": 4, "table": "stock", "key": {"sku": "a"}, "set": {"note": "group 4"}',
    '"group": 4, "intent": "reserve", "args": {"sku": "a", "n": 1}');
SELECT sku, site, quantity, note, hits FROM stock WHERE sku IN ('a', 'b') ORDER BY sku;
-- of a group that was undone nothing is left: no tombstone, nothing in the answer that tells of what was tried
SELECT answer, told FROM push('a', 25,
    '"group": 1, "table": "stock", "key": {"sku": "b"}, "delete": true',
    '"group": 1, "table": "stock", "key": {"sku": "e"}, "insert": {"site": "north", "quantity": 1}',
    '"group": 1, "intent": "reserve", "args": {"sku": "e", "n": 2}');
RESET ROLE;
SELECT count(*) AS tombstones FROM offline_sync.tombstone;

-- --------------------------------------------------------------------------
-- Rights
-- --------------------------------------------------------------------------
SET ROLE regress_sync_bob;
SELECT * FROM push('b', 1, '"intent": "reserve", "args": {"sku": "a", "n": 1}', '"table": "stock", "key": {"sku": "b"}, "set": {"note": "bob"}');
RESET ROLE;
-- the handler writes as the caller
GRANT EXECUTE ON FUNCTION reserve TO regress_sync_bob;
REVOKE UPDATE ON stock FROM regress_sync_bob;
SET ROLE regress_sync_bob;
SELECT * FROM push('b', 3, '"intent": "reserve", "args": {"sku": "a", "n": 1}');
RESET ROLE;
-- unless it is defined otherwise; the answer has what the caller may read all the same
ALTER FUNCTION reserve SECURITY DEFINER;
REVOKE SELECT ON stock FROM regress_sync_bob;
GRANT SELECT (sku, site, note, _sync) ON stock TO regress_sync_bob;
SET ROLE regress_sync_bob;
SELECT * FROM push('b', 4, '"intent": "reserve", "args": {"sku": "a", "n": 1}');
RESET ROLE;
REVOKE SELECT (sku, site, note, _sync) ON stock FROM regress_sync_bob;
SET ROLE regress_sync_bob;
SELECT * FROM push('b', 5, '"intent": "reserve", "args": {"sku": "a", "n": 1}');
RESET ROLE;
ALTER FUNCTION reserve SECURITY INVOKER;
GRANT SELECT, UPDATE ON stock TO regress_sync_bob;

-- nothing that a handler sets outlives it: role, settings, search_path, read only transactions
GRANT regress_sync_bob TO regress_sync_ann;
CREATE FUNCTION leak(args jsonb, context jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    SET ROLE regress_sync_bob;
    SET LOCAL search_path = nowhere;
    SET DateStyle = 'German';
    SET LOCAL statement_timeout = 1234;
    SET LOCAL transaction_read_only = on;
    RETURN to_jsonb(current_user);
END $$;
CREATE FUNCTION show(args jsonb, context jsonb) RETURNS jsonb LANGUAGE sql AS $$
SELECT jsonb_build_array(current_user, current_setting('search_path'), current_setting('datestyle'), current_setting('statement_timeout'),
    current_setting('transaction_read_only'), context - '{reconciliation,hlc}'::text[], jsonb_typeof(context -> 'reconciliation'), context ->> 'hlc', args)
$$;
CREATE FUNCTION silent(args jsonb, context jsonb) RETURNS void LANGUAGE plpgsql AS $$ BEGIN UPDATE stock SET note = 'silent' WHERE sku = 'b'; END $$;
CREATE FUNCTION nothing(args jsonb, context jsonb) RETURNS jsonb LANGUAGE sql AS $$ SELECT NULL::jsonb $$;
CREATE FUNCTION push_again(args jsonb, context jsonb) RETURNS jsonb LANGUAGE sql AS $$ SELECT to_jsonb(p) FROM push('b', 100, '"intent": "reserve"') AS p $$;
CREATE FUNCTION big(args jsonb, context jsonb) RETURNS jsonb LANGUAGE sql AS $$ SELECT to_jsonb(repeat('x', (args ->> 'n')::int)) $$;
CREATE FUNCTION fickle(args jsonb, context jsonb) RETURNS jsonb LANGUAGE sql AS $$ SELECT to_jsonb('fickle'::text) $$;
CREATE FUNCTION drop_fickle(args jsonb, context jsonb) RETURNS void LANGUAGE sql SECURITY DEFINER AS $$ DROP FUNCTION public.fickle(jsonb, jsonb) $$;
SELECT sync_register_intent(h, format('%I(jsonb, jsonb)', h)::regprocedure) FROM unnest('{leak,show,silent,nothing,push_again,big,fickle,drop_fickle}'::name[]) AS h \g /dev/null
SET ROLE regress_sync_ann;
SET datestyle = 'ISO, MDY';
SELECT * FROM push('a', 28, '"intent": "leak"', '"intent": "show", "args": {"x": [1, null]}', '"table": "stock", "key": {"sku": "a"}, "set": {"note": "after a leak"}');
SELECT current_user, current_setting('datestyle') AS datestyle, current_setting('statement_timeout') AS statement_timeout;

-- no result, results that are too big, a push within a push
SELECT * FROM push('a', 31, '"intent": "silent"', '"intent": "nothing"', '"intent": "push_again"');
RESET ROLE;
SET offline_sync.max_value_size = '1kB';
SET ROLE regress_sync_ann;
SELECT answer, outcomes FROM push('a', 34, '"intent": "big", "args": {"n": 1023}', '"intent": "big", "args": {"n": 10}');
RESET ROLE;
RESET offline_sync.max_value_size;

-- a handler that is gone, or is not what it was
SET ROLE regress_sync_ann;
SELECT * FROM push('a', 36, '"intent": "fickle"', '"intent": "drop_fickle"', '"intent": "fickle"');
SELECT * FROM push('a', 39, '"intent": "fickle"', '"table": "stock", "key": {"sku": "a"}, "set": {"note": "still"}');
RESET ROLE;
CREATE FUNCTION fickle(args jsonb, context jsonb) RETURNS SETOF jsonb LANGUAGE sql AS $$ SELECT args $$;
SET ROLE regress_sync_ann;
SELECT * FROM push('a', 41, '"intent": "fickle"');
SELECT name, is_callable FROM sync_intents WHERE name IN ('fickle', 'show') ORDER BY name;
RESET ROLE;

-- --------------------------------------------------------------------------
-- What handlers write: to whom it is told, and in the audit
-- --------------------------------------------------------------------------
CREATE FUNCTION rearrange(args jsonb, context jsonb) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO stock VALUES ('new', 'north', 1), ('far', 'south', 1);
    DELETE FROM stock WHERE sku = 'b';
    UPDATE stock SET site = 'south' WHERE sku = 'd';
    BEGIN
        UPDATE stock SET note = 'undone' WHERE sku = 'a';
        RAISE division_by_zero;
    EXCEPTION WHEN division_by_zero THEN
        NULL;
    END;
END $$;
SELECT sync_register_intent('rearrange', 'rearrange(jsonb, jsonb)');
SET ROLE regress_sync_ann;
SELECT * FROM push('a', 42, '"intent": "rearrange"');
SELECT seq, operation, incoming, outcome, reason, intent, result, wrote, error FROM sync_audit
WHERE device = '00000000-0000-0000-0000-00000000000a' AND operation = 'intent' AND seq IN (1, 2, 4, 18, 19, 42) ORDER BY seq, received_at;
RESET ROLE;
REVOKE regress_sync_bob FROM regress_sync_ann;
REVOKE SELECT ON stock FROM regress_sync_ann;
SET ROLE regress_sync_ann;
SELECT wrote FROM sync_audit WHERE device = '00000000-0000-0000-0000-00000000000a' AND seq = 42;
RESET ROLE;
GRANT SELECT ON stock TO regress_sync_ann;
-- another device gets it as from any other transaction
SET ROLE regress_sync_ann;
SELECT kind, key, changes #>> '{insert,quantity}' AS quantity, changes #>> '{insert,note}' AS note
FROM delta_changes(sync_changes_since('00000000-0000-0000-0000-00000000000c', '{}')) ORDER BY key::text;
RESET ROLE;

-- row security: what the caller cannot see is not told, not even that it is gone
ALTER TABLE stock ENABLE ROW LEVEL SECURITY;
CREATE POLICY open ON stock USING (note IS DISTINCT FROM 'secret');
INSERT INTO stock VALUES ('s1', 'north', 1, 'secret'), ('s2', 'north', 1, 'secret');
CREATE FUNCTION tidy(args jsonb, context jsonb) RETURNS void LANGUAGE sql SECURITY DEFINER AS $$
    DELETE FROM public.stock WHERE sku = 's1';
    UPDATE public.stock SET quantity = 2 WHERE sku IN ('s2', 'a');
$$;
SELECT sync_register_intent('tidy', 'tidy(jsonb, jsonb)');
SET ROLE regress_sync_ann;
SELECT told FROM push('a', 43, '"intent": "tidy"');
SELECT wrote FROM sync_audit WHERE device = '00000000-0000-0000-0000-00000000000a' AND seq = 43;
RESET ROLE;
SELECT wrote FROM sync_audit WHERE device = '00000000-0000-0000-0000-00000000000a' AND seq = 43;
SELECT first_seq, is_told FROM offline_sync.journal WHERE last_seq >= 39 ORDER BY last_seq;
DROP POLICY open ON stock;
ALTER TABLE stock DISABLE ROW LEVEL SECURITY;

-- what an answer told is seen by the next push; what was too much for it is not, nor what an answer given twice leaves out
CREATE TABLE bulk (id int PRIMARY KEY, v text, w text DEFAULT 'w');
SELECT sync_enable_table('bulk', policies => '{"v": "server_wins"}');
SELECT sync_grant_scope('00000000-0000-0000-0000-00000000000a', '');
GRANT SELECT, INSERT, UPDATE, DELETE ON bulk TO regress_sync_ann;
CREATE FUNCTION fill(args jsonb, context jsonb) RETURNS void LANGUAGE sql AS $$
    INSERT INTO bulk SELECT i, 'filled' FROM generate_series((args ->> 'from')::int, (args ->> 'to')::int) AS i
$$;
SELECT sync_register_intent('fill', 'fill(jsonb, jsonb)');
SELECT set_config('test.seen', format('{"%s": %s}', sync_node(), pg_current_xact_id()), false) IS NOT NULL AS is_set;
SET ROLE regress_sync_ann;
SELECT * FROM push('a', 44, '"intent": "fill", "args": {"from": 1, "to": 2}');
SELECT * FROM push('a', 45, '"table": "bulk", "key": {"id": 1}, "set": {"v": "seen"}');
SELECT answer, outcomes, told IS NULL AS told_nothing FROM push('a', 46, '"intent": "fill", "args": {"from": 1001, "to": 3500}');
SELECT * FROM push('a', 47, '"table": "bulk", "key": {"id": 1001}, "set": {"v": "not seen"}');
SELECT answer, told FROM push('a', 44, '"intent": "fill", "args": {"from": 1, "to": 2}');
SELECT * FROM push('a', 48, '"table": "bulk", "key": {"id": 2}, "set": {"v": "not seen"}');
SELECT wrote -> 'count' AS count, jsonb_array_length(wrote -> 'rows') AS named FROM sync_audit
WHERE device = '00000000-0000-0000-0000-00000000000a' AND seq = 46;
-- what follows in the same push has seen it, but the device has not: it gets such a row whole
SELECT answer, told FROM push('a', 49, '"intent": "fill", "args": {"from": 5001, "to": 7500}',
    '"table": "bulk", "key": {"id": 5001}, "set": {"v": "after the fill"}');
RESET ROLE;
CREATE FUNCTION purge(args jsonb, context jsonb) RETURNS void LANGUAGE sql AS 'DELETE FROM bulk';
SELECT sync_register_intent('purge', 'purge(jsonb, jsonb)');
SET ROLE regress_sync_ann;
SELECT answer, outcomes, told FROM push('a', 51, '"intent": "purge"', '"table": "bulk", "key": {"id": 1}, "set": {"v": "gone"}',
    '"table": "bulk", "key": {"id": 2}, "insert": {"v": "back"}');
RESET ROLE;
SELECT sync_unregister_intent('fill');
SET ROLE regress_sync_ann;
SELECT * FROM push('a', 54, '"intent": "fill"');
RESET ROLE;

DROP TABLE stock, bulk;
DROP OWNED BY regress_sync_ann, regress_sync_bob;
DROP ROLE regress_sync_ann, regress_sync_bob;
