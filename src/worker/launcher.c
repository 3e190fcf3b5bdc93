/*-------------------------------------------------------------------------
 *
 * launcher.c
 *	  Keeps offline_sync.queue_workers workers running in each database that
 *	  offline_sync.worker_databases names.
 *
 * It is connected to no database, and so in nobody's way; it reads pg_database only, to
 * leave alone what does not exist (yet).  A worker that has ended, for whatever
 * reason, is started again after a delay that doubles while it does not last.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_database.h"
#include "miscadmin.h"
#include "offline_sync.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/varlena.h"
#include "utils/wait_event.h"
#include "worker/worker.h"

/* milliseconds */
#define MIN_DELAY			1000
#define LASTING				60000	/* a worker that ran so long was no
									 * failure */
#define NO_DATABASE_DELAY	10000
#define CHECK_INTERVAL		60000

/* A database of the list, and its worker */
typedef struct WorkerSlot
{
	char		database[NAMEDATALEN];
	int			number;			/* in its database, from 0 */
	bool		is_listed;
	BackgroundWorkerHandle *handle; /* NULL: none is running */
	TimestampTz started_at;
	TimestampTz start_at;		/* not before */
	int			delay;			/* milliseconds, after the next failure */
} WorkerSlot;

static List *slots = NIL;

static void read_list(void);
static WorkerSlot *find_slot(const char *database, int number);
static void remove_slot(WorkerSlot *slot);
static long tend_slots(void);
static void tend_slot(WorkerSlot *slot, TimestampTz now);
static void start_worker(WorkerSlot *slot, TimestampTz now);
static bool database_exists(const char *name);
static void stop_all(int code, Datum arg);

void
worker_init(void)
{
	BackgroundWorker worker = {0};

	if (!process_shared_preload_libraries_in_progress)
		return;
	worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker.bgw_restart_time = 10;
	strlcpy(worker.bgw_name, "offline_sync launcher", sizeof(worker.bgw_name));
	strlcpy(worker.bgw_type, "offline_sync launcher", sizeof(worker.bgw_type));
	strlcpy(worker.bgw_library_name, "offline_sync", sizeof(worker.bgw_library_name));
	strlcpy(worker.bgw_function_name, "sync_launcher_main",
			sizeof(worker.bgw_function_name));
	RegisterBackgroundWorker(&worker);
}

bool
worker_databases_check(char **newval, void **extra, GucSource source)
{
	char	   *copy = pstrdup(*newval);
	List	   *names;
	bool		is_valid = SplitIdentifierString(copy, ',', &names);

	if (!is_valid)
		GUC_check_errdetail("List syntax is invalid.");
	list_free(names);
	pfree(copy);
	return is_valid;
}

void
sync_launcher_main(Datum main_arg)
{
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnection(NULL, NULL, 0);
	before_shmem_exit(stop_all, (Datum) 0);

	read_list();
	for (;;)
	{
		long		timeout;

		CHECK_FOR_INTERRUPTS();
		if (ConfigReloadPending)
		{
			ConfigReloadPending = false;
			ProcessConfigFile(PGC_SIGHUP);
			read_list();
		}
		timeout = tend_slots();
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 timeout, PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
	}
}

/* Make the slots those of the setting. */
static void
read_list(void)
{
	MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);
	char	   *copy = pstrdup(sync_worker_databases);
	List	   *names = NIL;
	ListCell   *cell;

	foreach(cell, slots)
		((WorkerSlot *) lfirst(cell))->is_listed = false;
	(void) SplitIdentifierString(copy, ',', &names);
	foreach(cell, names)
	{
		for (int i = 0; i < sync_queue_workers; i++)
			find_slot(lfirst(cell), i)->is_listed = true;
	}
	foreach(cell, slots)
	{
		WorkerSlot *slot = lfirst(cell);

		if (!slot->is_listed)
		{
			slots = foreach_delete_current(slots, cell);
			remove_slot(slot);
		}
	}
	list_free(names);
	pfree(copy);
	MemoryContextSwitchTo(old);
}

/* Made where it is not there. */
static WorkerSlot *
find_slot(const char *database, int number)
{
	WorkerSlot *fresh;
	ListCell   *cell;

	foreach(cell, slots)
	{
		WorkerSlot *slot = lfirst(cell);

		if (strcmp(slot->database, database) == 0 && slot->number == number)
			return slot;
	}
	fresh = palloc0(sizeof(WorkerSlot));
	strlcpy(fresh->database, database, NAMEDATALEN);
	fresh->number = number;
	fresh->delay = MIN_DELAY;
	slots = lappend(slots, fresh);
	return fresh;
}

static void
remove_slot(WorkerSlot *slot)
{
	if (slot->handle != NULL)
	{
		TerminateBackgroundWorker(slot->handle);
		pfree(slot->handle);
	}
	pfree(slot);
}

/* Look after all workers; returns when to look again, in milliseconds. */
static long
tend_slots(void)
{
	TimestampTz now = GetCurrentTimestamp();
	long		result = CHECK_INTERVAL;
	ListCell   *cell;

	foreach(cell, slots)
	{
		WorkerSlot *slot = lfirst(cell);

		tend_slot(slot, now);
		if (slot->handle == NULL)
			result = Min(result, TimestampDifferenceMilliseconds(now, slot->start_at));
	}
	return Max(result, 10);
}

static void
tend_slot(WorkerSlot *slot, TimestampTz now)
{
	pid_t		pid;

	if (slot->handle != NULL &&
		GetBackgroundWorkerPid(slot->handle, &pid) == BGWH_STOPPED)
	{
		pfree(slot->handle);
		slot->handle = NULL;
		if (TimestampDifferenceExceeds(slot->started_at, now, LASTING))
			slot->delay = MIN_DELAY;
		slot->start_at = TimestampTzPlusMilliseconds(now, slot->delay);
		slot->delay = Min(2 * slot->delay, WORKER_MAX_DELAY);
	}
	if (slot->handle == NULL && slot->start_at <= now)
		start_worker(slot, now);
}

static void
start_worker(WorkerSlot *slot, TimestampTz now)
{
	BackgroundWorker worker = {0};
	MemoryContext old;

	if (!database_exists(slot->database))
	{
		slot->start_at = TimestampTzPlusMilliseconds(now, NO_DATABASE_DELAY);
		return;
	}
	worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker.bgw_restart_time = BGW_NEVER_RESTART;
	worker.bgw_notify_pid = MyProcPid;
	snprintf(worker.bgw_name, sizeof(worker.bgw_name), "offline_sync worker for %s",
			 slot->database);
	strlcpy(worker.bgw_type, "offline_sync worker", sizeof(worker.bgw_type));
	strlcpy(worker.bgw_library_name, "offline_sync", sizeof(worker.bgw_library_name));
	strlcpy(worker.bgw_function_name, "sync_worker_main",
			sizeof(worker.bgw_function_name));
	strlcpy(worker.bgw_extra, slot->database, sizeof(worker.bgw_extra));
	worker.bgw_main_arg = Int32GetDatum(slot->number);

	old = MemoryContextSwitchTo(TopMemoryContext);
	if (RegisterDynamicBackgroundWorker(&worker, &slot->handle))
		slot->started_at = now;
	else
	{
		slot->handle = NULL;
		slot->start_at = TimestampTzPlusMilliseconds(now, slot->delay);
		slot->delay = Min(2 * slot->delay, WORKER_MAX_DELAY);
		ereport(WARNING,
				(errcode(ERRCODE_INSUFFICIENT_RESOURCES),
				 errmsg("could not start the offline_sync worker for database \"%s\"",
						slot->database),
				 errhint("You might need to increase max_worker_processes.")));
	}
	MemoryContextSwitchTo(old);
}

/* Without a database there are no indexes to look in, as the autovacuum launcher
 * knows. */
static bool
database_exists(const char *name)
{
	bool		result = false;
	Relation	rel;
	TableScanDesc scan;
	HeapTuple	tuple;

	StartTransactionCommand();
	(void) GetTransactionSnapshot();
	rel = table_open(DatabaseRelationId, AccessShareLock);
	scan = table_beginscan_catalog(rel, 0, NULL);
	while (!result &&
		   (tuple = heap_getnext(scan, ForwardScanDirection)) != NULL)
		result = strcmp(NameStr(((Form_pg_database) GETSTRUCT(tuple))->datname),
						name) == 0;
	table_endscan(scan);
	table_close(rel, AccessShareLock);
	CommitTransactionCommand();
	return result;
}

/* When the launcher ends, whoever starts next would not know of its workers. */
static void
stop_all(int code, Datum arg)
{
	ListCell   *cell;

	foreach(cell, slots)
	{
		WorkerSlot *slot = lfirst(cell);

		if (slot->handle != NULL)
			TerminateBackgroundWorker(slot->handle);
	}
}
