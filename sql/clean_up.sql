-- sync_maintenance: the change log, tombstones, and devices that were silent too long
SET client_min_messages = warning;
CREATE FUNCTION device(n int) RETURNS uuid LANGUAGE sql IMMUTABLE AS
$$ SELECT format('%s-0000-4000-8000-000000000000', repeat(n::text, 8))::uuid $$;
SELECT sync_register_device(device(1), '{a,b}') IS NOT NULL AS a,
       sync_register_device(device(2), '{a}') IS NOT NULL AS b;
CREATE TABLE note (id int PRIMARY KEY, scope text, title text);
SELECT sync_enable_table('note', 'scope');

-- what each device has got: a client that pulls, and acknowledges if it is told to
CREATE TABLE client (n int PRIMARY KEY, vector text NOT NULL DEFAULT '{}');
INSERT INTO client SELECT generate_series(1, 3);
CREATE FUNCTION pull(me int, OUT is_reset boolean, OUT changes jsonb) LANGUAGE plpgsql AS $$
DECLARE page jsonb; resume text; v text := (SELECT vector FROM client WHERE n = me);
BEGIN
    is_reset := false;
    LOOP
        page := sync_changes_since(device(me), v::version_vector, 100, resume)::text::jsonb;
        is_reset := is_reset OR coalesce((page ->> 'reset')::boolean, false);
        changes := coalesce(changes, '[]') || coalesce((SELECT jsonb_agg(c - 'hlc' - 'table') FROM jsonb_array_elements(page -> 'changes') c), '[]');
        v := page ->> 'to';
        resume := page ->> 'resume';
        EXIT WHEN NOT coalesce((page ->> 'more')::boolean, false);
    END LOOP;
    UPDATE client SET vector = v WHERE n = me;
END $$;
CREATE FUNCTION ack(me int) RETURNS void LANGUAGE sql AS $$ SELECT sync_ack(device(me), vector::version_vector) FROM client WHERE n = me $$;
CREATE FUNCTION silent(me int, age interval) RETURNS void LANGUAGE sql AS
$$ UPDATE offline_sync.device SET registered_at = now() - age, last_ack_at = now() - age WHERE device = device(me) $$;
CREATE FUNCTION push(me int, seq int, change jsonb, OUT status text, OUT outcomes jsonb, OUT is_served boolean) LANGUAGE sql AS $$
    SELECT r.status, (SELECT jsonb_agg(o - 'message') FROM jsonb_array_elements(r.outcomes) o), corrections IS NOT NULL
    FROM client, sync_apply_delta(jsonb_build_object('format', 1, 'replica', device(me), 'context', vector::jsonb,
        'changes', jsonb_build_array(jsonb_build_object('seq', seq, 'hlc', '2026-01-01T00:00:00Z/0', 'table', 'note') || change))::text::delta) r
    WHERE n = me $$;
-- rows of the log by scope, and tombstones by key
CREATE VIEW log AS SELECT scope, table_id = 0 AS is_event, sum(nkeys) AS entries FROM offline_sync.change_log GROUP BY 1, 2 ORDER BY 1, 2;
CREATE FUNCTION clean_up(max_rows int DEFAULT 10000) RETURNS TABLE (task text, removed bigint, more boolean) LANGUAGE sql AS
$$ SELECT * FROM sync_maintenance(max_rows) m WHERE m.task NOT IN ('journal', 'conflicts', 'queue') $$;

INSERT INTO note VALUES (1, 'a', 'one'), (2, 'a', 'two'), (3, 'b', 'three');
UPDATE note SET title = 'eins' WHERE id = 1;
DELETE FROM note WHERE id = 2;
SELECT * FROM pull(1);
SELECT * FROM pull(2);

-- Nobody has acknowledged anything: only what was before the grants may go.
SELECT * FROM clean_up();
SELECT * FROM log;
SELECT device, entries FROM sync_holdbacks ORDER BY device;

-- one of two that pull a: what only he pulls may go
SELECT ack(1);
SELECT * FROM clean_up();
SELECT * FROM log;
SELECT device, entries FROM sync_holdbacks ORDER BY device;

-- both: in batches
SELECT ack(2);
SELECT * FROM clean_up(2);
SELECT * FROM clean_up(2);
SELECT * FROM clean_up(2);
SELECT * FROM log;
SELECT count(*) FROM sync_holdbacks;

-- nobody notices
SELECT * FROM pull(1);
UPDATE note SET title = 'uno' WHERE id = 1;
SELECT * FROM pull(1);
SELECT * FROM pull(2);
SELECT sync_register_device(device(3), '{a,b}') IS NOT NULL AS c;
SELECT * FROM pull(3);
SELECT ack(1), ack(2), ack(3);
SELECT * FROM clean_up();

-- tombstones go in the round after the one that all have come past
DELETE FROM note WHERE id = 3;
SELECT * FROM clean_up();
SELECT pull(1), ack(1), pull(3);
SELECT count(*) FROM offline_sync.tombstone;
SELECT * FROM clean_up();
SELECT ack(3);
SELECT * FROM clean_up();
SELECT * FROM clean_up();
SELECT count(*) FROM offline_sync.tombstone;

-- A row moved and then deleted elsewhere: who pulls only the scope that it left needs
-- the tombstone, though he needs no entry of its deletion.
INSERT INTO note VALUES (4, 'a', 'four');
SELECT * FROM pull(2);
SELECT ack(2);
UPDATE note SET scope = 'b' WHERE id = 4;
DELETE FROM note WHERE id = 4;
SELECT pull(1), ack(1), pull(3), ack(3);
SELECT * FROM clean_up();
SELECT * FROM clean_up();
SELECT * FROM clean_up();
SELECT * FROM pull(2);
SELECT ack(2);
SELECT * FROM clean_up();
SELECT * FROM clean_up();
SELECT count(*) FROM offline_sync.tombstone;

-- A new grant needs no log from before it.
SELECT * FROM clean_up();
SELECT sync_grant_scope(device(2), 'b');
INSERT INTO note VALUES (5, 'b', 'five');
SELECT * FROM pull(2);
SELECT * FROM pull(2);

-- Silent for too long: fenced, and not waited for.
SELECT ack(1), ack(2), ack(3);
INSERT INTO note VALUES (8, 'a', 'eight');
SELECT * FROM pull(2);
SELECT vector AS old FROM client WHERE n = 2 \gset
UPDATE note SET title = 'un' WHERE id = 1;
DELETE FROM note WHERE id = 5;
SELECT pull(1), ack(1), pull(3), ack(3);
SELECT silent(2, '91 days');
SELECT status FROM sync_hello(device(2));
SELECT * FROM clean_up();
SELECT * FROM clean_up();
SELECT device, status FROM sync_devices ORDER BY device;
SELECT value FROM sync_stats WHERE name = 'fenced_devices';
SELECT count(*) FROM sync_holdbacks;

-- his push is accepted, but that does not tell how far he is
SELECT * FROM push(2, 1, '{"key": {"id": 6}, "insert": {"scope": "a", "title": "six"}}');
-- on a row whose deletion is forgotten
SELECT * FROM push(2, 2, '{"key": {"id": 5}, "set": {"title": "fünf"}}');
SELECT * FROM push(2, 3, '{"key": {"id": 5}, "insert": {"scope": "b", "title": "fünf"}}');
SELECT status FROM sync_hello(device(2));
-- nor does an acknowledgement of what he got before, or of nothing, or of his own pushes
SELECT sync_ack(device(2), :'old'), sync_ack(device(2), '{}');
SELECT sync_ack(device(2), format('{"%s": 3}', device(2))::version_vector);
SELECT status FROM sync_hello(device(2));
SELECT * FROM pull(2);
SELECT ack(2);
SELECT status FROM sync_hello(device(2));
SELECT fenced_at FROM offline_sync.device WHERE device = device(2);
SELECT * FROM pull(2);

-- A device that lost its last days (its backup was restored) is told, too.
UPDATE note SET title = 'ein' WHERE id = 1;
SELECT pull(1), pull(2), pull(3), ack(1), ack(2), ack(3);
SELECT vector AS old FROM client WHERE n = 3 \gset
UPDATE note SET title = 'yksi' WHERE id = 1;
SELECT pull(1), pull(2), pull(3), ack(1), ack(2), ack(3);
UPDATE client SET vector = :'old' WHERE n = 3;
SELECT * FROM pull(3);
SELECT * FROM clean_up();
UPDATE client SET vector = :'old' WHERE n = 3;
SELECT * FROM pull(3);

-- The end of a node is known though all of its entries are gone.
SELECT count(*) AS entries FROM offline_sync.change_log WHERE scope IS NOT NULL;
SELECT pull(1), ack(1), pull(3), ack(3), sync_revoke_device(device(2));
SELECT vector AS before FROM client WHERE n = 1 \gset
SELECT sync_new_incarnation() IS NOT NULL AS is_new;
SELECT * FROM pull(1);
INSERT INTO note VALUES (7, 'a', 'seven');
SELECT * FROM pull(1);
SELECT final_xid = (SELECT max(xid::text::bigint) FROM offline_sync.log_forgotten f WHERE f.node = n.id)::text::xid8 AS is_exact
FROM offline_sync.node n WHERE final_xid IS NOT NULL;
-- a vector from just before it can be continued, one from a lost future cannot
UPDATE client SET vector = :'before' WHERE n = 1;
SELECT * FROM pull(1);
SELECT jsonb_build_object(node, (final_xid::text::bigint + 1)) || '{}' AS lost FROM offline_sync.node WHERE final_xid IS NOT NULL \gset
UPDATE client SET vector = :'lost' WHERE n = 1;
SELECT is_reset FROM pull(1);
