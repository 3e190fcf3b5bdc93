/*-------------------------------------------------------------------------
 *
 * writer.c
 *	  Those who write to the tables by SQL, at once or in long transactions.
 *
 * Each statement returns the rows that it wrote and its transaction id, so that
 * the simulation knows which position belongs to which rows.  What is written to
 * a pure table is noted for the oracle, if it commits.
 *
 *-------------------------------------------------------------------------
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "simulation.h"

/* Key, clock, transaction, all columns */
static char *
returning(const Table *table)
{
	char	   *query = row_query(table);
	char	   *from = strstr(query, " FROM ");

	*from = '\0';
	return form(" RETURNING row_clock_max_hlc(_sync), pg_current_xact_id(), %s", query + strlen("SELECT "));
}

static SqlWrite *
new_write(int table, int k)
{
	SqlWrite   *write = take(sizeof(SqlWrite));

	write->table = table;
	write->k = k;
	write->cells = json_new(JSON_OBJECT);
	return write;
}

static Position last_position;	/* of what a statement wrote, if anything */

/*
 * Run a statement that returns what it wrote.  Its note for the oracle is kept
 * where it wrote anything.
 */
static bool
run(PGconn *conn, Session *session, int t, const char *sql, SqlWrite *write)
{
	Table	   *table = &sim.tables[t];
	Rows	   *rows;

	sim.moment++;
	last_position.node = NULL;
	rows = ask(conn, 0, form("%s%s", sql, returning(table)));
	if (rows == NULL)
	{
		note("%s: %s -- %s", session == NULL ? "sql" : form("session %d", (int) (session - sim.sessions)), sql, error_text);
		return false;
	}
	note("%s: %s -- %d rows%s%s", session == NULL ? "sql" : form("session %d", (int) (session - sim.sessions)), sql, rows->n,
		 rows->n > 0 ? " xid " : "", rows->n > 0 ? VALUE(rows, 0, 1) : "");
	for (int i = 0; i < rows->n; i++)
	{
		Position	position = {sim.node, strtoull(VALUE(rows, i, 1), NULL, 10)};

		last_position = position;
		position_add(t, key_number(table, json_parse(VALUE(rows, i, 2))), position);
		if (write == NULL)
			continue;
		write->hlc = hlc_parse(VALUE(rows, i, 0));
		write->position = position;
		write->arrived = sim.moment;
		if (write->is_insert)
			write->cells = json_parse(VALUE(rows, i, 4));
		if (session == NULL)
		{
			write->next = sim.writes;
			sim.writes = write;
		}
		else
		{
			write->next = session->writes;
			session->writes = write;
		}
	}
	return true;
}

static char *
insert_sql(const Table *table, int k)
{
	Buf			names = {0};
	Buf			values = {0};

	buf_add(&names, "INSERT INTO %s (%s", table->sql_name, key_columns(table));
	buf_add(&values, ") VALUES (%s", key_values(table, k));
	for (int i = 0; i < table->ncolumns; i++)
	{
		const Column *column = &table->columns[i];

		if (column->is_generated || (chance(40) && !column->is_scope))
			continue;
		buf_add(&names, ", %s", column->name);
		buf_add(&values, ", %s", sql_value(column, random_value(column)));
	}
	return form("%s%s)", names.data, values.data);
}

/*
 * Changes of a column by SQL are such that the policy would agree: SQL is not
 * asked, it has the last word.
 */
static bool
update_pure(PGconn *conn, Session *session, int t, int k)
{
	Table	   *table = &sim.tables[t];
	Column	   *column = &table->columns[below(table->ncolumns)];
	Json	   *value = random_value(column);
	SqlWrite   *write = new_write(t, k);
	const char *name = column->name;
	char	   *set = sql_value(column, value);
	char	   *condition = form("%s IS DISTINCT FROM %s", name, set);

	json_put(write->cells, name, value);
	switch (column->policy)
	{
		case MAX:
		case MIN:
			if (value->type == JSON_NULL)
				return true;
			condition = form("(%s IS NULL OR %s %s %s)", name, name, column->policy == MAX ? "<" : ">", set);
			break;
		case FIRST_WRITER:
			condition = form("%s IS NULL AND %s IS NOT NULL", name, set);
			break;
		case COUNTER:
			condition = form("%s <> 0", set);
			set = form("%s + %s", name, set);
			break;
		case JSON_KEYS:
			if (value->n == 0)
				return true;
			value = json_copy(value);
			json_put(write->cells, name, value);
			while (value->n > 1)
				json_put(value, value->keys[0], NULL);
			if (chance(25))
			{
				condition = form("%s ? %s", name, quote(value->keys[0]));
				set = form("%s - %s", name, quote(value->keys[0]));
				json_put(value, value->keys[0], json_new(JSON_NULL));
			}
			else
			{
				set = quote(json_write(value));
				condition = form("NOT coalesce(%s @> %s, false)", name, set);
				set = form("coalesce(%s, '{}') || %s", name, set);
			}
			break;
		default:
			break;
	}
	return run(conn, session, t, form("UPDATE %s SET %s = %s WHERE %s AND %s", table->sql_name, name, set,
									  key_where(table, k), condition), write);
}

static bool
write_pure(PGconn *conn, Session *session, int t, int k)
{
	SqlWrite   *write;

	if (!chance(25))
		return update_pure(conn, session, t, k);
	write = new_write(t, k);
	write->is_insert = true;
	return run(conn, session, t, form("%s ON CONFLICT DO NOTHING", insert_sql(&sim.tables[t], k)), write);
}

static bool
truncate(PGconn *conn, Session *session, const Table *table)
{
	char	   *sql = form("TRUNCATE %s CASCADE", table->sql_name);

	sim.moment++;
	note("%s: %s", session == NULL ? "sql" : form("session %d", (int) (session - sim.sessions)), sql);
	return ask(conn, 0, sql) != NULL;
}

static bool
write_wild(PGconn *conn, Session *session, int t, int k)
{
	Table	   *table = &sim.tables[t];
	Column	   *column = &table->columns[below(table->ncolumns)];
	char	   *value;
	int			dice = below(100);
	int			other = 1 + below(NKEYS);

	if (column->is_generated)
		column = &table->columns[0];
	value = sql_value(column, random_value(column));
	if (dice < 15)
		return run(conn, session, t, form("%s ON CONFLICT DO NOTHING", insert_sql(table, k)), NULL);
	if (dice < 25)
		return run(conn, session, t, form("%s ON CONFLICT (%s) DO UPDATE SET %s = EXCLUDED.%s", insert_sql(table, k),
										  key_columns(table), column->name, column->name), NULL);
	if (dice < 30)
		return run(conn, session, t, form("%s", insert_sql(table, k)), NULL);
	if (dice < 40)
		return run(conn, session, t, form("DELETE FROM %s WHERE %s", table->sql_name, key_where(table, k)), NULL);
	if (dice < 44)
	{
		bool		done = run(conn, session, t, form("UPDATE %s SET (%s) = ROW (%s) WHERE %s", table->sql_name, key_columns(table),
													  key_values(table, other), key_where(table, k)), NULL);

		if (done && last_position.node != NULL)
			position_add(t, k, last_position);	/* the old key is not returned */
		return done;
	}
	if (dice < 45)
		return truncate(conn, session, table);
	if (dice < 50)
		return run(conn, session, t, form("UPDATE %s SET %s = %s", table->sql_name, column->name, value), NULL);
	return run(conn, session, t, form("UPDATE %s SET %s = %s WHERE %s", table->sql_name, column->name, value,
									  key_where(table, k)), NULL);
}

static bool
random_write(PGconn *conn, Session *session)
{
	int			t = below(sim.ntables);
	int			k = 1 + below(NKEYS);

	return sim.tables[t].is_pure ? write_pure(conn, session, t, k) : write_wild(conn, session, t, k);
}

/* A writer may meet locks, broken constraints, and what the administrator does. */
static void
writer_failed(void)
{
	/* 55006: TRUNCATE after changes of the same transaction that a deferred trigger waits for */
	if (strncmp(error_state, "23", 2) != 0 && strcmp(error_state, "55006") != 0)
		call_failed("SQL");
}

/* A statement of its own. */
void
write_sql(PGconn *conn, Session *session)
{
	if (!random_write(conn, session))
		writer_failed();
}

/* ------------------------------------------------------------ sessions */

static void
command(Session *session, const char *sql)
{
	note("session %d: %s", (int) (session - sim.sessions), sql);
	sim.moment++;
	if (ask(session->conn, 0, sql) == NULL)
		violation("%s: %s: %s", sql, error_state, error_text);
}

/* Its connection ended with all that was open. */
void
session_lost(Session *session)
{
	session->is_open = false;
	session->writes = NULL;
}

static void
keep_writes(SqlWrite *writes)
{
	while (writes != NULL)
	{
		SqlWrite   *write = writes;

		writes = write->next;
		write->next = sim.writes;
		sim.writes = write;
	}
}

static void
session_prepare(Session *session)
{
	char	   *name = form("p%d", sim.step);
	int			n = (int) (session - sim.sessions);

	note("session %d: PREPARE TRANSACTION '%s'", n, name);
	sim.moment++;
	count("prepare");
	if (ask(session->conn, 0, form("PREPARE TRANSACTION '%s'", name)) == NULL)
	{
		note("... %s", error_text);
		writer_failed();
	}
	else
		sim.prepared[sim.nprepared++] = (Prepared) {name, session->writes};
	session_lost(session);
}

void
finish_prepared(int i)
{
	Prepared	p = sim.prepared[i];
	bool		commit = chance(70);
	char	   *sql = form("%s PREPARED '%s'", commit ? "COMMIT" : "ROLLBACK", p.name);

	note("%s", sql);
	sim.moment++;
	must(control, sql);
	if (commit)
		keep_writes(p.writes);
	sim.prepared[i] = sim.prepared[--sim.nprepared];
}

void
session_end(Session *session, bool commit)
{
	if (!session->is_open)
		return;
	note("session %d: %s", (int) (session - sim.sessions), commit ? "COMMIT" : "ROLLBACK");
	sim.moment++;
	if (ask(session->conn, 0, commit ? "COMMIT" : "ROLLBACK") == NULL)
	{
		note("... %s", error_text);
		writer_failed();
		commit = false;
	}
	if (commit)
		keep_writes(session->writes);
	session_lost(session);
}

void
session_step(Session *session)
{
	int			dice = below(100);

	if (!session->is_open)
	{
		command(session, chance(85) ? "BEGIN" : "BEGIN ISOLATION LEVEL REPEATABLE READ");
		session->is_open = true;
		session->savepoints = 0;
		session->writes = NULL;
	}
	else if (dice < 12 && session->savepoints < 8)
	{
		session->saved[session->savepoints++] = session->writes;
		command(session, "SAVEPOINT p");
		return;
	}
	else if (dice < 22 && session->savepoints > 0)
	{
		session->writes = session->saved[session->savepoints - 1];
		command(session, "ROLLBACK TO p");
		return;
	}
	else if (dice < 26 && session->savepoints > 0)
	{
		session->savepoints--;
		command(session, "RELEASE p");
		return;
	}
	else if (dice < 45)
	{
		if (chance(12) && server_prepares() && sim.nprepared < NPREPARED)
			session_prepare(session);
		else
			session_end(session, chance(75));
		return;
	}
	if (!random_write(session->conn, session))
	{
		writer_failed();
		if (session->savepoints > 0)
		{
			session->writes = session->saved[session->savepoints - 1];
			command(session, "ROLLBACK TO p");
		}
		else
			session_end(session, false);
	}
}

/*
 * Transactions that had committed without a flush may be gone after a crash.  Ask
 * before their numbers are handed out again.
 */
void
forget_lost_writes(void)
{
	Buf			xids = {0};
	Rows	   *rows;
	SqlWrite  **link = &sim.writes;
	int			nlost = 0;

	buf_add(&xids, "{");
	for (SqlWrite *write = sim.writes; write != NULL; write = write->next)
		buf_add(&xids, "%s%llu", xids.len > 1 ? "," : "", (unsigned long long) write->position.xid);
	buf_add(&xids, "}");
	rows = must(control, form("SELECT DISTINCT x FROM unnest('%s'::xid8[]) x WHERE CASE WHEN x >= pg_snapshot_xmax(pg_current_snapshot())"
							  " THEN true ELSE pg_xact_status(x) IS DISTINCT FROM 'committed' END", xids.data));
	while (*link != NULL)
	{
		bool		is_lost = false;

		for (int i = 0; i < rows->n; i++)
			is_lost |= strtoull(VALUE(rows, i, 0), NULL, 10) == (*link)->position.xid;
		nlost += is_lost;
		if (is_lost)
			*link = (*link)->next;
		else
			link = &(*link)->next;
	}
	note("%d transactions of SQL writers are lost with %d writes to pure tables", rows->n, nlost);
	count(rows->n > 0 ? "crash loses commits" : "crash loses no commits");
}
