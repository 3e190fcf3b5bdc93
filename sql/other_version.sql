--
-- A library and objects in the database that are not of the same version
--
\set VERBOSITY default
CREATE TABLE note (id int PRIMARY KEY, title text);
SELECT sync_enable_table('note');
SELECT sync_register_device('aaaaaaaa-0000-4000-8000-000000000001');
CREATE FUNCTION push(seq int) RETURNS text LANGUAGE sql AS $$
    SELECT status FROM sync_apply_delta(format('{"format": 1, "replica": "aaaaaaaa-0000-4000-8000-000000000001", "changes": [
        {"seq": %1$s, "hlc": "2025-06-01T08:00:00Z/0", "table": "note", "key": {"id": %1$s}, "insert": {"title": "x"}}]}', seq)::delta)
$$;
SELECT push(1);
-- as another version might have it: nothing is written, nothing acknowledged
ALTER TABLE offline_sync.journal ADD COLUMN of_another_version text;
SELECT push(2);
SELECT count(*) FROM note;
