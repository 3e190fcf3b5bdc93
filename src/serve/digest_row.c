/*-------------------------------------------------------------------------
 *
 * digest_row.c
 *	  What is hashed of a row: the bytes that a client can make of its own copy.
 *
 * The names, quoted and in order, are made once for each table.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "mb/pg_wchar.h"
#include "registry/json_canonical.h"
#include "registry/value.h"
#include "serve/digest_row.h"
#include "types/merge_sort.h"
#include "utils/jsonb.h"

/* A column in its place */
typedef struct DigestMember
{
	const char *name;			/* in UTF-8; the order is by its bytes */
	char	   *quoted;			/* "name": */
	int			column;			/* index into table->columns */
	int			place;			/* of the value, in key or fetched columns */
	bool		is_jsonb;		/* to be spelt in one way */
} DigestMember;

struct DigestTable
{
	const ServeTable *st;
	char	   *head;			/* {"table":"t","key": */
	int			head_len;
	int			nkeys;
	DigestMember *keys;
	int			nmembers;
	DigestMember *members;
};

static void add_member(const ServeTable *st, DigestMember *member, int column,
					   int place);
static int	compare_members(const void *a, const void *b);
static void append_members(StringInfo buf, const DigestTable *dt,
						   const DigestMember *members, int nmembers,
						   const Datum *values, const bool *isnull);

DigestTable *
digest_table_create(const ServeTable *st)
{
	DigestTable *dt = palloc0(sizeof(DigestTable));
	SyncTable  *t = st->table;
	StringInfoData buf;
	int			place = 0;

	dt->st = st;
	initStringInfo(&buf);
	appendStringInfoString(&buf, "{\"table\":");
	delta_format_name(&buf, t->wire_name);
	appendStringInfoString(&buf, ",\"key\":");
	dt->head = buf.data;
	dt->head_len = buf.len;

	dt->keys = palloc(t->nkeys * sizeof(DigestMember));
	for (int i = 0; i < t->nkeys; i++)
		add_member(st, &dt->keys[dt->nkeys++], t->key[i], i);
	dt->members = palloc(Max(st->nfetched, 1) * sizeof(DigestMember));
	for (int i = -1; (i = bms_next_member(st->fetched, i)) >= 0; place++)
		if (!t->columns[i].is_key)
			add_member(st, &dt->members[dt->nmembers++], i, place);
	merge_sort(dt->keys, dt->nkeys, sizeof(DigestMember), compare_members);
	merge_sort(dt->members, dt->nmembers, sizeof(DigestMember), compare_members);
	return dt;
}

static void
add_member(const ServeTable *st, DigestMember *member, int column, int place)
{
	const char *name = table_version_name(st->table, st->version, column);
	StringInfoData buf;

	initStringInfo(&buf);
	delta_format_name(&buf, name);
	appendStringInfoChar(&buf, ':');
	member->quoted = buf.data;
	member->name = pg_server_to_any(name, strlen(name), PG_UTF8);
	member->column = column;
	member->place = place;
	member->is_jsonb = st->table->columns[column].type == JSONBOID &&
		!table_version_is_retyped(st->version, column);
}

static int
compare_members(const void *a, const void *b)
{
	return strcmp(((const DigestMember *) a)->name,
				  ((const DigestMember *) b)->name);
}

int
digest_key_offset(const DigestTable *dt)
{
	return dt->head_len;
}

void
digest_append_key(StringInfo buf, const DigestTable *dt, const Datum *key)
{
	appendBinaryStringInfo(buf, dt->head, dt->head_len);
	append_members(buf, dt, dt->keys, dt->nkeys, key, NULL);
}

void
digest_append_row(StringInfo buf, const DigestTable *dt, const Datum *values,
				  const bool *isnull)
{
	appendStringInfoString(buf, ",\"insert\":");
	append_members(buf, dt, dt->members, dt->nmembers, values, isnull);
	appendStringInfoChar(buf, '}');
}

/* isnull NULL: none is.  What is NULL is left out, as a device leaves it out of an
 * insert and is not told. */
static void
append_members(StringInfo buf, const DigestTable *dt, const DigestMember *members,
			   int nmembers, const Datum *values, const bool *isnull)
{
	const ServeTable *st = dt->st;
	bool		is_first = true;

	appendStringInfoChar(buf, '{');
	for (int i = 0; i < nmembers; i++)
	{
		const DigestMember *member = &members[i];
		Datum		value = values[member->place];
		bool		is_null = isnull != NULL && isnull[member->place];
		DeltaValue	served;
		StringInfoData spelt;

		if (member->is_jsonb && !is_null)
		{
			initStringInfo(&spelt);
			json_append_canonical(&spelt, DatumGetJsonbP(value));
			delta_value_from_json(spelt.data, spelt.len, &served);
		}
		else
			table_version_down(st->table, st->version, member->column, value,
							   is_null, &served);
		if (served.kind == DELTA_NULL)
			continue;
		if (!is_first)
			appendStringInfoChar(buf, ',');
		is_first = false;
		appendStringInfoString(buf, member->quoted);
		delta_format_member(buf, &served);
	}
	appendStringInfoChar(buf, '}');
}
