-- Who sees other roles' devices in the views sees no values that row security keeps from him.
SET client_min_messages = warning;
CREATE ROLE regress_phone;
CREATE ROLE regress_watch;
CREATE TABLE note (id int PRIMARY KEY, who text, body text);
SELECT sync_enable_table('note', options => '{"audit": "full"}');
ALTER TABLE note ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON note USING (who = current_user);
GRANT ALL ON note TO regress_phone, regress_watch;
SELECT sync_register_device('d0000000-0000-4000-8000-000000000001', owner => 'regress_phone');
SELECT sync_grant_access('regress_watch', 'monitor');

SET ROLE regress_phone;
SELECT status FROM sync_apply_delta('{"format": 1, "replica": "d0000000-0000-4000-8000-000000000001",
  "changes": [{"seq": 1, "hlc": "2026-01-01T00:00:00Z/0", "table": "note", "key": {"id": 1},
               "insert": {"who": "regress_phone", "body": "secret"}}]}');
RESET ROLE;
UPDATE note SET body = 'later';
SET ROLE regress_phone;
SELECT status FROM sync_apply_delta('{"format": 1, "replica": "d0000000-0000-4000-8000-000000000001",
  "changes": [{"seq": 2, "hlc": "2026-01-01T00:00:00Z/0", "table": "note", "key": {"id": 1}, "set": {"body": "mine"}},
              {"seq": 3, "hlc": "2026-01-01T00:00:00Z/0", "intent": "pay", "args": {"card": "4711"}}]}');
-- its owner
SELECT seq, table_name, scope, key, incoming, previous FROM sync_audit ORDER BY seq;
SELECT table_name, scope, key, current_value, incoming_value FROM sync_conflicts;

SET ROLE regress_watch;
SELECT seq, table_name, scope, key, incoming, previous, outcome FROM sync_audit ORDER BY seq;
SELECT table_name, scope, key, current_value, incoming_value, decision FROM sync_conflicts;

-- what row security does not keep from him, he sees
RESET ROLE;
ALTER TABLE note DISABLE ROW LEVEL SECURITY;
SET ROLE regress_watch;
SELECT seq, table_name, scope, key, incoming FROM sync_audit ORDER BY seq;
SELECT table_name, scope, key, current_value, incoming_value, decision FROM sync_conflicts;

-- nor does it when the table is not kept in sync any more
RESET ROLE;
ALTER TABLE note ENABLE ROW LEVEL SECURITY;
SELECT sync_disable_table('note');
SET ROLE regress_watch;
SELECT seq, table_name, scope, key, incoming FROM sync_audit ORDER BY seq;
SELECT table_name, scope, key, current_value, incoming_value, decision FROM sync_conflicts;
RESET ROLE;
SELECT sync_revoke_access('regress_watch', 'monitor');
DROP TABLE note;
DROP ROLE regress_phone, regress_watch;
