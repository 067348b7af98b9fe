/*
 * on_low.c - the callback of lab_reserve_on_low: from a slow call of the normal tier, one at a time, once for each time that a class has
 * got low. A callback that is left by a jump keeps its claim until its thread ends: there are no callbacks until then.
 */
#include <errno.h>

#include "alloc/alloc.h"
#include "alloc/provision.h"
#include "os/os.h"

/* Never freed, so that who reads it needs no protection: a program sets few. */
struct callback {
	void (*call)(void *context, size_t size);
	void *context;
};

static _Atomic(struct callback *) callback;
static _Atomic uint32_t told;     /* classes that were low when last seen, and whose callback is due or made */
static _Atomic uint32_t due;      /* classes whose callback is to be made */
static _Atomic uint64_t delivery; /* {epoch, tid}: who is calling; tid 0: nobody */

LAB_EXPORT void
lab_reserve_on_low(void (*call)(void *context, size_t size), void *context)
{
	struct callback *next = NULL;

	if (call) {
		next = lab_malloc(sizeof *next);
		if (!next)
			return;
		*next = (struct callback){call, context};
	}
	lab_store_rel(&callback, next); /* pairs with the acq in deliver_class */
}

void
lab_low_note(unsigned c, bool was_low, bool is_low)
{
	uint32_t bit = 1u << c;

	if (was_low && !(atomic_fetch_or_explicit(&told, bit, memory_order_relaxed) & bit))
		(void)atomic_fetch_or_explicit(&due, bit, memory_order_relaxed);
	if (!is_low && lab_load_rlx(&told) & bit)
		(void)atomic_fetch_and_explicit(&told, ~bit, memory_order_relaxed);
	if (is_low && lab_load_rlx(&told) & bit) /* its rise is to be seen */
		(void)atomic_fetch_or_explicit(&lab_reserve_hungry, LAB_HUNGRY_WATCH, memory_order_relaxed);
}

static void
deliver_class(unsigned c)
{
	struct callback *current = lab_load_acq(&callback);
	int saved = errno;

	if (current)
		current->call(current->context, (size_t)1 << (c + LAB_RESERVE_MIN_SHIFT));
	errno = saved;
}

static uint64_t
delivery_after(uint64_t before, uint32_t tid)
{
	return ((before >> 32) + 1) << 32 | tid;
}

/* A thread that was calling is not in the child, and may live on in the parent; the forking one goes on. */
void
lab_low_after_fork(uint32_t old_tid)
{
	uint64_t value = lab_load_rlx(&delivery);
	uint32_t holder = (uint32_t)value;

	if (holder != 0 && holder != old_tid)
		(void)lab_cas64(&delivery, value, delivery_after(value, 0));
}

void
lab_low_deliver(void)
{
	while (lab_load_rlx(&due)) {
		uint64_t value = lab_load_rlx(&delivery), mine = delivery_after(value, lab_thread_tid());
		uint32_t holder = (uint32_t)value;
		if (holder != 0 && (holder == lab_thread_tid() || !lab_os.thread_is_dead(holder)))
			return; /* who is calling looks again before it ends */
		if (!lab_cas64(&delivery, value, mine))
			return;
		uint32_t classes = atomic_exchange_explicit(&due, 0, memory_order_relaxed);
		for (unsigned c = 0; c < LAB_RESERVE_CLASSES; c++)
			if (classes >> c & 1)
				deliver_class(c);
		(void)lab_cas64(&delivery, mine, delivery_after(mine, 0));
	}
}
