/*-------------------------------------------------------------------------
 *
 * row_fetch.c
 *	  Reading rows of tracked tables by primary key.
 *
 * A plain table without row security for the caller is read by look-ups in the
 * primary key's index, which takes half the time of the statement that other tables and row
 * locks need: there is no executor to go through, and no row is copied before
 * the callback sees it.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/sysattr.h"
#include "access/table.h"
#include "access/tableam.h"
#include "catalog/pg_namespace.h"
#include "compat.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "registry/row_batch.h"
#include "registry/row_fetch.h"
#include "registry/value.h"
#include "utils/acl.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/rls.h"
#include "utils/snapmgr.h"

static bool is_plain(SyncTable *t, Relation rel, Bitmapset *columns);
static void check_readable(SyncTable *t, Relation rel, Bitmapset *columns);
static void fetch_directly(SyncTable *t, Relation rel, Bitmapset *columns,
						   int nrows, const Datum *keys,
						   RowFetchCallback callback, void *arg);
static void fetch_by_statement(SyncTable *t, Bitmapset *columns,
							   RowFetchLock lock, int nrows, const Datum *keys,
							   RowFetchCallback callback, void *arg);

void
row_fetch(SyncTable *t, Bitmapset *columns, RowFetchLock lock,
		  int nrows, const Datum *keys, RowFetchCallback callback, void *arg)
{
	if (nrows == 0)
		return;
	if (lock == ROW_FETCH_READ)
	{
		Relation	rel = table_open(t->relid, AccessShareLock);

		if (is_plain(t, rel, columns))
		{
			fetch_directly(t, rel, columns, nrows, keys, callback, arg);
			table_close(rel, NoLock);
			return;
		}
		table_close(rel, NoLock);
	}
	fetch_by_statement(t, columns, lock, nrows, keys, callback, arg);
}

/* Would a statement do no more than look the keys up? */
static bool
is_plain(SyncTable *t, Relation rel, Bitmapset *columns)
{
	/* a statement computes what tuples do not have */
	if (t->has_generated)
	{
		for (int i = -1; (i = bms_next_member(columns, i)) >= 0;)
			if (t->columns[i].is_virtual)
				return false;
	}
	if (rel->rd_rel->relkind != RELKIND_RELATION || t->key_deferrable ||
		ExecutorCheckPerms_hook != NULL ||
		check_enable_rls(t->relid, InvalidOid, true) != RLS_NONE ||
		pg_namespace_aclcheck(RelationGetNamespace(rel), GetUserId(),
							  ACL_USAGE) != ACLCHECK_OK)
		return false;

	/* the list says which index it is */
	list_free(RelationGetIndexList(rel));
	return OidIsValid(rel->rd_pkindex);
}

/* As the executor checks it of a statement */
static void
check_readable(SyncTable *t, Relation rel, Bitmapset *columns)
{
	Oid			user = GetUserId();
	Bitmapset  *all = bms_copy(columns);
	bool		is_readable;

	if (pg_class_aclcheck(t->relid, user, ACL_SELECT) == ACLCHECK_OK)
		return;
	for (int i = 0; i < t->nkeys; i++)
		all = bms_add_member(all, t->key[i]);
	is_readable = bms_is_subset(all, row_fetch_readable(t, &is_readable)) &&
		is_readable;
	if (!is_readable)
		aclcheck_error(ACLCHECK_NO_PRIV, OBJECT_TABLE, RelationGetRelationName(rel));
	bms_free(all);
}

/* The index's columns are the key's, in their order. */
static void
fetch_directly(SyncTable *t, Relation rel, Bitmapset *columns, int nrows,
			   const Datum *keys, RowFetchCallback callback, void *arg)
{
	Relation	index = index_open(rel->rd_pkindex, AccessShareLock);
	TupleTableSlot *slot = table_slot_create(rel, NULL);
	Snapshot	snapshot = RegisterSnapshot(GetActiveSnapshot());
	int			ncolumns = bms_num_members(columns);
	Datum	   *values = palloc(Max(ncolumns, 1) * sizeof(Datum));
	bool	   *isnull = palloc(Max(ncolumns, 1) * sizeof(bool));
	ScanKeyData scan_keys[INDEX_MAX_KEYS];
	AttrNumber	last = t->clock_attnum;
	IndexScanDesc scan;
	int			modes;

	check_readable(t, rel, columns);
	for (int i = 0; i < t->nkeys; i++)
		ScanKeyEntryInitialize(&scan_keys[i], 0, i + 1, BTEqualStrategyNumber,
							   InvalidOid, index->rd_indcollation[i],
							   get_opcode(t->key_eq[i]), (Datum) 0);
	for (int c = -1; (c = bms_next_member(columns, c)) >= 0;)
		last = Max(last, t->columns[c].attnum);

	scan = compat_index_beginscan(rel, index, snapshot, t->nkeys);
	modes = t->modes ? value_modes_begin_for(t->modes) : 0;
	for (int i = 0; i < nrows; i++)
	{
		int			n = 0;

		CHECK_FOR_INTERRUPTS();
		for (int k = 0; k < t->nkeys; k++)
			scan_keys[k].sk_argument = keys[(Size) i * t->nkeys + k];
		index_rescan(scan, scan_keys, t->nkeys, NULL, 0);
		if (!index_getnext_slot(scan, ForwardScanDirection, slot))
			continue;
		slot_getsomeattrs(slot, last);
		for (int c = -1; (c = bms_next_member(columns, c)) >= 0; n++)
		{
			values[n] = slot->tts_values[t->columns[c].attnum - 1];
			isnull[n] = slot->tts_isnull[t->columns[c].attnum - 1];
		}
		callback(arg, i, slot->tts_values[t->clock_attnum - 1],
				 slot->tts_isnull[t->clock_attnum - 1], values, isnull);
	}
	if (t->modes)
		value_modes_end(modes);
	index_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
	UnregisterSnapshot(snapshot);
	index_close(index, NoLock);
	pfree(values);
	pfree(isnull);
}

static void
fetch_by_statement(SyncTable *t, Bitmapset *columns, RowFetchLock lock,
				   int nrows, const Datum *keys, RowFetchCallback callback,
				   void *arg)
{
	RowBatch   *batch;
	int			natts = 2 + bms_num_members(columns);
	Datum	   *values;
	bool	   *isnull;
	SPITupleTable *tuptable;
	int			modes;

	batch = row_batch_begin(t, NULL);
	for (int i = 0; i < nrows; i++)
		row_batch_put(batch, i, keys + (Size) i * t->nkeys, NULL, NULL);
	row_batch_run(batch,
				  lock == ROW_FETCH_READ ? ROW_STATEMENT_SELECT : ROW_STATEMENT_LOCK,
				  columns, lock == ROW_FETCH_READ);
	tuptable = SPI_tuptable;
	row_batch_end(batch);		/* the callback may need a batch of its own */

	values = palloc(natts * sizeof(Datum));
	isnull = palloc(natts * sizeof(bool));
	modes = t->modes ? value_modes_begin_for(t->modes) : 0;
	for (uint64 i = 0; i < tuptable->numvals; i++)
	{
		heap_deform_tuple(tuptable->vals[i], tuptable->tupdesc, values, isnull);
		callback(arg, DatumGetInt32(values[0]), values[1], isnull[1],
				 values + 2, isnull + 2);
	}
	if (t->modes)
		value_modes_end(modes);
	pfree(values);
	pfree(isnull);
	SPI_freetuptable(tuptable);
}

Bitmapset *
row_fetch_readable(SyncTable *t, bool *is_readable)
{
	Oid			user = GetUserId();
	Bitmapset  *result = NULL;
	bool		whole;

	whole = pg_class_aclcheck(t->relid, user, ACL_SELECT) == ACLCHECK_OK;
	*is_readable = whole ||
		pg_attribute_aclcheck(t->relid, t->clock_attnum, user,
							  ACL_SELECT) == ACLCHECK_OK;

	for (int i = 0; i < t->ncolumns; i++)
	{
		if (whole || pg_attribute_aclcheck(t->relid, t->columns[i].attnum, user,
										   ACL_SELECT) == ACLCHECK_OK)
			result = bms_add_member(result, i);
		else if (t->columns[i].is_key)
			*is_readable = false;
	}
	return result;
}
