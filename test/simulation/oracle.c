/*-------------------------------------------------------------------------
 *
 * oracle.c
 *	  What the rows of pure tables must be, worked out from all writes at once.
 *
 * For the policies in which the order of arrival does not matter, a cell follows
 * from the set of writes that were stored: the latest, the greatest, the earliest,
 * their sum.  For sets it also matters which additions the writer of a removal had
 * seen, by the vector that he had.  None of this is the server's code or works
 * the way that does.
 *
 *-------------------------------------------------------------------------
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "simulation.h"

/* A write of one row, by a device or by SQL */
typedef struct Write
{
	Hlc			hlc;
	const char *replica;
	long long	arrived;
	Position	position;
	const Device *device;		/* NULL: SQL */
	const Change *change;
	const SqlWrite *sql;
} Write;

static Write writes[20000];
static int	nwrites;
static const Write *creator;	/* the first insert */

static int
compare_clocks(const Write *a, const Write *b)
{
	int			result = hlc_compare(a->hlc, b->hlc);

	return result != 0 ? result : strcmp(a->replica, b->replica);
}

static int
compare_arrivals(const void *a, const void *b)
{
	const Write *x = a;
	const Write *y = b;

	if (x->arrived != y->arrived)
		return x->arrived < y->arrived ? -1 : 1;
	return x->change == NULL || y->change == NULL ? 0 : x->change->seq < y->change->seq ? -1 : 1;
}

static void
collect_writes(int t, int k)
{
	nwrites = 0;
	for (int d = 0; d < sim.ndevices; d++)
	{
		const Device *device = sim.devices[d];

		for (long long seq = 1; seq <= device->stored; seq++)
		{
			const Change *change = device->log[seq];

			if (change->table != t || change->k != k || change->is_rejected)
				continue;
			writes[nwrites++] = (Write) {change->lifted, device->id, change->arrived, change->position, device, change, NULL};
		}
	}
	for (const SqlWrite *write = sim.writes; write != NULL; write = write->next)
	{
		if (write->table == t && write->k == k)
			writes[nwrites++] = (Write) {write->hlc, write->position.node, write->arrived, write->position, NULL, NULL, write};
	}
	qsort(writes, nwrites, sizeof(Write), compare_arrivals);
	creator = NULL;
	for (int i = 0; i < nwrites && creator == NULL; i++)
	{
		if (writes[i].sql != NULL ? writes[i].sql->is_insert : json_get(writes[i].change->body, "insert") != NULL)
			creator = &writes[i];
	}
}

/* What a write says about a column in the operation; NULL: nothing. */
static const Json *
said(const Write *write, const char *operation, const char *column)
{
	return write->change == NULL ? NULL : json_get(json_get(write->change->body, operation), column);
}

/* A new value for the column, whoever wrote it */
static const Json *
value_of(const Write *write, const char *column)
{
	const Json *value;

	if (write->sql != NULL)
		return json_get(write->sql->cells, column);
	value = said(write, "insert", column);
	return value != NULL ? value : said(write, "set", column);
}

static const Json *
initial_value(const Column *column)
{
	return json_string(column->initial);
}

static const Json *
expect_latest(const Column *column)
{
	const Write *latest = NULL;

	for (int i = 0; i < nwrites; i++)
	{
		if (value_of(&writes[i], column->name) != NULL && (latest == NULL || compare_clocks(&writes[i], latest) > 0))
			latest = &writes[i];
	}
	return latest == NULL ? initial_value(column) : value_of(latest, column->name);
}

static int
compare_values(const Column *column, const Json *a, const Json *b)
{
	double		x;
	double		y;

	if (column->type == TIME)
		return strcmp(a->text, b->text);
	x = strtod(a->text, NULL);
	y = strtod(b->text, NULL);
	return x < y ? -1 : x > y;
}

static const Json *
expect_extreme(const Column *column)
{
	const Json *best = NULL;

	for (int i = 0; i < nwrites; i++)
	{
		const Json *value = value_of(&writes[i], column->name);
		int			order;

		if (value == NULL)
			continue;
		if (best == NULL || best->type == JSON_NULL)
		{
			best = value;
			continue;
		}
		if (value->type == JSON_NULL)
			continue;
		order = compare_values(column, value, best);
		if (column->policy == MAX ? order > 0 : order < 0)
			best = value;
	}
	return best == NULL ? initial_value(column) : best;
}

static const Json *
expect_first(const Column *column)
{
	const Write *first = NULL;
	bool		is_written = false;

	for (int i = 0; i < nwrites; i++)
	{
		const Json *value = value_of(&writes[i], column->name);

		is_written |= value != NULL;
		if (value != NULL && value->type != JSON_NULL && (first == NULL || compare_clocks(&writes[i], first) < 0))
			first = &writes[i];
	}
	return first == NULL ? is_written ? json_new(JSON_NULL) : initial_value(column) : value_of(first, column->name);
}

static long long
cents(const Json *value)
{
	double		number = value == NULL ? 0 : strtod(value->text, NULL) * 100;

	return (long long) (number < 0 ? number - 0.5 : number + 0.5);
}

static const Json *
expect_sum(const Column *column)
{
	long long	total = 0;

	for (int i = 0; i < nwrites; i++)
	{
		total += cents(value_of(&writes[i], column->name));
		total += cents(said(&writes[i], "increment", column->name));
	}
	if (column->type == INT)
		return json_number(total / 100);
	return json_string(form("%s%lld.%02lld", total < 0 ? "-" : "", llabs(total) / 100, llabs(total) % 100));
}

static bool
covers(const Json *context, Position position)
{
	return vector_covers(context, position.node, position.xid);
}

/* Had the writer of b seen write a? */
static bool
had_seen(const Write *b, const Json *context, const Write *a)
{
	if (b->sql != NULL)
		return a->arrived < b->arrived;
	if (a->device == b->device)
		return a->change->seq < b->change->seq;
	return covers(context, a->position) && covers(context, b->change->grant) &&
		(creator->device == b->device || covers(context, creator->position));
}

static bool
adds_element(const Write *write, const char *column, const char *element)
{
	return json_has_text(value_of(write, column), element) || json_has_text(said(write, "add", column), element);
}

static bool
removes_element(const Write *write, const char *column, const char *element)
{
	const Json *value = value_of(write, column);

	if (write->sql != NULL)
		return !write->sql->is_insert && value != NULL && !json_has_text(value, element);
	return value != NULL || json_has_text(said(write, "remove", column), element);
}

/* Does one of the first writes add the element, and none of them remove it again? */
static bool
is_element(const char *column, const char *element, const bool *adds, int n)
{
	for (int i = 0; i < n; i++)
	{
		bool		is_removed = false;

		for (int j = 0; j < n && adds[i] && !is_removed; j++)
		{
			if (j != i && removes_element(&writes[j], column, element))
				is_removed = had_seen(&writes[j], writes[j].change == NULL ? NULL : json_parse(writes[j].change->context),
									  &writes[i]);
		}
		if (adds[i] && !is_removed)
			return true;
	}
	return false;
}

/*
 * SQL makes the set what it says: elements that are there keep their tags, so it
 * adds only what is not.
 */
static const Json *
expect_set(const Column *column)
{
	static const char *const names[] = {"ann", "bob", "cid", "e e"};
	Json	   *result = json_new(JSON_ARRAY);
	bool	   *adds = take(nwrites * sizeof(bool));

	for (int i = 0; i < 4; i++)
	{
		for (int j = 0; j < nwrites; j++)
			adds[j] = adds_element(&writes[j], column->name, names[i]) &&
				(writes[j].sql == NULL || !is_element(column->name, names[i], adds, j));
		if (is_element(column->name, names[i], adds, nwrites))
			json_push(result, json_string(names[i]));
	}
	return result;
}

/*
 * Did a device write a whole object without the key, that had seen this write of it?
 * That is who inserts a row again in the middle of a fresh start.
 */
static bool
is_dropped(const Write *write, const char *column, const char *key)
{
	for (int i = 0; i < nwrites; i++)
	{
		const Json *whole = writes[i].change == NULL ? NULL : value_of(&writes[i], column);

		if (whole != NULL && json_get(whole, key) == NULL &&
			had_seen(&writes[i], json_parse(writes[i].change->context), write))
			return true;
	}
	return false;
}

/* Each key is written, or removed, by itself. */
static const Json *
expect_object(const Column *column)
{
	static const char *const keys[] = {"font", "size", "theme"};
	Json	   *result = json_new(JSON_OBJECT);

	for (int k = 0; k < 3; k++)
	{
		const Write *latest = NULL;
		const Json *latest_value = NULL;

		for (int i = 0; i < nwrites; i++)
		{
			const Json *value = json_get(value_of(&writes[i], column->name), keys[k]);

			if (value == NULL)
				value = json_get(said(&writes[i], "add", column->name), keys[k]);
			if (value == NULL && json_has_text(said(&writes[i], "remove", column->name), keys[k]))
				value = json_new(JSON_NULL);
			if (value != NULL && (latest == NULL || compare_clocks(&writes[i], latest) > 0))
			{
				latest = &writes[i];
				latest_value = value;
			}
		}
		if (latest_value != NULL && latest_value->type != JSON_NULL && !is_dropped(latest, column->name, keys[k]))
			json_put(result, keys[k], (Json *) latest_value);
	}
	return result;
}

static const Json *
expect_cell(const Column *column)
{
	switch (column->policy)
	{
		case MAX:
		case MIN:
			return expect_extreme(column);
		case FIRST_WRITER:
			return expect_first(column);
		case COUNTER:
			return expect_sum(column);
		case ORSET:
			return expect_set(column);
		case JSON_KEYS:
			return expect_object(column);
		default:
			return expect_latest(column);
	}
}

static void
describe_writes(const Column *column)
{
	for (int i = 0; i < nwrites; i++)
		note("  %s %s arrived %lld: %s%s", hlc_text(writes[i].hlc), writes[i].replica, writes[i].arrived,
			 writes[i].sql != NULL ? writes[i].sql->is_insert ? "SQL insert " : "SQL " : form("in %s ", writes[i].change->context),
			 json_write(writes[i].sql != NULL ? writes[i].sql->cells : writes[i].change->body));
}

static void
check_row(const Table *table, int k, const Json *cells)
{
	if ((creator != NULL) != (cells != NULL))
		violation("%s %s: row is %s", table->name, key_json(table, k), cells == NULL ? "missing" : "there without an insert");
	for (int i = 0; cells != NULL && i < table->ncolumns; i++)
	{
		const Column *column = &table->columns[i];
		const Json *expected = expect_cell(column);
		const Json *found = json_get(cells, column->name);

		if (column->policy == JSON_KEYS && (found == NULL || found->type == JSON_NULL))
			found = json_new(JSON_OBJECT);
		if (column->policy == ORSET && (found == NULL || found->type == JSON_NULL))
			found = json_new(JSON_ARRAY);
		if (strcmp(json_canon(expected), json_canon(found)) == 0)
			continue;
		note("all writes of %s %s:", table->name, key_json(table, k));
		describe_writes(column);
		violation("%s %s: %s (%s) should be %s, but is %s", table->name, key_json(table, k), column->name,
				  policy_names[column->policy], json_canon(expected), json_canon(found));
	}
}

void
oracle_check(void)
{
	for (int t = 0; t < sim.ntables; t++)
	{
		Table	   *table = &sim.tables[t];
		Rows	   *rows;
		const Json *cells[NKEYS + 1] = {0};

		if (!table->is_pure)
			continue;
		rows = must(control, row_query(table));
		for (int i = 0; i < rows->n; i++)
			cells[key_number(table, json_parse(VALUE(rows, i, 0)))] = json_parse(VALUE(rows, i, 2));
		for (int k = 1; k <= NKEYS; k++)
		{
			collect_writes(t, k);
			check_row(table, k, cells[k]);
		}
	}
}
