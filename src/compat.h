/*-------------------------------------------------------------------------
 *
 * compat.h
 *	  The differences between PostgreSQL 15 and 18 that we meet, in one place.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OFFLINE_SYNC_COMPAT_H
#define OFFLINE_SYNC_COMPAT_H

#if PG_VERSION_NUM < 150000
#error "offline_sync needs PostgreSQL 15 or later"
#endif

#if PG_VERSION_NUM >= 160000
#include "varatt.h"
#include "nodes/miscnodes.h"
#endif

/* 16 has one function for all kinds of objects */
#if PG_VERSION_NUM >= 160000
#define pg_proc_ownercheck(proc, role) \
	object_ownercheck(ProcedureRelationId, proc, role)
#define pg_proc_aclcheck(proc, role, mode) \
	object_aclcheck(ProcedureRelationId, proc, role, mode)
#define pg_namespace_aclcheck(nsp, role, mode) \
	object_aclcheck(NamespaceRelationId, nsp, role, mode)
#define pg_extension_ownercheck(extension, role) \
	object_ownercheck(ExtensionRelationId, extension, role)
#define pg_class_ownercheck(relid, role) \
	object_ownercheck(RelationRelationId, relid, role)
#endif

/* Input functions report bad input softly where the server can take it (16). */
#if PG_VERSION_NUM < 160000
#define ereturn(context, dummy_value, ...) ereport(ERROR, __VA_ARGS__)
#endif

/* 18 writes it in front of a declaration */
#if PG_VERSION_NUM < 180000
#define pg_noreturn pg_attribute_noreturn()
#endif

/* Permissions left range table entries in 16; 18 asks what is not pruned. */
#if PG_VERSION_NUM >= 180000
#define compat_init_range_table(estate, rtes, permissions) \
	ExecInitRangeTable(estate, rtes, permissions, bms_make_singleton(1))
#elif PG_VERSION_NUM >= 160000
#define compat_init_range_table(estate, rtes, permissions) \
	ExecInitRangeTable(estate, rtes, permissions)
#else
#define compat_init_range_table(estate, rtes, permissions) \
	ExecInitRangeTable(estate, rtes)
#endif
#if PG_VERSION_NUM >= 160000
#define compat_add_permissions(permissions, rte) \
	((void) addRTEPermissionInfo(permissions, rte))
#define compat_set_updated_columns(estate, columns) \
	(linitial_node(RTEPermissionInfo, (estate)->es_rteperminfos)->updatedCols = (columns))
#define compat_epq_init(epq, estate) \
	EvalPlanQualInit(epq, estate, NULL, NIL, -1, NIL)
#else
#define compat_add_permissions(permissions, rte) ((void) 0)
#define compat_set_updated_columns(estate, columns) \
	(linitial_node(RangeTblEntry, (estate)->es_range_table)->updatedCols = (columns))
#define compat_epq_init(epq, estate) \
	EvalPlanQualInit(epq, estate, NULL, NIL, -1)
#endif

/* 18 wants to be told where to count the scan's work */
#if PG_VERSION_NUM >= 180000
#define compat_index_beginscan(heap, index, snapshot, nkeys) \
	index_beginscan(heap, index, snapshot, NULL, nkeys, 0)
#else
#define compat_index_beginscan(heap, index, snapshot, nkeys) \
	index_beginscan(heap, index, snapshot, nkeys, 0)
#endif

/* New index entries of a row that was inserted; 16 has indexes that an update may not
 * need them for */
#if PG_VERSION_NUM >= 160000
#define compat_insert_index_tuples(result, slot, estate) \
	ExecInsertIndexTuples(result, slot, estate, false, false, NULL, NIL, false)
#else
#define compat_insert_index_tuples(result, slot, estate) \
	ExecInsertIndexTuples(result, slot, estate, false, false, NULL, NIL)
#endif

/* A lexer of JSON without de-escaping; 17 can put it into the caller's space. */
#if PG_VERSION_NUM >= 170000
#define compat_make_json_lexer(space, json, len, encoding) \
	makeJsonLexContextCstringLen(space, json, len, encoding, false)
#else
#define compat_make_json_lexer(space, json, len, encoding) \
	makeJsonLexContextCstringLen(unconstify(char *, json), len, encoding, false)
#endif

/* 16 tells being a member of a role from the right to SET ROLE to it */
#if PG_VERSION_NUM >= 160000
#define compat_can_set_role(member, role) member_can_set_role(member, role)
#else
#define compat_can_set_role(member, role) is_member_of_role(member, role)
#endif

/* 18 has columns that are computed when they are read: who evaluates an expression
 * puts those of the relation of this index into it first. */
#if PG_VERSION_NUM >= 180000
#define compat_is_virtual(attribute) \
	((attribute)->attgenerated == ATTRIBUTE_GENERATED_VIRTUAL)
#define compat_expand_virtual(expr, rel, rt_index) \
	expand_generated_columns_in_expr(expr, rel, rt_index)
#else
#define compat_is_virtual(attribute) false
#define compat_expand_virtual(expr, rel, rt_index) (expr)
#endif

/* 18 has foreign keys that refer to all of a period, which no row alone may cover */
#if PG_VERSION_NUM >= 180000
#define compat_is_period(constraint) ((constraint)->conperiod)
#else
#define compat_is_period(constraint) false
#endif

/* 17 renamed the transaction manager's shared state */
#if PG_VERSION_NUM < 170000
#define TransamVariables ShmemVariableCache
#endif

#endif							/* OFFLINE_SYNC_COMPAT_H */
