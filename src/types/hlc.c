/*-------------------------------------------------------------------------
 *
 * hlc.c
 *	  The type hlc: a hybrid logical clock in eight bytes, passed by value.
 *
 * Text form: 2026-11-20T10:00:00.123Z/4, always UTC, always three digits of
 * milliseconds, always the counter.  On the way in the fraction may have fewer
 * digits or be missing, and so may the counter (then 0); nothing else is taken
 * for granted, and what a clock cannot hold (microseconds, other zones, leap
 * seconds) is refused rather than rounded.
 *
 * Reading and writing happen once per change of a delta, so both work on
 * digits and days directly: no time zone, no locale, no broken-down time.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "compat.h"
#include "libpq/pqformat.h"
#include "types/hlc.h"
#include "utils/sortsupport.h"
#include "utils/timestamp.h"

#define MS_PER_DAY			UINT64CONST(86400000)
#define FIRST_YEAR			1970

/* 1970-01-01 and the last clock value, in microseconds since 2000-01-01 */
#define UNIX_EPOCH_TIMESTAMP \
	(-(int64) (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY)
#define HLC_LAST_TIMESTAMP \
	(UNIX_EPOCH_TIMESTAMP + (int64) HLC_MAX_MS * 1000 + 999)

typedef enum HlcStatus
{
	HLC_VALID,
	HLC_MALFORMED,
	HLC_OUT_OF_RANGE			/* well-formed, but no such time or counter */
} HlcStatus;

static HlcStatus hlc_scan(const char *str, int len, Hlc *result);
static bool scan_digits(const char **p, const char *end, int n, uint32 *value);
static bool scan_char(const char **p, const char *end, char c);
static bool scan_date(const char **p, const char *end, uint32 *year,
					  uint32 *month, uint32 *day);
static bool scan_time(const char **p, const char *end, uint32 *hour,
					  uint32 *minute, uint32 *second, uint32 *ms);
static bool scan_counter(const char **p, const char *end, uint32 *counter);
static uint32 days_in_month(uint32 year, uint32 month);
static uint64 days_from_civil(uint32 year, uint32 month, uint32 day);
static void civil_from_days(uint32 days, uint32 *year, uint32 *month,
							uint32 *day);
static char *put_digits(char *p, int n, uint32 value);
static char *put_number(char *p, uint32 value);

/*
 * ----------------------------------------------------------------------
 * Text
 * ----------------------------------------------------------------------
 */

bool
hlc_parse(const char *str, int len, Hlc *result)
{
	return hlc_scan(str, len, result) == HLC_VALID;
}

int
hlc_format(Hlc h, char *buf)
{
	uint64		ms = HLC_MS(h);
	uint32		in_day = (uint32) (ms % MS_PER_DAY);
	uint32		year,
				month,
				day;
	char	   *p = buf;

	civil_from_days((uint32) (ms / MS_PER_DAY), &year, &month, &day);
	p = put_digits(p, year > 9999 ? 5 : 4, year);
	*p++ = '-';
	p = put_digits(p, 2, month);
	*p++ = '-';
	p = put_digits(p, 2, day);
	*p++ = 'T';
	p = put_digits(p, 2, in_day / 3600000);
	*p++ = ':';
	p = put_digits(p, 2, in_day / 60000 % 60);
	*p++ = ':';
	p = put_digits(p, 2, in_day / 1000 % 60);
	*p++ = '.';
	p = put_digits(p, 3, in_day % 1000);
	*p++ = 'Z';
	*p++ = '/';
	p = put_number(p, HLC_COUNTER(h));
	*p = '\0';
	return p - buf;
}

static HlcStatus
hlc_scan(const char *str, int len, Hlc *result)
{
	const char *p = str;
	const char *end = str + len;
	uint32		year,
				month,
				day,
				hour,
				minute,
				second,
				ms,
				counter;
	uint64		total;

	if (!scan_date(&p, end, &year, &month, &day) ||
		!scan_char(&p, end, 'T') ||
		!scan_time(&p, end, &hour, &minute, &second, &ms) ||
		!scan_char(&p, end, 'Z') ||
		!scan_counter(&p, end, &counter) ||
		p != end)
		return HLC_MALFORMED;

	if (year < FIRST_YEAR || month < 1 || month > 12 ||
		day < 1 || day > days_in_month(year, month) ||
		hour > 23 || minute > 59 || second > 59 || counter > HLC_MAX_COUNTER)
		return HLC_OUT_OF_RANGE;

	total = days_from_civil(year, month, day) * MS_PER_DAY +
		((hour * 60 + minute) * 60 + second) * UINT64CONST(1000) + ms;
	if (total > HLC_MAX_MS)
		return HLC_OUT_OF_RANGE;

	*result = HLC_MAKE(total, counter);
	return HLC_VALID;
}

/* Exactly n digits. */
static bool
scan_digits(const char **p, const char *end, int n, uint32 *value)
{
	uint32		result = 0;

	if (end - *p < n)
		return false;
	for (; n > 0; n--)
	{
		char		c = *(*p)++;

		if (c < '0' || c > '9')
			return false;
		result = result * 10 + (c - '0');
	}
	*value = result;
	return true;
}

static bool
scan_char(const char **p, const char *end, char c)
{
	if (*p == end || **p != c)
		return false;
	(*p)++;
	return true;
}

/* Years have four digits, or five where they need them. */
static bool
scan_date(const char **p, const char *end, uint32 *year, uint32 *month,
		  uint32 *day)
{
	uint32		digit;

	if (!scan_digits(p, end, 4, year))
		return false;
	if (*year >= 1000 && *p < end && **p != '-')
	{
		if (!scan_digits(p, end, 1, &digit))
			return false;
		*year = *year * 10 + digit;
	}
	return scan_char(p, end, '-') &&
		scan_digits(p, end, 2, month) &&
		scan_char(p, end, '-') &&
		scan_digits(p, end, 2, day);
}

/* The fraction is optional, and has one to three digits. */
static bool
scan_time(const char **p, const char *end, uint32 *hour, uint32 *minute,
		  uint32 *second, uint32 *ms)
{
	uint32		scale = 100;
	uint32		digit;

	if (!scan_digits(p, end, 2, hour) ||
		!scan_char(p, end, ':') ||
		!scan_digits(p, end, 2, minute) ||
		!scan_char(p, end, ':') ||
		!scan_digits(p, end, 2, second))
		return false;

	*ms = 0;
	if (!scan_char(p, end, '.'))
		return true;
	do
	{
		if (!scan_digits(p, end, 1, &digit))
			return false;
		*ms += digit * scale;
		scale /= 10;
	} while (scale > 0 && *p < end && **p != 'Z');
	return true;
}

/* The counter is optional, and has no leading zeros.  One that is too large
 * comes out as some number that is too large. */
static bool
scan_counter(const char **p, const char *end, uint32 *counter)
{
	const char *start;
	uint32		digit;

	*counter = 0;
	if (!scan_char(p, end, '/'))
		return true;
	start = *p;
	do
	{
		if (!scan_digits(p, end, 1, &digit))
			return false;
		if (*counter <= HLC_MAX_COUNTER)
			*counter = *counter * 10 + digit;
	} while (*p < end);
	return *start != '0' || *p - start == 1;
}

static uint32
days_in_month(uint32 year, uint32 month)
{
	static const uint8 days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};

	if (month == 2 && year % 4 == 0 && (year % 100 != 0 || year % 400 == 0))
		return 29;
	return days[month - 1];
}

/*
 * Days since 1970-01-01 of a date, and back.  Years are counted from March, so
 * that the leap day comes last, in eras of 400 years with 146097 days each;
 * 719468 days lie between 0000-03-01 and 1970-01-01.
 */
static uint64
days_from_civil(uint32 year, uint32 month, uint32 day)
{
	uint32		y = month <= 2 ? year - 1 : year;
	uint32		era = y / 400;
	uint32		year_of_era = y % 400;
	uint32		day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;

	return (uint64) era * 146097 + year_of_era * 365 + year_of_era / 4 -
		year_of_era / 100 + day_of_year - 719468;
}

static void
civil_from_days(uint32 days, uint32 *year, uint32 *month, uint32 *day)
{
	uint32		z = days + 719468;
	uint32		era = z / 146097;
	uint32		day_of_era = z % 146097;
	uint32		year_of_era = (day_of_era - day_of_era / 1460 +
							   day_of_era / 36524 - day_of_era / 146096) / 365;
	uint32		day_of_year = day_of_era - (365 * year_of_era +
											year_of_era / 4 -
											year_of_era / 100);
	uint32		m = (5 * day_of_year + 2) / 153;	/* 0 is March */

	*day = day_of_year - (153 * m + 2) / 5 + 1;
	*month = m < 10 ? m + 3 : m - 9;
	*year = era * 400 + year_of_era + (*month <= 2 ? 1 : 0);
}

static char *
put_digits(char *p, int n, uint32 value)
{
	int			i;

	for (i = n - 1; i >= 0; i--)
	{
		p[i] = '0' + value % 10;
		value /= 10;
	}
	return p + n;
}

static char *
put_number(char *p, uint32 value)
{
	int			n = 1;
	uint32		rest = value;

	while (rest >= 10)
	{
		rest /= 10;
		n++;
	}
	return put_digits(p, n, value);
}

PG_FUNCTION_INFO_V1(hlc_in);
Datum
hlc_in(PG_FUNCTION_ARGS)
{
	char	   *str = PG_GETARG_CSTRING(0);
	Hlc			result;
	HlcStatus	status = hlc_scan(str, strlen(str), &result);

	if (status == HLC_OUT_OF_RANGE)
		ereturn(fcinfo->context, (Datum) 0,
				(errcode(ERRCODE_DATETIME_FIELD_OVERFLOW),
				 errmsg("hlc field value out of range: \"%s\"", str)));
	if (status == HLC_MALFORMED)
		ereturn(fcinfo->context, (Datum) 0,
				(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
				 errmsg("invalid input syntax for type %s: \"%s\"",
						"hlc", str),
				 errhint("Write a UTC time with up to three digits of fraction, "
						 "a slash and a counter, such as \"2026-11-20T10:00:00.123Z/4\".")));
	PG_RETURN_HLC(result);
}

PG_FUNCTION_INFO_V1(hlc_out);
Datum
hlc_out(PG_FUNCTION_ARGS)
{
	char	   *buf = palloc(HLC_TEXT_SIZE);

	hlc_format(PG_GETARG_HLC(0), buf);
	PG_RETURN_CSTRING(buf);
}

/*
 * ----------------------------------------------------------------------
 * Binary: the eight bytes, most significant first.  Every pattern is valid.
 * ----------------------------------------------------------------------
 */

PG_FUNCTION_INFO_V1(hlc_recv);
Datum
hlc_recv(PG_FUNCTION_ARGS)
{
	StringInfo	buf = (StringInfo) PG_GETARG_POINTER(0);

	if (buf->len - buf->cursor != sizeof(Hlc))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_BINARY_REPRESENTATION),
				 errmsg("invalid length of binary hlc: %d, expected %d",
						buf->len - buf->cursor, (int) sizeof(Hlc))));
	PG_RETURN_HLC((Hlc) pq_getmsgint64(buf));
}

PG_FUNCTION_INFO_V1(hlc_send);
Datum
hlc_send(PG_FUNCTION_ARGS)
{
	StringInfoData buf;

	pq_begintypsend(&buf);
	pq_sendint64(&buf, PG_GETARG_HLC(0));
	PG_RETURN_BYTEA_P(pq_endtypsend(&buf));
}

/*
 * ----------------------------------------------------------------------
 * Conversions
 * ----------------------------------------------------------------------
 */

Hlc
hlc_from_timestamptz(TimestampTz ts, uint32 counter)
{
	/* infinities lie outside too */
	if (ts < UNIX_EPOCH_TIMESTAMP || ts > HLC_LAST_TIMESTAMP)
		ereport(ERROR,
				(errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE),
				 errmsg("timestamp out of range for type %s", "hlc"),
				 errdetail("An hlc holds times from 1970-01-01 to 10889-08-02.")));
	return HLC_MAKE((uint64) (ts - UNIX_EPOCH_TIMESTAMP) / 1000, counter);
}

TimestampTz
hlc_to_timestamptz(Hlc h)
{
	return (TimestampTz) HLC_MS(h) * 1000 + UNIX_EPOCH_TIMESTAMP;
}

/* hlc(timestamptz, int): the constructor */
PG_FUNCTION_INFO_V1(hlc_construct);
Datum
hlc_construct(PG_FUNCTION_ARGS)
{
	TimestampTz ts = PG_GETARG_TIMESTAMPTZ(0);
	int32		counter = PG_GETARG_INT32(1);

	if (counter < 0 || counter > (int32) HLC_MAX_COUNTER)
		ereport(ERROR,
				(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
				 errmsg("hlc counter %d is out of range (0 to %d)",
						counter, (int) HLC_MAX_COUNTER)));
	PG_RETURN_HLC(hlc_from_timestamptz(ts, counter));
}

PG_FUNCTION_INFO_V1(hlc_timestamptz);
Datum
hlc_timestamptz(PG_FUNCTION_ARGS)
{
	PG_RETURN_TIMESTAMPTZ(hlc_to_timestamptz(PG_GETARG_HLC(0)));
}

PG_FUNCTION_INFO_V1(hlc_counter);
Datum
hlc_counter(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT32(HLC_COUNTER(PG_GETARG_HLC(0)));
}

/*
 * ----------------------------------------------------------------------
 * Order and hashing
 * ----------------------------------------------------------------------
 */

static inline int
hlc_cmp_internal(Hlc a, Hlc b)
{
	return (a > b) - (a < b);
}

PG_FUNCTION_INFO_V1(hlc_cmp);
Datum
hlc_cmp(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT32(hlc_cmp_internal(PG_GETARG_HLC(0), PG_GETARG_HLC(1)));
}

PG_FUNCTION_INFO_V1(hlc_eq);
Datum
hlc_eq(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(PG_GETARG_HLC(0) == PG_GETARG_HLC(1));
}

PG_FUNCTION_INFO_V1(hlc_ne);
Datum
hlc_ne(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(PG_GETARG_HLC(0) != PG_GETARG_HLC(1));
}

PG_FUNCTION_INFO_V1(hlc_lt);
Datum
hlc_lt(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(PG_GETARG_HLC(0) < PG_GETARG_HLC(1));
}

PG_FUNCTION_INFO_V1(hlc_le);
Datum
hlc_le(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(PG_GETARG_HLC(0) <= PG_GETARG_HLC(1));
}

PG_FUNCTION_INFO_V1(hlc_gt);
Datum
hlc_gt(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(PG_GETARG_HLC(0) > PG_GETARG_HLC(1));
}

PG_FUNCTION_INFO_V1(hlc_ge);
Datum
hlc_ge(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(PG_GETARG_HLC(0) >= PG_GETARG_HLC(1));
}

PG_FUNCTION_INFO_V1(hlc_smaller);
Datum
hlc_smaller(PG_FUNCTION_ARGS)
{
	PG_RETURN_HLC(Min(PG_GETARG_HLC(0), PG_GETARG_HLC(1)));
}

PG_FUNCTION_INFO_V1(hlc_larger);
Datum
hlc_larger(PG_FUNCTION_ARGS)
{
	PG_RETURN_HLC(Max(PG_GETARG_HLC(0), PG_GETARG_HLC(1)));
}

#if SIZEOF_DATUM < 8
static int
hlc_fastcmp(Datum x, Datum y, SortSupport ssup)
{
	return hlc_cmp_internal(DatumGetHlc(x), DatumGetHlc(y));
}
#endif

PG_FUNCTION_INFO_V1(hlc_sortsupport);
Datum
hlc_sortsupport(PG_FUNCTION_ARGS)
{
	SortSupport ssup = (SortSupport) PG_GETARG_POINTER(0);

#if SIZEOF_DATUM >= 8
	ssup->comparator = ssup_datum_unsigned_cmp;
#else
	ssup->comparator = hlc_fastcmp;
#endif
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(hlc_hash);
Datum
hlc_hash(PG_FUNCTION_ARGS)
{
	Hlc			h = PG_GETARG_HLC(0);

	return hash_any((unsigned char *) &h, sizeof(h));
}

PG_FUNCTION_INFO_V1(hlc_hash_extended);
Datum
hlc_hash_extended(PG_FUNCTION_ARGS)
{
	Hlc			h = PG_GETARG_HLC(0);

	return hash_any_extended((unsigned char *) &h, sizeof(h),
							 PG_GETARG_INT64(1));
}
