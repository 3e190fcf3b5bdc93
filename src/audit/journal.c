/*-------------------------------------------------------------------------
 *
 * journal.c
 *	  Writing and reading the journal and the conflicts.
 *
 * The ranges of seqs that a device's journal rows stored are disjoint, since a
 * seq is new only once.  So the one row that may hold a seq is the first in the
 * index (device, last_seq) with last_seq >= seq.  Rows that stored nothing, of
 * which a hostile device can make any number, all get last_seq 0 and are never
 * met on the way.
 *
 * Written without SPI: one heap insert for a push, and as many conflicts in a
 * batch as fit into a few pages.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/stratnum.h"
#include "access/table.h"
#include "audit/journal.h"
#include "audit/waiting.h"
#include "catalog/indexing.h"
#include "compat.h"
#include "executor/tuptable.h"
#include "log/state.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/fmgrprotos.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/xid8.h"

/* offline_sync.journal */
#define ANUM_JOURNAL_RECONCILIATION	1
#define ANUM_JOURNAL_DEVICE			2
#define ANUM_JOURNAL_FIRST_SEQ		3
#define ANUM_JOURNAL_LAST_SEQ		4
#define ANUM_JOURNAL_NODE			5
#define ANUM_JOURNAL_XID			6
#define ANUM_JOURNAL_IS_TOLD		7
#define ANUM_JOURNAL_BEGAN			8
#define ANUM_JOURNAL_ENDED			9
#define ANUM_JOURNAL_SCHEMA_VERSION	10
#define ANUM_JOURNAL_RECEIVED_AT	11
#define ANUM_JOURNAL_ROLE			12
#define ANUM_JOURNAL_STATUS			13
#define ANUM_JOURNAL_DELTA			14
#define ANUM_JOURNAL_OUTCOMES		15
#define ANUM_JOURNAL_DETAILS		16
#define NATTS_JOURNAL				16

/* offline_sync.journal_forgotten */
#define ANUM_FORGOTTEN_NODE			1
#define ANUM_FORGOTTEN_XID			2

/* offline_sync.conflict */
#define ANUM_CONFLICT_CONFLICT			1
#define ANUM_CONFLICT_RECONCILIATION	2
#define ANUM_CONFLICT_DEVICE			3
#define ANUM_CONFLICT_SEQ				4
#define ANUM_CONFLICT_SCOPE				5
#define ANUM_CONFLICT_TABLE_ID			6
#define ANUM_CONFLICT_KEY				7
#define ANUM_CONFLICT_COLUMN_ID			8
#define ANUM_CONFLICT_POLICY			9
#define ANUM_CONFLICT_DECISION			10
#define ANUM_CONFLICT_STATE				11
#define ANUM_CONFLICT_CURRENT_VALUE		12
#define ANUM_CONFLICT_INCOMING_VALUE	13
#define ANUM_CONFLICT_CURRENT_HLC		14
#define ANUM_CONFLICT_INCOMING_HLC		15
#define ANUM_CONFLICT_CURRENT_REPLICA	16
#define ANUM_CONFLICT_INCOMING_REPLICA	17
#define ANUM_CONFLICT_DETECTED_AT		18
#define ANUM_CONFLICT_RESOLVED_AT		19
#define ANUM_CONFLICT_RESOLVED_BY		20
#define ANUM_CONFLICT_SHADOW_STEP		21
#define ANUM_CONFLICT_SHADOW_POLICY		22
#define ANUM_CONFLICT_SHADOW_DECISION	23
#define ANUM_CONFLICT_SHADOW_VALUE		24
#define ANUM_CONFLICT_SHADOW_ERROR		25
#define ANUM_CONFLICT_SHADOW_IS_SAME	26
#define NATTS_CONFLICT					26

/* an xid8 column as the number that positions are, and back */
#define DatumGetPosition(d) U64FromFullTransactionId(DatumGetFullTransactionId(d))
#define PositionGetDatum(x) \
	FullTransactionIdGetDatum(FullTransactionIdFromU64(x))

/* A member of a journal row's array, about one change */
typedef struct JournalMember
{
	int64		seq;
	int			ordinal;
	const char *text;
} JournalMember;

struct JournalScan
{
	Relation	rel;
	Relation	index;
	Snapshot	snapshot;
	SysScanDesc scan;
};

static HeapTuple journal_fetch(Relation rel, Relation index,
							   const pg_uuid_t *device, int64 seq,
							   Snapshot snapshot);
static JournalPosition journal_position(HeapTuple tuple, TupleDesc desc);
static JournalRow *journal_row(HeapTuple tuple, TupleDesc desc);
static Jsonb *replace_members(Jsonb *array, int nends, const JournalEnd *ends,
							  bool is_detail);
static int64 member_seq(JsonbContainer *member);
static int	compare_members(const void *a, const void *b);
static void conflict_values(const ConflictRow *row, Datum *values, bool *nulls);
static void conflict_shadow_values(const ConflictRow *row, Datum *values,
								   bool *nulls);

/*
 * Of random bytes some are kept in stock: to ask for them takes as long as to find a
 * row.
 */
void
journal_new_id(pg_uuid_t *id)
{
	static unsigned char stock[64 * UUID_LEN];
	static int	nleft = 0;
	uint64		ms;

	if (nleft == 0)
	{
		if (!pg_strong_random(stock, sizeof(stock)))
			ereport(ERROR,
					(errcode(ERRCODE_INTERNAL_ERROR),
					 errmsg("could not generate random values")));
		nleft = sizeof(stock) / UUID_LEN;
	}
	memcpy(id->data, stock + --nleft * UUID_LEN, UUID_LEN);

	ms = HLC_MS(hlc_from_timestamptz(GetCurrentTimestamp(), 0));
	for (int i = 0; i < 6; i++)
		id->data[i] = (unsigned char) (ms >> (40 - 8 * i));
	id->data[6] = (id->data[6] & 0x0f) | 0x70;	/* version 7 */
	id->data[8] = (id->data[8] & 0x3f) | 0x80;	/* variant */
}

void
journal_first_id(TimestampTz time, pg_uuid_t *id)
{
	uint64		ms = HLC_MS(hlc_from_timestamptz(time, 0));

	memset(id, 0, sizeof(pg_uuid_t));
	for (int i = 0; i < 6; i++)
		id->data[i] = (unsigned char) (ms >> (40 - 8 * i));
}

void
journal_insert(const JournalRow *row)
{
	Relation	rel = state_open("journal", RowExclusiveLock);
	bool		is_stored = row->first_seq <= row->last_seq;
	Datum		values[NATTS_JOURNAL];
	bool		nulls[NATTS_JOURNAL] = {false};
	HeapTuple	tuple;

	values[ANUM_JOURNAL_RECONCILIATION - 1] = UUIDPGetDatum(&row->reconciliation);
	values[ANUM_JOURNAL_DEVICE - 1] = UUIDPGetDatum(&row->device);
	values[ANUM_JOURNAL_FIRST_SEQ - 1] = Int64GetDatum(Max(row->first_seq, 1));
	values[ANUM_JOURNAL_LAST_SEQ - 1] = Int64GetDatum(is_stored ? row->last_seq : 0);
	values[ANUM_JOURNAL_NODE - 1] = Int32GetDatum(row->node);
	values[ANUM_JOURNAL_XID - 1] = PositionGetDatum(row->xid);
	values[ANUM_JOURNAL_IS_TOLD - 1] = BoolGetDatum(row->is_told);
	values[ANUM_JOURNAL_BEGAN - 1] = HlcGetDatum(row->began);
	values[ANUM_JOURNAL_ENDED - 1] = HlcGetDatum(row->ended);
	values[ANUM_JOURNAL_SCHEMA_VERSION - 1] = Int32GetDatum(row->schema_version);
	values[ANUM_JOURNAL_RECEIVED_AT - 1] = TimestampTzGetDatum(row->received_at);
	values[ANUM_JOURNAL_ROLE - 1] = CStringGetTextDatum(row->role);
	values[ANUM_JOURNAL_STATUS - 1] = CStringGetTextDatum(row->status);
	values[ANUM_JOURNAL_DELTA - 1] = DeltaPGetDatum(row->delta);
	values[ANUM_JOURNAL_OUTCOMES - 1] = JsonbPGetDatum(row->outcomes);
	values[ANUM_JOURNAL_DETAILS - 1] = JsonbPGetDatum(row->details);

	state_check_columns(RelationGetDescr(rel), NATTS_JOURNAL);
	tuple = heap_form_tuple(RelationGetDescr(rel), values, nulls);
	CatalogTupleInsert(rel, tuple);
	heap_freetuple(tuple);
	table_close(rel, NoLock);
}

JournalRow *
journal_find(const pg_uuid_t *device, int64 seq, Snapshot snapshot)
{
	Relation	rel = state_open("journal", AccessShareLock);
	Relation	index = index_open(state_index("journal_device"), AccessShareLock);
	HeapTuple	tuple = journal_fetch(rel, index, device, seq, snapshot);
	JournalRow *row = NULL;

	if (HeapTupleIsValid(tuple))
	{
		row = journal_row(tuple, RelationGetDescr(rel));
		heap_freetuple(tuple);
	}
	index_close(index, AccessShareLock);
	table_close(rel, AccessShareLock);
	return row;
}

/* The tuple, palloc'd, whose range holds this seq; or NULL. */
static HeapTuple
journal_fetch(Relation rel, Relation index, const pg_uuid_t *device, int64 seq,
			  Snapshot snapshot)
{
	ScanKeyData keys[2];
	SysScanDesc scan;
	HeapTuple	tuple;

	ScanKeyInit(&keys[0], ANUM_JOURNAL_DEVICE, BTEqualStrategyNumber,
				F_UUID_EQ, UUIDPGetDatum(device));
	ScanKeyInit(&keys[1], ANUM_JOURNAL_LAST_SEQ, BTGreaterEqualStrategyNumber,
				F_INT8GE, Int64GetDatum(Max(seq, 1)));
	scan = systable_beginscan_ordered(rel, index, snapshot, lengthof(keys), keys);
	tuple = systable_getnext_ordered(scan, ForwardScanDirection);
	if (HeapTupleIsValid(tuple) &&
		journal_position(tuple, RelationGetDescr(rel)).first_seq <= seq)
		tuple = heap_copytuple(tuple);
	else
		tuple = NULL;			/* pruned, or not there yet */
	systable_endscan_ordered(scan);
	return tuple;
}

/* Fixed-length columns only: the delta stays in its toast table. */
static JournalPosition
journal_position(HeapTuple tuple, TupleDesc desc)
{
	JournalPosition position;
	bool		isnull;

	position.first_seq = DatumGetInt64(heap_getattr(tuple, ANUM_JOURNAL_FIRST_SEQ,
													desc, &isnull));
	position.last_seq = DatumGetInt64(heap_getattr(tuple, ANUM_JOURNAL_LAST_SEQ,
												   desc, &isnull));
	position.node = DatumGetInt32(heap_getattr(tuple, ANUM_JOURNAL_NODE,
											   desc, &isnull));
	position.xid = DatumGetPosition(heap_getattr(tuple, ANUM_JOURNAL_XID,
												 desc, &isnull));
	position.is_told = DatumGetBool(heap_getattr(tuple, ANUM_JOURNAL_IS_TOLD,
												 desc, &isnull));
	position.began = DatumGetHlc(heap_getattr(tuple, ANUM_JOURNAL_BEGAN,
											  desc, &isnull));
	position.ended = DatumGetHlc(heap_getattr(tuple, ANUM_JOURNAL_ENDED,
											  desc, &isnull));
	return position;
}

static JournalRow *
journal_row(HeapTuple tuple, TupleDesc desc)
{
	JournalRow *row = palloc(sizeof(JournalRow));
	Datum		values[NATTS_JOURNAL];
	bool		nulls[NATTS_JOURNAL];

	state_check_columns(desc, NATTS_JOURNAL);
	heap_deform_tuple(tuple, desc, values, nulls);
	row->reconciliation = *DatumGetUUIDP(values[ANUM_JOURNAL_RECONCILIATION - 1]);
	row->device = *DatumGetUUIDP(values[ANUM_JOURNAL_DEVICE - 1]);
	row->first_seq = DatumGetInt64(values[ANUM_JOURNAL_FIRST_SEQ - 1]);
	row->last_seq = DatumGetInt64(values[ANUM_JOURNAL_LAST_SEQ - 1]);
	row->node = DatumGetInt32(values[ANUM_JOURNAL_NODE - 1]);
	row->xid = DatumGetPosition(values[ANUM_JOURNAL_XID - 1]);
	row->is_told = DatumGetBool(values[ANUM_JOURNAL_IS_TOLD - 1]);
	row->began = DatumGetHlc(values[ANUM_JOURNAL_BEGAN - 1]);
	row->ended = DatumGetHlc(values[ANUM_JOURNAL_ENDED - 1]);
	row->schema_version = DatumGetInt32(values[ANUM_JOURNAL_SCHEMA_VERSION - 1]);
	row->received_at = DatumGetTimestampTz(values[ANUM_JOURNAL_RECEIVED_AT - 1]);
	row->role = TextDatumGetCString(values[ANUM_JOURNAL_ROLE - 1]);
	row->status = TextDatumGetCString(values[ANUM_JOURNAL_STATUS - 1]);

	/* copies, since the tuple goes */
	row->delta = (DeltaData *)
		PG_DETOAST_DATUM_COPY(values[ANUM_JOURNAL_DELTA - 1]);
	row->outcomes = (Jsonb *)
		PG_DETOAST_DATUM_COPY(values[ANUM_JOURNAL_OUTCOMES - 1]);
	row->details = (Jsonb *)
		PG_DETOAST_DATUM_COPY(values[ANUM_JOURNAL_DETAILS - 1]);
	return row;
}

void
journal_set_untold(const JournalRow *row)
{
	Relation	rel = state_open("journal", RowExclusiveLock);
	Relation	index = index_open(state_index("journal_device"), AccessShareLock);
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	HeapTuple	tuple = journal_fetch(rel, index, &row->device, row->last_seq,
									  snapshot);

	if (HeapTupleIsValid(tuple))
	{
		Datum		values[NATTS_JOURNAL];
		bool		nulls[NATTS_JOURNAL];
		bool		replace[NATTS_JOURNAL] = {false};
		HeapTuple	changed;

		values[ANUM_JOURNAL_IS_TOLD - 1] = BoolGetDatum(false);
		nulls[ANUM_JOURNAL_IS_TOLD - 1] = false;
		replace[ANUM_JOURNAL_IS_TOLD - 1] = true;
		changed = heap_modify_tuple(tuple, RelationGetDescr(rel), values, nulls,
									replace);
		CatalogTupleUpdate(rel, &changed->t_self, changed);
		heap_freetuple(changed);
		heap_freetuple(tuple);
	}
	UnregisterSnapshot(snapshot);
	index_close(index, AccessShareLock);
	table_close(rel, NoLock);
}

void
journal_end_changes(const pg_uuid_t *device, int nends, const JournalEnd *ends)
{
	Relation	rel = state_open("journal", RowExclusiveLock);
	Relation	index = index_open(state_index("journal_device"), AccessShareLock);
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	HeapTuple	tuple = journal_fetch(rel, index, device, ends[0].seq, snapshot);

	UnregisterSnapshot(snapshot);
	index_close(index, AccessShareLock);
	if (HeapTupleIsValid(tuple))
	{
		TupleDesc	desc = RelationGetDescr(rel);
		Datum		values[NATTS_JOURNAL];
		bool		nulls[NATTS_JOURNAL] = {false};
		bool		replace[NATTS_JOURNAL] = {false};
		static const int columns[] = {ANUM_JOURNAL_OUTCOMES, ANUM_JOURNAL_DETAILS};
		HeapTuple	new;

		for (int i = 0; i < lengthof(columns); i++)
		{
			bool		isnull;
			Datum		old = heap_getattr(tuple, columns[i], desc, &isnull);

			values[columns[i] - 1] =
				JsonbPGetDatum(replace_members(DatumGetJsonbP(old), nends, ends,
											   columns[i] == ANUM_JOURNAL_DETAILS));
			replace[columns[i] - 1] = true;
		}
		new = heap_modify_tuple(tuple, desc, values, nulls, replace);
		CatalogTupleUpdate(rel, &tuple->t_self, new);
		heap_freetuple(new);
		heap_freetuple(tuple);
		CommandCounterIncrement();
	}
	table_close(rel, NoLock);
}

/* The array without what it says of these changes, and with their ends. */
static Jsonb *
replace_members(Jsonb *array, int nends, const JournalEnd *ends, bool is_detail)
{
	int			max = JB_ROOT_COUNT(array) + nends;
	JournalMember *members = palloc(Max(max, 1) * sizeof(JournalMember));
	int			n = 0;
	int			e = 0;
	JsonbIterator *it = JsonbIteratorInit(&array->root);
	JsonbValue	value;
	JsonbIteratorToken token;
	StringInfoData buf;

	while ((token = JsonbIteratorNext(&it, &value, true)) != WJB_DONE)
	{
		int64		seq;
		bool		has_ended = false;

		if (token != WJB_ELEM || value.type != jbvBinary)
			continue;
		seq = member_seq(value.val.binary.data);
		while (e < nends && ends[e].seq < seq)
			e++;
		has_ended = e < nends && ends[e].seq == seq;
		if (has_ended)
			continue;
		members[n].seq = seq;
		members[n].ordinal = n;
		members[n++].text = JsonbToCString(NULL, value.val.binary.data,
										   value.val.binary.len);
	}
	for (int i = 0; i < nends; i++)
	{
		const char *text = is_detail ? ends[i].detail : ends[i].outcome;

		if (text == NULL)
			continue;
		members[n].seq = ends[i].seq;
		members[n].ordinal = n;
		members[n++].text = text;
	}
	qsort(members, n, sizeof(JournalMember), compare_members);

	initStringInfo(&buf);
	for (int i = 0; i < n; i++)
		appendStringInfo(&buf, "%c%s", i == 0 ? '[' : ',', members[i].text);
	appendStringInfoString(&buf, n == 0 ? "[]" : "]");
	return DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(buf.data)));
}

static int64
member_seq(JsonbContainer *member)
{
	JsonbValue *seq = getKeyJsonValueFromContainer(member, "seq", 3, NULL);

	if (seq == NULL || seq->type != jbvNumeric)
		return 0;
	return DatumGetInt64(DirectFunctionCall1(numeric_int8,
											 NumericGetDatum(seq->val.numeric)));
}

bool
journal_is_purged(const JournalRow *row, int64 seq)
{
	JsonbIterator *it = JsonbIteratorInit(&row->details->root);
	JsonbValue	value;
	JsonbIteratorToken token;

	while ((token = JsonbIteratorNext(&it, &value, true)) != WJB_DONE)
	{
		if (token == WJB_ELEM && value.type == jbvBinary &&
			member_seq(value.val.binary.data) == seq &&
			getKeyJsonValueFromContainer(value.val.binary.data, "purged", 6,
										 NULL) != NULL)
			return true;
	}
	return false;
}

Size
journal_result_bytes(const JournalRow *row)
{
	JsonbIterator *it = JsonbIteratorInit(&row->outcomes->root);
	JsonbValue	value;
	JsonbIteratorToken token;
	Size		size = 0;

	while ((token = JsonbIteratorNext(&it, &value, true)) != WJB_DONE)
	{
		JsonbValue *result;

		if (token != WJB_ELEM || value.type != jbvBinary)
			continue;
		result = getKeyJsonValueFromContainer(value.val.binary.data, "result", 6,
											  NULL);
		if (result == NULL)
			continue;
		if (result->type == jbvBinary)
			size += result->val.binary.len;
		else if (result->type == jbvString)
			size += result->val.string.len;
	}
	return size;
}

static int
compare_members(const void *a, const void *b)
{
	const JournalMember *x = a;
	const JournalMember *y = b;

	if (x->seq != y->seq)
		return x->seq < y->seq ? -1 : 1;
	return x->ordinal - y->ordinal;
}

JournalScan *
journal_scan_begin(const pg_uuid_t *device, int64 from_seq, Snapshot snapshot)
{
	JournalScan *scan = palloc(sizeof(JournalScan));
	ScanKeyData keys[3];

	scan->rel = state_open("journal", AccessShareLock);
	scan->index = index_open(state_index("journal_device"), AccessShareLock);
	scan->snapshot = RegisterSnapshot(snapshot);

	ScanKeyInit(&keys[0], ANUM_JOURNAL_DEVICE, BTEqualStrategyNumber,
				F_UUID_EQ, UUIDPGetDatum(device));
	ScanKeyInit(&keys[1], ANUM_JOURNAL_LAST_SEQ, BTGreaterEqualStrategyNumber,
				F_INT8GE, Int64GetDatum(1));
	ScanKeyInit(&keys[2], ANUM_JOURNAL_LAST_SEQ, BTLessEqualStrategyNumber,
				F_INT8LE, Int64GetDatum(from_seq));
	scan->scan = systable_beginscan_ordered(scan->rel, scan->index,
											scan->snapshot, lengthof(keys), keys);
	return scan;
}

bool
journal_scan_next(JournalScan *scan, JournalPosition *position)
{
	HeapTuple	tuple;

	CHECK_FOR_INTERRUPTS();
	tuple = systable_getnext_ordered(scan->scan, BackwardScanDirection);
	if (!HeapTupleIsValid(tuple))
		return false;
	*position = journal_position(tuple, RelationGetDescr(scan->rel));
	return true;
}

void
journal_scan_end(JournalScan *scan)
{
	systable_endscan_ordered(scan->scan);
	UnregisterSnapshot(scan->snapshot);
	index_close(scan->index, AccessShareLock);
	table_close(scan->rel, AccessShareLock);
	pfree(scan);
}

void
journal_tag_positions(int ntags, const OrSetTag *tags, Snapshot snapshot,
					  JournalPosition *positions)
{
	Relation	rel = state_open("journal", AccessShareLock);
	Relation	index = index_open(state_index("journal_device"), AccessShareLock);
	LateChangeProbe *late = late_change_probe_begin(snapshot);
	JournalPosition last = {0};

	for (int i = 0; i < ntags; i++)
	{
		int64		seq = (int64) Min(tags[i].counter, PG_INT64_MAX);
		bool		is_same = i > 0 &&
		memcmp(&tags[i].replica, &tags[i - 1].replica, UUID_LEN) == 0 &&
		seq >= last.first_seq && seq <= last.last_seq;

		CHECK_FOR_INTERRUPTS();
		if (!is_same)
		{
			HeapTuple	tuple = journal_fetch(rel, index, &tags[i].replica, seq,
											  snapshot);

			if (HeapTupleIsValid(tuple))
			{
				last = journal_position(tuple, RelationGetDescr(rel));
				heap_freetuple(tuple);
			}
			else
			{
				/* remember the answer for this seq only */
				last.first_seq = last.last_seq = seq;
				last.node = 0;
				last.xid = 0;
			}
		}
		positions[i] = last;
		if (last.node != 0)
			(void) late_change_probe(late, &tags[i].replica, seq,
									 &positions[i].node, &positions[i].xid);
	}

	late_change_probe_end(late);
	index_close(index, AccessShareLock);
	table_close(rel, AccessShareLock);
}

JournalPosition *
journal_forgotten(Snapshot snapshot, int *npositions)
{
	Relation	rel = state_open("journal_forgotten", AccessShareLock);
	TupleDesc	desc = RelationGetDescr(rel);
	TableScanDesc scan = table_beginscan(rel, snapshot, 0, NULL);
	JournalPosition *positions = NULL;
	HeapTuple	tuple;
	int			n = 0;

	while ((tuple = heap_getnext(scan, ForwardScanDirection)) != NULL)
	{
		JournalPosition *position;
		bool		isnull;

		positions = n == 0 ? palloc(sizeof(JournalPosition)) :
			repalloc(positions, (n + 1) * sizeof(JournalPosition));
		position = &positions[n++];
		position->first_seq = position->last_seq = 0;
		position->node = DatumGetInt32(heap_getattr(tuple, ANUM_FORGOTTEN_NODE,
													desc, &isnull));
		position->xid = DatumGetPosition(heap_getattr(tuple, ANUM_FORGOTTEN_XID,
													  desc, &isnull));
	}
	table_endscan(scan);
	table_close(rel, AccessShareLock);
	*npositions = n;
	return positions;
}

/* ---- conflicts ---- */

void
conflict_insert(const ConflictRow *rows, int nrows)
{
	StateWriter *writer;
	MemoryContext scratch;
	MemoryContext oldcontext;

	if (nrows == 0)
		return;

	scratch = AllocSetContextCreate(CurrentMemoryContext,
									"offline_sync conflicts",
									ALLOCSET_DEFAULT_SIZES);
	writer = state_writer_begin("conflict");
	state_check_columns(RelationGetDescr(state_writer_relation(writer)), NATTS_CONFLICT);
	for (int i = 0; i < nrows; i++)
	{
		Datum		values[NATTS_CONFLICT];
		bool		nulls[NATTS_CONFLICT];

		CHECK_FOR_INTERRUPTS();
		MemoryContextReset(scratch);
		oldcontext = MemoryContextSwitchTo(scratch);
		conflict_values(&rows[i], values, nulls);
		MemoryContextSwitchTo(oldcontext);
		state_writer_put(writer, values, nulls);
	}
	state_writer_end(writer);
	MemoryContextDelete(scratch);
}

/* The columns of a new conflict, palloc'd where they are by reference. */
static void
conflict_values(const ConflictRow *row, Datum *values, bool *nulls)
{
	pg_uuid_t  *id = palloc(sizeof(pg_uuid_t));
	bytea	   *key = palloc(VARHDRSZ + row->keylen);

	journal_new_id(id);
	SET_VARSIZE(key, VARHDRSZ + row->keylen);
	memcpy(VARDATA(key), row->key, row->keylen);

	memset(values, 0, NATTS_CONFLICT * sizeof(Datum));
	memset(nulls, false, NATTS_CONFLICT * sizeof(bool));
	values[ANUM_CONFLICT_CONFLICT - 1] = UUIDPGetDatum(id);
	values[ANUM_CONFLICT_RECONCILIATION - 1] = UUIDPGetDatum(&row->reconciliation);
	values[ANUM_CONFLICT_DEVICE - 1] = UUIDPGetDatum(&row->device);
	values[ANUM_CONFLICT_SEQ - 1] = Int64GetDatum(row->seq);
	if (row->scope != NULL)
		values[ANUM_CONFLICT_SCOPE - 1] = CStringGetTextDatum(row->scope);
	else
		nulls[ANUM_CONFLICT_SCOPE - 1] = true;
	values[ANUM_CONFLICT_TABLE_ID - 1] = Int32GetDatum(row->table_id);
	values[ANUM_CONFLICT_KEY - 1] = PointerGetDatum(key);
	values[ANUM_CONFLICT_COLUMN_ID - 1] = Int32GetDatum(row->column_id);
	nulls[ANUM_CONFLICT_COLUMN_ID - 1] = row->column_id == 0;
	values[ANUM_CONFLICT_POLICY - 1] = CStringGetTextDatum(row->policy);
	values[ANUM_CONFLICT_DECISION - 1] = CStringGetTextDatum(row->decision);
	values[ANUM_CONFLICT_STATE - 1] = CStringGetTextDatum(row->state);
	values[ANUM_CONFLICT_CURRENT_VALUE - 1] = JsonbPGetDatum(row->current_value);
	nulls[ANUM_CONFLICT_CURRENT_VALUE - 1] = row->current_value == NULL;
	values[ANUM_CONFLICT_INCOMING_VALUE - 1] = JsonbPGetDatum(row->incoming_value);
	nulls[ANUM_CONFLICT_INCOMING_VALUE - 1] = row->incoming_value == NULL;
	values[ANUM_CONFLICT_CURRENT_HLC - 1] = HlcGetDatum(row->current_hlc);
	values[ANUM_CONFLICT_INCOMING_HLC - 1] = HlcGetDatum(row->incoming_hlc);
	values[ANUM_CONFLICT_CURRENT_REPLICA - 1] = UUIDPGetDatum(&row->current_replica);
	values[ANUM_CONFLICT_INCOMING_REPLICA - 1] = UUIDPGetDatum(&row->incoming_replica);
	values[ANUM_CONFLICT_DETECTED_AT - 1] = TimestampTzGetDatum(row->detected_at);
	nulls[ANUM_CONFLICT_RESOLVED_AT - 1] = true;
	nulls[ANUM_CONFLICT_RESOLVED_BY - 1] = true;
	conflict_shadow_values(row, values, nulls);
}

static void
conflict_shadow_values(const ConflictRow *row, Datum *values, bool *nulls)
{
	bool		is_watched = row->shadow_step > 0;
	bool		is_decided = is_watched && row->shadow_decision != NULL;

	values[ANUM_CONFLICT_SHADOW_STEP - 1] = Int32GetDatum(row->shadow_step);
	nulls[ANUM_CONFLICT_SHADOW_STEP - 1] = !is_watched;
	if (is_watched)
		values[ANUM_CONFLICT_SHADOW_POLICY - 1] = CStringGetTextDatum(row->shadow_policy);
	nulls[ANUM_CONFLICT_SHADOW_POLICY - 1] = !is_watched;
	if (is_decided)
		values[ANUM_CONFLICT_SHADOW_DECISION - 1] = CStringGetTextDatum(row->shadow_decision);
	nulls[ANUM_CONFLICT_SHADOW_DECISION - 1] = !is_decided;
	values[ANUM_CONFLICT_SHADOW_VALUE - 1] = JsonbPGetDatum(row->shadow_value);
	nulls[ANUM_CONFLICT_SHADOW_VALUE - 1] = row->shadow_value == NULL;
	if (row->shadow_error != NULL)
		values[ANUM_CONFLICT_SHADOW_ERROR - 1] = CStringGetTextDatum(row->shadow_error);
	nulls[ANUM_CONFLICT_SHADOW_ERROR - 1] = row->shadow_error == NULL;
	values[ANUM_CONFLICT_SHADOW_IS_SAME - 1] = BoolGetDatum(row->shadow_is_same);
	nulls[ANUM_CONFLICT_SHADOW_IS_SAME - 1] = !is_decided;
}
