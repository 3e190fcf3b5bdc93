/*-------------------------------------------------------------------------
 *
 * version_vector_io.c
 *	  Text and binary forms of version_vector.
 *
 * Text is a JSON object: {"<uuid>": 17, "<uuid>": "20,22,24-30"}.  Its grammar
 * is so small (no nesting, nothing but ASCII) that a scanner of its own is
 * shorter than the use of a JSON parser, and can be called where nothing may
 * raise.  Escape sequences are refused: no uuid and no interval needs one.
 *
 * A string begins with the base, 0 where there is none.  Without that
 * rule "24" would be everything up to 24, and "24-30" not.
 *
 * The binary form has a version byte and then what vv_pack writes: for each
 * range the counters left out since the one before, and its length, as varints.
 * So the usual entry has 17 bytes and the digits of its counter in base 128, and
 * no two sequences of bytes mean the same vector.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "compat.h"
#include "libpq/pqformat.h"
#include "miscadmin.h"
#include "types/uuid_text.h"
#include "types/varint.h"
#include "types/version_vector.h"
#include "utils/builtins.h"

#define VV_WIRE_VERSION		1

/* Shortest wire form of an entry with one range, and of a range */
#define WIRE_ENTRY_MIN_SIZE (UUID_LEN + 3)
#define WIRE_RANGE_MIN_SIZE 2

#define UINT64_TEXT_SIZE	20

typedef struct Scanner
{
	const char *p;
	const char *end;
	const char *error;
} Scanner;

static bool scan_vector(Scanner *s, VVBuilder *builder);
static bool scan_entry(Scanner *s, VVBuilder *builder);
static bool scan_string(Scanner *s, const char **str, int *len);
static bool scan_counters(Scanner *s, const pg_uuid_t *replica, VVBuilder *builder);
static bool scan_piece(Scanner *s, const pg_uuid_t *replica, VVBuilder *builder);
static bool scan_counter(Scanner *s, uint64 *counter);
static void skip_space(Scanner *s);
static bool take(Scanner *s, char c);
static bool fail(Scanner *s, const char *error);

static void append_counter(StringInfo buf, uint64 counter);
static bool unpack_counts(const char **cursor, const char *end,
						  uint64 *nentries, Size *nranges);
static bool unpack_entry(const char **cursor, const char *end,
						 pg_uuid_t *replica, uint64 *nranges);
static bool unpack_range(const char **cursor, const char *end, uint64 *last,
						 bool is_first, VVRange *range);

/*
 * ----------------------------------------------------------------------
 * Text
 * ----------------------------------------------------------------------
 */

VersionVector *
vv_parse(const char *str, int len, const char **error)
{
	VVBuilder  *builder = vv_builder_create();
	VersionVector *vv = NULL;
	Scanner		s;

	s.p = str;
	s.end = str + len;
	s.error = NULL;
	if (scan_vector(&s, builder))
		vv = vv_builder_finish(builder);
	*error = s.error;
	vv_builder_free(builder);
	return vv;
}

void
vv_format(StringInfo buf, const VersionVector *vv)
{
	const VVEntry *entries = VV_ENTRIES(vv);
	uint32		i;

	appendStringInfoChar(buf, '{');
	for (i = 0; i < vv->nentries; i++)
	{
		const VVEntry *entry = &entries[i];
		uint64		base = vv_entry_base(vv, entry);
		uint32		from = base > 0 ? 1 : 0;
		char		uuid[UUID_TEXT_LEN];

		uuid_text_put(uuid, &entry->replica);
		appendStringInfoString(buf, i > 0 ? ", \"" : "\"");
		appendBinaryStringInfo(buf, uuid, UUID_TEXT_LEN);
		appendStringInfoString(buf, "\": ");
		if (from == entry->nranges)
			append_counter(buf, base);
		else
		{
			appendStringInfoChar(buf, '"');
			append_counter(buf, base);
			appendStringInfoChar(buf, ',');
			vv_format_ranges(buf, vv, entry, from);
			appendStringInfoChar(buf, '"');
		}
	}
	appendStringInfoChar(buf, '}');
}

void
vv_format_ranges(StringInfo buf, const VersionVector *vv,
				 const VVEntry *entry, uint32 from)
{
	const VVRange *ranges = VV_RANGES(vv) + entry->first_range;
	uint32		i;

	for (i = from; i < entry->nranges; i++)
	{
		if (i > from)
			appendStringInfoChar(buf, ',');
		append_counter(buf, ranges[i].lo);
		if (ranges[i].hi > ranges[i].lo)
		{
			appendStringInfoChar(buf, '-');
			append_counter(buf, ranges[i].hi);
		}
	}
}

static void
append_counter(StringInfo buf, uint64 counter)
{
	char		digits[UINT64_TEXT_SIZE];

	appendBinaryStringInfo(buf, digits, pg_ulltoa_n(counter, digits));
}

/* vector := "{" [ entry { "," entry } ] "}" */
static bool
scan_vector(Scanner *s, VVBuilder *builder)
{
	skip_space(s);
	if (!take(s, '{'))
		return fail(s, "expected a JSON object");
	skip_space(s);
	if (!take(s, '}'))
	{
		do
		{
			CHECK_FOR_INTERRUPTS();
			if (!scan_entry(s, builder))
				return false;
			skip_space(s);
		} while (take(s, ','));
		if (!take(s, '}'))
			return fail(s, "expected \",\" or \"}\" after an entry");
	}
	skip_space(s);
	if (s->p != s->end)
		return fail(s, "unexpected text after the JSON object");
	return true;
}

/* entry := uuid ":" ( number | '"' counters '"' ) */
static bool
scan_entry(Scanner *s, VVBuilder *builder)
{
	pg_uuid_t	replica;
	const char *str;
	int			len;
	uint64		base = 0;

	skip_space(s);
	if (!scan_string(s, &str, &len))
		return fail(s, "expected a quoted uuid");
	if (!uuid_text_parse(str, len, &replica))
		return fail(s, "key is not a uuid");
	skip_space(s);
	if (!take(s, ':'))
		return fail(s, "expected \":\" after a uuid");
	skip_space(s);

	if (s->p < s->end && *s->p == '"')
	{
		Scanner		outer;

		if (!scan_string(s, &str, &len))
			return fail(s, "unterminated string");
		outer = *s;
		s->p = str;
		s->end = str + len;
		if (!scan_counters(s, &replica, builder))
			return false;
		*s = outer;
		return true;
	}
	if (!scan_counter(s, &base))
		return false;
	vv_builder_add(builder, &replica, 1, base);
	return true;
}

/* A JSON string that has no need of escapes; gives what is between the quotes. */
static bool
scan_string(Scanner *s, const char **str, int *len)
{
	const char *start = s->p + 1;

	if (!take(s, '"'))
		return false;
	while (s->p < s->end && *s->p != '"')
		s->p++;
	*str = start;
	*len = s->p - start;
	return take(s, '"');
}

/* counters := base { "," piece } */
static bool
scan_counters(Scanner *s, const pg_uuid_t *replica, VVBuilder *builder)
{
	uint64		base = 0;

	if (!scan_counter(s, &base))
		return false;
	if (s->p < s->end && *s->p == '-')
		return fail(s, "counters must begin with a base, such as \"0,24-30\"");
	vv_builder_add(builder, replica, 1, base);
	while (take(s, ','))
		if (!scan_piece(s, replica, builder))
			return false;
	if (s->p != s->end)
		return fail(s, "expected \",\" between counters");
	return true;
}

/* piece := counter [ "-" counter ] */
static bool
scan_piece(Scanner *s, const pg_uuid_t *replica, VVBuilder *builder)
{
	uint64		lo = 0,
				hi;

	if (!scan_counter(s, &lo))
		return false;
	hi = lo;
	if (take(s, '-') && !scan_counter(s, &hi))
		return false;
	if (lo == 0)
		return fail(s, "counters after the base start at 1");
	if (lo > hi)
		return fail(s, "interval ends before it begins");
	vv_builder_add(builder, replica, lo, hi);
	return true;
}

/* counter := "0" | digit from 1 to 9 followed by digits, within a bigint */
static bool
scan_counter(Scanner *s, uint64 *counter)
{
	const char *start = s->p;
	uint64		value = 0;

	while (s->p < s->end && *s->p >= '0' && *s->p <= '9')
	{
		value = value * 10 + (*s->p++ - '0');
		/* 19 digits cannot wrap around */
		if (s->p - start > 19 || value > VV_MAX_COUNTER)
			return fail(s, "counter is out of range");
	}
	if (s->p == start)
		return fail(s, "expected a counter");
	if (*start == '0' && s->p - start > 1)
		return fail(s, "counter has leading zeros");
	*counter = value;
	return true;
}

/* What JSON takes for white space. */
static void
skip_space(Scanner *s)
{
	while (s->p < s->end &&
		   (*s->p == ' ' || *s->p == '\t' || *s->p == '\n' || *s->p == '\r'))
		s->p++;
}

static bool
take(Scanner *s, char c)
{
	if (s->p == s->end || *s->p != c)
		return false;
	s->p++;
	return true;
}

static bool
fail(Scanner *s, const char *error)
{
	s->error = error;
	return false;
}

PG_FUNCTION_INFO_V1(version_vector_in);
Datum
version_vector_in(PG_FUNCTION_ARGS)
{
	char	   *str = PG_GETARG_CSTRING(0);
	const char *error;
	VersionVector *vv = vv_parse(str, strlen(str), &error);

	if (error != NULL)
		ereturn(fcinfo->context, (Datum) 0,
				(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
				 errmsg("invalid input syntax for type %s: \"%s\"",
						"version_vector", str),
				 errdetail_internal("%c%s.",
									pg_toupper((unsigned char) error[0]),
									error + 1)));
	PG_RETURN_VERSION_VECTOR_P(vv);
}

PG_FUNCTION_INFO_V1(version_vector_out);
Datum
version_vector_out(PG_FUNCTION_ARGS)
{
	VersionVector *vv = PG_GETARG_VERSION_VECTOR_P(0);
	StringInfoData buf;

	initStringInfo(&buf);
	vv_format(&buf, vv);
	PG_RETURN_CSTRING(buf.data);
}

/*
 * ----------------------------------------------------------------------
 * Binary
 * ----------------------------------------------------------------------
 */

void
vv_pack(StringInfo buf, const VersionVector *vv)
{
	const VVEntry *entries = VV_ENTRIES(vv);
	uint32		i,
				j;

	varint_append(buf, vv->nentries);
	for (i = 0; i < vv->nentries; i++)
	{
		const VVRange *ranges = VV_RANGES(vv) + entries[i].first_range;
		uint64		first_possible = 1;

		appendBinaryStringInfo(buf, (const char *) entries[i].replica.data,
							   UUID_LEN);
		varint_append(buf, entries[i].nranges);
		for (j = 0; j < entries[i].nranges; j++)
		{
			varint_append(buf, ranges[j].lo - first_possible);
			varint_append(buf, ranges[j].hi - ranges[j].lo);
			/* the next counter would be adjacent */
			first_possible = ranges[j].hi + 2;
		}
	}
}

/*
 * Two passes: the first checks everything and counts, so that the second
 * can fill a vector of the right size.
 */
VersionVector *
vv_unpack(const char **cursor, const char *end)
{
	const char *start = *cursor;
	VersionVector *vv;
	VVEntry    *entry;
	VVRange    *range;
	uint64		nentries;
	Size		nranges;
	uint64		i,
				j;

	if (!unpack_counts(cursor, end, &nentries, &nranges))
		return NULL;
	vv_check_limit(nranges);

	vv = vv_allocate(nentries, nranges);
	entry = VV_ENTRIES(vv);
	range = VV_RANGES(vv);
	(void) varint_get(&start, end, &nentries);
	for (i = 0; i < nentries; i++, entry++)
	{
		uint64		n = 0,
					last = 0;

		(void) unpack_entry(&start, end, &entry->replica, &n);
		entry->first_range = range - VV_RANGES(vv);
		entry->nranges = n;
		for (j = 0; j < n; j++)
			(void) unpack_range(&start, end, &last, j == 0, range++);
	}
	return vv;
}

static bool
unpack_counts(const char **cursor, const char *end, uint64 *nentries,
			  Size *nranges)
{
	pg_uuid_t	replica,
				previous;
	VVRange		range;
	uint64		i,
				j,
				n;

	*nranges = 0;
	if (!varint_get(cursor, end, nentries) ||
		*nentries > (uint64) (end - *cursor) / WIRE_ENTRY_MIN_SIZE)
		return false;
	for (i = 0; i < *nentries; i++)
	{
		uint64		last = 0;

		if (!unpack_entry(cursor, end, &replica, &n))
			return false;
		if (i > 0 && memcmp(previous.data, replica.data, UUID_LEN) >= 0)
			return false;
		CHECK_FOR_INTERRUPTS();
		for (j = 0; j < n; j++)
			if (!unpack_range(cursor, end, &last, j == 0, &range))
				return false;
		*nranges += n;
		previous = replica;
	}
	return true;
}

static bool
unpack_entry(const char **cursor, const char *end, pg_uuid_t *replica,
			 uint64 *nranges)
{
	if (end - *cursor < UUID_LEN)
		return false;
	memcpy(replica->data, *cursor, UUID_LEN);
	*cursor += UUID_LEN;
	return varint_get(cursor, end, nranges) && *nranges > 0 &&
		*nranges <= (uint64) (end - *cursor) / WIRE_RANGE_MIN_SIZE;
}

/* *last is the end of the range before. */
static bool
unpack_range(const char **cursor, const char *end, uint64 *last,
			 bool is_first, VVRange *range)
{
	uint64		first_possible = is_first ? 1 : *last + 2;
	uint64		skipped,
				further;

	if (!varint_get(cursor, end, &skipped) ||
		!varint_get(cursor, end, &further) ||
		first_possible > VV_MAX_COUNTER ||
		skipped > VV_MAX_COUNTER - first_possible ||
		further > VV_MAX_COUNTER - first_possible - skipped)
		return false;
	range->lo = first_possible + skipped;
	range->hi = range->lo + further;
	*last = range->hi;
	return true;
}

PG_FUNCTION_INFO_V1(version_vector_recv);
Datum
version_vector_recv(PG_FUNCTION_ARGS)
{
	StringInfo	buf = (StringInfo) PG_GETARG_POINTER(0);
	int			version;
	const char *cursor;
	VersionVector *vv = NULL;

	if (buf->cursor == buf->len)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_BINARY_REPRESENTATION),
				 errmsg("binary version vector is empty")));
	version = pq_getmsgbyte(buf);
	if (version > VV_WIRE_VERSION)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("binary format %d of version vector is newer than the newest accepted (%d)",
						version, VV_WIRE_VERSION)));

	cursor = buf->data + buf->cursor;
	if (version == VV_WIRE_VERSION)
		vv = vv_unpack(&cursor, buf->data + buf->len);
	if (vv == NULL || cursor != buf->data + buf->len)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_BINARY_REPRESENTATION),
				 errmsg("malformed binary version vector")));
	buf->cursor = buf->len;
	PG_RETURN_VERSION_VECTOR_P(vv);
}

PG_FUNCTION_INFO_V1(version_vector_send);
Datum
version_vector_send(PG_FUNCTION_ARGS)
{
	VersionVector *vv = PG_GETARG_VERSION_VECTOR_P(0);
	StringInfoData buf;

	pq_begintypsend(&buf);
	pq_sendbyte(&buf, VV_WIRE_VERSION);
	vv_pack(&buf, vv);
	PG_RETURN_BYTEA_P(pq_endtypsend(&buf));
}
