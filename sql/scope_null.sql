--
-- A device cannot put rows where nobody may: into no scope
--
SET client_min_messages = warning;
CREATE FUNCTION dev() RETURNS uuid LANGUAGE sql IMMUTABLE AS $$ SELECT 'd0000000-0000-0000-0000-000000000000'::uuid $$;
SELECT sync_register_device(dev(), '{a}') IS NOT NULL AS registered;
CREATE FUNCTION push(change text) RETURNS TABLE (status text, reason text, corrections text) LANGUAGE sql VOLATILE AS $$
SELECT r.status, r.outcomes -> 0 ->> 'reason', (SELECT string_agg(c.kind || ' ' || c.changes::text, '; ') FROM delta_changes(r.corrections) AS c)
FROM sync_hello(dev()) AS h, sync_apply_delta(format('{"format": 1, "replica": "%s", "changes": [{"seq": %s, "hlc": "2026-01-01T10:00:00.000Z/0", "table": "item", %s}]}',
    dev(), h.acked_seq + 1, change)::delta) AS r
$$;

-- a default speaks for a device that says nothing, not for one that says NULL
CREATE TABLE item (id int PRIMARY KEY, scope text DEFAULT 'a', v text);
SELECT sync_enable_table('item', 'scope');
SELECT * FROM push('"key": {"id": 1}, "insert": {"v": "default"}');
SELECT * FROM push('"key": {"id": 2}, "insert": {"scope": null, "v": "none"}');
SELECT * FROM push('"key": {"id": 1}, "set": {"scope": null}');
SELECT id, scope FROM item;

-- a trigger may have another opinion
CREATE FUNCTION home() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.scope := coalesce(NEW.scope, NEW.v); RETURN NEW; END $$;
CREATE TRIGGER home BEFORE INSERT ON item FOR EACH ROW EXECUTE FUNCTION home();
SELECT * FROM push('"key": {"id": 3}, "insert": {"scope": null, "v": "a"}');
SELECT * FROM push('"key": {"id": 4}, "insert": {"scope": null, "v": "b"}');
SELECT id, scope FROM item ORDER BY 1;
