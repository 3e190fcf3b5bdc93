-- A device's own database.  It knows nothing of the extension: ../test/device.sql keeps
-- what was pulled and what waits to be pushed; here is what its user sees and does.
\set ON_ERROR_STOP on
SET client_min_messages = warning;
SELECT device.start(:'me');

CREATE VIEW meeting AS
    SELECT m.key, r.*
    FROM device.rows((SELECT device FROM device.replica), 'meeting') m,
         jsonb_to_record(m.cells) AS r (id uuid, calendar text, country text, day date, title text, starts_at timestamptz,
                                        ends_at timestamptz, place text, attendees text[], seats int);

CREATE VIEW content AS
    SELECT id::text || '|' || concat_ws('|', calendar, country, day, title, starts_at AT TIME ZONE 'UTC',
                                        ends_at AT TIME ZONE 'UTC', place,
                                        array_to_string(ARRAY(SELECT unnest(attendees) ORDER BY 1), ','), seats) AS line
    FROM meeting;

-- Change the meeting of a country and day, the clock showing some hours before now.
CREATE FUNCTION edit(hours_ago numeric, country text, day date, change jsonb) RETURNS text LANGUAGE plpgsql AS
$$
DECLARE
    r device.replica;
    m record;
BEGIN
    SELECT * INTO STRICT r FROM device.replica;
    SELECT x.key, x.title INTO STRICT m FROM meeting x WHERE (x.country, x.day) = (edit.country, edit.day);
    PERFORM device.set_clock(r.device, now() - hours_ago * interval '1 hour');
    PERFORM device.write(r.device, 'meeting', m.key, change);
    RETURN format('%s: %s', m.title, change);
END
$$;

CREATE FUNCTION create_meeting(hours_ago numeric, id uuid, meeting jsonb) RETURNS text LANGUAGE plpgsql AS
$$
DECLARE
    r device.replica;
BEGIN
    SELECT * INTO STRICT r FROM device.replica;
    PERFORM device.set_clock(r.device, now() - hours_ago * interval '1 hour');
    PERFORM device.write(r.device, 'meeting', jsonb_build_object('id', id), jsonb_build_object('insert', meeting));
    RETURN format('%s: new', meeting->>'title');
END
$$;
