-- The node's identity, its registration, and what sync_new_incarnation() does
\set ECHO none
\set QUIET on
\pset format unaligned
\pset tuples_only on
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pgtap;
CREATE EXTENSION IF NOT EXISTS offline_sync;

SELECT plan(27);

CREATE TABLE item (id int PRIMARY KEY, title text);
CREATE VIEW nodes AS SELECT * FROM offline_sync.node ORDER BY id;
-- of a transaction that wrote this row alone
CREATE FUNCTION position_of(of_id int) RETURNS xid8 LANGUAGE sql AS $$
    SELECT max(l.xid::text::bigint)::text::xid8 FROM offline_sync.change_log l
    WHERE l.key = convert_to(chr(length(of_id::text)) || of_id, 'UTF8') $$;

-- identity
SELECT matches(sync_node()::text, '^.{14}8.{4}[89ab]', 'the identity is a uuid of version 8');
SELECT is(sync_node(), sync_node(), 'and stays');
SELECT provolatile = 's' AND proparallel = 's' AND proisstrict AS ok
FROM pg_proc WHERE oid = 'sync_node()'::regprocedure \gset
SELECT ok(:'ok', 'sync_node() is stable and parallel safe');
BEGIN READ ONLY;
SELECT isnt(sync_node(), NULL, 'reading it writes nothing');
COMMIT;
SELECT is_empty('SELECT * FROM nodes', 'a node is not registered before it writes');

-- registration
BEGIN;
SELECT sync_enable_table('item');
SELECT is((SELECT node FROM nodes), sync_node(), 'its first write registers it');
ROLLBACK;
SELECT is_empty('SELECT * FROM nodes', 'a rollback takes the registration back');
BEGIN;
SAVEPOINT s;
SELECT sync_enable_table('item');
ROLLBACK TO s;
SELECT is_empty('SELECT * FROM nodes', 'that of a subtransaction, too');
SELECT sync_enable_table('item');
SELECT is((SELECT id FROM nodes), 1, 'and it is registered again');
COMMIT;
INSERT INTO item VALUES (1, 'a');
INSERT INTO item VALUES (2, 'b');
SELECT is((SELECT count(*) FROM nodes), 1::bigint, 'once');
SELECT ok((SELECT began_xid <= position_of(1) AND final_xid IS NULL FROM nodes),
          'its row says where it began, not yet where it ended');
SELECT results_eq('SELECT DISTINCT e.node, e.replica FROM item, row_clock_entries(_sync) e',
                  'SELECT sync_node(), sync_node()', 'its stamps name it');

-- a new incarnation
SELECT sync_node() AS first \gset
BEGIN;
SELECT isnt(sync_new_incarnation(), :'first'::uuid, 'a new incarnation is another node');
UPDATE item SET title = 'c' WHERE id = 1;
SELECT is((SELECT count(*) FROM nodes), 2::bigint, 'which its first write registers');
ROLLBACK;
SELECT is(sync_node(), :'first'::uuid, 'a rollback brings the old identity back');
SELECT is((SELECT count(*) FROM nodes), 1::bigint, 'and only it');
UPDATE item SET title = 'd' WHERE id = 2;
SELECT position_of(2) AS last \gset
SELECT sync_new_incarnation() AS second \gset
SELECT is(sync_node(), :'second'::uuid, 'the new identity lasts');
SELECT is((SELECT count(*) FROM nodes), 1::bigint, 'it has not written yet');
UPDATE item SET title = 'e' WHERE id = 1;
SELECT results_eq('SELECT id, node FROM nodes', format('VALUES (1, %L::uuid), (2, %L)', :'first', :'second'),
                  'ids ascend in order of succession');
SELECT is((SELECT final_xid FROM nodes WHERE id = 1), :'last'::xid8,
          'the predecessor''s row says which position it stored last');
SELECT is((SELECT node FROM offline_sync.change_log WHERE xid = position_of(1)), 2,
          'new entries are the new node''s');
SELECT results_eq('SELECT DISTINCT e.node FROM item, row_clock_entries(_sync) e WHERE id = 2',
                  format('SELECT %L::uuid', :'first'), 'old stamps keep the old node');

SELECT throws_ok($$ DO 'BEGIN UPDATE item SET title = ''f''; PERFORM sync_new_incarnation(); END' $$, '25001',
                 'sync_new_incarnation() cannot run in a transaction that has written to a tracked table',
                 'an identity does not change under a transaction that writes');
BEGIN READ ONLY;
SELECT throws_ok('SELECT sync_new_incarnation()', '25006', NULL, 'nor in a read-only one');
COMMIT;
CREATE ROLE regress_node;
SET ROLE regress_node;
SELECT throws_ok('SELECT sync_new_incarnation()', '42501', NULL, 'nor by everybody');
SELECT isnt(sync_node(), NULL, 'who may yet ask for it');
RESET ROLE;
DROP ROLE regress_node;

-- a prepared transaction stores what it captured when it is prepared
SELECT current_setting('max_prepared_transactions')::int > 0 AS can_prepare \gset
\if :can_prepare
BEGIN;
UPDATE item SET title = 'g' WHERE id = 2;
SELECT pg_current_xact_id() AS prepared \gset
PREPARE TRANSACTION 'offline_sync_node';
COMMIT PREPARED 'offline_sync_node';
SELECT is(position_of(2), :'prepared'::xid8, 'a prepared transaction keeps its entries');
\else
SELECT skip('prepared transactions are disabled');
\endif

SELECT * FROM finish();
