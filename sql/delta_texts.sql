-- Strings that have a shorter form in a delta's bytes, and those that nearly have:
-- whatever the spelling, it comes back to the letter.
CREATE TABLE spelling (n int GENERATED ALWAYS AS IDENTITY, text text, is_short bool);
INSERT INTO spelling (text, is_short) VALUES
    ('aaaaaaaa-bbbb-4ccc-8ddd-0123456789ef', true),
    ('00000000-0000-0000-0000-000000000000', true),
    ('ffffffff-ffff-ffff-ffff-ffffffffffff', true),
    ('2026-11-20 10:00:00+00', true), ('2026-11-20 10:00:00', true), ('2026-11-20 10:00:00Z', true),
    ('2026-11-20T10:00:00Z', true), ('2026-11-20T10:00:00', true), ('2026-11-20T10:00:00+00', true),
    ('2026-11-20 10:00:00.5+00', true), ('2026-11-20 10:00:00.50+00', true), ('2026-11-20 10:00:00.000001+00', true),
    ('2026-11-20T10:00:00.000Z', true), ('2026-11-20T23:59:59.999999Z', true),
    ('0001-01-01 00:00:00+00', true), ('9999-12-31T23:59:59.999999+00', true),
    ('1582-10-10 00:00:00', true), ('1969-12-31 23:59:59', true), ('1970-01-01 00:00:00', true), ('1900-02-28 00:00:00', true), ('2000-02-29 12:34:56', true),
    ('2026-11-20', true), ('0001-01-01', true), ('9999-12-31', true), ('1969-12-31', true), ('2000-02-29', true), ('2024-02-29', true),
    ('AAAAAAAA-BBBB-4CCC-8DDD-0123456789EF', false), ('aaaaaaaa-bbbb-4ccc-8ddd-0123456789eF', false),
    ('{aaaaaaaa-bbbb-4ccc-8ddd-0123456789}', false), ('aaaaaaaabbbb-4ccc-8ddd-0123456789ef1-', false), ('aaaaaaaabbbb4ccc8ddd0123456789ef', false),
    ('aaaaaaaa-bbbb-4ccc-8ddd-0123456789eg', false), ('aaaaaaaa-bbbb-4ccc-8ddd-0123456789e ', false),
    ('2026-11-20 10:00:00+01', false), ('2026-11-20 10:00:00+00:00', false), ('2026-11-20 10:00:00 UTC', false), ('2026-11-20 10:00:00z', false),
    ('2026-11-20 10:00:00.+00', false), ('2026-11-20 10:00:00.1234567', false), ('2026-11-20 10:00', false), ('2026-11-20 10:00:00 BC', false),
    ('2026-11-20 24:00:00', false), ('2026-11-20 23:60:00', false), ('2026-11-20 23:59:60', false), ('2026-11-20t10:00:00', false),
    ('2026-02-29', false), ('1900-02-29', false), ('2026-13-01', false), ('2026-00-01', false), ('2026-01-00', false), ('2026-04-31', false),
    ('0000-01-01', false), ('10000-01-01', false), ('-001-01-01', false), ('2026-1-01', false), ('2026-11-2a', false), ('2026-11-20 ', false),
    ('', false), ('infinity', false), ('2026-11-20 10:00:00+00 and more than that', false);

-- one change each, at several times
CREATE FUNCTION one(text text, hlc text) RETURNS delta LANGUAGE sql IMMUTABLE AS $$
    SELECT json_build_object('format', 1, 'replica', 'd0000000-0000-4000-8000-000000000001', 'changes', json_build_array(
        json_build_object('seq', 1, 'hlc', hlc, 'table', 't', 'key', json_build_object('k', text), 'insert', json_build_object('v', text, 'w', text))))::text::delta
$$;
CREATE TABLE clock (hlc text);
INSERT INTO clock VALUES ('2026-11-20T10:00:00.123Z/4'), ('1970-01-01T00:00:00.000Z/1'), ('9999-12-31T23:59:59.999Z/0'), ('1970-01-01T00:00:00.000Z/0');
SELECT n, text, hlc FROM spelling, clock, LATERAL (SELECT one(text, hlc) AS d) d
    WHERE d <> delta_from_bytes(delta_send(d)) OR d::text::delta <> d OR d::text <> delta_from_bytes(delta_send(d))::text
       OR (SELECT jsonb_agg(x.value) FROM delta_changes(d) c, jsonb_each_text(c.key || (c.changes -> 'insert')) x) <> jsonb_build_array(text, text, text)
    ORDER BY 1, 3;
-- the short ones are those that should be: the same value three times
SELECT n, text, is_short, delta_size(one(text, '1970-01-01T00:00:00.000Z/0')) - delta_size(one('', '1970-01-01T00:00:00.000Z/0')) AS bytes FROM spelling
    WHERE is_short <> (delta_size(one(text, '1970-01-01T00:00:00.000Z/0')) - delta_size(one('', '1970-01-01T00:00:00.000Z/0')) < 3 * length(text)) AND text <> '' ORDER BY 1;
-- near the clock of its change a time takes a byte more than nothing
SELECT delta_size(one('2026-11-20 10:00:00+00', '2026-11-20T10:00:05.000Z/0')) - delta_size(one('', '2026-11-20T10:00:05.000Z/0')) AS three_times;
SELECT delta_size(one('aaaaaaaa-bbbb-4ccc-8ddd-0123456789ef', '1970-01-01T00:00:00.000Z/0')) - delta_size(one('', '1970-01-01T00:00:00.000Z/0')) AS three_uuids;

-- the bytes are frozen
SELECT text, encode(delta_send(one(text, '2026-11-20T10:00:05.000Z/0')), 'hex') AS bytes FROM spelling
    WHERE text IN ('aaaaaaaa-bbbb-4ccc-8ddd-0123456789ef', '2026-11-20 10:00:00+00', '2026-11-20T10:00:00.000Z', '0001-01-01', '9999-12-31T23:59:59.999999+00') ORDER BY n;
-- bytes that spell them out all the same are refused
SELECT delta_from_bytes(overlay(bytes PLACING 'f'::bytea FROM position('0123456789eg'::bytea IN bytes) + 11))
    FROM (SELECT delta_send(one('aaaaaaaa-bbbb-4ccc-8ddd-0123456789eg', '1970-01-01T00:00:00.000Z/0')) AS bytes) b;
SELECT delta_from_bytes(overlay(bytes PLACING '8'::bytea FROM position('2026-02-29'::bytea IN bytes) + 9))
    FROM (SELECT delta_send(one('2026-02-29', '1970-01-01T00:00:00.000Z/0')) AS bytes) b;

-- many in one change, of all kinds, between others
SELECT jsonb_object_agg('c' || n, text) AS cells FROM spelling \gset
SELECT d = delta_from_bytes(delta_send(d)) AS by_bytes, d::text::delta = d AS by_text,
       (SELECT changes -> 'insert' = :'cells'::jsonb FROM delta_changes(d)) AS to_the_letter
    FROM (SELECT json_build_object('format', 1, 'replica', 'd0000000-0000-4000-8000-000000000001', 'changes', json_build_array(
              json_build_object('seq', 1, 'hlc', '2026-11-20T10:00:00.000Z/0', 'table', 't', 'key', json_build_object('id', '2026-11-20'), 'insert', :'cells'::jsonb)))::text::delta AS d) d;

-- through a push and a pull
CREATE TABLE spelled (id text PRIMARY KEY, v text, at timestamptz, day date, u uuid);
SELECT sync_enable_table('spelled');
SELECT sync_register_device('d0000000-0000-4000-8000-000000000001');
SELECT sync_register_device('d0000000-0000-4000-8000-000000000002');
SELECT status, applied, corrections IS NULL AS as_sent FROM sync_apply_delta((
    SELECT json_build_object('format', 1, 'replica', 'd0000000-0000-4000-8000-000000000001', 'changes', json_agg(
        json_build_object('seq', n, 'hlc', '2025-11-20T10:00:00.000Z/0', 'table', 'spelled', 'key', json_build_object('id', n || text),
                          'insert', json_build_object('v', text, 'at', '2025-01-02 03:04:05.6+00', 'day', '2025-01-02', 'u', 'aaaaaaaa-bbbb-4ccc-8ddd-0123456789ef')) ORDER BY n))::text::delta
    FROM spelling));
SELECT count(*) FROM spelled JOIN spelling ON spelled.id = n || text AND v = text;
SELECT count(*) FROM delta_changes(sync_changes_since('d0000000-0000-4000-8000-000000000002', '{}')) JOIN spelling
    ON key = jsonb_build_object('id', n || text) AND changes -> 'insert' ->> 'v' = text
   AND changes -> 'insert' @> '{"at": "2025-01-02 03:04:05.6+00", "day": "2025-01-02", "u": "aaaaaaaa-bbbb-4ccc-8ddd-0123456789ef"}';
-- the same again is known from the journal, another value is not
SELECT u, status FROM unnest('{aaaaaaaa-bbbb-4ccc-8ddd-0123456789ef,aaaaaaaa-bbbb-4ccc-8ddd-0123456789ee}'::text[]) u, LATERAL sync_apply_delta((
    SELECT json_build_object('format', 1, 'replica', 'd0000000-0000-4000-8000-000000000001', 'changes', json_agg(
        json_build_object('seq', n, 'hlc', '2025-11-20T10:00:00.000Z/0', 'table', 'spelled', 'key', json_build_object('id', n || text),
                          'insert', json_build_object('v', text, 'at', '2025-01-02 03:04:05.6+00', 'day', '2025-01-02', 'u', u)) ORDER BY n))::text::delta
    FROM spelling));

DROP TABLE spelled, spelling, clock;
DROP FUNCTION one;
SELECT sync_revoke_device(d) FROM unnest('{d0000000-0000-4000-8000-000000000001,d0000000-0000-4000-8000-000000000002}'::uuid[]) d;
