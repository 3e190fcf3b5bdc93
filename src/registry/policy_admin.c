/*-------------------------------------------------------------------------
 *
 * policy_admin.c
 *	  Choosing the policies of columns, and going back.
 *
 * Each choice is a step of its column, and is kept: it holds until a later step
 * or a revert ends it.  A choice for all rows ends whatever held; one for a scope
 * (a trial) ends the trial of that scope, a candidate that is only watched (a
 * shadow) ends the candidate before it.  A revert undoes the latest step that is
 * not undone yet, so that what it had ended holds again: the steps are a stack.
 *
 * Whoever sets or reverts holds a lock on the table that keeps pushes, other
 * writers and other setters out until the end of the transaction.  A push takes
 * its own lock before it looks at the table, so all of a delta is decided by the
 * old rule or all of it by the new one.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "log/state.h"
#include "miscadmin.h"
#include "registry/custom_function.h"
#include "registry/table_options.h"
#include "registry/table_registry.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/timestamp.h"

/* One choice */
typedef struct PolicyStep
{
	int32		table_id;
	int32		column_id;
	int			step;
	const char *kind;			/* 'active', 'trial', 'shadow' */
	const char *scope;			/* NULL: all rows */
	const char *policy;
	Jsonb	   *options;		/* the policy's own */
} PolicyStep;

PG_FUNCTION_INFO_V1(sync_set_policy);
PG_FUNCTION_INFO_V1(sync_revert_policy);

static const SyncColumn *find_column(const SyncTable *t, const char *name);
static void take_out_options(PolicyStep *step, Jsonb *options);
static JsonbValue *take_out(Jsonb **options, const char *key);
static void check_policy(const SyncTable *t, const SyncColumn *c,
						 const SyncRule *rule);
static const char *fitting_types(SyncPolicy policy);
static void check_candidate(const SyncTable *t, const SyncColumn *c,
							const PolicyStep *step, SyncPolicy policy);
static int	next_step(const PolicyStep *step);
static void put_step(const PolicyStep *step);
static bool find_last_step(PolicyStep *step);
static void undo_step(const PolicyStep *step);
static char *held_policy(const PolicyStep *step, Jsonb **options);
static void set_column(const PolicyStep *step, const char *policy,
					   Jsonb *options);
static void begin(StateUser *saved);
static void end(const StateUser *saved);
static uint64 execute(const char *query, int nargs, Oid *types, Datum *values,
					  const char *nulls);

/*
 * sync_set_policy(relation regclass, column_name name, policy text, options jsonb)
 *
 * options are the policy's own, and these: "scope": only for rows of that scope;
 * "shadow": only note on conflicts what it would have decided.
 */
Datum
sync_set_policy(PG_FUNCTION_ARGS)
{
	Oid			relid = PG_GETARG_OID(0);
	char	   *column_name = NameStr(*PG_GETARG_NAME(1));
	const SyncTable *t;
	const SyncColumn *c;
	PolicyStep	step;
	SyncRule	rule;

	PreventCommandIfReadOnly("sync_set_policy()");
	PreventCommandDuringRecovery("sync_set_policy()");
	step.policy = text_to_cstring(PG_GETARG_TEXT_PP(2));
	take_out_options(&step, PG_GETARG_JSONB_P(3));

	/* writers of the table finish before the rule changes */
	relation_close(sync_table_open_own(relid, ShareRowExclusiveLock), NoLock);
	table_rule_parse(step.policy, step.options, &rule);
	t = sync_table_enabled(relid);
	c = find_column(t, column_name);
	check_policy(t, c, &rule);
	if (strcmp(step.kind, "active") != 0)
		check_candidate(t, c, &step, rule.policy);

	step.table_id = t->table_id;
	step.column_id = c->column_id;
	step.step = next_step(&step);
	put_step(&step);
	sync_table_invalidate(relid);
	PG_RETURN_VOID();
}

/*
 * sync_revert_policy(relation regclass, column_name name)
 */
Datum
sync_revert_policy(PG_FUNCTION_ARGS)
{
	Oid			relid = PG_GETARG_OID(0);
	char	   *column_name = NameStr(*PG_GETARG_NAME(1));
	const SyncTable *t;
	const SyncColumn *c;
	PolicyStep	step;

	PreventCommandIfReadOnly("sync_revert_policy()");
	PreventCommandDuringRecovery("sync_revert_policy()");
	relation_close(sync_table_open_own(relid, ShareRowExclusiveLock), NoLock);
	t = sync_table_enabled(relid);
	c = find_column(t, column_name);
	step.table_id = t->table_id;
	step.column_id = c->column_id;
	if (!find_last_step(&step))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("column \"%s\" of table \"%s\" has no change of policy to undo",
						c->name, t->table_name),
				 errhint("All that was set by sync_set_policy() is undone; use it to choose another policy.")));

	undo_step(&step);
	if (strcmp(step.kind, "active") == 0)
	{
		SyncRule	rule;
		Jsonb	   *options;
		char	   *policy = held_policy(&step, &options);

		/* the column's type may be another one by now */
		if (policy != NULL)
		{
			table_rule_parse(policy, options, &rule);
			check_policy(t, c, &rule);
		}
		set_column(&step, policy, options);
	}
	sync_table_invalidate(relid);
	PG_RETURN_VOID();
}

void
sync_policy_set_first(const SyncTable *t, const TablePolicy *policy)
{
	const SyncColumn *c = find_column(t, policy->column);
	PolicyStep	step = {0};

	check_policy(t, c, &policy->rule);
	step.table_id = t->table_id;
	step.column_id = c->column_id;
	step.kind = "active";
	step.policy = policy->policy;
	step.options = policy->options;
	put_step(&step);
}

void
sync_policy_end_all(int32 table_id)
{
	Oid			types[] = {INT4OID, TEXTOID, TIMESTAMPTZOID};
	Datum		values[lengthof(types)];
	StateUser	saved;

	values[0] = Int32GetDatum(table_id);
	values[1] = CStringGetTextDatum(GetUserNameFromId(GetUserId(), false));
	values[2] = TimestampTzGetDatum(GetCurrentTimestamp());
	begin(&saved);
	execute("UPDATE offline_sync.column_policy SET ended_by = $2, ended_at = $3"
			" WHERE table_id = $1 AND ended_at IS NULL",
			lengthof(types), types, values, NULL);
	end(&saved);
}

/* ----------
 * What the caller wants
 * ----------
 */

static const SyncColumn *
find_column(const SyncTable *t, const char *name)
{
	int			column = sync_column_by_name(t, name, strlen(name));

	if (column < 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_COLUMN),
				 errmsg("column \"%s\" of table \"%s\" does not exist or is not kept in sync",
						name, t->table_name),
				 errhint("Name a column of the table other than \"%s\".",
						 SYNC_CLOCK_COLUMN)));
	return &t->columns[column];
}

/* Tell our options from the policy's own. */
static void
take_out_options(PolicyStep *step, Jsonb *options)
{
	JsonbValue *scope;
	JsonbValue *shadow;

	step->options = options;
	step->scope = NULL;
	step->kind = "active";
	if (!JB_ROOT_IS_OBJECT(options))
		return;					/* whoever checks the policy's own says so */

	scope = take_out(&step->options, "scope");
	if (scope != NULL)
	{
		if (scope->type != jbvString)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("option \"%s\" must be a string", "scope")));
		step->scope = pnstrdup(scope->val.string.val, scope->val.string.len);
		step->kind = "trial";
	}
	shadow = take_out(&step->options, "shadow");
	if (shadow != NULL)
	{
		if (shadow->type != jbvBool)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("option \"%s\" must be true or false", "shadow")));
		if (shadow->val.boolean)
			step->kind = "shadow";
	}
}

/* The value of a key, which is then gone from the object; or NULL. */
static JsonbValue *
take_out(Jsonb **options, const char *key)
{
	JsonbValue *value = getKeyJsonValueFromContainer(&(*options)->root, key,
													 strlen(key), NULL);

	if (value != NULL)
		*options = DatumGetJsonbP(DirectFunctionCall2(jsonb_delete,
													  JsonbPGetDatum(*options),
													  CStringGetTextDatum(key)));
	return value;
}

/* Does the rule fit the column? */
static void
check_policy(const SyncTable *t, const SyncColumn *c, const SyncRule *rule)
{
	const char *policy = sync_policy_name(rule->policy);
	bool		is_set = c->value_class == VALUE_ORSET;
	int			column = c - t->columns;

	if (is_set != (rule->policy == POLICY_ORSET))
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("policy \"%s\" does not fit column \"%s\" of type %s",
						policy, c->name, format_type_be(c->type)),
				 is_set ? errhint("Columns of type orset always have the policy \"orset\".") :
				 errhint("The policy \"orset\" is for columns of type orset.")));
	if (!is_set && !sync_policy_fits(rule->policy, c->type))
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("policy \"%s\" does not fit column \"%s\" of type %s",
						policy, c->name, format_type_be(c->type)),
				 errhint("%s", fitting_types(rule->policy))));
	/* what is never merged takes the default, and sets their own */
	if ((c->is_key || c->is_generated) && rule->policy != POLICY_LWW &&
		rule->policy != POLICY_ORSET)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("policy \"%s\" does not fit %s column \"%s\"", policy,
						c->is_key ? "primary key" : "generated", c->name),
				 c->is_key ? errhint("A row's key is never merged: rows with different keys are different rows.") :
				 errhint("A generated column is computed from others: choose the policies of those.")));
	if (column == t->scope_column &&
		(rule->policy == POLICY_COUNTER || rule->policy == POLICY_CUSTOM ||
		 rule->policy == POLICY_OPAQUE || rule->policy == POLICY_JSON))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("policy \"%s\" does not fit scope column \"%s\"", policy, c->name),
				 errhint("A row's scope is what one of its writers set, and must be readable.")));
	if (rule->policy == POLICY_CUSTOM)
	{
		CustomFunction function;

		custom_function_find(rule->function, c, &function);
		custom_function_check_execute(&function);
	}
}

/* For a hint: what sync_policy_fits asks of the column's type. */
static const char *
fitting_types(SyncPolicy policy)
{
	switch (policy)
	{
		case POLICY_COUNTER:
			return "Counters are smallint, integer, bigint or numeric columns.";
		case POLICY_OPAQUE:
			return "The policy \"opaque\" is for columns of type bytea.";
		case POLICY_JSON:
			return "The policy \"json\" is for columns of type jsonb.";
		default:
			return "The policies \"max\" and \"min\" need a type with a btree order.";
	}
}

/* Can the policy hold beside the column's own, for a scope or as a candidate? */
static void
check_candidate(const SyncTable *t, const SyncColumn *c, const PolicyStep *step,
				SyncPolicy policy)
{
	if (!SYNC_POLICY_IS_CHOICE(policy))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("policy \"%s\" cannot be a trial or a shadow", step->policy),
				 errdetail("It says what a column's values are and what devices may send."),
				 errhint("Set it for all rows.")));
	if (!SYNC_POLICY_IS_CHOICE(c->policy))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("column \"%s\" of table \"%s\" cannot have a trial or a shadow",
						c->name, t->table_name),
				 errdetail("Its policy \"%s\" says what its values are and what devices may send.",
						   sync_policy_name(c->policy)),
				 errhint("Set the other policy for all rows.")));
	if (step->scope != NULL && step->scope[0] != '\0' && t->scope_column < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("table \"%s\" has no rows of scope \"%s\"",
						t->table_name, step->scope),
				 errhint("It was enabled without a scope column: all its rows are in scope \"\".")));
}

/* ----------
 * The history
 * ----------
 */

static int
next_step(const PolicyStep *step)
{
	Oid			types[] = {INT4OID, INT4OID};
	Datum		values[] = {Int32GetDatum(step->table_id), Int32GetDatum(step->column_id)};
	StateUser	saved;
	bool		isnull;
	int			last;

	begin(&saved);
	execute("SELECT coalesce(max(step), 0) FROM offline_sync.column_policy"
			" WHERE table_id = $1 AND column_id = $2",
			lengthof(types), types, values, NULL);
	last = DatumGetInt32(SPI_getbinval(SPI_tuptable->vals[0],
									   SPI_tuptable->tupdesc, 1, &isnull));
	end(&saved);
	return last + 1;
}

/* Let it hold, and end what it takes the place of. */
static void
put_step(const PolicyStep *step)
{
	Oid			types[] = {INT4OID, INT4OID, INT4OID, TEXTOID, TEXTOID, TEXTOID,
	JSONBOID, TEXTOID, TIMESTAMPTZOID};
	Datum		values[lengthof(types)] = {0};
	char		nulls[lengthof(types) + 1] = "         ";
	StateUser	saved;

	values[0] = Int32GetDatum(step->table_id);
	values[1] = Int32GetDatum(step->column_id);
	values[2] = Int32GetDatum(step->step);
	values[3] = CStringGetTextDatum(step->kind);
	if (step->scope != NULL)
		values[4] = CStringGetTextDatum(step->scope);
	else
		nulls[4] = 'n';
	values[5] = CStringGetTextDatum(step->policy);
	values[6] = JsonbPGetDatum(step->options);
	values[7] = CStringGetTextDatum(GetUserNameFromId(GetUserId(), false));
	values[8] = TimestampTzGetDatum(GetCurrentTimestamp());

	begin(&saved);
	execute("UPDATE offline_sync.column_policy"
			" SET ended_by = $8, ended_at = $9, ended_step = $3"
			" WHERE table_id = $1 AND column_id = $2 AND ended_at IS NULL"
			" AND ($4 = 'active' OR (kind = $4 AND (kind = 'shadow' OR scope = $5)))",
			lengthof(types), types, values, nulls);
	execute("INSERT INTO offline_sync.column_policy"
			" (table_id, column_id, step, kind, scope, policy, options, set_by, set_at)"
			" VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
			lengthof(types), types, values, nulls);
	end(&saved);
	if (strcmp(step->kind, "active") == 0)
		set_column(step, step->policy, step->options);
}

/* The latest step that is not undone; false where there is none. */
static bool
find_last_step(PolicyStep *step)
{
	Oid			types[] = {INT4OID, INT4OID};
	Datum		values[] = {Int32GetDatum(step->table_id), Int32GetDatum(step->column_id)};
	MemoryContext context = CurrentMemoryContext;
	StateUser	saved;
	bool		found;

	begin(&saved);
	found = execute("SELECT step, kind FROM offline_sync.column_policy"
					" WHERE table_id = $1 AND column_id = $2 AND step > 0"
					" AND NOT is_reverted ORDER BY step DESC LIMIT 1",
					lengthof(types), types, values, NULL) > 0;
	if (found)
	{
		HeapTuple	tuple = SPI_tuptable->vals[0];
		TupleDesc	desc = SPI_tuptable->tupdesc;
		bool		isnull;

		step->step = DatumGetInt32(SPI_getbinval(tuple, desc, 1, &isnull));
		step->kind = MemoryContextStrdup(context, SPI_getvalue(tuple, desc, 2));
	}
	end(&saved);
	return found;
}

/* End it as undone; what it had ended holds again. */
static void
undo_step(const PolicyStep *step)
{
	Oid			types[] = {INT4OID, INT4OID, INT4OID, TEXTOID, TIMESTAMPTZOID};
	Datum		values[lengthof(types)];
	StateUser	saved;

	values[0] = Int32GetDatum(step->table_id);
	values[1] = Int32GetDatum(step->column_id);
	values[2] = Int32GetDatum(step->step);
	values[3] = CStringGetTextDatum(GetUserNameFromId(GetUserId(), false));
	values[4] = TimestampTzGetDatum(GetCurrentTimestamp());

	begin(&saved);
	execute("UPDATE offline_sync.column_policy"
			" SET ended_by = $4, ended_at = $5, is_reverted = true"
			" WHERE table_id = $1 AND column_id = $2 AND step = $3",
			lengthof(types), types, values, NULL);
	execute("UPDATE offline_sync.column_policy"
			" SET ended_by = NULL, ended_at = NULL, ended_step = NULL"
			" WHERE table_id = $1 AND column_id = $2 AND ended_step = $3",
			3, types, values, NULL);
	end(&saved);
}

/* The policy that the history says holds for all rows; NULL: the type's default. */
static char *
held_policy(const PolicyStep *step, Jsonb **options)
{
	Oid			types[] = {INT4OID, INT4OID};
	Datum		values[] = {Int32GetDatum(step->table_id), Int32GetDatum(step->column_id)};
	MemoryContext context = CurrentMemoryContext;
	char	   *policy = NULL;
	StateUser	saved;

	*options = NULL;
	begin(&saved);
	if (execute("SELECT policy, options FROM offline_sync.column_policy"
				" WHERE table_id = $1 AND column_id = $2"
				" AND kind = 'active' AND ended_at IS NULL",
				lengthof(types), types, values, NULL) > 0)
	{
		HeapTuple	tuple = SPI_tuptable->vals[0];
		TupleDesc	desc = SPI_tuptable->tupdesc;
		MemoryContext old_context = MemoryContextSwitchTo(context);
		bool		isnull;

		policy = SPI_getvalue(tuple, desc, 1);
		*options = DatumGetJsonbPCopy(SPI_getbinval(tuple, desc, 2, &isnull));
		MemoryContextSwitchTo(old_context);
	}
	end(&saved);
	return policy;
}

/* What tracked_column says of the column's policy; NULL: the type's default. */
static void
set_column(const PolicyStep *step, const char *policy, Jsonb *options)
{
	Oid			types[] = {INT4OID, INT4OID, TEXTOID, JSONBOID};
	Datum		values[lengthof(types)] = {0};
	char		nulls[lengthof(types) + 1] = "    ";
	StateUser	saved;

	values[0] = Int32GetDatum(step->table_id);
	values[1] = Int32GetDatum(step->column_id);
	if (policy != NULL)
	{
		values[2] = CStringGetTextDatum(policy);
		values[3] = JsonbPGetDatum(options);
	}
	else
		nulls[2] = nulls[3] = 'n';

	begin(&saved);
	execute("UPDATE offline_sync.tracked_column"
			" SET policy = $3, options = coalesce($4, '{}')"
			" WHERE table_id = $1 AND column_id = $2",
			lengthof(types), types, values, nulls);
	end(&saved);
}

static void
begin(StateUser *saved)
{
	SPI_connect();
	state_become_owner(saved);
}

static void
end(const StateUser *saved)
{
	state_restore_user(saved);
	SPI_finish();
}

/* Run a statement on the state tables; returns the number of rows. */
static uint64
execute(const char *query, int nargs, Oid *types, Datum *values,
		const char *nulls)
{
	int			result = SPI_execute_with_args(query, nargs, types, values, nulls,
											   false, 0);

	if (result < 0)
		elog(ERROR, "SPI_execute_with_args failed: %s",
			 SPI_result_code_string(result));
	return SPI_processed;
}
