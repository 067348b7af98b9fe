/* huge_cached.c - mappings that are in a frame's hands or nobody's: reuse, and what goes back. See huge.h. */
#include "os/os.h"
#include "page/huge_table.h"
#include "page/purge.h"

/* ---- HELD ------------------------------------------------------------------------------------------------------------------------ */

void
lab_huge_note(struct lab_huge_hand *hand, struct lab_huge *huge, uint64_t state)
{
	hand->state = state;
	lab_compiler_barrier();
	hand->huge = huge;
	lab_compiler_barrier();
}

static bool
hold(struct lab_huge *huge, uint64_t state, uint32_t tid, struct lab_huge_hand *hand)
{
	uint64_t held = lab_lease_next(state, tid, LAB_HUGE_HELD);

	hand->huge = NULL;
	lab_compiler_barrier();
	lab_huge_note(hand, huge, held);
	return lab_cas64(&huge->run.state, state, held);
}

void
lab_huge_let_go(struct lab_huge_hand *hand)
{
	lab_compiler_barrier();
	hand->huge = NULL;
	lab_compiler_barrier();
}

/* ---- CACHED: a bit says where one may be ------------------------------------------------------------------------------------------ */

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

/* After the state: whoever clears the bit looks at the state again. */
static void
show(const struct lab_huge *huge)
{
	uint64_t bit;
	_Atomic uint64_t *word = cached_word(huge, &bit);

	atomic_fetch_or(word, bit);
}

static void
hide(const struct lab_huge *huge)
{
	uint64_t bit;
	_Atomic uint64_t *word = cached_word(huge, &bit);

	atomic_fetch_and(word, ~bit);
	if (lab_huge_kind_of(atomic_load(&huge->run.state)) == LAB_HUGE_CACHED)
		atomic_fetch_or(word, bit);
}

void
lab_huge_cache(struct lab_huge *huge)
{
	lab_store_rlx(&huge->aged, false);
	lab_huge_set_state(huge, LAB_HUGE_CACHED);
	show(huge);
}

_Atomic bool lab_huge_unmap_is_refused;

/* Not where a block would pin much that it does not use; but where nothing goes back, what is kept is used before more is mapped. */
static bool
fits(const struct lab_huge *huge, size_t pages, size_t align)
{
	size_t mapped = lab_load_rlx(&huge->mapped);
	bool stays = lab_load_rlx(&lab_purge_is_held) || lab_load_rlx(&lab_huge_unmap_is_refused);

	return mapped >= pages && (mapped - pages <= pages / 4 || stays) && (uintptr_t)lab_load_rlx(&huge->base) % align == 0;
}

/* The one of a word's that fits most closely, if it does so more than `best`. *state: as it was then. */
static struct lab_huge *
best_of_word(const struct lab_huge_part *part, size_t word, size_t pages, size_t align, struct lab_huge *best, uint64_t *state)
{
	for (uint64_t bits = lab_load_acq(&part->cached[word]); bits; bits &= bits - 1) {
		struct lab_huge *huge = &part->entries[word * 64 + lab_ctz(bits)];
		uint64_t now = lab_load_acq(&huge->run.state);
		if (lab_huge_kind_of(now) != LAB_HUGE_CACHED) {
			hide(huge);
		} else if (fits(huge, pages, align) && (!best || lab_load_rlx(&huge->mapped) < lab_load_rlx(&best->mapped))) {
			best = huge;
			*state = now;
		}
	}
	return best;
}

struct lab_huge *
lab_huge_take(size_t pages, size_t align, uint32_t tid, struct lab_huge_hand *hand)
{
	const struct lab_huge_part *part;
	struct lab_huge *best;
	uint64_t state = 0;

	do {
		best = NULL;
		for (size_t i = 0; (part = lab_huge_part_at(i)) != NULL; i++)
			for (size_t word = 0; word < part->count / 64; word++)
				best = best_of_word(part, word, pages, align, best, &state);
	} while (best && !hold(best, state, tid, hand)); /* fails if another frame has taken it */
	if (!best)
		lab_huge_let_go(hand);
	else
		hide(best);
	return best;
}

void
lab_huge_put_back(struct lab_huge_hand *hand)
{
	struct lab_huge *huge = hand->huge;

	if (!huge)
		return;
	if (lab_cas64(&huge->run.state, hand->state, lab_huge_next_state(hand->state, LAB_HUGE_CACHED))) {
		show(huge);
		lab_purge_note();
	}
	lab_huge_let_go(hand);
}

/* ---- what is CACHED goes back ------------------------------------------------------------------------------------------------------ */

/* The pages first: a frame that is cut short has given them back at least. */
static size_t
give_back(struct lab_huge *huge, struct lab_huge_hand *hand)
{
	size_t dirty = lab_load_rlx(&huge->dirty), left = dirty;

	hide(huge);
	if (dirty != 0 && lab_os.purge(lab_load_rlx(&huge->base), dirty << LAB_PAGE_SHIFT)) {
		lab_store_rlx(&huge->dirty, 0);
		left = 0;
	}
	return lab_huge_unmap(huge, hand) ? dirty : dirty - left;
}

size_t
lab_huge_purge(bool young, size_t enough, uint32_t tid, struct lab_huge_hand *hand)
{
	struct lab_huge *huge;
	size_t given = 0;

	for (size_t i = 0; given < enough && (huge = lab_huge_at(i)) != NULL; i++) {
		uint64_t state = lab_load_acq(&huge->run.state);
		if (lab_huge_kind_of(state) != LAB_HUGE_CACHED || !(young || lab_load_rlx(&huge->aged)))
			continue;
		if (hold(huge, state, tid, hand))
			given += give_back(huge, hand);
		else
			lab_huge_let_go(hand);
	}
	return given;
}

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
		bool is_block = kind == LAB_HUGE_LIVE || kind == LAB_HUGE_FREEING || kind == LAB_HUGE_MOVING;
		if (kind != LAB_HUGE_FREE && kind != LAB_HUGE_MAKING && kind != LAB_HUGE_UNMAPPING)
			pages += is_block && length > dirty ? length : dirty;
	}
	return pages;
}

bool
lab_huge_age(void)
{
	struct lab_huge *huge;
	bool any = false;

	for (size_t i = 0; (huge = lab_huge_at(i)) != NULL; i++) {
		if (lab_huge_kind(huge) != LAB_HUGE_CACHED || lab_load_rlx(&huge->dirty) == 0)
			continue;
		lab_store_rlx(&huge->aged, true);
		any = true;
	}
	return any;
}
