/*-------------------------------------------------------------------------
 *
 * json.c
 *	  Just enough JSON for a client.
 *
 *-------------------------------------------------------------------------
 */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "simulation.h"

static Json *parse_value(const char **p);
typedef enum JsonStyle
{
	AS_IT_IS, CANONICAL, COMPACT
} JsonStyle;

static void write_value(Buf *buf, const Json *json, JsonStyle style);

Json *
json_new(JsonType type)
{
	Json	   *json = take(sizeof(Json));

	json->type = type;
	return json;
}

Json *
json_string(const char *text)
{
	Json	   *json = json_new(text == NULL ? JSON_NULL : JSON_STRING);

	json->text = copy(text);
	return json;
}

Json *
json_number(long long value)
{
	Json	   *json = json_new(JSON_NUMBER);

	json->text = form("%lld", value);
	return json;
}

static void
add_item(Json *json, char *key, Json *value)
{
	if (json->n == json->size)
	{
		int			size = json->size * 2 + 4;
		char	  **keys = take(size * sizeof(char *));
		Json	  **items = take(size * sizeof(Json *));

		if (json->n > 0)
		{
			memcpy(keys, json->keys, json->n * sizeof(char *));
			memcpy(items, json->items, json->n * sizeof(Json *));
		}
		json->keys = keys;
		json->items = items;
		json->size = size;
	}
	json->keys[json->n] = key;
	json->items[json->n++] = value;
}

Json *
json_copy(const Json *json)
{
	Json	   *result = json_new(json->type);

	result->text = json->text;
	for (int i = 0; i < json->n; i++)
		add_item(result, json->keys[i], json->items[i]);
	return result;
}

Json *
json_get(const Json *object, const char *key)
{
	if (object == NULL || object->type != JSON_OBJECT)
		return NULL;
	for (int i = 0; i < object->n; i++)
	{
		if (strcmp(object->keys[i], key) == 0)
			return object->items[i];
	}
	return NULL;
}

/* NULL where it is missing or null. */
const char *
json_text(const Json *object, const char *key)
{
	Json	   *value = json_get(object, key);

	return value == NULL || value->type == JSON_NULL ? NULL : value->text;
}

long long
json_long(const Json *object, const char *key)
{
	const char *text = json_text(object, key);

	return text == NULL ? 0 : atoll(text);
}

bool
json_true(const Json *object, const char *key)
{
	const char *text = json_text(object, key);

	return text != NULL && strcmp(text, "true") == 0;
}

void
json_put(Json *object, const char *key, Json *value)
{
	for (int i = 0; i < object->n; i++)
	{
		if (strcmp(object->keys[i], key) != 0)
			continue;
		if (value != NULL)
			object->items[i] = value;
		else
		{
			object->n--;
			object->keys[i] = object->keys[object->n];
			object->items[i] = object->items[object->n];
		}
		return;
	}
	if (value != NULL)
		add_item(object, copy(key), value);
}

void
json_push(Json *array, Json *value)
{
	add_item(array, NULL, value);
}

bool
json_has_text(const Json *array, const char *text)
{
	for (int i = 0; array != NULL && i < array->n; i++)
	{
		if (array->items[i]->text != NULL && strcmp(array->items[i]->text, text) == 0)
			return true;
	}
	return false;
}

/* ------------------------------------------------------------- reading */

static void
skip_space(const char **p)
{
	while (isspace((unsigned char) **p))
		(*p)++;
}

/* Escapes beyond ASCII become UTF-8; surrogate pairs do not occur. */
static char *
parse_string(const char **p)
{
	const char *end = ++(*p);
	char	   *result;
	char	   *to;

	while (*end && *end != '"')
		end += *end == '\\' && end[1] ? 2 : 1;
	if (*end == '\0')
		return NULL;
	result = to = take(end - *p + 1);
	for (const char *c = *p; c < end; c++)
	{
		unsigned	code;

		if (*c != '\\')
		{
			*to++ = *c;
			continue;
		}
		switch (*++c)
		{
			case 'n': *to++ = '\n'; break;
			case 't': *to++ = '\t'; break;
			case 'r': *to++ = '\r'; break;
			case 'b': *to++ = '\b'; break;
			case 'f': *to++ = '\f'; break;
			case 'u':
				code = 0;
				sscanf(c + 1, "%4x", &code);
				c += 4;
				if (code < 0x80)
					*to++ = code;
				else if (code < 0x800)
				{
					*to++ = 0xC0 | code >> 6;
					*to++ = 0x80 | (code & 0x3F);
				}
				else
				{
					*to++ = 0xE0 | code >> 12;
					*to++ = 0x80 | (code >> 6 & 0x3F);
					*to++ = 0x80 | (code & 0x3F);
				}
				break;
			default: *to++ = *c; break;
		}
	}
	*p = end + 1;
	return result;
}

static Json *
parse_list(const char **p, JsonType type, char end)
{
	Json	   *json = json_new(type);

	(*p)++;
	skip_space(p);
	while (**p != end)
	{
		char	   *key = NULL;
		Json	   *value;

		if (json->n > 0)
		{
			if (*(*p)++ != ',')
				return NULL;
			skip_space(p);
		}
		if (type == JSON_OBJECT)
		{
			if (**p != '"' || (key = parse_string(p)) == NULL)
				return NULL;
			skip_space(p);
			if (*(*p)++ != ':')
				return NULL;
		}
		if ((value = parse_value(p)) == NULL)
			return NULL;
		add_item(json, key, value);
		skip_space(p);
	}
	(*p)++;
	return json;
}

static Json *
parse_word(const char **p, const char *word, JsonType type)
{
	Json	   *json = json_new(type);

	if (strncmp(*p, word, strlen(word)) != 0)
		return NULL;
	*p += strlen(word);
	json->text = copy(word);
	return json;
}

static Json *
parse_value(const char **p)
{
	Json	   *json;
	size_t		len;

	skip_space(p);
	switch (**p)
	{
		case '{': return parse_list(p, JSON_OBJECT, '}');
		case '[': return parse_list(p, JSON_ARRAY, ']');
		case 't': return parse_word(p, "true", JSON_BOOL);
		case 'f': return parse_word(p, "false", JSON_BOOL);
		case 'n': return parse_word(p, "null", JSON_NULL);
		case '"':
			json = json_new(JSON_STRING);
			json->text = parse_string(p);
			return json->text == NULL ? NULL : json;
	}
	len = strspn(*p, "+-.0123456789eE");
	if (len == 0)
		return NULL;
	json = json_new(JSON_NUMBER);
	json->text = form("%.*s", (int) len, *p);
	*p += len;
	return json;
}

Json *
json_parse(const char *text)
{
	Json	   *json = parse_value(&text);

	skip_space(&text);
	return *text == '\0' ? json : NULL;
}

/* ------------------------------------------------------------- writing */

static void
write_string(Buf *buf, const char *text)
{
	buf_add(buf, "\"");
	for (; *text; text++)
	{
		if (*text == '"' || *text == '\\')
			buf_add(buf, "\\%c", *text);
		else if ((unsigned char) *text < ' ')
			buf_add(buf, "\\u%04x", *text);
		else
			buf_add(buf, "%c", *text);
	}
	buf_add(buf, "\"");
}

static void
write_object(Buf *buf, const Json *json, JsonStyle style)
{
	bool		done[json->n + 1];

	memset(done, 0, sizeof(done));
	buf_add(buf, "{");
	for (int i = 0; i < json->n; i++)
	{
		int			next = i;

		if (style != AS_IT_IS)	/* the least of those that are left */
		{
			next = -1;
			for (int j = 0; j < json->n; j++)
			{
				if (!done[j] && (next < 0 || strcmp(json->keys[j], json->keys[next]) < 0))
					next = j;
			}
			done[next] = true;
		}
		if (i > 0)
			buf_add(buf, style == COMPACT ? "," : ", ");
		write_string(buf, json->keys[next]);
		buf_add(buf, style == COMPACT ? ":" : ": ");
		write_value(buf, json->items[next], style);
	}
	buf_add(buf, "}");
}

static void
write_value(Buf *buf, const Json *json, JsonStyle style)
{
	const char *comma = style == COMPACT ? "," : ", ";

	switch (json->type)
	{
		case JSON_OBJECT:
			write_object(buf, json, style);
			break;
		case JSON_ARRAY:
			buf_add(buf, "[");
			for (int i = 0; i < json->n; i++)
			{
				if (i > 0)
					buf_add(buf, "%s", comma);
				write_value(buf, json->items[i], style);
			}
			buf_add(buf, "]");
			break;
		case JSON_STRING:
			write_string(buf, json->text);
			break;
		case JSON_NULL:
			buf_add(buf, "null");
			break;
		default:
			if (style == CANONICAL)
				write_string(buf, json->text);
			else
				buf_add(buf, "%s", json->text);
			break;
	}
}

char *
json_write(const Json *json)
{
	Buf			buf = {0};

	write_value(&buf, json, AS_IT_IS);
	return buf.data;
}

char *
json_canon(const Json *json)
{
	Buf			buf = {0};

	write_value(&buf, json, CANONICAL);
	return buf.data;
}

char *
json_compact(const Json *json)
{
	Buf			buf = {0};

	write_value(&buf, json, COMPACT);
	return buf.data;
}
