/*-------------------------------------------------------------------------
 *
 * change_log.h
 *	  The change log: where to look, never what is true.  One entry says that
 *	  a row, in a scope, was written at a position.
 *
 * Entries are collected in the backend and written in parts of at most
 * CHANGE_LOG_PART entries, at the latest just before commit.  (node, xid, part)
 * groups them, so that a reader can page through a huge transaction.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OFFLINE_SYNC_CHANGE_LOG_H
#define OFFLINE_SYNC_CHANGE_LOG_H

#include "utils/snapshot.h"

#define CHANGE_LOG_PART		1000

/* table_id of entries that are not about a row: enabling of a table or a grant.
 * Their key is free. */
#define CHANGE_LOG_EVENT	0

/*
 * Record that a row was written by the current transaction; key as row_key.h
 * encodes it.  scope NULL with CHANGE_LOG_EVENT: an event that concerns every
 * scope (a table was enabled).  A row in no scope (scope column NULL) is not
 * logged: do not call.  Forgotten again when the subtransaction aborts.
 */
extern void change_log_add(const char *scope, int32 table_id,
						   const char *key, int keylen);

/* A row, in a scope, that was logged */
typedef struct LoggedRow
{
	int32		table_id;
	const char *scope;
	const char *key;
	int			keylen;
} LoggedRow;

/*
 * Watch what is logged between begin and end, which are called in the same
 * subtransaction; an error ends the watch, too.  The result is the number of
 * entries (rows, once for each scope).  Where it is less than CHANGE_LOG_PART,
 * *rows has them all, *nrows, sorted by table and key, palloc'd; else, or where
 * they take very much memory, *nrows is less than the result and they are not all.
 */
extern void change_log_watch_begin(void);
extern int64 change_log_watch_end(LoggedRow **rows, int *nrows);

/*
 * Record a deletion: the tombstone replaces an older one of the same key.  The
 * deletes of that one's floor which the clock's maker did not know of are taken
 * over; known_to: he knew of those that this node stored before that position
 * (PG_UINT64_MAX: of all).  scope NULL: in none.  image: the last row,
 * {"<column id>": text or null}; NULL where the row never was, JSON null where it
 * is not to be known any more.  Does not log.
 */
struct RowClock;
extern void tombstone_put(int32 table_id, const char *key, int keylen,
						  const char *scope, const struct RowClock *clock,
						  uint64 known_to, Datum image, bool image_isnull);

/* The same with a packed clock, a varlena with a header of 4 bytes */
extern void tombstone_put_packed(int32 table_id, const char *key, int keylen,
								 const char *scope, struct varlena *clock,
								 uint64 known_to, Datum image,
								 bool image_isnull);

/* Remove the tombstone of a key: the row came back and holds its floor.  known_to: a
 * tombstone that this node stored from that position on was not known, and stays beside
 * the row. */
extern void tombstone_remove(int32 table_id, const char *key, int keylen,
							 uint64 known_to);

typedef struct Tombstone
{
	bool		found;
	char	   *scope;			/* NULL: in none */
	struct RowClock *clock;
	Datum		image;			/* jsonb */
	bool		image_isnull;
	bool		is_purged;		/* there was an image; it is not to be known */
	int32		node;			/* position of the latest delete */
	uint64		xid;
} Tombstone;

/*
 * Fetch the tombstones of nkeys keys into result[]; under the given snapshot (collected
 * ones are flushed first if the transaction may write).  palloc'd.
 */
extern void tombstone_fetch(int32 table_id, int nkeys, const char *const *keys,
							const int *keylens, Snapshot snapshot,
							Tombstone *result);

typedef struct ChangeLogEntry
{
	uint64		xid;
	int32		part;
	int32		table_id;
	const char *key;			/* valid until the next entry */
	int			keylen;
} ChangeLogEntry;

typedef struct ChangeLogScan ChangeLogScan;

/*
 * The entries of one scope (NULL: events for all scopes) and node with
 * from_xid <= xid <= to_xid that the snapshot sees, ascending by (xid, part); those
 * of the first xid only from from_part on.  An index scan.
 */
extern ChangeLogScan *change_log_scan_begin(const char *scope, int32 node,
											uint64 from_xid, int32 from_part,
											uint64 to_xid, Snapshot snapshot);
extern bool change_log_scan_next(ChangeLogScan *scan, ChangeLogEntry *entry);
extern void change_log_scan_end(ChangeLogScan *scan);

/* The largest position in a scope (NULL: events) that the snapshot sees; 0: none. */
extern uint64 change_log_max_xid(const char *scope, int32 node, Snapshot snapshot);

/* The largest position that a node stored in any scope, removed entries included;
 * steps through the scopes in the index. */
extern uint64 change_log_final_xid(int32 node, Snapshot snapshot);

/*
 * What a node stored with from_xid <= xid <= to_xid that the snapshot sees, in all
 * scopes, ascending by xid; a scope may be told of several times.  scope NULL: an event
 * for all.  event: the key of an event, terminated; NULL: a row was written.  Both valid
 * during the call.  Returns the largest xid, 0: there is none.
 */
typedef void (*ChangeLogCallback) (void *arg, const char *scope, const char *event);

extern uint64 change_log_recent(int32 node, uint64 from_xid, uint64 to_xid,
								Snapshot snapshot, ChangeLogCallback callback,
								void *arg);

/* So many scopes are looked into one by one; of more it is asked first which of them
 * were written to. */
#define CHANGE_LOG_FEW_SCOPES	8

/*
 * The same, if that is no more than max_rows entries of an index, removed ones included;
 * else false, and not all of it was told.
 */
extern bool change_log_is_told(int32 node, uint64 from_xid, uint64 to_xid,
							   int max_rows, Snapshot snapshot,
							   ChangeLogCallback callback, void *arg);

/* The largest position that a node stored in any scope; one look-up. */
extern uint64 change_log_last_xid(int32 node, Snapshot snapshot);

#endif							/* OFFLINE_SYNC_CHANGE_LOG_H */
