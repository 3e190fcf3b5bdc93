/*-------------------------------------------------------------------------
 *
 * seeded_hash.h
 *	  Hashing what others sent, for tables in memory.
 *
 * The server's hash_bytes can be computed backwards: keys that all have one hash
 * value are made by the thousand, and a hash table of them is a list.  With a seed
 * that nobody knows they are not.  The seed is the backend's own, so the values
 * must not be stored, nor decide the order of anything that is seen.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OFFLINE_SYNC_SEEDED_HASH_H
#define OFFLINE_SYNC_SEEDED_HASH_H

extern uint32 seeded_hash(const void *bytes, int len);

#endif							/* OFFLINE_SYNC_SEEDED_HASH_H */
