/*-------------------------------------------------------------------------
 *
 * row_security.c
 *	  Row security for rows that are no more: a tombstone is as private as its
 *	  row was.
 *
 * A living row is read by SQL, as the caller, and row security sees to it.  A
 * deleted one exists only as an image, so the policies for SELECT are evaluated
 * here: permissive ones are alternatives, restrictive ones all have to pass.
 * Conditions without subqueries are evaluated on the image as check constraints
 * are; others are turned back into SQL and run over the image as a row.
 *
 * Whatever fails (a column's type has changed since, a policy's function raises)
 * means: not visible.  An error would stop all of the device's pulls.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "catalog/pg_inherits.h"
#include "compat.h"
#include "executor/executor.h"
#include "executor/spi.h"
#include "guard/row_security.h"
#include "miscadmin.h"
#include "registry/value.h"
#include "rewrite/rewriteHandler.h"
#include "rewrite/rowsecurity.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/ruleutils.h"
#include "utils/snapmgr.h"

/* A row that is gone, for value_attempt */
typedef struct DeletedRow
{
	SyncTable  *table;
	const Datum *key;
	Datum		image;
} DeletedRow;

static bool partition_has_row(const SyncTable *t, Oid relid, const Datum *key);
static bool check_policies(void *arg);
static TupleTableSlot *image_slot(SyncTable *t, Relation rel,
								  const Datum *key, Datum image);
static bool image_column(SyncColumn *column, Jsonb *image, Datum *value);
static bool policy_applies(const RowSecurityPolicy *policy);
static bool policy_passes(const RowSecurityPolicy *policy, Relation rel,
						  TupleTableSlot *slot);
static bool expression_passes(Expr *condition, TupleTableSlot *slot);
static bool subquery_passes(Expr *condition, Relation rel, TupleTableSlot *slot);

bool
guard_row_exists(const SyncTable *t, const Datum *key)
{
	bool		found = false;
	ListCell   *cell;

	/* children by inheritance have keys of their own */
	if (get_rel_relkind(t->relid) != RELKIND_PARTITIONED_TABLE)
		return partition_has_row(t, t->relid, key);
	foreach(cell, find_all_inheritors(t->relid, AccessShareLock, NULL))
	{
		Oid			relid = lfirst_oid(cell);

		if (!found && get_rel_relkind(relid) == RELKIND_RELATION)
			found = partition_has_row(t, relid, key);
	}
	return found;
}

/* The index's columns are the key's, in their order, in each partition. */
static bool
partition_has_row(const SyncTable *t, Oid relid, const Datum *key)
{
	Relation	rel = table_open(relid, AccessShareLock);
	Relation	index;
	ScanKeyData keys[INDEX_MAX_KEYS];
	TupleTableSlot *slot = table_slot_create(rel, NULL);
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	IndexScanDesc scan;
	bool		found;

	list_free(RelationGetIndexList(rel));	/* it says which one it is */
	index = index_open(rel->rd_pkindex, AccessShareLock);
	for (int i = 0; i < t->nkeys; i++)
		ScanKeyEntryInitialize(&keys[i], 0, i + 1, BTEqualStrategyNumber,
							   InvalidOid, index->rd_indcollation[i],
							   get_opcode(t->key_eq[i]), key[i]);
	scan = compat_index_beginscan(rel, index, snapshot, t->nkeys);
	index_rescan(scan, keys, t->nkeys, NULL, 0);
	found = index_getnext_slot(scan, ForwardScanDirection, slot);
	index_endscan(scan);
	index_close(index, AccessShareLock);
	UnregisterSnapshot(snapshot);
	ExecDropSingleTupleTableSlot(slot);
	table_close(rel, AccessShareLock);
	return found;
}

bool
guard_image_is_visible(SyncTable *t, const Datum *key, Datum image,
					   MemoryContext scratch)
{
	MemoryContext old = MemoryContextSwitchTo(scratch);
	DeletedRow	row = {t, key, image};
	bool		result;

	MemoryContextReset(scratch);
	result = value_attempt(check_policies, &row);
	MemoryContextSwitchTo(old);
	return result;
}

static bool
check_policies(void *arg)
{
	DeletedRow *row = arg;
	SyncTable  *t = row->table;
	Relation	rel = table_open(t->relid, AccessShareLock);
	TupleTableSlot *slot = image_slot(t, rel, row->key, row->image);
	bool		is_permitted = false;
	bool		is_restricted = false;
	ListCell   *cell;

	if (rel->rd_rsdesc != NULL)
		foreach(cell, rel->rd_rsdesc->policies)
	{
		RowSecurityPolicy *policy = lfirst(cell);

		if (!policy_applies(policy) ||
			(policy->permissive && is_permitted))
			continue;
		if (policy_passes(policy, rel, slot))
			is_permitted |= policy->permissive;
		else
			is_restricted |= !policy->permissive;
	}
	ExecDropSingleTupleTableSlot(slot);
	table_close(rel, NoLock);
	return is_permitted && !is_restricted;
}

/* The row as it was when it was deleted; what is not known of it is NULL. */
static TupleTableSlot *
image_slot(SyncTable *t, Relation rel, const Datum *key, Datum image)
{
	TupleTableSlot *slot = MakeSingleTupleTableSlot(RelationGetDescr(rel),
													&TTSOpsVirtual);
	Jsonb	   *jsonb = DatumGetJsonbP(image);
	int			nestlevel = value_modes_begin();
	int			i;

	ExecClearTuple(slot);
	memset(slot->tts_isnull, true, slot->tts_tupleDescriptor->natts * sizeof(bool));
	memset(slot->tts_values, 0, slot->tts_tupleDescriptor->natts * sizeof(Datum));
	for (i = 0; i < t->ncolumns; i++)
	{
		AttrNumber	attnum = t->columns[i].attnum;

		if (image_column(&t->columns[i], jsonb, &slot->tts_values[attnum - 1]))
			slot->tts_isnull[attnum - 1] = false;
	}
	for (i = 0; i < t->nkeys; i++)
	{
		AttrNumber	attnum = t->columns[t->key[i]].attnum;

		slot->tts_values[attnum - 1] = key[i];
		slot->tts_isnull[attnum - 1] = false;
	}
	ExecStoreVirtualTuple(slot);
	value_modes_end(nestlevel);
	return slot;
}

static bool
image_column(SyncColumn *column, Jsonb *image, Datum *value)
{
	char		id[16];
	JsonbValue	found;
	DeltaValue text;
	bool		isnull;

	/* the image has a set's elements, not its tags */
	if (column->value_class == VALUE_ORSET)
		return false;
	snprintf(id, sizeof(id), "%d", column->column_id);
	if (!JB_ROOT_IS_OBJECT(image) ||
		getKeyJsonValueFromContainer(&image->root, id, strlen(id), &found) == NULL ||
		found.type != jbvString)
		return false;
	if (column->value_class == VALUE_JSON)
	{
		char	   *json = pnstrdup(found.val.string.val, found.val.string.len);

		*value = InputFunctionCall(&column->input, json, column->typioparam,
								   column->typmod);
		return true;
	}
	text.		kind = DELTA_STRING;
	text.		data = found.val.string.val;
	text.		len = found.val.string.len;

	*value = value_from_delta(column, &text, &isnull);
	return !isnull;
}

/* Is it for SELECT, and for the current user? */
static bool
policy_applies(const RowSecurityPolicy *policy)
{
	Oid		   *roles = (Oid *) ARR_DATA_PTR(policy->roles);
	int			nroles = ARR_DIMS(policy->roles)[0];

	if (policy->polcmd != '*' && policy->polcmd != ACL_SELECT_CHR)
		return false;
	if (roles[0] == ACL_ID_PUBLIC)
		return true;
	for (int i = 0; i < nroles; i++)
		if (has_privs_of_role(GetUserId(), roles[i]))
			return true;
	return false;
}

static bool
policy_passes(const RowSecurityPolicy *policy, Relation rel, TupleTableSlot *slot)
{
	Node	   *condition;

	if (policy->qual == NULL)
		return true;
	condition = compat_expand_virtual(copyObject((Node *) policy->qual), rel, 1);
	if (policy->hassublinks)
		return subquery_passes((Expr *) condition, rel, slot);
	return expression_passes((Expr *) condition, slot);
}

static bool
expression_passes(Expr *condition, TupleTableSlot *slot)
{
	EState	   *estate = CreateExecutorState();
	ExprContext *econtext = GetPerTupleExprContext(estate);
	ExprState  *state;
	bool		isnull;
	Datum		result;

	econtext->ecxt_scantuple = slot;
	state = ExecPrepareExpr(condition, estate);
	result = ExecEvalExprSwitchContext(state, econtext, &isnull);
	FreeExecutorState(estate);
	return !isnull && DatumGetBool(result);
}

/* A subquery refers to the row by the table's name. */
static bool
subquery_passes(Expr *condition, Relation rel, TupleTableSlot *slot)
{
	const char *name = RelationGetRelationName(rel);
	List	   *names = deparse_context_for(name, RelationGetRelid(rel));
	Oid			type = rel->rd_rel->reltype;
	HeapTuple	tuple = ExecCopySlotHeapTuple(slot);
	Datum		row = heap_copy_tuple_as_datum(tuple, RelationGetDescr(rel));
	MemoryContext context = CurrentMemoryContext;
	char	   *query;
	int			rc;

	query = psprintf("SELECT 1 FROM (SELECT ($1).*) AS %s WHERE %s",
					 quote_identifier(name),
					 deparse_expression((Node *) condition, names, false, false));
	rc = SPI_execute_with_args(query, 1, &type, &row, NULL, true, 1);
	if (rc != SPI_OK_SELECT)
		elog(ERROR, "SPI_execute_with_args failed: %s",
			 SPI_result_code_string(rc));
	MemoryContextSwitchTo(context); /* SPI left its own */
	SPI_freetuptable(SPI_tuptable);
	return SPI_processed > 0;
}
