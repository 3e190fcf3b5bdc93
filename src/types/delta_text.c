/*-------------------------------------------------------------------------
 *
 * delta_text.c
 *	  Strings that take less room in a delta's bytes: uuids and times.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "types/delta_text.h"
#include "types/uuid_text.h"
#include "types/varint.h"

#define DATE_LEN		10		/* YYYY-MM-DD */
#define SECONDS_LEN		19		/* and hh:mm:ss */
#define SECONDS_A_DAY	86400
#define FORMS_A_SUFFIX	7		/* no to six digits */
#define FORMS_OF_BLANK	21		/* three suffixes */

static const char *const suffixes[] = {"", "Z", "+00"};
static const int month_days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};

static bool is_uuid(const char *data, int len, pg_uuid_t *uuid);
static bool get_digits(const char *data, int n, int *result);
static bool parse_date(const char *data, int64 *days);
static bool parse_seconds(const char *data, int *seconds);
static int	parse_suffix(const char *data, int len);
static char *put_time(char *p, const char *data, int len, int64 *base);
static int	get_time(const char **cursor, const char *end, int64 *base, char *text);
static char *put_digits(char *p, int n, int64 value);
static char *format_date(char *p, int64 days);
static int64 days_from_civil(int year, int month, int day);
static void civil_from_days(int64 days, int *year, int *month, int *day);

char *
delta_text_put(char *p, const char *data, int len, int64 *base, int *kind)
{
	pg_uuid_t	uuid;

	if (is_uuid(data, len, &uuid))
	{
		*kind = DELTA_KIND_UUID;
		memcpy(p, uuid.data, UUID_LEN);
		return p + UUID_LEN;
	}
	/* from 0001-01-01 to 9999-12-31T23:59:59.999999+00 */
	if (len < DATE_LEN || len > SECONDS_LEN + 10 || data[4] != '-')
		return NULL;
	*kind = DELTA_KIND_TIME;
	return put_time(p, data, len, base);
}

int
delta_text_get(const char **cursor, const char *end, int kind, int64 *base,
			   char *text)
{
	pg_uuid_t	uuid;

	if (kind == DELTA_KIND_TIME)
		return get_time(cursor, end, base, text);
	if (end - *cursor < UUID_LEN)
		return -1;
	memcpy(uuid.data, *cursor, UUID_LEN);
	*cursor += UUID_LEN;
	return uuid_text_put(text, &uuid) - text;
}

/* In the very spelling that uuid_text_put has */
static bool
is_uuid(const char *data, int len, pg_uuid_t *uuid)
{
	const uint64 bit = UINT64CONST(0x2020202020202020);
	uint64		words[5];

	if (!uuid_text_is_hyphenated(data, len))
		return false;
	/* of digits, hyphens and letters, capitals lack this bit */
	memcpy(words, data, 4 * sizeof(uint64));
	memcpy(&words[4], data + UUID_TEXT_LEN - sizeof(uint64), sizeof(uint64));
	return (words[0] & words[1] & words[2] & words[3] & words[4] & bit) == bit &&
		uuid_text_parse(data, len, uuid);
}

/* ---- times ---- */

static char *
put_time(char *p, const char *data, int len, int64 *base)
{
	int64		days;
	int64		seconds;
	int			in_day;
	int			ndigits = 0;
	int			fraction = 0;
	int			suffix;

	if (!parse_date(data, &days))
		return NULL;
	if (len == DATE_LEN)
	{
		*p++ = DELTA_TIME_DATE;
		p = varint_put(p, varint_zigzag(days - *base / SECONDS_A_DAY));
		*base = days * SECONDS_A_DAY;
		return p;
	}

	if (len < SECONDS_LEN || (data[DATE_LEN] != ' ' && data[DATE_LEN] != 'T') ||
		!parse_seconds(data + DATE_LEN + 1, &in_day))
		return NULL;
	if (len > SECONDS_LEN && data[SECONDS_LEN] == '.')
	{
		const char *digits = data + SECONDS_LEN + 1;

		while (ndigits < 6 && digits + ndigits < data + len &&
			   digits[ndigits] >= '0' && digits[ndigits] <= '9')
			ndigits++;
		if (ndigits == 0 || !get_digits(digits, ndigits, &fraction))
			return NULL;
		suffix = parse_suffix(digits + ndigits, data + len - digits - ndigits);
	}
	else
		suffix = parse_suffix(data + SECONDS_LEN, len - SECONDS_LEN);
	if (suffix < 0)
		return NULL;

	seconds = days * SECONDS_A_DAY + in_day;
	*p++ = ndigits + FORMS_A_SUFFIX * suffix +
		(data[DATE_LEN] == 'T' ? FORMS_OF_BLANK : 0);
	p = varint_put(p, varint_zigzag(seconds - *base));
	if (ndigits > 0)
		p = varint_put(p, fraction);
	*base = seconds;
	return p;
}

static int
get_time(const char **cursor, const char *end, int64 *base, char *text)
{
	static const int powers[] = {1, 10, 100, 1000, 10000, 100000, 1000000};
	int64		first = days_from_civil(1, 1, 1);
	int64		last = days_from_civil(9999, 12, 31);
	char	   *p = text;
	uint64		v;
	uint64		fraction = 0;
	int			form;
	int			ndigits;
	int64		value;
	int64		days;
	int			in_day;
	const char *suffix;

	if (*cursor >= end)
		return -1;
	form = *(const unsigned char *) (*cursor)++;
	/* more than this is out of range, and its sum might be, too */
	if (form > DELTA_TIME_DATE || !varint_get(cursor, end, &v) ||
		v > UINT64CONST(1) << 60)
		return -1;
	if (form == DELTA_TIME_DATE)
	{
		days = *base / SECONDS_A_DAY + varint_unzigzag(v);
		if (days < first || days > last)
			return -1;
		*base = days * SECONDS_A_DAY;
		return format_date(p, days) - text;
	}

	value = *base + varint_unzigzag(v);
	if (value < first * SECONDS_A_DAY || value >= (last + 1) * SECONDS_A_DAY)
		return -1;
	ndigits = form % FORMS_A_SUFFIX;
	if (ndigits > 0 &&
		(!varint_get(cursor, end, &fraction) || fraction >= powers[ndigits]))
		return -1;
	*base = value;
	in_day = (int) ((value - first * SECONDS_A_DAY) % SECONDS_A_DAY);
	days = (value - in_day) / SECONDS_A_DAY;
	p = format_date(p, days);
	*p++ = form >= FORMS_OF_BLANK ? 'T' : ' ';
	p = put_digits(p, 2, in_day / 3600);
	*p++ = ':';
	p = put_digits(p, 2, in_day / 60 % 60);
	*p++ = ':';
	p = put_digits(p, 2, in_day % 60);
	if (ndigits > 0)
	{
		*p++ = '.';
		p = put_digits(p, ndigits, fraction);
	}
	suffix = suffixes[form % FORMS_OF_BLANK / FORMS_A_SUFFIX];
	while (*suffix != '\0')
		*p++ = *suffix++;
	return p - text;
}

static bool
get_digits(const char *data, int n, int *result)
{
	*result = 0;
	for (int i = 0; i < n; i++)
	{
		if (data[i] < '0' || data[i] > '9')
			return false;
		*result = *result * 10 + (data[i] - '0');
	}
	return true;
}

static bool
parse_date(const char *data, int64 *days)
{
	int			year,
				month,
				day;
	bool		is_leap;

	if (!get_digits(data, 4, &year) || data[4] != '-' ||
		!get_digits(data + 5, 2, &month) || data[7] != '-' ||
		!get_digits(data + 8, 2, &day) ||
		year < 1 || month < 1 || month > 12 || day < 1)
		return false;
	is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
	*days = days_from_civil(year, month, day);
	return day <= month_days[month - 1] + (month == 2 && is_leap ? 1 : 0);
}

/* hh:mm:ss */
static bool
parse_seconds(const char *data, int *seconds)
{
	int			hour,
				minute,
				second;

	if (!get_digits(data, 2, &hour) || data[2] != ':' ||
		!get_digits(data + 3, 2, &minute) || data[5] != ':' ||
		!get_digits(data + 6, 2, &second) ||
		hour > 23 || minute > 59 || second > 59)
		return false;
	*seconds = hour * 3600 + minute * 60 + second;
	return true;
}

/* -1: it is none */
static int
parse_suffix(const char *data, int len)
{
	for (int i = 0; i < lengthof(suffixes); i++)
		if (len == strlen(suffixes[i]) && memcmp(data, suffixes[i], len) == 0)
			return i;
	return -1;
}

static char *
put_digits(char *p, int n, int64 value)
{
	for (int i = n - 1; i >= 0; i--)
	{
		p[i] = '0' + value % 10;
		value /= 10;
	}
	return p + n;
}

static char *
format_date(char *p, int64 days)
{
	int			year,
				month,
				day;

	civil_from_days(days, &year, &month, &day);
	p = put_digits(p, 4, year);
	*p++ = '-';
	p = put_digits(p, 2, month);
	*p++ = '-';
	return put_digits(p, 2, day);
}

/* Days since 1970-01-01, of years from 1 on (after Howard Hinnant) */
static int64
days_from_civil(int year, int month, int day)
{
	int			y = month <= 2 ? year - 1 : year;
	int			era = y / 400;
	int			year_of_era = y - era * 400;
	int			day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
	int			day_of_era = year_of_era * 365 + year_of_era / 4 -
	year_of_era / 100 + day_of_year;

	return (int64) era * 146097 + day_of_era - 719468;
}

static void
civil_from_days(int64 days, int *year, int *month, int *day)
{
	int64		z = days + 719468;
	int			era = (int) (z / 146097);
	int			day_of_era = (int) (z - (int64) era * 146097);
	int			year_of_era = (day_of_era - day_of_era / 1460 +
							   day_of_era / 36524 - day_of_era / 146096) / 365;
	int			day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 -
											year_of_era / 100);
	int			m = (5 * day_of_year + 2) / 153;

	*day = day_of_year - (153 * m + 2) / 5 + 1;
	*month = m < 10 ? m + 3 : m - 9;
	*year = era * 400 + year_of_era + (*month <= 2 ? 1 : 0);
}
