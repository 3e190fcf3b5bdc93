/*-------------------------------------------------------------------------
 *
 * json_object.h
 *	  The members of an object in a jsonb column.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OFFLINE_SYNC_JSON_OBJECT_H
#define OFFLINE_SYNC_JSON_OBJECT_H

#include "utils/jsonb.h"

/* Does a column whose keys are merged one by one hold what it should: an object,
 * or nothing, which counts as an empty one? */
extern bool json_object_fits(Datum value, bool isnull);

/* The members in jsonb's own order: by length of the key, then bytewise.  Keys and
 * values point into the datum that is given. */
extern JsonbIterator *json_object_begin(Datum value, bool isnull);
extern bool json_object_next(JsonbIterator **it, JsonbValue *key,
							 JsonbValue *value);

/* jsonb's order of keys */
extern int	json_object_compare_keys(const JsonbValue *a, const JsonbValue *b);

/* Are two members' values the same to the letter: 1 is not 1.0? */
extern bool json_object_same_value(const JsonbValue *a, const JsonbValue *b);

#endif							/* OFFLINE_SYNC_JSON_OBJECT_H */
