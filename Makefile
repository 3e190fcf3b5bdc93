# contrib-style PGXS makefile for offline_sync

EXTENSION = offline_sync
EXTVERSION = $(shell sed -n "s/^default_version *= *'\(.*\)'/\1/p" $(EXTENSION).control)
MODULE_big = offline_sync
PGFILEDESC = "offline_sync - reconciliation backend for offline applications"

OBJS = $(patsubst %.c,%.o,$(sort $(wildcard src/*.c src/*/*.c)))

# The install script is the rooms' .sql files, in the order of dependency.
SQL_PARTS = $(wildcard \
	src/offline_sync.sql \
	src/types/hlc.sql \
	src/types/version_vector.sql \
	src/types/row_clock.sql \
	src/types/orset.sql \
	src/types/delta.sql \
	src/log/node.sql \
	src/log/change_log.sql \
	src/registry/table.sql \
	src/registry/policy.sql \
	src/registry/schema_version.sql \
	src/registry/device.sql \
	src/registry/intent.sql \
	src/audit/journal.sql \
	src/audit/waiting.sql \
	src/audit/refusal.sql \
	src/guard/signature.sql \
	src/capture/capture.sql \
	src/merge/apply.sql \
	src/merge/resolve_conflict.sql \
	src/serve/serve.sql \
	src/serve/digest.sql \
	src/serve/changed_scopes.sql \
	src/guard/access.sql \
	src/guard/privacy.sql \
	src/audit/row_status.sql \
	src/audit/views.sql \
	src/guard/mask.sql \
	src/audit/policies.sql \
	src/audit/schema_versions.sql \
	src/worker/queue.sql \
	src/worker/notice.sql \
	src/worker/maintenance.sql)

DATA_built = $(EXTENSION)--$(EXTVERSION).sql

REGRESS = $(sort $(patsubst sql/%.sql,%,$(wildcard sql/*.sql)))
REGRESS_OPTS = --inputdir=$(srcdir) --load-extension=offline_sync
ISOLATION = $(sort $(patsubst test/isolation/specs/%.spec,%,$(wildcard test/isolation/specs/*.spec)))
ISOLATION_OPTS = --inputdir=$(srcdir)/test/isolation --load-extension=offline_sync

# not in PG_CFLAGS: bitcode for JIT is compiled without those
PG_CPPFLAGS = -I$(srcdir)/src
PG_CFLAGS = -Wall -Wextra -Wno-unused-parameter -Wno-sign-compare \
	-Wno-missing-field-initializers
# PostgreSQL 15 loads modules RTLD_GLOBAL: bind our own names to ourselves.
SHLIB_LINK = -Wl,-Bsymbolic -lcrypto

EXTRA_CLEAN = output_iso tmp_check tmp_check_iso

# installcheck is below: each test gets a new database
NO_INSTALLCHECK = 1

PG_CONFIG ?= pg_config
PGXS := $(shell $(PG_CONFIG) --pgxs)
include $(PGXS)

$(DATA_built): $(SQL_PARTS) $(EXTENSION).control Makefile
	{ printf '%s\n' '\echo Use "CREATE EXTENSION $(EXTENSION)" to load this file. \quit'; \
	  cat $(SQL_PARTS); } > $@

$(OBJS): $(wildcard src/*.h src/*/*.h)

# Against a running server: make installcheck, and make pgtap.
installcheck:
ifneq ($(strip $(REGRESS)),)
	sh $(srcdir)/test/regress.sh . $(REGRESS) -- \
	  $(top_builddir)/src/test/regress/pg_regress --bindir='$(bindir)' $(REGRESS_OPTS)
endif
ifneq ($(strip $(ISOLATION)),)
	sh $(srcdir)/test/regress.sh output_iso $(ISOLATION) -- \
	  $(top_builddir)/src/test/isolation/pg_isolation_regress --bindir='$(bindir)' $(ISOLATION_OPTS)
endif

# TAP tests make their own servers, so they cannot run as root.
PGTAP_TESTS = $(sort $(wildcard test/pgtap/*.sql))
PROVE_TESTS ?= $(sort $(wildcard test/t/*.pl))

pgtap:
	PATH="$(bindir):$$PATH" sh test/pgtap.sh $(PGTAP_TESTS)

prove_installcheck:
	rm -rf tmp_check
	cd $(srcdir) && TESTDIR='$(CURDIR)' TESTDATADIR='$(CURDIR)/tmp_check' TESTLOGDIR='$(CURDIR)/tmp_check/log' \
	  PATH="$(bindir):$$PATH" PGPORT='6$(DEF_PGPORT)' \
	  PG_REGRESS='$(top_builddir)/src/test/regress/pg_regress' \
	  $(PROVE) $(PG_PROVE_FLAGS) $(PROVE_FLAGS) $(PROVE_TESTS)

indent:
	PG_CONFIG='$(PG_CONFIG)' sh tools/indent.sh

lint:
	PG_CONFIG='$(PG_CONFIG)' sh tools/lint.sh

.PHONY: installcheck pgtap prove_installcheck indent lint
