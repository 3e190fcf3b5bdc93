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
 * the deletes are remembered (the floor).  Under update_wins a delete only takes
 * place where it had seen every write, and a write that had not seen a delete
 * brings the row back as it was; either way the same writes remain.
 *
 * Under lww a row's life is a register: it lives while its latest write is later
 * than its latest delete.  A write that loses against a delete may still be among
 * those of a row that a later one brings back, so its cells are kept.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "merge/decide.h"

static const char *const policy_names[SYNC_NPOLICIES] = {
	[POLICY_LWW] = "lww",
	[POLICY_ORSET] = "orset",
	[POLICY_COUNTER] = "counter",
	[POLICY_MAX] = "max",
	[POLICY_MIN] = "min",
	[POLICY_FIRST_WRITER] = "first_writer",
	[POLICY_SERVER_WINS] = "server_wins",
	[POLICY_MANUAL] = "manual",
	[POLICY_JSON] = "json",
	[POLICY_PRIORITY] = "priority",
	[POLICY_CUSTOM] = "custom",
	[POLICY_OPAQUE] = "opaque"
};

const char *
sync_policy_name(SyncPolicy policy)
{
	return policy_names[policy];
}

int
sync_policy_by_name(const char *name)
{
	for (int i = 0; i < SYNC_NPOLICIES; i++)
	{
		if (strcmp(policy_names[i], name) == 0)
			return i;
	}
	return -1;
}

/*
 * For lww, max, min and first_writer the verdict picks the greatest of all
 * writes in a total order: (hlc, replica); (value, hlc, replica), where of equal
 * values the later write stays, so that its spelling does; the reverse of (hlc,
 * replica).  Causality agrees with each of them: the first because hlcs are
 * lifted, the others because they do not ask who had seen what.
 */
CellVerdict
decide_cell(SyncPolicy policy, const CellFacts *facts)
{
	bool		later;
	bool		wins = false;

	if (SYNC_POLICY_IS_MERGED(policy))
		return CELL_MERGED;
	if (facts->current == NULL)
		return CELL_INCOMING;

	later = facts->is_seen ||
		stamp_compare(facts->incoming, facts->current) > 0;
	switch (policy)
	{
		case POLICY_LWW:
		case POLICY_OPAQUE:
			wins = later;
			break;
		case POLICY_PRIORITY:
			wins = facts->is_seen ||
				(facts->comparison != 0 ? facts->comparison > 0 : later);
			break;
		case POLICY_MAX:
		case POLICY_MIN:
			wins = facts->comparison != 0 ? facts->comparison > 0 : later;
			break;
		case POLICY_FIRST_WRITER:
			wins = facts->comparison != 0 ? facts->comparison > 0 : !later;
			break;
		case POLICY_SERVER_WINS:
		case POLICY_MANUAL:
			wins = facts->is_seen;
			break;
		case POLICY_CUSTOM:
			if (!facts->is_seen)
				return CELL_MERGED;
			wins = true;
			break;
		case POLICY_ORSET:
		case POLICY_COUNTER:
		case POLICY_JSON:
			break;				/* above */
	}
	return wins ? CELL_INCOMING : CELL_CURRENT;
}

RowVerdict
decide_row(const RowRules *rules, RowIntention intention, const RowFacts *facts,
		   bool *is_conflict)
{
	bool		unseen_delete = facts->was_deleted && !facts->floor_is_seen;
	bool		unseen_write = facts->is_alive && !facts->row_is_seen;

	*is_conflict = false;

	if (rules->is_append_only)
	{
		if (intention != ROW_WANTS_INSERT)
			return ROW_FIXED;
		if (facts->is_alive)
			return ROW_EXISTS;
	}
	if (rules->is_strong && (unseen_delete || unseen_write))
	{
		*is_conflict = true;
		return ROW_DISPUTED;
	}

	if (intention == ROW_WANTS_DELETE)
	{
		if (!facts->is_alive && !facts->was_deleted)
			return ROW_MISSING;
		*is_conflict = unseen_write;
		if (unseen_write &&
			(rules->on_delete == ON_DELETE_UPDATE_WINS ||
			 (rules->on_delete == ON_DELETE_LWW && !facts->is_latest)))
			return ROW_OUTLIVES;
		return ROW_DELETE;
	}
	if (unseen_delete && rules->on_delete == ON_DELETE_DELETE_WINS)
	{
		*is_conflict = true;
		return ROW_SUPERSEDED;
	}
	if (facts->is_alive)
		return ROW_MERGE;
	if (unseen_delete && rules->on_delete == ON_DELETE_LWW && !facts->is_latest)
	{
		*is_conflict = true;
		return facts->has_image ? ROW_ABSORB : ROW_SUPERSEDED;
	}
	if (unseen_delete && facts->has_image)
	{
		*is_conflict = true;
		return ROW_REVIVE;
	}
	return intention == ROW_WANTS_INSERT ? ROW_CREATE : ROW_MISSING;
}
