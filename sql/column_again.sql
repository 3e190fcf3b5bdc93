-- A command that drops a column and adds one of the same name: another column, whose
-- values devices do not have.
SET client_min_messages = warning;
CREATE TABLE note (id int PRIMARY KEY, team text, title text);
SELECT sync_enable_table('note', 'team');
SELECT sync_register_device('d0000000-0000-4000-8000-000000000001', '{a}');
INSERT INTO note VALUES (1, 'a', 'old');
SELECT delta_to(sync_changes_since('d0000000-0000-4000-8000-000000000001', '{}')) AS seen \gset
ALTER TABLE note DROP COLUMN title, ADD COLUMN title text DEFAULT 'new';
SELECT version, column_name, change, old_name, new_name FROM sync_schema_versions
ORDER BY version, change;
SELECT key, changes
FROM delta_changes(sync_changes_since('d0000000-0000-4000-8000-000000000001', :'seen'));

-- nor has the new one the stamp of the old
SELECT column_name, hlc IS NULL AS nobodys
FROM note, row_clock_entries('note', note._sync) ORDER BY 1;

-- a scope column or key that comes back is not the one that rows are known by
ALTER TABLE note DROP COLUMN team, ADD COLUMN team text DEFAULT 'b';
ALTER TABLE note DROP COLUMN id, ADD COLUMN id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY;
DROP TABLE note;
