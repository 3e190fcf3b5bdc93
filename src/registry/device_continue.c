/*-------------------------------------------------------------------------
 *
 * device_continue.c
 *	  Whether a device can go on from its vector, or must start afresh, since
 *	  clean-up has removed what it lacks.
 *
 * This is what makes clean-up safe, whatever a device acknowledged and whatever
 * it comes with: who is asked before something is removed decides only how
 * seldom somebody has to start afresh.  In each scope:
 *
 * - Everything up to the last entry that was removed must be covered.  What ended
 *   before the scope was granted comes with the base scan; what ended later may
 *   matter to a device whose vector does not cover the grant, too: it may have
 *   pulled in the very transaction that granted it.
 * - Entries before the moment that tombstones were released for must be, too: a
 *   row that such an entry is about may have been deleted, maybe in another
 *   scope, with nothing left to tell it by.
 *
 * The transactions that a former node lost are nothing to wait for.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "log/change_log.h"
#include "log/forgotten.h"
#include "log/node.h"
#include "miscadmin.h"
#include "registry/device.h"

/* Scopes of which something that is not covered was removed, or is in the log */
typedef struct ConcernedScopes
{
	SyncDeviceScope *scopes;	/* sorted */
	int			nscopes;
	bool	   *is_concerned;	/* by scope */
} ConcernedScopes;

static bool ask_concerned(ConcernedScopes *concerned, const SyncNode *node,
						  uint64 covered, uint64 released, Snapshot snapshot);
static void note_concerned(void *arg, const char *scope, const char *event);
static uint64 ended_by_grant(const SyncNode *nodes, int nnodes,
							 const SyncNode *node, const SyncDeviceScope *scope);
static bool has_unseen_entry(const char *scope, const SyncNode *node,
							 uint64 from, uint64 to, const VersionVector *vv,
							 Snapshot snapshot);

bool
sync_device_can_continue(SyncDeviceScope *scopes, int nscopes,
						 const VersionVector *vv, Snapshot snapshot)
{
	int32		released_node = 0;
	uint64		released_xid = 0;
	int			nnodes;
	SyncNode   *nodes = sync_node_list(&nnodes);
	ConcernedScopes concerned = {scopes, nscopes, palloc(Max(nscopes, 1) * sizeof(bool))};

	(void) tombstones_released(&released_node, &released_xid, snapshot);
	for (int i = 0; i < nnodes; i++)
	{
		SyncNode   *node = &nodes[i];
		uint64		covered = sync_node_covered(node, vv);
		uint64		released = node->id < released_node ? VV_MAX_COUNTER :
		node->id == released_node ? released_xid - 1 : 0;

		if (covered >= released &&
			covered >= log_forgotten_final(node->id, snapshot))
			continue;
		if (nscopes <= CHANGE_LOG_FEW_SCOPES ||
			!ask_concerned(&concerned, node, covered, released, snapshot))
			memset(concerned.is_concerned, true, nscopes * sizeof(bool));
		for (int j = 0; j < nscopes; j++)
		{
			const SyncDeviceScope *scope = &scopes[j];
			uint64		from = covered;

			CHECK_FOR_INTERRUPTS();
			if (!scope->can_pull || !concerned.is_concerned[j])
				continue;
			from = Max(from, ended_by_grant(nodes, nnodes, node, scope));
			if (from < log_forgotten_xid(scope->scope, node->id, snapshot) ||
				(from < released &&
				 has_unseen_entry(scope->scope, node, from + 1, released, vv,
								  snapshot)))
				return false;
		}
	}
	return true;
}

/*
 * What matters lies behind what is covered, in whatever scope, and that stands together
 * in other indexes.  False: there is more of it than there are scopes to look into.
 */
static bool
ask_concerned(ConcernedScopes *concerned, const SyncNode *node, uint64 covered,
			  uint64 released, Snapshot snapshot)
{
	int			max = concerned->nscopes;
	int			nscopes;
	char	  **scopes = log_forgotten_scopes(node->id, covered, max + 1,
											  snapshot, &nscopes);

	if (nscopes > max)
		return false;
	memset(concerned->is_concerned, false, max * sizeof(bool));
	for (int i = 0; i < nscopes; i++)
		note_concerned(concerned, scopes[i], NULL);
	return covered >= released ||
		change_log_is_told(node->id, covered + 1, released, max, snapshot,
						   note_concerned, concerned);
}

static void
note_concerned(void *arg, const char *scope, const char *event)
{
	ConcernedScopes *concerned = arg;
	SyncDeviceScope *found = scope == NULL ? NULL :
	sync_device_find_scope(concerned->scopes, concerned->nscopes, scope);

	if (found != NULL)
		concerned->is_concerned[found - concerned->scopes] = true;
}

/*
 * Up to where a node's transactions had ended when the scope was granted.  A
 * former node of the same cluster may have left a prepared one behind; transaction
 * ids of another cluster say nothing.
 */
static uint64
ended_by_grant(const SyncNode *nodes, int nnodes, const SyncNode *node,
			   const SyncDeviceScope *scope)
{
	if (scope->granted_node < node->id)
		return 0;
	if (scope->granted_node == node->id)
		return scope->granted_horizon - 1;
	for (int i = 0; i < nnodes; i++)
		if (nodes[i].id == scope->granted_node && nodes[i].is_local)
			return node->is_local ? scope->granted_horizon - 1 : VV_MAX_COUNTER;
	return 0;
}

/*
 * From gap to entry, and from there to the next gap: a device may come with a vector
 * of a million gaps, and have thousands of scopes.
 */
static bool
has_unseen_entry(const char *scope, const SyncNode *node, uint64 from,
				 uint64 to, const VersionVector *vv, Snapshot snapshot)
{
	uint64		lo;
	uint64		hi;

	while (from <= to && vv_next_gap(vv, &node->uuid, from, &lo, &hi) && lo <= to)
	{
		ChangeLogEntry entry;
		ChangeLogScan *scan = change_log_scan_begin(scope, node->id, lo, 0, to,
													snapshot);
		bool		is_found = change_log_scan_next(scan, &entry);

		change_log_scan_end(scan);
		if (!is_found)
			return false;
		if (entry.xid <= hi)
			return true;
		from = entry.xid;
	}
	return false;
}
