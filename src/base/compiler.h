/*
 * compiler.h - what the code asks of the compiler, in one place. Any context.
 */
#ifndef LAB_BASE_COMPILER_H
#define LAB_BASE_COMPILER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LAB_EXPORT      __attribute__((visibility("default")))
#define LAB_HIDDEN      __attribute__((visibility("hidden")))
#define LAB_NOINLINE    __attribute__((noinline))
#define LAB_COLD        __attribute__((noinline, cold))
#define LAB_NORETURN    __attribute__((noreturn))
#define LAB_ALIGNED(n)  __attribute__((aligned(n)))
#define lab_likely(x)   __builtin_expect(!!(x), 1)
#define lab_unlikely(x) __builtin_expect(!!(x), 0)

/* A store before it is seen before a store after it by a handler on the same thread. Costs no instruction. */
static inline void
lab_compiler_barrier(void)
{
	atomic_signal_fence(memory_order_seq_cst); /* pairs with the start of the handler */
}

/*
 * Stores the stack pointer in *word and is a compiler barrier. One instruction on x86-64: the guard of the fast
 * paths depends on it. (__builtin_frame_address would add a frame to a leaf function.)
 */
static inline void
lab_store_stack_pointer(uintptr_t *word)
{
#if defined(__x86_64__)
	__asm__ volatile("movq %%rsp, %0" : "=m"(*word) : : "memory");
#elif defined(__aarch64__)
	uintptr_t sp;
	__asm__ volatile("mov %0, sp" : "=r"(sp));
	*(volatile uintptr_t *)word = sp;
	lab_compiler_barrier();
#else
	*(volatile uintptr_t *)word = (uintptr_t)__builtin_frame_address(0);
	lab_compiler_barrier();
#endif
}

/* The stack pointer at the entry of the function that it stands in, as lab_store_stack_pointer would have stored it
 * there. */
#if defined(__x86_64__)
#define LAB_ENTRY_STACK_POINTER ((uintptr_t)__builtin_dwarf_cfa() - sizeof(void *))
#else
#define LAB_ENTRY_STACK_POINTER ((uintptr_t)__builtin_dwarf_cfa())
#endif

/* An address that no frame of a thread created by libc lies above: its control block, at the top of its stack. */
static inline uintptr_t
lab_thread_pointer(void)
{
#if defined(__x86_64__)
	uintptr_t self;
	__asm__("movq %%fs:0, %0" : "=r"(self));
	return self;
#else
	return (uintptr_t)__builtin_thread_pointer();
#endif
}

/* Replaces the low 16 bits of a word. Compilers make two instructions of the portable form. */
static inline uint32_t
lab_insert16(uint32_t word, uint16_t low)
{
#if defined(__x86_64__) && defined(__clang__)
	__asm__("movw %w1, %w0" : "+r"(word) : "r"(low)); /* given "rm", clang spills the operand */
	return word;
#elif defined(__x86_64__)
	__asm__("movw %w1, %w0" : "+r"(word) : "rm"(low));
	return word;
#else
	return (word & 0xffff0000u) | low;
#endif
}

#endif
