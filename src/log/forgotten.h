/*-------------------------------------------------------------------------
 *
 * forgotten.h
 *	  What clean-up has removed from the change log and the tombstones.
 *
 * Read under the snapshot that the log is read with: what is noted here is
 * noted by the transaction that removes it.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OFFLINE_SYNC_FORGOTTEN_H
#define OFFLINE_SYNC_FORGOTTEN_H

#include "utils/snapshot.h"

/* The largest position removed in a scope; 0: none. */
extern uint64 log_forgotten_xid(const char *scope, int32 node, Snapshot snapshot);

/* The largest position of a node removed in any scope; 0: none. */
extern uint64 log_forgotten_final(int32 node, Snapshot snapshot);

/* The scopes where positions of a node after "after" were removed, so many at most;
 * palloc'd. */
extern char **log_forgotten_scopes(int32 node, uint64 after, int limit,
								   Snapshot snapshot, int *nscopes);

/*
 * Tombstones may be gone for whoever has not seen all entries of his scopes before
 * the position (*node, *xid), those of nodes before that one included.  False: none
 * has been removed.
 */
extern bool tombstones_released(int32 *node, uint64 *xid, Snapshot snapshot);

#endif							/* OFFLINE_SYNC_FORGOTTEN_H */
