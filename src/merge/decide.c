/*-------------------------------------------------------------------------
 *
 * decide.c
 *	  The merge decision.
 *
 * A write that had seen what it overwrites prevails, whatever the clocks say;
 * clocks and replica uuids only order concurrent writes.  Because an incoming
 * hlc has been lifted above everything its writer had seen, the order by
 * (hlc, replica) extends causality, and so keeping the greater one gives the
 * same result in whatever order the writes arrive.
 *
 * Deletes under delete_wins are a register of their own: a change that had not
 * seen every delete of the row loses, a change that had seen them all is judged
 * as if they had not been.  That does not depend on order either, as long as
 * the deletes are remembered (the floor).
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "merge/decide.h"

CellVerdict
decide_cell(SyncPolicy policy, const Stamp *current, bool is_seen,
			const Stamp *incoming)
{
	switch (policy)
	{
		case POLICY_ORSET:
		case POLICY_COUNTER:
			return CELL_MERGED;
		case POLICY_LWW:
			break;
	}
	if (current == NULL || is_seen)
		return CELL_INCOMING;
	return stamp_compare(incoming, current) > 0 ? CELL_INCOMING : CELL_CURRENT;
}

RowVerdict
decide_row(RowIntention intention, const RowFacts *facts, bool *is_conflict)
{
	bool		unseen_delete = facts->was_deleted && !facts->floor_is_seen;

	*is_conflict = false;

	if (intention == ROW_WANTS_DELETE)
	{
		if (!facts->is_alive && !facts->was_deleted)
			return ROW_MISSING;
		*is_conflict = facts->is_alive && !facts->row_is_seen;
		return ROW_DELETE;
	}
	if (unseen_delete)
	{
		*is_conflict = true;
		return ROW_SUPERSEDED;
	}
	if (facts->is_alive)
		return ROW_MERGE;
	return intention == ROW_WANTS_INSERT ? ROW_CREATE : ROW_MISSING;
}
