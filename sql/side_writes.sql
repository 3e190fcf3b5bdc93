--
-- What the writes of a push set off: a foreign key's action or a trigger writes
-- rows that the same push names, too.
--
-- By statements (stated) and without (plain): a trigger that does nothing makes
-- the difference.
--
SET client_min_messages = warning;

CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
CREATE FUNCTION make(side text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format($q$
        CREATE SCHEMA %1$I;
        CREATE TABLE %1$I.parent (id int PRIMARY KEY, code text UNIQUE);
        CREATE TABLE %1$I.child (id int PRIMARY KEY, up int REFERENCES %1$I.parent ON DELETE SET NULL,
                                 code text REFERENCES %1$I.parent (code) ON UPDATE CASCADE, note text CHECK (note <> 'bad'));
        CREATE TABLE %1$I.part (id int PRIMARY KEY, up int REFERENCES %1$I.parent ON DELETE CASCADE, note text);
        SELECT sync_enable_table('%1$I.parent', options => '{"name": "%1$I.parent"}'),
               sync_enable_table('%1$I.child', options => '{"name": "%1$I.child"}'),
               sync_enable_table('%1$I.part', options => '{"name": "%1$I.part"}');
        INSERT INTO %1$I.parent SELECT i, 'c' || i FROM generate_series(1, 6) i;
        INSERT INTO %1$I.child SELECT i, i, CASE i WHEN 3 THEN 'c3' END, 'n' FROM generate_series(1, 6) i;
        INSERT INTO %1$I.part SELECT i, i, 'n' FROM generate_series(1, 6) i$q$, side);
END $$;
SELECT make('plain'), make('stated');
CREATE TRIGGER nothing AFTER INSERT OR UPDATE OR DELETE ON stated.parent FOR EACH ROW EXECUTE FUNCTION nothing();
CREATE TRIGGER nothing AFTER INSERT OR UPDATE OR DELETE ON stated.child FOR EACH ROW EXECUTE FUNCTION nothing();
CREATE TRIGGER nothing AFTER INSERT OR UPDATE OR DELETE ON stated.part FOR EACH ROW EXECUTE FUNCTION nothing();
SELECT sync_register_device('aaaaaaaa-0000-4000-8000-000000000001') IS NOT NULL AS plain,
       sync_register_device('aaaaaaaa-0000-4000-8000-000000000002') IS NOT NULL AS stated,
       sync_register_device('bbbbbbbb-0000-4000-8000-000000000001') IS NOT NULL AS other;

-- the other device's vector, before each push
CREATE TABLE other (vector version_vector);
INSERT INTO other SELECT delta_to(sync_changes_since('bbbbbbbb-0000-4000-8000-000000000001', '{}'));
CREATE FUNCTION push(first int, changes text)
RETURNS TABLE (side text, status text, outcomes jsonb, correction text) LANGUAGE plpgsql AS $$
DECLARE n int := 0;
BEGIN
    UPDATE other SET vector = delta_to(sync_changes_since('bbbbbbbb-0000-4000-8000-000000000001', vector));
    FOREACH side IN ARRAY '{plain,stated}'::text[] LOOP
        n := n + 1;
        RETURN QUERY
        WITH r AS (
            SELECT * FROM sync_apply_delta(jsonb_build_object('format', 1,
                'replica', format('aaaaaaaa-0000-4000-8000-00000000000%s', n),
                'context', (SELECT vector::text::jsonb FROM other),
                'changes', (SELECT jsonb_agg(jsonb_build_object('seq', first + at - 1, 'hlc', '2026-01-01T00:00:00.000Z/0') ||
                                             jsonb_set(c, '{table}', to_jsonb(side || '.' || (c ->> 'table'))) ORDER BY at)
                            FROM jsonb_array_elements(changes::jsonb) WITH ORDINALITY x (c, at)))::text::delta))
        SELECT side, r.status, (SELECT jsonb_agg(o - '{detail,message}'::text[]) FROM jsonb_array_elements(r.outcomes) o), c.line
        FROM r LEFT JOIN LATERAL (SELECT string_agg(concat_ws(' ', d.table_name, d.key, d.kind, d.changes), E'\n' ORDER BY d.table_name, d.key::text) AS line
                                  FROM delta_changes(r.corrections) d) c ON true;
    END LOOP;
END $$;
-- what the other device is told of the pushes
CREATE FUNCTION told() RETURNS TABLE (change text) LANGUAGE sql AS $$
    SELECT concat_ws(' ', d.table_name, d.key, d.kind, d.changes)
    FROM other, sync_changes_since('bbbbbbbb-0000-4000-8000-000000000001', vector) p, delta_changes(p) d ORDER BY 1 $$;

-- A row that the device wrote, and then an action: it is told of that
SELECT * FROM push(1, '[{"table": "child", "key": {"id": 1}, "set": {"note": "a"}},
                        {"table": "parent", "key": {"id": 1}, "delete": true}]');
SELECT * FROM told();

-- The other way round: others are told of the action, too
SELECT * FROM push(3, '[{"table": "parent", "key": {"id": 2}, "delete": true},
                        {"table": "child", "key": {"id": 2}, "set": {"note": "b"}}]');
SELECT * FROM told();

-- An update's action, on a row that is written after it at once
SELECT * FROM push(5, '[{"table": "parent", "key": {"id": 3}, "set": {"code": "new"}},
                        {"table": "child", "key": {"id": 3}, "set": {"note": "c"}}]');
SELECT * FROM told();

-- The device's later change of the same cell prevails, also where the push has to be split
SELECT * FROM push(7, '[{"table": "parent", "key": {"id": 4}, "delete": true},
                        {"table": "child", "key": {"id": 4}, "set": {"up": 5}}]');
SELECT * FROM push(9, '[{"table": "parent", "key": {"id": 5}, "delete": true},
                        {"table": "child", "key": {"id": 5}, "set": {"up": 6}},
                        {"table": "child", "key": {"id": 4}, "set": {"up": 6, "note": "bad"}},
                        {"table": "child", "key": {"id": 4}, "set": {"up": 6}}]');
SELECT * FROM told();

-- What an action deleted can be made anew
SELECT * FROM push(13, '[{"table": "parent", "key": {"id": 6}, "delete": true},
                         {"table": "parent", "key": {"id": 6}, "insert": {"code": "again"}},
                         {"table": "part", "key": {"id": 6}, "insert": {"up": 6, "note": "again"}},
                         {"table": "child", "key": {"id": 6}, "set": {"up": 6}}]');
SELECT * FROM told();

SELECT id, up, code, note FROM plain.child ORDER BY id;
SELECT id, up, note FROM plain.part ORDER BY id;
SELECT (SELECT array_agg((id, up, code, note) ORDER BY id) FROM plain.child) = (SELECT array_agg((id, up, code, note) ORDER BY id) FROM stated.child) AS children,
       (SELECT array_agg((id, up, note) ORDER BY id) FROM plain.part) = (SELECT array_agg((id, up, note) ORDER BY id) FROM stated.part) AS parts;

DROP SCHEMA plain, stated CASCADE;
