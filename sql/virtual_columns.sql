--
-- Generated columns that are computed when they are read (18), and temporal keys
--
SELECT current_setting('server_version_num')::int < 180000 AS is_older \gset
\if :is_older
\quit
\endif

CREATE TABLE item (id int PRIMARY KEY, n int, body text, twice int GENERATED ALWAYS AS (n * 2) VIRTUAL NOT NULL,
                   shout text GENERATED ALWAYS AS (upper(body)), stored int GENERATED ALWAYS AS (n + 1) STORED,
                   CHECK (twice < 1000));
-- with a trigger of its own it is written by statements
CREATE TABLE by_statement (LIKE item INCLUDING ALL);
CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE TRIGGER own BEFORE INSERT OR UPDATE ON by_statement FOR EACH ROW EXECUTE FUNCTION nothing();
CREATE TABLE parted (id int, n int, body text, twice int GENERATED ALWAYS AS (n * 2), PRIMARY KEY (id)) PARTITION BY RANGE (id);
CREATE TABLE parted_low PARTITION OF parted FOR VALUES FROM (0) TO (10);
CREATE TABLE parted_high PARTITION OF parted FOR VALUES FROM (10) TO (20);
SELECT sync_enable_table(t, options => '{"on_delete": "update_wins"}') FROM unnest('{item,by_statement,parted}'::regclass[]) AS t;
SELECT sync_register_device('00000000-0000-0000-0000-00000000000a') IS NOT NULL AS a,
       sync_register_device('00000000-0000-0000-0000-00000000000b') IS NOT NULL AS b;

CREATE FUNCTION push(device char, first_seq int, context text, VARIADIC changes text[])
RETURNS TABLE (status text, outcomes text, corrections text) LANGUAGE sql AS $$
SELECT r.status,
    (SELECT string_agg(concat_ws(' ', o ->> 'seq', o ->> 'outcome', o ->> 'reason', o ->> 'sqlstate', o ->> 'constraint', o ->> 'column'), '; ')
     FROM jsonb_array_elements(r.outcomes) AS o),
    (SELECT string_agg(concat_ws(' ', c.kind, c.table_name, c.key, c.changes), E'\n') FROM delta_changes(r.corrections) AS c)
FROM sync_apply_delta(format('{"format": 1, "replica": "00000000-0000-0000-0000-00000000000%s", "context": %s, "changes": [%s]}',
    device, context,
    (SELECT string_agg(format('{"seq": %s, "hlc": "2026-01-01T10:00:%s.000Z/0", %s}', first_seq + n - 1,
                              to_char(first_seq + n, 'FM00'), c), ', ' ORDER BY n)
     FROM unnest(changes) WITH ORDINALITY AS u(c, n)))::delta) AS r
$$;
CREATE FUNCTION pull(device char, INOUT since text, OUT changes text) LANGUAGE plpgsql AS $$
DECLARE
  page delta := sync_changes_since(('00000000-0000-0000-0000-00000000000' || device)::uuid, since::version_vector);
BEGIN
  since := delta_to(page);
  changes := (SELECT string_agg(concat_ws(' ', c.kind, c.table_name, c.key, c.changes), E'\n' ORDER BY c.table_name, c.key::text)
              FROM delta_changes(page) AS c);
END $$;

-- The device is told what is computed
SELECT * FROM push('a', 1, '{}', '"table": "item", "key": {"id": 1}, "insert": {"n": 5, "body": "x"}',
                                 '"table": "by_statement", "key": {"id": 1}, "insert": {"n": 5, "body": "x"}',
                                 '"table": "parted", "key": {"id": 1}, "insert": {"n": 5, "body": "x"}',
                                 '"table": "parted", "key": {"id": 11}, "insert": {"n": 5, "body": "x"}');
SELECT * FROM push('a', 5, '{}', '"table": "item", "key": {"id": 1}, "set": {"n": 6}',
                                 '"table": "by_statement", "key": {"id": 1}, "set": {"n": 6}',
                                 '"table": "parted", "key": {"id": 1}, "set": {"n": 6}',
                                 '"table": "parted", "key": {"id": 11}, "set": {"n": 6}');
-- ... may not write it, and is bound by constraints on it
SELECT * FROM push('a', 9, '{}', '"table": "item", "key": {"id": 1}, "set": {"twice": 6}',
                                 '"table": "by_statement", "key": {"id": 9}, "insert": {"n": 6, "shout": "X"}',
                                 '"table": "item", "key": {"id": 9}, "insert": {"body": "x"}',
                                 '"table": "by_statement", "key": {"id": 9}, "insert": {"body": "x"}',
                                 '"table": "item", "key": {"id": 1}, "set": {"n": 500}',
                                 '"table": "by_statement", "key": {"id": 1}, "set": {"n": 500}');
SELECT id, n, body, twice, shout, stored FROM item UNION ALL SELECT id, n, body, twice, shout, stored FROM by_statement;

-- Another device pulls it, and again when SQL has changed what it is computed from
SELECT * FROM pull('b', '{}') \gset b_
SELECT :'b_changes';
UPDATE item SET n = 7;
UPDATE parted SET n = 7;
SELECT * FROM pull('b', :'b_since') \gset b_
SELECT :'b_changes';

-- An update that beats a delete brings the row back, computed anew
DELETE FROM item;
DELETE FROM by_statement;
SELECT count(*) AS images, bool_or(d.image ?| (SELECT array_agg(c.column_id::text) FROM offline_sync.tracked_column c
                                               WHERE c.table_id = d.table_id AND c.column_name IN ('twice', 'shout'))) AS with_virtual
FROM offline_sync.tombstone d;
SELECT * FROM push('a', 15, '{}', '"table": "item", "key": {"id": 1}, "set": {"body": "y"}',
                                  '"table": "by_statement", "key": {"id": 1}, "set": {"body": "y"}');
SELECT id, n, body, twice, shout FROM item UNION ALL SELECT id, n, body, twice, shout FROM by_statement;

-- It is neither scope nor given a policy; PostgreSQL keeps it out of keys
CREATE TABLE other (id int PRIMARY KEY, n int, v int GENERATED ALWAYS AS (n));
SELECT sync_enable_table('other', 'v');
SELECT sync_set_policy('item', 'twice', 'counter');

-- Row security of a deleted row: its policy may compute, with a subquery or without
CREATE ROLE regress_virtual_ann;
CREATE TABLE secret (id int PRIMARY KEY, n int, is_open boolean GENERATED ALWAYS AS (n > 5));
CREATE TABLE closed (LIKE secret INCLUDING ALL);
ALTER TABLE secret ENABLE ROW LEVEL SECURITY;
ALTER TABLE closed ENABLE ROW LEVEL SECURITY;
CREATE POLICY open ON secret USING (is_open);
CREATE POLICY open ON closed USING ((SELECT is_open));
GRANT SELECT ON secret, closed TO regress_virtual_ann;
SELECT sync_enable_table('secret'), sync_enable_table('closed');
SELECT sync_register_device('00000000-0000-0000-0000-00000000000c', owner => 'regress_virtual_ann') IS NOT NULL AS c;
INSERT INTO secret VALUES (1, 1), (2, 10);
INSERT INTO closed SELECT id, n FROM secret;
SET ROLE regress_virtual_ann;
SELECT * FROM pull('c', '{}') \gset c_
SELECT :'c_changes';
RESET ROLE;
DELETE FROM secret;
DELETE FROM closed;
SET ROLE regress_virtual_ann;
SELECT * FROM pull('c', :'c_since') \gset c_
SELECT :'c_changes';
RESET ROLE;

-- The column comes later, and gets another expression, which devices hear of with the row's next change
SELECT sync_enable_table('other');
SELECT * FROM push('a', 17, '{}', '"table": "other", "key": {"id": 1}, "insert": {"n": 20}');
ALTER TABLE other ADD COLUMN half int GENERATED ALWAYS AS (n / 2);
SELECT * FROM push('a', 18, '{}', '"table": "other", "key": {"id": 1}, "set": {"n": 40}');
ALTER TABLE other ALTER COLUMN half SET EXPRESSION AS (n / 4);
SELECT * FROM push('a', 19, '{}', '"table": "other", "key": {"id": 1}, "set": {"n": 80}');

CREATE EXTENSION btree_gist;
-- A key WITHOUT OVERLAPS is none; who refers to a period waits for no row in particular
CREATE TABLE stay (room int, days daterange, v text, PRIMARY KEY (room, days WITHOUT OVERLAPS));
SELECT sync_enable_table('stay');
CREATE TABLE room (room int, days daterange, PRIMARY KEY (room, days), UNIQUE (room, days WITHOUT OVERLAPS));
CREATE TABLE booking (id int PRIMARY KEY, room int, days daterange,
                      FOREIGN KEY (room, PERIOD days) REFERENCES room (room, PERIOD days));
SELECT sync_enable_table('room'), sync_enable_table('booking');
INSERT INTO room VALUES (1, '[2026-01-01,2026-02-01)'), (1, '[2026-02-01,2026-03-01)');
SELECT * FROM push('a', 20, '{}', '"table": "booking", "key": {"id": 1}, "insert": {"room": 1, "days": "[2026-01-20,2026-02-10)"}',
                                  '"table": "booking", "key": {"id": 2}, "insert": {"room": 1, "days": "[2026-02-20,2026-03-10)"}',
                                  '"table": "room", "key": {"room": 1, "days": "[2026-02-10,2026-03-20)"}, "insert": {}');
SELECT * FROM push('b', 1, '{}', '"table": "room", "key": {"room": 1, "days": "[2026-03-01,2026-03-20)"}, "insert": {}');
SELECT sync_retry_pending();
SELECT id, days FROM booking;

-- Constraints that are not enforced are none
CREATE TABLE lax (id int PRIMARY KEY, n int CHECK (n > 0) NOT ENFORCED, parent int REFERENCES lax NOT ENFORCED);
SELECT sync_enable_table('lax');
SELECT * FROM push('a', 23, '{}', '"table": "lax", "key": {"id": 1}, "insert": {"n": -1, "parent": 7}');

DROP OWNED BY regress_virtual_ann;
DROP ROLE regress_virtual_ann;
