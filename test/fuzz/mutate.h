/*-------------------------------------------------------------------------
 *
 * mutate.h
 *	  Mutation of bytes, repeatable from a seed.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OFFLINE_SYNC_MUTATE_H
#define OFFLINE_SYNC_MUTATE_H

#include <stddef.h>
#include <stdint.h>

typedef struct Mutator
{
	uint64_t	state;
	char	  **tokens;			/* pieces worth inserting */
	int			ntokens;
} Mutator;

extern void mutator_init(Mutator *m, uint64_t seed);

/* Take the tokens of a dictionary in libFuzzer's form; false: no such file. */
extern int	mutator_read_dictionary(Mutator *m, const char *path);

/* A number from 0 to n - 1. */
extern size_t mutator_below(Mutator *m, size_t n);

/*
 * Change the size bytes at data in a few places, with pieces of another input here
 * and there; there is room for max bytes.  Returns the new size.
 */
extern size_t mutate(Mutator *m, uint8_t *data, size_t size, size_t max,
					 const uint8_t *other, size_t other_size);

#endif							/* OFFLINE_SYNC_MUTATE_H */
