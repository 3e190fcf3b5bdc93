#!/bin/sh
# violations: what refused changes cost: deltas of 1,000 inserts, without and with ten
# that a constraint refuses.  Called by run.sh.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
export PGOPTIONS='-c client_min_messages=warning'

echo
echo "violations: deltas of 1,000 inserts, ten of which break a constraint"
psql -X -q -c 'CREATE DATABASE run'
psql -X -q -d run -v rounds="$((ROUNDS * 3))" -v ON_ERROR_STOP=1 -P footer=off -f "$here/violations.sql"
psql -X -q -c 'DROP DATABASE run'
