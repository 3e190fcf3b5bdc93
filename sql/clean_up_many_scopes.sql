--
-- A device with many scopes goes on from its vector, or not, by what was removed in its own
--
SET client_min_messages = warning;
CREATE FUNCTION device(n int) RETURNS uuid LANGUAGE sql IMMUTABLE AS
$$ SELECT format('%s-0000-4000-8000-000000000000', repeat(n::text, 8))::uuid $$;
-- 1 has all scopes, 2 all but those of 1 alone
SELECT sync_register_device(device(1), array_agg('s' || g)) IS NOT NULL AS one FROM generate_series(1, 30) AS g;
SELECT sync_register_device(device(2), array_agg('s' || g)) IS NOT NULL AS two FROM generate_series(1, 20) AS g;
CREATE TABLE note (id int PRIMARY KEY, scope text, title text);
SELECT sync_enable_table('note', 'scope');
INSERT INTO note SELECT g, 's' || g, 'note ' || g FROM generate_series(1, 30) AS g;
CREATE TABLE client (n int PRIMARY KEY, vector text NOT NULL DEFAULT '{}', old text);
INSERT INTO client VALUES (1), (2);
CREATE FUNCTION pull(me int, OUT is_reset boolean, OUT changes text) LANGUAGE plpgsql AS $$
DECLARE p delta;
BEGIN
    SELECT sync_changes_since(device(me), c.vector::version_vector, 1000) INTO p FROM client AS c WHERE n = me;
    UPDATE client SET vector = delta_to(p) WHERE n = me;
    is_reset := coalesce((p::text::jsonb ->> 'reset')::boolean, false);
    SELECT string_agg(concat_ws(' ', c.kind, c.key ->> 'id'), ', ' ORDER BY (c.key ->> 'id')::int) INTO changes FROM delta_changes(p) AS c;
END $$;
CREATE FUNCTION ack(me int) RETURNS void LANGUAGE sql AS $$ SELECT sync_ack(device(me), vector::version_vector) FROM client WHERE n = me $$;
CREATE FUNCTION clean_up() RETURNS TABLE (task text, removed bigint) LANGUAGE sql AS
$$ SELECT m.task, m.removed FROM sync_maintenance() AS m WHERE m.task IN ('change_log', 'tombstones') $$;
SELECT pull(1), pull(2), ack(1), ack(2);

-- Much goes in scopes that the second one does not have, one after the other: it has nothing to do with that.
DO $$ BEGIN
    FOR i IN 21 .. 30 LOOP
        UPDATE note SET title = 'changed' WHERE id = i;
        DELETE FROM note WHERE id = i AND i % 2 = 0;
        COMMIT;
    END LOOP;
END $$;
SELECT * FROM pull(1);
SELECT ack(1);
SELECT * FROM clean_up();
SELECT * FROM clean_up();
SELECT * FROM clean_up();
SELECT * FROM pull(2);

-- In one that it has: who comes from before that begins afresh.
UPDATE client SET old = vector;
UPDATE note SET title = 'changed' WHERE id = 7;
SELECT * FROM pull(2);
SELECT pull(1), ack(1), ack(2);
SELECT * FROM clean_up();
UPDATE client SET vector = old WHERE n = 2;
SELECT * FROM pull(2);
SELECT * FROM pull(2);

-- Tombstones that were released matter to whoever has an entry from before: a row that left scope 3, and was deleted elsewhere.
SELECT ack(1), ack(2);
UPDATE client SET old = vector;
UPDATE note SET scope = 's29' WHERE id = 3;
DELETE FROM note WHERE id = 3;
SELECT pull(1), ack(1);
UPDATE offline_sync.device SET registered_at = now() - interval '1 year', last_ack_at = now() - interval '1 year' WHERE device = device(2);
SELECT * FROM clean_up();
SELECT * FROM clean_up();
SELECT count(*) FROM offline_sync.tombstone;
-- as if the entry had stayed for somebody else's sake
INSERT INTO offline_sync.change_log (scope, node, xid, part, table_id, key)
SELECT f.scope, f.node, f.xid, 1, t.table_id, '\x0133'::bytea FROM offline_sync.log_forgotten AS f, offline_sync.tracked_table AS t WHERE f.scope = 's3';
UPDATE offline_sync.log_forgotten SET xid = '3' WHERE scope = 's3';
UPDATE offline_sync.device SET fenced_at = NULL, last_ack_at = now() WHERE device = device(2);
SELECT * FROM pull(2);
SELECT * FROM pull(2);
