/*-------------------------------------------------------------------------
 *
 * server.c
 *	  The server: statements, databases, crashes.
 *
 * The server is a throw-away one, found by PGHOST and so on; it is crashed only
 * if it runs on this machine and its data directory can be seen.  Each run has a
 * database of its own, copied from a template with the extension in it.
 *
 *-------------------------------------------------------------------------
 */
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/select.h>
#include <unistd.h>

#include "simulation.h"

/* Who waits for a lock that nobody gives up while he waits, waits in vain. */
#define CONTROL_OPTIONS "-c synchronous_commit=on -c lock_timeout=15ms -c client_min_messages=error -c TimeZone=UTC -c DateStyle=ISO -c extra_float_digits=3"

PGconn	   *control;
char		error_state[6];
char	   *error_text;

static char *bin_directory;
static char *data_directory;
static char node_text[40];
static bool prepares;

static void pg_ctl(const char *arguments);

static void
wait_a_moment(void)
{
	struct timeval moment = {0, 2000};

	select(0, NULL, NULL, NULL, &moment);
}

static PGconn *
connect_to(const char *database, const char *options)
{
	const char *const keywords[] = {"dbname", "options", "application_name", NULL};
	const char *values[] = {database, options, "simulation", NULL};

	return PQconnectdbParams(keywords, values, 0);
}

/* A server that comes up again refuses connections for a while. */
PGconn *
server_connect(const char *options)
{
	PGconn	   *conn;

	for (int i = 0; i < 15000; i++)
	{
		conn = connect_to("simulation", options);
		if (PQstatus(conn) == CONNECTION_OK)
			return conn;
		snprintf(error_state, sizeof(error_state), "08006");
		error_text = copy(PQerrorMessage(conn));
		PQfinish(conn);
		wait_a_moment();
	}
	fprintf(stderr, "cannot connect: %s\n", error_text);
	exit(2);
}

static Rows *
take_result(PGconn *conn, PGresult *result)
{
	Rows	   *rows = NULL;
	const char *state;

	switch (PQresultStatus(result))
	{
		case PGRES_COMMAND_OK:
		case PGRES_TUPLES_OK:
			rows = take(sizeof(Rows));
			rows->n = PQntuples(result);
			rows->ncolumns = PQnfields(result);
			rows->values = take((rows->n * rows->ncolumns + 1) * sizeof(char *));
			for (int i = 0; i < rows->n; i++)
			{
				for (int j = 0; j < rows->ncolumns; j++)
				{
					if (!PQgetisnull(result, i, j))
						VALUE(rows, i, j) = copy(PQgetvalue(result, i, j));
				}
			}
			break;
		default:
			state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
			snprintf(error_state, sizeof(error_state), "%s", state == NULL ? "08006" : state);
			error_text = copy(result == NULL ? PQerrorMessage(conn) : PQresultErrorMessage(result));
			break;
	}
	PQclear(result);
	return rows;
}

Rows *
ask(PGconn *conn, int nparams, const char *sql,...)
{
	const char *values[8];
	va_list		args;

	va_start(args, sql);
	for (int i = 0; i < nparams; i++)
		values[i] = va_arg(args, const char *);
	va_end(args);
	if (nparams == 0)
		return take_result(conn, PQexec(conn, sql));
	return take_result(conn, PQexecParams(conn, sql, nparams, NULL, values, NULL, NULL, 0));
}

Rows *
must(PGconn *conn, const char *sql)
{
	Rows	   *rows = ask(conn, 0, sql);

	if (rows == NULL)
		violation("%s: %s: %s", error_state, error_text, sql);
	return rows;
}

Rows *
fetch(PGconn *conn)
{
	PGresult   *result = PQgetResult(conn);
	PGresult   *more;

	if (result == NULL)			/* the connection is gone */
	{
		snprintf(error_state, sizeof(error_state), "08006");
		error_text = copy(PQerrorMessage(conn));
		return NULL;
	}
	while ((more = PQgetResult(conn)) != NULL)
		PQclear(more);
	return take_result(conn, result);
}

/*
 * Wait until what was sent is done or waits for a lock.  The lock table is asked,
 * since a backend that was just given a lock may still say that it waits.
 */
bool
is_blocked(PGconn *conn)
{
	char	   *sql = form("SELECT 1 WHERE cardinality(pg_blocking_pids(%d)) > 0", PQbackendPID(conn));

	for (;;)
	{
		if (PQconsumeInput(conn) == 0 || !PQisBusy(conn))
			return false;
		if (must(control, sql)->n > 0)
			return true;
		wait_a_moment();
	}
}

void
server_begin(bool may_crash)
{
	PGconn	   *admin = connect_to("postgres", CONTROL_OPTIONS);
	Rows	   *rows;

	if (PQstatus(admin) != CONNECTION_OK)
	{
		fprintf(stderr, "%s", PQerrorMessage(admin));
		exit(2);
	}
	rows = must(admin, "SELECT setting, current_setting('data_directory') FROM pg_config WHERE name = 'BINDIR'");
	if (may_crash && access(VALUE(rows, 0, 1), F_OK) == 0)
	{
		bin_directory = strdup(VALUE(rows, 0, 0));
		data_directory = strdup(VALUE(rows, 0, 1));
	}
	/* nothing happens by itself: no vacuum, and what is not flushed by a commit stays unflushed */
	must(admin, "ALTER SYSTEM SET autovacuum = off");
	must(admin, "ALTER SYSTEM SET restart_after_crash = on");
	must(admin, "ALTER SYSTEM SET wal_writer_delay = '10s'");
	must(admin, "ALTER SYSTEM SET bgwriter_delay = '10s'");
	must(admin, "ALTER SYSTEM SET log_min_messages = panic");
	must(admin, "ALTER SYSTEM SET max_prepared_transactions = 10");
	must(admin, "SELECT pg_reload_conf()");
	must(admin, "DROP DATABASE IF EXISTS simulation WITH (FORCE)");
	must(admin, "DROP DATABASE IF EXISTS simulation_template WITH (FORCE)");
	must(admin, "CREATE DATABASE simulation_template");
	PQfinish(admin);

	admin = connect_to("simulation_template", CONTROL_OPTIONS);
	must(admin, "CREATE EXTENSION offline_sync");
	/* Where a writer can be made to wait: 42 at each row, 43 before its commit */
	must(admin,
		 "CREATE FUNCTION gate() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
		 " PERFORM pg_advisory_lock_shared(TG_ARGV[0]::int), pg_advisory_unlock_shared(TG_ARGV[0]::int); RETURN NULL; END $$");
	/* What a policy of one's own may do: one of both, or a third value */
	must(admin,
		 "CREATE FUNCTION blend(current text, incoming text, context jsonb) RETURNS text LANGUAGE sql IMMUTABLE AS"
		 " $$ SELECT CASE length(incoming) % 3 WHEN 0 THEN left(current || '+' || incoming, 40) WHEN 1 THEN least(current, incoming) ELSE incoming END $$");
	must(admin,
		 "CREATE FUNCTION tidy() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
		 " NEW.touched := coalesce(NEW.touched, 0) + 1; RETURN NEW; END $$");
	PQfinish(admin);
	if (server_may_crash())
	{
		pg_ctl("-m fast stop");	/* for the settings that need a start */
		pg_ctl(form("-l '%s/simulation.log' start", data_directory));
	}
}

/* After a run that failed there may be some, and the database could not be dropped. */
static void
end_prepared(void)
{
	PGconn	   *conn = connect_to("simulation", CONTROL_OPTIONS);
	Rows	   *rows;

	if (PQstatus(conn) == CONNECTION_OK)
	{
		rows = must(conn, "SELECT gid FROM pg_prepared_xacts WHERE database = 'simulation'");
		for (int i = 0; i < rows->n; i++)
			must(conn, form("ROLLBACK PREPARED '%s'", VALUE(rows, i, 0)));
	}
	PQfinish(conn);
}

bool
server_prepares(void)
{
	return prepares;
}

void
server_new_database(void)
{
	PGconn	   *admin;

	if (control != NULL)
		PQfinish(control);
	control = NULL;
	end_prepared();
	admin = connect_to("postgres", CONTROL_OPTIONS);
	prepares = strcmp(VALUE(must(admin, "SHOW max_prepared_transactions"), 0, 0), "0") != 0;
	must(admin, "DROP DATABASE IF EXISTS simulation WITH (FORCE)");
	must(admin, "CREATE DATABASE simulation TEMPLATE simulation_template");
	PQfinish(admin);
	control = server_connect(CONTROL_OPTIONS);
}

/* The node's id, as of the last look; it changes with each new incarnation. */
const char *
node_id(void)
{
	Rows	   *rows = must(control, "SELECT sync_node()");

	if (strcmp(node_text, VALUE(rows, 0, 0)) != 0)
		snprintf(node_text, sizeof(node_text), "%s", VALUE(rows, 0, 0));
	return copy(node_text);
}

bool
server_may_crash(void)
{
	return data_directory != NULL;
}

void
server_connect_control(void)
{
	PQfinish(control);
	control = server_connect(CONTROL_OPTIONS);
}

/*
 * A backend dies by SIGKILL: the postmaster ends all others and recovers.  New
 * connections are made when this one is seen dead, so none is the old server's.
 */
void
server_crash(int pid)
{
	kill(pid, SIGKILL);
	while (PQconsumeInput(control) != 0 && PQstatus(control) == CONNECTION_OK)
		wait_a_moment();
	server_connect_control();
}

static void
pg_ctl(const char *arguments)
{
	char	   *command = form("cd / && %s'%s/pg_ctl' -D '%s' -s -w %s >/dev/null 2>&1",
							   geteuid() == 0 ? "runuser -u postgres -- " : "",
							   bin_directory, data_directory, arguments);

	if (system(command) != 0)
	{
		fprintf(stderr, "failed: %s\n", command);
		exit(2);
	}
}

void
server_restart(void)
{
	pg_ctl("-m immediate stop");
	pg_ctl(form("-l '%s/simulation.log' start", data_directory));
	server_connect_control();
}
