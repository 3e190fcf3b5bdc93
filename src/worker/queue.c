/*-------------------------------------------------------------------------
 *
 * queue.c
 *	  sync_submit_delta, sync_submission, sync_release_quarantine; and the
 *	  rows of the queue.
 *
 * What is submitted is stored as it came, durably, and looked at when it is processed
 * (queue_process.c); but who may push, how fast, and how much may lie here is
 * asked at once.  Nothing is acknowledged by that: acked_seq says what is
 * merged.
 *
 * Only answered rows change without the lock on the device's row; so whoever holds
 * that finds the device's first delta as it is.  Submitting needs no lock, since
 * order comes from the seqs.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "audit/journal.h"
#include "catalog/pg_type.h"
#include "compat.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "guard/rate.h"
#include "log/node.h"
#include "log/state.h"
#include "miscadmin.h"
#include "offline_sync.h"
#include "registry/device_row.h"
#include "utils/builtins.h"
#include "utils/json.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"
#include "worker/queue.h"

#define MAX_ARGS	16

/* A statement on the queue, as the owner of the state tables */
typedef struct QueueCommand
{
	const char *text;
	int			nargs;
	Oid			types[MAX_ARGS];
	Datum		values[MAX_ARGS];
	char		nulls[MAX_ARGS];
} QueueCommand;

static void add_arg(QueueCommand *command, Oid type, Datum value, bool isnull);
static uint64 execute(QueueCommand *command, bool read_only);
static Datum result_value(uint64 row, int column, bool *isnull);
static Oid	queue_type(const char *column);
static SyncDevice *check_submitter(const DeltaHeader *header);
static bool find_same(const DeltaHeader *header, const DeltaData *delta,
					  pg_uuid_t *id);
static void check_room(const pg_uuid_t *device);
static void store(const pg_uuid_t *id, const DeltaHeader *header,
				  const DeltaData *delta);
pg_noreturn static void no_submission(const pg_uuid_t *id);

PG_FUNCTION_INFO_V1(sync_submit_delta);
PG_FUNCTION_INFO_V1(sync_submission);
PG_FUNCTION_INFO_V1(sync_release_quarantine);

/*
 * sync_submit_delta(delta) -> uuid
 *
 * What has been submitted before, and is not answered yet, is not stored again.
 */
Datum
sync_submit_delta(PG_FUNCTION_ARGS)
{
	DeltaData  *delta = PG_GETARG_DELTA_P(0);
	pg_uuid_t  *id = palloc(sizeof(pg_uuid_t));
	DeltaReader reader;

	PreventCommandIfReadOnly("sync_submit_delta()");
	PreventCommandDuringRecovery("sync_submit_delta()");
	delta_reader_init(&reader, delta);
	apply_check_pushed(&reader.header);
	(void) check_submitter(&reader.header);

	SPI_connect();
	if (!find_same(&reader.header, delta, id))
	{
		check_room(&reader.header.replica);
		journal_new_id(id);
		store(id, &reader.header, delta);
	}
	SPI_finish();
	if (sync_durable_acks)
		ForceSyncCommit();
	PG_RETURN_UUID_P(id);
}

/* The rate is that of submitting, not that of processing. */
static SyncDevice *
check_submitter(const DeltaHeader *header)
{
	SyncDevice *device = sync_device_get(&header->replica, sync_device_rate > 0);
	int64		wait;

	if (device->is_revoked)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("device \"%s\" has been revoked",
						device_row_uuid_text(&device->uuid))));
	if (sync_device_rate == 0)
		return device;
	wait = rate_wait(device, header->nchanges);
	if (wait > 0)
		ereport(ERROR,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg_internal("%s", rate_message(header->nchanges, wait)),
				 errhint("Submit the delta again later.")));
	rate_take(device, header->nchanges);
	return device;
}

static bool
find_same(const DeltaHeader *header, const DeltaData *delta, pg_uuid_t *id)
{
	QueueCommand command = {
		"SELECT q.id FROM offline_sync.queue q WHERE q.device = $1"
		" AND q.first_seq = $2 AND q.state <> 'answered' AND q.role = $4"
		" AND q.delta::text = $3::text ORDER BY q.id LIMIT 1"
	};
	bool		isnull;

	add_arg(&command, UUIDOID, UUIDPGetDatum(&header->replica), false);
	add_arg(&command, INT8OID, Int64GetDatum(header->first_seq), false);
	add_arg(&command, queue_type("delta"), DeltaPGetDatum(delta), false);
	add_arg(&command, TEXTOID,
			CStringGetTextDatum(GetUserNameFromId(GetUserId(), false)), false);
	if (execute(&command, false) == 0)
		return false;
	*id = *DatumGetUUIDP(result_value(0, 1, &isnull));
	return true;
}

/* Of submissions at the very same time each may take the last place. */
static void
check_room(const pg_uuid_t *device)
{
	QueueCommand command = {
		"SELECT FROM offline_sync.queue"
		" WHERE device = $1 AND state <> 'answered' LIMIT $2"
	};

	add_arg(&command, UUIDOID, UUIDPGetDatum(device), false);
	add_arg(&command, INT4OID, Int32GetDatum(sync_max_queued), false);
	if (execute(&command, false) >= sync_max_queued)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("device \"%s\" has as many submitted deltas as allowed (%d)",
						device_row_uuid_text(device), sync_max_queued),
				 errhint("Submit the delta again when some were processed.  The limit is the setting offline_sync.max_queued.")));
}

static void
store(const pg_uuid_t *id, const DeltaHeader *header, const DeltaData *delta)
{
	QueueCommand command = {
		"INSERT INTO offline_sync.queue"
		" (id, device, first_seq, last_seq, delta, role, submitted_at, state)"
		" VALUES ($1, $2, $3, $4, $5, $6, $7, 'pending')"
	};
	int64		last_seq = header->first_seq + header->nchanges - 1;

	add_arg(&command, UUIDOID, UUIDPGetDatum(id), false);
	add_arg(&command, UUIDOID, UUIDPGetDatum(&header->replica), false);
	add_arg(&command, INT8OID, Int64GetDatum(header->first_seq), false);
	add_arg(&command, INT8OID, Int64GetDatum(Max(last_seq, 0)), false);
	add_arg(&command, queue_type("delta"), DeltaPGetDatum(delta), false);
	add_arg(&command, TEXTOID,
			CStringGetTextDatum(GetUserNameFromId(GetUserId(), false)), false);
	add_arg(&command, TIMESTAMPTZOID, TimestampTzGetDatum(GetCurrentTimestamp()),
			false);
	(void) execute(&command, false);
}

/*
 * sync_submission(submission uuid) -> one row, as of sync_apply_delta
 */
Datum
sync_submission(PG_FUNCTION_ARGS)
{
	pg_uuid_t  *id = PG_GETARG_UUID_P(0);
	MemoryContext context = CurrentMemoryContext;
	QueueCommand command = {
		"SELECT q.reconciliation, coalesce(q.status, 'pending'),"
		" coalesce(q.acked_seq, d.acked_seq), coalesce(q.applied, 0),"
		" coalesce(q.merged, 0), coalesce(q.superseded, 0), coalesce(q.rejected, 0),"
		" coalesce(q.deferred, 0), coalesce(q.conflicts, 0),"
		" coalesce(q.outcomes, CASE q.state WHEN 'quarantined' THEN"
		" jsonb_build_array(jsonb_build_object('outcome', 'pending', 'reason',"
		" 'quarantined', 'sqlstate', q.last_sqlstate, 'message', q.last_error))"
		" ELSE '[]' END), q.corrections, q.hlc, q.device"
		" FROM offline_sync.queue q JOIN offline_sync.device d ON d.device = q.device"
		" WHERE q.id = $1"
	};
	TupleDesc	desc;
	Datum		values[13];
	bool		nulls[13];
	HeapTuple	tuple;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	BlessTupleDesc(desc);
	Assert(desc->natts == lengthof(values) - 1);

	SPI_connect();
	add_arg(&command, UUIDOID, UUIDPGetDatum(id), false);
	if (execute(&command, true) == 0)
		no_submission(id);
	for (int i = 0; i < lengthof(values); i++)
		values[i] = result_value(0, i + 1, &nulls[i]);
	(void) sync_device_get(DatumGetUUIDP(values[12]), false);
	MemoryContextSwitchTo(context);
	tuple = heap_form_tuple(desc, values, nulls);
	SPI_finish();
	PG_RETURN_DATUM(HeapTupleGetDatum(tuple));
}

/*
 * sync_release_quarantine(submission uuid, drop boolean)
 */
Datum
sync_release_quarantine(PG_FUNCTION_ARGS)
{
	pg_uuid_t  *id = PG_GETARG_UUID_P(0);
	bool		is_dropped = PG_GETARG_BOOL(1);
	QueueCommand find = {"SELECT device FROM offline_sync.queue WHERE id = $1"};
	QueueCommand check = {
		"SELECT FROM offline_sync.queue WHERE id = $1 AND state = 'quarantined'"
	};
	QueueCommand release = {
		"UPDATE offline_sync.queue SET state = 'pending', attempts = 0, tried_at = NULL"
		" WHERE id = $1"
	};
	SyncDevice *device;
	bool		isnull;

	PreventCommandIfReadOnly("sync_release_quarantine()");
	PreventCommandDuringRecovery("sync_release_quarantine()");
	SPI_connect();
	add_arg(&find, UUIDOID, UUIDPGetDatum(id), false);
	if (execute(&find, false) == 0)
		no_submission(id);
	device = device_row_find(DatumGetUUIDP(result_value(0, 1, &isnull)), true);
	add_arg(&check, UUIDOID, UUIDPGetDatum(id), false);
	if (execute(&check, false) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("submission \"%s\" is not quarantined",
						device_row_uuid_text(id)),
				 errhint("See the view sync_queue.")));
	if (is_dropped)
		queue_reject(id, device == NULL ? 0 : device->acked_seq, "dropped",
					 ERRCODE_OPERATOR_INTERVENTION,
					 "the delta was dropped from quarantine");
	else
	{
		add_arg(&release, UUIDOID, UUIDPGetDatum(id), false);
		(void) execute(&release, false);
	}
	SPI_finish();
	PG_RETURN_VOID();
}

static void
no_submission(const pg_uuid_t *id)
{
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_OBJECT),
			 errmsg("submission \"%s\" does not exist", device_row_uuid_text(id)),
			 errhint("Answers are kept until the device has acknowledged them, at most for offline_sync.audit_retention.")));
}

/* ----------------------------------------------------------------
 * Rows
 * ---------------------------------------------------------------- */

QueuedDelta *
queue_first(const pg_uuid_t *device)
{
	QueueCommand command = {
		"SELECT id, first_seq, delta, role, attempts, coalesce(tried_at, '-infinity'),"
		" state = 'quarantined' FROM offline_sync.queue"
		" WHERE device = $1 AND state <> 'answered'"
		" ORDER BY device, first_seq, id LIMIT 1"
	};
	QueuedDelta *result = NULL;
	MemoryContext context = CurrentMemoryContext;
	bool		isnull;

	SPI_connect();
	add_arg(&command, UUIDOID, UUIDPGetDatum(device), false);
	if (execute(&command, false) > 0)
	{
		MemoryContext oldcontext = MemoryContextSwitchTo(context);

		result = palloc0(sizeof(QueuedDelta));
		result->id = *DatumGetUUIDP(result_value(0, 1, &isnull));
		result->first_seq = DatumGetInt64(result_value(0, 2, &isnull));
		result->delta = (DeltaData *)
			PG_DETOAST_DATUM_COPY(result_value(0, 3, &isnull));
		result->role = TextDatumGetCString(result_value(0, 4, &isnull));
		result->attempts = DatumGetInt32(result_value(0, 5, &isnull));
		result->tried_at = DatumGetTimestampTz(result_value(0, 6, &isnull));
		result->is_quarantined = DatumGetBool(result_value(0, 7, &isnull));
		MemoryContextSwitchTo(oldcontext);
	}
	SPI_finish();
	return result;
}

int
queue_pending(const QueuePlace *after, int limit, QueuePlace **places)
{
	QueueCommand command = {
		"SELECT submitted_at, id, device FROM offline_sync.queue"
		" WHERE state = 'pending' AND (submitted_at, id) > ($1, $2)"
		" ORDER BY submitted_at, id LIMIT $3"
	};
	int			n;
	bool		isnull;

	*places = palloc(limit * sizeof(QueuePlace));
	SPI_connect();
	add_arg(&command, TIMESTAMPTZOID, TimestampTzGetDatum(after->submitted_at),
			false);
	add_arg(&command, UUIDOID, UUIDPGetDatum(&after->id), false);
	add_arg(&command, INT4OID, Int32GetDatum(limit), false);
	n = (int) execute(&command, false);
	for (int i = 0; i < n; i++)
	{
		QueuePlace *place = &(*places)[i];

		place->submitted_at = DatumGetTimestampTz(result_value(i, 1, &isnull));
		place->id = *DatumGetUUIDP(result_value(i, 2, &isnull));
		place->device = *DatumGetUUIDP(result_value(i, 3, &isnull));
	}
	SPI_finish();
	return n;
}

int64
queue_count(void)
{
	QueueCommand command = {
		"SELECT count(*) FROM offline_sync.queue WHERE state <> 'answered'"
	};
	int64		result;
	bool		isnull;

	SPI_connect();
	(void) execute(&command, false);
	result = DatumGetInt64(result_value(0, 1, &isnull));
	SPI_finish();
	return result;
}

/* What was refused is kept: the journal may have only the beginning of it. */
void
queue_answer(const pg_uuid_t *id, const pg_uuid_t *reconciliation,
			 const ApplyResult *result)
{
	QueueCommand command = {
		"UPDATE offline_sync.queue SET state = 'answered', answered_at = $2,"
		" delta = CASE WHEN $4 IN ('rejected', 'gap') THEN delta END,"
		" reconciliation = $3, status = $4, acked_seq = $5, applied = $6,"
		" merged = $7, superseded = $8, rejected = $9, deferred = $10,"
		" conflicts = $11, outcomes = $12, corrections = $13, hlc = $14"
		" WHERE id = $1"
	};

	SPI_connect();
	add_arg(&command, UUIDOID, UUIDPGetDatum(id), false);
	add_arg(&command, TIMESTAMPTZOID, TimestampTzGetDatum(GetCurrentTimestamp()),
			false);
	add_arg(&command, UUIDOID, UUIDPGetDatum(reconciliation),
			reconciliation == NULL);
	add_arg(&command, TEXTOID, CStringGetTextDatum(result->status), false);
	add_arg(&command, INT8OID, Int64GetDatum(result->acked_seq), false);
	for (int i = OUTCOME_APPLIED; i <= OUTCOME_DEFERRED; i++)
		add_arg(&command, INT4OID, Int32GetDatum(result->counts[i]), false);
	add_arg(&command, INT4OID, Int32GetDatum(result->nconflicts), false);
	add_arg(&command, JSONBOID, JsonbPGetDatum(result->outcomes), false);
	add_arg(&command, queue_type("delta"), PointerGetDatum(result->corrections),
			result->corrections == NULL);
	add_arg(&command, queue_type("hlc"), HlcGetDatum(result->hlc), false);
	(void) execute(&command, false);
	SPI_finish();
}

void
queue_reject(const pg_uuid_t *id, int64 acked_seq, const char *reason,
			 int sqlstate, const char *message)
{
	ApplyResult result = {0};
	StringInfoData buf;

	initStringInfo(&buf);
	appendStringInfo(&buf, "{\"outcome\":\"rejected\",\"reason\":\"%s\",\"sqlstate\":\"%s\",\"message\":",
					 reason, unpack_sql_state(sqlstate));
	escape_json(&buf, message);
	appendStringInfoChar(&buf, '}');
	result.status = "rejected";
	result.acked_seq = acked_seq;
	result.outcomes = apply_json_array(buf.data);
	result.hlc = sync_clock_now();
	queue_answer(id, NULL, &result);
}

bool
queue_note_failure(const pg_uuid_t *id, const ErrorData *error, bool is_counted)
{
	QueueCommand command = {
		"UPDATE offline_sync.queue SET attempts = attempts + $2, tried_at = $3,"
		" last_sqlstate = $4, last_error = $5,"
		" state = CASE WHEN attempts + $2 >= $6 AND $2 > 0 THEN 'quarantined' ELSE state END"
		" WHERE id = $1 RETURNING state = 'quarantined'"
	};
	bool		result = false;
	bool		isnull;

	SPI_connect();
	add_arg(&command, UUIDOID, UUIDPGetDatum(id), false);
	add_arg(&command, INT4OID, Int32GetDatum(is_counted ? 1 : 0), false);
	add_arg(&command, TIMESTAMPTZOID, TimestampTzGetDatum(GetCurrentTimestamp()),
			false);
	add_arg(&command, TEXTOID,
			CStringGetTextDatum(unpack_sql_state(error->sqlerrcode)), false);
	add_arg(&command, TEXTOID,
			CStringGetTextDatum(error->message != NULL ? error->message : ""), false);
	add_arg(&command, INT4OID, Int32GetDatum(sync_queue_attempts), false);
	if (execute(&command, false) > 0)
		result = DatumGetBool(result_value(0, 1, &isnull));
	SPI_finish();
	return result;
}

/* ----------------------------------------------------------------
 * Statements
 * ---------------------------------------------------------------- */

static void
add_arg(QueueCommand *command, Oid type, Datum value, bool isnull)
{
	Assert(command->nargs < MAX_ARGS);
	command->types[command->nargs] = type;
	command->values[command->nargs] = value;
	command->nulls[command->nargs++] = isnull ? 'n' : ' ';
}

/* Returns the number of rows; within SPI_connect. */
static uint64
execute(QueueCommand *command, bool read_only)
{
	StateUser	saved;
	int			result;

	state_become_owner(&saved);
	result = SPI_execute_with_args(command->text, command->nargs,
								   command->types,
								   command->values,
								   command->nulls, read_only, 0);
	state_restore_user(&saved);
	if (result < 0)
		elog(ERROR, "could not use the queue: %s", SPI_result_code_string(result));
	return SPI_processed;
}

static Datum
result_value(uint64 row, int column, bool *isnull)
{
	return SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, column,
						 isnull);
}

static Oid
queue_type(const char *column)
{
	Oid			relid = state_index("queue");

	return get_atttype(relid, get_attnum(relid, column));
}
