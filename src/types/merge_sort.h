/*-------------------------------------------------------------------------
 *
 * merge_sort.h
 *	  Sorting what others sent: as qsort and qsort_arg, but never in
 *	  quadratic time, whatever order the elements come in.
 *
 * PostgreSQL's qsort is a quicksort, for which an order of elements that takes
 * quadratic time is easily made (McIlroy: "A killer adversary for quicksort",
 * 1999), and nothing interrupts it.  Whatever a client can choose the order and
 * the number of is sorted with this.
 *
 * Stable; takes half of the array's size in memory for the time; elements in
 * order already cost n - 1 comparisons; can be interrupted, and the array is then
 * in no order and may have elements twice.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OFFLINE_SYNC_MERGE_SORT_H
#define OFFLINE_SYNC_MERGE_SORT_H

extern void merge_sort(void *base, size_t n, size_t size,
					   int (*compare) (const void *, const void *));
extern void merge_sort_arg(void *base, size_t n, size_t size,
						   int (*compare) (const void *, const void *, void *),
						   void *arg);

#endif							/* OFFLINE_SYNC_MERGE_SORT_H */
