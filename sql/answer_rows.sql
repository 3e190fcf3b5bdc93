--
-- Which rows does an answer tell whole?  Those that the device may not have: it was told of them, or made
-- them, but they are gone from it since.
--
SET client_min_messages = warning;
CREATE TABLE team (id int PRIMARY KEY, name text);
CREATE TABLE task (id int PRIMARY KEY, team int REFERENCES team, scope text, title text, revision int);
CREATE FUNCTION revise() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.revision := coalesce(NEW.revision, 0) + 1; RETURN NEW; END $$;
CREATE TRIGGER revise BEFORE INSERT OR UPDATE ON task FOR EACH ROW EXECUTE FUNCTION revise();
SELECT sync_enable_table('team');
SELECT sync_enable_table('task', 'scope', options => '{"on_delete": "update_wins"}');
CREATE FUNCTION device(n int) RETURNS uuid LANGUAGE sql IMMUTABLE AS
$$ SELECT format('%s-0000-4000-8000-000000000000', repeat(n::text, 8))::uuid $$;
SELECT sync_register_device(device(n), '{"",a}') IS NOT NULL AS registered FROM generate_series(1, 3) AS n;

-- a device keeps its vector and the last seq
CREATE TABLE client (n int PRIMARY KEY, vector jsonb NOT NULL DEFAULT '{}', seq int NOT NULL DEFAULT 0);
INSERT INTO client SELECT generate_series(1, 3);
-- is_answered: the answer arrives
CREATE FUNCTION push(me int, change text, is_answered boolean DEFAULT true, OUT outcomes text, OUT corrections text) LANGUAGE plpgsql AS $$
DECLARE c client;
BEGIN
    UPDATE client SET seq = seq + 1 WHERE n = me RETURNING * INTO c;
    SELECT (SELECT string_agg(concat_ws(' ', o ->> 'outcome', o ->> 'reason'), '; ') FROM jsonb_array_elements(r.outcomes) AS o),
           (SELECT string_agg(concat_ws(' ', d.kind, d.table_name, d.key ->> 'id', d.changes), '; ' ORDER BY d.table_name, d.key) FROM delta_changes(r.corrections) AS d)
    INTO outcomes, corrections
    FROM sync_apply_delta(format('{"format": 1, "replica": "%s", "context": %s, "changes": [{"seq": %s, "hlc": "2026-01-01T10:%s:00.000Z/0", %s}]}',
                          device(me), c.vector, c.seq, lpad(c.seq::text, 2, '0'), change)::delta) AS r;
    IF is_answered THEN
        UPDATE client SET vector = vector || jsonb_build_object(device(me), c.seq) WHERE n = me;
    END IF;
END $$;
CREATE FUNCTION pull(me int) RETURNS TABLE (kind text, table_name text, id text, changes jsonb) LANGUAGE plpgsql AS $$
DECLARE page delta := sync_changes_since(device(me), (SELECT vector FROM client WHERE n = me)::text::version_vector);
BEGIN
    UPDATE client SET vector = delta_to(page)::text::jsonb WHERE n = me;
    RETURN QUERY SELECT c.kind, c.table_name, c.key ->> 'id', c.changes FROM delta_changes(page) AS c ORDER BY 2, 3;
END $$;

-- a row that waits is not there when the device begins afresh
SELECT * FROM push(1, '"table": "task", "key": {"id": 1}, "insert": {"team": 1, "scope": "a"}');
SELECT * FROM pull(1);
INSERT INTO team VALUES (1, 'one');
SELECT * FROM push(1, '"table": "task", "key": {"id": 1}, "set": {"title": "set"}');
SELECT * FROM pull(1);

-- nor when a page stands for an answer that was lost, even if the row comes with the next push
SELECT * FROM push(1, '"table": "task", "key": {"id": 2}, "insert": {"team": 2, "scope": "a"}', false);
SELECT * FROM pull(1);
BEGIN;
SET LOCAL session_replication_role = replica;       -- the team arrives unnoticed
INSERT INTO team VALUES (2, 'two');
COMMIT;
SELECT * FROM push(1, '"table": "task", "key": {"id": 2}, "set": {"title": "set"}');
SELECT * FROM pull(1);

-- what it made since it last pulled it has
SELECT * FROM push(1, '"table": "task", "key": {"id": 3}, "insert": {"team": 1, "scope": "a"}');
SELECT * FROM push(1, '"table": "task", "key": {"id": 3}, "set": {"title": "set"}');
SELECT * FROM pull(1);
SELECT * FROM push(1, '"table": "task", "key": {"id": 3}, "set": {"title": "set again"}');

-- a scope that it was granted again comes with the next pull, its own rows, too
SELECT sync_revoke_scope(device(1), 'a');
SELECT * FROM pull(1);
SELECT sync_grant_scope(device(1), 'a');
SELECT * FROM push(1, '"table": "task", "key": {"id": 3}, "set": {"title": "unseen"}');
SELECT * FROM push(1, '"table": "task", "key": {"id": 3}, "set": {"scope": "b"}');
SELECT id FROM pull(1) WHERE table_name = 'task';
SELECT * FROM push(1, '"table": "task", "key": {"id": 3}, "set": {"title": "seen"}');

-- nor does it have what it moved where it may not pull, and gets back
SELECT sync_grant_scope(device(2), 'b', push => true, pull => false);
SELECT count(*) FROM pull(2);
SELECT * FROM push(2, '"table": "task", "key": {"id": 2}, "set": {"scope": "b"}');
SELECT * FROM push(2, '"table": "task", "key": {"id": 2}, "set": {"scope": "a"}');
SELECT * FROM pull(2);

-- nor what it made where it might not pull, and may now
SELECT sync_grant_scope(device(1), 'c', push => true, pull => false);
SELECT count(*) FROM pull(1);
SELECT * FROM push(1, '"table": "task", "key": {"id": 5}, "insert": {"team": 1, "scope": "c"}');
SELECT sync_grant_scope(device(1), 'c');
SELECT * FROM push(1, '"table": "task", "key": {"id": 5}, "set": {"title": "unseen"}');
SELECT * FROM push(1, '"table": "task", "key": {"id": 5}, "set": {"scope": "d"}');
SELECT * FROM pull(1);
SELECT * FROM push(1, '"table": "task", "key": {"id": 5}, "set": {"title": "seen"}');
DELETE FROM task WHERE id = 5;

-- the same where it moves the row on in that push
SELECT sync_grant_scope(device(1), 'e', push => true, pull => false);
SELECT * FROM push(1, '"table": "task", "key": {"id": 6}, "insert": {"team": 1, "scope": "e"}');
SELECT sync_grant_scope(device(1), 'e');
SELECT * FROM push(1, '"table": "task", "key": {"id": 6}, "set": {"scope": "c"}');
DELETE FROM task WHERE id = 6;
SELECT count(*) FROM pull(1);

-- a delete that is refused, of a row it may not have: what it had put there before is to go
CREATE TABLE entry (id int PRIMARY KEY, scope text, body text);
SELECT sync_enable_table('entry', 'scope', options => '{"mode": "append_only"}');
INSERT INTO entry VALUES (1, 'b', 'there');
SELECT * FROM push(2, '"table": "entry", "key": {"id": 1}, "insert": {"scope": "b", "body": "mine"}', false);
SELECT * FROM push(2, '"table": "entry", "key": {"id": 1}, "delete": true');

-- What a trigger makes of a row that is written for its clock only, is told to all: 3's write loses, but the row
-- would come back for it from a delete that has not seen it.
SELECT count(*) FROM pull(3);
UPDATE task SET revision = 80 WHERE id = 1;
SELECT * FROM pull(2);
SELECT * FROM push(3, '"table": "task", "key": {"id": 1}, "set": {"revision": 60}');
SELECT id, revision FROM task WHERE id = 1;
SELECT * FROM pull(2);
SELECT * FROM pull(3);
