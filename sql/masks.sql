--
-- Columns that are not accepted from devices of a class, or not served to them
--
\set VERBOSITY terse
\set a '\'00000000-0000-0000-0000-0000000000a1\''
\set b '\'00000000-0000-0000-0000-0000000000b1\''
CREATE FUNCTION raised(statement text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE statement;
    RETURN 'nothing';
EXCEPTION WHEN OTHERS THEN
    RETURN sqlstate || ': ' || sqlerrm;
END $$;
CREATE TABLE person (id int PRIMARY KEY, team text NOT NULL, name text, salary int CHECK (salary < 1000), rating int DEFAULT 5, note text DEFAULT 'new');
SELECT sync_enable_table('person', 'team');
SELECT sync_register_device(:a, '{red}', class => 'worker') IS NOT NULL AS a,
       sync_register_device(:b, '{red}', class => 'manager') IS NOT NULL AS b;

CREATE TABLE seen (device uuid PRIMARY KEY, vector version_vector NOT NULL DEFAULT '{}');
INSERT INTO seen VALUES (:a), (:b);
-- pages of one change each, so that every page begins where another one stopped
CREATE FUNCTION pull(d uuid, at_once int DEFAULT 1) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
    page delta;
    token text;
BEGIN
    FOR i IN 1 .. 100 LOOP
        page := sync_changes_since(d, (SELECT vector FROM seen WHERE device = d), at_once, token);
        UPDATE seen SET vector = delta_to(page) WHERE device = d;
        token := delta_resume(page);
        RETURN QUERY SELECT concat_ws(' ', c.kind, c.key, c.changes) FROM delta_changes(page) c;
        EXIT WHEN NOT delta_has_more(page);
    END LOOP;
END $$;
CREATE FUNCTION push(d uuid, first_seq int, VARIADIC changes text[])
RETURNS TABLE (status text, outcomes text, told text) LANGUAGE sql AS $$
SELECT r.status, (SELECT string_agg(concat_ws(' ', o ->> 'seq', o ->> 'outcome', o ->> 'reason', o ->> 'sqlstate', o ->> 'column', o ->> 'message', left(o ->> 'detail', 26)), '; ')
    FROM jsonb_array_elements(r.outcomes) AS o),
    (SELECT string_agg(concat_ws(' ', c.kind, c.key, c.changes), '; ') FROM delta_changes(r.corrections) c)
FROM sync_apply_delta(format('{"format": 1, "replica": "%s", "context": %s, "changes": [%s]}', d,
    (SELECT vector FROM seen WHERE device = d),
    (SELECT string_agg(format('{"seq": %s, "hlc": "2026-01-01T10:00:00.000Z/0", "table": "person", %s}', first_seq + n - 1, c), ', ' ORDER BY n)
     FROM unnest(changes) WITH ORDINALITY AS u(c, n)))::delta) AS r
$$;

-- What cannot be said
SELECT raised($$SELECT sync_mask_columns('person', '{id}')$$);
SELECT raised($$SELECT sync_mask_columns('person', '{id}', push => true, pull => true)$$);
SELECT raised($$SELECT sync_mask_columns('person', '{team}')$$);
SELECT raised($$SELECT sync_mask_columns('person', '{nothing}')$$);
SELECT raised($$SELECT sync_mask_columns('person', '{salary, NULL}')$$);
SELECT raised($$SELECT sync_mask_columns('person', NULL)$$);
SELECT raised($$SELECT sync_mask_columns('seen', '{vector}')$$);
CREATE ROLE regress_masks_other;
SET ROLE regress_masks_other;
SELECT raised($$SELECT sync_mask_columns('person', '{salary}')$$);
SELECT count(*) FROM sync_masks;
RESET ROLE;

SELECT sync_mask_columns('person', '{salary}', 'worker');                     -- neither
SELECT sync_mask_columns('person', '{rating}', 'worker', push => true);       -- never served
SELECT sync_mask_columns('person', '{note}', push => false, pull => true);    -- never accepted
SELECT sync_mask_columns('person', '{team}', 'worker', pull => true);         -- no moves
SELECT * FROM sync_masks ORDER BY 1, 2, 3;
INSERT INTO person VALUES (1, 'red', 'ann', 100, 1, 'x'), (2, 'red', 'bob', 200, 2, 'y'), (3, 'blue', 'cid', 300, 3, 'z');

-- A bootstrap, and the log
SELECT * FROM pull(:a);
SELECT * FROM pull(:b);
UPDATE person SET salary = salary + 1, rating = 9 WHERE id = 1;
UPDATE person SET salary = salary + 1, name = 'bobby' WHERE id = 2;
SELECT * FROM pull(:a);
SELECT * FROM pull(:b);

-- A push: a change that writes such a column is refused, whole; the answer has none that
-- is not served, whoever's write prevailed
SELECT * FROM push(:a, 1,
    '"key": {"id": 1}, "set": {"name": "anna", "salary": 999}',
    '"key": {"id": 2}, "set": {"note": "n"}',
    '"key": {"id": 2}, "set": {"team": "blue"}',
    '"key": {"id": 4}, "insert": {"team": "red", "name": "dan"}',
    '"key": {"id": 2}, "set": {"rating": 7}');
SELECT id, team, name, salary, rating, note FROM person ORDER BY id;
-- insert of a row that is there: what is stored is told, but not that column
UPDATE person SET rating = 8, name = 'later' WHERE id = 1;
SELECT * FROM push(:a, 6, '"key": {"id": 1}, "set": {"rating": 6, "name": "earlier"}');
SELECT rating, name FROM person WHERE id = 1;
-- sent again: the row is told whole, without them
SELECT * FROM push(:a, 6, '"key": {"id": 1}, "set": {"rating": 6, "name": "earlier"}');
-- an error whose detail has the row
ALTER TABLE person ADD CONSTRAINT no_x CHECK (name <> 'x');
SELECT count(*) > 0 AS news FROM pull(:a) UNION ALL SELECT count(*) > 0 FROM pull(:b);
SELECT * FROM push(:a, 7, '"key": {"id": 1}, "set": {"name": "x"}');
SELECT * FROM push(:b, 1, '"key": {"id": 1}, "set": {"name": "x"}');
-- a group stands and falls with it
SELECT * FROM push(:a, 8, '"key": {"id": 1}, "set": {"name": "a"}, "group": 1', '"key": {"id": 2}, "set": {"salary": 1}, "group": 1');

-- Lifted: the rows come again, whole, to those who lack something
SELECT count(*) > 0 AS news FROM pull(:a);
SELECT sync_mask_columns('person', '{rating}', 'worker', push => true, pull => true);
SELECT * FROM sync_masks ORDER BY 1, 2, 3;
SELECT * FROM pull(:a);
SELECT * FROM pull(:a);
SELECT * FROM pull(:b);
-- ... also where other rows are written in the same transaction, and pages are small
BEGIN;
UPDATE person SET name = 'ann' WHERE id = 1;
SELECT sync_mask_columns('person', '{rating}', 'worker');
COMMIT;
SELECT * FROM pull(:a);
BEGIN;
UPDATE person SET name = 'anna' WHERE id = 1;
SELECT sync_mask_columns('person', '{rating}', 'worker', push => true, pull => true);
COMMIT;
SELECT * FROM pull(:a);
SELECT * FROM pull(:a);

-- Another class: what the former one was not served comes
SELECT sync_register_device(:a, class => 'manager') IS NOT NULL AS again;
SELECT * FROM pull(:a);
SELECT * FROM pull(:a);
SELECT sync_register_device(:a, class => 'manager') IS NOT NULL AS again;
SELECT * FROM pull(:a);

-- For all devices; a device without a class, too
SELECT sync_mask_columns('person', '{rating}');
SELECT sync_register_device('00000000-0000-0000-0000-0000000000c1', '{blue}') IS NOT NULL AS c;
INSERT INTO seen VALUES ('00000000-0000-0000-0000-0000000000c1');
SELECT * FROM pull('00000000-0000-0000-0000-0000000000c1');
-- a renamed column stays masked
ALTER TABLE person RENAME rating TO rank;
UPDATE person SET rank = 11, name = 'cc' WHERE id = 3;
SELECT * FROM pull('00000000-0000-0000-0000-0000000000c1');
DROP ROLE regress_masks_other;
