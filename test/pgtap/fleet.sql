-- A fleet of devices, SQL writers, sessions with open transactions and an
-- administrator, who all do random things to the same few rows.  From time to time
-- everything comes to rest: then every device must hold exactly the rows of its
-- scopes, and no increment may be lost or counted twice.
--
-- Several histories, one after the other; their seeds are printed.  To run them
-- again:  PGOPTIONS='-c test.seed=0.5,0.42 -c test.steps=200'
\set cleans false
\ir ../fleet.sql
