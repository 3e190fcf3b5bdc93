/*-------------------------------------------------------------------------
 *
 * serve_page.c
 *	  The changes of a page: collecting them, and putting them in order.
 *
 * Order: scopes to forget first, since a scope may come again within the same
 * page; then rows, parents first; at last what goes, children first.  A client
 * that applies a page in this order meets no dangling reference that was not
 * dangling on the server, but for what a later page brings.
 *
 * What a page says must survive a crash of this server, or the device would
 * know of writes that never were, and later take others for them.  Commits that
 * were seen are durable unless they were asynchronous; so the page notes whose
 * commits it rests on, and makes WAL durable up to there.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/transam.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "access/xlog_internal.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "common/hashfn.h"
#include "compat.h"
#include "miscadmin.h"
#include "registry/row_fetch.h"
#include "registry/row_key.h"
#include "registry/value.h"
#include "serve/serve.h"
#include "storage/lmgr.h"
#include "storage/lwlock.h"
#include "types/seeded_hash.h"
#include "utils/acl.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/rls.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

struct RowSet
{
	MemoryContext context;
	HTAB	   *table;
};

/* Where in a run the row with this key is */
typedef struct RowPlace
{
	char	   *key;
	int			place;
} RowPlace;

static uint32 row_ref_hash(const void *key, Size keysize);
static int	row_ref_match(const void *a, const void *b, Size keysize);
static SyncTable *lock_table(int32 table_id);
static void check_not_rewritten(const ServePage *page, const SyncTable *t);
static bool is_rewritten(Oid relid, Snapshot snapshot);
static ServedChange *add_change(ServePage *page, DeltaChangeKind kind,
								const ServeTable *st, const RowRef *row, Hlc hlc);
static void keep_keys(ServePage *page, ServedChange *change, const Datum *key);
static void keep_old_keys(ServePage *page, ServedChange *change,
						  const RowRef *row);
static void keep_value(ServePage *page, DeltaValue *value);
static int	compare_changes(const void *a, const void *b);
static int	change_class(const ServedChange *change);
static void order_by_reference(ServePage *page);
static void order_run(ServedChange *changes, int n, SyncTable *t);
static bool parent_columns(const SyncTable *t, const ForeignKeyCacheInfo *fk,
						   int *columns);
static void order_run_by(ServedChange *changes, int n, const SyncTable *t,
						 const int *columns);
static int	find_parent(const ServedChange *change, const SyncTable *t,
						const int *columns, const RowPlace *places, int n);
static bool change_value(const ServedChange *change, const SyncTable *t,
						 int column, DeltaValue *value);
static char *values_text(const SyncTable *t, const DeltaValue *values);
static int	compare_places(const void *a, const void *b);
static void write_change(DeltaWriter *writer, const ServedChange *change);

/* ----------------------------------------------------------------
 * Sets of rows
 * ---------------------------------------------------------------- */

RowSet *
row_set_create(void)
{
	RowSet	   *set = palloc(sizeof(RowSet));
	HASHCTL		ctl = {0};

	set->context = CurrentMemoryContext;
	ctl.keysize = sizeof(RowRef);
	ctl.entrysize = sizeof(RowRef);
	ctl.hash = row_ref_hash;
	ctl.match = row_ref_match;
	ctl.hcxt = CurrentMemoryContext;
	set->table = hash_create("offline_sync rows", 256, &ctl,
							 HASH_ELEM | HASH_FUNCTION | HASH_COMPARE |
							 HASH_CONTEXT);
	return set;
}

bool
row_set_add(RowSet *set, const RowRef *row)
{
	bool		found;
	RowRef	   *entry = hash_search(set->table, row, HASH_ENTER, &found);

	if (!found)
	{
		char	   *copy = MemoryContextAlloc(set->context, row->keylen);

		memcpy(copy, row->key, row->keylen);
		entry->key = copy;
	}
	return !found;
}

bool
row_set_has(const RowSet *set, const RowRef *row)
{
	return hash_search(set->table, row, HASH_FIND, NULL) != NULL;
}

int
row_ref_compare(const RowRef *a, const RowRef *b)
{
	int			order;

	if (a->table_id != b->table_id)
		return a->table_id < b->table_id ? -1 : 1;
	order = memcmp(a->key, b->key, Min(a->keylen, b->keylen));
	if (order != 0)
		return order;
	return a->keylen < b->keylen ? -1 : a->keylen > b->keylen ? 1 : 0;
}

static uint32
row_ref_hash(const void *key, Size keysize)
{
	const RowRef *row = key;

	return hash_combine(seeded_hash(row->key, row->keylen),
						murmurhash32((uint32) row->table_id));
}

static int
row_ref_match(const void *a, const void *b, Size keysize)
{
	return row_ref_compare(a, b);
}

/* ----------------------------------------------------------------
 * Tables
 * ---------------------------------------------------------------- */

ServeTable *
page_table(ServePage *page, int32 table_id)
{
	bool		found;
	ServeTable *st = hash_search(page->table_access, &table_id, HASH_ENTER,
								 &found);
	MemoryContext old;
	SyncTable  *t;

	if (found)
		return st;

	old = MemoryContextSwitchTo(page->context);
	t = lock_table(table_id);
	st->table = t;
	st->version = NULL;
	st->has_news = false;
	st->masks = NULL;
	st->is_readable = false;
	st->has_policies = false;
	st->has_rekeyed = false;
	st->fetched = NULL;
	st->nfetched = 0;
	st->scope_place = -1;
	if (t != NULL)
	{
		Bitmapset  *columns = row_fetch_readable(t, &st->is_readable);
		int			i;

		check_not_rewritten(page, t);
		st->has_rekeyed = table_version_has_rekeyed(t);
		st->version = table_version_open(t, page->schema_version);
		st->has_news = page->known_version < page->schema_version &&
			table_version_has_news(t, page->known_version, page->schema_version);
		for (i = 0; st->version != NULL && i < t->ncolumns; i++)
			if (table_version_name(t, st->version, i) == NULL)
				columns = bms_del_member(columns, i);

		st->masks = guard_masks(t, page->device_class, page->snapshot);
		if (st->masks != NULL)
			columns = bms_del_members(columns, st->masks->no_pull);

		/* a row whose scope the caller may not know is none that it may have */
		if (t->scope_column >= 0 && !bms_is_member(t->scope_column, columns))
			st->is_readable = false;
		for (i = 0; i < t->nkeys; i++)
			columns = bms_del_member(columns, t->key[i]);
		if (t->scope_column >= 0)
		{
			columns = bms_add_member(columns, t->scope_column);
			st->scope_place = bms_member_index(columns, t->scope_column);
		}
		st->fetched = columns;
		st->nfetched = bms_num_members(columns);
		st->has_policies =
			check_enable_rls(t->relid, InvalidOid, true) == RLS_ENABLED;
	}
	MemoryContextSwitchTo(old);
	return st;
}

/* A table as it is and as it stays until the page is made. */
static SyncTable *
lock_table(int32 table_id)
{
	SyncTable  *t = sync_table_by_id(table_id);
	Oid			locked = InvalidOid;

	while (t != NULL && t->relid != locked)
	{
		locked = t->relid;
		LockRelationOid(locked, AccessShareLock);
		t = sync_table_by_id(table_id);
	}
	return t;
}

/*
 * A command that rewrites a table, as ALTER COLUMN TYPE does, makes it look empty to
 * snapshots that are older.  Such a page would lack the rows, and claim them.
 */
static void
check_not_rewritten(const ServePage *page, const SyncTable *t)
{
	List	   *relids;
	ListCell   *cell;

	if (get_rel_relkind(t->relid) == RELKIND_PARTITIONED_TABLE)
		relids = find_all_inheritors(t->relid, AccessShareLock, NULL);
	else
		relids = list_make1_oid(t->relid);
	foreach(cell, relids)
	{
		if (is_rewritten(lfirst_oid(cell), page->snapshot))
			ereport(ERROR,
					(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
					 errmsg("could not serialize access due to concurrent rewrite of table \"%s\"",
							t->table_name),
					 errhint("The transaction might succeed if retried.")));
	}
	list_free(relids);
}

/* Has the relation another file than it had for the snapshot?  It is locked. */
static bool
is_rewritten(Oid relid, Snapshot snapshot)
{
	HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relid));
	TransactionId xmin;
	Oid			file;
	Relation	rel;
	ScanKeyData key[1];
	SysScanDesc scan;
	bool		result;

	if (!HeapTupleIsValid(tuple))
		return false;
	xmin = HeapTupleHeaderGetXmin(tuple->t_data);
	file = ((Form_pg_class) GETSTRUCT(tuple))->relfilenode;
	ReleaseSysCache(tuple);
	if (!TransactionIdIsNormal(xmin) || !XidInMVCCSnapshot(xmin, snapshot) ||
		TransactionIdIsCurrentTransactionId(xmin))
		return false;

	ScanKeyInit(&key[0], Anum_pg_class_oid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(relid));
	rel = table_open(RelationRelationId, AccessShareLock);
	scan = systable_beginscan(rel, ClassOidIndexId, true, snapshot, lengthof(key), key);
	tuple = systable_getnext(scan);
	result = HeapTupleIsValid(tuple) &&
		((Form_pg_class) GETSTRUCT(tuple))->relfilenode != file;
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return result;
}

char *
page_row_scope(const ServeTable *st, const Datum *values, const bool *isnull)
{
	SyncTable  *t = st->table;

	if (t->scope_column < 0)
		return pstrdup("");
	if (isnull[st->scope_place])
		return NULL;
	return value_to_text(&t->columns[t->scope_column], values[st->scope_place]);
}

/* ----------------------------------------------------------------
 * Changes
 * ---------------------------------------------------------------- */

bool
page_is_full(const ServePage *page)
{
	return page->budget <= 0 ||
		(page->bytes >= page->max_bytes && page->nchanges > 0);
}

void
page_add_row(ServePage *page, ServeTable *st, const RowRef *row,
			 const Datum *key, DeltaChangeKind kind, const RowClock *clock,
			 const Datum *values, const bool *isnull, Bitmapset *sent)
{
	ServedChange *change = add_change(page, kind, st, row,
									  row_clock_max_hlc(clock));
	int			ncells = bms_num_members(sent);
	int			place = 0;

	keep_keys(page, change, key);
	change->columns = bump_alloc(&page->bump, ncells * sizeof(int));
	change->cells = bump_alloc(&page->bump, ncells * sizeof(DeltaValue));
	for (int i = -1; (i = bms_next_member(st->fetched, i)) >= 0; place++)
	{
		if (!bms_is_member(i, sent))
			continue;
		table_version_down(st->table, st->version, i, values[place], isnull[place],
						   &change->cells[change->ncells]);
		keep_value(page, &change->cells[change->ncells]);
		change->columns[change->ncells++] = i;
	}
}

void
page_add_removal(ServePage *page, ServeTable *st, const RowRef *row,
				 const Datum *key, DeltaChangeKind kind, Hlc hlc)
{
	ServedChange *change = add_change(page, kind, st, row, hlc);

	if (key != NULL)
		keep_keys(page, change, key);
	else
		keep_old_keys(page, change, row);
}

void
page_add_scope(ServePage *page, const char *scope)
{
	ServedChange *change = add_change(page, DELTA_CHANGE_RETRACT_SCOPE, NULL,
									  NULL, HLC_MIN);

	change->scope = MemoryContextStrdup(page->context, scope);
	page->bytes += strlen(scope);
}

static ServedChange *
add_change(ServePage *page, DeltaChangeKind kind, const ServeTable *st,
		   const RowRef *row, Hlc hlc)
{
	ServedChange *change;

	if (page->nchanges == page->maxchanges)
	{
		page->maxchanges = Max(64, 2 * page->maxchanges);
		if (page->changes == NULL)
			page->changes = MemoryContextAllocHuge(page->context,
												   (Size) page->maxchanges *
												   sizeof(ServedChange));
		else
			page->changes = repalloc_huge(page->changes,
										  (Size) page->maxchanges *
										  sizeof(ServedChange));
	}
	change = &page->changes[page->nchanges];
	memset(change, 0, sizeof(ServedChange));
	change->kind = kind;
	change->table = st == NULL ? NULL : st->table;
	change->version = st == NULL ? NULL : st->version;
	change->hlc = hlc;
	change->ordinal = page->nchanges++;

	if (row != NULL)
		(void) row_set_add(page->served, row);
	page->hlc = Max(page->hlc, hlc);
	page->bytes += 16;
	page->budget--;
	return change;
}

static void
keep_keys(ServePage *page, ServedChange *change, const Datum *key)
{
	SyncTable  *t = change->table;

	change->keys = bump_alloc(&page->bump, t->nkeys * sizeof(DeltaValue));
	for (int i = 0; i < t->nkeys; i++)
	{
		table_version_down(t, change->version, t->key[i], key[i], false,
						   &change->keys[i]);
		keep_value(page, &change->keys[i]);
	}
}

/* As it was written then. */
static void
keep_old_keys(ServePage *page, ServedChange *change, const RowRef *row)
{
	SyncTable  *t = change->table;
	char	  **texts = row_key_texts(t, row->key, row->keylen);

	change->keys = MemoryContextAlloc(page->context,
									  t->nkeys * sizeof(DeltaValue));
	for (int i = 0; i < t->nkeys; i++)
	{
		change->keys[i].kind = DELTA_STRING;
		change->keys[i].data = texts[i];
		change->keys[i].len = strlen(texts[i]);
		keep_value(page, &change->keys[i]);
	}
}

/* Copy what a value points to into the page. */
static void
keep_value(ServePage *page, DeltaValue *value)
{
	page->bytes += 4 + value->len;
	if (value->len > 0)
		value->data = bump_copy(&page->bump, value->data, value->len);
}

/* ----------------------------------------------------------------
 * Durability
 * ---------------------------------------------------------------- */

void
page_note_position(ServePage *page, const pg_uuid_t *node, uint64 xid)
{
	TransactionId id = (TransactionId) xid;
	NotedPosition *noted;
	uint64		next;

	/* rows were mostly written by few transactions */
	noted = &page->noted[xid % lengthof(page->noted)];
	if (xid == noted->xid && memcmp(node, &noted->node, UUID_LEN) == 0)
		return;
	noted->xid = xid;
	noted->node = *node;

	/*
	 * an older identity's commits were flushed when this one began, and a
	 * standby replays only what its primary flushed
	 */
	if (xid == page->own_xid || RecoveryInProgress() ||
		memcmp(node, &page->node, UUID_LEN) != 0)
		return;
	next = U64FromFullTransactionId(ReadNextFullTransactionId());
	if (xid >= next || next - xid > (uint64) MaxTransactionId / 2 ||
		!TransactionIdIsNormal(id))
		return;

	/* an xid whose status is no longer kept committed long ago */
	LWLockAcquire(XactTruncationLock, LW_SHARED);
	if (!TransactionIdPrecedes(id, TransamVariables->oldestClogXid))
		page->flush_to = Max(page->flush_to, TransactionIdGetCommitLSN(id));
	LWLockRelease(XactTruncationLock);
}

void
page_note_clock(ServePage *page, const RowClock *clock)
{
	int			i;

	for (i = 0; i < clock->nstamps; i++)
		page_note_position(page, &clock->stamps[i].node, clock->stamps[i].xid);
	for (i = 0; i < clock->nfloor; i++)
		page_note_position(page, &clock->floor[i].node, clock->floor[i].xid);
}

void
page_note_everything(ServePage *page)
{
	XLogRecPtr	end;

	if (RecoveryInProgress())
		return;

	/*
	 * The place where the next record will be inserted: right after a page's
	 * header, there is nothing on that page yet that could be flushed.
	 */
	end = GetXLogInsertRecPtr();
	if (XLogSegmentOffset(end, wal_segment_size) == SizeOfXLogLongPHD)
		end -= SizeOfXLogLongPHD;
	else if (end % XLOG_BLCKSZ == SizeOfXLogShortPHD)
		end -= SizeOfXLogShortPHD;
	page->flush_to = Max(page->flush_to, end);
}

void
page_flush(const ServePage *page)
{
	if (page->flush_to != InvalidXLogRecPtr && !RecoveryInProgress())
		XLogFlush(page->flush_to);
}

/* ----------------------------------------------------------------
 * The delta
 * ---------------------------------------------------------------- */

DeltaData *
page_finish(ServePage *page, const DeltaHeader *header)
{
	DeltaWriter *writer = delta_writer_create(CurrentMemoryContext);

	if (page->nchanges > 1)
	{
		qsort(page->changes, page->nchanges, sizeof(ServedChange),
			  compare_changes);
		order_by_reference(page);
	}
	for (int i = 0; i < page->nchanges; i++)
	{
		CHECK_FOR_INTERRUPTS();
		write_change(writer, &page->changes[i]);
	}
	return delta_writer_finish(writer, header);
}

static int
compare_changes(const void *a, const void *b)
{
	const ServedChange *ca = a;
	const ServedChange *cb = b;
	int			class = change_class(ca);

	if (class != change_class(cb))
		return class - change_class(cb);
	if (class > 0 && ca->table != cb->table)
	{
		int			order = ca->table->rank != cb->table->rank ?
		(ca->table->rank < cb->table->rank ? -1 : 1) :
		(ca->table->table_id < cb->table->table_id ? -1 : 1);

		return class == 1 ? order : -order;
	}
	return ca->ordinal - cb->ordinal;
}

/* scopes, rows, removals */
static int
change_class(const ServedChange *change)
{
	switch (change->kind)
	{
		case DELTA_CHANGE_RETRACT_SCOPE:
			return 0;
		case DELTA_CHANGE_INSERT:
		case DELTA_CHANGE_UPDATE:
			return 1;
		default:
			return 2;
	}
}

static void
write_change(DeltaWriter *writer, const ServedChange *change)
{
	SyncTable  *t = change->table;
	int			i;

	delta_writer_begin(writer, change->kind, t == NULL ? NULL : t->wire_name,
					   change->hlc);
	if (t == NULL)
		delta_writer_scope(writer, change->scope);
	else
		for (i = 0; i < t->nkeys; i++)
			delta_writer_key(writer,
							 table_version_name(t, change->version, t->key[i]),
							 &change->keys[i]);
	for (i = 0; i < change->ncells; i++)
		delta_writer_cell(writer,
						  table_version_name(t, change->version, change->columns[i]),
						  DELTA_SET, &change->cells[i]);
	delta_writer_end(writer);
}

/* ----------------------------------------------------------------
 * Rows of a table that refers to itself
 * ---------------------------------------------------------------- */

/* Runs of upserts of one table, where its foreign keys refer to itself */
static void
order_by_reference(ServePage *page)
{
	int			first;
	int			end;

	for (first = 0; first < page->nchanges; first = end)
	{
		SyncTable  *t = page->changes[first].table;

		for (end = first + 1; end < page->nchanges; end++)
			if (page->changes[end].table != t ||
				change_class(&page->changes[end]) !=
				change_class(&page->changes[first]))
				break;
		if (t != NULL && end - first > 1 &&
			change_class(&page->changes[first]) == 1)
			order_run(&page->changes[first], end - first, t);
	}
}

static void
order_run(ServedChange *changes, int n, SyncTable *t)
{
	Relation	rel = table_open(t->relid, AccessShareLock);
	ListCell   *cell;

	foreach(cell, RelationGetFKeyList(rel))
	{
		ForeignKeyCacheInfo *fk = lfirst(cell);
		int			columns[INDEX_MAX_KEYS];

		if (fk->confrelid == fk->conrelid && parent_columns(t, fk, columns))
			order_run_by(changes, n, t, columns);
	}
	table_close(rel, NoLock);
}

/* For each key column, the column that refers to it; false where the foreign key
 * does not refer to the primary key. */
static bool
parent_columns(const SyncTable *t, const ForeignKeyCacheInfo *fk, int *columns)
{
	if (fk->nkeys != t->nkeys)
		return false;
	for (int i = 0; i < t->nkeys; i++)
	{
		columns[i] = -1;
		for (int j = 0; j < fk->nkeys; j++)
			if (fk->confkey[j] == t->columns[t->key[i]].attnum)
				columns[i] = sync_column_by_attnum(t, fk->conkey[j]);
		if (columns[i] < 0)
			return false;
	}
	return true;
}

/*
 * Put each row behind the one that it refers to, if that is in the run and not,
 * in a circle, behind it already; otherwise the order stays.
 */
static void
order_run_by(ServedChange *changes, int n, const SyncTable *t,
			 const int *columns)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext,
												  "offline_sync order",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	ServedChange *ordered = palloc_extended((Size) n * sizeof(ServedChange),
											MCXT_ALLOC_HUGE);
	int		   *path = palloc_extended((Size) n * sizeof(int), MCXT_ALLOC_HUGE);
	bool	   *is_placed = palloc0(n);
	RowPlace   *places = palloc_extended((Size) n * sizeof(RowPlace),
										 MCXT_ALLOC_HUGE);
	int			nordered = 0;

	for (int i = 0; i < n; i++)
	{
		places[i].key = values_text(t, changes[i].keys);
		places[i].place = i;
	}
	qsort(places, n, sizeof(RowPlace), compare_places);

	for (int i = 0; i < n; i++)
	{
		int			depth = 0;
		int			at = i;

		/* up to the first one that is placed, then down again */
		while (at >= 0 && !is_placed[at])
		{
			is_placed[at] = true;
			path[depth++] = at;
			at = find_parent(&changes[at], t, columns, places, n);
		}
		while (depth > 0)
			ordered[nordered++] = changes[path[--depth]];
	}
	memcpy(changes, ordered, (Size) n * sizeof(ServedChange));
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
}

/* The index of the row that this one refers to, or -1. */
static int
find_parent(const ServedChange *change, const SyncTable *t, const int *columns,
			const RowPlace *places, int n)
{
	DeltaValue	values[INDEX_MAX_KEYS];
	RowPlace	wanted;
	const RowPlace *found;

	for (int i = 0; i < t->nkeys; i++)
		if (!change_value(change, t, columns[i], &values[i]) ||
			values[i].kind == DELTA_NULL)
			return -1;
	wanted.key = values_text(t, values);
	found = bsearch(&wanted, places, n, sizeof(RowPlace), compare_places);
	return found == NULL ? -1 : found->place;
}

/* The value of a column of the change, in its key or its cells. */
static bool
change_value(const ServedChange *change, const SyncTable *t, int column,
			 DeltaValue *value)
{
	int			i;

	for (i = 0; i < t->nkeys; i++)
		if (t->key[i] == column)
		{
			*value = change->keys[i];
			return true;
		}
	for (i = 0; i < change->ncells; i++)
		if (change->columns[i] == column)
		{
			*value = change->cells[i];
			return true;
		}
	return false;
}

/* Values of the key columns as one string; the same text may come as a number or not */
static char *
values_text(const SyncTable *t, const DeltaValue *values)
{
	StringInfoData buf;

	initStringInfo(&buf);
	for (int i = 0; i < t->nkeys; i++)
	{
		appendStringInfo(&buf, "%d:", values[i].len);
		appendBinaryStringInfo(&buf, values[i].data, values[i].len);
	}
	return buf.data;
}

static int
compare_places(const void *a, const void *b)
{
	return strcmp(((const RowPlace *) a)->key, ((const RowPlace *) b)->key);
}
