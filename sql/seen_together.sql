--
-- What else happens in the transaction of a push is not seen by its device: its
-- answer knew nothing of that
--
SET client_min_messages = warning;
CREATE TABLE item (id int PRIMARY KEY, a text, b text, n int, tags orset);
CREATE TABLE safe (id int PRIMARY KEY, n int, note text);
CREATE TABLE log (id int PRIMARY KEY, item int);
SELECT sync_enable_table('item', policies => '{"n": "counter"}'),
       sync_enable_table('safe', policies => '{"n": "counter"}', options => '{"consistency": "strong"}'), sync_enable_table('log');
CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN UPDATE item SET b = 'by trigger' WHERE id = NEW.item; RETURN NULL; END $$;
CREATE TRIGGER touch AFTER INSERT ON log FOR EACH ROW EXECUTE FUNCTION touch();
CREATE FUNCTION dev(d text) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$ SELECT ('00000000-0000-0000-0000-00000000000' || d)::uuid $$;
SELECT count(sync_register_device(dev(d))) AS devices FROM unnest('{a,b}'::text[]) AS d;
INSERT INTO item SELECT g, '0', '0', 0, '{"x", "y"}' FROM generate_series(1, 9) AS g;
INSERT INTO safe SELECT g, 0, '0' FROM generate_series(1, 3) AS g;

-- All answers of a device have arrived, but it pulled only once.  Its clock says January: it loses against whatever it has
-- not seen.
SELECT delta_to(sync_changes_since(dev('a'), '{}')) AS pulled \gset
CREATE FUNCTION delta_of(d text, pulled version_vector, VARIADIC changes text[]) RETURNS delta LANGUAGE sql STABLE AS $$
SELECT format('{"format": 1, "replica": "%s", "context": %s, "changes": [%s]}', dev(d), pulled | format('{"%s": %s}', dev(d), h.acked_seq)::version_vector,
    (SELECT string_agg(format('{"seq": %s, "hlc": "2026-01-01T10:00:00.000Z/0", %s}', h.acked_seq + n, c), ', ' ORDER BY n) FROM unnest(changes) WITH ORDINALITY AS u (c, n)))::delta
FROM sync_hello(dev(d)) AS h $$;
CREATE FUNCTION push(d text, pulled version_vector, VARIADIC changes text[]) RETURNS TABLE (status text, applied int, merged int, superseded int, conflicts int)
LANGUAGE sql VOLATILE AS $$ SELECT a.status, a.applied, a.merged, a.superseded, a.conflicts FROM sync_apply_delta(delta_of(d, pulled, VARIADIC changes)) AS a $$;

-- SQL after the push, and before it, of a row that the push names and of another one
BEGIN;
UPDATE item SET b = 'sql' WHERE id IN (1, 2);
SELECT * FROM push('a', :'pulled', '"table": "item", "key": {"id": 1}, "set": {"a": "a"}', '"table": "item", "key": {"id": 3}, "set": {"a": "a"}');
UPDATE item SET b = 'sql' WHERE id IN (3, 4);
COMMIT;
SELECT * FROM push('a', :'pulled', VARIADIC ARRAY(SELECT format('"table": "item", "key": {"id": %s}, "set": {"b": "unaware"}', g) FROM generate_series(1, 4) g));
SELECT id, a, b FROM item WHERE id <= 4 ORDER BY id;

-- the other device's push in the same transaction: what its trigger wrote
SELECT count(sync_submit_delta(d)) AS submitted FROM (VALUES (delta_of('a', :'pulled', '"table": "item", "key": {"id": 5}, "set": {"a": "a"}')),
    (delta_of('b', :'pulled', '"table": "log", "key": {"id": 1}, "insert": {"item": 5}', '"table": "log", "key": {"id": 2}, "insert": {"item": 6}'))) AS v (d);
SELECT count(*) AS processed FROM sync_process_queue();
SELECT * FROM push('a', :'pulled', VARIADIC ARRAY(SELECT format('"table": "item", "key": {"id": %s}, "set": {"b": "unaware"}', g) FROM generate_series(5, 6) g));
SELECT id, a, b FROM item WHERE id IN (5, 6) ORDER BY id;

-- its own push, a row that it does not name
SELECT * FROM push('a', :'pulled', '"table": "log", "key": {"id": 3}, "insert": {"item": 7}');
SELECT * FROM push('a', :'pulled', '"table": "item", "key": {"id": 7}, "set": {"b": "unaware"}');
SELECT id, a, b FROM item WHERE id = 7;

-- an element that SQL put into the set meanwhile is not taken out; one that was there is
BEGIN;
SELECT * FROM push('a', :'pulled', '"table": "item", "key": {"id": 8}, "add": {"tags": ["a"]}');
UPDATE item SET tags = ARRAY['a', 'x', 'y', 'sql']::text[]::orset WHERE id = 8;
COMMIT;
SELECT * FROM push('a', :'pulled', '"table": "item", "key": {"id": 8}, "remove": {"tags": ["sql", "x"]}');
SELECT tags::text[] FROM item WHERE id = 8;

-- What the answer told is seen: its own sums are no writes of somebody else
SELECT * FROM push('a', :'pulled', '"table": "safe", "key": {"id": 1}, "increment": {"n": 1}');
SELECT * FROM push('a', :'pulled', '"table": "safe", "key": {"id": 1}, "increment": {"n": 1}', '"table": "safe", "key": {"id": 1}, "set": {"note": "mine"}');
BEGIN;
SELECT * FROM push('a', :'pulled', '"table": "safe", "key": {"id": 2}, "increment": {"n": 1}');
SELECT * FROM push('b', :'pulled', '"table": "safe", "key": {"id": 3}, "increment": {"n": 1}');
SELECT * FROM push('a', :'pulled', '"table": "safe", "key": {"id": 2}, "increment": {"n": 1}');
COMMIT;
SELECT * FROM push('a', :'pulled', '"table": "safe", "key": {"id": 2}, "increment": {"n": 1}', '"table": "safe", "key": {"id": 3}, "increment": {"n": 1}');
SELECT id, n, note FROM safe ORDER BY id;

DROP TABLE item, safe, log;
DELETE FROM offline_sync.device;
