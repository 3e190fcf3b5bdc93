/*-------------------------------------------------------------------------
 *
 * orset.h
 *	  Observed-remove set of text elements: add wins over a concurrent remove.
 *
 * The optimised OR-set of Bieniusa, Zawirski, Preguica, Shapiro, Baquero,
 * Balegas, Duarte: "An optimized conflict-free replicated set", INRIA RR-8083,
 * 2012: each element carries the tags (replica, counter) of the adds that
 * support it, and one version vector, the context, says which tags the set has
 * ever seen; a tag that is in the context but on no element has been removed.
 *
 * An element may also be plain: written without tags (a cast from text[], the
 * short text form).  A plain element is in the merge when either side has it.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OFFLINE_SYNC_ORSET_H
#define OFFLINE_SYNC_ORSET_H

#include "fmgr.h"
#include "types/version_vector.h"
#include "utils/uuid.h"

#define ORSET_FORMAT		1

typedef struct OrSetTag
{
	pg_uuid_t	replica;
	uint64		counter;		/* 1 .. VV_MAX_COUNTER */
} OrSetTag;

/* Packed: the SQL type orset; canonical bytes. */
typedef struct varlena OrSetData;

#define DatumGetOrSetP(d)	((OrSetData *) PG_DETOAST_DATUM_PACKED(d))
#define OrSetPGetDatum(p)	PointerGetDatum(p)
#define PG_GETARG_ORSET_P(n) DatumGetOrSetP(PG_GETARG_DATUM(n))
#define PG_RETURN_ORSET_P(p) PG_RETURN_POINTER(p)

typedef struct OrSetElement
{
	const char *data;			/* not terminated */
	int			len;
	bool		is_plain;
	int			ntags;
	int			maxtags;
	OrSetTag   *tags;
} OrSetElement;

/* Unpacked; everything lives in and is grown in context. */
typedef struct OrSet
{
	MemoryContext context;
	int			nelements;
	int			maxelements;
	OrSetElement *elements;		/* sorted by bytes, no two equal */
	VersionVector *seen;		/* the context; covers every tag in elements */
} OrSet;

/* Is this tag seen by the writer of a remove?  See orset_remove_seen. */
typedef bool (*OrSetTagFilter) (const OrSetTag *tag, void *arg);

extern OrSet *orset_create(MemoryContext context);
/* raises XX001 on damaged bytes */
extern OrSet *orset_unpack(MemoryContext context, const OrSetData *packed);
extern OrSetData *orset_pack(const OrSet *set);

/* Index of an element, or -1. */
extern int	orset_find(const OrSet *set, const char *data, int len);

/* Add an element (copied) with this tag; an existing element gains the tag.
 * "seen_up_to" (>= 0) says that all of the replica's tags up to it are known to
 * be in the set already or gone for good: it widens the context cheaply. */
extern void orset_add_tag(OrSet *set, const char *data, int len,
						  const OrSetTag *tag, uint64 seen_up_to);

/* Take out of the element those tags that the filter says the remover had seen,
 * and the plain mark; the element goes when nothing supports it any more.
 * Returns true if the element is gone (or was not there). */
extern bool orset_remove_seen(OrSet *set, const char *data, int len,
							  OrSetTagFilter filter, void *arg);

extern OrSet *orset_merge_sets(MemoryContext context, const OrSet *a, const OrSet *b);

/* Do both hold the same elements, tags aside?  No unpacking. */
extern bool orset_same_elements(const OrSetData *a, const OrSetData *b);

/* Iterate over the elements of a packed set without unpacking it. */
typedef struct OrSetIterator
{
	const char *cursor;
	const char *end;
	int			remaining;
} OrSetIterator;

extern void orset_iterate(OrSetIterator *it, const OrSetData *packed);
extern bool orset_next(OrSetIterator *it, const char **data, int *len);

#endif							/* OFFLINE_SYNC_ORSET_H */
