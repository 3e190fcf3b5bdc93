/*-------------------------------------------------------------------------
 *
 * resolve_row.c
 *	  Resolving a conflict about a whole row.
 *
 * "incoming" does what the change that lost had wanted.  It is in the journal,
 * with what it does to each column: the conflict only has values for people.  A
 * row that is gone is inserted again from its last image, by the caller: columns
 * that he may not write, or rows that row security keeps from him, stay gone.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "audit/journal.h"
#include "log/node.h"
#include "merge/apply.h"
#include "merge/resolve.h"
#include "registry/row_batch.h"
#include "registry/row_key.h"
#include "registry/value.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"

static int	find_change(const Conflict *conflict, DeltaReader *reader,
						DeltaChange *change);
static ApplyRow *read_row(SyncTable *table, const Conflict *conflict,
						  Bitmapset *columns);
static void read_image(ApplyRow *row);
static void put_cell(ApplyRow *row, int column, const DeltaCell *cell);
static void put_keys(ApplyRow *row, int column, const DeltaCell *cell);
static void put_list(ApplyRow *row, int column, const DeltaCell *cell);
static bool every_tag(const OrSetTag *tag, void *arg);
static int	writable_column(const SyncTable *table, const char *name, int len);
static void check_writable(const SyncTable *table, int column, const char *name,
						   int len);
static void run(ApplyRow *row, RowStatement statement);

void
resolve_row_incoming(SyncTable *table, const Conflict *conflict)
{
	DeltaReader reader;
	DeltaChange change;
	TableVersion *version;
	int		   *indexes;		/* of the cells' columns, as the device knew
								 * them */
	Bitmapset  *columns = NULL;
	ApplyRow   *row;
	int			modes;

	version = table_version_open(table, find_change(conflict, &reader, &change));
	indexes = palloc(Max(change.ncells, 1) * sizeof(int));
	for (int i = 0; i < change.ncells; i++)
	{
		DeltaName  *name = &reader.columns[change.cells[i].column];

		indexes[i] = table_version_column(table, version, name->data, name->len);
		if (indexes[i] == VERSION_DROPPED_COLUMN)
			continue;
		check_writable(table, indexes[i], name->data, name->len);
		columns = bms_add_member(columns, indexes[i]);
	}
	row = read_row(table, conflict, columns);
	if (change.kind == DELTA_CHANGE_DELETE)
	{
		run(row, ROW_STATEMENT_DELETE);
		return;
	}

	modes = value_modes_begin();
	if (!row->exists)
	{
		read_image(row);
		if (row->image_isnull && change.kind != DELTA_CHANGE_INSERT)
			resolve_refused(table);
		if (!row->image_isnull)
			apply_load_image(row);
	}
	for (int i = 0; i < change.ncells; i++)
	{
		DeltaCell	cell = change.cells[i];

		if (indexes[i] == VERSION_DROPPED_COLUMN)
			continue;
		table_version_up(table, version, indexes[i], &change.cells[i].value,
						 &cell.value);
		put_cell(row, indexes[i], &cell);
	}
	value_modes_end(modes);
	run(row, !row->exists ? ROW_STATEMENT_INSERT :
		bms_is_empty(row->written) ? ROW_STATEMENT_LOCK : ROW_STATEMENT_UPDATE);
}

void
resolve_row_value(SyncTable *table, const Conflict *conflict, Jsonb *values)
{
	ApplyRow   *row = read_row(table, conflict, NULL);
	int			modes = value_modes_begin();
	JsonbIterator *it;
	JsonbIteratorToken token;
	JsonbValue	value;
	int			column = -1;

	if (!JB_ROOT_IS_OBJECT(values))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the value for a whole row must be a JSON object"),
				 errhint("Write {\"column\": value}.")));
	it = JsonbIteratorInit(&values->root);
	while ((token = JsonbIteratorNext(&it, &value, true)) != WJB_DONE)
	{
		if (token == WJB_KEY)
			column = writable_column(table, value.val.string.val,
									 value.val.string.len);
		else if (token == WJB_VALUE)
		{
			row->values[column] =
				resolve_column_value(&table->columns[column],
									 JsonbValueToJsonb(&value),
									 &row->isnull[column]);
			row->written = bms_add_member(row->written, column);
		}
	}
	value_modes_end(modes);
	run(row, !row->exists ? ROW_STATEMENT_INSERT :
		bms_is_empty(row->written) ? ROW_STATEMENT_LOCK : ROW_STATEMENT_UPDATE);
}

/* The change that lost; returns the version of the schema that it was made for. */
static int
find_change(const Conflict *conflict, DeltaReader *reader, DeltaChange *change)
{
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	JournalRow *stored = journal_find(&conflict->device, conflict->seq, snapshot);

	UnregisterSnapshot(snapshot);
	memset(change, 0, sizeof(*change));
	if (stored != NULL)
	{
		delta_reader_init(reader, stored->delta);
		while (delta_reader_next(reader, change))
		{
			if (change->seq == conflict->seq)
				return stored->schema_version;
		}
	}
	ereport(ERROR,
			(errcode(ERRCODE_NO_DATA_FOUND),
			 errmsg("the incoming change of the conflict is not stored any more"),
			 errhint("Resolve it as \"current\", or give the values.")));
	return 0;					/* keep compiler quiet */
}

/* Lock the conflict's row and read these columns. */
static ApplyRow *
read_row(SyncTable *table, const Conflict *conflict, Bitmapset *columns)
{
	ApplyRow   *row = palloc0(sizeof(ApplyRow));
	int			modes = value_modes_begin();
	RowBatch   *batch;

	row->table = table;
	row->ref.table_id = table->table_id;
	row->ref.key_bytes = conflict->key;
	row->ref.key_len = conflict->key_len;
	row->key = palloc(table->nkeys * sizeof(Datum));
	row->values = palloc0(table->ncolumns * sizeof(Datum));
	row->isnull = palloc(table->ncolumns * sizeof(bool));
	memset(row->isnull, true, table->ncolumns * sizeof(bool));
	row_key_decode(table, conflict->key, conflict->key_len, row->key);
	value_modes_end(modes);

	batch = row_batch_begin(table, NULL);
	row_batch_put(batch, 0, row->key, NULL, NULL);
	row_batch_run(batch, ROW_STATEMENT_LOCK, columns, false);
	row_batch_end(batch);
	row->exists = SPI_processed > 0;
	for (int i = -1, n = 3; row->exists &&
		 (i = bms_next_member(columns, i)) >= 0; n++)
		row->values[i] = SPI_getbinval(SPI_tuptable->vals[0],
									   SPI_tuptable->tupdesc, n,
									   &row->isnull[i]);
	return row;
}

static void
read_image(ApplyRow *row)
{
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	Tombstone	tombstone;

	tombstone_fetch(row->ref.table_id, 1, &row->ref.key_bytes,
					&row->ref.key_len, snapshot, &tombstone);
	UnregisterSnapshot(snapshot);
	row->image = tombstone.image;
	row->image_isnull = !tombstone.found || tombstone.image_isnull;
}

static void
put_cell(ApplyRow *row, int column, const DeltaCell *cell)
{
	SyncColumn *c = &row->table->columns[column];
	Datum		value;
	bool		isnull;

	row->written = bms_add_member(row->written, column);
	if (c->value_class == VALUE_ORSET)
	{
		put_list(row, column, cell);
		return;
	}
	if (c->policy == POLICY_JSON)
	{
		put_keys(row, column, cell);
		return;
	}
	value = value_from_delta(c, &cell->value, &isnull);
	if (c->policy == POLICY_COUNTER && !row->isnull[column])
	{
		if (isnull)
			return;
		value = apply_add_counter(c, row->values[column], value);
	}
	row->values[column] = value;
	row->isnull[column] = isnull;
}

/* An object that is merged key by key; NULL stands for an empty one. */
static void
put_keys(ApplyRow *row, int column, const DeltaCell *cell)
{
	SyncColumn *c = &row->table->columns[column];
	DeltaValue	none = {DELTA_JSON, 2, "{}"};
	DeltaValue	sent = cell->op == DELTA_REMOVE ||
	cell->value.kind == DELTA_NULL ? none : cell->value;
	bool		isnull;
	Datum		value = value_from_delta(c, &sent, &isnull);

	row->values[column] = apply_object_with(cell->op, row->values[column],
											row->isnull[column], value,
											&cell->value);
	row->isnull[column] = false;
}

/* Whose tags the elements have does not matter: a write by SQL gets its own. */
static void
put_list(ApplyRow *row, int column, const DeltaCell *cell)
{
	OrSetTag	tag = {*sync_node_uuid(), 1};
	DeltaValue	list;
	OrSetItem  *items;
	OrSet	   *set;
	const char *cursor;
	const char *data;
	int			len;
	int			n = 0;

	if (!delta_value_to_list(&cell->value, &list))
	{
		list.kind = DELTA_LIST;
		list.data = NULL;
		list.len = 0;
	}
	items = palloc((list.len + 1) * sizeof(OrSetItem));
	cursor = list.data;
	while (delta_list_next(&list, &cursor, &data, &len))
	{
		items[n].data = data;
		items[n++].len = len;
	}
	set = row->isnull[column] ? orset_create(CurrentMemoryContext) :
		orset_unpack(CurrentMemoryContext, DatumGetOrSetP(row->values[column]));
	if (cell->op == DELTA_SET)
		orset_remove_all_seen(set, NULL, 0, every_tag, NULL);
	else if (cell->op == DELTA_REMOVE)
		orset_remove_all_seen(set, items, n, every_tag, NULL);
	if (cell->op != DELTA_REMOVE)
		orset_add_tag_to_all(set, items, n, &tag, 0);
	row->values[column] = OrSetPGetDatum(orset_pack(set));
	row->isnull[column] = false;
}

static bool
every_tag(const OrSetTag *tag, void *arg)
{
	return true;
}

static int
writable_column(const SyncTable *table, const char *name, int len)
{
	int			column = sync_column_by_name(table, name, len);

	check_writable(table, column, name, len);
	return column;
}

/* Raise where the column that a name was found to mean, or -1, cannot be written. */
static void
check_writable(const SyncTable *table, int column, const char *name, int len)
{
	if (column < 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_COLUMN),
				 errmsg("column \"%.*s\" of table \"%s\" does not exist",
						len, name, table->wire_name),
				 errhint("Give the row's values by the names that the table's columns have now.")));
	if (table->columns[column].is_key || table->columns[column].is_generated)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("column \"%.*s\" cannot be written", len, name),
				 errdetail("It belongs to the primary key, or is generated.")));
}

/* Write the row; whatever the caller may not do raises its ordinary error. */
static void
run(ApplyRow *row, RowStatement statement)
{
	Bitmapset  *written = statement == ROW_STATEMENT_INSERT ||
	statement == ROW_STATEMENT_UPDATE ? row->written : NULL;
	int			n = 0;
	Datum	   *values = palloc((row->table->ncolumns + 1) * sizeof(Datum));
	bool	   *isnull = palloc((row->table->ncolumns + 1) * sizeof(bool));
	RowBatch   *batch = row_batch_begin(row->table, written);

	for (int i = -1; (i = bms_next_member(written, i)) >= 0; n++)
	{
		values[n] = row->values[i];
		isnull[n] = row->isnull[i];
	}
	row_batch_put(batch, 0, row->key, values, isnull);
	row_batch_run(batch, statement, NULL, false);
	row_batch_end(batch);
	if (SPI_processed == 0)
		resolve_refused(row->table);
}
