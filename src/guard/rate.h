/*-------------------------------------------------------------------------
 *
 * rate.h
 *	  How fast a device may push: a token bucket in its row.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OFFLINE_SYNC_RATE_H
#define OFFLINE_SYNC_RATE_H

#include "registry/device.h"

/* How long a device has to wait before it may push a delta of so many changes, in
 * microseconds; 0: it may.  As of its row as read: a version that is not the newest may
 * say less, never more. */
extern int64 rate_wait(const SyncDevice *device, int nchanges);

/* It does push them; the device must have been locked. */
extern void rate_take(SyncDevice *device, int nchanges);

/* What to tell a device that has to wait, palloc'd. */
extern char *rate_message(int nchanges, int64 wait);

#endif							/* OFFLINE_SYNC_RATE_H */
