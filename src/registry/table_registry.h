/*-------------------------------------------------------------------------
 *
 * table_registry.h
 *	  What the registry's own files need to know of each other beyond table.h.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OFFLINE_SYNC_TABLE_REGISTRY_H
#define OFFLINE_SYNC_TABLE_REGISTRY_H

#include "compat.h"
#include "registry/table_build.h"
#include "registry/table_options.h"

/* The extension's objects; valid until the end of the transaction. */
extern const RegistryOids *sync_table_oids(void);

/* The ids of all enabled tables, also of those whose relation is not there (yet);
 * palloc'd. */
extern int32 *sync_table_ids(int *nids);

/* The registry's row of an enabled table, and where the table is (InvalidOid:
 * nowhere); NULL where it is not enabled.  Valid until the end of the transaction. */
extern const TrackedTable *sync_table_row(int32 table_id, Oid *relid);

/* The id of the enabled table that this relation is (not: is a partition of), or 0. */
extern int32 sync_table_find_id(Oid relid);

/* The id of the enabled table that this relation is or is a partition of, and its
 * root; or 0. */
extern int32 sync_table_find_root(Oid relid, Oid *root);

/* Does the registry's record of the table's columns and name need a refresh?  Not
 * where the table lacks something: it may be in the middle of a restore. */
extern bool sync_table_is_stale(int32 table_id);

/* 55000: the table is not kept in sync. */
pg_noreturn extern void sync_table_not_enabled(Oid relid);

/* Lock the caller's own table; raises 42501 where it is not his. */
extern Relation sync_table_open_own(Oid relid, LOCKMODE lockmode);

/* The description of a table that is kept in sync; raises where it is not. */
extern SyncTable *sync_table_enabled(Oid relid);

/* The policy that a column has from the moment its table is enabled; raises where
 * it does not fit. */
extern void sync_policy_set_first(const SyncTable *t, const TablePolicy *policy);

/* The table is not kept in sync any more: no policy holds. */
extern void sync_policy_end_all(int32 table_id);

/* Raise where the table cannot be kept in sync. */
extern void sync_table_check_trackable(Relation rel);

/* The scope column's attnum; raises where it cannot be one. */
extern AttrNumber sync_table_check_scope(Relation rel, const char *name);

/* Add the clock column and triggers to the caller's own table, or remove them. */
extern void sync_table_add_triggers(int32 table_id, Oid relid);
extern void sync_table_remove_triggers(Oid relid);

/* Make them fire always where they fire on the origin only. */
extern void sync_table_enable_triggers(Oid relid);

/* Add the triggers FOR EACH STATEMENT where a table or partition lacks them; remove
 * them from a relation and all below. */
extern void sync_table_add_statement_triggers(int32 table_id, Oid relid);
extern void sync_table_remove_statement_triggers(Oid relid);

/*
 * Write down what the relation's columns and name are now: columns that are new
 * get the next ids, those that are gone are marked as dropped.  Writes state
 * tables, so not in read-only transactions.
 */
extern void sync_table_refresh(int32 table_id, Oid relid);

/* Insert a column's row.  SPI is connected, as the state's owner. */
extern void sync_table_add_column(int32 table_id, int32 column_id,
								  Form_pg_attribute att, int key_position);

/*
 * An ALTER TABLE begins, has ended on a table: raise where a new type has changed the
 * text of keys or scopes.
 */
extern void sync_table_rekey_begins(Node *command);
extern void sync_table_rekey_ends(int32 table_id, const SyncTable *t,
								  const Node *command);

/* A table was enabled, disabled or changed in the registry: let every backend
 * know, this one at once.  InvalidOid: one that is gone. */
extern void sync_table_invalidate(Oid relid);

#endif							/* OFFLINE_SYNC_TABLE_REGISTRY_H */
