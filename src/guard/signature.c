/*-------------------------------------------------------------------------
 *
 * signature.c
 *	  Signed deltas: Ed25519 over the canonical bytes, and the keys of devices.
 *
 * The signature covers replica and seqs, so that one made for another device, or for
 * other changes, does not fit; that a delta which was stored is sent again does nothing,
 * signed or not.  During a rotation two keys are good: the present one, and the previous
 * one until its time has come.
 *
 * The algorithm is libcrypto's (EVP, RFC 8032 pure Ed25519).  What it leaves in its queue
 * of errors is taken away: the server's own connections look there.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <openssl/err.h>
#include <openssl/evp.h>

#include "access/xact.h"
#include "access/xlog.h"
#include "compat.h"
#include "fmgr.h"
#include "guard/signature.h"
#include "miscadmin.h"
#include "registry/device_row.h"
#include "types/uuid_text.h"
#include "utils/fmgrprotos.h"
#include "utils/timestamp.h"

#define SIGNATURE_PREFIX		"ed25519:"
#define SIGNATURE_PREFIX_SIZE	8
#define SIGNATURE_SIZE			64
#define SIGNATURE_BASE64_SIZE	86	/* digits, without "==" */

static bool set_problem(SealProblem *problem, const char *reason, int sqlstate,
						const char *message);
static bool decode_signature(const char *text, unsigned char *signature);
static int	base64_digit(char c);
static bool is_signed_by(const unsigned char *key, const unsigned char *signature,
						 const StringInfoData *bytes);
static SyncDevice *lock_device(FunctionCallInfo fcinfo, const char *function);
static Datum key_datum(const unsigned char *key);

PG_FUNCTION_INFO_V1(sync_rotate_key);
PG_FUNCTION_INFO_V1(sync_require_signature);

bool
signature_check(const SyncDevice *device, const DeltaData *delta,
				const DeltaHeader *header, SealProblem *problem)
{
	bool		has_key = device->public_key != NULL;
	StringInfoData bytes;
	char		checksum[DELTA_CHECKSUM_SIZE];
	unsigned char signature[SIGNATURE_SIZE];
	bool		is_good;

	if (header->signature == NULL && device->must_sign)
		return set_problem(problem, "signature_required",
						   ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION,
						   "delta is not signed, but this device has to sign");
	if (header->checksum == NULL &&
		(header->signature == NULL || (!has_key && !device->must_sign)))
		return true;

	initStringInfo(&bytes);
	delta_canonical_bytes(&bytes, delta);
	if (header->checksum != NULL)
	{
		delta_bytes_checksum(bytes.data, bytes.len, checksum);
		if (strcmp(checksum, header->checksum) != 0)
			return set_problem(problem, "bad_checksum", ERRCODE_DATA_EXCEPTION,
							   psprintf("delta has checksum \"%s\", but its content has \"%s\"",
										header->checksum, checksum));
	}
	if (header->signature != NULL && (has_key || device->must_sign))
	{
		is_good = decode_signature(header->signature, signature) &&
			((has_key && is_signed_by(device->public_key, signature, &bytes)) ||
			 (device->previous_key != NULL &&
			  device->previous_key_until > GetCurrentTimestamp() &&
			  is_signed_by(device->previous_key, signature, &bytes)));
		if (!is_good)
			return set_problem(problem, "bad_signature",
							   ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION,
							   "signature is not one of this delta by the device's key");
	}
	pfree(bytes.data);
	return true;
}

static bool
set_problem(SealProblem *problem, const char *reason, int sqlstate,
			const char *message)
{
	problem->reason = reason;
	problem->sqlstate = sqlstate;
	problem->message = message;
	return false;
}

/* Exactly 64 bytes in hex, or in base64 (either alphabet, padded or not). */
static bool
decode_signature(const char *text, unsigned char *signature)
{
	const char *digits = text +SIGNATURE_PREFIX_SIZE;
	int			len = strlen(digits);
	bool		is_hex = len == 2 * SIGNATURE_SIZE;
	uint32		bits = 0;
	int			nbits = 0;
	int			n = 0;

	Assert(strncmp(text, SIGNATURE_PREFIX, SIGNATURE_PREFIX_SIZE) == 0);
	if (len == SIGNATURE_BASE64_SIZE + 2 &&
		strcmp(digits + SIGNATURE_BASE64_SIZE, "==") == 0)
		len = SIGNATURE_BASE64_SIZE;
	if (!is_hex && len != SIGNATURE_BASE64_SIZE)
		return false;

	for (int i = 0; i < len; i++)
	{
		int			digit = is_hex ? hex_digit(digits[i]) : base64_digit(digits[i]);

		if (digit < 0)
			return false;
		bits = (bits << (is_hex ? 4 : 6)) | digit;
		nbits += is_hex ? 4 : 6;
		if (nbits >= 8)
		{
			nbits -= 8;
			signature[n++] = (unsigned char) (bits >> nbits);
			bits &= (1 << nbits) - 1;
		}
	}
	Assert(n == SIGNATURE_SIZE);
	return bits == 0;
}

static int
base64_digit(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	if (c == '+' || c == '-')
		return 62;
	if (c == '/' || c == '_')
		return 63;
	return -1;
}

/* Nothing in here raises before all is given back, since it is not palloc'd. */
static bool
is_signed_by(const unsigned char *key, const unsigned char *signature,
			 const StringInfoData *bytes)
{
	EVP_PKEY   *pkey;
	EVP_MD_CTX *context = NULL;
	bool		is_ready = false;
	bool		is_good = false;

	pkey = EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, key,
									   ED25519_KEY_SIZE);
	if (pkey != NULL)
		context = EVP_MD_CTX_new();
	if (context != NULL)
		is_ready = EVP_DigestVerifyInit(context, NULL, NULL, NULL, pkey) == 1;
	if (is_ready)
		is_good = EVP_DigestVerify(context, signature, SIGNATURE_SIZE,
								   (const unsigned char *) bytes->data,
								   bytes->len) == 1;
	EVP_MD_CTX_free(context);
	EVP_PKEY_free(pkey);
	ERR_clear_error();

	if (!is_ready)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("could not verify an Ed25519 signature"),
				 errhint("The server's OpenSSL library, or its configuration, does not offer the algorithm.")));
	return is_good;
}

/* ---- the keys ---- */

/*
 * sync_rotate_key(device uuid, new_key bytea, overlap interval)
 *
 * Given the key that is there already, it only lets the previous one end earlier: so
 * the call may be repeated, and an overlap be ended.
 */
Datum
sync_rotate_key(PG_FUNCTION_ARGS)
{
	SyncDevice *device = lock_device(fcinfo, "sync_rotate_key()");
	bytea	   *key = PG_ARGISNULL(1) ? NULL : PG_GETARG_BYTEA_PP(1);
	TimestampTz now = GetCurrentTimestamp();
	TimestampTz until = now;
	DeviceRowChange change = {0};

	if (key == NULL || PG_ARGISNULL(2))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("new_key and overlap must not be null")));
	device_row_check_key(key);
	until = DatumGetTimestampTz(DirectFunctionCall2(timestamptz_pl_interval,
													TimestampTzGetDatum(now),
													PG_GETARG_DATUM(2)));
	if (until < now)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("overlap must not be negative")));

	if (device->public_key != NULL &&
		memcmp(device->public_key, VARDATA_ANY(key), ED25519_KEY_SIZE) == 0)
		until = Min(until, device->previous_key_until);
	else
	{
		device->previous_key = device->public_key;
		device_row_set(&change, ANUM_DEVICE_PUBLIC_KEY, PointerGetDatum(key));
	}

	if (device->previous_key != NULL && until > now)
	{
		device_row_set(&change, ANUM_DEVICE_PREVIOUS_KEY,
					   key_datum(device->previous_key));
		device_row_set(&change, ANUM_DEVICE_PREVIOUS_KEY_UNTIL,
					   TimestampTzGetDatum(until));
	}
	else
	{
		device_row_set_null(&change, ANUM_DEVICE_PREVIOUS_KEY);
		device_row_set_null(&change, ANUM_DEVICE_PREVIOUS_KEY_UNTIL);
	}
	device_row_update(device, &change);
	PG_RETURN_VOID();
}

/*
 * sync_require_signature(device uuid, required boolean)
 */
Datum
sync_require_signature(PG_FUNCTION_ARGS)
{
	SyncDevice *device = lock_device(fcinfo, "sync_require_signature()");
	DeviceRowChange change = {0};

	if (PG_ARGISNULL(1))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("required must not be null")));
	if (PG_GETARG_BOOL(1) && device->public_key == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("device \"%s\" has no public key",
						device_row_uuid_text(&device->uuid)),
				 errhint("Give it one with sync_rotate_key first.")));
	device_row_set(&change, ANUM_DEVICE_REQUIRE_SIGNATURE,
				   BoolGetDatum(PG_GETARG_BOOL(1)));
	device_row_update(device, &change);
	PG_RETURN_VOID();
}

/* The device that the first argument names. */
static SyncDevice *
lock_device(FunctionCallInfo fcinfo, const char *function)
{
	SyncDevice *device;

	PreventCommandDuringRecovery(function);
	PreventCommandIfReadOnly(function);
	if (PG_ARGISNULL(0))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("device must not be null")));
	device = device_row_find(PG_GETARG_UUID_P(0), true);
	if (device == NULL)
		device_row_unknown(PG_GETARG_UUID_P(0));
	if (device->is_revoked)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("device \"%s\" has been revoked",
						device_row_uuid_text(&device->uuid))));
	return device;
}

static Datum
key_datum(const unsigned char *key)
{
	bytea	   *result = palloc(VARHDRSZ + ED25519_KEY_SIZE);

	SET_VARSIZE(result, VARHDRSZ + ED25519_KEY_SIZE);
	memcpy(VARDATA(result), key, ED25519_KEY_SIZE);
	return PointerGetDatum(result);
}
