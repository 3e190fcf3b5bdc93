/*-------------------------------------------------------------------------
 *
 * table_options.h
 *	  The options and policies that a caller gives as jsonb.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OFFLINE_SYNC_TABLE_OPTIONS_H
#define OFFLINE_SYNC_TABLE_OPTIONS_H

#include "utils/jsonb.h"

typedef struct TableOptions
{
	char	   *wire_name;		/* NULL: from the table's name */
	char	   *on_delete;
	char	   *mode;
	char	   *consistency;
	char	   *audit;
} TableOptions;

typedef struct TablePolicy
{
	char	   *column;
	char	   *policy;
	Jsonb	   *options;		/* an object, without the policy's name */
} TablePolicy;

/* {"on_delete": "delete_wins", ...}; NULL: all defaults.  22023 for what we do not
 * know. */
extern void table_options_parse(Jsonb *json, TableOptions *options);

/* {"column": "policy"} or {"column": {"policy": "policy", ...}}; palloc'd. */
extern TablePolicy *table_policies_parse(Jsonb *json, int *npolicies);

/* Raise 22023 where there is no such policy, or it has no such options. */
extern void table_policy_check_options(const char *policy, Jsonb *options);

#endif							/* OFFLINE_SYNC_TABLE_OPTIONS_H */
