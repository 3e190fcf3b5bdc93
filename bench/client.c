/*
 * client.c
 *	  Runs one statement over and over, as an application would, and measures it.
 *
 *	  client [-b] [-c CONNECTIONS] [-e EXPECTED] [-r REPEAT] [-s SQL] [-w WARMUP] DATABASE PARAMETERS STATEMENT
 *
 * The query PARAMETERS, in which $1 is the number of the connection (from 1), yields
 * the parameters of one call a row; they are fetched before the clock starts.
 * If it is empty, there is one call without parameters, which may be a COPY to or
 * from a file, or TO STDOUT.
 *
 *	-b	parameters travel in binary, else as text
 *	-c	connections at the same time, each with its own backend; 1
 *	-e	what the first column of each answer must be
 *	-r	calls with each row of parameters; 1
 *	-s	executed by each connection first
 *	-w	calls that are made before the clock starts; 0
 *
 * Each call is a transaction.  Prints, separated by spaces: the calls that were
 * timed; the seconds from the common start to the end of the last; the CPU
 * seconds of the backends in that time; the largest high-water mark of their
 * resident memory, in kB, without the shared memory that they had touched in
 * the end.  CPU and memory come from /proc (0 where there is none).
 */
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

static int	is_binary = 0;
static int	repeat = 1;
static int	warmup = 0;
static const char *expected = NULL;
static const char *setup = NULL;

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
finish_call(PGconn *conn, PGresult *res)
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
call_with_row(PGconn *conn, PGresult *params, int row)
{
	const char *values[MAX_PARAMS];
	int			lengths[MAX_PARAMS];
	int			formats[MAX_PARAMS];

	for (int i = 0; i < PQnfields(params); i++)
	{
		values[i] = PQgetisnull(params, row, i) ? NULL : PQgetvalue(params, row, i);
		lengths[i] = PQgetlength(params, row, i);
		formats[i] = is_binary;
	}
	finish_call(conn, PQexecPrepared(conn, "call", PQnfields(params), values, lengths, formats, 0));
}

/* One connection, from start to end. */
static void
run_connection(int number, const char *database, const char *parameters, const char *statement,
			   int ready, int go, int report)
{
	const char *keywords[] = {"dbname", "options", NULL};
	const char *values[] = {database, "-c client_min_messages=warning", NULL};
	PGconn	   *conn = PQconnectdbParams(keywords, values, 0);
	PGresult   *params = NULL;
	Report		r = {0};
	int			pid;
	int			nrows = 1;
	char		byte = 'r';

	if (PQstatus(conn) != CONNECTION_OK)
		fail("connection", PQerrorMessage(conn));
	pid = PQbackendPID(conn);
	if (setup != NULL)
	{
		PGresult   *res = PQexec(conn, setup);

		if (PQresultStatus(res) != PGRES_COMMAND_OK && PQresultStatus(res) != PGRES_TUPLES_OK)
			fail("setup", PQerrorMessage(conn));
		PQclear(res);
	}
	if (parameters[0] != '\0')
	{
		char		text[16];
		const char *number_text = text;
		Oid			types[MAX_PARAMS];
		PGresult   *res;

		snprintf(text, sizeof(text), "%d", number);
		params = PQexecParams(conn, parameters, strstr(parameters, "$1") ? 1 : 0, NULL, &number_text, NULL, NULL, is_binary);
		if (PQresultStatus(params) != PGRES_TUPLES_OK)
			fail("parameters", PQerrorMessage(conn));
		if (PQnfields(params) > MAX_PARAMS)
			fail("parameters", "too many columns");
		nrows = PQntuples(params);
		/* text is of the type that the statement wants */
		for (int i = 0; i < PQnfields(params); i++)
			types[i] = is_binary ? PQftype(params, i) : 0;
		res = PQprepare(conn, "call", statement, PQnfields(params), types);
		if (PQresultStatus(res) != PGRES_COMMAND_OK)
			fail("prepare", PQerrorMessage(conn));
		PQclear(res);
	}

	for (long call = 0; call < (long) nrows * repeat; call++)
	{
		if (call == warmup)
		{
			if (write(ready, &byte, 1) != 1 || read(go, &byte, 1) != 0)
				fail("pipe", "broken");
			r.cpu = cpu_seconds(pid);
		}
		if (params != NULL)
			call_with_row(conn, params, call / repeat);
		else
			finish_call(conn, PQexec(conn, statement));
	}
	r.end = monotonic_seconds();
	r.cpu = cpu_seconds(pid) - r.cpu;
	r.memory = peak_memory(pid);
	r.calls = (long) nrows * repeat - warmup;
	if (r.calls <= 0)
		fail("parameters", "no rows");
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
	Report		total = {0};
	char		byte;

	while ((opt = getopt(argc, argv, "bc:e:r:s:w:")) != -1)
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
				expected = optarg;
				break;
			case 'r':
				repeat = atoi(optarg);
				break;
			case 's':
				setup = optarg;
				break;
			case 'w':
				warmup = atoi(optarg);
				break;
			default:
				return 2;
		}
	}
	if (argc - optind != 3)
		fail("usage", "client [options] DATABASE PARAMETERS STATEMENT");
	if (pipe(ready) != 0 || pipe(go) != 0 || pipe(report) != 0)
		fail("pipe", "cannot create");

	for (int i = 1; i <= connections; i++)
	{
		pid_t		child = fork();

		if (child < 0)
			fail("fork", "failed");
		if (child == 0)
		{
			close(ready[0]);
			close(go[1]);
			close(report[0]);
			run_connection(i, argv[optind], argv[optind + 1], argv[optind + 2], ready[1], go[0], report[1]);
			return 0;
		}
	}
	close(ready[1]);
	close(go[0]);
	close(report[1]);

	for (int i = 0; i < connections; i++)
		if (read(ready[0], &byte, 1) != 1)
			fail("connection", "ended early");
	start = monotonic_seconds();
	close(go[1]);
	for (int i = 0; i < connections; i++)
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
	while (wait(NULL) > 0)
		;
	printf("%ld %.6f %.6f %ld\n", total.calls, total.end - start, total.cpu, total.memory);
	return 0;
}
