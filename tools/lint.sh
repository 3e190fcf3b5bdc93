#!/bin/sh
# tools/lint.sh [--strict]: our own cheap checks, whose findings are errors, and
# cppcheck and clang-tidy where they are installed, whose findings are news to be
# read: both also see paths that a contract rules out.  With --strict those are errors
# too.
set -u
cd "$(dirname "$0")/.." || exit 1
[ -n "${PG_CONFIG:-}" ] || PG_CONFIG=/usr/lib/postgresql/${PG_MAJOR:-15}/bin/pg_config
[ -x "$PG_CONFIG" ] || PG_CONFIG=pg_config
include=$("$PG_CONFIG" --includedir-server)
rc=0
bad() { printf 'lint: %s\n' "$*"; rc=1; }

sources=$(find src -name '*.c' | sort)

# --- tools ---
news=$(mktemp)
trap 'rm -f "$news"' EXIT
if command -v cppcheck >/dev/null; then
	# shellcheck disable=SC2086
	cppcheck --quiet --inline-suppr --max-configs=1 --std=c99 --template='{file}:{line}: {message} [{id}]' \
		--enable=warning,portability,performance --suppress='*:*/postgresql/*' \
		--suppress=missingInclude --suppress=shiftTooManyBitsSigned --suppress=normalCheckLevelMaxBranches \
		-Isrc -I"$include" -DPGDLLEXPORT= $sources 2>&1 | grep -E '^src/' >"$news"
else
	echo 'lint: cppcheck is not installed, skipped'
fi
if command -v clang-tidy >/dev/null; then
	# shellcheck disable=SC2086
	clang-tidy --quiet \
		-checks='-*,clang-analyzer-*,bugprone-*,-bugprone-easily-swappable-parameters,-bugprone-reserved-identifier,-bugprone-narrowing-conversions,-bugprone-implicit-widening-of-multiplication-result,-clang-analyzer-security.insecureAPI.DeprecatedOrUnsafeBufferHandling' \
		$sources -- -Isrc -I"$include" -D_GNU_SOURCE 2>/dev/null |
		grep ' warning: ' | sed "s,^$PWD/,," | sort -u >>"$news"
else
	echo 'lint: clang-tidy is not installed, skipped'
fi
if [ -s "$news" ]; then
	cat "$news"
	echo "lint: $(wc -l <"$news") places for a second look"
	[ "${1:-}" != --strict ] || rc=1
fi

# --- one version everywhere ---
version=$(sed -n "s/^default_version *= *'\(.*\)'/\1/p" offline_sync.control)
meta=$(sed -n 's/^  "version": *"\([^"]*\)".*/\1/p' META.json)
provided=$(sed -n 's/^      "version": *"\([^"]*\)".*/\1/p' META.json)
[ "$meta" = "$version.0" ] || bad "META.json has version $meta, the control file $version"
[ "$provided" = "$version.0" ] || bad "META.json provides version $provided, the control file $version"
grep -q "^## $version " CHANGELOG.md || bad "CHANGELOG.md has no section \"## $version\""

# --- every test has its expected output, every output its test ---
for f in sql/*.sql; do
	[ -e "$f" ] || continue
	name=$(basename "$f" .sql)
	[ -s "expected/$name.out" ] || bad "$f has no expected/$name.out"
done
for f in expected/*.out; do
	[ -e "$f" ] || continue
	name=$(basename "$f" .out)
	[ -e "sql/${name%_[0-9]}.sql" ] || [ -e "sql/$name.sql" ] || bad "$f belongs to no test"
done
for f in test/isolation/specs/*.spec; do
	[ -e "$f" ] || continue
	name=$(basename "$f" .spec)
	[ -s "test/isolation/expected/$name.out" ] || bad "$f has no test/isolation/expected/$name.out"
done
ls test/t/*.pl 2>/dev/null | sed 's,.*/\([0-9]*\)_.*,\1,' | uniq -d | while read -r n; do
	echo "lint: two TAP tests have number $n"
done | grep . && rc=1

# --- every room's .sql is in the install script ---
for f in $(find src -name '*.sql' | sort); do
	grep -q "$f" Makefile || bad "$f is not listed in the Makefile"
done
for f in $(sed -n 's/^[[:space:]]*\(src\/[a-z_/]*\.sql\).*/\1/p' Makefile); do
	[ -e "$f" ] || bad "the Makefile lists $f, which is not there"
done

# --- the README names every function, type and view that people use ---
for name in $(cat $(find src -name '*.sql') |
	sed -nE 's/^CREATE (OR REPLACE )?(FUNCTION|VIEW|AGGREGATE|TYPE) ([a-z_]+)( |\(|;).*/\3/p' | sort -u |
	grep -vE '_(in|out|recv|send|eq|ne|lt|le|gt|ge|cmp|hash|hash_extended|sortsupport|smaller|larger|concurrent)$' |
	grep -vE '_gin_|_agg_|_contains|_entry$|^orset_to_array$|^sync_(capture|truncate|ddl|sql_drop|tables_info|registry_changed)'); do
	grep -q "\`$name\b\|\b$name(" README.md || bad "README.md does not mention $name"
done
for name in $(sed -n 's/.*DefineCustom.*"\(offline_sync\.[a-z_]*\)".*/\1/p' src/offline_sync.c); do
	grep -q "$name" README.md || bad "README.md does not mention $name"
done

# --- doc/client.md explains every reason of an outcome ---
for name in $(sed -nE 's/.*(apply_refuse|refuse_now|supersede|set_problem)\([^"]*, "([a-z_]+)".*/\2/p
	s/.*apply_refuse_delta\([^"]*"[a-z]+", "([a-z_]+)".*/\1/p
	s/.*reason = "([a-z_]+)".*/\1/p
	s/^\t\treturn "([a-z_]+)";/\1/p' src/merge/apply*.c src/guard/signature.c | sort -u); do
	grep -q "\`$name\`" doc/client.md || bad "doc/client.md does not explain the reason $name"
done

# --- house rules that grep can see ---
# elog(ERROR) is for what cannot happen; what a user can meet has an errcode.
# A message that speaks of the user's things is a user's message.
grep -nE 'elog\(ERROR, *"[^"]*(must|cannot|invalid|not allowed|not tracked|does not exist|permission|exceeds|already|malformed|too (big|large))' $sources |
	grep -v 'return type must be a row type' &&
	bad 'elog(ERROR) for what a user can meet: use ereport with an errcode'
# primary messages: lower case, no period
grep -nE 'errmsg\("([A-Z][a-z]|[^"]*\.")' $sources |
	grep -vE 'errmsg\("(JSON|SQL|WAL)' && bad 'a primary message starts in upper case or ends with a period'
# hints and details are sentences
grep -nE 'err(hint|detail)\("[a-z][^"]*"' $sources && bad 'a hint or detail does not start as a sentence'
grep -nE '^[^"]*[^:"]//' $sources $(find src -name '*.h') && bad '// comment'
grep -nE '\b(TODO|FIXME|XXX|HACK)\b' -r src sql test demo bench tools/*.sh doc README.md 2>/dev/null |
	grep -vE 'tools/lint.sh|X_X|MAKE_SQLSTATE|ERRCODE|mktemp' && bad 'left undone'
# types and the decision are pure
grep -nE '#include "(catalog|executor/spi|utils/(guc|syscache|lsyscache|rel|snapmgr)|access/xact)' \
	$(ls src/types/*.[ch] src/merge/decide.[ch] 2>/dev/null) | grep -v '_d\.h"' &&
	bad 'a pure file includes a header of the catalog, SPI, the clock or the settings'
# non-static functions carry their module's prefix (STYLE 2): main, _PG_init and
# Pg_* are the server's
for f in $(find src -name '*.sql'); do
	awk -v file="$f" '
		/^CREATE (OR REPLACE )?FUNCTION/ { fn = $0; body = "" }
		fn != "" { body = body " " $0 }
		fn != "" && /;[ \t]*(--.*)?$/ {
			if (body !~ /(IMMUTABLE|STABLE|VOLATILE)/) print file ": no volatility: " fn
			if (body !~ /PARALLEL (SAFE|RESTRICTED|UNSAFE)/) print file ": no PARALLEL: " fn
			fn = ""
		}' "$f"
done | grep . && rc=1

[ $rc = 0 ] && echo 'lint: our own rules are kept'
exit $rc
