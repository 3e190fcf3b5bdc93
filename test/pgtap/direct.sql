-- A plain table is accessed without statements, one with triggers by statements.  Two
-- sets of tables, equal but for a trigger that does nothing, get the same pushes: the
-- answers, rows and clocks must be equal.
--
-- The seed is printed.  To run it again:  PGOPTIONS='-c test.seed=0.42'
\set ON_ERROR_STOP on
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pgtap;
CREATE EXTENSION IF NOT EXISTS offline_sync;
SELECT plan(7);

SELECT coalesce(nullif(current_setting('test.seed', true), ''), round(random()::numeric, 6)::text)::float8 AS seed \gset
SELECT diag('seed ' || :'seed');
SELECT setseed(:'seed') \g /dev/null
-- a change that waits is tried again at any occasion, or not: answers would differ
SET offline_sync.pending_timeout = 0;

CREATE DOMAIN small AS int CHECK (VALUE < 100);
CREATE DOMAIN given AS int NOT NULL DEFAULT 3;
CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
CREATE FUNCTION make(side text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format($q$
        CREATE SCHEMA %1$I;
        CREATE TABLE %1$I.parent (id int PRIMARY KEY, name text);
        CREATE TABLE %1$I.child (id int PRIMARY KEY, up int REFERENCES %1$I.parent ON DELETE SET NULL, note text);
        CREATE TABLE %1$I.item (
            a int, b text COLLATE "C", gone text, n small, code int UNIQUE, made serial,
            word varchar(5) DEFAULT 'def', twice int GENERATED ALWAYS AS (n * 2) STORED, hits int, tags orset, body text,
            CHECK (n > -5), EXCLUDE USING btree (body WITH =), PRIMARY KEY (b, a));
        ALTER TABLE %1$I.item DROP COLUMN gone;
        CREATE INDEX ON %1$I.item (lower(word)) WHERE n IS NOT NULL;
        CREATE TABLE %1$I.strict (id int PRIMARY KEY, req given, v int);
        SELECT sync_enable_table('%1$I.parent'), sync_enable_table('%1$I.child'), sync_enable_table('%1$I.strict'),
               sync_enable_table('%1$I.item', policies => '{"hits": "counter", "word": "max"}', options => '{"audit": "full"}')$q$, side);
END $$;
SELECT make('plain') \g /dev/null
SELECT make('stated') \g /dev/null
CREATE TRIGGER nothing AFTER INSERT OR UPDATE OR DELETE ON stated.parent FOR EACH ROW EXECUTE FUNCTION nothing();
CREATE TRIGGER nothing AFTER INSERT OR UPDATE OR DELETE ON stated.child FOR EACH ROW EXECUTE FUNCTION nothing();
CREATE TRIGGER nothing AFTER INSERT OR UPDATE OR DELETE ON stated.item FOR EACH ROW EXECUTE FUNCTION nothing();
CREATE TRIGGER nothing AFTER INSERT OR UPDATE OR DELETE ON stated.strict FOR EACH ROW EXECUTE FUNCTION nothing();
-- a device and side
SELECT sync_register_device(format('%s0000000-0000-4000-8000-00000000000%s', d, s)::uuid)
FROM generate_series(1, 3) d, generate_series(1, 2) s \g /dev/null

CREATE FUNCTION pick(VARIADIC choices text[]) RETURNS text LANGUAGE sql VOLATILE AS $$
    SELECT choices[1 + floor(random() * cardinality(choices))::int] $$;
CREATE FUNCTION some_change(seq int) RETURNS text LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    kind text := pick('insert', 'insert', 'set', 'set', 'delete', 'increment', 'add');
    tab text := pick('parent', 'child', 'child', 'item', 'item', 'item', 'item', 'strict');
    key text; cells text;
BEGIN
    key := CASE tab WHEN 'item' THEN format('{"b": "%s", "a": %s}', pick('k', 'l'), pick('1', '2', '3'))
           ELSE format('{"id": %s}', pick('1', '2', '3', '4')) END;
    IF tab <> 'item' AND kind IN ('increment', 'add') THEN
        kind := 'set';
    END IF;
    cells := CASE
        WHEN kind = 'delete' THEN 'true'
        WHEN kind = 'increment' THEN '{"hits": 2}'
        WHEN kind = 'add' THEN format('{"tags": ["%s"]}', pick('x', 'y'))
        WHEN tab = 'parent' THEN format('{"name": "%s"}', pick('p', 'q'))
        WHEN tab = 'child' THEN format('{"up": %s, "note": "%s"}', pick('1', '2', '3', 'null'), pick('p', 'q'))
        WHEN tab = 'strict' THEN pick('{"v": 1}', '{"v": 2, "req": 9}', '{"req": null}')
        ELSE (SELECT '{' || string_agg(cell, ', ') || '}'
              FROM (VALUES (format('"n": %s', pick('1', '2', '99', '100', '-9', 'null'))), (format('"code": %s', pick('1', '2', '3', 'null'))),
                           (format('"word": "%s"', pick('a', 'bb', 'toolong'))), (format('"body": "%s"', pick('s', 't', 'u'))),
                           ('"tags": ["x"]')) v(cell)
              WHERE random() < 0.5 OR cell LIKE '"code%') END;
    RETURN format('{"seq": %s, "hlc": "2026-01-01T%s:00:00.000Z/0", "table": "@side@.%s", "key": %s, "%s": %s%s}',
                  seq, lpad(pick('1', '2', '3'), 2, '0'), tab, key, kind, cells, CASE WHEN random() < 0.3 THEN format(', "group": %s', 1 + seq / 2) END);
END $$;

-- Answers and rows without what must differ: names of the sides, ids, times
CREATE TABLE answer (n int, side text, answer text);
CREATE FUNCTION plain_text(j text) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT regexp_replace(regexp_replace(replace(replace($1, 'stated', 'plain'), '000000000002', '000000000001'),
                                         '2026-[0-9T:.-]*Z/[0-9]+|"hlc": "[^"]*"', '', 'g'), '"made": ?[0-9]+', '', 'g') $$;
CREATE PROCEDURE push_all(pushes int) LANGUAGE plpgsql AS $$
DECLARE
    d int; changes text; seqs int[] := '{1,1,1}'; n int; i int; side text;
BEGIN
    FOR i IN 1 .. pushes LOOP
        d := 1 + floor(random() * 3);
        n := CASE WHEN random() < 0.3 THEN 1 ELSE 1 + floor(random() * 12) END;
        SELECT string_agg(some_change(seqs[d] + k), ', ' ORDER BY k) INTO changes FROM generate_series(0, n - 1) k;
        FOREACH side IN ARRAY '{plain,stated}'::text[] LOOP
            INSERT INTO answer
            SELECT i, side, plain_text(concat_ws(' ', a.status, a.applied, a.merged, a.superseded, a.rejected, a.deferred, a.conflicts,
                                              (SELECT jsonb_agg(e.o - 'detail' ORDER BY e.at) FROM jsonb_array_elements(a.outcomes) WITH ORDINALITY e (o, at)), a.corrections))
            FROM sync_apply_delta(format('{"format": 1, "replica": "%s0000000-0000-4000-8000-00000000000%s", "changes": [%s]}',
                                         d, CASE side WHEN 'plain' THEN 1 ELSE 2 END, replace(changes, '@side@', side))::delta) a;
            COMMIT;
        END LOOP;
        seqs[d] := seqs[d] + n;
        -- SQL in between, now and then
        IF random() < 0.2 THEN
            n := 1 + floor(random() * 4);
            FOREACH side IN ARRAY '{plain,stated}'::text[] LOOP
                EXECUTE format('INSERT INTO %I.parent VALUES (%s, ''sql'') ON CONFLICT (id) DO UPDATE SET name = ''sql''', side, n);
                COMMIT;
            END LOOP;
        END IF;
    END LOOP;
END $$;
CALL push_all(300);

SELECT is(string_agg(p.n::text, ' ' ORDER BY p.n), NULL, 'answers are equal')
FROM answer p JOIN answer s USING (n) WHERE p.side = 'plain' AND s.side = 'stated' AND p.answer <> s.answer;
SELECT diag(E'first difference:\n' || p.answer || E'\n' || s.answer)
FROM answer p JOIN answer s USING (n) WHERE p.side = 'plain' AND s.side = 'stated' AND p.answer <> s.answer ORDER BY n LIMIT 1;
SELECT cmp_ok(count(*) FILTER (WHERE answer LIKE 'partial%'), '>', 30::bigint, 'many changes were refused') FROM answer;

CREATE FUNCTION clock_of(side text, clock row_clock, tab text) RETURNS text LANGUAGE sql AS $$
    SELECT string_agg(concat_ws(' ', column_name, CASE WHEN replica = node THEN 'node' ELSE left(replica::text, 1) END), ',' ORDER BY column_name)
    FROM row_clock_entries(format('%I.%I', side, tab)::regclass, clock) $$;
SELECT results_eq($$SELECT id, name, clock_of('plain', _sync, 'parent') FROM plain.parent ORDER BY 1$$,
                  $$SELECT id, name, clock_of('stated', _sync, 'parent') FROM stated.parent ORDER BY 1$$, 'parents are equal');
SELECT results_eq($$SELECT id, up, note, clock_of('plain', _sync, 'child') FROM plain.child ORDER BY 1$$,
                  $$SELECT id, up, note, clock_of('stated', _sync, 'child') FROM stated.child ORDER BY 1$$, 'children are equal');
SELECT results_eq($$SELECT a, b, n, code, word, twice, hits, tags::text[], body, clock_of('plain', _sync, 'item') FROM plain.item ORDER BY 2, 1$$,
                  $$SELECT a, b, n, code, word, twice, hits, tags::text[], body, clock_of('stated', _sync, 'item') FROM stated.item ORDER BY 2, 1$$, 'items are equal');
SELECT results_eq($$SELECT id, req::int, v, clock_of('plain', _sync, 'strict') FROM plain.strict ORDER BY 1$$,
                  $$SELECT id, req::int, v, clock_of('stated', _sync, 'strict') FROM stated.strict ORDER BY 1$$, 'rows of a type that objects to NULL are equal');

-- and so is the log: other devices hear of the same rows
CREATE FUNCTION served(side int) RETURNS SETOF text LANGUAGE sql AS $$
    SELECT DISTINCT plain_text(concat_ws(' ', c.table_name, c.key, c.kind))
    FROM sync_changes_since(format('10000000-0000-4000-8000-00000000000%s', side)::uuid, '{}', 100000) d, delta_changes(d) c
    WHERE c.table_name LIKE CASE side WHEN 1 THEN 'plain%' ELSE 'stated%' END $$;
SELECT set_eq('SELECT served(1)', 'SELECT served(2)', 'a new device is told of the same rows');
SELECT * FROM finish();
