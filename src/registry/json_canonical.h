/*-------------------------------------------------------------------------
 *
 * json_canonical.h
 *	  One spelling for equal JSON values.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OFFLINE_SYNC_JSON_CANONICAL_H
#define OFFLINE_SYNC_JSON_CANONICAL_H

#include "lib/stringinfo.h"
#include "utils/jsonb.h"

/*
 * Append the value, in the server's encoding: no blanks; the members of objects in the
 * order of their names' UTF-8 bytes; strings escaped as in deltas; numbers in digits,
 * without an exponent, a plus sign, or zeros that say nothing.  Equal values (jsonb =)
 * have equal bytes.
 */
extern void json_append_canonical(StringInfo buf, Jsonb *json);

#endif							/* OFFLINE_SYNC_JSON_CANONICAL_H */
