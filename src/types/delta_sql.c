/*-------------------------------------------------------------------------
 *
 * delta_sql.c
 *	  The SQL type delta: input, output and accessors.
 *
 * The only file of the type that knows the settings (the limits) and raises
 * errors about what comes from outside.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/detoast.h"
#include "common/hashfn.h"
#include "compat.h"
#include "funcapi.h"
#include "libpq/pqformat.h"
#include "miscadmin.h"
#include "offline_sync.h"
#include "types/delta_internal.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

PG_FUNCTION_INFO_V1(delta_in);
PG_FUNCTION_INFO_V1(delta_out);
PG_FUNCTION_INFO_V1(delta_recv);
PG_FUNCTION_INFO_V1(delta_send);
PG_FUNCTION_INFO_V1(delta_from_bytes);
PG_FUNCTION_INFO_V1(delta_pretty);
PG_FUNCTION_INFO_V1(delta_checksum);
PG_FUNCTION_INFO_V1(sync_canonical_bytes);
PG_FUNCTION_INFO_V1(delta_eq);
PG_FUNCTION_INFO_V1(delta_ne);
PG_FUNCTION_INFO_V1(delta_hash);
PG_FUNCTION_INFO_V1(delta_hash_extended);
PG_FUNCTION_INFO_V1(delta_replica);
PG_FUNCTION_INFO_V1(delta_context);
PG_FUNCTION_INFO_V1(delta_from);
PG_FUNCTION_INFO_V1(delta_to);
PG_FUNCTION_INFO_V1(delta_hlc);
PG_FUNCTION_INFO_V1(delta_schema_version);
PG_FUNCTION_INFO_V1(delta_first_seq);
PG_FUNCTION_INFO_V1(delta_last_seq);
PG_FUNCTION_INFO_V1(delta_has_more);
PG_FUNCTION_INFO_V1(delta_is_reset);
PG_FUNCTION_INFO_V1(delta_resume);
PG_FUNCTION_INFO_V1(delta_count);
PG_FUNCTION_INFO_V1(delta_size);
PG_FUNCTION_INFO_V1(delta_changes);

#define DELTA_CHANGES_COLUMNS	7

static void get_limits(DeltaLimits *limits);
static DeltaData *parse_bytes(const char *bytes, Size len);
static void get_header(FunctionCallInfo fcinfo, DeltaHeader *header);
static bool is_same(const DeltaData *a, const DeltaData *b);
static void change_row(const DeltaReader *reader, const DeltaChange *change,
					   Datum *values, bool *nulls);
static Datum jsonb_datum(const StringInfoData *json);

/* ---- input and output ---- */

static void
get_limits(DeltaLimits *limits)
{
	limits->max_size = (Size) sync_max_delta_size * 1024;
	limits->max_changes = sync_max_delta_changes;
	limits->max_value_size = (Size) sync_max_value_size * 1024;
	limits->max_depth = sync_max_delta_depth;
}

Datum
delta_in(PG_FUNCTION_ARGS)
{
	const char *json = PG_GETARG_CSTRING(0);
	DeltaLimits limits;
	DeltaError	error;
	DeltaData  *result;

	get_limits(&limits);
	result = delta_parse_json(json, strlen(json), &limits, &error);
	if (result == NULL)
		ereturn(fcinfo->context, (Datum) 0,
				(errcode(error.sqlstate),
				 errmsg_internal("%s", error.message),
				 error.position < 0 ? 0 :
				 errdetail("The error is at byte %d of the delta.", error.position + 1),
				 error.hint[0] == '\0' ? 0 : errhint("%s", error.hint)));
	PG_RETURN_DELTA_P(result);
}

Datum
delta_out(PG_FUNCTION_ARGS)
{
	StringInfoData buf;

	initStringInfo(&buf);
	delta_format_json(&buf, PG_GETARG_DELTA_P(0));
	PG_RETURN_CSTRING(buf.data);
}

static DeltaData *
parse_bytes(const char *bytes, Size len)
{
	DeltaLimits limits;
	DeltaError	error;
	DeltaData  *result;

	get_limits(&limits);
	result = delta_parse_wire(bytes, len, &limits, &error);
	if (result == NULL)
		ereport(ERROR,
				(errcode(error.sqlstate),
				 errmsg_internal("%s", error.message),
				 error.position < 0 ? 0 :
				 errdetail("The error is before byte %d of the delta.",
						   error.position + 1),
				 error.hint[0] == '\0' ? 0 : errhint("%s", error.hint)));
	return result;
}

Datum
delta_recv(PG_FUNCTION_ARGS)
{
	StringInfo	buf = (StringInfo) PG_GETARG_POINTER(0);
	int			len = buf->len - buf->cursor;

	PG_RETURN_DELTA_P(parse_bytes(pq_getmsgbytes(buf, len), len));
}

Datum
delta_from_bytes(PG_FUNCTION_ARGS)
{
	bytea	   *bytes = PG_GETARG_BYTEA_PP(0);

	PG_RETURN_DELTA_P(parse_bytes(VARDATA_ANY(bytes), VARSIZE_ANY_EXHDR(bytes)));
}

Datum
delta_send(PG_FUNCTION_ARGS)
{
	StringInfoData buf;

	pq_begintypsend(&buf);
	delta_format_wire(&buf, PG_GETARG_DELTA_P(0));
	PG_RETURN_BYTEA_P(pq_endtypsend(&buf));
}

Datum
delta_pretty(PG_FUNCTION_ARGS)
{
	StringInfoData buf;

	initStringInfo(&buf);
	delta_format_pretty(&buf, PG_GETARG_DELTA_P(0));
	PG_RETURN_TEXT_P(cstring_to_text_with_len(buf.data, buf.len));
}

Datum
delta_checksum(PG_FUNCTION_ARGS)
{
	StringInfoData buf;
	char		checksum[DELTA_CHECKSUM_SIZE];

	initStringInfo(&buf);
	delta_canonical_bytes(&buf, PG_GETARG_DELTA_P(0));
	delta_bytes_checksum(buf.data, buf.len, checksum);
	PG_RETURN_TEXT_P(cstring_to_text(checksum));
}

Datum
sync_canonical_bytes(PG_FUNCTION_ARGS)
{
	StringInfoData buf;

	pq_begintypsend(&buf);
	delta_canonical_bytes(&buf, PG_GETARG_DELTA_P(0));
	PG_RETURN_BYTEA_P(pq_endtypsend(&buf));
}

/* ---- equality: of the content, whatever its seals ---- */

static bool
is_same(const DeltaData *a, const DeltaData *b)
{
	Size		size = delta_content_size(a);

	return size == delta_content_size(b) &&
		memcmp(VARDATA_ANY(a), VARDATA_ANY(b), size) == 0;
}

Datum
delta_eq(PG_FUNCTION_ARGS)
{
	DeltaData  *a = PG_GETARG_DELTA_P(0);
	DeltaData  *b = PG_GETARG_DELTA_P(1);
	bool		result = is_same(a, b);

	PG_FREE_IF_COPY(a, 0);
	PG_FREE_IF_COPY(b, 1);
	PG_RETURN_BOOL(result);
}

Datum
delta_ne(PG_FUNCTION_ARGS)
{
	DeltaData  *a = PG_GETARG_DELTA_P(0);
	DeltaData  *b = PG_GETARG_DELTA_P(1);
	bool		result = !is_same(a, b);

	PG_FREE_IF_COPY(a, 0);
	PG_FREE_IF_COPY(b, 1);
	PG_RETURN_BOOL(result);
}

Datum
delta_hash(PG_FUNCTION_ARGS)
{
	DeltaData  *delta = PG_GETARG_DELTA_P(0);
	Datum		result = hash_any((const unsigned char *) VARDATA_ANY(delta),
								  delta_content_size(delta));

	PG_FREE_IF_COPY(delta, 0);
	return result;
}

Datum
delta_hash_extended(PG_FUNCTION_ARGS)
{
	DeltaData  *delta = PG_GETARG_DELTA_P(0);
	Datum		result = hash_any_extended((const unsigned char *) VARDATA_ANY(delta),
										   delta_content_size(delta),
										   PG_GETARG_INT64(1));

	PG_FREE_IF_COPY(delta, 0);
	return result;
}

/* ---- accessors of the header ---- */

static void
get_header(FunctionCallInfo fcinfo, DeltaHeader *header)
{
	DeltaReader reader;

	delta_reader_init(&reader, PG_GETARG_DELTA_P(0));
	*header = reader.header;
}

Datum
delta_replica(PG_FUNCTION_ARGS)
{
	DeltaHeader header;
	pg_uuid_t  *result = palloc(sizeof(pg_uuid_t));

	get_header(fcinfo, &header);
	*result = header.replica;
	PG_RETURN_UUID_P(result);
}

/* NULL for a served delta, which has none */
Datum
delta_context(PG_FUNCTION_ARGS)
{
	DeltaHeader header;

	get_header(fcinfo, &header);
	if (header.is_served)
		PG_RETURN_NULL();
	PG_RETURN_VERSION_VECTOR_P(header.context);
}

Datum
delta_from(PG_FUNCTION_ARGS)
{
	DeltaHeader header;

	get_header(fcinfo, &header);
	if (header.from == NULL)
		PG_RETURN_NULL();
	PG_RETURN_VERSION_VECTOR_P(header.from);
}

Datum
delta_to(PG_FUNCTION_ARGS)
{
	DeltaHeader header;

	get_header(fcinfo, &header);
	if (header.to == NULL)
		PG_RETURN_NULL();
	PG_RETURN_VERSION_VECTOR_P(header.to);
}

Datum
delta_hlc(PG_FUNCTION_ARGS)
{
	DeltaHeader header;

	get_header(fcinfo, &header);
	if (header.hlc == HLC_MIN)
		PG_RETURN_NULL();
	PG_RETURN_HLC(header.hlc);
}

Datum
delta_schema_version(PG_FUNCTION_ARGS)
{
	DeltaHeader header;

	get_header(fcinfo, &header);
	if (header.schema_version == 0)
		PG_RETURN_NULL();
	PG_RETURN_INT32(header.schema_version);
}

Datum
delta_first_seq(PG_FUNCTION_ARGS)
{
	DeltaHeader header;

	get_header(fcinfo, &header);
	if (header.first_seq == 0)
		PG_RETURN_NULL();
	PG_RETURN_INT64(header.first_seq);
}

Datum
delta_last_seq(PG_FUNCTION_ARGS)
{
	DeltaHeader header;

	get_header(fcinfo, &header);
	if (header.first_seq == 0)
		PG_RETURN_NULL();
	PG_RETURN_INT64(header.first_seq + header.nchanges - 1);
}

Datum
delta_has_more(PG_FUNCTION_ARGS)
{
	DeltaHeader header;

	get_header(fcinfo, &header);
	PG_RETURN_BOOL(header.has_more);
}

Datum
delta_is_reset(PG_FUNCTION_ARGS)
{
	DeltaHeader header;

	get_header(fcinfo, &header);
	PG_RETURN_BOOL(header.is_reset);
}

Datum
delta_resume(PG_FUNCTION_ARGS)
{
	DeltaHeader header;

	get_header(fcinfo, &header);
	if (header.resume == NULL)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text(header.resume));
}

Datum
delta_count(PG_FUNCTION_ARGS)
{
	DeltaHeader header;

	get_header(fcinfo, &header);
	PG_RETURN_INT32(header.nchanges);
}

/* Bytes of the binary form, found without fetching it */
Datum
delta_size(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT32(toast_raw_datum_size(PG_GETARG_DATUM(0)) - VARHDRSZ);
}

/* ---- the changes as rows ---- */

Datum
delta_changes(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	DeltaReader reader;
	DeltaChange change;
	MemoryContext row_context;
	MemoryContext old_context;

	InitMaterializedSRF(fcinfo, 0);
	delta_reader_init(&reader, PG_GETARG_DELTA_P(0));
	row_context = AllocSetContextCreate(CurrentMemoryContext, "delta_changes row",
										ALLOCSET_DEFAULT_SIZES);
	while (delta_reader_next(&reader, &change))
	{
		Datum		values[DELTA_CHANGES_COLUMNS] = {0};
		bool		nulls[DELTA_CHANGES_COLUMNS] = {0};

		CHECK_FOR_INTERRUPTS();
		old_context = MemoryContextSwitchTo(row_context);
		change_row(&reader, &change, values, nulls);
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
		MemoryContextSwitchTo(old_context);
		MemoryContextReset(row_context);
	}
	return (Datum) 0;
}

static void
change_row(const DeltaReader *reader, const DeltaChange *change, Datum *values,
		   bool *nulls)
{
	static const char *const kinds[] = {
		"insert", "update", "delete", "retract", "retract_scope", "intent"
	};
	StringInfoData json;

	initStringInfo(&json);
	values[0] = Int64GetDatum(change->seq);
	nulls[0] = reader->header.is_served;
	values[1] = HlcGetDatum(change->hlc);
	nulls[1] = reader->header.is_served && change->hlc == HLC_MIN;
	values[2] = CStringGetTextDatum(kinds[change->kind]);
	nulls[3] = nulls[4] = change->table < 0;
	if (change->table >= 0)
	{
		values[3] = CStringGetTextDatum(reader->tables[change->table].data);
		delta_format_cells(&json, reader, change->keys, change->nkeys, DELTA_SET);
		values[4] = jsonb_datum(&json);
		resetStringInfo(&json);
	}
	nulls[5] = change->kind == DELTA_CHANGE_DELETE ||
		change->kind == DELTA_CHANGE_RETRACT;
	if (!nulls[5])
	{
		delta_format_content(&json, reader, change);
		appendStringInfoChar(&json, '}');
		json.data[0] = '{';
		values[5] = jsonb_datum(&json);
	}
	values[6] = Int64GetDatum(change->group);
	nulls[6] = change->group == 0;
}

static Datum
jsonb_datum(const StringInfoData *json)
{
	return DirectFunctionCall1(jsonb_in, CStringGetDatum(json->data));
}
