/*-------------------------------------------------------------------------
 *
 * row_security.h
 *	  Row security where no statement asks it: rows that are no more, and
 *	  whether there is a row at all.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OFFLINE_SYNC_ROW_SECURITY_H
#define OFFLINE_SYNC_ROW_SECURITY_H

#include "registry/table.h"

/*
 * Would row security have let the caller see the last image of a deleted row?  SPI is
 * connected; not under value modes.  scratch is reset.
 */
extern bool guard_image_is_visible(SyncTable *t, const Datum *key, Datum image,
								   MemoryContext scratch);

/*
 * Is there a row with this key, whoever may see it?  For decisions only: the caller is
 * not to be told.  The table is locked.
 */
extern bool guard_row_exists(const SyncTable *t, const Datum *key);

#endif							/* OFFLINE_SYNC_ROW_SECURITY_H */
