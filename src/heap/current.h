/*
 * current.h - the calling thread's own words: its heap, what it is doing there, and the guard of one use of a heap.
 * What they promise (INV-THREAD-…) and who changes them stands in thread.h. The word is one of
 *
 *     heap | LAB_WORD_FAST   the heap is idle, and the fast paths may enter it
 *     heap | LAB_WORD_COUNTED  the same, but malloc goes where bytes are counted, for the heap profile
 *     heap | LAB_WORD_SLOW   the same, but every call takes the slow path (statistics, M_PERTURB, check)
 *     a stack pointer        a frame is inside: it is a multiple of 8, and an address of user space
 *     0                      no heap yet
 *
 * so that "no heap yet" and "busy" cost the fast paths no test of their own: malloc tests one bit, and in free the word
 * takes part in the arithmetic that checks the pointer (INV-UNIT-1).
 */
#ifndef LAB_HEAP_CURRENT_H
#define LAB_HEAP_CURRENT_H

#include "heap/heap.h"

#define LAB_WORD_FAST    ((uintptr_t)1)
#define LAB_WORD_SLOW    ((uintptr_t)1 << 63) /* the fast paths' checks then fail by 2^63 - 1 */
#define LAB_WORD_COUNTED ((uintptr_t)2)
#define LAB_WORD_IDLE    (LAB_WORD_FAST | LAB_WORD_COUNTED | LAB_WORD_SLOW)

struct lab_thread {
	uintptr_t word;
	struct lab_heap *heap; /* NULL before birth */
	uintptr_t borrowing;   /* stack pointer of the outermost frame that borrows; or 0 */
	uintptr_t waiting; /* stack pointer of the outermost frame that waits for memory, outside of every heap; or 0 */
	uint32_t tid;
	uint16_t borrowed;       /* id of the heap borrowed last: a hint */
	_Atomic uint16_t share;  /* the thread's first share of the reserve, as reserve/share.h numbers them */
	struct lab_meetings met; /* with the frame in word */
	bool may_have_left;      /* another heap was won since they were looked for */
	uint8_t frees_unborn;    /* of others' blocks, before there was a heap */
	uint16_t scope;          /* modifiers that each of the thread's calls has (kernel/scope.c), and LAB_SCOPE_… */
	uint32_t next_tid;       /* what the pass over leases that the thread is in makes of tid (leases.c); or 0 */
};
_Static_assert(sizeof(struct lab_thread) <= 64, "the drop-in's static TLS is at most 64 bytes");

/* The thread is a real-time thread (lab_thread_realtime): what its slow calls bring is a report, or a report and the
 * end. No modifiers of a call. */
#define LAB_SCOPE_REPORTS ((uint16_t)0x4)
#define LAB_SCOPE_ABORTS  ((uint16_t)0x8)
#define LAB_SCOPE_OWN     (LAB_SCOPE_REPORTS | LAB_SCOPE_ABORTS)

extern _Thread_local struct lab_thread lab_thread __attribute__((tls_model("initial-exec")));

/* 0: the fast paths do not mark the word (alloc/fastpath.h). */
#ifndef LAB_GUARD
#define LAB_GUARD 1
#endif

/* LAB_WORD_FAST; LAB_WORD_COUNTED where there is a heap profile; or LAB_WORD_SLOW in a mode in which every call is to
 * take the slow path. A thread takes over a change when it next leaves a guard. */
extern _Atomic uintptr_t lab_word_tag;

/* A use of a heap, from lab_enter to lab_leave. */
struct lab_guard {
	uintptr_t sp; /* the stack pointer at the entry of the API function: LAB_GUARD_HERE */
	struct lab_heap *heap;
	uint64_t word;  /* owner word of a borrowed heap; 0: it is the thread's own */
	bool beside;    /* it is borrowed as a visitor is inside the thread's own: the word is this frame's */
	bool reentrant; /* it runs, or may run, in a handler that interrupted a frame of this thread */
};

/* In the API function itself, not in a helper: the proof that a frame is dead compares entries. */
#define LAB_GUARD_HERE                                                                                                 \
	{                                                                                                              \
		.sp = LAB_ENTRY_STACK_POINTER                                                                          \
	}

static inline void
lab_set_word(struct lab_thread *t, uintptr_t word)
{
	lab_compiler_barrier();
	lab_poke_for_fence(&t->word, word);
	lab_compiler_barrier();
}

/* The thread id, as the registry knows it; asked of the kernel where the thread has no heap yet. Inside a guard, or
 * after lab_thread_settle_fork: else it may be that of the parent's thread. */
uint32_t lab_current_tid(void);

/* The heap's record, for purges by the calling thread until it leaves the heap. A purge that is cut short is found
 * there, and finished with the heap's repair. */
struct lab_purge_record *lab_thread_purge_owned(struct lab_heap *heap);

#endif
