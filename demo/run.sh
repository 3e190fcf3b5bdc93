#!/bin/sh
# The demo: see --help.
set -eu

usage()
{
	cat <<'HELP'
usage: sh demo/run.sh [--keep]

Plays a story on real data: a team's calendar, two phones and a laptop that are
offline for two days and edit the same meetings, an assistant who works on the
server by SQL.  Then everybody syncs, and the script checks that all four hold
the same rows, and shows what was merged and why.

Installs what is missing (with apt, as root), builds a copy of this checkout,
installs the extension, and starts a private PostgreSQL server on a Unix socket.
No PostgreSQL cluster of this machine is touched.

  --keep    leave the server up, and say how to connect to it and to stop it
  --help    this text

PG_CONFIG chooses the PostgreSQL installation; without it PG_MAJOR (15) does.
HELP
}

keep=
for arg in "$@"; do
	case $arg in
		--keep) keep=yes ;;
		--help | -h) usage; exit 0 ;;
		*) echo "run.sh: unknown option \"$arg\"; see --help" >&2; exit 2 ;;
	esac
done

here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d /tmp/offline_sync.XXXXXX)
trap 'rm -rf "$work"' EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

sh "$here/../tools/setup.sh" "$work"
. "$work/env"
PG_KEEP=${keep:+server} sh "$here/../test/with_pg.sh" sh "$here/story.sh" "$work"
