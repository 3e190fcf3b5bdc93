/*-------------------------------------------------------------------------
 *
 * views.c
 *	  What the views need that SQL cannot say.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "compat.h"
#include "fmgr.h"
#include "registry/row_key.h"
#include "registry/table.h"

/* A row's key for people; NULL for a table that is not tracked any more, whose
 * key columns are not known. */
PG_FUNCTION_INFO_V1(sync_row_key_json);
Datum
sync_row_key_json(PG_FUNCTION_ARGS)
{
	int32		table_id = PG_GETARG_INT32(0);
	bytea	   *key = PG_GETARG_BYTEA_PP(1);
	SyncTable  *table = sync_table_by_id(table_id);

	if (table == NULL)
		PG_RETURN_NULL();
	PG_RETURN_JSONB_P(row_key_to_jsonb(table, VARDATA_ANY(key),
									   VARSIZE_ANY_EXHDR(key)));
}
