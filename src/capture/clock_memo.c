/*-------------------------------------------------------------------------
 *
 * clock_memo.c
 *	  What became of the clock of the row before.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "capture/clock_memo.h"
#include "compat.h"
#include "log/node.h"
#include "utils/memutils.h"

static int	stored_length(Datum clock, bool isnull);

RowClockData *
clock_memo_find(ClockMemo *memo, Datum old, bool isnull, const Bitmapset *changes)
{
	Stamp		stamp;

	if (!memo->is_set || stored_length(old, isnull) != memo->oldlen ||
		(!isnull && memcmp(memo->old, DatumGetPointer(old), memo->oldlen) != 0) ||
		!bms_equal(memo->changes, changes))
		return NULL;
	sync_node_row_stamp(&stamp, memo->newest, memo->is_delete);
	return stamp_equal(&stamp, &memo->stamp) ? &memo->made.header : NULL;
}

/* Nothing is kept of the first row: a statement may well have only one. */
void
clock_memo_keep(ClockMemo *memo, MemoryContext context, Datum old, bool isnull,
				const Bitmapset *changes, Hlc newest, const Stamp *stamp,
				const RowClockData *made)
{
	int			oldlen = stored_length(old, isnull);

	if (memo->nmissed++ == 0)
		return;
	memo->is_set = oldlen <= CLOCK_MEMO_SIZE && VARSIZE(made) <= CLOCK_MEMO_SIZE;
	if (!memo->is_set)
		return;
	if (!bms_equal(memo->changes, changes))
	{
		MemoryContext oldcontext = MemoryContextSwitchTo(context);

		bms_free(memo->changes);
		memo->changes = bms_copy(changes);
		MemoryContextSwitchTo(oldcontext);
	}
	memo->oldlen = oldlen;
	if (!isnull)
		memcpy(memo->old, DatumGetPointer(old), oldlen);
	memo->newest = newest;
	memo->stamp = *stamp;
	memcpy(&memo->made, made, VARSIZE(made));
}

/* The bytes in the tuple; 0: NULL */
static int
stored_length(Datum clock, bool isnull)
{
	return isnull ? 0 : VARSIZE_ANY(DatumGetPointer(clock));
}
