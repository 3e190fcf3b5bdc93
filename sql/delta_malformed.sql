-- delta: what is refused, by whom it was written and where it is wrong.

-- U, N stand for uuids, H for a member "hlc", P and S for the start of a pushed
-- and a served delta, C for the start of a change
CREATE FUNCTION outcome(short text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  detail text;
  hint text;
BEGIN
  short := replace(short, 'P{', '{"format":1,"replica":"U",');
  short := replace(short, 'S{', '{"format":1,"replica":"N","more":false,');
  short := replace(short, 'C{', '{"seq":1,H,"table":"t","key":{"id":1},');
  short := replace(short, 'R{', '{"table":"t","key":{"id":1},');
  short := replace(short, 'H', '"hlc":"2026-11-20T10:00:00.123Z/4"');
  short := replace(short, 'U', '11111111-1111-1111-1111-111111111111');
  short := replace(short, 'N', '22222222-2222-2222-2222-222222222222');
  PERFORM short::delta;
  RETURN 'ok';
EXCEPTION WHEN OTHERS THEN
  GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
  RETURN concat_ws(E'\n', SQLSTATE || ': ' || SQLERRM, nullif(detail, ''), nullif(hint, ''));
END $$;
\pset tuples_only on
\pset format unaligned

-- the short forms mean what they say
SELECT outcome('P{"changes":[C{"delete":true}]}');
SELECT outcome('S{"changes":[R{"delete":true}]}');

-- not JSON
SELECT outcome('');
SELECT outcome('delta');
SELECT outcome('{');
SELECT outcome('[]');
SELECT outcome('null');
SELECT outcome('P{"changes":[]}}');
SELECT outcome('P{"changes":[],}');
SELECT outcome('P{"changes":[,]}');
SELECT outcome('P{"changes":[C{"delete":true},]}');
SELECT outcome('P{"changes":[C{"delete":true} C{"delete":true}]}');
SELECT outcome('P{"changes":[C{"set":{"a":[1,]}}]}');
SELECT outcome('P{"changes":[C{"set":{"a":[1 2]}}]}');
SELECT outcome('P{"changes":[C{"set":{"a":{"b":1,}}}]}');
SELECT outcome('P{"changes":[C{"set":{"a":{"b" 1}}}]}');
SELECT outcome('P{"changes":[C{"set":{"a":{1:2}}}]}');
SELECT outcome('P{"changes":[C{"set":{"a":[1}}}]}');
SELECT outcome('P{"changes":[C{"set":{"a":01}}]}');
SELECT outcome('P{"changes":[C{"set":{"a":tru}}]}');
SELECT outcome(E'P{"changes":[C{"set":{"a":"\t"}}]}');
SELECT outcome(E'P{"changes":[C{"set":{"a":"\tn"}}]}');
SELECT outcome(E'P{"changes":[C{"set":{"a":"twelve bytes\x1f\\\\"}}]}');
SELECT outcome('P{"changes":[C{"set":{"a":"\x"}}]}');
SELECT outcome('P{"changes":[C{"set":{"a":"\u12"}}]}');
-- characters that text cannot have: zero, half a pair
SELECT outcome('P{"changes":[C{"set":{"a":"\u0000"}}]}');
SELECT outcome('P{"changes":[C{"set":{"a":"\ud83d"}}]}');
SELECT outcome('P{"changes":[C{"set":{"a":"\ude00\ud83d"}}]}');
SELECT outcome('P{"changes":[C{"set":{"\u0000":1}}]}');

-- members: unknown, twice, missing
SELECT outcome('P{"colour":"red"}');
SELECT outcome('P{"":1}');
SELECT outcome('P{"replica":"U"}');
SELECT outcome('P{"changes":[],"changes":[]}');
SELECT outcome('P{"changes":[C{"delete":true,"colour":1}]}');
SELECT outcome('P{"changes":[C{"delete":true,"delete":true}]}');
SELECT outcome('P{"changes":[C{"seq":1,"delete":true}]}');
SELECT outcome('{"format":1}');
SELECT outcome('{"replica":"U"}');
SELECT outcome('{}');

-- members of the wrong kind
SELECT outcome('{"format":0,"replica":"U"}');
SELECT outcome('{"format":"1","replica":"U"}');
SELECT outcome('{"format":1.0,"replica":"U"}');
SELECT outcome('{"format":99999999999999999999,"replica":"U"}');
SELECT outcome('{"format":1,"replica":null}');
SELECT outcome('{"format":1,"replica":"device"}');
SELECT outcome('P{"context":null}');
SELECT outcome('P{"context":{"N":-1}}');
SELECT outcome('P{"hlc":"2026-11-20"}');
SELECT outcome('P{"hlc":5}');
SELECT outcome('P{"schema_version":0}');
SELECT outcome('P{"schema_version":2147483648}');
SELECT outcome('P{"changes":{}}');
SELECT outcome('P{"changes":[1]}');
SELECT outcome('S{"resume":1}');
SELECT outcome('S{"reset":1}');
SELECT outcome('{"format":1,"replica":"N","more":"no"}');
SELECT outcome('{"format":1,"replica":"N","to":[]}');
SELECT outcome('P{"checksum":"crc32c:0000000"}');
SELECT outcome('P{"checksum":"crc32c:0000000A"}');
SELECT outcome('P{"checksum":"md5"}');
SELECT outcome('P{"signature":"rsa:00"}');
SELECT outcome('P{"signature":"ed25519:"}');
SELECT outcome('P{"signature":"ed25519:a\"b"}');

-- pushed or served, not both
SELECT outcome('S{"context":{}}');
SELECT outcome('P{"reset":true}');
SELECT outcome('P{"resume":"x"}');
SELECT outcome('S{"changes":[C{"delete":true}]}');
SELECT outcome('P{"changes":[R{"delete":true}]}');
SELECT outcome('P{"changes":[{"seq":1,"table":"t","key":{"id":1},"delete":true}]}');
SELECT outcome('P{"changes":[C{"retract":true}]}');
SELECT outcome('P{"changes":[{"seq":1,H,"retract":true,"scope":"work"}]}');
SELECT outcome('S{"changes":[{"intent":"x"}]}');
-- even where the end tells which it is
SELECT outcome('{"format":1,"replica":"N","changes":[{"seq":1,H,"intent":"x"}],"to":{}}');

-- seq: consecutive, from 1
SELECT outcome('P{"changes":[{"seq":0,H,"intent":"x"}]}');
SELECT outcome('P{"changes":[{"seq":-1,H,"intent":"x"}]}');
SELECT outcome('P{"changes":[{"seq":9223372036854775808,H,"intent":"x"}]}');
SELECT outcome('P{"changes":[{"seq":9223372036854775807,H,"intent":"x"}]}');
SELECT outcome('P{"changes":[{"seq":9223372036854775807,H,"intent":"x"},{"seq":1,H,"intent":"x"}]}');
SELECT outcome('P{"changes":[{"seq":4,H,"intent":"x"},{"seq":6,H,"intent":"x"}]}');
SELECT outcome('P{"changes":[{"seq":4,H,"intent":"x"},{"seq":4,H,"intent":"x"}]}');
SELECT outcome('P{"changes":[{"seq":4,H,"intent":"x"},{H,"intent":"x"}]}');
-- group: from 1, consecutive
SELECT outcome('P{"changes":[{"seq":4,H,"intent":"x","group":0}]}');
SELECT outcome('P{"changes":[{"seq":4,H,"intent":"x","group":7},{"seq":5,H,"intent":"x","group":8},{"seq":6,H,"intent":"x","group":7}]}');
SELECT outcome('P{"changes":[{"seq":4,H,"intent":"x","group":7},{"seq":5,H,"intent":"x"},{"seq":6,H,"intent":"x","group":7}]}');

-- what a change does: one thing
SELECT outcome('P{"changes":[{}]}');
SELECT outcome('P{"changes":[{"seq":1,H}]}');
SELECT outcome('P{"changes":[{"seq":1,H,"table":"t","delete":true}]}');
SELECT outcome('P{"changes":[{"seq":1,H,"table":"t","key":{"id":1}}]}');
SELECT outcome('P{"changes":[{"seq":1,H,"key":{"id":1},"delete":true}]}');
SELECT outcome('P{"changes":[C{"insert":{},"set":{}}]}');
SELECT outcome('P{"changes":[C{"insert":{},"add":{}}]}');
SELECT outcome('P{"changes":[C{"set":{},"delete":true}]}');
SELECT outcome('P{"changes":[C{"intent":"x"}]}');
SELECT outcome('P{"changes":[C{"delete":true,"args":{}}]}');
SELECT outcome('P{"changes":[{"seq":1,H,"args":{}}]}');
SELECT outcome('S{"changes":[R{"retract":true,"scope":"work"}]}');
SELECT outcome('S{"changes":[{"scope":"work"}]}');
SELECT outcome('P{"changes":[C{"delete":false}]}');
SELECT outcome('P{"changes":[{"seq":1,H,"intent":""}]}');
SELECT outcome('P{"changes":[{"seq":1,H,"intent":"x","args":[]}]}');

-- keys, names, values
SELECT outcome('S{"changes":[{"table":"t","key":{},"delete":true}]}');
SELECT outcome('S{"changes":[{"table":"t","key":{"id":null},"delete":true}]}');
SELECT outcome('S{"changes":[{"table":"t","key":{"id":[1]},"delete":true}]}');
SELECT outcome('S{"changes":[{"table":"t","key":{"id":{"$json":null}},"delete":true}]}');
SELECT outcome('S{"changes":[{"table":"t","key":{"id":1,"id":2},"delete":true}]}');
SELECT outcome('S{"changes":[{"table":"t","key":[1],"delete":true}]}');
SELECT outcome('S{"changes":[{"table":"","key":{"id":1},"delete":true}]}');
SELECT outcome('S{"changes":[{"table":"' || repeat('t', 129) || '","key":{"id":1},"delete":true}]}');
SELECT outcome('S{"changes":[R{"set":{"' || repeat('ä', 32) || '":1}}]}');
SELECT outcome('S{"changes":[R{"set":{"":1}}]}');
SELECT outcome('S{"changes":[R{"set":{"a":1,"a":1}}]}');
SELECT outcome('S{"changes":[R{"set":{"a":1,"\u0061":1}}]}');
SELECT outcome('S{"changes":[R{"set":[]}]}');
SELECT outcome('S{"changes":[R{"increment":{"n":null}}]}');
SELECT outcome('S{"changes":[R{"increment":{"n":[1]}}]}');
SELECT outcome('S{"changes":[R{"add":{"a":"ann"}}]}');
SELECT outcome('S{"changes":[R{"add":{"a":[1]}}]}');
SELECT outcome('S{"changes":[R{"remove":{"a":[null]}}]}');
-- reserved for deltas between nodes
SELECT outcome('S{"changes":[R{"set":{"a":1},"clock":{}}]}');

-- the limits: each names both numbers
SET offline_sync.max_delta_changes = 2;
SELECT outcome('S{"changes":[R{"delete":true},R{"delete":true}]}');
SELECT outcome('S{"changes":[R{"delete":true},R{"delete":true},R{"delete":true},{}]}');
RESET offline_sync.max_delta_changes;
SET offline_sync.max_value_size = '1kB';
SELECT outcome('S{"changes":[R{"set":{"a":"' || repeat('x', 1024) || '"}}]}');
SELECT outcome('S{"changes":[R{"set":{"a":"' || repeat('x', 1025) || '"}}]}');
SELECT outcome('S{"changes":[R{"set":{"a":[' || repeat('1,', 600) || '1]}}]}');
SELECT outcome('S{"changes":[R{"add":{"a":["' || repeat('x', 600) || '","' || repeat('y', 600) || '"]}}]}');
SELECT outcome('P{"changes":[{"seq":1,H,"intent":"x","args":{"a":"' || repeat('x', 1025) || '"}}]}');
RESET offline_sync.max_value_size;
SET offline_sync.max_delta_size = '1kB';
SELECT outcome('P{"signature":"ed25519:' || repeat('x', 1024) || '"}');
SELECT delta_from_bytes(decode(repeat('00', 1025), 'hex'));
RESET offline_sync.max_delta_size;
SELECT outcome('S{"changes":[R{"set":{"a":' || repeat('[', 1000) || repeat(']', 1000) || '}}]}');
SELECT outcome('S{"changes":[R{"set":{"a":' || repeat('[', 1001) || repeat(']', 1001) || '}}]}');
-- deep and wide input is no trouble: no recursion, no quadratic time
SET statement_timeout = '20s';
SELECT outcome('S{"changes":[R{"set":{"a":' || repeat('[', 1000000));
SELECT outcome('S{"changes":[R{"set":{' || string_agg(format('"c%s":1', n), ',') || '}}]}') FROM generate_series(1, 65535) AS n;
SELECT outcome('S{"changes":[R{"set":{' || string_agg(format('"c%s":1', n), ',') || '}}]}') FROM generate_series(1, 500000) AS n;
SELECT outcome('S{"changes":[R{"add":{"a":[' || string_agg(format('"%s"', n % 7), ',') || ']}}]}') FROM generate_series(1, 500000) AS n;
RESET statement_timeout;

-- bytes, each wrong in one place.  A good delta: magic, size of the body, flags
-- (served), replica (U), schema version, tables, columns, count, one change, seals
CREATE FUNCTION bytes(body text, seals text DEFAULT '00') RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  rest text := replace(replace(body, ' ', ''), 'U', repeat('11', 16));
BEGIN
  RETURN delta_from_bytes(decode('6f736401' || lpad(to_hex(length(rest) / 2), 2, '0') || rest || replace(seals, ' ', ''), 'hex'));
EXCEPTION WHEN OTHERS THEN
  RETURN SQLSTATE || ': ' || SQLERRM;
END $$;
SELECT bytes('01 U 00 01 017400 02 016100 026964 00 01  01 00 01 01 03 0131 01 00 04 0178');
-- flags: reserved; of a served delta in a pushed one
SELECT bytes('81 U 00 00 00 00');
SELECT bytes('02 U 00 00 00 00 00');
-- hlc of zero
SELECT bytes('09 U 0000000000000000 00 00 00 00');
-- varint that is not the shortest
SELECT bytes('01 U 8000 00 00 00');
-- names: not sorted, twice, empty, with a zero byte, without one, not UTF-8, not used, too many
SELECT bytes('01 U 00 01 017400 02 026964 00 016100 01  01 00 01 00 03 0131 01 01 04 0178');
SELECT bytes('01 U 00 01 017400 02 016100 016100 01  01 00 01 01 03 0131 01 00 04 0178');
SELECT bytes('01 U 00 01 0000 01 016100 01  02 00 01 00 03 0131');
SELECT bytes('01 U 00 01 02740000 01 016100 01  02 00 01 00 03 0131');
SELECT bytes('01 U 00 01 017401 01 016100 01  02 00 01 00 03 0131');
SELECT bytes('01 U 00 01 01ff00 01 016100 01  02 00 01 00 03 0131');
SELECT bytes('01 U 00 02 017400 017500 01 016100 01  02 00 01 00 03 0131');
SELECT bytes('01 U 00 01 017400 02 016100 016200 01  02 00 01 00 03 0131');
SELECT bytes('01 U 00 ff7f 017400 01 016100 01  02 00 01 00 03 0131');
-- changes: too few, too many, a billion
SELECT bytes('01 U 00 01 017400 01 016100 02  02 00 01 00 03 0131');
SELECT bytes('01 U 00 01 017400 01 016100 00  02 00 01 00 03 0131');
SELECT bytes('01 U 00 01 017400 01 016100 8094ebdc03  02 00 01 00 03 0131');
-- a change: kind unknown, reserved bit, stamps, group of zero, hlc of zero
SELECT bytes('01 U 00 01 017400 01 016100 01  07 00 01 00 03 0131');
SELECT bytes('01 U 00 01 017400 01 016100 01  42 00 01 00 03 0131');
SELECT bytes('01 U 00 01 017400 01 016100 01  22 00 01 00 03 0131');
SELECT bytes('01 U 00 01 017400 01 016100 01  0a 00 00 01 00 03 0131');
SELECT bytes('01 U 00 01 017400 01 016100 01  12 00 00 01 00 03 0131');
-- no such table, no such column, no key, key twice, key null
SELECT bytes('01 U 00 01 017400 01 016100 01  02 01 01 00 03 0131');
SELECT bytes('01 U 00 01 017400 01 016100 01  02 00 01 01 03 0131');
SELECT bytes('01 U 00 01 017400 00 01  02 00 00');
SELECT bytes('01 U 00 01 017400 01 016100 01  02 00 02 00 03 0131 00 03 0131');
SELECT bytes('01 U 00 01 017400 01 016100 01  02 00 01 00 00');
-- values: not a number, not JSON, JSON that is another kind, list not sorted, kind unknown
SELECT bytes('01 U 00 01 017400 01 016100 01  02 00 01 00 03 0178');
SELECT bytes('01 U 00 01 017400 01 016100 01  01 00 01 00 03 0131 01 00 05 025b7b');
SELECT bytes('01 U 00 01 017400 01 016100 01  01 00 01 00 03 0131 01 00 05 0131');
SELECT bytes('01 U 00 01 017400 01 016100 01  01 00 01 00 03 0131 01 00 05 03226122');
SELECT bytes('01 U 00 01 017400 01 016100 01  01 00 01 00 03 0131 01 00 36 04 0162 0161');
SELECT bytes('01 U 00 01 017400 01 016100 01  01 00 01 00 03 0131 01 00 09');
-- a uuid that is cut off; times: cut off, of an unknown form, out of range, with too many digits, not the shortest
SELECT bytes('01 U 00 01 017400 01 016100 01  01 00 01 00 03 0131 01 00 07 00112233445566778899aabbccddee');
SELECT bytes('01 U 00 01 017400 01 016100 01  01 00 01 00 03 0131 01 00 08 0e');
SELECT bytes('01 U 00 01 017400 01 016100 01  01 00 01 00 03 0131 01 00 08 2b 00');
SELECT bytes('01 U 00 01 017400 01 016100 01  01 00 01 00 03 0131 01 00 08 2a feffffff0f');
SELECT bytes('01 U 00 01 017400 01 016100 01  01 00 01 00 03 0131 01 00 08 0e ffffffffffffffff7f');
SELECT bytes('01 U 00 01 017400 01 016100 01  01 00 01 00 03 0131 01 00 08 0f 00 0a');
SELECT bytes('01 U 00 01 017400 01 016100 01  01 00 01 00 03 0131 01 00 08 0e 8000');
SELECT bytes('01 U 00 01 017400 01 016100 01  01 00 01 00 03 0131 01 00 08 0f 00 09');
-- values that do not fit the operation: list set, number added, list inserted
SELECT bytes('01 U 00 01 017400 01 016100 01  01 00 01 00 03 0131 01 00 06 00');
SELECT bytes('01 U 00 01 017400 01 016100 01  01 00 01 00 03 0131 01 00 33 0131');
SELECT bytes('01 U 00 01 017400 01 016100 01  00 00 01 00 03 0131 01 00 36 00');
-- seals: reserved bit, bad checksum, bad signature, bytes left over
SELECT bytes('01 U 00 00 00 00', '04');
SELECT bytes('01 U 00 00 00 00', '01 0f 6372633332633a3030303030303041 00');
SELECT bytes('01 U 00 00 00 00', '02 03 727361 00');
SELECT bytes('01 U 00 00 00 00', '00 00');
-- a pushed delta that retracts, its seqs beyond the last
SELECT bytes('00 U 00 00 01 017400 01 016100 01 01  03 00 01 00 03 0131');
SELECT bytes('00 U 00 00 00 00 02 ffffffffffffffff7f  05 0178 00 05 0178 00');

DROP FUNCTION outcome(text), bytes(text, text);
