#!/bin/sh
# test/regress.sh OUTPUTDIR TEST... -- COMMAND...: run pg_regress (or
# pg_isolation_regress) tests one by one, COMMAND being the program with its
# options.  Each time it makes the database anew: no test finds what another left,
# and a test alone does what it does among all.
#
# Prints the program's line about each test; differences are collected in
# OUTPUTDIR/regression.diffs.  The exit status is 0 when all passed.
set -u
dir=$1
shift
tests=
while [ "$1" != -- ]; do
	tests="$tests $1"
	shift
done
shift
mkdir -p "$dir"
log=$dir/regression.log
all=$dir/regression.all
: >"$all"
passed=0 failed=0
for test in $tests; do
	rm -f "$dir/regression.diffs"
	if "$@" --outputdir="$dir" "$test" >"$log" 2>&1; then
		passed=$((passed + 1))
	else
		failed=$((failed + 1))
		cat "$dir/regression.diffs" >>"$all" 2>/dev/null
	fi
	# 15: "test x ... ok", 16 and later: "ok 1 - x"
	grep -E '^(test |ok |not ok )' "$log" || { echo "test $test ... FAILED (did not run)"; cat "$log"; }
done
rm -f "$dir/regression.out" "$log"
mv "$all" "$dir/regression.diffs"
echo "$passed passed, $failed failed"
[ $failed = 0 ] || echo "differences: $dir/regression.diffs"
[ $failed = 0 ] || exit 1
rm -f "$dir/regression.diffs"
