/*-------------------------------------------------------------------------
 *
 * notice.c
 *	  sync_channels, sync_send_notices: tell those who LISTEN that there is
 *	  something to pull.
 *
 * A transaction that NOTIFYs takes a lock on the whole cluster until it has committed;
 * where commits wait for the disk, that lets one commit through at a time (16 sessions:
 * 3,500 transactions a second without, 230 with).  So whoever writes does
 * not notify.  One sender looks from time to time which scopes have changed since it
 * looked last, and sends one notice for each, however often it changed.
 *
 * Anybody may LISTEN to anything.  So that only those who may pull a scope learn when it
 * changes, channels have names that nobody else can tell: hashes with a secret
 * of this database.  Notices have no content.
 *
 * A notice is a hint: it may come although there is nothing to pull, and is
 * lost with the connection.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xlog.h"
#include "catalog/pg_type.h"
#include "commands/async.h"
#include "common/cryptohash.h"
#include "common/sha2.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "log/state.h"
#include "miscadmin.h"
#include "registry/device.h"
#include "registry/device_row.h"
#include "serve/changed_scopes.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"

#define SECRET_SIZE		32
#define CHANNEL_PREFIX	"sync_"
#define CHANNEL_BYTES	16
#define CHANNEL_SIZE	(sizeof(CHANNEL_PREFIX) + 2 * CHANNEL_BYTES)

/* what a channel is for */
#define CHANNEL_SCOPE	's'
#define CHANNEL_DEVICE	'd'

static VersionVector *read_state(unsigned char *secret);
static bool move_on(const VersionVector *from, const VersionVector *to);
static uint64 execute(const char *command, const VersionVector *arg, bool read_only);
static void all_scopes(ChangedScopes *changed);
static void channel_name(const unsigned char *secret, char kind, const char *of,
						 char *name);
static void put_channel(ReturnSetInfo *rsinfo, const unsigned char *secret,
						const char *scope, const pg_uuid_t *device);

PG_FUNCTION_INFO_V1(sync_channels);
PG_FUNCTION_INFO_V1(sync_send_notices);

/*
 * sync_channels(device uuid) -> set of (scope, channel)
 */
Datum
sync_channels(PG_FUNCTION_ARGS)
{
	pg_uuid_t  *uuid = PG_GETARG_UUID_P(0);
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	SyncDevice *device = sync_device_get(uuid, false);
	SyncDeviceScope *scopes;
	unsigned char secret[SECRET_SIZE];
	int			nscopes;

	InitMaterializedSRF(fcinfo, 0);
	SPI_connect();
	(void) read_state(secret);
	SPI_finish();
	scopes = sync_device_scopes(uuid, GetActiveSnapshot(), &nscopes);
	put_channel(rsinfo, secret, NULL, uuid);
	for (int i = 0; i < nscopes; i++)
		if (scopes[i].can_pull && !device->is_revoked)
			put_channel(rsinfo, secret, scopes[i].scope, uuid);
	return (Datum) 0;
}

static void
put_channel(ReturnSetInfo *rsinfo, const unsigned char *secret, const char *scope,
			const pg_uuid_t *device)
{
	char		name[CHANNEL_SIZE];
	Datum		values[2];
	bool		nulls[2] = {false};

	if (scope == NULL)
		channel_name(secret, CHANNEL_DEVICE, device_row_uuid_text(device), name);
	else
		channel_name(secret, CHANNEL_SCOPE, scope, name);
	nulls[0] = scope == NULL;
	values[0] = nulls[0] ? (Datum) 0 : CStringGetTextDatum(scope);
	values[1] = CStringGetTextDatum(name);
	tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
}

/*
 * sync_send_notices() -> the number of channels
 *
 * Where nothing has changed, nothing is written.  Of several senders at once one sends.
 */
Datum
sync_send_notices(PG_FUNCTION_ARGS)
{
	unsigned char secret[SECRET_SIZE];
	char		name[CHANNEL_SIZE];
	VersionVector *seen;
	ChangedScopes changed;
	int32		nsent = 0;

	PreventCommandIfReadOnly("sync_send_notices()");
	PreventCommandDuringRecovery("sync_send_notices()");
	SPI_connect();
	seen = read_state(secret);
	changed_scopes_find(seen, &changed);
	if ((changed.is_any || seen == NULL) && move_on(seen, changed.seen))
	{
		if (changed.is_all)
			all_scopes(&changed);
		for (int i = 0; i < changed.nscopes; i++)
		{
			CHECK_FOR_INTERRUPTS();
			channel_name(secret, CHANNEL_SCOPE, changed.scopes[i], name);
			Async_Notify(name, "");
		}
		for (int i = 0; i < changed.ndevices; i++)
		{
			channel_name(secret, CHANNEL_DEVICE,
						 device_row_uuid_text(&changed.devices[i]), name);
			Async_Notify(name, "");
		}
		nsent = changed.nscopes + changed.ndevices;
	}
	SPI_finish();
	PG_RETURN_INT32(nsent);
}

/* What was noticed last; NULL: nothing ever was. */
static VersionVector *
read_state(unsigned char *secret)
{
	bytea	   *value;
	Datum		seen;
	bool		isnull;

	if (execute("SELECT secret, seen FROM offline_sync.notice", NULL, true) != 1)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the row of offline_sync.notice is missing"),
				 errhint("Create the extension offline_sync anew, or restore the row.")));
	value = DatumGetByteaPP(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1,
										  &isnull));
	if (isnull || VARSIZE_ANY_EXHDR(value) != SECRET_SIZE)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("the secret in offline_sync.notice is damaged")));
	memcpy(secret, VARDATA_ANY(value), SECRET_SIZE);
	seen = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 2, &isnull);
	return isnull ? NULL : DatumGetVersionVectorP(seen);
}

/* False: somebody else is about to send the same, or has done so. */
static bool
move_on(const VersionVector *from, const VersionVector *to)
{
	if (execute("SELECT FROM offline_sync.notice WHERE seen IS NOT DISTINCT FROM $1"
				" FOR UPDATE SKIP LOCKED", from, false) == 0)
		return false;
	(void) execute("UPDATE offline_sync.notice SET seen = $1", to, false);
	return true;
}

/* All scopes that a device may pull, instead of those that were found. */
static void
all_scopes(ChangedScopes *changed)
{
	uint64		n = execute("SELECT DISTINCT scope FROM offline_sync.device_scope"
							" WHERE can_pull", NULL, true);

	changed->scopes = palloc_extended(Max(n, 1) * sizeof(char *), MCXT_ALLOC_HUGE);
	changed->nscopes = (int) n;
	for (uint64 i = 0; i < n; i++)
		changed->scopes[i] = SPI_getvalue(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1);
}

/* Run a statement on the state as its owner, $1 the vector (NULL: is NULL); within
 * SPI_connect.  Returns the number of rows. */
static uint64
execute(const char *command, const VersionVector *arg, bool read_only)
{
	Oid			notice = state_index("notice");
	Oid			types[1];
	Datum		values[1];
	StateUser	saved;
	int			result;

	types[0] = get_atttype(notice, get_attnum(notice, "seen"));
	values[0] = VersionVectorPGetDatum(arg);
	state_become_owner(&saved);
	result = SPI_execute_with_args(command, lengthof(types), types, values,
								   arg == NULL ? "n" : NULL, read_only, 0);
	state_restore_user(&saved);
	if (result < 0)
		elog(ERROR, "could not use offline_sync.notice: %s",
			 SPI_result_code_string(result));
	return SPI_processed;
}

static void
channel_name(const unsigned char *secret, char kind, const char *of, char *name)
{
	pg_cryptohash_ctx *sha256 = pg_cryptohash_create(PG_SHA256);
	uint8		hash[PG_SHA256_DIGEST_LENGTH];

	if (sha256 == NULL ||
		pg_cryptohash_init(sha256) < 0 ||
		pg_cryptohash_update(sha256, secret, SECRET_SIZE) < 0 ||
		pg_cryptohash_update(sha256, (const uint8 *) &kind, 1) < 0 ||
		pg_cryptohash_update(sha256, (const uint8 *) of, strlen(of)) < 0 ||
		pg_cryptohash_final(sha256, hash, sizeof(hash)) < 0)
		elog(ERROR, "could not compute SHA-256");
	pg_cryptohash_free(sha256);

	strcpy(name, CHANNEL_PREFIX);
	hex_encode((const char *) hash, CHANNEL_BYTES, name + strlen(CHANNEL_PREFIX));
	name[CHANNEL_SIZE - 1] = '\0';
}
