-- The examples of the README, taken from there, in a database of their own
\! perl "$PG_ABS_SRCDIR/test/readme.pl"
