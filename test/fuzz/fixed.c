/*-------------------------------------------------------------------------
 *
 * fixed.c
 *	  The targets without libFuzzer: a fixed number of mutated inputs, the
 *	  same ones each time.
 *
 *		fixed TARGET SEED RUNS DIRECTORY DICTIONARY	run it, from the seeds in DIRECTORY
 *		fixed TARGET FILE...				run it on these inputs
 *		fixed TARGET --convert FILE TO		write a binary input made of a text
 *
 * On a finding the input is in the file named by FUZZ_INPUT, since the program may
 * be killed before it could say anything: it is written before each run where that
 * is set.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fuzz.h"
#include "mutate.h"

#define MAX_SIZE	4096
#define MAX_SEEDS	1000

typedef struct Input
{
	uint8	   *data;
	size_t		size;
} Input;

static Input seeds[MAX_SEEDS];
static int	nseeds;

static Input
read_input(const char *path)
{
	FILE	   *file = fopen(path, "rb");
	Input		result;
	struct stat st;

	if (file == NULL || fstat(fileno(file), &st) != 0)
	{
		perror(path);
		exit(2);
	}
	result.data = malloc(st.st_size + 1);
	result.size = fread(result.data, 1, st.st_size, file);
	fclose(file);
	return result;
}

static void
write_input(const char *path, const uint8 *data, size_t size)
{
	FILE	   *file = fopen(path, "wb");

	if (file == NULL || fwrite(data, 1, size, file) != size || fclose(file) != 0)
	{
		perror(path);
		exit(2);
	}
}

/* Note the input that comes next, in a file that stays open. */
static void
note_input(int fd, const uint8 *data, size_t size)
{
	static size_t last_size = 0;

	if (fd < 0)
		return;
	if (pwrite(fd, data, size, 0) != size ||
		(size < last_size && ftruncate(fd, size) != 0))
	{
		perror("FUZZ_INPUT");
		exit(2);
	}
	last_size = size;
}

static int
compare_names(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

/* The seeds, in an order that does not depend on the file system. */
static void
read_seeds(const char *directory)
{
	struct dirent **names;
	int			n = scandir(directory, &names, NULL, compare_names);
	int			i;

	for (i = 0; i < n && nseeds < MAX_SEEDS; i++)
	{
		char		path[MAXPGPATH];
		struct stat st;

		snprintf(path, sizeof(path), "%s/%s", directory, names[i]->d_name);
		if (stat(path, &st) == 0 && S_ISREG(st.st_mode))
			seeds[nseeds++] = read_input(path);
	}
}

/* Where there are no seeds, bytes at random, now and then many. */
static size_t
random_bytes(Mutator *m, uint8 *data)
{
	size_t		size = mutator_below(m, mutator_below(m, 50) == 0 ? MAX_SIZE : 180);
	size_t		i;

	for (i = 0; i < size; i++)
		data[i] = (uint8) mutator_below(m, 256);
	return size;
}

static void
run_fixed(const FuzzTarget *target, uint64 seed, int runs, const char *dictionary)
{
	const char *input = getenv("FUZZ_INPUT");
	int			fd = input == NULL ? -1 : open(input, O_CREAT | O_TRUNC | O_WRONLY, 0666);
	uint8		data[MAX_SIZE];
	size_t		size;
	Mutator		m;
	int			i;

	mutator_init(&m, seed);
	mutator_read_dictionary(&m, dictionary);
	for (i = 0; i < nseeds; i++)
		fuzz_run(target, seeds[i].data, seeds[i].size);
	for (i = 0; i < runs; i++)
	{
		const Input *base = &seeds[mutator_below(&m, nseeds)];
		const Input *other = &seeds[mutator_below(&m, nseeds)];
		uint8	   *exact;

		if (nseeds == 0)
			size = random_bytes(&m, data);
		else
		{
			size = Min(base->size, MAX_SIZE);
			memcpy(data, base->data, size);
			size = mutate(&m, data, size, MAX_SIZE, other->data, other->size);
		}
		note_input(fd, data, size);

		/* reading beyond its end is seen */
		exact = malloc(size);
		memcpy(exact, data, size);
		fuzz_run(target, exact, size);
		free(exact);
	}
	printf("%s: %d seeds, %d mutated inputs, seed " UINT64_FORMAT "\n",
		   target->name, nseeds, runs, seed);
}

int
main(int argc, char **argv)
{
	const FuzzTarget *target = argc > 2 ? fuzz_find_target(argv[1]) : NULL;
	int			i;

	if (target == NULL)
	{
		fprintf(stderr, "usage: fixed TARGET SEED RUNS DIRECTORY DICTIONARY | TARGET FILE... | TARGET --convert FILE TO\n");
		return 2;
	}
	if (strcmp(argv[2], "--convert") == 0 && argc == 5)
	{
		Input		text = read_input(argv[3]);
		size_t		size;
		uint8	   *data = fuzz_convert_seed(target, text.data, text.size, &size);

		if (data != NULL)
			write_input(argv[4], data, size);
	}
	else if (argc == 6 && strspn(argv[2], "0123456789") == strlen(argv[2]))
	{
		read_seeds(argv[4]);
		run_fixed(target, strtoull(argv[2], NULL, 10), atoi(argv[3]), argv[5]);
	}
	else
		for (i = 2; i < argc; i++)
		{
			Input		input = read_input(argv[i]);

			input.data = realloc(input.data, input.size + (input.size == 0));
			fuzz_run(target, input.data, input.size);
			printf("%s: %s is fine, its %zu bytes took %zu bytes of memory\n",
				   target->name, argv[i], input.size, fuzz_memory);
		}
	return 0;
}
