/*-------------------------------------------------------------------------
 *
 * version_vector.c
 *	  Version vectors: reading, comparing, joining and building them.
 *
 * Everything here is pure.  Two vectors are walked side by side like sorted
 * lists, first by replica and then by range, so comparing and joining are linear
 * in their sizes; finding a counter is two binary searches.
 *
 * Vectors in any other order go through a builder.  It keeps what was asked
 * of it as a list of operations and settles them at the end, or when its array
 * is full: sorted by place, the latest operation over a counter decides
 * about it.  That makes adding and taking out n log n however they
 * alternate, and keeps the memory in proportion to the result where the same is
 * added again and again (an aggregate over similar vectors).
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "compat.h"
#include "lib/binaryheap.h"
#include "miscadmin.h"
#include "types/merge_sort.h"
#include "types/version_vector.h"

StaticAssertDecl(sizeof(VersionVector) == VV_HEADER_SIZE,
				 "header of version_vector has padding");
StaticAssertDecl(sizeof(VVEntry) == 24 && sizeof(VVRange) == 16,
				 "version_vector has padding");

/* Add (or take out) a stretch of counters of one replica. */
typedef struct VVOperation
{
	pg_uuid_t	replica;
	uint64		lo;
	uint64		hi;
	int32		rank;			/* order in which it was asked for */
	bool		is_removal;
} VVOperation;

#define BUILDER_START_SIZE	64

struct VVBuilder
{
	MemoryContext context;
	int			noperations;
	int			maxoperations;
	VVOperation *operations;
};

/* The ranges of one entry. */
typedef struct VVRanges
{
	const VVRange *ranges;
	int			n;
} VVRanges;

static int	replica_compare(const pg_uuid_t *a, const pg_uuid_t *b);
static VVRanges ranges_of(const VersionVector *vv, const VVEntry *entry);
static int	range_search(VVRanges r, uint64 counter);
static void ranges_compare(VVRanges a, VVRanges b, bool *a_more, bool *b_more);
static bool ranges_contain(VVRanges outer, VVRanges inner);
static uint32 count_joined_entries(const VersionVector *a, const VersionVector *b);
static int	ranges_join(VVRange *result, VVRanges a, VVRanges b);

static void builder_append(VVBuilder *b, const pg_uuid_t *replica, uint64 lo,
						   uint64 hi, bool is_removal);
static void builder_make_room(VVBuilder *b);
static void builder_settle(VVBuilder *b);
static int	settle_replica(const VVOperation *ops, int n, VVOperation *result);
static int	operation_compare(const void *a, const void *b);
static int	operation_rank_compare(Datum a, Datum b, void *arg);

/*
 * ----------------------------------------------------------------------
 * Reading
 * ----------------------------------------------------------------------
 */

VersionVector *
vv_checked(VersionVector *vv)
{
	Size		size = VARSIZE(vv);

	if (size < VV_HEADER_SIZE || vv->format != VV_FORMAT ||
		vv->reserved[0] != 0 || vv->reserved[1] != 0 || vv->reserved[2] != 0 ||
		vv->nranges > VV_MAX_RANGES || vv->nentries > vv->nranges ||
		size != VV_SIZE(vv->nentries, vv->nranges))
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("stored version vector is damaged")));
	return vv;
}

const VVEntry *
vv_find(const VersionVector *vv, const pg_uuid_t *replica)
{
	const VVEntry *entries = VV_ENTRIES(vv);
	uint32		low = 0,
				high = vv->nentries;

	while (low < high)
	{
		uint32		middle = low + (high - low) / 2;
		int			cmp = replica_compare(&entries[middle].replica, replica);

		if (cmp == 0)
			return &entries[middle];
		if (cmp < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return NULL;
}

bool
vv_covers_counter(const VersionVector *vv, const pg_uuid_t *replica,
				  uint64 counter)
{
	const VVEntry *entry;
	VVRanges	r;
	int			i;

	if (counter == 0)
		return true;
	entry = vv_find(vv, replica);
	if (entry == NULL)
		return false;
	r = ranges_of(vv, entry);
	i = range_search(r, counter);
	return i < r.n && r.ranges[i].lo <= counter;
}

uint64
vv_max_counter(const VersionVector *vv, const pg_uuid_t *replica)
{
	const VVEntry *entry = vv_find(vv, replica);

	if (entry == NULL)
		return 0;
	return VV_RANGES(vv)[entry->first_range + entry->nranges - 1].hi;
}

uint64
vv_base_counter(const VersionVector *vv, const pg_uuid_t *replica)
{
	const VVEntry *entry = vv_find(vv, replica);

	return entry == NULL ? 0 : vv_entry_base(vv, entry);
}

uint64
vv_entry_base(const VersionVector *vv, const VVEntry *entry)
{
	const VVRange *first = VV_RANGES(vv) + entry->first_range;

	return first->lo == 1 ? first->hi : 0;
}

bool
vv_next_gap(const VersionVector *vv, const pg_uuid_t *replica,
			uint64 from, uint64 *lo, uint64 *hi)
{
	const VVEntry *entry = vv_find(vv, replica);

	if (from == 0)
		from = 1;
	*hi = VV_MAX_COUNTER;
	if (entry != NULL)
	{
		VVRanges	r = ranges_of(vv, entry);
		int			i = range_search(r, from);

		/* ranges are not adjacent: behind one there is a gap */
		if (i < r.n && r.ranges[i].lo <= from)
			from = r.ranges[i++].hi + 1;
		if (i < r.n)
			*hi = r.ranges[i].lo - 1;
	}
	*lo = from;
	return from <= VV_MAX_COUNTER;
}

VVOrder
vv_compare(const VersionVector *a, const VersionVector *b)
{
	const VVEntry *ea = VV_ENTRIES(a),
			   *eb = VV_ENTRIES(b);
	const VVEntry *a_end = ea + a->nentries,
			   *b_end = eb + b->nentries;
	bool		a_more = false,
				b_more = false;

	while (ea < a_end && eb < b_end && !(a_more && b_more))
	{
		int			cmp = replica_compare(&ea->replica, &eb->replica);

		if (cmp == 0)
			ranges_compare(ranges_of(a, ea++), ranges_of(b, eb++),
						   &a_more, &b_more);
		else if (cmp < 0)
		{
			a_more = true;
			ea++;
		}
		else
		{
			b_more = true;
			eb++;
		}
	}
	a_more = a_more || ea < a_end;
	b_more = b_more || eb < b_end;

	if (a_more)
		return b_more ? VV_CONCURRENT : VV_AFTER;
	return b_more ? VV_BEFORE : VV_EQUAL;
}

static int
replica_compare(const pg_uuid_t *a, const pg_uuid_t *b)
{
	return memcmp(a->data, b->data, UUID_LEN);
}

static VVRanges
ranges_of(const VersionVector *vv, const VVEntry *entry)
{
	VVRanges	r;

	r.ranges = VV_RANGES(vv) + entry->first_range;
	r.n = entry->nranges;
	return r;
}

/* Index of the first range that does not end before counter; r.n if none. */
static int
range_search(VVRanges r, uint64 counter)
{
	int			low = 0,
				high = r.n;

	while (low < high)
	{
		int			middle = low + (high - low) / 2;

		if (r.ranges[middle].hi < counter)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* Set *a_more where a covers something that b does not, and the other way round. */
static void
ranges_compare(VVRanges a, VVRanges b, bool *a_more, bool *b_more)
{
	if (a.n == b.n && memcmp(a.ranges, b.ranges, a.n * sizeof(VVRange)) == 0)
		return;
	*a_more = *a_more || !ranges_contain(b, a);
	*b_more = *b_more || !ranges_contain(a, b);
}

/* Ranges are maximal, so each inner one must lie in a single outer one. */
static bool
ranges_contain(VVRanges outer, VVRanges inner)
{
	int			i,
				j = 0;

	for (i = 0; i < inner.n; i++)
	{
		while (j < outer.n && outer.ranges[j].hi < inner.ranges[i].hi)
			j++;
		if (j == outer.n || outer.ranges[j].lo > inner.ranges[i].lo)
			return false;
	}
	return true;
}

/*
 * ----------------------------------------------------------------------
 * Making
 * ----------------------------------------------------------------------
 */

void
vv_check_limit(Size nranges)
{
	if (nranges > VV_MAX_RANGES)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("number of intervals in a version vector (%zu) exceeds the maximum allowed (%d)",
						nranges, VV_MAX_RANGES)));
}

VersionVector *
vv_allocate(uint32 nentries, uint32 nranges)
{
	VersionVector *vv = palloc(VV_SIZE(nentries, nranges));

	SET_VARSIZE(vv, VV_SIZE(nentries, nranges));
	vv->format = VV_FORMAT;
	memset(vv->reserved, 0, sizeof(vv->reserved));
	vv->nentries = nentries;
	vv->nranges = nranges;
	return vv;
}

VersionVector *
vv_empty(void)
{
	return vv_allocate(0, 0);
}

/*
 * One walk over both.  How many ranges there will be is known only afterwards;
 * since they come last, the result may be allocated with as many as there could
 * be, and cut.
 */
VersionVector *
vv_join_vectors(const VersionVector *a, const VersionVector *b)
{
	const VVEntry *ea = VV_ENTRIES(a),
			   *eb = VV_ENTRIES(b);
	const VVEntry *a_end = ea + a->nentries,
			   *b_end = eb + b->nentries;
	VersionVector *result;
	VVEntry    *entry;
	uint32		nranges = 0;

	result = vv_allocate(count_joined_entries(a, b), a->nranges + b->nranges);
	entry = VV_ENTRIES(result);
	while (ea < a_end || eb < b_end)
	{
		VVRanges	none = {NULL, 0};
		VVRanges	ra = none,
					rb = none;
		int			cmp;

		cmp = ea == a_end ? 1 : eb == b_end ? -1 :
			replica_compare(&ea->replica, &eb->replica);
		entry->replica = cmp <= 0 ? ea->replica : eb->replica;
		if (cmp <= 0)
			ra = ranges_of(a, ea++);
		if (cmp >= 0)
			rb = ranges_of(b, eb++);
		entry->first_range = nranges;
		entry->nranges = ranges_join(VV_RANGES(result) + nranges, ra, rb);
		nranges += entry->nranges;
		entry++;
	}
	vv_check_limit(nranges);
	result->nranges = nranges;
	SET_VARSIZE(result, VV_SIZE(result->nentries, nranges));
	return result;
}

static uint32
count_joined_entries(const VersionVector *a, const VersionVector *b)
{
	const VVEntry *ea = VV_ENTRIES(a),
			   *eb = VV_ENTRIES(b);
	const VVEntry *a_end = ea + a->nentries,
			   *b_end = eb + b->nentries;
	uint32		common = 0;

	while (ea < a_end && eb < b_end)
	{
		int			cmp = replica_compare(&ea->replica, &eb->replica);

		if (cmp == 0)
			common++;
		if (cmp <= 0)
			ea++;
		if (cmp >= 0)
			eb++;
	}
	return a->nentries + b->nentries - common;
}

/* The union of two sorted lists of ranges; returns how many there are. */
static int
ranges_join(VVRange *result, VVRanges a, VVRanges b)
{
	int			i = 0,
				j = 0,
				n = 0;

	while (i < a.n || j < b.n)
	{
		VVRange		next;

		if (j == b.n || (i < a.n && a.ranges[i].lo <= b.ranges[j].lo))
			next = a.ranges[i++];
		else
			next = b.ranges[j++];

		if (n > 0 && next.lo <= result[n - 1].hi + 1)
			result[n - 1].hi = Max(result[n - 1].hi, next.hi);
		else
			result[n++] = next;
	}
	return n;
}

/*
 * ----------------------------------------------------------------------
 * Builder
 * ----------------------------------------------------------------------
 */

VVBuilder *
vv_builder_create(void)
{
	VVBuilder  *b = palloc(sizeof(VVBuilder));

	b->context = CurrentMemoryContext;
	b->noperations = 0;
	b->maxoperations = BUILDER_START_SIZE;
	b->operations = palloc(b->maxoperations * sizeof(VVOperation));
	return b;
}

void
vv_builder_free(VVBuilder *b)
{
	pfree(b->operations);
	pfree(b);
}

void
vv_builder_add(VVBuilder *b, const pg_uuid_t *replica, uint64 lo, uint64 hi)
{
	builder_append(b, replica, lo, hi, false);
}

void
vv_builder_remove(VVBuilder *b, const pg_uuid_t *replica, uint64 lo, uint64 hi)
{
	if (b->noperations > 0)
		builder_append(b, replica, lo, hi, true);
}

void
vv_builder_add_vector(VVBuilder *b, const VersionVector *vv)
{
	const VVEntry *entries = VV_ENTRIES(vv);
	uint32		i;
	int			j;

	for (i = 0; i < vv->nentries; i++)
	{
		VVRanges	r = ranges_of(vv, &entries[i]);

		for (j = 0; j < r.n; j++)
			builder_append(b, &entries[i].replica,
						   r.ranges[j].lo, r.ranges[j].hi, false);
	}
}

VersionVector *
vv_builder_finish(VVBuilder *b)
{
	VersionVector *vv;
	VVEntry    *entry;
	VVRange    *ranges;
	uint32		nentries = 0;
	int			i;

	builder_settle(b);
	vv_check_limit(b->noperations);
	for (i = 0; i < b->noperations; i++)
		if (i == 0 || replica_compare(&b->operations[i - 1].replica,
									  &b->operations[i].replica) != 0)
			nentries++;

	vv = vv_allocate(nentries, b->noperations);
	entry = VV_ENTRIES(vv);
	ranges = VV_RANGES(vv);
	for (i = 0; i < b->noperations; i++)
	{
		const VVOperation *op = &b->operations[i];

		if (i == 0 || replica_compare(&op[-1].replica, &op->replica) != 0)
		{
			entry->replica = op->replica;
			entry->first_range = i;
			entry->nranges = 0;
			entry++;
		}
		entry[-1].nranges++;
		ranges[i].lo = op->lo;
		ranges[i].hi = op->hi;
	}
	return vv;
}

static void
builder_append(VVBuilder *b, const pg_uuid_t *replica, uint64 lo, uint64 hi,
			   bool is_removal)
{
	VVOperation *op;

	lo = Max(lo, 1);
	hi = Min(hi, VV_MAX_COUNTER);
	if (lo > hi)
		return;

	/* counters often come one after the other: widen the last stretch */
	if (b->noperations > 0)
	{
		op = &b->operations[b->noperations - 1];
		if (op->is_removal == is_removal &&
			lo <= op->hi + 1 && hi >= op->lo - 1 &&
			replica_compare(&op->replica, replica) == 0)
		{
			op->lo = Min(op->lo, lo);
			op->hi = Max(op->hi, hi);
			return;
		}
	}

	if (b->noperations == b->maxoperations)
		builder_make_room(b);
	op = &b->operations[b->noperations];
	op->replica = *replica;
	op->lo = lo;
	op->hi = hi;
	op->rank = b->noperations++;
	op->is_removal = is_removal;
}

/* Settle what there is; only where that did not help much, take more memory. */
static void
builder_make_room(VVBuilder *b)
{
	builder_settle(b);
	if (b->noperations <= b->maxoperations / 2)
		return;
	vv_check_limit(b->noperations);
	b->maxoperations *= 2;
	b->operations = repalloc(b->operations,
							 b->maxoperations * sizeof(VVOperation));
}

/*
 * Replace the operations by equivalent ones that only add, are sorted, disjoint
 * and not adjacent.  There cannot be more of them than before: each begins where
 * an addition begins or a removal ends.
 */
static void
builder_settle(VVBuilder *b)
{
	VVOperation *result;
	int			nresult = 0;
	int			start = 0;
	int			i;

	if (b->noperations == 0)
		return;
	merge_sort(b->operations, b->noperations, sizeof(VVOperation), operation_compare);
	result = MemoryContextAlloc(b->context,
								b->maxoperations * sizeof(VVOperation));
	for (i = 1; i <= b->noperations; i++)
	{
		if (i < b->noperations &&
			replica_compare(&b->operations[i].replica,
							&b->operations[start].replica) == 0)
			continue;
		CHECK_FOR_INTERRUPTS();
		nresult += settle_replica(&b->operations[start], i - start,
								  &result[nresult]);
		start = i;
	}
	for (i = 0; i < nresult; i++)
		result[i].rank = i;
	pfree(b->operations);
	b->operations = result;
	b->noperations = nresult;
}

/*
 * The same for the operations of one replica, sorted by lo.  The sweep moves
 * "at" from one counter where something changes to the next; the heap has the
 * operations that have begun, the latest asked for on top.
 */
static int
settle_replica(const VVOperation *ops, int n, VVOperation *result)
{
	binaryheap *heap;
	uint64		at = 0;
	int			next = 0;
	int			nresult = 0;

	if (n == 1)
	{
		*result = *ops;
		return ops->is_removal ? 0 : 1;
	}
	heap = binaryheap_allocate(n, operation_rank_compare,
							   unconstify(VVOperation *, ops));
	for (;;)
	{
		const VVOperation *top;
		uint64		until;

		while (!binaryheap_empty(heap) &&
			   ops[DatumGetInt32(binaryheap_first(heap))].hi < at)
			(void) binaryheap_remove_first(heap);
		if (binaryheap_empty(heap))
		{
			if (next == n)
				break;
			at = ops[next].lo;
		}
		while (next < n && ops[next].lo <= at)
			binaryheap_add(heap, Int32GetDatum(next++));

		top = &ops[DatumGetInt32(binaryheap_first(heap))];
		until = top->hi;
		if (next < n)
			until = Min(until, ops[next].lo - 1);
		if (!top->is_removal)
		{
			if (nresult == 0 || result[nresult - 1].hi + 1 != at)
			{
				result[nresult] = *top;
				result[nresult++].lo = at;
			}
			result[nresult - 1].hi = until;
		}
		at = until + 1;
	}
	binaryheap_free(heap);
	return nresult;
}

static int
operation_compare(const void *a, const void *b)
{
	const VVOperation *x = a,
			   *y = b;
	int			cmp = replica_compare(&x->replica, &y->replica);

	if (cmp != 0)
		return cmp;
	return (x->lo > y->lo) - (x->lo < y->lo);
}

static int
operation_rank_compare(Datum a, Datum b, void *arg)
{
	const VVOperation *ops = arg;
	int32		x = ops[DatumGetInt32(a)].rank;
	int32		y = ops[DatumGetInt32(b)].rank;

	return (x > y) - (x < y);
}
