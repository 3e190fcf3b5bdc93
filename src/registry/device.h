/*-------------------------------------------------------------------------
 *
 * device.h
 *	  Devices, and the scopes that they may push to and pull from.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OFFLINE_SYNC_DEVICE_H
#define OFFLINE_SYNC_DEVICE_H

#include "datatype/timestamp.h"
#include "storage/itemptr.h"
#include "types/hlc.h"
#include "types/version_vector.h"
#include "utils/snapshot.h"
#include "utils/uuid.h"

#define ED25519_KEY_SIZE	32	/* bytes, of a public key */

typedef struct SyncDevice
{
	pg_uuid_t	uuid;
	char	   *owner;			/* role name */
	char	   *device_class;	/* NULL: none */
	int32		class_node;		/* position of its latest change, 0: never */
	uint64		class_xid;
	int64		acked_seq;
	Hlc			hlc;			/* of its last stored change, as lifted */
	bool		is_revoked;
	bool		is_fenced;		/* clean-up went on without it */
	bool		has_returned;	/* and it has called since */
	int			schema_version; /* that it declared last; 0: never did */
	int			nwaiting;		/* changes that wait for a row */
	TimestampTz last_seen_at;	/* last ack: a push does not say how far it is */
	bool		must_sign;		/* every delta */
	const unsigned char *public_key;	/* ED25519_KEY_SIZE bytes; NULL: none */
	const unsigned char *previous_key;	/* still good for a while; NULL: none */
	TimestampTz previous_key_until;
	TimestampTz bucket_full_at; /* when it may push a whole burst again; 0: it
								 * may */
	ItemPointerData tid;		/* of the row version read */
} SyncDevice;

typedef struct SyncDeviceScope
{
	char	   *scope;
	bool		can_push;		/* as granted now; both false once revoked */
	bool		can_pull;
	int32		granted_node;	/* position of the latest grant of pull */
	uint64		granted_xid;
	uint64		granted_horizon;	/* all before had ended by then */
	int32		revoked_node;	/* position of the latest revocation of pull,
								 * 0: never.  Stays when pull is granted anew:
								 * a device that has not covered it must
								 * forget the scope's rows before it gets them
								 * again. */
	uint64		revoked_xid;
} SyncDeviceScope;

/*
 * Read a device's row and check the caller: 42704 for an unknown device, 42501
 * where the caller is not a member of its owner role.  With lock, the row is
 * locked until the end of the transaction and the latest version read: later
 * pushes of the device wait for it.  Without, it is read under the active
 * snapshot.  palloc'd.
 */
extern SyncDevice *sync_device_get(const pg_uuid_t *uuid, bool lock);

/* A device's class under the active snapshot, palloc'd; NULL where it has none or
 * there is no such device.  The caller is not checked. */
extern char *sync_device_class(const pg_uuid_t *uuid);

/*
 * The same for the sake of its waiting changes, whoever asks: locked if nobody
 * else holds the lock, else NULL, as for an unknown device.
 */
extern SyncDevice *sync_device_lock_if_free(const pg_uuid_t *uuid);

/* Does a role act for the device's owner? */
extern bool sync_device_is_owned_by(const SyncDevice *device, Oid role);

/* Store device->nwaiting, or ->bucket_full_at; the device must have been locked. */
extern void sync_device_set_waiting(SyncDevice *device);
extern void sync_device_set_bucket(SyncDevice *device);

/* Has the device been fenced, or acknowledged nothing for longer than
 * offline_sync.device_expiry? */
extern bool sync_device_is_expired(const SyncDevice *device);

/* Store progress after a push, device->schema_version included; the device must have
 * been locked. */
extern void sync_device_advance(SyncDevice *device, int64 acked_seq, Hlc hlc);

/*
 * The device's scopes, revoked ones included, sorted by scope (strcmp); palloc'd.
 * snapshot NULL: as they are now, which is right once the device is locked.  A
 * page to pull passes the page's own snapshot.
 */
extern SyncDeviceScope *sync_device_scopes(const pg_uuid_t *uuid,
										   Snapshot snapshot, int *nscopes);

/* Binary search in those; NULL where there is none. */
extern SyncDeviceScope *sync_device_find_scope(SyncDeviceScope *scopes, int nscopes,
											   const char *scope);

/*
 * The device's scopes for a push, which has locked the device: so nobody else changes
 * them, and it does not matter when they are read.  In the current context, as is
 * what it returns.
 */
typedef struct SyncScopeSet SyncScopeSet;

extern SyncScopeSet *sync_scope_set(const pg_uuid_t *device);

/* NULL: the device has, and had, nothing to do with it. */
extern SyncDeviceScope *sync_scope_set_find(SyncScopeSet *set, const char *scope);

/* Any scope that the device may pull; NULL: there is none. */
extern const char *sync_scope_set_pulled(SyncScopeSet *set);

/*
 * Is all there still that a vector does not cover, and that no base scan would
 * bring, in the scopes that the device may pull?  Under the snapshot that the log is
 * read with.
 */
extern bool sync_device_can_continue(SyncDeviceScope *scopes, int nscopes,
									 const VersionVector *vv,
									 Snapshot snapshot);

#endif							/* OFFLINE_SYNC_DEVICE_H */
