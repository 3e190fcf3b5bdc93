/*-------------------------------------------------------------------------
 *
 * apply_decide.c
 *	  Third step of an apply: decide each change against its row, in memory.
 *
 * Changes are decided in seq order, and several changes of one row fold into one
 * write.  Writing puts inserts and updates first (parents before children) and
 * deletes last (children before parents), whatever their seqs; so the batch is
 * written out early where a change follows a delete that it may depend on: of
 * the same row, or of a table that its own refers to.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "log/node.h"
#include "merge/apply.h"
#include "miscadmin.h"
#include "registry/value.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/json.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"
#include "utils/rls.h"

/* A row that is made and deleted more often by one batch is not left each time. */
#define MAX_DEAD_VERSIONS	4

static void decide_change(ApplyState *state, ApplyChange *change, ApplyRow *row);
static bool may_write(ApplyState *state, const ApplyChange *change,
					  const ApplyRow *row);
static void note_mentioned(const ApplyChange *change, ApplyRow *row);
static void supersede(ApplyChange *change, ApplyRow *row, const char *reason);
static void note_row_conflict(ApplyState *state, ApplyChange *change,
							  ApplyRow *row, bool incoming_won);
static void revive(ApplyState *state, ApplyChange *change, ApplyRow *row);
static void note_pending(ApplyState *state, ApplyRow *row);
static void decide_create(ApplyState *state, ApplyChange *change, ApplyRow *row);
static void decide_merge(ApplyState *state, ApplyChange *change, ApplyRow *row);
static void decide_absorb(ApplyState *state, ApplyChange *change, ApplyRow *row);
static bool check_move(ApplyState *state, ApplyChange *change, ApplyRow *row);
static void decide_delete(ApplyState *state, ApplyChange *change, ApplyRow *row);
static void conclude(ApplyChange *change, const CellTally *tally);
static void refuse_now(ApplyState *state, ApplyChange *change,
					   const char *reason, int sqlstate, const char *message);
static bool check_scope(ApplyState *state, ApplyChange *change,
						const char *scope, bool is_sent);
static bool must_write_before(ApplyState *state, ApplyChange *change,
							  ApplyRow *row);
static bool is_passing(ApplyState *state, const ApplyChange *change,
					   ApplyRow *row);
static void write_passing(ApplyState *state, ApplyRow *row);
static bool refers_to(const SyncTable *table, int32 target, int depth);
static void note_previous(ApplyState *state, ApplyChange *change, ApplyRow *row);

void
apply_decide(ApplyState *state, int first, int last)
{
	state->value_modes = value_modes_begin_for(state->modes);
	state->pending_deletes = NIL;
	state->pending_rows = NULL;
	state->npending = state->maxpending = 0;
	for (int i = first; i < last; i++)
	{
		ApplyChange *change = &state->changes[i];
		ApplyRow   *row;

		CHECK_FOR_INTERRUPTS();
		if (change->is_refused)
			continue;
		row = change->row;
		if (must_write_before(state, change, row))
		{
			/* users' triggers run under the caller's settings */
			value_modes_end(state->value_modes);
			if (is_passing(state, change, row))
				write_passing(state, row);
			else
				apply_write(state);
			apply_refresh_rows(state);
			state->value_modes = value_modes_begin_for(state->modes);
		}
		row->ninserts -= change->delta.kind == DELTA_CHANGE_INSERT ? 1 : 0;
		note_pending(state, row);
		state->failed_change = i;	/* to whom an error here belongs */
		decide_change(state, change, row);
		state->failed_change = -1;
	}
	value_modes_end(state->value_modes);
	apply_write(state);
}

static void
decide_change(ApplyState *state, ApplyChange *change, ApplyRow *row)
{
	RowFacts	facts;
	RowIntention intention;
	RowVerdict	verdict;
	bool		is_conflict;

	switch (change->delta.kind)
	{
		case DELTA_CHANGE_INSERT:
			intention = ROW_WANTS_INSERT;
			break;
		case DELTA_CHANGE_DELETE:
			intention = ROW_WANTS_DELETE;
			break;
		default:
			intention = ROW_WANTS_UPDATE;
			break;
	}
	facts.is_alive = row->is_alive;
	facts.was_deleted = row->clock != NULL && row->clock->nfloor > 0;
	facts.floor_is_seen = apply_floor_is_seen(state, row);
	facts.has_image = row->has_tombstone && !row->image_isnull;
	facts.row_is_seen = true;
	if (row->is_alive &&
		(intention == ROW_WANTS_DELETE || row->table->rules.is_strong))
		facts.row_is_seen = apply_row_is_seen(state, row);

	facts.is_latest = row->table->rules.on_delete != ON_DELETE_LWW ||
		apply_is_latest(state, change, row);

	note_mentioned(change, row);

	/* who is not to know of the row adds nothing to what is left of it either */
	if (row->is_hidden && !row->is_alive && intention != ROW_WANTS_INSERT)
	{
		row->check_presence = true;
		refuse_now(state, change, "no_row", ERRCODE_NO_DATA_FOUND,
				   "row does not exist");
		return;
	}

	change->scope = row->scope;
	if ((row->is_alive || facts.was_deleted) &&
		!check_scope(state, change, row->scope, false))
		return;

	verdict = decide_row(&row->table->rules, intention, &facts, &is_conflict);
	if ((verdict == ROW_MERGE || verdict == ROW_SUPERSEDED ||
		 verdict == ROW_OUTLIVES || verdict == ROW_DISPUTED) &&
		!may_write(state, change, row))
	{
		refuse_now(state, change, "privilege", ERRCODE_INSUFFICIENT_PRIVILEGE,
				   "permission denied to write the row");
		return;
	}
	switch (verdict)
	{
		case ROW_MISSING:
			row->check_presence = true;
			refuse_now(state, change, "no_row", ERRCODE_NO_DATA_FOUND,
					   facts.was_deleted ? "row was deleted" : "row does not exist");
			break;
		case ROW_FIXED:
			row->check_presence = true;
			refuse_now(state, change, "append_only",
					   ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
					   "rows of the table can only be inserted");
			break;
		case ROW_SUPERSEDED:
			supersede(change, row, "deleted");
			note_row_conflict(state, change, row, false);
			break;
		case ROW_ABSORB:
			decide_absorb(state, change, row);
			break;
		case ROW_EXISTS:
			supersede(change, row, "exists");
			break;
		case ROW_OUTLIVES:
			supersede(change, row, "updated");
			note_row_conflict(state, change, row, false);
			break;
		case ROW_DISPUTED:
			supersede(change, row, "concurrent");
			note_row_conflict(state, change, row, false);
			break;
		case ROW_DELETE:
			if (is_conflict)
				note_row_conflict(state, change, row, true);
			decide_delete(state, change, row);
			break;
		case ROW_REVIVE:
			note_row_conflict(state, change, row, true);
			revive(state, change, row);
			decide_merge(state, change, row);
			break;
		case ROW_CREATE:
			decide_create(state, change, row);
			break;
		case ROW_MERGE:
			decide_merge(state, change, row);
			break;
	}
}

/*
 * A change that loses leaves a conflict, with a value that somebody may choose, but no
 * statement that would ask for the right to write it.
 */
static bool
may_write(ApplyState *state, const ApplyChange *change, const ApplyRow *row)
{
	Oid			relid = row->table->relid;

	if (change->delta.kind == DELTA_CHANGE_DELETE)
		return pg_class_aclcheck(relid, GetUserId(), ACL_DELETE) == ACLCHECK_OK;
	if (change->delta.kind == DELTA_CHANGE_INSERT && !row->is_alive)
		return pg_class_aclcheck(relid, GetUserId(), ACL_INSERT) == ACLCHECK_OK ||
			pg_attribute_aclcheck_all(relid, GetUserId(), ACL_INSERT,
									  ACLMASK_ANY) == ACLCHECK_OK;
	if (state->updatable == relid)
		return true;
	if (pg_class_aclcheck(relid, GetUserId(), ACL_UPDATE) == ACLCHECK_OK)
	{
		state->updatable = relid;
		return true;
	}
	return change->ncells == 0 || apply_may_update_cells(change);
}

/* Of these columns the device knows what it wrote, or learns what became of it. */
static void
note_mentioned(const ApplyChange *change, ApplyRow *row)
{
	for (int i = 0; i < change->ncells; i++)
		row->mentioned = bms_add_member(row->mentioned, change->cells[i].column);
}

/* What is stored stays; the device is told what that is. */
static void
supersede(ApplyChange *change, ApplyRow *row, const char *reason)
{
	change->outcome = OUTCOME_SUPERSEDED;
	change->reason = reason;
	row->check_presence = true;
	for (int i = 0; i < change->ncells; i++)
		row->force = bms_add_member(row->force, change->cells[i].column);
}

/* A conflict about the row: against its latest delete, or its latest write. */
static void
note_row_conflict(ApplyState *state, ApplyChange *change, ApplyRow *row,
				  bool incoming_won)
{
	const Stamp *latest = row_clock_scope_stamp(row->clock);
	StringInfoData incoming;

	initStringInfo(&incoming);
	if (change->delta.kind != DELTA_CHANGE_DELETE)
		apply_sent_json(&incoming, change);
	if (row->clock->nfloor > 0 && change->delta.kind != DELTA_CHANGE_DELETE)
		latest = &row->clock->floor[row->clock->nfloor - 1];
	else
	{
		for (int id = 1; id <= row->clock->ncolumns; id++)
		{
			const Stamp *stamp = row_clock_get(row->clock, id);

			if (stamp != NULL &&
				(latest == NULL || stamp_compare(stamp, latest) > 0))
				latest = stamp;
		}
	}
	apply_add_conflict(state, change, row, -1,
					   incoming_won ? CELL_INCOMING : CELL_CURRENT, latest, NULL,
					   incoming.len > 0 ? incoming.data : NULL);
}

/* The row as it was when it was deleted, as if it had not been. */
static void
revive(ApplyState *state, ApplyChange *change, ApplyRow *row)
{
	Stamp		stamp = apply_device_stamp(state, change);

	/*
	 * The scope stamp stays, since the row has long been in its scope; the
	 * floor tells devices that have dropped the row to take it whole.
	 */
	row_clock_add_floor(row->clock, &stamp);
	row->is_alive = row->is_news = true;
	row->action = ROW_INSERT;
	apply_load_image(row);
}

/*
 * The next write looks at this row.  It may come after every few changes, so it
 * must not look at all of the batch's.
 */
static void
note_pending(ApplyState *state, ApplyRow *row)
{
	if (row->is_pending)
		return;
	if (state->npending == state->maxpending)
	{
		state->maxpending = Max(64, 2 * state->maxpending);
		if (state->pending_rows == NULL)
			state->pending_rows = MemoryContextAlloc(state->batch_context,
													 state->maxpending * sizeof(ApplyRow *));
		else
			state->pending_rows = repalloc(state->pending_rows,
										   state->maxpending * sizeof(ApplyRow *));
	}
	state->pending_rows[state->npending++] = row;
	row->is_pending = true;
}

/* A fresh row, made by the device's insert. */
static void
decide_create(ApplyState *state, ApplyChange *change, ApplyRow *row)
{
	SyncTable  *table = row->table;
	Stamp		stamp = apply_device_stamp(state, change);
	RowClock   *clock = row_clock_create(state->batch_context);
	CellTally	tally = {0, 0, 0};
	const char *scope = "";

	if (table->scope_column >= 0)
	{
		SyncColumn *column = &table->columns[table->scope_column];

		/* a default or a trigger may set it: checked again after writing */
		bool		is_open = column->has_default || table->has_before_insert;

		scope = NULL;
		if (column->is_key)
		{
			for (int i = 0; i < table->nkeys; i++)
				if (table->key[i] == table->scope_column)
					scope = value_to_text(column, row->key[i]);
		}
		for (int i = 0; i < change->ncells; i++)
		{
			ApplyCell  *cell = &change->cells[i];

			if (cell->column != table->scope_column)
				continue;
			if (cell->isnull)	/* as it stays, whatever the default is */
				is_open = table->has_before_insert;
			else
				scope = value_to_text(column, cell->value);
		}
		if (scope == NULL && !is_open)
		{
			(void) check_scope(state, change, NULL, false);
			return;
		}
	}
	if (scope != NULL &&
		!check_scope(state, change, scope, true))
		return;

	for (int i = 0; row->clock != NULL && i < row->clock->nfloor; i++)
		row_clock_add_floor(clock, &row->clock->floor[i]);
	row_clock_set_scope(clock, &stamp);
	row->clock = clock;
	row->scope = change->scope = scope;
	row->is_alive = row->was_inserted = row->is_scope_seen = true;
	row->action = ROW_INSERT;
	bms_free(row->written);
	row->written = NULL;

	/* what the delta said about an earlier row of this key is not of this one */
	memset(row->sent, 0, table->ncolumns * sizeof(DeltaValue *));
	bms_free(row->mentioned);
	row->mentioned = NULL;
	note_mentioned(change, row);
	row->sets = NULL;
	row->objects = NULL;

	for (int i = 0; i < table->ncolumns; i++)
	{
		SyncColumn *column = &table->columns[i];

		if (column->is_key)
			continue;
		row->isnull[i] = true;
		row->values[i] = (Datum) 0;

		/* counters and sets start from nothing, not from a default */
		if (column->policy == POLICY_COUNTER)
		{
			DeltaValue	zero = {DELTA_NUMBER, 1, "0"};

			row->values[i] = value_from_delta(column, &zero, &row->isnull[i]);
			row->written = bms_add_member(row->written, i);
		}
		else if (column->policy == POLICY_ORSET)
		{
			row->values[i] = OrSetPGetDatum(orset_pack(orset_create(CurrentMemoryContext)));
			row->isnull[i] = false;
			row->written = bms_add_member(row->written, i);
		}
		else if (column->policy == POLICY_JSON)
		{
			DeltaValue	empty = {DELTA_JSON, 2, "{}"};

			if (column->is_not_null)
				row->values[i] = value_from_delta(column, &empty, &row->isnull[i]);
			row->written = bms_add_member(row->written, i);
		}
	}
	/* a column that nobody writes is known all the same */
	if (table->max_column_id > clock->ncolumns)
		row_clock_set(clock, table->max_column_id, NULL);

	apply_merge_cells(state, change, row, &tally);
	apply_note_write(state, change, row, NULL);
	change->outcome = OUTCOME_APPLIED;
}

static void
decide_merge(ApplyState *state, ApplyChange *change, ApplyRow *row)
{
	CellTally	tally = {0, 0, 0};
	Bitmapset  *written = bms_copy(row->written);

	if (!check_move(state, change, row))
		return;
	note_previous(state, change, row);
	apply_merge_cells(state, change, row, &tally);
	apply_note_write(state, change, row, written);
	if (row->action == ROW_KEEP && !bms_equal(written, row->written))
		row->action = ROW_UPDATE;
	conclude(change, &tally);
}

/*
 * The row stays gone, but what the change brings is there should a later write
 * bring it back.  Its values then pass that writer's row security, but nobody
 * would have asked this one's: it has to stay out where that applies.
 */
static void
decide_absorb(ApplyState *state, ApplyChange *change, ApplyRow *row)
{
	CellTally	tally = {0, 0, 0};
	List	   *conflicts;

	if (!check_move(state, change, row))
		return;
	if (!apply_may_update_cells(change))
	{
		refuse_now(state, change, "privilege", ERRCODE_INSUFFICIENT_PRIVILEGE,
				   "permission denied to update columns of the table");
		return;
	}
	if (check_enable_rls(row->table->relid, InvalidOid, true) != RLS_ENABLED)
	{
		apply_load_image(row);
		note_previous(state, change, row);
		conflicts = change->conflicts;
		apply_merge_cells(state, change, row, &tally);
		change->conflicts = conflicts;	/* there is one: with the delete */
		/* made when it is stored: many changes may go into it */
		row->image_columns = row->written;
		row->image_isnull = false;
		row->image_is_new = true;
		row->action = ROW_BURY;
		row->written = NULL;
	}
	supersede(change, row, "deleted");
	note_row_conflict(state, change, row, false);
}

/* A row that moves must be pushable in both scopes. */
static bool
check_move(ApplyState *state, ApplyChange *change, ApplyRow *row)
{
	SyncTable  *table = row->table;

	for (int i = 0; i < change->ncells; i++)
	{
		ApplyCell  *cell = &change->cells[i];

		if (cell->column == table->scope_column &&
			!check_scope(state, change, cell->isnull ? NULL :
						 value_to_text(&table->columns[cell->column],
									   cell->value), true))
			return false;
	}
	return true;
}

static void
decide_delete(ApplyState *state, ApplyChange *change, ApplyRow *row)
{
	Stamp		stamp = apply_device_stamp(state, change);
	const Stamp *latest = row->clock->nfloor == 0 ? NULL :
	&row->clock->floor[row->clock->nfloor - 1];

	/* deleted by this very push already: its tombstone stays as it is */
	if (!row->is_alive && latest != NULL && latest->xid == stamp.xid &&
		memcmp(&latest->node, &stamp.node, UUID_LEN) == 0 &&
		memcmp(&latest->replica, &stamp.replica, UUID_LEN) == 0)
	{
		change->outcome = OUTCOME_APPLIED;
		return;
	}

	/* no statement will ask for the right to delete a row that is gone */
	if (!row->exists &&
		pg_class_aclcheck(row->table->relid, GetUserId(), ACL_DELETE) != ACLCHECK_OK)
	{
		refuse_now(state, change, "privilege", ERRCODE_INSUFFICIENT_PRIVILEGE,
				   "permission denied to delete rows of the table");
		return;
	}

	/* a delete stands for those that its device knew of */
	if (apply_floor_is_seen(state, row))
		row->clock->nfloor = 0;
	row_clock_add_floor(row->clock, &stamp);
	if (row->exists)
	{
		row->action = ROW_REMOVE;
		state->pending_deletes = list_append_unique_int(state->pending_deletes,
														row->table->table_id);
	}
	else
	{
		row->action = ROW_BURY;
		if (!row->has_tombstone)
			row->image_isnull = true;
	}
	row->ndeletes++;
	row->is_alive = false;
	row->was_inserted = false;
	row->written = NULL;
	row->force = NULL;
	change->outcome = OUTCOME_APPLIED;
}

static void
conclude(ApplyChange *change, const CellTally *tally)
{
	if (tally->current == 0 && tally->merged == 0)
		change->outcome = OUTCOME_APPLIED;
	else if (tally->incoming == 0 && tally->merged == 0)
	{
		change->outcome = OUTCOME_SUPERSEDED;
		change->reason = "later_write";
	}
	else
		change->outcome = OUTCOME_MERGED;
}

/*
 * The decision refuses a change.  Alone in its unit, that is its outcome; else the
 * unit falls, which the caller of the batch sees to: the error gets us there.
 */
static void
refuse_now(ApplyState *state, ApplyChange *change, const char *reason,
		   int sqlstate, const char *message)
{
	if (state->unit_start[change->unit + 1] - state->unit_start[change->unit] > 1)
	{
		change->reason = reason;
		ereport(ERROR,
				(errcode(sqlstate),
				 errmsg_internal("%s", message)));
	}
	change->outcome = OUTCOME_REJECTED;
	change->reason = reason;
	change->sqlstate = sqlstate;
	change->message = message;
}

/* is_sent: the device named the scope itself; else it is not told which one it is. */
static bool
check_scope(ApplyState *state, ApplyChange *change, const char *scope, bool is_sent)
{
	ApplyRow   *row;

	if (apply_may_push(state, scope))
		return true;
	row = apply_find_row(state, &change->ref);
	row->check_presence = true;
	refuse_now(state, change, "scope_refused", ERRCODE_INSUFFICIENT_PRIVILEGE,
			   is_sent && scope != NULL ?
			   MemoryContextStrdup(state->context,
								   psprintf("device may not push to scope \"%s\"", scope)) :
			   "device may not push to the row's scope");
	return false;
}

bool
apply_may_push(ApplyState *state, const char *scope)
{
	SyncDeviceScope *entry;

	if (scope == NULL)
		return false;
	entry = sync_scope_set_find(state->scopes, scope);
	return entry != NULL && entry->can_push;
}

static bool
must_write_before(ApplyState *state, ApplyChange *change, ApplyRow *row)
{
	ListCell   *lc;

	/*
	 * Made and deleted again: it has to be possible, and allowed, to make it.
	 * And what was written belongs into the image of a row that may come
	 * back.
	 */
	if (change->delta.kind == DELTA_CHANGE_DELETE &&
		(row->action == ROW_INSERT ||
		 (row->action == ROW_UPDATE &&
		  row->table->rules.on_delete != ON_DELETE_DELETE_WINS)))
		return true;

	/* brought back after its delete */
	if ((row->action == ROW_REMOVE || row->action == ROW_BURY) &&
		change->delta.kind == DELTA_CHANGE_INSERT)
		return true;
	if (change->delta.kind == DELTA_CHANGE_DELETE)
		return false;
	foreach(lc, state->pending_deletes)
	{
		if (refers_to(change->table, lfirst_int(lc), 0))
			return true;
	}
	return false;
}

/*
 * Is it the deletion of a row that the batch has made and deleted some times, and will
 * make again?  Each of these leaves a dead version that the next insertion and the
 * next deletion have to pass by: all together that is quadratic.
 */
static bool
is_passing(ApplyState *state, const ApplyChange *change, ApplyRow *row)
{
	if (change->delta.kind != DELTA_CHANGE_DELETE || row->action != ROW_INSERT ||
		row->ndeletes < MAX_DEAD_VERSIONS || row->ninserts == 0 ||
		!apply_can_try(state, row))
		return false;
	for (int i = 0; i < state->npending; i++)
	{
		if (refers_to(state->pending_rows[i]->table, row->table->table_id, 0))
			return false;
	}
	return true;
}

/*
 * It has to be possible to make the row, but it need not be left: the deletion then
 * finds none, and only the tombstone has to be written.
 */
static void
write_passing(ApplyState *state, ApplyRow *row)
{
	row->action = ROW_KEEP;
	apply_write(state);
	row->action = ROW_INSERT;
	apply_try_insert(state, row);
	row->image_columns = bms_copy(row->written);
	row->image_isnull = false;
	row->image_is_new = true;
}

/* Does a chain of foreign keys lead from the table to the target? */
static bool
refers_to(const SyncTable *table, int32 target, int depth)
{
	for (int i = 0; i < table->nparents; i++)
	{
		SyncTable  *parent;

		if (table->parents[i] == target)
			return true;
		if (table->parents[i] == table->table_id || depth > 32)
			continue;
		parent = sync_table_by_id(table->parents[i]);
		if (parent != NULL && parent->rank < table->rank &&
			refers_to(parent, target, depth + 1))
			return true;
	}
	return false;
}

Stamp
apply_device_stamp(ApplyState *state, const ApplyChange *change)
{
	Stamp		stamp;

	stamp.hlc = change->hlc;
	stamp.replica = state->device->uuid;
	stamp.node = *state->node;
	stamp.xid = state->xid;
	return stamp;
}

/* A merged cell belongs to no single device: the node's write, later than all it
 * merges. */
Stamp
apply_node_stamp(ApplyState *state, const ApplyRow *row, const ApplyChange *change)
{
	Stamp		stamp;

	sync_node_stamp(&stamp, Max(change->hlc, row_clock_max_hlc(row->clock)));
	state->last_node_hlc = Max(state->last_node_hlc, stamp.hlc);
	return stamp;
}

/* What a change met, for the audit: kept for every change where the table wants it
 * in full, else only where it did not simply apply (conflicts have it). */
static void
note_previous(ApplyState *state, ApplyChange *change, ApplyRow *row)
{
	StringInfoData values;
	StringInfoData stamps;
	const char *separator = "";
	MemoryContext scratch;
	MemoryContext oldcontext;

	if (row->table->audit != AUDIT_FULL || state->noted_bytes > MAX_NOTED_SIZE)
		return;
	scratch = AllocSetContextCreate(state->batch_context,
									"offline_sync previous values",
									ALLOCSET_DEFAULT_SIZES);
	oldcontext = MemoryContextSwitchTo(scratch);
	initStringInfo(&values);
	initStringInfo(&stamps);
	for (int i = 0; i < change->ncells; i++)
	{
		SyncColumn *column = &row->table->columns[change->cells[i].column];
		const Stamp *stamp = row_clock_get(row->clock, column->column_id);

		appendStringInfoString(&values, separator);
		escape_json(&values, column->name);
		appendStringInfoChar(&values, ':');
		apply_value_json(&values, column,
						 apply_row_value(row, change->cells[i].column),
						 row->isnull[change->cells[i].column]);
		if (stamp != NULL)
		{
			char		hlc[HLC_TEXT_SIZE];

			hlc_format(stamp->hlc, hlc);
			appendStringInfoString(&stamps, stamps.len > 0 ? "," : "");
			escape_json(&stamps, column->name);
			appendStringInfo(&stamps, ":[\"%s\",\"%s\"]", hlc,
							 DatumGetCString(DirectFunctionCall1(uuid_out,
																 UUIDPGetDatum(&stamp->replica))));
		}
		separator = ",";
	}
	if (state->noted_bytes + values.len <= MAX_NOTED_SIZE)
	{
		change->previous = MemoryContextStrdup(state->context, values.data);
		change->previous_stamps = MemoryContextStrdup(state->context, stamps.data);
		state->noted_bytes += values.len;
	}
	MemoryContextSwitchTo(oldcontext);
	MemoryContextDelete(scratch);
}

void
apply_add_conflict(ApplyState *state, ApplyChange *change, ApplyRow *row, int column,
				   CellVerdict decision, const Stamp *current, char *current_json,
				   char *incoming_json)
{
	static const char *const on_delete[] = {"delete_wins", "update_wins", "lww"};
	MemoryContext oldcontext = MemoryContextSwitchTo(state->context);
	ApplyConflict *conflict = palloc0(sizeof(ApplyConflict));

	if (column >= 0)
	{
		SyncPolicy	policy = apply_rule(state, row, column)->policy;

		conflict->policy = sync_policy_name(policy);
		conflict->is_open = policy == POLICY_MANUAL;
	}
	else if (row->table->rules.is_strong)
	{
		conflict->policy = "strong";
		conflict->is_open = true;
	}
	else
		conflict->policy = on_delete[row->table->rules.on_delete];
	conflict->column = column;
	conflict->decision = decision;
	if (current_json != NULL)
	{
		conflict->current_json = pstrdup(current_json);
		state->noted_bytes += strlen(current_json);
	}
	conflict->incoming_json = incoming_json ? pstrdup(incoming_json) : NULL;
	if (current != NULL)
		conflict->current = *current;
	change->conflicts = lappend(change->conflicts, conflict);
	MemoryContextSwitchTo(oldcontext);
}
