/* blocks.c - blocks that are counted and checked: see soak.h. Any context. */
#include <malloc.h>
#include <stdlib.h>

#include "soak.h"

_Atomic size_t live_bytes, live_blocks, operations;

static void
count(void *p)
{
	atomic_fetch_add_explicit(&live_bytes, malloc_usable_size(p), memory_order_relaxed);
	atomic_fetch_add_explicit(&live_blocks, 1, memory_order_relaxed);
	atomic_fetch_add_explicit(&operations, 1, memory_order_relaxed);
}

struct block
keep(void *p, size_t size)
{
	struct block block = block_of(p, size);

	count(p);
	return block;
}

static void
forget(void *p)
{
	atomic_fetch_sub_explicit(&live_bytes, malloc_usable_size(p), memory_order_relaxed);
	atomic_fetch_sub_explicit(&live_blocks, 1, memory_order_relaxed);
}

void
drop_by(struct block *block, void (*release)(void *))
{
	unsigned char *p = block->p;

	if (!p)
		return;
	check_block(block);
	block->p = NULL;
	forget(p);
	release(p);
}

void
drop(struct block *block)
{
	drop_by(block, free);
}

static void *
aligned(uint32_t *random, size_t size)
{
	size_t alignment = (size_t)16 << next_random(random) % 10;
	void *p = NULL;

	if (next_random(random) % 2)
		p = aligned_alloc(alignment, size);
	else
		REQUIRE(posix_memalign(&p, alignment, size) == 0);
	if ((uintptr_t)p % alignment != 0)
		fail("alignment", (uintptr_t)p, alignment);
	return p;
}

static void *
zeroed(size_t size)
{
	void *p = calloc(size / 8 + 1, 8);

	check_zero(p, size);
	return p;
}

struct block
allocate(uint32_t *random, size_t size)
{
	switch (next_random(random) % 8) {
	case 0:
	case 1:
		return keep(zeroed(size), size);
	case 2:
		return keep(aligned(random, size), size);
	case 3:
		return keep(reallocarray(NULL, 1, size), size);
	case 4:
		return keep(lab_alloc(size, LAB_GFP_KERNEL), size);
	default:
		return keep(malloc(size), size);
	}
}

void
resize(struct block *block, size_t size)
{
	forget(block->p);
	check_block(block);
	void *p = realloc(block->p, size);
	if (!p)
		fail("NULL from realloc: size", size, 0);
	block->p = p;
	check_block_part(block, size < block->size ? size : block->size);
	*block = keep(p, size);
}

void
climb(uint32_t *random)
{
	size_t top = (size_t)1 << (10 + next_random(random) % 14), size = 24;
	struct block block = allocate(random, size);

	for (; size < top; size += size / 2 + next_random(random) % 64)
		resize(&block, size);
	for (; size > 100; size -= size / 2)
		resize(&block, size);
	drop(&block);
}

size_t
size_of(enum mix mix, uint32_t *random)
{
	uint32_t n = next_random(random);

	switch (mix) {
	case TINY:
		return 1 + n % 128;
	case SMALL:
		return 16 + n % 1024;
	case MIDDLING:
		return 1024 + n % (31 * KIB);
	case PAGES:
		return 33 * KIB + n % (500 * KIB);
	case HUGE_ONES:
		return n % 4 ? 200 * KIB + n % MIB : 4 * MIB + n % (6 * MIB);
	default:
		return ((size_t)16 << n % 12) + next_random(random) % ((size_t)16 << n % 12);
	}
}

/* ---- hands ----------------------------------------------------------------------------------------------------- */

void
fill_and_empty(struct hand *hand, uint32_t *random)
{
	for (;;) {
		for (int i = 0; i < IN_HAND; i++)
			hand->p[i] = malloc(size_of(TINY, random));
		empty_hand(hand);
		pthread_testcancel();
	}
}

void
empty_hand(struct hand *hand)
{
	for (int i = 0; i < IN_HAND; i++) {
		void *p = hand->p[i];
		hand->p[i] = NULL;
		free(p);
	}
}

/* ---- the shelf ------------------------------------------------------------------------------------------------- */

struct parcel {
	struct block contents;
	struct parcel *own;
};

static _Atomic(struct parcel *) shelf[SHELF];

static struct parcel *
wrap(uint32_t *random)
{
	struct parcel *parcel = malloc(sizeof *parcel);

	REQUIRE(parcel != NULL);
	count(parcel);
	parcel->own = parcel;
	parcel->contents = allocate(random, next_random(random) % 50 ? size_of(SMALL, random) : size_of(PAGES, random));
	return parcel;
}

/* Frees the parcel; gives its contents. */
static struct block
unwrap(struct parcel *parcel)
{
	struct block contents = {0};

	if (!parcel)
		return contents;
	REQUIRE(parcel->own == parcel);
	contents = parcel->contents;
	forget(parcel);
	free(parcel);
	return contents;
}

void
exchange(uint32_t *random)
{
	struct block old = unwrap(atomic_exchange(&shelf[next_random(random) % SHELF], wrap(random)));

	drop(&old);
}

struct block
take_from_shelf(uint32_t *random)
{
	return unwrap(atomic_exchange(&shelf[next_random(random) % SHELF], NULL));
}

void
clear_shelf(void)
{
	for (int i = 0; i < SHELF; i++) {
		struct block old = unwrap(atomic_exchange(&shelf[i], NULL));
		drop(&old);
	}
}
