/*-------------------------------------------------------------------------
 *
 * change_log.c
 *	  The change log: collecting entries, writing them in parts, scanning.
 *
 * Collecting is cheap, since it happens once for each row written: the key is
 * copied, and an entry that is there already is not repeated.  The entries of a
 * part that have scope and table in common share rows of the log as far as they
 * fit: what a bulk write pays for is the row and its index entry.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/stratnum.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "common/hashfn.h"
#include "compat.h"
#include "executor/tuptable.h"
#include "log/change_log.h"
#include "log/forgotten.h"
#include "log/pending.h"
#include "log/state.h"
#include "miscadmin.h"
#include "types/merge_sort.h"
#include "types/seeded_hash.h"
#include "types/varint.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/xid8.h"

/* columns of offline_sync.change_log; the first four are the index's, too */
#define Anum_change_log_scope	1
#define Anum_change_log_node	2
#define Anum_change_log_xid		3
#define Anum_change_log_part	4
#define Anum_change_log_table_id 5
#define Anum_change_log_key		6
#define Anum_change_log_nkeys	7
#define Natts_change_log		7

/* keys that share a row take at most this much, so that it is not toasted */
#define MAX_SHARED_KEYS_SIZE	1500

struct ChangeLogScan
{
	Relation	rel;
	Relation	index;
	SysScanDesc scan;
	Snapshot	snapshot;
	text	   *scope;			/* NULL: events */
	int32		node;
	uint64		to_xid;			/* end of the stretch being scanned */
	uint64		last_xid;		/* end of the whole scan */
	ChangeLogEntry row;			/* the current row; key: the next one in it */
	const char *end;			/* of its keys */
	int			nkeys;			/* left in it */
	bool		is_shared;		/* by several keys, each with its length */
	bytea	   *copy;			/* its keys detoasted, to be freed, or NULL */
};

static bool same_scope(const text *a, const text *b);
static void add_entry(PendingLevel *level, uint32 hash, int32 table_id,
					  const char *scope, int scopelen, const char *key,
					  int keylen);
static bool is_scope(const text *a, const char *scope, int len);
static text *share_scope(const PendingLevel *level, const char *scope, int len);
static int	compare_entries(const void *a, const void *b);
static int	compare_logged_rows(const void *a, const void *b);

static int	count_shared(const PendingEntry *entry, int n);
static bytea *share_keys(const PendingEntry *entry, int n);

static bool next_row(ChangeLogScan *scan);
static void scope_key(ScanKey key, const text *scope);
static void node_key(ScanKey key, int32 node);
static void begin_stretch(ChangeLogScan *scan, uint64 from_xid, uint64 to_xid,
						  int32 from_part);
static Datum get_column(Relation rel, HeapTuple tuple, int attnum, bool *isnull);
static uint64 tell_recent(int32 node, uint64 from_xid, uint64 to_xid, int64 *room,
						  Snapshot snapshot, ChangeLogCallback callback,
						  void *arg);
static bool next_scope(Relation rel, Relation index, Snapshot snapshot,
					   text **scope);
static uint64 max_xid(Relation rel, Relation index, const text *scope,
					  int32 node, Snapshot snapshot);

/* ----------------------------------------------------------------
 * Collecting and writing
 * ---------------------------------------------------------------- */

void
change_log_add(const char *scope, int32 table_id, const char *key, int keylen)
{
	int			scopelen = scope == NULL ? 0 : strlen(scope);

	add_entry(pending_level(), hash_combine(seeded_hash(key, keylen),
											murmurhash32((uint32) table_id)),
			  table_id, scope, scopelen, key, keylen);
}

void
change_log_collect(PendingLevel *level, const PendingEntry *entry)
{
	const text *scope = entry->scope;

	add_entry(level, entry->hash, entry->table_id,
			  scope == NULL ? NULL : VARDATA(scope),
			  scope == NULL ? 0 : VARSIZE(scope) - VARHDRSZ,
			  VARDATA(entry->key), VARSIZE(entry->key) - VARHDRSZ);
}

/* Enter a copy of what is given, unless it is there. */
static void
add_entry(PendingLevel *level, uint32 hash, int32 table_id, const char *scope,
		  int scopelen, const char *key, int keylen)
{
	uint32		probe = hash;
	PendingEntry *fresh;
	MemoryContext old_context;
	int			i;

	while ((i = pending_index_next(&level->entry_index, &probe)) >= 0)
	{
		PendingEntry *old = &level->entries[i];

		if (old->hash == hash && old->table_id == table_id &&
			VARSIZE(old->key) == VARHDRSZ + keylen &&
			memcmp(VARDATA(old->key), key, keylen) == 0 &&
			is_scope(old->scope, scope, scopelen))
			return;
	}

	old_context = MemoryContextSwitchTo(level->entry_context);
	if (level->nentries == level->maxentries)
	{
		level->maxentries = Max(8, 2 * level->maxentries);
		if (level->entries == NULL)
			level->entries = palloc(level->maxentries * sizeof(PendingEntry));
		else
			level->entries = repalloc(level->entries,
									  level->maxentries * sizeof(PendingEntry));
	}
	fresh = &level->entries[level->nentries];
	fresh->hash = hash;
	fresh->table_id = table_id;
	fresh->scope = share_scope(level, scope, scopelen);
	fresh->key = (bytea *) cstring_to_text_with_len(key, keylen);
	level->nentries++;
	pending_index_add(level->entry_context, &level->entry_index, level->entries,
					  sizeof(PendingEntry), level->nentries);
	MemoryContextSwitchTo(old_context);
}

void
change_log_watch_begin(void)
{
	(void) pending_stack();
}

int64
change_log_watch_end(LoggedRow **rows, int *nrows)
{
	PendingLevel *level = pending_top();
	int64		result = level->nwritten;
	int			n = 0;

	*rows = palloc(Max(level->nentries, 1) * sizeof(LoggedRow));
	for (int i = 0; i < level->nentries; i++)
	{
		PendingEntry *entry = &level->entries[i];
		LoggedRow  *row = &(*rows)[n];

		if (entry->table_id == CHANGE_LOG_EVENT)
			continue;
		row->table_id = entry->table_id;
		row->scope = text_to_cstring(entry->scope);
		row->keylen = VARSIZE(entry->key) - VARHDRSZ;
		row->key = memcpy(palloc(Max(row->keylen, 1)), VARDATA(entry->key),
						  row->keylen);
		n++;
	}
	merge_sort(*rows, n, sizeof(LoggedRow), compare_logged_rows);
	*nrows = n;
	pending_unstack();
	return result + n;
}

static int
compare_logged_rows(const void *a, const void *b)
{
	const LoggedRow *x = a;
	const LoggedRow *y = b;
	int			result;

	if (x->table_id != y->table_id)
		return x->table_id < y->table_id ? -1 : 1;
	result = memcmp(x->key, y->key, Min(x->keylen, y->keylen));
	if (result == 0 && x->keylen != y->keylen)
		result = x->keylen < y->keylen ? -1 : 1;
	return result != 0 ? result : strcmp(x->scope, y->scope);
}

/* Write a level's entries as one part. */
void
change_log_write(PendingLevel *level, int32 node, uint64 xid, int32 part)
{
	StateWriter *writer = state_writer_begin("change_log");
	Datum		values[Natts_change_log];
	bool		nulls[Natts_change_log] = {false};
	int			nkeys;
	int			i;

	merge_sort(level->entries, level->nentries, sizeof(PendingEntry),
			   compare_entries);
	values[Anum_change_log_node - 1] = Int32GetDatum(node);
	values[Anum_change_log_xid - 1] = UInt64GetDatum(xid);
	values[Anum_change_log_part - 1] = Int32GetDatum(part);
	for (i = 0; i < level->nentries; i += nkeys)
	{
		PendingEntry *entry = &level->entries[i];

		nkeys = count_shared(entry, level->nentries - i);
		values[Anum_change_log_scope - 1] = PointerGetDatum(entry->scope);
		nulls[Anum_change_log_scope - 1] = entry->scope == NULL;
		values[Anum_change_log_table_id - 1] = Int32GetDatum(entry->table_id);
		values[Anum_change_log_nkeys - 1] = Int32GetDatum(nkeys);
		values[Anum_change_log_key - 1] =
			PointerGetDatum(nkeys == 1 ? entry->key : share_keys(entry, nkeys));
		state_writer_put(writer, values, nulls);
	}
	state_writer_end(writer);
}

/* How many of the n entries from this one on go into one row. */
static int
count_shared(const PendingEntry *entry, int n)
{
	Size		size = 0;
	int			i;

	if (entry->table_id == CHANGE_LOG_EVENT)
		return 1;
	for (i = 0; i < n; i++)
	{
		int			len = VARSIZE(entry[i].key) - VARHDRSZ;

		size += varint_size(len) + len;
		if (entry[i].table_id != entry->table_id ||
			!same_scope(entry[i].scope, entry->scope) ||
			size > MAX_SHARED_KEYS_SIZE)
			break;
	}
	return Max(i, 1);
}

static bytea *
share_keys(const PendingEntry *entry, int n)
{
	StringInfoData buf;
	int			i;

	initStringInfo(&buf);
	appendStringInfoSpaces(&buf, VARHDRSZ);
	for (i = 0; i < n; i++)
	{
		int			len = VARSIZE(entry[i].key) - VARHDRSZ;

		varint_append(&buf, len);
		appendBinaryStringInfo(&buf, VARDATA(entry[i].key), len);
	}
	SET_VARSIZE(buf.data, buf.len);
	return (bytea *) buf.data;
}

static bool
same_scope(const text *a, const text *b)
{
	if (a == b)
		return true;
	return a != NULL && b != NULL && VARSIZE(a) == VARSIZE(b) &&
		memcmp(a, b, VARSIZE(a)) == 0;
}

static bool
is_scope(const text *a, const char *scope, int len)
{
	if (a == NULL || scope == NULL)
		return a == NULL && scope == NULL;
	return VARSIZE(a) == VARHDRSZ + len && memcmp(VARDATA(a), scope, len) == 0;
}

/* A copy of the scope, or the one that the entry before has. */
static text *
share_scope(const PendingLevel *level, const char *scope, int len)
{
	if (scope == NULL)
		return NULL;
	if (level->nentries > 0 &&
		is_scope(level->entries[level->nentries - 1].scope, scope, len))
		return level->entries[level->nentries - 1].scope;
	return cstring_to_text_with_len(scope, len);
}

/* By scope and table; any order will do as long as equal ones are together. */
static int
compare_entries(const void *a, const void *b)
{
	const PendingEntry *left = a;
	const PendingEntry *right = b;
	int			result = 0;

	if (left->scope == NULL || right->scope == NULL)
		result = (left->scope == NULL) - (right->scope == NULL);
	else if (left->scope != right->scope)
	{
		result = memcmp(VARDATA(left->scope), VARDATA(right->scope),
						Min(VARSIZE(left->scope), VARSIZE(right->scope)) - VARHDRSZ);
		if (result == 0)
			result = (int) VARSIZE(left->scope) - (int) VARSIZE(right->scope);
	}
	if (result == 0 && left->table_id != right->table_id)
		result = left->table_id < right->table_id ? -1 : 1;
	return result;
}

/* ----------------------------------------------------------------
 * Scanning
 * ---------------------------------------------------------------- */

/*
 * The index is scanned in up to two stretches: the parts of the first
 * transaction from from_part on, then the transactions after it.
 */
ChangeLogScan *
change_log_scan_begin(const char *scope, int32 node, uint64 from_xid,
					  int32 from_part, uint64 to_xid, Snapshot snapshot)
{
	ChangeLogScan *scan = palloc0(sizeof(ChangeLogScan));

	scan->rel = state_open("change_log", AccessShareLock);
	scan->index = index_open(state_index("change_log_position"),
							 AccessShareLock);
	scan->snapshot = RegisterSnapshot(snapshot);
	scan->scope = scope == NULL ? NULL : cstring_to_text(scope);
	scan->node = node;
	scan->last_xid = to_xid;
	if (from_part > 0 && from_xid <= to_xid)
		begin_stretch(scan, from_xid, from_xid, from_part);
	else
		begin_stretch(scan, from_xid, to_xid, 0);
	return scan;
}

bool
change_log_scan_next(ChangeLogScan *scan, ChangeLogEntry *entry)
{
	uint64		len;

	if (scan->nkeys == 0 && !next_row(scan))
		return false;
	len = scan->end - scan->row.key;
	if (scan->is_shared &&
		(!varint_get(&scan->row.key, scan->end, &len) ||
		 len > (uint64) (scan->end - scan->row.key)))
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("damaged keys in the change log at position " UINT64_FORMAT,
						scan->row.xid)));
	*entry = scan->row;
	entry->keylen = (int) len;
	scan->row.key += len;
	scan->nkeys--;
	return true;
}

/* Go to the next row of the log. */
static bool
next_row(ChangeLogScan *scan)
{
	HeapTuple	tuple;
	Datum		values[Natts_change_log];
	bool		nulls[Natts_change_log];
	Datum		key;

	CHECK_FOR_INTERRUPTS();
	if (scan->copy != NULL)
		pfree(scan->copy);
	scan->copy = NULL;

	tuple = systable_getnext_ordered(scan->scan, ForwardScanDirection);
	if (!HeapTupleIsValid(tuple) && scan->to_xid < scan->last_xid)
	{
		systable_endscan_ordered(scan->scan);
		begin_stretch(scan, scan->to_xid + 1, scan->last_xid, 0);
		tuple = systable_getnext_ordered(scan->scan, ForwardScanDirection);
	}
	if (!HeapTupleIsValid(tuple))
		return false;

	heap_deform_tuple(tuple, RelationGetDescr(scan->rel), values, nulls);
	scan->row.xid = DatumGetUInt64(values[Anum_change_log_xid - 1]);
	scan->row.part = DatumGetInt32(values[Anum_change_log_part - 1]);
	scan->row.table_id = DatumGetInt32(values[Anum_change_log_table_id - 1]);
	scan->nkeys = Max(DatumGetInt32(values[Anum_change_log_nkeys - 1]), 1);
	scan->is_shared = scan->nkeys > 1;
	key = values[Anum_change_log_key - 1];
	scan->copy = (bytea *) PG_DETOAST_DATUM_PACKED(key);
	scan->row.key = VARDATA_ANY(scan->copy);
	scan->end = scan->row.key + VARSIZE_ANY_EXHDR(scan->copy);
	if ((Pointer) scan->copy == DatumGetPointer(key))
		scan->copy = NULL;
	return true;
}

void
change_log_scan_end(ChangeLogScan *scan)
{
	systable_endscan_ordered(scan->scan);
	UnregisterSnapshot(scan->snapshot);
	index_close(scan->index, AccessShareLock);
	table_close(scan->rel, AccessShareLock);
	if (scan->scope != NULL)
		pfree(scan->scope);
	if (scan->copy != NULL)
		pfree(scan->copy);
	pfree(scan);
}

uint64
change_log_max_xid(const char *scope, int32 node, Snapshot snapshot)
{
	Relation	rel = state_open("change_log", AccessShareLock);
	Relation	index = index_open(state_index("change_log_position"),
								   AccessShareLock);
	uint64		result;

	result = max_xid(rel, index, scope == NULL ? NULL : cstring_to_text(scope),
					 node, snapshot);
	index_close(index, AccessShareLock);
	table_close(rel, AccessShareLock);
	return result;
}

uint64
change_log_final_xid(int32 node, Snapshot snapshot)
{
	Relation	rel = state_open("change_log", AccessShareLock);
	Relation	index = index_open(state_index("change_log_position"),
								   AccessShareLock);
	uint64		result = Max(max_xid(rel, index, NULL, node, snapshot),
							 log_forgotten_final(node, snapshot));
	text	   *scope = NULL;

	while (next_scope(rel, index, snapshot, &scope))
	{
		CHECK_FOR_INTERRUPTS();
		result = Max(result, max_xid(rel, index, scope, node, snapshot));
	}
	index_close(index, AccessShareLock);
	table_close(rel, AccessShareLock);
	return result;
}

uint64
change_log_recent(int32 node, uint64 from_xid, uint64 to_xid, Snapshot snapshot,
				  ChangeLogCallback callback, void *arg)
{
	int64		room = PG_INT64_MAX;

	return tell_recent(node, from_xid, to_xid, &room, snapshot, callback, arg);
}

bool
change_log_is_told(int32 node, uint64 from_xid, uint64 to_xid, int max_rows,
				   Snapshot snapshot, ChangeLogCallback callback, void *arg)
{
	int64		room = max_rows;

	(void) tell_recent(node, from_xid, to_xid, &room, snapshot, callback, arg);
	return room >= 0;
}

/*
 * *room: entries of the index that may be looked at, those of rows included that clean-up
 * has removed, which stay until they are vacuumed; negative if there are more.
 */
static uint64
tell_recent(int32 node, uint64 from_xid, uint64 to_xid, int64 *room,
			Snapshot snapshot, ChangeLogCallback callback, void *arg)
{
	Relation	rel = state_open("change_log", AccessShareLock);
	Relation	index = index_open(state_index("change_log_recent"),
								   AccessShareLock);
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext,
												  "offline_sync recent changes",
												  ALLOCSET_SMALL_SIZES);
	MemoryContext old;
	TupleTableSlot *slot = table_slot_create(rel, NULL);
	Datum	   *values = slot->tts_values;
	ScanKeyData keys[3];
	IndexScanDesc scan;
	text	   *last_scope = NULL;
	uint64		last_xid = 0;

	ScanKeyInit(&keys[0], 1, BTEqualStrategyNumber, F_INT4EQ, Int32GetDatum(node));
	ScanKeyInit(&keys[1], 2, BTGreaterEqualStrategyNumber, F_XID8GE,
				UInt64GetDatum(from_xid));
	ScanKeyInit(&keys[2], 2, BTLessEqualStrategyNumber, F_XID8LE,
				UInt64GetDatum(to_xid));
	scan = compat_index_beginscan(rel, index, snapshot, lengthof(keys));
	index_rescan(scan, keys, lengthof(keys), NULL, 0);
	while (index_getnext_tid(scan, ForwardScanDirection) != NULL)
	{
		bool		is_event;
		text	   *scope;
		uint64		xid;

		CHECK_FOR_INTERRUPTS();
		if (--*room < 0)
			break;
		if (!index_fetch_heap(scan, slot))
			continue;
		slot_getallattrs(slot);
		xid = DatumGetUInt64(values[Anum_change_log_xid - 1]);
		is_event = DatumGetInt32(values[Anum_change_log_table_id - 1]) ==
			CHANGE_LOG_EVENT;
		old = MemoryContextSwitchTo(context);
		scope = slot->tts_isnull[Anum_change_log_scope - 1] ? NULL :
			DatumGetTextP(values[Anum_change_log_scope - 1]);

		/* a bulk write has many rows of one scope */
		if (is_event || last_scope == NULL || !same_scope(scope, last_scope))
		{
			callback(arg, scope == NULL ? NULL : text_to_cstring(scope),
					 is_event ? TextDatumGetCString(values[Anum_change_log_key - 1]) : NULL);
			MemoryContextSwitchTo(old);
			if (last_scope != NULL)
				pfree(last_scope);
			last_scope = scope == NULL || is_event ? NULL :
				DatumGetTextPCopy(PointerGetDatum(scope));
		}
		MemoryContextSwitchTo(old);
		MemoryContextReset(context);
		last_xid = xid;
	}
	index_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
	index_close(index, AccessShareLock);
	table_close(rel, AccessShareLock);
	MemoryContextDelete(context);
	return last_xid;
}

uint64
change_log_last_xid(int32 node, Snapshot snapshot)
{
	Relation	rel = state_open("change_log", AccessShareLock);
	Relation	index = index_open(state_index("change_log_recent"),
								   AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;
	uint64		result = 0;
	bool		isnull;

	node_key(&key, node);
	scan = systable_beginscan_ordered(rel, index, snapshot, 1, &key);
	tuple = systable_getnext_ordered(scan, BackwardScanDirection);
	if (HeapTupleIsValid(tuple))
		result = DatumGetUInt64(get_column(rel, tuple, Anum_change_log_xid, &isnull));
	systable_endscan_ordered(scan);
	index_close(index, AccessShareLock);
	table_close(rel, AccessShareLock);
	return result;
}

static void
begin_stretch(ChangeLogScan *scan, uint64 from_xid, uint64 to_xid,
			  int32 from_part)
{
	ScanKeyData keys[5];

	scan->to_xid = to_xid;
	scope_key(&keys[0], scan->scope);
	node_key(&keys[1], scan->node);
	ScanKeyInit(&keys[2], Anum_change_log_xid, BTGreaterEqualStrategyNumber,
				F_XID8GE, UInt64GetDatum(from_xid));
	ScanKeyInit(&keys[3], Anum_change_log_xid, BTLessEqualStrategyNumber,
				F_XID8LE, UInt64GetDatum(to_xid));
	ScanKeyInit(&keys[4], Anum_change_log_part, BTGreaterEqualStrategyNumber,
				F_INT4GE, Int32GetDatum(from_part));
	scan->scan = systable_beginscan_ordered(scan->rel, scan->index,
											scan->snapshot,
											from_part > 0 ? 5 : 4, keys);
}

/* The next larger scope that has entries; NULL in *scope: the first. */
static bool
next_scope(Relation rel, Relation index, Snapshot snapshot, text **scope)
{
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;
	bool		isnull;

	if (*scope == NULL)
		ScanKeyEntryInitialize(&key, SK_ISNULL | SK_SEARCHNOTNULL,
							   Anum_change_log_scope, InvalidStrategy,
							   InvalidOid, InvalidOid, InvalidOid, (Datum) 0);
	else
		ScanKeyInit(&key, Anum_change_log_scope, BTGreaterStrategyNumber,
					F_TEXT_GT, PointerGetDatum(*scope));
	scan = systable_beginscan_ordered(rel, index, snapshot, 1, &key);
	tuple = systable_getnext_ordered(scan, ForwardScanDirection);
	if (HeapTupleIsValid(tuple))
		*scope = DatumGetTextPCopy(get_column(rel, tuple,
											  Anum_change_log_scope, &isnull));
	systable_endscan_ordered(scan);
	return HeapTupleIsValid(tuple);
}

static uint64
max_xid(Relation rel, Relation index, const text *scope, int32 node,
		Snapshot snapshot)
{
	ScanKeyData keys[2];
	SysScanDesc scan;
	HeapTuple	tuple;
	uint64		result = 0;
	bool		isnull;

	scope_key(&keys[0], scope);
	node_key(&keys[1], node);
	scan = systable_beginscan_ordered(rel, index, snapshot, 2, keys);
	tuple = systable_getnext_ordered(scan, BackwardScanDirection);
	if (HeapTupleIsValid(tuple))
		result = DatumGetUInt64(get_column(rel, tuple, Anum_change_log_xid,
										   &isnull));
	systable_endscan_ordered(scan);
	return result;
}

static void
scope_key(ScanKey key, const text *scope)
{
	if (scope == NULL)
		ScanKeyEntryInitialize(key, SK_ISNULL | SK_SEARCHNULL,
							   Anum_change_log_scope, InvalidStrategy,
							   InvalidOid, InvalidOid, InvalidOid, (Datum) 0);
	else
		ScanKeyInit(key, Anum_change_log_scope, BTEqualStrategyNumber,
					F_TEXTEQ, PointerGetDatum(scope));
}

static void
node_key(ScanKey key, int32 node)
{
	ScanKeyInit(key, Anum_change_log_node, BTEqualStrategyNumber, F_INT4EQ,
				Int32GetDatum(node));
}

static Datum
get_column(Relation rel, HeapTuple tuple, int attnum, bool *isnull)
{
	return heap_getattr(tuple, attnum, RelationGetDescr(rel), isnull);
}
