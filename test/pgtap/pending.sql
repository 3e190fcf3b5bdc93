-- Rows that refer to each other arrive in any order, from several devices and by SQL,
-- children before their parents: in the end the tables hold what the same pushes leave
-- in tables without foreign keys, and nothing waits.
--
-- The seed is printed; to run it again:  PGOPTIONS='-c test.seed=0.42 -c test.histories=20'
\set ON_ERROR_STOP on
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pgtap;
CREATE EXTENSION IF NOT EXISTS offline_sync;
SELECT plan(5);

SELECT coalesce(nullif(current_setting('test.seed', true), ''), round(random()::numeric, 6)::text) AS seed,
       coalesce(nullif(current_setting('test.histories', true), ''), '12') AS histories \gset
SELECT diag('seed ' || :'seed');
SELECT setseed(:seed) \g /dev/null

-- a: with foreign keys; b: the same without
CREATE TABLE a_team (id int PRIMARY KEY, name text);
CREATE TABLE a_task (id int PRIMARY KEY, team int REFERENCES a_team, up int REFERENCES a_task, title text, hours int NOT NULL DEFAULT 0, tags orset);
CREATE TABLE a_note (id int PRIMARY KEY, task int REFERENCES a_task DEFERRABLE INITIALLY DEFERRED, body text);
CREATE TABLE b_team (id int PRIMARY KEY, name text);
CREATE TABLE b_task (id int PRIMARY KEY, team int, up int, title text, hours int NOT NULL DEFAULT 0, tags orset);
CREATE TABLE b_note (id int PRIMARY KEY, task int, body text);
SELECT sync_enable_table(t::regclass, policies => CASE WHEN t LIKE '%task' THEN '{"hours": "counter"}'::jsonb ELSE '{}' END)
FROM unnest('{a_team,a_task,a_note,b_team,b_task,b_note}'::text[]) AS t \g /dev/null

CREATE FUNCTION below(n int) RETURNS int LANGUAGE sql VOLATILE AS $$ SELECT floor(random() * n)::int $$;
CREATE TABLE change (history int, device int, seq int, sort float8, body text);     -- tables with an "@" for a or b
CREATE TABLE arrival (history int, n int GENERATED ALWAYS AS IDENTITY, device int, first_seq int, last_seq int, sql text);
CREATE TABLE tally (what text PRIMARY KEY, n bigint);
CREATE FUNCTION uuid_of(side text, history int, device int) RETURNS uuid LANGUAGE sql IMMUTABLE AS
$$ SELECT format('%s0000000-0000-4000-8%s-%s', side, lpad(history::text, 3, '0'), lpad(device::text, 12, '0'))::uuid $$;

-- What the devices write, in an order of their own: rows before those that they refer to, the same rows as other
-- devices, and changes of their own rows
CREATE PROCEDURE write_changes(h int, ndevices int) LANGUAGE plpgsql AS $$
DECLARE
    base int := h * 1000;
    d int; r record;
BEGIN
    FOR i IN 1 .. 6 LOOP
        INSERT INTO change SELECT h, below(ndevices), 0, random(), format('"table": "@_team", "key": {"id": %s}, "insert": {"name": "team %s"}', base + i, below(9));
    END LOOP;
    FOR i IN 1 .. 25 LOOP
        FOR n IN 0 .. below(2) LOOP         -- by one device, or by two that do not know of each other
            d := below(ndevices);
            INSERT INTO change SELECT h, d, 0, random(), format('"table": "@_task", "key": {"id": %s}, "insert": {"team": %s, "up": %s, "title": "task %s", "hours": %s, "tags": ["t%s"]}',
                base + i, base + 1 + below(8), CASE WHEN i > 1 AND random() < 0.7 THEN (base + 1 + below(i - 1))::text ELSE 'null' END, below(9), below(5), below(3));
            INSERT INTO change SELECT h, d, 0, 1 + random(), format('"table": "@_task", "key": {"id": %s}, %s', base + i,
                CASE below(4) WHEN 0 THEN '"set": {"title": "changed"}' WHEN 1 THEN '"increment": {"hours": 2}' WHEN 2 THEN '"add": {"tags": ["more"]}'
                    ELSE format('"set": {"team": %s}', base + 1 + below(8)) END)
            FROM generate_series(1, below(3));
        END LOOP;
        INSERT INTO change SELECT h, below(ndevices), 0, random(), format('"table": "@_note", "key": {"id": %s}, "insert": {"task": %s, "body": "note"}', base + i, base + 1 + below(25));
    END LOOP;
    UPDATE change c SET seq = s.seq
        FROM (SELECT ctid AS row, row_number() OVER (PARTITION BY device ORDER BY sort) AS seq FROM change WHERE history = h) AS s WHERE s.row = c.ctid;
    -- pushes of 1 to 8 changes, and two of the teams by SQL, in any order that is each device's own
    FOR r IN SELECT device, max(seq) AS last FROM change WHERE history = h GROUP BY device LOOP
        d := 1;
        WHILE d <= r.last LOOP
            INSERT INTO arrival (history, device, first_seq, last_seq) VALUES (h, r.device, d, least(d + below(8), r.last)) RETURNING last_seq + 1 INTO d;
        END LOOP;
    END LOOP;
    INSERT INTO arrival (history, sql) SELECT h, format('INSERT INTO @_team VALUES (%s, ''by sql'')', base + 6 + i) FROM generate_series(1, 2) AS i;
END $$;

CREATE FUNCTION delta_text(side text, h int, d int, first int, last int) RETURNS text LANGUAGE sql AS $$
    SELECT format('{"format": 1, "replica": "%s", "context": {}, "changes": [%s]}', uuid_of(side, h, d),
        string_agg(format('{"seq": %s, "hlc": "2026-01-01T00:00:00.%sZ/%s", %s}', seq, lpad((seq * 7 % 50)::text, 3, '0'), d, replace(body, '@', side)), ', ' ORDER BY seq))
    FROM change WHERE history = h AND device = d AND seq BETWEEN first AND last
$$;

-- Everything arrives, at both sides in the same order
CREATE PROCEDURE arrive(h int) LANGUAGE plpgsql AS $$
DECLARE
    a arrival; side text; r record;
BEGIN
    CREATE TEMP TABLE IF NOT EXISTS turn (n int, place int);
    TRUNCATE turn;
    -- whose turn it is is drawn; what it brings follows the device's own order
    INSERT INTO turn
    SELECT q.n, t.place FROM (SELECT n, device, row_number() OVER (PARTITION BY device ORDER BY n) AS k FROM arrival WHERE history = h) AS q
    JOIN (SELECT device, place, row_number() OVER (PARTITION BY device ORDER BY place) AS k
          FROM (SELECT device, row_number() OVER (ORDER BY random()) AS place FROM arrival WHERE history = h) AS x) AS t
        ON t.device IS NOT DISTINCT FROM q.device AND t.k = q.k;
    FOR a IN SELECT arrival.* FROM arrival JOIN turn USING (n) ORDER BY place LOOP
        FOREACH side IN ARRAY '{a,b}'::text[] LOOP
            IF a.sql IS NOT NULL THEN
                EXECUTE replace(a.sql, '@', side);
            ELSE
                SELECT * INTO r FROM sync_apply_delta(delta_text(side, h, a.device, a.first_seq, a.last_seq)::delta);
                INSERT INTO tally VALUES (side || ' applied', r.applied + r.merged + r.superseded), (side || ' deferred', r.deferred), (side || ' rejected', r.rejected)
                    ON CONFLICT (what) DO UPDATE SET n = tally.n + excluded.n;
            END IF;
            COMMIT;
        END LOOP;
    END LOOP;
END $$;

CREATE PROCEDURE histories(n int) LANGUAGE plpgsql AS $$
DECLARE
    ndevices int;
BEGIN
    FOR h IN 1 .. n LOOP
        ndevices := 1 + below(4);
        PERFORM sync_register_device(uuid_of(side, h, d)) FROM unnest('{a,b}'::text[]) AS side, generate_series(0, ndevices - 1) AS d;
        CALL write_changes(h, ndevices);
        CALL arrive(h);
    END LOOP;
END $$;
CALL histories(:histories);

SELECT is((SELECT count(*) FROM offline_sync.waiting), 0::bigint, 'nothing waits when everything has arrived');
SELECT set_eq('SELECT id, name FROM a_team', 'SELECT id, name FROM b_team', 'the parents are the same');
SELECT set_eq('SELECT id, team, up, title, hours, tags::text[] FROM a_task', 'SELECT id, team, up, title, hours, tags::text[] FROM b_task',
              'their children and grandchildren are what they are without foreign keys');
SELECT set_eq('SELECT id, task, body FROM a_note', 'SELECT id, task, body FROM b_note', 'so are those that refer to them by a deferred foreign key');
SELECT cmp_ok((SELECT n FROM tally WHERE what = 'a deferred'), '>', (SELECT n FROM tally WHERE what = 'b deferred') + 20, 'many had waited');
SELECT diag(string_agg(what || ' ' || n, ', ' ORDER BY what)) FROM tally;
SELECT * FROM finish();
