--
-- sync_changed_scopes: a transaction that was open when a former node ended is a gap for ever; what
-- clean-up removed behind it is not news for ever
--
SET client_min_messages = warning;
CREATE TABLE note (id int PRIMARY KEY, scope text);
SELECT sync_enable_table('note', 'scope');
SELECT sync_register_device('d0000000-0000-0000-0000-000000000001', '{a,b,c}') IS NOT NULL AS registered;
INSERT INTO note VALUES (1, 'a');
SELECT pg_current_xact_id() AS lost \gset
INSERT INTO note VALUES (2, 'b');
SELECT sync_new_incarnation() IS NOT NULL AS is_new;
INSERT INTO note VALUES (3, 'c');
-- as node_end.c finds it after a restore
UPDATE offline_sync.node SET open_at_end = format('{"%s": "0,%s"}', node, :'lost')::version_vector WHERE final_xid IS NOT NULL;
SELECT seen FROM sync_changed_scopes(NULL) \gset
SELECT vv_covers(:'seen', node, :lost) AS is_claimed FROM offline_sync.node WHERE final_xid IS NOT NULL;
SELECT sync_ack('d0000000-0000-0000-0000-000000000001', delta_to(sync_changes_since('d0000000-0000-0000-0000-000000000001', '{}')));
SELECT removed > 0 AS is_removed FROM sync_maintenance() WHERE task = 'change_log';
SELECT f.xid::text::bigint > :lost AS is_behind FROM offline_sync.log_forgotten f WHERE scope = 'b';
SELECT scopes FROM sync_changed_scopes(:'seen');
-- nor is it a reason to begin afresh
SELECT delta_to(sync_changes_since('d0000000-0000-0000-0000-000000000001', '{}')) AS vector \gset
SELECT coalesce((sync_changes_since('d0000000-0000-0000-0000-000000000001', :'vector')::text::jsonb ->> 'reset')::boolean, false) AS is_reset;
