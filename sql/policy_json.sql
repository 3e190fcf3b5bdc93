--
-- The policy json: each top-level key of an object is a register of its own
--
SET client_min_messages = warning;
SELECT sync_register_device(('00000000-0000-0000-0000-00000000000' || d)::uuid, label => d) IS NOT NULL AS registered
FROM unnest('{a,b,c}'::text[]) AS d;

-- It fits columns of type jsonb
CREATE DOMAIN settings AS jsonb;
CREATE TABLE misfit (id jsonb PRIMARY KEY, scope jsonb, g jsonb GENERATED ALWAYS AS (scope) STORED, t text, j json, d settings, ok jsonb);
SELECT sync_enable_table('misfit', 'scope', '{"t": "json"}');
SELECT sync_enable_table('misfit', 'scope', '{"j": "json"}');
SELECT sync_enable_table('misfit', 'scope', '{"d": "json"}');
SELECT sync_enable_table('misfit', 'scope', '{"id": "json"}');
SELECT sync_enable_table('misfit', 'scope', '{"g": "json"}');
SELECT sync_enable_table('misfit', 'scope', '{"scope": "json"}');
SELECT sync_enable_table('misfit', 'scope', '{"ok": "json"}');
SELECT policies FROM sync_tables WHERE table_name = 'misfit';
ALTER TABLE misfit ALTER ok TYPE text;
DROP TABLE misfit;

-- One push of a device: what its context covers, its clock (on the day of the row's number), its changes: table, row, what
CREATE TABLE person (id int PRIMARY KEY, v jsonb, name text, tags orset);
SELECT sync_enable_table('person', policies => '{"v": "json"}');
CREATE FUNCTION push(d text, seen text, at text, VARIADIC changes text[])
RETURNS TABLE (counts text, outcomes jsonb, corrections text) LANGUAGE sql AS $$
    SELECT concat_ws('/', a.applied, a.merged, a.superseded, a.rejected, a.conflicts), nullif(a.outcomes, '[]'),
           (SELECT string_agg(concat(x -> 'key' ->> 'id', ':', coalesce(x -> 'set', x -> 'insert')), ' ')
            FROM jsonb_array_elements(a.corrections::text::jsonb -> 'changes') AS x)
    FROM sync_hello(('00000000-0000-0000-0000-00000000000' || d)::uuid) AS h,
    LATERAL (SELECT string_agg(format('{"seq": %s, "hlc": "2026-01-%sT%s:00.000Z/0", "table": "%s", "key": {"id": %s}, %s}',
                                      h.acked_seq + n, lpad(m[2], 2, '0'), at, m[1], m[2], m[3]), ',' ORDER BY n) AS list
             FROM unnest(changes) WITH ORDINALITY AS u (c, n), regexp_match(c, '(\w+) (\d+) (.*)') AS m) AS l,
    LATERAL sync_apply_delta(format('{"format": 1, "replica": "00000000-0000-0000-0000-00000000000%s", "context": %s, "changes": [%s]}',
                                    d, seen, l.list)::delta) AS a
$$;

-- What is stored so far; and the stamps of the keys, "*" of those that are not named
CREATE FUNCTION now_stored() RETURNS text LANGUAGE sql AS $$
    SELECT format('{"%s": "%s"}', sync_node(), max(xid::text)) FROM offline_sync.change_log
$$;
CREATE FUNCTION stamps(row_clock) RETURNS text LANGUAGE sql AS $$
    SELECT string_agg(concat(CASE WHEN is_removed THEN '-' END, coalesce(key, '*'), ' ',
                             CASE WHEN replica = sync_node() THEN 'sql'
                                  ELSE right(replica::text, 1) || to_char(hlc::timestamptz AT TIME ZONE 'UTC', ' HH24:MI') END),
                      ', ' ORDER BY key COLLATE "C" NULLS FIRST)
    FROM row_clock_keys($1)
$$;

-- Each key by itself; a client sends what it changed
INSERT INTO person VALUES (1, '{"theme": "dark", "font": 12, "lang": "en"}', 'Ann');
SELECT now_stored() AS seen \gset
SELECT * FROM push('a', :'seen', '10:00', 'person 1 "add": {"v": {"theme": "light"}}');
SELECT * FROM push('b', :'seen', '09:00', 'person 1 "remove": {"v": ["font"]}, "set": {"name": "Bea"}');
SELECT * FROM push('c', :'seen', '08:00', 'person 1 "add": {"v": {"size": 3, "theme": "red"}}');
SELECT v, name, stamps(_sync) FROM person;
-- ... the writes of one key by clock, whether they write or remove
SELECT * FROM push('c', :'seen', '11:00', 'person 1 "remove": {"v": ["theme"]}');
SELECT * FROM push('a', :'seen', '10:30', 'person 1 "add": {"v": {"theme": "blue", "font": 9}}');
SELECT v, stamps(_sync) FROM person;
SELECT current_value, incoming_value, right(current_replica::text, 1) AS by, policy, decision, state
FROM sync_conflicts WHERE column_name = 'v' ORDER BY detected_at;

-- "set" says what the object is: what its writer had seen and left out goes
INSERT INTO person VALUES (2, '{"a": 1, "b": 1, "c": 1}');
SELECT now_stored() AS seen \gset
SELECT * FROM push('a', :'seen', '10:00', 'person 2 "add": {"v": {"d": 2}}');
SELECT * FROM push('b', :'seen', '12:00', 'person 2 "set": {"v": {"a": 2}}');
SELECT v, stamps(_sync) FROM person WHERE id = 2;
-- ... a concurrent write of a key that it dropped stays, in either order
SELECT * FROM push('c', :'seen', '09:00', 'person 2 "add": {"v": {"b": 2}}');
SELECT v, stamps(_sync) FROM person WHERE id = 2;
INSERT INTO person VALUES (3, '{"a": 1, "b": 1, "c": 1}');
SELECT now_stored() AS seen \gset
SELECT * FROM push('c', :'seen', '09:00', 'person 3 "add": {"v": {"b": 2}}');
SELECT * FROM push('b', :'seen', '12:00', 'person 3 "set": {"v": {"a": 2}}');
SELECT * FROM push('a', :'seen', '10:00', 'person 3 "add": {"v": {"d": 2}}');
SELECT v, stamps(_sync) FROM person WHERE id = 3;
-- ... null is the empty object
SELECT * FROM push('a', now_stored(), '13:00', 'person 3 "set": {"v": null}');
SELECT v, stamps(_sync) FROM person WHERE id = 3;
-- ... and who knew all is told nothing
SELECT * FROM push('a', now_stored(), '13:00', 'person 3 "set": {"v": {"x": {"y": [1, 1.0]}}}', 'person 3 "add": {"v": {"z": null}}', 'person 3 "remove": {"v": ["x"]}');
SELECT v, stamps(_sync) FROM person WHERE id = 3;

-- Inserts of one key
SELECT * FROM push('a', '{}', '10:00', 'person 4 "insert": {"name": "a"}');
SELECT v IS NULL AS starts_null FROM person WHERE id = 4;
SELECT * FROM push('b', '{}', '10:01', 'person 4 "insert": {"v": {"b": 1, "x": "b"}}');
SELECT * FROM push('c', '{}', '10:02', 'person 4 "insert": {"v": {"c": 1, "x": "c"}}');
SELECT v, stamps(_sync) FROM person WHERE id = 4;
ALTER TABLE person ALTER v SET NOT NULL;
SELECT * FROM push('a', '{}', '10:00', 'person 5 "insert": {}', 'person 5 "add": {"v": {"a": 1}}');
SELECT v, stamps(_sync) FROM person WHERE id = 5;
ALTER TABLE person ALTER v DROP NOT NULL;

-- Written by SQL: what differs is the node's
UPDATE person SET v = '{"a": 1, "b": 1.0, "n": {}}' WHERE id = 5;
SELECT stamps(_sync) FROM person WHERE id = 5;
SELECT now_stored() AS seen \gset
SELECT * FROM push('b', :'seen', '10:00', 'person 5 "add": {"v": {"b": 2, "c": 3}}');
UPDATE person SET v = v - 'a' - 'c' || '{"d": 1, "n": {}}' WHERE id = 5;
SELECT v, stamps(_sync) FROM person WHERE id = 5;
UPDATE person SET name = 'Eve', v = v WHERE id = 5;
SELECT v, stamps(_sync) FROM person WHERE id = 5;
UPDATE person SET v = NULL WHERE id = 5;
SELECT v, stamps(_sync) FROM person WHERE id = 5;
UPDATE person SET v = '{"b": 1}' WHERE id = 5;
SELECT v, stamps(_sync) FROM person WHERE id = 5;
-- ... a conflict decided by a person is an update, too
SELECT conflict FROM sync_conflicts WHERE key ->> 'id' = '4' \gset
SELECT sync_resolve_conflict(:'conflict', 'incoming');
SELECT v, stamps(_sync) FROM person WHERE id = 4;

-- What is no object: SQL may write it, a device not; it may replace it when it has seen it
SELECT x ->> 'reason' AS reason, x ->> 'message' AS message, corrections
FROM push('a', now_stored(), '10:00', 'person 5 "set": {"v": [1]}', 'person 5 "set": {"v": "x"}', 'person 5 "set": {"v": {"$json": null}}', 'person 5 "set": {"v": "{}"}',
                   'person 5 "add": {"v": ["a"]}', 'person 5 "add": {"tags": {"a": 1}}', 'person 5 "add": {"name": {"a": 1}}', 'person 5 "remove": {"name": ["a"]}', 'person 5 "increment": {"v": 1}'),
     jsonb_array_elements(outcomes) AS x;
SELECT now_stored() AS seen \gset
UPDATE person SET v = '[1, 2]' WHERE id = 5;
SELECT stamps(_sync) FROM person WHERE id = 5;
SELECT * FROM push('a', :'seen', '10:00', 'person 5 "set": {"v": {"a": 1}, "name": "not stored"}', 'person 5 "set": {"name": "Eva"}');
SELECT * FROM push('a', now_stored(), '10:00', 'person 5 "add": {"v": {"a": 1}}');
SELECT * FROM push('a', now_stored(), '10:00', 'person 5 "set": {"v": {"a": 1}}', 'person 5 "add": {"v": {"b": 1}}');
SELECT v, name, stamps(_sync) FROM person WHERE id = 5;
-- ... in a group all or nothing
UPDATE person SET v = '"text"' WHERE id = 5;
SELECT counts, outcomes FROM push('b', :'seen', '10:00', 'person 5 "set": {"name": "not stored"}, "group": 1', 'person 5 "add": {"v": {"a": 1}}, "group": 1');
UPDATE person SET v = '{"a": 1}' WHERE id = 5;
SELECT v, name, stamps(_sync) FROM person WHERE id = 5;

-- A change that does nothing leaves the row as it is
SELECT _sync AS before FROM person WHERE id = 5 \gset
SELECT * FROM push('b', now_stored(), '10:00', 'person 5 "add": {"v": {}}', 'person 5 "remove": {"v": []}');
SELECT * FROM push('c', :'seen', '00:00', 'person 5 "add": {"v": {"a": 2}}');
SELECT _sync = :'before' AS is_unchanged FROM person WHERE id = 5;

-- Limits of what a clock holds
INSERT INTO person SELECT 6, jsonb_object_agg(n, n) FROM generate_series(1, 20000) AS n;
SELECT now_stored() AS seen \gset
SELECT counts, outcomes FROM push('a', :'seen', '10:00', 'person 6 "set": {"v": {}}', 'person 6 "set": {"name": "stored"}', format('person 6 "remove": {"v": ["%s"]}', repeat('x', 1025)));
SELECT counts, outcomes FROM push('a', :'seen', '11:00', format('person 6 "remove": {"v": ["%s", "3"]}', repeat('x', 1024)), 'person 6 "add": {"v": {"2": 2, "": 0}}');
SELECT count(*), min(replace(stamps(_sync), repeat('x', 1024), 'xxx')) AS stamps, min(name) AS name FROM person, jsonb_object_keys(v) WHERE id = 6;
-- ... SQL may do what it likes: then all keys are the node's
UPDATE person SET v = v - ARRAY(SELECT n::text FROM generate_series(1, 10000) AS n) WHERE id = 6;
SELECT stamps(_sync) IS NULL AS all_the_nodes FROM person WHERE id = 6;
DELETE FROM person WHERE id = 6;

-- Back to the whole value's last writer, and again to keys
SELECT sync_set_policy('person', 'v', 'lww');
SELECT * FROM push('a', now_stored(), '10:00', 'person 5 "add": {"v": {"a": 1}}', 'person 5 "set": {"v": {"b": 1, "c": 1}}');
SELECT sync_set_policy('person', 'v', 'json');
SELECT v, stamps(_sync) FROM person WHERE id = 5;
SELECT * FROM push('b', '{}', '10:30', 'person 5 "add": {"v": {"b": 2, "e": 1}}');
SELECT * FROM push('c', '{}', '09:00', 'person 5 "add": {"v": {"c": 2, "e": 2}}');
SELECT v, stamps(_sync) FROM person WHERE id = 5;

-- A row that update_wins brings back has its keys' stamps back
CREATE TABLE profile (id int PRIMARY KEY, v jsonb);
SELECT sync_enable_table('profile', policies => '{"v": "json"}', options => '{"on_delete": "update_wins"}');
INSERT INTO profile VALUES (7, '{"a": 1, "b": 1, "c": 1}');
SELECT now_stored() AS seen \gset
SELECT * FROM push('a', :'seen', '10:00', 'profile 7 "add": {"v": {"a": 2}}, "remove": {"v": ["b"]}');
DELETE FROM profile;
SELECT * FROM push('b', :'seen', '09:00', 'profile 7 "add": {"v": {"a": 3, "b": 3, "c": 3}}');
SELECT v, stamps(_sync) FROM profile;

-- strong: nothing is merged with a concurrent write
CREATE TABLE ledger (id int PRIMARY KEY, v jsonb);
SELECT sync_enable_table('ledger', policies => '{"v": "json"}', options => '{"consistency": "strong"}');
INSERT INTO ledger VALUES (8, '{"a": 1}');
SELECT now_stored() AS seen \gset
SELECT * FROM push('a', :'seen', '10:00', 'ledger 8 "add": {"v": {"b": 1}}', 'ledger 8 "remove": {"v": ["a"]}');
SELECT * FROM push('b', :'seen', '11:00', 'ledger 8 "add": {"v": {"c": 1}}');
SELECT v, stamps(_sync) FROM ledger;

DROP TABLE person, profile, ledger;
DROP FUNCTION push, now_stored, stamps;
DROP DOMAIN settings;
