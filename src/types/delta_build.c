/*-------------------------------------------------------------------------
 *
 * delta_build.c
 *	  Building the binary form of a delta, and the writer on top of it.
 *
 * Names get numbers as they come, so that each change can be encoded and
 * forgotten at once; only when all names are known can they be numbered
 * bytewise (delta_encode.c).  The order of the cells needs no second look: it is by
 * name from the start.
 *
 * Nothing is allocated per value.  The strings of one change live in an arena
 * that is emptied at its end.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "compat.h"
#include "port.h"
#include "types/delta_internal.h"
#include "types/merge_sort.h"
#include "types/varint.h"
#include "utils/memutils.h"

#define ARENA_CHUNK_SIZE	8192

struct DeltaArenaChunk
{
	DeltaArenaChunk *next;
	Size		size;
	Size		used;
	char		data[FLEXIBLE_ARRAY_MEMBER];
};

struct DeltaWriter
{
	MemoryContext context;
	DeltaBuilder builder;
	DeltaChange change;			/* being written */
};

static int	names_intern(DeltaNames *names, DeltaArena *strings, uint64 seed,
						 const char *name, int len);
static int	names_find(DeltaNames *names, DeltaArena *strings, uint64 seed,
					   const char *name, int len);
static void names_rehash(DeltaNames *names);
static void mark_column(DeltaBuilder *b, int column);
static int	compare_cells(const void *a, const void *b, void *arg);
static int	compare_groups(const void *a, const void *b);
static int	compare_strings(const void *a, const void *b);

static DeltaValue canonical_value(const DeltaValue *value);

/* ---- arena ---- */

char *
delta_arena_alloc(DeltaArena *arena, Size size)
{
	DeltaArenaChunk *chunk = arena->chunks;
	char	   *result;

	if (chunk == NULL || chunk->size - chunk->used < size)
	{
		Size		chunk_size = Max(size, ARENA_CHUNK_SIZE);

		chunk = palloc(offsetof(DeltaArenaChunk, data) + chunk_size);
		chunk->size = chunk_size;
		chunk->used = 0;
		chunk->next = arena->chunks;
		arena->chunks = chunk;
	}
	result = chunk->data + chunk->used;
	chunk->used += size;
	return result;
}

/* Forget everything; one chunk of ordinary size is kept for the next change. */
void
delta_arena_reset(DeltaArena *arena)
{
	DeltaArenaChunk *kept = NULL;

	while (arena->chunks != NULL)
	{
		DeltaArenaChunk *chunk = arena->chunks;

		arena->chunks = chunk->next;
		if (kept == NULL && chunk->size == ARENA_CHUNK_SIZE)
			kept = chunk;
		else
			pfree(chunk);
	}
	if (kept != NULL)
	{
		kept->next = NULL;
		kept->used = 0;
	}
	arena->chunks = kept;
}

/* ---- names ---- */

void
delta_builder_init(DeltaBuilder *b)
{
	static uint64 seed = 0;

	/*
	 * the process's own, since a random number takes longer than a small
	 * delta
	 */
	if (seed == 0 && !pg_strong_random(&seed, sizeof(seed)))
		seed = (uint64) (uintptr_t) b;
	memset(b, 0, sizeof(DeltaBuilder));
	b->seed = seed;
	initStringInfo(&b->changes);
	b->last_hlc = HLC_MIN;
}

int
delta_builder_table(DeltaBuilder *b, const char *name, int len)
{
	return names_intern(&b->tables, &b->strings, b->seed, name, len);
}

int
delta_builder_column(DeltaBuilder *b, const char *name, int len)
{
	return names_intern(&b->columns, &b->strings, b->seed, name, len);
}

/* The name's number, which it gets where it is new; -1: there are too many. */
static int
names_intern(DeltaNames *names, DeltaArena *strings, uint64 seed,
			 const char *name, int len)
{
	int			last = names->last;
	int			number;

	/* changes of one kind have their names in one order */
	if (names->count > 0)
	{
		number = names->followers[last];
		if (names->names[number].len == len &&
			memcmp(names->names[number].data, name, len) == 0)
			return names->last = number;
	}
	number = names_find(names, strings, seed, name, len);
	if (number >= 0)
		names->followers[last] = names->last = number;
	return number;
}

static int
names_find(DeltaNames *names, DeltaArena *strings, uint64 seed,
		   const char *name, int len)
{
	uint32		hash = (uint32) hash_bytes_extended((const unsigned char *) name,
													len, seed);
	int			slot;
	char	   *copy;

	if (names->count * 2 >= names->nslots)
		names_rehash(names);
	slot = hash & (names->nslots - 1);
	while (names->slots[slot] != 0)
	{
		int			number = names->slots[slot] - 1;

		if (names->hashes[number] == hash && names->names[number].len == len &&
			memcmp(names->names[number].data, name, len) == 0)
			return number;
		slot = (slot + 1) & (names->nslots - 1);
	}

	if (names->count >= DELTA_MAX_NAMES)
		return -1;
	if (names->count >= names->max)
	{
		names->max = Max(16, names->max * 2);
		if (names->names == NULL)
		{
			names->names = palloc(names->max * sizeof(DeltaName));
			names->hashes = palloc(names->max * sizeof(uint32));
			names->followers = palloc(names->max * sizeof(int));
		}
		else
		{
			names->names = repalloc(names->names, names->max * sizeof(DeltaName));
			names->hashes = repalloc(names->hashes, names->max * sizeof(uint32));
			names->followers = repalloc(names->followers, names->max * sizeof(int));
		}
	}
	copy = delta_arena_alloc(strings, len + 1);
	memcpy(copy, name, len);
	copy[len] = '\0';
	names->names[names->count].data = copy;
	names->names[names->count].len = len;
	names->hashes[names->count] = hash;
	names->followers[names->count] = 0;
	names->slots[slot] = ++names->count;
	return names->count - 1;
}

static void
names_rehash(DeltaNames *names)
{
	int			i;

	if (names->slots != NULL)
		pfree(names->slots);
	names->nslots = Max(32, names->nslots * 2);
	names->slots = palloc0(names->nslots * sizeof(int));
	for (i = 0; i < names->count; i++)
	{
		int			slot = names->hashes[i] & (names->nslots - 1);

		while (names->slots[slot] != 0)
			slot = (slot + 1) & (names->nslots - 1);
		names->slots[slot] = i + 1;
	}
}

int
delta_compare_bytes(const char *a, int alen, const char *b, int blen)
{
	int			result = memcmp(a, b, Min(alen, blen));

	return result != 0 ? result : (alen > blen) - (alen < blen);
}

/* ---- one change ---- */

/* Make room for a column in the arrays that tell where it was last used. */
static void
mark_column(DeltaBuilder *b, int column)
{
	int			max = b->maxused;

	if (column < max)
		return;
	b->maxused = Max(32, max);
	while (b->maxused <= column)
		b->maxused *= 2;
	if (max == 0)
	{
		b->key_used = palloc(b->maxused * sizeof(uint32));
		b->cell_used = palloc(b->maxused * sizeof(uint32));
		b->cell_ops = palloc(b->maxused);
	}
	else
	{
		b->key_used = repalloc(b->key_used, b->maxused * sizeof(uint32));
		b->cell_used = repalloc(b->cell_used, b->maxused * sizeof(uint32));
		b->cell_ops = repalloc(b->cell_ops, b->maxused);
	}
	memset(b->key_used + max, 0, (b->maxused - max) * sizeof(uint32));
	memset(b->cell_used + max, 0, (b->maxused - max) * sizeof(uint32));
	memset(b->cell_ops + max, 0, b->maxused - max);
}

static DeltaCell *
add_cell(DeltaCell **cells, int *count, int *max)
{
	if (*count >= *max)
	{
		*max = Max(16, *max * 2);
		*cells = *cells == NULL ? palloc(*max * sizeof(DeltaCell)) :
			repalloc(*cells, *max * sizeof(DeltaCell));
	}
	return &(*cells)[(*count)++];
}

bool
delta_builder_key(DeltaBuilder *b, int column, const DeltaValue *value)
{
	DeltaCell  *key;

	mark_column(b, column);
	if (b->key_used[column] == (uint32) b->nchanges + 1)
		return false;
	b->key_used[column] = b->nchanges + 1;
	key = add_cell(&b->keys, &b->nkeys, &b->maxkeys);
	key->column = column;
	key->op = DELTA_SET;
	key->value = *value;
	return true;
}

bool
delta_builder_cell(DeltaBuilder *b, int column, DeltaCellOp op,
				   const DeltaValue *value)
{
	DeltaCell  *cell;

	mark_column(b, column);
	if (b->cell_used[column] != (uint32) b->nchanges + 1)
	{
		b->cell_used[column] = b->nchanges + 1;
		b->cell_ops[column] = 0;
	}
	if (b->cell_ops[column] & (1 << op))
		return false;
	b->cell_ops[column] |= 1 << op;
	cell = add_cell(&b->cells, &b->ncells, &b->maxcells);
	cell->column = column;
	cell->op = op;
	cell->value = *value;
	return true;
}

void
delta_builder_end(DeltaBuilder *b, DeltaChange *change)
{
	if (b->nkeys > 1)
		merge_sort_arg(b->keys, b->nkeys, sizeof(DeltaCell), compare_cells,
					   b->columns.names);
	if (b->ncells > 1)
		merge_sort_arg(b->cells, b->ncells, sizeof(DeltaCell), compare_cells,
					   b->columns.names);
	change->nkeys = b->nkeys;
	change->keys = b->keys;
	change->ncells = b->ncells;
	change->cells = b->cells;

	if (change->group != 0 && change->group != b->last_group)
	{
		if (b->ngroups >= b->maxgroups)
		{
			b->maxgroups = Max(16, b->maxgroups * 2);
			b->groups = b->groups == NULL ? palloc(b->maxgroups * sizeof(int64)) :
				repalloc(b->groups, b->maxgroups * sizeof(int64));
		}
		b->groups[b->ngroups++] = change->group;
	}
	b->last_group = change->group;

	delta_encode_change(&b->changes, change, &b->last_hlc);
	b->nchanges++;
	b->nkeys = 0;
	b->ncells = 0;
	delta_arena_reset(&b->scratch);
}

/* By name, then by op. */
static int
compare_cells(const void *a, const void *b, void *arg)
{
	const DeltaCell *x = a;
	const DeltaCell *y = b;
	const DeltaName *names = arg;

	if (x->column == y->column)
		return (int) x->op - (int) y->op;
	return delta_compare_bytes(names[x->column].data, names[x->column].len,
							   names[y->column].data, names[y->column].len);
}

static int
compare_groups(const void *a, const void *b)
{
	int64		x = *(const int64 *) a;
	int64		y = *(const int64 *) b;

	return (x > y) - (x < y);
}

int64
delta_builder_split_group(DeltaBuilder *b)
{
	int			i;

	if (b->ngroups < 2)
		return 0;
	merge_sort(b->groups, b->ngroups, sizeof(int64), compare_groups);
	for (i = 1; i < b->ngroups; i++)
		if (b->groups[i] == b->groups[i - 1])
			return b->groups[i];
	return 0;
}

/* ---- lists ---- */

static int
compare_strings(const void *a, const void *b)
{
	const DeltaString *x = a;
	const DeltaString *y = b;

	return delta_compare_bytes(x->data, x->len, y->data, y->len);
}

/* Sort, and drop repeated ones; returns how many are left. */
int
delta_list_sort(DeltaString *strings, int n)
{
	int			i;
	int			kept = 0;

	if (n > 1)
		merge_sort(strings, n, sizeof(DeltaString), compare_strings);
	for (i = 0; i < n; i++)
		if (kept == 0 || compare_strings(&strings[kept - 1], &strings[i]) != 0)
			strings[kept++] = strings[i];
	return kept;
}

/* How many bytes delta_list_put writes. */
Size
delta_list_size(DeltaString *strings, int n)
{
	char		bytes[VARINT_MAX_SIZE];
	Size		size = 0;
	int			i;

	for (i = 0; i < n; i++)
		size += varint_put(bytes, strings[i].len) - bytes + strings[i].len;
	return size;
}

void
delta_list_put(char *p, const DeltaString *strings, int n)
{
	int			i;

	for (i = 0; i < n; i++)
	{
		p = varint_put(p, strings[i].len);
		memcpy(p, strings[i].data, strings[i].len);
		p += strings[i].len;
	}
}

/* ---- the writer ---- */

DeltaWriter *
delta_writer_create(MemoryContext context)
{
	MemoryContext old = MemoryContextSwitchTo(context);
	DeltaWriter *w = palloc0(sizeof(DeltaWriter));

	w->context = context;
	delta_builder_init(&w->builder);
	MemoryContextSwitchTo(old);
	return w;
}

void
delta_writer_begin(DeltaWriter *w, DeltaChangeKind kind, const char *table, Hlc hlc)
{
	MemoryContext old = MemoryContextSwitchTo(w->context);

	memset(&w->change, 0, sizeof(DeltaChange));
	w->change.kind = kind;
	w->change.hlc = hlc;
	w->change.table = -1;
	w->builder.nkeys = 0;
	w->builder.ncells = 0;
	if (table != NULL)
	{
		w->change.table = delta_builder_table(&w->builder, table, strlen(table));
		if (w->change.table < 0)
			elog(ERROR, "too many tables in one delta");
	}
	MemoryContextSwitchTo(old);
}

/* JSON goes as delta_value_from_json has it, so that the delta is canonical. */
static DeltaValue
canonical_value(const DeltaValue *value)
{
	DeltaValue	result = *value;

	if (value->kind == DELTA_JSON)
		delta_value_from_json(value->data, value->len, &result);
	return result;
}

static int
writer_column(DeltaWriter *w, const char *column)
{
	int			number = delta_builder_column(&w->builder, column, strlen(column));

	if (number < 0)
		elog(ERROR, "too many columns in one delta");
	return number;
}

void
delta_writer_key(DeltaWriter *w, const char *column, const DeltaValue *value)
{
	MemoryContext old = MemoryContextSwitchTo(w->context);
	DeltaValue	key = canonical_value(value);

	if (!delta_builder_key(&w->builder, writer_column(w, column), &key))
		elog(ERROR, "key column \"%s\" is written twice", column);
	MemoryContextSwitchTo(old);
}

void
delta_writer_cell(DeltaWriter *w, const char *column, DeltaCellOp op,
				  const DeltaValue *value)
{
	MemoryContext old = MemoryContextSwitchTo(w->context);
	DeltaValue	cell = canonical_value(value);

	if (!delta_builder_cell(&w->builder, writer_column(w, column), op, &cell))
		elog(ERROR, "column \"%s\" is written twice", column);
	MemoryContextSwitchTo(old);
}

void
delta_writer_scope(DeltaWriter *w, const char *scope)
{
	w->change.args.kind = DELTA_STRING;
	w->change.args.data = scope;
	w->change.args.len = strlen(scope);
}

void
delta_writer_end(DeltaWriter *w)
{
	MemoryContext old = MemoryContextSwitchTo(w->context);

	delta_builder_end(&w->builder, &w->change);
	MemoryContextSwitchTo(old);
}

int
delta_writer_count(const DeltaWriter *w)
{
	return w->builder.nchanges;
}

DeltaData *
delta_writer_finish(DeltaWriter *w, const DeltaHeader *header)
{
	DeltaHeader taken = *header;

	/* changes without seq make a served delta, an answer's corrections too */
	taken.is_served = true;
	taken.first_seq = 0;
	taken.checksum = NULL;
	taken.signature = NULL;
	return delta_builder_finish(&w->builder, &taken);
}
