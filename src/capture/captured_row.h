/*-------------------------------------------------------------------------
 *
 * captured_row.h
 *	  A relation whose writes are captured, and what the log, the tombstones
 *	  and the clock need to know of one of its rows.  Private to this room.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OFFLINE_SYNC_CAPTURED_ROW_H
#define OFFLINE_SYNC_CAPTURED_ROW_H

#include "capture/clock_memo.h"
#include "executor/tuptable.h"
#include "lib/stringinfo.h"
#include "nodes/bitmapset.h"
#include "registry/table.h"
#include "utils/jsonb.h"

/* A tracked table, or one of its partitions, as a statement sees it. */
typedef struct CapturedRelation
{
	SyncTable  *table;
	AttrNumber	clock_attnum;	/* of _sync, here */
	AttrNumber *attnums;		/* [table->ncolumns]; a partition's may differ
								 * from the root's */
	bool		is_watched;		/* a change of a device waits for some row */
	MemoryContext context;		/* all of this */
	ClockMemo	inserted;
	ClockMemo	updated;
	ClockMemo	deleted;
} CapturedRelation;

/* How a row is called in the log. */
typedef struct RowName
{
	StringInfoData key;			/* as row_key.h encodes it */
	char	   *scope;			/* NULL: in none */
} RowName;

/* Describe a relation in context; raises where its trigger's argument is not
 * the id of the table that it is. */
extern CapturedRelation *captured_relation_make(MemoryContext context,
												Relation rel,
												const char *table_id);

/* Name the row in a slot.  False where a key column is NULL: the row cannot be
 * stored. */
extern bool captured_row_name(const CapturedRelation *cr, TupleTableSlot *slot,
							  RowName *name);

/* The row clock in a slot, with NULL made what it stands for. */
extern RowClock *captured_row_clock(const CapturedRelation *cr,
									TupleTableSlot *slot);

/* The columns, as indexes into table->columns, in which two rows differ: neither
 * generated columns nor sets that merely have other tags count. */
extern Bitmapset *captured_row_changes(const CapturedRelation *cr,
									   TupleTableSlot *old_slot,
									   TupleTableSlot *new_slot);

/* {"<column id>": text or null} of all columns, for a tombstone. */
extern Datum captured_row_image(const CapturedRelation *cr,
								TupleTableSlot *slot);

/* A column's value. */
static inline Datum
captured_row_value(const CapturedRelation *cr, TupleTableSlot *slot,
				   int column, bool *isnull)
{
	return slot_getattr(slot, cr->attnums[column], isnull);
}

#endif							/* OFFLINE_SYNC_CAPTURED_ROW_H */
