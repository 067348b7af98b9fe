/*
 * stack.c - the stacks of the heap profile, by frame pointers alone: whatever a program that keeps none has in the
 * register.
 *
 * Clauses: G12.1.
 */
#include <criterion/criterion.h>

#include "alloc/allocate.h"
#include "insight/live.h"
#include "insight/sampler.h"
#include "insight/sites.h"
#include "os/os.h"

/* As lab_profile_start does, but for the unwinder: it would follow the register, too, where this file has it so. */
static void
begin(void)
{
	cr_assert(lab_sites_start());
	cr_assert(lab_live_start());
	lab_store_rlx(&lab_sample_distance, 1);
}

TestSuite(stack, .init = begin);

#ifdef __x86_64__
/* A caller without frame pointers has anything in the register. */
static void *
malloc_with_frame_pointer(uintptr_t value)
{
	void *block;

	/* below the red zone */
	__asm__ volatile("movq %%rsp, %%rbx\n\tleaq -256(%%rsp), %%rsp\n\tandq $-16, %%rsp\n\t"
	                 "pushq %%rbp\n\tpushq %%rbp\n\tmovq %1, %%rbp\n\tcall lab_malloc\n\t"
	                 "popq %%rbp\n\tpopq %%rbp\n\tmovq %%rbx, %%rsp"
	                 : "=a"(block)
	                 : "r"(value), "D"((size_t)200)
	                 : "rbx", "rcx", "rdx", "rsi", "r8", "r9", "r10", "r11", "memory", "cc", "xmm0", "xmm1", "xmm2",
	                   "xmm3", "xmm4", "xmm5", "xmm6", "xmm7");
	return block;
}

Test(stack, callers_without_frame_pointers)
{
	char *low = lab_os.map(3 * LAB_OS_PAGE_SIZE, LAB_ACCESS_NONE);
	uintptr_t stack = (uintptr_t)__builtin_frame_address(0);
	const uintptr_t values[] = {0,
	                            1,
	                            8,
	                            0x4000,
	                            (uintptr_t)low,
	                            (uintptr_t)low + LAB_OS_PAGE_SIZE - 8,
	                            stack & ~(uintptr_t)4095,
	                            stack + 8,
	                            stack + ((uintptr_t)1 << 16),
	                            stack + ((uintptr_t)1 << 30),
	                            UINT64_C(0x3ff0000000000000),
	                            UINT64_C(0x7ffffffff000),
	                            (uintptr_t)-1000000,
	                            (uintptr_t)-16};

	for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
		uint32_t site;
		size_t size;
		void *block = malloc_with_frame_pointer(values[i]);
		cr_assert(lab_live_take(block, &site, &size));
		cr_expect_eq(size, 200);
	}
}
#endif
