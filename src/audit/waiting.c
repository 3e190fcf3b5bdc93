/*-------------------------------------------------------------------------
 *
 * waiting.c
 *	  Reading and writing what waits for the row that it refers to.
 *
 * Without SPI, as the journal.  Mostly nothing waits; what everybody has to
 * ask (is anything waiting for rows of this table?) is one look-up in an index
 * for a table and transaction.
 *
 * The rows that a transaction wrote are noted by the capture trigger, and taken
 * when the statement, or the push, is done.  A note that remains from a
 * subtransaction that aborted does no harm: nothing will be found to apply.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/stratnum.h"
#include "access/table.h"
#include "access/xact.h"
#include "audit/waiting.h"
#include "catalog/indexing.h"
#include "compat.h"
#include "log/state.h"
#include "miscadmin.h"
#include "nodes/pg_list.h"
#include "storage/bufmgr.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/xid8.h"

/* offline_sync.waiting */
#define ANUM_WAITING_DEVICE			1
#define ANUM_WAITING_SEQ			2
#define ANUM_WAITING_UNIT			3
#define ANUM_WAITING_RECONCILIATION	4
#define ANUM_WAITING_TABLE_ID		5
#define ANUM_WAITING_KEY			6
#define ANUM_WAITING_SCOPE			7
#define ANUM_WAITING_HLC			8
#define ANUM_WAITING_SCHEMA_VERSION 9
#define ANUM_WAITING_ROLE			10
#define ANUM_WAITING_REASON			11
#define ANUM_WAITING_CONSTRAINT		12
#define ANUM_WAITING_PARENT_TABLE_ID	13
#define ANUM_WAITING_PARENT_KEY		14
#define ANUM_WAITING_SINCE			15
#define ANUM_WAITING_EXPIRES_AT		16
#define NATTS_WAITING				16

/* offline_sync.late_change */
#define ANUM_LATE_DEVICE			1
#define ANUM_LATE_SEQ				2
#define ANUM_LATE_NODE				3
#define ANUM_LATE_XID				4
#define ANUM_LATE_TABLE_ID			5
#define ANUM_LATE_KEY				6
#define NATTS_LATE					6

/* an xid8 column as the number that positions are, and back */
#define DatumGetPosition(d) U64FromFullTransactionId(DatumGetFullTransactionId(d))
#define PositionGetDatum(x) \
	FullTransactionIdGetDatum(FullTransactionIdFromU64(x))

/* A table that was asked about in this transaction */
typedef struct WatchedTable
{
	int32		table_id;
	bool		is_watched;
} WatchedTable;

struct LateChangeProbe
{
	Relation	rel;
	Relation	index;
	Snapshot	snapshot;
};

/* ---- backend-local state, void between transactions ---- */

static List *watched_tables = NIL;	/* of WatchedTable */
static AwaitedRow *noted_rows = NULL;
static int	nnoted_rows = 0;
static int	maxnoted_rows = 0;

/*
 * ---- backend-local state, valid until something is added to what waits ----
 *
 * An abort may bring back what the transaction took from there, and tells nobody.
 */

#define MAX_UNWATCHED	64

static int32 unwatched_tables[MAX_UNWATCHED];	/* ids: nothing waits for
												 * their rows */
static int	nunwatched = 0;
static uint64 times_forgotten = 0;
static Oid	waiting_relid = InvalidOid;

static void waiting_values(const WaitingChange *change, Datum *values,
						   bool *nulls);
static WaitingChange waiting_change(HeapTuple tuple, TupleDesc desc);
static SysScanDesc scan_parent(Relation rel, Relation index, int nkeys,
							   int32 table_id, Datum key, Snapshot snapshot);
static void forget_unwatched(Datum arg, Oid relid);
static bool any_waits_for(int32 table_id, const char *key, int keylen);
static void add_devices(HTAB *devices, Relation rel, Relation index,
						Snapshot snapshot, int32 table_id, Datum key);
static int	compare_uuids(const void *a, const void *b);
static bytea *make_bytea(const char *data, int len);
static char *copy_bytea(Datum datum, int *len);
static void forget_noted(XactEvent event, void *arg);
static void forget_tables(SubXactEvent event, SubTransactionId subid,
						  SubTransactionId parent, void *arg);

/* ----------------------------------------------------------------
 * Writing
 * ---------------------------------------------------------------- */

void
waiting_insert(const WaitingChange *changes, int nchanges)
{
	StateWriter *writer;

	if (nchanges == 0)
		return;
	writer = state_writer_begin("waiting");
	for (int i = 0; i < nchanges; i++)
	{
		Datum		values[NATTS_WAITING];
		bool		nulls[NATTS_WAITING];

		waiting_values(&changes[i], values, nulls);
		state_writer_put(writer, values, nulls);
	}
	CacheInvalidateRelcache(state_writer_relation(writer));
	state_writer_end(writer);
	CommandCounterIncrement();
	watched_tables = NIL;
}

void
waiting_update(WaitingChange *change)
{
	Relation	rel = state_open("waiting", RowExclusiveLock);
	Datum		values[NATTS_WAITING];
	bool		nulls[NATTS_WAITING];
	HeapTuple	tuple;

	waiting_values(change, values, nulls);
	tuple = heap_form_tuple(RelationGetDescr(rel), values, nulls);
	CatalogTupleUpdate(rel, &change->tid, tuple);
	change->tid = tuple->t_self;
	heap_freetuple(tuple);
	CacheInvalidateRelcache(rel);
	table_close(rel, NoLock);
	CommandCounterIncrement();
	watched_tables = NIL;
}

void
waiting_delete(const WaitingChange *changes, int nchanges)
{
	Relation	rel;

	if (nchanges == 0)
		return;
	rel = state_open("waiting", RowExclusiveLock);
	for (int i = 0; i < nchanges; i++)
	{
		ItemPointerData tid = changes[i].tid;

		CatalogTupleDelete(rel, &tid);
	}
	table_close(rel, NoLock);
	CommandCounterIncrement();
}

static void
waiting_values(const WaitingChange *change, Datum *values, bool *nulls)
{
	memset(values, 0, NATTS_WAITING * sizeof(Datum));
	memset(nulls, false, NATTS_WAITING * sizeof(bool));
	values[ANUM_WAITING_DEVICE - 1] = UUIDPGetDatum(&change->device);
	values[ANUM_WAITING_SEQ - 1] = Int64GetDatum(change->seq);
	values[ANUM_WAITING_UNIT - 1] = Int64GetDatum(change->unit);
	values[ANUM_WAITING_RECONCILIATION - 1] = UUIDPGetDatum(&change->reconciliation);
	values[ANUM_WAITING_TABLE_ID - 1] = Int32GetDatum(change->table_id);
	values[ANUM_WAITING_KEY - 1] =
		PointerGetDatum(make_bytea(change->key, change->keylen));
	nulls[ANUM_WAITING_SCOPE - 1] = change->scope == NULL;
	if (change->scope != NULL)
		values[ANUM_WAITING_SCOPE - 1] = CStringGetTextDatum(change->scope);
	values[ANUM_WAITING_HLC - 1] = HlcGetDatum(change->hlc);
	values[ANUM_WAITING_SCHEMA_VERSION - 1] = Int32GetDatum(change->schema_version);
	values[ANUM_WAITING_ROLE - 1] = CStringGetTextDatum(change->role);
	values[ANUM_WAITING_REASON - 1] = CStringGetTextDatum(change->reason);
	nulls[ANUM_WAITING_CONSTRAINT - 1] = change->constraint == NULL;
	if (change->constraint != NULL)
		values[ANUM_WAITING_CONSTRAINT - 1] = CStringGetTextDatum(change->constraint);
	nulls[ANUM_WAITING_PARENT_TABLE_ID - 1] = change->parent_table_id == 0;
	values[ANUM_WAITING_PARENT_TABLE_ID - 1] = Int32GetDatum(change->parent_table_id);
	nulls[ANUM_WAITING_PARENT_KEY - 1] = change->parent_key == NULL;
	if (change->parent_key != NULL)
		values[ANUM_WAITING_PARENT_KEY - 1] =
			PointerGetDatum(make_bytea(change->parent_key, change->parent_keylen));
	values[ANUM_WAITING_SINCE - 1] = TimestampTzGetDatum(change->since);
	values[ANUM_WAITING_EXPIRES_AT - 1] = TimestampTzGetDatum(change->expires_at);
}

/* ----------------------------------------------------------------
 * Reading
 * ---------------------------------------------------------------- */

WaitingChange *
waiting_load(const pg_uuid_t *device, int *nchanges)
{
	Relation	rel = state_open("waiting", AccessShareLock);
	Relation	index = index_open(state_index("waiting_pkey"), AccessShareLock);
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	int			max = 16;
	WaitingChange *changes = palloc(max * sizeof(WaitingChange));
	ScanKeyData key[1];
	SysScanDesc scan;
	HeapTuple	tuple;

	*nchanges = 0;
	ScanKeyInit(&key[0], ANUM_WAITING_DEVICE, BTEqualStrategyNumber, F_UUID_EQ,
				UUIDPGetDatum(device));
	scan = systable_beginscan_ordered(rel, index, snapshot, lengthof(key), key);
	while (HeapTupleIsValid(tuple = systable_getnext_ordered(scan, ForwardScanDirection)))
	{
		CHECK_FOR_INTERRUPTS();
		if (*nchanges == max)
		{
			max *= 2;
			changes = repalloc_huge(changes, (Size) max * sizeof(WaitingChange));
		}
		changes[(*nchanges)++] = waiting_change(tuple, RelationGetDescr(rel));
	}
	systable_endscan_ordered(scan);
	UnregisterSnapshot(snapshot);
	index_close(index, AccessShareLock);
	table_close(rel, AccessShareLock);
	return changes;
}

static WaitingChange
waiting_change(HeapTuple tuple, TupleDesc desc)
{
	WaitingChange change;
	Datum		values[NATTS_WAITING];
	bool		nulls[NATTS_WAITING];

	state_check_columns(desc, NATTS_WAITING);
	heap_deform_tuple(tuple, desc, values, nulls);
	memset(&change, 0, sizeof(change));
	change.device = *DatumGetUUIDP(values[ANUM_WAITING_DEVICE - 1]);
	change.seq = DatumGetInt64(values[ANUM_WAITING_SEQ - 1]);
	change.unit = DatumGetInt64(values[ANUM_WAITING_UNIT - 1]);
	change.reconciliation = *DatumGetUUIDP(values[ANUM_WAITING_RECONCILIATION - 1]);
	change.table_id = DatumGetInt32(values[ANUM_WAITING_TABLE_ID - 1]);
	change.key = copy_bytea(values[ANUM_WAITING_KEY - 1], &change.keylen);
	if (!nulls[ANUM_WAITING_SCOPE - 1])
		change.scope = TextDatumGetCString(values[ANUM_WAITING_SCOPE - 1]);
	change.hlc = DatumGetHlc(values[ANUM_WAITING_HLC - 1]);
	change.schema_version = DatumGetInt32(values[ANUM_WAITING_SCHEMA_VERSION - 1]);
	change.role = TextDatumGetCString(values[ANUM_WAITING_ROLE - 1]);
	change.reason = TextDatumGetCString(values[ANUM_WAITING_REASON - 1]);
	if (!nulls[ANUM_WAITING_CONSTRAINT - 1])
		change.constraint = TextDatumGetCString(values[ANUM_WAITING_CONSTRAINT - 1]);
	if (!nulls[ANUM_WAITING_PARENT_TABLE_ID - 1])
		change.parent_table_id = DatumGetInt32(values[ANUM_WAITING_PARENT_TABLE_ID - 1]);
	if (!nulls[ANUM_WAITING_PARENT_KEY - 1])
		change.parent_key = copy_bytea(values[ANUM_WAITING_PARENT_KEY - 1],
									   &change.parent_keylen);
	change.since = DatumGetTimestampTz(values[ANUM_WAITING_SINCE - 1]);
	change.expires_at = DatumGetTimestampTz(values[ANUM_WAITING_EXPIRES_AT - 1]);
	change.tid = tuple->t_self;
	return change;
}

bool
waiting_has_row(const pg_uuid_t *device, int32 table_id, const char *key,
				int keylen, Snapshot snapshot)
{
	Relation	rel = state_open("waiting", AccessShareLock);
	ScanKeyData keys[2];
	SysScanDesc scan;
	HeapTuple	tuple;
	bool		found = false;

	ScanKeyInit(&keys[0], ANUM_WAITING_TABLE_ID, BTEqualStrategyNumber, F_INT4EQ,
				Int32GetDatum(table_id));
	ScanKeyInit(&keys[1], ANUM_WAITING_KEY, BTEqualStrategyNumber, F_BYTEAEQ,
				PointerGetDatum(make_bytea(key, keylen)));
	scan = systable_beginscan(rel, state_index("waiting_row"), true, snapshot,
							  lengthof(keys), keys);
	while (!found && HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		bool		isnull;
		Datum		value = heap_getattr(tuple, ANUM_WAITING_DEVICE,
										 RelationGetDescr(rel), &isnull);

		found = memcmp(DatumGetUUIDP(value), device, UUID_LEN) == 0;
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return found;
}

pg_uuid_t *
waiting_devices_for(int nrows, const AwaitedRow *rows, int *ndevices)
{
	Relation	rel = state_open("waiting", AccessShareLock);
	Relation	index = index_open(state_index("waiting_parent"), AccessShareLock);
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	HASHCTL		ctl;
	HTAB	   *found;
	HASH_SEQ_STATUS status;
	pg_uuid_t  *devices;
	pg_uuid_t  *device;

	ctl.keysize = ctl.entrysize = sizeof(pg_uuid_t);
	ctl.hcxt = CurrentMemoryContext;
	found = hash_create("offline_sync waiting devices", 16, &ctl,
						HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	for (int i = 0; i < nrows; i++)
	{
		add_devices(found, rel, index, snapshot, rows[i].table_id,
					PointerGetDatum(make_bytea(rows[i].key, rows[i].keylen)));
		if (i == 0 || rows[i].table_id != rows[i - 1].table_id)
			add_devices(found, rel, index, snapshot, rows[i].table_id, (Datum) 0);
	}
	UnregisterSnapshot(snapshot);
	index_close(index, AccessShareLock);
	table_close(rel, AccessShareLock);

	devices = palloc(Max(hash_get_num_entries(found), 1) * sizeof(pg_uuid_t));
	*ndevices = 0;
	hash_seq_init(&status, found);
	while ((device = hash_seq_search(&status)) != NULL)
		devices[(*ndevices)++] = *device;
	hash_destroy(found);
	qsort(devices, *ndevices, sizeof(pg_uuid_t), compare_uuids);
	return devices;
}

static int
compare_uuids(const void *a, const void *b)
{
	return memcmp(a, b, UUID_LEN);
}

/* key 0: those that wait for some row of the table. */
static void
add_devices(HTAB *devices, Relation rel, Relation index, Snapshot snapshot,
			int32 table_id, Datum key)
{
	SysScanDesc scan = scan_parent(rel, index, 2, table_id, key, snapshot);
	HeapTuple	tuple;

	while (HeapTupleIsValid(tuple = systable_getnext_ordered(scan, ForwardScanDirection)))
	{
		bool		isnull;
		Datum		device = heap_getattr(tuple, ANUM_WAITING_DEVICE,
										  RelationGetDescr(rel), &isnull);

		CHECK_FOR_INTERRUPTS();
		(void) hash_search(devices, DatumGetUUIDP(device), HASH_ENTER, NULL);
	}
	systable_endscan_ordered(scan);
}

/* A scan by parent: of the table, or of this key of it, or of none (key 0). */
static SysScanDesc
scan_parent(Relation rel, Relation index, int nkeys, int32 table_id, Datum key,
			Snapshot snapshot)
{
	ScanKeyData keys[2];

	ScanKeyInit(&keys[0], ANUM_WAITING_PARENT_TABLE_ID, BTEqualStrategyNumber,
				F_INT4EQ, Int32GetDatum(table_id));
	if (key != (Datum) 0)
		ScanKeyInit(&keys[1], ANUM_WAITING_PARENT_KEY, BTEqualStrategyNumber,
					F_BYTEAEQ, key);
	else
		ScanKeyEntryInitialize(&keys[1], SK_ISNULL | SK_SEARCHNULL,
							   ANUM_WAITING_PARENT_KEY, InvalidStrategy,
							   InvalidOid, InvalidOid, InvalidOid, (Datum) 0);
	return systable_beginscan_ordered(rel, index, snapshot, nkeys, keys);
}

pg_uuid_t *
waiting_devices(int *ndevices)
{
	Relation	rel = state_open("waiting", AccessShareLock);
	Relation	index = index_open(state_index("waiting_pkey"), AccessShareLock);
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	int			max = 16;
	pg_uuid_t  *devices = palloc(max * sizeof(pg_uuid_t));
	bool		found = true;

	/* from one device to the next, not over all that each has */
	*ndevices = 0;
	while (found)
	{
		ScanKeyData key[1];
		SysScanDesc scan;
		HeapTuple	tuple;
		bool		isnull;

		CHECK_FOR_INTERRUPTS();
		if (*ndevices > 0)
			ScanKeyInit(&key[0], ANUM_WAITING_DEVICE, BTGreaterStrategyNumber,
						F_UUID_GT, UUIDPGetDatum(&devices[*ndevices - 1]));
		scan = systable_beginscan_ordered(rel, index, snapshot,
										  *ndevices > 0 ? 1 : 0, key);
		tuple = systable_getnext_ordered(scan, ForwardScanDirection);
		found = HeapTupleIsValid(tuple);
		if (found)
		{
			if (*ndevices == max)
			{
				max *= 2;
				devices = repalloc_huge(devices, (Size) max * sizeof(pg_uuid_t));
			}
			devices[(*ndevices)++] =
				*DatumGetUUIDP(heap_getattr(tuple, ANUM_WAITING_DEVICE,
											RelationGetDescr(rel), &isnull));
		}
		systable_endscan_ordered(scan);
	}
	UnregisterSnapshot(snapshot);
	index_close(index, AccessShareLock);
	table_close(rel, AccessShareLock);
	return devices;
}

int64
waiting_count(void)
{
	Relation	rel = state_open("waiting", AccessShareLock);
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	TableScanDesc scan = table_beginscan(rel, snapshot, 0, NULL);
	int64		n = 0;

	while (heap_getnext(scan, ForwardScanDirection) != NULL)
	{
		CHECK_FOR_INTERRUPTS();
		n++;
	}
	table_endscan(scan);
	UnregisterSnapshot(snapshot);
	table_close(rel, AccessShareLock);
	return n;
}

/* ----------------------------------------------------------------
 * What the transaction wrote
 * ---------------------------------------------------------------- */

bool
waiting_is_watched(int32 table_id)
{
	static bool is_initialized = false;
	MemoryContext oldcontext;
	WatchedTable *watched;
	ListCell   *lc;
	uint64		times;

	foreach(lc, watched_tables)
	{
		watched = lfirst(lc);
		if (watched->table_id == table_id)
			return watched->is_watched;
	}
	for (int i = 0; i < nunwatched; i++)
	{
		if (unwatched_tables[i] == table_id)
			return false;
	}
	if (!is_initialized)
	{
		RegisterXactCallback(forget_noted, NULL);
		RegisterSubXactCallback(forget_tables, NULL);
		CacheRegisterRelcacheCallback(forget_unwatched, (Datum) 0);
		is_initialized = true;
	}
	waiting_relid = state_find("waiting");
	times = times_forgotten;
	oldcontext = MemoryContextSwitchTo(TopTransactionContext);
	watched = palloc(sizeof(WatchedTable));
	watched->table_id = table_id;
	watched->is_watched = OidIsValid(state_find("waiting_parent")) &&
		any_waits_for(table_id, NULL, 0);
	watched_tables = lappend(watched_tables, watched);
	MemoryContextSwitchTo(oldcontext);
	if (!watched->is_watched && OidIsValid(waiting_relid) &&
		times == times_forgotten)
	{
		if (nunwatched == MAX_UNWATCHED)
			nunwatched = 0;
		unwatched_tables[nunwatched++] = table_id;
	}
	return watched->is_watched;
}

/* Whoever adds to what waits says so by invalidating its table. */
static void
forget_unwatched(Datum arg, Oid relid)
{
	if (relid != InvalidOid && relid != waiting_relid)
		return;
	nunwatched = 0;
	times_forgotten++;
}

/* Does anything wait for this row (NULL: any row) of the table? */
static bool
any_waits_for(int32 table_id, const char *key, int keylen)
{
	Relation	rel = state_open("waiting", AccessShareLock);
	Relation	index = index_open(state_index("waiting_parent"), AccessShareLock);
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	SysScanDesc scan;
	bool		found;

	scan = scan_parent(rel, index, key == NULL ? 1 : 2, table_id,
					   key == NULL ? (Datum) 0 : PointerGetDatum(make_bytea(key, keylen)),
					   snapshot);
	found = HeapTupleIsValid(systable_getnext_ordered(scan, ForwardScanDirection));
	systable_endscan_ordered(scan);
	if (!found && key != NULL)
	{
		scan = scan_parent(rel, index, 2, table_id, (Datum) 0, snapshot);
		found = HeapTupleIsValid(systable_getnext_ordered(scan, ForwardScanDirection));
		systable_endscan_ordered(scan);
	}
	UnregisterSnapshot(snapshot);
	index_close(index, AccessShareLock);
	table_close(rel, AccessShareLock);
	return found;
}

void
waiting_note_row(int32 table_id, const char *key, int keylen)
{
	AwaitedRow *row;

	if (!any_waits_for(table_id, key, keylen))
		return;
	if (nnoted_rows == maxnoted_rows)
	{
		maxnoted_rows = Max(16, 2 * maxnoted_rows);
		if (noted_rows == NULL)
			noted_rows = MemoryContextAlloc(TopTransactionContext,
											maxnoted_rows * sizeof(AwaitedRow));
		else
			noted_rows = repalloc_huge(noted_rows,
									   (Size) maxnoted_rows * sizeof(AwaitedRow));
	}
	row = &noted_rows[nnoted_rows++];
	row->table_id = table_id;
	row->keylen = keylen;
	row->key = memcpy(MemoryContextAlloc(TopTransactionContext, Max(keylen, 1)),
					  key, keylen);
}

int
waiting_noted_count(void)
{
	return nnoted_rows;
}

AwaitedRow *
waiting_noted_since(int first, int *nrows)
{
	*nrows = nnoted_rows - first;
	return noted_rows + first;
}

void
waiting_forget_noted(void)
{
	nnoted_rows = maxnoted_rows = 0;
	noted_rows = NULL;			/* the memory goes with the transaction */
}

static void
forget_noted(XactEvent event, void *arg)
{
	switch (event)
	{
		case XACT_EVENT_PREPARE:	/* may yet be rolled back */
		case XACT_EVENT_ABORT:
			nunwatched = 0;
			/* FALLTHROUGH */
		case XACT_EVENT_COMMIT:
			watched_tables = NIL;
			waiting_forget_noted();
			break;
		default:
			break;
	}
}

static void
forget_tables(SubXactEvent event, SubTransactionId subid,
			  SubTransactionId parent, void *arg)
{
	if (event != SUBXACT_EVENT_ABORT_SUB)
		return;
	watched_tables = NIL;
	nunwatched = 0;
}

/* ----------------------------------------------------------------
 * What became of them
 * ---------------------------------------------------------------- */

void
late_change_insert(const LateChange *changes, int nchanges)
{
	StateWriter *writer;

	if (nchanges == 0)
		return;
	writer = state_writer_begin("late_change");
	for (int i = 0; i < nchanges; i++)
	{
		Datum		values[NATTS_LATE];
		bool		nulls[NATTS_LATE] = {false};

		values[ANUM_LATE_DEVICE - 1] = UUIDPGetDatum(&changes[i].device);
		values[ANUM_LATE_SEQ - 1] = Int64GetDatum(changes[i].seq);
		values[ANUM_LATE_NODE - 1] = Int32GetDatum(changes[i].node);
		values[ANUM_LATE_XID - 1] = PositionGetDatum(changes[i].xid);
		values[ANUM_LATE_TABLE_ID - 1] = Int32GetDatum(changes[i].table_id);
		values[ANUM_LATE_KEY - 1] =
			PointerGetDatum(make_bytea(changes[i].key, changes[i].keylen));
		state_writer_put(writer, values, nulls);
	}
	state_writer_end(writer);
	CommandCounterIncrement();
}

LateChangeProbe *
late_change_probe_begin(Snapshot snapshot)
{
	LateChangeProbe *probe = palloc(sizeof(LateChangeProbe));

	probe->rel = state_open("late_change", AccessShareLock);
	probe->snapshot = snapshot;
	probe->index = NULL;
	if (RelationGetNumberOfBlocks(probe->rel) > 0)
		probe->index = index_open(state_index("late_change_pkey"), AccessShareLock);
	return probe;
}

bool
late_change_probe(LateChangeProbe *probe, const pg_uuid_t *device, int64 seq,
				  int32 *node, uint64 *xid)
{
	ScanKeyData keys[2];
	SysScanDesc scan;
	HeapTuple	tuple;
	bool		found;

	if (probe->index == NULL)
		return false;
	ScanKeyInit(&keys[0], ANUM_LATE_DEVICE, BTEqualStrategyNumber, F_UUID_EQ,
				UUIDPGetDatum(device));
	ScanKeyInit(&keys[1], ANUM_LATE_SEQ, BTEqualStrategyNumber, F_INT8EQ,
				Int64GetDatum(seq));
	scan = systable_beginscan_ordered(probe->rel, probe->index, probe->snapshot,
									  lengthof(keys), keys);
	tuple = systable_getnext_ordered(scan, ForwardScanDirection);
	found = HeapTupleIsValid(tuple);
	if (found)
	{
		TupleDesc	desc = RelationGetDescr(probe->rel);
		bool		isnull;

		*node = DatumGetInt32(heap_getattr(tuple, ANUM_LATE_NODE, desc, &isnull));
		*xid = DatumGetPosition(heap_getattr(tuple, ANUM_LATE_XID, desc, &isnull));
	}
	systable_endscan_ordered(scan);
	return found;
}

void
late_change_probe_end(LateChangeProbe *probe)
{
	if (probe->index != NULL)
		index_close(probe->index, AccessShareLock);
	table_close(probe->rel, AccessShareLock);
	pfree(probe);
}

LateChange *
late_change_list(const pg_uuid_t *device, int32 node, uint64 lo, uint64 hi,
				 Snapshot snapshot, int *nchanges)
{
	Relation	rel = state_open("late_change", AccessShareLock);
	TupleDesc	desc = RelationGetDescr(rel);
	LateChange *changes = NULL;
	int			max = 0;
	Relation	index;
	ScanKeyData keys[4];
	SysScanDesc scan;
	HeapTuple	tuple;

	*nchanges = 0;
	if (RelationGetNumberOfBlocks(rel) == 0)
	{
		table_close(rel, AccessShareLock);
		return NULL;
	}
	index = index_open(state_index("late_change_position"), AccessShareLock);
	ScanKeyInit(&keys[0], ANUM_LATE_DEVICE, BTEqualStrategyNumber, F_UUID_EQ,
				UUIDPGetDatum(device));
	ScanKeyInit(&keys[1], ANUM_LATE_NODE, BTEqualStrategyNumber, F_INT4EQ,
				Int32GetDatum(node));
	ScanKeyInit(&keys[2], ANUM_LATE_XID, BTGreaterEqualStrategyNumber, F_XID8GE,
				PositionGetDatum(lo));
	ScanKeyInit(&keys[3], ANUM_LATE_XID, BTLessEqualStrategyNumber, F_XID8LE,
				PositionGetDatum(hi));
	scan = systable_beginscan_ordered(rel, index, snapshot, lengthof(keys), keys);
	while (HeapTupleIsValid(tuple = systable_getnext_ordered(scan, ForwardScanDirection)))
	{
		LateChange *change;
		Datum		values[NATTS_LATE];
		bool		nulls[NATTS_LATE];

		CHECK_FOR_INTERRUPTS();
		if (*nchanges == max)
		{
			max = Max(16, 2 * max);
			changes = changes == NULL ? palloc(max * sizeof(LateChange)) :
				repalloc_huge(changes, (Size) max * sizeof(LateChange));
		}
		heap_deform_tuple(tuple, desc, values, nulls);
		change = &changes[(*nchanges)++];
		change->device = *device;
		change->seq = DatumGetInt64(values[ANUM_LATE_SEQ - 1]);
		change->node = node;
		change->xid = DatumGetPosition(values[ANUM_LATE_XID - 1]);
		change->table_id = DatumGetInt32(values[ANUM_LATE_TABLE_ID - 1]);
		change->key = copy_bytea(values[ANUM_LATE_KEY - 1], &change->keylen);
	}
	systable_endscan_ordered(scan);
	index_close(index, AccessShareLock);
	table_close(rel, AccessShareLock);
	return changes;
}

/* ----------------------------------------------------------------
 * Bytes
 * ---------------------------------------------------------------- */

static bytea *
make_bytea(const char *data, int len)
{
	bytea	   *result = palloc(VARHDRSZ + len);

	SET_VARSIZE(result, VARHDRSZ + len);
	if (len > 0)
		memcpy(VARDATA(result), data, len);
	return result;
}

static char *
copy_bytea(Datum datum, int *len)
{
	bytea	   *value = DatumGetByteaPP(datum);
	char	   *copy;

	*len = VARSIZE_ANY_EXHDR(value);
	copy = palloc(Max(*len, 1));
	memcpy(copy, VARDATA_ANY(value), *len);
	return copy;
}
