/*-------------------------------------------------------------------------
 *
 * column_conversion.c
 *	  Functions between the types that a column had: registering and calling.
 *
 * A function is stored by its name and argument's type, since oids do not survive
 * a dump, and is looked up once a push or page: that is for devices of older
 * versions only, and spares watching for what happens to it.  It runs as the
 * caller, who must be allowed to execute it.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/relation.h"
#include "access/stratnum.h"
#include "access/table.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/pg_class.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "compat.h"
#include "executor/spi.h"
#include "log/state.h"
#include "miscadmin.h"
#include "registry/column_conversion.h"
#include "registry/column_history.h"
#include "registry/table_registry.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/regproc.h"
#include "utils/rel.h"
#include "utils/syscache.h"

/* offline_sync.column_conversion */
#define ANUM_CONVERSION_TABLE_ID	1
#define ANUM_CONVERSION_COLUMN_ID	2
#define ANUM_CONVERSION_FROM_TYPE	3
#define ANUM_CONVERSION_TO_TYPE		4
#define ANUM_CONVERSION_UP			5
#define ANUM_CONVERSION_DOWN		6
#define NATTS_CONVERSION			8

/* arrays are indexed from 0, attributes from 1 */
#define AT(array, attnum)	((array)[(attnum) - 1])

static SyncTable *find_own_table(Oid relid);
static const SyncColumn *find_column(const SyncTable *t, const char *name);
static void check_former_type(const SyncTable *t, const SyncColumn *c, Oid type);
static void check_function(Oid function, Oid from, Oid to);
static bool function_fits(Form_pg_proc form, Oid from, Oid to);
static void store(const SyncTable *t, const SyncColumn *c, Oid from_type,
				  Oid up, Oid down);
static Oid	find_by_name(PGFunction find, const char *name);

PG_FUNCTION_INFO_V1(sync_register_conversion);

/*
 * sync_register_conversion(relation regclass, column_name name, from_type regtype,
 *		up regprocedure, down regprocedure)
 *
 * Not strict: without down, values go to older devices as text.
 */
Datum
sync_register_conversion(PG_FUNCTION_ARGS)
{
	SyncTable  *t;
	const SyncColumn *c;
	Oid			from_type;
	Oid			down = PG_ARGISNULL(4) ? InvalidOid : PG_GETARG_OID(4);

	PreventCommandIfReadOnly("sync_register_conversion()");
	PreventCommandDuringRecovery("sync_register_conversion()");
	for (int i = 0; i < 4; i++)
	{
		if (PG_ARGISNULL(i))
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("arguments of sync_register_conversion() except \"down\" must not be null")));
	}

	t = find_own_table(PG_GETARG_OID(0));
	c = find_column(t, NameStr(*PG_GETARG_NAME(1)));
	from_type = PG_GETARG_OID(2);
	check_former_type(t, c, from_type);
	check_function(PG_GETARG_OID(3), from_type, c->type);
	if (OidIsValid(down))
		check_function(down, c->type, from_type);
	store(t, c, from_type, PG_GETARG_OID(3), down);
	PG_RETURN_VOID();
}

/* The caller's tracked table, locked so that its columns stay what they are. */
static SyncTable *
find_own_table(Oid relid)
{
	SyncTable  *t;
	Relation	rel;

	if (get_rel_name(relid) == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("relation with OID %u does not exist", relid)));
	if (!pg_class_ownercheck(relid, GetUserId()))
		aclcheck_error(ACLCHECK_NOT_OWNER, get_relkind_objtype(get_rel_relkind(relid)),
					   get_rel_name(relid));
	rel = try_relation_open(relid, AccessShareLock);
	t = rel == NULL ? NULL : sync_table_by_relid(relid);
	if (t == NULL || t->relid != relid)
		sync_table_not_enabled(relid);
	relation_close(rel, NoLock);
	return t;
}

static const SyncColumn *
find_column(const SyncTable *t, const char *name)
{
	int			column = sync_column_by_name(t, name, strlen(name));
	const SyncColumn *c;

	if (column < 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_COLUMN),
				 errmsg("column \"%s\" of table \"%s\" does not exist or is not kept in sync",
						name, t->table_name),
				 errhint("Name a column of the table other than \"%s\".",
						 SYNC_CLOCK_COLUMN)));
	c = &t->columns[column];

	/* what names rows and scopes is stored, here and on devices, as text */
	if (c->is_key || column == t->scope_column)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s column \"%s\" cannot have a conversion",
						c->is_key ? "primary key" : "scope", name),
				 errdetail("Its values always go by their text.")));
	if (c->value_class == VALUE_ORSET)
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("column \"%s\" of type %s cannot have a conversion",
						name, format_type_be(c->type))));
	return c;
}

/* A type that the column never had needs no conversion: most likely a mistake. */
static void
check_former_type(const SyncTable *t, const SyncColumn *c, Oid type)
{
	char	   *name = tracked_column_type_name(type);
	int			nchanges;
	ColumnChange *changes = column_history_read(t->table_id, &nchanges);

	for (int i = 0; type != c->type && i < nchanges; i++)
	{
		if (changes[i].kind == COLUMN_RETYPED &&
			changes[i].column_id == c->column_id &&
			strcmp(changes[i].old_type, name) == 0)
			return;
	}
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("column \"%s\" of table \"%s\" was not of type %s in an earlier version of the schema",
					c->name, t->table_name, format_type_be(type)),
			 errhint("Change the column's type first; the view sync_schema_versions shows the types that it had.")));
}

static void
check_function(Oid function, Oid from, Oid to)
{
	HeapTuple	tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
	Form_pg_proc form;

	if (!HeapTupleIsValid(tuple))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_FUNCTION),
				 errmsg("function with OID %u does not exist", function)));
	form = (Form_pg_proc) GETSTRUCT(tuple);
	if (!function_fits(form, from, to))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_FUNCTION_DEFINITION),
				 errmsg("function %s cannot convert from %s to %s",
						format_procedure(function), format_type_be(from),
						format_type_be(to)),
				 errdetail("It must be a function of one argument of the one type that returns the other.")));
	if (form->provolatile == PROVOLATILE_VOLATILE)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_FUNCTION_DEFINITION),
				 errmsg("conversion function %s must not be volatile",
						format_procedure(function)),
				 errhint("Declare it IMMUTABLE or STABLE.")));
	if (pg_proc_aclcheck(function, GetUserId(), ACL_EXECUTE) != ACLCHECK_OK)
		aclcheck_error(ACLCHECK_NO_PRIV, OBJECT_FUNCTION, get_func_name(function));
	ReleaseSysCache(tuple);
}

static bool
function_fits(Form_pg_proc form, Oid from, Oid to)
{
	return form->prokind == PROKIND_FUNCTION && !form->proretset &&
		form->pronargs == 1 && form->proargtypes.values[0] == from &&
		form->prorettype == to;
}

static void
store(const SyncTable *t, const SyncColumn *c, Oid from_type, Oid up, Oid down)
{
	Oid			types[] = {INT4OID, INT4OID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID};
	Datum		values[lengthof(types)];
	char		nulls[] = "       ";
	StateUser	saved;
	int			result;

	values[0] = Int32GetDatum(t->table_id);
	values[1] = Int32GetDatum(c->column_id);
	values[2] = CStringGetTextDatum(tracked_column_type_name(from_type));
	values[3] = CStringGetTextDatum(tracked_column_type_name(c->type));
	values[4] = CStringGetTextDatum(format_procedure_qualified(up));
	values[5] = (Datum) 0;
	if (OidIsValid(down))
		values[5] = CStringGetTextDatum(format_procedure_qualified(down));
	else
		nulls[5] = 'n';
	values[6] = CStringGetTextDatum(GetUserNameFromId(GetUserId(), false));

	SPI_connect();
	state_become_owner(&saved);
	result = SPI_execute_with_args("INSERT INTO offline_sync.column_conversion"
								   " VALUES ($1, $2, $3, $4, $5, $6, now(), $7)"
								   " ON CONFLICT ON CONSTRAINT column_conversion_pkey"
								   " DO UPDATE SET up = EXCLUDED.up, down = EXCLUDED.down,"
								   "  at = EXCLUDED.at, by = EXCLUDED.by",
								   lengthof(types), types, values, nulls, false, 0);
	if (result < 0)
		elog(ERROR, "SPI_execute_with_args failed: %s",
			 SPI_result_code_string(result));
	state_restore_user(&saved);
	SPI_finish();
}

/* ----------
 * Using them
 * ----------
 */

ColumnConversion *
column_conversion_read(int32 table_id, int32 column_id, int *nconversions)
{
	Relation	rel = state_open("column_conversion", AccessShareLock);
	int			max = 4;
	ColumnConversion *conversions = palloc(max * sizeof(ColumnConversion));
	ScanKeyData key[2];
	SysScanDesc scan;
	HeapTuple	tuple;

	*nconversions = 0;
	ScanKeyInit(&key[0], ANUM_CONVERSION_TABLE_ID, BTEqualStrategyNumber, F_INT4EQ,
				Int32GetDatum(table_id));
	ScanKeyInit(&key[1], ANUM_CONVERSION_COLUMN_ID, BTEqualStrategyNumber, F_INT4EQ,
				Int32GetDatum(column_id));
	scan = systable_beginscan(rel, state_index("column_conversion_pkey"), true, NULL,
							  lengthof(key), key);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Datum		values[NATTS_CONVERSION];
		bool		nulls[NATTS_CONVERSION];
		ColumnConversion *conversion;

		state_check_columns(RelationGetDescr(rel), NATTS_CONVERSION);
		heap_deform_tuple(tuple, RelationGetDescr(rel), values, nulls);
		if (*nconversions == max)
		{
			max *= 2;
			conversions = repalloc(conversions, max * sizeof(ColumnConversion));
		}
		conversion = &conversions[(*nconversions)++];
		conversion->from_type = TextDatumGetCString(AT(values, ANUM_CONVERSION_FROM_TYPE));
		conversion->to_type = TextDatumGetCString(AT(values, ANUM_CONVERSION_TO_TYPE));
		conversion->up = TextDatumGetCString(AT(values, ANUM_CONVERSION_UP));
		conversion->down = AT(nulls, ANUM_CONVERSION_DOWN) ? NULL :
			TextDatumGetCString(AT(values, ANUM_CONVERSION_DOWN));
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return conversions;
}

Oid
column_conversion_type(const char *name)
{
	return find_by_name(to_regtype, name);
}

void
column_conversion_find(const char *name, Oid from, Oid to, FmgrInfo *flinfo)
{
	Oid			function = find_by_name(to_regprocedure, name);
	HeapTuple	tuple = NULL;
	bool		fits = false;

	if (OidIsValid(function))
		tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
	if (HeapTupleIsValid(tuple))
	{
		fits = function_fits((Form_pg_proc) GETSTRUCT(tuple), from, to);
		ReleaseSysCache(tuple);
	}
	if (!fits)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_FUNCTION),
				 errmsg("conversion function %s from %s to %s does not exist",
						name, format_type_be(from), format_type_be(to)),
				 errhint("Use sync_register_conversion() to register another one.")));
	if (pg_proc_aclcheck(function, GetUserId(), ACL_EXECUTE) != ACLCHECK_OK)
		aclcheck_error(ACLCHECK_NO_PRIV, OBJECT_FUNCTION, get_func_name(function));

	fmgr_info(function, flinfo);
}

Datum
column_conversion_call(FmgrInfo *flinfo, Oid collation, Datum value, bool *isnull)
{
	LOCAL_FCINFO(fcinfo, 1);
	Datum		result;

	if (*isnull && flinfo->fn_strict)
		return (Datum) 0;
	InitFunctionCallInfoData(*fcinfo, flinfo, 1, collation, NULL, NULL);
	fcinfo->args[0].value = value;
	fcinfo->args[0].isnull = *isnull;
	result = FunctionCallInvoke(fcinfo);
	*isnull = fcinfo->isnull;
	return result;
}

/* What to_regtype() or to_regprocedure() finds: names are qualified. */
static Oid
find_by_name(PGFunction find, const char *name)
{
	LOCAL_FCINFO(fcinfo, 1);
	Datum		result;

	InitFunctionCallInfoData(*fcinfo, NULL, 1, InvalidOid, NULL, NULL);
	fcinfo->args[0].value = CStringGetTextDatum(name);
	fcinfo->args[0].isnull = false;
	result = find(fcinfo);
	return fcinfo->isnull ? InvalidOid : DatumGetObjectId(result);
}
