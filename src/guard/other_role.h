/*-------------------------------------------------------------------------
 *
 * other_role.h
 *	  Acting with the rights of the role that sent something earlier.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OFFLINE_SYNC_OTHER_ROLE_H
#define OFFLINE_SYNC_OTHER_ROLE_H

#include "utils/elog.h"

/* Whose rights and settings held before */
typedef struct OtherRole
{
	Oid			user;
	int			sec_context;
	int			guc_nestlevel;
} OtherRole;

/* Is it the present user, or one that he could SET ROLE to? */
extern bool other_role_is_allowed(Oid role);

/*
 * Become that role.  If it is another one, in a security-restricted operation, so that
 * code that runs with its rights leaves nothing behind that would run with those of the
 * present user.  lock_timeout NULL: as it is.  Undone, settings included, by
 * other_role_restore, or by an error together with the subtransaction or transaction.
 */
extern void other_role_become(OtherRole *saved, Oid role,
							  const char *lock_timeout);
extern void other_role_restore(const OtherRole *saved);

/* Was something refused only because of that restriction? */
extern bool other_role_was_restricted(const ErrorData *edata);

#endif							/* OFFLINE_SYNC_OTHER_ROLE_H */
