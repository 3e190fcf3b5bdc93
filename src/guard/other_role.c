/*-------------------------------------------------------------------------
 *
 * other_role.c
 *	  Acting with the rights of the role that sent something earlier.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "compat.h"
#include "guard/other_role.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/guc.h"

bool
other_role_is_allowed(Oid role)
{
	return role == GetUserId() || compat_can_set_role(GetUserId(), role);
}

void
other_role_become(OtherRole *saved, Oid role, const char *lock_timeout)
{
	int			sec_context;

	GetUserIdAndSecContext(&saved->user, &saved->sec_context);
	sec_context = saved->sec_context;
	if (role != saved->user)
		sec_context |= SECURITY_LOCAL_USERID_CHANGE | SECURITY_RESTRICTED_OPERATION;
	SetUserIdAndSecContext(role, sec_context);
	saved->guc_nestlevel = NewGUCNestLevel();
	if (lock_timeout != NULL)
		(void) set_config_option("lock_timeout", lock_timeout, PGC_USERSET,
								 PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
}

void
other_role_restore(const OtherRole *saved)
{
	AtEOXact_GUC(false, saved->guc_nestlevel);
	SetUserIdAndSecContext(saved->user, saved->sec_context);
}

/*
 * The server's messages about it share a code with other lack of privilege; what tells
 * them apart is the untranslated text, which code in SQL cannot choose.
 */
bool
other_role_was_restricted(const ErrorData *edata)
{
	return edata->sqlerrcode == ERRCODE_INSUFFICIENT_PRIVILEGE &&
		edata->message_id != NULL &&
		strstr(edata->message_id, "security-restricted operation") != NULL;
}
