/*-------------------------------------------------------------------------
 *
 * table_version.c
 *	  A tracked table as an older version of the schema knows it.
 *
 * The names that a version has are found by undoing, from the present columns on,
 * what the history says happened after it.  They are kept with the table's
 * description, once for each version at which the table changed.
 *
 * Between a type that a column had and the present one there may have been others.
 * Each step goes by the function registered for it, the one that spans most steps
 * first, and where there is none by the text of the value.  With no function at all
 * the types in between are passed over.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "registry/column_conversion.h"
#include "registry/column_history.h"
#include "registry/table_build.h"
#include "registry/table_registry.h"
#include "registry/row_key.h"
#include "registry/table_version.h"
#include "registry/value.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

/* what such a uuid begins with */
#define SCHEMA_REPLICA_PREFIX	"schema"

/* A column that a version has */
typedef struct VersionColumn
{
	const char *name;
	int			column;			/* index into the table's, or
								 * VERSION_DROPPED_COLUMN */
	int			ntypes;			/* types that it had from the version on, but
								 * for the present one; 0: that is its type */
	const char **types;			/* in order of time */
} VersionColumn;

/* The columns of a version; kept with the table's description. */
struct VersionNames
{
	struct VersionNames *next;
	int			version;		/* the table's last change at or before it */
	int			nnames;
	VersionColumn *names;		/* in order of name */
	VersionColumn **by_column;	/* [ncolumns], NULL: not there */
	bool		has_retyped;
};

/* How values of one column are converted */
typedef struct Conversion
{
	int			last;			/* index of the present type */
	const char **names;			/* [last + 1], of the types */
	SyncColumn *types;			/* [last + 1]; type InvalidOid: is not there
								 * any more, or is not needed */
	int			nregistered;
	ColumnConversion *registered;
	FmgrInfo   *up;				/* [nregistered]; fn_oid InvalidOid: not
								 * looked up yet */
	FmgrInfo   *down;
} Conversion;

struct TableVersion
{
	SyncTable  *table;
	const struct VersionNames *names;
	Conversion **conversions;	/* [ncolumns], NULL: not asked for yet */
};

/* What convert_down takes and gives */
typedef struct DownValue
{
	Conversion *conversion;
	Datum		value;
	bool		isnull;
	DeltaValue *result;
} DownValue;

static const struct VersionNames *names_get(SyncTable *t, int version);
static struct VersionNames *names_build(SyncTable *t, int nchanges,
										const ColumnChange *changes, int version);
static void undo(VersionColumn *columns, int max_id, const ColumnChange *change);
static void add_type(VersionColumn *column, const char *type);
static int	compare_names(const void *a, const void *b);
static Conversion *conversion_get(const TableVersion *v, int column);
static bool describe_type(SyncColumn *c, const char *name);
static int	find_registered(const Conversion *c, int from, int to, bool down);
static Datum call(Conversion *c, int from, int to, Datum value, bool *isnull);
static int	farthest_up(const Conversion *c, int from);
static int	farthest_down(const Conversion *c, int from);
static char *sent_text(const SyncColumn *column, const DeltaValue *value);
static char *plain_text(SyncColumn *column, Datum value);
static Datum read_text(SyncColumn *column, char *text, bool *isnull);
static void text_to_delta(const SyncColumn *column, char *text, DeltaValue *result);
static bool is_integer(const char *str);
static void string_value(char *text, DeltaValue *result);
static void null_value(DeltaValue *result);
static void convert_down(Conversion *c, Datum value, bool isnull,
						 DeltaValue *result);
static bool try_convert_down(void *arg);

/*
 * The rest is of the node's uuid, which is a hash: it tells nodes apart, and is of
 * the right version and variant.
 */
void
sync_schema_replica(const pg_uuid_t *node, pg_uuid_t *replica)
{
	*replica = *node;
	memcpy(replica->data, SCHEMA_REPLICA_PREFIX, strlen(SCHEMA_REPLICA_PREFIX));
}

bool
sync_is_schema_replica(const pg_uuid_t *replica)
{
	return memcmp(replica->data, SCHEMA_REPLICA_PREFIX,
				  strlen(SCHEMA_REPLICA_PREFIX)) == 0;
}

/* ----------
 * Names
 * ----------
 */

TableVersion *
table_version_open(SyncTable *t, int version)
{
	TableVersion *v;

	if (version < SCHEMA_FIRST_VERSION || version >= t->schema_version)
		return NULL;
	v = palloc(sizeof(TableVersion));
	v->table = t;
	v->names = names_get(t, version);
	v->conversions = palloc0(Max(t->ncolumns, 1) * sizeof(Conversion *));
	return v;
}

bool
table_version_key(SyncTable *t, const TableVersion *version, const DeltaReader *reader,
				  const DeltaChange *change, StringInfo buf)
{
	Datum		key[INDEX_MAX_KEYS];
	int			nestlevel;

	if (t->nkeys != change->nkeys)
		return false;
	nestlevel = value_modes_begin();
	for (int i = 0; i < t->nkeys; i++)
	{
		bool		isnull = true;

		for (int j = 0; j < change->nkeys && isnull; j++)
		{
			const DeltaName *given = &reader->columns[change->keys[j].column];
			DeltaValue	value;

			if (change->keys[j].value.kind == DELTA_NULL ||
				table_version_column(t, version, given->data,
									 given->len) != t->key[i])
				continue;
			table_version_up(t, version, t->key[i], &change->keys[j].value, &value);
			key[i] = value_from_delta(&t->columns[t->key[i]], &value, &isnull);
		}
		if (isnull)
		{
			value_modes_end(nestlevel);
			return false;
		}
	}
	row_key_encode(buf, t, key);
	value_modes_end(nestlevel);
	return true;
}

bool
table_version_has_news(SyncTable *t, int earlier, int later)
{
	ColumnChange *changes;
	int			nchanges;

	if (t->schema_version <= earlier)
		return false;
	changes = column_history_read(t->table_id, &nchanges);
	for (int i = 0; i < nchanges; i++)
	{
		if (changes[i].version > earlier && changes[i].version <= later &&
			(changes[i].kind == COLUMN_ADDED || changes[i].kind == COLUMN_RETYPED) &&
			sync_column_by_id(t, changes[i].column_id) >= 0)
			return true;
	}
	return false;
}

bool
table_version_has_rekeyed(SyncTable *t)
{
	ColumnChange *changes;
	int			nchanges;

	if (t->schema_version <= SCHEMA_FIRST_VERSION)
		return false;
	changes = column_history_read(t->table_id, &nchanges);
	for (int i = 0; i < nchanges; i++)
	{
		int			column = sync_column_by_id(t, changes[i].column_id);

		if (changes[i].kind == COLUMN_RETYPED && column >= 0 &&
			t->columns[column].is_key)
			return true;
	}
	return false;
}

int
table_version_column(const SyncTable *t, const TableVersion *v, const char *name,
					 int len)
{
	int			low = 0;
	int			high = v == NULL ? 0 : v->names->nnames;

	if (v == NULL)
		return sync_column_by_name(t, name, len);
	while (low < high)
	{
		int			middle = low + (high - low) / 2;
		const char *candidate = v->names->names[middle].name;
		int			cmp = strncmp(candidate, name, len);

		if (cmp == 0 && candidate[len] != '\0')
			cmp = 1;
		if (cmp == 0)
			return v->names->names[middle].column;
		if (cmp < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return VERSION_NO_COLUMN;
}

const char *
table_version_name(const SyncTable *t, const TableVersion *v, int column)
{
	if (v == NULL)
		return t->columns[column].name;
	if (v->names->by_column[column] == NULL)
		return NULL;
	return v->names->by_column[column]->name;
}

bool
table_version_is_retyped(const TableVersion *v, int column)
{
	return v != NULL && v->names->by_column[column] != NULL &&
		v->names->by_column[column]->ntypes > 0;
}

bool
table_version_has_retyped(const TableVersion *v)
{
	return v != NULL && v->names->has_retyped;
}

/* All versions between two changes of the table share their names. */
static const struct VersionNames *
names_get(SyncTable *t, int version)
{
	struct VersionNames *names;
	ColumnChange *changes;
	int			nchanges;
	int			last = 0;
	MemoryContext old;

	changes = column_history_read(t->table_id, &nchanges);
	for (int i = 0; i < nchanges && changes[i].version <= version; i++)
		last = changes[i].version;
	for (names = t->version_names; names != NULL; names = names->next)
	{
		if (names->version == last)
			return names;
	}

	old = MemoryContextSwitchTo(GetMemoryChunkContext(t));
	names = names_build(t, nchanges, changes, last);
	names->next = t->version_names;
	t->version_names = names;
	MemoryContextSwitchTo(old);
	return names;
}

/* In the current context. */
static struct VersionNames *
names_build(SyncTable *t, int nchanges, const ColumnChange *changes, int version)
{
	struct VersionNames *names = palloc0(sizeof(struct VersionNames));
	int			max_id = t->max_column_id;
	VersionColumn *columns = palloc0((max_id + 1) * sizeof(VersionColumn));

	for (int id = 0; id <= max_id; id++)
		columns[id].column = VERSION_DROPPED_COLUMN;
	for (int i = 0; i < t->ncolumns; i++)
	{
		columns[t->columns[i].column_id].name = t->columns[i].name;
		columns[t->columns[i].column_id].column = i;
	}
	for (int i = nchanges - 1; i >= 0 && changes[i].version > version; i--)
		undo(columns, max_id, &changes[i]);

	names->version = version;
	names->names = palloc((max_id + 1) * sizeof(VersionColumn));
	for (int id = 1; id <= max_id; id++)
	{
		VersionColumn *column = &columns[id];

		if (column->name == NULL)
			continue;
		/* types that came and went again */
		if (column->ntypes > 0 && column->column >= 0 &&
			strcmp(column->types[0],
				   tracked_column_type_name(t->columns[column->column].type)) == 0)
			column->ntypes = 0;
		names->has_retyped |= column->ntypes > 0 && column->column >= 0;
		names->names[names->nnames++] = *column;
	}
	if (names->nnames > 1)
		qsort(names->names, names->nnames, sizeof(VersionColumn), compare_names);

	names->by_column = palloc0(Max(t->ncolumns, 1) * sizeof(VersionColumn *));
	for (int i = 0; i < names->nnames; i++)
	{
		if (names->names[i].column >= 0)
			names->by_column[names->names[i].column] = &names->names[i];
	}
	pfree(columns);
	return names;
}

static void
undo(VersionColumn *columns, int max_id, const ColumnChange *change)
{
	VersionColumn *column;

	if (change->column_id < 1 || change->column_id > max_id)
		return;
	column = &columns[change->column_id];
	switch (change->kind)
	{
		case COLUMN_ADDED:
			column->name = NULL;
			break;
		case COLUMN_RENAMED:
		case COLUMN_DROPPED:
			column->name = pstrdup(change->old_name);
			break;
		case COLUMN_RETYPED:
			add_type(column, change->old_type);
			break;
	}
}

/* Put a type before those that came after it. */
static void
add_type(VersionColumn *column, const char *type)
{
	const char **types = palloc((column->ntypes + 1) * sizeof(char *));

	types[0] = pstrdup(type);
	for (int i = 0; i < column->ntypes; i++)
		types[i + 1] = column->types[i];
	column->types = types;
	column->ntypes++;
}

static int
compare_names(const void *a, const void *b)
{
	return strcmp(((const VersionColumn *) a)->name,
				  ((const VersionColumn *) b)->name);
}

/* ----------
 * Conversions
 * ----------
 */

/* Of a retyped column; made when it is first asked for. */
static Conversion *
conversion_get(const TableVersion *v, int column)
{
	const VersionColumn *names = v->names->by_column[column];
	Conversion *c = v->conversions[column];
	SyncColumn *present = &v->table->columns[column];
	MemoryContext old;

	if (c != NULL)
		return c;
	old = MemoryContextSwitchTo(GetMemoryChunkContext((void *) v));
	c = palloc(sizeof(Conversion));
	c->last = names->ntypes;
	c->names = palloc((c->last + 1) * sizeof(char *));
	memcpy(c->names, names->types, c->last * sizeof(char *));
	c->names[c->last] = tracked_column_type_name(present->type);
	c->registered = column_conversion_read(v->table->table_id, present->column_id,
										   &c->nregistered);
	c->up = palloc0(Max(c->nregistered, 1) * sizeof(FmgrInfo));
	c->down = palloc0(Max(c->nregistered, 1) * sizeof(FmgrInfo));
	c->types = palloc0((c->last + 1) * sizeof(SyncColumn));
	c->types[c->last] = *present;
	for (int i = 0; i < c->last; i++)
	{
		c->types[i].name = present->name;
		c->types[i].collation = present->collation;
		/* types in between matter to functions only */
		if (i == 0 || c->nregistered > 0)
			(void) describe_type(&c->types[i], c->names[i]);
	}
	MemoryContextSwitchTo(old);
	v->conversions[column] = c;
	return c;
}

/* What it takes to read and write values of a type; false where it is gone: values
 * are then text. */
static bool
describe_type(SyncColumn *c, const char *name)
{
	Oid			type = column_conversion_type(name);
	Oid			function;
	bool		is_varlena;

	c->value_class = VALUE_TEXT;
	if (!OidIsValid(type))
		return false;
	c->type = type;
	c->base_type = getBaseType(type);
	c->typmod = -1;
	c->value_class = registry_value_class(type, sync_table_oids());
	get_typlenbyvalalign(type, &c->typlen, &c->typbyval, &c->typalign);
	getTypeInputInfo(type, &function, &c->typioparam);
	fmgr_info_cxt(function, &c->input, CurrentMemoryContext);
	getTypeOutputInfo(type, &function, &is_varlena);
	fmgr_info_cxt(function, &c->output, CurrentMemoryContext);
	return true;
}

/*
 * What is registered from one type to a later one, with down only if that has one: an
 * index, or -1.
 */
static int
find_registered(const Conversion *c, int from, int to, bool down)
{
	if (!OidIsValid(c->types[from].type) || !OidIsValid(c->types[to].type))
		return -1;
	for (int i = 0; i < c->nregistered; i++)
	{
		const ColumnConversion *registered = &c->registered[i];

		if (strcmp(registered->from_type, c->names[from]) == 0 &&
			strcmp(registered->to_type, c->names[to]) == 0 &&
			(!down || registered->down != NULL))
			return i;
	}
	return -1;
}

/* Call the function that leads from one type to another, later or earlier. */
static Datum
call(Conversion *c, int from, int to, Datum value, bool *isnull)
{
	bool		is_down = to < from;
	int			i = find_registered(c, Min(from, to), Max(from, to), is_down);
	FmgrInfo   *flinfo = is_down ? &c->down[i] : &c->up[i];

	if (!OidIsValid(flinfo->fn_oid))
	{
		MemoryContext old = MemoryContextSwitchTo(GetMemoryChunkContext(c));

		column_conversion_find(is_down ? c->registered[i].down : c->registered[i].up,
							   c->types[from].type, c->types[to].type, flinfo);
		MemoryContextSwitchTo(old);
	}
	return column_conversion_call(flinfo, c->types[0].collation, value, isnull);
}

/* The last type that one call leads to from here; the same: none does. */
static int
farthest_up(const Conversion *c, int from)
{
	int			to = c->last;

	while (to > from && find_registered(c, from, to, false) < 0)
		to--;
	return to;
}

/* The same, back. */
static int
farthest_down(const Conversion *c, int from)
{
	int			to = 0;

	while (to < from && find_registered(c, to, from, true) < 0)
		to++;
	return to;
}

void
table_version_up(const SyncTable *t, const TableVersion *v, int column,
				 const DeltaValue *value, DeltaValue *result)
{
	Conversion *c;
	Datum		datum = (Datum) 0;
	bool		isnull = false;
	bool		is_read = false;	/* datum is the value, of type at */
	int			at = 0;

	*result = *value;
	if (!table_version_is_retyped(v, column) || value->kind == DELTA_LIST)
		return;
	c = conversion_get(v, column);
	while (at < c->last)
	{
		int			to = farthest_up(c, at);

		if (to > at)
		{
			if (!is_read)
				datum = value_from_delta(&c->types[at], value, &isnull);
			datum = call(c, at, to, datum, &isnull);
		}
		else
		{
			char	   *text = is_read ?
			(isnull ? NULL : plain_text(&c->types[at], datum)) :
			sent_text(&c->types[0], value);

			/* up to where a function goes on, or to the end */
			for (to = at + 1; to < c->last && farthest_up(c, to) == to;)
				to++;
			if (to == c->last)
			{
				if (text == NULL)
					null_value(result);
				else if (c->types[to].value_class != VALUE_ORSET)
					text_to_delta(&c->types[to], text, result);
				return;
			}
			datum = read_text(&c->types[to], text, &isnull);
		}
		is_read = true;
		at = to;
	}
	value_to_delta(&c->types[at], datum, isnull, result);
}

void
table_version_down(const SyncTable *t, const TableVersion *v, int column,
				   Datum value, bool isnull, DeltaValue *result)
{
	SyncColumn *present = &t->columns[column];
	Conversion *c;

	if (!table_version_is_retyped(v, column))
	{
		value_to_delta(present, value, isnull, result);
		return;
	}
	c = conversion_get(v, column);
	if (c->nregistered == 0 && c->types[0].value_class != VALUE_JSON)
		convert_down(c, value, isnull, result);
	else
	{
		DownValue	down = {c, value, isnull, result};

		if (!value_attempt(try_convert_down, &down))
			string_value(plain_text(present, value), result);
	}
}

static void
convert_down(Conversion *c, Datum value, bool isnull, DeltaValue *result)
{
	int			at = c->last;

	while (at > 0)
	{
		int			to = farthest_down(c, at);

		if (to < at)
			value = call(c, at, to, value, &isnull);
		else
		{
			char	   *text = isnull ? NULL : plain_text(&c->types[at], value);

			for (to = at - 1; to > 0 && farthest_down(c, to) == to;)
				to--;
			if (to <= 0)
			{
				if (text == NULL)
					null_value(result);
				else if (c->types[0].value_class == c->types[at].value_class)
					value_to_delta(&c->types[at], value, isnull, result);
				else
					text_to_delta(&c->types[0], text, result);
				return;
			}
			value = read_text(&c->types[to], text, &isnull);
		}
		at = to;
	}
	value_to_delta(&c->types[0], value, isnull, result);
}

/* value_attempt: convert_down */
static bool
try_convert_down(void *arg)
{
	DownValue  *down = arg;

	convert_down(down->conversion, down->value, down->isnull, down->result);
	return true;
}

/* ---- by text ---- */

/* The text of a value that was sent for a column; NULL for null. */
static char *
sent_text(const SyncColumn *column, const DeltaValue *value)
{
	StringInfoData buf;

	switch (value->kind)
	{
		case DELTA_NULL:
			return NULL;
		case DELTA_STRING:
			if (column->value_class == VALUE_JSON)
				break;
			if (memchr(value->data, '\0', value->len) != NULL)
				ereport(ERROR,
						(errcode(ERRCODE_UNTRANSLATABLE_CHARACTER),
						 errmsg("value for column \"%s\" contains a zero byte",
								column->name)));
			return pnstrdup(value->data, value->len);
		default:
			break;
	}
	initStringInfo(&buf);
	delta_value_to_json(&buf, value);
	return buf.data;
}

/* The text of a value; booleans are spelled as in deltas. */
static char *
plain_text(SyncColumn *column, Datum value)
{
	if (column->value_class == VALUE_BOOL)
		return pstrdup(DatumGetBool(value) ? "true" : "false");
	return value_to_text(column, value);
}

static Datum
read_text(SyncColumn *column, char *text, bool *isnull)
{
	*isnull = text == NULL;

	return InputFunctionCall(&column->input, text, column->typioparam,
							 column->typmod);
}

/* A text as a value that a column of this type takes in. */
static void
text_to_delta(const SyncColumn *column, char *text, DeltaValue *result)
{
	string_value(text, result);
	switch (column->value_class)
	{
		case VALUE_JSON:
			/* raises where it is none */
			(void) DirectFunctionCall1(json_in, CStringGetDatum(text));
			delta_value_from_json(text, result->len, result);
			break;
		case VALUE_NUMBER:
			if (is_integer(text))
				result->kind = DELTA_NUMBER;
			break;
		case VALUE_BOOL:
			if (strcmp(text, "t") == 0 || strcmp(text, "true") == 0)
				result->kind = DELTA_TRUE;
			else if (strcmp(text, "f") == 0 || strcmp(text, "false") == 0)
				result->kind = DELTA_FALSE;
			break;
		case VALUE_TEXT:
		case VALUE_ORSET:
			break;
	}
}

/* As JSON spells integers: no plus, no leading zeros */
static bool
is_integer(const char *str)
{
	const char *digits = str + (str[0] == '-');
	Size		len = strlen(digits);

	return len > 0 && strspn(digits, "0123456789") == len &&
		(digits[0] != '0' || strcmp(str, "0") == 0);
}

static void
string_value(char *text, DeltaValue *result)
{
	result->kind = DELTA_STRING;
	result->data = text;

	result->len = strlen(text);
}

static void
null_value(DeltaValue *result)
{
	result->kind = DELTA_NULL;
	result->data = NULL;
	result->len = 0;
}
