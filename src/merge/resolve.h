/*-------------------------------------------------------------------------
 *
 * resolve.h
 *	  What the steps of resolving a conflict share.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OFFLINE_SYNC_RESOLVE_H
#define OFFLINE_SYNC_RESOLVE_H

#include "compat.h"
#include "registry/table.h"
#include "utils/jsonb.h"
#include "utils/uuid.h"

typedef struct Conflict
{
	int32		table_id;
	char	   *key;
	int			key_len;
	int32		column_id;		/* 0: the row */
	char	   *state;
	Jsonb	   *incoming;		/* NULL: none */
	bool		is_opaque;		/* incoming is only a digest */
	pg_uuid_t	device;			/* whose change is in the journal */
	int64		seq;
} Conflict;

/* A jsonb as the column's value, as deltas carry it; an orset's own text too.
 * Under value modes. */
extern Datum resolve_column_value(SyncColumn *column, Jsonb *json, bool *isnull);

/* Raise that nothing was written: the row is not there, or not for this caller. */
pg_noreturn extern void resolve_refused(const SyncTable *table);

/* Do to the row what the change wanted that lost; bring the row back for that. */
extern void resolve_row_incoming(SyncTable *table, const Conflict *conflict);

/* Give the row these values, {"column": value}; insert it where it is gone. */
extern void resolve_row_value(SyncTable *table, const Conflict *conflict,
							  Jsonb *values);

#endif							/* OFFLINE_SYNC_RESOLVE_H */
