-- The application on the server: one table, the people who use it, and what
-- offline_sync needs to know about them.
\set ON_ERROR_STOP on
SET client_min_messages = warning;

CREATE EXTENSION offline_sync;

CREATE TABLE meeting (
    id        uuid        PRIMARY KEY DEFAULT gen_random_uuid(),
    calendar  text        NOT NULL,
    country   text,
    day       date,
    title     text        NOT NULL,
    starts_at timestamptz NOT NULL,
    ends_at   timestamptz NOT NULL,
    place     text        NOT NULL DEFAULT 'office',
    attendees orset       NOT NULL DEFAULT '{}',
    seats     int         NOT NULL DEFAULT 12 CONSTRAINT enough_seats CHECK (seats >= 0)
);

CREATE TEMP TABLE holiday (country text, day date, start_at timestamptz, end_at timestamptz, name text, type text);
\copy holiday FROM pstdin WITH (FORMAT csv, HEADER)
INSERT INTO meeting (id, calendar, country, day, title, starts_at, ends_at)
    SELECT md5(concat_ws('/', country, day, name, start_at))::uuid, 'team', country, day, name, start_at, end_at
    FROM holiday;

-- One statement makes the table's rows shareable.  A row's scope is its calendar;
-- seats is a counter, attendees a set by its type, everything else last writer wins.
SELECT sync_enable_table('meeting', 'calendar', '{"seats": "counter"}', '{"audit": "full"}');

-- Everybody is an ordinary role, and sees the table by ordinary privileges.
CREATE ROLE team;
CREATE ROLE ann LOGIN IN ROLE team;
CREATE ROLE ben LOGIN IN ROLE team;
CREATE ROLE cleo LOGIN IN ROLE team;
CREATE ROLE dora LOGIN IN ROLE team;
GRANT SELECT, INSERT, UPDATE, DELETE ON meeting TO team;

SELECT sync_register_device('a0000000-0000-4000-8000-000000000001', '{team}', 'ann', 'Ann''s phone');
SELECT sync_register_device('b0000000-0000-4000-8000-000000000002', '{team}', 'ben', 'Ben''s phone');
SELECT sync_register_device('c0000000-0000-4000-8000-000000000003', '{team}', 'cleo', 'Cleo''s laptop');

-- Invitations that are out already.
UPDATE meeting SET attendees = '{"dora","eve"}' WHERE (country, day) = ('US', '2026-11-26');

-- All that is compared at the end, as one text a row.
CREATE VIEW content AS
    SELECT id::text || '|' || concat_ws('|', calendar, country, day, title, starts_at AT TIME ZONE 'UTC',
                                        ends_at AT TIME ZONE 'UTC', place,
                                        array_to_string(ARRAY(SELECT orset_elements(attendees) ORDER BY 1), ','), seats) AS line
    FROM meeting;
