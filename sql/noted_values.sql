--
-- What a push, and later tries of what waited, put into one journal row is bounded
--
SET client_min_messages = warning;
CREATE SCHEMA noted_test;
SET search_path = noted_test, public;
CREATE TABLE parent (id int PRIMARY KEY);
CREATE TABLE child (id int PRIMARY KEY, up int REFERENCES parent, body text);
CREATE TABLE loud (id int PRIMARY KEY, v text);
CREATE FUNCTION shout() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION USING MESSAGE = 'ü' || repeat('x', 100000), DETAIL = repeat('y', 100000), ERRCODE = 'check_violation';
END $$;
CREATE TRIGGER shout BEFORE INSERT ON loud FOR EACH ROW EXECUTE FUNCTION shout();
SELECT sync_enable_table('parent', options => '{"name": "parent"}'),
       sync_enable_table('child', options => '{"name": "child", "audit": "full"}'),
       sync_enable_table('loud', options => '{"name": "loud"}');
SELECT sync_register_device('aaaaaaaa-0000-4000-8000-000000000001') IS NOT NULL AS a;
-- two rows with 40 MB each
INSERT INTO child SELECT i, NULL, repeat('x', 40000000) FROM generate_series(1, 2) i;
SELECT status, deferred FROM sync_apply_delta((SELECT jsonb_build_object('format', 1, 'replica', 'aaaaaaaa-0000-4000-8000-000000000001',
    'changes', jsonb_agg(jsonb_build_object('seq', i, 'hlc', '2036-01-01T00:00:00Z/0', 'table', 'child', 'key', jsonb_build_object('id', i),
                                            'set', jsonb_build_object('up', i, 'body', 'y'))))::text::delta FROM generate_series(1, 2) i));
-- their parents come one by one
INSERT INTO parent VALUES (1);
INSERT INTO parent VALUES (2);
SELECT id, up, body FROM child ORDER BY id;
SELECT d -> 'seq' AS seq, d -> 'outcome' AS outcome, length(d #>> '{previous,body}') AS noted
FROM offline_sync.journal, jsonb_array_elements(details) d ORDER BY 1;

-- messages: of each, and of all
SELECT o ->> 'seq' AS seq, o ->> 'sqlstate' AS sqlstate, octet_length(o ->> 'message') AS message, right(o ->> 'message', 5) AS ends, octet_length(o ->> 'detail') AS detail
FROM sync_apply_delta('{"format": 1, "replica": "aaaaaaaa-0000-4000-8000-000000000001", "changes":
    [{"seq": 3, "hlc": "2026-01-01T00:00:00Z/0", "table": "loud", "key": {"id": 1}, "insert": {}},
     {"seq": 4, "hlc": "2026-01-01T00:00:00Z/0", "table": "loud", "key": {"id": 2}, "insert": {}}]}') a, jsonb_array_elements(a.outcomes) o;
DROP SCHEMA noted_test CASCADE;
