/*-------------------------------------------------------------------------
 *
 * bump.h
 *	  Many small pieces of memory that live as long as a context.
 *
 * A chunk of its own takes 16 bytes besides, and is rounded up to a power of two.
 * Pieces of a bump are taken from blocks, one after the other; they are never
 * freed by themselves, and must not be pfree'd.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OFFLINE_SYNC_BUMP_H
#define OFFLINE_SYNC_BUMP_H

#include "utils/memutils.h"
#include "utils/palloc.h"

#define BUMP_BLOCK_SIZE		(32 * 1024)

typedef struct Bump
{
	MemoryContext context;
	char	   *next;
	Size		left;
} Bump;

static inline void
bump_init(Bump *bump, MemoryContext context)
{
	bump->context = context;
	bump->next = NULL;
	bump->left = 0;
}

/* The context was reset. */
static inline void
bump_reset(Bump *bump)
{
	bump->next = NULL;
	bump->left = 0;
}

/* Large pieces are chunks of their own. */
static inline void *
bump_alloc(Bump *bump, Size size)
{
	void	   *result;

	size = MAXALIGN(size);
	if (size > bump->left)
	{
		if (size > BUMP_BLOCK_SIZE / 8)
			return MemoryContextAllocHuge(bump->context, size);
		bump->next = MemoryContextAlloc(bump->context, BUMP_BLOCK_SIZE);
		bump->left = BUMP_BLOCK_SIZE;
	}
	result = bump->next;
	bump->next += size;
	bump->left -= size;
	return result;
}

static inline void *
bump_alloc0(Bump *bump, Size size)
{
	return memset(bump_alloc(bump, size), 0, size);
}

static inline void *
bump_copy(Bump *bump, const void *data, Size size)
{
	return memcpy(bump_alloc(bump, size), data, size);
}

#endif							/* OFFLINE_SYNC_BUMP_H */
