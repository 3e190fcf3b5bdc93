/*-------------------------------------------------------------------------
 *
 * table.h
 *	  The tracked tables and their columns, as cached descriptions.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OFFLINE_SYNC_TABLE_H
#define OFFLINE_SYNC_TABLE_H

#include "fmgr.h"
#include "merge/decide.h"
#include "nodes/bitmapset.h"
#include "types/row_clock.h"
#include "utils/rel.h"

/* name of the column that holds the row clock */
#define SYNC_CLOCK_COLUMN	"_sync"

typedef enum SyncAuditLevel
{
	AUDIT_OFF = 0,
	AUDIT_CONFLICTS,
	AUDIT_OUTCOMES,				/* the default */
	AUDIT_FULL
} SyncAuditLevel;

/* How a value of the column is turned into a DeltaValue and back */
typedef enum SyncValueClass
{
	VALUE_TEXT = 0,				/* the type's text as a JSON string */
	VALUE_NUMBER,				/* int2, int4, int8: as a JSON number.  Every
								 * other type travels as text: floats and
								 * numerics may be NaN */
	VALUE_BOOL,
	VALUE_JSON,					/* json, jsonb (not domains over them) */
	VALUE_ORSET
} SyncValueClass;

/* A policy with its options.  Names, not oids: resolved when they are needed. */
typedef struct SyncRule
{
	SyncPolicy	policy;
	int			nclasses;		/* PRIORITY: device classes, highest first */
	char	  **classes;
	char	   *function;		/* CUSTOM: as given, schema-qualified */
} SyncRule;

/* A rule that holds for the rows of one scope */
typedef struct SyncTrial
{
	char	   *scope;
	SyncRule	rule;
} SyncTrial;

/* A rule that decides nothing: what it would decide is noted on conflicts */
typedef struct SyncShadow
{
	int			step;			/* of the column's history */
	char	   *scope;			/* NULL: for all rows */
	SyncRule	rule;
} SyncShadow;

/* Which settings do the texts of values depend on? */
typedef enum ValueModes
{
	VALUE_MODES_NONE = 0,
	VALUE_MODES_PLAIN,			/* those of dates, floats and bytea */
	VALUE_MODES_ALL				/* perhaps any, search_path among them */
} ValueModes;

typedef struct SyncColumn
{
	int16		column_id;		/* registered id, 1.. ; never reused */
	AttrNumber	attnum;			/* in the (root) relation */
	char	   *name;
	Oid			type;
	Oid			base_type;		/* type, or what it is a domain over */
	int32		typmod;
	Oid			collation;
	int16		typlen;
	bool		typbyval;
	char		typalign;
	SyncPolicy	policy;			/* rule.policy */
	SyncRule	rule;			/* but see sync_column_rule */
	int			ntrials;
	SyncTrial  *trials;			/* ascending by scope */
	SyncShadow *shadow;			/* or NULL */
	SyncValueClass value_class;
	bool		is_key;
	bool		is_generated;	/* GENERATED ALWAYS AS (expr) */
	bool		is_virtual;		/* ... VIRTUAL (18): NULL in tuples */
	bool		is_always;		/* GENERATED ALWAYS AS IDENTITY: no UPDATE may
								 * set it */
	bool		has_default;	/* default expression or identity */
	bool		is_not_null;
	ValueModes	modes;			/* of its text form */
	FmgrInfo	input;
	Oid			typioparam;
	FmgrInfo	output;
} SyncColumn;

/*
 * A tracked table.  Valid until the end of the top transaction, even where an
 * invalidation has made a newer description available meanwhile.
 */
typedef struct SyncTable
{
	int32		table_id;
	int			schema_version; /* at which the columns changed last; 1: never */
	struct VersionNames *version_names; /* of older versions; private to
										 * table_version.c */
	int8		masks_state;	/* are there masks? 0: not known; private to
								 * guard/mask.c */
	uint64		version;		/* no other description in this backend has
								 * the same: what is derived from it may key
								 * on it */
	Oid			relid;			/* the table, or the root of its partitions */
	char	   *wire_name;		/* as in deltas */
	char	   *qualified_name; /* quoted, schema-qualified, for SQL */
	char	   *schema_name;
	char	   *table_name;
	AttrNumber	clock_attnum;	/* of _sync */
	int			ncolumns;
	SyncColumn *columns;		/* live columns but _sync, ascending column_id */
	int16		max_column_id;	/* largest ever registered, dropped included */
	int16		enabled_columns;	/* column ids up to this existed when
									 * enabled */
	int			nkeys;
	int		   *key;			/* indexes into columns, in primary key order */
	Oid		   *key_eq;			/* btree equality operator per key column
								 * (type = type) */
	Oid		   *key_lt;			/* btree < per key column */
	Oid		   *key_gt;			/* btree > per key column */
	bool		key_deferrable; /* ON CONFLICT cannot use the primary key */
	int			scope_column;	/* index into columns, or -1: scope '' */
	RowRules	rules;
	SyncAuditLevel audit;
	Stamp		enabled;		/* the stamp that a NULL row clock stands for */
	int			rank;			/* parents have smaller ranks than children;
								 * cycles broken somewhere */
	int			nparents;
	int32	   *parents;		/* table_ids that foreign keys refer to,
								 * directly; its own too */
	bool		has_before_insert;	/* user row triggers other than ours,
									 * enabled */
	bool		has_before_update;
	bool		has_other_triggers; /* any other user trigger or rule, AFTER
									 * included */
	bool		has_deferrable; /* constraints or triggers that may be put off
								 * until commit */
	bool		has_generated;
	bool		has_defaults;	/* any non-key column with a default */
	ValueModes	modes;			/* the most that any column has */
	ValueModes	key_modes;		/* a key column's or the scope column's */
	ValueModes	input_modes;	/* to read values, too: domains ask what they
								 * like */
	bool		has_counters_or_sets;
	int16	   *by_attnum;		/* [natts]: index into columns, or -1; private */
	int16	   *by_name;		/* [ncolumns]: columns in order of name;
								 * private */
	int			natts;
} SyncTable;

/*
 * The column id under which a row clock keeps the stamp of the row as a whole, where
 * the table's rules need one (ROW_RULES_KEEP_STAMP): the first key column's.  Nobody
 * writes a key column, so its place is free.
 */
#define SYNC_ROW_STAMP_ID(t) ((t)->columns[(t)->key[0]].column_id)

/*
 * Look-ups.  NULL where not tracked (or not enabled).  By relid, which is how a
 * writer comes in, raises 55000 where a tracked table has lost its key or clock
 * column, and registers columns that were added while no event trigger ran;
 * the others pass over a table in that state.
 */
extern SyncTable *sync_table_by_relid(Oid relid);	/* root or partition */
extern SyncTable *sync_table_by_id(int32 table_id);
extern SyncTable *sync_table_by_name(const char *wire_name, int len);

/* All enabled tables, ascending rank then table_id; palloc'd array. */
extern SyncTable **sync_table_list(int *ntables);

/* Can a column of the type have the policy?  (Sets always have theirs.) */
extern bool sync_policy_fits(SyncPolicy policy, Oid type);

/* Column look-ups: index into columns, or -1. */
extern int	sync_column_by_name(const SyncTable *t, const char *name, int len);
extern int	sync_column_by_attnum(const SyncTable *t, AttrNumber attnum);
extern int	sync_column_by_id(const SyncTable *t, int column_id);

/* The trial of a scope, or else the column's rule; NULL: of a row in no scope. */
extern const SyncRule *sync_column_trial(const SyncColumn *c, const char *scope);

/* The rule for rows of a scope.  Merged and opaque columns have one for all rows. */
static inline const SyncRule *
sync_column_rule(const SyncColumn *c, const char *scope)
{
	return c->ntrials == 0 ? &c->rule : sync_column_trial(c, scope);
}

/* The rule that is watched on rows of a scope, or NULL. */
extern const SyncShadow *sync_column_shadow(const SyncColumn *c, const char *scope);

/*
 * The row clock that a NULL stands for: every column that existed when the table was
 * enabled has the stamp of enabling.
 */
extern RowClock *sync_table_initial_clock(MemoryContext context, const SyncTable *t);

/* Unpack a _sync value, NULL included. */
extern RowClock *sync_table_clock(MemoryContext context, const SyncTable *t,
								  Datum value, bool isnull);

#endif							/* OFFLINE_SYNC_TABLE_H */
