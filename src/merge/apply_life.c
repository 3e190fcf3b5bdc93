/*-------------------------------------------------------------------------
 *
 * apply_life.c
 *	  Third step of an apply: what deletes and updates of a row know of each
 *	  other.
 *
 * Where a delete may lose, the order of arrival must not matter, so a row must
 * not forget a write that left nothing in its cells: one that lost them all, or
 * went into a counter or a set, whose stamp is the node's.  Such tables keep a
 * stamp of the row as a whole (SYNC_ROW_STAMP_ID).
 *
 * Under lww it is the greatest write, by (hlc, replica).  Else it is the last one
 * that arrived: who has seen it, and is not its writer, has seen all before it,
 * since writes of a row follow each other.  Of the writer himself that is true
 * only where he had seen the one before; otherwise the stamp is the node's, at
 * the position of the push, which its device comes to cover with the others.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "log/node.h"
#include "merge/apply.h"

static bool delete_is_seen(ApplyState *state, const ApplyRow *row,
						   const Stamp *stamp);
static const Stamp *latest_delete(const ApplyRow *row);
static bool columns_are_seen(ApplyState *state, const ApplyRow *row);

/* Had the change's writer seen the deletes that count? */
bool
apply_floor_is_seen(ApplyState *state, const ApplyRow *row)
{
	if (row->clock == NULL || row->clock->nfloor == 0)
		return true;
	if (row->table->rules.on_delete == ON_DELETE_LWW)
		return delete_is_seen(state, row, latest_delete(row));
	for (int i = 0; i < row->clock->nfloor; i++)
	{
		if (!delete_is_seen(state, row, &row->clock->floor[i]))
			return false;
	}
	return true;
}

static bool
delete_is_seen(ApplyState *state, const ApplyRow *row, const Stamp *stamp)
{
	return apply_side_wrote(state, row, stamp) || apply_write_is_seen(state, stamp);
}

/* Had it seen every write of a row that lives? */
bool
apply_row_is_seen(ApplyState *state, const ApplyRow *row)
{
	const SyncTable *table = row->table;
	const Stamp *stamp = NULL;

	if (ROW_RULES_KEEP_STAMP(&table->rules))
		stamp = row_clock_get(row->clock, SYNC_ROW_STAMP_ID(table));
	if (stamp == NULL || table->rules.on_delete == ON_DELETE_LWW)
		return row->is_scope_seen && columns_are_seen(state, row);
	return row->is_scope_seen && apply_stamp_is_seen(state, row, stamp);
}

/*
 * Is the change later than what it would undo: the deletes of a row that is gone,
 * the writes of one that lives?
 */
bool
apply_is_latest(ApplyState *state, const ApplyChange *change,
				const ApplyRow *row)
{
	Stamp		own = apply_device_stamp(state, change);
	const Stamp *stamp;

	if (row->clock == NULL)
		return true;
	if (!row->is_alive)
		stamp = latest_delete(row);
	else
		stamp = row_clock_get(row->clock, SYNC_ROW_STAMP_ID(row->table));
	return stamp == NULL || stamp_compare(&own, stamp) > 0;
}

/*
 * A change went into a row: remember that, where the table's rules ask for it.
 * "written" is what the row had to write before.
 */
void
apply_note_write(ApplyState *state, ApplyChange *change, ApplyRow *row,
				 const Bitmapset *written)
{
	SyncTable  *table = row->table;
	Stamp		own = apply_device_stamp(state, change);
	const Stamp *last;

	if (!ROW_RULES_KEEP_STAMP(&table->rules))
		return;
	last = row_clock_get(row->clock, SYNC_ROW_STAMP_ID(table));
	if (last != NULL)
	{
		bool		is_seen = apply_stamp_is_seen(state, row, last);

		if (table->rules.on_delete == ON_DELETE_LWW)
		{
			if (!is_seen && stamp_compare(&own, last) <= 0)
				return;
		}
		else if (!is_seen)
			own = apply_node_stamp(state, row, change);
	}
	row_clock_set(row->clock, SYNC_ROW_STAMP_ID(table), &own);

	/* the row must be written for its clock, and that alone */
	if (row->action == ROW_KEEP && bms_equal(written, row->written))
		row->action = ROW_UPDATE;
}

static const Stamp *
latest_delete(const ApplyRow *row)
{
	const Stamp *result = NULL;

	for (int i = 0; i < row->clock->nfloor; i++)
	{
		const Stamp *stamp = &row->clock->floor[i];

		if (result == NULL || stamp_compare(stamp, result) > 0)
			result = stamp;
	}
	return result;
}

/* Merged cells tell only who wrote last; the row's own stamp speaks for them. */
static bool
columns_are_seen(ApplyState *state, const ApplyRow *row)
{
	bool		has_row_stamp = ROW_RULES_KEEP_STAMP(&row->table->rules);

	for (int id = 1; id <= row->clock->ncolumns; id++)
	{
		const Stamp *stamp = row_clock_get(row->clock, id);
		int			column;

		if (stamp == NULL || apply_stamp_is_seen(state, row, stamp))
			continue;
		column = sync_column_by_id(row->table, id);
		if (column < 0)
			return false;		/* dropped since */
		if (!bms_is_member(column, row->merged) &&
			!(has_row_stamp &&
			  SYNC_POLICY_IS_MERGED(row->table->columns[column].policy)))
			return false;
	}
	return true;
}
