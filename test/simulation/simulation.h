/*-------------------------------------------------------------------------
 *
 * simulation.h
 *	  A seeded simulation of devices, SQL writers and faults around one server.
 *
 * All that happens follows from the seed: one thread drives every connection,
 * one step after the other, and nothing that is decided depends on the time that
 * something took.  Memory is taken from an arena that is emptied when a run is
 * over, so nothing is freed one by one.
 *
 *-------------------------------------------------------------------------
 */
#ifndef SIMULATION_H
#define SIMULATION_H

#include <stdbool.h>
#include <stdint.h>

#include "libpq-fe.h"

#define MAX_TABLES		5
#define MAX_COLUMNS		14
#define MAX_DEVICES		8
#define NKEYS			6			/* each table has rows 1 .. NKEYS at most */
#define NSCOPES			3
#define NSESSIONS		3
#define NPREPARED		3

/* ---------------------------------------------------------------- util.c */

typedef struct Buf
{
	char	   *data;
	int			len;
	int			size;
} Buf;

extern void *take(size_t size);
extern void arena_reset(void);
extern char *copy(const char *text);
extern char *form(const char *format,...) __attribute__((format(printf, 1, 2)));
extern void buf_add(Buf *buf, const char *format,...) __attribute__((format(printf, 2, 3)));
extern char *quote(const char *text);	/* as an SQL literal */

extern void random_start(uint64_t seed);
extern int	below(int n);
extern bool chance(int percent);

/* ---------------------------------------------------------------- json.c */

typedef enum JsonType
{
	JSON_NULL, JSON_BOOL, JSON_NUMBER, JSON_STRING, JSON_ARRAY, JSON_OBJECT
} JsonType;

/* Numbers keep the text that they were written with; nothing is ever changed in place but by json_put. */
typedef struct Json
{
	JsonType	type;
	char	   *text;			/* of a scalar */
	int			n;				/* items */
	int			size;
	char	  **keys;			/* of an object */
	struct Json **items;
} Json;

extern Json *json_parse(const char *text);	/* NULL: not JSON */
extern Json *json_new(JsonType type);
extern Json *json_string(const char *text);
extern Json *json_number(long long value);
extern Json *json_copy(const Json *json);	/* members are shared */
extern Json *json_get(const Json *object, const char *key);
extern const char *json_text(const Json *object, const char *key);
extern long long json_long(const Json *object, const char *key);
extern bool json_true(const Json *object, const char *key);
extern void json_put(Json *object, const char *key, Json *value);	/* NULL: away with it */
extern void json_push(Json *array, Json *value);
extern bool json_has_text(const Json *array, const char *text);
extern char *json_write(const Json *json);
extern char *json_compact(const Json *json);	/* keys in order, no blanks */
extern char *json_canon(const Json *json);	/* keys in order, scalars by their text alone */

/* -------------------------------------------------------------- schema.c */

typedef enum Policy
{
	LWW, MAX, MIN, FIRST_WRITER, COUNTER, ORSET, JSON_KEYS,
	SERVER_WINS, PRIORITY, MANUAL, CUSTOM, OPAQUE, NPOLICIES
} Policy;

typedef enum ColumnType
{
	INT, NUMERIC, TEXT, BOOL, TIME, DATE, JSONB, SET, BYTES
} ColumnType;

typedef struct Column
{
	char	   *name;
	ColumnType	type;
	Policy		policy;
	const char *type_name;		/* NULL: by its type */
	const char *initial;		/* default as text, NULL: none */
	const char *rest;			/* of its definition, NULL: nothing more */
	int			refers;			/* to a row of this table, -1: to none */
	bool		is_scope;
	bool		is_generated;	/* or written by a trigger: not for devices */
} Column;

typedef enum KeyType
{
	KEY_INT, KEY_TEXT, KEY_UUID, KEY_PAIR
} KeyType;

typedef struct Table
{
	char	   *name;			/* on the wire */
	char	   *sql_name;
	KeyType		key;
	int			ncolumns;
	Column		columns[MAX_COLUMNS];
	int			scope;			/* column, -1: all rows are in scope '' */
	bool		is_pure;		/* rows neither deleted, moved nor refused: the oracle knows them */
	bool		is_fixed;		/* append_only */
	const char *on_delete;
	const char *consistency;
} Table;

extern const char *const policy_names[];
extern void schema_make(void);
extern void schema_add_column(Table *table);
extern char *key_json(const Table *table, int k);
extern char *key_where(const Table *table, int k);
extern char *key_columns(const Table *table);
extern char *key_values(const Table *table, int k);
extern int	key_number(const Table *table, const Json *key);	/* 0: none of ours */
extern Json *random_value(const Column *column);
extern char *sql_value(const Column *column, const Json *value);
extern Json *random_elements(void);
extern char *row_query(const Table *table);
extern char *cells_line(const Table *table, const Json *cells);

/* -------------------------------------------------------------- server.c */

typedef struct Rows
{
	int			n;
	int			ncolumns;
	char	  **values;			/* row by row; NULL: null */
} Rows;

#define VALUE(rows, i, j) ((rows)->values[(i) * (rows)->ncolumns + (j)])

extern PGconn *control;			/* administrator's connection */
extern char error_state[6];		/* of the last statement that failed */
extern char *error_text;

extern void server_begin(bool may_crash);	/* look at the server, make the template database */
extern void server_new_database(void);
extern void server_connect_control(void);	/* again: with settings that are new */
extern PGconn *server_connect(const char *options);
extern Rows *ask(PGconn *conn, int nparams, const char *sql,...);	/* NULL: it failed */
extern Rows *must(PGconn *conn, const char *sql);	/* a failure ends the run */
extern Rows *fetch(PGconn *conn);	/* result of what was sent */
extern bool is_blocked(PGconn *conn);	/* false: it is done */
extern void server_crash(int pid);	/* SIGKILL to a backend */
extern void server_restart(void);	/* immediate shutdown */
extern bool server_may_crash(void);
extern bool server_prepares(void);	/* are there prepared transactions? */
extern const char *node_id(void);

/* -------------------------------------------------------------- device.c */

/* Milliseconds since 1970, and a counter; as text "2026-11-20T10:00:00.123Z/4" */
typedef struct Hlc
{
	long long	ms;
	int			counter;
} Hlc;

/* A stored write's place: which node's transaction. */
typedef struct Position
{
	const char *node;			/* NULL: not stored */
	uint64_t	xid;
} Position;

typedef struct Change
{
	long long	seq;
	int			table;
	int			k;
	Json	   *body;			/* as in a delta, its seq, hlc and key included */
	Hlc			hlc;
	const char *context;		/* vector when it was made */
	const char *node_hlc;		/* NULL: none received */
	int			group;			/* 0: none */
	bool		is_rejected;	/* filled in from the journal */
	Position	position;		/* where the server stored it */
	long long	arrived;		/* when, in terms of sim.moment */
	Position	grant;			/* of the scope; who has not seen that has seen nothing */
	Hlc			lifted;			/* its clock as the server made it agree with causality */
} Change;

typedef struct Device
{
	int			n;
	const char *id;
	const char *class;
	/* what a client keeps */
	long long	seq;
	Hlc			clock;
	Json	   *vector;
	const char *resume;
	long long	answered;
	const char *node_hlc;
	Json	   *rows[MAX_TABLES][NKEYS + 1];	/* the base: cells, NULL: no row */
	Change	   *log[10000];		/* by seq */
	long long	settled;		/* changes up to here are out of the outbox */
	/* the world around it */
	long long	skew_ms;
	bool		is_revoked;
	bool		is_reset;		/* in the middle of a fresh start */
	bool		was_wiped;
	bool		is_waiting;		/* for the answer to a push that is blocked */
	long long	stored;			/* the highest seq that the server must have */
	Hlc			stored_hlc;		/* of the last one, as lifted */
	Position	grant;			/* of scope '' */
	bool		may_get_again;	/* told whole by right: new grant, fresh start */
	int			silent_until;	/* step */
} Device;

extern void device_start(Device *device);
extern Change *device_write(Device *device, int table, int k, Json *body, int group);
extern Json *device_row(Device *device, int table, int k);	/* what its user sees */
extern char *device_delta(Device *device, int max, long long *first, long long *last);
extern void device_hello(Device *device, long long acked);
extern void device_answer(Device *device, long long first, long long last, Rows *answer);
extern bool device_page(Device *device, const char *page);	/* is there more? */
extern bool vector_covers(const Json *vector, const char *replica, uint64_t counter);
extern int	hlc_compare(Hlc a, Hlc b);
extern Hlc	hlc_successor(Hlc hlc);
extern Hlc	hlc_parse(const char *text);
extern char *hlc_text(Hlc hlc);

/* -------------------------------------------------------------- oracle.c */

extern void oracle_check(void);

/* -------------------------------------------------------------- digest.c */

extern char *digest_of_scope(const Device *device, const char *scope);

/* What SQL did to a row of a table that the oracle knows. */
typedef struct SqlWrite
{
	int			table;
	int			k;
	bool		is_insert;		/* which writes all columns */
	Json	   *cells;			/* new values; of a counter what was added; of an object the keys written, null for removed */
	Hlc			hlc;
	Position	position;
	long long	arrived;
	struct SqlWrite *next;
} SqlWrite;

/* ---------------------------------------------------------------- main.c */

typedef struct Session
{
	PGconn	   *conn;
	bool		is_open;
	int			savepoints;
	Position	position;
	SqlWrite   *writes;			/* not committed yet, newest first */
	SqlWrite   *saved[8];		/* as of each savepoint */
} Session;

/* A delta on its way, that nobody waits for an answer to. */
typedef struct Message
{
	Device	   *device;
	char	   *delta;
	long long	first;
	long long	last;
} Message;

typedef struct Submission
{
	Device	   *device;
	const char *id;
	long long	first;
	long long	last;
} Submission;

/* A transaction that is prepared to commit, and survives crashes */
typedef struct Prepared
{
	const char *name;
	SqlWrite   *writes;
} Prepared;

typedef struct Simulation
{
	uint64_t	seed;
	int			step;
	long long	moment;			/* counts what changed the server */
	long long	begun_ms;		/* wall clock when the run began */
	int			ntables;
	Table		tables[MAX_TABLES];
	int			ndevices;
	Device	   *devices[64];	/* those that were replaced included */
	Session		sessions[NSESSIONS];
	PGconn	   *client;			/* all devices talk through it */
	PGconn	   *slow;			/* for calls that wait */
	SqlWrite   *writes;			/* committed ones, newest first */
	const char *node;
	long long	max_skew_ms;
	bool		has_parents;	/* rows of tables that are not pure change by cascade, and late */
	bool		is_lazy;		/* commits of SQL may be lost in a crash */
	int			nmessages;
	Message		messages[64];
	int			nsubmissions;
	Submission	submissions[64];
	int			nprepared;
	Prepared	prepared[NPREPARED];
	/* positions of all writes of a row, for who asks whether it was told twice */
	int			npositions[MAX_TABLES][NKEYS + 1];
	Position   *positions[MAX_TABLES][NKEYS + 1];
} Simulation;

extern Simulation sim;
extern bool verbose;

extern void note(const char *format,...) __attribute__((format(printf, 1, 2)));
extern void violation(const char *format,...) __attribute__((format(printf, 1, 2), noreturn));

extern void count(const char *what);	/* for the summary */

/* --------------------------------------------------------------- steps.c */

extern void steps_begin(void);
extern void step(void);
extern void calm_down(void);	/* nothing is open, on its way or in the way any more */

/* ---------------------------------------------------------------- edit.c */

extern void edit_some(Device *device);

/* --------------------------------------------------------------- calls.c */

extern const char *const push_sql;
extern long long wall_ms(void);
extern void position_add(int table, int k, Position position);
extern void call_failed(const char *what);	/* unless the error is one that a client lives with: a violation */
extern void stored(Device *device, long long last, Position position, long long begun_ms);
extern void learn_stored(Device *device, long long begun_ms);	/* from the journal */
extern void check_answer(Device *device, long long first, long long last, Rows *answer, long long begun_ms);
extern Rows *push_now(PGconn *conn, Device *device, const char *delta, long long first, long long last);
extern void push(Device *device);
extern void deliver(void);
extern void forget_messages(Device *device);
extern bool pull_page(Device *device, int max, bool is_lost);
extern void pull(Device *device);
extern void ack(Device *device);
extern void hello(Device *device);

/* --------------------------------------------------------------- queue.c */

extern void submit(Device *device);
extern void fetch_submission(void);
extern void forget_submissions(const Device *device);
extern void process_queue(int max);
extern bool has_submitted(const Device *device);

/* --------------------------------------------------------------- clean.c */

extern void clean_up(void);
extern void expire(Device *device);
extern void fall_silent(Device *device);
extern bool is_fenced(const Device *device);

/* -------------------------------------------------------------- writer.c */

extern void write_sql(PGconn *conn, Session *session);
extern void session_step(Session *session);
extern void session_end(Session *session, bool commit);
extern void session_lost(Session *session);
extern void finish_prepared(int i);
extern void forget_lost_writes(void);

/* --------------------------------------------------------------- check.c */

extern void heal(void);

#endif							/* SIMULATION_H */
