/*-------------------------------------------------------------------------
 *
 * clean.c
 *	  Clean-up of the server's state, and devices that are silent.
 *
 *-------------------------------------------------------------------------
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "simulation.h"

/* Entries and tombstones that are gone though somebody who is waited for has yet to acknowledge them. */
static const char missing_sql[] =
"SELECT format('%s of %s in scope \"%s\"', x.what, x.xid, x.scope), d.device"
" FROM (SELECT * FROM before"
" EXCEPT ALL SELECT 'the tombstone', scope, node, xid, table_id, key FROM offline_sync.tombstone"
" EXCEPT ALL SELECT 'the entry', scope, node, xid, table_id, key FROM offline_sync.change_log) x"
" JOIN offline_sync.node n ON n.id = x.node"
" JOIN offline_sync.device_scope s ON s.scope = x.scope AND s.can_pull"
" AND (s.granted_node, s.granted_xid) < (x.node, x.xid)"
" JOIN offline_sync.device d ON d.device = s.device"
" WHERE d.revoked_at IS NULL AND NOT vv_covers(d.seen, n.node, x.xid::text::bigint)"
" AND (d.fenced_at IS NULL OR (d.returned_node, d.returned_horizon) <= (x.node, x.xid))";

void
clean_up(void)
{
	int			max = chance(50) ? 1 + below(20) : 1000;
	Rows	   *rows;
	Rows	   *missing;

	note("sync_maintenance(%d)", max);
	must(control, "DROP TABLE IF EXISTS before");
	must(control, "CREATE TEMP TABLE before AS"
		 " SELECT 'the tombstone' AS what, scope, node, xid, table_id, key FROM offline_sync.tombstone"
		 " UNION ALL SELECT 'the entry', scope, node, xid, table_id, key FROM offline_sync.change_log");
	rows = ask(control, 0, form("SELECT task, removed FROM sync_maintenance(%d) WHERE removed > 0", max));
	if (rows == NULL)
	{
		call_failed("maintenance");
		return;
	}
	for (int i = 0; i < rows->n; i++)
	{
		note("... %s %s", VALUE(rows, i, 0), VALUE(rows, i, 1));
		count(form("clean-up: %s", VALUE(rows, i, 0)));
	}
	missing = must(control, missing_sql);
	if (missing->n > 0)
		violation("clean-up has removed %s, which device %s lacks", VALUE(missing, 0, 0), VALUE(missing, 0, 1));
}

/* For the server it has been silent for a year. */
void
expire(Device *device)
{
	note("device %d expires", device->n);
	count("device expires");
	if (ask(control, 0, form("UPDATE offline_sync.device SET last_push_at = now() - interval '1 year', last_ack_at = now() - interval '1 year',"
							 " registered_at = now() - interval '1 year', returned_at = returned_at - interval '1 year'"
							 " WHERE device = %s", quote(device->id))) == NULL)
		call_failed("expire");
	device->may_get_again = true;
}

void
fall_silent(Device *device)
{
	device->silent_until = sim.step + 20 + below(80);
	note("device %d is silent until step %d", device->n, device->silent_until);
	if (chance(50))
		expire(device);
}

/* Must a pull without "resume" begin afresh?  Not where there was nothing before. */
bool
is_fenced(const Device *device)
{
	Rows	   *rows = must(control, form("SELECT fenced_at IS NOT NULL AND revoked_at IS NULL AND EXISTS (SELECT FROM offline_sync.node n"
										  " WHERE vv_get(%s::version_vector, n.node) > 0) FROM offline_sync.device WHERE device = %s",
										  quote(json_write(device->vector)), quote(device->id)));

	return strcmp(VALUE(rows, 0, 0), "t") == 0;
}
