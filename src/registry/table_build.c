/*-------------------------------------------------------------------------
 *
 * table_build.c
 *	  From the registry's rows and the catalog to the description of a table.
 *
 * A relation is recognised by its capture trigger, whose argument is the table
 * id: that survives rename, dump and restore, while oids and, after a restore,
 * attnums do not.  Nothing here is cached; table_cache.c does that.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/relation.h"
#include "access/table.h"
#include "catalog/indexing.h"
#include "catalog/namespace.h"
#include "catalog/partition.h"
#include "catalog/pg_constraint.h"
#include "catalog/pg_extension.h"
#include "catalog/pg_index.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_opfamily.h"
#include "catalog/pg_trigger.h"
#include "catalog/pg_type.h"
#include "commands/defrem.h"
#include "commands/extension.h"
#include "commands/trigger.h"
#include "compat.h"
#include "log/node.h"
#include "nodes/value.h"
#include "parser/parse_func.h"
#include "registry/column_history.h"
#include "registry/table_build.h"
#include "registry/table_options.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/syscache.h"
#include "utils/typcache.h"

/* A table's columns as the registry has them, and which attribute each one is. */
typedef struct RecordedColumns
{
	int			n;
	TrackedColumn *columns;
	int		   *match;			/* by attribute, see tracked_column_match */
} RecordedColumns;

static Oid	extension_schema(Oid extension);
static Oid	function_oid(Oid schema, const char *name);
static Oid	type_oid(Oid schema, const char *name);
static int32 trigger_table_id(HeapTuple tuple, TupleDesc desc);
static bool describe(SyncTable *t, Relation rel, const TableSource *source,
					 const RecordedColumns *recorded, const char **problem);
static bool describe_enabling(SyncTable *t, const TrackedTable *row);
static void describe_columns(SyncTable *t, TupleDesc desc,
							 const RegistryOids *oids,
							 const RecordedColumns *recorded);
static bool is_record_true(Relation rel, const TrackedTable *row,
						   const RecordedColumns *recorded);
static void describe_column(SyncColumn *c, Form_pg_attribute att,
							const TrackedColumn *row,
							const RegistryOids *oids);
static void describe_key(SyncTable *t, const RelationKey *key);
static bool is_recorded_key(const SyncTable *t,
							const RecordedColumns *recorded);
static void describe_modes(SyncTable *t);
static void describe_triggers(SyncTable *t, Oid relid,
							  const RegistryOids *oids);
static void index_columns(SyncTable *t, int natts);
static int	compare_names(const void *a, const void *b, void *arg);
static bool is_dropped_here(TupleDesc desc, const TrackedColumn *row);
static void describe_rule(SyncRule *rule, const TrackedColumn *row, Oid type,
						  const RegistryOids *oids);
static ValueModes type_modes(Oid base_type, const RegistryOids *oids);
static SyncAuditLevel audit_level_of(const char *name);

/* ----------
 * Recognising
 * ----------
 */

void
registry_oids_read(RegistryOids *oids)
{
	Oid			extension = get_extension_oid("offline_sync", true);
	Oid			state_schema = get_namespace_oid("offline_sync", true);

	memset(oids, 0, sizeof(RegistryOids));
	if (!OidIsValid(extension) || !OidIsValid(state_schema))
		return;
	oids->schema = extension_schema(extension);
	oids->tracked_table = get_relname_relid("tracked_table", state_schema);
	oids->capture = function_oid(oids->schema, "sync_capture");
	oids->truncate = function_oid(oids->schema, "sync_capture_truncate");
	oids->parent = function_oid(oids->schema, "sync_parent_arrived");
	oids->row_clock = type_oid(oids->schema, "row_clock");
	oids->orset = type_oid(oids->schema, "orset");
	oids->hlc = type_oid(oids->schema, "hlc");
}

static Oid
type_oid(Oid schema, const char *name)
{
	return GetSysCacheOid2(TYPENAMENSP, Anum_pg_type_oid, CStringGetDatum(name),
						   ObjectIdGetDatum(schema));
}

/* There is no syscache over pg_extension. */
static Oid
extension_schema(Oid extension)
{
	Relation	rel = table_open(ExtensionRelationId, AccessShareLock);
	ScanKeyData key[1];
	SysScanDesc scan;
	HeapTuple	tuple;
	Oid			schema = InvalidOid;

	ScanKeyInit(&key[0], Anum_pg_extension_oid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(extension));
	scan = systable_beginscan(rel, ExtensionOidIndexId, true, NULL,
							  lengthof(key), key);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
		schema = ((Form_pg_extension) GETSTRUCT(tuple))->extnamespace;
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return schema;
}

/* A function of the extension without arguments. */
static Oid
function_oid(Oid schema, const char *name)
{
	char	   *schema_name = get_namespace_name(schema);

	if (schema_name == NULL)
		return InvalidOid;
	return LookupFuncName(list_make2(makeString(schema_name),
									 makeString(pstrdup(name))),
						  0, NULL, true);
}

int32
registry_trigger_table_id(Oid relid, const RegistryOids *oids)
{
	Relation	rel;
	ScanKeyData key[2];
	SysScanDesc scan;
	HeapTuple	tuple;
	int32		table_id = 0;

	if (!OidIsValid(oids->capture))
		return 0;
	rel = table_open(TriggerRelationId, AccessShareLock);
	ScanKeyInit(&key[0], Anum_pg_trigger_tgrelid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(relid));
	ScanKeyInit(&key[1], Anum_pg_trigger_tgname, BTEqualStrategyNumber, F_NAMEEQ,
				CStringGetDatum(SYNC_CAPTURE_TRIGGER));
	scan = systable_beginscan(rel, TriggerRelidNameIndexId, true, NULL,
							  lengthof(key), key);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple) &&
		((Form_pg_trigger) GETSTRUCT(tuple))->tgfoid == oids->capture)
		table_id = trigger_table_id(tuple, RelationGetDescr(rel));
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return table_id;
}

/*
 * The argument as a table id.  Somebody may have created a trigger of this name
 * himself, so anything may be in it.
 */
static int32
trigger_table_id(HeapTuple tuple, TupleDesc desc)
{
	Form_pg_trigger trigger = (Form_pg_trigger) GETSTRUCT(tuple);
	bool		isnull;
	Datum		args = heap_getattr(tuple, Anum_pg_trigger_tgargs, desc, &isnull);
	char	   *argument;
	char	   *end;
	long		id;

	if (isnull || trigger->tgnargs != 1)
		return 0;
	argument = VARDATA_ANY(DatumGetByteaPP(args));	/* ends in a zero byte */
	errno = 0;
	id = strtol(argument, &end, 10);
	if (errno != 0 || *end != '\0' || id < 1 || id > PG_INT32_MAX)
		return 0;
	return (int32) id;
}

TriggeredRelation *
registry_triggered_relations(const RegistryOids *oids, int *nrelations)
{
	Relation	rel = table_open(TriggerRelationId, AccessShareLock);
	int			maxrelations = 16;
	TriggeredRelation *result = palloc(maxrelations * sizeof(TriggeredRelation));
	ScanKeyData key[1];
	SysScanDesc scan;
	HeapTuple	tuple;

	*nrelations = 0;
	ScanKeyInit(&key[0], Anum_pg_trigger_tgfoid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(oids->capture));
	scan = systable_beginscan(rel, InvalidOid, false, NULL, lengthof(key), key);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Form_pg_trigger trigger = (Form_pg_trigger) GETSTRUCT(tuple);

		if (OidIsValid(trigger->tgparentid) ||
			strcmp(NameStr(trigger->tgname), SYNC_CAPTURE_TRIGGER) != 0)
			continue;
		if (*nrelations == maxrelations)
		{
			maxrelations *= 2;
			result = repalloc(result, maxrelations * sizeof(TriggeredRelation));
		}
		result[*nrelations].table_id = trigger_table_id(tuple,
														RelationGetDescr(rel));
		result[*nrelations].relid = trigger->tgrelid;
		(*nrelations)++;
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return result;
}

List *
relation_parents(Oid relid)
{
	Relation	rel = table_open(ConstraintRelationId, AccessShareLock);
	ScanKeyData key[1];
	SysScanDesc scan;
	HeapTuple	tuple;
	List	   *parents = NIL;

	ScanKeyInit(&key[0], Anum_pg_constraint_conrelid, BTEqualStrategyNumber,
				F_OIDEQ, ObjectIdGetDatum(relid));
	scan = systable_beginscan(rel, ConstraintRelidTypidNameIndexId, true, NULL,
							  lengthof(key), key);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Form_pg_constraint constraint = (Form_pg_constraint) GETSTRUCT(tuple);

		if (constraint->contype == CONSTRAINT_FOREIGN)
			parents = list_append_unique_oid(parents,
											 relation_root(constraint->confrelid));
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return parents;
}

Oid
relation_root(Oid relid)
{
	List	   *ancestors;

	if (!get_rel_relispartition(relid))
		return relid;
	ancestors = get_partition_ancestors(relid);
	return ancestors == NIL ? relid : llast_oid(ancestors);
}

/* ----------
 * Describing
 * ----------
 */

SyncTable *
sync_table_build(const TableSource *source, MemoryContext *context,
				 const char **problem, bool *is_stale, List **partitions)
{
	static uint64 last_version = 0;
	Relation	rel;
	RecordedColumns recorded;
	MemoryContext old_context;
	SyncTable  *t;
	bool		is_complete;

	*problem = NULL;
	*is_stale = false;
	*partitions = NIL;
	rel = try_relation_open(source->relid, AccessShareLock);
	if (rel == NULL)
		return NULL;
	if (rel->rd_rel->relkind == RELKIND_PARTITIONED_TABLE)
		*partitions = list_delete_first(find_all_inheritors(source->relid, NoLock, NULL));

	recorded.columns = tracked_column_read(source->row->table_id, &recorded.n);
	recorded.match = tracked_column_match(RelationGetDescr(rel), recorded.n,
										  recorded.columns);
	*is_stale = !is_record_true(rel, source->row, &recorded);

	*context = AllocSetContextCreate(CurrentMemoryContext,
									 "offline_sync tracked table",
									 ALLOCSET_SMALL_SIZES);
	old_context = MemoryContextSwitchTo(*context);
	t = palloc0(sizeof(SyncTable));
	t->version = ++last_version;
	t->schema_version = column_history_table_version(source->row->table_id);
	is_complete = describe(t, rel, source, &recorded, problem);
	if (is_complete)
	{
		ListCell   *lc;

		sync_table_describe_trials(t);
		describe_triggers(t, source->relid, source->oids);
		foreach(lc, *partitions)
			describe_triggers(t, lfirst_oid(lc), source->oids);
		if (rel->rd_rules != NULL)
			t->has_other_triggers = true;
	}
	MemoryContextSwitchTo(old_context);
	relation_close(rel, AccessShareLock);

	if (!is_complete)
	{
		MemoryContextDelete(*context);
		return NULL;
	}
	return t;
}

/*
 * Fill in everything but the triggers.  False, with *problem, where the table
 * lacks what tracking needs.
 */
static bool
describe(SyncTable *t, Relation rel, const TableSource *source,
		 const RecordedColumns *recorded, const char **problem)
{
	const TrackedTable *row = source->row;
	char	   *schema_name = get_namespace_name(RelationGetNamespace(rel));
	RelationKey key;

	t->table_id = row->table_id;
	t->relid = source->relid;
	t->wire_name = pstrdup(row->wire_name);
	t->schema_name = schema_name == NULL ? pstrdup(row->schema_name) : schema_name;
	t->table_name = pstrdup(RelationGetRelationName(rel));
	t->qualified_name = quote_qualified_identifier(t->schema_name, t->table_name);
	t->enabled_columns = row->enabled_columns;
	t->max_column_id = recorded->n == 0 ? 0 :
		recorded->columns[recorded->n - 1].column_id;
	t->rules.on_delete = strcmp(row->on_delete, "update_wins") == 0 ?
		ON_DELETE_UPDATE_WINS :
		strcmp(row->on_delete, "lww") == 0 ?
		ON_DELETE_LWW : ON_DELETE_DELETE_WINS;
	t->rules.is_append_only = strcmp(row->mode, "append_only") == 0;
	t->rules.is_strong = strcmp(row->consistency, "strong") == 0;
	t->audit = audit_level_of(row->audit);
	t->rank = source->rank;
	t->nparents = source->nparents;
	t->parents = palloc(Max(t->nparents, 1) * sizeof(int32));
	if (t->nparents > 0)
		memcpy(t->parents, source->parents, t->nparents * sizeof(int32));

	describe_columns(t, RelationGetDescr(rel), source->oids, recorded);
	if (rel->rd_rel->relpersistence != RELPERSISTENCE_PERMANENT)
	{
		*problem = "is not a permanent table";
		return false;
	}
	if (!describe_enabling(t, row))
	{
		*problem = "was enabled by a node that is not registered";
		return false;
	}
	if (t->clock_attnum == InvalidAttrNumber)
	{
		*problem = "has no column \"" SYNC_CLOCK_COLUMN "\" of type row_clock";
		return false;
	}
	relation_key_read(rel, &key);
	describe_key(t, &key);
	if (t->nkeys == 0)
	{
		*problem = "has no primary key";
		return false;
	}
	if (!is_recorded_key(t, recorded))
	{
		*problem = "has another primary key than when it was enabled";
		return false;
	}
	t->scope_column = -1;
	if (row->scope_column_id != 0)
	{
		t->scope_column = sync_column_by_id(t, row->scope_column_id);
		if (t->scope_column < 0)
		{
			*problem = "has no scope column";
			return false;
		}
	}
	describe_modes(t);
	return true;
}

/*
 * The stamp of enabling.  False where the node's row is not there (yet): a
 * restore fills the state tables in any order.
 */
static bool
describe_enabling(SyncTable *t, const TrackedTable *row)
{
	int			nnodes;
	SyncNode   *nodes = sync_node_list(&nnodes);
	int			i;

	for (i = 0; i < nnodes; i++)
	{
		if (nodes[i].id != row->enabled_node)
			continue;
		t->enabled.hlc = row->enabled_hlc;
		t->enabled.node = nodes[i].uuid;
		t->enabled.replica = nodes[i].uuid;
		t->enabled.xid = row->enabled_xid;
		return true;
	}
	return false;
}

static void
describe_columns(SyncTable *t, TupleDesc desc, const RegistryOids *oids,
				 const RecordedColumns *recorded)
{
	AttrNumber *attnums = palloc0(Max(recorded->n, 1) * sizeof(AttrNumber));
	int			i;

	for (i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);

		if (recorded->match[i] >= 0)
			attnums[recorded->match[i]] = att->attnum;
		else if (!att->attisdropped && att->atttypid == oids->row_clock &&
				 strcmp(NameStr(att->attname), SYNC_CLOCK_COLUMN) == 0)
			t->clock_attnum = att->attnum;
	}

	t->columns = palloc0(Max(recorded->n, 1) * sizeof(SyncColumn));
	for (i = 0; i < recorded->n; i++)
	{
		if (attnums[i] != InvalidAttrNumber)
			describe_column(&t->columns[t->ncolumns++],
							TupleDescAttr(desc, attnums[i] - 1),
							&recorded->columns[i], oids);
	}
	pfree(attnums);
	index_columns(t, desc->natts);
}

/* Does the registry say of the table's name and columns what is true? */
static bool
is_record_true(Relation rel, const TrackedTable *row,
			   const RecordedColumns *recorded)
{
	TupleDesc	desc = RelationGetDescr(rel);
	char	   *schema_name = get_namespace_name(RelationGetNamespace(rel));
	int			nmatched = 0;
	int			i;

	if (schema_name == NULL || strcmp(schema_name, row->schema_name) != 0 ||
		strcmp(RelationGetRelationName(rel), row->table_name) != 0)
		return false;
	for (i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);

		if (att->attisdropped ||
			strcmp(NameStr(att->attname), SYNC_CLOCK_COLUMN) == 0)
			continue;
		if (recorded->match[i] < 0 ||
			!tracked_column_is_recorded(att, &recorded->columns[recorded->match[i]]))
			return false;
		nmatched++;
	}
	for (i = 0; i < recorded->n; i++)
		nmatched -= !recorded->columns[i].is_dropped;
	return nmatched == 0;
}

bool
tracked_column_is_recorded(Form_pg_attribute att, const TrackedColumn *row)
{
	return row->attnum == att->attnum &&
		strcmp(row->name, NameStr(att->attname)) == 0 &&
		memcmp(&row->node, sync_node_uuid(), UUID_LEN) == 0 &&
		strcmp(row->type_name, tracked_column_type_name(att->atttypid)) == 0;
}

static void
describe_column(SyncColumn *c, Form_pg_attribute att, const TrackedColumn *row,
				const RegistryOids *oids)
{
	Oid			function;
	bool		is_varlena;

	c->column_id = row->column_id;
	c->attnum = att->attnum;
	c->name = pstrdup(NameStr(att->attname));
	c->type = att->atttypid;
	c->base_type = getBaseType(att->atttypid);
	c->typmod = att->atttypmod;
	c->collation = att->attcollation;
	c->typlen = att->attlen;
	c->typbyval = att->attbyval;
	c->typalign = att->attalign;
	describe_rule(&c->rule, row, att->atttypid, oids);
	c->policy = c->rule.policy;
	c->value_class = registry_value_class(att->atttypid, oids);
	c->is_generated = att->attgenerated != '\0';
	c->is_virtual = compat_is_virtual(att);
	c->is_always = att->attidentity == ATTRIBUTE_IDENTITY_ALWAYS;
	c->has_default = !c->is_generated &&
		(att->atthasdef || att->attidentity != '\0' ||
		 get_typdefault(att->atttypid) != NULL);
	c->is_not_null = att->attnotnull;
	c->modes = type_modes(c->base_type, oids);

	getTypeInputInfo(c->type, &function, &c->typioparam);
	fmgr_info_cxt(function, &c->input, CurrentMemoryContext);
	getTypeOutputInfo(c->type, &function, &is_varlena);
	fmgr_info_cxt(function, &c->output, CurrentMemoryContext);
}

void
relation_key_read(Relation rel, RelationKey *key)
{
	List	   *indexes = RelationGetIndexList(rel);
	ListCell   *lc;

	memset(key, 0, sizeof(RelationKey));
	foreach(lc, indexes)
	{
		HeapTuple	tuple = SearchSysCache1(INDEXRELID,
											ObjectIdGetDatum(lfirst_oid(lc)));
		Form_pg_index index;

		if (!HeapTupleIsValid(tuple))
			continue;
		index = (Form_pg_index) GETSTRUCT(tuple);
		/* a key WITHOUT OVERLAPS (18) compares periods, and names no row */
		if (index->indisprimary && index->indisexclusion)
			key->is_temporal = true;
		else if (index->indisprimary && index->indisvalid)
		{
			key->index = index->indexrelid;
			key->is_deferrable = !index->indimmediate;
			key->nkeys = index->indnkeyatts;
			memcpy(key->attnums, index->indkey.values,
				   key->nkeys * sizeof(AttrNumber));
		}
		ReleaseSysCache(tuple);
	}
	list_free(indexes);
}

/*
 * The key's columns and operators.  nkeys stays 0 where there is no primary key,
 * or one over a column that is not registered.
 */
static void
describe_key(SyncTable *t, const RelationKey *key)
{
	HeapTuple	tuple;
	Datum		classes;
	bool		isnull;
	int			i;

	if (key->nkeys == 0)
		return;
	t->key = palloc(key->nkeys * sizeof(int));
	t->key_eq = palloc(key->nkeys * sizeof(Oid));
	t->key_lt = palloc(key->nkeys * sizeof(Oid));
	t->key_gt = palloc(key->nkeys * sizeof(Oid));
	t->key_deferrable = key->is_deferrable;

	tuple = SearchSysCache1(INDEXRELID, ObjectIdGetDatum(key->index));
	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for index %u", key->index);
	classes = SysCacheGetAttr(INDEXRELID, tuple, Anum_pg_index_indclass, &isnull);
	for (i = 0; i < key->nkeys; i++)
	{
		Oid			opclass = ((oidvector *) DatumGetPointer(classes))->values[i];
		Oid			family = get_opclass_family(opclass);
		Oid			type = get_opclass_input_type(opclass);
		int			column = sync_column_by_attnum(t, key->attnums[i]);

		if (column < 0)
		{
			ReleaseSysCache(tuple);
			return;
		}
		t->columns[column].is_key = true;
		t->key[i] = column;
		t->key_eq[i] = get_opfamily_member(family, type, type, BTEqualStrategyNumber);
		t->key_lt[i] = get_opfamily_member(family, type, type, BTLessStrategyNumber);
		t->key_gt[i] = get_opfamily_member(family, type, type, BTGreaterStrategyNumber);
	}
	ReleaseSysCache(tuple);
	t->nkeys = key->nkeys;
}

/* Is the key what it was?  Stored keys could not be read otherwise. */
static bool
is_recorded_key(const SyncTable *t, const RecordedColumns *recorded)
{
	int			nrecorded = 0;
	int			i;

	for (i = 0; i < recorded->n; i++)
	{
		const TrackedColumn *row = &recorded->columns[i];

		if (row->key_position == 0)
			continue;
		if (row->key_position > t->nkeys ||
			t->columns[t->key[row->key_position - 1]].column_id != row->column_id)
			return false;
		nrecorded++;
	}
	return nrecorded == t->nkeys;
}

/* What holds for any column of the table. */
static void
describe_modes(SyncTable *t)
{
	int			i;

	for (i = 0; i < t->ncolumns; i++)
	{
		SyncColumn *c = &t->columns[i];

		t->has_generated |= c->is_generated;
		t->has_defaults |= c->has_default && !c->is_key;
		t->modes = Max(t->modes, c->modes);
		if (c->is_key || i == t->scope_column)
			t->key_modes = Max(t->key_modes, c->modes);
		t->input_modes = Max(t->input_modes, c->type != c->base_type ?
							 VALUE_MODES_ALL : c->modes);
		t->has_counters_or_sets |= SYNC_POLICY_IS_MERGED(c->policy);
	}
}

/*
 * Users' triggers that may change a row or act on it.  Those that are enabled
 * on replicas only count too: whether they fire is the session's setting.
 */
static void
describe_triggers(SyncTable *t, Oid relid, const RegistryOids *oids)
{
	Relation	rel = table_open(TriggerRelationId, AccessShareLock);
	ScanKeyData key[1];
	SysScanDesc scan;
	HeapTuple	tuple;

	ScanKeyInit(&key[0], Anum_pg_trigger_tgrelid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(relid));
	scan = systable_beginscan(rel, TriggerRelidNameIndexId, true, NULL,
							  lengthof(key), key);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Form_pg_trigger trigger = (Form_pg_trigger) GETSTRUCT(tuple);
		bool		is_before_row = TRIGGER_FOR_ROW(trigger->tgtype) &&
		TRIGGER_FOR_BEFORE(trigger->tgtype);

		if (trigger->tgenabled == TRIGGER_DISABLED)
			continue;
		t->has_deferrable |= trigger->tgdeferrable;
		if (trigger->tgisinternal || trigger->tgfoid == oids->capture ||
			trigger->tgfoid == oids->truncate || trigger->tgfoid == oids->parent)
			continue;
		if (is_before_row && TRIGGER_FOR_INSERT(trigger->tgtype))
			t->has_before_insert = true;
		if (is_before_row && TRIGGER_FOR_UPDATE(trigger->tgtype))
			t->has_before_update = true;
		if (!is_before_row || TRIGGER_FOR_DELETE(trigger->tgtype))
			t->has_other_triggers = true;
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
}

/* Make the look-ups of columns work. */
static void
index_columns(SyncTable *t, int natts)
{
	int			i;

	t->natts = natts;
	t->by_attnum = palloc(natts * sizeof(int16));
	for (i = 0; i < natts; i++)
		t->by_attnum[i] = -1;
	t->by_name = palloc(Max(t->ncolumns, 1) * sizeof(int16));
	for (i = 0; i < t->ncolumns; i++)
	{
		t->by_attnum[t->columns[i].attnum - 1] = i;
		t->by_name[i] = i;
	}
	qsort_arg(t->by_name, t->ncolumns, sizeof(int16), compare_names, t);
}

static int
compare_names(const void *a, const void *b, void *arg)
{
	const SyncTable *t = arg;

	return strcmp(t->columns[*(const int16 *) a].name,
				  t->columns[*(const int16 *) b].name);
}

/* ----------
 * Columns: matching, policies, kinds of values
 * ----------
 */

int *
tracked_column_match(TupleDesc desc, int ncolumns, const TrackedColumn *columns)
{
	int		   *match = palloc(Max(desc->natts, 1) * sizeof(int));
	bool	   *is_matched = palloc0(Max(ncolumns, 1) * sizeof(bool));
	int			pass;
	int			i;
	int			k;

	for (k = 0; k < desc->natts; k++)
		match[k] = -1;

	/*
	 * 0: name and attnum, which is nearly every column; 1: name; 2: attnum
	 * and type
	 */
	for (pass = 0; pass < 3; pass++)
	{
		for (i = 0; i < ncolumns; i++)
		{
			const TrackedColumn *row = &columns[i];
			int			first = pass == 1 ? 0 : row->attnum - 1;
			int			last = pass == 1 ? desc->natts - 1 : row->attnum - 1;

			if (row->is_dropped || is_matched[i] || is_dropped_here(desc, row))
				continue;
			for (k = Max(first, 0); k <= last && k < desc->natts; k++)
			{
				Form_pg_attribute att = TupleDescAttr(desc, k);

				if (att->attisdropped || match[k] >= 0 ||
					strcmp(NameStr(att->attname), SYNC_CLOCK_COLUMN) == 0)
					continue;
				if (pass < 2
					? strcmp(NameStr(att->attname), row->name) == 0
					: strcmp(tracked_column_type_name(att->atttypid),
							 row->type_name) == 0)
				{
					match[k] = i;
					is_matched[i] = true;
					break;
				}
			}
		}
	}
	pfree(is_matched);
	return match;
}

/* Within a node an attnum is never used again: a column of the same name is another
 * one, which the same command may have added. */
static bool
is_dropped_here(TupleDesc desc, const TrackedColumn *row)
{
	return row->attnum >= 1 && row->attnum <= desc->natts &&
		TupleDescAttr(desc, row->attnum - 1)->attisdropped &&
		memcmp(&row->node, sync_node_uuid(), UUID_LEN) == 0;
}

char *
tracked_column_type_name(Oid type)
{
	return format_type_extended(type, -1, FORMAT_TYPE_FORCE_QUALIFY);
}

/*
 * A policy that does not fit the type any more (the type was changed while no
 * event trigger ran) falls back to the type's default.
 */
static void
describe_rule(SyncRule *rule, const TrackedColumn *row, Oid type,
			  const RegistryOids *oids)
{
	int			policy = row->policy == NULL ? POLICY_LWW :
	sync_policy_by_name(row->policy);

	memset(rule, 0, sizeof(SyncRule));
	if (type == oids->orset)
		rule->policy = POLICY_ORSET;
	else if (row->policy != NULL && policy >= 0 && sync_policy_fits(policy, type))
		table_rule_parse(row->policy, row->options, rule);
}

bool
sync_policy_fits(SyncPolicy policy, Oid type)
{
	switch (policy)
	{
		case POLICY_ORSET:
			return false;		/* the type decides that by itself */
		case POLICY_COUNTER:
			return type == INT2OID || type == INT4OID || type == INT8OID ||
				type == NUMERICOID;
		case POLICY_MAX:
		case POLICY_MIN:
			return OidIsValid(lookup_type_cache(type,
												TYPECACHE_CMP_PROC)->cmp_proc);
		case POLICY_OPAQUE:
			return type == BYTEAOID;
		case POLICY_JSON:
			return type == JSONBOID;
		default:
			return true;
	}
}

SyncValueClass
registry_value_class(Oid type, const RegistryOids *oids)
{
	if (type == oids->orset)
		return VALUE_ORSET;
	switch (type)
	{
		case INT2OID:
		case INT4OID:
		case INT8OID:
			return VALUE_NUMBER;
		case BOOLOID:
			return VALUE_BOOL;
		case JSONOID:
		case JSONBOID:
			return VALUE_JSON;
		default:
			return VALUE_TEXT;
	}
}

/*
 * Does the text form depend on settings?  Only what is known not to is left out:
 * arrays, composites and ranges count as depending.
 */
static ValueModes
type_modes(Oid base_type, const RegistryOids *oids)
{
	switch (base_type)
	{
		case BOOLOID:
		case CHAROID:
		case NAMEOID:
		case INT2OID:
		case INT4OID:
		case INT8OID:
		case OIDOID:
		case TIDOID:
		case XIDOID:
		case XID8OID:
		case PG_LSNOID:
		case NUMERICOID:
		case TEXTOID:
		case VARCHAROID:
		case BPCHAROID:
		case BITOID:
		case VARBITOID:
		case UUIDOID:
		case JSONOID:
		case JSONBOID:
		case INETOID:
		case CIDROID:
		case MACADDROID:
		case MACADDR8OID:
			return VALUE_MODES_NONE;
		case DATEOID:
		case TIMEOID:
		case TIMETZOID:
		case TIMESTAMPOID:
		case TIMESTAMPTZOID:
		case INTERVALOID:
		case FLOAT4OID:
		case FLOAT8OID:
		case BYTEAOID:
			return VALUE_MODES_PLAIN;
		default:
			return base_type == oids->orset || type_is_enum(base_type) ?
				VALUE_MODES_NONE : VALUE_MODES_ALL;
	}
}

static SyncAuditLevel
audit_level_of(const char *name)
{
	if (strcmp(name, "full") == 0)
		return AUDIT_FULL;
	if (strcmp(name, "conflicts") == 0)
		return AUDIT_CONFLICTS;
	if (strcmp(name, "off") == 0)
		return AUDIT_OFF;
	return AUDIT_OUTCOMES;
}
