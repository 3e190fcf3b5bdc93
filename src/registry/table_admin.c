/*-------------------------------------------------------------------------
 *
 * table_admin.c
 *	  Enabling and disabling the tracking of a table.
 *
 * What changes the user's table is done by SPI as the caller, who must own it,
 * so that PostgreSQL's own rules hold; what changes the registry is done as the
 * state's owner.  The table is locked ACCESS EXCLUSIVE first: whoever wrote to it
 * before has finished when the stamp of enabling is taken.  The registry's lock
 * comes after it.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/objectaddress.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "compat.h"
#include "executor/spi.h"
#include "log/change_log.h"
#include "log/node.h"
#include "log/state.h"
#include "miscadmin.h"
#include "registry/table_options.h"
#include "registry/table_registry.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/timestamp.h"
#include "utils/xid8.h"

PG_FUNCTION_INFO_V1(sync_enable_table);
PG_FUNCTION_INFO_V1(sync_set_table_options);
PG_FUNCTION_INFO_V1(sync_disable_table);

static void check_owner(Oid relid);
static void check_not_enabled(Relation rel);
static char *default_wire_name(Relation rel);
static void check_wire_name(const char *wire_name);
static void register_table(int32 table_id, Relation rel, AttrNumber scope,
						   const TableOptions *options);
static int32 register_columns(int32 table_id, Relation rel, AttrNumber scope,
							  int *ncolumns);
static void log_event(int32 table_id);
static void execute(const char *query, int nargs, Oid *types, Datum *values,
					const char *nulls);

/*
 * sync_enable_table(relation regclass, scope name, policies jsonb, options jsonb)
 *
 * Not strict: no scope column means that all rows are in scope ''.
 */
Datum
sync_enable_table(PG_FUNCTION_ARGS)
{
	Oid			relid = PG_ARGISNULL(0) ? InvalidOid : PG_GETARG_OID(0);
	char	   *scope = PG_ARGISNULL(1) ? NULL : NameStr(*PG_GETARG_NAME(1));
	TablePolicy *policies;
	int			npolicies;
	TableOptions options = {NULL, "delete_wins", "merge", "relaxed", "outcomes"};
	Relation	rel;
	AttrNumber	scope_attribute = InvalidAttrNumber;
	SyncTable  *t;
	int32		table_id;
	int			i;

	PreventCommandIfReadOnly("sync_enable_table()");
	PreventCommandDuringRecovery("sync_enable_table()");
	policies = table_policies_parse(PG_ARGISNULL(2) ? NULL : PG_GETARG_JSONB_P(2),
									&npolicies);
	table_options_parse(PG_ARGISNULL(3) ? NULL : PG_GETARG_JSONB_P(3), &options);

	rel = sync_table_open_own(relid, AccessExclusiveLock);
	sync_table_check_trackable(rel);
	check_not_enabled(rel);
	if (scope != NULL)
		scope_attribute = sync_table_check_scope(rel, scope);
	if (options.wire_name == NULL)
		options.wire_name = default_wire_name(rel);

	/* keeps others who enable a table out until the end of the transaction */
	table_close(state_open("tracked_table", ShareRowExclusiveLock), NoLock);
	check_wire_name(options.wire_name);
	table_id = tracked_table_next_id();
	register_table(table_id, rel, scope_attribute, &options);
	relation_close(rel, NoLock);	/* ALTER TABLE wants it for itself */

	sync_table_add_triggers(table_id, relid);
	log_event(table_id);
	sync_table_invalidate(relid);

	t = sync_table_enabled(relid);
	for (i = 0; i < npolicies; i++)
		sync_policy_set_first(t, &policies[i]);
	sync_table_invalidate(relid);
	PG_RETURN_VOID();
}

/*
 * sync_set_table_options(relation regclass, options jsonb)
 *
 * Options that are not named stay as they are.  They hold for what is written and
 * pushed from then on.
 */
Datum
sync_set_table_options(PG_FUNCTION_ARGS)
{
	Oid			relid = PG_GETARG_OID(0);
	TableOptions options = {NULL, NULL, NULL, NULL, NULL};
	const SyncTable *t;
	Oid			types[] = {INT4OID, TEXTOID, TEXTOID, TEXTOID, TEXTOID};
	Datum		values[5];
	char		nulls[5];
	char	   *given[4];
	StateUser	saved;

	PreventCommandIfReadOnly("sync_set_table_options()");
	PreventCommandDuringRecovery("sync_set_table_options()");
	table_options_parse(PG_GETARG_JSONB_P(1), &options);

	/* writers of the table finish before the rules change */
	relation_close(sync_table_open_own(relid, ShareRowExclusiveLock), NoLock);
	t = sync_table_enabled(relid);
	if (options.wire_name != NULL && strcmp(options.wire_name, t->wire_name) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("cannot change the option \"name\" of table \"%s\"",
						t->table_name),
				 errdetail("Devices know the table as \"%s\".", t->wire_name)));

	given[0] = options.on_delete;
	given[1] = options.mode;
	given[2] = options.consistency;
	given[3] = options.audit;
	values[0] = Int32GetDatum(t->table_id);
	nulls[0] = ' ';
	for (int i = 0; i < lengthof(given); i++)
	{
		nulls[i + 1] = given[i] == NULL ? 'n' : ' ';
		values[i + 1] = given[i] == NULL ? (Datum) 0 : CStringGetTextDatum(given[i]);
	}
	SPI_connect();
	state_become_owner(&saved);
	execute("UPDATE offline_sync.tracked_table SET on_delete = coalesce($2, on_delete),"
			" mode = coalesce($3, mode), consistency = coalesce($4, consistency),"
			" audit = coalesce($5, audit) WHERE table_id = $1",
			lengthof(values), types, values, nulls);
	state_restore_user(&saved);
	SPI_finish();
	sync_table_invalidate(relid);
	PG_RETURN_VOID();
}

/*
 * sync_disable_table(relation regclass)
 *
 * The application's data stays; devices are not told, their next pushes to the
 * table are refused.
 */
Datum
sync_disable_table(PG_FUNCTION_ARGS)
{
	Oid			relid = PG_GETARG_OID(0);
	Oid			types[] = {INT4OID};
	Datum		values[1];
	StateUser	saved;
	int32		table_id;

	PreventCommandIfReadOnly("sync_disable_table()");
	PreventCommandDuringRecovery("sync_disable_table()");
	relation_close(sync_table_open_own(relid, AccessExclusiveLock), NoLock);
	table_id = sync_table_find_id(relid);
	if (table_id == 0)
		sync_table_not_enabled(relid);

	sync_policy_end_all(table_id);
	values[0] = Int32GetDatum(table_id);
	SPI_connect();
	state_become_owner(&saved);
	execute("UPDATE offline_sync.tracked_table SET is_enabled = false"
			" WHERE table_id = $1", 1, types, values, NULL);
	execute("DELETE FROM offline_sync.tombstone WHERE table_id = $1",
			1, types, values, NULL);
	state_restore_user(&saved);
	SPI_finish();
	sync_table_invalidate(relid);

	sync_table_remove_triggers(relid);
	PG_RETURN_VOID();
}

/* ----------
 * Before enabling
 * ----------
 */

/*
 * Ownership is checked before the lock is asked for, so that a stranger cannot
 * stop the table's users, and again under the lock.
 */
Relation
sync_table_open_own(Oid relid, LOCKMODE lockmode)
{
	Relation	rel;

	check_owner(relid);
	rel = try_relation_open(relid, lockmode);
	check_owner(relid);
	return rel;
}

/* Raises where the relation does not exist or is not the caller's. */
static void
check_owner(Oid relid)
{
	char		relkind = OidIsValid(relid) ? get_rel_relkind(relid) : '\0';

	if (relkind == '\0')
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("relation with OID %u does not exist", relid)));
	if (!pg_class_ownercheck(relid, GetUserId()))
		aclcheck_error(ACLCHECK_NOT_OWNER, get_relkind_objtype(relkind),
					   get_rel_name(relid));
}

static void
check_not_enabled(Relation rel)
{
	if (sync_table_find_id(RelationGetRelid(rel)) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_OBJECT),
				 errmsg("table \"%s\" is already kept in sync",
						RelationGetRelationName(rel)),
				 errhint("Use sync_set_policy() to change policies, or sync_disable_table() first.")));
}

static char *
default_wire_name(Relation rel)
{
	char	   *schema = get_namespace_name(RelationGetNamespace(rel));

	if (strcmp(schema, "public") == 0)
		return pstrdup(RelationGetRelationName(rel));
	return psprintf("%s.%s", schema, RelationGetRelationName(rel));
}

static void
check_wire_name(const char *wire_name)
{
	int			ntables;
	TrackedTable *tables = tracked_table_read(&ntables);
	int			i;

	for (i = 0; i < ntables; i++)
	{
		if (strcmp(tables[i].wire_name, wire_name) == 0)
			ereport(ERROR,
					(errcode(ERRCODE_DUPLICATE_OBJECT),
					 errmsg("name \"%s\" is already used by table \"%s.%s\"",
							wire_name, tables[i].schema_name,
							tables[i].table_name),
					 errhint("Choose another name with the option \"name\".")));
	}
}

/* ----------
 * Enabling
 * ----------
 */

static void
register_table(int32 table_id, Relation rel, AttrNumber scope,
			   const TableOptions *options)
{
	Oid			types[] = {INT4OID, TEXTOID, TEXTOID, TEXTOID, INT4OID, TEXTOID,
	TEXTOID, TEXTOID, TEXTOID, INT4OID, XID8OID, INT8OID, INT4OID, TIMESTAMPTZOID};
	Datum		values[lengthof(types)];
	StateUser	saved;
	Stamp		stamp;
	int			ncolumns;
	int32		node_id = sync_node_id();

	sync_node_stamp(&stamp, HLC_MIN);
	SPI_connect();
	state_become_owner(&saved);
	values[0] = Int32GetDatum(table_id);
	values[1] = CStringGetTextDatum(options->wire_name);
	values[2] = CStringGetTextDatum(get_namespace_name(RelationGetNamespace(rel)));
	values[3] = CStringGetTextDatum(RelationGetRelationName(rel));
	values[4] = Int32GetDatum(register_columns(table_id, rel, scope, &ncolumns));
	values[5] = CStringGetTextDatum(options->on_delete);
	values[6] = CStringGetTextDatum(options->mode);
	values[7] = CStringGetTextDatum(options->consistency);
	values[8] = CStringGetTextDatum(options->audit);
	values[9] = Int32GetDatum(node_id);
	values[10] = FullTransactionIdGetDatum(FullTransactionIdFromU64(stamp.xid));
	values[11] = HlcGetDatum(stamp.hlc);
	values[12] = Int32GetDatum(ncolumns);
	values[13] = TimestampTzGetDatum(GetCurrentTransactionStartTimestamp());
	types[11] = sync_table_oids()->hlc;
	execute("INSERT INTO offline_sync.tracked_table"
			" (table_id, wire_name, schema_name, table_name, scope_column_id,"
			"  on_delete, mode, consistency, audit, enabled_node, enabled_xid,"
			"  enabled_hlc, enabled_columns, enabled_at)"
			" VALUES ($1, $2, $3, $4, nullif($5, 0), $6, $7, $8, $9, $10, $11,"
			"  $12, $13, $14)",
			lengthof(types), types, values, NULL);
	state_restore_user(&saved);
	SPI_finish();
}

/*
 * Give the columns their ids, which start from 1; returns the scope column's, or 0.
 */
static int32
register_columns(int32 table_id, Relation rel, AttrNumber scope, int *ncolumns)
{
	TupleDesc	desc = RelationGetDescr(rel);
	int32		scope_id = 0;
	RelationKey key;
	int			i;

	relation_key_read(rel, &key);
	*ncolumns = 0;
	for (i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);
		int			key_position = 0;
		int			k;

		if (att->attisdropped ||
			strcmp(NameStr(att->attname), SYNC_CLOCK_COLUMN) == 0)
			continue;
		for (k = 0; k < key.nkeys; k++)
		{
			if (key.attnums[k] == att->attnum)
				key_position = k + 1;
		}
		sync_table_add_column(table_id, ++*ncolumns, att, key_position);
		if (att->attnum == scope)
			scope_id = *ncolumns;
	}
	return scope_id;
}

/* A position that a device's vector can come to cover; see change_log.h. */
static void
log_event(int32 table_id)
{
	char		key[12];

	pg_ltoa(table_id, key);
	change_log_add(NULL, CHANGE_LOG_EVENT, key, strlen(key));
}

SyncTable *
sync_table_enabled(Oid relid)
{
	SyncTable  *t = sync_table_by_relid(relid);

	if (t == NULL || t->relid != relid)
		sync_table_not_enabled(relid);
	return t;
}

/* Run a statement on the state tables. */
static void
execute(const char *query, int nargs, Oid *types, Datum *values, const char *nulls)
{
	int			result = SPI_execute_with_args(query, nargs, types, values, nulls,
											   false, 0);

	if (result < 0)
		elog(ERROR, "SPI_execute_with_args failed: %s",
			 SPI_result_code_string(result));
}
