/*-------------------------------------------------------------------------
 *
 * calls.c
 *	  What devices and the server say to each other, and what gets lost.
 *
 * The simulation knows what is stored, so it knows what each answer must say.
 *
 *-------------------------------------------------------------------------
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

#include "simulation.h"

const char *const push_sql =
"SELECT a.status, a.acked_seq, a.outcomes, a.corrections, a.hlc, a.applied + a.merged + a.superseded + a.rejected + a.deferred,"
" pg_current_xact_id_if_assigned() FROM sync_apply_delta($1) a";

/* Note that a transaction wrote to a row. */
void
position_add(int table, int k, Position position)
{
	int			n = sim.npositions[table][k];

	if (k == 0)
		return;
	if (n % 64 == 0)
	{
		Position   *more = take((n + 64) * sizeof(Position));

		if (n > 0)
			memcpy(more, sim.positions[table][k], n * sizeof(Position));
		sim.positions[table][k] = more;
	}
	sim.positions[table][k][n] = position;
	sim.npositions[table][k] = n + 1;
}

void
call_failed(const char *what)
{
	static const char *const harmless[] = {"40", "53", "57", "08", "55P03"};

	for (int i = 0; i < 5; i++)
	{
		if (strncmp(error_state, harmless[i], strlen(harmless[i])) == 0)
		{
			note("... %s", error_text);
			count(form("%s: %s", what, error_state));
			return;
		}
	}
	violation("%s: %s: %s", what, error_state, error_text);
}

/* ------------------------------------------------------------------- push */

long long
wall_ms(void)
{
	struct timeval now;

	gettimeofday(&now, NULL);
	return now.tv_sec * 1000LL + now.tv_usec / 1000;
}

/*
 * The clocks of the changes that a push brought, made to agree with causality as
 * the server should, if it allowed them to be as far ahead as the limit.  Are they
 * then as the server says that the last one is?
 */
static bool
lift(Device *device, long long last, long long limit_ms, Hlc lifted)
{
	Hlc			limit = {limit_ms, 0};
	Hlc			previous = device->stored_hlc;
	/* the header tells what was received by then; an overlap has the same one */
	const char *node_hlc = device->log[device->stored + 1]->node_hlc;

	for (long long seq = device->stored + 1; seq <= last; seq++)
	{
		Change	   *change = device->log[seq];
		Hlc			hlc = hlc_compare(change->hlc, limit) > 0 ? limit : change->hlc;

		if (node_hlc != NULL)
		{
			Hlc			received = hlc_parse(node_hlc);

			received = hlc_successor(hlc_compare(received, limit) > 0 ? limit : received);
			if (hlc_compare(received, hlc) > 0)
				hlc = received;
		}
		previous = hlc_successor(previous);
		if (hlc_compare(previous, hlc) > 0)
			hlc = previous;
		change->lifted = previous = hlc;
	}
	return hlc_compare(previous, lifted) == 0;
}

/* The server has the device's changes up to this one; where they are stored. */
void
stored(Device *device, long long last, Position position, long long begun_ms)
{
	Rows	   *rows = must(control, form("SELECT hlc FROM offline_sync.device WHERE device = %s", quote(device->id)));
	Hlc			lifted = hlc_parse(VALUE(rows, 0, 0));
	long long	limit_ms = begun_ms + sim.max_skew_ms;

	if (!lift(device, last, lifted.ms, lifted))
	{
		while (!lift(device, last, limit_ms, lifted))
		{
			if (limit_ms++ > wall_ms() + sim.max_skew_ms)
				violation("device %d: the clock of change %lld became %s", device->n, last, hlc_text(lifted));
		}
	}
	for (long long seq = device->stored + 1; seq <= last; seq++)
	{
		Change	   *change = device->log[seq];

		change->position = position;
		change->arrived = sim.moment;
		position_add(change->table, change->k, position);
	}
	device->stored = last;
	device->stored_hlc = lifted;
}

/* What came of calls that nobody heard the end of: only the server knows. */
void
learn_stored(Device *device, long long begun_ms)
{
	Rows	   *rows = must(control, form("SELECT last_seq, xid FROM offline_sync.journal WHERE device = %s AND last_seq > %lld ORDER BY 1",
										  quote(device->id), device->stored));

	for (int i = 0; i < rows->n; i++)
		stored(device, atoll(VALUE(rows, i, 0)), (Position) {sim.node, strtoull(VALUE(rows, i, 1), NULL, 10)}, begun_ms);
}

/* What an answer must say is known: the simulation knows what is stored. */
void
check_answer(Device *device, long long first, long long last, Rows *answer, long long begun_ms)
{
	const char *status = VALUE(answer, 0, 0);
	long long	acked = atoll(VALUE(answer, 0, 1));
	long long	tally = atoll(VALUE(answer, 0, 5));
	const char *expected;

	if (device->is_revoked)
		expected = "rejected";
	else if (first > device->stored + 1)
		expected = "gap";
	else if (last <= device->stored)
		expected = "duplicate";
	else
		expected = "applied";
	count(form("push: %s", status));
	note("... %s, acked %lld, %s, corrections %s, xid %s", status, acked, VALUE(answer, 0, 2),
		 VALUE(answer, 0, 3), VALUE(answer, 0, 6) == NULL ? "none" : VALUE(answer, 0, 6));
	if (strcmp(expected, strcmp(status, "partial") == 0 ? "applied" : status) != 0)
		violation("device %d: the answer should be %s (first %lld, last %lld, stored %lld), but is %s",
				  device->n, expected, first, last, device->stored, status);
	if (strcmp(expected, "applied") != 0)
	{
		if (strcmp(expected, "rejected") != 0 && acked != device->stored)
			violation("device %d: acked_seq is %lld, but stored is %lld", device->n, acked, device->stored);
		return;
	}
	if (acked != last || tally != last - device->stored)
		violation("device %d: acked_seq is %lld with %lld outcomes, but %lld to %lld are new",
				  device->n, acked, tally, device->stored + 1, last);
	stored(device, last, (Position) {sim.node, strtoull(VALUE(answer, 0, 6), NULL, 10)}, begun_ms);
}

/* Push and see that the answer is right; NULL: an error that a client lives with. */
Rows *
push_now(PGconn *conn, Device *device, const char *delta, long long first, long long last)
{
	long long	begun_ms = wall_ms();
	Rows	   *answer = ask(conn, 1, push_sql, delta);

	sim.moment++;
	if (answer == NULL)
		call_failed("push");
	else
		check_answer(device, first, last, answer, begun_ms);
	return answer;
}

static void
post(Device *device, char *delta, long long first, long long last)
{
	if (sim.nmessages < 64)
		sim.messages[sim.nmessages++] = (Message) {device, delta, first, last};
}

/* A delta that is cut off is no delta. */
static void
push_truncated(const char *delta)
{
	int			len = below((int) strlen(delta) - 1);

	note("... of which %d bytes arrive", len);
	if (ask(sim.client, 1, push_sql, form("%.*s", len, delta)) != NULL)
		violation("a delta cut off after %d bytes is accepted: %s", len, delta);
	if (strcmp(error_state, "22P02") != 0)
		violation("a delta cut off after %d bytes: %s: %s", len, error_state, error_text);
}

void
push(Device *device)
{
	long long	first;
	long long	last;
	char	   *delta = device_delta(device, chance(50) ? 1 + below(4) : 1000, &first, &last);
	int			dice = below(100);
	Rows	   *answer;

	if (delta == NULL)
		return;
	note("device %d pushes %lld to %lld: %s", device->n, first, last, delta);
	if (chance(15))
		post(device, delta, first, last);	/* will arrive once more */
	if (dice < 6)
	{
		note("... which is lost");
		count("push lost");
		return;
	}
	if (dice < 12)
	{
		note("... which takes its time");
		post(device, delta, first, last);
		return;
	}
	if (dice < 16)
	{
		push_truncated(delta);
		return;
	}
	answer = push_now(sim.client, device, delta, first, last);
	if (answer == NULL)
		return;
	if (dice < 30)
	{
		note("... but the answer is lost");
		count("answer lost");
		return;
	}
	if (dice < 34)
	{
		note("... and once more");
		answer = push_now(sim.client, device, delta, first, last);
		if (answer == NULL)
			return;
	}
	device_answer(device, first, last, answer);
}

void
deliver(void)
{
	int			i;
	Message		message;

	if (sim.nmessages == 0)
		return;
	i = below(sim.nmessages);
	message = sim.messages[i];
	note("an old push of device %d arrives, %lld to %lld", message.device->n, message.first, message.last);
	count("late push");
	if (push_now(sim.client, message.device, message.delta, message.first, message.last) != NULL && chance(60))
		sim.messages[i] = sim.messages[--sim.nmessages];
}

void
forget_messages(Device *device)
{
	int			n = 0;

	for (int i = 0; i < sim.nmessages; i++)
	{
		if (sim.messages[i].device != device)
			sim.messages[n++] = sim.messages[i];
	}
	sim.nmessages = n;
}

/* ------------------------------------------------------------------- pull */

/*
 * Nothing comes twice: each row in a page was written at a position that the
 * device's vector does not cover.  (An INSERT that does nothing leaves a mark all
 * the same, by which devices that do not have the row may be told to forget it.)
 */
static void
check_page(Device *device, const Json *page)
{
	Json	   *changes = json_get(page, "changes");

	if (json_true(page, "reset"))
		device->may_get_again = true;
	for (int i = 0; i < changes->n && !device->may_get_again; i++)
	{
		Json	   *body = changes->items[i];
		bool		is_new = json_get(body, "insert") == NULL && json_get(body, "set") == NULL;

		for (int t = 0; t < sim.ntables && !is_new; t++)
		{
			int			k;

			if (strcmp(sim.tables[t].name, json_text(body, "table")) != 0)
				continue;
			is_new = sim.has_parents && !sim.tables[t].is_pure;
			k = key_number(&sim.tables[t], json_get(body, "key"));
			for (int j = sim.npositions[t][k] - 1; j >= 0 && !is_new; j--)
				is_new = !vector_covers(device->vector, sim.positions[t][k][j].node, sim.positions[t][k][j].xid);
		}
		if (!is_new)
			violation("device %d, with %s, is told again: %s", device->n, json_write(device->vector), json_write(body));
	}
}

/* Is there more to come? */
bool
pull_page(Device *device, int max, bool is_lost)
{
	char	   *vector = json_write(device->vector);
	bool		must_reset = device->resume == NULL && is_fenced(device);
	Rows	   *rows = ask(sim.client, 4, "SELECT sync_changes_since($1, $2, $3, $4)", device->id, vector,
						   form("%d", max), device->resume);
	bool		more;

	note("device %d pulls %d since %s%s", device->n, max, vector, device->resume == NULL ? "" : form(", resume %s", device->resume));
	if (rows == NULL)
	{
		call_failed("pull");
		return false;
	}
	note("... %s%s", VALUE(rows, 0, 0), is_lost ? ", which is lost" : "");
	check_page(device, json_parse(VALUE(rows, 0, 0)));
	if (must_reset && !json_true(json_parse(VALUE(rows, 0, 0)), "reset"))
		violation("device %d was silent too long, and goes on from %s", device->n, vector);
	if (is_lost)
		return false;
	more = device_page(device, VALUE(rows, 0, 0));
	if (!more)
		device->may_get_again = false;
	return more;
}

void
pull(Device *device)
{
	int			pages = chance(40) ? 100 : 1 + below(4);
	int			max = chance(30) ? 1000 : 1 + below(8);
	bool		more = true;

	while (pages-- > 0 && more)
		more = pull_page(device, max, chance(8));
	if (!more && device->resume == NULL && chance(50))
		ack(device);
}

void
ack(Device *device)
{
	if (device->is_revoked)
		return;
	note("device %d acknowledges %s", device->n, json_write(device->vector));
	if (ask(sim.client, 2, "SELECT sync_ack($1, $2)", device->id, json_write(device->vector)) == NULL)
		call_failed("ack");
}

void
hello(Device *device)
{
	Rows	   *rows = ask(sim.client, 1, "SELECT acked_seq FROM sync_hello($1)", device->id);

	if (rows == NULL)
	{
		call_failed("hello");
		return;
	}
	if (atoll(VALUE(rows, 0, 0)) != device->stored)
		violation("device %d: stored is %lld, but sync_hello says %s", device->n, device->stored, VALUE(rows, 0, 0));
	device_hello(device, device->stored);
}
