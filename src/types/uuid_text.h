/*-------------------------------------------------------------------------
 *
 * uuid_text.h
 *	  Reading and writing uuids without raising and without a terminator.
 *
 * The server's uuid_in raises, which the parsers of the types must not.  The
 * same spellings are accepted: 32 hex digits of either case, a hyphen after any
 * group of four, braces around the whole.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OFFLINE_SYNC_UUID_TEXT_H
#define OFFLINE_SYNC_UUID_TEXT_H

#include "utils/uuid.h"

#define UUID_TEXT_LEN		36	/* canonical form, without a terminator */

/* The value of a hex digit of either case, or -1. */
static inline int
hex_digit(unsigned char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Read a uuid from exactly len bytes.  False where they are not one. */
static inline bool
uuid_text_parse(const char *str, int len, pg_uuid_t *uuid)
{
	const char *end = str + len;
	int			i;

	if (len >= 2 && str[0] == '{')
	{
		if (*--end != '}')
			return false;
		str++;
	}
	for (i = 0; i < UUID_LEN; i++)
	{
		int			high,
					low;

		if (end - str < 2 || (high = hex_digit(str[0])) < 0 ||
			(low = hex_digit(str[1])) < 0)
			return false;
		uuid->data[i] = (unsigned char) (high << 4 | low);
		str += 2;
		if (i % 2 == 1 && i < UUID_LEN - 1 && str < end && *str == '-')
			str++;
	}
	return str == end;
}

/* Write the canonical form, UUID_TEXT_LEN bytes, no terminator; returns the end. */
static inline char *
uuid_text_put(char *p, const pg_uuid_t *uuid)
{
	static const char digits[] = "0123456789abcdef";
	int			i;

	for (i = 0; i < UUID_LEN; i++)
	{
		if (i == 4 || i == 6 || i == 8 || i == 10)
			*p++ = '-';
		*p++ = digits[uuid->data[i] >> 4];
		*p++ = digits[uuid->data[i] & 0x0F];
	}
	return p;
}

#endif							/* OFFLINE_SYNC_UUID_TEXT_H */
