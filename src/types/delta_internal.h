/*-------------------------------------------------------------------------
 *
 * delta_internal.h
 *	  The binary form of a delta, and what its files share.
 *
 * A delta's bytes (after the varlena header; on the wire as they are, but in
 * UTF-8 whatever the server's encoding):
 *
 *		"osd", format byte
 *		varint: size of the body
 *		body:
 *			flags (DELTA_HAS_...), replica (16 bytes)
 *			pushed: context; served: from, to as flagged (vv_pack)
 *			hlc (8 bytes, high byte first) as flagged
 *			varint schema_version
 *			resume as flagged (varint length, bytes, a zero byte)
 *			varint ntables, their names (as resume); varint ncolumns, their names
 *			varint nchanges; pushed and not empty: varint first seq
 *			changes
 *		seals: flags (DELTA_SEAL_...), checksum, signature as flagged (as resume)
 *
 * The bytes from "osd" to the end of the body are the content: deltas are equal where
 * these are.  Names are sorted bytewise, all different and all used.
 *
 * A change:
 *		kind and flags (DELTA_CHANGE_...), one byte
 *		varint group, as flagged; zigzag varint of hlc less the last hlc, as flagged
 *		a row: varint table, varint nkeys, keys; insert and update: varint ncells,
 *			cells
 *		a scope: varint length, bytes
 *		an intent: varint length, bytes; then kind byte and value of the arguments
 * A key or a cell: varint column, op << 4 | kind, and where the kind has
 * content varint length and bytes.  Instead of a string's kind there is one of
 * those of delta_text.h, with what that says, for all strings that have it.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OFFLINE_SYNC_DELTA_INTERNAL_H
#define OFFLINE_SYNC_DELTA_INTERNAL_H

#include "types/delta.h"

#define DELTA_MAGIC				"osd"
#define DELTA_MAGIC_SIZE		3

/* Flags of a delta; the remaining bit is reserved: always zero, and checked. */
#define DELTA_HAS_SERVED		0x01
#define DELTA_HAS_MORE			0x02
#define DELTA_HAS_RESET			0x04
#define DELTA_HAS_HLC			0x08
#define DELTA_HAS_FROM			0x10
#define DELTA_HAS_TO			0x20
#define DELTA_HAS_RESUME		0x40

#define DELTA_SEAL_CHECKSUM		0x01
#define DELTA_SEAL_SIGNATURE	0x02

/* The first byte of a change.  DELTA_CHANGE_CLOCK is reserved for the stamps that
 * nodes will send each other; the bits above it: always zero, and checked. */
#define DELTA_CHANGE_KIND_MASK	0x07
#define DELTA_CHANGE_HAS_GROUP	0x08
#define DELTA_CHANGE_HAS_HLC	0x10
#define DELTA_CHANGE_CLOCK		0x20
#define DELTA_CHANGE_UNUSED		0xC0

/* Limits of the format itself. */
#define DELTA_MAX_TABLE_NAME	(2 * NAMEDATALEN)	/* bytes; schema.table */
#define DELTA_MAX_COLUMN_NAME	(NAMEDATALEN - 1)
#define DELTA_MAX_NAMES			65536	/* different tables, and columns, in
										 * one delta */
#define DELTA_MAX_ELEMENTS		10000000	/* of one list */
#define DELTA_MAX_SIGNATURE		512 /* bytes */

#define DELTA_TOO_DEEP \
	"JSON value is nested %d levels deep, which exceeds the maximum allowed (%d)"

/* ---- memory that stays in place, freed at once ---- */

typedef struct DeltaArenaChunk DeltaArenaChunk;

typedef struct DeltaArena
{
	DeltaArenaChunk *chunks;	/* the one being filled first */
} DeltaArena;

extern char *delta_arena_alloc(DeltaArena *arena, Size size);
extern void delta_arena_reset(DeltaArena *arena);

/* ---- building the binary form from changes in any form ---- */

typedef struct DeltaNames
{
	int			count;
	int			max;
	DeltaName  *names;			/* in order of first use */
	uint32	   *hashes;
	int		   *followers;		/* which came after it, the last time */
	int			last;			/* the one that came last */
	int			nslots;			/* power of two */
	int		   *slots;			/* name's number + 1; 0: free */
} DeltaNames;

typedef struct DeltaBuilder
{
	uint64		seed;			/* of the hashes: not for the sender to guess */
	DeltaNames	tables;
	DeltaNames	columns;
	DeltaArena	strings;		/* live as long as the builder */
	DeltaArena	scratch;		/* live until the end of the change */
	StringInfoData changes;		/* encoded, names numbered as in "names" */
	int			nchanges;
	Hlc			last_hlc;
	int64		last_group;
	int64	   *groups;			/* that have begun, in order */
	int			ngroups;
	int			maxgroups;

	/* the change being built */
	int			nkeys;
	int			maxkeys;
	DeltaCell  *keys;
	int			ncells;
	int			maxcells;
	DeltaCell  *cells;
	uint32	   *key_used;		/* per column: last change + 1 that has it as
								 * key */
	uint32	   *cell_used;		/* the same for cells ... */
	uint8	   *cell_ops;		/* ... and by which ops */
	int			maxused;
} DeltaBuilder;

extern void delta_builder_init(DeltaBuilder *b);

/* The number of a name, copied where new.  -1: too many names. */
extern int	delta_builder_table(DeltaBuilder *b, const char *name, int len);
extern int	delta_builder_column(DeltaBuilder *b, const char *name, int len);

/* Add to the change being built; the value's bytes must stay until its end.
 * False where the column is there already (with this op). */
extern bool delta_builder_key(DeltaBuilder *b, int column, const DeltaValue *value);
extern bool delta_builder_cell(DeltaBuilder *b, int column, DeltaCellOp op,
							   const DeltaValue *value);

/* End the change: its keys and cells are those added. */
extern void delta_builder_end(DeltaBuilder *b, DeltaChange *change);

/* A group whose changes are not consecutive, or 0. */
extern int64 delta_builder_split_group(DeltaBuilder *b);

/* ---- encoding (delta_encode.c) ---- */

/* Append a change; *last_hlc: of the change before. */
extern void delta_encode_change(StringInfo buf, const DeltaChange *change,
								Hlc *last_hlc);

extern DeltaData *delta_builder_finish(DeltaBuilder *b, const DeltaHeader *header);

/* ---- decoding; each returns NULL, or what is wrong (a constant) ---- */

/* Read header and names of len bytes, so that changes can be decoded.  *newer is
 * set to the format where it is a newer one. */
extern const char *delta_decode_header(DeltaReader *reader, const char *bytes,
									   Size len, int *newer);
extern const char *delta_decode_change(DeltaReader *reader, DeltaChange *change);

/* ---- shared helpers ---- */

typedef struct DeltaString
{
	const char *data;
	int			len;
} DeltaString;

extern int	delta_compare_bytes(const char *a, int alen, const char *b, int blen);

/* Sort strings, drop repeated ones, and append them as a list's bytes. */
extern Size delta_list_size(DeltaString *strings, int n);
extern int	delta_list_sort(DeltaString *strings, int n);
extern void delta_list_put(char *p, const DeltaString *strings, int n);

/* The database's encoding, with SQL_ASCII as itself. */
extern int	delta_server_encoding(void);

/* How many of the bytes as they are stored are the content: the first. */
extern Size delta_content_size(const DeltaData *delta);

/* The delta in another encoding; raises where a character has no equivalent. */
extern DeltaData *delta_transcode(const DeltaData *delta, int from, int to);

/* The wire form. */
extern void delta_format_wire(StringInfo buf, const DeltaData *delta);

/* As delta_format_json, without checksum and signature, and without the blanks in
 * vectors; the delta's strings are in this encoding. */
extern void delta_format_canonical(StringInfo buf, const DeltaData *delta,
								   int encoding);

/* As delta_format_json, each change on a line of its own. */
extern void delta_format_pretty(StringInfo buf, const DeltaData *delta);

/* Append {"column": value, ...} of the cells with this op. */
extern void delta_format_cells(StringInfo buf, const DeltaReader *reader,
							   const DeltaCell *cells, int ncells,
							   DeltaCellOp op);

/* Append what a change does as members, each with a comma before it. */
extern void delta_format_content(StringInfo buf, const DeltaReader *reader,
								 const DeltaChange *change);
extern void delta_format_string(StringInfo buf, const char *data, int len);

/* Is this the JSON text of a value that is kept as DELTA_JSON, in this
 * encoding? */
extern bool delta_json_is_kept(const char *json, int len, int encoding);
extern bool delta_json_is_valid(const char *json, int len, int encoding);

/* How deep the value that starts here is nested: 0 for a scalar.  Looks at
 * brackets and strings only, and at nothing behind the value. */
extern int	delta_json_depth(const char *json, const char *end);

/* Is it of the form?  Nothing is said of what it is about. */
extern bool delta_checksum_is_valid(const char *checksum, int len);
extern bool delta_signature_is_valid(const char *signature, int len);

/* Fill in an error; returns false. */
extern bool delta_set_error(DeltaError *error, int sqlstate, int position,
							const char *fmt,...) pg_attribute_printf(4, 5);

/* Hint at the setting offline_sync.<setting>; returns false. */
extern bool delta_set_limit_hint(DeltaError *error, const char *setting);

/* How many bytes of a string to quote in a message, ending at a character. */
extern int	delta_clip(const char *data, int len);

#endif							/* OFFLINE_SYNC_DELTA_INTERNAL_H */
