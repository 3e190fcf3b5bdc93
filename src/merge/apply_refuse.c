/*-------------------------------------------------------------------------
 *
 * apply_refuse.c
 *	  Deltas that are refused as a whole, and what is kept of them.
 *
 * The device's rate is looked at first, so that everything else costs it something; then
 * whether the delta is what the device wrote; only then what it says.  Whoever pushes
 * too fast is told so by a look at two rows, without a lock or a write, as long as the
 * journal has said so within the minute.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "audit/refusal.h"
#include "guard/rate.h"
#include "guard/signature.h"
#include "merge/apply.h"
#include "offline_sync.h"
#include "utils/json.h"
#include "utils/timestamp.h"

#define RATE_LIMITED	"rate_limited"

static void set_refusal(ApplyResult *result, const char *status,
						const char *reason, int sqlstate, const char *message,
						int64 wait, int64 nrepeated, const DeltaData *kept);

bool
apply_flooded(ApplyState *state, ApplyResult *result)
{
	int			nchanges = state->reader.header.nchanges;
	SyncDevice *device;
	int64		wait;

	if (sync_device_rate == 0)
		return false;
	device = sync_device_get(&state->reader.header.replica, false);
	wait = rate_wait(device, nchanges);
	if (wait == 0 ||
		!refusal_is_known(&device->uuid, RATE_LIMITED, &result->reconciliation))
		return false;
	result->acked_seq = device->acked_seq;
	result->hlc = sync_clock_now();
	set_refusal(result, "rejected", RATE_LIMITED,
				ERRCODE_CONFIGURATION_LIMIT_EXCEEDED,
				rate_message(nchanges, wait), wait, 0, NULL);
	return true;
}

bool
apply_guarded(ApplyState *state, ApplyResult *result)
{
	const DeltaHeader *header = &state->reader.header;
	int64		wait = 0;
	SealProblem problem;

	if (!state->is_queued)
		wait = rate_wait(state->device, header->nchanges);
	if (wait > 0)
	{
		apply_refuse_delta(state, result, "rejected", RATE_LIMITED,
						   ERRCODE_CONFIGURATION_LIMIT_EXCEEDED,
						   rate_message(header->nchanges, wait), wait);
		return true;
	}
	if (!state->is_queued)
		rate_take(state->device, header->nchanges);
	if (!signature_check(state->device, state->delta, header, &problem))
	{
		apply_refuse_delta(state, result, "rejected", problem.reason,
						   problem.sqlstate, problem.message, 0);
		return true;
	}
	return false;
}

bool
apply_refused(ApplyState *state, ApplyResult *result)
{
	const DeltaHeader *header = &state->reader.header;

	if (state->device->is_revoked)
	{
		apply_refuse_delta(state, result, "rejected", "device_revoked",
						   ERRCODE_INSUFFICIENT_PRIVILEGE, "device is revoked", 0);
		return true;
	}
	if (header->schema_version > sync_schema_version())
	{
		apply_refuse_delta(state, result, "rejected", "schema_too_new",
						   ERRCODE_FEATURE_NOT_SUPPORTED,
						   psprintf("delta has schema version %d, but this node knows up to %d",
									header->schema_version, sync_schema_version()),
						   0);
		return true;
	}
	if (header->first_seq > state->device->acked_seq + 1)
	{
		apply_refuse_delta(state, result, "gap", "gap",
						   ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
						   psprintf("delta begins at seq " INT64_FORMAT
									", but the next one expected is " INT64_FORMAT,
									header->first_seq,
									state->device->acked_seq + 1), 0);
		return true;
	}
	return false;
}

/*
 * Only some of a flood of refused deltas go into the journal, and of a large one only the
 * beginning.
 */
void
apply_refuse_delta(ApplyState *state, ApplyResult *result, const char *status,
				   const char *reason, int sqlstate, const char *message,
				   int64 wait)
{
	const DeltaData *kept = state->delta;
	int64		nrepeated = 0;
	bool		is_journaled;

	journal_new_id(&result->reconciliation);
	is_journaled = refusal_note(&state->device->uuid, reason,
								&result->reconciliation, &nrepeated);
	/* a revoked device may have been forgotten: nothing that it sends is kept */
	if (state->device->is_revoked)
		kept = delta_empty(&state->device->uuid);
	else if (is_journaled && VARSIZE(kept) > REFUSAL_MAX_KEPT)
		kept = delta_head(kept, REFUSAL_MAX_KEPT);
	set_refusal(result, status, reason, sqlstate, message, wait, nrepeated,
				kept != state->delta ? kept : NULL);
	if (!is_journaled)
		return;

	state->node_id = sync_node_id();
	state->xid = U64FromFullTransactionId(GetTopFullTransactionId());
	apply_record(state, result, kept, 1, 0, "");
}

/* kept: what the journal has of the delta, where that is not all of it. */
static void
set_refusal(ApplyResult *result, const char *status, const char *reason,
			int sqlstate, const char *message, int64 wait, int64 nrepeated,
			const DeltaData *kept)
{
	StringInfoData buf;
	DeltaReader reader;

	initStringInfo(&buf);
	appendStringInfo(&buf, "{\"outcome\":\"%s\",\"reason\":\"%s\",\"sqlstate\":\"%s\",\"message\":",
					 status, reason, unpack_sql_state(sqlstate));
	escape_json(&buf, message);
	if (wait > 0)
		appendStringInfo(&buf, ",\"retry_after\":" INT64_FORMAT,
						 (wait + USECS_PER_SEC - 1) / USECS_PER_SEC);
	if (nrepeated > 0)
		appendStringInfo(&buf, ",\"repeated\":" INT64_FORMAT, nrepeated);
	if (kept != NULL)
	{
		delta_reader_init(&reader, kept);
		appendStringInfo(&buf, ",\"journaled_changes\":%d", reader.header.nchanges);
	}
	appendStringInfoChar(&buf, '}');
	result->status = status;
	result->outcomes = apply_json_array(buf.data);
}
