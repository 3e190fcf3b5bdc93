/*-------------------------------------------------------------------------
 *
 * seeded_hash.c
 *	  Hashing what others sent, for tables in memory.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "port.h"
#include "types/seeded_hash.h"

uint32
seeded_hash(const void *bytes, int len)
{
	static uint64 seed = 0;

	/* 0 means that there is none yet, and to hash_bytes_extended the same */
	while (seed == 0)
	{
		if (!pg_strong_random(&seed, sizeof(seed)))
			elog(ERROR, "could not generate a random number");
	}
	return (uint32) hash_bytes_extended(bytes, len, seed);
}
