/*-------------------------------------------------------------------------
 *
 * apply_resolve.c
 *	  First step of an apply: names become tables and columns, travelling
 *	  values become Datums, keys become bytes.
 *
 * What cannot be resolved refuses its change, never the delta.  Values go
 * through the types' input functions, which may raise anything; all of them run
 * in one subtransaction, and only after an error is another one begun, for the
 * changes that are left.  Nothing is written here, so nothing is lost with it.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "executor/spi.h"
#include "merge/apply.h"
#include "miscadmin.h"
#include "registry/row_key.h"
#include "registry/value.h"
#include "storage/lmgr.h"
#include "utils/datum.h"
#include "utils/memutils.h"
#include "utils/resowner.h"
#include "utils/snapmgr.h"

static void resolve_rest(ApplyState *state);
static void resolve_change(ApplyState *state, ApplyChange *change);
static Datum convert_value(ApplyState *state, SyncColumn *column,
						   const DeltaValue *value, bool *isnull);
static void present_value(ApplyState *state, const ApplyChange *change, int column,
						  const DeltaValue *value, DeltaValue *result);
static bool to_list(ApplyState *state, const DeltaValue *value, DeltaValue *list);
static void keep_sent(ApplyState *state, DeltaValue *value);
static void resolve_table(ApplyState *state, int index);
static SyncTable *lock_table(const DeltaName *name);
static bool find_table(ApplyState *state, ApplyChange *change);
static bool resolve_key(ApplyState *state, ApplyChange *change);
static bool resolve_cells(ApplyState *state, ApplyChange *change);
static bool resolve_cell(ApplyState *state, ApplyChange *change,
						 const DeltaCell *cell, ApplyCell *result);
static bool is_for_object(DeltaCellOp op, const DeltaValue *value);
static char *no_column_message(ApplyState *state, ApplyChange *change,
							   const char *name);
static int	resolve_column(ApplyState *state, ApplyChange *change, int name);
static void conceal_opaque(ApplyChange *change);

void
apply_resolve(ApplyState *state)
{
	if (state->versions == NULL)
	{
		state->versions = palloc0(Max(state->reader.ntables, 1) *
								  sizeof(TableVersion *));
		state->masks = palloc0(Max(state->reader.ntables, 1) *
							   sizeof(ColumnMasks *));
	}

	/* outside of a subtransaction, with which the locks could go */
	for (int i = 0; i < state->reader.ntables; i++)
	{
		if (!state->tables_resolved[i])
			resolve_table(state, i);
	}

	state->nresolved = 0;
	while (state->nresolved < state->nchanges)
	{
		MemoryContext oldcontext = CurrentMemoryContext;
		ResourceOwner oldowner = CurrentResourceOwner;

		BeginInternalSubTransaction(NULL);
		MemoryContextSwitchTo(state->context);
		PG_TRY();
		{
			int			modes = value_modes_begin_for(state->modes);

			resolve_rest(state);
			value_modes_end(modes);
			ReleaseCurrentSubTransaction();
		}
		PG_CATCH();
		{
			ErrorData  *edata;

			MemoryContextSwitchTo(state->context);
			edata = CopyErrorData();
			FlushErrorState();
			RollbackAndReleaseCurrentSubTransaction();
			if (!apply_error_is_outcome(edata))
				ReThrowError(edata);
			apply_refuse_error(&state->changes[state->nresolved++], edata);
		}
		PG_END_TRY();
		MemoryContextSwitchTo(oldcontext);
		CurrentResourceOwner = oldowner;
	}
}

static void
resolve_rest(ApplyState *state)
{
	for (; state->nresolved < state->nchanges; state->nresolved++)
	{
		CHECK_FOR_INTERRUPTS();
		MemoryContextReset(state->scratch);
		resolve_change(state, &state->changes[state->nresolved]);
	}
	MemoryContextReset(state->scratch);
}

/*
 * A travelling value as the column's: what an input function needs on the way is
 * forgotten, and the result put where it takes no more than its size.
 */
static Datum
convert_value(ApplyState *state, SyncColumn *column, const DeltaValue *value,
			  bool *isnull)
{
	MemoryContext oldcontext = MemoryContextSwitchTo(state->scratch);
	Datum		result = value_from_delta(column, value, isnull);

	MemoryContextSwitchTo(oldcontext);
	if (*isnull || column->typbyval)
		return result;
	/* in memory of its own, which goes with the scratch */
	if (column->typlen == -1 && VARATT_IS_EXTERNAL(DatumGetPointer(result)))
		return datumCopy(result, false, -1);
	return PointerGetDatum(bump_copy(&state->bump, DatumGetPointer(result),
									 datumGetSize(result, false, column->typlen)));
}

/* The value in the present version of the schema, in the scratch where it is another. */
static void
present_value(ApplyState *state, const ApplyChange *change, int column,
			  const DeltaValue *value, DeltaValue *result)
{
	MemoryContext oldcontext = MemoryContextSwitchTo(state->scratch);

	table_version_up(change->table, apply_table_version(state, change), column,
					 value, result);
	MemoryContextSwitchTo(oldcontext);
}

static bool
to_list(ApplyState *state, const DeltaValue *value, DeltaValue *list)
{
	MemoryContext oldcontext = MemoryContextSwitchTo(state->scratch);
	bool		result = delta_value_to_list(value, list);

	MemoryContextSwitchTo(oldcontext);
	return result;
}

/* Keep what a value points to, unless it is in the delta itself. */
static void
keep_sent(ApplyState *state, DeltaValue *value)
{
	const char *start = VARDATA_ANY(state->delta);

	if (value->len > 0 &&
		(value->data < start ||
		 value->data >= start + VARSIZE_ANY_EXHDR(state->delta)))
		value->data = bump_copy(&state->bump, value->data, value->len);
}

static void
resolve_change(ApplyState *state, ApplyChange *change)
{
	switch (change->delta.kind)
	{
		case DELTA_CHANGE_INSERT:
		case DELTA_CHANGE_UPDATE:
		case DELTA_CHANGE_DELETE:
			break;
		case DELTA_CHANGE_INTENT:
			apply_resolve_intent(state, change);
			return;
		default:
			apply_refuse(change, "not_for_push", ERRCODE_FEATURE_NOT_SUPPORTED,
						 "a device cannot push a retraction", NULL);
			return;
	}
	if (!find_table(state, change))
		return;
	delta_reader_again(&state->reader, &change->delta);
	if (resolve_key(state, change))
		(void) resolve_cells(state, change);
	change->delta.keys = change->delta.cells = NULL;
}

/* The table of a name that the delta uses, and its columns. */
static void
resolve_table(ApplyState *state, int index)
{
	SyncTable  *table = lock_table(&state->reader.tables[index]);

	state->tables[index] = table;
	state->tables_resolved[index] = true;
	if (table == NULL)
		return;
	state->versions[index] = table_version_open(table, apply_schema_version(state));
	state->any_versions |= state->versions[index] != NULL;
	state->modes = Max(state->modes, state->versions[index] != NULL ?
					   VALUE_MODES_ALL : table->input_modes);
	state->masks[index] = apply_masks(state, table);
	state->columns[index] = palloc(state->reader.ncolumns * sizeof(int));
	for (int i = 0; i < state->reader.ncolumns; i++)
		state->columns[index][i] =
			table_version_column(table, state->versions[index],
								 state->reader.columns[i].data,
								 state->reader.columns[i].len);
	if (table->has_before_insert || table->has_before_update ||
		table->has_other_triggers)
		state->any_triggers = true;
}

/* The table is locked, and masks with it. */
ColumnMasks *
apply_masks(const ApplyState *state, SyncTable *table)
{
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	ColumnMasks *masks = guard_masks(table, state->device->device_class, snapshot);

	UnregisterSnapshot(snapshot);
	return masks;
}

/*
 * A device that does not say speaks the version that it declared last; one that never
 * did, the present one, as it is served.
 */
int
apply_schema_version(const ApplyState *state)
{
	if (state->reader.header.schema_version != 0)
		return state->reader.header.schema_version;
	return state->device == NULL ? 0 : state->device->schema_version;
}

int
apply_stored_version(const ApplyState *state)
{
	int			version = apply_schema_version(state);

	return version == 0 ? sync_schema_version() : version;
}

const TableVersion *
apply_table_version(const ApplyState *state, const ApplyChange *change)
{
	if (change->delta.table < 0 || state->versions == NULL)
		return NULL;
	return state->versions[change->delta.table];
}

/*
 * A table by its name in deltas, as it is and as it stays until the end of the
 * transaction: a statement for a table that was altered since it was described would
 * fail, and the change be refused for good.  NULL: not tracked.
 */
static SyncTable *
lock_table(const DeltaName *name)
{
	SyncTable  *table = sync_table_by_name(name->data, name->len);
	Oid			locked = InvalidOid;

	while (table != NULL && table->relid != locked)
	{
		locked = table->relid;
		LockRelationOid(locked, RowExclusiveLock);
		table = sync_table_by_name(name->data, name->len);
	}
	return table;
}

static bool
find_table(ApplyState *state, ApplyChange *change)
{
	int			index = change->delta.table;

	change->table = state->tables[index];
	if (change->table == NULL)
	{
		apply_refuse(change, "unknown_table", ERRCODE_UNDEFINED_TABLE,
					 psprintf("table \"%s\" is not tracked",
							  state->reader.tables[index].data), NULL);
		return false;
	}
	return true;
}

static bool
resolve_key(ApplyState *state, ApplyChange *change)
{
	SyncTable  *table = change->table;
	MemoryContext oldcontext;
	StringInfoData buf;

	if (change->delta.nkeys != table->nkeys)
	{
		apply_refuse(change, "bad_key", ERRCODE_INVALID_PARAMETER_VALUE,
					 psprintf("key has %d columns, but the primary key of table \"%s\" has %d",
							  change->delta.nkeys, table->wire_name,
							  table->nkeys), NULL);
		return false;
	}

	change->key = bump_alloc(&state->bump, table->nkeys * sizeof(Datum));
	for (int i = 0; i < table->nkeys; i++)
	{
		SyncColumn *column = &table->columns[table->key[i]];
		bool		found = false;
		bool		isnull;

		for (int k = 0; k < change->delta.nkeys && !found; k++)
		{
			DeltaCell  *cell = &change->delta.keys[k];
			DeltaValue	value;

			if (state->columns[change->delta.table][cell->column] != table->key[i])
				continue;
			change->column = column->name;	/* in case the value is bad */
			present_value(state, change, table->key[i], &cell->value, &value);
			change->key[i] = convert_value(state, column, &value, &isnull);
			change->column = NULL;
			found = !isnull;
		}
		if (!found)
		{
			apply_refuse(change, "bad_key", ERRCODE_INVALID_PARAMETER_VALUE,
						 psprintf("key lacks column \"%s\" of the primary key",
								  table_version_name(table, apply_table_version(state, change),
													 table->key[i])),
						 column->name);
			return false;
		}
	}

	oldcontext = MemoryContextSwitchTo(state->scratch);
	initStringInfo(&buf);
	row_key_encode(&buf, table, change->key);
	MemoryContextSwitchTo(oldcontext);
	change->ref.table_id = table->table_id;
	change->ref.key_len = buf.len;
	change->ref.key_bytes = bump_copy(&state->bump, buf.data, buf.len);
	return true;
}

static bool
resolve_cells(ApplyState *state, ApplyChange *change)
{
	change->cells = bump_alloc(&state->bump, change->delta.ncells * sizeof(ApplyCell));
	change->ncells = 0;
	for (int i = 0; i < change->delta.ncells; i++)
	{
		int			name = change->delta.cells[i].column;

		/* what became of the column, its values follow */
		if (state->columns[change->delta.table][name] == VERSION_DROPPED_COLUMN)
		{
			change->ignored =
				list_append_unique_ptr(change->ignored,
									   unconstify(char *, state->reader.columns[name].data));
			continue;
		}
		if (!resolve_cell(state, change, &change->delta.cells[i],
						  &change->cells[change->ncells]))
			return false;
		change->ncells++;
	}
	return true;
}

static bool
resolve_cell(ApplyState *state, ApplyChange *change, const DeltaCell *cell,
			 ApplyCell *result)
{
	int			index = resolve_column(state, change, cell->column);
	SyncColumn *column;
	DeltaValue	value;
	const char *misuse = NULL;

	if (index < 0)
		return false;
	column = &change->table->columns[index];

	result->column = index;
	result->op = cell->op;
	result->value = (Datum) 0;
	result->isnull = false;

	switch (cell->op)
	{
		case DELTA_SET:
			if (column->policy == POLICY_COUNTER &&
				change->delta.kind != DELTA_CHANGE_INSERT)
				misuse = "column \"%s\" is a counter: it takes increments";
			break;
		case DELTA_INCREMENT:
			if (column->policy != POLICY_COUNTER)
				misuse = "column \"%s\" is not a counter";
			break;
		case DELTA_ADD:
		case DELTA_REMOVE:
			if (column->policy != POLICY_ORSET && column->policy != POLICY_JSON)
				misuse = delta_value_is_object(&cell->value) ?
					"column \"%s\" is not merged key by key" :
					"column \"%s\" is not a set";
			break;
	}
	if (misuse != NULL)
	{
		StringInfoData message;

		initStringInfo(&message);
		appendStringInfo(&message, misuse, state->reader.columns[cell->column].data);
		apply_refuse(change, "policy_mismatch", ERRCODE_WRONG_OBJECT_TYPE,
					 message.data, column->name);
		return false;
	}

	change->column = column->name;	/* in case the value is bad */
	present_value(state, change, index, &cell->value, &value);
	result->sent = value;
	if (column->policy == POLICY_ORSET)
	{
		if (value.kind == DELTA_NULL)
		{
			result->sent.kind = DELTA_LIST;
			result->sent.data = NULL;
			result->sent.len = 0;
		}
		else if (!to_list(state, &value, &result->sent))
		{
			apply_refuse(change, "bad_value", ERRCODE_INVALID_TEXT_REPRESENTATION,
						 psprintf("value for set column \"%s\" must be an array of strings",
								  column->name), column->name);
			return false;
		}
	}
	else if (column->policy == POLICY_JSON && !is_for_object(cell->op, &value))
	{
		apply_refuse(change, "bad_value", ERRCODE_INVALID_TEXT_REPRESENTATION,
					 psprintf("value for column \"%s\" must be a JSON object",
							  column->name), column->name);
		return false;
	}
	else if (column->policy != POLICY_JSON || cell->op != DELTA_REMOVE)
	{
		result->value = convert_value(state, column, &value, &result->isnull);
		if (result->isnull && cell->op == DELTA_INCREMENT)
		{
			apply_refuse(change, "bad_value", ERRCODE_NULL_VALUE_NOT_ALLOWED,
						 psprintf("increment of column \"%s\" cannot be null",
								  column->name), column->name);
			return false;
		}
	}
	keep_sent(state, &result->sent);
	change->column = NULL;
	return true;
}

/* Is a value one for a column that is merged key by key? */
static bool
is_for_object(DeltaCellOp op, const DeltaValue *value)
{
	if (op == DELTA_REMOVE)
		return value->kind == DELTA_LIST;
	return delta_value_is_object(value) ||
		(op == DELTA_SET && value->kind == DELTA_NULL);
}

/* The column that a cell means, or -1 after refusing the change. */
static int
resolve_column(ApplyState *state, ApplyChange *change, int name)
{
	int			index = state->columns[change->delta.table][name];
	const char *column_name = state->reader.columns[name].data;
	SyncColumn *column;
	const ColumnMasks *masks;

	if (index < 0)
	{
		apply_refuse(change, "unknown_column", ERRCODE_UNDEFINED_COLUMN,
					 no_column_message(state, change, column_name),
					 column_name);
		return -1;
	}
	column = &change->table->columns[index];
	if (column->is_generated)
	{
		apply_refuse(change, "generated_column", ERRCODE_GENERATED_ALWAYS,
					 psprintf("column \"%s\" is generated and cannot be written",
							  column_name), column_name);
		return -1;
	}
	if (column->is_key)
	{
		apply_refuse(change, "key_column", ERRCODE_INVALID_PARAMETER_VALUE,
					 psprintf("column \"%s\" belongs to the primary key and cannot be changed",
							  column_name), column_name);
		return -1;
	}
	masks = state->masks[change->delta.table];
	if (masks != NULL && bms_is_member(index, masks->no_push))
	{
		apply_refuse(change, "masked_column", ERRCODE_INSUFFICIENT_PRIVILEGE,
					 psprintf("column \"%s\" of table \"%s\" is not accepted from this device",
							  column_name, change->table->wire_name), column_name);
		return -1;
	}
	return index;
}

/* Which version of the schema it lacks, where that is not the present one. */
static char *
no_column_message(ApplyState *state, ApplyChange *change, const char *name)
{
	if (apply_table_version(state, change) == NULL)
		return psprintf("column \"%s\" of table \"%s\" does not exist",
						name, change->table->wire_name);
	return psprintf("column \"%s\" of table \"%s\" does not exist in schema version %d",
					name, change->table->wire_name, apply_schema_version(state));
}

void
apply_refuse(ApplyChange *change, const char *reason, int sqlstate,
			 const char *message, const char *column)
{
	change->is_refused = true;
	change->outcome = OUTCOME_REJECTED;
	change->reason = reason;
	change->sqlstate = sqlstate;
	change->message = message;
	change->detail = NULL;
	change->constraint = NULL;
	change->column = column;
}

/*
 * An error becomes an outcome where it says something about the content.  What
 * a retry may cure (serialization, resources, an operator's intervention) or
 * what says that the server is damaged is raised instead: an acknowledged
 * refusal would be final.
 */
bool
apply_error_is_outcome(const ErrorData *edata)
{
	switch (ERRCODE_TO_CATEGORY(edata->sqlerrcode))
	{
		case MAKE_SQLSTATE('0', '8', '0', '0', '0'):	/* connection: of a
														 * trigger */
		case MAKE_SQLSTATE('4', '0', '0', '0', '0'):	/* transaction rollback */
		case MAKE_SQLSTATE('5', '3', '0', '0', '0'):	/* insufficient
														 * resources */
		case MAKE_SQLSTATE('5', '7', '0', '0', '0'):	/* operator intervention */
		case MAKE_SQLSTATE('5', '8', '0', '0', '0'):	/* system error */
		case MAKE_SQLSTATE('X', 'X', '0', '0', '0'):	/* internal error */
			return false;
	}
	return edata->sqlerrcode != ERRCODE_LOCK_NOT_AVAILABLE &&
		edata->elevel == ERROR;
}

/*
 * In somebody else's statement such an error, too, is kept from him, but for those
 * that are meant for him: to cancel, or to shut down.
 */
bool
apply_error_is_guests(const ErrorData *edata)
{
	return edata->elevel == ERROR &&
		ERRCODE_TO_CATEGORY(edata->sqlerrcode) !=
		MAKE_SQLSTATE('5', '7', '0', '0', '0');
}

void
apply_refuse_error(ApplyChange *change, const ErrorData *edata)
{
	const char *column = edata->column_name ? edata->column_name : change->column;
	const char *reason;

	if (change->key == NULL || change->column != NULL)
		reason = "bad_value";
	else
		reason = "error";
	if (ERRCODE_TO_CATEGORY(edata->sqlerrcode) ==
		ERRCODE_INTEGRITY_CONSTRAINT_VIOLATION)
		reason = "constraint";
	else if (edata->sqlerrcode == ERRCODE_INSUFFICIENT_PRIVILEGE)
		reason = "privilege";

	apply_refuse(change, reason, edata->sqlerrcode, edata->message, column);
	change->detail = edata->detail;
	conceal_opaque(change);
	change->constraint = edata->constraint_name;
}

/*
 * A detail may show the row, and an input function's message the value: neither is kept
 * where nobody is to see it.
 */
static void
conceal_opaque(ApplyChange *change)
{
	for (int i = 0; change->table != NULL && i < change->table->ncolumns; i++)
	{
		const SyncColumn *column = &change->table->columns[i];

		if (column->policy != POLICY_OPAQUE)
			continue;
		change->detail = NULL;
		if (change->column != NULL && strcmp(change->column, column->name) == 0 &&
			strcmp(change->reason, "bad_value") == 0)
			change->message = "invalid value of type bytea";
	}
}
