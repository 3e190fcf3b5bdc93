-- Where the order of arrival decides (priority, custom, server_wins, manual): the same order ends in the same rows, and every
-- device ends with what the server decided.
--
-- A schedule is a random list of local writes, pushes, pulls, lost answers and updates by SQL.  Each is
-- played twice, by two fleets that share nothing but the order of their uuids: rows and devices of a play
-- are in a scope of its own.  The devices' clocks are ahead of the server's, so that what is later does
-- not depend on how long the test takes.
--
-- The seed is printed.  To run it again:  PGOPTIONS='-c test.seed=0.42'; more of them: -c test.schedules=500
\set ON_ERROR_STOP on
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pgtap;
CREATE EXTENSION IF NOT EXISTS offline_sync;
\ir ../device.sql
SELECT plan(8);

SELECT coalesce(nullif(current_setting('test.seed', true), ''), round(random()::numeric, 6)::text)::float8 AS seed,
       coalesce(nullif(current_setting('test.schedules', true), ''), '30')::int AS schedules \gset
SELECT diag(format('seed %s, %s schedules', :'seed', :'schedules'));
SELECT setseed(:'seed') \g /dev/null
SET offline_sync.max_clock_skew = '20d';
SELECT set_config('test.start', date_trunc('day', now() + interval '10 days')::text, false) \g /dev/null

-- A third value, which depends on the order of its arguments, so on the order of arrival; and an error now and then
CREATE FUNCTION append(current text, incoming text, context jsonb) RETURNS text IMMUTABLE LANGUAGE plpgsql AS $$
BEGIN
    IF incoming = 'x' THEN
        RAISE EXCEPTION 'x is not for merging';
    END IF;
    RETURN right(coalesce(current, '') || coalesce(incoming, ''), 12);
END $$;
-- One of both, whoever wrote it and when: what it is told decides
CREATE FUNCTION by_seq(current int, incoming int, context jsonb) RETURNS int IMMUTABLE LANGUAGE sql AS $$
    SELECT CASE WHEN (context #>> '{incoming,seq}')::int % 3 = 0 THEN current
                WHEN context #>> '{current,class}' IS DISTINCT FROM 'worker' THEN incoming
                ELSE current + incoming END $$;
CREATE TABLE duty (play text, id int, ranked text, amount int, joined text, plain text, kept text, disputed text, PRIMARY KEY (play, id));
SELECT sync_enable_table('duty', scope => 'play', policies => '{
    "ranked": {"policy": "priority", "order": ["manager", "server", "worker"]},
    "kept": "server_wins", "disputed": "manual",
    "joined": {"policy": "custom", "function": "public.append"},
    "amount": {"policy": "custom", "function": "public.by_seq"}}') \g /dev/null
INSERT INTO device.scope_column VALUES ('duty', 'play');

CREATE FUNCTION below(n int) RETURNS int LANGUAGE sql VOLATILE AS $$ SELECT floor(random() * n)::int $$;
CREATE FUNCTION pick(VARIADIC choices text[]) RETURNS text LANGUAGE sql VOLATILE AS $$ SELECT choices[1 + below(cardinality(choices))] $$;
CREATE FUNCTION random_cells() RETURNS jsonb LANGUAGE sql VOLATILE AS $$
    SELECT jsonb_object_agg(c, v) FROM (VALUES ('ranked', to_jsonb(pick('a', 'b', 'c', 'd'))), ('amount', to_jsonb(below(9))),
                                               ('joined', to_jsonb(pick('p', 'q', 'r', 'x', NULL))), ('plain', to_jsonb(pick('k', 'l', 'm'))),
                                               ('kept', to_jsonb(pick('k', 'l', 'm'))), ('disputed', to_jsonb(pick('k', 'l', 'm')))) AS cells(c, v)
    WHERE random() < 0.6 OR c = 'plain' $$;

CREATE TABLE fleet (play text, n int, id uuid, PRIMARY KEY (play, n));
CREATE TABLE step (schedule int, n int, device int, action text, id int, cells jsonb, PRIMARY KEY (schedule, n));
INSERT INTO step
SELECT s, n, 1 + below(5), CASE WHEN n <= 5 THEN 'sync' ELSE pick('write', 'write', 'write', 'write', 'push', 'push', 'pull', 'sync', 'lost', 'delete', 'sql') END,
       1 + below(3), random_cells()
FROM generate_series(1, :schedules) AS s, generate_series(1, 60) AS n;

CREATE PROCEDURE play(schedule int, play text) LANGUAGE plpgsql AS $$
DECLARE
    s step; me uuid; k jsonb; exists boolean;
BEGIN
    INSERT INTO fleet SELECT play, n, (lpad(to_hex(schedule), 8, '0') || '-0000-4000-800' || right(play, 1) || '-' || lpad(n::text, 12, '0'))::uuid FROM generate_series(1, 5) AS n;
    PERFORM sync_register_device(f.id, ARRAY[play.play], class => (ARRAY['manager', 'worker', 'worker', 'intern', NULL])[f.n]),
            device.start(f.id) FROM fleet f WHERE f.play = play.play;
    INSERT INTO duty VALUES (play, 1, 'sql', 1, 's', 's', 's', 's'), (play, 2, 'sql', 1, 's', 's', 's', 's');
    COMMIT;
    FOR s IN SELECT * FROM step t WHERE t.schedule = play.schedule ORDER BY t.n LOOP
        SELECT f.id INTO STRICT me FROM fleet f WHERE f.play = play.play AND f.n = s.device;
        PERFORM device.set_clock(me, current_setting('test.start')::timestamptz + s.n * interval '1 minute');
        k := jsonb_build_object('play', play, 'id', s.id);
        exists := EXISTS (SELECT FROM device.rows(me, 'duty') r WHERE r.key = k);
        CASE s.action
            WHEN 'write' THEN PERFORM device.write(me, 'duty', k, jsonb_build_object(CASE WHEN exists THEN 'set' ELSE 'insert' END, s.cells));
            WHEN 'delete' THEN IF exists AND s.n % 3 = 0 THEN PERFORM device.write(me, 'duty', k, '{"delete": true}'); END IF;
            WHEN 'push' THEN PERFORM device.push(me, 3);
            WHEN 'pull' THEN PERFORM device.pull(me, 2);
            WHEN 'sync' THEN PERFORM device.sync(me);
            WHEN 'lost' THEN PERFORM sync_apply_delta(d::delta) FROM device.next_delta(me) AS d WHERE d IS NOT NULL;
            WHEN 'sql' THEN UPDATE duty t SET ranked = coalesce(s.cells ->> 'ranked', t.ranked), joined = coalesce(s.cells ->> 'joined', t.joined)
                            WHERE t.play = play.play AND t.id = s.id;
        END CASE;
        COMMIT;
    END LOOP;
    FOR i IN 1 .. 2 LOOP
        FOR me IN SELECT f.id FROM fleet f WHERE f.play = play.play ORDER BY f.n LOOP
            PERFORM device.sync(me);
            COMMIT;
        END LOOP;
    END LOOP;
END $$;
CREATE PROCEDURE play_all() LANGUAGE plpgsql AS $$
BEGIN
    FOR s IN 1 .. (SELECT max(schedule) FROM step) LOOP
        CALL play(s, s || '.1');
        CALL play(s, s || '.2');
    END LOOP;
END $$;
CALL play_all();

CREATE VIEW stored AS
    SELECT play, string_agg(concat_ws('/', id, coalesce(ranked, '-'), coalesce(amount::text, '-'), coalesce(joined, '-'), coalesce(plain, '-'), coalesce(kept, '-'), coalesce(disputed, '-')), ' ' ORDER BY id) AS rows
    FROM duty GROUP BY play;
CREATE VIEW held AS
    SELECT f.play, f.n, string_agg(concat_ws('/', r.key ->> 'id', coalesce(r.cells ->> 'ranked', '-'), coalesce(r.cells ->> 'amount', '-'),
                                             coalesce(r.cells ->> 'joined', '-'), coalesce(r.cells ->> 'plain', '-'),
                                             coalesce(r.cells ->> 'kept', '-'), coalesce(r.cells ->> 'disputed', '-')), ' ' ORDER BY r.key ->> 'id')
                         FILTER (WHERE r.key IS NOT NULL) AS rows    -- NULL: none, as on the server
    FROM fleet f LEFT JOIN LATERAL device.rows(f.id, 'duty') AS r ON true GROUP BY 1, 2;
CREATE VIEW decided AS
    SELECT t.play, k.column_name, k.policy, k.decision, count(*) AS n FROM sync_conflicts k
    JOIN fleet t ON t.id = k.device WHERE k.column_name IS NOT NULL GROUP BY 1, 2, 3, 4;

SELECT is((SELECT string_agg(format('%s: %s, %s', s, a.rows, b.rows), E'\n') FROM generate_series(1, :schedules) AS s
           LEFT JOIN stored a ON a.play = s || '.1' LEFT JOIN stored b ON b.play = s || '.2' WHERE a.rows IS DISTINCT FROM b.rows),
          NULL, 'the same order of arrival ends in the same rows');
SELECT is((SELECT string_agg(format('%s: device %s has %s, the server %s', h.play, h.n, h.rows, s.rows), E'\n')
           FROM held h LEFT JOIN stored s USING (play) WHERE h.rows IS DISTINCT FROM s.rows),
          NULL, 'every device ends with what the server decided');
SELECT is((SELECT count(*) FROM device.outbox WHERE NOT is_settled), 0::bigint, 'and has nothing left to say');
SELECT is((SELECT string_agg(DISTINCT o ->> 'reason', ', ' ORDER BY o ->> 'reason') FROM offline_sync.journal j, jsonb_array_elements(j.outcomes) o
           WHERE o ->> 'outcome' = 'rejected' AND o ->> 'reason' <> 'no_row'), 'custom_function', 'only the function refuses');
-- the schedules were worth it
SELECT is((SELECT string_agg(DISTINCT decision, ', ' ORDER BY decision) FROM decided WHERE column_name = 'ranked'), 'current, incoming', 'classes decided both ways');
SELECT is((SELECT string_agg(DISTINCT policy || ' ' || decision, ', ' ORDER BY policy || ' ' || decision) FROM decided WHERE policy IN ('server_wins', 'manual')),
          'manual current, server_wins current', 'the server won');
SELECT is((SELECT string_agg(DISTINCT decision, ', ' ORDER BY decision) FROM decided WHERE policy = 'custom'), 'current, incoming, merged', 'functions decided in each way');
SELECT is((SELECT count(*) FROM (SELECT column_name, decision, n, right(play, 1) AS side, split_part(play, '.', 1) FROM decided) AS d(c, d, n, side, s)
           WHERE NOT EXISTS (SELECT FROM decided o WHERE o.play = s || '.' || CASE side WHEN '1' THEN '2' ELSE '1' END AND (o.column_name, o.decision, o.n) = (c, d.d, d.n))),
          0::bigint, 'with the same conflicts');
SELECT * FROM finish();
