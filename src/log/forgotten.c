/*-------------------------------------------------------------------------
 *
 * forgotten.c
 *	  What clean-up has removed from the change log and the tombstones.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "log/forgotten.h"
#include "log/state.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"

/* columns of offline_sync.log_forgotten */
#define Anum_forgotten_scope	1
#define Anum_forgotten_node		2
#define Anum_forgotten_xid		3

/* of offline_sync.tombstone_release */
#define Anum_release_released_node	5
#define Anum_release_released_ended 7

static uint64 largest_xid(const char *scope, int32 node, Snapshot snapshot);

uint64
log_forgotten_xid(const char *scope, int32 node, Snapshot snapshot)
{
	return largest_xid(scope, node, snapshot);
}

uint64
log_forgotten_final(int32 node, Snapshot snapshot)
{
	return largest_xid(NULL, node, snapshot);
}

/* scope NULL: of all scopes */
static uint64
largest_xid(const char *scope, int32 node, Snapshot snapshot)
{
	Relation	rel = state_open("log_forgotten", AccessShareLock);
	ScanKeyData keys[2];
	int			nkeys = 0;
	SysScanDesc scan;
	HeapTuple	tuple;
	uint64		result = 0;

	if (scope != NULL)
		ScanKeyInit(&keys[nkeys++], Anum_forgotten_scope,
					BTEqualStrategyNumber, F_TEXTEQ, CStringGetTextDatum(scope));
	ScanKeyInit(&keys[nkeys++], Anum_forgotten_node, BTEqualStrategyNumber,
				F_INT4EQ, Int32GetDatum(node));
	scan = systable_beginscan(rel, state_index("log_forgotten_pkey"),
							  scope != NULL, snapshot, nkeys, keys);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		bool		isnull;
		uint64		xid = DatumGetUInt64(heap_getattr(tuple, Anum_forgotten_xid,
													  RelationGetDescr(rel),
													  &isnull));

		result = Max(result, xid);
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return result;
}

bool
tombstones_released(int32 *node, uint64 *xid, Snapshot snapshot)
{
	Relation	rel = state_open("tombstone_release", AccessShareLock);
	SysScanDesc scan = systable_beginscan(rel, InvalidOid, false, snapshot, 0,
										  NULL);
	HeapTuple	tuple = systable_getnext(scan);
	bool		isnull = true;

	if (HeapTupleIsValid(tuple))
	{
		*node = DatumGetInt32(heap_getattr(tuple, Anum_release_released_node,
										   RelationGetDescr(rel), &isnull));
		if (!isnull)
			*xid = DatumGetUInt64(heap_getattr(tuple, Anum_release_released_ended,
											   RelationGetDescr(rel), &isnull));
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return !isnull;
}
