/*-------------------------------------------------------------------------
 *
 * maintenance.c
 *	  sync_maintenance: remove what is no longer needed, in bounded batches.
 *
 * Called by whatever scheduler there is.  Each task removes a limited number of
 * the oldest rows, found through an index, and passes over what somebody else
 * has locked; so it neither waits for pushes nor makes them wait, and several
 * may run at once.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xlog.h"
#include "audit/journal.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "log/state.h"
#include "miscadmin.h"
#include "offline_sync.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

/*
 * A reconciliation goes when it is older than audit_retention and nobody can ask
 * for it any more: its device has had the answer, or is revoked, or the answer is
 * older than any device that has not expired.  A device's last one stays: it says
 * how far the device is.  So does one with changes that wait, or that had waited and whose
 * end the device has not acknowledged; and one whose values only an open conflict
 * refers to.  Up to where the journal has gone is noted: see
 * journal_is_forgotten().  (xid8 has no max() before PostgreSQL 16.)
 *
 * $1: ids before this are older than audit_retention; $2: than device_expiry as
 * well; $3: limit
 */
static const char *const prune_journal =
"WITH old AS MATERIALIZED ("
" SELECT j.reconciliation FROM offline_sync.journal j"
" LEFT JOIN offline_sync.device d ON d.device = j.device"
" WHERE j.reconciliation < $1"
" AND (d.device IS NULL OR j.last_seq < j.first_seq OR j.last_seq < d.acked_seq)"
" AND (j.reconciliation < $2 OR d.device IS NULL OR d.revoked_at IS NOT NULL"
" OR j.last_seq <= vv_get(d.seen, d.device))"
" AND NOT EXISTS (SELECT FROM offline_sync.waiting w"
" WHERE w.device = j.device AND w.seq BETWEEN j.first_seq AND j.last_seq)"
" AND (d.device IS NULL OR d.revoked_at IS NOT NULL"
" OR offline_sync.device_is_expired(greatest(d.registered_at, d.last_push_at, d.last_ack_at))"
" OR NOT EXISTS (SELECT FROM offline_sync.late_change l"
" JOIN offline_sync.node n ON n.id = l.node"
" WHERE l.device = j.device AND l.seq BETWEEN j.first_seq AND j.last_seq"
" AND NOT vv_covers(d.seen, n.node, l.xid::text::bigint)))"
" AND NOT EXISTS (SELECT FROM offline_sync.conflict k"
" WHERE k.device = j.device AND k.seq BETWEEN j.first_seq AND j.last_seq"
" AND k.state = 'open' AND (k.column_id IS NULL OR k.policy = 'opaque'))"
" ORDER BY j.reconciliation LIMIT $3 FOR UPDATE OF j SKIP LOCKED),"
" gone AS ("
" DELETE FROM offline_sync.journal j USING old"
" WHERE j.reconciliation = old.reconciliation"
" RETURNING j.device, j.node, j.xid, j.first_seq, j.last_seq),"
" late AS ("
" DELETE FROM offline_sync.late_change l USING gone"
" WHERE l.device = gone.device AND l.seq BETWEEN gone.first_seq AND gone.last_seq"
" RETURNING l.node, l.xid),"
" noted AS ("
" INSERT INTO offline_sync.journal_forgotten AS f"
" SELECT DISTINCT ON (node) node, xid"
" FROM (SELECT node, xid FROM gone WHERE last_seq > 0"
" UNION ALL SELECT node, xid FROM late) AS x"
" ORDER BY node, xid DESC"
" ON CONFLICT (node) DO UPDATE SET xid = greatest(f.xid, excluded.xid))"
" SELECT count(*) FROM gone";

/* Conflicts that nobody has to decide any more.  Those that are open stay. */
static const char *const prune_conflicts =
"WITH old AS MATERIALIZED ("
" SELECT k.conflict FROM offline_sync.conflict k"
" WHERE k.conflict < $1 AND k.state <> 'open'"
" AND coalesce(k.resolved_at, k.detected_at) < $2"
" ORDER BY k.conflict LIMIT $3 FOR UPDATE SKIP LOCKED),"
" gone AS ("
" DELETE FROM offline_sync.conflict k USING old"
" WHERE k.conflict = old.conflict RETURNING 1)"
" SELECT count(*) FROM gone";

PG_FUNCTION_INFO_V1(sync_maintenance);

static void run_task(ReturnSetInfo *result, const char *task, const char *command,
					 Oid *types, Datum *values, int max_rows);
static TimestampTz minutes_ago(int minutes);

/*
 * sync_maintenance(max_rows int) -> one row a task
 */
Datum
sync_maintenance(PG_FUNCTION_ARGS)
{
	int32		max_rows = PG_GETARG_INT32(0);
	TimestampTz retained = minutes_ago(sync_audit_retention);
	TimestampTz expired = minutes_ago(Max(sync_audit_retention, sync_device_expiry));
	pg_uuid_t	retained_id;
	pg_uuid_t	expired_id;
	Oid			types[] = {UUIDOID, UUIDOID, INT4OID};
	Datum		values[3];
	StateUser	saved;

	PreventCommandIfReadOnly("sync_maintenance()");
	PreventCommandDuringRecovery("sync_maintenance()");
	if (max_rows < 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("max_rows must be at least 1")));
	InitMaterializedSRF(fcinfo, 0);

	journal_first_id(retained, &retained_id);
	journal_first_id(expired, &expired_id);
	SPI_connect();
	state_become_owner(&saved);

	values[0] = UUIDPGetDatum(&retained_id);
	values[1] = UUIDPGetDatum(&expired_id);
	values[2] = Int32GetDatum(max_rows);
	run_task((ReturnSetInfo *) fcinfo->resultinfo, "journal", prune_journal,
			 types, values, max_rows);
	types[1] = TIMESTAMPTZOID;
	values[1] = TimestampTzGetDatum(retained);
	run_task((ReturnSetInfo *) fcinfo->resultinfo, "conflicts", prune_conflicts,
			 types, values, max_rows);

	state_restore_user(&saved);
	SPI_finish();
	return (Datum) 0;
}

static void
run_task(ReturnSetInfo *result, const char *task, const char *command,
		 Oid *types, Datum *values, int max_rows)
{
	int64		removed;
	bool		isnull;
	Datum		row[3];
	bool		nulls[3] = {false};

	SPI_execute_with_args(command, 3, types, values, NULL, false, 0);
	removed = DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0],
										  SPI_tuptable->tupdesc, 1, &isnull));
	row[0] = CStringGetTextDatum(task);
	row[1] = Int64GetDatum(removed);
	row[2] = BoolGetDatum(removed >= max_rows);
	tuplestore_putvalues(result->setResult, result->setDesc, row, nulls);
}

static TimestampTz
minutes_ago(int minutes)
{
	return GetCurrentTimestamp() - minutes * (INT64CONST(60) * USECS_PER_SEC);
}
