#!/bin/sh
# apply: sync_apply_delta against the same changes by hand-written SQL, in deltas of
# several sizes, each a transaction.  Called by run.sh.
set -eu
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source-path=SCRIPTDIR source=workload.sh
. "$(dirname "$0")/workload.sh"
cd "$DIR"

# in this order, so that what is compared runs close together
variants='lww_loop.1000 lww_set.1000 upsert_log.1000 json.1000 upsert.1000 binary.1000 upsert_log.1 json.1'
[ "$QUICK" = yes ] ||
	variants="$variants binary.1 json.10 binary.10 json.100 binary.100 json.10000 binary.10000 sparse.1000 parsed.1000"
variants=${VARIANTS:-$variants}
# shellcheck disable=SC2086
make_workloads $variants
for round in $(seq "$ROUNDS"); do
	for variant in $variants; do
		one "$variant"
	done
	say "apply: round $round of $ROUNDS"
done

section "apply, $CHANGES changes (size 1: a tenth, size 10: half) to a table of $ROWS rows; half update two columns, 40 % insert, 10 % delete"
compare speed upsert.1000 upsert.1000 '' changes '(a) INSERT ... ON CONFLICT and DELETE of 1,000' ''
compare speed upsert_log.1000 upsert.1000 '' changes '(b) the same, and a log row a change' '(a)'
compare speed sparse.1000 upsert.1000 '' changes '(a) with changed columns only' '(a)'
compare speed lww_set.1000 upsert.1000 '' changes '(c) plpgsql, clocks in jsonb, statements for all changes' '(a)'
compare speed lww_loop.1000 upsert.1000 '' changes '(c) plpgsql, clocks in jsonb, change by change' '(a)'
compare speed json.1000 upsert.1000 '>= 0.65' changes 'deltas of 1,000, JSON' '(a)'
compare speed json.1000 upsert_log.1000 '>= 1.1' changes 'deltas of 1,000, JSON' '(b)'
compare speed json.1000 lww_set.1000 '' changes 'deltas of 1,000, JSON' '(c) for all'
compare speed json.1000 lww_loop.1000 '>= 3.5' changes 'deltas of 1,000, JSON' '(c) one by one'
compare speed binary.1000 upsert.1000 '>= 0.8' changes 'deltas of 1,000, binary' '(a)'
compare speed parsed.1000 upsert.1000 '' changes 'deltas of 1,000, read before' '(a)'
compare speed json.10000 json.1000 '>= 1' changes 'deltas of 10,000, JSON' 'deltas of 1,000'
compare speed binary.10000 binary.1000 '>= 1' changes 'deltas of 10,000, binary' 'deltas of 1,000'
compare speed json.100 json.1000 '' changes 'deltas of 100, JSON' 'deltas of 1,000'
compare speed binary.100 binary.1000 '' changes 'deltas of 100, binary' 'deltas of 1,000'
compare speed json.10 json.1000 '' changes 'deltas of 10, JSON' 'deltas of 1,000'
compare speed binary.10 binary.1000 '' changes 'deltas of 10, binary' 'deltas of 1,000'
compare speed upsert_log.1 upsert_log.1000 '' changes '(b) with 1' '(b) with 1,000'
compare speed json.1 upsert_log.1 '>= 0.75' changes 'deltas of 1, JSON' '(b) with 1'
compare speed binary.1 upsert_log.1 '>= 0.75' changes 'deltas of 1, binary' '(b) with 1'
