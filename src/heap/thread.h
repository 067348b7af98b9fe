/*
 * thread.h - the calling thread's heap, and the guard around every use of it.
 *
 * A signal handler is a foreign thread: while a frame is inside the heap, the thread's word is that frame's stack
 * pointer, and a handler that finds it so works in another heap, which it borrows. The word is one of
 *
 *     heap | LAB_WORD_FAST   the heap is idle, and the fast paths may enter it
 *     heap | LAB_WORD_SLOW   the same, but every call takes the slow path (statistics, M_PERTURB)
 *     a stack pointer        a frame is inside: it is even, and an address of user space
 *     0                      no heap yet
 *
 * so that "no heap yet" and "busy" cost the fast paths no test of their own: malloc tests one bit, and in free the word
 * takes part in the arithmetic that checks the pointer (INV-UNIT-1).
 *
 * A thread's heap is its own from birth to death. So a frame that was interrupted between reading an idle word and
 * marking it goes on into the same heap, whatever handlers did meanwhile. A call that finds the word busy, or another
 * thread in its heap that visits it (visit.h), borrows another heap, and gives it back.
 *
 * INV-THREAD-1  word is written by this thread's frames only: set to a stack pointer by the frame that found it idle,
 *               unborn or proved stale, and to an idle value by the same frame when all lists are whole.
 * INV-THREAD-2  While the word is idle no frame of this thread is inside any other heap: a frame that borrows was
 *               called later than the frame that keeps the word busy, and runs or is suspended inside that call; and a
 *               stale word is taken over only where no frame may be suspended that borrows (`borrowing`). So what the
 *               thread has left BORROWED or ABSORBING then was left by a jump, and the next slow entry repairs a few
 *               such heaps and gives them back.
 * INV-THREAD-3  While the word is busy, a heap that this thread has BORROWED or is ABSORBING is taken only if the frame
 *               inside it (heap->frame) is proved dead. A frame that has won a heap and has not said so in heap->frame
 *               yet counts as alive, until the word is idle.
 *
 * A word whose frame is gone and cannot be proved to be (page/frame.h) stays busy: the thread borrows a heap for each
 * call, and does not wait for memory, reclaim, purge, grow the reserve or call back, until it calls from where that can
 * be proved, or ends.
 *
 * In heap/ and in page/frame.h "above" and "below" are addresses: a stack grows downwards, so a handler's frame is
 * below the one that it interrupted, unless it runs on another stack.
 */
#ifndef LAB_HEAP_THREAD_H
#define LAB_HEAP_THREAD_H

#include "heap/heap.h"

#define LAB_WORD_FAST ((uintptr_t)1)
#define LAB_WORD_SLOW ((uintptr_t)1 << 63) /* the fast paths' checks then fail by 2^63 - 1 */
#define LAB_WORD_IDLE (LAB_WORD_FAST | LAB_WORD_SLOW)

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
	uint32_t next_tid;       /* what the pass over leases that the thread is in makes of tid (fork.c); or 0 */
};
_Static_assert(sizeof(struct lab_thread) <= 64, "the drop-in's static TLS is at most 64 bytes");

extern _Thread_local struct lab_thread lab_thread __attribute__((tls_model("initial-exec")));

/* LAB_WORD_FAST, or LAB_WORD_SLOW in a mode in which every call is to take the slow path. A thread takes over a change
 * when it next leaves a guard. */
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

/*
 * Enters the thread's heap, or one that it borrows while its own is busy. False: no heap can be had. Any context. The
 * heap that it gives is whole.
 */
bool lab_enter(struct lab_guard *guard);

/* The same, but false if the thread's own heap is busy, has a visitor inside, or is not there yet; nothing is borrowed:
 * for frees, which can do without. */
bool lab_try_enter(struct lab_guard *guard);

/* Enters `heap` if it is the one that this thread has borrowed last, and is idle: for frees that lab_try_enter has
 * refused. So a handler's blocks do not pile up on that heap's stack, where each push would be in the way of what the
 * interrupted frame pushes. */
bool lab_borrow_again(struct lab_guard *guard, struct lab_heap *heap);

/* The thread's own heap, if nobody can be in it and nothing is to be repaired or asked of the kernel first; else false
 * at once. Inside, heap->nowait holds. */
bool lab_enter_nowait(struct lab_guard *guard);

/* The frame that entered leaves. */
void lab_leave(struct lab_guard *guard);

/* Finds a dead thread's heap by up to `probes` questions and puts all that it holds into `heap`, which the caller is
 * inside. */
bool lab_thread_absorb_dead_owned(struct lab_heap *heap, unsigned probes);

/* Repairs a heap whose thread is dead, or an idle one that blocks were freed into, and leaves it idle, with no segment
 * and no span that is empty. False: none was found by up to `probes` questions. The caller is inside `into`. */
bool lab_thread_clear_one_owned(struct lab_heap *into, unsigned probes);

/*
 * Around a fork, by the forking thread, inside its heap. Before: what the heap has for others is sent, the dead are
 * absorbed into it, what others have freed into it is taken, and idle heaps that hold memory are HELD by this thread:
 * what it holds while it forks is whole in the child. After, on both sides: they are idle again. Where a fork, or this,
 * is left by a jump they stay HELD until this thread forks again, or ends.
 */
void lab_thread_before_fork_owned(struct lab_heap *heap);
void lab_thread_after_fork_owned(void);

/*
 * In a child of fork, before anything that reads thread ids: what its first guard does. All leases are settled
 * (base/lease.h), in one pass, by the child's leader. Nothing elsewhere. is_leader: the caller is known to be that,
 * also if the system does not say so.
 */
void lab_thread_settle_fork(bool is_leader);

/* Adds a kind of leases of a layer above, or what else is to be done then; LAB_KINDS_ABOVE at most. Before there are
 * threads. */
enum { LAB_KINDS_ABOVE = 4 };
void lab_thread_add_leases(lab_lease_kind *kind);

/* The thread id, as the registry knows it; asked of the kernel if need be. */
uint32_t lab_thread_tid(void);

/* The heap's record, for purges by the calling thread until it leaves the heap. A purge that is cut short is found
 * there, and finished with the heap's repair. */
struct lab_purge_record *lab_thread_purge_owned(struct lab_heap *heap);

#endif
