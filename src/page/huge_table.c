/* huge_table.c - the table of huge blocks' mappings: see huge_table.h. */
#include "page/huge_table.h"
#include "base/check.h"
#include "os/os.h"

enum {
	FIRST_ENTRIES = 64,
	SHORT = 16, /* places that are tried in each part before any are */
};

_Atomic(struct lab_huge_part *) lab_huge_parts[LAB_HUGE_PARTS];
static _Atomic size_t used;

/* ---- parts ----------------------------------------------------------------------------------------------------- */

struct lab_huge_part *
lab_huge_part_at(size_t i)
{
	return i < LAB_HUGE_PARTS ? lab_load_acq(&lab_huge_parts[i]) : NULL; /* pairs with the CAS of add_part */
}

static size_t
entries_in(size_t part_count)
{
	return FIRST_ENTRIES * (((size_t)1 << part_count) - 1);
}

static size_t
count_parts(void)
{
	size_t n = 0;

	while (lab_huge_part_at(n))
		n++;
	return n;
}

static struct lab_huge *
entry_for(const struct lab_huge_part *part, const void *base, size_t distance)
{
	uint64_t hash = ((uintptr_t)base >> LAB_PAGE_SHIFT) * UINT64_C(0x9e3779b97f4a7c15);

	return &part->entries[((size_t)(hash >> 32) + distance) & (part->count - 1)];
}

struct lab_huge *
lab_huge_at(size_t i)
{
	unsigned number = lab_log2(i / FIRST_ENTRIES + 1);
	const struct lab_huge_part *part = lab_huge_part_at(number);

	return part ? &part->entries[i - entries_in(number)] : NULL;
}

/* There are i parts. */
static bool
add_part(size_t i)
{
	size_t count = FIRST_ENTRIES << i, bits = count / 64 * sizeof(uint64_t);
	size_t head = lab_round_up(sizeof(struct lab_huge_part) + bits, sizeof(struct lab_huge));
	size_t size = lab_round_up(head + count * sizeof(struct lab_huge), LAB_PAGE_SIZE);
	char *memory = i < LAB_HUGE_PARTS ? lab_os.map(size, LAB_ACCESS_WRITE) : NULL;
	struct lab_huge_part *none = NULL, *part = (struct lab_huge_part *)(void *)memory;

	if (!part)
		return false;
	part->cached = (_Atomic uint64_t *)(void *)(memory + sizeof(struct lab_huge_part));
	part->entries = (struct lab_huge *)(void *)(memory + head);
	part->count = count;
	/* pairs with the acq of lab_huge_part_at */
	if (!atomic_compare_exchange_strong_explicit(&lab_huge_parts[i], &none, part, memory_order_release,
	                                             memory_order_relaxed))
		(void)lab_os.unmap(memory, size); /* another thread was quicker */
	return true;
}

/* ---- entries: FREE and BUSY ------------------------------------------------------------------------------------ */

bool
lab_huge_count_in(void)
{
	size_t now = lab_add_rlx(&used, 1) + 1, count = count_parts();

	if (now > entries_in(count) / 4 * 3 && add_part(count))
		count++;
	if (now <= entries_in(count))
		return true;
	lab_huge_count_out();
	return false;
}

void
lab_huge_count_out(void)
{
	size_t before = atomic_fetch_sub_explicit(&used, 1, memory_order_relaxed);

	lab_assert(before != 0); /* INV-HUGE-4 */
	(void)before;
}

static void
raise_reach(struct lab_huge_part *part, size_t reach)
{
	size_t now = lab_load_rlx(&part->reach);

	/* pairs with the acq of lab_huge_find */
	while (now < reach && !atomic_compare_exchange_weak_explicit(&part->reach, &now, reach, memory_order_release,
	                                                             memory_order_relaxed))
		;
}

/* FREE → BUSY for one of the first `limit` places of an address; NULL: there is none. */
static struct lab_huge *
win_in(struct lab_huge_part *part, const char *base, size_t limit)
{
	for (size_t i = 0; i < limit && i < part->count; i++) {
		struct lab_huge *huge = entry_for(part, base, i);
		uint64_t state = lab_load_rlx(&huge->run.state);
		if (lab_huge_kind_of(state) != LAB_HUGE_FREE)
			continue;
		raise_reach(part, i + 1); /* first: a lookup looks no further */
		/* pairs with the rel of lab_huge_set_state: the words are the new owner's */
		if (lab_cas64(&huge->run.state, state, lab_huge_next_state(state, LAB_HUGE_BUSY)))
			return huge;
	}
	return NULL;
}

struct lab_huge *
lab_huge_win_entry(char *base, size_t mapped)
{
	struct lab_huge *huge = NULL;

	for (size_t limit = SHORT; !huge; limit = SIZE_MAX)
		for (size_t i = 0; !huge && lab_huge_part_at(i); i++)
			huge = win_in(lab_huge_part_at(i), base, limit);
	lab_store_rlx(&huge->base, base);
	lab_store_rlx(&huge->mapped, mapped);
	lab_store_rlx(&huge->dirty, 0);
	return huge;
}

void
lab_huge_give_entry_back(struct lab_huge *huge)
{
	lab_assert(lab_huge_kind(huge) == LAB_HUGE_BUSY);
	lab_store_rlx(&huge->dirty, 0);
	lab_huge_set_state(huge, LAB_HUGE_FREE);
	lab_huge_count_out();
}

/* ---- CACHED entries -------------------------------------------------------------------------------------------- */

static _Atomic uint64_t *
cached_word(const struct lab_huge *huge, uint64_t *bit)
{
	const struct lab_huge_part *part = lab_huge_part_at(0);

	for (size_t i = 1; (uintptr_t)huge - (uintptr_t)part->entries >= part->count * sizeof *huge; i++)
		part = lab_huge_part_at(i);
	size_t index = (size_t)(huge - part->entries);
	*bit = UINT64_C(1) << (index % 64);
	return &part->cached[index / 64];
}

void
lab_huge_cache(struct lab_huge *huge)
{
	uint64_t bit;
	_Atomic uint64_t *word = cached_word(huge, &bit);

	lab_store_rlx(&huge->aged, false);
	lab_huge_set_state(huge, LAB_HUGE_CACHED);
	atomic_fetch_or(word, bit); /* sc, after the state; pairs with the two of lab_huge_hide */
}

void
lab_huge_hide(const struct lab_huge *huge)
{
	uint64_t bit;
	_Atomic uint64_t *word = cached_word(huge, &bit);

	/* Sc: either this load sees CACHED, or the bit is set after it was cleared. Pairs with lab_huge_cache. */
	atomic_fetch_and(word, ~bit);
	if (lab_huge_kind_of(atomic_load(&huge->run.state)) == LAB_HUGE_CACHED) /* pairs with lab_huge_cache */
		atomic_fetch_or(word, bit);                                     /* pairs with best_of_word */
}

/* ---- looking --------------------------------------------------------------------------------------------------- */

/* Whether the entry is a block that starts at p; if not, whether it was. */
static bool
is_block_at(const struct lab_huge *huge, const void *p, bool *was)
{
	uint64_t state = lab_load_acq(&huge->run.state); /* pairs with the rel of lab_huge_set_state */
	enum lab_huge_kind kind = lab_huge_kind_of(state);

	if (lab_load_rlx(&huge->base) != p)
		return false;
	atomic_thread_fence(memory_order_acquire); /* pairs as the load above: `base` belongs to that state */
	if (lab_lease_epoch(state) != lab_lease_epoch(lab_load_rlx(&huge->run.state)))
		return false;
	*was |= kind == LAB_HUGE_CACHED || kind == LAB_HUGE_FREE;
	return kind == LAB_HUGE_LIVE || kind == LAB_HUGE_FREEING;
}

struct lab_huge *
lab_huge_find(const void *p, bool *was)
{
	struct lab_huge_part *part;

	*was = false;
	if (((uintptr_t)p & (LAB_PAGE_SIZE - 1)) != 0 || !p)
		return NULL;
	for (size_t i = 0; (part = lab_huge_part_at(i)) != NULL; i++) {
		size_t reach = lab_load_acq(&part->reach); /* pairs with the rel of raise_reach */
		for (size_t distance = 0; distance < reach; distance++) {
			struct lab_huge *huge = entry_for(part, p, distance);
			if (is_block_at(huge, p, was))
				return huge;
		}
	}
	return NULL;
}

struct lab_huge *
lab_huge_around(const void *p)
{
	struct lab_huge *huge;

	for (size_t i = 0; (huge = lab_huge_at(i)) != NULL; i++) {
		uintptr_t offset = (uintptr_t)p - (uintptr_t)lab_load_rlx(&huge->base);
		if (lab_huge_kind(huge) == LAB_HUGE_LIVE && offset < lab_load_rlx(&huge->run.pages) << LAB_PAGE_SHIFT)
			return huge;
	}
	return NULL;
}

/* ---- figures --------------------------------------------------------------------------------------------------- */

size_t
lab_huge_dirty_pages(void)
{
	struct lab_huge *huge;
	size_t pages = 0;

	for (size_t i = 0; (huge = lab_huge_at(i)) != NULL; i++)
		if (lab_huge_kind(huge) == LAB_HUGE_CACHED)
			pages += lab_load_rlx(&huge->dirty);
	return pages;
}

size_t
lab_huge_charged_pages(void)
{
	struct lab_huge *huge;
	size_t pages = 0;

	for (size_t i = 0; (huge = lab_huge_at(i)) != NULL; i++) {
		enum lab_huge_kind kind = lab_huge_kind(huge);
		size_t dirty = lab_load_rlx(&huge->dirty), length = lab_load_rlx(&huge->run.pages);
		bool is_block = kind == LAB_HUGE_LIVE || kind == LAB_HUGE_FREEING;
		pages += is_block && length > dirty ? length : dirty; /* 0 of a FREE one */
	}
	return pages;
}
