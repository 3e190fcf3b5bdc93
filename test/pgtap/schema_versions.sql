-- Devices of several versions of an application share a table whose columns are added,
-- renamed, dropped and given other types while they write.  From time to time everything
-- comes to rest: then every device must hold the server's rows in its own words.
--
-- The seeds are printed.  To run a history again:
--   PGOPTIONS='-c test.seed=0.42 -c test.steps=400'
\set ON_ERROR_STOP on
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pgtap;
CREATE EXTENSION IF NOT EXISTS offline_sync;
\ir ../device.sql
SELECT plan(4);

SELECT coalesce(nullif(current_setting('test.seed', true), ''), round(random()::numeric, 6)::text) AS seed,
       coalesce(nullif(current_setting('test.steps', true), ''), '250') AS steps \gset
SELECT diag('seed ' || :'seed');

-- What each version calls the columns; the test's own record.  Column 0 is the key.
CREATE TABLE layout (version int, col int, name text NOT NULL, type text NOT NULL, PRIMARY KEY (version, col));
CREATE TABLE fleet (n int PRIMARY KEY, id uuid NOT NULL, version int NOT NULL);
CREATE TABLE event (n int GENERATED ALWAYS AS IDENTITY, happened text);
CREATE TABLE tally (what text PRIMARY KEY, n int NOT NULL);
CREATE TABLE failure (what text);

CREATE TABLE thing (id int PRIMARY KEY, a int, b text, c int DEFAULT 3);
INSERT INTO thing SELECT n, n, n FROM generate_series(1, 5) n;
INSERT INTO layout VALUES (1, 0, 'id', 'int'), (1, 1, 'a', 'int'), (1, 2, 'b', 'text'), (1, 3, 'c', 'int');
SELECT sync_enable_table('thing') \g /dev/null
INSERT INTO fleet SELECT n, format('d0000000-0000-4000-8000-%s', lpad(n::text, 12, '0'))::uuid, 1 FROM generate_series(1, 4) n;
SELECT sync_register_device(id), device.start(id) FROM fleet \g /dev/null

CREATE FUNCTION present() RETURNS int LANGUAGE sql STABLE AS $$ SELECT max(version) FROM layout $$;
CREATE FUNCTION dice(sides int) RETURNS int LANGUAGE sql VOLATILE AS $$ SELECT floor(random() * sides)::int $$;
CREATE FUNCTION note(what text) RETURNS void LANGUAGE sql AS $$
    INSERT INTO event (happened) VALUES (what);
    INSERT INTO tally VALUES (split_part(what, ' ', 1), 1) ON CONFLICT (what) DO UPDATE SET n = tally.n + 1 $$;

-- ---------------------------------------------------------------------- the schema

CREATE FUNCTION next_layout(changed int, new_name text, new_type text) RETURNS void LANGUAGE sql AS $$
    INSERT INTO layout
    SELECT present() + 1, col, CASE WHEN col = changed THEN coalesce(new_name, name) ELSE name END,
           CASE WHEN col = changed THEN coalesce(new_type, type) ELSE type END
    FROM layout WHERE version = present() $$;
CREATE FUNCTION rename(which int, new_name text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('ALTER TABLE thing RENAME %I TO %I', (SELECT name FROM layout WHERE version = present() AND col = which), new_name);
    PERFORM note('rename ' || which || ' to ' || new_name);
    PERFORM next_layout(which, new_name, NULL);
END $$;
CREATE FUNCTION free_name() RETURNS text LANGUAGE sql VOLATILE AS $$
    SELECT chr(97 + n) FROM generate_series(0, 8) n
    WHERE chr(97 + n) NOT IN (SELECT name FROM layout WHERE version = present()) ORDER BY random() LIMIT 1 $$;

CREATE FUNCTION change_schema() RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    columns int := (SELECT count(*) FROM layout WHERE version = present() AND col > 0);
    c layout;
    d layout;
    name text := free_name();
    type text := (ARRAY['int', 'text'])[1 + dice(2)];
    n int := (SELECT max(col) + 1 FROM layout);
BEGIN
    SELECT * INTO c FROM layout WHERE version = present() AND col > 0 ORDER BY random() LIMIT 1;
    SELECT * INTO d FROM layout WHERE version = present() AND col > 0 AND col <> c.col ORDER BY random() LIMIT 1;
    CASE dice(6)
    WHEN 0, 1 THEN
        IF columns < 7 THEN
            EXECUTE format('ALTER TABLE thing ADD %I %s %s', name, type, (ARRAY['', 'DEFAULT 7'])[1 + dice(2)]);
            PERFORM note('add ' || n || ' as ' || name || ' ' || type);
            PERFORM next_layout(NULL, NULL, NULL);
            INSERT INTO layout VALUES (present(), n, name, type);
        END IF;
    WHEN 2 THEN
        IF columns > 2 THEN
            EXECUTE format('ALTER TABLE thing DROP %I', c.name);
            PERFORM note('drop ' || c.col);
            PERFORM next_layout(NULL, NULL, NULL);
            DELETE FROM layout WHERE version = present() AND col = c.col;
        END IF;
    WHEN 3 THEN
        PERFORM rename(CASE dice(5) WHEN 0 THEN 0 ELSE c.col END, name);
    WHEN 4 THEN
        PERFORM rename(c.col, name);
        PERFORM rename(d.col, c.name);
        PERFORM rename(c.col, d.name);
    ELSE
        type := CASE c.type WHEN 'int' THEN 'text' ELSE 'int' END;
        EXECUTE format('ALTER TABLE thing ALTER %I TYPE %s USING %1$I::%2$s', c.name, type);
        PERFORM note('retype ' || c.col || ' to ' || type);
        PERFORM next_layout(c.col, NULL, type);
    END CASE;
END $$;

-- ---------------------------------------------------------------------- the writers

-- Some columns of a version with new values, as its types have them.
CREATE FUNCTION some_cells(v int) RETURNS jsonb LANGUAGE sql VOLATILE AS $$
    SELECT coalesce(jsonb_object_agg(name, CASE WHEN r < 0.2 THEN 'null'::jsonb
               WHEN type = 'int' THEN to_jsonb((r * 1000)::int) ELSE to_jsonb(((r * 1000)::int)::text) END), '{}')
    FROM (SELECT l.*, random() AS r FROM layout l WHERE version = v AND col > 0 AND random() < 0.6) s $$;

CREATE FUNCTION device_writes(f fleet) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    key   jsonb := jsonb_build_object((SELECT name FROM layout WHERE version = f.version AND col = 0), 1 + dice(8));
    cells jsonb := some_cells(f.version);
    verb  text := (ARRAY['insert', 'set', 'set', 'set', 'delete'])[1 + dice(5)];
BEGIN
    IF verb = 'set' AND cells = '{}' THEN
        RETURN;
    END IF;
    PERFORM device.write(f.id, 'thing', key, jsonb_build_object(verb, CASE verb WHEN 'delete' THEN 'true' ELSE cells END));
    PERFORM note('write by ' || f.n || ' in ' || f.version || ': ' || verb || ' ' || key || ' ' || cells);
END $$;

CREATE FUNCTION server_writes() RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    key  text := (SELECT name FROM layout WHERE version = present() AND col = 0);
    cell record;
    row_id int := 1 + dice(8);
BEGIN
    PERFORM note('sql ' || row_id);
    IF dice(5) = 0 THEN
        EXECUTE format('DELETE FROM thing WHERE %I = $1', key) USING row_id;
        RETURN;
    END IF;
    EXECUTE format('INSERT INTO thing (%I) VALUES ($1) ON CONFLICT DO NOTHING', key) USING row_id;
    FOR cell IN SELECT * FROM jsonb_each_text(some_cells(present())) LOOP
        EXECUTE format('UPDATE thing SET %I = %L WHERE %I = $1', cell.key, cell.value, key) USING row_id;
    END LOOP;
END $$;

-- Push in the device's version; the answer may be lost.
CREATE FUNCTION device_pushes(f fleet, loses boolean) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    delta  text := device.next_delta(f.id, 3);
    answer jsonb;
BEGIN
    IF delta IS NULL THEN
        RETURN false;
    END IF;
    delta := delta::jsonb || jsonb_build_object('schema_version', f.version);
    SELECT to_jsonb(a) || jsonb_build_object('corrections', a.corrections::text::jsonb) INTO answer FROM sync_apply_delta(delta::delta) a;
    PERFORM note('push by ' || f.n || ' ' || (answer - 'corrections') || CASE WHEN loses THEN ' lost' ELSE '' END);
    IF answer->>'status' NOT IN ('applied', 'partial', 'duplicate')
        OR answer->'outcomes' @> '[{"reason": "unknown_column"}]' OR answer->'outcomes' @> '[{"reason": "bad_value"}]'
        OR answer->'outcomes' @> '[{"reason": "bad_key"}]' THEN
        INSERT INTO failure VALUES ('push by ' || f.n || ': ' || delta || ' ' || answer);
    END IF;
    IF answer->'outcomes' @> '[{"ignored": []}]' THEN
        PERFORM note('ignored');
    END IF;
    IF NOT loses THEN
        PERFORM device.take_answer(f.id, delta, answer);
    END IF;
    RETURN true;
END $$;

CREATE FUNCTION device_pulls(f fleet) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    page text := sync_changes_since(f.id, device.vector(f.id)::version_vector, 1 + dice(4), device.resume(f.id), f.version);
BEGIN
    IF (page::jsonb->>'schema_version')::int <> f.version THEN
        INSERT INTO failure VALUES ('page for ' || f.n || ' is of version ' || (page::jsonb->>'schema_version'));
    END IF;
    PERFORM note('pull by ' || f.n || ' ' || page);
    RETURN device.take_page(f.id, page);
END $$;

-- The device's application is upgraded: it renames and drops what it has.  Values of new
-- columns, and of other types, it expects from the server.
CREATE FUNCTION upgrade(f fleet, to_version int) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    v int;
    moved jsonb;
BEGIN
    PERFORM note('upgrade of ' || f.n || ' to ' || to_version);
    FOR v IN f.version + 1 .. to_version LOOP
        SELECT jsonb_object_agg(o.name, n.name) INTO moved
            FROM layout o JOIN layout n ON n.version = v AND n.col = o.col WHERE o.version = v - 1;
        UPDATE device.base_row b
            SET key = (SELECT jsonb_object_agg(moved->>k.key, k.value) FROM jsonb_each(b.key) k),
                cells = coalesce((SELECT jsonb_object_agg(moved->>c.key, c.value) FROM jsonb_each(b.cells) c WHERE moved ? c.key), '{}')
            WHERE b.device = f.id;
    END LOOP;
    UPDATE fleet SET version = to_version WHERE n = f.n;
END $$;

-- ---------------------------------------------------------------------- at rest

-- Rows in the words of a version, as far as its columns are still there; NULL the same as nothing.
CREATE FUNCTION line(row_cells jsonb, v int, by_name int) RETURNS text LANGUAGE sql AS $$
    SELECT string_agg(l.name || '=' || (row_cells->>w.name), ' ' ORDER BY l.name)
    FROM layout l JOIN layout w ON w.version = by_name AND w.col = l.col
    JOIN layout now ON now.version = present() AND now.col = l.col
    WHERE l.version = v AND row_cells->>w.name IS NOT NULL $$;

CREATE PROCEDURE rest() LANGUAGE plpgsql AS $$
DECLARE
    f fleet;
    round int;
BEGIN
    FOR round IN 1 .. 2 LOOP
        FOR f IN SELECT * FROM fleet ORDER BY n LOOP
            PERFORM device.take_hello(f.id, h.acked_seq) FROM sync_hello(f.id) h;
            WHILE device_pushes(f, false) LOOP COMMIT; END LOOP;
            WHILE device_pulls(f) LOOP COMMIT; END LOOP;
            COMMIT;
        END LOOP;
    END LOOP;
    FOR f IN SELECT * FROM fleet LOOP
        INSERT INTO failure
        SELECT format('device %s in version %s: %s <> %s', f.n, f.version, s.line, d.line)
        FROM (SELECT line(to_jsonb(t), f.version, present()) FROM thing t) s(line)
        FULL JOIN (SELECT line(r.cells, f.version, f.version) FROM device.rows(f.id, 'thing') r) d(line) ON d.line = s.line
        WHERE d.line IS NULL OR s.line IS NULL;
        IF device_pulls(f) OR (SELECT happened LIKE '%"changes":[{%' FROM event ORDER BY n DESC LIMIT 1) THEN
            INSERT INTO failure VALUES ('device ' || f.n || ' is not at rest');
        END IF;
    END LOOP;
    PERFORM note('rest');
END $$;

CREATE PROCEDURE run(steps int) LANGUAGE plpgsql AS $$
DECLARE
    f fleet;
BEGIN
    FOR step IN 1 .. steps LOOP
        SELECT * INTO f FROM fleet ORDER BY random() LIMIT 1;
        CASE dice(20)
        WHEN 0, 1, 2, 3, 4, 5, 6 THEN
            PERFORM device_writes(f);
        WHEN 7, 8, 9 THEN
            PERFORM device_pushes(f, dice(4) = 0);
        WHEN 10, 11, 12 THEN
            PERFORM device_pulls(f);
        WHEN 13, 14, 15 THEN
            PERFORM server_writes();
        WHEN 16, 17 THEN
            PERFORM change_schema();
        ELSE
            -- what waits was written in the old words, and goes out in them
            WHILE device_pushes(f, false) LOOP COMMIT; END LOOP;
            IF f.version < present() THEN
                PERFORM upgrade(f, f.version + 1 + dice(present() - f.version));
            END IF;
        END CASE;
        COMMIT;
        IF step % 50 = 0 OR step = steps THEN
            CALL rest();
            COMMIT;
        END IF;
        EXIT WHEN EXISTS (SELECT FROM failure);
    END LOOP;
END $$;

SELECT setseed(:'seed') \g /dev/null
CALL run(:steps);

SELECT diag(string_agg(what || ': ' || n, ', ' ORDER BY what)) FROM tally;
SELECT diag(what) FROM failure LIMIT 5;
SELECT is((SELECT count(*) FROM failure), 0::bigint, 'old and new devices and the server agree');
SELECT is((SELECT schema_version FROM sync_hello((SELECT id FROM fleet WHERE n = 1))), present(), 'each command made one version');
SELECT results_eq(
    $$SELECT DISTINCT version FROM sync_schema_versions ORDER BY 1$$, $$SELECT DISTINCT version FROM layout WHERE version > 1 ORDER BY 1$$,
    'and each is in the history');
SELECT ok((SELECT count(*) FROM tally WHERE what IN ('rename', 'upgrade', 'write', 'sql')) = 4, 'there was something to agree about');
SELECT * FROM finish();
