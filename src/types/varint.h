/*-------------------------------------------------------------------------
 *
 * varint.h
 *	  Unsigned integers of 1 to 10 bytes: seven bits a byte, low bits first,
 *	  the high bit says that more follow (LEB128).  Only the shortest form is
 *	  accepted, so that equal values have equal bytes.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OFFLINE_SYNC_VARINT_H
#define OFFLINE_SYNC_VARINT_H

#include "lib/stringinfo.h"

#define VARINT_MAX_SIZE		10

/* Write v at p, which has room for VARINT_MAX_SIZE bytes; returns the end. */
static inline char *
varint_put(char *p, uint64 v)
{
	while (v >= 0x80)
	{
		*p++ = (char) (v | 0x80);
		v >>= 7;
	}
	*p++ = (char) v;
	return p;
}

static inline int
varint_size(uint64 v)
{
	int			size = 1;

	while ((v >>= 7) > 0)
		size++;
	return size;
}

static inline void
varint_append(StringInfo buf, uint64 v)
{
	char		bytes[VARINT_MAX_SIZE];

	appendBinaryStringInfo(buf, bytes, varint_put(bytes, v) - bytes);
}

/* Read one at *cursor, not beyond end.  False where it is cut off, too long or
 * not the shortest form; *cursor is then undefined. */
static inline bool
varint_get(const char **cursor, const char *end, uint64 *v)
{
	const unsigned char *p = (const unsigned char *) *cursor;
	uint64		result = 0;
	int			shift = 0;

	for (;;)
	{
		unsigned char byte;

		if (p >= (const unsigned char *) end || shift > 63)
			return false;
		byte = *p++;
		if (shift == 63 && byte > 1)
			return false;
		result |= ((uint64) (byte & 0x7F)) << shift;
		if (!(byte & 0x80))
		{
			if (byte == 0 && shift > 0)
				return false;
			break;
		}
		shift += 7;
	}
	*v = result;
	*cursor = (const char *) p;
	return true;
}

/* Signed integers, small magnitudes first (zigzag). */
static inline uint64
varint_zigzag(int64 v)
{
	return ((uint64) v << 1) ^ (uint64) (v >> 63);
}

static inline int64
varint_unzigzag(uint64 v)
{
	return (int64) (v >> 1) ^ -(int64) (v & 1);
}

#endif							/* OFFLINE_SYNC_VARINT_H */
