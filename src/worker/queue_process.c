/*-------------------------------------------------------------------------
 *
 * queue_process.c
 *	  sync_process_queue: merge what was submitted.
 *
 * Oldest first, but of each device in the order of its seqs.  The lock on the device's
 * row is what processors share the work by: a device that is busy is passed over.
 * Each delta is a subtransaction of its own, with the rights of the role that
 * submitted it; what fails there undoes nothing else.
 *
 * The transaction holds the rows of all that it has merged.  Only its first delta
 * waits for locks as any push would; the others, which meet a lock with rows in
 * hand, hardly wait and are left for another time.  So processors cannot
 * deadlock with each other, or with pushes.
 *
 * An error that is no outcome counts against the delta.  After too many it is quarantined,
 * and the device's later ones wait behind it, as behind seqs that are missing:
 * nothing is skipped.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "fmgr.h"
#include "funcapi.h"
#include "guard/other_role.h"
#include "log/write_set.h"
#include "miscadmin.h"
#include "offline_sync.h"
#include "registry/device_row.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/resowner.h"
#include "utils/timestamp.h"
#include "worker/queue.h"

/* rows looked at in one go */
#define QUEUE_BATCH			100

/* how long a delta but the first waits for a lock */
#define QUEUE_LOCK_TIMEOUT	"10ms"

/* the delay doubles with every attempt, so many times */
#define MAX_DOUBLINGS		16

typedef enum HeadResult
{
	HEAD_ANSWERED,
	HEAD_FAILED,				/* the attempt counted */
	HEAD_BLOCKED,				/* nothing of the device can be applied now */
	HEAD_OUT_OF_TIME			/* nor of any other */
} HeadResult;

PG_FUNCTION_INFO_V1(sync_process_queue);

static void process(int max_deltas, int64 *nprocessed, int64 *nfailed);
static HeadResult process_head(const pg_uuid_t *uuid, bool is_first);
static bool is_delayed(const QueuedDelta *head);
static HeadResult apply_head(const SyncDevice *device, const QueuedDelta *head,
							 Oid role, bool is_first);
static HeadResult judge_failure(const SyncDevice *device, const QueuedDelta *head,
								ErrorData *error, bool is_first);
static bool is_for_caller(const ErrorData *error);
static bool is_timeout(const ErrorData *error);
static bool is_cancel(const ErrorData *error, const char *why);

/*
 * sync_process_queue(max_deltas int) -> processed, failed, waiting
 */
Datum
sync_process_queue(PG_FUNCTION_ARGS)
{
	int32		max_deltas = PG_GETARG_INT32(0);
	int64		nprocessed = 0;
	int64		nfailed = 0;
	TupleDesc	desc;
	Datum		values[3];
	bool		nulls[3] = {false};

	PreventCommandIfReadOnly("sync_process_queue()");
	PreventCommandDuringRecovery("sync_process_queue()");
	if (max_deltas < 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("max_deltas must be at least 1")));
	if (apply_in_progress)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_IN_USE),
				 errmsg("sync_process_queue() cannot be called by what a push sets off")));
	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	BlessTupleDesc(desc);

	process(max_deltas, &nprocessed, &nfailed);
	values[0] = Int64GetDatum(nprocessed);
	values[1] = Int64GetDatum(nfailed);
	values[2] = Int64GetDatum(queue_count());
	return HeapTupleGetDatum(heap_form_tuple(desc, values, nulls));
}

/* Each row that is found pending, from the oldest on, is an occasion for its device's
 * first delta. */
static void
process(int max_deltas, int64 *nprocessed, int64 *nfailed)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext,
												  "offline_sync queue",
												  ALLOCSET_DEFAULT_SIZES);
	QueuePlace	after = {DT_NOBEGIN};
	HASHCTL		ctl;
	HTAB	   *blocked;
	int			n;
	bool		is_done = false;

	ctl.keysize = sizeof(pg_uuid_t);
	ctl.entrysize = sizeof(pg_uuid_t);
	blocked = hash_create("offline_sync blocked devices", 64, &ctl,
						  HASH_ELEM | HASH_BLOBS);
	do
	{
		MemoryContext oldcontext;
		QueuePlace *places;

		n = queue_pending(&after, QUEUE_BATCH, &places);
		for (int i = 0; i < n && !is_done; i++)
		{
			CHECK_FOR_INTERRUPTS();
			after = places[i];
			if (hash_search(blocked, &places[i].device, HASH_FIND, NULL) != NULL)
				continue;
			oldcontext = MemoryContextSwitchTo(context);
			switch (process_head(&places[i].device, *nprocessed == 0))
			{
				case HEAD_ANSWERED:
					(*nprocessed)++;
					break;
				case HEAD_FAILED:
					(*nfailed)++;
					/* FALLTHROUGH */
				case HEAD_BLOCKED:
					(void) hash_search(blocked, &places[i].device, HASH_ENTER, NULL);
					break;
				case HEAD_OUT_OF_TIME:
					is_done = true;
					break;
			}
			MemoryContextSwitchTo(oldcontext);
			MemoryContextReset(context);
			is_done |= *nprocessed + *nfailed >= max_deltas;
		}
		pfree(places);
	} while (n == QUEUE_BATCH && !is_done);
	hash_destroy(blocked);
	MemoryContextDelete(context);
}

/*
 * The first delta of a device.  The device's lock is taken outside the subtransaction, so
 * that it is held, too, when a failure is written down.
 */
static HeadResult
process_head(const pg_uuid_t *uuid, bool is_first)
{
	SyncDevice *device = sync_device_lock_if_free(uuid);
	QueuedDelta *head;
	Oid			role;

	if (device == NULL)
		return HEAD_BLOCKED;
	head = queue_first(uuid);
	if (head == NULL || head->is_quarantined || is_delayed(head))
		return HEAD_BLOCKED;

	role = get_role_oid(head->role, true);
	if (!OidIsValid(role))
	{
		queue_reject(&head->id, device->acked_seq, "role_gone",
					 ERRCODE_INSUFFICIENT_PRIVILEGE,
					 "the role that submitted the delta does not exist any more");
		return HEAD_ANSWERED;
	}
	if (!other_role_is_allowed(role))
		return HEAD_BLOCKED;
	if (!sync_device_is_owned_by(device, role))
	{
		queue_reject(&head->id, device->acked_seq, "privilege",
					 ERRCODE_INSUFFICIENT_PRIVILEGE,
					 "the role that submitted the delta is no longer a member of the device's owner role");
		return HEAD_ANSWERED;
	}
	if (head->first_seq > device->acked_seq + 1 && !device->is_revoked)
		return HEAD_BLOCKED;
	return apply_head(device, head, role, is_first);
}

static bool
is_delayed(const QueuedDelta *head)
{
	int64		delay;

	if (head->attempts == 0)
		return false;
	delay = sync_queue_retry_delay * INT64CONST(1000) <<
		Min(head->attempts - 1, MAX_DOUBLINGS);
	return GetCurrentTimestamp() < head->tried_at + delay;
}

static HeadResult
apply_head(const SyncDevice *device, const QueuedDelta *head, Oid role,
		   bool is_first)
{
	MemoryContext oldcontext = CurrentMemoryContext;
	ResourceOwner oldowner = CurrentResourceOwner;
	ErrorData  *volatile error = NULL;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(oldcontext);
	PG_TRY();
	{
		ApplyResult result;
		OtherRole	saved;

		other_role_become(&saved, role, is_first ? NULL : QUEUE_LOCK_TIMEOUT);
		apply_push(head->delta, true, &result);
		other_role_restore(&saved);
		queue_answer(&head->id, &result.reconciliation, &result);
		ReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(oldcontext);
		error = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
		write_set_clear();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(oldcontext);
	CurrentResourceOwner = oldowner;

	if (error == NULL)
		return HEAD_ANSWERED;
	if (is_for_caller(error))
		ReThrowError(error);
	return judge_failure(device, head, error, is_first);
}

/*
 * What a lock or a concurrent transaction is to blame for says nothing about the delta; nor
 * what is withheld from a role whose rights are lent, or that others before it
 * took the time there was.
 */
static HeadResult
judge_failure(const SyncDevice *device, const QueuedDelta *head, ErrorData *error,
			  bool is_first)
{
	if (error->sqlerrcode == ERRCODE_LOCK_NOT_AVAILABLE ||
		ERRCODE_TO_CATEGORY(error->sqlerrcode) == ERRCODE_TRANSACTION_ROLLBACK)
		return HEAD_BLOCKED;
	if (is_timeout(error) && !is_first)
		return HEAD_OUT_OF_TIME;
	if (other_role_was_restricted(error))
	{
		(void) queue_note_failure(&head->id, error, false);
		return HEAD_BLOCKED;
	}
	if (queue_note_failure(&head->id, error, true))
		ereport(LOG,
				(errmsg("submission \"%s\" of device \"%s\" is quarantined: %s",
						device_row_uuid_text(&head->id),
						device_row_uuid_text(&device->uuid), error->message)));
	return is_timeout(error) ? HEAD_OUT_OF_TIME : HEAD_FAILED;
}

/*
 * A request to cancel is for whoever called.  The time that a statement may take is not, or
 * a delta that takes longer would stop everything for ever.  Code in SQL may raise the same
 * code, but not the same untranslated text.
 */
static bool
is_for_caller(const ErrorData *error)
{
	return error->elevel != ERROR ||
		is_cancel(error, "canceling statement due to user request");
}

static bool
is_timeout(const ErrorData *error)
{
	return is_cancel(error, "canceling statement due to statement timeout");
}

static bool
is_cancel(const ErrorData *error, const char *why)
{
	return error->sqlerrcode == ERRCODE_QUERY_CANCELED &&
		error->message_id != NULL && strcmp(error->message_id, why) == 0;
}
