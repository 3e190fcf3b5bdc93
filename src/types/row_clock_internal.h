/*-------------------------------------------------------------------------
 *
 * row_clock_internal.h
 *	  What the files of row clocks share.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OFFLINE_SYNC_ROW_CLOCK_INTERNAL_H
#define OFFLINE_SYNC_ROW_CLOCK_INTERNAL_H

#include "types/row_clock.h"
#include "types/varint.h"

/* ---- row_clock.c ---- */

/* The index of a stamp in the pool, where it is put if need be. */
extern int	row_clock_intern(RowClock *rc, const Stamp *stamp);

/* Room for n more stamps: interning them will not drop others. */
extern void row_clock_reserve(RowClock *rc, int n);

/* ---- row_clock_keys.c ---- */

/* Make these, which are sorted and refer to the pool, the clock's keys: copied. */
extern void row_clock_put_keys(RowClock *rc, const RowClockKey *keys, int nkeys);

/* qsort order of RowClockKey: by (column, base first, bytes) */
extern int	row_clock_compare_keys(const void *a, const void *b);

/* What is wrong with sorted keys of a clock, or NULL. */
extern const char *row_clock_check_keys(const RowClock *rc,
										const RowClockKey *keys, int nkeys);

/* The packed form: at most so many bytes; rank[] is by index into the pool. */
extern Size row_clock_keys_size(const RowClock *rc);
extern char *row_clock_encode_keys(char *p, const RowClock *rc, const int *rank);
extern const char *row_clock_decode_keys(const char **p, const char *end,
										 RowClock *rc);

/* Read a varint that is not greater than limit. */
static inline bool
row_clock_get_limited(const char **p, const char *end, uint64 limit, uint64 *v)
{
	return varint_get(p, end, v) && *v <= limit;
}

#endif							/* OFFLINE_SYNC_ROW_CLOCK_INTERNAL_H */
