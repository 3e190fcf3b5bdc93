/*-------------------------------------------------------------------------
 *
 * worker.h
 *	  The optional background workers: a launcher, and one worker for each
 *	  database that offline_sync.worker_databases names.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OFFLINE_SYNC_WORKER_H
#define OFFLINE_SYNC_WORKER_H

#include "fmgr.h"
#include "utils/guc.h"

/* The longest wait after failures, in milliseconds */
#define WORKER_MAX_DELAY	(5 * 60 * 1000)

/* Register the launcher where the library is being preloaded; else do nothing. */
extern void worker_init(void);

/* Is the text a list of names?  offline_sync.worker_databases */
extern bool worker_databases_check(char **newval, void **extra, GucSource source);

/* Entry points of the processes; bgw_extra of a worker is its database's name, the
 * argument its number there: those from 1 on only process the queue */
extern PGDLLEXPORT void sync_launcher_main(Datum main_arg);
extern PGDLLEXPORT void sync_worker_main(Datum main_arg);

#endif							/* OFFLINE_SYNC_WORKER_H */
