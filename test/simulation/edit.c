/*-------------------------------------------------------------------------
 *
 * edit.c
 *	  What the users of devices do.
 *
 * Rows of pure tables are inserted once and then changed in ways that are never
 * refused; in the others anything goes.
 *
 *-------------------------------------------------------------------------
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "simulation.h"

static Json *
one(const char *member, const char *name, Json *value)
{
	Json	   *body = json_new(JSON_OBJECT);
	Json	   *cells = json_new(JSON_OBJECT);

	if (name != NULL)
		json_put(cells, name, value);
	json_put(body, member, cells);
	return body;
}

static Json *
edit_insert(const Device *device, const Table *table)
{
	Json	   *body = one("insert", NULL, NULL);
	Json	   *cells = json_get(body, "insert");

	for (int i = 0; i < table->ncolumns; i++)
	{
		const Column *column = &table->columns[i];

		if (column->is_generated || chance(40) || (column->policy == JSON_KEYS && device->was_wiped && table->is_pure))
			continue;
		json_put(cells, column->name, random_value(column));
	}
	return body;
}

static Json *
edit_cell(const Table *table, const Column *column)
{
	Json	   *value = random_value(column);
	Json	   *keys;

	switch (column->policy)
	{
		case COUNTER:
			if (column->type == INT)
				return one("increment", column->name, json_number(below(100) - 50));
			return one("increment", column->name, json_string(form("%d.%02d", below(100) - 50, below(100))));
		case ORSET:
			return one(chance(50) ? "add" : chance(70) ? "remove" : "set", column->name, value);
		case JSON_KEYS:
			if (!table->is_pure && chance(30))
				return one("set", column->name, value);
			if (chance(65))
				return one("add", column->name, value);
			keys = json_new(JSON_ARRAY);
			for (int i = 0; i < value->n; i++)
				json_push(keys, json_string(value->keys[i]));
			return one("remove", column->name, keys);
		default:
			return one("set", column->name, value);
	}
}

/* Two cells in one change, if they can be */
static void
merge_bodies(Json *body, const Json *other)
{
	for (int i = 0; i < other->n; i++)
	{
		Json	   *cells = json_get(body, other->keys[i]);

		if (cells == NULL)
			json_put(body, other->keys[i], other->items[i]);
		else
			json_put(cells, other->items[i]->keys[0], other->items[i]->items[0]);
	}
}

static void
edit(Device *device, int group)
{
	/* rows of pure tables must not wait for what others of their group wait for */
	int			t = group != 0 && sim.has_parents ? 1 + below(sim.ntables - 1) : below(sim.ntables);
	Table	   *table = &sim.tables[t];
	int			k = 1 + below(NKEYS);
	bool		is_there;
	Json	   *body;
	Change	   *change;

	for (int i = 0; i < 3 && device_row(device, t, k) == NULL; i++)
		k = 1 + below(NKEYS);
	is_there = device_row(device, t, k) != NULL;
	if (chance(4) && !table->is_pure)
		is_there = !is_there;
	if (!is_there)
		body = edit_insert(device, table);
	else if (!table->is_pure && chance(12))
	{
		body = json_new(JSON_OBJECT);
		json_put(body, "delete", json_parse("true"));
	}
	else
	{
		body = edit_cell(table, &table->columns[below(table->ncolumns)]);
		if (chance(30))
		{
			const Column *column = &table->columns[below(table->ncolumns)];

			if (strstr(json_write(body), form("\"%s\"", column->name)) == NULL)
				merge_bodies(body, edit_cell(table, column));
		}
	}
	change = device_write(device, t, k, body, group);
	change->grant = device->grant;
	note("device %d writes %s in %s", device->n, json_write(body), change->context);
}

void
edit_some(Device *device)
{
	int			group = 0;
	int			n = 1;

	if (device->seq > 9000)
		return;
	if (chance(10))
	{
		group = (int) device->seq + 1;	/* no other group of a delta may have its number */
		n = 2 + below(2);
	}
	else if (chance(20))
		n = 1 + below(4);
	for (int i = 0; i < n; i++)
		edit(device, group);
}
