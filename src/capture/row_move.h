/*-------------------------------------------------------------------------
 *
 * row_move.h
 *	  Rows on their way from one partition to another.  Private to this room.
 *
 * PostgreSQL carries an UPDATE that changes a row's partition out as a DELETE
 * and an INSERT, and fires the triggers of all three.  The UPDATE's trigger does
 * what is to be done; the other two have to recognise that they are part of it.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OFFLINE_SYNC_ROW_MOVE_H
#define OFFLINE_SYNC_ROW_MOVE_H

#include "capture/captured_row.h"

/* Will this new version of a row of a partition have to move?  changes: the
 * columns that differ from the old one. */
extern bool row_move_is_due(CapturedRelation *cr, Relation partition,
							const Bitmapset *changes, TupleTableSlot *new_slot);

/* Remember a row that is about to move: where it was, how it will be, and its
 * clock. */
extern void row_move_begin(const CapturedRelation *cr, HeapTuple old_tuple,
						   TupleTableSlot *new_slot, const RowClock *clock);

/* Is this the deletion of the moving row? */
extern bool row_move_is_deletion(const CapturedRelation *cr,
								 HeapTuple old_tuple);

/*
 * The clock of the moving row where this is its insertion, else NULL; *changes: the
 * columns that triggers changed on the way.
 */
extern RowClock *row_move_take(const CapturedRelation *cr,
							   TupleTableSlot *slot, Bitmapset **changes);

#endif							/* OFFLINE_SYNC_ROW_MOVE_H */
