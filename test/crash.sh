#!/bin/sh
# Kill a server many times in the middle of its work.  See --help.
set -u

top=$(cd "$(dirname "$0")/.." && pwd)
usage()
{
	cat <<'HELP'
usage: sh test/crash.sh [OPTION]...

Installs what is missing (with apt, as root), builds a copy of this checkout,
installs the extension, and kills a private server, all of its processes at
once, at random moments, while devices push, submit and pull and others write
by SQL: test/t/020_kills.pl, which says what must hold after each kill.

  --kills N   how often (200); one takes about two seconds
  --seed S    what chooses the work and the moments (1)
  --synchronous-commit on | mixed
              mixed (as without this option): off in some sessions, or in all
              of them, which must make no difference to devices
  --help      this text

PG_CONFIG chooses the PostgreSQL installation; without it PG_MAJOR (15) does.
The exit status is 0 when all holds.
HELP
}

kills=200 seed=1 commit=mixed
while [ $# -gt 0 ]; do
	case $1=${2:-} in
		--help=* | -h=*) usage; exit 0 ;;
		--kills=[1-9]*) kills=$2 ;;
		--seed=[0-9]*) seed=$2 ;;
		--synchronous-commit=on | --synchronous-commit=mixed) commit=$2 ;;
		*) echo "crash.sh: \"$1 ${2:-}\" is no option; see --help" >&2; exit 2 ;;
	esac
	shift 2
done

exec sh "$top/test/by_hand.sh" test/t/020_kills.pl KILLS="$kills" SEED="$seed" SYNCHRONOUS_COMMIT="$commit"
