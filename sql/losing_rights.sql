--
-- Who may only read leaves no conflicts: a change that would lose needs the right to write, too
--
SET client_min_messages = warning;
CREATE TABLE note (id int PRIMARY KEY, held text, plain text);
CREATE TABLE vault (id int PRIMARY KEY, body text);
SELECT sync_enable_table('note', policies => '{"held": "manual"}'), sync_enable_table('vault', options => '{"consistency": "strong"}');
CREATE ROLE regress_reader;
CREATE ROLE regress_writer;
GRANT SELECT ON note, vault TO regress_reader, regress_writer;
GRANT UPDATE (held, plain) ON note TO regress_writer;
GRANT UPDATE, DELETE ON vault TO regress_writer;
SELECT sync_register_device('00000000-0000-0000-0000-00000000000a', owner => 'regress_reader') IS NOT NULL AS reader,
       sync_register_device('00000000-0000-0000-0000-00000000000b', owner => 'regress_writer') IS NOT NULL AS writer;
INSERT INTO note VALUES (1, 'server', 'server'), (2, 'server', 'server');
INSERT INTO vault VALUES (1, 'server'), (2, 'server');
DELETE FROM note WHERE id = 2;

-- older than what is there, and not having seen it
CREATE FUNCTION push(d text) RETURNS TABLE (status text, outcomes jsonb) LANGUAGE sql AS $$
SELECT a.status, (SELECT jsonb_agg(o - 'message') FROM jsonb_array_elements(a.outcomes) o) FROM sync_apply_delta(format('{"format": 1, "replica": "00000000-0000-0000-0000-00000000000%s", "changes": [
    {"seq": 1, "hlc": "2026-01-01T10:00:00.000Z/0", "table": "note", "key": {"id": 1}, "set": {"held": "mine"}},
    {"seq": 2, "hlc": "2026-01-01T10:00:00.000Z/0", "table": "note", "key": {"id": 1}, "set": {"plain": "mine"}},
    {"seq": 3, "hlc": "2026-01-01T10:00:00.000Z/0", "table": "note", "key": {"id": 1}, "insert": {"held": "mine"}},
    {"seq": 4, "hlc": "2026-01-01T10:00:00.000Z/0", "table": "note", "key": {"id": 2}, "insert": {"held": "mine"}},
    {"seq": 5, "hlc": "2026-01-01T10:00:00.000Z/0", "table": "vault", "key": {"id": 1}, "set": {"body": "mine"}},
    {"seq": 6, "hlc": "2026-01-01T10:00:00.000Z/0", "table": "vault", "key": {"id": 2}, "delete": true}]}', d)::delta) AS a $$;
SET ROLE regress_reader;
SELECT push.status, o FROM push('a'), jsonb_array_elements(outcomes) AS o;
RESET ROLE;
SELECT count(*) AS conflicts FROM sync_conflicts;
SET ROLE regress_writer;
SELECT push.status, o FROM push('b'), jsonb_array_elements(outcomes) AS o;
RESET ROLE;
SELECT table_name, key, column_name, incoming_value, state FROM sync_conflicts ORDER BY seq;

DROP TABLE note, vault;
DELETE FROM offline_sync.device;
DROP ROLE regress_reader, regress_writer;
