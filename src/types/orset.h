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
 * One tag may be on several elements, if they were added together: whoever has
 * seen the tag must have seen all of them.
 *
 * Layout after the varlena header (v: varint; independent of the machine's byte
 * order).  The elements come first, so that what only looks at them (=, @>, GIN,
 * casts) need not read what follows:
 *
 *	byte		format in the high four bits; ORSET_TAGGED; the other bits are
 *				zero, and checked
 *	v			count of elements, which are sorted bytewise and distinct:
 *	v bytes		  length, text in the server's encoding, without NUL
 *
 * with ORSET_TAGGED (the context is not empty) only:
 *	vv_pack		the context
 *	v			count of tags
 *				for each element:
 *	v			  2 * count of its tags + is it plain; not 0
 *	v v			  for each tag, sorted by (replica, counter) and distinct:
 *				  index of the replica's entry in the context; counter, less
 *				  the one before if that has the same replica
 *
 * The wire form is a version byte and the same bytes, but for the elements' text,
 * which is in the client's encoding (so they are in any order).
 *
 *-------------------------------------------------------------------------
 */
#ifndef OFFLINE_SYNC_ORSET_H
#define OFFLINE_SYNC_ORSET_H

#include "fmgr.h"
#include "lib/stringinfo.h"
#include "types/version_vector.h"
#include "utils/uuid.h"

#define ORSET_FORMAT			1
#define ORSET_TAGGED			0x01

/* A tag takes 2 bytes packed and 24 unpacked: the counts bound memory. */
#define ORSET_MAX_ELEMENTS		1000000
#define ORSET_MAX_TAGS			1000000
#define ORSET_MAX_ELEMENT_SIZE	(1024 * 1024)

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

/* An element by name, in lists. */
typedef struct OrSetItem
{
	const char *data;			/* not terminated */
	int			len;
} OrSetItem;

/*
 * Unpacked; everything lives in and is grown in context.  Text and tags need not
 * be chunks of their own: never repalloc or pfree them.
 */
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

/* Add an element (copied) with this tag; an existing element gains the tag, in
 * place of earlier ones by the same replica.  That the tag is new to the set is
 * up to the caller: one that was seen and removed would come back.
 * "seen_up_to" (>= 0) says that all of the replica's tags up to it are known to
 * be in the set already or gone for good: it widens the context cheaply. */
extern void orset_add_tag(OrSet *set, const char *data, int len,
						  const OrSetTag *tag, uint64 seen_up_to);

/* Take out of the element those tags that the filter says the remover had seen,
 * and the plain mark; the element goes when nothing supports it any more.
 * Returns true if the element is gone (or was not there). */
extern bool orset_remove_seen(OrSet *set, const char *data, int len,
							  OrSetTagFilter filter, void *arg);

/*
 * The same two for many elements, in any order and with repetitions.  One by one
 * would be quadratic.  Without items (NULL), orset_remove_all_seen takes every
 * element: a "set" is that, followed by orset_add_tag_to_all.
 */
extern void orset_add_tag_to_all(OrSet *set, const OrSetItem *items, int nitems,
								 const OrSetTag *tag, uint64 seen_up_to);
extern void orset_remove_all_seen(OrSet *set, const OrSetItem *items, int nitems,
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

/* Unpack len bytes of the packed form, without header.  Returns NULL, or what is
 * wrong with them (a constant sentence, for an error's detail); *result is set
 * only on success.  Without must_be_sorted the elements may be in any order, and
 * orset_normalize must follow. */
extern const char *orset_decode(const char *bytes, Size len, bool must_be_sorted,
								MemoryContext context, OrSet **result);

/* Append what the packed form consists of, without header, to buf; the elements
 * may be in any order here, too.  Raises 54000 beyond the limits. */
extern void orset_encode(StringInfo buf, const OrSet *set);

/* Build a set: append elements (copied) and tags as they come, then normalize.
 * The element is good until the next is appended. */
extern OrSetElement *orset_append(OrSet *set, const char *data, int len);
extern void orset_append_tag(OrSet *set, OrSetElement *element,
							 const OrSetTag *tag);

/* Bring a set whose elements and tags were written in any order, with
 * repetitions, and without regard to seen, into the state that the rest
 * expects.  Returns the number of repeated elements. */
extern int	orset_normalize(OrSet *set);

#endif							/* OFFLINE_SYNC_ORSET_H */
