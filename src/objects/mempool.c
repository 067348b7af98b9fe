/*
 * mempool.c - pools that keep a number of elements in hand, after the Linux kernel's mempool
 * (Documentation/core-api/mm-api.rst).
 *
 * The elements in hand are in slots: an element is put into an empty slot by CAS and taken out by exchange. There is
 * no link to follow and no count to keep in step, so that a frame that is cut short anywhere loses at most the
 * element that it has in its hand, and an element can never be handed out twice. alloc and free are wait-free but for
 * the pool's own waiting: O(min). The slots are in chunks of 16, 32, 64… that stay where they are until the pool is
 * destroyed.
 *
 * Waiting (KERNEL only): `waiting` = 1 says that somebody may sleep. The waiter stores it and then looks at the
 * slots; who puts an element in looks at it afterwards: both are sc, so that one sees the other. Sleeps are slices of
 * at most 10 ms all the same, since an element may also become available from `alloc`. A waiter that is jumped out of
 * leaves a 1 that costs one free a system call.
 *
 * A KERNEL call does not wait if its thread is inside its heap: it stands in a handler that interrupted malloc or
 * free, perhaps in the release of the very element. What such a call cannot see is a handler that interrupted the
 * only holder of elements: as in the kernel, handlers use ATOMIC or NOWAIT.
 *
 * INV-POOL-1  An element is in at most one slot, and whoever took it out by exchange is its only holder.
 * INV-POOL-2  At rest no slot from `min` on is filled: who put an element there while `min` fell takes it out again.
 */
#include <errno.h>
#include <string.h>

#include "alloc/allocate.h"
#include "alloc/gfp.h"
#include "alloc/release.h"
#include "alloc/request.h"
#include "os/os.h"

#define ASK_FROM ((size_t)1 << 30)

enum { WAIT_SLICE_MS = 10, FIRST_SHIFT = 4, CHUNKS = 17 };
_Static_assert(((((size_t)1 << CHUNKS) - 1) << FIRST_SHIFT) >= LAB_MEMPOOL_MAX, "the chunks hold the largest pool");

struct lab_mempool {
	void *(*alloc)(unsigned gfp, void *data);
	void (*release)(void *element, void *data);
	void *data; /* of both; the bytes of an element in a pool of lab_mempool_create_sized */
	_Atomic size_t min;
	_Atomic uint32_t waiting;
	_Atomic(_Atomic(void *) *) chunks[CHUNKS]; /* those with slots below `min` are there */
};

static void *
alloc_sized(unsigned gfp, void *size)
{
	return lab_alloc((size_t)size, gfp);
}

static void
release_sized(void *element, void *size)
{
	(void)size;
	lab_free(element);
}

static size_t
slots_in(const struct lab_mempool *pool)
{
	return atomic_load(&pool->min); /* sc: INV-POOL-2; pairs with lab_mempool_resize and lab_mempool_destroy */
}

/* Slots before chunk k, which has 16 more. */
static size_t
slots_before(unsigned k)
{
	return (((size_t)1 << k) - 1) << FIRST_SHIFT;
}

static _Atomic(void *) *
slot_of(const struct lab_mempool *pool, size_t index)
{
	unsigned k = lab_log2(index + (1u << FIRST_SHIFT)) - FIRST_SHIFT;

	/* acq pairs with the rel of extend: the slot's zero is seen. */
	return &lab_load_acq(&pool->chunks[k])[index - slots_before(k)];
}

/* Empties a slot. */
static void *
take_from(_Atomic(void *) *slot)
{
	/* sc: the element as its last holder left it, and the order with `waiting`; pairs with the CAS of put_into. The
	 * load spares empty slots the exchange. */
	return atomic_load(slot) ? atomic_exchange(slot, NULL) : NULL;
}

static bool
put_into(_Atomic(void *) *slot, void *element)
{
	void *empty = NULL;

	/* sc: pairs with the exchange of take_from, and is before the look at `waiting` and at `min` */
	return !lab_load_rlx(slot) && atomic_compare_exchange_strong(slot, &empty, element);
}

/* NULL: each slot was seen empty at some instant. */
static void *
take(struct lab_mempool *pool)
{
	void *element = NULL;

	for (size_t i = 0, min = slots_in(pool); i < min && !element; i++)
		element = take_from(slot_of(pool, i));
	return element;
}

static void
wake_waiters(struct lab_mempool *pool)
{
	/* sc, both: after the CAS of put_into; pairs with the store of wait_for_element */
	if (lab_unlikely(atomic_load(&pool->waiting))) {
		atomic_store(&pool->waiting, 0); /* pairs as said above */
		lab_os_wake(&pool->waiting);
	}
}

/* Into a slot below `min`, or back to where it came from. */
static void
put(struct lab_mempool *pool, void *element)
{
	for (size_t i = 0; element && i < slots_in(pool); i++) {
		_Atomic(void *) *slot = slot_of(pool, i);
		if (!put_into(slot, element))
			continue;
		/* INV-POOL-2: the store of `min` and the look at the slot, here in the other order, are sc. */
		element = lab_likely(i < slots_in(pool)) ? NULL : take_from(slot);
	}
	if (element)
		pool->release(element, pool->data);
}

/* KERNEL: what the source and the pool have not got without reclaim. The source reclaims, but the waiting is done here,
 * where a free ends it. */
static void *
wait_for_element(struct lab_mempool *pool, unsigned gfp)
{
	uintptr_t word = lab_thread.word;
	bool inside = word != 0 && !(word & LAB_WORD_IDLE), waits = !inside && slots_in(pool) > 0;
	void *element = pool->alloc(waits ? gfp | LAB_GFP_NORETRY : gfp, pool->data);

	while (!element && waits) {
		atomic_store(&pool->waiting, 1); /* sc: before the look at the slots; pairs with wake_waiters */
		element = take(pool);
		if (element)
			break;
		lab_os.wait(&pool->waiting, 1, WAIT_SLICE_MS);
		element = pool->alloc(gfp | LAB_GFP_NORETRY, pool->data);
	}
	return element;
}

LAB_EXPORT void *
lab_mempool_alloc(struct lab_mempool *pool, unsigned gfp)
{
	int saved = errno;

	if (lab_unlikely(!lab_gfp_check_but(gfp, LAB_GFP_EXCLUSIVE | (pool->alloc == alloc_sized ? 0 : LAB_GFP_ZERO))))
		return NULL;
	bool is_kernel = lab_gfp_is(gfp, LAB_GFP_KERNEL);
	gfp = (gfp & ~LAB_GFP_NOFAIL) | LAB_GFP_NOWARN; /* the pool itself does not fail */
	void *element = pool->alloc(is_kernel ? gfp | LAB_GFP_NORECLAIM : gfp, pool->data);
	if (lab_likely(element != NULL))
		return element;
	element = take(pool);
	if (!element && is_kernel)
		element = wait_for_element(pool, gfp);
	if (element && gfp & LAB_GFP_ZERO)
		memset(element, 0, (size_t)pool->data);
	errno = element || lab_gfp_is(gfp, LAB_GFP_ATOMIC) ? saved : ENOMEM;
	return element;
}

LAB_EXPORT void *
lab_mempool_take(struct lab_mempool *pool)
{
	return take(pool);
}

LAB_EXPORT void
lab_mempool_free(struct lab_mempool *pool, void *element)
{
	if (!element)
		return;
	put(pool, element);
	wake_waiters(pool);
}

/* Takes out what is in the slots [from, to): into lower slots where there is room, else back to where it came from. */
static void
empty_slots(struct lab_mempool *pool, size_t from, size_t to)
{
	for (size_t i = from; i < to; i++)
		put(pool, take_from(slot_of(pool, i)));
}

/* Sees to it that there are slots for `min` elements. */
static bool
extend(struct lab_mempool *pool, struct lab_guard *guard, size_t min)
{
	for (unsigned k = 0; slots_before(k) < min; k++) {
		const struct lab_request request = {sizeof(void *) << (k + FIRST_SHIFT), 64,
		                                    LAB_GFP_LASTING | LAB_GFP_ZERO};
		void *chunk = lab_load_rlx(&pool->chunks[k]);
		if (!chunk)
			chunk = lab_allocate(guard, request);
		if (!chunk)
			return false;
		lab_store_rel(&pool->chunks[k], chunk); /* pairs with the acq of slot_of */
	}
	return true;
}

LAB_EXPORT bool
lab_mempool_resize(struct lab_mempool *pool, size_t min)
{
	struct lab_guard guard = LAB_GUARD_HERE;
	size_t old = slots_in(pool), size = pool->alloc == alloc_sized ? (size_t)pool->data : 0, bytes;
	void *element = pool;
	int saved = errno;

	if (min > LAB_MEMPOOL_MAX || __builtin_mul_overflow(min, size, &bytes))
		return lab_or_enomem(NULL);
	/* what nobody has would be found out element by element */
	if ((bytes >= ASK_FROM && !lab_os.may_commit(bytes)) || !extend(pool, &guard, min))
		return lab_or_enomem(NULL);
	atomic_store(&pool->min, min); /* sc: INV-POOL-2; pairs with slots_in */
	if (min < old)
		empty_slots(pool, min, old);
	for (size_t i = old; i < min && element; i++) {
		element = pool->alloc(LAB_GFP_KERNEL, pool->data);
		if (element && !put_into(slot_of(pool, i), element))
			pool->release(element, pool->data); /* a free was quicker */
	}
	wake_waiters(pool);
	errno = saved;
	return true;
}

/* A frame that was cut short may have left an element above `min`. */
LAB_EXPORT void
lab_mempool_destroy(struct lab_mempool *pool)
{
	struct lab_guard guard = LAB_GUARD_HERE;

	if (!pool)
		return;
	atomic_store(&pool->min, 0); /* as in lab_mempool_resize; pairs with slots_in */
	for (unsigned k = 0; k < CHUNKS && lab_load_rlx(&pool->chunks[k]); k++) {
		empty_slots(pool, slots_before(k), slots_before(k + 1));
		lab_release(&guard, (void *)lab_load_rlx(&pool->chunks[k]), "lab_mempool_destroy");
	}
	lab_release(&guard, pool, "lab_mempool_destroy");
}

LAB_EXPORT size_t
lab_mempool_available(const struct lab_mempool *pool)
{
	size_t available = 0;

	for (size_t i = 0, min = slots_in(pool); i < min; i++)
		available += lab_load_rlx(slot_of(pool, i)) != NULL;
	return available;
}

LAB_EXPORT struct lab_mempool *
lab_mempool_create(size_t min, void *(*alloc)(unsigned gfp, void *data), void (*release)(void *element, void *data),
                   void *data)
{
	struct lab_guard guard = LAB_GUARD_HERE;

	if (!alloc || !release) {
		errno = EINVAL;
		return NULL;
	}
	const struct lab_request request = {sizeof(struct lab_mempool), 64, LAB_GFP_LASTING | LAB_GFP_ZERO};
	struct lab_mempool *pool = lab_allocate(&guard, request);
	if (!pool)
		return lab_or_enomem(NULL);
	pool->alloc = alloc;
	pool->release = release;
	pool->data = data;
	if (lab_mempool_resize(pool, min) && lab_mempool_available(pool) == min)
		return pool;
	lab_mempool_destroy(pool);
	return lab_or_enomem(NULL);
}

LAB_EXPORT struct lab_mempool *
lab_mempool_create_sized(size_t min, size_t size)
{
	return lab_mempool_create(min, alloc_sized, release_sized, (void *)size);
}
