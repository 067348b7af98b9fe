/* reserve.c - the emergency reserve: capacity, alignment, overlap, releases. The claim storm is in reserve/storm.c. */
#include <criterion/criterion.h>

#include "reserve/reserve.h"
#include "trace.h"

static const struct {
	size_t size, count;
} classes[] = {{64, 64}, {256, 64}, {1024, 64}, {4096, 32}, {16384, 8}, {65536, 4}};
enum { CLASSES = sizeof classes / sizeof *classes, SLOTS = 64 * 3 + 32 + 8 + 4 };

static struct trace_block blocks[SLOTS + 1];

/* Claims slots until there are none; returns how many. */
static size_t
claim_all(size_t size, size_t align)
{
	size_t n = 0;
	unsigned char *p;

	while ((p = lab_reserve_claim_sig(size, align, LAB_DEPTH_MIN)) != NULL) {
		REQUIRE(n < SLOTS);
		REQUIRE((uintptr_t)p % align == 0);
		REQUIRE(lab_reserve_contains(p));
		size_t slot = lab_reserve_slot_size(p);
		REQUIRE(slot >= size);
		blocks[n] = (struct trace_block){p, slot, (uint32_t)n};
		trace_fill(p, slot, (uint32_t)n++);
	}
	return n;
}

static void
release_all(size_t n)
{
	while (n-- > 0) {
		REQUIRE(trace_reads_as(blocks[n].p, blocks[n].size, blocks[n].size, blocks[n].seed));
		REQUIRE(lab_reserve_release_sig(blocks[n].p) == LAB_RESERVE_RELEASED);
	}
	REQUIRE(lab_reserve_used() == 0);
}

/* Slots of at least `size` bytes. */
static size_t
capacity(size_t size)
{
	size_t n = 0;

	for (unsigned c = 0; c < CLASSES; c++)
		if (classes[c].size >= size)
			n += classes[c].count;
	return n;
}

Test(reserve, every_slot_can_be_had_once_and_holds_its_bytes)
{
	static const size_t sizes[] = {0,    1,    63,   64,   65,    256,   257,   1000,  1024,
	                               1025, 4096, 4097, 9999, 16384, 16385, 65535, 65536, 65537};
	for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; i++) {
		size_t n = claim_all(sizes[i], 16);
		cr_assert_eq(n, capacity(sizes[i]), "size %zu: %zu slots", sizes[i], n);
		cr_assert_null(lab_reserve_claim_sig(sizes[i], 16, LAB_DEPTH_MIN));
		release_all(n);
	}
}

Test(reserve, slots_are_aligned_to_what_is_asked_for)
{
	for (size_t align = 1; align <= 4096; align *= 2) {
		size_t n = claim_all(1, align);
		cr_assert_eq(n, capacity(align));
		release_all(n);
	}
	cr_assert_null(lab_reserve_claim_sig(1, 8192, LAB_DEPTH_MIN), "more than the pool's own alignment");
}

Test(reserve, the_least_class_that_fits_comes_first)
{
	for (unsigned c = 0; c < CLASSES; c++) {
		void *p = lab_reserve_claim_sig(classes[c].size, 16, LAB_DEPTH_MIN);
		cr_assert_eq(lab_reserve_slot_size(p), classes[c].size);
		cr_assert_eq(lab_reserve_used(), classes[c].size);
		cr_assert_eq(lab_reserve_release_sig(p), LAB_RESERVE_RELEASED);
	}
}

Test(reserve, bad_releases_are_told_and_change_nothing)
{
	size_t n = claim_all(1, 1);

	cr_assert_eq(n, SLOTS);
	cr_assert_eq(lab_reserve_used(), lab_reserve_total());
	for (size_t i = 0; i < n; i++)
		for (size_t offset = 16; offset < blocks[i].size; offset += blocks[i].size / 16) {
			char *inside = (char *)blocks[i].p + offset;
			cr_assert(lab_reserve_contains(inside));
			cr_assert_eq(lab_reserve_slot_size(inside), 0);
			cr_assert_eq(lab_reserve_release_sig(inside), LAB_RESERVE_NOT_A_SLOT);
		}
	cr_assert_eq(lab_reserve_used(), lab_reserve_total());
	for (size_t i = 0; i < n; i += 3) {
		cr_assert_eq(lab_reserve_release_sig(blocks[i].p), LAB_RESERVE_RELEASED);
		cr_assert_eq(lab_reserve_release_sig(blocks[i].p), LAB_RESERVE_WAS_FREE);
		cr_assert_eq(lab_reserve_slot_size(blocks[i].p), 0);
	}
	for (size_t i = 1; i < n; i += 3)
		cr_assert_eq(lab_reserve_slot_size(blocks[i].p), blocks[i].size);
}

Test(reserve, other_memory_is_not_contained)
{
	char local;
	char *first = lab_reserve_claim_sig(65536, 4096, LAB_DEPTH_MIN);

	cr_assert(lab_reserve_contains(first));
	cr_assert(!lab_reserve_contains(NULL));
	cr_assert(!lab_reserve_contains(&local));
	cr_assert(!lab_reserve_contains(first - 1), "the largest slots come first");
	cr_assert(!lab_reserve_contains((void *)UINTPTR_MAX));
	cr_assert_eq(lab_reserve_slot_size(&local), 0);
	cr_assert(!lab_reserve_contains(first + lab_reserve_total()));
	cr_assert(lab_reserve_contains(first + lab_reserve_total() - 1));
}

Test(reserve, random_claims_and_releases)
{
	struct trace_random random = {5};
	size_t live = 0, used = 0;

	for (int step = 0; step < 200000; step++) {
		if (live < SLOTS && trace_below(&random, 2)) {
			size_t size = trace_skewed(&random, 16);
			unsigned char *p = lab_reserve_claim_sig(size, 16, LAB_DEPTH_MIN);
			if (!p)
				continue;
			size_t slot = lab_reserve_slot_size(p);
			blocks[live] = (struct trace_block){p, size, (uint32_t)step};
			trace_fill(p, size, (uint32_t)step);
			used += slot;
			live++;
		} else if (live > 0) {
			struct trace_block *block = &blocks[trace_below(&random, live)];
			used -= lab_reserve_slot_size(block->p);
			REQUIRE(trace_reads_as(block->p, block->size, block->size, block->seed));
			REQUIRE(lab_reserve_release_sig(block->p) == LAB_RESERVE_RELEASED);
			*block = blocks[--live];
		}
		REQUIRE(lab_reserve_used() == used);
	}
}
