#!/bin/sh
# tools/indent.sh [--check | --typedefs] [FILE...]: format the C sources as
# PostgreSQL's own pgindent does, with Debian's pg-bsd-indent (2.1.1, the version
# that PostgreSQL 15 uses).
#
#   --check     change nothing; show what would change, status 1 if anything
#   --typedefs  write tools/typedefs.list anew from the debug information of the
#               built objects ("make" first) and the typedefs of our own headers
#
# Without FILEs: all of src.
set -eu
cd "$(dirname "$0")/.."

typedefs()
{
	objects=$(find src -name '*.o')
	[ -n "$objects" ] || { echo 'indent.sh: no objects; run "make" first' >&2; exit 1; }
	{
		# shellcheck disable=SC2086
		objdump --dwarf=info $objects |
			awk '/DW_TAG_/ { on = /DW_TAG_typedef/ }
				on && /DW_AT_name/ { sub(/.*: /, ""); sub(/[ \t]+$/, ""); print; on = 0 }'
		# the ones that no object uses
		find src -name '*.[ch]' -exec sed -n \
			-e 's/^} *\([A-Za-z_][A-Za-z0-9_]*\);$/\1/p' \
			-e 's/^typedef .*[ *]\([A-Za-z_][A-Za-z0-9_]*\);$/\1/p' \
			-e 's/^typedef .*(\*\([A-Za-z_][A-Za-z0-9_]*\)).*$/\1/p' \
			-e 's/^typedef .*[ *]\([A-Za-z_][A-Za-z0-9_]*\) (.*/\1/p' {} +
		echo bool
	} | grep -E '^[A-Za-z_][A-Za-z0-9_]*$' | grep -v '^_' |
		grep -vxE 'ANY|FD_SET|U|abs|allocfunc|boolean|date|digit|ilist|interval|iterator|other|pointer|printfunc|reference|string|timestamp|type|wrap' |
		LC_ALL=C sort -u >tools/typedefs.list
	wc -l tools/typedefs.list
}

mode=write
case ${1:-} in
	--typedefs) typedefs; exit 0 ;;
	--check) mode=check; shift ;;
	-*) sed -n '2,/^set/s/^# \{0,1\}//p' "$0"; exit 2 ;;
esac
command -v pg_bsd_indent >/dev/null || { echo 'indent.sh: needs the package pg-bsd-indent' >&2; exit 2; }
# shellcheck disable=SC2046
[ $# -gt 0 ] || set -- $(find src -name '*.[ch]' | sort)

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
rc=0
for file in "$@"; do
	# what pgindent's wrapper does before and after
	sed 's|/\* \{1,\}---|/*---X_X|g' "$file" >"$tmp/in.c"
	if ! (cd "$tmp" && pg_bsd_indent -bad -bap -bbb -bc -bl -cli1 -cp33 -cdb -nce -d0 -di12 -nfc1 -i4 -l79 \
		-lp -lpl -nip -npro -sac -tpg -ts4 -U"$OLDPWD/tools/typedefs.list" in.c out.c) >"$tmp/messages" 2>&1 ||
		[ -s "$tmp/messages" ]; then
		echo "$file: pg_bsd_indent failed:" >&2
		cat "$tmp/messages" >&2
		rc=1
		continue
	fi
	sed 's|/\*---X_X|/* ---|g; s|\*/\(/\*.*\*/\)$|*/\t\1|; s/^\([A-Za-z_][^[:space:]]*\)[ \t]\{1,\}\*/\1 */' "$tmp/out.c" >"$tmp/new.c"
	cmp -s "$file" "$tmp/new.c" && continue
	if [ $mode = check ]; then
		diff -u --label "$file" --label "$file (indented)" "$file" "$tmp/new.c" || rc=1
	else
		cat "$tmp/new.c" >"$file"
		echo "indented $file"
	fi
done
exit $rc
