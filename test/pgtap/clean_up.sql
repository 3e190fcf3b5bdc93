-- The histories of test/pgtap/fleet.sql with clean-up at random moments: devices
-- that acknowledge late, that expire and come back, that are registered but never seen
-- until late, and a table that is enabled meanwhile.  Nothing may go that a device has
-- yet to acknowledge; what a fenced device has not sent is taken, then it is told to
-- begin afresh; and at rest every device must hold exactly the rows of its scopes.
--
-- To run some again:  PGOPTIONS='-c test.seed=0.5,0.42 -c test.steps=200'
\set cleans true
\ir ../fleet.sql
