/*-------------------------------------------------------------------------
 *
 * apply_retry.c
 *	  What waited for a row, tried again.
 *
 * When: with every push of its own device; when a push or a statement wrote the
 * row that it waits for; by sync_retry_pending().  How: as any other change, with
 * the delta that brought it, which is in the journal, and the clock that it got
 * then, at the position of the transaction that tries.  With the rights of the
 * role that pushed it, so only where the present user is that role or may become it.
 *
 * In somebody else's statement (or with somebody else's settings) nothing may go
 * wrong for him, and nothing be decided by accident: devices that are busy are
 * passed over, locks are hardly waited for, and what raises an error goes on
 * waiting.  A security-restricted operation keeps code that runs with the other role's
 * rights from leaving anything behind that would run with his.
 *
 * The end of a change is told to its device by its next pull, from late_change, and
 * replaces what the journal said of it.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "audit/journal.h"
#include "audit/waiting.h"
#include "commands/trigger.h"
#include "fmgr.h"
#include "funcapi.h"
#include "guard/other_role.h"
#include "log/write_set.h"
#include "merge/apply.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/resowner.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

/* changes tried in one go */
#define MAX_TRIES		1000

/* of these, in somebody else's statement: those of which it is not known for
 * which row they wait */
#define MAX_GUESSES		20

/* chains of rows that wait for each other are followed so far */
#define MAX_PASSES		100

/* how long a lock is waited for in somebody else's statement */
#define GUEST_LOCK_TIMEOUT	"1ms"

/* What waits of one device, while it is tried again */
typedef struct Retry
{
	SyncDevice *device;			/* locked */
	bool		is_guest;		/* not by a push of this device */
	WaitingChange *changes;		/* in seq order */
	int			nchanges;
	bool	   *is_due;			/* to be tried in the next pass */
	bool	   *has_ended;
	HTAB	   *blocked;		/* RowRef: rows with earlier changes that wait */
	int			ntries;			/* that may still be made */
	int			napplied;
	int			nrejected;
	int			nexpired;
} Retry;

PG_FUNCTION_INFO_V1(sync_parent_arrived);
PG_FUNCTION_INFO_V1(sync_retry_pending);

static bool retry_as_guest(const pg_uuid_t *uuid, const AwaitedRow *rows,
						   int nrows, Retry *total);
static void retry_device(Retry *retry, const AwaitedRow *rows, int nrows);
static void mark_due(Retry *retry, const AwaitedRow *rows, int nrows,
					 int *guesses);
static int	run_pass(Retry *retry, bool only_expired);
static int	pick_units(Retry *retry, int first, int last, bool only_expired,
					   int *picks);
static int	leave_hopeless(Retry *retry, int *picks, int npicks);
static void find_missing(Retry *retry, const int *picks, int npicks,
						 bool *is_missing);
static bool is_blocked(const Retry *retry, const WaitingChange *change);
static void block_row(Retry *retry, const WaitingChange *change);
static int	retry_delta(Retry *retry, const int *picks, int npicks,
						bool is_expired);
static void load_picked(ApplyState *state, const Retry *retry,
						const int *picks, int npicks);
static const char *refusal(const Retry *retry, Oid role, bool has_delta,
						   bool is_expired, const char **message);
static void try_picked(ApplyState *state, Oid role);
static int	conclude(Retry *retry, ApplyState *state, const int *picks,
					 int npicks, bool is_expired);
static void keep_waiting(Retry *retry, WaitingChange *row,
						 const ApplyChange *change);
static void log_end(const ApplyState *state, const WaitingChange *row,
					const ApplyChange *change);

/* ----------------------------------------------------------------
 * Occasions
 * ---------------------------------------------------------------- */

int
apply_retry_own(ApplyState *state)
{
	Retry		retry = {0};
	MemoryContext oldcontext;

	if (state->device->nwaiting == 0)
		return 0;
	oldcontext = MemoryContextSwitchTo(state->context);
	retry.device = state->device;
	retry.ntries = MAX_TRIES;
	if (!state->has_retried)
		retry_device(&retry, NULL, 0);
	else
	{
		int			nrows;
		AwaitedRow *rows = waiting_noted_since(state->nnoted, &nrows);

		retry_device(&retry, rows, nrows);
	}
	state->has_retried = true;
	state->nnoted = waiting_noted_count();
	MemoryContextSwitchTo(oldcontext);

	/* what that wrote is told by the next pull, not by this answer */
	if (retry.napplied > 0)
		state->is_untold = state->others_wrote = true;
	return retry.napplied + retry.nrejected + retry.nexpired;
}

int
apply_retry_noted(void)
{
	MemoryContext context;
	MemoryContext oldcontext;
	Retry		total = {0};

	if (waiting_noted_count() == 0)
		return 0;

	/* what the push that wrote the rows has just stored may be tried, too */
	CommandCounterIncrement();
	context = AllocSetContextCreate(CurrentMemoryContext, "offline_sync retry",
									ALLOCSET_DEFAULT_SIZES);
	oldcontext = MemoryContextSwitchTo(context);
	total.ntries = MAX_TRIES;

	/* rows that this brings may be waited for, too */
	for (int pass = 0, first = 0; pass < MAX_PASSES; pass++)
	{
		int			nrows;
		AwaitedRow *rows = waiting_noted_since(first, &nrows);
		int			ndevices;
		pg_uuid_t  *devices;

		if (nrows == 0 || total.ntries <= 0)
			break;
		first += nrows;
		rows = memcpy(palloc(nrows * sizeof(AwaitedRow)), rows,
					  nrows * sizeof(AwaitedRow));
		devices = waiting_devices_for(nrows, rows, &ndevices);
		for (int i = 0; i < ndevices && total.ntries > 0; i++)
			(void) retry_as_guest(&devices[i], rows, nrows, &total);
	}
	waiting_forget_noted();
	MemoryContextSwitchTo(oldcontext);
	MemoryContextDelete(context);
	return total.napplied + total.nrejected + total.nexpired;
}

/*
 * Trigger on the tables that others may refer to, after each statement that
 * inserts or updates.
 */
Datum
sync_parent_arrived(PG_FUNCTION_ARGS)
{
	TriggerData *trigdata = (TriggerData *) fcinfo->context;

	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("function \"%s\" was not called by trigger manager",
						"sync_parent_arrived")));
	if (!TRIGGER_FIRED_FOR_STATEMENT(trigdata->tg_event) ||
		!TRIGGER_FIRED_AFTER(trigdata->tg_event))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("function \"%s\" must be fired AFTER STATEMENT",
						"sync_parent_arrived")));

	/* what an apply writes is looked at when that is done */
	if (waiting_noted_count() == 0 || apply_in_progress)
		return PointerGetDatum(NULL);
	PG_TRY();
	{
		apply_in_progress = true;
		(void) apply_retry_noted();
	}
	PG_FINALLY();
	{
		apply_in_progress = false;
	}
	PG_END_TRY();
	return PointerGetDatum(NULL);
}

/*
 * sync_retry_pending(max_changes int) -> applied, rejected, expired, waiting
 */
Datum
sync_retry_pending(PG_FUNCTION_ARGS)
{
	int32		max_changes = PG_GETARG_INT32(0);
	Retry		total = {0};
	TupleDesc	desc;
	Datum		values[4];
	bool		nulls[4] = {false};
	pg_uuid_t  *devices;
	int			ndevices;

	PreventCommandIfReadOnly("sync_retry_pending()");
	PreventCommandDuringRecovery("sync_retry_pending()");
	if (max_changes < 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("max_changes must be at least 1")));
	if (apply_in_progress)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_IN_USE),
				 errmsg("sync_retry_pending() cannot be called by what a push sets off")));
	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	BlessTupleDesc(desc);

	total.ntries = max_changes;
	PG_TRY();
	{
		apply_in_progress = true;
		devices = waiting_devices(&ndevices);
		for (int i = 0; i < ndevices && total.ntries > 0; i++)
			(void) retry_as_guest(&devices[i], NULL, 0, &total);
		(void) apply_retry_noted();
	}
	PG_FINALLY();
	{
		apply_in_progress = false;
	}
	PG_END_TRY();

	values[0] = Int64GetDatum(total.napplied);
	values[1] = Int64GetDatum(total.nrejected);
	values[2] = Int64GetDatum(total.nexpired);
	values[3] = Int64GetDatum(waiting_count());
	return HeapTupleGetDatum(heap_form_tuple(desc, values, nulls));
}

/*
 * Try what waits of a device: for these rows, or (NULL) all of it.  Nothing but a
 * request to cancel comes out.  False: the device is busy, or it failed.
 */
static bool
retry_as_guest(const pg_uuid_t *uuid, const AwaitedRow *rows, int nrows,
			   Retry *total)
{
	MemoryContext oldcontext = CurrentMemoryContext;
	ResourceOwner oldowner = CurrentResourceOwner;
	Retry	   *retry = palloc0(sizeof(Retry));
	volatile bool success = false;

	retry->is_guest = true;
	retry->ntries = total->ntries;
	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(oldcontext);
	PG_TRY();
	{
		retry->device = sync_device_lock_if_free(uuid);
		if (retry->device != NULL && retry->device->nwaiting > 0)
		{
			retry_device(retry, rows, nrows);
			success = true;
		}
		ReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		ErrorData  *error;

		MemoryContextSwitchTo(oldcontext);
		error = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
		write_set_clear();
		if (!apply_error_is_guests(error))
			ReThrowError(error);
		success = false;
	}
	PG_END_TRY();
	MemoryContextSwitchTo(oldcontext);
	CurrentResourceOwner = oldowner;

	total->ntries = success ? retry->ntries : total->ntries - 1;
	if (success)
	{
		total->napplied += retry->napplied;
		total->nrejected += retry->nrejected;
		total->nexpired += retry->nexpired;
	}
	return success;
}

/* ----------------------------------------------------------------
 * One device
 * ---------------------------------------------------------------- */

/*
 * Try in passes, each in seq order: what is due, then what that has made due.
 * rows NULL: all is due.
 */
static void
retry_device(Retry *retry, const AwaitedRow *rows, int nrows)
{
	int			nended = 0;
	int			guesses = retry->is_guest && rows != NULL ? MAX_GUESSES : MAX_TRIES;

	retry->changes = waiting_load(&retry->device->uuid, &retry->nchanges);
	retry->is_due = palloc0(Max(retry->nchanges, 1) * sizeof(bool));
	retry->has_ended = palloc0(Max(retry->nchanges, 1) * sizeof(bool));
	mark_due(retry, rows, nrows, &guesses);

	for (int pass = 0; pass < MAX_PASSES; pass++)
	{
		int			first = waiting_noted_count();
		int			n = run_pass(retry, false);

		if (n == 0)
			n = run_pass(retry, true);
		if (n == 0)
			break;
		nended += n;
		rows = waiting_noted_since(first, &nrows);
		if (nrows > 0)
			mark_due(retry, rows, nrows, &guesses);
	}
	if (nended > 0)
	{
		retry->device->nwaiting = Max(retry->device->nwaiting - nended, 0);
		sync_device_set_waiting(retry->device);
	}
}

/* Mark what waits for one of these rows, or (NULL) everything. */
static void
mark_due(Retry *retry, const AwaitedRow *rows, int nrows, int *guesses)
{
	HTAB	   *refs = rows == NULL ? NULL : apply_make_row_set(CurrentMemoryContext);

	for (int i = 0; i < nrows; i++)
	{
		RowRef		row = {rows[i].table_id, rows[i].keylen, rows[i].key};
		RowRef		table = {rows[i].table_id, 0, ""};

		(void) hash_search(refs, &row, HASH_ENTER, NULL);
		(void) hash_search(refs, &table, HASH_ENTER, NULL);
	}
	for (int i = 0; i < retry->nchanges; i++)
	{
		const WaitingChange *change = &retry->changes[i];
		RowRef		parent = {change->parent_table_id, change->parent_keylen,
		change->parent_key};

		/* what merely follows another change is held back by that */
		if (rows == NULL || strcmp(change->reason, "waits_for") == 0)
			retry->is_due[i] = true;
		else if (parent.table_id == 0)
			continue;
		else if (parent.key_bytes != NULL)
			retry->is_due[i] |= hash_search(refs, &parent, HASH_FIND, NULL) != NULL;
		else
		{
			parent.key_bytes = "";
			retry->is_due[i] |= hash_search(refs, &parent, HASH_FIND, NULL) != NULL &&
				(*guesses)-- > 0;
		}
	}
	if (refs != NULL)
		hash_destroy(refs);
}

/* Returns how many changes came to their end. */
static int
run_pass(Retry *retry, bool only_expired)
{
	int		   *picks = palloc(Max(retry->nchanges, 1) * sizeof(int));
	int			nended = 0;

	retry->blocked = apply_make_row_set(CurrentMemoryContext);
	for (int first = 0, last; first < retry->nchanges; first = last)
	{
		int			npicks;

		/* of one delta; its changes follow each other */
		for (last = first + 1; last < retry->nchanges; last++)
		{
			if (memcmp(&retry->changes[last].reconciliation,
					   &retry->changes[first].reconciliation, UUID_LEN) != 0)
				break;
		}
		npicks = pick_units(retry, first, last, only_expired, picks);
		if (npicks > 0 && !only_expired)
			npicks = leave_hopeless(retry, picks, npicks);
		if (npicks > 0)
			nended += retry_delta(retry, picks, npicks, only_expired);
		for (int i = 0; i < npicks; i++)
		{
			if (!retry->has_ended[picks[i]])
				block_row(retry, &retry->changes[picks[i]]);
		}
	}
	hash_destroy(retry->blocked);
	pfree(picks);
	return nended;
}

/* The units among changes first .. last - 1 that are due and follow nothing that
 * waits on.  The rows of the others are blocked. */
static int
pick_units(Retry *retry, int first, int last, bool only_expired, int *picks)
{
	TimestampTz now = GetCurrentTimestamp();
	int			npicks = 0;

	for (int start = first, end; start < last; start = end)
	{
		bool		is_due = false;
		bool		is_held = false;
		int			n = 0;

		for (end = start; end < last; end++)
		{
			if (retry->changes[end].unit != retry->changes[start].unit)
				break;
			if (retry->has_ended[end])
				continue;
			n++;
			is_due |= only_expired ? retry->changes[end].expires_at <= now :
				retry->is_due[end];
			is_held |= is_blocked(retry, &retry->changes[end]);
		}
		if (n == 0)
			continue;
		is_due &= !is_held;
		for (int i = start; i < end; i++)
		{
			if (retry->has_ended[i])
				continue;
			if (is_due)
			{
				retry->is_due[i] = false;
				picks[npicks++] = i;
			}
			else
				block_row(retry, &retry->changes[i]);
		}
	}
	return npicks;
}

/*
 * Of the picked changes, all of one delta, keep those that may come to something:
 * not those whose parent is known to be missing still, what has to follow them, or
 * what would be more than may be tried.  Returns how many are left.
 */
static int
leave_hopeless(Retry *retry, int *picks, int npicks)
{
	bool	   *is_missing = palloc(npicks * sizeof(bool));
	int			nleft = 0;

	find_missing(retry, picks, npicks, is_missing);
	for (int start = 0, end; start < npicks; start = end)
	{
		bool		is_left = true;

		for (end = start; end < npicks; end++)
		{
			const WaitingChange *change = &retry->changes[picks[end]];

			if (change->unit != retry->changes[picks[start]].unit)
				break;
			is_left &= !is_missing[end] && !is_blocked(retry, change);
		}
		is_left &= retry->ntries >= end - start;
		if (is_left)
			retry->ntries -= end - start;
		for (int i = start; i < end; i++)
		{
			if (is_left)
			{
				picks[nleft++] = picks[i];
				continue;
			}
			block_row(retry, &retry->changes[picks[i]]);
			retry->is_due[picks[i]] =
				strcmp(retry->changes[picks[i]].reason, "waits_for") == 0;
		}
	}
	pfree(is_missing);
	return nleft;
}

/* Asked with the rights of who pushed them. */
static void
find_missing(Retry *retry, const int *picks, int npicks, bool *is_missing)
{
	Oid			role = get_role_oid(retry->changes[picks[0]].role, true);
	RowRef	   *refs = palloc(npicks * sizeof(RowRef));
	int		   *places = palloc(npicks * sizeof(int));
	bool	   *answers = palloc(npicks * sizeof(bool));
	bool	   *is_asked = palloc0(npicks * sizeof(bool));
	OtherRole	saved;

	memset(is_missing, false, npicks * sizeof(bool));
	if (!OidIsValid(role) || retry->device->is_revoked || !other_role_is_allowed(role))
		return;
	other_role_become(&saved, role, retry->is_guest ? GUEST_LOCK_TIMEOUT : NULL);
	for (int i = 0; i < npicks; i++)
	{
		int32		table_id = retry->changes[picks[i]].parent_table_id;
		int			n = 0;

		if (is_asked[i] || retry->changes[picks[i]].parent_key == NULL)
			continue;
		for (int k = i; k < npicks; k++)
		{
			const WaitingChange *change = &retry->changes[picks[k]];

			if (change->parent_table_id != table_id || change->parent_key == NULL)
				continue;
			is_asked[k] = true;
			refs[n].table_id = table_id;
			refs[n].key_len = change->parent_keylen;
			refs[n].key_bytes = change->parent_key;
			places[n++] = k;
		}
		apply_find_missing(table_id, n, refs, answers);
		for (int k = 0; k < n; k++)
			is_missing[places[k]] = answers[k];
	}
	other_role_restore(&saved);
}

static bool
is_blocked(const Retry *retry, const WaitingChange *change)
{
	RowRef		ref = {change->table_id, change->keylen, change->key};

	return change->table_id != 0 &&
		hash_search(retry->blocked, &ref, HASH_FIND, NULL) != NULL;
}

static void
block_row(Retry *retry, const WaitingChange *change)
{
	RowRef		ref = {change->table_id, change->keylen, change->key};

	if (change->table_id != 0)
		(void) hash_search(retry->blocked, &ref, HASH_ENTER, NULL);
}

/* ----------------------------------------------------------------
 * Changes of one delta
 * ---------------------------------------------------------------- */

/* Returns how many of the picked changes came to their end. */
static int
retry_delta(Retry *retry, const int *picks, int npicks, bool is_expired)
{
	const WaitingChange *first = &retry->changes[picks[0]];
	MemoryContext oldcontext = CurrentMemoryContext;
	ApplyState	state;
	SyncDevice	device = *retry->device;
	JournalRow *journal;
	Snapshot	snapshot;
	Oid			role = get_role_oid(first->role, true);
	const char *reason;
	const char *message = NULL;
	int			nended = 0;

	/* it may have come to another version of the schema since */
	device.schema_version = first->schema_version;

	memset(&state, 0, sizeof(state));
	state.failed_change = -1;
	state.device = &device;
	state.reconciliation = &first->reconciliation;
	apply_make_contexts(&state);
	MemoryContextSwitchTo(state.context);
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	journal = journal_find(&retry->device->uuid, first->seq, snapshot);
	UnregisterSnapshot(snapshot);

	reason = refusal(retry, role, journal != NULL, is_expired, &message);
	if (reason != NULL || other_role_is_allowed(role))
	{
		if (journal != NULL)
		{
			state.delta = journal->delta;
			delta_reader_init(&state.reader, state.delta);

			/* all tries together may put as much there as one push */
			state.stored_bytes = VARSIZE(journal->outcomes) + VARSIZE(journal->details);
			state.noted_bytes = VARSIZE(journal->details);
			state.result_bytes = journal_result_bytes(journal);
		}
		state.may_defer = true;
		state.is_guest = retry->is_guest || role != GetUserId();
		apply_begin(&state);
		load_picked(&state, retry, picks, npicks);
		for (int i = 0; reason != NULL && i < npicks; i++)
			apply_refuse(&state.changes[i], reason,
						 is_expired ? ERRCODE_FOREIGN_KEY_VIOLATION :
						 ERRCODE_INSUFFICIENT_PRIVILEGE, message, NULL);
		if (reason == NULL)
			try_picked(&state, role);
		nended = conclude(retry, &state, picks, npicks, is_expired);
	}
	MemoryContextSwitchTo(oldcontext);
	MemoryContextDelete(state.context);
	return nended;
}

/* Is it not to be tried at all?  The reason, or NULL. */
static const char *
refusal(const Retry *retry, Oid role, bool has_delta, bool is_expired,
		const char **message)
{
	if (retry->device->is_revoked)
	{
		*message = "device is revoked";
		return "device_revoked";
	}
	if (is_expired)
	{
		*message = "the row that the change waited for did not arrive in time";
		return "pending_timeout";
	}
	if (!has_delta)
	{
		*message = "the change is no longer in the journal";
		return "not_in_journal";
	}
	if (!OidIsValid(role))
	{
		*message = "the role that pushed the change does not exist any more";
		return "role_gone";
	}
	if (!sync_device_is_owned_by(retry->device, role))
	{
		*message = "the role that pushed the change is no longer a member of the device's owner role";
		return "privilege";
	}
	return NULL;
}

/* The picked changes as units, with the clocks that they got when they came. */
static void
load_picked(ApplyState *state, const Retry *retry, const int *picks, int npicks)
{
	DeltaChange change;
	int			n = 0;

	state->nchanges = npicks;
	state->changes = palloc0(npicks * sizeof(ApplyChange));
	state->unit_start = palloc((npicks + 1) * sizeof(int));
	apply_begin_names(state);
	for (int i = 0; i < npicks; i++)
	{
		const WaitingChange *row = &retry->changes[picks[i]];

		if (i == 0 || row->unit != retry->changes[picks[i - 1]].unit)
			state->unit_start[state->nunits++] = i;
		state->changes[i].unit = state->nunits - 1;
		state->changes[i].hlc = row->hlc;
		state->changes[i].delta.seq = row->seq;
	}
	state->unit_start[state->nunits] = npicks;

	memset(&change, 0, sizeof(change));
	while (state->delta != NULL && n < npicks &&
		   delta_reader_next(&state->reader, &change))
	{
		CHECK_FOR_INTERRUPTS();
		if (change.seq != retry->changes[picks[n]].seq)
			continue;
		state->changes[n].delta = change;
		state->changes[n].delta.keys = state->changes[n].delta.cells = NULL;
		state->changes[n].clock_was_ahead = change.hlc > state->changes[n].hlc;
		n++;
	}
	if (state->delta != NULL && n < npicks)
		elog(ERROR, "a waiting change is not in its delta");
}

static void
try_picked(ApplyState *state, Oid role)
{
	OtherRole	saved;

	other_role_become(&saved, role, state->is_guest ? GUEST_LOCK_TIMEOUT : NULL);
	apply_resolve(state);
	apply_fall_together(state);
	apply_check_earlier(state);
	apply_all(state);
	other_role_restore(&saved);
}

/* ----------------------------------------------------------------
 * What became of them
 * ---------------------------------------------------------------- */

/* Write down what came to its end; returns how much. */
static int
conclude(Retry *retry, ApplyState *state, const int *picks, int npicks,
		 bool is_expired)
{
	WaitingChange *ended = palloc(npicks * sizeof(WaitingChange));
	LateChange *late = palloc0(npicks * sizeof(LateChange));
	JournalEnd *ends = palloc0(npicks * sizeof(JournalEnd));
	int			nconflicts = 0;
	int			n = 0;

	for (int i = 0; i < npicks; i++)
	{
		ApplyChange *change = &state->changes[i];
		WaitingChange *row = &retry->changes[picks[i]];
		StringInfoData outcome;
		StringInfoData detail;

		if (change->outcome == OUTCOME_DEFERRED)
		{
			/* held back in this very try: due when what held it has ended */
			if (change->reason != NULL && strcmp(change->reason, "waits_for") == 0)
				retry->is_due[picks[i]] = true;
			keep_waiting(retry, row, change);
			continue;
		}
		if (change->table == NULL && row->table_id != 0)
			change->table = sync_table_by_id(row->table_id);
		if (change->scope == NULL)
			change->scope = row->scope;
		initStringInfo(&outcome);
		initStringInfo(&detail);
		apply_append_outcome(state, &outcome, change);
		apply_append_detail(state, &detail, change);
		state->stored_bytes += outcome.len + detail.len;
		ends[n].seq = row->seq;
		ends[n].outcome = outcome.len > 0 ? outcome.data : NULL;
		ends[n].detail = detail.len > 0 ? detail.data : NULL;

		late[n].device = row->device;
		late[n].seq = row->seq;
		late[n].node = state->node_id;
		late[n].xid = state->xid;
		late[n].table_id = row->table_id;
		late[n].key = row->key;
		late[n].keylen = row->keylen;

		ended[n++] = *row;
		retry->has_ended[picks[i]] = true;
		nconflicts += list_length(change->conflicts);
		if (is_expired)
			retry->nexpired++;
		else if (change->outcome == OUTCOME_REJECTED)
			retry->nrejected++;
		else
			retry->napplied++;
		log_end(state, row, change);
	}
	if (n == 0)
		return 0;

	journal_end_changes(&retry->device->uuid, n, ends);
	late_change_insert(late, n);
	waiting_delete(ended, n);
	if (nconflicts > 0)
		apply_record_conflicts(state, nconflicts);
	return n;
}

/* It may wait for another row than before. */
static void
keep_waiting(Retry *retry, WaitingChange *row, const ApplyChange *change)
{
	MemoryContext oldcontext;

	if (change->reason == NULL || strcmp(change->reason, "missing_parent") != 0)
		return;
	if (strcmp(row->reason, change->reason) == 0 &&
		row->constraint != NULL && change->constraint != NULL &&
		strcmp(row->constraint, change->constraint) == 0)
		return;
	/* it is looked at again after the memory of this try has gone */
	oldcontext = MemoryContextSwitchTo(GetMemoryChunkContext(retry->changes));
	row->reason = "missing_parent";
	row->constraint = change->constraint == NULL ? NULL : pstrdup(change->constraint);
	row->parent_table_id = change->parent_table_id;
	row->parent_key = change->parent_key == NULL ? NULL :
		memcpy(palloc(change->parent_keylen), change->parent_key,
			   change->parent_keylen);
	row->parent_keylen = change->parent_keylen;
	MemoryContextSwitchTo(oldcontext);
	waiting_update(row);
}

/*
 * Where nothing was written, an entry in the log says that there is something to
 * pull.
 */
static void
log_end(const ApplyState *state, const WaitingChange *row,
		const ApplyChange *change)
{
	const char *scope = change->scope;

	if (change->outcome == OUTCOME_APPLIED || row->table_id == 0)
		return;
	if (scope == NULL)
		scope = sync_scope_set_pulled(state->scopes);
	if (scope != NULL)
		change_log_add(scope, row->table_id, row->key, row->keylen);
}
