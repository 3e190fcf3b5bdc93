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

#include "simulation.h"

#define CLIENT_OPTIONS "-c lock_timeout=15ms -c deadlock_timeout=1h -c client_min_messages=error -c TimeZone=UTC -c DateStyle=ISO"
#define SLOW_OPTIONS "-c deadlock_timeout=1h -c client_min_messages=error"

#define MINUTE (60 * 1000LL)
#define DAY (24 * 60 * MINUTE)

/* Clocks are far enough from each other that the order does not depend on how fast a run is. */
static const long long skews[] = {
	-1000 * DAY, -DAY, -60 * MINUTE, -20 * MINUTE, -10 * MINUTE, 2 * MINUTE, 60 * MINUTE, 3000 * DAY
};
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
/* ---------------------------------------------------------------- devices */

static bool
register_device(Device *device)
{
	Rows	   *rows;
	static const char *const scopes[] = {"{\"\"}", "{\"\",a}", "{\"\",a,b}", "{\"\",a,b,c}", "{\"\",b,c}"};
	const char *which = scopes[below(5)];

	rows = ask(control, 0, form("SELECT pg_current_xact_id(), sync_register_device(%s, %s%s)", quote(device->id), quote(which),
								device->class == NULL ? "" : form(", class => %s", quote(device->class))));
	if (rows == NULL)
	{
		call_failed("register");
		return false;
	}
	device->grant = (Position) {sim.node, strtoull(VALUE(rows, 0, 0), NULL, 10)};
	device->may_get_again = true;
	note("device %d is %s, scopes %s, class %s", device->n, device->id, which, device->class == NULL ? "none" : device->class);
	return true;
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
	if (register_device(device))
		sim.devices[sim.ndevices++] = device;
	return device;
}

/* One that does not wait for an answer, and is not silent unless most are */
static Device *
some_device(void)
{
	for (int tries = 0;; tries++)	/* there are two at least, and one of them waits at most */
	{
		Device	   *device = sim.devices[below(sim.ndevices)];

		if (!device->is_waiting && (device->silent_until < sim.step || tries > 10))
			return device;
	}
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
	{
		int			rights = chance(75) ? 3 : 1 + below(2);

		sql = form("SELECT sync_grant_scope(%s, %s, %s, %s)", quote(device->id), quote(scope),
				   rights & 1 ? "true" : "false", rights & 2 ? "true" : "false");
	}
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
		if (has_submitted(device))
			return;				/* the old self's changes would meet the new one's */
		note("device %d loses its storage", device->n);
		count("device wiped");
		forget_messages(device);
		forget_submissions(device);
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

	if (dice < 5)
		expire(some_device());
	else if (dice < 40)
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
	else if (dice < 80)
	{
		if (table->ncolumns >= MAX_COLUMNS)
			return;
		sim.moment++;
		schema_add_column(table);
		for (int i = 0; i < sim.ndevices; i++)
			sim.devices[i]->may_get_again = true;
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
		if (ask(control, 0, "SELECT sync_new_incarnation()") == NULL)
		{
			call_failed("new incarnation");
			return;
		}
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

static bool
is_at_gate(PGconn *conn)
{
	return must(control, form("SELECT FROM pg_locks WHERE pid = %d AND locktype = 'advisory' AND NOT granted",
							  PQbackendPID(conn)))->n > 0;
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
		/* for a row it may wait at its end only, and give that up by itself, unheard */
		if (call.is_abandoned && !is_at_gate(sim.slow))
		{
			call.is_abandoned = false;
			device->is_waiting = true;
		}
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
	if (sim.is_lazy)
		forget_lost_writes();
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
		while (sim.nprepared > 0)
			finish_prepared(0);
		open_gate();
		wait_for_end(pid);
		sim.moment++;
		learn_stored(device, call.begun_ms);
		note("the push of device %d ends unheard; stored is %lld", device->n, device->stored);
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
	while (sim.nprepared > 0)
		finish_prepared(below(sim.nprepared));
	if (call.device != NULL && !is_blocked(sim.slow))
		finish_call(chance(30));
	while (sim.nmessages > 0)
		deliver();
	process_queue(1000);
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
	sim.is_lazy = chance(30);
	if (sim.is_lazy)
		must(control, "ALTER DATABASE simulation SET synchronous_commit = off");
	server_connect_control();
	note("max_clock_skew %s, synchronous_commit %s", limit, sim.is_lazy ? "off" : "on");
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
	{
		pull(some_device());
		/* was what the device now believes to be stored made durable? */
		if (sim.is_lazy && chance(3))
			crash();
	}
	else if (dice < 615)
		ack(some_device());
	else if (dice < 630)
		submit(some_device());
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
	else if (dice < 893)
	{
		Device	   *device = some_device();

		device->skew_ms = skews[below(8)];
		note("device %d's clock is off by %lld s", device->n, device->skew_ms / 1000);
	}
	else if (dice < 906)
		clean_up();
	else if (dice < 910)
		fall_silent(some_device());
	else if (dice < 925)
		push_slowly(some_device());
	else if (dice < 950)
		meddle();
	else if (dice < 965)
		grant_or_revoke(some_device());
	else if (dice < 970)
		hello(some_device());
	else if (dice < 975)
		process_queue(1 + below(4));
	else if (dice < 980)
		fetch_submission();
	else if (dice < 982 && sim.nprepared > 0)
	{
		finish_prepared(below(sim.nprepared));
		if (call.device != NULL && !is_blocked(sim.slow))
			finish_call(chance(20));
	}
	else if (dice < 988)
		administrate();
	else if (dice < 991)
		terminate_session();
	else if (dice < 994)
		lose_device(some_device());
	else if (dice < 996)
		crash();
}
