--
-- Pushing deltas: what becomes of each change, and what the device is told back
--
SET client_min_messages = warning;
CREATE SCHEMA apply_test;
SET search_path = apply_test, public;

CREATE TABLE calendar (name text PRIMARY KEY, colour text);
CREATE TABLE meeting (
    id uuid PRIMARY KEY,
    calendar text NOT NULL REFERENCES calendar ON DELETE CASCADE,
    title text NOT NULL CHECK (title <> ''),
    place text DEFAULT 'here',
    seats int NOT NULL DEFAULT 0,
    attendees orset,
    title_length int GENERATED ALWAYS AS (length(title)) STORED
);
SELECT sync_enable_table('calendar', options => '{"name": "calendar"}');
SELECT sync_enable_table('meeting', policies => '{"seats": "counter"}', options => '{"name": "meeting"}');
INSERT INTO calendar VALUES ('work', 'red');

SELECT sync_register_device('00000000-0000-0000-0000-00000000000a', label => 'ann') IS NOT NULL AS a;
SELECT sync_register_device('00000000-0000-0000-0000-00000000000b', label => 'bob') IS NOT NULL AS b;
SELECT sync_register_device('00000000-0000-0000-0000-00000000000c', label => 'cid') IS NOT NULL AS c;

-- delta_text(device, first seq, context, changes): '00 m1, ...' is a change at minute 00 of meeting 1
CREATE FUNCTION delta_text(device char, first_seq int, context text, VARIADIC changes text[])
RETURNS text LANGUAGE sql STABLE AS $$
SELECT format('{"format": 1, "replica": "00000000-0000-0000-0000-00000000000%s", "context": %s, "changes": [%s]}',
    device, context,
    (SELECT string_agg(format('{"seq": %s, %s}', first_seq + n - 1,
        regexp_replace(regexp_replace(c, '^(\d+) ', '"hlc": "2026-01-01T10:\1:00.000Z/0", "table": "meeting", "key": '),
            '\mm(\d)\M', '{"id": "00000000-0000-0000-0000-000000000\1\1\1"}')), ', ' ORDER BY n)
     FROM unnest(changes) WITH ORDINALITY AS u(c, n)))
$$;
CREATE FUNCTION push(device char, first_seq int, context text, VARIADIC changes text[])
RETURNS TABLE (status text, acked bigint, counts text, conflicts int, outcomes text, corrections text)
LANGUAGE sql VOLATILE AS $$
SELECT r.status, r.acked_seq,
    format('%s/%s/%s/%s', r.applied, r.merged, r.superseded, r.rejected), r.conflicts,
    (SELECT string_agg(concat_ws(' ', o ->> 'seq', o ->> 'outcome', o ->> 'reason', o ->> 'sqlstate', o ->> 'constraint', o ->> 'column'), '; ')
     FROM jsonb_array_elements(r.outcomes) AS o),
    (SELECT string_agg(concat_ws(' ', c.kind, right(c.key ->> 'id', 3), c.changes::text), '; ')
     FROM delta_changes(r.corrections) AS c)
FROM sync_apply_delta(delta_text(device, first_seq, context, VARIADIC changes)::delta) AS r
$$;
CREATE FUNCTION seen_all() RETURNS text LANGUAGE sql VOLATILE AS
$$ SELECT format('{"%s": %s}', sync_node(), pg_snapshot_xmax(pg_current_snapshot())) $$;
CREATE VIEW show AS
SELECT right(id::text, 3) AS m, title, place, seats, attendees::text[], title_length FROM meeting ORDER BY id;

-- An insert: defaults and generated columns come back as corrections
SELECT * FROM push('a', 1, '{}', '00 m1, "insert": {"calendar": "work", "title": "Standup", "seats": 10, "attendees": ["ann"]}');
SELECT * FROM show;

-- The same again changes nothing and gives the same answer
SELECT * FROM push('a', 1, '{}', '00 m1, "insert": {"calendar": "work", "title": "Standup", "seats": 10, "attendees": ["ann"]}');
-- ... other content under the same seq is refused
SELECT * FROM push('a', 1, '{}', '00 m1, "insert": {"calendar": "work", "title": "Lunch", "seats": 10, "attendees": ["ann"]}');
-- ... an overlap applies its tail only
SELECT * FROM push('a', 1, '{}',
    '00 m1, "insert": {"calendar": "work", "title": "Standup", "seats": 10, "attendees": ["ann"]}',
    '01 m1, "increment": {"seats": -1}');
-- ... and a gap nothing
SELECT * FROM push('a', 4, '{}', '02 m1, "set": {"title": "Gap"}');
SELECT * FROM show;

-- Several changes of a row fold into one write
SELECT * FROM push('a', 3, '{}',
    '03 m1, "set": {"title": "Daily"}',
    '04 m1, "set": {"title": "Daily standup"}, "increment": {"seats": -1}, "add": {"attendees": ["cid"]}',
    '05 m1, "increment": {"seats": -1}');
SELECT * FROM show;

-- Concurrent writes of another device: earlier loses, later wins; counters and sets merge
SELECT * FROM push('b', 1, '{}',
    '02 m1, "set": {"title": "Too early", "place": "there"}, "increment": {"seats": 5}, "add": {"attendees": ["bob"]}');
SELECT * FROM push('b', 2, '{}', '30 m1, "set": {"title": "Later"}, "remove": {"attendees": ["ann", "bob"]}');
SELECT * FROM show;

-- Causality before clocks: a device that has seen it wins with the earlier clock
SELECT * FROM push('a', 6, seen_all(), '06 m1, "set": {"title": "Seen"}, "remove": {"attendees": ["ann"]}');
SELECT * FROM show;

-- Bad changes are outcomes, the rest applies
SELECT * FROM push('a', 7, seen_all(),
    '07 m1, "set": {"title": ""}',
    '07 m1, "set": {"nothing": 1}',
    '07 m1, "set": {"seats": 1}',
    '07 m1, "increment": {"title": 1}',
    '07 m1, "increment": {"seats": "many"}',
    '07 m1, "increment": {"seats": 2147483647}',
    '07 m1, "set": {"title_length": 1}',
    '07 m2, "set": {"title": "Nobody"}',
    '07 m2, "insert": {"calendar": "home", "title": "No such calendar"}',
    '07 m9, "insert": {"calendar": "work"}',
    '07 {"id": "no uuid"}, "delete": true',
    '07 {"nr": 1}, "delete": true',
    '07 m3, "insert": {"calendar": "work", "title": "Good"}');
SELECT * FROM show;

-- A group stands or falls together
SELECT * FROM push('a', 20, seen_all(),
    '20 m4, "insert": {"calendar": "work", "title": "In a group"}, "group": 1',
    '20 m5, "insert": {"calendar": "work", "title": ""}, "group": 1',
    '20 m6, "insert": {"calendar": "work", "title": "In another"}, "group": 2',
    '20 m6, "set": {"title": "Both apply"}, "group": 2');
SELECT * FROM show;

-- Deletes win over updates that had not seen them, and are recorded as conflicts
SELECT * FROM push('a', 24, seen_all(), '24 m3, "delete": true');
SELECT * FROM push('b', 3, '{}', '40 m3, "set": {"title": "Unaware"}');
SELECT * FROM push('b', 4, '{}', '41 m1, "delete": true');
-- ... one that had seen it knows that the row is gone
SELECT * FROM push('b', 5, seen_all(), '42 m3, "set": {"title": "Aware"}');
-- ... or brings it back, fresh
SELECT * FROM push('b', 6, seen_all(), '43 m3, "insert": {"calendar": "work", "title": "Back"}');
-- ... which does not save an update that has not seen the delete
SELECT * FROM push('c', 1, '{}', '50 m3, "set": {"title": "Still unaware"}');
SELECT * FROM show;
SELECT count(*) AS floor FROM meeting, row_clock_floor(_sync) WHERE title = 'Back';

-- Made and deleted in one delta, deleted and made again in one delta
SELECT * FROM push('a', 25, seen_all(),
    '51 m7, "insert": {"calendar": "work", "title": "Short-lived"}',
    '51 m7, "delete": true',
    '52 m6, "delete": true',
    '53 m6, "insert": {"calendar": "work", "title": "Again"}');
SELECT * FROM show;
SELECT count(*) AS tombstones FROM offline_sync.tombstone;

-- Foreign keys: parents and children in one delta; a cascade is the node's delete
CREATE FUNCTION in_calendar(change text) RETURNS text LANGUAGE sql IMMUTABLE AS
$$ SELECT '"hlc": "2026-01-01T10:54:00.000Z/0", "table": "calendar", "key": {"name": "home"}, ' || change $$;
SELECT * FROM push('a', 29, seen_all(),
    in_calendar('"insert": {"colour": "blue"}'),
    '54 m8, "insert": {"calendar": "home", "title": "At home"}');
SELECT * FROM push('a', 31, seen_all(), in_calendar('"delete": true'));
SELECT * FROM show;

-- Scopes: without the right to push, an outcome
SELECT sync_revoke_scope('00000000-0000-0000-0000-00000000000b', '');
SELECT * FROM push('b', 7, seen_all(), '55 m6, "set": {"title": "Not mine"}', '55 m9, "insert": {"calendar": "work", "title": "Nor this"}');
SELECT sync_revoke_device('00000000-0000-0000-0000-00000000000b');
SELECT * FROM push('b', 9, seen_all(), '56 m6, "set": {"title": "Revoked"}');

-- A clock far ahead is pulled back
SELECT r.status, r.outcomes -> 0 ->> 'clock' AS clock, r.hlc::timestamptz < now() + interval '1 day' AS sane
FROM sync_apply_delta(replace(delta_text('a', 32, seen_all(), '57 m6, "set": {"title": "From the future"}'), '2026-01-01', '2126-01-01')::delta) AS r;

-- What the trigger of a user makes of a row goes back to the device
CREATE FUNCTION shout() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN NEW.title := upper(NEW.title); NEW.place := 'by trigger'; RETURN NEW; END $$;
CREATE TRIGGER shout BEFORE INSERT OR UPDATE ON meeting FOR EACH ROW EXECUTE FUNCTION shout();
SELECT * FROM push('a', 33, seen_all(), '58 m6, "set": {"title": "loud"}');
SELECT column_name, replica = sync_node() AS by_node FROM meeting, row_clock_entries('meeting'::regclass, _sync)
WHERE title = 'LOUD' AND column_name IN ('title', 'place') ORDER BY 1;

-- Users' triggers run under the caller's settings, search_path included
CREATE TABLE note (text text);
CREATE FUNCTION take_note() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN INSERT INTO note VALUES (current_setting('TimeZone') || ' ' || NEW.title); RETURN NULL; END $$;
CREATE TRIGGER take_note AFTER UPDATE ON meeting FOR EACH ROW EXECUTE FUNCTION take_note();
SET TimeZone = 'Asia/Tokyo';
SELECT status, outcomes FROM push('a', 34, seen_all(), '59 m6, "set": {"title": "noted"}');
RESET TimeZone;
SELECT * FROM note;

-- A row made and, by a cascade, deleted in one delta leaves its tombstone
SELECT * FROM push('a', 35, seen_all(),
    in_calendar('"insert": {"colour": "green"}'),
    '59 m8, "insert": {"calendar": "home", "title": "Back home"}',
    in_calendar('"delete": true'));
SELECT count(*) AS tombstones FROM offline_sync.tombstone t JOIN offline_sync.tracked_table USING (table_id)
WHERE wire_name = 'meeting' AND t.key = '\x10' || uuid_send('00000000-0000-0000-0000-000000000888');

-- All of a refused change is taken back, also what it says after the bad value
SELECT sync_register_device('00000000-0000-0000-0000-00000000000d', label => 'dan') IS NOT NULL AS d;
SELECT outcomes, corrections FROM push('d', 1, seen_all(),
    '50 m3, "set": {"place": 1, "seats": 1, "title": "Not a counter", "title_length": 3}, "add": {"attendees": ["dan"]}');

-- What follows a push in its transaction is told, too: the answer knew nothing of it
SELECT pg_snapshot_xmax(pg_current_snapshot()) AS xmax, acked_seq + 1 AS next FROM sync_hello('00000000-0000-0000-0000-00000000000a') \gset
BEGIN;
SELECT status FROM push('a', :next, seen_all(), '59 m6, "set": {"title": "pushed"}, "increment": {"seats": 1}');
UPDATE meeting SET seats = seats + 10 WHERE title = 'PUSHED';
COMMIT;
SELECT c.kind, c.changes #>> '{set,seats}' = seats::text AS told
FROM sync_changes_since('00000000-0000-0000-0000-00000000000a',
         format('{"%s": %s, "00000000-0000-0000-0000-00000000000a": %s}', sync_node(), :xmax - 1, :next)::version_vector) AS d,
     delta_changes(d) AS c, meeting WHERE c.table_name = 'meeting' AND title = 'PUSHED';

-- Malformed calls are errors
SELECT sync_apply_delta('{"format": 1, "replica": "00000000-0000-0000-0000-0000000000ff", "changes": []}');
SELECT sync_apply_delta('{"format": 1, "replica": "00000000-0000-0000-0000-00000000000a", "from": {}, "to": {}, "changes": []}');

RESET search_path;
DROP SCHEMA apply_test CASCADE;
