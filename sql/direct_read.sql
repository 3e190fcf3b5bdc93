-- Rows of a plain table are read without a statement.  What a pull says is the same
-- with row security, for which there has to be one.
CREATE ROLE direct_read_user;
CREATE SCHEMA direct_read;
CREATE TABLE direct_read.thing (gone int, a text, b int, t text, n numeric, i int, big int8, f float8, flag bool, at timestamptz, day date, u uuid, j jsonb, raw bytea,
    v varchar(10), c char(5), list int[], s int GENERATED ALWAYS AS (b * 2) STORED, PRIMARY KEY (b, a));
ALTER TABLE direct_read.thing DROP COLUMN gone;
SELECT sync_enable_table('direct_read.thing');
SELECT sync_register_device('d0000000-0000-4000-8000-000000000001', owner => 'direct_read_user');
GRANT USAGE ON SCHEMA direct_read TO direct_read_user;
GRANT SELECT ON direct_read.thing TO direct_read_user;
GRANT EXECUTE ON FUNCTION sync_changes_since TO direct_read_user;

SET ROLE direct_read_user;
SELECT delta_to(sync_changes_since('d0000000-0000-4000-8000-000000000001', '{}')) AS v \gset
RESET ROLE;
INSERT INTO direct_read.thing (a, b) SELECT 'key "' || n || '"', n % 7 FROM generate_series(1, 300) n;
INSERT INTO direct_read.thing SELECT 'whole ' || n, n, repeat('text ' || n, 10), n / 3.0, n, n, n / 7.0, n % 2 = 0, '2025-01-01 00:00:00+00'::timestamptz + n * interval '1.5 hours', '2025-01-01'::date + n,
    md5(n::text)::uuid, jsonb_build_object('n', n, 'x', 'a"b\c'), decode(md5(n::text), 'hex'), 'v' || n, 'c', ARRAY[n, NULL] FROM generate_series(1, 300) n;
-- toasted and compressed values, a row that moved, one that is gone
INSERT INTO direct_read.thing (a, b, t) SELECT 'large', n, (SELECT string_agg(md5(k::text), '') FROM generate_series(n, n + 500) k) FROM generate_series(1, 3) n;
INSERT INTO direct_read.thing (a, b, t) VALUES ('compressed', 1, repeat('x', 100000));
UPDATE direct_read.thing SET t = t || '!', i = -i WHERE b % 3 = 0;
UPDATE direct_read.thing SET a = a || ' moved' WHERE b = 5;
DELETE FROM direct_read.thing WHERE b = 6;

CREATE FUNCTION pulled() RETURNS TABLE (key jsonb, kind text, hash text) LANGUAGE sql AS $$
    SELECT key, kind, md5(changes::text) FROM delta_changes(sync_changes_since('d0000000-0000-4000-8000-000000000001',
        current_setting('direct_read.v')::version_vector, 100000)) WHERE table_name = 'direct_read.thing'
$$;
SELECT set_config('direct_read.v', :'v', false) IS NOT NULL AS is_set;
SET ROLE direct_read_user;
CREATE TEMP TABLE directly AS SELECT * FROM pulled();
RESET ROLE;
CREATE POLICY everything ON direct_read.thing USING (true);
ALTER TABLE direct_read.thing ENABLE ROW LEVEL SECURITY;
SET ROLE direct_read_user;
CREATE TEMP TABLE by_statement AS SELECT * FROM pulled();
SELECT kind, count(*) FROM directly GROUP BY 1 ORDER BY 1;
SELECT (SELECT count(*) FROM (SELECT * FROM directly EXCEPT SELECT * FROM by_statement) d) AS only_directly,
       (SELECT count(*) FROM (SELECT * FROM by_statement EXCEPT SELECT * FROM directly) s) AS only_by_statement;
RESET ROLE;

-- a policy hides rows, a right that is missing hides columns, a schema all of it
ALTER POLICY everything ON direct_read.thing USING (b > 250);
SET ROLE direct_read_user;
SELECT kind, count(*) FROM pulled() GROUP BY 1 ORDER BY 1;
RESET ROLE;
ALTER TABLE direct_read.thing DISABLE ROW LEVEL SECURITY;
REVOKE SELECT ON direct_read.thing FROM direct_read_user;
GRANT SELECT (a, b, flag, _sync) ON direct_read.thing TO direct_read_user;
SET ROLE direct_read_user;
SELECT changes FROM delta_changes(sync_changes_since('d0000000-0000-4000-8000-000000000001', current_setting('direct_read.v')::version_vector, 100000))
    WHERE key = '{"a": "whole 8", "b": 8}';
SELECT sync_row_status('direct_read.thing', '{"a": "whole 8", "b": 8}');
RESET ROLE;
REVOKE SELECT (b) ON direct_read.thing FROM direct_read_user;
SET ROLE direct_read_user;
SELECT sync_row_status('direct_read.thing', '{"a": "whole 8", "b": 8}');
RESET ROLE;
GRANT SELECT ON direct_read.thing TO direct_read_user;
REVOKE USAGE ON SCHEMA direct_read FROM direct_read_user;
\set VERBOSITY terse
SET ROLE direct_read_user;
SELECT count(*) FROM pulled();
RESET ROLE;

SELECT sync_revoke_device('d0000000-0000-4000-8000-000000000001');
DROP TABLE directly, by_statement;
DROP FUNCTION pulled;
DROP SCHEMA direct_read CASCADE;
DROP OWNED BY direct_read_user;
DROP ROLE direct_read_user;
