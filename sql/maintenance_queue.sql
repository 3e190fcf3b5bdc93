--
-- sync_maintenance: answers to submitted deltas; and what is left of refusals when a device is forgotten
--
SET client_min_messages = warning;
CREATE TABLE task (id int PRIMARY KEY, title text);
SELECT sync_enable_table('task', options => '{"name": "task"}');
CREATE FUNCTION id(device char) RETURNS uuid LANGUAGE sql IMMUTABLE AS
$$ SELECT ('00000000-0000-0000-0000-00000000000' || device)::uuid $$;
SELECT sync_register_device(id(d), label => d) IS NOT NULL AS registered FROM unnest('{a,b}'::char[]) AS d;
CREATE FUNCTION delta_of(device char, seq bigint, title text) RETURNS delta LANGUAGE sql STABLE AS $$
SELECT format('{"format": 1, "replica": "%s", "changes": [{"seq": %s, "hlc": "2026-01-01T10:00:00.000Z/0", "table": "task", "key": {"id": %s}, "insert": {"title": "%s"}}]}',
              id(device), seq, ascii(device) * 100 + seq, title)::delta
$$;
CREATE VIEW queued AS SELECT right(device::text, 1) AS device, first_seq, state, status FROM offline_sync.queue ORDER BY device, first_seq, status;
CREATE FUNCTION clean_up(max_rows int DEFAULT 10000) RETURNS TABLE (removed bigint, more boolean) LANGUAGE sql AS
$$ SELECT m.removed, m.more FROM sync_maintenance(max_rows) m WHERE m.task = 'queue' $$;

SELECT count(sync_submit_delta(delta_of('a', n, 'of a'))) FROM generate_series(1, 3) AS n;
SELECT count(sync_submit_delta(delta_of('b', n, 'of b'))) FROM generate_series(1, 3) AS n;
SELECT * FROM clean_up();
SELECT * FROM sync_process_queue(5);
SELECT count(sync_submit_delta(delta_of('a', 3, 'another')));
SELECT * FROM sync_process_queue();
SELECT * FROM queued;
-- nobody has acknowledged anything
SELECT * FROM clean_up();
-- what a device has acknowledged goes; not what was refused, which it may ask for yet
SELECT sync_ack(id('a'), format('{"%s": 3}', id('a'))::version_vector);
SELECT sync_ack(id('b'), format('{"%s": 1}', id('b'))::version_vector);
SELECT * FROM clean_up(2);
SELECT * FROM clean_up();
SELECT * FROM queued;
-- the others when they are old; what waits stays
SELECT sync_submit_delta(delta_of('b', 9, 'after a gap')) IS NOT NULL AS submitted;
UPDATE offline_sync.queue SET submitted_at = now() - interval '1 year', answered_at = answered_at - interval '1 year';
SELECT * FROM clean_up();
SELECT * FROM queued;
SELECT count(*) FROM task;

-- a device that was refused, and is forgotten
SELECT sync_revoke_device(id('b'));
SELECT status FROM sync_apply_delta(delta_of('b', 4, 'refused'));
SELECT reason FROM offline_sync.refusal ORDER BY 1;
SELECT sync_forget_device(id('b'));
SELECT count(*) FROM offline_sync.refusal;
