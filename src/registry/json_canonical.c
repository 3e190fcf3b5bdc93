/*-------------------------------------------------------------------------
 *
 * json_canonical.c
 *	  One spelling for equal JSON values.
 *
 * jsonb keeps the members of an object by length, then bytes, and numbers with the
 * zeros that they came with; a client cannot be asked to know that.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "registry/json_canonical.h"
#include "types/delta.h"
#include "types/merge_sort.h"
#include "utils/builtins.h"
#include "utils/numeric.h"

/* A member of an object */
typedef struct CanonicalMember
{
	const char *name;			/* in the server's encoding */
	const char *sort_name;		/* in UTF-8 */
	JsonbValue	value;
} CanonicalMember;

static void append_container(StringInfo buf, JsonbContainer *container);
static void append_object(StringInfo buf, JsonbIterator **it, int npairs);
static void append_value(StringInfo buf, JsonbValue *value);
static int	compare_members(const void *a, const void *b);

void
json_append_canonical(StringInfo buf, Jsonb *json)
{
	append_container(buf, &json->root);
}

static void
append_container(StringInfo buf, JsonbContainer *container)
{
	JsonbIterator *it = JsonbIteratorInit(container);
	JsonbValue	value;
	bool		is_first = true;

	check_stack_depth();
	if (JsonbIteratorNext(&it, &value, true) == WJB_BEGIN_OBJECT)
	{
		append_object(buf, &it, value.val.object.nPairs);
		return;
	}
	if (value.val.array.rawScalar)
	{
		(void) JsonbIteratorNext(&it, &value, true);
		append_value(buf, &value);
		return;
	}
	appendStringInfoChar(buf, '[');
	while (JsonbIteratorNext(&it, &value, true) == WJB_ELEM)
	{
		if (!is_first)
			appendStringInfoChar(buf, ',');
		is_first = false;
		append_value(buf, &value);
	}
	appendStringInfoChar(buf, ']');
}

static void
append_object(StringInfo buf, JsonbIterator **it, int npairs)
{
	CanonicalMember *members = palloc(Max(npairs, 1) * sizeof(CanonicalMember));
	JsonbValue	name;
	int			n = 0;

	while (n < npairs && JsonbIteratorNext(it, &name, true) == WJB_KEY)
	{
		CanonicalMember *member = &members[n++];

		member->name = pnstrdup(name.val.string.val, name.val.string.len);
		member->sort_name = pg_server_to_any(member->name, name.val.string.len,
											 PG_UTF8);
		(void) JsonbIteratorNext(it, &member->value, true);
	}
	merge_sort(members, n, sizeof(CanonicalMember), compare_members);

	appendStringInfoChar(buf, '{');
	for (int i = 0; i < n; i++)
	{
		if (i > 0)
			appendStringInfoChar(buf, ',');
		delta_format_name(buf, members[i].name);
		appendStringInfoChar(buf, ':');
		append_value(buf, &members[i].value);
	}
	appendStringInfoChar(buf, '}');
	pfree(members);
}

static void
append_value(StringInfo buf, JsonbValue *value)
{
	CHECK_FOR_INTERRUPTS();
	switch (value->type)
	{
		case jbvNull:
			appendStringInfoString(buf, "null");
			break;
		case jbvBool:
			appendStringInfoString(buf, value->val.boolean ? "true" : "false");
			break;
		case jbvNumeric:
			appendStringInfoString(buf, numeric_normalize(value->val.numeric));
			break;
		case jbvString:
			delta_format_name(buf, pnstrdup(value->val.string.val,
											value->val.string.len));
			break;
		case jbvBinary:
			append_container(buf, value->val.binary.data);
			break;
		default:
			elog(ERROR, "unexpected jsonb value type %d", (int) value->type);
	}
}

static int
compare_members(const void *a, const void *b)
{
	return strcmp(((const CanonicalMember *) a)->sort_name,
				  ((const CanonicalMember *) b)->sort_name);
}
