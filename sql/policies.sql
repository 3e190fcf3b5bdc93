--
-- Column policies: what three concurrent writes of one cell leave, in every order of arrival
--
SET client_min_messages = warning;
SELECT sync_register_device(('00000000-0000-0000-0000-00000000000' || d)::uuid, label => d) IS NOT NULL AS registered
FROM unnest('{a,b,c}'::text[]) AS d;
CREATE TABLE result (policy text, arrived text, value text, conflicts int, open int);

-- Devices a, b and c write at 00:00, 01:00 and 02:00; all had seen the row as SQL made it.
-- A push is a transaction of its own: the context covers none of the others.
CREATE PROCEDURE try(policy text, type text, start text, VARIADIC sent text[]) LANGUAGE plpgsql AS $$
DECLARE
    arrived text; d text; i int; seen text; first_seq int; value text; n int; total int;
BEGIN
    FOREACH arrived IN ARRAY '{abc,acb,bac,bca,cab,cba}'::text[] LOOP
        EXECUTE format('CREATE TABLE cell (id int PRIMARY KEY, v %s)', type);
        PERFORM sync_enable_table('cell', policies => jsonb_build_object('v', policy));
        INSERT INTO cell VALUES (1);
        EXECUTE format('UPDATE cell SET v = %L', start);
        seen := format('{"%s": %s}', sync_node(), pg_current_xact_id());
        COMMIT;
        total := 0;
        FOR n IN 1 .. 3 LOOP
            d := substr(arrived, n, 1);
            i := ascii(d) - ascii('a') + 1;
            SELECT h.acked_seq + 1 INTO first_seq FROM sync_hello(('00000000-0000-0000-0000-00000000000' || d)::uuid) AS h;
            SELECT total + a.conflicts INTO total FROM sync_apply_delta(format(
                '{"format": 1, "replica": "00000000-0000-0000-0000-00000000000%s", "context": %s, "changes": [{"seq": %s, '
                '"hlc": "2026-01-01T0%s:00:00.000Z/0", "table": "cell", "key": {"id": 1}, "set": {"v": %s}}]}',
                d, seen, first_seq, i - 1, coalesce(to_json(sent[i])::text, 'null'))::delta) AS a;
            COMMIT;
        END LOOP;
        SELECT coalesce(v::text, 'null') INTO value FROM cell;
        INSERT INTO result SELECT try.policy, arrived, value, total, count(*) FILTER (WHERE s.state = 'open')
            FROM sync_conflicts AS s WHERE s.table_name = 'cell';
        DROP TABLE cell;
        DELETE FROM offline_sync.conflict;
        COMMIT;
    END LOOP;
END $$;

-- Independent of the order
CALL try('lww', 'text', 'start', 'from a', 'from b', 'from c');
CALL try('max', 'int', '5', '7', '30', '9');
CALL try('max', 'int', '50', '7', '30', '9');
CALL try('max', 'numeric', '1', '7.0', '7.00', '7');
CALL try('max', 'text', NULL, 'x', NULL, 'y');
CALL try('min', 'int', '5', '7', '3', '4');
CALL try('min', 'date', NULL, '2026-03-01', NULL, '2026-02-01');
CALL try('first_writer', 'text', NULL, 'from a', 'from b', 'from c');
CALL try('first_writer', 'text', 'taken', 'from a', 'from b', 'from c');
CALL try('first_writer', 'text', NULL, NULL, 'from b', 'from c');
SELECT policy, value, count(*) AS orders
FROM (SELECT *, (row_number() OVER () - 1) / 6 AS call FROM result) AS r GROUP BY call, policy, value ORDER BY call;
TRUNCATE result;

-- The server decides: who comes first is stored, the others are told
CALL try('server_wins', 'text', 'start', 'from a', 'from b', 'from c');
CALL try('manual', 'text', 'start', 'from a', 'from b', 'from c');
SELECT * FROM result;

-- A policy must fit its column
CREATE TABLE misfit (id int PRIMARY KEY, p point, t text, n int);
SELECT sync_enable_table('misfit', policies => '{"p": "max"}');
SELECT sync_enable_table('misfit', policies => '{"n": "maximum"}');
SELECT sync_enable_table('misfit', policies => '{"n": "max", "t": "first_writer"}');
SELECT sync_set_policy('misfit', 'p', 'min');
SELECT sync_set_policy('misfit', 'p', 'manual');
SELECT policies FROM sync_tables WHERE table_name = 'misfit';
