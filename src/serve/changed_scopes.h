/*-------------------------------------------------------------------------
 *
 * changed_scopes.h
 *	  Which scopes were written to since a vector, whoever may know.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OFFLINE_SYNC_CHANGED_SCOPES_H
#define OFFLINE_SYNC_CHANGED_SCOPES_H

#include "types/version_vector.h"
#include "utils/hsearch.h"
#include "utils/uuid.h"

/* Everything in the context that was current */
typedef struct ChangedScopes
{
	bool		is_any;			/* anything at all */
	bool		is_all;			/* something that concerns every scope, or
								 * that the vector is of a lost future */
	int			nscopes;
	char	  **scopes;			/* each once, in no order */
	int			ndevices;		/* devices whose grants changed */
	pg_uuid_t  *devices;
	VersionVector *seen;		/* what to ask from the next time */
} ChangedScopes;

/*
 * As the active snapshot sees it.  since NULL: from this moment on.  Costs as many rows
 * of the log as were written since.
 */
extern void changed_scopes_find(const VersionVector *since, ChangedScopes *result);

#endif							/* OFFLINE_SYNC_CHANGED_SCOPES_H */
