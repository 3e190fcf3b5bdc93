/*-------------------------------------------------------------------------
 *
 * version_vector.h
 *	  What a replica has seen: for each replica a set of counters, mostly
 *	  everything up to a base and a few later intervals.
 *
 * After Parker et al., "Detection of Mutual Inconsistency in Distributed
 * Systems", IEEE TSE 1983; with intervals as in Malkhi and Terry, "Concise
 * Version Vectors in WinFS", DISC 2005.
 *
 * Counters run from 1 to VV_MAX_COUNTER (they fit a bigint).  A replica with an
 * empty set of counters is not stored.
 *
 * Layout (typalign double, so that ranges can be used in place; all fields in
 * the machine's byte order; the binary wire form is another one):
 *
 *		header | entries[nentries], sorted by replica bytewise | ranges[nranges]
 *
 * The ranges of one entry are contiguous, sorted, disjoint and not adjacent
 * (lo of the next > hi + 1), so equal vectors have equal bytes.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OFFLINE_SYNC_VERSION_VECTOR_H
#define OFFLINE_SYNC_VERSION_VECTOR_H

#include "fmgr.h"
#include "lib/stringinfo.h"
#include "utils/uuid.h"

#define VV_FORMAT			1
#define VV_MAX_COUNTER		((uint64) PG_INT64_MAX)

/*
 * Far more than a snapshot has gaps.  Each range has at most one entry, so a
 * vector has at most 16 + 1000000 * (24 + 16) bytes, and its text at most
 * 1000000 * (42 + 41): neither comes near 1 GB.
 */
#define VV_MAX_RANGES		1000000

typedef struct VVRange
{
	uint64		lo;				/* first counter, >= 1 */
	uint64		hi;				/* last counter, >= lo */
} VVRange;

typedef struct VVEntry
{
	pg_uuid_t	replica;
	uint32		first_range;	/* index into the ranges */
	uint32		nranges;		/* >= 1 */
} VVEntry;

typedef struct VersionVector
{
	int32		vl_len_;		/* varlena header (do not touch directly!) */
	uint8		format;			/* VV_FORMAT */
	uint8		reserved[3];	/* always zero, and checked */
	uint32		nentries;
	uint32		nranges;
	/* VVEntry entries[nentries], then VVRange ranges[nranges] */
} VersionVector;

#define VV_HEADER_SIZE		16	/* sizeof(VersionVector), 8-byte aligned */
#define VV_ENTRIES(vv)		((VVEntry *) ((char *) (vv) + VV_HEADER_SIZE))
#define VV_RANGES(vv)		((VVRange *) (VV_ENTRIES(vv) + (vv)->nentries))

#define VV_SIZE(nentries, nranges) \
	(VV_HEADER_SIZE + (Size) (nentries) * sizeof(VVEntry) + \
	 (Size) (nranges) * sizeof(VVRange))

/* Arguments are never packed: the 1-byte header would break the alignment. */
#define DatumGetVersionVectorP(d) \
	vv_checked((VersionVector *) PG_DETOAST_DATUM(d))
#define VersionVectorPGetDatum(p)	PointerGetDatum(p)
#define PG_GETARG_VERSION_VECTOR_P(n) DatumGetVersionVectorP(PG_GETARG_DATUM(n))
#define PG_RETURN_VERSION_VECTOR_P(p) PG_RETURN_POINTER(p)

typedef enum VVOrder
{
	VV_EQUAL,
	VV_BEFORE,					/* a < b */
	VV_AFTER,					/* a > b */
	VV_CONCURRENT
} VVOrder;

/* Check format and sizes of a stored vector; raises XX001. */
extern VersionVector *vv_checked(VersionVector *vv);

/* ---- reading; none of these allocates or raises ---- */

/* The entry of a replica, or NULL. */
extern const VVEntry *vv_find(const VersionVector *vv, const pg_uuid_t *replica);

/* Does the vector cover this counter of this replica?  Counter 0 always is. */
extern bool vv_covers_counter(const VersionVector *vv, const pg_uuid_t *replica,
							  uint64 counter);

/* The largest counter covered (0: none) and the largest n such that 1..n all
 * are covered. */
extern uint64 vv_max_counter(const VersionVector *vv, const pg_uuid_t *replica);
extern uint64 vv_base_counter(const VersionVector *vv, const pg_uuid_t *replica);
extern uint64 vv_entry_base(const VersionVector *vv, const VVEntry *entry);

/* Of the counters of a replica that are >= from, find the first stretch that is
 * not covered: *lo..*hi (*hi is VV_MAX_COUNTER for the open end).  False when
 * from > VV_MAX_COUNTER.  Loop: from = *hi + 1. */
extern bool vv_next_gap(const VersionVector *vv, const pg_uuid_t *replica,
						uint64 from, uint64 *lo, uint64 *hi);

extern VVOrder vv_compare(const VersionVector *a, const VersionVector *b);

/* ---- making; results are palloc'd in the current context.  54000 is raised
 * where a vector would have more than VV_MAX_RANGES ---- */

extern VersionVector *vv_empty(void);
extern VersionVector *vv_join_vectors(const VersionVector *a, const VersionVector *b);

/*
 * A vector under construction: add ranges of counters in any order, overlapping
 * or not, take some out again, then finish.  Lives in the context that was
 * current at vv_builder_create; cost n log n over the number of ranges added.
 * Ranges taken out are taken out of everything added before that moment.
 * Counter 0 and counters above VV_MAX_COUNTER are left aside; lo > hi is nothing.
 * Finishing leaves the builder as it was: more can be added.
 */
typedef struct VVBuilder VVBuilder;

extern VVBuilder *vv_builder_create(void);
extern void vv_builder_add(VVBuilder *b, const pg_uuid_t *replica,
						   uint64 lo, uint64 hi);
extern void vv_builder_add_vector(VVBuilder *b, const VersionVector *vv);
extern void vv_builder_remove(VVBuilder *b, const pg_uuid_t *replica,
							  uint64 lo, uint64 hi);
extern VersionVector *vv_builder_finish(VVBuilder *b);
extern void vv_builder_free(VVBuilder *b);

/* ---- text and wire, shared with the other types ---- */

/* Parse the JSON text form of len bytes; NULL and *error (a constant string,
 * lower case, no period) where it is malformed.  Does not raise (but for the
 * limit, memory and interrupts). */
extern VersionVector *vv_parse(const char *str, int len, const char **error);
extern void vv_format(StringInfo buf, const VersionVector *vv);

/* Compact wire form: varint count of entries, then per entry 16 bytes of uuid,
 * varint count of ranges, and varint deltas.  vv_unpack checks everything,
 * advances *cursor and returns NULL on malformed bytes. */
extern void vv_pack(StringInfo buf, const VersionVector *vv);
extern VersionVector *vv_unpack(const char **cursor, const char *end);

/* ---- for the files of this type only ---- */

/* Raise 54000 where there are more ranges than a vector may have. */
extern void vv_check_limit(Size nranges);

/* A vector with room for its entries and ranges, to be filled by the caller. */
extern VersionVector *vv_allocate(uint32 nentries, uint32 nranges);

/* Write the ranges of an entry from the given one on: "22,24-30". */
extern void vv_format_ranges(StringInfo buf, const VersionVector *vv,
							 const VVEntry *entry, uint32 from);

#endif							/* OFFLINE_SYNC_VERSION_VECTOR_H */
