/*-------------------------------------------------------------------------
 *
 * apply_shadow.c
 *	  What a candidate for a column's policy would have decided.
 *
 * Only where two concurrent writes with different values met, on the same facts
 * as the column's own rule, and under the same lock.  Nothing of it reaches the
 * row: the cell, its stamp and what the device is told are the own rule's.  A
 * function that is only watched runs in a subtransaction, so that its error is
 * one more thing to note.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "lib/stringinfo.h"
#include "merge/apply.h"
#include "registry/value.h"
#include "utils/memutils.h"
#include "utils/resowner.h"

static bool try_rule(ApplyState *state, ApplyChange *change, const ApplyRow *row,
					 const ApplyCell *cell, const SyncRule *rule,
					 CellFacts *facts, CellVerdict *verdict,
					 NullableDatum *merged, ErrorData **error);
static bool ends_transaction(const ErrorData *edata);

void
apply_watch_shadow(ApplyState *state, ApplyChange *change, const ApplyRow *row,
				   const ApplyCell *cell, const CellFacts *facts,
				   CellVerdict verdict, NullableDatum value)
{
	SyncColumn *column = &row->table->columns[cell->column];
	const SyncShadow *shadow = sync_column_shadow(column, row->rule_scope);
	ApplyConflict *conflict = llast(change->conflicts);
	CellFacts	own_facts = *facts;
	NullableDatum merged = {(Datum) 0, true};
	ErrorData  *error = NULL;

	if (shadow == NULL)
		return;
	conflict->shadow = shadow;
	if (shadow->rule.policy != POLICY_CUSTOM)
		conflict->shadow_decision = apply_decide_register(state, change, row, cell,
														  &shadow->rule,
														  &own_facts, &merged);
	else if (!try_rule(state, change, row, cell, &shadow->rule, &own_facts,
					   &conflict->shadow_decision, &merged, &error))
	{
		conflict->shadow_error = MemoryContextStrdup(state->context, error->message);
		return;
	}
	conflict->shadow_is_same = conflict->shadow_decision == verdict &&
		(verdict != CELL_MERGED || apply_same_value(column, merged, value));
	if (conflict->shadow_decision == CELL_MERGED)
	{
		StringInfoData json;

		initStringInfo(&json);
		apply_value_json(&json, column, merged.value, merged.isnull);
		conflict->shadow_json = MemoryContextStrdup(state->context, json.data);
		pfree(json.data);
	}
}

/*
 * Decide by a rule that calls a function.  False: it raised *error, and nothing of
 * it is left.
 */
static bool
try_rule(ApplyState *state, ApplyChange *change, const ApplyRow *row,
		 const ApplyCell *cell, const SyncRule *rule, CellFacts *facts,
		 CellVerdict *verdict, NullableDatum *merged, ErrorData **error)
{
	MemoryContext oldcontext = CurrentMemoryContext;
	ResourceOwner oldowner = CurrentResourceOwner;
	volatile bool success = true;

	/*
	 * levels of settings nest in subtransactions: this one is begun without
	 * ours
	 */
	value_modes_end(state->value_modes);
	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(oldcontext);
	PG_TRY();
	{
		state->value_modes = value_modes_begin_for(state->modes);
		*verdict = apply_decide_register(state, change, row, cell, rule, facts,
										 merged);
		value_modes_end(state->value_modes);
		ReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(state->batch_context);
		*error = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
		change->reason = change->column = NULL;
		state->custom_calls = NIL;	/* the functions' locks may be gone */
		if (ends_transaction(*error))
			ReThrowError(*error);
		success = false;
	}
	PG_END_TRY();
	MemoryContextSwitchTo(oldcontext);
	CurrentResourceOwner = oldowner;
	state->value_modes = value_modes_begin_for(state->modes);
	return success;
}

/*
 * Is it not the candidate's error at all?  Everything else it may raise, an internal
 * error too, must not keep a push back: nobody asked it to decide.
 */
static bool
ends_transaction(const ErrorData *edata)
{
	int			category = ERRCODE_TO_CATEGORY(edata->sqlerrcode);

	return category == ERRCODE_TO_CATEGORY(ERRCODE_TRANSACTION_ROLLBACK) ||
		category == ERRCODE_TO_CATEGORY(ERRCODE_OPERATOR_INTERVENTION);
}
