#!/bin/sh
# tools/setup.sh DIR [test]: make this machine ready to run a server with the
# extension.  Used by demo/run.sh, bench/run.sh and test/run.sh.
#
#  - installs with apt what is missing and only that ("test": the test drivers
#    too); no PostgreSQL cluster is created, nothing is started;
#  - copies the checkout to DIR/src, which the postgres user can read and write
#    (the checkout itself may be anywhere, and stays clean);
#  - builds there and runs "make install".
#
# PG_CONFIG chooses the PostgreSQL installation; without it, PG_MAJOR (15) does.
# Writes DIR/env, to be sourced: PG_CONFIG, BINDIR.
set -eu

dir=${1:?usage: tools/setup.sh DIR [test]}
what=${2:-}
top=$(cd "$(dirname "$0")/.." && pwd)
major=${PG_MAJOR:-15}
export LC_ALL=C.UTF-8
mkdir -p "$dir"

say() { printf '%s\n' "$*"; }
die() { printf 'setup: %s\n' "$*" >&2; exit 1; }

# A private or packaged installation if there is one, else what apt will bring.
if [ -z "${PG_CONFIG:-}" ]; then
	PG_CONFIG=/usr/lib/postgresql/$major/bin/pg_config
	if [ ! -x "$PG_CONFIG" ] && ! command -v apt-get >/dev/null; then
		PG_CONFIG=$(command -v pg_config) || die 'no pg_config found; set PG_CONFIG'
	fi
fi

# What is missing, as Debian packages.  Asks for the things themselves, so that
# an installation from elsewhere counts too.
missing()
{
	command -v make >/dev/null || echo make
	command -v gcc >/dev/null || echo gcc
	[ -e /usr/include/stdio.h ] || echo libc6-dev
	echo '#include <openssl/evp.h>' | gcc -E - >/dev/null 2>&1 || echo libssl-dev
	if [ -x "$PG_CONFIG" ]; then
		[ -x "$("$PG_CONFIG" --bindir)/initdb" ] || echo "postgresql-$major"
		[ -e "$("$PG_CONFIG" --pgxs)" ] || echo "postgresql-server-dev-$major"
	else
		# pg_config alone may come from the server's package or the other
		[ -x "$(dirname "$PG_CONFIG")/initdb" ] || echo "postgresql-$major"
		echo "postgresql-server-dev-$major"
	fi
	[ "$what" = test ] || return 0
	perl -MIPC::Run -MTest::More -e 1 2>/dev/null || echo libipc-run-perl
	command -v prove >/dev/null || echo perl
	command -v pg_prove >/dev/null || echo libtap-parser-sourcehandler-pgtap-perl
	if [ -x "$PG_CONFIG" ]; then
		[ -e "$("$PG_CONFIG" --sharedir)/extension/pgtap.control" ]
	else
		false
	fi || echo "postgresql-$major-pgtap"
}

packages=$(missing | tr '\n' ' ')
if [ -n "$packages" ]; then
	command -v apt-get >/dev/null || die "missing: $packages(install them; there is no apt-get here)"
	[ "$(id -u)" = 0 ] || die "missing packages; as root: apt-get install $packages"
	say "installing $packages"
	# Installing a server makes and starts a cluster on port 5432 unless told not to.
	conf=/etc/postgresql-common/createcluster.d/00-offline-sync-setup.conf
	made=
	if [ ! -e "$conf" ]; then
		mkdir -p "$(dirname "$conf")"
		echo 'create_main_cluster = false' >"$conf"
		made=$conf
	fi
	trap '[ -z "$made" ] || rm -f "$made"' EXIT
	export DEBIAN_FRONTEND=noninteractive
	get() { apt-get -qq -y --no-install-recommends install $packages; }
	# shellcheck disable=SC2086
	if ! apt-get -qq -s --no-install-recommends install $packages >/dev/null 2>&1 || ! get >"$dir/apt.log" 2>&1; then
		apt-get -qq update >"$dir/apt.log" 2>&1 || { tail -20 "$dir/apt.log" >&2; die 'apt-get update failed'; }
		get >>"$dir/apt.log" 2>&1 || { tail -20 "$dir/apt.log" >&2; die 'apt-get install failed'; }
	fi
	[ -z "$made" ] || rm -f "$made"
	trap - EXIT
	packages=$(missing | tr '\n' ' ')
	[ -z "$packages" ] || die "still missing after installation: $packages"
fi

# Nice to have: a scheduler to be tested with.  Without it that part is skipped.
cron=$("$PG_CONFIG" --sharedir)/extension/pg_cron.control
if [ "$what" = test ] && [ "$PG_CONFIG" = "/usr/lib/postgresql/$major/bin/pg_config" ] && [ ! -e "$cron" ] &&
	[ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
	DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends install "postgresql-$major-cron" >"$dir/apt.log" 2>&1 ||
		say "could not install postgresql-$major-cron"
fi

say "building with $("$PG_CONFIG" --version)"
mkdir -p "$dir/src"
(cd "$top" && tar -cf - --exclude=./.git --exclude='*.o' --exclude='*.so' --exclude='*.bc' \
	--exclude='./offline_sync--*.sql' --exclude=./results --exclude=./output_iso --exclude='./tmp_check*' .) |
	tar -xf - -C "$dir/src" --no-same-owner
# released scripts and updates between versions are part of the checkout
for f in "$top"/offline_sync--*--*.sql; do
	[ ! -e "$f" ] || cp "$f" "$dir/src/"
done
(cd "$dir/src" && make -s -j "${JOBS:-$(nproc)}" with_llvm=no PG_CONFIG="$PG_CONFIG") >"$dir/build.log" 2>&1 ||
	{ tail -40 "$dir/build.log" >&2; die 'the build failed'; }
if grep -q 'warning:' "$dir/build.log"; then
	grep 'warning:' "$dir/build.log" | sort | uniq -c | head -20
fi

for d in --pkglibdir --sharedir; do
	target=$("$PG_CONFIG" "$d")
	[ "$d" = --pkglibdir ] || target=$target/extension
	[ -w "$target" ] || die "cannot write to $target: run as root, or set PG_CONFIG to a PostgreSQL installation of your own"
done
(cd "$dir/src" && make -s with_llvm=no PG_CONFIG="$PG_CONFIG" install) >>"$dir/build.log" 2>&1 ||
	{ tail -40 "$dir/build.log" >&2; die '"make install" failed'; }

if [ "$(id -u)" = 0 ]; then
	chown -R postgres "$dir"
	chmod 755 "$dir"
fi
printf 'PG_CONFIG=%s\nBINDIR=%s\nexport PG_CONFIG\n' "$PG_CONFIG" "$("$PG_CONFIG" --bindir)" >"$dir/env"
