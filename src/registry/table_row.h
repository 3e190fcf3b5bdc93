/*-------------------------------------------------------------------------
 *
 * table_row.h
 *	  Rows of offline_sync.tracked_table and offline_sync.tracked_column, for
 *	  the files of the registry.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OFFLINE_SYNC_TABLE_ROW_H
#define OFFLINE_SYNC_TABLE_ROW_H

#include "access/attnum.h"
#include "datatype/timestamp.h"
#include "nodes/pg_list.h"
#include "types/hlc.h"
#include "utils/jsonb.h"
#include "utils/uuid.h"

typedef struct TrackedTable
{
	int32		table_id;
	char	   *wire_name;
	char	   *schema_name;	/* as last seen */
	char	   *table_name;
	int32		scope_column_id;	/* 0: none */
	char	   *on_delete;
	char	   *mode;
	char	   *consistency;
	char	   *audit;
	int32		enabled_node;
	uint64		enabled_xid;
	Hlc			enabled_hlc;
	int32		enabled_columns;
	TimestampTz enabled_at;
} TrackedTable;

typedef struct TrackedColumn
{
	int32		column_id;
	char	   *name;			/* as last seen */
	AttrNumber	attnum;
	pg_uuid_t	node;			/* on which attnum holds */
	char	   *type_name;
	int			key_position;	/* 0: not in the primary key */
	char	   *policy;			/* NULL: the type's default */
	Jsonb	   *options;		/* of the policy, as given */
	bool		is_dropped;
} TrackedColumn;

/* The enabled tables, ascending by id; palloc'd. */
extern TrackedTable *tracked_table_read(int *ntables);

/* The id for the next table to be enabled; hold a lock that keeps others out. */
extern int32 tracked_table_next_id(void);

/* A table's columns, dropped ones included, ascending by id; palloc'd. */
extern TrackedColumn *tracked_column_read(int32 table_id, int *ncolumns);

#endif							/* OFFLINE_SYNC_TABLE_ROW_H */
