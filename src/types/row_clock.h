/*-------------------------------------------------------------------------
 *
 * row_clock.h
 *	  The stamps of one row, packed: who wrote each column, when, and where
 *	  that write is stored.
 *
 * A row clock distinguishes
 *	 - the columns: column ids 1 .. ncolumns (ids as registered, never attnums)
 *	   each have a stamp, or none where nobody wrote them (a default did);
 *	   columns with a larger id were added after the row was last written and
 *	   have none either;
 *	 - the scope stamp: the write by which the row came into the scope it is in
 *	   (its insertion, or the last change of its scope column).  A device whose
 *	   vector does not cover it does not have the row;
 *	 - the floor: the stamps of the deletes that the row came back from.  In a
 *	   tombstone: of all its deletes, the latest last;
 *	 - the keys, of a column that holds an object whose keys are written one by
 *	   one: the stamps of those that were last written (or removed) by another
 *	   write than the column's base, which speaks for all other keys that are
 *	   there.  A key that is neither there nor among these was never written.
 *
 * Two forms.  Packed (RowClockData) is the SQL value: canonical, so equal
 * clocks have equal bytes; a row written whole by one device takes at most 48
 * bytes in the tuple.  Unpacked (RowClock) is what code works with.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OFFLINE_SYNC_ROW_CLOCK_H
#define OFFLINE_SYNC_ROW_CLOCK_H

#include "fmgr.h"
#include "lib/stringinfo.h"
#include "types/hlc.h"
#include "utils/uuid.h"

#define ROW_CLOCK_FORMAT		1
#define ROW_CLOCK_MAX_COLUMNS	1600	/* MaxHeapAttributeNumber */
#define ROW_CLOCK_MAX_FLOOR		1000
#define ROW_CLOCK_MAX_KEYS		10000	/* in one clock, and bases */
#define ROW_CLOCK_MAX_KEY_SIZE	1024	/* bytes */

/* The provenance of one value.  For a node's own write, replica = node. */
typedef struct Stamp
{
	Hlc			hlc;
	pg_uuid_t	replica;		/* who wrote it */
	pg_uuid_t	node;			/* position: the node that stored it ... */
	uint64		xid;			/* ... in this transaction (xid8) */
} Stamp;

/*
 * Packed: the SQL type row_clock.  After the varlena header, in bytes (v:
 * varint), independent of the machine's byte order; the wire form is a version
 * byte and the same bytes:
 *
 *	byte		format in the high four bits; then, from the lowest bit,
 *				ROW_CLOCK_WHOLE, and flags
 *	v			ncolumns: the largest column id with a stamp
 *
 * WHOLE, one stamp for all columns and the scope, but for the first 0 to 3
 * columns (those of the key), whose number is in the bits from
 * ROW_CLOCK_SKIPPED_SHIFT on; no floor and no keys:
 *	v v v		milliseconds, counter, xid
 *	16 [16]		replica, node (left out with ROW_CLOCK_OWN: replica = node)
 *
 * otherwise (the only flag is ROW_CLOCK_HAS_KEYS; others are zero, and checked):
 *	v 16*		count of uuids, and those, in bytewise order
 *	v			count of stamps, which are sorted by (xid, hlc, replica, node):
 *	v v v v		  replica * count of uuids + node; xid less the one before;
 *				  zigzag(milliseconds less the ones before); counter
 *	v			scope: 0 none, else 1 + index of the stamp
 *	v v*		length of the floor, and the index of each of its stamps
 *	v*			columns 1 .. ncolumns as runs of equal stamps:
 *				  (length - 1) * (count of stamps + 1) + (0 none, 1 + index)
 *	with HAS_KEYS:
 *	v			count of columns with keys, in order of their ids; each:
 *	v v v		  id less the one before; base: 0 none, else 1 + index of the
 *				  stamp; count of keys, which are sorted bytewise; each:
 *	v bytes v		length, key; 2 * index of the stamp + 1 where it was removed
 *
 * A whole clock is 46 bytes until a counter, a xid or the columns outgrow their
 * 1, 5 and 1 bytes: 47 in the tuple with its short varlena header.  The first
 * further stamp adds about 20 bytes, each later one about 12.  The largest
 * clock without keys has 2,601 stamps of 66 bytes, and 1,600 runs of 4: under
 * 200 kB; 10,000 keys of 1 kB with as many stamps make it 11 MB.
 */
typedef struct varlena RowClockData;

#define ROW_CLOCK_WHOLE			0x01
#define ROW_CLOCK_OWN			0x02
#define ROW_CLOCK_HAS_KEYS		0x04
#define ROW_CLOCK_SKIPPED_SHIFT	2	/* with WHOLE */
#define ROW_CLOCK_MAX_SKIPPED	3

#define DatumGetRowClockP(d)	((RowClockData *) PG_DETOAST_DATUM_PACKED(d))
#define RowClockPGetDatum(p)	PointerGetDatum(p)
#define PG_GETARG_ROW_CLOCK_P(n) DatumGetRowClockP(PG_GETARG_DATUM(n))
#define PG_RETURN_ROW_CLOCK_P(p) PG_RETURN_POINTER(p)

#define ROW_CLOCK_NO_STAMP	(-1)

/* The stamp of one key, or of the base, which has len < 0 and sorts first */
typedef struct RowClockKey
{
	int16		column_id;
	int16		stamp;			/* index into stamps */
	bool		is_removed;		/* the key is not in the object */
	int			len;
	const char *data;			/* in the server's encoding */
} RowClockKey;

/*
 * Unpacked.  stamps[] is a pool: pack() keeps only those referred to, and
 * merges equal ones.  row_clock_set and row_clock_set_scope append to it and
 * drop what nothing refers to any more, so an index into it, like a pointer, is
 * good until the clock is next changed.  Everything lives in the context given
 * to row_clock_unpack/create and is grown there, but the arrays need not be
 * chunks of their own: never repalloc or pfree them.
 */
typedef struct RowClock
{
	MemoryContext context;
	int			ncolumns;		/* column ids 1 .. ncolumns are known; packing
								 * leaves out the last ones without stamp */
	int			maxcolumns;
	int16	   *column_stamp;	/* [ncolumns], [id - 1] = index into stamps,
								 * or ROW_CLOCK_NO_STAMP */
	int			scope_stamp;	/* index into stamps, or ROW_CLOCK_NO_STAMP
								 * (only in the tombstone of a row that never
								 * was) */
	int			nstamps;
	int			maxstamps;
	Stamp	   *stamps;
	int			nfloor;
	int			maxfloor;
	Stamp	   *floor;			/* in order of arrival, no two equal */
	int			nkeys;
	RowClockKey *keys;			/* by (column_id, bytes) */
} RowClock;

static inline bool
stamp_equal(const Stamp *a, const Stamp *b)
{
	return a->hlc == b->hlc && a->xid == b->xid &&
		memcmp(&a->replica, &b->replica, UUID_LEN) == 0 &&
		memcmp(&a->node, &b->node, UUID_LEN) == 0;
}

/* Order of two concurrent writes: by hlc, then by replica uuid bytewise.
 * < 0: a loses against b; 0: the same hlc and replica. */
static inline int
stamp_compare(const Stamp *a, const Stamp *b)
{
	if (a->hlc != b->hlc)
		return a->hlc < b->hlc ? -1 : 1;
	return memcmp(&a->replica, &b->replica, UUID_LEN);
}

/* A clock without columns, scope stamp or floor. */
extern RowClock *row_clock_create(MemoryContext context);

/* A clock whose columns 1..ncolumns and scope all have this stamp. */
extern RowClock *row_clock_create_whole(MemoryContext context, int ncolumns,
										const Stamp *stamp);

/* Unpack; raises XX001 where the bytes are damaged. */
extern RowClock *row_clock_unpack(MemoryContext context, const RowClockData *packed);
extern RowClock *row_clock_copy(MemoryContext context, const RowClock *rc);

/* Pack into a new palloc'd varlena (4-byte header), in the current context. */
extern RowClockData *row_clock_pack(const RowClock *rc);

/* The stamp of a column, or NULL.  Valid until the clock is next changed. */
static inline const Stamp *
row_clock_get(const RowClock *rc, int column_id)
{
	if (column_id < 1 || column_id > rc->ncolumns ||
		rc->column_stamp[column_id - 1] == ROW_CLOCK_NO_STAMP)
		return NULL;
	return &rc->stamps[rc->column_stamp[column_id - 1]];
}

static inline const Stamp *
row_clock_scope_stamp(const RowClock *rc)
{
	return rc->scope_stamp == ROW_CLOCK_NO_STAMP ? NULL :
		&rc->stamps[rc->scope_stamp];
}

/* Set a column's stamp (NULL: none), growing ncolumns where needed; columns in
 * between get none.  It is then the stamp of all its keys. */
extern void row_clock_set(RowClock *rc, int column_id, const Stamp *stamp);
extern void row_clock_set_scope(RowClock *rc, const Stamp *stamp);

/* Add to the floor; a stamp equal to one there is not added again. */
extern void row_clock_add_floor(RowClock *rc, const Stamp *stamp);

/* ---- keys (row_clock_keys.c) ---- */

/* A key of an object and its stamp, as code works with them */
typedef struct KeyStamp
{
	const char *data;
	int			len;
	bool		is_removed;
	bool		has_stamp;		/* else nobody wrote it: a default did */
	Stamp		stamp;
} KeyStamp;

/* The keys of a column that have stamps of their own, without the base. */
extern const RowClockKey *row_clock_keys(const RowClock *rc, int column_id,
										 int *nkeys);

/* One of these, or NULL. */
extern const RowClockKey *row_clock_find_key(const RowClockKey *keys, int nkeys,
											 const char *data, int len);

/* The stamp of a column's other keys, or NULL. */
extern const Stamp *row_clock_base(const RowClock *rc, int column_id);

/*
 * Set the stamps of all keys of a column that has a stamp: of all that are in
 * the object, and of all that were removed from it.  keys[] is sorted here,
 * and copied; it must not point into the clock.  The result does not depend on the order or the history: the
 * base is the stamp of most keys in the object, of several such the least.
 * False where that is more than a clock can hold: they then all have the
 * column's own stamp.
 */
extern bool row_clock_set_keys(RowClock *rc, int column_id, KeyStamp *keys,
							   int nkeys);

/* All keys have the column's own stamp. */
extern void row_clock_forget_keys(RowClock *rc, int column_id);

/* The largest hlc of all stamps, the scope's and the floor's included; HLC_MIN
 * where there is none. */
extern Hlc	row_clock_max_hlc(const RowClock *rc);

/* Does any stamp of a column, the scope or the floor lie at this position? (A
 * later write of a column speaks for its keys.) */
extern bool row_clock_has_position(const RowClock *rc, const pg_uuid_t *node,
								   uint64 xid);

/* Unpack len bytes of the packed form, without header.  Returns NULL, or what is
 * wrong with them (a constant sentence, for an error's detail); *result is set
 * only on success.  Bytes that are sound need not be canonical: a door packs
 * again and compares. */
extern const char *row_clock_decode(const char *bytes, Size len,
									MemoryContext context, RowClock **result);

#endif							/* OFFLINE_SYNC_ROW_CLOCK_H */
