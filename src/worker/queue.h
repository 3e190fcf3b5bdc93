/*-------------------------------------------------------------------------
 *
 * queue.h
 *	  Rows of offline_sync.queue.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OFFLINE_SYNC_QUEUE_H
#define OFFLINE_SYNC_QUEUE_H

#include "datatype/timestamp.h"
#include "merge/apply.h"
#include "types/delta.h"
#include "utils/uuid.h"

/* A delta that is not answered yet */
typedef struct QueuedDelta
{
	pg_uuid_t	id;
	int64		first_seq;
	DeltaData  *delta;
	char	   *role;			/* who submitted it */
	int			attempts;		/* that failed */
	TimestampTz tried_at;		/* when the latest one did */
	bool		is_quarantined;
} QueuedDelta;

/* The first one of a device, which must have been locked, in the order in which they are
 * to be applied; palloc'd, NULL: none. */
extern QueuedDelta *queue_first(const pg_uuid_t *device);

/* The place of a row that is pending: by time, since ids ascend by milliseconds only */
typedef struct QueuePlace
{
	TimestampTz submitted_at;
	pg_uuid_t	id;
	pg_uuid_t	device;
} QueuePlace;

/* Up to limit rows that are pending and come after *after, oldest first; palloc'd.  Returns
 * how many. */
extern int	queue_pending(const QueuePlace *after, int limit, QueuePlace **places);

/* How many are not answered. */
extern int64 queue_count(void);

/* Store the answer; reconciliation NULL: the journal does not know of it. */
extern void queue_answer(const pg_uuid_t *id, const pg_uuid_t *reconciliation,
						 const ApplyResult *result);

/* The same for a delta that is not to be applied at all. */
extern void queue_reject(const pg_uuid_t *id, int64 acked_seq, const char *reason,
						 int sqlstate, const char *message);

/* Note a failure; counted: as an attempt, and after too many of these it is quarantined
 * (true). */
extern bool queue_note_failure(const pg_uuid_t *id, const ErrorData *error,
							   bool is_counted);

#endif							/* OFFLINE_SYNC_QUEUE_H */
