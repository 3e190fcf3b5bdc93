/*-------------------------------------------------------------------------
 *
 * row_direct.c
 *	  Rows of a tracked table by primary key, without a statement.
 *
 * After src/backend/executor/execReplication.c and
 * src/backend/replication/logical/worker.c.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/heapam.h"
#include "access/relscan.h"
#include "access/sysattr.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_trigger.h"
#include "commands/trigger.h"
#include "compat.h"
#include "executor/executor.h"
#include "executor/nodeModifyTable.h"
#include "miscadmin.h"
#include "nodes/nodes.h"
#include "optimizer/optimizer.h"
#include "parser/parse_relation.h"
#include "pgstat.h"
#include "registry/row_direct.h"
#include "registry/table_build.h"
#include "registry/value.h"
#include "rewrite/rewriteHandler.h"
#include "storage/bufmgr.h"
#include "utils/acl.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/rls.h"
#include "utils/snapmgr.h"
#include "utils/typcache.h"

/* Rows that are inserted together: so many of ordinary size fill a page. */
#define INSERT_BATCH		32

struct RowDirect
{
	SyncTable  *table;
	MemoryContext context;
	Relation	rel;
	Relation	index;			/* of the primary key; one of result's */
	bool		is_heap;		/* not of another table access method */
	EState	   *estate;
	ResultRelInfo *result;
	EPQState	epqstate;
	Snapshot	snapshot;		/* of the group of writes */
	TupleTableSlot *old_slot;
	TupleTableSlot *new_slot;
	TupleTableSlot *insert_slots[INSERT_BATCH]; /* new_slot, then made as
												 * needed */
	ItemPointer insert_tids[INSERT_BATCH];
	int			ninserts;		/* so many of these wait, ... */
	int			max_inserts;	/* ... and may; 0: not known yet */
	ScanKeyData *scan_keys;		/* [table->nkeys] */
	FmgrInfo   *key_equal;		/* [table->nkeys] */

	/* the group of writes */
	Bitmapset  *written;
	int			ndefaults;		/* columns that an insert leaves out */
	AttrNumber *default_attnum;
	ExprState **default_expr;
};

static bool is_plain(SyncTable *t, Relation rel);
static void open_for_write(RowDirect *direct);
static void make_scan_keys(RowDirect *direct);
static bool lock_row(RowDirect *direct, IndexScanDesc scan, const Datum *key,
					 Snapshot snapshot, TupleTableSlot *slot);
static bool next_version(RowDirect *direct, IndexScanDesc scan,
						 Snapshot snapshot, TupleTableSlot *slot);
static bool find_in_heap(RowDirect *direct, ItemPointer tid, Snapshot snapshot,
						 bool *all_dead);
static bool is_key_of(RowDirect *direct, const Datum *key, TupleTableSlot *slot);
static void make_room(RowDirect *direct, TupleTableSlot *slot, ItemPointer tid);
static TupleTableSlot *next_insert_slot(RowDirect *direct, ItemPointer tid);
static bool looks_at_rows(RowDirect *direct);
static void finish_insert(RowDirect *direct, TupleTableSlot *slot);
static void flush_inserts(RowDirect *direct);
static bool find_old(RowDirect *direct, const Datum *key, ItemPointer tid);
static void begin_writes(RowDirect *direct, Bitmapset *written, AclMode right);
static void make_defaults(RowDirect *direct);
static Node *column_default(RowDirect *direct, AttrNumber attnum);
static void check_right(RowDirect *direct, Bitmapset *columns, AclMode right);
static void check_any_right(RowDirect *direct, AclMode right);
static void check_key_readable(RowDirect *direct);

RowDirect *
row_direct_begin(SyncTable *t)
{
	Relation	rel;
	RowDirect  *direct;

	if (t->has_before_insert || t->has_before_update || t->has_other_triggers ||
		t->key_deferrable || IsolationUsesXactSnapshot() ||
		ExecutorCheckPerms_hook != NULL)
		return NULL;
	rel = table_open(t->relid, NoLock);
	if (!is_plain(t, rel))
	{
		table_close(rel, NoLock);
		return NULL;
	}

	direct = palloc0(sizeof(RowDirect));
	direct->table = t;
	direct->context = CurrentMemoryContext;
	direct->rel = rel;
	direct->is_heap = rel->rd_tableam == GetHeapamTableAmRoutine();
	open_for_write(direct);
	if (direct->index == NULL)
	{
		row_direct_end(direct);
		return NULL;
	}
	make_scan_keys(direct);
	return direct;
}

void
row_direct_end(RowDirect *direct)
{
	ExecResetTupleTable(direct->estate->es_tupleTable, false);
	ExecCloseIndices(direct->result);
	FreeExecutorState(direct->estate);
	table_close(direct->rel, NoLock);
	pfree(direct);
}

/* No row security, no rules, and our trigger is where it should be */
static bool
is_plain(SyncTable *t, Relation rel)
{
	TriggerDesc *triggers = rel->trigdesc;
	bool		is_captured = false;

	if (rel->rd_rel->relkind != RELKIND_RELATION || rel->rd_rules != NULL ||
		triggers == NULL ||
		check_enable_rls(t->relid, InvalidOid, true) != RLS_NONE ||
		pg_namespace_aclcheck(RelationGetNamespace(rel), GetUserId(),
							  ACL_USAGE) != ACLCHECK_OK)
		return false;
	for (int i = 0; i < triggers->numtriggers; i++)
	{
		Trigger    *trigger = &triggers->triggers[i];

		if (strcmp(trigger->tgname, SYNC_CAPTURE_TRIGGER) == 0)
			is_captured = trigger->tgenabled == TRIGGER_FIRES_ALWAYS;
	}
	return is_captured && triggers->trig_insert_before_row &&
		triggers->trig_update_before_row && triggers->trig_delete_before_row;
}

/* What the executor's functions want to have around them */
static void
open_for_write(RowDirect *direct)
{
	EState	   *estate = CreateExecutorState();
	ResultRelInfo *result = makeNode(ResultRelInfo);
	RangeTblEntry *rte = makeNode(RangeTblEntry);
	List	   *permissions pg_attribute_unused() = NIL;
	Oid			pkey;

	rte->rtekind = RTE_RELATION;
	rte->relid = RelationGetRelid(direct->rel);
	rte->relkind = direct->rel->rd_rel->relkind;
	rte->rellockmode = RowExclusiveLock;
	compat_add_permissions(&permissions, rte);
	compat_init_range_table(estate, list_make1(rte), permissions);
	estate->es_output_cid = GetCurrentCommandId(true);
	InitResultRelInfo(result, direct->rel, 1, NULL, 0);
	ExecOpenIndices(result, false);
	/* where AFTER triggers look for it */
	estate->es_opened_result_relations = list_make1(result);
	compat_epq_init(&direct->epqstate, estate);
	direct->estate = estate;
	direct->result = result;

	/* the list says which one it is */
	list_free(RelationGetIndexList(direct->rel));
	pkey = direct->rel->rd_pkindex;
	for (int i = 0; i < result->ri_NumIndices; i++)
	{
		if (RelationGetRelid(result->ri_IndexRelationDescs[i]) == pkey)
			direct->index = result->ri_IndexRelationDescs[i];
	}

	direct->old_slot = table_slot_create(direct->rel, &estate->es_tupleTable);
	direct->new_slot = table_slot_create(direct->rel, &estate->es_tupleTable);
	direct->insert_slots[0] = direct->new_slot;
}

/* The index's columns are the key's, in their order. */
static void
make_scan_keys(RowDirect *direct)
{
	SyncTable  *t = direct->table;

	direct->scan_keys = palloc(t->nkeys * sizeof(ScanKeyData));
	direct->key_equal = palloc(t->nkeys * sizeof(FmgrInfo));
	for (int i = 0; i < t->nkeys; i++)
	{
		RegProcedure equal = get_opcode(t->key_eq[i]);

		ScanKeyEntryInitialize(&direct->scan_keys[i], 0, i + 1,
							   BTEqualStrategyNumber, InvalidOid,
							   direct->index->rd_indcollation[i], equal,
							   (Datum) 0);
		fmgr_info(equal, &direct->key_equal[i]);
	}
}

/* ---- reading ---- */

void
row_direct_lock(RowDirect *direct, Bitmapset *columns, int nrows,
				const Datum *keys, ItemPointerData *tids,
				RowFetchCallback callback, void *arg)
{
	SyncTable  *t = direct->table;
	int			ncolumns = bms_num_members(columns);
	Datum	   *values = palloc(Max(ncolumns, 1) * sizeof(Datum));
	bool	   *isnull = palloc(Max(ncolumns, 1) * sizeof(bool));
	TupleTableSlot *slot = direct->old_slot;
	Snapshot	snapshot;
	IndexScanDesc scan;
	int			modes;

	check_key_readable(direct);
	check_right(direct, columns, ACL_SELECT);
	if (pg_class_aclcheck(t->relid, GetUserId(), ACL_SELECT) != ACLCHECK_OK &&
		pg_attribute_aclcheck(t->relid, t->clock_attnum, GetUserId(),
							  ACL_SELECT) != ACLCHECK_OK)
		aclcheck_error(ACLCHECK_NO_PRIV, OBJECT_TABLE,
					   RelationGetRelationName(direct->rel));

	snapshot = RegisterSnapshot(GetLatestSnapshot());
	scan = compat_index_beginscan(direct->rel, direct->index, snapshot, t->nkeys);
	modes = t->modes ? value_modes_begin_for(t->modes) : 0;
	for (int i = 0; i < nrows; i++)
	{
		Datum		clock;
		bool		clock_isnull;
		int			n = 0;

		CHECK_FOR_INTERRUPTS();
		ItemPointerSetInvalid(&tids[i]);
		if (!lock_row(direct, scan, keys + (Size) i * t->nkeys, snapshot, slot))
			continue;
		tids[i] = slot->tts_tid;
		for (int c = -1; (c = bms_next_member(columns, c)) >= 0; n++)
			values[n] = slot_getattr(slot, t->columns[c].attnum, &isnull[n]);
		clock = slot_getattr(slot, t->clock_attnum, &clock_isnull);
		callback(arg, i, clock, clock_isnull, values, isnull);
	}
	if (t->modes)
		value_modes_end(modes);
	ExecClearTuple(slot);
	index_endscan(scan);
	UnregisterSnapshot(snapshot);
	pfree(values);
	pfree(isnull);
}

/* Find and lock one row; false where there is none.  As nodeLockRows.c does it. */
static bool
lock_row(RowDirect *direct, IndexScanDesc scan, const Datum *key,
		 Snapshot snapshot, TupleTableSlot *slot)
{
	for (int i = 0; i < direct->table->nkeys; i++)
		direct->scan_keys[i].sk_argument = key[i];
	index_rescan(scan, direct->scan_keys, direct->table->nkeys, NULL, 0);
	while (next_version(direct, scan, snapshot, slot))
	{
		TM_FailureData failure;

		switch (table_tuple_lock(direct->rel, &slot->tts_tid, snapshot, slot,
								 GetCurrentCommandId(false),
								 LockTupleNoKeyExclusive, LockWaitBlock,
								 TUPLE_LOCK_FLAG_FIND_LAST_VERSION, &failure))
		{
			case TM_Ok:
				/* the version that we waited for may have another key */
				if (!failure.traversed || is_key_of(direct, key, slot))
					return true;
				break;
			case TM_Deleted:
			case TM_SelfModified:
				break;
			default:
				elog(ERROR, "unexpected state of a row to be locked");
		}
	}
	return false;
}

/* The next version that the snapshot sees; only where it is (slot->tts_tid) counts. */
static bool
next_version(RowDirect *direct, IndexScanDesc scan, Snapshot snapshot,
			 TupleTableSlot *slot)
{
	ItemPointer tid;

	if (!direct->is_heap)
		return index_getnext_slot(scan, ForwardScanDirection, slot);

	ExecClearTuple(slot);
	while ((tid = index_getnext_tid(scan, ForwardScanDirection)) != NULL)
	{
		bool		all_dead;

		slot->tts_tid = *tid;
		if (find_in_heap(direct, &slot->tts_tid, snapshot, &all_dead))
		{
			pgstat_count_heap_fetch(scan->indexRelation);
			return true;
		}
		scan->kill_prior_tuple = all_dead && !scan->xactStartedInRecovery;
	}
	return false;
}

/*
 * Go from the head of a HOT chain to the version that the snapshot sees.  As
 * heapam_index_fetch_tuple() does it, but for pruning every page that is nearly full:
 * where rows are updated here and there most pages are, and half of the time to find a
 * row would go there.  See make_room().
 */
static bool
find_in_heap(RowDirect *direct, ItemPointer tid, Snapshot snapshot,
			 bool *all_dead)
{
	Buffer		buffer = ReadBuffer(direct->rel, ItemPointerGetBlockNumber(tid));
	HeapTupleData tuple;
	bool		found;

	LockBuffer(buffer, BUFFER_LOCK_SHARE);
	found = heap_hot_search_buffer(tid, direct->rel, buffer, snapshot, &tuple,
								   all_dead, true);
	UnlockReleaseBuffer(buffer);
	return found;
}

static bool
is_key_of(RowDirect *direct, const Datum *key, TupleTableSlot *slot)
{
	SyncTable  *t = direct->table;

	for (int i = 0; i < t->nkeys; i++)
	{
		bool		isnull;
		Datum		value = slot_getattr(slot, t->columns[t->key[i]].attnum, &isnull);

		if (isnull ||
			!DatumGetBool(FunctionCall2Coll(&direct->key_equal[i],
											direct->index->rd_indcollation[i],
											value, key[i])))
			return false;
	}
	return true;
}

/* ---- writing ---- */

bool
row_direct_can_insert(RowDirect *direct, Bitmapset *written)
{
	SyncTable  *t = direct->table;

	/* a domain may object to the NULL of a column that is left out */
	for (int i = 0; i < t->ncolumns; i++)
	{
		SyncColumn *column = &t->columns[i];

		if (column->type != column->base_type && !column->is_key &&
			!bms_is_member(i, written) && DomainHasConstraints(column->type))
			return false;
	}
	return true;
}

bool
row_direct_can_update(RowDirect *direct, Bitmapset *written)
{
	TupleDesc	desc = RelationGetDescr(direct->rel);

	/* the parser refuses that, the executor does not */
	for (int i = -1; (i = bms_next_member(written, i)) >= 0;)
	{
		AttrNumber	attnum = direct->table->columns[i].attnum;

		if (TupleDescAttr(desc, attnum - 1)->attidentity ==
			ATTRIBUTE_IDENTITY_ALWAYS)
			return false;
	}
	return true;
}

void
row_direct_begin_inserts(RowDirect *direct, Bitmapset *written)
{
	begin_writes(direct, written, ACL_INSERT);
	make_defaults(direct);
}

void
row_direct_begin_updates(RowDirect *direct, Bitmapset *written)
{
	begin_writes(direct, written, ACL_UPDATE);
}

void
row_direct_begin_deletes(RowDirect *direct)
{
	begin_writes(direct, NULL, ACL_DELETE);
}

static void
begin_writes(RowDirect *direct, Bitmapset *written, AclMode right)
{
	SyncTable  *t = direct->table;
	Bitmapset  *attnums = NULL;
	TriggerDesc *triggers = direct->result->ri_TrigDesc;

	check_key_readable(direct);
	if (right == ACL_INSERT)
	{
		Bitmapset  *columns = bms_copy(written);

		for (int i = 0; i < t->nkeys; i++)
			columns = bms_add_member(columns, t->key[i]);
		check_right(direct, columns, right);
	}
	else if (right == ACL_UPDATE && !bms_is_empty(written))
		check_right(direct, written, right);
	else if (right == ACL_UPDATE)
		check_any_right(direct, right);
	else if (pg_class_aclcheck(t->relid, GetUserId(), right) != ACLCHECK_OK)
		aclcheck_error(ACLCHECK_NO_PRIV, OBJECT_TABLE,
					   RelationGetRelationName(direct->rel));

	/* result's own copy: the clock is in the tuple already */
	triggers->trig_insert_before_row = false;
	triggers->trig_update_before_row = false;

	if (right == ACL_UPDATE)
	{
		for (int i = -1; (i = bms_next_member(written, i)) >= 0;)
			attnums = bms_add_member(attnums, t->columns[i].attnum -
									 FirstLowInvalidHeapAttributeNumber);
		attnums = bms_add_member(attnums, t->clock_attnum -
								 FirstLowInvalidHeapAttributeNumber);
	}
	compat_set_updated_columns(direct->estate, attnums);

	direct->written = written;
	direct->snapshot = RegisterSnapshot(GetLatestSnapshot());
	PushActiveSnapshot(direct->snapshot);
	direct->estate->es_snapshot = direct->snapshot;
	direct->estate->es_output_cid = GetCurrentCommandId(true);
	AfterTriggerBeginQuery();
}

void
row_direct_end_writes(RowDirect *direct)
{
	ListCell   *lc;

	flush_inserts(direct);
	AfterTriggerEndQuery(direct->estate);

	/* tables that foreign keys' actions wrote to, opened for their triggers */
	foreach(lc, direct->estate->es_trig_target_relations)
		table_close(((ResultRelInfo *) lfirst(lc))->ri_RelationDesc, NoLock);
	direct->estate->es_trig_target_relations = NIL;

	ExecClearTuple(direct->old_slot);
	ExecClearTuple(direct->new_slot);
	PopActiveSnapshot();
	UnregisterSnapshot(direct->snapshot);
	direct->estate->es_snapshot = NULL;
	CommandCounterIncrement();
}

TupleTableSlot *
row_direct_insert(RowDirect *direct, const Datum *key, Datum clock,
				  const Datum *values, const bool *isnull, ItemPointer tid)
{
	SyncTable  *t = direct->table;
	TupleTableSlot *slot = next_insert_slot(direct, tid);
	int			n = 0;

	CHECK_FOR_INTERRUPTS();
	ResetPerTupleExprContext(direct->estate);
	memset(slot->tts_isnull, true,
		   slot->tts_tupleDescriptor->natts * sizeof(bool));
	for (int i = 0; i < t->nkeys; i++)
	{
		int			attno = t->columns[t->key[i]].attnum - 1;

		slot->tts_values[attno] = key[i];
		slot->tts_isnull[attno] = false;
	}
	for (int i = -1; (i = bms_next_member(direct->written, i)) >= 0; n++)
	{
		slot->tts_values[t->columns[i].attnum - 1] = values[n];
		slot->tts_isnull[t->columns[i].attnum - 1] = isnull[n];
	}
	for (int i = 0; i < direct->ndefaults; i++)
	{
		int			attno = direct->default_attnum[i] - 1;

		slot->tts_values[attno] =
			ExecEvalExprSwitchContext(direct->default_expr[i],
									  GetPerTupleExprContext(direct->estate),
									  &slot->tts_isnull[attno]);
	}
	slot->tts_values[t->clock_attnum - 1] = clock;
	slot->tts_isnull[t->clock_attnum - 1] = false;
	ExecStoreVirtualTuple(slot);
	finish_insert(direct, slot);
	return slot;
}

/* The slot for a row whose place is to be told in *tid.  The first one is there from the
 * beginning: made in a subtransaction, it would not outlive it. */
static TupleTableSlot *
next_insert_slot(RowDirect *direct, ItemPointer tid)
{
	int			n;

	if (direct->ninserts > 0 && direct->max_inserts == 0)
		direct->max_inserts = looks_at_rows(direct) ? 1 : INSERT_BATCH;
	if (direct->ninserts > 0 && direct->ninserts == direct->max_inserts)
		flush_inserts(direct);
	n = direct->ninserts++;
	if (direct->insert_slots[n] == NULL)
	{
		MemoryContext oldcontext = MemoryContextSwitchTo(direct->estate->es_query_cxt);

		direct->insert_slots[n] = table_slot_create(direct->rel,
													&direct->estate->es_tupleTable);
		MemoryContextSwitchTo(oldcontext);
	}
	direct->insert_tids[n] = tid;
	direct->insert_slots[n]->tts_tableOid = RelationGetRelid(direct->rel);
	return ExecClearTuple(direct->insert_slots[n]);
}

/*
 * May a default or a check look at the rows before, as a volatile function does?  As
 * CopyFrom() asks of defaults.
 */
static bool
looks_at_rows(RowDirect *direct)
{
	TupleConstr *constr = RelationGetDescr(direct->rel)->constr;

	for (int i = 0; i < direct->ndefaults; i++)
	{
		if (contain_volatile_functions_not_nextval(column_default(direct,
																  direct->default_attnum[i])))
			return true;
	}
	for (int i = 0; constr != NULL && i < constr->num_check; i++)
	{
		if (contain_volatile_functions(stringToNode(constr->check[i].ccbin)))
			return true;
	}
	return false;
}

/* Make a new row complete, and the slot own it: what ExecSimpleRelationInsert() does
 * before it inserts. */
static void
finish_insert(RowDirect *direct, TupleTableSlot *slot)
{
	MemoryContext oldcontext = MemoryContextSwitchTo(direct->estate->es_query_cxt);
	TupleConstr *constr = RelationGetDescr(direct->rel)->constr;

	if (constr != NULL && constr->has_generated_stored)
		ExecComputeStoredGenerated(direct->result, direct->estate, slot, CMD_INSERT);
	if (constr != NULL)
		ExecConstraints(direct->result, slot, direct->estate);
	if (direct->rel->rd_rel->relispartition)
		ExecPartitionCheck(direct->result, slot, direct->estate, true);
	MemoryContextSwitchTo(oldcontext);
	ExecMaterializeSlot(slot);
}

/* Insert the rows that wait; after CopyMultiInsertBufferFlush() in copyfrom.c. */
static void
flush_inserts(RowDirect *direct)
{
	EState	   *estate = direct->estate;
	int			n = direct->ninserts;
	MemoryContext oldcontext;

	if (n == 0)
		return;
	direct->ninserts = 0;
	/* what it makes of rows with large values is left there */
	ResetPerTupleExprContext(estate);
	oldcontext = MemoryContextSwitchTo(GetPerTupleMemoryContext(estate));
	table_multi_insert(direct->rel, direct->insert_slots, n, estate->es_output_cid,
					   0, NULL);
	/* what is kept for triggers must last as long as result */
	MemoryContextSwitchTo(estate->es_query_cxt);
	for (int i = 0; i < n; i++)
	{
		TupleTableSlot *slot = direct->insert_slots[i];
		List	   *recheck = NIL;

		ResetPerTupleExprContext(estate);
		if (direct->result->ri_NumIndices > 0)
			recheck = compat_insert_index_tuples(direct->result, slot, estate);
		ExecARInsertTriggers(estate, direct->result, slot, recheck, NULL);
		list_free(recheck);
		*direct->insert_tids[i] = slot->tts_tid;
		ExecClearTuple(slot);
	}
	MemoryContextSwitchTo(oldcontext);
}

bool
row_direct_update(RowDirect *direct, const Datum *key, Datum clock,
				  const Datum *values, const bool *isnull, ItemPointer tid,
				  TupleTableSlot **old)
{
	SyncTable  *t = direct->table;
	TupleTableSlot *slot = direct->new_slot;
	MemoryContext oldcontext;
	int			natts = slot->tts_tupleDescriptor->natts;
	int			n = 0;

	CHECK_FOR_INTERRUPTS();
	if (!find_old(direct, key, tid))
		return false;
	*old = direct->old_slot;
	ResetPerTupleExprContext(direct->estate);
	slot_getallattrs(direct->old_slot);
	ExecClearTuple(slot);
	memcpy(slot->tts_values, direct->old_slot->tts_values, natts * sizeof(Datum));
	memcpy(slot->tts_isnull, direct->old_slot->tts_isnull, natts * sizeof(bool));
	for (int i = -1; (i = bms_next_member(direct->written, i)) >= 0; n++)
	{
		slot->tts_values[t->columns[i].attnum - 1] = values[n];
		slot->tts_isnull[t->columns[i].attnum - 1] = isnull[n];
	}
	slot->tts_values[t->clock_attnum - 1] = clock;
	slot->tts_isnull[t->clock_attnum - 1] = false;
	ExecStoreVirtualTuple(slot);
	if (direct->is_heap)
		make_room(direct, slot, tid);
	oldcontext = MemoryContextSwitchTo(direct->estate->es_query_cxt);
	ExecSimpleRelationUpdate(direct->result, direct->estate, &direct->epqstate,
							 direct->old_slot, slot);
	MemoryContextSwitchTo(oldcontext);
	*tid = slot->tts_tid;
	return true;
}

/*
 * Prune the page of the row, in old_slot, where its next version does not fit there: then
 * it may after all, and the indexes need no new entries.
 */
static void
make_room(RowDirect *direct, TupleTableSlot *slot, ItemPointer tid)
{
	Buffer		buffer = ((BufferHeapTupleTableSlot *) direct->old_slot)->buffer;
	HeapTuple	tuple;

	ExecMaterializeSlot(slot);	/* what it has of the old row moves now */
	tuple = ((HeapTupleTableSlot *) slot)->tuple;
	if (!BufferIsValid(buffer) ||
		PageGetHeapFreeSpace(BufferGetPage(buffer)) >= MAXALIGN(tuple->t_len))
		return;
	heap_page_prune_opt(direct->rel, buffer);
	if (!table_tuple_fetch_row_version(direct->rel, tid, direct->snapshot,
									   direct->old_slot))
		elog(ERROR, "could not find a row that is locked");
}

bool
row_direct_acts_on_delete(const RowDirect *direct)
{
	return direct->result->ri_TrigDesc->trig_delete_after_row;
}

bool
row_direct_delete(RowDirect *direct, const Datum *key, ItemPointer tid)
{
	MemoryContext oldcontext;

	CHECK_FOR_INTERRUPTS();
	if (!find_old(direct, key, tid))
		return false;
	ResetPerTupleExprContext(direct->estate);
	oldcontext = MemoryContextSwitchTo(direct->estate->es_query_cxt);
	ExecSimpleRelationDelete(direct->result, direct->estate, &direct->epqstate,
							 direct->old_slot);
	MemoryContextSwitchTo(oldcontext);
	return true;
}

/*
 * The version to be replaced.  It is where it was found unless this transaction
 * has changed it since, as an action of a foreign key may.
 */
static bool
find_old(RowDirect *direct, const Datum *key, ItemPointer tid)
{
	IndexScanDesc scan;
	bool		found;

	if (ItemPointerIsValid(tid) &&
		table_tuple_fetch_row_version(direct->rel, tid, direct->snapshot,
									  direct->old_slot))
		return true;
	scan = compat_index_beginscan(direct->rel, direct->index, direct->snapshot,
								  direct->table->nkeys);
	found = lock_row(direct, scan, key, direct->snapshot, direct->old_slot);
	if (found)
		ExecMaterializeSlot(direct->old_slot);
	index_endscan(scan);
	return found;
}

/* Expressions for the columns that an insert does not set and that have one */
static void
make_defaults(RowDirect *direct)
{
	TupleDesc	desc = RelationGetDescr(direct->rel);
	MemoryContext oldcontext = MemoryContextSwitchTo(direct->context);

	direct->ndefaults = 0;
	direct->max_inserts = 0;
	if (direct->default_attnum == NULL)
	{
		direct->default_attnum = palloc(desc->natts * sizeof(AttrNumber));
		direct->default_expr = palloc(desc->natts * sizeof(ExprState *));
	}
	for (AttrNumber attnum = 1; attnum <= desc->natts; attnum++)
	{
		Node	   *expr = column_default(direct, attnum);

		if (expr == NULL)
			continue;
		direct->default_attnum[direct->ndefaults] = attnum;
		direct->default_expr[direct->ndefaults++] =
			ExecInitExpr(expression_planner((Expr *) expr), NULL);
	}
	MemoryContextSwitchTo(oldcontext);
}

/* NULL for a column that the insert sets, or that has none */
static Node *
column_default(RowDirect *direct, AttrNumber attnum)
{
	SyncTable  *t = direct->table;
	Form_pg_attribute attribute =
	TupleDescAttr(RelationGetDescr(direct->rel), attnum - 1);
	int			column;

	if (attribute->attisdropped || attribute->attgenerated ||
		attnum == t->clock_attnum)
		return NULL;
	column = sync_column_by_attnum(t, attnum);
	if (column >= 0 && (t->columns[column].is_key ||
						bms_is_member(column, direct->written)))
		return NULL;
	return build_column_default(direct->rel, attnum);
}

/* ---- privileges, as the executor checks a statement's ---- */

static void
check_right(RowDirect *direct, Bitmapset *columns, AclMode right)
{
	SyncTable  *t = direct->table;
	Oid			user = GetUserId();

	if (pg_class_aclcheck(t->relid, user, right) == ACLCHECK_OK)
		return;
	for (int i = -1; (i = bms_next_member(columns, i)) >= 0;)
	{
		if (pg_attribute_aclcheck(t->relid, t->columns[i].attnum, user,
								  right) != ACLCHECK_OK)
			aclcheck_error(ACLCHECK_NO_PRIV, OBJECT_TABLE,
						   RelationGetRelationName(direct->rel));
	}
}

/* Of the table or any column: only the clock is written. */
static void
check_any_right(RowDirect *direct, AclMode right)
{
	Oid			relid = direct->table->relid;

	if (pg_class_aclcheck(relid, GetUserId(), right) != ACLCHECK_OK &&
		pg_attribute_aclcheck_all(relid, GetUserId(), right,
								  ACLMASK_ANY) != ACLCHECK_OK)
		aclcheck_error(ACLCHECK_NO_PRIV, OBJECT_TABLE,
					   RelationGetRelationName(direct->rel));
}

static void
check_key_readable(RowDirect *direct)
{
	Bitmapset  *columns = NULL;

	for (int i = 0; i < direct->table->nkeys; i++)
		columns = bms_add_member(columns, direct->table->key[i]);
	check_right(direct, columns, ACL_SELECT);
	bms_free(columns);
}

bool
row_direct_is_key_violation(const SyncTable *t, const ErrorData *edata)
{
	Relation	rel;
	bool		result = false;

	if (edata->sqlerrcode != ERRCODE_UNIQUE_VIOLATION ||
		edata->constraint_name == NULL || edata->table_name == NULL ||
		edata->schema_name == NULL ||
		strcmp(edata->table_name, t->table_name) != 0 ||
		strcmp(edata->schema_name, t->schema_name) != 0)
		return false;
	rel = table_open(t->relid, NoLock);
	list_free(RelationGetIndexList(rel));
	if (OidIsValid(rel->rd_pkindex))
	{
		char	   *name = get_rel_name(rel->rd_pkindex);

		result = name != NULL && strcmp(name, edata->constraint_name) == 0;
	}
	table_close(rel, NoLock);
	return result;
}
