/*-------------------------------------------------------------------------
 *
 * targets.c
 *	  The fuzz targets: for each type its text and its binary form.
 *
 * An input is refused with an error that a client can act on, or it is accepted,
 * and then
 *	- it prints, and the text gives the same bytes again, and the same text;
 *	- it is sent, and the binary form gives the same bytes again;
 *	- binary input other than of an orset (whose elements may come in any order)
 *	  was canonical: it is sent as it was received.
 * Neither way takes more memory than a multiple of the input.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "compat.h"
#include "fuzz.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "offline_sync.h"
#include "types/delta.h"

#define DECLARE_TYPE(type) \
	extern Datum type##_in(PG_FUNCTION_ARGS); \
	extern Datum type##_out(PG_FUNCTION_ARGS); \
	extern Datum type##_recv(PG_FUNCTION_ARGS); \
	extern Datum type##_send(PG_FUNCTION_ARGS)

DECLARE_TYPE(delta);
DECLARE_TYPE(version_vector);
DECLARE_TYPE(orset);
DECLARE_TYPE(row_clock);
DECLARE_TYPE(hlc);

#define TYPE_FUNCTIONS(type) #type, type##_in, type##_out, type##_recv, type##_send

/* What fuzzers make; larger ones only come by hand. */
#define SMALL_INPUT		8192

typedef struct FuzzType
{
	const char *name;
	PGFunction	in;
	PGFunction	out;
	PGFunction	recv;
	PGFunction	send;
	bool		is_by_value;
	bool		is_wire_canonical;

	/* memory: at most this much, and this much for each byte of input */
	Size		memory_base;
	Size		memory_factor;
} FuzzType;

static const FuzzType delta_type = {
	TYPE_FUNCTIONS(delta), false, true, 64 * 1024, 32
};
static const FuzzType version_vector_type = {
	TYPE_FUNCTIONS(version_vector), false, true, 64 * 1024, 32
};
static const FuzzType orset_type = {
	TYPE_FUNCTIONS(orset), false, false, 64 * 1024, 64
};
static const FuzzType row_clock_type = {
	TYPE_FUNCTIONS(row_clock), false, true, 512 * 1024, 16
};
static const FuzzType hlc_type = {
	TYPE_FUNCTIONS(hlc), true, true, 1024, 64
};

static Datum call(PGFunction function, Datum argument);
static Datum call_in(const FuzzType *type, const char *str);
static Datum call_recv(const FuzzType *type, const uint8 *data, size_t size);
static bool parse(const FuzzType *type, bool is_binary, const uint8 *data,
				  size_t size, Datum *value);
static void check_refusal(bool is_binary);
static void check_text_form(const FuzzType *type, Datum value);
static void check_binary_form(const FuzzType *type, Datum value);
static bool is_same(const FuzzType *type, Datum a, Datum b);

Size		fuzz_memory;

/* Limits as small as the inputs, or as large as they can be. */
static void
set_limits(bool small)
{
	sync_max_delta_size = small ? 8 : 1024 * 1024 - 1;
	sync_max_delta_changes = small ? 30 : PG_INT32_MAX / 1024;
	sync_max_value_size = small ? 1 : 1024 * 1024 - 1;
	sync_max_delta_depth = small ? 6 : DELTA_MAX_DEPTH;
}

static void
run_text(const FuzzType *type, const uint8 *data, size_t size)
{
	Datum		value;

	if (!parse(type, false, data, size, &value))
		return;

	/* the server takes no other text, so what becomes of it does not matter */
	if (pg_encoding_verifymbstr(PG_UTF8, (const char *) data, size) != size)
		return;
	check_text_form(type, value);
	check_binary_form(type, value);
}

static void
run_binary(const FuzzType *type, const uint8 *data, size_t size)
{
	Datum		value;
	bytea	   *sent;

	if (!parse(type, true, data, size, &value))
		return;
	if (type->is_wire_canonical)
	{
		sent = DatumGetByteaPP(call(type->send, value));
		fuzz_require(VARSIZE_ANY_EXHDR(sent) == size &&
					 memcmp(VARDATA_ANY(sent), data, size) == 0);
	}
	check_binary_form(type, value);
	check_text_form(type, value);
}

/* ---- checks ---- */

/* Hand the input to the type.  False where it was refused. */
static bool
parse(const FuzzType *type, bool is_binary, const uint8 *data, size_t size,
	  Datum *value)
{
	const char *volatile str = NULL;
	volatile bool accepted = false;
	Size		limit;
	Size		before;

	if (!is_binary)
	{
		if (memchr(data, '\0', size) != NULL)
			return false;
		str = pnstrdup((const char *) data, size);
	}

	set_limits(size <= SMALL_INPUT);
	before = shim_peak = shim_memory;
	limit = type->memory_base + type->memory_factor * size;
	SHIM_TRY();
	{
		*value = is_binary ? call_recv(type, data, size) : call_in(type, str);
		accepted = true;
	}
	SHIM_CATCH();
	{
		check_refusal(is_binary);
	}
	SHIM_END();
	fuzz_memory = shim_peak - before;
	if (fuzz_memory > limit)
		fuzz_fail("%zu bytes of %s take %zu bytes of memory, more than %zu",
				  size, type->name, fuzz_memory, limit);
	set_limits(false);
	return accepted;
}

static const char *
sqlstate_text(void)
{
	static char text[6];
	int			i;

	for (i = 0; i < 5; i++)
		text[i] = PGUNSIXBIT(shim_error.sqlstate >> (6 * i));
	return text;
}

/* Errors that tell a client what is wrong with its input, no others. */
static void
check_refusal(bool is_binary)
{
	switch (shim_error.sqlstate)
	{
		case ERRCODE_PROGRAM_LIMIT_EXCEEDED:
		case ERRCODE_FEATURE_NOT_SUPPORTED:
			break;
		case ERRCODE_INVALID_TEXT_REPRESENTATION:
		case ERRCODE_DATETIME_FIELD_OVERFLOW:
			fuzz_require(!is_binary);
			break;
		case ERRCODE_INVALID_BINARY_REPRESENTATION:
		case ERRCODE_CHARACTER_NOT_IN_REPERTOIRE:
		case ERRCODE_PROTOCOL_VIOLATION:
			fuzz_require(is_binary);
			break;
		default:
			fuzz_fail("refused with SQLSTATE %s: %s", sqlstate_text(), shim_error.message);
	}
	fuzz_require(shim_error.message[0] != '\0');
}

static void
check_text_form(const FuzzType *type, Datum value)
{
	const char *text = DatumGetCString(call(type->out, value));
	Datum		again = call_in(type, text);

	fuzz_require(is_same(type, value, again));
	fuzz_require(strcmp(text, DatumGetCString(call(type->out, again))) == 0);
}

static void
check_binary_form(const FuzzType *type, Datum value)
{
	bytea	   *sent = DatumGetByteaPP(call(type->send, value));
	Datum		again = call_recv(type, (uint8 *) VARDATA_ANY(sent),
								  VARSIZE_ANY_EXHDR(sent));

	fuzz_require(is_same(type, value, again));
}

static bool
is_same(const FuzzType *type, Datum a, Datum b)
{
	Size		size;

	if (type->is_by_value)
		return a == b;
	size = VARSIZE_ANY(DatumGetPointer(a));
	return size == VARSIZE_ANY(DatumGetPointer(b)) &&
		memcmp(DatumGetPointer(a), DatumGetPointer(b), size) == 0;
}

/* ---- calls ---- */

static Datum
call(PGFunction function, Datum argument)
{
	LOCAL_FCINFO(fcinfo, 3);
	Datum		result;

	InitFunctionCallInfoData(*fcinfo, NULL, 3, InvalidOid, NULL, NULL);
	fcinfo->args[0].value = argument;
	fcinfo->args[0].isnull = false;
	fcinfo->args[1].value = ObjectIdGetDatum(InvalidOid);
	fcinfo->args[1].isnull = false;
	fcinfo->args[2].value = Int32GetDatum(-1);
	fcinfo->args[2].isnull = false;
	result = function(fcinfo);
	fuzz_require(!fcinfo->isnull);
	return result;
}

static Datum
call_in(const FuzzType *type, const char *str)
{
	return call(type->in, CStringGetDatum(str));
}

/* From memory of exactly this size: the server's own buffer has a zero byte more.
 * All must have been read. */
static Datum
call_recv(const FuzzType *type, const uint8 *data, size_t size)
{
	StringInfoData message;
	Datum		result;

	message.data = palloc(size);
	memcpy(message.data, data, size);
	message.len = message.maxlen = size;
	message.cursor = 0;
	result = call(type->recv, PointerGetDatum(&message));
	fuzz_require(message.cursor == message.len);
	return result;
}

/* ---- the targets ---- */

#define DEFINE_TARGETS(type) \
	static void \
	type##_text(const uint8 *data, size_t size) \
	{ \
		run_text(&type##_type, data, size); \
	} \
	static void \
	type##_binary(const uint8 *data, size_t size) \
	{ \
		run_binary(&type##_type, data, size); \
	}

DEFINE_TARGETS(delta)
DEFINE_TARGETS(version_vector)
DEFINE_TARGETS(orset)
DEFINE_TARGETS(row_clock)
DEFINE_TARGETS(hlc)

const FuzzTarget fuzz_targets[] = {
	{"delta_text", "delta", false, delta_text},
	{"delta_binary", "delta", true, delta_binary},
	{"version_vector_text", "version_vector", false, version_vector_text},
	{"version_vector_binary", "version_vector", true, version_vector_binary},
	{"orset_text", "orset", false, orset_text},
	{"orset_binary", "orset", true, orset_binary},
	{"row_clock_text", "row_clock", false, row_clock_text},
	{"row_clock_binary", "row_clock", true, row_clock_binary},
	{"hlc_text", "hlc", false, hlc_text},
	{"hlc_binary", "hlc", true, hlc_binary},
	{"version_vector_builder", NULL, true, fuzz_vector_builder},
	{"merge_sort", NULL, true, fuzz_merge_sort},
	{NULL}
};

const FuzzTarget *
fuzz_find_target(const char *name)
{
	const FuzzTarget *target;

	for (target = fuzz_targets; target->name != NULL; target++)
		if (strcmp(target->name, name) == 0)
			return target;
	return NULL;
}

void
fuzz_run(const FuzzTarget *target, const uint8 *data, size_t size)
{
	shim_reset();
	target->run(data, size);
	shim_reset();
}

uint8 *
fuzz_convert_seed(const FuzzTarget *target, const uint8 *data, size_t size,
				  size_t *result_size)
{
	static const FuzzType *const types[] = {
		&delta_type, &version_vector_type, &orset_type, &row_clock_type, &hlc_type
	};
	uint8	   *volatile result = NULL;
	const FuzzType *volatile type = NULL;
	int			i;

	for (i = 0; i < lengthof(types); i++)
		if (strcmp(types[i]->name, target->seeds) == 0)
			type = types[i];
	fuzz_require(type != NULL);
	set_limits(false);
	SHIM_TRY();
	{
		Datum		value = call_in(type, pnstrdup((const char *) data, size));
		bytea	   *sent = DatumGetByteaPP(call(type->send, value));

		*result_size = VARSIZE_ANY_EXHDR(sent);
		result = malloc(*result_size);
		memcpy(result, VARDATA_ANY(sent), *result_size);
	}
	SHIM_CATCH();
	{
		/* a seed of what is refused */
	}
	SHIM_END();
	shim_reset();
	return result;
}

void
fuzz_fail(const char *fmt,...)
{
	va_list		args;
	char		buf[1024];

	va_start(args, fmt);
	vsnprintf(buf, sizeof(buf), fmt, args);
	va_end(args);
	fputs("FINDING: ", stderr);
	fputs(buf, stderr);
	fputs("\n", stderr);
	abort();
}
