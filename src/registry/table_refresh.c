/*-------------------------------------------------------------------------
 *
 * table_refresh.c
 *	  Keeping the registry's record of a table's columns and name true.
 *
 * Who records holds a lock on tracked_column that keeps other recorders out
 * until the end of the transaction, and reads the rows after he got it, so two
 * backends that meet the same new column do not both give it an id.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "executor/spi.h"
#include "log/node.h"
#include "log/state.h"
#include "registry/column_history.h"
#include "registry/table_registry.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

PG_FUNCTION_INFO_V1(sync_registry_changed);

static void record_columns(int32 table_id, Oid recorder, Relation rel);
static int	note_change(ColumnChange *changes, int nchanges,
						const TrackedColumn *column, int32 column_id,
						Form_pg_attribute att);
static void update_column(int32 table_id, int32 column_id,
						  Form_pg_attribute att);
static void mark_dropped(int32 table_id, int32 column_id);
static void record_name(int32 table_id, Relation rel);
static void execute(const char *query, int nargs, Oid *types, Datum *values);

void
sync_table_refresh(int32 table_id, Oid relid)
{
	Relation	rel = try_relation_open(relid, AccessShareLock);
	StateUser	saved;

	if (rel == NULL)
		return;
	table_close(state_open("tracked_column", ShareRowExclusiveLock), NoLock);

	SPI_connect();
	state_become_owner(&saved);
	record_columns(table_id, saved.user, rel);
	record_name(table_id, rel);
	state_restore_user(&saved);
	SPI_finish();

	relation_close(rel, NoLock);
	sync_table_invalidate(relid);
}

/*
 * sync_registry_changed() -> trigger on tracked_table and column_history
 *
 * For those who write the table by other ways than our functions, which is what
 * a restore does.
 */
Datum
sync_registry_changed(PG_FUNCTION_ARGS)
{
	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("function \"%s\" was not called as a trigger",
						"sync_registry_changed")));
	CacheInvalidateRelcacheByRelid(sync_table_oids()->tracked_table);
	return PointerGetDatum(NULL);
}

void
sync_table_invalidate(Oid relid)
{
	CacheInvalidateRelcacheByRelid(sync_table_oids()->tracked_table);
	if (OidIsValid(relid))
		CacheInvalidateRelcacheByRelid(relid);
	CommandCounterIncrement();
}

static void
record_columns(int32 table_id, Oid recorder, Relation rel)
{
	TupleDesc	desc = RelationGetDescr(rel);
	int			ncolumns;
	TrackedColumn *columns = tracked_column_read(table_id, &ncolumns);
	int		   *match = tracked_column_match(desc, ncolumns, columns);
	int32		next_id = ncolumns == 0 ? 1 : columns[ncolumns - 1].column_id + 1;
	bool	   *is_present = palloc0(Max(ncolumns, 1) * sizeof(bool));
	ColumnChange *changes = palloc((desc->natts + ncolumns) * 2 *
								   sizeof(ColumnChange));
	int			nchanges = 0;
	int			i;

	for (i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);

		if (match[i] >= 0)
		{
			const TrackedColumn *column = &columns[match[i]];

			is_present[match[i]] = true;
			if (tracked_column_is_recorded(att, column))
				continue;
			update_column(table_id, column->column_id, att);
			nchanges = note_change(changes, nchanges, column, column->column_id, att);
		}
		else if (!att->attisdropped &&
				 strcmp(NameStr(att->attname), SYNC_CLOCK_COLUMN) != 0)
		{
			sync_table_add_column(table_id, next_id, att, 0);
			nchanges = note_change(changes, nchanges, NULL, next_id++, att);
		}
	}
	for (i = 0; i < ncolumns; i++)
	{
		if (is_present[i] || columns[i].is_dropped)
			continue;
		mark_dropped(table_id, columns[i].column_id);
		nchanges = note_change(changes, nchanges, &columns[i],
							   columns[i].column_id, NULL);
	}
	column_history_record(table_id, recorder, nchanges, changes);
}

/*
 * Add what the difference between the record and the attribute means to a device, if
 * anything: another attnum or node does not.  No record: added; no attribute: dropped.
 */
static int
note_change(ColumnChange *changes, int nchanges, const TrackedColumn *column,
			int32 column_id, Form_pg_attribute att)
{
	ColumnChange change = {0};

	change.column_id = column_id;
	if (column != NULL)
	{
		change.old_name = column->name;
		change.old_type = column->type_name;
	}
	if (att != NULL)
	{
		change.new_name = NameStr(att->attname);
		change.new_type = tracked_column_type_name(att->atttypid);
	}

	if (column == NULL || att == NULL)
	{
		change.kind = column == NULL ? COLUMN_ADDED : COLUMN_DROPPED;
		changes[nchanges++] = change;
		return nchanges;
	}
	if (strcmp(change.old_name, change.new_name) != 0)
	{
		change.kind = COLUMN_RENAMED;
		changes[nchanges++] = change;
	}
	if (strcmp(change.old_type, change.new_type) != 0)
	{
		change.kind = COLUMN_RETYPED;
		changes[nchanges++] = change;
	}
	return nchanges;
}

void
sync_table_add_column(int32 table_id, int32 column_id, Form_pg_attribute att,
					  int key_position)
{
	Oid			types[] = {INT4OID, INT4OID, TEXTOID, INT4OID, UUIDOID, TEXTOID, INT4OID};
	Datum		values[lengthof(types)];

	values[0] = Int32GetDatum(table_id);
	values[1] = Int32GetDatum(column_id);
	values[2] = CStringGetTextDatum(NameStr(att->attname));
	values[3] = Int32GetDatum(att->attnum);
	values[4] = UUIDPGetDatum(sync_node_uuid());
	values[5] = CStringGetTextDatum(tracked_column_type_name(att->atttypid));
	values[6] = Int32GetDatum(key_position);
	execute("INSERT INTO offline_sync.tracked_column"
			" (table_id, column_id, column_name, attnum, node, type_name, key_position)"
			" VALUES ($1, $2, $3, $4, $5, $6, nullif($7, 0))",
			lengthof(types), types, values);
}

static void
update_column(int32 table_id, int32 column_id, Form_pg_attribute att)
{
	Oid			types[] = {INT4OID, INT4OID, TEXTOID, INT4OID, UUIDOID, TEXTOID};
	Datum		values[lengthof(types)];

	values[0] = Int32GetDatum(table_id);
	values[1] = Int32GetDatum(column_id);
	values[2] = CStringGetTextDatum(NameStr(att->attname));
	values[3] = Int32GetDatum(att->attnum);
	values[4] = UUIDPGetDatum(sync_node_uuid());
	values[5] = CStringGetTextDatum(tracked_column_type_name(att->atttypid));
	execute("UPDATE offline_sync.tracked_column"
			" SET column_name = $3, attnum = $4, node = $5, type_name = $6"
			" WHERE table_id = $1 AND column_id = $2",
			lengthof(types), types, values);
}

static void
mark_dropped(int32 table_id, int32 column_id)
{
	Oid			types[] = {INT4OID, INT4OID};
	Datum		values[] = {Int32GetDatum(table_id), Int32GetDatum(column_id)};

	execute("UPDATE offline_sync.tracked_column SET is_dropped = true"
			" WHERE table_id = $1 AND column_id = $2",
			lengthof(types), types, values);
}

static void
record_name(int32 table_id, Relation rel)
{
	Oid			types[] = {INT4OID, TEXTOID, TEXTOID};
	char	   *schema = get_namespace_name(RelationGetNamespace(rel));
	Datum		values[] = {Int32GetDatum(table_id), CStringGetTextDatum(schema),
	CStringGetTextDatum(RelationGetRelationName(rel))};

	execute("UPDATE offline_sync.tracked_table SET schema_name = $2, table_name = $3"
			" WHERE table_id = $1 AND (schema_name <> $2 OR table_name <> $3)",
			lengthof(types), types, values);
}

/* Run a statement that returns nothing. */
static void
execute(const char *query, int nargs, Oid *types, Datum *values)
{
	int			result = SPI_execute_with_args(query, nargs, types, values, NULL,
											   false, 0);

	if (result < 0)
		elog(ERROR, "SPI_execute_with_args failed: %s",
			 SPI_result_code_string(result));
}
