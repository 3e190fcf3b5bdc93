/*-------------------------------------------------------------------------
 *
 * table_ddl.c
 *	  Event triggers: what users' DDL means to tracked tables.
 *
 * After ALTER TABLE and the like the registry's record is made true again while
 * attnum still tells which column was renamed; partitions get their triggers;
 * and a command that takes from a tracked table what tracking needs is refused.
 * After a drop the registration ends.  Other tables' DDL passes with a look at
 * their triggers, and is never failed.
 *
 * In a restore tables, triggers and keys come back in any order, so what is
 * missing is an error only after a command that may have taken it away.
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
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_type.h"
#include "commands/event_trigger.h"
#include "commands/extension.h"
#include "commands/trigger.h"
#include "executor/spi.h"
#include "log/state.h"
#include "nodes/parsenodes.h"
#include "registry/table_registry.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

PG_FUNCTION_INFO_V1(sync_ddl_command_start);
PG_FUNCTION_INFO_V1(sync_ddl_command_end);
PG_FUNCTION_INFO_V1(sync_sql_drop);

static void check_event(FunctionCallInfo fcinfo, const char *event);
static List *changed_relations(void);
static List *all_tables(void);
static void table_changed(Oid relid, Node *command);
static void subcommand_done(int32 table_id, Oid relid, AlterTableCmd *cmd);
static void check_not_child(Oid relid);
static bool may_take_away(Node *command);
static void check_key_type(int32 table_id, const SyncTable *t);
static void check_policies(int32 table_id, const SyncTable *t);
static void complete_partitions(int32 table_id, Oid partition);
static void partition_attached(int32 table_id, Oid parent,
							   PartitionCmd *attach);
static void partition_detached(PartitionCmd *detach);
static bool has_rows(Oid relid);
static bool is_at_name(const TrackedTable *row, Oid relid);
static Datum missing_tables(bool *is_empty);

/*
 * sync_ddl_command_start() -> event_trigger
 */
Datum
sync_ddl_command_start(PG_FUNCTION_ARGS)
{
	int			ntables;

	check_event(fcinfo, "ddl_command_start");
	pfree(sync_table_ids(&ntables));
	if (ntables > 0 && !creating_extension)
		sync_table_rekey_begins(((EventTriggerData *) fcinfo->context)->parsetree);
	PG_RETURN_NULL();
}

/*
 * sync_ddl_command_end() -> event_trigger
 */
Datum
sync_ddl_command_end(PG_FUNCTION_ARGS)
{
	Node	   *command;
	int			ntables;
	List	   *relations;
	ListCell   *lc;

	check_event(fcinfo, "ddl_command_end");
	pfree(sync_table_ids(&ntables));
	if (ntables == 0 || creating_extension)
		PG_RETURN_NULL();

	command = ((EventTriggerData *) fcinfo->context)->parsetree;
	if (IsA(command, RenameStmt) &&
		((RenameStmt *) command)->renameType == OBJECT_SCHEMA)
		relations = all_tables();
	else
		relations = changed_relations();
	foreach(lc, relations)
		table_changed(lfirst_oid(lc), command);
	PG_RETURN_NULL();
}

/*
 * sync_sql_drop() -> event_trigger
 *
 * Registered tables that are not there any more, and whose name is among what
 * was dropped: one that is not there may also be waiting to be restored.
 */
Datum
sync_sql_drop(PG_FUNCTION_ARGS)
{
	Oid			types[] = {INT4ARRAYOID};
	Datum		values[1];
	bool		is_empty;
	StateUser	saved;

	check_event(fcinfo, "sql_drop");
	values[0] = missing_tables(&is_empty);
	if (is_empty)
		PG_RETURN_NULL();

	SPI_connect();
	state_become_owner(&saved);

	/* no operator for mixed types, which others may have created */
	if (SPI_execute_with_args("WITH dropped AS ("
							  " UPDATE offline_sync.tracked_table t SET is_enabled = false"
							  " FROM pg_catalog.pg_event_trigger_dropped_objects() d"
							  " WHERE t.table_id = ANY ($1)"
							  " AND d.classid = 'pg_class'::regclass::oid AND d.objsubid = 0"
							  " AND d.schema_name = t.schema_name"
							  " AND d.object_name = t.table_name"
							  " RETURNING t.table_id)"
							  " DELETE FROM offline_sync.tombstone"
							  " WHERE table_id IN (SELECT table_id FROM dropped)",
							  1, types, values, NULL, false, 0) < 0)
		elog(ERROR, "SPI_execute_with_args failed");
	state_restore_user(&saved);
	SPI_finish();
	sync_table_invalidate(InvalidOid);
	PG_RETURN_NULL();
}

static void
check_event(FunctionCallInfo fcinfo, const char *event)
{
	if (!CALLED_AS_EVENT_TRIGGER(fcinfo) ||
		strcmp(((EventTriggerData *) fcinfo->context)->event, event) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_EVENT_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("function was not called by an event trigger on %s", event)));
}

/* ----------
 * After a command
 * ----------
 */

/* The relations that the command reports. */
static List *
changed_relations(void)
{
	MemoryContext context = CurrentMemoryContext;
	List	   *relations = NIL;
	uint64		i;

	SPI_connect();
	if (SPI_execute("SELECT DISTINCT objid"
					" FROM pg_catalog.pg_event_trigger_ddl_commands()"
					" WHERE classid OPERATOR(pg_catalog.=) 1259",
					true, 0) != SPI_OK_SELECT)
		elog(ERROR, "SPI_execute failed");
	for (i = 0; i < SPI_processed; i++)
	{
		MemoryContext old_context;
		bool		isnull;
		Oid			relid;

		relid = DatumGetObjectId(SPI_getbinval(SPI_tuptable->vals[i],
											   SPI_tuptable->tupdesc, 1, &isnull));
		old_context = MemoryContextSwitchTo(context);
		relations = lappend_oid(relations, relid);
		MemoryContextSwitchTo(old_context);
	}
	SPI_finish();
	return relations;
}

static List *
all_tables(void)
{
	List	   *relations = NIL;
	int			nids;
	int32	   *ids = sync_table_ids(&nids);
	int			i;

	for (i = 0; i < nids; i++)
	{
		Oid			relid;

		if (sync_table_row(ids[i], &relid) != NULL && OidIsValid(relid))
			relations = lappend_oid(relations, relid);
	}
	return relations;
}

/*
 * A relation was created or changed; nothing to do unless it is a tracked table
 * or a partition of one.
 */
static void
table_changed(Oid relid, Node *command)
{
	Oid			root;
	int32		table_id = sync_table_find_root(relid, &root);
	ListCell   *lc;

	if (table_id == 0)
	{
		check_not_child(relid);
		return;
	}
	if (IsA(command, CreateStmt))
		complete_partitions(table_id, relid);
	else if (IsA(command, AlterTableStmt))
	{
		foreach(lc, ((AlterTableStmt *) command)->cmds)
			subcommand_done(table_id, relid, lfirst(lc));
	}

	if (sync_table_by_id(table_id) != NULL)
	{
		check_key_type(table_id, sync_table_by_id(table_id));
		sync_table_rekey_ends(table_id, sync_table_by_id(table_id), command);
		check_policies(table_id, sync_table_by_id(table_id));
	}
	if (may_take_away(command))
		(void) sync_table_by_relid(root);	/* raises, or refreshes */
	else if (sync_table_is_stale(table_id))
		sync_table_refresh(table_id, root);
}

/* What one part of ALTER TABLE means to the triggers. */
static void
subcommand_done(int32 table_id, Oid relid, AlterTableCmd *cmd)
{
	ListCell   *lc;

	switch (cmd->subtype)
	{
		case AT_AttachPartition:
			partition_attached(table_id, relid, (PartitionCmd *) cmd->def);
			break;
		case AT_DetachPartition:
			partition_detached((PartitionCmd *) cmd->def);
			break;
		case AT_EnableTrig:
		case AT_EnableTrigAll:
		case AT_EnableTrigUser:
			/* as often follows a bulk load: ours were ENABLE ALWAYS */
			foreach(lc, find_all_inheritors(relid, NoLock, NULL))
				sync_table_enable_triggers(lfirst_oid(lc));
			break;
		default:
			break;
	}
}

/*
 * A child by inheritance shows its rows in its parent, whose triggers they have
 * not passed.
 */
static void
check_not_child(Oid relid)
{
	Relation	rel;
	ScanKeyData key[1];
	SysScanDesc scan;
	HeapTuple	tuple;

	if (!has_superclass(relid))
		return;
	rel = table_open(InheritsRelationId, AccessShareLock);
	ScanKeyInit(&key[0], Anum_pg_inherits_inhrelid, BTEqualStrategyNumber,
				F_OIDEQ, ObjectIdGetDatum(relid));
	scan = systable_beginscan(rel, InheritsRelidSeqnoIndexId, true, NULL,
							  lengthof(key), key);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Oid			parent = ((Form_pg_inherits) GETSTRUCT(tuple))->inhparent;

		if (get_rel_relkind(parent) == RELKIND_RELATION &&
			sync_table_find_id(parent) != 0)
			ereport(ERROR,
					(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					 errmsg("cannot inherit from table \"%s\", which is kept in sync",
							get_rel_name(parent)),
					 errhint("Use a partitioned table.")));
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
}

/* May the command have taken what tracking needs? */
static bool
may_take_away(Node *command)
{
	ListCell   *lc;

	if (IsA(command, RenameStmt))
		return true;
	if (!IsA(command, AlterTableStmt))
		return false;
	foreach(lc, ((AlterTableStmt *) command)->cmds)
	{
		AlterTableType type = ((AlterTableCmd *) lfirst(lc))->subtype;

		if (type == AT_DropColumn || type == AT_DropConstraint ||
			type == AT_AlterColumnType || type == AT_SetUnLogged)
			return true;
	}
	return false;
}

/*
 * Keys that are stored hold a uuid in another form than all other types, so a key
 * column cannot become one or cease to be one.
 */
static void
check_key_type(int32 table_id, const SyncTable *t)
{
	int			ncolumns;
	TrackedColumn *columns = tracked_column_read(table_id, &ncolumns);
	int			i;

	for (i = 0; i < ncolumns; i++)
	{
		int			column = sync_column_by_id(t, columns[i].column_id);
		bool		was_uuid = strcmp(columns[i].type_name, "pg_catalog.uuid") == 0;

		if (columns[i].key_position == 0 || column < 0 ||
			strcmp(columns[i].type_name,
				   tracked_column_type_name(t->columns[column].type)) == 0 ||
			was_uuid == (t->columns[column].base_type == UUIDOID))
			continue;
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("cannot change the type of primary key column \"%s\" from or to uuid",
						t->columns[column].name),
				 errdetail("Table \"%s\" is kept in sync.", t->table_name),
				 errhint("Use sync_disable_table() first, and sync_enable_table() again afterwards.")));
	}
}

/* A policy that knows what is in its column must still fit its type. */
static void
check_policies(int32 table_id, const SyncTable *t)
{
	int			ncolumns;
	TrackedColumn *columns = tracked_column_read(table_id, &ncolumns);
	int			i;

	for (i = 0; i < ncolumns; i++)
	{
		int			column = sync_column_by_id(t, columns[i].column_id);
		int			policy = columns[i].policy == NULL ? -1 :
		sync_policy_by_name(columns[i].policy);

		if (column < 0 || (policy != POLICY_COUNTER && policy != POLICY_JSON) ||
			t->columns[column].policy == policy)
			continue;
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("policy \"%s\" does not fit column \"%s\" of type %s",
						columns[i].policy, t->columns[column].name,
						format_type_be(t->columns[column].type)),
				 errhint("Use sync_set_policy() to choose another policy first.")));
	}
}

/* ----------
 * Partitions
 * ----------
 */

/*
 * Give a new partition, and what is below it, the trigger on TRUNCATE.  Only when
 * it is created or attached: a restore brings the triggers of all others itself.
 */
static void
complete_partitions(int32 table_id, Oid partition)
{
	List	   *members = find_all_inheritors(partition, NoLock, NULL);
	ListCell   *lc;

	foreach(lc, members)
		sync_table_add_statement_triggers(table_id, lfirst_oid(lc));
	list_free(members);
}

/*
 * The rows of a partition that is attached would be in the table without ever
 * having been written to it, so no device would get them.
 */
static void
partition_attached(int32 table_id, Oid parent, PartitionCmd *attach)
{
	Oid			partition = RangeVarGetRelid(attach->name, NoLock, true);
	List	   *members;
	ListCell   *lc;

	if (!OidIsValid(partition))
		return;
	members = find_all_inheritors(partition, NoLock, NULL);
	foreach(lc, members)
	{
		if (get_rel_relkind(lfirst_oid(lc)) == RELKIND_FOREIGN_TABLE)
			ereport(ERROR,
					(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					 errmsg("cannot attach a foreign table to table \"%s\", which is kept in sync",
							get_rel_name(parent))));
		if (has_rows(lfirst_oid(lc)))
			ereport(ERROR,
					(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					 errmsg("cannot attach partition \"%s\" with rows to table \"%s\", which is kept in sync",
							attach->name->relname, get_rel_name(parent)),
					 errhint("Attach it empty, then insert the rows.")));
	}
	list_free(members);
	complete_partitions(table_id, partition);
}

/*
 * The row trigger's clone is gone; those FOR EACH STATEMENT are ours to take off.
 */
static void
partition_detached(PartitionCmd *detach)
{
	Oid			partition = RangeVarGetRelid(detach->name, NoLock, true);

	if (OidIsValid(partition))
		sync_table_remove_statement_triggers(partition);
}

static bool
has_rows(Oid relid)
{
	Relation	rel;
	SysScanDesc scan;
	bool		found;

	if (get_rel_relkind(relid) != RELKIND_RELATION)
		return false;
	rel = relation_open(relid, AccessShareLock);
	scan = systable_beginscan(rel, InvalidOid, false, NULL, 0, NULL);
	found = HeapTupleIsValid(systable_getnext(scan));
	systable_endscan(scan);
	relation_close(rel, AccessShareLock);
	return found;
}

/* ----------
 * After a drop
 * ----------
 */

static bool
is_at_name(const TrackedTable *row, Oid relid)
{
	Oid			schema = get_namespace_oid(row->schema_name, true);

	return OidIsValid(relid) && OidIsValid(schema) &&
		get_relname_relid(row->table_name, schema) == relid;
}

/*
 * The ids of registered tables that are not where they were last seen, as an
 * array.  Another relation that has come to have the trigger does not count: one
 * of anybody's could, and would take the dropped table's place.
 */
static Datum
missing_tables(bool *is_empty)
{
	int			nids;
	int32	   *ids = sync_table_ids(&nids);
	Datum	   *missing = palloc(Max(nids, 1) * sizeof(Datum));
	int			nmissing = 0;
	int			i;

	for (i = 0; i < nids; i++)
	{
		Oid			relid;

		const TrackedTable *row = sync_table_row(ids[i], &relid);

		if (row != NULL && !is_at_name(row, relid))
			missing[nmissing++] = Int32GetDatum(ids[i]);
	}
	*is_empty = nmissing == 0;
	return PointerGetDatum(construct_array(missing, nmissing, INT4OID,
										   sizeof(int32), true, TYPALIGN_INT));
}
