/*-------------------------------------------------------------------------
 *
 * row_clock.c
 *	  The stamps of one row: the packed form, and work on the unpacked one.
 *
 * A row clock is read and written for every row that is captured, merged or
 * served, and it lives in the application's own tuples, so it has to be small
 * and cheap.  Nearly every row was last written as a whole by one replica:
 * that form is 47 bytes in the tuple, is packed without sorting anything and
 * unpacked with one allocation.  The general form (row_clock.h has the layout)
 * names every uuid and every stamp once.  Stamps are sorted by xid, so that
 * their differences are small, and columns are runs of one byte.
 *
 * The packed form is canonical: equal clocks have equal bytes.  So = and hash
 * work on bytes, and every order of arrival of the same deltas ends in the same
 * tuple.  The unpacked form is not: its pool of stamps may hold garbage.
 *
 * Here the bytes are checked for everything that could lead astray (counts,
 * indexes, lengths, what is left over); that they are the canonical ones as
 * well is checked where they come in (row_clock_io.c).
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "compat.h"
#include "types/merge_sort.h"
#include "types/row_clock_internal.h"
#include "types/varint.h"
#include "types/version_vector.h"

/* every column, the scope, the floor and the keys with a stamp of its own */
#define MAX_STAMPS \
	(ROW_CLOCK_MAX_COLUMNS + 1 + ROW_CLOCK_MAX_FLOOR + ROW_CLOCK_MAX_KEYS)
#define MAX_WHOLE_SIZE	(1 + 4 * VARINT_MAX_SIZE + 2 * UUID_LEN)

/* row_clock_set looks this far back for an equal stamp */
#define POOL_LOOKBACK	8

/* A stamp in use while packing, and where it is used from. */
typedef struct UsedStamp
{
	const Stamp *stamp;
	int			source;			/* index into the pool; into the floor, plus
								 * the pool's size */
} UsedStamp;

/* What the general form consists of, sorted. */
typedef struct PackPlan
{
	int			ncolumns;		/* without the last ones that have no stamp */
	int			nstamps;
	UsedStamp  *stamps;			/* distinct */
	int		   *rank;			/* by source: index into stamps */
	int			nuuids;
	pg_uuid_t  *uuids;			/* distinct */
} PackPlan;

/* allocation */
static RowClock *row_clock_alloc(MemoryContext context, int maxcolumns,
								 int maxstamps, int maxfloor);
static void row_clock_compact(RowClock *rc, int room);
static void mark_stamps(const RowClock *rc, int *used);

/* packing */
static bool is_whole(const RowClock *rc, int ncolumns, int *nskipped);
static int	stamped_columns(const RowClock *rc);
static RowClockData *pack_whole(const Stamp *stamp, int ncolumns, int nskipped);
static RowClockData *pack_general(const RowClock *rc, const PackPlan *plan);
static void plan_general(PackPlan *plan, const RowClock *rc, int ncolumns);
static char *put_stamps(char *p, const PackPlan *plan);
static char *put_runs(char *p, const RowClock *rc, const PackPlan *plan);
static int	used_stamp_cmp(const void *a, const void *b);
static int	uuid_cmp(const void *a, const void *b);
static inline bool uuid_equal(const pg_uuid_t *a, const pg_uuid_t *b);
static int	uuid_index(const PackPlan *plan, const pg_uuid_t *uuid);

/* unpacking */
static const char *decode_whole(const char *p, const char *end, int flags,
								int ncolumns, MemoryContext context,
								RowClock **result);
static const char *decode_general(const char *p, const char *end, bool has_keys,
								  int ncolumns, MemoryContext context,
								  RowClock **result);
static bool get_stamps(const char **p, const char *end, uint64 nuuids,
					   const char *uuids, int nstamps, Stamp *stamps);
static bool copy_floor(RowClock *rc, const char *p, const char *end,
					   int nfloor);
static bool get_runs(const char **p, const char *end, RowClock *rc);


RowClock *
row_clock_create(MemoryContext context)
{
	return row_clock_alloc(context, 8, 2, 0);
}

RowClock *
row_clock_create_whole(MemoryContext context, int ncolumns, const Stamp *stamp)
{
	RowClock   *rc;

	if (ncolumns < 0 || ncolumns > ROW_CLOCK_MAX_COLUMNS)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("number of columns %d of a row clock exceeds the maximum allowed (%d)",
						ncolumns, ROW_CLOCK_MAX_COLUMNS)));

	rc = row_clock_alloc(context, ncolumns, 2, 0);
	rc->ncolumns = ncolumns;
	memset(rc->column_stamp, 0, ncolumns * sizeof(int16));
	rc->scope_stamp = 0;
	rc->stamps[0] = *stamp;
	rc->nstamps = 1;
	return rc;
}

RowClock *
row_clock_copy(MemoryContext context, const RowClock *rc)
{
	RowClock   *copy = row_clock_alloc(context, rc->ncolumns, rc->nstamps + 1,
									   rc->nfloor);

	copy->ncolumns = rc->ncolumns;
	memcpy(copy->column_stamp, rc->column_stamp,
		   rc->ncolumns * sizeof(int16));
	copy->scope_stamp = rc->scope_stamp;
	copy->nstamps = rc->nstamps;
	memcpy(copy->stamps, rc->stamps, rc->nstamps * sizeof(Stamp));
	copy->nfloor = rc->nfloor;
	memcpy(copy->floor, rc->floor, rc->nfloor * sizeof(Stamp));
	if (rc->nkeys > 0)
		row_clock_put_keys(copy, rc->keys, rc->nkeys);
	return copy;
}

RowClock *
row_clock_unpack(MemoryContext context, const RowClockData *packed)
{
	RowClock   *rc;
	const char *problem;

	problem = row_clock_decode(VARDATA_ANY(packed), VARSIZE_ANY_EXHDR(packed),
							   context, &rc);
	if (problem != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("stored value of type %s is damaged", "row_clock"),
				 errdetail_internal("%s", problem)));
	return rc;
}

RowClockData *
row_clock_pack(const RowClock *rc)
{
	int			ncolumns = stamped_columns(rc);
	int			nskipped;
	PackPlan	plan;
	RowClockData *result;

	if (is_whole(rc, ncolumns, &nskipped))
		return pack_whole(row_clock_scope_stamp(rc), ncolumns, nskipped);

	plan_general(&plan, rc, ncolumns);
	result = pack_general(rc, &plan);
	pfree(plan.stamps);
	pfree(plan.rank);
	pfree(plan.uuids);
	return result;
}

void
row_clock_set(RowClock *rc, int column_id, const Stamp *stamp)
{
	if (column_id < 1 || column_id > ROW_CLOCK_MAX_COLUMNS)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("column id %d is not between 1 and the maximum allowed (%d)",
						column_id, ROW_CLOCK_MAX_COLUMNS)));

	if (column_id > rc->ncolumns)
	{
		if (column_id > rc->maxcolumns)
		{
			int			maxcolumns = Max(column_id, 2 * rc->maxcolumns);
			int16	   *columns = MemoryContextAlloc(rc->context,
													 maxcolumns * sizeof(int16));

			memcpy(columns, rc->column_stamp, rc->ncolumns * sizeof(int16));
			rc->column_stamp = columns;
			rc->maxcolumns = maxcolumns;
		}
		while (rc->ncolumns < column_id)
			rc->column_stamp[rc->ncolumns++] = ROW_CLOCK_NO_STAMP;
	}

	if (rc->nkeys > 0)
		row_clock_forget_keys(rc, column_id);

	/* what it had is garbage for row_clock_intern, unless it is the same */
	if (stamp == NULL)
		rc->column_stamp[column_id - 1] = ROW_CLOCK_NO_STAMP;
	else
	{
		int			index = row_clock_intern(rc, stamp);

		rc->column_stamp[column_id - 1] = index;
	}
}

void
row_clock_set_scope(RowClock *rc, const Stamp *stamp)
{
	if (stamp == NULL)
		rc->scope_stamp = ROW_CLOCK_NO_STAMP;
	else
	{
		int			index = row_clock_intern(rc, stamp);

		rc->scope_stamp = index;
	}
}

void
row_clock_add_floor(RowClock *rc, const Stamp *stamp)
{
	for (int i = 0; i < rc->nfloor; i++)
	{
		if (stamp_equal(&rc->floor[i], stamp))
			return;
	}

	if (rc->nfloor >= ROW_CLOCK_MAX_FLOOR)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("number of deletes that a row clock remembers exceeds the maximum allowed (%d)",
						ROW_CLOCK_MAX_FLOOR)));

	if (rc->nfloor >= rc->maxfloor)
	{
		int			maxfloor = Max(4, 2 * rc->maxfloor);
		Stamp	   *floor = MemoryContextAlloc(rc->context,
											   maxfloor * sizeof(Stamp));

		memcpy(floor, rc->floor, rc->nfloor * sizeof(Stamp));
		floor[rc->nfloor++] = *stamp;	/* which may be in the old array */
		rc->floor = floor;
		rc->maxfloor = maxfloor;
	}
	else
		rc->floor[rc->nfloor++] = *stamp;
}

Hlc
row_clock_max_hlc(const RowClock *rc)
{
	Hlc			result = HLC_MIN;
	int			last = ROW_CLOCK_NO_STAMP;

	for (int i = 0; i < rc->ncolumns; i++)
	{
		if (rc->column_stamp[i] != last)
		{
			last = rc->column_stamp[i];
			if (last != ROW_CLOCK_NO_STAMP)
				result = Max(result, rc->stamps[last].hlc);
		}
	}
	if (rc->scope_stamp != ROW_CLOCK_NO_STAMP)
		result = Max(result, rc->stamps[rc->scope_stamp].hlc);
	for (int i = 0; i < rc->nfloor; i++)
		result = Max(result, rc->floor[i].hlc);
	for (int i = 0; i < rc->nkeys; i++)
		result = Max(result, rc->stamps[rc->keys[i].stamp].hlc);
	return result;
}

bool
row_clock_has_position(const RowClock *rc, const pg_uuid_t *node, uint64 xid)
{
	int			last = ROW_CLOCK_NO_STAMP;

#define IS_AT(s)	((s).xid == xid && memcmp(&(s).node, node, UUID_LEN) == 0)

	for (int i = 0; i < rc->ncolumns; i++)
	{
		if (rc->column_stamp[i] != last)
		{
			last = rc->column_stamp[i];
			if (last != ROW_CLOCK_NO_STAMP && IS_AT(rc->stamps[last]))
				return true;
		}
	}
	if (rc->scope_stamp != ROW_CLOCK_NO_STAMP &&
		IS_AT(rc->stamps[rc->scope_stamp]))
		return true;
	for (int i = 0; i < rc->nfloor; i++)
	{
		if (IS_AT(rc->floor[i]))
			return true;
	}
	return false;

#undef IS_AT
}

/*
 * An empty clock with room for so much, in one chunk: most clocks are unpacked,
 * looked at, given one stamp more, packed, and thrown away.
 */
static RowClock *
row_clock_alloc(MemoryContext context, int maxcolumns, int maxstamps,
				int maxfloor)
{
	Size		stamps_at = MAXALIGN(sizeof(RowClock));
	Size		floor_at = stamps_at + maxstamps * sizeof(Stamp);
	Size		columns_at = floor_at + maxfloor * sizeof(Stamp);
	char	   *chunk = MemoryContextAlloc(context, columns_at +
										   maxcolumns * sizeof(int16));
	RowClock   *rc = (RowClock *) chunk;

	rc->context = context;
	rc->ncolumns = 0;
	rc->maxcolumns = maxcolumns;
	rc->column_stamp = (int16 *) (chunk + columns_at);
	rc->scope_stamp = ROW_CLOCK_NO_STAMP;
	rc->nstamps = 0;
	rc->maxstamps = maxstamps;
	rc->stamps = (Stamp *) (chunk + stamps_at);
	rc->nfloor = 0;
	rc->maxfloor = maxfloor;
	rc->floor = (Stamp *) (chunk + floor_at);
	rc->nkeys = 0;
	rc->keys = NULL;
	return rc;
}

/*
 * The index of a stamp in the pool, where it is put if it is not among the
 * latest there.  The caller's stamp may point into the pool.  What was stored
 * in the clock by index before may have another index afterwards.
 */
int
row_clock_intern(RowClock *rc, const Stamp *stamp)
{
	Stamp		copy = *stamp;

	for (int i = rc->nstamps - 1; i >= Max(0, rc->nstamps - POOL_LOOKBACK); i--)
	{
		if (stamp_equal(&rc->stamps[i], &copy))
			return i;
	}

	if (rc->nstamps >= rc->maxstamps)
		row_clock_compact(rc, 1);
	rc->stamps[rc->nstamps] = copy;
	return rc->nstamps++;
}

/* Room for n more stamps: interning them will not drop others. */
void
row_clock_reserve(RowClock *rc, int n)
{
	if (rc->maxstamps - rc->nstamps < n)
		row_clock_compact(rc, n);
}

/*
 * Make room in the pool: drop what nothing refers to, and enlarge it if that
 * does not leave half of it free.  Thus a clock that is changed for ever keeps a
 * pool in proportion to its columns and keys, and indexes within int16.
 */
static void
row_clock_compact(RowClock *rc, int room)
{
	int		   *moved = palloc0(Max(rc->nstamps, 1) * sizeof(int));
	int			nkept = 0;

	mark_stamps(rc, moved);
	for (int i = 0; i < rc->nstamps; i++)
	{
		if (moved[i])
		{
			rc->stamps[nkept] = rc->stamps[i];
			moved[i] = nkept++;
		}
	}
	rc->nstamps = nkept;

	for (int i = 0; i < rc->ncolumns; i++)
	{
		if (rc->column_stamp[i] != ROW_CLOCK_NO_STAMP)
			rc->column_stamp[i] = moved[rc->column_stamp[i]];
	}
	if (rc->scope_stamp != ROW_CLOCK_NO_STAMP)
		rc->scope_stamp = moved[rc->scope_stamp];
	for (int i = 0; i < rc->nkeys; i++)
		rc->keys[i].stamp = moved[rc->keys[i].stamp];
	pfree(moved);

	if (2 * nkept >= rc->maxstamps || rc->maxstamps - nkept < room)
	{
		int			maxstamps = Max(4, Max(2 * rc->maxstamps, nkept + room));
		Stamp	   *stamps;

		/* what is kept and what comes is at most twice MAX_STAMPS */
		maxstamps = Min(maxstamps, PG_INT16_MAX);
		stamps = MemoryContextAlloc(rc->context, maxstamps * sizeof(Stamp));
		memcpy(stamps, rc->stamps, nkept * sizeof(Stamp));
		rc->stamps = stamps;
		rc->maxstamps = maxstamps;
	}
}

/* Mark the stamps that columns, scope and keys refer to. */
static void
mark_stamps(const RowClock *rc, int *used)
{
	for (int i = 0; i < rc->ncolumns; i++)
	{
		if (rc->column_stamp[i] != ROW_CLOCK_NO_STAMP)
			used[rc->column_stamp[i]] = 1;
	}
	if (rc->scope_stamp != ROW_CLOCK_NO_STAMP)
		used[rc->scope_stamp] = 1;
	for (int i = 0; i < rc->nkeys; i++)
		used[rc->keys[i].stamp] = 1;
}

/*
 * ---- Packing ----
 */

/* The number of columns up to the last one that has a stamp. */
static int
stamped_columns(const RowClock *rc)
{
	int			n = rc->ncolumns;

	while (n > 0 && rc->column_stamp[n - 1] == ROW_CLOCK_NO_STAMP)
		n--;
	return n;
}

/*
 * Do all columns but the first few and the scope have one stamp, and is there
 * nothing else?
 */
static bool
is_whole(const RowClock *rc, int ncolumns, int *nskipped)
{
	int			same = rc->scope_stamp;
	int			first = 0;

	if (rc->nfloor > 0 || rc->nkeys > 0 ||
		rc->scope_stamp == ROW_CLOCK_NO_STAMP)
		return false;
	while (first < ncolumns && first < ROW_CLOCK_MAX_SKIPPED &&
		   rc->column_stamp[first] == ROW_CLOCK_NO_STAMP)
		first++;
	*nskipped = first;
	for (int i = first; i < ncolumns; i++)
	{
		int			index = rc->column_stamp[i];

		if (index == same)
			continue;
		if (index == ROW_CLOCK_NO_STAMP ||
			!stamp_equal(&rc->stamps[index], &rc->stamps[rc->scope_stamp]))
			return false;
		same = index;
	}
	return true;
}

static RowClockData *
pack_whole(const Stamp *stamp, int ncolumns, int nskipped)
{
	RowClockData *result = palloc(VARHDRSZ + MAX_WHOLE_SIZE);
	char	   *p = VARDATA(result);
	bool		own = memcmp(&stamp->replica, &stamp->node, UUID_LEN) == 0;

	Assert(stamp->xid <= VV_MAX_COUNTER);
	*p++ = (ROW_CLOCK_FORMAT << 4) | ROW_CLOCK_WHOLE |
		(own ? ROW_CLOCK_OWN : 0) | (nskipped << ROW_CLOCK_SKIPPED_SHIFT);
	p = varint_put(p, ncolumns);
	p = varint_put(p, HLC_MS(stamp->hlc));
	p = varint_put(p, HLC_COUNTER(stamp->hlc));
	p = varint_put(p, stamp->xid);
	memcpy(p, &stamp->replica, UUID_LEN);
	p += UUID_LEN;
	if (!own)
	{
		memcpy(p, &stamp->node, UUID_LEN);
		p += UUID_LEN;
	}
	SET_VARSIZE(result, p - (char *) result);
	return result;
}

static RowClockData *
pack_general(const RowClock *rc, const PackPlan *plan)
{
	Size		size = VARHDRSZ + 1 + 5 * VARINT_MAX_SIZE +
	plan->nuuids * UUID_LEN +
	plan->nstamps * 4 * VARINT_MAX_SIZE +
	(rc->nfloor + plan->ncolumns) * VARINT_MAX_SIZE +
	(rc->nkeys > 0 ? row_clock_keys_size(rc) : 0);
	RowClockData *result = palloc(size);
	char	   *p = VARDATA(result);

	*p++ = (ROW_CLOCK_FORMAT << 4) |
		(rc->nkeys > 0 ? ROW_CLOCK_HAS_KEYS : 0);
	p = varint_put(p, plan->ncolumns);
	p = varint_put(p, plan->nuuids);
	memcpy(p, plan->uuids, plan->nuuids * UUID_LEN);
	p += plan->nuuids * UUID_LEN;
	p = put_stamps(p, plan);
	p = varint_put(p, rc->scope_stamp == ROW_CLOCK_NO_STAMP ? 0 :
				   plan->rank[rc->scope_stamp] + 1);
	p = varint_put(p, rc->nfloor);
	for (int i = 0; i < rc->nfloor; i++)
		p = varint_put(p, plan->rank[rc->nstamps + i]);
	p = put_runs(p, rc, plan);
	if (rc->nkeys > 0)
		p = row_clock_encode_keys(p, rc, plan->rank);

	Assert(p - (char *) result <= size);
	SET_VARSIZE(result, p - (char *) result);
	return result;
}

/* Find the distinct stamps in use, and their uuids, and sort them. */
static void
plan_general(PackPlan *plan, const RowClock *rc, int ncolumns)
{
	int			nused = 0;

	plan->ncolumns = ncolumns;
	plan->stamps = palloc((rc->nstamps + rc->nfloor + 1) * sizeof(UsedStamp));
	plan->rank = palloc((rc->nstamps + rc->nfloor + 1) * sizeof(int));

	/* rank first says which of the pool are in use */
	memset(plan->rank, 0, rc->nstamps * sizeof(int));
	mark_stamps(rc, plan->rank);
	for (int i = 0; i < rc->nstamps + rc->nfloor; i++)
	{
		if (i < rc->nstamps && !plan->rank[i])
			continue;
		plan->stamps[nused].stamp = i < rc->nstamps ?
			&rc->stamps[i] : &rc->floor[i - rc->nstamps];
		plan->stamps[nused++].source = i;
	}

	merge_sort(plan->stamps, nused, sizeof(UsedStamp), used_stamp_cmp);
	plan->nstamps = 0;
	for (int i = 0; i < nused; i++)
	{
		if (i == 0 || used_stamp_cmp(&plan->stamps[plan->nstamps - 1],
									 &plan->stamps[i]) != 0)
			plan->stamps[plan->nstamps++] = plan->stamps[i];
		plan->rank[plan->stamps[i].source] = plan->nstamps - 1;
	}

	/* most stamps repeat those of the stamp before, or name the node twice */
	plan->uuids = palloc((2 * plan->nstamps + 1) * sizeof(pg_uuid_t));
	nused = 0;
	for (int i = 0; i < plan->nstamps; i++)
	{
		const Stamp *stamp = plan->stamps[i].stamp;
		const Stamp *last = i == 0 ? NULL : plan->stamps[i - 1].stamp;

		if (last == NULL || !uuid_equal(&stamp->replica, &last->replica))
			plan->uuids[nused++] = stamp->replica;
		if (!uuid_equal(&stamp->node, &stamp->replica) &&
			(last == NULL || !uuid_equal(&stamp->node, &last->node)))
			plan->uuids[nused++] = stamp->node;
	}
	merge_sort(plan->uuids, nused, sizeof(pg_uuid_t), uuid_cmp);
	plan->nuuids = 0;
	for (int i = 0; i < nused; i++)
	{
		if (i == 0 || uuid_cmp(&plan->uuids[plan->nuuids - 1],
							   &plan->uuids[i]) != 0)
			plan->uuids[plan->nuuids++] = plan->uuids[i];
	}
}

static int
uuid_index(const PackPlan *plan, const pg_uuid_t *uuid)
{
	const pg_uuid_t *found;

	for (int i = 0; i < plan->nuuids && i < 4; i++)
	{
		if (uuid_equal(&plan->uuids[i], uuid))
			return i;
	}
	found = bsearch(uuid, plan->uuids, plan->nuuids, sizeof(pg_uuid_t), uuid_cmp);
	return found - plan->uuids;
}

static char *
put_stamps(char *p, const PackPlan *plan)
{
	uint64		xid = 0;
	int64		ms = 0;

	p = varint_put(p, plan->nstamps);
	for (int i = 0; i < plan->nstamps; i++)
	{
		const Stamp *stamp = plan->stamps[i].stamp;
		int			replica = uuid_index(plan, &stamp->replica);
		int			node = uuid_equal(&stamp->node, &stamp->replica) ? replica :
		uuid_index(plan, &stamp->node);

		Assert(stamp->xid <= VV_MAX_COUNTER);
		p = varint_put(p, (uint64) replica * plan->nuuids + node);
		p = varint_put(p, stamp->xid - xid);
		p = varint_put(p, varint_zigzag((int64) HLC_MS(stamp->hlc) - ms));
		p = varint_put(p, HLC_COUNTER(stamp->hlc));
		xid = stamp->xid;
		ms = HLC_MS(stamp->hlc);
	}
	return p;
}

static char *
put_runs(char *p, const RowClock *rc, const PackPlan *plan)
{
	int			length = 0;
	int			current = 0;

	for (int i = 0; i < plan->ncolumns; i++)
	{
		int			index = rc->column_stamp[i];
		int			ref = index == ROW_CLOCK_NO_STAMP ? 0 :
		plan->rank[index] + 1;

		if (length > 0 && ref != current)
		{
			p = varint_put(p, (uint64) (length - 1) * (plan->nstamps + 1) + current);
			length = 0;
		}
		current = ref;
		length++;
	}
	if (length > 0)
		p = varint_put(p, (uint64) (length - 1) * (plan->nstamps + 1) + current);
	return p;
}

/* By xid first: the differences between neighbours are then small. */
static int
used_stamp_cmp(const void *a, const void *b)
{
	const Stamp *sa = ((const UsedStamp *) a)->stamp;
	const Stamp *sb = ((const UsedStamp *) b)->stamp;
	int			cmp;

	if (sa->xid != sb->xid)
		return sa->xid < sb->xid ? -1 : 1;
	cmp = stamp_compare(sa, sb);
	return cmp != 0 ? cmp : memcmp(&sa->node, &sb->node, UUID_LEN);
}

static int
uuid_cmp(const void *a, const void *b)
{
	return memcmp(a, b, UUID_LEN);
}

static inline bool
uuid_equal(const pg_uuid_t *a, const pg_uuid_t *b)
{
	return memcmp(a, b, UUID_LEN) == 0;
}

/*
 * ---- Unpacking ----
 */

const char *
row_clock_decode(const char *bytes, Size len, MemoryContext context,
				 RowClock **result)
{
	const char *p = bytes;
	const char *end = bytes + len;
	uint8		head;
	uint64		ncolumns;

	if (len < 1)
		return "The value is empty.";
	head = (uint8) *p++;
	if (head >> 4 != ROW_CLOCK_FORMAT)
		return "The format is unknown.";
	if (!row_clock_get_limited(&p, end, ROW_CLOCK_MAX_COLUMNS, &ncolumns))
		return "The number of columns is out of range.";

	if (head & ROW_CLOCK_WHOLE)
		return decode_whole(p, end, head & 0x0F, ncolumns, context, result);
	switch (head & 0x0F)
	{
		case 0:
			return decode_general(p, end, false, ncolumns, context, result);
		case ROW_CLOCK_HAS_KEYS:
			return decode_general(p, end, true, ncolumns, context, result);
		default:
			return "Reserved bits are set.";
	}
}

static const char *
decode_whole(const char *p, const char *end, int flags, int ncolumns,
			 MemoryContext context, RowClock **result)
{
	bool		own = (flags & ROW_CLOCK_OWN) != 0;
	int			nskipped = flags >> ROW_CLOCK_SKIPPED_SHIFT;
	uint64		ms;
	uint64		counter;
	uint64		xid;
	RowClock   *rc;
	Stamp	   *stamp;

	if (!row_clock_get_limited(&p, end, HLC_MAX_MS, &ms) ||
		!row_clock_get_limited(&p, end, HLC_MAX_COUNTER, &counter) ||
		!row_clock_get_limited(&p, end, VV_MAX_COUNTER, &xid))
		return "The stamp is out of range.";
	if (end - p != (own ? UUID_LEN : 2 * UUID_LEN))
		return "The length is wrong.";
	if (nskipped > 0 && nskipped >= ncolumns)
		return "The number of columns is out of range.";

	/* room for one stamp more: a write to the row needs it */
	rc = row_clock_alloc(context, ncolumns, 2, 0);
	rc->ncolumns = ncolumns;
	memset(rc->column_stamp, 0, ncolumns * sizeof(int16));
	for (int i = 0; i < nskipped; i++)
		rc->column_stamp[i] = ROW_CLOCK_NO_STAMP;
	rc->scope_stamp = 0;
	rc->nstamps = 1;
	stamp = &rc->stamps[0];
	stamp->hlc = HLC_MAKE(ms, counter);
	stamp->xid = xid;
	memcpy(&stamp->replica, p, UUID_LEN);
	memcpy(&stamp->node, own ? p : p + UUID_LEN, UUID_LEN);
	*result = rc;
	return NULL;
}

static const char *
decode_general(const char *p, const char *end, bool has_keys, int ncolumns,
			   MemoryContext context, RowClock **result)
{
	const char *problem;
	const char *uuids;
	uint64		nuuids;
	uint64		nstamps;
	uint64		nfloor;
	uint64		scope;
	uint64		index;
	RowClock   *rc;
	const char *floor_at;

	if (!row_clock_get_limited(&p, end, 2 * MAX_STAMPS, &nuuids) ||
		nuuids > (end - p) / UUID_LEN)
		return "The number of replicas is out of range.";
	uuids = p;
	p += nuuids * UUID_LEN;
	if (!row_clock_get_limited(&p, end, MAX_STAMPS, &nstamps) ||
		nstamps > (end - p) / 4)
		return "The number of stamps is out of range.";

	/* the floor's stamps are copied out of the pool, once we know how many */
	rc = row_clock_alloc(context, ncolumns, nstamps + 1, 0);
	rc->nstamps = nstamps;
	rc->ncolumns = ncolumns;
	if (!get_stamps(&p, end, nuuids, uuids, nstamps, rc->stamps))
		return "A stamp is out of range.";
	if (!row_clock_get_limited(&p, end, nstamps, &scope))
		return "The scope's stamp is out of range.";
	rc->scope_stamp = (int) scope - 1;

	if (!row_clock_get_limited(&p, end, ROW_CLOCK_MAX_FLOOR, &nfloor))
		return "The length of the floor is out of range.";
	floor_at = p;
	for (uint64 i = 0; i < nfloor; i++)
	{
		if (nstamps == 0 || !row_clock_get_limited(&p, end, nstamps - 1, &index))
			return "A stamp of the floor is out of range.";
	}
	if (!get_runs(&p, end, rc))
		return "The stamps of the columns are out of range.";
	if (has_keys)
	{
		problem = row_clock_decode_keys(&p, end, rc);
		if (problem != NULL)
			return problem;
	}
	if (p != end)
		return "The length is wrong.";

	if (nfloor > 0 && !copy_floor(rc, floor_at, end, nfloor))
		return "A stamp is in the floor twice.";
	*result = rc;
	return NULL;
}

/* Fill the floor from indexes that were checked; false where one is repeated. */
static bool
copy_floor(RowClock *rc, const char *p, const char *end, int nfloor)
{
	bool	   *taken = palloc0(rc->nstamps * sizeof(bool));
	uint64		index;

	rc->floor = MemoryContextAlloc(rc->context, nfloor * sizeof(Stamp));
	rc->maxfloor = nfloor;
	while (rc->nfloor < nfloor && varint_get(&p, end, &index) && !taken[index])
	{
		taken[index] = true;
		rc->floor[rc->nfloor++] = rc->stamps[index];
	}
	pfree(taken);
	return rc->nfloor == nfloor;
}

static bool
get_stamps(const char **p, const char *end, uint64 nuuids, const char *uuids,
		   int nstamps, Stamp *stamps)
{
	uint64		xid = 0;
	int64		ms = 0;

	for (int i = 0; i < nstamps; i++)
	{
		uint64		pair;
		uint64		step;
		uint64		ms_step;
		uint64		counter;

		if (nuuids == 0 ||
			!row_clock_get_limited(p, end, nuuids * nuuids - 1, &pair) ||
			!row_clock_get_limited(p, end, VV_MAX_COUNTER - xid, &step) ||
			!row_clock_get_limited(p, end, 2 * HLC_MAX_MS, &ms_step) ||
			!row_clock_get_limited(p, end, HLC_MAX_COUNTER, &counter))
			return false;
		xid += step;
		ms += varint_unzigzag(ms_step);
		if (ms < 0 || ms > (int64) HLC_MAX_MS)
			return false;
		stamps[i].hlc = HLC_MAKE(ms, counter);
		stamps[i].xid = xid;
		memcpy(&stamps[i].replica, uuids + pair / nuuids * UUID_LEN, UUID_LEN);
		memcpy(&stamps[i].node, uuids + pair % nuuids * UUID_LEN, UUID_LEN);
	}
	return true;
}

/* Fill column_stamp; the runs must cover the columns exactly. */
static bool
get_runs(const char **p, const char *end, RowClock *rc)
{
	uint64		nrefs = rc->nstamps + 1;
	int			column = 0;

	while (column < rc->ncolumns)
	{
		uint64		run;
		int			length;
		int16		index;

		if (!row_clock_get_limited(p, end, (rc->ncolumns - column) * nrefs - 1, &run))
			return false;
		length = run / nrefs + 1;
		index = (int16) (run % nrefs) - 1;
		while (length-- > 0)
			rc->column_stamp[column++] = index;
	}
	return true;
}
