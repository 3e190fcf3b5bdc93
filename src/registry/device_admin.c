/*-------------------------------------------------------------------------
 *
 * device_admin.c
 *	  Registering and revoking devices, granting and revoking their scopes.
 *
 * Whoever may execute these functions may use them for every device and role;
 * they are not granted to PUBLIC.
 *
 * A grant of pull and its revocation have a position each, and an entry in the
 * change log of the scope there: a device's vector comes to cover it once the
 * scope's rows, or their retraction, have been served.  Every one of these
 * functions locks the device's row first, as a push does.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/stratnum.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/indexing.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "compat.h"
#include "fmgr.h"
#include "log/change_log.h"
#include "log/node.h"
#include "log/state.h"
#include "miscadmin.h"
#include "registry/device_row.h"
#include "registry/table_version.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/xid8.h"

/* What a registration says of the device itself; NULL: nothing. */
typedef struct DeviceAttributes
{
	char	   *owner;
	text	   *label;
	text	   *device_class;
	bytea	   *public_key;
} DeviceAttributes;

static pg_uuid_t *device_uuid_for_registration(FunctionCallInfo fcinfo, int arg);
static void device_check_uuid(const pg_uuid_t *uuid);
static char *device_owner_name(Oid owner);
static void device_serialize_registration(const pg_uuid_t *uuid);
static void device_insert(const pg_uuid_t *uuid, const DeviceAttributes *attributes);
static void device_set_attributes(SyncDevice *device,
								  const DeviceAttributes *attributes);
static void device_set_class(const SyncDevice *device, DeviceRowChange *change,
							 text *device_class);
static void device_add_scopes(const pg_uuid_t *uuid, ArrayType *scopes);
static SyncDevice *device_lock_for_grant(const pg_uuid_t *uuid);
static void device_check_not_revoked(const SyncDevice *device);
static void scope_write(const pg_uuid_t *uuid, const SyncDeviceScope *scope,
						bool is_new);
static void scope_grant(const pg_uuid_t *uuid, const SyncDeviceScope *old,
						char *name, bool push, bool pull);
static void scope_log_event(const pg_uuid_t *uuid, const char *scope);
static void prevent_unless_writable(const char *function);
static void check_arguments(FunctionCallInfo fcinfo);

PG_FUNCTION_INFO_V1(sync_register_device);
Datum
sync_register_device(PG_FUNCTION_ARGS)
{
	pg_uuid_t  *uuid;
	ArrayType  *scopes = PG_ARGISNULL(1) ? NULL : PG_GETARG_ARRAYTYPE_P(1);
	DeviceAttributes attributes;
	SyncDevice *device;

	prevent_unless_writable("sync_register_device()");
	uuid = device_uuid_for_registration(fcinfo, 0);
	device_check_uuid(uuid);
	attributes.owner = device_owner_name(PG_ARGISNULL(2) ? InvalidOid : PG_GETARG_OID(2));
	attributes.label = PG_ARGISNULL(3) ? NULL : PG_GETARG_TEXT_PP(3);
	attributes.public_key = PG_ARGISNULL(4) ? NULL : PG_GETARG_BYTEA_PP(4);
	if (attributes.public_key != NULL)
		device_row_check_key(attributes.public_key);
	attributes.device_class = PG_ARGISNULL(5) ? NULL : PG_GETARG_TEXT_PP(5);

	device_serialize_registration(uuid);
	device = device_row_find(uuid, true);
	if (device == NULL)
		device_insert(uuid, &attributes);
	else
	{
		device_check_not_revoked(device);
		device_set_attributes(device, &attributes);
	}
	if (scopes != NULL)
		device_add_scopes(uuid, scopes);

	PG_RETURN_UUID_P(uuid);
}

PG_FUNCTION_INFO_V1(sync_revoke_device);
Datum
sync_revoke_device(PG_FUNCTION_ARGS)
{
	pg_uuid_t  *uuid;
	SyncDevice *device;
	DeviceRowChange change = {0};

	prevent_unless_writable("sync_revoke_device()");
	check_arguments(fcinfo);
	uuid = PG_GETARG_UUID_P(0);
	device = device_row_find(uuid, true);
	if (device == NULL)
		device_row_unknown(uuid);
	if (!device->is_revoked)
	{
		device_row_set(&change, ANUM_DEVICE_REVOKED_AT,
					   TimestampTzGetDatum(GetCurrentTimestamp()));
		device_row_update(device, &change);
	}
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(sync_grant_scope);
Datum
sync_grant_scope(PG_FUNCTION_ARGS)
{
	pg_uuid_t  *uuid;
	char	   *scope;
	bool		push;
	bool		pull;
	SyncDeviceScope *scopes;
	int			nscopes;

	prevent_unless_writable("sync_grant_scope()");
	check_arguments(fcinfo);
	uuid = PG_GETARG_UUID_P(0);
	scope = text_to_cstring(PG_GETARG_TEXT_PP(1));
	push = PG_GETARG_BOOL(2);
	pull = PG_GETARG_BOOL(3);
	if (!push && !pull)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("a grant of a scope must allow push, or pull, or both"),
				 errhint("Use sync_revoke_scope to take both away.")));
	device_check_not_revoked(device_lock_for_grant(uuid));
	scopes = sync_device_scopes(uuid, NULL, &nscopes);
	scope_grant(uuid, sync_device_find_scope(scopes, nscopes, scope),
				scope, push, pull);
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(sync_revoke_scope);
Datum
sync_revoke_scope(PG_FUNCTION_ARGS)
{
	pg_uuid_t  *uuid;
	char	   *name;
	SyncDeviceScope *scopes;
	SyncDeviceScope *scope;
	int			nscopes;

	prevent_unless_writable("sync_revoke_scope()");
	check_arguments(fcinfo);
	uuid = PG_GETARG_UUID_P(0);
	name = text_to_cstring(PG_GETARG_TEXT_PP(1));
	(void) device_lock_for_grant(uuid);
	scopes = sync_device_scopes(uuid, NULL, &nscopes);
	scope = sync_device_find_scope(scopes, nscopes, name);
	if (scope == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("scope \"%s\" was never granted to device \"%s\"",
						name, device_row_uuid_text(uuid))));
	scope_grant(uuid, scope, name, false, false);
	PG_RETURN_VOID();
}

/* ---- registration ---- */

/* The argument, or a random uuid where it is NULL. */
static pg_uuid_t *
device_uuid_for_registration(FunctionCallInfo fcinfo, int arg)
{
	if (!PG_ARGISNULL(arg))
		return PG_GETARG_UUID_P(arg);
	return DatumGetUUIDP(DirectFunctionCall1(gen_random_uuid, (Datum) 0));
}

/* A replica that writes stamps and vectors must be told from every other. */
static void
device_check_uuid(const pg_uuid_t *uuid)
{
	static const pg_uuid_t nil = {{0}};
	SyncNode   *nodes;
	int			nnodes;
	bool		is_node;

	if (memcmp(uuid, &nil, UUID_LEN) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the nil uuid cannot name a device")));

	if (sync_is_schema_replica(uuid))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("uuid \"%s\" stands for the schema and cannot name a device",
						device_row_uuid_text(uuid))));

	is_node = memcmp(uuid, sync_node_uuid(), UUID_LEN) == 0;
	nodes = sync_node_list(&nnodes);
	for (int i = 0; i < nnodes && !is_node; i++)
		is_node = memcmp(uuid, &nodes[i].uuid, UUID_LEN) == 0;
	if (is_node)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("uuid \"%s\" cannot name a device: it names a node",
						device_row_uuid_text(uuid))));
}

static char *
device_owner_name(Oid owner)
{
	if (!OidIsValid(owner))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("a device must have an owner")));
	return GetUserNameFromId(owner, false);
}

void
device_row_check_key(const bytea *public_key)
{
	if (VARSIZE_ANY_EXHDR(public_key) != ED25519_KEY_SIZE)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("public key has %d bytes, but an Ed25519 key has %d",
						(int) VARSIZE_ANY_EXHDR(public_key), ED25519_KEY_SIZE),
				 errhint("Pass the raw key: the last %d bytes of its DER form.", ED25519_KEY_SIZE)));
}

/*
 * Two registrations of one uuid follow each other, so that the second finds the
 * row of the first instead of a duplicate key.  Other uuids with the same hash
 * wait too, which does no harm.
 */
static void
device_serialize_registration(const pg_uuid_t *uuid)
{
	Relation	rel = state_open("device", RowExclusiveLock);

	LockDatabaseObject(RelationGetRelid(rel),
					   hash_bytes(uuid->data, UUID_LEN), 0, ExclusiveLock);
	table_close(rel, NoLock);
}

static void
device_insert(const pg_uuid_t *uuid, const DeviceAttributes *attributes)
{
	Relation	rel = state_open("device", RowExclusiveLock);
	Datum		values[NATTS_DEVICE] = {0};
	bool		nulls[NATTS_DEVICE] = {false};
	HeapTuple	tuple;

	values[ANUM_DEVICE_DEVICE - 1] = UUIDPGetDatum(uuid);
	values[ANUM_DEVICE_OWNER - 1] = CStringGetTextDatum(attributes->owner);
	values[ANUM_DEVICE_LABEL - 1] = PointerGetDatum(attributes->label);
	nulls[ANUM_DEVICE_LABEL - 1] = attributes->label == NULL;
	values[ANUM_DEVICE_CLASS - 1] = PointerGetDatum(attributes->device_class);
	nulls[ANUM_DEVICE_CLASS - 1] = attributes->device_class == NULL;
	values[ANUM_DEVICE_PUBLIC_KEY - 1] = PointerGetDatum(attributes->public_key);
	nulls[ANUM_DEVICE_PUBLIC_KEY - 1] = attributes->public_key == NULL;
	values[ANUM_DEVICE_ACKED_SEQ - 1] = Int64GetDatum(0);
	values[ANUM_DEVICE_HLC - 1] = HlcGetDatum(HLC_MIN);
	values[ANUM_DEVICE_REGISTERED_AT - 1] = TimestampTzGetDatum(GetCurrentTimestamp());
	nulls[ANUM_DEVICE_LAST_PUSH_AT - 1] = true;
	nulls[ANUM_DEVICE_LAST_ACK_AT - 1] = true;
	values[ANUM_DEVICE_SEEN - 1] = VersionVectorPGetDatum(vv_empty());
	nulls[ANUM_DEVICE_REVOKED_AT - 1] = true;
	nulls[ANUM_DEVICE_SCHEMA_VERSION - 1] = true;
	nulls[ANUM_DEVICE_FENCED_AT - 1] = true;
	nulls[ANUM_DEVICE_RETURNED_AT - 1] = true;
	nulls[ANUM_DEVICE_RETURNED_NODE - 1] = true;
	nulls[ANUM_DEVICE_RETURNED_HORIZON - 1] = true;
	values[ANUM_DEVICE_WAITING - 1] = Int32GetDatum(0);
	values[ANUM_DEVICE_REQUIRE_SIGNATURE - 1] = BoolGetDatum(false);
	nulls[ANUM_DEVICE_PREVIOUS_KEY - 1] = true;
	nulls[ANUM_DEVICE_PREVIOUS_KEY_UNTIL - 1] = true;
	nulls[ANUM_DEVICE_BUCKET_FULL_AT - 1] = true;
	nulls[ANUM_DEVICE_CLASS_NODE - 1] = true;
	nulls[ANUM_DEVICE_CLASS_XID - 1] = true;

	tuple = heap_form_tuple(RelationGetDescr(rel), values, nulls);
	CatalogTupleInsert(rel, tuple);
	heap_freetuple(tuple);
	table_close(rel, NoLock);
	CommandCounterIncrement();
}

/* What a repeated registration does not say stays. */
static void
device_set_attributes(SyncDevice *device, const DeviceAttributes *attributes)
{
	DeviceRowChange change = {0};

	device_row_set(&change, ANUM_DEVICE_OWNER,
				   CStringGetTextDatum(attributes->owner));
	if (attributes->label != NULL)
		device_row_set(&change, ANUM_DEVICE_LABEL,
					   PointerGetDatum(attributes->label));
	if (attributes->device_class != NULL)
		device_set_class(device, &change, attributes->device_class);
	if (attributes->public_key != NULL)
	{
		/* at once: sync_rotate_key is for whoever wants an overlap */
		device_row_set(&change, ANUM_DEVICE_PUBLIC_KEY,
					   PointerGetDatum(attributes->public_key));
		device_row_set_null(&change, ANUM_DEVICE_PREVIOUS_KEY);
		device_row_set_null(&change, ANUM_DEVICE_PREVIOUS_KEY_UNTIL);
	}
	device_row_update(device, &change);
}

/* Columns may not have been served to the former class: the change is an event, as a
 * grant is. */
static void
device_set_class(const SyncDevice *device, DeviceRowChange *change,
				 text *device_class)
{
	if (device->device_class != NULL &&
		strcmp(device->device_class, text_to_cstring(device_class)) == 0)
		return;
	device_row_set(change, ANUM_DEVICE_CLASS, PointerGetDatum(device_class));
	device_row_set(change, ANUM_DEVICE_CLASS_NODE, Int32GetDatum(sync_node_id()));
	device_row_set(change, ANUM_DEVICE_CLASS_XID,
				   FullTransactionIdGetDatum(GetTopFullTransactionId()));
	scope_log_event(&device->uuid, NULL);
}

/* Grant those that the device never had: a revoked one is not given back by
 * registering again. */
static void
device_add_scopes(const pg_uuid_t *uuid, ArrayType *scopes)
{
	Datum	   *elements;
	bool	   *nulls;
	int			n;

	deconstruct_array(scopes, TEXTOID, -1, false, TYPALIGN_INT,
					  &elements, &nulls, &n);
	for (int i = 0; i < n; i++)
		if (nulls[i])
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("a scope must not be null")));

	/* sorted, so that a name given twice is met next to itself */
	if (n > 0)
	{
		SyncDeviceScope *old;
		int			nold;
		char	  **names = palloc(n * sizeof(char *));

		for (int i = 0; i < n; i++)
			names[i] = TextDatumGetCString(elements[i]);
		qsort(names, n, sizeof(char *), pg_qsort_strcmp);
		old = sync_device_scopes(uuid, NULL, &nold);
		for (int i = 0; i < n; i++)
		{
			CHECK_FOR_INTERRUPTS();
			if (i > 0 && strcmp(names[i], names[i - 1]) == 0)
				continue;
			if (sync_device_find_scope(old, nold, names[i]) == NULL)
				scope_grant(uuid, NULL, names[i], true, true);
		}
	}
}

/* ---- grants ---- */

static SyncDevice *
device_lock_for_grant(const pg_uuid_t *uuid)
{
	SyncDevice *device = device_row_find(uuid, true);

	if (device == NULL)
		device_row_unknown(uuid);
	return device;
}

static void
device_check_not_revoked(const SyncDevice *device)
{
	if (device->is_revoked)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("device \"%s\" has been revoked",
						device_row_uuid_text(&device->uuid)),
				 errhint("A revoked device does not come back: register it under a new uuid.")));
}

/*
 * Make push and pull what the device may do with a scope.  old: the scope's row,
 * NULL where there is none.  Nothing is written where nothing changes, so that
 * the position of a grant stays.
 */
static void
scope_grant(const pg_uuid_t *uuid, const SyncDeviceScope *old, char *name,
			bool push, bool pull)
{
	SyncDeviceScope scope = {0};
	int32		node;
	uint64		xid;

	if (old != NULL && old->can_push == push && old->can_pull == pull)
		return;

	node = sync_node_id();
	xid = U64FromFullTransactionId(GetTopFullTransactionId());
	if (old != NULL)
		scope = *old;
	scope.scope = name;
	scope.can_push = push;
	scope.can_pull = pull;
	if (old == NULL || (pull && !old->can_pull))
	{
		scope.granted_node = node;
		scope.granted_xid = xid;
		scope.granted_horizon = sync_snapshot_horizon(GetLatestSnapshot());
	}
	if (old != NULL && old->can_pull && !pull)
	{
		scope.revoked_node = node;
		scope.revoked_xid = xid;
	}
	scope_write(uuid, &scope, old == NULL);
	if (old == NULL ? pull : pull != old->can_pull)
		scope_log_event(uuid, name);
}

static void
scope_write(const pg_uuid_t *uuid, const SyncDeviceScope *scope, bool is_new)
{
	Relation	rel = state_open("device_scope", RowExclusiveLock);
	Datum		values[NATTS_SCOPE];
	bool		nulls[NATTS_SCOPE] = {false};
	HeapTuple	new;

	values[ANUM_SCOPE_DEVICE - 1] = UUIDPGetDatum(uuid);
	values[ANUM_SCOPE_SCOPE - 1] = CStringGetTextDatum(scope->scope);
	values[ANUM_SCOPE_CAN_PUSH - 1] = BoolGetDatum(scope->can_push);
	values[ANUM_SCOPE_CAN_PULL - 1] = BoolGetDatum(scope->can_pull);
	values[ANUM_SCOPE_GRANTED_NODE - 1] = Int32GetDatum(scope->granted_node);
	values[ANUM_SCOPE_GRANTED_XID - 1] =
		FullTransactionIdGetDatum(FullTransactionIdFromU64(scope->granted_xid));
	values[ANUM_SCOPE_GRANTED_HORIZON - 1] =
		FullTransactionIdGetDatum(FullTransactionIdFromU64(scope->granted_horizon));
	values[ANUM_SCOPE_REVOKED_NODE - 1] = Int32GetDatum(scope->revoked_node);
	values[ANUM_SCOPE_REVOKED_XID - 1] =
		FullTransactionIdGetDatum(FullTransactionIdFromU64(scope->revoked_xid));
	nulls[ANUM_SCOPE_REVOKED_NODE - 1] = scope->revoked_node == 0;
	nulls[ANUM_SCOPE_REVOKED_XID - 1] = scope->revoked_node == 0;

	new = heap_form_tuple(RelationGetDescr(rel), values, nulls);
	if (is_new)
		CatalogTupleInsert(rel, new);
	else
	{
		ScanKeyData keys[2];
		SysScanDesc scan;
		HeapTuple	old;
		Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());

		ScanKeyInit(&keys[0], ANUM_SCOPE_DEVICE, BTEqualStrategyNumber,
					F_UUID_EQ, UUIDPGetDatum(uuid));
		ScanKeyInit(&keys[1], ANUM_SCOPE_SCOPE, BTEqualStrategyNumber,
					F_TEXTEQ, values[ANUM_SCOPE_SCOPE - 1]);
		scan = systable_beginscan(rel, state_index("device_scope_pkey"), true,
								  snapshot, lengthof(keys), keys);
		old = systable_getnext(scan);
		if (!HeapTupleIsValid(old))
			elog(ERROR, "could not find scope \"%s\" of device \"%s\"",
				 scope->scope, device_row_uuid_text(uuid));
		CatalogTupleUpdate(rel, &old->t_self, new);
		systable_endscan(scan);
		UnregisterSnapshot(snapshot);
	}
	heap_freetuple(new);
	table_close(rel, NoLock);
	CommandCounterIncrement();
}

/* Give the grant, or its end, a position that vectors can come to cover.  scope NULL:
 * of something else about the device. */
static void
scope_log_event(const pg_uuid_t *uuid, const char *scope)
{
	char	   *key = device_row_uuid_text(uuid);

	change_log_add(scope, CHANGE_LOG_EVENT, key, strlen(key));
}

static void
prevent_unless_writable(const char *function)
{
	PreventCommandDuringRecovery(function);
	PreventCommandIfReadOnly(function);
}

/* A grant, or its end, that silently did nothing would be taken for done. */
static void
check_arguments(FunctionCallInfo fcinfo)
{
	static const char *const names[] = {"device", "scope", "push", "pull"};

	for (int i = 0; i < PG_NARGS(); i++)
		if (PG_ARGISNULL(i))
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("%s must not be null", names[i])));
}
