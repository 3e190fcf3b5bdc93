/*-------------------------------------------------------------------------
 *
 * apply_defer.c
 *	  Changes that have to wait for a row that they refer to.
 *
 * An insert or update that violates a foreign key, because the row that it refers to is
 * not there (yet), waits: it is stored and acknowledged, and tried again when there
 * is reason to (see apply_retry.c).  What belongs to the same group waits with
 * it, and so does every later change of the device to the same row: applied
 * first, it would be overwritten by the older one, since a device has always seen
 * its own writes.
 *
 * Which row is missing is kept as far as it can be told from the change: the key
 * of a tracked table, if that is what the foreign key refers to.  It only says
 * when trying again is worth while; to be wrong about it costs time.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "audit/waiting.h"
#include "catalog/pg_constraint.h"
#include "commands/trigger.h"
#include "compat.h"
#include "merge/apply.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "offline_sync.h"
#include "registry/row_key.h"
#include "registry/table_build.h"
#include "registry/value.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/resowner.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

/* what waits in one delta is tried again so often at most, as long as it helps */
#define MAX_ROUNDS		10

/* PostgreSQL's message about a row that others still refer to */
#define REFERENCED_MESSAGE \
	"update or delete on table \"%s\" violates foreign key constraint \"%s\" on table \"%s\""

static bool is_missing_parent(const ApplyState *state, int unit,
							  const ErrorData *edata);
static int	find_culprit(const ApplyState *state, int unit,
						 const ErrorData *edata);
static void note_parent(ApplyState *state, ApplyChange *change,
						const ErrorData *edata);
static SyncTable *referenced_table(const SyncTable *table, Oid relid);
static const Datum *sent_value(const ApplyChange *change, int column);
static void add_waiting_row(ApplyState *state, const RowRef *ref);
static bool waits_already(const ApplyState *state, const ApplyChange *changes,
						  int first, int last);
static int	retry_deferred(ApplyState *state);
static bool may_have_arrived(ApplyState *state, const ApplyChange *changes,
							 int first, int last);
static void add_waiting_rows(ApplyState *state, const ApplyChange *changes,
							 int first, int last);
static int	count_deferred(const ApplyState *state);
static void check_now(void);

/* ----------------------------------------------------------------
 * Waiting
 * ---------------------------------------------------------------- */

void
apply_note_waiting(ApplyState *state)
{
	MemoryContext oldcontext;
	WaitingChange *changes;
	int			nchanges;

	state->waiting = NULL;
	if (state->device->nwaiting == 0)
		return;
	oldcontext = MemoryContextSwitchTo(state->context);
	changes = waiting_load(&state->device->uuid, &nchanges);
	for (int i = 0; i < nchanges; i++)
	{
		RowRef		ref;

		if (changes[i].table_id == 0)
			continue;
		ref.table_id = changes[i].table_id;
		ref.key_len = changes[i].keylen;
		ref.key_bytes = changes[i].key;
		add_waiting_row(state, &ref);
	}
	MemoryContextSwitchTo(oldcontext);
}

static void
add_waiting_row(ApplyState *state, const RowRef *ref)
{
	if (state->waiting == NULL)
		state->waiting = apply_make_row_set(state->context);
	(void) hash_search(state->waiting, ref, HASH_ENTER, NULL);
}

/* The rows of changes first .. last - 1. */
static void
add_waiting_rows(ApplyState *state, const ApplyChange *changes, int first,
				 int last)
{
	for (int i = first; i < last; i++)
	{
		if (changes[i].ref.key_bytes != NULL)
			add_waiting_row(state, &changes[i].ref);
	}
}

void
apply_hold_back(ApplyState *state, int first, int last)
{
	for (int unit = first; unit < last; unit++)
	{
		int			from = state->unit_start[unit];

		if (!state->changes[from].is_refused &&
			(state->is_disturbed ||
			 waits_already(state, state->changes, from,
						   state->unit_start[unit + 1])))
			apply_defer_unit(state, unit, -1);
	}
}

/* Does something wait for which the changes first .. last - 1 have to wait? */
static bool
waits_already(const ApplyState *state, const ApplyChange *changes, int first,
			  int last)
{
	for (int i = first; state->waiting != NULL && i < last; i++)
	{
		if (changes[i].ref.key_bytes != NULL &&
			hash_search(state->waiting, &changes[i].ref, HASH_FIND, NULL) != NULL)
			return true;
	}
	return false;
}

/*
 * In somebody else's statement no error decides: there the settings are his, and
 * rights are withheld; the change waits on, for its device to push again.
 */
bool
apply_defer_failed(ApplyState *state, int unit, const ErrorData *edata)
{
	int			culprit;

	if (is_missing_parent(state, unit, edata))
	{
		culprit = find_culprit(state, unit, edata);
		apply_refuse_error(&state->changes[culprit], edata);
		state->changes[culprit].reason = "missing_parent";
		note_parent(state, &state->changes[culprit], edata);

		/* in a group it may be another one that lacks its parent */
		if (state->unit_start[unit + 1] - state->unit_start[unit] > 1)
			state->changes[culprit].parent_key = NULL;
		apply_defer_unit(state, unit, culprit);
		return true;
	}
	if (state->is_guest)
	{
		apply_defer_unit(state, unit, -1);
		return true;
	}
	return false;
}

/* culprit -1: there is none in this unit, it waits for others or as before. */
void
apply_defer_unit(ApplyState *state, int unit, int culprit)
{
	int			first = state->unit_start[unit];
	int			last = state->unit_start[unit + 1];

	for (int i = first; i < last; i++)
	{
		ApplyChange *change = &state->changes[i];

		if (i != culprit)
		{
			if (culprit < 0 && waits_already(state, state->changes, i, i + 1))
				apply_refuse(change, "waits_for", 0,
							 "an earlier change of the row waits", NULL);
			else
				apply_refuse(change, "group", 0,
							 "another change of the group waits", NULL);
			change->parent_table_id = 0;
			change->parent_key = NULL;
		}
		change->outcome = OUTCOME_DEFERRED;
		change->conflicts = NIL;
		change->previous = change->previous_stamps = NULL;
	}

	/* only then: a row that the group touches twice does not wait for itself */
	add_waiting_rows(state, state->changes, first, last);
}

static bool
is_missing_parent(const ApplyState *state, int unit, const ErrorData *edata)
{
	if (!state->may_defer || state->failed_change >= 0 ||
		edata->sqlerrcode != ERRCODE_FOREIGN_KEY_VIOLATION)
		return false;

	/* a row that others refer to will not become free by waiting */
	if (edata->message_id != NULL &&
		strcmp(edata->message_id, REFERENCED_MESSAGE) == 0)
		return false;
	return find_culprit(state, unit, edata) >= 0;
}

/* The change that wrote the row without a parent, or may have; -1: none. */
static int
find_culprit(const ApplyState *state, int unit, const ErrorData *edata)
{
	int			culprit = -1;

	for (int i = state->unit_start[unit]; i < state->unit_start[unit + 1]; i++)
	{
		const ApplyChange *change = &state->changes[i];

		if (change->delta.kind != DELTA_CHANGE_INSERT &&
			change->delta.kind != DELTA_CHANGE_UPDATE)
			continue;
		if (edata->table_name != NULL &&
			strcmp(edata->table_name, change->table->table_name) == 0)
			return i;
		if (culprit < 0)
			culprit = i;
	}
	return culprit;
}

/* ----------------------------------------------------------------
 * Which row is missing
 * ---------------------------------------------------------------- */

static void
note_parent(ApplyState *state, ApplyChange *change, const ErrorData *edata)
{
	ParentReference reference;
	RowRef		ref;
	int			modes;

	change->parent_table_id = 0;
	change->parent_key = NULL;
	if (!apply_parent_reference(state, edata, &reference) ||
		reference.child != change->table)
		return;
	change->parent_table_id = reference.parent->table_id;
	if (reference.child->has_before_insert || reference.child->has_before_update)
		return;					/* it may be about another value than was sent */
	modes = value_modes_begin();
	if (apply_parent_key(change, &reference, &ref))
	{
		change->parent_key = ref.key_bytes;
		change->parent_keylen = ref.key_len;
	}
	value_modes_end(modes);
}

/* The foreign key that an error is about, where the delta knows the table that has
 * it and that refers to a tracked one. */
bool
apply_parent_reference(ApplyState *state, const ErrorData *edata,
					   ParentReference *reference)
{
	HeapTuple	tuple;
	Oid			operators[INDEX_MAX_KEYS];
	AttrNumber	set_cols[INDEX_MAX_KEYS];
	int			nset_cols;
	Oid			constraint = InvalidOid;

	if (edata->constraint_name == NULL || edata->table_name == NULL)
		return false;
	reference->child = reference->parent = NULL;
	for (int i = 0; i < state->reader.ntables && reference->child == NULL; i++)
	{
		if (state->tables[i] != NULL &&
			strcmp(state->tables[i]->table_name, edata->table_name) == 0 &&
			edata->schema_name != NULL &&
			strcmp(state->tables[i]->schema_name, edata->schema_name) == 0)
			reference->child = state->tables[i];
	}
	if (reference->child == NULL)
		return false;
	constraint = get_relation_constraint_oid(reference->child->relid,
											 edata->constraint_name, true);
	if (!OidIsValid(constraint))
		return false;
	tuple = SearchSysCache1(CONSTROID, ObjectIdGetDatum(constraint));
	if (!HeapTupleIsValid(tuple))
		return false;
	if (((Form_pg_constraint) GETSTRUCT(tuple))->contype == CONSTRAINT_FOREIGN &&
		!compat_is_period((Form_pg_constraint) GETSTRUCT(tuple)))
	{
		reference->parent =
			referenced_table(reference->child,
							 ((Form_pg_constraint) GETSTRUCT(tuple))->confrelid);
		DeconstructFkConstraintRow(tuple, &reference->nkeys, reference->conkey,
								   reference->confkey, operators, operators,
								   operators, &nset_cols, set_cols);
	}
	ReleaseSysCache(tuple);
	return reference->parent != NULL;
}

/* The tracked table that this relation is, among those that the table refers to. */
static SyncTable *
referenced_table(const SyncTable *table, Oid relid)
{
	Oid			root = relation_root(relid);

	for (int i = 0; i < table->nparents; i++)
	{
		SyncTable  *parent = sync_table_by_id(table->parents[i]);

		if (parent != NULL && parent->relid == root)
			return parent;
	}
	return NULL;
}

/* The key of the row that a change refers to, from what it says of the columns that
 * refer to it.  Under value modes. */
bool
apply_parent_key(const ApplyChange *change, const ParentReference *reference,
				 RowRef *ref)
{
	SyncTable  *child = reference->child;
	SyncTable  *parent = reference->parent;
	Datum		key[INDEX_MAX_KEYS];
	StringInfoData buf;

	for (int k = 0; k < parent->nkeys; k++)
	{
		SyncColumn *wanted = &parent->columns[parent->key[k]];
		const Datum *value = NULL;

		for (int i = 0; i < reference->nkeys && value == NULL; i++)
		{
			int			column;

			if (reference->confkey[i] != wanted->attnum)
				continue;
			column = sync_column_by_attnum(child, reference->conkey[i]);
			if (column >= 0 && child->columns[column].base_type == wanted->base_type)
				value = sent_value(change, column);
		}
		if (value == NULL)
			return false;
		key[k] = *value;
	}

	initStringInfo(&buf);
	row_key_encode(&buf, parent, key);
	ref->table_id = parent->table_id;
	ref->key_bytes = buf.data;
	ref->key_len = buf.len;
	return true;
}

/* What the change says that a column holds; NULL: nothing. */
static const Datum *
sent_value(const ApplyChange *change, int column)
{
	for (int i = 0; i < change->table->nkeys; i++)
	{
		if (change->table->key[i] == column)
			return &change->key[i];
	}
	for (int i = 0; i < change->ncells; i++)
	{
		const ApplyCell *cell = &change->cells[i];

		if (cell->column == column && cell->op == DELTA_SET && !cell->isnull &&
			change->table->columns[column].value_class != VALUE_ORSET)
			return &cell->value;
	}
	return NULL;
}

/* ----------------------------------------------------------------
 * Trying again, within the push
 * ---------------------------------------------------------------- */

void
apply_settle_deferred(ApplyState *state)
{
	for (int round = 0; round < MAX_ROUNDS; round++)
	{
		int			nsettled = retry_deferred(state);

		nsettled += apply_retry_own(state);
		if (nsettled == 0 || count_deferred(state) == 0)
			break;
	}
	if (state->waiting != NULL)
	{
		apply_note_waiting(state);
		for (int i = 0; i < state->nchanges; i++)
		{
			if (state->changes[i].outcome == OUTCOME_DEFERRED)
				add_waiting_rows(state, state->changes, i, i + 1);
		}
	}
}

/* The units of this delta whose parents may be there now, as one batch. */
static int
retry_deferred(ApplyState *state)
{
	ApplyChange *changes = state->changes;
	int			nchanges = state->nchanges;
	int			nunits = state->nunits;
	int		   *unit_start = state->unit_start;
	int		   *picks;
	int			npicks = 0;
	int			nsettled = 0;

	if (count_deferred(state) == 0)
		return 0;

	/* rows for which something waits that is not tried, in seq order */
	apply_note_waiting(state);
	picks = MemoryContextAllocHuge(state->context, nchanges * sizeof(int));
	state->changes = MemoryContextAllocHuge(state->context,
											nchanges * sizeof(ApplyChange));
	state->unit_start = MemoryContextAllocHuge(state->context,
											   (nunits + 1) * sizeof(int));
	state->nunits = 0;
	for (int unit = 0; unit < nunits; unit++)
	{
		int			first = unit_start[unit];
		int			last = unit_start[unit + 1];

		if (changes[first].outcome != OUTCOME_DEFERRED)
			continue;
		if (waits_already(state, changes, first, last) ||
			!may_have_arrived(state, changes, first, last))
		{
			add_waiting_rows(state, changes, first, last);
			continue;
		}
		state->unit_start[state->nunits] = npicks;
		for (int i = first; i < last; i++)
		{
			picks[npicks] = i;
			state->changes[npicks] = changes[i];
			state->changes[npicks].is_refused = false;
			state->changes[npicks++].unit = state->nunits;
		}
		state->nunits++;
	}
	state->unit_start[state->nunits] = npicks;
	state->nchanges = npicks;

	if (npicks > 0)
		apply_all(state);

	for (int i = 0; i < npicks; i++)
	{
		int			unit = changes[picks[i]].unit;

		changes[picks[i]] = state->changes[i];
		changes[picks[i]].unit = unit;
		if (state->changes[i].outcome != OUTCOME_DEFERRED)
			nsettled++;
	}
	pfree(picks);
	pfree(state->changes);
	pfree(state->unit_start);
	state->changes = changes;
	state->nchanges = nchanges;
	state->unit_start = unit_start;
	state->nunits = nunits;
	return nsettled;
}

/*
 * Is it possible that the row that these changes wait for has been written by this
 * push?  Users' triggers may have written any, and so may handlers of intents and
 * older changes that had waited.
 */
static bool
may_have_arrived(ApplyState *state, const ApplyChange *changes, int first,
				 int last)
{
	for (int i = first; i < last; i++)
	{
		const ApplyChange *change = &changes[i];
		RowRef		ref;
		TouchedRow *row;

		if (change->parent_key == NULL || state->any_triggers ||
			state->has_intents || state->others_wrote)
			continue;
		ref.table_id = change->parent_table_id;
		ref.key_len = change->parent_keylen;
		ref.key_bytes = change->parent_key;
		row = hash_search(state->touched, &ref, HASH_FIND, NULL);
		if (row == NULL || !row->was_written)
			return false;
	}
	return true;
}

static int
count_deferred(const ApplyState *state)
{
	int			n = 0;

	for (int i = 0; state->waiting != NULL && i < state->nchanges; i++)
		n += state->changes[i].outcome == OUTCOME_DEFERRED;
	return n;
}

/* ----------------------------------------------------------------
 * Storing
 * ---------------------------------------------------------------- */

void
apply_store_deferred(ApplyState *state)
{
	int			n = count_deferred(state);
	WaitingChange *rows;
	TimestampTz now = GetCurrentTimestamp();
	bool		is_full = false;

	if (n == 0)
		return;
	rows = MemoryContextAllocExtended(state->context, n * sizeof(WaitingChange),
									  MCXT_ALLOC_ZERO | MCXT_ALLOC_HUGE);
	n = 0;
	for (int i = 0; i < state->nchanges; i++)
	{
		ApplyChange *change = &state->changes[i];
		WaitingChange *row = &rows[n];
		int			first = state->unit_start[change->unit];
		int			size = state->unit_start[change->unit + 1] - first;

		if (change->outcome != OUTCOME_DEFERRED)
			continue;
		if (i == first && state->device->nwaiting + n + size > sync_max_pending)
			is_full = true;
		if (is_full)
		{
			apply_refuse(change, "too_many_pending", ERRCODE_PROGRAM_LIMIT_EXCEEDED,
						 psprintf("device would have %d changes that wait, the maximum allowed is %d",
								  state->device->nwaiting + n + size,
								  sync_max_pending), NULL);
			continue;
		}
		row->device = state->device->uuid;
		row->seq = change->delta.seq;
		row->unit = state->changes[first].delta.seq;
		row->reconciliation = *state->reconciliation;
		row->table_id = change->ref.table_id;
		row->key = change->ref.key_bytes;
		row->keylen = change->ref.key_len;
		row->scope = change->scope;
		row->hlc = change->hlc;
		row->schema_version = apply_stored_version(state);
		row->role = GetUserNameFromId(GetUserId(), false);
		row->reason = change->reason;
		row->constraint = change->constraint;
		row->parent_table_id = change->parent_table_id;
		row->parent_key = change->parent_key;
		row->parent_keylen = change->parent_keylen;
		row->since = now;
		row->expires_at = now + sync_pending_timeout * (INT64CONST(60) * USECS_PER_SEC);
		n++;
	}
	waiting_insert(rows, n);
	state->device->nwaiting += n;

	/* what is refused does not wait, so the device is told to forget it */
	if (is_full)
		apply_note_waiting(state);
}

/* ----------------------------------------------------------------
 * Constraints that are checked at commit
 * ---------------------------------------------------------------- */

/*
 * A constraint that is checked at commit would fail the whole push there, and
 * whatever else the transaction did.  So it is made to speak at the end of the
 * batch, in a subtransaction that is rolled back: what it found is undone, and
 * which constraints are deferred is as before; they speak again at commit.
 *
 * What an earlier statement of the transaction left in violation must not be
 * blamed on the batch.  Then everything is left for commit.
 */
void
apply_check_constraints(ApplyState *state, int first, int last)
{
	bool		is_deferrable = state->has_intents; /* may write anything */

	for (int i = first; i < last && !is_deferrable; i++)
	{
		is_deferrable = !state->changes[i].is_refused &&
			state->changes[i].table != NULL &&
			state->changes[i].table->has_deferrable;
	}
	if (is_deferrable && !state->has_unchecked)
		check_now();
}

void
apply_check_earlier(ApplyState *state)
{
	MemoryContext oldcontext = CurrentMemoryContext;
	bool		is_deferrable = state->has_intents;

	for (int i = 0; i < state->reader.ntables && !is_deferrable; i++)
		is_deferrable = state->tables[i] != NULL && state->tables[i]->has_deferrable;
	if (!is_deferrable)
		return;

	PG_TRY();
	{
		check_now();
	}
	PG_CATCH();
	{
		ErrorData  *error;

		MemoryContextSwitchTo(oldcontext);
		error = CopyErrorData();
		if (!apply_error_is_outcome(error))
			PG_RE_THROW();
		FlushErrorState();
		state->has_unchecked = true;
	}
	PG_END_TRY();
}

/* SET CONSTRAINTS ALL IMMEDIATE, and back.  Errors come out. */
static void
check_now(void)
{
	MemoryContext oldcontext = CurrentMemoryContext;
	ResourceOwner oldowner = CurrentResourceOwner;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(oldcontext);
	PG_TRY();
	{
		ConstraintsSetStmt *statement = makeNode(ConstraintsSetStmt);

		statement->deferred = false;
		AfterTriggerSetState(statement);
	}
	PG_CATCH();
	{
		ErrorData  *error;

		MemoryContextSwitchTo(oldcontext);
		error = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
		MemoryContextSwitchTo(oldcontext);
		CurrentResourceOwner = oldowner;
		ReThrowError(error);
	}
	PG_END_TRY();
	RollbackAndReleaseCurrentSubTransaction();
	MemoryContextSwitchTo(oldcontext);
	CurrentResourceOwner = oldowner;
}
