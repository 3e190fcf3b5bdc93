/*-------------------------------------------------------------------------
 *
 * serve_log.c
 *	  Serving the log: what happened to which rows, as far as the vector does
 *	  not cover it.
 *
 * Entries are read in an order that is the same for every page: node by node,
 * within a node by transaction, within a transaction by part, table and key.
 * The log of a scope is a stretch of its own in the index, so the scopes'
 * stretches are merged, together with the rows of pushes whose answer was lost.
 *
 * An entry says only that a row was written.  The row as it is decides: it is
 * served if it has a stamp of just this position, and otherwise a later entry
 * speaks for it.  That later entry exists, is in a scope that the row was in
 * then, and if the vector covers it, it has been served.  But only an entry in
 * the same scope is waited for: another scope may be revoked before its entry is
 * reached, and the copy that the device has is in this one.
 *
 * What is claimed: the gaps of the vector that were read to their end, and of
 * the last one what comes before the entry at which the page is full.  The open
 * end behind the vector is claimed up to the largest position met in it, never
 * further, since an xid beyond may be given out again after a crash.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "audit/waiting.h"
#include "compat.h"
#include "guard/row_security.h"
#include "lib/binaryheap.h"
#include "log/change_log.h"
#include "miscadmin.h"
#include "registry/row_fetch.h"
#include "registry/row_key.h"
#include "registry/value.h"
#include "serve/serve.h"
#include "utils/datum.h"
#include "utils/memutils.h"

/* rows to look at in one go */
#define LOG_BATCH			4000

/* with more scopes than this, their scans are opened when it is their turn */
#define MAX_OPEN_SCANS		64

/* the part under which the rows of a push are met whose answer was lost */
#define PUSH_PART			(-1)

/* The log of one scope, within one gap */
typedef struct LogCursor
{
	const char *scope;			/* NULL: events */
	ChangeLogScan *scan;		/* NULL: closed */
	bool		is_written;		/* there is something in the gap; as asked */
	uint64		xid;			/* position of the next entry; 0: none is left */
	int32		part;
	int32		table_id;		/* the entry, if the scan is open */
	StringInfoData key;
} LogCursor;

/* A gap of the vector */
typedef struct LogGap
{
	const SyncNode *node;
	uint64		lo;
	uint64		hi;
	uint64		last;			/* largest position met in it */
} LogGap;

typedef struct LogEntry
{
	int			gap;			/* index into LogReader.gaps */
	uint64		xid;
	int32		part;
	const char *scope;			/* NULL: of several */
	RowRef		row;
	struct LogRow *state;
} LogEntry;

typedef struct LogReader
{
	ServePage  *page;
	ServeToken *token;			/* where to go on inside a transaction */
	MemoryContext group_context;	/* of the present group's keys */

	int			ngaps;			/* so far; the last one is being read */
	int			maxgaps;
	LogGap	   *gaps;
	int			inode;			/* index into page->nodes */
	uint64		next_from;		/* in that node; 0: it is done */

	int			ncursors;
	LogCursor  *cursors;
	bool		keep_open;
	binaryheap *heap;			/* of the cursors with entries */
	int			npushes;		/* lost pushes within the gap, by xid */
	ServePush **pushes;
	int			ipush;

	int			ngroup;			/* entries of the present transaction and part */
	int			maxgroup;
	LogEntry   *group;
	int			igroup;
} LogReader;

/* A row that entries of the batch are about */
typedef struct LogRow
{
	RowRef		row;
	ServeTable *st;
	Datum	   *key;			/* NULL: is_old, and none of the present type */
	bool		is_old;			/* a key for which the table has no row since
								 * its columns got other types */
	Datum	   *image_key;		/* of such a key, as far as it can be read */
	bool		is_read;
	bool		is_found;
	Datum		clock;
	bool		clock_isnull;
	Datum	   *values;			/* of the fetched columns */
	bool	   *isnull;
	Tombstone	tombstone;		/* where the row was not found */
	bool		is_hidden;		/* row security hid it before it was deleted */
} LogRow;

/* Rows of one table, while they are read */
typedef struct LogRows
{
	ServeTable *st;
	LogRow	  **rows;
	int			nrows;
	LogRow	  **fetched;		/* those that are not old */
	MemoryContext context;		/* of what is read */
	int16	   *typlen;			/* of the fetched columns */
	bool	   *typbyval;
} LogRows;

static void reader_init(LogReader *reader, ServePage *page, ServeToken *token);
static void reader_end(LogReader *reader);
static LogEntry *reader_peek(LogReader *reader);
static bool open_next_gap(LogReader *reader);
static void open_cursors(LogReader *reader);
static bool ask_written(LogReader *reader);
static void note_written(void *arg, const char *scope, const char *event);
static int	compare_scopes(const void *a, const void *b);
static void cursor_open(LogReader *reader, LogCursor *cursor, uint64 xid,
						int32 part);
static void cursor_next(LogReader *reader, LogCursor *cursor);
static void cursor_close(LogCursor *cursor);
static int	compare_cursors(Datum a, Datum b, void *arg);
static bool read_group(LogReader *reader);
static void read_push_group(LogReader *reader);
static void read_log_group(LogReader *reader);
static void add_to_group(LogReader *reader, uint64 xid, int32 part,
						 const char *scope, int32 table_id,
						 const char *key, int keylen);
static void finish_group(LogReader *reader);
static int	compare_entries(const void *a, const void *b);

static int	read_batch(LogReader *reader, LogEntry **entries);
static void read_rows(ServePage *page, LogEntry *entries, int nentries);
static void read_table_rows(ServePage *page, LogRows *rows);
static void keep_row(void *arg, int ordinal, Datum clock, bool clock_isnull,
					 Datum *values, bool *isnull);
static Datum keep_datum(char **p, Datum value, int16 typlen);
static void decode_old(LogRow *row, Datum *key);
static void read_tombstones(ServePage *page, LogRows *rows);
static bool is_served(ServePage *page, const ServeTable *st);
static int	compare_entry_pointers(const void *a, const void *b);

static int	serve_entries(ServePage *page, LogReader *reader,
						  LogEntry *entries, int nentries);
static void serve_found(ServePage *page, LogReader *reader, LogEntry *entry);
static bool floor_is_known(const ServePage *page, const RowClock *clock);
static void serve_gone(ServePage *page, LogReader *reader, LogEntry *entry);
static bool brings_row(ServePage *page, const LogEntry *entry,
					   const pg_uuid_t *node, const Stamp *scope_stamp);
static bool is_delete_answered(ServePage *page, LogRow *row);
static bool is_elsewhere(const LogEntry *entry, const char *scope);
static bool is_of_lost_push(ServePage *page, const pg_uuid_t *node,
							const LogEntry *entry);
static Bitmapset *value_columns(const ServeTable *st);
static Bitmapset *unknown_columns(ServePage *page, LogRow *row,
								  const RowClock *clock);
static bool pulls_scope(ServePage *page, const char *scope);

static void stop_at(LogReader *reader, const LogEntry *last,
					const LogEntry *next);
static void claim_gaps(LogReader *reader, const LogEntry *next,
					   VVBuilder *claim);

/* ----------------------------------------------------------------
 * The page's part
 * ---------------------------------------------------------------- */

bool
serve_log(ServePage *page, ServeToken *token, VVBuilder *claim)
{
	LogReader	reader;
	MemoryContext batch_context;
	MemoryContext old;
	StringInfoData last_key;
	LogEntry	last = {0};
	LogEntry   *next;

	initStringInfo(&last_key);
	reader_init(&reader, page, token);
	batch_context = AllocSetContextCreate(page->context, "offline_sync log batch",
										  ALLOCSET_DEFAULT_SIZES);
	old = MemoryContextSwitchTo(batch_context);
	for (;;)
	{
		LogEntry   *entries;
		int			nentries;
		int			nserved;

		next = reader_peek(&reader);
		if (next == NULL || page_is_full(page))
			break;

		MemoryContextReset(batch_context);
		nentries = read_batch(&reader, &entries);
		read_rows(page, entries, nentries);
		nserved = serve_entries(page, &reader, entries, nentries);
		if (nserved > 0)
		{
			last = entries[nserved - 1];
			resetStringInfo(&last_key);
			appendBinaryStringInfo(&last_key, last.row.key, last.row.keylen);
			last.row.key = last_key.data;
		}
		if (nserved < nentries)
		{
			next = &entries[nserved];
			break;
		}
	}
	claim_gaps(&reader, next, claim);
	stop_at(&reader, last.xid != 0 ? &last : NULL, next);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(batch_context);
	reader_end(&reader);
	return next == NULL;
}

/* Leave in the token whether the next page begins inside a transaction. */
static void
stop_at(LogReader *reader, const LogEntry *last, const LogEntry *next)
{
	ServeToken *token = reader->token;
	const SyncNode *node;

	if (next == NULL)
	{
		token->node = 0;
		return;
	}
	node = reader->gaps[next->gap].node;
	if (last != NULL && last->xid == next->xid && last->gap == next->gap)
	{
		token->node = node->id;
		token->xid = last->xid;
		token->part = last->part;
		token->row = last->row;
	}
	else if (token->node < node->id ||
			 (token->node == node->id && token->xid < next->xid))
		token->node = 0;		/* that one is behind us */
}

static void
claim_gaps(LogReader *reader, const LogEntry *next, VVBuilder *claim)
{
	int			ncomplete = next == NULL ? reader->ngaps : next->gap;

	for (int i = 0; i < ncomplete; i++)
	{
		LogGap	   *gap = &reader->gaps[i];
		uint64		hi = gap->hi == VV_MAX_COUNTER ? gap->last : gap->hi;

		if (hi >= gap->lo)
			vv_builder_add(claim, &gap->node->uuid, gap->lo, hi);
	}
	if (next != NULL && next->xid > reader->gaps[next->gap].lo)
		vv_builder_add(claim, &reader->gaps[next->gap].node->uuid,
					   reader->gaps[next->gap].lo, next->xid - 1);
}

/* ----------------------------------------------------------------
 * Reading entries
 * ---------------------------------------------------------------- */

static void
reader_init(LogReader *reader, ServePage *page, ServeToken *token)
{
	memset(reader, 0, sizeof(LogReader));
	reader->page = page;
	reader->token = token;
	reader->group_context = AllocSetContextCreate(page->context,
												  "offline_sync log group",
												  ALLOCSET_DEFAULT_SIZES);
	reader->next_from = 1;

	/* of events, and of the scopes whose rows the device has, sorted */
	reader->cursors = MemoryContextAllocZero(page->context,
											 (page->nscopes + 1) *
											 sizeof(LogCursor));
	reader->ncursors = 1;
	for (int i = 0; i < page->nscopes; i++)
		if (serve_grant_is_done(page, &page->scopes[i]))
			reader->cursors[reader->ncursors++].scope = page->scopes[i].scope;
	reader->keep_open = reader->ncursors <= MAX_OPEN_SCANS;
	reader->pushes = MemoryContextAlloc(page->context,
										Max(page->npushes, 1) *
										sizeof(ServePush *));
	reader->heap = binaryheap_allocate(reader->ncursors, compare_cursors, reader);
}

static void
reader_end(LogReader *reader)
{
	for (int i = 0; i < reader->ncursors; i++)
		cursor_close(&reader->cursors[i]);
	binaryheap_free(reader->heap);
	MemoryContextDelete(reader->group_context);
}

/* The next entry, without going past it; NULL at the end of all gaps. */
static LogEntry *
reader_peek(LogReader *reader)
{
	while (reader->igroup >= reader->ngroup)
	{
		CHECK_FOR_INTERRUPTS();
		if (!read_group(reader) && !open_next_gap(reader))
			return NULL;
	}
	return &reader->group[reader->igroup];
}

/* False: there is no further gap. */
static bool
open_next_gap(LogReader *reader)
{
	ServePage  *page = reader->page;

	for (; reader->inode < page->nnodes; reader->inode++, reader->next_from = 1)
	{
		const SyncNode *node = &page->nodes[reader->inode];
		LogGap	   *gap;

		if (reader->ngaps == reader->maxgaps)
		{
			reader->maxgaps = Max(16, 2 * reader->maxgaps);
			if (reader->gaps == NULL)
				reader->gaps = MemoryContextAlloc(page->context,
												  reader->maxgaps * sizeof(LogGap));
			else
				reader->gaps = repalloc_huge(reader->gaps,
											 (Size) reader->maxgaps * sizeof(LogGap));
		}
		gap = &reader->gaps[reader->ngaps];
		if (reader->next_from == 0 ||
			!vv_next_gap(page->since, &node->uuid, reader->next_from,
						 &gap->lo, &gap->hi))
			continue;
		gap->node = node;
		gap->last = 0;
		reader->ngaps++;
		reader->next_from = gap->hi == VV_MAX_COUNTER ? 0 : gap->hi + 1;
		open_cursors(reader);
		return true;
	}
	return false;
}

static void
open_cursors(LogReader *reader)
{
	ServePage  *page = reader->page;
	LogGap	   *gap = &reader->gaps[reader->ngaps - 1];
	bool		is_asked;

	binaryheap_reset(reader->heap);
	is_asked = reader->ncursors > CHANGE_LOG_FEW_SCOPES && ask_written(reader);
	for (int i = 0; i < reader->ncursors; i++)
	{
		LogCursor  *cursor = &reader->cursors[i];

		cursor_close(cursor);
		cursor->xid = 0;
		if (is_asked && !cursor->is_written)
			continue;
		cursor_open(reader, cursor, gap->lo, 0);
		if (cursor->xid != 0)
			binaryheap_add_unordered(reader->heap, PointerGetDatum(cursor));
		if (!reader->keep_open)
			cursor_close(cursor);
	}
	binaryheap_build(reader->heap);

	/* pushes are sorted by node and xid */
	reader->npushes = 0;
	reader->ipush = 0;
	for (int i = 0; i < page->npushes; i++)
	{
		ServePush  *push = &page->pushes[i];

		if (push->is_lost && push->node_id == gap->node->id &&
			push->xid >= gap->lo && push->xid <= gap->hi)
			reader->pushes[reader->npushes++] = push;
	}
}

/*
 * Find out which scopes have entries in the gap, by reading what all scopes have there:
 * a row of the log costs a fraction of a look-up in a scope's.  So not if these are more
 * than the cursors: false.
 */
static bool
ask_written(LogReader *reader)
{
	LogGap	   *gap = &reader->gaps[reader->ngaps - 1];

	for (int i = 0; i < reader->ncursors; i++)
		reader->cursors[i].is_written = false;
	return change_log_is_told(gap->node->id, gap->lo, gap->hi, reader->ncursors,
							  reader->page->snapshot, note_written, reader);
}

static void
note_written(void *arg, const char *scope, const char *event)
{
	LogReader  *reader = arg;
	LogCursor	wanted = {.scope = scope};
	LogCursor  *cursor = reader->cursors;

	if (scope != NULL)
		cursor = bsearch(&wanted, reader->cursors + 1, reader->ncursors - 1,
						 sizeof(LogCursor), compare_scopes);
	if (cursor != NULL)
		cursor->is_written = true;
}

static int
compare_scopes(const void *a, const void *b)
{
	return strcmp(((const LogCursor *) a)->scope, ((const LogCursor *) b)->scope);
}

static void
cursor_open(LogReader *reader, LogCursor *cursor, uint64 xid, int32 part)
{
	LogGap	   *gap = &reader->gaps[reader->ngaps - 1];
	MemoryContext old = MemoryContextSwitchTo(reader->page->context);

	if (cursor->key.data == NULL)
		initStringInfo(&cursor->key);
	cursor->scan = change_log_scan_begin(cursor->scope, gap->node->id, xid, part,
										 gap->hi, reader->page->snapshot);
	MemoryContextSwitchTo(old);
	cursor_next(reader, cursor);
}

static void
cursor_next(LogReader *reader, LogCursor *cursor)
{
	MemoryContext old = MemoryContextSwitchTo(reader->page->context);
	ChangeLogEntry entry;

	cursor->xid = 0;
	if (change_log_scan_next(cursor->scan, &entry))
	{
		cursor->xid = entry.xid;
		cursor->part = entry.part;
		cursor->table_id = entry.table_id;
		resetStringInfo(&cursor->key);
		appendBinaryStringInfo(&cursor->key, entry.key, entry.keylen);
	}
	MemoryContextSwitchTo(old);
}

static void
cursor_close(LogCursor *cursor)
{
	if (cursor->scan != NULL)
		change_log_scan_end(cursor->scan);
	cursor->scan = NULL;
}

/* The heap keeps the largest on top. */
static int
compare_cursors(Datum a, Datum b, void *arg)
{
	const LogCursor *ca = (const LogCursor *) DatumGetPointer(a);
	const LogCursor *cb = (const LogCursor *) DatumGetPointer(b);

	if (ca->xid != cb->xid)
		return ca->xid < cb->xid ? 1 : -1;
	return ca->part < cb->part ? 1 : ca->part > cb->part ? -1 : 0;
}

/*
 * Read the entries of the next transaction and part.  False: the gap is at its
 * end.  (The group may turn out to be empty.)
 */
static bool
read_group(LogReader *reader)
{
	LogCursor  *first = NULL;
	ServePush  *push = NULL;

	reader->ngroup = reader->igroup = 0;
	MemoryContextReset(reader->group_context);
	if (reader->ngaps == 0)
		return false;
	if (!binaryheap_empty(reader->heap))
		first = (LogCursor *) DatumGetPointer(binaryheap_first(reader->heap));
	if (reader->ipush < reader->npushes)
		push = reader->pushes[reader->ipush];
	if (first == NULL && push == NULL)
		return false;

	if (push != NULL && (first == NULL || push->xid <= first->xid))
		read_push_group(reader);
	else
		read_log_group(reader);
	finish_group(reader);
	return true;
}

/* All lost pushes of one transaction */
static void
read_push_group(LogReader *reader)
{
	uint64		xid = reader->pushes[reader->ipush]->xid;

	while (reader->ipush < reader->npushes &&
		   reader->pushes[reader->ipush]->xid == xid)
	{
		ServePush  *push = reader->pushes[reader->ipush++];

		serve_push_read(reader->page, push);
		add_to_group(reader, xid, PUSH_PART, NULL, CHANGE_LOG_EVENT, NULL, 0);
		for (int i = 0; i < push->nrefs; i++)
			add_to_group(reader, xid, PUSH_PART, NULL, push->refs[i].table_id,
						 push->refs[i].key, push->refs[i].keylen);
	}
}

static void
read_log_group(LogReader *reader)
{
	LogCursor  *cursor;
	uint64		xid;
	int32		part;

	cursor = (LogCursor *) DatumGetPointer(binaryheap_first(reader->heap));
	xid = cursor->xid;
	part = cursor->part;
	for (;;)
	{
		if (cursor->scan == NULL)
			cursor_open(reader, cursor, xid, part);
		while (cursor->xid == xid && cursor->part == part)
		{
			add_to_group(reader, xid, part, cursor->scope, cursor->table_id,
						 cursor->key.data, cursor->key.len);
			cursor_next(reader, cursor);
		}
		if (!reader->keep_open || cursor->xid == 0)
			cursor_close(cursor);
		if (cursor->xid != 0)
			binaryheap_replace_first(reader->heap, PointerGetDatum(cursor));
		else
			(void) binaryheap_remove_first(reader->heap);

		if (binaryheap_empty(reader->heap))
			break;
		cursor = (LogCursor *) DatumGetPointer(binaryheap_first(reader->heap));
		if (cursor->xid != xid || cursor->part != part)
			break;
	}
}

/* Take in an entry, unless it is our own transaction's, or an event, whose
 * position is all that matters. */
static void
add_to_group(LogReader *reader, uint64 xid, int32 part, const char *scope,
			 int32 table_id, const char *key, int keylen)
{
	ServePage  *page = reader->page;
	LogGap	   *gap = &reader->gaps[reader->ngaps - 1];
	LogEntry   *entry;
	char	   *copy;

	if (xid == page->own_xid &&
		memcmp(&gap->node->uuid, &page->node, UUID_LEN) == 0)
		return;
	if (gap->last != xid)
		page_note_position(page, &gap->node->uuid, xid);
	gap->last = xid;
	if (table_id == CHANGE_LOG_EVENT)
		return;

	if (reader->ngroup == reader->maxgroup)
	{
		reader->maxgroup = Max(256, 2 * reader->maxgroup);
		if (reader->group == NULL)
			reader->group = MemoryContextAlloc(page->context,
											   reader->maxgroup * sizeof(LogEntry));
		else
			reader->group = repalloc_huge(reader->group,
										  (Size) reader->maxgroup * sizeof(LogEntry));
	}
	copy = MemoryContextAlloc(reader->group_context, keylen);
	memcpy(copy, key, keylen);
	entry = &reader->group[reader->ngroup++];
	entry->gap = reader->ngaps - 1;
	entry->xid = xid;
	entry->part = part;
	entry->scope = scope;
	entry->row.table_id = table_id;
	entry->row.key = copy;
	entry->row.keylen = keylen;
	entry->state = NULL;
}

/* Sort, drop repetitions (a row that moved between scopes), and what an earlier
 * page has dealt with. */
static void
finish_group(LogReader *reader)
{
	ServeToken *token = reader->token;
	int			n = 0;

	if (reader->ngroup == 0)
		return;
	if (reader->ngroup > 1)
		qsort(reader->group, reader->ngroup, sizeof(LogEntry), compare_entries);
	for (int i = 0; i < reader->ngroup; i++)
	{
		LogEntry   *entry = &reader->group[i];

		if (token->node == reader->gaps[entry->gap].node->id &&
			token->xid == entry->xid &&
			(entry->part < token->part ||
			 (entry->part == token->part &&
			  row_ref_compare(&entry->row, &token->row) <= 0)))
			continue;
		if (n > 0 && row_ref_compare(&entry->row, &reader->group[n - 1].row) == 0)
		{
			reader->group[n - 1].scope = NULL;
			continue;
		}
		reader->group[n++] = *entry;
	}
	reader->ngroup = n;
}

static int
compare_entries(const void *a, const void *b)
{
	return row_ref_compare(&((const LogEntry *) a)->row,
						   &((const LogEntry *) b)->row);
}

/* ----------------------------------------------------------------
 * Reading rows
 * ---------------------------------------------------------------- */

/* The next entries, no more than the page could take if each were served. */
static int
read_batch(LogReader *reader, LogEntry **entries)
{
	int			limit = Min(reader->page->budget, LOG_BATCH);
	int			n = 0;
	LogEntry   *next;

	*entries = palloc(limit * sizeof(LogEntry));
	while (n < limit && (next = reader_peek(reader)) != NULL)
	{
		LogEntry   *entry = &(*entries)[n++];
		char	   *key = palloc(next->row.keylen);

		*entry = *next;
		memcpy(key, next->row.key, next->row.keylen);
		entry->row.key = key;
		reader->igroup++;
	}
	return n;
}

/* Read the rows that entries are about, each once, table by table. */
static void
read_rows(ServePage *page, LogEntry *entries, int nentries)
{
	LogEntry  **sorted = palloc(nentries * sizeof(LogEntry *));
	LogRows		rows;
	int			n = 0;

	for (int i = 0; i < nentries; i++)
		if (!row_set_has(page->served, &entries[i].row))
			sorted[n++] = &entries[i];
	qsort(sorted, n, sizeof(LogEntry *), compare_entry_pointers);

	rows.rows = palloc(Max(n, 1) * sizeof(LogRow *));
	rows.nrows = 0;
	rows.context = CurrentMemoryContext;
	for (int i = 0; i < n; i++)
	{
		LogRow	   *row;

		if (i > 0 && row_ref_compare(&sorted[i]->row, &sorted[i - 1]->row) == 0)
		{
			sorted[i]->state = sorted[i - 1]->state;
			continue;
		}
		if (i > 0 && sorted[i]->row.table_id != sorted[i - 1]->row.table_id)
		{
			read_table_rows(page, &rows);
			rows.nrows = 0;
		}
		row = palloc0(sizeof(LogRow));
		row->row = sorted[i]->row;
		row->st = page_table(page, row->row.table_id);
		rows.st = row->st;
		rows.rows[rows.nrows++] = row;
		sorted[i]->state = row;
	}
	read_table_rows(page, &rows);
}

/* The rows of one table, and the tombstones of those that are not there. */
static void
read_table_rows(ServePage *page, LogRows *rows)
{
	SyncTable  *t;
	Datum	   *keys;
	int			nestlevel;
	int			place = 0;
	int			n = 0;

	if (rows->nrows == 0 || !is_served(page, rows->st))
		return;
	t = rows->st->table;
	keys = palloc(mul_size(rows->nrows, t->nkeys * sizeof(Datum)));
	rows->fetched = palloc(mul_size(rows->nrows, sizeof(LogRow *)));
	nestlevel = value_modes_begin();
	for (int i = 0; i < rows->nrows; i++)
	{
		LogRow	   *row = rows->rows[i];
		Datum	   *key = keys + (Size) n * t->nkeys;

		row->is_read = true;
		if (!rows->st->has_rekeyed)
			row_key_decode(t, row->row.key, row->row.keylen, key);
		else
			decode_old(row, key);
		if (row->is_old)
			continue;
		row->key = key;
		rows->fetched[n++] = row;
	}
	value_modes_end(nestlevel);

	rows->typlen = palloc(Max(rows->st->nfetched, 1) * sizeof(int16));
	rows->typbyval = palloc(Max(rows->st->nfetched, 1) * sizeof(bool));
	for (int i = -1; (i = bms_next_member(rows->st->fetched, i)) >= 0; place++)
	{
		rows->typlen[place] = t->columns[i].typlen;
		rows->typbyval[place] = t->columns[i].typbyval;
	}

	/* SPI keeps its list of named relations where it is when it makes one */
	MemoryContextSwitchTo(page->context);
	row_fetch(t, rows->st->fetched, ROW_FETCH_READ, n, keys, keep_row, rows);
	MemoryContextSwitchTo(rows->context);
	read_tombstones(page, rows);
}

/*
 * A key that was logged before key columns got their types is perhaps no key of
 * these; or another spelling of one, which is another row to devices.
 */
static void
decode_old(LogRow *row, Datum *key)
{
	SyncTable  *t = row->st->table;
	KeyState	state = row_key_try_decode(t, row->row.key, row->row.keylen, key);

	row->is_old = state != KEY_IS_CURRENT;
	if (state == KEY_IS_RESPELT)
		row->image_key = memcpy(palloc(t->nkeys * sizeof(Datum)), key,
								t->nkeys * sizeof(Datum));
}

/*
 * Callback of row_fetch.  All of a row goes into one chunk.  Values in toast tables
 * stay there for now.
 */
static void
keep_row(void *arg, int ordinal, Datum clock, bool clock_isnull,
		 Datum *values, bool *isnull)
{
	LogRows    *rows = arg;
	LogRow	   *row = rows->fetched[ordinal];
	int			n = row->st->nfetched;
	Size		size = n * sizeof(Datum) + MAXALIGN(n * sizeof(bool));
	char	   *p;

	if (!clock_isnull)
		size += MAXALIGN(VARSIZE_ANY(DatumGetPointer(clock)));
	for (int i = 0; i < n; i++)
		if (!isnull[i] && !rows->typbyval[i])
			size += MAXALIGN(datumGetSize(values[i], false, rows->typlen[i]));

	row->is_found = true;
	row->clock_isnull = clock_isnull;
	row->values = MemoryContextAlloc(rows->context, size);
	row->isnull = (bool *) (row->values + n);
	p = (char *) row->isnull + MAXALIGN(n * sizeof(bool));
	if (!clock_isnull)
		row->clock = keep_datum(&p, clock, -1);
	for (int i = 0; i < n; i++)
	{
		row->isnull[i] = isnull[i];
		row->values[i] = isnull[i] || rows->typbyval[i] ? values[i] :
			keep_datum(&p, values[i], rows->typlen[i]);
	}
}

/* Copy a value that is passed by reference to where there is room for it. */
static Datum
keep_datum(char **p, Datum value, int16 typlen)
{
	Size		size = datumGetSize(value, false, typlen);
	Datum		copy = PointerGetDatum(*p);

	memcpy(*p, DatumGetPointer(value), size);
	*p += MAXALIGN(size);
	return copy;
}

static void
read_tombstones(ServePage *page, LogRows *rows)
{
	LogRow	  **gone = palloc(rows->nrows * sizeof(LogRow *));
	const char **keys = palloc(rows->nrows * sizeof(char *));
	int		   *keylens = palloc(rows->nrows * sizeof(int));
	Tombstone  *tombstones;
	int			n = 0;

	for (int i = 0; i < rows->nrows; i++)
	{
		if (rows->rows[i]->is_found)
			continue;
		keys[n] = rows->rows[i]->row.key;
		keylens[n] = rows->rows[i]->row.keylen;
		gone[n++] = rows->rows[i];
	}
	if (n == 0)
		return;
	tombstones = palloc0(n * sizeof(Tombstone));
	tombstone_fetch(rows->st->table_id, n, keys, keylens, page->snapshot,
					tombstones);
	for (int i = 0; i < n; i++)
	{
		gone[i]->tombstone = tombstones[i];
		if (rows->st->has_policies && tombstones[i].found)
		{
			Datum	   *key = gone[i]->is_old ? gone[i]->image_key : gone[i]->key;

			gone[i]->is_hidden = !tombstones[i].is_purged &&
				(tombstones[i].image_isnull || key == NULL ||
				 !guard_image_is_visible(rows->st->table, key,
										 tombstones[i].image, page->row_context));
		}
	}
}

/* Is the log of this table for this device and this caller? */
static bool
is_served(ServePage *page, const ServeTable *st)
{
	return st->table != NULL && st->is_readable &&
		serve_event_is_done(page, &st->table->enabled.node,
							st->table->enabled.xid);
}

static int
compare_entry_pointers(const void *a, const void *b)
{
	return row_ref_compare(&(*(LogEntry *const *) a)->row,
						   &(*(LogEntry *const *) b)->row);
}

/* ----------------------------------------------------------------
 * Serving them
 * ---------------------------------------------------------------- */

/* Returns how many entries were dealt with before the page was full. */
static int
serve_entries(ServePage *page, LogReader *reader, LogEntry *entries,
			  int nentries)
{
	int			nestlevel = value_modes_begin();
	int			i;

	for (i = 0; i < nentries; i++)
	{
		MemoryContext old;

		CHECK_FOR_INTERRUPTS();
		if (page_is_full(page))
			break;
		if (entries[i].state == NULL || !entries[i].state->is_read ||
			row_set_has(page->served, &entries[i].row))
			continue;
		old = MemoryContextSwitchTo(page->row_context);
		MemoryContextReset(page->row_context);
		if (entries[i].state->is_found)
			serve_found(page, reader, &entries[i]);
		else
			serve_gone(page, reader, &entries[i]);
		MemoryContextSwitchTo(old);
	}
	value_modes_end(nestlevel);
	return i;
}

static void
serve_found(ServePage *page, LogReader *reader, LogEntry *entry)
{
	LogRow	   *row = entry->state;
	const pg_uuid_t *node = &reader->gaps[entry->gap].node->uuid;
	bool		is_lost = entry->part == PUSH_PART;
	RowClock   *clock = sync_table_clock(CurrentMemoryContext, row->st->table,
										 row->clock, row->clock_isnull);
	char	   *scope = page_row_scope(row->st, row->values, row->isnull);
	const Stamp *scope_stamp = row_clock_scope_stamp(clock);
	Bitmapset  *sent;
	bool		is_new;
	bool		is_had;
	bool		is_brought;

	page_note_clock(page, clock);
	if (scope == NULL || !pulls_scope(page, scope))
	{
		page_add_removal(page, row->st, &row->row, row->key,
						 DELTA_CHANGE_RETRACT, HLC_MIN);
		return;
	}
	is_new = is_lost || scope_stamp == NULL ||
		(page->late_rows != NULL && row_set_has(page->late_rows, &row->row)) ||
		!serve_stamp_is_known(page, scope_stamp) ||
		!floor_is_known(page, clock);
	is_had = !is_new && serve_row_is_had(page, scope_stamp, &row->row);
	is_brought = !is_new && !is_had && brings_row(page, entry, node, scope_stamp);
	if (!is_lost &&
		(is_of_lost_push(page, node, entry) ||
		 (!row_clock_has_position(clock, node, entry->xid) && !is_brought &&
		  !(is_new && is_elsewhere(entry, scope)))))
		return;

	is_new |= is_brought;
	sent = is_new ? NULL : unknown_columns(page, row, clock);

	/* what waits may be a delete, which the device has done already */
	if (sent != NULL && page->has_waiting &&
		waiting_has_row(&page->device, row->row.table_id, row->row.key,
						row->row.keylen, page->snapshot))
		is_new = true;
	if (is_new || (sent != NULL && !is_had))
		page_add_row(page, row->st, &row->row, row->key, DELTA_CHANGE_INSERT,
					 clock, row->values, row->isnull, value_columns(row->st));
	else if (sent != NULL)
		page_add_row(page, row->st, &row->row, row->key, DELTA_CHANGE_UPDATE,
					 clock, row->values, row->isnull, sent);
}

/* Has the device been told of all deletes that the row came back from? */
static bool
floor_is_known(const ServePage *page, const RowClock *clock)
{
	for (int i = 0; i < clock->nfloor; i++)
	{
		if (!serve_stamp_is_known(page, &clock->floor[i]))
			return false;
	}
	return true;
}

/*
 * If it was the device itself that pushed the row's scope, the stamp does not tell
 * whether it has the row.  It may have come with the push, from a scope that the
 * device does not pull; or before that, with a write of somebody else that the
 * device has not seen.
 */
static bool
brings_row(ServePage *page, const LogEntry *entry, const pg_uuid_t *node,
		   const Stamp *scope_stamp)
{
	int			n;
	int			first;

	if (scope_stamp->xid == entry->xid &&
		memcmp(&scope_stamp->node, node, UUID_LEN) == 0)
		return entry->scope != NULL;
	first = serve_pushes_at(page, node, entry->xid, &n);
	for (int i = first; i < first + n; i++)
	{
		if (!page->pushes[i].is_late)
			return false;
	}
	return true;
}

static void
serve_gone(ServePage *page, LogReader *reader, LogEntry *entry)
{
	LogRow	   *row = entry->state;
	Tombstone  *tombstone = &row->tombstone;
	const SyncNode *node = reader->gaps[entry->gap].node;
	bool		is_lost = entry->part == PUSH_PART;
	const pg_uuid_t *deleted_by;
	bool		is_due;

	if (!tombstone->found || row->is_hidden)
	{
		/*
		 * the device has a row that was never stored, or is not for it; or is
		 * still to be stored
		 */
		if (is_lost &&
			!waiting_has_row(&page->device, row->row.table_id, row->row.key,
							 row->row.keylen, page->snapshot))
			page_add_removal(page, row->st, &row->row, row->key,
							 DELTA_CHANGE_RETRACT, HLC_MIN);
		return;
	}
	deleted_by = sync_node_uuid_by_id(tombstone->node);
	page_note_position(page, deleted_by, tombstone->xid);

	if (tombstone->scope == NULL || !pulls_scope(page, tombstone->scope))
	{
		page_add_removal(page, row->st, &row->row, row->key,
						 DELTA_CHANGE_RETRACT, HLC_MIN);
		return;
	}

	/*
	 * The entry of the deletion speaks for it, if it is in the same scope. If
	 * the vector covers that, but not this older one, the deletion may have
	 * been in a scope that the device did not have yet.
	 */
	if (is_lost)
		is_due = true;
	else if (is_delete_answered(page, row) ||
			 is_of_lost_push(page, &node->uuid, entry))
		is_due = false;
	else
		is_due = (tombstone->node == node->id && tombstone->xid == entry->xid) ||
			is_elsewhere(entry, tombstone->scope) ||
			vv_covers_counter(page->since, deleted_by, tombstone->xid);
	if (is_due)
		page_add_removal(page, row->st, &row->row, row->key,
						 DELTA_CHANGE_DELETE,
						 row_clock_max_hlc(tombstone->clock));
}

/* Was the device told of the row's deletion in the answer to its push? */
static bool
is_delete_answered(ServePage *page, LogRow *row)
{
	RowClock   *clock = row->tombstone.clock;
	Stamp	   *stamp;

	if (clock->nfloor == 0)
		return false;
	stamp = &clock->floor[clock->nfloor - 1];
	return !vv_covers_counter(page->since, &stamp->node, stamp->xid) &&
		serve_stamp_is_known(page, stamp);
}

/* Was the row in another scope, when the entry was written, than it is now? */
static bool
is_elsewhere(const LogEntry *entry, const char *scope)
{
	return entry->scope == NULL || strcmp(entry->scope, scope) != 0;
}

/* Has the row been served already as one of a push whose answer was lost? */
static bool
is_of_lost_push(ServePage *page, const pg_uuid_t *node, const LogEntry *entry)
{
	int			n;
	int			first = serve_pushes_at(page, node, entry->xid, &n);

	for (int i = first; i < first + n; i++)
	{
		ServePush  *push = &page->pushes[i];

		if (!push->is_lost)
			continue;
		serve_push_read(page, push);
		if (row_set_has(push->rows, &entry->row))
			return true;
	}
	return false;
}

/* All that is sent of a row that the device does not have. */
static Bitmapset *
value_columns(const ServeTable *st)
{
	Bitmapset  *result = bms_copy(st->fetched);

	for (int i = 0; i < st->table->nkeys; i++)
		result = bms_del_member(result, st->table->key[i]);
	return result;
}

/* The columns with stamps that the device does not know, and then the generated
 * ones; NULL where there are none. */
static Bitmapset *
unknown_columns(ServePage *page, LogRow *row, const RowClock *clock)
{
	SyncTable  *t = row->st->table;
	Bitmapset  *columns = value_columns(row->st);
	Bitmapset  *result = NULL;

	for (int i = -1; (i = bms_next_member(columns, i)) >= 0;)
	{
		const Stamp *stamp = row_clock_get(clock, t->columns[i].column_id);

		if (stamp != NULL && !serve_stamp_is_known(page, stamp))
			result = bms_add_member(result, i);
	}
	if (result != NULL && t->has_generated)
		for (int i = -1; (i = bms_next_member(columns, i)) >= 0;)
			if (t->columns[i].is_generated)
				result = bms_add_member(result, i);
	return result;
}

/* Does the device have this scope (and its rows, as far as since goes)? */
static bool
pulls_scope(ServePage *page, const char *scope)
{
	SyncDeviceScope *found = sync_device_find_scope(page->scopes, page->nscopes,
													scope);

	return found != NULL && serve_grant_is_done(page, found);
}
