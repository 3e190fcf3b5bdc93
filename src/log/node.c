/*-------------------------------------------------------------------------
 *
 * node.c
 *	  Which node this database is, which nodes it has been, and its clock.
 *
 * The identity is computed, never stored: a hash of what makes this database
 * distinct from its copies.  Stored is only, in offline_sync.node, which
 * identities have written here.
 *
 * An identity must not change within a transaction that writes under it, and
 * no transaction may go on writing under an identity that another one has
 * ended.  The timeline of a server that accepts writes is constant; the
 * incarnation is guarded by a lock: whoever writes holds AccessShareLock on
 * offline_sync.incarnation until the end of the transaction, and
 * sync_new_incarnation() takes AccessExclusiveLock.
 *
 * What is cached here depends on rows that may be rolled back or, after the
 * extension was created again, be others.  So the caches are dropped at the
 * abort of any (sub)transaction that took part in a registration, and by the
 * relcache callback of the two tables.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <sys/time.h>

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/stratnum.h"
#include "access/table.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "access/xlogrecovery.h"
#include "catalog/indexing.h"
#include "common/cryptohash.h"
#include "common/sha2.h"
#include "fmgr.h"
#include "log/change_log.h"
#include "log/node.h"
#include "log/node_end.h"
#include "log/state.h"
#include "miscadmin.h"
#include "port/pg_bswap.h"
#include "storage/lmgr.h"
#include "tcop/utility.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/fmgroids.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"
#include "utils/xid8.h"

/* columns of offline_sync.node, .incarnation */
#define Anum_node_id			1
#define Anum_node_node			2
#define Anum_node_began_xid		3
#define Anum_node_final_xid		4
#define Anum_node_began_at		5
#define Anum_node_system_identifier 6
#define Anum_node_open_at_end	7
#define Natts_node				7
#define Anum_incarnation_nonce	2
#define Anum_incarnation_changed_at 3
#define Natts_incarnation		3

PG_FUNCTION_INFO_V1(sync_node);
PG_FUNCTION_INFO_V1(sync_new_incarnation);

/* ---- backend-local state ---- */

/* the incarnation's nonce, valid until its row may have changed */
static bool nonce_is_valid = false;
static Oid	incarnation_relid = InvalidOid;
static Oid	node_relid = InvalidOid;
static pg_uuid_t nonce;

/* the identity, and from what timeline and nonce it was computed; 0: never */
static TimeLineID identity_timeline = 0;
static pg_uuid_t identity_nonce;
static pg_uuid_t identity;

/* the registered id of "registered_uuid"; 0: not known */
static int32 registered_id = 0;
static pg_uuid_t registered_uuid;

/* the nest level at which this transaction locked the incarnation; 0: not yet */
static int	locked_level = 0;

/*
 * uuids by id, [id - 1], zero where there is no such node.  A larger array
 * replaces a smaller one, which is left for those who hold pointers into it.
 */
static pg_uuid_t *uuid_by_id = NULL;
static int	nuuids = 0;
static bool uuids_are_valid = false;

static Hlc	last_clock = HLC_MIN;

/* identity */
static void node_init(void);
static void read_nonce(void);
static void compute_identity(TimeLineID timeline);
static void lock_incarnation(void);

/* registration */
static int32 lookup_node(Relation rel, const pg_uuid_t *uuid, SyncNode *last);
static int32 register_node(const pg_uuid_t *uuid);
static void finish_predecessor(Relation rel, const SyncNode *last);
static uint64 oldest_running_xid(void);
static void read_node(Relation rel, HeapTuple tuple, SyncNode *node);
static void read_uuids(void);

/* clock */
static Hlc	wall_clock(void);

/* vectors */
static bool is_lost_of(const VersionVector *vv, const SyncNode *node);
static bool covers_any(const VersionVector *vv, const VersionVector *other,
					   const pg_uuid_t *replica);
static uint64 full_xid(TransactionId xid, FullTransactionId next);
static void remove_running_of(VVBuilder *builder, const pg_uuid_t *node,
							  Snapshot snapshot, FullTransactionId next);
static void remove_vector(VVBuilder *builder, const VersionVector *vv,
						  const pg_uuid_t *replica);

/* callbacks */
static void forget_registration(void);
static void node_relcache_callback(Datum arg, Oid relid);
static void node_xact_callback(XactEvent event, void *arg);
static void node_subxact_callback(SubXactEvent event, SubTransactionId subid,
								  SubTransactionId parent, void *arg);

/* ----------------------------------------------------------------
 * Identity
 * ---------------------------------------------------------------- */

const pg_uuid_t *
sync_node_uuid(void)
{
	TimeLineID	timeline;

	node_init();
	if (RecoveryInProgress())
		(void) GetXLogReplayRecPtr(&timeline);
	else
		timeline = GetWALInsertionTimeLine();

	if (!nonce_is_valid)
		read_nonce();
	if (timeline != identity_timeline ||
		memcmp(&nonce, &identity_nonce, UUID_LEN) != 0)
		compute_identity(timeline);
	return &identity;
}

Datum
sync_node(PG_FUNCTION_ARGS)
{
	pg_uuid_t  *result = palloc(sizeof(pg_uuid_t));

	*result = *sync_node_uuid();
	PG_RETURN_UUID_P(result);
}

/*
 * Make this database a new node.  For the administrator, after a disk snapshot
 * was restored: the same timeline then goes on twice.
 */
Datum
sync_new_incarnation(PG_FUNCTION_ARGS)
{
	Relation	rel;
	SysScanDesc scan;
	HeapTuple	tuple;
	Datum		values[Natts_incarnation] = {0};
	bool		nulls[Natts_incarnation] = {false};
	bool		replaces[Natts_incarnation] = {false};
	pg_uuid_t	fresh;
	pg_uuid_t  *result = palloc(sizeof(pg_uuid_t));

	PreventCommandDuringRecovery("sync_new_incarnation()");
	PreventCommandIfReadOnly("sync_new_incarnation()");
	node_init();
	if (locked_level > 0)
		ereport(ERROR,
				(errcode(ERRCODE_ACTIVE_SQL_TRANSACTION),
				 errmsg("sync_new_incarnation() cannot run in a transaction that has written to a tracked table"),
				 errhint("Run it in a transaction of its own.")));

	if (!pg_strong_random(fresh.data, UUID_LEN))
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("could not generate random values")));
	fresh.data[6] = (fresh.data[6] & 0x0F) | 0x40;
	fresh.data[8] = (fresh.data[8] & 0x3F) | 0x80;

	rel = state_open("incarnation", AccessExclusiveLock);
	scan = systable_beginscan(rel, InvalidOid, false, NULL, 0, NULL);
	tuple = systable_getnext(scan);
	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "offline_sync.incarnation is empty");
	values[Anum_incarnation_nonce - 1] = UUIDPGetDatum(&fresh);
	replaces[Anum_incarnation_nonce - 1] = true;
	values[Anum_incarnation_changed_at - 1] =
		TimestampTzGetDatum(GetCurrentTimestamp());
	replaces[Anum_incarnation_changed_at - 1] = true;
	tuple = heap_modify_tuple(tuple, RelationGetDescr(rel), values, nulls,
							  replaces);
	CatalogTupleUpdate(rel, &tuple->t_self, tuple);
	systable_endscan(scan);
	CacheInvalidateRelcache(rel);
	table_close(rel, NoLock);
	CommandCounterIncrement();

	*result = *sync_node_uuid();
	PG_RETURN_UUID_P(result);
}

static void
node_init(void)
{
	static bool is_initialized = false;

	if (is_initialized)
		return;
	CacheRegisterRelcacheCallback(node_relcache_callback, (Datum) 0);
	RegisterXactCallback(node_xact_callback, NULL);
	RegisterSubXactCallback(node_subxact_callback, NULL);
	is_initialized = true;
}

static void
read_nonce(void)
{
	Relation	rel = state_open("incarnation", AccessShareLock);
	SysScanDesc scan;
	HeapTuple	tuple;
	bool		isnull;

	/* set before reading: an invalidation meanwhile must not be lost */
	incarnation_relid = RelationGetRelid(rel);
	nonce_is_valid = true;

	scan = systable_beginscan(rel, InvalidOid, false, NULL, 0, NULL);
	tuple = systable_getnext(scan);
	if (!HeapTupleIsValid(tuple))
	{
		nonce_is_valid = false;
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("state table \"%s\" is empty",
						RelationGetRelationName(rel)),
				 errhint("Insert a row with a new random nonce.")));
	}
	nonce = *DatumGetUUIDP(heap_getattr(tuple, Anum_incarnation_nonce,
										RelationGetDescr(rel), &isnull));
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
}

/*
 * The first 16 bytes of a SHA-256, with the version (8: made to measure) and
 * variant bits of RFC 9562.
 */
static void
compute_identity(TimeLineID timeline)
{
	pg_cryptohash_ctx *hash = pg_cryptohash_create(PG_SHA256);
	uint64		system = pg_hton64(GetSystemIdentifier());
	uint32		database = pg_hton32(MyDatabaseId);
	uint32		line = pg_hton32(timeline);
	uint8		digest[PG_SHA256_DIGEST_LENGTH];

	if (pg_cryptohash_init(hash) < 0 ||
		pg_cryptohash_update(hash, (uint8 *) &system, sizeof(system)) < 0 ||
		pg_cryptohash_update(hash, (uint8 *) &database, sizeof(database)) < 0 ||
		pg_cryptohash_update(hash, (uint8 *) &line, sizeof(line)) < 0 ||
		pg_cryptohash_update(hash, nonce.data, UUID_LEN) < 0 ||
		pg_cryptohash_final(hash, digest, sizeof(digest)) < 0)
		elog(ERROR, "could not compute the node's identity: %s",
			 pg_cryptohash_error(hash));
	pg_cryptohash_free(hash);

	memcpy(identity.data, digest, UUID_LEN);
	identity.data[6] = (identity.data[6] & 0x0F) | 0x80;
	identity.data[8] = (identity.data[8] & 0x3F) | 0x80;
	identity_timeline = timeline;
	identity_nonce = nonce;
}

/* Hold on to the identity until the end of the transaction. */
static void
lock_incarnation(void)
{
	Oid			relid;

	if (locked_level > 0)
		return;
	relid = state_find("incarnation");
	if (!OidIsValid(relid))
	{
		/* raises */
		(void) state_open("incarnation", AccessShareLock);
	}
	LockRelationOid(relid, AccessShareLock);
	locked_level = GetCurrentTransactionNestLevel();
}

/* ----------------------------------------------------------------
 * Registration
 * ---------------------------------------------------------------- */

int32
sync_node_id(void)
{
	const pg_uuid_t *uuid;
	Relation	rel;
	int32		id;

	node_init();
	lock_incarnation();
	uuid = sync_node_uuid();
	if (registered_id != 0 && memcmp(uuid, &registered_uuid, UUID_LEN) == 0)
		return registered_id;

	rel = state_open("node", AccessShareLock);
	id = lookup_node(rel, uuid, NULL);
	table_close(rel, AccessShareLock);
	if (id == 0)
		id = register_node(uuid);
	else
		node_end_settle(id);

	node_relid = state_find("node");
	registered_id = id;
	registered_uuid = *uuid;
	return id;
}

SyncNode *
sync_node_list(int *nnodes)
{
	Relation	rel = state_open("node", AccessShareLock);
	Relation	index = index_open(state_index("node_pkey"), AccessShareLock);
	SysScanDesc scan;
	HeapTuple	tuple;
	int			max = 8;
	SyncNode   *nodes = palloc(max * sizeof(SyncNode));

	*nnodes = 0;
	scan = systable_beginscan_ordered(rel, index, NULL, 0, NULL);
	while (HeapTupleIsValid(tuple = systable_getnext_ordered(scan,
															 ForwardScanDirection)))
	{
		if (*nnodes == max)
		{
			max *= 2;
			nodes = repalloc(nodes, max * sizeof(SyncNode));
		}
		read_node(rel, tuple, &nodes[(*nnodes)++]);
	}
	systable_endscan_ordered(scan);
	index_close(index, AccessShareLock);
	table_close(rel, AccessShareLock);
	return nodes;
}

const pg_uuid_t *
sync_node_uuid_by_id(int32 id)
{
	static const pg_uuid_t none = {{0}};

	node_init();
	if (!uuids_are_valid || id > nuuids)
		read_uuids();
	if (id < 1 || id > nuuids ||
		memcmp(&uuid_by_id[id - 1], &none, UUID_LEN) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("node %d is not registered", id)));
	return &uuid_by_id[id - 1];
}

/* Fill the cache of uuids by id. */
static void
read_uuids(void)
{
	int			nnodes;
	SyncNode   *nodes;
	int			largest;
	int			i;

	node_relid = state_find("node");
	uuids_are_valid = true;

	nodes = sync_node_list(&nnodes);
	largest = nnodes == 0 ? 0 : nodes[nnodes - 1].id;
	if (largest > nuuids)
	{
		uuid_by_id = MemoryContextAllocZero(TopMemoryContext,
											largest * sizeof(pg_uuid_t));
		nuuids = largest;
	}
	for (i = 0; i < nnodes; i++)
		uuid_by_id[nodes[i].id - 1] = nodes[i].uuid;
	pfree(nodes);
}

/*
 * The id of a node, or 0; *last: the node with the largest id (id 0: there is
 * none).
 */
static int32
lookup_node(Relation rel, const pg_uuid_t *uuid, SyncNode *last)
{
	SysScanDesc scan;
	HeapTuple	tuple;
	int32		id = 0;

	if (last != NULL)
		last->id = 0;
	scan = systable_beginscan(rel, InvalidOid, false, NULL, 0, NULL);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		SyncNode	node;

		read_node(rel, tuple, &node);
		if (memcmp(&node.uuid, uuid, UUID_LEN) == 0)
			id = node.id;
		if (last != NULL && node.id > last->id)
			*last = node;
	}
	systable_endscan(scan);
	return id;
}

/*
 * Register this identity.  The lock is kept until the end of the transaction,
 * so that others that write for the first time wait for it to commit.
 */
static int32
register_node(const pg_uuid_t *uuid)
{
	Relation	rel = state_open("node", ShareRowExclusiveLock);
	SyncNode	last;
	int32		id = lookup_node(rel, uuid, &last);
	Datum		values[Natts_node];
	bool		nulls[Natts_node] = {false};
	HeapTuple	tuple;

	if (id == 0)
	{
		if (last.id > 0 && last.final_xid == 0)
			finish_predecessor(rel, &last);

		id = last.id + 1;
		values[Anum_node_id - 1] = Int32GetDatum(id);
		values[Anum_node_node - 1] = UUIDPGetDatum(uuid);
		values[Anum_node_began_xid - 1] = UInt64GetDatum(oldest_running_xid());
		nulls[Anum_node_final_xid - 1] = true;
		values[Anum_node_final_xid - 1] = (Datum) 0;
		values[Anum_node_began_at - 1] =
			TimestampTzGetDatum(GetCurrentTimestamp());
		values[Anum_node_system_identifier - 1] =
			Int64GetDatum((int64) GetSystemIdentifier());
		nulls[Anum_node_open_at_end - 1] = true;
		values[Anum_node_open_at_end - 1] = (Datum) 0;
		tuple = heap_form_tuple(RelationGetDescr(rel), values, nulls);
		CatalogTupleInsert(rel, tuple);
		heap_freetuple(tuple);
		CommandCounterIncrement();
	}
	table_close(rel, NoLock);
	return id;
}

/* Record the largest position that the node before this one stored, and what
 * was lost before it. */
static void
finish_predecessor(Relation rel, const SyncNode *last)
{
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	Datum		values[Natts_node] = {0};
	bool		nulls[Natts_node] = {false};
	bool		replaces[Natts_node] = {false};
	SysScanDesc scan;
	HeapTuple	tuple;

	values[Anum_node_final_xid - 1] =
		UInt64GetDatum(change_log_final_xid(last->id, snapshot));
	replaces[Anum_node_final_xid - 1] = true;
	UnregisterSnapshot(snapshot);
	values[Anum_node_open_at_end - 1] =
		VersionVectorPGetDatum(node_end_open(last));
	replaces[Anum_node_open_at_end - 1] = true;

	scan = systable_beginscan(rel, InvalidOid, false, NULL, 0, NULL);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		SyncNode	node;

		read_node(rel, tuple, &node);
		if (node.id != last->id)
			continue;
		tuple = heap_modify_tuple(tuple, RelationGetDescr(rel), values, nulls,
								  replaces);
		CatalogTupleUpdate(rel, &tuple->t_self, tuple);
		break;
	}
	systable_endscan(scan);
}

/*
 * The oldest transaction that may yet write under an identity registered now:
 * others wait for the registration with an xid of their own already.
 */
static uint64
oldest_running_xid(void)
{
	(void) GetTopFullTransactionId();
	return sync_snapshot_horizon(GetLatestSnapshot());
}

static void
read_node(Relation rel, HeapTuple tuple, SyncNode *node)
{
	Datum		values[Natts_node];
	bool		nulls[Natts_node];

	heap_deform_tuple(tuple, RelationGetDescr(rel), values, nulls);
	node->id = DatumGetInt32(values[Anum_node_id - 1]);
	node->uuid = *DatumGetUUIDP(values[Anum_node_node - 1]);
	node->began_xid = DatumGetUInt64(values[Anum_node_began_xid - 1]);
	node->final_xid = nulls[Anum_node_final_xid - 1] ? 0 :
		DatumGetUInt64(values[Anum_node_final_xid - 1]);
	node->is_local = GetSystemIdentifier() ==
		(uint64) DatumGetInt64(values[Anum_node_system_identifier - 1]);
	node->open_at_end = NULL;
	if (!nulls[Anum_node_open_at_end - 1])
	{
		/* the tuple may be in a buffer */
		Datum		copy = datumCopy(values[Anum_node_open_at_end - 1], false, -1);

		node->open_at_end = DatumGetVersionVectorP(copy);
	}
}

/* ----------------------------------------------------------------
 * Clock and stamps
 * ---------------------------------------------------------------- */

Hlc
sync_clock_now(void)
{
	Hlc			now = wall_clock();

	last_clock = now > last_clock ? now : hlc_successor(last_clock);
	return last_clock;
}

void
sync_node_stamp(Stamp *stamp, Hlc after)
{
	Hlc			now = sync_clock_now();

	(void) sync_node_id();		/* from now on the identity is fixed */
	stamp->hlc = now > after ? now : hlc_successor(after);
	stamp->replica = *sync_node_uuid();
	stamp->node = stamp->replica;
	stamp->xid = U64FromFullTransactionId(GetTopFullTransactionId());
}

/*
 * What anybody else takes from the clock in between is later than the stamp, and the
 * next stamp later than that: so stamps still tell what came first.  A row that is
 * inserted after another one of its key was deleted does not know of that one's stamp,
 * but must have a later one.
 */
void
sync_node_row_stamp(Stamp *stamp, Hlc after, bool is_delete)
{
	static Stamp given[2];		/* the last ones */
	Stamp	   *shared = &given[is_delete ? 1 : 0];

	if (shared->hlc != last_clock || shared->hlc <= after || locked_level == 0 ||
		shared->xid != U64FromFullTransactionId(GetTopFullTransactionIdIfAny()) ||
		shared->hlc < wall_clock())
		sync_node_stamp(shared, after);
	*stamp = *shared;
}

static Hlc
wall_clock(void)
{
	struct timeval tv;

	gettimeofday(&tv, NULL);
	return HLC_MAKE((uint64) tv.tv_sec * 1000 + tv.tv_usec / 1000, 0);
}

/* ----------------------------------------------------------------
 * Vectors
 * ---------------------------------------------------------------- */

bool
sync_vector_is_lost(const VersionVector *vv)
{
	pg_uuid_t	current = *sync_node_uuid();
	bool		is_standby = RecoveryInProgress();
	bool		is_registered = false;
	bool		is_lost = false;
	int			nnodes;
	SyncNode   *nodes = sync_node_list(&nnodes);
	int			i;

	for (i = 0; i < nnodes && !is_lost; i++)
	{
		if (memcmp(&nodes[i].uuid, &current, UUID_LEN) != 0)
			is_lost = is_lost_of(vv, &nodes[i]);
		else
		{
			is_registered = true;
			is_lost = !is_standby && vv_max_counter(vv, &current) >=
				U64FromFullTransactionId(ReadNextFullTransactionId());
		}
	}
	pfree(nodes);

	/* an identity that never wrote here cannot have been seen */
	if (!is_registered && !is_standby && vv_max_counter(vv, &current) > 0)
		is_lost = true;
	return is_lost;
}

/* Does it claim what a node that is not the current one never had here? */
static bool
is_lost_of(const VersionVector *vv, const SyncNode *node)
{
	uint64		claimed = vv_max_counter(vv, &node->uuid);

	if (claimed > node->final_xid)
	{
		/*
		 * Its end has not been recorded yet, or a transaction that it had
		 * prepared was committed later.
		 */
		Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
		uint64		final_xid = change_log_final_xid(node->id, snapshot);

		UnregisterSnapshot(snapshot);
		if (claimed > final_xid)
			return true;
	}
	return claimed > 0 && covers_any(vv, node_end_open(node), &node->uuid);
}

/* Have two vectors a counter of a replica in common? */
static bool
covers_any(const VersionVector *vv, const VersionVector *other,
		   const pg_uuid_t *replica)
{
	const VVEntry *entry = vv_find(other, replica);
	uint32		i;

	for (i = 0; entry != NULL && i < entry->nranges; i++)
	{
		const VVRange *range = &VV_RANGES(other)[entry->first_range + i];
		uint64		lo;
		uint64		hi;

		if (!vv_next_gap(vv, replica, range->lo, &lo, &hi) ||
			lo > range->lo || hi < range->hi)
			return true;
	}
	return false;
}

uint64
sync_node_covered(const SyncNode *node, const VersionVector *vv)
{
	if (node->open_at_end != NULL && vv_find(node->open_at_end, &node->uuid) != NULL)
		vv = vv_join_vectors(vv, node->open_at_end);
	return vv_base_counter(vv, &node->uuid);
}

uint64
sync_snapshot_horizon(Snapshot snapshot)
{
	return full_xid(snapshot->xmin, ReadNextFullTransactionId());
}

void
sync_remove_running(VVBuilder *builder, Snapshot snapshot)
{
	pg_uuid_t	current = *sync_node_uuid();
	FullTransactionId next = ReadNextFullTransactionId();
	int			nnodes;
	SyncNode   *nodes = sync_node_list(&nnodes);
	int			i;

	/*
	 * Older identities too: a transaction that was prepared under one of them
	 * may be open still.  Their lost ones are never claimed: that would look
	 * like a lost future.
	 */
	for (i = 0; i < nnodes; i++)
	{
		SyncNode   *node = &nodes[i];

		if (!node->is_local || memcmp(&node->uuid, &current, UUID_LEN) == 0)
			continue;
		remove_running_of(builder, &node->uuid, snapshot, next);
		remove_vector(builder, node_end_open(node), &node->uuid);
	}
	remove_running_of(builder, &current, snapshot, next);
	pfree(nodes);
}

/* Take out what a vector has of a replica. */
static void
remove_vector(VVBuilder *builder, const VersionVector *vv,
			  const pg_uuid_t *replica)
{
	const VVEntry *entry = vv_find(vv, replica);
	uint32		i;

	for (i = 0; entry != NULL && i < entry->nranges; i++)
	{
		const VVRange *range = &VV_RANGES(vv)[entry->first_range + i];

		vv_builder_remove(builder, replica, range->lo, range->hi);
	}
}

static void
remove_running_of(VVBuilder *builder, const pg_uuid_t *node,
				  Snapshot snapshot, FullTransactionId next)
{
	uint64		xmin = full_xid(snapshot->xmin, next);
	uint64		xmax = full_xid(snapshot->xmax, next);
	uint32		i;

	for (i = 0; i < snapshot->xcnt; i++)
	{
		uint64		xid = full_xid(snapshot->xip[i], next);

		vv_builder_remove(builder, node, xid, xid);
	}

	/* during recovery all that is running is in subxip, or more than fits */
	if (snapshot->takenDuringRecovery)
	{
		for (i = 0; i < snapshot->subxcnt; i++)
		{
			uint64		xid = full_xid(snapshot->subxip[i], next);

			vv_builder_remove(builder, node, xid, xid);
		}
		if (snapshot->suboverflowed && xmin < xmax)
			vv_builder_remove(builder, node, xmin, xmax - 1);
	}

	/*
	 * Nothing from xmax on was seen, of an older identity neither: it may
	 * have been the current one when the snapshot was taken.
	 */
	vv_builder_remove(builder, node, xmax, VV_MAX_COUNTER);
}

/* An xid of a snapshot, or one behind next, with its epoch. */
static uint64
full_xid(TransactionId xid, FullTransactionId next)
{
	uint32		epoch = EpochFromFullTransactionId(next);

	if (xid > XidFromFullTransactionId(next))
		epoch--;
	return U64FromFullTransactionId(FullTransactionIdFromEpochAndXid(epoch, xid));
}

/* ----------------------------------------------------------------
 * Callbacks
 * ---------------------------------------------------------------- */

static void
forget_registration(void)
{
	registered_id = 0;
	uuids_are_valid = false;
}

static void
node_relcache_callback(Datum arg, Oid relid)
{
	if (relid == InvalidOid || relid == incarnation_relid)
		nonce_is_valid = false;
	if (relid == InvalidOid || relid == incarnation_relid ||
		relid == node_relid)
		forget_registration();
}

static void
node_xact_callback(XactEvent event, void *arg)
{
	switch (event)
	{
		case XACT_EVENT_ABORT:
			if (locked_level > 0)
				forget_registration();
			locked_level = 0;
			break;
		case XACT_EVENT_COMMIT:
		case XACT_EVENT_PREPARE:
			/* a registration that is only prepared may yet be rolled back */
			if (event == XACT_EVENT_PREPARE && locked_level > 0)
				forget_registration();
			locked_level = 0;
			break;
		default:
			break;
	}
}

static void
node_subxact_callback(SubXactEvent event, SubTransactionId subid,
					  SubTransactionId parent, void *arg)
{
	int			level = GetCurrentTransactionNestLevel();

	if (event == SUBXACT_EVENT_ABORT_SUB)
	{
		if (locked_level > 0)
			forget_registration();
		if (locked_level >= level)
			locked_level = 0;
	}
	else if (event == SUBXACT_EVENT_COMMIT_SUB && locked_level >= level)
		locked_level = level - 1;
}
