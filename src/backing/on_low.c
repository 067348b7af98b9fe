/*
 * on_low.c - see on_low.h. From a slow call of the normal tier, one at a time. A jump may leave the callback, or this
 * code on the way to it: the lease stays; the thread takes it over when a call sees that the frame is gone, others when
 * the thread has ended. What was pending is lost.
 */
#include <errno.h>

#include "backing/on_low.h"
#include "heap/leases.h"
#include "heap/thread.h"
#include "os/os.h"
#include "page/frame.h"
#include "reserve/reserve.h"

static _Atomic(const struct lab_low_callback *) callback;
static _Atomic uint32_t notified; /* classes that were low when last seen, and whose callback is pending or made */
static _Atomic uint32_t pending;  /* classes whose callback is to be made */
static _Atomic uint64_t notifier; /* a lease of the frame that is calling */

void
lab_low_set(const struct lab_low_callback *next)
{
	lab_store_rel(&callback, next); /* pairs with the acq in deliver_class */
}

void
lab_low_note(unsigned c, bool was_low, bool is_low)
{
	uint32_t bit = 1u << c;

	if (was_low && !(atomic_fetch_or_explicit(&notified, bit, memory_order_relaxed) & bit))
		(void)atomic_fetch_or_explicit(&pending, bit, memory_order_relaxed);
	if (!is_low && lab_load_rlx(&notified) & bit)
		(void)atomic_fetch_and_explicit(&notified, ~bit, memory_order_relaxed);
	if (is_low && lab_load_rlx(&notified) & bit) /* its rise is to be seen */
		lab_reserve_ask(LAB_REFILL_LOOK);
}

static void
deliver_class(unsigned c)
{
	const struct lab_low_callback *current = lab_load_acq(&callback); /* pairs with the rel of lab_low_set */
	int saved = errno;

	if (current)
		current->call(current->context, (size_t)1 << (c + LAB_RESERVE_MIN_SHIFT));
	errno = saved;
}

/* The epoch is the frame: stack pointers of entries lie multiples of 16 apart, and on one stack no 32 GiB. */
static uint64_t
notifier_by(uintptr_t sp, uint32_t tid)
{
	return lab_lease_make((uint32_t)(sp >> 4), tid, 0);
}

/* The stack pointer of a frame that is on the stack of `sp`. For one on another stack: one that is no frame, and not
 * mapped. */
static uintptr_t
frame_of(uint64_t value, uintptr_t sp)
{
	int32_t distance = (int32_t)(lab_lease_epoch(value) - (uint32_t)(sp >> 4));

	return sp + (uintptr_t)((intptr_t)distance * 16);
}

static bool
is_gone(uint64_t value, uintptr_t sp)
{
	uint32_t holder = lab_lease_tid(value);

	return holder == lab_thread_tid() ? lab_frame_is_dead(frame_of(value, sp), sp, holder)
	                                  : lab_os.thread_is_dead(holder);
}

/* A thread that was calling is not in the child, and may live on in the parent; the forking one goes on. */
void
lab_low_settle(const struct lab_lease_fork *fork)
{
	lab_lease_settle(&notifier, fork, 0);
}

void
lab_low_deliver(uintptr_t sp)
{
	uint64_t mine = notifier_by(sp, lab_thread_tid());

	while (lab_load_rlx(&pending)) {
		uint64_t value = lab_load_rlx(&notifier);
		if (value != 0 && !is_gone(value, sp))
			return;                         /* who is calling looks again before it ends */
		if (!lab_cas64(&notifier, value, mine)) /* pairs with the CAS by which the one before let go */
			return;
		uint32_t classes = atomic_exchange_explicit(&pending, 0, memory_order_relaxed);
		for (unsigned c = 0; c < LAB_RESERVE_CLASSES; c++)
			if (classes >> c & 1)
				deliver_class(c);
		lab_lease_release(&notifier, mine, 0);
	}
}
