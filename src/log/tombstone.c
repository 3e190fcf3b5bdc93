/*-------------------------------------------------------------------------
 *
 * tombstone.c
 *	  The row clocks and last images of deleted rows.
 *
 * A transaction's operations are collected (pending.h), the last one on a key
 * standing for all, and written in parts.  Writing replaces what is stored for
 * the key and takes over its floor, so that no delete is ever forgotten.
 *
 * There may be several tombstones of one key, from transactions that deleted
 * an absent row at the same time; together they are one: the latest position
 * gives scope, image and stamps, the floor is everybody's.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "common/hashfn.h"
#include "compat.h"
#include "log/change_log.h"
#include "log/node.h"
#include "log/pending.h"
#include "log/state.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "types/merge_sort.h"
#include "types/seeded_hash.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/fmgroids.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

/* columns of offline_sync.tombstone */
#define Anum_tombstone_table_id	1
#define Anum_tombstone_key		2
#define Anum_tombstone_scope	3
#define Anum_tombstone_node		4
#define Anum_tombstone_xid		5
#define Anum_tombstone_clock	6
#define Anum_tombstone_image	7
#define Natts_tombstone			7

/* The index is walked where there are so many keys, and so many for each page of it. */
#define WALK_MIN_KEYS		16
#define WALK_MIN_DENSITY	10

/* Probing the index with one key after the other */
typedef struct TombstoneProbe
{
	Relation	rel;
	Relation	index;
	Snapshot	snapshot;		/* registered */
	IndexScanDesc scan;
	TupleTableSlot *slot;
} TombstoneProbe;

static void probe_begin(TombstoneProbe *probe, Relation rel, Snapshot snapshot);
static void probe_find(TombstoneProbe *probe, int32 table_id, bytea *key);
static void probe_walk(TombstoneProbe *probe, int32 table_id, bytea *first);
static bool probe_next(TombstoneProbe *probe);
static void probe_renew(TombstoneProbe *probe, Snapshot snapshot);
static void probe_end(TombstoneProbe *probe);

static void set_key(PendingTombstone *op, int32 table_id, const char *key, int keylen);
static int	compare_operations(const void *a, const void *b);
static bool is_held_back(const PendingLevel *level, const PendingTombstone *op);
static void write_operation(StateWriter *writer, TombstoneProbe *probe,
							const PendingTombstone *op, bool is_stored,
							int32 node, uint64 xid);
static bool *find_stored(TombstoneProbe *probe, const PendingTombstone *ops,
						 int nops);
static RowClock *delete_stored(TombstoneProbe *probe, const PendingTombstone *op,
							   int32 node, uint64 xid);
static bool any_pending(const PendingLevel *level);
static bool may_walk(const TombstoneProbe *probe, int nkeys,
					 const char *const *keys, const int *keylens);
static int	compare_keys(const char *a, int alen, const char *b, int blen);
static void probe_stored(TombstoneProbe *probe, int32 table_id, int nkeys,
						 const char *const *keys, const int *keylens,
						 Tombstone *result);
static void walk_stored(TombstoneProbe *probe, int32 table_id, int nkeys,
						const char *const *keys, const int *keylens,
						Tombstone *result, bool *is_found);
static void add_stored(TombstoneProbe *probe, Tombstone *result);
static void fetch_pending(const PendingLevel *level, const PendingTombstone *key,
						  Tombstone *result);
static void read_tombstone(TupleTableSlot *slot, Tombstone *result);
static RowClock *with_floor_of(RowClock *clock, const RowClock *older,
							   uint64 known_to);

/* ----------------------------------------------------------------
 * Collecting
 * ---------------------------------------------------------------- */

void
tombstone_put(int32 table_id, const char *key, int keylen, const char *scope,
			  const RowClock *clock, uint64 known_to,
			  Datum image, bool image_isnull)
{
	RowClockData *packed = row_clock_pack(clock);

	tombstone_put_packed(table_id, key, keylen, scope, packed, known_to, image,
						 image_isnull);
	pfree(packed);
}

void
tombstone_put_packed(int32 table_id, const char *key, int keylen,
					 const char *scope, RowClockData *clock, uint64 known_to,
					 Datum image, bool image_isnull)
{
	PendingLevel *level = pending_level();
	PendingTombstone op = {0};

	set_key(&op, table_id, key, keylen);
	op.scope = scope == NULL ? NULL : cstring_to_text(scope);
	op.clock = clock;
	op.known_to = known_to;
	op.image = image_isnull ? NULL : DatumGetJsonbP(image);
	tombstone_collect(level, &op);
	pfree(op.key);
	if (op.scope != NULL)
		pfree(op.scope);
}

void
tombstone_remove(int32 table_id, const char *key, int keylen, uint64 known_to)
{
	PendingLevel *level = pending_level();
	PendingTombstone op = {0};

	set_key(&op, table_id, key, keylen);
	op.is_removal = true;
	op.known_to = known_to;
	tombstone_collect(level, &op);
	pfree(op.key);
}

void
tombstone_collect(PendingLevel *level, const PendingTombstone *op)
{
	PendingTombstone *old = tombstone_find_pending(level, op);
	MemoryContext old_context;
	PendingTombstone copy = *op;

	if (level->tombstone_context == NULL)
		level->tombstone_context = AllocSetContextCreate(TopTransactionContext,
														 "offline_sync tombstones",
														 ALLOCSET_DEFAULT_SIZES);
	old_context = MemoryContextSwitchTo(level->tombstone_context);
	copy.key = old != NULL ? old->key :
		DatumGetByteaPCopy(PointerGetDatum(op->key));
	if (!op->is_removal)
	{
		if (op->scope != NULL)
			copy.scope = DatumGetTextPCopy(PointerGetDatum(op->scope));
		if (op->image != NULL)
			copy.image = DatumGetJsonbPCopy(PointerGetDatum(op->image));
		if (old != NULL && !old->is_removal && op->known_to != PG_UINT64_MAX)
		{
			copy.clock =
				row_clock_pack(with_floor_of(row_clock_unpack(level->tombstone_context,
															  op->clock),
											 row_clock_unpack(level->tombstone_context,
															  old->clock), 0));
			copy.known_to = Min(op->known_to, old->known_to);
		}
		else
			copy.clock = (RowClockData *) PG_DETOAST_DATUM_COPY(PointerGetDatum(op->clock));
	}

	if (old != NULL)
		*old = copy;
	else
	{
		if (level->ntombstones == level->maxtombstones)
		{
			level->maxtombstones = Max(8, 2 * level->maxtombstones);
			if (level->tombstones == NULL)
				level->tombstones = palloc(level->maxtombstones *
										   sizeof(PendingTombstone));
			else
				level->tombstones = repalloc(level->tombstones,
											 level->maxtombstones *
											 sizeof(PendingTombstone));
		}
		level->tombstones[level->ntombstones++] = copy;
		pending_index_add(level->tombstone_context, &level->tombstone_index,
						  level->tombstones, sizeof(PendingTombstone),
						  level->ntombstones);
	}
	MemoryContextSwitchTo(old_context);
}

PendingTombstone *
tombstone_find_pending(const PendingLevel *level, const PendingTombstone *key)
{
	uint32		probe = key->hash;
	int			i;

	while ((i = pending_index_next(&level->tombstone_index, &probe)) >= 0)
	{
		PendingTombstone *op = &level->tombstones[i];

		if (op->hash == key->hash && op->table_id == key->table_id &&
			VARSIZE(op->key) == VARSIZE(key->key) &&
			memcmp(op->key, key->key, VARSIZE(key->key)) == 0)
			return op;
	}
	return NULL;
}

static void
set_key(PendingTombstone *op, int32 table_id, const char *key, int keylen)
{
	op->table_id = table_id;
	op->key = (bytea *) cstring_to_text_with_len(key, keylen);
	op->hash = hash_combine(seeded_hash(key, keylen),
							murmurhash32((uint32) table_id));
}

/* ----------------------------------------------------------------
 * Writing
 * ---------------------------------------------------------------- */

/*
 * Write a level's operations, in the order of their keys.  What stays: those on
 * a key that an enclosing subtransaction has one on, too, which must be written
 * first.  They are returned in *held, which is palloc'd.
 */
int
tombstone_write(PendingLevel *level, int32 node, uint64 xid,
				PendingTombstone **held)
{
	StateWriter *writer = state_writer_begin("tombstone");
	int			nheld = 0;
	TombstoneProbe probe;
	bool	   *is_stored;
	int			i;

	*held = palloc(level->ntombstones * sizeof(PendingTombstone));
	merge_sort(level->tombstones, level->ntombstones, sizeof(PendingTombstone),
			   compare_operations);
	probe_begin(&probe, state_writer_relation(writer), GetLatestSnapshot());
	is_stored = find_stored(&probe, level->tombstones, level->ntombstones);
	for (i = 0; i < level->ntombstones; i++)
	{
		PendingTombstone *op = &level->tombstones[i];

		CHECK_FOR_INTERRUPTS();
		if (is_held_back(level, op))
			(*held)[nheld++] = *op;
		else
			write_operation(writer, &probe, op, is_stored[i], node, xid);
	}
	pfree(is_stored);
	probe_end(&probe);
	state_writer_end(writer);
	return nheld;
}

/*
 * For which of these sorted operations may something be stored?  Where that takes less
 * than to look for each, the index is walked along those of each table.
 */
static bool *
find_stored(TombstoneProbe *probe, const PendingTombstone *ops, int nops)
{
	bool	   *result = palloc(nops * sizeof(bool));
	const char **keys = palloc(nops * sizeof(char *));
	int		   *lens = palloc(nops * sizeof(int));
	bool		has_walked = false;
	int			end;

	memset(result, true, nops * sizeof(bool));
	for (int first = 0; first < nops; first = end)
	{
		for (end = first; end < nops && ops[end].table_id == ops[first].table_id; end++)
		{
			keys[end] = VARDATA(ops[end].key);
			lens[end] = VARSIZE(ops[end].key) - VARHDRSZ;
		}
		if (!may_walk(probe, end - first, keys + first, lens + first))
			continue;
		memset(result + first, false, (end - first) * sizeof(bool));
		walk_stored(probe, ops[first].table_id, end - first, keys + first,
					lens + first, NULL, result + first);
		has_walked = true;
	}
	if (has_walked)
		probe_renew(probe, GetLatestSnapshot());
	pfree(keys);
	pfree(lens);
	return result;
}

static int
compare_operations(const void *a, const void *b)
{
	const PendingTombstone *left = a;
	const PendingTombstone *right = b;
	int			result;

	if (left->table_id != right->table_id)
		return left->table_id < right->table_id ? -1 : 1;
	result = memcmp(VARDATA(left->key), VARDATA(right->key),
					Min(VARSIZE(left->key), VARSIZE(right->key)) - VARHDRSZ);
	if (result != 0)
		return result;
	return (int) VARSIZE(left->key) - (int) VARSIZE(right->key);
}

static bool
is_held_back(const PendingLevel *level, const PendingTombstone *op)
{
	const PendingLevel *outer;

	for (outer = level->parent; outer != NULL; outer = outer->parent)
		if (tombstone_find_pending(outer, op) != NULL)
			return true;
	return false;
}

static void
write_operation(StateWriter *writer, TombstoneProbe *probe,
				const PendingTombstone *op, bool is_stored, int32 node,
				uint64 xid)
{
	RowClock   *older = is_stored ? delete_stored(probe, op, node, xid) : NULL;
	RowClockData *clock = op->clock;
	Datum		values[Natts_tombstone];
	bool		nulls[Natts_tombstone] = {false};

	if (op->is_removal)
		return;
	if (older != NULL && op->known_to != PG_UINT64_MAX)
		clock = row_clock_pack(with_floor_of(row_clock_unpack(CurrentMemoryContext,
															  clock),
											 older, op->known_to));

	values[Anum_tombstone_table_id - 1] = Int32GetDatum(op->table_id);
	values[Anum_tombstone_key - 1] = PointerGetDatum(op->key);
	values[Anum_tombstone_scope - 1] = PointerGetDatum(op->scope);
	nulls[Anum_tombstone_scope - 1] = op->scope == NULL;
	values[Anum_tombstone_node - 1] = Int32GetDatum(node);
	values[Anum_tombstone_xid - 1] = UInt64GetDatum(xid);
	values[Anum_tombstone_clock - 1] = RowClockPGetDatum(clock);
	values[Anum_tombstone_image - 1] = JsonbPGetDatum(op->image);
	nulls[Anum_tombstone_image - 1] = op->image == NULL;
	state_writer_put(writer, values, nulls);
}

/*
 * Delete what is stored for a key; the result is NULL, or a clock that holds
 * its floor.  Where another transaction has just done that, look again for what
 * it left instead.
 */
static RowClock *
delete_stored(TombstoneProbe *probe, const PendingTombstone *op, int32 node,
			  uint64 xid)
{
	RowClock   *older = NULL;

	for (;;)
	{
		bool		is_stale = false;
		Tombstone	stored;

		probe_find(probe, op->table_id, op->key);
		while (!is_stale && probe_next(probe))
		{
			TM_FailureData failure;
			TM_Result	result;

			read_tombstone(probe->slot, &stored);
			if (op->is_removal && stored.node == node &&
				stored.xid >= op->known_to && stored.xid != xid)
				continue;		/* its floor is not the row's */
			older = older == NULL ? stored.clock :
				with_floor_of(older, stored.clock, 0);
			result = table_tuple_delete(probe->rel, &probe->slot->tts_tid,
										GetCurrentCommandId(true),
										probe->snapshot, InvalidSnapshot,
										true, &failure, false);
			is_stale = result == TM_Updated || result == TM_Deleted;
			if (!is_stale && result != TM_Ok)
				elog(ERROR, "unexpected result %d of deleting a tombstone",
					 (int) result);
		}
		if (!is_stale)
			return older;

		CHECK_FOR_INTERRUPTS();
		probe_renew(probe, GetLatestSnapshot());
	}
}

/* ----------------------------------------------------------------
 * Fetching
 * ---------------------------------------------------------------- */

/*
 * Where the keys lie close together in the index, it is walked from the first to the last
 * one: that is faster than to descend to each.
 */
void
tombstone_fetch(int32 table_id, int nkeys, const char *const *keys,
				const int *keylens, Snapshot snapshot, Tombstone *result)
{
	Relation	rel;
	TombstoneProbe probe;
	bool		has_pending = any_pending(pending_top());

	if (nkeys == 0)
		return;
	memset(result, 0, nkeys * sizeof(Tombstone));
	rel = state_open("tombstone", AccessShareLock);
	probe_begin(&probe, rel, snapshot);
	if (may_walk(&probe, nkeys, keys, keylens))
		walk_stored(&probe, table_id, nkeys, keys, keylens, result, NULL);
	else
		probe_stored(&probe, table_id, nkeys, keys, keylens, result);
	probe_end(&probe);
	table_close(rel, AccessShareLock);

	for (int i = 0; i < nkeys; i++)
	{
		if (has_pending)
		{
			PendingTombstone key = {0};

			set_key(&key, table_id, keys[i], keylens[i]);
			fetch_pending(pending_top(), &key, &result[i]);
			pfree(key.key);
		}
		result[i].is_purged = result[i].found && !result[i].image_isnull &&
			JB_ROOT_IS_SCALAR(DatumGetJsonbP(result[i].image));
		result[i].image_isnull |= result[i].is_purged;
	}
}

static bool
any_pending(const PendingLevel *level)
{
	for (; level != NULL; level = level->parent)
	{
		if (level->ntombstones > 0)
			return true;
	}
	return false;
}

/* Are there so many keys that most of the index's pages hold several of them, and in
 * order? */
static bool
may_walk(const TombstoneProbe *probe, int nkeys, const char *const *keys,
		 const int *keylens)
{
	if (nkeys < WALK_MIN_KEYS ||
		RelationGetNumberOfBlocks(probe->index) > nkeys / WALK_MIN_DENSITY)
		return false;
	for (int i = 1; i < nkeys; i++)
	{
		if (compare_keys(keys[i - 1], keylens[i - 1], keys[i], keylens[i]) >= 0)
			return false;
	}
	return true;
}

/* As the index orders them */
static int
compare_keys(const char *a, int alen, const char *b, int blen)
{
	int			result = memcmp(a, b, Min(alen, blen));

	return result != 0 ? result : alen - blen;
}

static void
probe_stored(TombstoneProbe *probe, int32 table_id, int nkeys,
			 const char *const *keys, const int *keylens, Tombstone *result)
{
	for (int i = 0; i < nkeys; i++)
	{
		bytea	   *key = (bytea *) cstring_to_text_with_len(keys[i], keylens[i]);

		CHECK_FOR_INTERRUPTS();
		probe_find(probe, table_id, key);
		while (probe_next(probe))
			add_stored(probe, &result[i]);
		pfree(key);
	}
}

/*
 * The index's order and that of the keys, merged.  Of the table's rows only those are
 * looked at that a key was found for; where result is NULL none, but the key is noted.
 */
static void
walk_stored(TombstoneProbe *probe, int32 table_id, int nkeys,
			const char *const *keys, const int *keylens, Tombstone *result,
			bool *is_found)
{
	bytea	   *first = (bytea *) cstring_to_text_with_len(keys[0], keylens[0]);
	int			i = 0;

	probe_walk(probe, table_id, first);
	while (index_getnext_tid(probe->scan, ForwardScanDirection) != NULL)
	{
		bool		isnull;
		Datum		datum = index_getattr(probe->scan->xs_itup, 2,
										  probe->scan->xs_itupdesc, &isnull);
		bytea	   *stored = DatumGetByteaPP(datum);
		int			order = -1;

		CHECK_FOR_INTERRUPTS();
		while (i < nkeys &&
			   (order = compare_keys(keys[i], keylens[i], VARDATA_ANY(stored),
									 VARSIZE_ANY_EXHDR(stored))) < 0)
			i++;
		if ((Pointer) stored != DatumGetPointer(datum))
			pfree(stored);
		if (i == nkeys)
			break;
		if (order == 0 && result == NULL)
			is_found[i] = true;
		else if (order == 0 && index_fetch_heap(probe->scan, probe->slot))
			add_stored(probe, &result[i]);
	}
	pfree(first);
}

/* Take all that is stored for a key together. */
static void
add_stored(TombstoneProbe *probe, Tombstone *result)
{
	Tombstone	stored;

	read_tombstone(probe->slot, &stored);
	if (!result->found)
		*result = stored;
	else if (stored.node > result->node ||
			 (stored.node == result->node && stored.xid > result->xid))
	{
		stored.clock = with_floor_of(stored.clock, result->clock, 0);
		*result = stored;
	}
	else
		result->clock = with_floor_of(result->clock, stored.clock, 0);
}

/* Lay over it what this transaction has collected, the outermost level first. */
static void
fetch_pending(const PendingLevel *level, const PendingTombstone *key,
			  Tombstone *result)
{
	const PendingTombstone *op;
	RowClock   *clock;

	if (level == NULL)
		return;
	fetch_pending(level->parent, key, result);
	op = tombstone_find_pending(level, key);
	if (op == NULL)
		return;
	if (op->is_removal)
	{
		memset(result, 0, sizeof(Tombstone));
		return;
	}
	clock = row_clock_unpack(CurrentMemoryContext, op->clock);
	if (result->found && op->known_to != PG_UINT64_MAX)
		clock = with_floor_of(clock, result->clock, op->known_to);
	result->found = true;
	result->scope = op->scope == NULL ? NULL : text_to_cstring(op->scope);
	result->clock = clock;
	result->image_isnull = op->image == NULL;
	result->image = result->image_isnull ? (Datum) 0 :
		datumCopy(JsonbPGetDatum(op->image), false, -1);
	result->node = sync_node_id();
	result->xid = U64FromFullTransactionId(GetTopFullTransactionId());
}

static void
read_tombstone(TupleTableSlot *slot, Tombstone *result)
{
	Datum	   *values = slot->tts_values;
	bool	   *nulls = slot->tts_isnull;

	slot_getallattrs(slot);
	result->found = true;
	result->scope = nulls[Anum_tombstone_scope - 1] ? NULL :
		TextDatumGetCString(values[Anum_tombstone_scope - 1]);
	result->clock =
		row_clock_unpack(CurrentMemoryContext,
						 DatumGetRowClockP(values[Anum_tombstone_clock - 1]));
	result->image_isnull = nulls[Anum_tombstone_image - 1];
	result->image = result->image_isnull ? (Datum) 0 :
		PointerGetDatum(PG_DETOAST_DATUM_COPY(values[Anum_tombstone_image - 1]));
	result->node = DatumGetInt32(values[Anum_tombstone_node - 1]);
	result->xid = DatumGetUInt64(values[Anum_tombstone_xid - 1]);
}

/*
 * clock, its floor preceded by that of an older one, but for what this node stored
 * before position known_to.  Changes clock.
 */
static RowClock *
with_floor_of(RowClock *clock, const RowClock *older, uint64 known_to)
{
	RowClock   *result;
	int			i;

	if (older->nfloor == 0)
		return clock;
	result = row_clock_copy(clock->context, clock);
	result->nfloor = 0;
	for (i = 0; i < older->nfloor; i++)
		if (older->floor[i].xid >= known_to ||
			memcmp(&older->floor[i].node, sync_node_uuid(), UUID_LEN) != 0)
			row_clock_add_floor(result, &older->floor[i]);
	for (i = 0; i < clock->nfloor; i++)
		row_clock_add_floor(result, &clock->floor[i]);
	return result;
}

/* ----------------------------------------------------------------
 * Probing the index
 * ---------------------------------------------------------------- */

static void
probe_begin(TombstoneProbe *probe, Relation rel, Snapshot snapshot)
{
	probe->rel = rel;
	probe->index = index_open(state_index("tombstone_key"), AccessShareLock);
	probe->snapshot = RegisterSnapshot(snapshot);
	probe->scan = compat_index_beginscan(rel, probe->index, probe->snapshot, 2);
	probe->slot = table_slot_create(rel, NULL);
}

static void
probe_find(TombstoneProbe *probe, int32 table_id, bytea *key)
{
	ScanKeyData keys[2];

	ScanKeyInit(&keys[0], 1, BTEqualStrategyNumber, F_INT4EQ,
				Int32GetDatum(table_id));
	ScanKeyInit(&keys[1], 2, BTEqualStrategyNumber, F_BYTEAEQ,
				PointerGetDatum(key));
	index_rescan(probe->scan, keys, 2, NULL, 0);
}

/* All keys of a table from one on, for index_getnext_tid(), which looks at each of these
 * conditions for each entry. */
static void
probe_walk(TombstoneProbe *probe, int32 table_id, bytea *first)
{
	ScanKeyData keys[2];

	index_endscan(probe->scan);
	probe->scan = compat_index_beginscan(probe->rel, probe->index,
										 probe->snapshot, lengthof(keys));
	probe->scan->xs_want_itup = true;
	ScanKeyInit(&keys[0], 1, BTEqualStrategyNumber, F_INT4EQ,
				Int32GetDatum(table_id));
	ScanKeyInit(&keys[1], 2, BTGreaterEqualStrategyNumber, F_BYTEAGE,
				PointerGetDatum(first));
	index_rescan(probe->scan, keys, lengthof(keys), NULL, 0);
}

static bool
probe_next(TombstoneProbe *probe)
{
	return index_getnext_slot(probe->scan, ForwardScanDirection, probe->slot);
}

/* See what has been committed since. */
static void
probe_renew(TombstoneProbe *probe, Snapshot snapshot)
{
	index_endscan(probe->scan);
	UnregisterSnapshot(probe->snapshot);
	probe->snapshot = RegisterSnapshot(snapshot);
	probe->scan = compat_index_beginscan(probe->rel, probe->index,
										 probe->snapshot, 2);
}

static void
probe_end(TombstoneProbe *probe)
{
	ExecDropSingleTupleTableSlot(probe->slot);
	index_endscan(probe->scan);
	UnregisterSnapshot(probe->snapshot);
	index_close(probe->index, AccessShareLock);
}
