/*-------------------------------------------------------------------------
 *
 * apply.c
 *	  sync_apply_delta: merge one delta of a device into the tables.
 *
 * The device's row is locked first, so pushes of one device follow each other.
 * New changes are tried as one batch in one subtransaction; an error undoes the
 * batch and it is split in halves, down to the single change (or group), whose
 * error becomes its outcome.  So a clean delta costs one subtransaction, and k
 * bad changes of n cost about k log n of them.
 *
 * Nothing that a caller could set decides who he is: the device is in the
 * delta, the role is the current user, and the scopes are in the tables.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#ifdef __GLIBC__
#include <malloc.h>
#endif

#include "access/htup_details.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "audit/journal.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "guard/other_role.h"
#include "log/node.h"
#include "log/write_set.h"
#include "merge/apply.h"
#include "miscadmin.h"
#include "offline_sync.h"
#include "registry/table_version.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/inval.h"
#include "utils/json.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"
#include "utils/resowner.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#define APPLY_RESULT_COLUMNS	12

/* see keep_freed_memory(): a delta of so many changes, and bytes */
#define KEEP_MEMORY_FROM		100
#define KEPT_MEMORY				(16 * 1024 * 1024)

PG_FUNCTION_INFO_V1(sync_apply_delta);

/* ---- backend-local state ---- */

bool		apply_in_progress = false;

static TupleDesc kept_desc = NULL;	/* of the answers of ... */
static Oid	kept_desc_function = InvalidOid;	/* ... this function; or NULL */

static void keep_freed_memory(const DeltaHeader *header);
static void apply_delta(ApplyState *state, ApplyResult *result);
static bool apply_known(ApplyState *state, ApplyResult *result,
						StringInfo outcomes);
static bool is_same_change(ApplyState *state, DeltaChange *change,
						   const JournalRow *stored,
						   const DeltaReader *stored_reader,
						   const DeltaChange *stored_change);
static void load_changes(ApplyState *state);
static void lift_clocks(ApplyState *state);
static void recall_known(ApplyState *state, int nknown);
static void form_units(ApplyState *state);
static void apply_halves(ApplyState *state, int first, int last);
static void apply_units(ApplyState *state, int first, int last);
static bool try_units(ApplyState *state, int first, int last, ErrorData **error);
static void forget_met(ApplyChange *change);
static bool run_batch(ApplyState *state, int from, int to, bool only_lock,
					  ErrorData **error);
static void run_segments(ApplyState *state, int from, int to);
static bool has_changes(ApplyState *state, int from, int to);
static void keep_scopes(ApplyState *state, int from, int to);
static void refuse_unit(ApplyState *state, int unit, const ErrorData *edata);
static void finish(ApplyState *state, ApplyResult *result, StringInfo outcomes);
static void record_shadow(ConflictRow *row, const ApplyConflict *conflict);
static const char *decision_name(CellVerdict decision);
static Jsonb *json_or_null(const char *text);
static void append_known_outcomes(StringInfo buf, Jsonb *outcomes, int64 from,
								  int64 to);
static void not_all_told(ApplyState *state, const ApplyResult *result);
static TupleDesc result_desc(FunctionCallInfo fcinfo);
static void forget_result_desc(Datum arg, int cacheid, uint32 hashvalue);
static Datum result_tuple(FunctionCallInfo fcinfo, const ApplyResult *result);

/*
 * sync_apply_delta(delta) -> one row
 *
 * The device named in the delta must have the current user as a member of its
 * owner role.
 */
Datum
sync_apply_delta(PG_FUNCTION_ARGS)
{
	ApplyResult result;

	PreventCommandIfReadOnly("sync_apply_delta()");
	PreventCommandDuringRecovery("sync_apply_delta()");

	/* announcements in the write set and kept plans are for one at a time */
	if (apply_in_progress)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_IN_USE),
				 errmsg("sync_apply_delta() cannot be called by what it sets off")));
	apply_push(PG_GETARG_DELTA_P(0), false, &result);
	return result_tuple(fcinfo, &result);
}

/*
 * What a push frees the C library gives back to the system at once, and the next one
 * gets it again page by page, each with a fault: a twentieth of its time.  A backend
 * that applies more than small deltas rather keeps some of it.
 */
static void
keep_freed_memory(const DeltaHeader *header)
{
#ifdef __GLIBC__
	static bool is_done = false;

	if (is_done || header->nchanges < KEEP_MEMORY_FROM)
		return;
	(void) mallopt(M_MMAP_THRESHOLD, KEPT_MEMORY);
	(void) mallopt(M_TRIM_THRESHOLD, KEPT_MEMORY);
	is_done = true;
#endif
}

void
apply_push(DeltaData *delta, bool is_queued, ApplyResult *result)
{
	ApplyState	state;
	MemoryContext oldcontext;

	memset(&state, 0, sizeof(state));
	memset(result, 0, sizeof(*result));
	state.delta = delta;
	state.is_queued = is_queued;
	state.failed_change = -1;
	apply_make_contexts(&state);
	oldcontext = MemoryContextSwitchTo(state.context);
	delta_reader_init(&state.reader, delta);
	apply_check_pushed(&state.reader.header);
	keep_freed_memory(&state.reader.header);
	if (!is_queued && apply_flooded(&state, result))
	{
		MemoryContextSwitchTo(oldcontext);
		return;
	}
	state.device = sync_device_get(&state.reader.header.replica, true);

	/* what we acknowledge is durable, whatever synchronous_commit says */
	if (sync_durable_acks)
		ForceSyncCommit();

	PG_TRY();
	{
		apply_in_progress = true;
		apply_delta(&state, result);
		if (apply_retry_noted() > 0)
			not_all_told(&state, result);
	}
	PG_FINALLY();
	{
		apply_in_progress = false;
	}
	PG_END_TRY();

	MemoryContextSwitchTo(oldcontext);
}

void
apply_make_contexts(ApplyState *state)
{
	state->context = AllocSetContextCreate(CurrentMemoryContext,
										   "offline_sync apply",
										   ALLOCSET_DEFAULT_SIZES);
	state->batch_context = AllocSetContextCreate(state->context,
												 "offline_sync batch",
												 ALLOCSET_DEFAULT_SIZES);
	state->scratch = AllocSetContextCreate(state->context,
										   "offline_sync value",
										   ALLOCSET_DEFAULT_SIZES);
	bump_init(&state->bump, state->context);
	bump_init(&state->batch_bump, state->batch_context);
}

void
apply_check_pushed(const DeltaHeader *header)
{
	if (header->is_served)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("delta was served by a node, not made by a device"),
				 errhint("Push the device's own changes, without \"from\" and \"to\".")));
}

static void
apply_delta(ApplyState *state, ApplyResult *result)
{
	StringInfoData outcomes;

	initStringInfo(&outcomes);
	journal_new_id(&result->reconciliation);
	state->reconciliation = &result->reconciliation;
	result->acked_seq = state->device->acked_seq;
	result->hlc = state->began = sync_clock_now();
	state->may_defer = sync_pending_timeout > 0;
	if (apply_guarded(state, result))
		return;
	apply_begin(state);

	/* what is sent again, or nothing, may find that a parent has arrived */
	if (state->last_seq <= state->device->acked_seq &&
		!state->device->is_revoked)
		(void) apply_retry_own(state);
	if (state->reader.header.nchanges == 0)
	{
		result->status = "applied";
		result->outcomes = apply_json_array("");
		return;
	}
	apply_note_waiting(state);

	if (apply_refused(state, result))
		return;
	if (apply_known(state, result, &outcomes))
		return;

	lift_clocks(state);
	form_units(state);
	apply_resolve(state);
	apply_fall_together(state);
	apply_check_earlier(state);
	state->may_set_aside = state->may_defer;
	apply_all(state);
	state->may_set_aside = false;
	apply_settle_deferred(state);
	finish(state, result, &outcomes);
}

void
apply_begin(ApplyState *state)
{
	HASHCTL		ctl;

	state->scopes = sync_scope_set(&state->device->uuid);
	if (state->delta != NULL)
	{
		state->seen = state->reader.header.context;
		state->seen_own_seq = vv_max_counter(state->seen, &state->device->uuid);
		state->last_seq = state->reader.header.first_seq +
			state->reader.header.nchanges - 1;
	}

	ctl.keysize = sizeof(RowRef);
	ctl.entrysize = sizeof(TouchedRow);
	ctl.hash = apply_row_hash;
	ctl.match = apply_row_match;
	ctl.hcxt = state->context;
	/* it is looked through from end to end, so a small delta's is small */
	state->touched = hash_create("offline_sync touched rows",
								 Min(Max(state->reader.header.nchanges, 16), 256), &ctl,
								 HASH_ELEM | HASH_FUNCTION | HASH_COMPARE |
								 HASH_CONTEXT);

	state->node = sync_node_uuid();
	if (state->reader.header.nchanges == 0 && state->device->nwaiting == 0)
		return;
	state->node_id = sync_node_id();
	state->xid = U64FromFullTransactionId(GetTopFullTransactionId());
}

/*
 * The part of the delta that is stored already: it must say the same as what is
 * stored.  Loads all changes; leaves the new ones in state->changes.  True
 * where nothing is new, or the delta is refused: the answer is complete.
 */
static bool
apply_known(ApplyState *state, ApplyResult *result, StringInfo outcomes)
{
	int64		first = state->reader.header.first_seq;
	int64		acked = state->device->acked_seq;
	int			nknown;
	JournalRow *stored = NULL;
	DeltaReader stored_reader;
	DeltaChange stored_change;
	Snapshot	snapshot;

	load_changes(state);
	nknown = (int) Min(Max(acked - first + 1, 0), state->nchanges);
	if (nknown == 0)
		return false;

	snapshot = RegisterSnapshot(GetLatestSnapshot());
	for (int i = 0; i < nknown; i++)
	{
		int64		seq = first + i;
		bool		same = true;

		if (stored == NULL || seq > stored->last_seq)
		{
			stored = journal_find(&state->device->uuid, seq, snapshot);
			if (stored != NULL)
			{
				append_known_outcomes(outcomes, stored->outcomes,
									  Max(first, stored->first_seq),
									  Min(state->last_seq, stored->last_seq));
				delta_reader_init(&stored_reader, stored->delta);
				memset(&stored_change, 0, sizeof(stored_change));
			}
		}
		if (stored == NULL || seq < stored->first_seq)
			continue;			/* no longer in the journal */
		while (stored_change.seq < seq && same)
			same = delta_reader_next(&stored_reader, &stored_change);
		if (!same || stored_change.seq != seq ||
			!is_same_change(state, &state->changes[i].delta, stored,
							&stored_reader, &stored_change))
		{
			UnregisterSnapshot(snapshot);
			apply_refuse_delta(state, result, "rejected", "seq_reused",
							   ERRCODE_UNIQUE_VIOLATION,
							   psprintf("seq " INT64_FORMAT " was already used for another change",
										seq), 0);
			return true;
		}
		result->reconciliation = stored->reconciliation;

		/* the answer has no more of what its handler wrote */
		if (state->changes[i].delta.kind == DELTA_CHANGE_INTENT && stored->is_told)
		{
			journal_set_untold(stored);
			stored->is_told = false;
		}
	}
	UnregisterSnapshot(snapshot);

	recall_known(state, nknown);
	if (nknown < state->nchanges)
	{
		/* the new tail is a reconciliation of its own */
		journal_new_id(&result->reconciliation);
		state->changes += nknown;
		state->nchanges -= nknown;
		return false;
	}

	/* nothing is new: the same answer again, with values as of now */
	result->status = "duplicate";
	result->outcomes = apply_json_array(outcomes->data);
	SPI_connect();
	result->corrections = apply_corrections(state);
	SPI_finish();
	return true;
}

/* Does a change say what is stored of it, or what is left of that? */
static bool
is_same_change(ApplyState *state, DeltaChange *change,
			   const JournalRow *stored, const DeltaReader *stored_reader,
			   const DeltaChange *stored_change)
{
	delta_reader_again(&state->reader, change);
	return delta_same_change(&state->reader, change, stored_reader, stored_change) ||
		(journal_is_purged(stored, change->seq) &&
		 delta_same_stripped(&state->reader, change, stored_reader, stored_change));
}

/*
 * The device sends again what is stored already, so it may not have had the answer:
 * it is told the rows concerned as they are now, whole.
 */
static void
recall_known(ApplyState *state, int nknown)
{
	int			nchanges = state->nchanges;

	state->nchanges = nknown;
	form_units(state);
	apply_resolve(state);
	for (int i = 0; i < nknown; i++)
		apply_recall_change(state, &state->changes[i]);
	apply_note_deletions(state);
	state->nchanges = nchanges;
}

static void
load_changes(ApplyState *state)
{
	state->nchanges = state->reader.header.nchanges;
	state->changes = palloc_extended(state->nchanges * sizeof(ApplyChange),
									 MCXT_ALLOC_ZERO | MCXT_ALLOC_HUGE);
	for (int i = 0; i < state->nchanges; i++)
	{
		DeltaChange *change = &state->changes[i].delta;

		CHECK_FOR_INTERRUPTS();
		if (!delta_reader_skip(&state->reader, change))
			elog(ERROR, "delta ends before its last change");
	}
	apply_begin_names(state);
}

void
apply_begin_names(ApplyState *state)
{
	state->tables = palloc0(Max(state->reader.ntables, 1) * sizeof(SyncTable *));
	state->tables_resolved = palloc0(Max(state->reader.ntables, 1) * sizeof(bool));
	state->columns = palloc0(Max(state->reader.ntables, 1) * sizeof(int *));
}

/*
 * Make clocks agree with causality: each hlc becomes the greatest of its own,
 * the successor of the highest that the device had received, and the successor of
 * its previous change's.  A clock too far ahead is first pulled back.
 */
static void
lift_clocks(ApplyState *state)
{
	uint64		limit_ms;
	Hlc			limit;
	Hlc			received = state->reader.header.hlc;
	Hlc			previous = state->device->hlc;

	limit_ms = HLC_MS(hlc_from_timestamptz(GetCurrentTimestamp(), 0)) +
		sync_max_clock_skew;
	limit = HLC_MAKE(Min(limit_ms, HLC_MAX_MS), 0);
	received = Min(received, limit);

	for (int i = 0; i < state->nchanges; i++)
	{
		ApplyChange *change = &state->changes[i];

		change->hlc = Min(change->delta.hlc, limit);
		change->clock_was_ahead = change->delta.hlc > limit;
		if (received != HLC_MIN)
			change->hlc = Max(change->hlc, hlc_successor(received));
		change->hlc = Max(change->hlc, hlc_successor(previous));
		previous = change->hlc;
	}
	state->last_hlc = previous;
}

/* A unit is a change, or the consecutive changes of one group. */
static void
form_units(ApplyState *state)
{
	state->unit_start = palloc((Size) (state->nchanges + 1) * sizeof(int));
	state->nunits = 0;
	for (int i = 0; i < state->nchanges; i++)
	{
		DeltaChange *change = &state->changes[i].delta;

		if (i == 0 || change->group == 0 ||
			change->group != state->changes[i - 1].delta.group)
			state->unit_start[state->nunits++] = i;
		state->changes[i].unit = state->nunits - 1;
	}
	state->unit_start[state->nunits] = state->nchanges;
}

void
apply_fall_together(ApplyState *state)
{
	for (int unit = 0; unit < state->nunits; unit++)
	{
		int			last = state->unit_start[unit + 1];
		bool		refused = false;

		for (int i = state->unit_start[unit]; i < last; i++)
			refused |= state->changes[i].is_refused;
		for (int i = state->unit_start[unit]; refused && i < last; i++)
		{
			if (!state->changes[i].is_refused)
				apply_refuse(&state->changes[i], "group",
							 ERRCODE_TRIGGERED_ACTION_EXCEPTION,
							 "another change of the group was refused", NULL);
		}
	}
}

/*
 * Try it as a whole.  Where that fails, all rows are locked again, and for good,
 * before parts are tried: each locks its rows in order, but not all of them do.
 */
void
apply_all(ApplyState *state)
{
	ErrorData  *error;
	ErrorData  *failed;
	bool		met_race;

	if (try_units(state, 0, state->nunits, &error))
		return;
	met_race = state->met_race;
	if (state->nunits == 1 && !met_race)
	{
		refuse_unit(state, 0, error);
		return;
	}
	failed = error;
	(void) run_batch(state, 0, state->nchanges, true, &error);
	if (!met_race && apply_set_aside(state, failed) &&
		try_units(state, 0, state->nunits, &error))
		return;
	if (met_race)
		apply_units(state, 0, state->nunits);
	else
		apply_halves(state, 0, state->nunits);
}

/* Apply units first .. last - 1, splitting where it fails. */
static void
apply_units(ApplyState *state, int first, int last)
{
	ErrorData  *error;

	if (first >= last)
		return;
	check_stack_depth();
	if (try_units(state, first, last, &error))
		return;

	/* somebody inserted a row that we had looked for: now it will be found */
	if (state->met_race && try_units(state, first, last, &error))
		return;

	if (last - first == 1)
	{
		refuse_unit(state, first, error);
		return;
	}
	apply_halves(state, first, last);
}

static void
apply_halves(ApplyState *state, int first, int last)
{
	int			middle = first + (last - first) / 2;

	apply_units(state, first, middle);
	apply_units(state, middle, last);
}

static bool
try_units(ApplyState *state, int first, int last, ErrorData **error)
{
	int			from = state->unit_start[first];
	int			to = state->unit_start[last];
	bool		any = false;

	if (state->waiting != NULL || state->is_disturbed)
		apply_hold_back(state, first, last);
	for (int i = from; i < to; i++)
	{
		ApplyChange *change = &state->changes[i];

		if (change->is_refused)
			continue;
		any = true;
		change->outcome = OUTCOME_NONE;
		change->reason = change->message = change->scope = NULL;
		change->column = NULL;
		change->sqlstate = 0;
		forget_met(change);
	}
	return !any || run_batch(state, from, to, false, error);
}

/* Forget what a change met in an attempt that failed. */
static void
forget_met(ApplyChange *change)
{
	ListCell   *lc;

	foreach(lc, change->conflicts)
	{
		ApplyConflict *conflict = lfirst(lc);

		if (conflict->current_json != NULL)
			pfree(conflict->current_json);
		if (conflict->incoming_json != NULL)
			pfree(conflict->incoming_json);
	}
	list_free_deep(change->conflicts);
	change->conflicts = NIL;
	if (change->previous != NULL)
		pfree(change->previous);
	if (change->previous_stamps != NULL)
		pfree(change->previous_stamps);
	change->previous = change->previous_stamps = NULL;
}

/*
 * Apply changes from .. to - 1 in a subtransaction, or only lock their rows.  False:
 * an error that is about the content has undone it.
 */
static bool
run_batch(ApplyState *state, int from, int to, bool only_lock,
		  ErrorData **error)
{
	MemoryContext oldcontext = CurrentMemoryContext;
	ResourceOwner oldowner = CurrentResourceOwner;
	Hlc			intents_began = state->intents_began;
	Size		result_bytes = state->result_bytes;
	Size		noted_bytes = state->noted_bytes;
	volatile bool success = true;

	MemoryContextReset(state->batch_context);
	bump_reset(&state->batch_bump);
	state->custom_calls = NIL;
	state->stale_rows = state->reread_rows = NIL;
	state->failed_change = -1;
	state->segment = from;
	state->met_race = false;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(state->batch_context);
	PG_TRY();
	{
		SPI_connect();
		MemoryContextSwitchTo(state->batch_context);
		if (only_lock)
		{
			apply_read_rows(state, from, to);
			apply_close_tables(state);
		}
		else
		{
			run_segments(state, from, to);
			keep_scopes(state, from, to);
		}
		SPI_finish();
		ReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		write_set_watch(NULL, NULL);
		MemoryContextSwitchTo(state->context);
		*error = CopyErrorData();
		FlushErrorState();
		state->opened = NIL;
		keep_scopes(state, from, to);	/* of memory that goes now */
		RollbackAndReleaseCurrentSubTransaction();
		write_set_clear();
		if (state->inserting != NULL)
			state->met_race |= row_direct_is_key_violation(state->inserting,
														   *error);
		state->inserting = NULL;
		state->intents_began = intents_began;
		state->result_bytes = result_bytes;
		state->noted_bytes = noted_bytes;
		if (!apply_error_is_outcome(*error) ||
			(state->is_queued && other_role_was_restricted(*error)))
		{
			if (!state->is_guest || !apply_error_is_guests(*error))
				ReThrowError(*error);
			state->is_disturbed = true;
		}
		success = false;
	}
	PG_END_TRY();
	MemoryContextSwitchTo(oldcontext);
	CurrentResourceOwner = oldowner;
	return success;
}

/*
 * An intent is a barrier: what stands before it is written when its handler runs,
 * and what comes after it reads its rows anew.  All rows are locked first all the
 * same, in order.
 */
static void
run_segments(ApplyState *state, int from, int to)
{
	List	   *rows = NIL;
	ListCell   *lc;
	int			first = from;
	int			intent = to;

	if (state->has_intents)
		intent = apply_next_intent(state, from, to);
	if (intent < to && has_changes(state, intent, to))
	{
		apply_read_rows(state, from, to);
		apply_close_tables(state);
	}
	for (;;)
	{
		state->segment = from;
		if (from < intent)
		{
			apply_read_rows(state, from, intent);
			apply_watch_side_writes(state);
			apply_decide(state, from, intent);
			write_set_watch(NULL, NULL);
			apply_close_tables(state);
			rows = lappend(rows, state->rows);
		}
		if (intent == to)
			break;
		apply_call_intent(state, intent);
		from = intent + 1;
		intent = apply_next_intent(state, from, to);
	}

	apply_check_constraints(state, first, to);

	/* once nothing can fail any more */
	foreach(lc, rows)
	{
		state->rows = lfirst(lc);
		apply_remember_rows(state, first, to);
	}
}

/* Are any of these changes about rows? */
static bool
has_changes(ApplyState *state, int from, int to)
{
	for (int i = from; i < to; i++)
	{
		if (!state->changes[i].is_refused && state->changes[i].table != NULL)
			return true;
	}
	return false;
}

/* The scopes that the decisions noted are in the batch's memory: copy them. */
static void
keep_scopes(ApplyState *state, int from, int to)
{
	const char *last = NULL;

	for (int i = from; i < to; i++)
	{
		ApplyChange *change = &state->changes[i];

		if (change->is_refused || change->scope == NULL)
			continue;
		if (last == NULL || strcmp(change->scope, last) != 0)
			last = MemoryContextStrdup(state->context, change->scope);
		change->scope = last;
	}
}

/* A unit by itself failed: its changes are refused, one of them with the error. */
static void
refuse_unit(ApplyState *state, int unit, const ErrorData *edata)
{
	int			first = state->unit_start[unit];
	int			last = state->unit_start[unit + 1];
	int			culprit = state->failed_change >= 0 ? state->failed_change :
	Max(first, Min(state->segment, last - 1));

	if (apply_defer_failed(state, unit, edata))
		return;
	for (int i = first; i < last; i++)
	{
		ApplyChange *change = &state->changes[i];
		const char *reason = change->reason;

		change->conflicts = NIL;
		if (i != culprit)
		{
			apply_refuse(change, "group", ERRCODE_TRIGGERED_ACTION_EXCEPTION,
						 "another change of the group was refused", NULL);
			continue;
		}
		apply_refuse_error(change, edata);
		if (i == state->failed_change && reason != NULL)
			change->reason = reason;
	}
}

/* Count, correct, and keep what happened. */
static void
finish(ApplyState *state, ApplyResult *result, StringInfo outcomes)
{
	StringInfoData details;
	int64		first_seq = state->changes[0].delta.seq;

	initStringInfo(&details);
	apply_store_deferred(state);

	/* nothing needs the rows as they were decided any more */
	state->rows = NULL;
	MemoryContextReset(state->batch_context);
	bump_reset(&state->batch_bump);

	for (int i = 0; i < state->nchanges; i++)
	{
		ApplyChange *change = &state->changes[i];

		CHECK_FOR_INTERRUPTS();
		result->counts[change->outcome]++;
		result->nconflicts += list_length(change->conflicts);
		if (change->outcome == OUTCOME_REJECTED)
			apply_remember_change(state, change);
		apply_append_outcome(state, outcomes, change);
		apply_append_detail(state, &details, change);
	}

	apply_note_deletions(state);
	apply_tell_intents(state);

	SPI_connect();
	MemoryContextSwitchTo(state->context);
	apply_log_touched(state);
	result->corrections = apply_corrections(state);
	SPI_finish();
	MemoryContextSwitchTo(state->context);

	result->status = result->counts[OUTCOME_REJECTED] > 0 ||
		result->counts[OUTCOME_DEFERRED] > 0 ? "partial" : "applied";
	result->acked_seq = state->last_seq;
	result->hlc = Max(result->hlc, state->last_hlc);
	result->outcomes = apply_json_array(outcomes->data);

	if (state->reader.header.schema_version != 0)
		state->device->schema_version = state->reader.header.schema_version;
	sync_device_advance(state->device, state->last_seq, state->last_hlc);
	if (result->nconflicts > 0)
		apply_record_conflicts(state, result->nconflicts);
	apply_record(state, result, state->delta, first_seq, state->last_seq,
				 details.data);
}

void
apply_record(ApplyState *state, ApplyResult *result, const DeltaData *delta,
			 int64 first_seq, int64 last_seq, const char *details)
{
	JournalRow	row;

	row.reconciliation = result->reconciliation;
	row.device = state->device->uuid;
	row.first_seq = first_seq;
	row.last_seq = last_seq;
	row.node = state->node_id;
	row.xid = state->xid;
	row.received_at = GetCurrentTimestamp();
	row.role = GetUserNameFromId(GetUserId(), false);
	row.status = unconstify(char *, result->status);
	row.delta = unconstify(DeltaData *, delta);
	row.outcomes = result->outcomes;
	row.details = apply_json_array(details);
	row.is_told = !state->is_untold && !apply_side_is_untold(state);
	row.began = state->began;
	row.ended = Max(sync_clock_now(), state->last_node_hlc);
	row.schema_version = apply_stored_version(state);
	journal_insert(&row);
}

void
apply_record_conflicts(ApplyState *state, int nconflicts)
{
	ConflictRow *rows = palloc0(nconflicts * sizeof(ConflictRow));
	int			n = 0;
	TimestampTz now = GetCurrentTimestamp();

	for (int i = 0; i < state->nchanges; i++)
	{
		ApplyChange *change = &state->changes[i];
		ListCell   *lc;

		foreach(lc, change->conflicts)
		{
			ApplyConflict *conflict = lfirst(lc);
			ConflictRow *row = &rows[n++];

			row->reconciliation = *state->reconciliation;
			row->device = state->device->uuid;
			row->seq = change->delta.seq;
			row->scope = change->scope;
			row->table_id = change->table->table_id;
			row->key = change->ref.key_bytes;
			row->keylen = change->ref.key_len;
			row->column_id = conflict->column < 0 ? 0 :
				change->table->columns[conflict->column].column_id;
			row->policy = conflict->policy;
			row->decision = decision_name(conflict->decision);
			row->state = conflict->is_open ? "open" : "auto";
			row->current_value = json_or_null(conflict->current_json);
			row->incoming_value = json_or_null(conflict->incoming_json);
			row->current_hlc = conflict->current.hlc;
			row->current_replica = conflict->current.replica;
			row->incoming_hlc = change->hlc;
			row->incoming_replica = state->device->uuid;
			row->detected_at = now;
			if (conflict->shadow != NULL)
				record_shadow(row, conflict);
		}
	}
	conflict_insert(rows, n);
}

static void
record_shadow(ConflictRow *row, const ApplyConflict *conflict)
{
	row->shadow_step = conflict->shadow->step;
	row->shadow_policy = sync_policy_name(conflict->shadow->rule.policy);
	if (conflict->shadow_error == NULL)
		row->shadow_decision = decision_name(conflict->shadow_decision);
	row->shadow_value = json_or_null(conflict->shadow_json);
	row->shadow_error = conflict->shadow_error;
	row->shadow_is_same = conflict->shadow_is_same;
}

static const char *
decision_name(CellVerdict decision)
{
	return decision == CELL_INCOMING ? "incoming" :
		decision == CELL_CURRENT ? "current" : "merged";
}

static Jsonb *
json_or_null(const char *text)
{
	if (text == NULL)
		return NULL;
	return DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(text)));
}

/* What other devices' changes, which had waited, wrote in this transaction is not in
 * the answer. */
static void
not_all_told(ApplyState *state, const ApplyResult *result)
{
	JournalRow	row;

	if (state->nchanges == 0 || result->acked_seq < state->last_seq ||
		strcmp(result->status, "duplicate") == 0)
		return;
	row.device = state->device->uuid;
	row.last_seq = state->last_seq;
	journal_set_untold(&row);
}

/* Of stored outcomes, those with from <= seq <= to, as members of an array. */
static void
append_known_outcomes(StringInfo buf, Jsonb *outcomes, int64 from, int64 to)
{
	JsonbIterator *it;
	JsonbValue	value;
	JsonbIteratorToken token;

	it = JsonbIteratorInit(&outcomes->root);
	while ((token = JsonbIteratorNext(&it, &value, true)) != WJB_DONE)
	{
		JsonbValue *seq;
		int64		n;

		if (token != WJB_ELEM || value.type != jbvBinary)
			continue;
		seq = getKeyJsonValueFromContainer(value.val.binary.data, "seq", 3, NULL);
		if (seq == NULL || seq->type != jbvNumeric)
			continue;
		n = DatumGetInt64(DirectFunctionCall1(numeric_int8,
											  NumericGetDatum(seq->val.numeric)));
		if (n < from || n > to)
			continue;
		if (buf->len > 0)
			appendStringInfoChar(buf, ',');
		(void) JsonbToCString(buf, value.val.binary.data, value.val.binary.len);
	}
}

Jsonb *
apply_json_array(const char *members)
{
	char	   *text = psprintf("[%s]", members);

	return DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(text)));
}

/*
 * The row type of the answer.  To make it takes longer than to read a small delta, so
 * it is kept as long as functions stay the same.
 */
static TupleDesc
result_desc(FunctionCallInfo fcinfo)
{
	static bool is_initialized = false;
	MemoryContext oldcontext;
	TupleDesc	desc;

	if (kept_desc != NULL && kept_desc_function == fcinfo->flinfo->fn_oid)
		return kept_desc;
	if (!is_initialized)
	{
		CacheRegisterSyscacheCallback(PROCOID, forget_result_desc, (Datum) 0);
		is_initialized = true;
	}
	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	BlessTupleDesc(desc);
	oldcontext = MemoryContextSwitchTo(CacheMemoryContext);
	kept_desc = CreateTupleDescCopy(desc);
	MemoryContextSwitchTo(oldcontext);
	kept_desc_function = fcinfo->flinfo->fn_oid;
	return kept_desc;
}

static void
forget_result_desc(Datum arg, int cacheid, uint32 hashvalue)
{
	if (kept_desc != NULL)
		FreeTupleDesc(kept_desc);
	kept_desc = NULL;
}

static Datum
result_tuple(FunctionCallInfo fcinfo, const ApplyResult *result)
{
	TupleDesc	desc = result_desc(fcinfo);
	Datum		values[APPLY_RESULT_COLUMNS];
	bool		isnull[APPLY_RESULT_COLUMNS] = {false};
	int			n = 0;

	Assert(desc->natts == APPLY_RESULT_COLUMNS);

	values[n++] = UUIDPGetDatum(&result->reconciliation);
	values[n++] = CStringGetTextDatum(result->status);
	values[n++] = Int64GetDatum(result->acked_seq);
	values[n++] = Int32GetDatum(result->counts[OUTCOME_APPLIED]);
	values[n++] = Int32GetDatum(result->counts[OUTCOME_MERGED]);
	values[n++] = Int32GetDatum(result->counts[OUTCOME_SUPERSEDED]);
	values[n++] = Int32GetDatum(result->counts[OUTCOME_REJECTED]);
	values[n++] = Int32GetDatum(result->counts[OUTCOME_DEFERRED]);
	values[n++] = Int32GetDatum(result->nconflicts);
	values[n++] = JsonbPGetDatum(result->outcomes);
	isnull[n] = result->corrections == NULL;
	values[n++] = PointerGetDatum(result->corrections);
	values[n++] = HlcGetDatum(result->hlc);
	Assert(n == desc->natts);

	return HeapTupleGetDatum(heap_form_tuple(desc, values, isnull));
}
