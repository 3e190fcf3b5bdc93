/*-------------------------------------------------------------------------
 *
 * table_view.c
 *	  What people are shown of the registry.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "compat.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "registry/table_registry.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/json.h"
#include "utils/jsonb.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"
#include "utils/xid8.h"

PG_FUNCTION_INFO_V1(sync_tables_info);
PG_FUNCTION_INFO_V1(sync_row_clock_entries);

#define NATTS_TABLES	10
#define NATTS_ENTRIES	5

static bool may_see(Oid relid);
static void put_table(ReturnSetInfo *rsinfo, const TrackedTable *row,
					  const SyncTable *t);
static Datum policies_as_jsonb(const SyncTable *t);

/*
 * sync_tables_info() -> setof record: the tables of which the caller may read
 * something, with their rules.
 */
Datum
sync_tables_info(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	int			nids;
	int32	   *ids;
	int			i;

	InitMaterializedSRF(fcinfo, 0);
	ids = sync_table_ids(&nids);
	for (i = 0; i < nids; i++)
	{
		SyncTable  *t = sync_table_by_id(ids[i]);
		Oid			relid;
		const TrackedTable *row = sync_table_row(ids[i], &relid);

		if (t != NULL && row != NULL && may_see(t->relid))
			put_table(rsinfo, row, t);
	}
	return (Datum) 0;
}

/* Privileges on some of its columns are enough. */
static bool
may_see(Oid relid)
{
	return pg_class_aclcheck(relid, GetUserId(), ACL_SELECT) == ACLCHECK_OK ||
		pg_attribute_aclcheck_all(relid, GetUserId(), ACL_SELECT,
								  ACLMASK_ANY) == ACLCHECK_OK;
}

static void
put_table(ReturnSetInfo *rsinfo, const TrackedTable *row, const SyncTable *t)
{
	Datum		values[NATTS_TABLES];
	bool		nulls[NATTS_TABLES] = {false};
	NameData	scope;

	values[0] = Int32GetDatum(t->table_id);
	values[1] = CStringGetTextDatum(t->wire_name);
	values[2] = ObjectIdGetDatum(t->relid);
	nulls[3] = t->scope_column < 0;
	if (!nulls[3])
	{
		namestrcpy(&scope, t->columns[t->scope_column].name);
		values[3] = NameGetDatum(&scope);
	}
	values[4] = policies_as_jsonb(t);
	values[5] = CStringGetTextDatum(row->on_delete);
	values[6] = CStringGetTextDatum(row->mode);
	values[7] = CStringGetTextDatum(row->consistency);
	values[8] = CStringGetTextDatum(row->audit);
	values[9] = TimestampTzGetDatum(row->enabled_at);
	tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
}

/* {"column": "policy"} of the columns that are not merely last-writer-wins. */
static Datum
policies_as_jsonb(const SyncTable *t)
{
	StringInfoData buf;
	int			i;

	initStringInfo(&buf);
	for (i = 0; i < t->ncolumns; i++)
	{
		if (t->columns[i].policy == POLICY_LWW)
			continue;
		appendStringInfoChar(&buf, buf.len == 0 ? '{' : ',');
		escape_json(&buf, t->columns[i].name);
		appendStringInfo(&buf, ":\"%s\"",
						 sync_policy_name(t->columns[i].policy));
	}
	appendStringInfoString(&buf, buf.len == 0 ? "{}" : "}");
	return DirectFunctionCall1(jsonb_in, CStringGetDatum(buf.data));
}

/*
 * row_clock_entries(regclass, row_clock): the newest stamp of each column, by name.
 * Not strict: a NULL clock is that of a row from before the table was enabled.
 */
Datum
sync_row_clock_entries(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	SyncTable  *t = PG_ARGISNULL(0) ? NULL : sync_table_by_relid(PG_GETARG_OID(0));
	RowClock   *clock;
	int			i;

	InitMaterializedSRF(fcinfo, 0);
	if (PG_ARGISNULL(0))
		return (Datum) 0;
	if (t == NULL)
		sync_table_not_enabled(PG_GETARG_OID(0));
	clock = sync_table_clock(CurrentMemoryContext, t,
							 PG_ARGISNULL(1) ? (Datum) 0 : PG_GETARG_DATUM(1),
							 PG_ARGISNULL(1));
	for (i = 0; i < t->ncolumns; i++)
	{
		const Stamp *stamp = row_clock_get(clock, t->columns[i].column_id);
		Datum		values[NATTS_ENTRIES];
		bool		nulls[NATTS_ENTRIES] = {false};
		NameData	name;

		if (stamp == NULL)
			continue;
		namestrcpy(&name, t->columns[i].name);
		values[0] = NameGetDatum(&name);
		values[1] = HlcGetDatum(stamp->hlc);
		values[2] = UUIDPGetDatum(&stamp->replica);
		values[3] = UUIDPGetDatum(&stamp->node);
		values[4] = FullTransactionIdGetDatum(FullTransactionIdFromU64(stamp->xid));
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	return (Datum) 0;
}
