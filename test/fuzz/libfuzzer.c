/*-------------------------------------------------------------------------
 *
 * libfuzzer.c
 *	  The targets for libFuzzer: one program, which runs the target that it
 *	  is called by the name of.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fuzz.h"

extern int	LLVMFuzzerInitialize(int *argc, char ***argv);
extern int	LLVMFuzzerTestOneInput(const uint8 *data, size_t size);

static const FuzzTarget *target;

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
	const char *name = strrchr((*argv)[0], '/');

	name = name == NULL ? (*argv)[0] : name + 1;
	target = fuzz_find_target(name);
	if (target == NULL)
	{
		fprintf(stderr, "there is no target \"%s\"\n", name);
		exit(2);
	}
	return 0;
}

int
LLVMFuzzerTestOneInput(const uint8 *data, size_t size)
{
	fuzz_run(target, data, size);
	return 0;
}
