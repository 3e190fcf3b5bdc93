--
-- Changes that wait for the row that they refer to
--
SET client_min_messages = warning;
CREATE SCHEMA pending_test;
SET search_path = pending_test, public;

CREATE TABLE team (id int PRIMARY KEY, name text);
CREATE TABLE task (id int PRIMARY KEY, team int REFERENCES team, up int REFERENCES task, title text,
                   place text DEFAULT 'here', tags orset);
CREATE TABLE note (id int PRIMARY KEY, task int REFERENCES task, body text);
SELECT sync_enable_table('team', options => '{"name": "team"}');
SELECT sync_enable_table('task', options => '{"name": "task"}');
SELECT sync_enable_table('note', options => '{"name": "note", "audit": "full"}');
SELECT sync_register_device(('00000000-0000-0000-0000-00000000000' || d)::uuid, label => d) IS NOT NULL AS registered
FROM unnest('{a,b,c,d}'::text[]) AS d;

CREATE FUNCTION id(device char) RETURNS uuid LANGUAGE sql IMMUTABLE AS
$$ SELECT ('00000000-0000-0000-0000-00000000000' || device)::uuid $$;
-- delta_of(device, first seq, changes): 'task 1 {...}' is a change of the task with id 1; '1:task ...' one of group 1
CREATE FUNCTION delta_of(device char, first_seq bigint, context text, VARIADIC changes text[]) RETURNS delta LANGUAGE sql STABLE AS $$
SELECT format('{"format": 1, "replica": "%s", "context": %s, "changes": [%s]}', id(device), context,
    (SELECT string_agg(format('{"seq": %s, "hlc": "2026-01-01T10:%s:00.000Z/0", %s "table": "%s", "key": {"id": %s}, %s}',
                              first_seq + n - 1, lpad((first_seq + n - 1)::text, 2, '0'), '"group": ' || m[2] || ',',
                              m[3], m[4], m[5]), ', ' ORDER BY n)
     FROM unnest(changes) WITH ORDINALITY AS u(c, n), regexp_match(c, '^((\d+):)?(\w+) (\d+) (.*)$') AS m))::delta
$$;
CREATE FUNCTION push_with(device char, context text, VARIADIC changes text[])
RETURNS TABLE (status text, acked bigint, applied int, rejected int, deferred int, outcomes text, corrections text)
LANGUAGE plpgsql AS $$
DECLARE
    next_seq bigint := (SELECT h.acked_seq + 1 FROM sync_hello(id(device)) AS h);
BEGIN
    RETURN QUERY
    SELECT r.status, r.acked_seq, r.applied, r.rejected, r.deferred,
        (SELECT string_agg(concat_ws(' ', o ->> 'seq', o ->> 'outcome', o ->> 'reason', o ->> 'sqlstate', o ->> 'constraint'), '; ')
         FROM jsonb_array_elements(r.outcomes) AS o),
        (SELECT string_agg(concat_ws(' ', c.kind, c.table_name, c.key ->> 'id', c.changes::text), '; ')
         FROM delta_changes(r.corrections) AS c)
    FROM sync_apply_delta(delta_of(device, next_seq, context, VARIADIC changes)) AS r;
END $$;
CREATE FUNCTION push(device char, VARIADIC changes text[])
RETURNS TABLE (status text, acked bigint, applied int, rejected int, deferred int, outcomes text, corrections text)
LANGUAGE sql AS $$ SELECT * FROM push_with(device, '{}', VARIADIC changes) $$;
CREATE VIEW tasks AS SELECT id, team, up, title, tags::text[] FROM task ORDER BY id;
CREATE VIEW waiting AS
SELECT right(w.device::text, 1) AS device, w.seq, w.unit, t.wire_name, w.reason, w.constraint_name,
       offline_sync.row_key_json(w.parent_table_id, w.parent_key) AS parent
FROM offline_sync.waiting AS w JOIN offline_sync.tracked_table AS t USING (table_id) ORDER BY w.device, w.seq;
-- what a device is told that pulls from there on
CREATE FUNCTION pull(device char, vector text) RETURNS TABLE (kind text, table_name text, id text, changes jsonb) LANGUAGE sql AS $$
SELECT c.kind, c.table_name, c.key ->> 'id', c.changes
FROM delta_changes(sync_changes_since(id(device), vector::version_vector)) AS c $$;
CREATE FUNCTION here(device char) RETURNS text LANGUAGE sql AS $$
SELECT format('{"%s": %s, "%s": %s}', sync_node(), pg_snapshot_xmax(pg_current_snapshot())::text::bigint - 1, id(device),
              (SELECT h.acked_seq FROM sync_hello(id(device)) AS h)) $$;

-- A missing parent is no reason to refuse: the change waits, the rest is applied
SELECT * FROM push('a', 'task 1 "insert": {"team": 1, "title": "waits"}', 'task 2 "insert": {"title": "does not"}');
SELECT * FROM tasks;
SELECT * FROM waiting;
SELECT label, status, pending FROM sync_devices WHERE pending > 0;
-- later changes of the same row wait behind it, as do rows that refer to it
SELECT * FROM push('a', 'task 1 "set": {"title": "later"}', 'note 1 "insert": {"task": 1}', 'task 1 "add": {"tags": ["x"]}');
SELECT * FROM waiting;
SELECT seq, operation, outcome, reason FROM sync_audit WHERE device = id('a') ORDER BY seq;
-- ... and while they do, sending them again is answered so, and nothing is retracted
SELECT status, acked_seq, outcomes, corrections IS NULL AS no_corrections
FROM sync_apply_delta(delta_of('a', 1, '{}', 'task 1 "insert": {"team": 1, "title": "waits"}'));
-- ... nor by a pull of a device that did not get the answer
SELECT * FROM pull('a', '{}');

-- The parent comes by SQL: all of it is applied, in order
SELECT here('a') AS a \gset
INSERT INTO team VALUES (1, 'one');
SELECT * FROM tasks;
SELECT id, task FROM note;
SELECT count(*) FROM waiting;
SELECT label, status, pending FROM sync_devices WHERE label = 'a';
SELECT seq, operation, outcome, reason FROM sync_audit WHERE device = id('a') ORDER BY seq;
SELECT right(device::text, 1) AS device, seq, table_id FROM offline_sync.late_change ORDER BY device, seq;
-- ... the device is told with its next pull
SELECT * FROM pull('a', :'a');
-- ... and the answer to a repetition is what became of it
SELECT status, acked_seq, outcomes FROM sync_apply_delta(delta_of('a', 1, '{}', 'task 1 "insert": {"team": 1, "title": "waits"}'));

-- By a later push of the same device, whatever order it is in
SELECT * FROM push('a', 'note 2 "insert": {"task": 3}', 'task 3 "insert": {"team": 2}');
SELECT * FROM push('a', 'team 2 "insert": {"name": "two"}', 'task 3 "set": {"title": "three"}');
SELECT * FROM tasks WHERE id = 3;
SELECT id, task FROM note WHERE id = 2;
SELECT count(*) FROM waiting;
-- By a push of another device
SELECT * FROM push('a', 'task 4 "insert": {"team": 3, "title": "by a"}');
SELECT * FROM push('b', 'team 3 "insert": {"name": "by b"}');
SELECT * FROM tasks WHERE id = 4;
-- A chain through two devices
SELECT * FROM push('a', 'note 3 "insert": {"task": 5}');
SELECT * FROM push('b', 'task 5 "insert": {"team": 4, "title": "by b"}');
SELECT * FROM waiting;
INSERT INTO team VALUES (4, 'four');
SELECT id, task FROM note WHERE id = 3;
SELECT count(*) FROM waiting;
-- In one delta: what a bisection leaves finds its parent
SELECT * FROM push('c', 'task 12 "insert": {"up": 11, "title": "before its parent"}', 'task 99 "insert": {"team": 99}',
    'task 11 "insert": {"up": 10}', 'task 98 "insert": {"title": "x", "nothing": 1}', 'task 10 "insert": {}');
SELECT * FROM tasks WHERE id BETWEEN 10 AND 12;
SELECT * FROM waiting;
-- A parent that comes by COPY, or by a change of its key
SELECT * FROM push('c', 'task 13 "insert": {"team": 13}', 'task 14 "insert": {"team": 14}');
COPY team (id, name) FROM stdin;
13	copied
15	other
\.
UPDATE team SET id = 14 WHERE id = 15;
SELECT * FROM tasks WHERE id IN (13, 14);

-- An update that refers to what is missing; the row stays as it is, and other columns wait with it
SELECT * FROM push('d', 'task 20 "insert": {"title": "twenty"}');
SELECT * FROM push('d', 'task 20 "set": {"team": 20}', 'task 20 "set": {"title": "new"}', 'task 20 "delete": true', 'task 21 "insert": {"up": 20}');
SELECT * FROM tasks WHERE id >= 20;
SELECT * FROM waiting WHERE device = 'd';
UPDATE task SET title = 'by sql' WHERE id = 20;
INSERT INTO team VALUES (20, 'twenty');
SELECT * FROM tasks WHERE id >= 20;
SELECT seq, operation, outcome, reason FROM sync_audit WHERE device = id('d') ORDER BY seq;
-- ... an error decides nothing in somebody else's statement: the delete, of a row that another refers to, is refused
-- with the device's next push
SELECT * FROM waiting WHERE device = 'd';
SELECT status, applied FROM push('d', 'team 21 "insert": {}');
SELECT seq, operation, outcome, reason FROM sync_audit WHERE device = id('d') AND seq = 4;

-- A delete of a row that others refer to is refused
SELECT * FROM push_with('b', format('{"%s": %s}', sync_node(), pg_snapshot_xmax(pg_current_snapshot())), 'team 1 "delete": true');

-- A group waits as a whole
SELECT * FROM push('b', '1:task 30 "insert": {"title": "one of a group"}', '1:task 31 "insert": {"team": 30}', '1:note 30 "insert": {"task": 30}',
    'note 31 "insert": {"task": 30}');
SELECT * FROM waiting WHERE device = 'b';
INSERT INTO team VALUES (30, 'thirty');
SELECT * FROM tasks WHERE id BETWEEN 30 AND 31;
SELECT id, task FROM note WHERE id >= 30;

-- What is missing next is noted
SELECT * FROM push('b', 'task 40 "insert": {"team": 40, "up": 41}');
INSERT INTO team VALUES (40, 'forty');
SELECT * FROM waiting WHERE device = 'b';
INSERT INTO task (id) VALUES (41);
SELECT * FROM tasks WHERE id = 40;

-- What is not a question of waiting any more: refused, and the device is told
CREATE TABLE state AS SELECT here('b') AS vector;
SELECT * FROM push('b', 'task 50 "insert": {"team": 50}', 'task 50 "set": {"title": "x"}', 'task 1 "set": {"team": 50}');
UPDATE offline_sync.waiting SET expires_at = now() - interval '1 hour' WHERE device = id('b') AND reason = 'missing_parent';
SELECT * FROM sync_retry_pending();
SELECT seq, operation, outcome, reason FROM sync_audit WHERE device = id('b') ORDER BY seq DESC LIMIT 3;
SELECT label, status, pending FROM sync_devices WHERE label = 'b';
SELECT kind, table_name, p.id, changes ->> 'team' AS team FROM state, pull('b', (vector::jsonb || jsonb_build_object(id('b')::text, 100))::text) AS p;
-- ... with an empty delta, too
SELECT * FROM push('b', 'task 51 "insert": {"team": 51}');
UPDATE offline_sync.waiting SET expires_at = now() - interval '1 hour' WHERE device = id('b');
SELECT status, acked_seq FROM sync_apply_delta(format('{"format": 1, "replica": "%s", "changes": []}', id('b'))::delta);
SELECT seq, operation, outcome, reason FROM sync_audit WHERE device = id('b') ORDER BY seq DESC LIMIT 1;
-- ... nobody waits
SET offline_sync.pending_timeout = 0;
SELECT * FROM push('b', 'task 52 "insert": {"team": 52}');
RESET offline_sync.pending_timeout;
-- ... too much waits
SET offline_sync.max_pending = 1;
SELECT * FROM push('c', 'task 52 "insert": {"team": 52}', 'task 53 "insert": {}');
SELECT jsonb_path_query(outcomes, '$[*].message') FROM sync_apply_delta(delta_of('c', 8, '{}', 'task 52 "insert": {"team": 52}', 'task 53 "insert": {}'));
RESET offline_sync.max_pending;
-- ... the device is revoked
SELECT sync_revoke_device(id('c'));
SELECT device, seq FROM waiting;
INSERT INTO team VALUES (99, 'too late');
SELECT count(*) FROM tasks WHERE id = 99;
SELECT seq, operation, outcome, reason FROM sync_audit WHERE device = id('c') AND outcome = 'rejected' ORDER BY seq;

-- What others had seen of a set counts from where it was applied
SELECT status, applied FROM push('a', 'task 60 "insert": {"title": "set"}');
SELECT status, deferred FROM push('a', 'task 60 "set": {"team": 60}, "add": {"tags": ["late"]}');
CREATE TABLE seen AS SELECT here('d') AS before;
INSERT INTO team VALUES (60, 'sixty');
SELECT tags FROM tasks WHERE id = 60;
SELECT status, applied FROM seen, push_with('d', before, 'task 60 "remove": {"tags": ["late"]}');
SELECT tags FROM tasks WHERE id = 60;
SELECT status, applied FROM push_with('d', here('d'), 'task 60 "remove": {"tags": ["late"]}');
SELECT tags FROM tasks WHERE id = 60;

-- Constraints that are checked at commit are outcomes, too
CREATE TABLE part (id int PRIMARY KEY, team int REFERENCES team DEFERRABLE INITIALLY DEFERRED,
                   code int UNIQUE DEFERRABLE INITIALLY DEFERRED);
SELECT sync_enable_table('part', options => '{"name": "part"}');
SELECT * FROM push('b', 'part 1 "insert": {"team": 70}', 'part 2 "insert": {"code": 1}', 'part 3 "insert": {"code": 1}', 'part 4 "insert": {"team": 1}');
SELECT id, team, code FROM part ORDER BY id;
INSERT INTO team VALUES (70, 'seventy');
SELECT id, team, code FROM part ORDER BY id;
SELECT status, applied, deferred FROM push('b', 'task 71 "insert": {}');
SELECT id, team, code FROM part ORDER BY id;
-- ... but not for what an earlier statement did: that is said at commit
BEGIN;
INSERT INTO part (id, team) VALUES (5, 71);
SELECT status, applied, deferred FROM push('b', 'part 6 "insert": {"team": 1}');
INSERT INTO team VALUES (71, 'seventy-one');
COMMIT;
SELECT id, team, code FROM part ORDER BY id;
-- ... and they are deferred as before
BEGIN;
SELECT status, applied, deferred FROM push('b', 'part 7 "insert": {"team": 1}');
INSERT INTO part (id, team) VALUES (8, 72);
INSERT INTO team VALUES (72, 'seventy-two');
COMMIT;
SELECT count(*) FROM part;

-- A change waits with the rights of who pushed it
CREATE ROLE pending_owner;
CREATE ROLE pending_ann IN ROLE pending_owner;
CREATE ROLE pending_eve;
GRANT USAGE ON SCHEMA pending_test TO PUBLIC;
GRANT ALL ON team, task, note TO pending_ann;
GRANT SELECT, INSERT ON team TO pending_eve;
SELECT sync_register_device('00000000-0000-0000-0000-00000000000e', owner => 'pending_owner', label => 'e') IS NOT NULL AS registered;
-- who it is when the row is written
CREATE FUNCTION who() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.title := current_user; RETURN NEW; END $$;
CREATE TRIGGER who BEFORE INSERT ON task FOR EACH ROW EXECUTE FUNCTION who();
SET ROLE pending_ann;
SELECT status, deferred FROM push('e', 'task 80 "insert": {"team": 80}');
SELECT status, deferred FROM push('e', 'task 81 "insert": {"team": 81}', 'task 82 "insert": {"team": 82}', 'task 83 "insert": {"team": 83}');
RESET ROLE;
-- ... not by somebody who could not act for him
SET ROLE pending_eve;
INSERT INTO team (id) VALUES (80);
SELECT sync_retry_pending();
RESET ROLE;
SELECT count(*) FROM tasks WHERE id = 80;
-- ... by a superuser, with his rights, which remain the only ones
REVOKE INSERT ON task FROM pending_ann;
SELECT applied, rejected, expired, waiting > 0 AS waiting FROM sync_retry_pending();
GRANT INSERT ON task TO pending_ann;
SELECT applied, rejected, expired FROM sync_retry_pending();
SELECT * FROM tasks WHERE id BETWEEN 80 AND 83;
INSERT INTO team (id) VALUES (81);
SELECT current_user = session_user AS is_himself, count(*) FROM task WHERE id = 81;
-- ... by somebody who may become him
GRANT pending_ann TO pending_eve;
SET ROLE pending_eve;
INSERT INTO team (id) VALUES (82);
SELECT current_user;
RESET ROLE;
SELECT * FROM tasks WHERE id BETWEEN 81 AND 83;
-- ... what such a row sets off cannot leave anything behind that would run with other rights
CREATE FUNCTION escape() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    CREATE TEMP TABLE trap AS SELECT current_user;
    RETURN NULL;
END $$;
CREATE TRIGGER escape AFTER INSERT ON task FOR EACH ROW EXECUTE FUNCTION escape();
INSERT INTO team (id) VALUES (83);
SELECT * FROM tasks WHERE id = 83;
DROP TRIGGER escape ON task;
-- ... a trigger that cannot be put off, neither
CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
CREATE CONSTRAINT TRIGGER later AFTER INSERT ON task DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION nothing();
SELECT applied, rejected, expired FROM sync_retry_pending();
DROP TRIGGER later ON task;
-- ... nor is anything done for a role that is gone, or does not belong to the device any more
REVOKE pending_owner FROM pending_ann;
SELECT applied, rejected, expired FROM sync_retry_pending();
SELECT seq, operation, outcome, reason FROM sync_audit WHERE device = id('e') ORDER BY seq;
GRANT pending_owner TO pending_ann;
SET ROLE pending_ann;
SELECT status, deferred FROM push('e', 'task 84 "insert": {"team": 84}');
RESET ROLE;
DROP OWNED BY pending_ann;
DROP ROLE pending_ann;
SELECT applied, rejected, expired FROM sync_retry_pending();
SELECT seq, operation, outcome, reason FROM sync_audit WHERE device = id('e') ORDER BY seq DESC LIMIT 1;
-- ... what a device does not have the right to do any more
SELECT sync_register_device('00000000-0000-0000-0000-00000000000f', '{""}', label => 'f') IS NOT NULL AS registered;
SELECT status, deferred FROM push('f', 'task 85 "insert": {"team": 85}');
SELECT sync_grant_scope(id('f'), '', false, true);
INSERT INTO team (id) VALUES (85);
SELECT seq, operation, outcome, reason FROM sync_audit WHERE device = id('f');

-- A statement that sets off another one on the same table
CREATE FUNCTION twin() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.id < 1000 THEN
        INSERT INTO team (id) VALUES (NEW.id + 1000);
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER twin AFTER INSERT ON team FOR EACH ROW EXECUTE FUNCTION twin();
SELECT status, deferred FROM push('a', 'task 90 "insert": {"team": 1090}', 'task 91 "insert": {"team": 90}');
INSERT INTO team (id) VALUES (90);
SELECT id, team FROM tasks WHERE id IN (90, 91);
-- what is rolled back has brought nothing
SELECT status, deferred FROM push('a', 'task 92 "insert": {"team": 92}');
BEGIN;
INSERT INTO team (id) VALUES (92);
SELECT id, team FROM tasks WHERE id = 92;
ROLLBACK;
SELECT * FROM waiting WHERE device = 'a';
BEGIN;
SAVEPOINT s;
INSERT INTO team (id) VALUES (92);
ROLLBACK TO s;
INSERT INTO team (id) VALUES (93);
COMMIT;
SELECT * FROM waiting WHERE device = 'a';

-- Pruning leaves what waits
UPDATE offline_sync.journal SET reconciliation = overlay(reconciliation::text PLACING '00000000-0000' FROM 1)::uuid;
UPDATE offline_sync.waiting SET reconciliation = overlay(reconciliation::text PLACING '00000000-0000' FROM 1)::uuid;
SELECT task FROM sync_maintenance();
SELECT count(*) FROM offline_sync.waiting w
WHERE NOT EXISTS (SELECT FROM offline_sync.journal j WHERE j.device = w.device AND w.seq BETWEEN j.first_seq AND j.last_seq);
SELECT count(*) FROM offline_sync.late_change l
WHERE NOT EXISTS (SELECT FROM offline_sync.journal j WHERE j.device = l.device AND l.seq BETWEEN j.first_seq AND j.last_seq);
INSERT INTO team (id) VALUES (92);
SELECT id, team FROM tasks WHERE id = 92;

SET client_min_messages = error;
DROP SCHEMA pending_test CASCADE;
DROP OWNED BY pending_owner, pending_eve;
DROP ROLE pending_owner, pending_eve;
