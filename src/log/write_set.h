/*-------------------------------------------------------------------------
 *
 * write_set.h
 *	  The writes that an apply is about to make, for the capture trigger to
 *	  recognise them and to give them their row clocks.
 *
 * An apply announces each row that its next statement writes; the trigger takes the
 * announcement when it meets the row, once.  Whatever else is written meanwhile
 * (cascades, users' triggers, the same row again) is not announced and so is the
 * node's own write; an apply may watch for it.  State is local to the backend and
 * gone at the end or abort of the subtransaction that announced it.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OFFLINE_SYNC_WRITE_SET_H
#define OFFLINE_SYNC_WRITE_SET_H

#include "nodes/bitmapset.h"
#include "types/row_clock.h"

typedef struct PlannedWrite
{
	RowClock   *clock;			/* decided; the trigger may add the node's
								 * stamps for columns that other triggers
								 * changed */
	Bitmapset  *written;		/* indexes into SyncTable.columns that the
								 * statement sets */
	bool		is_delete;
	bool		is_taken;
	uint64		known_to;		/* of a delete: as tombstone_put() takes it; 0
								 * unless set */
} PlannedWrite;

/* Announce; key bytes are copied, clock and written must stay until cleared. */
extern PlannedWrite *write_set_add(int32 table_id, const char *key, int keylen,
								   RowClock *clock, Bitmapset *written,
								   bool is_delete);

/* The announcement of a row that has not been taken yet, marking it taken; or
 * NULL. is_delete must match. */
extern PlannedWrite *write_set_take(int32 table_id, const char *key, int keylen,
									bool is_delete);

/* Tell who watches of a row that is written without announcement, as
 * write_set_take() does where it finds none. */
extern void write_set_note_other(int32 table_id, const char *key, int keylen);

/*
 * Have a function called for each row that is written without announcement; NULL:
 * for none.  It is called by the row's trigger, in memory that is short-lived.
 */
typedef void (*WriteSetWatcher) (void *arg, int32 table_id, const char *key,
								 int keylen);
extern void write_set_watch(WriteSetWatcher watcher, void *arg);

/* Is nothing announced? */
extern bool write_set_is_empty(void);

/* Forget all announcements. */
extern void write_set_clear(void);

#endif							/* OFFLINE_SYNC_WRITE_SET_H */
