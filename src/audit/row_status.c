/*-------------------------------------------------------------------------
 *
 * row_status.c
 *	  sync_row_status: how it stands with one row.
 *
 * The row is looked for by an ordinary statement as the caller, so he learns
 * nothing of rows that he cannot see.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/stratnum.h"
#include "access/table.h"
#include "compat.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "log/state.h"
#include "registry/row_fetch.h"
#include "registry/row_key.h"
#include "registry/table_registry.h"
#include "registry/value.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/jsonb.h"
#include "utils/snapmgr.h"

/* A state table with entries about rows */
typedef struct RowEntries
{
	const char *table;
	const char *index;			/* on (table_id, key) */
	AttrNumber	anum_table_id;
	AttrNumber	anum_key;
	AttrNumber	anum_state;		/* 0: every entry counts */
} RowEntries;

static const RowEntries conflicts = {"conflict", "conflict_row", 6, 7, 11};
static const RowEntries waiting = {"waiting", "waiting_row", 5, 6, 0};

PG_FUNCTION_INFO_V1(sync_row_status);

static bool row_is_visible(SyncTable *table, const Datum *key);
static void row_found(void *arg, int ordinal, Datum clock, bool clock_isnull,
					  Datum *values, bool *isnull);
static bytea *encode_key(SyncTable *table, const Datum *key);
static bool has_entry(const RowEntries *entries, int32 table_id, bytea *key);

/*
 * sync_row_status(relation regclass, key jsonb) -> text
 *
 * 'conflict': a person is to decide about the row, or a cell of it; 'pending': a
 * device's change of it waits for the row that it refers to; else 'synced'.
 * NULL: there is no such row, as far as the caller can see.
 */
Datum
sync_row_status(PG_FUNCTION_ARGS)
{
	SyncTable  *table = sync_table_by_relid(PG_GETARG_OID(0));
	Datum	   *key;
	bool		is_visible;
	bytea	   *bytes;

	if (table == NULL)
		sync_table_not_enabled(PG_GETARG_OID(0));
	key = row_key_from_jsonb(table, PG_GETARG_JSONB_P(1));
	SPI_connect();
	is_visible = row_is_visible(table, key);
	SPI_finish();
	if (!is_visible)
		PG_RETURN_NULL();
	bytes = encode_key(table, key);
	PG_RETURN_TEXT_P(cstring_to_text(has_entry(&conflicts, table->table_id, bytes) ?
									 "conflict" :
									 has_entry(&waiting, table->table_id, bytes) ?
									 "pending" : "synced"));
}

static bool
row_is_visible(SyncTable *table, const Datum *key)
{
	bool		found = false;

	row_fetch(table, NULL, ROW_FETCH_READ, 1, key, row_found, &found);
	return found;
}

static void
row_found(void *arg, int ordinal, Datum clock, bool clock_isnull,
		  Datum *values, bool *isnull)
{
	*(bool *) arg = true;
}

static bytea *
encode_key(SyncTable *table, const Datum *key)
{
	StringInfoData buf;
	int			modes = value_modes_begin();

	initStringInfo(&buf);
	row_key_encode(&buf, table, key);
	value_modes_end(modes);
	return (bytea *) cstring_to_text_with_len(buf.data, buf.len);
}

/* Is there an entry about the row in a state table; where one has a state, an open
 * one? */
static bool
has_entry(const RowEntries *entries, int32 table_id, bytea *key)
{
	Relation	rel = state_open(entries->table, AccessShareLock);
	ScanKeyData keys[2];
	SysScanDesc scan;
	HeapTuple	tuple;
	bool		result = false;

	ScanKeyInit(&keys[0], entries->anum_table_id, BTEqualStrategyNumber,
				F_INT4EQ, Int32GetDatum(table_id));
	ScanKeyInit(&keys[1], entries->anum_key, BTEqualStrategyNumber,
				F_BYTEAEQ, PointerGetDatum(key));
	scan = systable_beginscan(rel, state_index(entries->index), true,
							  GetActiveSnapshot(), lengthof(keys), keys);
	while (!result && HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		bool		isnull;

		result = entries->anum_state == 0 ||
			strcmp(TextDatumGetCString(heap_getattr(tuple, entries->anum_state,
													RelationGetDescr(rel),
													&isnull)), "open") == 0;
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return result;
}
