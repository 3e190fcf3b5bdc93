/*-------------------------------------------------------------------------
 *
 * row_key.c
 *	  Primary keys as bytes, for the log, tombstones and in-memory hashes.
 *
 * Two spellings of one key would be two rows to the log, so what a type's text
 * shows beyond its equality is taken off where that is cheap: trailing zeros of
 * a numeric, trailing blanks of a character, the sign of a float's zero.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "compat.h"
#include "registry/row_key.h"
#include "registry/value.h"
#include "types/varint.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/json.h"
#include "utils/uuid.h"

pg_noreturn static void key_mismatch(const SyncTable *table);
static void encode_text(StringInfo buf, SyncColumn *column, Datum value);
static int	trimmed_length(const char *str);
static const char *next_part(const SyncTable *t, const char **cursor,
							 const char *end, int *len);
static void check_end(const SyncTable *t, const char *cursor, const char *end);
pg_noreturn static void report_damage(const SyncTable *t);
static char *part_to_text(const SyncTable *t, const SyncColumn *column,
						  const char *part, int len);

/* What try_decode takes and gives */
typedef struct KeyAttempt
{
	const SyncTable *table;
	const char *key;
	int			len;
	Datum	   *values;
	bool		is_respelt;
} KeyAttempt;

static bool try_decode(void *arg);

void
row_key_encode(StringInfo buf, const SyncTable *t, const Datum *values)
{
	int			i;

	for (i = 0; i < t->nkeys; i++)
	{
		SyncColumn *column = &t->columns[t->key[i]];

		if (column->base_type == UUIDOID)
		{
			varint_append(buf, UUID_LEN);
			appendBinaryStringInfo(buf,
								   (char *) DatumGetUUIDP(values[i])->data,
								   UUID_LEN);
		}
		else
			encode_text(buf, column, values[i]);
	}
}

static void
encode_text(StringInfo buf, SyncColumn *column, Datum value)
{
	char		digits[MAXINT8LEN + 1];
	char	   *str = digits;
	int			len = -1;

	switch (column->base_type)
	{
		case INT2OID:
			len = pg_ltoa(DatumGetInt16(value), digits);
			break;
		case INT4OID:
			len = pg_ltoa(DatumGetInt32(value), digits);
			break;
		case INT8OID:
			len = pg_lltoa(DatumGetInt64(value), digits);
			break;
		case NUMERICOID:
			str = DatumGetCString(DirectFunctionCall1(numeric_out,
													  DirectFunctionCall1(numeric_trim_scale, value)));
			break;
		case BPCHAROID:
			str = OutputFunctionCall(&column->output, value);
			len = trimmed_length(str);
			break;
		case FLOAT4OID:
		case FLOAT8OID:
			str = OutputFunctionCall(&column->output, value);
			if (strcmp(str, "-0") == 0)
				str++;
			break;
		default:
			str = OutputFunctionCall(&column->output, value);
			break;
	}
	if (len < 0)
		len = strlen(str);
	varint_append(buf, len);
	appendBinaryStringInfo(buf, str, len);
}

/* Length without trailing blanks. */
static int
trimmed_length(const char *str)
{
	int			len = strlen(str);

	while (len > 0 && str[len - 1] == ' ')
		len--;
	return len;
}

void
row_key_decode(const SyncTable *t, const char *key, int len, Datum *values)
{
	const char *cursor = key;
	const char *end = key + len;
	int			i;

	for (i = 0; i < t->nkeys; i++)
	{
		SyncColumn *column = &t->columns[t->key[i]];
		int			partlen;
		const char *part = next_part(t, &cursor, end, &partlen);

		if (column->base_type == UUIDOID)
		{
			pg_uuid_t  *uuid = palloc(sizeof(pg_uuid_t));

			if (partlen != UUID_LEN)
				report_damage(t);
			memcpy(uuid->data, part, UUID_LEN);
			values[i] = UUIDPGetDatum(uuid);
		}
		else
			values[i] = InputFunctionCall(&column->input,
										  part_to_text(t, column, part, partlen),
										  column->typioparam, column->typmod);
	}
	check_end(t, cursor, end);
}

KeyState
row_key_try_decode(const SyncTable *t, const char *key, int len, Datum *values)
{
	KeyAttempt	attempt = {t, key, len, values, false};

	if (!value_attempt(try_decode, &attempt))
		return KEY_IS_FOREIGN;
	return attempt.is_respelt ? KEY_IS_RESPELT : KEY_IS_CURRENT;
}

/* value_attempt: decode, and encode again */
static bool
try_decode(void *arg)
{
	KeyAttempt *attempt = arg;
	StringInfoData buf;

	row_key_decode(attempt->table, attempt->key, attempt->len, attempt->values);
	initStringInfo(&buf);
	row_key_encode(&buf, attempt->table, attempt->values);
	attempt->is_respelt = buf.len != attempt->len ||
		memcmp(buf.data, attempt->key, buf.len) != 0;
	pfree(buf.data);
	return true;
}

char **
row_key_texts(const SyncTable *t, const char *key, int len)
{
	char	  **texts = palloc(t->nkeys * sizeof(char *));
	const char *cursor = key;
	const char *end = key + len;

	for (int i = 0; i < t->nkeys; i++)
	{
		int			partlen;
		const char *part = next_part(t, &cursor, end, &partlen);

		texts[i] = part_to_text(t, &t->columns[t->key[i]], part, partlen);
	}
	check_end(t, cursor, end);
	return texts;
}

/*
 * As JSON, from which no part of the key needs to be converted to its type: a
 * key that was logged before its column's type changed can be shown as well.
 */
Jsonb *
row_key_to_jsonb(const SyncTable *t, const char *key, int len)
{
	const char *cursor = key;
	const char *end = key + len;
	StringInfoData buf;
	int			i;

	initStringInfo(&buf);
	for (i = 0; i < t->nkeys; i++)
	{
		SyncColumn *column = &t->columns[t->key[i]];
		int			partlen;
		const char *part = next_part(t, &cursor, end, &partlen);
		char	   *str = part_to_text(t, column, part, partlen);

		appendStringInfoChar(&buf, i == 0 ? '{' : ',');
		escape_json(&buf, column->name);
		appendStringInfoChar(&buf, ':');
		if (column->value_class == VALUE_NUMBER &&
			str[strspn(str, "-0123456789")] == '\0' && str[0] != '\0')
			appendStringInfoString(&buf, str);
		else
			escape_json(&buf, str);
	}
	appendStringInfoChar(&buf, '}');
	check_end(t, cursor, end);
	return DatumGetJsonbP(DirectFunctionCall1(jsonb_in,
											  CStringGetDatum(buf.data)));
}

/* The next key column's bytes. */
static const char *
next_part(const SyncTable *t, const char **cursor, const char *end, int *len)
{
	const char *part;
	uint64		n;

	if (!varint_get(cursor, end, &n) || n > (uint64) (end - *cursor))
		report_damage(t);
	part = *cursor;
	*cursor += n;
	*len = (int) n;
	return part;
}

static void
check_end(const SyncTable *t, const char *cursor, const char *end)
{
	if (cursor != end)
		report_damage(t);
}

static void
report_damage(const SyncTable *t)
{
	ereport(ERROR,
			(errcode(ERRCODE_DATA_CORRUPTED),
			 errmsg("stored key of table \"%s\" is damaged", t->table_name)));
}

static char *
part_to_text(const SyncTable *t, const SyncColumn *column,
			 const char *part, int len)
{
	pg_uuid_t	uuid;

	if (column->base_type == UUIDOID)
	{
		if (len != UUID_LEN)
			report_damage(t);
		memcpy(uuid.data, part, UUID_LEN);
		return DatumGetCString(DirectFunctionCall1(uuid_out,
												   UUIDPGetDatum(&uuid)));
	}
	if (memchr(part, '\0', len) != NULL)
		report_damage(t);
	return pnstrdup(part, len);
}

Datum *
row_key_from_jsonb(SyncTable *table, Jsonb *json)
{
	Datum	   *key = palloc(table->nkeys * sizeof(Datum));
	int			modes = value_modes_begin();

	if (!JB_ROOT_IS_OBJECT(json) || JB_ROOT_COUNT(json) != table->nkeys)
		key_mismatch(table);
	for (int i = 0; i < table->nkeys; i++)
	{
		SyncColumn *column = &table->columns[table->key[i]];
		JsonbValue *found;
		Jsonb	   *value;
		char	   *text;
		DeltaValue	travelling;
		bool		isnull;

		found = getKeyJsonValueFromContainer(&json->root, column->name,
											 strlen(column->name), NULL);
		if (found == NULL || found->type == jbvNull)
			key_mismatch(table);
		value = JsonbValueToJsonb(found);
		text = JsonbToCString(NULL, &value->root, VARSIZE(value));

		delta_value_from_json(text, strlen(text), &travelling);
		key[i] = value_from_delta(column, &travelling, &isnull);
	}
	value_modes_end(modes);
	return key;
}

static void
key_mismatch(const SyncTable *table)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("key must be a JSON object with the columns of the primary key of table \"%s\"",
					table->wire_name)));
}
