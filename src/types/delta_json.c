/*-------------------------------------------------------------------------
 *
 * delta_json.c
 *	  Deltas from and to JSON.
 *
 * Tokens come from PostgreSQL's own lexer, but for the plainest ones; what is
 * built of them is decided here, so that a delta goes straight into its binary form
 * without a tree in between.  Nothing recurses: a nested value is passed over token
 * by token and kept as it is written.  The lexer runs without de-escaping; a string
 * with a backslash in it, which is rare, is unescaped here.
 *
 * Members may come in any order, so what depends on several of them (is this
 * delta pushed or served?) is judged at the end.  A member that we do not know
 * is an error, since ignoring it would lose what somebody wrote; the future
 * announces itself with a higher "format", and that is said first, wherever in
 * the text the format stands.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/jsonapi.h"
#include "compat.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "port/pg_bitutils.h"
#include "types/delta_internal.h"
#include "types/uuid_text.h"
#include "utils/memutils.h"

#define TOO_BIG			ERRCODE_PROGRAM_LIMIT_EXCEEDED
#define MALFORMED		ERRCODE_INVALID_TEXT_REPRESENTATION

/* Longest excerpt of the input in a message */
#define CLIP_SIZE		64

/* Members of a delta and of a change; their numbers are bits of a mask. */
static const char *const delta_members[] = {
	"format", "replica", "context", "from", "to", "hlc", "schema_version",
	"more", "resume", "reset", "changes", "checksum", "signature"
};

typedef enum DeltaMember
{
	MEMBER_FORMAT,
	MEMBER_REPLICA,
	MEMBER_CONTEXT,
	MEMBER_FROM,
	MEMBER_TO,
	MEMBER_HLC,
	MEMBER_SCHEMA_VERSION,
	MEMBER_MORE,
	MEMBER_RESUME,
	MEMBER_RESET,
	MEMBER_CHANGES,
	MEMBER_CHECKSUM,
	MEMBER_SIGNATURE
} DeltaMember;

static const char *const change_members[] = {
	"seq", "hlc", "table", "key", "insert", "set", "increment", "add", "remove",
	"delete", "retract", "scope", "intent", "args", "group", "clock"
};

typedef enum ChangeMember
{
	CHANGE_SEQ,
	CHANGE_HLC,
	CHANGE_TABLE,
	CHANGE_KEY,
	CHANGE_INSERT,
	CHANGE_SET,
	CHANGE_INCREMENT,
	CHANGE_ADD,
	CHANGE_REMOVE,
	CHANGE_DELETE,
	CHANGE_RETRACT,
	CHANGE_SCOPE,
	CHANGE_INTENT,
	CHANGE_ARGS,
	CHANGE_GROUP,
	CHANGE_CLOCK
} ChangeMember;

#define BIT(member)			(1 << (member))
#define IS_GIVEN(mask, member)	(((mask) & BIT(member)) != 0)

#define UPDATE_MASK \
	(BIT(CHANGE_SET) | BIT(CHANGE_INCREMENT) | BIT(CHANGE_ADD) | BIT(CHANGE_REMOVE))
#define SERVED_MASK \
	(BIT(MEMBER_FROM) | BIT(MEMBER_TO) | BIT(MEMBER_MORE))

/* A reader of tokens. */
typedef struct JsonTokens
{
	JsonLexContext *lex;
	JsonLexContext space;		/* for the lexer, where it takes it */
	const char *input;
	const char *end;
	int			encoding;
	bool		is_plain;		/* a string token has no escapes for sure */
	bool		has_escaped_name;	/* the last member has */
	int			max_depth;		/* of a value's nesting */
	DeltaError *error;			/* NULL: nobody wants to know */
} JsonTokens;

typedef struct DeltaParser
{
	JsonTokens	t;
	const DeltaLimits *limits;
	DeltaBuilder builder;
	DeltaHeader header;
	int			members;		/* mask of what was given */
	uint64		next_seq;		/* that the next change must have */

	/* numbers (from 1) of the first changes that ... */
	int			first_with_seq;
	int			first_without_seq;
	int			first_without_hlc;
	int			first_retract;
	int			first_intent;

	/* elements of the list being read */
	DeltaString *elements;
	int			maxelements;
} DeltaParser;

/* tokens */
static void tokens_init(JsonTokens *t, const char *json, int len, int encoding,
						DeltaError *error);
static bool take_plain_token(JsonTokens *t);
static const char *string_end(const char *s, const char *end, bool *is_plain);
static const char *find_special(const char *s, const char *end);
static bool has_escapes(const JsonTokens *t);
static bool next_token(JsonTokens *t);
static bool expect_token(JsonTokens *t, JsonTokenType type, const char *what);
static bool unexpected_token(JsonTokens *t, const char *wanted);
static bool skip_value(JsonTokens *t, DeltaString *raw);
static bool too_deep(JsonTokens *t, const char *value);
static int	next_member(JsonTokens *t, bool *first, DeltaString *name);
static int	next_element(JsonTokens *t, bool *first);
static int	unescape(const char *s, int len, char *result, int encoding);
static bool unwrap(const char *json, int len, int encoding, DeltaString *inner);
static bool needs_wrapping(const DeltaValue *value, int encoding);

/* parsing */
static bool fail(JsonTokens *t, int sqlstate, const char *fmt,...) pg_attribute_printf(3, 4);
static bool parse_delta(DeltaParser *p);
static bool parse_delta_member(DeltaParser *p, DeltaMember member);
static bool check_delta(DeltaParser *p);
static bool check_family(DeltaParser *p);
static bool parse_changes(DeltaParser *p);
static bool too_many_changes(DeltaParser *p);
static bool parse_change(DeltaParser *p);
static bool parse_change_member(DeltaParser *p, ChangeMember member,
								DeltaChange *change);
static bool check_change(DeltaParser *p, int mask, DeltaChange *change);
static bool check_seq(DeltaParser *p, int mask, const DeltaChange *change);
static bool parse_cells(DeltaParser *p, ChangeMember member);
static bool parse_cell_value(DeltaParser *p, ChangeMember member,
							 const DeltaString *name, DeltaValue *value);
static bool parse_list(DeltaParser *p, const DeltaString *name, DeltaValue *value);
static bool parse_value(DeltaParser *p, DeltaValue *value);
static bool parse_string(DeltaParser *p, DeltaArena *arena, DeltaString *result);
static bool parse_integer(DeltaParser *p, const char *member, int64 min, int64 max,
						  int64 *result);
static bool parse_boolean(DeltaParser *p, const char *member, bool *result);
static bool parse_true(DeltaParser *p, const char *member);
static bool parse_hlc(DeltaParser *p, Hlc *result);
static bool parse_uuid(DeltaParser *p, pg_uuid_t *result);
static bool parse_vector(DeltaParser *p, const char *member, VersionVector **result);
static bool parse_text(DeltaParser *p, const char **result);
static bool check_value_size(DeltaParser *p, const DeltaString *name, Size size);
static int	find_member(const char *const *names, int n, const DeltaString *name);
static int64 find_format(const char *json, int len, int encoding);

/* formatting */
static void format_delta(StringInfo buf, const DeltaData *delta, int encoding,
						 bool is_canonical,
						 const char *before_change, const char *after_changes);
static void format_header(StringInfo buf, const DeltaHeader *header,
						  bool is_canonical);
static void format_vector(StringInfo buf, const VersionVector *vv,
						  bool is_canonical);
static void format_change(StringInfo buf, const DeltaReader *reader,
						  const DeltaChange *change);
static void format_member(StringInfo buf, const DeltaValue *value, int encoding);
static void format_value(StringInfo buf, const DeltaValue *value);
static void format_list(StringInfo buf, const DeltaValue *value);
static void format_hlc(StringInfo buf, Hlc hlc);

/* ---- errors ---- */

int
delta_server_encoding(void)
{
	return GetDatabaseEncoding();
}

int
delta_clip(const char *data, int len)
{
	int			encoding = delta_server_encoding();
	int			clipped = 0;

	while (clipped < len)
	{
		int			size = pg_encoding_mblen(encoding, data + clipped);

		if (clipped + size > Min(len, CLIP_SIZE))
			break;
		clipped += size;
	}
	return clipped;
}

bool
delta_set_error(DeltaError *error, int sqlstate, int position, const char *fmt,...)
{
	va_list		args;

	error->sqlstate = sqlstate;
	error->position = position;
	error->hint[0] = '\0';
	va_start(args, fmt);
	vsnprintf(error->message, sizeof(error->message), fmt, args);
	va_end(args);
	return false;
}

bool
delta_set_limit_hint(DeltaError *error, const char *setting)
{
	snprintf(error->hint, sizeof(error->hint),
			 "The limit is the setting \"offline_sync.%s\".", setting);
	return false;
}

/* An error at the current token. */
static bool
fail(JsonTokens *t, int sqlstate, const char *fmt,...)
{
	DeltaError *error = t->error;
	va_list		args;

	if (error == NULL)
		return false;
	error->sqlstate = sqlstate;
	error->position = t->lex->token_start == NULL ? -1 :
		(int) (t->lex->token_start - t->input);
	error->hint[0] = '\0';
	va_start(args, fmt);
	vsnprintf(error->message, sizeof(error->message), fmt, args);
	va_end(args);
	return false;
}

/* ---- tokens ---- */

static void
tokens_init(JsonTokens *t, const char *json, int len, int encoding,
			DeltaError *error)
{
	t->lex = compat_make_json_lexer(&t->space, json, len, encoding);
	t->input = json;
	t->end = json + len;
	t->encoding = encoding;
	t->max_depth = DELTA_MAX_DEPTH;
	t->error = error;
}

/* Whatever was allocated for the lexer. */
static void
tokens_end(JsonTokens *t)
{
	if (t->lex != &t->space)
		pfree(t->lex);
}

/*
 * Take what follows, where it is punctuation or an ordinary string, which most tokens
 * are; else the lexer is to say what comes.  15's looks at strings byte by byte.
 */
static bool
take_plain_token(JsonTokens *t)
{
	JsonLexContext *lex = t->lex;
	const char *start = lex->token_terminator;
	const char *end;
	JsonTokenType type;

	while (start < t->end && *start == ' ')
		start++;
	if (start == t->end)
		return false;
	end = start + 1;
	switch (*start)
	{
		case '"':
			end = string_end(end, t->end, &t->is_plain);
			if (end == NULL)
				return false;
			type = JSON_TOKEN_STRING;
			break;
		case ':':
			type = JSON_TOKEN_COLON;
			break;
		case ',':
			type = JSON_TOKEN_COMMA;
			break;
		case '{':
			type = JSON_TOKEN_OBJECT_START;
			break;
		case '}':
			type = JSON_TOKEN_OBJECT_END;
			break;
		default:
			return false;
	}
	lex->token_start = unconstify(char *, start);
	lex->prev_token_terminator = lex->token_terminator;
	lex->token_terminator = unconstify(char *, end);
	lex->token_type = type;
	return true;
}

/*
 * The end of a string, behind its quote; NULL: the lexer is to look at it.  Escapes of
 * one letter are passed, and noted.
 */
static const char *
string_end(const char *s, const char *end, bool *is_plain)
{
	*is_plain = true;
	for (;;)
	{
		s = find_special(s, end);
		if (s == end || (unsigned char) *s < 0x20)
			return NULL;
		if (*s == '"')
			return s + 1;
		*is_plain = false;
		if (end - s < 2 || s[1] == '\0' || strchr("\"\\/bfnrt", s[1]) == NULL)
			return NULL;
		s += 2;
	}
}

/*
 * The first quote, backslash or control character, or the end.  Eight bytes at once
 * are looked at by Mycroft's test for a byte less than n, which is exact for the first
 * one in the order of their weight.
 */
static const char *
find_special(const char *s, const char *end)
{
#ifndef WORDS_BIGENDIAN
	const uint64 ones = UINT64CONST(0x0101010101010101);

	for (; end - s >= sizeof(uint64); s += sizeof(uint64))
	{
		uint64		bytes;
		uint64		quotes;
		uint64		backslashes;
		uint64		found;

		memcpy(&bytes, s, sizeof(bytes));
		quotes = bytes ^ (ones * '"');
		backslashes = bytes ^ (ones * '\\');
		found = (((bytes - ones * 0x20) & ~bytes) |
				 ((quotes - ones) & ~quotes) |
				 ((backslashes - ones) & ~backslashes)) & (ones * 0x80);
		if (found != 0)
			return s + pg_rightmost_one_pos64(found) / BITS_PER_BYTE;
	}
#endif
	while (s < end && *s != '"' && *s != '\\' && (unsigned char) *s >= 0x20)
		s++;
	return s;
}

static bool
next_token(JsonTokens *t)
{
	JsonParseErrorType result;

	CHECK_FOR_INTERRUPTS();
	if (take_plain_token(t))
		return true;
	t->is_plain = false;
	result = json_lex(t->lex);
	if (likely(result == JSON_SUCCESS))
		return true;
	switch (result)
	{
		case JSON_ESCAPING_REQUIRED:
			return fail(t, MALFORMED,
						"control character in a JSON string is not escaped");
		case JSON_ESCAPING_INVALID:
		case JSON_UNICODE_ESCAPE_FORMAT:
			return fail(t, MALFORMED, "invalid escape in a JSON string");
		default:
			return fail(t, MALFORMED, "invalid JSON token \"%.*s\"",
						t->lex->token_start == NULL ? 0 :
						delta_clip(t->lex->token_start,
								   t->lex->token_terminator - t->lex->token_start),
						t->lex->token_start == NULL ? "" : t->lex->token_start);
	}
}

/* Has the current token, a string, any? */
static bool
has_escapes(const JsonTokens *t)
{
	return !t->is_plain &&
		memchr(t->lex->token_start, '\\',
			   t->lex->token_terminator - t->lex->token_start) != NULL;
}

static bool
unexpected_token(JsonTokens *t, const char *wanted)
{
	JsonLexContext *lex = t->lex;
	const char *quote;

	if (lex->token_type == JSON_TOKEN_END)
		return fail(t, MALFORMED, "JSON ends where %s is expected", wanted);
	quote = lex->token_type == JSON_TOKEN_STRING ? "" : "\"";
	return fail(t, MALFORMED, "%s%.*s%s found where %s is expected", quote,
				delta_clip(lex->token_start, lex->token_terminator - lex->token_start),
				lex->token_start, quote, wanted);
}

/* The current token must be this one: pass it. */
static bool
expect_token(JsonTokens *t, JsonTokenType type, const char *what)
{
	if (t->lex->token_type != type)
		return unexpected_token(t, what);
	return next_token(t);
}

/*
 * Pass the value that starts with the current token; raw is its text, without
 * spaces around.  A bit for each level tells an object from an array.
 */
static bool
skip_value(JsonTokens *t, DeltaString *raw)
{
	uint64		is_object[DELTA_MAX_DEPTH / 64 + 1];
	int			depth = 0;

	raw->data = t->lex->token_start;
	for (;;)
	{
		JsonTokenType type = t->lex->token_type;

		/* a value starts here */
		switch (type)
		{
			case JSON_TOKEN_OBJECT_START:
			case JSON_TOKEN_ARRAY_START:
				if (depth >= t->max_depth)
					return too_deep(t, raw->data);
				if (depth % 64 == 0)
					is_object[depth / 64] = 0;
				if (type == JSON_TOKEN_OBJECT_START)
					is_object[depth / 64] |= UINT64CONST(1) << (depth % 64);
				else
					is_object[depth / 64] &= ~(UINT64CONST(1) << (depth % 64));
				depth++;
				if (!next_token(t))
					return false;
				if (type == JSON_TOKEN_ARRAY_START &&
					t->lex->token_type != JSON_TOKEN_ARRAY_END)
					continue;
				break;
			case JSON_TOKEN_STRING:
			case JSON_TOKEN_NUMBER:
			case JSON_TOKEN_TRUE:
			case JSON_TOKEN_FALSE:
			case JSON_TOKEN_NULL:
				if (!next_token(t))
					return false;
				if (depth == 0)
				{
					raw->len = t->lex->prev_token_terminator - raw->data;
					return true;
				}
				break;
			default:
				return unexpected_token(t, "a JSON value");
		}

		/* after a value, or at the start of an object */
		for (;;)
		{
			bool		in_object = (is_object[(depth - 1) / 64] >>
									 ((depth - 1) % 64)) & 1;
			bool		at_start = type == JSON_TOKEN_OBJECT_START;

			type = JSON_TOKEN_INVALID;
			if (t->lex->token_type == (in_object ? JSON_TOKEN_OBJECT_END :
									   JSON_TOKEN_ARRAY_END))
			{
				depth--;
				if (!next_token(t))
					return false;
				if (depth == 0)
				{
					raw->len = t->lex->prev_token_terminator - raw->data;
					return true;
				}
				continue;
			}
			if (!at_start &&
				!expect_token(t, JSON_TOKEN_COMMA, in_object ? "\",\" or \"}\"" :
							  "\",\" or \"]\""))
				return false;
			if (in_object && (!expect_token(t, JSON_TOKEN_STRING, "a member's name") ||
							  !expect_token(t, JSON_TOKEN_COLON, "\":\"")))
				return false;
			break;
		}
	}
}

/* The value is nested too deep, whatever else is wrong with it. */
static bool
too_deep(JsonTokens *t, const char *value)
{
	if (t->error == NULL)
		return false;
	fail(t, TOO_BIG, DELTA_TOO_DEEP, delta_json_depth(value, t->end), t->max_depth);
	return delta_set_limit_hint(t->error, "max_delta_depth");
}

int
delta_json_depth(const char *json, const char *end)
{
	bool		in_string = false;
	int			depth = 0;
	int			deepest = 0;

	for (; json < end; json++)
	{
		char		c = *json;

		if (in_string)
		{
			if (c == '\\')
				json++;
			else if (c == '"')
				in_string = false;
		}
		else if (c == '"')
			in_string = true;
		else if (c == '{' || c == '[')
		{
			depth++;
			deepest = Max(deepest, depth);
		}
		else if ((c == '}' || c == ']') && --depth <= 0)
			break;
	}
	return deepest;
}

/*
 * Step to the next member of an object, whose first token is the current one
 * (first) or whose last value has just been passed.  1: raw name (between the
 * quotes) is set, the current token is the value's first; 0: the object is
 * over and passed; -1: an error.
 */
static int
next_member(JsonTokens *t, bool *first, DeltaString *name)
{
	if (*first)
	{
		if (!expect_token(t, JSON_TOKEN_OBJECT_START, "\"{\""))
			return -1;
	}
	if (t->lex->token_type == JSON_TOKEN_OBJECT_END)
		return next_token(t) ? 0 : -1;
	if (!*first && !expect_token(t, JSON_TOKEN_COMMA, "\",\" or \"}\""))
		return -1;
	*first = false;
	if (t->lex->token_type != JSON_TOKEN_STRING)
	{
		unexpected_token(t, "a member's name");
		return -1;
	}
	name->data = t->lex->token_start + 1;
	name->len = t->lex->token_terminator - t->lex->token_start - 2;
	t->has_escaped_name = has_escapes(t);
	if (!next_token(t) || !expect_token(t, JSON_TOKEN_COLON, "\":\""))
		return -1;
	return 1;
}

/* The same for an array. */
static int
next_element(JsonTokens *t, bool *first)
{
	bool		is_first = *first;

	*first = false;
	if (is_first)
	{
		if (!expect_token(t, JSON_TOKEN_ARRAY_START, "\"[\""))
			return -1;
	}
	if (t->lex->token_type == JSON_TOKEN_ARRAY_END)
		return next_token(t) ? 0 : -1;
	if (!is_first && !expect_token(t, JSON_TOKEN_COMMA, "\",\" or \"]\""))
		return -1;
	return 1;
}

static int
hex_value(const char *s)
{
	int			result = 0;
	int			i;

	for (i = 0; i < 4; i++)
	{
		char		c = s[i];

		result = result << 4 | (c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10);
	}
	return result;
}

/*
 * Unescape the inside of a string that the lexer has accepted into result,
 * which has room for len bytes (or four more).  Returns the length, or -1
 * where an escape is not a character that we can have.
 */
static int
unescape(const char *s, int len, char *result, int encoding)
{
	const char *end = s + len;
	char	   *p = result;

	while (s < end)
	{
		int			c;

		if (*s != '\\')
		{
			*p++ = *s++;
			continue;
		}
		s++;
		switch (*s++)
		{
			case 'b':
				*p++ = '\b';
				continue;
			case 'f':
				*p++ = '\f';
				continue;
			case 'n':
				*p++ = '\n';
				continue;
			case 'r':
				*p++ = '\r';
				continue;
			case 't':
				*p++ = '\t';
				continue;
			case 'u':
				break;
			default:
				*p++ = s[-1];
				continue;
		}
		c = hex_value(s);
		s += 4;
		if (is_utf16_surrogate_first(c))
		{
			if (end - s < 6 || s[0] != '\\' || s[1] != 'u' ||
				!is_utf16_surrogate_second(hex_value(s + 2)))
				return -1;
			c = surrogate_pair_to_codepoint(c, hex_value(s + 2));
			s += 6;
		}
		else if (is_utf16_surrogate_second(c) || c == 0)
			return -1;
		if (c < 0x80)
			*p++ = (char) c;
		else if (encoding == PG_UTF8 || encoding == PG_SQL_ASCII)
		{
			unicode_to_utf8(c, (unsigned char *) p);
			p += pg_utf_mblen((unsigned char *) p);
		}
		else
		{
			unsigned char converted[MAX_UNICODE_EQUIVALENT_STRING + 1];

			pg_unicode_to_server(c, converted);
			memcpy(p, converted, strlen((char *) converted));
			p += strlen((char *) converted);
		}
	}
	return p - result;
}

/*
 * Is this text of an object (without spaces around) one with the single
 * member "$json"?  Then inner is that member's text.
 */
static bool
unwrap(const char *json, int len, int encoding, DeltaString *inner)
{
	JsonTokens	t;
	DeltaString name;
	char		buf[40];
	bool		first = true;
	bool		result = false;
	int			i = 1;

	while (i < len && strchr(" \t\n\r", json[i]) != NULL)
		i++;
	if (i + 1 >= len || json[i] != '"' ||
		(json[i + 1] != '$' && json[i + 1] != '\\'))
		return false;

	tokens_init(&t, json, len, encoding, NULL);
	if (next_token(&t) && next_member(&t, &first, &name) == 1 &&
		name.len <= 30 &&
		unescape(name.data, name.len, buf, PG_UTF8) == 5 &&
		memcmp(buf, "$json", 5) == 0 && skip_value(&t, inner) &&
		t.lex->token_type == JSON_TOKEN_OBJECT_END)
		result = true;
	tokens_end(&t);
	return result;
}

/* ---- the delta ---- */

DeltaData *
delta_parse_json(const char *json, Size len, const DeltaLimits *limits,
				 DeltaError *error)
{
	DeltaParser p;
	bool		is_good;

	if (len > limits->max_size || len > MaxAllocSize)
	{
		delta_set_error(error, TOO_BIG, -1,
						"delta of %zu bytes exceeds the maximum allowed (%zu)",
						len, Min(limits->max_size, MaxAllocSize));
		delta_set_limit_hint(error, "max_delta_size");
		return NULL;
	}

	memset(&p, 0, sizeof(p));
	p.limits = limits;
	delta_builder_init(&p.builder);
	tokens_init(&p.t, json, len, delta_server_encoding(), error);
	p.t.max_depth = limits->max_depth;
	is_good = parse_delta(&p) && check_delta(&p);
	if (!is_good && !IS_GIVEN(p.members, MEMBER_FORMAT) &&
		error->sqlstate == MALFORMED)
	{
		int64		format = find_format(json, len, p.t.encoding);

		if (format > DELTA_FORMAT)
			delta_set_error(error, ERRCODE_FEATURE_NOT_SUPPORTED, -1,
							"delta has format " INT64_FORMAT ", the newest supported is %d",
							format, DELTA_FORMAT);
	}
	tokens_end(&p.t);
	if (!is_good)
		return NULL;

	return delta_builder_finish(&p.builder, &p.header);
}

static bool
parse_delta(DeltaParser *p)
{
	DeltaString raw;
	bool		first = true;
	int			step;

	if (!next_token(&p->t))
		return false;
	while ((step = next_member(&p->t, &first, &raw)) > 0)
	{
		int			member = find_member(delta_members, lengthof(delta_members), &raw);

		if (member < 0)
			return fail(&p->t, MALFORMED, "member \"%.*s\" of a delta is not known",
						delta_clip(raw.data, raw.len), raw.data);
		if (IS_GIVEN(p->members, member))
			return fail(&p->t, MALFORMED, "member \"%s\" of a delta is given twice",
						delta_members[member]);
		if (!parse_delta_member(p, member))
			return false;
		p->members |= BIT(member);
	}
	if (step < 0)
		return false;
	if (p->t.lex->token_type != JSON_TOKEN_END)
		return unexpected_token(&p->t, "the end of the delta");
	return true;
}

static bool
parse_delta_member(DeltaParser *p, DeltaMember member)
{
	DeltaHeader *header = &p->header;
	int64		number = 0;

	switch (member)
	{
		case MEMBER_FORMAT:
			if (!parse_integer(p, "format", 1, PG_INT64_MAX, &number))
				return false;
			if (number > DELTA_FORMAT)
				return fail(&p->t, ERRCODE_FEATURE_NOT_SUPPORTED,
							"delta has format " INT64_FORMAT ", the newest supported is %d",
							number, DELTA_FORMAT);
			return true;
		case MEMBER_REPLICA:
			return parse_uuid(p, &header->replica);
		case MEMBER_CONTEXT:
			return parse_vector(p, "context", &header->context);
		case MEMBER_FROM:
			return parse_vector(p, "from", &header->from);
		case MEMBER_TO:
			return parse_vector(p, "to", &header->to);
		case MEMBER_HLC:
			return parse_hlc(p, &header->hlc);
		case MEMBER_SCHEMA_VERSION:
			if (!parse_integer(p, "schema_version", 1, PG_INT32_MAX, &number))
				return false;
			header->schema_version = (int) number;
			return true;
		case MEMBER_MORE:
			return parse_boolean(p, "more", &header->has_more);
		case MEMBER_RESET:
			return parse_boolean(p, "reset", &header->is_reset);
		case MEMBER_RESUME:
			return parse_text(p, &header->resume);
		case MEMBER_CHANGES:
			return parse_changes(p);
		case MEMBER_CHECKSUM:
			if (!parse_text(p, &header->checksum))
				return false;
			if (!delta_checksum_is_valid(header->checksum,
										 strlen(header->checksum)))
				return fail(&p->t, MALFORMED,
							"checksum must be \"crc32c:\" and 8 hex digits in lower case");
			return true;
		case MEMBER_SIGNATURE:
			if (!parse_text(p, &header->signature))
				return false;
			if (!delta_signature_is_valid(header->signature,
										  strlen(header->signature)))
				return fail(&p->t, MALFORMED,
							"signature must be \"ed25519:\" and its hex or base64 digits, %d bytes at most",
							DELTA_MAX_SIGNATURE);
			return true;
	}
	return false;				/* not reached */
}

/* What only the whole delta can tell. */
static bool
check_delta(DeltaParser *p)
{
	int64		group;

	if (!IS_GIVEN(p->members, MEMBER_FORMAT))
		return fail(&p->t, MALFORMED, "delta has no member \"format\"");
	if (!IS_GIVEN(p->members, MEMBER_REPLICA))
		return fail(&p->t, MALFORMED, "delta has no member \"replica\"");
	group = delta_builder_split_group(&p->builder);
	if (group != 0)
		return fail(&p->t, MALFORMED,
					"changes of group " INT64_FORMAT " are not consecutive", group);
	p->header.nchanges = p->builder.nchanges;
	p->header.is_served = (p->members & SERVED_MASK) != 0;
	return check_family(p);
}

static bool
check_family(DeltaParser *p)
{
	if (p->header.is_served)
	{
		if (p->header.context != NULL)
			return fail(&p->t, MALFORMED,
						"served delta (with \"from\", \"to\" or \"more\") has a \"context\"");
		if (p->first_with_seq != 0)
			return fail(&p->t, MALFORMED, "change %d of a served delta has a \"seq\"",
						p->first_with_seq);
		if (p->first_intent != 0)
			return fail(&p->t, MALFORMED, "change %d of a served delta is an intent",
						p->first_intent);
		return true;
	}
	if (p->members & (BIT(MEMBER_RESET) | BIT(MEMBER_RESUME)))
		return fail(&p->t, MALFORMED,
					"pushed delta (without \"from\", \"to\" or \"more\") has a \"%s\"",
					IS_GIVEN(p->members, MEMBER_RESET) ? "reset" : "resume");
	if (p->first_without_seq != 0)
		return fail(&p->t, MALFORMED, "change %d of a pushed delta has no \"seq\"",
					p->first_without_seq);
	if (p->first_without_hlc != 0)
		return fail(&p->t, MALFORMED, "change %d of a pushed delta has no \"hlc\"",
					p->first_without_hlc);
	if (p->first_retract != 0)
		return fail(&p->t, MALFORMED, "change %d of a pushed delta is a retraction",
					p->first_retract);
	return true;
}

/*
 * Which format does the text announce?  0 where it does not say or cannot be
 * read.  Only asked when something else was wrong.
 */
static int64
find_format(const char *json, int len, int encoding)
{
	JsonTokens	t;
	DeltaString name;
	DeltaString raw;
	bool		first = true;
	int64		result = 0;

	tokens_init(&t, json, len, encoding, NULL);
	if (next_token(&t))
	{
		while (result == 0 && next_member(&t, &first, &name) > 0 &&
			   skip_value(&t, &raw))
		{
			if (name.len == 6 && memcmp(name.data, "format", 6) == 0 &&
				raw.len < 18 && raw.data[0] >= '1' && raw.data[0] <= '9' &&
				strspn(raw.data, "0123456789") >= raw.len)
				result = strtoi64(raw.data, NULL, 10);
		}
	}
	tokens_end(&t);
	return result;
}

/* ---- changes ---- */

static bool
parse_changes(DeltaParser *p)
{
	bool		first = true;
	int			step;

	while ((step = next_element(&p->t, &first)) > 0)
	{
		if (p->builder.nchanges >= p->limits->max_changes)
			return too_many_changes(p);
		if (!parse_change(p))
			return false;
	}
	return step == 0;
}

/* Count the rest, for the message. */
static bool
too_many_changes(DeltaParser *p)
{
	DeltaError *error = p->t.error;
	DeltaString raw;
	bool		first = false;
	int64		count = p->builder.nchanges;

	p->t.error = NULL;
	do
	{
		count++;
	} while (skip_value(&p->t, &raw) && next_element(&p->t, &first) > 0);
	p->t.error = error;
	fail(&p->t, TOO_BIG,
		 "delta has " INT64_FORMAT " changes, which exceeds the maximum allowed (%d)",
		 count, p->limits->max_changes);
	return delta_set_limit_hint(error, "max_delta_changes");
}

static bool
parse_change(DeltaParser *p)
{
	DeltaChange change;
	DeltaString raw;
	bool		first = true;
	int			mask = 0;
	int			step;

	memset(&change, 0, sizeof(change));
	change.table = -1;
	while ((step = next_member(&p->t, &first, &raw)) > 0)
	{
		int			member = find_member(change_members, lengthof(change_members), &raw);

		if (member < 0)
			return fail(&p->t, MALFORMED, "member \"%.*s\" of change %d is not known",
						delta_clip(raw.data, raw.len), raw.data,
						p->builder.nchanges + 1);
		if (IS_GIVEN(mask, member))
			return fail(&p->t, MALFORMED, "member \"%s\" of change %d is given twice",
						change_members[member], p->builder.nchanges + 1);
		if (!parse_change_member(p, member, &change))
			return false;
		mask |= BIT(member);
	}
	if (step < 0 || !check_change(p, mask, &change))
		return false;
	delta_builder_end(&p->builder, &change);
	return true;
}

static bool
parse_change_member(DeltaParser *p, ChangeMember member, DeltaChange *change)
{
	DeltaString string;

	switch (member)
	{
		case CHANGE_SEQ:
			return parse_integer(p, "seq", 1, PG_INT64_MAX, &change->seq);
		case CHANGE_GROUP:
			return parse_integer(p, "group", 1, PG_INT64_MAX, &change->group);
		case CHANGE_HLC:
			return parse_hlc(p, &change->hlc);
		case CHANGE_TABLE:
			if (!parse_string(p, &p->builder.scratch, &string))
				return false;
			if (string.len < 1 || string.len > DELTA_MAX_TABLE_NAME)
				return fail(&p->t, MALFORMED,
							"name of table \"%.*s\" has %d bytes, allowed are 1 to %d",
							delta_clip(string.data, string.len), string.data,
							string.len, DELTA_MAX_TABLE_NAME);
			change->table = delta_builder_table(&p->builder, string.data, string.len);
			if (change->table < 0)
				return fail(&p->t, TOO_BIG,
							"delta has %d different tables or more, which exceeds the maximum allowed (%d)",
							DELTA_MAX_NAMES + 1, DELTA_MAX_NAMES);
			return true;
		case CHANGE_KEY:
		case CHANGE_INSERT:
		case CHANGE_SET:
		case CHANGE_INCREMENT:
		case CHANGE_ADD:
		case CHANGE_REMOVE:
			return parse_cells(p, member);
		case CHANGE_DELETE:
		case CHANGE_RETRACT:
			return parse_true(p, change_members[member]);
		case CHANGE_SCOPE:
		case CHANGE_INTENT:
			if (!parse_string(p, &p->builder.scratch, &string) ||
				!check_value_size(p, NULL, string.len))
				return false;
			if (member == CHANGE_INTENT && string.len == 0)
				return fail(&p->t, MALFORMED, "intent of change %d has no name",
							p->builder.nchanges + 1);
			if (member == CHANGE_INTENT)
			{
				change->intent.kind = DELTA_STRING;
				change->intent.data = string.data;
				change->intent.len = string.len;
				return true;
			}
			break;
		case CHANGE_ARGS:
			if (p->t.lex->token_type != JSON_TOKEN_OBJECT_START)
				return unexpected_token(&p->t, "an object");
			if (!skip_value(&p->t, &string) ||
				!check_value_size(p, NULL, string.len))
				return false;
			break;
		case CHANGE_CLOCK:
			return fail(&p->t, ERRCODE_FEATURE_NOT_SUPPORTED,
						"change %d carries stamps (\"clock\"), which format %d does not support",
						p->builder.nchanges + 1, DELTA_FORMAT);
	}

	/* a scope or arguments; a change with both is refused soon */
	change->args.kind = member == CHANGE_SCOPE ? DELTA_STRING : DELTA_JSON;
	change->args.data = string.data;
	change->args.len = string.len;
	return true;
}

/* Which kind of change do its members make? */
static bool
check_change(DeltaParser *p, int mask, DeltaChange *change)
{
	int			number = p->builder.nchanges + 1;
	int			action = mask & ~(BIT(CHANGE_SEQ) | BIT(CHANGE_HLC) | BIT(CHANGE_GROUP));
	int			row = BIT(CHANGE_TABLE) | BIT(CHANGE_KEY);

	if (action == (row | BIT(CHANGE_INSERT)))
		change->kind = DELTA_CHANGE_INSERT;
	else if ((action & row) == row && (action & UPDATE_MASK) != 0 &&
			 (action & ~(row | UPDATE_MASK)) == 0)
		change->kind = DELTA_CHANGE_UPDATE;
	else if (action == (row | BIT(CHANGE_DELETE)))
		change->kind = DELTA_CHANGE_DELETE;
	else if (action == (row | BIT(CHANGE_RETRACT)))
		change->kind = DELTA_CHANGE_RETRACT;
	else if (action == (BIT(CHANGE_RETRACT) | BIT(CHANGE_SCOPE)))
		change->kind = DELTA_CHANGE_RETRACT_SCOPE;
	else if ((action & ~BIT(CHANGE_ARGS)) == BIT(CHANGE_INTENT))
		change->kind = DELTA_CHANGE_INTENT;
	else
	{
		fail(&p->t, MALFORMED,
			 "members of change %d do not make one kind of change", number);
		if (p->t.error != NULL)
			strlcpy(p->t.error->hint,
					"A change has \"table\", \"key\" and one of \"insert\", \"delete\", \"retract\", or any of \"set\", \"increment\", \"add\", \"remove\"; or \"intent\" and \"args\"; or \"retract\" and \"scope\".",
					sizeof(p->t.error->hint));
		return false;
	}
	if ((action & BIT(CHANGE_KEY)) && p->builder.nkeys == 0)
		return fail(&p->t, MALFORMED, "key of change %d is empty", number);

	if (!IS_GIVEN(mask, CHANGE_HLC) && p->first_without_hlc == 0)
		p->first_without_hlc = number;
	if (IS_GIVEN(mask, CHANGE_RETRACT) && p->first_retract == 0)
		p->first_retract = number;
	if (IS_GIVEN(mask, CHANGE_INTENT) && p->first_intent == 0)
		p->first_intent = number;
	return check_seq(p, mask, change);
}

static bool
check_seq(DeltaParser *p, int mask, const DeltaChange *change)
{
	int			number = p->builder.nchanges + 1;

	if (!IS_GIVEN(mask, CHANGE_SEQ))
	{
		if (p->first_without_seq == 0)
			p->first_without_seq = number;
		return true;
	}
	if (p->first_with_seq == 0)
	{
		p->first_with_seq = number;
		p->header.first_seq = change->seq;
	}
	else if ((uint64) change->seq != p->next_seq)
		return fail(&p->t, MALFORMED,
					"change %d has seq " INT64_FORMAT " where " UINT64_FORMAT " is expected",
					number, change->seq, p->next_seq);
	p->next_seq = (uint64) change->seq + 1;
	return true;
}

static int
find_member(const char *const *names, int n, const DeltaString *name)
{
	for (int i = 0; i < n; i++)
	{
		int			len = 0;

		while (len < name->len && names[i][len] == name->data[len] &&
			   names[i][len] != '\0')
			len++;
		if (len == name->len && names[i][len] == '\0')
			return i;
	}
	return -1;
}

/* ---- cells and values ---- */

/* The object of "key", "insert", "set" and so on: its members are columns. */
static bool
parse_cells(DeltaParser *p, ChangeMember member)
{
	DeltaBuilder *b = &p->builder;
	DeltaString name;
	bool		first = true;
	int			step;

	while ((step = next_member(&p->t, &first, &name)) > 0)
	{
		DeltaValue	value;
		bool		is_new;
		int			column;

		if (p->t.has_escaped_name)
		{
			char	   *copy = delta_arena_alloc(&b->scratch, name.len + 4);

			name.len = unescape(name.data, name.len, copy, p->t.encoding);
			name.data = copy;
			if (name.len < 0)
				return fail(&p->t, MALFORMED, "invalid Unicode escape in a column's name");
		}
		if (name.len < 1 || name.len > DELTA_MAX_COLUMN_NAME)
			return fail(&p->t, MALFORMED,
						"name of column \"%.*s\" has %d bytes, allowed are 1 to %d",
						delta_clip(name.data, name.len), name.data, name.len,
						DELTA_MAX_COLUMN_NAME);
		column = delta_builder_column(b, name.data, name.len);
		if (column < 0)
			return fail(&p->t, TOO_BIG,
						"delta has %d different columns or more, which exceeds the maximum allowed (%d)",
						DELTA_MAX_NAMES + 1, DELTA_MAX_NAMES);
		if (!parse_cell_value(p, member, &name, &value))
			return false;
		if (member == CHANGE_KEY)
			is_new = delta_builder_key(b, column, &value);
		else
			is_new = delta_builder_cell(b, column,
										member == CHANGE_INCREMENT ? DELTA_INCREMENT :
										member == CHANGE_ADD ? DELTA_ADD :
										member == CHANGE_REMOVE ? DELTA_REMOVE :
										DELTA_SET, &value);
		if (!is_new)
			return fail(&p->t, MALFORMED,
						"column \"%.*s\" is given twice in \"%s\" of change %d",
						name.len, name.data, change_members[member],
						b->nchanges + 1);
	}
	return step == 0;
}

static bool
parse_cell_value(DeltaParser *p, ChangeMember member, const DeltaString *name,
				 DeltaValue *value)
{
	if (member == CHANGE_REMOVE ||
		(member == CHANGE_ADD && p->t.lex->token_type == JSON_TOKEN_ARRAY_START))
	{
		if (!parse_list(p, name, value))
			return false;
	}
	else if (member == CHANGE_ADD)
	{
		if (p->t.lex->token_type != JSON_TOKEN_OBJECT_START)
			return unexpected_token(&p->t, "an array of strings or an object");
		if (!parse_value(p, value))
			return false;
		if (!delta_value_is_object(value))
			return fail(&p->t, MALFORMED,
						"what is added to column \"%.*s\" in change %d must be an array of strings or an object",
						name->len, name->data, p->builder.nchanges + 1);
	}
	else if (!parse_value(p, value))
		return false;
	if (value->kind >= DELTA_NUMBER && !check_value_size(p, name, value->len))
		return false;

	if (member == CHANGE_KEY && (value->kind == DELTA_NULL || value->kind == DELTA_JSON))
		return fail(&p->t, MALFORMED,
					"key column \"%.*s\" of change %d must be a string, a number or a boolean",
					name->len, name->data, p->builder.nchanges + 1);
	if (member == CHANGE_INCREMENT && value->kind != DELTA_NUMBER &&
		value->kind != DELTA_STRING)
		return fail(&p->t, MALFORMED,
					"increment of column \"%.*s\" in change %d must be a number or a string",
					name->len, name->data, p->builder.nchanges + 1);
	return true;
}

static bool
check_value_size(DeltaParser *p, const DeltaString *name, Size size)
{
	if (size <= p->limits->max_value_size)
		return true;
	if (name == NULL)
		fail(&p->t, TOO_BIG,
			 "value in change %d has %zu bytes, which exceeds the maximum allowed (%zu)",
			 p->builder.nchanges + 1, size, p->limits->max_value_size);
	else
		fail(&p->t, TOO_BIG,
			 "value of column \"%.*s\" has %zu bytes, which exceeds the maximum allowed (%zu)",
			 name->len, name->data, size, p->limits->max_value_size);
	return delta_set_limit_hint(p->t.error, "max_value_size");
}

static bool
parse_value(DeltaParser *p, DeltaValue *value)
{
	JsonLexContext *lex = p->t.lex;
	DeltaString string;

	value->data = lex->token_start;
	value->len = 0;
	switch (lex->token_type)
	{
		case JSON_TOKEN_NULL:
			value->kind = DELTA_NULL;
			return next_token(&p->t);
		case JSON_TOKEN_FALSE:
			value->kind = DELTA_FALSE;
			return next_token(&p->t);
		case JSON_TOKEN_TRUE:
			value->kind = DELTA_TRUE;
			return next_token(&p->t);
		case JSON_TOKEN_NUMBER:
			value->kind = DELTA_NUMBER;
			value->len = lex->token_terminator - lex->token_start;
			return next_token(&p->t);
		case JSON_TOKEN_STRING:
			if (!parse_string(p, &p->builder.scratch, &string))
				return false;
			value->kind = DELTA_STRING;
			value->data = string.data;
			value->len = string.len;
			return true;
		default:
			if (!skip_value(&p->t, &string))
				return false;
			value->kind = DELTA_JSON;
			value->data = string.data;
			value->len = string.len;
			if (string.data[0] == '{' &&
				unwrap(string.data, string.len, p->t.encoding, &string))
				delta_value_from_json(string.data, string.len, value);
			return true;
	}
}

/* A string, unescaped into the arena where it has to be. */
static bool
parse_string(DeltaParser *p, DeltaArena *arena, DeltaString *result)
{
	JsonLexContext *lex = p->t.lex;
	char	   *copy;

	if (lex->token_type != JSON_TOKEN_STRING)
		return unexpected_token(&p->t, "a string");
	result->data = lex->token_start + 1;
	result->len = lex->token_terminator - lex->token_start - 2;
	if (has_escapes(&p->t))
	{
		copy = delta_arena_alloc(arena, result->len + 4);
		result->len = unescape(result->data, result->len, copy, p->t.encoding);
		result->data = copy;
		if (result->len < 0)
			return fail(&p->t, MALFORMED,
						"JSON string has an escape that is not a character of text");
	}
	return next_token(&p->t);
}

/* An array of strings. */
static bool
parse_list(DeltaParser *p, const DeltaString *name, DeltaValue *value)
{
	bool		first = true;
	Size		size;
	char	   *data;
	int			n = 0;
	int			step;

	while ((step = next_element(&p->t, &first)) > 0)
	{
		if (n >= p->maxelements)
		{
			if (n >= DELTA_MAX_ELEMENTS)
				return fail(&p->t, TOO_BIG,
							"list for column \"%.*s\" has %d elements or more, which exceeds the maximum allowed (%d)",
							name->len, name->data, n + 1, DELTA_MAX_ELEMENTS);
			p->maxelements = Min(DELTA_MAX_ELEMENTS, Max(16, 2 * p->maxelements));
			p->elements = p->elements == NULL ?
				palloc(p->maxelements * sizeof(DeltaString)) :
				repalloc(p->elements, p->maxelements * sizeof(DeltaString));
		}
		if (!parse_string(p, &p->builder.scratch, &p->elements[n]))
			return false;
		n++;
	}
	if (step < 0)
		return false;
	n = delta_list_sort(p->elements, n);
	size = delta_list_size(p->elements, n);
	if (!check_value_size(p, name, size))
		return false;
	data = delta_arena_alloc(&p->builder.scratch, size);
	delta_list_put(data, p->elements, n);
	value->kind = DELTA_LIST;
	value->data = data;
	value->len = size;
	return true;
}

/* ---- single members ---- */

static bool
parse_integer(DeltaParser *p, const char *member, int64 min, int64 max, int64 *result)
{
	JsonLexContext *lex = p->t.lex;
	const char *s = lex->token_start;
	int64		v = 0;

	if (lex->token_type != JSON_TOKEN_NUMBER)
		return unexpected_token(&p->t, "an integer");
	for (; s < lex->token_terminator; s++)
	{
		if (*s < '0' || *s > '9' || v > (max - (*s - '0')) / 10)
			break;
		v = v * 10 + (*s - '0');
	}
	if (s != lex->token_terminator || v < min)
		return fail(&p->t, MALFORMED,
					"\"%s\" must be an integer from " INT64_FORMAT " to " INT64_FORMAT,
					member, min, max);
	*result = v;
	return next_token(&p->t);
}

static bool
parse_boolean(DeltaParser *p, const char *member, bool *result)
{
	if (p->t.lex->token_type != JSON_TOKEN_TRUE &&
		p->t.lex->token_type != JSON_TOKEN_FALSE)
		return fail(&p->t, MALFORMED, "\"%s\" must be true or false", member);
	*result = p->t.lex->token_type == JSON_TOKEN_TRUE;
	return next_token(&p->t);
}

static bool
parse_true(DeltaParser *p, const char *member)
{
	if (p->t.lex->token_type != JSON_TOKEN_TRUE)
		return fail(&p->t, MALFORMED, "\"%s\" must be true", member);
	return next_token(&p->t);
}

static bool
parse_hlc(DeltaParser *p, Hlc *result)
{
	JsonLexContext *lex = p->t.lex;

	if (lex->token_type != JSON_TOKEN_STRING)
		return unexpected_token(&p->t, "a string");
	if (!hlc_parse(lex->token_start + 1,
				   lex->token_terminator - lex->token_start - 2, result))
		return fail(&p->t, MALFORMED, "invalid hlc %.*s",
					delta_clip(lex->token_start,
							   lex->token_terminator - lex->token_start),
					lex->token_start);
	return next_token(&p->t);
}

static bool
parse_uuid(DeltaParser *p, pg_uuid_t *result)
{
	JsonLexContext *lex = p->t.lex;

	if (lex->token_type != JSON_TOKEN_STRING)
		return unexpected_token(&p->t, "a string");
	if (!uuid_text_parse(lex->token_start + 1,
						 lex->token_terminator - lex->token_start - 2, result))
		return fail(&p->t, MALFORMED, "invalid uuid %.*s",
					delta_clip(lex->token_start,
							   lex->token_terminator - lex->token_start),
					lex->token_start);
	return next_token(&p->t);
}

static bool
parse_vector(DeltaParser *p, const char *member, VersionVector **result)
{
	DeltaString raw;
	const char *problem = NULL;

	if (p->t.lex->token_type != JSON_TOKEN_OBJECT_START)
		return unexpected_token(&p->t, "a version vector");
	if (!skip_value(&p->t, &raw))
		return false;
	*result = vv_parse(raw.data, raw.len, &problem);
	if (*result == NULL)
		return fail(&p->t, MALFORMED, "invalid version vector in \"%s\": %s",
					member, problem);
	return true;
}

/* A string that the header keeps, terminated. */
static bool
parse_text(DeltaParser *p, const char **result)
{
	DeltaString string;
	char	   *copy;

	if (!parse_string(p, &p->builder.scratch, &string) ||
		!check_value_size(p, NULL, string.len))
		return false;
	copy = delta_arena_alloc(&p->builder.strings, string.len + 1);
	memcpy(copy, string.data, string.len);
	copy[string.len] = '\0';
	*result = copy;
	return true;
}

bool
delta_checksum_is_valid(const char *checksum, int len)
{
	return len == DELTA_CHECKSUM_SIZE - 1 &&
		strncmp(checksum, "crc32c:", 7) == 0 &&
		strspn(checksum + 7, "0123456789abcdef") == 8;
}

bool
delta_signature_is_valid(const char *signature, int len)
{
	int			i;

	if (len < 9 || len > DELTA_MAX_SIGNATURE ||
		strncmp(signature, "ed25519:", 8) != 0)
		return false;
	for (i = 8; i < len; i++)
		if (!isalnum((unsigned char) signature[i]) &&
			strchr("+/=_-", signature[i]) == NULL)
			return false;
	return true;
}

/* ---- values of json columns ---- */

void
delta_value_from_json(const char *json, int len, DeltaValue *value)
{
	StringInfoData again;
	char	   *plain;
	int			plain_len;

	while (len > 0 && strchr(" \t\n\r", json[0]) != NULL)
	{
		json++;
		len--;
	}
	while (len > 0 && strchr(" \t\n\r", json[len - 1]) != NULL)
		len--;
	value->kind = DELTA_JSON;
	value->data = json;
	value->len = len;
	if (len == 0)
		return;

	switch (json[0])
	{
		case 't':
		case 'f':
			value->kind = json[0] == 't' ? DELTA_TRUE : DELTA_FALSE;
			value->len = 0;
			break;
		case '{':
		case '[':
		case 'n':
			break;
		case '"':
			if (memchr(json, '\\', len) == NULL)
			{
				value->kind = DELTA_STRING;
				value->data = json + 1;
				value->len = len - 2;
				break;
			}
			plain = palloc(len + 4);
			plain_len = unescape(json + 1, len - 2, plain, delta_server_encoding());
			if (plain_len < 0)
				break;
			initStringInfo(&again);
			delta_format_string(&again, plain, plain_len);
			if (again.len == len && memcmp(again.data, json, len) == 0)
			{
				value->kind = DELTA_STRING;
				value->data = plain;
				value->len = plain_len;
			}
			pfree(again.data);
			break;
		default:
			value->kind = DELTA_NUMBER;
			break;
	}
}

void
delta_value_to_json(StringInfo buf, const DeltaValue *value)
{
	if (value->kind == DELTA_JSON)
		appendBinaryStringInfo(buf, value->data, value->len);
	else
		format_value(buf, value);
}

bool
delta_value_to_list(const DeltaValue *value, DeltaValue *list)
{
	DeltaParser p;
	DeltaLimits limits;
	DeltaError	error;
	DeltaString name = {"", 0};
	char	   *copy;
	bool		is_list;

	list->kind = DELTA_LIST;
	list->len = value->len;
	if (value->kind == DELTA_LIST)
	{
		copy = palloc(value->len + 1);
		memcpy(copy, value->data, value->len);
		list->data = copy;
		return true;
	}
	if (value->kind != DELTA_JSON || value->len < 2 || value->data[0] != '[')
		return false;

	memset(&p, 0, sizeof(p));
	limits.max_size = limits.max_value_size = MaxAllocSize;
	limits.max_changes = 0;
	p.limits = &limits;
	tokens_init(&p.t, value->data, value->len, delta_server_encoding(), &error);
	is_list = next_token(&p.t) && parse_list(&p, &name, list) &&
		p.t.lex->token_type == JSON_TOKEN_END;
	tokens_end(&p.t);
	return is_list;
}

bool
delta_value_is_object(const DeltaValue *value)
{
	return value->kind == DELTA_JSON && value->len > 0 && value->data[0] == '{';
}

bool
delta_json_is_valid(const char *json, int len, int encoding)
{
	JsonTokens	t;
	DeltaString raw;
	bool		result;

	tokens_init(&t, json, len, encoding, NULL);
	result = next_token(&t) && skip_value(&t, &raw) &&
		t.lex->token_type == JSON_TOKEN_END &&
		raw.data == json && raw.len == len;
	tokens_end(&t);
	return result;
}

bool
delta_json_is_kept(const char *json, int len, int encoding)
{
	DeltaValue	value;

	if (len == 0 || !delta_json_is_valid(json, len, encoding))
		return false;
	if (json[0] == '{' || json[0] == '[')
		return true;
	delta_value_from_json(json, len, &value);
	return value.kind == DELTA_JSON;
}

/* ---- formatting ---- */

void
delta_format_json(StringInfo buf, const DeltaData *delta)
{
	format_delta(buf, delta, delta_server_encoding(), false, "", "");
}

void
delta_format_pretty(StringInfo buf, const DeltaData *delta)
{
	format_delta(buf, delta, delta_server_encoding(), false, "\n  ", "\n");
}

void
delta_format_canonical(StringInfo buf, const DeltaData *delta, int encoding)
{
	format_delta(buf, delta, encoding, true, "", "");
}

static void
format_delta(StringInfo buf, const DeltaData *delta, int encoding,
			 bool is_canonical, const char *before_change,
			 const char *after_changes)
{
	DeltaReader reader;
	DeltaChange change;
	bool		first = true;

	delta_reader_init(&reader, delta);
	reader.encoding = encoding;
	/* what it mostly comes to, so that it need not be moved when it grows */
	enlargeStringInfo(buf, (int) Min(2 * (Size) VARSIZE_ANY_EXHDR(delta) +
									 1024, MaxAllocSize / 4));
	format_header(buf, &reader.header, is_canonical);
	appendStringInfoString(buf, ",\"changes\":[");
	while (delta_reader_next(&reader, &change))
	{
		CHECK_FOR_INTERRUPTS();
		if (!first)
			appendStringInfoChar(buf, ',');
		first = false;
		appendStringInfoString(buf, before_change);
		format_change(buf, &reader, &change);
	}
	appendStringInfoString(buf, after_changes);
	appendStringInfoChar(buf, ']');
	if (!is_canonical && reader.header.checksum != NULL)
		appendStringInfo(buf, ",\"checksum\":\"%s\"", reader.header.checksum);
	if (!is_canonical && reader.header.signature != NULL)
		appendStringInfo(buf, ",\"signature\":\"%s\"", reader.header.signature);
	appendStringInfoChar(buf, '}');
}

static void
format_header(StringInfo buf, const DeltaHeader *header, bool is_canonical)
{
	char		replica[UUID_TEXT_LEN];

	uuid_text_put(replica, &header->replica);
	appendStringInfo(buf, "{\"format\":%d,\"replica\":\"%.*s\"", DELTA_FORMAT,
					 UUID_TEXT_LEN, replica);
	if (!header->is_served)
	{
		appendStringInfoString(buf, ",\"context\":");
		format_vector(buf, header->context, is_canonical);
	}
	if (header->from != NULL)
	{
		appendStringInfoString(buf, ",\"from\":");
		format_vector(buf, header->from, is_canonical);
	}
	if (header->to != NULL)
	{
		appendStringInfoString(buf, ",\"to\":");
		format_vector(buf, header->to, is_canonical);
	}
	if (header->hlc != HLC_MIN)
		format_hlc(buf, header->hlc);
	if (header->schema_version != 0)
		appendStringInfo(buf, ",\"schema_version\":%d", header->schema_version);
	if (header->is_served)
		appendStringInfoString(buf, header->has_more ? ",\"more\":true" :
							   ",\"more\":false");
	if (header->resume != NULL)
	{
		appendStringInfoString(buf, ",\"resume\":");
		delta_format_string(buf, header->resume, strlen(header->resume));
	}
	if (header->is_reset)
		appendStringInfoString(buf, ",\"reset\":true");
}

/* Vectors are printed with blanks, the canonical bytes have none. */
static void
format_vector(StringInfo buf, const VersionVector *vv, bool is_canonical)
{
	int			len = buf->len;

	vv_format(buf, vv);
	if (!is_canonical)
		return;
	for (int i = len; i < buf->len; i++)
	{
		if (buf->data[i] != ' ')
			buf->data[len++] = buf->data[i];
	}
	buf->len = len;
	buf->data[len] = '\0';
}

/* With the comma before it: never the first member. */
static void
format_hlc(StringInfo buf, Hlc hlc)
{
	char text[	HLC_TEXT_SIZE];
	int			len = hlc_format(hlc, text);

	appendStringInfoString(buf, ",\"hlc\":\"");
	appendBinaryStringInfo(buf, text, len);
	appendStringInfoChar(buf, '"');
}

static void
format_change(StringInfo buf, const DeltaReader *reader, const DeltaChange *change)
{
	int			start = buf->len;

	/* each member brings the comma before it; the first one's is replaced */
	if (!reader->header.is_served)
		appendStringInfo(buf, ",\"seq\":" INT64_FORMAT, change->seq);
	if (change->hlc != HLC_MIN || !reader->header.is_served)
		format_hlc(buf, change->hlc);
	if (change->table >= 0)
	{
		appendStringInfoString(buf, ",\"table\":");
		delta_format_string(buf, reader->tables[change->table].data,
							reader->tables[change->table].len);
		appendStringInfoString(buf, ",\"key\":");
		delta_format_cells(buf, reader, change->keys, change->nkeys, DELTA_SET);
	}
	delta_format_content(buf, reader, change);
	if (change->group != 0)
		appendStringInfo(buf, ",\"group\":" INT64_FORMAT, change->group);
	appendStringInfoChar(buf, '}');
	buf->data[start] = '{';
}

void
delta_format_content(StringInfo buf, const DeltaReader *reader,
					 const DeltaChange *change)
{
	static const char *const ops[] = {"set", "increment", "remove", "add"};
	static const DeltaCellOp op_order[] = {
		DELTA_SET, DELTA_INCREMENT, DELTA_ADD, DELTA_REMOVE
	};
	int			given = 0;
	int			i;

	switch (change->kind)
	{
		case DELTA_CHANGE_INSERT:
			appendStringInfoString(buf, ",\"insert\":");
			delta_format_cells(buf, reader, change->cells, change->ncells, DELTA_SET);
			break;
		case DELTA_CHANGE_UPDATE:
			for (i = 0; i < change->ncells; i++)
				given |= 1 << change->cells[i].op;
			if (given == 0)
				given = 1 << DELTA_SET;
			for (i = 0; i < lengthof(op_order); i++)
			{
				if (!(given & (1 << op_order[i])))
					continue;
				appendStringInfo(buf, ",\"%s\":", ops[op_order[i]]);
				delta_format_cells(buf, reader, change->cells, change->ncells,
								   op_order[i]);
			}
			break;
		case DELTA_CHANGE_DELETE:
			appendStringInfoString(buf, ",\"delete\":true");
			break;
		case DELTA_CHANGE_RETRACT:
			appendStringInfoString(buf, ",\"retract\":true");
			break;
		case DELTA_CHANGE_RETRACT_SCOPE:
			appendStringInfoString(buf, ",\"retract\":true,\"scope\":");
			delta_format_string(buf, change->args.data, change->args.len);
			break;
		case DELTA_CHANGE_INTENT:
			appendStringInfoString(buf, ",\"intent\":");
			delta_format_string(buf, change->intent.data, change->intent.len);
			if (change->args.kind == DELTA_JSON)
			{
				appendStringInfoString(buf, ",\"args\":");
				appendBinaryStringInfo(buf, change->args.data, change->args.len);
			}
			break;
	}
}

void
delta_format_cells(StringInfo buf, const DeltaReader *reader,
				   const DeltaCell *cells, int ncells, DeltaCellOp op)
{
	bool		first = true;
	int			i;

	appendStringInfoChar(buf, '{');
	for (i = 0; i < ncells; i++)
	{
		const DeltaName *column = &reader->columns[cells[i].column];

		if (cells[i].op != op)
			continue;
		if (!first)
			appendStringInfoChar(buf, ',');
		first = false;
		delta_format_string(buf, column->data, column->len);
		appendStringInfoChar(buf, ':');
		format_member(buf, &cells[i].value, reader->encoding);
	}
	appendStringInfoChar(buf, '}');
}

void
delta_format_member(StringInfo buf, const DeltaValue *value)
{
	format_member(buf, value, delta_server_encoding());
}

void
delta_format_name(StringInfo buf, const char *name)
{
	delta_format_string(buf, name, strlen(name));
}

static void
format_member(StringInfo buf, const DeltaValue *value, int encoding)
{
	if (needs_wrapping(value, encoding))
	{
		appendStringInfoString(buf, "{\"$json\":");
		format_value(buf, value);
		appendStringInfoChar(buf, '}');
	}
	else
		format_value(buf, value);
}

/* JSON that would not come back as it is. */
static bool
needs_wrapping(const DeltaValue *value, int encoding)
{
	DeltaString inner;

	if (value->kind != DELTA_JSON || value->len == 0 || value->data[0] == '[')
		return false;
	return value->data[0] != '{' ||
		unwrap(value->data, value->len, encoding, &inner);
}

static void
format_value(StringInfo buf, const DeltaValue *value)
{
	switch (value->kind)
	{
		case DELTA_NULL:
			appendStringInfoString(buf, "null");
			break;
		case DELTA_FALSE:
			appendStringInfoString(buf, "false");
			break;
		case DELTA_TRUE:
			appendStringInfoString(buf, "true");
			break;
		case DELTA_STRING:
			delta_format_string(buf, value->data, value->len);
			break;
		case DELTA_LIST:
			format_list(buf, value);
			break;
		case DELTA_NUMBER:
		case DELTA_JSON:
			appendBinaryStringInfo(buf, value->data, value->len);
			break;
	}
}

static void
format_list(StringInfo buf, const DeltaValue *value)
{
	const char *cursor = value->data;
	const char *data;
	int			len;
	bool		first = true;

	appendStringInfoChar(buf, '[');
	while (delta_list_next(value, &cursor, &data, &len))
	{
		if (!first)
			appendStringInfoChar(buf, ',');
		first = false;
		delta_format_string(buf, data, len);
	}
	appendStringInfoChar(buf, ']');
}

/* Is any of 8 bytes below 0x20, a quote or a backslash? */
static inline bool
has_special(uint64 bytes)
{
	const uint64 ones = UINT64CONST(0x0101010101010101);
	uint64		quotes = bytes ^ (ones * '"');
	uint64		backslashes = bytes ^ (ones * '\\');

	return (((bytes - ones * 0x20) & ~bytes) |
			((quotes - ones) & ~quotes) |
			((backslashes - ones) & ~backslashes)) & (ones * 0x80);
}

/* How many of the first bytes need no escape */
static int
plain_length(const char *data, int len)
{
	int			n = 0;
	uint64		bytes;

	for (; n + (int) sizeof(bytes) <= len; n += sizeof(bytes))
	{
		memcpy(&bytes, data + n, sizeof(bytes));
		if (has_special(bytes))
			break;
	}
	while (n < len && (unsigned char) data[n] >= 0x20 && data[n] != '"' &&
		   data[n] != '\\')
		n++;
	return n;
}

/* As escape_json does it, in stretches. */
void
delta_format_string(StringInfo buf, const char *data, int len)
{
	const char *end = data + len;

	appendStringInfoChar(buf, '"');
	for (;;)
	{
		int			n = plain_length(data, end - data);
		unsigned char c;

		appendBinaryStringInfo(buf, data, n);
		data += n;
		if (data >= end)
			break;
		c = (unsigned char) *data++;
		appendStringInfoChar(buf, '\\');
		switch (c)
		{
			case '\b':
				appendStringInfoChar(buf, 'b');
				break;
			case '\f':
				appendStringInfoChar(buf, 'f');
				break;
			case '\n':
				appendStringInfoChar(buf, 'n');
				break;
			case '\r':
				appendStringInfoChar(buf, 'r');
				break;
			case '\t':
				appendStringInfoChar(buf, 't');
				break;
			case '"':
			case '\\':
				appendStringInfoChar(buf, (char) c);
				break;
			default:
				appendStringInfo(buf, "u%04x", c);
				break;
		}
	}
	appendStringInfoChar(buf, '"');
}
