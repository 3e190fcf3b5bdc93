/*-------------------------------------------------------------------------
 *
 * digest_row.h
 *	  What is hashed of a row: the bytes that a client can make of its own copy.
 *
 * A row's bytes are, in UTF-8,
 *
 *		{"table":"t","key":{"id":1},"insert":{"a":"x","b":2}}
 *
 * as an insert in a delta's canonical form (doc/signing.md), without seq and hlc; of the
 * columns that the device is served and that are not NULL.  jsonb, which devices may spell as they like, is
 * spelt in one way: see json_canonical.h.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OFFLINE_SYNC_DIGEST_ROW_H
#define OFFLINE_SYNC_DIGEST_ROW_H

#include "lib/stringinfo.h"
#include "serve/serve.h"

/* The names of a table's columns, and their order; palloc'd */
typedef struct DigestTable DigestTable;

extern DigestTable *digest_table_create(const ServeTable *st);

/*
 * Append to buf, in the server's encoding.  The key's bytes lack the last brace, the
 * row's go on from there.  values and isnull: of the fetched columns.  Under value
 * modes.
 */
extern void digest_append_key(StringInfo buf, const DigestTable *dt, const Datum *key);
extern void digest_append_row(StringInfo buf, const DigestTable *dt,
							  const Datum *values, const bool *isnull);

/* Where the key itself, {"id":1}, begins in what digest_append_key appends. */
extern int	digest_key_offset(const DigestTable *dt);

#endif							/* OFFLINE_SYNC_DIGEST_ROW_H */
