/* buddy.c - page/buddy.h against a naive model: exhaustively for every pattern of 16 bits, and for random words. */
#include <criterion/criterion.h>

#include "page/buddy.h"
#include "trace.h"

/* Whether the 2^order bits from `start` on are all zero. */
static bool
is_free(uint64_t taken, unsigned start, unsigned order)
{
	for (unsigned i = start; i < start + (1u << order); i++)
		if (taken >> i & 1)
			return false;
	return true;
}

static void
check_word(uint64_t taken)
{
	int greatest = -1;

	for (unsigned order = 0; order <= LAB_BUDDY_WORD_ORDER; order++) {
		uint64_t starts = 0;
		unsigned first = LAB_BUDDY_NONE;
		for (unsigned start = 0; start < 64; start += 1u << order) {
			if (!is_free(taken, start, order))
				continue;
			starts |= UINT64_C(1) << start;
			if (first == LAB_BUDDY_NONE)
				first = start;
			greatest = (int)order;
		}
		REQUIRE_EQUAL(lab_buddy_starts(taken, order), starts);
		REQUIRE_EQUAL(lab_buddy_find(taken, order), first);
	}
	REQUIRE(lab_buddy_greatest(taken) == greatest);
}

/* Pages in a row, aligned or not. */
static void
check_runs(uint64_t taken, unsigned count)
{
	uint64_t starts = lab_buddy_runs(taken, count);
	unsigned length = 0; /* free bits from `start` on, counted from the top */
	unsigned longest = 0;

	for (unsigned start = 64; start-- > 0;) {
		length = taken >> start & 1 ? 0 : length + 1;
		longest = length > longest ? length : longest;
		if (start + count <= 64)
			REQUIRE((starts >> start & 1) == (length >= count));
	}
	REQUIRE_EQUAL(lab_buddy_longest(taken), longest);
}

Test(buddy, every_pattern_of_16_bits_among_free_and_among_taken_ones)
{
	for (uint64_t bits = 0; bits < 1 << 16; bits++)
		for (unsigned shift = 0; shift <= 48; shift += 16) {
			check_word(bits << shift);
			if (shift % 32 == 0)
				check_word(bits << shift | ~(UINT64_C(0xffff) << shift));
		}
}

Test(buddy, random_words_of_every_density)
{
	struct trace_random random = {1};

	for (int i = 0; i < 50000; i++) {
		uint64_t sparse = ~UINT64_C(0), dense = 0;
		for (size_t n = trace_below(&random, 7); n > 0; n--) {
			sparse &= trace_next(&random);
			dense |= trace_next(&random);
		}
		check_word(sparse);
		check_word(dense);
	}
	check_word(0);
	check_word(~UINT64_C(0));
}

Test(buddy, runs_of_every_length)
{
	struct trace_random random = {3};

	for (int i = 0; i < 3000; i++) {
		uint64_t taken = ~UINT64_C(0);
		for (size_t n = trace_below(&random, 7); n > 0; n--)
			taken &= trace_next(&random);
		for (unsigned count = 1; count <= 64; count++)
			check_runs(i == 0 ? 0 : taken, count);
		for (unsigned count = 1; count < 64; count++) /* one row of each length */
			check_runs(~(lab_mask(count) << trace_below(&random, 65 - count)), count);
	}
}

/* Split and merge as the textbook has them: a trace of allocations against a model that keeps a list of each order. */
struct model {
	bool is_free[LAB_BUDDY_WORD_ORDER + 1][64];
};

static unsigned
model_take(struct model *model, unsigned order)
{
	for (unsigned start = 0; start < 64; start++) { /* lowest address first, whatever must be split */
		for (unsigned o = order; o <= LAB_BUDDY_WORD_ORDER; o++) {
			if (!model->is_free[o][start])
				continue;
			model->is_free[o][start] = false;
			while (o-- > order)
				model->is_free[o][start + (1u << o)] = true;
			return start;
		}
	}
	return LAB_BUDDY_NONE;
}

static void
model_give(struct model *model, unsigned start, unsigned order)
{
	while (order < LAB_BUDDY_WORD_ORDER && model->is_free[order][start ^ 1u << order]) {
		model->is_free[order][start ^ 1u << order] = false;
		start &= ~(1u << order);
		order++;
	}
	model->is_free[order][start] = true;
}

Test(buddy, a_long_trace_places_blocks_as_lists_of_buddies_do)
{
	struct trace_random random = {2};
	struct model model = {0};
	uint64_t taken = 0;
	struct {
		unsigned start, order;
	} blocks[64];
	size_t live = 0;

	model.is_free[LAB_BUDDY_WORD_ORDER][0] = true;
	for (int step = 0; step < 300000; step++) {
		if (live < 64 && trace_below(&random, 2)) {
			unsigned order = (unsigned)trace_below(&random, LAB_BUDDY_WORD_ORDER);
			unsigned start = lab_buddy_find(taken, order);
			REQUIRE_EQUAL(start, model_take(&model, order));
			if (start == LAB_BUDDY_NONE)
				continue;
			taken |= lab_mask(1u << order) << start;
			blocks[live].start = start;
			blocks[live++].order = order;
		} else if (live > 0) {
			size_t victim = trace_below(&random, live);
			taken &= ~(lab_mask(1u << blocks[victim].order) << blocks[victim].start);
			model_give(&model, blocks[victim].start, blocks[victim].order);
			blocks[victim] = blocks[--live];
		}
	}
}
