/*
 * unit.c - the arithmetic by which free() checks a pointer: INV-UNIT-1 and INV-UNIT-2, exhaustively for all classes and
 * all offsets in a span, and for wild values.
 */
#include <criterion/criterion.h>

#include "heap/thread.h"
#include "page/unit.h"
#include "trace.h"

#define BASE ((uintptr_t)0x7f1234560000)
#define HEAP ((uintptr_t)0x7f0000020000)
#define FAST LAB_WORD_FAST

static struct lab_unit
make_unit(unsigned c, uint64_t carved)
{
	size_t size = lab_class_size(c);
	struct lab_unit unit = {
	        .carved = carved,
	        .size_class = (uint8_t)c,
	        .shift = (uint8_t)lab_ctz(size),
	        .owner_key = (HEAP | LAB_UNIT_OPEN) + BASE,
	        .base = (char *)BASE,
	};

	unit.inverse = lab_inverse_odd(size >> unit.shift);
	return unit;
}

/* What lab_free_fast asks. */
static bool
passes(const struct lab_unit *unit, uintptr_t p, uintptr_t word)
{
	return lab_unit_block_number(p + word - unit->owner_key, unit->inverse, unit->shift) < unit->carved;
}

Test(unit, the_number_of_a_block_is_exact_for_every_class_limit_and_offset)
{
	for (unsigned c = 0; c < LAB_CLASS_COUNT; c++) {
		size_t size = lab_class_size(c), capacity = LAB_UNIT_SIZE / size;
		const uint64_t limits[] = {0, 1, capacity / 2, capacity - 1, capacity};
		for (unsigned i = 0; i < sizeof limits / sizeof *limits; i++) {
			struct lab_unit unit = make_unit(c, limits[i]);
			for (uint64_t n = 0; n < LAB_UNIT_SIZE; n++) {
				bool expected = n % size == 0 && n / size < limits[i];
				REQUIRE(passes(&unit, BASE + n, HEAP | FAST) == expected);
				REQUIRE(lab_unit_is_block(&unit, (void *)(BASE + n)) == expected);
				if (expected)
					REQUIRE_EQUAL(lab_unit_block_number(n, unit.inverse, unit.shift), n / size);
			}
		}
	}
}

/* INV-UNIT-2 for all 64-bit numbers: the small results belong to the multiples alone. */
Test(unit, wild_numbers_are_no_blocks)
{
	struct trace_random random = {1};

	for (unsigned c = 0; c < LAB_CLASS_COUNT; c++) {
		size_t size = lab_class_size(c);
		struct lab_unit unit = make_unit(c, LAB_UNIT_SIZE / size);
		for (int i = 0; i < 50000; i++) {
			uint64_t n = trace_next(&random) >> trace_below(&random, 64);
			if (i % 2)
				n = -n;
			bool expected = n < LAB_UNIT_SIZE / size * size && n % size == 0;
			REQUIRE((lab_unit_block_number(n, unit.inverse, unit.shift) < unit.carved) == expected);
			REQUIRE(passes(&unit, BASE + n, HEAP | FAST) == expected);
		}
		for (uint64_t n = size; n > size - 64 && n != 0;
		     n--) /* next to a block, above and below the whole range */
			REQUIRE(lab_unit_block_number(n, unit.inverse, unit.shift) < unit.carved ? n == size : true);
	}
}

Test(unit, a_bijection_sends_multiples_to_their_number)
{
	struct trace_random random = {2};

	for (unsigned c = 0; c < LAB_CLASS_COUNT; c++) {
		size_t size = lab_class_size(c);
		struct lab_unit unit = make_unit(c, 1);
		for (int i = 0; i < 1000; i++) {
			uint64_t q = trace_next(&random) >> (16 + unit.shift); /* no overflow of q * size */
			REQUIRE_EQUAL(lab_unit_block_number(q * size, unit.inverse, unit.shift), q);
		}
	}
}

/* The thread's word says busy or unborn: no pointer passes. */
Test(unit, no_pointer_passes_while_the_heap_is_busy_or_unborn)
{
	struct trace_random random = {3};

	for (unsigned c = 0; c < LAB_CLASS_COUNT; c++) {
		size_t size = lab_class_size(c);
		struct lab_unit unit = make_unit(c, LAB_UNIT_SIZE / size);
		for (uint64_t n = 0; n < LAB_UNIT_SIZE; n += 8) {
			uintptr_t sp = (trace_next(&random) >> 16) & ~(uintptr_t)7;
			REQUIRE(!passes(&unit, BASE + n, 0));
			REQUIRE(!passes(&unit, BASE + n, sp));
			REQUIRE(!passes(&unit, BASE + n, HEAP - n));
			REQUIRE(!passes(&unit, BASE + n, HEAP + n));
		}
	}
}

/* Not even one that lies between two blocks: free() of such a one is to be reported, whatever the mode. */
Test(unit, no_pointer_passes_in_slow_mode)
{
	for (unsigned c = 0; c < LAB_CLASS_COUNT; c++) {
		struct lab_unit unit = make_unit(c, LAB_UNIT_SIZE / lab_class_size(c));
		for (uint64_t n = 0; n < LAB_UNIT_SIZE; n++)
			REQUIRE(!passes(&unit, BASE + n, HEAP | LAB_WORD_SLOW));
	}
}

Test(unit, a_closed_span_lets_no_pointer_pass_but_knows_its_blocks_and_heap)
{
	for (unsigned c = 0; c < LAB_CLASS_COUNT; c++) {
		size_t size = lab_class_size(c);
		struct lab_unit unit = make_unit(c, LAB_UNIT_SIZE / size);
		cr_assert_eq((uintptr_t)lab_unit_heap(&unit), HEAP);
		unit.owner_key |= LAB_UNIT_CLOSED;
		cr_assert_eq((uintptr_t)lab_unit_heap(&unit), HEAP);
		for (uint64_t n = 0; n < LAB_UNIT_SIZE; n++) {
			REQUIRE(!passes(&unit, BASE + n, HEAP | FAST));
			REQUIRE(lab_unit_is_block(&unit, (void *)(BASE + n)) ==
			        (n % size == 0 && n / size < unit.carved));
		}
	}
}

/* Every other heap, and every pointer that shares the descriptor: they differ by multiples of the window's size. */
static void
check_other_heaps(const struct lab_unit *unit, uint64_t window, uint64_t n)
{
	uint64_t slots = LAB_HEAP_MAX;
	uint64_t step = slots / 97 + 1;

	for (int64_t alias = -3; alias <= 3; alias++)
		for (uint64_t delta = 0; delta < slots; delta += delta < 4 || delta > slots - 4 ? 1 : step) {
			uintptr_t p = BASE + n + (uint64_t)alias * window;
			bool expected = delta == 0 && alias == 0;
			REQUIRE(passes(unit, p, (HEAP + delta * LAB_HEAP_STRIDE) | FAST) == expected);
			REQUIRE(passes(unit, p, (HEAP - delta * LAB_HEAP_STRIDE) | FAST) == expected);
		}
}

Test(unit, other_heaps_and_aliases_of_windows_of_every_size)
{
	for (unsigned c = 0; c < LAB_CLASS_COUNT; c += 5) {
		size_t size = lab_class_size(c), capacity = LAB_UNIT_SIZE / size;
		struct lab_unit unit = make_unit(c, capacity);
		for (uint64_t window = UINT64_C(4) << 30; window <= UINT64_C(1) << 44; window *= 8) {
			check_other_heaps(&unit, window, 0);
			check_other_heaps(&unit, window, capacity / 2 * size);
			check_other_heaps(&unit, window, (capacity - 1) * size);
		}
	}
}

Test(unit, a_descriptor_that_was_never_used_has_no_blocks)
{
	const struct lab_unit never = {0};
	struct trace_random random = {4};

	for (int i = 0; i < 100000; i++) {
		uint64_t wild = trace_next(&random) >> trace_below(&random, 64);
		REQUIRE(!lab_unit_is_block(&never, (void *)wild));
		REQUIRE(!passes(&never, wild, HEAP | FAST));
	}
}
