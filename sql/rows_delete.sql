--
-- Deletes against updates: the later one decides; parents with children; tables that are strong or append_only
--
SET client_min_messages = warning;
CREATE FUNCTION dev(d text) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$ SELECT ('00000000-0000-0000-0000-00000000000' || d)::uuid $$;
SELECT count(sync_register_device(dev(d))) AS devices FROM unnest('{a,b,c,d}'::text[]) AS d;

-- 18 has a code of its own for RESTRICT.  push(device, context, changes): '05 {"table": ...}' is a change at minute 05
CREATE FUNCTION push(d text, context text, VARIADIC changes text[]) RETURNS TABLE (status text, counts text, conflicts int, outcomes text, corrections text)
LANGUAGE sql VOLATILE AS $$
SELECT r.status, format('%s/%s/%s/%s', r.applied, r.merged, r.superseded, r.rejected), r.conflicts,
    (SELECT string_agg(concat_ws(' ', o ->> 'outcome', o ->> 'reason', replace(o ->> 'sqlstate', '23001', '23503'), o ->> 'constraint', o ->> 'column'), '; ') FROM jsonb_array_elements(r.outcomes) AS o),
    (SELECT string_agg(concat_ws(' ', c.table_name, c.key ->> 'id', c.kind, (c.changes - 'scope')::text), '; ' ORDER BY c.table_name, c.key ->> 'id') FROM delta_changes(r.corrections) AS c)
FROM sync_hello(dev(d)) AS h, sync_apply_delta(format('{"format": 1, "replica": "%s", "context": %s, "changes": [%s]}', dev(d), context,
    (SELECT string_agg(format('{"seq": %s, "hlc": "2026-01-01T10:%s:00.000Z/0", %s}', h.acked_seq + n, left(c, 2), substr(c, 4)), ', ' ORDER BY n)
     FROM unnest(changes) WITH ORDINALITY AS u (c, n)))::delta) AS r
$$;
-- what a device has seen that pulled just now
CREATE FUNCTION seen(d text) RETURNS text LANGUAGE sql VOLATILE AS $$ SELECT delta_to(sync_changes_since(dev(d), '{}'))::text $$;
-- the same context, but all answers to its own pushes have arrived
CREATE FUNCTION answered(d text, context text) RETURNS text LANGUAGE sql VOLATILE AS
$$ SELECT (context::jsonb || jsonb_build_object(dev(d)::text, h.acked_seq))::text FROM sync_hello(dev(d)) AS h $$;

-- ---------------------------------------------------------------- the later one decides
CREATE TABLE item (id int PRIMARY KEY, v text, w text DEFAULT 'filled', n int CHECK (n < 100), tags orset);
SELECT sync_enable_table('item', policies => '{"n": "counter"}', options => '{"on_delete": "lww"}');
INSERT INTO item SELECT g, 'start', 'start', 10, '{"x"}' FROM generate_series(1, 8) AS g;
SELECT seen('a') AS seen \gset

-- an update before the delete, then after it: the row is gone; then a later one brings it back with both
SELECT * FROM push('a', :'seen', '10 "table": "item", "key": {"id": 1}, "delete": true');
SELECT * FROM push('b', :'seen', '05 "table": "item", "key": {"id": 1}, "set": {"v": "early"}, "increment": {"n": 1}, "add": {"tags": ["y"]}');
SELECT * FROM item WHERE id = 1;
SELECT * FROM push('c', :'seen', '15 "table": "item", "key": {"id": 1}, "set": {"w": "late"}, "increment": {"n": 5}');
SELECT id, v, w, n, tags::text[] FROM item WHERE id = 1;
-- the same, the other way round: the delete comes last, and loses
SELECT * FROM push('c', :'seen', '15 "table": "item", "key": {"id": 2}, "set": {"w": "late"}, "increment": {"n": 5}');
SELECT * FROM push('b', :'seen', '05 "table": "item", "key": {"id": 2}, "set": {"v": "early"}, "increment": {"n": 1}, "add": {"tags": ["y"]}');
SELECT * FROM push('a', :'seen', '10 "table": "item", "key": {"id": 2}, "delete": true');
SELECT id, v, w, n, tags::text[] FROM item WHERE id = 2;
-- a change that left nothing in the cells counts: a sum, whose stamp is the node's, is as late as it was made
SELECT * FROM push('b', :'seen', '05 "table": "item", "key": {"id": 3}, "increment": {"n": 1}');
SELECT * FROM push('a', :'seen', '10 "table": "item", "key": {"id": 3}, "delete": true');
SELECT * FROM push('b', :'seen', '15 "table": "item", "key": {"id": 4}, "increment": {"n": 1}');
SELECT * FROM push('a', :'seen', '10 "table": "item", "key": {"id": 4}, "delete": true');
SELECT id, n FROM item WHERE id IN (3, 4);
-- of one minute: the greater replica
SELECT * FROM push('b', :'seen', '20 "table": "item", "key": {"id": 5}, "delete": true');
SELECT * FROM push('a', :'seen', '20 "table": "item", "key": {"id": 5}, "set": {"v": "a"}');
SELECT * FROM push('c', :'seen', '20 "table": "item", "key": {"id": 5}, "set": {"v": "c"}');
SELECT id, v FROM item WHERE id = 5;
-- who had seen the delete: an update finds no row, an insert makes a fresh one, whatever the clock
SELECT * FROM push('a', :'seen', '30 "table": "item", "key": {"id": 6}, "delete": true');
SELECT seen('b') AS later \gset
SELECT * FROM push('b', :'later', '25 "table": "item", "key": {"id": 6}, "set": {"v": "b"}', '25 "table": "item", "key": {"id": 6}, "insert": {"v": "fresh"}');
SELECT id, v, w, n, tags::text[] FROM item WHERE id = 6;
-- an answer that was lost: nothing counts twice
SELECT * FROM push('a', :'seen', '40 "table": "item", "key": {"id": 7}, "delete": true');
SELECT acked_seq + 1 AS next FROM sync_hello(dev('b')) \gset
SELECT format('{"format": 1, "replica": "%s", "context": %s, "changes": [{"seq": %s, "hlc": "2026-01-01T10:35:00.000Z/0", "table": "item", "key": {"id": 7}, "increment": {"n": 7}}]}',
              dev('b'), :'seen', :next) AS delta \gset
SELECT r.status, r.superseded FROM sync_apply_delta(:'delta') AS r;
SELECT r.status, r.superseded FROM sync_apply_delta(:'delta') AS r;
SELECT * FROM push('c', :'seen', '45 "table": "item", "key": {"id": 7}, "set": {"v": "back"}');
SELECT id, v, n FROM item WHERE id = 7;
-- what the table would not take does not go into the image either
SELECT * FROM push('a', :'seen', '50 "table": "item", "key": {"id": 8}, "delete": true');
SELECT * FROM push('b', :'seen', '46 "table": "item", "key": {"id": 8}, "increment": {"n": 1}', '46 "table": "item", "key": {"id": 8}, "increment": {"n": 1000}');
SELECT * FROM push('c', :'seen', '55 "table": "item", "key": {"id": 8}, "set": {"v": "back"}');
SELECT id, v, n FROM item WHERE id = 8;
-- nor what its sender may not write; where row security would have to be asked, nothing does
CREATE ROLE regress_columns;
GRANT SELECT, DELETE, INSERT, UPDATE (v) ON item TO regress_columns;
SELECT count(sync_register_device(dev(d), owner => 'regress_columns')) AS devices FROM unnest('{e,f}'::text[]) AS d;
SELECT seen('a') AS seen \gset
SELECT * FROM push('a', :'seen', '56 "table": "item", "key": {"id": 1}, "delete": true', '56 "table": "item", "key": {"id": 2}, "delete": true');
SET ROLE regress_columns;
SELECT * FROM push('e', :'seen', '55 "table": "item", "key": {"id": 1}, "set": {"v": "e"}', '55 "table": "item", "key": {"id": 1}, "set": {"w": "forbidden"}');
RESET ROLE;
ALTER TABLE item ENABLE ROW LEVEL SECURITY;
CREATE POLICY everything ON item TO regress_columns USING (true);
SET ROLE regress_columns;
SELECT * FROM push('f', :'seen', '55 "table": "item", "key": {"id": 2}, "set": {"v": "f"}');
RESET ROLE;
ALTER TABLE item DISABLE ROW LEVEL SECURITY;
SELECT * FROM push('c', :'seen', '58 "table": "item", "key": {"id": 1}, "increment": {"n": 0}', '58 "table": "item", "key": {"id": 2}, "increment": {"n": 0}');
SELECT id, v, w FROM item WHERE id IN (1, 2) ORDER BY id;
-- deletes and updates by SQL take part; they had seen everything
DELETE FROM item WHERE id = 3;
UPDATE item SET n = 50 WHERE id = 4;
SELECT * FROM push('a', :'seen', '59 "table": "item", "key": {"id": 4}, "delete": true');
SELECT id, n FROM item WHERE id IN (3, 4);
SELECT DISTINCT policy, decision, state FROM sync_conflicts WHERE table_name = 'item' AND column_name IS NULL ORDER BY 2;
REVOKE ALL ON item FROM regress_columns;
DROP TABLE item;

-- ---------------------------------------------------------------- a parent and its children
CREATE TABLE parent (id int PRIMARY KEY, name text);
CREATE TABLE child_no_action (id int PRIMARY KEY, parent int REFERENCES parent);
CREATE TABLE child_restrict (id int PRIMARY KEY, parent int REFERENCES parent ON DELETE RESTRICT);
CREATE TABLE child_cascade (id int PRIMARY KEY, parent int REFERENCES parent ON DELETE CASCADE);
CREATE TABLE child_set_null (id int PRIMARY KEY, parent int REFERENCES parent ON DELETE SET NULL, note text);
CREATE TABLE child_set_default (id int PRIMARY KEY, parent int DEFAULT 1 REFERENCES parent ON DELETE SET DEFAULT);
SELECT sync_enable_table(t::regclass) FROM unnest('{parent,child_no_action,child_restrict,child_cascade,child_set_null,child_set_default}'::text[]) AS t;
INSERT INTO parent SELECT g, 'parent ' || g FROM generate_series(1, 6) AS g;
INSERT INTO child_no_action VALUES (1, 2);
INSERT INTO child_restrict VALUES (1, 3);
INSERT INTO child_cascade VALUES (1, 4), (2, 4);
INSERT INTO child_set_null VALUES (1, 5);
INSERT INTO child_set_default VALUES (1, 6);
SELECT seen('a') AS seen \gset

-- no action and restrict are outcomes of the delete alone; the device is told to take the parent back
SELECT * FROM push('a', :'seen', '01 "table": "parent", "key": {"id": 2}, "delete": true');
SELECT * FROM push('a', :'seen', '01 "table": "parent", "key": {"id": 3}, "delete": true', '01 "table": "parent", "key": {"id": 1}, "set": {"name": "goes on"}');
-- what the others do to the children is the node's write; other devices learn of it, and so does this one
SELECT * FROM push('a', :'seen', '02 "table": "parent", "key": {"id": 4}, "delete": true', '02 "table": "parent", "key": {"id": 5}, "delete": true', '02 "table": "parent", "key": {"id": 6}, "delete": true');
SELECT c.table_name, c.key ->> 'id' AS id, c.kind, c.changes FROM delta_changes(sync_changes_since(dev('b'), :'seen')) AS c ORDER BY 1, 2;
SELECT c.table_name, c.key ->> 'id' AS id, c.kind, c.changes FROM delta_changes(sync_changes_since(dev('a'), answered('a', :'seen')::version_vector)) AS c ORDER BY 1, 2;
SELECT 'child_set_null' AS child, c.id, c.parent, e.column_name, e.replica = sync_node() AS is_the_nodes_write FROM child_set_null AS c, row_clock_entries('child_set_null', c._sync) AS e WHERE e.column_name = 'parent'
UNION ALL SELECT 'child_set_default', c.id, c.parent, e.column_name, e.replica = sync_node() FROM child_set_default AS c, row_clock_entries('child_set_default', c._sync) AS e WHERE e.column_name = 'parent';
-- with its children in the same delta, in any order
SELECT * FROM push('a', seen('a'), '03 "table": "parent", "key": {"id": 2}, "delete": true', '03 "table": "child_no_action", "key": {"id": 1}, "delete": true');
SELECT count(*) FROM child_no_action;

-- a child is inserted while its parent is deleted: the delete first, then the child, which waits for a parent to come until it expires; the child first, then the delete
INSERT INTO parent SELECT g, 'parent ' || g FROM generate_series(11, 14) AS g;
SELECT seen('a') AS seen \gset
SELECT * FROM push('a', :'seen', '04 "table": "parent", "key": {"id": 11}, "delete": true', '04 "table": "parent", "key": {"id": 12}, "delete": true');
SELECT * FROM push('b', :'seen', '04 "table": "child_cascade", "key": {"id": 11}, "insert": {"parent": 11}', '04 "table": "parent", "key": {"id": 1}, "set": {"name": "goes on"}');
SELECT * FROM push('b', :'seen', '04 "table": "child_cascade", "key": {"id": 13}, "insert": {"parent": 13}', '04 "table": "child_no_action", "key": {"id": 14}, "insert": {"parent": 14}');
SELECT * FROM push('a', :'seen', '04 "table": "parent", "key": {"id": 13}, "delete": true', '04 "table": "parent", "key": {"id": 14}, "delete": true');
SELECT id FROM parent WHERE id > 10;
SELECT 'cascade' AS child, id, parent FROM child_cascade UNION ALL SELECT 'no action', id, parent FROM child_no_action ORDER BY 1, 2;
-- the parent comes back where an update wins: its children, which went with it, do not
CREATE TABLE lasting (id int PRIMARY KEY, name text);
CREATE TABLE lasting_child (id int PRIMARY KEY, lasting int REFERENCES lasting ON DELETE CASCADE);
SELECT sync_enable_table('lasting', options => '{"on_delete": "update_wins"}'), sync_enable_table('lasting_child', options => '{"on_delete": "update_wins"}');
INSERT INTO lasting VALUES (1, 'one'), (2, 'two');
INSERT INTO lasting_child VALUES (1, 1);
SELECT seen('a') AS seen \gset
SELECT * FROM push('a', :'seen', '05 "table": "lasting", "key": {"id": 1}, "delete": true');
SELECT * FROM push('b', :'seen', '06 "table": "lasting", "key": {"id": 1}, "set": {"name": "stays"}');
SELECT l.id, l.name, c.id AS child FROM lasting AS l LEFT JOIN lasting_child AS c ON c.lasting = l.id ORDER BY 1;
-- ... unless somebody changed them, too
SELECT * FROM push('c', :'seen', '06 "table": "lasting_child", "key": {"id": 1}, "set": {"lasting": 2}');
SELECT l.id, l.name, c.id AS child FROM lasting AS l LEFT JOIN lasting_child AS c ON c.lasting = l.id ORDER BY 1;
DROP TABLE child_no_action, child_restrict, child_cascade, child_set_null, child_set_default, parent, lasting, lasting_child;

-- ---------------------------------------------------------------- strong
CREATE TABLE account (id int PRIMARY KEY, owner text, balance int DEFAULT 0, tags orset);
SELECT sync_enable_table('account', policies => '{"balance": "counter"}', options => '{"consistency": "strong"}');
INSERT INTO account SELECT g, 'sql', 100, '{}' FROM generate_series(1, 4) AS g;
SELECT seen('a') AS seen \gset
-- what a device wrote itself it has seen, in one push or in several, answered or not; counters and sets, too
SELECT * FROM push('a', :'seen', '01 "table": "account", "key": {"id": 1}, "increment": {"balance": 1}', '02 "table": "account", "key": {"id": 1}, "add": {"tags": ["x"]}');
SELECT * FROM push('a', :'seen', '03 "table": "account", "key": {"id": 1}, "increment": {"balance": 1}, "set": {"owner": "a"}');
-- anybody else's change of the row is concurrent, whatever it changes, also a delete and an insert
SELECT * FROM push('b', :'seen', '04 "table": "account", "key": {"id": 1}, "increment": {"balance": -50}', '04 "table": "account", "key": {"id": 1}, "delete": true', '04 "table": "account", "key": {"id": 1}, "insert": {"owner": "b"}');
SELECT * FROM push('b', seen('b'), '05 "table": "account", "key": {"id": 1}, "increment": {"balance": -50}');
SELECT id, owner, balance, tags::text[] FROM account WHERE id = 1;
-- by SQL, too, and of what is gone
UPDATE account SET balance = 0 WHERE id = 2;
DELETE FROM account WHERE id = 3;
SELECT * FROM push('c', :'seen', '06 "table": "account", "key": {"id": 2}, "set": {"owner": "c"}', '06 "table": "account", "key": {"id": 3}, "set": {"owner": "c"}', '06 "table": "account", "key": {"id": 4}, "set": {"owner": "c"}');
SELECT id, owner, balance FROM account ORDER BY id;
SELECT key ->> 'id' AS id, column_name, incoming_value, policy, decision, state, device = dev('b') AS of_b FROM sync_conflicts WHERE table_name = 'account' ORDER BY 1, seq;
DROP TABLE account;

-- ---------------------------------------------------------------- append_only
CREATE TABLE event (id int PRIMARY KEY, what text NOT NULL CHECK (what <> ''), at timestamptz DEFAULT '2026-01-01 00:00:00+00', n int DEFAULT 7);
SELECT sync_enable_table('event', options => '{"mode": "append_only"}');
INSERT INTO event VALUES (1, 'by sql');
SELECT seen('a') AS seen \gset
-- a repeated insert changes nothing and is no conflict; other changes are refused, also by who inserted the row
SELECT * FROM push('a', :'seen', '01 "table": "event", "key": {"id": 1}, "insert": {"what": "again"}', '01 "table": "event", "key": {"id": 2}, "insert": {"what": "a"}', '01 "table": "event", "key": {"id": 2}, "insert": {"what": "twice"}',
    '02 "table": "event", "key": {"id": 2}, "set": {"what": "changed"}', '03 "table": "event", "key": {"id": 2}, "delete": true', '04 "table": "event", "key": {"id": 9}, "set": {"what": "nowhere"}');
SELECT * FROM push('b', :'seen', '05 "table": "event", "key": {"id": 2}, "insert": {"what": "b"}', '05 "table": "event", "key": {"id": 3}, "insert": {"what": "b"}', '05 "table": "event", "key": {"id": 4}, "insert": {"what": ""}');
SELECT id, what, n FROM event ORDER BY id;
-- what is deleted by SQL stays so for who had not seen it; who had may insert it anew
DELETE FROM event WHERE id = 1;
SELECT * FROM push('a', :'seen', '06 "table": "event", "key": {"id": 1}, "insert": {"what": "a"}');
SELECT * FROM push('a', seen('a'), '07 "table": "event", "key": {"id": 1}, "insert": {"what": "anew"}');
SELECT id, what, n FROM event ORDER BY id;
SELECT count(*) AS conflicts FROM sync_conflicts WHERE table_name = 'event';
SELECT c.key ->> 'id' AS id, c.kind, c.changes FROM delta_changes(sync_changes_since(dev('d'), '{}')) AS c WHERE c.table_name = 'event' ORDER BY 1;
DROP TABLE event;

-- ---------------------------------------------------------------- deleted and made again in one delta
CREATE TABLE again (id int PRIMARY KEY, v text CHECK (v <> ''), w text DEFAULT 'filled', n numeric(12,2));
SELECT sync_enable_table('again', policies => '{"n": "counter"}');
INSERT INTO again SELECT g, 'start', 'start', 10 FROM generate_series(1, 4) AS g;
SELECT seen('a') AS seen \gset
-- what it said about the row before is not of the new one: it is told what that begins with, also where the delta
-- is split by what is refused
SELECT * FROM push('a', :'seen', '01 "table": "again", "key": {"id": 1}, "set": {"w": "filled"}, "increment": {"n": 1}', '02 "table": "again", "key": {"id": 1}, "delete": true', '03 "table": "again", "key": {"id": 1}, "insert": {"v": "new"}');
SELECT * FROM push('a', :'seen', '01 "table": "again", "key": {"id": 2}, "set": {"w": "filled"}, "increment": {"n": 1}', '02 "table": "again", "key": {"id": 4}, "set": {"v": ""}',
    '03 "table": "again", "key": {"id": 2}, "delete": true', '04 "table": "again", "key": {"id": 3}, "set": {"v": ""}', '05 "table": "again", "key": {"id": 2}, "insert": {"v": "new"}');
SELECT id, v, w, n FROM again ORDER BY id;
DROP TABLE again;
DELETE FROM offline_sync.device;
DROP ROLE regress_columns;
