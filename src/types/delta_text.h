/*-------------------------------------------------------------------------
 *
 * delta_text.h
 *	  Strings that take less room in a delta's bytes: uuids and times.
 *
 * Which strings these are is decided by their letters alone, since a delta knows
 * no types.  Only a spelling that comes back to the letter counts, and such a
 * string has no other form in the bytes, so that equal deltas have equal bytes:
 *
 *	- a uuid, 36 characters in lower case: its 16 bytes;
 *	- a date, or date and time, of the years 1 to 9999 as SQL and as ISO 8601 write them: YYYY-MM-DD;
 *	  then a blank or T, hh:mm:ss, no or one to six digits of a second, nothing,
 *	  Z or +00:
 *		byte		DELTA_TIME_DATE, or digits + 7 * (0, 1 for Z, 2 for +00) +
 *					21 * (1 for T)
 *		varint		zigzag, seconds less the base (days less the base's, of a date)
 *		varint		the digits as a number, where there are any
 *
 * The base is the second of the change's hlc (0 where it has none); within a change,
 * of the time before.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OFFLINE_SYNC_DELTA_TEXT_H
#define OFFLINE_SYNC_DELTA_TEXT_H

#include "types/hlc.h"

/* Kinds in the bytes, besides those of DeltaValueKind */
#define DELTA_KIND_UUID			7
#define DELTA_KIND_TIME			8

#define DELTA_TIME_DATE			42	/* the byte before a date */

/* Room for the longest such string */
#define DELTA_TEXT_SIZE			40

/* Does a number with the digits follow the seconds of a time that begins like this? */
static inline bool
delta_time_has_digits(int first_byte)
{
	return first_byte < DELTA_TIME_DATE && first_byte % 7 > 0;
}

static inline int64
delta_text_base(Hlc hlc)
{
	return (int64) (HLC_MS(hlc) / 1000);
}

/*
 * Write the short form of a string, which has room for the string; sets *kind and
 * *base, and returns the end.  NULL: it has none.
 */
extern char *delta_text_put(char *p, const char *data, int len, int64 *base,
							int *kind);

/*
 * Read one: its length, or -1 where it is not one.  text has room for
 * DELTA_TEXT_SIZE bytes.
 */
extern int	delta_text_get(const char **cursor, const char *end, int kind,
						   int64 *base, char *text);

#endif							/* OFFLINE_SYNC_DELTA_TEXT_H */
