--
-- What a transaction that does not commit took from what waits is there again, and waits
--
SET client_min_messages = warning;
CREATE SCHEMA pending_rollback_test;
SET search_path = pending_rollback_test, public;
CREATE TABLE team (id int PRIMARY KEY, name text);
CREATE TABLE task (id int PRIMARY KEY, team int REFERENCES team, title text);
SELECT sync_enable_table('team', options => '{"name": "team"}');
SELECT sync_enable_table('task', options => '{"name": "task"}');

CREATE FUNCTION id(n int) RETURNS uuid LANGUAGE sql IMMUTABLE AS
$$ SELECT ('00000000-0000-0000-0000-00000000000' || n)::uuid $$;
SELECT count(sync_register_device(id(n))) FROM generate_series(1, 3) AS n;
SELECT n, r.status, r.deferred
FROM generate_series(1, 3) AS n, sync_apply_delta(format(
    '{"format": 1, "replica": "%s", "changes": [{"seq": 1, "hlc": "2026-01-01T10:00:00.000Z/0",
      "table": "task", "key": {"id": %s}, "insert": {"team": %s, "title": "waits"}}]}', id(n), n, n)::delta) AS r;

-- nothing waits any more when the table is written
CREATE FUNCTION look_while_gone(other_team int) RETURNS bigint LANGUAGE plpgsql AS $$
BEGIN
    PERFORM sync_revoke_device(id(n)), sync_forget_device(id(n)) FROM generate_series(1, 3) AS n;
    INSERT INTO team VALUES (other_team, 'nobody waits for it');
    RETURN (SELECT count(*) FROM offline_sync.waiting);
END $$;

-- The transaction is rolled back
BEGIN;
SELECT look_while_gone(101);
ROLLBACK;
INSERT INTO team VALUES (1, 'waited for');
SELECT id, team, title FROM task ORDER BY id;

-- A part of it is, and what waits is looked for in the same transaction
BEGIN;
SAVEPOINT before;
SELECT look_while_gone(102);
ROLLBACK TO before;
INSERT INTO team VALUES (2, 'waited for');
SELECT id, team, title FROM task ORDER BY id;
COMMIT;

-- ... or in the next
BEGIN;
SAVEPOINT before;
SELECT look_while_gone(103);
ROLLBACK TO before;
COMMIT;
INSERT INTO team VALUES (3, 'waited for');
SELECT id, team, title FROM task ORDER BY id;
SELECT count(*) AS waiting FROM offline_sync.waiting;

SELECT sync_disable_table('task');
SELECT sync_disable_table('team');
DROP SCHEMA pending_rollback_test CASCADE;
