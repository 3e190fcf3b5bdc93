/*-------------------------------------------------------------------------
 *
 * intent.h
 *	  Intents: names by which devices call functions of the server.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OFFLINE_SYNC_INTENT_H
#define OFFLINE_SYNC_INTENT_H

#define SYNC_INTENT_MAX_NAME	255 /* bytes */

/* A registered intent; the handler by name, resolved when it is called. */
typedef struct SyncIntent
{
	char	   *name;
	char	   *schema_name;
	char	   *function_name;
} SyncIntent;

/* The registration of a name as it is now, palloc'd; NULL: none. */
extern SyncIntent *sync_intent_find(const char *name, int len);

/* May the current user call the handler, and is there one to call? */
typedef enum SyncHandlerState
{
	HANDLER_IS_CALLABLE,
	HANDLER_IS_MISSING,
	HANDLER_IS_UNFIT,			/* it returns something else than it should */
	HANDLER_IS_DENIED			/* no EXECUTE, or no USAGE of its schema */
} SyncHandlerState;

extern SyncHandlerState sync_intent_handler(const SyncIntent *intent, Oid *handler);

#endif							/* OFFLINE_SYNC_INTENT_H */
