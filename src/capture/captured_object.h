/*-------------------------------------------------------------------------
 *
 * captured_object.h
 *	  Who wrote which key of an object that an SQL statement changed.  Private
 *	  to this room.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OFFLINE_SYNC_CAPTURED_OBJECT_H
#define OFFLINE_SYNC_CAPTURED_OBJECT_H

#include "types/row_clock.h"

/*
 * Stamp a column whose keys are merged one by one: the keys that differ, or are
 * missing, have been written now.  Where either value is neither an object nor
 * NULL, or a clock cannot hold as many keys, all of them have.
 */
extern void captured_object_stamp(RowClock *clock, int column_id,
								  Datum old_value, bool old_isnull,
								  Datum new_value, bool new_isnull,
								  const Stamp *stamp);

#endif							/* OFFLINE_SYNC_CAPTURED_OBJECT_H */
