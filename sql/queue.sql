--
-- The queue: deltas that are stored now and applied later
--
SET client_min_messages = warning;
CREATE SCHEMA queue_test;
SET search_path = queue_test, public;
SET offline_sync.queue_retry_delay = 0;
SET offline_sync.queue_attempts = 2;

CREATE TABLE task (id int PRIMARY KEY, title text CHECK (title <> 'bad'));
SELECT sync_enable_table('task', options => '{"name": "task"}');
CREATE FUNCTION id(device char) RETURNS uuid LANGUAGE sql IMMUTABLE AS
$$ SELECT ('00000000-0000-0000-0000-00000000000' || device)::uuid $$;
SELECT sync_register_device(id(d), label => d) IS NOT NULL AS registered FROM unnest('{a,b,c,d}'::char[]) AS d;
-- one change for each title, from first_seq on; the row has the seq in its id
CREATE FUNCTION delta_of(device char, first_seq bigint, VARIADIC titles text[]) RETURNS delta LANGUAGE sql STABLE AS $$
SELECT format('{"format": 1, "replica": "%s", "changes": [%s]}', id(device),
    (SELECT string_agg(format('{"seq": %s, "hlc": "2026-01-01T10:00:00.000Z/0", "table": "task", "key": {"id": %s}, "insert": {"title": "%s"}}',
                              s, ascii(device) * 100 + s, t), ', ' ORDER BY s)
     FROM unnest(titles) WITH ORDINALITY AS u(t, n), LATERAL (SELECT first_seq + n - 1) AS x(s)))::delta
$$;
-- submissions have random ids: here they have names
CREATE TABLE submitted (name text PRIMARY KEY, submission uuid);
CREATE FUNCTION submit(name text, delta delta) RETURNS text LANGUAGE sql AS
$$ INSERT INTO submitted VALUES (name, sync_submit_delta(delta)) RETURNING name $$;
CREATE FUNCTION answer(name text) RETURNS TABLE (status text, acked_seq bigint, applied int, rejected int, outcomes text) LANGUAGE sql AS $$
SELECT a.status, a.acked_seq, a.applied, a.rejected,
    (SELECT string_agg(concat_ws(' ', o ->> 'seq', o ->> 'outcome', o ->> 'reason', o ->> 'sqlstate'), '; ') FROM jsonb_array_elements(a.outcomes) AS o)
FROM submitted AS s, sync_submission(s.submission) AS a WHERE s.name = answer.name $$;
CREATE VIEW queued AS
SELECT s.name, right(q.device::text, 1) AS device, q.first_seq, q.last_seq, q.state, q.attempts, q.last_sqlstate, q.status
FROM sync_queue AS q JOIN submitted AS s USING (submission) ORDER BY s.name;

-- Stored at once, merged later, in the order of the seqs
SELECT submit('a3', delta_of('a', 3, 'third'));
SELECT submit('a1', delta_of('a', 1, 'first', 'second'));
SELECT submit('b1', delta_of('b', 1, 'of b', 'bad'));
SELECT * FROM answer('a3');
SELECT count(*) FROM task;
SELECT * FROM sync_process_queue(1);
SELECT * FROM queued;
SELECT * FROM sync_process_queue();
SELECT * FROM queued;
SELECT * FROM answer('a1');
SELECT * FROM answer('a3');
SELECT * FROM answer('b1');
SELECT (SELECT reconciliation FROM sync_submission(submission)) IN (SELECT reconciliation FROM offline_sync.journal) AS journaled
FROM submitted ORDER BY name;
SELECT id, title FROM task ORDER BY id;
SELECT * FROM sync_process_queue();

-- What is submitted again before it was merged is one submission; afterwards it is a duplicate
SELECT sync_submit_delta(delta_of('a', 4, 'fourth')) = sync_submit_delta(delta_of('a', 4, 'fourth')) AS same;
SELECT * FROM sync_process_queue();
SELECT submit('again', delta_of('a', 4, 'fourth'));
SELECT submit('reused', delta_of('a', 4, 'another'));
SELECT * FROM sync_process_queue();
SELECT * FROM answer('again');
SELECT * FROM answer('reused');

-- A push does not overtake what is queued; sent again whole, it makes the queued one a duplicate
SELECT submit('a5', delta_of('a', 5, 'fifth'));
SELECT status, acked_seq FROM sync_apply_delta(delta_of('a', 6, 'sixth'));
SELECT status, acked_seq FROM sync_apply_delta(delta_of('a', 5, 'fifth', 'sixth'));
SELECT * FROM sync_process_queue();
SELECT * FROM answer('a5');

-- What comes after missing seqs waits for them, and no other device does
SELECT submit('a8', delta_of('a', 8, 'eighth'));
SELECT submit('b3', delta_of('b', 3, 'third of b'));
SELECT * FROM sync_process_queue();
SELECT * FROM answer('a8');
SELECT status, acked_seq FROM sync_apply_delta(delta_of('a', 7, 'seventh'));
SELECT * FROM sync_process_queue();
SELECT * FROM answer('a8');

-- A delta that cannot be merged is quarantined; later ones of its device wait, others do not
CREATE FUNCTION poison() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.title LIKE 'poison%' THEN
        RAISE EXCEPTION 'poisoned' USING ERRCODE = right(NEW.title, 5);
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER poison BEFORE INSERT ON task FOR EACH ROW EXECUTE FUNCTION poison();
SELECT submit('c1', delta_of('c', 1, 'harmless', 'poison XX000'));
SELECT submit('c3', delta_of('c', 3, 'behind'));
SELECT submit('d1', delta_of('d', 1, 'poison 57014'));
SELECT submit('a9', delta_of('a', 9, 'ninth'));
SELECT * FROM sync_process_queue();
SELECT * FROM queued WHERE state <> 'answered';
SELECT * FROM sync_process_queue();
SELECT * FROM queued WHERE state <> 'answered';
SELECT * FROM sync_process_queue();
SELECT * FROM answer('c1');
SELECT * FROM answer('a9');
\set VERBOSITY sqlstate
SELECT sync_release_quarantine(submission) FROM submitted WHERE name = 'c3';
\set VERBOSITY default
SELECT sync_release_quarantine(submission, drop => true) FROM submitted WHERE name = 'd1';
SELECT * FROM answer('d1');
DROP TRIGGER poison ON task;
SELECT sync_release_quarantine(submission) FROM submitted WHERE name = 'c1';
SELECT * FROM sync_process_queue();
SELECT * FROM queued WHERE device IN ('c', 'd');
SELECT id, title FROM task WHERE id >= 9900 ORDER BY id;

-- After a failure there is a delay
CREATE TRIGGER poison BEFORE INSERT ON task FOR EACH ROW EXECUTE FUNCTION poison();
SELECT submit('c4', delta_of('c', 4, 'poison 53100'));
SET offline_sync.queue_retry_delay = '1h';
SELECT * FROM sync_process_queue();
SELECT * FROM sync_process_queue();
SELECT * FROM queued WHERE name = 'c4';
SET offline_sync.queue_retry_delay = 0;
SET offline_sync.queue_attempts = 1;
SELECT * FROM sync_process_queue();
DROP TRIGGER poison ON task;

-- Limits
SET offline_sync.max_queued = 1;
SELECT submit('c5', delta_of('c', 5, 'too many'));
RESET offline_sync.max_queued;
SELECT sync_process_queue(0);
SELECT sync_submit_delta(sync_changes_since(id('a'), '{}'));
SELECT * FROM sync_submission(id('f'));

-- Rights: those of who submitted, wherever the caller may become that
CREATE ROLE regress_queue_owner;
CREATE ROLE regress_queue_other;
CREATE ROLE regress_queue_worker;
GRANT USAGE ON SCHEMA queue_test TO regress_queue_owner, regress_queue_other, regress_queue_worker;
GRANT EXECUTE ON FUNCTION sync_process_queue(int) TO regress_queue_worker;
GRANT SELECT, INSERT ON submitted TO regress_queue_owner, regress_queue_other;
SELECT sync_register_device(id('e'), owner => 'regress_queue_owner') IS NOT NULL AS registered;
SET ROLE regress_queue_other;
SELECT submit('e1', delta_of('e', 1, 'first'));
SELECT sync_process_queue();
SELECT sync_release_quarantine(id('f'));
SET ROLE regress_queue_owner;
SELECT submit('e1', delta_of('e', 1, 'first'));
RESET ROLE;
SET ROLE regress_queue_worker;
SELECT processed, failed FROM sync_process_queue();
RESET ROLE;
GRANT regress_queue_owner TO regress_queue_worker;
SET ROLE regress_queue_worker;
SELECT processed, failed FROM sync_process_queue();
SELECT current_user;
RESET ROLE;
SELECT * FROM answer('e1');
GRANT SELECT, INSERT, UPDATE ON task TO regress_queue_owner;
SET ROLE regress_queue_owner;
SELECT submit('e2', delta_of('e', 2, 'second'));
SET ROLE regress_queue_worker;
SELECT processed, failed FROM sync_process_queue();
SET ROLE regress_queue_other;
SELECT * FROM answer('e2');
SELECT count(*) FROM sync_queue;
SET ROLE regress_queue_owner;
SELECT status, acked_seq, applied FROM answer('e2');
SELECT count(*) FROM sync_queue;
-- what is withheld only because rights are lent is left to the role itself
RESET ROLE;
CREATE FUNCTION restricted() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    CREATE TEMPORARY TABLE leftover (x int) ON COMMIT DROP;
    DROP TABLE leftover;
    RETURN NEW;
END $$;
CREATE TRIGGER restricted BEFORE INSERT ON task FOR EACH ROW EXECUTE FUNCTION restricted();
SET ROLE regress_queue_owner;
SELECT submit('e3', delta_of('e', 3, 'third'));
SET ROLE regress_queue_worker;
SELECT processed, failed FROM sync_process_queue();
RESET ROLE;
SELECT * FROM queued WHERE name = 'e3';
GRANT EXECUTE ON FUNCTION sync_process_queue(int) TO regress_queue_owner;
SET ROLE regress_queue_owner;
SELECT processed, failed FROM sync_process_queue();
RESET ROLE;
SELECT * FROM queued WHERE name = 'e3';
-- no longer a member
SET ROLE regress_queue_owner;
SELECT submit('e4', delta_of('e', 4, 'fourth'));
RESET ROLE;
SELECT sync_register_device(id('e'), owner => current_user::regrole) IS NOT NULL AS registered;
SELECT processed, failed FROM sync_process_queue();
SELECT * FROM answer('e4');

-- Purging a row takes away the answers that show rows of its table
SELECT submit('c5', delta_of('c', 4, 'bad'));
SELECT sync_release_quarantine(submission, drop => true) FROM submitted WHERE name = 'c4';
SELECT processed, failed FROM sync_process_queue();
SELECT c.kind, c.key FROM submitted AS s, sync_submission(s.submission) AS a, delta_changes(a.corrections) AS c WHERE s.name = 'c5';
DELETE FROM task WHERE id = 9901;
SELECT sync_purge_row('task', '{"id": 9901}');
SELECT name FROM queued WHERE name IN ('c1', 'c4', 'c5');

-- A revoked device
SELECT submit('b4', delta_of('b', 4, 'fourth of b'));
SELECT sync_revoke_device(id('b'));
SELECT processed, failed FROM sync_process_queue();
SELECT * FROM answer('b4');
SELECT submit('b5', delta_of('b', 5, 'fifth of b'));
-- and one that is forgotten
SELECT sync_forget_device(id('b'));
SELECT count(*) FROM sync_queue WHERE device = id('b');

SELECT sync_disable_table('task');
SET client_min_messages = error;
DROP SCHEMA queue_test CASCADE;
DROP OWNED BY regress_queue_owner, regress_queue_other, regress_queue_worker;
DROP ROLE regress_queue_owner, regress_queue_other, regress_queue_worker;
