-- The policy json: the keys of objects.  Devices write them in every way at once, and
-- whatever the order of arrival and the batches, the same objects are left, and of
-- each key the same write.  Then devices and SQL write at random, answers are lost,
-- and after pulling all devices hold what the server does.
--
-- The seed is printed.  To run it again:  PGOPTIONS='-c test.seed=0.42'
\set ON_ERROR_STOP on
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pgtap;
CREATE EXTENSION IF NOT EXISTS offline_sync;
\ir ../device.sql
SELECT plan(9);

SELECT coalesce(nullif(current_setting('test.seed', true), ''), round(random()::numeric, 6)::text)::float8 AS seed \gset
SELECT diag('seed ' || :'seed');
SELECT setseed(:'seed') \g /dev/null

CREATE TABLE doc (id int PRIMARY KEY, v jsonb, w jsonb NOT NULL DEFAULT '{"default": 1}');
SELECT sync_enable_table('doc', policies => '{"v": "json", "w": "json"}') \g /dev/null
CREATE TABLE fleet AS
    SELECT n, ('00000000-0000-4000-8000-' || lpad(n::text, 12, '0'))::uuid AS id FROM generate_series(1, 5) AS n;
SELECT count(sync_register_device(id)) FROM fleet \g /dev/null

CREATE FUNCTION pick(VARIADIC list text[]) RETURNS text LANGUAGE sql VOLATILE AS
$$ SELECT list[1 + floor(random() * cardinality(list))::int] $$;
CREATE FUNCTION some_object() RETURNS jsonb LANGUAGE sql VOLATILE AS $$
    SELECT coalesce(jsonb_object_agg(pick('a', 'b', 'c', 'dd', ''), pick('1', '1.0', '2', '"x"', 'null', '{"n": [1, {}]}', '[]', 'true')::jsonb), '{}')
    FROM generate_series(1, floor(random() * 4)::int)
$$;
CREATE FUNCTION some_keys() RETURNS jsonb LANGUAGE sql VOLATILE AS
$$ SELECT coalesce(jsonb_agg(pick('a', 'b', 'c', 'dd', '')), '[]') FROM generate_series(1, floor(random() * 3)::int) $$;
CREATE FUNCTION some_change(is_there boolean) RETURNS jsonb LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    c text := pick('v', 'v', 'w'); dice float8 := random(); change jsonb := '{}';
BEGIN
    IF NOT is_there THEN
        RETURN jsonb_build_object('insert', CASE WHEN dice < 0.3 THEN '{}' ELSE jsonb_build_object(c, some_object()) END);
    END IF;
    IF dice < 0.3 THEN
        change := jsonb_build_object('set', jsonb_build_object(c, CASE WHEN dice < 0.03 THEN 'null' ELSE some_object() END));
    END IF;
    IF dice > 0.25 AND dice < 0.8 THEN
        change := change || jsonb_build_object('add', jsonb_build_object(pick('v', c), some_object()));
    END IF;
    IF dice > 0.7 THEN
        change := change || jsonb_build_object('remove', jsonb_build_object(pick('v', c), some_keys()));
    END IF;
    RETURN change;
END $$;

-- ------------------------------------------------ in every order of arrival

-- Of each key of a row, and of each that was removed, the value and the write that stays
CREATE FUNCTION state() RETURNS text LANGUAGE sql STABLE AS $$
    SELECT md5(string_agg(line, ' ' ORDER BY line)) FROM (
        SELECT concat_ws('/', id, c.name, encode(jsonb_send(c.value), 'hex')) AS line
        FROM doc, LATERAL (VALUES ('v', v), ('w', w)) AS c (name, value)
        UNION ALL
        SELECT concat_ws('/', id, c.column_id, k.key, coalesce(named.hlc, base.hlc), coalesce(named.replica, base.replica), named.is_removed)
        FROM doc, LATERAL (VALUES (2, v), (3, w)) AS c (column_id, value),
            LATERAL (SELECT jsonb_object_keys(c.value) UNION
                     SELECT key FROM row_clock_keys(_sync) AS s WHERE s.column_id = c.column_id AND key IS NOT NULL) AS k (key)
            LEFT JOIN LATERAL (SELECT * FROM row_clock_keys(_sync) AS s WHERE s.column_id = c.column_id AND s.key = k.key) AS named ON true
            LEFT JOIN LATERAL (SELECT * FROM row_clock_keys(_sync) AS s WHERE s.column_id = c.column_id AND s.key IS NULL) AS base ON true) AS s
$$;
-- Which stamp is the base, and which keys are named
CREATE FUNCTION clocks() RETURNS text LANGUAGE sql STABLE AS $$
    SELECT md5(string_agg(concat_ws('/', id, column_id, key, is_removed, hlc, replica), ' ' ORDER BY id, column_id, key NULLS FIRST))
    FROM doc, row_clock_keys(_sync)
$$;

CREATE TABLE written (device int, n int, change jsonb, PRIMARY KEY (device, n));
CREATE TABLE arrived (schedule int, n int, how text, state text, clocks text);

CREATE FUNCTION delta_of(d int, first int, last int, seen text) RETURNS delta LANGUAGE sql AS $$
    SELECT jsonb_build_object('format', 1, 'replica', ('00000000-0000-4000-8000-' || lpad(d::text, 12, '0')),
                              'context', seen::jsonb, 'changes', jsonb_agg(change ORDER BY n))::text::delta
    FROM written WHERE device = d AND n BETWEEN first AND last
$$;
-- Push what is written, the devices' batches mixed at random, some of it twice; then
-- take it all back
CREATE FUNCTION arrive(seen text, OUT how text, OUT state text, OUT clocks text) LANGUAGE plpgsql AS $$
DECLARE
    next int[] := array_fill(1, ARRAY[5]); d int; last int; size int := 1 + floor(random() * 6)::int;
BEGIN
    how := '';
    LOOP
        SELECT device INTO d FROM written WHERE n >= next[device] ORDER BY random() LIMIT 1;
        EXIT WHEN NOT FOUND;
        last := least(next[d] + floor(random() * size)::int, (SELECT max(n) FROM written WHERE device = d));
        PERFORM sync_apply_delta(delta_of(d, next[d], last, seen));
        how := how || format(' %s:%s-%s', d, next[d], last);
        IF random() < 0.2 THEN
            PERFORM sync_apply_delta(delta_of(d, greatest(1, last - 2), last, seen));
        END IF;
        next[d] := last + 1;
    END LOOP;
    SELECT state(), clocks() INTO state, clocks;
    RAISE EXCEPTION USING ERRCODE = 'ZZ001', MESSAGE = json_build_array(how, state, clocks);
EXCEPTION WHEN SQLSTATE 'ZZ001' THEN
    SELECT x ->> 0, x ->> 1, x ->> 2 INTO how, state, clocks FROM CAST(SQLERRM AS jsonb) AS x;
END $$;

CREATE PROCEDURE try_schedules(n int) LANGUAGE plpgsql AS $$
DECLARE
    seen text; row int;
BEGIN
    FOR s IN 1 .. n LOOP
        TRUNCATE written;
        DELETE FROM doc;
        COMMIT;
        -- some rows are there, all devices have seen them; the others they make
        INSERT INTO doc SELECT id, some_object(), some_object() FROM generate_series(s * 10, s * 10 + floor(random() * 3)::int) AS id;
        seen := format('{"%s": "%s"}', sync_node(), pg_current_xact_id());
        COMMIT;
        FOR d IN 1 .. 3 + s % 3 LOOP
            FOR i IN 1 .. 1 + floor(random() * 7)::int LOOP
                row := s * 10 + floor(random() * 4)::int;
                INSERT INTO written VALUES (d, i, jsonb_build_object('seq', i, 'table', 'doc', 'key', jsonb_build_object('id', row),
                        'hlc', hlc(timestamptz '2026-01-01' + floor(random() * 6 + i) * interval '1 ms', 0))
                    || some_change(EXISTS (SELECT FROM doc WHERE id = row)
                                   OR EXISTS (SELECT FROM written WHERE device = d AND (change -> 'key' ->> 'id')::int = row)));
            END LOOP;
        END LOOP;
        COMMIT;
        INSERT INTO arrived SELECT s, o, a.* FROM generate_series(1, 6) AS o (o), LATERAL arrive(CASE WHEN o.o > 0 THEN seen END) AS a;
        COMMIT;
    END LOOP;
END $$;
CALL try_schedules(60);
SELECT is((SELECT count(*) FROM arrived), 360::bigint, 'schedules have arrived');
SELECT ok(count(DISTINCT how) > 200 AND count(DISTINCT state) > 50, 'they differ') FROM arrived;
SELECT is_empty('SELECT schedule, array_agg(DISTINCT how) FROM arrived GROUP BY schedule HAVING count(DISTINCT state) > 1',
                'every order and batching leaves the same objects, and of each key the same write');
SELECT is_empty('SELECT schedule, array_agg(DISTINCT how) FROM arrived GROUP BY schedule HAVING count(DISTINCT clocks) > 1',
                'in the same form');

-- ------------------------------------------------ devices, SQL, lost answers

TRUNCATE doc;
SELECT count(device.start(id)) FROM fleet \g /dev/null
SELECT device.take_hello(id, h.acked_seq) FROM fleet, sync_hello(id) AS h \g /dev/null

CREATE PROCEDURE live(steps int) LANGUAGE plpgsql AS $$
DECLARE
    me uuid; dice float8; k jsonb; delta text;
BEGIN
    FOR i IN 1 .. steps LOOP
        SELECT id INTO me FROM fleet WHERE n <= 4 ORDER BY random() LIMIT 1;
        dice := random();
        k := jsonb_build_object('id', floor(random() * 4)::int);
        IF dice < 0.5 THEN
            PERFORM device.write(me, 'doc', k, some_change(EXISTS (SELECT FROM device.rows(me, 'doc') AS r WHERE r.key = k)));
        ELSIF dice < 0.65 THEN
            PERFORM device.pull(me);
        ELSIF dice < 0.75 THEN
            PERFORM device.push(me);
        ELSIF dice < 0.82 THEN          -- the answer is lost
            delta := device.next_delta(me, 2);
            IF delta IS NOT NULL THEN
                PERFORM sync_apply_delta(delta::delta);
            END IF;
        ELSIF dice < 0.9 THEN
            UPDATE doc SET v = CASE WHEN random() < 0.1 THEN NULL ELSE v || some_object() - pick('a', 'b', 'c') END,
                           w = CASE WHEN random() < 0.5 THEN w ELSE some_object() END WHERE id = (k ->> 'id')::int;
        ELSIF dice < 0.97 THEN
            INSERT INTO doc VALUES ((k ->> 'id')::int, some_object(), some_object()) ON CONFLICT DO NOTHING;
        ELSE
            DELETE FROM doc WHERE id = (k ->> 'id')::int;
        END IF;
        COMMIT;
    END LOOP;
    INSERT INTO doc VALUES (0) ON CONFLICT DO NOTHING;
    UPDATE doc SET v = coalesce(v, '{}') || '{"last": 1}', w = w || '{"last": 1}';
    COMMIT;
    FOR turn IN 1 .. 3 LOOP
        FOR me IN SELECT id FROM fleet LOOP
            PERFORM device.sync(me);
            COMMIT;
        END LOOP;
    END LOOP;
END $$;
CALL live(600);
SELECT ok((SELECT count(*) FROM doc) > 0 AND (SELECT count(*) FROM doc, row_clock_keys(_sync)) > 0, 'rows with stamped keys are left');
SELECT ok(bool_or(n > 0), 'values of one key were in conflict') FROM (SELECT count(*) FROM sync_conflicts WHERE policy = 'json') AS c (n);
SELECT is_empty($$SELECT n, x.* FROM fleet, LATERAL (
    SELECT coalesce(d.key ->> 'id', s.id::text) AS id, d.cells AS held, s.cells AS there
    FROM device.rows(fleet.id, 'doc') AS d FULL JOIN (SELECT id, jsonb_build_object('id', id, 'v', v, 'w', w) AS cells FROM doc) AS s
        ON s.id = (d.key ->> 'id')::int
    WHERE d.cells IS DISTINCT FROM s.cells) AS x (row, held, there)$$, 'all devices hold what the server does');
SELECT is((SELECT count(*) FROM doc WHERE EXISTS (SELECT FROM row_clock_keys(_sync) AS k WHERE key IS NOT NULL AND is_removed =
              (CASE k.column_id WHEN 2 THEN v ELSE w END ? key))), 0::bigint, 'a key is in the object, or named as removed');

-- ------------------------------------------------------------- many keys

INSERT INTO doc VALUES (100, (SELECT jsonb_object_agg('k' || n, n) FROM generate_series(1, 9000) AS n));
SELECT device.pull(id) FROM fleet \g /dev/null
SELECT (SELECT count(device.write(id, 'doc', '{"id": 100}', jsonb_build_object(CASE n % 2 WHEN 0 THEN 'add' ELSE 'set' END,
            jsonb_build_object('v', jsonb_build_object('k' || n, 0)))))
        FROM generate_series(1, 3000) AS n) FROM fleet WHERE n = 1 \g /dev/null
SET statement_timeout = '20s';
SELECT device.push(id) FROM fleet WHERE n = 1 \g /dev/null
RESET statement_timeout;
SELECT is((SELECT v FROM doc WHERE id = 100), '{"k2999": 0, "k3000": 0}', 'thousands of changes to an object of thousands of keys');

SELECT * FROM finish();
