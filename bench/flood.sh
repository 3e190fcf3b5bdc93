#!/bin/sh
# flood: what a device that pushes is left with while another one floods the server with deltas
# that are refused, each as soon as the last was answered.  Called by run.sh.
#
# Beside each: the same while the other connection only computes, which is what a second core
# that is busy costs on this machine.
# shellcheck disable=SC2016		# $1 is a parameter of the statement
set -eu
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"
cd "$DIR"

deltas=300 per_delta=100
[ "$QUICK" = no ] || deltas=50
floods='busy rate signature scope duplicate'

# device 1 is at work, device 2 floods
run -c 'CREATE DATABASE workload'
run -d workload -v devices=2 -v kinds='{own,other}' -v deltas=$deltas -v per_delta=$per_delta -f "$here/devices.sql"
# the key and a signature, of something else, of RFC 8032; the flood's first delta
run -d workload <<-'SQL'
	SELECT sync_register_device(md5('device 2')::uuid, public_key => '\xd75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a') \g /dev/null
	INSERT INTO bench.delta SELECT 2, 'signature', 0, (json::jsonb || '{"signature":
		"ed25519:e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"}')::text
		FROM bench.delta WHERE (device, kind, n) = (2, 'own', 0);
SQL

# alongside FLOOD: push device 1's deltas beside it
alongside()
{
	flood=$1
	fresh run workload
	statement='SELECT status FROM sync_apply_delta($1)'
	pushed="SELECT json FROM bench.delta WHERE (device, kind) = (2, 'own') AND n = 0"
	limit='SET offline_sync.device_rate = 1; SET offline_sync.device_burst = 1'
	case $flood in
		alone) set -- ;;
		busy) set -- -C 'DO $$BEGIN FOR i IN 1 .. 100000 LOOP END LOOP; END$$' ;;
		rate)
			"$CLIENT" -s "$limit" run "$pushed" "$statement" >/dev/null
			set -- -C "$statement" -P "$pushed" -E rejected -S "$limit"
			;;
		signature) set -- -C "$statement" -P "SELECT json FROM bench.delta WHERE kind = 'signature'" -E rejected ;;
		scope) set -- -C "$statement" -P "SELECT json FROM bench.delta WHERE (device, kind) = (2, 'other') ORDER BY n" ;;
		duplicate)
			"$CLIENT" run "$pushed" "$statement" >/dev/null
			set -- -C "$statement" -P "$pushed" -E duplicate
			;;
	esac
	timed "$flood" $per_delta -e applied -w 1 "$@" run "SELECT json FROM bench.delta WHERE (device, kind) = (1, 'own') ORDER BY n" "$statement"
	echo "$measured" | awk -v f="$flood" -v r="$round" '{ print f, r, $5, $5 / $2 }' >>floods
}

for round in $(seq "$ROUNDS"); do
	for flood in alone $floods; do
		alongside "$flood"
	done
	say "flood: round $round of $ROUNDS"
done

# refused FLOOD: how many a second, in the median
refused() { awk -v f="$1" '$1 == f { print $4 }' floods | sort -n | awk '{ a[NR] = $1 } END { printf "%.0f", a[int((NR + 1) / 2)] }'; }

section "a device that pushes deltas of $per_delta inserts, while another one floods the server with refused ones of as many ($(nproc) cores)"
compare speed alone alone '' changes 'alone' ''
compare speed busy alone '' changes 'beside a connection that only computes' 'alone'
for flood in rate signature scope duplicate; do
	case $flood in
		rate) what='over its rate' ;;
		signature) what='with bad signatures' ;;
		scope) what='of changes to a foreign scope' ;;
		duplicate) what='that it had pushed before' ;;
	esac
	compare speed $flood alone '>= 0.9' changes "beside $(refused $flood) deltas a second $what" 'alone'
	compare speed $flood busy '' changes "beside $(refused $flood) deltas a second $what" 'computing'
done
