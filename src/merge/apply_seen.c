/*-------------------------------------------------------------------------
 *
 * apply_seen.c
 *	  What a device had seen when it made its changes: stamps, positions, and
 *	  tags of sets.
 *
 * Mostly its context tells.  Beyond that it has seen what the answers to its
 * own pushes told it, and tags of other devices count from where their push was
 * stored: both are in the journal, which is asked only where it matters.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "audit/journal.h"
#include "audit/waiting.h"
#include "log/node.h"
#include "merge/apply.h"
#include "types/merge_sort.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

/* the tags that the writer of a remove had seen */
typedef struct SeenTags
{
	ApplyState *state;
	ApplyRow   *row;
	const Stamp *stamp;			/* of the cell; NULL: none */
	OrSetTag   *tags;			/* of other devices, sorted */
	bool	   *is_seen;
	int			ntags;
} SeenTags;

static bool is_node(ApplyState *state, const pg_uuid_t *replica);
static bool tag_is_seen(const OrSetTag *tag, void *arg);
static void find_seen_tags(SeenTags *seen, const OrSet *set,
						   const OrSetItem *items, int nitems);
static bool forgotten_is_seen(ApplyState *state);
static void add_foreign_tags(SeenTags *seen, const OrSetElement *element,
							 int *max);
static int	compare_tags(const void *a, const void *b);
static bool answer_told(ApplyState *state, const Stamp *stamp);
static const OwnPush *own_push_at(ApplyState *state, const pg_uuid_t *node, uint64 xid,
								  const OwnPush *last);
static int	find_own_push(ApplyState *state, uint64 xid);
static int	compare_own_pushes(const void *a, const void *b);
static void load_own_pushes(ApplyState *state);
static void load_late_rows(ApplyState *state);

void
apply_remove_seen_tags(ApplyState *state, ApplyRow *row, const SyncColumn *column,
					   OrSet *set, const OrSetItem *items, int nitems)
{
	SeenTags	seen = {state, row, row_clock_get(row->clock, column->column_id),
	NULL, NULL, 0};

	find_seen_tags(&seen, set, items, nitems);
	orset_remove_all_seen(set, items, nitems, tag_is_seen, &seen);
	if (seen.tags != NULL)
		pfree(seen.tags);
	if (seen.is_seen != NULL)
		pfree(seen.is_seen);
}

/*
 * Which tags of other devices in the set had this device seen?  Those whose push
 * arrived at a position that its context covers.  Asked once per cell, for all.
 */
static void
find_seen_tags(SeenTags *seen, const OrSet *set, const OrSetItem *items,
			   int nitems)
{
	ApplyState *state = seen->state;
	int			max = 0;
	JournalPosition *positions;
	Snapshot	snapshot;

	if (items == NULL)
	{
		for (int i = 0; i < set->nelements; i++)
			add_foreign_tags(seen, &set->elements[i], &max);
	}
	for (int i = 0; i < nitems; i++)
	{
		int			place = orset_find(set, items[i].data, items[i].len);

		if (place >= 0)
			add_foreign_tags(seen, &set->elements[place], &max);
	}
	if (seen->ntags == 0)
		return;

	merge_sort(seen->tags, seen->ntags, sizeof(OrSetTag), compare_tags);
	positions = palloc0(seen->ntags * sizeof(JournalPosition));
	seen->is_seen = palloc(seen->ntags * sizeof(bool));
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	journal_tag_positions(seen->ntags, seen->tags, snapshot, positions);
	UnregisterSnapshot(snapshot);

	for (int i = 0; i < seen->ntags; i++)
	{
		if (positions[i].node == 0)
			seen->is_seen[i] = forgotten_is_seen(state);
		else
			seen->is_seen[i] = seen->row->is_scope_seen &&
				vv_covers_counter(state->seen,
								  sync_node_uuid_by_id(positions[i].node),
								  positions[i].xid);
	}
	pfree(positions);
}

/*
 * Had the device seen every push that the journal no longer knows?  Where it may
 * not have, a tag stays: too much in a set is mended sooner than too little.
 */
static bool
forgotten_is_seen(ApplyState *state)
{
	if (!state->forgotten_loaded)
	{
		MemoryContext oldcontext = MemoryContextSwitchTo(state->context);
		Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());

		state->forgotten = journal_forgotten(snapshot, &state->nforgotten);
		state->forgotten_loaded = true;
		UnregisterSnapshot(snapshot);
		MemoryContextSwitchTo(oldcontext);
	}
	for (int i = 0; i < state->nforgotten; i++)
	{
		if (vv_base_counter(state->seen,
							sync_node_uuid_by_id(state->forgotten[i].node)) <
			state->forgotten[i].xid)
			return false;
	}
	return true;
}

/* An element's tags by other devices */
static void
add_foreign_tags(SeenTags *seen, const OrSetElement *element, int *max)
{
	for (int t = 0; t < element->ntags; t++)
	{
		const OrSetTag *tag = &element->tags[t];

		if (memcmp(&tag->replica, &seen->state->device->uuid, UUID_LEN) == 0 ||
			is_node(seen->state, &tag->replica))
			continue;
		if (seen->ntags == *max)
		{
			*max = Max(16, 2 * *max);
			if (seen->tags == NULL)
				seen->tags = palloc(*max * sizeof(OrSetTag));
			else
				seen->tags = repalloc_huge(seen->tags,
										   (Size) *max * sizeof(OrSetTag));
		}
		seen->tags[seen->ntags++] = *tag;
	}
}

/* Is the replica this database, now or formerly?  Its tags are positions. */
static bool
is_node(ApplyState *state, const pg_uuid_t *replica)
{
	if (state->nodes == NULL)
	{
		MemoryContext oldcontext = MemoryContextSwitchTo(state->context);

		state->nodes = sync_node_list(&state->nnodes);
		MemoryContextSwitchTo(oldcontext);
	}
	for (int i = 0; i < state->nnodes; i++)
	{
		if (memcmp(&state->nodes[i].uuid, replica, UUID_LEN) == 0)
			return true;
	}
	return false;
}

static bool
tag_is_seen(const OrSetTag *tag, void *arg)
{
	SeenTags   *seen = arg;
	ApplyState *state = seen->state;
	OrSetTag   *found;

	if (memcmp(&tag->replica, &state->device->uuid, UUID_LEN) == 0)
		return true;
	found = seen->ntags == 0 ? NULL :
		bsearch(tag, seen->tags, seen->ntags, sizeof(OrSetTag), compare_tags);
	if (found != NULL)
		return seen->is_seen[found - seen->tags];
	if (!seen->row->is_scope_seen)
		return false;
	if (vv_covers_counter(state->seen, &tag->replica, tag->counter))
		return true;

	/* no later than the cell's last write */
	return seen->stamp != NULL && seen->stamp->xid == tag->counter &&
		memcmp(&seen->stamp->node, &tag->replica, UUID_LEN) == 0 &&
		answer_told(state, seen->stamp);
}

static int
compare_tags(const void *a, const void *b)
{
	const OrSetTag *x = a;
	const OrSetTag *y = b;
	int			result = memcmp(&x->replica, &y->replica, UUID_LEN);

	if (result != 0)
		return result;
	return x->counter < y->counter ? -1 : (x->counter > y->counter);
}

bool
apply_stamp_is_seen(ApplyState *state, const ApplyRow *row, const Stamp *stamp)
{
	if (memcmp(&stamp->replica, &state->device->uuid, UUID_LEN) == 0)
		return true;
	return row->is_scope_seen &&
		(apply_side_wrote(state, row, stamp) || apply_write_is_seen(state, stamp));
}

/* As far as its position goes.  */
bool
apply_write_is_seen(ApplyState *state, const Stamp *stamp)
{
	return apply_intent_wrote(state, stamp) || apply_write_is_told(state, stamp);
}

/*
 * The answer to a push told the device what the node wrote on its behalf, but not what
 * else was done in the same transaction: by other devices' pushes, or by SQL before and after.
 */
bool
apply_write_is_told(ApplyState *state, const Stamp *stamp)
{
	if (memcmp(&stamp->replica, &state->device->uuid, UUID_LEN) == 0)
		return true;
	return vv_covers_counter(state->seen, &stamp->node, stamp->xid) ||
		(memcmp(&stamp->replica, &stamp->node, UUID_LEN) == 0 &&
		 answer_told(state, stamp));
}

/* Was a node's write made by a push of this device whose answer it has applied, and
 * which told it everything? */
static bool
answer_told(ApplyState *state, const Stamp *stamp)
{
	for (const OwnPush *push = own_push_at(state, &stamp->node, stamp->xid, NULL);
		 push != NULL; push = own_push_at(state, &stamp->node, stamp->xid, push))
	{
		if (stamp->hlc > push->began && stamp->hlc <= push->ended)
			return true;
	}
	return false;
}

/* Does the context cover a position?  Directly, or because a push of this device was
 * stored there whose answer it has applied. */
bool
apply_position_is_seen(ApplyState *state, const pg_uuid_t *node, uint64 xid)
{
	return vv_covers_counter(state->seen, node, xid) ||
		own_push_at(state, node, xid, NULL) != NULL;
}

/* The first push at a position whose answer was applied and told all, or the next
 * one; NULL: no more. */
static const OwnPush *
own_push_at(ApplyState *state, const pg_uuid_t *node, uint64 xid, const OwnPush *last)
{
	if (!state->own_pushes_loaded)
		load_own_pushes(state);
	for (int i = last == NULL ? find_own_push(state, xid) : last - state->own_pushes + 1;
		 i < state->nown_pushes && state->own_pushes[i].xid == xid; i++)
	{
		if (memcmp(sync_node_uuid_by_id(state->own_pushes[i].node), node,
				   UUID_LEN) == 0)
			return &state->own_pushes[i];
	}
	return NULL;
}

/* The first push at this xid or a larger one. */
static int
find_own_push(ApplyState *state, uint64 xid)
{
	int			low = 0;
	int			high = state->nown_pushes;

	while (low < high)
	{
		int			middle = low + (high - low) / 2;

		if (state->own_pushes[middle].xid < xid)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static int
compare_own_pushes(const void *a, const void *b)
{
	const OwnPush *x = a;
	const OwnPush *y = b;

	return x->xid < y->xid ? -1 : (x->xid > y->xid);
}

/* The device's answered pushes whose positions its context does not cover: the
 * latest ones, since it last pulled. */
static void
load_own_pushes(ApplyState *state)
{
	MemoryContext oldcontext = MemoryContextSwitchTo(state->context);
	JournalScan *scan;
	JournalPosition push;
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	int			max = 16;

	state->own_pushes = palloc(max * sizeof(OwnPush));
	scan = journal_scan_begin(&state->device->uuid, PG_INT64_MAX, snapshot);
	while (journal_scan_next(scan, &push))
	{
		if (vv_covers_counter(state->seen, sync_node_uuid_by_id(push.node),
							  push.xid))
			break;
		if (push.last_seq > state->seen_own_seq || !push.is_told)
			continue;
		if (state->nown_pushes == max)
		{
			max *= 2;
			state->own_pushes = repalloc_huge(state->own_pushes,
											  max * sizeof(OwnPush));
		}
		state->own_pushes[state->nown_pushes].last_seq = push.last_seq;
		state->own_pushes[state->nown_pushes].node = push.node;
		state->own_pushes[state->nown_pushes].xid = push.xid;
		state->own_pushes[state->nown_pushes].began = push.began;
		state->own_pushes[state->nown_pushes].ended = push.ended;
		state->nown_pushes++;
	}
	journal_scan_end(scan);
	UnregisterSnapshot(snapshot);
	merge_sort(state->own_pushes, state->nown_pushes, sizeof(OwnPush),
			   compare_own_pushes);
	state->own_pushes_loaded = true;
	MemoryContextSwitchTo(oldcontext);
}

/*
 * Is the row one that changes of this device waited to be applied to, which came to
 * their end at a position that its context does not cover?
 */
bool
apply_row_is_late(ApplyState *state, const RowRef *ref)
{
	if (state->late_rows == NULL)
		load_late_rows(state);
	return hash_search(state->late_rows, ref, HASH_FIND, NULL) != NULL;
}

static void
load_late_rows(ApplyState *state)
{
	MemoryContext oldcontext = MemoryContextSwitchTo(state->context);
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	int			nnodes;
	SyncNode   *nodes = sync_node_list(&nnodes);

	state->late_rows = apply_make_row_set(state->context);
	for (int i = 0; i < nnodes; i++)
	{
		int			n;
		LateChange *late = late_change_list(&state->device->uuid, nodes[i].id,
											vv_base_counter(state->seen,
															&nodes[i].uuid),
											PG_INT64_MAX, snapshot, &n);

		for (int k = 0; k < n; k++)
		{
			RowRef		ref = {late[k].table_id, late[k].keylen, late[k].key};

			if (ref.table_id != 0 &&
				!vv_covers_counter(state->seen, &nodes[i].uuid, late[k].xid))
				(void) hash_search(state->late_rows, &ref, HASH_ENTER, NULL);
		}
	}
	UnregisterSnapshot(snapshot);
	MemoryContextSwitchTo(oldcontext);
}

bool
apply_grant_is_seen(ApplyState *state, const SyncDeviceScope *scope)
{
	return apply_position_is_seen(state, sync_node_uuid_by_id(scope->granted_node),
								  scope->granted_xid);
}

/* False where that cannot be told: the row is then told whole for nothing. */
bool
apply_kept_own_row(ApplyState *state, const SyncDeviceScope *scope, const Stamp *stamp)
{
	if (scope->granted_xid < stamp->xid &&
		memcmp(sync_node_uuid_by_id(scope->granted_node), &stamp->node, UUID_LEN) == 0)
		return true;
	return apply_grant_is_seen(state, scope);
}
