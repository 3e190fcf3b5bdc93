/*-------------------------------------------------------------------------
 *
 * apply_report.c
 *	  Last step of an apply: what the device is told back, and what is kept.
 *
 * Corrections are the rows' values after the whole delta, for every cell whose
 * stored value is not exactly what the device sent.  Only rows that may need
 * one are read again, in one statement a table: those where a value did not
 * prevail or was merged, inserts that defaults completed, and all rows where
 * users' triggers may have had a hand in.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "audit/opaque.h"
#include "executor/spi.h"
#include "log/node.h"
#include "mb/pg_wchar.h"
#include "merge/apply.h"
#include "miscadmin.h"
#include "offline_sync.h"
#include "registry/row_fetch.h"
#include "registry/row_key.h"
#include "registry/value.h"
#include "types/merge_sort.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/json.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

/* Reading again the rows of one table */
typedef struct Reread
{
	ApplyState *state;
	SyncTable  *table;
	TouchedRow **rows;
	int			nrows;
	bool	   *found;
	Bitmapset  *columns;
	const TableVersion *version;	/* the delta's, of the table */
	DeltaWriter *writer;
} Reread;

static bool is_clean_batch(ApplyState *state, int first, int last);
static bool is_clean_row(ApplyState *state, const ApplyRow *row);
static const TableVersion *version_of(ApplyState *state, const SyncTable *table);
static bool needs_reread(ApplyState *state, const TouchedRow *row);
static void reread_table(Reread *work);
static void row_reread(void *arg, int ordinal, Datum clock, bool clock_isnull,
					   Datum *values, bool *isnull);
static bool has_room(ApplyState *state);
static bool is_known_row(ApplyState *state, const TouchedRow *row,
						 const RowClock *clock, const SyncDeviceScope *scope);
static SyncDeviceScope *scope_of(Reread *work, const TouchedRow *row,
								 Datum *values, bool *isnull);
static SyncDeviceScope *pulled_scope(ApplyState *state, const char *scope);
static bool cell_needs_correction(Reread *work, TouchedRow *row, int column,
								  const RowClock *clock, Datum value, bool isnull);
static void write_keys(Reread *work, const TouchedRow *row);
static void write_absence(Reread *work, TouchedRow *row);
static void write_removal(Reread *work, TouchedRow *row, DeltaChangeKind kind);
static int	compare_touched(const void *a, const void *b);
static void append_opaque(StringInfo buf, Datum value);
static bool may_tell_detail(ApplyState *state, const ApplyChange *change);
static const char *device_column(ApplyState *state, const ApplyChange *change);
static void append_ignored(StringInfo buf, List *ignored);

/* A batch succeeded: keep of its rows what the answer needs. */
void
apply_remember_rows(ApplyState *state, int first, int last)
{
	HASH_SEQ_STATUS status;
	ApplyRow   *row;
	bool		is_clean = is_clean_batch(state, first, last);

	hash_seq_init(&status, state->rows);
	while ((row = hash_seq_search(&status)) != NULL)
	{
		TouchedRow *touched;
		MemoryContext oldcontext;

		if (is_clean && is_clean_row(state, row))
			continue;
		touched = apply_touch_row(state, &row->ref, row->table, row->key);
		oldcontext = MemoryContextSwitchTo(state->context);
		if (row->was_inserted)
		{
			/*
			 * what earlier batches were told was about another row of this
			 * key
			 */
			memset(touched->sent, 0, row->table->ncolumns * sizeof(DeltaValue *));
			touched->mentioned = NULL;
		}
		touched->was_inserted |= row->was_inserted;
		touched->was_written |= row->was_written;
		touched->is_gone = row->is_gone;
		touched->check_presence |= row->check_presence;
		touched->is_news |= row->is_news;
		for (int i = 0; i < row->table->ncolumns; i++)
		{
			if (row->sent[i] != NULL)
			{
				touched->sent[i] = row->sent[i];
				touched->force = bms_del_member(touched->force, i);
			}
		}
		touched->mentioned = bms_add_members(touched->mentioned, row->mentioned);
		touched->force = bms_add_members(touched->force, row->force);
		if (row->scope != NULL)
			touched->scope = row->scope[0] == '\0' ? "" : pstrdup(row->scope);
		MemoryContextSwitchTo(oldcontext);
	}
}

/* Is it the whole delta, which nothing but its rows' own values can ask about again? */
static bool
is_clean_batch(ApplyState *state, int first, int last)
{
	if (first > 0 || last < state->nchanges || state->has_intents ||
		state->waiting != NULL || state->any_triggers || state->any_versions ||
		state->side_writes != NULL || hash_get_num_entries(state->touched) > 0)
		return false;
	for (int i = first; i < last; i++)
	{
		if (state->changes[i].outcome == OUTCOME_REJECTED ||
			state->changes[i].outcome == OUTCOME_DEFERRED)
			return false;
	}
	return true;
}

/* A row that was written as the device sent it needs no correction, as needs_reread()
 * would say, and no entry in the log. */
static bool
is_clean_row(ApplyState *state, const ApplyRow *row)
{
	const SyncTable *table = row->table;

	return row->was_written && (row->exists || row->is_gone) &&
		!row->check_presence && !row->is_news && bms_is_empty(row->force) &&
		!table->has_generated &&
		!(row->was_inserted &&
		  (table->has_defaults || table->has_counters_or_sets)) &&
		apply_may_pull(state, row->scope);
}

/*
 * Which rows does the device itself want gone?  And of which has it thrown away the
 * cells, though they stay?
 */
void
apply_note_deletions(ApplyState *state)
{
	if (hash_get_num_entries(state->touched) == 0)
		return;
	for (int i = 0; i < state->nchanges; i++)
	{
		ApplyChange *change = &state->changes[i];
		TouchedRow *row;

		if (change->table == NULL || change->ref.key_bytes == NULL)
			continue;
		row = hash_search(state->touched, &change->ref, HASH_FIND, NULL);
		if (row == NULL)
			continue;
		row->device_deleted = change->delta.kind == DELTA_CHANGE_DELETE;
		if (row->device_deleted && change->outcome != OUTCOME_APPLIED)
			row->is_news = true;
	}
}

/* A change that was refused: its cells are looked at. */
void
apply_remember_change(ApplyState *state, ApplyChange *change)
{
	TouchedRow *row;
	MemoryContext oldcontext;

	if (change->table == NULL || change->ref.key_bytes == NULL)
		return;
	row = apply_touch_row(state, &change->ref, change->table, change->key);
	oldcontext = MemoryContextSwitchTo(state->context);
	row->check_presence = true;
	delta_reader_again(&state->reader, &change->delta);
	for (int i = 0; i < change->delta.ncells; i++)
	{
		int			name = change->delta.cells[i].column;
		int			column = state->columns[change->delta.table][name];

		/* all cells, also those after the one that was refused */
		if (column >= 0)
			row->force = bms_add_member(row->force, column);
	}
	MemoryContextSwitchTo(oldcontext);
}

/* A change that the device sent before: it is told the whole row. */
void
apply_recall_change(ApplyState *state, const ApplyChange *change)
{
	if (change->table != NULL && change->ref.key_bytes != NULL)
		apply_touch_row(state, &change->ref, change->table, change->key)->is_recalled = true;
}

TouchedRow *
apply_touch_row(ApplyState *state, const RowRef *ref, SyncTable *table,
				const Datum *key)
{
	bool		found;
	TouchedRow *row = hash_search(state->touched, ref, HASH_ENTER, &found);

	if (!found)
	{
		MemoryContext oldcontext = MemoryContextSwitchTo(state->context);

		memset((char *) row + sizeof(RowRef), 0,
			   sizeof(TouchedRow) - sizeof(RowRef));
		row->table = table;
		row->key = (Datum *) key;	/* of a change: lives as long */
		row->sent = bump_alloc0(&state->bump, table->ncolumns * sizeof(DeltaValue *));
		row->version = version_of(state, table);
		MemoryContextSwitchTo(oldcontext);
	}
	return row;
}

/* A table that the delta names, as the delta knows it. */
static const TableVersion *
version_of(ApplyState *state, const SyncTable *table)
{
	for (int i = 0; state->any_versions && i < state->reader.ntables; i++)
	{
		if (state->tables[i] != NULL &&
			state->tables[i]->table_id == table->table_id)
			return state->versions[i];
	}
	return NULL;
}

/*
 * A row that was touched but not written has no log entry yet.  It needs one for a
 * device whose answer is lost: it learns from its next pull what became of the row.
 */
void
apply_log_touched(ApplyState *state)
{
	HASH_SEQ_STATUS status;
	TouchedRow *row;
	const char *fallback = sync_scope_set_pulled(state->scopes);

	hash_seq_init(&status, state->touched);
	while ((row = hash_seq_search(&status)) != NULL)
	{
		const char *scope = row->scope ? row->scope : fallback;

		if (!row->was_written && scope != NULL)
			change_log_add(scope, row->table->table_id, row->ref.key_bytes,
						   row->ref.key_len);
	}
}

DeltaData *
apply_corrections(ApplyState *state)
{
	HASH_SEQ_STATUS status;
	TouchedRow *row;
	TouchedRow **rows;
	int			nrows = 0;
	DeltaWriter *writer;
	DeltaHeader header;
	DeltaData  *result;
	MemoryContext oldcontext;

	rows = palloc(Max(hash_get_num_entries(state->touched), 1) *
				  sizeof(TouchedRow *));
	hash_seq_init(&status, state->touched);
	while ((row = hash_seq_search(&status)) != NULL)
	{
		if (needs_reread(state, row))
			rows[nrows++] = row;
	}
	if (nrows == 0)
		return NULL;

	merge_sort(rows, nrows, sizeof(TouchedRow *), compare_touched);
	writer = delta_writer_create(state->context);
	for (int start = 0, end; start < nrows; start = end)
	{
		Reread		work;

		for (end = start + 1; end < nrows; end++)
		{
			if (rows[end]->table != rows[start]->table)
				break;
		}
		work.state = state;
		work.table = rows[start]->table;
		work.rows = rows + start;
		work.nrows = end - start;
		work.writer = writer;
		reread_table(&work);
	}
	if (delta_writer_count(writer) == 0)
		return NULL;

	memset(&header, 0, sizeof(header));
	header.replica = *state->node;
	header.hlc = sync_clock_now();
	header.schema_version = state->reader.header.schema_version;
	header.is_served = true;
	header.from = vv_empty();
	header.to = vv_empty();

	/* SPI calls leave their own context behind, which ends with SPI_finish */
	oldcontext = MemoryContextSwitchTo(state->context);
	result = delta_writer_finish(writer, &header);
	MemoryContextSwitchTo(oldcontext);
	return result;
}

static bool
needs_reread(ApplyState *state, const TouchedRow *row)
{
	const SyncTable *table = row->table;

	return row->check_presence || !bms_is_empty(row->force) || row->is_recalled ||
		(row->device_deleted && !row->is_gone) || row->is_news || row->by_intent ||
		!apply_may_pull(state, row->scope) ||
		(state->any_triggers && row->was_written) ||
		apply_is_side_written(state, &row->ref) ||
		(row->was_written && table->has_generated) ||
		(row->was_written && table_version_has_retyped(row->version)) ||
		(row->was_inserted &&
		 (table->has_defaults || table->has_counters_or_sets));
}

static void
reread_table(Reread *work)
{
	SyncTable  *table = work->table;
	Datum	   *keys = palloc(work->nrows * table->nkeys * sizeof(Datum));
	const ColumnMasks *masks;
	bool		is_readable;
	int			modes;

	/* the delta need not name a table that an intent wrote to */
	work->version = work->rows[0]->version;
	if (work->version == NULL)
		work->version = table_version_open(table, apply_schema_version(work->state));
	work->columns = row_fetch_readable(table, &is_readable);
	if (!is_readable)
		return;
	masks = apply_masks(work->state, table);
	if (masks != NULL)
		work->columns = bms_del_members(work->columns, masks->no_pull);
	for (int i = 0; i < table->nkeys; i++)
		work->columns = bms_del_member(work->columns, table->key[i]);
	for (int i = 0; i < work->nrows; i++)
		memcpy(keys + i * table->nkeys, work->rows[i]->key,
			   table->nkeys * sizeof(Datum));
	work->found = palloc0(work->nrows * sizeof(bool));

	PushActiveSnapshot(GetLatestSnapshot());
	row_fetch(table, work->columns, ROW_FETCH_READ, work->nrows, keys,
			  row_reread, work);
	PopActiveSnapshot();

	modes = value_modes_begin();
	for (int i = 0; i < work->nrows; i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (!work->found[i] &&
			(!work->rows[i]->is_unasked || apply_is_gone(work->state, work->rows[i])))
			write_absence(work, work->rows[i]);
	}
	value_modes_end(modes);
}

static void
row_reread(void *arg, int ordinal, Datum clock_datum, bool clock_isnull,
		   Datum *values, bool *isnull)
{
	Reread	   *work = arg;
	TouchedRow *row = work->rows[ordinal];
	SyncDeviceScope *scope;
	RowClock   *clock;
	bool		is_whole;
	bool		begun = false;
	int			modes = 0;
	int			n = 0;

	/*
	 * What the device may not pull, it is not told here either.  It must
	 * forget the row even if it deleted it: a delete that was refused is
	 * undone there.
	 */
	work->found[ordinal] = true;
	scope = scope_of(work, row, values, isnull);
	if (scope == NULL)
	{
		write_removal(work, row, DELTA_CHANGE_RETRACT);
		return;
	}
	if (row->is_unasked && !has_room(work->state))
		return;
	clock = sync_table_clock(CurrentMemoryContext, work->table, clock_datum,
							 clock_isnull);
	is_whole = row->is_recalled || row->device_deleted || row->is_news ||
		row->by_intent ||
		!is_known_row(work->state, row, clock, scope);

	/*
	 * a former type's text may depend on more than those of the present types
	 * do
	 */
	if (work->version != NULL)
		modes = value_modes_begin();
	for (int i = -1; (i = bms_next_member(work->columns, i)) >= 0; n++)
	{
		const char *name = table_version_name(work->table, work->version, i);
		DeltaValue	value;

		if (name == NULL)
			continue;
		if (!is_whole &&
			!cell_needs_correction(work, row, i, clock, values[n], isnull[n]))
			continue;
		if (!begun)
		{
			delta_writer_begin(work->writer,
							   is_whole ? DELTA_CHANGE_INSERT : DELTA_CHANGE_UPDATE,
							   work->table->wire_name, HLC_MIN);
			write_keys(work, row);
			begun = true;
		}
		table_version_down(work->table, work->version, i, values[n], isnull[n],
						   &value);
		work->state->told_bytes += value.len;
		delta_writer_cell(work->writer, name, DELTA_SET, &value);
	}
	if (work->version != NULL)
		value_modes_end(modes);
	if (begun)
		delta_writer_end(work->writer);
}

/*
 * Is the answer still of a size that a device can take?  Nothing else limits what
 * handlers write.
 */
static bool
has_room(ApplyState *state)
{
	if (state->told_bytes < (Size) sync_max_delta_size * 1024)
		return true;
	state->is_untold = true;
	return false;
}

/*
 * Does the device have this row, and not another one of the same key: one from
 * before a delete, or one that it made itself?  Where it learned of the row by
 * pulling, it has it only if it pulled since its latest grant of the scope; where
 * it made the row, if it was granted the scope when it did, since it has been told
 * to forget the row otherwise.  And it has lost sight of a row that it made, and
 * that had to wait, where it began afresh meanwhile.
 */
static bool
is_known_row(ApplyState *state, const TouchedRow *row, const RowClock *clock,
			 const SyncDeviceScope *scope)
{
	const Stamp *stamp = row_clock_scope_stamp(clock);

	for (int i = 0; i < clock->nfloor; i++)
	{
		if (!apply_write_is_told(state, &clock->floor[i]))
			return false;
	}
	if (stamp != NULL && !apply_write_is_told(state, stamp))
		return false;
	if (stamp != NULL && !vv_covers_counter(state->seen, &stamp->node, stamp->xid) &&
		memcmp(&stamp->replica, &state->device->uuid, UUID_LEN) == 0)
		return (row->was_inserted || !apply_row_is_late(state, &row->ref)) &&
			apply_kept_own_row(state, scope, stamp);
	return apply_grant_is_seen(state, scope);
}

/* The row's scope, if the device may pull that; or NULL */
static SyncDeviceScope *
scope_of(Reread *work, const TouchedRow *row, Datum *values, bool *isnull)
{
	SyncTable  *table = work->table;
	const char *scope = NULL;
	int			n = 0;

	if (table->scope_column < 0)
		scope = "";
	for (int i = 0; i < table->nkeys; i++)
	{
		if (table->key[i] == table->scope_column)
			scope = value_to_text(&table->columns[table->scope_column],
								  row->key[i]);
	}
	for (int i = -1; (i = bms_next_member(work->columns, i)) >= 0; n++)
	{
		if (i == table->scope_column && !isnull[n])
			scope = value_to_text(&table->columns[i], values[n]);
	}
	return pulled_scope(work->state, scope);
}

static SyncDeviceScope *
pulled_scope(ApplyState *state, const char *scope)
{
	SyncDeviceScope *entry;

	if (scope == NULL)
		return NULL;
	entry = sync_scope_set_find(state->scopes, scope);
	return entry != NULL && entry->can_pull ? entry : NULL;
}

bool
apply_may_pull(ApplyState *state, const char *scope)
{
	return pulled_scope(state, scope) != NULL;
}

static bool
cell_needs_correction(Reread *work, TouchedRow *row, int column,
					  const RowClock *clock, Datum value, bool isnull)
{
	SyncColumn *c = &work->table->columns[column];
	const Stamp *stamp;

	if (bms_is_member(column, row->force))
		return true;
	if (c->is_generated)
		return row->was_written;
	/* another spelling may have become the same value */
	if (row->sent[column] != NULL &&
		table_version_is_retyped(work->version, column))
		return true;
	if (row->sent[column] != NULL)
		return !value_is_as_sent(c, row->sent[column], value, isnull);

	/* not sent: did this delta, by defaults or triggers, write it? */
	if (row->was_inserted)
		return !isnull && !bms_is_member(column, row->mentioned);
	stamp = row_clock_get(clock, c->column_id);
	return !SYNC_POLICY_IS_MERGED(c->policy) && stamp != NULL &&
		stamp->xid == work->state->xid &&
		memcmp(&stamp->node, work->state->node, UUID_LEN) == 0;
}

static void
write_keys(Reread *work, const TouchedRow *row)
{
	SyncTable  *table = work->table;

	for (int i = 0; i < table->nkeys; i++)
	{
		DeltaValue	value;

		table_version_down(table, work->version, table->key[i], row->key[i], false,
						   &value);
		delta_writer_key(work->writer,
						 table_version_name(table, work->version, table->key[i]),
						 &value);
	}
}

/*
 * The row is not there, or not for this caller.  Where the device deleted it that is
 * nothing new; else it must forget the row.
 */
static void
write_absence(Reread *work, TouchedRow *row)
{
	if (!row->device_deleted)
		write_removal(work, row, row->scope != NULL && row->was_written ?
					  DELTA_CHANGE_DELETE : DELTA_CHANGE_RETRACT);
}

static void
write_removal(Reread *work, TouchedRow *row, DeltaChangeKind kind)
{
	/* a row that waits for another one is neither gone nor refused */
	if (work->state->waiting != NULL &&
		hash_search(work->state->waiting, &row->ref, HASH_FIND, NULL) != NULL)
		return;
	delta_writer_begin(work->writer, kind, work->table->wire_name, HLC_MIN);
	write_keys(work, row);
	delta_writer_end(work->writer);
}

static int
compare_touched(const void *a, const void *b)
{
	const TouchedRow *x = *(TouchedRow *const *) a;
	const TouchedRow *y = *(TouchedRow *const *) b;
	int			result;

	if (x->table->rank != y->table->rank)
		return x->table->rank < y->table->rank ? -1 : 1;
	if (x->ref.table_id != y->ref.table_id)
		return x->ref.table_id < y->ref.table_id ? -1 : 1;
	result = memcmp(x->ref.key_bytes, y->ref.key_bytes,
					Min(x->ref.key_len, y->ref.key_len));
	if (result != 0)
		return result;
	return x->ref.key_len < y->ref.key_len ? -1 : (x->ref.key_len > y->ref.key_len);
}

/* ---- outcomes and audit, as JSON ---- */

static const char *const outcome_names[] = {
	"none", "applied", "merged", "superseded", "rejected", "deferred"
};

static void
append_string_member(StringInfo buf, const char *name, const char *value)
{
	if (value == NULL)
		return;
	appendStringInfo(buf, ",\"%s\":", name);
	escape_json(buf, value);
}

/*
 * What an error says.  Anybody's trigger may say as much as it likes, and of every
 * change, but all of it goes into one jsonb.
 */
static void
append_message(ApplyState *state, StringInfo buf, const char *name,
			   const char *message)
{
	int			len;

	if (message == NULL || state->stored_bytes + buf->len > MAX_NOTED_SIZE)
		return;
	len = strlen(message);
	if (len > MAX_MESSAGE_SIZE)
	{
		len = pg_mbcliplen(message, len, MAX_MESSAGE_SIZE);
		message = psprintf("%.*s...", len, message);
	}
	append_string_member(buf, name, message);
}

/*
 * What became of a change, for the device, in its words: nothing where it simply
 * applied.
 */
void
apply_append_outcome(ApplyState *state, StringInfo buf, const ApplyChange *change)
{
	bool		has_result = change->outcome == OUTCOME_APPLIED &&
	change->intent != NULL && change->intent->result != NULL;

	if (change->outcome == OUTCOME_APPLIED && !change->clock_was_ahead &&
		change->conflicts == NIL && change->ignored == NIL && !has_result)
		return;
	appendStringInfo(buf, "%s{\"seq\":" INT64_FORMAT ",\"outcome\":\"%s\"",
					 buf->len > 0 ? "," : "", change->delta.seq,
					 outcome_names[change->outcome]);
	append_string_member(buf, "reason", change->reason);
	if (change->sqlstate != 0)
		append_string_member(buf, "sqlstate", unpack_sql_state(change->sqlstate));
	append_message(state, buf, "message", change->message);
	if (change->detail != NULL && may_tell_detail(state, change))
		append_message(state, buf, "detail", change->detail);
	append_string_member(buf, "constraint", change->constraint);
	append_string_member(buf, "column", device_column(state, change));
	if (change->conflicts != NIL)
		appendStringInfo(buf, ",\"conflicts\":%d", list_length(change->conflicts));
	if (change->clock_was_ahead)
		appendStringInfoString(buf, ",\"clock\":\"ahead\"");
	if (state->stored_bytes + buf->len <= MAX_NOTED_SIZE)
		append_ignored(buf, change->ignored);
	if (has_result)
		appendStringInfo(buf, ",\"result\":%s", change->intent->result);
	appendStringInfoChar(buf, '}');
}

/*
 * A detail may show the row whole, or another one that was in the way.  The caller
 * may see them, but the device need not: it may have other scopes, and fewer columns.
 */
static bool
may_tell_detail(ApplyState *state, const ApplyChange *change)
{
	Snapshot	snapshot;
	bool		result;

	if (change->table != NULL && change->table->scope_column >= 0 &&
		(change->sqlstate == ERRCODE_EXCLUSION_VIOLATION ||
		 !apply_may_pull(state, change->scope)))
		return false;
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	result = !guard_hides_columns(state->device->device_class, snapshot);
	UnregisterSnapshot(snapshot);
	return result;
}

/* What the device calls the column that was in the way. */
static const char *
device_column(ApplyState *state, const ApplyChange *change)
{
	const TableVersion *version = apply_table_version(state, change);
	const char *name = NULL;
	int			column;

	/* a name that means nothing is the device's own */
	if (version == NULL || change->table == NULL || change->column == NULL ||
		(change->reason != NULL && strcmp(change->reason, "unknown_column") == 0))
		return change->column;
	column = sync_column_by_name(change->table, change->column,
								 strlen(change->column));
	if (column >= 0)
		name = table_version_name(change->table, version, column);
	return name == NULL ? change->column : name;
}

/* The columns that are no more, whose values were left aside */
static void
append_ignored(StringInfo buf, List *ignored)
{
	ListCell   *lc;

	if (ignored == NIL)
		return;
	appendStringInfoString(buf, ",\"ignored\":");
	foreach(lc, ignored)
	{
		appendStringInfoChar(buf, lc == list_head(ignored) ? '[' : ',');
		escape_json(buf, lfirst(lc));
	}
	appendStringInfoChar(buf, ']');
}

/* The same for the audit, at the level of the change's table. */
void
apply_append_detail(ApplyState *state, StringInfo buf,
					const ApplyChange *change)
{
	SyncAuditLevel level = change->table ? change->table->audit : AUDIT_OUTCOMES;
	char		hlc[HLC_TEXT_SIZE];
	StringInfoData previous;
	StringInfoData stamps;
	const char *policy = NULL;
	ListCell   *lc;

	if (level == AUDIT_OFF ||
		(level == AUDIT_CONFLICTS && change->conflicts == NIL))
		return;
	if (level == AUDIT_OUTCOMES && change->outcome == OUTCOME_APPLIED &&
		change->conflicts == NIL && !change->clock_was_ahead &&
		(change->intent == NULL || change->intent->nwrote == 0))
		return;

	initStringInfo(&previous);
	initStringInfo(&stamps);
	if (change->previous != NULL)
	{
		appendStringInfoString(&previous, change->previous);
		appendStringInfoString(&stamps, change->previous_stamps);
	}
	foreach(lc, change->conflicts)
	{
		ApplyConflict *conflict = lfirst(lc);

		policy = conflict->policy;
		if (change->previous != NULL || conflict->column < 0 ||
			conflict->current_json == NULL)
			continue;
		hlc_format(conflict->current.hlc, hlc);
		appendStringInfoString(&previous, previous.len > 0 ? "," : "");
		escape_json(&previous, change->table->columns[conflict->column].name);
		appendStringInfo(&previous, ":%s", conflict->current_json);
		appendStringInfoString(&stamps, stamps.len > 0 ? "," : "");
		escape_json(&stamps, change->table->columns[conflict->column].name);
		appendStringInfo(&stamps, ":[\"%s\",\"%s\"]", hlc,
						 DatumGetCString(DirectFunctionCall1(uuid_out,
															 UUIDPGetDatum(&conflict->current.replica))));
	}

	hlc_format(change->hlc, hlc);
	appendStringInfo(buf, "%s{\"seq\":" INT64_FORMAT ",\"outcome\":\"%s\",\"hlc\":\"%s\"",
					 buf->len > 0 ? "," : "", change->delta.seq,
					 outcome_names[change->outcome], hlc);
	append_string_member(buf, "reason", change->reason);
	append_string_member(buf, "scope", change->scope);
	append_string_member(buf, "policy", policy);
	append_message(state, buf, "message", change->message);
	if (previous.len > 0)
		appendStringInfo(buf, ",\"previous\":{%s}", previous.data);
	if (stamps.len > 0)
		appendStringInfo(buf, ",\"previous_stamps\":{%s}", stamps.data);
	if (change->intent != NULL && change->outcome == OUTCOME_APPLIED)
		apply_append_wrote(state, buf, change->intent);
	appendStringInfoChar(buf, '}');
}

/* A stored value as JSON, as deltas carry it; for people to read. */
void
apply_value_json(StringInfo buf, SyncColumn *column, Datum value, bool isnull)
{
	DeltaValue	travelling;

	if (isnull)
	{
		appendStringInfoString(buf, "null");
		return;
	}
	if (column->policy == POLICY_OPAQUE)
	{
		append_opaque(buf, value);
		return;
	}
	value_to_delta(column, value, isnull, &travelling);
	delta_value_to_json(buf, &travelling);
}

static void
append_opaque(StringInfo buf, Datum value)
{
	bytea	   *bytes = DatumGetByteaPP(value);

	opaque_append(buf, VARDATA_ANY(bytes), VARSIZE_ANY_EXHDR(bytes));
}

/* The cells that a change brought, as one JSON object; for people to read. */
void
apply_sent_json(StringInfo buf, const ApplyChange *change)
{
	appendStringInfoChar(buf, '{');
	for (int i = 0; i < change->ncells; i++)
	{
		const ApplyCell *cell = &change->cells[i];

		if (i > 0)
			appendStringInfoChar(buf, ',');
		escape_json(buf, change->table->columns[cell->column].name);
		appendStringInfoChar(buf, ':');
		if (cell->sent.kind == DELTA_NULL)
			appendStringInfoString(buf, "null");
		else if (change->table->columns[cell->column].policy == POLICY_OPAQUE)
			append_opaque(buf, cell->value);
		else if (cell->sent.kind == DELTA_LIST)
		{
			const char *cursor = cell->sent.data;
			const char *data;
			int			len;
			bool		first = true;

			appendStringInfoChar(buf, '[');
			while (delta_list_next(&cell->sent, &cursor, &data, &len))
			{
				if (!first)
					appendStringInfoChar(buf, ',');
				escape_json(buf, pnstrdup(data, len));
				first = false;
			}
			appendStringInfoChar(buf, ']');
		}
		else
			delta_value_to_json(buf, &cell->sent);
	}
	appendStringInfoChar(buf, '}');
}
