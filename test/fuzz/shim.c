/*-------------------------------------------------------------------------
 *
 * shim.c
 *	  The part of the server that the types need, for use outside it.
 *
 * palloc is malloc, so that a sanitizer sees the bounds of every chunk; chunks
 * are counted, and freed together.  ereport jumps to the caller's handler.
 * Encodings: UTF-8 on both sides.  Everything is deterministic, so that an input
 * which fails fails again.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/jsonapi.h"
#include "compat.h"
#include "funcapi.h"
#include "fuzz.h"
#include "lib/binaryheap.h"
#include "libpq/pqformat.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "offline_sync.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"
#include "utils/sortsupport.h"
#include "utils/tuplestore.h"

/* ---- settings and globals ---- */

int			sync_max_delta_size = 16 * 1024;
int			sync_max_delta_changes = 100000;
int			sync_max_value_size = 8 * 1024;
int			sync_max_delta_depth = 1000;

volatile sig_atomic_t InterruptPending = false;

void
ProcessInterrupts(void)
{
}

/* what a few functions refer to that no target calls */
#define NOT_IN_THE_SHIM(name) fuzz_fail("%s is not in the shim", name)

/* ---- memory ---- */

typedef struct Chunk
{
	struct Chunk *previous;
	struct Chunk *next;
	Size		size;
	Size		padding;		/* what follows is aligned to 16 bytes */
} Chunk;

static Chunk *chunks;

Size		shim_memory;
Size		shim_peak;

/* One context is enough: whoever creates one gets it. */
static char the_context;
MemoryContext CurrentMemoryContext = (MemoryContext) &the_context;
MemoryContext TopMemoryContext = (MemoryContext) &the_context;

static void
link_chunk(Chunk *chunk, Size size)
{
	chunk->size = size;
	chunk->previous = NULL;
	chunk->next = chunks;
	if (chunks != NULL)
		chunks->previous = chunk;
	chunks = chunk;
	shim_memory += size;
	if (shim_memory > shim_peak)
		shim_peak = shim_memory;
}

static void
unlink_chunk(Chunk *chunk)
{
	if (chunk->previous != NULL)
		chunk->previous->next = chunk->next;
	else
		chunks = chunk->next;
	if (chunk->next != NULL)
		chunk->next->previous = chunk->previous;
	shim_memory -= chunk->size;
}

static void *
allocate(Size size, Size max)
{
	Chunk	   *chunk;

	if (size > max)
		elog(ERROR, "invalid memory alloc request size %zu", size);
	chunk = malloc(sizeof(Chunk) + size);
	if (chunk == NULL)
		fuzz_fail("out of memory at %zu bytes", size);
	link_chunk(chunk, size);
	/* whoever relies on zeros that he did not ask for must see others */
	memset(chunk + 1, 0x7F, size);
	return chunk + 1;
}

void
pfree(void *pointer)
{
	Chunk	   *chunk = (Chunk *) pointer - 1;

	unlink_chunk(chunk);
	free(chunk);
}

void
shim_reset(void)
{
	while (chunks != NULL)
		pfree(chunks + 1);
	shim_peak = 0;
}

void *
palloc(Size size)
{
	return allocate(size, MaxAllocSize);
}

void *
palloc0(Size size)
{
	return memset(palloc(size), 0, size);
}

void *
palloc_extended(Size size, int flags)
{
	void	   *result = allocate(size, (flags & MCXT_ALLOC_HUGE) ?
								  MaxAllocHugeSize : MaxAllocSize);

	return (flags & MCXT_ALLOC_ZERO) ? memset(result, 0, size) : result;
}

/* Always moves, so that a pointer that was kept too long is seen. */
void *
repalloc(void *pointer, Size size)
{
	Size		old_size = ((Chunk *) pointer - 1)->size;
	void	   *result = allocate(size, MaxAllocHugeSize);

	if (size > MaxAllocSize && old_size <= MaxAllocSize)
		elog(ERROR, "invalid memory alloc request size %zu", size);
	memcpy(result, pointer, Min(size, old_size));
	pfree(pointer);
	return result;
}

char *
pstrdup(const char *string)
{
	Size		size = strlen(string) + 1;

	return memcpy(palloc(size), string, size);
}

char *
pnstrdup(const char *string, Size len)
{
	char	   *result;

	len = strnlen(string, len);
	result = palloc(len + 1);
	memcpy(result, string, len);
	result[len] = '\0';
	return result;
}

void *
MemoryContextAlloc(MemoryContext context, Size size)
{
	return palloc(size);
}

void *
MemoryContextAllocZero(MemoryContext context, Size size)
{
	return palloc0(size);
}

void *
MemoryContextAllocHuge(MemoryContext context, Size size)
{
	return allocate(size, MaxAllocHugeSize);
}

void *
MemoryContextAllocExtended(MemoryContext context, Size size, int flags)
{
	return palloc_extended(size, flags);
}

MemoryContext
AllocSetContextCreateInternal(MemoryContext parent, const char *name,
							  Size minContextSize, Size initBlockSize,
							  Size maxBlockSize)
{
	return parent;
}

void
MemoryContextReset(MemoryContext context)
{
}

void
MemoryContextDelete(MemoryContext context)
{
}

/* for libpgcommon and libpgport, whose own versions exit */
void *
pg_malloc(size_t size)
{
	return palloc(size);
}

void *
pg_malloc0(size_t size)
{
	return palloc0(size);
}

void *
pg_realloc(void *pointer, size_t size)
{
	return pointer == NULL ? palloc(size) : repalloc(pointer, size);
}

char *
pg_strdup(const char *string)
{
	return pstrdup(string);
}

void
pg_free(void *pointer)
{
	if (pointer != NULL)
		pfree(pointer);
}

/* ---- errors ---- */

ShimError	shim_error;
sigjmp_buf *shim_handler;
static int	error_level;

bool
errstart(int elevel, const char *domain)
{
	error_level = elevel;
	shim_error.sqlstate = elevel >= ERROR ? ERRCODE_INTERNAL_ERROR : 0;
	shim_error.message[0] = '\0';
	return elevel >= ERROR;
}

bool
errstart_cold(int elevel, const char *domain)
{
	return errstart(elevel, domain);
}

void
errfinish(const char *filename, int lineno, const char *funcname)
{
	if (shim_handler == NULL)
		fuzz_fail("%s:%d: not caught: %s", filename, lineno, shim_error.message);
	siglongjmp(*shim_handler, 1);
}

int
errcode(int sqlerrcode)
{
	shim_error.sqlstate = sqlerrcode;
	return 0;
}

static void
set_message(const char *fmt, va_list args)
{
	vsnprintf(shim_error.message, sizeof(shim_error.message), fmt, args);
}

int
errmsg(const char *fmt,...)
{
	va_list		args;

	va_start(args, fmt);
	set_message(fmt, args);
	va_end(args);
	return 0;
}

int
errmsg_internal(const char *fmt,...)
{
	va_list		args;

	va_start(args, fmt);
	set_message(fmt, args);
	va_end(args);
	return 0;
}

/* Formatted, so that its arguments are read, and dropped. */
static void
format_and_drop(const char *fmt, va_list args)
{
	char		buf[512];

	vsnprintf(buf, sizeof(buf), fmt, args);
}

int
errdetail(const char *fmt,...)
{
	va_list		args;

	va_start(args, fmt);
	format_and_drop(fmt, args);
	va_end(args);
	return 0;
}

int
errdetail_internal(const char *fmt,...)
{
	va_list		args;

	va_start(args, fmt);
	format_and_drop(fmt, args);
	va_end(args);
	return 0;
}

int
errhint(const char *fmt,...)
{
	va_list		args;

	va_start(args, fmt);
	format_and_drop(fmt, args);
	va_end(args);
	return 0;
}

#if PG_VERSION_NUM >= 160000
/* no target asks for soft errors */
bool
errsave_start(struct Node *context, const char *domain)
{
	return errstart(ERROR, domain);
}

void
errsave_finish(struct Node *context, const char *filename, int lineno,
			   const char *funcname)
{
	errfinish(filename, lineno, funcname);
}
#endif

void
ExceptionalCondition(const char *conditionName,
#if PG_VERSION_NUM < 160000
					 const char *errorType,
#endif
					 const char *fileName, int lineNumber)
{
	fuzz_fail("%s:%d: failed assertion: %s", fileName, lineNumber, conditionName);
}

/* ---- values ---- */

struct varlena *
pg_detoast_datum_packed(struct varlena *datum)
{
	if (VARATT_IS_EXTENDED(datum) && !VARATT_IS_SHORT(datum))
		fuzz_fail("a value is compressed or toasted");
	return datum;
}

struct varlena *
pg_detoast_datum(struct varlena *datum)
{
	struct varlena *result = pg_detoast_datum_packed(datum);
	Size		size = VARSIZE_ANY_EXHDR(datum);

	if (!VARATT_IS_SHORT(datum))
		return result;
	result = palloc(VARHDRSZ + size);
	SET_VARSIZE(result, VARHDRSZ + size);
	memcpy(VARDATA(result), VARDATA_ANY(datum), size);
	return result;
}

struct varlena *
pg_detoast_datum_copy(struct varlena *datum)
{
	Size		size = VARSIZE_ANY(datum);

	return memcpy(palloc(size), datum, size);
}

Size
toast_raw_datum_size(Datum value)
{
	return VARSIZE_ANY_EXHDR(DatumGetPointer(value)) + VARHDRSZ;
}

text *
cstring_to_text_with_len(const char *s, int len)
{
	text	   *result = palloc(VARHDRSZ + len);

	SET_VARSIZE(result, VARHDRSZ + len);
	memcpy(VARDATA(result), s, len);
	return result;
}

text *
cstring_to_text(const char *s)
{
	return cstring_to_text_with_len(s, strlen(s));
}

int
pg_ulltoa_n(uint64 value, char *a)
{
	char		buf[24];
	int			len = snprintf(buf, sizeof(buf), UINT64_FORMAT, value);

	memcpy(a, buf, len);
	return len;
}

bool
pg_strong_random(void *buf, size_t len)
{
	memset(buf, 0x5A, len);
	return true;
}

/* ---- messages: as in pqformat.c ---- */

void
pq_begintypsend(StringInfo buf)
{
	initStringInfo(buf);
	appendStringInfoSpaces(buf, 4);
}

bytea *
pq_endtypsend(StringInfo buf)
{
	SET_VARSIZE(buf->data, buf->len);
	return (bytea *) buf->data;
}

void
pq_sendbytes(StringInfo buf,
#if PG_VERSION_NUM >= 160000
			 const void *data,
#else
			 const char *data,
#endif
			 int datalen)
{
	appendBinaryStringInfo(buf, data, datalen);
}

const char *
pq_getmsgbytes(StringInfo msg, int datalen)
{
	const char *result;

	if (datalen < 0 || datalen > (msg->len - msg->cursor))
		ereport(ERROR,
				(errcode(ERRCODE_PROTOCOL_VIOLATION),
				 errmsg("insufficient data left in message")));
	result = &msg->data[msg->cursor];
	msg->cursor += datalen;
	return result;
}

int
pq_getmsgbyte(StringInfo msg)
{
	if (msg->cursor >= msg->len)
		ereport(ERROR,
				(errcode(ERRCODE_PROTOCOL_VIOLATION),
				 errmsg("no data left in message")));
	return (unsigned char) msg->data[msg->cursor++];
}

int64
pq_getmsgint64(StringInfo msg)
{
	const unsigned char *p = (const unsigned char *) pq_getmsgbytes(msg, 8);
	uint64		result = 0;
	int			i;

	for (i = 0; i < 8; i++)
		result = result << 8 | p[i];
	return (int64) result;
}

/* ---- encodings ---- */

int
GetDatabaseEncoding(void)
{
	return PG_UTF8;
}

bool
pg_verifymbstr(const char *mbstr, int len, bool noError)
{
	return pg_encoding_verifymbstr(PG_UTF8, mbstr, len) == len;
}

void
pg_unicode_to_server(pg_wchar c, unsigned char *s)
{
	if (!is_valid_unicode_codepoint(c))
		ereport(ERROR,
				(errcode(ERRCODE_SYNTAX_ERROR),
				 errmsg("invalid Unicode code point")));
	unicode_to_utf8(c, s);
	s[pg_utf_mblen(s)] = '\0';
}

unsigned char *
pg_do_encoding_conversion(unsigned char *src, int len, int src_encoding,
						  int dest_encoding)
{
	fuzz_require(src_encoding == dest_encoding);
	return src;
}

char *
pg_client_to_server(const char *s, int len)
{
	if (pg_encoding_verifymbstr(PG_UTF8, s, len) != len)
		ereport(ERROR,
				(errcode(ERRCODE_CHARACTER_NOT_IN_REPERTOIRE),
				 errmsg("invalid byte sequence for encoding")));
	return unconstify(char *, s);
}

char *
pg_server_to_client(const char *s, int len)
{
	return unconstify(char *, s);
}

/* ---- heaps: as small as can be; the least element is sought each time ---- */

#if PG_VERSION_NUM >= 170000
typedef bh_node_type HeapNode;
#else
typedef Datum HeapNode;
#endif

binaryheap *
binaryheap_allocate(int capacity, binaryheap_comparator compare, void *arg)
{
	binaryheap *heap = palloc(offsetof(binaryheap, bh_nodes) +
							  sizeof(HeapNode) * capacity);

	heap->bh_size = 0;
	heap->bh_space = capacity;
	heap->bh_has_heap_property = true;
	heap->bh_compare = compare;
	heap->bh_arg = arg;
	return heap;
}

void
binaryheap_free(binaryheap *heap)
{
	pfree(heap);
}

void
binaryheap_add(binaryheap *heap, HeapNode d)
{
	fuzz_require(heap->bh_size < heap->bh_space);
	heap->bh_nodes[heap->bh_size++] = d;
}

static int
first_of_heap(binaryheap *heap)
{
	int			first = 0;
	int			i;

	fuzz_require(heap->bh_size > 0);
	for (i = 1; i < heap->bh_size; i++)
		if (heap->bh_compare(heap->bh_nodes[i], heap->bh_nodes[first], heap->bh_arg) > 0)
			first = i;
	return first;
}

HeapNode
binaryheap_first(binaryheap *heap)
{
	return heap->bh_nodes[first_of_heap(heap)];
}

HeapNode
binaryheap_remove_first(binaryheap *heap)
{
	int			first = first_of_heap(heap);
	HeapNode	result = heap->bh_nodes[first];

	heap->bh_nodes[first] = heap->bh_nodes[--heap->bh_size];
	return result;
}

/* ---- never called: results of many rows, and what only they need ---- */

Datum
DirectFunctionCall1Coll(PGFunction func, Oid collation, Datum arg1)
{
	NOT_IN_THE_SHIM("DirectFunctionCall1Coll");
}

Datum
jsonb_in(PG_FUNCTION_ARGS)
{
	NOT_IN_THE_SHIM("jsonb_in");
}

void
InitMaterializedSRF(FunctionCallInfo fcinfo, bits32 flags)
{
	NOT_IN_THE_SHIM("InitMaterializedSRF");
}

void
tuplestore_putvalues(Tuplestorestate *state, TupleDesc tdesc,
#if PG_VERSION_NUM >= 170000
					 const Datum *values, const bool *isnull)
#else
					 Datum *values, bool *isnull)
#endif
{
	NOT_IN_THE_SHIM("tuplestore_putvalues");
}

int
ssup_datum_unsigned_cmp(Datum x, Datum y, SortSupport ssup)
{
	NOT_IN_THE_SHIM("ssup_datum_unsigned_cmp");
}
