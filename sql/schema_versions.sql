--
-- Devices that speak older versions of the schema: what they push and what they are served
--
\set VERBOSITY terse
SET client_min_messages = warning;
CREATE ROLE regress_sync_worker;
CREATE TABLE dev (n int PRIMARY KEY, seq bigint NOT NULL DEFAULT 0, vector jsonb NOT NULL DEFAULT '{}');
INSERT INTO dev (n) SELECT generate_series(1, 6);
CREATE FUNCTION id(n int) RETURNS uuid LANGUAGE sql IMMUTABLE AS
$$ SELECT format('d0000000-0000-4000-8000-%s', lpad(n::text, 12, '0'))::uuid $$;
SELECT count(sync_register_device(id(n), owner => 'regress_sync_worker')) FROM dev;

-- Push changes, given without seq and hlc, in a version (NULL: not said); what it was answered.
CREATE FUNCTION push(me int, version int, VARIADIC changes jsonb[]) RETURNS TABLE (status text, outcomes jsonb, corrections jsonb)
LANGUAGE plpgsql AS $$
DECLARE
    d dev;
    a record;
BEGIN
    SELECT * INTO d FROM dev WHERE n = me;
    SELECT * INTO a FROM sync_apply_delta((jsonb_strip_nulls(jsonb_build_object('schema_version', version))
        || jsonb_build_object('format', 1, 'replica', id(me), 'context', d.vector, 'changes',
            (SELECT jsonb_agg(jsonb_build_object('seq', d.seq + i, 'hlc', '2026-01-01T00:00:00.000Z/' || d.seq + i)
                              || c ORDER BY i) FROM unnest(changes) WITH ORDINALITY u(c, i))))::text::delta);
    IF a.acked_seq > d.seq THEN
        UPDATE dev SET seq = a.acked_seq, vector = vector || jsonb_build_object(id(me)::text, a.acked_seq) WHERE n = me;
    END IF;
    RETURN QUERY SELECT a.status, (SELECT coalesce(jsonb_agg(o - 'detail'), '[]') FROM jsonb_array_elements(a.outcomes) o), (SELECT jsonb_agg(c - 'hlc') FROM jsonb_array_elements(a.corrections::text::jsonb->'changes') c);
END $$;

-- Pull to the end, three changes a page.
CREATE FUNCTION pull(me int, version int, OUT in_version int, OUT change jsonb) RETURNS SETOF record LANGUAGE plpgsql AS $$
DECLARE
    token text;
    page  jsonb;
BEGIN
    LOOP
        SELECT sync_changes_since(id(me), vector::text::version_vector, 3, token, version)::text::jsonb INTO page FROM dev WHERE n = me;
        FOR change, in_version IN SELECT c - 'hlc', page->'schema_version' FROM jsonb_array_elements(page->'changes') c LOOP
            RETURN NEXT;
        END LOOP;
        token := page->>'resume';
        UPDATE dev SET vector = (page->'to') || CASE WHEN seq = 0 THEN '{}' ELSE jsonb_build_object(id(me)::text, seq) END WHERE n = me;
        EXIT WHEN NOT coalesce((page->>'more')::boolean, false);
    END LOOP;
END $$;
CREATE FUNCTION known_version(me int) RETURNS text LANGUAGE sql AS
$$ SELECT (SELECT max(value) FROM jsonb_each_text(vector) WHERE key LIKE '73636865-6d61-%') FROM dev WHERE n = me $$;
CREATE FUNCTION raised(statement text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE statement;
    RETURN 'nothing';
EXCEPTION WHEN OTHERS THEN
    RETURN sqlstate || ': ' || sqlerrm;
END $$;
CREATE VIEW history AS
SELECT version, table_name, column_name, change, old_name, new_name, old_type, new_type, conversion FROM sync_schema_versions
ORDER BY version, column_name, change;

CREATE TABLE note (id int PRIMARY KEY, a text, b text, n int);
CREATE TABLE other (id int PRIMARY KEY, x text);
GRANT ALL ON note, other TO regress_sync_worker;
INSERT INTO note VALUES (1, 'a1', 'b1', 1), (2, 'a2', 'b2', 2);
SELECT sync_enable_table('note');
SELECT sync_enable_table('other');
SELECT schema_version FROM sync_hello(id(1));
SELECT * FROM pull(1, 1);
SELECT known_version(1);
SELECT push(1, 1, '{"table": "note", "key": {"id": 3}, "insert": {"a": "a3", "b": "b3", "n": 3}}');

-- what is no change of columns makes no version
ALTER TABLE note RENAME TO memo;
ALTER TABLE memo RENAME TO note;
ALTER TABLE note ALTER a TYPE varchar, ALTER a SET DEFAULT 'x';
ALTER TABLE note ALTER a TYPE varchar(50), ALTER a DROP DEFAULT;
SELECT schema_version FROM sync_hello(id(1));    -- text to varchar was one

-- ----------------------------------------------------------------- added
SELECT count(*) AS entries FROM offline_sync.change_log \gset
ALTER TABLE note ADD c text DEFAULT 'c0', ADD d int;
SELECT count(*) - :entries AS written_to_the_log FROM offline_sync.change_log;
SELECT * FROM history;

-- an old device goes on as if nothing had happened
SELECT * FROM push(1, 1, '{"table": "note", "key": {"id": 4}, "insert": {"a": "a4", "b": "b4"}}');
SELECT * FROM push(1, 1, '{"table": "note", "key": {"id": 1}, "set": {"b": "old writes b"}}',
                         '{"table": "note", "key": {"id": 1}, "set": {"c": "it cannot know c"}}');
UPDATE note SET c = 'c3', b = 'sql' WHERE id = 3;
UPDATE note SET c = 'c2' WHERE id = 2;           -- nothing of it is for version 1
SELECT * FROM pull(1, 1);
SELECT known_version(1);
SELECT id, a, b, n, c, d FROM note ORDER BY id;

-- a new device gets all of it; after this it is not brought again
SELECT * FROM pull(2, 3);
SELECT known_version(2);
SELECT * FROM pull(2, 3);
SELECT * FROM push(2, 3, '{"table": "note", "key": {"id": 2}, "set": {"d": 7}}');
SELECT * FROM pull(1, 1);

-- the old device is upgraded: rows whose stamps its vector covers come with the new columns
SELECT * FROM pull(1, 3);
SELECT known_version(1);
SELECT * FROM pull(1, 3);
-- one that goes back and forth
SELECT * FROM pull(1, 1);
SELECT known_version(1);
SELECT count(*) FROM pull(1, 3);

-- --------------------------------------------------- renamed, swapped, reused
ALTER TABLE note RENAME a TO tmp;
ALTER TABLE note RENAME b TO a;
ALTER TABLE note RENAME tmp TO b;
SELECT * FROM push(1, 3, '{"table": "note", "key": {"id": 1}, "set": {"a": "first a", "b": "first b"}}');
SELECT id, b AS first_a, a AS first_b FROM note WHERE id = 1;
SELECT * FROM push(2, 6, '{"table": "note", "key": {"id": 2}, "set": {"a": "second a"}}');
SELECT * FROM pull(1, 3);
SELECT * FROM pull(2, 6);
SELECT known_version(2);                         -- renamed columns are not brought again

-- dropped, and a column of another meaning under its name
ALTER TABLE note DROP a;
ALTER TABLE note ADD a int;
SELECT * FROM push(1, 3, '{"table": "note", "key": {"id": 1}, "set": {"b": "dropped since", "n": 10}}',
                         '{"table": "note", "key": {"id": 2}, "set": {"b": "dropped since"}}',
                         '{"table": "note", "key": {"id": 5}, "insert": {"a": "a5", "b": "b5", "n": 5}}');
SELECT * FROM push(1, 8, '{"table": "note", "key": {"id": 1}, "set": {"a": 11}}');
SELECT * FROM push(1, 7, '{"table": "note", "key": {"id": 1}, "set": {"a": 12}}');
SELECT id, a, b, n FROM note WHERE id IN (1, 2, 5) ORDER BY id;
SELECT * FROM pull(1, 3);
-- resent: the same answer
UPDATE dev SET seq = seq - 5 WHERE n = 1;
SELECT status, outcomes FROM push(1, 3, '{"table": "note", "key": {"id": 1}, "set": {"b": "dropped since", "n": 10}}',
                         '{"table": "note", "key": {"id": 2}, "set": {"b": "dropped since"}}',
                         '{"table": "note", "key": {"id": 5}, "insert": {"a": "a5", "b": "b5", "n": 5}}');
UPDATE dev SET seq = (SELECT acked_seq FROM sync_hello(id(1))) WHERE n = 1;

-- a key column
ALTER TABLE note RENAME id TO number;
SELECT * FROM push(1, 3, '{"table": "note", "key": {"id": 1}, "set": {"n": 13}}',
                         '{"table": "note", "key": {"number": 1}, "set": {"n": 14}}',
                         '{"table": "note", "key": {"id": 2}, "delete": true}',
                         '{"table": "note", "key": {"id": 99}, "set": {"n": 0}}');
UPDATE note SET n = 15 WHERE number = 1;
SELECT * FROM pull(1, 3);
SELECT * FROM pull(2, 9);
-- the answer to a push of version 3 is lost: its row is told in the words asked for
SELECT status FROM push(1, 3, '{"table": "note", "key": {"id": 3}, "set": {"n": 33}}');
UPDATE dev SET vector = vector || jsonb_build_object(id(1)::text, seq - 1), seq = seq - 1 WHERE n = 1;
SELECT * FROM pull(1, NULL);
SELECT * FROM pull(1, NULL);
UPDATE dev SET seq = (SELECT acked_seq FROM sync_hello(id(1))) WHERE n = 1;

-- ------------------------------------------------------------------- retyped
CREATE TABLE item (id int PRIMARY KEY, size int, code text, flag text, doc text, price int);
GRANT ALL ON item TO regress_sync_worker;
SELECT sync_enable_table('item');
INSERT INTO item VALUES (1, 10, '7', 'true', '{"k": 1}', 100);
SELECT schema_version AS before FROM sync_hello(id(3)) \gset
SELECT * FROM pull(3, :before) WHERE change->>'table' = 'item';
ALTER TABLE item ALTER size TYPE text, ALTER code TYPE int USING code::int,
    ALTER flag TYPE boolean USING flag::boolean, ALTER doc TYPE jsonb USING doc::jsonb;
SELECT schema_version - :before AS versions, schema_version AS after FROM sync_hello(id(3)) \gset
SELECT version - :before AS version, column_name, change, old_type, new_type FROM history WHERE version > :before;

-- by the text of the value
SELECT * FROM push(3, :before, '{"table": "item", "key": {"id": 2}, "insert": {"size": 20, "code": "8", "flag": "false", "doc": "{\"k\": 2}"}}',
                               '{"table": "item", "key": {"id": 3}, "insert": {"size": 30, "code": "nine"}}',
                               '{"table": "item", "key": {"id": 4}, "insert": {"doc": "no json", "size": 40}}',
                               '{"table": "item", "key": {"id": 1}, "set": {"code": "07", "flag": null}}');
SELECT id, size, code, flag, doc FROM item ORDER BY id;
UPDATE item SET size = '3 inches', code = 9, flag = true WHERE id = 1;
UPDATE item SET size = '21', doc = '[1, 2]' WHERE id = 2;
SELECT * FROM pull(3, :before);
SELECT * FROM pull(4, :after) WHERE change->>'table' = 'item';

-- by registered functions: prices are in cents from now on, kept in their own type
CREATE TYPE cents AS (amount int);
CREATE FUNCTION to_cents(euro int) RETURNS cents LANGUAGE plpgsql IMMUTABLE STRICT AS $$
BEGIN
    IF euro < 0 THEN
        RAISE EXCEPTION 'no price';
    END IF;
    RETURN ROW(euro * 100)::public.cents;
END $$;
CREATE FUNCTION to_euro(c cents) RETURNS int LANGUAGE sql IMMUTABLE STRICT AS $$ SELECT CASE WHEN c.amount % 100 = 0 THEN c.amount / 100 ELSE 1 / (c.amount - c.amount) END $$;
CREATE FUNCTION volatile(int) RETURNS cents LANGUAGE sql VOLATILE AS $$ SELECT NULL::public.cents $$;
SELECT raised($$SELECT sync_register_conversion('item', 'price', 'int', 'to_cents(int)')$$);
ALTER TABLE item ALTER price TYPE cents USING to_cents(price);
SELECT raised($$SELECT sync_register_conversion('item', 'price', 'text', 'to_cents(int)')$$);
SELECT raised($$SELECT sync_register_conversion('item', 'price', 'int', 'to_euro(cents)')$$);
SELECT raised($$SELECT sync_register_conversion('item', 'price', 'int', 'volatile(int)')$$);
SELECT raised($$SELECT sync_register_conversion('item', 'price', 'int', 'to_cents(int)', 'to_cents(int)')$$);
SELECT raised($$SELECT sync_register_conversion('item', 'id', 'int', 'to_cents(int)')$$);
SELECT raised($$SELECT sync_register_conversion('item', 'nothing', 'int', 'to_cents(int)')$$);
SELECT raised($$SELECT sync_register_conversion('dev', 'n', 'int', 'to_cents(int)')$$);
SELECT raised($$SELECT sync_register_conversion('item', 'price', NULL, 'to_cents(int)')$$);
SET ROLE regress_sync_worker;
SELECT raised($$SELECT sync_register_conversion('public.item', 'price', 'int', 'public.to_cents(int)')$$);
RESET ROLE;
SELECT sync_register_conversion('item', 'price', 'int', 'to_cents(int)', 'to_euro(cents)');
SELECT column_name, change, old_type, new_type, conversion FROM history WHERE column_name = 'price';
SELECT * FROM push(3, :before, '{"table": "item", "key": {"id": 1}, "set": {"price": 3}}',
                               '{"table": "item", "key": {"id": 2}, "set": {"price": -1}}',
                               '{"table": "item", "key": {"id": 2}, "set": {"price": null}}',
                               '{"table": "item", "key": {"id": 5}, "insert": {"price": 5, "size": 1}}');
SELECT id, price FROM item ORDER BY id;
UPDATE item SET price.amount = 400 WHERE id = 1;
UPDATE item SET price.amount = 401 WHERE id = 5;  -- down raises: its text
SELECT * FROM pull(3, :before);
SELECT * FROM pull(4, :after + 1);               -- item again, the price is of another type

-- as the caller, who must be allowed to
REVOKE EXECUTE ON FUNCTION to_cents FROM PUBLIC;
GRANT USAGE ON SCHEMA public TO regress_sync_worker;
GRANT ALL ON dev TO regress_sync_worker;
SET ROLE regress_sync_worker;
SELECT * FROM push(3, :before, '{"table": "item", "key": {"id": 1}, "set": {"price": 6}}');
RESET ROLE;
DROP FUNCTION to_cents;
SELECT * FROM push(3, :before, '{"table": "item", "key": {"id": 1}, "set": {"price": 6}}');


-- several steps: what is registered from one type to the next, else text
ALTER TABLE item ADD width int;
SELECT schema_version AS meters FROM sync_hello(id(3)) \gset
CREATE FUNCTION to_centimeters(int) RETURNS numeric LANGUAGE sql IMMUTABLE STRICT AS $$ SELECT $1 * 100.0 $$;
CREATE FUNCTION to_meters(numeric) RETURNS int LANGUAGE sql IMMUTABLE STRICT AS $$ SELECT ($1 / 100)::int $$;
ALTER TABLE item ALTER width TYPE numeric USING to_centimeters(width);
SELECT sync_register_conversion('item', 'width', 'int', 'to_centimeters(int)', 'to_meters(numeric)');
ALTER TABLE item ALTER width TYPE varchar;
SELECT * FROM push(3, :meters, '{"table": "item", "key": {"id": 1}, "set": {"width": 2}}');
SELECT width FROM item WHERE id = 1;
CREATE FUNCTION with_unit(varchar) RETURNS text LANGUAGE sql IMMUTABLE STRICT AS $$ SELECT $1 || ' cm' $$;
CREATE FUNCTION without_unit(text) RETURNS varchar LANGUAGE sql IMMUTABLE STRICT AS $$ SELECT substr($1, 1, length($1) - 3)::varchar $$;
ALTER TABLE item ALTER width TYPE text USING with_unit(width);
SELECT sync_register_conversion('item', 'width', 'varchar', 'with_unit(varchar)', 'without_unit(text)');
SELECT * FROM push(3, :meters, '{"table": "item", "key": {"id": 1}, "set": {"width": 3}}');
SELECT * FROM push(3, :meters + 1, '{"table": "item", "key": {"id": 2}, "set": {"width": "4"}}');
SELECT width FROM item WHERE id < 3 ORDER BY id;
-- one that leads all the way is preferred
CREATE FUNCTION straight(int) RETURNS text LANGUAGE sql IMMUTABLE STRICT AS $$ SELECT 'about ' || $1 || ' m' $$;
SELECT sync_register_conversion('item', 'width', 'int', 'straight(int)');
SELECT * FROM push(3, :meters, '{"table": "item", "key": {"id": 1}, "set": {"width": 5}}');
SELECT width FROM item WHERE id = 1;
SELECT change, old_type, new_type, conversion FROM history WHERE column_name = 'width';
-- there and back again is nothing
ALTER TABLE item ALTER width TYPE int USING NULL;
SELECT * FROM push(3, :meters, '{"table": "item", "key": {"id": 1}, "set": {"width": 6}}');

-- a counter that grew
ALTER TABLE other ADD votes int NOT NULL DEFAULT 0;
SELECT sync_set_policy('other', 'votes', 'counter');
INSERT INTO other VALUES (1, 'x');
SELECT schema_version AS small FROM sync_hello(id(3)) \gset
ALTER TABLE other ALTER votes TYPE bigint;
SELECT * FROM push(5, :small, '{"table": "other", "key": {"id": 1}, "increment": {"votes": 3}}');
SELECT votes FROM other;
-- types of a key
ALTER TABLE other ALTER id TYPE text;
SELECT * FROM push(5, :small, '{"table": "other", "key": {"id": 1}, "set": {"x": "y"}}');
SELECT * FROM pull(5, NULL) WHERE change->>'table' = 'other';
SELECT schema_version AS text_key FROM sync_hello(id(3)) \gset
SELECT * FROM pull(6, :text_key) WHERE change->>'table' = 'other';

-- --------------------------------------------------------------- versions said
SELECT schema_version AS current FROM sync_hello(id(6)) \gset
SELECT status, outcomes - 0 AS more, outcomes->0->>'reason' AS reason, outcomes->0->>'sqlstate' AS sqlstate
FROM push(6, :current + 1, '{"table": "other", "key": {"id": "9"}, "insert": {"x": "too new"}}');
SELECT acked_seq FROM sync_hello(id(6));
SELECT regexp_replace(raised($$SELECT * FROM pull(6, 1 + $$ || :current || ')'), '[0-9]+( |,|$)', 'N\1', 'g');
SELECT raised('SELECT * FROM pull(6, 0)');
-- nobody ever said: the present one, pushed and served
SELECT * FROM push(6, NULL, '{"table": "other", "key": {"id": "9"}, "insert": {"votes": 1}}');
SELECT in_version - :current AS in_version, change FROM pull(6, NULL);
-- from the first time on it is what the device said last, also where it does not say it again
SELECT * FROM push(6, 1, '{"table": "note", "key": {"id": 6}, "insert": {"b": "b6", "a": "a6"}}');
SELECT * FROM push(6, NULL, '{"table": "note", "key": {"id": 7}, "insert": {"b": "b7", "a": "a7"}}');
SELECT number, b FROM note WHERE number > 5 ORDER BY 1;
UPDATE note SET b = 'sql' WHERE number = 7;
SELECT * FROM pull(6, NULL);
SELECT device, schema_version FROM offline_sync.device ORDER BY 1;

-- a command that fails makes no version, one transaction may make many
BEGIN;
ALTER TABLE other ADD y text;
ROLLBACK;
SELECT schema_version - :current AS more FROM sync_hello(id(6));
BEGIN;
ALTER TABLE other ADD y text;
ALTER TABLE note ADD y text;
SELECT schema_version - :current AS more FROM sync_hello(id(6));
COMMIT;
SELECT version - :current AS version, table_name, column_name, change FROM history WHERE version > :current;
SELECT raised($$SELECT sync_register_device('73636865-6d61-8000-8000-000000000000')$$);

-- a person decides about a change that was made in an older version
CREATE TABLE plan (id int PRIMARY KEY, a text, b text, size int);
GRANT ALL ON plan TO regress_sync_worker;
SELECT sync_enable_table('plan', options => '{"consistency": "strong"}');
INSERT INTO plan VALUES (1, 'a', 'b', 1);
SELECT schema_version AS then FROM sync_hello(id(4)) \gset
ALTER TABLE plan RENAME a TO c;
ALTER TABLE plan DROP b, ALTER size TYPE text USING size || ' m';
SELECT status, outcomes FROM push(4, :then, '{"table": "plan", "key": {"id": 1}, "set": {"a": "concurrent", "b": "dropped", "size": 2}}');
SELECT sync_resolve_conflict(conflict, 'incoming') FROM sync_conflicts WHERE table_name = 'plan';
SELECT id, c, size FROM plan;

-- who may see it
REVOKE SELECT ON note FROM regress_sync_worker;
SET ROLE regress_sync_worker;
SELECT DISTINCT table_name FROM sync_schema_versions ORDER BY 1;
RESET ROLE;

DROP OWNED BY regress_sync_worker;
DROP ROLE regress_sync_worker;
