/*-------------------------------------------------------------------------
 *
 * opaque.h
 *	  How values of columns with the policy "opaque" appear where people read.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OFFLINE_SYNC_OPAQUE_H
#define OFFLINE_SYNC_OPAQUE_H

#include "lib/stringinfo.h"
#include "utils/jsonb.h"

/* Append {"opaque": "sha256:<hex>", "bytes": n} for these bytes. */
extern void opaque_append(StringInfo buf, const char *bytes, int len);

/* The same for the text of a bytea value, in either of its forms; what is not such a
 * text counts as bytes itself. */
extern void opaque_append_text(StringInfo buf, const char *text, int len);

/* Is this what opaque_append_text makes of the text? */
extern bool opaque_is_of_text(Jsonb *opaque, const char *text, int len);

#endif							/* OFFLINE_SYNC_OPAQUE_H */
