/*-------------------------------------------------------------------------
 *
 * serve_base.c
 *	  Base scans: all rows of a table in a scope, for a device that has none.
 *
 * Rows are read through SPI, as the caller, in primary key order.  Pages have
 * snapshots of their own: a row that is written after its page was served is in
 * the log, at a position that the vector handed out at the end does not cover.
 *
 * The place where to go on refers to the tables in their order of rank.  If
 * that has changed when the next page is asked for, or the device's version of the
 * schema has, the scan starts again.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_class.h"
#include "catalog/pg_operator.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "compat.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "registry/column_history.h"
#include "registry/row_key.h"
#include "registry/value.h"
#include "serve/serve.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/ruleutils.h"
#include "utils/syscache.h"
#include "utils/typcache.h"

/* rows to read at a time */
#define BASE_BATCH		1000

/* more plans than this are not kept: they are all dropped, and made anew */
#define BASE_MAX_PLANS	256

/* A plan is kept per table description (its version), columns, and whether
 * it starts behind a key. */
typedef struct BasePlan
{
	uint64		hash;			/* hash key */
	uint64		version;
	bool		has_last;
	Bitmapset  *fetched;
	SPIPlanPtr	plan;
} BasePlan;

static HTAB *plans = NULL;

/* One pair of table and scope, as far as it has been read */
typedef struct BaseScan
{
	ServePage  *page;
	ServeTable *st;
	const char *scope;
	Datum		scope_value;	/* where the table has a scope column */
	bool		has_last;
	Datum	   *last;			/* [nkeys]: the key behind which to go on */
} BaseScan;

static bool has_news(ServePage *page, const SyncTable *table);
static bool scan_pair(ServePage *page, ServeToken *token, ServeTable *st,
					  const char *scope);
static bool scan_batch(BaseScan *scan, int *nread);
static bool serve_tuples(BaseScan *scan, SPITupleTable *tuptable);
static void serve_tuple(BaseScan *scan, const Datum *values, const bool *isnull);
static void set_last(BaseScan *scan, const Datum *key);
static bool has_unmasked(ServePage *page, SyncTable *table);
static void token_place(ServeToken *token, BaseScan *scan);
static void place_from_token(BaseScan *scan, const ServeToken *token);
static Datum text_to_value(SyncColumn *column, char *text, bool *isnull);
static SPIPlanPtr get_plan(BaseScan *scan);
static void drop_plans(void);
static char *plan_text(BaseScan *scan, int *nargs, Oid *argtypes);
static void append_after_last(StringInfo buf, const SyncTable *t, int nargs);
static void append_comparison(StringInfo buf, SyncColumn *column, Oid op,
							  int param);
static char *operator_name(Oid op);
static uint32 tables_hash(ServePage *page);

bool
serve_base(ServePage *page, ServeToken *token)
{
	uint32		hash = tables_hash(page);
	bool		is_behind;

	/* the rows so far may be in the words of another version of the schema */
	if (token->table_id != 0 && (token->tables_hash != hash ||
								 token->schema_version != page->schema_version))
	{
		token->table_id = 0;
		token->nkeys = 0;
	}
	token->tables_hash = hash;
	token->schema_version = page->schema_version;
	is_behind = token->table_id == 0;

	for (int i = 0; i < page->ntables; i++)
	{
		SyncTable  *t = page->tables[i];
		bool		is_here = t->table_id == token->table_id;
		ServeTable *st;

		if (!is_behind && !is_here)
			continue;
		is_behind = true;
		st = page_table(page, t->table_id);
		if (st->table == NULL || !st->is_readable)
			continue;

		for (int j = 0; j < page->nscopes; j++)
		{
			SyncDeviceScope *scope = &page->scopes[j];

			CHECK_FOR_INTERRUPTS();
			if (is_here && strcmp(scope->scope, token->scope) < 0)
				continue;
			if (!serve_base_needs(page, st->table, scope) ||
				!vv_covers_counter(token->target, &t->enabled.node,
								   t->enabled.xid) ||
				!vv_covers_counter(token->target,
								   sync_node_uuid_by_id(scope->granted_node),
								   scope->granted_xid))
				continue;
			if (!scan_pair(page, token, st, scope->scope))
				return false;
		}
	}
	return true;
}

bool
serve_base_needs(ServePage *page, SyncTable *table, const SyncDeviceScope *scope)
{
	if (table->scope_column < 0 && scope->scope[0] != '\0')
		return false;
	return !serve_event_is_done(page, &table->enabled.node, table->enabled.xid) ||
		!serve_grant_is_done(page, scope) || has_news(page, table) ||
		has_unmasked(page, table);
}

/* Are there columns that were not for the device, and are by now? */
static bool
has_unmasked(ServePage *page, SyncTable *table)
{
	const ColumnMasks *masks;

	if (!guard_has_masks(table))
		return false;
	masks = page_table(page, table->table_id)->masks;
	if (masks == NULL)
		return false;
	for (int i = 0; i < masks->nshown; i++)
		if (!serve_mask_event_is_done(page, &masks->shown[i]))
			return true;
	return masks->is_by_class && page->class_event.node != 0 &&
		!serve_mask_event_is_done(page, &page->class_event);
}

/* Has the table columns whose values were not served to the device, since it did not
 * know of them?  Where they were written last, its vector covers. */
static bool
has_news(ServePage *page, const SyncTable *table)
{
	if (page->known_version >= page->schema_version ||
		page->known_version >= table->schema_version)
		return false;
	return page_table(page, table->table_id)->has_news;
}

/* Does not tell orders apart that have the same hash: then a device could lose
 * rows, but only while tables' foreign keys change in the midst of its scan. */
static uint32
tables_hash(ServePage *page)
{
	const SchemaNode *nodes;
	int			nnodes = sync_schema_nodes(&nodes);
	uint32		hash = 0;

	for (int i = 0; i < page->ntables; i++)
	{
		SyncTable  *t = page->tables[i];

		hash = hash_combine(hash, murmurhash32((uint32) t->table_id));
		for (int k = 0; k < t->nkeys; k++)
			hash = hash_combine(hash,
								murmurhash32((uint32) t->columns[t->key[k]].column_id));
	}
	/* a version of the same number may be another one after a restore */
	for (int i = 0; i < nnodes; i++)
	{
		const pg_uuid_t *uuid = sync_node_uuid_by_id(nodes[i].node);

		hash = hash_combine(hash, hash_bytes(uuid->data, UUID_LEN));
	}
	return hash;
}

/* ----------------------------------------------------------------
 * One table and scope
 * ---------------------------------------------------------------- */

/* True: all rows have been served; false: the token says where to go on. */
static bool
scan_pair(ServePage *page, ServeToken *token, ServeTable *st, const char *scope)
{
	BaseScan	scan = {0};
	int			nread;

	scan.page = page;
	scan.st = st;
	scan.scope = scope;
	scan.last = palloc(st->table->nkeys * sizeof(Datum));
	if (st->table->scope_column >= 0 &&
		!serve_scope_value(&st->table->columns[st->table->scope_column], scope,
						   &scan.scope_value))
		return true;
	if (token->table_id == st->table->table_id &&
		strcmp(token->scope, scope) == 0 &&
		token->nkeys == st->table->nkeys)
		place_from_token(&scan, token);

	do
	{
		if (!scan_batch(&scan, &nread))
		{
			token_place(token, &scan);
			return false;
		}
	} while (nread > 0);
	return true;
}

/*
 * Read and serve the next rows; *nread: none is left when 0.  False: the page is
 * full and there are more.
 */
static bool
scan_batch(BaseScan *scan, int *nread)
{
	SyncTable  *t = scan->st->table;
	MemoryContext context = CurrentMemoryContext;
	SPIPlanPtr	plan = get_plan(scan);
	Datum		args[INDEX_MAX_KEYS + 2];
	int			nargs = 0;
	SPITupleTable *tuptable;
	bool		is_complete;
	int			rc;

	if (t->scope_column >= 0)
		args[nargs++] = scan->scope_value;
	if (scan->has_last)
	{
		memcpy(args + nargs, scan->last, t->nkeys * sizeof(Datum));
		nargs += t->nkeys;
	}
	/* one more than there is room for, to know whether there are more */
	args[nargs++] = Int64GetDatum(Min(Max(scan->page->budget, 0) + 1,
									  BASE_BATCH));

	rc = SPI_execute_plan(plan, args, NULL, true, 0);
	if (rc != SPI_OK_SELECT)
		elog(ERROR, "SPI_execute_plan failed: %s", SPI_result_code_string(rc));
	MemoryContextSwitchTo(context); /* SPI left its own */
	tuptable = SPI_tuptable;
	*nread = (int) tuptable->numvals;
	is_complete = serve_tuples(scan, tuptable);
	SPI_freetuptable(tuptable);
	return is_complete;
}

/* False: the page was full before the last of them. */
static bool
serve_tuples(BaseScan *scan, SPITupleTable *tuptable)
{
	ServePage  *page = scan->page;
	int			natts = tuptable->tupdesc->natts;
	Datum	   *values = palloc(natts * sizeof(Datum));
	bool	   *isnull = palloc(natts * sizeof(bool));
	int			nestlevel = value_modes_begin();
	bool		is_complete = true;

	for (uint64 i = 0; i < tuptable->numvals && is_complete; i++)
	{
		MemoryContext old;

		CHECK_FOR_INTERRUPTS();
		if (page_is_full(page))
		{
			is_complete = false;
			break;
		}
		heap_deform_tuple(tuptable->vals[i], tuptable->tupdesc, values, isnull);
		old = MemoryContextSwitchTo(page->row_context);
		MemoryContextReset(page->row_context);
		serve_tuple(scan, values, isnull);
		MemoryContextSwitchTo(old);
		set_last(scan, values + 1);
	}
	value_modes_end(nestlevel);
	pfree(values);
	pfree(isnull);
	return is_complete;
}

/* values: clock, key, fetched columns */
static void
serve_tuple(BaseScan *scan, const Datum *values, const bool *isnull)
{
	SyncTable  *t = scan->st->table;
	const Datum *key = values + 1;
	const Datum *fetched = key + t->nkeys;
	const bool *fetched_isnull = isnull + 1 + t->nkeys;
	char	   *scope = page_row_scope(scan->st, fetched, fetched_isnull);
	StringInfoData buf;
	RowRef		row;
	Bitmapset  *sent;

	/* equal to its type, but not the same text: another scope */
	if (scope == NULL || strcmp(scope, scan->scope) != 0)
		return;

	initStringInfo(&buf);
	row_key_encode(&buf, t, key);
	row.table_id = t->table_id;
	row.key = buf.data;
	row.keylen = buf.len;

	sent = bms_copy(scan->st->fetched);
	for (int i = 0; i < t->nkeys; i++)
		sent = bms_del_member(sent, t->key[i]);
	page_add_row(scan->page, scan->st, &row, key, DELTA_CHANGE_INSERT,
				 sync_table_clock(CurrentMemoryContext, t, values[0], isnull[0]),
				 fetched, fetched_isnull, sent);
}

static void
set_last(BaseScan *scan, const Datum *key)
{
	SyncTable  *t = scan->st->table;

	for (int i = 0; i < t->nkeys; i++)
	{
		SyncColumn *column = &t->columns[t->key[i]];

		if (scan->has_last && !column->typbyval)
			pfree(DatumGetPointer(scan->last[i]));
		scan->last[i] = datumCopy(key[i], column->typbyval, column->typlen);
	}
	scan->has_last = true;
}

/* What a scope is in its column's type */
typedef struct ScopeValue
{
	SyncColumn *column;
	const char *scope;
	Datum		value;
} ScopeValue;

/* value_attempt: NULL is no scope */
static bool
try_scope(void *arg)
{
	ScopeValue *s = arg;
	bool		isnull;

	s->value = text_to_value(s->column, pstrdup(s->scope), &isnull);
	return !isnull;
}

bool
serve_scope_value(SyncColumn *column, const char *scope, Datum *value)
{
	ScopeValue	s = {column, scope, (Datum) 0};

	if (column->type == TEXTOID)
		s.value = CStringGetTextDatum(scope);
	else if (!value_attempt(try_scope, &s))
		return false;
	*value = s.value;
	return true;
}

static Datum
text_to_value(SyncColumn *column, char *text, bool *isnull)
{
	int			nestlevel = value_modes_begin();
	DeltaValue	value;
	Datum		result;

	value.kind = DELTA_STRING;
	value.data = text;

	value.len = strlen(text);
	result = value_from_delta(column, &value, isnull);
	value_modes_end(nestlevel);
	return result;
}

/* ---- the place ---- */

static void
token_place(ServeToken *token, BaseScan *scan)
{
	SyncTable  *t = scan->st->table;
	int			nestlevel = value_modes_begin();

	token->table_id = t->table_id;
	token->scope = pstrdup(scan->scope);
	token->nkeys = scan->has_last ? t->nkeys : 0;
	token->key = palloc(t->nkeys * sizeof(char *));
	for (int i = 0; i < token->nkeys; i++)
		token->key[i] = value_to_text(&t->columns[t->key[i]], scan->last[i]);
	value_modes_end(nestlevel);
}

static void
place_from_token(BaseScan *scan, const ServeToken *token)
{
	SyncTable  *t = scan->st->table;

	for (int i = 0; i < t->nkeys; i++)
	{
		bool		isnull;

		scan->last[i] = text_to_value(&t->columns[t->key[i]], token->key[i],
									  &isnull);
		if (isnull)
			serve_token_error();
	}
	scan->has_last = true;
}

/* ----------------------------------------------------------------
 * The statement
 * ---------------------------------------------------------------- */

static SPIPlanPtr
get_plan(BaseScan *scan)
{
	uint64		version = scan->st->table->version;
	uint64		hash = hash_combine64(version,
									  ((uint64) bms_hash_value(scan->st->fetched) << 1) |
									  (scan->has_last ? 1 : 0));
	BasePlan   *entry;
	char	   *text;
	Oid			argtypes[INDEX_MAX_KEYS + 2];
	int			nargs;
	SPIPlanPtr	plan;
	bool		found;
	MemoryContext old = CurrentMemoryContext;

	if (plans == NULL)
	{
		HASHCTL		ctl = {0};

		ctl.keysize = sizeof(uint64);
		ctl.entrysize = sizeof(BasePlan);
		ctl.hcxt = CacheMemoryContext;
		plans = hash_create("offline_sync base scans", 32, &ctl,
							HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	}
	entry = hash_search(plans, &hash, HASH_FIND, NULL);
	if (entry != NULL && entry->version == version &&
		entry->has_last == scan->has_last &&
		bms_equal(entry->fetched, scan->st->fetched))
		return entry->plan;

	text = plan_text(scan, &nargs, argtypes);

	plan = SPI_prepare(text, nargs, argtypes);
	if (plan == NULL)
		elog(ERROR, "SPI_prepare failed: %s", SPI_result_code_string(SPI_result));
	SPI_keepplan(plan);

	if (hash_get_num_entries(plans) >= BASE_MAX_PLANS)
		drop_plans();
	MemoryContextSwitchTo(CacheMemoryContext);
	entry = hash_search(plans, &hash, HASH_ENTER, &found);
	if (found)
	{
		SPI_freeplan(entry->plan);
		bms_free(entry->fetched);
	}
	entry->version = version;
	entry->has_last = scan->has_last;
	entry->fetched = bms_copy(scan->st->fetched);
	entry->plan = plan;
	MemoryContextSwitchTo(old);
	return plan;
}

static void
drop_plans(void)
{
	HASH_SEQ_STATUS status;
	BasePlan   *entry;

	hash_seq_init(&status, plans);
	while ((entry = hash_seq_search(&status)) != NULL)
	{
		SPI_freeplan(entry->plan);
		bms_free(entry->fetched);
		(void) hash_search(plans, &entry->hash, HASH_REMOVE, NULL);
	}
}

/*
 * SELECT clock, key, columns FROM table WHERE scope = $1 AND key > $2.. ORDER BY
 * key LIMIT $n.  Every operator is the primary key's own, by its full name.
 */
static char *
plan_text(BaseScan *scan, int *nargs, Oid *argtypes)
{
	SyncTable  *t = scan->st->table;
	StringInfoData buf;

	initStringInfo(&buf);
	serve_append_select(&buf, scan->st, nargs, argtypes);
	if (scan->has_last)
	{
		appendStringInfoString(&buf, *nargs > 0 ? " AND " : " WHERE ");
		append_after_last(&buf, t, *nargs);
		for (int i = 0; i < t->nkeys; i++)
			argtypes[(*nargs)++] = t->columns[t->key[i]].type;
	}

	appendStringInfoString(&buf, " ORDER BY ");
	for (int i = 0; i < t->nkeys; i++)
		appendStringInfo(&buf, "%st.%s USING %s", i > 0 ? ", " : "",
						 quote_identifier(t->columns[t->key[i]].name),
						 operator_name(t->key_lt[i]));
	argtypes[(*nargs)++] = INT8OID;
	appendStringInfo(&buf, " LIMIT $%d", *nargs);
	return buf.data;
}

void
serve_append_select(StringInfo buf, const ServeTable *st, int *nargs, Oid *argtypes)
{
	SyncTable  *t = st->table;

	*nargs = 0;
	appendStringInfo(buf, "SELECT t.%s", quote_identifier(SYNC_CLOCK_COLUMN));
	for (int i = 0; i < t->nkeys; i++)
		appendStringInfo(buf, ", t.%s",
						 quote_identifier(t->columns[t->key[i]].name));
	for (int i = -1; (i = bms_next_member(st->fetched, i)) >= 0;)
		appendStringInfo(buf, ", t.%s", quote_identifier(t->columns[i].name));

	/* children by inheritance have keys of their own */
	appendStringInfo(buf, " FROM %s%s t",
					 get_rel_relkind(t->relid) == RELKIND_PARTITIONED_TABLE ?
					 "" : "ONLY ", t->qualified_name);

	if (t->scope_column >= 0)
	{
		SyncColumn *column = &t->columns[t->scope_column];
		TypeCacheEntry *type = lookup_type_cache(column->type, TYPECACHE_EQ_OPR);

		argtypes[(*nargs)++] = column->type;
		appendStringInfoString(buf, " WHERE ");
		if (OidIsValid(type->eq_opr))
			append_comparison(buf, column, type->eq_opr, *nargs);
		else
			appendStringInfo(buf, "$%d IS NOT NULL", *nargs);
	}
}

/*
 * Behind the key $nargs+1 ..: (a >= $1 AND (a > $1 OR (b >= $2 AND (b > $2 OR
 * ...)))), which an index on (a, b) can start from at a.
 */
static void
append_after_last(StringInfo buf, const SyncTable *t, int nargs)
{
	for (int i = 0; i < t->nkeys; i++)
	{
		SyncColumn *column = &t->columns[t->key[i]];

		if (i < t->nkeys - 1)
		{
			appendStringInfoChar(buf, '(');
			append_comparison(buf, column, get_negator(t->key_lt[i]),
							  nargs + i + 1);
			appendStringInfoString(buf, " AND (");
			append_comparison(buf, column, t->key_gt[i], nargs + i + 1);
			appendStringInfoString(buf, " OR ");
		}
		else
			append_comparison(buf, column, t->key_gt[i], nargs + i + 1);
	}
	for (int i = 0; i < t->nkeys - 1; i++)
		appendStringInfoString(buf, "))");
}

/* "OPERATOR(schema.name)" */
static char *
operator_name(Oid op)
{
	HeapTuple	tuple = SearchSysCache1(OPEROID, ObjectIdGetDatum(op));
	Form_pg_operator form;
	char	   *name;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for operator %u", op);
	form = (Form_pg_operator) GETSTRUCT(tuple);
	name = psprintf("OPERATOR(%s.%s)",
					quote_identifier(get_namespace_name(form->oprnamespace)),
					NameStr(form->oprname));
	ReleaseSysCache(tuple);
	return name;
}

/* "t.column op $param" */
static void
append_comparison(StringInfo buf, SyncColumn *column, Oid op, int param)
{
	char	   *name = psprintf("t.%s", quote_identifier(column->name));
	char	   *number = psprintf("$%d", param);

	generate_operator_clause(buf, name, column->type, op, number, column->type);
}
