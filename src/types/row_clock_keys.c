/*-------------------------------------------------------------------------
 *
 * row_clock_keys.c
 *	  The keys of a row clock: who wrote each key of an object.
 *
 * An object is mostly written as a whole, or nearly so, and then changed key by
 * key.  So a column's base is the stamp that most of its keys have, and only the
 * others are named, with the removed ones, which have to beat writes that come
 * late.  A column of which no keys are named and whose base is its own stamp is
 * not mentioned at all: so it is after every write by SQL of a whole value.
 *
 * That keys are text of the server's encoding is checked where clocks come in
 * (row_clock_io.c).
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "types/merge_sort.h"
#include "types/row_clock_internal.h"

#define IS_BASE(key)	((key)->len < 0)

static int	first_key(const RowClock *rc, int column_id);
static int	compare_bytes(const char *a, int alen, const char *b, int blen);
static int	compare_stamps(const Stamp *a, const Stamp *b);
static int	compare_by_stamp(const void *a, const void *b);
static int	find_base(KeyStamp *keys, int nkeys, int *nstamps);
static bool is_named(const KeyStamp *key, const KeyStamp *keys, int base);

/* The first entry of this column or a later one. */
static int
first_key(const RowClock *rc, int column_id)
{
	int			low = 0;
	int			high = rc->nkeys;

	while (low < high)
	{
		int			middle = low + (high - low) / 2;

		if (rc->keys[middle].column_id < column_id)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

const RowClockKey *
row_clock_keys(const RowClock *rc, int column_id, int *nkeys)
{
	int			first = first_key(rc, column_id);
	int			end = first_key(rc, column_id + 1);

	if (first < end && IS_BASE(&rc->keys[first]))
		first++;
	*nkeys = end - first;
	return *nkeys == 0 ? NULL : &rc->keys[first];
}

const RowClockKey *
row_clock_find_key(const RowClockKey *keys, int nkeys, const char *data, int len)
{
	int			low = 0;
	int			high = nkeys;

	while (low < high)
	{
		int			middle = low + (high - low) / 2;
		int			cmp = compare_bytes(keys[middle].data, keys[middle].len,
										data, len);

		if (cmp == 0)
			return &keys[middle];
		if (cmp < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return NULL;
}

const Stamp *
row_clock_base(const RowClock *rc, int column_id)
{
	int			first = first_key(rc, column_id);

	if (first == rc->nkeys || rc->keys[first].column_id != column_id)
		return row_clock_get(rc, column_id);
	return IS_BASE(&rc->keys[first]) ? &rc->stamps[rc->keys[first].stamp] : NULL;
}

void
row_clock_forget_keys(RowClock *rc, int column_id)
{
	int			first = first_key(rc, column_id);
	int			end = first_key(rc, column_id + 1);

	if (first == end)
		return;
	memmove(&rc->keys[first], &rc->keys[end],
			(rc->nkeys - end) * sizeof(RowClockKey));
	rc->nkeys -= end - first;
}

bool
row_clock_set_keys(RowClock *rc, int column_id, KeyStamp *keys, int nkeys)
{
	int			nstamps;
	int			base = find_base(keys, nkeys, &nstamps);
	RowClockKey *entries;
	int			n = 0;
	const Stamp *own;

	row_clock_forget_keys(rc, column_id);
	for (int i = 0; i < nkeys; i++)
	{
		if (!is_named(&keys[i], keys, base))
			continue;
		if (keys[i].len > ROW_CLOCK_MAX_KEY_SIZE)
			return false;
		n++;
	}
	if (rc->nkeys + n + 1 > ROW_CLOCK_MAX_KEYS)
		return false;

	own = row_clock_get(rc, column_id);
	Assert(own != NULL);
	if (n == 0 && (base < 0 || stamp_equal(&keys[base].stamp, own)))
		return true;

	/* it moves the pool, to which the other columns' keys refer */
	row_clock_reserve(rc, nstamps + 1);
	entries = palloc((rc->nkeys + n + 1) * sizeof(RowClockKey));
	if (rc->nkeys > 0)
		memcpy(entries, rc->keys, rc->nkeys * sizeof(RowClockKey));
	n = rc->nkeys;
	if (base >= 0)
	{
		entries[n].column_id = column_id;
		entries[n].stamp = row_clock_intern(rc, &keys[base].stamp);
		entries[n].is_removed = false;
		entries[n].len = -1;
		entries[n++].data = NULL;
	}
	for (int i = 0; i < nkeys; i++)
	{
		if (!is_named(&keys[i], keys, base))
			continue;
		entries[n].column_id = column_id;
		entries[n].stamp = row_clock_intern(rc, &keys[i].stamp);
		entries[n].is_removed = keys[i].is_removed;
		entries[n].len = keys[i].len;
		entries[n++].data = keys[i].data;
	}
	merge_sort(entries, n, sizeof(RowClockKey), row_clock_compare_keys);
	row_clock_put_keys(rc, entries, n);
	pfree(entries);
	return true;
}

/* Does the base not speak for the key? */
static bool
is_named(const KeyStamp *key, const KeyStamp *keys, int base)
{
	if (!key->has_stamp)
		return false;
	return base < 0 || key->is_removed ||
		!stamp_equal(&key->stamp, &keys[base].stamp);
}

/*
 * Sort the keys by stamp, and find one that has the stamp of most keys in the
 * object: -1 where none is in it, or one of those has no stamp.  *nstamps: how
 * many different stamps there are.
 */
static int
find_base(KeyStamp *keys, int nkeys, int *nstamps)
{
	int			base = -1;
	int			nbase = 0;

	*nstamps = 0;
	merge_sort(keys, nkeys, sizeof(KeyStamp), compare_by_stamp);
	for (int start = 0, end; start < nkeys; start = end)
	{
		int			npresent = 0;

		for (end = start; end < nkeys; end++)
		{
			if (compare_by_stamp(&keys[start], &keys[end]) != 0)
				break;
			npresent += keys[end].is_removed ? 0 : 1;
		}
		(*nstamps)++;
		if (npresent > 0 && !keys[start].has_stamp)
			nbase = PG_INT32_MAX;
		else if (npresent > nbase)
		{
			nbase = npresent;
			base = start;
		}
	}
	return nbase == PG_INT32_MAX ? -1 : base;
}

/* Keys without a stamp first */
static int
compare_by_stamp(const void *a, const void *b)
{
	const KeyStamp *x = a;
	const KeyStamp *y = b;

	if (!x->has_stamp || !y->has_stamp)
		return (int) x->has_stamp - (int) y->has_stamp;
	return compare_stamps(&x->stamp, &y->stamp);
}

static int
compare_stamps(const Stamp *a, const Stamp *b)
{
	int			cmp = stamp_compare(a, b);

	if (cmp != 0)
		return cmp;
	if (a->xid != b->xid)
		return a->xid < b->xid ? -1 : 1;
	return memcmp(&a->node, &b->node, UUID_LEN);
}

static int
compare_bytes(const char *a, int alen, const char *b, int blen)
{
	int			cmp = memcmp(a, b, Min(alen, blen));

	return cmp != 0 ? cmp : alen - blen;
}

int
row_clock_compare_keys(const void *a, const void *b)
{
	const RowClockKey *x = a;
	const RowClockKey *y = b;

	if (x->column_id != y->column_id)
		return x->column_id - y->column_id;
	if (IS_BASE(x) || IS_BASE(y))
		return (int) IS_BASE(y) - (int) IS_BASE(x);
	return compare_bytes(x->data, x->len, y->data, y->len);
}

void
row_clock_put_keys(RowClock *rc, const RowClockKey *keys, int nkeys)
{
	Size		size = nkeys * sizeof(RowClockKey);
	RowClockKey *copy;
	char	   *p;

	for (int i = 0; i < nkeys; i++)
		size += Max(keys[i].len, 0);
	copy = MemoryContextAlloc(rc->context, size);
	p = (char *) (copy + nkeys);
	for (int i = 0; i < nkeys; i++)
	{
		copy[i] = keys[i];
		if (IS_BASE(&keys[i]))
			continue;
		memcpy(p, keys[i].data, keys[i].len);
		copy[i].data = p;
		p += keys[i].len;
	}
	rc->keys = copy;
	rc->nkeys = nkeys;
}

const char *
row_clock_check_keys(const RowClock *rc, const RowClockKey *keys, int nkeys)
{
	const RowClockKey *base = NULL;

	if (nkeys > ROW_CLOCK_MAX_KEYS)
		return "There are too many keys.";
	for (int i = 0; i < nkeys; i++)
	{
		const RowClockKey *key = &keys[i];
		const Stamp *own = row_clock_get(rc, key->column_id);

		if (own == NULL)
			return "A column with keys has no stamp.";
		if (key->len > ROW_CLOCK_MAX_KEY_SIZE)
			return "A key is too long.";
		if (i > 0 && row_clock_compare_keys(&keys[i - 1], key) >= 0)
			return "A key is there twice, or not in its place.";
		if (IS_BASE(key) && stamp_equal(&rc->stamps[key->stamp], own) &&
			(i + 1 == nkeys || keys[i + 1].column_id != key->column_id))
			return "The base is that of a column without keys.";
		if (IS_BASE(key))
			base = key;
		else if (base != NULL && base->column_id == key->column_id &&
				 !key->is_removed &&
				 stamp_equal(&rc->stamps[base->stamp], &rc->stamps[key->stamp]))
			return "A key has the stamp of the base.";
	}
	return NULL;
}

/*
 * ---- The packed form ----
 */

Size
row_clock_keys_size(const RowClock *rc)
{
	Size		size = VARINT_MAX_SIZE;

	for (int i = 0; i < rc->nkeys; i++)
	{
		size += 2 * VARINT_MAX_SIZE + Max(rc->keys[i].len, 0);
		if (i == 0 || rc->keys[i].column_id != rc->keys[i - 1].column_id)
			size += 3 * VARINT_MAX_SIZE;
	}
	return size;
}

char *
row_clock_encode_keys(char *p, const RowClock *rc, const int *rank)
{
	int			ncolumns = 0;
	int			column_id = 0;

	for (int i = 0; i < rc->nkeys; i++)
	{
		if (i == 0 || rc->keys[i].column_id != rc->keys[i - 1].column_id)
			ncolumns++;
	}
	p = varint_put(p, ncolumns);
	for (int i = 0; i < rc->nkeys;)
	{
		const RowClockKey *key = &rc->keys[i];
		int			end = first_key(rc, key->column_id + 1);

		p = varint_put(p, key->column_id - column_id);
		column_id = key->column_id;
		p = varint_put(p, IS_BASE(key) ? rank[key->stamp] + 1 : 0);
		if (IS_BASE(key))
			i++;
		p = varint_put(p, end - i);
		for (; i < end; i++)
		{
			key = &rc->keys[i];
			p = varint_put(p, key->len);
			memcpy(p, key->data, key->len);
			p += key->len;
			p = varint_put(p, 2 * (uint64) rank[key->stamp] + (key->is_removed ? 1 : 0));
		}
	}
	return p;
}

/* The rest of the clock has been decoded. */
const char *
row_clock_decode_keys(const char **p, const char *end, RowClock *rc)
{
	/* each takes two bytes at least */
	int			max = Min(ROW_CLOCK_MAX_KEYS, (end - *p) / 2 + 1);
	RowClockKey *keys = palloc(max * sizeof(RowClockKey));
	int			nkeys = 0;
	uint64		column_id = 0;
	uint64		ncolumns;
	const char *problem;

	if (!row_clock_get_limited(p, end, rc->ncolumns, &ncolumns) || ncolumns == 0)
		return "The number of columns with keys is out of range.";
	while (ncolumns-- > 0)
	{
		uint64		step;
		uint64		base;
		uint64		n;

		if (!row_clock_get_limited(p, end, rc->ncolumns - column_id, &step) ||
			step == 0 ||
			!row_clock_get_limited(p, end, rc->nstamps, &base) ||
			nkeys + (base > 0 ? 1 : 0) > max ||
			!row_clock_get_limited(p, end, max - nkeys - (base > 0 ? 1 : 0), &n) ||
			(base == 0 && n == 0))
			return "The keys of a column are out of range.";
		column_id += step;
		if (base > 0)
		{
			keys[nkeys].column_id = column_id;
			keys[nkeys].stamp = (int16) (base - 1);
			keys[nkeys].is_removed = false;
			keys[nkeys].len = -1;
			keys[nkeys++].data = NULL;
		}
		while (n-- > 0)
		{
			RowClockKey *key = &keys[nkeys++];
			uint64		len;
			uint64		stamp;

			if (!row_clock_get_limited(p, end, ROW_CLOCK_MAX_KEY_SIZE, &len) ||
				len > (uint64) (end - *p))
				return "A key is too long.";
			key->column_id = column_id;
			key->len = len;
			key->data = *p;
			*p += len;
			if (rc->nstamps == 0 ||
				!row_clock_get_limited(p, end, 2 * (uint64) rc->nstamps - 1, &stamp))
				return "The stamp of a key is out of range.";
			key->stamp = (int16) (stamp / 2);
			key->is_removed = stamp % 2 == 1;
		}
	}
	problem = row_clock_check_keys(rc, keys, nkeys);
	if (problem == NULL)
		row_clock_put_keys(rc, keys, nkeys);
	pfree(keys);
	return problem;
}
