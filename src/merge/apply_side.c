/*-------------------------------------------------------------------------
 *
 * apply_side.c
 *	  What the writes of an apply set off: rows that foreign keys' actions and
 *	  users' triggers write beside those that were to be written.
 *
 * Such a write is the node's.  A row that the delta names, too, is then another
 * one than the batch has in memory: it is read again before it is decided or
 * written, so that the clock that is written has the stamps of both.
 *
 * The device's later changes in the delta count as made in sight of what its
 * earlier ones set off, as with intents.  That must not depend on how a
 * delta is split, so it is remembered for the whole apply.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "log/node.h"
#include "log/write_set.h"
#include "merge/apply.h"
#include "registry/row_fetch.h"
#include "registry/value.h"
#include "types/merge_sort.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

/* Rows that are remembered: of more of them, any row may be one. */
#define MAX_SIDE_WRITES		100000

static void note_side_write(void *arg, int32 table_id, const char *key,
							int keylen);
static void remember(ApplyState *state, const RowRef *ref);
static void refresh_table(ApplyState *state, ApplyRow **rows, int nrows);
static void clock_read(void *arg, int ordinal, Datum clock, bool clock_isnull,
					   Datum *values, bool *isnull);

/* The rows of one table whose clocks are read */
typedef struct Refresh
{
	ApplyState *state;
	ApplyRow  **rows;
} Refresh;

void
apply_watch_side_writes(ApplyState *state)
{
	write_set_watch(note_side_write, state);
}

static void
note_side_write(void *arg, int32 table_id, const char *key, int keylen)
{
	ApplyState *state = arg;
	RowRef		ref = {table_id, keylen, key};
	ApplyRow   *row;

	remember(state, &ref);
	row = apply_find_row(state, &ref);
	if (row == NULL)
		return;
	row->is_side_written = true;
	if (!row->is_stale)
	{
		MemoryContext oldcontext = MemoryContextSwitchTo(state->batch_context);

		state->stale_rows = lappend(state->stale_rows, row);
		row->is_stale = true;
		MemoryContextSwitchTo(oldcontext);
	}
}

static void
remember(ApplyState *state, const RowRef *ref)
{
	MemoryContext oldcontext = MemoryContextSwitchTo(state->context);
	bool		found;

	if (state->side_writes == NULL)
	{
		state->side_writes = apply_make_row_set(state->context);
		state->side_began = sync_clock_now();
	}
	if (hash_get_num_entries(state->side_writes) >= MAX_SIDE_WRITES)
		state->is_side_full = true;
	else if (hash_search(state->side_writes, ref, HASH_FIND, NULL) == NULL)
	{
		RowRef		copy = *ref;
		char	   *bytes = palloc(Max(ref->key_len, 1));

		memcpy(bytes, ref->key_bytes, ref->key_len);
		copy.key_bytes = bytes;
		(void) hash_search(state->side_writes, &copy, HASH_ENTER, &found);
	}
	MemoryContextSwitchTo(oldcontext);
}

bool
apply_is_side_written(const ApplyState *state, const RowRef *ref)
{
	return state->side_writes != NULL &&
		(state->is_side_full ||
		 hash_search(state->side_writes, ref, HASH_FIND, NULL) != NULL);
}

bool
apply_side_wrote(const ApplyState *state, const ApplyRow *row, const Stamp *stamp)
{
	return row->is_side_written && stamp->xid == state->xid &&
		stamp->hlc > state->side_began &&
		memcmp(&stamp->node, state->node, UUID_LEN) == 0 &&
		memcmp(&stamp->replica, state->node, UUID_LEN) == 0;
}

bool
apply_side_is_untold(const ApplyState *state)
{
	HASH_SEQ_STATUS status;
	const RowRef *ref;

	if (state->side_writes == NULL)
		return false;
	if (state->is_side_full)
		return true;
	hash_seq_init(&status, state->side_writes);
	while ((ref = hash_seq_search(&status)) != NULL)
	{
		if (hash_search(state->touched, ref, HASH_FIND, NULL) == NULL)
		{
			hash_seq_term(&status);
			return true;
		}
	}
	return false;
}

/* Between two decisions: rows that were written are read as they are. */
void
apply_refresh_rows(ApplyState *state)
{
	MemoryContext oldcontext = MemoryContextSwitchTo(state->batch_context);
	ApplyRow  **rows;
	int			nrows = 0;
	ListCell   *lc;

	if (state->stale_rows != NIL)
		apply_refresh_clocks(state);
	if (state->reread_rows != NIL)
	{
		rows = palloc(list_length(state->reread_rows) * sizeof(ApplyRow *));
		foreach(lc, state->reread_rows)
		{
			rows[nrows] = lfirst(lc);
			rows[nrows++]->is_to_reread = false;
		}
		list_free(state->reread_rows);
		state->reread_rows = NIL;
		apply_reread_rows(state, rows, nrows);
		pfree(rows);
	}
	MemoryContextSwitchTo(oldcontext);
}

/*
 * In the middle of a write: of rows that are yet to be updated, columns that are not
 * to be written have the stamps that they have in the table.  (A row that was
 * deleted fails to be written.)
 */
void
apply_refresh_clocks(ApplyState *state)
{
	MemoryContext oldcontext = MemoryContextSwitchTo(state->batch_context);
	ApplyRow  **rows = palloc(list_length(state->stale_rows) * sizeof(ApplyRow *));
	int			nrows = 0;
	ListCell   *lc;

	foreach(lc, state->stale_rows)
	{
		ApplyRow   *row = lfirst(lc);

		row->is_stale = false;
		if (!row->is_to_reread)
			state->reread_rows = lappend(state->reread_rows, row);
		row->is_to_reread = true;
		if (row->action == ROW_UPDATE)
			rows[nrows++] = row;
	}
	list_free(state->stale_rows);
	state->stale_rows = NIL;

	merge_sort(rows, nrows, sizeof(ApplyRow *), apply_compare_rows);
	for (int start = 0, end; start < nrows; start = end)
	{
		for (end = start + 1; end < nrows; end++)
		{
			if (rows[end]->table != rows[start]->table)
				break;
		}
		refresh_table(state, rows + start, end - start);
	}
	pfree(rows);
	MemoryContextSwitchTo(oldcontext);
}

static void
refresh_table(ApplyState *state, ApplyRow **rows, int nrows)
{
	SyncTable  *table = rows[0]->table;
	Refresh		work = {state, rows};
	Bitmapset  *columns = NULL;
	Datum	   *keys = palloc((Size) nrows * table->nkeys * sizeof(Datum));

	if (table->scope_column >= 0 && !table->columns[table->scope_column].is_key)
		columns = bms_make_singleton(table->scope_column);
	for (int i = 0; i < nrows; i++)
		memcpy(keys + (Size) i * table->nkeys, rows[i]->key,
			   table->nkeys * sizeof(Datum));
	PushActiveSnapshot(GetLatestSnapshot());
	row_fetch(table, columns, ROW_FETCH_READ, nrows, keys, clock_read, &work);
	PopActiveSnapshot();
	pfree(keys);
}

static void
clock_read(void *arg, int ordinal, Datum clock, bool clock_isnull, Datum *values,
		   bool *isnull)
{
	Refresh    *work = arg;
	ApplyRow   *row = work->rows[ordinal];
	SyncTable  *table = row->table;
	MemoryContext batch = work->state->batch_context;
	RowClock   *stored = sync_table_clock(batch, table, clock, clock_isnull);

	for (int i = 0; i < table->ncolumns; i++)
	{
		int			id = table->columns[i].column_id;
		const Stamp *stamp = row_clock_get(stored, id);
		const Stamp *decided = row_clock_get(row->clock, id);

		if (stamp == NULL || table->columns[i].is_key ||
			bms_is_member(i, row->written) ||
			(decided != NULL && stamp_equal(stamp, decided)))
			continue;
		row_clock_set(row->clock, id, stamp);
	}
	if (table->scope_column < 0 || table->columns[table->scope_column].is_key ||
		bms_is_member(table->scope_column, row->written))
		return;
	if (row_clock_scope_stamp(stored) != NULL)
		row_clock_set_scope(row->clock, row_clock_scope_stamp(stored));
	row->scope = NULL;
	if (!isnull[0])
	{
		MemoryContext oldcontext = MemoryContextSwitchTo(batch);

		row->scope = value_to_text(&table->columns[table->scope_column], values[0]);
		MemoryContextSwitchTo(oldcontext);
	}
}
