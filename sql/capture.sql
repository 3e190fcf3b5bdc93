--
-- Capture of writes by SQL.  After each statement captured() compares the table
-- with what it was at the last call, and the clocks, the log and the tombstones
-- with what that says must have happened.
--
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS offline_sync;
RESET client_min_messages;
SET jit = off;

CREATE TABLE before_row (id text, scope text, doc jsonb, clock row_clock);
CREATE TABLE after_row (LIKE before_row);
CREATE TABLE mark (xid xid8);

CREATE FUNCTION table_id_of(rel regclass) RETURNS int LANGUAGE sql AS $$
    SELECT split_part(encode(tgargs, 'escape'), '\', 1)::int
    FROM pg_trigger WHERE tgrelid = rel AND tgname = '~offline_sync_capture'
$$;

-- the stamp of each column of a row, of what NULL stands for, too
CREATE FUNCTION stamps(rel regclass, clock row_clock)
RETURNS TABLE (column_id int, hlc hlc, replica uuid, node uuid, pos xid8)
LANGUAGE sql AS $$
    SELECT * FROM row_clock_entries(clock) WHERE clock IS NOT NULL
    UNION ALL
    SELECT c, t.enabled_hlc, n.node, n.node, t.enabled_xid
    FROM offline_sync.tracked_table t JOIN offline_sync.node n ON n.id = t.enabled_node,
         generate_series(1, t.enabled_columns) c
    WHERE clock IS NULL AND t.table_id = table_id_of(rel)
$$;

CREATE FUNCTION key_of(id text) RETURNS bytea LANGUAGE sql AS $$
    SELECT decode(lpad(to_hex(octet_length(id)), 2, '0'), 'hex') || convert_to(id, 'UTF8')
$$;

-- the log with one row for each entry
CREATE FUNCTION unshared(nkeys int, shared bytea) RETURNS SETOF bytea LANGUAGE plpgsql AS $$
DECLARE
    place int := 1;
    len int;
BEGIN
    IF nkeys = 1 THEN
        RETURN NEXT shared;
        RETURN;
    END IF;
    FOR i IN 1 .. nkeys LOOP
        len := get_byte(shared, place - 1);
        RETURN NEXT substr(shared, place + 1, len);
        place := place + 1 + len;
    END LOOP;
    ASSERT place = length(shared) + 1;
END $$;
CREATE VIEW entry AS
SELECT l.scope, l.node, l.xid, l.part, l.table_id, u.key
FROM offline_sync.change_log l, unshared(l.nkeys, l.key) AS u(key);

-- the columns of a table that have stamps of their own
CREATE FUNCTION stamped(rel regclass) RETURNS TABLE (column_id int, column_name text)
LANGUAGE sql AS $$
    SELECT c.column_id, c.column_name
    FROM offline_sync.tracked_column c
    JOIN pg_attribute a ON a.attrelid = rel AND a.attname = c.column_name
    WHERE c.table_id = table_id_of(rel) AND NOT c.is_dropped
      AND c.column_name <> 'id' AND a.attgenerated = ''
$$;

CREATE FUNCTION problems(rel regclass) RETURNS TABLE (problem text, id text)
LANGUAGE sql AS $$
    WITH start AS (SELECT xid FROM mark),
    fresh AS MATERIALIZED (
        SELECT l.scope, l.key, l.xid FROM entry l
        JOIN offline_sync.node n ON n.id = l.node
        WHERE l.table_id = table_id_of(rel) AND l.xid >= (SELECT xid FROM start)
          AND n.node = sync_node()
    ),
    pair AS MATERIALIZED (
        SELECT coalesce(a.id, b.id) AS id, key_of(coalesce(a.id, b.id)) AS key, a, b,
               a.id IS NOT NULL AS is_there, b.id IS NOT NULL AS was_there,
               a.doc IS DISTINCT FROM b.doc AS has_changed
        FROM after_row a FULL JOIN before_row b USING (id)
    ),
    stamp AS MATERIALIZED (
        SELECT p.id, s.* FROM pair p, stamps(rel, (p.a).clock) s WHERE p.is_there
    ),
    old_stamp AS MATERIALIZED (
        SELECT p.id, s.* FROM pair p, stamps(rel, (p.b).clock) s WHERE p.was_there
    ),
    cell AS (
        SELECT p.id, c.column_id,
               NOT p.was_there OR (p.a).doc -> c.column_name IS DISTINCT FROM (p.b).doc -> c.column_name
                   AS has_changed,
               s AS stamp, o AS old_stamp
        FROM pair p CROSS JOIN stamped(rel) c
        LEFT JOIN stamp s ON s.id = p.id AND s.column_id = c.column_id
        LEFT JOIN old_stamp o ON o.id = p.id AND o.column_id = c.column_id
        WHERE p.is_there
    )
    SELECT 'no log entry in ' || scope, p.id
    FROM pair p CROSS JOIN LATERAL (VALUES ((p.a).scope), ((p.b).scope)) v(scope)
    WHERE p.has_changed AND scope IS NOT NULL
      AND NOT EXISTS (SELECT FROM fresh e WHERE e.scope = v.scope AND e.key = p.key)
    UNION ALL
    SELECT 'a stamp without a log entry', p.id
    FROM pair p JOIN stamp s USING (id)
    WHERE (p.a).scope IS NOT NULL AND s.pos >= (SELECT xid FROM start)
      AND NOT EXISTS (SELECT FROM fresh e
                      WHERE e.scope = (p.a).scope AND e.key = p.key AND e.xid = s.pos)
    UNION ALL
    SELECT 'no stamp for column ' || column_id, c.id FROM cell c
    WHERE c.has_changed
      AND ((c.stamp).node = sync_node() AND (c.stamp).replica = sync_node()
           AND (c.stamp).pos >= (SELECT xid FROM start)) IS NOT TRUE
    UNION ALL
    SELECT 'another stamp for column ' || column_id, c.id FROM cell c
    WHERE NOT c.has_changed AND (c.stamp) IS DISTINCT FROM (c.old_stamp)
    UNION ALL
    SELECT 'another clock', p.id FROM pair p
    WHERE p.is_there AND p.was_there AND NOT p.has_changed AND (p.a).clock <> (p.b).clock
    UNION ALL
    SELECT 'a clock that does not advance', p.id FROM pair p
    WHERE p.is_there AND p.was_there AND p.has_changed
      AND row_clock_max_hlc((p.a).clock) <= row_clock_max_hlc((p.b).clock)
    UNION ALL
    SELECT 'no scope stamp', p.id FROM pair p
    WHERE p.is_there AND (NOT p.was_there OR (p.a).scope IS DISTINCT FROM (p.b).scope)
      AND (SELECT s."position" >= (SELECT xid FROM start)
           FROM row_clock_scope((p.a).clock) s) IS NOT TRUE
    UNION ALL
    SELECT 'another scope stamp', p.id FROM pair p
    WHERE p.is_there AND (p.a).scope = (p.b).scope AND (p.b).clock IS NOT NULL
      AND (SELECT s FROM row_clock_scope((p.a).clock) s)
          <> (SELECT s FROM row_clock_scope((p.b).clock) s)
    UNION ALL
    SELECT 'no tombstone', p.id FROM pair p
    WHERE p.was_there AND NOT p.is_there
      AND NOT EXISTS (
        SELECT FROM offline_sync.tombstone t
        WHERE t.table_id = table_id_of(rel) AND t.key = p.key
          AND t.xid >= (SELECT xid FROM start)
          AND t.scope IS NOT DISTINCT FROM (p.b).scope
          AND (SELECT f."position" = t.xid FROM row_clock_floor(t.clock) f ORDER BY place DESC LIMIT 1)
          AND row_clock_max_hlc(t.clock) > row_clock_max_hlc((p.b).clock)
          AND NOT EXISTS (SELECT FROM offline_sync.tracked_column c
                          WHERE c.table_id = t.table_id AND NOT c.is_dropped
                            AND t.image ->> c.column_id::text
                                IS DISTINCT FROM (p.b).doc ->> c.column_name))
$$;

-- what is wrong with what was captured since the last call, if anything; scope
-- NULL: the table has no scope column
CREATE FUNCTION captured(rel regclass, scope text DEFAULT 'scope') RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
    result text;
BEGIN
    DELETE FROM after_row;
    EXECUTE format('INSERT INTO after_row
                    SELECT d ->> ''id'', coalesce(d ->> %L, %L), d - ''_sync'', _sync
                    FROM (SELECT to_jsonb(r) AS d, _sync FROM %s r) x',
                   scope, CASE WHEN scope IS NULL THEN '' END, rel);
    SELECT string_agg(problem || ': ' || id, E'\n' ORDER BY problem, id)
    INTO result FROM problems(rel);
    PERFORM watch(rel, scope);
    RETURN coalesce(result, 'ok');
END $$;

CREATE FUNCTION watch(rel regclass, scope text DEFAULT 'scope') RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM before_row;
    EXECUTE format('INSERT INTO before_row
                    SELECT d ->> ''id'', coalesce(d ->> %L, %L), d - ''_sync'', _sync
                    FROM (SELECT to_jsonb(r) AS d, _sync FROM %s r) x',
                   scope, CASE WHEN scope IS NULL THEN '' END, rel);
    DELETE FROM mark;
    INSERT INTO mark VALUES (pg_snapshot_xmax(pg_current_snapshot()));
END $$;

-- entries of one table in the log
CREATE FUNCTION entries(rel regclass) RETURNS bigint LANGUAGE sql AS $$
    SELECT count(*) FROM entry WHERE table_id = table_id_of(rel)
$$;

CREATE FUNCTION buried(rel regclass) RETURNS bigint LANGUAGE sql AS $$
    SELECT count(*) FROM offline_sync.tombstone WHERE table_id = table_id_of(rel)
$$;

CREATE FUNCTION raised(statement text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE statement;
    RETURN 'nothing';
EXCEPTION WHEN OTHERS THEN
    RETURN sqlstate || ': ' || sqlerrm;
END $$;

CREATE TABLE item (id int PRIMARY KEY, scope text, title text, n int,
                   twice int GENERATED ALWAYS AS (n * 2) STORED, body text);
INSERT INTO item (id, scope, title, n) VALUES (1, 'a', 'old', 1), (2, NULL, 'old', 2);
SELECT sync_enable_table('item', 'scope');
SELECT watch('item');

-- ---------------------------------------------------------------------------
-- The checks themselves must be able to fail
-- ---------------------------------------------------------------------------
SELECT sync_set_capture(false);
INSERT INTO item (id, scope, title) VALUES (90, 'a', 'unseen');
SELECT captured('item');
DELETE FROM item WHERE id = 90;
SELECT captured('item');
SELECT sync_set_capture(true);

-- ---------------------------------------------------------------------------
-- INSERT, UPDATE, DELETE
-- ---------------------------------------------------------------------------
INSERT INTO item (id, scope, title, n) VALUES (3, 'a', 'three', 3), (4, 'b', NULL, NULL), (5, NULL, 'in no scope', 5);
SELECT captured('item');
UPDATE item SET title = 'new', n = n WHERE id IN (1, 3);
SELECT captured('item');
-- of a row that was there before the table was enabled, and is in no scope
UPDATE item SET title = 'new' WHERE id = 2;
SELECT captured('item');
-- into a scope, out of it, from one to another
UPDATE item SET scope = 'c' WHERE id = 2;
SELECT captured('item');
UPDATE item SET scope = NULL WHERE id = 3;
SELECT captured('item');
UPDATE item SET scope = 'd', n = 44 WHERE id = 4;
SELECT captured('item');
-- nothing really changes: no entry, and the clock stays
SELECT entries('item') AS entries \gset
UPDATE item SET title = title, n = n + 0, scope = scope || '';
SELECT captured('item'), entries('item') = :entries AS no_entries;
-- a value assigned to _sync counts for nothing
UPDATE item SET _sync = NULL;
SELECT captured('item'), entries('item') = :entries AS no_entries;
UPDATE item SET _sync = (SELECT _sync FROM item WHERE id = 1), title = 'newer' WHERE id = 3;
SELECT captured('item');
INSERT INTO item (id, scope, _sync) SELECT 6, 'a', _sync FROM item WHERE id = 1;
SELECT captured('item');
-- toasted values that stay, and one that changes
UPDATE item SET body = (SELECT string_agg(md5(i::text), '') FROM generate_series(1, 1000) i) WHERE id = 1;
SELECT captured('item');
UPDATE item SET n = 100 WHERE id = 1;
SELECT captured('item');
UPDATE item SET body = body || 'x' WHERE id = 1;
SELECT captured('item');
DELETE FROM item WHERE id IN (1, 5);
SELECT captured('item');
-- deleted twice: the second delete stands for both
INSERT INTO item (id, scope) VALUES (1, 'a');
DELETE FROM item WHERE id = 1;
SELECT captured('item');
SELECT count(DISTINCT t.ctid) AS tombstones, max(place) AS deletes
FROM offline_sync.tombstone t, row_clock_floor(t.clock)
WHERE t.key = key_of('1') AND t.table_id = table_id_of('item');
-- and in one transaction
BEGIN;
INSERT INTO item (id, scope) VALUES (1, 'a');
DELETE FROM item WHERE id = 1;
INSERT INTO item (id, scope) VALUES (1, 'b');
DELETE FROM item WHERE id = 1;
COMMIT;
SELECT count(DISTINCT t.ctid) AS tombstones, max(place) AS deletes, min(t.scope) AS scope
FROM offline_sync.tombstone t, row_clock_floor(t.clock)
WHERE t.key = key_of('1') AND t.table_id = table_id_of('item');
-- as often as anybody likes
DO $$
BEGIN
    FOR i IN 1..1100 LOOP
        INSERT INTO item (id, scope) VALUES (1, 'b');
        DELETE FROM item WHERE id = 1;
    END LOOP;
END $$;
-- another key is another row
SELECT watch('item');
UPDATE item SET id = 30 WHERE id = 3;
SELECT captured('item');
UPDATE item SET id = id + 100, title = 'moved', scope = 'm';
SELECT captured('item');
UPDATE item SET id = id;
SELECT captured('item');

-- ---------------------------------------------------------------------------
-- ON CONFLICT, MERGE, COPY
-- ---------------------------------------------------------------------------
INSERT INTO item (id, scope, title) VALUES (1, 'a', 'x'), (2, 'a', 'y'), (3, 'a', 'z');
SELECT captured('item');
INSERT INTO item (id, scope, title) VALUES (1, 'q', 'again') ON CONFLICT DO NOTHING;
SELECT captured('item');
INSERT INTO item AS i (id, scope, title) VALUES (1, 'a', 'upserted'), (7, 'a', 'fresh')
ON CONFLICT (id) DO UPDATE SET title = excluded.title, _sync = excluded._sync;
SELECT captured('item');
MERGE INTO item USING (VALUES (1, 'delete'), (2, 'update'), (8, 'insert')) s(id, what) ON item.id = s.id
WHEN MATCHED AND what = 'delete' THEN DELETE
WHEN MATCHED THEN UPDATE SET title = what
WHEN NOT MATCHED THEN INSERT (id, scope, title) VALUES (s.id, 'a', what);
SELECT captured('item');
COPY item (id, scope, title) FROM stdin;
20	a	copied
21	\N	copied
\.
SELECT captured('item');

-- ---------------------------------------------------------------------------
-- Transactions
-- ---------------------------------------------------------------------------
-- what a subtransaction that aborts wrote is forgotten, what one that commits wrote is not
SELECT entries('item') AS entries, buried('item') AS buried \gset
BEGIN;
SAVEPOINT s;
UPDATE item SET title = 'no';
DELETE FROM item;
ROLLBACK TO s;
COMMIT;
SELECT captured('item'), entries('item') - :entries AS entries, buried('item') - :buried AS buried;
BEGIN;
SAVEPOINT s;
UPDATE item SET title = 'yes' WHERE id = 2;
SAVEPOINT t;
DELETE FROM item WHERE id = 3;
DELETE FROM item WHERE id = 2;
ROLLBACK TO t;
INSERT INTO item (id, scope) VALUES (9, 'a');
RELEASE s;
COMMIT;
SELECT captured('item'), entries('item') - :entries AS entries, buried('item') - :buried AS buried;
BEGIN;
DELETE FROM item WHERE id = 9;
ROLLBACK;
SELECT captured('item'), entries('item') - :entries AS entries, buried('item') - :buried AS buried;
-- a row written many times in a transaction has one entry
BEGIN;
UPDATE item SET n = 1 WHERE id = 2;
UPDATE item SET n = 2 WHERE id = 2;
UPDATE item SET n = 3 WHERE id = 2;
COMMIT;
SELECT captured('item'), entries('item') - :entries AS entries;
-- many subtransactions
DO $$ BEGIN
    FOR i IN 1000 .. 3399 LOOP
        BEGIN
            INSERT INTO item (id, scope, n) VALUES (i, 'loop', i);
            IF i % 2 = 0 THEN
                RAISE EXCEPTION USING errcode = 'XX999';
            END IF;
        EXCEPTION WHEN SQLSTATE 'XX999' THEN NULL;
        END;
    END LOOP;
END $$;
SELECT captured('item');
SELECT count(*) FROM entry WHERE scope = 'loop';
-- more deletions than a part holds inside a subtransaction, one of a row that the
-- transaction has deleted outside of it already
BEGIN;
DELETE FROM item WHERE id = 1001;
SAVEPOINT s;
INSERT INTO item (id, scope, n) VALUES (1001, 'loop', 1001);
DELETE FROM item WHERE scope = 'loop';
RELEASE s;
COMMIT;
SELECT captured('item');
SELECT count(DISTINCT t.ctid) AS tombstones, max(place) AS deletes
FROM offline_sync.tombstone t, row_clock_floor(t.clock)
WHERE t.key = key_of('1001') AND t.table_id = table_id_of('item');
INSERT INTO item (id, scope, n) SELECT i, 'part' || i % 3, i FROM generate_series(10000, 12499) i;
SELECT captured('item');
SELECT scope, count(*), count(DISTINCT part) AS parts, count(DISTINCT xid) AS transactions
FROM entry WHERE scope LIKE 'part%' GROUP BY scope ORDER BY scope;
DELETE FROM item WHERE id > 10000;
SELECT captured('item');
-- rows that arrive by replication are changes too
SET session_replication_role = replica;
UPDATE item SET title = 'replicated' WHERE id = 2;
DELETE FROM item WHERE id = 10000;
SELECT captured('item');
RESET session_replication_role;

-- ---------------------------------------------------------------------------
-- Triggers, generated columns, cascades
-- ---------------------------------------------------------------------------
CREATE FUNCTION shout() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    new.title := upper(new.title);
    new.body := 'set by a trigger';
    RETURN new;
END $$;
CREATE TRIGGER zz_shout BEFORE INSERT OR UPDATE ON item FOR EACH ROW EXECUTE FUNCTION shout();
INSERT INTO item (id, scope, title) VALUES (40, 'a', 'quiet');
SELECT captured('item');
UPDATE item SET n = 3, title = 'quiet' WHERE id IN (2, 40);
SELECT captured('item');
SELECT id, title, twice, body FROM item WHERE id IN (2, 40) ORDER BY id;
DROP TRIGGER zz_shout ON item;

CREATE TABLE note (id int PRIMARY KEY, item int REFERENCES item ON DELETE CASCADE ON UPDATE CASCADE,
                   parent int REFERENCES note ON DELETE SET NULL);
SELECT sync_enable_table('note');
INSERT INTO note VALUES (1, 2, NULL), (2, 40, NULL), (3, 40, 2);
SELECT watch('note', NULL);
UPDATE item SET id = 41 WHERE id = 40;
SELECT captured('note', NULL);
DELETE FROM note WHERE id = 2;
SELECT captured('note', NULL);
DELETE FROM item WHERE id IN (2, 41);
SELECT captured('note', NULL);
SELECT count(*) AS in_scope FROM entry
WHERE table_id = table_id_of('note') AND scope = '' AND key = key_of('3');

-- ---------------------------------------------------------------------------
-- Names
-- ---------------------------------------------------------------------------
CREATE SCHEMA "Sch ema";
CREATE TABLE "Sch ema"."Ta""ble" (x int, id text, "Sco'pe" text, "a""b" text, PRIMARY KEY (id));
SELECT sync_enable_table('"Sch ema"."Ta""ble"', 'Sco''pe');
SELECT watch('"Sch ema"."Ta""ble"', 'Sco''pe');
INSERT INTO "Sch ema"."Ta""ble" VALUES (1, 'ä', 's', 'v'), (2, 'b', 's', 'w'), (3, '', 's', 'empty');
SELECT captured('"Sch ema"."Ta""ble"', 'Sco''pe');
ALTER TABLE "Sch ema"."Ta""ble" RENAME "a""b" TO renamed;
ALTER TABLE "Sch ema"."Ta""ble" RENAME TO t2;
ALTER TABLE "Sch ema".t2 DROP COLUMN x;
ALTER TABLE "Sch ema".t2 ADD COLUMN added text DEFAULT 'd';
SELECT watch('"Sch ema".t2', 'Sco''pe');
UPDATE "Sch ema".t2 SET renamed = 'changed' WHERE id = 'ä';
UPDATE "Sch ema".t2 SET added = 'changed' WHERE id = 'b';
SELECT captured('"Sch ema".t2', 'Sco''pe');
DELETE FROM "Sch ema".t2;
SELECT captured('"Sch ema".t2', 'Sco''pe');

-- ---------------------------------------------------------------------------
-- Partitions
-- ---------------------------------------------------------------------------
CREATE TABLE part (id int, region text, scope text, title text, gone int, PRIMARY KEY (id, region))
    PARTITION BY LIST (region);
CREATE TABLE part_n PARTITION OF part FOR VALUES IN ('n');
CREATE TABLE part_s (title text, dropped int, region text NOT NULL, id int NOT NULL, scope text, gone int);
ALTER TABLE part_s DROP COLUMN dropped;
ALTER TABLE part ATTACH PARTITION part_s FOR VALUES IN ('s');
CREATE TABLE part_x PARTITION OF part DEFAULT PARTITION BY RANGE (id);
CREATE TABLE part_x1 PARTITION OF part_x FOR VALUES FROM (0) TO (1000);
SELECT sync_enable_table('part', 'scope');
-- key_of() and the checks know keys of one column only
CREATE FUNCTION key_of(id text, region text) RETURNS bytea LANGUAGE sql AS $$
    SELECT key_of(id) || key_of(region) $$;
CREATE VIEW part_keys AS
SELECT p.*, tableoid::regclass::text AS partition, key_of(id::text, region) AS key FROM part p;
-- every row has stamps only of positions at which it was logged in its scope
CREATE FUNCTION logged() RETURNS boolean LANGUAGE sql AS $$
    SELECT bool_and(EXISTS (SELECT FROM entry l
                            WHERE l.table_id = table_id_of('part') AND l.key = p.key
                              AND l.scope = p.scope AND l.xid = s.pos))
    FROM part_keys p, stamps('part'::regclass, p._sync) s
$$;
INSERT INTO part VALUES (1, 'n', 'a', 'one'), (2, 's', 'a', 'two'), (3, 'w', 'b', 'three');
SELECT logged(), count(*), count(DISTINCT partition) FROM part_keys;
SELECT _sync AS clock FROM part WHERE id = 2 \gset
UPDATE part SET title = 'changed' WHERE id = 2;
SELECT logged();
SELECT column_id, (e) = (o) AS is_unchanged
FROM part p, row_clock_entries(p._sync) e JOIN row_clock_entries(:'clock') o USING (column_id)
WHERE id = 2 ORDER BY column_id;
INSERT INTO part_s (id, region, scope, title) VALUES (4, 's', 'a', 'four');
SELECT logged();
-- the partition column is part of the key: a move is another key
UPDATE part SET region = 's' WHERE id = 1;
SELECT logged(), (SELECT count(*) FROM offline_sync.tombstone
                  WHERE table_id = table_id_of('part') AND key = key_of('1', 'n')) AS tombstones,
       partition FROM part_keys WHERE id = 1;
DELETE FROM part WHERE id = 4;
SELECT logged(), buried('part');
TRUNCATE part_s;
SELECT logged(), buried('part');
TRUNCATE part;
SELECT buried('part'), count(*) FROM part;

-- a key of one column, for all the checks
CREATE TABLE range (id numeric PRIMARY KEY, scope text, title text, tags orset) PARTITION BY RANGE (id);
CREATE TABLE range_1 PARTITION OF range FOR VALUES FROM (0) TO (10);
CREATE TABLE range_2 (tags orset, scope text, title text, id numeric NOT NULL);
ALTER TABLE range ATTACH PARTITION range_2 FOR VALUES FROM (10) TO (20);
SELECT sync_enable_table('range', 'scope');
SELECT watch('range');
INSERT INTO range VALUES (1, 'a', 'one', '{"x","y"}'), (2, 'a', 'two', '{"x"}'), (13, 'b', 'thirteen', NULL);
SELECT captured('range');
UPDATE range SET id = id + 10, title = 'moved' WHERE id < 10;
SELECT captured('range');
SELECT tableoid::regclass, id, title FROM range ORDER BY id;
UPDATE range SET title = 'stays' WHERE id = 12;
SELECT captured('range');
UPDATE range SET scope = 'c' WHERE id = 13;
SELECT captured('range');
TRUNCATE range_2;
SELECT captured('range');

-- ---------------------------------------------------------------------------
-- Sets: what SQL adds has this node's tag, what stays keeps its own
-- ---------------------------------------------------------------------------
CREATE TABLE team (id int PRIMARY KEY, scope text, members orset);
SELECT sync_enable_table('team', 'scope');
-- element -> does it have exactly one tag, of this node, at or after the mark
CREATE FUNCTION tags(of_id int) RETURNS TABLE (element text, tags bigint, is_ours boolean, is_new boolean)
LANGUAGE sql AS $$
    SELECT e.key, count(t), bool_and((t ->> 0)::uuid = sync_node()),
           bool_and((t ->> 1)::xid8 >= (SELECT xid FROM mark))
    FROM team, jsonb_each(members::text::jsonb -> 'elements') e
    LEFT JOIN jsonb_array_elements(CASE WHEN jsonb_typeof(e.value) = 'array' THEN e.value ELSE '[]' END) t ON true
    WHERE team.id = of_id GROUP BY e.key ORDER BY e.key
$$;
SELECT watch('team');
INSERT INTO team VALUES (1, 'a', '{"ann","bob"}'), (2, 'a', NULL);
SELECT * FROM tags(1);
SELECT captured('team');
UPDATE team SET members = '{"bob","ann"}'::text[]::orset WHERE id = 1;
SELECT captured('team');
UPDATE team SET members = '{"ann","cy"}' WHERE id = 1;
SELECT * FROM tags(1);
SELECT captured('team');
UPDATE team SET members = (SELECT members FROM team WHERE id = 1) WHERE id = 2;
SELECT * FROM tags(2);
-- added, taken out and added again in one transaction
BEGIN;
UPDATE team SET members = '{}' WHERE id = 2;
UPDATE team SET members = '{"ann"}' WHERE id = 2;
COMMIT;
SELECT * FROM tags(2);
SELECT captured('team');
-- merging with what another copy of the set still has does not bring back bob
SELECT members AS old FROM team WHERE id = 1 \gset
UPDATE team SET members = '{"ann"}' WHERE id = 1;
SELECT orset_elements(orset_merge(members, :'old')) FROM team WHERE id = 1;

-- ---------------------------------------------------------------------------
-- Who writes needs no rights on the state tables
-- ---------------------------------------------------------------------------
CREATE ROLE regress_capture;
GRANT INSERT, UPDATE, DELETE, SELECT ON team TO regress_capture;
SELECT watch('team');
SET ROLE regress_capture;
INSERT INTO team VALUES (3, 'b', '{"x"}');
UPDATE team SET scope = 'c' WHERE id = 1;
DELETE FROM team WHERE id = 2;
SELECT raised('SELECT sync_set_capture(false)');
SELECT raised('SELECT count(*) FROM offline_sync.change_log');
RESET ROLE;
SELECT captured('team');

-- ---------------------------------------------------------------------------
-- Misuse
-- ---------------------------------------------------------------------------
CREATE TABLE other (id int PRIMARY KEY, _sync row_clock);
INSERT INTO other VALUES (1);
SELECT raised('SELECT sync_capture()');
CREATE TRIGGER t AFTER INSERT ON other FOR EACH ROW EXECUTE FUNCTION sync_capture('1');
SELECT raised('INSERT INTO other VALUES (2)');
DROP TRIGGER t ON other;
CREATE TRIGGER t BEFORE INSERT ON other EXECUTE FUNCTION sync_capture('1');
SELECT raised('INSERT INTO other VALUES (2)');
DROP TRIGGER t ON other;
CREATE TRIGGER t BEFORE INSERT ON other FOR EACH ROW EXECUTE FUNCTION sync_capture();
SELECT raised('INSERT INTO other VALUES (2)');
DROP TRIGGER t ON other;
CREATE TRIGGER t BEFORE INSERT ON other FOR EACH ROW EXECUTE FUNCTION sync_capture('1');
SELECT raised('INSERT INTO other VALUES (2)');
DROP TRIGGER t ON other;
CREATE TRIGGER "~offline_sync_capture" BEFORE INSERT ON other FOR EACH ROW EXECUTE FUNCTION sync_capture('1');
SELECT raised('INSERT INTO other VALUES (2)');
DROP TRIGGER "~offline_sync_capture" ON other;
CREATE TRIGGER t BEFORE DELETE ON other EXECUTE FUNCTION sync_capture_truncate('1');
SELECT raised('DELETE FROM other');
DROP TRIGGER t ON other;
CREATE TRIGGER t BEFORE TRUNCATE ON other EXECUTE FUNCTION sync_capture_truncate('1');
SELECT raised('TRUNCATE other');

DROP OWNED BY regress_capture;
DROP ROLE regress_capture;
