/*-------------------------------------------------------------------------
 *
 * delta.h
 *	  A batch of changes by one replica, in a compact binary form that is
 *	  validated once, where it comes in (text, binary, or DeltaWriter), and
 *	  then read without parsing again.
 *
 * Every table and column name is stored once and changes refer to it by number;
 * integers are varints; hlc and seq are stored as differences.  The form is
 * canonical: names are numbered in bytewise order, the cells of a change are
 * sorted by (column name, op), list elements are sorted and unique; so two
 * spellings of one delta have equal bytes, which comparisons work on, and one text, which is
 * signed.
 *
 * There are two families.  A *pushed* delta comes from a device: consecutive
 * seqs, context, hlc.  A *served* delta goes to a device: from and to vectors,
 * more, resume, reset, and changes without seq.  One type holds both.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OFFLINE_SYNC_DELTA_H
#define OFFLINE_SYNC_DELTA_H

#include "fmgr.h"
#include "lib/stringinfo.h"
#include "types/hlc.h"
#include "types/version_vector.h"
#include "utils/uuid.h"

#define DELTA_FORMAT			1	/* the JSON's and the binary form's
									 * version */
#define DELTA_MAX_DEPTH			10000	/* of a JSON value's nesting, whatever
										 * the setting */

typedef struct varlena DeltaData;	/* the SQL type delta */

#define DatumGetDeltaP(d)		((DeltaData *) PG_DETOAST_DATUM(d))
#define DeltaPGetDatum(p)		PointerGetDatum(p)
#define PG_GETARG_DELTA_P(n)	DatumGetDeltaP(PG_GETARG_DATUM(n))
#define PG_RETURN_DELTA_P(p)	PG_RETURN_POINTER(p)

/*
 * A value as it travels.  In JSON: null, false, true, a number (its text as
 * written), a string (unescaped), and anything else as raw JSON text.  An object
 * with the single key "$json" is unwrapped once: {"$json": null} is the JSON
 * value null, kind DELTA_JSON; writing wraps again where it must.  LIST only
 * occurs in add and remove: the elements follow each other as varint length and
 * bytes (see delta_list_next).  What else is added is a JSON object.
 */
typedef enum DeltaValueKind
{
	DELTA_NULL = 0,
	DELTA_FALSE,
	DELTA_TRUE,
	DELTA_NUMBER,
	DELTA_STRING,
	DELTA_JSON,
	DELTA_LIST
} DeltaValueKind;

typedef struct DeltaValue
{
	DeltaValueKind kind;
	int			len;
	const char *data;			/* not terminated */
} DeltaValue;

/* What a cell does to its column; also their order within a change. */
typedef enum DeltaCellOp
{
	DELTA_SET = 0,				/* from "insert" or "set" */
	DELTA_INCREMENT,			/* value: NUMBER, or STRING with the number's
								 * text */
	DELTA_REMOVE,				/* value: LIST */
	DELTA_ADD					/* value: LIST, or JSON: an object */
} DeltaCellOp;

typedef struct DeltaCell
{
	int			column;			/* index into DeltaReader.columns */
	DeltaCellOp op;
	DeltaValue	value;
} DeltaCell;

typedef enum DeltaChangeKind
{
	DELTA_CHANGE_INSERT = 0,	/* "insert": all its cells are SET */
	DELTA_CHANGE_UPDATE,		/* set / increment / add / remove */
	DELTA_CHANGE_DELETE,
	DELTA_CHANGE_RETRACT,		/* served only: one row */
	DELTA_CHANGE_RETRACT_SCOPE, /* served only: a whole scope */
	DELTA_CHANGE_INTENT			/* pushed only */
} DeltaChangeKind;

typedef struct DeltaName
{
	const char *data;			/* terminated by a zero byte in the delta */
	int			len;
} DeltaName;

typedef struct DeltaChange
{
	DeltaChangeKind kind;
	int64		seq;			/* 0 in served deltas */
	Hlc			hlc;			/* as its writer gave it; HLC_MIN where absent */
	int			table;			/* index into DeltaReader.tables, -1 for
								 * intents and whole scopes */
	int			nkeys;
	DeltaCell  *keys;			/* op DELTA_SET, sorted by column name */
	int			ncells;
	DeltaCell  *cells;			/* sorted by (column name, op) */
	int64		group;			/* 0: none */
	DeltaValue	intent;			/* INTENT: its name (STRING) */
	DeltaValue	args;			/* INTENT: JSON object (kind NULL: absent);
								 * RETRACT_SCOPE: the scope (STRING) */
	int			nbytes;			/* as encoded */
	const char *row;			/* where its table, keys and cells are encoded */
} DeltaChange;

typedef struct DeltaHeader
{
	pg_uuid_t	replica;
	VersionVector *context;		/* pushed; never NULL after reading (empty) */
	VersionVector *from;		/* served; NULL where absent */
	VersionVector *to;			/* served; NULL where absent */
	Hlc			hlc;			/* HLC_MIN where absent */
	int			schema_version; /* 0 where absent */
	int64		first_seq;		/* 0: served, or without changes */
	int			nchanges;
	bool		is_served;		/* has "from", "to" or "more" in JSON */
	bool		has_more;
	bool		is_reset;
	const char *resume;			/* terminated, or NULL */
	const char *checksum;		/* "crc32c:...", terminated, or NULL */
	const char *signature;		/* "ed25519:...", terminated, or NULL */
} DeltaHeader;

/*
 * Reading.  delta_reader_init points into the delta, which must stay; names are
 * resolved at once.  delta_reader_next fills the change, whose arrays live until
 * the next call; delta_reader_skip does not read them, but how many there are.
 * delta_reader_again fills the arrays of a change that was read before, until the next
 * call of any.  A stored value that is damaged raises XX001.
 */
typedef struct DeltaReader
{
	DeltaHeader header;
	int			ntables;
	DeltaName  *tables;
	int			ncolumns;
	DeltaName  *columns;
	/* private */
	int			encoding;		/* of its strings */
	const char *cursor;
	const char *end;
	int			nread;
	int64		next_seq;
	Hlc			last_hlc;
	bool		is_skipping;
	DeltaCell  *cells;
	int			maxcells;
	char	   *text;			/* strings of the change that are stored in a
								 * shorter form */
	int			text_len;
	int			text_max;
} DeltaReader;

extern void delta_reader_init(DeltaReader *reader, const DeltaData *delta);
extern bool delta_reader_next(DeltaReader *reader, DeltaChange *change);
extern bool delta_reader_skip(DeltaReader *reader, DeltaChange *change);
extern void delta_reader_again(DeltaReader *reader, DeltaChange *change);

/* The elements of a LIST value: start with cursor = value->data. */
extern bool delta_list_next(const DeltaValue *value, const char **cursor,
							const char **data, int *len);

/* Do two changes (of two deltas) say the same: seq, hlc, table, key, content,
 * group?  Names are compared as names. */
extern bool delta_same_change(const DeltaReader *ra, const DeltaChange *a,
							  const DeltaReader *rb, const DeltaChange *b);

/* A copy of a pushed delta without the cells of some changes: [nchanges] */
extern DeltaData *delta_strip(const DeltaData *delta, const bool *is_stripped);

/* A device's delta without changes. */
extern DeltaData *delta_empty(const pg_uuid_t *replica);

/* Do two changes say the same, whatever their cells? */
extern bool delta_same_stripped(const DeltaReader *ra, const DeltaChange *a,
								const DeltaReader *rb, const DeltaChange *b);

/*
 * A value for an SQL json/jsonb column, from the column's own text: scalars
 * become their kinds, null the JSON value null, containers DELTA_JSON; a string
 * whose escapes are not ours stays DELTA_JSON, so that type json is kept to the
 * letter.  May palloc.
 */
extern void delta_value_from_json(const char *json, int len, DeltaValue *value);

/* The text that a json/jsonb column takes in for this value (of any kind but
 * LIST): strings are quoted again, NULL must have been handled by the caller. */
extern void delta_value_to_json(StringInfo buf, const DeltaValue *value);

/* A value (not LIST) as it stands in a delta's JSON: wrapped in {"$json": } where it
 * would not come back as it is.  delta_format_name: a name, or any string. */
extern void delta_format_member(StringInfo buf, const DeltaValue *value);
extern void delta_format_name(StringInfo buf, const char *name);

/* The elements of a JSON array of strings (DELTA_JSON), or of a LIST, as a palloc'd LIST value,
 * sorted and unique.  False where it is anything else. */
extern bool delta_value_to_list(const DeltaValue *value, DeltaValue *list);

/* Is it a JSON object? */
extern bool delta_value_is_object(const DeltaValue *value);

/*
 * Writing a served delta, or the corrections of an answer.  Per change: begin, then
 * keys, then cells in any order, then end.  Names are copied; values have to stay
 * until the change's end.
 */
typedef struct DeltaWriter DeltaWriter;

extern DeltaWriter *delta_writer_create(MemoryContext context);
extern void delta_writer_begin(DeltaWriter *w, DeltaChangeKind kind,
							   const char *table, Hlc hlc);
extern void delta_writer_key(DeltaWriter *w, const char *column,
							 const DeltaValue *value);
extern void delta_writer_cell(DeltaWriter *w, const char *column, DeltaCellOp op,
							  const DeltaValue *value);
extern void delta_writer_scope(DeltaWriter *w, const char *scope);	/* RETRACT_SCOPE */
extern void delta_writer_end(DeltaWriter *w);
extern int	delta_writer_count(const DeltaWriter *w);

/* header: replica, from, to, hlc, schema_version, has_more, is_reset, resume are
 * taken; is_served is true; the rest is derived. */
extern DeltaData *delta_writer_finish(DeltaWriter *w, const DeltaHeader *header);

/* ---- parsing from outside; pure ---- */

typedef struct DeltaLimits
{
	Size		max_size;		/* bytes, of the input */
	int			max_changes;
	Size		max_value_size; /* bytes, of one value */
	int			max_depth;		/* nesting of a JSON value, at most
								 * DELTA_MAX_DEPTH */
} DeltaLimits;

typedef struct DeltaError
{
	int			sqlstate;		/* MAKE_SQLSTATE value: 22P02, 22P03, 54000,
								 * 0A000 */
	int			position;		/* byte offset in the input, -1: none */
	char		message[256];	/* lower case, no period; names limit and
								 * value */
	char		hint[256];		/* "" where none */
} DeltaError;

/* Parse JSON text (in the server's encoding), or the wire form.  NULL and *error where it is
 * not acceptable; does not raise, but for memory, interrupts and characters that
 * the server's encoding lacks. */
extern DeltaData *delta_parse_json(const char *json, Size len,
								   const DeltaLimits *limits, DeltaError *error);
extern DeltaData *delta_parse_wire(const char *bytes, Size len,
								   const DeltaLimits *limits, DeltaError *error);
extern void delta_format_json(StringInfo buf, const DeltaData *delta);

/* The first changes of a pushed delta, without its checksum and signature, and without its
 * context if that is larger: at most about so many bytes. */
extern DeltaData *delta_head(const DeltaData *delta, Size max_size);

/*
 * What checksum and signature are about: DELTA_CANONICAL_PREFIX, then the delta's JSON as
 * delta_format_json writes it, in UTF-8, without these two and without the blanks in vectors.
 * doc/signing.md describes it for those who write clients.
 */
#define DELTA_CANONICAL_PREFIX	"offline_sync delta 1\n"

extern void delta_canonical_bytes(StringInfo buf, const DeltaData *delta);

/* The member "checksum" of those bytes */
#define DELTA_CHECKSUM_SIZE		16	/* "crc32c:" and 8 digits, terminated */

extern void delta_bytes_checksum(const char *bytes, Size len, char *result);

#endif							/* OFFLINE_SYNC_DELTA_H */
