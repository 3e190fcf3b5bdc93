/*-------------------------------------------------------------------------
 *
 * serve_token.c
 *	  Where the next page goes on, as an opaque text.
 *
 * Text "1:" and the hexadecimal digits of
 *
 *		flags | done | retracted | between scopes of one revocation: node, xid,
 *		scope | base scan: target, schema version, hash, table, scope, key |
 *		inside a transaction of the log: node, xid, part, table, key
 *
 * with integers as varints and vectors in their wire form.  The device hands it
 * back, so nothing in it is trusted but by the device itself: which scopes and
 * tables it may read is looked up anew for each page, and a forged place only
 * makes a device miss what it skipped.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "compat.h"
#include "mb/pg_wchar.h"
#include "serve/serve.h"
#include "types/varint.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#define TOKEN_PREFIX	"1:"

#define TOKEN_BASE		0x01
#define TOKEN_FULL		0x02
#define TOKEN_INSIDE	0x04	/* log: inside a transaction */
#define TOKEN_RESET		0x08
#define TOKEN_FRESH		0x10
#define TOKEN_RETRACTING 0x20	/* between scopes of one revocation */
#define TOKEN_ALL_FLAGS 0x3F

static void put_bytes(StringInfo buf, const char *data, int len);
static uint64 get_number(const char **cursor, const char *end, uint64 max);
static char *get_bytes(const char **cursor, const char *end, int *len);
static char *get_text(const char **cursor, const char *end);
static VersionVector *get_vector(const char **cursor, const char *end);
static void get_base(ServeToken *token, const char **cursor, const char *end);
static void get_inside(ServeToken *token, const char **cursor, const char *end);

ServeToken *
serve_token_create(void)
{
	ServeToken *token = palloc0(sizeof(ServeToken));

	token->done = vv_empty();
	token->retracted = vv_empty();
	token->target = vv_empty();
	return token;
}

char *
serve_token_format(const ServeToken *token)
{
	StringInfoData buf;
	char	   *text;
	Size		len;

	initStringInfo(&buf);
	appendStringInfoChar(&buf, (token->is_base ? TOKEN_BASE : 0) |
						 (token->is_full ? TOKEN_FULL : 0) |
						 (token->is_reset ? TOKEN_RESET : 0) |
						 (token->is_fresh ? TOKEN_FRESH : 0) |
						 (token->retract_node != 0 ? TOKEN_RETRACTING : 0) |
						 (token->node != 0 ? TOKEN_INSIDE : 0));
	vv_pack(&buf, token->done);
	vv_pack(&buf, token->retracted);
	if (token->retract_node != 0)
	{
		varint_append(&buf, (uint64) token->retract_node);
		varint_append(&buf, token->retract_xid);
		put_bytes(&buf, token->retract_scope, strlen(token->retract_scope));
	}
	if (token->is_base)
	{
		vv_pack(&buf, token->target);
		varint_append(&buf, (uint64) token->schema_version);
		varint_append(&buf, token->tables_hash);
		varint_append(&buf, (uint64) token->table_id);
		put_bytes(&buf, token->scope == NULL ? "" : token->scope,
				  token->scope == NULL ? 0 : strlen(token->scope));
		varint_append(&buf, (uint64) token->nkeys);
		for (int i = 0; i < token->nkeys; i++)
			put_bytes(&buf, token->key[i], strlen(token->key[i]));
	}
	if (token->node != 0)
	{
		varint_append(&buf, (uint64) token->node);
		varint_append(&buf, token->xid);
		varint_append(&buf, varint_zigzag(token->part));
		varint_append(&buf, (uint64) token->row.table_id);
		put_bytes(&buf, token->row.key, token->row.keylen);
	}

	len = strlen(TOKEN_PREFIX);
	text = palloc(add_size(len, add_size(mul_size(2, buf.len), 1)));

	memcpy(text, TOKEN_PREFIX, len);
	len += hex_encode(buf.data, buf.len, text +len);
	text[		len] = '\0';
	return text;
}

ServeToken *
serve_token_parse(const char *str)
{
	ServeToken *token = serve_token_create();
	const char *cursor;
	const char *end;
	char	   *bytes;
	Size		len = strlen(str);
	Size		prefix = strlen(TOKEN_PREFIX);
	uint8		flags;

	if (len <= prefix || strncmp(str, TOKEN_PREFIX, prefix) != 0 ||
		(len - prefix) % 2 != 0 ||
		strspn(str + prefix, "0123456789abcdef") != len - prefix)
		serve_token_error();
	bytes = palloc((len - prefix) / 2);
	cursor = bytes;
	end = bytes + hex_decode(str + prefix, len - prefix, bytes);

	flags = *cursor++;
	if (flags & ~TOKEN_ALL_FLAGS)
		serve_token_error();
	token->is_base = (flags & TOKEN_BASE) != 0;
	token->is_full = (flags & TOKEN_FULL) != 0;
	token->is_reset = (flags & TOKEN_RESET) != 0;
	token->is_fresh = (flags & TOKEN_FRESH) != 0;
	if ((token->is_full && !token->is_base) ||
		(token->is_base && (flags & TOKEN_INSIDE)))
		serve_token_error();

	token->done = get_vector(&cursor, end);
	token->retracted = get_vector(&cursor, end);
	if (flags & TOKEN_RETRACTING)
	{
		token->retract_node = (int32) get_number(&cursor, end, PG_INT32_MAX);
		token->retract_xid = get_number(&cursor, end, VV_MAX_COUNTER);
		token->retract_scope = get_text(&cursor, end);
	}
	if (token->is_base)
		get_base(token, &cursor, end);
	if (flags & TOKEN_INSIDE)
		get_inside(token, &cursor, end);
	if (cursor != end)
		serve_token_error();
	return token;
}

static void
get_base(ServeToken *token, const char **cursor, const char *end)
{
	token->target = get_vector(cursor, end);
	token->schema_version = (int) get_number(cursor, end, PG_INT32_MAX);
	token->tables_hash = (uint32) get_number(cursor, end, PG_UINT32_MAX);
	token->table_id = (int32) get_number(cursor, end, PG_INT32_MAX);
	token->scope = get_text(cursor, end);
	token->nkeys = (int) get_number(cursor, end, INDEX_MAX_KEYS);
	token->key = palloc(Max(token->nkeys, 1) * sizeof(char *));
	for (int i = 0; i < token->nkeys; i++)
		token->key[i] = get_text(cursor, end);
}

static void
get_inside(ServeToken *token, const char **cursor, const char *end)
{
	token->node = (int32) get_number(cursor, end, PG_INT32_MAX);
	token->xid = get_number(cursor, end, VV_MAX_COUNTER);
	token->part = (int32) varint_unzigzag(get_number(cursor, end, PG_UINT32_MAX));
	token->row.table_id = (int32) get_number(cursor, end, PG_INT32_MAX);
	token->row.key = get_bytes(cursor, end, &token->row.keylen);
	if (token->node == 0 || token->xid == 0)
		serve_token_error();
}

static void
put_bytes(StringInfo buf, const char *data, int len)
{
	varint_append(buf, (uint64) len);
	appendBinaryStringInfo(buf, data, len);
}

static uint64
get_number(const char **cursor, const char *end, uint64 max)
{
	uint64		number;

	if (!varint_get(cursor, end, &number) || number > max)
		serve_token_error();
	return number;
}

/* palloc'd and terminated */
static char *
get_bytes(const char **cursor, const char *end, int *len)
{
	uint64		n = get_number(cursor, end, MaxAllocSize - 1);
	char	   *bytes;

	if (n > (uint64) (end - *cursor))
		serve_token_error();
	bytes = pnstrdup("", 0);
	bytes = repalloc(bytes, n + 1);
	memcpy(bytes, *cursor, n);
	bytes[n] = '\0';
	*cursor += n;
	*len = (int) n;
	return bytes;
}

/* Text for input functions: neither zero bytes nor a broken encoding. */
static char *
get_text(const char **cursor, const char *end)
{
	int			len;
	char	   *text = get_bytes(cursor, end, &len);

	if (strlen(text) != len || !pg_verifymbstr(text, len, true))
		serve_token_error();
	return text;
}

static VersionVector *
get_vector(const char **cursor, const char *end)
{
	VersionVector *vv = vv_unpack(cursor, end);

	if (vv == NULL)
		serve_token_error();
	return vv;
}

void
serve_token_error(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("invalid value for parameter \"resume\""),
			 errhint("Pass what delta_resume() returned for the previous page, or NULL to start again from the vector.")));
}
