#!/bin/sh
# local: writes by SQL to a tracked table against the same writes to a table that is not.
# Called by run.sh.
# shellcheck disable=SC2016		# $1 is a parameter of the statement
set -eu
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"
cd "$DIR"

updates=$((ROWS / 10))
run -c 'CREATE DATABASE plain'
run -d plain -v rows="$ROWS" -v changes=10 -v batch=10 -f "$here/apply.sql" >/dev/null
run -d plain -c "\\copy item (id, title, body, done, prio, updated_at) TO 'item.copy'"
fresh captured plain
run -d captured -f "$here/device.sql"
chmod a+r item.copy

for round in $(seq "$ROUNDS"); do
	for variant in plain captured; do
		fresh run $variant
		run -d run -c 'CHECKPOINT'
		timed single.$variant 1 -w 1 run "SELECT id FROM item ORDER BY md5(id::text) LIMIT $updates" \
			"UPDATE item SET title = 'new title', updated_at = '2026-11-20 10:00:00+00' WHERE id = \$1"
		fresh run $variant
		run -d run -c 'CHECKPOINT'
		timed bulk.$variant "$ROWS" -s "UPDATE item SET prio = prio WHERE false" run '' \
			"UPDATE item SET title = 'new title', updated_at = '2026-11-20 10:00:00+00'"
		fresh run $variant
		timed empty.$variant "$ROWS" run '' 'DELETE FROM item'
		run -d run -c 'VACUUM item' -c 'CHECKPOINT'
		timed copy.$variant "$ROWS" run '' \
			"COPY item (id, title, body, done, prio, updated_at) FROM '$DIR/item.copy'"
	done
	say "local: round $round of $ROUNDS"
done

section "local writes to a table of $ROWS rows, with capture against without"
compare speed single.captured single.plain '>= 0.85' updates "UPDATE of one row a transaction, with capture" 'without'
compare cost bulk.captured bulk.plain '<= 1.35' 'us a row' "UPDATE of all rows, with capture" 'without'
compare cost empty.captured empty.plain '' 'us a row' "DELETE of all rows, with capture" 'without'
compare cost copy.captured copy.plain '<= 1.6' 'us a row' "COPY of all rows, with capture" 'without'
