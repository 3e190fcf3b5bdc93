-- Random histories of a few devices that change and delete the same few rows, each
-- delivered in several orders.  Whatever decides a delete against updates, every order
-- must end in the same rows, and the devices must hold them.
--
-- A history is phases: some devices edit, what they say arrives in an order of its own
-- (that is what differs), then some of them pull.  So who had seen what is the same in
-- every order.  A device that deletes a row does not make it anew, and nobody pulls with
-- changes of his own still unsent: there the order may matter, see doc/design.md.
--
-- The seed is printed.  To run it again, or more of them:
--     PGOPTIONS='-c test.seed=0.42 -c test.histories=200'
\set ON_ERROR_STOP on
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pgtap;
CREATE EXTENSION IF NOT EXISTS offline_sync;
\ir ../device.sql
SELECT plan(10);
SELECT coalesce(nullif(current_setting('test.seed', true), ''), round(random()::numeric, 6)::text)::float8 AS seed,
       coalesce(nullif(current_setting('test.histories', true), ''), '20')::int AS histories \gset
SELECT diag('seed ' || :'seed');

CREATE TABLE delete_wins (id int PRIMARY KEY, scope text, v text, w text DEFAULT 'filled', m int, f text, n numeric, tags orset);
CREATE TABLE update_wins (LIKE delete_wins INCLUDING ALL);
CREATE TABLE lww (LIKE delete_wins INCLUDING ALL);
SELECT sync_enable_table(t::regclass, 'scope', '{"m": "max", "f": "first_writer", "n": "counter"}', jsonb_build_object('on_delete', t))
FROM unnest('{delete_wins,update_wins,lww}'::text[]) AS t \g /dev/null
INSERT INTO device.scope_column SELECT t, 'scope' FROM unnest('{delete_wins,update_wins,lww}'::text[]) AS t;

CREATE FUNCTION pick(list text[]) RETURNS text LANGUAGE sql VOLATILE AS
$$ SELECT list[1 + floor(random() * cardinality(list))::int] $$;

-- device n of a run; in the order of n in every run, since that breaks ties
CREATE FUNCTION who(run int, n int) RETURNS uuid LANGUAGE sql IMMUTABLE AS
$$ SELECT (lpad(to_hex(n), 8, '0') || '-0000-4000-8000-' || lpad(to_hex(run), 12, '0'))::uuid $$;
-- Rows that a device has ever known, so that it makes none anew; nor does it after
-- having seen the deletion of a row that it had never seen, so inserts come first.
CREATE TABLE known (device uuid, key jsonb, PRIMARY KEY (device, key));

CREATE FUNCTION edit(run int, rule text, me uuid, may_insert boolean) RETURNS void LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    k jsonb := jsonb_build_object('id', run * 10 + floor(random() * 3)::int);
    dice float8 := random();
    change jsonb := '{}';
BEGIN
    INSERT INTO known SELECT me, r.key FROM device.rows(me, rule) AS r ON CONFLICT DO NOTHING;
    IF NOT EXISTS (SELECT FROM device.rows(me, rule) AS r WHERE r.key = k) THEN
        IF may_insert AND NOT EXISTS (SELECT FROM known WHERE device = me AND key = k) THEN
            PERFORM device.write(me, rule, k, jsonb_build_object('insert', jsonb_build_object('scope', run::text)
                || CASE WHEN random() < 0.5 THEN jsonb_build_object('v', pick('{i,j}')) ELSE '{}' END
                || CASE WHEN random() < 0.5 THEN '{"n": "5"}'::jsonb ELSE '{}' END));
            INSERT INTO known VALUES (me, k);
        END IF;
        RETURN;
    END IF;
    IF dice < 0.35 THEN
        PERFORM device.write(me, rule, k, '{"delete": true}');
        RETURN;
    END IF;
    IF dice < 0.5 THEN change := change || jsonb_build_object('set', jsonb_build_object(pick('{v,w}'), pick('{p,q,r,s}'))); END IF;
    IF dice BETWEEN 0.45 AND 0.6 THEN change := change || jsonb_build_object('set', jsonb_build_object('m', floor(random() * 9)::int)); END IF;
    IF dice BETWEEN 0.6 AND 0.7 THEN change := change || jsonb_build_object('set', jsonb_build_object('f', pick('{p,q}'))); END IF;
    IF dice BETWEEN 0.55 AND 0.85 THEN change := change || jsonb_build_object('increment', jsonb_build_object('n', floor(random() * 9)::int)); END IF;
    IF dice > 0.8 THEN change := change || jsonb_build_object(pick('{add,remove}'), jsonb_build_object('tags', jsonb_build_array(pick('{x,y,z}')))); END IF;
    PERFORM device.write(me, rule, k, change);
END $$;

CREATE FUNCTION answer_of(delta text) RETURNS jsonb LANGUAGE sql AS
$$ SELECT to_jsonb(a) || jsonb_build_object('corrections', a.corrections::text::jsonb) FROM sync_apply_delta(delta::delta) AS a $$;

-- What these devices have to say arrives, in random order and batches; a push is a transaction.
CREATE PROCEDURE deliver(run int, pushers int[]) LANGUAGE plpgsql AS $$
DECLARE me uuid; delta text; answer jsonb;
BEGIN
    LOOP
        SELECT who(run, n) INTO me FROM unnest(pushers) AS n
            WHERE EXISTS (SELECT FROM device.outbox AS o WHERE o.device = who(run, n) AND NOT o.is_settled) ORDER BY random() LIMIT 1;
        EXIT WHEN me IS NULL;
        delta := device.next_delta(me, 1 + floor(random() * 4)::int);
        answer := answer_of(delta);
        COMMIT;
        IF random() < 0.15 THEN      -- the answer is lost, the device sends it again
            answer := answer_of(delta);
            IF answer ->> 'status' <> 'duplicate' THEN RAISE EXCEPTION 'a duplicate was %', answer; END IF;
            COMMIT;
        END IF;
        IF answer ->> 'status' NOT IN ('applied', 'duplicate') THEN RAISE EXCEPTION '%', answer; END IF;
        PERFORM device.take_answer(me, delta, answer);
    END LOOP;
END $$;

CREATE TABLE outcome (rule text, history int, run int, server text, devices text[]);
-- "choice" seeds what happens, "chance" in which order it arrives
CREATE PROCEDURE play(rule text, history int, run int, choice float8, chance float8) LANGUAGE plpgsql AS $$
DECLARE
    begun timestamptz := date_trunc('second', now()) + interval '20 seconds';
    n int; editors int[]; pushers int[]; server text; held text[];
BEGIN
    FOR n IN 1 .. 4 LOOP
        PERFORM sync_register_device(who(run, n), ARRAY[run::text]), device.start(who(run, n));
    END LOOP;
    EXECUTE format('INSERT INTO %I (id, scope, v, n, tags) SELECT $1 * 10 + k, $1, ''start'', 100, ''{"x"}'' FROM generate_series(0, 1) AS k', rule) USING run;
    COMMIT;
    FOR n IN 1 .. 4 LOOP PERFORM device.pull(who(run, n)); END LOOP;
    editors := '{1,2,3,4}';
    FOR phase IN 1 .. 4 LOOP
        PERFORM setseed((choice + phase / 7.0) - floor(choice + phase / 7.0));
        FOREACH n IN ARRAY coalesce(editors, '{}') LOOP
            FOR i IN 1 .. 1 + floor(random() * 3)::int LOOP
                PERFORM device.set_clock(who(run, n), begun + phase * interval '20 seconds' + floor(random() * 15) * interval '1 second');
                PERFORM edit(run, rule, who(run, n), phase = 1);
            END LOOP;
        END LOOP;
        -- who is out of reach goes on with what it has; who is not pushes, and perhaps pulls
        SELECT array_agg(g ORDER BY g) INTO pushers FROM generate_series(1, 4) AS g WHERE random() < 0.65 OR phase = 4;
        SELECT array_agg(g ORDER BY g) INTO editors FROM generate_series(1, 4) AS g WHERE random() < 0.7;
        PERFORM setseed(chance);
        chance := random();
        COMMIT;
        CALL deliver(run, pushers);
        FOREACH n IN ARRAY coalesce(editors, '{}') LOOP
            IF NOT EXISTS (SELECT FROM device.outbox AS o WHERE o.device = who(run, n) AND NOT o.is_settled) THEN
                PERFORM device.pull(who(run, n));
            END IF;
        END LOOP;
    END LOOP;
    EXECUTE format('SELECT string_agg(concat_ws(''/'', id %% 10, coalesce(v, ''-''), coalesce(w, ''-''), coalesce(m::text, ''-''), coalesce(f, ''-''), coalesce(n::text, ''-''), '
                   'coalesce(tags::text[]::text, ''-'')), '' '' ORDER BY id) FROM %I WHERE scope = $1::text', rule) INTO server USING run;
    FOR n IN 1 .. 4 LOOP PERFORM device.sync(who(run, n)); END LOOP;
    SELECT array_agg(DISTINCT coalesce(h.rows, '')) INTO held FROM generate_series(1, 4) AS g, LATERAL (
        SELECT string_agg(concat_ws('/', (r.key ->> 'id')::int % 10, coalesce(cells ->> 'v', '-'), coalesce(cells ->> 'w', '-'), coalesce(cells ->> 'm', '-'), coalesce(cells ->> 'f', '-'),
                                    coalesce(cells ->> 'n', '-'), coalesce(ARRAY(SELECT jsonb_array_elements_text(nullif(cells -> 'tags', 'null')))::text, '-')), ' ' ORDER BY r.key ->> 'id') AS rows
        FROM device.rows(who(run, g), rule) AS r) AS h;
    INSERT INTO outcome VALUES (rule, history, run, coalesce(server, ''), held);
    COMMIT;
END $$;
CREATE SEQUENCE run;
CREATE PROCEDURE play_all(first_seed float8, histories int) LANGUAGE plpgsql AS $$
DECLARE rule text; seed float8; choice float8;
BEGIN
    FOREACH rule IN ARRAY '{delete_wins,update_wins,lww}'::text[] LOOP
        PERFORM setseed(first_seed);
        FOR history IN 1 .. histories LOOP
            choice := random();
            seed := random();
            FOR i IN 1 .. 3 LOOP
                PERFORM setseed(seed / i);
                CALL play(rule, history, nextval('run')::int, choice, random());
            END LOOP;
            PERFORM setseed(seed);
        END LOOP;
    END LOOP;
END $$;
CALL play_all(:'seed', :'histories');

SELECT is((SELECT string_agg(DISTINCT history::text, ',') FROM (SELECT history FROM outcome o WHERE o.rule = t.rule GROUP BY history HAVING count(DISTINCT server) > 1) AS d),
          NULL, t.rule || ': every order ends in the same rows') FROM (VALUES ('delete_wins'), ('update_wins'), ('lww')) AS t (rule);
SELECT is((SELECT string_agg(DISTINCT run::text, ',') FROM outcome o WHERE o.rule = t.rule AND devices <> ARRAY[server]),
          NULL, t.rule || ': all devices hold them') FROM (VALUES ('delete_wins'), ('update_wins'), ('lww')) AS t (rule);
-- ... and it is not that nothing happened
SELECT cmp_ok((SELECT count(*) FROM offline_sync.conflict WHERE policy = t.rule AND decision = 'current'), '>', 0::bigint,
              t.rule || ': changes lost') FROM (VALUES ('delete_wins'), ('update_wins'), ('lww')) AS t (rule);
SELECT cmp_ok((SELECT count(DISTINCT decision) FROM offline_sync.conflict WHERE policy = 'lww'), '=', 2::bigint, 'lww: deletes won and lost');
SELECT * FROM finish();
