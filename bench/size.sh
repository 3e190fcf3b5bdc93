#!/bin/sh
# size: bytes in rows, log, deltas and WAL, and the memory that a large delta takes.
# Called by run.sh.
# shellcheck disable=SC2016,SC2153		# $1 is a parameter of the statement
set -eu
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"
cd "$DIR"

section "bytes"
run -c 'CREATE DATABASE run'
run -d run -v rows="$ROWS" -v changes="$CHANGES" -v batch=1000 -f "$here/apply.sql" >/dev/null
fresh plain run
run -d run -f "$here/device.sql"
run -d run -v device="$device" <<'SQL'
CREATE TABLE bench.delta AS
    SELECT n, ('{"format": 1, "replica": "' || :'device' || '", "context": ' || v::text || ', "changes": [' || changes || ']}') AS json
    FROM bench.batch, bench.vector;
SQL

# metadata in the row, and the log, of deltas that a device pushed
wal() { run -d run -c 'SELECT pg_current_wal_insert_lsn()'; }
run -d run -c 'CHECKPOINT'
before=$(wal)
timed push 1000 -e applied run 'SELECT json FROM bench.delta ORDER BY n' 'SELECT status FROM sync_apply_delta($1)'
wal_bytes=$(run -d run -c "SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '$before') / $CHANGES")
show 'WAL a change, deltas of 1,000 (first changes of pages whole)' '' '' '' "$(printf %.0f "$wal_bytes")" bytes
show 'change log with its index, a change of deltas of 1,000' '' '' '<= 110' \
	"$(run -d run -c "SELECT round((pg_relation_size('offline_sync.change_log') + pg_relation_size('offline_sync.change_log_position'))::numeric / sum(nkeys), 1)
	                  FROM offline_sync.change_log WHERE table_id <> 0")" bytes
show '_sync of a row that one device wrote whole' '' '' '<= 48' \
	"$(run -d run -c "SELECT round(avg(pg_column_size(_sync)), 1) FROM item JOIN bench.change USING (id) WHERE kind = 'insert'")" bytes

# one more column at a time, each by a write of its own
run -d run <<'SQL'
CREATE TABLE bench.stamped (columns int, bytes float8);
INSERT INTO bench.stamped SELECT 1, avg(pg_column_size(_sync)) FROM item JOIN bench.change USING (id) WHERE kind = 'insert';
UPDATE item SET title = 'other' FROM bench.change c WHERE c.id = item.id AND kind = 'insert';
INSERT INTO bench.stamped SELECT 2, avg(pg_column_size(_sync)) FROM item JOIN bench.change USING (id) WHERE kind = 'insert';
UPDATE item SET prio = prio + 1 FROM bench.change c WHERE c.id = item.id AND kind = 'insert';
INSERT INTO bench.stamped SELECT 3, avg(pg_column_size(_sync)) FROM item JOIN bench.change USING (id) WHERE kind = 'insert';
SQL
show '_sync, for the second stamp, by the node' '' '' '<= 24' \
	"$(run -d run -c "SELECT round((max(bytes) FILTER (WHERE columns = 2) - max(bytes) FILTER (WHERE columns = 1))::numeric, 1) FROM bench.stamped")" bytes
show '_sync, for the third stamp, by the node' '' '' '<= 24' \
	"$(run -d run -c "SELECT round((max(bytes) FILTER (WHERE columns = 3) - max(bytes) FILTER (WHERE columns = 2))::numeric, 1) FROM bench.stamped")" bytes

# Deltas on the wire: those above, half of whose bytes are random digits, and real
# data: flights, all inserts.  Compressed as HTTP does it, and as TOAST does.
run -d run -v device="$device" <<'SQL'
CREATE TABLE bench.flight (n serial, at text, delay int, distance int, origin text, destination text);
\copy bench.flight (at, delay, distance, origin, destination) from pstdin csv header
SQL
run -d run -c "\\copy bench.flight (at, delay, distance, origin, destination) from '$here/flights.csv' csv header"
run -d run -v device="$device" <<'SQL'
CREATE TABLE bench.wire AS
    SELECT 'bench' AS data, n, json, json::delta AS delta FROM bench.delta
    UNION ALL
    SELECT 'flights', (n - 1) / 1000, json, json::delta
    FROM (SELECT n, '{"format": 1, "replica": "' || :'device' || '", "changes": [' || string_agg(json_build_object(
              'seq', n, 'hlc', replace(at, ' ', 'T') || ':00.000Z/0', 'table', 'flight', 'key', json_build_object('id', md5('flight ' || n)::uuid),
              'insert', json_build_object('at', at || ':00', 'delay', delay, 'distance', distance, 'origin', origin, 'destination', destination))::text, ',') OVER w || ']}' AS json
          FROM bench.flight WINDOW w AS (PARTITION BY (n - 1) / 1000 ORDER BY n ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING)) d
    WHERE n % 1000 = 1;
SQL
# memory: the high-water mark of a new backend that applies one large delta
megabytes=64
[ "$QUICK" = no ] || megabytes=16
run -d plain -f "$here/device.sql"
deltas="SELECT '{\"format\": 1, \"replica\": \"$device\", \"changes\": [' || (
    SELECT string_agg(format('{\"seq\": %s, \"hlc\": \"2026-11-20T10:00:00.000Z/0\", \"table\": \"item\", \"key\": {\"id\": \"%s\"}, \"insert\": {\"title\": \"title of %s\", '
                             '\"body\": \"%s\", \"done\": true, \"prio\": 1, \"updated_at\": \"2026-11-20 10:00:00+00\"}}', n, md5('memory ' || n)::uuid, n, repeat(md5(n::text), 4)), ',' ORDER BY n)
    FROM generate_series(1, CHANGES_WANTED) n) || ']}'"
changes=$((megabytes * 1024 * 1024 / 368))
run -d plain -c "CREATE TABLE bench.large AS $(echo "$deltas" | sed "s/CHANGES_WANTED/$changes/") AS json"
bytes=$(run -d plain -c 'SELECT octet_length(json) FROM bench.large')
"$CLIENT" -e applied -s "SET offline_sync.max_delta_size = '128MB'; SET offline_sync.max_delta_changes = 1000000" plain 'SELECT json FROM bench.large' 'SELECT status FROM sync_apply_delta($1)' >large
# the backend that is measured also fetched the delta for the client, which takes less
show "peak memory of the backend, JSON delta of $((bytes / 1048576)) MB ($changes inserts)" 'its size' \
	"$(awk -v b="$bytes" '{ printf "%.1f", $4 * 1024 / b }' large)" '<= 6' "$(awk '{ printf "%.0f", $4 / 1024 }' large)" MB
