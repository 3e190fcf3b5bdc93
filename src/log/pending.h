/*-------------------------------------------------------------------------
 *
 * pending.h
 *	  What the current transaction has collected for the change log and the
 *	  tombstones and has not written yet.  Private to this room.
 *
 * Kept per subtransaction: what an aborted one collected is forgotten with it,
 * what a committed one collected passes to its parent.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OFFLINE_SYNC_PENDING_H
#define OFFLINE_SYNC_PENDING_H

#include "types/row_clock.h"
#include "utils/jsonb.h"

/* Numbers of array members by hash: open addressing, at most half full. */
typedef struct PendingIndex
{
	uint32		nslots;			/* a power of two, or 0 */
	int		   *slots;			/* member number + 1, or 0 */
} PendingIndex;

typedef struct PendingEntry
{
	uint32		hash;			/* first, for PendingIndex */
	int32		table_id;
	text	   *scope;			/* NULL: none; shared by neighbours */
	bytea	   *key;
} PendingEntry;

/* The last thing that happened to a key's tombstone. */
typedef struct PendingTombstone
{
	uint32		hash;			/* first, for PendingIndex */
	int32		table_id;
	bytea	   *key;
	bool		is_removal;
	text	   *scope;			/* NULL: in none */
	RowClockData *clock;
	uint64		known_to;		/* as tombstone_put() takes it */
	Jsonb	   *image;			/* NULL: none */
} PendingTombstone;

typedef struct PendingLevel
{
	struct PendingLevel *parent;
	int			nest_level;		/* of the subtransaction */

	MemoryContext entry_context;	/* of what is next */
	int			nentries;
	int			maxentries;
	PendingEntry *entries;
	PendingIndex entry_index;
	int64		nwritten;		/* entries that were written out before these */

	MemoryContext tombstone_context;	/* of what is next */
	int			ntombstones;
	int			maxtombstones;
	PendingTombstone *tombstones;
	PendingIndex tombstone_index;
} PendingLevel;

/* The innermost level, of this subtransaction or one around it; or NULL. */
extern PendingLevel *pending_top(void);

/* The current subtransaction's level, made where there is none; written out
 * first where it is full. */
extern PendingLevel *pending_level(void);

/*
 * A level of its own for what is collected from now on in this very
 * subtransaction.  With pending_unstack() it passes to the level below it; an
 * error does away with both.
 */
extern PendingLevel *pending_stack(void);
extern void pending_unstack(void);

/* Enter the last of nmembers members, which begin with their hash. */
extern void pending_index_add(MemoryContext context, PendingIndex *index,
							  const void *members, Size size, int nmembers);

/*
 * Candidates with this hash: start with *probe = hash; the result is a member's
 * number to be compared, or -1.
 */
static inline int
pending_index_next(const PendingIndex *index, uint32 *probe)
{
	if (index->nslots == 0)
		return -1;
	return index->slots[(*probe)++ & (index->nslots - 1)] - 1;
}

/* change_log.c: collect an entry (copied), write a level's */
extern void change_log_collect(PendingLevel *level, const PendingEntry *entry);
extern void change_log_write(PendingLevel *level, int32 node, uint64 xid,
							 int32 part);

/* tombstone.c: collect an operation (copied), write a level's but those held */
extern void tombstone_collect(PendingLevel *level, const PendingTombstone *op);
extern int	tombstone_write(PendingLevel *level, int32 node, uint64 xid,
							PendingTombstone **held);

/* A level's operation on a key, or NULL. */
extern PendingTombstone *tombstone_find_pending(const PendingLevel *level,
												const PendingTombstone *key);

#endif							/* OFFLINE_SYNC_PENDING_H */
