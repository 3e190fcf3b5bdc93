/*-------------------------------------------------------------------------
 *
 * row_batch.c
 *	  Many rows of a tracked table in one statement.
 *
 * Plans are kept per (table description, statement, columns).  A description is
 * built anew whenever anything about its table changes, and plans of an older
 * one are never used again, so the names in their text are always right.
 *
 * The planner does not know how many rows a batch will have, and it would be
 * tempted to scan a small table whole; a plan is kept for long, and tables grow.
 * So sequential scans and hash or merge joins are discouraged while a plan is
 * made (and only then: not while it runs, when users' triggers make their own
 * plans): what remains is a nested loop over the batch with index look-ups by
 * primary key, in the batch's order.  For a table that was analyzed while it was
 * empty that is still the whole index for each row; so the plan is made anew
 * when the table has grown a lot.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/table.h"
#include "access/tupdesc.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "common/hashfn.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "optimizer/cost.h"
#include "registry/row_batch.h"
#include "storage/bufmgr.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/plancache.h"
#include "utils/resowner.h"

#define BATCH_NAME			"sync_rows"

/* rows that a plan is made for */
#define BATCH_EXPECTED_ROWS 1000

/* more plans than this are not kept: they are all dropped, and made anew */
#define BATCH_MAX_PLANS		512

/* a plan is made anew when the table has so many times the blocks */
#define PLAN_GROWTH			8

typedef struct PlanEntry
{
	uint64		hash;			/* hash key */
	uint64		version;		/* of the table description */
	RowStatement statement;
	Bitmapset  *carried;
	Bitmapset  *returned;
	int			touched;
	SPIPlanPtr	plan;			/* NULL while being made */
	BlockNumber nblocks;		/* of the table, when it was made */
} PlanEntry;

static HTAB *plan_cache = NULL;
static MemoryContext plan_context = NULL;

static SPIPlanPtr plan_get(RowBatch *batch, RowStatement statement,
						   Bitmapset *returned);
static BlockNumber table_size(const SyncTable *table);
static SPIPlanPtr plan_make(RowBatch *batch, RowStatement statement,
							Bitmapset *returned);
static char *statement_text(RowBatch *batch, RowStatement statement,
							Bitmapset *returned);
static void append_key_match(StringInfo buf, const SyncTable *table);
static void append_columns(StringInfo buf, const SyncTable *table,
						   Bitmapset *columns, const char *prefix,
						   bool leading_comma);
static void append_keys(StringInfo buf, const SyncTable *table,
						const char *prefix);

RowBatch *
row_batch_begin(SyncTable *table, Bitmapset *carried)
{
	RowBatch   *batch = palloc0(sizeof(RowBatch));
	EphemeralNamedRelation enr;
	int			natts;
	AttrNumber	attno = 1;
	int			rc;

	batch->table = table;
	batch->carried = carried;
	batch->ncarried = bms_num_members(carried);
	batch->touched = -1;
	natts = 1 + table->nkeys + batch->ncarried;

	batch->desc = CreateTemplateTupleDesc(natts);
	TupleDescInitEntry(batch->desc, attno++, "ordinal", INT4OID, -1, 0);
	for (int i = 0; i < table->nkeys; i++)
	{
		SyncColumn *column = &table->columns[table->key[i]];

		TupleDescInitEntry(batch->desc, attno, psprintf("k%d", i + 1),
						   column->type, column->typmod, 0);
		TupleDescInitEntryCollation(batch->desc, attno++, column->collation);
	}
	for (int i = -1; (i = bms_next_member(carried, i)) >= 0;)
	{
		SyncColumn *column = &table->columns[i];

		TupleDescInitEntry(batch->desc, attno, psprintf("c%d", i),
						   column->type, column->typmod, 0);
		TupleDescInitEntryCollation(batch->desc, attno++, column->collation);
	}

	batch->store = tuplestore_begin_heap(false, false, work_mem);
	batch->values = palloc(natts * sizeof(Datum));
	batch->isnull = palloc(natts * sizeof(bool));

	enr = palloc0(sizeof(EphemeralNamedRelationData));
	enr->md.name = BATCH_NAME;
	enr->md.reliddesc = InvalidOid;
	enr->md.tupdesc = batch->desc;
	enr->md.enrtype = ENR_NAMED_TUPLESTORE;
	enr->md.enrtuples = BATCH_EXPECTED_ROWS;
	enr->reldata = batch->store;
	rc = SPI_register_relation(enr);
	if (rc != SPI_OK_REL_REGISTER)
		elog(ERROR, "SPI_register_relation failed: %s",
			 SPI_result_code_string(rc));
	return batch;
}

void
row_batch_put(RowBatch *batch, int ordinal, const Datum *key,
			  const Datum *values, const bool *isnull)
{
	int			nkeys = batch->table->nkeys;

	batch->values[0] = Int32GetDatum(ordinal);
	memcpy(batch->values + 1, key, nkeys * sizeof(Datum));
	memset(batch->isnull, false, (1 + nkeys) * sizeof(bool));
	if (batch->ncarried > 0)
	{
		memcpy(batch->values + 1 + nkeys, values,
			   batch->ncarried * sizeof(Datum));
		memcpy(batch->isnull + 1 + nkeys, isnull,
			   batch->ncarried * sizeof(bool));
	}
	tuplestore_putvalues(batch->store, batch->desc, batch->values,
						 batch->isnull);
	batch->nrows++;
}

void
row_batch_run(RowBatch *batch, RowStatement statement, Bitmapset *returned,
			  bool read_only)
{
	SPIPlanPtr	plan = plan_get(batch, statement, returned);
	int			rc;

	tuplestore_rescan(batch->store);
	rc = SPI_execute_plan(plan, NULL, NULL, read_only, 0);
	if (rc < 0)
		elog(ERROR, "SPI_execute_plan failed: %s", SPI_result_code_string(rc));
}

void
row_batch_end(RowBatch *batch)
{
	SPI_unregister_relation(BATCH_NAME);
	tuplestore_end(batch->store);
}

/*
 * The plan for a statement, from the cache or made now; in either case with its
 * generic plan ready, made under our planner settings.
 */
static SPIPlanPtr
plan_get(RowBatch *batch, RowStatement statement, Bitmapset *returned)
{
	uint64		hash;
	PlanEntry  *entry;
	bool		found;
	SPIPlanPtr	plan;
	MemoryContext oldcontext;
	BlockNumber nblocks = table_size(batch->table);

	hash = hash_combine64(batch->table->version,
						  ((uint64) bms_hash_value(batch->carried) << 32) |
						  bms_hash_value(returned));
	hash = hash_combine64(hash, ((uint64) (batch->touched + 1) << 32) | statement);

	if (plan_cache == NULL)
	{
		HASHCTL		ctl;

		plan_context = AllocSetContextCreate(CacheMemoryContext,
											 "offline_sync plans",
											 ALLOCSET_SMALL_SIZES);
		ctl.keysize = sizeof(uint64);
		ctl.entrysize = sizeof(PlanEntry);
		ctl.hcxt = plan_context;
		plan_cache = hash_create("offline_sync plans", 64, &ctl,
								 HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	}

	entry = hash_search(plan_cache, &hash, HASH_FIND, NULL);
	if (entry != NULL && entry->version == batch->table->version &&
		entry->statement == statement && entry->touched == batch->touched &&
		bms_equal(entry->carried, batch->carried) &&
		bms_equal(entry->returned, returned) &&
		nblocks / PLAN_GROWTH <= entry->nblocks &&
		SPI_plan_is_valid(entry->plan))
		return entry->plan;

	if (entry == NULL && hash_get_num_entries(plan_cache) >= BATCH_MAX_PLANS)
	{
		HASH_SEQ_STATUS status;

		hash_seq_init(&status, plan_cache);
		while ((entry = hash_seq_search(&status)) != NULL)
		{
			SPI_freeplan(entry->plan);
			bms_free(entry->carried);
			bms_free(entry->returned);
			hash_search(plan_cache, &entry->hash, HASH_REMOVE, NULL);
		}
	}

	plan = plan_make(batch, statement, returned);

	oldcontext = MemoryContextSwitchTo(plan_context);
	entry = hash_search(plan_cache, &hash, HASH_ENTER, &found);
	if (found)
	{
		SPI_freeplan(entry->plan);
		bms_free(entry->carried);
		bms_free(entry->returned);
	}
	entry->version = batch->table->version;
	entry->statement = statement;
	entry->touched = batch->touched;
	entry->carried = bms_copy(batch->carried);
	entry->returned = bms_copy(returned);
	entry->plan = plan;
	entry->nblocks = nblocks;
	MemoryContextSwitchTo(oldcontext);
	return plan;
}

/* In blocks; of a partitioned table, of its leaves together. */
static BlockNumber
table_size(const SyncTable *table)
{
	Relation	rel = table_open(table->relid, AccessShareLock);
	BlockNumber nblocks = 0;

	if (RELKIND_HAS_STORAGE(rel->rd_rel->relkind))
		nblocks = RelationGetNumberOfBlocks(rel);
	else
	{
		List	   *leaves = find_all_inheritors(table->relid, AccessShareLock,
												 NULL);
		ListCell   *lc;

		foreach(lc, leaves)
		{
			Relation	leaf = table_open(lfirst_oid(lc), NoLock);

			if (RELKIND_HAS_STORAGE(leaf->rd_rel->relkind))
				nblocks += RelationGetNumberOfBlocks(leaf);
			table_close(leaf, NoLock);
		}
		list_free(leaves);
	}
	table_close(rel, NoLock);
	return nblocks;
}

static SPIPlanPtr
plan_make(RowBatch *batch, RowStatement statement, Bitmapset *returned)
{
	bool		save_seqscan = enable_seqscan;
	bool		save_hashjoin = enable_hashjoin;
	bool		save_mergejoin = enable_mergejoin;
	SPIPlanPtr	plan;

	PG_TRY();
	{
		CachedPlan *cached;

		enable_seqscan = false;
		enable_hashjoin = false;
		enable_mergejoin = false;
		plan = SPI_prepare(statement_text(batch, statement, returned), 0, NULL);
		if (plan == NULL)
			elog(ERROR, "SPI_prepare failed: %s",
				 SPI_result_code_string(SPI_result));
		SPI_keepplan(plan);
		cached = SPI_plan_get_cached_plan(plan);
		if (cached != NULL)
			ReleaseCachedPlan(cached, CurrentResourceOwner);
	}
	PG_FINALLY();
	{
		enable_seqscan = save_seqscan;
		enable_hashjoin = save_hashjoin;
		enable_mergejoin = save_mergejoin;
	}
	PG_END_TRY();
	return plan;
}

static char *
statement_text(RowBatch *batch, RowStatement statement, Bitmapset *returned)
{
	const SyncTable *table = batch->table;
	const char *only;
	StringInfoData buf;
	const char *separator = "";

	/* children by inheritance have triggers and keys of their own */
	only = get_rel_relkind(table->relid) == RELKIND_PARTITIONED_TABLE ?
		"" : "ONLY ";
	initStringInfo(&buf);

	switch (statement)
	{
		case ROW_STATEMENT_SELECT:
		case ROW_STATEMENT_LOCK:
			appendStringInfo(&buf, "SELECT k.ordinal, t.%s",
							 quote_identifier(SYNC_CLOCK_COLUMN));
			append_columns(&buf, table, returned, "t.", true);
			appendStringInfo(&buf, " FROM " BATCH_NAME " k, %s%s t WHERE ",
							 only, table->qualified_name);
			append_key_match(&buf, table);
			appendStringInfoString(&buf, " ORDER BY k.ordinal");
			if (statement == ROW_STATEMENT_LOCK)
				appendStringInfoString(&buf, " FOR NO KEY UPDATE OF t");
			break;

		case ROW_STATEMENT_INSERT:
			appendStringInfo(&buf, "INSERT INTO %s AS t (",
							 table->qualified_name);
			append_keys(&buf, table, "");
			append_columns(&buf, table, batch->carried, "", true);
			appendStringInfoString(&buf, ") OVERRIDING SYSTEM VALUE SELECT ");
			for (int i = 0; i < table->nkeys; i++)
				appendStringInfo(&buf, "%sk.k%d", i > 0 ? ", " : "", i + 1);
			for (int i = -1; (i = bms_next_member(batch->carried, i)) >= 0;)
				appendStringInfo(&buf, ", k.c%d", i);
			appendStringInfoString(&buf, " FROM " BATCH_NAME " k");
			if (!table->key_deferrable)
			{
				appendStringInfoString(&buf, " ON CONFLICT (");
				append_keys(&buf, table, "");
				appendStringInfoString(&buf, ") DO NOTHING");
			}
			appendStringInfoString(&buf, " RETURNING ");
			append_keys(&buf, table, "t.");
			append_columns(&buf, table, returned, "t.", true);
			break;

		case ROW_STATEMENT_UPDATE:
			appendStringInfo(&buf, "UPDATE %s%s t SET ", only,
							 table->qualified_name);
			for (int i = -1; (i = bms_next_member(batch->carried, i)) >= 0;)
			{
				appendStringInfo(&buf, "%s%s = k.c%d", separator,
								 quote_identifier(table->columns[i].name), i);
				separator = ", ";
			}
			if (batch->ncarried == 0)
			{
				const char *column = quote_identifier(batch->touched < 0 ?
													  SYNC_CLOCK_COLUMN :
													  table->columns[batch->touched].name);

				appendStringInfo(&buf, "%s = t.%s", column, column);
			}
			appendStringInfoString(&buf, " FROM " BATCH_NAME " k WHERE ");
			append_key_match(&buf, table);
			appendStringInfoString(&buf, " RETURNING k.ordinal");
			append_columns(&buf, table, returned, "t.", true);
			break;

		case ROW_STATEMENT_DELETE:
			appendStringInfo(&buf, "DELETE FROM %s%s t USING " BATCH_NAME
							 " k WHERE ", only, table->qualified_name);
			append_key_match(&buf, table);
			appendStringInfoString(&buf, " RETURNING k.ordinal");
			break;
	}
	return buf.data;
}

/* "t.<key column> = k.k1 AND ...", with the primary key's own operators */
static void
append_key_match(StringInfo buf, const SyncTable *table)
{
	for (int i = 0; i < table->nkeys; i++)
	{
		SyncColumn *column = &table->columns[table->key[i]];

		if (i > 0)
			appendStringInfoString(buf, " AND ");
		generate_operator_clause(buf,
								 psprintf("t.%s", quote_identifier(column->name)),
								 column->type, table->key_eq[i],
								 psprintf("k.k%d", i + 1), column->type);
	}
}

static void
append_columns(StringInfo buf, const SyncTable *table, Bitmapset *columns,
			   const char *prefix, bool leading_comma)
{
	for (int i = -1; (i = bms_next_member(columns, i)) >= 0;)
	{
		appendStringInfo(buf, "%s%s%s", leading_comma ? ", " : "", prefix,
						 quote_identifier(table->columns[i].name));
		leading_comma = true;
	}
}

static void
append_keys(StringInfo buf, const SyncTable *table, const char *prefix)
{
	for (int i = 0; i < table->nkeys; i++)
		appendStringInfo(buf, "%s%s%s", i > 0 ? ", " : "", prefix,
						 quote_identifier(table->columns[table->key[i]].name));
}
