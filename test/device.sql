-- ---------------------------------------------------------------------------
-- A device, in plain SQL: what a correct client keeps, and what it does with it.
--
-- It needs nothing of the extension.  A device knows what it was told: it hands out
-- deltas as text, and takes in answers and pages as text.  So it can live in a
-- database of its own (as in the demo), or many of them beside the server in one
-- database (as in the tests), told apart by their ids.
--
--   device.start(id)                     a new, empty device
--   device.set_clock(id, at)              what its clock shows; NULL: the real time
--   device.write(id, table, key, change)  a local change, as in a delta:
--                                         '{"set": {"title": "x"}}', '{"delete": true}' ...
--   device.intend(id, intent, args)       ask the server to do something
--   device.rows(id, table)                its rows as a user of the device sees them
--
--   device.next_delta(id)                 the next delta to push, NULL when all is sent
--   device.take_answer(id, delta, answer) what sync_apply_delta returned, as JSON
--   device.vector(id), device.resume(id)  what to pull with
--   device.take_page(id, page)            what sync_changes_since returned; true: more to come
--   device.take_hello(id, acked_seq)      what sync_hello said
--
-- and where the server is in the same database:
--
--   device.push(id)  device.pull(id)  device.sync(id)
-- ---------------------------------------------------------------------------
CREATE SCHEMA device;

CREATE TABLE device.replica (
    device       uuid    PRIMARY KEY,
    vector       jsonb   NOT NULL DEFAULT '{}',   -- what it has seen
    resume       text,                            -- of a pull that is not finished
    is_refilling boolean NOT NULL DEFAULT false,  -- that pull began afresh: rows are to come
    node_hlc     text,                            -- highest that a node told
    last_seq     bigint  NOT NULL DEFAULT 0,
    last_ms      bigint  NOT NULL DEFAULT 0,      -- its own clock's last reading
    last_counter int     NOT NULL DEFAULT 0,
    clock        timestamptz                      -- NULL: the real time
);

-- The rows as the server told them, this device's answered changes included.
CREATE TABLE device.base_row (
    device     uuid  NOT NULL,
    table_name text  NOT NULL,
    key        jsonb NOT NULL,
    cells      jsonb NOT NULL,                    -- without the key's columns
    PRIMARY KEY (device, table_name, key)
);

-- Every change of the device.  Not settled: its answer has not arrived, so what the
-- user sees is the base with this on top.  Settled ones are kept: a server restored
-- from a backup asks for them again.
CREATE TABLE device.outbox (
    device     uuid    NOT NULL,
    seq        bigint  NOT NULL,
    change     jsonb   NOT NULL,                  -- as in a delta
    context    jsonb   NOT NULL,                  -- the vector when it was made
    node_hlc   text,
    is_settled boolean NOT NULL DEFAULT false,
    PRIMARY KEY (device, seq)
);
CREATE INDEX outbox_unsettled ON device.outbox (device, seq) WHERE NOT is_settled;

-- What the server answered, for people.
CREATE TABLE device.answer (
    device uuid  NOT NULL,
    n      int   GENERATED ALWAYS AS IDENTITY,
    delta  jsonb NOT NULL,
    answer jsonb NOT NULL
);

-- Which column holds a row's scope, to forget a scope; no entry: scope ''.
CREATE TABLE device.scope_column (
    table_name  text PRIMARY KEY,
    column_name text NOT NULL
);

-- --------------------------------------------------------------- local writes

CREATE FUNCTION device.start(me uuid) RETURNS void LANGUAGE sql AS
$$ INSERT INTO device.replica (device) VALUES (me) $$;

CREATE FUNCTION device.set_clock(me uuid, at timestamptz) RETURNS void LANGUAGE sql AS
$$ UPDATE device.replica r SET clock = at WHERE r.device = me $$;

CREATE FUNCTION device.hlc_text(ms bigint, counter int) RETURNS text LANGUAGE sql IMMUTABLE AS
$$ SELECT to_char(timestamp 'epoch' + ms * interval '1 millisecond', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z/"') || counter $$;

-- The greater of two hlc texts; the counter has no leading zeros.
CREATE FUNCTION device.hlc_greatest(a text, b text) RETURNS text LANGUAGE sql IMMUTABLE AS
$$
    SELECT h FROM unnest(ARRAY[a, b]) h WHERE h IS NOT NULL
    ORDER BY split_part(h, '/', 1) COLLATE "C" DESC, split_part(h, '/', 2)::int DESC LIMIT 1
$$;

-- Make a change: it gets the next seq and the device's clock, and goes to the outbox.
CREATE FUNCTION device.put(me uuid, change jsonb, "group" int) RETURNS bigint LANGUAGE plpgsql AS
$$
DECLARE
    r  device.replica;
    ms bigint;
BEGIN
    SELECT * INTO STRICT r FROM device.replica x WHERE x.device = me FOR UPDATE;
    ms := floor(extract(epoch FROM coalesce(r.clock, clock_timestamp())) * 1000);
    IF ms > r.last_ms THEN
        r.last_ms := ms;
        r.last_counter := 0;
    ELSIF r.last_counter < 65535 THEN       -- the clock stood still, or went back
        r.last_counter := r.last_counter + 1;
    ELSE
        r.last_ms := r.last_ms + 1;
        r.last_counter := 0;
    END IF;
    r.last_seq := r.last_seq + 1;
    UPDATE device.replica x SET last_seq = r.last_seq, last_ms = r.last_ms, last_counter = r.last_counter
        WHERE x.device = r.device;
    INSERT INTO device.outbox (device, seq, change, context, node_hlc)
        VALUES (r.device, r.last_seq,
                jsonb_strip_nulls(jsonb_build_object('group', "group"))
                    || jsonb_build_object('seq', r.last_seq, 'hlc', device.hlc_text(r.last_ms, r.last_counter)) || change,
                r.vector, r.node_hlc);
    RETURN r.last_seq;
END
$$;

CREATE FUNCTION device.write(me uuid, table_name text, key jsonb, change jsonb, "group" int DEFAULT NULL)
RETURNS bigint LANGUAGE sql AS
$$ SELECT device.put(me, jsonb_build_object('table', table_name, 'key', key) || change, "group") $$;

CREATE FUNCTION device.intend(me uuid, intent text, args jsonb, "group" int DEFAULT NULL)
RETURNS bigint LANGUAGE sql AS
$$ SELECT device.put(me, jsonb_build_object('intent', intent, 'args', args), "group") $$;

-- ---------------------------------------------------------- what the user sees

CREATE FUNCTION device.sorted(elements jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE AS
$$
    SELECT coalesce(jsonb_agg(e ORDER BY e COLLATE "C"), '[]')
    FROM (SELECT DISTINCT e FROM jsonb_array_elements_text(elements) e) s
$$;

-- One change to one row; NULL: no row.  Sets are arrays of their sorted elements;
-- an object is added to, and removed from, key by key.
CREATE FUNCTION device.apply_change(cells jsonb, change jsonb) RETURNS jsonb LANGUAGE plpgsql IMMUTABLE AS
$$
DECLARE
    c record;
    old jsonb;
BEGIN
    IF change ? 'delete' OR change ? 'retract' THEN
        RETURN NULL;
    END IF;
    IF change ? 'insert' THEN
        cells := coalesce(cells, '{}') || (change->'insert');
    ELSIF cells IS NULL THEN
        RETURN NULL;
    END IF;
    cells := cells || coalesce(change->'set', '{}');
    FOR c IN SELECT * FROM jsonb_each(change->'increment') LOOP
        old := cells->c.key;
        old := CASE jsonb_typeof(old)
                   WHEN 'string' THEN to_jsonb(((old#>>'{}')::numeric + (c.value#>>'{}')::numeric)::text)
                   ELSE to_jsonb(coalesce((old#>>'{}')::numeric, 0) + (c.value#>>'{}')::numeric)
               END;
        cells := cells || jsonb_build_object(c.key, old);
    END LOOP;
    FOR c IN SELECT * FROM jsonb_each(change->'remove') LOOP
        IF jsonb_typeof(cells->c.key) = 'object' THEN
            cells := cells || jsonb_build_object(c.key, (cells->c.key) - ARRAY(SELECT jsonb_array_elements_text(c.value)));
            CONTINUE;
        END IF;
        SELECT coalesce(jsonb_agg(e), '[]') INTO old
            FROM jsonb_array_elements_text(CASE jsonb_typeof(cells->c.key) WHEN 'array' THEN cells->c.key ELSE '[]' END) e
            WHERE NOT c.value ? e;
        cells := cells || jsonb_build_object(c.key, device.sorted(old));
    END LOOP;
    FOR c IN SELECT * FROM jsonb_each(change->'add') LOOP
        IF jsonb_typeof(c.value) = 'object' THEN
            cells := cells || jsonb_build_object(c.key, coalesce(nullif(cells->c.key, 'null'), '{}') || c.value);
            CONTINUE;
        END IF;
        old := CASE jsonb_typeof(cells->c.key) WHEN 'array' THEN cells->c.key ELSE '[]' END;
        cells := cells || jsonb_build_object(c.key, device.sorted(old || c.value));
    END LOOP;
    RETURN cells;
END
$$;

CREATE AGGREGATE device.fold(jsonb) (sfunc = device.apply_change, stype = jsonb);

-- What lies on top of what: the base, then the changes that are not settled.
CREATE VIEW device.layer AS
    SELECT device, table_name, key, 0::bigint AS seq, jsonb_build_object('insert', cells) AS change
        FROM device.base_row
    UNION ALL
    SELECT device, change->>'table', change->'key', seq, change
        FROM device.outbox WHERE NOT is_settled;

-- A device's rows of a table, whole, the key's columns included.
CREATE FUNCTION device.rows(me uuid, name text) RETURNS TABLE (key jsonb, cells jsonb) LANGUAGE sql STABLE AS
$$
    SELECT l.key, device.fold(l.change ORDER BY l.seq) || l.key
    FROM device.layer l WHERE l.device = me AND l.table_name = name
    GROUP BY l.key HAVING device.fold(l.change ORDER BY l.seq) IS NOT NULL
$$;

-- ----------------------------------------------------------------------- push

-- The changes not answered yet, as far as they were made in the same context, at
-- most max_changes; what belongs together stays together.
CREATE FUNCTION device.next_delta(me uuid, max_changes int DEFAULT 1000) RETURNS text LANGUAGE sql STABLE AS
$$
    WITH waiting AS (
        SELECT o.*, first_value(seq) OVER w AS first_seq,
               context = first_value(context) OVER w
                   AND node_hlc IS NOT DISTINCT FROM first_value(node_hlc) OVER w AS same_context,
               coalesce(change->'group' = lag(change->'group') OVER w, false) AS same_group
        FROM device.outbox o WHERE o.device = me AND NOT is_settled
        WINDOW w AS (ORDER BY seq)
    ), taken AS (
        SELECT *, bool_and(same_context) OVER w
                  AND coalesce(bool_and(same_group) FILTER (WHERE seq >= first_seq + max_changes) OVER w, true) AS is_taken
        FROM waiting WINDOW w AS (ORDER BY seq)
    )
    SELECT (jsonb_build_object('format', 1, 'replica', me, 'context', context,
                               'changes', jsonb_agg(change ORDER BY seq))
            || jsonb_strip_nulls(jsonb_build_object('hlc', node_hlc)))::text
    FROM taken WHERE is_taken GROUP BY context, node_hlc
$$;

-- Put one told change into the base.
CREATE FUNCTION device.take_change(me uuid, change jsonb) RETURNS void LANGUAGE plpgsql AS
$$
BEGIN
    IF change ? 'scope' AND change ? 'retract' THEN
        DELETE FROM device.base_row b
            WHERE b.device = me
                  AND coalesce((SELECT (b.cells || b.key)->>s.column_name FROM device.scope_column s
                                WHERE s.table_name = b.table_name), '') = change->>'scope';
    ELSIF change ? 'insert' THEN                -- the whole row, whatever was there
        INSERT INTO device.base_row VALUES (me, change->>'table', change->'key', change->'insert')
            ON CONFLICT ON CONSTRAINT base_row_pkey DO UPDATE SET cells = EXCLUDED.cells;
    ELSIF change ? 'set' THEN
        UPDATE device.base_row b SET cells = b.cells || (change->'set')
            WHERE b.device = me AND b.table_name = change->>'table' AND b.key = change->'key';
        -- While rows dropped at a fresh start come again, an answer may be about one that
        -- is still to come, with this cell as it is then.
        IF NOT FOUND AND NOT (SELECT r.is_refilling FROM device.replica r WHERE r.device = me) THEN
            RAISE EXCEPTION 'device %: told to change a row that it does not have: %', me, change;
        END IF;
    ELSE                                        -- deleted, or no longer for us
        DELETE FROM device.base_row b
            WHERE b.device = me AND b.table_name = change->>'table' AND b.key = change->'key';
    END IF;
END
$$;

-- The counter of a replica in a vector: 17, "17", or the base of "17,19-20".
CREATE FUNCTION device.vector_get(vector jsonb, replica uuid) RETURNS bigint LANGUAGE sql IMMUTABLE AS
$$ SELECT coalesce(split_part(vector->>replica::text, ',', 1)::bigint, 0) $$;

CREATE FUNCTION device.vector_set(vector jsonb, replica uuid, counter bigint) RETURNS jsonb LANGUAGE sql IMMUTABLE AS
$$ SELECT CASE counter WHEN 0 THEN vector - replica::text ELSE vector || jsonb_build_object(replica::text, counter) END $$;

-- What sync_apply_delta said about a delta.  What was taken becomes part of the base,
-- then the server's corrections do.
CREATE FUNCTION device.take_answer(me uuid, delta text, answer jsonb) RETURNS text LANGUAGE plpgsql AS
$$
DECLARE
    d      jsonb := delta;
    up_to  bigint := least((answer->>'acked_seq')::bigint, (d#>>'{changes,-1,seq}')::bigint);
    change jsonb;
BEGIN
    INSERT INTO device.answer (device, delta, answer) VALUES (me, d, take_answer.answer);
    CASE answer->>'status'
    WHEN 'applied', 'partial', 'duplicate' THEN
        WITH done AS (
            SELECT l.table_name, l.key, device.fold(l.change ORDER BY l.seq) AS cells
            FROM device.layer l WHERE l.device = me AND l.seq <= up_to
            GROUP BY l.table_name, l.key HAVING max(l.seq) > 0
        ), gone AS (
            DELETE FROM device.base_row b USING done d
            WHERE b.device = me AND b.table_name = d.table_name AND b.key = d.key AND d.cells IS NULL
        )
        INSERT INTO device.base_row SELECT me, d.table_name, d.key, d.cells FROM done d WHERE d.cells IS NOT NULL
            ON CONFLICT ON CONSTRAINT base_row_pkey DO UPDATE SET cells = EXCLUDED.cells;
        UPDATE device.outbox o SET is_settled = true
            WHERE o.device = me AND NOT is_settled AND seq <= up_to;
        FOR change IN SELECT jsonb_array_elements(answer#>'{corrections,changes}') LOOP
            PERFORM device.take_change(me, change);
        END LOOP;
        -- Rows that come page by page may have been read before this push was there: it
        -- does not count as told until they are all here.
        UPDATE device.replica r
            SET vector = CASE WHEN resume IS NULL
                         THEN device.vector_set(vector, r.device, greatest(device.vector_get(vector, r.device), up_to))
                         ELSE vector END,
                node_hlc = device.hlc_greatest(node_hlc, answer->>'hlc')
            WHERE r.device = me;
    WHEN 'gap' THEN
        PERFORM device.take_hello(me, (answer->>'acked_seq')::bigint);
    ELSE                                        -- pending, rejected: the changes stay
        NULL;
    END CASE;
    RETURN answer->>'status';
END
$$;

-- What the server has stored of us.  Less than we were told: it was restored from a
-- backup, and gets the rest again.
CREATE FUNCTION device.take_hello(me uuid, acked_seq bigint) RETURNS void LANGUAGE sql AS
$$
    UPDATE device.outbox o SET is_settled = false
        WHERE o.device = me AND o.seq > acked_seq AND is_settled;
    UPDATE device.replica r SET vector = device.vector_set(vector, r.device, acked_seq)
        WHERE r.device = me AND device.vector_get(vector, r.device) > acked_seq;
$$;

-- ----------------------------------------------------------------------- pull

CREATE FUNCTION device.vector(me uuid) RETURNS text LANGUAGE sql STABLE AS
$$ SELECT vector::text FROM device.replica r WHERE r.device = me $$;

CREATE FUNCTION device.resume(me uuid) RETURNS text LANGUAGE sql STABLE AS
$$ SELECT r.resume FROM device.replica r WHERE r.device = me $$;

-- A page of changes.  Where it shows that a push arrived whose answer did not, that
-- push is settled: the page had its effects.
CREATE FUNCTION device.take_page(me uuid, page text) RETURNS boolean LANGUAGE plpgsql AS
$$
DECLARE
    p      jsonb := page;
    r      device.replica;
    change jsonb;
BEGIN
    SELECT * INTO STRICT r FROM device.replica x WHERE x.device = me FOR UPDATE;
    IF (p->>'reset')::boolean THEN              -- start afresh; what is not sent stays
        DELETE FROM device.base_row b WHERE b.device = r.device;
    END IF;
    FOR change IN SELECT jsonb_array_elements(p->'changes') LOOP
        PERFORM device.take_change(me, change);
    END LOOP;
    UPDATE device.outbox o SET is_settled = true
        WHERE o.device = r.device AND NOT is_settled AND seq <= device.vector_get(p->'to', r.device);
    UPDATE device.replica x
        SET vector = CASE WHEN (p->>'reset')::boolean THEN p->'to'
                     ELSE device.vector_set(p->'to', r.device,
                                            greatest(device.vector_get(p->'to', r.device),
                                                     device.vector_get(r.vector, r.device))) END,
            resume = p->>'resume',
            is_refilling = (is_refilling OR coalesce((p->>'reset')::boolean, false))
                AND coalesce((p->>'more')::boolean, false),
            node_hlc = device.hlc_greatest(r.node_hlc, p->>'hlc')
        WHERE x.device = r.device;
    RETURN coalesce((p->>'more')::boolean, false);
END
$$;

-- ------------------------------------------- with the server in this database

CREATE FUNCTION device.push(me uuid, max_changes int DEFAULT 1000) RETURNS text LANGUAGE plpgsql AS
$$
DECLARE
    delta  text;
    answer jsonb;
    status text;
    gaps   int := 0;
BEGIN
    LOOP
        delta := device.next_delta(me, max_changes);
        EXIT WHEN delta IS NULL;
        SELECT to_jsonb(a) || jsonb_build_object('corrections', a.corrections::text::jsonb)
            INTO STRICT answer FROM sync_apply_delta(delta::delta) a;
        status := device.take_answer(me, delta, answer);
        gaps := gaps + (status = 'gap')::int;
        EXIT WHEN status IN ('pending', 'rejected') OR gaps > 1;
    END LOOP;
    RETURN status;
END
$$;

-- Returns the number of changes that came.
CREATE FUNCTION device.pull(me uuid, max_changes int DEFAULT 1000) RETURNS int LANGUAGE plpgsql AS
$$
DECLARE
    page  text;
    n     int := 0;
BEGIN
    LOOP
        page := sync_changes_since(me, device.vector(me)::version_vector, max_changes, device.resume(me));
        n := n + jsonb_array_length(page::jsonb->'changes');
        EXIT WHEN NOT device.take_page(me, page);
    END LOOP;
    RETURN n;
END
$$;

CREATE FUNCTION device.sync(me uuid, max_changes int DEFAULT 1000) RETURNS void LANGUAGE plpgsql AS
$$
BEGIN
    PERFORM device.take_hello(me, h.acked_seq) FROM sync_hello(me) h;
    PERFORM device.push(me, max_changes);
    PERFORM device.pull(me, max_changes);
    PERFORM sync_ack(me, device.vector(me)::version_vector);
END
$$;
