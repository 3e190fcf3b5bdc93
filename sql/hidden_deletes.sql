--
-- A device deletes nothing that its role cannot see, not in a tombstone either
--
CREATE TABLE hidden (id int PRIMARY KEY, owner name DEFAULT current_user, body text);
ALTER TABLE hidden ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON hidden USING (owner = current_user);
CREATE TABLE parted (id int PRIMARY KEY, owner name DEFAULT current_user, body text) PARTITION BY RANGE (id);
CREATE TABLE parted_low PARTITION OF parted FOR VALUES FROM (0) TO (10);
CREATE TABLE parted_high PARTITION OF parted FOR VALUES FROM (10) TO (20);
ALTER TABLE parted ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON parted USING (owner = current_user);
CREATE ROLE regress_hidden_ann;
GRANT SELECT, INSERT, UPDATE, DELETE ON hidden, parted TO regress_hidden_ann;
SELECT sync_enable_table('hidden'), sync_enable_table('parted');
SELECT sync_register_device('00000000-0000-0000-0000-00000000000a', owner => 'regress_hidden_ann') IS NOT NULL AS a;

CREATE FUNCTION push(first_seq int, VARIADIC changes text[])
RETURNS TABLE (status text, outcomes text) LANGUAGE sql AS $$
SELECT r.status, (SELECT string_agg(concat_ws(' ', o ->> 'seq', o ->> 'outcome', o ->> 'reason', o ->> 'message'), '; ')
    FROM jsonb_array_elements(r.outcomes) AS o)
FROM sync_apply_delta(format('{"format": 1, "replica": "00000000-0000-0000-0000-00000000000a", "context": {}, "changes": [%s]}',
    (SELECT string_agg(format('{"seq": %s, "hlc": "2026-01-01T10:00:00.000Z/0", %s}', first_seq + n - 1, c), ', ' ORDER BY n)
     FROM unnest(changes) WITH ORDINALITY AS u(c, n)))::delta) AS r
$$;
CREATE FUNCTION deletes(OUT relation text, OUT key jsonb, OUT deletes int) RETURNS SETOF record LANGUAGE sql AS $$
SELECT t.wire_name, offline_sync.row_key_json(d.table_id, d.key), 
       (SELECT count(*)::int FROM jsonb_array_elements(d.clock::text::jsonb -> 'stamps') s WHERE s ? 'floor')
FROM offline_sync.tombstone d JOIN offline_sync.tracked_table t USING (table_id) ORDER BY 1, 2
$$;

-- what was hidden when it was deleted (1), and a row made since, beside a tombstone that
-- could be seen (2); her own (3)
INSERT INTO hidden VALUES (1, 'somebody', 'x'), (2, 'regress_hidden_ann', 'hers'), (3, 'regress_hidden_ann', 'hers'),
                          (4, 'regress_hidden_ann', 'hers');
INSERT INTO parted VALUES (2, 'regress_hidden_ann', 'hers'), (12, 'regress_hidden_ann', 'hers'), (13, 'regress_hidden_ann', 'hers');
DELETE FROM hidden WHERE id < 4;
DELETE FROM parted;
INSERT INTO hidden VALUES (2, 'somebody', 'not hers any more');
INSERT INTO parted VALUES (2, 'somebody', 'x'), (12, 'somebody', 'x');
SELECT * FROM deletes();
SET ROLE regress_hidden_ann;
SELECT * FROM push(1, '"table": "hidden", "key": {"id": 1}, "delete": true',
                      '"table": "hidden", "key": {"id": 2}, "delete": true',
                      '"table": "hidden", "key": {"id": 3}, "delete": true',
                      '"table": "parted", "key": {"id": 2}, "delete": true',
                      '"table": "parted", "key": {"id": 12}, "delete": true',
                      '"table": "parted", "key": {"id": 13}, "delete": true');
-- twice in one push; and what she may not know of is as if it had never been
SELECT * FROM push(7, '"table": "hidden", "key": {"id": 4}, "delete": true',
                      '"table": "hidden", "key": {"id": 4}, "delete": true',
                      '"table": "hidden", "key": {"id": 1}, "set": {"body": "y"}',
                      '"table": "hidden", "key": {"id": 99}, "set": {"body": "y"}');
RESET ROLE;
SELECT * FROM deletes();
DROP OWNED BY regress_hidden_ann;
DROP ROLE regress_hidden_ann;
