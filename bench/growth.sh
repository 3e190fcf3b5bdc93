#!/bin/sh
# growth: how the cost of a push and of a pull grows with devices, scopes, columns and rows.
# Called by run.sh.
# shellcheck disable=SC2016		# $1 is a parameter of the statement
set -eu
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"
cd "$DIR"

# per round
deltas=15
base='rows=10000 columns=5 devices=10 others=0 granted=0'
if [ "$QUICK" = yes ]; then
	variants='base devices=1000 others=1000,granted=1000 columns=50'
else
	variants='base devices=1000 devices=10000 others=1000 others=100000 others=1000,granted=1000 others=100000,granted=100000
		columns=50 columns=500 rows=100000 rows=1000000'
fi

# database VARIANT
database() { echo "$1" | tr '=,' '__'; }

for variant in $variants; do
	run -c "CREATE DATABASE $(database "$variant")"
	settings=$(printf '%s\n' "$base" "$variant" | tr -s ' ,' '\n' | sed -n 's/.*=.*/-v &/p')
	# shellcheck disable=SC2086	# words
	run -d "$(database "$variant")" $settings -v deltas=$((deltas * ROUNDS)) -f "$here/growth.sql"
	say "growth: $variant is made"
done

# pulls first, for which nothing may have been pushed
for round in $(seq "$ROUNDS"); do
	for variant in $variants; do
		timed "pull.$variant" 100 -w 1 -r 31 "$(database "$variant")" 'SELECT v FROM bench.vector' \
			"SELECT sync_changes_since(md5('device 2')::uuid, \$1::version_vector)"
	done
done
for round in $(seq "$ROUNDS"); do
	for variant in $variants; do
		of_round="FROM bench.delta WHERE n / $deltas = $round - 1 ORDER BY n"
		timed "push.$variant" 100 -e applied -w 1 "$(database "$variant")" \
			"SELECT json $of_round" 'SELECT status FROM sync_apply_delta($1)'
		case $variant in base | columns* | rows*)
			timed "update.$variant" 100 -w 1 "$(database "$variant")" "SELECT id, c1, c2 $of_round" \
				'UPDATE plain SET c1 = u.c1, c2 = u.c2 FROM unnest($1::uuid[], $2::int[], $3::int[]) u (id, c1, c2) WHERE plain.id = u.id'
		esac
	done
done

name() { case $1 in update) echo 'UPDATE by hand' ;; *) echo "$1" ;; esac; }

section "deltas of 100 updates, and pulls of 100 rows, with more of something ($base)"
for what in push update pull; do
	for variant in $variants; do
		compare cost "$what.$variant" "$what.base" '' 'us a row' "$(name $what), $(echo "$variant" | sed 's/,/, /')" 'base'
	done
done
