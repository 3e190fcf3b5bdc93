/*-------------------------------------------------------------------------
 *
 * row_fetch.c
 *	  Set-based reading of rows of tracked tables by primary key.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/sysattr.h"
#include "miscadmin.h"
#include "registry/row_batch.h"
#include "registry/row_fetch.h"
#include "registry/value.h"
#include "utils/acl.h"

void
row_fetch(SyncTable *t, Bitmapset *columns, RowFetchLock lock,
		  int nrows, const Datum *keys, RowFetchCallback callback, void *arg)
{
	RowBatch   *batch;
	int			natts = 2 + bms_num_members(columns);
	Datum	   *values;
	bool	   *isnull;
	SPITupleTable *tuptable;
	int			modes;

	if (nrows == 0)
		return;

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
