--
-- Values that are read without their type's input function: whatever spelling a device
-- sends, stored is what the input function makes of it, or refused what it refuses
--
SET client_min_messages = warning;
SET TimeZone = 'Asia/Kathmandu';
SET DateStyle = 'SQL, DMY';
CREATE SCHEMA value_forms_test;
SET search_path = value_forms_test, public;
CREATE TABLE value_form (id int PRIMARY KEY, at timestamptz, whole timestamptz(0), who uuid);
SELECT sync_enable_table('value_form', options => '{"name": "value_form"}');
SELECT sync_register_device('00000000-0000-0000-0000-00000000000a') IS NOT NULL AS registered;

CREATE TABLE spelling (id serial, at text, who text);
INSERT INTO spelling (at)
    SELECT unnest(ARRAY[
        '2026-11-20 10:00:00+00', '2026-11-20 10:00:00.1+00', '2026-11-20 10:00:00.123456+00', '2026-11-20 10:00:00.1234567+00',
        '2026-11-20 10:00:00.9999995+00', '2026-11-20 10:00:00.+00', '2026-11-20 10:00:00', '2026-11-20 10:00:00+00:00',
        '2026-11-20 10:00:00+01', '2026-11-20 10:00:00-00', '2026-11-20 10:00:00Z', '2026-11-20T10:00:00Z', '2026-11-20 10:00+00',
        '2026-11-20 24:00:00+00', '2026-11-20 24:00:01+00', '2026-11-20 23:59:60+00', '2026-11-20 23:60:00+00', '2026-11-20 25:00:00+00',
        '2024-02-29 00:00:00+00', '2023-02-29 00:00:00+00', '1900-02-29 00:00:00+00', '2000-02-29 00:00:00+00', '2026-02-30 00:00:00+00',
        '2026-04-31 00:00:00+00', '2026-00-10 00:00:00+00', '2026-13-10 00:00:00+00', '2026-10-00 00:00:00+00', '0000-01-01 00:00:00+00',
        '0001-01-01 00:00:00+00', '0099-12-31 23:59:59+00', '9999-12-31 23:59:59.999999+00', '2026-11-20 10:00:00+00 BC',
        ' 2026-11-20 10:00:00+00', '2026-11-20 10:00:00+00 ', '2026-11-20  10:00:00+00', '2026/11/20 10:00:00+00', '2026-1-20 10:00:00+00',
        '-2026-11-20 10:00:00+00', 'infinity', '', '2026-11-20 1a:00:00+00', '12026-11-20 10:00:00+00']);
-- days of some years, with odd times
INSERT INTO spelling (at)
    SELECT to_char(d + n * interval '83461.000007 seconds', 'YYYY-MM-DD HH24:MI:SS.US') || '+00'
    FROM generate_series(timestamp '1999-12-25', '2004-03-10', interval '1 day') WITH ORDINALITY x (d, n);
INSERT INTO spelling (who)
    SELECT unnest(ARRAY[
        'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', 'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11', '{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}',
        'a0eebc999c0b4ef8bb6d6bb9bd380a11', 'a0ee-bc99-9c0b-4ef8-bb6d-6bb9-bd38-0a11', '{a0eebc99-9c0b4ef8-bb6d6bb9-bd380a11}',
        'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a1', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a111', 'g0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11',
        'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}', '{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', 'a0e-ebc99-9c0b-4ef8-bb6d-6bb9bd380a11',
        'a0eebc99--9c0b-4ef8-bb6d-6bb9bd380a11', '-a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', ' a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '']);

-- what the input functions say, under the settings by which deltas are read
CREATE FUNCTION stored_at(spelled text, typmod int) RETURNS timestamptz LANGUAGE plpgsql
    SET TimeZone = 'UTC' SET DateStyle = 'ISO, MDY' AS $$
BEGIN
    RETURN CASE typmod WHEN 0 THEN spelled::timestamptz(0) ELSE spelled::timestamptz END;
EXCEPTION WHEN data_exception THEN
    RETURN NULL;
END $$;
CREATE FUNCTION stored_who(spelled text) RETURNS uuid LANGUAGE plpgsql AS $$
BEGIN
    RETURN spelled::uuid;
EXCEPTION WHEN data_exception THEN
    RETURN NULL;
END $$;

SELECT status, applied = (SELECT count(*) FROM spelling WHERE stored_at(at, -1) IS NOT NULL OR stored_who(who) IS NOT NULL) AS all_applied,
       rejected = (SELECT count(*) FROM spelling WHERE stored_at(at, -1) IS NULL AND stored_who(who) IS NULL) AS all_rejected
FROM sync_apply_delta((
    SELECT jsonb_build_object('format', 1, 'replica', '00000000-0000-0000-0000-00000000000a',
               'changes', jsonb_agg(jsonb_build_object('seq', id, 'hlc', '2026-11-20T10:00:00.000Z/0', 'table', 'value_form', 'key', jsonb_build_object('id', id),
                   'insert', CASE WHEN at IS NULL THEN jsonb_build_object('who', who)
                                  ELSE jsonb_build_object('at', at, 'whole', at) END) ORDER BY id))::text::delta
    FROM spelling));

SELECT s.id, s.at, s.who, v.at, v.whole, v.who
FROM spelling s LEFT JOIN value_form v USING (id)
WHERE (v.at, v.whole, v.who) IS DISTINCT FROM (stored_at(s.at, -1), stored_at(s.at, 0), stored_who(s.who)) ORDER BY s.id;
SELECT count(*) > 1500 AS many FROM value_form;

-- And the other way round: what is served is what the output functions write
INSERT INTO value_form (id, at)
    SELECT 100000 + n, timestamptz '0001-01-01 00:00:00+00' + (n / 2000.0) ^ 3 * interval '9998 years' + n % 7 * interval '0.001001 second'
    FROM generate_series(0, 2000) n;
INSERT INTO value_form (id, at)
    SELECT 200000 + n, at FROM unnest(ARRAY['infinity', '-infinity', '4713-01-01 00:00:00+00 BC', '0001-12-31 23:59:59.999999+00 BC', '0001-01-01 00:00:00+00',
        '9999-12-31 23:59:59.999999+00', '10000-01-01 00:00:00+00', '294276-12-31 23:59:59.999999+00', '1969-12-31 23:59:59.999999+00',
        '1999-12-31 23:59:59.9+00', '2000-01-01 00:00:00+00', '2000-01-01 00:00:00.00001+00']::timestamptz[]) WITH ORDINALITY x (at, n);
CREATE FUNCTION written(at timestamptz) RETURNS text LANGUAGE plpgsql
    SET TimeZone = 'UTC' SET DateStyle = 'ISO, MDY' AS $$ BEGIN RETURN at::text; END $$;
SELECT count(*) > 3500 AS many, count(*) FILTER (WHERE (c -> 'insert' ->> 'at', c -> 'insert' ->> 'who') IS DISTINCT FROM (written(v.at), v.who::text)) AS different
FROM sync_changes_since('00000000-0000-0000-0000-00000000000a', '{}', 10000) d, jsonb_array_elements(d::text::jsonb -> 'changes') c
JOIN value_form v ON v.id = (c -> 'key' ->> 'id')::int;
