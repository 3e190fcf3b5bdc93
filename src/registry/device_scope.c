/*-------------------------------------------------------------------------
 *
 * device_scope.c
 *	  The scopes of a device: all of them, or those that are asked for.
 *
 * A pull needs all, since it has to know what was granted.  A push needs those of its
 * rows: it reads the first few at once, which is all of most devices', and of a device
 * that has more the others one by one, when it comes across them.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/stratnum.h"
#include "access/table.h"
#include "log/state.h"
#include "miscadmin.h"
#include "registry/device_row.h"
#include "types/seeded_hash.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

/* what SyncScopeSet reads at once */
#define FIRST_SCOPES	64

struct SyncScopeSet
{
	MemoryContext context;
	pg_uuid_t	device;
	int			nfirst;
	SyncDeviceScope *first;		/* sorted */
	bool		is_all;			/* there are no others */
	HTAB	   *others;			/* of OtherScope, that were asked for; NULL:
								 * none was */
};

typedef struct OtherScope
{
	const char *name;			/* hash key */
	bool		is_there;
	SyncDeviceScope scope;
} OtherScope;

static SyncDeviceScope *read_scopes(const pg_uuid_t *uuid, Snapshot snapshot,
									const char *only, int max_scopes,
									int *nscopes);
static SyncDeviceScope scope_from_tuple(HeapTuple tuple, TupleDesc desc);
static int	scope_compare(const void *a, const void *b);
static SyncDeviceScope *find_other(SyncScopeSet *set, const char *scope);
static uint32 name_hash(const void *key, Size keysize);
static int	name_match(const void *a, const void *b, Size keysize);

SyncDeviceScope *
sync_device_scopes(const pg_uuid_t *uuid, Snapshot snapshot, int *nscopes)
{
	return read_scopes(uuid, snapshot, NULL, INT_MAX, nscopes);
}

/* At most max_scopes of them, or one that is named. */
static SyncDeviceScope *
read_scopes(const pg_uuid_t *uuid, Snapshot snapshot, const char *only,
			int max_scopes, int *nscopes)
{
	Relation	rel = state_open("device_scope", AccessShareLock);
	SyncDeviceScope *scopes;
	int			n = 0;
	int			max = 8;
	ScanKeyData key[2];
	SysScanDesc scan;
	HeapTuple	tuple;

	scopes = palloc(max * sizeof(SyncDeviceScope));
	snapshot = RegisterSnapshot(snapshot != NULL ? snapshot : GetLatestSnapshot());
	ScanKeyInit(&key[0], ANUM_SCOPE_DEVICE, BTEqualStrategyNumber, F_UUID_EQ,
				UUIDPGetDatum(uuid));
	if (only != NULL)
		ScanKeyInit(&key[1], ANUM_SCOPE_SCOPE, BTEqualStrategyNumber, F_TEXTEQ,
					CStringGetTextDatum(only));
	scan = systable_beginscan(rel, state_index("device_scope_pkey"), true,
							  snapshot, only != NULL ? 2 : 1, key);
	while (n < max_scopes && HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		CHECK_FOR_INTERRUPTS();
		if (n == max)
		{
			max *= 2;
			scopes = repalloc_huge(scopes, (Size) max * sizeof(SyncDeviceScope));
		}
		scopes[n++] = scope_from_tuple(tuple, RelationGetDescr(rel));
	}
	systable_endscan(scan);
	UnregisterSnapshot(snapshot);
	table_close(rel, AccessShareLock);

	qsort(scopes, n, sizeof(SyncDeviceScope), scope_compare);
	*nscopes = n;
	return scopes;
}

static SyncDeviceScope
scope_from_tuple(HeapTuple tuple, TupleDesc desc)
{
	SyncDeviceScope scope;
	Datum		values[NATTS_SCOPE];
	bool		nulls[NATTS_SCOPE];

	state_check_columns(desc, NATTS_SCOPE);
	heap_deform_tuple(tuple, desc, values, nulls);

	scope.scope = TextDatumGetCString(values[ANUM_SCOPE_SCOPE - 1]);
	scope.can_push = DatumGetBool(values[ANUM_SCOPE_CAN_PUSH - 1]);
	scope.can_pull = DatumGetBool(values[ANUM_SCOPE_CAN_PULL - 1]);
	scope.granted_node = DatumGetInt32(values[ANUM_SCOPE_GRANTED_NODE - 1]);
	scope.granted_xid = DatumGetPosition(values[ANUM_SCOPE_GRANTED_XID - 1]);
	scope.granted_horizon = DatumGetPosition(values[ANUM_SCOPE_GRANTED_HORIZON - 1]);
	scope.revoked_node = 0;
	scope.revoked_xid = 0;
	if (!nulls[ANUM_SCOPE_REVOKED_NODE - 1])
	{
		scope.revoked_node = DatumGetInt32(values[ANUM_SCOPE_REVOKED_NODE - 1]);
		scope.revoked_xid = DatumGetPosition(values[ANUM_SCOPE_REVOKED_XID - 1]);
	}
	return scope;
}

static int
scope_compare(const void *a, const void *b)
{
	return strcmp(((const SyncDeviceScope *) a)->scope,
				  ((const SyncDeviceScope *) b)->scope);
}

SyncDeviceScope *
sync_device_find_scope(SyncDeviceScope *scopes, int nscopes, const char *scope)
{
	SyncDeviceScope key = {0};

	key.scope = (char *) scope;
	return bsearch(&key, scopes, nscopes, sizeof(SyncDeviceScope), scope_compare);
}

/* ----------------------------------------------------------------
 * Those that are asked for
 * ---------------------------------------------------------------- */

SyncScopeSet *
sync_scope_set(const pg_uuid_t *device)
{
	SyncScopeSet *set = palloc0(sizeof(SyncScopeSet));

	set->context = CurrentMemoryContext;
	set->device = *device;
	set->first = read_scopes(device, NULL, NULL, FIRST_SCOPES, &set->nfirst);
	set->is_all = set->nfirst < FIRST_SCOPES;
	return set;
}

SyncDeviceScope *
sync_scope_set_find(SyncScopeSet *set, const char *scope)
{
	SyncDeviceScope *result;

	result = sync_device_find_scope(set->first, set->nfirst, scope);
	if (result == NULL && !set->is_all)
		result = find_other(set, scope);
	return result;
}

const char *
sync_scope_set_pulled(SyncScopeSet *set)
{
	for (int i = 0; i < set->nfirst; i++)
	{
		if (set->first[i].can_pull)
			return set->first[i].scope;
	}
	if (!set->is_all)
	{
		MemoryContext old = MemoryContextSwitchTo(set->context);

		set->first = read_scopes(&set->device, NULL, NULL, INT_MAX, &set->nfirst);
		set->is_all = true;
		MemoryContextSwitchTo(old);
		return sync_scope_set_pulled(set);
	}
	return NULL;
}

static SyncDeviceScope *
find_other(SyncScopeSet *set, const char *scope)
{
	OtherScope *other;
	bool		found;

	if (set->others == NULL)
	{
		HASHCTL		ctl = {0};

		ctl.keysize = sizeof(char *);
		ctl.entrysize = sizeof(OtherScope);
		ctl.hash = name_hash;
		ctl.match = name_match;
		ctl.hcxt = set->context;
		set->others = hash_create("offline_sync scopes of a device", 64, &ctl,
								  HASH_ELEM | HASH_FUNCTION | HASH_COMPARE |
								  HASH_CONTEXT);
	}
	other = hash_search(set->others, &scope, HASH_FIND, NULL);
	if (other == NULL)
	{
		MemoryContext old = MemoryContextSwitchTo(set->context);
		const char *name = pstrdup(scope);
		SyncDeviceScope *read;
		int			nread;

		read = read_scopes(&set->device, NULL, scope, 1, &nread);
		other = hash_search(set->others, &name, HASH_ENTER, &found);
		other->is_there = nread == 1;
		if (other->is_there)
			other->scope = read[0];
		MemoryContextSwitchTo(old);
	}
	return other->is_there ? &other->scope : NULL;
}

static uint32
name_hash(const void *key, Size keysize)
{
	const char *name = *(const char *const *) key;

	return seeded_hash(name, strlen(name));
}

static int
name_match(const void *a, const void *b, Size keysize)
{
	return strcmp(*(const char *const *) a, *(const char *const *) b);
}
