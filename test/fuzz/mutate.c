/*-------------------------------------------------------------------------
 *
 * mutate.c
 *	  Mutation of bytes, repeatable from a seed.
 *
 * Without coverage to guide it, most of what it makes must stay near to what is
 * valid: one to four small changes, and often the same length.
 *
 *-------------------------------------------------------------------------
 */
#include "mutate.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* SplitMix64: Steele, Lea, Flood: "Fast splittable pseudorandom number
 * generators", OOPSLA 2014 */
static uint64_t
next_random(Mutator *m)
{
	uint64_t	z = (m->state += UINT64_C(0x9E3779B97F4A7C15));

	z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
	return z ^ (z >> 31);
}

void
mutator_init(Mutator *m, uint64_t seed)
{
	memset(m, 0, sizeof(*m));
	m->state = seed;
}

size_t
mutator_below(Mutator *m, size_t n)
{
	return n == 0 ? 0 : next_random(m) % n;
}

/* One line of a dictionary: name="token", with \\, \" and \xAB in it. */
static char *
read_token(const char *line)
{
	const char *p = strchr(line, '"');
	char	   *result;
	size_t		n = 0;

	if (line[0] == '#' || p == NULL)
		return NULL;
	result = malloc(strlen(line) + 1);
	for (p++; *p != '\0' && *p != '"' && *p != '\n'; p++)
	{
		unsigned	byte;

		if (p[0] == '\\' && p[1] == 'x' && sscanf(p + 2, "%2x", &byte) == 1 && byte != 0)
		{
			result[n++] = (char) byte;
			p += 3;
			continue;
		}
		if (p[0] == '\\' && p[1] != '\0')
			p++;
		result[n++] = *p;
	}
	result[n] = '\0';
	return result;
}

int
mutator_read_dictionary(Mutator *m, const char *path)
{
	FILE	   *file = fopen(path, "r");
	char		line[1000];

	if (file == NULL)
		return 0;
	while (fgets(line, sizeof(line), file) != NULL)
	{
		char	   *token = read_token(line);

		if (token == NULL)
			continue;
		m->tokens = realloc(m->tokens, (m->ntokens + 1) * sizeof(char *));
		m->tokens[m->ntokens++] = token;
	}
	fclose(file);
	return 1;
}

/* Put n bytes in at a place, as far as there is room. */
static size_t
insert(uint8_t *data, size_t size, size_t max, size_t at, const void *bytes, size_t n)
{
	if (n > max - size)
		n = max - size;
	memmove(data + at + n, data + at, size - at);
	memmove(data + at, bytes, n);
	return size + n;
}

static size_t
change(Mutator *m, uint8_t *data, size_t size, size_t max, const uint8_t *other,
	   size_t other_size)
{
	static const uint8_t special[] = {0, 1, 2, 0x7F, 0x80, 0x81, 0xFE, 0xFF};
	size_t		at = mutator_below(m, size + 1);
	size_t		to = mutator_below(m, size + 1);
	size_t		n = 1 + mutator_below(m, mutator_below(m, 4) == 0 ? 64 : 4);
	uint8_t		piece[64];
	uint8_t		byte = (uint8_t) next_random(m);

	switch (mutator_below(m, 10))
	{
		case 0:					/* a bit */
			if (at < size)
				data[at] ^= 1 << mutator_below(m, 8);
			return size;
		case 1:					/* a byte */
			if (at < size)
				data[at] = byte;
			return size;
		case 2:					/* a byte at the edge of something */
			if (at < size)
				data[at] = special[mutator_below(m, sizeof(special))];
			return size;
		case 3:					/* a little more or less */
			if (at < size)
				data[at] += (int) mutator_below(m, 9) - 4;
			return size;
		case 4:					/* some bytes less */
			if (n > size - at)
				n = size - at;
			memmove(data + at, data + at + n, size - at - n);
			return size - n;
		case 5:					/* a byte more */
			return insert(data, size, max, at, &byte, 1);
		case 6:					/* a piece of itself, in another place */
			if (n > size - at)
				n = size - at;
			memcpy(piece, data + at, n);
			if (byte & 1)
				return insert(data, size, max, to, piece, n);
			if (n > size - to)
				n = size - to;
			memcpy(data + to, piece, n);
			return size;
		case 7:					/* a piece of the other */
			if (other_size == 0)
				return size;
			to = mutator_below(m, other_size);
			if (n > other_size - to)
				n = other_size - to;
			return insert(data, size, max, at, other + to, n);
		case 8:					/* the end of the other instead of its own */
			if (byte % 8 != 0 || other_size == 0)
				return size;
			to = mutator_below(m, other_size);
			return insert(data, at, max, at, other + to, other_size - to);
		default:				/* a token */
			if (m->ntokens == 0)
				return size;
			to = mutator_below(m, m->ntokens);
			return insert(data, size, max, at, m->tokens[to], strlen(m->tokens[to]));
	}
}

size_t
mutate(Mutator *m, uint8_t *data, size_t size, size_t max, const uint8_t *other,
	   size_t other_size)
{
	size_t		n = 1 + mutator_below(m, 4);

	while (n-- > 0)
		size = change(m, data, size, max, other, other_size);
	return size;
}
