/*-------------------------------------------------------------------------
 *
 * row_batch.h
 *	  Many rows of a tracked table in one statement.
 *
 * The rows travel as an ephemeral named relation "sync_rows" (ordinal, key
 * columns, carried columns) over a tuplestore, as transition tables do; so one
 * kept plan handles any number of rows of any column types.  Statements run
 * through SPI as the current user: privileges, row security, constraints and
 * triggers apply as to the caller's own SQL.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OFFLINE_SYNC_ROW_BATCH_H
#define OFFLINE_SYNC_ROW_BATCH_H

#include "access/tupdesc.h"
#include "executor/spi.h"
#include "nodes/bitmapset.h"
#include "registry/table.h"
#include "utils/tuplestore.h"

typedef enum RowStatement
{
	ROW_STATEMENT_SELECT,		/* returns ordinal, _sync, columns */
	ROW_STATEMENT_LOCK,			/* the same, FOR NO KEY UPDATE */
	ROW_STATEMENT_INSERT,		/* returns key columns, then columns; rows
								 * that exist already are left out */
	ROW_STATEMENT_UPDATE,		/* returns ordinal, columns */
	ROW_STATEMENT_DELETE		/* returns ordinal */
} RowStatement;

typedef struct RowBatch
{
	SyncTable  *table;
	Bitmapset  *carried;		/* indexes into table->columns; keys not in it */
	int			ncarried;
	int			touched;		/* what an update sets to itself that carries
								 * no columns; -1: the clock */
	TupleDesc	desc;
	Tuplestorestate *store;
	int			nrows;
	Datum	   *values;			/* one row being put */
	bool	   *isnull;
} RowBatch;

/* Begin a batch whose rows carry these columns beside the key.  Lives in the
 * current context; SPI must be connected. */
extern RowBatch *row_batch_begin(SyncTable *table, Bitmapset *carried);

/* Add a row.  values and isnull have one entry per carried column, ascending
 * (NULL where none is carried); everything is copied. */
extern void row_batch_put(RowBatch *batch, int ordinal, const Datum *key,
						  const Datum *values, const bool *isnull);

/*
 * Run a statement over the batch's rows; the result is in SPI_tuptable and
 * SPI_processed, to be freed with SPI_freetuptable.  returned: columns to return.
 * read_only: see the active snapshot, else take a new one.
 */
extern void row_batch_run(RowBatch *batch, RowStatement statement,
						  Bitmapset *returned, bool read_only);

extern void row_batch_end(RowBatch *batch);

#endif							/* OFFLINE_SYNC_ROW_BATCH_H */
