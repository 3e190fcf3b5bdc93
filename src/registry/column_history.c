/*-------------------------------------------------------------------------
 *
 * column_history.c
 *	  Rows of offline_sync.column_history.
 *
 * Read, like the registry's other tables, with the catalog snapshot: the newest
 * committed state whatever the transaction's isolation level is, since that is
 * what tables are described by.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/stratnum.h"
#include "access/table.h"
#include "access/xact.h"
#include "log/node.h"
#include "log/state.h"
#include "miscadmin.h"
#include "registry/column_history.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

/* offline_sync.column_history */
#define ANUM_HISTORY_VERSION	1
#define ANUM_HISTORY_TABLE_ID	2
#define ANUM_HISTORY_COLUMN_ID	3
#define ANUM_HISTORY_CHANGE		4
#define ANUM_HISTORY_OLD_NAME	5
#define ANUM_HISTORY_NEW_NAME	6
#define ANUM_HISTORY_OLD_TYPE	7
#define ANUM_HISTORY_NEW_TYPE	8
#define ANUM_HISTORY_AT			9
#define ANUM_HISTORY_BY			10
#define ANUM_HISTORY_NODE		11
#define NATTS_HISTORY			11

/* arrays are indexed from 0, attributes from 1 */
#define AT(array, attnum)	((array)[(attnum) - 1])

static const char *const kind_names[] = {
	"added", "renamed", "dropped", "retyped"
};

static int32 last_version(const char *index, int nkeys, ScanKey key);
static void change_from_tuple(ColumnChange *change, HeapTuple tuple,
							  TupleDesc desc);
static char *text_or_null(const Datum *values, const bool *nulls, int attnum);
static void put_text(Datum *values, bool *nulls, int attnum, const char *str);

int32
column_history_version(void)
{
	return last_version("column_history_pkey", 0, NULL);
}

int32
column_history_table_version(int32 table_id)
{
	ScanKeyData key[1];

	ScanKeyInit(&key[0], ANUM_HISTORY_TABLE_ID, BTEqualStrategyNumber, F_INT4EQ,
				Int32GetDatum(table_id));
	return last_version("column_history_table", lengthof(key), key);
}

/* The version in the last row of a scan of an index. */
static int32
last_version(const char *index, int nkeys, ScanKey key)
{
	int32		version = SCHEMA_FIRST_VERSION;
	Relation	rel;
	Relation	indexrel;
	SysScanDesc scan;
	HeapTuple	tuple;

	/* the extension may be in the midst of being created, or dropped */
	if (!OidIsValid(state_find("column_history")) ||
		!OidIsValid(state_find(index)))
		return version;

	rel = state_open("column_history", AccessShareLock);
	indexrel = index_open(state_index(index), AccessShareLock);
	scan = systable_beginscan_ordered(rel, indexrel, NULL, nkeys, key);
	tuple = systable_getnext_ordered(scan, BackwardScanDirection);
	if (HeapTupleIsValid(tuple))
	{
		bool		isnull;

		version = DatumGetInt32(heap_getattr(tuple, ANUM_HISTORY_VERSION,
											 RelationGetDescr(rel), &isnull));
	}
	systable_endscan_ordered(scan);
	index_close(indexrel, AccessShareLock);
	table_close(rel, AccessShareLock);
	return version;
}

SchemaNode *
column_history_nodes(int *nnodes)
{
	SchemaNode *nodes = NULL;
	Relation	rel;
	Relation	indexrel;
	SysScanDesc scan;
	HeapTuple	tuple;

	*nnodes = 0;
	if (!OidIsValid(state_find("column_history")) ||
		!OidIsValid(state_find("column_history_pkey")))
		return NULL;

	rel = state_open("column_history", AccessShareLock);
	indexrel = index_open(state_index("column_history_pkey"), AccessShareLock);
	scan = systable_beginscan_ordered(rel, indexrel, NULL, 0, NULL);
	while (HeapTupleIsValid(tuple = systable_getnext_ordered(scan,
															 ForwardScanDirection)))
	{
		TupleDesc	desc = RelationGetDescr(rel);
		bool		isnull;
		int32		node = DatumGetInt32(heap_getattr(tuple, ANUM_HISTORY_NODE,
													  desc, &isnull));

		if (*nnodes == 0 || nodes[*nnodes - 1].node != node)
		{
			nodes = *nnodes == 0 ? palloc(sizeof(SchemaNode)) :
				repalloc(nodes, (*nnodes + 1) * sizeof(SchemaNode));
			nodes[(*nnodes)++].node = node;
		}
		nodes[*nnodes - 1].version =
			DatumGetInt32(heap_getattr(tuple, ANUM_HISTORY_VERSION, desc, &isnull));
	}
	systable_endscan_ordered(scan);
	index_close(indexrel, AccessShareLock);
	table_close(rel, AccessShareLock);
	return nodes;
}

ColumnChange *
column_history_read(int32 table_id, int *nchanges)
{
	Relation	rel = state_open("column_history", AccessShareLock);
	Relation	indexrel = index_open(state_index("column_history_table"),
									  AccessShareLock);
	int			max = 16;
	ColumnChange *changes = palloc(max * sizeof(ColumnChange));
	ScanKeyData key[1];
	SysScanDesc scan;
	HeapTuple	tuple;

	*nchanges = 0;
	ScanKeyInit(&key[0], ANUM_HISTORY_TABLE_ID, BTEqualStrategyNumber, F_INT4EQ,
				Int32GetDatum(table_id));
	scan = systable_beginscan_ordered(rel, indexrel, NULL, lengthof(key), key);
	while (HeapTupleIsValid(tuple = systable_getnext_ordered(scan,
															 ForwardScanDirection)))
	{
		if (*nchanges == max)
		{
			max *= 2;
			changes = repalloc(changes, max * sizeof(ColumnChange));
		}
		change_from_tuple(&changes[(*nchanges)++], tuple, RelationGetDescr(rel));
	}
	systable_endscan_ordered(scan);
	index_close(indexrel, AccessShareLock);
	table_close(rel, AccessShareLock);
	return changes;
}

static void
change_from_tuple(ColumnChange *change, HeapTuple tuple, TupleDesc desc)
{
	Datum		values[NATTS_HISTORY];
	bool		nulls[NATTS_HISTORY];
	char	   *kind;

	state_check_columns(desc, NATTS_HISTORY);
	heap_deform_tuple(tuple, desc, values, nulls);
	change->version = DatumGetInt32(AT(values, ANUM_HISTORY_VERSION));
	change->column_id = DatumGetInt32(AT(values, ANUM_HISTORY_COLUMN_ID));
	change->old_name = text_or_null(values, nulls, ANUM_HISTORY_OLD_NAME);
	change->new_name = text_or_null(values, nulls, ANUM_HISTORY_NEW_NAME);
	change->old_type = text_or_null(values, nulls, ANUM_HISTORY_OLD_TYPE);
	change->new_type = text_or_null(values, nulls, ANUM_HISTORY_NEW_TYPE);

	kind = TextDatumGetCString(AT(values, ANUM_HISTORY_CHANGE));
	for (int i = 0; i < lengthof(kind_names); i++)
	{
		if (strcmp(kind, kind_names[i]) == 0)
		{
			change->kind = i;
			return;
		}
	}
	ereport(ERROR,
			(errcode(ERRCODE_DATA_CORRUPTED),
			 errmsg("stored change of a column is of unknown kind \"%s\"", kind)));
}

static char *
text_or_null(const Datum *values, const bool *nulls, int attnum)
{
	return AT(nulls, attnum) ? NULL : TextDatumGetCString(AT(values, attnum));
}

void
column_history_record(int32 table_id, Oid role, int nchanges,
					  const ColumnChange *changes)
{
	int32		version = column_history_version() + 1;
	StateWriter *writer;

	if (nchanges == 0)
		return;
	writer = state_writer_begin("column_history");
	for (int i = 0; i < nchanges; i++)
	{
		const ColumnChange *change = &changes[i];
		Datum		values[NATTS_HISTORY];
		bool		nulls[NATTS_HISTORY] = {false};

		AT(values, ANUM_HISTORY_VERSION) = Int32GetDatum(version);
		AT(values, ANUM_HISTORY_TABLE_ID) = Int32GetDatum(table_id);
		AT(values, ANUM_HISTORY_COLUMN_ID) = Int32GetDatum(change->column_id);
		put_text(values, nulls, ANUM_HISTORY_CHANGE, kind_names[change->kind]);
		put_text(values, nulls, ANUM_HISTORY_OLD_NAME, change->old_name);
		put_text(values, nulls, ANUM_HISTORY_NEW_NAME, change->new_name);
		put_text(values, nulls, ANUM_HISTORY_OLD_TYPE, change->old_type);
		put_text(values, nulls, ANUM_HISTORY_NEW_TYPE, change->new_type);
		AT(values, ANUM_HISTORY_AT) =
			TimestampTzGetDatum(GetCurrentTransactionStartTimestamp());
		put_text(values, nulls, ANUM_HISTORY_BY,
				 GetUserNameFromId(role, false));
		AT(values, ANUM_HISTORY_NODE) = Int32GetDatum(sync_node_id());
		state_writer_put(writer, values, nulls);
	}
	state_writer_end(writer);
}

static void
put_text(Datum *values, bool *nulls, int attnum, const char *str)
{
	AT(nulls, attnum) = str == NULL;
	AT(values, attnum) = str == NULL ? (Datum) 0 : CStringGetTextDatum(str);
}
