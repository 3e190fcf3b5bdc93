/*-------------------------------------------------------------------------
 *
 * digest.c
 *	  sync_digest(): a hash of what a device should hold of a scope, whole, in
 *	  parts, or row by row.
 *
 * What it should hold is what a base scan would bring it: rows as the caller sees
 * them, columns that it is served, in the words of its version of the schema.  So a digest
 * tells nothing that a pull does not.
 *
 * Rows are hashed one by one and the hashes are added up, so that their order does
 * not matter: a client need not sort, and may keep the sum as rows change.  Parts
 * are by the hash of the key, since it cuts any table into even parts that both sides
 * agree on.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/cryptohash.h"
#include "common/sha2.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "registry/value.h"
#include "serve/digest_row.h"
#include "serve/serve.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

/* rows to read at a time */
#define DIGEST_BATCH		1000

/* A digest is the sums of so many 32-bit words of hashes, each modulo 2^32. */
#define DIGEST_WORDS		4
#define DIGEST_HEX_SIZE		(DIGEST_WORDS * 8)

/* hex digits of a hash; by how many of them parts are told apart */
#define HASH_DIGITS			(PG_SHA256_DIGEST_LENGTH * 2)
#define PART_DIGITS			2
#define NPARTS				256

typedef struct DigestSum
{
	uint32		words[DIGEST_WORDS];
	int64		nrows;
} DigestSum;

/* A digest in the making */
typedef struct Digest
{
	ServePage	page;
	const SyncDevice *device;
	const char *scope;
	const char *prefix;			/* hex digits that the hash of the key begins
								 * with; NULL: the key does not matter */
	pg_cryptohash_ctx *sha256;
	DigestSum  *sums;			/* one, or NPARTS */
	ReturnSetInfo *rows;		/* where single rows go, or NULL */
} Digest;

static void digest_scope(FunctionCallInfo fcinfo, Digest *digest, int version_arg);
static const char *get_prefix(FunctionCallInfo fcinfo, int max_digits);
static void digest_tables(Digest *digest);
static void digest_table(Digest *digest, ServeTable *st);
static void digest_tuples(Digest *digest, const DigestTable *dt, ServeTable *st,
						  SPITupleTable *tuptable);
static void digest_tuple(Digest *digest, const DigestTable *dt, ServeTable *st,
						 const Datum *values, const bool *isnull);
static void put_row(Digest *digest, const ServeTable *st, const char *key,
					const DigestSum *sum);
static void hash_bytes_as_utf8(Digest *digest, const char *data, int len,
							   const char *more, uint8 *hash);
static bool has_prefix(const uint8 *hash, const char *prefix, int *part);
static void sum_add(DigestSum *sum, const uint8 *hash);
static text *sum_text(const DigestSum *sum);

PG_FUNCTION_INFO_V1(sync_digest);
PG_FUNCTION_INFO_V1(sync_digest_parts);
PG_FUNCTION_INFO_V1(sync_digest_rows);

/*
 * sync_digest(device uuid, scope text, schema_version int) -> digest, row_count, waiting
 */
Datum
sync_digest(PG_FUNCTION_ARGS)
{
	Digest		digest = {0};
	DigestSum	sum = {0};
	TupleDesc	desc;
	Datum		values[3];
	bool		nulls[3] = {false};

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	BlessTupleDesc(desc);

	digest.sums = &sum;
	digest_scope(fcinfo, &digest, 2);
	values[0] = PointerGetDatum(sum_text(&sum));
	values[1] = Int64GetDatum(sum.nrows);
	values[2] = Int32GetDatum(digest.device->nwaiting);
	return HeapTupleGetDatum(heap_form_tuple(desc, values, nulls));
}

/*
 * sync_digest_parts(device uuid, scope text, prefix text, schema_version int)
 * -> set of (part, digest, row_count)
 */
Datum
sync_digest_parts(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	Digest		digest = {0};

	digest.prefix = get_prefix(fcinfo, HASH_DIGITS - PART_DIGITS);
	digest.sums = palloc0(NPARTS * sizeof(DigestSum));
	InitMaterializedSRF(fcinfo, 0);
	digest_scope(fcinfo, &digest, 3);
	for (int i = 0; i < NPARTS; i++)
	{
		Datum		values[3];
		bool		nulls[3] = {false};

		if (digest.sums[i].nrows == 0)
			continue;
		values[0] = CStringGetTextDatum(psprintf("%s%02x", digest.prefix, i));
		values[1] = PointerGetDatum(sum_text(&digest.sums[i]));
		values[2] = Int64GetDatum(digest.sums[i].nrows);
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	return (Datum) 0;
}

/*
 * sync_digest_rows(device uuid, scope text, prefix text, schema_version int)
 * -> set of (table_name, key, digest)
 */
Datum
sync_digest_rows(PG_FUNCTION_ARGS)
{
	Digest		digest = {0};

	digest.prefix = get_prefix(fcinfo, HASH_DIGITS);
	InitMaterializedSRF(fcinfo, 0);
	digest.rows = (ReturnSetInfo *) fcinfo->resultinfo;
	digest_scope(fcinfo, &digest, 3);
	return (Datum) 0;
}

/* ----------------------------------------------------------------
 * The scope
 * ---------------------------------------------------------------- */

/* A scope that the device may not pull is one that it should hold nothing of. */
static void
digest_scope(FunctionCallInfo fcinfo, Digest *digest, int version_arg)
{
	ServePage  *page = &digest->page;
	int			version = 0;

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("device and scope must not be null")));
	digest->device = sync_device_get(PG_GETARG_UUID_P(0), false);
	digest->scope = text_to_cstring(PG_GETARG_TEXT_PP(1));
	if (!PG_ARGISNULL(version_arg))
	{
		version = PG_GETARG_INT32(version_arg);
		serve_check_version(version);
	}
	if (digest->device->is_revoked)
		return;

	digest->sha256 = pg_cryptohash_create(PG_SHA256);
	if (digest->sha256 == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OUT_OF_MEMORY),
				 errmsg("out of memory")));
	serve_begin(page, digest->device, version, vv_empty(), 1);
	if (sync_device_find_scope(page->scopes, page->nscopes, digest->scope) != NULL)
		digest_tables(digest);
	SPI_finish();
	UnregisterSnapshot(page->snapshot);
	MemoryContextDelete(page->context);
	pg_cryptohash_free(digest->sha256);
}

static const char *
get_prefix(FunctionCallInfo fcinfo, int max_digits)
{
	char	   *prefix = PG_ARGISNULL(2) ? "" :
	text_to_cstring(PG_GETARG_TEXT_PP(2));
	int			len = strlen(prefix);

	if (len > max_digits || strspn(prefix, "0123456789abcdef") != len)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid prefix \"%s\"", prefix),
				 errdetail("A prefix is at most %d hexadecimal digits, in lower case.",
						   max_digits)));
	return prefix;
}

static void
digest_tables(Digest *digest)
{
	ServePage  *page = &digest->page;

	for (int i = 0; i < page->ntables; i++)
	{
		ServeTable *st = page_table(page, page->tables[i]->table_id);

		if (st->table != NULL && st->is_readable &&
			(st->table->scope_column >= 0 || digest->scope[0] == '\0'))
			digest_table(digest, st);
	}
}

/* ----------------------------------------------------------------
 * One table
 * ---------------------------------------------------------------- */

static void
digest_table(Digest *digest, ServeTable *st)
{
	SyncTable  *t = st->table;
	MemoryContext context = CurrentMemoryContext;
	DigestTable *dt = digest_table_create(st);
	StringInfoData query;
	Oid			argtypes[1];
	Datum		args[1];
	int			nargs;
	Portal		portal;

	if (t->scope_column >= 0 &&
		!serve_scope_value(&t->columns[t->scope_column], digest->scope, &args[0]))
		return;
	initStringInfo(&query);
	serve_append_select(&query, st, &nargs, argtypes);
	portal = SPI_cursor_open_with_args(NULL, query.data, nargs, argtypes, args,
									   NULL, true, 0);
	for (;;)
	{
		uint64		nread;

		SPI_cursor_fetch(portal, true, DIGEST_BATCH);
		nread = SPI_processed;
		MemoryContextSwitchTo(context); /* SPI left its own */
		digest_tuples(digest, dt, st, SPI_tuptable);
		SPI_freetuptable(SPI_tuptable);
		if (nread < DIGEST_BATCH)
			break;
	}
	SPI_cursor_close(portal);
}

static void
digest_tuples(Digest *digest, const DigestTable *dt, ServeTable *st,
			  SPITupleTable *tuptable)
{
	ServePage  *page = &digest->page;
	int			natts = tuptable->tupdesc->natts;
	Datum	   *values = palloc(natts * sizeof(Datum));
	bool	   *isnull = palloc(natts * sizeof(bool));
	int			nestlevel = value_modes_begin();

	for (uint64 i = 0; i < tuptable->numvals; i++)
	{
		MemoryContext old;

		CHECK_FOR_INTERRUPTS();
		heap_deform_tuple(tuptable->vals[i], tuptable->tupdesc, values, isnull);
		old = MemoryContextSwitchTo(page->row_context);
		MemoryContextReset(page->row_context);
		digest_tuple(digest, dt, st, values, isnull);
		MemoryContextSwitchTo(old);
	}
	value_modes_end(nestlevel);
	pfree(values);
	pfree(isnull);
}

/* values: clock, key, fetched columns */
static void
digest_tuple(Digest *digest, const DigestTable *dt, ServeTable *st,
			 const Datum *values, const bool *isnull)
{
	const Datum *key = values + 1;
	const Datum *fetched = key + st->table->nkeys;
	const bool *fetched_isnull = isnull + 1 + st->table->nkeys;
	char	   *scope = page_row_scope(st, fetched, fetched_isnull);
	uint8		hash[PG_SHA256_DIGEST_LENGTH];
	int			part = 0;
	StringInfoData bytes;
	DigestSum	sum = {0};

	/* equal to its type, but not the same text: another scope */
	if (scope == NULL || strcmp(scope, digest->scope) != 0)
		return;

	initStringInfo(&bytes);
	digest_append_key(&bytes, dt, key);
	if (digest->prefix != NULL)
	{
		hash_bytes_as_utf8(digest, bytes.data, bytes.len, "}", hash);
		if (!has_prefix(hash, digest->prefix, &part))
			return;
	}
	if (digest->rows != NULL)
	{
		char	   *text = pstrdup(bytes.data + digest_key_offset(dt));

		digest_append_row(&bytes, dt, fetched, fetched_isnull);
		hash_bytes_as_utf8(digest, bytes.data, bytes.len, "", hash);
		sum_add(&sum, hash);
		put_row(digest, st, text, &sum);
		return;
	}
	digest_append_row(&bytes, dt, fetched, fetched_isnull);
	hash_bytes_as_utf8(digest, bytes.data, bytes.len, "", hash);
	sum_add(&digest->sums[part], hash);
}

static void
put_row(Digest *digest, const ServeTable *st, const char *key, const DigestSum *sum)
{
	Datum		values[3];
	bool		nulls[3] = {false};

	values[0] = CStringGetTextDatum(st->table->wire_name);
	values[1] = DirectFunctionCall1(jsonb_in, CStringGetDatum(key));
	values[2] = PointerGetDatum(sum_text(sum));
	tuplestore_putvalues(digest->rows->setResult, digest->rows->setDesc, values,
						 nulls);
}

/* ----------------------------------------------------------------
 * Hashes and sums
 * ---------------------------------------------------------------- */

/* The hash of the bytes, followed by more (plain ASCII). */
static void
hash_bytes_as_utf8(Digest *digest, const char *data, int len, const char *more,
				   uint8 *hash)
{
	char	   *bytes = pg_server_to_any(data, len, PG_UTF8);

	if (bytes != data)
		len = strlen(bytes);
	if (pg_cryptohash_init(digest->sha256) < 0 ||
		pg_cryptohash_update(digest->sha256, (uint8 *) bytes, len) < 0 ||
		pg_cryptohash_update(digest->sha256, (const uint8 *) more, strlen(more)) < 0 ||
		pg_cryptohash_final(digest->sha256, hash, PG_SHA256_DIGEST_LENGTH) < 0)
		elog(ERROR, "could not compute SHA-256: %s",
			 pg_cryptohash_error(digest->sha256));
}

/* Do the hash's digits begin with the prefix?  *part: the digits that follow it. */
static bool
has_prefix(const uint8 *hash, const char *prefix, int *part)
{
	char		digits[HASH_DIGITS + 1];
	int			len = strlen(prefix);

	hex_encode((const char *) hash, PG_SHA256_DIGEST_LENGTH, digits);
	digits[HASH_DIGITS] = '\0';
	if (strncmp(digits, prefix, len) != 0)
		return false;
	if (len <= HASH_DIGITS - PART_DIGITS)
	{
		digits[len + PART_DIGITS] = '\0';
		*part = (int) strtol(digits + len, NULL, 16);
	}
	return true;
}

static void
sum_add(DigestSum *sum, const uint8 *hash)
{
	for (int i = 0; i < DIGEST_WORDS; i++)
		sum->words[i] += (uint32) hash[4 * i] << 24 | (uint32) hash[4 * i + 1] << 16 |
			(uint32) hash[4 * i + 2] << 8 | (uint32) hash[4 * i + 3];
	sum->nrows++;
}

static text *
sum_text(const DigestSum *sum)
{
	char		buf[DIGEST_HEX_SIZE + 1];

	for (int i = 0; i < DIGEST_WORDS; i++)
		snprintf(buf + 8 * i, 9, "%08x", sum->words[i]);
	return cstring_to_text(buf);
}
