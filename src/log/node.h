/*-------------------------------------------------------------------------
 *
 * node.h
 *	  Which node this database is, which nodes it has been, and its clock.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OFFLINE_SYNC_NODE_H
#define OFFLINE_SYNC_NODE_H

#include "types/hlc.h"
#include "types/row_clock.h"
#include "types/version_vector.h"
#include "utils/snapshot.h"
#include "utils/uuid.h"

/* A node that has stored changes in this database: a row of offline_sync.node. */
typedef struct SyncNode
{
	int32		id;				/* small local number, used in state tables;
								 * ascending in order of succession */
	pg_uuid_t	uuid;
	uint64		began_xid;		/* first transaction that may be its */
	uint64		final_xid;		/* largest position it stored; 0 while current */
	bool		is_local;		/* its positions are of this cluster */
	VersionVector *open_at_end; /* transactions that were open when it ended;
								 * NULL until that is recorded */
} SyncNode;

/*
 * This database's identity, derived from the cluster's system identifier, the
 * database's oid, the timeline and the incarnation.  Cheap; notices promotion of a
 * standby that this backend was connected to.
 */
extern const pg_uuid_t *sync_node_uuid(void);

/*
 * The node's small number, registering the node first where this is the first
 * write under its identity (it then records where its predecessor ended).  Only
 * where writing is possible.
 */
extern int32 sync_node_id(void);

/* All nodes of this database as the catalog snapshot sees them, ascending by id;
 * a current identity that has no row yet is not among them.  palloc'd. */
extern SyncNode *sync_node_list(int *nnodes);

/* uuid of a node id (cached); raises XX001 for an unknown one. */
extern const pg_uuid_t *sync_node_uuid_by_id(int32 id);

/* The node's clock now, never going back within a backend. */
extern Hlc	sync_clock_now(void);

/* A stamp for a write of this node in the current transaction (assigns an xid),
 * its hlc later than "after". */
extern void sync_node_stamp(Stamp *stamp, Hlc after);

/* The same for a row: rows that are all written, or all deleted, within one millisecond,
 * with nothing in between that takes a time of the clock, share a stamp. */
extern void sync_node_row_stamp(Stamp *stamp, Hlc after, bool is_delete);

/*
 * All transactions before this one had ended when the snapshot was taken.
 */
extern uint64 sync_snapshot_horizon(Snapshot snapshot);

/*
 * Does the vector claim positions of a node of this database that cannot have
 * been seen here: beyond what that node ever stored, or of transactions that were
 * open when it ended (a lost future)?  Never true on a standby for the current
 * node, which merely lags.
 */
extern bool sync_vector_is_lost(const VersionVector *vv);

/* Up to where a vector has no gaps but those of transactions that were lost when the
 * node ended. */
extern uint64 sync_node_covered(const SyncNode *node, const VersionVector *vv);

/*
 * Remove from a vector under construction the transactions that the snapshot sees
 * as running (for every node of this database that shares its transaction ids), and
 * those that were lost when an older one ended, so that what is left claims only
 * what the snapshot saw.  Handles standby snapshots (subxip, suboverflowed:
 * everything from xmin on is removed).
 */
extern void sync_remove_running(VVBuilder *builder, Snapshot snapshot);

#endif							/* OFFLINE_SYNC_NODE_H */
