/*-------------------------------------------------------------------------
 *
 * device_call.c
 *	  What a device asks and says about itself: sync_hello, sync_ack; and how
 *	  far it lags behind.
 *
 * What a device acknowledges decides what may be forgotten (tombstones, floors),
 * so nothing is taken from it that this database cannot vouch for: only its own
 * entry up to what is stored, and those of this database's nodes.
 *
 * An expired device is answered with a fresh start, since what it missed may be
 * gone.  Repeating an old acknowledgement must not make it look current
 * again: it is back when it acknowledges something that it had not before, or all
 * there is; and once it is fenced, if nothing is gone of what it lacks then.
 *
 * Nothing here reads the clock of a log entry, there is none: lag is counted in
 * entries, and in how long ago the device last said where it is.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "compat.h"
#include "fmgr.h"
#include "funcapi.h"
#include "log/change_log.h"
#include "log/node.h"
#include "miscadmin.h"
#include "offline_sync.h"
#include "registry/device_row.h"
#include "registry/table_version.h"
#include "types/delta.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

/* look-ups and entries that counting a device's lag may cost */
#define DEVICE_LAG_MAX			10000

/* Counting what a device has not seen. */
typedef struct LagCount
{
	const VersionVector *seen;
	Snapshot	snapshot;
	int			limit;			/* stop at this many entries */
	int			nentries;		/* so far */
	int			cost;			/* look-ups and entries so far */
} LagCount;

static const char *device_status(const SyncDevice *device);
static Datum device_limits(void);
static void note_return(SyncDevice *device);
static VersionVector *device_credible_vector(const SyncDevice *device,
											 const VersionVector *claimed);
static void device_store_ack(SyncDevice *device, const VersionVector *claimed);
static bool device_is_current(const SyncDevice *device, const VersionVector *seen);
static bool has_started_afresh(const SyncDevice *device,
							   const VersionVector *claimed);
static int	device_lag_count(const pg_uuid_t *uuid, const VersionVector *seen,
							 int limit);
static void lag_count_node(LagCount *count, const char *scope,
						   const SyncNode *node);
static bool grants_are_seen(const SyncDeviceScope *scopes, int nscopes,
							const VersionVector *seen);

PG_FUNCTION_INFO_V1(sync_hello);
Datum
sync_hello(PG_FUNCTION_ARGS)
{
	pg_uuid_t  *uuid = PG_GETARG_UUID_P(0);
	SyncDevice *device = sync_device_get(uuid, false);
	TupleDesc	desc;
	Datum		values[7];
	bool		nulls[7] = {false};

	if (device->is_fenced && !device->has_returned && !device->is_revoked &&
		!RecoveryInProgress() && !XactReadOnly)
	{
		device = sync_device_get(uuid, true);
		note_return(device);
	}

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");

	values[0] = UUIDPGetDatum(sync_node_uuid());
	values[1] = Int32GetDatum(DELTA_FORMAT);
	values[2] = Int64GetDatum(device->acked_seq);
	values[3] = HlcGetDatum(sync_clock_now());
	values[4] = CStringGetTextDatum(device_status(device));
	values[5] = Int32GetDatum(sync_schema_version());
	values[6] = device_limits();
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc),
													  values, nulls)));
}

/* A fenced device, whose row is locked, is back: what changes from here on is kept
 * for it. */
static void
note_return(SyncDevice *device)
{
	DeviceRowChange change = {0};

	device_row_return(device, &change);
	if (change.replace[ANUM_DEVICE_RETURNED_AT - 1])
		device_row_update(device, &change);
}

PG_FUNCTION_INFO_V1(sync_ack);
Datum
sync_ack(PG_FUNCTION_ARGS)
{
	pg_uuid_t  *uuid = PG_GETARG_UUID_P(0);
	VersionVector *claimed = PG_GETARG_VERSION_VECTOR_P(1);
	Size		limit = (Size) sync_max_value_size * 1024;
	SyncDevice *device;

	PreventCommandDuringRecovery("sync_ack()");
	PreventCommandIfReadOnly("sync_ack()");
	if (VARSIZE(claimed) > limit)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("version vector of %zu bytes exceeds the maximum allowed (%zu)",
						(Size) VARSIZE(claimed), limit),
				 errhint("The limit is the setting offline_sync.max_value_size.")));

	device = sync_device_get(uuid, true);
	if (device->is_revoked)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("device \"%s\" has been revoked",
						device_row_uuid_text(uuid))));
	if (sync_vector_is_lost(claimed))
		ereport(WARNING,
				(errcode(ERRCODE_WARNING),
				 errmsg("acknowledgement ignored: it claims changes that this database does not have"),
				 errhint("The database was restored to an earlier state.  Pull again and start afresh where the answer says so.")));
	else
		device_store_ack(device, device_credible_vector(device, claimed));
	PG_RETURN_VOID();
}

/* The number of log entries that a device has not acknowledged, counted with
 * bounded effort.  For views, which have chosen whom to show the device. */
PG_FUNCTION_INFO_V1(sync_device_lag);
Datum
sync_device_lag(PG_FUNCTION_ARGS)
{
	pg_uuid_t  *uuid = PG_GETARG_UUID_P(0);
	VersionVector *seen = PG_GETARG_VERSION_VECTOR_P(1);

	PG_RETURN_INT64(device_lag_count(uuid, seen, DEVICE_LAG_MAX));
}

/* Are there rows for the device that no log entry speaks of: grants whose base
 * rows it has not acknowledged? */
PG_FUNCTION_INFO_V1(sync_device_has_new_grant);
Datum
sync_device_has_new_grant(PG_FUNCTION_ARGS)
{
	pg_uuid_t  *uuid = PG_GETARG_UUID_P(0);
	VersionVector *seen = PG_GETARG_VERSION_VECTOR_P(1);
	SyncDeviceScope *scopes;
	int			nscopes;

	scopes = sync_device_scopes(uuid, GetActiveSnapshot(), &nscopes);
	PG_RETURN_BOOL(!grants_are_seen(scopes, nscopes, seen));
}

/* Has a device that was last seen then been silent for too long? */
PG_FUNCTION_INFO_V1(sync_device_is_expired_at);
Datum
sync_device_is_expired_at(PG_FUNCTION_ARGS)
{
	SyncDevice	device = {0};

	device.last_seen_at = PG_GETARG_TIMESTAMPTZ(0);
	PG_RETURN_BOOL(sync_device_is_expired(&device));
}

/* ---- hello ---- */

/* In the words of the view sync_devices; conflicts are not the device's own
 * business. */
static const char *
device_status(const SyncDevice *device)
{
	if (device->is_revoked)
		return "revoked";
	if (sync_device_is_expired(device))
		return "expired";
	if (!device_is_current(device, device_row_seen(device)))
		return "pending";
	return "synced";
}

/* Sizes in bytes, times in milliseconds. */
static Datum
device_limits(void)
{
	char	   *json;

	json = psprintf("{\"max_clock_skew\": %d, \"max_delta_size\": " INT64_FORMAT
					", \"max_delta_changes\": %d, \"max_value_size\": " INT64_FORMAT
					", \"max_delta_depth\": %d, \"max_pending\": %d"
					", \"max_queued\": %d, \"device_rate\": %d, \"device_burst\": %d"
					", \"device_expiry\": " INT64_FORMAT
					", \"audit_retention\": " INT64_FORMAT
					", \"pending_timeout\": " INT64_FORMAT "}",
					sync_max_clock_skew,
					sync_max_delta_size * INT64CONST(1024),
					sync_max_delta_changes,
					sync_max_value_size * INT64CONST(1024),
					sync_max_delta_depth,
					sync_max_pending,
					sync_max_queued,
					sync_device_rate,
					sync_device_burst,
					sync_device_expiry * INT64CONST(60000),
					sync_audit_retention * INT64CONST(60000),
					sync_pending_timeout * INT64CONST(60000));
	return DirectFunctionCall1(jsonb_in, CStringGetDatum(json));
}

/* ---- acknowledgement ---- */

/* What of a device's vector this database can vouch for. */
static VersionVector *
device_credible_vector(const SyncDevice *device, const VersionVector *claimed)
{
	VVBuilder  *builder = vv_builder_create();
	const VVEntry *entries = VV_ENTRIES(claimed);
	const VVRange *ranges = VV_RANGES(claimed);
	SyncNode   *nodes;
	int			nnodes;

	nodes = sync_node_list(&nnodes);
	for (uint32 i = 0; i < claimed->nentries; i++)
	{
		const VVEntry *entry = &entries[i];
		uint64		limit = 0;

		CHECK_FOR_INTERRUPTS();
		if (memcmp(&entry->replica, &device->uuid, UUID_LEN) == 0)
			limit = device->acked_seq;
		else
			for (int j = 0; j < nnodes; j++)
				if (memcmp(&entry->replica, &nodes[j].uuid, UUID_LEN) == 0)
					limit = VV_MAX_COUNTER;

		for (uint32 j = 0; j < entry->nranges; j++)
		{
			const VVRange *range = &ranges[entry->first_range + j];

			if (range->lo <= limit)
				vv_builder_add(builder, &entry->replica, range->lo,
							   Min(range->hi, limit));
		}
	}
	return vv_builder_finish(builder);
}

static void
device_store_ack(SyncDevice *device, const VersionVector *claimed)
{
	VersionVector *old = device_row_seen(device);
	VersionVector *seen = vv_join_vectors(old, claimed);
	DeviceRowChange change = {0};

	if (sync_device_is_expired(device) &&
		((vv_compare(old, seen) == VV_EQUAL && !device_is_current(device, seen)) ||
		 (device->is_fenced && !has_started_afresh(device, claimed))))
	{
		note_return(device);
		return;
	}

	device->last_seen_at = GetCurrentTimestamp();
	device_row_set(&change, ANUM_DEVICE_SEEN, VersionVectorPGetDatum(seen));
	device_row_set(&change, ANUM_DEVICE_LAST_ACK_AT,
				   TimestampTzGetDatum(device->last_seen_at));
	if (device->is_fenced)
	{
		device_row_set_null(&change, ANUM_DEVICE_FENCED_AT);
		device_row_set_null(&change, ANUM_DEVICE_RETURNED_AT);
		device_row_set_null(&change, ANUM_DEVICE_RETURNED_NODE);
		device_row_set_null(&change, ANUM_DEVICE_RETURNED_HORIZON);
	}
	device_row_update(device, &change);
}

/* Can a device that clean-up went on without go on from there? */
static bool
has_started_afresh(const SyncDevice *device, const VersionVector *claimed)
{
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	SyncDeviceScope *scopes;
	int			nscopes;
	bool		result;

	scopes = sync_device_scopes(&device->uuid, snapshot, &nscopes);
	result = grants_are_seen(scopes, nscopes, claimed) &&
		sync_device_can_continue(scopes, nscopes, claimed, snapshot);
	UnregisterSnapshot(snapshot);
	return result;
}

/* ---- lag ---- */

/* Does the vector cover everything there is for the device?  Wrong answers are
 * possible only where finding out would cost too much: then it does not. */
static bool
device_is_current(const SyncDevice *device, const VersionVector *seen)
{
	SyncDeviceScope *scopes;
	int			nscopes;

	scopes = sync_device_scopes(&device->uuid, GetActiveSnapshot(), &nscopes);
	return grants_are_seen(scopes, nscopes, seen) &&
		device_lag_count(&device->uuid, seen, 1) == 0;
}

static bool
grants_are_seen(const SyncDeviceScope *scopes, int nscopes,
				const VersionVector *seen)
{
	for (int i = 0; i < nscopes; i++)
		if (scopes[i].can_pull &&
			!vv_covers_counter(seen, sync_node_uuid_by_id(scopes[i].granted_node),
							   scopes[i].granted_xid))
			return false;
	return true;
}

/*
 * Count the log's row entries, in the scopes that the device may pull, at
 * positions that the vector does not cover; up to the limit, and with at most
 * DEVICE_LAG_MAX look-ups and entries read.  What the device wrote itself counts
 * until it has acknowledged it as part of a pull.
 */
static int
device_lag_count(const pg_uuid_t *uuid, const VersionVector *seen, int limit)
{
	LagCount	count = {0};
	SyncDeviceScope *scopes;
	SyncNode   *nodes;
	int			nscopes;
	int			nnodes;

	count.seen = seen;
	count.snapshot = GetActiveSnapshot();
	count.limit = limit;
	scopes = sync_device_scopes(uuid, count.snapshot, &nscopes);
	nodes = sync_node_list(&nnodes);
	for (int i = 0; i < nscopes; i++)
		if (scopes[i].can_pull)
			for (int j = 0; j < nnodes; j++)
				lag_count_node(&count, scopes[i].scope, &nodes[j]);

	/* where we gave up, the rest is not known to be nothing */
	if (count.cost >= DEVICE_LAG_MAX)
		count.nentries = Max(count.nentries, 1);
	return count.nentries;
}

static void
lag_count_node(LagCount *count, const char *scope, const SyncNode *node)
{
	uint64		max_xid = change_log_max_xid(scope, node->id, count->snapshot);
	uint64		from = 1;
	uint64		lo;
	uint64		hi;

	count->cost++;
	while (from <= max_xid && count->nentries < count->limit &&
		   vv_next_gap(count->seen, &node->uuid, from, &lo, &hi) && lo <= max_xid)
	{
		ChangeLogScan *scan;
		ChangeLogEntry entry;

		CHECK_FOR_INTERRUPTS();
		if (++count->cost >= DEVICE_LAG_MAX)
			return;
		scan = change_log_scan_begin(scope, node->id, lo, 0, Min(hi, max_xid),
									 count->snapshot);
		while (count->nentries < count->limit && count->cost < DEVICE_LAG_MAX &&
			   change_log_scan_next(scan, &entry))
		{
			count->cost++;
			if (entry.table_id != CHANGE_LOG_EVENT)
				count->nentries++;
		}
		change_log_scan_end(scan);
		from = Min(hi, max_xid) + 1;
	}
}
