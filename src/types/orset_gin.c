/*-------------------------------------------------------------------------
 *
 * orset_gin.c
 *	  GIN support for the type orset: which sets hold an element.
 *
 * A key is the element's bytes.  An index entry has little room (about 2.7 kB),
 * and an insertion must not fail because of an index, so a long element is
 * represented by its beginning and a hash: such keys, and only they, are
 * LONG_KEY_SIZE bytes long, and what they find is looked at again.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/gin.h"
#include "access/stratnum.h"
#include "catalog/pg_type_d.h"
#include "common/hashfn.h"
#include "compat.h"
#include "port/pg_bswap.h"
#include "types/orset.h"
#include "utils/array.h"
#include "utils/builtins.h"

#define CONTAINS_STRATEGY		1	/* orset @> text */
#define CONTAINS_ALL_STRATEGY	2	/* orset @> text[] */
#define EXISTS_STRATEGY			3	/* orset ? text */

#define MAX_SHORT_KEY		247
#define LONG_KEY_SIZE		(MAX_SHORT_KEY + 1)

static Datum make_key(const char *data, int len);
static bool any_long_key(Datum *keys, int nkeys);


PG_FUNCTION_INFO_V1(orset_gin_extract_value);
Datum
orset_gin_extract_value(PG_FUNCTION_ARGS)
{
	int32	   *nkeys = (int32 *) PG_GETARG_POINTER(1);
	OrSetIterator it;
	Datum	   *keys;
	const char *data;
	int			len;

	orset_iterate(&it, PG_GETARG_ORSET_P(0));
	keys = palloc((it.remaining + 1) * sizeof(Datum));
	*nkeys = 0;
	while (orset_next(&it, &data, &len))
		keys[(*nkeys)++] = make_key(data, len);
	PG_RETURN_POINTER(keys);
}

PG_FUNCTION_INFO_V1(orset_gin_extract_query);
Datum
orset_gin_extract_query(PG_FUNCTION_ARGS)
{
	int32	   *nkeys = (int32 *) PG_GETARG_POINTER(1);
	StrategyNumber strategy = PG_GETARG_UINT16(2);
	int32	   *search_mode = (int32 *) PG_GETARG_POINTER(6);
	Datum	   *keys;

	if (strategy == CONTAINS_ALL_STRATEGY)
	{
		ArrayType  *array = PG_GETARG_ARRAYTYPE_P(0);
		int			nitems;

		*nkeys = 0;
		if (array_contains_nulls(array))
			PG_RETURN_POINTER(NULL);	/* nothing can match */

		deconstruct_array(array, TEXTOID, -1, false, TYPALIGN_INT, &keys, NULL,
						  &nitems);
		for (int i = 0; i < nitems; i++)
		{
			text	   *item = (text *) DatumGetPointer(keys[i]);

			keys[i] = make_key(VARDATA_ANY(item), VARSIZE_ANY_EXHDR(item));
		}
		*nkeys = nitems;
		if (nitems == 0)
			*search_mode = GIN_SEARCH_MODE_ALL;
	}
	else if (strategy == CONTAINS_STRATEGY || strategy == EXISTS_STRATEGY)
	{
		text	   *item = PG_GETARG_TEXT_PP(0);

		keys = palloc(sizeof(Datum));
		keys[0] = make_key(VARDATA_ANY(item), VARSIZE_ANY_EXHDR(item));
		*nkeys = 1;
	}
	else
		elog(ERROR, "unrecognized strategy number: %d", strategy);
	PG_RETURN_POINTER(keys);
}

/* Every strategy wants all of its keys. */
PG_FUNCTION_INFO_V1(orset_gin_consistent);
Datum
orset_gin_consistent(PG_FUNCTION_ARGS)
{
	bool	   *check = (bool *) PG_GETARG_POINTER(0);
	int32		nkeys = PG_GETARG_INT32(3);
	bool	   *recheck = (bool *) PG_GETARG_POINTER(5);
	Datum	   *keys = (Datum *) PG_GETARG_POINTER(6);

	*recheck = any_long_key(keys, nkeys);
	for (int i = 0; i < nkeys; i++)
	{
		if (!check[i])
			PG_RETURN_BOOL(false);
	}
	PG_RETURN_BOOL(true);
}

PG_FUNCTION_INFO_V1(orset_gin_triconsistent);
Datum
orset_gin_triconsistent(PG_FUNCTION_ARGS)
{
	GinTernaryValue *check = (GinTernaryValue *) PG_GETARG_POINTER(0);
	int32		nkeys = PG_GETARG_INT32(3);
	Datum	   *keys = (Datum *) PG_GETARG_POINTER(5);
	GinTernaryValue result = any_long_key(keys, nkeys) ? GIN_MAYBE : GIN_TRUE;

	for (int i = 0; i < nkeys; i++)
	{
		if (check[i] == GIN_FALSE)
			PG_RETURN_GIN_TERNARY_VALUE(GIN_FALSE);
		if (check[i] == GIN_MAYBE)
			result = GIN_MAYBE;
	}
	PG_RETURN_GIN_TERNARY_VALUE(result);
}

static Datum
make_key(const char *data, int len)
{
	bytea	   *key;
	uint64		hash;

	if (len <= MAX_SHORT_KEY)
		return PointerGetDatum(cstring_to_text_with_len(data, len));

	key = (bytea *) cstring_to_text_with_len(data, LONG_KEY_SIZE);
	hash = pg_hton64(DatumGetUInt64(hash_any_extended((const unsigned char *) data,
													  len, 0)));
	memcpy(VARDATA(key) + LONG_KEY_SIZE - sizeof(hash), &hash, sizeof(hash));
	return PointerGetDatum(key);
}

static bool
any_long_key(Datum *keys, int nkeys)
{
	for (int i = 0; i < nkeys; i++)
	{
		if (VARSIZE_ANY_EXHDR(DatumGetPointer(keys[i])) == LONG_KEY_SIZE)
			return true;
	}
	return false;
}
