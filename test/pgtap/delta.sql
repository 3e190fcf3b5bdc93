-- delta: what goes in comes out, in one form for all its spellings; bytes that
-- are cut off or altered give our errors or another good delta, nothing else.
--
-- The oracle is a table of changes, from which texts are made with the members
-- in random order.  delta_changes must return exactly that table.
\set ON_ERROR_STOP true
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pgtap;
CREATE EXTENSION IF NOT EXISTS offline_sync;
BEGIN;
SELECT plan(23);

SELECT coalesce(nullif(current_setting('test.seed', true), ''), round(random()::numeric, 6)::text)::float8 AS seed \gset
SELECT diag('seed ' || :'seed');
SELECT setseed(:'seed');

CREATE FUNCTION pg_temp.pick(VARIADIC choices text[]) RETURNS text LANGUAGE sql VOLATILE AS $$
  SELECT choices[1 + floor(random() * cardinality(choices))::int]
$$;
-- members in random order, sometimes with space around them
CREATE FUNCTION pg_temp.object(members text[]) RETURNS text LANGUAGE sql VOLATILE AS $$
  SELECT '{' || coalesce(string_agg(m, pg_temp.pick(',', ' , ', E',\n\t') ORDER BY random()), '') || '}'
  FROM unnest(members) AS m WHERE m IS NOT NULL
$$;
-- as canonical text, so that the oracle can compare letters
CREATE FUNCTION pg_temp.value() RETURNS text LANGUAGE sql VOLATILE AS $$
  SELECT pg_temp.pick('null', 'true', 'false', '0', '-1.50', '12345678901234567890.5', '""', '"x"',
    '"a \"quoted\" \\ text\n"', '"größer €"', '{"a": [1, 2]}', '[]', '{"$json":null}',
    '{"$json":{"$json": 1}}', to_json(md5(random()::text))::text)
$$;
CREATE FUNCTION pg_temp.cells(n int, kind text) RETURNS text[] LANGUAGE sql VOLATILE AS $$
  SELECT coalesce(array_agg(to_json(c)::text || ':' || CASE kind
           WHEN 'key' THEN pg_temp.pick('1', 'true', '"a"', '"\u00e4"')
           WHEN 'increment' THEN pg_temp.pick('1', '-2.50', '"1e3"')
           WHEN 'list' THEN pg_temp.pick('["ann","bob"]', '["bob","ann","bob"]', '[]', '["","b","a"]')
           ELSE pg_temp.value() END), '{}')
  FROM (SELECT DISTINCT pg_temp.pick('a', 'b', 'B', 'aa', 'größe', 'starts at', 'c' || (random() * 300)::int) AS c
        FROM generate_series(1, n)) AS columns
$$;

-- deltas 1 .. 200: pushed where odd; 0 to 60 changes each
CREATE TEMP TABLE change AS
SELECT d AS delta, n, d % 2 = 1 AS is_pushed,
       1000 * d + n AS seq,
       hlc('2026-11-20T10:00:00Z'::timestamptz + (random() * 1e8)::int * interval '1 ms', (random() * 65535)::int)::text AS hlc,
       pg_temp.pick('insert', 'update', 'update', 'delete',
                    CASE d % 2 WHEN 1 THEN 'intent' ELSE 'retract' END,
                    CASE d % 2 WHEN 1 THEN 'intent' ELSE 'retract_scope' END) AS kind,
       pg_temp.pick('meeting', 'stock', 'sales.order', 'Tür', 't' || (random() * 200)::int) AS "table",
       nullif(n / 5 % 3, 0) * 100 + n / 5 AS "group"
FROM generate_series(1, 200) AS d, generate_series(1, d * 7 % 61) AS n;
ALTER TABLE change ADD key text[], ADD content text[];
UPDATE change SET
  key = CASE WHEN kind IN ('insert', 'update', 'delete', 'retract')
             THEN pg_temp.cells(1 + n % 3, 'key') END,
  content = CASE kind
    WHEN 'insert' THEN ARRAY['"insert":' || pg_temp.object(pg_temp.cells(n % 8, 'set'))]
    WHEN 'update' THEN ARRAY['"set":' || pg_temp.object(pg_temp.cells(1 + n % 6, 'set')),
      CASE n % 3 WHEN 0 THEN '"increment":' || pg_temp.object(pg_temp.cells(1, 'increment')) END,
      CASE n % 4 WHEN 0 THEN '"add":' || pg_temp.object(pg_temp.cells(2, 'list')) END,
      CASE n % 5 WHEN 0 THEN '"remove":' || pg_temp.object(pg_temp.cells(2, 'list')) END]
    WHEN 'delete' THEN ARRAY['"delete":true']
    WHEN 'retract' THEN ARRAY['"retract":true']
    WHEN 'retract_scope' THEN ARRAY['"retract":true', '"scope":"work ' || n || '"']
    WHEN 'intent' THEN ARRAY['"intent":"cancel"', CASE n % 2 WHEN 0 THEN '"args":{"x": [1]}' END]
  END;

CREATE FUNCTION pg_temp.delta_text(d int) RETURNS text LANGUAGE sql VOLATILE AS $$
  SELECT pg_temp.object(ARRAY[
    '"format":1', format('"replica":"%s"', md5('replica' || d)::uuid),
    CASE d % 3 WHEN 0 THEN '"schema_version":7' END,
    CASE d % 5 WHEN 0 THEN '"hlc":"2026-11-20T09:00:00Z/3"' END,
    CASE WHEN d % 2 = 1 AND d % 3 > 0 THEN format('"context":{"%s":"%s,%s-%s"}', md5('node')::uuid, d, d + 10, d + 20) END,
    CASE WHEN d % 2 = 0 THEN format('"to":{"%s":%s}', md5('node')::uuid, d) END,
    CASE WHEN d % 4 = 0 THEN '"from":{}' END,
    CASE WHEN d % 6 = 0 THEN '"more":true' END,
    CASE WHEN d % 6 = 0 THEN '"resume":"größer"' END,
    CASE WHEN d % 8 = 0 THEN '"reset":true' END,
    CASE WHEN d % 7 = 0 THEN '"signature":"ed25519:abc="' END,
    '"changes":[' || coalesce((SELECT string_agg(pg_temp.object(content || ARRAY[
        CASE WHEN is_pushed THEN '"seq":' || seq END,
        CASE WHEN is_pushed THEN '"hlc":"' || hlc || '"' END,
        CASE WHEN key IS NOT NULL THEN '"table":' || to_json("table") END,
        CASE WHEN key IS NOT NULL THEN '"key":' || pg_temp.object(key) END,
        '"group":' || "group"]), ',' ORDER BY n)
      FROM change WHERE delta = d), '') || ']'])
$$;
CREATE TEMP TABLE batch AS
SELECT d AS delta, pg_temp.delta_text(d)::delta AS value, pg_temp.delta_text(d)::delta AS again
FROM generate_series(1, 200) AS d;

SELECT ok(count(*) > 4000, 'the oracle has changes') FROM change;
SELECT is(count(*), 0::bigint, 'members may come in any order: equal bytes')
FROM batch WHERE delta_send(value) <> delta_send(again) OR value <> again OR delta_hash(value) <> delta_hash(again);
SELECT is(count(*), 0::bigint, 'text round trip, to the byte')
FROM batch WHERE delta_send(value::text::delta) <> delta_send(value);
SELECT is(count(*), 0::bigint, 'binary round trip, to the byte')
FROM batch WHERE delta_send(delta_send(value)::delta) <> delta_send(value) OR delta_send(value)::delta::text <> value::text;
SELECT is(count(*), 0::bigint, 'the pretty form says the same')
FROM batch WHERE delta_send(delta_pretty(value)::delta) <> delta_send(value);
SELECT is(count(*), 0::bigint, 'by way of jsonb: the same header and as many changes')
FROM batch WHERE (value::jsonb::delta, delta_count(value::jsonb::delta), delta_to(value::jsonb::delta)) IS NULL
              OR delta_count(value::jsonb::delta) <> delta_count(value);
SELECT is(count(*), 0::bigint, 'the canonical text is compact JSON with the same content')
FROM batch WHERE value::text::jsonb <> value::jsonb;

CREATE TEMP VIEW content AS
SELECT delta, c.seq, c.hlc::text AS hlc, c.kind, c.table_name, c.key, c.changes, c."group"
FROM batch, delta_changes(value) AS c;
-- what the changes say, as jsonb; lists are sorted and unique, strings escaped their own way
CREATE TEMP VIEW oracle AS
SELECT delta, CASE WHEN is_pushed THEN seq END AS seq, CASE WHEN is_pushed THEN hlc END AS hlc, kind,
       CASE WHEN key IS NOT NULL THEN "table" END AS table_name,
       ('{' || array_to_string(key, ',') || '}')::jsonb AS key,
       replace(replace(CASE WHEN kind NOT IN ('delete', 'retract') THEN '{' || array_to_string(content, ',') || '}' END,
         '["bob","ann","bob"]', '["ann","bob"]'), '["","b","a"]', '["","a","b"]')::jsonb AS changes,
       "group"
FROM change;
SELECT is((SELECT count(*) FROM (TABLE oracle EXCEPT ALL TABLE content) AS d), 0::bigint,
          'nothing of the oracle is missing');
SELECT is((SELECT count(*) FROM (TABLE content EXCEPT ALL TABLE oracle) AS d), 0::bigint,
          'nothing else is there');
SELECT is(count(*), 0::bigint, 'the header is what was given')
FROM batch WHERE (delta_replica(value), delta_schema_version(value), delta_hlc(value)::text, delta_first_seq(value),
                  delta_last_seq(value), delta_has_more(value), delta_is_reset(value), delta_resume(value))
  IS DISTINCT FROM
  (md5('replica' || delta)::uuid, CASE WHEN delta % 3 = 0 THEN 7 END,
   CASE WHEN delta % 5 = 0 THEN '2026-11-20T09:00:00.000Z/3' END,
   (SELECT min(seq)::bigint FROM change AS c WHERE c.delta = batch.delta AND is_pushed),
   (SELECT max(seq)::bigint FROM change AS c WHERE c.delta = batch.delta AND is_pushed),
   delta % 6 = 0, delta % 8 = 0, CASE WHEN delta % 6 = 0 THEN 'größer' END);
SELECT is(count(*), 0::bigint, 'vectors are what was given')
FROM batch WHERE (delta_context(value), delta_from(value), delta_to(value))
  IS DISTINCT FROM
  (CASE WHEN delta % 2 = 1 THEN CASE WHEN delta % 3 > 0
     THEN format('{"%s":"%s,%s-%s"}', md5('node')::uuid, delta, delta + 10, delta + 20) ELSE '{}' END END::version_vector,
   CASE WHEN delta % 4 = 0 THEN '{}' END::version_vector,
   CASE WHEN delta % 2 = 0 THEN format('{"%s":%s}', md5('node')::uuid, delta) END::version_vector);
SELECT is(count(*), 0::bigint, 'size and count')
FROM batch WHERE delta_size(value) <> length(delta_send(value))
              OR delta_count(value) <> (SELECT count(*) FROM change AS c WHERE c.delta = batch.delta);

-- one change said otherwise is another delta
SELECT is(count(*), 0::bigint, 'another change, another delta')
FROM batch WHERE delta_count(value) > 0
  AND (value = regexp_replace(value::text, '"changes":\[(.*)\]', '"changes":[]')::delta
       OR delta_hash(value) = delta_hash(regexp_replace(value::text, '"changes":\[(.*)\]', '"changes":[]')::delta)
          AND delta_hash_extended(value, 1) = delta_hash_extended(regexp_replace(value::text, '"changes":\[(.*)\]', '"changes":[]')::delta, 1));
SELECT is((SELECT count(*) FROM (SELECT value FROM batch GROUP BY value) AS d), 200::bigint, 'deltas can be grouped');

-- checksums
SELECT is(count(*), 0::bigint, 'a checksum holds, and does not change the canonical bytes')
FROM batch, LATERAL regexp_replace(value::text, '\]((,"signature":"[^"]*")?)}$',
                                   ']' || ',"checksum":"' || delta_checksum(value) || '"\1}') AS sealed
WHERE sealed NOT LIKE '%checksum%' OR sync_canonical_bytes(sealed::delta) <> sync_canonical_bytes(value)
   OR sealed::delta::text <> sealed OR delta_send(sealed::delta)::delta::text <> sealed;

-- Bytes that somebody altered.  A result is good when it is one of our errors, or
-- a delta that has exactly these bytes and reads again from its text.
CREATE FUNCTION pg_temp.outcome(bytes bytea) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  value delta;
BEGIN
  value := delta_from_bytes(bytes);
  IF delta_send(value) <> bytes THEN
    RETURN 'other bytes';
  ELSIF delta_send(value::text::delta) <> bytes THEN
    RETURN 'other text';
  END IF;
  PERFORM count(*) FROM delta_changes(value);
  RETURN 'delta';
EXCEPTION WHEN OTHERS THEN
  RETURN SQLSTATE;
END $$;

CREATE TEMP TABLE victim AS
SELECT delta, delta_send(regexp_replace(value::text, '\]((,"signature":"[^"]*")?)}$',
         ']' || CASE WHEN delta % 50 = 21 THEN ',"checksum":"' || delta_checksum(value) || '"' ELSE '' END || '\1}')::delta) AS bytes
FROM batch WHERE delta % 10 IN (1, 4) AND delta_size(value) BETWEEN 100 AND 3000;
SELECT ok(count(*) >= 10, 'there are deltas to alter') FROM victim;

SELECT is(count(*), 0::bigint, 'cut off anywhere: refused as malformed')
FROM victim, generate_series(0, length(bytes) - 1) AS n
WHERE pg_temp.outcome(substring(bytes FROM 1 FOR n)) <> '22P03';
SELECT is(count(*), 0::bigint, 'with a byte more: refused as malformed')
FROM victim WHERE pg_temp.outcome(bytes || '\x00') <> '22P03';

CREATE TEMP TABLE altered AS
SELECT delta, n, CASE n % 3
    WHEN 0 THEN set_byte(bytes, at, floor(random() * 256)::int)
    WHEN 1 THEN set_byte(bytes, at, (get_byte(bytes, at) # (1 << floor(random() * 8)::int)))
    ELSE overlay(bytes PLACING '' FROM at + 1 FOR 1)
         || substring(bytes FROM at + 1 FOR 1) END AS bytes
FROM (SELECT delta, n, bytes, floor(random() * length(bytes))::int AS at
      FROM victim, generate_series(1, 300) AS n) AS a;
ALTER TABLE altered ADD outcome text;
UPDATE altered SET outcome = pg_temp.outcome(bytes);
SELECT is((SELECT string_agg(DISTINCT outcome, ' ') FROM altered
           WHERE outcome NOT IN ('delta', '22P03', '0A000', '54000')), NULL,
          'altered bytes: our errors, or a delta that round-trips');
SELECT ok(count(*) FILTER (WHERE outcome = 'delta') > 100
          AND count(*) FILTER (WHERE outcome = '22P03') > 100, 'both happened')
FROM altered;

-- the door that drivers use
\ir ../binary_input.sql
SELECT is(pg_temp.binary_outcome('delta', delta_send(value)), value::text, 'the receive function takes what the send function gives')
FROM batch WHERE delta = 21;
SELECT matches(pg_temp.binary_outcome('delta', substring(delta_send(value) FROM 2)), '^22P03: ', 'and nothing else')
FROM batch WHERE delta = 21;

-- the same with text
CREATE FUNCTION pg_temp.text_outcome(doc text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
  IF delta_send(doc::delta::text::delta) <> delta_send(doc::delta) THEN
    RETURN 'other text';
  ELSIF delta_send(delta_send(doc::delta)::delta) <> delta_send(doc::delta) THEN
    RETURN 'other bytes';
  END IF;
  RETURN 'delta';
EXCEPTION WHEN OTHERS THEN
  RETURN SQLSTATE;
END $$;
SELECT is((SELECT string_agg(DISTINCT outcome, ' ')
           FROM (SELECT value::text AS json FROM batch WHERE delta % 9 = 2) AS d,
                generate_series(1, 300) AS n,
                LATERAL (SELECT floor(random() * length(json))::int + 1 AS at) AS p,
                LATERAL pg_temp.text_outcome(CASE n % 3
                  WHEN 0 THEN left(json, at)
                  WHEN 1 THEN overlay(json PLACING pg_temp.pick('{', '}', '[', ']', ',', ':', '"', '\', '0', 'a', ' ') FROM at FOR 1)
                  ELSE overlay(json PLACING '' FROM at FOR 1 + (random() * 10)::int) END) AS outcome
           WHERE outcome NOT IN ('delta', '22P02', '0A000', '54000')), NULL,
          'altered text: our errors, or a delta that round-trips');

SELECT * FROM finish();
ROLLBACK;
