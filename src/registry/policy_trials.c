/*-------------------------------------------------------------------------
 *
 * policy_trials.c
 *	  The policies that hold for one scope only, and those that are only watched,
 *	  as part of a table's description.
 *
 * One look into the index for a table.  A policy that does not fit the column
 * any more (its type was changed while no event trigger ran) is passed over, as
 * the column's own would be.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/stratnum.h"
#include "access/table.h"
#include "log/state.h"
#include "registry/table_build.h"
#include "registry/table_options.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"

/* offline_sync.column_policy */
#define ANUM_POLICY_TABLE_ID		1
#define ANUM_POLICY_COLUMN_ID		2
#define ANUM_POLICY_STEP			3
#define ANUM_POLICY_KIND			4
#define ANUM_POLICY_SCOPE			5
#define ANUM_POLICY_POLICY			6
#define ANUM_POLICY_OPTIONS			7
#define ANUM_POLICY_ENDED_AT		11
#define NATTS_POLICY				13

/* arrays are indexed from 0, attributes from 1 */
#define AT(array, attnum)	((array)[(attnum) - 1])

static void add_candidate(SyncTable *t, const Datum *values, const bool *nulls);
static void add_trial(SyncColumn *c, char *scope, const SyncRule *rule);
static int	compare_trials(const void *a, const void *b);

void
sync_table_describe_trials(SyncTable *t)
{
	Relation	rel = state_open("column_policy", AccessShareLock);
	ScanKeyData key[1];
	SysScanDesc scan;
	HeapTuple	tuple;

	state_check_columns(RelationGetDescr(rel), NATTS_POLICY);
	ScanKeyInit(&key[0], ANUM_POLICY_TABLE_ID, BTEqualStrategyNumber, F_INT4EQ,
				Int32GetDatum(t->table_id));
	scan = systable_beginscan(rel, state_index("column_policy_pkey"), true, NULL,
							  lengthof(key), key);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Datum		values[NATTS_POLICY];
		bool		nulls[NATTS_POLICY];

		heap_deform_tuple(tuple, RelationGetDescr(rel), values, nulls);
		if (AT(nulls, ANUM_POLICY_ENDED_AT))
			add_candidate(t, values, nulls);
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);

	for (int i = 0; i < t->ncolumns; i++)
		qsort(t->columns[i].trials, t->columns[i].ntrials, sizeof(SyncTrial),
			  compare_trials);
}

/* A choice that holds: the column's own is known already. */
static void
add_candidate(SyncTable *t, const Datum *values, const bool *nulls)
{
	char	   *kind = TextDatumGetCString(AT(values, ANUM_POLICY_KIND));
	char	   *policy = TextDatumGetCString(AT(values, ANUM_POLICY_POLICY));
	char	   *scope = AT(nulls, ANUM_POLICY_SCOPE) ? NULL :
	TextDatumGetCString(AT(values, ANUM_POLICY_SCOPE));
	int			column = sync_column_by_id(t, DatumGetInt32(AT(values, ANUM_POLICY_COLUMN_ID)));
	SyncColumn *c;
	SyncRule	rule;

	if (column < 0 || strcmp(kind, "active") == 0)
		return;
	c = &t->columns[column];
	table_rule_parse(policy, DatumGetJsonbPCopy(AT(values, ANUM_POLICY_OPTIONS)), &rule);
	if (!SYNC_POLICY_IS_CHOICE(c->policy) ||
		!sync_policy_fits(rule.policy, c->type))
		return;

	if (strcmp(kind, "shadow") == 0)
	{
		c->shadow = palloc(sizeof(SyncShadow));
		c->shadow->step = DatumGetInt32(AT(values, ANUM_POLICY_STEP));
		c->shadow->scope = scope;
		c->shadow->rule = rule;
	}
	else if (scope != NULL)
		add_trial(c, scope, &rule);
}

static void
add_trial(SyncColumn *c, char *scope, const SyncRule *rule)
{
	SyncTrial  *trial;

	if (c->ntrials == 0)
		c->trials = palloc(sizeof(SyncTrial));
	else
		c->trials = repalloc(c->trials, (c->ntrials + 1) * sizeof(SyncTrial));
	trial = &c->trials[c->ntrials++];
	trial->scope = scope;
	trial->rule = *rule;
}

static int
compare_trials(const void *a, const void *b)
{
	return strcmp(((const SyncTrial *) a)->scope, ((const SyncTrial *) b)->scope);
}

const SyncRule *
sync_column_trial(const SyncColumn *c, const char *scope)
{
	SyncTrial	key;
	SyncTrial  *trial;

	if (scope == NULL)
		return &c->rule;
	key.scope = unconstify(char *, scope);
	trial = bsearch(&key, c->trials, c->ntrials, sizeof(SyncTrial), compare_trials);
	return trial == NULL ? &c->rule : &trial->rule;
}

const SyncShadow *
sync_column_shadow(const SyncColumn *c, const char *scope)
{
	const SyncShadow *shadow = c->shadow;

	if (shadow == NULL || shadow->scope == NULL)
		return shadow;
	return scope != NULL && strcmp(shadow->scope, scope) == 0 ? shadow : NULL;
}
