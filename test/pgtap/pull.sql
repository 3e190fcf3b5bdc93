--
-- Pulling: whatever is written on the server, in whatever order it commits, and
-- however small the pages are, a device ends with exactly the rows of its scopes,
-- and nothing comes twice.
--
-- The seed is printed.  To run it again:  PGOPTIONS='-c test.seed=0.42'
--
CREATE EXTENSION IF NOT EXISTS pgtap;
CREATE EXTENSION offline_sync;
\ir ../device.sql
SELECT * FROM no_plan();

-- ---------------------------------------------------------------------------
-- Tables: a tree, a child with a key of two columns and odd types, the scope in
-- the key, no scope column, and one that is enabled while devices are at work
-- ---------------------------------------------------------------------------

CREATE TABLE folder (
    id     int  PRIMARY KEY,
    space  text,
    parent int  REFERENCES folder ON DELETE CASCADE,
    title  text,
    size   numeric
);
CREATE TABLE note (
    no     int,
    tag    text,
    space  text,
    folder int  REFERENCES folder ON DELETE CASCADE,
    body   text,
    at     timestamptz,
    done   boolean DEFAULT false,
    data   jsonb,
    upper_body text GENERATED ALWAYS AS (upper(body)) STORED,
    PRIMARY KEY (no, tag)
);
CREATE TABLE pin (space text, name text, color text, PRIMARY KEY (space, name));
CREATE TABLE setting (name text PRIMARY KEY, value text);
CREATE TABLE late (id int PRIMARY KEY, space text, title text);

-- rows from before
INSERT INTO folder SELECT i, 'a', NULL, 'old ' || i, i FROM generate_series(1, 5) i;
INSERT INTO late SELECT i, (ARRAY['a', 'b', 'c', NULL])[1 + i % 4], 'old ' || i FROM generate_series(1, 20) i;

SELECT sync_enable_table('folder', 'space');
SELECT sync_enable_table('note', 'space');
SELECT sync_enable_table('pin', 'space');
SELECT sync_enable_table('setting');
INSERT INTO device.scope_column VALUES ('folder', 'space'), ('note', 'space'), ('pin', 'space'), ('late', 'space');

-- what devices must have: as deltas write values
CREATE VIEW server_row AS
    SELECT 'folder' AS table_name, space AS scope, jsonb_build_object('id', id) AS key,
           jsonb_build_object('space', space, 'parent', parent, 'title', title, 'size', size::text) AS cells
    FROM folder
    UNION ALL
    SELECT 'note', space, jsonb_build_object('no', no, 'tag', tag),
           jsonb_build_object('space', space, 'folder', folder, 'body', body, 'done', done, 'upper_body', upper_body,
                              'at', (at AT TIME ZONE 'UTC')::text || '+00',
                              'data', CASE jsonb_typeof(data) WHEN 'null' THEN '{"$json": null}' ELSE data END)
    FROM note
    UNION ALL
    SELECT 'pin', space, jsonb_build_object('space', space, 'name', name), jsonb_build_object('color', color) FROM pin
    UNION ALL
    SELECT 'setting', '', jsonb_build_object('name', name), jsonb_build_object('value', value) FROM setting
    UNION ALL
    SELECT 'late', space, jsonb_build_object('id', id), jsonb_build_object('space', space, 'title', title) FROM late
    WHERE EXISTS (SELECT FROM sync_tables t WHERE t.table_name = 'late');

CREATE FUNCTION scopes(me uuid) RETURNS SETOF text LANGUAGE sql STABLE AS
$$ SELECT s.scope FROM offline_sync.device_scope s WHERE s.device = me AND s.can_pull $$;

-- the rows that are on one side only
CREATE FUNCTION differences(me uuid) RETURNS TABLE (side text, table_name text, key jsonb, cells jsonb)
LANGUAGE sql STABLE AS $$
    WITH server AS (SELECT s.table_name, s.key, s.cells FROM server_row s WHERE s.scope IN (SELECT scopes(me))),
         client AS (SELECT b.table_name, b.key, b.cells FROM device.base_row b WHERE b.device = me)
    (SELECT 'server', * FROM server EXCEPT SELECT 'server', * FROM client)
    UNION ALL
    (SELECT 'device', * FROM client EXCEPT SELECT 'device', * FROM server)
$$;

-- Pull some pages, each in a transaction of its own.
CREATE PROCEDURE pull_pages(me uuid, pages int, max_changes int, INOUT changes int DEFAULT 0, INOUT largest int DEFAULT 0,
                            INOUT is_more boolean DEFAULT true)
LANGUAGE plpgsql AS $$
DECLARE
    page text;
    n    int;
BEGIN
    changes := 0;
    largest := 0;
    FOR i IN 1 .. pages LOOP
        page := sync_changes_since(me, device.vector(me)::version_vector, max_changes, device.resume(me));
        n := jsonb_array_length(page::jsonb->'changes');
        changes := changes + n;
        largest := greatest(largest, n);
        is_more := device.take_page(me, page);
        COMMIT;
        EXIT WHEN NOT is_more;
    END LOOP;
END
$$;

-- ---------------------------------------------------------------------------
-- A bootstrap, paged
-- ---------------------------------------------------------------------------

\set one '\'00000000-0000-0000-0000-000000000001\''
\set two '\'00000000-0000-0000-0000-000000000002\''
\set three '\'00000000-0000-0000-0000-000000000003\''

SELECT device.start(d) FROM unnest(ARRAY[:one, :two, :three]::uuid[]) d;
SELECT sync_register_device(:one, '{a}');
SELECT sync_register_device(:two, '{a,b,""}');
SELECT sync_register_device(:three, '{""}');

INSERT INTO note (no, tag, space, folder, body, at, data)
SELECT i, 't' || i % 3, (ARRAY['a', 'b', 'c', NULL])[1 + i % 4], 1 + i % 5, 'body ' || i,
       '2026-11-20 10:00:00.123456+00'::timestamptz + i * interval '1 hour',
       (ARRAY['null', '{"a": 1.50}', '"x"'])[1 + i % 3]::jsonb
FROM generate_series(1, 40) i;
INSERT INTO pin SELECT (ARRAY['a', 'b', 'c'])[1 + i % 3], 'pin ' || i, 'red' FROM generate_series(1, 9) i;
INSERT INTO setting VALUES ('x', '1'), ('y', '2');

CALL pull_pages(:one, 100, 1);
SELECT is_empty('SELECT * FROM differences(' || quote_literal(:one) || ')', 'bootstrap by pages of 1');
CALL pull_pages(:two, 100, 7);
SELECT is_empty('SELECT * FROM differences(' || quote_literal(:two) || ')', 'bootstrap by pages of 7');
CALL pull_pages(:three, 100, 1000);
SELECT is_empty('SELECT * FROM differences(' || quote_literal(:three) || ')', 'bootstrap in one page');
SELECT isnt_empty('SELECT * FROM device.base_row WHERE device = ' || quote_literal(:one), 'it brought something');

SELECT is(delta_to(d), device.vector(v)::version_vector, 'with nothing new the vector stays')
FROM (VALUES (:one::uuid), (:two), (:three)) AS x (v),
     LATERAL (SELECT sync_changes_since(v, device.vector(v)::version_vector) AS d OFFSET 0) s;
SELECT is((SELECT count(*) FROM delta_changes(sync_changes_since(v, device.vector(v)::version_vector))), 0::bigint,
          'and nothing is sent again')
FROM (VALUES (:one::uuid), (:two), (:three)) AS x (v);

-- ---------------------------------------------------------------------------
-- A large transaction
-- ---------------------------------------------------------------------------

INSERT INTO note (no, tag, space, body) SELECT i, 'bulk', 'a', 'bulk' FROM generate_series(1001, 4000) i;
CALL pull_pages(:one, 1000, 100) \gset
SELECT is(:'changes'::int, 3000, '3000 rows of one transaction come once each');
SELECT is(:'largest'::int, 100, 'in pages of 100');
SELECT is_empty('SELECT * FROM differences(' || quote_literal(:one) || ')', 'and all of them');
DELETE FROM note WHERE tag = 'bulk';
CALL pull_pages(:one, 1000, 100) \gset
SELECT is(:'changes'::int, 3000, 'and go once each');
SELECT is_empty('SELECT * FROM differences(' || quote_literal(:one) || ')', 'all of them');

-- late commits: rows of a page's transaction change again between its pages
INSERT INTO note (no, tag, space, body) SELECT i, 'bulk', 'a', 'bulk' FROM generate_series(1001, 1300) i;
CALL pull_pages(:one, 2, 100);
UPDATE note SET body = 'changed' WHERE tag = 'bulk' AND no % 10 = 0;
UPDATE note SET space = 'c' WHERE tag = 'bulk' AND no % 10 = 1;
DELETE FROM note WHERE tag = 'bulk' AND no % 10 = 2;
CALL pull_pages(:one, 1000, 7);
SELECT is_empty('SELECT * FROM differences(' || quote_literal(:one) || ')', 'a transaction whose rows change between its pages');
DELETE FROM note WHERE tag = 'bulk';

-- ---------------------------------------------------------------------------
-- Events share their transactions with other writes
-- ---------------------------------------------------------------------------

CALL pull_pages(:one, 1000, 1000);
BEGIN;
INSERT INTO setting VALUES ('before', 'grant');
UPDATE note SET body = body || '!' WHERE space = 'a';
SELECT sync_grant_scope(:one, '');
INSERT INTO pin VALUES ('a', 'after', 'grant');
COMMIT;
CALL pull_pages(:one, 1000, 3);
SELECT is_empty('SELECT * FROM differences(' || quote_literal(:one) || ')', 'a grant in the midst of a transaction');

BEGIN;
UPDATE note SET body = body || '?' WHERE space = 'a';
SELECT sync_revoke_scope(:one, '');
SELECT sync_grant_scope(:one, 'b');
COMMIT;
CALL pull_pages(:one, 1000, 3);
SELECT is_empty('SELECT * FROM differences(' || quote_literal(:one) || ')', 'a revocation and a grant in one transaction');

-- revoked and granted again, with a deletion meanwhile
SELECT sync_revoke_scope(:one, 'b');
DELETE FROM note WHERE space = 'b' AND no < 10;
SELECT sync_grant_scope(:one, 'b');
CALL pull_pages(:one, 1000, 3);
SELECT is_empty('SELECT * FROM differences(' || quote_literal(:one) || ')', 'revoked and granted again');

-- ---------------------------------------------------------------------------
-- Order within a page
-- ---------------------------------------------------------------------------

-- children get smaller keys than their parents, and rows come back
INSERT INTO folder SELECT i, 'a', i + 1, 'deep' FROM (SELECT generate_series(1100, 1001, -1) i) s WHERE false;
INSERT INTO folder VALUES (1100, 'a', NULL, 'root', 0);
INSERT INTO folder SELECT i, 'a', NULL, 'deep', 0 FROM generate_series(1001, 1099) i;
UPDATE folder SET parent = id + 1 WHERE id BETWEEN 1001 AND 1099;
INSERT INTO note (no, tag, space, folder, body) SELECT i, 'deep', 'a', i, '' FROM generate_series(1001, 1100) i;

CREATE TEMP TABLE page AS
    SELECT c.*, c.ordinality AS place
    FROM jsonb_array_elements((sync_changes_since(:one, device.vector(:one)::version_vector)::text::jsonb)->'changes')
         WITH ORDINALITY AS c (change, ordinality);
SELECT is((SELECT count(*) FROM page WHERE change ? 'insert'), 200::bigint, 'a page of folders and notes');
SELECT is_empty($$
    SELECT child.change FROM page child JOIN page parent
        ON parent.change->>'table' = 'folder'
           AND (parent.change#>'{key,id}' = child.change#>'{insert,parent}' AND child.change->>'table' = 'folder'
                OR parent.change#>'{key,id}' = child.change#>'{insert,folder}')
    WHERE parent.place > child.place $$, 'parents come before children');
CALL pull_pages(:one, 1000, 1000);
DELETE FROM folder WHERE id = 1100;
DROP TABLE page;
CREATE TEMP TABLE page AS
    SELECT c.*, c.ordinality AS place
    FROM jsonb_array_elements((sync_changes_since(:one, device.vector(:one)::version_vector)::text::jsonb)->'changes')
         WITH ORDINALITY AS c (change, ordinality);
SELECT is((SELECT count(*) FROM page WHERE change ? 'delete'), 200::bigint, 'cascades are served');
SELECT cmp_ok((SELECT max(place) FROM page WHERE change->>'table' = 'note'), '<',
              (SELECT min(place) FROM page WHERE change->>'table' = 'folder'), 'deletions of children come first');
CALL pull_pages(:one, 1000, 1000);
SELECT is_empty('SELECT * FROM differences(' || quote_literal(:one) || ')', 'and what is left is the same');

-- ---------------------------------------------------------------------------
-- Random writes, random pages
-- ---------------------------------------------------------------------------

CREATE FUNCTION random_int(n int) RETURNS int LANGUAGE sql VOLATILE AS $$ SELECT floor(random() * n)::int $$;
CREATE FUNCTION random_space() RETURNS text LANGUAGE sql VOLATILE AS
$$ SELECT (ARRAY['a', 'b', 'c', 'd', NULL])[1 + random_int(5)] $$;

-- One write that may find nothing to do.
CREATE PROCEDURE random_write() LANGUAGE plpgsql AS $$
DECLARE
    k int := random_int(30);
    d uuid := ('00000000-0000-0000-0000-00000000000' || 1 + random_int(3))::uuid;
BEGIN
    CASE random_int(16)
    WHEN 0, 1, 2 THEN
        INSERT INTO note (no, tag, space, folder, body) VALUES (k, 't', random_space(), NULL, 'new ' || random_int(1000))
            ON CONFLICT DO NOTHING;
    WHEN 3, 4 THEN UPDATE note SET body = 'text ' || random_int(1000) WHERE no = k;
    WHEN 5 THEN UPDATE note SET space = random_space() WHERE no = k;
    WHEN 6 THEN DELETE FROM note WHERE no = k;
    WHEN 7 THEN UPDATE note SET tag = 't' || random() WHERE no = k;
    WHEN 8 THEN INSERT INTO folder VALUES (k, random_space(), NULL, 'new', 1.50) ON CONFLICT (id) DO UPDATE SET title = 'again';
    WHEN 9 THEN
        IF random() < 0.5 THEN
            DELETE FROM folder WHERE id = k;
        ELSE
            UPDATE note SET folder = (SELECT max(id) FROM folder WHERE id <= k) WHERE no = k;
        END IF;
    WHEN 10 THEN INSERT INTO pin VALUES (chr(97 + k % 4), 'pin ' || k % 7, 'blue') ON CONFLICT DO NOTHING;
    WHEN 11 THEN UPDATE pin SET space = chr(97 + random_int(4)), color = 'c' || k WHERE name = 'pin ' || k % 7
        AND NOT EXISTS (SELECT FROM pin p WHERE p.name = 'pin ' || k % 7 OFFSET 1);
    WHEN 12 THEN
        IF random() < 0.1 THEN
            TRUNCATE pin;
        ELSE
            UPDATE late SET space = random_space(), title = title || '.' WHERE id = k;
        END IF;
    WHEN 13 THEN INSERT INTO setting VALUES ('s' || k % 5, k) ON CONFLICT (name) DO UPDATE SET value = EXCLUDED.value;
    WHEN 14 THEN PERFORM sync_grant_scope(d, (ARRAY['a', 'b', 'c', 'd', ''])[1 + random_int(5)]);
    ELSE PERFORM sync_revoke_scope(d, s) FROM (SELECT s FROM scopes(d) s ORDER BY random() LIMIT 1) x;
    END CASE;
END
$$;

CREATE TABLE seen_difference (seed float8, round int, device uuid, side text, table_name text, key jsonb, cells jsonb);

CREATE PROCEDURE random_run(seed float8, rounds int) LANGUAGE plpgsql AS $$
DECLARE
    d        uuid;
    x        int;
    y        int;
    is_more  boolean;
BEGIN
    PERFORM setseed(seed);
    FOR round IN 1 .. rounds LOOP
        IF round = rounds / 2 THEN
            -- with other writes in the same transaction
            CALL random_write();
            PERFORM sync_enable_table('late', 'space') WHERE NOT EXISTS (SELECT FROM sync_tables WHERE table_name = 'late');
            CALL random_write();
            COMMIT;
        END IF;
        FOR i IN 0 .. random_int(6) LOOP
            FOR j IN 0 .. random_int(4) LOOP
                CALL random_write();
                IF random() < 0.2 THEN
                    BEGIN
                        CALL random_write();
                        RAISE division_by_zero;
                    EXCEPTION WHEN division_by_zero THEN
                        NULL;
                    END;
                END IF;
            END LOOP;
            IF random() < 0.1 THEN
                ROLLBACK;
            ELSE
                COMMIT;
            END IF;
        END LOOP;

        -- some pages for some device; and now and then everything for all
        d := ('00000000-0000-0000-0000-00000000000' || 1 + random_int(3))::uuid;
        CALL pull_pages(d, 1 + random_int(4), (ARRAY[1, 2, 7])[1 + random_int(3)], x, y, is_more);
        IF round % 10 = 0 OR round = rounds THEN
            FOREACH d IN ARRAY ARRAY(SELECT device FROM device.replica ORDER BY device) LOOP
                CALL pull_pages(d, 10000, (ARRAY[1, 7, 1000])[1 + random_int(3)], x, y, is_more);
                INSERT INTO seen_difference SELECT seed, round, d, f.* FROM differences(d) f;
                CALL pull_pages(d, 1, 1000, x, y, is_more);
                IF x > 0 OR is_more THEN
                    INSERT INTO seen_difference VALUES (seed, round, d, 'again');
                END IF;
                COMMIT;
            END LOOP;
        END IF;
    END LOOP;
END
$$;

SELECT coalesce(nullif(current_setting('test.seed', true), ''), round(random()::numeric, 6)::text)::float8 AS seed \gset
CALL random_run(:seed, 300);
SELECT is_empty('SELECT * FROM seen_difference', 'random writes and pages, seed ' || :'seed');
SELECT isnt_empty('SELECT * FROM device.base_row b JOIN sync_tables t USING (table_name) WHERE table_name = ''late''',
                  'a table that was enabled meanwhile came, too');

-- ---------------------------------------------------------------------------
-- Starting again
-- ---------------------------------------------------------------------------

-- a vector from a future that this database never had
SELECT is(x->'reset', 'true', 'a vector from a lost future is answered with a reset')
FROM (SELECT sync_changes_since(:two, jsonb_build_object(sync_node(), 4000000000)::text::version_vector, 1)::text::jsonb AS x
      OFFSET 0) s;
INSERT INTO device.base_row VALUES (:two, 'note', '{"no": -1, "tag": "lost"}', '{"space": "a"}');
UPDATE device.replica SET vector = jsonb_build_object(sync_node(), 4000000000), resume = NULL WHERE device = :two;
CALL pull_pages(:two, 1000, 5);
SELECT is_empty('SELECT * FROM differences(' || quote_literal(:two) || ')', 'and the device ends with what there is');

-- a device that was silent for too long
UPDATE offline_sync.device SET last_ack_at = now() - interval '91 days', registered_at = now() - interval '100 days'
    WHERE device = :two;
UPDATE device.base_row SET cells = '{"outdated": true}' WHERE device = :two;
CALL pull_pages(:two, 1000, 5);
SELECT is_empty('SELECT * FROM differences(' || quote_literal(:two) || ')', 'an expired device starts again');
SELECT sync_ack(:two, device.vector(:two)::version_vector);
SELECT is((SELECT count(*) FROM delta_changes(sync_changes_since(:two, device.vector(:two)::version_vector))), 0::bigint,
          'and goes on once it has acknowledged');

-- a revoked device forgets everything
SELECT sync_revoke_device(:three);
CALL pull_pages(:three, 10, 1000);
SELECT is_empty('SELECT * FROM device.base_row WHERE device = ' || quote_literal(:three), 'a revoked device keeps nothing');

-- ---------------------------------------------------------------------------
-- What is refused
-- ---------------------------------------------------------------------------

SELECT throws_ok(format('SELECT sync_changes_since(%L, %L, 0)', :one, '{}'), '22023', NULL, 'no room at all');
SELECT throws_ok($$ SELECT sync_changes_since('00000000-0000-0000-0000-00000000ffff', '{}') $$, '42704', NULL, 'no such device');
SELECT throws_ok($$ SELECT sync_changes_since(NULL, '{}') $$, '22004', NULL, 'no device');
SELECT lives_ok(format('SELECT sync_changes_since(%L, NULL)', :one), 'a vector that is NULL is empty');
SELECT throws_ok(format('SELECT sync_changes_since(%L, %L, 1000, %L)', :one, '{}', r), '22023', NULL, 'resume ' || quote_literal(r))
FROM unnest(ARRAY['', '1', '1:', '2:00', '1:0', '1:zz', '1:ff', '1:00', '1:0101', '1:01', '1:' || repeat('ff', 100),
                  -- a count of keys, and a length, that cannot be
                  '1:0100000001' || 'ffffffff07', '1:01000000010161ff']) r;

-- every cut of a token, and every change of one byte, is refused or served
CREATE FUNCTION try_tokens(me uuid, token text) RETURNS int LANGUAGE plpgsql AS $$
DECLARE
    n int := 0;
    t text;
BEGIN
    FOR i IN 0 .. length(token) - 1 LOOP
        FOREACH t IN ARRAY ARRAY[left(token, i), overlay(token PLACING '0' FROM i + 1), overlay(token PLACING 'f' FROM i + 1)] LOOP
            BEGIN
                PERFORM sync_changes_since(me, '{}', 3, t);
            EXCEPTION WHEN data_exception THEN
                n := n + 1;
            END;
        END LOOP;
    END LOOP;
    RETURN n;
END
$$;
SELECT sync_grant_scope(:one, 'a');
SELECT cmp_ok(try_tokens(:one, delta_resume(sync_changes_since(:one, '{}', 3))), '>', 10, 'damaged tokens get an error, nothing else');

BEGIN TRANSACTION READ ONLY ISOLATION LEVEL REPEATABLE READ;
SELECT lives_ok(format('SELECT sync_changes_since(%L, %L)', :one, '{}'), 'in a read-only transaction');
COMMIT;

SELECT * FROM finish();
