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
#include "miscadmin.h"
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

static void node_keys(ScanKeyData *keys, int32 node, uint64 after);

uint64
log_forgotten_xid(const char *scope, int32 node, Snapshot snapshot)
{
	Relation	rel = state_open("log_forgotten", AccessShareLock);
	ScanKeyData keys[2];
	SysScanDesc scan;
	HeapTuple	tuple;
	uint64		result = 0;
	bool		isnull;

	ScanKeyInit(&keys[0], Anum_forgotten_scope, BTEqualStrategyNumber, F_TEXTEQ,
				CStringGetTextDatum(scope));
	ScanKeyInit(&keys[1], Anum_forgotten_node, BTEqualStrategyNumber, F_INT4EQ,
				Int32GetDatum(node));
	scan = systable_beginscan(rel, state_index("log_forgotten_pkey"), true, snapshot,
							  lengthof(keys), keys);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
		result = DatumGetUInt64(heap_getattr(tuple, Anum_forgotten_xid,
											 RelationGetDescr(rel), &isnull));
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return result;
}

uint64
log_forgotten_final(int32 node, Snapshot snapshot)
{
	Relation	rel = state_open("log_forgotten", AccessShareLock);
	Relation	index = index_open(state_index("log_forgotten_position"),
								   AccessShareLock);
	ScanKeyData keys[2];
	SysScanDesc scan;
	HeapTuple	tuple;
	uint64		result = 0;
	bool		isnull;

	node_keys(keys, node, 0);
	scan = systable_beginscan_ordered(rel, index, snapshot, lengthof(keys), keys);
	tuple = systable_getnext_ordered(scan, BackwardScanDirection);
	if (HeapTupleIsValid(tuple))
		result = DatumGetUInt64(heap_getattr(tuple, Anum_forgotten_xid,
											 RelationGetDescr(rel), &isnull));
	systable_endscan_ordered(scan);
	index_close(index, AccessShareLock);
	table_close(rel, AccessShareLock);
	return result;
}

char **
log_forgotten_scopes(int32 node, uint64 after, int limit, Snapshot snapshot,
					 int *nscopes)
{
	Relation	rel = state_open("log_forgotten", AccessShareLock);
	ScanKeyData keys[2];
	SysScanDesc scan;
	HeapTuple	tuple;
	char	  **scopes = NULL;
	int			max = 0;
	bool		isnull;

	*nscopes = 0;
	node_keys(keys, node, after);
	scan = systable_beginscan(rel, state_index("log_forgotten_position"), true,
							  snapshot, lengthof(keys), keys);
	while (*nscopes < limit && HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		CHECK_FOR_INTERRUPTS();
		if (*nscopes == max)
		{
			max = Max(64, 2 * max);
			scopes = scopes == NULL ? palloc(max * sizeof(char *)) :
				repalloc_huge(scopes, (Size) max * sizeof(char *));
		}
		scopes[(*nscopes)++] =
			TextDatumGetCString(heap_getattr(tuple, Anum_forgotten_scope,
											 RelationGetDescr(rel), &isnull));
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return scopes;
}

static void
node_keys(ScanKeyData *keys, int32 node, uint64 after)
{
	ScanKeyInit(&keys[0], Anum_forgotten_node, BTEqualStrategyNumber, F_INT4EQ,
				Int32GetDatum(node));
	ScanKeyInit(&keys[1], Anum_forgotten_xid, BTGreaterStrategyNumber, F_XID8GT,
				UInt64GetDatum(after));
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
