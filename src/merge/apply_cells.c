/*-------------------------------------------------------------------------
 *
 * apply_cells.c
 *	  Third step of an apply, the cells: merge what a change sent for each
 *	  column with what is there, by the column's policy, in memory.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "log/node.h"
#include "merge/apply.h"
#include "registry/value.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/fmgrprotos.h"
#include "utils/memutils.h"
#include "utils/numeric.h"
#include "utils/typcache.h"

static void merge_register(ApplyState *state, ApplyChange *change, ApplyRow *row,
						   ApplyCell *cell, CellTally *tally);
static bool is_stored_value(const ApplyRow *row, const ApplyCell *cell);
static void note_conflict(ApplyState *state, ApplyChange *change, ApplyRow *row,
						  const ApplyCell *cell, CellVerdict decision,
						  const Stamp *current);
static int	compare_cell(ApplyState *state, const ApplyRow *row,
						 const ApplyCell *cell, const SyncRule *rule,
						 const CellFacts *facts);
static void merge_counter(ApplyState *state, ApplyChange *change, ApplyRow *row,
						  ApplyCell *cell, CellTally *tally);
static void merge_orset(ApplyState *state, ApplyChange *change, ApplyRow *row,
						ApplyCell *cell, CellTally *tally);
static OrSet *changing_set(ApplyState *state, ApplyRow *row, int column);
static OrSetItem *list_items(const DeltaValue *list, int *nitems);
static void tally_merged(ApplyState *state, ApplyRow *row, ApplyCell *cell,
						 CellTally *tally);

void
apply_merge_cells(ApplyState *state, ApplyChange *change, ApplyRow *row,
				  CellTally *tally)
{
	/* a change that moves the row is decided where it found it */
	row->rule_scope = row->scope;
	for (int i = 0; i < change->ncells; i++)
	{
		ApplyCell  *cell = &change->cells[i];

		switch (apply_rule(state, row, cell->column)->policy)
		{
			case POLICY_COUNTER:
				merge_counter(state, change, row, cell, tally);
				break;
			case POLICY_ORSET:
				merge_orset(state, change, row, cell, tally);
				break;
			case POLICY_JSON:
				apply_merge_json(state, change, row, cell, tally);
				break;
			default:
				merge_register(state, change, row, cell, tally);
				break;
		}
	}
}

const SyncRule *
apply_rule(ApplyState *state, const ApplyRow *row, int column)
{
	return sync_column_rule(&row->table->columns[column], row->rule_scope);
}

/*
 * A cell that holds what one writer put in it, or what a function made of two
 * writers' values: that is the node's.
 */
static void
merge_register(ApplyState *state, ApplyChange *change, ApplyRow *row,
			   ApplyCell *cell, CellTally *tally)
{
	SyncColumn *column = &row->table->columns[cell->column];
	const SyncRule *rule = apply_rule(state, row, cell->column);
	Stamp		stamp = apply_device_stamp(state, change);
	const Stamp *current = row_clock_get(row->clock, column->column_id);
	NullableDatum value = {cell->value, cell->isnull};
	CellVerdict verdict;
	CellFacts	facts;

	facts.current = current;
	facts.incoming = &stamp;
	facts.is_seen = current == NULL || apply_stamp_is_seen(state, row, current);
	verdict = apply_decide_register(state, change, row, cell, rule, &facts, &value);
	if (!facts.is_seen && !is_stored_value(row, cell))
	{
		note_conflict(state, change, row, cell, verdict, current);
		apply_watch_shadow(state, change, row, cell, &facts, verdict, value);
	}

	row->sent[cell->column] = &cell->sent;
	if (verdict == CELL_CURRENT)
	{
		row->force = bms_add_member(row->force, cell->column);
		tally->current++;
		return;
	}

	if (verdict == CELL_MERGED)
		stamp = apply_node_stamp(state, row, change);
	row_clock_set(row->clock, column->column_id, &stamp);
	if (cell->column == row->table->scope_column)
	{
		const char *scope = value.isnull ? NULL :
		value_to_text(column, value.value);

		if (row->scope == NULL || scope == NULL || strcmp(scope, row->scope) != 0)
		{
			row_clock_set_scope(row->clock, &stamp);
			row->scope = scope;
			row->is_scope_seen = true;
		}
	}
	row->values[cell->column] = value.value;
	row->isnull[cell->column] = value.isnull;
	row->written = bms_add_member(row->written, cell->column);
	row->force = bms_del_member(row->force, cell->column);
	if (!value_is_as_sent(column, &cell->sent, value.value, value.isnull))
		row->force = bms_add_member(row->force, cell->column);
	if (verdict == CELL_MERGED)
		tally->merged++;
	else
		tally->incoming++;
}

CellVerdict
apply_decide_register(ApplyState *state, ApplyChange *change, const ApplyRow *row,
					  const ApplyCell *cell, const SyncRule *rule,
					  CellFacts *facts, NullableDatum *merged)
{
	CellVerdict verdict;

	facts->comparison = compare_cell(state, row, cell, rule, facts);
	verdict = decide_cell(rule->policy, facts);
	if (rule->policy != POLICY_CUSTOM || verdict != CELL_MERGED)
		return verdict;
	return is_stored_value(row, cell) ? decide_cell(POLICY_LWW, facts) :
		apply_custom(state, change, row, cell, rule, facts, merged);
}

/* Is what the row holds the same as what came, to the letter? */
static bool
is_stored_value(const ApplyRow *row, const ApplyCell *cell)
{
	NullableDatum stored = {row->values[cell->column], row->isnull[cell->column]};
	NullableDatum incoming = {cell->value, cell->isnull};

	return apply_same_value(&row->table->columns[cell->column], stored, incoming);
}

/* A conflict about the cell, which holds what it did before. */
static void
note_conflict(ApplyState *state, ApplyChange *change, ApplyRow *row,
			  const ApplyCell *cell, CellVerdict decision, const Stamp *current)
{
	SyncColumn *column = &row->table->columns[cell->column];
	MemoryContext scratch = AllocSetContextCreate(state->batch_context,
												  "offline_sync conflict",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext oldcontext = MemoryContextSwitchTo(scratch);
	bool		has_room = state->noted_bytes <= MAX_NOTED_SIZE;
	StringInfoData ours;
	StringInfoData theirs;

	initStringInfo(&ours);
	initStringInfo(&theirs);
	if (has_room)
		apply_value_json(&ours, column, row->values[cell->column],
						 row->isnull[cell->column]);
	has_room &= state->noted_bytes + ours.len <= MAX_NOTED_SIZE;
	apply_value_json(&theirs, column, cell->value, cell->isnull);
	apply_add_conflict(state, change, row, cell->column, decision, current,
					   has_room ? ours.data : NULL, theirs.data);
	MemoryContextSwitchTo(oldcontext);
	MemoryContextDelete(scratch);
}

/* The incoming value, or its writer, against the stored one: for the policies that
 * ask. */
static int
compare_cell(ApplyState *state, const ApplyRow *row, const ApplyCell *cell,
			 const SyncRule *rule, const CellFacts *facts)
{
	SyncColumn *column = &row->table->columns[cell->column];
	bool		current_isnull = row->isnull[cell->column];
	TypeCacheEntry *type;
	int			result;

	switch (rule->policy)
	{
		case POLICY_PRIORITY:
			return facts->is_seen ? 0 :
				apply_compare_classes(state, rule, facts->incoming, facts->current);
		case POLICY_FIRST_WRITER:
			return (int) current_isnull - (int) cell->isnull;
		case POLICY_MAX:
		case POLICY_MIN:
			if (cell->isnull || current_isnull)
				return (int) current_isnull - (int) cell->isnull;
			break;
		default:
			return 0;
	}
	type = lookup_type_cache(column->type, TYPECACHE_CMP_PROC_FINFO);
	result = DatumGetInt32(FunctionCall2Coll(&type->cmp_proc_finfo,
											 column->collation, cell->value,
											 row->values[cell->column]));
	return rule->policy == POLICY_MAX ? result : -result;
}

static void
merge_counter(ApplyState *state, ApplyChange *change, ApplyRow *row,
			  ApplyCell *cell, CellTally *tally)
{
	SyncColumn *column = &row->table->columns[cell->column];
	Stamp		stamp = apply_node_stamp(state, row, change);

	tally_merged(state, row, cell, tally);
	if (cell->isnull)			/* an insert without an initial value */
		return;
	if (row->isnull[cell->column])
		row->values[cell->column] = cell->value;
	else
	{
		change->column = column->name;
		row->values[cell->column] =
			apply_add_counter(column, row->values[cell->column], cell->value);
		change->column = NULL;
	}
	row->isnull[cell->column] = false;
	row_clock_set(row->clock, column->column_id, &stamp);
	row->written = bms_add_member(row->written, cell->column);
}

static void
merge_orset(ApplyState *state, ApplyChange *change, ApplyRow *row,
			ApplyCell *cell, CellTally *tally)
{
	SyncColumn *column = &row->table->columns[cell->column];
	Stamp		stamp = apply_node_stamp(state, row, change);
	OrSet	   *set;
	OrSetTag	tag;
	OrSetItem  *items;
	int			nitems;

	tally_merged(state, row, cell, tally);
	set = changing_set(state, row, cell->column);
	items = list_items(&cell->sent, &nitems);
	tag.replica = state->device->uuid;
	tag.counter = change->delta.seq;

	if (cell->op == DELTA_SET)
		apply_remove_seen_tags(state, row, column, set, NULL, 0);
	if (cell->op == DELTA_REMOVE)
		apply_remove_seen_tags(state, row, column, set, items, nitems);
	if (cell->op == DELTA_SET || cell->op == DELTA_ADD)
		orset_add_tag_to_all(set, items, nitems, &tag, tag.counter);
	pfree(items);

	row->isnull[cell->column] = false;
	row_clock_set(row->clock, column->column_id, &stamp);
	row->written = bms_add_member(row->written, cell->column);
}

/*
 * A row's set, to be changed.  It stays unpacked until the row is written: a
 * packed copy for each of many changes would be as much memory as one likes.
 */
static OrSet *
changing_set(ApplyState *state, ApplyRow *row, int column)
{
	if (row->sets == NULL)
		row->sets = MemoryContextAllocZero(state->batch_context,
										   row->table->ncolumns * sizeof(OrSet *));
	if (row->sets[column] == NULL)
		row->sets[column] = row->isnull[column] ?
			orset_create(state->batch_context) :
			orset_unpack(state->batch_context,
						 DatumGetOrSetP(row->values[column]));
	return row->sets[column];
}

Datum
apply_row_value(const ApplyRow *row, int column)
{
	if (row->sets != NULL && row->sets[column] != NULL)
		return OrSetPGetDatum(orset_pack(row->sets[column]));
	if (row->objects != NULL && row->objects[column] != NULL)
		return apply_object_value(row->objects[column]);
	return row->values[column];
}

/* The elements of a LIST value. */
static OrSetItem *
list_items(const DeltaValue *list, int *nitems)
{
	OrSetItem  *items;
	const char *cursor = list->data;
	const char *data;
	int			len;
	int			n = 0;

	while (delta_list_next(list, &cursor, &data, &len))
		n++;
	items = palloc(Max(n, 1) * sizeof(OrSetItem));
	cursor = list->data;
	*nitems = 0;
	while (delta_list_next(list, &cursor, &data, &len))
	{
		items[*nitems].data = data;
		items[(*nitems)++].len = len;
	}
	return items;
}

/*
 * A merged cell: as sent where the device knew all that was in it, but for a
 * counter's initial value that meets another one.
 */
static void
tally_merged(ApplyState *state, ApplyRow *row, ApplyCell *cell, CellTally *tally)
{
	SyncColumn *column = &row->table->columns[cell->column];
	const Stamp *current = row_clock_get(row->clock, column->column_id);

	if (current == NULL ||
		((bms_is_member(cell->column, row->merged) ||
		  apply_stamp_is_seen(state, row, current)) &&
		 !(apply_rule(state, row, cell->column)->policy == POLICY_COUNTER &&
		   cell->op == DELTA_SET)))
	{
		/* later changes of this push meet only what this one leaves */
		row->merged = bms_add_member(row->merged, cell->column);
		tally->incoming++;
	}
	else
	{
		row->force = bms_add_member(row->force, cell->column);
		tally->merged++;
	}
}

/* a + b in the column's type, its typmod and domain applied. */
Datum
apply_add_counter(SyncColumn *column, Datum a, Datum b)
{
	DeltaValue	sum;
	bool		isnull;
	char	   *text;

	/*
	 * Through the text form: whatever integer type, numeric(p,s) or domain
	 * over one of them the column has, its input function knows its limits.
	 */
	text = DatumGetCString(DirectFunctionCall1(numeric_out,
											   DirectFunctionCall2(numeric_add,
																   DirectFunctionCall3(numeric_in,
																					   CStringGetDatum(value_to_text(column, a)),
																					   ObjectIdGetDatum(InvalidOid),
																					   Int32GetDatum(-1)),
																   DirectFunctionCall3(numeric_in,
																					   CStringGetDatum(value_to_text(column, b)),
																					   ObjectIdGetDatum(InvalidOid),
																					   Int32GetDatum(-1)))));

	sum.kind = DELTA_NUMBER;
	sum.data = text;

	sum.len = strlen(text);
	return value_from_delta(column, &sum, &isnull);
}
