/*-------------------------------------------------------------------------
 *
 * custom_function.c
 *	  The function of a column with the policy "custom", from its name.
 *
 * Found in the schema that is named and by exact argument types, never through
 * a search_path: what a client sets cannot put another function in its place.
 * Temporary schemas are left out too, because what is in them is whoever's the
 * session is.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/namespace.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "compat.h"
#include "miscadmin.h"
#include "nodes/value.h"
#include "registry/custom_function.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"
#include "utils/varlena.h"

static void parse_name(const char *name, char **schema, char **function);
static Oid	find_oid(const char *schema, const char *name, const SyncColumn *column,
					 Oid *argument_type);
static void check_definition(const char *name, const SyncColumn *column,
							 CustomFunction *function);

void
custom_function_check_name(const char *name)
{
	char	   *schema;
	char	   *function;

	parse_name(name, &schema, &function);
}

static void
parse_name(const char *name, char **schema, char **function)
{
	List	   *names = textToQualifiedNameList(cstring_to_text(name));

	if (list_length(names) != 2)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("function \"%s\" must be named with its schema", name),
				 errhint("Write \"schema.name\": nothing is looked up in the search_path.")));
	*schema = strVal(linitial(names));
	*function = strVal(lsecond(names));
}

void
custom_function_find(const char *name, const SyncColumn *column,
					 CustomFunction *function)
{
	char	   *schema;
	char	   *proname;
	Oid			locked = InvalidOid;

	parse_name(name, &schema, &proname);
	for (;;)
	{
		function->oid = find_oid(schema, proname, column, &function->argument_type);
		if (function->oid == locked)
			break;
		/* it may have been dropped before we had the lock */
		locked = function->oid;
		if (OidIsValid(locked))
			LockDatabaseObject(ProcedureRelationId, locked, 0, AccessShareLock);
	}
	if (!OidIsValid(function->oid))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_FUNCTION),
				 errmsg("function %s(%s, %s, jsonb) does not exist", name,
						format_type_be(column->type), format_type_be(column->type)),
				 errhint("The function of policy \"custom\" takes the current and the incoming value, of the column's type, and a jsonb.")));
	check_definition(name, column, function);
}

/* The argument types that fit, the closest first. */
static Oid
find_oid(const char *schema, const char *name, const SyncColumn *column,
		 Oid *argument_type)
{
	const Oid	types[] = {column->type, column->base_type,
		column->base_type == VARCHAROID ? TEXTOID : column->base_type,
	ANYELEMENTOID, ANYCOMPATIBLEOID};
	Oid			namespace = get_namespace_oid(schema, true);

	if (!OidIsValid(namespace) || isAnyTempNamespace(namespace))
		return InvalidOid;
	for (int i = 0; i < lengthof(types); i++)
	{
		Oid			arguments[] = {types[i], types[i], JSONBOID};
		Oid			oid;

		oid = GetSysCacheOid3(PROCNAMEARGSNSP, Anum_pg_proc_oid,
							  CStringGetDatum(name),
							  PointerGetDatum(buildoidvector(arguments,
															 lengthof(arguments))),
							  ObjectIdGetDatum(namespace));
		*argument_type = types[i];
		if (OidIsValid(oid))
			return oid;
	}
	return InvalidOid;
}

static void
check_definition(const char *name, const SyncColumn *column, CustomFunction *function)
{
	HeapTuple	tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function->oid));
	FormData_pg_proc proc;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for function %u", function->oid);
	proc = *(Form_pg_proc) GETSTRUCT(tuple);
	ReleaseSysCache(tuple);

	function->is_strict = proc.proisstrict;
	if (proc.prokind != PROKIND_FUNCTION || proc.proretset)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_FUNCTION_DEFINITION),
				 errmsg("function %s must be a plain function that returns one value", name)));
	if (proc.provolatile == PROVOLATILE_VOLATILE)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_FUNCTION_DEFINITION),
				 errmsg("function %s must be IMMUTABLE or STABLE", name)));
	if (proc.prorettype != column->type && proc.prorettype != column->base_type &&
		proc.prorettype != function->argument_type)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_FUNCTION_DEFINITION),
				 errmsg("function %s must return type %s, the type of column \"%s\"",
						name, format_type_be(column->type), column->name)));
}

void
custom_function_check_execute(const CustomFunction *function)
{
	if (pg_proc_aclcheck(function->oid, GetUserId(), ACL_EXECUTE) != ACLCHECK_OK)
		aclcheck_error(ACLCHECK_NO_PRIV, OBJECT_FUNCTION,
					   get_func_name(function->oid));
}
