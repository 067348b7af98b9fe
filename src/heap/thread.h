/*
 * thread.h - the calling thread's heap, and the guard around every use of it.
 *
 * A signal handler is a foreign thread: while a frame is inside the heap, the thread's word is that frame's stack
 * pointer, and a handler that finds it so works in another heap, which it borrows. What the word can be stands in
 * current.h.
 *
 * A thread's heap is its own from birth to death. So a frame that was interrupted between reading an idle word and
 * marking it goes on into the same heap, whatever handlers did meanwhile. A call that finds the word busy, or another
 * thread in its heap that visits it (visit.h), borrows another heap, and gives it back.
 *
 * INV-THREAD-1  word is written by this thread's frames only: set to a stack pointer by the frame that found it idle,
 *               unborn or proved stale, and back to an idle value by the same frame, which has left the lists whole if
 *               it has entered the heap.
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

#include "heap/current.h"

/* Calls in handlers that interrupted another one are told, each place once (the setting report_reentrant). */
extern _Atomic bool lab_reentrant_is_told;

/* A call has made system calls, or touched memory for the first time: a real-time thread's is told. Outside of every
 * heap; lab_leave does it. */
LAB_COLD void lab_tell_of_slow_call(void);

static inline void
lab_note_slow_call(void)
{
	if (lab_unlikely(lab_thread.scope & LAB_SCOPE_OWN))
		lab_tell_of_slow_call();
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

#endif
