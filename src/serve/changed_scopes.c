/*-------------------------------------------------------------------------
 *
 * changed_scopes.c
 *	  sync_changed_scopes(): which scopes were written to since a vector.
 *
 * For gateways, that want to know whom to wake without pulling for each device.  The
 * log is read from the gaps of the vector on, by the index that has transactions before
 * scopes.  The vector handed out claims by the same rules as that of a page: what its
 * snapshot saw, less what was running, made durable; so no transaction is missed,
 * whenever it commits.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "log/change_log.h"
#include "log/forgotten.h"
#include "log/node.h"
#include "log/state.h"
#include "miscadmin.h"
#include "serve/changed_scopes.h"
#include "serve/serve.h"
#include "types/seeded_hash.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

/* Scopes and devices being collected */
typedef struct ScopeCollector
{
	ChangedScopes *result;
	MemoryContext context;
	HTAB	   *known;			/* of char *: scopes */
	int			maxscopes;
	int			maxdevices;
} ScopeCollector;

static void collector_init(ScopeCollector *collector, ChangedScopes *result);
static uint32 scope_hash(const void *key, Size keysize);
static int	scope_match(const void *a, const void *b, Size keysize);
static void collect(void *arg, const char *scope, const char *event);
static void add_device(ScopeCollector *collector, const char *uuid);
static void read_node(ScopeCollector *collector, const SyncNode *node,
					  const VersionVector *since, VVBuilder *claim);
static Datum visible_scopes(const ChangedScopes *changed);

PG_FUNCTION_INFO_V1(sync_changed_scopes);

/*
 * sync_changed_scopes(since version_vector) -> scopes text[], seen version_vector
 *
 * Not STRICT: since NULL is "from now on".
 */
Datum
sync_changed_scopes(PG_FUNCTION_ARGS)
{
	ChangedScopes changed;
	TupleDesc	desc;
	Datum		values[2];
	bool		nulls[2] = {false};
	HeapTuple	tuple;
	MemoryContext context = CurrentMemoryContext;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	BlessTupleDesc(desc);

	SPI_connect();
	changed_scopes_find(PG_ARGISNULL(0) ? NULL : PG_GETARG_VERSION_VECTOR_P(0),
						&changed);
	values[0] = visible_scopes(&changed);
	values[1] = VersionVectorPGetDatum(changed.seen);
	MemoryContextSwitchTo(context);
	tuple = heap_form_tuple(desc, values, nulls);
	SPI_finish();
	PG_RETURN_DATUM(HeapTupleGetDatum(tuple));
}

void
changed_scopes_find(const VersionVector *since, ChangedScopes *result)
{
	ScopeCollector collector;
	Snapshot	snapshot = RegisterSnapshot(GetActiveSnapshot());
	VVBuilder  *claim = vv_builder_create();
	uint64		own_xid = U64FromFullTransactionId(GetTopFullTransactionIdIfAny());
	ServePage	page = {0};
	int			nnodes;
	SyncNode   *nodes = sync_node_list(&nnodes);

	collector_init(&collector, result);
	if (since != NULL && sync_vector_is_lost(since))
	{
		result->is_any = result->is_all = true;
		since = NULL;
	}
	for (int i = 0; i < nnodes; i++)
	{
		if (since != NULL)
			read_node(&collector, &nodes[i], since, claim);
		else
			vv_builder_add(claim, &nodes[i].uuid, 1,
						   Max(change_log_last_xid(nodes[i].id, snapshot),
							   log_forgotten_final(nodes[i].id, snapshot)));
	}
	sync_remove_running(claim, snapshot);
	if (own_xid != 0)
		vv_builder_remove(claim, sync_node_uuid(), own_xid, own_xid);
	if (since != NULL)
		vv_builder_add_vector(claim, since);
	result->seen = vv_builder_finish(claim);
	hash_destroy(collector.known);
	UnregisterSnapshot(snapshot);

	/* what is claimed must survive a crash */
	if (result->is_any || since == NULL)
	{
		page_note_everything(&page);
		page_flush(&page);
	}
}

static void
read_node(ScopeCollector *collector, const SyncNode *node,
		  const VersionVector *since, VVBuilder *claim)
{
	uint64		from = 1;
	uint64		lo;
	uint64		hi;
	int			ngone;
	char	  **gone = log_forgotten_scopes(node->id, sync_node_covered(node, since),
											INT_MAX, GetActiveSnapshot(), &ngone);

	/* entries that clean-up has removed meanwhile: all before them have ended */
	for (int i = 0; i < ngone; i++)
		collect(collector, gone[i], NULL);
	while (vv_next_gap(since, &node->uuid, from, &lo, &hi))
	{
		uint64		last;

		CHECK_FOR_INTERRUPTS(); /* a vector may have a million gaps */
		last = change_log_recent(node->id, lo, hi, GetActiveSnapshot(), collect,
								 collector);
		if (hi == VV_MAX_COUNTER)
		{
			if (ngone > 0)
				last = Max(last, log_forgotten_final(node->id, GetActiveSnapshot()));
			vv_builder_add(claim, &node->uuid, lo, last);
			break;
		}
		vv_builder_add(claim, &node->uuid, lo, hi);
		from = hi + 1;
	}
}

/* ----------------------------------------------------------------
 * Collecting
 * ---------------------------------------------------------------- */

static void
collector_init(ScopeCollector *collector, ChangedScopes *result)
{
	HASHCTL		ctl = {0};

	memset(result, 0, sizeof(ChangedScopes));
	memset(collector, 0, sizeof(ScopeCollector));
	collector->result = result;
	collector->context = CurrentMemoryContext;
	ctl.keysize = sizeof(char *);
	ctl.entrysize = sizeof(char *);
	ctl.hash = scope_hash;
	ctl.match = scope_match;
	ctl.hcxt = CurrentMemoryContext;
	collector->known = hash_create("offline_sync changed scopes", 256, &ctl,
								   HASH_ELEM | HASH_FUNCTION | HASH_COMPARE |
								   HASH_CONTEXT);
}

static uint32
scope_hash(const void *key, Size keysize)
{
	const char *scope = *(const char *const *) key;

	return seeded_hash(scope, strlen(scope));
}

static int
scope_match(const void *a, const void *b, Size keysize)
{
	return strcmp(*(const char *const *) a, *(const char *const *) b);
}

static void
collect(void *arg, const char *scope, const char *event)
{
	ScopeCollector *collector = arg;
	ChangedScopes *result = collector->result;
	MemoryContext old = MemoryContextSwitchTo(collector->context);
	bool		found;

	result->is_any = true;
	if (event != NULL)
		add_device(collector, event);
	if (scope == NULL)
		result->is_all = true;
	else
	{
		const char **entry = hash_search(collector->known, &scope, HASH_ENTER, &found);

		if (!found)
		{
			if (result->nscopes == collector->maxscopes)
			{
				collector->maxscopes = Max(64, 2 * collector->maxscopes);
				result->scopes = result->scopes == NULL ?
					palloc(collector->maxscopes * sizeof(char *)) :
					repalloc_huge(result->scopes,
								  (Size) collector->maxscopes * sizeof(char *));
			}
			*entry = result->scopes[result->nscopes++] = pstrdup(scope);
		}
	}
	MemoryContextSwitchTo(old);
}

/* The key of an event that is about a device is its uuid; other keys are numbers. */
static void
add_device(ScopeCollector *collector, const char *uuid)
{
	ChangedScopes *result = collector->result;

	if (strlen(uuid) != 36)
		return;
	if (result->ndevices == collector->maxdevices)
	{
		collector->maxdevices = Max(16, 2 * collector->maxdevices);
		result->devices = result->devices == NULL ?
			palloc(collector->maxdevices * sizeof(pg_uuid_t)) :
			repalloc_huge(result->devices,
						  (Size) collector->maxdevices * sizeof(pg_uuid_t));
	}
	result->devices[result->ndevices++] =
		*DatumGetUUIDP(DirectFunctionCall1(uuid_in, CStringGetDatum(uuid)));
}

/* ----------------------------------------------------------------
 * Who may know
 * ---------------------------------------------------------------- */

/*
 * Those scopes that the caller may know of, as an array: all, where he may look at all
 * devices; else those that a device of his may pull.  Where everything changed, that is
 * every scope that a device may pull.
 *
 * Functions are named with their schema: one in the extension's, which others may create
 * in, could fit the arguments better.
 */
static Datum
visible_scopes(const ChangedScopes *changed)
{
	static const char *const command =
	"WITH changed AS ("
	" SELECT c.scope FROM pg_catalog.unnest($1) AS c (scope)"
	" UNION SELECT s.scope FROM offline_sync.device_scope s WHERE $2 AND s.can_pull)"
	" SELECT coalesce(pg_catalog.array_agg(c.scope ORDER BY c.scope COLLATE \"C\"), '{}') FROM changed c"
	" WHERE pg_catalog.has_function_privilege($3, 'sync_may_monitor()'::regprocedure::oid, 'EXECUTE')"
	" OR EXISTS (SELECT FROM offline_sync.device_scope s"
	" JOIN offline_sync.device d ON d.device = s.device"
	" JOIN pg_catalog.pg_roles r ON r.rolname = d.owner"
	" WHERE s.scope = c.scope AND s.can_pull AND d.revoked_at IS NULL"
	" AND pg_catalog.pg_has_role($3, r.oid, 'USAGE'))";
	Oid			types[] = {TEXTARRAYOID, BOOLOID, OIDOID};
	Datum		values[3];
	Datum	   *scopes = palloc(Max(changed->nscopes, 1) * sizeof(Datum));
	StateUser	saved;
	bool		isnull;

	if (!changed->is_any)
		return PointerGetDatum(construct_empty_array(TEXTOID));
	for (int i = 0; i < changed->nscopes; i++)
		scopes[i] = CStringGetTextDatum(changed->scopes[i]);
	values[0] = PointerGetDatum(construct_array(scopes, changed->nscopes, TEXTOID, -1,
												false, TYPALIGN_INT));
	values[1] = BoolGetDatum(changed->is_all);
	values[2] = ObjectIdGetDatum(GetUserId());
	state_become_owner(&saved);
	if (SPI_execute_with_args(command, lengthof(types), types, values, NULL, true, 0) !=
		SPI_OK_SELECT)
		elog(ERROR, "could not read the devices' scopes");
	state_restore_user(&saved);
	return SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull);
}
