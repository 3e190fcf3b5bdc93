/*-------------------------------------------------------------------------
 *
 * apply.h
 *	  What the steps of an apply share: the delta's changes, the rows they
 *	  touch, and how far we are.
 *
 *	  apply.c			the call: duplicates, gaps, batches, the answer
 *	  apply_resolve.c	names to tables and columns, text to values
 *	  apply_rows.c		lock and read the rows
 *	  apply_decide.c	decide the changes, in memory: their rows
 *	  apply_cells.c		their cells
 *	  apply_json.c		objects that are merged key by key
 *	  apply_rules.c		what priority and custom ask for
 *	  apply_shadow.c	what candidates for a policy would have decided
 *	  apply_seen.c		what the device had seen
 *	  apply_life.c		what deletes and updates know of each other
 *	  apply_image.c		the images of deleted rows
 *	  apply_write.c		write what was decided
 *	  apply_side.c		what those writes set off
 *	  apply_intent.c	call the handlers of intents
 *	  apply_defer.c		changes that have to wait for another row
 *	  apply_missing.c	which rows are missing
 *	  apply_refuse.c	deltas that are refused as a whole
 *	  apply_report.c	corrections, outcomes, journal
 *	  apply_retry.c		what waited, tried again
 *
 * Memory: state->context lives for the call and holds the changes, most of them in
 * state->bump; a batch's rows live in state->batch_context and state->batch_bump, which
 * are reset for every attempt.  What a value is converted by and from lives in
 * state->scratch, until the next change.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OFFLINE_SYNC_APPLY_H
#define OFFLINE_SYNC_APPLY_H

#include "audit/journal.h"
#include "guard/mask.h"
#include "lib/stringinfo.h"
#include "log/change_log.h"
#include "log/node.h"
#include "merge/decide.h"
#include "nodes/pg_list.h"
#include "registry/device.h"
#include "registry/row_direct.h"
#include "registry/intent.h"
#include "registry/table.h"
#include "registry/table_version.h"
#include "types/bump.h"
#include "types/delta.h"
#include "types/orset.h"
#include "utils/hsearch.h"
#include "utils/jsonb.h"

typedef enum ChangeOutcome
{
	OUTCOME_NONE = 0,			/* not decided yet */
	OUTCOME_APPLIED,
	OUTCOME_MERGED,
	OUTCOME_SUPERSEDED,
	OUTCOME_REJECTED,
	OUTCOME_DEFERRED			/* waits for a row */
} ChangeOutcome;

#define NCHANGE_OUTCOMES	(OUTCOME_DEFERRED + 1)

typedef struct ApplyCell
{
	int16		column;			/* index into table->columns */
	bool		isnull;
	DeltaCellOp op;
	DeltaValue	sent;			/* for orset columns: a LIST */
	Datum		value;			/* converted; not for orset columns */
} ApplyCell;

/* One row of a delta, by table and key */
typedef struct RowRef
{
	int32		table_id;
	int			key_len;
	const char *key_bytes;
} RowRef;

/* An intent; all but the first two: what its handler did */
typedef struct ApplyIntent
{
	const SyncIntent *registered;
	Jsonb	   *args;
	char	   *result;			/* JSON, or NULL */
	int64		nwrote;			/* rows (log entries, if not complete) */
	bool		is_complete;	/* rows has all of them */
	LoggedRow  *rows;			/* by table and key */
	int			nrows;
} ApplyIntent;

/* A new change and what became of it */
typedef struct ApplyChange
{
	DeltaChange delta;			/* keys and cells: see delta_reader_again() */
	Hlc			hlc;			/* lifted */
	bool		clock_was_ahead;	/* it had to be pulled back */
	int			unit;			/* changes of a group stand or fall together */
	SyncTable  *table;
	Datum	   *key;
	RowRef		ref;
	struct ApplyRow *row;		/* of the batch that reads rows last */
	int			ncells;
	ApplyCell  *cells;
	ApplyIntent *intent;		/* NULL: it is about a row, or not known */

	bool		is_refused;		/* no batch is to take it: unknown name, bad
								 * value; or it failed, or has to wait */
	ChangeOutcome outcome;
	const char *reason;			/* a word for programs, or NULL */
	int			sqlstate;		/* 0: none */
	const char *message;		/* for people; these may be NULL */
	const char *detail;
	const char *constraint;
	const char *column;
	List	   *ignored;		/* names of columns that are no more */
	const char *scope;			/* of its row, where known */
	char	   *previous;		/* JSON object of the cells it met, or NULL;
								 * these two in memory of their own */
	char	   *previous_stamps;	/* JSON object column -> [hlc, replica] */
	List	   *conflicts;		/* of ApplyConflict */

	/* the row that it waits for, as far as known: see AwaitedRow */
	int32		parent_table_id;	/* 0: not known */
	const char *parent_key;		/* NULL: not known */
	int			parent_keylen;
} ApplyChange;

typedef struct ApplyConflict
{
	int			column;			/* index into table->columns, -1: the row */
	const char *policy;
	bool		is_open;		/* a person is to decide */
	CellVerdict decision;
	char	   *current_json;	/* or NULL */
	char	   *incoming_json;
	Stamp		current;
	const SyncShadow *shadow;	/* the candidate that was watched, or NULL */
	CellVerdict shadow_decision;
	char	   *shadow_json;	/* what a function made of both, or NULL */
	char	   *shadow_error;	/* then it decided nothing; or NULL */
	bool		shadow_is_same; /* the cell would hold the same */
} ApplyConflict;

typedef enum RowAction
{
	ROW_KEEP = 0,				/* nothing to write */
	ROW_INSERT,
	ROW_UPDATE,
	ROW_REMOVE,
	ROW_BURY					/* only a tombstone: the row was made and
								 * deleted by the same batch, or was dead */
} RowAction;

typedef struct ApplyObject ApplyObject; /* private to apply_json.c */

/* A row in memory during a batch */
typedef struct ApplyRow
{
	RowRef		ref;			/* hash key */
	SyncTable  *table;
	Datum	   *key;
	bool		exists;			/* in the table, as of the last write */
	ItemPointerData tid;		/* where, if the table is accessed directly */
	Bitmapset  *columns;		/* those that were read; shared */
	bool		is_side_written;	/* what this apply's writes set off wrote
									 * it */
	bool		is_stale;		/* ... since its clock was read, ... */
	bool		is_to_reread;	/* ... since it was read */
	bool		is_alive;		/* after the decisions so far */
	bool		has_tombstone;
	bool		is_hidden;		/* by row security: the row, or what was
								 * deleted */
	bool		is_scope_seen;	/* its scope stamp and the grant are */
	bool		is_news;		/* it is there, and the device may not have it */
	RowClock   *clock;			/* NULL: never was */
	const char *scope;			/* NULL: in none */
	const char *rule_scope;		/* whose rules decide the cells of the change */
	Datum		image;			/* of the tombstone there was */
	bool		image_isnull;
	bool		image_is_new;	/* it is to be made of the values, of ... */
	Bitmapset  *image_columns;	/* ... these columns and the key */
	int			place;			/* in the order of keys, of the batch's rows */
	RowAction	action;
	bool		is_pending;		/* among the state's pending_rows */
	int			ninserts;		/* changes still to be decided that insert it */
	int			ndeletes;		/* that deleted it, so far */
	Bitmapset  *written;		/* columns to write */
	Bitmapset  *merged;			/* merged columns that hold nothing which the
								 * device does not know: the stamp is the
								 * node's, at our own position */
	Datum	   *values;			/* [table->ncolumns]; the columns read or
								 * written */
	bool	   *isnull;
	OrSet	  **sets;			/* [table->ncolumns] or NULL: values that are
								 * sets, unpacked, once they have changed */
	ApplyObject **objects;		/* the same for objects merged key by key,
								 * once they have been looked at: the clock
								 * then lacks their keys */

	/* for the answer */
	bool		was_inserted;
	bool		was_written;
	bool		is_gone;		/* deleted, and nothing can have brought it
								 * back */
	bool		check_presence;
	Bitmapset  *mentioned;		/* columns that the device wrote in any way */
	Bitmapset  *force;			/* columns to send back whatever they hold */
	DeltaValue **sent;			/* [table->ncolumns], last value sent, or NULL */
} ApplyRow;

/* A row that the answer may have to correct */
typedef struct TouchedRow
{
	RowRef		ref;			/* hash key; bytes in state->context */
	SyncTable  *table;
	Datum	   *key;
	bool		was_inserted;
	bool		was_written;
	bool		is_gone;
	bool		check_presence;
	bool		is_news;		/* the device may not have the row */
	bool		is_recalled;	/* the device may not know what became of it */
	bool		by_intent;		/* a handler wrote it */
	bool		is_unasked;		/* ... and the device did not name it */
	bool		device_deleted; /* the device's last word on it: it should be
								 * gone */
	Bitmapset  *mentioned;
	Bitmapset  *force;
	DeltaValue **sent;
	const TableVersion *version;	/* the delta's, of the table */
	const char *scope;			/* to log it in, where nothing else does */
} TouchedRow;

/* A device's push that its context does not cover, and where it is stored */
typedef struct OwnPush
{
	int64		last_seq;
	int32		node;
	uint64		xid;
	Hlc			began;			/* it wrote between these */
	Hlc			ended;
} OwnPush;

/* How a batch accesses a table */
typedef struct OpenTable
{
	SyncTable  *table;
	RowDirect  *direct;			/* NULL: by statements */
} OpenTable;

typedef struct ApplyState
{
	MemoryContext context;
	Bump		bump;			/* in context */
	MemoryContext batch_context;
	Bump		batch_bump;		/* in batch_context */
	MemoryContext scratch;

	const DeltaData *delta;
	DeltaReader reader;
	SyncDevice *device;
	SyncScopeSet *scopes;
	const VersionVector *seen;	/* the delta's context */
	int64		seen_own_seq;	/* its entry for the device itself */

	/* our position */
	const pg_uuid_t *node;
	int32		node_id;
	uint64		xid;

	/*
	 * delta names resolved, as the delta's version of the schema has them:
	 * [reader.ntables], [table][reader.ncolumns]
	 */
	SyncTable **tables;
	bool	   *tables_resolved;
	TableVersion **versions;	/* NULL: the present one */
	bool		any_versions;	/* any but NULL */
	ValueModes	modes;			/* to read and write the tables' values */
	ColumnMasks **masks;		/* [reader.ntables]; NULL: none */
	int		  **columns;		/* see table_version_column */

	ApplyChange *changes;
	int			nchanges;
	int			nresolved;		/* so many of them are */
	int			nunits;
	int		   *unit_start;		/* [nunits + 1], indexes into changes */
	int64		last_seq;		/* of the delta */
	Hlc			last_hlc;

	SyncNode   *nodes;			/* all nodes of this database, NULL: not
								 * loaded */
	int			nnodes;

	bool		forgotten_loaded;	/* up to where the journal was pruned */
	JournalPosition *forgotten;
	int			nforgotten;

	bool		own_pushes_loaded;
	OwnPush    *own_pushes;
	int			nown_pushes;
	HTAB	   *late_rows;		/* RowRef; NULL: not loaded */

	HTAB	   *writer_classes; /* of other devices; NULL: none asked for */

	/* waiting for rows */
	bool		may_set_aside;	/* what refers to missing rows is tried later */
	bool		may_defer;		/* a change whose parent is missing waits */
	bool		is_guest;		/* in a statement, or with the rights, of
								 * somebody else: errors decide nothing */
	bool		is_disturbed;	/* such an error was not about the content */
	bool		is_queued;		/* submitted earlier: its rate was looked at
								 * then */
	bool		has_unchecked;	/* the transaction has violated constraints
								 * before, that are checked at commit */
	bool		has_retried;	/* all that waits of the device, once */
	int			nnoted;			/* rows noted when that was done */
	bool		others_wrote;	/* ... and some of it wrote rows */
	HTAB	   *waiting;		/* RowRef: rows with changes of the device
								 * that wait; NULL: none */

	/* batch */
	uint64		known_to;		/* tombstones were read after all that this
								 * node stored before this position */
	HTAB	   *rows;			/* RowRef -> ApplyRow */
	int			npending;		/* rows with changes since the last write */
	int			maxpending;
	ApplyRow  **pending_rows;
	List	   *pending_deletes;	/* table ids (int list) with unwritten
									 * deletes */
	int			value_modes;	/* the decisions' nest level of settings */
	List	   *custom_calls;	/* functions of "custom", ready to be called */
	int			failed_change;	/* index: the decision refused it, or -1 */
	int			segment;		/* index: from here on no intent was called
								 * yet */
	bool		met_race;		/* a row appeared between read and write */
	SyncTable  *inserting;		/* directly, at this moment */

	/* intents */
	const pg_uuid_t *reconciliation;
	HTAB	   *intents;		/* names looked up; NULL: none yet */
	bool		has_intents;	/* handlers to be called */
	Hlc			intents_began;	/* when the first one was; HLC_MIN: not yet */
	Size		result_bytes;	/* of all results so far */
	int			ntold;			/* rows told because handlers wrote them */
	Size		told_bytes;
	int			nnamed;			/* rows named in the audit */
	bool		is_untold;		/* the answer lacks something that handlers
								 * wrote */

	Hlc			began;			/* before anything that it writes */
	Hlc			last_node_hlc;	/* latest stamp that it gave a merged cell */
	Oid			updatable;		/* a table whose rows the caller may update */
	List	   *opened;			/* of OpenTable */
	Size		noted_bytes;	/* of values that changes met, for the audit */
	Size		stored_bytes;	/* of outcomes and details that the journal's
								 * row has already */

	/* what writes set off */
	HTAB	   *side_writes;	/* RowRef: rows written by it; NULL: none */
	bool		is_side_full;	/* ... and more of them */
	Hlc			side_began;		/* before the first one */
	List	   *stale_rows;		/* of the batch's rows: the stale ones, ... */
	List	   *reread_rows;	/* ... and those to be read again */

	HTAB	   *touched;		/* RowRef -> TouchedRow */
	bool		any_triggers;	/* of users, on any table touched */
	int			nconflicts;
} ApplyState;

/* The answer */
typedef struct ApplyResult
{
	pg_uuid_t	reconciliation;
	const char *status;
	int64		acked_seq;
	int			counts[NCHANGE_OUTCOMES];
	int			nconflicts;
	Jsonb	   *outcomes;
	DeltaData  *corrections;
	Hlc			hlc;
} ApplyResult;

/*
 * Bytes of values that a delta's changes met, kept for the audit and for people who
 * resolve conflicts: one large value may be met by every change, and all of them
 * go into one jsonb.  What is more is left out.
 */
#define MAX_NOTED_SIZE		(64 * 1024 * 1024)

/* Of one message or detail of an error, bytes that are kept; of all of a delta, as
 * many as of values. */
#define MAX_MESSAGE_SIZE	8192

/* ---- apply.c ---- */

/* Is an apply under way in this backend? */
extern bool apply_in_progress;

/*
 * Apply a device's delta with the rights of the current user; the caller has seen to
 * it that no apply is under way.  is_queued: it was submitted before, perhaps by
 * another role; then what fails only because that role's rights are lent is raised.  The
 * answer's parts are palloc'd.
 */
extern void apply_push(DeltaData *delta, bool is_queued, ApplyResult *result);

/* The state's contexts, in the current one */
extern void apply_make_contexts(ApplyState *state);

/* 22023 unless a device made it */
extern void apply_check_pushed(const DeltaHeader *header);

/* Fill in what an apply knows of device and delta before it looks at the changes;
 * device and contexts are set, delta and reader where there is one. */
extern void apply_begin(ApplyState *state);

/* Make room for the delta's names, to be resolved. */
extern void apply_begin_names(ApplyState *state);

/* Where one of a group was refused by name or value, all of it is. */
extern void apply_fall_together(ApplyState *state);

/* Apply all units: as one batch, and where that fails in parts. */
extern void apply_all(ApplyState *state);

/* Keep the conflicts that the changes met, n in all. */
extern void apply_record_conflicts(ApplyState *state, int n);

/* Keep the delta and what became of it in the journal; first_seq > last_seq: nothing of
 * it is stored.  details: members of an array. */
extern void apply_record(ApplyState *state, ApplyResult *result,
						 const DeltaData *delta, int64 first_seq, int64 last_seq,
						 const char *details);

extern Jsonb *apply_json_array(const char *members);

/* ---- apply_refuse.c ---- */

/* Has the device pushed too much of late, and been told so?  Looked at before its row is
 * locked: then that is the answer, and nothing is written. */
extern bool apply_flooded(ApplyState *state, ApplyResult *result);

/* Is the delta not to be looked at: pushed too fast, damaged, not the device's?  Is it as
 * a whole not to be taken?  Then that is the answer. */
extern bool apply_guarded(ApplyState *state, ApplyResult *result);
extern bool apply_refused(ApplyState *state, ApplyResult *result);

/* The whole delta is refused: nothing is taken, the fact is kept.  wait: microseconds
 * after which it may be tried again, or 0. */
extern void apply_refuse_delta(ApplyState *state, ApplyResult *result,
							   const char *status, const char *reason,
							   int sqlstate, const char *message, int64 wait);

/* ---- apply_defer.c ---- */

/* Note the rows of the device's stored changes that wait. */
extern void apply_note_waiting(ApplyState *state);

/* Among units first .. last - 1, let those wait that touch a row for which earlier
 * changes wait. */
extern void apply_hold_back(ApplyState *state, int first, int last);

/* A unit failed by itself: has it to wait?  Then that is its outcome. */
extern bool apply_defer_failed(ApplyState *state, int unit,
							   const ErrorData *edata);

/* Let a unit wait; the culprit's reason and error have been noted. */
extern void apply_defer_unit(ApplyState *state, int unit, int culprit);

/* Try again what waits, of this delta and of earlier ones. */
extern void apply_settle_deferred(ApplyState *state);

/* Store what still waits: counts it, refuses what is too much. */
extern void apply_store_deferred(ApplyState *state);

/* A foreign key from one tracked table to another */
typedef struct ParentReference
{
	SyncTable  *child;
	SyncTable  *parent;
	int			nkeys;
	AttrNumber	conkey[INDEX_MAX_KEYS];
	AttrNumber	confkey[INDEX_MAX_KEYS];
} ParentReference;

extern bool apply_parent_reference(ApplyState *state, const ErrorData *edata,
								   ParentReference *reference);
extern bool apply_parent_key(const ApplyChange *change,
							 const ParentReference *reference, RowRef *ref);

/* Make constraints that are checked at commit speak now, where changes first ..
 * last - 1 have written to a table with such; and note beforehand whether the
 * transaction violates some already. */
extern void apply_check_constraints(ApplyState *state, int first, int last);
extern void apply_check_earlier(ApplyState *state);

/* ---- apply_missing.c ---- */

/* Which rows of a table are known to be missing? */
extern void apply_find_missing(int32 table_id, int nrows, const RowRef *refs,
							   bool *is_missing);

/* After a failed batch: set aside units whose parents are missing. */
extern bool apply_set_aside(ApplyState *state, const ErrorData *edata);

/* ---- apply_retry.c ---- */

/* Try again all that waits of the device that pushes; how many came to an end. */
extern int	apply_retry_own(ApplyState *state);

/* The same for what waited, of any device, for rows that this transaction wrote. */
extern int	apply_retry_noted(void);

/* ---- apply_resolve.c ---- */

/* Resolve names and convert values of all changes; what cannot be is refused. */
extern void apply_resolve(ApplyState *state);

/* The version of the schema that the delta was made for; 0: the present one. */
extern int	apply_schema_version(const ApplyState *state);

/* The same, to be kept with it: the present one, where that is meant, by its number. */
extern int	apply_stored_version(const ApplyState *state);

/* The delta's version of a change's table. */
extern const TableVersion *apply_table_version(const ApplyState *state,
											   const ApplyChange *change);

/* What is masked of a table for the device; NULL: there never were masks. */
extern ColumnMasks *apply_masks(const ApplyState *state, SyncTable *table);

/* Refuse a change (strings are kept as given). */
extern void apply_refuse(ApplyChange *change, const char *reason, int sqlstate,
						 const char *message, const char *column);

/* Errors that are the server's, or that a retry cures, are never outcomes */
extern bool apply_error_is_outcome(const ErrorData *edata);
extern bool apply_error_is_guests(const ErrorData *edata);
extern void apply_refuse_error(ApplyChange *change, const ErrorData *edata);

/* ---- apply_rows.c ---- */

extern uint32 apply_row_hash(const void *key, Size keysize);
extern int	apply_row_match(const void *a, const void *b, Size keysize);

/* A set of rows: its entries are RowRefs, whose bytes are not copied. */
extern HTAB *apply_make_row_set(MemoryContext context);

/* Make the batch's rows and read them under lock, in (table, key) order. */
extern void apply_read_rows(ApplyState *state, int first, int last);

extern ApplyRow *apply_find_row(ApplyState *state, const RowRef *ref);

/* Read rows of the batch anew, which nothing is to be written to; sorts them. */
extern void apply_reread_rows(ApplyState *state, ApplyRow **rows, int nrows);

/* qsort order of ApplyRow pointers: (table id, key bytes) */
extern int	apply_compare_rows(const void *a, const void *b);

/* The table for direct access, opened for the batch; NULL: by statements */
extern RowDirect *apply_open_table(ApplyState *state, SyncTable *table);
extern void apply_close_tables(ApplyState *state);

/* All rows of the batch in that order; palloc'd */
extern ApplyRow **apply_sorted_rows(ApplyState *state, int *nrows);

/* ---- apply_decide.c ---- */

/* Decide changes first .. last - 1 and write them, cutting where order matters. */
extern void apply_decide(ApplyState *state, int first, int last);

/* The stamps of a change's own writes, and of what it and others wrote together */
extern Stamp apply_device_stamp(ApplyState *state, const ApplyChange *change);
extern Stamp apply_node_stamp(ApplyState *state, const ApplyRow *row,
							  const ApplyChange *change);

/* Note a conflict; column -1: about the row.  The JSON texts are copied. */
extern void apply_add_conflict(ApplyState *state, ApplyChange *change,
							   ApplyRow *row, int column, CellVerdict decision,
							   const Stamp *current, char *current_json,
							   char *incoming_json);

/* May the device push to this scope? */
extern bool apply_may_push(ApplyState *state, const char *scope);

/* ---- apply_cells.c ---- */

/* what the cells of one change came to */
typedef struct CellTally
{
	int			incoming;		/* took effect as sent */
	int			merged;			/* together with other values */
	int			current;		/* did not prevail */
} CellTally;

/* Merge a change's cells into a row that lives; counts into *tally. */
extern void apply_merge_cells(ApplyState *state, ApplyChange *change,
							  ApplyRow *row, CellTally *tally);

/* The rule that merges a column of the row. */
extern const SyncRule *apply_rule(ApplyState *state, const ApplyRow *row, int column);

/* Decide a cell that holds what one writer put in it, by a rule; fills in
 * facts->comparison and, where the verdict is CELL_MERGED, *merged. */
extern CellVerdict apply_decide_register(ApplyState *state, ApplyChange *change,
										 const ApplyRow *row,
										 const ApplyCell *cell,
										 const SyncRule *rule, CellFacts *facts,
										 NullableDatum *merged);

/* a + b in the column's type, its typmod and domain applied */
extern Datum apply_add_counter(SyncColumn *column, Datum a, Datum b);

/* A row's value; a set or an object that has changed is packed. */
extern Datum apply_row_value(const ApplyRow *row, int column);

/* ---- apply_shadow.c ---- */

/* Note on the change's latest conflict what the column's candidate would have
 * decided, before the cell is merged into: that was decided otherwise by the column's own
 * rule, to verdict and (where it is CELL_MERGED) value. */
extern void apply_watch_shadow(ApplyState *state, ApplyChange *change,
							   const ApplyRow *row, const ApplyCell *cell,
							   const CellFacts *facts, CellVerdict verdict,
							   NullableDatum value);

/* ---- apply_rules.c ---- */

/* > 0: the writer of incoming is of a higher class than that of current */
extern int	apply_compare_classes(ApplyState *state, const SyncRule *rule,
								  const Stamp *incoming, const Stamp *current);

/* Merge two concurrent, different values by the rule's function; CELL_MERGED: into a
 * third, copied to *merged. */
extern CellVerdict apply_custom(ApplyState *state, ApplyChange *change,
								const ApplyRow *row, const ApplyCell *cell,
								const SyncRule *rule, const CellFacts *facts,
								NullableDatum *merged);

/* Is it one and the same value of the column, to the letter? */
extern bool apply_same_value(const SyncColumn *column, NullableDatum a,
							 NullableDatum b);

/* ---- apply_json.c ---- */

/* Raises where the value there is not an object, and cannot be replaced. */
extern void apply_merge_json(ApplyState *state, ApplyChange *change,
							 ApplyRow *row, ApplyCell *cell, CellTally *tally);
extern Datum apply_object_value(ApplyObject *object);

/* What a change alone would make of an object: value is what it adds, list the
 * names of keys that it removes. */
extern Datum apply_object_with(DeltaCellOp op, Datum current, bool isnull,
							   Datum value, const DeltaValue *list);

/* Put the keys of a row's objects into its clock, which is about to be written. */
extern void apply_settle_objects(ApplyRow *row);

/* ---- apply_seen.c ---- */

/* Has the device (its context) seen this stamp of the row? */
extern bool apply_stamp_is_seen(ApplyState *state, const ApplyRow *row,
								const Stamp *stamp);
extern bool apply_write_is_seen(ApplyState *state, const Stamp *stamp);

/* Has it been told of the write?  (What its own intents just did it has not.) */
extern bool apply_write_is_told(ApplyState *state, const Stamp *stamp);
extern bool apply_position_is_seen(ApplyState *state, const pg_uuid_t *node,
								   uint64 xid);
extern bool apply_row_is_late(ApplyState *state, const RowRef *ref);
extern bool apply_grant_is_seen(ApplyState *state, const SyncDeviceScope *scope);

/* It put a row into a scope: was it granted that by then, or has it pulled since?
 * Else it was told to forget the row. */
extern bool apply_kept_own_row(ApplyState *state, const SyncDeviceScope *scope,
							   const Stamp *stamp);

/* Take the tags that the device had seen out of the set: of these elements, or of
 * all where items is NULL. */
extern void apply_remove_seen_tags(ApplyState *state, ApplyRow *row,
								   const SyncColumn *column, OrSet *set,
								   const OrSetItem *items, int nitems);

/* ---- apply_life.c ---- */

/* Had the change's writer seen the row's deletes, every write of a row that lives?
 * Is it later than what it would undo? */
extern bool apply_floor_is_seen(ApplyState *state, const ApplyRow *row);
extern bool apply_row_is_seen(ApplyState *state, const ApplyRow *row);
extern bool apply_is_latest(ApplyState *state, const ApplyChange *change,
							const ApplyRow *row);

/* A change went into a row: remember that, where the rules ask for it. */
extern void apply_note_write(ApplyState *state, ApplyChange *change,
							 ApplyRow *row, const Bitmapset *written);

/* ---- apply_image.c ---- */

/* Make the row in memory what its tombstone's image says, to be written whole. */
extern void apply_load_image(ApplyRow *row);

/* Make the image of the values, of image_columns and the key.  Under value modes. */
extern void apply_keep_image(ApplyRow *row);

/* Raise what the table's constraints say against a new image. */
extern void apply_check_image(ApplyRow *row);

/* May the caller update the columns that a change wrote? */
extern bool apply_may_update_cells(const ApplyChange *change);

/* ---- apply_write.c ---- */

/* Write the pending actions of all rows of the batch. */
extern void apply_write(ApplyState *state);

/* Insert a row whose table is accessed directly, and undo that: raises what the
 * insertion raises. */
extern bool apply_can_try(ApplyState *state, ApplyRow *row);
extern void apply_try_insert(ApplyState *state, ApplyRow *row);

/* ---- apply_side.c ---- */

/* Watch for what the batch's writes set off.  write_set_watch(NULL, NULL) ends it. */
extern void apply_watch_side_writes(ApplyState *state);

/* Was a row written that the answer says nothing of? */
extern bool apply_side_is_untold(const ApplyState *state);

/* Did it write the row?  Was it this stamp's write? */
extern bool apply_is_side_written(const ApplyState *state, const RowRef *ref);
extern bool apply_side_wrote(const ApplyState *state, const ApplyRow *row,
							 const Stamp *stamp);

/* Look again at the batch's rows that it wrote: at those that are still to be
 * updated; at all others, once nothing is to be written. */
extern void apply_refresh_clocks(ApplyState *state);
extern void apply_refresh_rows(ApplyState *state);

/* ---- apply_intent.c ---- */

extern void apply_resolve_intent(ApplyState *state, ApplyChange *change);
extern int	apply_next_intent(const ApplyState *state, int from, int to);
extern void apply_call_intent(ApplyState *state, int index);
extern bool apply_intent_wrote(const ApplyState *state, const Stamp *stamp);
extern void apply_tell_intents(ApplyState *state);
extern bool apply_is_gone(ApplyState *state, const TouchedRow *row);
extern void apply_append_wrote(ApplyState *state, StringInfo buf,
							   const ApplyIntent *intent);

/* ---- apply_report.c ---- */

/* The entry of a row in state->touched, made where there is none; ref's and key's
 * memory must live as long as the call. */
extern TouchedRow *apply_touch_row(ApplyState *state, const RowRef *ref,
								   SyncTable *table, const Datum *key);

/* May the device pull this scope?  NULL: no. */
extern bool apply_may_pull(ApplyState *state, const char *scope);

extern void apply_remember_rows(ApplyState *state, int first, int last);
extern void apply_remember_change(ApplyState *state, ApplyChange *change);
extern void apply_recall_change(ApplyState *state, const ApplyChange *change);
extern void apply_note_deletions(ApplyState *state);
extern void apply_log_touched(ApplyState *state);
extern DeltaData *apply_corrections(ApplyState *state);
extern void apply_append_outcome(ApplyState *state, StringInfo buf,
								 const ApplyChange *change);
extern void apply_append_detail(ApplyState *state, StringInfo buf,
								const ApplyChange *change);
extern void apply_value_json(StringInfo buf, SyncColumn *column,
							 Datum value, bool isnull);
extern void apply_sent_json(StringInfo buf, const ApplyChange *change);

#endif							/* OFFLINE_SYNC_APPLY_H */
