/*-------------------------------------------------------------------------
 *
 * capture.c
 *	  The triggers that give locally written rows their clock and their entry
 *	  in the log.
 *
 * A BEFORE ROW trigger, so that the clock is part of the very tuple that is
 * written: no second update, no shadow table.  It is named to run last and sees
 * what users' triggers made of the row.  What it says of a row that is then not
 * written after all (ON CONFLICT, a serialization failure caught) is a spurious
 * log entry, which does no harm.
 *
 * An UPDATE that moves a row to another partition changes its key (the key has
 * the partition's columns in it), which is a deletion and an insertion.  It then
 * fires the triggers of a DELETE and an INSERT as well; they say the same again.
 *
 * The triggers fire for the writes of an apply, too.  Those are announced in
 * the write set with the clock that was decided for them.
 *
 * Memory: the executor calls triggers in a context that it resets for each row,
 * so nothing is freed here.  What is known of the relation is made once a
 * statement and hangs on the trigger's FmgrInfo.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "audit/waiting.h"
#include "capture/captured_object.h"
#include "capture/captured_row.h"
#include "commands/trigger.h"
#include "fmgr.h"
#include "log/change_log.h"
#include "log/node.h"
#include "log/write_set.h"
#include "miscadmin.h"
#include "types/orset.h"
#include "utils/datum.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

PG_FUNCTION_INFO_V1(sync_capture);
PG_FUNCTION_INFO_V1(sync_capture_truncate);
PG_FUNCTION_INFO_V1(sync_set_capture);

/* ---- backend-local state ---- */

static bool capture_is_on = true;	/* sync_set_capture() */

/* A new version of a row in the making */
typedef struct NewRow
{
	HeapTuple	tuple;
	TupleTableSlot *slot;		/* holds tuple */
	Datum	   *values;			/* NULL: as in the tuple; else to be formed */
	bool	   *nulls;
} NewRow;

static void check_trigger(FunctionCallInfo fcinfo, const char *function);
static CapturedRelation *get_relation(FunctionCallInfo fcinfo,
									  TriggerData *trigdata);

static HeapTuple capture_insert(CapturedRelation *cr, TriggerData *trigdata);
static HeapTuple capture_update(CapturedRelation *cr, TriggerData *trigdata);
static void capture_delete(CapturedRelation *cr, TupleTableSlot *slot);

static RowClockData *insert_clock(CapturedRelation *cr, NewRow *row,
								  const PlannedWrite *planned);
static RowClockData *update_clock(CapturedRelation *cr, NewRow *row,
								  TupleTableSlot *old_slot,
								  const PlannedWrite *planned,
								  const Bitmapset *changes);
static RowClock *fresh_clock(CapturedRelation *cr, NewRow *row, Hlc after,
							 Stamp *stamp);
static void stamp_changes(CapturedRelation *cr, NewRow *row,
						  TupleTableSlot *old_slot, RowClock *clock,
						  const Bitmapset *changes, Stamp *stamp);
static void stamp_object(CapturedRelation *cr, NewRow *row,
						 TupleTableSlot *old_slot, RowClock *clock, int column,
						 const Stamp *stamp);
static void stamp_row(CapturedRelation *cr, RowClock *clock,
					  const Bitmapset *changes);
static Bitmapset *unasked_values(CapturedRelation *cr, TupleTableSlot *slot,
								 const PlannedWrite *planned);
static bool name_has_changed(const CapturedRelation *cr,
							 const Bitmapset *changes);
static bool key_has_changed(const CapturedRelation *cr, const Bitmapset *changes,
							const RowName *old_name, const RowName *new_name);

static void log_row(const CapturedRelation *cr, const RowName *name);
static void note_row(const CapturedRelation *cr, const RowName *name);
static void bury_row(CapturedRelation *cr, TupleTableSlot *slot,
					 const RowName *name);

static void new_row_set(NewRow *row, AttrNumber attnum, Datum value,
						bool isnull);
static HeapTuple new_row_form(NewRow *row, const CapturedRelation *cr,
							  RowClockData *clock);
static HeapTuple replace_last(HeapTuple tuple, TupleTableSlot *slot,
							  const struct varlena *value);
static void keep_old_clock(CapturedRelation *cr, NewRow *row,
						   TupleTableSlot *old_slot);
static void keep_old_sets(CapturedRelation *cr, NewRow *row,
						  TupleTableSlot *old_slot, const Bitmapset *changes);
static void retag_set(OrSet *set, Datum new_value, const OrSetTag *tag,
					  uint64 seen_up_to);
static OrSetItem *set_difference(const OrSet *a, const OrSet *b, int *nitems);
static bool every_tag(const OrSetTag *tag, void *arg);
static void tag_set(CapturedRelation *cr, NewRow *row, TupleTableSlot *old_slot,
					int column, const Stamp *stamp);

/* ----------------------------------------------------------------
 * Entry points
 * ---------------------------------------------------------------- */

Datum
sync_capture(PG_FUNCTION_ARGS)
{
	TriggerData *trigdata = (TriggerData *) fcinfo->context;
	CapturedRelation *cr;
	HeapTuple	result;

	check_trigger(fcinfo, "sync_capture");
	if (!TRIGGER_FIRED_FOR_ROW(trigdata->tg_event) ||
		!TRIGGER_FIRED_BEFORE(trigdata->tg_event))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("function \"%s\" must be fired BEFORE ROW",
						"sync_capture")));
	result = TRIGGER_FIRED_BY_UPDATE(trigdata->tg_event) ?
		trigdata->tg_newtuple : trigdata->tg_trigtuple;
	if (!capture_is_on)
		return PointerGetDatum(result);

	cr = get_relation(fcinfo, trigdata);
	if (TRIGGER_FIRED_BY_INSERT(trigdata->tg_event))
		result = capture_insert(cr, trigdata);
	else if (TRIGGER_FIRED_BY_UPDATE(trigdata->tg_event))
		result = capture_update(cr, trigdata);
	else
		capture_delete(cr, trigdata->tg_trigslot);
	return PointerGetDatum(result);
}

/*
 * TRUNCATE is the deletion of every row: of those that it will really remove,
 * so they are read with a snapshot taken under its lock.
 */
Datum
sync_capture_truncate(PG_FUNCTION_ARGS)
{
	TriggerData *trigdata = (TriggerData *) fcinfo->context;
	CapturedRelation *cr;
	TableScanDesc scan;
	TupleTableSlot *slot;
	Snapshot	snapshot;
	MemoryContext row_context;
	MemoryContext old_context;

	check_trigger(fcinfo, "sync_capture_truncate");
	if (!TRIGGER_FIRED_FOR_STATEMENT(trigdata->tg_event) ||
		!TRIGGER_FIRED_BEFORE(trigdata->tg_event) ||
		!TRIGGER_FIRED_BY_TRUNCATE(trigdata->tg_event))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("function \"%s\" must be fired BEFORE TRUNCATE FOR EACH STATEMENT",
						"sync_capture_truncate")));
	if (!capture_is_on ||
		!RELKIND_HAS_STORAGE(trigdata->tg_relation->rd_rel->relkind))
		return PointerGetDatum(NULL);

	cr = get_relation(fcinfo, trigdata);
	row_context = AllocSetContextCreate(CurrentMemoryContext,
										"offline_sync truncate",
										ALLOCSET_DEFAULT_SIZES);
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	slot = table_slot_create(trigdata->tg_relation, NULL);
	scan = table_beginscan(trigdata->tg_relation, snapshot, 0, NULL);
	while (table_scan_getnextslot(scan, ForwardScanDirection, slot))
	{
		CHECK_FOR_INTERRUPTS();
		old_context = MemoryContextSwitchTo(row_context);
		capture_delete(cr, slot);
		MemoryContextSwitchTo(old_context);
		MemoryContextReset(row_context);
	}
	table_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
	UnregisterSnapshot(snapshot);
	MemoryContextDelete(row_context);
	return PointerGetDatum(NULL);
}

Datum
sync_set_capture(PG_FUNCTION_ARGS)
{
	capture_is_on = PG_GETARG_BOOL(0);
	PG_RETURN_VOID();
}

static void
check_trigger(FunctionCallInfo fcinfo, const char *function)
{
	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("function \"%s\" was not called by trigger manager",
						function)));
	if (((TriggerData *) fcinfo->context)->tg_trigger->tgnargs != 1)
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("function \"%s\" must be given the id of a tracked table",
						function)));
}

static CapturedRelation *
get_relation(FunctionCallInfo fcinfo, TriggerData *trigdata)
{
	if (fcinfo->flinfo->fn_extra == NULL)
		fcinfo->flinfo->fn_extra =
			captured_relation_make(fcinfo->flinfo->fn_mcxt,
								   trigdata->tg_relation,
								   trigdata->tg_trigger->tgargs[0]);
	return fcinfo->flinfo->fn_extra;
}

/* ----------------------------------------------------------------
 * The three kinds of writes
 * ---------------------------------------------------------------- */

static HeapTuple
capture_insert(CapturedRelation *cr, TriggerData *trigdata)
{
	NewRow		row = {trigdata->tg_trigtuple, trigdata->tg_trigslot};
	RowClockData *clock;
	RowName		name;

	if (!captured_row_name(cr, row.slot, &name))
		return row.tuple;		/* a NULL in the key, about to fail */
	clock = insert_clock(cr, &row,
						 write_set_take(cr->table->table_id, name.key.data,
										name.key.len, false));
	log_row(cr, &name);
	note_row(cr, &name);
	return new_row_form(&row, cr, clock);
}

static HeapTuple
capture_update(CapturedRelation *cr, TriggerData *trigdata)
{
	TupleTableSlot *old_slot = trigdata->tg_trigslot;
	NewRow		row = {trigdata->tg_newtuple, trigdata->tg_newslot};
	Bitmapset  *changes = captured_row_changes(cr, old_slot, row.slot);
	PlannedWrite *planned = NULL;
	RowClockData *clock;
	Stamp		stamp;
	RowName		old_name;
	RowName		new_name;
	bool		is_renamed;

	if (changes == NULL && write_set_is_empty())
	{
		keep_old_sets(cr, &row, old_slot, NULL);
		keep_old_clock(cr, &row, old_slot);
		return new_row_form(&row, cr, NULL);
	}

	if (!captured_row_name(cr, old_slot, &old_name))
		return row.tuple;		/* cannot be: it is stored */
	is_renamed = name_has_changed(cr, changes);
	if (!is_renamed)
		new_name = old_name;
	else if (!captured_row_name(cr, row.slot, &new_name))
		return row.tuple;		/* a NULL in the key, about to fail */
	planned = write_set_take(cr->table->table_id, old_name.key.data,
							 old_name.key.len, false);

	/* an apply changes tags, too, where the elements stay the same */
	keep_old_sets(cr, &row, old_slot, planned == NULL ? changes :
				  bms_union(changes, planned->written));
	if (key_has_changed(cr, changes, &old_name, &new_name))
	{
		RowClock   *old_clock = captured_row_clock(cr, old_slot);

		write_set_note_other(cr->table->table_id, new_name.key.data,
							 new_name.key.len);
		clock = row_clock_pack(fresh_clock(cr, &row, row_clock_max_hlc(old_clock),
										   &stamp));
		bury_row(cr, old_slot, &old_name);
	}
	else
		clock = update_clock(cr, &row, old_slot, planned, changes);
	if (changes != NULL || planned != NULL)
	{
		if (is_renamed)
			log_row(cr, &old_name);
		log_row(cr, &new_name);
		note_row(cr, &new_name);
	}
	return new_row_form(&row, cr, clock);
}

static void
capture_delete(CapturedRelation *cr, TupleTableSlot *slot)
{
	PlannedWrite *planned;
	RowName		name;

	if (!captured_row_name(cr, slot, &name))
		return;					/* cannot be: it is stored */
	planned = write_set_take(cr->table->table_id, name.key.data, name.key.len,
							 true);
	if (planned == NULL)
		bury_row(cr, slot, &name);
	else
		tombstone_put(cr->table->table_id, name.key.data, name.key.len,
					  name.scope, planned->clock, planned->known_to,
					  captured_row_image(cr, slot), false);
	log_row(cr, &name);
}

/* ----------------------------------------------------------------
 * Clocks
 * ---------------------------------------------------------------- */

/*
 * What a trigger put into a column that the device left out, and that has no
 * default, is the node's write.
 */
static RowClockData *
insert_clock(CapturedRelation *cr, NewRow *row, const PlannedWrite *planned)
{
	RowClockData *made;
	Stamp		stamp;

	if (planned != NULL)
	{
		if (cr->table->has_before_insert)
			stamp_changes(cr, row, NULL, planned->clock,
						  unasked_values(cr, row->slot, planned), &stamp);
		return row_clock_pack(planned->clock);
	}
	made = clock_memo_find(&cr->inserted, (Datum) 0, true, NULL);
	if (made != NULL)
		return made;
	made = row_clock_pack(fresh_clock(cr, row, HLC_MIN, &stamp));
	if (!cr->table->has_counters_or_sets)
		clock_memo_keep(&cr->inserted, cr->context, (Datum) 0, true, NULL,
						HLC_MIN, &stamp, made);
	return made;
}

static RowClockData *
update_clock(CapturedRelation *cr, NewRow *row, TupleTableSlot *old_slot,
			 const PlannedWrite *planned, const Bitmapset *changes)
{
	bool		isnull;
	Datum		old;
	RowClock   *clock;
	Hlc			newest;
	Stamp		stamp;
	RowClockData *made;

	if (planned != NULL)
	{
		/* columns that the announced statement does not set are the node's */
		stamp_changes(cr, row, old_slot, planned->clock,
					  bms_difference(changes, planned->written), &stamp);
		return row_clock_pack(planned->clock);
	}
	old = slot_getattr(old_slot, cr->clock_attnum, &isnull);
	made = clock_memo_find(&cr->updated, old, isnull, changes);
	if (made != NULL)
		return made;
	clock = captured_row_clock(cr, old_slot);
	newest = row_clock_max_hlc(clock);
	stamp_changes(cr, row, old_slot, clock, changes, &stamp);
	if (changes != NULL && ROW_RULES_KEEP_STAMP(&cr->table->rules))
		stamp_row(cr, clock, changes);
	made = row_clock_pack(clock);
	if (changes != NULL && !cr->table->has_counters_or_sets)
		clock_memo_keep(&cr->updated, cr->context, old, isnull, changes,
						newest, &stamp, made);
	return made;
}

/* A write by SQL is the row's last, and had seen all that were before. */
static void
stamp_row(CapturedRelation *cr, RowClock *clock, const Bitmapset *changes)
{
	int			i = -1;

	while ((i = bms_next_member(changes, i)) >= 0)
	{
		const SyncColumn *column = &cr->table->columns[i];

		if (!column->is_key)
		{
			Stamp		stamp = *row_clock_get(clock, column->column_id);

			row_clock_set(clock, SYNC_ROW_STAMP_ID(cr->table), &stamp);
			return;
		}
	}
}

/* The clock of a row that is new, with a stamp later than "after". */
static RowClock *
fresh_clock(CapturedRelation *cr, NewRow *row, Hlc after, Stamp *stamp)
{
	SyncTable  *t = cr->table;
	int			i;

	sync_node_row_stamp(stamp, after, false);
	if (t->has_counters_or_sets)
	{
		for (i = 0; i < t->ncolumns; i++)
			if (t->columns[i].value_class == VALUE_ORSET)
				tag_set(cr, row, NULL, i, stamp);
	}
	return row_clock_create_whole(CurrentMemoryContext, t->max_column_id, stamp);
}

/* Give the changed columns one stamp, later than all that the clock has. */
static void
stamp_changes(CapturedRelation *cr, NewRow *row, TupleTableSlot *old_slot,
			  RowClock *clock, const Bitmapset *changes, Stamp *stamp)
{
	int			i = -1;

	if (bms_is_empty(changes))
		return;
	sync_node_row_stamp(stamp, row_clock_max_hlc(clock), false);
	while ((i = bms_next_member(changes, i)) >= 0)
	{
		SyncColumn *column = &cr->table->columns[i];

		if (column->is_key)
			continue;			/* another spelling of the same key */
		if (column->policy == POLICY_JSON && old_slot != NULL)
			stamp_object(cr, row, old_slot, clock, i, stamp);
		else
			row_clock_set(clock, column->column_id, stamp);
		if (i == cr->table->scope_column)
			row_clock_set_scope(clock, stamp);
		if (column->value_class == VALUE_ORSET)
			tag_set(cr, row, old_slot, i, stamp);
	}
}

static void
stamp_object(CapturedRelation *cr, NewRow *row, TupleTableSlot *old_slot,
			 RowClock *clock, int column, const Stamp *stamp)
{
	bool		old_isnull;
	bool		new_isnull;
	Datum		old_value = captured_row_value(cr, old_slot, column, &old_isnull);
	Datum		new_value = captured_row_value(cr, row->slot, column, &new_isnull);

	captured_object_stamp(clock, cr->table->columns[column].column_id,
						  old_value, old_isnull, new_value, new_isnull, stamp);
}

static Bitmapset *
unasked_values(CapturedRelation *cr, TupleTableSlot *slot,
			   const PlannedWrite *planned)
{
	Bitmapset  *result = NULL;
	int			i;

	for (i = 0; i < cr->table->ncolumns; i++)
	{
		const SyncColumn *column = &cr->table->columns[i];
		bool		isnull;

		if (column->is_key || column->is_generated || column->has_default ||
			bms_is_member(i, planned->written) ||
			row_clock_get(planned->clock, column->column_id) != NULL)
			continue;
		(void) captured_row_value(cr, slot, i, &isnull);
		if (!isnull)
			result = bms_add_member(result, i);
	}
	return result;
}

/* Is the key or the scope among the changes? */
static bool
name_has_changed(const CapturedRelation *cr, const Bitmapset *changes)
{
	for (int i = 0; i < cr->table->nkeys; i++)
	{
		if (bms_is_member(cr->table->key[i], changes))
			return true;
	}
	return cr->table->scope_column >= 0 &&
		bms_is_member(cr->table->scope_column, changes);
}

static bool
key_has_changed(const CapturedRelation *cr, const Bitmapset *changes,
				const RowName *old_name, const RowName *new_name)
{
	int			i;

	for (i = 0; i < cr->table->nkeys; i++)
		if (bms_is_member(cr->table->key[i], changes))
			return old_name->key.len != new_name->key.len ||
				memcmp(old_name->key.data, new_name->key.data,
					   new_name->key.len) != 0;
	return false;
}

/* ----------------------------------------------------------------
 * Log and tombstones
 * ---------------------------------------------------------------- */

static void
log_row(const CapturedRelation *cr, const RowName *name)
{
	if (name->scope != NULL)
		change_log_add(name->scope, cr->table->table_id, name->key.data,
					   name->key.len);
}

/* A change that waits may have waited for this row. */
static void
note_row(const CapturedRelation *cr, const RowName *name)
{
	if (cr->is_watched)
		waiting_note_row(cr->table->table_id, name->key.data, name->key.len);
}

/*
 * Leave a tombstone, whose floor is a stamp of this deletion.  It stands for all
 * deletes before it: the node knew of them, and who knows of this one need not
 * have known of those.
 */
static void
bury_row(CapturedRelation *cr, TupleTableSlot *slot, const RowName *name)
{
	bool		isnull;
	Datum		old = slot_getattr(slot, cr->clock_attnum, &isnull);
	RowClockData *made = clock_memo_find(&cr->deleted, old, isnull, NULL);

	if (made == NULL)
	{
		RowClock   *clock = captured_row_clock(cr, slot);
		Hlc			newest = row_clock_max_hlc(clock);
		Stamp		stamp;

		sync_node_row_stamp(&stamp, newest, true);
		clock->nfloor = 0;
		row_clock_add_floor(clock, &stamp);
		made = row_clock_pack(clock);
		clock_memo_keep(&cr->deleted, cr->context, old, isnull, NULL, newest,
						&stamp, made);
	}
	tombstone_put_packed(cr->table->table_id, name->key.data, name->key.len,
						 name->scope, made, PG_UINT64_MAX,
						 captured_row_image(cr, slot), false);
}

/* ----------------------------------------------------------------
 * The new version of the row
 * ---------------------------------------------------------------- */

static void
new_row_set(NewRow *row, AttrNumber attnum, Datum value, bool isnull)
{
	if (row->values == NULL)
	{
		int			natts = row->slot->tts_tupleDescriptor->natts;

		slot_getallattrs(row->slot);
		row->values = palloc(natts * sizeof(Datum));
		row->nulls = palloc(natts * sizeof(bool));
		memcpy(row->values, row->slot->tts_values, natts * sizeof(Datum));
		memcpy(row->nulls, row->slot->tts_isnull, natts * sizeof(bool));
	}
	row->values[attnum - 1] = value;
	row->nulls[attnum - 1] = isnull;
}

/*
 * As heap_modify_tuple() does it, without taking the tuple apart once more.  With
 * this clock, or where that is NULL the one that it has.
 */
static HeapTuple
new_row_form(NewRow *row, const CapturedRelation *cr, RowClockData *clock)
{
	HeapTuple	tuple;

	if (clock != NULL && row->values == NULL &&
		cr->clock_attnum == row->slot->tts_tupleDescriptor->natts)
	{
		tuple = replace_last(row->tuple, row->slot, clock);
		if (tuple != NULL)
			return tuple;
	}
	if (clock != NULL)
		new_row_set(row, cr->clock_attnum, RowClockPGetDatum(clock), false);
	if (row->values == NULL)
		return row->tuple;
	tuple = heap_form_tuple(row->slot->tts_tupleDescriptor, row->values,
							row->nulls);
	tuple->t_data->t_ctid = row->tuple->t_data->t_ctid;
	tuple->t_self = row->tuple->t_self;
	tuple->t_tableOid = row->tuple->t_tableOid;
	return tuple;
}

/*
 * A copy of a tuple, as heap_form_tuple() made it, with another value of its last
 * column, which stands behind all the others: so they need not be looked at.  NULL
 * where it is not as simple as that.
 */
static HeapTuple
replace_last(HeapTuple tuple, TupleTableSlot *slot, const struct varlena *value)
{
	HeapTupleHeader old = tuple->t_data;
	int			natts = slot->tts_tupleDescriptor->natts;
	int			nullslen = BITMAPLEN(natts);
	bool		has_nulls = false;
	char	   *end = (char *) old + tuple->t_len;
	bits8		nulls[(MaxHeapAttributeNumber + BITS_PER_BYTE - 1) / BITS_PER_BYTE];
	HeapTuple	result;
	HeapTupleHeader header;
	int			hoff;
	int			len;
	char	   *p;

	if (!VARATT_CAN_MAKE_SHORT(value) || HeapTupleHeaderGetNatts(old) != natts ||
		HeapTupleHeaderGetDatumLength(old) != tuple->t_len ||
		HeapTupleHeaderGetTypeId(old) != slot->tts_tupleDescriptor->tdtypeid)
		return NULL;
	if (!(old->t_infomask & HEAP_HASNULL) || !att_isnull(natts - 1, old->t_bits))
	{
		bool		isnull;

		end = DatumGetPointer(slot_getattr(slot, natts, &isnull));
		if (isnull || end < (char *) old + old->t_hoff ||
			end >= (char *) old + tuple->t_len || !VARATT_IS_SHORT(end))
			return NULL;
	}
	if (old->t_infomask & HEAP_HASNULL)
	{
		memcpy(nulls, old->t_bits, nullslen);
		nulls[nullslen - 1] |= 1 << ((natts - 1) & 0x07);
		for (int i = 0; i < nullslen; i++)
		{
			bits8		all = i < nullslen - 1 || (natts & 0x07) == 0 ? 0xFF :
			(1 << (natts & 0x07)) - 1;

			has_nulls |= nulls[i] != all;
		}
	}

	hoff = MAXALIGN(SizeofHeapTupleHeader + (has_nulls ? nullslen : 0));
	len = end - ((char *) old + old->t_hoff);
	result = palloc(HEAPTUPLESIZE + hoff + len + VARATT_CONVERTED_SHORT_SIZE(value));
	result->t_len = hoff + len + VARATT_CONVERTED_SHORT_SIZE(value);
	result->t_self = tuple->t_self;
	result->t_tableOid = tuple->t_tableOid;
	header = result->t_data = (HeapTupleHeader) ((char *) result + HEAPTUPLESIZE);
	memset(header, 0, hoff);
	memcpy(header, old, SizeofHeapTupleHeader);
	HeapTupleHeaderSetDatumLength(header, result->t_len);
	header->t_infomask &= ~HEAP_HASNULL;
	header->t_infomask |= HEAP_HASVARWIDTH | (has_nulls ? HEAP_HASNULL : 0);
	header->t_hoff = hoff;
	if (has_nulls)
		memcpy(header->t_bits, nulls, nullslen);

	p = (char *) header + hoff;
	memcpy(p, (char *) old + old->t_hoff, len);
	p += len;
	SET_VARSIZE_SHORT(p, VARATT_CONVERTED_SHORT_SIZE(value));
	memcpy(p + VARHDRSZ_SHORT, VARDATA(value), VARSIZE(value) - VARHDRSZ);
	return result;
}

/* Nothing has changed: undo an assignment to the clock. */
static void
keep_old_clock(CapturedRelation *cr, NewRow *row, TupleTableSlot *old_slot)
{
	bool		old_isnull;
	bool		new_isnull;
	Datum		old_clock = slot_getattr(old_slot, cr->clock_attnum, &old_isnull);
	Datum		new_clock = slot_getattr(row->slot, cr->clock_attnum, &new_isnull);

	if (old_isnull != new_isnull ||
		(!old_isnull && !datum_image_eq(old_clock, new_clock, false, -1)))
		new_row_set(row, cr->clock_attnum, old_clock, old_isnull);
}

/* A set with the same elements is the same set, whatever its tags: keep OLD's. */
static void
keep_old_sets(CapturedRelation *cr, NewRow *row, TupleTableSlot *old_slot,
			  const Bitmapset *changes)
{
	SyncTable  *t = cr->table;
	int			i;

	if (!t->has_counters_or_sets)
		return;
	for (i = 0; i < t->ncolumns; i++)
	{
		bool		old_isnull;
		bool		new_isnull;
		Datum		old_value;
		Datum		new_value;

		if (t->columns[i].value_class != VALUE_ORSET ||
			bms_is_member(i, changes))
			continue;
		old_value = captured_row_value(cr, old_slot, i, &old_isnull);
		new_value = captured_row_value(cr, row->slot, i, &new_isnull);
		if (!old_isnull && !datum_image_eq(old_value, new_value, false, -1))
			new_row_set(row, cr->attnums[i], old_value, false);
	}
}

/* ----------------------------------------------------------------
 * Sets
 * ---------------------------------------------------------------- */

/*
 * A set written by SQL is what its elements say: those that the row's old set
 * lacks get this write's tag, the others keep theirs.
 */
static void
tag_set(CapturedRelation *cr, NewRow *row, TupleTableSlot *old_slot,
		int column, const Stamp *stamp)
{
	OrSetTag	tag = {stamp->node, stamp->xid};
	bool		old_isnull = true;
	bool		new_isnull;
	Datum		old_value = (Datum) 0;
	Datum		new_value = captured_row_value(cr, row->slot, column, &new_isnull);
	uint64		seen_up_to = 0;
	OrSet	   *set;

	if (new_isnull)
		return;
	if (old_slot != NULL)
		old_value = captured_row_value(cr, old_slot, column, &old_isnull);

	/*
	 * The row is locked: what transactions before the horizon added to it is
	 * in the old set, or was taken out again.
	 */
	if (ActiveSnapshotSet())
		seen_up_to = sync_snapshot_horizon(GetActiveSnapshot()) - 1;
	set = old_isnull ? orset_create(CurrentMemoryContext) :
		orset_unpack(CurrentMemoryContext, DatumGetOrSetP(old_value));
	retag_set(set, new_value, &tag, seen_up_to);
	new_row_set(row, cr->attnums[column], OrSetPGetDatum(orset_pack(set)), false);
}

static void
retag_set(OrSet *set, Datum new_value, const OrSetTag *tag, uint64 seen_up_to)
{
	OrSet	   *wanted = orset_unpack(CurrentMemoryContext,
									  DatumGetOrSetP(new_value));
	int			nadded;
	int			nremoved;
	OrSetItem  *added = set_difference(wanted, set, &nadded);
	OrSetItem  *removed = set_difference(set, wanted, &nremoved);

	if (nremoved > 0)
		orset_remove_all_seen(set, removed, nremoved, every_tag, NULL);
	if (nadded > 0)
		orset_add_tag_to_all(set, added, nadded, tag, seen_up_to);
}

/* The elements of a that b has not. */
static OrSetItem *
set_difference(const OrSet *a, const OrSet *b, int *nitems)
{
	OrSetItem  *items = palloc(Max(a->nelements, 1) * sizeof(OrSetItem));
	int			i;

	*nitems = 0;
	for (i = 0; i < a->nelements; i++)
	{
		const OrSetElement *element = &a->elements[i];

		if (orset_find(b, element->data, element->len) < 0)
		{
			items[*nitems].data = element->data;
			items[(*nitems)++].len = element->len;
		}
	}
	return items;
}

static bool
every_tag(const OrSetTag *tag, void *arg)
{
	return true;
}
