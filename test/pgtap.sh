#!/bin/sh
# test/pgtap.sh FILE...: run pgTAP files against a running server, each in a new
# database of its own, dropped afterwards.  The usual PG* variables say which
# server.  TEST_SEEDS lists what the random ones start from, a run each; without it
# every file takes one of its own.  The exit status is 0 when every file passed.
set -u
rc=0
db=offline_sync_pgtap_$$
options=${PGOPTIONS:-}
for file in "$@"; do
	echo "# file $file"
	for seed in ${TEST_SEEDS:--}; do
		case $seed$options in
			-* | *test.seed=*) ;;
			*) PGOPTIONS="$options -c test.seed=$seed"; export PGOPTIONS ;;
		esac
		status=1
		if createdb -T template0 "$db"; then
			pg_prove --verbose --dbname "$db" "$file" && status=0
			dropdb -f "$db"
		fi
		echo "# exit $status"
		[ $status = 0 ] || rc=1
	done
done
exit $rc
