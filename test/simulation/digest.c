/*-------------------------------------------------------------------------
 *
 * digest.c
 *	  The digest of what a device holds of a scope, by doc/client.md.
 *
 *-------------------------------------------------------------------------
 */
#include <openssl/sha.h>
#include <stdio.h>
#include <string.h>

#include "simulation.h"

/*
 * A cell as the server would serve it: what the device itself wrote may be spelt
 * otherwise, a number as a string for one.
 */
static Json *
served(const Column *column, Json *value)
{
	Json	   *result = value;
	bool		is_number = column->type == INT ||
		(column->refers >= 0 && sim.tables[column->refers].key == KEY_INT);

	if (is_number && value->type == JSON_STRING)
	{
		result = json_new(JSON_NUMBER);
		result->text = value->text;
	}
	return result;
}

static char *
row_bytes(const Table *table, int k, const Json *cells)
{
	Json	   *shown = json_new(JSON_OBJECT);

	for (int i = 0; i < table->ncolumns; i++)
	{
		Json	   *value = json_get(cells, table->columns[i].name);

		if (value != NULL && value->type != JSON_NULL)
			json_put(shown, table->columns[i].name, served(&table->columns[i], value));
	}
	return form("{\"table\":\"%s\",\"key\":%s,\"insert\":%s}", table->name,
				json_compact(json_parse(key_json(table, k))), json_compact(shown));
}

char *
digest_of_scope(const Device *device, const char *scope)
{
	uint32_t	sums[4] = {0};

	for (int t = 0; t < sim.ntables; t++)
	{
		const Table *table = &sim.tables[t];

		for (int k = 1; k <= NKEYS; k++)
		{
			const Json *cells = device->rows[t][k];
			const char *of_row = cells == NULL ? NULL : table->scope < 0 ? "" :
				json_text(cells, table->columns[table->scope].name);
			unsigned char hash[SHA256_DIGEST_LENGTH];
			char	   *bytes;

			if (of_row == NULL || strcmp(of_row, scope) != 0)
				continue;
			bytes = row_bytes(table, k, cells);
			SHA256((unsigned char *) bytes, strlen(bytes), hash);
			for (int i = 0; i < 4; i++)
				sums[i] += (uint32_t) hash[4 * i] << 24 | hash[4 * i + 1] << 16 | hash[4 * i + 2] << 8 | hash[4 * i + 3];
		}
	}
	return form("%08x%08x%08x%08x", sums[0], sums[1], sums[2], sums[3]);
}
