--
-- An error that is not about a value ends the statement, and its transaction
--
CREATE TABLE secret (id int PRIMARY KEY, n int);
ALTER TABLE secret ENABLE ROW LEVEL SECURITY;
CREATE FUNCTION is_open(n int) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
  IF current_setting('test.cancel', true) = 'on' THEN
    RAISE 'canceled while a row is judged' USING ERRCODE = 'query_canceled';
  END IF;
  RETURN n > 5;
END $$;
CREATE POLICY open ON secret USING (is_open(n));
CREATE ROLE regress_error_ann;
GRANT SELECT ON secret TO regress_error_ann;
SELECT sync_enable_table('secret');
SELECT sync_register_device('00000000-0000-0000-0000-00000000000a', owner => 'regress_error_ann') IS NOT NULL AS a;
INSERT INTO secret VALUES (1, 1), (2, 10);
SET ROLE regress_error_ann;
SELECT delta_to(sync_changes_since('00000000-0000-0000-0000-00000000000a', '{}')) AS since \gset
RESET ROLE;
DELETE FROM secret;
SET ROLE regress_error_ann;
SET test.cancel = on;
\set VERBOSITY terse
SELECT sync_changes_since('00000000-0000-0000-0000-00000000000a', :'since');
\set VERBOSITY default
-- the session goes on, in no transaction
SET test.cancel = off;
SELECT kind, key FROM delta_changes(sync_changes_since('00000000-0000-0000-0000-00000000000a', :'since'));
RESET ROLE;
DROP OWNED BY regress_error_ann;
DROP ROLE regress_error_ann;
