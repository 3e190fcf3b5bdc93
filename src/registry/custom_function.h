/*-------------------------------------------------------------------------
 *
 * custom_function.h
 *	  The function of a column with the policy "custom", from its name.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OFFLINE_SYNC_CUSTOM_FUNCTION_H
#define OFFLINE_SYNC_CUSTOM_FUNCTION_H

#include "registry/table.h"

typedef struct CustomFunction
{
	Oid			oid;
	Oid			argument_type;	/* of current and incoming: the column's type,
								 * what it is a domain over, text for varchar,
								 * or a polymorphic one */
	bool		is_strict;
} CustomFunction;

/* Raise 22023 unless it has the form schema.name. */
extern void custom_function_check_name(const char *name);

/*
 * Find the function (current, incoming, context jsonb) of a column by its name and lock it
 * against being dropped, until the end of the (sub)transaction.  Raises 42883 where there is
 * none, 42P13 where it may not merge values (volatile, another result).
 */
extern void custom_function_find(const char *name, const SyncColumn *column,
								 CustomFunction *function);

/* Raise 42501 unless the current user may execute it. */
extern void custom_function_check_execute(const CustomFunction *function);

#endif							/* OFFLINE_SYNC_CUSTOM_FUNCTION_H */
