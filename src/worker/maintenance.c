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
 * What devices may still need of the change log and the tombstones is decided by
 * what they acknowledged.  A device that was silent for longer than device_expiry
 * is fenced first, and asked no more.  That nothing is served to a device that has
 * missed something is not ensured here, but where it pulls: see
 * registry/device_continue.c.  So nothing here has to be exact about devices that
 * come, or come back, at the same time.
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
#include "log/node.h"
#include "log/state.h"
#include "miscadmin.h"
#include "offline_sync.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"
#include "utils/xid8.h"

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
" OR offline_sync.device_is_expired(greatest(d.registered_at, d.last_ack_at))"
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

/*
 * Answers to submitted deltas that their devices have acknowledged, or that are older
 * than audit_retention.  A refused delta, of which the journal has only the beginning,
 * and one without changes have no other end.
 *
 * $1: answered before then; $2: limit
 */
static const char *const prune_queue =
"WITH old AS MATERIALIZED ("
" SELECT q.id FROM offline_sync.queue q"
" LEFT JOIN offline_sync.device d ON d.device = q.device"
" WHERE q.state = 'answered' AND (q.answered_at < $1 OR d.device IS NULL"
" OR (q.last_seq > 0 AND q.status <> 'rejected'"
" AND q.last_seq <= vv_get(d.seen, d.device)))"
" ORDER BY q.answered_at LIMIT $2 FOR UPDATE OF q SKIP LOCKED),"
" gone AS ("
" DELETE FROM offline_sync.queue q USING old WHERE q.id = old.id RETURNING 1)"
" SELECT count(*) FROM gone";

/*
 * One that has come back, and did not start afresh in as long a time, is fenced
 * again.
 *
 * $1: silent since then; $2: limit
 */
static const char *const fence_devices =
"WITH old AS MATERIALIZED ("
" SELECT d.device FROM offline_sync.device d"
" WHERE d.revoked_at IS NULL"
" AND CASE WHEN d.fenced_at IS NULL THEN greatest(d.registered_at, d.last_ack_at)"
" ELSE d.returned_at END <= $1"
" ORDER BY d.device LIMIT $2 FOR NO KEY UPDATE SKIP LOCKED),"
" fenced AS ("
" UPDATE offline_sync.device d SET fenced_at = statement_timestamp(),"
" returned_at = NULL, returned_node = NULL, returned_horizon = NULL"
" FROM old WHERE d.device = old.device RETURNING 1)"
" SELECT count(*) FROM fenced";

/*
 * Up to where the transactions of a node had ended at a moment that was noted by node
 * "at" as the oldest one that ran then.  A former node of the same cluster may have
 * left a prepared one behind; transaction ids of another cluster say nothing.
 */
#define ENDED_BY(node, cluster, at, horizon) \
	"CASE WHEN " at " < " node " THEN 0" \
	" WHEN " at " = " node " OR " cluster " = (SELECT c.system_identifier" \
	" FROM offline_sync.node c WHERE c.id = " at ") THEN " horizon "::text::bigint - 1" \
	" ELSE 9223372036854775807 END"

/*
 * Up to where the devices that are asked have seen everything, by device and node:
 * a transaction in a gap of what a device has seen may have written what its pull
 * did not find.  What a former node lost is no gap.  A fenced device that has come
 * back needs what its fresh start may not bring.
 */
#define SEEN_UP_TO \
	"seen_up_to AS MATERIALIZED (" \
	" SELECT d.device, n.id AS node, n.system_identifier AS cluster," \
	" greatest(vv_get(CASE WHEN n.open_at_end IS NULL THEN d.seen" \
	" ELSE vv_join(d.seen, n.open_at_end) END, n.node)," \
	" CASE WHEN d.returned_at IS NOT NULL THEN " \
	ENDED_BY("n.id", "n.system_identifier", "d.returned_node", "d.returned_horizon") \
	" END) AS xid" \
	" FROM offline_sync.device d CROSS JOIN offline_sync.node n" \
	" WHERE d.revoked_at IS NULL" \
	" AND (d.fenced_at IS NULL OR d.returned_at IS NOT NULL))"

/* The last position that a device needs no entry of a scope up to; what had ended
 * before a grant comes with the base scan. */
#define NEEDS_AFTER \
	"greatest(u.xid, " \
	ENDED_BY("u.node", "u.cluster", "s.granted_node", "s.granted_horizon") ")"

/*
 * Entries, scope by scope, that every device which may pull the scope has
 * seen.  The index is not read where entries have gone already: until the next vacuum
 * it leads to dead ones there.  Never those of a transaction behind one that is still running: a new
 * device could not claim all up to there.  Positions of a node of another cluster
 * have nothing to do with the transactions here.  Events without a scope stay;
 * there are few.
 *
 * $1: the oldest running transaction; $2: limit; $3: this cluster
 */
static const char *const prune_log =
"WITH RECURSIVE stretch (scope, node, after) AS ("
" SELECT ''::text COLLATE \"C\", 0, '0'::xid8"
" UNION ALL"
" SELECT n.scope, n.node, n.after FROM stretch p CROSS JOIN LATERAL ("
" WITH known AS MATERIALIZED ("
" SELECT f.scope, f.node, f.xid FROM offline_sync.log_forgotten f"
" WHERE (f.scope, f.node) > (p.scope, p.node)"
" ORDER BY f.scope, f.node LIMIT 1)"
" SELECT l.scope, l.node, '0'::xid8 AS after FROM known k CROSS JOIN LATERAL ("
" SELECT l.scope, l.node FROM offline_sync.change_log l"
" WHERE (l.scope, l.node) > (p.scope, p.node)"
" AND (l.scope, l.node) < (k.scope, k.node)"
" ORDER BY l.scope, l.node LIMIT 1) AS l"
" UNION ALL"
" SELECT k.scope, k.node, k.xid FROM known k"
" UNION ALL"
" (SELECT l.scope, l.node, '0'::xid8 FROM offline_sync.change_log l"
" WHERE (l.scope, l.node) > (p.scope, p.node) AND NOT EXISTS (SELECT FROM known)"
" ORDER BY l.scope, l.node LIMIT 1)"
" ORDER BY scope, node LIMIT 1) AS n),"
SEEN_UP_TO ","
" needed AS MATERIALIZED ("
" SELECT s.scope, u.node, min(" NEEDS_AFTER ") AS after"
" FROM offline_sync.device_scope s JOIN seen_up_to u ON u.device = s.device"
" WHERE s.can_pull GROUP BY s.scope, u.node),"
" old AS MATERIALIZED ("
" SELECT o.row, p.scope, p.node, o.xid FROM stretch p"
" JOIN offline_sync.node n ON n.id = p.node"
" LEFT JOIN needed ON needed.scope = p.scope AND needed.node = p.node"
" CROSS JOIN LATERAL ("
" SELECT l.ctid AS row, l.xid FROM offline_sync.change_log l"
" WHERE l.scope = p.scope AND l.node = p.node AND l.xid >= p.after"
" AND l.xid <= least(needed.after, CASE WHEN n.system_identifier = $3"
" THEN $1::text::bigint - 1 ELSE 9223372036854775807 END)::text::xid8"
" ORDER BY l.xid LIMIT $2 FOR UPDATE SKIP LOCKED) AS o"
" LIMIT $2),"
" gone AS ("
" DELETE FROM offline_sync.change_log l USING old"
" WHERE l.ctid = old.row RETURNING old.scope, old.node, old.xid),"
" noted AS ("
" INSERT INTO offline_sync.log_forgotten AS f"
" SELECT DISTINCT ON (scope, node) scope, node, xid FROM gone"
" ORDER BY scope, node, xid DESC"
" ON CONFLICT (scope, node) DO UPDATE SET xid = greatest(f.xid, excluded.xid))"
" SELECT count(*) FROM gone";

/* Whoever gets the row looks after the log and the tombstones; the others, who would
 * wait for what it notes, leave them. */
static const char *const begin_release =
"INSERT INTO offline_sync.tombstone_release (node, settled, ended)"
" SELECT $1, $2, $3"
" WHERE NOT EXISTS (SELECT FROM offline_sync.tombstone_release)"
" ON CONFLICT DO NOTHING";
static const char *const lock_release =
"SELECT 1 FROM offline_sync.tombstone_release FOR UPDATE SKIP LOCKED";

/*
 * When all transactions before the end of the moment have ended, and no device has an
 * entry there, release what was deleted before that moment, and note the next one.  A
 * transaction that is still running may leave an entry there: whoever met that later
 * would have to begin afresh, and that is everybody.
 *
 * $1, $2, $3: node, the oldest running transaction, and the next one, at present
 */
static const char *const release_tombstones =
"WITH " SEEN_UP_TO
" UPDATE offline_sync.tombstone_release r"
" SET released_node = r.node, released_settled = r.settled,"
" released_ended = r.ended, node = $1, settled = $2, ended = $3"
" WHERE (r.ended <= $2 OR"
" (SELECT c.system_identifier FROM offline_sync.node c WHERE c.id = r.node) <>"
" (SELECT c.system_identifier FROM offline_sync.node c WHERE c.id = $1))"
" AND NOT EXISTS ("
" SELECT FROM seen_up_to u"
" JOIN offline_sync.device_scope s ON s.device = u.device AND s.can_pull"
" CROSS JOIN LATERAL (SELECT FROM offline_sync.change_log l"
" WHERE l.scope = s.scope AND l.node = u.node"
" AND l.xid > (" NEEDS_AFTER ")::text::xid8"
" AND l.xid < CASE WHEN u.node = r.node THEN r.ended"
" ELSE '9223372036854775807'::xid8 END LIMIT 1) AS l"
" WHERE u.node <= r.node)";

/*
 * Not of rows that somebody may still decide about: the image is what comes back.
 * Nor of those that a change is about which came before its device acknowledged the
 * deletion, and was not merged yet: it waits, or is in a queued delta.
 *
 * $1: limit; $2: this cluster
 */
static const char *const prune_tombstones =
"WITH queued AS MATERIALIZED ("
" SELECT q.device, delta_context(q.delta) AS context FROM offline_sync.queue q"
" JOIN offline_sync.device d ON d.device = q.device"
" WHERE q.state <> 'answered' AND d.revoked_at IS NULL AND d.fenced_at IS NULL),"
" old AS MATERIALIZED ("
" SELECT o.row FROM offline_sync.tombstone_release r"
" JOIN offline_sync.node n ON n.id <= r.released_node"
" CROSS JOIN LATERAL ("
" SELECT t.ctid AS row FROM offline_sync.tombstone t"
" WHERE t.node = n.id AND t.xid <"
" CASE WHEN n.id = r.released_node OR n.system_identifier = $2"
" THEN r.released_settled ELSE '9223372036854775807'::xid8 END"
" AND NOT EXISTS (SELECT FROM offline_sync.conflict k"
" WHERE k.table_id = t.table_id AND k.key = t.key"
" AND k.column_id IS NULL AND k.state <> 'resolved')"
" AND NOT EXISTS (SELECT FROM offline_sync.waiting w"
" WHERE w.table_id = t.table_id AND w.key = t.key)"
" AND NOT EXISTS (SELECT FROM queued q"
" JOIN offline_sync.device_scope s ON s.device = q.device AND s.can_push"
" WHERE s.scope = t.scope AND NOT vv_covers(q.context, n.node, t.xid::text::bigint))"
" ORDER BY t.xid LIMIT $1 FOR UPDATE SKIP LOCKED) AS o"
" LIMIT $1),"
" gone AS ("
" DELETE FROM offline_sync.tombstone t USING old"
" WHERE t.ctid = old.row RETURNING 1)"
" SELECT count(*) FROM gone";

/* What the tasks are given */
typedef struct Maintenance
{
	ReturnSetInfo *result;
	int			max_rows;
	int32		node;
	uint64		oldest;			/* all transactions before have ended */
	uint64		next;			/* none from here on has begun */
} Maintenance;

PG_FUNCTION_INFO_V1(sync_maintenance);

static void prune_answers(const Maintenance *m);
static void fence(const Maintenance *m);
static void prune_log_and_tombstones(const Maintenance *m);
static void prune_log_entries(const Maintenance *m);
static void prune_deletions(const Maintenance *m);
static void run_task(const Maintenance *m, const char *task, const char *command,
					 int nargs, Oid *types, Datum *values);
static void put_task(const Maintenance *m, const char *task, int64 removed);
static Datum position_datum(uint64 xid);
static TimestampTz minutes_ago(int minutes);

/*
 * sync_maintenance(max_rows int) -> one row a task
 */
Datum
sync_maintenance(PG_FUNCTION_ARGS)
{
	Maintenance m;
	StateUser	saved;

	PreventCommandIfReadOnly("sync_maintenance()");
	PreventCommandDuringRecovery("sync_maintenance()");
	m.max_rows = PG_GETARG_INT32(0);
	if (m.max_rows < 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("max_rows must be at least 1")));
	InitMaterializedSRF(fcinfo, 0);
	m.result = (ReturnSetInfo *) fcinfo->resultinfo;

	/* registers this node: before an entry goes, former nodes' ends are noted */
	m.node = sync_node_id();
	m.oldest = sync_snapshot_horizon(GetTransactionSnapshot());
	m.next = U64FromFullTransactionId(ReadNextFullTransactionId());

	SPI_connect();
	state_become_owner(&saved);
	prune_answers(&m);
	fence(&m);
	prune_log_and_tombstones(&m);
	state_restore_user(&saved);
	SPI_finish();
	return (Datum) 0;
}

/* The journal, conflicts, and the answers of the queue. */
static void
prune_answers(const Maintenance *m)
{
	TimestampTz retained = minutes_ago(sync_audit_retention);
	TimestampTz expired = minutes_ago(Max(sync_audit_retention, sync_device_expiry));
	pg_uuid_t	retained_id;
	pg_uuid_t	expired_id;
	Oid			types[] = {UUIDOID, UUIDOID, INT4OID};
	Datum		values[3];

	journal_first_id(retained, &retained_id);
	journal_first_id(expired, &expired_id);
	values[0] = UUIDPGetDatum(&retained_id);
	values[1] = UUIDPGetDatum(&expired_id);
	values[2] = Int32GetDatum(m->max_rows);
	run_task(m, "journal", prune_journal, 3, types, values);
	types[1] = TIMESTAMPTZOID;
	values[1] = TimestampTzGetDatum(retained);
	run_task(m, "conflicts", prune_conflicts, 3, types, values);
	run_task(m, "queue", prune_queue, 2, types + 1, values + 1);
}

static void
fence(const Maintenance *m)
{
	Oid			types[] = {TIMESTAMPTZOID, INT4OID};
	Datum		values[2];

	values[0] = TimestampTzGetDatum(minutes_ago(sync_device_expiry));
	values[1] = Int32GetDatum(m->max_rows);
	run_task(m, "fence", fence_devices, 2, types, values);
}

/* Both tasks have a row in the result in any case. */
static void
prune_log_and_tombstones(const Maintenance *m)
{
	Oid			types[] = {INT4OID, XID8OID, XID8OID};
	Datum		values[3];

	values[0] = Int32GetDatum(m->node);
	values[1] = position_datum(m->oldest);
	values[2] = position_datum(m->next);
	SPI_execute_with_args(begin_release, 3, types, values, NULL, false, 0);
	SPI_execute(lock_release, false, 0);
	if (SPI_processed == 0)
	{
		put_task(m, "change_log", 0);
		put_task(m, "tombstones", 0);
		return;
	}
	prune_log_entries(m);
	SPI_execute_with_args(release_tombstones, 3, types, values, NULL, false, 0);
	prune_deletions(m);
}

static void
prune_log_entries(const Maintenance *m)
{
	Oid			types[] = {XID8OID, INT4OID, INT8OID};
	Datum		values[3];

	values[0] = position_datum(m->oldest);
	values[1] = Int32GetDatum(m->max_rows);
	values[2] = Int64GetDatum((int64) GetSystemIdentifier());
	run_task(m, "change_log", prune_log, 3, types, values);
}

static void
prune_deletions(const Maintenance *m)
{
	Oid			types[] = {INT4OID, INT8OID};
	Datum		values[2];

	values[0] = Int32GetDatum(m->max_rows);
	values[1] = Int64GetDatum((int64) GetSystemIdentifier());
	run_task(m, "tombstones", prune_tombstones, 2, types, values);
}

static void
run_task(const Maintenance *m, const char *task, const char *command,
		 int nargs, Oid *types, Datum *values)
{
	bool		isnull;

	SPI_execute_with_args(command, nargs, types, values, NULL, false, 0);
	put_task(m, task,
			 DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0],
										 SPI_tuptable->tupdesc, 1, &isnull)));
}

static void
put_task(const Maintenance *m, const char *task, int64 removed)
{
	Datum		row[3];
	bool		nulls[3] = {false};

	row[0] = CStringGetTextDatum(task);
	row[1] = Int64GetDatum(removed);
	row[2] = BoolGetDatum(removed >= m->max_rows);
	tuplestore_putvalues(m->result->setResult, m->result->setDesc, row, nulls);
}

static Datum
position_datum(uint64 xid)
{
	return FullTransactionIdGetDatum(FullTransactionIdFromU64(xid));
}

/* Not before 1970, where the times in ids begin: a setting may say "never" by being
 * large. */
static TimestampTz
minutes_ago(int minutes)
{
	TimestampTz first = (UNIX_EPOCH_JDATE - POSTGRES_EPOCH_JDATE) * USECS_PER_DAY;

	return Max(first, GetCurrentTimestamp() -
			   minutes * (INT64CONST(60) * USECS_PER_SEC));
}
