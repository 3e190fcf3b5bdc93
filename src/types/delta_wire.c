/*-------------------------------------------------------------------------
 *
 * delta_wire.c
 *	  Deltas from and to the wire, their canonical bytes and checksums.
 *
 * The wire form is the binary form in UTF-8, so in a UTF-8 database nothing is
 * converted: what comes in is checked and kept.  The check is strict: bytes
 * that say the right thing in another way than ours are refused, so that equal
 * deltas have equal bytes.
 *
 * The canonical bytes, which are signed, are JSON all the same: a client that writes JSON
 * can make them without knowing the binary form.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/jsonapi.h"
#include "compat.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "port/pg_crc32c.h"
#include "types/delta_internal.h"
#include "types/delta_text.h"
#include "types/merge_sort.h"
#include "types/varint.h"
#include "utils/memutils.h"

#define TOO_BIG			ERRCODE_PROGRAM_LIMIT_EXCEEDED
#define MALFORMED		ERRCODE_INVALID_BINARY_REPRESENTATION

typedef struct WireChecker
{
	DeltaReader reader;
	const char *bytes;
	const DeltaLimits *limits;
	DeltaError *error;
	int			encoding;		/* of the bytes */
	int			name_factor;	/* names may be longer before conversion */
	bool	   *table_used;
	bool	   *column_used;
	int64	   *groups;			/* that have begun */
	int			ngroups;
	int64		last_group;
} WireChecker;

static int	wire_encoding(void);
static bool check_header(WireChecker *c);
static bool check_names(WireChecker *c, const DeltaName *names, int n, int max_len);
static bool check_changes(WireChecker *c);
static bool check_change(WireChecker *c, const DeltaChange *change);
static bool check_row(WireChecker *c, const DeltaChange *change);
static bool check_cell(WireChecker *c, const DeltaChange *change,
					   const DeltaCell *cell, bool is_key);
static bool has_shorter_form(const WireChecker *c, const DeltaValue *value);
static bool check_value(WireChecker *c, const DeltaValue *value);
static bool check_list(WireChecker *c, const DeltaValue *value);
static bool check_text(WireChecker *c, const char *data, int len);
static bool check_used(WireChecker *c);
static bool check_groups(WireChecker *c);
static int	compare_groups(const void *a, const void *b);
static bool malformed(WireChecker *c, const char *what);

/* The encoding of the wire form: UTF-8, but in a database that does not know its
 * own. */
static int
wire_encoding(void)
{
	return delta_server_encoding() == PG_SQL_ASCII ? PG_SQL_ASCII : PG_UTF8;
}

/* ---- parsing ---- */

DeltaData *
delta_parse_wire(const char *bytes, Size len, const DeltaLimits *limits,
				 DeltaError *error)
{
	WireChecker c;
	DeltaData  *result;
	const char *problem;
	int			newer;

	if (len > limits->max_size || len > MaxAllocSize - VARHDRSZ)
	{
		delta_set_error(error, TOO_BIG, -1,
						"delta of %zu bytes exceeds the maximum allowed (%zu)",
						len, Min(limits->max_size, MaxAllocSize - VARHDRSZ));
		delta_set_limit_hint(error, "max_delta_size");
		return NULL;
	}

	memset(&c, 0, sizeof(c));
	c.bytes = bytes;
	c.limits = limits;
	c.error = error;
	c.encoding = wire_encoding();
	c.name_factor = c.encoding == delta_server_encoding() ? 1 : MAX_CONVERSION_GROWTH;
	problem = delta_decode_header(&c.reader, bytes, len, &newer);
	if (newer > DELTA_FORMAT)
	{
		delta_set_error(error, ERRCODE_FEATURE_NOT_SUPPORTED, -1,
						"delta has format %d, the newest supported is %d",
						newer, DELTA_FORMAT);
		return NULL;
	}
	if (problem != NULL)
	{
		malformed(&c, problem);
		return NULL;
	}
	if (!check_header(&c) || !check_changes(&c))
		return NULL;

	result = palloc(VARHDRSZ + len);
	SET_VARSIZE(result, VARHDRSZ + len);
	memcpy(VARDATA(result), bytes, len);
	if (c.encoding != delta_server_encoding())
		result = delta_transcode(result, c.encoding, delta_server_encoding());
	return result;
}

static bool
malformed(WireChecker *c, const char *what)
{
	return delta_set_error(c->error, MALFORMED,
						   c->reader.cursor == NULL ? 0 : c->reader.cursor - c->bytes,
						   "invalid bytes of a delta: %s", what);
}

static bool
check_header(WireChecker *c)
{
	const DeltaReader *reader = &c->reader;
	const DeltaHeader *header = &reader->header;

	if (header->nchanges > c->limits->max_changes)
	{
		delta_set_error(c->error, TOO_BIG, -1,
						"delta has %d changes, which exceeds the maximum allowed (%d)",
						header->nchanges, c->limits->max_changes);
		return delta_set_limit_hint(c->error, "max_delta_changes");
	}
	if (header->resume != NULL &&
		!check_text(c, header->resume, strlen(header->resume)))
		return malformed(c, "the value of \"resume\" is not valid text");
	if (header->checksum != NULL &&
		!delta_checksum_is_valid(header->checksum, strlen(header->checksum)))
		return malformed(c, "the checksum is not valid");
	if (header->signature != NULL &&
		!delta_signature_is_valid(header->signature, strlen(header->signature)))
		return malformed(c, "the signature is not valid");
	if (!check_names(c, reader->tables, reader->ntables, DELTA_MAX_TABLE_NAME) ||
		!check_names(c, reader->columns, reader->ncolumns, DELTA_MAX_COLUMN_NAME))
		return malformed(c, "the names are not valid, sorted and different");
	return true;
}

static bool
check_names(WireChecker *c, const DeltaName *names, int n, int max_len)
{
	int			i;

	for (i = 0; i < n; i++)
	{
		if (names[i].len < 1 || names[i].len > max_len * c->name_factor ||
			!check_text(c, names[i].data, names[i].len))
			return false;
		if (i > 0 && delta_compare_bytes(names[i - 1].data, names[i - 1].len,
										 names[i].data, names[i].len) >= 0)
			return false;
	}
	return true;
}

static bool
check_changes(WireChecker *c)
{
	DeltaReader *reader = &c->reader;
	DeltaChange change;

	c->table_used = palloc0(reader->ntables + 1);
	c->column_used = palloc0(reader->ncolumns + 1);
	c->groups = palloc(((Size) reader->header.nchanges + 1) * sizeof(int64));
	while (reader->nread < reader->header.nchanges)
	{
		const char *start = reader->cursor;
		const char *problem;

		CHECK_FOR_INTERRUPTS();
		if (*(const unsigned char *) start & DELTA_CHANGE_CLOCK)
			return delta_set_error(c->error, ERRCODE_FEATURE_NOT_SUPPORTED, -1,
								   "change %d carries stamps, which format %d does not support",
								   reader->nread + 1, DELTA_FORMAT);
		problem = delta_decode_change(reader, &change);
		if (problem != NULL)
			return malformed(c, problem);
		if (!check_change(c, &change))
			return false;
	}
	if (reader->cursor != reader->end)
		return malformed(c, "there are bytes left over");
	return check_used(c) && check_groups(c);
}

static bool
check_change(WireChecker *c, const DeltaChange *change)
{
	bool		is_served = c->reader.header.is_served;

	if (change->group != 0 && change->group != c->last_group)
		c->groups[c->ngroups++] = change->group;
	c->last_group = change->group;

	switch (change->kind)
	{
		case DELTA_CHANGE_INSERT:
		case DELTA_CHANGE_UPDATE:
		case DELTA_CHANGE_DELETE:
			return check_row(c, change);
		case DELTA_CHANGE_RETRACT:
			if (!is_served)
				return malformed(c, "a pushed delta retracts");
			return check_row(c, change);
		case DELTA_CHANGE_RETRACT_SCOPE:
			if (!is_served)
				return malformed(c, "a pushed delta retracts");
			return check_value(c, &change->args);
		case DELTA_CHANGE_INTENT:
			if (is_served)
				return malformed(c, "a served delta has an intent");
			if (change->intent.len == 0)
				return malformed(c, "an intent has no name");
			if (change->args.kind != DELTA_NULL &&
				(change->args.kind != DELTA_JSON || change->args.len == 0 ||
				 change->args.data[0] != '{'))
				return malformed(c, "the arguments of an intent are not an object");
			return check_value(c, &change->intent) && check_value(c, &change->args);
	}
	return malformed(c, "the kind of a change is not known");
}

static bool
check_row(WireChecker *c, const DeltaChange *change)
{
	int			i;

	c->table_used[change->table] = true;
	if (change->nkeys == 0)
		return malformed(c, "a key is empty");
	for (i = 0; i < change->nkeys; i++)
	{
		if (i > 0 && change->keys[i].column <= change->keys[i - 1].column)
			return malformed(c, "a key's columns are not in order");
		if (!check_cell(c, change, &change->keys[i], true))
			return false;
	}
	for (i = 0; i < change->ncells; i++)
	{
		const DeltaCell *cell = &change->cells[i];

		if (i > 0 && (cell->column < cell[-1].column ||
					  (cell->column == cell[-1].column && cell->op <= cell[-1].op)))
			return malformed(c, "a change's columns are not in order");
		if (!check_cell(c, change, cell, false))
			return false;
	}
	return true;
}

static bool
check_cell(WireChecker *c, const DeltaChange *change, const DeltaCell *cell,
		   bool is_key)
{
	DeltaValueKind kind = cell->value.kind;
	bool		is_good;

	c->column_used[cell->column] = true;
	switch (cell->op)
	{
		case DELTA_SET:
			is_good = is_key ? kind >= DELTA_FALSE && kind <= DELTA_STRING :
				kind != DELTA_LIST;
			break;
		case DELTA_INCREMENT:
			is_good = kind == DELTA_NUMBER || kind == DELTA_STRING;
			break;
		case DELTA_ADD:
			is_good = kind == DELTA_LIST || delta_value_is_object(&cell->value);
			break;
		default:
			is_good = kind == DELTA_LIST;
			break;
	}
	if (!is_good ||
		((is_key || change->kind == DELTA_CHANGE_INSERT) && cell->op != DELTA_SET))
		return malformed(c, "a value does not fit what is done with it");
	if (kind == DELTA_STRING && has_shorter_form(c, &cell->value))
		return malformed(c, "a uuid or time is not in its shortest form");
	return check_value(c, &cell->value);
}

/* Does a string stand in the bytes as it is, though there is a shorter form? */
static bool
has_shorter_form(const WireChecker *c, const DeltaValue *value)
{
	char		bytes[DELTA_TEXT_SIZE];
	int64		base = 0;
	int			kind;

	return value->data != NULL && value->data >= c->bytes &&
		value->data < c->reader.end &&
		delta_text_put(bytes, value->data, value->len, &base, &kind) != NULL;
}

static bool
check_value(WireChecker *c, const DeltaValue *value)
{
	int			depth;

	if (value->kind >= DELTA_NUMBER && value->len > c->limits->max_value_size)
	{
		delta_set_error(c->error, TOO_BIG, -1,
						"value in change %d has %d bytes, which exceeds the maximum allowed (%zu)",
						c->reader.nread, value->len, c->limits->max_value_size);
		return delta_set_limit_hint(c->error, "max_value_size");
	}
	switch (value->kind)
	{
		case DELTA_NULL:
		case DELTA_FALSE:
		case DELTA_TRUE:
			return true;
		case DELTA_NUMBER:
			if (value->len == 0 || !IsValidJsonNumber(value->data, value->len))
				return malformed(c, "a number is not valid");
			return true;
		case DELTA_STRING:
			if (!check_text(c, value->data, value->len))
				return malformed(c, "a string is not valid text");
			return true;
		case DELTA_JSON:
			depth = delta_json_depth(value->data, value->data + value->len);
			if (depth > c->limits->max_depth)
			{
				delta_set_error(c->error, TOO_BIG, -1, DELTA_TOO_DEEP,
								depth, c->limits->max_depth);
				return delta_set_limit_hint(c->error, "max_delta_depth");
			}
			if (!check_text(c, value->data, value->len) ||
				!delta_json_is_kept(value->data, value->len, c->encoding))
				return malformed(c, "a JSON value is not valid");
			return true;
		case DELTA_LIST:
			return check_list(c, value);
	}
	return malformed(c, "the kind of a value is not known");
}

static bool
check_list(WireChecker *c, const DeltaValue *value)
{
	const char *cursor = value->data;
	const char *end = value->data + value->len;
	const char *last = NULL;
	int			last_len = 0;

	while (cursor < end)
	{
		uint64		len;

		if (!varint_get(&cursor, end, &len) || len > (Size) (end - cursor))
			return malformed(c, "a list is cut off");
		if (!check_text(c, cursor, (int) len))
			return malformed(c, "an element of a list is not valid text");
		if (last != NULL && delta_compare_bytes(last, last_len, cursor, (int) len) >= 0)
			return malformed(c, "a list is not sorted");
		last = cursor;
		last_len = (int) len;
		cursor += len;
	}
	return true;
}

/* Text in the encoding, without zero bytes */
static bool
check_text(WireChecker *c, const char *data, int len)
{
	return pg_encoding_verifymbstr(c->encoding, data, len) == len;
}

static bool
check_used(WireChecker *c)
{
	int			i;

	for (i = 0; i < c->reader.ntables; i++)
		if (!c->table_used[i])
			return malformed(c, "the name of a table is not used");
	for (i = 0; i < c->reader.ncolumns; i++)
		if (!c->column_used[i])
			return malformed(c, "the name of a column is not used");
	return true;
}

static int
compare_groups(const void *a, const void *b)
{
	int64		x = *(const int64 *) a;
	int64		y = *(const int64 *) b;

	return (x > y) - (x < y);
}

/* No group may begin twice. */
static bool
check_groups(WireChecker *c)
{
	int			i;

	if (c->ngroups > 1)
		merge_sort(c->groups, c->ngroups, sizeof(int64), compare_groups);
	for (i = 1; i < c->ngroups; i++)
		if (c->groups[i] == c->groups[i - 1])
			return malformed(c, "the changes of a group are not consecutive");
	return true;
}

/* ---- formatting ---- */

static const DeltaData *
in_wire_encoding(const DeltaData *delta)
{
	if (delta_server_encoding() == wire_encoding())
		return delta;
	return delta_transcode(delta, delta_server_encoding(), wire_encoding());
}

void
delta_format_wire(StringInfo buf, const DeltaData *delta)
{
	delta = in_wire_encoding(delta);
	appendBinaryStringInfo(buf, VARDATA_ANY(delta), VARSIZE_ANY_EXHDR(delta));
}

void
delta_canonical_bytes(StringInfo buf, const DeltaData *delta)
{
	appendStringInfoString(buf, DELTA_CANONICAL_PREFIX);
	delta_format_canonical(buf, in_wire_encoding(delta), wire_encoding());
}

void
delta_bytes_checksum(const char *bytes, Size len, char *result)
{
	pg_crc32c	crc;

	INIT_CRC32C(crc);
	COMP_CRC32C(crc, bytes, len);
	FIN_CRC32C(crc);
	snprintf(result, DELTA_CHECKSUM_SIZE, "crc32c:%08x", crc);
}

/* ---- other encodings ---- */

static void
transcode_bytes(const char **data, int *len, int from, int to)
{
	char	   *result;

	result = (char *) pg_do_encoding_conversion((unsigned char *) unconstify(char *, *data),
												*len, from, to);
	if (result != *data)
	{
		*data = result;
		*len = strlen(result);
	}
}

static void
transcode_value(DeltaValue *value, int from, int to)
{
	switch (value->kind)
	{
		case DELTA_STRING:
		case DELTA_JSON:
			transcode_bytes(&value->data, &value->len, from, to);
			break;
		case DELTA_LIST:
			{
				const char *cursor = value->data;
				DeltaString *elements = palloc((value->len + 1) * sizeof(DeltaString));
				DeltaString element;
				char	   *list;
				int			n = 0;

				while (delta_list_next(value, &cursor, &element.data, &element.len))
				{
					transcode_bytes(&element.data, &element.len, from, to);
					elements[n++] = element;
				}
				n = delta_list_sort(elements, n);
				value->len = delta_list_size(elements, n);
				list = palloc(value->len + 1);
				delta_list_put(list, elements, n);
				value->data = list;
				break;
			}
		default:
			break;
	}
}

static int
transcode_column(DeltaBuilder *b, const DeltaName *name, int from, int to)
{
	DeltaString copy = {name->data, name->len};

	transcode_bytes(&copy.data, &copy.len, from, to);
	return delta_builder_column(b, copy.data, copy.len);
}

/* Add the reader's next change, in another encoding. */
static void
transcode_change(DeltaBuilder *b, const DeltaReader *reader, DeltaChange *change,
				 int from, int to)
{
	int			i;

	if (change->table >= 0)
	{
		DeltaString name = {reader->tables[change->table].data,
		reader->tables[change->table].len};

		transcode_bytes(&name.data, &name.len, from, to);
		change->table = delta_builder_table(b, name.data, name.len);
	}
	for (i = 0; i < change->nkeys; i++)
	{
		transcode_value(&change->keys[i].value, from, to);
		delta_builder_key(b, transcode_column(b, &reader->columns[change->keys[i].column], from, to),
						  &change->keys[i].value);
	}
	for (i = 0; i < change->ncells; i++)
	{
		transcode_value(&change->cells[i].value, from, to);
		delta_builder_cell(b, transcode_column(b, &reader->columns[change->cells[i].column], from, to),
						   change->cells[i].op, &change->cells[i].value);
	}
	transcode_value(&change->intent, from, to);
	transcode_value(&change->args, from, to);
	delta_builder_end(b, change);
}

DeltaData *
delta_transcode(const DeltaData *delta, int from, int to)
{
	DeltaReader reader;
	DeltaChange change;
	DeltaBuilder b;
	int			len;

	delta_reader_init(&reader, delta);
	delta_builder_init(&b);
	while (delta_reader_next(&reader, &change))
	{
		CHECK_FOR_INTERRUPTS();
		transcode_change(&b, &reader, &change, from, to);
	}
	if (reader.header.resume != NULL)
	{
		len = strlen(reader.header.resume);
		transcode_bytes(&reader.header.resume, &len, from, to);
	}
	return delta_builder_finish(&b, &reader.header);
}

/* ---- a part ---- */

/* Of a change, with all the names in it: those that it shares with others, too. */
static Size
size_with_names(const DeltaReader *reader, const DeltaChange *change)
{
	Size		size = change->nbytes;
	int			i;

	if (change->table >= 0)
		size += reader->tables[change->table].len;
	for (i = 0; i < change->nkeys; i++)
		size += reader->columns[change->keys[i].column].len;
	for (i = 0; i < change->ncells; i++)
		size += reader->columns[change->cells[i].column].len;
	return size;
}

DeltaData *
delta_head(const DeltaData *delta, Size max_size)
{
	DeltaReader reader;
	DeltaChange change;
	DeltaBuilder b;
	int			encoding = delta_server_encoding();
	Size		room = max_size;
	Size		size;

	delta_reader_init(&reader, delta);
	delta_builder_init(&b);
	if (VARSIZE(reader.header.context) <= room)
		room -= VARSIZE(reader.header.context);
	else
		reader.header.context = vv_empty();

	while (delta_reader_next(&reader, &change) &&
		   (size = size_with_names(&reader, &change)) <= room)
	{
		room -= size;
		transcode_change(&b, &reader, &change, encoding, encoding);
	}
	if (b.nchanges == 0)
		reader.header.first_seq = 0;
	reader.header.checksum = NULL;
	reader.header.signature = NULL;
	return delta_builder_finish(&b, &reader.header);
}
