/*-------------------------------------------------------------------------
 *
 * device.c
 *	  Devices: reading, locking and advancing their rows.
 *
 * Every push locks its device's row first and every other lock later, so that
 * pushes of one device follow each other and those of different devices never
 * deadlock.  The lock is taken with the table access method's own row lock, at
 * the strength of FOR NO KEY UPDATE, and the newest version is read whatever the
 * transaction's snapshot is: a decision from an older acked_seq would store a
 * change twice.
 *
 * Here the state tables are read by index and written without SPI: that goes
 * around privileges, so every entry point checks its caller against the device's
 * owner.  The owner is a role by name, since oids do not survive a dump.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/stratnum.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/indexing.h"
#include "executor/tuptable.h"
#include "log/node.h"
#include "log/state.h"
#include "miscadmin.h"
#include "offline_sync.h"
#include "registry/device_row.h"
#include "storage/bufmgr.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/xid8.h"

/* ---- backend-local state ---- */

static pg_uuid_t last_uuid;		/* the device that was written to last, ... */
static ItemPointerData last_tid;	/* ... and where its row was put */

static HeapTuple device_fetch_last(Relation rel, const pg_uuid_t *uuid,
								   Snapshot snapshot);
static HeapTuple device_fetch(Relation rel, const pg_uuid_t *uuid,
							  Snapshot snapshot);
static bool device_lock(Relation rel, ItemPointer tid, Snapshot snapshot,
						LockWaitPolicy policy, HeapTuple *locked);
static SyncDevice *device_from_tuple(HeapTuple tuple, TupleDesc desc);
static const unsigned char *key_from_datum(Datum datum);
static SyncDevice *device_read(const pg_uuid_t *uuid, bool lock,
							   bool check_caller);

SyncDevice *
sync_device_get(const pg_uuid_t *uuid, bool lock)
{
	SyncDevice *device = device_read(uuid, lock, true);

	if (device == NULL)
		device_row_unknown(uuid);
	return device;
}

char *
sync_device_class(const pg_uuid_t *uuid)
{
	SyncDevice *device = device_read(uuid, false, false);

	return device == NULL ? NULL : device->device_class;
}

SyncDevice *
device_row_find(const pg_uuid_t *uuid, bool lock)
{
	return device_read(uuid, lock, false);
}

/*
 * The caller is checked before the lock is asked for, so that a stranger cannot
 * make the device's pushes wait, and again if the owner changed meanwhile.
 */
static SyncDevice *
device_read(const pg_uuid_t *uuid, bool lock, bool check_caller)
{
	Relation	rel = state_open("device", lock ? RowExclusiveLock : AccessShareLock);
	SyncDevice *device = NULL;
	bool		is_done = false;

	while (!is_done)
	{
		Snapshot	snapshot;
		HeapTuple	tuple;

		CHECK_FOR_INTERRUPTS();
		snapshot = RegisterSnapshot(lock ? GetLatestSnapshot() : GetActiveSnapshot());
		tuple = device_fetch(rel, uuid, snapshot);
		if (tuple == NULL)
			is_done = true;
		else
		{
			ItemPointerData tid = tuple->t_self;

			device = device_from_tuple(tuple, RelationGetDescr(rel));
			if (check_caller)
				device_row_check_caller(device);
			if (!lock)
				is_done = true;
			else if (device_lock(rel, &tid, snapshot, LockWaitBlock, &tuple))
			{
				/* a newer version, which we waited for */
				if (!ItemPointerEquals(&tuple->t_self, &device->tid))
				{
					device = device_from_tuple(tuple, RelationGetDescr(rel));
					if (check_caller)
						device_row_check_caller(device);
				}
				is_done = true;
			}
			else
				device = NULL;	/* gone while we waited: look again */
		}
		UnregisterSnapshot(snapshot);
	}

	/* keep the lock on the table until the end of the transaction */
	table_close(rel, lock ? NoLock : AccessShareLock);
	return device;
}

/*
 * A device's row as a snapshot sees it, palloc'd; or NULL.  Most backends serve one
 * device, whose row is where this backend left it.
 */
static HeapTuple
device_fetch(Relation rel, const pg_uuid_t *uuid, Snapshot snapshot)
{
	ScanKeyData key[1];
	SysScanDesc scan;
	HeapTuple	tuple;

	tuple = device_fetch_last(rel, uuid, snapshot);
	if (tuple != NULL)
		return tuple;
	ScanKeyInit(&key[0], ANUM_DEVICE_DEVICE, BTEqualStrategyNumber, F_UUID_EQ,
				UUIDPGetDatum(uuid));
	scan = systable_beginscan(rel, state_index("device_pkey"), true, snapshot,
							  lengthof(key), key);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
		tuple = heap_copytuple(tuple);
	systable_endscan(scan);
	return tuple;
}

/* It may be of another device by now, or not visible, or nothing at all. */
static HeapTuple
device_fetch_last(Relation rel, const pg_uuid_t *uuid, Snapshot snapshot)
{
	TupleTableSlot *slot;
	HeapTuple	tuple = NULL;
	bool		isnull;

	if (!ItemPointerIsValid(&last_tid) ||
		memcmp(uuid, &last_uuid, UUID_LEN) != 0 ||
		ItemPointerGetBlockNumber(&last_tid) >= RelationGetNumberOfBlocks(rel))
		return NULL;
	slot = table_slot_create(rel, NULL);
	if (table_tuple_fetch_row_version(rel, &last_tid, snapshot, slot) &&
		memcmp(DatumGetUUIDP(slot_getattr(slot, ANUM_DEVICE_DEVICE, &isnull)),
			   uuid, UUID_LEN) == 0)
		tuple = ExecCopySlotHeapTuple(slot);
	ExecDropSingleTupleTableSlot(slot);
	return tuple;
}

SyncDevice *
sync_device_lock_if_free(const pg_uuid_t *uuid)
{
	Relation	rel = state_open("device", RowExclusiveLock);
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	HeapTuple	tuple = device_fetch(rel, uuid, snapshot);
	SyncDevice *device = NULL;

	if (tuple != NULL &&
		device_lock(rel, &tuple->t_self, snapshot, LockWaitSkip, &tuple))
		device = device_from_tuple(tuple, RelationGetDescr(rel));
	UnregisterSnapshot(snapshot);
	table_close(rel, NoLock);
	return device;
}

/*
 * Lock the row and fetch its newest version.  False where it was deleted, or
 * changed in a way that cannot be followed, or, if the policy says so, is locked.
 */
static bool
device_lock(Relation rel, ItemPointer tid, Snapshot snapshot,
			LockWaitPolicy policy, HeapTuple *locked)
{
	TupleTableSlot *slot = table_slot_create(rel, NULL);
	TM_FailureData failure;
	TM_Result	result;

	result = table_tuple_lock(rel, tid, snapshot, slot,
							  GetCurrentCommandId(false),
							  LockTupleNoKeyExclusive, policy,
							  TUPLE_LOCK_FLAG_FIND_LAST_VERSION, &failure);
	if (result == TM_Ok)
		*locked = ExecCopySlotHeapTuple(slot);
	else if (result != TM_Deleted && result != TM_Updated &&
			 result != TM_WouldBlock)
		elog(ERROR, "could not lock device row: result %d", (int) result);

	ExecDropSingleTupleTableSlot(slot);
	return result == TM_Ok;
}

static SyncDevice *
device_from_tuple(HeapTuple tuple, TupleDesc desc)
{
	SyncDevice *device = palloc0(sizeof(SyncDevice));
	Datum		values[NATTS_DEVICE];
	bool		nulls[NATTS_DEVICE];

	state_check_columns(desc, NATTS_DEVICE);
	heap_deform_tuple(tuple, desc, values, nulls);

	device->uuid = *DatumGetUUIDP(values[ANUM_DEVICE_DEVICE - 1]);
	device->owner = TextDatumGetCString(values[ANUM_DEVICE_OWNER - 1]);
	if (!nulls[ANUM_DEVICE_CLASS - 1])
		device->device_class = TextDatumGetCString(values[ANUM_DEVICE_CLASS - 1]);
	if (!nulls[ANUM_DEVICE_CLASS_NODE - 1])
	{
		device->class_node = DatumGetInt32(values[ANUM_DEVICE_CLASS_NODE - 1]);
		device->class_xid =
			U64FromFullTransactionId(DatumGetFullTransactionId(values[ANUM_DEVICE_CLASS_XID - 1]));
	}
	device->acked_seq = DatumGetInt64(values[ANUM_DEVICE_ACKED_SEQ - 1]);
	device->hlc = DatumGetHlc(values[ANUM_DEVICE_HLC - 1]);
	device->is_revoked = !nulls[ANUM_DEVICE_REVOKED_AT - 1];
	if (!nulls[ANUM_DEVICE_SCHEMA_VERSION - 1])
		device->schema_version =
			DatumGetInt32(values[ANUM_DEVICE_SCHEMA_VERSION - 1]);

	device->nwaiting = DatumGetInt32(values[ANUM_DEVICE_WAITING - 1]);
	device->is_fenced = !nulls[ANUM_DEVICE_FENCED_AT - 1];
	device->has_returned = !nulls[ANUM_DEVICE_RETURNED_AT - 1];

	device->must_sign = DatumGetBool(values[ANUM_DEVICE_REQUIRE_SIGNATURE - 1]);
	if (!nulls[ANUM_DEVICE_PUBLIC_KEY - 1])
		device->public_key = key_from_datum(values[ANUM_DEVICE_PUBLIC_KEY - 1]);
	if (!nulls[ANUM_DEVICE_PREVIOUS_KEY - 1])
	{
		device->previous_key =
			key_from_datum(values[ANUM_DEVICE_PREVIOUS_KEY - 1]);
		device->previous_key_until =
			DatumGetTimestampTz(values[ANUM_DEVICE_PREVIOUS_KEY_UNTIL - 1]);
	}
	if (!nulls[ANUM_DEVICE_BUCKET_FULL_AT - 1])
		device->bucket_full_at =
			DatumGetTimestampTz(values[ANUM_DEVICE_BUCKET_FULL_AT - 1]);

	/* a device that never acknowledged was seen when it was registered */
	device->last_seen_at =
		DatumGetTimestampTz(values[ANUM_DEVICE_REGISTERED_AT - 1]);
	if (!nulls[ANUM_DEVICE_LAST_ACK_AT - 1])
		device->last_seen_at =
			Max(device->last_seen_at,
				DatumGetTimestampTz(values[ANUM_DEVICE_LAST_ACK_AT - 1]));

	device->tid = tuple->t_self;
	return device;
}

/* A stored key, copied. */
static const unsigned char *
key_from_datum(Datum datum)
{
	bytea	   *stored = DatumGetByteaPP(datum);
	unsigned char *key = palloc(ED25519_KEY_SIZE);

	if (VARSIZE_ANY_EXHDR(stored) != ED25519_KEY_SIZE)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("stored public key of a device is damaged")));
	memcpy(key, VARDATA_ANY(stored), ED25519_KEY_SIZE);
	return key;
}

void
device_row_check_caller(const SyncDevice *device)
{
	Oid			owner = get_role_oid(device->owner, true);

	if (!OidIsValid(owner))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("owner role of device \"%s\" does not exist",
						device_row_uuid_text(&device->uuid)),
				 errhint("Register the device again with an existing role as its owner.")));
	if (!has_privs_of_role(GetUserId(), owner))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied for device \"%s\"",
						device_row_uuid_text(&device->uuid)),
				 errhint("Connect as a member of the device's owner role.")));
}

bool
sync_device_is_owned_by(const SyncDevice *device, Oid role)
{
	Oid			owner = get_role_oid(device->owner, true);

	return OidIsValid(owner) && has_privs_of_role(role, owner);
}

void
device_row_unknown(const pg_uuid_t *uuid)
{
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_OBJECT),
			 errmsg("device \"%s\" does not exist", device_row_uuid_text(uuid)),
			 errhint("Register it with sync_register_device.")));
}

char *
device_row_uuid_text(const pg_uuid_t *uuid)
{
	return DatumGetCString(DirectFunctionCall1(uuid_out, UUIDPGetDatum(uuid)));
}

bool
sync_device_is_expired(const SyncDevice *device)
{
	int64		silence = GetCurrentTimestamp() - device->last_seen_at;

	return device->is_fenced ||
		silence / USECS_PER_MINUTE >= sync_device_expiry;
}

/* ---- writing ---- */

void
sync_device_advance(SyncDevice *device, int64 acked_seq, Hlc hlc)
{
	DeviceRowChange change = {0};

	device_row_set(&change, ANUM_DEVICE_ACKED_SEQ, Int64GetDatum(acked_seq));
	device_row_set(&change, ANUM_DEVICE_HLC, HlcGetDatum(hlc));
	device_row_set(&change, ANUM_DEVICE_LAST_PUSH_AT,
				   TimestampTzGetDatum(GetCurrentTimestamp()));
	if (device->schema_version != 0)
		device_row_set(&change, ANUM_DEVICE_SCHEMA_VERSION,
					   Int32GetDatum(device->schema_version));
	device_row_set(&change, ANUM_DEVICE_WAITING, Int32GetDatum(device->nwaiting));
	device_row_return(device, &change);
	device_row_update(device, &change);

	device->acked_seq = acked_seq;
	device->hlc = hlc;
}

void
sync_device_set_waiting(SyncDevice *device)
{
	DeviceRowChange change = {0};

	device_row_set(&change, ANUM_DEVICE_WAITING, Int32GetDatum(device->nwaiting));
	device_row_update(device, &change);
}

void
sync_device_set_bucket(SyncDevice *device)
{
	DeviceRowChange change = {0};

	device_row_set(&change, ANUM_DEVICE_BUCKET_FULL_AT,
				   TimestampTzGetDatum(device->bucket_full_at));
	device_row_update(device, &change);
}

/*
 * What had ended by the time of the call comes with the device's fresh start,
 * which begins after it.
 */
void
device_row_return(SyncDevice *device, DeviceRowChange *change)
{
	if (!device->is_fenced || device->has_returned)
		return;
	device_row_set(change, ANUM_DEVICE_RETURNED_AT,
				   TimestampTzGetDatum(GetCurrentTimestamp()));
	device_row_set(change, ANUM_DEVICE_RETURNED_NODE,
				   Int32GetDatum(sync_node_id()));
	device_row_set(change, ANUM_DEVICE_RETURNED_HORIZON,
				   UInt64GetDatum(sync_snapshot_horizon(GetLatestSnapshot())));
	device->has_returned = true;
}

void
device_row_set(DeviceRowChange *change, int attnum, Datum value)
{
	change->values[attnum - 1] = value;
	change->nulls[attnum - 1] = false;
	change->replace[attnum - 1] = true;
}

void
device_row_set_null(DeviceRowChange *change, int attnum)
{
	change->nulls[attnum - 1] = true;
	change->replace[attnum - 1] = true;
}

void
device_row_update(SyncDevice *device, DeviceRowChange *change)
{
	Relation	rel = state_open("device", RowExclusiveLock);
	TupleTableSlot *slot = table_slot_create(rel, NULL);
	HeapTuple	old;
	HeapTuple	new;

	/* locked by us, so this version is the newest */
	if (!table_tuple_fetch_row_version(rel, &device->tid, SnapshotSelf, slot))
		elog(ERROR, "could not find the locked row of device \"%s\"",
			 device_row_uuid_text(&device->uuid));
	old = ExecFetchSlotHeapTuple(slot, false, NULL);
	new = heap_modify_tuple(old, RelationGetDescr(rel), change->values,
							change->nulls, change->replace);
	CatalogTupleUpdate(rel, &device->tid, new);
	device->tid = new->t_self;
	last_uuid = device->uuid;
	last_tid = device->tid;

	ExecDropSingleTupleTableSlot(slot);
	heap_freetuple(new);
	table_close(rel, NoLock);

	/* so that another call in the same statement finds the new version */
	CommandCounterIncrement();
}

VersionVector *
device_row_seen(const SyncDevice *device)
{
	Relation	rel = state_open("device", AccessShareLock);
	TupleTableSlot *slot = table_slot_create(rel, NULL);
	VersionVector *seen;
	bool		isnull;

	/* the version that was read: it need not be the newest any more */
	if (!table_tuple_fetch_row_version(rel, &((SyncDevice *) device)->tid,
									   SnapshotAny, slot))
		elog(ERROR, "could not find the row of device \"%s\"",
			 device_row_uuid_text(&device->uuid));
	seen = (VersionVector *)
		PG_DETOAST_DATUM_COPY(slot_getattr(slot, ANUM_DEVICE_SEEN, &isnull));

	ExecDropSingleTupleTableSlot(slot);
	table_close(rel, AccessShareLock);
	return seen;
}
