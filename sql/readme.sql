-- The README's first screen; tools/lint.sh compares it with this test's output.  In a
-- database of its own, so that it finds and leaves nothing.
SELECT current_database() AS main \gset
CREATE DATABASE offline_sync_readme TEMPLATE template0;
\c offline_sync_readme
SET client_min_messages = warning;

CREATE EXTENSION offline_sync;

CREATE TABLE todo (id int PRIMARY KEY, title text, done bool DEFAULT false, votes int DEFAULT 0);

SELECT sync_enable_table('todo', policies => '{"votes": "counter"}');

SELECT sync_register_device('d0000000-0000-4000-8000-000000000001', label => 'phone');

SELECT status, acked_seq, applied FROM sync_apply_delta('{"format": 1,
    "replica": "d0000000-0000-4000-8000-000000000001", "context": {}, "changes": [
      {"seq": 1, "hlc": "2026-11-20T08:00:00Z/0", "table": "todo", "key": {"id": 1}, "insert": {"title": "buy milk"}},
      {"seq": 2, "hlc": "2026-11-20T09:30:00Z/0", "table": "todo", "key": {"id": 1}, "increment": {"votes": 1}}]}');

UPDATE todo SET title = 'buy oat milk', votes = votes + 1;

SELECT table_name, key, kind, changes
FROM delta_changes(sync_changes_since('d0000000-0000-4000-8000-000000000001', '{}'));

-- done
\c :main
DROP DATABASE offline_sync_readme;
