/*-------------------------------------------------------------------------
 *
 * privacy.c
 *	  Taking values out of the records: those of a device, those of a row.
 *
 * What holds the records together stays: seqs and positions (idempotence, and
 * whether somebody had seen the tags of a set), the clock and the floor of a
 * tombstone, keys.  Dead versions of the records' own rows stay until vacuum, as
 * everywhere.
 *
 * A row's changes are found by reading the whole journal: nothing else needs an
 * index by row.  The table is locked against writers meanwhile, so that no push under
 * way leaves values behind.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/relation.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "guard/row_security.h"
#include "log/change_log.h"
#include "log/state.h"
#include "miscadmin.h"
#include "registry/device_row.h"
#include "registry/row_key.h"
#include "registry/table_registry.h"
#include "registry/table_version.h"
#include "registry/value.h"
#include "types/row_clock.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/guc.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/portal.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#define JOURNAL_BATCH	100

/* The row whose values go */
typedef struct PurgedRow
{
	SyncTable  *table;
	const char *key;
	int			keylen;
} PurgedRow;

/* A change in the journal, which may be one of that row */
typedef struct PurgedChange
{
	const PurgedRow *row;
	int			schema_version;
	const DeltaReader *reader;
	const DeltaChange *change;
} PurgedChange;

static const char *const forget_commands[] = {
	"DELETE FROM offline_sync.waiting WHERE device = $1",

	"DELETE FROM offline_sync.queue WHERE device = $1",

	"DELETE FROM offline_sync.refusal WHERE device = $1",

	"UPDATE offline_sync.journal j SET delta = $2, role = '',"
	" outcomes = (SELECT coalesce(jsonb_agg(jsonb_strip_nulls(jsonb_build_object("
	" 'seq', o->'seq', 'outcome', o->'outcome', 'reason', o->'reason', 'sqlstate', o->'sqlstate'))"
	" ORDER BY n), '[]') FROM jsonb_array_elements(j.outcomes) WITH ORDINALITY AS x (o, n)),"
	" details = (SELECT coalesce(jsonb_agg(jsonb_strip_nulls(jsonb_build_object("
	" 'seq', d->'seq', 'outcome', d->'outcome', 'reason', d->'reason', 'hlc', d->'hlc'))"
	" ORDER BY n), '[]') FROM jsonb_array_elements(j.details) WITH ORDINALITY AS x (d, n))"
	" WHERE device = $1",

	/* what others met of it */
	"UPDATE offline_sync.journal j SET details ="
	" (SELECT jsonb_agg(CASE WHEN d ? 'previous' THEN jsonb_set(d, '{previous}',"
	" (SELECT coalesce(jsonb_object_agg(p.key, p.value), '{}')"
	" FROM jsonb_each(d->'previous') p"
	" WHERE d#>>ARRAY['previous_stamps', p.key, '1'] IS DISTINCT FROM $1::text))"
	" ELSE d END ORDER BY n)"
	" FROM jsonb_array_elements(j.details) WITH ORDINALITY AS x (d, n))"
	" WHERE strpos(details::text, $1::text) > 0",

	"UPDATE offline_sync.conflict SET"
	" current_value = CASE WHEN current_replica = $1 THEN NULL ELSE current_value END,"
	" incoming_value = CASE WHEN incoming_replica = $1 THEN NULL ELSE incoming_value END,"
	" shadow_value = NULL, shadow_error = NULL,"
	" resolved_at = CASE WHEN state = 'open' AND incoming_replica = $1 THEN $3 ELSE resolved_at END,"
	" resolved_by = CASE WHEN state = 'open' AND incoming_replica = $1 THEN $4 ELSE resolved_by END,"
	" state = CASE WHEN state = 'open' AND incoming_replica = $1 THEN 'resolved' ELSE state END"
	" WHERE current_replica = $1 OR incoming_replica = $1"
};

static const char *const purge_conflicts =
"UPDATE offline_sync.conflict SET current_value = NULL, incoming_value = NULL,"
" shadow_value = NULL, shadow_error = NULL,"
" resolved_at = CASE WHEN state = 'open' THEN $3 ELSE resolved_at END,"
" resolved_by = CASE WHEN state = 'open' THEN $4 ELSE resolved_by END,"
" state = CASE WHEN state = 'open' THEN 'resolved' ELSE state END"
" WHERE table_id = $1 AND key = $2";

/* Answers to submitted deltas that have rows of the table: the device is told its rows
 * by its next pull, as after any lost answer. */
static const char *const purge_answers =
"DELETE FROM offline_sync.queue q WHERE q.state = 'answered' AND EXISTS ("
" SELECT FROM unnest(ARRAY[q.corrections, q.delta]) AS x, %s.delta_changes(x) AS c"
" WHERE c.table_name = $1)";

/* $3: the changes whose values go */
static const char *const purge_journal =
"UPDATE offline_sync.journal j SET delta = $2,"
" outcomes = (SELECT coalesce(jsonb_agg(CASE WHEN (o->>'seq')::bigint = ANY ($3)"
" THEN o - '{message,detail}'::text[] ELSE o END ORDER BY n), '[]')"
" FROM jsonb_array_elements(j.outcomes) WITH ORDINALITY AS x (o, n)),"
" details = (SELECT coalesce(jsonb_agg(CASE WHEN (d->>'seq')::bigint = ANY ($3)"
" THEN d - '{message,previous,previous_stamps}'::text[] || '{\"purged\": true}' ELSE d END ORDER BY n), '[]')"
" FROM jsonb_array_elements(j.details) WITH ORDINALITY AS x (d, n))"
" || (SELECT coalesce(jsonb_agg(jsonb_build_object('seq', s, 'purged', true) ORDER BY s), '[]')"
" FROM unnest($3) s WHERE NOT EXISTS (SELECT FROM jsonb_array_elements(j.details) d"
" WHERE (d->>'seq')::bigint = s))"
" WHERE reconciliation = $1";

static Oid	delta_type(void);
static const char *extension_schema(void);
static void forget_device_row(SyncDevice *device);
static bool purge_tombstone(const PurgedRow *row);
static void check_not_waiting(const PurgedRow *row);
static int64 purge_records(const PurgedRow *row);
static bool purge_delta(const PurgedRow *row, HeapTuple tuple, TupleDesc desc);
static bool names_table(const PurgedChange *c);
static bool is_of_row(void *arg);
static uint64 execute(const char *command, int nargs, Oid *types, Datum *values);

PG_FUNCTION_INFO_V1(sync_forget_device);
PG_FUNCTION_INFO_V1(sync_purge_row);

/*
 * sync_forget_device(device uuid)
 */
Datum
sync_forget_device(PG_FUNCTION_ARGS)
{
	Oid			types[] = {UUIDOID, InvalidOid, TIMESTAMPTZOID, TEXTOID};
	Datum		values[lengthof(types)];
	SyncDevice *device;

	PreventCommandIfReadOnly("sync_forget_device()");
	PreventCommandDuringRecovery("sync_forget_device()");
	if (PG_ARGISNULL(0))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("device must not be null")));
	device = device_row_find(PG_GETARG_UUID_P(0), true);
	if (device == NULL)
		device_row_unknown(PG_GETARG_UUID_P(0));
	forget_device_row(device);

	values[0] = PG_GETARG_DATUM(0);
	values[1] = PointerGetDatum(delta_empty(PG_GETARG_UUID_P(0)));
	values[2] = TimestampTzGetDatum(GetCurrentTimestamp());
	values[3] = CStringGetTextDatum(GetUserNameFromId(GetUserId(), false));
	SPI_connect();
	types[1] = delta_type();
	for (int i = 0; i < lengthof(forget_commands); i++)
		(void) execute(forget_commands[i], lengthof(types), types, values);
	SPI_finish();
	PG_RETURN_VOID();
}

static Oid
delta_type(void)
{
	return get_atttype(state_find("journal"),
					   get_attnum(state_find("journal"), "delta"));
}

/* The schema of the type delta, quoted */
static const char *
extension_schema(void)
{
	HeapTuple	tuple = SearchSysCache1(TYPEOID, ObjectIdGetDatum(delta_type()));
	Oid			schema;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for type %u", delta_type());
	schema = ((Form_pg_type) GETSTRUCT(tuple))->typnamespace;
	ReleaseSysCache(tuple);
	return quote_identifier(get_namespace_name(schema));
}

static void
forget_device_row(SyncDevice *device)
{
	DeviceRowChange change = {0};

	device_row_set_null(&change, ANUM_DEVICE_LABEL);
	device_row_set_null(&change, ANUM_DEVICE_CLASS);
	device_row_set_null(&change, ANUM_DEVICE_PUBLIC_KEY);
	device_row_set_null(&change, ANUM_DEVICE_PREVIOUS_KEY);
	device_row_set_null(&change, ANUM_DEVICE_PREVIOUS_KEY_UNTIL);
	device_row_set(&change, ANUM_DEVICE_WAITING, Int32GetDatum(0));
	if (!device->is_revoked)
		device_row_set(&change, ANUM_DEVICE_REVOKED_AT,
					   TimestampTzGetDatum(GetCurrentTimestamp()));
	device_row_update(device, &change);
}

/*
 * sync_purge_row(relation regclass, key jsonb)
 */
Datum
sync_purge_row(PG_FUNCTION_ARGS)
{
	Oid			relid;
	PurgedRow	row;
	Datum	   *key;
	StringInfoData buf;
	bool		is_known;
	int			modes;

	PreventCommandIfReadOnly("sync_purge_row()");
	PreventCommandDuringRecovery("sync_purge_row()");
	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("relation and key must not be null")));
	relid = PG_GETARG_OID(0);
	relation_close(sync_table_open_own(relid, ShareRowExclusiveLock), NoLock);
	row.table = sync_table_enabled(relid);
	key = row_key_from_jsonb(row.table, PG_GETARG_JSONB_P(1));
	if (guard_row_exists(row.table, key))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the row is still in table \"%s\"", row.table->table_name),
				 errhint("Delete it first: that is what devices are told.")));

	initStringInfo(&buf);
	modes = value_modes_begin();
	row_key_encode(&buf, row.table, key);
	value_modes_end(modes);
	row.key = buf.data;
	row.keylen = buf.len;

	SPI_connect();
	check_not_waiting(&row);
	is_known = purge_tombstone(&row);
	is_known |= purge_records(&row) > 0;
	if (!is_known)
		ereport(ERROR,
				(errcode(ERRCODE_NO_DATA_FOUND),
				 errmsg("nothing is known of such a row of table \"%s\"",
						row.table->table_name)));
	SPI_finish();
	PG_RETURN_VOID();
}

/*
 * The deletion gets the present position, with the same clock, so that whoever was not
 * told of it is, and the others once more.
 */
static bool
purge_tombstone(const PurgedRow *row)
{
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	Tombstone	tombstone;
	Datum		image = DirectFunctionCall1(jsonb_in, CStringGetDatum("null"));

	tombstone_fetch(row->table->table_id, 1, &row->key, &row->keylen, snapshot,
					&tombstone);
	UnregisterSnapshot(snapshot);
	if (!tombstone.found)
		return false;
	tombstone_put(row->table->table_id, row->key, row->keylen, tombstone.scope,
				  tombstone.clock, PG_UINT64_MAX, image, false);
	if (tombstone.scope != NULL)
		change_log_add(tombstone.scope, row->table->table_id, row->key, row->keylen);
	return true;
}

/* A change that waits is tried again from the journal, where its values are. */
static void
check_not_waiting(const PurgedRow *row)
{
	Oid			types[] = {INT4OID, BYTEAOID};
	Datum		values[lengthof(types)];

	values[0] = Int32GetDatum(row->table->table_id);
	values[1] = PointerGetDatum(cstring_to_text_with_len(row->key, row->keylen));
	if (execute("SELECT FROM offline_sync.waiting WHERE table_id = $1 AND key = $2",
				lengthof(types), types, values) > 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("changes of the row wait for another one"),
				 errhint("Purge it once they have come to their end, at the latest after offline_sync.pending_timeout.")));
}

/* Conflicts and journal; how many entries were about the row. */
static int64
purge_records(const PurgedRow *row)
{
	Oid			types[] = {INT4OID, BYTEAOID, TIMESTAMPTZOID, TEXTOID};
	Datum		values[lengthof(types)];
	StateUser	saved;
	Portal		portal;
	Oid			name_type = TEXTOID;
	Datum		name = CStringGetTextDatum(row->table->wire_name);
	int64		result;

	values[0] = Int32GetDatum(row->table->table_id);
	values[1] = PointerGetDatum(cstring_to_text_with_len(row->key, row->keylen));
	values[2] = TimestampTzGetDatum(GetCurrentTimestamp());
	values[3] = CStringGetTextDatum(GetUserNameFromId(GetUserId(), false));
	result = (int64) execute(purge_conflicts, lengthof(types), types, values);
	(void) execute(psprintf(purge_answers, extension_schema()), 1, &name_type, &name);

	state_become_owner(&saved);
	portal = SPI_cursor_open_with_args(NULL, "SELECT reconciliation, delta, schema_version FROM offline_sync.journal",
									   0, NULL, NULL, NULL, true, 0);
	state_restore_user(&saved);
	for (;;)
	{
		SPITupleTable *tuptable;

		CHECK_FOR_INTERRUPTS();
		state_become_owner(&saved);
		SPI_cursor_fetch(portal, true, JOURNAL_BATCH);
		state_restore_user(&saved);
		tuptable = SPI_tuptable;
		if (SPI_processed == 0)
			break;
		for (uint64 i = 0; i < tuptable->numvals; i++)
			result += purge_delta(row, tuptable->vals[i], tuptable->tupdesc);
		SPI_freetuptable(tuptable);
	}
	SPI_cursor_close(portal);
	return result;
}

/* One journal row; true: it had changes of the row. */
static bool
purge_delta(const PurgedRow *row, HeapTuple tuple, TupleDesc desc)
{
	Oid			types[] = {UUIDOID, SPI_gettypeid(desc, 2), INT8ARRAYOID};
	Datum		values[lengthof(types)];
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext,
												  "offline_sync purge",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	DeltaData  *delta;
	DeltaReader reader;
	DeltaChange change;
	PurgedChange candidate;
	bool	   *is_stripped;
	Datum	   *seqs;
	int			nseqs = 0;
	bool		isnull;

	values[0] = SPI_getbinval(tuple, desc, 1, &isnull);
	delta = DatumGetDeltaP(SPI_getbinval(tuple, desc, 2, &isnull));
	memset(&change, 0, sizeof(change));
	delta_reader_init(&reader, delta);
	candidate.row = row;
	candidate.schema_version = DatumGetInt32(SPI_getbinval(tuple, desc, 3, &isnull));
	candidate.reader = &reader;
	candidate.change = &change;
	is_stripped = palloc0(Max(reader.header.nchanges, 1) * sizeof(bool));
	seqs = palloc(Max(reader.header.nchanges, 1) * sizeof(Datum));
	for (int n = 0; delta_reader_next(&reader, &change); n++)
	{
		CHECK_FOR_INTERRUPTS();
		is_stripped[n] = change.table >= 0 && names_table(&candidate) &&
			value_attempt(is_of_row, &candidate);
		if (is_stripped[n])
			seqs[nseqs++] = Int64GetDatum(change.seq);
	}
	if (nseqs > 0)
	{
		values[1] = PointerGetDatum(delta_strip(delta, is_stripped));
		values[2] = PointerGetDatum(construct_array(seqs, nseqs, INT8OID, 8, true,
													TYPALIGN_DOUBLE));
		(void) execute(purge_journal, lengthof(types), types, values);
	}
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
	return nseqs > 0;
}

/* Most changes are of other tables, and not worth a subtransaction. */
static bool
names_table(const PurgedChange *c)
{
	const DeltaName *name = &c->reader->tables[c->change->table];
	const char *wire_name = c->row->table->wire_name;

	return name->len == strlen(wire_name) &&
		memcmp(name->data, wire_name, name->len) == 0;
}

/* Is it a change of this row?  For value_attempt: a key that its column's type does
 * not accept is no row's. */
static bool
is_of_row(void *arg)
{
	PurgedChange *c = arg;
	const PurgedRow *row = c->row;
	SyncTable  *t = row->table;
	StringInfoData buf;

	initStringInfo(&buf);
	return table_version_key(t, table_version_open(t, c->schema_version),
							 c->reader, c->change, &buf) &&
		buf.len == row->keylen && memcmp(buf.data, row->key, buf.len) == 0;
}

/*
 * As the owner of the state; the number of rows.  Functions and operators are the
 * server's: those of the extension's schema, which others may create in, could fit the
 * arguments better.
 */
static uint64
execute(const char *command, int nargs, Oid *types, Datum *values)
{
	MemoryContext context = CurrentMemoryContext;
	StateUser	saved;
	int			rc;

	state_become_owner(&saved);
	(void) set_config_option("search_path", "pg_catalog, pg_temp", PGC_USERSET,
							 PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	rc = SPI_execute_with_args(command, nargs, types, values, NULL, false, 0);
	state_restore_user(&saved);
	if (rc < 0)
		elog(ERROR, "SPI_execute_with_args failed: %s", SPI_result_code_string(rc));
	MemoryContextSwitchTo(context); /* SPI left its own */
	return SPI_processed;
}
