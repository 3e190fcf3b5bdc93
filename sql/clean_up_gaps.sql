--
-- Whether a device can go on from a vector with gaps: it can if there is nothing of its scopes in them
--
SET client_min_messages = warning;
CREATE TABLE note (id int PRIMARY KEY, scope text);
SELECT sync_enable_table('note', 'scope');
SELECT sync_register_device('d0000000-0000-0000-0000-000000000001', '{a,b}') IS NOT NULL AS registered;
CREATE TABLE written (n int PRIMARY KEY, scope text, xid bigint);
CREATE PROCEDURE write_some() LANGUAGE plpgsql AS $$
BEGIN
    FOR i IN 1 .. 8 LOOP
        INSERT INTO note VALUES (i, (ARRAY['a', 'b', 'other'])[i % 3 + 1]);
        INSERT INTO written SELECT id, scope, pg_current_xact_id()::text::bigint FROM note WHERE id = i;
        COMMIT;
        -- one that wrote nothing for devices
        PERFORM pg_current_xact_id();
        COMMIT;
    END LOOP;
END $$;
CALL write_some();
-- tombstones from before now are released
INSERT INTO offline_sync.tombstone_release (node, settled, ended, released_node, released_settled, released_ended)
SELECT id, x, x, id, x, x FROM offline_sync.node, pg_current_xact_id() AS x;
-- the device has all that was before, and of these transactions all but one, or but those that wrote nothing
CREATE FUNCTION is_reset(missing int) RETURNS boolean LANGUAGE sql AS $$
    SELECT coalesce((sync_changes_since('d0000000-0000-0000-0000-000000000001', v)::text::jsonb ->> 'reset')::boolean, false)
    FROM (SELECT format('{"%s": "%s,%s"}', sync_node(), min(xid) - 1,
                        string_agg(xid::text, ',' ORDER BY xid) FILTER (WHERE n <> missing))::version_vector AS v
          FROM written) AS s $$;
SELECT is_reset(0);
SELECT n, scope, is_reset(n) FROM written ORDER BY n;
