/*-------------------------------------------------------------------------
 *
 * state.h
 *	  Opening the extension's own tables (schema offline_sync) from C.
 *
 * This goes around privileges: entry functions check the caller first.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OFFLINE_SYNC_STATE_H
#define OFFLINE_SYNC_STATE_H

#include "storage/lockdefs.h"
#include "utils/rel.h"

/* Open a state table, or find its index, by name.  Raises 55000 with a hint where
 * the extension's schema is not complete. */
extern Relation state_open(const char *name, LOCKMODE lockmode);
extern Oid	state_index(const char *name);

/* Raise 55000 with a hint unless a state table has as many columns as the library
 * knows; else one of the two is older than the other. */
extern void state_check_columns(TupleDesc desc, int natts);

/* The same as state_index without an error: InvalidOid where it is not there (the extension was
 * dropped in this very transaction). */
extern Oid	state_find(const char *name);

/*
 * Inserting many rows into a state table: collected and written in batches.  For
 * tables whose indexes have neither expressions nor predicates.  Defaults and CHECK constraints are
 * not applied.  Written at the latest by state_writer_end; visible after CommandCounterIncrement().
 */
typedef struct StateWriter StateWriter;

extern StateWriter *state_writer_begin(const char *name);
extern Relation state_writer_relation(StateWriter *writer);
extern void state_writer_put(StateWriter *writer, Datum *values, bool *nulls);
extern void state_writer_end(StateWriter *writer);

/*
 * Become the owner of the state tables, for SPI on them with a safe search_path (pg_catalog, the
 * extension's schema, pg_temp); the caller has been checked.  Undone by state_restore_user, or by an error.
 */
typedef struct StateUser
{
	Oid			user;
	int			sec_context;
	int			guc_nestlevel;
} StateUser;

extern void state_become_owner(StateUser *saved);
extern void state_restore_user(const StateUser *saved);

#endif							/* OFFLINE_SYNC_STATE_H */
