/*-------------------------------------------------------------------------
 *
 * json_scan.c
 *	  Reading short JSON texts of a known shape, front to back.
 *
 * Not the server's JSON parser, because what the types need is a small part of
 * it, with positions in their own messages and nothing lost on the way (jsonb
 * keeps the last of repeated keys, silently), and because that parser's
 * interface differs between the versions that we support.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "compat.h"
#include "mb/pg_wchar.h"
#include "types/json_scan.h"
#include "types/uuid_text.h"

static void skip_space(JsonScan *scan);
static void scan_escape(JsonScan *scan, StringInfo buf);
static uint32 scan_hex4(JsonScan *scan);
static void append_code_point(JsonScan *scan, StringInfo buf, uint32 first);


void
json_scan_init(JsonScan *scan, const char *type, const char *str, int len)
{
	scan->type = type;
	scan->start = str;
	scan->cursor = str;
	scan->end = str + len;
}

bool
json_scan_sees(JsonScan *scan, char c)
{
	skip_space(scan);
	return scan->cursor < scan->end && *scan->cursor == c;
}

bool
json_scan_accept(JsonScan *scan, char c)
{
	if (!json_scan_sees(scan, c))
		return false;
	scan->cursor++;
	return true;
}

void
json_scan_expect(JsonScan *scan, char c)
{
	if (!json_scan_accept(scan, c))
	{
		char		detail[] = "Expected \"?\"";

		detail[10] = c;
		json_scan_fail(scan, detail);
	}
}

bool
json_scan_member(JsonScan *scan, int index, char close)
{
	if (json_scan_accept(scan, close))
		return false;
	if (index > 0)
		json_scan_expect(scan, ',');
	return true;
}

void
json_scan_string(JsonScan *scan, StringInfo buf)
{
	resetStringInfo(buf);
	if (!json_scan_accept(scan, '"'))
		json_scan_fail(scan, "Expected a string in double quotes");

	for (;;)
	{
		const char *run = scan->cursor;

		while (scan->cursor < scan->end && *scan->cursor != '"' &&
			   *scan->cursor != '\\' && (unsigned char) *scan->cursor >= 0x20)
			scan->cursor++;
		appendBinaryStringInfo(buf, run, scan->cursor - run);

		if (scan->cursor >= scan->end)
			json_scan_fail(scan, "The string is not closed");
		if (*scan->cursor == '"')
			break;
		if (*scan->cursor != '\\')
			json_scan_fail(scan, "A control character must be escaped");
		scan->cursor++;
		scan_escape(scan, buf);
	}
	scan->cursor++;
}

void
json_scan_key(JsonScan *scan, StringInfo buf)
{
	json_scan_string(scan, buf);
	json_scan_expect(scan, ':');
}

int64
json_scan_integer(JsonScan *scan, int64 min, int64 max)
{
	bool		quoted = json_scan_accept(scan, '"');
	const char *digits;
	uint64		v = 0;

	if (!quoted)
		skip_space(scan);
	digits = scan->cursor;
	while (scan->cursor < scan->end && *scan->cursor >= '0' &&
		   *scan->cursor <= '9')
	{
		uint64		digit = *scan->cursor - '0';

		if (v > (PG_INT64_MAX - digit) / 10)
			json_scan_fail(scan, "The number is out of range");
		v = v * 10 + digit;
		scan->cursor++;
	}
	if (scan->cursor == digits ||
		(*digits == '0' && scan->cursor - digits > 1))
		json_scan_fail(scan, "Expected an integer");
	if ((int64) v < min || (int64) v > max)
		json_scan_fail(scan, "The number is out of range");
	if (quoted && !(scan->cursor < scan->end && *scan->cursor++ == '"'))
		json_scan_fail(scan, "Expected an integer");
	return (int64) v;
}

void
json_scan_uuid(JsonScan *scan, pg_uuid_t *uuid)
{
	const char *digits;
	const char *close;

	/* nothing in a uuid needs an escape, so look for the quote */
	if (!json_scan_accept(scan, '"'))
		json_scan_fail(scan, "Expected a string in double quotes");
	digits = scan->cursor;
	close = memchr(digits, '"', scan->end - digits);
	if (close != NULL && uuid_text_parse(digits, close - digits, uuid))
		scan->cursor = close + 1;
	else
		json_scan_fail(scan, "Expected a uuid");
}

bool
json_scan_word(JsonScan *scan, const char *word)
{
	int			len = strlen(word);

	skip_space(scan);
	if (scan->end - scan->cursor < len || memcmp(scan->cursor, word, len) != 0)
		return false;
	scan->cursor += len;
	return true;
}

const char *
json_scan_object(JsonScan *scan, int *len)
{
	const char *start;
	bool		in_string = false;
	int			depth = 0;

	if (!json_scan_sees(scan, '{'))
		json_scan_fail(scan, "Expected \"{\"");
	start = scan->cursor;
	do
	{
		char		c = *scan->cursor++;

		if (in_string)
		{
			if (c == '\\' && scan->cursor < scan->end)
				scan->cursor++;
			else if (c == '"')
				in_string = false;
		}
		else if (c == '"')
			in_string = true;
		else if (c == '{')
			depth++;
		else if (c == '}' && --depth == 0)
		{
			*len = scan->cursor - start;
			return start;
		}
	} while (scan->cursor < scan->end);

	json_scan_fail(scan, "The object is not closed");
}

void
json_scan_finish(JsonScan *scan)
{
	skip_space(scan);
	if (scan->cursor < scan->end)
		json_scan_fail(scan, "Expected the end of the input");
}

void
json_scan_fail(const JsonScan *scan, const char *detail)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
			 errmsg("invalid input syntax for type %s", scan->type),
			 errdetail("%s, at byte %d.", detail,
					   (int) (scan->cursor - scan->start) + 1)));
}

void
json_scan_put_string(StringInfo buf, const char *data, int len)
{
	const char *end = data + len;

	appendStringInfoChar(buf, '"');
	while (data < end)
	{
		const char *run = data;

		while (data < end && *data != '"' && *data != '\\' &&
			   (unsigned char) *data >= 0x20)
			data++;
		appendBinaryStringInfo(buf, run, data - run);
		if (data >= end)
			break;

		switch (*data)
		{
			case '"':
				appendStringInfoString(buf, "\\\"");
				break;
			case '\\':
				appendStringInfoString(buf, "\\\\");
				break;
			case '\b':
				appendStringInfoString(buf, "\\b");
				break;
			case '\f':
				appendStringInfoString(buf, "\\f");
				break;
			case '\n':
				appendStringInfoString(buf, "\\n");
				break;
			case '\r':
				appendStringInfoString(buf, "\\r");
				break;
			case '\t':
				appendStringInfoString(buf, "\\t");
				break;
			default:
				appendStringInfo(buf, "\\u%04x", (int) *data);
				break;
		}
		data++;
	}
	appendStringInfoChar(buf, '"');
}

void
json_scan_put_uuid(StringInfo buf, const pg_uuid_t *uuid)
{
	char		chars[UUID_TEXT_LEN];

	uuid_text_put(chars, uuid);
	appendStringInfoChar(buf, '"');
	appendBinaryStringInfo(buf, chars, UUID_TEXT_LEN);
	appendStringInfoChar(buf, '"');
}

static void
skip_space(JsonScan *scan)
{
	while (scan->cursor < scan->end &&
		   (*scan->cursor == ' ' || *scan->cursor == '\t' ||
			*scan->cursor == '\n' || *scan->cursor == '\r'))
		scan->cursor++;
}

/* What follows a backslash. */
static void
scan_escape(JsonScan *scan, StringInfo buf)
{
	static const char names[] = "\"\\/bfnrt";
	static const char values[] = "\"\\/\b\f\n\r\t";
	const char *found;

	if (scan->cursor >= scan->end)
		json_scan_fail(scan, "The string is not closed");
	if (*scan->cursor == 'u')
	{
		scan->cursor++;
		append_code_point(scan, buf, scan_hex4(scan));
		return;
	}
	found = memchr(names, *scan->cursor, sizeof(names) - 1);
	if (found != NULL)
		appendStringInfoChar(buf, values[found - names]);
	else
		json_scan_fail(scan, "The escape sequence is unknown");
	scan->cursor++;
}

static uint32
scan_hex4(JsonScan *scan)
{
	uint32		v = 0;

	for (int i = 0; i < 4; i++)
	{
		char		c = scan->cursor < scan->end ? *scan->cursor : '\0';

		if (c >= '0' && c <= '9')
			v = v * 16 + (c - '0');
		else if (c >= 'a' && c <= 'f')
			v = v * 16 + (c - 'a' + 10);
		else if (c >= 'A' && c <= 'F')
			v = v * 16 + (c - 'A' + 10);
		else
			json_scan_fail(scan, "\"\\u\" must be followed by four hexadecimal digits");
		scan->cursor++;
	}
	return v;
}

/* Append what \u stands for; of a surrogate pair, the second half follows. */
static void
append_code_point(JsonScan *scan, StringInfo buf, uint32 first)
{
	unsigned char bytes[MAX_UNICODE_EQUIVALENT_STRING + 1];
	pg_wchar	c = first;

	if (c == 0)
		json_scan_fail(scan, "The character \\u0000 cannot be converted to text");
	if (is_utf16_surrogate_first(c))
	{
		pg_wchar	second = 0;

		if (scan->end - scan->cursor >= 2 && scan->cursor[0] == '\\' &&
			scan->cursor[1] == 'u')
		{
			scan->cursor += 2;
			second = scan_hex4(scan);
		}
		if (!is_utf16_surrogate_second(second))
			json_scan_fail(scan, "A high surrogate must be followed by a low one");
		c = surrogate_pair_to_codepoint(c, second);
	}
	else if (is_utf16_surrogate_second(c))
		json_scan_fail(scan, "A low surrogate must follow a high one");

	pg_unicode_to_server(c, bytes);
	appendStringInfoString(buf, (char *) bytes);
}
