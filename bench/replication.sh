#!/bin/sh
# replication: what PostgreSQL's logical replication and pglogical take to apply the workload of
# apply.sql, made on another server in transactions of 1,000; beside sync_apply_delta and (a) of
# apply.sh.  Called by run.sh; starts two more servers: the publisher, and a subscriber with
# pglogical, which has to be preloaded.
#
# The changes are all made before the subscription is enabled.  What is measured is the process
# that applies them, by itself: a trigger on bench.mark notes the time, and the CPU that this
# process has used, when the row before the first change arrives, and when that after the last does.
# shellcheck disable=SC2089,SC2090	# quotes in settings are meant literally
set -eu
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source-path=SCRIPTDIR source=workload.sh
. "$(dirname "$0")/workload.sh"
cd "$DIR"

control=$("$PG_CONFIG" --sharedir)/extension/pglogical.control

# Of Debian's PostgreSQL only; a private installation gets no packages.
install_pglogical()
{
	major=$("$PG_CONFIG" --version | sed 's/^PostgreSQL \([0-9]*\).*/\1/')
	[ "$(id -u)" = 0 ] && [ "$PG_CONFIG" = "/usr/lib/postgresql/$major/bin/pg_config" ] && command -v apt-get >/dev/null || return 1
	DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends install "postgresql-$major-pglogical" >apt.log 2>&1
}

case ${1:-} in
	'')
		PGLOGICAL=yes HERE=$PGHOST preload=
		[ -e "$control" ] || install_pglogical || PGLOGICAL=
		if [ -n "$PGLOGICAL" ]; then
			preload="shared_preload_libraries = 'pglogical'"
			# servers that ask which output plugins may be loaded
			if "$("$PG_CONFIG" --bindir)/postgres" --describe-config | grep -q '^output_plugin_libraries'; then
				preload="$preload
output_plugin_libraries = 'pgoutput, pglogical_output'"
			fi
		else
			say 'replication: pglogical is not installed and cannot be; going on without'
		fi
		PG_EXTRA_CONF="$PG_EXTRA_CONF
$preload"
		export PGLOGICAL HERE PG_EXTRA_CONF
		PG_EXTRA_CONF="$PG_EXTRA_CONF
wal_level = logical" exec sh "$here/../test/with_pg.sh" sh "$0" publisher
		;;
	publisher)
		PUBLISHER=$PGHOST
		export PUBLISHER
		exec sh "$here/../test/with_pg.sh" sh "$0" subscriber
		;;
esac
SUBSCRIBER=$PGHOST PGHOST=$HERE

# replicate KIND.SIZE: subscribe, make the changes, enable.  Databases are not dropped: pglogical's
# supervisor does not take part in that.
replicate()
{
	kind=${1%.*} size=${1#*.}
	database=${kind}_$round
	source="host=$PUBLISHER port=$PGPORT user=$PGUSER dbname=$database"
	target=$HERE
	[ "$kind" = native ] || target=$SUBSCRIBER
	there() { PGHOST=$PUBLISHER run -d "$database" -o /dev/null "$@"; }
	here() { PGHOST=$target run -d "$database" -o /dev/null "$@"; }

	PGHOST=$PUBLISHER fresh "$database" "workload_$size"
	PGHOST=$target fresh "$database" "workload_$size"
	there -c 'CREATE TABLE bench.mark (id int PRIMARY KEY)'
	here -f "$here/mark.sql"
	case $kind in
		native)
			there -c 'CREATE PUBLICATION bench FOR TABLE item, bench.mark'
			here -c "CREATE SUBSCRIPTION bench CONNECTION '$source' PUBLICATION bench WITH (enabled = false, copy_data = false)"
			enable='ALTER SUBSCRIPTION bench ENABLE'
			drop='DROP SUBSCRIPTION bench'
			;;
		pglogical)
			there -c 'CREATE EXTENSION pglogical' -c "SELECT pglogical.create_node('publisher', '$source')" \
				-c "SELECT pglogical.replication_set_add_table('default', t) FROM unnest('{item,bench.mark}'::regclass[]) t"
			here -c 'CREATE EXTENSION pglogical' \
				-c "SELECT pglogical.create_node('subscriber', 'host=$target port=$PGPORT user=$PGUSER dbname=$database')" \
				-c "SELECT pglogical.create_subscription('bench', '$source', synchronize_structure => false, synchronize_data => false)"
			here -c "SELECT pglogical.wait_for_subscription_sync_complete('bench')" -c "SELECT pglogical.alter_subscription_disable('bench', true)"
			enable="SELECT pglogical.alter_subscription_enable('bench', true)"
			drop="SELECT pglogical.drop_subscription('bench')"
			;;
	esac
	there -c 'INSERT INTO bench.mark VALUES (1)'
	PGHOST=$PUBLISHER "$CLIENT" "$database" "$whole" "WITH up AS ($upsert) $delete" >/dev/null
	there -c 'INSERT INTO bench.mark VALUES (2)'
	here -c 'CHECKPOINT'
	here -c "$enable"
	here -c 'CALL bench.wait_for_marks()'
	PGHOST=$target run -d "$database" -F ' ' -c "SELECT '$1', $round, seconds / $CHANGES, cpu / $CHANGES, 0 FROM bench.between_marks" >>samples
	here -c "$drop"
	PGHOST=$target check_rows "$1" "$database"
}

variants='upsert.1000 native.1000 json.1000'
[ -z "$PGLOGICAL" ] || variants="upsert.1000 native.1000 pglogical.1000 json.1000"
for server in "$HERE" "$PUBLISHER" ${PGLOGICAL:+"$SUBSCRIBER"}; do
	PGHOST=$server make_workloads upsert.1000
done
for round in $(seq "$ROUNDS"); do
	for variant in $variants; do
		case $variant in
			native.* | pglogical.*) replicate "$variant" ;;
			*) one "$variant" ;;
		esac
	done
	say "replication: round $round of $ROUNDS"
done

section "the same $CHANGES changes from another server, in transactions of 1,000"
compare speed upsert.1000 upsert.1000 '' changes '(a) INSERT ... ON CONFLICT and DELETE of 1,000' ''
compare speed native.1000 upsert.1000 '' changes '(d) logical replication of PostgreSQL' '(a)'
compare speed pglogical.1000 upsert.1000 '' changes '(e) pglogical' '(a)'
compare speed json.1000 upsert.1000 '' changes 'deltas of 1,000, JSON' '(a)'
compare speed json.1000 native.1000 '' changes 'deltas of 1,000, JSON' '(d)'
compare speed json.1000 pglogical.1000 '' changes 'deltas of 1,000, JSON' '(e)'
