--
-- What a device should hold, as a hash that it can compute over its own rows
--
\set VERBOSITY terse
SET client_min_messages = warning;
\getenv abs_srcdir PG_ABS_SRCDIR
\set device_sql :abs_srcdir '/test/device.sql'
\set ECHO none
\i :device_sql
\set ECHO all
CREATE ROLE regress_sync_ann;
CREATE FUNCTION id(d text) RETURNS uuid LANGUAGE sql IMMUTABLE AS
$$ SELECT ('00000000-0000-0000-0000-00000000000' || d)::uuid $$;

-- --------------------------------------------------------------------------
-- The client's side, in SQL that needs nothing of the extension
-- --------------------------------------------------------------------------
-- Members in order of their names; numbers without zeros that say nothing
CREATE FUNCTION canonical(v jsonb) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    CASE jsonb_typeof(v)
        WHEN 'object' THEN
            RETURN '{' || coalesce((SELECT string_agg(to_json(k) || ':' || canonical(e), ',' ORDER BY k COLLATE "C") FROM jsonb_each(v) AS m (k, e)), '') || '}';
        WHEN 'array' THEN
            RETURN '[' || coalesce((SELECT string_agg(canonical(e), ',' ORDER BY n) FROM jsonb_array_elements(v) WITH ORDINALITY AS m (e, n)), '') || ']';
        WHEN 'number' THEN RETURN trim_scale(v::numeric);
        ELSE RETURN v;
    END CASE;
END $$;
CREATE FUNCTION row_bytes(table_name text, key jsonb, cells jsonb) RETURNS text LANGUAGE sql IMMUTABLE AS $$
SELECT '{"table":' || to_json(table_name) || ',"key":' || canonical(key) || ',"insert":'
    || canonical((SELECT coalesce(jsonb_object_agg(k, c), '{}') FROM jsonb_each(cells) AS m (k, c) WHERE c <> 'null')) || '}' $$;
CREATE FUNCTION key_bytes(table_name text, key jsonb) RETURNS text LANGUAGE sql IMMUTABLE AS
$$ SELECT '{"table":' || to_json(table_name) || ',"key":' || canonical(key) || '}' $$;
CREATE FUNCTION hash(bytes text) RETURNS text LANGUAGE sql IMMUTABLE AS
$$ SELECT encode(sha256(convert_to(bytes, 'UTF8')), 'hex') $$;
-- four sums of 32-bit words, modulo 2^32
CREATE FUNCTION digest(hashes text[]) RETURNS text LANGUAGE sql IMMUTABLE AS $$
SELECT string_agg(lpad(to_hex(s % 4294967296), 8, '0'), '' ORDER BY i)
FROM (SELECT i, coalesce(sum(('x' || substr(h, 8 * i + 1, 8))::bit(32)::bigint), 0)::bigint AS s
      FROM generate_series(0, 3) AS i LEFT JOIN unnest(hashes) AS h ON true GROUP BY i) AS words $$;
-- what the device has of a scope
CREATE FUNCTION holds(d text, scope text) RETURNS TABLE (table_name text, key jsonb, cells jsonb) LANGUAGE sql STABLE AS $$
SELECT b.table_name, b.key, b.cells FROM device.base_row AS b WHERE b.device = id(d)
AND CASE WHEN b.table_name = 'meeting' THEN b.cells ->> 'team' = scope ELSE scope = '' END $$;
CREATE FUNCTION client_digest(d text, scope text) RETURNS text LANGUAGE sql STABLE AS
$$ SELECT digest(coalesce(array_agg(hash(row_bytes(table_name, key, cells))), '{}')) FROM holds(d, scope) $$;
-- both sides
CREATE FUNCTION compare(d text, scope text) RETURNS TABLE (is_same boolean, row_count bigint, held bigint, waiting int) LANGUAGE sql VOLATILE AS
$$ SELECT s.digest = client_digest(d, scope), s.row_count, (SELECT count(*) FROM holds(d, scope)), s.waiting FROM sync_digest(id(d), scope) AS s $$;

-- --------------------------------------------------------------------------
CREATE TABLE meeting (
    id int PRIMARY KEY, team text, title text, starts_at timestamptz, seats int NOT NULL DEFAULT 0, is_open boolean,
    attendees orset NOT NULL DEFAULT '{}', info jsonb, price numeric, ratio float8, photo bytea, big bigint);
SELECT sync_enable_table('meeting', scope => 'team', policies => '{"seats": "counter"}');
CREATE TABLE "od""d" ("k 2" text, k1 uuid, "Ä" text, "z" interval, a json, PRIMARY KEY ("k 2", k1));
SELECT sync_enable_table('"od""d"', options => '{"name": "odd \"one\""}');
CREATE TABLE child (id int PRIMARY KEY, meeting int REFERENCES meeting, note text);
SELECT sync_enable_table('child');
INSERT INTO meeting SELECT n, CASE WHEN n % 3 = 0 THEN 'b' ELSE 'a' END, 'title ' || n, '2026-01-01 10:00+02'::timestamptz + n * interval '1 day', n, n % 2 = 0,
    ARRAY['x' || n, 'ä', 'b"c']::orset, jsonb_build_object('long name', n, 'b', ARRAY[1.50, 2], 'a', NULL, 'é', E'line\n'), n * 1.10, n / 3.0, '\xdead', 9007199254740993 + n
FROM generate_series(1, 30) AS n;
INSERT INTO meeting (id, team, title, info) VALUES (31, 'a', E'odd \\ " \t \x01 \x7f ü', 'null'), (32, 'a', NULL, '{"$json": 1.0}'), (33, NULL, 'in no scope', NULL), (34, 'a', '', '"text"'), (35, 'a', '0', '12.500'), (36, 'a', 'x', '{"$json": 1, "x": {"bb": {}, "c": []}}'), (37, 'a', 'x', '[{"b": 1e3, "a": 0.00}]');
INSERT INTO "od""d" VALUES ('k', '5C1E0C3A-0000-4000-8000-000000000001', 'ü', '1 day 02:00', '{"b": 1,  "a": 1.0}'), ('', '5c1e0c3a-0000-4000-8000-000000000002', NULL, NULL, NULL);
SELECT count(sync_register_device(id(d), scopes => s::text[])) FROM (VALUES ('a', '{"",a,b}'), ('b', '{a}'), ('c', '{b,none}')) AS x (d, s);
SELECT count(device.start(id(d))) FROM unnest('{a,b,c}'::text[]) AS d;

-- Nothing held is nothing
SELECT s.scope, sync_digest(id('c'), s.scope) FROM unnest('{none,a,"",never}'::text[]) AS s (scope);
SELECT * FROM compare('b', 'a');
-- After a pull both sides have the same (but for the column of type json, of which this client does not keep the letters)
SELECT device.pull(id(d), 7) FROM unnest('{a,b,c}'::text[]) AS d;
SELECT * FROM compare('a', 'a');
SELECT * FROM compare('a', 'b');
SELECT * FROM compare('b', 'a');
SELECT * FROM compare('c', 'b');
SELECT (SELECT digest FROM sync_digest(id('a'), '')) = digest(ARRAY[
    hash('{"table":"odd \"one\"","key":{"k 2":"k","k1":"5c1e0c3a-0000-4000-8000-000000000001"},"insert":{"a":{"b": 1,  "a": 1.0},"z":"1 day 02:00:00","Ä":"ü"}}'),
    hash('{"table":"odd \"one\"","key":{"k 2":"","k1":"5c1e0c3a-0000-4000-8000-000000000002"},"insert":{}}')]) AS to_the_letter;
-- Plain SQL over a table as it is
CREATE TABLE plain (id int PRIMARY KEY, body text, done boolean, amount numeric);
SELECT sync_enable_table('plain');
INSERT INTO plain SELECT n, CASE WHEN n % 5 > 0 THEN 'body ' || n END, n % 2 = 0, n / 8.0 FROM generate_series(1, 100) AS n;
DELETE FROM "od""d";
SELECT (SELECT digest FROM sync_digest(id('a'), '')) = digest(array_agg(hash(
    format('{"table":"plain","key":{"id":%s},"insert":{%s}}', id,
           concat_ws(',', '"amount":' || to_json(amount::text), '"body":' || to_json(body), '"done":' || to_json(done)))))) AS same
FROM plain;

-- Neither the order of rows nor settings matter
SELECT digest FROM sync_digest(id('a'), 'a') \gset before_
CREATE INDEX by_title ON meeting (title);
CLUSTER meeting USING by_title;
UPDATE meeting SET photo = photo WHERE id % 2 = 0;
SET DateStyle = 'German'; SET TimeZone = 'Asia/Tokyo'; SET extra_float_digits = 0; SET bytea_output = 'escape'; SET IntervalStyle = 'iso_8601'; SET search_path = pg_catalog;
SELECT digest = :'before_digest' AS same FROM public.sync_digest(public.id('a'), 'a');
RESET DateStyle; RESET TimeZone; RESET extra_float_digits; RESET bytea_output; RESET IntervalStyle; RESET search_path;

-- Every single cell counts, and every row
CREATE FUNCTION unnoticed() RETURNS TABLE (what text) LANGUAGE plpgsql AS $$
DECLARE
    b device.base_row;
    cell record;
    expected text := client_digest('b', 'a');
BEGIN
    FOR b IN SELECT * FROM device.base_row WHERE device = id('b') LOOP
        FOR cell IN SELECT * FROM jsonb_each(b.cells) AS c (name, value) WHERE name <> 'team' LOOP
            UPDATE device.base_row AS r SET cells = r.cells || jsonb_build_object(cell.name, CASE jsonb_typeof(cell.value)
                WHEN 'null' THEN '""' WHEN 'boolean' THEN to_jsonb(NOT cell.value::boolean) WHEN 'number' THEN to_jsonb(cell.value::numeric + 1)
                WHEN 'string' THEN to_jsonb((cell.value #>> '{}') || ' ') WHEN 'array' THEN '["y"]' ELSE cell.value || '{"more": null}' END)
            WHERE r.device = b.device AND r.table_name = b.table_name AND r.key = b.key;
            IF (SELECT digest FROM sync_digest(id('b'), 'a')) = client_digest('b', 'a') THEN
                what := b.key || ' ' || cell.name;
                RETURN NEXT;
            END IF;
            UPDATE device.base_row AS r SET cells = b.cells WHERE r.device = b.device AND r.table_name = b.table_name AND r.key = b.key;
        END LOOP;
        DELETE FROM device.base_row AS r WHERE r.device = b.device AND r.table_name = b.table_name AND r.key = b.key;
        IF (SELECT digest FROM sync_digest(id('b'), 'a')) = client_digest('b', 'a') THEN
            what := b.key || ' missing';
            RETURN NEXT;
        END IF;
        INSERT INTO device.base_row VALUES (b.*);
    END LOOP;
    IF client_digest('b', 'a') <> expected THEN
        what := 'not put back';
        RETURN NEXT;
    END IF;
END $$;
SELECT * FROM unnoticed();
-- and on the server
CREATE FUNCTION unnoticed_here() RETURNS TABLE (what text) LANGUAGE plpgsql AS $$
DECLARE
    column_name text;
    value text;
BEGIN
    FOR column_name, value IN VALUES ('title', '''other'''), ('starts_at', 'starts_at + interval ''1 us'''), ('seats', 'seats + 1'), ('is_open', 'NOT is_open'),
        ('attendees', 'attendees || ''new'''), ('info', 'info || ''{"b": 2}'''), ('price', 'price + 0.001'), ('ratio', 'ratio + 1e-9'), ('photo', 'photo || ''\x00'''), ('big', 'NULL'), ('team', '''b'''), ('id', '1000') LOOP
        BEGIN
            EXECUTE format('UPDATE meeting SET %I = %s WHERE id = 7', column_name, value);
            IF client_digest('b', 'a') = (SELECT digest FROM sync_digest(id('b'), 'a')) THEN
                RAISE EXCEPTION USING ERRCODE = 'UN001';
            END IF;
            RAISE EXCEPTION USING ERRCODE = 'UN002';
        EXCEPTION
            WHEN SQLSTATE 'UN001' THEN what := column_name; RETURN NEXT;
            WHEN SQLSTATE 'UN002' THEN NULL;
        END;
    END LOOP;
END $$;
SELECT * FROM unnoticed_here();
SELECT is_same FROM compare('b', 'a');

-- A mismatch is narrowed down to rows
CREATE FUNCTION differs(d text, scope text) RETURNS TABLE (table_name text, key jsonb, here boolean, there boolean) LANGUAGE sql VOLATILE AS $$
WITH mine AS (SELECT h.*, hash(key_bytes(h.table_name, h.key)) AS key_hash, digest(ARRAY[hash(row_bytes(h.table_name, h.key, h.cells))]) AS digest FROM holds(d, scope) AS h),
    parts AS (SELECT left(key_hash, 2) AS part, digest(array_agg(hash(row_bytes(mine.table_name, mine.key, mine.cells)))) AS digest FROM mine GROUP BY 1),
    wrong AS (SELECT part FROM parts FULL JOIN sync_digest_parts(id(d), scope) AS s USING (part) WHERE parts.digest IS DISTINCT FROM s.digest),
    theirs AS (SELECT r.* FROM wrong, sync_digest_rows(id(d), scope, part) AS r)
SELECT coalesce(m.table_name, t.table_name), coalesce(m.key, t.key), t.key IS NOT NULL, m.key IS NOT NULL
FROM (SELECT mine.* FROM mine JOIN wrong ON wrong.part = left(key_hash, 2)) AS m FULL JOIN theirs AS t ON t.table_name = m.table_name AND t.key = m.key
WHERE t.digest IS DISTINCT FROM m.digest ORDER BY 2 $$;
SELECT * FROM differs('b', 'a');
UPDATE device.base_row SET cells = cells || '{"title": "bit rot"}' WHERE device = id('b') AND key = '{"id": 8}';
DELETE FROM device.base_row WHERE device = id('b') AND key = '{"id": 10}';
INSERT INTO device.base_row SELECT device, table_name, '{"id": 99}', cells FROM device.base_row WHERE device = id('b') AND key = '{"id": 1}';
SELECT * FROM differs('b', 'a');
-- the parts add up, deeper ones too, and say nothing of what is elsewhere
SELECT sum(p.row_count) = min(w.row_count) AS all_rows, count(*) > 10 AS several, bool_and(p.part ~ '^[0-9a-f]{2}$') AS well_named
FROM sync_digest(id('b'), 'a') AS w, sync_digest_parts(id('b'), 'a') AS p;
SELECT bool_and((SELECT sum(row_count) FROM sync_digest_parts(id('b'), 'a', p.part)) = p.row_count
    AND (SELECT count(*) FROM sync_digest_rows(id('b'), 'a', p.part)) = p.row_count
    AND (SELECT bool_and(q.part LIKE p.part || '__') FROM sync_digest_parts(id('b'), 'a', p.part) AS q)) AS fit
FROM sync_digest_parts(id('b'), 'a') AS p;
SELECT r.table_name, r.key FROM sync_digest_rows(id('b'), 'a', hash(key_bytes('meeting', '{"id": 8}'))) AS r;
SELECT count(*) FROM sync_digest_rows(id('b'), 'b');
DELETE FROM device.base_row WHERE device = id('b');
UPDATE device.replica SET vector = '{}', resume = NULL WHERE device = id('b');
SELECT device.pull(id('b')) > 0 AS pulled;
SELECT is_same FROM compare('b', 'a');

-- What a device pushed it holds as it wrote it; jsonb may be spelt in any way
SELECT device.write(id('b'), 'meeting', '{"id": 50}', '{"insert": {"team": "a", "title": "mine", "info": {"b": 1, "aa": [2.0, 1]}, "seats": 3, "attendees": ["y", "z"]}}');
SELECT device.write(id('b'), 'meeting', '{"id": 2}', '{"set": {"info": {"x": 1e2}, "price": "1.50"}, "increment": {"seats": 2}, "add": {"attendees": ["new"]}}');
SELECT device.push(id('b'));
SELECT * FROM differs('b', 'a');
SELECT device.pull(id('b')) >= 0 AS pulled;
SELECT is_same FROM compare('b', 'a');
SELECT cells -> 'info' FROM device.base_row WHERE device = id('b') AND key = '{"id": 2}';

-- A change that waits is held by the device and not yet by the server, which says so
SELECT device.sync(id('a'));
SELECT device.write(id('a'), 'child', '{"id": 1}', '{"insert": {"meeting": 777, "note": "too early"}}');
SELECT device.push(id('a'));
DELETE FROM plain;
SELECT device.pull(id('a')) > 0 AS pulled;
SELECT is_same, row_count, held, waiting FROM compare('a', '');
INSERT INTO meeting VALUES (777, 'a', 'the parent');
SELECT device.sync(id('a'));
SELECT is_same, row_count, held, waiting FROM compare('a', '');

-- --------------------------------------------------------------------------
-- It tells nothing that the device may not pull
-- --------------------------------------------------------------------------
-- a mask: the digest is the same whatever is below it
SELECT sync_register_device(id('d'), scopes => '{b}', class => 'worker');
SELECT device.start(id('d'));
SELECT sync_mask_columns('meeting', '{price}', class => 'worker');
SELECT device.pull(id('d')) > 0 AS pulled;
SELECT is_same FROM compare('d', 'b');
SELECT digest AS d, (SELECT digest FROM sync_digest(id('c'), 'b')) AS c FROM sync_digest(id('d'), 'b') \gset
UPDATE meeting SET price = 1000 WHERE id = 9;
SELECT (SELECT digest FROM sync_digest(id('d'), 'b')) = :'d' AS masked, (SELECT digest FROM sync_digest(id('c'), 'b')) <> :'c' AS seen;
SELECT count(*) FROM device.base_row WHERE device = id('d') AND cells ? 'price';
-- rights on columns and row security are the caller's
SELECT sync_register_device(id('e'), scopes => '{b}', owner => 'regress_sync_ann');
SELECT device.start(id('e'));
GRANT SELECT (_sync, id, team, title) ON meeting TO regress_sync_ann;
CREATE POLICY odd_ones ON meeting FOR SELECT TO regress_sync_ann USING (id % 2 = 1);
ALTER TABLE meeting ENABLE ROW LEVEL SECURITY;
GRANT ALL ON SCHEMA device TO regress_sync_ann;
GRANT ALL ON ALL TABLES IN SCHEMA device TO regress_sync_ann;
SET ROLE regress_sync_ann;
SELECT device.pull(id('e')) > 0 AS pulled;
SELECT is_same, row_count FROM compare('e', 'b');
SELECT DISTINCT jsonb_object_keys(cells) FROM device.base_row WHERE device = id('e') ORDER BY 1;
SELECT bool_and((key ->> 'id')::int % 2 = 1) FROM sync_digest_rows(id('e'), 'b');
SELECT sync_digest(id('a'), 'a');
SELECT sync_digest_parts(id('a'), 'a');
SELECT sync_digest_rows(id('a'), 'a');
RESET ROLE;
REVOKE SELECT (_sync, id, team, title) ON meeting FROM regress_sync_ann;
SET ROLE regress_sync_ann;
SELECT row_count FROM sync_digest(id('e'), 'b');
RESET ROLE;
ALTER TABLE meeting DISABLE ROW LEVEL SECURITY;
-- a scope taken away, a device revoked
SELECT sync_revoke_scope(id('c'), 'b');
SELECT row_count, digest FROM sync_digest(id('c'), 'b');
SELECT sync_grant_scope(id('c'), 'b', pull => false);
SELECT row_count FROM sync_digest(id('c'), 'b');
SELECT sync_revoke_device(id('d'));
SELECT row_count FROM sync_digest(id('d'), 'b');
SELECT count(*) FROM sync_digest_rows(id('d'), 'b');
-- each device in the words of its version
SELECT digest AS old FROM sync_digest(id('b'), 'a', 1) \gset
ALTER TABLE meeting RENAME title TO heading;
ALTER TABLE meeting ADD place text DEFAULT 'here';
ALTER TABLE meeting ALTER big TYPE text;
SELECT digest = :'old' AS same FROM sync_digest(id('b'), 'a', 1);
SELECT digest <> :'old' AS other FROM sync_digest(id('b'), 'a');
SELECT device.pull(id('b')) > 0 AS pulled;
SELECT is_same FROM compare('b', 'a');

-- Malformed calls
SELECT sync_digest(NULL, '');
SELECT sync_digest(id('a'), NULL);
SELECT sync_digest(id('f'), '');
SELECT sync_digest(id('a'), '', 0);
SELECT sync_digest(id('a'), '', 99);
SELECT sync_digest_parts(id('a'), '', 'ABC');
SELECT sync_digest_parts(id('a'), '', repeat('0', 63));
SELECT sync_digest_rows(id('a'), '', repeat('0', 65));
SELECT sync_digest_rows(id('a'), '', '0''');
SELECT count(*) FROM sync_digest_parts(id('a'), 'a', NULL) HAVING count(*) > 1;

DROP OWNED BY regress_sync_ann;
DROP ROLE regress_sync_ann;
