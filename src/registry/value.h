/*-------------------------------------------------------------------------
 *
 * value.h
 *	  Values between SQL and deltas: canonical text, whatever the session's
 *	  settings.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OFFLINE_SYNC_VALUE_H
#define OFFLINE_SYNC_VALUE_H

#include "registry/table.h"
#include "types/delta.h"

/*
 * Settings under which text forms are canonical, as pg_dump sets them: DateStyle ISO, TimeZone
 * UTC, IntervalStyle postgres, extra_float_digits 3, bytea_output hex, xmloption content, lc_monetary C;
 * search_path pg_catalog, pg_temp (regclass and the like qualify their names).  Between begin and end;
 * end takes begin's result; an error undoes them by itself.
 */
extern int	value_modes_begin(void);

/* Only those that matter to columns of such modes (SyncTable's for all of its values) */
extern int	value_modes_begin_for(ValueModes modes);
extern void value_modes_end(int nestlevel);

/* A column's value as it travels; strings are palloc'd or point into value.
 * Under value modes. */
extern void value_to_delta(SyncColumn *column, Datum value, bool isnull,
						   DeltaValue *result);

/*
 * A travelling value as the column's Datum, typmod applied, domains checked;
 * palloc'd.  Raises whatever the type's input function raises; 22P02 where the kind cannot fit.
 * Not for VALUE_ORSET.  Under value modes.
 */
extern Datum value_from_delta(SyncColumn *column, const DeltaValue *value,
							  bool *isnull);

/* The canonical text, palloc'd (VALUE_ORSET: the sorted elements as a JSON array). */
extern char *value_to_text(SyncColumn *column, Datum value);

/* Is the stored value exactly what was sent?  jsonb by value, all else by the
 * letters of the canonical text. */
extern bool value_is_as_sent(SyncColumn *column, const DeltaValue *sent,
							 Datum stored, bool isnull);

/*
 * attempt(arg) in a subtransaction, in the caller's memory context.  False where it
 * returns false, and where an error says that a value is not acceptable: then what it
 * did to the database is undone.  An error that says that the server is in trouble is
 * thrown on.
 */
extern bool value_attempt(bool (*attempt) (void *arg), void *arg);

#endif							/* OFFLINE_SYNC_VALUE_H */
