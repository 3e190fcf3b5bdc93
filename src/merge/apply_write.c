/*-------------------------------------------------------------------------
 *
 * apply_write.c
 *	  Fourth step of an apply: write what was decided, set-based.
 *
 * Inserts and updates table by table, parents before children; then deletes,
 * children before parents.  Rows of one table that write the same columns go in
 * one statement, in key order.  Each row is announced in the write set, where
 * the capture trigger finds its row clock; that every announcement was taken is
 * checked, since a row written without its clock would diverge silently.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "audit/waiting.h"
#include "executor/spi.h"
#include "log/node.h"
#include "log/write_set.h"
#include "merge/apply.h"
#include "miscadmin.h"
#include "registry/row_batch.h"
#include "registry/row_key.h"
#include "registry/value.h"
#include "types/merge_sort.h"
#include "utils/acl.h"
#include "utils/memutils.h"
#include "utils/resowner.h"

/* What the order of writes depends on, side by side: to look for it in each row takes
 * longer than to sort. */
typedef struct WriteOrder
{
	ApplyRow   *row;
	SyncTable  *table;
	uint64		columns;		/* the first ones, as bits */
	RowAction	action;
	int			place;
} WriteOrder;

static void sort_for_write(ApplyRow **rows, int nrows);
static void write_rows(ApplyState *state, RowAction action, ApplyRow **rows,
					   int nrows);
static void write_directly(ApplyState *state, RowDirect *direct,
						   RowAction action, ApplyRow **rows, int nrows);
static void write_by_statement(ApplyState *state, RowAction action,
							   ApplyRow **rows, int nrows);
static PlannedWrite *announce(ApplyState *state, ApplyRow *row,
							  Bitmapset *written, bool is_delete);
static void check_taken(const SyncTable *table, const PlannedWrite *planned);
static void report_missing(const SyncTable *table);
static void log_row(const ApplyRow *row, const char *scope);
static const char *slot_scope(const SyncTable *table, TupleTableSlot *slot);
static void check_scope_of(ApplyState *state, ApplyRow *row,
						   TupleTableSlot *slot);
static void report_foreign_scope(void);
static int	column_to_touch(const SyncTable *table);
static void check_written(ApplyState *state, RowAction action, ApplyRow **rows,
						  int nrows, Bitmapset *returned);
static void check_returned_scope(ApplyState *state, ApplyRow *row,
								 HeapTuple tuple, TupleDesc desc, int attno);
static void report_missing_insert(ApplyState *state, const SyncTable *table);
static void bury(ApplyState *state, ApplyRow *row);
static void settle(ApplyRow *row);
static int	compare_for_write(const void *a, const void *b);
static int	compare_for_delete(const void *a, const void *b);

void
apply_write(ApplyState *state)
{
	ApplyRow  **rows = state->pending_rows;
	ApplyRow  **removed;
	int			nremoved = 0;
	int			n = 0;

	for (int i = 0; i < state->npending; i++)
	{
		rows[i]->is_pending = false;
		if (rows[i]->action == ROW_KEEP)
			continue;
		apply_settle_objects(rows[i]);
		rows[n++] = rows[i];
	}
	state->npending = 0;
	if (n == 0)
		return;

	sort_for_write(rows, n);
	for (int start = 0, end; start < n; start = end)
	{
		for (end = start + 1; end < n; end++)
		{
			if (rows[end]->table != rows[start]->table ||
				rows[end]->action != rows[start]->action ||
				!bms_equal(rows[end]->written, rows[start]->written))
				break;
		}
		if (rows[start]->action == ROW_INSERT || rows[start]->action == ROW_UPDATE)
			write_rows(state, rows[start]->action, rows + start, end - start);
		if (state->stale_rows != NIL)
			apply_refresh_clocks(state);
	}

	removed = palloc(n * sizeof(ApplyRow *));
	for (int i = 0; i < n; i++)
	{
		if (rows[i]->action == ROW_REMOVE)
			removed[nremoved++] = rows[i];
	}
	merge_sort(removed, nremoved, sizeof(ApplyRow *), compare_for_delete);
	for (int start = 0, end; start < nremoved; start = end)
	{
		for (end = start + 1; end < nremoved; end++)
		{
			if (removed[end]->table != removed[start]->table)
				break;
		}
		write_rows(state, ROW_REMOVE, removed + start, end - start);
	}
	pfree(removed);

	for (int i = 0; i < n; i++)
	{
		if (rows[i]->action == ROW_BURY)
		{
			bury(state, rows[i]);
			settle(rows[i]);
		}
	}
	state->pending_deletes = NIL;
}

static void
write_rows(ApplyState *state, RowAction action, ApplyRow **rows, int nrows)
{
	RowDirect  *direct = apply_open_table(state, rows[0]->table);

	if (direct != NULL && action == ROW_INSERT &&
		!row_direct_can_insert(direct, rows[0]->written))
		direct = NULL;
	if (direct != NULL && action == ROW_UPDATE &&
		!row_direct_can_update(direct, rows[0]->written))
		direct = NULL;
	if (direct != NULL)
		write_directly(state, direct, action, rows, nrows);
	else
		write_by_statement(state, action, rows, nrows);
	for (int i = 0; i < nrows; i++)
		settle(rows[i]);
}

/*
 * Row by row, where each was found.  The capture trigger is fired for deletes
 * only: it makes the tombstone's image.
 */
static void
write_directly(ApplyState *state, RowDirect *direct, RowAction action,
			   ApplyRow **rows, int nrows)
{
	SyncTable  *table = rows[0]->table;
	Bitmapset  *written = rows[0]->written;
	int			nwritten = bms_num_members(written);
	Datum	   *values = palloc(Max(nwritten, 1) * sizeof(Datum));
	bool	   *isnull = palloc(Max(nwritten, 1) * sizeof(bool));
	bool		is_watched = action != ROW_REMOVE &&
	waiting_is_watched(table->table_id);

	state->inserting = action == ROW_INSERT ? table : NULL;
	if (action == ROW_INSERT)
		row_direct_begin_inserts(direct, written);
	else if (action == ROW_UPDATE)
		row_direct_begin_updates(direct, written);
	else
		row_direct_begin_deletes(direct);

	for (int i = 0; i < nrows; i++)
	{
		ApplyRow   *row = rows[i];
		Datum		clock;
		int			n = 0;

		if (action == ROW_REMOVE)
		{
			PlannedWrite *planned = announce(state, row, NULL, true);

			if (!row_direct_delete(direct, row->key, &row->tid))
				report_missing(table);
			check_taken(table, planned);
			row->is_gone = !row_direct_acts_on_delete(direct);
			continue;
		}
		for (int c = -1; (c = bms_next_member(written, c)) >= 0; n++)
		{
			values[n] = apply_row_value(row, c);
			isnull[n] = row->isnull[c];
		}
		/* it comes back: its clock has taken over the tombstone's floor */
		if (row->has_tombstone)
			tombstone_remove(table->table_id, row->ref.key_bytes,
							 row->ref.key_len, state->known_to);
		row->is_gone = false;
		clock = RowClockPGetDatum(row_clock_pack(row->clock));
		if (action == ROW_INSERT)
		{
			TupleTableSlot *slot = row_direct_insert(direct, row->key, clock,
													 values, isnull, &row->tid);

			if (table->scope_column >= 0 &&
				!table->columns[table->scope_column].is_key &&
				!bms_is_member(table->scope_column, written))
				check_scope_of(state, row, slot);
		}
		else
		{
			TupleTableSlot *old;

			if (!row_direct_update(direct, row->key, clock, values, isnull,
								   &row->tid, &old))
				report_missing(table);
			if (table->scope_column >= 0 &&
				bms_is_member(table->scope_column, written))
				log_row(row, slot_scope(table, old));
		}
		log_row(row, row->scope);
		/* a foreign key may refer to other columns than the key's */
		if (is_watched)
			waiting_note_row(table->table_id, row->ref.key_bytes,
							 row->ref.key_len);
		pfree(DatumGetPointer(clock));
	}
	row_direct_end_writes(direct);
	state->inserting = NULL;
	if (action == ROW_REMOVE)
		write_set_clear();
}

bool
apply_can_try(ApplyState *state, ApplyRow *row)
{
	RowDirect  *direct = apply_open_table(state, row->table);

	return direct != NULL && row_direct_can_insert(direct, row->written);
}

/*
 * What a subtransaction that was undone leaves behind is seen to be dead at once, and
 * the index forgets it.
 */
void
apply_try_insert(ApplyState *state, ApplyRow *row)
{
	RowDirect  *direct = apply_open_table(state, row->table);
	MemoryContext oldcontext = CurrentMemoryContext;
	ResourceOwner oldowner = CurrentResourceOwner;
	ErrorData  *volatile error = NULL;

	apply_settle_objects(row);
	(void) sync_node_id();		/* what that writes is not to be undone */
	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(oldcontext);
	PG_TRY();
	{
		write_directly(state, direct, ROW_INSERT, &row, 1);
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(oldcontext);
		error = CopyErrorData();
		FlushErrorState();
	}
	PG_END_TRY();
	RollbackAndReleaseCurrentSubTransaction();
	MemoryContextSwitchTo(oldcontext);
	CurrentResourceOwner = oldowner;
	if (error != NULL)
		ReThrowError(error);

	/* its clock has taken over the tombstone's floor all the same */
	if (row->has_tombstone)
		tombstone_remove(row->table->table_id, row->ref.key_bytes,
						 row->ref.key_len, state->known_to);
	ItemPointerSetInvalid(&row->tid);
}

static PlannedWrite *
announce(ApplyState *state, ApplyRow *row, Bitmapset *written, bool is_delete)
{
	PlannedWrite *planned;

	planned = write_set_add(row->table->table_id, row->ref.key_bytes,
							row->ref.key_len, row->clock, written, is_delete);
	planned->known_to = state->known_to;
	return planned;
}

/* A row written without its clock would diverge silently. */
static void
check_taken(const SyncTable *table, const PlannedWrite *planned)
{
	if (!planned->is_taken)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("changes of table \"%s\" are not being captured",
						table->wire_name),
				 errhint("Enable the trigger \"~offline_sync_capture\" of the table, and capture in this session.")));
}

static void
report_missing(const SyncTable *table)
{
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("row of table \"%s\" was not written", table->wire_name),
			 errdetail("Row security or a trigger suppressed the write.")));
}

static void
log_row(const ApplyRow *row, const char *scope)
{
	if (scope != NULL)
		change_log_add(scope, row->table->table_id, row->ref.key_bytes,
					   row->ref.key_len);
}

static const char *
slot_scope(const SyncTable *table, TupleTableSlot *slot)
{
	SyncColumn *column = &table->columns[table->scope_column];
	bool		isnull;
	Datum		value = slot_getattr(slot, column->attnum, &isnull);
	int			modes;
	const char *scope;

	if (isnull)
		return NULL;
	modes = value_modes_begin();
	scope = value_to_text(column, value);
	value_modes_end(modes);
	return scope;
}

/* A default has set the scope. */
static void
check_scope_of(ApplyState *state, ApplyRow *row, TupleTableSlot *slot)
{
	const char *scope = slot_scope(row->table, slot);

	if (!apply_may_push(state, scope))
		report_foreign_scope();
	row->scope = scope;
}

static void
report_foreign_scope(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("device may not push to the row's scope")));
}

static void
write_by_statement(ApplyState *state, RowAction action, ApplyRow **rows,
				   int nrows)
{
	SyncTable  *table = rows[0]->table;
	Bitmapset  *written = action == ROW_REMOVE ? NULL : rows[0]->written;
	Bitmapset  *returned = NULL;
	int			ncarried = bms_num_members(written);
	Datum	   *values = palloc(Max(ncarried, 1) * sizeof(Datum));
	bool	   *isnull = palloc(Max(ncarried, 1) * sizeof(bool));
	PlannedWrite **planned = palloc(nrows * sizeof(PlannedWrite *));
	RowBatch   *batch = row_batch_begin(table, written);

	if (action == ROW_UPDATE && ncarried == 0)
		batch->touched = column_to_touch(table);
	for (int i = 0; i < nrows; i++)
	{
		ApplyRow   *row = rows[i];
		int			n = 0;

		for (int c = -1; (c = bms_next_member(written, c)) >= 0; n++)
		{
			values[n] = apply_row_value(row, c);
			isnull[n] = row->isnull[c];
		}
		row_batch_put(batch, i, row->key, values, isnull);
		row->is_gone = false;
		/* it comes back: its clock has taken over the tombstone's floor */
		if (row->has_tombstone && action != ROW_REMOVE)
			tombstone_remove(table->table_id, row->ref.key_bytes,
							 row->ref.key_len, state->known_to);
		planned[i] = announce(state, row, written, action == ROW_REMOVE);
	}

	/* a default or a trigger may have set the scope */
	if (action != ROW_REMOVE && table->scope_column >= 0 &&
		!table->columns[table->scope_column].is_key &&
		(table->has_before_insert || table->has_before_update ||
		 (action == ROW_INSERT && !bms_is_member(table->scope_column, written))))
		returned = bms_make_singleton(table->scope_column);

	row_batch_run(batch,
				  action == ROW_INSERT ? ROW_STATEMENT_INSERT :
				  action == ROW_UPDATE ? ROW_STATEMENT_UPDATE :
				  ROW_STATEMENT_DELETE, returned, false);
	row_batch_end(batch);
	check_written(state, action, rows, nrows, returned);
	SPI_freetuptable(SPI_tuptable);

	for (int i = 0; i < nrows; i++)
		check_taken(table, planned[i]);
	write_set_clear();
}

/*
 * Only the clock is to be written, but the statement has to set something.  The clock
 * itself does, where the caller may update the whole table; else a column that he
 * may update.
 */
static int
column_to_touch(const SyncTable *table)
{
	Oid			user = GetUserId();

	if (pg_class_aclcheck(table->relid, user, ACL_UPDATE) == ACLCHECK_OK)
		return -1;
	for (int i = 0; i < table->ncolumns; i++)
	{
		if (!table->columns[i].is_key && !table->columns[i].is_always &&
			pg_attribute_aclcheck(table->relid, table->columns[i].attnum, user,
								  ACL_UPDATE) == ACLCHECK_OK)
			return i;
	}
	return -1;
}

/* Were all rows written, and into scopes that the device may push to? */
static void
check_written(ApplyState *state, RowAction action, ApplyRow **rows, int nrows,
			  Bitmapset *returned)
{
	SPITupleTable *tuptable = SPI_tuptable;
	SyncTable  *table = rows[0]->table;

	if (tuptable->numvals < nrows)
	{
		if (action == ROW_INSERT)
			report_missing_insert(state, table);
		report_missing(table);
	}
	if (returned == NULL)
		return;

	/*
	 * Inserts come back in the order they were given, updates with their
	 * ordinal.
	 */
	for (int i = 0; i < nrows; i++)
	{
		HeapTuple	tuple = tuptable->vals[i];
		bool		isnull;
		int			ordinal = i;

		if (action == ROW_UPDATE)
			ordinal = DatumGetInt32(SPI_getbinval(tuple, tuptable->tupdesc, 1,
												  &isnull));
		check_returned_scope(state, rows[ordinal], tuple, tuptable->tupdesc,
							 action == ROW_UPDATE ? 2 : table->nkeys + 1);
	}
}

static void
check_returned_scope(ApplyState *state, ApplyRow *row, HeapTuple tuple,
					 TupleDesc desc, int attno)
{
	SyncTable  *table = row->table;
	bool		isnull;
	Datum		value = SPI_getbinval(tuple, desc, attno, &isnull);
	int			modes = value_modes_begin();
	const char *scope = isnull ? NULL :
	value_to_text(&table->columns[table->scope_column], value);

	value_modes_end(modes);
	if (!apply_may_push(state, scope))
		report_foreign_scope();
	row->scope = scope;
}

/*
 * Fewer rows came back than were given: some exist after all.  Either they were
 * inserted by somebody else after we looked, then another attempt will find them;
 * or the caller cannot see them.
 */
static void
report_missing_insert(ApplyState *state, const SyncTable *table)
{
	state->met_race = true;
	ereport(ERROR,
			(errcode(ERRCODE_UNIQUE_VIOLATION),
			 errmsg("row of table \"%s\" exists already", table->wire_name),
			 errdetail("It cannot be read, or a trigger suppressed the insertion.")));
}

/* A tombstone for a row that the table does not hold. */
static void
bury(ApplyState *state, ApplyRow *row)
{
	if (row->image_is_new)
	{
		int			modes = value_modes_begin();

		apply_keep_image(row);
		value_modes_end(modes);
		apply_check_image(row);
	}
	tombstone_put(row->table->table_id, row->ref.key_bytes, row->ref.key_len,
				  row->scope, row->clock, state->known_to, row->image,
				  row->image_isnull);
	if (row->scope != NULL)
		change_log_add(row->scope, row->table->table_id, row->ref.key_bytes,
					   row->ref.key_len);
}

/* The row is now as the table has it. */
static void
settle(ApplyRow *row)
{
	row->exists = row->action == ROW_INSERT || row->action == ROW_UPDATE;
	row->has_tombstone = !row->exists;
	if (row->action != ROW_BURY)
		row->image_isnull = true;	/* of an older tombstone, or none */
	row->is_hidden = false;
	row->was_written = true;
	row->action = ROW_KEEP;
	row->written = NULL;
}

/* Parents first; per table inserts, then updates; then by columns and key. */
static void
sort_for_write(ApplyRow **rows, int nrows)
{
	WriteOrder *order = palloc(nrows * sizeof(WriteOrder));

	for (int i = 0; i < nrows; i++)
	{
		const Bitmapset *written = rows[i]->written;

		order[i].row = rows[i];
		order[i].table = rows[i]->table;
		order[i].columns = written == NULL ? 0 : written->words[0];
		order[i].action = rows[i]->action;
		order[i].place = rows[i]->place;
	}
	merge_sort(order, nrows, sizeof(WriteOrder), compare_for_write);
	for (int i = 0; i < nrows; i++)
		rows[i] = order[i].row;
	pfree(order);
}

static int
compare_for_write(const void *a, const void *b)
{
	const WriteOrder *x = a;
	const WriteOrder *y = b;
	int			result;

	if (x->table != y->table && x->table->rank != y->table->rank)
		return x->table->rank < y->table->rank ? -1 : 1;
	if (x->table != y->table && x->table->table_id != y->table->table_id)
		return x->table->table_id < y->table->table_id ? -1 : 1;
	if (x->action != y->action)
		return x->action < y->action ? -1 : 1;
	if (x->columns != y->columns)
		return x->columns < y->columns ? -1 : 1;
	if (x->table->ncolumns > BITS_PER_BITMAPWORD)
	{
		result = bms_compare(x->row->written, y->row->written);
		if (result != 0)
			return result;
	}
	return x->place - y->place;
}

/* Children first. */
static int
compare_for_delete(const void *a, const void *b)
{
	const ApplyRow *x = *(ApplyRow *const *) a;
	const ApplyRow *y = *(ApplyRow *const *) b;

	if (x->table->rank != y->table->rank)
		return x->table->rank > y->table->rank ? -1 : 1;
	if (x->table->table_id != y->table->table_id)
		return x->table->table_id > y->table->table_id ? -1 : 1;
	return x->place - y->place;
}
