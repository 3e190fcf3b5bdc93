/*-------------------------------------------------------------------------
 *
 * delta_build.c
 *	  Building the binary form of a delta, and the writer on top of it.
 *
 * Names get numbers as they come, so that each change can be encoded and
 * forgotten at once; only when all names are known can they be numbered
 * bytewise, and then the encoded changes are copied with the final numbers.
 * The order of the cells needs no second look: it is by name from the start.
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
#include "types/delta_text.h"
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

/* How to number names while encoding; NULL: as they are. */
typedef struct Numbering
{
	const int  *tables;
	const int  *columns;
} Numbering;

static int	names_intern(DeltaNames *names, DeltaArena *strings, uint64 seed,
						 const char *name, int len);
static void names_rehash(DeltaNames *names);
static int *names_order(const DeltaNames *names);
static void mark_column(DeltaBuilder *b, int column);
static int	compare_cells(const void *a, const void *b, void *arg);
static int	compare_name_numbers(const void *a, const void *b, void *arg);
static int	compare_groups(const void *a, const void *b);
static int	compare_strings(const void *a, const void *b);

static void encode_change(StringInfo buf, const DeltaChange *change, Hlc *last_hlc);
static char *put_change(char *p, const DeltaChange *change, Hlc *last_hlc);
static char *put_cells(char *p, const DeltaCell *cells, int ncells, int64 *base);
static char *put_bytes(char *p, const DeltaValue *value);
static void append_text(StringInfo buf, const char *data, int len);
static void append_names(StringInfo buf, const DeltaNames *names, const int *order);
static void encode_header(StringInfo buf, DeltaBuilder *b, const DeltaHeader *header,
						  const int *table_order, const int *column_order);
static void renumber_changes(StringInfo buf, DeltaBuilder *b,
							 const Numbering *numbering);
static bool has_short_numbers(const DeltaBuilder *b);
static void renumber_in_place(DeltaBuilder *b, const Numbering *numbering);
static char *renumber_cells(char *p, const Numbering *numbering);
static char *skip_value(char *p, int kind);
static uint64 read_varint(char **p);
static char *skip_varint(char *p);
static char *skip_bytes(char *p);
static DeltaData *assemble(StringInfo head, StringInfo changes,
						   const DeltaHeader *header);
static int *invert_order(const int *order, int n);
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

	/* the process's own, since a random number takes longer than a small delta */
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

static int
names_intern(DeltaNames *names, DeltaArena *strings, uint64 seed,
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
		}
		else
		{
			names->names = repalloc(names->names, names->max * sizeof(DeltaName));
			names->hashes = repalloc(names->hashes, names->max * sizeof(uint32));
		}
	}
	copy = delta_arena_alloc(strings, len + 1);
	memcpy(copy, name, len);
	copy[len] = '\0';
	names->names[names->count].data = copy;
	names->names[names->count].len = len;
	names->hashes[names->count] = hash;
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

/* The names' numbers in bytewise order of the names. */
static int *
names_order(const DeltaNames *names)
{
	int		   *order = palloc((names->count + 1) * sizeof(int));
	int			i;

	for (i = 0; i < names->count; i++)
		order[i] = i;
	if (names->count > 1)
		merge_sort_arg(order, names->count, sizeof(int), compare_name_numbers,
				  names->names);
	return order;
}

int
delta_compare_bytes(const char *a, int alen, const char *b, int blen)
{
	int			result = memcmp(a, b, Min(alen, blen));

	return result != 0 ? result : (alen > blen) - (alen < blen);
}

static int
compare_name_numbers(const void *a, const void *b, void *arg)
{
	const DeltaName *x = (const DeltaName *) arg + *(const int *) a;
	const DeltaName *y = (const DeltaName *) arg + *(const int *) b;

	return delta_compare_bytes(x->data, x->len, y->data, y->len);
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

	encode_change(&b->changes, change, &b->last_hlc);
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

/* ---- encoding ---- */

/* At most so many bytes */
static Size
cells_size(const DeltaCell *cells, int ncells)
{
	Size		size = VARINT_MAX_SIZE;

	for (int i = 0; i < ncells; i++)
		size += 2 * VARINT_MAX_SIZE + 1 +
			(cells[i].value.kind >= DELTA_NUMBER ? cells[i].value.len : 0);
	return size;
}

/* Room is made once, since most of what follows is a few bytes each. */
static void
encode_change(StringInfo buf, const DeltaChange *change, Hlc *last_hlc)
{
	Size		size = 1 + 4 * VARINT_MAX_SIZE;
	char	   *p;

	switch (change->kind)
	{
		case DELTA_CHANGE_RETRACT_SCOPE:
			size += change->args.len;
			break;
		case DELTA_CHANGE_INTENT:
			size += 1 + VARINT_MAX_SIZE + change->intent.len + change->args.len;
			break;
		default:
			size += cells_size(change->keys, change->nkeys) +
				cells_size(change->cells, change->ncells);
			break;
	}
	if (size > MaxAllocSize)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("change of %zu bytes exceeds the maximum allowed (%zu)",
						size, (Size) MaxAllocSize)));
	enlargeStringInfo(buf, (int) size);
	p = put_change(buf->data + buf->len, change, last_hlc);
	Assert(p - (buf->data + buf->len) <= size);
	buf->len = p - buf->data;
}

static char *
put_change(char *p, const DeltaChange *change, Hlc *last_hlc)
{
	int64		base = delta_text_base(change->hlc);
	int			first = change->kind;

	if (change->group != 0)
		first |= DELTA_CHANGE_HAS_GROUP;
	if (change->hlc != HLC_MIN)
		first |= DELTA_CHANGE_HAS_HLC;
	*p++ = (char) first;
	if (change->group != 0)
		p = varint_put(p, change->group);
	if (change->hlc != HLC_MIN)
	{
		p = varint_put(p, varint_zigzag((int64) (change->hlc - *last_hlc)));
		*last_hlc = change->hlc;
	}

	switch (change->kind)
	{
		case DELTA_CHANGE_INSERT:
		case DELTA_CHANGE_UPDATE:
		case DELTA_CHANGE_DELETE:
		case DELTA_CHANGE_RETRACT:
			p = varint_put(p, change->table);
			p = put_cells(p, change->keys, change->nkeys, &base);
			if (change->kind == DELTA_CHANGE_INSERT ||
				change->kind == DELTA_CHANGE_UPDATE)
				p = put_cells(p, change->cells, change->ncells, &base);
			break;
		case DELTA_CHANGE_RETRACT_SCOPE:
			p = put_bytes(p, &change->args);
			break;
		case DELTA_CHANGE_INTENT:
			p = put_bytes(p, &change->intent);
			*p++ = (char) change->args.kind;
			if (change->args.kind >= DELTA_NUMBER)
				p = put_bytes(p, &change->args);
			break;
	}
	return p;
}

static char *
put_cells(char *p, const DeltaCell *cells, int ncells, int64 *base)
{
	p = varint_put(p, ncells);
	for (int i = 0; i < ncells; i++)
	{
		const DeltaCell *cell = &cells[i];
		int			kind = cell->value.kind;
		char	   *end = NULL;
		char	   *kind_at;

		p = varint_put(p, cell->column);
		kind_at = p++;
		if (kind == DELTA_STRING)
			end = delta_text_put(p, cell->value.data, cell->value.len, base, &kind);
		if (end != NULL)
			p = end;
		else if (cell->value.kind >= DELTA_NUMBER)
		{
			kind = cell->value.kind;
			p = put_bytes(p, &cell->value);
		}
		*kind_at = (char) (cell->op << 4 | kind);
	}
	return p;
}

static char *
put_bytes(char *p, const DeltaValue *value)
{
	p = varint_put(p, value->len);
	memcpy(p, value->data, value->len);
	return p + value->len;
}

/* varint length, bytes, a zero byte */
static void
append_text(StringInfo buf, const char *data, int len)
{
	varint_append(buf, len);
	appendBinaryStringInfo(buf, data, len);
	appendStringInfoChar(buf, '\0');
}

static void
append_names(StringInfo buf, const DeltaNames *names, const int *order)
{
	int			i;

	varint_append(buf, names->count);
	for (i = 0; i < names->count; i++)
		append_text(buf, names->names[order[i]].data, names->names[order[i]].len);
}

static void
append_hlc(StringInfo buf, Hlc hlc)
{
	int			shift;

	for (shift = 56; shift >= 0; shift -= 8)
		appendStringInfoChar(buf, (char) (hlc >> shift));
}

static void
encode_header(StringInfo buf, DeltaBuilder *b, const DeltaHeader *header,
			  const int *table_order, const int *column_order)
{
	int			flags = 0;

	if (header->hlc != HLC_MIN)
		flags |= DELTA_HAS_HLC;
	if (header->is_served)
	{
		flags |= DELTA_HAS_SERVED;
		if (header->has_more)
			flags |= DELTA_HAS_MORE;
		if (header->is_reset)
			flags |= DELTA_HAS_RESET;
		if (header->from != NULL)
			flags |= DELTA_HAS_FROM;
		if (header->to != NULL)
			flags |= DELTA_HAS_TO;
		if (header->resume != NULL)
			flags |= DELTA_HAS_RESUME;
	}
	appendStringInfoChar(buf, (char) flags);
	appendBinaryStringInfo(buf, (const char *) header->replica.data, UUID_LEN);
	if (!header->is_served)
		vv_pack(buf, header->context != NULL ? header->context : vv_empty());
	if (flags & DELTA_HAS_FROM)
		vv_pack(buf, header->from);
	if (flags & DELTA_HAS_TO)
		vv_pack(buf, header->to);
	if (flags & DELTA_HAS_HLC)
		append_hlc(buf, header->hlc);
	varint_append(buf, header->schema_version);
	if (flags & DELTA_HAS_RESUME)
		append_text(buf, header->resume, strlen(header->resume));
	append_names(buf, &b->tables, table_order);
	append_names(buf, &b->columns, column_order);
	varint_append(buf, b->nchanges);
	if (!header->is_served && b->nchanges > 0)
		varint_append(buf, header->first_seq);
}

/* order[new] = old; the result is [old] = new. */
static int *
invert_order(const int *order, int n)
{
	int		   *numbers = palloc((n + 1) * sizeof(int));
	int			i;

	for (i = 0; i < n; i++)
		numbers[order[i]] = i;
	return numbers;
}

static bool
is_identity(const int *order, int n)
{
	int			i;

	for (i = 0; i < n; i++)
		if (order[i] != i)
			return false;
	return true;
}

/* All numbers take one byte each, the new ones as the old ones */
static bool
has_short_numbers(const DeltaBuilder *b)
{
	return b->tables.count <= 0x80 && b->columns.count <= 0x80;
}

/*
 * Give names their final numbers where they stand.  What is read here was written
 * by put_change.
 */
static void
renumber_in_place(DeltaBuilder *b, const Numbering *numbering)
{
	char	   *p = b->changes.data;
	char	   *end = p + b->changes.len;

	while (p < end)
	{
		int			first = (unsigned char) *p++;
		int			kind = first & DELTA_CHANGE_KIND_MASK;

		if (first & DELTA_CHANGE_HAS_GROUP)
			p = skip_varint(p);
		if (first & DELTA_CHANGE_HAS_HLC)
			p = skip_varint(p);
		if (kind == DELTA_CHANGE_RETRACT_SCOPE || kind == DELTA_CHANGE_INTENT)
		{
			p = skip_bytes(p);
			if (kind == DELTA_CHANGE_INTENT && *p++ >= DELTA_NUMBER)
				p = skip_bytes(p);
			continue;
		}
		*p = (char) numbering->tables[(unsigned char) *p];
		p = renumber_cells(p + 1, numbering);
		if (kind == DELTA_CHANGE_INSERT || kind == DELTA_CHANGE_UPDATE)
			p = renumber_cells(p, numbering);
	}
	Assert(p == end);
}

static char *
renumber_cells(char *p, const Numbering *numbering)
{
	uint64		n = read_varint(&p);

	while (n-- > 0)
	{
		*p = (char) numbering->columns[(unsigned char) *p];
		p++;
		p = skip_value(p + 1, *p & 0x0F);
	}
	return p;
}

static char *
skip_value(char *p, int kind)
{
	switch (kind)
	{
		case DELTA_NULL:
		case DELTA_FALSE:
		case DELTA_TRUE:
			return p;
		case DELTA_KIND_UUID:
			return p + UUID_LEN;
		case DELTA_KIND_TIME:
			{
				int			form = (unsigned char) *p;

				p = skip_varint(p + 1);
				return delta_time_has_digits(form) ? skip_varint(p) : p;
			}
		default:
			return skip_bytes(p);
	}
}

static uint64
read_varint(char **p)
{
	uint64		v = 0;
	int			shift = 0;

	for (;; shift += 7)
	{
		unsigned char byte = (unsigned char) *(*p)++;

		v |= (uint64) (byte & 0x7F) << shift;
		if (byte < 0x80)
			return v;
	}
}

static char *
skip_varint(char *p)
{
	while (*p++ & 0x80)
		;
	return p;
}

static char *
skip_bytes(char *p)
{
	uint64		len = read_varint(&p);

	return p + len;
}

static void
renumber_changes(StringInfo buf, DeltaBuilder *b, const Numbering *numbering)
{
	DeltaReader reader;
	DeltaChange change;
	Hlc			last_hlc = HLC_MIN;

	memset(&reader, 0, sizeof(reader));
	reader.header.nchanges = b->nchanges;
	reader.ntables = b->tables.count;
	reader.ncolumns = b->columns.count;
	reader.cursor = b->changes.data;
	reader.end = b->changes.data + b->changes.len;
	while (reader.nread < b->nchanges)
	{
		if (delta_decode_change(&reader, &change) != NULL)
			elog(ERROR, "could not decode a change just encoded");
		if (change.table >= 0)
			change.table = numbering->tables[change.table];
		for (int i = 0; i < change.nkeys + change.ncells; i++)
			reader.cells[i].column = numbering->columns[reader.cells[i].column];
		encode_change(buf, &change, &last_hlc);
	}
	if (reader.cells != NULL)
		pfree(reader.cells);
}

DeltaData *
delta_builder_finish(DeltaBuilder *b, const DeltaHeader *header)
{
	int		   *table_order = names_order(&b->tables);
	int		   *column_order = names_order(&b->columns);
	StringInfoData head;
	StringInfoData changes = b->changes;

	initStringInfo(&head);
	encode_header(&head, b, header, table_order, column_order);

	if (!is_identity(table_order, b->tables.count) ||
		!is_identity(column_order, b->columns.count))
	{
		Numbering	numbering;

		numbering.tables = invert_order(table_order, b->tables.count);
		numbering.columns = invert_order(column_order, b->columns.count);
		if (has_short_numbers(b))
			renumber_in_place(b, &numbering);
		else
		{
			initStringInfo(&changes);
			renumber_changes(&changes, b, &numbering);
			pfree(b->changes.data);
		}
	}
	return assemble(&head, &changes, header);
}

/* The delta, in memory of its size: it is kept for long.  Frees the parts. */
static DeltaData *
assemble(StringInfo head, StringInfo changes, const DeltaHeader *header)
{
	StringInfoData seals;
	int			flags = 0;
	Size		size;
	char	   *result;
	char	   *p;

	if (header->checksum != NULL)
		flags |= DELTA_SEAL_CHECKSUM;
	if (header->signature != NULL)
		flags |= DELTA_SEAL_SIGNATURE;
	initStringInfo(&seals);
	appendStringInfoChar(&seals, (char) flags);
	if (header->checksum != NULL)
		append_text(&seals, header->checksum, strlen(header->checksum));
	if (header->signature != NULL)
		append_text(&seals, header->signature, strlen(header->signature));

	size = VARHDRSZ + DELTA_MAGIC_SIZE + 1 + VARINT_MAX_SIZE + (Size) head->len +
		changes->len + seals.len;
	result = palloc(size);
	p = result + VARHDRSZ;
	memcpy(p, DELTA_MAGIC, DELTA_MAGIC_SIZE);
	p += DELTA_MAGIC_SIZE;
	*p++ = DELTA_FORMAT;
	p = varint_put(p, (uint64) head->len + changes->len);
	memcpy(p, head->data, head->len);
	p += head->len;
	memcpy(p, changes->data, changes->len);
	p += changes->len;
	memcpy(p, seals.data, seals.len);
	p += seals.len;
	pfree(seals.data);
	pfree(changes->data);
	pfree(head->data);
	SET_VARSIZE(result, p - result);
	return (DeltaData *) result;
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
