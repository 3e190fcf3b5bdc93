--
-- What a device has of the schema is what a node made of it: a version that was lost
-- with a node's future is not the one of the same number that its successor makes
--
SET client_min_messages = warning;
CREATE SCHEMA lineage_test;
SET search_path = lineage_test, public;
CREATE TABLE note (id int PRIMARY KEY, v text);
SELECT sync_enable_table('note', options => '{"name": "note"}');
SELECT sync_register_device('aaaaaaaa-0000-4000-8000-000000000001') IS NOT NULL AS a;
INSERT INTO note VALUES (1, 'x'), (2, 'y');
CREATE TABLE dev (vector version_vector);
INSERT INTO dev VALUES ('{}');
CREATE FUNCTION pull(version int DEFAULT NULL) RETURNS TABLE (kind text, key jsonb, changes jsonb) LANGUAGE plpgsql AS $$
DECLARE d delta; token text;
BEGIN
    LOOP
        SELECT sync_changes_since('aaaaaaaa-0000-4000-8000-000000000001', vector, 1, token, version) INTO d FROM dev;
        RETURN QUERY SELECT c.kind, c.key, c.changes FROM delta_changes(d) c;
        UPDATE dev SET vector = delta_to(d);
        token := delta_resume(d);
        EXIT WHEN NOT delta_has_more(d);
    END LOOP;
END $$;
CREATE FUNCTION known() RETURNS TABLE (by_node bigint, counter text) LANGUAGE sql AS $$
    SELECT row_number() OVER (ORDER BY value::int), value FROM dev, jsonb_each_text(vector::text::jsonb) WHERE key LIKE '73636865-6d61-%' $$;
-- a device that has seen versions that are not in this history
CREATE FUNCTION lose(version int) RETURNS void LANGUAGE sql AS $$
    UPDATE dev SET vector = (vector::text::jsonb || (SELECT jsonb_object_agg(key, lose.version) FROM jsonb_object_keys(vector::text::jsonb) key
                                                     WHERE key LIKE '73636865-6d61-%'))::text::version_vector $$;

SELECT * FROM pull();
SELECT * FROM known();
ALTER TABLE note ADD a int DEFAULT 1;
SELECT * FROM pull();
SELECT * FROM known();

-- it goes on to versions 3 and 4, but that future is lost
SELECT lose(4);
SELECT sync_new_incarnation() IS NOT NULL AS restored;
SELECT * FROM pull();
SELECT * FROM known();
SELECT lose(4);
ALTER TABLE note ADD b int DEFAULT 2;
SELECT * FROM pull();
SELECT * FROM known();
SELECT * FROM pull();

-- both nodes' futures lost; in the midst of a base scan
SELECT lose(9);
SELECT sync_new_incarnation() IS NOT NULL AS restored;
ALTER TABLE note ADD c int DEFAULT 3;
SELECT * FROM pull();
SELECT * FROM known();

-- to an older version, and back
SELECT * FROM pull(2);
SELECT * FROM known();
SELECT * FROM pull(3);
SELECT * FROM known();
SELECT * FROM pull(4);
SELECT * FROM known();

SELECT sync_register_device('73636865-6d61-4000-8000-000000000001');
DROP SCHEMA lineage_test CASCADE;
