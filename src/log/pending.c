/*-------------------------------------------------------------------------
 *
 * pending.c
 *	  Levels of collected log entries and tombstones: when they are made,
 *	  passed on, written and forgotten.
 *
 * Only what the current subtransaction itself collected may be written from
 * inside it: an entry of an outer one would go with it if it aborts.  A level
 * that is full is written when the next entry comes.  So that a loop of many
 * small subtransactions does not fill their parent, a subtransaction writes
 * its own entries before it commits once the parent has no room for them.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "log/change_log.h"
#include "log/node.h"
#include "log/pending.h"
#include "log/state.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

/* A level is full of either, too, when they take this much memory. */
#define PENDING_MAX_BYTES	(8 * 1024 * 1024)

/* Tombstones that are written at once, more than entries: each batch has to be looked
 * for among those that are stored, and in the order of the keys that takes the less the
 * more there are. */
#define PENDING_MAX_TOMBSTONES	16384

/* ---- backend-local state, void between transactions ---- */

static PendingLevel *top_level = NULL;
static int32 next_part = 0;		/* the number of the next part that is written */

static PendingLevel *level_push(int nest_level);
static bool entries_are_full(const PendingLevel *level, int more);
static bool tombstones_are_full(const PendingLevel *level, int more);
static void level_write(PendingLevel *level, bool with_entries,
						bool with_tombstones);
static void forget_entries(PendingLevel *level);
static void forget_tombstones(PendingLevel *level, const PendingTombstone *held,
							  int nheld);
static void level_delete(PendingLevel *level);
static void level_merge(PendingLevel *into, const PendingLevel *from);
static void pending_init(void);
static void pending_xact_callback(XactEvent event, void *arg);
static void pending_subxact_callback(SubXactEvent event, SubTransactionId subid,
									 SubTransactionId parent, void *arg);

PendingLevel *
pending_top(void)
{
	return top_level;
}

PendingLevel *
pending_level(void)
{
	int			nest_level = GetCurrentTransactionNestLevel();
	PendingLevel *level = top_level;

	if (level == NULL || level->nest_level < nest_level)
		level = level_push(nest_level);
	else
		level_write(level, entries_are_full(level, 0),
					tombstones_are_full(level, 1));
	return level;
}

PendingLevel *
pending_stack(void)
{
	return level_push(GetCurrentTransactionNestLevel());
}

void
pending_unstack(void)
{
	PendingLevel *level = top_level;
	PendingLevel *below = level->parent;

	Assert(level->nest_level == GetCurrentTransactionNestLevel());
	if (below == NULL || below->nest_level < level->nest_level)
		return;					/* it is the subtransaction's only one */
	level_write(below, entries_are_full(below, level->nentries),
				tombstones_are_full(below, level->ntombstones));
	level_merge(below, level);
	top_level = below;
	level_delete(level);
}

static PendingLevel *
level_push(int nest_level)
{
	PendingLevel *level;

	pending_init();
	(void) sync_node_id();		/* fix the identity, register it if need be */
	level = MemoryContextAllocZero(TopTransactionContext, sizeof(PendingLevel));
	level->entry_context = AllocSetContextCreate(TopTransactionContext,
												 "offline_sync pending",
												 ALLOCSET_DEFAULT_SIZES);
	level->nest_level = nest_level;
	level->parent = top_level;
	top_level = level;
	return level;
}

void
pending_index_add(MemoryContext context, PendingIndex *index,
				  const void *members, Size size, int nmembers)
{
	int			first = nmembers - 1;
	int			i;

	if (index->nslots < 2 * nmembers)
	{
		if (index->slots != NULL)
			pfree(index->slots);
		index->nslots = Max(32, 2 * index->nslots);
		index->slots = MemoryContextAllocZero(context,
											  index->nslots * sizeof(int));
		first = 0;
	}
	for (i = first; i < nmembers; i++)
	{
		uint32		probe = *(const uint32 *) ((const char *) members + i * size);

		while (index->slots[probe & (index->nslots - 1)] != 0)
			probe++;
		index->slots[probe & (index->nslots - 1)] = i + 1;
	}
}

/* Is there no room for so many more? */
static bool
entries_are_full(const PendingLevel *level, int more)
{
	return level->nentries + more > CHANGE_LOG_PART - 1 ||
		MemoryContextMemAllocated(level->entry_context, false) > PENDING_MAX_BYTES;
}

static bool
tombstones_are_full(const PendingLevel *level, int more)
{
	return level->ntombstones > 0 &&
		(level->ntombstones + more > PENDING_MAX_TOMBSTONES ||
		 MemoryContextMemAllocated(level->tombstone_context, false) > PENDING_MAX_BYTES);
}

static void
level_write(PendingLevel *level, bool with_entries, bool with_tombstones)
{
	MemoryContext context;
	MemoryContext old_context;
	PendingTombstone *held = NULL;
	int			nheld = 0;
	int32		node;
	uint64		xid;

	with_entries &= level->nentries > 0;
	with_tombstones &= level->ntombstones > 0;
	if (!with_entries && !with_tombstones)
		return;

	context = AllocSetContextCreate(CurrentMemoryContext,
									"offline_sync pending write",
									ALLOCSET_DEFAULT_SIZES);
	old_context = MemoryContextSwitchTo(context);
	PushActiveSnapshot(GetLatestSnapshot());
	node = sync_node_id();
	xid = U64FromFullTransactionId(GetTopFullTransactionId());
	if (with_entries)
		change_log_write(level, node, xid, next_part++);
	if (with_tombstones)
		nheld = tombstone_write(level, node, xid, &held);
	PopActiveSnapshot();
	CommandCounterIncrement();
	if (with_entries)
		forget_entries(level);
	if (with_tombstones)
		forget_tombstones(level, held, nheld);
	MemoryContextSwitchTo(old_context);
	MemoryContextDelete(context);
}

static void
forget_entries(PendingLevel *level)
{
	level->nwritten += level->nentries;
	level->nentries = level->maxentries = 0;
	level->entries = NULL;
	memset(&level->entry_index, 0, sizeof(PendingIndex));
	MemoryContextReset(level->entry_context);
}

/* All but some */
static void
forget_tombstones(PendingLevel *level, const PendingTombstone *held, int nheld)
{
	MemoryContext old_content = level->tombstone_context;
	int			i;

	level->ntombstones = level->maxtombstones = 0;
	level->tombstones = NULL;
	memset(&level->tombstone_index, 0, sizeof(PendingIndex));
	level->tombstone_context = NULL;
	for (i = 0; i < nheld; i++)
		tombstone_collect(level, &held[i]);
	MemoryContextDelete(old_content);
}

static void
level_delete(PendingLevel *level)
{
	MemoryContextDelete(level->entry_context);
	if (level->tombstone_context != NULL)
		MemoryContextDelete(level->tombstone_context);
	pfree(level);
}

/* Pass on what a subtransaction collected. */
static void
level_merge(PendingLevel *into, const PendingLevel *from)
{
	int			i;

	for (i = 0; i < from->nentries; i++)
		change_log_collect(into, &from->entries[i]);
	for (i = 0; i < from->ntombstones; i++)
		tombstone_collect(into, &from->tombstones[i]);
	into->nwritten += from->nwritten;
}

static void
pending_init(void)
{
	static bool is_initialized = false;

	if (is_initialized)
		return;
	RegisterXactCallback(pending_xact_callback, NULL);
	RegisterSubXactCallback(pending_subxact_callback, NULL);
	is_initialized = true;
}

static void
pending_xact_callback(XactEvent event, void *arg)
{
	switch (event)
	{
		case XACT_EVENT_PRE_COMMIT:
		case XACT_EVENT_PRE_PREPARE:
			/* nothing to write to where the extension has just been dropped */
			if (top_level != NULL && OidIsValid(state_find("change_log")))
				level_write(top_level, true, true);
			break;
		case XACT_EVENT_COMMIT:
		case XACT_EVENT_PREPARE:
		case XACT_EVENT_ABORT:
			top_level = NULL;	/* freed with TopTransactionContext */
			next_part = 0;
			break;
		default:
			break;
	}
}

static void
pending_subxact_callback(SubXactEvent event, SubTransactionId subid,
						 SubTransactionId parent_subid, void *arg)
{
	int			nest_level = GetCurrentTransactionNestLevel();
	PendingLevel *level = top_level;
	PendingLevel *parent;

	if (level == NULL || level->nest_level < nest_level)
		return;
	parent = level->parent;

	switch (event)
	{
		case SUBXACT_EVENT_PRE_COMMIT_SUB:
			if (parent != NULL && parent->nest_level == nest_level - 1)
				level_write(level, entries_are_full(parent, level->nentries),
							tombstones_are_full(parent, level->ntombstones));
			break;
		case SUBXACT_EVENT_COMMIT_SUB:
			if (parent == NULL || parent->nest_level < nest_level - 1)
			{
				level->nest_level--;
				break;
			}
			level_merge(parent, level);
			/* FALLTHROUGH */
		case SUBXACT_EVENT_ABORT_SUB:
			while (top_level != NULL && top_level->nest_level >= nest_level)
			{
				level = top_level;
				top_level = level->parent;
				level_delete(level);
			}
			break;
		default:
			break;
	}
}
