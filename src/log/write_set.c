/*-------------------------------------------------------------------------
 *
 * write_set.c
 *	  The writes that an apply is about to make.
 *
 * A hash table by (table, key, kind), made when the first write is announced.
 * Each announcement remembers the nest level of the subtransaction that made
 * it and goes when that one ends; what ends inside it (an exception block of a
 * user's trigger) leaves it alone.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "common/hashfn.h"
#include "log/write_set.h"
#include "types/seeded_hash.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"

typedef struct WriteKey
{
	int32		table_id;
	bool		is_delete;
	int			keylen;
	const char *key;
} WriteKey;

typedef struct WriteEntry
{
	WriteKey	key;			/* hash key: must be first */
	int			nest_level;
	PlannedWrite write;
} WriteEntry;

/* ---- backend-local state, void between transactions ---- */

static MemoryContext write_context = NULL;	/* NULL: nothing is announced */
static HTAB *writes = NULL;
static int	deepest_level = 0;	/* of all announcements */
static WriteSetWatcher watch_function = NULL;
static void *watch_arg = NULL;

static void write_set_init(void);
static uint32 write_key_hash(const void *key, Size size);
static int	write_key_compare(const void *a, const void *b, Size size);
static void end_level(int nest_level);
static void write_set_xact_callback(XactEvent event, void *arg);
static void write_set_subxact_callback(SubXactEvent event,
									   SubTransactionId subid,
									   SubTransactionId parent, void *arg);

PlannedWrite *
write_set_add(int32 table_id, const char *key, int keylen, RowClock *clock,
			  Bitmapset *written, bool is_delete)
{
	WriteKey	lookup = {table_id, is_delete, keylen, key};
	WriteEntry *entry;
	bool		found;

	if (write_context == NULL)
		write_set_init();
	entry = hash_search(writes, &lookup, HASH_ENTER, &found);
	if (!found)
	{
		char	   *copy = MemoryContextAlloc(write_context, Max(keylen, 1));

		memcpy(copy, key, keylen);
		entry->key.key = copy;
	}
	else if (!entry->write.is_taken)
		elog(ERROR, "a write is announced twice");
	entry->nest_level = GetCurrentTransactionNestLevel();
	entry->write.clock = clock;
	entry->write.written = written;
	entry->write.is_delete = is_delete;
	entry->write.is_taken = false;
	entry->write.known_to = 0;
	deepest_level = Max(deepest_level, entry->nest_level);
	return &entry->write;
}

PlannedWrite *
write_set_take(int32 table_id, const char *key, int keylen, bool is_delete)
{
	WriteKey	lookup = {table_id, is_delete, keylen, key};
	WriteEntry *entry = NULL;

	if (writes != NULL)
		entry = hash_search(writes, &lookup, HASH_FIND, NULL);
	if (entry == NULL || entry->write.is_taken)
	{
		write_set_note_other(table_id, key, keylen);
		return NULL;
	}
	entry->write.is_taken = true;
	return &entry->write;
}

void
write_set_note_other(int32 table_id, const char *key, int keylen)
{
	if (watch_function != NULL)
		watch_function(watch_arg, table_id, key, keylen);
}

void
write_set_watch(WriteSetWatcher watcher, void *arg)
{
	watch_function = watcher;
	watch_arg = arg;
}

bool
write_set_is_empty(void)
{
	return writes == NULL;
}

void
write_set_clear(void)
{
	if (write_context != NULL)
		MemoryContextDelete(write_context);
	write_context = NULL;
	writes = NULL;
	deepest_level = 0;
}

static void
write_set_init(void)
{
	static bool is_initialized = false;
	HASHCTL		ctl = {0};

	if (!is_initialized)
	{
		RegisterXactCallback(write_set_xact_callback, NULL);
		RegisterSubXactCallback(write_set_subxact_callback, NULL);
		is_initialized = true;
	}

	write_context = AllocSetContextCreate(TopTransactionContext,
										  "offline_sync write set",
										  ALLOCSET_DEFAULT_SIZES);
	ctl.keysize = sizeof(WriteKey);
	ctl.entrysize = sizeof(WriteEntry);
	ctl.hash = write_key_hash;
	ctl.match = write_key_compare;
	ctl.hcxt = write_context;
	writes = hash_create("offline_sync write set", 256, &ctl,
						 HASH_ELEM | HASH_FUNCTION | HASH_COMPARE |
						 HASH_CONTEXT);
}

static uint32
write_key_hash(const void *key, Size size)
{
	const WriteKey *k = key;

	return hash_combine(seeded_hash(k->key, k->keylen),
						murmurhash32(((uint32) k->table_id << 1) |
									 (k->is_delete ? 1 : 0)));
}

static int
write_key_compare(const void *a, const void *b, Size size)
{
	const WriteKey *left = a;
	const WriteKey *right = b;

	if (left->table_id != right->table_id ||
		left->is_delete != right->is_delete ||
		left->keylen != right->keylen)
		return 1;
	return memcmp(left->key, right->key, left->keylen);
}

/* Forget what the ending subtransaction, or one inside it, announced. */
static void
end_level(int nest_level)
{
	HASH_SEQ_STATUS status;
	WriteEntry *entry;

	if (writes == NULL || deepest_level < nest_level)
		return;
	hash_seq_init(&status, writes);
	while ((entry = hash_seq_search(&status)) != NULL)
		if (entry->nest_level >= nest_level)
			(void) hash_search(writes, &entry->key, HASH_REMOVE, NULL);
	deepest_level = nest_level - 1;
	if (hash_get_num_entries(writes) == 0)
		write_set_clear();
}

static void
write_set_xact_callback(XactEvent event, void *arg)
{
	switch (event)
	{
		case XACT_EVENT_COMMIT:
		case XACT_EVENT_PREPARE:
		case XACT_EVENT_ABORT:
			/* the memory goes with TopTransactionContext */
			write_context = NULL;
			writes = NULL;
			deepest_level = 0;
			break;
		default:
			break;
	}
}

static void
write_set_subxact_callback(SubXactEvent event, SubTransactionId subid,
						   SubTransactionId parent, void *arg)
{
	if (event == SUBXACT_EVENT_COMMIT_SUB || event == SUBXACT_EVENT_ABORT_SUB)
		end_level(GetCurrentTransactionNestLevel());
}
