-- What devices ask for and what they write themselves, mixed at random: answers are
-- lost or come late, deltas are sent again.  Each intent is done once, what its handler
-- wrote is in the answer, and in the end every device holds what the server holds.
--
-- The seed is printed.  To run it again:  PGOPTIONS='-c test.seed=0.42'
\set ON_ERROR_STOP on
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pgtap;
CREATE EXTENSION IF NOT EXISTS offline_sync;
\ir ../device.sql
SELECT * FROM no_plan();

SELECT coalesce(nullif(current_setting('test.seed', true), ''), round(random()::numeric, 6)::text)::float8 AS seed \gset
SELECT diag('seed ' || :'seed');
SELECT setseed(:'seed') \g /dev/null

CREATE TABLE item (id int PRIMARY KEY, space text NOT NULL, n int NOT NULL DEFAULT 0 CHECK (n < 1000), title text,
                   total int NOT NULL DEFAULT 0, who orset NOT NULL DEFAULT '{}');
CREATE TABLE part (id int PRIMARY KEY, space text NOT NULL, item int REFERENCES item ON DELETE CASCADE, body text);
SELECT sync_enable_table('item', 'space', '{"total": "counter"}'), sync_enable_table('part', 'space') \g /dev/null
INSERT INTO device.scope_column VALUES ('item', 'space'), ('part', 'space');
INSERT INTO item SELECT i, (ARRAY['a', 'b', 'c'])[1 + i % 3], i, 'item ' || i FROM generate_series(1, 30) i;
INSERT INTO part SELECT i, (SELECT space FROM item WHERE id = 1 + i % 30), 1 + i % 30, 'part ' || i FROM generate_series(1, 60) i;

-- Handlers: each leaves a mark, so that it shows how often it ran.
CREATE TABLE mark (device uuid, seq bigint);
CREATE FUNCTION leave_mark(context jsonb) RETURNS void LANGUAGE sql AS
$$ INSERT INTO mark VALUES ((context->>'device')::uuid, (context->>'seq')::bigint) $$;
CREATE FUNCTION raise_all(args jsonb, context jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE rows int;
BEGIN
    PERFORM leave_mark(context);
    UPDATE item SET n = n + 1, total = total + 1, who = orset_add(who, args->>'who', (context->>'device')::uuid, 1) WHERE id % 5 = (args->>'id')::int % 5;
    GET DIAGNOSTICS rows = ROW_COUNT;
    RETURN to_jsonb(rows);
END $$;
CREATE FUNCTION make(args jsonb, context jsonb) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM leave_mark(context);
    INSERT INTO item VALUES ((args->>'id')::int, args->>'space', 0, 'made') ON CONFLICT (id) DO UPDATE SET title = 'made again';
    INSERT INTO part VALUES ((args->>'id')::int + 1000, args->>'space', (args->>'id')::int, 'made') ON CONFLICT DO NOTHING;
END $$;
CREATE FUNCTION scrap(args jsonb, context jsonb) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM leave_mark(context);
    DELETE FROM item WHERE id = (args->>'id')::int;
END $$;
CREATE FUNCTION move(args jsonb, context jsonb) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM leave_mark(context);
    UPDATE item SET space = args->>'space' WHERE id = (args->>'id')::int;
    UPDATE part SET space = args->>'space' WHERE item = (args->>'id')::int;
END $$;
CREATE FUNCTION fail(args jsonb, context jsonb) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM leave_mark(context);
    UPDATE item SET title = 'never' WHERE id = (args->>'id')::int;
    RAISE EXCEPTION 'no';
END $$;
SELECT sync_register_intent(h, format('%I(jsonb, jsonb)', h)::regprocedure) FROM unnest('{raise_all,make,scrap,move,fail}'::name[]) h \g /dev/null

CREATE TABLE dev (id uuid PRIMARY KEY, scopes text[]);
INSERT INTO dev VALUES ('00000000-0000-0000-0000-000000000001', '{a,b,c}'), ('00000000-0000-0000-0000-000000000002', '{a,b}'),
                       ('00000000-0000-0000-0000-000000000003', '{c}');
SELECT sync_register_device(id, scopes), device.start(id) FROM dev \g /dev/null

CREATE VIEW server_row AS
    SELECT 'item' AS table_name, space AS scope, jsonb_build_object('id', id) AS key,
           jsonb_build_object('space', space, 'n', n, 'title', title, 'total', total, 'who', w.who) AS cells
    FROM item, LATERAL (SELECT coalesce(jsonb_agg(e ORDER BY e COLLATE "C"), '[]') FROM unnest(item.who::text[]) e) AS w (who)
    UNION ALL
    SELECT 'part', space, jsonb_build_object('id', id), jsonb_build_object('space', space, 'item', item, 'body', body) FROM part;
CREATE FUNCTION differences(me uuid) RETURNS TABLE (side text, table_name text, key jsonb, cells jsonb) LANGUAGE sql STABLE AS $$
    WITH server AS (SELECT s.table_name, s.key, s.cells FROM server_row s, dev d WHERE d.id = me AND s.scope = ANY (d.scopes)),
         client AS (SELECT b.table_name, b.key, b.cells FROM device.base_row b WHERE b.device = me)
    (SELECT 'server', * FROM server EXCEPT SELECT 'server', * FROM client)
    UNION ALL
    (SELECT 'device', * FROM client EXCEPT SELECT 'device', * FROM server)
$$;
CREATE FUNCTION any_of(VARIADIC words text[]) RETURNS text LANGUAGE sql VOLATILE AS
$$ SELECT words[1 + floor(random() * cardinality(words))::int] $$;

-- One thing that a device does, or several in a group
CREATE FUNCTION act(me uuid, "group" int) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    id   int := 1 + floor(random() * 40);
    key  jsonb := jsonb_build_object('id', id);
    mine text := any_of(VARIADIC (SELECT scopes FROM dev d WHERE d.id = me));
    args jsonb := jsonb_build_object('id', id, 'space', mine, 'who', left(me::text, 1) || id);
BEGIN
    CASE floor(random() * 10)::int
        WHEN 0 THEN PERFORM device.write(me, 'item', key, jsonb_build_object('insert', jsonb_build_object('space', mine, 'title', 'pushed')), "group");
        WHEN 1 THEN PERFORM device.write(me, 'item', key, jsonb_build_object('set', jsonb_build_object('title', 'set ' || random()),
                                         'increment', '{"total": 1}'::jsonb, 'add', '{"who": ["me"]}'::jsonb), "group");
        WHEN 2 THEN PERFORM device.write(me, 'item', key, '{"delete": true}', "group");
        WHEN 3 THEN PERFORM device.write(me, 'part', key, '{"set": {"body": "pushed"}}', "group");
        WHEN 4 THEN PERFORM device.write(me, 'item', key, jsonb_build_object('set', jsonb_build_object('n', 990 + floor(random() * 20))), "group");
        ELSE PERFORM device.intend(me, any_of('raise_all', 'raise_all', 'make', 'scrap', 'move', 'fail', 'unheard_of'), args, "group");
    END CASE;
END $$;

DO $$
DECLARE
    me    uuid;
    delta text;
    n     int;
BEGIN
    FOR i IN 1 .. 150 LOOP
        SELECT id INTO me FROM dev ORDER BY random() LIMIT 1;
        n := floor(random() * 4);               -- so many of them together
        FOR j IN 1 .. 1 + floor(random() * 6) LOOP
            PERFORM act(me, CASE WHEN j <= n THEN i END);
        END LOOP;
        COMMIT;
        IF random() < 0.2 THEN                  -- the answer is lost
            delta := device.next_delta(me);
            IF delta IS NOT NULL THEN
                PERFORM sync_apply_delta(delta::delta);
            END IF;
            COMMIT;
        END IF;
        IF random() < 0.2 THEN                  -- somebody else writes
            UPDATE item SET title = 'by SQL ' || i WHERE id % 7 = i % 7;
            COMMIT;
        END IF;
        IF random() < 0.6 THEN
            PERFORM device.push(me, 4);
            COMMIT;
        END IF;
        IF random() < 0.3 THEN
            PERFORM device.pull(me, 20);
            COMMIT;
        END IF;
    END LOOP;
    FOR me IN SELECT id FROM dev LOOP
        PERFORM device.push(me);
        COMMIT;
    END LOOP;
    FOR me IN SELECT id FROM dev LOOP
        PERFORM device.pull(me);
        COMMIT;
    END LOOP;
END $$;
SELECT is_empty(format('SELECT * FROM differences(%L)', id), 'device ' || right(id::text, 1) || ' holds what the server holds') FROM dev ORDER BY id;
SELECT ok(count(*) > 50, 'intents were done') FROM mark;
SELECT is((SELECT count(*) FROM mark), (SELECT count(DISTINCT (device, seq)) FROM mark), 'each once');
SELECT set_eq('SELECT device, seq FROM mark', $$SELECT device, seq FROM sync_audit WHERE intent IS NOT NULL AND outcome = 'applied'$$,
              'and those are the ones that the audit says');
SELECT is_empty($$SELECT * FROM item WHERE title = 'never'$$, 'what failed left nothing');

-- The answer alone is enough for one device that nobody interferes with: unless it is too much
SELECT device.pull(id) FROM dev \g /dev/null
\set a '''00000000-0000-0000-0000-000000000001'''
SELECT device.intend(:a, 'raise_all', '{"id": 1, "who": "x"}'), device.intend(:a, 'make', '{"id": 2, "space": "a"}'),
       device.intend(:a, 'move', '{"id": 3, "space": "b"}'), device.intend(:a, 'scrap', '{"id": 4}'), device.intend(:a, 'fail', '{"id": 5}') \g /dev/null
SELECT is(device.push(:a), 'partial', 'a push of intents alone');
SELECT is_empty('SELECT * FROM differences(' || quote_literal(:a) || ')', 'its answer tells all that they did');

CREATE FUNCTION flood(args jsonb, context jsonb) RETURNS void LANGUAGE sql AS
$$ INSERT INTO part SELECT i, 'a', NULL, 'flood' FROM generate_series(10001, 13000) i; DELETE FROM part WHERE id > 12500 $$;
SELECT sync_register_intent('flood', 'flood(jsonb, jsonb)') \g /dev/null
SELECT device.intend(:a, 'flood', '{}') \g /dev/null
SELECT is(device.push(:a), 'applied', 'one that writes very much');
SELECT is((SELECT count(*) FROM device.base_row WHERE device = :a AND cells->>'body' = 'flood'), 0::bigint, 'is not told in the answer');
SELECT device.pull(:a, 700) \g /dev/null
SELECT is_empty('SELECT * FROM differences(' || quote_literal(:a) || ')', 'but by pulling');

SELECT * FROM finish();
