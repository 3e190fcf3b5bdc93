/*-------------------------------------------------------------------------
 *
 * rate.c
 *	  How fast a device may push: a token bucket in its row.
 *
 * The bucket holds offline_sync.device_burst changes and is filled with
 * offline_sync.device_rate a second.  Every delta takes as many as it has changes, and
 * one if it has none, whatever becomes of it: refusing costs the server work, too.  What
 * is stored is the time when the bucket will be full again, which says the same as its
 * level does, and stays right when the settings change.
 *
 * A delta with more changes than a full bucket holds may pass when the bucket is full,
 * else it never could; it leaves a debt.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "guard/rate.h"
#include "offline_sync.h"
#include "utils/timestamp.h"

static int64 fill_time(int64 nchanges);
static int64 missing_time(const SyncDevice *device, TimestampTz now);

int64
rate_wait(const SyncDevice *device, int nchanges)
{
	int64		room;

	if (sync_device_rate == 0)
		return 0;
	room = fill_time(sync_device_burst) -
		fill_time(Min(Max(nchanges, 1), sync_device_burst));
	return Max(missing_time(device, GetCurrentTimestamp()) - room, 0);
}

void
rate_take(SyncDevice *device, int nchanges)
{
	TimestampTz now = GetCurrentTimestamp();

	if (sync_device_rate == 0)
		return;
	device->bucket_full_at = now + missing_time(device, now) +
		fill_time(Max(nchanges, 1));
	sync_device_set_bucket(device);
}

char *
rate_message(int nchanges, int64 wait)
{
	return psprintf("%d changes exceed what the device may push now: offline_sync.device_rate allows %d a second, offline_sync.device_burst %d at once; try again in " INT64_FORMAT " s",
					nchanges, sync_device_rate, sync_device_burst,
					(wait + USECS_PER_SEC - 1) / USECS_PER_SEC);
}

/* How long it takes to fill in so many, in microseconds. */
static int64
fill_time(int64 nchanges)
{
	return nchanges * USECS_PER_SEC / sync_device_rate;
}

/* How long it takes until the bucket is full.  Never longer than the largest debt takes,
 * so that a clock which was ahead for a while shuts nobody out. */
static int64
missing_time(const SyncDevice *device, TimestampTz now)
{
	int64		missing = Max(device->bucket_full_at - now, 0);

	return Min(missing, fill_time((int64) sync_device_burst + sync_max_delta_changes));
}
