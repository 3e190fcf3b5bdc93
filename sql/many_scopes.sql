--
-- Pulling the log of many scopes: whatever was written comes, in few of them or in all
--
SET client_min_messages = warning;
CREATE TABLE note (id int PRIMARY KEY, team text, body text);
SELECT sync_enable_table('note', scope => 'team');
SELECT sync_register_device('00000000-0000-0000-0000-00000000000a', scopes => (SELECT array_agg('team ' || n) FROM generate_series(1, 30) AS n)) IS NOT NULL AS ok;
INSERT INTO note SELECT n, 'team ' || n, 'old' FROM generate_series(1, 40) AS n;

-- the device's vectors, in order; pull() goes on from one of them
CREATE TABLE told (n serial, vector version_vector);
CREATE FUNCTION pull(since version_vector, page_size int DEFAULT 1000) RETURNS TABLE (keys int[], vector version_vector) LANGUAGE plpgsql AS $$
DECLARE
    d delta;
    resume text;
BEGIN
    vector := since;
    LOOP
        d := sync_changes_since('00000000-0000-0000-0000-00000000000a', vector, page_size, resume);
        keys := keys || (SELECT array_agg((c.key->>'id')::int) FROM delta_changes(d) AS c);
        vector := delta_to(d);
        resume := delta_resume(d);
        EXIT WHEN NOT delta_has_more(d);
    END LOOP;
    keys := (SELECT array_agg(k ORDER BY k) FROM unnest(keys) AS k);
    RETURN NEXT;
END $$;
CREATE FUNCTION pull_on() RETURNS int[] LANGUAGE sql AS $$
    INSERT INTO told (vector) SELECT vector FROM pull((SELECT vector FROM told ORDER BY n DESC LIMIT 1));
    SELECT keys FROM pull((SELECT vector FROM told ORDER BY n DESC OFFSET 1 LIMIT 1));
$$;
INSERT INTO told (vector) SELECT vector FROM pull('{}');

-- Nothing; one scope; two, and one that is not the device's
SELECT pull_on();
UPDATE note SET body = 'one' WHERE id = 7;
SELECT pull_on();
UPDATE note SET body = 'two' WHERE id IN (3, 30, 31);
SELECT pull_on();
-- Only one that is not the device's: nothing is claimed, nothing comes twice
UPDATE note SET body = 'foreign' WHERE id > 30;
SELECT pull_on();
-- A scope that is granted, and one that a row moves to
SELECT sync_grant_scope('00000000-0000-0000-0000-00000000000a', 'team 35');
UPDATE note SET team = 'team 11' WHERE id = 10;
SELECT pull_on();
-- Another table: an event for all scopes
CREATE TABLE label (id int PRIMARY KEY, team text);
INSERT INTO label VALUES (1001, 'team 9'), (1002, 'team 39');
SELECT sync_enable_table('label', scope => 'team');
SELECT pull_on();
-- A device's change
SELECT status FROM sync_apply_delta('{"format": 1, "replica": "00000000-0000-0000-0000-00000000000a", "changes": [
    {"seq": 1, "hlc": "2026-11-20T10:00:00.000Z/0", "table": "note", "key": {"id": 21}, "insert": {"team": "team 21", "body": "pushed"}}]}');
DELETE FROM note WHERE id = 22;
SELECT pull_on();
-- All scopes, in one transaction; and in so many that there is more of it than scopes
UPDATE note SET body = 'all';
SELECT cardinality(pull_on());
SELECT format('UPDATE note SET body = %L WHERE id %% 2 = %s', n, n % 2) FROM generate_series(1, 6) AS n \gexec
SELECT cardinality(pull_on());
SELECT pull_on();

-- From any vector on, in pages of any size, the same rows come
WITH p AS MATERIALIZED (
    SELECT n, size, (SELECT array_agg(DISTINCT k) FROM unnest(keys) AS k) AS keys, p.vector
    FROM told, unnest('{1,3,1000}'::int[]) AS size, pull(told.vector, size) AS p)
SELECT n, count(*), count(DISTINCT coalesce(keys, '{}')) = 1 AS same_keys,
       bool_and(vector = (SELECT vector FROM told ORDER BY n DESC LIMIT 1)) AS same_vector
FROM p GROUP BY n ORDER BY n;
SELECT cardinality(keys) FROM told, pull(told.vector) WHERE n = 2;

-- A device with so many that a push does not read them all: what it may not push to, and
-- what it may not pull, is the same wherever that stands among them
SELECT sync_register_device('00000000-0000-0000-0000-00000000000b', scopes => (SELECT array_agg(format('team %s', 1000 + n)) FROM generate_series(1, 200) AS n)) IS NOT NULL AS ok;
SELECT sync_grant_scope('00000000-0000-0000-0000-00000000000b', scope, push => scope < 'team 2', pull => scope > 'team 2')
FROM unnest('{team 1001, team 1002, team 1198, team 1199, team 2001}'::text[]) AS scope;
SELECT sync_revoke_scope('00000000-0000-0000-0000-00000000000b', scope) FROM unnest('{team 1003, team 1197}'::text[]) AS scope;
SELECT status, applied, rejected, o->>'seq' AS refused, o->>'reason' AS reason,
    (SELECT string_agg(c.key->>'id', ' ' ORDER BY c.key->>'id') FROM delta_changes(corrections) AS c WHERE c.kind = 'retract') AS retracted
FROM sync_apply_delta((SELECT format('{"format": 1, "replica": "00000000-0000-0000-0000-00000000000b", "changes": [%s]}', string_agg(
    format('{"seq": %s, "hlc": "2026-11-20T10:00:00.000Z/0", "table": "label", "key": {"id": %s}, "insert": {"team": "team %s"}}', n, 2000 + n, 1000 + n), ',' ORDER BY n))
    FROM generate_series(1, 201) AS n)::delta) AS a LEFT JOIN jsonb_array_elements(outcomes) AS o ON true ORDER BY (o->>'seq')::int;
SELECT status, applied, rejected, o->>'reason' AS reason, delta_count(corrections) AS corrections
FROM sync_apply_delta('{"format": 1, "replica": "00000000-0000-0000-0000-00000000000b", "changes": [
    {"seq": 202, "hlc": "2026-11-20T10:00:00.000Z/0", "table": "label", "key": {"id": 3001}, "insert": {"team": "team 1"}},
    {"seq": 203, "hlc": "2026-11-20T10:00:00.000Z/0", "table": "label", "key": {"id": 3002}, "insert": {"team": "team 2001"}},
    {"seq": 204, "hlc": "2026-11-20T10:00:00.000Z/0", "table": "label", "key": {"id": 3003}, "insert": {"team": "team 1200"}},
    {"seq": 205, "hlc": "2026-11-20T10:00:00.000Z/0", "table": "label", "key": {"id": 2197}, "set": {"team": "team 1196"}},
    {"seq": 206, "hlc": "2026-11-20T10:00:00.000Z/0", "table": "label", "key": {"id": 2196}, "set": {"team": "team 1197"}}]}') AS a
    LEFT JOIN jsonb_array_elements(outcomes) AS o ON true ORDER BY (o->>'seq')::int;
SELECT count(*), min(team), max(team) FROM label WHERE id > 2000;
DROP TABLE note, label;
