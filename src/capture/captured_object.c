/*-------------------------------------------------------------------------
 *
 * captured_object.c
 *	  Who wrote which key of an object that an SQL statement changed.
 *
 * Both objects have their keys in the same order, so they are walked through
 * side by side.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "capture/captured_object.h"
#include "registry/json_object.h"

/* The keys being collected */
typedef struct KeyWriter
{
	const RowClock *clock;
	const Stamp *now;
	const Stamp *base;			/* of keys that the clock does not name */
	const RowClockKey *named;
	int			nnamed;
	bool	   *is_met;			/* named keys of the old or the new object */
	KeyStamp   *keys;
	int			nkeys;
} KeyWriter;

static void collect_keys(KeyWriter *writer, Datum old_value, bool old_isnull,
						 Datum new_value, bool new_isnull);
static void put_key(KeyWriter *writer, const JsonbValue *key, bool is_written,
					bool is_removed);

void
captured_object_stamp(RowClock *clock, int column_id, Datum old_value,
					  bool old_isnull, Datum new_value, bool new_isnull,
					  const Stamp *stamp)
{
	KeyWriter	writer;
	Size		nkeys = 1;

	/* fetched from the toast table once */
	if (!old_isnull)
		old_value = JsonbPGetDatum(DatumGetJsonbP(old_value));
	if (!new_isnull)
		new_value = JsonbPGetDatum(DatumGetJsonbP(new_value));
	if (!json_object_fits(old_value, old_isnull) ||
		!json_object_fits(new_value, new_isnull))
	{
		row_clock_set(clock, column_id, stamp);
		return;
	}

	writer.clock = clock;
	writer.now = stamp;
	writer.base = row_clock_base(clock, column_id);
	writer.named = row_clock_keys(clock, column_id, &writer.nnamed);
	writer.is_met = palloc0(Max(writer.nnamed, 1) * sizeof(bool));
	writer.nkeys = 0;
	nkeys += writer.nnamed;
	if (!old_isnull)
		nkeys += JB_ROOT_COUNT(DatumGetJsonbP(old_value));
	if (!new_isnull)
		nkeys += JB_ROOT_COUNT(DatumGetJsonbP(new_value));
	writer.keys = palloc_extended(nkeys * sizeof(KeyStamp), MCXT_ALLOC_HUGE);
	collect_keys(&writer, old_value, old_isnull, new_value, new_isnull);

	row_clock_set(clock, column_id, stamp);
	(void) row_clock_set_keys(clock, column_id, writer.keys, writer.nkeys);
	pfree(writer.keys);
	pfree(writer.is_met);
}

static void
collect_keys(KeyWriter *writer, Datum old_value, bool old_isnull,
			 Datum new_value, bool new_isnull)
{
	JsonbIterator *old_it = json_object_begin(old_value, old_isnull);
	JsonbIterator *new_it = json_object_begin(new_value, new_isnull);
	JsonbValue	old_key;
	JsonbValue	old_member;
	JsonbValue	new_key;
	JsonbValue	new_member;
	bool		has_old = json_object_next(&old_it, &old_key, &old_member);
	bool		has_new = json_object_next(&new_it, &new_key, &new_member);

	while (has_old || has_new)
	{
		int			cmp = !has_old ? 1 : !has_new ? -1 :
		json_object_compare_keys(&old_key, &new_key);

		if (cmp < 0)
			put_key(writer, &old_key, true, true);
		else
			put_key(writer, &new_key, cmp > 0 ||
					!json_object_same_value(&old_member, &new_member), false);
		if (cmp <= 0)
			has_old = json_object_next(&old_it, &old_key, &old_member);
		if (cmp >= 0)
			has_new = json_object_next(&new_it, &new_key, &new_member);
	}

	/* those removed before */
	for (int i = 0; i < writer->nnamed; i++)
	{
		KeyStamp   *key;

		if (writer->is_met[i])
			continue;
		key = &writer->keys[writer->nkeys++];
		key->data = writer->named[i].data;
		key->len = writer->named[i].len;
		key->is_removed = true;
		key->has_stamp = true;
		key->stamp = writer->clock->stamps[writer->named[i].stamp];
	}
}

static void
put_key(KeyWriter *writer, const JsonbValue *key, bool is_written,
		bool is_removed)
{
	KeyStamp   *result = &writer->keys[writer->nkeys++];
	const RowClockKey *named = row_clock_find_key(writer->named, writer->nnamed,
												  key->val.string.val,
												  key->val.string.len);
	const Stamp *stamp = writer->base;

	if (named != NULL)
	{
		writer->is_met[named - writer->named] = true;
		stamp = &writer->clock->stamps[named->stamp];
	}
	if (is_written)
		stamp = writer->now;
	result->data = key->val.string.val;
	result->len = key->val.string.len;
	result->is_removed = is_removed;
	result->has_stamp = stamp != NULL;
	if (stamp != NULL)
		result->stamp = *stamp;
}
