--
-- Policies with options: priority, custom; and opaque, which nobody looks into
--
SET client_min_messages = warning;
CREATE SCHEMA rules;
CREATE FUNCTION rules.longer(current text, incoming text, context jsonb) RETURNS text IMMUTABLE LANGUAGE sql AS $$
    SELECT CASE WHEN length(incoming) > length(current) THEN incoming ELSE current END
$$;
CREATE FUNCTION rules.anything(current anyelement, incoming anyelement, context jsonb) RETURNS anyelement
    IMMUTABLE LANGUAGE sql AS 'SELECT $1';
CREATE FUNCTION rules.volatile(current text, incoming text, context jsonb) RETURNS text LANGUAGE sql AS 'SELECT $1';
CREATE FUNCTION rules.many(current text, incoming text, context jsonb) RETURNS SETOF text IMMUTABLE LANGUAGE sql AS 'SELECT $1';
CREATE FUNCTION rules.other(current text, incoming text, context jsonb) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT 1';
CREATE FUNCTION rules.two(current text, incoming text) RETURNS text IMMUTABLE LANGUAGE sql AS 'SELECT $1';
CREATE DOMAIN rules.word AS text CHECK (VALUE <> '');
CREATE TABLE ruled (id int PRIMARY KEY, t text, n int, w rules.word, b bytea, g text GENERATED ALWAYS AS (t) STORED);

-- Options are checked, and refused as a whole
SELECT sync_enable_table('ruled', policies => '{"t": "priority"}');
SELECT sync_enable_table('ruled', policies => '{"t": {"policy": "priority", "order": []}}');
SELECT sync_enable_table('ruled', policies => '{"t": {"policy": "priority", "order": "manager"}}');
SELECT sync_enable_table('ruled', policies => '{"t": {"policy": "priority", "order": ["a", 1]}}');
SELECT sync_enable_table('ruled', policies => '{"t": {"policy": "priority", "order": ["a", "b", "a"]}}');
SELECT sync_enable_table('ruled', policies => '{"t": {"policy": "priority", "order": ["a"], "classes": 1}}');
SELECT sync_enable_table('ruled', policies => '{"t": {"policy": "lww", "order": ["a"]}}');
SELECT sync_enable_table('ruled', policies => '{"t": "custom"}');
SELECT sync_enable_table('ruled', policies => '{"t": {"policy": "custom", "function": 1}}');
SELECT sync_enable_table('ruled', policies => '{"t": {"policy": "custom", "function": ""}}');
SELECT sync_enable_table('ruled', policies => '{"t": {"policy": "custom", "function": "longer"}}');
SELECT sync_enable_table('ruled', policies => '{"n": "opaque"}');
SELECT sync_enable_table('ruled', policies => '{"t": {"policy": "priority", "order": ["manager", "worker"]},
    "n": {"policy": "custom", "function": "rules.anything"}, "b": "opaque"}');
SELECT policies FROM sync_tables WHERE table_name = 'ruled';

-- A function must be there, merge two values into one and be callable by the caller
SELECT sync_set_policy('ruled', 't', 'custom', '{"function": "rules.missing"}');
SELECT sync_set_policy('ruled', 't', 'custom', '{"function": "nowhere.longer"}');
SELECT sync_set_policy('ruled', 't', 'custom', '{"function": "postgres.rules.longer"}');
SELECT sync_set_policy('ruled', 'n', 'custom', '{"function": "rules.longer"}');
SELECT sync_set_policy('ruled', 't', 'custom', '{"function": "rules.two"}');
SELECT sync_set_policy('ruled', 't', 'custom', '{"function": "rules.volatile"}');
SELECT sync_set_policy('ruled', 't', 'custom', '{"function": "rules.many"}');
SELECT sync_set_policy('ruled', 't', 'custom', '{"function": "rules.other"}');
SELECT sync_set_policy('ruled', 'g', 'custom', '{"function": "rules.longer"}');
SELECT sync_set_policy('ruled', 'id', 'custom', '{"function": "rules.anything"}');
CREATE FUNCTION pg_temp.longer(current text, incoming text, context jsonb) RETURNS text IMMUTABLE LANGUAGE sql AS 'SELECT $1';
SELECT sync_set_policy('ruled', 't', 'custom', '{"function": "pg_temp.longer"}');
DO $$
DECLARE schema text := pg_my_temp_schema()::regnamespace;
BEGIN
    PERFORM sync_set_policy('ruled', 't', 'custom', jsonb_build_object('function', schema || '.longer'));
EXCEPTION WHEN undefined_function THEN RAISE WARNING 'not found in a temporary schema';
END $$;
CREATE ROLE regress_rules;
ALTER TABLE ruled OWNER TO regress_rules;
REVOKE ALL ON FUNCTION rules.longer FROM PUBLIC;
SET ROLE regress_rules;
SELECT sync_set_policy('ruled', 't', 'custom', '{"function": "rules.longer"}');
RESET ROLE;
SELECT sync_set_policy('ruled', 't', 'custom', '{"function": "rules.longer"}');
-- ... a domain's column takes a function of the type below it, too
SELECT sync_set_policy('ruled', 'w', 'custom', '{"function": "rules.longer"}');
SELECT column_name, policy, options FROM offline_sync.tracked_column
WHERE policy IS NOT NULL AND table_id = (SELECT max(table_id) FROM offline_sync.tracked_table WHERE wire_name = 'ruled') ORDER BY 1;
DROP TABLE ruled;
DROP ROLE regress_rules;
