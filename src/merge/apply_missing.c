/*-------------------------------------------------------------------------
 *
 * apply_missing.c
 *	  Which of the rows that changes refer to are missing, asked for many at once.
 *
 * Only to save time: to set aside what will fail before it makes all the rest
 * fail with it, and not to try what waits while there is no reason to.  What a
 * change comes to is decided by trying it.  So where the answer could be wrong,
 * because the present user may not see all rows or triggers may make some, nothing
 * is said to be missing.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "executor/spi.h"
#include "merge/apply.h"
#include "miscadmin.h"
#include "registry/row_fetch.h"
#include "registry/row_key.h"
#include "registry/value.h"
#include "utils/memutils.h"
#include "utils/rls.h"
#include "utils/snapmgr.h"

static void row_found(void *arg, int ordinal, Datum clock, bool clock_isnull,
					  Datum *values, bool *isnull);
static int	find_parents(ApplyState *state, const ParentReference *reference,
						 RowRef *refs, int *changes);

/*
 * Of rows of one table, which are missing?  The caller is not connected to SPI.
 */
void
apply_find_missing(int32 table_id, int nrows, const RowRef *refs,
				   bool *is_missing)
{
	SyncTable  *table = sync_table_by_id(table_id);
	MemoryContext context;
	MemoryContext oldcontext;
	Datum	   *keys;
	bool		is_readable = false;
	bool		is_rekeyed;
	int			modes;

	memset(is_missing, false, nrows * sizeof(bool));
	if (table == NULL || nrows == 0)
		return;
	(void) row_fetch_readable(table, &is_readable);
	if (!is_readable ||
		check_enable_rls(table->relid, InvalidOid, true) != RLS_NONE)
		return;

	context = AllocSetContextCreate(CurrentMemoryContext,
									"offline_sync missing rows",
									ALLOCSET_DEFAULT_SIZES);
	oldcontext = MemoryContextSwitchTo(context);
	keys = palloc_extended((Size) nrows * table->nkeys * sizeof(Datum),
						   MCXT_ALLOC_HUGE);
	modes = value_modes_begin();
	is_rekeyed = table_version_has_rekeyed(table);
	for (int i = 0; i < nrows; i++)
	{
		Datum	   *key = keys + (Size) i * table->nkeys;

		/* of an older type: it may be spelt otherwise now, so it is tried for */
		if (!is_rekeyed)
			row_key_decode(table, refs[i].key_bytes, refs[i].key_len, key);
		else if (row_key_try_decode(table, refs[i].key_bytes, refs[i].key_len,
									key) == KEY_IS_FOREIGN)
		{
			value_modes_end(modes);
			MemoryContextSwitchTo(oldcontext);
			MemoryContextDelete(context);
			return;
		}
	}
	value_modes_end(modes);

	memset(is_missing, true, nrows * sizeof(bool));
	/* what the statement wrote counts, in whose trigger we may be */
	CommandCounterIncrement();
	SPI_connect();
	PushActiveSnapshot(GetLatestSnapshot());
	row_fetch(table, NULL, ROW_FETCH_READ, nrows, keys, row_found, is_missing);
	PopActiveSnapshot();
	SPI_finish();
	MemoryContextSwitchTo(oldcontext);
	MemoryContextDelete(context);
}

static void
row_found(void *arg, int ordinal, Datum clock, bool clock_isnull,
		  Datum *values, bool *isnull)
{
	((bool *) arg)[ordinal] = false;
}

/*
 * A batch failed because a row that some of it refers to is missing: set aside
 * the units that refer by the same foreign key to a row that neither is there
 * nor is made by the batch.  They are tried when the rest is done.  True: there
 * are such, and there is a rest.
 */
bool
apply_set_aside(ApplyState *state, const ErrorData *edata)
{
	ParentReference reference;
	RowRef	   *refs;
	int		   *changes;
	bool	   *is_missing;
	int			n;
	int			naside = 0;
	int			nleft = 0;

	if (!state->may_set_aside || state->any_triggers ||
		edata->sqlerrcode != ERRCODE_FOREIGN_KEY_VIOLATION ||
		!apply_parent_reference(state, edata, &reference))
		return false;

	refs = MemoryContextAllocHuge(state->context, state->nchanges * sizeof(RowRef));
	changes = MemoryContextAllocHuge(state->context, state->nchanges * sizeof(int));
	n = find_parents(state, &reference, refs, changes);
	is_missing = palloc(Max(n, 1) * sizeof(bool));
	apply_find_missing(reference.parent->table_id, n, refs, is_missing);
	for (int i = 0; i < n; i++)
	{
		if (is_missing[i] && !state->changes[changes[i]].is_refused)
		{
			apply_defer_unit(state, state->changes[changes[i]].unit, -1);
			naside++;
		}
	}
	for (int i = 0; i < state->nchanges; i++)
		nleft += !state->changes[i].is_refused;
	pfree(refs);
	pfree(changes);
	pfree(is_missing);
	return naside > 0 && nleft > 0;
}

/* The rows that changes refer to, but for those that the delta itself makes. */
static int
find_parents(ApplyState *state, const ParentReference *reference, RowRef *refs,
			 int *changes)
{
	HTAB	   *inserted = NULL;
	int			n = 0;
	int			modes = value_modes_begin();

	for (int i = 0; i < state->nchanges; i++)
	{
		const ApplyChange *change = &state->changes[i];

		if (!change->is_refused && change->table == reference->parent &&
			change->delta.kind == DELTA_CHANGE_INSERT)
		{
			if (inserted == NULL)
				inserted = apply_make_row_set(state->batch_context);
			(void) hash_search(inserted, &change->ref, HASH_ENTER, NULL);
		}
	}
	for (int i = 0; i < state->nchanges; i++)
	{
		ApplyChange *change = &state->changes[i];

		CHECK_FOR_INTERRUPTS();
		if (change->is_refused || change->table != reference->child ||
			change->delta.kind == DELTA_CHANGE_DELETE ||
			!apply_parent_key(change, reference, &refs[n]) ||
			(inserted != NULL &&
			 hash_search(inserted, &refs[n], HASH_FIND, NULL) != NULL))
			continue;
		changes[n++] = i;
	}
	value_modes_end(modes);
	return n;
}
