/*-------------------------------------------------------------------------
 *
 * resolve_conflict.c
 *	  sync_resolve_conflict: a person decides a conflict.
 *
 * Resolving is an ordinary statement with the caller's own rights: it is captured
 * as the node's write, so it flows to every device, and whoever may not write the
 * row may not resolve.  Only the mark on the conflict is written with the rights
 * of the state tables' owner.
 *
 * It closes this conflict only.  Others about the same cell or row may be between
 * other values, which the person has not looked at.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "audit/journal.h"
#include "audit/opaque.h"
#include "catalog/pg_type.h"
#include "compat.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "log/state.h"
#include "merge/resolve.h"
#include "miscadmin.h"
#include "registry/row_batch.h"
#include "registry/row_key.h"
#include "registry/value.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/json.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"
#include "utils/rls.h"
#include "utils/snapmgr.h"
#include "utils/uuid.h"

PG_FUNCTION_INFO_V1(sync_resolve_conflict);

static void read_conflict(Datum id, Conflict *conflict);
static Jsonb *opaque_incoming(const Conflict *conflict);
static Jsonb *find_opaque(const JournalRow *stored, const Conflict *conflict);
static void write_value(SyncTable *table, int column, const Conflict *conflict,
						Jsonb *json, bool keeps_current);
static void mark_resolved(Datum id);

/*
 * sync_resolve_conflict(conflict uuid, resolution text, value jsonb DEFAULT NULL)
 *
 * Not strict: value is NULL unless resolution is 'value'.
 */
Datum
sync_resolve_conflict(PG_FUNCTION_ARGS)
{
	char	   *resolution;
	Conflict	conflict;
	SyncTable  *table;
	int			column;
	Jsonb	   *json = NULL;
	bool		keeps_current;

	PreventCommandIfReadOnly("sync_resolve_conflict()");
	PreventCommandDuringRecovery("sync_resolve_conflict()");
	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("conflict and resolution must not be null")));
	resolution = text_to_cstring(PG_GETARG_TEXT_PP(1));
	keeps_current = strcmp(resolution, "current") == 0;

	SPI_connect();
	read_conflict(PG_GETARG_DATUM(0), &conflict);
	if (strcmp(conflict.state, "resolved") == 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("conflict is resolved already")));
	table = sync_table_by_id(conflict.table_id);
	if (table == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the table of the conflict is not tracked any more")));
	column = sync_column_by_id(table, conflict.column_id);

	if (strcmp(resolution, "incoming") == 0)
		json = conflict.is_opaque ? opaque_incoming(&conflict) : conflict.incoming;
	else if (strcmp(resolution, "value") == 0)
	{
		if (PG_ARGISNULL(2))
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("resolution \"value\" needs a value"),
					 errhint("Write 'null'::jsonb for SQL NULL.")));
		json = PG_GETARG_JSONB_P(2);
	}
	else if (!keeps_current)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("unrecognized resolution \"%s\"", resolution),
				 errhint("The resolutions are \"current\", \"incoming\" and \"value\".")));
	if (conflict.column_id != 0 && column < 0 && !keeps_current)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_COLUMN),
				 errmsg("the column of the conflict does not exist any more"),
				 errhint("Resolve it as \"current\".")));

	if (keeps_current || column >= 0)
		write_value(table, column, &conflict, json, keeps_current);
	else if (strcmp(resolution, "incoming") == 0)
		resolve_row_incoming(table, &conflict);
	else
		resolve_row_value(table, &conflict, json);
	mark_resolved(PG_GETARG_DATUM(0));
	SPI_finish();
	PG_RETURN_VOID();
}

static void
read_conflict(Datum id, Conflict *conflict)
{
	Oid			types[] = {UUIDOID};
	StateUser	saved;
	HeapTuple	tuple;
	TupleDesc	desc;
	bool		isnull;
	bytea	   *key;
	Datum		incoming;

	state_become_owner(&saved);
	SPI_execute_with_args("SELECT table_id, key, coalesce(column_id, 0), state, incoming_value,"
						  " policy = 'opaque', device, seq FROM offline_sync.conflict WHERE conflict = $1 FOR UPDATE",
						  1, types, &id, NULL, false, 1);
	state_restore_user(&saved);
	if (SPI_processed == 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("conflict \"%s\" does not exist",
						DatumGetCString(DirectFunctionCall1(uuid_out, id))),
				 errhint("The view sync_conflicts lists the conflicts of devices that you may act for.")));

	tuple = SPI_tuptable->vals[0];
	desc = SPI_tuptable->tupdesc;
	conflict->table_id = DatumGetInt32(SPI_getbinval(tuple, desc, 1, &isnull));
	key = DatumGetByteaPP(SPI_getbinval(tuple, desc, 2, &isnull));
	conflict->key = VARDATA_ANY(key);
	conflict->key_len = VARSIZE_ANY_EXHDR(key);
	conflict->column_id = DatumGetInt32(SPI_getbinval(tuple, desc, 3, &isnull));
	conflict->state = SPI_getvalue(tuple, desc, 4);
	incoming = SPI_getbinval(tuple, desc, 5, &isnull);
	conflict->incoming = isnull ? NULL : DatumGetJsonbP(incoming);
	conflict->is_opaque = DatumGetBool(SPI_getbinval(tuple, desc, 6, &isnull));
	conflict->device = *DatumGetUUIDP(SPI_getbinval(tuple, desc, 7, &isnull));
	conflict->seq = DatumGetInt64(SPI_getbinval(tuple, desc, 8, &isnull));
}

/*
 * The conflict has only a digest of the value; the change that brought it is in the
 * journal.
 */
static Jsonb *
opaque_incoming(const Conflict *conflict)
{
	Snapshot	snapshot;
	JournalRow *stored;
	Jsonb	   *value;

	if (conflict->incoming == NULL || JB_ROOT_IS_SCALAR(conflict->incoming))
		return conflict->incoming;
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	stored = journal_find(&conflict->device, conflict->seq, snapshot);
	UnregisterSnapshot(snapshot);
	value = stored == NULL ? NULL : find_opaque(stored, conflict);
	if (value == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_NO_DATA_FOUND),
				 errmsg("the incoming value of the conflict is not stored any more"),
				 errhint("Resolve it as \"current\", or give the value.")));
	return value;
}

/* Of the change's cells the one with the conflict's digest: its column may have been
 * renamed since.  NULL: none. */
static Jsonb *
find_opaque(const JournalRow *stored, const Conflict *conflict)
{
	DeltaReader reader;
	DeltaChange change;
	bool		found = false;

	memset(&change, 0, sizeof(change));
	delta_reader_init(&reader, stored->delta);
	while (!found && delta_reader_next(&reader, &change))
		found = change.seq == conflict->seq;
	for (int i = 0; found && i < change.ncells; i++)
	{
		DeltaValue *value = &change.cells[i].value;
		StringInfoData json;

		if (value->kind != DELTA_STRING ||
			!opaque_is_of_text(conflict->incoming, value->data, value->len))
			continue;
		initStringInfo(&json);
		escape_json(&json, pnstrdup(value->data, value->len));
		return DatumGetJsonbP(DirectFunctionCall1(jsonb_in,
												  CStringGetDatum(json.data)));
	}
	return NULL;
}

/*
 * Write the value into the row, or only lock it where the current one stays: in
 * either case the caller must be able to update it.
 */
static void
write_value(SyncTable *table, int column, const Conflict *conflict, Jsonb *json,
			bool keeps_current)
{
	Datum	   *key = palloc(table->nkeys * sizeof(Datum));
	int			modes = value_modes_begin();
	Datum		value = (Datum) 0;
	bool		isnull = false;
	RowBatch   *batch;

	row_key_decode(table, conflict->key, conflict->key_len, key);
	if (!keeps_current)
		value = resolve_column_value(&table->columns[column], json, &isnull);
	value_modes_end(modes);

	batch = row_batch_begin(table, keeps_current ? NULL :
							bms_make_singleton(column));
	row_batch_put(batch, 0, key, &value, &isnull);
	row_batch_run(batch, keeps_current ? ROW_STATEMENT_LOCK :
				  ROW_STATEMENT_UPDATE, NULL, false);
	row_batch_end(batch);

	/* of a row that is gone there is nothing to keep; but it may be hidden */
	if (SPI_processed == 0 &&
		(!keeps_current ||
		 check_enable_rls(table->relid, InvalidOid, true) == RLS_ENABLED))
		resolve_refused(table);
}

/*
 * Row security hides rows without a word, so where it applies nobody is told which
 * of both it is.
 */
void
resolve_refused(const SyncTable *table)
{
	ereport(ERROR,
			(errcode(check_enable_rls(table->relid, InvalidOid, true) == RLS_ENABLED ?
					 ERRCODE_INSUFFICIENT_PRIVILEGE : ERRCODE_NO_DATA_FOUND),
			 errmsg("the row of the conflict does not exist, or you may not update it")));
}

Datum
resolve_column_value(SyncColumn *column, Jsonb *json, bool *isnull)
{
	char	   *text = JsonbToCString(NULL, &json->root, VARSIZE(json));
	DeltaValue	value;

	*isnull = JB_ROOT_IS_SCALAR(json) && strcmp(text, "null") == 0;
	if (*isnull)
		return (Datum) 0;
	if (column->value_class == VALUE_ORSET)
		return InputFunctionCall(&column->input, text, column->typioparam,
								 column->typmod);
	delta_value_from_json(text, strlen(text), &value);
	return value_from_delta(column, &value, isnull);
}

static void
mark_resolved(Datum id)
{
	Oid			types[] = {UUIDOID, TEXTOID};
	Datum		values[2];
	StateUser	saved;

	values[0] = id;
	values[1] = CStringGetTextDatum(GetUserNameFromId(GetUserId(), false));
	state_become_owner(&saved);
	SPI_execute_with_args("UPDATE offline_sync.conflict SET state = 'resolved',"
						  " resolved_at = pg_catalog.clock_timestamp(), resolved_by = $2"
						  " WHERE conflict = $1",
						  2, types, values, NULL, false, 0);
	state_restore_user(&saved);
}
