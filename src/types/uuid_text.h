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

/*
 * The value of a hex digit of either case, or -1.  By a table, since the digits of a
 * uuid are random, and no processor guesses which of two ways they go.
 */
static inline int
hex_digit(unsigned char c)
{
	static const int8 values['f' + 1] = {
		['0'] = 1, 2, 3, 4, 5, 6, 7, 8, 9, 10,
		['A'] = 11, 12, 13, 14, 15, 16,
		['a'] = 11, 12, 13, 14, 15, 16
	};

	return c < lengthof(values) ? values[c] - 1 : -1;
}

/* Is it spelled with its hyphens, so that every digit has its place? */
static inline bool
uuid_text_is_hyphenated(const char *str, int len)
{
	return len == UUID_TEXT_LEN && str[8] == '-' && str[13] == '-' &&
		str[18] == '-' && str[23] == '-';
}

/* Read a uuid from exactly len bytes.  False where they are not one. */
static inline bool
uuid_text_parse(const char *str, int len, pg_uuid_t *uuid)
{
	static const int8 places[UUID_LEN] = {
		0, 2, 4, 6, 9, 11, 14, 16, 19, 21, 24, 26, 28, 30, 32, 34
	};
	const char *end = str + len;
	int			i;

	if (uuid_text_is_hyphenated(str, len))
	{
		int			all = 0;

		for (i = 0; i < UUID_LEN; i++)
		{
			int			high = hex_digit(str[places[i]]);
			int			low = hex_digit(str[places[i] + 1]);

			all |= high | low;
			uuid->data[i] = (unsigned char) (16 * high + low);
		}
		return all >= 0;
	}

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
