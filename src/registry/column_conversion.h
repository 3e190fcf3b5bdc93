/*-------------------------------------------------------------------------
 *
 * column_conversion.h
 *	  Functions between the types that a column had.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OFFLINE_SYNC_COLUMN_CONVERSION_H
#define OFFLINE_SYNC_COLUMN_CONVERSION_H

#include "fmgr.h"

/* Names of types as tracked_column_type_name() gives them; of functions, with the
 * types of their arguments, qualified. */
typedef struct ColumnConversion
{
	char	   *from_type;
	char	   *to_type;
	char	   *up;
	char	   *down;			/* NULL: none */
} ColumnConversion;

/* Those of a column; palloc'd. */
extern ColumnConversion *column_conversion_read(int32 table_id, int32 column_id,
												int *nconversions);

/* The type of such a name; InvalidOid where it is not there any more. */
extern Oid	column_conversion_type(const char *name);

/*
 * Find a function, for calls from the current memory context's life.  Raises 42883 where
 * there is none of this name from the one type to the other, and 42501 where the caller
 * may not execute it.
 */
extern void column_conversion_find(const char *function, Oid from, Oid to,
								   FmgrInfo *flinfo);

/* Call it with one value. */
extern Datum column_conversion_call(FmgrInfo *flinfo, Oid collation, Datum value,
									bool *isnull);

#endif							/* OFFLINE_SYNC_COLUMN_CONVERSION_H */
