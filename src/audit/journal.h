/*-------------------------------------------------------------------------
 *
 * journal.h
 *	  The journal (each delta as received, and what became of it) and the
 *	  conflicts that were met.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OFFLINE_SYNC_JOURNAL_H
#define OFFLINE_SYNC_JOURNAL_H

#include "datatype/timestamp.h"
#include "types/delta.h"
#include "types/hlc.h"
#include "types/orset.h"
#include "utils/jsonb.h"
#include "utils/snapshot.h"
#include "utils/uuid.h"

/*
 * One reconciliation.  first_seq .. last_seq are the changes that were new and
 * are stored with it; first_seq > last_seq means none (a refused delta), and is
 * kept out of the way of look-ups by seq.
 */
typedef struct JournalRow
{
	pg_uuid_t	reconciliation;
	pg_uuid_t	device;
	int64		first_seq;
	int64		last_seq;
	int32		node;			/* position */
	uint64		xid;
	TimestampTz received_at;
	char	   *role;			/* who called */
	char	   *status;			/* as sync_apply_delta returned it */
	DeltaData  *delta;			/* as received, an overlap included */
	Jsonb	   *outcomes;		/* array: changes that did not simply apply */
	Jsonb	   *details;		/* array for the audit: see views.sql */
	bool		is_told;		/* the answer told all that it wrote */
	Hlc			began;			/* between these clocks: the transaction may */
	Hlc			ended;			/* have written more */
	int			schema_version; /* whose names and types the delta uses, even
								 * if it does not say so */
} JournalRow;

/* Where the changes first_seq .. last_seq of a device were stored. */
typedef struct JournalPosition
{
	int64		first_seq;
	int64		last_seq;
	int32		node;			/* 0: not known */
	uint64		xid;
	bool		is_told;
	Hlc			began;
	Hlc			ended;
} JournalPosition;

/* A cell, or a row, for which two concurrent writes met. */
typedef struct ConflictRow
{
	pg_uuid_t	reconciliation;
	pg_uuid_t	device;			/* whose push met it */
	int64		seq;
	const char *scope;			/* NULL: none */
	int32		table_id;
	const char *key;			/* as row_key.h encodes it */
	int			keylen;
	int			column_id;		/* 0: the row */
	const char *policy;
	const char *decision;		/* 'current', 'incoming', 'merged' */
	const char *state;			/* 'auto', 'open' */
	Jsonb	   *current_value;	/* NULL: none */
	Jsonb	   *incoming_value; /* NULL: none */
	Hlc			current_hlc;
	Hlc			incoming_hlc;
	pg_uuid_t	current_replica;
	pg_uuid_t	incoming_replica;
	TimestampTz detected_at;
	int			shadow_step;	/* of the candidate that was watched; 0: none */
	const char *shadow_policy;
	const char *shadow_decision;	/* as decision, NULL: it raised an error */
	Jsonb	   *shadow_value;	/* what a function made of both, or NULL */
	const char *shadow_error;
	bool		shadow_is_same; /* the cell would hold the same */
} ConflictRow;

/* A new id for a reconciliation or a conflict: a version 7 uuid, so that ids of
 * one time lie together in the index. */
extern void journal_new_id(pg_uuid_t *id);

/* Smaller than every id made at this time or later, and larger than the others. */
extern void journal_first_id(TimestampTz time, pg_uuid_t *id);

extern void journal_insert(const JournalRow *row);

/* The reconciliation that stored this seq (>= 1) of a device, palloc'd; NULL
 * where there is none, or none any more. */
extern JournalRow *journal_find(const pg_uuid_t *device, int64 seq,
								Snapshot snapshot);

/* Its answer is given again, and does not tell all that it wrote. */
extern void journal_set_untold(const JournalRow *row);

/* What became of a change after all: JSON objects, NULL where there is nothing
 * to say. */
typedef struct JournalEnd
{
	int64		seq;
	const char *outcome;
	const char *detail;
} JournalEnd;

/*
 * Changes of one stored delta of a device came to their end later: say that in its
 * row, in place of what was said before.  seqs ascending; the device is locked.
 */
extern void journal_end_changes(const pg_uuid_t *device, int nends,
								const JournalEnd *ends);

/*
 * A device's stored ranges from the one with the largest last_seq <= from_seq
 * downwards; deltas are not read.  A range that goes on beyond from_seq is not
 * among them.  Pass PG_INT64_MAX for all.
 */
typedef struct JournalScan JournalScan;

extern JournalScan *journal_scan_begin(const pg_uuid_t *device, int64 from_seq,
									   Snapshot snapshot);
extern bool journal_scan_next(JournalScan *scan, JournalPosition *position);
extern void journal_scan_end(JournalScan *scan);

/*
 * For each tag the position of the push that stored it, or of where its change was
 * applied later; node 0 where the tag's
 * replica is no device or the journal no longer knows.  Tags of one replica
 * should follow each other in order: a range is then looked up once.
 */
extern void journal_tag_positions(int ntags, const OrSetTag *tags,
								  Snapshot snapshot, JournalPosition *positions);

/*
 * Where the journal no longer knows a seq, its position is at or before the one
 * up to which its node was pruned.  These are those positions, palloc'd; first_seq
 * and last_seq are 0.
 */
extern JournalPosition *journal_forgotten(Snapshot snapshot, int *npositions);

/* Have the values of a change been taken out of its delta (sync_purge_row)? */
extern bool journal_is_purged(const JournalRow *row, int64 seq);

/* Bytes of the results of intents in its outcomes. */
extern Size journal_result_bytes(const JournalRow *row);

extern void conflict_insert(const ConflictRow *rows, int nrows);

#endif							/* OFFLINE_SYNC_JOURNAL_H */
