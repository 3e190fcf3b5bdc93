/*-------------------------------------------------------------------------
 *
 * intent.c
 *	  Intents: registering the functions that handle them, and finding them
 *	  again.
 *
 * A handler is recorded by schema and name, since an oid would not survive a
 * dump; its arguments are always (jsonb, jsonb).  It is looked up for each
 * call, so that one which was dropped, replaced or taken away from the caller
 * is noticed.  Who may execute the functions below may register every function
 * that he may execute: a handler runs with the rights of the device's user.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "compat.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "log/state.h"
#include "miscadmin.h"
#include "registry/intent.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/regproc.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

/* offline_sync.intent */
#define ANUM_INTENT_NAME			1
#define ANUM_INTENT_SCHEMA_NAME		2
#define ANUM_INTENT_FUNCTION_NAME	3

#define HANDLER_NARGS	2

static const Oid handler_args[HANDLER_NARGS] = {JSONBOID, JSONBOID};

PG_FUNCTION_INFO_V1(sync_register_intent);
PG_FUNCTION_INFO_V1(sync_unregister_intent);

static void check_name(text *name);
static void check_options(Jsonb *options);
static void check_handler(Oid handler, char **schema_name, char **function_name);
static bool returns_fit(Form_pg_proc proc);
static uint64 execute(const char *query, int nargs, Oid *types, Datum *values);

Datum
sync_register_intent(PG_FUNCTION_ARGS)
{
	text	   *name = PG_GETARG_TEXT_PP(0);
	Oid			handler = PG_GETARG_OID(1);
	Jsonb	   *options = PG_GETARG_JSONB_P(2);
	Oid			types[] = {TEXTOID, TEXTOID, TEXTOID, JSONBOID, TEXTOID, TIMESTAMPTZOID};
	Datum		values[6];
	char	   *schema_name;
	char	   *function_name;

	PreventCommandIfReadOnly("sync_register_intent()");
	PreventCommandDuringRecovery("sync_register_intent()");
	check_name(name);
	check_options(options);
	check_handler(handler, &schema_name, &function_name);

	values[0] = PointerGetDatum(name);
	values[1] = CStringGetTextDatum(schema_name);
	values[2] = CStringGetTextDatum(function_name);
	values[3] = JsonbPGetDatum(options);
	values[4] = CStringGetTextDatum(GetUserNameFromId(GetUserId(), false));
	values[5] = TimestampTzGetDatum(GetCurrentTimestamp());
	(void) execute("INSERT INTO offline_sync.intent"
				   " (name, schema_name, function_name, options, registered_by, registered_at)"
				   " VALUES ($1, $2, $3, $4, $5, $6)"
				   " ON CONFLICT ON CONSTRAINT intent_pkey DO UPDATE SET"
				   " schema_name = EXCLUDED.schema_name, function_name = EXCLUDED.function_name,"
				   " options = EXCLUDED.options, registered_by = EXCLUDED.registered_by,"
				   " registered_at = EXCLUDED.registered_at",
				   lengthof(types), types, values);
	PG_RETURN_VOID();
}

Datum
sync_unregister_intent(PG_FUNCTION_ARGS)
{
	text	   *name = PG_GETARG_TEXT_PP(0);
	Oid			types[] = {TEXTOID};
	Datum		values[1];

	PreventCommandIfReadOnly("sync_unregister_intent()");
	PreventCommandDuringRecovery("sync_unregister_intent()");
	values[0] = PointerGetDatum(name);
	if (execute("DELETE FROM offline_sync.intent WHERE name = $1",
				lengthof(types), types, values) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("intent \"%s\" is not registered",
						text_to_cstring(name))));
	PG_RETURN_VOID();
}

static void
check_name(text *name)
{
	if (VARSIZE_ANY_EXHDR(name) == 0 ||
		VARSIZE_ANY_EXHDR(name) > SYNC_INTENT_MAX_NAME)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("name of an intent must have between 1 and %d bytes",
						SYNC_INTENT_MAX_NAME)));
}

static void
check_options(Jsonb *options)
{
	JsonbIterator *it;
	JsonbValue	value;

	if (!JB_ROOT_IS_OBJECT(options))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("options must be a JSON object"),
				 errhint("Pass '{}' for none.")));
	it = JsonbIteratorInit(&options->root);
	if (JsonbIteratorNext(&it, &value, true) == WJB_BEGIN_OBJECT &&
		JsonbIteratorNext(&it, &value, true) == WJB_KEY)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("unrecognized option \"%s\"",
						pnstrdup(value.val.string.val, value.val.string.len)),
				 errhint("An intent has no options.")));
}

/* A function that can be called with an intent, and that this user may execute. */
static void
check_handler(Oid handler, char **schema_name, char **function_name)
{
	HeapTuple	tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(handler));
	Form_pg_proc proc;

	if (!HeapTupleIsValid(tuple))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_FUNCTION),
				 errmsg("function with OID %u does not exist", handler)));
	proc = (Form_pg_proc) GETSTRUCT(tuple);
	if (!pg_proc_ownercheck(handler, GetUserId()))
	{
		AclResult	result = pg_proc_aclcheck(handler, GetUserId(), ACL_EXECUTE);

		if (result != ACLCHECK_OK)
			aclcheck_error(result, OBJECT_FUNCTION, NameStr(proc->proname));
	}
	if (proc->pronargs != HANDLER_NARGS ||
		memcmp(proc->proargtypes.values, handler_args, sizeof(handler_args)) != 0 ||
		!returns_fit(proc))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_FUNCTION_DEFINITION),
				 errmsg("function %s cannot handle an intent",
						format_procedure(handler)),
				 errhint("A handler is a function (args jsonb, context jsonb) that returns jsonb or void.")));
	if (isAnyTempNamespace(proc->pronamespace))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_FUNCTION_DEFINITION),
				 errmsg("a temporary function cannot handle an intent")));
	*schema_name = get_namespace_name(proc->pronamespace);
	*function_name = pstrdup(NameStr(proc->proname));
	ReleaseSysCache(tuple);
}

/* An ordinary function that returns one jsonb, or nothing */
static bool
returns_fit(Form_pg_proc proc)
{
	return proc->prokind == PROKIND_FUNCTION && !proc->proretset &&
		(proc->prorettype == JSONBOID || proc->prorettype == VOIDOID);
}

/* Run a statement as the owner of the state tables; the number of rows. */
static uint64
execute(const char *query, int nargs, Oid *types, Datum *values)
{
	StateUser	saved;
	uint64		nrows;

	SPI_connect();
	state_become_owner(&saved);
	if (SPI_execute_with_args(query, nargs, types, values, NULL, false, 0) < 0)
		elog(ERROR, "could not execute \"%s\"", query);
	nrows = SPI_processed;
	state_restore_user(&saved);
	SPI_finish();
	return nrows;
}

/* ----------------------------------------------------------------
 * Look-ups
 * ---------------------------------------------------------------- */

SyncIntent *
sync_intent_find(const char *name, int len)
{
	Relation	rel;
	Relation	index;
	ScanKeyData key;
	Snapshot	snapshot;
	SysScanDesc scan;
	HeapTuple	tuple;
	SyncIntent *intent = NULL;

	if (len > SYNC_INTENT_MAX_NAME)
		return NULL;
	rel = state_open("intent", AccessShareLock);
	index = index_open(state_index("intent_pkey"), AccessShareLock);
	ScanKeyInit(&key, ANUM_INTENT_NAME, BTEqualStrategyNumber, F_TEXTEQ,
				PointerGetDatum(cstring_to_text_with_len(name, len)));
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	scan = systable_beginscan_ordered(rel, index, snapshot, 1, &key);
	tuple = systable_getnext_ordered(scan, ForwardScanDirection);
	if (HeapTupleIsValid(tuple))
	{
		TupleDesc	desc = RelationGetDescr(rel);
		bool		isnull;

		intent = palloc(sizeof(SyncIntent));
		intent->name = pnstrdup(name, len);
		intent->schema_name =
			TextDatumGetCString(heap_getattr(tuple, ANUM_INTENT_SCHEMA_NAME,
											 desc, &isnull));
		intent->function_name =
			TextDatumGetCString(heap_getattr(tuple, ANUM_INTENT_FUNCTION_NAME,
											 desc, &isnull));
	}
	systable_endscan_ordered(scan);
	UnregisterSnapshot(snapshot);
	index_close(index, AccessShareLock);
	table_close(rel, AccessShareLock);
	return intent;
}

SyncHandlerState
sync_intent_handler(const SyncIntent *intent, Oid *handler)
{
	Oid			schema = get_namespace_oid(intent->schema_name, true);
	HeapTuple	tuple = NULL;
	bool		is_fit;

	*handler = InvalidOid;
	if (OidIsValid(schema))
		tuple = SearchSysCache3(PROCNAMEARGSNSP,
								CStringGetDatum(intent->function_name),
								PointerGetDatum(buildoidvector(handler_args,
															   HANDLER_NARGS)),
								ObjectIdGetDatum(schema));
	if (!HeapTupleIsValid(tuple))
		return HANDLER_IS_MISSING;
	*handler = ((Form_pg_proc) GETSTRUCT(tuple))->oid;
	is_fit = returns_fit((Form_pg_proc) GETSTRUCT(tuple));
	ReleaseSysCache(tuple);

	if (pg_namespace_aclcheck(schema, GetUserId(), ACL_USAGE) != ACLCHECK_OK ||
		pg_proc_aclcheck(*handler, GetUserId(), ACL_EXECUTE) != ACLCHECK_OK)
		return HANDLER_IS_DENIED;
	return is_fit ? HANDLER_IS_CALLABLE : HANDLER_IS_UNFIT;
}
