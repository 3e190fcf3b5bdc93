/*-------------------------------------------------------------------------
 *
 * column_history.h
 *	  What happened to the columns of tracked tables, by version of the schema.
 *
 * Versions count from 1, the schema as it was when the first table was enabled.
 * A command that adds, renames, drops or changes the type of columns of a tracked
 * table makes the next one.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OFFLINE_SYNC_COLUMN_HISTORY_H
#define OFFLINE_SYNC_COLUMN_HISTORY_H

#define SCHEMA_FIRST_VERSION	1

typedef enum ColumnChangeKind
{
	COLUMN_ADDED = 0,
	COLUMN_RENAMED,
	COLUMN_DROPPED,
	COLUMN_RETYPED
} ColumnChangeKind;

typedef struct ColumnChange
{
	int32		version;
	int32		column_id;
	ColumnChangeKind kind;
	const char *old_name;		/* NULL: ADDED */
	const char *new_name;		/* NULL: DROPPED */
	const char *old_type;
	const char *new_type;
} ColumnChange;

/* The present version, and that of the last change to a table's columns:
 * SCHEMA_FIRST_VERSION where nothing has changed. */
extern int32 column_history_version(void);
extern int32 column_history_table_version(int32 table_id);

/* A node that made versions, and the last one of them */
typedef struct SchemaNode
{
	int32		node;
	int32		version;
} SchemaNode;

/* All of them, in order of succession; palloc'd. */
extern SchemaNode *column_history_nodes(int *nnodes);

/* A table's changes, ascending by version; palloc'd. */
extern ColumnChange *column_history_read(int32 table_id, int *nchanges);

/*
 * Record what one command of the role changed: their version is the next one.  The caller holds
 * a lock that keeps others out until the end of the transaction.
 */
extern void column_history_record(int32 table_id, Oid role, int nchanges,
								  const ColumnChange *changes);

#endif							/* OFFLINE_SYNC_COLUMN_HISTORY_H */
