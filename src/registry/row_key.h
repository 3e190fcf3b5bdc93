/*-------------------------------------------------------------------------
 *
 * row_key.h
 *	  Primary keys as bytes, for the log, tombstones and in-memory hashes.
 *
 * For each key column in primary key order: a varint length, then 16 raw bytes
 * for a uuid, the canonical text for every other type (numeric without trailing
 * zeros).  Bytes are compared with memcmp; the form does not depend on oids or
 * on the integer's width, so it survives dump, restore and ALTER TYPE.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OFFLINE_SYNC_ROW_KEY_H
#define OFFLINE_SYNC_ROW_KEY_H

#include "lib/stringinfo.h"
#include "registry/table.h"
#include "utils/jsonb.h"

/* Append the encoding of nkeys values (none NULL).  The caller has set the value
 * modes (value.h) where t->modes. */
extern void row_key_encode(StringInfo buf, const SyncTable *t, const Datum *values);

/* Decode into values[nkeys], palloc'd; raises XX001 where it is damaged. */
extern void row_key_decode(const SyncTable *t, const char *key, int len, Datum *values);

/* The key that {"id": "..."} means, palloc'd; raises 22023 where it is none. */
extern Datum *row_key_from_jsonb(SyncTable *t, Jsonb *json);

/* For people: {"id": "..."} with the columns' names. */
extern Jsonb *row_key_to_jsonb(const SyncTable *t, const char *key, int len);

#endif							/* OFFLINE_SYNC_ROW_KEY_H */
