-- ---------------------------------------------------------------------------
-- Intents: what a device may ask the server to do, and the functions that do it
-- ---------------------------------------------------------------------------
CREATE TABLE offline_sync.intent (
    name            text        COLLATE "C" NOT NULL CONSTRAINT intent_pkey PRIMARY KEY,
    schema_name     text        NOT NULL,         -- of the handler, whose arguments are (jsonb, jsonb)
    function_name   text        NOT NULL,
    options         jsonb       NOT NULL,
    registered_by   text        NOT NULL,
    registered_at   timestamptz NOT NULL
);
COMMENT ON TABLE offline_sync.intent IS 'intents and their handlers: see the view sync_intents';

SELECT pg_catalog.pg_extension_config_dump('offline_sync.intent', '');

CREATE FUNCTION sync_register_intent(name text, handler regprocedure,
    options jsonb DEFAULT '{}') RETURNS void
AS 'MODULE_PATHNAME', 'sync_register_intent'
LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION sync_register_intent(text, regprocedure, jsonb)
IS 'let devices call a function (args jsonb, context jsonb) by this name, with their own rights; replaces an earlier registration';
REVOKE ALL ON FUNCTION sync_register_intent(text, regprocedure, jsonb) FROM PUBLIC;

CREATE FUNCTION sync_unregister_intent(name text) RETURNS void
AS 'MODULE_PATHNAME', 'sync_unregister_intent'
LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION sync_unregister_intent(text)
IS 'refuse an intent from now on';
REVOKE ALL ON FUNCTION sync_unregister_intent(text) FROM PUBLIC;

-- Whoever may register intents sees all of them, others those that they may call.
CREATE VIEW sync_intents WITH (security_barrier) AS
SELECT i.name, i.handler, i.options, i.registered_by, i.registered_at, i.is_callable
FROM (
    SELECT r.name,
           pg_catalog.format('%I.%I(jsonb, jsonb)', r.schema_name, r.function_name) AS handler,
           r.options, r.registered_by, r.registered_at,
           p.oid IS NOT NULL
               AND pg_catalog.has_schema_privilege(n.oid, 'USAGE')
               AND pg_catalog.has_function_privilege(p.oid, 'EXECUTE') AS is_callable
    FROM offline_sync.intent r
    LEFT JOIN (pg_catalog.pg_proc p
               JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace)
           ON n.nspname = r.schema_name AND p.proname = r.function_name
          AND p.proargtypes[0] = 'jsonb'::regtype AND p.proargtypes[1] = 'jsonb'::regtype
          AND p.pronargs = 2 AND p.prokind = 'f' AND NOT p.proretset
          AND p.prorettype IN ('jsonb'::regtype, 'void'::regtype)
) AS i
WHERE i.is_callable
   OR pg_catalog.has_function_privilege(
          'sync_register_intent(text, regprocedure, jsonb)'::pg_catalog.regprocedure,
          'EXECUTE');
COMMENT ON VIEW sync_intents IS
    'intents that devices may push; is_callable: the handler is there and the caller may execute it';
GRANT SELECT ON sync_intents TO PUBLIC;
