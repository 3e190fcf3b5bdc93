/*-------------------------------------------------------------------------
 *
 * check.c
 *	  Everything comes to rest, and then must be in order.
 *
 *-------------------------------------------------------------------------
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "simulation.h"

static Device *
device_by_id(const char *id)
{
	for (int i = 0; i < sim.ndevices; i++)
	{
		if (strcmp(sim.devices[i]->id, id) == 0)
			return sim.devices[i];
	}
	violation("nobody registered device %s", id);
}

static void
push_all(Device *device)
{
	int			failures = 0;
	long long	first;
	long long	last;
	char	   *delta;

	while (!device->is_revoked && (delta = device_delta(device, 1 + below(10), &first, &last)) != NULL)
	{
		Rows	   *answer;

		note("device %d pushes %lld to %lld: %s", device->n, first, last, delta);
		answer = push_now(sim.client, device, delta, first, last);
		if (answer != NULL)
			device_answer(device, first, last, answer);
		else if (++failures > 3)
			violation("device %d cannot push: %s: %s", device->n, error_state, error_text);
	}
}

/* Who is revoked removes what is in no scope that ever was his, too: what waited. */
static void
drop_unscoped(Device *device)
{
	Rows	   *scopes = must(control, form("SELECT scope FROM offline_sync.device_scope WHERE device = %s",
										   quote(device->id)));

	for (int t = 0; t < sim.ntables; t++)
	{
		const Table *table = &sim.tables[t];

		for (int k = 1; k <= NKEYS; k++)
		{
			const char *scope;
			bool		is_his = false;

			if (table->scope < 0 || device->rows[t][k] == NULL)
				continue;
			scope = json_text(device->rows[t][k], table->columns[table->scope].name);
			for (int i = 0; i < scopes->n && scope != NULL; i++)
				is_his |= strcmp(VALUE(scopes, i, 0), scope) == 0;
			if (!is_his)
				device->rows[t][k] = NULL;
		}
	}
}

static void
pull_all(Device *device)
{
	int			max = 1 + below(20);
	int			pages = 0;

	while (pull_page(device, max, false))
	{
		if (++pages > 2000)
			violation("device %d pulls without end", device->n);
	}
	if (device->is_revoked)
		drop_unscoped(device);
	else
		ack(device);			/* or one that had expired would begin afresh each time */
}

/* With nothing new there is nothing to tell. */
static void
pull_nothing(Device *device)
{
	char	   *vector = json_write(device->vector);
	Rows	   *rows = ask(sim.client, 3, "SELECT sync_changes_since($1, $2, 1000, $3)", device->id, vector, device->resume);
	Json	   *page;

	if (device->is_revoked)
		return;					/* it is told each time */
	if (rows == NULL)
		violation("device %d cannot pull: %s: %s", device->n, error_state, error_text);
	page = json_parse(VALUE(rows, 0, 0));
	if (json_get(page, "changes")->n > 0 || json_true(page, "more") || json_true(page, "reset"))
		violation("device %d has pulled all with %s, and is told: %s", device->n, vector, VALUE(rows, 0, 0));
}

static bool
may_pull(const Rows *scopes, const Device *device, const char *scope)
{
	for (int i = 0; i < scopes->n && scope != NULL && !device->is_revoked; i++)
	{
		if (strcmp(VALUE(scopes, i, 0), device->id) == 0 && strcmp(VALUE(scopes, i, 1), scope) == 0)
			return true;
	}
	return false;
}

/* Each device has the rows of its scopes, and no others. */
static void
compare_rows(void)
{
	Rows	   *scopes = must(control, "SELECT device, scope FROM offline_sync.device_scope WHERE can_pull");

	for (int t = 0; t < sim.ntables; t++)
	{
		Table	   *table = &sim.tables[t];
		Rows	   *rows = must(control, row_query(table));
		int			row_of[NKEYS + 1];

		memset(row_of, -1, sizeof(row_of));
		for (int i = 0; i < rows->n; i++)
			row_of[key_number(table, json_parse(VALUE(rows, i, 0)))] = i;
		for (int d = 0; d < sim.ndevices; d++)
		{
			Device	   *device = sim.devices[d];

			for (int k = 1; k <= NKEYS; k++)
			{
				int			i = row_of[k];
				char	   *there = i < 0 || !may_pull(scopes, device, VALUE(rows, i, 1)) ? "no row" :
					cells_line(table, json_parse(VALUE(rows, i, 2)));
				char	   *here = cells_line(table, device->rows[t][k]);

				if (strcmp(there, here) != 0)
					violation("%s %s: the server has\n    %s\n  device %d has\n    %s", table->name, key_json(table, k),
							  there, device->n, here);
			}
		}
	}
}

/* A device can find out by itself that it has all rows of a scope. */
static void
compare_digest(Device *device)
{
	Rows	   *rows = must(control, form("SELECT scope, d.* FROM offline_sync.device_scope, sync_digest(device, scope) d"
										  " WHERE device = %s AND can_pull ORDER BY 1", quote(device->id)));

	for (int i = 0; i < rows->n && !device->is_revoked; i++)
	{
		char	   *digest = digest_of_scope(device, VALUE(rows, i, 0));

		if (strcmp(digest, VALUE(rows, i, 1)) != 0)
			violation("device %d, scope \"%s\": the digest is %s, but the server's is %s", device->n, VALUE(rows, i, 0),
					  digest, VALUE(rows, i, 1));
	}
}

/* Each change that was acknowledged is in the journal, once, as it was made. */
static void
check_journal(void)
{
	long long	next[64];
	Rows	   *rows = must(control, "SELECT j.device, c.seq, c.hlc FROM offline_sync.journal j, delta_changes(j.delta) c"
							" WHERE c.seq BETWEEN j.first_seq AND j.last_seq ORDER BY 1, 2");

	for (int d = 0; d < sim.ndevices; d++)
		next[d] = 1;
	for (int i = 0; i < rows->n; i++)
	{
		Device	   *device = device_by_id(VALUE(rows, i, 0));
		long long	seq = atoll(VALUE(rows, i, 1));

		if (seq != next[device->n] || seq > device->stored)
			violation("device %d: the journal has %lld where %lld should be, stored is %lld", device->n, seq,
					  next[device->n], device->stored);
		if (hlc_compare(hlc_parse(VALUE(rows, i, 2)), device->log[seq]->hlc) != 0)
			violation("device %d: the journal has another change %lld, made at %s", device->n, seq, VALUE(rows, i, 2));
		next[device->n]++;
	}
	for (int d = 0; d < sim.ndevices; d++)
	{
		if (next[d] != sim.devices[d]->stored + 1)
			violation("device %d: the journal ends with %lld, but stored is %lld", d, next[d] - 1, sim.devices[d]->stored);
	}
}

static void
load_outcomes(void)
{
	Rows	   *rows = must(control, "SELECT j.device, o->>'seq' FROM offline_sync.journal j, jsonb_array_elements(j.outcomes) o"
							" WHERE j.last_seq > 0 AND o->>'outcome' = 'rejected'");

	for (int i = 0; i < rows->n; i++)
	{
		Device	   *device = device_by_id(VALUE(rows, i, 0));
		long long	seq = atoll(VALUE(rows, i, 1));

		if (seq <= device->stored)
			device->log[seq]->is_rejected = true;
	}
}

/* What waits for its parent has waited long enough: it is applied, or refused. */
static void
end_waiting(void)
{
	must(control, "UPDATE offline_sync.waiting SET expires_at = now() - interval '1 minute'");
	for (int i = 0; atoi(VALUE(must(control, "SELECT waiting FROM sync_retry_pending(7)"), 0, 0)) > 0; i++)
	{
		if (i > 1000)
			violation("changes wait without end");
	}
	sim.moment++;
}

void
heal(void)
{
	note("---- all comes to rest");
	calm_down();
	for (int d = 0; d < sim.ndevices; d++)
		push_all(sim.devices[d]);
	end_waiting();
	for (int d = 0; d < sim.ndevices; d++)
		pull_all(sim.devices[d]);
	for (int d = 0; d < sim.ndevices; d++)
		pull_nothing(sim.devices[d]);
	compare_rows();
	for (int d = 0; d < sim.ndevices; d++)
		compare_digest(sim.devices[d]);
	check_journal();
	load_outcomes();
	oracle_check();
	note("---- and is in order");
}
