/*-------------------------------------------------------------------------
 *
 * sort.c
 *	  The target that drives merge_sort: any elements, of several sizes, and an
 *	  adversary.
 *
 * The input is a byte for the size of an element, then a byte for each element, its
 * key.  Sorted elements must be the same ones, in order, and stable; the number of
 * comparisons is bounded, also against an adversary that decides the order of the
 * elements while they are compared (McIlroy: "A killer adversary for quicksort",
 * Software: Practice and Experience 29, 1999).
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fuzz.h"
#include "port/pg_bitutils.h"
#include "types/merge_sort.h"

/* An element: its key, its place in the input, and filling as far as it is long. */
typedef struct Element
{
	uint16		key;
	uint16		place;
	uint32		filling[15];
} Element;

static int	ncomparisons;

static int
compare_keys(const void *a, const void *b)
{
	ncomparisons++;
	return (int) ((const Element *) a)->key - (int) ((const Element *) b)->key;
}

/* The least that is possible in the worst case is log2(n!); this is n more. */
static void
check_comparisons(size_t n)
{
	fuzz_require(n < 2 || ncomparisons <= n * (pg_leftmost_one_pos32((uint32) n) + 2));
}

static void
check_sorting(const uint8 *keys, size_t n, size_t element_size)
{
	char	   *elements = palloc(n * element_size);
	bool	   *is_found = palloc0(n + 1);
	const Element *previous = NULL;
	size_t		i;

	for (i = 0; i < n; i++)
	{
		Element		element = {keys[i], (uint16) i, {0}};

		memset(element.filling, keys[i], sizeof(element.filling));
		memcpy(elements + i * element_size, &element, element_size);
	}
	ncomparisons = 0;
	merge_sort(elements, n, element_size, compare_keys);
	check_comparisons(n);

	for (i = 0; i < n; i++)
	{
		const Element *element = (const Element *) (elements + i * element_size);

		fuzz_require(element->place < n && element->key == keys[element->place]);
		fuzz_require(!is_found[element->place]);
		is_found[element->place] = true;
		fuzz_require(element_size < 8 || *(const uint8 *) element->filling == element->key);
		fuzz_require(previous == NULL || previous->key < element->key ||
					 (previous->key == element->key && previous->place < element->place));
		previous = element;
	}
}

/* ---- the adversary: an element's value is open ("gas") until it has to be known ---- */

typedef struct Adversary
{
	int			nfixed;
	int			candidate;		/* for the next pivot */
	int			gas;
	int		   *values;
} Adversary;

static int
compare_late(const void *a, const void *b, void *arg)
{
	Adversary  *adversary = arg;
	int		   *values = adversary->values;
	int			x = *(const int *) a;
	int			y = *(const int *) b;

	ncomparisons++;
	if (values[x] == adversary->gas && values[y] == adversary->gas)
		values[x == adversary->candidate ? x : y] = adversary->nfixed++;
	if (values[x] == adversary->gas)
		adversary->candidate = x;
	else if (values[y] == adversary->gas)
		adversary->candidate = y;
	return values[x] - values[y];
}

static void
check_against_adversary(size_t n)
{
	Adversary	adversary = {0, -1, (int) n, palloc((n + 1) * sizeof(int))};
	int		   *elements = palloc((n + 1) * sizeof(int));
	size_t		i;

	for (i = 0; i < n; i++)
	{
		elements[i] = (int) i;
		adversary.values[i] = adversary.gas;
	}
	ncomparisons = 0;
	merge_sort_arg(elements, n, sizeof(int), compare_late, &adversary);
	check_comparisons(n);
	for (i = 1; i < n; i++)
		fuzz_require(adversary.values[elements[i - 1]] <= adversary.values[elements[i]]);
}

void
fuzz_merge_sort(const uint8 *data, size_t size)
{
	static const size_t sizes[] = {4, 8, 12, 16, 24, 64};

	if (size == 0)
		return;
	check_sorting(data + 1, size - 1, sizes[data[0] % lengthof(sizes)]);
	check_against_adversary(size - 1);
}
