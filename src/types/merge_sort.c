/*-------------------------------------------------------------------------
 *
 * merge_sort.c
 *	  Sorting what others sent, never in quadratic time.
 *
 * Top-down merge sort.  Small pieces are sorted by insertion; two halves that
 * follow each other already are left as they are; else the left one is moved aside
 * and merged back.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "types/merge_sort.h"
#include "utils/memutils.h"

#define SMALL_PIECE		8		/* elements */
#define SMALL_ROOM		64		/* words to set aside without asking for
								 * memory */

typedef int (*CompareArg) (const void *, const void *, void *);

typedef struct MergeSort
{
	size_t		size;			/* of an element */
	CompareArg	compare;
	void	   *arg;
	char	   *aside;			/* room for half of the elements, at least one */
} MergeSort;

static void sort_piece(const MergeSort *s, char *base, size_t n);
static void insertion_sort(const MergeSort *s, char *base, size_t n);
static void merge_halves(const MergeSort *s, char *base, size_t nleft, size_t n);

/* A comparison without an argument, which is its argument */
typedef struct Compare
{
	int			(*compare) (const void *, const void *);
} Compare;

static int
compare_plain(const void *a, const void *b, void *arg)
{
	return ((Compare *) arg)->compare(a, b);
}

void
merge_sort(void *base, size_t n, size_t size,
		   int (*compare) (const void *, const void *))
{
	Compare		plain = {compare};

	merge_sort_arg(base, n, size, compare_plain, &plain);
}

void
merge_sort_arg(void *base, size_t n, size_t size, CompareArg compare, void *arg)
{
	MergeSort	s = {size, compare, arg, NULL};
	uint64		room[SMALL_ROOM];

	if (n < 2)
		return;
	if (size <= sizeof(room) / (n / 2))
	{
		s.aside = (char *) room;
		sort_piece(&s, base, n);
		return;
	}
	s.aside = MemoryContextAllocHuge(CurrentMemoryContext, (n / 2) * size);
	sort_piece(&s, base, n);
	pfree(s.aside);
}

/* Elements are moved by words where they consist of them: memcpy of a size that the
 * compiler does not know is slower. */
static inline void
move_element(char *to, const char *from, size_t size)
{
	if (size % sizeof(uint64) == 0 && (uintptr_t) to % sizeof(uint64) == 0 &&
		(uintptr_t) from % sizeof(uint64) == 0)
	{
		for (; size > 0; size -= sizeof(uint64))
		{
			*(uint64 *) to = *(const uint64 *) from;
			to += sizeof(uint64);
			from += sizeof(uint64);
		}
	}
	else
		memcpy(to, from, size);
}

static void
sort_piece(const MergeSort *s, char *base, size_t n)
{
	size_t		nleft = n / 2;

	if (n <= SMALL_PIECE)
	{
		insertion_sort(s, base, n);
		return;
	}
	if (n > 1000)
		CHECK_FOR_INTERRUPTS();
	sort_piece(s, base, nleft);
	sort_piece(s, base + nleft * s->size, n - nleft);
	merge_halves(s, base, nleft, n);
}

static void
insertion_sort(const MergeSort *s, char *base, size_t n)
{
	size_t		size = s->size;
	char	   *end = base + n * size;
	char	   *p;

	for (p = base + size; p < end; p += size)
	{
		char	   *place = p;

		while (place > base && s->compare(place - size, p, s->arg) > 0)
			place -= size;
		if (place == p)
			continue;
		move_element(s->aside, p, size);
		memmove(place + size, place, p - place);
		move_element(place, s->aside, size);
	}
}

static void
merge_halves(const MergeSort *s, char *base, size_t nleft, size_t n)
{
	size_t		size = s->size;
	char	   *right = base + nleft * size;
	char	   *end = base + n * size;
	char	   *left = s->aside;
	char	   *left_end = left + nleft * size;
	char	   *to = base;

	if (s->compare(right - size, right, s->arg) <= 0)
		return;
	memcpy(left, base, nleft * size);

	/*
	 * of equal elements the left one goes first; what is left of the right
	 * half is in its place
	 */
	while (left < left_end && right < end)
	{
		if (s->compare(left, right, s->arg) <= 0)
		{
			move_element(to, left, size);
			left += size;
		}
		else
		{
			move_element(to, right, size);
			right += size;
		}
		to += size;
	}
	memcpy(to, left, left_end - left);
}
