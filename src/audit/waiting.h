/*-------------------------------------------------------------------------
 *
 * waiting.h
 *	  Changes that wait for the row that they refer to: the state table, and
 *	  what the current transaction wrote that one may have waited for.
 *
 * Rows are written under the lock of their device's row.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OFFLINE_SYNC_WAITING_H
#define OFFLINE_SYNC_WAITING_H

#include "datatype/timestamp.h"
#include "storage/itemptr.h"
#include "types/hlc.h"
#include "utils/snapshot.h"
#include "utils/uuid.h"

typedef struct WaitingChange
{
	pg_uuid_t	device;
	int64		seq;
	int64		unit;			/* seq of the first change of its group */
	pg_uuid_t	reconciliation; /* whose journal row has the change */
	int32		table_id;		/* 0: an intent */
	const char *key;			/* as row_key.h encodes it */
	int			keylen;
	const char *scope;			/* NULL: not known */
	Hlc			hlc;			/* lifted */
	int			schema_version; /* that it was made for; 0: the present one */
	const char *role;			/* who pushed it, by name */
	const char *reason;
	const char *constraint;		/* NULL: none */
	int32		parent_table_id;	/* 0: not known, or not tracked */
	const char *parent_key;		/* NULL: some row of that table */
	int			parent_keylen;
	TimestampTz since;
	TimestampTz expires_at;
	ItemPointerData tid;		/* of what was read */
} WaitingChange;

/* A row that waiting changes refer to; key NULL: some row of the table */
typedef struct AwaitedRow
{
	int32		table_id;
	int			keylen;
	const char *key;
} AwaitedRow;

/* Writing; what is written is visible to the next command.  An update follows the
 * change's tid. */
extern void waiting_insert(const WaitingChange *changes, int nchanges);
extern void waiting_update(WaitingChange *change);
extern void waiting_delete(const WaitingChange *changes, int nchanges);

/* All that waits of a device as of now, in seq order; palloc'd. */
extern WaitingChange *waiting_load(const pg_uuid_t *device, int *nchanges);

/* The devices with changes that wait for one of these rows, or for some row of
 * their tables; palloc'd, without duplicates. */
extern pg_uuid_t *waiting_devices_for(int nrows, const AwaitedRow *rows,
									  int *ndevices);

/* All devices of which something waits; palloc'd. */
extern pg_uuid_t *waiting_devices(int *ndevices);

/* Does a change of the device to this row wait? */
extern bool waiting_has_row(const pg_uuid_t *device, int32 table_id,
							const char *key, int keylen, Snapshot snapshot);

/* How much waits in all, as of now? */
extern int64 waiting_count(void);

/*
 * Rows that the current transaction wrote and for which something waits.
 * waiting_is_watched: does anything wait for rows of this table?  Asked once a
 * transaction; what others store meanwhile may be missed, and waits for the next
 * occasion.  waiting_note_row then remembers a row if it is one.
 */
extern bool waiting_is_watched(int32 table_id);
extern void waiting_note_row(int32 table_id, const char *key, int keylen);

/* The rows noted so far, from a number on (ascending with time); in the transaction's
 * memory. */
extern int	waiting_noted_count(void);
extern AwaitedRow *waiting_noted_since(int first, int *nrows);
extern void waiting_forget_noted(void);

/* ---- what became of them ---- */

/* A change whose end was stored later than the rest of its push */
typedef struct LateChange
{
	pg_uuid_t	device;
	int64		seq;
	int32		node;			/* position */
	uint64		xid;
	int32		table_id;		/* the row; 0: an intent */
	const char *key;
	int			keylen;
} LateChange;

extern void late_change_insert(const LateChange *changes, int nchanges);

/* Where a change was stored, if that was later; false: it was not. */
typedef struct LateChangeProbe LateChangeProbe;

extern LateChangeProbe *late_change_probe_begin(Snapshot snapshot);
extern bool late_change_probe(LateChangeProbe *probe, const pg_uuid_t *device,
							  int64 seq, int32 *node, uint64 *xid);
extern void late_change_probe_end(LateChangeProbe *probe);

/* A device's late changes of a node with lo <= xid <= hi, ascending by xid;
 * palloc'd. */
extern LateChange *late_change_list(const pg_uuid_t *device, int32 node,
									uint64 lo, uint64 hi, Snapshot snapshot,
									int *nchanges);

#endif							/* OFFLINE_SYNC_WAITING_H */
