/*-------------------------------------------------------------------------
 *
 * table_rekey.c
 *	  ALTER COLUMN TYPE must not change keys, or scopes, of rows.
 *
 * Devices know a row by the text of its key.  What DDL does to rows passes no
 * trigger, so where that text changes they would keep the row under the old key
 * and be told of it under the new one; and what they wrote meanwhile would be
 * about a row that is gone.  Such a command is refused, and an UPDATE, which is
 * captured, can be made instead.
 *
 * Whether it changes cannot be known from the types: there is USING, and typmods
 * round.  So what the rows are is summed up before the command, under the lock
 * that it will take, and compared afterwards: the text of the key and the scope,
 * together with the row's other columns, as keys could also trade places.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "commands/tablecmds.h"
#include "executor/spi.h"
#include "lib/stringinfo.h"
#include "log/state.h"
#include "nodes/parsenodes.h"
#include "registry/table.h"
#include "registry/table_registry.h"
#include "registry/value.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

/* ---- backend-local state: from the beginning of a command to its end ---- */

static const Node *watched_command = NULL;	/* NULL: none */
static int32 watched_table = 0;
static char watched_column[NAMEDATALEN];
static char *watched_query = NULL;	/* in TopMemoryContext */
static char *watched_sum = NULL;

static const SyncColumn *altered_key(const SyncTable *t, const AlterTableStmt *stmt);
static bool is_altered(const AlterTableStmt *stmt, const char *name);
static char *sum_query(const SyncTable *t, const AlterTableStmt *stmt);
static char *sum_up(const char *query);

void
sync_table_rekey_begins(Node *command)
{
	const AlterTableStmt *stmt = (const AlterTableStmt *) command;
	const SyncColumn *column;
	SyncTable  *t;
	int32		table_id;
	Oid			relid;
	Oid			root;
	char	   *query;
	char	   *sum;

	watched_command = NULL;
	if (!IsA(command, AlterTableStmt) || stmt->objtype != OBJECT_TABLE)
		return;
	relid = RangeVarGetRelid(stmt->relation, NoLock, true);
	if (!OidIsValid(relid) || (table_id = sync_table_find_root(relid, &root)) == 0 ||
		(t = sync_table_by_id(table_id)) == NULL || altered_key(t, stmt) == NULL)
		return;

	/* as the command will: only for the owner */
	relid = RangeVarGetRelidExtended(stmt->relation, AccessExclusiveLock,
									 RVR_MISSING_OK, RangeVarCallbackOwnsRelation,
									 NULL);
	if (!OidIsValid(relid) || sync_table_find_root(relid, &root) != table_id ||
		(t = sync_table_by_id(table_id)) == NULL ||
		(column = altered_key(t, stmt)) == NULL)
		return;
	query = sum_query(t, stmt);
	sum = sum_up(query);
	if (watched_query != NULL)
		pfree(watched_query);
	watched_query = MemoryContextStrdup(TopMemoryContext, query);
	if (watched_sum != NULL)
		pfree(watched_sum);
	watched_sum = MemoryContextStrdup(TopMemoryContext, sum);
	strlcpy(watched_column, column->name, NAMEDATALEN);
	watched_table = table_id;
	watched_command = command;
}

void
sync_table_rekey_ends(int32 table_id, const SyncTable *t, const Node *command)
{
	if (watched_command == NULL || watched_command != command ||
		watched_table != table_id)
		return;
	watched_command = NULL;
	if (strcmp(sum_up(watched_query), watched_sum) == 0)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("cannot change the text of values in column \"%s\" by ALTER COLUMN TYPE",
					watched_column),
			 errdetail("Table \"%s\" is kept in sync, and the column is part of its primary key, or its scope column.",
					   t->table_name),
			 errhint("Give the column type text, then write the values as the new type will have them by UPDATE, then give it the new type.")));
}

/* A column of the key, or the scope column, that the command gives a type. */
static const SyncColumn *
altered_key(const SyncTable *t, const AlterTableStmt *stmt)
{
	for (int i = 0; i < t->ncolumns; i++)
	{
		if ((t->columns[i].is_key || i == t->scope_column) &&
			is_altered(stmt, t->columns[i].name))
			return &t->columns[i];
	}
	return NULL;
}

/* Does the command retype or drop the column? */
static bool
is_altered(const AlterTableStmt *stmt, const char *name)
{
	ListCell   *lc;

	foreach(lc, stmt->cmds)
	{
		const AlterTableCmd *cmd = lfirst(lc);

		if ((cmd->subtype == AT_AlterColumnType || cmd->subtype == AT_DropColumn) &&
			cmd->name != NULL && strcmp(cmd->name, name) == 0)
			return true;
	}
	return false;
}

static char *
sum_query(const SyncTable *t, const AlterTableStmt *stmt)
{
	StringInfoData buf;
	const char *separator = "";

	initStringInfo(&buf);
	appendStringInfoString(&buf, "SELECT pg_catalog.count(*) OPERATOR(pg_catalog.||) ' ' OPERATOR(pg_catalog.||)"
						   " pg_catalog.sum(pg_catalog.hashtextextended(ROW(");
	for (int i = 0; i < t->ncolumns; i++)
	{
		const SyncColumn *column = &t->columns[i];

		/* what is generated from an altered column may change with it */
		if (!column->is_key && i != t->scope_column &&
			(column->is_generated || is_altered(stmt, column->name)))
			continue;
		appendStringInfo(&buf, "%s%s", separator, quote_identifier(column->name));
		separator = ", ";
	}
	appendStringInfo(&buf, ")::pg_catalog.text COLLATE pg_catalog.\"C\", 0)) FROM %s%s",
					 get_rel_relkind(t->relid) == RELKIND_PARTITIONED_TABLE ? "" : "ONLY ",
					 t->qualified_name);
	return buf.data;
}

/* Of all rows, whoever may see them. */
static char *
sum_up(const char *query)
{
	MemoryContext context = CurrentMemoryContext;
	StateUser	saved;
	char	   *result;
	int			modes;

	SPI_connect();
	PushActiveSnapshot(GetLatestSnapshot());
	state_become_owner(&saved);
	modes = value_modes_begin();
	if (SPI_execute(query, true, 0) != SPI_OK_SELECT || SPI_processed != 1)
		elog(ERROR, "could not sum up the rows of a table");
	result = SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1);
	result = MemoryContextStrdup(context, result == NULL ? "" : result);
	value_modes_end(modes);
	state_restore_user(&saved);
	PopActiveSnapshot();
	SPI_finish();
	return result;
}
