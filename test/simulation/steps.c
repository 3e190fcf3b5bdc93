/*-------------------------------------------------------------------------
 *
 * steps.c
 *	  What may happen in a step, the faults among it.
 *
 * One thing happens at a time.  A statement that would wait for a lock gives up
 * after a few milliseconds, which is certain, since nobody gives up a lock while
 * it waits; only one call at a time is let wait, on a connection of its own, and
 * what is done to it is done while it waits.
 *
 *-------------------------------------------------------------------------
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

#include "simulation.h"

#define CLIENT_OPTIONS "-c lock_timeout=15ms -c deadlock_timeout=1h -c client_min_messages=error -c TimeZone=UTC -c DateStyle=ISO"
#define SLOW_OPTIONS "-c deadlock_timeout=1h -c client_min_messages=error"

#define MINUTE (60 * 1000LL)
#define DAY (24 * 60 * MINUTE)

/* Clocks are far enough from each other that the order does not depend on how fast a run is. */
static const long long skews[] = {
	-1000 * DAY, -DAY, -60 * MINUTE, -20 * MINUTE, -10 * MINUTE, 2 * MINUTE, 60 * MINUTE, 3000 * DAY
};

static const char *const push_sql =
"SELECT a.status, a.acked_seq, a.outcomes, a.corrections, a.hlc, a.applied + a.merged + a.superseded + a.rejected + a.deferred,"
" pg_current_xact_id_if_assigned() FROM sync_apply_delta($1) a";

/* The call that waits, if one does */
static struct
{
	Device	   *device;
	char	   *delta;
	long long	first;
	long long	last;
	long long	begun_ms;
	bool		is_abandoned;	/* the device does not wait for the answer any more */
}			call;

static int	closed_gate;		/* 0: none */

static void
connect_clients(void)
{
	sim.client = server_connect(CLIENT_OPTIONS);
	sim.slow = server_connect(SLOW_OPTIONS);
	for (int i = 0; i < NSESSIONS; i++)
		sim.sessions[i].conn = server_connect(CLIENT_OPTIONS);
}

static void
connect_again(PGconn **conn, const char *options)
{
	PQfinish(*conn);
	*conn = server_connect(options);
}

/* A transaction's number once its place in the log matters. */
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

/* ---------------------------------------------------------------- devices */

static void
register_device(Device *device)
{
	Rows	   *rows;
	static const char *const scopes[] = {"{\"\"}", "{\"\",a}", "{\"\",a,b}", "{\"\",a,b,c}", "{\"\",b,c}"};
	const char *which = scopes[below(5)];

	rows = must(control, form("SELECT pg_current_xact_id(), sync_register_device(%s, %s%s)", quote(device->id), quote(which),
							  device->class == NULL ? "" : form(", class => %s", quote(device->class))));
	device->grant = (Position) {sim.node, strtoull(VALUE(rows, 0, 0), NULL, 10)};
	device->may_get_again = true;
	note("device %d is %s, scopes %s, class %s", device->n, device->id, which, device->class == NULL ? "none" : device->class);
}

static Device *
new_device(void)
{
	static const char *const classes[] = {NULL, "worker", "manager"};
	Device	   *device = take(sizeof(Device));

	/* before or behind the node's id, never near it: ties fall the same way in each run */
	device->n = sim.ndevices;
	device->id = form("%s-0000-4000-8000-%012x", chance(50) ? "00000000" : "ffffffff", (below(1 << 20) << 8) + device->n);
	device->class = classes[below(3)];
	device->skew_ms = skews[below(8)];
	device_start(device);
	sim.devices[sim.ndevices++] = device;
	register_device(device);
	return device;
}

/* One that does not wait for an answer */
static Device *
some_device(void)
{
	for (int i = 0; i < 50; i++)
	{
		Device	   *device = sim.devices[below(sim.ndevices)];

		if (!device->is_waiting)
			return device;
	}
	return new_device();
}

static Json *
one(const char *member, const char *name, Json *value)
{
	Json	   *body = json_new(JSON_OBJECT);
	Json	   *cells = json_new(JSON_OBJECT);

	if (name != NULL)
		json_put(cells, name, value);
	json_put(body, member, cells);
	return body;
}

static Json *
edit_insert(const Device *device, const Table *table)
{
	Json	   *body = one("insert", NULL, NULL);
	Json	   *cells = json_get(body, "insert");

	for (int i = 0; i < table->ncolumns; i++)
	{
		const Column *column = &table->columns[i];

		if (column->is_generated || chance(40) || (column->policy == JSON_KEYS && device->was_wiped && table->is_pure))
			continue;
		json_put(cells, column->name, random_value(column));
	}
	return body;
}

static Json *
edit_cell(const Table *table, const Column *column)
{
	Json	   *value = random_value(column);
	Json	   *keys;

	switch (column->policy)
	{
		case COUNTER:
			if (column->type == INT)
				return one("increment", column->name, json_number(below(100) - 50));
			return one("increment", column->name, json_string(form("%d.%02d", below(100) - 50, below(100))));
		case ORSET:
			return one(chance(50) ? "add" : chance(70) ? "remove" : "set", column->name, value);
		case JSON_KEYS:
			if (!table->is_pure && chance(30))
				return one("set", column->name, value);
			if (chance(65))
				return one("add", column->name, value);
			keys = json_new(JSON_ARRAY);
			for (int i = 0; i < value->n; i++)
				json_push(keys, json_string(value->keys[i]));
			return one("remove", column->name, keys);
		default:
			return one("set", column->name, value);
	}
}

/* Two cells in one change, if they can be */
static void
merge_bodies(Json *body, const Json *other)
{
	for (int i = 0; i < other->n; i++)
	{
		Json	   *cells = json_get(body, other->keys[i]);

		if (cells == NULL)
			json_put(body, other->keys[i], other->items[i]);
		else
			json_put(cells, other->items[i]->keys[0], other->items[i]->items[0]);
	}
}

static void
edit(Device *device, int group)
{
	int			t = below(sim.ntables);
	Table	   *table = &sim.tables[t];
	int			k = 1 + below(NKEYS);
	bool		is_there;
	Json	   *body;
	Change	   *change;

	for (int i = 0; i < 3 && device_row(device, t, k) == NULL; i++)
		k = 1 + below(NKEYS);
	is_there = device_row(device, t, k) != NULL;
	if (chance(4) && !table->is_pure)
		is_there = !is_there;
	if (!is_there)
		body = edit_insert(device, table);
	else if (!table->is_pure && chance(12))
	{
		body = json_new(JSON_OBJECT);
		json_put(body, "delete", json_parse("true"));
	}
	else
	{
		body = edit_cell(table, &table->columns[below(table->ncolumns)]);
		if (chance(30))
		{
			const Column *column = &table->columns[below(table->ncolumns)];

			if (strstr(json_write(body), form("\"%s\"", column->name)) == NULL)
				merge_bodies(body, edit_cell(table, column));
		}
	}
	change = device_write(device, t, k, body, group);
	change->grant = device->grant;
	note("device %d writes %s in %s", device->n, json_write(body), change->context);
}

static void
edit_some(Device *device)
{
	int			group = 0;
	int			n = 1;

	if (device->seq > 9000)
		return;
	if (chance(10))
	{
		group = 1 + below(1000);
		n = 2 + below(2);
	}
	else if (chance(20))
		n = 1 + below(4);
	for (int i = 0; i < n; i++)
		edit(device, group);
}

/* ------------------------------------------------------------------- push */

static long long
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
static void
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

/* What an answer must say is known: the simulation knows what is stored. */
static void
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

static void
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

static void
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

static void
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
	if (is_lost)
		return false;
	more = device_page(device, VALUE(rows, 0, 0));
	if (!more)
		device->may_get_again = false;
	return more;
}

static void
pull(Device *device)
{
	int			pages = chance(40) ? 100 : 1 + below(4);
	int			max = chance(30) ? 1000 : 1 + below(8);

	while (pages-- > 0 && pull_page(device, max, chance(8)))
		;
}

static void
ack(Device *device)
{
	if (device->is_revoked)
		return;
	note("device %d acknowledges %s", device->n, json_write(device->vector));
	if (ask(sim.client, 2, "SELECT sync_ack($1, $2)", device->id, json_write(device->vector)) == NULL)
		call_failed("ack");
}

static void
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

/* -------------------------------------------------------- administration */

static void
grant_or_revoke(Device *device)
{
	static const char *const scopes[] = {"a", "b", "c"};
	const char *scope = scopes[below(3)];
	char	   *sql;

	if (device->is_revoked)
		return;
	if (chance(40))
		sql = form("SELECT sync_revoke_scope(%s, %s)", quote(device->id), quote(scope));
	else
		sql = form("SELECT sync_grant_scope(%s, %s, %s, %s)", quote(device->id), quote(scope),
				   chance(85) ? "true" : "false", chance(85) ? "true" : "false");
	note("%s", sql);
	sim.moment++;
	device->may_get_again = true;
	if (ask(control, 0, sql) == NULL && strcmp(error_state, "42704") != 0)
		call_failed("grant");
}

/* All that a device kept is lost; it goes on under its old id, or another device takes its place. */
static void
lose_device(Device *device)
{
	if (device == call.device)
		return;
	if (chance(40))
	{
		note("device %d loses its storage", device->n);
		count("device wiped");
		forget_messages(device);
		device_start(device);
		device->seq = device->settled = device->answered = device->stored;
		device->was_wiped = true;
		device->may_get_again = true;
		return;
	}
	if (sim.ndevices >= 20)
		return;
	note("device %d is revoked", device->n);
	count("device revoked");
	sim.moment++;
	if (ask(control, 0, form("SELECT sync_revoke_device(%s)", quote(device->id))) == NULL)
	{
		call_failed("revoke");
		return;
	}
	device->is_revoked = true;
	device->may_get_again = true;
	new_device();
}

static void
administrate(void)
{
	Table	   *table = &sim.tables[below(sim.ntables)];
	int			dice = below(100);
	char	   *name;

	if (dice < 40)
	{
		note("VACUUM FULL %s", table->sql_name);
		if (ask(control, 0, form("VACUUM FULL %s", table->sql_name)) == NULL)
			call_failed("vacuum");
	}
	else if (dice < 60)
	{
		name = form("%s_%d", table->name, sim.step);
		note("ALTER TABLE %s RENAME TO %s", table->sql_name, name);
		if (ask(control, 0, form("ALTER TABLE %s RENAME TO %s", table->sql_name, name)) == NULL)
			call_failed("rename");
		else
			table->sql_name = name;
	}
	else if (dice < 75)
	{
		if (table->ncolumns >= MAX_COLUMNS)
			return;
		sim.moment++;
		schema_add_column(table);
		for (int i = 0; i < sim.ndevices; i++)
			sim.devices[i]->may_get_again = true;
	}
	else if (dice < 90)
	{
		note("sync_maintenance()");
		if (ask(control, 0, "SELECT sync_maintenance()") == NULL)
			call_failed("maintenance");
	}
	else
	{
		for (int i = 0; i < NSESSIONS; i++)
		{
			if (sim.sessions[i].is_open)
				return;
		}
		if (call.device != NULL)
			return;
		note("new incarnation");
		must(control, "SELECT sync_new_incarnation()");
		sim.node = node_id();
	}
}

/* ----------------------------------------------------- calls that wait */

static void
open_gate(void)
{
	if (closed_gate == 0)
		return;
	note("gate %d opens", closed_gate);
	must(control, form("SELECT pg_advisory_unlock(%d)", closed_gate));
	closed_gate = 0;
}

static void
close_gate(void)
{
	int			gate = chance(70) ? 42 : 43;

	if (closed_gate != 0)
		return;
	if (ask(control, 0, form("SELECT pg_advisory_lock(%d)", gate)) == NULL)
	{
		call_failed("gate");
		return;
	}
	note("gate %d closes", gate);
	closed_gate = gate;
}

/* The call has ended; its answer may be lost. */
static void
finish_call(bool is_lost)
{
	Device	   *device = call.device;
	Rows	   *answer = fetch(sim.slow);

	sim.moment++;
	call.device = NULL;
	device->is_waiting = false;
	note("the push of device %d, %lld to %lld, ends", device->n, call.first, call.last);
	if (answer == NULL)
	{
		call_failed("waiting push");
		if (PQstatus(sim.slow) != CONNECTION_OK)
			connect_again(&sim.slow, SLOW_OPTIONS);
		return;
	}
	check_answer(device, call.first, call.last, answer, call.begun_ms);
	if (call.is_abandoned || is_lost || call.first != device->settled + 1)
		note("... the answer is lost");
	else
		device_answer(device, call.first, call.last, answer);
}

/* Push on a connection that may wait: at the gate, or for a row. */
static void
push_slowly(Device *device)
{
	const char *values[1];

	if (call.device != NULL)
		return;
	call.delta = device_delta(device, 1000, &call.first, &call.last);
	if (call.delta == NULL)
		return;
	if (chance(80))
		close_gate();
	note("device %d pushes slowly %lld to %lld: %s", device->n, call.first, call.last, call.delta);
	values[0] = call.delta;
	call.device = device;
	call.is_abandoned = chance(30);
	call.begun_ms = wall_ms();
	device->is_waiting = !call.is_abandoned;
	PQsendQueryParams(sim.slow, push_sql, 1, NULL, values, NULL, NULL, 0);
	if (!is_blocked(sim.slow))
		finish_call(chance(20));
	else
	{
		count("push waits");
		note("... and waits");
	}
}

/* After the server itself was gone, everybody else's connections are, too. */
static void
after_crash(void)
{
	closed_gate = 0;
	if (call.device != NULL)
	{
		call.device->is_waiting = false;
		call.device = NULL;
	}
	PQfinish(sim.client);
	PQfinish(sim.slow);
	for (int i = 0; i < NSESSIONS; i++)
	{
		PQfinish(sim.sessions[i].conn);
		session_lost(&sim.sessions[i]);
	}
	connect_clients();
	for (int i = 0; i < sim.ndevices; i++)
	{
		if (!sim.devices[i]->is_revoked)
			hello(sim.devices[i]);
	}
}

static void
crash(void)
{
	int			who = below(NSESSIONS + 2);
	PGconn	   *conn = who < NSESSIONS ? sim.sessions[who].conn : who == NSESSIONS ? sim.slow : sim.client;

	if (!server_may_crash())
		return;
	sim.moment++;
	if (chance(50))
	{
		note("a backend dies by SIGKILL");
		count("SIGKILL");
		server_crash(PQbackendPID(conn));
	}
	else
	{
		note("immediate shutdown, and restart");
		count("immediate shutdown");
		server_restart();
	}
	after_crash();
}

static void
wait_for_end(int pid)
{
	while (must(control, form("SELECT 1 FROM pg_stat_activity WHERE pid = %d", pid))->n > 0)
		;
}

/* What came of a call whose client has gone: only the server knows. */
static void
learn_end(Device *device)
{
	Rows	   *rows = must(control, form("SELECT last_seq, xid FROM offline_sync.journal WHERE device = %s AND last_seq > %lld ORDER BY 1",
										  quote(device->id), device->stored));

	for (int i = 0; i < rows->n; i++)
		stored(device, atoll(VALUE(rows, i, 0)), (Position) {sim.node, strtoull(VALUE(rows, i, 1), NULL, 10)}, call.begun_ms);
	note("the push of device %d ends unheard; stored is %lld", device->n, device->stored);
}

/* Something happens to the call that waits. */
static void
meddle(void)
{
	int			pid = PQbackendPID(sim.slow);
	int			dice = below(100);

	if (call.device == NULL)
	{
		open_gate();
		return;
	}
	if (dice < 45)
	{
		open_gate();
		if (!is_blocked(sim.slow))
			finish_call(chance(30));
	}
	else if (dice < 65)
	{
		note("pg_cancel_backend");
		count("cancel");
		must(control, form("SELECT pg_cancel_backend(%d)", pid));
		finish_call(false);
	}
	else if (dice < 80)
	{
		note("pg_terminate_backend");
		count("terminate");
		must(control, form("SELECT pg_terminate_backend(%d)", pid));
		wait_for_end(pid);
		finish_call(false);
	}
	else if (dice < 90 && closed_gate != 0)
	{
		Device	   *device = call.device;

		note("the client of the waiting push disconnects");
		count("disconnect");
		call.device = NULL;
		device->is_waiting = false;
		connect_again(&sim.slow, SLOW_OPTIONS);
		for (int i = 0; i < NSESSIONS; i++)	/* or it would wait for their rows */
			session_end(&sim.sessions[i], chance(50));
		open_gate();
		wait_for_end(pid);
		sim.moment++;
		learn_end(device);
	}
	else
		crash();
}

static void
terminate_session(void)
{
	Session    *session = &sim.sessions[below(NSESSIONS)];
	int			pid = PQbackendPID(session->conn);

	note("session %d is terminated", (int) (session - sim.sessions));
	sim.moment++;
	must(control, form("SELECT pg_terminate_backend(%d)", pid));
	wait_for_end(pid);
	session_lost(session);
	connect_again(&session->conn, CLIENT_OPTIONS);
	if (call.device != NULL && !is_blocked(sim.slow))
		finish_call(false);
}

void
calm_down(void)
{
	open_gate();
	for (int i = 0; i < NSESSIONS; i++)
	{
		session_end(&sim.sessions[i], chance(75));
		if (call.device != NULL && !is_blocked(sim.slow))
			finish_call(chance(30));
	}
	while (sim.nmessages > 0)
		deliver();
}

/* ------------------------------------------------------------------ steps */

void
steps_begin(void)
{
	static const char *const limits[] = {"5min", "5min", "1d", "0"};
	const char *limit = limits[below(4)];

	call.device = NULL;
	closed_gate = 0;
	sim.begun_ms = wall_ms();
	sim.node = node_id();
	sim.max_skew_ms = strcmp(limit, "5min") == 0 ? 5 * MINUTE : strcmp(limit, "1d") == 0 ? DAY : 0;
	must(control, form("ALTER DATABASE simulation SET offline_sync.max_clock_skew = '%s'", limit));
	note("max_clock_skew %s", limit);
	schema_make();
	connect_clients();
	for (int i = 2 + below(4); i > 0; i--)
		new_device();
}

void
step(void)
{
	int			dice = below(1000);

	if (dice < 300)
		edit_some(some_device());
	else if (dice < 460)
		push(some_device());
	else if (dice < 600)
		pull(some_device());
	else if (dice < 620)
		ack(some_device());
	else if (dice < 660)
		deliver();
	else if (dice < 760)
	{
		write_sql(sim.client, NULL);
		if (call.device != NULL && !is_blocked(sim.slow))
			finish_call(false);
	}
	else if (dice < 880)
	{
		session_step(&sim.sessions[below(NSESSIONS)]);
		if (call.device != NULL && !is_blocked(sim.slow))
			finish_call(chance(20));
	}
	else if (dice < 910)
	{
		Device	   *device = some_device();

		device->skew_ms = skews[below(8)];
		note("device %d's clock is off by %lld s", device->n, device->skew_ms / 1000);
	}
	else if (dice < 925)
		push_slowly(some_device());
	else if (dice < 950)
		meddle();
	else if (dice < 965)
		grant_or_revoke(some_device());
	else if (dice < 970)
		hello(some_device());
	else if (dice < 985)
		administrate();
	else if (dice < 990)
		terminate_session();
	else if (dice < 994)
		lose_device(some_device());
	else if (dice < 996)
		crash();
}
