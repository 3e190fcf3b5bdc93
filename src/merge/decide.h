/*-------------------------------------------------------------------------
 *
 * decide.h
 *	  The merge decision: facts in, verdict out.
 *
 * Pure: no catalog, no SPI, no clock, no settings, no memory.  What the writer
 * had seen is a fact that the caller establishes; who wins follows from it.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OFFLINE_SYNC_DECIDE_H
#define OFFLINE_SYNC_DECIDE_H

#include "types/row_clock.h"

/* How one column is merged */
typedef enum SyncPolicy
{
	POLICY_LWW = 0,				/* the later write */
	POLICY_ORSET,				/* observed-remove set */
	POLICY_COUNTER,				/* sum of increments */
	POLICY_MAX,					/* the greater value, by the type's order */
	POLICY_MIN,					/* the smaller one */
	POLICY_FIRST_WRITER,		/* the earlier write of a value */
	POLICY_SERVER_WINS,			/* what is stored, against a concurrent write */
	POLICY_MANUAL,				/* the same, and a person decides */
	POLICY_JSON,				/* each key of an object: the later write */
	POLICY_PRIORITY,			/* the writer of the higher class, then the
								 * later write */
	POLICY_CUSTOM,				/* what a function makes of both */
	POLICY_OPAQUE				/* the later write, of what nobody looks into */
} SyncPolicy;

#define SYNC_NPOLICIES	(POLICY_OPAQUE + 1)

/* The policy's name in SQL, and the other way round: -1 for an unknown one. */
extern const char *sync_policy_name(SyncPolicy policy);
extern int	sync_policy_by_name(const char *name);

/* Does a cell of this policy hold what several writers put in together? */
#define SYNC_POLICY_IS_MERGED(policy) \
	((policy) == POLICY_ORSET || (policy) == POLICY_COUNTER || \
	 (policy) == POLICY_JSON)

/* Does the policy only decide which value a cell gets?  The others say what its values
 * are, too, and what a device may send. */
#define SYNC_POLICY_IS_CHOICE(policy) \
	(!SYNC_POLICY_IS_MERGED(policy) && (policy) != POLICY_OPAQUE)

/* What became of a write to one cell */
typedef enum CellVerdict
{
	CELL_INCOMING,				/* the incoming value takes its place */
	CELL_CURRENT,				/* the stored value prevails */
	CELL_MERGED					/* both count: the policy combines them */
} CellVerdict;

typedef struct CellFacts
{
	const Stamp *current;		/* NULL where nobody wrote it: a default did */
	const Stamp *incoming;
	bool		is_seen;		/* the writer of incoming had seen current */
	int			comparison;		/* > 0: the incoming value counts more,
								 * whoever wrote it.  MAX, MIN: by the type's
								 * order; these and FIRST_WRITER: a value more
								 * than NULL.  PRIORITY: its writer is of the
								 * higher class.  Else 0 */
} CellFacts;

extern CellVerdict decide_cell(SyncPolicy policy, const CellFacts *facts);

/* What a change wants of its row */
typedef enum RowIntention
{
	ROW_WANTS_INSERT,
	ROW_WANTS_UPDATE,
	ROW_WANTS_DELETE
} RowIntention;

typedef enum RowVerdict
{
	ROW_MERGE,					/* the row lives: decide its cells */
	ROW_CREATE,					/* it does not: make a fresh one */
	ROW_REVIVE,					/* bring it back as it was, then decide its
								 * cells */
	ROW_DELETE,					/* delete it, or only note the delete */
	ROW_SUPERSEDED,				/* a delete that the writer had not seen wins */
	ROW_ABSORB,					/* the same, but the cells go into the image,
								 * in case a later write brings it back */
	ROW_OUTLIVES,				/* the delete loses against updates */
	ROW_EXISTS,					/* append_only: it was inserted before */
	ROW_DISPUTED,				/* strong: what is stored stays, a person
								 * decides */
	ROW_FIXED,					/* append_only: it cannot be changed */
	ROW_MISSING					/* nothing to change: it never was, or its
								 * writer knew that it is gone */
} RowVerdict;

/* What decides a delete against a concurrent update */
typedef enum SyncOnDelete
{
	ON_DELETE_DELETE_WINS = 0,
	ON_DELETE_UPDATE_WINS,
	ON_DELETE_LWW				/* the later one, by (hlc, replica) */
} SyncOnDelete;

/* The table's rules for its rows */
typedef struct RowRules
{
	SyncOnDelete on_delete;
	bool		is_append_only; /* rows are inserted, never changed */
	bool		is_strong;		/* nothing is merged with a concurrent write */
} RowRules;

/* Must a row remember its last write, whatever became of the cells?  See
 * apply_life.c. */
#define ROW_RULES_KEEP_STAMP(rules) \
	((rules)->on_delete != ON_DELETE_DELETE_WINS || (rules)->is_strong)

typedef struct RowFacts
{
	bool		is_alive;
	bool		was_deleted;	/* the floor is not empty */
	bool		floor_is_seen;	/* the writer had seen every delete in it;
								 * ON_DELETE_LWW: the latest one */
	bool		has_image;		/* of a row that is gone: what it was is known */
	bool		row_is_seen;	/* the writer had seen every write of the
								 * living row */
	bool		is_latest;		/* ON_DELETE_LWW: the change is later than
								 * every write of the living row, or every
								 * delete of the dead one */
} RowFacts;

/*
 * Decide one row.  *is_conflict: a delete met an update that it had not seen, or
 * the other way round; in a strong table, any write met another one.
 */
extern RowVerdict decide_row(const RowRules *rules, RowIntention intention,
							 const RowFacts *facts, bool *is_conflict);

#endif							/* OFFLINE_SYNC_DECIDE_H */
