-- On the server that applies: the rows that mark the beginning and the end of the changes, and
-- when the process that applies them came there.  See replication.sh.
\set ON_ERROR_STOP on
CREATE TABLE bench.mark (id int PRIMARY KEY, at timestamptz, cpu_ns float8);

CREATE FUNCTION bench.note() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.at := clock_timestamp();
    NEW.cpu_ns := nullif(split_part(pg_read_file('/proc/self/schedstat', 0, 100, true), ' ', 1), '');
    RETURN NEW;
END $$;
CREATE TRIGGER note BEFORE INSERT ON bench.mark FOR EACH ROW EXECUTE FUNCTION bench.note();
ALTER TABLE bench.mark ENABLE ALWAYS TRIGGER note;

CREATE VIEW bench.between_marks AS
    SELECT extract(epoch FROM b.at - a.at) AS seconds, coalesce((b.cpu_ns - a.cpu_ns) / 1e9, 0) AS cpu
    FROM bench.mark a, bench.mark b WHERE a.id = 1 AND b.id = 2;

CREATE PROCEDURE bench.wait_for_marks() LANGUAGE plpgsql AS $$
BEGIN
    FOR i IN 1 .. 2400 LOOP
        IF EXISTS (SELECT FROM bench.between_marks) THEN
            RETURN;
        END IF;
        PERFORM pg_sleep(0.05);
    END LOOP;
    RAISE EXCEPTION 'waited for too long';
END $$;
