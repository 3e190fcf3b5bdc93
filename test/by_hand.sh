#!/bin/sh
# test/by_hand.sh FILE [NAME=VALUE]...: one TAP test in a size of its own, for as
# long as it takes, with its output as it comes.  crash.sh and bootstrap.sh use it.
set -u
[ $# -gt 0 ] || { sed -n '2,/^set/s/^# \{0,1\}//p' "$0"; exit 2; }
file=$1
shift
top=$(cd "$(dirname "$0")/.." && pwd)
work=$(mktemp -d /tmp/offline_sync.XXXXXX) || exit 1
trap 'rm -rf "$work"' EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

sh "$top/tools/setup.sh" "$work" test || exit 1
. "$work/env"
cd "$work/src" || exit 1
as=
[ "$(id -u)" != 0 ] || as='runuser -u postgres --'
# shellcheck disable=SC2086
$as env HOME="$work" LC_ALL=C.UTF-8 "$@" make -s prove_installcheck PG_CONFIG="$PG_CONFIG" PROVE_TESTS="$file" PROVE_FLAGS=--verbose
rc=$?
if [ $rc != 0 ]; then
	for log in "$work"/src/tmp_check/log/*"$(basename "$file" .pl)"*; do
		echo "---- last lines of $(basename "$log")"
		tail -n 40 "$log" | cut -c 1-2000
	done
fi
exit $rc
