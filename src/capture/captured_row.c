/*-------------------------------------------------------------------------
 *
 * captured_row.c
 *	  What the log, the tombstones and the clock need to know of a row.
 *
 * Everything here is palloc'd in the current context, which the executor
 * resets for each row.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "audit/waiting.h"
#include "capture/captured_row.h"
#include "catalog/partition.h"
#include "catalog/pg_type.h"
#include "compat.h"
#include "executor/tuptable.h"
#include "registry/row_key.h"
#include "registry/value.h"
#include "types/orset.h"
#include "types/uuid_text.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"

/* An image larger than this does without its largest values: jsonb could not
 * hold them. */
#define MAX_IMAGE_SIZE	(64 * 1024 * 1024)

static bool is_tracked_as(Relation rel, const SyncTable *table);
static void find_attnums(CapturedRelation *cr, Relation rel);
static bool same_value(const SyncColumn *column, Datum a, Datum b);
static char *uuid_text(const pg_uuid_t *uuid);
static void push_image_value(JsonbParseState **state, const SyncColumn *column,
							 char *text);

CapturedRelation *
captured_relation_make(MemoryContext context, Relation rel, const char *table_id)
{
	MemoryContext old_context = MemoryContextSwitchTo(context);
	CapturedRelation *cr = palloc0(sizeof(CapturedRelation));

	cr->table = sync_table_by_relid(RelationGetRelid(rel));
	if (cr->table == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("table \"%s\" is not tracked",
						RelationGetRelationName(rel)),
				 errhint("Enable it with sync_enable_table(), or drop its capture triggers.")));
	if (cr->table->table_id != pg_strtoint32(table_id) ||
		!is_tracked_as(rel, cr->table))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("capture trigger of table \"%s\" is for another table",
						RelationGetRelationName(rel))));

	cr->context = context;
	find_attnums(cr, rel);
	MemoryContextSwitchTo(old_context);
	cr->is_watched = waiting_is_watched(cr->table->table_id);
	return cr;
}

static bool
is_tracked_as(Relation rel, const SyncTable *table)
{
	if (table->relid == RelationGetRelid(rel))
		return true;
	return rel->rd_rel->relispartition &&
		list_member_oid(get_partition_ancestors(RelationGetRelid(rel)),
						table->relid);
}

static void
find_attnums(CapturedRelation *cr, Relation rel)
{
	SyncTable  *t = cr->table;
	int			i;

	cr->attnums = palloc(Max(t->ncolumns, 1) * sizeof(AttrNumber));
	if (t->relid == RelationGetRelid(rel))
	{
		for (i = 0; i < t->ncolumns; i++)
			cr->attnums[i] = t->columns[i].attnum;
		cr->clock_attnum = t->clock_attnum;
		return;
	}

	for (i = 0; i < t->ncolumns; i++)
	{
		cr->attnums[i] = get_attnum(RelationGetRelid(rel), t->columns[i].name);
		if (cr->attnums[i] == InvalidAttrNumber)
			elog(ERROR, "partition \"%s\" has no column \"%s\"",
				 RelationGetRelationName(rel), t->columns[i].name);
	}
	cr->clock_attnum = get_attnum(RelationGetRelid(rel), SYNC_CLOCK_COLUMN);
	if (cr->clock_attnum == InvalidAttrNumber)
		elog(ERROR, "partition \"%s\" has no column \"%s\"",
			 RelationGetRelationName(rel), SYNC_CLOCK_COLUMN);
}

bool
captured_row_name(const CapturedRelation *cr, TupleTableSlot *slot,
				  RowName *name)
{
	SyncTable  *t = cr->table;
	Datum		key[INDEX_MAX_KEYS];
	Datum		scope = (Datum) 0;
	bool		isnull;
	int			nestlevel = 0;
	int			i;

	for (i = 0; i < t->nkeys; i++)
	{
		key[i] = captured_row_value(cr, slot, t->key[i], &isnull);
		if (isnull)
			return false;
	}
	name->scope = NULL;
	initStringInfo(&name->key);
	if (t->key_modes)
		nestlevel = value_modes_begin_for(t->key_modes);
	row_key_encode(&name->key, t, key);
	if (t->scope_column < 0)
		name->scope = "";
	else
	{
		scope = captured_row_value(cr, slot, t->scope_column, &isnull);
		if (!isnull)
			name->scope = value_to_text(&t->columns[t->scope_column], scope);
	}
	if (t->key_modes)
		value_modes_end(nestlevel);
	return true;
}

RowClock *
captured_row_clock(const CapturedRelation *cr, TupleTableSlot *slot)
{
	bool		isnull;
	Datum		clock = slot_getattr(slot, cr->clock_attnum, &isnull);

	return sync_table_clock(CurrentMemoryContext, cr->table, clock, isnull);
}

Bitmapset *
captured_row_changes(const CapturedRelation *cr, TupleTableSlot *old_slot,
					 TupleTableSlot *new_slot)
{
	Bitmapset  *changes = NULL;
	int			i;

	slot_getallattrs(old_slot);
	slot_getallattrs(new_slot);
	for (i = 0; i < cr->table->ncolumns; i++)
	{
		const SyncColumn *column = &cr->table->columns[i];
		int			attno = cr->attnums[i] - 1;
		bool		isnull = old_slot->tts_isnull[attno];

		if (column->is_generated)
			continue;
		if (isnull != new_slot->tts_isnull[attno] ||
			(!isnull && !same_value(column, old_slot->tts_values[attno],
									new_slot->tts_values[attno])))
			changes = bms_add_member(changes, i);
	}
	return changes;
}

/*
 * The same bytes, before anything is fetched from the toast table: an UPDATE
 * that leaves a value alone leaves its toast pointer alone.
 */
static bool
same_value(const SyncColumn *column, Datum a, Datum b)
{
	if (a == b)
		return true;
	if (column->typbyval)
		return false;
	if (column->typlen > 0)
		return memcmp(DatumGetPointer(a), DatumGetPointer(b), column->typlen) == 0;
	if (column->typlen == -1 &&
		VARSIZE_ANY(DatumGetPointer(a)) == VARSIZE_ANY(DatumGetPointer(b)) &&
		memcmp(DatumGetPointer(a), DatumGetPointer(b),
			   VARSIZE_ANY(DatumGetPointer(a))) == 0)
		return true;
	if (column->value_class == VALUE_ORSET)
		return orset_same_elements(DatumGetOrSetP(a), DatumGetOrSetP(b));
	return datum_image_eq(a, b, column->typbyval, column->typlen);
}

Datum
captured_row_image(const CapturedRelation *cr, TupleTableSlot *slot)
{
	SyncTable  *t = cr->table;
	JsonbParseState *state = NULL;
	int			nestlevel = t->modes ? value_modes_begin_for(t->modes) : 0;
	Size		size = 0;
	int			i;

	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	for (i = 0; i < t->ncolumns; i++)
	{
		SyncColumn *column = &t->columns[i];
		bool		isnull;
		Datum		value;
		char	   *text = NULL;

		if (column->is_virtual)
			continue;
		value = captured_row_value(cr, slot, i, &isnull);
		/* not value_to_text(): a set keeps its tags */
		if (!isnull)
		{
			text = column->type == UUIDOID ? uuid_text(DatumGetUUIDP(value)) :
			OutputFunctionCall(&column->output, value);

			if (strlen(text) > MAX_IMAGE_SIZE - size)
			{
				pfree(text);
				continue;
			}
			size += strlen(text);
		}
		push_image_value(&state, column, text);
	}
	if (t->modes)
		value_modes_end(nestlevel);
	return JsonbPGetDatum(JsonbValueToJsonb(pushJsonbValue(&state,
														   WJB_END_OBJECT,
														   NULL)));
}

/* In a tenth of the time of the type's output function */
static char *
uuid_text(const pg_uuid_t *uuid)
{
	char	   *text = palloc(UUID_TEXT_LEN + 1);

	*uuid_text_put(text, uuid) = '\0';
	return text;
}

static void
push_image_value(JsonbParseState **state, const SyncColumn *column, char *text)
{
	JsonbValue	key;
	JsonbValue	value;

	key.type = jbvString;
	key.val.string.val = palloc(MAXINT8LEN + 1);
	key.val.string.len = pg_ltoa(column->column_id, key.val.string.val);
	pushJsonbValue(state, WJB_KEY, &key);

	value.type = jbvNull;
	if (text !=NULL)
	{
		value.type = jbvString;
		value.val.string.val = text;

		value.val.string.len = strlen(text);
	}
	pushJsonbValue(state, WJB_VALUE, &value);
}
