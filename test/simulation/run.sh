#!/bin/sh
# Build the extension and the simulation, and run it against a throw-away server.
set -u

top=$(cd "$(dirname "$0")/../.." && pwd)
for arg in "$@"; do
	case $arg in
		--help | -h)
			cat <<'HELP'
usage: sh test/simulation/run.sh [OPTION]...

Installs what is missing (with apt, as root), builds a copy of this checkout,
installs the extension, starts a private server, and runs the simulation there.
PG_CONFIG chooses the PostgreSQL installation; without it PG_MAJOR (15) does.
Options are those of the simulation:

HELP
			sed -n '/^"  --/s/^"\(.*\)\\n".*/\1/p' "$top/test/simulation/main.c"
			exit 0
			;;
	esac
done

work=$(mktemp -d /tmp/offline_sync.XXXXXX) || exit 1
trap 'rm -rf "$work"' EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

sh "$top/tools/setup.sh" "$work" || exit 1
. "$work/env"
make -s -C "$work/src/test/simulation" PG_CONFIG="$PG_CONFIG" || exit 1
PG_EXTRA_CONF="autovacuum = off
log_min_messages = panic
max_wal_size = 4GB" "$top/test/with_pg.sh" "$work/src/test/simulation/simulation" "$@"
