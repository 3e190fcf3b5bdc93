-- An answer that never arrives: the device sends the same again, alone or with newer
-- changes behind it, or finds out by pulling.  In each case it must end with what the
-- server holds: defaults, what triggers made of its row, merged values.
\set ON_ERROR_STOP on
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pgtap;
CREATE EXTENSION IF NOT EXISTS offline_sync;
\ir ../device.sql
SELECT plan(15);

CREATE TABLE thing (
    id    int  PRIMARY KEY,
    name  text,
    place text NOT NULL DEFAULT 'office',
    total int  NOT NULL DEFAULT 0,
    who   orset NOT NULL DEFAULT '{}',
    shout text GENERATED ALWAYS AS (upper(name)) STORED
);
CREATE FUNCTION trim_name() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN NEW.name := trim(NEW.name); RETURN NEW; END $$;
CREATE TRIGGER trim_name BEFORE INSERT OR UPDATE ON thing FOR EACH ROW EXECUTE FUNCTION trim_name();
SELECT sync_enable_table('thing', policies => '{"total": "counter"}') \g /dev/null

-- the table as a device would show it
CREATE FUNCTION server_rows() RETURNS SETOF text LANGUAGE sql AS
$$ SELECT concat_ws('|', id, name, place, total, who::text[], shout) FROM thing ORDER BY id $$;
CREATE FUNCTION device_rows(me uuid) RETURNS SETOF text LANGUAGE sql AS
$$
    SELECT concat_ws('|', r.id, r.name, r.place, r.total, r.who, r.shout)
    FROM device.rows(me, 'thing') d,
         jsonb_to_record(d.cells) AS r (id int, name text, place text, total int, who text[], shout text)
    ORDER BY id
$$;
CREATE FUNCTION lose_answer(me uuid) RETURNS text LANGUAGE sql AS
$$ SELECT status FROM sync_apply_delta(device.next_delta(me)::delta) $$;

\set a '''a0000000-0000-4000-8000-000000000001'''
\set b '''b0000000-0000-4000-8000-000000000002'''
\set c '''c0000000-0000-4000-8000-000000000003'''
\set d '''d0000000-0000-4000-8000-000000000004'''
SELECT sync_register_device(u), device.start(u) FROM unnest(ARRAY[:a, :b, :c, :d]::uuid[]) u \g /dev/null

-- A sends the same again.
SELECT device.write(:a, 'thing', '{"id": 1}', '{"insert": {"name": " one "}}') \g /dev/null
SELECT is(lose_answer(:a), 'applied', 'a push arrives, its answer does not');
SELECT is(device.push(:a), 'duplicate', 'sent again it is a duplicate');
SELECT results_eq($$SELECT device_rows('a0000000-0000-4000-8000-000000000001')$$, 'SELECT server_rows()',
                  'the second answer tells what the first did: defaults, triggers, generated columns');

-- B sends it again with more behind it.
SELECT device.pull(:b) \g /dev/null
SELECT device.write(:b, 'thing', '{"id": 2}', '{"insert": {"name": " two ", "who": ["bob"]}}') \g /dev/null
SELECT device.write(:b, 'thing', '{"id": 1}', '{"increment": {"total": 1}, "add": {"who": ["bob"]}}') \g /dev/null
UPDATE thing SET total = 10, who = '{"ann"}' WHERE id = 1;
SELECT is(lose_answer(:b), 'applied', 'a push of a merge arrives, its answer does not');
SELECT device.write(:b, 'thing', '{"id": 3}', '{"insert": {"name": " three "}}') \g /dev/null
SELECT is(device.push(:b), 'applied', 'sent again with more behind it, the rest applies');
SELECT results_eq($$SELECT device_rows('b0000000-0000-4000-8000-000000000002')$$, 'SELECT server_rows()',
                  'the answer tells of the first part too');
SELECT is(device.pull(:b) >= 0, true, 'a pull goes on from there');
SELECT results_eq($$SELECT device_rows('b0000000-0000-4000-8000-000000000002')$$, 'SELECT server_rows()',
                  'and changes nothing');

-- C does not send again: it pulls.
SELECT device.pull(:c) \g /dev/null
SELECT device.write(:c, 'thing', '{"id": 1}', '{"increment": {"total": 5}, "set": {"name": " uno "}}') \g /dev/null
SELECT device.write(:c, 'thing', '{"id": 2}', '{"delete": true}') \g /dev/null
SELECT device.write(:c, 'thing', '{"id": 4}', '{"insert": {"name": " four "}}') \g /dev/null
SELECT is(lose_answer(:c), 'applied', 'another push whose answer is lost');
SELECT device.pull(:c) \g /dev/null
SELECT results_eq($$SELECT device_rows('c0000000-0000-4000-8000-000000000003')$$, 'SELECT server_rows()',
                  'a pull tells all of it');
SELECT is(device.next_delta(:c), NULL, 'and that nothing has to be sent again');

-- D has deleted a row, and somebody makes it anew before the duplicate arrives.
SELECT device.pull(:d) \g /dev/null
SELECT device.write(:d, 'thing', '{"id": 3}', '{"delete": true}') \g /dev/null
SELECT is(lose_answer(:d), 'applied', 'a delete whose answer is lost');
INSERT INTO thing (id, name, total) VALUES (3, 'anew', 7);
SELECT is(device.push(:d), 'duplicate', 'sent again');
SELECT results_eq($$SELECT device_rows('d0000000-0000-4000-8000-000000000004')$$, 'SELECT server_rows()',
                  'the device has the new row');

-- In the end all have the same.
SELECT device.sync(u) FROM unnest(ARRAY[:a, :b, :c, :d]::uuid[]) u \g /dev/null
SELECT is((SELECT count(DISTINCT rows) FROM (
               SELECT array(SELECT device_rows(u)) FROM unnest(ARRAY[:a, :b, :c, :d]::uuid[]) u
               UNION ALL SELECT array(SELECT server_rows())) x (rows)), 1::bigint, 'all hold the same');
SELECT * FROM finish();
