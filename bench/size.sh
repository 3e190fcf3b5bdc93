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

# Deltas of 1,000 changes on the wire: those above, and real data, flights, all of
# them inserts.  Compressed as HTTP does it, and as TOAST does.
run -d run <<SQL
CREATE TABLE bench.flight (n serial, at text, delay int, distance int, origin text, destination text);
\copy bench.flight (at, delay, distance, origin, destination) from '$here/flights.csv' csv header
CREATE TABLE bench.sample AS SELECT 'bench' AS data, n, json, 1000 AS changes FROM bench.delta;
INSERT INTO bench.sample
    SELECT 'flights', (n - 1) / 1000, '{"format": 1, "replica": "$device", "changes": [' || string_agg(jsonb_build_object(
               'seq', n, 'hlc', replace(at, ' ', 'T') || ':00.000Z/0', 'table', 'flight', 'key', jsonb_build_object('id', md5('flight ' || n)::uuid),
               'insert', jsonb_build_object('at', at || ':00', 'delay', delay, 'distance', distance, 'origin', origin, 'destination', destination))::text,
               ',' ORDER BY n) || ']}', count(*)
    FROM bench.flight GROUP BY 2;
CREATE TABLE bench.wire AS SELECT data, octet_length(json) AS json, changes, delta_send(json::delta) AS pglz, delta_send(json::delta) AS lz4 FROM bench.sample LIMIT 0;
ALTER TABLE bench.wire ALTER pglz SET COMPRESSION pglz;
DO \$\$ BEGIN ALTER TABLE bench.wire ALTER lz4 SET COMPRESSION lz4; EXCEPTION WHEN feature_not_supported THEN NULL; END \$\$;
INSERT INTO bench.wire SELECT data, octet_length(json), changes, delta_send(json::delta), delta_send(json::delta) FROM bench.sample;
SQL

# gzipped DATA WHAT: bytes of WHAT of all deltas, each compressed by itself
gzipped()
{
	run -d run -c "SELECT encode($2, 'hex') FROM bench.sample WHERE data = '$1'" |
		perl -MCompress::Zlib -ne 'chomp; $n += length(Compress::Zlib::memGzip(pack("H*", $_))); END { print $n }'
}

# on_the_wire DATA NAME
on_the_wire()
{
	wire=$(run -d run -F ' ' -c "SELECT sum(json), sum(changes), sum(octet_length(lz4)), sum(pg_column_size(lz4)), sum(pg_column_size(pglz)) FROM bench.wire WHERE data = '$1'")
	gz=$(gzipped "$1" 'delta_send(json::delta)')
	json_gz=$(gzipped "$1" "convert_to(json, 'UTF8')")
	# shellcheck disable=SC2086
	set -- $wire "$2" "$gz" "$json_gz"
	part() { awk -v a="$1" -v b="$2" -v f="$3" 'BEGIN { printf f, a / b }'; }
	show "a change on the wire, $6, JSON" '' '' '' "$(part "$1" "$2" %.0f)" bytes
	show "a change on the wire, $6, JSON, gzip" JSON "$(part "$8" "$1" %.2f)" '' "$(part "$8" "$2" %.1f)" bytes
	show "a change on the wire, $6, binary" JSON "$(part "$3" "$1" %.2f)" '<= 0.5' "$(part "$3" "$2" %.1f)" bytes
	show "a change on the wire, $6, binary, gzip" JSON "$(part "$7" "$1" %.2f)" '<= 0.25' "$(part "$7" "$2" %.1f)" bytes
	show "a change stored, $6, lz4" JSON "$(part "$4" "$1" %.2f)" '' "$(part "$4" "$2" %.1f)" bytes
	show "a change stored, $6, pglz" JSON "$(part "$5" "$1" %.2f)" '' "$(part "$5" "$2" %.1f)" bytes
}
on_the_wire bench 'half of it random'
on_the_wire flights 'flights'

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
