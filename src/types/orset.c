/*-------------------------------------------------------------------------
 *
 * orset.c
 *	  Observed-remove sets: the packed form, and work on the unpacked one.
 *
 * The packed form (orset.h has the layout) is canonical and has the elements
 * in front, apart from their tags: reading a set as a set costs no more than
 * reading a text[].  Tags name their replica by its place in the context, which
 * knows each of them anyway.
 *
 * In the merge a pair (element, tag) stays if both sides have it, or if one
 * has it and the other's context does not know the tag.  For every pair that is
 * "all who know the tag have it on the element, and somebody does", whatever
 * was merged in which order; so the merge is commutative, associative and
 * idempotent, for plain marks (present if anywhere present) as well.
 *
 * Sets come from devices: nothing here takes quadratic time, whatever the
 * number and order of elements and tags.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "compat.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "types/merge_sort.h"
#include "types/orset.h"
#include "types/varint.h"
#include "utils/memutils.h"

/* changing */
static void reserve_elements(OrSet *set, int n);
static void reserve_tags(OrSet *set, OrSetElement *element, int n);
static bool find_element(const OrSet *set, const char *data, int len,
						 int *position);
static void insert_missing(OrSet *set, OrSetItem *items, int nitems);
static void gain_tag(OrSet *set, OrSetElement *element, const OrSetTag *tag);
static int	find_tag(const OrSetElement *element, const OrSetTag *tag);
static void lose_seen(OrSetElement *element, OrSetTagFilter filter, void *arg);
static void drop_unsupported(OrSet *set);
static void see(OrSet *set, const pg_uuid_t *replica, uint64 counter,
				uint64 seen_up_to);
static void cover_tags(OrSet *set);

/* merging */
static OrSetElement *merge_append(OrSet *set, const OrSetElement *from,
								  char **copy);
static void merge_tags(OrSetElement *result, const OrSetElement *a,
					   const VersionVector *seen_a, const OrSetElement *b,
					   const VersionVector *seen_b);

/* packing and unpacking */
static void pack_tags(StringInfo buf, const OrSet *set);
static const char *decode_elements(const char **p, const char *end,
								   bool must_be_sorted, OrSet *set);
static const char *decode_tags(const char **p, const char *end, OrSet *set);
static bool get_tags(const char **p, const char *end, OrSet *set,
					 OrSetElement *element);
static void check_limits(const OrSet *set);
static void report_damage(const char *problem);

/* comparing */
static int	element_cmp(const void *a, const void *b);
static int	item_cmp(const void *a, const void *b);
static int	tag_cmp(const void *a, const void *b);

static inline int
bytes_cmp(const char *a, int alen, const char *b, int blen)
{
	int			cmp = memcmp(a, b, Min(alen, blen));

	if (cmp != 0)
		return cmp;
	return alen < blen ? -1 : (alen > blen ? 1 : 0);
}


OrSet *
orset_create(MemoryContext context)
{
	MemoryContext caller = MemoryContextSwitchTo(context);
	OrSet	   *set = palloc(sizeof(OrSet));

	set->context = context;
	set->nelements = 0;
	set->maxelements = 8;
	set->elements = palloc(set->maxelements * sizeof(OrSetElement));
	set->seen = vv_empty();
	MemoryContextSwitchTo(caller);
	return set;
}

OrSet *
orset_unpack(MemoryContext context, const OrSetData *packed)
{
	OrSet	   *set;
	const char *problem;

	problem = orset_decode(VARDATA_ANY(packed), VARSIZE_ANY_EXHDR(packed), true,
						   context, &set);
	if (problem != NULL)
		report_damage(problem);
	return set;
}

OrSetData *
orset_pack(const OrSet *set)
{
	StringInfoData buf;

	initStringInfo(&buf);
	appendStringInfoSpaces(&buf, VARHDRSZ);
	orset_encode(&buf, set);
	SET_VARSIZE(buf.data, buf.len);
	return (OrSetData *) buf.data;
}

void
orset_encode(StringInfo buf, const OrSet *set)
{
	bool		tagged = set->seen->nentries > 0;

	check_limits(set);
	appendStringInfoChar(buf, (char) ((ORSET_FORMAT << 4) |
									  (tagged ? ORSET_TAGGED : 0)));
	varint_append(buf, set->nelements);
	for (int i = 0; i < set->nelements; i++)
	{
		varint_append(buf, set->elements[i].len);
		appendBinaryStringInfo(buf, set->elements[i].data,
							   set->elements[i].len);
	}
	if (tagged)
	{
		vv_pack(buf, set->seen);
		pack_tags(buf, set);
	}
}

int
orset_find(const OrSet *set, const char *data, int len)
{
	int			position;

	return find_element(set, data, len, &position) ? position : -1;
}

void
orset_add_tag(OrSet *set, const char *data, int len, const OrSetTag *tag,
			  uint64 seen_up_to)
{
	OrSetItem	item = {data, len};

	orset_add_tag_to_all(set, &item, 1, tag, seen_up_to);
}

void
orset_add_tag_to_all(OrSet *set, const OrSetItem *items, int nitems,
					 const OrSetTag *tag, uint64 seen_up_to)
{
	OrSetItem  *missing = palloc(Max(nitems, 1) * sizeof(OrSetItem));
	int			nmissing = 0;
	int			position;

	for (int i = 0; i < nitems; i++)
	{
		if (!find_element(set, items[i].data, items[i].len, &position))
			missing[nmissing++] = items[i];
	}
	insert_missing(set, missing, nmissing);
	pfree(missing);

	for (int i = 0; i < nitems; i++)
	{
		if (find_element(set, items[i].data, items[i].len, &position))
			gain_tag(set, &set->elements[position], tag);
	}
	see(set, &tag->replica, tag->counter, seen_up_to);
}

bool
orset_remove_seen(OrSet *set, const char *data, int len,
				  OrSetTagFilter filter, void *arg)
{
	OrSetItem	item = {data, len};

	orset_remove_all_seen(set, &item, 1, filter, arg);
	return orset_find(set, data, len) < 0;
}

void
orset_remove_all_seen(OrSet *set, const OrSetItem *items, int nitems,
					  OrSetTagFilter filter, void *arg)
{
	if (items == NULL)
	{
		for (int i = 0; i < set->nelements; i++)
			lose_seen(&set->elements[i], filter, arg);
	}
	else
	{
		int			position;

		for (int i = 0; i < nitems; i++)
		{
			if (find_element(set, items[i].data, items[i].len, &position))
				lose_seen(&set->elements[position], filter, arg);
		}
	}
	drop_unsupported(set);
}

OrSet *
orset_merge_sets(MemoryContext context, const OrSet *a, const OrSet *b)
{
	MemoryContext caller = MemoryContextSwitchTo(context);
	static const OrSetElement absent = {0};
	OrSet	   *set = palloc(sizeof(OrSet));
	Size		nbytes = 0;
	Size		ntags = 0;
	char	   *copy;
	OrSetTag   *tags;
	int			i = 0;
	int			j = 0;

	for (int k = 0; k < a->nelements; k++)
	{
		nbytes += a->elements[k].len;
		ntags += a->elements[k].ntags;
	}
	for (int k = 0; k < b->nelements; k++)
	{
		nbytes += b->elements[k].len;
		ntags += b->elements[k].ntags;
	}

	set->context = context;
	set->nelements = 0;
	set->maxelements = a->nelements + b->nelements + 1;
	set->elements = MemoryContextAllocHuge(context, set->maxelements *
										   sizeof(OrSetElement));
	set->seen = vv_join_vectors(a->seen, b->seen);
	copy = MemoryContextAllocHuge(context, nbytes + 1);
	tags = MemoryContextAllocHuge(context, (ntags + 1) * sizeof(OrSetTag));

	while (i < a->nelements || j < b->nelements)
	{
		const OrSetElement *ea = i < a->nelements ? &a->elements[i] : NULL;
		const OrSetElement *eb = j < b->nelements ? &b->elements[j] : NULL;
		int			cmp = ea == NULL ? 1 : (eb == NULL ? -1 :
											element_cmp(ea, eb));
		OrSetElement *element;

		if (i % 1024 == 0 || j % 1024 == 0)
			CHECK_FOR_INTERRUPTS();

		element = merge_append(set, cmp <= 0 ? ea : eb, &copy);
		element->tags = tags;
		merge_tags(element, cmp <= 0 ? ea : &absent, a->seen,
				   cmp >= 0 ? eb : &absent, b->seen);
		tags += element->ntags;
		if (element->ntags == 0 && !element->is_plain)
			set->nelements--;
		i += cmp <= 0;
		j += cmp >= 0;
	}

	MemoryContextSwitchTo(caller);
	return set;
}

bool
orset_same_elements(const OrSetData *a, const OrSetData *b)
{
	OrSetIterator ia;
	OrSetIterator ib;
	const char *da;
	const char *db;
	int			la;
	int			lb;

	orset_iterate(&ia, a);
	orset_iterate(&ib, b);
	if (ia.remaining != ib.remaining)
		return false;
	while (orset_next(&ia, &da, &la) && orset_next(&ib, &db, &lb))
	{
		if (la != lb || memcmp(da, db, la) != 0)
			return false;
	}
	return true;
}

void
orset_iterate(OrSetIterator *it, const OrSetData *packed)
{
	uint64		count;

	it->cursor = VARDATA_ANY(packed);
	it->end = it->cursor + VARSIZE_ANY_EXHDR(packed);
	if (it->cursor >= it->end || (uint8) *it->cursor >> 4 != ORSET_FORMAT)
		report_damage("The format is unknown.");
	it->cursor++;
	if (!varint_get(&it->cursor, it->end, &count) ||
		count > ORSET_MAX_ELEMENTS)
		report_damage("The number of elements is out of range.");
	it->remaining = count;
}

bool
orset_next(OrSetIterator *it, const char **data, int *len)
{
	uint64		length;

	if (it->remaining == 0)
		return false;
	if (!varint_get(&it->cursor, it->end, &length) ||
		length > it->end - it->cursor)
		report_damage("An element is cut off.");
	*data = it->cursor;
	*len = length;
	it->cursor += length;
	it->remaining--;
	return true;
}

const char *
orset_decode(const char *bytes, Size len, bool must_be_sorted,
			 MemoryContext context, OrSet **result)
{
	MemoryContext caller = MemoryContextSwitchTo(context);
	OrSet	   *set = palloc0(sizeof(OrSet));
	const char *p = bytes;
	const char *end = bytes + len;
	const char *problem;
	uint8		head;

	set->context = context;
	if (len < 1)
		problem = "The value is empty.";
	else if ((head = (uint8) *p++) >> 4 != ORSET_FORMAT)
		problem = "The format is unknown.";
	else if ((head & 0x0F & ~ORSET_TAGGED) != 0)
		problem = "Reserved bits are set.";
	else
		problem = decode_elements(&p, end, must_be_sorted, set);

	if (problem == NULL)
	{
		if (head & ORSET_TAGGED)
			problem = decode_tags(&p, end, set);
		else
			set->seen = vv_empty();
		if (problem == NULL && p != end)
			problem = "The length is wrong.";
	}
	MemoryContextSwitchTo(caller);
	*result = set;
	return problem;
}

OrSetElement *
orset_append(OrSet *set, const char *data, int len)
{
	OrSetElement *element;
	char	   *copy;

	reserve_elements(set, 1);
	copy = MemoryContextAlloc(set->context, Max(len, 1));
	memcpy(copy, data, len);
	element = &set->elements[set->nelements++];
	memset(element, 0, sizeof(OrSetElement));
	element->data = copy;
	element->len = len;
	return element;
}

void
orset_append_tag(OrSet *set, OrSetElement *element, const OrSetTag *tag)
{
	reserve_tags(set, element, 1);
	element->tags[element->ntags++] = *tag;
}

int
orset_normalize(OrSet *set)
{
	int			nkept = 0;
	int			nrepeated;

	if (set->nelements > 1)
		merge_sort(set->elements, set->nelements, sizeof(OrSetElement), element_cmp);

	for (int i = 0; i < set->nelements; i++)
	{
		OrSetElement *element = &set->elements[i];
		OrSetElement *kept = nkept > 0 ? &set->elements[nkept - 1] : NULL;

		CHECK_FOR_INTERRUPTS();
		if (kept == NULL || element_cmp(kept, element) != 0)
		{
			set->elements[nkept++] = *element;
			continue;
		}
		/* gather all tags first, sort them once */
		for (int k = 0; k < element->ntags; k++)
			orset_append_tag(set, kept, &element->tags[k]);
		kept->is_plain |= element->is_plain;
	}
	nrepeated = set->nelements - nkept;
	set->nelements = nkept;

	for (int i = 0; i < set->nelements; i++)
	{
		OrSetElement *element = &set->elements[i];
		int			ntags = 0;

		if (element->ntags > 1)
			merge_sort(element->tags, element->ntags, sizeof(OrSetTag), tag_cmp);
		for (int k = 0; k < element->ntags; k++)
		{
			if (k == 0 || tag_cmp(&element->tags[ntags - 1],
								  &element->tags[k]) != 0)
				element->tags[ntags++] = element->tags[k];
		}
		element->ntags = ntags;
	}
	cover_tags(set);
	return nrepeated;
}

/*
 * ---- Changing ----
 */

/* Make room for n more.  What the arrays were in before stays in the context:
 * it need not be a chunk that we could free. */
static void
reserve_elements(OrSet *set, int n)
{
	OrSetElement *elements;

	if (set->nelements + n <= set->maxelements)
		return;
	set->maxelements = Max(2 * set->maxelements, set->nelements + n);
	elements = MemoryContextAllocHuge(set->context, (Size) set->maxelements *
									  sizeof(OrSetElement));
	memcpy(elements, set->elements, set->nelements * sizeof(OrSetElement));
	set->elements = elements;
}

static void
reserve_tags(OrSet *set, OrSetElement *element, int n)
{
	OrSetTag   *tags;

	if (element->ntags + n <= element->maxtags)
		return;
	element->maxtags = Max(2 * element->maxtags, element->ntags + n);
	tags = MemoryContextAllocHuge(set->context, (Size) element->maxtags *
								  sizeof(OrSetTag));
	if (element->ntags > 0)
		memcpy(tags, element->tags, element->ntags * sizeof(OrSetTag));
	element->tags = tags;
}

/* Is the element there?  *position: its index, or where it would be. */
static bool
find_element(const OrSet *set, const char *data, int len, int *position)
{
	int			low = 0;
	int			high = set->nelements;

	while (low < high)
	{
		int			middle = low + (high - low) / 2;
		int			cmp = bytes_cmp(set->elements[middle].data,
									set->elements[middle].len, data, len);

		if (cmp == 0)
		{
			*position = middle;
			return true;
		}
		if (cmp < 0)
			low = middle + 1;
		else
			high = middle;
	}
	*position = low;
	return false;
}

/*
 * Insert elements that are not there, without support yet.  Sorts items, and
 * merges from the back, so that no element moves twice.
 */
static void
insert_missing(OrSet *set, OrSetItem *items, int nitems)
{
	int			n = 0;
	int			from;
	int			to;

	if (nitems > 1)
		merge_sort(items, nitems, sizeof(OrSetItem), item_cmp);
	for (int i = 0; i < nitems; i++)
	{
		if (i == 0 || item_cmp(&items[n - 1], &items[i]) != 0)
			items[n++] = items[i];
	}

	reserve_elements(set, n);
	from = set->nelements - 1;
	to = set->nelements + n - 1;
	set->nelements += n;
	while (n > 0)
	{
		OrSetItem  *item = &items[n - 1];
		OrSetElement *element = &set->elements[to--];
		char	   *copy;

		if (from >= 0 && bytes_cmp(set->elements[from].data,
								   set->elements[from].len,
								   item->data, item->len) > 0)
		{
			*element = set->elements[from--];
			continue;
		}
		copy = MemoryContextAlloc(set->context, Max(item->len, 1));
		memcpy(copy, item->data, item->len);
		memset(element, 0, sizeof(OrSetElement));
		element->data = copy;
		element->len = item->len;
		n--;
	}
}

/*
 * Put a tag into its place among the element's tags.  Of one replica's tags the
 * latest is enough, because whoever has seen that one has seen those before it;
 * so an element that is added again and again does not grow.
 */
static void
gain_tag(OrSet *set, OrSetElement *element, const OrSetTag *tag)
{
	OrSetTag	first = {tag->replica, 0};
	int			from = find_tag(element, &first);
	int			to = find_tag(element, tag);

	if (to < element->ntags &&
		memcmp(&element->tags[to].replica, &tag->replica, UUID_LEN) == 0)
		return;					/* this one, or a later one */

	if (from == to)
	{
		reserve_tags(set, element, 1);
		memmove(&element->tags[from + 1], &element->tags[from],
				(element->ntags - from) * sizeof(OrSetTag));
		element->ntags++;
	}
	else
	{
		memmove(&element->tags[from + 1], &element->tags[to],
				(element->ntags - to) * sizeof(OrSetTag));
		element->ntags -= to - from - 1;
	}
	element->tags[from] = *tag;
}

/* The index of the first of the element's tags that is not before this one. */
static int
find_tag(const OrSetElement *element, const OrSetTag *tag)
{
	int			low = 0;
	int			high = element->ntags;

	while (low < high)
	{
		int			middle = low + (high - low) / 2;

		if (tag_cmp(&element->tags[middle], tag) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static void
lose_seen(OrSetElement *element, OrSetTagFilter filter, void *arg)
{
	int			nkept = 0;

	for (int i = 0; i < element->ntags; i++)
	{
		if (!filter(&element->tags[i], arg))
			element->tags[nkept++] = element->tags[i];
	}
	element->ntags = nkept;
	element->is_plain = false;
}

static void
drop_unsupported(OrSet *set)
{
	int			nkept = 0;

	for (int i = 0; i < set->nelements; i++)
	{
		if (set->elements[i].ntags == 0 && !set->elements[i].is_plain)
			continue;
		if (nkept != i)
			set->elements[nkept] = set->elements[i];
		nkept++;
	}
	set->nelements = nkept;
}

/* Widen the context by one counter, and by all up to another. */
static void
see(OrSet *set, const pg_uuid_t *replica, uint64 counter, uint64 seen_up_to)
{
	MemoryContext caller;
	VVBuilder  *builder;

	seen_up_to = Min(seen_up_to, VV_MAX_COUNTER);
	if (vv_covers_counter(set->seen, replica, counter) &&
		vv_base_counter(set->seen, replica) >= seen_up_to)
		return;

	caller = MemoryContextSwitchTo(set->context);
	builder = vv_builder_create();
	vv_builder_add_vector(builder, set->seen);
	vv_builder_add(builder, replica, counter, counter);
	if (seen_up_to > 0)
		vv_builder_add(builder, replica, 1, seen_up_to);
	set->seen = vv_builder_finish(builder);
	MemoryContextSwitchTo(caller);
}

/* Widen the context by all tags of the elements. */
static void
cover_tags(OrSet *set)
{
	MemoryContext caller = MemoryContextSwitchTo(set->context);
	VVBuilder  *builder = NULL;

	for (int i = 0; i < set->nelements; i++)
	{
		for (int k = 0; k < set->elements[i].ntags; k++)
		{
			const OrSetTag *tag = &set->elements[i].tags[k];

			if (vv_covers_counter(set->seen, &tag->replica, tag->counter))
				continue;
			if (builder == NULL)
			{
				builder = vv_builder_create();
				vv_builder_add_vector(builder, set->seen);
			}
			vv_builder_add(builder, &tag->replica, tag->counter, tag->counter);
		}
	}
	if (builder != NULL)
		set->seen = vv_builder_finish(builder);
	MemoryContextSwitchTo(caller);
}

/*
 * ---- Merging ----
 */

static OrSetElement *
merge_append(OrSet *set, const OrSetElement *from, char **copy)
{
	OrSetElement *element = &set->elements[set->nelements++];

	memcpy(*copy, from->data, from->len);
	element->data = *copy;
	element->len = from->len;
	*copy += from->len;
	return element;
}

/*
 * Keep the tags that both have, and those of one that the other has not seen.
 * result->tags has room for all.
 */
static void
merge_tags(OrSetElement *result, const OrSetElement *a,
		   const VersionVector *seen_a, const OrSetElement *b,
		   const VersionVector *seen_b)
{
	int			i = 0;
	int			j = 0;

	result->is_plain = a->is_plain || b->is_plain;
	result->ntags = 0;
	while (i < a->ntags || j < b->ntags)
	{
		int			cmp = i >= a->ntags ? 1 : (j >= b->ntags ? -1 :
											   tag_cmp(&a->tags[i], &b->tags[j]));
		const OrSetTag *tag = cmp <= 0 ? &a->tags[i] : &b->tags[j];

		if (cmp == 0 ||
			!vv_covers_counter(cmp < 0 ? seen_b : seen_a, &tag->replica,
							   tag->counter))
			result->tags[result->ntags++] = *tag;
		i += cmp <= 0;
		j += cmp >= 0;
	}
	result->maxtags = result->ntags;
}

/*
 * ---- Packing and unpacking ----
 */

static void
pack_tags(StringInfo buf, const OrSet *set)
{
	uint64		ntags = 0;

	for (int i = 0; i < set->nelements; i++)
		ntags += set->elements[i].ntags;
	varint_append(buf, ntags);

	for (int i = 0; i < set->nelements; i++)
	{
		const OrSetElement *element = &set->elements[i];
		const VVEntry *last = NULL;
		uint64		counter = 0;

		varint_append(buf, 2 * (uint64) element->ntags + element->is_plain);
		for (int k = 0; k < element->ntags; k++)
		{
			const OrSetTag *tag = &element->tags[k];
			const VVEntry *entry = vv_find(set->seen, &tag->replica);

			if (entry == NULL)
				elog(ERROR, "tag of an orset is not in its context");
			varint_append(buf, entry - VV_ENTRIES(set->seen));
			varint_append(buf, tag->counter - (entry == last ? counter : 0));
			last = entry;
			counter = tag->counter;
		}
	}
}

static const char *
decode_elements(const char **p, const char *end, bool must_be_sorted, OrSet *set)
{
	const char *start = *p;
	char	   *copy;
	uint64		count;

	if (!varint_get(p, end, &count) || count > ORSET_MAX_ELEMENTS ||
		count > end - *p)
		return "The number of elements is out of range.";
	set->maxelements = count + 1;
	set->elements = palloc(set->maxelements * sizeof(OrSetElement));

	for (uint64 i = 0; i < count; i++)
	{
		OrSetElement *element = &set->elements[i];
		uint64		length;

		if (!varint_get(p, end, &length) || length > ORSET_MAX_ELEMENT_SIZE ||
			length > end - *p)
			return "The length of an element is out of range.";
		memset(element, 0, sizeof(OrSetElement));
		element->data = *p;
		element->len = length;
		element->is_plain = true;	/* unless decode_tags says otherwise */
		*p += length;
		if (must_be_sorted && i > 0 && element_cmp(element - 1, element) >= 0)
			return "The elements are not in order.";
	}
	set->nelements = count;

	/* one copy for all texts: the set must not point into the packed value */
	copy = palloc(*p - start);
	memcpy(copy, start, *p - start);
	for (uint64 i = 0; i < count; i++)
		set->elements[i].data = copy + (set->elements[i].data - start);
	return NULL;
}

static const char *
decode_tags(const char **p, const char *end, OrSet *set)
{
	OrSetTag   *tags;
	uint64		ntags;
	uint64		remaining;

	set->seen = vv_unpack(p, end);
	if (set->seen == NULL || set->seen->nentries == 0)
		return "The context is malformed.";
	if (!varint_get(p, end, &ntags) || ntags > ORSET_MAX_TAGS ||
		ntags > (end - *p) / 2)
		return "The number of tags is out of range.";

	tags = palloc((ntags + 1) * sizeof(OrSetTag));
	remaining = ntags;
	for (int i = 0; i < set->nelements; i++)
	{
		OrSetElement *element = &set->elements[i];
		uint64		support;

		if (!varint_get(p, end, &support) || support == 0 ||
			support / 2 > remaining)
			return "The number of an element's tags is out of range.";
		element->is_plain = support % 2 == 1;
		element->ntags = element->maxtags = support / 2;
		element->tags = tags;
		tags += element->ntags;
		remaining -= element->ntags;
		if (!get_tags(p, end, set, element))
			return "A tag is malformed, or not in the context.";
	}
	if (remaining != 0)
		return "The number of tags is wrong.";
	return NULL;
}

/* Fill the tags of one element; they must be in order and in the context. */
static bool
get_tags(const char **p, const char *end, OrSet *set, OrSetElement *element)
{
	const VVEntry *entries = VV_ENTRIES(set->seen);
	uint64		last = 0;
	uint64		counter = 0;

	for (int k = 0; k < element->ntags; k++)
	{
		OrSetTag   *tag = &element->tags[k];
		uint64		index;
		uint64		step;

		if (!varint_get(p, end, &index) || index >= set->seen->nentries ||
			(k > 0 && index < last) || !varint_get(p, end, &step))
			return false;
		if (k == 0 || index != last)
			counter = 0;
		if (step == 0 || step > VV_MAX_COUNTER - counter)
			return false;
		counter += step;
		last = index;
		tag->replica = entries[index].replica;
		tag->counter = counter;
		if (!vv_covers_counter(set->seen, &tag->replica, counter))
			return false;
	}
	return true;
}

static void
check_limits(const OrSet *set)
{
	Size		ntags = 0;

	if (set->nelements > ORSET_MAX_ELEMENTS)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("number of orset elements %d exceeds the maximum allowed (%d)",
						set->nelements, ORSET_MAX_ELEMENTS)));
	for (int i = 0; i < set->nelements; i++)
	{
		if (set->elements[i].len > ORSET_MAX_ELEMENT_SIZE)
			ereport(ERROR,
					(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
					 errmsg("size of an orset element %d exceeds the maximum allowed (%d)",
							set->elements[i].len, ORSET_MAX_ELEMENT_SIZE)));
		ntags += set->elements[i].ntags;
	}
	if (ntags > ORSET_MAX_TAGS)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("number of orset tags %zu exceeds the maximum allowed (%d)",
						ntags, ORSET_MAX_TAGS)));
}

static void
report_damage(const char *problem)
{
	ereport(ERROR,
			(errcode(ERRCODE_DATA_CORRUPTED),
			 errmsg("stored value of type %s is damaged", "orset"),
			 errdetail_internal("%s", problem)));
}

/*
 * ---- Comparing ----
 */

static int
element_cmp(const void *a, const void *b)
{
	const OrSetElement *ea = a;
	const OrSetElement *eb = b;

	return bytes_cmp(ea->data, ea->len, eb->data, eb->len);
}

static int
item_cmp(const void *a, const void *b)
{
	const OrSetItem *ia = a;
	const OrSetItem *ib = b;

	return bytes_cmp(ia->data, ia->len, ib->data, ib->len);
}

static int
tag_cmp(const void *a, const void *b)
{
	const OrSetTag *ta = a;
	const OrSetTag *tb = b;
	int			cmp = memcmp(&ta->replica, &tb->replica, UUID_LEN);

	if (cmp != 0)
		return cmp;
	return ta->counter < tb->counter ? -1 : (ta->counter > tb->counter ? 1 : 0);
}
