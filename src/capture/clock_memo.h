/*-------------------------------------------------------------------------
 *
 * clock_memo.h
 *	  What became of the clock of the row before.  Private to this room.
 *
 * The rows of a bulk UPDATE mostly had one clock, have the same columns changed
 * and share a stamp: then they have one clock again.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OFFLINE_SYNC_CLOCK_MEMO_H
#define OFFLINE_SYNC_CLOCK_MEMO_H

#include "nodes/bitmapset.h"
#include "types/row_clock.h"

/* Larger clocks are not kept. */
#define CLOCK_MEMO_SIZE		200

typedef struct ClockMemo
{
	bool		is_delete;		/* what the clocks are for: tombstones */
	int			nmissed;		/* clocks that were made, all in all */
	bool		is_set;
	Bitmapset  *changes;
	int			oldlen;			/* 0: NULL */
	char		old[CLOCK_MEMO_SIZE];	/* as stored, header included */
	Hlc			newest;			/* of the old one's stamps */
	Stamp		stamp;
	union
	{
		struct varlena header;
		char		data[CLOCK_MEMO_SIZE];
	}			made;
} ClockMemo;

/*
 * The new clock of a row whose columns "changes" have changed, if it is known; with
 * the stamp of now.  Good until the next call.
 */
extern RowClockData *clock_memo_find(ClockMemo *memo, Datum old, bool isnull,
									 const Bitmapset *changes);

/* Keep one that was made, in context where there is something to copy. */
extern void clock_memo_keep(ClockMemo *memo, MemoryContext context, Datum old,
							bool isnull, const Bitmapset *changes, Hlc newest,
							const Stamp *stamp, const RowClockData *made);

#endif							/* OFFLINE_SYNC_CLOCK_MEMO_H */
