/*-------------------------------------------------------------------------
 *
 * node_end.c
 *	  Which transactions were open when a node ended.
 *
 * A node ends when its database is restored, or promoted, at a point in time.
 * A transaction that was open there is lost here; where the old node lived on
 * it may have committed, and devices may have seen that.  Transactions do not
 * end in the order of their ids.  So a lost one may have a smaller id than the
 * last one that is here, and that a vector claims no more than what is here does
 * not mean that it does not come from a lost future.
 *
 * Such a transaction neither committed nor aborted, as far as the commit log
 * knows, and does not run.  The same is true of those that a crash of the old
 * node ended, which a vector may claim with good reason.  To tell them apart,
 * a node that writes notes now and then up to where all its transactions have
 * ended.  All that a crash ends is before the checkpoint that ends its recovery,
 * so once after each checkpoint is enough.
 *
 * What is open in another cluster than the node's own cannot be known.  It is
 * nothing after an upgrade, which wants a server that was shut down.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/clog.h"
#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/transam.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/indexing.h"
#include "compat.h"
#include "log/node_end.h"
#include "log/state.h"
#include "miscadmin.h"
#include "storage/lwlock.h"
#include "storage/procarray.h"
#include "utils/fmgroids.h"
#include "utils/memutils.h"
#include "utils/pg_lsn.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/xid8.h"

/* columns of offline_sync.node_settled */
#define Anum_settled_node_id	1
#define Anum_settled_xid		2
#define Anum_settled_checkpoint	3
#define Natts_settled			3

/* transactions looked up under one lock */
#define LOOKUP_BATCH	1000

typedef struct Settled
{
	uint64		xid;			/* 0: nothing noted */
	XLogRecPtr	checkpoint;
} Settled;

static VersionVector *look_for_open(const SyncNode *node);
static void read_settled(Relation rel, int32 id, Settled *newest);
static void remove_older(Relation rel, int32 id, uint64 xid);
static SysScanDesc begin_scan(Relation rel, int32 id);
static uint64 settled_xid(Relation rel, HeapTuple tuple);
static bool was_open(TransactionId xid);

void
node_end_settle(int32 id)
{
	Relation	rel = state_open("node_settled", RowExclusiveLock);
	XLogRecPtr	checkpoint = GetRedoRecPtr();
	uint64		xid = sync_snapshot_horizon(GetLatestSnapshot());
	Settled		newest;

	read_settled(rel, id, &newest);
	if (newest.checkpoint != checkpoint && newest.xid < xid)
	{
		Datum		values[Natts_settled];
		bool		nulls[Natts_settled] = {false};
		HeapTuple	tuple;

		values[Anum_settled_node_id - 1] = Int32GetDatum(id);
		values[Anum_settled_xid - 1] = UInt64GetDatum(xid);
		values[Anum_settled_checkpoint - 1] = LSNGetDatum(checkpoint);
		tuple = heap_form_tuple(RelationGetDescr(rel), values, nulls);
		remove_older(rel, id, newest.xid);
		CatalogTupleInsert(rel, tuple);
		heap_freetuple(tuple);
		CommandCounterIncrement();
	}
	table_close(rel, RowExclusiveLock);
}

const VersionVector *
node_end_open(const SyncNode *node)
{
	static VersionVector *found = NULL;
	static pg_uuid_t found_of;
	VersionVector *open;

	if (node->open_at_end != NULL)
		return node->open_at_end;
	if (found != NULL && memcmp(&found_of, &node->uuid, UUID_LEN) == 0)
		return found;

	/* a standby may learn later that a transaction does not run any more */
	open = look_for_open(node);
	if (RecoveryInProgress())
		return open;

	if (found != NULL)
		pfree(found);
	found = NULL;
	found = MemoryContextAlloc(TopMemoryContext, VARSIZE(open));
	memcpy(found, open, VARSIZE(open));
	found_of = node->uuid;
	return found;
}

static VersionVector *
look_for_open(const SyncNode *node)
{
	VVBuilder  *builder = vv_builder_create();
	uint64		next = U64FromFullTransactionId(ReadNextFullTransactionId());
	Relation	rel;
	Settled		settled;
	uint64		xid;

	if (!node->is_local)
		return vv_builder_finish(builder);

	rel = state_open("node_settled", AccessShareLock);
	read_settled(rel, node->id, &settled);
	table_close(rel, AccessShareLock);

	/* the commit log goes back by half of the 32-bit ids at most */
	xid = Max(node->began_xid, settled.xid);
	if (next > (uint64) MaxTransactionId / 2)
		xid = Max(xid, next - (uint64) MaxTransactionId / 2);
	while (xid < next)
	{
		uint64		end = Min(xid + LOOKUP_BATCH, next);

		CHECK_FOR_INTERRUPTS();
		LWLockAcquire(XactTruncationLock, LW_SHARED);
		for (; xid < end; xid++)
			if (was_open((TransactionId) xid))
				vv_builder_add(builder, &node->uuid, xid, xid);
		LWLockRelease(XactTruncationLock);
	}
	return vv_builder_finish(builder);
}

/* What was noted last of a node. */
static void
read_settled(Relation rel, int32 id, Settled *newest)
{
	SysScanDesc scan = begin_scan(rel, id);
	HeapTuple	tuple;

	newest->xid = 0;
	newest->checkpoint = InvalidXLogRecPtr;
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		uint64		xid = settled_xid(rel, tuple);
		bool		isnull;

		if (xid <= newest->xid)
			continue;
		newest->xid = xid;
		newest->checkpoint =
			DatumGetLSN(heap_getattr(tuple, Anum_settled_checkpoint,
									 RelationGetDescr(rel), &isnull));
	}
	systable_endscan(scan);
}

/*
 * Remove what is older than a note that stays, as a reserve should this
 * transaction not commit; but leave what somebody else is removing.
 */
static void
remove_older(Relation rel, int32 id, uint64 xid)
{
	SysScanDesc scan = begin_scan(rel, id);
	HeapTuple	tuple;

	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		TM_FailureData failure;

		if (settled_xid(rel, tuple) < xid)
			(void) table_tuple_delete(rel, &tuple->t_self,
									  GetCurrentCommandId(true),
									  InvalidSnapshot, InvalidSnapshot, false,
									  &failure, false);
	}
	systable_endscan(scan);
}

static SysScanDesc
begin_scan(Relation rel, int32 id)
{
	ScanKeyData key;

	ScanKeyInit(&key, Anum_settled_node_id, BTEqualStrategyNumber, F_INT4EQ,
				Int32GetDatum(id));
	return systable_beginscan(rel, InvalidOid, false, NULL, 1, &key);
}

static uint64
settled_xid(Relation rel, HeapTuple tuple)
{
	bool		isnull;

	return DatumGetUInt64(heap_getattr(tuple, Anum_settled_xid,
									   RelationGetDescr(rel), &isnull));
}

/*
 * Did a transaction end without a trace?  One that is prepared may yet commit.
 * The caller holds XactTruncationLock.
 */
static bool
was_open(TransactionId xid)
{
	XLogRecPtr	lsn;

	return TransactionIdIsNormal(xid) &&
		!TransactionIdPrecedes(xid, TransamVariables->oldestClogXid) &&
		TransactionIdGetStatus(xid, &lsn) == TRANSACTION_STATUS_IN_PROGRESS &&
		!TransactionIdIsInProgress(xid);
}
