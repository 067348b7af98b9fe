/* sparse.c - see sparse.h. */
#include "heap/sparse.h"
#include "base/check.h"
#include "heap/bin.h"
#include "heap/span.h"
#include "os/os.h"
#include "page/map.h"
#include "page/sweep.h"

#define BLOCKS_MAX (LAB_UNIT_SIZE / 16)

/* A look at a span is 1. */
enum {
	WORK_OF_PAGE = 4, /* that is given back */
	BLOCKS_A_WORK = 32,
	REST = 31, /* rounds that are left out after the system has refused pages: locked ones, say */
};

/* Carved blocks that lie in a page, even in part: [first, end). */
struct range {
	uint32_t first, end;
};

static struct range
blocks_in(const struct lab_unit *unit, uint32_t page)
{
	uint32_t first = (page << LAB_PAGE_SHIFT) / unit->size, carved = (uint32_t)unit->carved;
	uint32_t end = (((page + 1) << LAB_PAGE_SHIFT) - 1) / unit->size + 1;

	return (struct range){first, end < carved ? end : carved};
}

/* The blocks that are free, listed or in purged pages, as bits. False: they are not as many as the span's count says.
 * The list is damaged then, and may lead to blocks in use, or a tear has lost blocks. */
static bool
find_free_blocks(const struct lab_unit *unit, uint32_t freelist_state, uint64_t is_free[BLOCKS_MAX / 64])
{
	size_t found = 0;

	for (size_t word = 0; word < (unit->carved + 63) / 64; word++)
		is_free[word] = 0;
	for (uint32_t i = 0; lab_unit_purged(unit) && i < unit->carved; i++)
		is_free[i / 64] |= (uint64_t)lab_unit_is_purged(unit, i) << (i % 64);
	for (uint32_t at = lab_freelist_head(freelist_state); at != LAB_FREELIST_NIL;
	     at = lab_block_link(lab_unit_block(unit, at))) {
		uint64_t bit = UINT64_C(1) << (at % 64);
		if (at >= unit->carved || is_free[at / 64] & bit)
			return false;
		is_free[at / 64] |= bit;
	}
	for (size_t word = 0; word < (unit->carved + 63) / 64; word++)
		found += (size_t)__builtin_popcountll(is_free[word]);
	return found == unit->carved - lab_unit_used_in(unit, freelist_state);
}

static bool
are_free(const uint64_t is_free[BLOCKS_MAX / 64], struct range range)
{
	for (uint32_t i = range.first; i < range.end;) {
		uint32_t end = (i | 63) + 1 < range.end ? (i | 63) + 1 : range.end;
		uint64_t wanted = lab_mask(end - i) << (i % 64);
		if ((is_free[i / 64] & wanted) != wanted)
			return false;
		i = end;
	}
	return true;
}

/* The pages that have carved blocks and no others, and not one that is used; 0 if the list is damaged. */
static uint32_t
find_free_pages(const struct lab_unit *unit, uint32_t freelist_state)
{
	uint64_t is_free[BLOCKS_MAX / 64];
	size_t bytes = unit->carved * unit->size;
	/* where there is more to be carved its first page stays: a block that is carved there is in no purged page */
	size_t end = unit->carved == lab_unit_capacity(unit) ? lab_round_up(bytes, LAB_PAGE_SIZE) : bytes;
	uint32_t pages = 0;

	if (!find_free_blocks(unit, freelist_state, is_free))
		return 0;
	for (uint32_t page = 0; page < end / LAB_PAGE_SIZE; page++)
		if (are_free(is_free, blocks_in(unit, page)))
			pages |= 1u << page;
	return pages;
}

static void
set_link(const struct lab_unit *unit, uint32_t *freelist_state, uint32_t from, uint16_t to)
{
	if (from == LAB_FREELIST_NIL)
		lab_poke(freelist_state, lab_insert16(*freelist_state, to));
	else
		lab_poke((uint16_t *)lab_unit_block(unit, from), to);
}

/* Takes the blocks of purged pages off the list. Each store leaves a list that is right; repeatable. */
static void
unlink_purged(const struct lab_unit *unit, uint32_t *freelist_state)
{
	uint32_t kept = LAB_FREELIST_NIL, at = lab_freelist_head(*freelist_state);
	bool has_passed = false;

	for (size_t n = 0; at < unit->carved && n < unit->carved; n++) {
		if (lab_unit_is_purged(unit, at)) {
			has_passed = true;
		} else {
			if (has_passed)
				set_link(unit, freelist_state, kept, (uint16_t)at);
			has_passed = false;
			kept = at;
		}
		at = lab_block_link(lab_unit_block(unit, at));
	}
	if (has_passed)
		set_link(unit, freelist_state, kept, (uint16_t)at);
}

static void
end_thinning(struct lab_heap *heap, uint32_t *freelist_state)
{
	unlink_purged(heap->thinning.unit, freelist_state);
	lab_compiler_barrier();
	heap->thinning.unit = NULL;
}

void
lab_sparse_repair_owned(struct lab_heap *heap)
{
	if (heap->thinning.unit)
		end_thinning(heap, &heap->thinning.unit->freelist_state);
}

/* Cut short after `unit` is cleared: the pages are carved again without having been purged. */
size_t
lab_sparse_thin_owned(struct lab_heap *heap, struct lab_unit *unit, uint32_t *freelist_state, size_t *tried)
{
	uint32_t pages = find_free_pages(unit, *freelist_state) & ~lab_unit_purged(unit);
	bool is_listed = unit->listed;

	*tried = (size_t)__builtin_popcount(pages);
	if (!pages)
		return 0;
	heap->thinning.unit = unit;
	lab_compiler_barrier();
	if (is_listed)
		lab_bin_remove(&heap->bins[unit->size_class], unit);
	lab_unit_set_purged(unit, lab_unit_purged(unit) | pages);
	if (is_listed)
		lab_bin_push(&heap->bins[unit->size_class], unit); /* cold */
	lab_compiler_barrier();
	end_thinning(heap, freelist_state);
	lab_compiler_barrier();
	/* what the system refuses stays as it is: it counts as purged all the same */
	return lab_span_purge(unit, pages);
}

/* A walk over the heap's spans: what it is to take, and how far it may go. */
struct walk {
	struct lab_heap *heap;
	bool young;   /* also spans that were not sparse in the round before */
	size_t work;  /* that may still be done */
	size_t given; /* pages */
};

static void
spend(struct walk *walk, size_t work)
{
	walk->work -= work < walk->work ? work : walk->work;
}

static void
thin(struct walk *walk, struct lab_unit *unit)
{
	size_t tried, given = lab_sparse_thin_owned(walk->heap, unit, &unit->freelist_state, &tried);

	walk->given += given;
	spend(walk, tried * WORK_OF_PAGE);
	if (given != tried)
		walk->heap->thinning.rest = REST;
}

/* How many times the blocks could be quartered before there are fewer than are used. */
static unsigned
sparsity(const struct lab_unit *unit)
{
	uint32_t capacity = lab_unit_capacity(unit), used = capacity - lab_span_left(unit);

	return lab_log2(capacity / (used ? used : 1)) / 2;
}

/* What visitors have found is free from here on. False: so is the whole span, which has gone. */
static bool
free_collected(struct lab_heap *heap, struct lab_unit *unit)
{
	lab_bin_remove(&heap->bins[unit->size_class], unit);
	lab_span_list_owned(heap, unit);
	return lab_unit_used(unit) != 0 || lab_span_emptied_owned(heap, unit) != LAB_FREED;
}

static void
look_at_span(struct walk *walk, struct lab_unit *unit)
{
	unsigned now = sparsity(unit);

	if (walk->young)
		walk->given += lab_span_purge_tail_owned(unit);
	if (!unit->listed)
		return;
	lab_poke(&walk->heap->thinning.due, true); /* what it is not now it may become, by fast frees */
	if (now <= unit->examined)
		return;
	if (!unit->aged && !walk->young) {
		unit->aged = true;
		return;
	}
	unit->examined = (uint8_t)now & 15;
	unit->aged = false;
	if (lab_unlikely(lab_unit_count_collected(unit) != 0) && !free_collected(walk->heap, unit))
		return;
	spend(walk, unit->carved / BLOCKS_A_WORK);
	thin(walk, unit);
}

/* Where the last span of it goes the segment may, too: then it is another owner's. */
static void
look_at_segment(struct walk *walk, const struct lab_segment *segment, uint64_t owner)
{
	for (size_t page = 0; page < lab_segment_pages(segment) && lab_load_rlx(lab_segment_owner(segment)) == owner;
	     page += LAB_UNIT_PAGES) {
		struct lab_unit *unit = lab_map_unit(segment->base + page * LAB_PAGE_SIZE);
		if (lab_unit_kind_of(unit) == LAB_UNIT_IS_SPAN)
			look_at_span(walk, unit);
		spend(walk, 1);
	}
}

/* From where the last walk ended. True: to the end of the heap; the next one begins again. */
static bool
go_on(struct walk *walk)
{
	struct lab_thinning *thinning = &walk->heap->thinning;
	const struct lab_segment *segment;
	uint64_t owner;

	while (walk->work != 0) {
		segment = lab_space_next(&thinning->hand, &owner);
		if (!segment) {
			thinning->hand = 0;
			break;
		}
		if (lab_owner_state(owner) == LAB_SLOT_OWNED && lab_owner_heap(owner) == walk->heap->id)
			look_at_segment(walk, segment, owner);
		else
			spend(walk, 1);
	}
	lab_count_given_back_in_use(walk->given);
	return thinning->hand == 0;
}

bool
lab_sparse_look_owned(struct lab_heap *heap, uint64_t now, uint64_t period)
{
	struct lab_thinning *thinning = &heap->thinning;
	struct walk walk = {.heap = heap, .work = LAB_SLICE_PAGES * WORK_OF_PAGE};

	lab_assert(heap->whole == LAB_HEAP_TORN); /* cut short here, it is rebuilt: INV-HEAP-4 */
	if (!thinning->is_on && now - thinning->begun_at >= period) {
		lab_poke(&thinning->begun_at, now);
		if (thinning->rest != 0) {
			thinning->rest--;
			return false;
		}
		lab_poke(&thinning->is_on, true);
		lab_poke(&thinning->due, false);
		thinning->hand = 0;
	}
	if (thinning->is_on && go_on(&walk))
		lab_poke(&thinning->is_on, false);
	return walk.given != 0;
}

void
lab_sparse_give_all_owned(struct lab_heap *heap)
{
	struct walk walk = {.heap = heap, .young = true, .work = SIZE_MAX};

	lab_assert(heap->whole == LAB_HEAP_TORN); /* cut short here, it is rebuilt: INV-HEAP-4 */
	heap->thinning.hand = 0;
	(void)go_on(&walk);
}

/* Whether the block is in none of the span's purged pages if only these are such. */
static bool
is_out_of(const struct lab_unit *unit, uint32_t pages, uint32_t number)
{
	return (lab_unit_pages_of(unit, number) & pages) == 0;
}

/* The pages that stay purged when the lowest do not any more, until a block is in none. *range: where such blocks
 * are. */
static uint32_t
find_rest(const struct lab_unit *unit, struct range *range)
{
	uint32_t pages = lab_unit_purged(unit);

	while (pages) {
		*range = blocks_in(unit, lab_ctz(pages));
		pages &= pages - 1;
		for (uint32_t i = range->first; i < range->end; i++)
			if (is_out_of(unit, pages, i))
				return pages;
	}
	lab_assert(false); /* INV-SPAN-4 */
	return pages;
}

bool
lab_sparse_carve_owned(struct lab_heap *heap, struct lab_unit *unit)
{
	uint32_t last = LAB_FREELIST_NIL, first = LAB_FREELIST_NIL;
	struct range range = {0, 0};
	uint32_t pages = find_rest(unit, &range), now = lab_unit_purged(unit) & ~pages;

	if (!lab_span_charge_owned(heap, unit, lab_ctz(now) * LAB_PAGE_SIZE, (lab_log2(now) + 1) * LAB_PAGE_SIZE))
		return false;
	for (uint32_t i = range.first; i < range.end; i++) {
		if (!is_out_of(unit, pages, i))
			continue;
		if (last == LAB_FREELIST_NIL)
			first = i;
		else
			lab_poke((uint16_t *)lab_unit_block(unit, last), (uint16_t)i);
		last = i;
	}
	lab_poke((uint16_t *)lab_unit_block(unit, last), (uint16_t)LAB_FREELIST_NIL);
	/* The store to `purged` is the claim: torn after it, these blocks are lost; torn before it, nothing has
	 * happened. */
	lab_compiler_barrier();
	lab_unit_set_purged(unit, pages);
	lab_compiler_barrier();
	lab_poke(&unit->freelist_state, lab_insert16(unit->freelist_state, (uint16_t)first));
	return true;
}
