/*-------------------------------------------------------------------------
 *
 * opaque.c
 *	  How values of columns with the policy "opaque" appear where people read.
 *
 * The server never looks into such a value, so neither do its records: a digest
 * tells whether two values are the same, and what a device can prove it sent.
 * The journal keeps deltas as received, values included, because a change that
 * is sent again must be recognised; what it shows of them is masked.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "audit/opaque.h"
#include "catalog/pg_type.h"
#include "common/cryptohash.h"
#include "common/sha2.h"
#include "compat.h"
#include "fmgr.h"
#include "types/uuid_text.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/json.h"

PG_FUNCTION_INFO_V1(sync_mask_changes);

static int	decode_hex(char *bytes, const char *text, int len);
static int	decode_escaped(char *bytes, const char *text, int len);
static void append_value(StringInfo buf, JsonbValue *value);
static void append_masked(StringInfo buf, JsonbValue *value);
static void append_cells(StringInfo buf, JsonbValue *cells, ArrayType *clear);
static bool is_listed(ArrayType *names, const char *name, int len);

void
opaque_append(StringInfo buf, const char *bytes, int len)
{
	pg_cryptohash_ctx *hash = pg_cryptohash_create(PG_SHA256);
	uint8		digest[PG_SHA256_DIGEST_LENGTH];

	if (pg_cryptohash_init(hash) < 0 ||
		pg_cryptohash_update(hash, (const uint8 *) bytes, len) < 0 ||
		pg_cryptohash_final(hash, digest, sizeof(digest)) < 0)
		elog(ERROR, "could not compute %s hash: %s", "SHA256",
			 pg_cryptohash_error(hash));
	pg_cryptohash_free(hash);

	appendStringInfoString(buf, "{\"opaque\":\"sha256:");
	for (int i = 0; i < sizeof(digest); i++)
		appendStringInfo(buf, "%02x", digest[i]);
	appendStringInfo(buf, "\",\"bytes\":%d}", len);
}

void
opaque_append_text(StringInfo buf, const char *text, int len)
{
	char	   *bytes = palloc(len + 1);
	int			nbytes;

	nbytes = len >= 2 && text[0] == '\\' && text[1] == 'x' ?
	decode_hex(bytes, text +2, len - 2) : decode_escaped(bytes, text, len);

	if (nbytes < 0)
		opaque_append(buf, text, len);
	else
		opaque_append(buf, bytes, nbytes);
	pfree(bytes);
}

/* As byteain reads it, without its errors: -1 for what it would refuse. */
static int
decode_hex(char *bytes, const char *text, int len)
{
	int			n = 0;

	for (int i = 0; i < len; i++)
	{
		if (text[i] == ' ' || text[i] == '\n' || text[i] == '\t' || text[i] == '\r')
			continue;
		if (i + 1 >= len || hex_digit(text[i]) < 0 || hex_digit(text[i + 1]) < 0)
			return -1;
		bytes[n++] = (char) (hex_digit(text[i]) << 4 | hex_digit(text[i + 1]));
		i++;
	}
	return n;
}

static int
decode_escaped(char *bytes, const char *text, int len)
{
	int			n = 0;

	for (int i = 0; i < len; i++)
	{
		if (text[i] != '\\')
			bytes[n++] = text[i];

		else if (i + 1 < len && text[i + 1] == '\\')
			bytes[n++] = text[++i];

		else if (i + 3 < len && text[i + 1] >= '0' && text[i + 1] <= '3' &&
				 text[i + 2] >= '0' && text[i + 2] <= '7' &&
				 text[i + 3] >= '0' && text[i + 3] <= '7')
		{
			bytes[n++] = (char) ((text[i + 1] - '0') <<6 |
								 (text[i + 2] - '0') <<3 | (text[i + 3] - '0'));
			i += 3;
		}
		else
			return -1;
	}
	return n;
}

bool
opaque_is_of_text(Jsonb *opaque, const char *text, int len)
{
	StringInfoData buf;
	Jsonb	   *json;

	initStringInfo(&buf);
	opaque_append_text(&buf, text, len);
	json = DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(buf.data)));
	return compareJsonbContainers(&opaque->root, &json->root) == 0;
}

/*
 * mask_changes(changes jsonb, clear text[]) -> jsonb
 *
 * What a change brought, as delta_changes shows it ({"set": {"column": value}, ...}),
 * with the values of all columns masked but those that may be seen.
 */
Datum
sync_mask_changes(PG_FUNCTION_ARGS)
{
	Jsonb	   *changes = PG_GETARG_JSONB_P(0);
	ArrayType  *clear = PG_GETARG_ARRAYTYPE_P(1);
	StringInfoData buf;
	JsonbIterator *it;
	JsonbIteratorToken token;
	JsonbValue	value;

	if (!JB_ROOT_IS_OBJECT(changes))
		PG_RETURN_JSONB_P(changes);
	initStringInfo(&buf);
	it = JsonbIteratorInit(&changes->root);
	while ((token = JsonbIteratorNext(&it, &value, true)) != WJB_DONE)
	{
		if (token == WJB_KEY)
		{
			appendStringInfoChar(&buf, buf.len == 0 ? '{' : ',');
			append_value(&buf, &value);
			appendStringInfoChar(&buf, ':');
		}
		else if (token == WJB_VALUE && value.type == jbvBinary &&
				 JsonContainerIsObject(value.val.binary.data))
			append_cells(&buf, &value, clear);
		else if (token == WJB_VALUE)
			append_value(&buf, &value);
	}
	appendStringInfoString(&buf, buf.len == 0 ? "{}" : "}");
	PG_RETURN_DATUM(DirectFunctionCall1(jsonb_in, CStringGetDatum(buf.data)));
}

/* {"column": value, ...}, masked */
static void
append_cells(StringInfo buf, JsonbValue *cells, ArrayType *clear)
{
	JsonbIterator *it = JsonbIteratorInit(cells->val.binary.data);
	JsonbIteratorToken token;
	JsonbValue	value;
	const char *separator = "";
	bool		is_clear = false;

	appendStringInfoChar(buf, '{');
	while ((token = JsonbIteratorNext(&it, &value, true)) != WJB_DONE)
	{
		if (token == WJB_KEY)
		{
			is_clear = is_listed(clear, value.val.string.val, value.val.string.len);
			appendStringInfoString(buf, separator);
			append_value(buf, &value);
			appendStringInfoChar(buf, ':');
			separator = ",";
		}
		else if (token == WJB_VALUE)
		{
			if (is_clear || value.type == jbvNull)
				append_value(buf, &value);
			else
				append_masked(buf, &value);
		}
	}
	appendStringInfoChar(buf, '}');
}

static void
append_value(StringInfo buf, JsonbValue *value)
{
	Jsonb	   *json = JsonbValueToJsonb(value);

	(void) JsonbToCString(buf, &json->root, VARSIZE(json));
}

static void
append_masked(StringInfo buf, JsonbValue *value)
{
	StringInfoData text;

	if (value->type == jbvString)
	{
		opaque_append_text(buf, value->val.string.val, value->val.string.len);
		return;
	}
	initStringInfo(&text);
	append_value(&text, value);
	opaque_append(buf, text.data, text.len);
	pfree(text.data);
}

static bool
is_listed(ArrayType *names, const char *name, int len)
{
	ArrayIterator it = array_create_iterator(names, 0, NULL);
	Datum		datum;
	bool		isnull;
	bool		found = false;

	while (!found && array_iterate(it, &datum, &isnull))
	{
		text	   *listed = isnull ? NULL : DatumGetTextPP(datum);

		found = listed != NULL && VARSIZE_ANY_EXHDR(listed) == len &&
			memcmp(VARDATA_ANY(listed), name, len) == 0;
	}
	array_free_iterator(it);
	return found;
}
