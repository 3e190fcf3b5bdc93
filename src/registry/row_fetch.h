/*-------------------------------------------------------------------------
 *
 * row_fetch.h
 *	  Set-based access to rows of tracked tables by primary key, with the
 *	  caller's own rights.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OFFLINE_SYNC_ROW_FETCH_H
#define OFFLINE_SYNC_ROW_FETCH_H

#include "executor/tuptable.h"
#include "nodes/bitmapset.h"
#include "registry/table.h"

typedef enum RowFetchLock
{
	ROW_FETCH_READ,				/* as the active snapshot sees them */
	ROW_FETCH_LOCK				/* FOR NO KEY UPDATE, latest version: also for
								 * rows to be deleted, so that one lock order
								 * serves */
} RowFetchLock;

/*
 * Called for each row found, in the order of the keys given, under the value modes.  values/isnull: one
 * per column of the fetch (columns' members in ascending order), valid during the
 * call only; clock: the _sync value.
 */
typedef void (*RowFetchCallback) (void *arg, int ordinal, Datum clock,
								  bool clock_isnull, Datum *values, bool *isnull);

/*
 * Fetch rows by key.  keys: nrows * t->nkeys Datums, row by row.  columns: a set of
 * indexes into t->columns (key columns need not be in it).  SPI must be connected, and the current
 * user needs SELECT on key columns, columns and _sync (and UPDATE for locks): the
 * ordinary errors come out.  One statement, its plan kept per (table, columns,
 * lock, user-independent).  Rows that are not there, or that row security hides,
 * are simply not reported.  A READ uses the active snapshot (read_only SPI).
 */
extern void row_fetch(SyncTable *t, Bitmapset *columns, RowFetchLock lock,
					  int nrows, const Datum *keys,
					  RowFetchCallback callback, void *arg);

/* The columns of a table that the current user may SELECT (indexes into
 * t->columns), and whether key and _sync are among what it may read. */
extern Bitmapset *row_fetch_readable(SyncTable *t, bool *is_readable);

#endif							/* OFFLINE_SYNC_ROW_FETCH_H */
