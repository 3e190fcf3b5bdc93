/*-------------------------------------------------------------------------
 *
 * offline_sync.c
 *	  Module entry: the magic block, the settings, and the rooms' set-up.
 *
 * Nothing here needs shared_preload_libraries: a backend loads the library
 * when it first calls one of our functions.  Settings that protect the server
 * can be changed by a superuser only, since the client that they limit would
 * otherwise lift them for itself.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <limits.h>

#include "fmgr.h"
#include "offline_sync.h"
#include "types/delta.h"
#include "utils/guc.h"
#include "worker/worker.h"

PG_MODULE_MAGIC;

int			sync_max_clock_skew = 5 * 60 * 1000;
int			sync_max_delta_size = 16 * 1024;
int			sync_max_delta_changes = 100000;
int			sync_max_value_size = 8 * 1024;
int			sync_max_delta_depth = 1000;
int			sync_device_expiry = 90 * 24 * 60;
int			sync_audit_retention = 90 * 24 * 60;
int			sync_pending_timeout = 24 * 60;
int			sync_max_pending = 10000;
int			sync_max_queued = 100;
int			sync_queue_attempts = 10;
int			sync_queue_retry_delay = 1000;
int			sync_device_rate = 0;
int			sync_device_burst = 10000;
bool		sync_durable_acks = true;
char *sync_worker_databases = "";
int			sync_queue_workers = 1;
int			sync_worker_naptime = 1000;
int			sync_maintenance_interval = 60 * 1000;

void		_PG_init(void);

void
_PG_init(void)
{
	DefineCustomIntVariable("offline_sync.max_clock_skew",
							"How far a device's clock may be ahead of the server's.",
							"Clocks further ahead are pulled back to this limit; the data is kept.",
							&sync_max_clock_skew,
							5 * 60 * 1000, 0, INT_MAX,
							PGC_SUSET, GUC_UNIT_MS, NULL, NULL, NULL);
	DefineCustomIntVariable("offline_sync.max_delta_size",
							"Largest delta accepted, in text or in binary form.",
							NULL,
							&sync_max_delta_size,
							16 * 1024, 1, 1024 * 1024 - 1,
							PGC_SUSET, GUC_UNIT_KB, NULL, NULL, NULL);
	DefineCustomIntVariable("offline_sync.max_delta_changes",
							"Largest number of changes accepted in one delta.",
							NULL,
							&sync_max_delta_changes,
							100000, 1, INT_MAX / 1024,
							PGC_SUSET, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("offline_sync.max_value_size",
							"Largest single value accepted in a delta.",
							NULL,
							&sync_max_value_size,
							8 * 1024, 1, 1024 * 1024 - 1,
							PGC_SUSET, GUC_UNIT_KB, NULL, NULL, NULL);
	DefineCustomIntVariable("offline_sync.max_delta_depth",
							"Deepest nesting of a JSON value accepted in a delta.",
							NULL,
							&sync_max_delta_depth,
							1000, 1, DELTA_MAX_DEPTH,
							PGC_SUSET, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("offline_sync.device_expiry",
							"How long a device may be silent before it must start afresh.",
							NULL,
							&sync_device_expiry,
							90 * 24 * 60, 1, INT_MAX,
							PGC_SUSET, GUC_UNIT_MIN, NULL, NULL, NULL);
	DefineCustomIntVariable("offline_sync.audit_retention",
							"How long the journal keeps what devices pushed.",
							NULL,
							&sync_audit_retention,
							90 * 24 * 60, 1, INT_MAX,
							PGC_SUSET, GUC_UNIT_MIN, NULL, NULL, NULL);
	DefineCustomIntVariable("offline_sync.pending_timeout",
							"How long a change may wait for the row that it refers to.",
							NULL,
							&sync_pending_timeout,
							24 * 60, 0, INT_MAX,
							PGC_SUSET, GUC_UNIT_MIN, NULL, NULL, NULL);
	DefineCustomIntVariable("offline_sync.max_pending",
							"Largest number of a device's changes that may wait for rows that they refer to.",
							NULL,
							&sync_max_pending,
							10000, 0, INT_MAX,
							PGC_SUSET, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("offline_sync.max_queued",
							"Largest number of a device's submitted deltas that may wait to be processed.",
							NULL,
							&sync_max_queued,
							100, 0, INT_MAX,
							PGC_SUSET, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("offline_sync.queue_attempts",
							"How often processing a submitted delta may fail before it is quarantined.",
							NULL,
							&sync_queue_attempts,
							10, 1, INT_MAX / 2,
							PGC_SUSET, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("offline_sync.queue_retry_delay",
							"How long to wait after a first failure before a submitted delta is tried again.",
							"The time doubles with each further failure.",
							&sync_queue_retry_delay,
							1000, 0, INT_MAX,
							PGC_SUSET, GUC_UNIT_MS, NULL, NULL, NULL);
	DefineCustomIntVariable("offline_sync.device_rate",
							"How many changes a second a device may push in the long run.",
							"0 means any number.",
							&sync_device_rate,
							0, 0, INT_MAX,
							PGC_SUSET, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("offline_sync.device_burst",
							"How many changes a device may push at once where device_rate limits it.",
							NULL,
							&sync_device_burst,
							10000, 1, INT_MAX,
							PGC_SUSET, 0, NULL, NULL, NULL);
	DefineCustomBoolVariable("offline_sync.durable_acks",
							 "Commits an applied delta synchronously whatever synchronous_commit says.",
							 NULL,
							 &sync_durable_acks,
							 true,
							 PGC_SUSET, 0, NULL, NULL, NULL);

	DefineCustomStringVariable("offline_sync.worker_databases",
							   "Databases in which a background worker runs.",
							   "A list of names.  Needs the library in shared_preload_libraries.",
							   &sync_worker_databases,
							   "",
							   PGC_SIGHUP, GUC_LIST_INPUT,
							   worker_databases_check, NULL, NULL);
	DefineCustomIntVariable("offline_sync.queue_workers",
							"How many background workers process the queue of each of these databases.",
							NULL,
							&sync_queue_workers,
							1, 1, 64,
							PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("offline_sync.worker_naptime",
							"How long a background worker sleeps between looks at the queue and at what has changed.",
							NULL,
							&sync_worker_naptime,
							1000, 1, INT_MAX,
							PGC_SIGHUP, GUC_UNIT_MS, NULL, NULL, NULL);
	DefineCustomIntVariable("offline_sync.maintenance_interval",
							"How long a background worker waits before it cleans up again.",
							NULL,
							&sync_maintenance_interval,
							60 * 1000, 1000, INT_MAX,
							PGC_SIGHUP, GUC_UNIT_MS, NULL, NULL, NULL);

	MarkGUCPrefixReserved("offline_sync");
	worker_init();
}
