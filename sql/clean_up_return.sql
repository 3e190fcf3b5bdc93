--
-- sync_maintenance: a fenced device that is back can start afresh page by page, however slowly; and what a
-- grant needs when the node is another one
--
SET client_min_messages = warning;
CREATE FUNCTION device(n int) RETURNS uuid LANGUAGE sql IMMUTABLE AS
$$ SELECT format('%s-0000-4000-8000-000000000000', repeat(n::text, 8))::uuid $$;
SELECT count(sync_register_device(device(n), '{a}')) AS devices FROM generate_series(1, 2) AS n;
CREATE TABLE note (id int PRIMARY KEY, scope text, title text);
SELECT sync_enable_table('note', 'scope');
INSERT INTO note SELECT g, 'a', 'note ' || g FROM generate_series(1, 6) AS g;

CREATE TABLE client (n int PRIMARY KEY, vector text NOT NULL DEFAULT '{}', resume text);
INSERT INTO client SELECT generate_series(1, 2);
-- one page; says with what it begins, and what it brings
CREATE FUNCTION page(me int, max_changes int, OUT is_reset boolean, OUT more boolean, OUT changes text) LANGUAGE plpgsql AS $$
DECLARE p delta;
BEGIN
    SELECT sync_changes_since(device(me), c.vector::version_vector, max_changes, c.resume) INTO p FROM client AS c WHERE n = me;
    UPDATE client SET vector = delta_to(p), resume = delta_resume(p) WHERE n = me;
    is_reset := coalesce((p::text::jsonb ->> 'reset')::boolean, false);
    more := delta_has_more(p);
    SELECT string_agg(concat_ws(' ', c.kind, c.key ->> 'id'), ', ' ORDER BY (c.key ->> 'id')::int) INTO changes FROM delta_changes(p) AS c;
END $$;
CREATE FUNCTION ack(me int) RETURNS void LANGUAGE sql AS $$ SELECT sync_ack(device(me), vector::version_vector) FROM client WHERE n = me $$;
CREATE FUNCTION clean_up() RETURNS TABLE (task text, removed bigint) LANGUAGE sql AS
$$ SELECT m.task, m.removed FROM sync_maintenance() AS m WHERE m.task IN ('change_log', 'tombstones', 'fence') $$;
CREATE VIEW fenced AS SELECT fenced_at IS NOT NULL AS is_fenced, returned_at IS NOT NULL AS has_returned FROM offline_sync.device WHERE device = device(2);
CREATE FUNCTION silent() RETURNS void LANGUAGE sql AS
$$ UPDATE offline_sync.device SET registered_at = now() - interval '1 year', last_ack_at = now() - interval '1 year',
       returned_at = returned_at - interval '1 year' WHERE device = device(2) $$;
-- somebody writes and deletes, the other device acknowledges it, and all that may go goes
CREATE PROCEDURE time_passes(n int) LANGUAGE plpgsql AS $$
BEGIN
    UPDATE note SET title = title || '!' WHERE id = n;
    DELETE FROM note WHERE id = n + 1;
    COMMIT;
    PERFORM page(1, 1000), ack(1);
    COMMIT;
    PERFORM clean_up();
    COMMIT;
    PERFORM clean_up();
    COMMIT;
END $$;

SELECT * FROM page(1, 1000);
SELECT * FROM page(2, 1000);
SELECT ack(1), ack(2);
SELECT silent();
CALL time_passes(1);
SELECT * FROM fenced;

-- Who only pulls is not known to be there: its beginning is forgotten, so it begins again.
SELECT * FROM page(2, 2);
CALL time_passes(3);
SELECT * FROM page(2, 2);
SELECT * FROM fenced;

-- A call that may not write, or is somebody else's, does not count.
BEGIN READ ONLY;
SELECT status FROM sync_hello(device(2));
COMMIT;
SELECT * FROM fenced;

-- It says that it is there: all from here on is kept, until it has acknowledged it.
SELECT status FROM sync_hello(device(2));
SELECT * FROM fenced;
SELECT status, fenced_at IS NOT NULL AS is_fenced FROM sync_devices JOIN offline_sync.device USING (device) WHERE device = device(2);
UPDATE client SET resume = NULL WHERE n = 2;
SELECT * FROM page(2, 1);
INSERT INTO note SELECT g, 'a', 'note ' || g FROM generate_series(7, 9) AS g;
CALL time_passes(5);
SELECT device, entries FROM sync_holdbacks;
SELECT * FROM page(2, 1);
CALL time_passes(8);
SELECT * FROM page(2, 100);
SELECT status FROM sync_hello(device(2));
SELECT ack(2);
SELECT status FROM sync_hello(device(2));
SELECT * FROM fenced;
SELECT id FROM note ORDER BY id;
SELECT * FROM clean_up();
SELECT * FROM clean_up();
SELECT count(*) FROM offline_sync.change_log WHERE scope IS NOT NULL;
SELECT count(*) FROM offline_sync.tombstone;

-- So does a push, or an acknowledgement that does not count.
SELECT silent();
CALL time_passes(3);
SELECT status FROM sync_apply_delta(format('{"format": 1, "replica": "%s", "changes": [
    {"seq": 1, "hlc": "2026-01-01T00:00:00Z/0", "table": "note", "key": {"id": 20}, "insert": {"scope": "a", "title": "twenty"}}]}', device(2))::delta);
SELECT * FROM fenced;
-- but not for ever
SELECT silent();
SELECT * FROM clean_up();
SELECT * FROM fenced;
SELECT sync_ack(device(2), '{}');
SELECT * FROM fenced;
SELECT * FROM page(2, 1);
CALL time_passes(20);
SELECT * FROM page(2, 100);
SELECT ack(2);
SELECT * FROM fenced;

-- The log of a scope goes back less far than the device that gets it, on a former node: that comes with its rows.
INSERT INTO note SELECT g, 'b', 'note ' || g FROM generate_series(30, 31) AS g;
SELECT removed > 0 AS is_forgotten FROM clean_up() WHERE task = 'change_log';
SELECT sync_new_incarnation() IS NOT NULL AS is_new;
SELECT sync_grant_scope(device(2), 'b');
SELECT * FROM page(2, 100);
SELECT ack(2);
SELECT * FROM page(2, 100);
