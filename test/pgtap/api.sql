--
-- The public interface: what exists, under which names, for whom
--
BEGIN;
CREATE EXTENSION IF NOT EXISTS pgtap;
CREATE EXTENSION offline_sync;
SELECT * FROM no_plan();

-- every object of the extension, as pg_depend knows them
CREATE TEMPORARY VIEW member AS
SELECT d.classid, d.objid, pg_describe_object(d.classid, d.objid, 0) AS name
FROM pg_depend d
JOIN pg_extension e ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid
WHERE e.extname = 'offline_sync' AND d.deptype = 'e';

CREATE TEMPORARY VIEW member_function AS
SELECT p.*, p.oid::regprocedure::text AS signature
FROM pg_proc p JOIN member m ON m.classid = 'pg_proc'::regclass AND m.objid = p.oid;

-- ---------------------------------------------------------------------------
-- Functions: argument names, defaults, volatility
-- ---------------------------------------------------------------------------

-- arguments, result, volatility, and whether everybody may call it
CREATE TEMPORARY TABLE promised (name text, arguments text, result text, volatility "char", is_public boolean);
INSERT INTO promised VALUES
    ('sync_enable_table', 'relation regclass, scope name DEFAULT NULL::name, policies jsonb DEFAULT ''{}''::jsonb, options jsonb DEFAULT ''{}''::jsonb',
     'void', 'v', true),
    ('sync_disable_table', 'relation regclass', 'void', 'v', true),
    ('sync_set_policy', 'relation regclass, column_name name, policy text, options jsonb DEFAULT ''{}''::jsonb',
     'void', 'v', true),
    ('sync_mask_columns', 'relation regclass, columns name[], class text DEFAULT NULL::text, push boolean DEFAULT false, pull boolean DEFAULT false',
     'void', 'v', true),
    ('sync_revert_policy', 'relation regclass, column_name name', 'void', 'v', true),
    ('sync_register_device',
     'device uuid, scopes text[] DEFAULT ''{""}''::text[], owner regrole DEFAULT (quote_ident((CURRENT_USER)::text))::regrole, label text DEFAULT NULL::text, public_key bytea DEFAULT NULL::bytea, class text DEFAULT NULL::text',
     'uuid', 'v', false),
    ('sync_revoke_device', 'device uuid', 'void', 'v', false),
    ('sync_grant_scope', 'device uuid, scope text, push boolean DEFAULT true, pull boolean DEFAULT true',
     'void', 'v', false),
    ('sync_revoke_scope', 'device uuid, scope text', 'void', 'v', false),
    ('sync_forget_device', 'device uuid', 'void', 'v', false),
    ('sync_purge_row', 'relation regclass, key jsonb', 'void', 'v', true),
    ('sync_grant_access', 'role regrole, level text', 'void', 'v', false),
    ('sync_revoke_access', 'role regrole, level text', 'void', 'v', false),
    ('sync_rotate_key', 'device uuid, new_key bytea, overlap interval DEFAULT ''7 days''::interval', 'void', 'v', false),
    ('sync_require_signature', 'device uuid, required boolean DEFAULT true', 'void', 'v', false),
    ('sync_node', '', 'uuid', 's', true),
    ('sync_new_incarnation', '', 'uuid', 'v', false),
    ('sync_set_capture', '"on" boolean', 'void', 'v', false),
    ('sync_hello',
     'device uuid, OUT node uuid, OUT protocol integer, OUT acked_seq bigint, OUT hlc hlc, OUT status text, OUT schema_version integer, OUT limits jsonb',
     'record', 'v', true),
    ('sync_apply_delta',
     'delta delta, OUT reconciliation uuid, OUT status text, OUT acked_seq bigint, OUT applied integer, OUT merged integer, OUT superseded integer, OUT rejected integer, OUT deferred integer, OUT conflicts integer, OUT outcomes jsonb, OUT corrections delta, OUT hlc hlc',
     'record', 'v', true),
    ('sync_submit_delta', 'delta delta', 'uuid', 'v', true),
    ('sync_submission',
     'submission uuid, OUT reconciliation uuid, OUT status text, OUT acked_seq bigint, OUT applied integer, OUT merged integer, OUT superseded integer, OUT rejected integer, OUT deferred integer, OUT conflicts integer, OUT outcomes jsonb, OUT corrections delta, OUT hlc hlc',
     'record', 's', true),
    ('sync_process_queue', 'max_deltas integer DEFAULT 100, OUT processed bigint, OUT failed bigint, OUT waiting bigint', 'record', 'v', false),
    ('sync_release_quarantine', 'submission uuid, drop boolean DEFAULT false', 'void', 'v', false),
    ('sync_changes_since', 'device uuid, since version_vector, max_changes integer DEFAULT 1000, resume text DEFAULT NULL::text, schema_version integer DEFAULT NULL::integer',
     'delta', 'v', true),
    ('sync_register_conversion', 'relation regclass, column_name name, from_type regtype, up regprocedure, down regprocedure DEFAULT NULL::regprocedure',
     'void', 'v', true),
    ('sync_ack', 'device uuid, seen version_vector', 'void', 'v', true),
    ('sync_row_status', 'relation regclass, key jsonb', 'text', 's', true),
    ('vv_join', 'version_vector, version_vector', 'version_vector', 'i', true),
    ('vv_join_agg', 'version_vector', 'version_vector', 'i', true),
    ('vv_covers', 'vv version_vector, replica uuid, counter bigint', 'boolean', 'i', true),
    ('vv_get', 'vv version_vector, replica uuid', 'bigint', 'i', true),
    ('vv_increment', 'vv version_vector, replica uuid', 'version_vector', 'i', true),
    ('orset_add', 'set orset, element text, replica uuid, counter bigint', 'orset', 'i', true),
    ('orset_remove', 'set orset, element text', 'orset', 'i', true),
    ('orset_merge', 'orset, orset', 'orset', 'i', true),
    ('orset_merge_agg', 'orset', 'orset', 'i', true),
    ('orset_elements', 'orset', 'SETOF text', 'i', true),
    ('row_clock_entries', 'relation regclass, clock row_clock',
     'TABLE(column_name name, hlc hlc, replica uuid, node uuid, "position" xid8)', 's', true),
    ('delta_replica', 'delta', 'uuid', 'i', true),
    ('delta_context', 'delta', 'version_vector', 'i', true),
    ('delta_from', 'delta', 'version_vector', 'i', true),
    ('delta_to', 'delta', 'version_vector', 'i', true),
    ('delta_first_seq', 'delta', 'bigint', 'i', true),
    ('delta_last_seq', 'delta', 'bigint', 'i', true),
    ('delta_has_more', 'delta', 'boolean', 'i', true),
    ('delta_resume', 'delta', 'text', 'i', true),
    ('delta_size', 'delta', 'integer', 'i', true),
    ('delta_changes', 'delta, OUT seq bigint, OUT hlc hlc, OUT kind text, OUT table_name text, OUT key jsonb, OUT changes jsonb, OUT "group" bigint',
     'SETOF record', 'i', true);

SELECT is((SELECT format('%s %s %s', pg_get_function_result(f.oid), f.provolatile,
                         has_function_privilege('public', f.oid, 'EXECUTE'))
           FROM member_function f
           WHERE f.proname = p.name AND pg_get_function_arguments(f.oid) = p.arguments),
          format('%s %s %s', p.result, p.volatility, p.is_public),
          format('%s(%s)', p.name, p.arguments))
FROM promised p;

-- ---------------------------------------------------------------------------
-- Views: columns
-- ---------------------------------------------------------------------------

SELECT is((SELECT string_agg(format('%s %s', a.attname, format_type(a.atttypid, a.atttypmod)), ', ' ORDER BY a.attnum)
           FROM pg_attribute a WHERE a.attrelid = to_regclass(v.name) AND a.attnum > 0),
          v.columns, 'columns of ' || v.name)
FROM (VALUES
    ('sync_devices', 'device uuid, label text, class text, owner text, status text, scopes text[], acked_seq bigint, seen version_vector, last_push_at timestamp with time zone, last_ack_at timestamp with time zone, lag_changes bigint, lag interval, open_conflicts bigint, pending bigint'),
    ('sync_conflicts', 'conflict uuid, table_name text, key jsonb, column_name text, scope text, current_value jsonb, incoming_value jsonb, current_hlc hlc, incoming_hlc hlc, current_replica uuid, incoming_replica uuid, policy text, decision text, state text, reconciliation uuid, device uuid, seq bigint, detected_at timestamp with time zone, resolved_at timestamp with time zone, resolved_by text, shadow_policy text, shadow_decision text, shadow_value jsonb, shadow_error text'),
    ('sync_policies', 'table_name text, column_name text, scope text, policy text, options jsonb, state text, set_by text, set_at timestamp with time zone, ended_by text, ended_at timestamp with time zone, step integer'),
    ('sync_shadow_report', 'table_name text, column_name text, policy text, options jsonb, scope text, state text, set_at timestamp with time zone, conflicts bigint, same bigint, different bigint, errors bigint'),
    ('sync_audit', 'reconciliation uuid, device uuid, seq bigint, received_at timestamp with time zone, role text, scope text, table_name text, key jsonb, operation text, incoming jsonb, previous jsonb, incoming_hlc hlc, previous_stamps jsonb, policy text, outcome text, reason text, intent text, result jsonb, wrote jsonb, error text'),
    ('sync_masks', 'table_name text, column_name text, class text, push boolean, pull boolean'),
    ('sync_queue', 'submission uuid, device uuid, first_seq bigint, last_seq bigint, role text, submitted_at timestamp with time zone, state text, attempts integer, tried_at timestamp with time zone, last_sqlstate text, last_error text, answered_at timestamp with time zone, status text'),
    ('sync_holdbacks', 'device uuid, label text, owner text, since timestamp with time zone, entries bigint'),
    ('sync_stats', 'name text, value bigint')
) AS v(name, columns);

-- sync_tables filters nothing: its function chooses the rows
SELECT is_empty($$
    SELECT m.name FROM member m JOIN pg_class c ON m.classid = 'pg_class'::regclass AND m.objid = c.oid
    WHERE c.relkind = 'v' AND NOT coalesce(c.reloptions @> '{security_barrier=true}', false)
      AND c.relname <> 'sync_tables'$$,
    'every view is a security barrier');

-- ---------------------------------------------------------------------------
-- What holds for every object, those of other files included
-- ---------------------------------------------------------------------------

-- implicitly made ones aside: row types and array types, a view's rule, operator families
SELECT is_empty($$
    SELECT m.name FROM member m
    WHERE obj_description(m.objid, m.classid::regclass::name) IS NULL
      AND m.classid <> 'pg_opfamily'::regclass
      AND m.classid <> 'pg_cast'::regclass
      AND NOT EXISTS (SELECT FROM pg_type t
                      WHERE m.classid = 'pg_type'::regclass AND t.oid = m.objid
                        AND (t.typrelid <> 0 OR t.typelem <> 0 AND t.typsubscript = 'array_subscript_handler'::regproc))
    ORDER BY 1$$,
    'every object has a comment');

SELECT is_empty($$
    SELECT signature FROM member_function
    WHERE prosecdef AND NOT coalesce(proconfig @> '{"search_path=pg_catalog, pg_temp"}', false)$$,
    'no function runs as its owner with the caller''s search_path');

SELECT is_empty($$
    SELECT signature FROM member_function
    WHERE prolang = (SELECT oid FROM pg_language WHERE lanname = 'sql')
      AND prosqlbody IS NULL AND proconfig IS NULL$$,
    'no SQL function looks names up in the caller''s search_path');

-- Immutable functions, and those of types, see nothing but their arguments.  Of
-- the others, those that everybody may call check the caller themselves.
SELECT is_empty($$
    SELECT signature FROM member_function f
    WHERE has_function_privilege('public', f.oid, 'EXECUTE')
      AND provolatile <> 'i'
      AND prorettype NOT IN ('trigger'::regtype, 'event_trigger'::regtype)
      AND f.oid NOT IN (SELECT unnest(ARRAY[typinput, typoutput, typreceive, typsend]) FROM pg_type)
      AND proname <> ALL ('{
          sync_node, sync_hello, sync_ack, sync_apply_delta, sync_changes_since, sync_submit_delta, sync_submission, sync_digest, sync_digest_parts, sync_digest_rows, sync_changed_scopes, sync_channels,
          sync_enable_table, sync_set_table_options, sync_disable_table, sync_set_policy, sync_mask_columns, sync_purge_row, sync_revert_policy, sync_register_conversion, sync_resolve_conflict, sync_row_status,
          row_clock_entries, sync_tables_info,
          device_lag, device_has_new_grant, device_is_expired, row_key_json}')$$,
    'no other function is for everybody');

SELECT is_empty($$
    SELECT m.name FROM member m
    JOIN pg_class c ON m.classid = 'pg_class'::regclass AND m.objid = c.oid
    WHERE c.relnamespace = 'offline_sync'::regnamespace AND c.relacl::text LIKE '%{=%'$$,
    'nothing in the schema of the state is granted to everybody');

SELECT is_empty($$
    SELECT m.name FROM member m
    JOIN pg_class c ON m.classid = 'pg_class'::regclass AND m.objid = c.oid
    WHERE c.relkind = 'r' AND c.oid <> ALL (SELECT unnest(extconfig) FROM pg_extension WHERE extname = 'offline_sync')
      AND c.relname NOT IN ('incarnation', 'notice')$$,
    'every state table is dumped, but the incarnation and what notices were sent for');

SELECT is_empty($$
    SELECT m.name FROM member m
    JOIN pg_class c ON m.classid = 'pg_class'::regclass AND m.objid = c.oid
    WHERE c.relkind = 'S'$$,
    'there are no sequences');

SELECT is_empty($$
    SELECT a.attrelid::regclass || '.' || a.attname
    FROM member m
    JOIN pg_class c ON m.classid = 'pg_class'::regclass AND m.objid = c.oid
    JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
    WHERE c.relkind = 'r' AND a.atttypid::regtype::text ~ '^(oid|tid|xid|reg.*)$'$$,
    'no state table holds an oid, a ctid or a 32-bit xid');

SELECT * FROM finish();
ROLLBACK;
