--
-- Limits: each refusal names the limit and the value; and what a flood of deltas
-- leaves behind
--
SET client_min_messages = warning;
CREATE SCHEMA limits_test;
SET search_path = limits_test, public;

CREATE TABLE note (id int PRIMARY KEY, title text, parent int REFERENCES note);
SELECT sync_enable_table('note', options => '{"name": "note"}');
\set ann '\'bbbbbbbb-0000-4000-8000-000000000001\''
\set bob '\'bbbbbbbb-0000-4000-8000-000000000002\''
SELECT sync_register_device(:ann), sync_register_device(:bob);

-- a delta of changes first .. last, each a new note
CREATE FUNCTION delta_text(device uuid, first int, last int, title text DEFAULT 'x', hlc text DEFAULT '2026-01-01T10:00:00.000Z/0')
RETURNS text LANGUAGE sql AS $$
SELECT format('{"format":1,"replica":"%s","context":{},"changes":[%s]}', device,
    string_agg(format('{"seq":%s,"hlc":"%s","table":"note","key":{"id":%s},"insert":{"title":"%s"}}', n, hlc, n, title), ',' ORDER BY n))
FROM generate_series(first, last) n
$$;
CREATE FUNCTION push(delta text, OUT status text, OUT acked bigint, OUT reason text, OUT sqlstate text, OUT message text, OUT retry_after int)
LANGUAGE sql VOLATILE AS $$
SELECT r.status, r.acked_seq, o ->> 'reason', o ->> 'sqlstate', o ->> 'message', (o ->> 'retry_after')::int
FROM sync_apply_delta(delta::delta) r LEFT JOIN LATERAL jsonb_array_elements(r.outcomes) o ON true LIMIT 1
$$;
CREATE FUNCTION raised(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    hint text;
BEGIN
    EXECUTE statement;
    RETURN 'ok';
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS hint = PG_EXCEPTION_HINT;
    RETURN SQLSTATE || ': ' || SQLERRM || coalesce(nullif(' HINT: ' || hint, ' HINT: '), '');
END $$;

-- of one delta: errors of the call, before anything looks at it
SET offline_sync.max_delta_size = '1kB';
SELECT raised(format('SELECT %L::delta', delta_text(:ann, 1, 1, repeat('x', 1000))));
RESET offline_sync.max_delta_size;
SELECT delta_send(delta_text(:ann, 1, 4)::delta) AS bytes \gset
SET offline_sync.max_delta_changes = 3;
SELECT raised(format('SELECT %L::delta', delta_text(:ann, 1, 4)));
SELECT raised(format('SELECT delta_from_bytes(%L)', :'bytes'));
RESET offline_sync.max_delta_changes;
SET offline_sync.max_value_size = '1kB';
SELECT raised(format('SELECT %L::delta', delta_text(:ann, 1, 1, repeat('x', 1025))));
RESET offline_sync.max_value_size;
SET offline_sync.max_delta_depth = 3;
SELECT raised(format('SELECT %L::delta', replace(delta_text(:ann, 1, 1), '"x"', '[[[[1]]]]')));
RESET offline_sync.max_delta_depth;
-- a clock that is ahead is pulled back, and the change kept
SET offline_sync.max_clock_skew = '1min';
SELECT status, o ->> 'outcome' AS outcome FROM sync_apply_delta(delta_text(:ann, 1, 1, hlc => '2100-01-01T00:00:00.000Z/0')::delta) r, jsonb_array_elements(r.outcomes) o;
SELECT hlc::timestamptz <= clock_timestamp() + interval '1 min' AS is_pulled_back FROM offline_sync.device WHERE device = :ann;
RESET offline_sync.max_clock_skew;
-- what may wait
SET offline_sync.max_pending = 1;
SELECT o ->> 'outcome' AS outcome, o ->> 'reason' AS reason, o ->> 'message' AS message
FROM sync_apply_delta(replace(delta_text(:ann, 2, 3), '"title":"x"', '"parent":99')::delta) r, jsonb_array_elements(r.outcomes) o;
RESET offline_sync.max_pending;

-- rate: 1 a second, 600 at once, so that a bucket takes 10 minutes to fill and the test no time
SELECT name, setting, context FROM pg_settings WHERE name ~ '^offline_sync.device_(rate|burst)' ORDER BY name;
SET offline_sync.device_rate = 1;
SET offline_sync.device_burst = 600;
SELECT limits ->> 'device_rate' AS rate, limits ->> 'device_burst' AS burst FROM sync_hello(:bob);
-- what is refused empties the bucket, too
SELECT status, reason FROM push(delta_text(:bob, 601, 1200));
SELECT bucket_full_at BETWEEN now() + interval '590 s' AND now() + interval '600 s' AS is_empty FROM offline_sync.device WHERE device = :bob;
SELECT status, acked, reason, sqlstate, message ~ '^600 changes exceed .*device_rate allows 1 a second, .*device_burst 600 at once; try again in \d+ s$' AS names_both,
       retry_after BETWEEN 500 AND 600 AS ten_minutes FROM push(delta_text(:bob, 1, 600));
SELECT count(*) AS journaled FROM offline_sync.journal WHERE device = :bob AND outcomes #>> '{0,reason}' = 'rate_limited';
-- told so within the minute: nothing is locked or written, and the same entry stands for it
BEGIN;
SELECT r.status, r.outcomes #>> '{0,reason}' AS reason, j.reconciliation IS NOT NULL AS is_journaled
FROM sync_apply_delta(delta_text(:bob, 1, 600)::delta) r LEFT JOIN offline_sync.journal j USING (reconciliation);
SELECT pg_current_xact_id_if_assigned() IS NULL AS no_xid;
COMMIT;
SELECT count(*) AS journaled FROM offline_sync.journal WHERE device = :bob AND outcomes #>> '{0,reason}' = 'rate_limited';
-- who may not act for the device is told nothing
CREATE ROLE limits_stranger;
GRANT USAGE ON SCHEMA limits_test TO limits_stranger;
SET ROLE limits_stranger;
SELECT raised(format('SELECT * FROM push(%L)', delta_text(:bob, 1, 5)));
SELECT raised('SET offline_sync.device_rate = 0');
RESET ROLE;
-- a bucket is never emptier than the largest debt: 100000 + 600 changes
UPDATE offline_sync.device SET bucket_full_at = 'infinity' WHERE device = :bob;
SELECT status, retry_after BETWEEN 100500 AND 100600 AS as_long_as_the_largest_delta FROM push(delta_text(:bob, 1, 600));
-- a delta without changes counts as one
UPDATE offline_sync.device SET bucket_full_at = now() + interval '700 s' WHERE device = :bob;
SELECT status, reason, retry_after BETWEEN 1 AND 101 AS one FROM push(format('{"format":1,"replica":"%s"}', :bob));
-- a part of the bucket is enough for a part of the changes
UPDATE offline_sync.device SET bucket_full_at = now() + interval '300 s' WHERE device = :bob;
SELECT status FROM push(delta_text(:bob, 1, 600));
SELECT status, acked FROM push(delta_text(:bob, 1, 1));
-- more than the bucket holds may pass when it is full, and leaves a debt
UPDATE offline_sync.device SET bucket_full_at = NULL WHERE device = :bob;
SELECT status, acked FROM push(delta_text(:bob, 2, 1001));
SELECT status, retry_after BETWEEN 300 AND 401 AS until_it_is_paid FROM push(delta_text(:bob, 1002, 1002));
-- other devices do not mind
SELECT status FROM push(delta_text(:ann, 4, 4));
-- off: no one waits, nothing is stored
SET offline_sync.device_rate = 0;
SELECT bucket_full_at AS before FROM offline_sync.device WHERE device = :bob \gset
SELECT status, acked FROM push(delta_text(:bob, 1002, 1002));
SELECT bucket_full_at = :'before' AS is_as_before FROM offline_sync.device WHERE device = :bob;

-- A flood of refused deltas: one journal row a minute for each reason, of limited size.
SELECT status, count(DISTINCT r.reconciliation) AS answers
FROM generate_series(1, 50) AS n, LATERAL sync_apply_delta(delta_text(:bob, 2000 + n, 3000, 'a flood')::delta) r GROUP BY status;
SELECT reason, repeated FROM offline_sync.refusal WHERE device = :bob AND reason = 'gap';
-- the next one says how many; of a large one the journal has the beginning
UPDATE offline_sync.refusal SET journaled_at = now() - interval '61 s' WHERE device = :bob;
SELECT outcomes AS answered, reconciliation FROM sync_apply_delta(delta_text(:bob, 2000, 3000, 'a flood')::delta) \gset
SELECT o ->> 'repeated' AS repeated, (o ->> 'journaled_changes')::int BETWEEN 10 AND 300 AS a_part,
       (o ->> 'journaled_changes')::int = delta_count(j.delta) AS is_told, delta_size(j.delta) < 10000 AS is_small, delta_first_seq(j.delta) AS first_seq
FROM jsonb_array_elements(:'answered') AS o, offline_sync.journal j WHERE j.reconciliation = :'reconciliation';
-- of one whose first change is large there is no change, but the fact
UPDATE offline_sync.refusal SET journaled_at = now() - interval '61 s' WHERE device = :bob;
SELECT status, outcomes #>> '{0,journaled_changes}' AS journaled, reconciliation FROM sync_apply_delta(delta_text(:bob, 2000, 2000, repeat('x', 100000))::delta) \gset
SELECT :'status' AS status, :'journaled' AS journaled;
SELECT seq, operation, outcome, reason FROM sync_audit WHERE reconciliation = :'reconciliation';
-- a context that is larger than all that is kept
UPDATE offline_sync.refusal SET journaled_at = now() - interval '61 s' WHERE device = :bob;
SELECT status, outcomes #>> '{0,journaled_changes}' AS journaled, reconciliation
FROM sync_apply_delta(replace(delta_text(:bob, 2000, 2000), '"context":{}',
    (SELECT format('"context":{%s}', string_agg(format('"%s":%s', md5(n::text)::uuid, n), ',')) FROM generate_series(1, 1000) n))::delta) \gset
SELECT :'status' AS status, :'journaled' AS journaled;
SELECT delta_size(delta) < 10000 AS is_small, delta_context(delta) FROM offline_sync.journal WHERE reconciliation = :'reconciliation';
-- names count as well: here each change is small, and has names of its own
UPDATE offline_sync.refusal SET journaled_at = now() - interval '61 s' WHERE device = :bob;
SELECT reconciliation FROM sync_apply_delta((SELECT format('{"format":1,"replica":"%s","changes":[%s]}', :bob,
    string_agg(format('{"seq":%s,"hlc":"2026-01-01T10:00:00.000Z/0","table":"%s","key":{"%s":0},"set":{}}', n, rpad(n::text, 60, 't'), rpad(n::text, 60, 'k')), ',' ORDER BY n))
    FROM generate_series(2000, 3000) n)::delta) \gset
SELECT delta_size(delta) < 10000 AS is_small, delta_count(delta) > 10 AS has_some FROM offline_sync.journal WHERE reconciliation = :'reconciliation';
-- another reason is another entry
SELECT status, reason FROM push(replace(delta_text(:bob, 1003, 1003), '"context"', '"schema_version":99,"context"'));
SELECT reason, repeated FROM offline_sync.refusal WHERE device = :bob ORDER BY reason;

-- refused deltas of a device that never got anything through go, too, in time
SELECT sync_register_device('bbbbbbbb-0000-4000-8000-000000000003') IS NOT NULL AS cid;
SELECT status FROM push(delta_text('bbbbbbbb-0000-4000-8000-000000000003', 5, 5));
UPDATE offline_sync.journal SET reconciliation = '00000000-0000-7000-8000-000000000001' WHERE device = 'bbbbbbbb-0000-4000-8000-000000000003';
SELECT task, removed FROM sync_maintenance() WHERE task = 'journal';

DROP SCHEMA limits_test CASCADE;
DROP ROLE limits_stranger;
