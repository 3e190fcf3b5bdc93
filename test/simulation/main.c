/*-------------------------------------------------------------------------
 *
 * main.c
 *	  Runs seeds, and tells which failed.
 *
 *-------------------------------------------------------------------------
 */
#include <getopt.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

#include "simulation.h"

#define TRACE_LINES 100000
#define MAX_COUNTS 200

Simulation	sim;
bool		verbose;

static jmp_buf failed;
static char *trace[TRACE_LINES];
static int	ntrace;
static struct
{
	char	   *what;
	long		n;
}			counts[MAX_COUNTS];

static const char *const help =
"usage: simulation [OPTION]...\n"
"\n"
"Runs random histories of devices, SQL writers and faults against a throw-away\n"
"server, found by PGHOST, PGPORT and PGUSER, a superuser.  One seed gives all of a\n"
"history.  The server is crashed if its data directory is on this machine.\n"
"\n"
"  --seed S      first seed (1)\n"
"  --seeds N     how many (1)\n"
"  --steps N     steps in each (500)\n"
"  --heal N      steps after which all comes to rest and is checked (100)\n"
"  --no-crash    never kill the server\n"
"  --verbose     tell every step\n"
"  --counts      tell in the end what happened how often\n"
"  --help        this text\n"
"\n"
"A seed that fails is told with its last steps; the exit status is then 1.\n";

void
note(const char *format,...)
{
	va_list		args;
	char		text[4000];

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	if (verbose)
		printf("%5d  %s\n", sim.step, text);
	else if (ntrace < TRACE_LINES)
		trace[ntrace++] = form("%5d  %s", sim.step, text);
}

void
count(const char *what)
{
	for (int i = 0; i < MAX_COUNTS; i++)
	{
		if (counts[i].what == NULL)
			counts[i].what = strdup(what);
		if (strcmp(counts[i].what, what) == 0)
		{
			counts[i].n++;
			return;
		}
	}
}

void
violation(const char *format,...)
{
	va_list		args;

	printf("seed %llu fails in step %d:\n", (unsigned long long) sim.seed, sim.step);
	for (int i = ntrace > 40 ? ntrace - 40 : 0; i < ntrace; i++)
		printf("%s\n", trace[i]);
	printf("FAILED  ");
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	printf("\n");
	fflush(stdout);
	longjmp(failed, 1);
}

static void
disconnect(void)
{
	PQfinish(sim.client);
	PQfinish(sim.slow);
	for (int i = 0; i < NSESSIONS; i++)
		PQfinish(sim.sessions[i].conn);
}

static bool
run_seed(uint64_t seed, int steps, int heal_after)
{
	volatile bool result = false;

	arena_reset();
	ntrace = 0;
	memset(&sim, 0, sizeof(sim));
	sim.seed = seed;
	random_start(seed);
	if (setjmp(failed) == 0)
	{
		server_new_database();
		steps_begin();
		for (sim.step = 1; sim.step <= steps; sim.step++)
		{
			step();
			if (sim.step % heal_after == 0 || sim.step == steps)
				heal();
		}
		result = true;
	}
	else
		printf("to repeat: --seed %llu --steps %d --heal %d --verbose\n", (unsigned long long) seed, steps, heal_after);
	disconnect();
	return result;
}

int
main(int argc, char **argv)
{
	static const struct option options[] = {
		{"seed", required_argument, NULL, 's'},
		{"seeds", required_argument, NULL, 'n'},
		{"steps", required_argument, NULL, 't'},
		{"heal", required_argument, NULL, 'r'},
		{"no-crash", no_argument, NULL, 'c'},
		{"verbose", no_argument, NULL, 'v'},
		{"counts", no_argument, NULL, 'o'},
		{"help", no_argument, NULL, 'h'},
		{NULL, 0, NULL, 0}
	};
	uint64_t	seed = 1;
	int			seeds = 1;
	int			steps = 500;
	int			heal_after = 100;
	bool		may_crash = true;
	bool		tell_counts = false;
	int			nfailed = 0;
	int			c;
	struct timeval begun;
	struct timeval ended;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1)
	{
		switch (c)
		{
			case 's': seed = strtoull(optarg, NULL, 10); break;
			case 'n': seeds = atoi(optarg); break;
			case 't': steps = atoi(optarg); break;
			case 'r': heal_after = atoi(optarg); break;
			case 'c': may_crash = false; break;
			case 'v': verbose = true; break;
			case 'o': tell_counts = true; break;
			case 'h': fputs(help, stdout); return 0;
			default: fputs("see --help\n", stderr); return 2;
		}
	}
	if (seeds < 1 || steps < 1 || heal_after < 1)
	{
		fputs("numbers must be positive; see --help\n", stderr);
		return 2;
	}
	gettimeofday(&begun, NULL);
	server_begin(may_crash);
	for (int i = 0; i < seeds; i++)
		nfailed += !run_seed(seed + i, steps, heal_after);
	gettimeofday(&ended, NULL);
	for (int i = 0; tell_counts && i < MAX_COUNTS && counts[i].what != NULL; i++)
		printf("%8ld  %s\n", counts[i].n, counts[i].what);
	printf("%d seeds of %d steps in %ld s, %d failed\n", seeds, steps, (long) (ended.tv_sec - begun.tv_sec), nfailed);
	return nfailed > 0;
}
