/*-------------------------------------------------------------------------
 *
 * offline_sync.h
 *	  Settings, and what the module entry offers to every room.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OFFLINE_SYNC_H
#define OFFLINE_SYNC_H

/* Settings (offline_sync.*); units as in the name's comment */
extern int	sync_max_clock_skew;	/* milliseconds */
extern int	sync_max_delta_size;	/* kilobytes */
extern int	sync_max_delta_changes; /* changes in one delta */
extern int	sync_max_value_size;	/* kilobytes */
extern int	sync_max_delta_depth;	/* levels of a JSON value */
extern int	sync_device_expiry; /* minutes */
extern int	sync_audit_retention;	/* minutes */
extern int	sync_pending_timeout;	/* minutes */
extern int	sync_max_pending;	/* changes of one device */
extern int	sync_max_queued;	/* submitted deltas of one device */
extern int	sync_queue_attempts;	/* that fail before quarantine */
extern int	sync_queue_retry_delay; /* milliseconds, after the first one */
extern int	sync_device_rate;	/* changes a second; 0: any number */
extern int	sync_device_burst;	/* changes */
extern bool sync_durable_acks;
extern char *sync_worker_databases; /* a list of names */
extern int	sync_queue_workers; /* in each of them */
extern int	sync_worker_naptime;	/* milliseconds */
extern int	sync_maintenance_interval;	/* milliseconds */

#endif							/* OFFLINE_SYNC_H */
