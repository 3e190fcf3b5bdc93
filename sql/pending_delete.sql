--
-- A delete that waits behind an earlier change of its row: the device has dropped the row, so what others write
-- to it meanwhile comes with the whole row
--
SET client_min_messages = warning;
CREATE TABLE team (id int PRIMARY KEY);
CREATE TABLE task (id int PRIMARY KEY, team int REFERENCES team, title text, hours int);
SELECT sync_enable_table('team');
SELECT sync_enable_table('task');
CREATE FUNCTION id(device char) RETURNS uuid LANGUAGE sql IMMUTABLE AS
$$ SELECT ('00000000-0000-0000-0000-00000000000' || device)::uuid $$;
SELECT sync_register_device(id('a')) IS NOT NULL AS registered;
INSERT INTO team VALUES (1);
INSERT INTO task VALUES (1, 1, 'one', 1), (2, 1, 'two', 2);
CREATE TABLE client (vector text);
INSERT INTO client VALUES ('{}');
CREATE FUNCTION pull() RETURNS TABLE (kind text, table_name text, id text, changes jsonb) LANGUAGE plpgsql AS $$
DECLARE page delta;
BEGIN
    SELECT sync_changes_since(id('a'), c.vector::version_vector) INTO page FROM client AS c;
    UPDATE client SET vector = delta_to(page);
    RETURN QUERY SELECT c.kind, c.table_name, c.key ->> 'id', c.changes FROM delta_changes(page) AS c ORDER BY 2, 3;
END $$;
CREATE FUNCTION push(seq int, change text, OUT outcomes text) LANGUAGE plpgsql AS $$
BEGIN
    SELECT (SELECT string_agg(concat_ws(' ', o ->> 'outcome', o ->> 'reason'), '; ') FROM jsonb_array_elements(r.outcomes) AS o) INTO outcomes
    FROM sync_apply_delta(format('{"format": 1, "replica": "%s", "context": %s, "changes": [{"seq": %s, "hlc": "2026-01-01T00:00:0%sZ/0", "table": "task", %s}]}',
                                 id('a'), (SELECT vector FROM client), seq, seq, change)::delta) AS r;
    UPDATE client SET vector = vector::jsonb || jsonb_build_object(id('a'), seq);
END $$;
SELECT * FROM pull();
SELECT * FROM push(1, '"key": {"id": 1}, "set": {"team": 9}');
SELECT * FROM push(2, '"key": {"id": 1}, "delete": true');
UPDATE task SET hours = hours + 10;
SELECT * FROM pull();
-- the team arrives, and the delete after it
INSERT INTO team VALUES (9);
SELECT id, team, title, hours FROM task ORDER BY id;
SELECT * FROM pull();
