#!/bin/sh
# Fuzzing of the parsers, outside the server.  See --help.
set -u

usage()
{
	cat <<'HELP'
usage: sh test/fuzz/run.sh [OPTION]... SECONDS [TARGET...]
       sh test/fuzz/run.sh [OPTION]... --fixed RUNS [--seed SEED] [TARGET...]
       sh test/fuzz/run.sh [OPTION]... --replay TARGET FILE...

The first form builds the sources of src/types with clang, libFuzzer,
AddressSanitizer and UndefinedBehaviorSanitizer (installs clang with apt, as
root, where it is missing), and runs each target for so many seconds, guided by
coverage.  The second needs gcc only; it runs so many mutated inputs of each
target, the same ones each time: that is what the tests do.  The third runs
single inputs, with gcc.

  --dir DIR     where to build and to keep what was found (default: a new one
                below /tmp); run again with the same DIR, the first form goes
                on from the inputs that earlier runs collected
  --list        say which targets there are
  --help        this text

A target is one type's text or binary form.  Seeds are in test/fuzz/corpus
(binary ones are made of the text), words of the formats in
test/fuzz/dictionary.  PG_CONFIG chooses the PostgreSQL whose headers and
libraries are used.

On a finding the input that shows it is kept, and the exit status is 1.
HELP
}

say() { printf '%s\n' "$*"; }
die() { printf 'run.sh: %s\n' "$*" >&2; exit 2; }

top=$(cd "$(dirname "$0")/../.." && pwd)
here=$top/test/fuzz
export LC_ALL=C.UTF-8

# the table in targets.c: name, seeds, is it binary
table() { sed -n 's/^	{"\([a-z_]*\)", "*\([a-zA-Z_]*\)"*, \([a-z]*\), .*/\1 \2 \3/p' "$here/targets.c"; }
targets() { table | cut -d' ' -f1; }
seeds_of() { table | sed -n "s/^$1 \([a-z_]*\) .*/\1/p"; }
is_binary() { table | grep -q "^$1 .* true"; }

mode=libfuzzer
dir=
seed=1
amount=
chosen=
while [ $# -gt 0 ]; do
	case $1 in
		--help | -h) usage; exit 0 ;;
		--list) targets; exit 0 ;;
		--dir) dir=${2:?--dir needs a directory}; shift ;;
		--seed) seed=${2:?--seed needs a number}; shift ;;
		--fixed) mode=fixed ;;
		--replay) mode=replay; shift; break ;;
		-*) die "unknown option $1; see --help" ;;
		[0-9]*) amount=$1 ;;
		*) targets | grep -qx -- "$1" || die "there is no target \"$1\"; see --list"
			chosen="$chosen $1" ;;
	esac
	shift
done
if [ $mode = replay ]; then
	[ $# -ge 2 ] || die '--replay needs a target and a file'
elif [ -z "$amount" ]; then
	usage >&2
	exit 2
fi
[ -n "$chosen" ] || chosen=$(targets)

if [ -z "${PG_CONFIG:-}" ]; then
	PG_CONFIG=/usr/lib/postgresql/${PG_MAJOR:-15}/bin/pg_config
	[ -x "$PG_CONFIG" ] || PG_CONFIG=pg_config
fi
made=
if [ -n "$dir" ]; then
	mkdir -p "$dir" || exit 2
	dir=$(cd "$dir" && pwd)
else
	dir=$(mktemp -d /tmp/offline_sync_fuzz.XXXXXX) || exit 2
	made=$dir
fi

if [ $mode = libfuzzer ] && ! command -v clang >/dev/null; then
	if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
		die 'clang is missing (on Debian: apt-get install clang)'
	fi
	say 'installing clang'
	export DEBIAN_FRONTEND=noninteractive
	get() { apt-get -qq -y --no-install-recommends install clang; }
	get >"$dir/apt.log" 2>&1 || { apt-get -qq update && get; } >>"$dir/apt.log" 2>&1 ||
		{ tail -5 "$dir/apt.log" >&2; die 'clang could not be installed'; }
fi

build()
{
	make -s -f "$here/Makefile" -j "${JOBS:-$(nproc)}" DIR="$dir" PG_CONFIG="$PG_CONFIG" "$dir/$1" \
		>"$dir/build.log" 2>&1 || { cat "$dir/build.log" >&2; die 'the build failed'; }
	if [ -s "$dir/build.log" ]; then
		cat "$dir/build.log"
	fi
}
build fixed

# abort() must not leave a core behind; what the shim frees need not be looked for
ulimit -c 0
export ASAN_OPTIONS="detect_leaks=0:abort_on_error=0${ASAN_OPTIONS:+:$ASAN_OPTIONS}"
export UBSAN_OPTIONS="print_stacktrace=1${UBSAN_OPTIONS:+:$UBSAN_OPTIONS}"

if [ $mode = replay ]; then
	"$dir/fixed" "$@"
	rc=$?
	[ -z "$made" ] || rm -rf "$made"
	exit $rc
fi

# The seeds of a target: the text as it is, or what it is in binary.
make_seeds()
{
	target=$1
	mkdir -p "$dir/seeds/$target" "$dir/found"
	for file in "$here/corpus/$(seeds_of "$target")"/*; do
		[ -f "$file" ] || continue
		if is_binary "$target"; then
			"$dir/fixed" "$target" --convert "$file" "$dir/seeds/$target/$(basename "$file")" || return 1
		else
			cp "$file" "$dir/seeds/$target/"
		fi
	done
}

finding()
{
	say "$1: a FINDING; the input that shows it is $2"
	say "replay it with: sh test/fuzz/run.sh --dir $dir --replay $1 $2"
	grep -E 'FINDING|runtime error|ERROR: (Address|libFuzzer)|^ +#[0-9] ' "$3" | head -12
	findings=$((findings + 1))
}

run_fixed()
{
	if FUZZ_INPUT=$dir/found/$1.input "$dir/fixed" "$1" "$seed" "$amount" "$dir/seeds/$1" \
		"$here/dictionary/$(seeds_of "$1")" >"$dir/$1.log" 2>&1; then
		cat "$dir/$1.log"
	else
		finding "$1" "$dir/found/$1.input" "$dir/$1.log"
	fi
}

# libFuzzer's own numbers: of its last status line, and of -print_final_stats
last_of() { sed -n "s/.* $1: \([0-9]*\).*/\1/p" "$2" | tail -1; }
stat_of() { sed -n "s/^stat::$1: *\([0-9]*\).*/\1/p" "$2"; }

run_libfuzzer()
{
	mkdir -p "$dir/corpus/$1"
	ln -sf ../libfuzzer "$dir/bin/$1"
	dictionary=$here/dictionary/$(seeds_of "$1")
	set -- "$1" "$dir/$1.log"
	if "$dir/bin/$1" -max_total_time="$amount" -max_len=4096 -timeout=10 -rss_limit_mb=1024 -seed="$seed" \
		-print_final_stats=1 -artifact_prefix="$dir/found/$1-" $([ ! -f "$dictionary" ] || echo "-dict=$dictionary") \
		"$dir/corpus/$1" "$dir/seeds/$1" >"$2" 2>&1; then
		printf '%-24s %12s %8s %8s %8s %8s %6s MB\n' "$1" "$(stat_of number_of_executed_units "$2")" \
			"$(stat_of average_exec_per_sec "$2")" "$(last_of cov "$2")" "$(last_of ft "$2")" \
			"$(last_of corp "$2")" "$(stat_of peak_rss_mb "$2")"
	else
		# shellcheck disable=SC2012
		finding "$1" "$(ls -t "$dir/found/$1"-* 2>/dev/null | head -1)" "$2"
	fi
}

findings=0
if [ $mode = libfuzzer ]; then
	build libfuzzer
	mkdir -p "$dir/bin"
	printf '%-24s %12s %8s %8s %8s %8s %9s\n' target executions '/ s' edges features corpus memory
fi
for target in $chosen; do
	make_seeds "$target" || die "the seeds of $target cannot be made"
	"run_$mode" "$target"
done
if [ $mode = libfuzzer ] || [ $findings -gt 0 ] || [ -z "$made" ]; then
	say "kept: $dir"
else
	rm -rf "${made:?}"
fi
[ $findings = 0 ]
