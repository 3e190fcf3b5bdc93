#!/bin/sh
# A new device gets very many rows while others write.  See --help.
set -u

top=$(cd "$(dirname "$0")/.." && pwd)
usage()
{
	cat <<'HELP'
usage: sh test/bootstrap.sh [OPTION]...

Installs what is missing (with apt, as root), builds a copy of this checkout,
installs the extension, and lets a new device pull all rows of a table from a
private server, page by page, while SQL and other devices write to it:
test/t/021_bootstrap.pl, which compares the two in the end, and looks at the
size of each page and the memory that it took.

  --rows N    how many rows (1000000)
  --help      this text

PG_CONFIG chooses the PostgreSQL installation; without it PG_MAJOR (15) does.
The exit status is 0 when all holds.
HELP
}

rows=1000000
while [ $# -gt 0 ]; do
	case $1=${2:-} in
		--help=* | -h=*) usage; exit 0 ;;
		--rows=[1-9]*) rows=$2 ;;
		*) echo "bootstrap.sh: \"$1 ${2:-}\" is no option; see --help" >&2; exit 2 ;;
	esac
	shift 2
done

exec sh "$top/test/by_hand.sh" test/t/021_bootstrap.pl ROWS="$rows"
