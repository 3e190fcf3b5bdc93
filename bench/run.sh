#!/bin/sh
# The benchmarks: see --help.
set -eu

usage()
{
	sed "s/@ALL@/$all_measures/" <<'HELP'
usage: sh bench/run.sh [--quick] [--rounds N] [MEASURE...]

Measures offline_sync side by side with what it competes with, in the same run:
the median of interleaved rounds, ratios first.

  MEASURE     @ALL@; without any: all
  --quick     fewer rows and variants, one round: to see that all works
  --rounds N  5 without it, 1 with --quick
  --help      this text

Installs what is missing (with apt, as root), builds a copy of this checkout,
installs the extension, and uses a private server on a Unix socket.  PG_CONFIG
chooses the PostgreSQL installation; without it PG_MAJOR (15) does.
HELP
}

all_measures='apply replication local pull size connections flood growth violations maintenance'
measures=''
ROWS=100000 CHANGES=100000 QUICK=no ROUNDS=''
while [ $# -gt 0 ]; do
	case $1 in
		--quick) ROWS=10000 CHANGES=10000 QUICK=yes ;;
		--rounds) ROUNDS=${2:?}; shift ;;
		--help | -h) usage; exit 0 ;;
		*)
			case " $all_measures " in
				*" $1 "*) measures="$measures $1" ;;
				*) echo "run.sh: no measure \"$1\"; see --help" >&2; exit 2 ;;
			esac ;;
	esac
	shift
done
[ -n "$ROUNDS" ] || { [ $QUICK = yes ] && ROUNDS=1 || ROUNDS=5; }
export ROWS CHANGES ROUNDS QUICK

here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d /tmp/offline_sync.XXXXXX)
trap 'rm -rf "$work"' EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

sh "$here/../tools/setup.sh" "$work"
# shellcheck source=/dev/null
. "$work/env"
CLIENT=$work/client RESULTS=$work/results
gcc -O2 -I"$("$PG_CONFIG" --includedir)" -L"$("$PG_CONFIG" --libdir)" "$here/client.c" -o "$CLIENT" -lpq
: >"$RESULTS"
export CLIENT RESULTS

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

echo
awk -F '\t' '
function line(ratio, wanted, cpu, what, against, figure, unit, spread)
{
	printf "%7s  %-8s %7s  %-58s %-22s %10s %-10s %s\n", ratio, wanted, cpu, what, against, figure, unit, spread
}
BEGIN { line("ratio", "wanted", "by CPU", "what", "against", "median", "", "min - max") }
/^#/ { print ""; print substr($0, 2); next }
{ line($1, $2, $3, $4, $5, $6, $8, $7) }' "$RESULTS"
