/*-------------------------------------------------------------------------
 *
 * delta.c
 *	  Reading a delta: the binary form, decoded change by change.
 *
 * Decoding checks whatever memory safety depends on (lengths, counts, numbers
 * of names), always: a stored value may be damaged.  What a delta has to be
 * beyond that is checked where it comes in (delta_json.c, delta_wire.c).
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "compat.h"
#include "types/delta_internal.h"
#include "types/delta_text.h"
#include "types/varint.h"

static bool get_count(const char **cursor, const char *end, int *count);
static bool get_bytes(const char **cursor, const char *end, const char **data,
					  int *len);
static bool get_text(const char **cursor, const char *end, const char **data,
					 int *len);
static const char *decode_names(const char **cursor, const char *end,
								DeltaName **names, int *nnames);
static const char *decode_body_header(DeltaReader *reader, int flags);
static const char *decode_seals(DeltaReader *reader, const char *end);
static const char *decode_row(DeltaReader *reader, DeltaChange *change);
static const char *decode_intent(DeltaReader *reader, DeltaChange *change);
static const char *skip_cells(DeltaReader *reader, int *ncells);
static const char *decode_cells(DeltaReader *reader, int *ncells, int first,
								int64 *base);
static void make_room_for_text(DeltaReader *reader, int ncells);
static const char *decode_value(const char **cursor, const char *end, int kind,
								DeltaValue *value);
pg_noreturn static void raise_damaged(const char *what);
static bool same_names(const DeltaName *a, const DeltaName *b);
static bool same_cells(const DeltaReader *ra, const DeltaCell *a, int na,
					   const DeltaReader *rb, const DeltaCell *b, int nb);
static bool same_values(const DeltaValue *a, const DeltaValue *b);

/* ---- pieces ---- */

/* A count or number: one that could not possibly be fails at once. */
static bool
get_count(const char **cursor, const char *end, int *count)
{
	uint64		v;

	if (!varint_get(cursor, end, &v) || v > PG_INT32_MAX)
		return false;
	*count = (int) v;
	return true;
}

static bool
get_bytes(const char **cursor, const char *end, const char **data, int *len)
{
	if (!get_count(cursor, end, len) || *len > end - *cursor)
		return false;
	*data = *cursor;
	*cursor += *len;
	return true;
}

/* Bytes followed by a zero byte, none among them. */
static bool
get_text(const char **cursor, const char *end, const char **data, int *len)
{
	if (!get_bytes(cursor, end, data, len) || *cursor >= end || **cursor != '\0')
		return false;
	(*cursor)++;
	return memchr(*data, '\0', *len) == NULL;
}

/* ---- header ---- */

const char *
delta_decode_header(DeltaReader *reader, const char *bytes, Size len, int *newer)
{
	const char *end = bytes + len;
	const char *problem;
	uint64		body_size;

	memset(reader, 0, sizeof(DeltaReader));
	*newer = 0;
	if (len < DELTA_MAGIC_SIZE + 1 ||
		memcmp(bytes, DELTA_MAGIC, DELTA_MAGIC_SIZE) != 0)
		return "they do not start as a delta does";
	if ((unsigned char) bytes[DELTA_MAGIC_SIZE] != DELTA_FORMAT)
	{
		*newer = (unsigned char) bytes[DELTA_MAGIC_SIZE];
		return "the format is unknown";
	}
	reader->cursor = bytes + DELTA_MAGIC_SIZE + 1;
	if (!varint_get(&reader->cursor, end, &body_size) ||
		body_size > (Size) (end - reader->cursor))
		return "they are cut off";
	reader->end = reader->cursor + body_size;
	problem = decode_seals(reader, end);
	if (problem != NULL)
		return problem;
	if (body_size < 1 + UUID_LEN)
		return "they are cut off";
	problem = decode_body_header(reader, *(const unsigned char *) reader->cursor++);
	if (problem != NULL)
		return problem;
	reader->next_seq = reader->header.first_seq;
	return NULL;
}

/* What follows the body, to the very end. */
static const char *
decode_seals(DeltaReader *reader, const char *end)
{
	const char *cursor = reader->end;
	int			seals;
	int			len;

	if (cursor >= end)
		return "they are cut off";
	seals = *(const unsigned char *) cursor++;
	if (seals & ~(DELTA_SEAL_CHECKSUM | DELTA_SEAL_SIGNATURE))
		return "a reserved bit is set";
	if ((seals & DELTA_SEAL_CHECKSUM) &&
		!get_text(&cursor, end, &reader->header.checksum, &len))
		return "the checksum is cut off";
	if ((seals & DELTA_SEAL_SIGNATURE) &&
		!get_text(&cursor, end, &reader->header.signature, &len))
		return "the signature is cut off";
	if (cursor != end)
		return "there are bytes left over";
	return NULL;
}

static const char *
decode_body_header(DeltaReader *reader, int flags)
{
	DeltaHeader *header = &reader->header;
	const char **cursor = &reader->cursor;
	const char *end = reader->end;
	const char *problem;
	uint64		seq;
	int			len;
	int			i;

	header->is_served = (flags & DELTA_HAS_SERVED) != 0;
	header->has_more = (flags & DELTA_HAS_MORE) != 0;
	header->is_reset = (flags & DELTA_HAS_RESET) != 0;
	if ((flags & 0x80) || (!header->is_served &&
						   (flags & ~(DELTA_HAS_SERVED | DELTA_HAS_HLC))))
		return "the flags are not valid";

	memcpy(&header->replica, *cursor, UUID_LEN);
	*cursor += UUID_LEN;
	if (!header->is_served && (header->context = vv_unpack(cursor, end)) == NULL)
		return "the context is not valid";
	if ((flags & DELTA_HAS_FROM) && (header->from = vv_unpack(cursor, end)) == NULL)
		return "the vector \"from\" is not valid";
	if ((flags & DELTA_HAS_TO) && (header->to = vv_unpack(cursor, end)) == NULL)
		return "the vector \"to\" is not valid";
	if (header->context == NULL)
		header->context = vv_empty();
	header->hlc = HLC_MIN;
	if (flags & DELTA_HAS_HLC)
	{
		if (end - *cursor < 8)
			return "they are cut off";
		for (i = 0; i < 8; i++)
			header->hlc = header->hlc << 8 | *(const unsigned char *) (*cursor)++;
		if (header->hlc == HLC_MIN)
			return "the hlc is not in its shortest form";
	}
	if (!get_count(cursor, end, &header->schema_version))
		return "the schema version is not valid";
	if ((flags & DELTA_HAS_RESUME) &&
		!get_text(cursor, end, &header->resume, &len))
		return "the value of \"resume\" is not valid";

	problem = decode_names(cursor, end, &reader->tables, &reader->ntables);
	if (problem == NULL)
		problem = decode_names(cursor, end, &reader->columns, &reader->ncolumns);
	if (problem != NULL)
		return problem;

	/* each change takes two bytes at least */
	if (!get_count(cursor, end, &header->nchanges) ||
		header->nchanges > (end - *cursor) / 2 + 1)
		return "the number of changes is not valid";
	if (!header->is_served && header->nchanges > 0)
	{
		if (!varint_get(cursor, end, &seq) || seq < 1 || seq > PG_INT64_MAX ||
			seq > (uint64) PG_INT64_MAX - (header->nchanges - 1))
			return "the first seq is not valid";
		header->first_seq = (int64) seq;
	}
	return NULL;
}

static const char *
decode_names(const char **cursor, const char *end, DeltaName **names, int *nnames)
{
	int			i;

	/* each takes three bytes at least */
	if (!get_count(cursor, end, nnames) || *nnames > (end - *cursor) / 3 ||
		*nnames > DELTA_MAX_NAMES)
		return "the number of names is not valid";
	*names = palloc((*nnames + 1) * sizeof(DeltaName));
	for (i = 0; i < *nnames; i++)
		if (!get_text(cursor, end, &(*names)[i].data, &(*names)[i].len))
			return "a name is not valid";
	return NULL;
}

/* ---- changes ---- */

/*
 * Decode the next change; the caller knows that there is one.  Keys and cells
 * share one array that grows with the largest change.
 */
const char *
delta_decode_change(DeltaReader *reader, DeltaChange *change)
{
	const char *start = reader->cursor;
	const char *end = reader->end;
	const char *problem = NULL;
	int			first;
	uint64		v;

	memset(change, 0, sizeof(DeltaChange));
	change->table = -1;
	if (reader->cursor >= end)
		return "they are cut off";
	first = *(const unsigned char *) reader->cursor++;
	if (first & DELTA_CHANGE_CLOCK)
		return "a change carries stamps";
	if (first & DELTA_CHANGE_UNUSED)
		return "a reserved bit is set";
	change->kind = first & DELTA_CHANGE_KIND_MASK;
	if (first & DELTA_CHANGE_HAS_GROUP)
	{
		if (!varint_get(&reader->cursor, end, &v) || v < 1 || v > PG_INT64_MAX)
			return "a group is not valid";
		change->group = (int64) v;
	}
	if (first & DELTA_CHANGE_HAS_HLC)
	{
		if (!varint_get(&reader->cursor, end, &v))
			return "an hlc is not valid";
		change->hlc = reader->last_hlc + (uint64) varint_unzigzag(v);
		if (change->hlc == HLC_MIN)
			return "an hlc is not in its shortest form";
		reader->last_hlc = change->hlc;
	}
	if (!reader->header.is_served)
		change->seq = reader->next_seq++;

	change->row = reader->cursor;
	switch (change->kind)
	{
		case DELTA_CHANGE_INSERT:
		case DELTA_CHANGE_UPDATE:
		case DELTA_CHANGE_DELETE:
		case DELTA_CHANGE_RETRACT:
			problem = decode_row(reader, change);
			break;
		case DELTA_CHANGE_RETRACT_SCOPE:
			problem = decode_value(&reader->cursor, end, DELTA_STRING,
								   &change->args);
			break;
		case DELTA_CHANGE_INTENT:
			problem = decode_intent(reader, change);
			break;
		default:
			return "the kind of a change is not known";
	}
	if (problem != NULL)
		return problem;
	change->nbytes = reader->cursor - start;
	reader->nread++;
	if (reader->nread == reader->header.nchanges && reader->cursor != end)
		return "there are bytes left over";
	return NULL;
}

static const char *
decode_row(DeltaReader *reader, DeltaChange *change)
{
	bool		has_cells = change->kind == DELTA_CHANGE_INSERT ||
	change->kind == DELTA_CHANGE_UPDATE;
	int64		base = delta_text_base(change->hlc);
	const char *problem;

	if (!get_count(&reader->cursor, reader->end, &change->table) ||
		change->table >= reader->ntables)
		return "a table's number is not valid";
	if (reader->is_skipping)
	{
		problem = skip_cells(reader, &change->nkeys);
		if (problem == NULL && has_cells)
			problem = skip_cells(reader, &change->ncells);
		return problem;
	}
	reader->text_len = 0;
	problem = decode_cells(reader, &change->nkeys, 0, &base);
	if (problem == NULL && has_cells)
		problem = decode_cells(reader, &change->ncells, change->nkeys, &base);
	if (problem != NULL)
		return problem;
	change->keys = reader->cells;
	change->cells = reader->cells + change->nkeys;
	return NULL;
}

/* Pass keys or cells, and count them. */
static const char *
skip_cells(DeltaReader *reader, int *ncells)
{
	const char **cursor = &reader->cursor;
	const char *end = reader->end;
	const char *data;
	uint64		v;
	int			column;
	int			len;

	/* each takes two bytes at least */
	if (!get_count(cursor, end, ncells) || *ncells > (end - *cursor) / 2)
		return "a number of columns is not valid";
	for (int i = 0; i < *ncells; i++)
	{
		bool		is_passed = true;
		int			kind;
		int			form;

		if (!get_count(cursor, end, &column) || *cursor >= end)
			return "a column's number is not valid";
		kind = *(const unsigned char *) (*cursor)++ & 0x0F;
		if (kind == DELTA_KIND_UUID)
		{
			is_passed = end - *cursor >= UUID_LEN;
			*cursor += is_passed ? UUID_LEN : 0;
		}
		else if (kind == DELTA_KIND_TIME)
		{
			is_passed = *cursor < end;
			form = is_passed ? *(const unsigned char *) (*cursor)++ : 0;
			is_passed = is_passed && varint_get(cursor, end, &v) &&
				(!delta_time_has_digits(form) || varint_get(cursor, end, &v));
		}
		else if (kind >= DELTA_NUMBER)
			is_passed = get_bytes(cursor, end, &data, &len);
		if (!is_passed)
			return "a value is cut off";
	}
	return NULL;
}

/* Decode keys or cells into the reader's array from "first" on. */
static const char *
decode_cells(DeltaReader *reader, int *ncells, int first, int64 *base)
{
	const char *cursor = reader->cursor;
	const char *end = reader->end;
	int			n;
	int			i;

	/* each takes two bytes at least */
	if (!get_count(&cursor, end, &n) || n > (end - cursor) / 2 ||
		n > 4 * DELTA_MAX_NAMES)
		return "a number of columns is not valid";
	if (first + n > reader->maxcells || reader->cells == NULL)
	{
		reader->maxcells = Max(16, first + n + first / 2);
		reader->cells = reader->cells == NULL ?
			palloc(reader->maxcells * sizeof(DeltaCell)) :
			repalloc(reader->cells, reader->maxcells * sizeof(DeltaCell));
	}
	for (i = first; i < first + n; i++)
	{
		DeltaCell  *cell = &reader->cells[i];
		const char *problem;
		int			kind;

		if (!get_count(&cursor, end, &cell->column) ||
			cell->column >= reader->ncolumns)
			return "a column's number is not valid";
		if (cursor >= end)
			return "they are cut off";
		kind = *(const unsigned char *) cursor++;
		cell->op = kind >> 4;
		if (cell->op > DELTA_ADD)
			return "an operation is not known";
		if ((kind & 0x0F) == DELTA_KIND_UUID || (kind & 0x0F) == DELTA_KIND_TIME)
		{
			if (reader->text_max - reader->text_len < DELTA_TEXT_SIZE)
				make_room_for_text(reader, i);
			cell->value.kind = DELTA_STRING;
			cell->value.data = reader->text +reader->text_len;
			cell->value.len = delta_text_get(&cursor, end, kind & 0x0F, base,
											 reader->text +reader->text_len);
			if (cell->value.len < 0)
				return "a uuid or time is not valid";
			reader->text_len += cell->value.len;
			continue;
		}
		problem = decode_value(&cursor, end, kind & 0x0F, &cell->value);
		if (problem != NULL)
			return problem;
	}
	reader->cursor = cursor;
	*ncells = n;
	return NULL;
}

/* The change's cells so far may point to what is there already. */
static void
make_room_for_text(DeltaReader *reader, int ncells)
{
	char	   *old = reader->text;

	reader->text_max = Max(256, 2 * reader->text_max);
	if (old == NULL)
	{
		reader->text = palloc(reader->text_max);
		return;
	}
	reader->text = palloc(reader->text_max);
	memcpy(reader->text, old, reader->text_len);
	for (int i = 0; i < ncells; i++)
	{
		DeltaValue *value = &reader->cells[i].value;

		if (value->data >= old && value->data < old + reader->text_len)
			value->data = reader->text +(value->data - old);
	}
	pfree(old);
}

static const char *
decode_intent(DeltaReader *reader, DeltaChange *change)
{
	const char *problem;
	int			kind;

	problem = decode_value(&reader->cursor, reader->end, DELTA_STRING,
						   &change->intent);
	if (problem != NULL)
		return problem;
	if (reader->cursor >= reader->end)
		return "they are cut off";
	kind = *(const unsigned char *) reader->cursor++;
	return decode_value(&reader->cursor, reader->end, kind, &change->args);
}

static const char *
decode_value(const char **cursor, const char *end, int kind, DeltaValue *value)
{
	if (kind > DELTA_LIST)
		return "the kind of a value is not known";
	value->kind = kind;
	value->data = *cursor;
	value->len = 0;
	if (kind >= DELTA_NUMBER && !get_bytes(cursor, end, &value->data, &value->len))
		return "a value is cut off";
	return NULL;
}

/* ---- the reader ---- */

static void
raise_damaged(const char *what)
{
	ereport(ERROR,
			(errcode(ERRCODE_DATA_CORRUPTED),
			 errmsg("stored delta is damaged"),
			 errdetail_internal("Reading its bytes: %s.", what)));
}

void
delta_reader_init(DeltaReader *reader, const DeltaData *delta)
{
	const char *problem;
	int			newer;

	problem = delta_decode_header(reader, VARDATA_ANY(delta),
								  VARSIZE_ANY_EXHDR(delta), &newer);
	if (newer > DELTA_FORMAT)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("stored delta has format %d, the newest supported is %d",
						newer, DELTA_FORMAT)));
	if (problem != NULL)
		raise_damaged(problem);
	reader->encoding = delta_server_encoding();
}

/* Only the size is looked at, so that comparing and hashing cost little. */
Size
delta_content_size(const DeltaData *delta)
{
	const char *start = VARDATA_ANY(delta);
	const char *end = start + VARSIZE_ANY_EXHDR(delta);
	const char *cursor = start + DELTA_MAGIC_SIZE + 1;
	uint64		body_size;

	if (cursor > end || !varint_get(&cursor, end, &body_size) ||
		body_size > (Size) (end - cursor))
		raise_damaged("they are cut off");
	return cursor - start + body_size;
}

bool
delta_reader_next(DeltaReader *reader, DeltaChange *change)
{
	const char *problem;

	if (reader->nread >= reader->header.nchanges)
		return false;
	problem = delta_decode_change(reader, change);
	if (problem != NULL)
		raise_damaged(problem);
	return true;
}

bool
delta_reader_skip(DeltaReader *reader, DeltaChange *change)
{
	bool		result;

	reader->is_skipping = true;
	result = delta_reader_next(reader, change);
	reader->is_skipping = false;
	return result;
}

void
delta_reader_again(DeltaReader *reader, DeltaChange *change)
{
	DeltaReader again = *reader;
	const char *problem;

	if (change->table < 0)
		return;
	again.cursor = change->row;
	again.is_skipping = false;
	problem = decode_row(&again, change);
	if (problem != NULL)
		raise_damaged(problem);
	reader->cells = again.cells;
	reader->maxcells = again.maxcells;
	reader->text = again.text;
	reader->text_max = again.text_max;
}

bool
delta_list_next(const DeltaValue *value, const char **cursor, const char **data,
				int *len)
{
	const char *end = value->data + value->len;

	if (*cursor >= end)
		return false;
	if (!get_bytes(cursor, end, data, len))
		raise_damaged("a list is cut off");
	return true;
}

/* ---- comparing changes ---- */

bool
delta_same_change(const DeltaReader *ra, const DeltaChange *a,
				  const DeltaReader *rb, const DeltaChange *b)
{
	if (a->kind != b->kind || a->seq != b->seq || a->hlc != b->hlc ||
		a->group != b->group)
		return false;
	if (!same_values(&a->intent, &b->intent) || !same_values(&a->args, &b->args))
		return false;
	if (a->table < 0 || b->table < 0)
		return a->table == b->table;
	return same_names(&ra->tables[a->table], &rb->tables[b->table]) &&
		same_cells(ra, a->keys, a->nkeys, rb, b->keys, b->nkeys) &&
		same_cells(ra, a->cells, a->ncells, rb, b->cells, b->ncells);
}

static bool
same_names(const DeltaName *a, const DeltaName *b)
{
	return a->len == b->len && memcmp(a->data, b->data, a->len) == 0;
}

static bool
same_cells(const DeltaReader *ra, const DeltaCell *a, int na,
		   const DeltaReader *rb, const DeltaCell *b, int nb)
{
	int			i;

	if (na != nb)
		return false;
	for (i = 0; i < na; i++)
		if (a[i].op != b[i].op || !same_values(&a[i].value, &b[i].value) ||
			!same_names(&ra->columns[a[i].column], &rb->columns[b[i].column]))
			return false;
	return true;
}

static bool
same_values(const DeltaValue *a, const DeltaValue *b)
{
	if (a->kind != b->kind)
		return false;
	if (a->kind < DELTA_NUMBER)
		return true;
	return a->len == b->len && memcmp(a->data, b->data, a->len) == 0;
}
