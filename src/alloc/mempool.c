/*
 * mempool.c - pools that keep a number of elements in hand, after the Linux kernel's mempool (Documentation/core-api/mm-api.rst).
 *
 * The elements in hand are in slots: an element is put into an empty slot by CAS and taken out by exchange. There is no link to
 * follow and no count to keep in step, so that a frame that is cut short anywhere loses at most the element that it has in its hand,
 * and an element can never be handed out twice. alloc and free are wait-free but for the pool's own waiting: O(min).
 *
 * Waiting (KERNEL only): `waiting` = 1 says that somebody may sleep. The waiter stores it and then looks at the slots; who puts an element
 * in looks at it afterwards: both are sc, so that one sees the other. Sleeps are slices of at most 10 ms all the same, since an
 * element may also become available from `alloc`. A waiter that is jumped out of leaves a 1 that costs one free a system call.
 *
 * A KERNEL call does not wait if its thread is inside its heap: it stands in a handler that interrupted malloc or free, perhaps in the
 * release of the very element. What such a call cannot see is a handler that interrupted the only holder of elements: as in the
 * kernel, handlers use ATOMIC or NOWAIT.
 *
 * INV-POOL-1  An element is in at most one slot, and whoever took it out by exchange is its only holder.
 * INV-POOL-2  At rest no slot from `min` on is filled: who put an element there while `min` fell takes it out again.
 */
#include <errno.h>
#include <string.h>

#include "alloc/directory.h"
#include "base/check.h"
#include "os/os.h"

#define GFP_KIND  0x3u
#define GFP_KNOWN (GFP_KIND | LAB_GFP_HIGH | LAB_GFP_MEMALLOC | LAB_GFP_ZERO | LAB_GFP_NOWARN)

#define ASK_FROM ((size_t)1 << 30)

enum { WAIT_SLICE_MS = 10 };

struct lab_mempool {
	void *(*alloc)(unsigned gfp, void *data);
	void (*release)(void *element, void *data);
	void *data;
	size_t element_size; /* of lab_mempool_create_sized */
	bool has_size;
	_Atomic size_t min;
	_Atomic uint32_t waiting;
	struct lab_directory slots; /* of _Atomic(void *); those below `min` are there */
};

static _Atomic(void *) *
slot_of(const struct lab_mempool *pool, size_t index)
{
	return lab_directory_at(&pool->slots, index, sizeof(_Atomic(void *)));
}

/* Empties a slot. */
static void *
take_from(_Atomic(void *) *slot)
{
	/* sc: the element as its last holder left it, and the order with `waiting`. The load spares empty slots the exchange. */
	return atomic_load(slot) ? atomic_exchange(slot, NULL) : NULL;
}

static bool
put_into(_Atomic(void *) *slot, void *element)
{
	void *empty = NULL;

	return !lab_load_rlx(slot) && atomic_compare_exchange_strong(slot, &empty, element);
}

/* NULL: each slot was seen empty at some instant. */
static void *
take(struct lab_mempool *pool)
{
	void *element = NULL;

	for (size_t i = 0, min = atomic_load(&pool->min); i < min && !element; i++)
		element = take_from(slot_of(pool, i));
	return element;
}

static void
wake_waiters(struct lab_mempool *pool)
{
	if (lab_unlikely(atomic_load(&pool->waiting))) {
		atomic_store(&pool->waiting, 0);
		lab_os_wake(&pool->waiting);
	}
}

/* An element that found no place; NULL: all is well. */
static void *
put(struct lab_mempool *pool, void *element)
{
	for (size_t i = 0; i < atomic_load(&pool->min); i++) {
		_Atomic(void *) *slot = slot_of(pool, i);
		if (!put_into(slot, element))
			continue;
		/* INV-POOL-2: the store of `min` and the look at the slot, here in the other order, are sc. */
		if (lab_likely(i < atomic_load(&pool->min)))
			return NULL;
		element = take_from(slot);
		if (!element)
			return NULL;
	}
	return element;
}

static bool
may_wait(const struct lab_mempool *pool, unsigned gfp)
{
	uintptr_t word = lab_thread.word;
	bool inside = word != 0 && !(word & LAB_WORD_IDLE);

	return (gfp & GFP_KIND) == LAB_GFP_KERNEL && !inside && atomic_load(&pool->min) > 0;
}

/* Until there is an element; NULL never. */
static void *
wait_for_element(struct lab_mempool *pool, unsigned gfp)
{
	for (;;) {
		atomic_store(&pool->waiting, 1);
		void *element = take(pool);
		if (element)
			return element;
		lab_os.wait(&pool->waiting, 1, WAIT_SLICE_MS);
		element = pool->alloc(gfp, pool->data);
		if (element)
			return element;
	}
}

static bool
may_alloc(const struct lab_mempool *pool, unsigned gfp)
{
	if (gfp & ~GFP_KNOWN || (gfp & GFP_KIND) == GFP_KIND)
		return false;
	return !(gfp & LAB_GFP_ZERO) || pool->has_size;
}

LAB_EXPORT void *
lab_mempool_alloc(struct lab_mempool *pool, unsigned gfp)
{
	int saved = errno;

	if (lab_unlikely(!may_alloc(pool, gfp))) {
		if (!(gfp & LAB_GFP_ATOMIC & GFP_KIND))
			errno = EINVAL;
		return NULL;
	}
	void *element = pool->alloc(gfp | LAB_GFP_NOWARN, pool->data);

	if (lab_likely(element != NULL))
		return element;
	element = take(pool);
	if (!element && may_wait(pool, gfp))
		element = wait_for_element(pool, gfp | LAB_GFP_NOWARN);
	if (element && gfp & LAB_GFP_ZERO)
		memset(element, 0, pool->element_size);
	bool says = !element && (gfp & GFP_KIND) != (LAB_GFP_ATOMIC & GFP_KIND);
	errno = says ? ENOMEM : saved;
	return element;
}

LAB_EXPORT void
lab_mempool_free(struct lab_mempool *pool, void *element)
{
	if (!element)
		return;
	element = put(pool, element);
	if (element)
		pool->release(element, pool->data);
	wake_waiters(pool);
}

/* Takes out what is in the slots [from, to): into lower slots where there is room, else back to where it came from. */
static void
empty_slots(struct lab_mempool *pool, size_t from, size_t to)
{
	for (size_t i = from; i < to; i++) {
		void *element = take_from(slot_of(pool, i));
		if (element)
			element = put(pool, element);
		if (element)
			pool->release(element, pool->data);
	}
}

/* Fills the slots [from, to), which are above `min`: nobody else looks at them. */
static bool
fill_slots(struct lab_mempool *pool, struct lab_bracket *bracket, size_t from, size_t to)
{
	for (size_t i = from; i < to; i++) {
		void *element = NULL;
		if (lab_directory_extend(&pool->slots, bracket, i, sizeof(_Atomic(void *))))
			element = pool->alloc(LAB_GFP_KERNEL, pool->data);
		if (!element) {
			empty_slots(pool, from, i);
			return false;
		}
		atomic_store(slot_of(pool, i), element);
	}
	return true;
}

/* Whether it is worth trying: not what nobody has, which would be found out element by element. */
static bool
may_have(const struct lab_mempool *pool, size_t min)
{
	size_t bytes;

	if (min > LAB_MEMPOOL_MAX || __builtin_mul_overflow(min, pool->element_size, &bytes))
		return false;
	return bytes < ASK_FROM || lab_os.may_commit(bytes);
}

static bool
resize(struct lab_mempool *pool, struct lab_bracket *bracket, size_t min)
{
	size_t old = atomic_load(&pool->min);

	if (!may_have(pool, min))
		return false;
	if (min > old && !fill_slots(pool, bracket, old, min))
		return false;
	atomic_store(&pool->min, min);
	if (min < old)
		empty_slots(pool, min, old);
	wake_waiters(pool);
	return true;
}

LAB_EXPORT bool
lab_mempool_resize(struct lab_mempool *pool, size_t min)
{
	struct lab_bracket bracket = LAB_BRACKET_HERE;
	int saved = errno;
	bool done = resize(pool, &bracket, min);

	errno = done ? saved : ENOMEM;
	return done;
}

static void
destroy(struct lab_mempool *pool, struct lab_bracket *bracket)
{
	size_t end = 0;

	while (lab_directory_has(&pool->slots, end))
		end++; /* all there ever were: a frame that was cut short may have left one above `min` */
	atomic_store(&pool->min, 0);
	empty_slots(pool, 0, end);
	lab_directory_drop(&pool->slots, bracket);
	lab_release(bracket, pool, "lab_mempool_destroy");
}

LAB_EXPORT void
lab_mempool_destroy(struct lab_mempool *pool)
{
	struct lab_bracket bracket = LAB_BRACKET_HERE;

	if (pool)
		destroy(pool, &bracket);
}

static struct lab_mempool *
create(struct lab_bracket *bracket, size_t min, const struct lab_mempool *form)
{
	struct lab_mempool *pool = lab_allocate_zeroed(bracket, sizeof *pool);

	if (!pool)
		return lab_or_enomem(NULL);
	pool->alloc = form->alloc;
	pool->release = form->release;
	pool->data = form->data;
	pool->element_size = form->element_size;
	pool->has_size = form->has_size;
	if (resize(pool, bracket, min))
		return pool;
	destroy(pool, bracket);
	return lab_or_enomem(NULL);
}

LAB_EXPORT struct lab_mempool *
lab_mempool_create(size_t min, void *(*alloc)(unsigned gfp, void *data), void (*release)(void *element, void *data), void *data)
{
	struct lab_bracket bracket = LAB_BRACKET_HERE;

	if (!alloc || !release) {
		errno = EINVAL;
		return NULL;
	}
	return create(&bracket, min, &(struct lab_mempool){.alloc = alloc, .release = release, .data = data});
}

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

LAB_EXPORT struct lab_mempool *
lab_mempool_create_sized(size_t min, size_t size)
{
	struct lab_bracket bracket = LAB_BRACKET_HERE;
	const struct lab_mempool form = {
	        .alloc = alloc_sized, .release = release_sized, .data = (void *)size, .element_size = size, .has_size = true};

	return create(&bracket, min, &form);
}

LAB_EXPORT size_t
lab_mempool_available(const struct lab_mempool *pool)
{
	size_t available = 0;

	for (size_t i = 0, min = atomic_load(&pool->min); i < min; i++)
		available += atomic_load(slot_of(pool, i)) != NULL;
	return available;
}
