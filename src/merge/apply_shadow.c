/*-------------------------------------------------------------------------
 *
 * apply_shadow.c
 *	  What a candidate for a column's policy would have decided.
 *
 * Only where two concurrent writes with different values met, on the same facts
 * as the column's own rule, and under the same lock.  Nothing of it reaches the
 * row: the cell, its stamp and what the device is told are the own rule's.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "merge/apply.h"

void
apply_watch_shadow(ApplyState *state, ApplyChange *change, const ApplyRow *row,
				   const ApplyCell *cell, const CellFacts *facts,
				   CellVerdict verdict)
{
	const SyncShadow *shadow = sync_column_shadow(&row->table->columns[cell->column],
												  row->rule_scope);
	ApplyConflict *conflict = llast(change->conflicts);
	CellFacts	own_facts = *facts;

	if (shadow == NULL)
		return;
	conflict->shadow = shadow;
	conflict->shadow_decision = apply_decide_register(state, &shadow->rule, row,
													  cell, &own_facts);
	conflict->shadow_is_same = conflict->shadow_decision == verdict;
}
