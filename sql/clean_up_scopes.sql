--
-- sync_changed_scopes: a vector that lies before what clean-up has removed
--
SET client_min_messages = warning;
CREATE TABLE note (id int PRIMARY KEY, scope text);
SELECT sync_enable_table('note', 'scope');
SELECT sync_register_device('d0000000-0000-0000-0000-000000000001', '{a,b,c}') IS NOT NULL AS registered;
SELECT seen FROM sync_changed_scopes(NULL) \gset
INSERT INTO note VALUES (1, 'a'), (2, 'b');
SELECT scopes, seen AS middle FROM sync_changed_scopes(:'seen') \gset
\echo :scopes
INSERT INTO note VALUES (3, 'c');
SELECT sync_ack('d0000000-0000-0000-0000-000000000001', delta_to(sync_changes_since('d0000000-0000-0000-0000-000000000001', '{}')));
SELECT removed > 0 AS is_removed FROM sync_maintenance() WHERE task = 'change_log';
SELECT count(*) FROM offline_sync.change_log WHERE scope IS NOT NULL;
-- The scopes are named all the same, and only those.
SELECT scopes, seen AS latest FROM sync_changed_scopes(:'seen') \gset
\echo :scopes
SELECT scopes FROM sync_changed_scopes(:'middle');
SELECT scopes FROM sync_changed_scopes(:'latest');
SELECT :'latest'::version_vector >= :'middle'::version_vector AS is_later;
INSERT INTO note VALUES (4, 'a');
SELECT scopes FROM sync_changed_scopes(:'latest');
