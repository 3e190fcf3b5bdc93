#!/bin/sh
# maintenance: sync_maintenance over a long log of which every device has acknowledged
# nine tenths, while a device pushes; and what the pushes notice.  Called by run.sh.
# shellcheck disable=SC2016,SC2153		# $1 is a parameter of the statement
set -eu
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"
cd "$DIR"

if [ "$QUICK" = yes ]; then
	rows=$ROWS deltas=30
else
	rows=1000000 deltas=600
fi
entries=$((rows * 10)) per_delta=100 max_rows=${MAX_ROWS:-10000}

run -c 'CREATE DATABASE run'
run -d run -v rows="$rows" -v changes=$((2 * ROUNDS * (deltas + 1) * per_delta)) -v batch=$per_delta -f "$here/apply.sql" >/dev/null
run -d run -f "$here/device.sql"
run -d run -v device="$device" <<SQL
CREATE UNLOGGED TABLE bench.delta (n int PRIMARY KEY, json text);
ALTER TABLE bench.delta ALTER json SET STORAGE EXTERNAL;
INSERT INTO bench.delta
    SELECT n, '{"format": 1, "replica": "' || :'device' || '", "context": ' || v::text || ', "changes": [' || changes || ']}'
    FROM bench.batch, bench.vector;
SELECT sync_register_device(md5('idle')::uuid) \\g /dev/null
SQL

# Each row written ten times, in transactions of a hundred: an entry of its own each time, straight
# into the log, at positions that were used up for it.
run -d run <<SQL
CREATE TABLE bench.first AS SELECT pg_current_xact_id()::text::bigint AS xid;
DO \$\$ BEGIN FOR i IN 1 .. $((entries / 100 + 10)) LOOP PERFORM pg_current_xact_id(); COMMIT; END LOOP; END \$\$;
INSERT INTO offline_sync.change_log (scope, node, xid, part, table_id, key)
    SELECT '', n.id, (f.xid + g / 100)::text::xid8, 1, t.table_id, uuid_send(md5('item ' || g % $rows + 1)::uuid)
    FROM bench.first f, offline_sync.node n, offline_sync.tracked_table t, generate_series(1, $entries) g;
VACUUM ANALYZE;
-- all devices have acknowledged nine tenths
SELECT sync_ack(device, (SELECT jsonb_build_object(node, f.xid + $((entries / 100 * 9 / 10))) FROM offline_sync.node, bench.first f)::text::version_vector)
FROM offline_sync.device \\g /dev/null
CREATE TABLE bench.run (is_on boolean);
INSERT INTO bench.run VALUES (true);
CREATE TABLE bench.call (seconds float8, removed bigint);
SQL
run -d run -c CHECKPOINT
log_size() { run -d run -c "SELECT pg_total_relation_size('offline_sync.change_log') / 1048576"; }
entries_before=$(run -d run -c 'SELECT sum(nkeys) FROM offline_sync.change_log') size_before=$(log_size)

# call until there is nothing more, or until it is told to stop
maintain()
{
	run -d run <<-SQL
		DO \$\$ DECLARE t timestamptz; n bigint; again boolean; BEGIN LOOP
		    t := clock_timestamp();
		    SELECT sum(removed), bool_or(more) INTO n, again FROM sync_maintenance($max_rows);
		    INSERT INTO bench.call VALUES (extract(epoch FROM clock_timestamp() - t), n);
		    COMMIT;
		    EXIT WHEN NOT again OR NOT (SELECT is_on FROM bench.run);
		END LOOP; END \$\$
	SQL
}

# push VARIANT NUMBER: the next of the deltas
push()
{
	timed "$1" $per_delta -e applied -w 1 run \
		"SELECT json FROM bench.delta WHERE n > $(($2 * (deltas + 1))) AND n <= $((($2 + 1) * (deltas + 1))) ORDER BY n" \
		'SELECT status FROM sync_apply_delta($1)'
}

for round in $(seq "$ROUNDS"); do
	push alone $((2 * round - 2))
	run -d run -c 'UPDATE bench.run SET is_on = true'
	maintain &
	push maintained $((2 * round - 1))
	kill -0 $! 2>/dev/null || [ "$QUICK" = yes ] || die 'the log was cleaned up before the pushes had ended'
	run -d run -c 'UPDATE bench.run SET is_on = false'
	wait $!
	say "maintenance: round $round of $ROUNDS"
done
run -d run -c 'UPDATE bench.run SET is_on = true'
maintain
pushed=$((2 * ROUNDS * (deltas + 1) * per_delta))
left=$(run -d run -c 'SELECT sum(nkeys) FROM offline_sync.change_log')
run -d run -c 'VACUUM offline_sync.change_log'

section "clean-up of $entries_before log entries for $rows rows, a tenth of them not acknowledged, up to $max_rows a call"
compare speed alone alone '' changes "pushes of $per_delta changes" ''
compare speed maintained alone '>= 0.8' changes 'the same while sync_maintenance runs' 'pushes alone'
run -d run -F ' ' -c "SELECT count(*), sum(removed), round(sum(seconds)::numeric, 1), round((sum(removed) / sum(seconds))::numeric),
    round((percentile_cont(0.5) WITHIN GROUP (ORDER BY seconds) * 1000)::numeric), round(max(seconds)::numeric * 1000) FROM bench.call" >calls
# shellcheck disable=SC2034
read -r calls removed seconds rate median longest <calls
show 'entries left, and written by the pushes meanwhile' '' "$(awk "BEGIN { printf \"%.2f\", $left / $entries_before }")" '' "$left" "of which $pushed pushed"
show "calls of sync_maintenance, $removed entries removed" '' '' '' "$calls" "in $seconds s"
show 'entries removed a second' '' '' '' "$rate" '/s'
show 'a call, median' '' '' '' "$median" "ms, at most $longest"
show 'the log and its index before' '' '' '' "$size_before" 'MB'
show 'the same afterwards, its free space included' '' '' '' "$(log_size)" 'MB'
