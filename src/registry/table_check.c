/*-------------------------------------------------------------------------
 *
 * table_check.c
 *	  May a table be kept in sync?
 *
 * A table qualifies when every change of its rows passes the capture trigger
 * and every row has a key that a device can name it by.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/catalog.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "registry/table_registry.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

static void check_kind(Relation rel);
static void check_persistence(Relation rel);
static void check_hierarchy(Relation rel);
static void check_key(Relation rel);
static void check_clock_column(Relation rel);

void
sync_table_check_trackable(Relation rel)
{
	check_kind(rel);
	check_persistence(rel);
	check_hierarchy(rel);
	check_key(rel);
	check_clock_column(rel);
}

static void
check_kind(Relation rel)
{
	if (rel->rd_rel->relkind != RELKIND_RELATION &&
		rel->rd_rel->relkind != RELKIND_PARTITIONED_TABLE)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("\"%s\" is not a table", RelationGetRelationName(rel)),
				 errhint("Only tables and partitioned tables can be kept in sync.")));
	if (IsSystemRelation(rel))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("cannot keep system catalog \"%s\" in sync",
						RelationGetRelationName(rel))));
	if (RelationGetNamespace(rel) ==
		get_rel_namespace(sync_table_oids()->tracked_table))
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("cannot keep table \"%s\" of the extension itself in sync",
						RelationGetRelationName(rel))));
	if (rel->rd_rel->relispartition)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("\"%s\" is a partition", RelationGetRelationName(rel)),
				 errhint("Enable the partitioned table \"%s\" instead.",
						 get_rel_name(relation_root(RelationGetRelid(rel))))));
}

/* Rows that vanish without being deleted cannot be kept in sync. */
static void
check_persistence(Relation rel)
{
	if (rel->rd_rel->relpersistence == RELPERSISTENCE_TEMP)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("temporary table \"%s\" cannot be kept in sync",
						RelationGetRelationName(rel)),
				 errhint("Use a permanent table.")));
	if (rel->rd_rel->relpersistence == RELPERSISTENCE_UNLOGGED)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("unlogged table \"%s\" cannot be kept in sync",
						RelationGetRelationName(rel)),
				 errhint("Use ALTER TABLE ... SET LOGGED first.")));
}

static void
check_hierarchy(Relation rel)
{
	Oid			relid = RelationGetRelid(rel);
	List	   *members = find_all_inheritors(relid, AccessExclusiveLock, NULL);
	ListCell   *lc;

	if (rel->rd_rel->relkind == RELKIND_RELATION && list_length(members) > 1)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("table \"%s\" with inheritance children cannot be kept in sync",
						RelationGetRelationName(rel)),
				 errhint("Use a partitioned table, or enable the children.")));
	foreach(lc, members)
	{
		if (get_rel_relkind(lfirst_oid(lc)) == RELKIND_FOREIGN_TABLE)
			ereport(ERROR,
					(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					 errmsg("table \"%s\" with foreign partition \"%s\" cannot be kept in sync",
							RelationGetRelationName(rel),
							get_rel_name(lfirst_oid(lc)))));
	}
	list_free(members);
}

static void
check_key(Relation rel)
{
	RelationKey key;
	int			i;

	relation_key_read(rel, &key);
	if (key.is_temporal)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("primary key of table \"%s\" is WITHOUT OVERLAPS",
						RelationGetRelationName(rel)),
				 errhint("Devices name rows by their key: make it a plain primary key, and the periods a UNIQUE constraint WITHOUT OVERLAPS.")));
	if (key.nkeys == 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("table \"%s\" has no primary key",
						RelationGetRelationName(rel)),
				 errhint("Add a primary key: it tells devices which row is meant.")));
	for (i = 0; i < key.nkeys; i++)
	{
		Form_pg_attribute att = TupleDescAttr(RelationGetDescr(rel),
											  key.attnums[i] - 1);

		if (att->attgenerated != '\0')
			ereport(ERROR,
					(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					 errmsg("primary key of table \"%s\" contains the generated column \"%s\"",
							RelationGetRelationName(rel), NameStr(att->attname)),
					 errhint("Devices name rows by their key, which must be a value that they can give.")));
	}
}

static void
check_clock_column(Relation rel)
{
	TupleDesc	desc = RelationGetDescr(rel);
	int			i;

	for (i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);

		if (!att->attisdropped &&
			strcmp(NameStr(att->attname), SYNC_CLOCK_COLUMN) == 0 &&
			att->atttypid != sync_table_oids()->row_clock)
			ereport(ERROR,
					(errcode(ERRCODE_DUPLICATE_COLUMN),
					 errmsg("table \"%s\" has a column \"%s\" of type %s",
							RelationGetRelationName(rel), SYNC_CLOCK_COLUMN,
							format_type_be(att->atttypid)),
					 errhint("Rename it: the row clock is stored in a column of this name.")));
	}
}

/*
 * The scope column.  The capture trigger must see its value before the row is
 * stored, which rules out a generated one.
 */
AttrNumber
sync_table_check_scope(Relation rel, const char *name)
{
	AttrNumber	attnum = get_attnum(RelationGetRelid(rel), name);

	if (attnum <= 0 || strcmp(name, SYNC_CLOCK_COLUMN) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_COLUMN),
				 errmsg("scope column \"%s\" of table \"%s\" does not exist",
						name, RelationGetRelationName(rel)),
				 errhint("Name a column of the table, or leave it out to have all rows in one scope.")));
	if (TupleDescAttr(RelationGetDescr(rel), attnum - 1)->attgenerated != '\0')
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("scope column \"%s\" of table \"%s\" is a generated column",
						name, RelationGetRelationName(rel)),
				 errhint("Use a plain column, set by a BEFORE trigger if need be.")));
	return attnum;
}
