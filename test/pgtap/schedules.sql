-- Two thousand schedules: the same changes of a few devices, which saw more or less
-- of each other, arrive in another order, cut otherwise, some of them twice.  For the
-- policies that do not depend on order every schedule must end in the same rows, bit
-- for bit; for the others the same schedule must, and another one need not.
--
-- A world is a set of units (what a device writes between two pulls) and who had seen
-- what; a schedule is one way for its units to arrive.  In every second world whoever
-- saw a unit also saw what arrived before it at the same rows, as it is with one
-- server, which leaves few orders.  In the others anybody may have seen anything; but
-- then a set or an object may end differently, since whether a row was there to be
-- seen is judged by its first insert.  Every schedule has rows and devices of its own,
-- so that they can be compared at the end.
--
-- The seed is printed.  To run it again:  PGOPTIONS='-c test.seed=0.42'; more of
-- them: -c test.worlds=1000
\set ON_ERROR_STOP on
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pgtap;
CREATE EXTENSION IF NOT EXISTS offline_sync;
SELECT plan(6);

SELECT coalesce(nullif(current_setting('test.seed', true), ''), round(random()::numeric, 6)::text)::float8 AS seed,
       coalesce(nullif(current_setting('test.worlds', true), ''), '100')::int AS worlds, 20 AS schedules \gset
SELECT diag(format('seed %s, %s schedules', :'seed', :worlds * :schedules));
SELECT setseed(:'seed') \g /dev/null

CREATE TABLE item (run int, id int, title text, hi int, lo numeric, first text, qty int, tags orset, doc jsonb,
                   kept text, disputed text, PRIMARY KEY (run, id));
SELECT sync_enable_table('item', policies => '{"hi": "max", "lo": "min", "first": "first_writer", "qty": "counter", "doc": "json",
                                               "kept": "server_wins", "disputed": "manual"}');

-- Nothing is far in the future, so no clock is pulled back
CREATE TABLE unit (world int, unit int, device int, seen int[], received numeric, first_seq int, changes text[],
                   PRIMARY KEY (world, unit));
CREATE TABLE before (world int, unit int, earlier int);
CREATE TABLE op (world int, unit int, n int, device int, id int, kind text, seen int[]);

CREATE FUNCTION pick(VARIADIC choices text[]) RETURNS text LANGUAGE sql VOLATILE AS $$
    SELECT choices[1 + floor(random() * cardinality(choices))::int] $$;
CREATE FUNCTION below(n int) RETURNS int LANGUAGE sql VOLATILE AS $$ SELECT floor(random() * n)::int $$;
CREATE FUNCTION clock(n numeric) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT hlc(timestamptz 'epoch' + trunc(n / 65536) * interval '1 ms', mod(n, 65536)::int)::text $$;

-- Is the row there, as far as somebody can tell who has seen these units?  An insert
-- must have seen every delete.
CREATE FUNCTION is_there(w int, row_id int, seen_units int[]) RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT EXISTS (SELECT FROM op i
                   WHERE i.world = w AND i.id = row_id AND i.kind = 'insert' AND i.unit = ANY (seen_units)
                     AND NOT EXISTS (SELECT FROM op d
                                     WHERE d.world = w AND d.id = row_id AND d.kind = 'delete' AND d.unit = ANY (seen_units)
                                       AND NOT d.unit = ANY (i.seen)
                                       AND NOT (d.device = i.device AND (d.unit, d.n) < (i.unit, i.n)))) $$;

CREATE PROCEDURE make_world(w int) LANGUAGE plpgsql AS $$
DECLARE
    ndevices int := 3 + below(3); nunits int := 5 + below(9);
    d int; u int; n int; pushed int[] := '{}'; other record; row_id int; kind text; cells text; changes text[];
    seen int[][]; known int[]; knowledge jsonb := '{}'; seqs int[] := array_fill(1, ARRAY[6]);
    clocks numeric[] := array_fill(0::numeric, ARRAY[6]); own numeric; received numeric;
    skew bigint[] := ARRAY(SELECT below(5) * 600000 FROM generate_series(1, 6)); start numeric := 1767225600000; lead bigint := 0;
BEGIN
    FOR u IN 1 .. nunits LOOP
        d := 1 + below(ndevices);
        known := coalesce(ARRAY(SELECT jsonb_array_elements_text(knowledge -> d::text)::int), '{}');
        IF random() < 0.4 THEN                        -- pull
            IF w % 2 = 0 THEN
                SELECT t.unit, t.seen INTO other FROM unit t WHERE t.world = w AND t.device <> d ORDER BY random() LIMIT 1;
                known := ARRAY(SELECT DISTINCT x FROM unnest(known || other.unit || other.seen) x WHERE x IS NOT NULL ORDER BY x);
            ELSE
                known := ARRAY(SELECT DISTINCT x FROM unnest(known || pushed) x ORDER BY x);
            END IF;
        END IF;
        -- the highest clock received: of everything seen, as lifted
        SELECT coalesce(max((c.value ->> 'lifted')::numeric), 0) INTO received
        FROM jsonb_array_elements(coalesce(knowledge -> 'clocks', '[]')) c
        WHERE (c.value ->> 'unit')::int = ANY (known) AND (c.value ->> 'device')::int <> d;
        changes := '{}';
        lead := lead + below(1000);
        FOR n IN 1 .. 1 + below(4) LOOP
            row_id := 1 + below(3);
            kind := CASE WHEN NOT is_there(w, row_id, known || u) THEN 'insert'
                    ELSE pick('set', 'set', 'set', 'increment', 'add', 'remove', 'add key', 'remove key', 'delete', 'insert') END;
            cells := CASE kind
                WHEN 'delete' THEN '"delete": true'
                WHEN 'increment' THEN format('"increment": {"qty": %s}', below(9) - 4)
                WHEN 'add' THEN format('"add": {"tags": ["%s"]}', pick('p', 'q', 'r'))
                WHEN 'remove' THEN format('"remove": {"tags": ["%s"]}', pick('p', 'q', 'r'))
                WHEN 'add key' THEN format('"add": {"doc": {"%s": %s}}', pick('u', 'v'), below(9))
                WHEN 'remove key' THEN format('"remove": {"doc": ["%s"]}', pick('u', 'v'))
                ELSE (SELECT format('"%s": {%s}', kind, string_agg(cell, ', ')) FROM (
                    SELECT * FROM (VALUES (format('"title": "%s"', pick('a', 'b', 'c', 'd'))),
                                          (format('"hi": %s', pick('1', '2', '3', 'null'))),
                                          (format('"lo": %s', pick('"1"', '"1.0"', '"2.00"', 'null'))),
                                          (format('"first": %s', pick('"x"', '"y"', 'null'))),
                                          (format('"tags": %s', pick('["p"]', '["p", "q"]', '[]'))),
                                          (format('"doc": %s', pick('{"u": 1}', '{"u": 2, "v": {"w": 3}}', '{}', '{"v": null}'))),
                                          (format('"kept": "%s"', pick('a', 'b', 'c', 'd'))),
                                          (format('"disputed": "%s"', pick('a', 'b', 'c', 'd')))) AS v(cell)
                    WHERE random() < 0.6 OR cell LIKE '"title%'
                    UNION ALL
                    SELECT format('"qty": %s', below(9)) WHERE kind = 'insert' AND random() < 0.5) AS chosen)
                END;
            -- the device's clock, which may be behind or ahead; lifted as the server will
            own := trunc((start + lead + skew[d] + below(2) * 300000)) * 65536;
            changes := changes || format('{"seq": %s, "hlc": "%s", "table": "item", "key": {"run": @run@, "id": %s}, %s}',
                                         seqs[d], clock(own), row_id, cells);
            clocks[d] := greatest(own, received + 1, clocks[d] + 1);
            INSERT INTO op VALUES (w, u, n, d, row_id, kind, known);
            seqs[d] := seqs[d] + 1;
        END LOOP;
        INSERT INTO unit VALUES (w, u, d, known, received, seqs[d] - cardinality(changes), changes);
        knowledge := jsonb_set(knowledge, ARRAY[d::text], to_jsonb(known || u));
        knowledge := jsonb_set(knowledge, '{clocks}', coalesce(knowledge -> 'clocks', '[]') ||
                               jsonb_build_object('unit', u, 'device', d, 'lifted', clocks[d]));
        IF random() < 0.6 THEN                        -- push
            pushed := pushed || ARRAY(SELECT t.unit FROM unit t WHERE t.world = w AND t.device = d AND NOT t.unit = ANY (pushed));
        END IF;
    END LOOP;
    IF w % 2 = 0 THEN
        RETURN;
    END IF;
    INSERT INTO before
    SELECT DISTINCT w, v.unit, s.unit
    FROM unit o, unnest(o.seen) s(unit), unit v
    WHERE o.world = w AND v.world = w AND v.unit <> o.unit AND v.device <> o.device AND NOT v.unit = ANY (o.seen)
      AND EXISTS (SELECT FROM op a JOIN op b USING (world, id) WHERE a.world = w AND a.unit = s.unit AND b.unit = v.unit);
END $$;

-- Let a world's units arrive: in any order that respects who had seen what.  A
-- schedule's own seed decides, so that it can be had again under another run.
CREATE PROCEDURE arrive(w int, run int, seed float8) LANGUAGE plpgsql AS $$
DECLARE
    node text := sync_node(); beginning text := current_setting('test.beginning'); arrived int[] := '{}'; positions jsonb := '{}';
    u unit; context text; cut int; from_n int; to_n int; delta text; n int; r record;
    sent text[] := '{}';
BEGIN
    PERFORM setseed(seed);
    LOOP
        SELECT t.* INTO u FROM unit t
        WHERE t.world = w AND NOT t.unit = ANY (arrived) AND t.seen <@ arrived
          AND NOT EXISTS (SELECT FROM unit e WHERE e.world = w AND e.device = t.device AND e.unit < t.unit AND NOT e.unit = ANY (arrived))
          AND NOT EXISTS (SELECT FROM before b WHERE b.world = w AND b.unit = t.unit AND NOT b.earlier = ANY (arrived))
        ORDER BY random() LIMIT 1;
        EXIT WHEN u IS NULL;
        SELECT string_agg(x::text, ',' ORDER BY x) INTO context
        FROM unnest(u.seen) s, jsonb_array_elements_text(positions -> s::text) p, LATERAL (SELECT p::bigint AS x) q;
        -- one push or two, the second perhaps with some of the first again
        cut := CASE WHEN random() < 0.4 THEN 1 + below(cardinality(u.changes)) ELSE cardinality(u.changes) END;
        from_n := 1;
        to_n := cut;
        LOOP
            delta := format('{"format": 1, "replica": "%s", "context": {%s}, %s "changes": [%s]}',
                            format('%s0000000-0000-4000-8000-%s', u.device, lpad(run::text, 12, '0')),
                            format('"%s": "%s"', node, concat_ws(',', beginning, context)),
                            CASE WHEN u.received > 0 THEN format('"hlc": "%s",', clock(u.received)) END,
                            replace(array_to_string(u.changes[from_n:to_n], ', '), '@run@', run::text));
            positions := jsonb_set(positions, ARRAY[u.unit::text],
                                   coalesce(positions -> u.unit::text, '[]') || to_jsonb(pg_current_xact_id()::text));
            SELECT a.status, a.outcomes, a.acked_seq INTO r FROM sync_apply_delta(delta::delta) a;
            IF r.status <> 'applied' OR r.acked_seq <> u.first_seq + to_n - 1 THEN
                RAISE 'world % run % unit %: %', w, run, u.unit, r;
            END IF;
            COMMIT;
            sent := sent || delta;
            EXIT WHEN to_n = cardinality(u.changes);
            from_n := CASE WHEN random() < 0.5 THEN 1 ELSE to_n + 1 END;
            to_n := cardinality(u.changes);
        END LOOP;
        arrived := arrived || u.unit;
        -- something old again
        IF random() < 0.3 THEN
            SELECT a.status INTO r FROM sync_apply_delta(sent[1 + below(cardinality(sent))]::delta) a;
            IF r.status <> 'duplicate' THEN
                RAISE 'world % run %: sent again: %', w, run, r.status;
            END IF;
            COMMIT;
        END IF;
    END LOOP;
END $$;

-- the schedules, and the first one of each world once more
CREATE TABLE schedule AS
SELECT w AS world, (w - 1) * (:schedules + 1) + k AS run, k, random() AS seed
FROM generate_series(1, :worlds) w, generate_series(1, :schedules + 1) k;
UPDATE schedule s SET seed = f.seed FROM schedule f WHERE f.world = s.world AND f.k = 1 AND s.k = :schedules + 1;
SELECT count(sync_register_device(format('%s0000000-0000-4000-8000-%s', d, lpad(run::text, 12, '0'))::uuid)) AS devices
FROM schedule, generate_series(1, 5) d \gset
SELECT format('CALL make_world(%s)', w) FROM generate_series(1, :worlds) w \gexec
CREATE INDEX ON before (world, unit);
ANALYZE unit;
ANALYZE before;
ANALYZE op;
-- grants and everything else so far has been seen by all
SELECT set_config('test.beginning', pg_current_xact_id()::text, false) \g /dev/null
SELECT format('CALL arrive(%s, %s, %s)', world, run, seed) FROM schedule ORDER BY run \gexec

-- What a run ended in: values, and whose they are
CREATE VIEW ending AS
SELECT s.world, s.k,
       string_agg(concat_ws('|', i.id, i.title, i.hi, i.lo, i.first, i.qty, CASE WHEN s.world % 2 = 1 THEN concat_ws('|', i.tags::text[], i.doc) END, winners), E'\n' ORDER BY i.id) AS free_of_order,
       string_agg(concat_ws('|', i.id, i.kept, i.disputed), E'\n' ORDER BY i.id) AS by_order
FROM schedule s LEFT JOIN item i USING (run)
LEFT JOIN LATERAL (SELECT string_agg(concat_ws(' ', c.column_name, c.hlc, left(c.replica::text, 1)), ',' ORDER BY c.column_name) AS winners
                   FROM row_clock_entries('item', i._sync) c
                   WHERE c.column_name IN ('title', 'hi', 'lo', 'first')) w ON true
GROUP BY s.world, s.k;
CREATE TABLE result AS SELECT * FROM ending;

SELECT is((SELECT count(*) FROM result WHERE k <= :schedules), (:worlds * :schedules)::bigint, 'all schedules ran');
SELECT is(array_agg(world ORDER BY world), NULL, 'worlds whose schedules end in different rows')
FROM (SELECT world FROM result GROUP BY world HAVING count(DISTINCT coalesce(free_of_order, '')) > 1) w;
SELECT is(array_agg(a.world), NULL, 'worlds where the same schedule ended otherwise')
FROM result a JOIN result b USING (world)
WHERE a.k = 1 AND b.k = :schedules + 1 AND (a.free_of_order, a.by_order) IS DISTINCT FROM (b.free_of_order, b.by_order);

-- The schedules are worth it: order matters where it may, writes were concurrent, rows
-- went and came back.
SELECT cmp_ok(count(*), '>', (:worlds / 5)::bigint, 'worlds where the order decided a column of which it may')
FROM (SELECT world FROM result GROUP BY world HAVING count(DISTINCT coalesce(by_order, '')) > 1) w;
SELECT cmp_ok(count(DISTINCT c.policy), '>=', 6::bigint, 'conflicts under all policies that know them')
FROM sync_conflicts c;
SELECT cmp_ok(count(*), '>', 0::bigint, 'rows came back after a delete')
FROM item i WHERE i._sync::text LIKE '%floor%';

SELECT diag(format('worlds that differ: %s', string_agg(DISTINCT world::text, ' ')))
FROM (SELECT world FROM result GROUP BY world HAVING count(DISTINCT coalesce(free_of_order, '')) > 1) w HAVING count(*) > 0;
SELECT * FROM finish();
