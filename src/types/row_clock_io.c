/*-------------------------------------------------------------------------
 *
 * row_clock_io.c
 *	  The type row_clock as SQL sees it: text and binary form, equality, and
 *	  a look inside.
 *
 * The text form is JSON.  Each stamp is there once, in the order of the packed
 * form, with what it stamps:
 *
 *	{"stamps":[{"hlc":"2026-11-20T10:00:00.123Z/4","replica":"...","node":"...",
 *	  "xid":"742","columns":[1,2,5],"scope":true,"floor":1}]}
 *
 * "columns", "scope" and "floor" are left out where they do not apply; "floor"
 * is the stamp's place in the floor, from 1.  So are the keys of objects, by
 * column id:  "base":[4],"keys":{"4":["a","b"]},"removed":{"4":["c"]}.  Members
 * come in any order on the way in, and a stamp may be there several times.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/transam.h"
#include "common/hashfn.h"
#include "compat.h"
#include "funcapi.h"
#include "libpq/pqformat.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "types/json_scan.h"
#include "types/merge_sort.h"
#include "types/row_clock_internal.h"
#include "types/version_vector.h"
#include "utils/builtins.h"
#include "utils/xid8.h"

#define WIRE_VERSION		1

/* A row clock while its text is read. */
typedef struct ClockBuilder
{
	RowClock   *rc;
	int			nfloor;
	bool		has_floor[ROW_CLOCK_MAX_FLOOR];
	Stamp		floor[ROW_CLOCK_MAX_FLOOR];
	int			nkeys;
	int			maxkeys;
	RowClockKey *keys;			/* stamp: index into key_stamps */
	int			nkey_stamps;
	int			maxkey_stamps;
	Stamp	   *key_stamps;
	StringInfoData buf;
} ClockBuilder;

/* One member of "stamps", as read. */
typedef struct StampText
{
	Stamp		stamp;
	bool		has_hlc;
	bool		has_replica;
	bool		has_node;
	bool		has_xid;
	int			ncolumns;
	int			columns[ROW_CLOCK_MAX_COLUMNS];
	bool		is_scope;
	int			floor;			/* place from 1, or 0 */
	int			nkeys;			/* the builder's latest */
} StampText;

static void scan_stamps(JsonScan *scan, ClockBuilder *builder);
static void scan_stamp(JsonScan *scan, StampText *member,
					   ClockBuilder *builder);
static void scan_columns(JsonScan *scan, StampText *member);
static void scan_bases(JsonScan *scan, StampText *member,
					   ClockBuilder *builder);
static void scan_keys(JsonScan *scan, StampText *member, ClockBuilder *builder,
					  bool is_removed);
static RowClockKey *add_key(JsonScan *scan, StampText *member,
							ClockBuilder *builder, int column_id);
static void build_keys(JsonScan *scan, ClockBuilder *builder);
static void add_stamp(JsonScan *scan, ClockBuilder *builder,
					  const StampText *member);
static void put_stamp(StringInfo buf, const RowClock *rc, int index,
					  const RowClockKey *keys, int nkeys);
static void put_keys(StringInfo buf, const char *member,
					 const RowClockKey *keys, int nkeys);
static RowClockKey *keys_by_stamp(const RowClock *rc);
static int	compare_for_text(const void *a, const void *b);
static bool keys_are_text(const RowClock *rc);
static void put_row(ReturnSetInfo *rsinfo, int number, const Stamp *stamp);


PG_FUNCTION_INFO_V1(row_clock_in);
Datum
row_clock_in(PG_FUNCTION_ARGS)
{
	char	   *str = PG_GETARG_CSTRING(0);
	ClockBuilder *builder = palloc0(sizeof(ClockBuilder));
	JsonScan	scan;
	bool		has_stamps = false;

	builder->rc = row_clock_create(CurrentMemoryContext);
	initStringInfo(&builder->buf);

	json_scan_init(&scan, "row_clock", str, strlen(str));
	json_scan_expect(&scan, '{');
	for (int i = 0; json_scan_member(&scan, i, '}'); i++)
	{
		json_scan_key(&scan, &builder->buf);
		if (strcmp(builder->buf.data, "stamps") != 0 || has_stamps)
			json_scan_fail(&scan, "Expected the one key \"stamps\"");
		has_stamps = true;
		scan_stamps(&scan, builder);
	}
	json_scan_finish(&scan);

	for (int i = 0; i < builder->nfloor; i++)
	{
		if (!builder->has_floor[i])
			json_scan_fail(&scan, "A place in the floor is vacant");
		row_clock_add_floor(builder->rc, &builder->floor[i]);
	}
	if (builder->nkeys > 0)
		build_keys(&scan, builder);
	PG_RETURN_ROW_CLOCK_P(row_clock_pack(builder->rc));
}

PG_FUNCTION_INFO_V1(row_clock_out);
Datum
row_clock_out(PG_FUNCTION_ARGS)
{
	RowClock   *rc = row_clock_unpack(CurrentMemoryContext,
									  PG_GETARG_ROW_CLOCK_P(0));
	RowClockKey *keys = keys_by_stamp(rc);
	int			first = 0;
	StringInfoData buf;

	initStringInfo(&buf);
	appendStringInfoString(&buf, "{\"stamps\":[");
	for (int i = 0; i < rc->nstamps; i++)
	{
		int			end = first;

		CHECK_FOR_INTERRUPTS();
		while (end < rc->nkeys && keys[end].stamp == i)
			end++;
		if (i > 0)
			appendStringInfoChar(&buf, ',');
		put_stamp(&buf, rc, i, keys + first, end - first);
		first = end;
	}
	appendStringInfoString(&buf, "]}");
	PG_RETURN_CSTRING(buf.data);
}

PG_FUNCTION_INFO_V1(row_clock_recv);
Datum
row_clock_recv(PG_FUNCTION_ARGS)
{
	StringInfo	msg = (StringInfo) PG_GETARG_POINTER(0);
	int			version = pq_getmsgbyte(msg);
	int			len = msg->len - msg->cursor;
	const char *bytes;
	const char *problem;
	RowClock   *rc;
	RowClockData *packed;

	if (version != WIRE_VERSION)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("binary format %d of type %s is not supported",
						version, "row_clock"),
				 errdetail("The only supported format is %d.", WIRE_VERSION)));

	bytes = pq_getmsgbytes(msg, len);
	problem = row_clock_decode(bytes, len, CurrentMemoryContext, &rc);
	if (problem == NULL)
	{
		packed = row_clock_pack(rc);
		if (VARSIZE_ANY_EXHDR(packed) != len ||
			memcmp(VARDATA_ANY(packed), bytes, len) != 0)
			problem = "The bytes are not in their canonical form.";
		else if (!keys_are_text(rc))
			problem = "A key is not valid text.";
	}
	if (problem != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_BINARY_REPRESENTATION),
				 errmsg("invalid binary value of type %s", "row_clock"),
				 errdetail_internal("%s", problem)));
	PG_RETURN_ROW_CLOCK_P(packed);
}

PG_FUNCTION_INFO_V1(row_clock_send);
Datum
row_clock_send(PG_FUNCTION_ARGS)
{
	RowClockData *packed = PG_GETARG_ROW_CLOCK_P(0);
	StringInfoData buf;

	pq_begintypsend(&buf);
	pq_sendbyte(&buf, WIRE_VERSION);
	pq_sendbytes(&buf, VARDATA_ANY(packed), VARSIZE_ANY_EXHDR(packed));
	PG_RETURN_BYTEA_P(pq_endtypsend(&buf));
}

/* The packed form is canonical, so equality is that of the bytes. */
PG_FUNCTION_INFO_V1(row_clock_eq);
Datum
row_clock_eq(PG_FUNCTION_ARGS)
{
	RowClockData *a = PG_GETARG_ROW_CLOCK_P(0);
	RowClockData *b = PG_GETARG_ROW_CLOCK_P(1);
	bool		result = VARSIZE_ANY_EXHDR(a) == VARSIZE_ANY_EXHDR(b) &&
	memcmp(VARDATA_ANY(a), VARDATA_ANY(b), VARSIZE_ANY_EXHDR(a)) == 0;

	PG_FREE_IF_COPY(a, 0);
	PG_FREE_IF_COPY(b, 1);
	PG_RETURN_BOOL(result);
}

PG_FUNCTION_INFO_V1(row_clock_ne);
Datum
row_clock_ne(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(!DatumGetBool(row_clock_eq(fcinfo)));
}

PG_FUNCTION_INFO_V1(row_clock_hash);
Datum
row_clock_hash(PG_FUNCTION_ARGS)
{
	RowClockData *a = PG_GETARG_ROW_CLOCK_P(0);
	Datum		result = hash_any((unsigned char *) VARDATA_ANY(a),
								  VARSIZE_ANY_EXHDR(a));

	PG_FREE_IF_COPY(a, 0);
	return result;
}

PG_FUNCTION_INFO_V1(row_clock_hash_extended);
Datum
row_clock_hash_extended(PG_FUNCTION_ARGS)
{
	RowClockData *a = PG_GETARG_ROW_CLOCK_P(0);
	Datum		result = hash_any_extended((unsigned char *) VARDATA_ANY(a),
										   VARSIZE_ANY_EXHDR(a),
										   PG_GETARG_INT64(1));

	PG_FREE_IF_COPY(a, 0);
	return result;
}

/* The stamped columns, by id. */
PG_FUNCTION_INFO_V1(row_clock_entries);
Datum
row_clock_entries(PG_FUNCTION_ARGS)
{
	RowClock   *rc = row_clock_unpack(CurrentMemoryContext,
									  PG_GETARG_ROW_CLOCK_P(0));

	InitMaterializedSRF(fcinfo, 0);
	for (int id = 1; id <= rc->ncolumns; id++)
	{
		if (row_clock_get(rc, id) != NULL)
			put_row((ReturnSetInfo *) fcinfo->resultinfo, id,
					row_clock_get(rc, id));
	}
	PG_RETURN_VOID();
}

/* The floor, in order of arrival. */
PG_FUNCTION_INFO_V1(row_clock_floor);
Datum
row_clock_floor(PG_FUNCTION_ARGS)
{
	RowClock   *rc = row_clock_unpack(CurrentMemoryContext,
									  PG_GETARG_ROW_CLOCK_P(0));

	InitMaterializedSRF(fcinfo, 0);
	for (int i = 0; i < rc->nfloor; i++)
		put_row((ReturnSetInfo *) fcinfo->resultinfo, i + 1, &rc->floor[i]);
	PG_RETURN_VOID();
}

/* The scope's stamp, if there is one. */
PG_FUNCTION_INFO_V1(row_clock_scope);
Datum
row_clock_scope(PG_FUNCTION_ARGS)
{
	RowClock   *rc = row_clock_unpack(CurrentMemoryContext,
									  PG_GETARG_ROW_CLOCK_P(0));

	InitMaterializedSRF(fcinfo, 0);
	if (row_clock_scope_stamp(rc) != NULL)
		put_row((ReturnSetInfo *) fcinfo->resultinfo, 0,
				row_clock_scope_stamp(rc));
	PG_RETURN_VOID();
}

/* NULL where there is no stamp at all. */
PG_FUNCTION_INFO_V1(row_clock_max_hlc_sql);
Datum
row_clock_max_hlc_sql(PG_FUNCTION_ARGS)
{
	RowClock   *rc = row_clock_unpack(CurrentMemoryContext,
									  PG_GETARG_ROW_CLOCK_P(0));

	if (rc->nstamps == 0)
		PG_RETURN_NULL();
	PG_RETURN_HLC(row_clock_max_hlc(rc));
}

/* The keys that have stamps of their own, and the bases (key NULL). */
PG_FUNCTION_INFO_V1(row_clock_keys_sql);
Datum
row_clock_keys_sql(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	RowClock   *rc = row_clock_unpack(CurrentMemoryContext,
									  PG_GETARG_ROW_CLOCK_P(0));

	InitMaterializedSRF(fcinfo, 0);
	for (int i = 0; i < rc->nkeys; i++)
	{
		const RowClockKey *key = &rc->keys[i];
		const Stamp *stamp = &rc->stamps[key->stamp];
		Datum		values[7];
		bool		nulls[7] = {0};

		values[0] = Int32GetDatum(key->column_id);
		nulls[1] = key->len < 0;
		values[1] = nulls[1] ? (Datum) 0 :
			PointerGetDatum(cstring_to_text_with_len(key->data, key->len));
		values[2] = BoolGetDatum(key->is_removed);
		values[3] = HlcGetDatum(stamp->hlc);
		values[4] = UUIDPGetDatum(&stamp->replica);
		values[5] = UUIDPGetDatum(&stamp->node);
		values[6] = FullTransactionIdGetDatum(FullTransactionIdFromU64(stamp->xid));
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	PG_RETURN_VOID();
}

/*
 * ---- Text ----
 */

static void
scan_stamps(JsonScan *scan, ClockBuilder *builder)
{
	StampText  *member = palloc(sizeof(StampText));

	json_scan_expect(scan, '[');
	for (int i = 0; json_scan_member(scan, i, ']'); i++)
	{
		CHECK_FOR_INTERRUPTS();
		memset(member, 0, offsetof(StampText, columns));
		member->is_scope = false;
		member->floor = 0;
		member->nkeys = 0;
		scan_stamp(scan, member, builder);
		add_stamp(scan, builder, member);
	}
	pfree(member);
}

static void
scan_stamp(JsonScan *scan, StampText *member, ClockBuilder *builder)
{
	StringInfo	buf = &builder->buf;
	bool		has_columns = false;
	bool		has_base = false;
	bool		has_keys = false;
	bool		has_removed = false;

	json_scan_expect(scan, '{');
	for (int i = 0; json_scan_member(scan, i, '}'); i++)
	{
		json_scan_key(scan, buf);
		if (strcmp(buf->data, "hlc") == 0 && !member->has_hlc)
		{
			json_scan_string(scan, buf);
			if (!hlc_parse(buf->data, buf->len, &member->stamp.hlc))
				json_scan_fail(scan, "The hybrid logical clock is malformed");
			member->has_hlc = true;
		}
		else if (strcmp(buf->data, "replica") == 0 && !member->has_replica)
		{
			json_scan_uuid(scan, &member->stamp.replica);
			member->has_replica = true;
		}
		else if (strcmp(buf->data, "node") == 0 && !member->has_node)
		{
			json_scan_uuid(scan, &member->stamp.node);
			member->has_node = true;
		}
		else if (strcmp(buf->data, "xid") == 0 && !member->has_xid)
		{
			member->stamp.xid = json_scan_integer(scan, 0, VV_MAX_COUNTER);
			member->has_xid = true;
		}
		else if (strcmp(buf->data, "columns") == 0 && !has_columns)
		{
			scan_columns(scan, member);
			has_columns = true;
		}
		else if (strcmp(buf->data, "scope") == 0 && !member->is_scope)
		{
			if (!json_scan_word(scan, "true"))
				json_scan_fail(scan, "Expected true");
			member->is_scope = true;
		}
		else if (strcmp(buf->data, "floor") == 0 && member->floor == 0)
			member->floor = json_scan_integer(scan, 1, ROW_CLOCK_MAX_FLOOR);
		else if (strcmp(buf->data, "base") == 0 && !has_base)
		{
			scan_bases(scan, member, builder);
			has_base = true;
		}
		else if (strcmp(buf->data, "keys") == 0 && !has_keys)
		{
			scan_keys(scan, member, builder, false);
			has_keys = true;
		}
		else if (strcmp(buf->data, "removed") == 0 && !has_removed)
		{
			scan_keys(scan, member, builder, true);
			has_removed = true;
		}
		else
			json_scan_fail(scan, "The key is unknown or repeated");
	}
	if (!member->has_hlc || !member->has_replica || !member->has_node ||
		!member->has_xid)
		json_scan_fail(scan, "A stamp needs the keys \"hlc\", \"replica\", \"node\" and \"xid\"");
}

static void
scan_columns(JsonScan *scan, StampText *member)
{
	json_scan_expect(scan, '[');
	for (int i = 0; json_scan_member(scan, i, ']'); i++)
	{
		int			column_id = json_scan_integer(scan, 1,
												  ROW_CLOCK_MAX_COLUMNS);

		if (member->ncolumns >= ROW_CLOCK_MAX_COLUMNS)
			json_scan_fail(scan, "A column is there twice");
		member->columns[member->ncolumns++] = column_id;
	}
}

static void
scan_bases(JsonScan *scan, StampText *member, ClockBuilder *builder)
{
	json_scan_expect(scan, '[');
	for (int i = 0; json_scan_member(scan, i, ']'); i++)
	{
		int			column_id = json_scan_integer(scan, 1,
												  ROW_CLOCK_MAX_COLUMNS);

		add_key(scan, member, builder, column_id)->len = -1;
	}
}

/* {"<column id>": ["key", ...]} */
static void
scan_keys(JsonScan *scan, StampText *member, ClockBuilder *builder,
		  bool is_removed)
{
	json_scan_expect(scan, '{');
	for (int i = 0; json_scan_member(scan, i, '}'); i++)
	{
		int			column_id;

		if (!json_scan_sees(scan, '"'))
			json_scan_fail(scan, "Expected a column's id in quotes");
		column_id = json_scan_integer(scan, 1, ROW_CLOCK_MAX_COLUMNS);
		json_scan_expect(scan, ':');
		json_scan_expect(scan, '[');
		for (int k = 0; json_scan_member(scan, k, ']'); k++)
		{
			RowClockKey *key = add_key(scan, member, builder, column_id);

			json_scan_string(scan, &builder->buf);
			key->is_removed = is_removed;
			key->len = builder->buf.len;
			key->data = pnstrdup(builder->buf.data, builder->buf.len);
		}
	}
}

static RowClockKey *
add_key(JsonScan *scan, StampText *member, ClockBuilder *builder, int column_id)
{
	RowClockKey *key;

	if (builder->nkeys >= builder->maxkeys)
	{
		if (builder->nkeys >= ROW_CLOCK_MAX_KEYS)
			json_scan_fail(scan, "There are too many keys");
		builder->maxkeys = Max(16, 2 * builder->maxkeys);
		builder->keys = builder->keys == NULL ?
			palloc(builder->maxkeys * sizeof(RowClockKey)) :
			repalloc(builder->keys, builder->maxkeys * sizeof(RowClockKey));
	}
	key = &builder->keys[builder->nkeys++];
	key->column_id = column_id;
	key->stamp = builder->nkey_stamps;	/* which add_stamp brings */
	key->is_removed = false;
	key->len = 0;
	key->data = "";
	member->nkeys++;
	return key;
}

/* The stamps of the columns have all been read. */
static void
build_keys(JsonScan *scan, ClockBuilder *builder)
{
	RowClock   *rc = builder->rc;
	int16	   *indexes = palloc(builder->nkey_stamps * sizeof(int16));
	const char *problem;

	row_clock_reserve(rc, builder->nkey_stamps);
	for (int i = 0; i < builder->nkey_stamps; i++)
		indexes[i] = row_clock_intern(rc, &builder->key_stamps[i]);
	for (int i = 0; i < builder->nkeys; i++)
		builder->keys[i].stamp = indexes[builder->keys[i].stamp];
	merge_sort(builder->keys, builder->nkeys, sizeof(RowClockKey),
			   row_clock_compare_keys);
	problem = row_clock_check_keys(rc, builder->keys, builder->nkeys);
	if (problem != NULL)
		json_scan_fail(scan, pnstrdup(problem, strlen(problem) - 1));
	row_clock_put_keys(rc, builder->keys, builder->nkeys);
}

static void
add_stamp(JsonScan *scan, ClockBuilder *builder, const StampText *member)
{
	RowClock   *rc = builder->rc;

	if (member->nkeys > 0)
	{
		if (builder->nkey_stamps >= builder->maxkey_stamps)
		{
			builder->maxkey_stamps = Max(16, 2 * builder->maxkey_stamps);
			builder->key_stamps = builder->key_stamps == NULL ?
				palloc(builder->maxkey_stamps * sizeof(Stamp)) :
				repalloc(builder->key_stamps,
						 builder->maxkey_stamps * sizeof(Stamp));
		}
		builder->key_stamps[builder->nkey_stamps++] = member->stamp;
	}
	if (member->ncolumns == 0 && !member->is_scope && member->floor == 0 &&
		member->nkeys == 0)
		json_scan_fail(scan, "The stamp stamps nothing");

	for (int i = 0; i < member->ncolumns; i++)
	{
		if (row_clock_get(rc, member->columns[i]) != NULL)
			json_scan_fail(scan, "A column is there twice");
		row_clock_set(rc, member->columns[i], &member->stamp);
	}
	if (member->is_scope)
	{
		if (row_clock_scope_stamp(rc) != NULL)
			json_scan_fail(scan, "The scope is there twice");
		row_clock_set_scope(rc, &member->stamp);
	}
	if (member->floor > 0)
	{
		if (builder->has_floor[member->floor - 1])
			json_scan_fail(scan, "A place in the floor is there twice");
		builder->has_floor[member->floor - 1] = true;
		builder->floor[member->floor - 1] = member->stamp;
		builder->nfloor = Max(builder->nfloor, member->floor);
	}
}

/* keys: those that have the stamp, as keys_by_stamp() sorts them */
static void
put_stamp(StringInfo buf, const RowClock *rc, int index,
		  const RowClockKey *keys, int nkeys)
{
	const Stamp *stamp = &rc->stamps[index];
	char		hlc[HLC_TEXT_SIZE];
	int			ncolumns = 0;
	int			n = 0;

	hlc_format(stamp->hlc, hlc);
	appendStringInfo(buf, "{\"hlc\":\"%s\",\"replica\":", hlc);
	json_scan_put_uuid(buf, &stamp->replica);
	appendStringInfoString(buf, ",\"node\":");
	json_scan_put_uuid(buf, &stamp->node);
	appendStringInfo(buf, ",\"xid\":\"" UINT64_FORMAT "\"", stamp->xid);

	for (int i = 0; i < rc->ncolumns; i++)
	{
		if (rc->column_stamp[i] == index)
			appendStringInfo(buf, "%s%d",
							 ncolumns++ == 0 ? ",\"columns\":[" : ",", i + 1);
	}
	if (ncolumns > 0)
		appendStringInfoChar(buf, ']');
	if (rc->scope_stamp == index)
		appendStringInfoString(buf, ",\"scope\":true");
	for (int i = 0; i < rc->nfloor; i++)
	{
		if (stamp_equal(&rc->floor[i], stamp))
			appendStringInfo(buf, ",\"floor\":%d", i + 1);
	}

	for (; n < nkeys && keys[n].len < 0; n++)
		appendStringInfo(buf, "%s%d", n == 0 ? ",\"base\":[" : ",",
						 keys[n].column_id);
	if (n > 0)
		appendStringInfoChar(buf, ']');
	keys += n;
	nkeys -= n;
	for (n = 0; n < nkeys && !keys[n].is_removed;)
		n++;
	put_keys(buf, "keys", keys, n);
	put_keys(buf, "removed", keys + n, nkeys - n);
	appendStringInfoChar(buf, '}');
}

static void
put_keys(StringInfo buf, const char *member, const RowClockKey *keys, int nkeys)
{
	int			column_id = 0;

	for (int i = 0; i < nkeys; i++)
	{
		if (i == 0)
			appendStringInfo(buf, ",\"%s\":{", member);
		if (keys[i].column_id != column_id)
			appendStringInfo(buf, "%s\"%d\":[", i == 0 ? "" : "],",
							 keys[i].column_id);
		else
			appendStringInfoChar(buf, ',');
		column_id = keys[i].column_id;
		json_scan_put_string(buf, keys[i].data, keys[i].len);
	}
	if (nkeys > 0)
		appendStringInfoString(buf, "]}");
}

/* By stamp; of each the bases, then keys, then removed ones; by column. */
static RowClockKey *
keys_by_stamp(const RowClock *rc)
{
	RowClockKey *keys = palloc(Max(rc->nkeys, 1) * sizeof(RowClockKey));

	if (rc->nkeys > 0)
	{
		memcpy(keys, rc->keys, rc->nkeys * sizeof(RowClockKey));
		merge_sort(keys, rc->nkeys, sizeof(RowClockKey), compare_for_text);
	}
	return keys;
}

static int
compare_for_text(const void *a, const void *b)
{
	const RowClockKey *x = a;
	const RowClockKey *y = b;

	if (x->stamp != y->stamp)
		return x->stamp - y->stamp;
	if ((x->len < 0) != (y->len < 0))
		return x->len < 0 ? -1 : 1;
	if (x->is_removed != y->is_removed)
		return x->is_removed ? 1 : -1;
	return row_clock_compare_keys(a, b);
}

/* Are the keys text in the server's encoding? */
static bool
keys_are_text(const RowClock *rc)
{
	for (int i = 0; i < rc->nkeys; i++)
	{
		if (rc->keys[i].len >= 0 &&
			!pg_verifymbstr(rc->keys[i].data, rc->keys[i].len, true))
			return false;
	}
	return true;
}

/* One row of (hlc, replica, node, position), with a number in front of it
 * unless that is 0. */
static void
put_row(ReturnSetInfo *rsinfo, int number, const Stamp *stamp)
{
	Datum		values[5];
	bool		nulls[5] = {0};
	int			n = 0;

	if (number > 0)
		values[n++] = Int32GetDatum(number);
	values[n++] = HlcGetDatum(stamp->hlc);
	values[n++] = UUIDPGetDatum(&stamp->replica);
	values[n++] = UUIDPGetDatum(&stamp->node);
	values[n++] = FullTransactionIdGetDatum(FullTransactionIdFromU64(stamp->xid));
	tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
}
