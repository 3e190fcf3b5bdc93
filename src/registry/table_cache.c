/*-------------------------------------------------------------------------
 *
 * table_cache.c
 *	  The tracked tables as this backend knows them, and the look-ups.
 *
 * Two levels.  The registry is the list of all enabled tables with the relation
 * of each, its parents and its rank; it is small, and is read again as a whole
 * when a tracked relation or offline_sync.tracked_table is invalidated.  The
 * descriptions (SyncTable) are built one by one when asked for, and again when
 * their relation was invalidated, or their place in the registry changed.
 *
 * The row trigger asks by relid for every row, so that is a comparison with the
 * last relation asked for, or a hash look-up.
 *
 * Everything lives in contexts below registry_context.  What has been replaced
 * moves below garbage_context, which is emptied at the end of the top
 * transaction: until then somebody may be using it.
 *
 * Invalidation callbacks only clear flags.  Something may be invalidated while
 * it is being read; it is then used once, as it would be if the invalidation had
 * come a moment later, and read again for the next who asks.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/parallel.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/namespace.h"
#include "compat.h"
#include "log/node.h"
#include "miscadmin.h"
#include "registry/column_history.h"
#include "registry/table_build.h"
#include "registry/table_registry.h"
#include "registry/table_version.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/syscache.h"

/* An enabled table. */
typedef struct RegistryEntry
{
	TrackedTable row;
	Oid			relid;			/* InvalidOid: not found (being restored) */
	int			nparents;
	int32	   *parents;		/* table ids */
	int			rank;			/* -1: not computed yet */
	bool		is_on_path;		/* while ranks are computed */
} RegistryEntry;

typedef struct Registry
{
	MemoryContext context;
	RegistryOids oids;
	bool		is_incomplete;	/* some relation was not found: valid for one
								 * transaction only */
	int			nentries;
	RegistryEntry *entries;		/* ascending table_id */
	RegistryEntry **by_name;	/* ascending wire name */
	int			schema_version;
	int			nschema_nodes;
	SchemaNode *schema_nodes;
} Registry;

/* A description, kept in a hash by table id. */
typedef struct TableSlot
{
	int32		table_id;		/* hash key */
	bool		is_valid;
	bool		is_stale;		/* the registered columns are not the
								 * relation's */
	const char *problem;		/* why there is no table, or NULL */
	SyncTable  *table;
	MemoryContext context;		/* of table */
} TableSlot;

/* A relation that a description was made from: a table, root or partition. */
typedef struct RelationSlot
{
	Oid			relid;			/* hash key */
	bool		is_valid;		/* TableSlot is that of this relation */
	TableSlot  *slot;
} RelationSlot;

static MemoryContext registry_context = NULL;
static MemoryContext garbage_context = NULL;
static HTAB *table_slots = NULL;
static HTAB *relation_slots = NULL;
static Registry *registry = NULL;
static bool registry_is_valid = false;

/* counts the invalidations that concern us */
static uint64 invalidations = 0;

/* the last answer by relid; no table when anything was invalidated since */
static Oid	last_relid = InvalidOid;
static SyncTable *last_table = NULL;

static void registry_init(void);
static Registry *registry_get(void);
static Registry *registry_read(void);
static void registry_find_relations(Registry *r);
static bool is_at_recorded_name(const Registry *r, RegistryEntry *entry);
static void registry_find_parents(Registry *r);
static int	registry_rank(Registry *r, RegistryEntry *entry);
static void registry_sort_names(Registry *r);
static RegistryEntry *registry_find(Registry *r, int32 table_id);
static RegistryEntry *registry_find_relid(Registry *r, Oid relid);
static int	compare_entry_ids(const void *a, const void *b);
static int	compare_entry_names(const void *a, const void *b);
static int	compare_tables(const void *a, const void *b);

static TableSlot *slot_get(Registry *r, RegistryEntry *entry);
static void slot_build(Registry *r, RegistryEntry *entry, TableSlot *slot);
static bool slot_matches(const TableSlot *slot, const RegistryEntry *entry);
static void slot_drop_table(TableSlot *slot);
static void relation_slot_set(Oid relid, TableSlot *slot);
static SyncTable *find_by_relid(Oid relid);
static RegistryEntry *find_entry(Oid relid);
static bool may_write(void);

static void registry_forget(void);
static void relation_invalidated(Datum arg, Oid relid);
static void schema_invalidated(Datum arg, int cache_id, uint32 hash);
static void transaction_ended(XactEvent event, void *arg);

/* ----------
 * Look-ups
 * ----------
 */

SyncTable *
sync_table_by_relid(Oid relid)
{
	if (relid == last_relid && last_table != NULL)
		return last_table;
	return find_by_relid(relid);
}

static SyncTable *
find_by_relid(Oid relid)
{
	RelationSlot *relation;
	Registry   *r = registry_get();
	RegistryEntry *entry;
	TableSlot  *slot;

	relation = hash_search(relation_slots, &relid, HASH_FIND, NULL);
	if (relation != NULL && relation->is_valid && relation->slot->is_valid &&
		!relation->slot->is_stale && relation->slot->table != NULL)
	{
		last_relid = relid;
		last_table = relation->slot->table;
		return last_table;
	}

	entry = find_entry(relid);
	if (entry == NULL)
		return NULL;
	r = registry_get();
	slot = slot_get(r, entry);
	if (slot->is_stale && slot->table != NULL && may_write())
	{
		sync_table_refresh(entry->row.table_id, entry->relid);
		r = registry_get();
		entry = registry_find(r, slot->table_id);
		if (entry == NULL)
			return NULL;
		slot = slot_get(r, entry);
	}
	if (slot->problem != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("table \"%s\" is kept in sync but %s",
						get_rel_name(relid), slot->problem),
				 errhint("Restore what is missing, or use sync_disable_table().")));
	if (slot->is_valid)
		relation_slot_set(relid, slot);
	return slot->table;
}

/*
 * The enabled table that a relation is, or is a partition of, by its trigger.
 * Where the trigger names a table that the registry does not have or has not
 * found, a restore may be going on: look again.
 */
static RegistryEntry *
find_entry(Oid relid)
{
	Registry   *r = registry_get();
	int32		table_id = registry_trigger_table_id(relid, &r->oids);
	RegistryEntry *entry;

	if (table_id == 0)
		return NULL;
	entry = registry_find(r, table_id);
	if (entry == NULL || !OidIsValid(entry->relid))
	{
		registry_forget();
		entry = registry_find(registry_get(), table_id);
	}
	if (entry == NULL || !OidIsValid(entry->relid) ||
		relation_root(relid) != entry->relid)
		return NULL;
	return entry;
}

SyncTable *
sync_table_by_id(int32 table_id)
{
	Registry   *r = registry_get();
	RegistryEntry *entry = registry_find(r, table_id);

	return entry == NULL ? NULL : slot_get(r, entry)->table;
}

SyncTable *
sync_table_by_name(const char *wire_name, int len)
{
	Registry   *r = registry_get();
	int			low = 0;
	int			high = r->nentries;

	while (low < high)
	{
		int			middle = low + (high - low) / 2;
		const char *name = r->by_name[middle]->row.wire_name;
		int			cmp = strncmp(name, wire_name, len);

		if (cmp == 0 && name[len] != '\0')
			cmp = 1;
		if (cmp == 0)
			return slot_get(r, r->by_name[middle])->table;
		if (cmp < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return NULL;
}

SyncTable **
sync_table_list(int *ntables)
{
	Registry   *r = registry_get();
	SyncTable **tables = palloc(Max(r->nentries, 1) * sizeof(SyncTable *));
	int32	   *ids = palloc(Max(r->nentries, 1) * sizeof(int32));
	int			nids = r->nentries;
	int			i;

	/* the registry may be read again while a table is being described */
	for (i = 0; i < nids; i++)
		ids[i] = r->entries[i].row.table_id;
	*ntables = 0;
	for (i = 0; i < nids; i++)
	{
		SyncTable  *table = sync_table_by_id(ids[i]);

		if (table != NULL)
			tables[(*ntables)++] = table;
	}
	pfree(ids);
	qsort(tables, *ntables, sizeof(SyncTable *), compare_tables);
	return tables;
}

static int
compare_tables(const void *a, const void *b)
{
	const SyncTable *ta = *(SyncTable *const *) a;
	const SyncTable *tb = *(SyncTable *const *) b;

	if (ta->rank != tb->rank)
		return ta->rank < tb->rank ? -1 : 1;
	return ta->table_id < tb->table_id ? -1 : ta->table_id > tb->table_id;
}

int32
sync_table_find_root(Oid relid, Oid *root)
{
	RegistryEntry *entry = find_entry(relid);

	if (entry == NULL)
		return 0;
	*root = entry->relid;
	return entry->row.table_id;
}

int32
sync_table_find_id(Oid relid)
{
	Oid			root = InvalidOid;
	int32		table_id = sync_table_find_root(relid, &root);

	return root == relid ? table_id : 0;
}

bool
sync_table_is_stale(int32 table_id)
{
	Registry   *r = registry_get();
	RegistryEntry *entry = registry_find(r, table_id);

	return entry != NULL && slot_get(r, entry)->is_stale &&
		slot_get(r, entry)->table != NULL;
}

void
sync_table_not_enabled(Oid relid)
{
	Oid			root = relation_root(relid);
	char	   *name = get_rel_name(relid);

	if (name == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("relation with OID %u does not exist", relid)));
	if (root != relid && sync_table_find_id(root) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("\"%s\" is a partition", name),
				 errhint("Name the partitioned table \"%s\" instead.",
						 get_rel_name(root))));
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("table \"%s\" is not kept in sync", name),
			 errhint("Use sync_enable_table() first.")));
}

const TrackedTable *
sync_table_row(int32 table_id, Oid *relid)
{
	RegistryEntry *entry = registry_find(registry_get(), table_id);

	if (entry == NULL)
		return NULL;
	*relid = entry->relid;
	return &entry->row;
}

int
sync_schema_version(void)
{
	return registry_get()->schema_version;
}

int
sync_schema_nodes(const struct SchemaNode **nodes)
{
	*nodes = registry_get()->schema_nodes;
	return registry->nschema_nodes;
}

const RegistryOids *
sync_table_oids(void)
{
	return &registry_get()->oids;
}

int32 *
sync_table_ids(int *nids)
{
	Registry   *r = registry_get();
	int32	   *ids = palloc(Max(r->nentries, 1) * sizeof(int32));
	int			i;

	for (i = 0; i < r->nentries; i++)
		ids[i] = r->entries[i].row.table_id;
	*nids = r->nentries;
	return ids;
}

/* ----------
 * Look-ups of columns, and clocks
 * ----------
 */

int
sync_column_by_name(const SyncTable *t, const char *name, int len)
{
	int			low = 0;
	int			high = t->ncolumns;

	while (low < high)
	{
		int			middle = low + (high - low) / 2;
		const char *candidate = t->columns[t->by_name[middle]].name;
		int			cmp = strncmp(candidate, name, len);

		if (cmp == 0 && candidate[len] != '\0')
			cmp = 1;
		if (cmp == 0)
			return t->by_name[middle];
		if (cmp < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return -1;
}

int
sync_column_by_attnum(const SyncTable *t, AttrNumber attnum)
{
	if (attnum < 1 || attnum > t->natts)
		return -1;
	return t->by_attnum[attnum - 1];
}

int
sync_column_by_id(const SyncTable *t, int column_id)
{
	int			low = 0;
	int			high = Min(t->ncolumns, column_id);

	while (low < high)
	{
		int			middle = low + (high - low) / 2;

		if (t->columns[middle].column_id == column_id)
			return middle;
		if (t->columns[middle].column_id < column_id)
			low = middle + 1;
		else
			high = middle;
	}
	return -1;
}

RowClock *
sync_table_initial_clock(MemoryContext context, const SyncTable *t)
{
	return row_clock_create_whole(context, t->enabled_columns, &t->enabled);
}

RowClock *
sync_table_clock(MemoryContext context, const SyncTable *t,
				 Datum value, bool isnull)
{
	if (isnull)
		return sync_table_initial_clock(context, t);
	return row_clock_unpack(context, DatumGetRowClockP(value));
}

/* ----------
 * Descriptions
 * ----------
 */

/*
 * The slot of an enabled table, its description up to date as of now.  The slot
 * stays where it is for the life of the backend.
 */
static TableSlot *
slot_get(Registry *r, RegistryEntry *entry)
{
	int32		table_id = entry->row.table_id;
	bool		found;
	TableSlot  *slot = hash_search(table_slots, &table_id, HASH_ENTER, &found);

	if (!found)
		memset((char *) slot + sizeof(int32), 0, sizeof(TableSlot) - sizeof(int32));
	if (!slot->is_valid)
		slot_build(r, entry, slot);
	return slot;
}

static void
slot_build(Registry *r, RegistryEntry *entry, TableSlot *slot)
{
	uint64		invalidations_before;
	TableSource source;
	MemoryContext context = NULL;
	SyncTable  *table = NULL;
	const char *problem = NULL;
	bool		is_stale = false;
	List	   *partitions = NIL;
	ListCell   *lc;

	/* first of all, so that invalidations find the slot */
	relation_slot_set(entry->relid, slot);
	invalidations_before = invalidations;
	if (OidIsValid(entry->relid))
	{
		source.oids = &r->oids;
		source.row = &entry->row;
		source.relid = entry->relid;
		source.rank = entry->rank;
		source.nparents = entry->nparents;
		source.parents = entry->parents;
		table = sync_table_build(&source, &context, &problem, &is_stale, &partitions);
	}

	slot_drop_table(slot);
	if (table != NULL)
		MemoryContextSetParent(context, registry_context);
	slot->table = table;
	slot->context = context;
	slot->problem = problem;
	slot->is_stale = is_stale;
	slot->is_valid = invalidations == invalidations_before;
	foreach(lc, partitions)
		relation_slot_set(lfirst_oid(lc), slot);
	list_free(partitions);
}

/* Is the description still in the place that the registry gives it? */
static bool
slot_matches(const TableSlot *slot, const RegistryEntry *entry)
{
	const SyncTable *t = slot->table;

	return t != NULL && t->relid == entry->relid && t->rank == entry->rank &&
		t->nparents == entry->nparents &&
		(t->nparents == 0 ||
		 memcmp(t->parents, entry->parents, t->nparents * sizeof(int32)) == 0);
}

/* Leave the description to those who use it in this transaction. */
static void
slot_drop_table(TableSlot *slot)
{
	if (slot->table != NULL)
		MemoryContextSetParent(slot->context, garbage_context);
	slot->table = NULL;
	slot->context = NULL;
	slot->is_valid = false;
	last_table = NULL;
}

static void
relation_slot_set(Oid relid, TableSlot *slot)
{
	RelationSlot *relation;

	if (!OidIsValid(relid))
		return;
	relation = hash_search(relation_slots, &relid, HASH_ENTER, NULL);
	relation->slot = slot;
	relation->is_valid = true;
}

/* May the registry's tables be written here and now? */
static bool
may_write(void)
{
	return !XactReadOnly && !RecoveryInProgress() && !IsInParallelMode();
}

/* ----------
 * The registry
 * ----------
 */

static void
registry_init(void)
{
	HASHCTL		ctl;

	if (registry_context == NULL)
	{
		registry_context = AllocSetContextCreate(CacheMemoryContext,
												 "offline_sync registry",
												 ALLOCSET_DEFAULT_SIZES);
		garbage_context = AllocSetContextCreate(registry_context,
												"offline_sync replaced tables",
												ALLOCSET_SMALL_SIZES);
	}
	if (table_slots == NULL)
	{
		memset(&ctl, 0, sizeof(ctl));
		ctl.keysize = sizeof(int32);
		ctl.entrysize = sizeof(TableSlot);
		ctl.hcxt = registry_context;
		table_slots = hash_create("offline_sync tables", 32, &ctl,
								  HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	}
	if (relation_slots == NULL)
	{
		memset(&ctl, 0, sizeof(ctl));
		ctl.keysize = sizeof(Oid);
		ctl.entrysize = sizeof(RelationSlot);
		ctl.hcxt = registry_context;
		relation_slots = hash_create("offline_sync relations", 64, &ctl,
									 HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
		CacheRegisterRelcacheCallback(relation_invalidated, (Datum) 0);
		CacheRegisterSyscacheCallback(NAMESPACEOID, schema_invalidated, (Datum) 0);
		RegisterXactCallback(transaction_ended, NULL);
	}
}

/*
 * The registry as of now.  Reading it may process invalidations and so call for
 * another reading, for the next who asks.
 */
static Registry *
registry_get(void)
{
	Registry   *fresh;
	HASH_SEQ_STATUS seq;
	TableSlot  *slot;

	if (registry_is_valid)
		return registry;
	if (relation_slots == NULL)
		registry_init();

	fresh = registry_read();
	MemoryContextSetParent(fresh->context, registry_context);
	if (registry != NULL)
		MemoryContextSetParent(registry->context, garbage_context);
	registry = fresh;

	/* descriptions whose place has changed are to be made again */
	hash_seq_init(&seq, table_slots);
	while ((slot = hash_seq_search(&seq)) != NULL)
	{
		RegistryEntry *entry = registry_find(fresh, slot->table_id);

		if (entry == NULL || !slot_matches(slot, entry))
			slot_drop_table(slot);
	}
	return registry;
}

/* Read it into a new context below the current one. */
static Registry *
registry_read(void)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext,
												  "offline_sync tables",
												  ALLOCSET_SMALL_SIZES);
	MemoryContext old_context = MemoryContextSwitchTo(context);
	uint64		invalidations_before = invalidations;
	Registry   *r = palloc0(sizeof(Registry));

	r->context = context;
	registry_oids_read(&r->oids);
	r->schema_version = column_history_version();
	if (r->schema_version > SCHEMA_FIRST_VERSION)
		r->schema_nodes = column_history_nodes(&r->nschema_nodes);
	if (OidIsValid(r->oids.tracked_table))
	{
		TrackedTable *rows = tracked_table_read(&r->nentries);
		int			i;

		r->entries = palloc0(Max(r->nentries, 1) * sizeof(RegistryEntry));
		for (i = 0; i < r->nentries; i++)
		{
			r->entries[i].row = rows[i];
			r->entries[i].rank = -1;
		}
		if (OidIsValid(r->oids.capture))
			registry_find_relations(r);
		registry_find_parents(r);
		for (i = 0; i < r->nentries; i++)
			(void) registry_rank(r, &r->entries[i]);
		registry_sort_names(r);
		/* without the extension there is nothing whose change would tell us */
		registry_is_valid = OidIsValid(r->oids.capture) &&
			invalidations == invalidations_before;
	}
	MemoryContextSwitchTo(old_context);
	return r;
}

/*
 * Where each table was last seen, if its trigger says the same; else wherever
 * there is such a trigger.  Of several (a copy was made) the first in oid order
 * counts, and only where nothing is at the recorded name.
 */
static void
registry_find_relations(Registry *r)
{
	bool		is_complete = true;
	TriggeredRelation *relations;
	int			nrelations;
	int			i;

	for (i = 0; i < r->nentries; i++)
		is_complete &= is_at_recorded_name(r, &r->entries[i]);
	if (is_complete)
		return;

	relations = registry_triggered_relations(&r->oids, &nrelations);
	for (i = 0; i < nrelations; i++)
	{
		RegistryEntry *entry = registry_find(r, relations[i].table_id);

		if (entry != NULL &&
			(!OidIsValid(entry->relid) ||
			 (relations[i].relid < entry->relid && !is_at_recorded_name(r, entry))))
			entry->relid = relations[i].relid;
	}
	for (i = 0; i < r->nentries; i++)
		r->is_incomplete |= !OidIsValid(r->entries[i].relid);
}

/* Looks up the recorded name; sets relid where the table is there. */
static bool
is_at_recorded_name(const Registry *r, RegistryEntry *entry)
{
	Oid			schema = get_namespace_oid(entry->row.schema_name, true);
	Oid			relid;

	if (!OidIsValid(schema))
		return false;
	relid = get_relname_relid(entry->row.table_name, schema);
	if (!OidIsValid(relid) || relation_root(relid) != relid ||
		registry_trigger_table_id(relid, &r->oids) != entry->row.table_id)
		return false;
	entry->relid = relid;
	return true;
}

static void
registry_find_parents(Registry *r)
{
	int			i;

	for (i = 0; i < r->nentries; i++)
	{
		RegistryEntry *entry = &r->entries[i];
		List	   *relids;
		ListCell   *lc;

		if (!OidIsValid(entry->relid))
			continue;
		relids = relation_parents(entry->relid);
		entry->parents = palloc(Max(list_length(relids), 1) * sizeof(int32));
		foreach(lc, relids)
		{
			RegistryEntry *parent = registry_find_relid(r, lfirst_oid(lc));

			if (parent != NULL)
				entry->parents[entry->nparents++] = parent->row.table_id;
		}
		list_free(relids);
	}
}

/*
 * One more than the highest rank of the parents; a reference back to a table on
 * the path that led here does not count, which cuts cycles.
 */
static int
registry_rank(Registry *r, RegistryEntry *entry)
{
	int			rank = 0;
	int			i;

	if (entry->rank >= 0)
		return entry->rank;
	check_stack_depth();
	entry->is_on_path = true;
	for (i = 0; i < entry->nparents; i++)
	{
		RegistryEntry *parent = registry_find(r, entry->parents[i]);

		if (!parent->is_on_path)
			rank = Max(rank, registry_rank(r, parent) + 1);
	}
	entry->is_on_path = false;
	entry->rank = rank;
	return rank;
}

static void
registry_sort_names(Registry *r)
{
	int			i;

	r->by_name = palloc(Max(r->nentries, 1) * sizeof(RegistryEntry *));
	for (i = 0; i < r->nentries; i++)
		r->by_name[i] = &r->entries[i];
	qsort(r->by_name, r->nentries, sizeof(RegistryEntry *), compare_entry_names);
}

static RegistryEntry *
registry_find(Registry *r, int32 table_id)
{
	RegistryEntry key;

	if (r->nentries == 0)
		return NULL;
	key.row.table_id = table_id;
	return bsearch(&key, r->entries, r->nentries, sizeof(RegistryEntry),
				   compare_entry_ids);
}

static RegistryEntry *
registry_find_relid(Registry *r, Oid relid)
{
	int			i;

	for (i = 0; i < r->nentries; i++)
	{
		if (r->entries[i].relid == relid)
			return &r->entries[i];
	}
	return NULL;
}

static int
compare_entry_ids(const void *a, const void *b)
{
	int32		ida = ((const RegistryEntry *) a)->row.table_id;
	int32		idb = ((const RegistryEntry *) b)->row.table_id;

	return ida < idb ? -1 : ida > idb;
}

static int
compare_entry_names(const void *a, const void *b)
{
	return strcmp((*(RegistryEntry *const *) a)->row.wire_name,
				  (*(RegistryEntry *const *) b)->row.wire_name);
}

/* ----------
 * Callbacks
 * ----------
 */

/*
 * A relation has changed; InvalidOid: any may have.  ANALYZE and the like come
 * here too, and for relations that are nothing to us.
 */
static void
relation_invalidated(Datum arg, Oid relid)
{
	RelationSlot *relation;

	if (!OidIsValid(relid))
	{
		HASH_SEQ_STATUS seq;
		TableSlot  *slot;

		hash_seq_init(&seq, table_slots);
		while ((slot = hash_seq_search(&seq)) != NULL)
			slot->is_valid = false;
		hash_seq_init(&seq, relation_slots);
		while ((relation = hash_seq_search(&seq)) != NULL)
			relation->is_valid = false;
	}
	else if (registry == NULL || relid != registry->oids.tracked_table)
	{
		relation = hash_search(relation_slots, &relid, HASH_FIND, NULL);
		if (relation == NULL)
			return;
		relation->is_valid = false;
		relation->slot->is_valid = false;
	}
	registry_forget();
}

static void
registry_forget(void)
{
	registry_is_valid = false;
	last_table = NULL;
	invalidations++;
}

/* A schema may have been renamed: descriptions contain qualified names. */
static void
schema_invalidated(Datum arg, int cache_id, uint32 hash)
{
	relation_invalidated(arg, InvalidOid);
}

static void
transaction_ended(XactEvent event, void *arg)
{
	switch (event)
	{
		case XACT_EVENT_COMMIT:
		case XACT_EVENT_PARALLEL_COMMIT:
		case XACT_EVENT_ABORT:
		case XACT_EVENT_PARALLEL_ABORT:
		case XACT_EVENT_PREPARE:
			MemoryContextDeleteChildren(garbage_context);
			if (registry != NULL && registry->is_incomplete)
				registry_forget();
			break;
		case XACT_EVENT_PRE_COMMIT:
		case XACT_EVENT_PARALLEL_PRE_COMMIT:
		case XACT_EVENT_PRE_PREPARE:
			break;
	}
}
