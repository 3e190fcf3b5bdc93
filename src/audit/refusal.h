/*-------------------------------------------------------------------------
 *
 * refusal.h
 *	  Deltas that were refused as a whole: which of them the journal keeps.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OFFLINE_SYNC_REFUSAL_H
#define OFFLINE_SYNC_REFUSAL_H

#include "utils/uuid.h"

/* The journal keeps one refused delta of a device in this time for each reason, and of
 * that no more than so much. */
#define REFUSAL_INTERVAL_MS		60000
#define REFUSAL_MAX_KEPT		8192	/* bytes of the delta */

/* Is a delta of the device, refused for this reason, in the journal that is not older
 * than that?  Then it stands for the next ones as well.  Under a new snapshot. */
extern bool refusal_is_known(const pg_uuid_t *device, const char *reason,
							 pg_uuid_t *reconciliation);

/*
 * Note a refusal; the device must have been locked.  True: it goes into the journal as
 * *reconciliation, *nrepeated were refused since the one before without going there.
 * False: it is only counted, and *reconciliation becomes the one that stands for it.
 */
extern bool refusal_note(const pg_uuid_t *device, const char *reason,
						 pg_uuid_t *reconciliation, int64 *nrepeated);

#endif							/* OFFLINE_SYNC_REFUSAL_H */
