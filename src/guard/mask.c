/*-------------------------------------------------------------------------
 *
 * mask.c
 *	  Columns that are not accepted from devices of a class, or not served to
 *	  them.
 *
 * Whether a table has masks at all is kept with its description, which a change of
 * masks invalidates; the masks themselves are read for each call, under the snapshot
 * that the call works with.  A page so never claims the position at which a mask was
 * lifted while it still goes by that mask.
 *
 * The lifting of a mask is an event, as a grant is: a device that does not cover its
 * position has pulled rows without the column, and gets them again.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/relation.h"
#include "access/stratnum.h"
#include "access/table.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "guard/mask.h"
#include "log/change_log.h"
#include "log/node.h"
#include "log/state.h"
#include "miscadmin.h"
#include "registry/table_registry.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/xid8.h"

/* offline_sync.column_mask */
#define ANUM_MASK_TABLE_ID		1
#define ANUM_MASK_COLUMN_ID		2
#define ANUM_MASK_CLASS			3
#define ANUM_MASK_CAN_PUSH		4
#define ANUM_MASK_CAN_PULL		5
#define ANUM_MASK_SHOWN_NODE	6
#define ANUM_MASK_SHOWN_XID		7
#define NATTS_MASK				7

/* A row of column_mask */
typedef struct Mask
{
	int			column_id;
	char	   *device_class;	/* NULL: every class */
	bool		can_push;
	bool		can_pull;
	int32		shown_node;		/* 0: never */
	uint64		shown_xid;
} Mask;

static const SyncColumn *maskable_column(const SyncTable *t, const char *name,
										 bool pull);
static bool set_mask(const SyncTable *t, const SyncColumn *c, text *device_class,
					 bool push, bool pull);
static List *read_masks(int32 table_id, Snapshot snapshot);
static Mask *form_mask(HeapTuple tuple, TupleDesc desc);
static void add_mask(ColumnMasks *masks, const SyncTable *t, const Mask *mask,
					 const char *device_class);

PG_FUNCTION_INFO_V1(sync_mask_columns);

/*
 * sync_mask_columns(relation regclass, columns name[], class text, push boolean,
 *					 pull boolean)
 */
Datum
sync_mask_columns(PG_FUNCTION_ARGS)
{
	Oid			relid;
	text	   *device_class = PG_ARGISNULL(2) ? NULL : PG_GETARG_TEXT_PP(2);
	const SyncTable *t;
	Datum	   *names;
	bool	   *nulls;
	int			nnames;
	bool		is_shown = false;

	PreventCommandIfReadOnly("sync_mask_columns()");
	PreventCommandDuringRecovery("sync_mask_columns()");
	if (PG_ARGISNULL(0) || PG_ARGISNULL(1) || PG_ARGISNULL(3) || PG_ARGISNULL(4))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("relation, columns, push and pull must not be null")));
	relid = PG_GETARG_OID(0);
	relation_close(sync_table_open_own(relid, ShareRowExclusiveLock), NoLock);
	t = sync_table_enabled(relid);
	deconstruct_array(PG_GETARG_ARRAYTYPE_P(1), NAMEOID, NAMEDATALEN, false,
					  TYPALIGN_CHAR, &names, &nulls, &nnames);
	for (int i = 0; i < nnames; i++)
	{
		const SyncColumn *c;

		CHECK_FOR_INTERRUPTS();
		if (nulls[i])
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("a column's name must not be null")));
		c = maskable_column(t, NameStr(*DatumGetName(names[i])), PG_GETARG_BOOL(4));
		is_shown |= set_mask(t, c, device_class, PG_GETARG_BOOL(3), PG_GETARG_BOOL(4));
	}

	/* give it a position that vectors can come to cover */
	if (is_shown)
	{
		char	   *key = psprintf("%d", t->table_id);

		change_log_add(NULL, CHANGE_LOG_EVENT, key, strlen(key));
	}
	sync_table_invalidate(relid);
	PG_RETURN_VOID();
}

static const SyncColumn *
maskable_column(const SyncTable *t, const char *name, bool pull)
{
	int			column = sync_column_by_name(t, name, strlen(name));

	if (column < 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_COLUMN),
				 errmsg("column \"%s\" of table \"%s\" does not exist or is not kept in sync",
						name, t->table_name)));
	if (t->columns[column].is_key || (column == t->scope_column && !pull))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("column \"%s\" of table \"%s\" cannot be masked",
						name, t->table_name),
				 t->columns[column].is_key ?
				 errdetail("It belongs to the primary key.") :
				 errdetail("It holds the scope, which a device is told with each row.")));
	return &t->columns[column];
}

/* True: a column that was not served is from now on. */
static bool
set_mask(const SyncTable *t, const SyncColumn *c, text *device_class,
		 bool push, bool pull)
{
	static const char *const command =
	"INSERT INTO offline_sync.column_mask AS m"
	" (table_id, column_id, class, can_push, can_pull)"
	" VALUES ($1, $2, $3, $4, $5)"
	" ON CONFLICT (table_id, column_id, class) DO UPDATE"
	" SET can_push = excluded.can_push, can_pull = excluded.can_pull,"
	" shown_node = CASE WHEN excluded.can_pull AND NOT m.can_pull THEN $6"
	" ELSE m.shown_node END,"
	" shown_xid = CASE WHEN excluded.can_pull AND NOT m.can_pull THEN $7"
	" ELSE m.shown_xid END"
	" RETURNING shown_node = $6 AND shown_xid = $7";
	Oid			types[] = {INT4OID, INT4OID, TEXTOID, BOOLOID, BOOLOID, INT4OID, XID8OID};
	Datum		values[lengthof(types)];
	char		nulls[] = "       ";
	StateUser	saved;
	bool		isnull;
	bool		result;

	values[0] = Int32GetDatum(t->table_id);
	values[1] = Int32GetDatum(c->column_id);
	values[2] = PointerGetDatum(device_class);
	nulls[2] = device_class == NULL ? 'n' : ' ';
	values[3] = BoolGetDatum(push);
	values[4] = BoolGetDatum(pull);
	values[5] = Int32GetDatum(sync_node_id());
	values[6] = FullTransactionIdGetDatum(GetTopFullTransactionId());
	SPI_connect();
	state_become_owner(&saved);
	if (SPI_execute_with_args(command, lengthof(types), types, values, nulls,
							  false, 0) != SPI_OK_INSERT_RETURNING)
		elog(ERROR, "could not store a mask");
	result = DatumGetBool(SPI_getbinval(SPI_tuptable->vals[0],
										SPI_tuptable->tupdesc, 1, &isnull));
	state_restore_user(&saved);
	SPI_finish();
	return !isnull && result;
}

/* ---- for push and pull ---- */

bool
guard_has_masks(SyncTable *t)
{
	if (t->masks_state == 0)
	{
		Snapshot	latest = RegisterSnapshot(GetLatestSnapshot());

		t->masks_state = read_masks(t->table_id, latest) == NIL ? -1 : 1;
		UnregisterSnapshot(latest);
	}
	return t->masks_state > 0;
}

ColumnMasks *
guard_masks(SyncTable *t, const char *device_class, Snapshot snapshot)
{
	ColumnMasks *result;
	List	   *masks;
	ListCell   *cell;

	if (!guard_has_masks(t))
		return NULL;
	masks = read_masks(t->table_id, snapshot);
	if (masks == NIL)
		return NULL;

	result = palloc0(sizeof(ColumnMasks));
	result->shown = palloc(list_length(masks) * sizeof(MaskEvent));
	foreach(cell, masks)
		add_mask(result, t, lfirst(cell), device_class);
	return result;
}

static void
add_mask(ColumnMasks *masks, const SyncTable *t, const Mask *mask,
		 const char *device_class)
{
	int			column = sync_column_by_id(t, mask->column_id);

	if (column < 0)
		return;
	if (mask->device_class != NULL && (!mask->can_pull || mask->shown_node != 0))
		masks->is_by_class = true;
	if (mask->device_class != NULL &&
		(device_class == NULL || strcmp(mask->device_class, device_class) != 0))
		return;
	if (!mask->can_push)
		masks->no_push = bms_add_member(masks->no_push, column);
	if (!mask->can_pull)
		masks->no_pull = bms_add_member(masks->no_pull, column);
	else if (mask->shown_node != 0)
	{
		masks->shown[masks->nshown].node = mask->shown_node;
		masks->shown[masks->nshown++].xid = mask->shown_xid;
	}
}

bool
guard_hides_columns(const char *device_class, Snapshot snapshot)
{
	int			ntables;
	SyncTable **tables = sync_table_list(&ntables);

	for (int i = 0; i < ntables; i++)
	{
		ColumnMasks *masks = guard_masks(tables[i], device_class, snapshot);

		if (masks != NULL && masks->no_pull != NULL)
			return true;
	}
	return false;
}

/* Of Mask */
static List *
read_masks(int32 table_id, Snapshot snapshot)
{
	Relation	rel = state_open("column_mask", AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;
	List	   *result = NIL;

	state_check_columns(RelationGetDescr(rel), NATTS_MASK);
	ScanKeyInit(&key, ANUM_MASK_TABLE_ID, BTEqualStrategyNumber, F_INT4EQ,
				Int32GetDatum(table_id));
	scan = systable_beginscan(rel, state_index("column_mask_column"), true, snapshot,
							  1, &key);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
		result = lappend(result, form_mask(tuple, RelationGetDescr(rel)));
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return result;
}

static Mask *
form_mask(HeapTuple tuple, TupleDesc desc)
{
	Mask	   *mask = palloc0(sizeof(Mask));
	Datum		values[NATTS_MASK];
	bool		nulls[NATTS_MASK];

	heap_deform_tuple(tuple, desc, values, nulls);
	mask->column_id = DatumGetInt32(values[ANUM_MASK_COLUMN_ID - 1]);
	if (!nulls[ANUM_MASK_CLASS - 1])
		mask->device_class = TextDatumGetCString(values[ANUM_MASK_CLASS - 1]);
	mask->can_push = DatumGetBool(values[ANUM_MASK_CAN_PUSH - 1]);
	mask->can_pull = DatumGetBool(values[ANUM_MASK_CAN_PULL - 1]);
	if (!nulls[ANUM_MASK_SHOWN_NODE - 1])
	{
		mask->shown_node = DatumGetInt32(values[ANUM_MASK_SHOWN_NODE - 1]);
		mask->shown_xid =
			U64FromFullTransactionId(DatumGetFullTransactionId(values[ANUM_MASK_SHOWN_XID - 1]));
	}
	return mask;
}
