#!/bin/sh
# violations: what refused changes cost: deltas of 1,000 inserts, without and with ten
# that a constraint refuses.  Called by run.sh.
set -eu
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"

section "deltas of 1,000 inserts, ten of which break a constraint"
run -c 'CREATE DATABASE run'
run -d run -F "$(printf '\t')" -v rounds="$((ROUNDS * 3))" -f "$here/violations.sql" >>"$RESULTS"
run -c 'DROP DATABASE run'
