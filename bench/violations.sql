-- Interleaved rounds of the three kinds of deltas; see violations.sh
CREATE EXTENSION offline_sync;
CREATE TABLE parent (id int PRIMARY KEY, name text);
CREATE TABLE child (id int PRIMARY KEY, parent int REFERENCES parent, a text CHECK (a <> 'bad'), b int, c timestamptz);
CREATE INDEX ON child (a);
CREATE INDEX ON child (b);
SELECT sync_enable_table('parent'), sync_enable_table('child') \g /dev/null
SELECT sync_register_device('d0000000-0000-4000-8000-000000000001') \g /dev/null
INSERT INTO parent SELECT g, 'p' || g FROM generate_series(1, 1000) g;
CREATE TABLE result (kind text, ms float8);

CREATE FUNCTION make_delta(first bigint, kind text) RETURNS delta LANGUAGE sql AS $$
    SELECT jsonb_build_object('format', 1, 'replica', 'd0000000-0000-4000-8000-000000000001', 'changes',
        jsonb_agg(jsonb_build_object('seq', first + g, 'hlc', '2026-01-01T00:00:00.000Z/0', 'table', 'child',
            'key', jsonb_build_object('id', first + g),
            'insert', jsonb_build_object('parent', CASE WHEN kind = 'parent' AND g % 100 = 50 THEN 1000000 + g ELSE 1 + g % 1000 END,
                                         'a', CASE WHEN kind = 'check' AND g % 100 = 50 THEN 'bad' ELSE 'text ' || g END,
                                         'b', g, 'c', '2026-01-01 00:00:00+00')) ORDER BY g))::text::delta
    FROM generate_series(0, 999) g $$;

CREATE PROCEDURE measure(kind text) LANGUAGE plpgsql AS $$
DECLARE
    d delta; begun timestamptz; r record;
BEGIN
    SELECT make_delta(h.acked_seq + 1, kind) INTO d FROM sync_hello('d0000000-0000-4000-8000-000000000001') h;
    begun := clock_timestamp();
    SELECT a.applied INTO r FROM sync_apply_delta(d) a;
    INSERT INTO result VALUES (kind, extract(epoch FROM clock_timestamp() - begun) * 1000);
    IF r.applied <> (CASE kind WHEN 'none' THEN 1000 ELSE 990 END) THEN
        RAISE EXCEPTION '% changes were applied', r.applied;
    END IF;
    -- what waits would be tried again with the next delta
    DELETE FROM offline_sync.waiting;
    UPDATE offline_sync.device SET waiting = 0;
    COMMIT;
END $$;
SELECT format('CALL measure(%L)', kind) FROM generate_series(1, :rounds) n, unnest('{none,check,parent}'::text[]) kind ORDER BY n, kind \gexec

WITH m AS (SELECT kind, percentile_cont(0.5) WITHIN GROUP (ORDER BY ms)::numeric AS median, min(ms)::numeric AS least, max(ms)::numeric AS most
           FROM result GROUP BY kind)
-- a line of the table each: see lib.sh
SELECT CASE WHEN kind <> 'none' THEN round(median / (SELECT median FROM m WHERE kind = 'none'), 2) END, '', '',
       l.label, CASE WHEN kind <> 'none' THEN 'nothing refused' END, round(median, 1), round(least, 1) || ' - ' || round(most, 1), 'ms'
FROM m JOIN (VALUES (1, 'none', 'nothing is refused'), (2, 'check', 'ten violate a CHECK constraint'),
                    (3, 'parent', 'ten refer to a row that is not there, and wait')) l (n, kind, label) USING (kind)
ORDER BY n;
