/* compiler.c - the few lines of assembler in base/compiler.h. */
#include <criterion/criterion.h>

#include "base/compiler.h"
#include "trace.h"

Test(compiler, insert16_replaces_the_low_half)
{
	struct trace_random random = {1};

	for (int i = 0; i < 100000; i++) {
		uint32_t word = (uint32_t)trace_next(&random);
		uint16_t low = (uint16_t)trace_next(&random);
		REQUIRE(lab_insert16(word, low) == ((word & 0xffff0000u) | low));
	}
}

static LAB_NOINLINE uintptr_t
stack_pointer_below(void)
{
	uintptr_t sp = 0;

	lab_store_stack_pointer(&sp);
	__asm__ volatile("" : : : "memory"); /* no tail call */
	return sp;
}

Test(compiler, stack_pointer_is_even_below_the_caller_and_below_the_thread)
{
	uintptr_t here = (uintptr_t)__builtin_frame_address(0), there = stack_pointer_below();

	cr_assert_eq(there % 8, 0, "INV-THREAD-1: a busy word is never taken for an idle one");
	cr_assert_lt(there, here);
	cr_assert_lt(here - there, (uintptr_t)1 << 16);
}
