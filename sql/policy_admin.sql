--
-- Administration of policies: history, going back, trials for one scope, candidates that are only watched
--
SET client_min_messages = warning;
CREATE ROLE regress_owner;
CREATE ROLE regress_second IN ROLE regress_owner;
CREATE ROLE regress_reader;
CREATE ROLE regress_stranger;
CREATE TABLE note (id int PRIMARY KEY, team text NOT NULL, title text, rank int, amount int, done boolean);
ALTER TABLE note OWNER TO regress_owner;
GRANT SELECT ON note TO regress_reader;

SET ROLE regress_owner;
SELECT sync_enable_table('note', 'team', '{"rank": "max", "amount": "counter"}');
RESET ROLE;
-- history by step; times as whether they are there, and in order
CREATE VIEW history AS
SELECT column_name AS "column", step, scope, policy, options, state, set_by, ended_by,
       coalesce(ended_at >= set_at, true) AND (ended_at IS NULL) = (ended_by IS NULL) AS times
FROM sync_policies WHERE table_name = 'note' ORDER BY column_name, step;
TABLE history;

-- set and go back, again and again; who did it is told
SET ROLE regress_owner;
SELECT sync_set_policy('note', 'rank', 'min');
SET ROLE regress_second;
SELECT sync_set_policy('note', 'rank', 'first_writer');
SELECT sync_set_policy('note', 'title', 'manual');
RESET ROLE;
TABLE history;
SELECT policies FROM sync_tables WHERE table_name = 'note';
SET ROLE regress_owner;
SELECT sync_revert_policy('note', 'rank');
SELECT policies FROM sync_tables WHERE table_name = 'note';
SELECT sync_revert_policy('note', 'rank');
SELECT sync_revert_policy('note', 'title');
SELECT policies FROM sync_tables WHERE table_name = 'note';
SELECT sync_revert_policy('note', 'rank');              -- the first policy stays
SELECT sync_revert_policy('note', 'title');
SELECT sync_revert_policy('note', 'done');
RESET ROLE;
TABLE history;

-- a step after a revert goes on from there
SELECT sync_set_policy('note', 'rank', 'lww');
SELECT sync_set_policy('note', 'rank', 'server_wins');
SELECT sync_revert_policy('note', 'rank');
SELECT sync_set_policy('note', 'rank', 'manual');
SELECT sync_revert_policy('note', 'rank');
SELECT sync_revert_policy('note', 'rank');
SELECT policies ->> 'rank' AS rank FROM sync_tables WHERE table_name = 'note';

-- who may set, who may see
SET ROLE regress_reader;
SELECT sync_set_policy('note', 'rank', 'lww');
SELECT sync_revert_policy('note', 'rank');
SELECT count(*) > 0 AS sees_history FROM sync_policies;
SET ROLE regress_stranger;
SELECT sync_revert_policy('note', 'rank');
SELECT count(*) AS seen FROM sync_policies;
RESET ROLE;

-- what cannot be
SELECT sync_set_policy('note', 'rank', 'max', '{"scope": 1}');
SELECT sync_set_policy('note', 'rank', 'max', '{"shadow": "yes"}');
SELECT sync_set_policy('note', 'rank', 'max', '{"scope": "red", "until": "today"}');
SELECT sync_set_policy('note', 'rank', 'counter', '{"scope": "red"}');
SELECT sync_set_policy('note', 'rank', 'counter', '{"shadow": true}');
SELECT sync_set_policy('note', 'amount', 'max', '{"scope": "red"}');
SELECT sync_set_policy('note', 'done', 'max', '{"scope": "red"}');
SELECT sync_set_policy('note', 'title', 'counter', '{"scope": "red"}');
CREATE TABLE unscoped (id int PRIMARY KEY, v int);
SELECT sync_enable_table('unscoped', policies => '{"v": {"policy": "max", "scope": "red"}}');
SELECT sync_enable_table('unscoped');
SELECT sync_set_policy('unscoped', 'v', 'max', '{"scope": "red"}');
SELECT sync_set_policy('unscoped', 'v', 'max', '{"scope": ""}');
SELECT sync_revert_policy('note', 'nothing');
DROP TABLE unscoped;
SELECT sync_revert_policy('note', 'rank');

-- A push to several rows by a device that has seen nothing of them, long before they were written: the own
-- rule of a column, lww, lets none of it in.
SELECT sync_register_device('00000000-0000-0000-0000-00000000000a', '{red,blue}') IS NOT NULL AS registered;
CREATE FUNCTION push(ids int[], cells text) RETURNS text LANGUAGE sql AS $$
    SELECT format('%s, conflicts: %s', a.status, a.conflicts)
    FROM sync_hello('00000000-0000-0000-0000-00000000000a') AS h, sync_apply_delta(format(
        '{"format": 1, "replica": "00000000-0000-0000-0000-00000000000a", "changes": [%s]}',
        (SELECT string_agg(format('{"seq": %s, "hlc": "2026-01-01T00:00:00.000Z/0", "table": "note", "key": {"id": %s}, "set": {%s}}',
                                  h.acked_seq + n, id, cells), ',' ORDER BY n)
         FROM unnest(ids) WITH ORDINALITY AS i(id, n)))::delta) AS a
$$;
INSERT INTO note VALUES (1, 'red'), (2, 'blue'), (3, 'red');
CREATE PROCEDURE fresh() LANGUAGE sql AS $$
    DELETE FROM offline_sync.conflict;
    UPDATE note SET team = 'green', title = '', rank = 0, amount = 0;
    UPDATE note SET team = CASE id WHEN 2 THEN 'blue' ELSE 'red' END, title = 'ours', rank = CASE id WHEN 3 THEN 500 ELSE 5 END
$$;
CREATE VIEW conflicts AS
SELECT key ->> 'id' AS id, column_name AS "column", current_value AS current, incoming_value AS incoming, policy, decision, state,
       shadow_policy AS shadow, shadow_decision, shadow_value, shadow_error
FROM sync_conflicts ORDER BY key ->> 'id', column_name, seq;
SELECT sync_set_policy('note', 'rank', 'lww');
CALL fresh();
SELECT push('{1,2,3}', '"rank": 100');
SELECT id, team, rank FROM note ORDER BY id;

-- a trial: another rule in one scope only
SELECT sync_set_policy('note', 'rank', 'max', '{"scope": "red"}');
CALL fresh();
SELECT push('{1,2,3}', '"rank": 100');
SELECT id, team, rank FROM note ORDER BY id;
SELECT id, "column", policy, decision, state FROM conflicts;
-- a change that moves the row is decided by the rules of where it was
SELECT sync_set_policy('note', 'team', 'first_writer');
SELECT sync_set_policy('note', 'title', 'first_writer', '{"scope": "red"}');
CALL fresh();
SELECT push('{1}', '"rank": 100, "team": "blue", "title": "theirs"'), push('{2}', '"rank": 100, "team": "red", "title": "theirs"');
SELECT id, team, rank, title FROM note ORDER BY id;
SELECT id, "column", policy, decision FROM conflicts;
SELECT sync_revert_policy('note', 'team');
SELECT sync_revert_policy('note', 'title');
-- set again for the scope: takes its place; another scope has its own
SELECT sync_set_policy('note', 'rank', 'min', '{"scope": "red"}');
SELECT sync_set_policy('note', 'rank', 'manual', '{"scope": "blue"}');
CALL fresh();
SELECT push('{1,2,3}', '"rank": 100');
SELECT id, team, rank FROM note ORDER BY id;
SELECT id, "column", policy, decision, state FROM conflicts;
-- one step back, two steps back
SELECT sync_revert_policy('note', 'rank');
SELECT sync_revert_policy('note', 'rank');
CALL fresh();
SELECT push('{1,2,3}', '"rank": 100');
SELECT id, team, rank FROM note ORDER BY id;
SELECT policies FROM sync_tables WHERE table_name = 'note';
-- adopted for all: the trial is over
SELECT sync_set_policy('note', 'rank', 'max');
CALL fresh();
SELECT push('{1,2,3}', '"rank": 100');
SELECT id, team, rank FROM note ORDER BY id;
SELECT step, scope, policy, state FROM sync_policies WHERE table_name = 'note' AND column_name = 'rank' AND step > 4 ORDER BY step;
-- and back to the trial
SELECT sync_revert_policy('note', 'rank');
SELECT scope, policy, state FROM sync_policies WHERE table_name = 'note' AND column_name = 'rank' AND state IN ('active', 'trial', 'shadow') ORDER BY step;

-- a shadow: what it would have decided is noted, and nothing else is different
SELECT sync_set_policy('note', 'rank', 'lww');
SELECT sync_set_policy('note', 'rank', 'max', '{"shadow": true}');
SELECT sync_set_policy('note', 'title', 'first_writer', '{"shadow": true, "scope": "red"}');
CALL fresh();
SELECT push('{1,2,3}', '"rank": 100, "title": "theirs"');
SELECT push('{1}', '"rank": 100, "title": "theirs"');
SELECT id, team, title, rank FROM note ORDER BY id;
TABLE conflicts;
SELECT column_name, policy, scope, state, conflicts, same, different, errors FROM sync_shadow_report ORDER BY 1, set_at;
-- beside a trial: compared with the rule that decided
SELECT sync_set_policy('note', 'rank', 'max', '{"scope": "red"}');
CALL fresh();
SELECT push('{1,2}', '"rank": 100');
SELECT id, "column", policy, decision, shadow, shadow_decision FROM conflicts;
SELECT column_name, policy, scope, state, conflicts, same, different, errors FROM sync_shadow_report ORDER BY 1, set_at;
-- another candidate takes its place; setting the policy ends all; a revert brings all back
SELECT sync_set_policy('note', 'rank', 'manual', '{"shadow": true}');
SELECT scope, policy, state FROM sync_policies WHERE table_name = 'note' AND column_name = 'rank' AND state IN ('active', 'trial', 'shadow') ORDER BY step;
SELECT sync_set_policy('note', 'rank', 'server_wins');
SELECT scope, policy, state FROM sync_policies WHERE table_name = 'note' AND column_name = 'rank' AND state IN ('active', 'trial', 'shadow') ORDER BY step;
CALL fresh();
SELECT push('{1,2}', '"rank": 100');
SELECT id, "column", policy, decision, shadow, shadow_decision FROM conflicts;
SELECT sync_revert_policy('note', 'rank');
SELECT scope, policy, state FROM sync_policies WHERE table_name = 'note' AND column_name = 'rank' AND state IN ('active', 'trial', 'shadow') ORDER BY step;
SELECT sync_revert_policy('note', 'rank');
SELECT scope, policy, state FROM sync_policies WHERE table_name = 'note' AND column_name = 'rank' AND state IN ('active', 'trial', 'shadow') ORDER BY step;
-- a function that is only watched: what it makes of both, or its error, which is nobody else's trouble
CREATE FUNCTION public.both(current text, incoming text, context jsonb) RETURNS text LANGUAGE plpgsql STABLE AS $$
BEGIN
    CASE incoming
        WHEN 'ours too' THEN RETURN current;
        WHEN 'theirs' THEN RETURN incoming;
        WHEN 'refused' THEN RAISE EXCEPTION 'both: I do not know "%"', incoming;
        WHEN 'broken' THEN RAISE EXCEPTION 'both: broken' USING ERRCODE = 'internal_error';
        WHEN 'writes' THEN UPDATE note SET done = true; RETURN 'written';
        WHEN 'nothing' THEN RETURN NULL;
        ELSE RETURN current || ' and ' || incoming;
    END CASE;
END $$;
SELECT sync_revert_policy('note', 'title');
SELECT sync_set_policy('note', 'title', 'custom', '{"shadow": true, "function": "public.both"}');
CALL fresh();
SELECT push('{1}', format('"title": "%s"', t)) AS status, t
FROM unnest('{ours too, theirs, refused, broken, writes, nothing, more}'::text[]) AS t;
-- one delta with good ones and bad ones
SELECT sync_set_policy('note', 'rank', 'max');
SELECT push('{1,2,3}', '"title": "refused", "rank": 7');
SELECT id, title, rank, done FROM note ORDER BY id;
SELECT id, incoming, decision, state, shadow_decision, shadow_value, shadow_error FROM conflicts WHERE "column" = 'title' ORDER BY incoming::text, id;
SELECT policy, options, state, conflicts, same, different, errors FROM sync_shadow_report WHERE column_name = 'title' ORDER BY set_at;
SELECT sync_revert_policy('note', 'rank');
-- ... against the same function in force: the same value, not only the same decision
SELECT sync_set_policy('note', 'title', 'custom', '{"function": "public.both"}');
SELECT sync_set_policy('note', 'title', 'custom', '{"shadow": true, "function": "public.both"}');
CALL fresh();
SELECT push('{1}', '"title": "more"');
CREATE FUNCTION public.neither(current text, incoming text, context jsonb) RETURNS text LANGUAGE sql STABLE AS $$ SELECT 'neither' $$;
SELECT sync_set_policy('note', 'title', 'custom', '{"shadow": true, "function": "public.neither"}');
SELECT push('{2}', '"title": "more"');
-- dropped meanwhile
DROP FUNCTION public.neither;
SELECT push('{3}', '"title": "more"');
SELECT id, decision, state, shadow_decision, shadow_value, shadow_error FROM conflicts;
SELECT id, title FROM note ORDER BY id;
SELECT policy, options, state, conflicts, same, different, errors FROM sync_shadow_report WHERE column_name = 'title' ORDER BY set_at;

-- what a candidate made of others' values is for those who see those
SET ROLE regress_stranger;
SELECT count(*) AS seen FROM sync_shadow_report;
RESET ROLE;

-- the column's name follows; of a column that is gone nothing holds
ALTER TABLE note RENAME COLUMN rank TO importance;
SELECT column_name, count(*) FILTER (WHERE state IN ('active', 'trial', 'shadow')) AS hold FROM sync_policies WHERE table_name = 'note' GROUP BY 1 ORDER BY 1;
ALTER TABLE note DROP COLUMN importance;
SELECT column_name, count(*) FILTER (WHERE state IN ('active', 'trial', 'shadow')) AS hold FROM sync_policies WHERE table_name = 'note' GROUP BY 1 ORDER BY 1;
SELECT sync_revert_policy('note', 'importance');
ALTER TABLE note ADD COLUMN importance int;
SELECT sync_revert_policy('note', 'importance');
-- a type that the earlier policy does not fit: a revert says so
SELECT sync_set_policy('note', 'importance', 'max');
SELECT sync_set_policy('note', 'importance', 'lww');
ALTER TABLE note ALTER COLUMN importance TYPE point USING NULL;
SELECT sync_revert_policy('note', 'importance');
SELECT sync_set_policy('note', 'importance', 'manual');

-- disabled: nothing holds, who did it is told; enabled anew: from the beginning
SET ROLE regress_owner;
SELECT sync_disable_table('note');
RESET ROLE;
SELECT state, ended_by IS NULL AS open, count(*) FROM sync_policies WHERE table_name = 'note' GROUP BY 1, 2 ORDER BY 1, 2;
SELECT sync_enable_table('note', 'team', '{"title": "manual"}');
SELECT sync_revert_policy('note', 'title');
SELECT column_name, step, policy, state FROM sync_policies WHERE table_name = 'note' AND state = 'active';
DROP TABLE note CASCADE;
SELECT DISTINCT state FROM sync_policies ORDER BY 1;

-- A merged cell holds what several writers put in; a change of policy leaves value and stamp as they are
CREATE TABLE note (id int PRIMARY KEY, team text NOT NULL, amount int);
SELECT sync_enable_table('note', 'team', '{"amount": "counter"}');
INSERT INTO note VALUES (1, 'red', 5);
CREATE FUNCTION say(change text) RETURNS text LANGUAGE sql AS $$
    SELECT concat_ws(', ', a.status, a.outcomes #>> '{0,reason}')
    FROM sync_hello('00000000-0000-0000-0000-00000000000a') AS h, sync_apply_delta(format(
        '{"format": 1, "replica": "00000000-0000-0000-0000-00000000000a", "changes": [{"seq": %s, "hlc": "2026-01-01T00:00:00.000Z/0", "table": "note", "key": {"id": 1}, %s}]}',
        h.acked_seq + 1, change)::delta) AS a
$$;
SELECT say('"increment": {"amount": 2}');
SELECT n.amount, e.replica, e.hlc AS stamp FROM note n, row_clock_entries('note', n._sync) e WHERE e.column_name = 'amount' \gset before_
SELECT sync_set_policy('note', 'amount', 'lww');
SELECT n.amount, e.replica = :'before_replica' AND e.hlc = :'before_stamp' AS same_stamp
FROM note n, row_clock_entries('note', n._sync) e WHERE e.column_name = 'amount';
SELECT say('"increment": {"amount": 2}');               -- made before the device knew
SELECT say('"set": {"amount": 9}');                     -- concurrent, and earlier
SELECT amount FROM note;
SELECT sync_set_policy('note', 'amount', 'counter');
SELECT say('"set": {"amount": 9}');
SELECT say('"increment": {"amount": 2}');
SELECT amount FROM note;
DROP TABLE note;
DROP ROLE regress_second, regress_owner, regress_reader, regress_stranger;
