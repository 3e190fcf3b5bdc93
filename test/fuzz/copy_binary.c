/*-------------------------------------------------------------------------
 *
 * copy_binary.c
 *	  Mutated binary values of our types through COPY ... (FORMAT binary), in
 *	  a real server.
 *
 *		copy_binary COUNT SEED CORPUS [TYPE...]
 *
 * Connects as libpq's environment says, to a database with the extension.  The
 * values start from the text seeds below CORPUS, which the server converts.  Each
 * is sent in a COPY of its own.  It may be refused with an SQLSTATE that tells a
 * client what is wrong; what is accepted is stored, and must give the same bytes
 * by way of its text.  Anything else, and a server that goes away, is a finding:
 * the value is printed in hex, and the exit status is 1.
 *
 *-------------------------------------------------------------------------
 */
#include <dirent.h>
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mutate.h"

#define MAX_SIZE	4096
#define MAX_SEEDS	100
#define CHECK_EVERY	200			/* accepted values */

typedef struct CopyType
{
	const char *name;
	const char *uses;			/* more to do with an accepted value v */
} CopyType;

static const CopyType types[] = {
	{"delta", "delta_pretty(v) IS NULL OR (SELECT count(*) FROM delta_changes(v)) <> delta_count(v)"},
	{"version_vector", "v || v OR v | v <> v OR (SELECT count(*) FROM vv_entries(v)) < 0"},
	{"orset", "orset_merge(v, v) <> v OR (SELECT count(*) FROM orset_elements(v)) <> cardinality(v::text[])"},
	{"row_clock", "(SELECT count(*) FROM row_clock_floor(v)) < 0"},
	{"hlc", "v <> v OR hlc_counter(v) < 0"},
};

typedef struct Value
{
	uint8_t		data[MAX_SIZE];
	size_t		size;
} Value;

static PGconn *connection;
static Value seeds[MAX_SEEDS];
static int	nseeds;
static Value current;			/* the value sent last */

static void
finding(const char *type, const char *what)
{
	printf("FINDING: %s: %s\nvalue sent last: \\x", type, what);
	for (size_t i = 0; i < current.size; i++)
		printf("%02x", current.data[i]);
	printf("\n");
	exit(1);
}

/* Is this an answer that a client can do something about? */
static int
is_refusal(const PGresult *result)
{
	const char *sqlstate = PQresultErrorField(result, PG_DIAG_SQLSTATE);

	return sqlstate != NULL &&
		(strncmp(sqlstate, "22", 2) == 0 || strcmp(sqlstate, "54000") == 0 ||
		 strcmp(sqlstate, "0A000") == 0 || strcmp(sqlstate, "08P01") == 0);
}

/* Run a command; returns whether it succeeded. */
static int
run(const char *type, const char *sql)
{
	PGresult   *result = PQexec(connection, sql);
	ExecStatusType status = PQresultStatus(result);
	int			is_good = status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK;

	if (!is_good && !is_refusal(result))
		finding(type, PQerrorMessage(connection));
	if (status == PGRES_TUPLES_OK && strcmp(PQgetvalue(result, 0, 0), "0") != 0)
		finding(type, "one of the last values accepted is not what its text says");
	PQclear(result);
	return is_good;
}

/* The binary form of a text seed, as the server sends it. */
static void
read_seed(const char *type, const char *path)
{
	static char text[64 * 1024];
	const char *values[1] = {text};
	char		sql[100];
	FILE	   *file = fopen(path, "rb");
	PGresult   *result;

	if (file == NULL)
		return;
	text[fread(text, 1, sizeof(text) - 1, file)] = '\0';
	fclose(file);
	snprintf(sql, sizeof(sql), "SELECT $1::%s", type);
	result = PQexecParams(connection, sql, 1, NULL, values, NULL, NULL, 1);
	if (PQresultStatus(result) == PGRES_TUPLES_OK &&
		PQgetlength(result, 0, 0) <= MAX_SIZE && nseeds < MAX_SEEDS)
	{
		seeds[nseeds].size = PQgetlength(result, 0, 0);
		memcpy(seeds[nseeds].data, PQgetvalue(result, 0, 0), seeds[nseeds].size);
		nseeds++;
	}
	PQclear(result);
}

static int
compare_names(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

static void
read_seeds(const char *type, const char *corpus)
{
	struct dirent **names;
	char		path[2000];
	int			n;

	nseeds = 0;
	snprintf(path, sizeof(path), "%s/%s", corpus, type);
	n = scandir(path, &names, NULL, compare_names);
	for (int i = 0; i < n; i++)
	{
		snprintf(path, sizeof(path), "%s/%s/%s", corpus, type, names[i]->d_name);
		if (names[i]->d_name[0] != '.')
			read_seed(type, path);
	}
	if (nseeds == 0)
	{
		fprintf(stderr, "there are no seeds of %s in %s\n", type, corpus);
		exit(2);
	}
}

static size_t
put_int(char *p, unsigned v, int nbytes)
{
	for (int i = 0; i < nbytes; i++)
		p[i] = (char) (v >> (8 * (nbytes - 1 - i)));
	return nbytes;
}

/* COPY the current value in; returns whether it was accepted. */
static int
copy_in(const char *type)
{
	static const char header[] = "PGCOPY\n\377\r\n\0\0\0\0\0\0\0\0";
	char		stream[MAX_SIZE + 100];
	size_t		n = sizeof(header);
	PGresult   *result;
	int			is_good;

	memcpy(stream, header, sizeof(header));
	n += put_int(stream + n, 1, 2);
	n += put_int(stream + n, current.size, 4);
	memcpy(stream + n, current.data, current.size);
	n += current.size;
	n += put_int(stream + n, 0xFFFF, 2);

	result = PQexec(connection, "COPY pg_temp.mutated FROM STDIN (FORMAT binary)");
	if (PQresultStatus(result) != PGRES_COPY_IN)
		finding(type, PQerrorMessage(connection));
	PQclear(result);
	if (PQputCopyData(connection, stream, (int) n) != 1 ||
		PQputCopyEnd(connection, NULL) != 1)
		finding(type, PQerrorMessage(connection));
	result = PQgetResult(connection);
	is_good = PQresultStatus(result) == PGRES_COMMAND_OK;
	if (!is_good && !is_refusal(result))
		finding(type, PQerrorMessage(connection));
	PQclear(result);
	while ((result = PQgetResult(connection)) != NULL)
		PQclear(result);
	return is_good;
}

static void
run_type(const CopyType *type, long count, unsigned long seed, const char *corpus)
{
	Mutator		m;
	char		create[200];
	char		check[500];
	char		use[500];
	long		accepted = 0;
	long		unchecked = 0;

	mutator_init(&m, seed);
	read_seeds(type->name, corpus);
	snprintf(create, sizeof(create), "CREATE TEMP TABLE mutated (v %s)", type->name);
	snprintf(check, sizeof(check),
			 "SELECT count(*) FROM pg_temp.mutated WHERE %s_send(v) IS DISTINCT FROM %s_send(v::text::%s)",
			 type->name, type->name, type->name);
	snprintf(use, sizeof(use), "SELECT count(*) FROM pg_temp.mutated WHERE %s", type->uses);
	run(type->name, create);
	for (long i = 0; i < count; i++)
	{
		const Value *base = &seeds[mutator_below(&m, nseeds)];
		const Value *other = &seeds[mutator_below(&m, nseeds)];

		memcpy(current.data, base->data, base->size);
		current.size = mutate(&m, current.data, base->size, MAX_SIZE, other->data, other->size);
		if (copy_in(type->name))
		{
			accepted++;
			unchecked++;
		}
		if (unchecked >= CHECK_EVERY || i == count - 1)
		{
			run(type->name, check);
			run(type->name, use);
			run(type->name, "TRUNCATE pg_temp.mutated");
			unchecked = 0;
		}
	}
	run(type->name, "DROP TABLE pg_temp.mutated");
	printf("%s: %ld mutated values, %ld accepted, %ld refused, seed %lu\n",
		   type->name, count, accepted, count - accepted, seed);
	fflush(stdout);
}

int
main(int argc, char **argv)
{
	if (argc < 4)
	{
		fprintf(stderr, "usage: copy_binary COUNT SEED CORPUS [TYPE...]\n");
		return 2;
	}
	connection = PQconnectdb("");
	if (PQstatus(connection) != CONNECTION_OK)
	{
		fputs(PQerrorMessage(connection), stderr);
		return 2;
	}

	/* a line for each refusal is of no use; for a superuser only, else they stay */
	PQclear(PQexec(connection, "SET log_min_messages = panic"));
	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
	{
		int			is_chosen = argc == 4;

		for (int j = 4; j < argc; j++)
			is_chosen |= strcmp(argv[j], types[i].name) == 0;
		if (is_chosen)
			run_type(&types[i], atol(argv[1]), strtoul(argv[2], NULL, 10), argv[3]);
	}
	PQfinish(connection);
	return 0;
}
