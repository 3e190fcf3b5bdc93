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
#define pg_class_ownercheck(relid, role) \
	object_ownercheck(RelationRelationId, relid, role)
#define pg_proc_aclcheck(proc, role, mode) \
	object_aclcheck(ProcedureRelationId, proc, role, mode)
#endif

/* Input functions report bad input softly where the server can take it (16). */
#if PG_VERSION_NUM < 160000
#define ereturn(context, dummy_value, ...) ereport(ERROR, __VA_ARGS__)
#endif

/* 18 spells it pg_noreturn, and in front */
#if PG_VERSION_NUM >= 180000 && !defined(pg_attribute_noreturn)
#define pg_attribute_noreturn() __attribute__((noreturn))
#endif

/* 18 wants to be told where to count the scan's work */
#if PG_VERSION_NUM >= 180000
#define compat_index_beginscan(heap, index, snapshot, nkeys) \
	index_beginscan(heap, index, snapshot, NULL, nkeys, 0)
#else
#define compat_index_beginscan(heap, index, snapshot, nkeys) \
	index_beginscan(heap, index, snapshot, nkeys, 0)
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

/* 17 renamed the transaction manager's shared state */
#if PG_VERSION_NUM < 170000
#define TransamVariables ShmemVariableCache
#endif

#endif							/* OFFLINE_SYNC_COMPAT_H */
