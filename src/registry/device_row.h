/*-------------------------------------------------------------------------
 *
 * device_row.h
 *	  Rows of offline_sync.device and offline_sync.device_scope, for the files
 *	  of the registry that write them.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OFFLINE_SYNC_DEVICE_ROW_H
#define OFFLINE_SYNC_DEVICE_ROW_H

#include "access/htup.h"
#include "compat.h"
#include "registry/device.h"
#include "types/version_vector.h"
#include "utils/relcache.h"
#include "utils/xid8.h"

/* offline_sync.device */
#define ANUM_DEVICE_DEVICE			1
#define ANUM_DEVICE_OWNER			2
#define ANUM_DEVICE_LABEL			3
#define ANUM_DEVICE_CLASS			4
#define ANUM_DEVICE_PUBLIC_KEY		5
#define ANUM_DEVICE_ACKED_SEQ		6
#define ANUM_DEVICE_HLC				7
#define ANUM_DEVICE_REGISTERED_AT	8
#define ANUM_DEVICE_LAST_PUSH_AT	9
#define ANUM_DEVICE_LAST_ACK_AT		10
#define ANUM_DEVICE_SEEN			11
#define ANUM_DEVICE_REVOKED_AT		12
#define ANUM_DEVICE_SCHEMA_VERSION	13
#define ANUM_DEVICE_WAITING			14
#define ANUM_DEVICE_REQUIRE_SIGNATURE	15
#define ANUM_DEVICE_PREVIOUS_KEY	16
#define ANUM_DEVICE_PREVIOUS_KEY_UNTIL	17
#define ANUM_DEVICE_BUCKET_FULL_AT	18
#define ANUM_DEVICE_CLASS_NODE		19
#define ANUM_DEVICE_CLASS_XID		20
#define ANUM_DEVICE_FENCED_AT		21
#define ANUM_DEVICE_RETURNED_AT		22
#define ANUM_DEVICE_RETURNED_NODE	23
#define ANUM_DEVICE_RETURNED_HORIZON	24
#define NATTS_DEVICE				24

/* offline_sync.device_scope */
#define ANUM_SCOPE_DEVICE			1
#define ANUM_SCOPE_SCOPE			2
#define ANUM_SCOPE_CAN_PUSH			3
#define ANUM_SCOPE_CAN_PULL			4
#define ANUM_SCOPE_GRANTED_NODE		5
#define ANUM_SCOPE_GRANTED_XID		6
#define ANUM_SCOPE_REVOKED_NODE		7
#define ANUM_SCOPE_REVOKED_XID		8
#define ANUM_SCOPE_GRANTED_HORIZON	9
#define NATTS_SCOPE					9

/* an xid8 column as the number that positions are */
#define DatumGetPosition(d) U64FromFullTransactionId(DatumGetFullTransactionId(d))

/* Some columns of a row, to be written. */
typedef struct DeviceRowChange
{
	Datum		values[NATTS_DEVICE];
	bool		nulls[NATTS_DEVICE];
	bool		replace[NATTS_DEVICE];
} DeviceRowChange;

extern void device_row_set(DeviceRowChange *change, int attnum, Datum value);
extern void device_row_set_null(DeviceRowChange *change, int attnum);

/* Like sync_device_get, for whoever may be told of any device: the caller is not
 * checked, and NULL is an unknown device. */
extern SyncDevice *device_row_find(const pg_uuid_t *uuid, bool lock);

/* Write to the device's row, which this transaction has locked; device->tid
 * follows.  A heap-only update, since the key does not change. */
extern void device_row_update(SyncDevice *device, DeviceRowChange *change);

/* A fenced device has called: have clean-up wait for it, from here on. */
extern void device_row_return(SyncDevice *device, DeviceRowChange *change);

/* What the device acknowledged, palloc'd. */
extern VersionVector *device_row_seen(const SyncDevice *device);

/* Raise as sync_device_get does unless the caller acts for the device's owner. */
extern void device_row_check_caller(const SyncDevice *device);

/* 22023 where it is not of the size of a public key. */
extern void device_row_check_key(const bytea *public_key);

/* 42704 */
pg_noreturn extern void device_row_unknown(const pg_uuid_t *uuid);

/* uuid as text, palloc'd */
extern char *device_row_uuid_text(const pg_uuid_t *uuid);

#endif							/* OFFLINE_SYNC_DEVICE_ROW_H */
