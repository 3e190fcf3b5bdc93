/*-------------------------------------------------------------------------
 *
 * table_version.h
 *	  A tracked table as an older version of the schema knows it: the names of
 *	  its columns, and their values where types have changed since.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OFFLINE_SYNC_TABLE_VERSION_H
#define OFFLINE_SYNC_TABLE_VERSION_H

#include "registry/table.h"
#include "types/delta.h"

/* The present version of the schema, from 1. */
extern int	sync_schema_version(void);

/*
 * The nodes that made versions, in order of succession, and the last version of each
 * (column_history.h); good until the next look at the registry.
 */
struct SchemaNode;
extern int	sync_schema_nodes(const struct SchemaNode **nodes);

/*
 * Stands in vectors for what a device has of the schema as one node made it: the
 * counter is the version whose columns it has the values of.  No entry: the first one.
 */
extern void sync_schema_replica(const pg_uuid_t *node, pg_uuid_t *replica);
extern bool sync_is_schema_replica(const pg_uuid_t *replica);

typedef struct TableVersion TableVersion;

/*
 * The table at a version of the schema; NULL where its columns were then what they are
 * now, as for version 0, which is "not said".  For one call of an entry function:
 * palloc'd in the current context, the conversion functions looked up and checked as
 * they are used.
 */
extern TableVersion *table_version_open(SyncTable *t, int version);

/* Has the table columns at the later version that were added, or got another type,
 * after the earlier one? */
extern bool table_version_has_news(SyncTable *t, int earlier, int later);

/* Did a column of its key ever have another type? */
extern bool table_version_has_rekeyed(SyncTable *t);

/* In all that follows a NULL version is the present one. */

/* What a name means: an index into t->columns, or one of these. */
#define VERSION_NO_COLUMN		(-1)
#define VERSION_DROPPED_COLUMN	(-2)

extern int	table_version_column(const SyncTable *t, const TableVersion *v,
								 const char *name, int len);

/* A column's name; NULL where the version does not have it. */
extern const char *table_version_name(const SyncTable *t, const TableVersion *v,
									  int column);

/* Is the column's type another one than it was? */
extern bool table_version_is_retyped(const TableVersion *v, int column);
extern bool table_version_has_retyped(const TableVersion *v);

/*
 * A value that a device of the version sent, as one of the present type; result may
 * point to what value points to.  Raises what conversion functions and input functions
 * raise, 42501 where the caller may not execute one.  Under value modes.
 */
extern void table_version_up(const SyncTable *t, const TableVersion *v, int column,
							 const DeltaValue *value, DeltaValue *result);

/*
 * A value for a device of the version.  Where its conversion raises an error, that
 * is the text of the present value: an error would stop all of the device's pulls.
 * Under value modes.
 */
extern void table_version_down(const SyncTable *t, const TableVersion *v, int column,
							   Datum value, bool isnull, DeltaValue *result);

/*
 * Append the key (row_key.h) of a change made at the version, which reader has just
 * read; false where it does not name all of the key's columns.  Raises as
 * table_version_up does, and what the columns' types say of a value they refuse.
 */
extern bool table_version_key(SyncTable *t, const TableVersion *version,
							  const DeltaReader *reader,
							  const DeltaChange *change, StringInfo buf);

#endif							/* OFFLINE_SYNC_TABLE_VERSION_H */
