/*-------------------------------------------------------------------------
 *
 * orset_io.c
 *	  Text and binary form of the type orset.
 *
 * There are two text forms.  The short one is for sets that nobody shared yet:
 * its elements are plain, the context is empty.
 *
 *	{"ann","bob"}		in JSON's string syntax; also taken as ["ann","bob"]
 *
 * The full one is a JSON object:
 *
 *	{"elements":{"ann":[["<uuid>",5]],"bob":[],"eve":[null,["<uuid>",6]]},
 *	 "context":{"<uuid>":6}}
 *
 * An element's list has its tags; null is the plain mark, which goes without
 * saying for an element without tags.  What the context lacks of the tags is
 * added to it.  Which form it is shows after the first string: a colon, or not.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "compat.h"
#include "libpq/pqformat.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "types/json_scan.h"
#include "types/orset.h"

#define WIRE_VERSION		1

static bool is_full_form(const JsonScan *scan);
static void scan_short(JsonScan *scan, OrSet *set, char close);
static void scan_full(JsonScan *scan, OrSet *set);
static void scan_elements(JsonScan *scan, OrSet *set, StringInfo buf);
static void scan_tags(JsonScan *scan, OrSet *set, OrSetElement *element);
static VersionVector *scan_context(JsonScan *scan);
static void put_element(StringInfo buf, const OrSetElement *element);
static const char *element_to_server(OrSetElement *element);


PG_FUNCTION_INFO_V1(orset_in);
Datum
orset_in(PG_FUNCTION_ARGS)
{
	char	   *str = PG_GETARG_CSTRING(0);
	OrSet	   *set = orset_create(CurrentMemoryContext);
	JsonScan	scan;

	json_scan_init(&scan, "orset", str, strlen(str));
	if (json_scan_accept(&scan, '['))
		scan_short(&scan, set, ']');
	else
	{
		json_scan_expect(&scan, '{');
		if (is_full_form(&scan))
			scan_full(&scan, set);
		else
			scan_short(&scan, set, '}');
	}
	json_scan_finish(&scan);
	PG_RETURN_ORSET_P(orset_pack(set));
}

PG_FUNCTION_INFO_V1(orset_out);
Datum
orset_out(PG_FUNCTION_ARGS)
{
	OrSet	   *set = orset_unpack(CurrentMemoryContext, PG_GETARG_ORSET_P(0));
	bool		full = set->seen->nentries > 0;
	StringInfoData buf;

	initStringInfo(&buf);
	appendStringInfoString(&buf, full ? "{\"elements\":{" : "{");
	for (int i = 0; i < set->nelements; i++)
	{
		if (i > 0)
			appendStringInfoChar(&buf, ',');
		if (full)
			put_element(&buf, &set->elements[i]);
		else
			json_scan_put_string(&buf, set->elements[i].data,
								 set->elements[i].len);
	}
	if (full)
	{
		appendStringInfoString(&buf, "},\"context\":");
		vv_format(&buf, set->seen);
	}
	appendStringInfoChar(&buf, '}');
	PG_RETURN_CSTRING(buf.data);
}

/*
 * The elements travel in the client's encoding, in which their order may be
 * another one: they are sorted again here.  All else must be canonical.
 */
PG_FUNCTION_INFO_V1(orset_recv);
Datum
orset_recv(PG_FUNCTION_ARGS)
{
	StringInfo	msg = (StringInfo) PG_GETARG_POINTER(0);
	int			version = pq_getmsgbyte(msg);
	int			len = msg->len - msg->cursor;
	const char *problem;
	OrSet	   *set;

	if (version != WIRE_VERSION)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("binary format %d of type %s is not supported",
						version, "orset"),
				 errdetail("The only supported format is %d.", WIRE_VERSION)));

	problem = orset_decode(pq_getmsgbytes(msg, len), len, false,
						   CurrentMemoryContext, &set);
	for (int i = 0; problem == NULL && i < set->nelements; i++)
		problem = element_to_server(&set->elements[i]);
	if (problem == NULL && orset_normalize(set) > 0)
		problem = "An element is there twice.";
	if (problem != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_BINARY_REPRESENTATION),
				 errmsg("invalid binary value of type %s", "orset"),
				 errdetail_internal("%s", problem)));
	PG_RETURN_ORSET_P(orset_pack(set));
}

PG_FUNCTION_INFO_V1(orset_send);
Datum
orset_send(PG_FUNCTION_ARGS)
{
	OrSet	   *set = orset_unpack(CurrentMemoryContext, PG_GETARG_ORSET_P(0));
	StringInfoData buf;

	for (int i = 0; i < set->nelements; i++)
	{
		OrSetElement *element = &set->elements[i];
		char	   *converted = pg_server_to_client(element->data, element->len);

		if (converted != element->data)
		{
			element->data = converted;
			element->len = strlen(converted);
		}
	}

	pq_begintypsend(&buf);
	pq_sendbyte(&buf, WIRE_VERSION);
	orset_encode(&buf, set);
	PG_RETURN_BYTEA_P(pq_endtypsend(&buf));
}

/* Behind the opening brace: is there a string, and then a colon? */
static bool
is_full_form(const JsonScan *scan)
{
	JsonScan	ahead = *scan;
	StringInfoData buf;
	bool		result;

	if (!json_scan_sees(&ahead, '"'))
		return false;
	initStringInfo(&buf);
	json_scan_string(&ahead, &buf);
	result = json_scan_sees(&ahead, ':');
	pfree(buf.data);
	return result;
}

static void
scan_short(JsonScan *scan, OrSet *set, char close)
{
	StringInfoData buf;

	initStringInfo(&buf);
	for (int i = 0; json_scan_member(scan, i, close); i++)
	{
		CHECK_FOR_INTERRUPTS();
		json_scan_string(scan, &buf);
		orset_append(set, buf.data, buf.len)->is_plain = true;
	}
	pfree(buf.data);
	orset_normalize(set);
}

static void
scan_full(JsonScan *scan, OrSet *set)
{
	StringInfoData buf;
	bool		has_elements = false;
	bool		has_context = false;

	initStringInfo(&buf);
	for (int i = 0; json_scan_member(scan, i, '}'); i++)
	{
		json_scan_key(scan, &buf);
		if (strcmp(buf.data, "elements") == 0 && !has_elements)
		{
			scan_elements(scan, set, &buf);
			has_elements = true;
		}
		else if (strcmp(buf.data, "context") == 0 && !has_context)
		{
			set->seen = scan_context(scan);
			has_context = true;
		}
		else
			json_scan_fail(scan, "Expected the keys \"elements\" and \"context\", each once");
	}
	if (!has_elements)
		json_scan_fail(scan, "The key \"elements\" is missing");
	if (orset_normalize(set) > 0)
		json_scan_fail(scan, "An element is there twice");
}

static void
scan_elements(JsonScan *scan, OrSet *set, StringInfo buf)
{
	json_scan_expect(scan, '{');
	for (int i = 0; json_scan_member(scan, i, '}'); i++)
	{
		CHECK_FOR_INTERRUPTS();
		json_scan_key(scan, buf);
		scan_tags(scan, set, orset_append(set, buf->data, buf->len));
	}
}

static void
scan_tags(JsonScan *scan, OrSet *set, OrSetElement *element)
{
	json_scan_expect(scan, '[');
	for (int i = 0; json_scan_member(scan, i, ']'); i++)
	{
		OrSetTag	tag;

		CHECK_FOR_INTERRUPTS();
		if (json_scan_word(scan, "null"))
		{
			element->is_plain = true;
			continue;
		}
		json_scan_expect(scan, '[');
		json_scan_uuid(scan, &tag.replica);
		json_scan_expect(scan, ',');
		tag.counter = json_scan_integer(scan, 1, VV_MAX_COUNTER);
		json_scan_expect(scan, ']');
		orset_append_tag(set, element, &tag);
	}
	if (element->ntags == 0)
		element->is_plain = true;
}

static VersionVector *
scan_context(JsonScan *scan)
{
	int			len;
	const char *object = json_scan_object(scan, &len);
	const char *problem;
	VersionVector *seen = vv_parse(object, len, &problem);

	if (seen == NULL)
	{
		scan->cursor = object;
		json_scan_fail(scan, psprintf("The context is malformed: %s", problem));
	}
	return seen;
}

static void
put_element(StringInfo buf, const OrSetElement *element)
{
	const char *separator = "";

	json_scan_put_string(buf, element->data, element->len);
	appendStringInfoString(buf, ":[");
	if (element->is_plain && element->ntags > 0)
	{
		appendStringInfoString(buf, "null");
		separator = ",";
	}
	for (int i = 0; i < element->ntags; i++)
	{
		appendStringInfo(buf, "%s[", separator);
		json_scan_put_uuid(buf, &element->tags[i].replica);
		appendStringInfo(buf, "," UINT64_FORMAT "]", element->tags[i].counter);
		separator = ",";
	}
	appendStringInfoChar(buf, ']');
}

/* Bring the element's text, which a client sent, into the server's encoding.
 * Raises where it is not text; returns what else is wrong with it. */
static const char *
element_to_server(OrSetElement *element)
{
	char	   *converted;

	if (memchr(element->data, '\0', element->len) != NULL)
		return "An element contains a zero byte.";
	converted = pg_client_to_server(element->data, element->len);
	if (converted != element->data)
	{
		element->data = converted;
		element->len = strlen(converted);
	}
	return NULL;
}
