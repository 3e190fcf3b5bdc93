/*-------------------------------------------------------------------------
 *
 * refusal.c
 *	  Deltas that were refused as a whole: which of them the journal keeps.
 *
 * A device can be refused any number of times a second, at little cost for itself.  So
 * the journal keeps one of its refused deltas a minute for each reason, and the others
 * are counted here, in one row that is updated in place (heap-only).
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/stratnum.h"
#include "access/table.h"
#include "access/xact.h"
#include "audit/refusal.h"
#include "catalog/indexing.h"
#include "compat.h"
#include "log/state.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

/* offline_sync.refusal */
#define ANUM_REFUSAL_DEVICE			1
#define ANUM_REFUSAL_REASON			2
#define ANUM_REFUSAL_RECONCILIATION	3
#define ANUM_REFUSAL_JOURNALED_AT	4
#define ANUM_REFUSAL_REPEATED		5
#define NATTS_REFUSAL				5

typedef struct Refusal
{
	pg_uuid_t	reconciliation;
	TimestampTz journaled_at;
	int64		nrepeated;
} Refusal;

static HeapTuple refusal_fetch(Relation rel, const pg_uuid_t *device,
							   const char *reason, Refusal *refusal);
static bool refusal_is_recent(const Refusal *refusal);
static void refusal_write(Relation rel, HeapTuple old, const pg_uuid_t *device,
						  const char *reason, const Refusal *refusal);

bool
refusal_is_known(const pg_uuid_t *device, const char *reason,
				 pg_uuid_t *reconciliation)
{
	Relation	rel = state_open("refusal", AccessShareLock);
	Refusal		refusal;
	bool		is_known;

	is_known = refusal_fetch(rel, device, reason, &refusal) != NULL &&
		refusal_is_recent(&refusal);
	if (is_known)
		*reconciliation = refusal.reconciliation;
	table_close(rel, AccessShareLock);
	return is_known;
}

bool
refusal_note(const pg_uuid_t *device, const char *reason,
			 pg_uuid_t *reconciliation, int64 *nrepeated)
{
	Relation	rel = state_open("refusal", RowExclusiveLock);
	Refusal		refusal = {0};
	HeapTuple	old;
	bool		is_new;

	old = refusal_fetch(rel, device, reason, &refusal);
	is_new = old == NULL || !refusal_is_recent(&refusal);
	if (is_new)
	{
		*nrepeated = refusal.nrepeated;
		refusal.reconciliation = *reconciliation;
		refusal.journaled_at = GetCurrentTimestamp();
		refusal.nrepeated = 0;
	}
	else
	{
		*reconciliation = refusal.reconciliation;
		refusal.nrepeated++;
	}
	refusal_write(rel, old, device, reason, &refusal);
	table_close(rel, NoLock);
	return is_new;
}

/* Also where the clock was put back. */
static bool
refusal_is_recent(const Refusal *refusal)
{
	TimestampTz now = GetCurrentTimestamp();

	return refusal->journaled_at <= now &&
		!TimestampDifferenceExceeds(refusal->journaled_at, now,
									REFUSAL_INTERVAL_MS);
}

/* The row's tuple, palloc'd, or NULL. */
static HeapTuple
refusal_fetch(Relation rel, const pg_uuid_t *device, const char *reason,
			  Refusal *refusal)
{
	TupleDesc	desc = RelationGetDescr(rel);
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	ScanKeyData keys[2];
	SysScanDesc scan;
	HeapTuple	tuple;
	bool		isnull;

	state_check_columns(desc, NATTS_REFUSAL);
	ScanKeyInit(&keys[0], ANUM_REFUSAL_DEVICE, BTEqualStrategyNumber, F_UUID_EQ,
				UUIDPGetDatum(device));
	ScanKeyInit(&keys[1], ANUM_REFUSAL_REASON, BTEqualStrategyNumber, F_TEXTEQ,
				CStringGetTextDatum(reason));
	scan = systable_beginscan(rel, state_index("refusal_pkey"), true, snapshot,
							  lengthof(keys), keys);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
	{
		tuple = heap_copytuple(tuple);
		refusal->reconciliation =
			*DatumGetUUIDP(heap_getattr(tuple, ANUM_REFUSAL_RECONCILIATION, desc,
										&isnull));
		refusal->journaled_at =
			DatumGetTimestampTz(heap_getattr(tuple, ANUM_REFUSAL_JOURNALED_AT,
											 desc, &isnull));
		refusal->nrepeated =
			DatumGetInt64(heap_getattr(tuple, ANUM_REFUSAL_REPEATED, desc, &isnull));
	}
	systable_endscan(scan);
	UnregisterSnapshot(snapshot);
	return tuple;
}

static void
refusal_write(Relation rel, HeapTuple old, const pg_uuid_t *device,
			  const char *reason, const Refusal *refusal)
{
	Datum		values[NATTS_REFUSAL];
	bool		nulls[NATTS_REFUSAL] = {false};
	HeapTuple	tuple;

	values[ANUM_REFUSAL_DEVICE - 1] = UUIDPGetDatum(device);
	values[ANUM_REFUSAL_REASON - 1] = CStringGetTextDatum(reason);
	values[ANUM_REFUSAL_RECONCILIATION - 1] =
		UUIDPGetDatum(&refusal->reconciliation);
	values[ANUM_REFUSAL_JOURNALED_AT - 1] =
		TimestampTzGetDatum(refusal->journaled_at);
	values[ANUM_REFUSAL_REPEATED - 1] = Int64GetDatum(refusal->nrepeated);
	tuple = heap_form_tuple(RelationGetDescr(rel), values, nulls);
	if (old == NULL)
		CatalogTupleInsert(rel, tuple);
	else
		CatalogTupleUpdate(rel, &old->t_self, tuple);
	heap_freetuple(tuple);

	/* so that another call in the same statement finds it */
	CommandCounterIncrement();
}
