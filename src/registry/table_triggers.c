/*-------------------------------------------------------------------------
 *
 * table_triggers.c
 *	  What tracking adds to the user's table: the clock column and triggers.
 *
 * All of it is DDL by SPI as the caller, who owns the table.  The row trigger of
 * a partitioned table is cloned to its partitions by PostgreSQL.  TRUNCATE fires
 * the triggers of the partitions, and a statement for a partition fires the
 * partition's, so each has those of its own.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/relation.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "commands/trigger.h"
#include "executor/spi.h"
#include "registry/table_registry.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

/* what the comment on the clock column says */
#define CLOCK_COMMENT	"row clock of offline_sync: who wrote which column when"

static void add_statement_trigger(int32 table_id, Oid relid, const char *name,
								  const char *event, const char *function);
static void remove_trigger(Oid relid, const char *name);
static char *table_identifier(Oid relid);
static void execute(const char *format,...) pg_attribute_printf(1, 2);

/*
 * A clock column or triggers may be left from a restore that did not bring the
 * registry with it: they mean nothing any more.
 */
void
sync_table_add_triggers(int32 table_id, Oid relid)
{
	char	   *table = table_identifier(relid);
	char	   *schema = pstrdup(quote_identifier(get_namespace_name(sync_table_oids()->schema)));
	List	   *members;
	ListCell   *lc;

	sync_table_remove_triggers(relid);
	SPI_connect();
	execute("ALTER TABLE %s ADD COLUMN " SYNC_CLOCK_COLUMN " %s.row_clock",
			table, schema);
	execute("COMMENT ON COLUMN %s." SYNC_CLOCK_COLUMN " IS '" CLOCK_COMMENT "'",
			table);
	execute("CREATE TRIGGER \"" SYNC_CAPTURE_TRIGGER "\""
			" BEFORE INSERT OR UPDATE OR DELETE ON %s"
			" FOR EACH ROW EXECUTE FUNCTION %s.sync_capture('%d')",
			table, schema, table_id);
	execute("ALTER TABLE %s ENABLE ALWAYS TRIGGER \"" SYNC_CAPTURE_TRIGGER "\"",
			table);
	SPI_finish();

	members = find_all_inheritors(relid, NoLock, NULL);
	foreach(lc, members)
		sync_table_add_statement_triggers(table_id, lfirst_oid(lc));
	list_free(members);
}

void
sync_table_add_statement_triggers(int32 table_id, Oid relid)
{
	char		relkind = get_rel_relkind(relid);

	if (relkind == RELKIND_RELATION)
		add_statement_trigger(table_id, relid, SYNC_TRUNCATE_TRIGGER,
							  "BEFORE TRUNCATE", "sync_capture_truncate");
	if (relkind == RELKIND_RELATION || relkind == RELKIND_PARTITIONED_TABLE)
		add_statement_trigger(table_id, relid, SYNC_PARENT_TRIGGER,
							  "AFTER INSERT OR UPDATE", "sync_parent_arrived");
}

static void
add_statement_trigger(int32 table_id, Oid relid, const char *name,
					  const char *event, const char *function)
{
	char	   *table;
	char	   *schema;

	if (OidIsValid(get_trigger_oid(relid, name, true)))
		return;
	table = table_identifier(relid);
	schema = pstrdup(quote_identifier(get_namespace_name(sync_table_oids()->schema)));
	SPI_connect();
	execute("CREATE TRIGGER \"%s\" %s ON %s"
			" FOR EACH STATEMENT EXECUTE FUNCTION %s.%s('%d')",
			name, event, table, schema, function, table_id);
	execute("ALTER TABLE %s ENABLE ALWAYS TRIGGER \"%s\"", table, name);
	SPI_finish();
}

/*
 * Make the triggers fire always again where somebody has enabled them otherwise.
 */
void
sync_table_enable_triggers(Oid relid)
{
	static const char *const names[] = {
		SYNC_CAPTURE_TRIGGER, SYNC_TRUNCATE_TRIGGER, SYNC_PARENT_TRIGGER
	};
	Relation	rel = relation_open(relid, NoLock);
	TriggerDesc *desc = rel->trigdesc;
	bool		is_to_change[lengthof(names)] = {false};
	int			i;
	int			k;

	for (i = 0; desc != NULL && i < desc->numtriggers; i++)
	{
		for (k = 0; k < lengthof(names); k++)
		{
			if (strcmp(desc->triggers[i].tgname, names[k]) == 0 &&
				desc->triggers[i].tgenabled == TRIGGER_FIRES_ON_ORIGIN)
				is_to_change[k] = true;
		}
	}
	relation_close(rel, NoLock);

	SPI_connect();
	for (k = 0; k < lengthof(names); k++)
	{
		if (is_to_change[k])
			execute("ALTER TABLE %s ENABLE ALWAYS TRIGGER \"%s\"",
					table_identifier(relid), names[k]);
	}
	SPI_finish();
}

void
sync_table_remove_triggers(Oid relid)
{
	sync_table_remove_statement_triggers(relid);
	SPI_connect();
	remove_trigger(relid, SYNC_CAPTURE_TRIGGER);
	if (get_attnum(relid, SYNC_CLOCK_COLUMN) != InvalidAttrNumber)
		execute("ALTER TABLE %s DROP COLUMN " SYNC_CLOCK_COLUMN,
				table_identifier(relid));
	SPI_finish();
}

void
sync_table_remove_statement_triggers(Oid relid)
{
	List	   *members = find_all_inheritors(relid, NoLock, NULL);
	ListCell   *lc;

	SPI_connect();
	foreach(lc, members)
	{
		remove_trigger(lfirst_oid(lc), SYNC_TRUNCATE_TRIGGER);
		remove_trigger(lfirst_oid(lc), SYNC_PARENT_TRIGGER);
	}
	SPI_finish();
	list_free(members);
}

/* SPI is connected. */
static void
remove_trigger(Oid relid, const char *name)
{
	if (OidIsValid(get_trigger_oid(relid, name, true)))
		execute("DROP TRIGGER \"%s\" ON %s", name, table_identifier(relid));
}

static char *
table_identifier(Oid relid)
{
	return quote_qualified_identifier(get_namespace_name(get_rel_namespace(relid)),
									  get_rel_name(relid));
}

/* Run a utility command as the caller. */
static void
execute(const char *format,...)
{
	StringInfoData buf;
	int			result;

	initStringInfo(&buf);
	for (;;)
	{
		va_list		args;
		int			needed;

		va_start(args, format);
		needed = appendStringInfoVA(&buf, format, args);
		va_end(args);
		if (needed == 0)
			break;
		enlargeStringInfo(&buf, needed);
	}
	result = SPI_execute(buf.data, false, 0);
	if (result < 0)
		elog(ERROR, "SPI_execute failed: %s", SPI_result_code_string(result));
	pfree(buf.data);
}
