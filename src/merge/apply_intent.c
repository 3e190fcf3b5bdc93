/*-------------------------------------------------------------------------
 *
 * apply_intent.c
 *	  Calling the handlers of intents, and what the device is told of what
 *	  they wrote.
 *
 * A handler runs as the caller, in the batch's subtransaction: its error undoes
 * what its unit did, and only that.  What it sets (role, settings) ends with it.
 *
 * What it writes is the node's own writing, by local SQL.  But a push counts as
 * seen once its answer has arrived, so the answer has those rows, whole, as far
 * as the device may pull and the caller may read them.  What the answer does
 * not have, being too much or not to be judged here, makes it an answer that
 * did not tell everything: the device then has seen the push's position only
 * when it has pulled.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/objectaccess.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "merge/apply.h"
#include "miscadmin.h"
#include "offline_sync.h"
#include "registry/row_key.h"
#include "registry/value.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/guc.h"
#include "utils/json.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rls.h"
#include "utils/snapmgr.h"

/* Rows that one answer tells of because handlers wrote them */
#define MAX_TOLD_ROWS		10000

/* Rows that the audit names, of one intent and of a whole delta */
#define MAX_NAMED_ROWS		100
#define MAX_NAMED_ROWS_DELTA 10000

/* Bytes of all results of a delta's handlers: they are kept in one jsonb */
#define MAX_RESULTS_SIZE	(64 * 1024 * 1024)

typedef struct KnownIntent
{
	RowRef		name;			/* hash key; table_id is 0 */
	SyncIntent *intent;			/* NULL: not registered */
} KnownIntent;

static SyncIntent *find_intent(ApplyState *state, const DeltaValue *name);
static bool may_call(ApplyChange *change, Oid *handler);
static Jsonb *call_handler(ApplyState *state, ApplyChange *change, Oid handler);
static Datum context_jsonb(ApplyState *state, const ApplyChange *change);
static void keep_result(ApplyState *state, ApplyChange *change, Jsonb *result);
static void keep_rows(ApplyState *state, ApplyChange *change);
static bool may_pull_any(ApplyState *state, const LoggedRow *rows, int nrows);
static void tell_rows(ApplyState *state, ApplyIntent *intent);
static void tell_row(ApplyState *state, const LoggedRow *logged);
static int	same_row(const LoggedRow *rows, int nrows);

/* ----------------------------------------------------------------
 * Before any batch
 * ---------------------------------------------------------------- */

/* Find the handler of a change that is an intent, or refuse it. */
void
apply_resolve_intent(ApplyState *state, ApplyChange *change)
{
	SyncIntent *registered = find_intent(state, &change->delta.intent);
	StringInfoData args;
	Oid			handler;

	if (registered == NULL)
	{
		apply_refuse(change, "unknown_intent", ERRCODE_UNDEFINED_OBJECT,
					 psprintf("intent \"%.*s\" is not registered",
							  change->delta.intent.len,
							  change->delta.intent.data), NULL);
		return;
	}
	change->intent = palloc0(sizeof(ApplyIntent));
	change->intent->registered = registered;
	if (!may_call(change, &handler))
		return;

	initStringInfo(&args);
	if (change->delta.args.kind == DELTA_NULL)
		appendStringInfoString(&args, "{}");
	else
		delta_value_to_json(&args, &change->delta.args);
	change->intent->args =
		DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(args.data)));
	pfree(args.data);
	state->has_intents = true;
}

/* The registration of a name, looked up once per delta. */
static SyncIntent *
find_intent(ApplyState *state, const DeltaValue *name)
{
	RowRef		key = {0, name->len, name->data};
	KnownIntent *known;
	bool		found;

	if (state->intents == NULL)
	{
		HASHCTL		ctl;

		ctl.keysize = sizeof(RowRef);
		ctl.entrysize = sizeof(KnownIntent);
		ctl.hash = apply_row_hash;
		ctl.match = apply_row_match;
		ctl.hcxt = state->context;
		state->intents = hash_create("offline_sync intents", 16, &ctl,
									 HASH_ELEM | HASH_FUNCTION | HASH_COMPARE |
									 HASH_CONTEXT);
	}
	known = hash_search(state->intents, &key, HASH_ENTER, &found);
	if (!found)
	{
		known->intent = NULL;
		known->intent = sync_intent_find(name->data, name->len);
	}
	return known->intent;
}

/* Refuses the change where its handler cannot be called. */
static bool
may_call(ApplyChange *change, Oid *handler)
{
	const SyncIntent *intent = change->intent->registered;
	const char *function = quote_qualified_identifier(intent->schema_name,
													  intent->function_name);

	switch (sync_intent_handler(intent, handler))
	{
		case HANDLER_IS_CALLABLE:
			return true;
		case HANDLER_IS_MISSING:
			apply_refuse(change, "intent_handler", ERRCODE_UNDEFINED_FUNCTION,
						 psprintf("function %s(jsonb, jsonb), the handler of intent \"%s\", does not exist",
								  function, intent->name), NULL);
			return false;
		case HANDLER_IS_UNFIT:
			apply_refuse(change, "intent_handler",
						 ERRCODE_INVALID_FUNCTION_DEFINITION,
						 psprintf("function %s(jsonb, jsonb) cannot handle intent \"%s\"",
								  function, intent->name), NULL);
			return false;
		case HANDLER_IS_DENIED:
			apply_refuse(change, "privilege", ERRCODE_INSUFFICIENT_PRIVILEGE,
						 psprintf("permission denied for function %s",
								  function), NULL);
			return false;
	}
	return false;
}

/* ----------------------------------------------------------------
 * In the batch
 * ---------------------------------------------------------------- */

/* The first intent to be called among changes from .. to - 1; to: there is none. */
int
apply_next_intent(const ApplyState *state, int from, int to)
{
	for (; from < to; from++)
	{
		const ApplyChange *change = &state->changes[from];

		if (change->intent != NULL && !change->is_refused)
			break;
	}
	return from;
}

/* Call an intent's handler.  Raises where the unit is to be refused. */
void
apply_call_intent(ApplyState *state, int index)
{
	ApplyChange *change = &state->changes[index];
	MemoryContext oldcontext;
	MemoryContext call_context;
	Jsonb	   *result;
	Oid			handler;

	CHECK_FOR_INTERRUPTS();
	state->failed_change = index;	/* to whom an error here belongs */
	change->reason = "intent_error";
	call_context = AllocSetContextCreate(CurrentMemoryContext,
										 "offline_sync intent",
										 ALLOCSET_DEFAULT_SIZES);
	oldcontext = MemoryContextSwitchTo(call_context);

	/* what went before, an earlier handler even, may have changed it */
	if (sync_intent_handler(change->intent->registered, &handler) !=
		HANDLER_IS_CALLABLE)
	{
		change->reason = "intent_handler";
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_FUNCTION),
				 errmsg("the handler of intent \"%s\" is not there any more",
						change->intent->registered->name)));
	}

	if (state->intents_began == HLC_MIN)
		state->intents_began = sync_clock_now();
	change_log_watch_begin();
	result = call_handler(state, change, handler);
	keep_rows(state, change);
	keep_result(state, change, result);

	MemoryContextSwitchTo(oldcontext);
	MemoryContextDelete(call_context);
	change->outcome = OUTCOME_APPLIED;
	change->reason = NULL;
	state->failed_change = -1;
}

/*
 * As the caller, under his settings, with a snapshot that sees what was written
 * so far.  NULL: no result.
 */
static Jsonb *
call_handler(ApplyState *state, ApplyChange *change, Oid handler)
{
	LOCAL_FCINFO(fcinfo, 2);
	FmgrInfo	flinfo;
	Oid			user;
	int			sec_context;
	int			guc_nestlevel;
	Oid			rettype = get_func_rettype(handler);
	Datum		result;

	InvokeFunctionExecuteHook(handler);
	fmgr_info(handler, &flinfo);
	InitFunctionCallInfoData(*fcinfo, &flinfo, 2, InvalidOid, NULL, NULL);
	fcinfo->args[0].value = JsonbPGetDatum(change->intent->args);
	fcinfo->args[0].isnull = false;
	fcinfo->args[1].value = context_jsonb(state, change);
	fcinfo->args[1].isnull = false;

	CommandCounterIncrement();
	PushActiveSnapshot(GetTransactionSnapshot());
	GetUserIdAndSecContext(&user, &sec_context);
	guc_nestlevel = NewGUCNestLevel();
	result = FunctionCallInvoke(fcinfo);
	AtEOXact_GUC(false, guc_nestlevel);
	SetUserIdAndSecContext(user, sec_context);
	PopActiveSnapshot();
	CommandCounterIncrement();

	if (fcinfo->isnull || rettype != JSONBOID)
		return NULL;
	return DatumGetJsonbP(result);
}

/* What the handler is told beside the arguments */
static Datum
context_jsonb(ApplyState *state, const ApplyChange *change)
{
	char		hlc[HLC_TEXT_SIZE];
	StringInfoData buf;

	hlc_format(change->hlc, hlc);
	initStringInfo(&buf);
	appendStringInfo(&buf, "{\"device\":\"%s\",\"seq\":" INT64_FORMAT ",\"hlc\":\"%s\",\"reconciliation\":\"%s\",\"role\":",
					 DatumGetCString(DirectFunctionCall1(uuid_out,
														 UUIDPGetDatum(&state->device->uuid))),
					 change->delta.seq, hlc,
					 DatumGetCString(DirectFunctionCall1(uuid_out,
														 UUIDPGetDatum(state->reconciliation))));
	escape_json(&buf, GetUserNameFromId(GetUserId(), false));
	appendStringInfoChar(&buf, '}');
	return DirectFunctionCall1(jsonb_in, CStringGetDatum(buf.data));
}

static void
keep_result(ApplyState *state, ApplyChange *change, Jsonb *result)
{
	char	   *text;
	Size		size;

	change->intent->result = NULL;
	if (result == NULL)
		return;
	text = JsonbToCString(NULL, &result->root, VARSIZE(result));

	size = strlen(text);
	if (size > (Size) sync_max_value_size * 1024)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("result of intent \"%s\" has %zu bytes, which exceeds the maximum allowed (%zu)",
						change->intent->registered->name, size,
						(Size) sync_max_value_size * 1024)));
	if (state->result_bytes + size > MAX_RESULTS_SIZE)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("results of the delta's intents exceed the maximum allowed (%d bytes)",
						MAX_RESULTS_SIZE)));
	state->result_bytes += size;
	change->intent->result = MemoryContextStrdup(state->context, text);
}

/* Keep which rows the handler wrote, for the answer and for the audit. */
static void
keep_rows(ApplyState *state, ApplyChange *change)
{
	ApplyIntent *intent = change->intent;
	MemoryContext oldcontext = MemoryContextSwitchTo(state->context);
	int64		nlogged = change_log_watch_end(&intent->rows, &intent->nrows);

	MemoryContextSwitchTo(oldcontext);
	intent->is_complete = nlogged == intent->nrows;
	intent->nwrote = nlogged;
	for (int i = 0, n; intent->is_complete && i < intent->nrows; i += n)
	{
		n = same_row(intent->rows + i, intent->nrows - i);
		intent->nwrote -= n - 1;
	}
}

/* How many of the entries from the first one on are about the same row? */
static int
same_row(const LoggedRow *rows, int nrows)
{
	int			n = 1;

	while (n < nrows && rows[n].table_id == rows[0].table_id &&
		   rows[n].keylen == rows[0].keylen &&
		   memcmp(rows[n].key, rows[0].key, rows[0].keylen) == 0)
		n++;
	return n;
}

/*
 * Was it a handler of this delta that wrote this, or what it set off?  Changes that
 * the device made after its intent count as made in sight of what that did.
 */
bool
apply_intent_wrote(const ApplyState *state, const Stamp *stamp)
{
	return state->intents_began != HLC_MIN &&
		stamp->xid == state->xid && stamp->hlc > state->intents_began &&
		memcmp(&stamp->node, state->node, UUID_LEN) == 0 &&
		memcmp(&stamp->replica, state->node, UUID_LEN) == 0;
}

/* ----------------------------------------------------------------
 * For the answer and the audit
 * ---------------------------------------------------------------- */

/* Have the answer tell of the rows that the handlers wrote. */
void
apply_tell_intents(ApplyState *state)
{
	if (!state->has_intents)
		return;
	for (int i = 0; i < state->nchanges; i++)
	{
		ApplyChange *change = &state->changes[i];

		if (change->intent == NULL || change->outcome != OUTCOME_APPLIED)
			continue;
		if (!change->intent->is_complete ||
			state->ntold + change->intent->nrows > MAX_TOLD_ROWS)
			state->is_untold = true;
		else
			tell_rows(state, change->intent);
	}
}

static void
tell_rows(ApplyState *state, ApplyIntent *intent)
{
	MemoryContext oldcontext = MemoryContextSwitchTo(state->context);
	int			modes = value_modes_begin();

	for (int i = 0, n; i < intent->nrows; i += n)
	{
		n = same_row(intent->rows + i, intent->nrows - i);

		/*
		 * a row that was in none of the device's scopes is none of its
		 * business
		 */
		if (may_pull_any(state, intent->rows + i, n))
			tell_row(state, &intent->rows[i]);
	}
	value_modes_end(modes);
	MemoryContextSwitchTo(oldcontext);
}

static bool
may_pull_any(ApplyState *state, const LoggedRow *rows, int nrows)
{
	for (int i = 0; i < nrows; i++)
	{
		if (apply_may_pull(state, rows[i].scope))
			return true;
	}
	return false;
}

static void
tell_row(ApplyState *state, const LoggedRow *logged)
{
	RowRef		ref = {logged->table_id, logged->keylen, logged->key};
	SyncTable  *table = sync_table_by_id(logged->table_id);
	TouchedRow *row;
	Datum	   *key;

	if (table == NULL)
		return;					/* not kept in sync any more */
	row = hash_search(state->touched, &ref, HASH_FIND, NULL);
	if (row == NULL)
	{
		key = palloc(table->nkeys * sizeof(Datum));
		row_key_decode(table, logged->key, logged->keylen, key);
		row = apply_touch_row(state, &ref, table, key);
		row->is_unasked = true;
		row->scope = logged->scope;
		state->ntold++;
	}
	row->by_intent = true;
	row->was_written = true;
	if (row->scope == NULL)
		row->scope = logged->scope;
}

/*
 * A row that a handler wrote, and that the device did not name, is not there.  It
 * is gone, or row security hides it: then what the caller may know of it is for
 * a pull to find out.
 */
bool
apply_is_gone(ApplyState *state, const TouchedRow *row)
{
	if (check_enable_rls(row->table->relid, InvalidOid, true) != RLS_ENABLED)
		return true;
	state->is_untold = true;
	return false;
}

/* Members of the audit's detail: which rows the handler wrote. */
void
apply_append_wrote(ApplyState *state, StringInfo buf, const ApplyIntent *intent)
{
	int			nnamed = 0;

	if (intent->nwrote == 0)
		return;
	appendStringInfo(buf, ",\"wrote\":{\"count\":" INT64_FORMAT ",\"rows\":[",
					 intent->nwrote);
	for (int i = 0, n; i < intent->nrows; i += n)
	{
		const LoggedRow *row = &intent->rows[i];
		SyncTable  *table = sync_table_by_id(row->table_id);
		Jsonb	   *key;

		n = same_row(row, intent->nrows - i);
		if (nnamed == MAX_NAMED_ROWS || state->nnamed == MAX_NAMED_ROWS_DELTA)
			break;
		if (table == NULL || table->audit == AUDIT_OFF)
			continue;
		key = row_key_to_jsonb(table, row->key, row->keylen);
		appendStringInfo(buf, "%s[%d,", nnamed > 0 ? "," : "", row->table_id);
		(void) JsonbToCString(buf, &key->root, VARSIZE(key));
		appendStringInfoChar(buf, ']');
		nnamed++;
		state->nnamed++;
	}
	appendStringInfoString(buf, "]}");
}
