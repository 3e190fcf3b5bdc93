-- What one would write by hand to merge column by column: the later write of each
-- column wins.  The clocks of a row are an object in the row, {"column": stamp};
-- of deleted rows they are kept.  One log row a change.  Two functions that do the
-- same: statements for all changes at once, and change by change.
\set ON_ERROR_STOP on
ALTER TABLE item ADD clock jsonb;
CREATE TABLE bench.tombstone (id uuid PRIMARY KEY, stamp text NOT NULL);

CREATE FUNCTION bench.lww_set(changes jsonb) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    turns int;
BEGIN
    CREATE TEMP TABLE IF NOT EXISTS incoming (
        id uuid, stamp text, is_delete bool, is_insert bool, title text, body text, done bool, prio int, updated_at timestamptz,
        clock jsonb, turn int);
    TRUNCATE incoming;
    -- changes of one row one after the other, others together
    INSERT INTO incoming
        SELECT (c.key ->> 'id')::uuid, c.hlc, coalesce(c.delete, false), c.insert IS NOT NULL,
               v.title, v.body, v.done, v.prio, v.updated_at,
               (SELECT jsonb_object_agg(k, c.hlc) FROM jsonb_object_keys(coalesce(c.insert, c.set)) k),
               row_number() OVER (PARTITION BY c.key ->> 'id' ORDER BY c.seq)
        FROM jsonb_to_recordset(changes) c (seq int, hlc text, key jsonb, "set" jsonb, "insert" jsonb, "delete" bool),
             jsonb_to_record(coalesce(c.insert, c.set, '{}')) v (title text, body text, done bool, prio int, updated_at timestamptz);
    SELECT max(turn) INTO turns FROM incoming;
    FOR t IN 1 .. turns LOOP
        INSERT INTO bench.tombstone SELECT id, stamp FROM incoming WHERE turn = t AND is_delete
            ON CONFLICT (id) DO UPDATE SET stamp = greatest(tombstone.stamp, EXCLUDED.stamp);
        DELETE FROM item USING incoming i WHERE i.turn = t AND i.is_delete AND item.id = i.id;
        INSERT INTO item
            SELECT id, title, body, done, prio, updated_at, clock FROM incoming i
            WHERE turn = t AND is_insert AND NOT EXISTS (SELECT FROM bench.tombstone x WHERE x.id = i.id AND x.stamp > i.stamp)
            ON CONFLICT (id) DO UPDATE SET
                title = CASE WHEN coalesce(item.clock ->> 'title' < EXCLUDED.clock ->> 'title', true) THEN EXCLUDED.title ELSE item.title END,
                body = CASE WHEN coalesce(item.clock ->> 'body' < EXCLUDED.clock ->> 'body', true) THEN EXCLUDED.body ELSE item.body END,
                done = CASE WHEN coalesce(item.clock ->> 'done' < EXCLUDED.clock ->> 'done', true) THEN EXCLUDED.done ELSE item.done END,
                prio = CASE WHEN coalesce(item.clock ->> 'prio' < EXCLUDED.clock ->> 'prio', true) THEN EXCLUDED.prio ELSE item.prio END,
                updated_at = CASE WHEN coalesce(item.clock ->> 'updated_at' < EXCLUDED.clock ->> 'updated_at', true)
                                  THEN EXCLUDED.updated_at ELSE item.updated_at END,
                clock = (SELECT jsonb_object_agg(key, greatest(item.clock ->> key, value)) FROM jsonb_each_text(EXCLUDED.clock));
        UPDATE item SET
            title = CASE WHEN i.clock ? 'title' AND coalesce(item.clock ->> 'title' < i.stamp, true) THEN i.title ELSE item.title END,
            body = CASE WHEN i.clock ? 'body' AND coalesce(item.clock ->> 'body' < i.stamp, true) THEN i.body ELSE item.body END,
            done = CASE WHEN i.clock ? 'done' AND coalesce(item.clock ->> 'done' < i.stamp, true) THEN i.done ELSE item.done END,
            prio = CASE WHEN i.clock ? 'prio' AND coalesce(item.clock ->> 'prio' < i.stamp, true) THEN i.prio ELSE item.prio END,
            updated_at = CASE WHEN i.clock ? 'updated_at' AND coalesce(item.clock ->> 'updated_at' < i.stamp, true)
                              THEN i.updated_at ELSE item.updated_at END,
            clock = coalesce(item.clock, '{}')
                    || (SELECT jsonb_object_agg(key, greatest(item.clock ->> key, value)) FROM jsonb_each_text(i.clock))
            FROM incoming i WHERE i.turn = t AND NOT i.is_insert AND NOT i.is_delete AND item.id = i.id;
    END LOOP;
    INSERT INTO bench.log SELECT '', 1, pg_current_xact_id(), 1, 1, uuid_send(id) FROM incoming;
END $$;

CREATE FUNCTION bench.lww_loop(changes jsonb) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    c record;
    key uuid;
    new_clock jsonb;
BEGIN
    FOR c IN SELECT * FROM jsonb_to_recordset(changes) x (seq int, hlc text, key jsonb, "set" jsonb, "insert" jsonb, "delete" bool) ORDER BY x.seq LOOP
        key := c.key ->> 'id';
        IF c.delete THEN
            INSERT INTO bench.tombstone VALUES (key, c.hlc)
                ON CONFLICT (id) DO UPDATE SET stamp = greatest(tombstone.stamp, EXCLUDED.stamp);
            DELETE FROM item WHERE id = key;
        ELSIF c.insert IS NULL THEN
            SELECT jsonb_object_agg(k, c.hlc) INTO new_clock FROM jsonb_object_keys(c.set) k;
            UPDATE item SET
                title = CASE WHEN c.set ? 'title' AND coalesce(clock ->> 'title' < c.hlc, true) THEN c.set ->> 'title' ELSE title END,
                body = CASE WHEN c.set ? 'body' AND coalesce(clock ->> 'body' < c.hlc, true) THEN c.set ->> 'body' ELSE body END,
                done = CASE WHEN c.set ? 'done' AND coalesce(clock ->> 'done' < c.hlc, true) THEN (c.set ->> 'done')::bool ELSE done END,
                prio = CASE WHEN c.set ? 'prio' AND coalesce(clock ->> 'prio' < c.hlc, true) THEN (c.set ->> 'prio')::int ELSE prio END,
                updated_at = CASE WHEN c.set ? 'updated_at' AND coalesce(clock ->> 'updated_at' < c.hlc, true)
                                  THEN (c.set ->> 'updated_at')::timestamptz ELSE updated_at END,
                clock = CASE WHEN clock IS NULL THEN new_clock
                             ELSE clock || (SELECT jsonb_object_agg(n.key, greatest(clock ->> n.key, n.value)) FROM jsonb_each_text(new_clock) n) END
                WHERE id = key;
        ELSIF NOT EXISTS (SELECT FROM bench.tombstone x WHERE x.id = key AND x.stamp > c.hlc) THEN
            SELECT jsonb_object_agg(k, c.hlc) INTO new_clock FROM jsonb_object_keys(c.insert) k;
            INSERT INTO item VALUES (key, c.insert ->> 'title', c.insert ->> 'body', (c.insert ->> 'done')::bool,
                                     (c.insert ->> 'prio')::int, (c.insert ->> 'updated_at')::timestamptz, new_clock)
                ON CONFLICT (id) DO UPDATE SET
                title = CASE WHEN coalesce(item.clock ->> 'title' < c.hlc, true) THEN EXCLUDED.title ELSE item.title END,
                body = CASE WHEN coalesce(item.clock ->> 'body' < c.hlc, true) THEN EXCLUDED.body ELSE item.body END,
                done = CASE WHEN coalesce(item.clock ->> 'done' < c.hlc, true) THEN EXCLUDED.done ELSE item.done END,
                prio = CASE WHEN coalesce(item.clock ->> 'prio' < c.hlc, true) THEN EXCLUDED.prio ELSE item.prio END,
                updated_at = CASE WHEN coalesce(item.clock ->> 'updated_at' < c.hlc, true) THEN EXCLUDED.updated_at ELSE item.updated_at END,
                clock = (SELECT jsonb_object_agg(n.key, greatest(item.clock ->> n.key, n.value)) FROM jsonb_each_text(new_clock) n);
        END IF;
    END LOOP;
    INSERT INTO bench.log
        SELECT '', 1, pg_current_xact_id(), 1, 1, uuid_send((x.key ->> 'id')::uuid) FROM jsonb_to_recordset(changes) x (key jsonb);
END $$;
