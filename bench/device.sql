-- Make the table item a tracked one, with a device that has pulled all of it: its
-- vector is in bench.vector.
\set ON_ERROR_STOP on
CREATE EXTENSION offline_sync;
SELECT sync_enable_table('item') \g /dev/null
SELECT sync_register_device('d0000000-0000-4000-8000-000000000001') \g /dev/null
CREATE SCHEMA IF NOT EXISTS bench;
-- Pull all there is since v, page by page: the vector to go on from, and how many changes came.
CREATE FUNCTION bench.pull(INOUT v version_vector, page_size int, OUT changes bigint) LANGUAGE plpgsql AS $$
DECLARE
    d delta;
    r text;
BEGIN
    changes := 0;
    LOOP
        d := sync_changes_since('d0000000-0000-4000-8000-000000000001', v, page_size, r);
        changes := changes + delta_count(d);
        v := delta_to(d);
        r := delta_resume(d);
        EXIT WHEN NOT delta_has_more(d);
    END LOOP;
END $$;

CREATE TABLE bench.vector AS SELECT v FROM bench.pull('{}', 10000);
