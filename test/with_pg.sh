#!/bin/sh
# test/with_pg.sh COMMAND...: run COMMAND against a private, throw-away cluster.
#
# As root the server runs as postgres, otherwise as the caller.  It listens on a
# Unix socket in a directory of its own only: any number may run at once, and no
# other cluster is touched.  PGHOST, PGPORT, PGUSER, PGDATABASE lead to it, PGLOG
# names its log.  PG_CONFIG chooses the installation, PG_EXTRA_CONF adds lines to
# postgresql.conf; PG_KEEP, a database's name, leaves the server up and says how to
# connect to it and to stop it.  The exit status is the command's; on failure the
# log's end is shown.
set -eu
case ${1:---help} in -h | --help) set -- ;; esac
[ $# -gt 0 ] || { sed -n '2,/^set/s/^# \{0,1\}//p' "$0"; exit 2; }
[ -n "${PG_CONFIG:-}" ] || PG_CONFIG=/usr/lib/postgresql/${PG_MAJOR:-15}/bin/pg_config
[ -x "$PG_CONFIG" ] || PG_CONFIG=pg_config
bin=$("$PG_CONFIG" --bindir)
dir=$(mktemp -d /tmp/pg.XXXXXX)			# socket paths may have 107 bytes at most
if [ "$(id -u)" = 0 ]; then
	chown postgres "$dir"
	chmod 755 "$dir"
fi

# from a directory that the server's user can read
as_server()
(
	cd /
	if [ "$(id -u)" = 0 ]; then
		exec runuser -u postgres -- "$@"
	fi
	exec "$@"
)

started=
finish()
{
	if [ -n "${PG_KEEP:-}" ] && [ -n "$started" ]; then
		as=
		[ "$(id -u)" != 0 ] || as='runuser -u postgres -- '
		cat <<KEPT

The server is still up.  To connect:
    $bin/psql -h $dir -U postgres $PG_KEEP
To stop and remove it:
    (cd / && $as$bin/pg_ctl -D $dir/data -m fast stop); rm -rf $dir
KEPT
		return
	fi
	as_server "$bin/pg_ctl" -D "$dir/data" -m immediate -w stop >/dev/null 2>&1 || true
	rm -rf "$dir"
}
trap finish EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

as_server "$bin/initdb" -D "$dir/data" -U postgres -A trust -N --no-instructions --locale=C.UTF-8 \
	>"$dir/initdb.log" 2>&1 || { cat "$dir/initdb.log" >&2; exit 1; }
cat >>"$dir/data/postgresql.conf" <<CONF
listen_addresses = ''
unix_socket_directories = '$dir'
fsync = off
log_checkpoints = off
${PG_EXTRA_CONF:-}
CONF
as_server "$bin/pg_ctl" -D "$dir/data" -l "$dir/log" -w -s start || { cat "$dir/log" >&2; exit 1; }
started=yes

PATH=$bin:$PATH PGHOST=$dir PGPORT=5432 PGUSER=postgres PGDATABASE=postgres PGLOG=$dir/log
export PATH PGHOST PGPORT PGUSER PGDATABASE PGLOG
rc=0
"$@" || rc=$?
[ $rc = 0 ] || tail -40 "$dir/log" >&2
exit $rc
