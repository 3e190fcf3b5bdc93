/*-------------------------------------------------------------------------
 *
 * apply_rows.c
 *	  Second step of an apply: lock the rows that a batch touches and read
 *	  them, with their tombstones.
 *
 * Rows are locked in (table id, key bytes) order, all tables first, before
 * anything is written; every apply does the same, so two of them cannot wait
 * for each other over existing rows.  FOR NO KEY UPDATE serves deletes too: a
 * second, stronger lock mode would bring a second order.
 *
 * Tombstones are read after the rows are locked, with a snapshot taken then: a
 * deleter that we waited for has committed its tombstone with the deletion.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "common/hashfn.h"
#include "guard/row_security.h"
#include "merge/apply.h"
#include "miscadmin.h"
#include "port/pg_bswap.h"
#include "registry/row_fetch.h"
#include "registry/value.h"
#include "storage/lmgr.h"
#include "storage/lock.h"
#include "types/merge_sort.h"
#include "types/seeded_hash.h"
#include "utils/acl.h"
#include "utils/datum.h"
#include "utils/memutils.h"
#include "utils/rls.h"
#include "utils/snapmgr.h"

/* So many locks stand for all dead rows of a table: a delta may touch many.  The
 * class keeps them apart from users' advisory locks, which are 1 and 2. */
#define DEAD_ROW_LOCKS			256
#define DEAD_ROW_LOCK_CLASS		0x0D

typedef struct SortedRow
{
	ApplyRow   *row;
	int32		table_id;
	uint64		prefix;			/* of the key */
} SortedRow;

/* The rows of one table, sorted by key */
typedef struct TableRows
{
	ApplyState *state;
	SyncTable  *table;
	ApplyRow  **rows;
	int			nrows;
	Bitmapset  *columns;		/* to read */
} TableRows;

static uint64 key_prefix(const RowRef *ref);
static int	compare_sorted_rows(const void *a, const void *b);
static ApplyRow *make_row(ApplyState *state, ApplyChange *change);
static void read_table(TableRows *work);
static void row_read(void *arg, int ordinal, Datum clock, bool clock_isnull,
					 Datum *values, bool *isnull);
static void check_no_newer_rows(TableRows *work);
static void newer_row_read(void *arg, int ordinal, Datum clock,
						   bool clock_isnull, Datum *values, bool *isnull);
static void read_tombstones(TableRows *work);
static bool is_hidden(ApplyState *state, const ApplyRow *row,
					  const Tombstone *tombstone);
static void lock_dead(TableRows *work);
static void forget_row(ApplyRow *row);
static void forget_merged(ApplyRow *row, const RowClock *before);

uint32
apply_row_hash(const void *key, Size keysize)
{
	const RowRef *ref = key;

	return hash_combine(seeded_hash(ref->key_bytes, ref->key_len), ref->table_id);
}

int
apply_row_match(const void *a, const void *b, Size keysize)
{
	const RowRef *x = a;
	const RowRef *y = b;

	if (x->table_id != y->table_id || x->key_len != y->key_len)
		return 1;
	return memcmp(x->key_bytes, y->key_bytes, x->key_len);
}

HTAB *
apply_make_row_set(MemoryContext context)
{
	HASHCTL		ctl;

	ctl.keysize = ctl.entrysize = sizeof(RowRef);
	ctl.hash = apply_row_hash;
	ctl.match = apply_row_match;
	ctl.hcxt = context;
	return hash_create("offline_sync row set", 64, &ctl,
					   HASH_ELEM | HASH_FUNCTION | HASH_COMPARE | HASH_CONTEXT);
}

ApplyRow *
apply_find_row(ApplyState *state, const RowRef *ref)
{
	return hash_search(state->rows, ref, HASH_FIND, NULL);
}

void
apply_read_rows(ApplyState *state, int first, int last)
{
	HASHCTL		ctl;
	ApplyRow  **rows;
	int			nrows;
	int			start = 0;

	ctl.keysize = sizeof(RowRef);
	ctl.entrysize = sizeof(ApplyRow);
	ctl.hash = apply_row_hash;
	ctl.match = apply_row_match;
	ctl.hcxt = state->batch_context;
	state->rows = hash_create("offline_sync rows", Max(last - first, 16), &ctl,
							  HASH_ELEM | HASH_FUNCTION | HASH_COMPARE |
							  HASH_CONTEXT);

	for (int i = first; i < last; i++)
	{
		if (!state->changes[i].is_refused && state->changes[i].table != NULL)
			(void) make_row(state, &state->changes[i]);
	}

	state->known_to = sync_snapshot_horizon(GetLatestSnapshot());
	rows = apply_sorted_rows(state, &nrows);
	while (start < nrows)
	{
		TableRows	work;

		work.state = state;
		work.table = rows[start]->table;
		work.rows = rows + start;
		work.nrows = 0;
		work.columns = NULL;
		while (start < nrows && rows[start]->table == work.table)
		{
			work.columns = bms_add_members(work.columns, rows[start]->written);
			bms_free(rows[start]->written);
			rows[start]->written = NULL;
			work.nrows++;
			start++;
		}
		if (work.table->scope_column >= 0 &&
			!work.table->columns[work.table->scope_column].is_key)
			work.columns = bms_add_member(work.columns, work.table->scope_column);
		for (int i = 0; i < work.nrows; i++)
			work.rows[i]->columns = work.columns;
		read_table(&work);
		read_tombstones(&work);
		if (work.table->rules.on_delete == ON_DELETE_LWW)
			lock_dead(&work);
	}
}

void
apply_reread_rows(ApplyState *state, ApplyRow **rows, int nrows)
{
	merge_sort(rows, nrows, sizeof(ApplyRow *), apply_compare_rows);
	for (int start = 0, end; start < nrows; start = end)
	{
		TableRows	work = {state, rows[start]->table, rows + start, 0,
		rows[start]->columns};
		RowClock  **clocks;
		bool	   *was_news;

		for (end = start; end < nrows && rows[end]->table == work.table; end++)
			work.nrows++;
		clocks = palloc(work.nrows * sizeof(RowClock *));
		was_news = palloc(work.nrows * sizeof(bool));
		for (int i = 0; i < work.nrows; i++)
		{
			clocks[i] = work.rows[i]->clock;
			was_news[i] = work.rows[i]->is_news;
			forget_row(work.rows[i]);
		}
		read_table(&work);
		read_tombstones(&work);
		for (int i = 0; i < work.nrows; i++)
		{
			forget_merged(work.rows[i], clocks[i]);
			work.rows[i]->is_news |= was_news[i];
		}
	}
}

/* Forget what was read of a row. */
static void
forget_row(ApplyRow *row)
{
	row->exists = row->is_alive = false;
	row->has_tombstone = row->is_hidden = false;
	row->is_scope_seen = row->is_news = false;
	row->clock = NULL;
	row->scope = NULL;
	row->image = (Datum) 0;
	row->image_isnull = row->image_is_new = false;
	row->image_columns = NULL;
	memset(row->values, 0, row->table->ncolumns * sizeof(Datum));
	memset(row->isnull, true, row->table->ncolumns * sizeof(bool));
	row->sets = NULL;
	row->objects = NULL;
}

/* Merged cells that were written since hold what the device does not know. */
static void
forget_merged(ApplyRow *row, const RowClock *before)
{
	for (int i = -1; (i = bms_next_member(row->merged, i)) >= 0;)
	{
		int			id = row->table->columns[i].column_id;
		const Stamp *old = before == NULL ? NULL : row_clock_get(before, id);
		const Stamp *now = row->clock == NULL ? NULL : row_clock_get(row->clock, id);

		if (old == NULL || now == NULL || !stamp_equal(old, now))
			row->merged = bms_del_member(row->merged, i);
	}
}

/*
 * A change may be merged into a tombstone, of which no row lock keeps others out.
 * So those who find a row dead take turns, and look again.
 */
static void
lock_dead(TableRows *work)
{
	TableRows	dead = *work;
	bool	   *is_wanted = palloc0(DEAD_ROW_LOCKS * sizeof(bool));

	dead.rows = palloc(work->nrows * sizeof(ApplyRow *));
	dead.nrows = 0;
	for (int i = 0; i < work->nrows; i++)
	{
		ApplyRow   *row = work->rows[i];

		if (row->exists || !row->has_tombstone)
			continue;
		/* not apply_row_hash: the backends must agree */
		is_wanted[hash_bytes((const unsigned char *) row->ref.key_bytes,
							 row->ref.key_len) % DEAD_ROW_LOCKS] = true;
		row->has_tombstone = false;
		row->clock = NULL;
		row->scope = NULL;
		dead.rows[dead.nrows++] = row;
	}
	if (dead.nrows == 0)
		return;
	for (int i = 0; i < DEAD_ROW_LOCKS; i++)
	{
		LOCKTAG		tag;

		if (!is_wanted[i])
			continue;
		SET_LOCKTAG_ADVISORY(tag, MyDatabaseId, work->table->table_id, i,
							 DEAD_ROW_LOCK_CLASS);
		(void) LockAcquire(&tag, ExclusiveLock, false, false);
	}
	read_table(&dead);
	read_tombstones(&dead);
}

/* Enter a change's row; "written" collects the columns to read for now. */
static ApplyRow *
make_row(ApplyState *state, ApplyChange *change)
{
	bool		found;
	ApplyRow   *row = hash_search(state->rows, &change->ref, HASH_ENTER, &found);

	if (!found)
	{
		SyncTable  *table = change->table;

		memset((char *) row + sizeof(RowRef), 0,
			   sizeof(ApplyRow) - sizeof(RowRef));
		row->table = table;
		row->key = change->key;
		row->is_side_written = apply_is_side_written(state, &row->ref);
		row->values = bump_alloc0(&state->batch_bump,
								  table->ncolumns * sizeof(Datum));
		row->isnull = bump_alloc(&state->batch_bump,
								 table->ncolumns * sizeof(bool));
		memset(row->isnull, true, table->ncolumns * sizeof(bool));
		row->sent = bump_alloc0(&state->batch_bump,
								table->ncolumns * sizeof(DeltaValue *));
	}
	for (int i = 0; i < change->ncells; i++)
		row->written = bms_add_member(row->written, change->cells[i].column);
	row->ninserts += change->delta.kind == DELTA_CHANGE_INSERT ? 1 : 0;
	change->row = row;
	return row;
}

ApplyRow **
apply_sorted_rows(ApplyState *state, int *nrows)
{
	HASH_SEQ_STATUS status;
	SortedRow  *sorted;
	ApplyRow  **rows;
	ApplyRow   *row;
	int			n = 0;

	rows = palloc(Max(hash_get_num_entries(state->rows), 1) * sizeof(ApplyRow *));
	sorted = palloc(Max(hash_get_num_entries(state->rows), 1) * sizeof(SortedRow));
	hash_seq_init(&status, state->rows);
	while ((row = hash_seq_search(&status)) != NULL)
	{
		sorted[n].row = row;
		sorted[n].table_id = row->ref.table_id;
		sorted[n++].prefix = key_prefix(&row->ref);
	}
	merge_sort(sorted, n, sizeof(SortedRow), compare_sorted_rows);
	for (int i = 0; i < n; i++)
	{
		rows[i] = sorted[i].row;
		rows[i]->place = i;
	}
	pfree(sorted);
	*nrows = n;
	return rows;
}

/* The key's first bytes as a number, which compares as they do. */
static uint64
key_prefix(const RowRef *ref)
{
	uint64		prefix = 0;

	memcpy(&prefix, ref->key_bytes, Min(ref->key_len, sizeof(prefix)));
	return pg_ntoh64(prefix);
}

/* As apply_compare_rows does it, but mostly without a look at the rows */
static int
compare_sorted_rows(const void *a, const void *b)
{
	const SortedRow *x = a;
	const SortedRow *y = b;

	if (x->table_id == y->table_id && x->prefix != y->prefix)
		return x->prefix < y->prefix ? -1 : 1;
	return apply_compare_rows(&x->row, &y->row);
}

int
apply_compare_rows(const void *a, const void *b)
{
	const RowRef *x = &(*(ApplyRow *const *) a)->ref;
	const RowRef *y = &(*(ApplyRow *const *) b)->ref;
	int			result;

	if (x->table_id != y->table_id)
		return x->table_id < y->table_id ? -1 : 1;
	result = memcmp(x->key_bytes, y->key_bytes, Min(x->key_len, y->key_len));
	if (result != 0)
		return result;
	return x->key_len < y->key_len ? -1 : (x->key_len > y->key_len);
}

RowDirect *
apply_open_table(ApplyState *state, SyncTable *table)
{
	ListCell   *lc;
	OpenTable  *opened;
	MemoryContext oldcontext;

	foreach(lc, state->opened)
	{
		opened = lfirst(lc);
		if (opened->table == table)
			return opened->direct;
	}
	oldcontext = MemoryContextSwitchTo(state->batch_context);
	opened = palloc(sizeof(OpenTable));
	opened->table = table;
	opened->direct = row_direct_begin(table);
	state->opened = lappend(state->opened, opened);
	MemoryContextSwitchTo(oldcontext);
	return opened->direct;
}

void
apply_close_tables(ApplyState *state)
{
	ListCell   *lc;

	foreach(lc, state->opened)
	{
		OpenTable  *opened = lfirst(lc);

		if (opened->direct != NULL)
			row_direct_end(opened->direct);
	}
	state->opened = NIL;
}

static void
read_table(TableRows *work)
{
	SyncTable  *table = work->table;
	RowDirect  *direct = apply_open_table(work->state, table);
	Datum	   *keys = palloc(work->nrows * table->nkeys * sizeof(Datum));

	for (int i = 0; i < work->nrows; i++)
		memcpy(keys + i * table->nkeys, work->rows[i]->key,
			   table->nkeys * sizeof(Datum));

	/*
	 * A row lock needs the right to UPDATE.  A role that may only insert or
	 * delete does without: its updates would fail anyway, and a delete takes
	 * its own lock.
	 */
	if (pg_class_aclcheck(table->relid, GetUserId(), ACL_UPDATE) == ACLCHECK_OK ||
		pg_attribute_aclcheck_all(table->relid, GetUserId(), ACL_UPDATE,
								  ACLMASK_ANY) == ACLCHECK_OK)
	{
		if (direct != NULL)
		{
			ItemPointerData *tids = palloc(work->nrows * sizeof(ItemPointerData));

			row_direct_lock(direct, work->columns, work->nrows, keys, tids,
							row_read, work);
			for (int i = 0; i < work->nrows; i++)
				work->rows[i]->tid = tids[i];
			pfree(tids);
		}
		else
			row_fetch(table, work->columns, ROW_FETCH_LOCK, work->nrows, keys,
					  row_read, work);
	}
	else
	{
		PushActiveSnapshot(IsolationUsesXactSnapshot() ?
						   GetTransactionSnapshot() : GetLatestSnapshot());
		row_fetch(table, work->columns, ROW_FETCH_READ, work->nrows, keys,
				  row_read, work);
		PopActiveSnapshot();
	}
	if (IsolationUsesXactSnapshot())
		check_no_newer_rows(work);
}

/*
 * A row that this transaction's snapshot is too old to see would be taken for one
 * that never was, and the change refused for good.
 */
static void
check_no_newer_rows(TableRows *work)
{
	SyncTable  *table = work->table;
	Datum	   *keys = palloc(work->nrows * table->nkeys * sizeof(Datum));
	int			n = 0;

	for (int i = 0; i < work->nrows; i++)
	{
		if (!work->rows[i]->exists)
			memcpy(keys + n++ * table->nkeys, work->rows[i]->key,
				   table->nkeys * sizeof(Datum));
	}
	PushActiveSnapshot(GetLatestSnapshot());
	row_fetch(table, NULL, ROW_FETCH_READ, n, keys, newer_row_read, NULL);
	PopActiveSnapshot();
}

static void
newer_row_read(void *arg, int ordinal, Datum clock, bool clock_isnull,
			   Datum *values, bool *isnull)
{
	ereport(ERROR,
			(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
			 errmsg("could not serialize access due to concurrent insert"),
			 errhint("Push the delta again.")));
}

static void
row_read(void *arg, int ordinal, Datum clock, bool clock_isnull,
		 Datum *values, bool *isnull)
{
	TableRows  *work = arg;
	ApplyState *state = work->state;
	SyncTable  *table = work->table;
	ApplyRow   *row = work->rows[ordinal];
	int			n = 0;

	row->exists = row->is_alive = true;
	row->clock = sync_table_clock(state->batch_context, table, clock,
								  clock_isnull);
	for (int i = -1; (i = bms_next_member(work->columns, i)) >= 0; n++)
	{
		SyncColumn *column = &table->columns[i];

		row->isnull[i] = isnull[n];
		if (!isnull[n])
			row->values[i] = datumCopy(values[n], column->typbyval,
									   column->typlen);
	}
	for (int i = 0; i < table->nkeys; i++)
	{
		row->values[table->key[i]] = row->key[i];
		row->isnull[table->key[i]] = false;
	}

	if (table->scope_column < 0)
		row->scope = "";
	else if (!row->isnull[table->scope_column])
		row->scope = value_to_text(&table->columns[table->scope_column],
								   row->values[table->scope_column]);
}

/* The floor of a row is its clock's and its tombstone's. */
static void
read_tombstones(TableRows *work)
{
	ApplyState *state = work->state;
	Tombstone  *tombstones = palloc0(work->nrows * sizeof(Tombstone));
	const char **keys = palloc(work->nrows * sizeof(char *));
	int		   *lens = palloc(work->nrows * sizeof(int));
	Snapshot	snapshot;
	bool		has_policies;

	for (int i = 0; i < work->nrows; i++)
	{
		keys[i] = work->rows[i]->ref.key_bytes;
		lens[i] = work->rows[i]->ref.key_len;
	}
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	tombstone_fetch(work->table->table_id, work->nrows, keys, lens, snapshot,
					tombstones);
	UnregisterSnapshot(snapshot);
	has_policies = check_enable_rls(work->table->relid, InvalidOid, true) == RLS_ENABLED;

	for (int i = 0; i < work->nrows; i++)
	{
		ApplyRow   *row = work->rows[i];
		Tombstone  *tombstone = &tombstones[i];

		if (tombstone->found)
		{
			row->has_tombstone = true;
			row->image = tombstone->image;
			row->image_isnull = tombstone->image_isnull;
			if (row->exists)
			{
				for (int f = 0; f < tombstone->clock->nfloor; f++)
					row_clock_add_floor(row->clock, &tombstone->clock->floor[f]);
			}
			else
			{
				row->clock = row_clock_copy(state->batch_context,
											tombstone->clock);
				row->scope = tombstone->scope;
				row->is_hidden = has_policies &&
					is_hidden(state, row, tombstone);
			}
		}
		if (row->clock != NULL)
		{
			const Stamp *stamp = row_clock_scope_stamp(row->clock);
			SyncDeviceScope *scope = NULL;

			if (row->scope != NULL)
				scope = sync_scope_set_find(state->scopes, row->scope);
			row->is_scope_seen = stamp == NULL ||
				memcmp(&stamp->replica, &state->device->uuid, UUID_LEN) == 0 ||
				(apply_write_is_seen(state, stamp) &&
				 scope != NULL && scope->can_pull &&
				 apply_position_is_seen(state,
										sync_node_uuid_by_id(scope->granted_node),
										scope->granted_xid));
			/* what it moved away itself it has dropped, too */
			row->is_news = row->exists &&
				(!row->is_scope_seen || scope == NULL || !scope->can_pull ||
				 (stamp != NULL && memcmp(&stamp->replica, &state->device->uuid, UUID_LEN) == 0 &&
				  !apply_kept_own_row(state, scope, stamp)) ||
				 (stamp != NULL && !apply_write_is_told(state, stamp)));
		}
	}
	pfree(tombstones);
	pfree(keys);
	pfree(lens);
}

/*
 * A row with a tombstone that the caller does not find: is it that he may not see
 * what is there, or what was deleted?
 */
static bool
is_hidden(ApplyState *state, const ApplyRow *row, const Tombstone *tombstone)
{
	MemoryContext scratch;
	bool		result;

	if (tombstone->image_isnull || guard_row_exists(row->table, row->key))
		return true;
	scratch = AllocSetContextCreate(state->batch_context, "offline_sync image",
									ALLOCSET_DEFAULT_SIZES);
	result = !guard_image_is_visible(row->table, row->key, tombstone->image, scratch);
	MemoryContextDelete(scratch);
	return result;
}
