/*-------------------------------------------------------------------------
 *
 * json_scan.h
 *	  Reading short JSON texts of a known shape, front to back.
 *
 * For the text forms of our types, whose grammar is fixed: the caller asks for
 * what must come next.  There is no tree and no recursion, hence no depth to
 * limit, and a repeated or unknown key is the caller's to refuse.  Everything
 * that is not as asked for raises 22P02 with the position.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OFFLINE_SYNC_JSON_SCAN_H
#define OFFLINE_SYNC_JSON_SCAN_H

#include "compat.h"
#include "lib/stringinfo.h"
#include "utils/uuid.h"

typedef struct JsonScan
{
	const char *type;			/* name of the SQL type, for messages */
	const char *start;
	const char *cursor;
	const char *end;
} JsonScan;

extern void json_scan_init(JsonScan *scan, const char *type, const char *str,
						   int len);

/* Does this character come next, after white space? */
extern bool json_scan_sees(JsonScan *scan, char c);

/* The same, and step over it if so; or raise if not. */
extern bool json_scan_accept(JsonScan *scan, char c);
extern void json_scan_expect(JsonScan *scan, char c);

/*
 * Step to the next member of an array or object that was opened, up to and
 * including the closing character, where it returns false:
 *
 *		json_scan_expect(&scan, '[');
 *		for (int i = 0; json_scan_member(&scan, i, ']'); i++) ...
 */
extern bool json_scan_member(JsonScan *scan, int index, char close);

/* A string; buf is reset and gets its content, in the server's encoding and
 * without NUL.  json_scan_key: with the colon behind it. */
extern void json_scan_string(JsonScan *scan, StringInfo buf);
extern void json_scan_key(JsonScan *scan, StringInfo buf);

/* An integer from min to max, which may be quoted (for readers whose numbers
 * are floats). */
extern int64 json_scan_integer(JsonScan *scan, int64 min, int64 max);

/* A string that is a uuid. */
extern void json_scan_uuid(JsonScan *scan, pg_uuid_t *uuid);

/* null, true: step over the word, or return false. */
extern bool json_scan_word(JsonScan *scan, const char *word);

/* An object, unread: returns where it starts and sets its length. */
extern const char *json_scan_object(JsonScan *scan, int *len);

extern void json_scan_finish(JsonScan *scan);

/* Raise 22P02; detail is a sentence without its end. */
pg_noreturn extern void json_scan_fail(const JsonScan *scan, const char *detail);

/* Writing: a quoted string; a quoted uuid. */
extern void json_scan_put_string(StringInfo buf, const char *data, int len);
extern void json_scan_put_uuid(StringInfo buf, const pg_uuid_t *uuid);

#endif							/* OFFLINE_SYNC_JSON_SCAN_H */
