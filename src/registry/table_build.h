/*-------------------------------------------------------------------------
 *
 * table_build.h
 *	  From the registry's rows and the catalog to the description of a table.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OFFLINE_SYNC_TABLE_BUILD_H
#define OFFLINE_SYNC_TABLE_BUILD_H

#include "access/tupdesc.h"
#include "registry/table.h"
#include "registry/table_row.h"

#define SYNC_CAPTURE_TRIGGER	"~offline_sync_capture"
#define SYNC_TRUNCATE_TRIGGER	"~offline_sync_truncate"
#define SYNC_PARENT_TRIGGER		"~offline_sync_parent"

/* The extension's objects that the registry recognises relations by.
 * InvalidOid where the extension is not (completely) there. */
typedef struct RegistryOids
{
	Oid			schema;			/* of the API */
	Oid			tracked_table;	/* the state table */
	Oid			capture;		/* the trigger functions */
	Oid			truncate;
	Oid			parent;
	Oid			row_clock;		/* types */
	Oid			orset;
	Oid			hlc;
} RegistryOids;

extern void registry_oids_read(RegistryOids *oids);

/* The table id in the relation's capture trigger; 0 where it has none. */
extern int32 registry_trigger_table_id(Oid relid, const RegistryOids *oids);

/* Every relation with a capture trigger that is not a partition's clone; palloc'd. */
typedef struct TriggeredRelation
{
	int32		table_id;
	Oid			relid;
} TriggeredRelation;

extern TriggeredRelation *registry_triggered_relations(const RegistryOids *oids,
													   int *nrelations);

/* The tracked tables that a relation's foreign keys refer to, before they are
 * known as such: the referenced relations, partitions replaced by their root. */
extern List *relation_parents(Oid relid);

/* The root of a partition; any other relation itself. */
extern Oid	relation_root(Oid relid);

/* What is known about a table before its relation is opened. */
typedef struct TableSource
{
	const RegistryOids *oids;
	const TrackedTable *row;
	Oid			relid;
	int			rank;
	int			nparents;
	int32	   *parents;
} TableSource;

/*
 * Describe a table, in a memory context of its own below the current one
 * (*context).  NULL where the relation is gone, or, with *problem saying what it
 * lacks, where it cannot be tracked any more.  *is_stale: the registered columns
 * are not the relation's.  *partitions: the partitions' oids, in the current context.
 */
extern SyncTable *sync_table_build(const TableSource *source,
								   MemoryContext *context,
								   const char **problem, bool *is_stale,
								   List **partitions);

/* Add the trials and shadows of the columns to a description that is complete else. */
extern void sync_table_describe_trials(SyncTable *t);

/* The primary key's attnums in order, and its index; empty where there is none, or
 * one WITHOUT OVERLAPS. */
typedef struct RelationKey
{
	Oid			index;
	bool		is_deferrable;
	bool		is_temporal;	/* WITHOUT OVERLAPS (18) */
	int			nkeys;
	AttrNumber	attnums[INDEX_MAX_KEYS];
} RelationKey;

extern void relation_key_read(Relation rel, RelationKey *key);

/*
 * Which registered column each attribute is: result[attnum - 1] is an index into
 * columns, or -1 (dropped attributes and the clock column too).  By name first,
 * then by attnum and type.
 */
extern int *tracked_column_match(TupleDesc desc, int ncolumns,
								 const TrackedColumn *columns);

/* Does the registry's row say what is true of the attribute? */
extern bool tracked_column_is_recorded(Form_pg_attribute att,
									   const TrackedColumn *row);

/* How values of a type travel. */
extern SyncValueClass registry_value_class(Oid type, const RegistryOids *oids);

/* A type's name as the registry records it: qualified, without typmod. */
extern char *tracked_column_type_name(Oid type);

#endif							/* OFFLINE_SYNC_TABLE_BUILD_H */
