/*-------------------------------------------------------------------------
 *
 * node_end.h
 *	  Which transactions were open when a node ended.  Private to this room.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OFFLINE_SYNC_NODE_END_H
#define OFFLINE_SYNC_NODE_END_H

#include "log/node.h"

/*
 * Note, in a transaction that writes under this identity, up to where all
 * transactions have ended, unless that was noted since the last checkpoint.
 */
extern void node_end_settle(int32 id);

/*
 * The transactions that were open when the node ended, and so are lost, as far
 * as this can be told; perhaps later ones as well.  For a node that is not the
 * current one; valid until the end of the transaction at least.
 */
extern const VersionVector *node_end_open(const SyncNode *node);

#endif							/* OFFLINE_SYNC_NODE_END_H */
