--
-- A value of a former type is told by a push and by a pull in the same words, whatever
-- the session's settings are
--
CREATE TABLE appointment (id int PRIMARY KEY, at timestamptz, note text);
SELECT sync_enable_table('appointment');
SELECT sync_register_device('00000000-0000-0000-0000-00000000000a') IS NOT NULL AS registered;
CREATE FUNCTION seconds(timestamptz) RETURNS bigint LANGUAGE sql IMMUTABLE AS $$ SELECT extract(epoch FROM $1)::bigint $$;
CREATE FUNCTION instant(bigint) RETURNS timestamptz LANGUAGE sql IMMUTABLE AS $$ SELECT to_timestamp($1) $$;
ALTER TABLE appointment ALTER at TYPE bigint USING seconds(at);
SELECT sync_register_conversion('appointment', 'at', 'timestamptz', 'seconds(timestamptz)', 'instant(bigint)');

SET timezone = 'Asia/Tokyo';
SET datestyle = 'SQL, DMY';
SELECT r.status, r.outcomes, c.changes
FROM sync_apply_delta('{"format": 1, "replica": "00000000-0000-0000-0000-00000000000a", "schema_version": 1, "changes": [
    {"seq": 1, "hlc": "2026-01-01T10:00:00.000Z/0", "table": "appointment", "key": {"id": 1},
     "insert": {"at": "2026-02-01 12:00:00+00", "note": "x"}}]}') AS r, delta_changes(r.corrections) AS c;
SELECT c.changes FROM delta_changes(sync_changes_since('00000000-0000-0000-0000-00000000000a', '{}', schema_version => 1)) AS c;
SELECT id, at, note FROM appointment;

SELECT sync_disable_table('appointment');
DROP TABLE appointment;
DROP FUNCTION seconds, instant;
