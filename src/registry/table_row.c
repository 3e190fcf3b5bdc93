/*-------------------------------------------------------------------------
 *
 * table_row.c
 *	  Rows of offline_sync.tracked_table and offline_sync.tracked_column.
 *
 * Read with the catalog snapshot, as descriptions of relations are: the newest
 * committed state whatever the transaction's isolation level is, and also where
 * there is no active snapshot.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/stratnum.h"
#include "access/table.h"
#include "log/state.h"
#include "registry/table_row.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"
#include "utils/timestamp.h"
#include "utils/xid8.h"

/* offline_sync.tracked_table */
#define ANUM_TABLE_TABLE_ID			1
#define ANUM_TABLE_WIRE_NAME		2
#define ANUM_TABLE_SCHEMA_NAME		3
#define ANUM_TABLE_TABLE_NAME		4
#define ANUM_TABLE_SCOPE_COLUMN_ID	5
#define ANUM_TABLE_ON_DELETE		6
#define ANUM_TABLE_MODE				7
#define ANUM_TABLE_CONSISTENCY		8
#define ANUM_TABLE_AUDIT			9
#define ANUM_TABLE_ENABLED_NODE		10
#define ANUM_TABLE_ENABLED_XID		11
#define ANUM_TABLE_ENABLED_HLC		12
#define ANUM_TABLE_ENABLED_COLUMNS	13
#define ANUM_TABLE_ENABLED_AT		14
#define ANUM_TABLE_IS_ENABLED		15

/* offline_sync.tracked_column */
#define ANUM_COLUMN_TABLE_ID		1
#define ANUM_COLUMN_COLUMN_ID		2
#define ANUM_COLUMN_COLUMN_NAME		3
#define ANUM_COLUMN_ATTNUM			4
#define ANUM_COLUMN_NODE			5
#define ANUM_COLUMN_TYPE_NAME		6
#define ANUM_COLUMN_KEY_POSITION	7
#define ANUM_COLUMN_POLICY			8
#define ANUM_COLUMN_OPTIONS			9
#define ANUM_COLUMN_IS_DROPPED		10

#define NATTS_MAX					15

static void table_from_tuple(TrackedTable *row, HeapTuple tuple, TupleDesc desc);
static void column_from_tuple(TrackedColumn *row, HeapTuple tuple,
							  TupleDesc desc);
static char *text_or_null(const Datum *values, const bool *nulls, int attnum);
static int32 int_or_zero(const Datum *values, const bool *nulls, int attnum);
static int	compare_tables(const void *a, const void *b);
static int	compare_columns(const void *a, const void *b);

/* arrays are indexed from 0, attributes from 1 */
#define AT(array, attnum)	((array)[(attnum) - 1])

TrackedTable *
tracked_table_read(int *ntables)
{
	Relation	rel = state_open("tracked_table", AccessShareLock);
	int			maxtables = 16;
	TrackedTable *tables = palloc(maxtables * sizeof(TrackedTable));
	ScanKeyData key[1];
	SysScanDesc scan;
	HeapTuple	tuple;

	*ntables = 0;
	ScanKeyInit(&key[0], ANUM_TABLE_IS_ENABLED, BTEqualStrategyNumber, F_BOOLEQ,
				BoolGetDatum(true));
	scan = systable_beginscan(rel, InvalidOid, false, NULL, lengthof(key), key);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		if (*ntables == maxtables)
		{
			maxtables *= 2;
			tables = repalloc(tables, maxtables * sizeof(TrackedTable));
		}
		table_from_tuple(&tables[(*ntables)++], tuple, RelationGetDescr(rel));
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);

	qsort(tables, *ntables, sizeof(TrackedTable), compare_tables);
	return tables;
}

int32
tracked_table_next_id(void)
{
	Relation	rel = state_open("tracked_table", AccessShareLock);
	int32		last_id = 0;
	SysScanDesc scan;
	HeapTuple	tuple;

	scan = systable_beginscan(rel, InvalidOid, false, NULL, 0, NULL);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		bool		isnull;
		Datum		id = heap_getattr(tuple, ANUM_TABLE_TABLE_ID,
									  RelationGetDescr(rel), &isnull);

		last_id = Max(last_id, DatumGetInt32(id));
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return last_id + 1;
}

static void
table_from_tuple(TrackedTable *row, HeapTuple tuple, TupleDesc desc)
{
	Datum		values[NATTS_MAX];
	bool		nulls[NATTS_MAX];

	Assert(desc->natts == ANUM_TABLE_IS_ENABLED);
	heap_deform_tuple(tuple, desc, values, nulls);
	row->table_id = DatumGetInt32(AT(values, ANUM_TABLE_TABLE_ID));
	row->wire_name = text_or_null(values, nulls, ANUM_TABLE_WIRE_NAME);
	row->schema_name = text_or_null(values, nulls, ANUM_TABLE_SCHEMA_NAME);
	row->table_name = text_or_null(values, nulls, ANUM_TABLE_TABLE_NAME);
	row->scope_column_id = int_or_zero(values, nulls, ANUM_TABLE_SCOPE_COLUMN_ID);
	row->on_delete = text_or_null(values, nulls, ANUM_TABLE_ON_DELETE);
	row->mode = text_or_null(values, nulls, ANUM_TABLE_MODE);
	row->consistency = text_or_null(values, nulls, ANUM_TABLE_CONSISTENCY);
	row->audit = text_or_null(values, nulls, ANUM_TABLE_AUDIT);
	row->enabled_node = DatumGetInt32(AT(values, ANUM_TABLE_ENABLED_NODE));
	row->enabled_xid =
		U64FromFullTransactionId(DatumGetFullTransactionId(AT(values, ANUM_TABLE_ENABLED_XID)));
	row->enabled_hlc = DatumGetHlc(AT(values, ANUM_TABLE_ENABLED_HLC));
	row->enabled_columns = DatumGetInt32(AT(values, ANUM_TABLE_ENABLED_COLUMNS));
	row->enabled_at = DatumGetTimestampTz(AT(values, ANUM_TABLE_ENABLED_AT));
}

TrackedColumn *
tracked_column_read(int32 table_id, int *ncolumns)
{
	Relation	rel = state_open("tracked_column", AccessShareLock);
	int			maxcolumns = 16;
	TrackedColumn *columns = palloc(maxcolumns * sizeof(TrackedColumn));
	ScanKeyData key[1];
	SysScanDesc scan;
	HeapTuple	tuple;

	*ncolumns = 0;
	ScanKeyInit(&key[0], ANUM_COLUMN_TABLE_ID, BTEqualStrategyNumber, F_INT4EQ,
				Int32GetDatum(table_id));
	scan = systable_beginscan(rel, state_index("tracked_column_pkey"), true, NULL,
							  lengthof(key), key);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		if (*ncolumns == maxcolumns)
		{
			maxcolumns *= 2;
			columns = repalloc(columns, maxcolumns * sizeof(TrackedColumn));
		}
		column_from_tuple(&columns[(*ncolumns)++], tuple, RelationGetDescr(rel));
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);

	qsort(columns, *ncolumns, sizeof(TrackedColumn), compare_columns);
	return columns;
}

static void
column_from_tuple(TrackedColumn *row, HeapTuple tuple, TupleDesc desc)
{
	Datum		values[NATTS_MAX];
	bool		nulls[NATTS_MAX];

	Assert(desc->natts == ANUM_COLUMN_IS_DROPPED);
	heap_deform_tuple(tuple, desc, values, nulls);
	row->column_id = DatumGetInt32(AT(values, ANUM_COLUMN_COLUMN_ID));
	row->name = text_or_null(values, nulls, ANUM_COLUMN_COLUMN_NAME);
	row->attnum = DatumGetInt32(AT(values, ANUM_COLUMN_ATTNUM));
	row->node = *DatumGetUUIDP(AT(values, ANUM_COLUMN_NODE));
	row->type_name = text_or_null(values, nulls, ANUM_COLUMN_TYPE_NAME);
	row->key_position = int_or_zero(values, nulls, ANUM_COLUMN_KEY_POSITION);
	row->policy = text_or_null(values, nulls, ANUM_COLUMN_POLICY);
	row->options = DatumGetJsonbPCopy(AT(values, ANUM_COLUMN_OPTIONS));
	row->is_dropped = DatumGetBool(AT(values, ANUM_COLUMN_IS_DROPPED));
}

static char *
text_or_null(const Datum *values, const bool *nulls, int attnum)
{
	return AT(nulls, attnum) ? NULL : TextDatumGetCString(AT(values, attnum));
}

static int32
int_or_zero(const Datum *values, const bool *nulls, int attnum)
{
	return AT(nulls, attnum) ? 0 : DatumGetInt32(AT(values, attnum));
}

static int
compare_tables(const void *a, const void *b)
{
	int32		ida = ((const TrackedTable *) a)->table_id;
	int32		idb = ((const TrackedTable *) b)->table_id;

	return ida < idb ? -1 : ida > idb;
}

static int
compare_columns(const void *a, const void *b)
{
	int32		ida = ((const TrackedColumn *) a)->column_id;
	int32		idb = ((const TrackedColumn *) b)->column_id;

	return ida < idb ? -1 : ida > idb;
}
