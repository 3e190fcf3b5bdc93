/*-------------------------------------------------------------------------
 *
 * state.c
 *	  Opening the extension's own tables, and working on them as their owner.
 *
 * Relations are found by schema and name.  What was found is kept until the
 * catalog's entry of any schema or relation changes, as when the extension is dropped and
 * created again within the life of a backend.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/index.h"
#include "catalog/indexing.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "executor/tuptable.h"
#include "log/state.h"
#include "miscadmin.h"
#include "nodes/execnodes.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#define STATE_SCHEMA	"offline_sync"

/* rows written at once */
#define STATE_WRITER_BATCH	64

/* names of relations in the schema, which are literals: known by their addresses */
#define KEPT_OIDS		251

typedef struct KeptOid
{
	const char *name;			/* NULL: free */
	Oid			relid;
} KeptOid;

struct StateWriter
{
	Relation	rel;
	CatalogIndexState indexes;
	int			ntuples;
	HeapTuple	tuples[STATE_WRITER_BATCH];
	TupleTableSlot *slots[STATE_WRITER_BATCH];	/* made when first needed */
};

/* ---- backend-local state ---- */

static KeptOid kept_oids[KEPT_OIDS];
static uint64 times_forgotten = 0;

static void state_forget(Datum arg, int cacheid, uint32 hashvalue);
static void state_writer_flush(StateWriter *writer);
static void insert_index_entries(StateWriter *writer, HeapTuple tuple,
								 ItemPointer tid);
static TupleTableSlot *writer_slot(StateWriter *writer, int i);
static Oid	state_lookup(const char *name);
static char *state_search_path(Oid relid);

Oid
state_find(const char *name)
{
	static bool is_initialized = false;
	KeptOid    *kept = &kept_oids[(uintptr_t) name % KEPT_OIDS];
	uint64		times;
	Oid			schema;
	Oid			relid;

	if (kept->name == name)
		return kept->relid;
	if (!is_initialized)
	{
		CacheRegisterSyscacheCallback(RELNAMENSP, state_forget, (Datum) 0);
		CacheRegisterSyscacheCallback(NAMESPACENAME, state_forget, (Datum) 0);
		is_initialized = true;
	}
	times = times_forgotten;
	schema = get_namespace_oid(STATE_SCHEMA, true);
	relid = OidIsValid(schema) ? get_relname_relid(name, schema) : InvalidOid;
	if (OidIsValid(relid) && times == times_forgotten)
	{
		kept->name = name;
		kept->relid = relid;
	}
	return relid;
}

static void
state_forget(Datum arg, int cacheid, uint32 hashvalue)
{
	memset(kept_oids, 0, sizeof(kept_oids));
	times_forgotten++;
}

Relation
state_open(const char *name, LOCKMODE lockmode)
{
	return table_open(state_lookup(name), lockmode);
}

void
state_check_columns(TupleDesc desc, int natts)
{
	if (unlikely(desc->natts != natts))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the library of offline_sync and its objects in this database are not of the same version"),
				 errdetail("A table has %d columns where the library expects %d.",
						   desc->natts, natts),
				 errhint("Execute ALTER EXTENSION offline_sync UPDATE, or install the library that fits.")));
}

Oid
state_index(const char *name)
{
	return state_lookup(name);
}

StateWriter *
state_writer_begin(const char *name)
{
	StateWriter *writer = palloc0(sizeof(StateWriter));

	writer->rel = state_open(name, RowExclusiveLock);
	writer->indexes = CatalogOpenIndexes(writer->rel);
	return writer;
}

Relation
state_writer_relation(StateWriter *writer)
{
	return writer->rel;
}

void
state_writer_put(StateWriter *writer, Datum *values, bool *nulls)
{
	writer->tuples[writer->ntuples++] =
		heap_form_tuple(RelationGetDescr(writer->rel), values, nulls);
	if (writer->ntuples == STATE_WRITER_BATCH)
		state_writer_flush(writer);
}

void
state_writer_end(StateWriter *writer)
{
	int			i;

	state_writer_flush(writer);
	for (i = 0; i < STATE_WRITER_BATCH && writer->slots[i] != NULL; i++)
		ExecDropSingleTupleTableSlot(writer->slots[i]);
	CatalogCloseIndexes(writer->indexes);
	table_close(writer->rel, NoLock);	/* locked until the end, as by DML */
	pfree(writer);
}

/*
 * Much as CatalogTuplesMultiInsertWithInfo() does it, which however loses the
 * tuple's address where a value is toasted.
 */
static void
state_writer_flush(StateWriter *writer)
{
	CommandId	cid = GetCurrentCommandId(true);
	int			n = writer->ntuples;
	int			i;

	if (n == 0)
		return;
	writer->ntuples = 0;
	if (n == 1)
	{
		heap_insert(writer->rel, writer->tuples[0], cid, 0, NULL);
		insert_index_entries(writer, writer->tuples[0], &writer->tuples[0]->t_self);
		heap_freetuple(writer->tuples[0]);
		return;
	}

	for (i = 0; i < n; i++)
		ExecStoreHeapTuple(writer->tuples[i], writer_slot(writer, i), true);
	heap_multi_insert(writer->rel, writer->slots, n, cid, 0, NULL);
	for (i = 0; i < n; i++)
	{
		insert_index_entries(writer, writer->tuples[i], &writer->slots[i]->tts_tid);
		ExecClearTuple(writer->slots[i]);
	}
}

/* All indexes are of plain columns, and of all rows. */
static void
insert_index_entries(StateWriter *writer, HeapTuple tuple, ItemPointer tid)
{
	TupleDesc	desc = RelationGetDescr(writer->rel);
	int			i;

	for (i = 0; i < writer->indexes->ri_NumIndices; i++)
	{
		Relation	index = writer->indexes->ri_IndexRelationDescs[i];
		IndexInfo  *info = writer->indexes->ri_IndexRelationInfo[i];
		Datum		values[INDEX_MAX_KEYS];
		bool		nulls[INDEX_MAX_KEYS];

		Assert(info->ii_Expressions == NIL && info->ii_Predicate == NIL);
		for (int k = 0; k < info->ii_NumIndexAttrs; k++)
			values[k] = heap_getattr(tuple, info->ii_IndexAttrNumbers[k], desc,
									 &nulls[k]);
		index_insert(index, values, nulls, tid, writer->rel,
					 index->rd_index->indisunique ? UNIQUE_CHECK_YES :
					 UNIQUE_CHECK_NO,
					 false, info);
	}
}

static TupleTableSlot *
writer_slot(StateWriter *writer, int i)
{
	if (writer->slots[i] == NULL)
		writer->slots[i] =
			MakeSingleTupleTableSlot(RelationGetDescr(writer->rel),
									 &TTSOpsHeapTuple);
	return writer->slots[i];
}

void
state_become_owner(StateUser *saved)
{
	Oid			relid = state_lookup("tombstone");
	HeapTuple	tuple;
	Oid			owner;

	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relid));
	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for relation %u", relid);
	owner = ((Form_pg_class) GETSTRUCT(tuple))->relowner;
	ReleaseSysCache(tuple);

	GetUserIdAndSecContext(&saved->user, &saved->sec_context);
	SetUserIdAndSecContext(owner,
						   saved->sec_context | SECURITY_LOCAL_USERID_CHANGE);
	saved->guc_nestlevel = NewGUCNestLevel();
	(void) set_config_option("search_path", state_search_path(relid),
							 PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, 0, false);
}

void
state_restore_user(const StateUser *saved)
{
	AtEOXact_GUC(false, saved->guc_nestlevel);
	SetUserIdAndSecContext(saved->user, saved->sec_context);
}

static Oid
state_lookup(const char *name)
{
	Oid			relid = state_find(name);

	if (!OidIsValid(relid))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("state relation \"%s.%s\" does not exist",
						STATE_SCHEMA, name),
				 errhint("The extension is not completely installed in this database.  Run CREATE EXTENSION offline_sync.")));
	return relid;
}

/*
 * The extension may be in any schema: it is the one that holds the type of the
 * tombstones' clock.
 */
static char *
state_search_path(Oid relid)
{
	Oid			type = get_atttype(relid, get_attnum(relid, "clock"));
	HeapTuple	tuple;
	Oid			schema;

	tuple = SearchSysCache1(TYPEOID, ObjectIdGetDatum(type));
	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for type %u", type);
	schema = ((Form_pg_type) GETSTRUCT(tuple))->typnamespace;
	ReleaseSysCache(tuple);

	return psprintf("pg_catalog, %s, pg_temp",
					quote_identifier(get_namespace_name(schema)));
}
