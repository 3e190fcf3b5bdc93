/*-------------------------------------------------------------------------
 *
 * table_options.h
 *	  The options and policies that a caller gives as jsonb.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OFFLINE_SYNC_TABLE_OPTIONS_H
#define OFFLINE_SYNC_TABLE_OPTIONS_H

#include "registry/table.h"
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
	SyncRule	rule;			/* both of them, parsed */
} TablePolicy;

/* {"on_delete": "delete_wins", ...}: sets what is named, the rest stays as it is; json
 * may be NULL.  22023 for what we do not know. */
extern void table_options_parse(Jsonb *json, TableOptions *options);

/* {"column": "policy"} or {"column": {"policy": "policy", ...}}; palloc'd. */
extern TablePolicy *table_policies_parse(Jsonb *json, int *npolicies);

/*
 * A policy and its options as a rule, its strings palloc'd.  Raises 22023 where there is
 * no such policy, or it has no such options.  Looks nothing up: whether the rule fits a
 * column is another question.
 */
extern void table_rule_parse(const char *policy, Jsonb *options, SyncRule *rule);

#endif							/* OFFLINE_SYNC_TABLE_OPTIONS_H */
