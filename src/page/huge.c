/* huge.c - huge blocks: mapping, reuse, resizing, and what goes back to the system. See huge.h. */
#include "page/huge.h"
#include "base/check.h"
#include "os/os.h"
#include "page/charge.h"
#include "page/count.h"
#include "page/pending.h"
#include "page/space.h"

enum { SPARE_PAGES = 256 }; /* that a block may keep mapped behind itself */

/* The system did not unmap a mapping when it was asked last. */
static _Atomic bool unmap_is_refused;

/* ---- new blocks ------------------------------------------------------------------------------------------------ */

/* Pages at a multiple of `align` bytes; *size: the bytes that are mapped there, more if the system does not take the
 * rest. */
static char *
map_aligned(size_t *size, size_t align)
{
	size_t slack = align > LAB_PAGE_SIZE ? align - LAB_PAGE_SIZE : 0;
	char *start = lab_os.map(*size + slack, LAB_ACCESS_CHARGED);

	if (!start || slack == 0)
		return start;
	char *base = (char *)lab_round_up((uintptr_t)start, align), *end = base + *size;
	size_t before = (size_t)(base - start), behind = slack - before;
	if (before != 0)
		(void)lab_os.unmap(start, before); /* refused: so much address space is lost, untouched */
	if (behind != 0 && !lab_os.unmap(end, behind))
		*size += behind;
	return base;
}

/* The caller has counted itself in and holds its signals back. */
static struct lab_huge *
map_block(size_t pages, size_t align)
{
	size_t size = pages << LAB_PAGE_SHIFT;
	char *base = map_aligned(&size, align);

	if (!base)
		return NULL;
	lab_space_prepare_pages(base, size);
	lab_os_name(base, size, "labyrinth: huge block");
	struct lab_huge *huge = lab_huge_win_entry(base, size >> LAB_PAGE_SHIFT);
	lab_store_rlx(&huge->run.pages, pages);
	lab_huge_set_state(huge, LAB_HUGE_LIVE);
	return huge;
}

struct lab_huge *
lab_huge_map(size_t pages, size_t align, bool *over_limit)
{
	struct lab_huge *huge = NULL;

	if (!lab_charge(pages, false)) {
		*over_limit = true;
		return NULL;
	}
	uint64_t signals = lab_os_hold_signals();
	if (lab_huge_count_in()) {
		huge = map_block(pages, align);
		if (huge)
			lab_count((int64_t)pages, 0);
		else
			lab_huge_count_out();
	}
	lab_os_release_signals(signals);
	return huge;
}

/* ---- blocks of CACHED mappings --------------------------------------------------------------------------------- */

/* What a block is to be. */
struct wanted {
	size_t pages, align;
	bool remade; /* of a mapping that is made longer or shorter for it */
};

/* A block shall not pin much that it does not use; but where nothing goes back, what is cached is used before more
 * is mapped. */
static bool
fits(const struct lab_huge *huge, const struct wanted *wanted)
{
	size_t mapped = lab_load_rlx(&huge->mapped), pages = wanted->pages;

	if (wanted->remade)
		return mapped / 4 <= pages;
	bool stays = lab_load_rlx(&lab_purge_is_held) || lab_load_rlx(&unmap_is_refused);
	return mapped >= pages && (stays || mapped - pages <= pages / 4) &&
	       (uintptr_t)lab_load_rlx(&huge->base) % wanted->align == 0;
}

/* Pages that are too many, or missing. */
static size_t
distance(const struct lab_huge *huge, size_t pages)
{
	size_t mapped = lab_load_rlx(&huge->mapped);

	return mapped > pages ? mapped - pages : pages - mapped;
}

/* The entry of a word's that fits most closely, if it does so more than `best`. *state: its state then. */
static struct lab_huge *
best_of_word(const struct lab_huge_part *part, size_t word, const struct wanted *wanted, struct lab_huge *best,
             uint64_t *state)
{
	/* pairs with lab_huge_cache */
	for (uint64_t bits = lab_load_acq(&part->cached[word]); bits; bits &= bits - 1) {
		struct lab_huge *huge = &part->entries[word * 64 + lab_ctz(bits)];
		uint64_t now = lab_load_acq(&huge->run.state); /* pairs with the rel of lab_huge_set_state */
		if (lab_huge_kind_of(now) != LAB_HUGE_CACHED) {
			lab_huge_hide(huge);
		} else if (fits(huge, wanted) &&
		           (!best || distance(huge, wanted->pages) < distance(best, wanted->pages))) {
			best = huge;
			*state = now;
		}
	}
	return best;
}

static struct lab_huge *
find_cached(const struct wanted *wanted, uint64_t *state)
{
	const struct lab_huge_part *part;
	struct lab_huge *best = NULL;

	for (size_t i = 0; (part = lab_huge_part_at(i)) != NULL; i++)
		for (size_t word = 0; word < part->count / 64; word++)
			best = best_of_word(part, word, wanted, best, state);
	return best;
}

/* Gives back what may hold data behind a block's pages. */
static void
purge_behind(struct lab_huge *huge, size_t pages)
{
	size_t dirty = lab_load_rlx(&huge->dirty);

	if (dirty > pages &&
	    lab_os.purge(lab_load_rlx(&huge->base) + (pages << LAB_PAGE_SHIFT), (dirty - pages) << LAB_PAGE_SHIFT))
		lab_store_rlx(&huge->dirty, pages);
}

/*
 * CACHED → LIVE for an entry whose state is `state`. False: another thread has changed it. If much behind the block is
 * dirty, that goes back, with signals held: a handler that jumped out of the system call would lose the block.
 */
static bool
make_block(struct lab_huge *huge, uint64_t state, size_t pages, bool is_much)
{
	uint64_t signals = is_much ? lab_os_hold_signals() : 0;
	/* pairs with the rel of lab_huge_set_state: the mapping is as its last owner left it */
	bool is_made = lab_cas64(&huge->run.state, state, lab_huge_next_state(state, LAB_HUGE_LIVE));

	if (is_made) {
		lab_assert(pages <= lab_load_rlx(&huge->mapped));
		lab_store_rlx(&huge->run.pages, pages);
		lab_huge_hide(huge);
	}
	if (is_made && is_much)
		purge_behind(huge, pages);
	if (is_much)
		lab_os_release_signals(signals);
	return is_made;
}

/* A CACHED mapping, or its first `pages` if it has more, as a block. */
static struct lab_huge *
reuse(const struct wanted *wanted, bool *over_limit)
{
	for (;;) {
		uint64_t state = 0;
		struct lab_huge *huge = find_cached(wanted, &state);
		size_t dirty = huge ? lab_load_rlx(&huge->dirty) : 0, mapped = huge ? lab_load_rlx(&huge->mapped) : 0;
		size_t pages = mapped < wanted->pages ? mapped : wanted->pages;
		if (!huge)
			return NULL;
		if (!lab_charge(pages > dirty ? pages - dirty : 0, false)) {
			*over_limit = true;
			return NULL;
		}
		/* of one that is remade the rest is unmapped */
		bool is_much = !wanted->remade && dirty > pages + SPARE_PAGES && !lab_load_rlx(&lab_purge_is_held);
		if (make_block(huge, state, pages, is_much)) {
			lab_count((int64_t)pages, -(int64_t)dirty);
			return huge;
		}
		/* What was charged for nothing comes back when pages are counted next: INV-CHARGE-1. */
	}
}

struct lab_huge *
lab_huge_reuse(size_t pages, size_t align, bool *over_limit)
{
	return reuse(&(struct wanted){.pages = pages, .align = align}, over_limit);
}

/* ---- the caller's block ---------------------------------------------------------------------------------------- */

static void
mark_block_dirty(struct lab_huge *huge)
{
	size_t pages = lab_load_rlx(&huge->run.pages);

	if (lab_load_rlx(&huge->dirty) < pages)
		lab_store_rlx(&huge->dirty, pages);
}

void
lab_huge_free(struct lab_huge *huge)
{
	lab_assert(lab_huge_kind(huge) == LAB_HUGE_FREEING);
	mark_block_dirty(huge);
	lab_count(-(int64_t)lab_load_rlx(&huge->run.pages), (int64_t)lab_load_rlx(&huge->dirty));
	lab_huge_cache(huge);
	lab_purge_note();
}

/*
 * A fork in another thread may copy the entry between any two of these steps. So `mapped` and `dirty` are written
 * first: in the child the tail is lost, or unmapped.
 */
static void
unmap_tail(struct lab_huge *huge, size_t pages)
{
	size_t mapped = lab_load_rlx(&huge->mapped), dirty = lab_load_rlx(&huge->dirty);
	uint64_t signals = lab_os_hold_signals();

	lab_store_rlx(&huge->mapped, pages);
	if (dirty > pages)
		lab_store_rlx(&huge->dirty, pages);
	lab_compiler_barrier();
	if (!lab_os.unmap(lab_load_rlx(&huge->base) + (pages << LAB_PAGE_SHIFT), (mapped - pages) << LAB_PAGE_SHIFT)) {
		lab_store_rlx(&huge->dirty, dirty);
		lab_store_rlx(&huge->mapped, mapped);
		purge_behind(huge, pages);
	}
	lab_os_release_signals(signals);
}

void
lab_huge_shrink(struct lab_huge *huge, size_t pages)
{
	mark_block_dirty(huge);
	lab_count((int64_t)pages - (int64_t)lab_load_rlx(&huge->run.pages), 0);
	lab_store_rlx(&huge->run.pages, pages);
	if (lab_load_rlx(&huge->mapped) - pages > SPARE_PAGES)
		unmap_tail(huge, pages);
}

/* LIVE → BUSY → LIVE: the mapping gets `pages`. The caller has counted in for the entry of another address. */
static void *
extend_mapping(struct lab_huge *huge, size_t pages)
{
	char *base = lab_load_rlx(&huge->base);
	size_t dirty = lab_load_rlx(&huge->dirty), mapped = lab_load_rlx(&huge->mapped);

	lab_huge_set_state(huge, LAB_HUGE_BUSY);
	char *now = lab_os.extend(base, mapped << LAB_PAGE_SHIFT, pages << LAB_PAGE_SHIFT);
	if (now && now != base) {
		struct lab_huge *moved = lab_huge_win_entry(now, pages);
		lab_huge_give_entry_back(huge);
		lab_store_rlx(&moved->dirty, dirty);
		huge = moved;
	}
	if (now) {
		if (pages > mapped)
			lab_space_hold_range(now + (mapped << LAB_PAGE_SHIFT), (pages - mapped) << LAB_PAGE_SHIFT);
		lab_store_rlx(&huge->mapped, pages);
		lab_store_rlx(&huge->run.pages, pages);
	}
	lab_huge_set_state(huge, LAB_HUGE_LIVE);
	return now;
}

void *
lab_huge_extend(struct lab_huge *huge, size_t pages)
{
	void *p = NULL;

	lab_assert(lab_huge_kind(huge) == LAB_HUGE_LIVE && pages >= lab_load_rlx(&huge->run.pages));
	mark_block_dirty(huge);
	size_t dirty = lab_load_rlx(&huge->dirty), before = lab_load_rlx(&huge->run.pages);
	if (!lab_charge(pages > dirty ? pages - dirty : 0, false))
		return NULL;
	if (pages <= lab_load_rlx(&huge->mapped)) {
		lab_store_rlx(&huge->run.pages, pages);
		lab_count((int64_t)(pages - before), 0);
		return lab_load_rlx(&huge->base);
	}
	uint64_t signals = lab_os_hold_signals();
	if (lab_huge_count_in()) {
		p = extend_mapping(huge, pages);
		if (!p || p == lab_load_rlx(&huge->base))
			lab_huge_count_out();
		if (p)
			lab_count((int64_t)(pages - before), 0);
	}
	lab_os_release_signals(signals);
	return p;
}

struct lab_huge *
lab_huge_remake(size_t pages, bool *over_limit)
{
	struct lab_huge *huge = reuse(&(struct wanted){.pages = pages, .remade = true}, over_limit);
	size_t length = huge ? lab_load_rlx(&huge->run.pages) : 0;
	bool was;

	if (!huge)
		return NULL;
	if (lab_load_rlx(&huge->mapped) > pages + SPARE_PAGES)
		unmap_tail(huge, pages);
	if (length == pages)
		return huge;
	void *p = lab_huge_extend(huge, pages);
	if (p)
		return lab_huge_find(p, &was);
	lab_count(-(int64_t)length, (int64_t)lab_load_rlx(&huge->dirty));
	lab_huge_cache(huge);
	return NULL;
}

/* ---- what is CACHED goes back ---------------------------------------------------------------------------------- */

/* BUSY → FREE, or CACHED again without its pages if the system does not unmap it. Returns the dirty pages given
 * back. */
static size_t
unmap_whole(struct lab_huge *huge)
{
	size_t dirty = lab_load_rlx(&huge->dirty), left = 0;
	bool done = lab_os.unmap(lab_load_rlx(&huge->base), lab_load_rlx(&huge->mapped) << LAB_PAGE_SHIFT);

	lab_store_rlx(&unmap_is_refused, !done);
	if (done) {
		lab_huge_give_entry_back(huge);
		lab_huge_hide(huge);
	} else {
		purge_behind(huge, 0);
		left = lab_load_rlx(&huge->dirty);
		lab_huge_cache(huge);
	}
	return dirty - left;
}

/* BUSY → CACHED, without the dirty pages behind the first `pages`. What is left is as old as it was. */
static size_t
purge_last(struct lab_huge *huge, size_t pages)
{
	bool was_aged = lab_load_rlx(&huge->aged);
	size_t dirty = lab_load_rlx(&huge->dirty);

	purge_behind(huge, pages);
	size_t left = lab_load_rlx(&huge->dirty);
	lab_huge_cache(huge);
	lab_store_rlx(&huge->aged, was_aged);
	return dirty - left;
}

size_t
lab_huge_give_back(struct lab_huge *huge, size_t most, size_t *refused)
{
	uint64_t state = lab_load_acq(&huge->run.state); /* pairs with the rel of lab_huge_set_state */
	size_t given = 0;

	if (lab_huge_kind_of(state) != LAB_HUGE_CACHED)
		return 0;
	uint64_t signals = lab_os_hold_signals();
	/* pairs with the rel of lab_huge_set_state */
	if (lab_cas64(&huge->run.state, state, lab_huge_next_state(state, LAB_HUGE_BUSY))) {
		size_t dirty = lab_load_rlx(&huge->dirty);
		given = dirty <= most ? unmap_whole(huge) : purge_last(huge, dirty - most);
		lab_count_given_back(given);
		if (refused && given == 0)
			*refused = dirty;
	}
	lab_os_release_signals(signals);
	return given;
}

size_t
lab_huge_purge(size_t enough)
{
	const struct lab_huge_part *part;
	size_t given = 0;

	for (size_t i = 0; (part = lab_huge_part_at(i)) != NULL; i++)
		for (size_t word = 0; word < part->count / 64; word++)
			/* pairs with lab_huge_cache */
			for (uint64_t bits = lab_load_acq(&part->cached[word]); bits && given < enough;
			     bits &= bits - 1)
				given += lab_huge_give_back(&part->entries[word * 64 + lab_ctz(bits)], enough - given,
				                            NULL);
	return given;
}
