/*-------------------------------------------------------------------------
 *
 * apply_rules.c
 *	  What rules with options ask for: the classes of writers (priority), and
 *	  the functions that merge two values (custom).
 *
 * A writer's class is that of its device at the time of the call, looked up once
 * for each device whose concurrent write is met.  What a node wrote counts as
 * class "server".
 *
 * A function is found, checked and prepared once for each batch: a batch is a
 * subtransaction, and with it the lock that keeps the function from being
 * dropped would go.  It runs as the caller and under the caller's own settings,
 * as a trigger does, and sees what is committed and what this transaction wrote
 * before.  Its errors undo the batch and so become the outcome of their change.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/objectaccess.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "merge/apply.h"
#include "nodes/makefuncs.h"
#include "pgstat.h"
#include "registry/custom_function.h"
#include "registry/row_key.h"
#include "registry/value.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/fmgrprotos.h"
#include "utils/json.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#define SERVER_CLASS	"server"

/* A device and its class */
typedef struct WriterClass
{
	pg_uuid_t	device;			/* hash key */
	char	   *name;			/* NULL: none */
} WriterClass;

/* A column's function, ready to be called */
typedef struct CustomCall
{
	const SyncColumn *column;
	const char *name;
	CustomFunction function;
	FmgrInfo	flinfo;
	MemoryContext context;		/* of one call, reset before each */
} CustomCall;

static const char *writer_class(ApplyState *state, const Stamp *stamp);
static int	class_rank(const SyncRule *rule, const char *name);
static CustomCall *find_call(ApplyState *state, ApplyChange *change,
							 const SyncRule *rule, const SyncColumn *column);
static void prepare_call(CustomCall *call);
static Datum call_context(ApplyState *state, const ApplyChange *change,
						  const ApplyRow *row, const SyncColumn *column,
						  const CellFacts *facts);
static void append_writer(ApplyState *state, StringInfo buf, const Stamp *stamp);
static Datum call_function(CustomCall *call, NullableDatum current,
						   NullableDatum incoming, Datum context, bool *isnull);
static Datum column_value(SyncColumn *column, Datum value, bool *isnull);

/* ---- classes ---- */

int
apply_compare_classes(ApplyState *state, const SyncRule *rule, const Stamp *incoming,
					  const Stamp *current)
{
	return class_rank(rule, writer_class(state, current)) -
		class_rank(rule, writer_class(state, incoming));
}

/* Its place in the order; all that are not listed share the one after the last. */
static int
class_rank(const SyncRule *rule, const char *name)
{
	for (int i = 0; name != NULL && i < rule->nclasses; i++)
	{
		if (strcmp(rule->classes[i], name) == 0)
			return i;
	}
	return rule->nclasses;
}

static const char *
writer_class(ApplyState *state, const Stamp *stamp)
{
	WriterClass *entry;
	bool		found;

	if (memcmp(&stamp->replica, &stamp->node, UUID_LEN) == 0)
		return SERVER_CLASS;
	if (memcmp(&stamp->replica, &state->device->uuid, UUID_LEN) == 0)
		return state->device->device_class;

	if (state->writer_classes == NULL)
	{
		HASHCTL		ctl;

		ctl.keysize = sizeof(pg_uuid_t);
		ctl.entrysize = sizeof(WriterClass);
		ctl.hcxt = state->context;
		state->writer_classes = hash_create("offline_sync writer classes", 32, &ctl,
											HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	}
	entry = hash_search(state->writer_classes, &stamp->replica, HASH_FIND, NULL);
	if (entry == NULL)
	{
		/* entered once it is complete: the look-up may raise */
		char	   *name = sync_device_class(&stamp->replica);

		if (name != NULL)
			name = MemoryContextStrdup(state->context, name);
		entry = hash_search(state->writer_classes, &stamp->replica, HASH_ENTER,
							&found);
		entry->name = name;
	}
	return entry->name;
}

/* ---- functions ---- */

/*
 * What the rule's function makes of both values: one of them, or a third in
 * *merged (CELL_MERGED).  A strict function has nothing to say about
 * NULL: then the later write stays.
 */
CellVerdict
apply_custom(ApplyState *state, ApplyChange *change, const ApplyRow *row,
			 const ApplyCell *cell, const SyncRule *rule,
			 const CellFacts *facts, NullableDatum *merged)
{
	SyncColumn *column = &row->table->columns[cell->column];
	CustomCall *call = find_call(state, change, rule, column);
	NullableDatum current = {row->values[cell->column], row->isnull[cell->column]};
	NullableDatum incoming = {cell->value, cell->isnull};
	NullableDatum result;
	MemoryContext oldcontext;
	Datum		context;

	if (call->function.is_strict && (current.isnull || incoming.isnull))
		return decide_cell(POLICY_LWW, facts);

	MemoryContextReset(call->context);
	oldcontext = MemoryContextSwitchTo(call->context);
	context = call_context(state, change, row, column, facts);

	change->reason = "custom_function"; /* in case it fails */
	change->column = column->name;
	value_modes_end(state->value_modes);
	result.value = call_function(call, current, incoming, context, &result.isnull);
	state->value_modes = value_modes_begin_for(state->modes);
	result.value = column_value(column, result.value, &result.isnull);
	change->reason = change->column = NULL;

	MemoryContextSwitchTo(oldcontext);
	if (apply_same_value(column, result, incoming))
		return CELL_INCOMING;
	if (apply_same_value(column, result, current))
		return CELL_CURRENT;
	merged->isnull = result.isnull;
	merged->value = result.isnull ? (Datum) 0 :
		datumCopy(result.value, column->typbyval, column->typlen);
	return CELL_MERGED;
}

static CustomCall *
find_call(ApplyState *state, ApplyChange *change, const SyncRule *rule,
		  const SyncColumn *column)
{
	MemoryContext oldcontext;
	CustomCall *call;
	ListCell   *lc;

	foreach(lc, state->custom_calls)
	{
		call = lfirst(lc);
		if (call->column == column && strcmp(call->name, rule->function) == 0)
			return call;
	}

	oldcontext = MemoryContextSwitchTo(state->batch_context);
	call = palloc0(sizeof(CustomCall));
	call->column = column;
	call->name = rule->function;
	change->reason = "custom_function"; /* in case it is gone, or altered */
	change->column = column->name;
	custom_function_find(rule->function, column, &call->function);
	change->reason = change->column = NULL;
	custom_function_check_execute(&call->function);
	prepare_call(call);
	call->context = AllocSetContextCreate(state->batch_context,
										  "offline_sync custom function",
										  ALLOCSET_DEFAULT_SIZES);
	state->custom_calls = lappend(state->custom_calls, call);
	MemoryContextSwitchTo(oldcontext);
	return call;
}

/* Tells a polymorphic function what its types are. */
static void
prepare_call(CustomCall *call)
{
	const SyncColumn *column = call->column;
	Oid			type = IsPolymorphicType(call->function.argument_type) ?
	column->base_type : call->function.argument_type;
	Node	   *value = (Node *) makeNullConst(type, -1, column->collation);
	Node	   *context = (Node *) makeNullConst(JSONBOID, -1, InvalidOid);

	fmgr_info_cxt(call->function.oid, &call->flinfo, CurrentMemoryContext);
	fmgr_info_set_expr((Node *) makeFuncExpr(call->function.oid, type,
											 list_make3(value, value, context),
											 column->collation, column->collation,
											 COERCE_EXPLICIT_CALL),
					   &call->flinfo);
}

/* The function's third argument: which cell, and who wrote what when. */
static Datum
call_context(ApplyState *state, const ApplyChange *change, const ApplyRow *row,
			 const SyncColumn *column, const CellFacts *facts)
{
	Jsonb	   *key = row_key_to_jsonb(row->table, row->ref.key_bytes,
									   row->ref.key_len);
	StringInfoData buf;

	initStringInfo(&buf);
	appendStringInfoString(&buf, "{\"table\":");
	escape_json(&buf, row->table->wire_name);
	appendStringInfoString(&buf, ",\"column\":");
	escape_json(&buf, column->name);
	appendStringInfoString(&buf, ",\"key\":");
	(void) JsonbToCString(&buf, &key->root, VARSIZE(key));
	if (row->scope != NULL)
	{
		appendStringInfoString(&buf, ",\"scope\":");
		escape_json(&buf, row->scope);
	}
	appendStringInfoString(&buf, ",\"current\":{");
	append_writer(state, &buf, facts->current);
	appendStringInfoString(&buf, "},\"incoming\":{");
	append_writer(state, &buf, facts->incoming);
	appendStringInfo(&buf, ",\"seq\":" INT64_FORMAT "}}", change->delta.seq);
	return DirectFunctionCall1(jsonb_in, CStringGetDatum(buf.data));
}

static void
append_writer(ApplyState *state, StringInfo buf, const Stamp *stamp)
{
	const char *class = writer_class(state, stamp);
	char		hlc[HLC_TEXT_SIZE];

	hlc_format(stamp->hlc, hlc);
	appendStringInfo(buf, "\"hlc\":\"%s\",\"replica\":\"%s\",\"class\":", hlc,
					 DatumGetCString(DirectFunctionCall1(uuid_out,
														 UUIDPGetDatum(&stamp->replica))));
	if (class == NULL)
		appendStringInfoString(buf, "null");
	else
		escape_json(buf, class);
}

/*
 * Rows that the batch has in memory would not notice a write of the function: it
 * must not write, whatever it has been declared as.
 */
static Datum
call_function(CustomCall *call, NullableDatum current, NullableDatum incoming,
			  Datum context, bool *isnull)
{
	LOCAL_FCINFO(fcinfo, 3);
	PgStat_FunctionCallUsage usage;
	CommandId	command;
	Datum		result;

	CommandCounterIncrement();
	command = GetCurrentCommandId(false);
	PushActiveSnapshot(GetLatestSnapshot());
	InvokeFunctionExecuteHook(call->function.oid);
	InitFunctionCallInfoData(*fcinfo, &call->flinfo, 3, call->column->collation,
							 NULL, NULL);
	fcinfo->args[0] = current;
	fcinfo->args[1] = incoming;
	fcinfo->args[2].value = context;
	fcinfo->args[2].isnull = false;
	pgstat_init_function_usage(fcinfo, &usage);
	result = FunctionCallInvoke(fcinfo);
	pgstat_end_function_usage(&usage, true);
	PopActiveSnapshot();
	CommandCounterIncrement();
	if (GetCurrentCommandId(false) != command)
		ereport(ERROR,
				(errcode(ERRCODE_S_R_E_MODIFYING_SQL_DATA_NOT_PERMITTED),
				 errmsg("function %s of policy \"custom\" must not write",
						call->name)));
	*isnull = fcinfo->isnull;
	return result;
}

/* A value of the column's type as the column takes it: its length, its domain. */
static Datum
column_value(SyncColumn *column, Datum value, bool *isnull)
{
	DeltaValue text;

	if (column->typmod < 0 && column->type == column->base_type)
		return value;
	value_to_delta(column, value, *isnull, &text);
	return value_from_delta(column, &text, isnull);
}

bool
apply_same_value(const SyncColumn *column, NullableDatum a, NullableDatum b)
{
	if (a.isnull || b.isnull)
		return a.isnull && b.isnull;
	return datum_image_eq(a.value, b.value, column->typbyval, column->typlen);
}
