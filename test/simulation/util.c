/*-------------------------------------------------------------------------
 *
 * util.c
 *	  Memory, text and random numbers.
 *
 * The generator is splitmix64: a run must not depend on the C library's.
 *
 *-------------------------------------------------------------------------
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "simulation.h"

#define BLOCK_SIZE (1 << 20)

typedef struct Block
{
	struct Block *next;
	char		data[];
} Block;

static Block *blocks;
static size_t left;
static char *place;
static uint64_t state;

/* Zeroed memory, until arena_reset(). */
void *
take(size_t size)
{
	void	   *result;

	size = (size + 15) & ~(size_t) 15;
	if (size > left)
	{
		size_t		room = size > BLOCK_SIZE ? size : BLOCK_SIZE;
		Block	   *block = malloc(sizeof(Block) + room);

		if (block == NULL)
		{
			fprintf(stderr, "out of memory\n");
			exit(2);
		}
		block->next = blocks;
		blocks = block;
		place = block->data;
		left = room;
	}
	result = place;
	place += size;
	left -= size;
	return memset(result, 0, size);
}

void
arena_reset(void)
{
	while (blocks != NULL)
	{
		Block	   *next = blocks->next;

		free(blocks);
		blocks = next;
	}
	left = 0;
}

char *
copy(const char *text)
{
	return text == NULL ? NULL : strcpy(take(strlen(text) + 1), text);
}

static void
buf_add_list(Buf *buf, const char *format, va_list args)
{
	va_list		again;
	int			len;

	va_copy(again, args);
	len = vsnprintf(NULL, 0, format, again);
	va_end(again);
	if (buf->len + len + 1 > buf->size)
	{
		char	   *old = buf->data;

		buf->size = (buf->len + len + 1) * 2 + 64;
		buf->data = take(buf->size);
		if (buf->len > 0)
			memcpy(buf->data, old, buf->len);
	}
	vsnprintf(buf->data + buf->len, len + 1, format, args);
	buf->len += len;
}

void
buf_add(Buf *buf, const char *format,...)
{
	va_list		args;

	va_start(args, format);
	buf_add_list(buf, format, args);
	va_end(args);
}

char *
form(const char *format,...)
{
	Buf			buf = {0};
	va_list		args;

	va_start(args, format);
	buf_add_list(&buf, format, args);
	va_end(args);
	return buf.data;
}

char *
quote(const char *text)
{
	char	   *result;
	char	   *p;

	if (text == NULL)
		return "NULL";
	result = p = take(strlen(text) * 2 + 3);
	*p++ = '\'';
	for (; *text; text++)
	{
		if (*text == '\'')
			*p++ = '\'';
		*p++ = *text;
	}
	*p = '\'';
	return result;
}

static uint64_t
random_next(void)
{
	uint64_t	z = (state += UINT64_C(0x9E3779B97F4A7C15));

	z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
	return z ^ (z >> 31);
}

/* Twice through the generator, or one seed's numbers would be the next one's, shifted. */
void
random_start(uint64_t seed)
{
	state = seed;
	state = random_next();
	state = random_next();
}

/* A number from 0 to n - 1. */
int
below(int n)
{
	return (int) (random_next() % (uint64_t) n);
}

bool
chance(int percent)
{
	return below(100) < percent;
}
