#!/bin/sh
# connections: several devices that push at the same time, to one scope and each to its own,
# with synchronous commits and without.  Called by run.sh.
# shellcheck disable=SC2016		# $1 is a parameter of the statement
set -eu
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"
cd "$DIR"

deltas=100 per_delta=100
[ "$QUICK" = no ] || deltas=50
counts='1 2 4 8'
[ "$QUICK" = no ] || counts='1 2'

run -c 'CREATE DATABASE workload'
run -d workload -v devices=8 -v kinds='{one,own}' -v deltas=$deltas -v per_delta=$per_delta -f "$here/devices.sql"

for round in $(seq "$ROUNDS"); do
	for durable in on off; do
		for kind in one own; do
			for count in $counts; do
				fresh run workload
				timed "$kind.$durable.$count" $per_delta -c "$count" -e applied -w 1 \
					-s "SET synchronous_commit = $durable; SET offline_sync.durable_acks = $durable" run \
					"SELECT json FROM bench.delta WHERE device = \$1::int AND kind = '$kind' ORDER BY n" \
					'SELECT status FROM sync_apply_delta($1)'
			done
		done
	done
	say "connections: round $round of $ROUNDS"
done

section "devices that push at the same time, $deltas deltas of $per_delta inserts each ($(nproc) cores, which the clients use too)"
for durable in on off; do
	for kind in one own; do
		for count in $counts; do
			wanted=
			[ "$count" != 2 ] || wanted='>= 1.7'
			case $kind in one) scopes='one scope' ;; own) scopes='a scope each' ;; esac
			compare speed "$kind.$durable.$count" "$kind.$durable.1" "$wanted" changes \
				"$count connection$([ "$count" = 1 ] || echo s), $scopes, synchronous_commit $durable" '1 connection'
		done
	done
done
