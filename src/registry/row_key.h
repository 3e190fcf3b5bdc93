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

/*
 * The same for a key from before a key column's type changed, which may be none of the
 * present type (KEY_IS_FOREIGN: nothing is decoded), or be spelt otherwise
 * (KEY_IS_RESPELT).  Then no row has it.  Under value modes.
 */
typedef enum KeyState
{
	KEY_IS_CURRENT,
	KEY_IS_RESPELT,
	KEY_IS_FOREIGN
} KeyState;

extern KeyState row_key_try_decode(const SyncTable *t, const char *key, int len,
								   Datum *values);

/* The texts of its parts, palloc'd. */
extern char **row_key_texts(const SyncTable *t, const char *key, int len);

/* The key that {"id": "..."} means, palloc'd; raises 22023 where it is none. */
extern Datum *row_key_from_jsonb(SyncTable *t, Jsonb *json);

/* For people: {"id": "..."} with the columns' names. */
extern Jsonb *row_key_to_jsonb(const SyncTable *t, const char *key, int len);

#endif							/* OFFLINE_SYNC_ROW_KEY_H */
