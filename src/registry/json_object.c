/*-------------------------------------------------------------------------
 *
 * json_object.c
 *	  The members of an object in a jsonb column.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "registry/json_object.h"

bool
json_object_fits(Datum value, bool isnull)
{
	return isnull || JB_ROOT_IS_OBJECT(DatumGetJsonbP(value));
}

JsonbIterator *
json_object_begin(Datum value, bool isnull)
{
	JsonbIterator *it;
	JsonbValue	v;

	if (isnull)
		return NULL;
	it = JsonbIteratorInit(&DatumGetJsonbP(value)->root);
	if (JsonbIteratorNext(&it, &v, true) != WJB_BEGIN_OBJECT)
		elog(ERROR, "jsonb value is not an object");
	return it;
}

bool
json_object_next(JsonbIterator **it, JsonbValue *key, JsonbValue *value)
{
	if (*it == NULL || JsonbIteratorNext(it, key, true) != WJB_KEY)
		return false;
	(void) JsonbIteratorNext(it, value, true);
	return true;
}

int
json_object_compare_keys(const JsonbValue *a, const JsonbValue *b)
{
	if (a->val.string.len != b->val.string.len)
		return a->val.string.len < b->val.string.len ? -1 : 1;
	return memcmp(a->val.string.val, b->val.string.val, a->val.string.len);
}

/*
 * A container's bytes do not depend on where it lies in the whole value, since it
 * is aligned there.
 */
bool
json_object_same_value(const JsonbValue *a, const JsonbValue *b)
{
	if (a->type != b->type)
		return false;
	switch (a->type)
	{
		case jbvNull:
			return true;
		case jbvBool:
			return a->val.boolean == b->val.boolean;
		case jbvString:
			return json_object_compare_keys(a, b) == 0;
		case jbvNumeric:
			return VARSIZE_ANY(a->val.numeric) == VARSIZE_ANY(b->val.numeric) &&
				memcmp(a->val.numeric, b->val.numeric,
					   VARSIZE_ANY(a->val.numeric)) == 0;
		case jbvBinary:
			return a->val.binary.len == b->val.binary.len &&
				memcmp(a->val.binary.data, b->val.binary.data,
					   a->val.binary.len) == 0;
		default:
			elog(ERROR, "unexpected type of jsonb value: %d", (int) a->type);
	}
	return false;				/* keep compiler quiet */
}
