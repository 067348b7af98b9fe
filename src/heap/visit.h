/*
 * visit.h - what others have freed into the heap of a thread that sleeps is freed by another thread, which visits.
 *
 * `visitor` of a heap is a lease: it is held by whoever is inside in a slow frame, the thread whose heap it is or a
 * visitor. Nobody waits for it: the thread that finds a visitor in its heap borrows another one for that call, and a
 * visitor that finds somebody inside goes on to the next heap.
 *
 * INV-VISIT-1  Only who has the lease reads or writes what is for slow frames: lists, bins, batches, `drain`, `whole`,
 *              `collected` of spans, and takes from the outbox. The fast paths of the heap's thread take no lease, so
 *              a visitor leaves alone what they write: free list states, `put` of the outbox (outbox.h), and blocks
 *              that are in use or on a free list. Of a span that is not current the fast paths free blocks in use; of
 *              one whose used blocks are all collected there are none, and the span is the visitor's (INV-SPAN-3). How
 *              a current span becomes the visitor's stands in sleeper.h, and how a free list does in hold.h.
 * INV-VISIT-2  A heap is visited while its owner word is CURRENT; its thread may have ended. A visitor takes the lease
 *              and then reads the owner word; who takes the heap of a dead thread changes the owner word and then reads
 *              the lease (all sc): a Dekker handshake, at least one sees the other and lets go.
 * INV-VISIT-3  A visitor that is cut short leaves the heap not whole: who has the lease next rebuilds it before use.
 *              The lease of a dead visitor is taken over by the heap's thread, and by whoever takes the heap; that of a
 *              frame that was left by a jump is released by the repair of the heap that the frame was in (`visit`).
 * INV-VISIT-4  In a child of fork the forking thread's heap in which another thread was a visitor stays leased for
 *              ever: what a visitor writes was copied while it was written. What the fast paths use is sound, but spans
 *              that were held stay so. That
 *              thread's slow calls borrow. Around libc's fork it holds its heap's lease itself, after the visitor has
 *              left (which is waited for, 50 ms at most).
 */
#ifndef LAB_HEAP_VISIT_H
#define LAB_HEAP_VISIT_H

#include "heap/visitor.h"

/*
 * Visits the heaps of living threads into which others have freed: `heap` is the one that the caller is inside. At most
 * some 2,000 blocks are freed; false: there are more, and another call goes on. In each: its outbox is sent, runs and
 * empty spans go, other blocks are collected. at_once: also heaps whose threads have taken in what was freed since this
 * was called last.
 */
bool lab_visit_all(struct lab_heap *heap, bool at_once);

/* All of them; and what they keep for their threads alone goes, too (sleeper.h). Makes a system call a heap, for
 * trimming and where memory is short. */
void lab_visit_all_thoroughly(struct lab_heap *heap);

/* For a look at time `now`: pages that threads keep for themselves go, of a few threads whose current spans have been
 * the same for a period (milliseconds both). By a thread for which nobody waits: a visit may take some milliseconds. */
void lab_visit_resting(struct lab_heap *heap, uint64_t now, uint64_t period);

/* The same of one heap in which much waits (remote.h). If blocks are left, the next free into `target` visits it again;
 * if its thread is inside, a free after another 4 MiB. */
void lab_visit_one(struct lab_heap *heap, struct lab_heap *target);

/* Whether something was freed into, or is to be sent by, a heap that a living thread other than `tid` is inside of, so
 * that no visit is possible. O(heaps). */
bool lab_visit_is_kept_out(uint32_t tid);

/* In fork's child, a lab_lease_kind. */
void lab_visit_settle(const struct lab_lease_fork *fork);

#endif
