--
-- One row made and deleted again and again by one push: as often as need be it is
-- only tried whether it can be made
--
SET client_min_messages = warning;
CREATE SCHEMA repeated_test;
SET search_path = repeated_test, public;
CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
CREATE TABLE other (id int PRIMARY KEY, v text UNIQUE);
-- by statements, and without
CREATE TABLE plain (id int PRIMARY KEY, v text UNIQUE CHECK (v <> 'bad'), w text DEFAULT 'default', up int REFERENCES other);
CREATE TABLE stated (LIKE plain INCLUDING ALL, FOREIGN KEY (up) REFERENCES other);
CREATE TRIGGER nothing AFTER INSERT OR DELETE ON stated FOR EACH ROW EXECUTE FUNCTION nothing();
SELECT sync_enable_table('other', options => '{"name": "other"}'),
       sync_enable_table('plain', options => '{"name": "plain"}'),
       sync_enable_table('stated', options => '{"name": "stated"}');
SELECT count(sync_register_device(format('%s0000000-0000-4000-8000-000000000001', d)::uuid)) FROM unnest('{a,b,c}'::text[]) d;
INSERT INTO plain VALUES (100, 'taken');
INSERT INTO stated VALUES (100, 'taken');
SELECT delta_to(sync_changes_since('c0000000-0000-4000-8000-000000000001', '{}')) AS seen \gset

-- what: of each insertion the cells; a deletion follows it, but not the last one
CREATE FUNCTION repeat_row(device text, tab text, first int, what text[])
RETURNS TABLE (status text, applied int, rejected int, outcomes jsonb, corrections text) LANGUAGE sql AS $$
    SELECT r.status, r.applied, r.rejected,
           (SELECT jsonb_agg(o - '{message,detail,constraint}'::text[]) FROM jsonb_array_elements(r.outcomes) o),
           (SELECT string_agg(concat_ws(' ', c.key, c.kind, c.changes), ', ') FROM delta_changes(r.corrections) c)
    FROM sync_apply_delta((SELECT jsonb_build_object('format', 1, 'replica', device || '0000000-0000-4000-8000-000000000001', 'changes', jsonb_agg(c ORDER BY seq))
                           FROM (SELECT seq, jsonb_build_object('seq', seq, 'hlc', '2026-01-01T00:00:00Z/0', 'table', tab, 'key', '{"id": 1}'::jsonb) || c AS c
                                 FROM unnest(what) WITH ORDINALITY w (cells, i),
                                      LATERAL (VALUES (first + 2 * i::int - 2, jsonb_build_object('insert', cells::jsonb)),
                                                      (first + 2 * i::int - 1, '{"delete": true}')) x (seq, c)
                                 WHERE seq < first + 2 * cardinality(what) - 1) y)::text::delta) r $$;

SELECT * FROM repeat_row('a', 'plain', 1, ARRAY(SELECT format('{"v": "%s"}', i) FROM generate_series(1, 12) i));
SELECT * FROM repeat_row('b', 'stated', 1, ARRAY(SELECT format('{"v": "%s"}', i) FROM generate_series(1, 12) i));
SELECT 'plain' AS tab, id, v, w FROM plain UNION ALL SELECT 'stated', id, v, w FROM stated ORDER BY 1, 2;
-- it cannot be made each time
SELECT * FROM repeat_row('a', 'plain', 24, '{"{}","{}","{}","{}","{}","{}","{\"v\": \"bad\"}","{}","{\"v\": \"taken\"}","{}","{\"up\": 7}","{\"w\": \"last\"}"}');
SELECT * FROM repeat_row('b', 'stated', 24, '{"{}","{}","{}","{}","{}","{}","{\"v\": \"bad\"}","{}","{\"v\": \"taken\"}","{}","{\"up\": 7}","{\"w\": \"last\"}"}');
SELECT 'plain' AS tab, id, v, w FROM plain UNION ALL SELECT 'stated', id, v, w FROM stated ORDER BY 1, 2;
-- another device is told of the last one only
SELECT c.table_name, c.key, c.kind, c.changes FROM sync_changes_since('c0000000-0000-4000-8000-000000000001', :'seen') d, delta_changes(d) c ORDER BY 1;
DELETE FROM plain WHERE id = 1;
DELETE FROM stated WHERE id = 1;
SELECT c.table_name, c.key, c.kind FROM sync_changes_since('c0000000-0000-4000-8000-000000000001', :'seen') d, delta_changes(d) c ORDER BY 1;
DROP SCHEMA repeated_test CASCADE;
