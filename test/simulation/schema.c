/*-------------------------------------------------------------------------
 *
 * schema.c
 *	  Random tables with random policies, and values for them.
 *
 *-------------------------------------------------------------------------
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "simulation.h"

const char *const policy_names[] = {
	"lww", "max", "min", "first_writer", "counter", "orset", "json",
	"server_wins", "priority", "manual", "custom", "opaque"
};

static const char *const type_names[] = {
	"int", "numeric(12,2)", "text", "boolean", "timestamptz", "date", "jsonb", "orset", "bytea"
};

static const char *const scope_names[NSCOPES] = {"a", "b", "c"};

static bool
has_parent(const Table *table)
{
	for (int i = 0; i < table->ncolumns; i++)
	{
		if (table->columns[i].refers >= 0)
			return true;
	}
	return false;
}

static const char *
column_type(const Column *column)
{
	return column->type_name != NULL ? column->type_name : type_names[column->type];
}

static Column *
add_column(Table *table, ColumnType type, Policy policy)
{
	Column	   *column = &table->columns[table->ncolumns];

	column->name = form("%s%d", policy == LWW ? type_names[type][0] == 't' ? "word" : "cell" : policy_names[policy], table->ncolumns);
	column->type = type;
	column->policy = policy;
	column->refers = -1;
	table->ncolumns++;
	return column;
}

static void
add_policy_column(Table *table, Policy policy)
{
	static const ColumnType plain[] = {INT, NUMERIC, TEXT, BOOL, TIME, DATE, JSONB};
	ColumnType	type;
	Column	   *column;

	switch (policy)
	{
		case COUNTER:
			type = chance(50) ? INT : NUMERIC;
			break;
		case MAX:
		case MIN:
			type = chance(50) ? INT : chance(50) ? NUMERIC : TIME;
			break;
		case ORSET:
			type = SET;
			break;
		case JSON_KEYS:
			type = JSONB;
			break;
		case OPAQUE:
			type = BYTES;
			break;
		case CUSTOM:
		case FIRST_WRITER:
			type = TEXT;
			break;
		default:
			type = plain[below(7)];
			break;
	}
	column = add_column(table, type, policy);
	if (policy == COUNTER || (chance(30) && (type == INT || type == NUMERIC)))
		column->initial = type == INT ? "7" : "7.00";
	else if (type == TEXT && policy == LWW && chance(40))
		column->initial = "untitled";
}

/* Rows that are only inserted and changed, never refused: everybody has them. */
static void
make_pure_table(Table *table)
{
	table->is_pure = true;
	table->scope = -1;
	add_policy_column(table, LWW);
	for (Policy policy = LWW; policy <= JSON_KEYS; policy++)
	{
		if (chance(60))
			add_policy_column(table, policy);
	}
}

/* What only the server checks, or works out */
static void
add_constraints(Table *table)
{
	int			n = table->ncolumns;

	for (int i = 0; i < n; i++)
	{
		Column	   *column = &table->columns[i];
		Column	   *twice;

		if (column->is_scope)
			continue;
		if (column->type == TEXT && chance(25))
			column->rest = form("CHECK (length(%s) <> 4)", column->name);
		if (column->type == INT && column->initial == NULL && chance(15))
			column->rest = form("CHECK (%s <> 13)", column->name);
		if (column->type != INT || table->ncolumns > n || !chance(20))
			continue;
		twice = add_column(table, INT, LWW);
		twice->name = "twice";
		twice->rest = form("GENERATED ALWAYS AS (%s * 2) STORED", column->name);
		twice->is_generated = true;
	}
}

/* Refer to one of the tables before it that are not pure. */
static void
add_parent(Table *table, int before)
{
	static const char *const types[] = {"int", "text", "uuid"};
	static const char *const actions[] = {"", " ON DELETE CASCADE ON UPDATE CASCADE", " ON DELETE SET NULL", " ON DELETE RESTRICT"};
	int			t = 1 + below(before - 1);
	Column	   *column;

	if (sim.tables[t].key == KEY_PAIR)
		return;
	column = add_column(table, TEXT, LWW);
	column->name = "parent";
	column->refers = t;
	column->rest = form("%sREFERENCES %s%s%s", chance(40) ? "NOT NULL " : "", sim.tables[t].sql_name,
						actions[below(4)], chance(25) ? " DEFERRABLE INITIALLY DEFERRED" : "");
	column->type_name = types[sim.tables[t].key];
	sim.has_parents = true;
}

static void
make_wild_table(Table *table)
{
	static const char *const on_delete[] = {"delete_wins", "update_wins", "lww"};

	table->on_delete = on_delete[below(3)];
	table->scope = -1;
	if (chance(75))
	{
		Column	   *column = add_column(table, TEXT, LWW);

		column->name = "scope";
		column->is_scope = true;
		if (chance(30))
			column->initial = "a";
		table->scope = 0;
	}
	add_policy_column(table, LWW);
	for (int i = 1 + below(5); i > 0; i--)
		add_policy_column(table, below(NPOLICIES));
	if (chance(15))
		table->is_fixed = true;
	else if (chance(10))
		table->consistency = "strong";
	add_constraints(table);
}

static char *
column_definition(const Column *column)
{
	return form("%s %s%s%s%s%s", column->name, column_type(column),
				column->policy == COUNTER ? " NOT NULL" : "",
				column->initial == NULL ? "" : form(" DEFAULT %s", quote(column->initial)),
				column->rest == NULL ? "" : " ", column->rest == NULL ? "" : column->rest);
}

static void
create_table(Table *table)
{
	static const char *const keys[] = {"id int", "id text", "id uuid", "lang text, n int"};
	Buf			buf = {0};

	buf_add(&buf, "CREATE TABLE %s (%s", table->sql_name, keys[table->key]);
	for (int i = 0; i < table->ncolumns; i++)
		buf_add(&buf, ", %s", column_definition(&table->columns[i]));
	if (!table->is_pure && chance(30))
		buf_add(&buf, ", touched int");
	buf_add(&buf, ", PRIMARY KEY (%s))", key_columns(table));
	must(control, buf.data);
	note("%s", buf.data);
	if (strstr(buf.data, ", touched int") != NULL)
	{
		Column	   *column = add_column(table, INT, LWW);

		column->name = "touched";
		column->is_generated = true;
		must(control, form("CREATE TRIGGER tidy BEFORE INSERT OR UPDATE ON %s FOR EACH ROW EXECUTE FUNCTION tidy()",
						   table->sql_name));
	}
	for (int i = 0; !table->is_pure && i < table->ncolumns; i++)
	{
		if (table->columns[i].type == INT && !table->columns[i].is_generated && chance(12))
			must(control, form("CREATE UNIQUE INDEX ON %s ((%s %% 7))", table->sql_name, table->columns[i].name));
	}
	if (chance(60))
		must(control, form("CREATE TRIGGER gate AFTER INSERT OR UPDATE OR DELETE ON %s FOR EACH ROW EXECUTE FUNCTION gate(42)",
						   table->sql_name));
	if (chance(20))
		must(control, form("CREATE CONSTRAINT TRIGGER last_gate AFTER INSERT OR UPDATE OR DELETE ON %s"
						   " DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION gate(43)", table->sql_name));
}

static void
enable_table(const Table *table)
{
	Json	   *policies = json_new(JSON_OBJECT);
	Json	   *options = json_new(JSON_OBJECT);

	for (int i = 0; i < table->ncolumns; i++)
	{
		const Column *column = &table->columns[i];

		if (column->policy != LWW && column->policy != ORSET && column->policy != PRIORITY && column->policy != CUSTOM)
			json_put(policies, column->name, json_string(policy_names[column->policy]));
	}
	if (table->on_delete != NULL)
		json_put(options, "on_delete", json_string(table->on_delete));
	if (table->is_fixed)
		json_put(options, "mode", json_string("append_only"));
	if (table->consistency != NULL)
		json_put(options, "consistency", json_string(table->consistency));
	note("enable %s: %s %s", table->name, json_write(policies), json_write(options));
	must(control, form("SELECT sync_enable_table(%s, %s, %s, %s)", quote(table->sql_name),
					   table->scope < 0 ? "NULL" : quote(table->columns[table->scope].name),
					   quote(json_write(policies)), quote(json_write(options))));
	for (int i = 0; i < table->ncolumns; i++)
	{
		const Column *column = &table->columns[i];

		if (column->policy == PRIORITY || column->policy == CUSTOM)
			must(control, form("SELECT sync_set_policy(%s, %s, %s, %s)", quote(table->sql_name), quote(column->name),
							   quote(policy_names[column->policy]),
							   column->policy == CUSTOM ? "'{\"function\": \"public.blend\"}'"
							   : "'{\"order\": [\"manager\", \"worker\"]}'"));
	}
}

void
schema_make(void)
{
	sim.ntables = 2 + below(4);
	for (int i = 0; i < sim.ntables; i++)
	{
		Table	   *table = &sim.tables[i];

		table->name = table->sql_name = form("t%d", i);
		table->key = below(4);
		if (i == 0)
			make_pure_table(table);
		else
			make_wild_table(table);
		if (i >= 2 && chance(50))
			add_parent(table, i);
		create_table(table);
		if (!table->is_pure && !has_parent(table) && chance(40))	/* rows that were there before */
			must(control, form("INSERT INTO %s (%s) VALUES (%s)", table->sql_name, key_columns(table), key_values(table, 1)));
		enable_table(table);
	}
}

void
schema_add_column(Table *table)
{
	Column	   *column;

	column = add_column(table, chance(50) ? INT : TEXT, LWW);
	column->name = form("new%d", table->ncolumns);
	column->initial = chance(50) ? column->type == INT ? "5" : "five" : NULL;
	if (ask(control, 0, form("ALTER TABLE %s ADD COLUMN %s", table->sql_name, column_definition(column))) == NULL)
	{
		table->ncolumns--;
		return;
	}
	note("column %s of %s added", column_definition(column), table->sql_name);
}

/* ---------------------------------------------------------------- keys */

char *
key_json(const Table *table, int k)
{
	switch (table->key)
	{
		case KEY_INT: return form("{\"id\": %d}", k);
		case KEY_TEXT: return form("{\"id\": \"k %d\"}", k);
		case KEY_UUID: return form("{\"id\": \"00000000-0000-4000-a000-%012d\"}", k);
		default: return form("{\"lang\": \"%s\", \"n\": %d}", k % 2 ? "en" : "d e", k);
	}
}

char *
key_columns(const Table *table)
{
	return table->key == KEY_PAIR ? "lang, n" : "id";
}

char *
key_values(const Table *table, int k)
{
	switch (table->key)
	{
		case KEY_INT: return form("%d", k);
		case KEY_TEXT: return form("'k %d'", k);
		case KEY_UUID: return form("'00000000-0000-4000-a000-%012d'", k);
		default: return form("'%s', %d", k % 2 ? "en" : "d e", k);
	}
}

char *
key_where(const Table *table, int k)
{
	return form("(%s) = (%s)", key_columns(table), key_values(table, k));
}

int
key_number(const Table *table, const Json *key)
{
	char	   *text = json_canon(key);

	for (int k = 1; k <= NKEYS; k++)
	{
		if (strcmp(text, json_canon(json_parse(key_json(table, k)))) == 0)
			return k;
	}
	return 0;
}

/* Of a key that is one column */
static char *
key_text(const Table *table, int k)
{
	return json_parse(key_json(table, k))->items[0]->text;
}

/* -------------------------------------------------------------- values */

Json *
random_elements(void)
{
	static const char *const names[] = {"ann", "bob", "cid", "e e"};
	Json	   *array = json_new(JSON_ARRAY);

	for (int i = 0; i < 4; i++)
	{
		if (chance(40))
			json_push(array, json_string(names[i]));
	}
	if (array->n == 0)
		json_push(array, json_string(names[below(4)]));
	return array;
}

Json *
random_value(const Column *column)
{
	static const char *const keys[] = {"font", "size", "theme"};
	int			n = below(1000);
	Json	   *value;

	if (column->refers >= 0)
		return chance(90) ? json_string(key_text(&sim.tables[column->refers], 1 + below(NKEYS))) : json_new(JSON_NULL);
	if (column->is_scope)
		return json_string(chance(95) ? scope_names[below(NSCOPES)] : NULL);
	if (column->policy != COUNTER && column->policy != ORSET && column->policy != JSON_KEYS && chance(4))
		return json_new(JSON_NULL);
	switch (column->type)
	{
		case INT:
			return json_number(n);
		case NUMERIC:
			return json_string(form("%d.%02d", n, below(100)));
		case BOOL:
			value = json_new(JSON_BOOL);
			value->text = n % 2 ? "true" : "false";
			return value;
		case TIME:
			return json_string(form("2026-%02d-%02d %02d:00:00+00", 1 + n % 12, 1 + below(28), below(24)));
		case DATE:
			return json_string(form("2026-%02d-%02d", 1 + n % 12, 1 + below(28)));
		case JSONB:
			value = json_new(JSON_OBJECT);
			for (int i = 0; i < 3; i++)
			{
				if (chance(40))
					json_put(value, keys[i], chance(50) ? json_number(below(100)) : json_string(form("v%d", below(100))));
			}
			return value;
		case SET:
			return random_elements();
		case BYTES:
			return json_string(form("\\x%04d", n));
		default:
			return json_string(form("w %d", n));
	}
}

/* As an SQL expression */
char *
sql_value(const Column *column, const Json *value)
{
	Buf			buf = {0};

	if (value->type == JSON_NULL)
		return "NULL";
	if (column->type == SET)
	{
		buf_add(&buf, "ARRAY[");
		for (int i = 0; i < value->n; i++)
			buf_add(&buf, "%s%s", i > 0 ? "," : "", quote(value->items[i]->text));
		buf_add(&buf, "]::text[]::orset");
		return buf.data;
	}
	if (column->type == JSONB)
		return form("%s::jsonb", quote(json_write(value)));
	return form("%s::%s", quote(value->text), column_type(column));
}

/* All rows: key as JSON, scope, cells as JSON in which scalars are texts. */
char *
row_query(const Table *table)
{
	Buf			buf = {0};

	if (table->key == KEY_PAIR)
		buf_add(&buf, "SELECT json_build_object('lang', lang, 'n', n), ");
	else
		buf_add(&buf, "SELECT json_build_object('id', id), ");
	buf_add(&buf, "%s, json_build_object(", table->scope < 0 ? "''" : "scope::text");
	for (int i = 0; i < table->ncolumns; i++)
	{
		const Column *column = &table->columns[i];

		buf_add(&buf, "%s'%s', %s%s", i > 0 ? ", " : "", column->name, column->name,
				column->type == SET ? "::text[]" : column->type == JSONB ? "" : "::text");
	}
	buf_add(&buf, ") FROM %s", table->sql_name);
	return buf.data;
}

/* Cells in one line, NULL the same as nothing. */
char *
cells_line(const Table *table, const Json *cells)
{
	Json	   *shown = json_new(JSON_OBJECT);

	if (cells == NULL)
		return "no row";
	for (int i = 0; i < cells->n; i++)
	{
		if (cells->items[i]->type != JSON_NULL)
			json_put(shown, cells->keys[i], cells->items[i]);
	}
	return json_canon(shown);
}
