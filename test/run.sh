#!/bin/sh
# All tests, on this machine: installs what is missing, builds, and runs every
# driver against private servers.  See --help.
set -u

usage()
{
	cat <<'HELP'
usage: sh test/run.sh [OPTION]... [DRIVER | FILE]...

Installs what is missing (with apt, as root), builds a copy of this checkout,
installs the extension, and runs the tests against private servers on Unix
sockets.  No PostgreSQL cluster of this machine is touched.

  DRIVER    regress | isolation | pgtap | tap; without any: all
  FILE      one test: sql/x.sql, test/isolation/specs/x.spec,
            test/pgtap/x.sql, test/t/001_x.pl
  --list    say which tests there are
  --seed S  what the random tests of pgTAP start from: 0 to 1, or "random"; 0.5
            where nothing is said, so that two runs of one state do the same
  --seeds N run pgTAP files with N random seeds each; takes as long as it takes
  --keep    keep the working directory (logs, results) and say where it is
  --help    this text

PG_CONFIG chooses the PostgreSQL installation; without it PG_MAJOR (15) does.
Without root everything must be there already, and that installation writable.

The last line is "N passed, N failed": a regress or isolation test counts as
one, of pgTAP and TAP files every assertion.  A test that did not run, died or
asserted nothing counts as failed.  The exit status is 0 when nothing failed.
HELP
}

top=$(cd "$(dirname "$0")/.." && pwd)
cd "$top" || exit 1
export LANG=C.UTF-8 LC_ALL=C.UTF-8 LANGUAGE=C

say() { printf '%s\n' "$*"; }

# N numbers between 0 and 1
random_seeds() { od -A n -N $(($1 * 4)) -t u4 -w4 /dev/urandom | awk '{ printf "%.6f\n", $1 / 4294967296 }'; }

all_tests() { ls sql/*.sql test/isolation/specs/*.spec test/pgtap/*.sql test/t/*.pl 2>/dev/null; }

keep=no
wanted=
seeds=0.5
while [ $# -gt 0 ]; do
	case $1 in
		--help | -h) usage; exit 0 ;;
		--list) all_tests; exit 0 ;;
		--keep) keep=yes ;;
		--seed | --seeds)
			case $1=${2:-} in
				--seed=random) seeds=$(random_seeds 1) ;;
				--seed=0.[0-9]* | --seed=[01]) seeds=$2 ;;
				--seeds=[1-9]*) seeds=$(random_seeds "$2") ;;
				*) say "run.sh: $1 needs a value; see --help" >&2; exit 2 ;;
			esac
			shift ;;
		regress) wanted="$wanted $(ls sql/*.sql)" ;;
		isolation) wanted="$wanted $(ls test/isolation/specs/*.spec)" ;;
		pgtap) wanted="$wanted $(ls test/pgtap/*.sql)" ;;
		tap) wanted="$wanted $(ls test/t/*.pl)" ;;
		sql/*.sql | test/isolation/specs/*.spec | test/pgtap/*.sql | test/t/*.pl)
			[ -f "$1" ] || { say "run.sh: no such test: $1" >&2; exit 2; }
			wanted="$wanted $1" ;;
		*) say "run.sh: \"$1\" is neither an option, a driver nor a test; see --help" >&2; exit 2 ;;
	esac
	shift
done

passed=0
failed=0
work=$(mktemp -d /tmp/offline_sync.XXXXXX) || exit 1
finish()
{
	rc=$?
	trap - EXIT
	[ $rc = 0 ] || [ $failed -gt 0 ] || failed=1
	if [ $keep = yes ]; then
		say "kept: $work"
	else
		rm -rf "$work"
	fi
	say "$passed passed, $failed failed"
	[ $failed = 0 ] && [ $passed -gt 0 ]
	exit $?
}
trap finish EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

# what is chosen of one driver, one a line
chosen()
{
	if [ -n "$wanted" ]; then
		# shellcheck disable=SC2086
		printf '%s\n' $wanted | grep "^$1" | sort -u
	else
		all_tests | grep "^$1"
	fi
}

# base name without extension
plain() { sed 's,.*/,,; s,\.[a-z]*$,,'; }

# Run a command in the copy as postgres (as the caller where that is not root),
# its output to a log; the status is the command's, 124 when it took too long.
in_copy()
{
	limit=$1 log=$2
	shift 2
	(
		cd "$work/src" || exit 1
		HOME=$work
		export HOME
		if [ "$(id -u)" = 0 ]; then
			exec timeout -k 10 "$limit" runuser -u postgres -- "$@"
		fi
		exec timeout -k 10 "$limit" "$@"
	) >"$log" 2>&1
}

# result NAME PASSED FAILED SECONDS
result()
{
	passed=$((passed + $2))
	failed=$((failed + $3))
	if [ "$3" = 0 ]; then
		printf '  %-34s %5d passed %18d s\n' "$1" "$2" "$4"
	else
		printf '  %-34s %5d passed, %4d FAILED %4d s\n' "$1" "$2" "$3" "$4"
	fi
}

now() { date +%s; }

# pg_regress and pg_isolation_regress: every chosen test must say that it is ok.
# (PostgreSQL 15: "test x ... ok", 16 on: "ok 1 - x".)
run_regress()
{
	driver=$1 pattern=$2 diffs=$3
	shift 3
	names=$(chosen "$pattern" | plain)
	[ -n "$names" ] || { none "$driver"; return; }
	say "$driver"
	begun=$(now)
	# shellcheck disable=SC2086
	in_copy 900 "$work/$driver.log" test/with_pg.sh make -s installcheck PG_CONFIG="$PG_CONFIG" "$@" \
		"$(echo "$driver" | tr '[:lower:]' '[:upper:]')=$(echo $names)"
	rc=$?
	begun=$(($(now) - begun))
	bad=0
	for name in $names; do
		if grep -Eq "^(test )?ok +[0-9]+ +[-+] $name |^(test|   ) +$name +\.\.\. ok" "$work/$driver.log"; then
			ok=1
		else
			ok=0
			bad=1
		fi
		result "$name" $ok $((1 - ok)) "$(took "$name" "$work/$driver.log")"
	done
	if [ $bad = 0 ] && [ $rc != 0 ]; then
		result "($driver ended with status $rc)" 0 1 $begun
		bad=1
	fi
	if [ $bad = 1 ]; then
		for log in "$work/src/$diffs" "$work/$driver.log"; do
			[ -s "$log" ] && show "$log" 200
		done
	fi
}

# seconds that pg_regress says a test took
took()
{
	ms=$(grep -E " $1 .* [0-9]+ ms" "$2" | sed -n 's/.* \([0-9][0-9]*\) ms.*/\1/p' | head -1)
	echo $(((${ms:-0} + 500) / 1000))
}

none()
{
	[ -n "$wanted" ] && return
	result "$1: there are no tests" 0 1 0
}

show()
{
	say "---- last lines of ${1#"$work"/}"
	tail -n "$2" "$1" | cut -c 1-300
	say "----"
}

# One file's verbose TAP output: count the top-level assertions.  Skipped ones are
# neither passed nor failed, so a file that skips all has run no test.
count_tap()
{
	awk '/^ok .*# *[sS][kK][iI][pP]/ { next }
		/^ok [0-9]/ { p++ }
		/^not ok.*# *[tT][oO][dD][oO]/ { p++; next }
		/^not ok [0-9]/ { f++ }
		END { print p + 0, f + 0 }' "$1"
}

# tap_result FILE LOG STATUS SECONDS
tap_result()
{
	# shellcheck disable=SC2046
	set -- "$@" $(count_tap "$2")
	good=$5 bad=$6
	if [ $bad = 0 ] && { [ "$3" != 0 ] || [ "$good" = 0 ]; }; then
		bad=1
	fi
	result "$(echo "$1" | plain)" "$good" $bad "$4"
	[ $bad = 0 ] || show "$2" 60
}

run_pgtap()
{
	files=$(chosen test/pgtap/)
	[ -n "$files" ] || { none pgtap; return; }
	say "pgtap"
	begun=$(now)
	limit=900
	[ "$(echo "$seeds" | wc -w)" -le 1 ] || limit=0
	# shellcheck disable=SC2086
	in_copy $limit "$work/pgtap.log" env TEST_SEEDS="$(echo $seeds)" test/with_pg.sh sh test/pgtap.sh $files
	rc=$?
	for file in $files; do
		log=$work/pgtap.$(echo "$file" | plain).log
		awk -v f="# file $file" '/^# file / { on = ($0 == f) } on' "$work/pgtap.log" >"$log"
		grep -q '^# exit 0$' "$log" && ! grep -q '^# exit [1-9]' "$log"
		tap_result "$file" "$log" $? "$(sed -n 's/^Files=.*, *\([0-9]*\) wallclock.*/\1/p' "$log" | awk '{ n += $1 } END { print n + 0 }')"
	done
	if [ $rc -gt 1 ]; then
		result "(pgtap ended with status $rc)" 0 1 $(($(now) - begun))
		show "$work/pgtap.log" 60
	fi
}

run_tap()
{
	files=$(chosen test/t/)
	[ -n "$files" ] || { none tap; return; }
	say "tap"
	for file in $files; do
		log=$work/tap.$(echo "$file" | plain).log
		begun=$(now)
		in_copy 300 "$log" make -s prove_installcheck PG_CONFIG="$PG_CONFIG" PROVE_TESTS="$file" PROVE_FLAGS=--verbose
		rc=$?
		tap_result "$file" "$log" $rc $(($(now) - begun))
		if [ $rc != 0 ]; then
			for log in "$work"/src/tmp_check/log/"$(echo "$file" | plain)"*.log; do
				[ -s "$log" ] && show "$log" 40
			done
		fi
	done
}

sh "$top/tools/setup.sh" "$work" test || exit 1
. "$work/env"

run_regress regress sql/ regression.diffs ISOLATION=
run_regress isolation test/isolation/specs/ output_iso/regression.diffs REGRESS=
run_pgtap
run_tap
exit 0
