/*-------------------------------------------------------------------------
 *
 * fuzz.h
 *	  What the fuzz targets, the shim under them and the drivers above them
 *	  share.
 *
 * The sources of src/types are compiled as they are.  What they need of the
 * server comes from libpgcommon and libpgport, and, for what only the server
 * itself has (memory, errors, message buffers), from shim.c.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OFFLINE_SYNC_FUZZ_H
#define OFFLINE_SYNC_FUZZ_H

#include <setjmp.h>

#include "fmgr.h"

/* ---- the server's part: shim.c ---- */

/* The error that was raised last. */
typedef struct ShimError
{
	int			sqlstate;
	char		message[512];
} ShimError;

extern ShimError shim_error;
extern sigjmp_buf *shim_handler;	/* where errors go; NULL: abort */

/* The bytes palloc'd now, and the most there were since shim_reset(), which frees
 * everything. */
extern Size shim_memory;
extern Size shim_peak;
extern void shim_reset(void);

/* Run the following block; if it raises, the block after SHIM_CATCH. */
#define SHIM_TRY() \
	do { \
		sigjmp_buf *shim_outer = shim_handler; \
		sigjmp_buf	shim_here; \
		if (sigsetjmp(shim_here, 0) == 0) \
		{ \
			shim_handler = &shim_here
#define SHIM_CATCH() \
			shim_handler = shim_outer; \
		} \
		else \
		{ \
			shim_handler = shim_outer
#define SHIM_END() \
		} \
	} while (0)

/* ---- targets.c ---- */

typedef struct FuzzTarget
{
	const char *name;
	const char *seeds;			/* subdirectory of the seed corpus, or NULL */
	bool		is_binary;		/* the seeds, which are text, are converted */
	void		(*run) (const uint8 *data, size_t size);
} FuzzTarget;

extern const FuzzTarget fuzz_targets[];
extern const FuzzTarget *fuzz_find_target(const char *name);

/* Run a target on an input; a finding aborts the program. */
extern void fuzz_run(const FuzzTarget *target, const uint8 *data, size_t size);

/* A binary target's input made of a text seed, malloc'd, or NULL. */
extern uint8 *fuzz_convert_seed(const FuzzTarget *target, const uint8 *data,
								size_t size, size_t *result_size);

/* How much memory the last input of a type's form took to be parsed. */
extern Size fuzz_memory;

extern void fuzz_fail(const char *fmt,...) pg_attribute_printf(1, 2) __attribute__((noreturn));

#define fuzz_require(condition) \
	do { \
		if (!(condition)) \
			fuzz_fail("%s, line %d: %s", __FILE__, __LINE__, #condition); \
	} while (0)

/* ---- builder.c, sort.c: targets that are not a type's form ---- */

extern void fuzz_vector_builder(const uint8 *data, size_t size);
extern void fuzz_merge_sort(const uint8 *data, size_t size);

#endif							/* OFFLINE_SYNC_FUZZ_H */
