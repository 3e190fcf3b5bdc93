--
-- A trigger changes a column whose own write lost, in a row that is written for its clock only
--
SET client_min_messages = warning;
CREATE FUNCTION dev(d text) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$ SELECT ('00000000-0000-0000-0000-00000000000' || d)::uuid $$;
SELECT count(sync_register_device(dev(d))) AS devices FROM unnest('{a,b}'::text[]) AS d;
CREATE FUNCTION push(d text, seq int, context text, hour int, change text) RETURNS text LANGUAGE sql VOLATILE AS $$
SELECT concat_ws(' ', r.status, r.outcomes -> 0 ->> 'reason', (SELECT c.changes FROM delta_changes(r.corrections) AS c))
FROM sync_apply_delta(format('{"format": 1, "replica": "%s", "context": %s, "changes": [{"seq": %s, "hlc": "2026-01-01T%s:00:00.000Z/0", "table": "item", "key": {"id": 1}, %s}]}',
    dev(d), context, seq, hour, change)::delta) AS r
$$;
CREATE FUNCTION count_write() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.writes := coalesce(NEW.writes, 0) + 1; RETURN NEW; END $$;

-- both rules let a row remember its last write
CREATE TABLE item (id int PRIMARY KEY, v text, writes int);
CREATE TRIGGER count_write BEFORE UPDATE ON item FOR EACH ROW EXECUTE FUNCTION count_write();
INSERT INTO item VALUES (1, 'start', 0);
SELECT sync_enable_table('item', options => '{"on_delete": "update_wins"}');
SELECT delta_to(sync_changes_since(dev('a'), '{}')) AS seen \gset

-- A's write is the later one, B's loses; the trigger counts both, and the second time on its own account
SELECT push('a', 1, :'seen', 12, '"set": {"writes": 100}');
SELECT push('b', 1, :'seen', 11, '"set": {"writes": 50}');
SELECT writes FROM item;
SELECT column_name, replica = sync_node() AS by_node FROM item, row_clock_entries('item', _sync) WHERE column_name = 'writes';

-- so A is told
SELECT c.changes FROM delta_changes(sync_changes_since(dev('a'), vv_join(:'seen', format('{"%s": 1}', dev('a'))::version_vector))) AS c;

-- a write that loses, then one that does not, in one push: that is B's
SELECT r.status, (SELECT c.changes FROM delta_changes(r.corrections) AS c) AS corrections
FROM sync_apply_delta(format('{"format": 1, "replica": "%s", "context": %s, "changes": [
    {"seq": 2, "hlc": "2026-01-01T11:30:00.000Z/0", "table": "item", "key": {"id": 1}, "set": {"writes": 60}},
    {"seq": 3, "hlc": "%s", "table": "item", "key": {"id": 1}, "set": {"writes": 70}}]}',
    dev('b'), :'seen', hlc(clock_timestamp() + interval '1 minute', 0))::delta) AS r;
SELECT column_name, replica = dev('b') AS by_b FROM item, row_clock_entries('item', _sync) WHERE column_name = 'writes';
