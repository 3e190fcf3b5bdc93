-- ---------------------------------------------------------------------------
-- The schema of the state tables.  Closed to PUBLIC: the functions reach the
-- tables from C, after they have checked the caller.
-- ---------------------------------------------------------------------------
CREATE SCHEMA offline_sync;
COMMENT ON SCHEMA offline_sync IS 'state of the offline_sync extension: use its sync_ functions and views';
