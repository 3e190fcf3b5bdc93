/*-------------------------------------------------------------------------
 *
 * serve.h
 *	  What the files of this room share: a page in the making.
 *
 * A page is made under one snapshot.  It consists of changes in memory, which
 * are put into the order that a client applies them in once the page is
 * complete: whole scopes to forget, rows parents first, deletions children
 * first.  Its size is bounded by a number of changes and by bytes.
 *
 * Words used throughout: an *event* is the position at which a table was
 * enabled, a scope granted or revoked; "since" is the vector that the log is
 * read from, "done" the enablings and grants that have been dealt with though the log has
 * not been read up to them yet.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OFFLINE_SYNC_SERVE_H
#define OFFLINE_SYNC_SERVE_H

#include "audit/journal.h"
#include "compat.h"
#include "guard/mask.h"
#include "log/node.h"
#include "nodes/bitmapset.h"
#include "registry/device.h"
#include "registry/table.h"
#include "registry/table_version.h"
#include "types/bump.h"
#include "types/delta.h"
#include "types/row_clock.h"
#include "types/version_vector.h"
#include "utils/hsearch.h"
#include "utils/snapshot.h"

/* A row: its table and its key as row_key.h encodes it */
typedef struct RowRef
{
	int32		table_id;
	int			keylen;
	const char *key;
} RowRef;

/* Set of rows; in the context that was current when it was made */
typedef struct RowSet RowSet;

extern RowSet *row_set_create(void);
extern bool row_set_add(RowSet *set, const RowRef *row);	/* true: it is new */
extern bool row_set_has(const RowSet *set, const RowRef *row);

/* < 0, 0, > 0 by table id, then key bytes */
extern int	row_ref_compare(const RowRef *a, const RowRef *b);

/* A tracked table as this caller may see it */
typedef struct ServeTable
{
	int32		table_id;		/* hash key */
	SyncTable  *table;			/* NULL: not tracked (any more) */
	TableVersion *version;		/* the page's; NULL: the present one */
	bool		has_news;		/* columns that the device has no values of */
	ColumnMasks *masks;			/* for the device; NULL: there never were any */
	bool		is_readable;	/* key, clock and scope column, by SELECT
								 * rights */
	bool		has_policies;	/* row security applies to the caller */
	bool		has_rekeyed;	/* keys may have been logged for other types */
	Bitmapset  *fetched;		/* the version's readable columns that are not
								 * in the key, and the scope column */
	int			nfetched;
	int			scope_place;	/* of the scope column among these, or -1 */
} ServeTable;

/* A change of the page; everything in the page's context */
typedef struct ServedChange
{
	DeltaChangeKind kind;
	SyncTable  *table;			/* NULL: a whole scope */
	const TableVersion *version;	/* of the table */
	const char *scope;
	Hlc			hlc;
	DeltaValue *keys;			/* [table->nkeys], in key order */
	int			ncells;
	int		   *columns;		/* indexes into table->columns */
	DeltaValue *cells;
	int			ordinal;		/* order of arrival */
} ServedChange;

/* One of the device's own pushes that the vector does not cover wholly */
typedef struct ServePush
{
	pg_uuid_t	node;			/* position */
	int32		node_id;
	uint64		xid;
	int64		first_seq;
	int64		last_seq;
	bool		is_lost;		/* its answer never arrived */
	bool		is_late;		/* not a push: the end of changes of earlier
								 * ones that had waited.  No answer told it,
								 * so it is lost, too */
	int			schema_version; /* that it was made for; with rows: */
	RowSet	   *rows;			/* that it was about; NULL: not read yet */
	RowSet	   *inserted;		/* those of them that it inserted */
	int			nrefs;
	RowRef	   *refs;			/* the same, sorted */
} ServePush;

typedef struct NotedPosition
{
	pg_uuid_t	node;
	uint64		xid;			/* 0: none */
} NotedPosition;

typedef struct ServePage
{
	MemoryContext context;		/* the page's changes, and all that lives as
								 * long */
	MemoryContext row_context;	/* reset for each row */
	MemoryContext push_context; /* reset for each change of a push */
	Snapshot	snapshot;		/* registered by the caller */
	pg_uuid_t	device;
	const char *device_class;	/* NULL: none */
	MaskEvent	class_event;	/* where it got another one; node 0: never */
	int			schema_version; /* of the page */
	int			known_version;	/* whose columns the device has the values of */
	VersionVector *since;		/* see the file's comment */
	VersionVector *done;
	VersionVector *retracted;	/* revocations that the device has been told
								 * of */

	pg_uuid_t	node;			/* this database, now */
	uint64		own_xid;		/* of this transaction, 0: none: seen, but
								 * never claimed */
	int			nnodes;
	SyncNode   *nodes;			/* ascending by id */

	int			nall_scopes;
	SyncDeviceScope *all_scopes;	/* sorted, revoked ones included */
	int			nscopes;		/* of these, those that the device may pull */
	SyncDeviceScope *scopes;
	int			ntables;
	SyncTable **tables;			/* parents first */
	HTAB	   *table_access;	/* ServeTable by table id */

	int			npushes;
	ServePush  *pushes;			/* by (node, xid, first_seq) */
	RowSet	   *late_rows;		/* of the late ones among these; NULL: none */
	bool		has_waiting;	/* changes of the device wait */
	Size		push_bytes;		/* of the deltas read for them */

	int			budget;			/* changes that may still be added */
	Size		bytes;
	Size		max_bytes;
	Bump		bump;			/* what changes consist of; in context */
	int			nchanges;
	int			maxchanges;
	ServedChange *changes;
	RowSet	   *served;			/* the rows among them */
	bool		is_cut;			/* full before the phases began */
	Hlc			hlc;			/* the largest one served */
	uint64		flush_to;		/* WAL that the page rests on */
	NotedPosition noted[16];	/* positions noted lately, by xid */
} ServePage;

/* ---- serve.c ---- */

/*
 * Begin a page for a device: what there is, as the active snapshot sees it.
 * schema_version 0: the one that the device declared last.  Connects to SPI; who
 * called finishes that, unregisters the snapshot and deletes the context.
 */
extern void serve_begin(ServePage *page, const SyncDevice *device, int schema_version,
						const VersionVector *since, int budget);

/* Raises 22023, or 0A000 for a version that is not known here. */
extern void serve_check_version(int version);

/* Is this position covered by since or done? */
extern bool serve_event_is_done(const ServePage *page, const pg_uuid_t *node,
								uint64 xid);
extern bool serve_mask_event_is_done(const ServePage *page, const MaskEvent *event);
extern bool serve_grant_is_done(const ServePage *page, const SyncDeviceScope *scope);

/* ---- serve_page.c ---- */

/* No room for another change: the number is reached, or the size and there is
 * at least one. */
extern bool page_is_full(const ServePage *page);

/* A tracked table by id, with the caller's rights; never NULL. */
extern ServeTable *page_table(ServePage *page, int32 table_id);

/*
 * Add changes.  values and isnull: of the fetched columns, in order; sent: which
 * columns (indexes into table->columns) go.  Under value modes.
 */
extern void page_add_row(ServePage *page, ServeTable *st, const RowRef *row,
						 const Datum *key, DeltaChangeKind kind,
						 const RowClock *clock, const Datum *values,
						 const bool *isnull, Bitmapset *sent);

/* key NULL: of a key from before its columns got their types */
extern void page_add_removal(ServePage *page, ServeTable *st, const RowRef *row,
							 const Datum *key, DeltaChangeKind kind, Hlc hlc);
extern void page_add_scope(ServePage *page, const char *scope);

/* The scope of a row, by its canonical text; NULL: in none.  Under value modes. */
extern char *page_row_scope(const ServeTable *st, const Datum *values,
							const bool *isnull);

/* The page rests on what this transaction wrote: remember to flush it. */
extern void page_note_position(ServePage *page, const pg_uuid_t *node, uint64 xid);
extern void page_note_clock(ServePage *page, const RowClock *clock);

/* The page rests on everything that its snapshot sees. */
extern void page_note_everything(ServePage *page);

/* Make WAL durable as far as the page rests on it. */
extern void page_flush(const ServePage *page);

extern DeltaData *page_finish(ServePage *page, const DeltaHeader *header);

/* ---- serve_token.c ---- */

/* Where the next page goes on; what "resume" says. */
typedef struct ServeToken
{
	bool		is_base;		/* in the midst of a base scan */
	bool		is_full;		/* ... of everything, from nothing */
	bool		is_reset;		/* ... because the vector could not be
								 * continued */
	bool		is_fresh;		/* this run of pages began with nothing: that
								 * the device was silent for long does not
								 * matter */
	VersionVector *done;
	VersionVector *retracted;
	VersionVector *target;		/* base scan: what it will have brought */
	int32		retract_node;	/* a transaction that revoked several scopes,
								 * and */
	uint64		retract_xid;	/* the last one told of so far; 0: none */
	char	   *retract_scope;
	int			schema_version; /* base scan: of its pages so far */
	uint32		tables_hash;	/* base scan: the order that the place refers
								 * to */
	int32		table_id;		/* base scan: the place; 0: at the beginning */
	char	   *scope;
	int			nkeys;			/* 0: at the beginning of table and scope */
	char	  **key;			/* canonical texts of the last row's key */

	int32		node;			/* log: inside a transaction; 0: not */
	uint64		xid;
	int32		part;
	RowRef		row;			/* the last one dealt with */
} ServeToken;

extern ServeToken *serve_token_create(void);
extern char *serve_token_format(const ServeToken *token);

/* Raises 22023 for anything that is not a token. */
extern ServeToken *serve_token_parse(const char *str);
pg_noreturn extern void serve_token_error(void);

/* ---- serve_base.c ---- */

/*
 * Go on with a base scan from the token's place, as far as the page has room;
 * true: it is complete.  A pair of table and scope is scanned if it has an event
 * that since and done do not cover, or columns that the device has no values of, and
 * the target covers both its events.
 */
extern bool serve_base(ServePage *page, ServeToken *token);
extern bool serve_base_needs(ServePage *page, SyncTable *table,
							 const SyncDeviceScope *scope);

/*
 * "SELECT t.<clock>, t.<key columns>, t.<fetched columns> FROM ... t WHERE t.<scope> =
 * $1"; the WHERE and its parameter only where the table has a scope column.
 */
extern void serve_append_select(StringInfo buf, const ServeTable *st, int *nargs,
								Oid *argtypes);

/* A scope in its column's type; false where no value of the type is that. */
extern bool serve_scope_value(SyncColumn *column, const char *scope, Datum *value);

/* ---- serve_log.c ---- */

/*
 * Serve the log from since on, as far as the page has room; true: up to the end.
 * Adds to the claim what was dealt with completely, and leaves in the token where
 * to go on inside a transaction.
 */
extern bool serve_log(ServePage *page, ServeToken *token, VVBuilder *claim);

/* ---- serve_push.c ---- */

extern void serve_pushes_load(ServePage *page);

/* The pushes stored at a position: index of the first, and their number. */
extern int	serve_pushes_at(const ServePage *page, const pg_uuid_t *node,
							uint64 xid, int *npushes);
extern void serve_push_read(ServePage *page, ServePush *push);

/*
 * Does the device know of this write to a row: is its position covered, or is it
 * its own, of a push whose answer it has?
 */
extern bool serve_stamp_is_known(const ServePage *page, const Stamp *stamp);

/*
 * Does the device have a row that came into its scope with this write: has it
 * pulled that, or inserted the row itself?  (It may well have pushed the scope of
 * a row that it does not have.)
 */
extern bool serve_row_is_had(ServePage *page, const Stamp *scope_stamp,
							 const RowRef *row);

/* The last seq of the device's pushes that a vector about to be given covers. */
extern int64 serve_pushes_covered(const ServePage *page, const VersionVector *to);

/* The last seq of any push of the device that the page's snapshot sees. */
extern int64 serve_pushes_last(const ServePage *page);

#endif							/* OFFLINE_SYNC_SERVE_H */
