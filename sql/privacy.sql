--
-- Privacy: what is forgotten is really gone from the state tables
--
\set VERBOSITY terse
\set a '\'00000000-0000-0000-0000-0000000000a2\''
\set b '\'00000000-0000-0000-0000-0000000000b2\''
CREATE FUNCTION raised(statement text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE statement;
    RETURN 'nothing';
EXCEPTION WHEN OTHERS THEN
    RETURN sqlstate || ': ' || sqlerrm;
END $$;
-- in which state tables, columns as text, is this string?  Bytes as such, too.
CREATE FUNCTION kept_in(needle text) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
    t regclass;
    n bigint;
BEGIN
    FOR t IN SELECT oid FROM pg_class WHERE relnamespace = 'offline_sync'::regnamespace AND relkind = 'r' ORDER BY relname LOOP
        EXECUTE format('SELECT count(*) FROM %s x WHERE strpos(x::text, $1) > 0 OR strpos(x::text, encode($1::bytea, ''hex'')) > 0', t)
            INTO n USING needle;
        IF n > 0 THEN
            RETURN NEXT format('%s %s', t, n);
        END IF;
    END LOOP;
END $$;
CREATE FUNCTION delta(d uuid, context text, first_seq int, VARIADIC changes text[]) RETURNS delta LANGUAGE sql AS $$
SELECT format('{"format": 1, "replica": "%s", "context": %s, "changes": [%s]}', d, context,
    (SELECT string_agg(format('{"seq": %s, "hlc": "2026-01-01T10:00:00.000Z/0", "table": "letter", %s}', first_seq + n - 1, c), ', ' ORDER BY n)
     FROM unnest(changes) WITH ORDINALITY AS u(c, n)))::delta
$$;
CREATE FUNCTION push(d uuid, context text, first_seq int, VARIADIC changes text[])
RETURNS TABLE (status text, outcomes text) LANGUAGE sql AS $$
SELECT r.status, (SELECT string_agg(concat_ws(' ', o ->> 'seq', o ->> 'outcome', o ->> 'reason'), '; ')
    FROM jsonb_array_elements(r.outcomes) AS o)
FROM sync_apply_delta(delta(d, context, first_seq, VARIADIC changes)) AS r
$$;

CREATE TABLE letter (id int PRIMARY KEY, body text CHECK (body <> 'refused secret-r'), note text DEFAULT 'secret-default');
SELECT sync_enable_table('letter', policies => '{"note": "manual"}', options => '{"audit": "full"}');
SELECT sync_register_device(:a, label => 'label-a', public_key => decode(repeat('ab', 32), 'hex'), class => 'class-a') IS NOT NULL AS a,
       sync_register_device(:b, label => 'label-b') IS NOT NULL AS b;

-- a's values, met by b's; both in one delta with other rows
SELECT * FROM push(:a, '{}', 1, '"key": {"id": 1}, "insert": {"body": "secret-a1", "note": "secret-a2"}',
                                '"key": {"id": 2}, "insert": {"body": "secret-a3"}',
                                '"key": {"id": 3}, "insert": {"body": "refused secret-r"}');
SELECT * FROM push(:b, '{}', 1, '"key": {"id": 1}, "set": {"body": "secret-b1", "note": "secret-b2"}',
                                '"key": {"id": 2}, "set": {"body": "secret-b3"}',
                                '"key": {"id": 9}, "insert": {"body": "plain-b"}');
SELECT * FROM push(:a, '{}', 4, '"key": {"id": 1}, "set": {"body": "secret-a4"}', '"key": {"id": 9}, "set": {"body": "plain-a"}');

-- A row that is there, or never was, is not purged
SELECT raised($$SELECT sync_purge_row('letter', '{"id": 1}')$$);
SELECT raised($$SELECT sync_purge_row('letter', '{"id": 77}')$$);
SELECT raised($$SELECT sync_purge_row('letter', '{"body": 1}')$$);
SELECT raised($$SELECT sync_purge_row('letter', NULL)$$);
CREATE ROLE regress_privacy;
GRANT ALL ON letter TO regress_privacy;
SET ROLE regress_privacy;
SELECT raised($$SELECT sync_purge_row('letter', '{"id": 1}')$$);
SELECT raised(format('SELECT sync_forget_device(%L)', :a));
RESET ROLE;
SELECT sync_changes_since(:b, '{}') IS NOT NULL AS pulled;
SELECT delta_to(sync_changes_since(:b, '{}')) AS seen \gset

DELETE FROM letter WHERE id = 1;
SELECT kept_in('secret-b1');
SELECT kept_in('secret-a4');
SELECT sync_purge_row('letter', '{"id": "1"}');
SELECT needle, kept_in(needle) FROM unnest('{secret-a1,secret-a2,secret-a4,secret-b1,secret-b2}'::text[]) needle;
-- the others are
SELECT kept_in('secret-a3');
SELECT kept_in('plain-a');
-- the deletion reaches devices
SELECT c.kind, c.key, c.changes FROM delta_changes(sync_changes_since(:b, :'seen')) c WHERE c.key = '{"id": 1}';
-- sent again: it is what was sent, as far as anybody knows; but not another row or kind
SELECT * FROM push(:a, '{}', 1, '"key": {"id": 1}, "insert": {"body": "secret-a1", "note": "secret-a2"}',
                                '"key": {"id": 2}, "insert": {"body": "secret-a3"}');
SELECT * FROM push(:a, '{}', 1, '"key": {"id": 5}, "insert": {"body": "secret-a1", "note": "secret-a2"}');
SELECT * FROM push(:a, '{}', 1, '"key": {"id": 1}, "set": {"body": "secret-a1"}');
SELECT * FROM push(:a, '{}', 2, '"key": {"id": 2}, "insert": {"body": "other"}');
SELECT outcomes IS NOT NULL FROM push(:a, '{}', 4, '"key": {"id": 1}, "set": {"body": "secret-a4"}');
-- it left nothing: but a refused delta is kept, with what it says
SELECT needle, kept_in(needle) FROM unnest('{secret-a4,secret-b1,secret-b2}'::text[]) needle;
SELECT device, seq, operation, outcome, incoming, previous FROM sync_audit WHERE key = '{"id": 1}' AND device = :b ORDER BY seq;
-- a change of it that comes later finds it deleted
SELECT * FROM push(:b, '{}', 4, '"key": {"id": 1}, "set": {"body": "later"}');
-- deleted and purged in one transaction
BEGIN;
INSERT INTO letter VALUES (4, 'secret-t');
DELETE FROM letter WHERE id = 4;
SELECT sync_purge_row('letter', '{"id": 4}');
COMMIT;
SELECT kept_in('secret-t');
-- under row security, too, which nobody can ask any more
CREATE TABLE own (id int PRIMARY KEY, owner name);
ALTER TABLE own ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON own USING (owner = current_user);
GRANT SELECT ON own TO regress_privacy;
SELECT sync_enable_table('own');
SELECT sync_register_device('00000000-0000-0000-0000-0000000000c2', owner => 'regress_privacy') IS NOT NULL AS c;
INSERT INTO own VALUES (1, 'regress_privacy'), (2, 'regress_privacy'), (3, 'somebody');
SET ROLE regress_privacy;
SELECT delta_to(sync_changes_since('00000000-0000-0000-0000-0000000000c2', '{}')) AS seen_c \gset
RESET ROLE;
DELETE FROM own;
SELECT sync_purge_row('own', '{"id": 1}');
SET ROLE regress_privacy;
SELECT c.kind, c.table_name, c.key FROM delta_changes(sync_changes_since('00000000-0000-0000-0000-0000000000c2', :'seen_c')) c WHERE c.table_name = 'own' ORDER BY 3;
RESET ROLE;
-- a row that was refused
SELECT sync_purge_row('letter', '{"id": 3}');
SELECT kept_in('secret-r');

-- A device
SELECT count(*) > 0 AS met FROM kept_in('secret-a3');
SELECT sync_forget_device(:a);
SELECT needle, kept_in(needle) FROM unnest('{secret-a,plain-a,label-a,class-a,abababab}'::text[]) needle;
SELECT kept_in('plain-b');
SELECT first_seq, last_seq, role, outcomes, delta FROM offline_sync.journal WHERE device = :a AND last_seq > 0 ORDER BY last_seq;
SELECT status, label FROM sync_devices WHERE device = :a;
SELECT * FROM push(:a, '{}', 1, '"key": {"id": 2}, "insert": {"body": "secret-a3"}');
SELECT count(*) FROM kept_in('secret-a3');
SELECT c.kind, c.changes FROM delta_changes(sync_changes_since(:a, '{}')) c;
SELECT count(*) FROM sync_audit WHERE device = :a AND outcome <> 'rejected';
-- what it wrote stays in the tables; others go on
SELECT id, body, note FROM letter ORDER BY id;
SELECT status FROM push(:b, '{}', 5, '"key": {"id": 2}, "set": {"body": "b"}');
SELECT raised($$SELECT sync_forget_device('00000000-0000-0000-0000-0000000000ff')$$);
SELECT raised($$SELECT sync_forget_device(NULL)$$);
DROP OWNED BY regress_privacy;
DROP ROLE regress_privacy;
