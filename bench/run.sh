#!/bin/sh
# The benchmarks: see --help.
set -eu

usage()
{
	cat <<'HELP'
usage: sh bench/run.sh [--quick] [--rounds N] [MEASURE...]

Measures offline_sync side by side with what it competes with, in the same run:
the median of interleaved rounds, ratios first.

  MEASURE     apply, violations; without any: all
  --quick     fewer rows and rounds, under a minute
  --rounds N  5 without it, 3 with --quick
  --help      this text

Installs what is missing (with apt, as root), builds a copy of this checkout,
installs the extension, and uses a private server on a Unix socket.  PG_CONFIG
chooses the PostgreSQL installation; without it PG_MAJOR (15) does.
HELP
}

all_measures="apply violations"
measures=
ROWS=100000 CHANGES=100000 ROUNDS=
while [ $# -gt 0 ]; do
	case $1 in
		--quick) ROWS=20000 CHANGES=20000; ROUNDS=${ROUNDS:-3} ;;
		--rounds) ROUNDS=${2:?}; shift ;;
		--help | -h) usage; exit 0 ;;
		*)
			[ -f "$(dirname "$0")/$1.sh" ] && [ "$1" != run ] ||
				{ echo "run.sh: no measure \"$1\"; see --help" >&2; exit 2; }
			measures="$measures $1" ;;
	esac
	shift
done
ROUNDS=${ROUNDS:-5}
export ROWS CHANGES ROUNDS

here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d /tmp/offline_sync.XXXXXX)
trap 'rm -rf "$work"' EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

sh "$here/../tools/setup.sh" "$work"
. "$work/env"

echo "machine: $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -1), $(nproc) cores, $(awk '/MemTotal/ { printf "%.0f GB", $2 / 1048576 }' /proc/meminfo), load $(cut -d' ' -f1 /proc/loadavg)"
echo "version: $("$BINDIR/postgres" --version), offline_sync $(sed -n "s/^default_version *= *'\(.*\)'/\1/p" "$here/../offline_sync.control")"
PG_EXTRA_CONF="shared_buffers = 512MB
max_wal_size = 8GB
checkpoint_timeout = 1h
autovacuum = off
jit = off
log_min_messages = error"
export PG_EXTRA_CONF
echo "settings: fsync = off, $(echo "$PG_EXTRA_CONF" | tr '\n' ',' | sed 's/,/, /g')"

for measure in ${measures:-$all_measures}; do
	DIR=$work/$measure
	mkdir -p "$DIR"
	export DIR
	sh "$here/../test/with_pg.sh" sh "$here/$measure.sh"
done
