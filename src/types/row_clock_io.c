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
 * is the stamp's place in the floor, from 1.  Keys come in any order on the way
 * in, and a stamp may be there several times.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/transam.h"
#include "common/hashfn.h"
#include "compat.h"
#include "funcapi.h"
#include "libpq/pqformat.h"
#include "miscadmin.h"
#include "types/json_scan.h"
#include "types/row_clock.h"
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
} StampText;

static void scan_stamps(JsonScan *scan, ClockBuilder *builder);
static void scan_stamp(JsonScan *scan, StampText *member, StringInfo buf);
static void scan_columns(JsonScan *scan, StampText *member);
static void add_stamp(JsonScan *scan, ClockBuilder *builder,
					  const StampText *member);
static void put_stamp(StringInfo buf, const RowClock *rc, int index);
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
	PG_RETURN_ROW_CLOCK_P(row_clock_pack(builder->rc));
}

PG_FUNCTION_INFO_V1(row_clock_out);
Datum
row_clock_out(PG_FUNCTION_ARGS)
{
	RowClock   *rc = row_clock_unpack(CurrentMemoryContext,
									  PG_GETARG_ROW_CLOCK_P(0));
	StringInfoData buf;

	initStringInfo(&buf);
	appendStringInfoString(&buf, "{\"stamps\":[");
	for (int i = 0; i < rc->nstamps; i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (i > 0)
			appendStringInfoChar(&buf, ',');
		put_stamp(&buf, rc, i);
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
		scan_stamp(scan, member, &builder->buf);
		add_stamp(scan, builder, member);
	}
	pfree(member);
}

static void
scan_stamp(JsonScan *scan, StampText *member, StringInfo buf)
{
	bool		has_columns = false;

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
add_stamp(JsonScan *scan, ClockBuilder *builder, const StampText *member)
{
	RowClock   *rc = builder->rc;

	if (member->ncolumns == 0 && !member->is_scope && member->floor == 0)
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

static void
put_stamp(StringInfo buf, const RowClock *rc, int index)
{
	const Stamp *stamp = &rc->stamps[index];
	char		hlc[HLC_TEXT_SIZE];
	int			ncolumns = 0;

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
	appendStringInfoChar(buf, '}');
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
