/*-------------------------------------------------------------------------
 *
 * access.c
 *	  Granting a role what an admin, a gateway or a monitor needs.
 *
 * Ordinary GRANTs on the extension's own functions and views, which are found as
 * its members, by oid: no name that somebody put in the way is ever looked up.  Not
 * granted here are tables (what a gateway reads and writes, it needs rights on as for
 * SQL) and membership in the roles that own devices.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/stratnum.h"
#include "access/table.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/dependency.h"
#include "catalog/indexing.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_depend.h"
#include "catalog/pg_extension.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "commands/extension.h"
#include "compat.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

typedef enum AccessLevel
{
	ACCESS_ADMIN,				/* what is closed to PUBLIC, and the views */
	ACCESS_GATEWAY,				/* what devices call */
	ACCESS_MONITOR				/* the views, of all devices */
} AccessLevel;

/* What a gateway calls for a device; it needs to read the deltas, too. */
static const char *const gateway_functions[] = {
	"sync_hello", "sync_apply_delta", "sync_changes_since", "sync_ack",
	"sync_submit_delta", "sync_submission", "sync_digest", "sync_digest_parts",
	"sync_digest_rows", "sync_changed_scopes", "sync_channels", "sync_node", "delta_replica", "delta_context", "delta_from",
	"delta_to", "delta_first_seq", "delta_last_seq", "delta_has_more", "delta_resume",
	"delta_size", "delta_changes"
};

static void change_access(FunctionCallInfo fcinfo, bool is_grant);
static AccessLevel parse_level(const char *name);
static Oid	extension_schema(Oid extension);
static List *extension_members(Oid extension, Oid class);
static bool function_is_of_level(Form_pg_proc proc, AccessLevel level);
static void add_function(GrantStmt *stmt, Oid schema, Oid oid, AccessLevel level);
static void add_view(GrantStmt *stmt, Oid schema, Oid oid);
static GrantStmt *make_statement(bool is_grant, ObjectType type,
								 const char *privilege, Oid role);
static void run_statement(GrantStmt *stmt);

PG_FUNCTION_INFO_V1(sync_grant_access);
PG_FUNCTION_INFO_V1(sync_revoke_access);

/*
 * sync_grant_access(role regrole, level text)
 */
Datum
sync_grant_access(PG_FUNCTION_ARGS)
{
	PreventCommandDuringRecovery("sync_grant_access()");
	PreventCommandIfReadOnly("sync_grant_access()");
	change_access(fcinfo, true);
	PG_RETURN_VOID();
}

/*
 * sync_revoke_access(role regrole, level text)
 *
 * Takes the same privileges back, also where another level gave them; the right to
 * use the schema stays.
 */
Datum
sync_revoke_access(PG_FUNCTION_ARGS)
{
	PreventCommandDuringRecovery("sync_revoke_access()");
	PreventCommandIfReadOnly("sync_revoke_access()");
	change_access(fcinfo, false);
	PG_RETURN_VOID();
}

static void
change_access(FunctionCallInfo fcinfo, bool is_grant)
{
	Oid			extension = get_extension_oid("offline_sync", false);
	Oid			schema = extension_schema(extension);
	GrantStmt  *functions;
	GrantStmt  *views;
	AccessLevel level;
	Oid			role;
	ListCell   *cell;

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("role and level must not be null")));
	role = PG_GETARG_OID(0);
	level = parse_level(text_to_cstring(PG_GETARG_TEXT_PP(1)));

	/* a grant by somebody else would give little or nothing, with a warning */
	if (!pg_extension_ownercheck(extension, GetUserId()))
		aclcheck_error(ACLCHECK_NOT_OWNER, OBJECT_EXTENSION, "offline_sync");

	if (is_grant &&
		pg_namespace_aclcheck(schema, role, ACL_USAGE) != ACLCHECK_OK)
	{
		GrantStmt  *usage = make_statement(true, OBJECT_SCHEMA, "usage", role);

		usage->objects = list_make1(makeString(get_namespace_name(schema)));
		run_statement(usage);
	}
	functions = make_statement(is_grant, OBJECT_FUNCTION, "execute", role);
	foreach(cell, extension_members(extension, ProcedureRelationId))
		add_function(functions, schema, lfirst_oid(cell), level);
	run_statement(functions);

	views = make_statement(is_grant, OBJECT_TABLE, "select", role);
	if (level != ACCESS_GATEWAY)
		foreach(cell, extension_members(extension, RelationRelationId))
			add_view(views, schema, lfirst_oid(cell));
	run_statement(views);
}

static AccessLevel
parse_level(const char *name)
{
	if (strcmp(name, "admin") == 0)
		return ACCESS_ADMIN;
	if (strcmp(name, "gateway") == 0)
		return ACCESS_GATEWAY;
	if (strcmp(name, "monitor") == 0)
		return ACCESS_MONITOR;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("unrecognized level of access \"%s\"", name),
			 errhint("The levels are \"admin\", \"gateway\" and \"monitor\".")));
}

static Oid
extension_schema(Oid extension)
{
	Relation	rel = table_open(ExtensionRelationId, AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;
	Oid			schema;

	ScanKeyInit(&key, Anum_pg_extension_oid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(extension));
	scan = systable_beginscan(rel, ExtensionOidIndexId, true, NULL, 1, &key);
	tuple = systable_getnext(scan);
	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "could not find extension %u", extension);
	schema = ((Form_pg_extension) GETSTRUCT(tuple))->extnamespace;
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return schema;
}

/* The extension's objects of a catalog: their oids. */
static List *
extension_members(Oid extension, Oid class)
{
	Relation	rel = table_open(DependRelationId, AccessShareLock);
	ScanKeyData keys[2];
	SysScanDesc scan;
	HeapTuple	tuple;
	List	   *result = NIL;

	ScanKeyInit(&keys[0], Anum_pg_depend_refclassid, BTEqualStrategyNumber,
				F_OIDEQ, ObjectIdGetDatum(ExtensionRelationId));
	ScanKeyInit(&keys[1], Anum_pg_depend_refobjid, BTEqualStrategyNumber,
				F_OIDEQ, ObjectIdGetDatum(extension));
	scan = systable_beginscan(rel, DependReferenceIndexId, true, NULL,
							  lengthof(keys), keys);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Form_pg_depend depend = (Form_pg_depend) GETSTRUCT(tuple);

		if (depend->classid == class && depend->deptype == DEPENDENCY_EXTENSION &&
			depend->objsubid == 0)
			result = lappend_oid(result, depend->objid);
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return result;
}

static bool
function_is_of_level(Form_pg_proc proc, AccessLevel level)
{
	const char *name = NameStr(proc->proname);

	switch (level)
	{
		case ACCESS_ADMIN:
			/* these two are for the owner, whoever else may execute them */
			return proc->prorettype != TRIGGEROID &&
				strcmp(name, "sync_grant_access") != 0 &&
				strcmp(name, "sync_revoke_access") != 0 &&
				pg_proc_aclcheck(proc->oid, ACL_ID_PUBLIC, ACL_EXECUTE) != ACLCHECK_OK;
		case ACCESS_GATEWAY:
			for (int i = 0; i < lengthof(gateway_functions); i++)
				if (strcmp(name, gateway_functions[i]) == 0)
					return true;
			return false;
		case ACCESS_MONITOR:
			return strcmp(name, "sync_may_monitor") == 0;
	}
	return false;
}

static void
add_function(GrantStmt *stmt, Oid schema, Oid oid, AccessLevel level)
{
	HeapTuple	tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(oid));
	Form_pg_proc proc;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for function %u", oid);
	proc = (Form_pg_proc) GETSTRUCT(tuple);
	if (proc->pronamespace == schema && function_is_of_level(proc, level))
	{
		ObjectWithArgs *object = makeNode(ObjectWithArgs);

		object->objname = list_make2(makeString(get_namespace_name(schema)),
									 makeString(pstrdup(NameStr(proc->proname))));
		for (int i = 0; i < proc->pronargs; i++)
			object->objargs = lappend(object->objargs,
									  makeTypeNameFromOid(proc->proargtypes.values[i], -1));
		stmt->objects = lappend(stmt->objects, object);
	}
	ReleaseSysCache(tuple);
}

static void
add_view(GrantStmt *stmt, Oid schema, Oid oid)
{
	if (get_rel_relkind(oid) != RELKIND_VIEW || get_rel_namespace(oid) != schema)
		return;
	stmt->objects = lappend(stmt->objects,
							makeRangeVar(get_namespace_name(schema),
										 get_rel_name(oid), -1));
}

static GrantStmt *
make_statement(bool is_grant, ObjectType type, const char *privilege, Oid role)
{
	GrantStmt  *stmt = makeNode(GrantStmt);
	AccessPriv *priv = makeNode(AccessPriv);
	RoleSpec   *grantee = makeNode(RoleSpec);

	priv->priv_name = pstrdup(privilege);
	grantee->roletype = ROLESPEC_CSTRING;
	grantee->rolename = GetUserNameFromId(role, false);
	grantee->location = -1;
	stmt->is_grant = is_grant;
	stmt->targtype = ACL_TARGET_OBJECT;
	stmt->objtype = type;
	stmt->privileges = list_make1(priv);
	stmt->grantees = list_make1(grantee);
	stmt->behavior = DROP_RESTRICT;
	return stmt;
}

static void
run_statement(GrantStmt *stmt)
{
	if (stmt->objects == NIL)
		return;
	ExecuteGrantStmt(stmt);
	CommandCounterIncrement();
}
