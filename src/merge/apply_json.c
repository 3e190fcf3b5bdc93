/*-------------------------------------------------------------------------
 *
 * apply_json.c
 *	  Third step of an apply, objects that are merged key by key.
 *
 * Each key is a register: the later write stays, a removal ("remove") being a
 * write too.  Removed keys keep their stamp, so that a write that comes late
 * loses against it.
 *
 * "set" says what the object is, and its writer did not name the keys that it
 * dropped: they are those that it had seen and that are not in it.  Such a key
 * goes, but keeps the stamp of its last write, for the writer of the set wrote
 * nothing to it: a concurrent write of the key is judged against that one, and
 * where it prevails the key is there again.  So the outcome is the greatest write
 * of each key, gone if somebody who had seen that write dropped it, whatever the
 * order of arrival.
 *
 * A row's objects stay unpacked until the push has been decided.  Their keys are
 * then in a tree, and not in the row's clock.  The keys that a "set" may drop are
 * also in a list, so that a change costs no more than what it writes, however
 * large the object is.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "lib/ilist.h"
#include "lib/rbtree.h"
#include "merge/apply.h"
#include "miscadmin.h"
#include "registry/json_object.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/memutils.h"

/* Of one cell, conflicts with so many bytes of values are recorded in one push */
#define MAX_CONFLICT_SIZE	(1024 * 1024)

/* A key, in the object or removed from it */
typedef struct ObjectKey
{
	RBTNode		node;			/* first */
	const char *data;
	int			len;
	bool		is_present;
	bool		is_known;		/* the device had seen the stamp */
	uint32		sent;			/* number of the latest change that has it */
	const Stamp *stamp;			/* NULL: nobody wrote it */
	JsonbValue	value;			/* where present */
	dlist_node	link;			/* of droppable, where known and present */
} ObjectKey;

struct ApplyObject
{
	MemoryContext context;
	RBTree	   *keys;
	int			nkeys;
	int			npresent;
	dlist_head	droppable;		/* the keys that a set may drop */
	bool		is_scope_seen;	/* the row's, when what is known was found */
	bool		in_clock;		/* the clock has the keys as they are here */
	uint32		nchanges;
	Size		conflict_size;	/* of the conflicts recorded */
	Datum		packed;			/* the value, or 0 where that has changed */
};

/* What a change writes to one key */
typedef struct KeyWrite
{
	const char *data;
	int			len;
	bool		is_removal;
	JsonbValue	value;
	bool		wins;
	ObjectKey  *key;			/* NULL: there was none */
} KeyWrite;

static bool is_open(ApplyState *state, const ApplyRow *row,
					const ApplyCell *cell);
static ApplyObject *changing_object(ApplyState *state, ApplyRow *row, int column);
static void load_object(ApplyObject *object, ApplyRow *row, int column);
static void load_key(ApplyObject *object, const char *data, int len,
					 const JsonbValue *value, const Stamp *stamp);
static void find_known(ApplyState *state, ApplyRow *row, ApplyObject *object);
static KeyWrite *key_writes(const ApplyCell *cell, int *nwrites);
static int	decide_writes(ApplyObject *object, const Stamp *stamp,
						  KeyWrite *writes, int nwrites);
static void note_conflict(ApplyState *state, ApplyChange *change, ApplyRow *row,
						  ApplyCell *cell, ApplyObject *object,
						  const KeyWrite *writes, int nwrites);
static bool is_disputed(const KeyWrite *write);
static void write_key(ApplyObject *object, const KeyWrite *write,
					  const Stamp *stamp);
static void remove_key(ApplyObject *object, ObjectKey *key);
static int	drop_unsent(ApplyObject *object);
static void put_in_clock(ApplyRow *row, int column);
static Datum pack_object(ApplyObject *object);
static JsonbValue *push_members(ApplyObject *object);
static int	compare_keys(const RBTNode *a, const RBTNode *b, void *arg);
static void keep_key(RBTNode *existing, const RBTNode *new, void *arg);
static RBTNode *alloc_key(void *arg);

void
apply_merge_json(ApplyState *state, ApplyChange *change, ApplyRow *row,
				 ApplyCell *cell, CellTally *tally)
{
	SyncColumn *column = &row->table->columns[cell->column];
	Stamp		node_stamp = apply_node_stamp(state, row, change);
	const Stamp *current = row_clock_get(row->clock, column->column_id);
	bool		is_known = current == NULL ||
	bms_is_member(cell->column, row->merged) ||
	apply_stamp_is_seen(state, row, current);
	ApplyObject *object;
	Stamp	   *stamp;
	KeyWrite   *writes;
	int			nwrites;
	int			nwon;
	int			ndropped = 0;
	bool		is_as_sent;

	if (!is_open(state, row, cell))
	{
		change->reason = "not_an_object";
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("column \"%s\" holds a value that is not a JSON object",
						column->name),
				 err_generic_string(PG_DIAG_COLUMN_NAME, column->name)));
	}
	object = changing_object(state, row, cell->column);
	stamp = MemoryContextAlloc(object->context, sizeof(Stamp));
	*stamp = apply_device_stamp(state, change);
	writes = key_writes(cell, &nwrites);
	nwon = decide_writes(object, stamp, writes, nwrites);
	note_conflict(state, change, row, cell, object, writes, nwrites);
	for (int i = 0; i < nwrites; i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (writes[i].wins)
			write_key(object, &writes[i], stamp);
	}
	if (cell->op == DELTA_SET)
		ndropped = drop_unsent(object);
	pfree(writes);

	if (nwrites > 0 && nwon == 0 && ndropped == 0)
	{
		row->force = bms_add_member(row->force, cell->column);
		tally->current++;
		return;
	}

	is_as_sent = nwon == nwrites &&
		(cell->op == DELTA_SET ? object->npresent == nwrites : is_known);
	if (is_as_sent)
	{
		row->merged = bms_add_member(row->merged, cell->column);
		tally->incoming++;
	}
	else
		tally->merged++;
	if (!is_as_sent || cell->isnull)
		row->force = bms_add_member(row->force, cell->column);
	else if (cell->op == DELTA_SET)
		row->force = bms_del_member(row->force, cell->column);

	/* what adds or removes nothing leaves an object as it is */
	if (cell->op != DELTA_SET && nwrites == 0 && !row->isnull[cell->column])
		return;
	row->isnull[cell->column] = false;
	row_clock_set(row->clock, column->column_id, &node_stamp);
	row->written = bms_add_member(row->written, cell->column);
}

/*
 * Can the cell be merged with what is there?  Beside objects only with a value that
 * the device had seen, and that it replaces as a whole.
 */
static bool
is_open(ApplyState *state, const ApplyRow *row, const ApplyCell *cell)
{
	const Stamp *stamp;

	if ((row->objects != NULL && row->objects[cell->column] != NULL) ||
		json_object_fits(row->values[cell->column], row->isnull[cell->column]))
		return true;
	stamp = row_clock_get(row->clock,
						  row->table->columns[cell->column].column_id);
	return cell->op == DELTA_SET &&
		(stamp == NULL || apply_stamp_is_seen(state, row, stamp));
}

/*
 * ---- The unpacked object ----
 */

/* A row's object, to be changed. */
static ApplyObject *
changing_object(ApplyState *state, ApplyRow *row, int column)
{
	int			column_id = row->table->columns[column].column_id;
	ApplyObject *object;

	if (row->objects == NULL)
		row->objects = MemoryContextAllocZero(state->batch_context,
											  row->table->ncolumns * sizeof(ApplyObject *));
	object = row->objects[column];
	if (object == NULL)
	{
		MemoryContext context = AllocSetContextCreate(state->batch_context,
													  "offline_sync object",
													  ALLOCSET_SMALL_SIZES);
		MemoryContext oldcontext = MemoryContextSwitchTo(context);

		object = palloc0(sizeof(ApplyObject));
		object->context = context;
		object->keys = rbt_create(sizeof(ObjectKey), compare_keys, keep_key,
								  alloc_key, NULL, object);
		load_object(object, row, column);
		find_known(state, row, object);
		row->objects[column] = object;
		MemoryContextSwitchTo(oldcontext);
	}
	else if (object->is_scope_seen != row->is_scope_seen)
		find_known(state, row, object);
	if (object->in_clock)
		row_clock_forget_keys(row->clock, column_id);
	object->in_clock = false;
	return object;
}

static void
load_object(ApplyObject *object, ApplyRow *row, int column)
{
	const RowClock *clock = row->clock;
	int			column_id = row->table->columns[column].column_id;
	Datum		value = row->values[column];
	bool		isnull = row->isnull[column];
	Stamp	   *stamps = palloc(Max(clock->nstamps, 1) * sizeof(Stamp));
	const Stamp *base = row_clock_base(clock, column_id);
	int			nnamed;
	const RowClockKey *named = row_clock_keys(clock, column_id, &nnamed);
	JsonbIterator *it;
	JsonbValue	key;
	JsonbValue	member;

	/* the clock's own move when it changes */
	if (clock->nstamps > 0)
		memcpy(stamps, clock->stamps, clock->nstamps * sizeof(Stamp));
	if (base != NULL)
		base = &stamps[base - clock->stamps];

	/* what is not an object is about to be replaced */
	if (!isnull)
		value = JsonbPGetDatum(DatumGetJsonbP(value));
	isnull = isnull || !json_object_fits(value, false);
	object->packed = isnull ? (Datum) 0 : value;
	it = json_object_begin(value, isnull);
	while (json_object_next(&it, &key, &member))
	{
		const RowClockKey *entry = row_clock_find_key(named, nnamed,
													  key.val.string.val,
													  key.val.string.len);

		load_key(object, key.val.string.val, key.val.string.len, &member,
				 entry != NULL ? &stamps[entry->stamp] : base);
	}
	/* what is there already stays as it is */
	for (int i = 0; i < nnamed; i++)
		load_key(object, named[i].data, named[i].len, NULL,
				 &stamps[named[i].stamp]);
	row_clock_forget_keys(row->clock, column_id);
}

static void
load_key(ApplyObject *object, const char *data, int len,
		 const JsonbValue *value, const Stamp *stamp)
{
	ObjectKey	key;
	bool		is_new;

	memset(&key, 0, sizeof(key));
	key.data = data;
	key.len = len;
	key.is_present = value != NULL;
	key.stamp = stamp;
	if (value != NULL)
		key.value = *value;
	(void) rbt_insert(object->keys, &key.node, &is_new);
	if (is_new)
	{
		object->nkeys++;
		object->npresent += value != NULL ? 1 : 0;
	}
}

/* Which of the keys' stamps had the device seen? */
static void
find_known(ApplyState *state, ApplyRow *row, ApplyObject *object)
{
	RBTreeIterator it;
	ObjectKey  *key;
	const Stamp *last = NULL;
	bool		last_is_known = true;

	object->is_scope_seen = row->is_scope_seen;
	dlist_init(&object->droppable);
	rbt_begin_iterate(object->keys, LeftRightWalk, &it);
	while ((key = (ObjectKey *) rbt_iterate(&it)) != NULL)
	{
		if (key->stamp != last)
		{
			last = key->stamp;
			last_is_known = last == NULL || apply_stamp_is_seen(state, row, last);
		}
		key->is_known = last_is_known;
		if (key->is_known && key->is_present)
			dlist_push_tail(&object->droppable, &key->link);
	}
}

/* The clocks of rows to be written have the keys again. */
void
apply_settle_objects(ApplyRow *row)
{
	for (int i = 0; row->objects != NULL && i < row->table->ncolumns; i++)
	{
		if (row->objects[i] != NULL && !row->objects[i]->in_clock)
			put_in_clock(row, i);
	}
}

static void
put_in_clock(ApplyRow *row, int column)
{
	ApplyObject *object = row->objects[column];
	const SyncColumn *c = &row->table->columns[column];
	KeyStamp   *keys;
	RBTreeIterator it;
	ObjectKey  *key;
	int			n = 0;

	object->in_clock = true;
	if (row_clock_get(row->clock, c->column_id) == NULL)
		return;					/* nobody wrote any */
	keys = palloc_extended((object->nkeys + 1) * sizeof(KeyStamp),
						   MCXT_ALLOC_HUGE);
	rbt_begin_iterate(object->keys, LeftRightWalk, &it);
	while ((key = (ObjectKey *) rbt_iterate(&it)) != NULL)
	{
		keys[n].data = key->data;
		keys[n].len = key->len;
		keys[n].is_removed = !key->is_present;
		keys[n].has_stamp = key->stamp != NULL;
		if (key->stamp != NULL)
			keys[n].stamp = *key->stamp;
		n++;
	}
	if (!row_clock_set_keys(row->clock, c->column_id, keys, n))
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("keys of column \"%s\" exceed what a row clock can hold",
						c->name),
				 errdetail("At most %d keys, of at most %d bytes each, can have been written or removed apart from the others.",
						   ROW_CLOCK_MAX_KEYS - 1, ROW_CLOCK_MAX_KEY_SIZE),
				 err_generic_string(PG_DIAG_COLUMN_NAME, c->name)));
	pfree(keys);
}

/* The value of an object that has been unpacked. */
Datum
apply_object_value(ApplyObject *object)
{
	if (object->packed == (Datum) 0)
		object->packed = pack_object(object);
	return object->packed;
}

static Datum
pack_object(ApplyObject *object)
{
	MemoryContext work = AllocSetContextCreate(object->context,
											   "offline_sync packing",
											   ALLOCSET_DEFAULT_SIZES);
	MemoryContext oldcontext = MemoryContextSwitchTo(work);
	Jsonb	   *packed = JsonbValueToJsonb(push_members(object));
	Jsonb	   *result = MemoryContextAlloc(object->context, VARSIZE(packed));

	memcpy(result, packed, VARSIZE(packed));
	MemoryContextSwitchTo(oldcontext);
	MemoryContextDelete(work);
	return JsonbPGetDatum(result);
}

static JsonbValue *
push_members(ApplyObject *object)
{
	JsonbParseState *state = NULL;
	RBTreeIterator it;
	ObjectKey  *key;

	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	rbt_begin_iterate(object->keys, LeftRightWalk, &it);
	while ((key = (ObjectKey *) rbt_iterate(&it)) != NULL)
	{
		JsonbValue	name;

		if (!key->is_present)
			continue;
		name.type = jbvString;
		name.val.string.val = unconstify(char *, key->data);
		name.val.string.len = key->len;
		pushJsonbValue(&state, WJB_KEY, &name);
		pushJsonbValue(&state, WJB_VALUE, &key->value);
	}
	return pushJsonbValue(&state, WJB_END_OBJECT, NULL);
}

static int
compare_keys(const RBTNode *a, const RBTNode *b, void *arg)
{
	const ObjectKey *x = (const ObjectKey *) a;
	const ObjectKey *y = (const ObjectKey *) b;

	if (x->len != y->len)
		return x->len < y->len ? -1 : 1;
	return memcmp(x->data, y->data, x->len);
}

/* A key that is there stays. */
static void
keep_key(RBTNode *existing, const RBTNode *new, void *arg)
{
}

static RBTNode *
alloc_key(void *arg)
{
	ApplyObject *object = arg;

	return MemoryContextAlloc(object->context, sizeof(ObjectKey));
}

/*
 * ---- Writes ----
 */

/* What a cell writes to which keys. */
static KeyWrite *
key_writes(const ApplyCell *cell, int *nwrites)
{
	KeyWrite   *writes;
	int			n = 0;

	*nwrites = 0;
	if (cell->op == DELTA_REMOVE)
	{
		const char *cursor = cell->sent.data;
		const char *data;
		int			len;

		while (delta_list_next(&cell->sent, &cursor, &data, &len))
			n++;
		writes = palloc_extended((n + 1) * sizeof(KeyWrite), MCXT_ALLOC_HUGE);
		cursor = cell->sent.data;
		while (delta_list_next(&cell->sent, &cursor, &data, &len))
		{
			KeyWrite   *write = &writes[(*nwrites)++];

			write->data = data;
			write->len = len;
			write->is_removal = true;
		}
	}
	else
	{
		JsonbIterator *it = json_object_begin(cell->value, cell->isnull);
		JsonbValue	key;
		JsonbValue	value;

		if (!cell->isnull)
			n = JB_ROOT_COUNT(DatumGetJsonbP(cell->value));
		writes = palloc_extended((n + 1) * sizeof(KeyWrite), MCXT_ALLOC_HUGE);
		while (json_object_next(&it, &key, &value))
		{
			KeyWrite   *write = &writes[(*nwrites)++];

			write->data = key.val.string.val;
			write->len = key.val.string.len;
			write->is_removal = false;
			write->value = value;
		}
	}
	return writes;
}

/* Which of them prevail, each by itself?  Returns how many. */
static int
decide_writes(ApplyObject *object, const Stamp *stamp, KeyWrite *writes,
			  int nwrites)
{
	int			nwon = 0;

	object->nchanges++;
	for (int i = 0; i < nwrites; i++)
	{
		ObjectKey	sought;
		ObjectKey  *key;
		CellFacts	facts;

		CHECK_FOR_INTERRUPTS();
		sought.data = writes[i].data;
		sought.len = writes[i].len;
		key = (ObjectKey *) rbt_find(object->keys, &sought.node);
		facts.current = key != NULL ? key->stamp : NULL;
		facts.incoming = stamp;
		facts.is_seen = key == NULL || key->is_known;
		facts.comparison = 0;
		writes[i].key = key;
		writes[i].wins = decide_cell(POLICY_LWW, &facts) == CELL_INCOMING;
		if (key != NULL)
			key->sent = object->nchanges;
		nwon += writes[i].wins ? 1 : 0;
	}
	return nwon;
}

static void
write_key(ApplyObject *object, const KeyWrite *write, const Stamp *stamp)
{
	ObjectKey  *key = write->key;

	if (key == NULL)
	{
		ObjectKey	fresh;
		bool		is_new;

		memset(&fresh, 0, sizeof(fresh));
		fresh.data = write->data;
		fresh.len = write->len;
		fresh.sent = object->nchanges;
		key = (ObjectKey *) rbt_insert(object->keys, &fresh.node, &is_new);
		object->nkeys++;
	}
	remove_key(object, key);
	key->stamp = stamp;
	key->is_known = true;
	if (write->is_removal)
		return;
	key->value = write->value;
	key->is_present = true;
	object->npresent++;
	object->packed = (Datum) 0;
	dlist_push_tail(&object->droppable, &key->link);
}

/* Take a key out of the object; it keeps its stamp. */
static void
remove_key(ApplyObject *object, ObjectKey *key)
{
	if (!key->is_present)
		return;
	if (key->is_known)
		dlist_delete(&key->link);
	key->is_present = false;
	object->npresent--;
	object->packed = (Datum) 0;
}

/* The keys that the device had seen, and that the present change has not. */
static int
drop_unsent(ApplyObject *object)
{
	dlist_mutable_iter it;
	int			ndropped = 0;

	dlist_foreach_modify(it, &object->droppable)
	{
		ObjectKey  *key = dlist_container(ObjectKey, link, it.cur);

		if (key->sent == object->nchanges)
			continue;
		remove_key(object, key);
		ndropped++;
	}
	return ndropped;
}

/*
 * ---- Conflicts ----
 */

/* One for the cell, if any key was written by two that did not know of each other,
 * and differently. */
static void
note_conflict(ApplyState *state, ApplyChange *change, ApplyRow *row,
			  ApplyCell *cell, ApplyObject *object, const KeyWrite *writes,
			  int nwrites)
{
	SyncColumn *column = &row->table->columns[cell->column];
	const Stamp *latest = NULL;
	int			ndisputed = 0;
	int			nwon = 0;
	StringInfoData ours;
	StringInfoData theirs;
	Datum		current;

	if (object->conflict_size > MAX_CONFLICT_SIZE ||
		state->noted_bytes > MAX_NOTED_SIZE)
		return;
	for (int i = 0; i < nwrites; i++)
	{
		if (!is_disputed(&writes[i]))
			continue;
		ndisputed++;
		nwon += writes[i].wins ? 1 : 0;
		if (latest == NULL || stamp_compare(writes[i].key->stamp, latest) > 0)
			latest = writes[i].key->stamp;
	}
	if (ndisputed == 0)
		return;

	initStringInfo(&ours);
	initStringInfo(&theirs);
	current = apply_object_value(object);
	apply_value_json(&ours, column, current, row->isnull[cell->column]);
	apply_value_json(&theirs, column,
					 apply_object_with(cell->op, current,
									   row->isnull[cell->column], cell->value,
									   &cell->sent),
					 cell->isnull);
	object->conflict_size += ours.len + theirs.len;
	apply_add_conflict(state, change, row, cell->column,
					   nwon == ndisputed ? CELL_INCOMING :
					   nwon == 0 ? CELL_CURRENT : CELL_MERGED,
					   latest, ours.data, theirs.data);
	pfree(ours.data);
	pfree(theirs.data);
}

static bool
is_disputed(const KeyWrite *write)
{
	const ObjectKey *key = write->key;

	if (key == NULL || key->stamp == NULL || key->is_known)
		return false;
	if (!key->is_present || write->is_removal)
		return key->is_present == write->is_removal;
	return !json_object_same_value(&key->value, &write->value);
}

Datum
apply_object_with(DeltaCellOp op, Datum current, bool isnull, Datum value,
				  const DeltaValue *list)
{
	const char *cursor = list->data;
	const char *data;
	int			len;
	ArrayBuildState *keys;

	if (isnull || !json_object_fits(current, false))
		current = DirectFunctionCall1(jsonb_in, CStringGetDatum("{}"));
	if (op == DELTA_SET)
		return value;
	if (op == DELTA_ADD)
		return DirectFunctionCall2(jsonb_concat, current, value);

	keys = initArrayResult(TEXTOID, CurrentMemoryContext, false);
	while (delta_list_next(list, &cursor, &data, &len))
		accumArrayResult(keys,
						 PointerGetDatum(cstring_to_text_with_len(data, len)),
						 false, TEXTOID, CurrentMemoryContext);
	return DirectFunctionCall2(jsonb_delete_array, current,
							   makeArrayResult(keys, CurrentMemoryContext));
}
