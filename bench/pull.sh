#!/bin/sh
# pull: sync_changes_since against COPY (SELECT row_to_json ...) of the same rows, with
# little and with much in the log behind them; and all rows from nothing.  Called by run.sh.
# shellcheck disable=SC2016,SC2153		# $1 is a parameter of the statement
set -eu
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"
cd "$DIR"

if [ "$QUICK" = yes ]; then
	sizes='100 10000' little=1000 much=100000 transactions=1000 all=$ROWS
else
	sizes='100 10000 100000' little=100000 much=10000000 transactions=100000 all=1000000
fi

# calls_of SIZE: small pulls are repeated
calls_of() { case $1 in 100) echo 50 ;; 10000) echo 3 ;; *) echo 1 ;; esac; }

# pages SIZE: a statement that pulls a page of at most SIZE changes, and says how to go on
pages()
{
	echo "SELECT delta_has_more(d), delta_to(d), delta_resume(d), d
		FROM (SELECT sync_changes_since('$device', \$1::version_vector, $1, \$2::text) d OFFSET 0) page"
}

# pull VARIANT SIZE DATABASE: SIZE changes that came since the vector; more than 16 MB come in several pages
pull()
{
	timed "$1" "$2" -n -w 1 -r "$(($(calls_of "$2") + 1))" "$3" 'SELECT v, NULL FROM bench.vector' "$(pages "$2")"
}

# expect SIZE DATABASE: see that so many changes are waiting
expect()
{
	got=$(run -d "$2" -c "SELECT changes FROM bench.vector, bench.pull(v, $1)")
	[ "$got" = "$1" ] || die "a pull of $1 gave $got changes"
}

# make_table DATABASE ROWS: and a device that has it all
make_table()
{
	run -c "CREATE DATABASE $1"
	run -d "$1" -v rows="$2" -v changes=10 -v batch=10 -f "$here/apply.sql" >/dev/null
	run -d "$1" -f "$here/device.sql"
}

section "pull from a table of $ROWS rows"
make_table run "$ROWS"
for size in $sizes; do
	# the device has seen everything but these
	run -d run <<-SQL
		UPDATE bench.vector SET v = p.v FROM bench.vector o, bench.pull(o.v, 100000) p;
		UPDATE item SET title = 'changed', body = body || ' and more', done = NOT done, prio = prio + 1, updated_at = now()
		    WHERE id IN (SELECT id FROM item ORDER BY md5(id::text || '$size') LIMIT $size);
		CREATE TABLE IF NOT EXISTS bench.changed (size int, id uuid);
		INSERT INTO bench.changed SELECT $size, id FROM item ORDER BY md5(id::text || '$size') LIMIT $size;
		ANALYZE bench.changed;
	SQL
	expect "$size" run
	for round in $(seq "$ROUNDS"); do
		timed "copy.$size" "$size" -w 1 -r "$(($(calls_of "$size") + 1))" run '' \
			"COPY (SELECT row_to_json(i) FROM (SELECT i.id, title, body, done, prio, updated_at
			                                   FROM bench.changed c JOIN item i USING (id) WHERE c.size = $size) i) TO STDOUT"
		pull "pull.$size" "$size" run
	done
	wanted=
	[ "$size" != 10000 ] || wanted='>= 0.6'
	compare speed "copy.$size" "copy.$size" '' rows "COPY (SELECT row_to_json ...) of $size" ''
	compare speed "pull.$size" "copy.$size" "$wanted" rows "sync_changes_since, $size" 'COPY'
	say "pull: $size done"
done

# Log entries behind the vector, written straight into the log, in turn by transactions
# that did nothing.  What the device has not seen lies after them.
run -c 'DROP DATABASE run'
for entries in $little $much; do
	make_table "behind_$entries" "$ROWS"
	first=$(run -d "behind_$entries" -c 'SELECT pg_current_xact_id()')
	seq "$transactions" | sed 's/.*/SELECT pg_current_xact_id();/' |
		PGOPTIONS='-c synchronous_commit=off' run -d "behind_$entries" -o /dev/null
	run -d "behind_$entries" <<-SQL
		UPDATE item SET title = 'changed after these' WHERE id = (SELECT min(id::text)::uuid FROM item);
		UPDATE bench.vector SET v = p.v FROM bench.vector o, bench.pull(o.v, 100000) p;
		INSERT INTO offline_sync.change_log (scope, node, xid, part, table_id, key)
		    SELECT '', l.node, ($first + g::bigint * $transactions / $entries)::text::xid8, 1, l.table_id, '\\x10' || uuid_send(md5(g::text)::uuid)
		    FROM (SELECT * FROM offline_sync.change_log WHERE table_id <> 0 LIMIT 1) l, generate_series(1, $entries) g;
		VACUUM ANALYZE offline_sync.change_log;
		UPDATE item SET title = 'changed with $entries behind' WHERE id IN (SELECT id FROM item ORDER BY id LIMIT 100);
	SQL
	expect 100 "behind_$entries"
	say "pull: $entries log entries written"
done
for round in $(seq "$((2 * ROUNDS))"); do
	for entries in $little $much; do
		pull "behind.$entries" 100 "behind_$entries"
	done
done
compare cost "behind.$little" "behind.$little" '' 'us a row' "100 changes with $little log entries behind" ''
compare cost "behind.$much" "behind.$little" '<= 1.2' 'us a row' "100 changes with $much log entries behind" "$little"
run -c "DROP DATABASE behind_$little" -c "DROP DATABASE behind_$much"

# all rows from nothing, page by page
make_table run "$all"
for round in $(seq "$([ "$QUICK" = yes ] && echo 1 || echo 3)"); do
	timed bootstrap.copy "$all" run '' 'COPY (SELECT row_to_json(i) FROM (SELECT id, title, body, done, prio, updated_at FROM item) i) TO STDOUT'
	timed bootstrap "$all" -n run "SELECT '{}', NULL" "$(pages 10000)"
done
compare speed bootstrap bootstrap.copy '' rows "bootstrap of $all rows, pages of 10,000" 'COPY'
