/*-------------------------------------------------------------------------
 *
 * apply_image.c
 *	  The image of a deleted row: reading it back, and merging into it.
 *
 * It is kept as the capture trigger makes it, {"<column id>": text or null}.  A
 * write that goes into it passes no statement, so what a statement would check is
 * checked here, as far as it can be without the row: the right to update, NOT
 * NULL and CHECK constraints.  Otherwise one bad value would keep the row from
 * ever coming back by somebody else's write.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/table.h"
#include "executor/executor.h"
#include "executor/nodeModifyTable.h"
#include "merge/apply.h"
#include "miscadmin.h"
#include "registry/value.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/json.h"
#include "utils/jsonb.h"
#include "utils/rel.h"

static Datum value_of(const ApplyRow *row, int column);

void
apply_load_image(ApplyRow *row)
{
	SyncTable  *table = row->table;
	JsonbIterator *it;
	JsonbIteratorToken token;
	JsonbValue	value;
	int			column = -1;

	if (row->image_is_new)
	{
		/* its text would only be made to be read here */
		row->written = bms_copy(row->image_columns);
		row->image_is_new = false;
		return;
	}
	row->written = NULL;
	row->sets = NULL;
	apply_settle_objects(row);	/* an image made by this push */
	row->objects = NULL;
	it = JsonbIteratorInit(&DatumGetJsonbP(row->image)->root);
	while ((token = JsonbIteratorNext(&it, &value, true)) != WJB_DONE)
	{
		SyncColumn *c;
		char	   *text;

		if (token == WJB_KEY)
		{
			text = pnstrdup(value.val.string.val, value.val.string.len);

			column = sync_column_by_id(table, pg_strtoint32(text));
			continue;
		}
		if (token != WJB_VALUE || column < 0)
			continue;
		c = &table->columns[column];
		if (c->is_key || c->is_generated)
			continue;
		row->isnull[column] = value.type != jbvString;
		if (value.type == jbvString)
		{
			text = pnstrdup(value.val.string.val, value.val.string.len);

			row->values[column] = InputFunctionCall(&c->input, text,
													c->typioparam, c->typmod);
		}
		row->written = bms_add_member(row->written, column);
	}
}

void
apply_keep_image(ApplyRow *row)
{
	SyncTable  *table = row->table;
	StringInfoData buf;
	Datum		image;

	initStringInfo(&buf);
	for (int i = 0; i < table->ncolumns; i++)
	{
		SyncColumn *column = &table->columns[i];
		Datum		value;
		bool		isnull;

		if (!column->is_key && !bms_is_member(i, row->image_columns))
			continue;
		isnull = !column->is_key && row->isnull[i];
		appendStringInfo(&buf, "%c\"%d\":", buf.len == 0 ? '{' : ',',
						 column->column_id);
		if (isnull)
		{
			appendStringInfoString(&buf, "null");
			continue;
		}
		value = value_of(row, i);
		/* not value_to_text(): a set keeps its tags */
		escape_json(&buf, OutputFunctionCall(&column->output, value));
	}
	appendStringInfoString(&buf, buf.len == 0 ? "{}" : "}");

	image = DirectFunctionCall1(jsonb_in, CStringGetDatum(buf.data));
	pfree(buf.data);
	row->image = image;
	row->image_isnull = false;
	row->image_is_new = false;
}

void
apply_check_image(ApplyRow *row)
{
	SyncTable  *table = row->table;
	Relation	rel = table_open(table->relid, NoLock);
	EState	   *estate;
	ResultRelInfo *result_rel;
	TupleTableSlot *slot;

	if (rel->rd_att->constr != NULL)
	{
		estate = CreateExecutorState();
		result_rel = makeNode(ResultRelInfo);
		InitResultRelInfo(result_rel, rel, 0, NULL, 0);
		slot = MakeSingleTupleTableSlot(RelationGetDescr(rel), &TTSOpsVirtual);
		ExecClearTuple(slot);
		memset(slot->tts_isnull, true, rel->rd_att->natts * sizeof(bool));
		for (int i = 0; i < table->ncolumns; i++)
		{
			SyncColumn *column = &table->columns[i];
			AttrNumber	n = column->attnum - 1;

			slot->tts_isnull[n] = !column->is_key && row->isnull[i];
			if (!slot->tts_isnull[n])
				slot->tts_values[n] = value_of(row, i);
		}
		ExecStoreVirtualTuple(slot);
		if (rel->rd_att->constr->has_generated_stored)
			ExecComputeStoredGenerated(result_rel, estate, slot, CMD_INSERT);
		ExecConstraints(result_rel, slot, estate);
		ExecDropSingleTupleTableSlot(slot);
		FreeExecutorState(estate);
	}
	table_close(rel, NoLock);
}

/* A column's value, of the key too. */
static Datum
value_of(const ApplyRow *row, int column)
{
	for (int i = 0; i < row->table->nkeys; i++)
	{
		if (row->table->key[i] == column)
			return row->key[i];
	}
	return apply_row_value(row, column);
}

bool
apply_may_update_cells(const ApplyChange *change)
{
	const SyncTable *table = change->table;

	if (pg_class_aclcheck(table->relid, GetUserId(), ACL_UPDATE) == ACLCHECK_OK)
		return true;
	for (int i = 0; i < change->ncells; i++)
	{
		const SyncColumn *column = &table->columns[change->cells[i].column];

		if (pg_attribute_aclcheck(table->relid, column->attnum, GetUserId(),
								  ACL_UPDATE) != ACLCHECK_OK)
			return false;
	}
	return change->ncells > 0;
}
