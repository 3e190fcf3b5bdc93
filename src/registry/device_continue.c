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

static uint64 covered_up_to(const VersionVector *vv, const SyncNode *node);
static uint64 ended_by_grant(const SyncNode *nodes, int nnodes,
							 const SyncNode *node, const SyncDeviceScope *scope);
static bool has_unseen_entry(const char *scope, const SyncNode *node,
							 uint64 from, uint64 to, const VersionVector *vv,
							 Snapshot snapshot);

bool
sync_device_can_continue(const SyncDeviceScope *scopes, int nscopes,
						 const VersionVector *vv, Snapshot snapshot)
{
	int32		released_node = 0;
	uint64		released_xid = 0;
	int			nnodes;
	SyncNode   *nodes = sync_node_list(&nnodes);

	(void) tombstones_released(&released_node, &released_xid, snapshot);
	for (int i = 0; i < nnodes; i++)
	{
		SyncNode   *node = &nodes[i];
		uint64		covered = covered_up_to(vv, node);
		uint64		released = node->id < released_node ? VV_MAX_COUNTER :
		node->id == released_node ? released_xid - 1 : 0;

		if (covered >= released &&
			covered >= log_forgotten_final(node->id, snapshot))
			continue;
		for (int j = 0; j < nscopes; j++)
		{
			const SyncDeviceScope *scope = &scopes[j];
			uint64		from = covered;

			CHECK_FOR_INTERRUPTS();
			if (!scope->can_pull)
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

/* Up to where a vector has no gaps. */
static uint64
covered_up_to(const VersionVector *vv, const SyncNode *node)
{
	if (node->open_at_end != NULL && vv_find(node->open_at_end, &node->uuid) != NULL)
		vv = vv_join_vectors(vv, node->open_at_end);
	return vv_base_counter(vv, &node->uuid);
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

static bool
has_unseen_entry(const char *scope, const SyncNode *node, uint64 from,
				 uint64 to, const VersionVector *vv, Snapshot snapshot)
{
	uint64		lo;
	uint64		hi;
	bool		result = false;

	while (!result && from <= to &&
		   vv_next_gap(vv, &node->uuid, from, &lo, &hi) && lo <= to)
	{
		ChangeLogEntry entry;
		ChangeLogScan *scan = change_log_scan_begin(scope, node->id, lo, 0,
													Min(hi, to), snapshot);

		result = change_log_scan_next(scan, &entry);
		change_log_scan_end(scan);
		from = Min(hi, to) + 1;
	}
	return result;
}
