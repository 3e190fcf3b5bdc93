/*
 * client.c
 *	  Runs one statement over and over, as an application would, and measures it.
 *
 *	  client [-b] [-c CONNECTIONS] [-e EXPECTED] [-n] [-r REPEAT] [-s SQL] [-w WARMUP]
 *			 [-C STATEMENT [-P PARAMETERS] [-E EXPECTED] [-S SQL]] DATABASE PARAMETERS STATEMENT
 *
 * The query PARAMETERS, in which $1 is the number of the connection (from 1), yields
 * the parameters of one call a row; they are fetched before the clock starts.
 * If it is empty, there is one call without parameters, which may be a COPY to or
 * from a file, or TO STDOUT.
 *
 *	-b	parameters travel in binary, else as text
 *	-c	connections at the same time, each with its own backend; 1
 *	-e	what the first column of each answer must be
 *	-n	an answer leads on: where its first column is true, the statement is executed
 *		again with its next columns as parameters, and so on; all of it is one call
 *	-r	calls with each row of parameters; 1
 *	-s	executed by each connection first
 *	-w	calls that are made before the clock starts; 0
 *	-C	executed over and over by one more connection as long as the others are at
 *		work, with the rows of -P in turn; -E and -S are what -e and -s are to them
 *
 * Each call is a transaction.  Prints, separated by spaces: the calls that were
 * timed; the seconds from the common start to the end of the last; the CPU
 * seconds of the backends in that time; the largest high-water mark of their
 * resident memory, in kB, without the shared memory that they had touched in
 * the end; the calls of -C.  CPU and memory come from /proc (0 where there is none).
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "libpq-fe.h"

#define MAX_PARAMS 16

/* What a connection reports; smaller than a pipe's atomic write */
typedef struct Report
{
	long		calls;
	double		end;			/* monotonic seconds */
	double		cpu;			/* seconds */
	long		memory;			/* kB */
} Report;

/* What a connection does */
typedef struct Work
{
	const char *parameters;		/* a query; empty: no parameters */
	const char *statement;
	const char *expected;		/* NULL: anything */
	const char *setup;			/* NULL: nothing */
} Work;

static int	is_binary = 0;
static int	is_chain = 0;
static int	repeat = 1;
static int	warmup = 0;
static const char *database;

static volatile sig_atomic_t is_over = 0;

static void
fail(const char *what, const char *why)
{
	fprintf(stderr, "client: %s: %s\n", what, why);
	exit(1);
}

static double
monotonic_seconds(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec + ts.tv_nsec / 1e9;
}

/* CPU time of a process: nanoseconds where the kernel tells, else ticks. */
static double
cpu_seconds(int pid)
{
	char		path[64];
	FILE	   *f;
	double		result = 0;
	unsigned long long ns;
	unsigned long utime,
				stime;

	snprintf(path, sizeof(path), "/proc/%d/schedstat", pid);
	f = fopen(path, "r");
	if (f != NULL)
	{
		if (fscanf(f, "%llu", &ns) == 1)
			result = ns / 1e9;
		fclose(f);
		if (result > 0)
			return result;
	}

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	f = fopen(path, "r");
	if (f == NULL)
		return 0;
	/* a postgres process's name has no parenthesis */
	if (fscanf(f, "%*d (%*[^)]) %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &utime, &stime) == 2)
		result = (utime + stime) / (double) sysconf(_SC_CLK_TCK);
	fclose(f);
	return result;
}

/* The most that a process ever had resident, without shared memory, in kB. */
static long
peak_memory(int pid)
{
	char		path[64];
	char		line[256];
	long		high_water = 0;
	long		shared = 0;
	FILE	   *f;

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	f = fopen(path, "r");
	if (f == NULL)
		return 0;
	while (fgets(line, sizeof(line), f) != NULL)
	{
		sscanf(line, "VmHWM: %ld", &high_water);
		sscanf(line, "RssShmem: %ld", &shared);
	}
	fclose(f);
	return high_water - shared;
}

/* Check the answer of a call, read what it copies out, and free it. */
static void
finish_call(PGconn *conn, PGresult *res, const char *expected)
{
	if (PQresultStatus(res) == PGRES_COPY_OUT)
	{
		char	   *row;

		while (PQgetCopyData(conn, &row, 0) > 0)
			PQfreemem(row);
		PQclear(res);
		res = PQgetResult(conn);
		while (res != NULL && PQresultStatus(res) == PGRES_COMMAND_OK)
		{
			PQclear(res);
			res = PQgetResult(conn);
		}
		if (res != NULL)
			fail("COPY", PQerrorMessage(conn));
		return;
	}
	if (PQresultStatus(res) != PGRES_TUPLES_OK && PQresultStatus(res) != PGRES_COMMAND_OK)
		fail("statement", PQerrorMessage(conn));
	if (expected != NULL && (PQntuples(res) != 1 || strcmp(PQgetvalue(res, 0, 0), expected) != 0))
		fail("unexpected answer", PQntuples(res) ? PQgetvalue(res, 0, 0) : "none");
	PQclear(res);
}

static void
call_with_row(PGconn *conn, PGresult *params, int row, const char *expected)
{
	PGresult   *answer = NULL;
	int			nparams = PQnfields(params);

	for (;;)
	{
		const char *values[MAX_PARAMS];
		int			lengths[MAX_PARAMS];
		int			formats[MAX_PARAMS];
		PGresult   *from = answer ? answer : params;
		PGresult   *res;

		for (int i = 0; i < nparams; i++)
		{
			int			column = answer ? i + 1 : i;

			values[i] = PQgetisnull(from, row, column) ? NULL : PQgetvalue(from, row, column);
			lengths[i] = PQgetlength(from, row, column);
			formats[i] = is_binary;
		}
		res = PQexecPrepared(conn, "call", nparams, values, lengths, formats, 0);
		PQclear(answer);
		if (!is_chain || PQresultStatus(res) != PGRES_TUPLES_OK || PQntuples(res) != 1 ||
			PQnfields(res) <= nparams || PQgetvalue(res, 0, 0)[0] != 't')
		{
			finish_call(conn, res, expected);
			return;
		}
		answer = res;
		row = 0;
	}
}

/* A connection that has done what comes first. */
static PGconn *
open_connection(const Work *work)
{
	const char *keywords[] = {"dbname", "options", NULL};
	const char *values[] = {database, "-c client_min_messages=warning", NULL};
	PGconn	   *conn = PQconnectdbParams(keywords, values, 0);

	if (PQstatus(conn) != CONNECTION_OK)
		fail("connection", PQerrorMessage(conn));
	if (work->setup != NULL)
	{
		PGresult   *res = PQexec(conn, work->setup);

		if (PQresultStatus(res) != PGRES_COMMAND_OK && PQresultStatus(res) != PGRES_TUPLES_OK)
			fail("setup", PQerrorMessage(conn));
		PQclear(res);
	}
	return conn;
}

/* Fetch the parameters and prepare the statement; NULL: there are no parameters. */
static PGresult *
prepare_calls(PGconn *conn, const Work *work, int number)
{
	char		text[16];
	const char *number_text = text;
	Oid			types[MAX_PARAMS];
	PGresult   *params;
	PGresult   *res;

	if (work->parameters[0] == '\0')
		return NULL;
	snprintf(text, sizeof(text), "%d", number);
	params = PQexecParams(conn, work->parameters, strstr(work->parameters, "$1") ? 1 : 0, NULL, &number_text, NULL, NULL, is_binary);
	if (PQresultStatus(params) != PGRES_TUPLES_OK)
		fail("parameters", PQerrorMessage(conn));
	if (PQnfields(params) > MAX_PARAMS)
		fail("parameters", "too many columns");
	if (PQntuples(params) == 0)
		fail("parameters", "no rows");
	/* text is of the type that the statement wants */
	for (int i = 0; i < PQnfields(params); i++)
		types[i] = is_binary ? PQftype(params, i) : 0;
	res = PQprepare(conn, "call", work->statement, PQnfields(params), types);
	if (PQresultStatus(res) != PGRES_COMMAND_OK)
		fail("prepare", PQerrorMessage(conn));
	PQclear(res);
	return params;
}

/* The call with a row of parameters, if there are any */
static void
make_call(PGconn *conn, const Work *work, PGresult *params, int row)
{
	if (params != NULL)
		call_with_row(conn, params, row, work->expected);
	else
		finish_call(conn, PQexec(conn, work->statement), work->expected);
}

/* One connection, from start to end. */
static void
run_connection(int number, const Work *work, int ready, int go, int report)
{
	PGconn	   *conn = open_connection(work);
	PGresult   *params = prepare_calls(conn, work, number);
	int			pid = PQbackendPID(conn);
	long		ncalls = (long) (params ? PQntuples(params) : 1) * repeat;
	Report		r = {0};
	char		byte = 'r';

	for (long call = 0; call < ncalls; call++)
	{
		if (call == warmup)
		{
			if (write(ready, &byte, 1) != 1 || read(go, &byte, 1) != 0)
				fail("pipe", "broken");
			r.cpu = cpu_seconds(pid);
		}
		make_call(conn, work, params, call / repeat);
	}
	r.end = monotonic_seconds();
	r.cpu = cpu_seconds(pid) - r.cpu;
	r.memory = peak_memory(pid);
	r.calls = ncalls - warmup;
	if (r.calls <= 0)
		fail("parameters", "too few rows");
	if (write(report, &r, sizeof(r)) != sizeof(r))
		fail("pipe", "broken");
	PQclear(params);
	PQfinish(conn);
}

static void
handle_term(int signal_number)
{
	is_over = 1;
}

/* The connection that goes on until it is told to stop by SIGTERM. */
static void
run_companion(const Work *work, pid_t parent, int ready, int go, int report)
{
	PGconn	   *conn = open_connection(work);
	PGresult   *params = prepare_calls(conn, work, 0);
	int			nrows = params ? PQntuples(params) : 1;
	Report		r = {0};
	char		byte = 'r';

	/* so that catalogs are loaded when the clock starts */
	make_call(conn, work, params, 0);
	signal(SIGTERM, handle_term);
	if (write(ready, &byte, 1) != 1 || read(go, &byte, 1) != 0)
		fail("pipe", "broken");
	while (!is_over && getppid() == parent)
		make_call(conn, work, params, ++r.calls % nrows);
	if (write(report, &r, sizeof(r)) != sizeof(r))
		fail("pipe", "broken");
	PQclear(params);
	PQfinish(conn);
}

int
main(int argc, char **argv)
{
	int			connections = 1;
	int			opt;
	int			ready[2],
				go[2],
				report[2];
	double		start;
	Work		work = {"", NULL, NULL, NULL};
	Work		companion = {"", NULL, NULL, NULL};
	pid_t		pid = getpid();
	pid_t		companion_pid = 0;
	Report		total = {0};
	Report		last = {0};
	char		byte;

	while ((opt = getopt(argc, argv, "bc:e:nr:s:w:C:E:P:S:")) != -1)
	{
		switch (opt)
		{
			case 'b':
				is_binary = 1;
				break;
			case 'c':
				connections = atoi(optarg);
				break;
			case 'e':
				work.expected = optarg;
				break;
			case 'n':
				is_chain = 1;
				break;
			case 'r':
				repeat = atoi(optarg);
				break;
			case 's':
				work.setup = optarg;
				break;
			case 'w':
				warmup = atoi(optarg);
				break;
			case 'C':
				companion.statement = optarg;
				break;
			case 'E':
				companion.expected = optarg;
				break;
			case 'P':
				companion.parameters = optarg;
				break;
			case 'S':
				companion.setup = optarg;
				break;
			default:
				return 2;
		}
	}
	if (argc - optind != 3)
		fail("usage", "client [options] DATABASE PARAMETERS STATEMENT");
	database = argv[optind];
	work.parameters = argv[optind + 1];
	work.statement = argv[optind + 2];
	if (pipe(ready) != 0 || pipe(go) != 0 || pipe(report) != 0)
		fail("pipe", "cannot create");

	/* the companion is number 0 */
	for (int i = companion.statement ? 0 : 1; i <= connections; i++)
	{
		pid_t		child = fork();

		if (child < 0)
			fail("fork", "failed");
		if (child == 0)
		{
			close(ready[0]);
			close(go[1]);
			close(report[0]);
			if (i == 0)
				run_companion(&companion, pid, ready[1], go[0], report[1]);
			else
				run_connection(i, &work, ready[1], go[0], report[1]);
			return 0;
		}
		if (i == 0)
			companion_pid = child;
	}
	close(ready[1]);
	close(go[0]);
	close(report[1]);

	for (int i = companion.statement ? 0 : 1; i <= connections; i++)
		if (read(ready[0], &byte, 1) != 1)
			fail("connection", "ended early");
	start = monotonic_seconds();
	close(go[1]);
	for (int i = 1; i <= connections; i++)
	{
		Report		r;

		if (read(report[0], &r, sizeof(r)) != sizeof(r))
			fail("connection", "ended early");
		total.calls += r.calls;
		total.cpu += r.cpu;
		if (r.end > total.end)
			total.end = r.end;
		if (r.memory > total.memory)
			total.memory = r.memory;
	}
	if (companion_pid != 0)
	{
		kill(companion_pid, SIGTERM);
		if (read(report[0], &last, sizeof(last)) != sizeof(last))
			fail("companion", "ended early");
	}
	while (wait(NULL) > 0)
		;
	printf("%ld %.6f %.6f %ld %ld\n", total.calls, total.end - start, total.cpu, total.memory, last.calls);
	return 0;
}
