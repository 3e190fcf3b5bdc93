-- The random histories of test/pgtap/fleet.sql and test/pgtap/clean_up.sql, which set
-- cleans: whether clean-up takes part.
\set ON_ERROR_STOP on
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pgtap;
CREATE EXTENSION IF NOT EXISTS dblink;
CREATE EXTENSION IF NOT EXISTS offline_sync;
\ir device.sql
SELECT plan(CASE WHEN :'cleans' THEN 5 ELSE 3 END);

SELECT coalesce(nullif(current_setting('test.seed', true), ''), '0.5') AS seeds,
       coalesce(nullif(current_setting('test.steps', true), ''), '150') AS steps,
       coalesce(nullif(current_setting('test.rests', true), ''), '5') AS rests \gset
SELECT diag('seeds ' || :'seeds');

-- ------------------------------------------------------------------ the tables

CREATE TABLE project (id int PRIMARY KEY, scope text, name text DEFAULT 'untitled', tags orset, votes int DEFAULT 7);
CREATE TABLE task (
    id       int PRIMARY KEY,
    project  int NOT NULL REFERENCES project ON UPDATE CASCADE ON DELETE CASCADE,
    scope    text DEFAULT 'a',
    title    text CHECK (title <> 'forbidden'),
    price    numeric(10,2),
    total    numeric(12,2) GENERATED ALWAYS AS (price * 2) STORED,
    due      date DEFAULT '2026-01-01',
    people   orset,
    revision int);
CREATE TABLE word (lang text, n int, v text, w text, PRIMARY KEY (lang, n));
-- Rows of this one are never deleted: what was added to them must be there.
CREATE TABLE account (id int PRIMARY KEY, scope text, owner text, balance int NOT NULL DEFAULT 100);
CREATE TABLE ledger (id int NOT NULL, amount int NOT NULL);

-- With clean-up, this one is enabled in the middle of the first history.
CREATE TABLE newcomer (id int PRIMARY KEY, scope text, v text, n int);

CREATE TABLE setting AS SELECT :'cleans'::boolean AS cleans;
CREATE FUNCTION cleans() RETURNS boolean LANGUAGE sql STABLE AS $$ SELECT cleans FROM setting $$;
CREATE FUNCTION has_newcomer() RETURNS boolean LANGUAGE sql STABLE AS
$$ SELECT EXISTS (SELECT FROM offline_sync.tracked_table WHERE wire_name = 'newcomer') $$;   -- the view looks at tables, which may be locked
CREATE FUNCTION tidy() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.title := btrim(NEW.title);
    NEW.revision := coalesce(NEW.revision, 0) + 1;
    RETURN NEW;
END $$;
CREATE TRIGGER tidy BEFORE INSERT OR UPDATE ON task FOR EACH ROW EXECUTE FUNCTION tidy();

CREATE FUNCTION pick(list text[]) RETURNS text LANGUAGE sql VOLATILE AS $$ SELECT list[1 + floor(random() * cardinality(list))::int] $$;
SELECT setseed(split_part(:'seeds', ',', 1)::float8) \g /dev/null
SELECT sync_enable_table('project', 'scope', jsonb_build_object('votes', 'counter', 'name', pick('{lww,max,first_writer}')),
           jsonb_build_object('on_delete', pick('{delete_wins,update_wins,lww}'))),
       sync_enable_table('task', 'scope', jsonb_build_object('price', pick('{lww,min,server_wins}')),
           jsonb_build_object('on_delete', pick('{delete_wins,update_wins,lww}'))),
       sync_enable_table('word', options => jsonb_build_object('on_delete', pick('{delete_wins,update_wins,lww}'))),
       sync_enable_table('account', 'scope', '{"balance": "counter"}') \g /dev/null
INSERT INTO device.scope_column VALUES ('project', 'scope'), ('task', 'scope'), ('account', 'scope'), ('newcomer', 'scope');

-- Rows as both sides should have them, NULL the same as nothing
CREATE FUNCTION line(cells jsonb) RETURNS text LANGUAGE sql IMMUTABLE AS
$$ SELECT string_agg(c.key || '=' || (c.value #>> '{}'), ' ' ORDER BY c.key) FROM jsonb_each(cells) c WHERE c.value <> 'null' $$;
CREATE VIEW server_row AS
    SELECT 'project' AS name, scope, line(to_jsonb(p) - '_sync' || jsonb_build_object('tags', tags::text[])) AS line FROM project p
    UNION ALL SELECT 'task', scope, line(to_jsonb(t) - '_sync' || jsonb_build_object('people', people::text[])) FROM task t
    UNION ALL SELECT 'word', '', line(to_jsonb(d) - '_sync') FROM word d
    UNION ALL SELECT 'account', scope, line(to_jsonb(a) - '_sync') FROM account a
    UNION ALL SELECT 'newcomer', scope, line(to_jsonb(r) - '_sync') FROM newcomer r WHERE has_newcomer();
CREATE FUNCTION fingerprint() RETURNS text LANGUAGE plpgsql AS
$$ BEGIN RETURN (SELECT md5(string_agg(name || line, '|' ORDER BY name, line)) FROM server_row); END $$;

-- ------------------------------------------------------------------- the actors

CREATE TABLE fleet (n int PRIMARY KEY, id uuid NOT NULL);
CREATE TABLE absent (n int PRIMARY KEY, id uuid NOT NULL);  -- registered, but never called yet
CREATE TABLE sent (device uuid, delta text);            -- deltas that were answered
CREATE TABLE session (n int PRIMARY KEY, is_open boolean NOT NULL DEFAULT false, savepoints int NOT NULL DEFAULT 0);
INSERT INTO session VALUES (1), (2), (3);
CREATE TABLE in_flight (session int, device uuid, delta text, answer jsonb);
CREATE TABLE event (n int GENERATED ALWAYS AS IDENTITY, happened text);
CREATE TABLE failure (n int GENERATED ALWAYS AS IDENTITY, what text);
CREATE TABLE tally (what text PRIMARY KEY, n int NOT NULL);

SELECT dblink_connect('s' || n, format('host=%s port=%s dbname=%L user=%L options=%L',
    split_part(current_setting('unix_socket_directories'), ',', 1), current_setting('port'), current_database(), current_user,
    '-c lock_timeout=20ms -c deadlock_timeout=1s -c client_min_messages=error')) FROM session \g /dev/null
SET lock_timeout = '20ms';

CREATE FUNCTION chance(p float8) RETURNS boolean LANGUAGE sql VOLATILE AS $$ SELECT random() < p $$;
CREATE FUNCTION below(n int) RETURNS int LANGUAGE sql VOLATILE AS $$ SELECT floor(random() * n)::int $$;
CREATE FUNCTION some_scope() RETURNS text LANGUAGE sql VOLATILE AS $$ SELECT CASE WHEN random() > 0.04 THEN pick('{a,b,c}') END $$;
CREATE FUNCTION some_names() RETURNS text[] LANGUAGE sql VOLATILE AS
$$ SELECT array_agg(DISTINCT pick('{ann,bob,cid,"e e"}')) FROM generate_series(1, 1 + floor(random() * 3)::int) $$;
CREATE FUNCTION some_device() RETURNS uuid LANGUAGE sql VOLATILE AS $$ SELECT id FROM fleet ORDER BY n OFFSET below((SELECT count(*)::int FROM fleet)) LIMIT 1 $$;
CREATE FUNCTION note(what text) RETURNS void LANGUAGE sql AS $$ INSERT INTO event (happened) VALUES (what) $$;
CREATE FUNCTION count_one(what text) RETURNS void LANGUAGE sql AS
$$ INSERT INTO tally VALUES (what, 1) ON CONFLICT ON CONSTRAINT tally_pkey DO UPDATE SET n = tally.n + 1 $$;

-- A statement of a SQL writer; what it adds to accounts goes to the ledger with it.
CREATE FUNCTION random_sql() RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    dice float8 := random();
    p int := 1 + below(6); t int := 1 + below(12); a int := 1 + below(6); x int := below(100); s text := some_scope();
BEGIN
    IF cleans() AND chance(0.08) THEN
        RETURN CASE x % 4
        WHEN 0 THEN format('UPDATE newcomer SET scope = %L WHERE id = %s', s, p)
        WHEN 1 THEN format('DELETE FROM newcomer WHERE id = %s', p)
        ELSE format('INSERT INTO newcomer VALUES (%s, %L, %L, %s) ON CONFLICT (id) DO UPDATE SET v = EXCLUDED.v', p, s, 'sql' || x, x) END;
    END IF;
    RETURN CASE
    WHEN dice < 0.06 THEN format('INSERT INTO project VALUES (%s, %L, %L, %L::text[]::orset)', p, s, 'sql' || x, some_names())
    WHEN dice < 0.11 THEN format('INSERT INTO project (id, scope) VALUES (%s, %L), (%s, %L) ON CONFLICT DO NOTHING', p, s, p % 6 + 1, some_scope())
    WHEN dice < 0.16 THEN format('INSERT INTO task (id, project, scope, title, price) VALUES (%s, %s, %L, %L, %s) '
        'ON CONFLICT (id) DO UPDATE SET title = EXCLUDED.title, scope = EXCLUDED.scope', t, p, s, ' sql' || x, x)
    WHEN dice < 0.24 THEN format('INSERT INTO task (id, project, scope, people) SELECT g, %s, %L, %L::text[]::orset FROM generate_series(%s, %s) g '
        'ON CONFLICT DO NOTHING', p, s, some_names(), t, t + 2)
    WHEN dice < 0.32 THEN format('UPDATE task SET title = %L, price = %s WHERE id = %s', 'up' || x, CASE WHEN x > 90 THEN 'NULL' ELSE x::text END, t)
    WHEN dice < 0.36 THEN format('UPDATE task SET people = %L::text[]::orset WHERE id BETWEEN %s AND %s', some_names(), t, t + 1)
    WHEN dice < 0.40 THEN format('UPDATE task SET scope = %L WHERE id = %s', s, t)
    WHEN dice < 0.44 THEN format('UPDATE project SET scope = %L WHERE id = %s', s, p)
    WHEN dice < 0.47 THEN format('UPDATE project SET votes = votes + %s, name = %L WHERE id = %s', x, 'v' || x, p)
    WHEN dice < 0.49 THEN format('UPDATE task SET id = %s WHERE id = %s', 1 + below(12), t)
    WHEN dice < 0.51 THEN format('UPDATE project SET id = %s WHERE id = %s', 1 + below(6), p)
    WHEN dice < 0.53 THEN format('UPDATE task SET project = %s WHERE id = %s', p, t)
    WHEN dice < 0.58 THEN format('DELETE FROM task WHERE id = %s', t)
    WHEN dice < 0.61 THEN format('DELETE FROM project WHERE id = %s', p)
    WHEN dice < 0.62 THEN format('DELETE FROM task WHERE scope = %L', s)
    WHEN dice < 0.67 THEN format('INSERT INTO word VALUES (%L, %s, %L, ''sql'') ON CONFLICT (lang, n) DO UPDATE SET v = EXCLUDED.v', pick('{en,"d e"}'), below(4), 'sql' || x)
    WHEN dice < 0.70 THEN format('UPDATE word SET n = %s WHERE n = %s', below(4), below(4))
    WHEN dice < 0.73 THEN format('DELETE FROM word WHERE (lang, n) = (%L, %s)', pick('{en,"d e"}'), below(4))
    WHEN dice < 0.735 THEN pick('{TRUNCATE word,TRUNCATE task,TRUNCATE project CASCADE}')
    WHEN dice < 0.79 THEN format('WITH i AS (INSERT INTO account (id, scope, owner) VALUES (%s, %L, %L) ON CONFLICT DO NOTHING RETURNING id, balance) '
        'INSERT INTO ledger SELECT * FROM i', a, s, 'sql' || x)
    WHEN dice < 0.89 THEN format('WITH u AS (UPDATE account SET balance = balance + %s WHERE id = %s RETURNING id) INSERT INTO ledger SELECT id, %s FROM u', x, a, x)
    WHEN dice < 0.92 THEN format('UPDATE account SET scope = %L WHERE id = %s', s, a)
    WHEN dice < 0.94 THEN format('UPDATE account SET owner = %L WHERE id <= %s', 'up' || x, a)
    WHEN dice < 0.96 THEN format('UPDATE task SET title = title WHERE id = %s', t)
    WHEN dice < 0.98 THEN format('DO $d$ BEGIN PERFORM sync_grant_scope(%L, %L, %L, %L); END $d$', some_device(), pick('{a,b,c,""}'), x > 15, x < 85)
    ELSE format('DO $d$ BEGIN PERFORM sync_revoke_scope(%L, %L); END $d$', some_device(), pick('{a,b,c}'))
    END;
END $$;

-- Errors that a writer has to live with
CREATE FUNCTION is_harmless(state text) RETURNS boolean LANGUAGE sql IMMUTABLE AS
$$ SELECT left(state, 2) = '23' OR state IN ('55P03', '40P01', '42704', 'OS001') $$;

CREATE FUNCTION sql_statements() RETURNS void LANGUAGE plpgsql AS $$
DECLARE statement text;
BEGIN
    FOR i IN 1 .. 1 + below(4) LOOP
        statement := random_sql();
        BEGIN
            EXECUTE statement;
            IF chance(0.1) THEN RAISE EXCEPTION 'changed my mind' USING errcode = 'OS001'; END IF;
            PERFORM note('sql: ' || statement);
        EXCEPTION WHEN others THEN
            IF NOT is_harmless(sqlstate) THEN RAISE EXCEPTION 'sql: % %: %', sqlstate, sqlerrm, statement; END IF;
        END;
    END LOOP;
END $$;

-- A local change on a device, of a row that it knows, mostly
CREATE FUNCTION random_edit(me uuid, "group" int DEFAULT NULL) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    name text := CASE WHEN cleans() AND chance(0.1) AND has_newcomer() THEN 'newcomer' ELSE pick('{project,task,task,task,word,account,account}') END;
    k jsonb; old jsonb; change jsonb := '{}'; x int := below(100); dice float8 := random();
BEGIN
    k := CASE name WHEN 'word' THEN jsonb_build_object('lang', pick('{en,"d e"}'), 'n', below(4))
         ELSE jsonb_build_object('id', 1 + below(CASE name WHEN 'task' THEN 12 ELSE 6 END)) END;
    IF chance(0.6) THEN
        SELECT coalesce((array_agg(r.key ORDER BY r.key))[1 + below(count(*)::int)], k) INTO k FROM device.rows(me, name) r;
    END IF;
    SELECT r.cells INTO old FROM device.rows(me, name) r WHERE r.key = k;
    IF chance(0.05) THEN
        old := CASE WHEN old IS NULL THEN '{}'::jsonb END;      -- without looking
    END IF;
    IF old IS NULL THEN
        change := jsonb_build_object('insert', CASE name
            WHEN 'project' THEN CASE WHEN chance(0.5) THEN jsonb_build_object('name', 'dev' || x, 'votes', x) ELSE '{}' END
                || CASE WHEN chance(0.5) THEN jsonb_build_object('tags', to_jsonb(some_names())) ELSE '{}' END
            WHEN 'task' THEN jsonb_build_object('project', 1 + below(6))
                || CASE WHEN chance(0.5) THEN jsonb_build_object('title', pick('{x," y ",z}') || x, 'price', CASE WHEN x < 50 THEN to_jsonb(x) ELSE to_jsonb(x || '.5') END) ELSE '{}' END
                || CASE WHEN chance(0.5) THEN jsonb_build_object('due', '2026-2-' || 1 + x % 28, 'people', to_jsonb(some_names())) ELSE '{}' END
            WHEN 'word' THEN jsonb_build_object('v', 'dev' || x)
            WHEN 'newcomer' THEN jsonb_build_object('v', 'dev' || x)
            ELSE CASE WHEN chance(0.7) THEN jsonb_build_object('balance', x) ELSE '{}' END END
            || CASE WHEN name = 'word' OR name = 'task' AND chance(0.3) THEN '{}' ELSE jsonb_build_object('scope', some_scope()) END);
    ELSIF dice < 0.12 AND name <> 'account' THEN
        change := '{"delete": true}';
    ELSIF dice < 0.25 AND name <> 'word' THEN
        change := jsonb_build_object('set', jsonb_build_object('scope', some_scope()));
    ELSIF dice < 0.55 THEN
        change := jsonb_build_object('set', CASE name
            WHEN 'project' THEN jsonb_build_object('name', 'set' || x)
            WHEN 'task' THEN CASE WHEN x < 50 THEN jsonb_build_object('title', 'set' || x)
                WHEN x < 70 THEN jsonb_build_object('title', '  ' || x, 'price', NULL)
                WHEN x < 80 THEN jsonb_build_object('project', 1 + below(6))
                WHEN x < 83 THEN '{"title": "forbidden"}'
                WHEN x < 90 THEN jsonb_build_object('revision', x)
                ELSE jsonb_build_object('price', x || '.25', 'people', to_jsonb(some_names())) END
            WHEN 'word' THEN jsonb_build_object(pick('{v,w}'), 'set' || x)
            WHEN 'newcomer' THEN jsonb_build_object('v', 'set' || x)
            ELSE jsonb_build_object('owner', 'set' || x) END);
    ELSE
        change := CASE name
            WHEN 'project' THEN jsonb_build_object('increment', jsonb_build_object('votes', x - 50))
                || CASE WHEN x < 40 THEN jsonb_build_object('add', jsonb_build_object('tags', to_jsonb(some_names()))) ELSE '{}' END
                || CASE WHEN x > 60 THEN jsonb_build_object('set', jsonb_build_object('name', 'both' || x)) ELSE '{}' END
            WHEN 'task' THEN CASE WHEN x < 50 THEN jsonb_build_object('add', jsonb_build_object('people', to_jsonb(some_names()))) ELSE '{}' END
                || CASE WHEN x > 30 THEN jsonb_build_object('remove', jsonb_build_object('people', to_jsonb(some_names()))) ELSE '{}' END
            WHEN 'word' THEN jsonb_build_object('set', jsonb_build_object('v', 'v' || x, 'w', 'w' || x))
            WHEN 'newcomer' THEN jsonb_build_object('set', jsonb_build_object('n', x))
            ELSE jsonb_build_object('increment', jsonb_build_object('balance', x - 50)) END;
    END IF;
    PERFORM device.write(me, name, k, change, "group");
    PERFORM note(format('%s writes %s %s %s%s', right(me::text, 3), name, k, change, ' group ' || "group"));
END $$;

CREATE FUNCTION apply_text(delta text) RETURNS text LANGUAGE sql IMMUTABLE AS
$$ SELECT format('SELECT to_jsonb(a) || jsonb_build_object(''corrections'', a.corrections::text::jsonb) FROM sync_apply_delta(%L::delta) a', delta) $$;

-- Push a delta; NULL: somebody holds a lock, so nothing happened
CREATE FUNCTION try_push(delta text) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE answer jsonb;
BEGIN
    IF NOT EXISTS (SELECT FROM session WHERE is_open) THEN
        EXECUTE apply_text(delta) INTO STRICT answer;
        RETURN answer;
    END IF;
    BEGIN
        EXECUTE apply_text(delta) INTO STRICT answer;
    EXCEPTION WHEN lock_not_available OR deadlock_detected THEN
        PERFORM count_one('push met a lock');
        RETURN NULL;
    END;
    RETURN answer;
END $$;

CREATE FUNCTION take(me uuid, delta text, answer jsonb) RETURNS void LANGUAGE plpgsql AS $$
DECLARE status text;
BEGIN
    status := device.take_answer(me, delta, answer);
    IF status NOT IN ('applied', 'partial', 'duplicate') THEN RAISE EXCEPTION 'push was %', status; END IF;
EXCEPTION WHEN raise_exception THEN
    INSERT INTO failure (what) VALUES (format('%s takes the answer %s: %s', me, answer, sqlerrm));
END $$;

-- Has clean-up gone on without the device, which has pulled before?
CREATE FUNCTION is_fenced(me uuid) RETURNS boolean LANGUAGE sql STABLE AS
$$ SELECT d.fenced_at IS NOT NULL AND EXISTS (SELECT FROM offline_sync.node n WHERE vv_get(device.vector(me)::version_vector, n.node) > 0)
   FROM offline_sync.device d WHERE d.device = me $$;

-- One page; false: nothing came any more
CREATE FUNCTION take_page(me uuid, max_changes int, is_lost boolean DEFAULT false) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE page text; more boolean; is_fenced boolean := is_fenced(me) AND device.resume(me) IS NULL;
BEGIN
    page := sync_changes_since(me, device.vector(me)::version_vector, max_changes, device.resume(me));
    IF is_fenced AND (page::jsonb ->> 'reset') IS DISTINCT FROM 'true' THEN
        INSERT INTO failure (what) VALUES (format('%s is fenced, but goes on from %s: %s', me, device.vector(me), page));
    END IF;
    IF page::jsonb ->> 'reset' = 'true' THEN PERFORM count_one('reset'); END IF;
    IF is_lost THEN RETURN false; END IF;
    PERFORM note(format('%s has %s, takes %s', right(me::text, 3), device.vector(me), page));
    RETURN device.take_page(me, page);
EXCEPTION WHEN raise_exception THEN
    INSERT INTO failure (what) VALUES (format('%s takes the page %s: %s', me, page, sqlerrm));
    RETURN false;
END $$;

-- What has gone must not be wanted by any device that clean-up has to wait for: one that may pull the scope, was granted
-- it before that happened, and has not acknowledged it; or that is back since before that happened.
CREATE FUNCTION clean_up(max_rows int) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE m record; again boolean := false;
BEGIN
    DROP TABLE IF EXISTS before;
    CREATE TEMP TABLE before AS
        SELECT 'tombstone' AS what, scope, node, xid, table_id, key FROM offline_sync.tombstone
        UNION ALL SELECT 'entry', scope, node, xid, table_id, key FROM offline_sync.change_log;
    FOR m IN SELECT * FROM sync_maintenance(max_rows) WHERE removed > 0 LOOP
        INSERT INTO tally VALUES ('cleaned ' || m.task, m.removed) ON CONFLICT ON CONSTRAINT tally_pkey DO UPDATE SET n = tally.n + m.removed;
        PERFORM note(format('clean-up: %s %s', m.task, m.removed));
        again := again OR m.more;
    END LOOP;
    INSERT INTO failure (what)
    SELECT format('%s has not acknowledged a %s in scope %s at %s', d.device, x.what, x.scope, x.xid)
    FROM (SELECT * FROM before
          EXCEPT ALL SELECT 'tombstone', scope, node, xid, table_id, key FROM offline_sync.tombstone
          EXCEPT ALL SELECT 'entry', scope, node, xid, table_id, key FROM offline_sync.change_log) x
    JOIN offline_sync.node n ON n.id = x.node
    JOIN offline_sync.device_scope s ON s.scope = x.scope AND s.can_pull AND (s.granted_node < x.node OR s.granted_node = x.node AND s.granted_xid < x.xid)
    JOIN offline_sync.device d ON d.device = s.device
    WHERE d.revoked_at IS NULL AND NOT vv_covers(d.seen, n.node, x.xid::text::bigint)
        AND (d.fenced_at IS NULL OR d.returned_node < x.node OR d.returned_node = x.node AND d.returned_horizon <= x.xid);
    RETURN again;
END $$;

-- Nobody who has acknowledged everything is told anything afterwards.
CREATE PROCEDURE clean_up_at_rest() LANGUAGE plpgsql AS $$
DECLARE x fleet;
BEGIN
    -- who came last has pulled in the transaction that registered it, which its vector cannot cover
    FOR x IN SELECT * FROM fleet ORDER BY n LOOP
        PERFORM device.pull(x.id);
        PERFORM sync_ack(x.id, device.vector(x.id)::version_vector);
    END LOOP;
    COMMIT;
    FOR i IN 1 .. 3 LOOP
        WHILE clean_up(1000) LOOP COMMIT; END LOOP;
        COMMIT;
    END LOOP;
    INSERT INTO failure (what)
    SELECT format('%s is told after clean-up: %s', f.id, page)
    FROM fleet f CROSS JOIN LATERAL (SELECT sync_changes_since(f.id, device.vector(f.id)::version_vector)::text AS page) p
    JOIN offline_sync.device d ON d.device = f.id AND d.fenced_at IS NULL AND d.last_ack_at IS NOT NULL
    WHERE jsonb_array_length(page::jsonb -> 'changes') > 0 OR page::jsonb ? 'reset';
END $$;

-- One step of the history.  Returns how its transaction ends.
CREATE FUNCTION step() RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    dice float8 := random(); me uuid := some_device(); delta text; answer jsonb; before text; s session; statement text; f in_flight;
BEGIN
    IF cleans() THEN
        IF chance(0.05) THEN
            BEGIN
                PERFORM clean_up(1 + below(40));
            EXCEPTION WHEN lock_not_available THEN      -- somebody's first write as a new node
                RETURN 'clean-up in vain';
            END;
            RETURN 'clean-up';
        ELSIF chance(0.015) AND NOT has_newcomer() THEN
            BEGIN
                PERFORM sync_enable_table('newcomer', 'scope');
            EXCEPTION WHEN lock_not_available THEN
                RETURN 'newcomer in vain';
            END;
            PERFORM note('newcomer');
            RETURN 'newcomer';
        ELSIF chance(0.01) THEN
            dice := 0.805;          -- expires
        END IF;
    END IF;
    IF dice < 0.30 THEN
        IF chance(0.1) THEN
            PERFORM random_edit(me, g), random_edit(me, g) FROM (SELECT 1 + below(1000) AS g) x;
        ELSE
            PERFORM random_edit(me);
        END IF;
    ELSIF dice < 0.46 THEN
        delta := device.next_delta(me, CASE WHEN chance(0.5) THEN 1 + below(4) ELSE 1000 END);
        IF delta IS NULL THEN RETURN 'nothing'; END IF;
        DELETE FROM in_flight WHERE device = me;
        answer := try_push(delta);
        IF answer IS NULL THEN RETURN 'push in vain'; END IF;
        IF chance(0.05) THEN RETURN 'rollback'; END IF;
        PERFORM note(format('%s pushes %s: %s', right(me::text, 3), delta, answer));
        IF answer ->> 'status' IN ('applied', 'partial', 'duplicate') THEN INSERT INTO sent VALUES (me, delta); END IF;
        IF chance(0.3) THEN
            PERFORM note('... but hears no answer');
            RETURN 'push without answer';
        END IF;
        PERFORM take(me, delta, answer);
        RETURN 'push ' || (answer ->> 'status');
    ELSIF dice < 0.62 THEN
        DELETE FROM in_flight WHERE device = me;
        BEGIN
            IF cleans() AND chance(0.3) THEN PERFORM sync_hello(me); END IF;
            FOR i IN 0 .. below(4) LOOP
                EXIT WHEN NOT take_page(me, 1 + below(20), chance(0.1));
            END LOOP;
            IF cleans() AND chance(0.4) THEN PERFORM sync_ack(me, device.vector(me)::version_vector); END IF;
        EXCEPTION WHEN lock_not_available THEN      -- after a TRUNCATE
            RETURN 'pull in vain';
        END;
        RETURN 'pull';
    ELSIF dice < 0.65 THEN
        BEGIN
            PERFORM sync_ack(me, device.vector(me)::version_vector);
        EXCEPTION WHEN lock_not_available THEN
            RETURN 'ack in vain';
        END;
        RETURN 'ack';
    ELSIF dice < 0.67 THEN
        SELECT x.delta INTO delta FROM sent x ORDER BY random() LIMIT 1;
        IF delta IS NULL THEN RETURN 'nothing'; END IF;
        BEGIN
            before := fingerprint();
        EXCEPTION WHEN lock_not_available THEN
            RETURN 'nothing';
        END;
        -- a push, even an old one, is an occasion for what waits
        IF EXISTS (SELECT FROM offline_sync.device d WHERE d.device = (delta::jsonb ->> 'replica')::uuid AND d.waiting > 0) THEN before := NULL; END IF;
        answer := try_push(delta);
        IF answer IS NULL THEN RETURN 'push in vain'; END IF;
        IF answer ->> 'status' <> 'duplicate' OR before <> fingerprint() THEN
            INSERT INTO failure (what) VALUES (format('an old delta again: %s: %s', delta, answer));
        END IF;
        RETURN 'duplicate';
    ELSIF dice < 0.68 THEN
        PERFORM device.set_clock(me, CASE WHEN chance(0.7) THEN now() + (below(7200) - 3600) * interval '1 second' END);
        RETURN 'clock';
    ELSIF dice < 0.80 THEN
        PERFORM sql_statements();
        RETURN CASE WHEN chance(0.2) THEN 'rollback' ELSE 'sql' END;
    ELSIF dice < 0.803 AND NOT EXISTS (SELECT FROM session WHERE is_open) THEN
        PERFORM sync_new_incarnation();
        PERFORM note('new incarnation');
        RETURN 'incarnation';
    ELSIF dice < 0.806 THEN
        BEGIN
            UPDATE offline_sync.device SET last_push_at = now() - interval '1 year', last_ack_at = now() - interval '1 year',
                registered_at = now() - interval '1 year', returned_at = returned_at - interval '1 year' WHERE device = me;
        EXCEPTION WHEN lock_not_available THEN
            RETURN 'expired in vain';
        END;
        PERFORM note(me || ' expires');
        RETURN 'expired';
    ELSE
        -- the sessions
        SELECT * INTO s FROM session ORDER BY n OFFSET below(3) LIMIT 1;
        BEGIN
            IF NOT s.is_open THEN
                PERFORM dblink_exec('s' || s.n, 'BEGIN'), note('session ' || s.n || ': BEGIN');
                UPDATE session SET is_open = true, savepoints = 0 WHERE n = s.n;
                statement := random_sql();
            ELSIF chance(0.15) THEN
                statement := 'SAVEPOINT p';
                UPDATE session SET savepoints = savepoints + 1 WHERE n = s.n;
            ELSIF s.savepoints > 0 AND chance(0.25) THEN
                statement := pick('{ROLLBACK TO p,RELEASE p}');
                UPDATE session SET savepoints = savepoints - (statement = 'RELEASE p')::int WHERE n = s.n;
                IF statement = 'ROLLBACK TO p' THEN DELETE FROM in_flight WHERE session = s.n; END IF;
            ELSIF chance(0.3) THEN
                statement := CASE WHEN chance(0.75) THEN 'COMMIT' ELSE 'ROLLBACK' END;
                UPDATE session SET is_open = false WHERE n = s.n;
            ELSIF chance(0.35) THEN
                delta := device.next_delta(me, 1 + below(5));
            ELSE
                statement := random_sql();
            END IF;
            IF delta IS NOT NULL THEN
                DELETE FROM in_flight WHERE device = me;
                SELECT a INTO STRICT answer FROM dblink('s' || s.n, apply_text(delta)) AS t(a jsonb);
                PERFORM note(format('session %s: %s pushes %s: %s', s.n, right(me::text, 3), delta, answer));
                IF NOT EXISTS (SELECT FROM in_flight x WHERE x.session = s.n) THEN
                    INSERT INTO in_flight VALUES (s.n, me, delta, answer);
                END IF;
                RETURN 'session push';
            END IF;
            IF statement IS NULL THEN RETURN 'nothing'; END IF;
            PERFORM dblink_exec('s' || s.n, statement), note('session ' || s.n || ': ' || statement);
            IF statement = 'COMMIT' THEN
                FOR f IN DELETE FROM in_flight WHERE session = s.n RETURNING * LOOP
                    INSERT INTO sent VALUES (f.device, f.delta);
                    IF chance(0.6) THEN PERFORM take(f.device, f.delta, f.answer), note('... which is answered'); END IF;
                END LOOP;
            ELSIF statement = 'ROLLBACK' THEN
                DELETE FROM in_flight WHERE session = s.n;
            END IF;
            RETURN 'session ' || CASE WHEN statement ~ '^[A-Z ]+( p)?$' AND statement !~ 'TRUNC' THEN lower(statement) ELSE 'statement' END;
        EXCEPTION WHEN others THEN
            IF NOT is_harmless(sqlstate) THEN
                RAISE EXCEPTION 'session %: % % %', s.n, sqlstate, sqlerrm, coalesce(statement, delta);
            END IF;
            PERFORM dblink_exec('s' || s.n, 'ROLLBACK'), note(format('session %s: ROLLBACK after %s', s.n, statement));
            UPDATE session SET is_open = false WHERE n = s.n;
            DELETE FROM in_flight WHERE session = s.n;
            RETURN 'session error ' || sqlstate;
        END;
    END IF;
    RETURN 'edit';
END $$;

CREATE PROCEDURE live(steps int) LANGUAGE plpgsql AS $$
DECLARE how text;
BEGIN
    FOR i IN 1 .. steps LOOP
        how := step();
        EXIT WHEN EXISTS (SELECT FROM failure);
        IF how = 'rollback' THEN ROLLBACK; END IF;
        PERFORM count_one(how);
        COMMIT;
    END LOOP;
END $$;

-- Everything comes to rest: one round of pushes, one of pulls must do.
CREATE PROCEDURE rest() LANGUAGE plpgsql AS $$
DECLARE f fleet; s session; n int; seen text; delta text; answer jsonb;
BEGIN
    PERFORM note('rest');
    FOR s IN SELECT * FROM session WHERE is_open ORDER BY 1 LOOP
        PERFORM dblink_exec('s' || s.n, CASE WHEN chance(0.7) THEN 'COMMIT' ELSE 'ROLLBACK' END);
    END LOOP;
    UPDATE session SET is_open = false;
    DELETE FROM in_flight;
    COMMIT;
    FOR f IN SELECT * FROM fleet ORDER BY random() LOOP
        LOOP
            delta := device.next_delta(f.id, 1 + below(10));
            EXIT WHEN delta IS NULL;
            answer := try_push(delta);
            PERFORM note(format('%s pushes %s: %s', right(f.id::text, 3), delta, answer));
            PERFORM take(f.id, delta, answer);
            COMMIT;
        END LOOP;
    END LOOP;
    -- what still waits for its parent has waited long enough: it is applied or refused, and the device told
    UPDATE offline_sync.waiting SET expires_at = now() - interval '1 minute';
    IF FOUND THEN
        PERFORM count_one('expiry');
        COMMIT;
        FOR i IN 1 .. 100 LOOP
            EXIT WHEN (SELECT waiting FROM sync_retry_pending(1 + below(20))) = 0;
            COMMIT;
        END LOOP;
    END IF;
    COMMIT;
    FOR f IN SELECT * FROM fleet ORDER BY random() LOOP
        WHILE take_page(f.id, 1 + below(20)) LOOP COMMIT; END LOOP;
        COMMIT;
        seen := device.vector(f.id);
        PERFORM sync_ack(f.id, seen::version_vector);       -- one that was expired is back
        n := device.pull(f.id);
        IF n <> 0 THEN
            INSERT INTO failure (what) VALUES (format('%s is not at rest: %s more changes, vector %s, then %s', f.id, n, seen, device.vector(f.id)));
        END IF;
    END LOOP;
    CALL inspect();
END $$;

CREATE PROCEDURE inspect() LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO failure (what)
    WITH should AS (
        SELECT f.id, r.name, r.line FROM fleet f JOIN offline_sync.device_scope d ON d.device = f.id AND d.can_pull JOIN server_row r ON r.scope = d.scope
    ), holds AS (
        SELECT f.id, t.name, line(r.cells) FROM fleet f, unnest('{project,task,word,account,newcomer}'::text[]) AS t(name), device.rows(f.id, t.name) AS r
    )
    SELECT 'lacks ' || x::text FROM (SELECT * FROM should EXCEPT ALL SELECT * FROM holds) x
    UNION ALL SELECT 'should not have ' || x::text FROM (SELECT * FROM holds EXCEPT ALL SELECT * FROM should) x;

    INSERT INTO failure (what)
    WITH added AS (
        SELECT (o.change -> 'key' ->> 'id')::int AS id,
               coalesce(o.change -> 'insert' ->> 'balance', o.change -> 'increment' ->> 'balance')::int AS amount
        FROM device.outbox o JOIN offline_sync.device d USING (device)
        WHERE o.change ->> 'table' = 'account' AND o.seq <= d.acked_seq
            AND NOT EXISTS (SELECT FROM offline_sync.journal j, jsonb_array_elements(j.outcomes) r
                            WHERE j.device = o.device AND j.last_seq > 0 AND (r ->> 'seq')::bigint = o.seq AND r ->> 'outcome' = 'rejected')
        UNION ALL SELECT * FROM ledger
    )
    SELECT format('account %s has %s instead of %s', a.id, a.balance, x.amount)
    FROM account a LEFT JOIN (SELECT id, sum(amount) AS amount FROM added GROUP BY 1) x USING (id) WHERE a.balance <> coalesce(x.amount, 0);

    INSERT INTO failure (what)
    SELECT format('%s: %s acknowledged, %s in the journal, %s written, %s settled, %s in the vector', f.id, d.acked_seq, s.seqs, r.last_seq, o.settled, v.own)
    FROM fleet f JOIN offline_sync.device d ON d.device = f.id JOIN device.replica r ON r.device = f.id,
        LATERAL (SELECT coalesce(range_agg(int8range(first_seq, last_seq, '[]')), '{}') AS seqs, coalesce(sum(last_seq - first_seq + 1), 0) AS n
                 FROM offline_sync.journal j WHERE j.device = f.id AND last_seq > 0) s,
        LATERAL (SELECT count(*) AS settled FROM device.outbox o WHERE o.device = f.id AND is_settled) o,
        LATERAL (SELECT device.vector_get(r.vector, f.id) AS own) v
    WHERE s.n <> d.acked_seq OR s.seqs <> CASE WHEN s.n = 0 THEN '{}' ELSE int8multirange(int8range(1, d.acked_seq, '[]')) END
        OR d.acked_seq <> r.last_seq OR o.settled <> r.last_seq OR v.own <> r.last_seq;
END $$;

-- A history: a fleet of its own on the tables as they are
CREATE PROCEDURE history(ordinal int, seed float8, steps int, rests int) LANGUAGE plpgsql AS $$
DECLARE f fleet;
BEGIN
    PERFORM setseed(seed);
    IF EXISTS (SELECT FROM failure) THEN RETURN; END IF;
    PERFORM sync_revoke_device(id) FROM fleet;
    DELETE FROM fleet;
    DELETE FROM absent;
    DELETE FROM sent;
    FOR i IN 1 .. 6 + below(5) LOOP
        INSERT INTO fleet VALUES (i, format('00000000-0000-4000-8%s-%s', lpad(ordinal::text, 3, '0'), lpad(i::text, 12, '0'))::uuid) RETURNING * INTO f;
        PERFORM sync_register_device(f.id, array_remove(ARRAY['', CASE WHEN chance(0.7) THEN 'a' END, CASE WHEN chance(0.7) THEN 'b' END, CASE WHEN chance(0.4) THEN 'c' END], NULL)),
            device.start(f.id);
        COMMIT;
    END LOOP;
    IF cleans() THEN
        INSERT INTO absent SELECT 50 + i, format('00000000-0000-4000-8%s-%s', lpad(ordinal::text, 3, '0'), lpad((50 + i)::text, 12, '0'))::uuid FROM generate_series(1, 2) AS i;
        PERFORM sync_register_device(id, array_remove(ARRAY['', 'a', CASE WHEN chance(0.5) THEN 'b' END], NULL)), device.start(id) FROM absent;
        COMMIT;
    END IF;
    FOR i IN 1 .. rests LOOP
        CALL live(steps);
        EXIT WHEN EXISTS (SELECT FROM failure);
        -- who was never seen comes, or expires
        WITH come AS (DELETE FROM absent WHERE i = rests OR chance(0.3) RETURNING n, id)
        INSERT INTO fleet SELECT * FROM come;
        UPDATE offline_sync.device d SET registered_at = now() - interval '1 year' FROM absent x WHERE x.id = d.device AND chance(0.3);
        COMMIT;
        CALL rest();
        -- somebody new, with everything
        INSERT INTO fleet VALUES (100 + i, format('00000000-0000-4000-8%s-%s', lpad(ordinal::text, 3, '0'), lpad((100 + i)::text, 12, '0'))::uuid) RETURNING * INTO f;
        PERFORM sync_register_device(f.id, '{"",a,b,c}'), device.start(f.id), device.pull(f.id, 1 + below(20));
        CALL inspect();
        IF i > 1 THEN
            DELETE FROM sent s USING fleet x WHERE x.n = 99 + i AND s.device = x.id AND cleans();
            PERFORM sync_revoke_device(id) FROM fleet WHERE n = 99 + i AND cleans();
            DELETE FROM fleet WHERE n = 99 + i;
        END IF;
        COMMIT;
        IF cleans() AND (i = rests OR chance(0.6)) THEN CALL clean_up_at_rest(); END IF;
        COMMIT;
        EXIT WHEN EXISTS (SELECT FROM failure);
    END LOOP;
END $$;

SELECT format('CALL history(%s, %s, %s, %s)', n, seed, :'steps', :'rests') FROM string_to_table(:'seeds', ',') WITH ORDINALITY AS s(seed, n) \gexec

SELECT is(count(*), 0::bigint, 'everybody is right whenever everything is at rest') FROM failure;
SELECT diag(what) FROM failure ORDER BY n LIMIT 20;
SELECT cmp_ok(count(*), '>', 15::bigint, 'all kinds of things happened') FROM tally;
SELECT cmp_ok(count(*), '>', 0::bigint, 'there were conflicts') FROM offline_sync.conflict;
SELECT ok(coalesce(n, 0) > 0, format('clean-up: %s', w.what)) FROM unnest('{change_log,fence}'::text[]) AS w(what)
    LEFT JOIN tally ON tally.what = 'cleaned ' || w.what WHERE cleans();
SELECT diag(string_agg(what || ' ' || n, ', ' ORDER BY n DESC)) FROM tally;
SELECT * FROM finish();
