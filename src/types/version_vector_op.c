/*-------------------------------------------------------------------------
 *
 * version_vector_op.c
 *	  Functions and operators of version_vector.
 *
 * The order is causal, hence partial: of two vectors neither may be <= the
 * other.  So there is no btree operator class, and only = and <> negate each
 * other; equality is that of bytes, which hashing relies on.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "compat.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "types/version_vector.h"
#include "utils/builtins.h"
#include "utils/tuplestore.h"

#define VV_ENTRIES_COLUMNS	3

/*
 * ----------------------------------------------------------------------
 * Comparing
 * ----------------------------------------------------------------------
 */

static inline VVOrder
compare_arguments(FunctionCallInfo fcinfo)
{
	return vv_compare(PG_GETARG_VERSION_VECTOR_P(0),
					  PG_GETARG_VERSION_VECTOR_P(1));
}

static inline bool
arguments_equal(FunctionCallInfo fcinfo)
{
	VersionVector *a = PG_GETARG_VERSION_VECTOR_P(0);
	VersionVector *b = PG_GETARG_VERSION_VECTOR_P(1);

	return VARSIZE(a) == VARSIZE(b) &&
		memcmp(VARDATA(a), VARDATA(b), VARSIZE(a) - VARHDRSZ) == 0;
}

PG_FUNCTION_INFO_V1(vv_eq);
Datum
vv_eq(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(arguments_equal(fcinfo));
}

PG_FUNCTION_INFO_V1(vv_ne);
Datum
vv_ne(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(!arguments_equal(fcinfo));
}

PG_FUNCTION_INFO_V1(vv_lt);
Datum
vv_lt(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(compare_arguments(fcinfo) == VV_BEFORE);
}

PG_FUNCTION_INFO_V1(vv_le);
Datum
vv_le(PG_FUNCTION_ARGS)
{
	VVOrder		order = compare_arguments(fcinfo);

	PG_RETURN_BOOL(order == VV_BEFORE || order == VV_EQUAL);
}

PG_FUNCTION_INFO_V1(vv_gt);
Datum
vv_gt(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(compare_arguments(fcinfo) == VV_AFTER);
}

PG_FUNCTION_INFO_V1(vv_ge);
Datum
vv_ge(PG_FUNCTION_ARGS)
{
	VVOrder		order = compare_arguments(fcinfo);

	PG_RETURN_BOOL(order == VV_AFTER || order == VV_EQUAL);
}

PG_FUNCTION_INFO_V1(vv_concurrent);
Datum
vv_concurrent(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(compare_arguments(fcinfo) == VV_CONCURRENT);
}

PG_FUNCTION_INFO_V1(vv_hash);
Datum
vv_hash(PG_FUNCTION_ARGS)
{
	VersionVector *vv = PG_GETARG_VERSION_VECTOR_P(0);
	Datum		result = hash_any((unsigned char *) VARDATA(vv),
								  VARSIZE(vv) - VARHDRSZ);

	PG_FREE_IF_COPY(vv, 0);
	return result;
}

PG_FUNCTION_INFO_V1(vv_hash_extended);
Datum
vv_hash_extended(PG_FUNCTION_ARGS)
{
	VersionVector *vv = PG_GETARG_VERSION_VECTOR_P(0);
	Datum		result = hash_any_extended((unsigned char *) VARDATA(vv),
										   VARSIZE(vv) - VARHDRSZ,
										   PG_GETARG_INT64(1));

	PG_FREE_IF_COPY(vv, 0);
	return result;
}

/*
 * ----------------------------------------------------------------------
 * Looking inside
 * ----------------------------------------------------------------------
 */

PG_FUNCTION_INFO_V1(vv_covers);
Datum
vv_covers(PG_FUNCTION_ARGS)
{
	VersionVector *vv = PG_GETARG_VERSION_VECTOR_P(0);
	pg_uuid_t  *replica = PG_GETARG_UUID_P(1);
	int64		counter = PG_GETARG_INT64(2);

	if (counter < 0)
		ereport(ERROR,
				(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
				 errmsg("counter " INT64_FORMAT " is out of range (0 to " INT64_FORMAT ")",
						counter, PG_INT64_MAX)));
	PG_RETURN_BOOL(vv_covers_counter(vv, replica, counter));
}

PG_FUNCTION_INFO_V1(vv_get);
Datum
vv_get(PG_FUNCTION_ARGS)
{
	VersionVector *vv = PG_GETARG_VERSION_VECTOR_P(0);

	PG_RETURN_INT64(vv_base_counter(vv, PG_GETARG_UUID_P(1)));
}

/* One row for each replica: replica, base, intervals */
PG_FUNCTION_INFO_V1(vv_entries);
Datum
vv_entries(PG_FUNCTION_ARGS)
{
	VersionVector *vv = PG_GETARG_VERSION_VECTOR_P(0);
	const VVEntry *entries = VV_ENTRIES(vv);
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	StringInfoData intervals;
	uint32		i;

	InitMaterializedSRF(fcinfo, 0);
	initStringInfo(&intervals);
	for (i = 0; i < vv->nentries; i++)
	{
		uint64		base = vv_entry_base(vv, &entries[i]);
		Datum		values[VV_ENTRIES_COLUMNS];
		bool		nulls[VV_ENTRIES_COLUMNS] = {false};

		CHECK_FOR_INTERRUPTS();
		resetStringInfo(&intervals);
		vv_format_ranges(&intervals, vv, &entries[i], base > 0 ? 1 : 0);
		values[0] = UUIDPGetDatum(&entries[i].replica);
		values[1] = Int64GetDatum(base);
		values[2] = PointerGetDatum(cstring_to_text_with_len(intervals.data,
															 intervals.len));
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
		pfree(DatumGetPointer(values[2]));
	}
	return (Datum) 0;
}

/*
 * ----------------------------------------------------------------------
 * Making others
 * ----------------------------------------------------------------------
 */

PG_FUNCTION_INFO_V1(vv_join);
Datum
vv_join(PG_FUNCTION_ARGS)
{
	PG_RETURN_VERSION_VECTOR_P(vv_join_vectors(PG_GETARG_VERSION_VECTOR_P(0),
											   PG_GETARG_VERSION_VECTOR_P(1)));
}

/* The vector after one more write of a replica: the counter after its largest. */
PG_FUNCTION_INFO_V1(vv_increment);
Datum
vv_increment(PG_FUNCTION_ARGS)
{
	VersionVector *vv = PG_GETARG_VERSION_VECTOR_P(0);
	pg_uuid_t  *replica = PG_GETARG_UUID_P(1);
	uint64		last = vv_max_counter(vv, replica);
	VVBuilder  *builder;

	if (last == VV_MAX_COUNTER)
		ereport(ERROR,
				(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
				 errmsg("counter of the replica is at its maximum (" UINT64_FORMAT ")",
						VV_MAX_COUNTER)));
	builder = vv_builder_create();
	vv_builder_add_vector(builder, vv);
	vv_builder_add(builder, replica, last + 1, last + 1);
	PG_RETURN_VERSION_VECTOR_P(vv_builder_finish(builder));
}

/*
 * The aggregate's state is a builder: joining vectors one by one would copy what
 * there is for each of them.  NULL is the state before the first vector.
 */
PG_FUNCTION_INFO_V1(vv_join_agg_transfn);
Datum
vv_join_agg_transfn(PG_FUNCTION_ARGS)
{
	VVBuilder  *builder = PG_ARGISNULL(0) ? NULL : (VVBuilder *) PG_GETARG_POINTER(0);
	MemoryContext aggcontext;

	if (!AggCheckCallContext(fcinfo, &aggcontext))
		elog(ERROR, "vv_join_agg_transfn called in non-aggregate context");
	if (!PG_ARGISNULL(1))
	{
		MemoryContext old = MemoryContextSwitchTo(aggcontext);

		if (builder == NULL)
			builder = vv_builder_create();
		MemoryContextSwitchTo(old);
		vv_builder_add_vector(builder, PG_GETARG_VERSION_VECTOR_P(1));
	}
	if (builder == NULL)
		PG_RETURN_NULL();
	PG_RETURN_POINTER(builder);
}

PG_FUNCTION_INFO_V1(vv_join_agg_combinefn);
Datum
vv_join_agg_combinefn(PG_FUNCTION_ARGS)
{
	VVBuilder  *a = PG_ARGISNULL(0) ? NULL : (VVBuilder *) PG_GETARG_POINTER(0);
	VVBuilder  *b = PG_ARGISNULL(1) ? NULL : (VVBuilder *) PG_GETARG_POINTER(1);
	MemoryContext aggcontext;

	if (!AggCheckCallContext(fcinfo, &aggcontext))
		elog(ERROR, "vv_join_agg_combinefn called in non-aggregate context");
	if (b != NULL)
	{
		MemoryContext old = MemoryContextSwitchTo(aggcontext);

		if (a == NULL)
			a = vv_builder_create();
		MemoryContextSwitchTo(old);
		vv_builder_add_vector(a, vv_builder_finish(b));
	}
	if (a == NULL)
		PG_RETURN_NULL();
	PG_RETURN_POINTER(a);
}

/* Workers run on the same machine: the vector's own bytes will do. */
PG_FUNCTION_INFO_V1(vv_join_agg_serialfn);
Datum
vv_join_agg_serialfn(PG_FUNCTION_ARGS)
{
	if (!AggCheckCallContext(fcinfo, NULL))
		elog(ERROR, "vv_join_agg_serialfn called in non-aggregate context");
	PG_RETURN_POINTER(vv_builder_finish((VVBuilder *) PG_GETARG_POINTER(0)));
}

PG_FUNCTION_INFO_V1(vv_join_agg_deserialfn);
Datum
vv_join_agg_deserialfn(PG_FUNCTION_ARGS)
{
	VVBuilder  *builder;

	if (!AggCheckCallContext(fcinfo, NULL))
		elog(ERROR, "vv_join_agg_deserialfn called in non-aggregate context");
	builder = vv_builder_create();

	/* a copy, since bytea is not aligned as a vector must be */
	vv_builder_add_vector(builder,
						  vv_checked((VersionVector *) PG_GETARG_BYTEA_P_COPY(0)));
	PG_RETURN_POINTER(builder);
}

PG_FUNCTION_INFO_V1(vv_join_agg_finalfn);
Datum
vv_join_agg_finalfn(PG_FUNCTION_ARGS)
{
	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	PG_RETURN_VERSION_VECTOR_P(vv_builder_finish((VVBuilder *) PG_GETARG_POINTER(0)));
}
