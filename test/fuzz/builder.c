/*-------------------------------------------------------------------------
 *
 * builder.c
 *	  The target that drives version_vector's builder: additions and removals
 *	  in any order, gaps, and both forms of the result.
 *
 * The input is a program: a byte for where the window of counters lies (the first
 * ones, or the last ones), then three bytes for each operation.  The oracle is an
 * array of booleans for the window.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "compat.h"
#include "fuzz.h"
#include "types/version_vector.h"

#define REPLICAS	3
#define WINDOW		70

/* bits of an operation's first byte; the lowest ones choose the replica */
#define IS_REMOVAL	0x80
#define IS_FINISH	0x40		/* finish after it, too */
#define IS_LONG		0x20		/* its end is anywhere, not near */

/* counter of place x is first + x; places outside 1 .. VV_MAX_COUNTER stay false */
static uint64 first;
static bool covered[REPLICAS][WINDOW + 1];

static const pg_uuid_t *
replica(int r)
{
	static pg_uuid_t uuid;

	memset(&uuid, 0, sizeof(uuid));
	uuid.data[0] = r * 100;		/* the last is negative as a signed char */
	return &uuid;
}

static bool
is_covered(int r, uint64 counter)
{
	return counter >= first && counter - first <= WINDOW &&
		covered[r][counter - first];
}

static VersionVector *
build(const uint8 *data, size_t size)
{
	VVBuilder  *builder = vv_builder_create();
	const uint8 *p;

	first = data[0] & 1 ? VV_MAX_COUNTER - WINDOW + 1 : 0;
	memset(covered, 0, sizeof(covered));
	for (p = data + 1; data + size - p >= 3; p += 3)
	{
		int			r = (p[0] & 0x1F) % REPLICAS;
		int			lo = p[1] % (WINDOW + 1);
		int			hi = p[0] & IS_LONG ? p[2] % (WINDOW + 1) : lo + p[2] % 4;
		int			x;

		hi = Min(hi, WINDOW);
		if (p[0] & IS_REMOVAL)
			vv_builder_remove(builder, replica(r), first + lo, first + hi);
		else
			vv_builder_add(builder, replica(r), first + lo, first + hi);
		for (x = lo; x <= hi; x++)
			if (first + x >= 1 && first + x <= VV_MAX_COUNTER)
				covered[r][x] = !(p[0] & IS_REMOVAL);

		/* finishing must not disturb what comes after it */
		if (p[0] & IS_FINISH)
			(void) vv_builder_finish(builder);
	}
	return vv_builder_finish(builder);
}

static void
check_content(const VersionVector *vv)
{
	int			r,
				x;

	for (r = 0; r < REPLICAS; r++)
	{
		uint64		largest = 0;

		for (x = 0; x <= WINDOW; x++)
		{
			if (covered[r][x])
				largest = first + x;
			fuzz_require(vv_covers_counter(vv, replica(r), first + x) ==
						 (first + x == 0 || covered[r][x]));
		}
		fuzz_require(vv_max_counter(vv, replica(r)) == largest);
		fuzz_require((vv_find(vv, replica(r)) != NULL) == (largest > 0));
	}
}

static void
check_gaps(const VersionVector *vv)
{
	int			r,
				x;

	for (r = 0; r < REPLICAS; r++)
		for (x = 0; x <= WINDOW; x++)
		{
			uint64		start = Max(first + x, 1);
			uint64		end,
						lo,
						hi;

			while (start <= VV_MAX_COUNTER && is_covered(r, start))
				start++;
			fuzz_require(vv_next_gap(vv, replica(r), first + x, &lo, &hi) ==
						 (start <= VV_MAX_COUNTER));
			if (start > VV_MAX_COUNTER)
				continue;
			for (end = start; end < VV_MAX_COUNTER && !is_covered(r, end + 1); end++)
				if (end - first > WINDOW)
				{
					end = VV_MAX_COUNTER;
					break;
				}
			fuzz_require(lo == start && hi == end);
		}
}

static bool
same(const VersionVector *a, const VersionVector *b)
{
	return VARSIZE(a) == VARSIZE(b) && memcmp(a, b, VARSIZE(a)) == 0;
}

/* Equal bytes after a round trip also mean that the ranges are in normal form,
 * since the parsers make no other. */
static void
check_forms(const VersionVector *vv)
{
	StringInfoData text ,
				wire;
	VersionVector *copy;
	const char *cursor,
			   *error;

	initStringInfo(&wire);
	vv_pack(&wire, vv);
	cursor = wire.data;
	copy = vv_unpack(&cursor, wire.data + wire.len);
	fuzz_require(copy != NULL && cursor == wire.data + wire.len && same(copy, vv));

	initStringInfo(&text);
	vv_format(&text, vv);
	copy = vv_parse(text.data, text.len, &error);
	fuzz_require(copy != NULL && error == NULL && same(copy, vv));
}

void
fuzz_vector_builder(const uint8 *data, size_t size)
{
	VersionVector *vv;

	if (size == 0)
		return;
	vv = vv_checked(build(data, size));
	check_content(vv);
	check_gaps(vv);
	check_forms(vv);
}
