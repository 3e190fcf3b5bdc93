/*-------------------------------------------------------------------------
 *
 * orset_op.c
 *	  Functions and operators of the type orset.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type_d.h"
#include "common/hashfn.h"
#include "compat.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "types/merge_sort.h"
#include "types/orset.h"
#include "utils/array.h"
#include "utils/builtins.h"

static bool every_tag(const OrSetTag *tag, void *arg);
static bool contains_item(OrSetIterator it, const char *data, int len);
static int	text_ptr_cmp(const void *a, const void *b);
static Datum *sorted_text_array(ArrayType *array, int *n, bool *has_null);

#define TEXT_LEN(t)		((int) VARSIZE_ANY_EXHDR(t))


/*
 * The counter names one add of one replica for ever: whether the set knows it
 * already or has seen it removed, there is nothing left to do.
 */
PG_FUNCTION_INFO_V1(orset_add);
Datum
orset_add(PG_FUNCTION_ARGS)
{
	OrSetData  *packed = PG_GETARG_ORSET_P(0);
	text	   *element = PG_GETARG_TEXT_PP(1);
	pg_uuid_t  *replica = PG_GETARG_UUID_P(2);
	int64		counter = PG_GETARG_INT64(3);
	OrSet	   *set;
	OrSetTag	tag;

	if (counter < 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("counter must be at least 1, not " INT64_FORMAT,
						counter)));

	set = orset_unpack(CurrentMemoryContext, packed);
	if (vv_covers_counter(set->seen, replica, counter))
		PG_RETURN_ORSET_P(packed);

	tag.replica = *replica;
	tag.counter = counter;
	orset_add_tag(set, VARDATA_ANY(element), TEXT_LEN(element), &tag, 0);
	PG_RETURN_ORSET_P(orset_pack(set));
}

/*
 * Without a tag, for people who write SQL: in a tracked table the capture
 * trigger tags what was added.  An element that is there stays as it is.
 */
PG_FUNCTION_INFO_V1(orset_add_plain);
Datum
orset_add_plain(PG_FUNCTION_ARGS)
{
	OrSetData  *packed = PG_GETARG_ORSET_P(0);
	text	   *element = PG_GETARG_TEXT_PP(1);
	OrSet	   *set = orset_unpack(CurrentMemoryContext, packed);

	if (orset_find(set, VARDATA_ANY(element), TEXT_LEN(element)) >= 0)
		PG_RETURN_ORSET_P(packed);
	orset_append(set, VARDATA_ANY(element), TEXT_LEN(element))->is_plain = true;
	(void) orset_normalize(set);
	PG_RETURN_ORSET_P(orset_pack(set));
}

PG_FUNCTION_INFO_V1(orset_remove);
Datum
orset_remove(PG_FUNCTION_ARGS)
{
	OrSetData  *packed = PG_GETARG_ORSET_P(0);
	text	   *element = PG_GETARG_TEXT_PP(1);
	OrSet	   *set = orset_unpack(CurrentMemoryContext, packed);

	if (orset_find(set, VARDATA_ANY(element), TEXT_LEN(element)) < 0)
		PG_RETURN_ORSET_P(packed);
	orset_remove_seen(set, VARDATA_ANY(element), TEXT_LEN(element), every_tag,
					  NULL);
	PG_RETURN_ORSET_P(orset_pack(set));
}

PG_FUNCTION_INFO_V1(orset_merge);
Datum
orset_merge(PG_FUNCTION_ARGS)
{
	OrSet	   *a = orset_unpack(CurrentMemoryContext, PG_GETARG_ORSET_P(0));
	OrSet	   *b = orset_unpack(CurrentMemoryContext, PG_GETARG_ORSET_P(1));

	PG_RETURN_ORSET_P(orset_pack(orset_merge_sets(CurrentMemoryContext, a, b)));
}

PG_FUNCTION_INFO_V1(orset_elements);
Datum
orset_elements(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	OrSetIterator it;
	const char *data;
	int			len;

	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	orset_iterate(&it, PG_GETARG_ORSET_P(0));
	while (orset_next(&it, &data, &len))
	{
		Datum		value = PointerGetDatum(cstring_to_text_with_len(data, len));
		bool		isnull = false;

		CHECK_FOR_INTERRUPTS();
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, &value,
							 &isnull);
		pfree(DatumGetPointer(value));
	}
	PG_RETURN_VOID();
}

/* One row for each tag; NULLs instead of a tag for the plain mark. */
PG_FUNCTION_INFO_V1(orset_tags);
Datum
orset_tags(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	OrSet	   *set = orset_unpack(CurrentMemoryContext, PG_GETARG_ORSET_P(0));

	InitMaterializedSRF(fcinfo, 0);
	for (int i = 0; i < set->nelements; i++)
	{
		OrSetElement *element = &set->elements[i];
		text	   *name = cstring_to_text_with_len(element->data, element->len);
		Datum		values[3];
		bool		nulls[3] = {false, true, true};

		CHECK_FOR_INTERRUPTS();
		values[0] = PointerGetDatum(name);
		if (element->is_plain)
			tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values,
								 nulls);
		nulls[1] = nulls[2] = false;
		for (int k = 0; k < element->ntags; k++)
		{
			values[1] = UUIDPGetDatum(&element->tags[k].replica);
			values[2] = Int64GetDatum((int64) element->tags[k].counter);
			tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values,
								 nulls);
		}
		pfree(name);
	}
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(orset_context);
Datum
orset_context(PG_FUNCTION_ARGS)
{
	OrSet	   *set = orset_unpack(CurrentMemoryContext, PG_GETARG_ORSET_P(0));

	PG_RETURN_VERSION_VECTOR_P(set->seen);
}

PG_FUNCTION_INFO_V1(orset_count);
Datum
orset_count(PG_FUNCTION_ARGS)
{
	OrSetIterator it;

	orset_iterate(&it, PG_GETARG_ORSET_P(0));
	PG_RETURN_INT32(it.remaining);
}

PG_FUNCTION_INFO_V1(orset_contains);
Datum
orset_contains(PG_FUNCTION_ARGS)
{
	text	   *element = PG_GETARG_TEXT_PP(1);
	OrSetIterator it;

	orset_iterate(&it, PG_GETARG_ORSET_P(0));
	PG_RETURN_BOOL(contains_item(it, VARDATA_ANY(element), TEXT_LEN(element)));
}

/* As with arrays, NULL is contained in nothing, and the empty array in all. */
PG_FUNCTION_INFO_V1(orset_contains_all);
Datum
orset_contains_all(PG_FUNCTION_ARGS)
{
	OrSetIterator it;
	const char *data;
	int			len;
	Datum	   *wanted;
	int			nwanted;
	bool		has_null;
	int			i = 0;

	wanted = sorted_text_array(PG_GETARG_ARRAYTYPE_P(1), &nwanted, &has_null);
	if (has_null)
		PG_RETURN_BOOL(false);

	/* both are in order: walk along */
	orset_iterate(&it, PG_GETARG_ORSET_P(0));
	while (i < nwanted && orset_next(&it, &data, &len))
	{
		for (; i < nwanted; i++)
		{
			text	   *item = (text *) DatumGetPointer(wanted[i]);

			if (TEXT_LEN(item) != len ||
				memcmp(VARDATA_ANY(item), data, len) != 0)
				break;
		}
	}
	PG_RETURN_BOOL(i == nwanted);
}

PG_FUNCTION_INFO_V1(orset_same);
Datum
orset_same(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(orset_same_elements(PG_GETARG_ORSET_P(0),
									   PG_GETARG_ORSET_P(1)));
}

/* The packed form is canonical, so equality is that of the bytes. */
PG_FUNCTION_INFO_V1(orset_eq);
Datum
orset_eq(PG_FUNCTION_ARGS)
{
	OrSetData  *a = PG_GETARG_ORSET_P(0);
	OrSetData  *b = PG_GETARG_ORSET_P(1);
	bool		result = VARSIZE_ANY_EXHDR(a) == VARSIZE_ANY_EXHDR(b) &&
	memcmp(VARDATA_ANY(a), VARDATA_ANY(b), VARSIZE_ANY_EXHDR(a)) == 0;

	PG_FREE_IF_COPY(a, 0);
	PG_FREE_IF_COPY(b, 1);
	PG_RETURN_BOOL(result);
}

PG_FUNCTION_INFO_V1(orset_ne);
Datum
orset_ne(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(!DatumGetBool(orset_eq(fcinfo)));
}

PG_FUNCTION_INFO_V1(orset_hash);
Datum
orset_hash(PG_FUNCTION_ARGS)
{
	OrSetData  *a = PG_GETARG_ORSET_P(0);
	Datum		result = hash_any((unsigned char *) VARDATA_ANY(a),
								  VARSIZE_ANY_EXHDR(a));

	PG_FREE_IF_COPY(a, 0);
	return result;
}

PG_FUNCTION_INFO_V1(orset_hash_extended);
Datum
orset_hash_extended(PG_FUNCTION_ARGS)
{
	OrSetData  *a = PG_GETARG_ORSET_P(0);
	Datum		result = hash_any_extended((unsigned char *) VARDATA_ANY(a),
										   VARSIZE_ANY_EXHDR(a),
										   PG_GETARG_INT64(1));

	PG_FREE_IF_COPY(a, 0);
	return result;
}

PG_FUNCTION_INFO_V1(orset_from_array);
Datum
orset_from_array(PG_FUNCTION_ARGS)
{
	ArrayType  *array = PG_GETARG_ARRAYTYPE_P(0);
	OrSet	   *set = orset_create(CurrentMemoryContext);
	Datum	   *items;
	int			nitems;
	bool		has_null;

	if (ARR_NDIM(array) > 1)
		ereport(ERROR,
				(errcode(ERRCODE_ARRAY_SUBSCRIPT_ERROR),
				 errmsg("wrong number of array dimensions for type %s",
						"orset"),
				 errdetail("The array has %d dimensions, only one is allowed.",
						   ARR_NDIM(array))));
	items = sorted_text_array(array, &nitems, &has_null);
	if (has_null)
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("null value not allowed as an element of type %s",
						"orset")));

	for (int i = 0; i < nitems; i++)
	{
		text	   *item = (text *) DatumGetPointer(items[i]);

		CHECK_FOR_INTERRUPTS();
		orset_append(set, VARDATA_ANY(item), TEXT_LEN(item))->is_plain = true;
	}
	orset_normalize(set);
	PG_RETURN_ORSET_P(orset_pack(set));
}

PG_FUNCTION_INFO_V1(orset_to_array);
Datum
orset_to_array(PG_FUNCTION_ARGS)
{
	OrSetIterator it;
	Datum	   *items;
	int			n = 0;
	const char *data;
	int			len;

	orset_iterate(&it, PG_GETARG_ORSET_P(0));
	items = palloc((it.remaining + 1) * sizeof(Datum));
	while (orset_next(&it, &data, &len))
	{
		CHECK_FOR_INTERRUPTS();
		items[n++] = PointerGetDatum(cstring_to_text_with_len(data, len));
	}
	PG_RETURN_ARRAYTYPE_P(construct_array(items, n, TEXTOID, -1, false,
										  TYPALIGN_INT));
}

static bool
every_tag(const OrSetTag *tag, void *arg)
{
	return true;
}

static bool
contains_item(OrSetIterator it, const char *wanted, int wanted_len)
{
	const char *data;
	int			len;

	while (orset_next(&it, &data, &len))
	{
		if (len == wanted_len && memcmp(data, wanted, len) == 0)
			return true;
	}
	return false;
}

/* The elements of an array in the order of the elements of a set. */
static Datum *
sorted_text_array(ArrayType *array, int *n, bool *has_null)
{
	Datum	   *items;

	*has_null = array_contains_nulls(array);
	if (*has_null)
		return NULL;
	deconstruct_array(array, TEXTOID, -1, false, TYPALIGN_INT, &items, NULL, n);
	if (*n > 1)
		merge_sort(items, *n, sizeof(Datum), text_ptr_cmp);
	return items;
}

static int
text_ptr_cmp(const void *a, const void *b)
{
	text	   *ta = (text *) DatumGetPointer(*(const Datum *) a);
	text	   *tb = (text *) DatumGetPointer(*(const Datum *) b);
	int			cmp = memcmp(VARDATA_ANY(ta), VARDATA_ANY(tb),
							 Min(TEXT_LEN(ta), TEXT_LEN(tb)));

	return cmp != 0 ? cmp : TEXT_LEN(ta) - TEXT_LEN(tb);
}
