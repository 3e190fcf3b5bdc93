-- delta: what goes in, what comes out, and what the accessors say.
-- Laws: test/pgtap/delta.sql; what is refused: delta_malformed.sql

-- U, N stand for uuids, H for a member "hlc"
CREATE FUNCTION make(short text) RETURNS delta LANGUAGE sql IMMUTABLE AS $$
  SELECT replace(replace(replace(short,
           'H', '"hlc":"2026-11-20T10:00:00.123Z/4"'),
           'U', '11111111-1111-1111-1111-111111111111'),
           'N', '22222222-2222-2222-2222-222222222222')::delta
$$;

-- a delta without changes: the least that a device can say
SELECT make('{"format":1,"replica":"U"}');
-- and the least that a node can
SELECT make('{"format":1,"replica":"N","more":false}');

-- every kind of pushed change
SELECT make($$
{ "format": 1, "replica": "U",
  "context": {"N": "81923,81930-81931"},
  "hlc": "2026-11-20T09:59:00Z/0",
  "schema_version": 1,
  "changes": [
    {"seq": 40, H, "table": "meeting", "key": {"id": "7"}, "insert": {"title": "Standup", "calendar": "work", "attendees": ["ann"]}},
    {"seq": 41, H, "table": "meeting", "key": {"id": "7"}, "set": {"title": "Daily \"standup\"", "starts_at": null, "done": true, "late": false}},
    {"seq": 42, H, "table": "meeting", "key": {"id": "7"}, "add": {"attendees": ["zoe", "ann", "zoe"]}, "remove": {"attendees": ["bob"]}},
    {"seq": 43, H, "table": "stock", "key": {"sku": 7, "at": "a", "live": true}, "increment": {"quantity": -2, "weight": "1.50"}, "set": {"note": 1.50e1}},
    {"seq": 44, H, "table": "public.meeting", "key": {"id": "7"}, "delete": true, "group": 1},
    {"seq": 45, H, "intent": "cancel_series", "args": {"series": [1, 2]}, "group": 1},
    {"seq": 46, H, "intent": "hello"} ],
  "signature": "ed25519:00ff" } $$) AS pushed \gset
SELECT delta_pretty(:'pushed');
SELECT * FROM delta_changes(:'pushed');
SELECT delta_replica(:'pushed'), delta_hlc(:'pushed'), delta_schema_version(:'pushed');
SELECT delta_context(:'pushed'), delta_from(:'pushed'), delta_to(:'pushed');
SELECT delta_first_seq(:'pushed'), delta_last_seq(:'pushed'), delta_count(:'pushed'),
       delta_has_more(:'pushed'), delta_is_reset(:'pushed'), delta_resume(:'pushed');

-- every kind of served change
SELECT make($$
{ "changes": [
    {"table": "meeting", "key": {"id": "7"}, "insert": {"title": "Standup"}, H},
    {"table": "meeting", "key": {"id": "8"}, "set": {"title": "Other"}},
    {"table": "meeting", "key": {"id": "9"}, "delete": true},
    {"table": "meeting", "key": {"id": "10"}, "retract": true},
    {"retract": true, "scope": "work"} ],
  "reset": true, "resume": "table:3", "more": true,
  "to": {"N": 18}, "from": {}, "replica": "N", "format": 1 } $$) AS served \gset
SELECT delta_pretty(:'served');
SELECT * FROM delta_changes(:'served');
SELECT delta_replica(:'served'), delta_hlc(:'served'), delta_schema_version(:'served');
SELECT delta_context(:'served'), delta_from(:'served'), delta_to(:'served');
SELECT delta_first_seq(:'served'), delta_last_seq(:'served'), delta_count(:'served'),
       delta_has_more(:'served'), delta_is_reset(:'served'), delta_resume(:'served');

-- values: columns in bytewise order, numbers as written, strings unescaped
CREATE FUNCTION value(doc text) RETURNS text LANGUAGE sql IMMUTABLE AS $$
  SELECT substring(make('{"format":1,"replica":"U","more":false,"changes":[
           {"table":"t","key":{"k":1},"set":{"v":' || doc || '}}]}')::text, '"v":(.*)}}]}')
$$;
SELECT value(v) FROM unnest(ARRAY['null', 'true', '-0', '1E400', '0.10',
  '12345678901234567890.123456789', '""', '"\u0041\/\u20ac\ud83d\ude00\u0001\t"']) AS v;
-- containers are kept to the letter, from the first bracket to the last
SELECT value(v) FROM unnest(ARRAY[' { "a" : [ 1 , {} ] } ', '[]', '{}', '{"b":1,"a":2,"b":3}', '[{},[[]],"]"]']) AS v;
-- "$json" alone in an object is taken off once, and put on where it has to be
SELECT value(v) FROM unnest(ARRAY['{"$json": null}', '{"$json": {"$json": null}}',
  '{"\u0024json": {"\u0024json": 1}}', '{"$json": 5}', '{"$json": false}', '{"$json": "a"}', '{"$json": "\u0061"}',
  '{"$json": [1]}', '{"$json": {"a": 1}}', '{"$json": 1, "a": 2}', '{"a": {"$json": 1}}', '{"$jso": 1}']) AS v;
-- strings in a list are compared as bytes
SELECT substring(make('{"format":1,"replica":"U","more":false,"changes":[
  {"table":"t","key":{"k":1},"add":{"v":["b","a","","\u0061","B","aa"]},"remove":{"w":[]}}]}')::text, '"add".*');
-- an update may do nothing, and then says so
SELECT substring(make('{"format":1,"replica":"U","more":false,"changes":[
  {"table":"t","key":{"k":1},"add":{}}]}')::text, '"key".*');
-- a name of any letters
SELECT substring(make('{"format":1,"replica":"U","more":false,"changes":[
  {"table":"T \"x\"","key":{"\u006b":1},"set":{"größe\\":1,"Z":2,"a":3}}]}')::text, '"table".*');

-- the binary form: the bytes of format 1 are frozen
\getenv srcdir PG_ABS_SRCDIR
\set file :srcdir '/test/data/delta-format-1.psql'
\i :file
SELECT delta_send(:'pushed') = decode(:'frozen_pushed', 'hex') AS as_frozen,
       decode(:'frozen_pushed', 'hex')::delta::text = :'pushed' AS is_read;
SELECT delta_send(:'served') = decode(:'frozen_served', 'hex') AS as_frozen,
       decode(:'frozen_served', 'hex')::delta::text = :'served' AS is_read;
SELECT delta_size(:'pushed') = length(delta_send(:'pushed')) AS size_is_of_the_binary_form;

-- checksums and signatures: of the content without them
SELECT delta_checksum(:'pushed') AS checksum \gset
SELECT replace(:'pushed', '"signature":', '"checksum":"' || :'checksum' || '","signature":') AS sealed \gset
SELECT :'sealed'::delta::text = :'sealed' AS is_kept, (:'sealed'::delta)::bytea::delta::text = :'sealed' AS is_kept_in_bytes,
       delta_checksum(:'sealed') = :'checksum' AS is_same,
       sync_canonical_bytes(:'sealed') = sync_canonical_bytes(:'pushed') AS same_bytes,
       :'sealed'::delta = :'pushed'::delta AS equal, :'sealed'::delta <> :'served'::delta AS differ,
       delta_hash(:'sealed') = delta_hash(:'pushed') AS same_hash;
SELECT convert_from(sync_canonical_bytes(:'sealed'), 'UTF8') =
       E'offline_sync delta 1\n' || regexp_replace(regexp_replace(:'pushed', ',"signature":"[^"]*"}$', '}'), '("context":{"[^"]*":) ', '\1') AS are_the_text_without_seals;

-- other types
SELECT :'pushed'::delta::json::delta = :'pushed'::delta AS by_json,
       :'pushed'::delta::jsonb ->> 'replica' AS by_jsonb,
       :'pushed'::delta::bytea::delta = :'pushed'::delta AS by_bytea;
SELECT amvalidate(oid) FROM pg_opclass WHERE opcname = 'delta_hash_ops';

-- a format that is newer is named wherever it stands, before anything else
\set VERBOSITY sqlstate
SELECT make('{"format":2}');
SELECT make('{"replica":"?","what":[{}],"format":2}');
SELECT delta_from_bytes('\x6f736402');
\set VERBOSITY default

DROP FUNCTION value(text);
DROP FUNCTION make(text);
