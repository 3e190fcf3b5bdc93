/*-------------------------------------------------------------------------
 *
 * serve_push.c
 *	  The device's own pushes: what of them it has been told already.
 *
 * A device is answered each push, with the values of the rows that the push was
 * about wherever they are not what it sent.  So nothing of those rows is served
 * back, though the transaction may hold more: rows that cascades and triggers
 * wrote, and other devices' pushes that a queue applied together with it.  Only
 * the journal knows which rows a push was about.  What the node itself wrote to
 * such a row (a trigger did, or a statement after the push) is served, since no
 * stamp says whether the answer was made before or after.
 *
 * What became of changes that had to wait was in no answer.  So the position where
 * they came to their end is like that of a push whose answer was lost, about just
 * their rows.  The device may still show what it wrote where that did not prevail,
 * so such a row goes whole, whichever entry it is met by first.
 *
 * Where the answer never arrived (the push ends after the vector's entry for
 * the device) all of those rows are served whole, also where nothing of the
 * push prevailed and the log does not mention them.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "audit/waiting.h"
#include "compat.h"
#include "miscadmin.h"
#include "offline_sync.h"
#include "registry/row_key.h"
#include "registry/value.h"
#include "serve/serve.h"
#include "utils/memutils.h"

/* What read_refs and change_key take and give, for value_attempt */
typedef struct PushAttempt
{
	ServePage  *page;
	ServePush  *push;
	const DeltaData *delta;
	const DeltaReader *reader;
	const DeltaChange *change;
	StringInfo	buf;
	int32		table_id;
} PushAttempt;

static ServePush *add_push(ServePage *page, int *max);
static void load_late_changes(ServePage *page, int *max);
static int	compare_pushes(const void *a, const void *b);
static int	compare_positions(const pg_uuid_t *anode, uint64 axid,
							  const pg_uuid_t *bnode, uint64 bxid);
static int	compare_refs(const void *a, const void *b);
static int	compare_seqs(const void *a, const void *b);
static void add_change_ref(ServePage *page, ServePush *push,
						   const DeltaReader *reader, const DeltaChange *change,
						   bool is_careful);
static bool change_key(const ServePush *push, const DeltaReader *reader,
					   const DeltaChange *change, StringInfo buf,
					   int32 *table_id);
static bool try_change_key(void *arg);
static bool try_refs(void *arg);
static void read_refs(ServePage *page, ServePush *push, const DeltaData *delta,
					  bool is_careful);

/*
 * Load the pushes that the vector does not cover, by position or by seq: from
 * the last one back to the first that it covers in both ways.  (An older one may
 * be uncovered still, where a transaction got its id long before it pushed; then
 * something is told twice.)
 */
void
serve_pushes_load(ServePage *page)
{
	int64		answered = (int64) vv_base_counter(page->since, &page->device);
	JournalScan *scan = journal_scan_begin(&page->device, PG_INT64_MAX,
										   page->snapshot);
	JournalPosition position;
	int			max = 16;

	page->npushes = 0;
	page->late_rows = NULL;
	page->pushes = MemoryContextAlloc(page->context, max * sizeof(ServePush));
	while (journal_scan_next(scan, &position))
	{
		const pg_uuid_t *node = sync_node_uuid_by_id(position.node);
		bool		is_lost = position.last_seq > answered;
		ServePush  *push;

		if (!is_lost && vv_covers_counter(page->since, node, position.xid))
			break;
		push = add_push(page, &max);
		push->node = *node;
		push->node_id = position.node;
		push->xid = position.xid;
		push->first_seq = position.first_seq;
		push->last_seq = position.last_seq;
		push->is_lost = is_lost;
	}
	journal_scan_end(scan);
	load_late_changes(page, &max);
	if (page->npushes > 1)
		qsort(page->pushes, page->npushes, sizeof(ServePush), compare_pushes);
}

static ServePush *
add_push(ServePage *page, int *max)
{
	ServePush  *push;

	if (page->npushes == *max)
	{
		*max *= 2;
		page->pushes = repalloc_huge(page->pushes,
									 (Size) *max * sizeof(ServePush));
	}
	push = &page->pushes[page->npushes++];
	memset(push, 0, sizeof(ServePush));
	return push;
}

/* The positions that the vector does not cover where changes that had waited came
 * to their end, each with the rows that they are about. */
static void
load_late_changes(ServePage *page, int *max)
{
	MemoryContext old = MemoryContextSwitchTo(page->context);

	for (int i = 0; i < page->nnodes; i++)
	{
		const SyncNode *node = &page->nodes[i];
		uint64		from = 1;
		uint64		lo;
		uint64		hi;

		while (from != 0 && vv_next_gap(page->since, &node->uuid, from, &lo, &hi))
		{
			int			nchanges;
			LateChange *changes = late_change_list(&page->device, node->id, lo, hi,
												   page->snapshot, &nchanges);

			for (int first = 0, last; first < nchanges; first = last)
			{
				ServePush  *push = add_push(page, max);

				for (last = first + 1; last < nchanges; last++)
				{
					if (changes[last].xid != changes[first].xid)
						break;
				}
				push->node = node->uuid;
				push->node_id = node->id;
				push->xid = changes[first].xid;
				push->is_lost = push->is_late = true;
				push->rows = row_set_create();
				push->inserted = row_set_create();
				push->refs = palloc((last - first) * sizeof(RowRef));
				for (int k = first; k < last; k++)
				{
					RowRef		row = {changes[k].table_id, changes[k].keylen,
					changes[k].key};

					if (row.table_id == 0 || !row_set_add(push->rows, &row))
						continue;
					push->refs[push->nrefs++] = row;
					if (page->late_rows == NULL)
						page->late_rows = row_set_create();
					(void) row_set_add(page->late_rows, &row);
				}
				if (push->nrefs > 1)
					qsort(push->refs, push->nrefs, sizeof(RowRef), compare_refs);
			}
			from = hi == VV_MAX_COUNTER ? 0 : hi + 1;
		}
	}
	MemoryContextSwitchTo(old);
}

int64
serve_pushes_last(const ServePage *page)
{
	JournalScan *scan = journal_scan_begin(&page->device, PG_INT64_MAX,
										   page->snapshot);
	JournalPosition position;
	int64		last = 0;

	if (journal_scan_next(scan, &position))
		last = position.last_seq;
	journal_scan_end(scan);
	return last;
}

int
serve_pushes_at(const ServePage *page, const pg_uuid_t *node, uint64 xid,
				int *npushes)
{
	int			low = 0;
	int			high = page->npushes;
	int			first;

	while (low < high)
	{
		int			mid = low + (high - low) / 2;
		ServePush  *push = &page->pushes[mid];

		if (compare_positions(&push->node, push->xid, node, xid) < 0)
			low = mid + 1;
		else
			high = mid;
	}
	first = low;
	while (low < page->npushes &&
		   compare_positions(&page->pushes[low].node, page->pushes[low].xid,
							 node, xid) == 0)
		low++;
	*npushes = low - first;
	return first;
}

bool
serve_stamp_is_known(const ServePage *page, const Stamp *stamp)
{
	int			n;
	int			first;

	if (vv_covers_counter(page->since, &stamp->node, stamp->xid))
		return true;
	first = serve_pushes_at(page, &stamp->node, stamp->xid, &n);
	if (memcmp(&stamp->replica, &page->device, UUID_LEN) != 0)
		return false;

	/*
	 * The node's stamps there, those of merged cells included, may come from
	 * a statement or another push that followed in the same transaction:
	 * better told twice than never.
	 */
	for (int i = first; i < first + n; i++)
	{
		if (!page->pushes[i].is_lost)
			return true;
	}
	return false;
}

bool
serve_row_is_had(ServePage *page, const Stamp *scope_stamp, const RowRef *row)
{
	int			n;
	int			first;

	if (vv_covers_counter(page->since, &scope_stamp->node, scope_stamp->xid))
		return true;
	first = serve_pushes_at(page, &scope_stamp->node, scope_stamp->xid, &n);
	for (int i = first; i < first + n; i++)
	{
		ServePush  *push = &page->pushes[i];

		if (push->is_lost)
			continue;
		serve_push_read(page, push);
		if (row_set_has(push->inserted, row))
			return true;
	}
	return false;
}

int64
serve_pushes_covered(const ServePage *page, const VersionVector *to)
{
	int64		last = (int64) vv_base_counter(page->since, &page->device);
	ServePush **lost = palloc(Max(page->npushes, 1) * sizeof(ServePush *));
	int			nlost = 0;

	for (int i = 0; i < page->npushes; i++)
		if (page->pushes[i].is_lost && !page->pushes[i].is_late)
			lost[nlost++] = &page->pushes[i];
	qsort(lost, nlost, sizeof(ServePush *), compare_seqs);
	for (int i = 0; i < nlost; i++)
	{
		if (!vv_covers_counter(to, &lost[i]->node, lost[i]->xid))
			break;
		last = Max(last, lost[i]->last_seq);
	}
	pfree(lost);
	return last;
}

/*
 * Read which rows a push was about.  Beyond a limit for all deltas of a page
 * together the rest is taken to be about none, which tells the device again what
 * it knows, but for a push whose answer was lost.
 */
void
serve_push_read(ServePage *page, ServePush *push)
{
	MemoryContext old;
	JournalRow *journal = NULL;

	if (push->rows != NULL)
		return;
	old = MemoryContextSwitchTo(page->context);
	push->rows = row_set_create();
	push->inserted = row_set_create();
	if (push->is_lost ||
		page->push_bytes < (Size) sync_max_delta_size * 1024)
		journal = journal_find(&page->device, push->last_seq, page->snapshot);
	if (journal != NULL)
	{
		PushAttempt attempt = {page, push, journal->delta};

		page->push_bytes += VARSIZE_ANY(journal->delta);
		push->schema_version = journal->schema_version;
		if (!value_attempt(try_refs, &attempt))
			read_refs(page, push, journal->delta, true);
		if (push->nrefs > 1)
			qsort(push->refs, push->nrefs, sizeof(RowRef), compare_refs);
		pfree(journal->delta);
	}
	MemoryContextSwitchTo(old);
}

/*
 * Fill in rows and refs.  A key that its column's type does not accept belongs
 * to no row; to find out costs a subtransaction, so first all changes are tried
 * in one, and only if that fails each is, carefully, in its own.
 */
static bool
try_refs(void *arg)
{
	PushAttempt *a = arg;

	read_refs(a->page, a->push, a->delta, false);
	return true;
}

static void
read_refs(ServePage *page, ServePush *push, const DeltaData *delta,
		  bool is_careful)
{
	DeltaReader reader;
	DeltaChange change;

	delta_reader_init(&reader, delta);
	push->rows = row_set_create();
	push->inserted = row_set_create();
	push->nrefs = 0;
	if (push->refs == NULL)
		push->refs = MemoryContextAllocHuge(CurrentMemoryContext,
											Max(reader.header.nchanges, 1) *
											sizeof(RowRef));
	while (delta_reader_next(&reader, &change))
	{
		CHECK_FOR_INTERRUPTS();
		if (change.table >= 0 && change.seq >= push->first_seq &&
			change.seq <= push->last_seq)
			add_change_ref(page, push, &reader, &change, is_careful);
	}
}

static void
add_change_ref(ServePage *page, ServePush *push, const DeltaReader *reader,
			   const DeltaChange *change, bool is_careful)
{
	MemoryContext old = MemoryContextSwitchTo(page->push_context);
	StringInfoData buf;
	RowRef		row;
	bool		is_valid;

	MemoryContextReset(page->push_context);
	initStringInfo(&buf);
	if (is_careful)
	{
		PushAttempt attempt = {page, push, NULL, reader, change, &buf, 0};

		is_valid = value_attempt(try_change_key, &attempt);
		row.table_id = attempt.table_id;
	}
	else
		is_valid = change_key(push, reader, change, &buf, &row.table_id);
	MemoryContextSwitchTo(old);
	row.key = buf.data;
	row.keylen = buf.len;
	if (is_valid && change->kind == DELTA_CHANGE_INSERT)
		(void) row_set_add(push->inserted, &row);
	if (is_valid && row_set_add(push->rows, &row))
	{
		char	   *copy = MemoryContextAlloc(page->context, row.keylen);

		memcpy(copy, row.key, row.keylen);
		row.key = copy;
		push->refs[push->nrefs++] = row;
	}
}

/* The row that a change is about; false where it names none. */
static bool
change_key(const ServePush *push, const DeltaReader *reader,
		   const DeltaChange *change, StringInfo buf, int32 *table_id)
{
	const DeltaName *name = &reader->tables[change->table];
	SyncTable  *t = sync_table_by_name(name->data, name->len);
	TableVersion *version;

	if (t == NULL || t->nkeys != change->nkeys)
		return false;
	*table_id = t->table_id;
	version = table_version_open(t, push->schema_version);
	return table_version_key(t, version, reader, change, buf);
}

/* value_attempt: false also where the key is not acceptable */
static bool
try_change_key(void *arg)
{
	PushAttempt *a = arg;

	return change_key(a->push, a->reader, a->change, a->buf, &a->table_id);
}

static int
compare_positions(const pg_uuid_t *anode, uint64 axid,
				  const pg_uuid_t *bnode, uint64 bxid)
{
	int			order = memcmp(anode, bnode, UUID_LEN);

	if (order != 0)
		return order;
	return axid < bxid ? -1 : axid > bxid ? 1 : 0;
}

static int
compare_pushes(const void *a, const void *b)
{
	const ServePush *pa = a;
	const ServePush *pb = b;
	int			order = compare_positions(&pa->node, pa->xid, &pb->node, pb->xid);

	if (order != 0)
		return order;
	return pa->first_seq < pb->first_seq ? -1 : 1;
}

static int
compare_refs(const void *a, const void *b)
{
	return row_ref_compare(a, b);
}

static int
compare_seqs(const void *a, const void *b)
{
	const ServePush *pa = *(ServePush *const *) a;
	const ServePush *pb = *(ServePush *const *) b;

	return pa->last_seq < pb->last_seq ? -1 : 1;
}
