--
-- Pulling as a plain role: privileges on tables and columns, row security, and
-- tombstones, which are as private as their rows were
--
\set device '\'00000000-0000-0000-0000-0000000000bb\''
CREATE ROLE regress_pull_owner;
CREATE ROLE regress_pull_other;
CREATE TABLE pull_open (id int PRIMARY KEY, body text, secret text, number int DEFAULT 7);
CREATE TABLE pull_closed (id int PRIMARY KEY, body text);
CREATE TABLE pull_owned (id int PRIMARY KEY, owner text, body text);
CREATE TABLE pull_member (team int, member text);
CREATE TABLE pull_team (id int PRIMARY KEY, team int, body text);
SELECT sync_enable_table('pull_open');
SELECT sync_enable_table('pull_closed');
SELECT sync_enable_table('pull_owned');
SELECT sync_enable_table('pull_team');
SELECT sync_register_device(:device, '{""}', 'regress_pull_owner');

GRANT SELECT (id, body, number, _sync) ON pull_open TO regress_pull_owner;
GRANT SELECT ON pull_owned, pull_team, pull_member TO regress_pull_owner;
ALTER TABLE pull_owned ENABLE ROW LEVEL SECURITY;
CREATE POLICY mine ON pull_owned FOR SELECT USING (owner = current_user);
CREATE POLICY not_hidden ON pull_owned AS RESTRICTIVE FOR SELECT USING (body <> 'hidden');
ALTER TABLE pull_team ENABLE ROW LEVEL SECURITY;
CREATE POLICY team ON pull_team FOR SELECT TO regress_pull_owner
    USING (EXISTS (SELECT FROM pull_member m WHERE m.team = pull_team.team AND m.member = current_user));

INSERT INTO pull_open VALUES (1, 'body', 'secret');
INSERT INTO pull_closed VALUES (1, 'closed');
INSERT INTO pull_owned VALUES (1, 'regress_pull_owner', 'mine'), (2, 'somebody', 'theirs'),
                              (3, 'regress_pull_owner', 'hidden'), (4, 'regress_pull_owner', 'mine, too');
INSERT INTO pull_member VALUES (1, 'regress_pull_owner'), (2, 'somebody');
INSERT INTO pull_team VALUES (1, 1, 'ours'), (2, 2, 'theirs');

CREATE TABLE pull_state (vector version_vector);
INSERT INTO pull_state VALUES ('{}');
GRANT SELECT, UPDATE ON pull_state TO regress_pull_owner;
CREATE FUNCTION pull_all(device uuid) RETURNS TABLE (changed text, key jsonb, what jsonb) LANGUAGE plpgsql AS
$$
DECLARE
    page delta;
BEGIN
    page := sync_changes_since(device, (SELECT vector FROM pull_state));
    UPDATE pull_state SET vector = delta_to(page);
    RETURN QUERY SELECT c->>'table', c->'key', c - 'table' - 'key' - 'hlc'
                 FROM jsonb_array_elements(page::text::jsonb->'changes') c ORDER BY 1, 2;
END
$$;

-- not the device's owner
SET ROLE regress_pull_other;
SELECT sync_changes_since(:device, '{}');
RESET ROLE;

-- no table that may not be read, no column, no row
SET ROLE regress_pull_owner;
SELECT * FROM pull_all(:device);
RESET ROLE;

-- a change that the role may not see is none; generated or not, it gets nothing
UPDATE pull_open SET secret = 'other';
UPDATE pull_closed SET body = 'other';
UPDATE pull_owned SET body = body || '!' WHERE id IN (1, 2);
SET ROLE regress_pull_owner;
SELECT * FROM pull_all(:device);
RESET ROLE;

-- deletions: of rows that it could see, and of no others
DELETE FROM pull_closed;
DELETE FROM pull_owned WHERE id <= 3;
DELETE FROM pull_team;
SET ROLE regress_pull_owner;
SELECT * FROM pull_all(:device);
SELECT * FROM pull_all(:device);
RESET ROLE;

-- a policy that fails hides the row, and nothing else
CREATE FUNCTION pull_fails(text) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RETURN 1 / (length($1) - 9) > 0; END $$;
CREATE POLICY fails ON pull_owned AS RESTRICTIVE FOR SELECT USING (pull_fails(body));
INSERT INTO pull_owned VALUES (5, 'regress_pull_owner', 'long enough');
DELETE FROM pull_owned WHERE id IN (4, 5);
UPDATE pull_open SET number = 8;
SET ROLE regress_pull_owner;
SELECT * FROM pull_all(:device);
RESET ROLE;

-- row security that is to raise an error does
SET ROLE regress_pull_owner;
SET row_security = off;
SELECT sync_changes_since(:device, '{}');
RESET row_security;
RESET ROLE;

DROP FUNCTION pull_all(uuid);
DROP TABLE pull_open, pull_closed, pull_owned, pull_team, pull_member, pull_state;
DROP FUNCTION pull_fails(text);
DELETE FROM offline_sync.device WHERE device = :device;
DELETE FROM offline_sync.device_scope WHERE device = :device;
DROP ROLE regress_pull_owner;
DROP ROLE regress_pull_other;
