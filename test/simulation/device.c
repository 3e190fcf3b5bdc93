/*-------------------------------------------------------------------------
 *
 * device.c
 *	  A client, written from doc/client.md.
 *
 * It knows what the server tells it and nothing else.  What it keeps is durable:
 * each function here is one local transaction.
 *
 *-------------------------------------------------------------------------
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "simulation.h"

void
device_start(Device *device)
{
	device->vector = json_new(JSON_OBJECT);
	device->resume = NULL;
	device->node_hlc = NULL;
	memset(device->rows, 0, sizeof(device->rows));
	device->is_reset = true;
}

/* -------------------------------------------------------------- clocks */

char *
hlc_text(Hlc hlc)
{
	time_t		seconds = hlc.ms / 1000;
	struct tm	tm;
	char		text[40];

	gmtime_r(&seconds, &tm);
	strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &tm);
	return form("%s.%03dZ/%d", text, (int) (hlc.ms % 1000), hlc.counter);
}

Hlc
hlc_parse(const char *text)
{
	struct tm	tm = {0};
	Hlc			result = {0, 0};
	int			ms;

	if (sscanf(text, "%d-%d-%dT%d:%d:%d.%dZ/%d", &tm.tm_year, &tm.tm_mon, &tm.tm_mday,
			   &tm.tm_hour, &tm.tm_min, &tm.tm_sec, &ms, &result.counter) != 8)
		violation("not an hlc: %s", text);
	tm.tm_year -= 1900;
	tm.tm_mon--;
	result.ms = timegm(&tm) * 1000LL + ms;
	return result;
}

int
hlc_compare(Hlc a, Hlc b)
{
	if (a.ms != b.ms)
		return a.ms < b.ms ? -1 : 1;
	return a.counter - b.counter;
}

Hlc
hlc_successor(Hlc hlc)
{
	if (hlc.counter < 65535)
		hlc.counter++;
	else
		hlc = (Hlc) {hlc.ms + 1, 0};
	return hlc;
}

static void
receive_hlc(Device *device, const char *hlc)
{
	if (hlc != NULL && (device->node_hlc == NULL || hlc_compare(hlc_parse(hlc), hlc_parse(device->node_hlc)) > 0))
		device->node_hlc = hlc;
}

static Hlc
next_hlc(Device *device)
{
	/* so coarse that devices write at the same moment */
	Hlc			wall = {sim.begun_ms + sim.step / 100 * 1000 + device->skew_ms, 0};
	Hlc			next = hlc_successor(device->clock);

	device->clock = hlc_compare(wall, next) > 0 ? wall : next;
	return device->clock;
}

/* ------------------------------------------------------------- vectors */

/* Entries are 17, or "20,22,24-30": all up to 20, and 22, and 24 to 30. */
bool
vector_covers(const Json *vector, const char *replica, uint64_t counter)
{
	const char *text = json_text(vector, replica);
	char	   *end;

	if (text == NULL)
		return false;
	if (counter <= strtoull(text, &end, 10))
		return true;
	while (*end == ',')
	{
		uint64_t	from = strtoull(end + 1, &end, 10);
		uint64_t	to = from;

		if (*end == '-')
			to = strtoull(end + 1, &end, 10);
		if (counter >= from && counter <= to)
			return true;
	}
	return false;
}

/* -------------------------------------------------------- local writes */

Change *
device_write(Device *device, int table, int k, Json *body, int group)
{
	Change	   *change = take(sizeof(Change));

	change->seq = ++device->seq;
	change->table = table;
	change->k = k;
	change->hlc = next_hlc(device);
	change->context = json_write(device->vector);
	change->node_hlc = device->node_hlc;
	change->group = group;
	change->body = body;
	json_put(body, "seq", json_number(change->seq));
	json_put(body, "hlc", json_string(hlc_text(change->hlc)));
	json_put(body, "table", json_string(sim.tables[table].name));
	json_put(body, "key", json_parse(key_json(&sim.tables[table], k)));
	if (group != 0)
		json_put(body, "group", json_number(group));
	device->log[change->seq] = change;
	return change;
}

static Json *
sum(const Json *a, const Json *b)
{
	long long	cents = 0;
	const Json *terms[2] = {a, b};
	bool		is_decimal = false;

	for (int i = 0; i < 2; i++)
	{
		if (terms[i] == NULL || terms[i]->type == JSON_NULL)
			continue;
		is_decimal |= strchr(terms[i]->text, '.') != NULL;
		cents += (long long) (strtod(terms[i]->text, NULL) * 100 + (terms[i]->text[0] == '-' ? -0.5 : 0.5));
	}
	if (!is_decimal)
		return json_number(cents / 100);
	return json_string(form("%s%lld.%02lld", cents < 0 ? "-" : "", llabs(cents) / 100, llabs(cents) % 100));
}

static int
compare_texts(const void *a, const void *b)
{
	return strcmp((*(Json *const *) a)->text, (*(Json *const *) b)->text);
}

/* A set without some elements, then with others, sorted. */
static Json *
change_set(const Json *set, const Json *removed, const Json *added)
{
	Json	   *result = json_new(JSON_ARRAY);

	for (int i = 0; set != NULL && i < set->n; i++)
	{
		if (!json_has_text(removed, set->items[i]->text))
			json_push(result, set->items[i]);
	}
	for (int i = 0; added != NULL && i < added->n; i++)
	{
		if (!json_has_text(result, added->items[i]->text))
			json_push(result, added->items[i]);
	}
	if (result->n > 0)
		qsort(result->items, result->n, sizeof(Json *), compare_texts);
	return result;
}

static Json *
change_object(const Json *object, const Json *removed, const Json *added)
{
	Json	   *result = object == NULL || object->type != JSON_OBJECT ? json_new(JSON_OBJECT) : json_copy(object);

	for (int i = 0; removed != NULL && i < removed->n; i++)
		json_put(result, removed->items[i]->text, NULL);
	for (int i = 0; added != NULL && i < added->n; i++)
		json_put(result, added->keys[i], added->items[i]);
	return result;
}

static void
put_all(Json *cells, const Json *values)
{
	for (int i = 0; values != NULL && i < values->n; i++)
	{
		Json	   *value = values->items[i];

		json_put(cells, values->keys[i], value->type == JSON_ARRAY ? change_set(NULL, NULL, value) : value);
	}
}

/* A row with one change on top; NULL is no row. */
static Json *
apply_change(Json *cells, const Json *body)
{
	Json	   *removed = json_get(body, "remove");
	Json	   *added = json_get(body, "add");
	Json	   *increments = json_get(body, "increment");

	if (json_get(body, "delete") != NULL || json_get(body, "retract") != NULL)
		return NULL;
	if (cells == NULL && json_get(body, "insert") == NULL)
		return NULL;
	cells = cells == NULL ? json_new(JSON_OBJECT) : json_copy(cells);
	put_all(cells, json_get(body, "insert"));
	put_all(cells, json_get(body, "set"));
	for (int i = 0; increments != NULL && i < increments->n; i++)
	{
		const char *name = increments->keys[i];

		json_put(cells, name, sum(json_get(cells, name), increments->items[i]));
	}
	for (int i = 0; removed != NULL && i < removed->n; i++)
	{
		const char *name = removed->keys[i];
		Json	   *old = json_get(cells, name);

		json_put(cells, name, old != NULL && old->type == JSON_OBJECT
				 ? change_object(old, removed->items[i], NULL)
				 : change_set(old, removed->items[i], NULL));
	}
	for (int i = 0; added != NULL && i < added->n; i++)
	{
		const char *name = added->keys[i];
		Json	   *old = json_get(cells, name);

		json_put(cells, name, added->items[i]->type == JSON_OBJECT
				 ? change_object(old, NULL, added->items[i])
				 : change_set(old, NULL, added->items[i]));
	}
	return cells;
}

Json *
device_row(Device *device, int table, int k)
{
	Json	   *cells = device->rows[table][k];

	for (long long seq = device->settled + 1; seq <= device->seq; seq++)
	{
		Change	   *change = device->log[seq];

		if (change->table == table && change->k == k)
			cells = apply_change(cells, change->body);
	}
	return cells;
}

/* ---------------------------------------------------------------- push */

static bool
same_text(const char *a, const char *b)
{
	return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

/*
 * The first changes of the outbox that were made in the same context, at most so
 * many, no group cut in two.  NULL: there are none.
 */
char *
device_delta(Device *device, int max, long long *first, long long *last)
{
	Change	   *head;
	Buf			buf = {0};

	*first = device->settled + 1;
	if (*first > device->seq)
		return NULL;
	head = device->log[*first];
	buf_add(&buf, "{\"format\": 1, \"replica\": \"%s\", \"context\": %s, ", device->id, head->context);
	if (head->node_hlc != NULL)
		buf_add(&buf, "\"hlc\": \"%s\", ", head->node_hlc);
	buf_add(&buf, "\"changes\": [");
	for (*last = *first; *last <= device->seq; ++*last)
	{
		Change	   *change = device->log[*last];
		bool		goes_on = change->group != 0 && *last > *first && device->log[*last - 1]->group == change->group;

		if (!same_text(change->context, head->context) || !same_text(change->node_hlc, head->node_hlc))
			break;
		if (*last - *first >= max && !goes_on)
			break;
		buf_add(&buf, "%s%s", *last > *first ? ",\n " : "", json_write(change->body));
	}
	--*last;
	buf_add(&buf, "]}");
	return buf.data;
}

/* The server asks again for what comes after a seq that it has. */
void
device_hello(Device *device, long long acked)
{
	if (acked >= device->answered)
		return;
	device->settled = acked;
	device->answered = acked;
	json_put(device->vector, device->id, json_number(acked));
}

/* A delete that waits for others is done here, but not there: the server tells of the row. */
static bool
may_wait_to_delete(const Device *device, int table, int k)
{
	for (long long seq = 1; seq <= device->settled && sim.has_parents; seq++)
	{
		const Change *change = device->log[seq];

		if (change->table == table && change->k == k && json_get(change->body, "delete") != NULL)
			return true;
	}
	return false;
}

/* One change that the server told. */
static void
take_change(Device *device, const Json *body)
{
	const char *name = json_text(body, "table");
	const char *scope = json_text(body, "scope");
	int			t;
	int			k;

	if (scope != NULL && json_get(body, "retract") != NULL)
	{
		for (t = 0; t < sim.ntables; t++)
		{
			for (k = 1; k <= NKEYS; k++)
			{
				Json	   *cells = device->rows[t][k];
				const char *of_row = cells == NULL ? NULL : sim.tables[t].scope < 0 ? "" :
					json_text(cells, sim.tables[t].columns[sim.tables[t].scope].name);

				if (of_row != NULL && strcmp(of_row, scope) == 0)
					device->rows[t][k] = NULL;
			}
		}
		return;
	}
	for (t = 0; t < sim.ntables; t++)
	{
		if (name != NULL && strcmp(sim.tables[t].name, name) == 0)
			break;
	}
	if (t == sim.ntables || (k = key_number(&sim.tables[t], json_get(body, "key"))) == 0)
		violation("device %d is told of a row that cannot be: %s", device->n, json_write(body));
	if (json_get(body, "insert") != NULL)
		device->rows[t][k] = apply_change(NULL, body);
	else if (json_get(body, "set") != NULL)
	{
		/* while rows dropped at a fresh start come again, an answer may be about one still to come */
		if (device->rows[t][k] == NULL && !device->is_reset && !may_wait_to_delete(device, t, k))
			violation("device %d is told to change a row that it does not have: %s", device->n, json_write(body));
		device->rows[t][k] = apply_change(device->rows[t][k], body);
	}
	else
		device->rows[t][k] = NULL;
}

static bool
is_refused(const Json *outcomes, long long seq)
{
	for (int i = 0; i < outcomes->n; i++)
	{
		if (json_long(outcomes->items[i], "seq") == seq)
			return strcmp(json_text(outcomes->items[i], "outcome"), "rejected") == 0;
	}
	return false;
}

/*
 * An answer to the delta of the changes first to last: status, acked_seq, outcomes,
 * corrections, hlc.  The changes are this device's oldest that are not settled.
 */
void
device_answer(Device *device, long long first, long long last, Rows *answer)
{
	const char *status = VALUE(answer, 0, 0);
	long long	acked = atoll(VALUE(answer, 0, 1));
	Json	   *outcomes = json_parse(VALUE(answer, 0, 2));
	Json	   *corrections = VALUE(answer, 0, 3) == NULL ? NULL : json_get(json_parse(VALUE(answer, 0, 3)), "changes");

	if (strcmp(status, "gap") == 0)
	{
		device_hello(device, acked);
		return;
	}
	if (strcmp(status, "rejected") == 0)
		return;
	if (acked < last)
		last = acked;
	for (long long seq = first; seq <= last; seq++)
	{
		Change	   *change = device->log[seq];

		if (!is_refused(outcomes, seq))
			device->rows[change->table][change->k] = apply_change(device->rows[change->table][change->k], change->body);
	}
	for (int i = 0; corrections != NULL && i < corrections->n; i++)
		take_change(device, corrections->items[i]);
	device->settled = device->answered = last;
	if (device->resume == NULL)
	{
		device->vector = json_copy(device->vector);
		json_put(device->vector, device->id, json_number(last));
	}
	receive_hlc(device, VALUE(answer, 0, 4));
}

/* ---------------------------------------------------------------- pull */

bool
device_page(Device *device, const char *text)
{
	Json	   *page = json_parse(text);
	Json	   *changes = json_get(page, "changes");
	long long	own = json_long(device->vector, device->id);
	long long	told;

	if (json_true(page, "reset"))
	{
		memset(device->rows, 0, sizeof(device->rows));
		device->is_reset = true;
		own = 0;
	}
	for (int i = 0; i < changes->n; i++)
		take_change(device, changes->items[i]);
	device->vector = json_copy(json_get(page, "to"));
	told = json_long(device->vector, device->id);
	if (told < own)
		json_put(device->vector, device->id, json_number(own));
	if (told > device->settled)	/* the push arrived, its answer was lost */
		device->settled = device->answered = told;
	device->resume = json_text(page, "resume");
	receive_hlc(device, json_text(page, "hlc"));
	if (!json_true(page, "more"))
		device->is_reset = false;
	return json_true(page, "more");
}
