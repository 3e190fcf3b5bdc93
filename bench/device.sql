-- Make the table item a tracked one, with a device that has pulled all of it: its
-- vector is in bench.vector.
\set ON_ERROR_STOP on
CREATE EXTENSION offline_sync;
SELECT sync_enable_table('item') \g /dev/null
SELECT sync_register_device('d0000000-0000-4000-8000-000000000001') \g /dev/null
CREATE SCHEMA IF NOT EXISTS bench;
CREATE TABLE bench.vector (v version_vector);
DO $$
DECLARE
    d delta;
    v version_vector := '{}';
    r text;
BEGIN
    LOOP
        d := sync_changes_since('d0000000-0000-4000-8000-000000000001', v, 10000, r);
        v := delta_to(d);
        r := delta_resume(d);
        EXIT WHEN NOT delta_has_more(d);
    END LOOP;
    INSERT INTO bench.vector VALUES (v);
END $$;
