/*-------------------------------------------------------------------------
 *
 * value.c
 *	  Values between SQL and deltas: canonical text, whatever the session's
 *	  settings.
 *
 * The modes are those of pg_dump, set for the length of a conversion in a nest
 * level of their own, as postgres_fdw does.  A setting that already holds is
 * left alone, because setting one costs more than converting a value.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "compat.h"
#include "miscadmin.h"
#include "pgtime.h"
#include "registry/value.h"
#include "types/orset.h"
#include "types/uuid_text.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/bytea.h"
#include "utils/datetime.h"
#include "utils/float.h"
#include "utils/fmgroids.h"
#include "utils/fmgrprotos.h"
#include "utils/guc.h"
#include "utils/json.h"
#include "utils/jsonb.h"
#include "utils/resowner.h"
#include "utils/xml.h"

#define SAFE_SEARCH_PATH	"pg_catalog, pg_temp"

static bool is_utc(pg_tz *zone);
static void set_mode(const char *name, const char *value);
static Datum call_input(SyncColumn *column, char *str);
static bool read_string(const SyncColumn *column, const DeltaValue *value,
						Datum *result);
static bool read_timestamp(const char *str, int len, TimestampTz *result);
static char *write_timestamp(char *str, TimestampTz timestamp);
static char *value_string(const SyncColumn *column, const DeltaValue *value);
static bool plain_text(const SyncColumn *column, Datum value, DeltaValue *result);
static char *orset_to_json(Datum value);
static bool json_is_as_sent(SyncColumn *column, const DeltaValue *sent,
							Datum stored);
static bool orset_is_as_sent(const DeltaValue *sent, Datum stored);
static bool is_about_value(int sqlerrcode);
static bool same_bytes(const char *a, int alen, const char *b, int blen);

int
value_modes_begin(void)
{
	return value_modes_begin_for(VALUE_MODES_ALL);
}

/*
 * Set what is not yet as it must be; the nest level to hand to value_modes_end.
 */
int
value_modes_begin_for(ValueModes modes)
{
	int			nestlevel = NewGUCNestLevel();

	if (modes == VALUE_MODES_NONE)
		return nestlevel;
	if (DateStyle != USE_ISO_DATES || DateOrder != DATEORDER_MDY)
		set_mode("datestyle", "ISO, MDY");
	if (!is_utc(session_timezone))
		set_mode("timezone", "UTC");
	if (IntervalStyle != INTSTYLE_POSTGRES)
		set_mode("intervalstyle", "postgres");
	/* every value above zero means: the shortest text that is exact */
	if (extra_float_digits < 1)
		set_mode("extra_float_digits", "3");
	if (bytea_output != BYTEA_OUTPUT_HEX)
		set_mode("bytea_output", "hex");
	if (modes == VALUE_MODES_PLAIN)
		return nestlevel;

	if (xmloption != XMLOPTION_CONTENT)
		set_mode("xmloption", "content");
	/* not from pg_locale.h, which needs the headers of ICU */
	if (strcmp(GetConfigOption("lc_monetary", false, false), "C") != 0)
		set_mode("lc_monetary", "C");
	if (!Array_nulls)
		set_mode("array_nulls", "on");
	if (quote_all_identifiers)
		set_mode("quote_all_identifiers", "off");
	if (strcmp(namespace_search_path, SAFE_SEARCH_PATH) != 0)
		set_mode("search_path", SAFE_SEARCH_PATH);
	return nestlevel;
}

/* Under any name, as Etc/UTC: ISO dates show the offset, not the name. */
static bool
is_utc(pg_tz *zone)
{
	long		offset;

	return pg_get_timezone_offset(zone, &offset) && offset == 0;
}

void
value_modes_end(int nestlevel)
{
	AtEOXact_GUC(true, nestlevel);
}

static void
set_mode(const char *name, const char *value)
{
	(void) set_config_option(name, value, PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, 0, false);
}

void
value_to_delta(SyncColumn *column, Datum value, bool isnull,
			   DeltaValue *result)
{
	char	   *str;

	result->data = NULL;
	result->len = 0;
	if (isnull)
	{
		result->kind = DELTA_NULL;
		return;
	}
	if (column->value_class == VALUE_BOOL)
	{
		result->kind = DatumGetBool(value) ? DELTA_TRUE : DELTA_FALSE;
		return;
	}

	if (plain_text(column, value, result))
		return;

	str = value_to_text(column, value);
	switch (column->value_class)
	{
		case VALUE_NUMBER:
			result->kind = DELTA_NUMBER;
			break;
		case VALUE_ORSET:
			result->kind = DELTA_JSON;
			break;
		case VALUE_JSON:
			delta_value_from_json(str, strlen(str), result);
			return;
		case VALUE_TEXT:
		case VALUE_BOOL:
			result->kind = DELTA_STRING;
			break;
	}
	result->data = str;
	result->len = strlen(str);
}

/*
 * The types that most values are of, without what their output functions do besides.
 * The result may point into the value.
 */
static bool
plain_text(const SyncColumn *column, Datum value, DeltaValue *result)
{
	switch (column->output.fn_oid)
	{
		case F_TEXTOUT:
		case F_VARCHAROUT:
		case F_BPCHAROUT:
			{
				text	   *str = DatumGetTextPP(value);

				result->kind = DELTA_STRING;
				result->data = VARDATA_ANY(str);
				result->len = VARSIZE_ANY_EXHDR(str);
				return true;
			}
		case F_UUID_OUT:
			{
				char	   *str = palloc(UUID_TEXT_LEN);

				uuid_text_put(str, DatumGetUUIDP(value));
				result->kind = DELTA_STRING;
				result->data = str;
				result->len = UUID_TEXT_LEN;
				return true;
			}
		case F_TIMESTAMPTZ_OUT:
			{
				char	   *str = palloc(MAXDATELEN);
				char	   *end = write_timestamp(str, DatumGetTimestampTz(value));

				if (end == NULL)
					return false;
				result->kind = DELTA_STRING;
				result->data = str;
				result->len = end - str;
				return true;
			}
		case F_INT4OUT:
			{
				char	   *str = palloc(12);	/* sign, digits, zero byte */

				result->kind = DELTA_NUMBER;
				result->data = str;
				result->len = pg_ltoa(DatumGetInt32(value), str);
				return true;
			}
	}
	return false;
}

Datum
value_from_delta(SyncColumn *column, const DeltaValue *value, bool *isnull)
{
	Datum		result;

	Assert(column->value_class != VALUE_ORSET);

	*isnull = value->kind == DELTA_NULL;
	if (*isnull)
		return call_input(column, NULL);	/* a domain may object */

	if (column->value_class == VALUE_JSON)
	{
		StringInfoData buf;

		initStringInfo(&buf);
		delta_value_to_json(&buf, value);
		return call_input(column, buf.data);
	}
	if (column->value_class == VALUE_BOOL &&
		(value->kind == DELTA_TRUE || value->kind == DELTA_FALSE))
		return BoolGetDatum(value->kind == DELTA_TRUE);
	if (value->kind == DELTA_STRING && read_string(column, value, &result))
		return result;
	return call_input(column, value_string(column, value));
}

/*
 * Types that most columns have, whose input functions take several times as long.
 * False: the type's own is to read it.
 */
static bool
read_string(const SyncColumn *column, const DeltaValue *value, Datum *result)
{
	pg_uuid_t	uuid;
	TimestampTz timestamp;

	switch (column->type)
	{
		case TEXTOID:
			if (memchr(value->data, '\0', value->len) != NULL)
				return false;
			*result = PointerGetDatum(cstring_to_text_with_len(value->data,
															   value->len));
			return true;
		case UUIDOID:
			if (!uuid_text_parse(value->data, value->len, &uuid))
				return false;
			*result = UUIDPGetDatum(memcpy(palloc(sizeof(uuid)), &uuid, sizeof(uuid)));
			return true;
		case TIMESTAMPTZOID:
			if (column->typmod >= 0 ||
				!read_timestamp(value->data, value->len, &timestamp))
				return false;
			*result = TimestampTzGetDatum(timestamp);
			return true;
		default:
			return false;
	}
}

/*
 * A timestamp with time zone as it is served: 2026-11-20 10:00:00.123+00.  False: its
 * input function may know better.
 */
static bool
read_timestamp(const char *str, int len, TimestampTz *result)
{
	static const char form[] = "0000-00-00 00:00:00";
	int			field[6] = {0};
	int			n = 0;
	int			fraction = 0;
	int			unit = USECS_PER_SEC;
	int			pos;

	if (len < (int) strlen(form) + 3)
		return false;
	for (pos = 0; form[pos] != '\0'; pos++)
	{
		if (form[pos] != '0')
		{
			if (str[pos] != form[pos])
				return false;
			n++;
		}
		else if (str[pos] < '0' || str[pos] > '9')
			return false;
		else
			field[n] = field[n] * 10 + (str[pos] - '0');
	}
	if (str[pos] == '.')
	{
		for (pos++; pos < len && str[pos] >= '0' && str[pos] <= '9'; pos++)
		{
			unit /= 10;
			if (unit == 0)
				return false;	/* more digits are rounded */
			fraction += (str[pos] - '0') * unit;
		}
	}
	if (str[pos - 1] == '.' || len - pos != 3 || memcmp(str + pos, "+00", 3) != 0 ||
		field[0] < 1 || field[1] < 1 || field[1] > MONTHS_PER_YEAR ||
		field[2] < 1 || field[2] > day_tab[isleap(field[0])][field[1] - 1] ||
		field[3] >= HOURS_PER_DAY || field[4] >= MINS_PER_HOUR ||
		field[5] >= SECS_PER_MINUTE)
		return false;
	*result = (date2j(field[0], field[1], field[2]) - POSTGRES_EPOCH_JDATE) *
		USECS_PER_DAY +
		((field[3] * MINS_PER_HOUR + field[4]) * SECS_PER_MINUTE + field[5]) *
		USECS_PER_SEC + fraction;
	return true;
}

/* The same the other way round; the text's end, or NULL: its output function is to write
 * it. */
static char *
write_timestamp(char *str, TimestampTz timestamp)
{
	int64		date = timestamp / USECS_PER_DAY;
	int64		time = timestamp % USECS_PER_DAY;
	int			year,
				month,
				day;
	int			second;
	int			fraction;

	if (TIMESTAMP_NOT_FINITE(timestamp))
		return NULL;
	if (time < 0)
	{
		time += USECS_PER_DAY;
		date--;
	}
	j2date((int) (date + POSTGRES_EPOCH_JDATE), &year, &month, &day);
	if (year < 1 || year > 9999)
		return NULL;
	second = (int) (time / USECS_PER_SEC);
	fraction = (int) (time % USECS_PER_SEC);

	str = pg_ultostr_zeropad(str, year, 4);
	*str++ = '-';
	str = pg_ultostr_zeropad(str, month, 2);
	*str++ = '-';
	str = pg_ultostr_zeropad(str, day, 2);
	*str++ = ' ';
	str = pg_ultostr_zeropad(str, second / SECS_PER_HOUR, 2);
	*str++ = ':';
	str = pg_ultostr_zeropad(str, second / SECS_PER_MINUTE % MINS_PER_HOUR, 2);
	*str++ = ':';
	str = pg_ultostr_zeropad(str, second % SECS_PER_MINUTE, 2);
	if (fraction > 0)
	{
		*str++ = '.';
		str = pg_ultostr_zeropad(str, fraction, 6);
		while (str[-1] == '0')
			str--;
	}
	memcpy(str, "+00", 3);
	return str + 3;
}

/* The column type's input function, with its typmod. */
static Datum
call_input(SyncColumn *column, char *str)
{
	return InputFunctionCall(&column->input, str, column->typioparam,
							 column->typmod);
}

/*
 * The text of a value for a type's input function.
 */
static char *
value_string(const SyncColumn *column, const DeltaValue *value)
{
	switch (value->kind)
	{
		case DELTA_FALSE:
			return pstrdup("false");
		case DELTA_TRUE:
			return pstrdup("true");
		case DELTA_NUMBER:
		case DELTA_STRING:
			if (memchr(value->data, '\0', value->len) != NULL)
				ereport(ERROR,
						(errcode(ERRCODE_UNTRANSLATABLE_CHARACTER),
						 errmsg("value for column \"%s\" contains a zero byte",
								column->name)));
			return pnstrdup(value->data, value->len);
		case DELTA_NULL:
		case DELTA_JSON:
		case DELTA_LIST:
			break;
	}
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
			 errmsg("column \"%s\" of type %s cannot take a JSON object or array",
					column->name, format_type_be(column->type)),
			 errhint("Send the type's text form as a string.")));
	return NULL;				/* keep compiler quiet */
}

char *
value_to_text(SyncColumn *column, Datum value)
{
	if (column->value_class == VALUE_ORSET)
		return orset_to_json(value);
	return OutputFunctionCall(&column->output, value);
}

/*
 * The elements of a set, which come sorted, as a JSON array.
 */
static char *
orset_to_json(Datum value)
{
	OrSetIterator it;
	StringInfoData buf;
	const char *data;
	int			len;

	initStringInfo(&buf);
	orset_iterate(&it, DatumGetOrSetP(value));
	while (orset_next(&it, &data, &len))
	{
		char	   *element = pnstrdup(data, len);

		appendStringInfoChar(&buf, buf.len == 0 ? '[' : ',');
		escape_json(&buf, element);
		pfree(element);
	}
	appendStringInfoString(&buf, buf.len == 0 ? "[]" : "]");
	return buf.data;
}

bool
value_is_as_sent(SyncColumn *column, const DeltaValue *sent,
				 Datum stored, bool isnull)
{
	DeltaValue	now;

	if (isnull || sent->kind == DELTA_NULL)
		return isnull && sent->kind == DELTA_NULL;

	switch (column->value_class)
	{
		case VALUE_JSON:
			return json_is_as_sent(column, sent, stored);
		case VALUE_ORSET:
			return orset_is_as_sent(sent, stored);
		case VALUE_BOOL:
			return sent->kind ==
				(DatumGetBool(stored) ? DELTA_TRUE : DELTA_FALSE);
		case VALUE_NUMBER:
		case VALUE_TEXT:
			break;
	}

	value_to_delta(column, stored, false, &now);
	if (sent->kind == DELTA_TRUE || sent->kind == DELTA_FALSE)
	{
		const char *str = sent->kind == DELTA_TRUE ? "true" : "false";

		return same_bytes(str, strlen(str), now.data, now.len);
	}
	return (sent->kind == DELTA_STRING || sent->kind == DELTA_NUMBER) &&
		same_bytes(sent->data, sent->len, now.data, now.len);
}

/*
 * jsonb is compared by value, since it never keeps the sender's spelling;
 * json, which does, by its letters.
 */
static bool
json_is_as_sent(SyncColumn *column, const DeltaValue *sent, Datum stored)
{
	DeltaValue	now;
	StringInfoData buf;

	if (column->type == JSONBOID)
	{
		initStringInfo(&buf);
		delta_value_to_json(&buf, sent);
		return DatumGetBool(DirectFunctionCall2(jsonb_eq,
												call_input(column, buf.data),
												stored));
	}
	value_to_delta(column, stored, false, &now);
	return sent->kind == now.kind &&
		same_bytes(sent->data, sent->len, now.data, now.len);
}

static bool
orset_is_as_sent(const DeltaValue *sent, Datum stored)
{
	DeltaValue	list;
	OrSetIterator it;
	const char *cursor;
	const char *a;
	const char *b;
	int			alen;
	int			blen;

	if (!delta_value_to_list(sent, &list))
		return false;
	cursor = list.data;
	orset_iterate(&it, DatumGetOrSetP(stored));
	while (orset_next(&it, &a, &alen))
	{
		if (!delta_list_next(&list, &cursor, &b, &blen) ||
			!same_bytes(a, alen, b, blen))
			return false;
	}
	return !delta_list_next(&list, &cursor, &b, &blen);
}

static bool
same_bytes(const char *a, int alen, const char *b, int blen)
{
	return alen == blen && (alen == 0 || memcmp(a, b, alen) == 0);
}

bool
value_attempt(bool (*attempt) (void *arg), void *arg)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	volatile bool result = false;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		result = attempt(arg);
		ReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		ErrorData  *error;

		/* in any case: with it open, an error would not end the transaction */
		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
		MemoryContextSwitchTo(context);
		CurrentResourceOwner = owner;
		if (!is_about_value(error->sqlerrcode))
			ReThrowError(error);
		FreeErrorData(error);
		result = false;
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;
	return result;
}

/* Does an error say that a value is not acceptable? */
static bool
is_about_value(int sqlerrcode)
{
	switch (ERRCODE_TO_CATEGORY(sqlerrcode))
	{
		case MAKE_SQLSTATE('4', '0', '0', '0', '0'):	/* transaction rollback */
		case MAKE_SQLSTATE('5', '3', '0', '0', '0'):	/* resources */
		case MAKE_SQLSTATE('5', '7', '0', '0', '0'):	/* operator intervention */
		case MAKE_SQLSTATE('5', '8', '0', '0', '0'):	/* system error */
		case MAKE_SQLSTATE('X', 'X', '0', '0', '0'):	/* internal error */
			return false;
		default:
			return true;
	}
}
