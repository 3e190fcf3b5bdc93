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
run -d workload <<SQL
CREATE EXTENSION offline_sync;
CREATE TABLE item (id uuid PRIMARY KEY, scope text NOT NULL, title text, body text, done bool, prio int, updated_at timestamptz);
SELECT sync_enable_table('item', 'scope') \\g /dev/null
SELECT sync_register_device(md5('device ' || n)::uuid, ARRAY['one', 'own ' || n]) FROM generate_series(1, 8) n \\g /dev/null
CREATE SCHEMA bench;
CREATE UNLOGGED TABLE bench.delta (device int, kind text, n int, json text, PRIMARY KEY (device, kind, n));
INSERT INTO bench.delta
    SELECT d, k, n, jsonb_build_object('format', 1, 'replica', md5('device ' || d)::uuid, 'changes',
        jsonb_agg(jsonb_build_object('seq', n * $per_delta + c, 'hlc', '2026-11-20T10:00:00.000Z/0', 'table', 'item',
            'key', jsonb_build_object('id', md5(concat_ws(' ', d, n, c))::uuid),
            'insert', jsonb_build_object('scope', CASE k WHEN 'one' THEN 'one' ELSE 'own ' || d END, 'title', 'title of ' || c,
                'body', repeat(md5(c::text), 4), 'done', c % 3 = 0, 'prio', c % 7, 'updated_at', '2026-11-20 10:00:00+00')) ORDER BY c))::text
    FROM generate_series(1, 8) d, unnest('{one,own}'::text[]) k, generate_series(0, $deltas) n, generate_series(1, $per_delta) c
    GROUP BY d, k, n;
VACUUM ANALYZE;
SQL

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
				"$count connections, $scopes, synchronous_commit $durable" '1 connection'
		done
	done
done
