-- A tracked table of :rows rows in one scope, with :columns columns besides key and scope;
-- :devices devices that may push and pull that scope; :others other scopes with a row each, of
-- which :granted are granted to devices 1 and 2, too.  Device 1 will push updates of two columns in
-- :deltas deltas of 100, device 2 lacks 100 rows.  The table plain has the same rows, and is not tracked.
\set ON_ERROR_STOP on
CREATE EXTENSION offline_sync;
CREATE SCHEMA bench;
SELECT format('CREATE TABLE item (id uuid PRIMARY KEY, scope text NOT NULL, %s)',
              string_agg(format('c%s int DEFAULT %s', n, n), ', ' ORDER BY n)) FROM generate_series(1, :columns) n \gexec
CREATE INDEX ON item (scope, id);
CREATE TABLE plain (LIKE item INCLUDING ALL);
SELECT sync_enable_table('item', 'scope') \g /dev/null
SELECT sync_register_device(md5('device ' || d)::uuid,
                            ARRAY['mine'] || CASE WHEN d <= 2 THEN ARRAY(SELECT 'other ' || n FROM generate_series(1, :granted) n) ELSE '{}' END)
    FROM generate_series(1, :devices) d \g /dev/null
INSERT INTO item SELECT md5('item ' || n)::uuid, 'mine' FROM generate_series(1, :rows) n;
INSERT INTO plain SELECT id, scope FROM item;
INSERT INTO item SELECT md5('other ' || n)::uuid, 'other ' || n FROM generate_series(1, :others) n;

CREATE TABLE bench.vector (v version_vector);
DO $$
DECLARE
    d delta;
    v version_vector := '{}';
    r text;
BEGIN
    LOOP
        d := sync_changes_since(md5('device 2')::uuid, v, 10000, r);
        v := delta_to(d);
        r := delta_resume(d);
        EXIT WHEN NOT delta_has_more(d);
    END LOOP;
    INSERT INTO bench.vector VALUES (v);
END $$;

-- every row is written once: 100 by SQL, others by the device
CREATE TABLE bench.change AS
    SELECT row_number() OVER () - 100 AS seq, id
    FROM (SELECT id FROM item WHERE scope = 'mine' ORDER BY md5(id::text) LIMIT 100 + :deltas * 100) i;
CREATE UNLOGGED TABLE bench.delta AS
    SELECT (seq - 1) / 100 AS n,
           '{"format": 1, "replica": "' || md5('device 1')::uuid || '", "context": ' || v::text || ', "changes": ['
           || string_agg(format('{"seq": %s, "hlc": "2026-11-20T10:00:00.000Z/0", "table": "item", "key": {"id": "%s"}, "set": {"c1": %s, "c2": %s}}',
                                seq, id, seq, -seq), ',' ORDER BY seq) || ']}' AS json,
           array_agg(id ORDER BY seq)::text AS id, array_agg(seq ORDER BY seq)::text AS c1, array_agg(-seq ORDER BY seq)::text AS c2
    FROM bench.change, bench.vector WHERE seq > 0 GROUP BY 1, v::text;
UPDATE item SET c1 = -1, c2 = -2 WHERE id IN (SELECT id FROM bench.change WHERE seq <= 0);
VACUUM ANALYZE;
