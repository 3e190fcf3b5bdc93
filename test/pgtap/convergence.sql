-- Twenty devices edit the same rows offline, in columns of every type that
-- PostgreSQL ships; their pushes arrive in several orders.  Every order must end
-- in the same rows, bit for bit, and after pulling all devices must hold them.
--
-- The seed is printed.  To run it again:  PGOPTIONS='-c test.seed=0.42'
\set ON_ERROR_STOP on
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pgtap;
CREATE EXTENSION IF NOT EXISTS offline_sync;
\ir ../device.sql
SELECT plan(8);

SELECT coalesce(nullif(current_setting('test.seed', true), ''), round(random()::numeric, 6)::text)::float8 AS seed \gset
SELECT diag('seed ' || :'seed');
SELECT setseed(:'seed') \g /dev/null

CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy');
CREATE DOMAIN positive AS int CHECK (VALUE > 0);
CREATE TYPE pair AS (n int, t text);

-- One column a type, and values of it to choose from
CREATE TABLE sample (type text PRIMARY KEY, literals text[]);
INSERT INTO sample VALUES
    ('smallint', '{-32768,0,32767}'), ('integer', '{-2147483648,7,2147483647}'),
    ('bigint', '{-9223372036854775808,1,9223372036854775807}'),
    ('numeric', '{12345678901234567890123456789012345678,0.00000000000000000000000000000000000001,NaN,Infinity,-Infinity,1.0,1.00}'),
    ('numeric(38,10)', '{1234567890123456789012345678.0123456789,-0.1}'),
    ('real', '{1.17549435e-38,3.4028235e38,-0,NaN,Infinity,0.1}'),
    ('double precision', '{5e-324,1.7976931348623157e308,-0,NaN,-Infinity,0.1}'),
    ('money', '{12.34,-92233720368547758.08}'), ('boolean', '{t,f}'),
    ('text', ARRAY['', ' ', 'x', E'a"b\\c\n\t', 'ünï ☃ 𝄞', '{"a":1}', 'null']), ('varchar(20)', '{abc,"x "}'),
    ('char(5)', '{ab,abcde}'), ('name', '{a_name}'), ('"char"', '{a,b}'),
    ('bytea', ARRAY['\x', '\x00ff00', '\xdeadbeef']),
    ('date', '{infinity,-infinity,"4713-01-01 BC",5874897-12-31,2026-02-28}'),
    ('time', '{00:00:00,24:00:00,12:34:56.789012}'), ('timetz', '{12:00:00+15:59,12:00:00-03:30:15}'),
    ('timestamp', '{infinity,-infinity,"2026-03-29 02:30:00.123456","0044-03-15 12:00:00 BC"}'),
    ('timestamptz', '{infinity,-infinity,"2026-03-29 02:30:00.123456+02","294276-12-31 23:59:59.999999+00"}'),
    ('interval', '{"1 mon -1 day 00:00:00.000001","-178000000 years","1 year 2 mons 3 days 04:05:06.789",0}'),
    ('uuid', '{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11,00000000-0000-0000-0000-000000000000}'),
    ('json', ARRAY['{"b" : 1,  "a": [1, 2.0, null, "x\u0041"], "b": 2}', 'null', '"text"', '1.50', '[]', 'true']),
    ('jsonb', ARRAY['{"b": 1, "a": [1, 2.0, null]}', 'null', '"text"', '1.50', '[]', '{"$json": 1}']),
    ('xml', ARRAY['<a b="c">text</a>', 'content only']),
    ('bit(4)', '{0101,1111}'), ('varbit', '{0,101010101}'),
    ('inet', '{10.0.0.1/8,::1,2001:db8::ff/64}'), ('cidr', '{10.0.0.0/8,2001:db8::/32}'),
    ('macaddr', '{08:00:2b:01:02:03}'), ('macaddr8', '{08:00:2b:01:02:03:04:05}'),
    ('point', ARRAY['(1.5,-2)', '(NaN,Infinity)', '(0.1,5e-324)']), ('line', ARRAY['{1,2,3}']),
    ('lseg', ARRAY['[(0,0),(1,1)]']), ('box', ARRAY['(1,1),(0,0)']), ('path', ARRAY['[(0,0),(1,1)]', '((0,0),(1,1))']),
    ('polygon', ARRAY['((0,0),(1,1),(1,0))']), ('circle', ARRAY['<(0,0),1.5>']),
    ('tsvector', ARRAY['''a'':1A ''b c'':2', '']), ('tsquery', ARRAY['''a'' & !''b''', '''x'' <2> ''y''']),
    ('int4range', ARRAY['[1,5)', 'empty', '(,)']), ('int8range', ARRAY['[1,9223372036854775807)']),
    ('numrange', ARRAY['[1.0,1.00]', '(NaN,]']), ('daterange', ARRAY['[2026-01-01,infinity)']),
    ('tsrange', ARRAY['["2026-01-01 00:00:00",infinity]']), ('tstzrange', ARRAY['["2026-01-01 00:00:00+00","2026-01-02 00:00:00+02")']),
    ('int4multirange', ARRAY['{[1,3),[5,7)}', '{}']), ('tstzmultirange', ARRAY['{["2026-01-01 00:00:00+00","2026-01-02 00:00:00+00")}']),
    ('int[]', ARRAY['{1,NULL,3}', '{{1,2},{3,4}}', '[0:1]={7,8}', '{}']), ('text[]', ARRAY['{a,NULL,"NULL","","x,y","q\"r"}']),
    ('timestamptz[]', ARRAY['{infinity,"2026-01-01 00:00:00+00"}']), ('numeric[]', ARRAY['{NaN,1.0,1.00}']),
    ('mood', '{sad,ok,happy}'), ('mood[]', '{{sad,happy}}'), ('positive', '{1,2147483647}'), ('pair', ARRAY['(1,"a b")', '(,)', '(,"")']),
    ('pair[]', ARRAY['{"(1,x)",NULL}']),
    ('oid', '{4294967295}'), ('regclass', '{pg_class}'), ('regtype', '{"timestamp with time zone",integer}'),
    ('pg_lsn', '{FFFFFFFF/FFFFFFFF,0/1}'), ('xid8', '{18446744073709551615}'), ('pg_snapshot', '{10:20:10\,14\,15}'),
    ('jsonpath', ARRAY['$.a[*] ? (@ > 1)', 'strict $.b']), ('hlc', '{2026-11-20T10:00:00.123Z/4}'),
    ('version_vector', ARRAY['{"a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11": "20,22"}']);
-- array literals lose one level above
UPDATE sample SET literals = ARRAY['{sad,happy}', '{}', '{NULL}'] WHERE type = 'mood[]';
UPDATE sample SET literals = ARRAY['10:20:10,14,15'] WHERE type = 'pg_snapshot';

SELECT format('CREATE TABLE everything (id uuid PRIMARY KEY, %s, seats int NOT NULL DEFAULT 3, amount numeric(12,2), tags orset)',
    string_agg(format('%I %s', 'c_' || type, type), ', ' ORDER BY type)) AS create FROM sample \gset
:create;
CREATE TABLE natural_key (a int, b text, v text, w text, PRIMARY KEY (a, b));
SELECT sync_enable_table('everything', policies => '{"seats": "counter", "amount": "counter",
    "c_integer": "max", "c_numeric": "max", "c_tstzrange": "max", "c_text": "min", "c_timestamptz": "min", "c_mood": "min",
    "c_bytea": "first_writer", "c_jsonb": "first_writer", "c_double precision": "first_writer"}') \g /dev/null
SELECT sync_enable_table('natural_key') \g /dev/null

-- bit for bit: the binary form of every column but the row clock's
SELECT string_agg(format('coalesce(md5(%s), ''-'')',
        CASE WHEN t.typsend = 0 THEN format('convert_to(%I::text, ''UTF8'')', attname) ELSE format('%s(%I)', t.typsend::regproc, attname) END),
        E' || ' ORDER BY attnum) AS bits
FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
WHERE attrelid = 'everything'::regclass AND attnum > 0 AND attname <> '_sync' AND attname <> 'tags' AND t.typtype <> 'd' \gset
CREATE FUNCTION fingerprint() RETURNS text LANGUAGE plpgsql AS $f$
BEGIN
    RETURN (SELECT md5(string_agg(x, '|' ORDER BY x)) FROM (
        SELECT bits_of(e) || coalesce(e.tags::text[]::text, '-') || e."c_positive"::text FROM everything e
        UNION ALL SELECT concat_ws('/', a, b, coalesce(v, '-'), coalesce(w, '-')) FROM natural_key) AS s(x));
END $f$;
SELECT format('CREATE FUNCTION bits_of(e everything) RETURNS text LANGUAGE sql STABLE AS $b$ SELECT x.b FROM (SELECT (e).*) AS r, LATERAL (SELECT %s AS b) AS x $b$', :'bits') AS bits_of \gset
:bits_of;

CREATE FUNCTION pick(list text[]) RETURNS text LANGUAGE sql VOLATILE AS
$$ SELECT list[1 + floor(random() * cardinality(list))::int] $$;
-- a value as it travels
CREATE FUNCTION random_cell(OUT name text, OUT value jsonb) LANGUAGE plpgsql VOLATILE AS $$
DECLARE s sample;
BEGIN
    SELECT * INTO s FROM sample ORDER BY random() LIMIT 1;
    name := 'c_' || s.type;
    IF random() < 0.1 AND s.type <> 'positive' THEN value := 'null'; RETURN; END IF;
    value := to_jsonb(pick(s.literals));
    IF s.type IN ('json', 'jsonb') THEN
        value := (value #>> '{}')::jsonb;
        IF value = 'null' OR value ? '$json' THEN value := jsonb_build_object('$json', value); END IF;
    ELSIF s.type = 'boolean' THEN value := to_jsonb((value #>> '{}')::boolean);
    ELSIF s.type IN ('smallint', 'integer', 'bigint') THEN value := to_jsonb((value #>> '{}')::bigint);
    END IF;
END $$;
CREATE FUNCTION random_cells(n int) RETURNS jsonb LANGUAGE sql VOLATILE AS
$$ SELECT jsonb_object_agg((c).name, (c).value) FROM (SELECT random_cell() AS c FROM generate_series(1, n) OFFSET 0) AS s $$;
CREATE FUNCTION some_names() RETURNS jsonb LANGUAGE sql VOLATILE AS
$$ SELECT jsonb_agg(DISTINCT pick('{ann,bob,cid,dan,"e e"}')) FROM generate_series(1, 1 + floor(random() * 3)::int) $$;

CREATE FUNCTION random_edit(me uuid) RETURNS void LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    k jsonb; exists boolean; dice float8 := random(); change jsonb := '{}';
BEGIN
    IF random() < 0.2 THEN
        k := jsonb_build_object('a', 1 + floor(random() * 4)::int, 'b', pick('{x,y}'));
        exists := EXISTS (SELECT FROM device.rows(me, 'natural_key') r WHERE r.key = k);
        PERFORM device.write(me, 'natural_key', k, CASE
            WHEN NOT exists THEN jsonb_build_object('insert', CASE WHEN random() < 0.5 THEN '{"v": "i"}'::jsonb ELSE '{}' END || jsonb_build_object('w', me))
            WHEN dice < 0.3 THEN '{"delete": true}'::jsonb
            ELSE jsonb_build_object('set', jsonb_build_object(pick('{v,w}'), pick('{p,q,r,s}') || right(me::text, 2))) END);
        RETURN;
    END IF;
    k := jsonb_build_object('id', '00000000-0000-0000-0000-' || lpad(floor(random() * 12)::text, 12, '0'));
    exists := EXISTS (SELECT FROM device.rows(me, 'everything') r WHERE r.key = k);
    IF NOT exists THEN
        change := jsonb_build_object('insert', random_cells(5) || jsonb_build_object('c_positive', '5')
            || CASE WHEN random() < 0.5 THEN jsonb_build_object('seats', floor(random() * 10)::int, 'tags', some_names()) ELSE '{}' END);
    ELSIF dice < 0.05 THEN
        change := '{"delete": true}';
    ELSE
        IF dice < 0.7 THEN change := change || jsonb_build_object('set', random_cells(3)); END IF;
        IF dice > 0.5 THEN change := change || jsonb_build_object('increment', jsonb_build_object('seats', floor(random() * 10)::int - 5, 'amount', round(random()::numeric, 2)::text)); END IF;
        IF dice > 0.6 THEN change := change || jsonb_build_object('add', jsonb_build_object('tags', some_names())); END IF;
        IF dice > 0.8 THEN change := change || jsonb_build_object('remove', jsonb_build_object('tags', some_names())); END IF;
    END IF;
    PERFORM device.write(me, 'everything', k, change);
END $$;

-- What everybody starts from: rows by SQL, seen by all devices
INSERT INTO everything (id, "c_positive", tags)
    SELECT ('00000000-0000-0000-0000-' || lpad(n::text, 12, '0'))::uuid, 1, ARRAY['ann', 'bob']::text[]::orset FROM generate_series(0, 7) AS n;
INSERT INTO natural_key VALUES (1, 'x', 'sql', 'sql');
CREATE TABLE fleet AS
    SELECT n, ('00000000-0000-4000-8000-' || lpad(n::text, 12, '0'))::uuid AS id FROM generate_series(1, 20) AS n;
SELECT count(*) FROM fleet, LATERAL (SELECT sync_register_device(id), device.start(id)) AS s \g /dev/null
SELECT count(device.pull(id)) FROM fleet \g /dev/null

-- Two days offline: clocks that disagree by minutes
DO $$
DECLARE f record;
BEGIN
    FOR f IN SELECT * FROM fleet LOOP
        PERFORM device.set_clock(f.id, now() - interval '1 day' + random() * interval '10 minutes');
        FOR i IN 1 .. 15 LOOP PERFORM random_edit(f.id); END LOOP;
    END LOOP;
END $$;
SELECT isnt(count(*), 0::bigint, 'devices have something to say: ' || count(*) || ' changes') FROM device.outbox;

-- The world as it is now, to go back to
CREATE SCHEMA saved;
SELECT format('CREATE TABLE saved.%I AS TABLE %s', relname, oid::regclass) AS save
FROM pg_class WHERE relkind = 'r' AND relnamespace IN ('device'::regnamespace, 'offline_sync'::regnamespace)
    OR oid IN ('everything'::regclass, 'natural_key'::regclass) \gexec
CREATE PROCEDURE go_back() LANGUAGE plpgsql AS $$
DECLARE t regclass;
BEGIN
    PERFORM sync_set_capture(false);
    FOR t IN SELECT c.oid FROM pg_class c JOIN pg_class s ON s.relname = c.relname AND s.relnamespace = 'saved'::regnamespace
             WHERE c.relnamespace IN ('device'::regnamespace, 'offline_sync'::regnamespace, 'public'::regnamespace) LOOP
        EXECUTE format('TRUNCATE %s', t);
        EXECUTE format('INSERT INTO %s OVERRIDING SYSTEM VALUE SELECT * FROM saved.%I', t, (SELECT relname FROM pg_class WHERE oid = t));
    END LOOP;
    PERFORM sync_set_capture(true);
END $$;

-- Deliver in a random order of batches of a random size; a push is a transaction
CREATE PROCEDURE deliver() LANGUAGE plpgsql AS $$
DECLARE who uuid; status text; delta text; answer jsonb;
BEGIN
    LOOP
        SELECT o.device INTO who FROM device.outbox o WHERE NOT is_settled GROUP BY 1 ORDER BY random() LIMIT 1;
        EXIT WHEN who IS NULL;
        delta := device.next_delta(who, 1 + floor(random() * 6)::int);
        SELECT to_jsonb(a) || jsonb_build_object('corrections', a.corrections::text::jsonb) INTO STRICT answer FROM sync_apply_delta(delta::delta) a;
        COMMIT;
        IF random() < 0.2 THEN      -- the answer is lost, the device sends it again
            SELECT to_jsonb(a) || jsonb_build_object('corrections', a.corrections::text::jsonb) INTO STRICT answer FROM sync_apply_delta(delta::delta) a;
            IF answer ->> 'status' <> 'duplicate' THEN RAISE EXCEPTION 'a duplicate was %', answer; END IF;
            COMMIT;
        END IF;
        status := device.take_answer(who, delta, answer);
        IF status NOT IN ('applied', 'partial', 'duplicate') THEN RAISE EXCEPTION '% %', status, answer; END IF;
    END LOOP;
END $$;
CREATE TABLE seen_fingerprint (n int, f text);
CREATE PROCEDURE try_orders() LANGUAGE plpgsql AS $$
BEGIN
    FOR i IN 1 .. 6 LOOP
        IF i > 1 THEN CALL go_back(); COMMIT; END IF;
        CALL deliver();
        INSERT INTO seen_fingerprint VALUES (i, fingerprint());
        COMMIT;
    END LOOP;
END $$;
CALL try_orders();
SELECT is(count(DISTINCT f), 1::bigint, 'every order of delivery ends in the same rows') FROM seen_fingerprint;

SELECT is((SELECT count(*) FROM offline_sync.journal j, jsonb_array_elements(j.outcomes) o
           WHERE o ->> 'outcome' = 'rejected' AND o ->> 'reason' <> 'no_row'), 0::bigint, 'nothing was refused');
SELECT cmp_ok((SELECT count(*) FROM offline_sync.conflict), '>', 0::bigint, 'there were conflicts');

SELECT count(device.sync(id, 7)) FROM fleet \g /dev/null
SELECT count(device.sync(id, 7)) FROM fleet \g /dev/null
INSERT INTO fleet VALUES (21, '00000000-0000-4000-8000-000000000021');
SELECT sync_register_device(id), device.start(id), device.sync(id) FROM fleet WHERE n = 21 \g /dev/null
CREATE VIEW held AS
    -- a number is held as it was written: 7 and "7" are the same; so are null and nothing
    SELECT f.n, md5(string_agg(r.key::text || (SELECT string_agg(c.key || '=' || (c.value #>> '{}'), ',' ORDER BY c.key)
                                               FROM jsonb_each(r.cells) AS c WHERE c.value <> 'null'), '|' ORDER BY r.key::text)) AS hash, count(*) AS rows
    FROM fleet f, LATERAL (SELECT * FROM device.rows(f.id, 'everything') UNION ALL SELECT * FROM device.rows(f.id, 'natural_key')) AS r GROUP BY 1;
SELECT is((SELECT count(DISTINCT hash) FROM held), 1::bigint, 'all devices, and a new one, hold the same rows');
SELECT is((SELECT max(rows) FROM held), (SELECT count(*) FROM everything) + (SELECT count(*) FROM natural_key), 'as many as the server');

-- A value that went out and came back is what it was
CREATE TABLE before AS SELECT e.id, bits_of(e) AS bits FROM everything e;
INSERT INTO fleet VALUES (22, '00000000-0000-4000-8000-000000000022');
SELECT sync_register_device(id), device.start(id), device.sync(id) FROM fleet WHERE n = 22 \g /dev/null
SELECT count(device.write(f.id, 'everything', r.key, jsonb_build_object('set', r.cells - ARRAY['id', 'seats', 'amount', 'tags'])))
    FROM fleet f, device.rows(f.id, 'everything') r WHERE n = 22 \g /dev/null
SELECT is(device.push(id), 'applied', 'all values are pushed back') FROM fleet WHERE n = 22;
SELECT is((SELECT count(*) FROM before b JOIN everything e USING (id) WHERE b.bits IS DISTINCT FROM bits_of(e)), 0::bigint,
    'and are bit for bit what they were');
SELECT * FROM finish();
