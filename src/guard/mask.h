/*-------------------------------------------------------------------------
 *
 * mask.h
 *	  Columns that are not accepted from devices of a class, or not served to
 *	  them.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OFFLINE_SYNC_MASK_H
#define OFFLINE_SYNC_MASK_H

#include "nodes/bitmapset.h"
#include "registry/table.h"
#include "utils/snapshot.h"

/* Where columns became visible to the device */
typedef struct MaskEvent
{
	int32		node;
	uint64		xid;
} MaskEvent;

/* What is masked of a table for one device */
typedef struct ColumnMasks
{
	Bitmapset  *no_push;		/* indexes into table->columns */
	Bitmapset  *no_pull;		/* never of the key, nor the scope column */
	bool		is_by_class;	/* something is, or was, not served to devices
								 * of some class only */
	int			nshown;
	MaskEvent  *shown;			/* masks of the device that were lifted */
} ColumnMasks;

/*
 * The masks of a table for devices of a class (NULL: none), as the snapshot has them;
 * NULL where the table never had any, which costs nothing.  palloc'd.
 */
extern ColumnMasks *guard_masks(SyncTable *t, const char *device_class,
								Snapshot snapshot);

/* Has the table, or had it ever, masks for any device? */
extern bool guard_has_masks(SyncTable *t);

/* Is any column of any table not served to devices of the class? */
extern bool guard_hides_columns(const char *device_class, Snapshot snapshot);

#endif							/* OFFLINE_SYNC_MASK_H */
