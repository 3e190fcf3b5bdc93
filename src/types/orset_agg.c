/*-------------------------------------------------------------------------
 *
 * orset_agg.c
 *	  The aggregate orset_merge_agg.
 *
 * Merging each set into one that grows would take quadratic time.  So the state
 * keeps a few sets, at most one of each size (power of two of bytes), and merges
 * only those of one size: a tag is then copied as often as the set it is in
 * doubles.  The order of the merges does not matter.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "compat.h"
#include "port/pg_bitutils.h"
#include "types/orset.h"
#include "utils/memutils.h"

#define SIZE_CLASSES		32

typedef struct MergeState
{
	MemoryContext context;		/* the aggregate's; holds this and the sets */
	OrSetData  *sets[SIZE_CLASSES]; /* by size_class_of */
} MergeState;

static MergeState *merge_state_create(FunctionCallInfo fcinfo);
static void merge_state_add(MergeState *state, const OrSetData *set);
static OrSetData *merge_state_collapse(const MergeState *state);
static OrSetData *merge_packed(const OrSetData *a, const OrSetData *b);

static inline int
size_class_of(const OrSetData *set)
{
	return pg_leftmost_one_pos32((uint32) VARSIZE_ANY_EXHDR(set) + 1);
}


/* Not strict: the state starts as NULL, and NULLs are skipped. */
PG_FUNCTION_INFO_V1(orset_merge_agg_step);
Datum
orset_merge_agg_step(PG_FUNCTION_ARGS)
{
	MergeState *state = PG_ARGISNULL(0) ? merge_state_create(fcinfo) :
	(MergeState *) PG_GETARG_POINTER(0);

	if (!PG_ARGISNULL(1))
		merge_state_add(state, PG_GETARG_ORSET_P(1));
	PG_RETURN_POINTER(state);
}

/* Not strict: either state may be NULL. */
PG_FUNCTION_INFO_V1(orset_merge_agg_combine);
Datum
orset_merge_agg_combine(PG_FUNCTION_ARGS)
{
	MergeState *state = PG_ARGISNULL(0) ? merge_state_create(fcinfo) :
	(MergeState *) PG_GETARG_POINTER(0);

	if (!PG_ARGISNULL(1))
	{
		MergeState *other = (MergeState *) PG_GETARG_POINTER(1);

		for (int i = 0; i < SIZE_CLASSES; i++)
		{
			if (other->sets[i] != NULL)
				merge_state_add(state, other->sets[i]);
		}
	}
	PG_RETURN_POINTER(state);
}

/* The sets merged, as the bytes of an orset; nothing where there was none. */
PG_FUNCTION_INFO_V1(orset_merge_agg_serialize);
Datum
orset_merge_agg_serialize(PG_FUNCTION_ARGS)
{
	OrSetData  *set = merge_state_collapse((MergeState *) PG_GETARG_POINTER(0));
	bytea	   *nothing;

	if (set != NULL)
		PG_RETURN_BYTEA_P(set);
	nothing = palloc(VARHDRSZ);
	SET_VARSIZE(nothing, VARHDRSZ);
	PG_RETURN_BYTEA_P(nothing);
}

PG_FUNCTION_INFO_V1(orset_merge_agg_deserialize);
Datum
orset_merge_agg_deserialize(PG_FUNCTION_ARGS)
{
	bytea	   *bytes = PG_GETARG_BYTEA_PP(0);
	MergeState *state = merge_state_create(fcinfo);

	if (VARSIZE_ANY_EXHDR(bytes) > 0)
		merge_state_add(state, bytes);
	PG_RETURN_POINTER(state);
}

PG_FUNCTION_INFO_V1(orset_merge_agg_final);
Datum
orset_merge_agg_final(PG_FUNCTION_ARGS)
{
	OrSetData  *set = PG_ARGISNULL(0) ? NULL :
	merge_state_collapse((MergeState *) PG_GETARG_POINTER(0));

	if (set == NULL)
		PG_RETURN_NULL();
	PG_RETURN_ORSET_P(set);
}

static MergeState *
merge_state_create(FunctionCallInfo fcinfo)
{
	MemoryContext context;
	MergeState *state;

	if (!AggCheckCallContext(fcinfo, &context))
		elog(ERROR, "aggregate function called in non-aggregate context");
	state = MemoryContextAllocZero(context, sizeof(MergeState));
	state->context = context;
	return state;
}

static void
merge_state_add(MergeState *state, const OrSetData *set)
{
	int			size_class = size_class_of(set);
	Size		size;
	OrSetData  *copy;

	/* each turn empties a place, so this ends */
	while (state->sets[size_class] != NULL)
	{
		OrSetData  *merged = merge_packed(state->sets[size_class], set);

		pfree(state->sets[size_class]);
		state->sets[size_class] = NULL;
		set = merged;
		size_class = size_class_of(set);
	}

	size = VARSIZE_ANY_EXHDR(set);
	copy = MemoryContextAlloc(state->context, VARHDRSZ + size);
	SET_VARSIZE(copy, VARHDRSZ + size);
	memcpy(VARDATA(copy), VARDATA_ANY(set), size);
	state->sets[size_class] = copy;
}

/* All sets of the state merged, in the current context; NULL without any.  The
 * state stays as it was: a window may go on with it. */
static OrSetData *
merge_state_collapse(const MergeState *state)
{
	OrSetData  *result = NULL;

	for (int i = 0; i < SIZE_CLASSES; i++)
	{
		if (state->sets[i] == NULL)
			continue;
		result = result == NULL ? state->sets[i] :
			merge_packed(state->sets[i], result);
	}
	return result;
}

/* Leaves nothing behind but the result. */
static OrSetData *
merge_packed(const OrSetData *a, const OrSetData *b)
{
	MemoryContext caller = CurrentMemoryContext;
	MemoryContext scratch = AllocSetContextCreate(caller, "orset merge",
												  ALLOCSET_SMALL_SIZES);
	OrSet	   *merged;
	OrSetData  *result;

	MemoryContextSwitchTo(scratch);
	merged = orset_merge_sets(scratch, orset_unpack(scratch, a),
							  orset_unpack(scratch, b));
	MemoryContextSwitchTo(caller);
	result = orset_pack(merged);
	MemoryContextDelete(scratch);
	return result;
}
