/*-------------------------------------------------------------------------
 *
 * delta_encode.c
 *	  From changes to bytes: the other side of delta.c.
 *
 * While changes are encoded their names have the numbers in which they came;
 * when all are known, the numbers are put right where they stand, or, if they may take
 * more bytes, all changes are encoded again.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "compat.h"
#include "types/delta_internal.h"
#include "types/delta_text.h"
#include "types/merge_sort.h"
#include "types/varint.h"
#include "utils/memutils.h"

/* The final numbers, by those in which the names came */
typedef struct Numbering
{
	const int  *tables;
	const int  *columns;
} Numbering;

static int *names_order(const DeltaNames *names);
static int	compare_name_numbers(const void *a, const void *b, void *arg);
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
void
delta_encode_change(StringInfo buf, const DeltaChange *change, Hlc *last_hlc)
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

/* ---- the header ---- */

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

/* ---- numbers of names ---- */

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

static int
compare_name_numbers(const void *a, const void *b, void *arg)
{
	const DeltaName *x = (const DeltaName *) arg + *(const int *) a;
	const DeltaName *y = (const DeltaName *) arg + *(const int *) b;

	return delta_compare_bytes(x->data, x->len, y->data, y->len);
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
		delta_encode_change(buf, &change, &last_hlc);
	}
	if (reader.cells != NULL)
		pfree(reader.cells);
}

/* ---- the whole ---- */

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
