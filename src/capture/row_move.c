/*-------------------------------------------------------------------------
 *
 * row_move.c
 *	  Rows on their way from one partition to another.
 *
 * The three triggers that meet a moving row run in the same query, one after
 * the other, but each for a partition of its own.  What connects them is the
 * query's memory context; the record of the move is made in it and so goes when
 * the query ends, in whatever way.  A query moves one row at a time; queries of
 * users' triggers in between have records of their own.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/sysattr.h"
#include "capture/row_move.h"
#include "executor/executor.h"
#include "optimizer/optimizer.h"
#include "utils/datum.h"
#include "utils/memutils.h"
#include "utils/partcache.h"

/* The partition's constraint */
typedef struct RowMoveCheck
{
	Bitmapset  *attnums;		/* that it reads, offset as in pull_varattnos */
	EState	   *estate;
	ExprState  *constraint;
} RowMoveCheck;

typedef struct RowMove
{
	struct RowMove *next;
	MemoryContext query_context;
	MemoryContextCallback callback; /* forgets this record */
	MemoryContext context;		/* everything below; emptied for each row */
	bool		is_moving;
	bool		is_deleted;		/* its DELETE was met */
	Oid			old_relid;
	ItemPointerData old_tid;
	Datum	   *values;			/* by column */
	bool	   *nulls;
	RowClock   *clock;
} RowMove;

/* ---- backend-local state: one record for each query that has moved a row ---- */

static RowMove *moves = NULL;

static RowMoveCheck *make_check(MemoryContext context, Relation partition);
static RowMove *find_move(MemoryContext query_context);
static RowMove *make_move(MemoryContext query_context);
static void forget_move(void *arg);
static bool same_key(const CapturedRelation *cr, const RowMove *move,
					 TupleTableSlot *slot);

bool
row_move_is_due(CapturedRelation *cr, Relation partition,
				const Bitmapset *changes, TupleTableSlot *new_slot)
{
	RowMoveCheck *check;
	ExprContext *econtext;
	bool		is_concerned = false;
	bool		fits;
	int			i = -1;

	if (cr->move_check == NULL)
		cr->move_check = make_check(cr->context, partition);
	check = cr->move_check;
	while ((i = bms_next_member(changes, i)) >= 0)
		is_concerned |= bms_is_member(cr->attnums[i] -
									  FirstLowInvalidHeapAttributeNumber,
									  check->attnums);
	if (!is_concerned)
		return false;

	econtext = GetPerTupleExprContext(check->estate);
	econtext->ecxt_scantuple = new_slot;
	fits = ExecCheck(check->constraint, econtext);
	ResetExprContext(econtext);
	return !fits;
}

static RowMoveCheck *
make_check(MemoryContext context, Relation partition)
{
	MemoryContext old_context = MemoryContextSwitchTo(context);
	RowMoveCheck *check = palloc0(sizeof(RowMoveCheck));
	List	   *constraint = RelationGetPartitionQual(partition);

	pull_varattnos((Node *) constraint, 1, &check->attnums);
	check->estate = CreateExecutorState();
	check->constraint = ExecPrepareCheck(constraint, check->estate);
	MemoryContextSwitchTo(old_context);
	return check;
}

void
row_move_begin(const CapturedRelation *cr, HeapTuple old_tuple,
			   TupleTableSlot *new_slot, const RowClock *clock)
{
	RowMove    *move = find_move(cr->context);
	MemoryContext old_context;
	int			i;

	if (move == NULL)
		move = make_move(cr->context);
	MemoryContextReset(move->context);
	old_context = MemoryContextSwitchTo(move->context);

	move->is_moving = true;
	move->is_deleted = false;
	move->old_relid = old_tuple->t_tableOid;
	move->old_tid = old_tuple->t_self;
	move->clock = row_clock_copy(move->context, clock);
	move->values = palloc(cr->table->ncolumns * sizeof(Datum));
	move->nulls = palloc(cr->table->ncolumns * sizeof(bool));
	for (i = 0; i < cr->table->ncolumns; i++)
	{
		const SyncColumn *column = &cr->table->columns[i];
		Datum		value = captured_row_value(cr, new_slot, i, &move->nulls[i]);

		move->values[i] = move->nulls[i] ? (Datum) 0 :
			datumCopy(value, column->typbyval, column->typlen);
	}
	MemoryContextSwitchTo(old_context);
}

bool
row_move_is_deletion(const CapturedRelation *cr, HeapTuple old_tuple)
{
	RowMove    *move = find_move(cr->context);

	if (move == NULL || !move->is_moving || move->is_deleted ||
		move->old_relid != old_tuple->t_tableOid ||
		!ItemPointerEquals(&move->old_tid, &old_tuple->t_self))
		return false;
	move->is_deleted = true;
	return true;
}

RowClock *
row_move_take(const CapturedRelation *cr, TupleTableSlot *slot,
			  Bitmapset **changes)
{
	RowMove    *move = find_move(cr->context);
	int			i;

	if (move == NULL || !move->is_moving || !move->is_deleted ||
		!same_key(cr, move, slot))
		return NULL;
	move->is_moving = false;

	*changes = NULL;
	for (i = 0; i < cr->table->ncolumns; i++)
	{
		bool		isnull;
		Datum		value = captured_row_value(cr, slot, i, &isnull);

		if (!cr->table->columns[i].is_generated &&
			!captured_value_is_same(&cr->table->columns[i], move->values[i],
									move->nulls[i], value, isnull))
			*changes = bms_add_member(*changes, i);
	}
	return row_clock_copy(CurrentMemoryContext, move->clock);
}

static bool
same_key(const CapturedRelation *cr, const RowMove *move, TupleTableSlot *slot)
{
	int			i;

	for (i = 0; i < cr->table->nkeys; i++)
	{
		int			k = cr->table->key[i];
		bool		isnull;
		Datum		value = captured_row_value(cr, slot, k, &isnull);

		if (!captured_value_is_same(&cr->table->columns[k], move->values[k],
									move->nulls[k], value, isnull))
			return false;
	}
	return true;
}

static RowMove *
find_move(MemoryContext query_context)
{
	RowMove    *move;

	for (move = moves; move != NULL; move = move->next)
		if (move->query_context == query_context)
			return move;
	return NULL;
}

static RowMove *
make_move(MemoryContext query_context)
{
	RowMove    *move = MemoryContextAllocZero(query_context, sizeof(RowMove));

	move->query_context = query_context;
	move->context = AllocSetContextCreate(query_context,
										  "offline_sync row move",
										  ALLOCSET_DEFAULT_SIZES);
	move->callback.func = forget_move;
	move->callback.arg = move;
	MemoryContextRegisterResetCallback(query_context, &move->callback);
	move->next = moves;
	moves = move;
	return move;
}

static void
forget_move(void *arg)
{
	RowMove   **link = &moves;

	while (*link != NULL && *link != arg)
		link = &(*link)->next;
	if (*link != NULL)
		*link = (*link)->next;
}
