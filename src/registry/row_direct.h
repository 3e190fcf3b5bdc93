/*-------------------------------------------------------------------------
 *
 * row_direct.h
 *	  Rows of a tracked table by primary key, without a statement.
 *
 * As the worker of logical replication does it: look-ups in the primary key's
 * index, and the executor's functions for single tuples, which see to indexes,
 * constraints, generated columns and AFTER triggers.  That a row which was
 * locked is written where it was found saves the second look-up, and small
 * batches do without an executor's start.
 *
 * Only where it makes no difference to the caller: a plain table without row
 * security for him, rules or triggers of users, in READ COMMITTED.  Privileges
 * are checked as for the statement.  Our own BEFORE trigger is passed by for
 * inserts and updates: the caller hands over the row clock and logs the row.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OFFLINE_SYNC_ROW_DIRECT_H
#define OFFLINE_SYNC_ROW_DIRECT_H

#include "executor/tuptable.h"
#include "nodes/bitmapset.h"
#include "registry/row_fetch.h"
#include "registry/table.h"
#include "storage/itemptr.h"

typedef struct RowDirect RowDirect;

/*
 * Open the table, which the caller has locked (RowExclusiveLock).  NULL where it
 * has to be accessed by statements.  In the current context; after an error the
 * end of the subtransaction closes it.
 */
extern RowDirect *row_direct_begin(SyncTable *t);
extern void row_direct_end(RowDirect *direct);

/*
 * Lock rows FOR NO KEY UPDATE and report them as row_fetch() does.  keys and
 * tids: nrows of them; tids[i] says where the row is, and is invalid where there
 * is none.
 */
extern void row_direct_lock(RowDirect *direct, Bitmapset *columns, int nrows,
							const Datum *keys, ItemPointerData *tids,
							RowFetchCallback callback, void *arg);

/*
 * A group of writes that set the same columns; its constraint triggers fire at
 * the end.  Values: one per member of written, ascending.  *tid: where the row
 * is; afterwards, where its new version is.
 */
extern bool row_direct_can_insert(RowDirect *direct, Bitmapset *written);
extern bool row_direct_can_update(RowDirect *direct, Bitmapset *written);
extern void row_direct_begin_inserts(RowDirect *direct, Bitmapset *written);
extern void row_direct_begin_updates(RowDirect *direct, Bitmapset *written);
extern void row_direct_begin_deletes(RowDirect *direct);

/* Rows may be inserted, and *tid told, as late as at the end of the group.  The slot holds
 * the new row until the next one: what defaults made of it. */
extern TupleTableSlot *row_direct_insert(RowDirect *direct, const Datum *key,
										 Datum clock, const Datum *values,
										 const bool *isnull, ItemPointer tid);

/*
 * False where the row is not there any more.  *old: the row as it was, until the
 * next one.
 */
extern bool row_direct_update(RowDirect *direct, const Datum *key, Datum clock,
							  const Datum *values, const bool *isnull,
							  ItemPointer tid, TupleTableSlot **old);

/* Fires our own trigger. */
extern bool row_direct_delete(RowDirect *direct, const Datum *key,
							  ItemPointer tid);

/* Does anything act on rows that are deleted, such as a foreign key's action? */
extern bool row_direct_acts_on_delete(const RowDirect *direct);
extern void row_direct_end_writes(RowDirect *direct);

/* Is it the violation of the table's primary key? */
extern bool row_direct_is_key_violation(const SyncTable *t,
										const ErrorData *edata);

#endif							/* OFFLINE_SYNC_ROW_DIRECT_H */
