#!/bin/sh
# pull: sync_changes_since against COPY (SELECT row_to_json ...) of the same rows, with
# little and with much in the log behind them; and all rows from nothing.  Called by run.sh.
# shellcheck disable=SC2016,SC2153		# $1 is a parameter of the statement
set -eu
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"
cd "$DIR"

if [ "$QUICK" = yes ]; then
	sizes='100 10000' history=100000 rows=$ROWS
else
	sizes='100 10000 100000' history=10000000 rows=1000000
fi

# calls_of SIZE: small pulls are repeated
calls_of() { case $1 in 100) echo 50 ;; 10000) echo 3 ;; *) echo 1 ;; esac; }

# pull VARIANT SIZE: what came since the vector, in one page; the pages are asked for SIZE changes
pull()
{
	timed "$1" "$2" -w 1 -r "$(($(calls_of "$2") + 1))" run "SELECT v FROM bench.vector" \
		"SELECT sync_changes_since('$device', \$1::version_vector, $2)"
}

run -c 'CREATE DATABASE run'
run -d run -v rows="$rows" -v changes=10 -v batch=10 -f "$here/apply.sql" >/dev/null
run -d run -f "$here/device.sql"

section "pull from a table of $rows rows"
for size in $sizes; do
	# the device has seen everything but these
	run -d run <<-SQL
		UPDATE bench.vector SET v = delta_to(sync_changes_since('$device', v, 100000));
		UPDATE item SET title = 'changed', body = body || ' and more', done = NOT done, prio = prio + 1, updated_at = now()
		    WHERE id IN (SELECT id FROM item ORDER BY md5(id::text || '$size') LIMIT $size);
		CREATE TABLE IF NOT EXISTS bench.changed (size int, id uuid);
		INSERT INTO bench.changed SELECT $size, id FROM item ORDER BY md5(id::text || '$size') LIMIT $size;
		ANALYZE bench.changed;
	SQL
	got=$(run -d run -c "SELECT delta_count(sync_changes_since('$device', v, $size)) FROM bench.vector")
	[ "$got" = "$size" ] || die "a pull of $size gave $got changes"
	for round in $(seq "$ROUNDS"); do
		timed "copy.$size" "$size" -w 1 -r "$(($(calls_of "$size") + 1))" run '' \
			"COPY (SELECT row_to_json(i) FROM (SELECT i.id, title, body, done, prio, updated_at
			                                   FROM bench.changed c JOIN item i USING (id) WHERE c.size = $size) i) TO STDOUT"
		pull "pull.$size" "$size"
	done
	wanted=
	[ "$size" != 10000 ] || wanted='>= 0.6'
	compare speed "copy.$size" "copy.$size" '' rows "COPY (SELECT row_to_json ...) of $size" ''
	compare speed "pull.$size" "copy.$size" "$wanted" rows "sync_changes_since, $size" 'COPY'
	say "pull: $size done"
done

# History: entries behind the vector, written straight into the log, as if by one
# earlier transaction of this node; what the device has not seen lies after them.
base=100000
[ "$QUICK" = no ] || base=1000
for entries in $base $history; do
	run -d run <<-SQL
		INSERT INTO offline_sync.change_log (scope, node, xid, part, table_id, key)
		    SELECT l.scope, l.node, l.xid, 1, l.table_id, uuid_send(md5(g::text)::uuid)
		    FROM (SELECT DISTINCT ON (scope) * FROM offline_sync.change_log WHERE table_id <> 0 AND scope IS NOT NULL ORDER BY scope, xid) l,
		         generate_series(1, $entries - (SELECT coalesce(sum(nkeys), 0) FROM offline_sync.change_log)) g;
		VACUUM ANALYZE offline_sync.change_log;
		UPDATE bench.vector SET v = delta_to(sync_changes_since('$device', v, 100000));
		UPDATE item SET title = 'changed with $entries behind' WHERE id IN (SELECT id FROM item ORDER BY id LIMIT 100);
	SQL
	got=$(run -d run -c "SELECT delta_count(sync_changes_since('$device', v, 100)) FROM bench.vector")
	[ "$got" = 100 ] || die "a pull of 100 gave $got changes"
	for round in $(seq "$ROUNDS"); do
		pull "history.$entries" 100
	done
	say "pull: $entries log entries done"
done
compare cost "history.$base" "history.$base" '' 'us a row' "100 changes with $base log entries behind" ''
compare cost "history.$history" "history.$base" '<= 1.2' 'us a row' "100 changes with $history log entries behind" "$base"

# all rows from nothing, page by page
for round in $(seq "$([ "$QUICK" = yes ] && echo 1 || echo 3)"); do
	timed bootstrap.copy "$rows" run '' 'COPY (SELECT row_to_json(i) FROM (SELECT id, title, body, done, prio, updated_at FROM item) i) TO STDOUT'
	timed bootstrap "$rows" run '' "DO \$\$ DECLARE d delta; v version_vector := '{}'; r text;
		BEGIN LOOP d := sync_changes_since('$device', v, 10000, r); PERFORM length(d::text); v := delta_to(d); r := delta_resume(d);
		EXIT WHEN NOT delta_has_more(d); END LOOP; END \$\$"
done
compare speed bootstrap bootstrap.copy '' rows "bootstrap of $rows rows, pages of 10,000" 'COPY'
