/*-------------------------------------------------------------------------
 *
 * worker.c
 *	  A background worker that does what any scheduler could: processes the
 *	  queue, sends notices, tries waiting changes again, and cleans up.
 *
 * It calls the functions that everybody else calls, each in a transaction of its own
 * and in bounded batches, and sleeps outside of any.  What fails is logged and
 * tried again after a delay that doubles, while the other tasks go on.
 *
 * It runs as the bootstrap superuser under the settings of its database.  What is processed
 * from the queue has the rights of those who submitted it.  Names in its own statements
 * are qualified, so search_path is left to the code that they set off.
 *
 * Somebody who drops or copies the database waits for five seconds until nobody
 * else is connected, and holds a lock on the database by which the worker knows
 * that it is in the way.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_database.h"
#include "catalog/pg_extension.h"
#include "commands/extension.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "offline_sync.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "registry/table_build.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/lmgr.h"
#include "storage/lock.h"
#include "tcop/tcopprot.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"
#include "worker/worker.h"

/* what one transaction may do */
#define BATCH_DELTAS		100
#define BATCH_CHANGES		1000
#define BATCH_ROWS			1000

/* milliseconds: the longest sleep, so that nobody who wants the database alone
 * waits in vain */
#define MAX_SLEEP			1000
#define MIN_FAILURE_DELAY	1000

typedef struct WorkerTask
{
	const char *call;			/* of the extension's function */
	const int  *interval;		/* milliseconds, from one time to the next */
	const char *result;			/* a column, int8 or boolean: more than 0, or
								 * true in any row, means to go on at once;
								 * NULL: none */
	TimestampTz due_at;
	int			delay;			/* after a failure; 0: the last time was none */
} WorkerTask;

/* the first one is what every worker does */
static WorkerTask tasks[] = {
	{"sync_process_queue(" CppAsString2(BATCH_DELTAS) ")", &sync_worker_naptime, "processed"},
	{"sync_send_notices()", &sync_worker_naptime, NULL},
	{"sync_retry_pending(" CppAsString2(BATCH_CHANGES) ")", &sync_maintenance_interval, NULL},
	{"sync_maintenance(" CppAsString2(BATCH_ROWS) ")", &sync_maintenance_interval, "more"}
};

static void leave_if_in_the_way(void);
static long run_tasks(int ntasks, MemoryContext context);
static void run_task(WorkerTask *task, MemoryContext context);
static bool call_task(const WorkerTask *task);
static bool has_more(const char *column);
static char *extension_schema_name(void);

void
sync_worker_main(Datum main_arg)
{
	int			ntasks = DatumGetInt32(main_arg) == 0 ? lengthof(tasks) : 1;
	MemoryContext context;

	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnection(MyBgworkerEntry->bgw_extra, NULL, 0);
	ereport(LOG,
			(errmsg("offline_sync worker for database \"%s\" started",
					MyBgworkerEntry->bgw_extra)));

	context = AllocSetContextCreate(TopMemoryContext, "offline_sync worker",
									ALLOCSET_DEFAULT_SIZES);
	for (;;)
	{
		long		timeout;

		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
		if (ConfigReloadPending)
		{
			ConfigReloadPending = false;
			ProcessConfigFile(PGC_SIGHUP);
		}
		leave_if_in_the_way();
		MemoryContextSwitchTo(context);
		MemoryContextReset(context);
		timeout = run_tasks(ntasks, context);
		if (timeout > 0)
			(void) WaitLatch(MyLatch,
							 WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
							 timeout, PG_WAIT_EXTENSION);
	}
}

/* The launcher starts another worker later, if the database is still there. */
static void
leave_if_in_the_way(void)
{
	LOCKTAG		tag;
	bool		is_wanted;

	StartTransactionCommand();
	SET_LOCKTAG_OBJECT(tag, InvalidOid, DatabaseRelationId, MyDatabaseId, 0);
	is_wanted = LockAcquire(&tag, RowExclusiveLock, false, true) ==
		LOCKACQUIRE_NOT_AVAIL;
	CommitTransactionCommand();
	if (is_wanted)
	{
		ereport(LOG,
				(errmsg("offline_sync worker leaves database \"%s\", which somebody wants to have alone",
						MyBgworkerEntry->bgw_extra)));
		proc_exit(0);
	}
}

/* Run what is due; returns when to run again, in milliseconds. */
static long
run_tasks(int ntasks, MemoryContext context)
{
	TimestampTz next = DT_NOEND;

	for (int i = 0; i < ntasks; i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (tasks[i].due_at <= GetCurrentTimestamp())
			run_task(&tasks[i], context);
		next = Min(next, tasks[i].due_at);
	}
	return Min(TimestampDifferenceMilliseconds(GetCurrentTimestamp(), next), MAX_SLEEP);
}

static void
run_task(WorkerTask *task, MemoryContext context)
{
	volatile bool is_again = false;

	PG_TRY();
	{
		is_again = call_task(task);
		task->delay = 0;
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		HOLD_INTERRUPTS();
		EmitErrorReport();
		FlushErrorState();
		AbortOutOfAnyTransaction();
		MemoryContextSwitchTo(context);
		task->delay = Min(Max(2 * task->delay, MIN_FAILURE_DELAY), WORKER_MAX_DELAY);
		RESUME_INTERRUPTS();
	}
	PG_END_TRY();

	debug_query_string = NULL;
	pgstat_report_stat(true);
	pgstat_report_activity(STATE_IDLE, NULL);
	task->due_at = GetCurrentTimestamp();
	if (!is_again)
		task->due_at = TimestampTzPlusMilliseconds(task->due_at,
												   Max(*task->interval, task->delay));
}

/* In a transaction of its own.  Where the extension is not installed (any more),
 * there is nothing to do. */
static bool
call_task(const WorkerTask *task)
{
	bool		result = false;
	char	   *schema;

	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
	schema = extension_schema_name();
	if (schema != NULL)
	{
		char	   *command = psprintf("SELECT * FROM %s.%s", quote_identifier(schema),
									   task->call);

		debug_query_string = command;
		pgstat_report_activity(STATE_RUNNING, command);
		SPI_connect();
		if (SPI_execute(command, false, 0) != SPI_OK_SELECT)
			elog(ERROR, "could not execute %s", command);
		result = has_more(task->result);
		SPI_finish();
	}
	PopActiveSnapshot();
	CommitTransactionCommand();
	return result;
}

static bool
has_more(const char *column)
{
	int			number;

	if (column == NULL)
		return false;
	number = SPI_fnumber(SPI_tuptable->tupdesc, column);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		bool		isnull;
		Datum		value = SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc,
										  number, &isnull);

		if (isnull)
			continue;
		if (SPI_gettypeid(SPI_tuptable->tupdesc, number) == BOOLOID ?
			DatumGetBool(value) : DatumGetInt64(value) > 0)
			return true;
	}
	return false;
}

/*
 * NULL where the extension is not there.  It stays until the transaction ends: else somebody
 * else's function of that name might be what is called.
 */
static char *
extension_schema_name(void)
{
	Oid			extension = get_extension_oid("offline_sync", true);
	RegistryOids oids;

	if (!OidIsValid(extension))
		return NULL;
	LockDatabaseObject(ExtensionRelationId, extension, 0, AccessShareLock);
	if (get_extension_oid("offline_sync", true) != extension)
		return NULL;
	registry_oids_read(&oids);
	return OidIsValid(oids.schema) ? get_namespace_name(oids.schema) : NULL;
}
