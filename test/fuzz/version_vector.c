/*-------------------------------------------------------------------------
 *
 * version_vector.c
 *	  What SQL cannot reach of version_vector: the builder with additions
 *	  and removals in any order, gaps, and the parsers on damaged input.
 *
 * The oracle is an array of booleans for a window of counters, either the first
 * ones or the last ones.  Damaged input lies in memory of its exact length, so
 * that reading beyond its end is seen by valgrind or a sanitizer.
 *
 * test/t/010_fuzz.pl builds this as a module of its own and calls
 * fuzz_version_vector(rounds, seed), which raises where something is wrong.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/pg_prng.h"
#include "fmgr.h"
#include "types/version_vector.h"
#include "utils/memutils.h"

PG_MODULE_MAGIC;

#define REPLICAS	3
#define WINDOW		70

#define require(condition) \
	do { \
		if (!(condition)) \
			elog(ERROR, "round %d, line %d: %s", this_round, __LINE__, #condition); \
	} while (0)

static pg_prng_state prng;
static int	this_round;

/* counter of place x is first + x; places outside 1 .. VV_MAX_COUNTER stay false */
static uint64 first;
static bool covered[REPLICAS][WINDOW + 1];

static int
below(int n)
{
	return (int) pg_prng_uint64_range(&prng, 0, n - 1);
}

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
build(void)
{
	VVBuilder  *builder = vv_builder_create();
	int			noperations = 1 + below(this_round % 50 == 0 ? 4000 : 60);
	int			removals = below(6);
	int			i;

	first = below(3) == 0 ? VV_MAX_COUNTER - WINDOW + 1 : 0;
	memset(covered, 0, sizeof(covered));
	for (i = 0; i < noperations; i++)
	{
		int			r = below(REPLICAS);
		int			lo = below(WINDOW + 1);
		int			hi = below(4) == 0 ? below(WINDOW + 1) : lo + below(4);
		bool		is_removal = below(10) < removals;
		int			x;

		hi = Min(hi, WINDOW);
		if (is_removal)
			vv_builder_remove(builder, replica(r), first + lo, first + hi);
		else
			vv_builder_add(builder, replica(r), first + lo, first + hi);
		for (x = lo; x <= hi; x++)
			if (first + x >= 1 && first + x <= VV_MAX_COUNTER)
				covered[r][x] = !is_removal;

		/* finishing must not disturb what comes after it */
		if (below(200) == 0)
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
			require(vv_covers_counter(vv, replica(r), first + x) ==
					(first + x == 0 || covered[r][x]));
		}
		require(vv_max_counter(vv, replica(r)) == largest);
		require((vv_find(vv, replica(r)) != NULL) == (largest > 0));
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
			require(vv_next_gap(vv, replica(r), first + x, &lo, &hi) ==
					(start <= VV_MAX_COUNTER));
			if (start > VV_MAX_COUNTER)
				continue;
			for (end = start; end < VV_MAX_COUNTER && !is_covered(r, end + 1); end++)
				if (end - first > WINDOW)
				{
					end = VV_MAX_COUNTER;
					break;
				}
			require(lo == start && hi == end);
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
	static const char likely[] = "0123456789-,\"{}: a";
	StringInfoData text ,
				wire;
	VersionVector *copy;
	const char *cursor,
			   *error;
	int			i;

	initStringInfo(&wire);
	vv_pack(&wire, vv);
	cursor = wire.data;
	copy = vv_unpack(&cursor, wire.data + wire.len);
	require(copy != NULL && cursor == wire.data + wire.len && same(copy, vv));

	initStringInfo(&text);
	vv_format(&text, vv);
	copy = vv_parse(text.data, text.len, &error);
	require(copy != NULL && error == NULL && same(copy, vv));

	for (i = 0; i < 20; i++)
	{
		int			wire_len = 1 + below(wire.len);
		int			text_len = 1 + below(text.len);
		char	   *damaged = malloc(wire_len);

		memcpy(damaged, wire.data, wire_len);
		damaged[below(wire_len)] = below(256);
		cursor = damaged;
		(void) vv_unpack(&cursor, damaged + wire_len);

		damaged = realloc(damaged, text_len);
		memcpy(damaged, text.data, text_len);
		damaged[below(text_len)] = likely[below(sizeof(likely) - 1)];
		copy = vv_parse(damaged, text_len, &error);
		require((copy == NULL) == (error != NULL));
		free(damaged);
	}
}

PG_FUNCTION_INFO_V1(fuzz_version_vector);
Datum
fuzz_version_vector(PG_FUNCTION_ARGS)
{
	int			rounds = PG_GETARG_INT32(0);
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext,
												  "fuzz_version_vector",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);

	pg_prng_seed(&prng, PG_GETARG_INT32(1));
	for (this_round = 0; this_round < rounds; this_round++)
	{
		VersionVector *vv = vv_checked(build());

		check_content(vv);
		check_gaps(vv);
		check_forms(vv);
		MemoryContextReset(context);
	}
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
	PG_RETURN_VOID();
}
