/*-------------------------------------------------------------------------
 *
 * serve.c
 *	  sync_changes_since(): one page of what a device has not seen.
 *
 * A page has two phases.  Where the vector does not cover the enabling of a
 * table, or the grant of a scope, the device has none of those rows: a base
 * scan.  Then the log, from the vector on.
 *
 * A device that comes with nothing is brought everything there is, and the log
 * begins where the first page's snapshot was: V0, which the last page of the
 * base scan hands out.  A page may be answered by a standby that lags behind
 * the one before; so each page takes out of V0 what it does not see itself.
 *
 * Where only some tables or scopes are new, the base scan brings them, and then
 * the log is served from the vector on, as if they had been there all the time.
 * The position of such an event cannot be added to the vector by itself: its
 * transaction may have written other rows as well.  So until the log has come
 * past it, the token remembers that it has been dealt with.
 *
 * The same base scan brings a device that came to a later version of the schema the
 * columns that were not served to it before, though its vector covers them.
 *
 * The vector that is handed out is the only thing that lets something be
 * forgotten for ever.  It claims: what the vector covered before; what the log
 * was read up to, or V0; less what the snapshot does not see as finished, less
 * this very transaction.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "compat.h"
#include "executor/spi.h"
#include "log/change_log.h"
#include "log/forgotten.h"
#include "miscadmin.h"
#include "offline_sync.h"
#include "registry/column_history.h"
#include "registry/row_fetch.h"
#include "serve/serve.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(sync_changes_since);

static void set_versions(ServePage *page, const SyncDevice *device, int version,
						 const VersionVector *since);
static int	known_version(const VersionVector *since);
static void claim_version(ServePage *page, VVBuilder *builder);
static void page_init(ServePage *page, const pg_uuid_t *device, int budget);
static void page_load(ServePage *page);
static void serve_page(ServePage *page, const SyncDevice *device,
					   const VersionVector *since, ServeToken *token,
					   DeltaHeader *header);
static void serve_revoked_device(ServePage *page);
static bool serve_base_phase(ServePage *page, ServeToken *token,
							 DeltaHeader *header);
static void serve_log_phase(ServePage *page, ServeToken *token,
							DeltaHeader *header);
static void begin_full(ServePage *page, ServeToken *token,
					   const VersionVector *events);
static void retract_scopes(ServePage *page, ServeToken *token,
						   const VersionVector *events);
static bool must_retract(ServePage *page, const ServeToken *token,
						 const SyncDeviceScope *scope,
						 const VersionVector *events);
static int	compare_positions(const SyncDeviceScope *a, const SyncDeviceScope *b);
static int	compare_revocations(const void *a, const void *b);
static VersionVector *visible_events(ServePage *page);
static void add_event(VVBuilder *builder, const MaskEvent *event);
static VersionVector *visible_part(ServePage *page, const VersionVector *vv,
								   bool keep_own);
static VersionVector *without_nodes(ServePage *page, const VersionVector *vv,
									bool keep_device);
static VersionVector *unless_covered(VersionVector *vv, const VersionVector *by);
static bool covers_no_node(ServePage *page, const VersionVector *vv);
static bool needs_base(ServePage *page, const VersionVector *events);
static bool can_continue(ServePage *page, const VersionVector *vv);

Datum
sync_changes_since(PG_FUNCTION_ARGS)
{
	VersionVector *since = PG_ARGISNULL(1) ? vv_empty() :
	PG_GETARG_VERSION_VECTOR_P(1);
	int32		max_changes = PG_ARGISNULL(2) ? 1000 : PG_GETARG_INT32(2);
	int32		schema_version = PG_ARGISNULL(4) ? 0 : PG_GETARG_INT32(4);
	ServeToken *token;
	ServePage	page;
	SyncDevice *device;
	DeltaHeader header = {0};
	DeltaData  *result;

	if (PG_ARGISNULL(0))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("device must not be null")));
	if (max_changes < 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("max_changes must be at least 1, not %d", max_changes)));
	device = sync_device_get(PG_GETARG_UUID_P(0), false);
	if (!PG_ARGISNULL(4))
		serve_check_version(schema_version);
	token = PG_ARGISNULL(3) ? serve_token_create() :
		serve_token_parse(text_to_cstring(PG_GETARG_TEXT_PP(3)));

	serve_begin(&page, device, schema_version, since, max_changes);
	header.to = since;
	if (device->is_revoked)
		serve_revoked_device(&page);
	else
		serve_page(&page, device, since, token, &header);
	SPI_finish();

	page_flush(&page);
	UnregisterSnapshot(page.snapshot);
	header.replica = page.node;
	header.from = since;
	header.hlc = Max(sync_clock_now(), page.hlc);
	header.schema_version = page.schema_version;
	header.is_served = true;
	result = page_finish(&page, &header);
	MemoryContextDelete(page.context);
	PG_RETURN_DELTA_P(result);
}

void
serve_begin(ServePage *page, const SyncDevice *device, int schema_version,
			const VersionVector *since, int budget)
{
	page_init(page, &device->uuid, budget);
	page->device_class = device->device_class;
	page->has_waiting = device->nwaiting > 0;
	page->class_event.node = device->class_node;
	page->class_event.xid = device->class_xid;
	set_versions(page, device, schema_version, since);
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	page_load(page);
}

void
serve_check_version(int version)
{
	if (version < 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("schema_version must be at least 1, not %d", version)));
	if (version > sync_schema_version())
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("device has schema version %d, but this node knows up to %d",
						version, sync_schema_version()),
				 errhint("Pull again when the server has been upgraded.")));
}

/*
 * The version of the schema that the page is in: as asked for (0: not), or as the
 * device declared last, or the present one.  And the one whose rows the device has,
 * which is the entry of a replica that is none in the vectors handed out.
 */
static void
set_versions(ServePage *page, const SyncDevice *device, int version,
			 const VersionVector *since)
{
	if (version == 0)
		version = device->schema_version;
	if (version == 0)
		version = sync_schema_version();
	page->schema_version = Min(version, sync_schema_version());
	page->known_version = known_version(since);

	/* after a crash, another command must not have made the version */
	if (page->known_version < page->schema_version)
		page_note_everything(page);
}

/*
 * What a node made after its end here is not in this history: nobody knows it who has
 * seen that.
 */
static int
known_version(const VersionVector *since)
{
	const SchemaNode *nodes;
	int			nnodes = sync_schema_nodes(&nodes);
	uint64		known = SCHEMA_FIRST_VERSION;

	for (int i = 0; i < nnodes; i++)
	{
		pg_uuid_t	replica;

		sync_schema_replica(sync_node_uuid_by_id(nodes[i].node), &replica);
		known = Max(known, Min(vv_base_counter(since, &replica),
							   (uint64) nodes[i].version));
	}
	return (int) known;
}

/* A vector's entries for the schema: those of the page's version, whatever since had. */
static void
claim_version(ServePage *page, VVBuilder *builder)
{
	const SchemaNode *nodes;
	int			nnodes = sync_schema_nodes(&nodes);
	int			made = SCHEMA_FIRST_VERSION;	/* by nodes before this one */

	for (uint32 i = 0; i < page->since->nentries; i++)
	{
		const pg_uuid_t *replica = &VV_ENTRIES(page->since)[i].replica;

		if (sync_is_schema_replica(replica))
			vv_builder_remove(builder, replica, 1, VV_MAX_COUNTER);
	}
	for (int i = 0; i < nnodes && made < page->schema_version; i++)
	{
		pg_uuid_t	replica;

		sync_schema_replica(sync_node_uuid_by_id(nodes[i].node), &replica);
		vv_builder_add(builder, &replica, 1,
					   Min(nodes[i].version, page->schema_version));
		made = nodes[i].version;
	}
}

static void
page_init(ServePage *page, const pg_uuid_t *device, int budget)
{
	HASHCTL		ctl = {0};
	MemoryContext old;

	memset(page, 0, sizeof(ServePage));
	page->context = AllocSetContextCreate(CurrentMemoryContext,
										  "offline_sync page",
										  ALLOCSET_DEFAULT_SIZES);
	page->row_context = AllocSetContextCreate(page->context, "offline_sync row",
											  ALLOCSET_DEFAULT_SIZES);
	page->push_context = AllocSetContextCreate(page->context,
											   "offline_sync push",
											   ALLOCSET_DEFAULT_SIZES);
	bump_init(&page->bump, page->context);
	page->snapshot = RegisterSnapshot(GetActiveSnapshot());
	page->device = *device;
	page->node = *sync_node_uuid();
	page->own_xid = U64FromFullTransactionId(GetTopFullTransactionIdIfAny());
	page->budget = budget;

	/* what comes back must not be too large to come in somewhere else */
	page->max_bytes = (Size) sync_max_delta_size * 1024 / 2;
	page->hlc = HLC_MIN;

	old = MemoryContextSwitchTo(page->context);
	page->served = row_set_create();
	ctl.keysize = sizeof(int32);
	ctl.entrysize = sizeof(ServeTable);
	ctl.hcxt = page->context;
	page->table_access = hash_create("offline_sync tables", 16, &ctl,
									 HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	MemoryContextSwitchTo(old);
}

/* What there is, as the page's snapshot sees it. */
static void
page_load(ServePage *page)
{
	MemoryContext old = MemoryContextSwitchTo(page->context);

	page->nodes = sync_node_list(&page->nnodes);
	page->tables = sync_table_list(&page->ntables);
	page->all_scopes = sync_device_scopes(&page->device, page->snapshot,
										  &page->nall_scopes);
	page->scopes = palloc(Max(page->nall_scopes, 1) * sizeof(SyncDeviceScope));
	for (int i = 0; i < page->nall_scopes; i++)
		if (page->all_scopes[i].can_pull)
			page->scopes[page->nscopes++] = page->all_scopes[i];
	MemoryContextSwitchTo(old);
}

/* A revoked device is told to forget everything, each time that it asks. */
static void
serve_revoked_device(ServePage *page)
{
	/* after a crash, it must not be found not to be revoked */
	page_note_everything(page);
	for (int i = 0; i < page->nall_scopes; i++)
		page_add_scope(page, page->all_scopes[i].scope);
}

/* ----------------------------------------------------------------
 * Phases
 * ---------------------------------------------------------------- */

static void
serve_page(ServePage *page, const SyncDevice *device,
		   const VersionVector *since, ServeToken *token, DeltaHeader *header)
{
	MemoryContext old = MemoryContextSwitchTo(page->context);
	VersionVector *events = visible_events(page);
	bool		is_complete;

	page->done = token->done;
	page->retracted = token->retracted;
	page->since = vv_join_vectors(since, vv_empty());

	if (!token->is_base)
	{
		bool		is_empty = covers_no_node(page, since);
		bool		is_lost = !is_empty &&
		(sync_vector_is_lost(since) ||
		 (!token->is_fresh && sync_device_is_expired(device)) ||
		 !can_continue(page, since));

		/* without any page, it has rows that it was told in answers */
		bool		has_rows = is_lost ||
		vv_base_counter(since, &page->device) > 0;

		if (is_empty || is_lost)
		{
			header->is_reset = has_rows;
			token->is_base = token->is_full = token->is_fresh = true;
			token->is_reset = is_lost;
			token->node = token->retract_node = 0;
			page->done = page->retracted = vv_empty();
			begin_full(page, token, events);
		}
	}
	else if (can_continue(page, token->is_full ? token->target : since))
		token->target = visible_part(page, token->target, true);
	else
	{
		/* it took so long that the log does not go back to its beginning */
		header->is_reset = true;
		token->is_full = token->is_fresh = token->is_reset = true;
		token->node = token->retract_node = 0;
		page->done = page->retracted = vv_empty();
		begin_full(page, token, events);
	}

	if (token->is_full)
		page->since = without_nodes(page, since, !token->is_reset);

	/*
	 * Events may have come up since a base scan began.  They need one of
	 * their own, before the log goes past them.
	 */
	retract_scopes(page, token, events);
	is_complete = !page->is_cut;
	if (is_complete && token->is_base)
		is_complete = serve_base_phase(page, token, header);
	if (is_complete && needs_base(page, events))
	{
		token->is_base = true;
		token->node = 0;
		token->target = events;
		is_complete = serve_base_phase(page, token, header);
	}
	if (is_complete)
		serve_log_phase(page, token, header);
	else
	{
		token->done = page->done;
		token->retracted = page->retracted;
		header->has_more = true;
		header->resume = serve_token_format(token);
	}
	MemoryContextSwitchTo(old);
}

/* True: it is complete, and since and done are what the log goes on from. */
static bool
serve_base_phase(ServePage *page, ServeToken *token, DeltaHeader *header)
{
	/* a row that is not there may have been deleted by anybody */
	page_note_everything(page);

	if (token->is_full)
	{
		int64		last = serve_pushes_last(page);
		VVBuilder  *builder = vv_builder_create();

		/* all pushes up to the one that this snapshot sees have been brought */
		vv_builder_add_vector(builder, token->target);
		vv_builder_remove(builder, &page->device, last + 1, VV_MAX_COUNTER);
		token->target = vv_builder_finish(builder);
	}
	else
	{
		/* what this snapshot does not see, the base scan does not bring */
		page->since = visible_part(page, page->since, false);
		header->to = page->since;
	}
	if (!serve_base(page, token))
		return false;

	page->done = vv_join_vectors(page->done, token->target);
	page->known_version = page->schema_version;
	if (token->is_full)
	{
		VVBuilder  *builder = vv_builder_create();

		vv_builder_add_vector(builder, token->target);
		if (page->own_xid != 0)
			vv_builder_remove(builder, &page->node, page->own_xid, page->own_xid);
		vv_builder_add_vector(builder, page->since);
		page->since = vv_builder_finish(builder);
	}
	token->is_base = token->is_full = token->is_reset = false;
	token->table_id = 0;
	return true;
}

static void
serve_log_phase(ServePage *page, ServeToken *token, DeltaHeader *header)
{
	VVBuilder  *builder = vv_builder_create();
	VersionVector *to;
	int64		last_push;
	bool		is_end;

	serve_pushes_load(page);
	is_end = serve_log(page, token, builder);

	/* with all of the log served, the events' transactions are, too */
	if (is_end)
	{
		vv_builder_add_vector(builder, page->done);
		vv_builder_add_vector(builder, page->retracted);
	}
	sync_remove_running(builder, page->snapshot);
	if (page->own_xid != 0)
		vv_builder_remove(builder, &page->node, page->own_xid, page->own_xid);
	vv_builder_remove(builder, &page->device, 1, VV_MAX_COUNTER);
	vv_builder_add_vector(builder, page->since);

	/* lower than before, if the device went back: it misses columns again */
	claim_version(page, builder);
	to = vv_builder_finish(builder);

	last_push = serve_pushes_covered(page, to);
	if (last_push > 0)
	{
		builder = vv_builder_create();
		vv_builder_add_vector(builder, to);
		vv_builder_add(builder, &page->device, 1, last_push);
		to = vv_builder_finish(builder);
	}

	header->to = to;
	header->has_more = !is_end;
	if (!is_end)
	{
		token->done = unless_covered(page->done, to);
		token->retracted = unless_covered(page->retracted, to);
		if (token->node != 0 || token->is_fresh ||
			token->done->nentries > 0 || token->retracted->nentries > 0)
			header->resume = serve_token_format(token);
	}
}

/* The claim of this snapshot, over all scopes and events: V0. */
static void
begin_full(ServePage *page, ServeToken *token, const VersionVector *events)
{
	VVBuilder  *builder = vv_builder_create();
	int64		last = serve_pushes_last(page);

	for (int i = 0; i < page->nnodes; i++)
	{
		SyncNode   *node = &page->nodes[i];
		bool		is_current = memcmp(&node->uuid, &page->node, UUID_LEN) == 0;

		for (int j = -1; j < page->nscopes; j++)
		{
			uint64		xid;

			CHECK_FOR_INTERRUPTS();
			xid = change_log_max_xid(j < 0 ? NULL : page->scopes[j].scope,
									 node->id, page->snapshot);
			if (xid != 0 && !(is_current && xid == page->own_xid))
				vv_builder_add(builder, &node->uuid, 1, xid);

			/* all before what was removed had ended */
			xid = j < 0 ? 0 : log_forgotten_xid(page->scopes[j].scope, node->id,
												page->snapshot);
			if (xid != 0)
			{
				page_note_position(page, &node->uuid, xid);
				vv_builder_add(builder, &node->uuid, 1, xid);
			}
		}
	}
	sync_remove_running(builder, page->snapshot);
	vv_builder_add_vector(builder, events);
	if (last > 0)
		vv_builder_add(builder, &page->device, 1, last);
	token->target = vv_builder_finish(builder);
	token->table_id = 0;
}

/*
 * Tell the device which scopes to forget, by position, so that at most one
 * transaction's scopes are told of in part.  One that has been granted again
 * comes again, too: the base scan follows.
 */
static void
retract_scopes(ServePage *page, ServeToken *token, const VersionVector *events)
{
	VVBuilder  *builder = vv_builder_create();
	SyncDeviceScope **due = palloc(Max(page->nall_scopes, 1) *
								   sizeof(SyncDeviceScope *));
	int			ndue = 0;
	int			i;

	for (i = 0; i < page->nall_scopes; i++)
		if (must_retract(page, token, &page->all_scopes[i], events))
			due[ndue++] = &page->all_scopes[i];
	if (ndue > 1)
		qsort(due, ndue, sizeof(SyncDeviceScope *), compare_revocations);

	vv_builder_add_vector(builder, page->retracted);
	for (i = 0; i < ndue && !page_is_full(page); i++)
	{
		page_add_scope(page, due[i]->scope);
		page_note_position(page, sync_node_uuid_by_id(due[i]->revoked_node),
						   due[i]->revoked_xid);
		token->retract_node = due[i]->revoked_node;
		token->retract_xid = due[i]->revoked_xid;
		token->retract_scope = due[i]->scope;
		if (i + 1 == ndue || compare_positions(due[i], due[i + 1]) != 0)
		{
			vv_builder_add(builder, sync_node_uuid_by_id(due[i]->revoked_node),
						   due[i]->revoked_xid, due[i]->revoked_xid);
			token->retract_node = 0;
		}
	}
	page->retracted = vv_builder_finish(builder);
	page->is_cut = i < ndue;
}

static bool
must_retract(ServePage *page, const ServeToken *token,
			 const SyncDeviceScope *scope, const VersionVector *events)
{
	const pg_uuid_t *node;

	if (scope->revoked_node == 0 ||
		(scope->revoked_node == token->retract_node &&
		 scope->revoked_xid == token->retract_xid &&
		 strcmp(scope->scope, token->retract_scope) <= 0))
		return false;
	node = sync_node_uuid_by_id(scope->revoked_node);
	return vv_covers_counter(events, node, scope->revoked_xid) &&
		!vv_covers_counter(page->since, node, scope->revoked_xid) &&
		!vv_covers_counter(page->retracted, node, scope->revoked_xid) &&
		!(token->is_full &&
		  vv_covers_counter(token->target, node, scope->revoked_xid));
}

static int
compare_positions(const SyncDeviceScope *a, const SyncDeviceScope *b)
{
	if (a->revoked_node != b->revoked_node)
		return a->revoked_node < b->revoked_node ? -1 : 1;
	return a->revoked_xid < b->revoked_xid ? -1 : a->revoked_xid > b->revoked_xid;
}

static int
compare_revocations(const void *a, const void *b)
{
	const SyncDeviceScope *sa = *(SyncDeviceScope *const *) a;
	const SyncDeviceScope *sb = *(SyncDeviceScope *const *) b;
	int			order = compare_positions(sa, sb);

	return order != 0 ? order : strcmp(sa->scope, sb->scope);
}

/* ----------------------------------------------------------------
 * Events and vectors
 * ---------------------------------------------------------------- */

bool
serve_event_is_done(const ServePage *page, const pg_uuid_t *node, uint64 xid)
{
	return vv_covers_counter(page->since, node, xid) ||
		vv_covers_counter(page->done, node, xid);
}

bool
serve_mask_event_is_done(const ServePage *page, const MaskEvent *event)
{
	return serve_event_is_done(page, sync_node_uuid_by_id(event->node), event->xid);
}

bool
serve_grant_is_done(const ServePage *page, const SyncDeviceScope *scope)
{
	return serve_event_is_done(page, sync_node_uuid_by_id(scope->granted_node),
							   scope->granted_xid);
}

/* The positions of all events that the snapshot sees, our own included. */
static VersionVector *
visible_events(ServePage *page)
{
	VVBuilder  *builder = vv_builder_create();

	for (int i = 0; i < page->ntables; i++)
	{
		Stamp	   *enabled = &page->tables[i]->enabled;
		const ColumnMasks *masks;

		vv_builder_add(builder, &enabled->node, enabled->xid, enabled->xid);
		masks = guard_has_masks(page->tables[i]) ?
			page_table(page, page->tables[i]->table_id)->masks : NULL;
		for (int j = 0; masks != NULL && j < masks->nshown; j++)
			add_event(builder, &masks->shown[j]);
	}
	if (page->class_event.node != 0)
		add_event(builder, &page->class_event);
	for (int i = 0; i < page->nall_scopes; i++)
	{
		SyncDeviceScope *scope = &page->all_scopes[i];

		if (scope->can_pull)
			vv_builder_add(builder, sync_node_uuid_by_id(scope->granted_node),
						   scope->granted_xid, scope->granted_xid);
		if (scope->revoked_node != 0)
			vv_builder_add(builder, sync_node_uuid_by_id(scope->revoked_node),
						   scope->revoked_xid, scope->revoked_xid);
	}
	return visible_part(page, vv_builder_finish(builder), true);
}

static void
add_event(VVBuilder *builder, const MaskEvent *event)
{
	vv_builder_add(builder, sync_node_uuid_by_id(event->node), event->xid, event->xid);
}

/* What the snapshot sees finished of a vector; with keep_own, our own
 * transaction passes for finished. */
static VersionVector *
visible_part(ServePage *page, const VersionVector *vv, bool keep_own)
{
	VVBuilder  *builder = vv_builder_create();

	vv_builder_add_vector(builder, vv);
	sync_remove_running(builder, page->snapshot);
	if (keep_own && page->own_xid != 0 &&
		vv_covers_counter(vv, &page->node, page->own_xid))
		vv_builder_add(builder, &page->node, page->own_xid, page->own_xid);
	return vv_builder_finish(builder);
}

/* A vector's entries of other devices, and of this one. */
static VersionVector *
without_nodes(ServePage *page, const VersionVector *vv, bool keep_device)
{
	VVBuilder  *builder = vv_builder_create();

	vv_builder_add_vector(builder, vv);
	for (int i = 0; i < page->nnodes; i++)
		vv_builder_remove(builder, &page->nodes[i].uuid, 1, VV_MAX_COUNTER);
	vv_builder_remove(builder, &page->node, 1, VV_MAX_COUNTER);
	if (!keep_device)
		vv_builder_remove(builder, &page->device, 1, VV_MAX_COUNTER);
	return vv_builder_finish(builder);
}

/* What a token has to remember of a vector, once another one is handed out. */
static VersionVector *
unless_covered(VersionVector *vv, const VersionVector *by)
{
	VVOrder		order = vv_compare(vv, by);

	return order == VV_EQUAL || order == VV_BEFORE ? vv_empty() : vv;
}

static bool
covers_no_node(ServePage *page, const VersionVector *vv)
{
	for (int i = 0; i < page->nnodes; i++)
		if (vv_max_counter(vv, &page->nodes[i].uuid) > 0)
			return false;
	return vv_max_counter(vv, &page->node) == 0;
}

/* Is there a table and scope that the device has no rows of yet? */
static bool
needs_base(ServePage *page, const VersionVector *events)
{
	for (int i = 0; i < page->ntables; i++)
	{
		SyncTable  *t = page->tables[i];

		if (!vv_covers_counter(events, &t->enabled.node, t->enabled.xid))
			continue;
		for (int j = 0; j < page->nscopes; j++)
		{
			SyncDeviceScope *scope = &page->scopes[j];

			if (serve_base_needs(page, t, scope) &&
				vv_covers_counter(events,
								  sync_node_uuid_by_id(scope->granted_node),
								  scope->granted_xid))
				return true;
		}
	}
	return false;
}

/* Is nothing gone that a device with this vector needs? */
static bool
can_continue(ServePage *page, const VersionVector *vv)
{
	return sync_device_can_continue(page->scopes, page->nscopes, vv,
									page->snapshot);
}
