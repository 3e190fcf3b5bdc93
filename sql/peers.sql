--
-- What other synchronisers are known to get wrong
--
SET client_min_messages = warning;
CREATE FUNCTION dev(d text) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$ SELECT ('00000000-0000-0000-0000-00000000000' || d)::uuid $$;
SELECT count(sync_register_device(dev(d))) AS devices FROM unnest('{a,b,c}'::text[]) AS d;
-- delta(device, context, changes): '05 "table": ...' is a change at minute 05
CREATE FUNCTION delta(d text, context text, VARIADIC changes text[]) RETURNS delta LANGUAGE sql VOLATILE AS $$
SELECT format('{"format": 1, "replica": "%s", "context": %s, "changes": [%s]}', dev(d), context,
    (SELECT string_agg(format('{"seq": %s, "hlc": "2026-01-01T10:%s:00.000Z/0", %s}', h.acked_seq + n, left(c, 2), substr(c, 4)), ', ' ORDER BY n)
     FROM unnest(changes) WITH ORDINALITY AS u (c, n)))::delta
FROM sync_hello(dev(d)) AS h $$;
CREATE FUNCTION answer(delta) RETURNS TABLE (status text, acked bigint, outcomes text) LANGUAGE sql VOLATILE AS $$
SELECT r.status, r.acked_seq, (SELECT string_agg(concat_ws(' ', o ->> 'seq', o ->> 'outcome', o ->> 'reason', o ->> 'sqlstate'), '; ') FROM jsonb_array_elements(r.outcomes) AS o)
FROM sync_apply_delta($1) AS r $$;
CREATE FUNCTION seen(d text) RETURNS text LANGUAGE sql VOLATILE AS $$ SELECT delta_to(sync_changes_since(dev(d), '{}'))::text $$;
CREATE TABLE note (id int PRIMARY KEY, title text CHECK (title <> 'forbidden'), body text, price int);
SELECT sync_enable_table('note');
INSERT INTO note SELECT g, 'title', 'body', 1 FROM generate_series(1, 9) AS g;
SELECT seen('a') AS seen \gset

-- "Last to commit wins": of two writes the one that arrives later, not the later one, stays
-- (two applies at the same time: test/isolation/specs/push_late_commit.spec)
SELECT * FROM answer(delta('a', :'seen', '20 "table": "note", "key": {"id": 1}, "set": {"title": "later"}'));
SELECT * FROM answer(delta('b', :'seen', '10 "table": "note", "key": {"id": 1}, "set": {"title": "earlier"}'));
SELECT title FROM note WHERE id = 1;

-- "The value is gone": an update that loses against a delete leaves no trace
SELECT * FROM answer(delta('a', :'seen', '10 "table": "note", "key": {"id": 2}, "delete": true'));
SELECT * FROM answer(delta('b', :'seen', '20 "table": "note", "key": {"id": 2}, "set": {"title": "written for hours"}'));
SELECT count(*) AS rows FROM note WHERE id = 2;
SELECT operation, incoming, outcome, reason, policy FROM sync_audit WHERE key ->> 'id' = '2' ORDER BY device;
SELECT incoming_value, decision, state FROM sync_conflicts WHERE key ->> 'id' = '2';

-- "The client that saves whole rows": it takes back what others wrote meanwhile.  Who sends what it changed does not
SELECT * FROM answer(delta('a', :'seen', '10 "table": "note", "key": {"id": 3}, "set": {"body": "of a"}'));
SELECT * FROM answer(delta('b', :'seen', '20 "table": "note", "key": {"id": 3}, "set": {"title": "of b"}'));
SELECT title, body, price FROM note WHERE id = 3;

-- "The poisoned queue": a change that cannot be applied holds up all after it, or is passed over and never mentioned
SELECT delta('a', :'seen', '10 "table": "note", "key": {"id": 4}, "set": {"title": "before"}', '10 "table": "note", "key": {"id": 5}, "set": {"title": "forbidden"}', '10 "table": "note", "key": {"id": 6}, "set": {"title": "after"}') AS delta \gset
SELECT * FROM answer(:'delta');
SELECT * FROM answer(:'delta');                         -- the same answer
SELECT * FROM answer(delta('a', :'seen', '11 "table": "note", "key": {"id": 5}, "set": {"title": "repaired"}'));
SELECT id, title FROM note WHERE id IN (4, 5, 6) ORDER BY id;
SELECT incoming, outcome, reason FROM sync_audit WHERE key ->> 'id' = '5' ORDER BY seq;

-- "Somebody else's trigger": what one user's trigger or policy raises stops what others wrote, in the same delta or another
CREATE FUNCTION raises() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF NEW.price < 0 THEN RAISE EXCEPTION 'no'; END IF; RETURN NEW; END $$;
CREATE TRIGGER raises BEFORE UPDATE ON note FOR EACH ROW EXECUTE FUNCTION raises();
CREATE FUNCTION judge(current text, incoming text, context jsonb) RETURNS text LANGUAGE plpgsql STABLE AS $$ BEGIN RAISE EXCEPTION 'cannot decide %', incoming; END $$;
CREATE TABLE judged (id int PRIMARY KEY, v text);
SELECT sync_enable_table('judged', policies => '{"v": {"policy": "custom", "function": "public.judge"}}');
INSERT INTO judged VALUES (1, 'v'), (2, 'v');
SELECT seen('a') AS seen \gset
UPDATE judged SET v = 'by sql';
SELECT * FROM answer(delta('a', :'seen', '30 "table": "note", "key": {"id": 7}, "set": {"price": 7}', '30 "table": "note", "key": {"id": 8}, "set": {"price": -1}', '30 "table": "judged", "key": {"id": 1}, "set": {"v": "a"}', '30 "table": "note", "key": {"id": 9}, "set": {"price": 9}'));
SELECT * FROM answer(delta('b', :'seen', '31 "table": "note", "key": {"id": 8}, "set": {"price": 8}', '31 "table": "judged", "key": {"id": 2}, "set": {"v": "b"}', '31 "table": "note", "key": {"id": 7}, "set": {"body": "of b"}'));
SELECT id, body, price FROM note WHERE id >= 7 ORDER BY id;
SELECT id, v FROM judged ORDER BY id;
DROP TABLE note, judged;
DELETE FROM offline_sync.device;
