/*
 * trace.h - random traces of allocations, the patterns that show overlap and corruption, and a runner that all heap
 * tests share.
 *
 * Each live block is filled with a pattern made of its seed and the position, and looked at again whenever it is
 * resized or freed: a block that overlaps another, was moved wrongly or was written to by the allocator does not read
 * as it was left. The numbers are pseudo-random from a fixed seed: a failure repeats.
 */
#ifndef LAB_TESTS_UNIT_TRACE_H
#define LAB_TESTS_UNIT_TRACE_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include <labyrinth/labyrinth.h>

#include "require.h"

/* ---- numbers: xorshift64* (Vigna, 2016) ---- */

struct trace_random {
	uint64_t state;
};

static inline uint64_t
trace_next(struct trace_random *random)
{
	uint64_t x = random->state ? random->state : 0x9e3779b97f4a7c15ull;

	x ^= x >> 12;
	x ^= x << 25;
	x ^= x >> 27;
	random->state = x;
	return x * 0x2545f4914f6cdd1dull;
}

/* 0 … n - 1. */
static inline size_t
trace_below(struct trace_random *random, size_t n)
{
	return (size_t)(trace_next(random) >> 11) % n;
}

/* 1 … 2^bits, each magnitude as likely as the next. */
static inline size_t
trace_skewed(struct trace_random *random, unsigned bits)
{
	return 1 + trace_below(random, (size_t)1 << trace_below(random, bits + 1));
}

/* ---- patterns ---- */

/* Of larger blocks the ends and a few bytes of every half page are filled: enough for every way in which blocks can
 * overlap. */
enum { TRACE_WHOLE = 1024, TRACE_STEP = 2048, TRACE_PATCH = 16 };

static inline unsigned char
trace_byte(size_t position, uint32_t seed)
{
	return (unsigned char)(position * 31 + (position >> 8) * 7 + seed * 101u + (seed >> 8) + 1);
}

/* The next position after `at` that carries the pattern. */
static inline size_t
trace_after(size_t at, size_t size)
{
	at++;
	if (size <= TRACE_WHOLE || at < TRACE_PATCH || at + TRACE_PATCH >= size || at % TRACE_STEP < TRACE_PATCH)
		return at;
	size_t next = at - at % TRACE_STEP + TRACE_STEP;
	return next + TRACE_PATCH < size ? next : size - TRACE_PATCH;
}

static inline void
trace_fill(void *block, size_t size, uint32_t seed)
{
	for (size_t i = 0; i < size; i = trace_after(i, size))
		((unsigned char *)block)[i] = trace_byte(i, seed);
}

/* Whether the first `size` bytes of a block that was filled as one of `filled` bytes are as they were left. */
static inline bool
trace_reads_as(const void *block, size_t size, size_t filled, uint32_t seed)
{
	for (size_t i = 0; i < size; i = trace_after(i, filled))
		if (((const unsigned char *)block)[i] != trace_byte(i, seed))
			return false;
	return true;
}

static inline bool
trace_is_zero(const void *block, size_t size)
{
	const unsigned char *bytes = (const unsigned char *)block;

	return size == 0 || (bytes[0] == 0 && memcmp(bytes, bytes + 1, size - 1) == 0);
}

/* ---- blocks ---- */

struct trace_block {
	unsigned char *p; /* NULL: none */
	size_t size;
	uint32_t seed;
};

static inline void
trace_check_block(const struct trace_block *block)
{
	REQUIRE(lab_owns(block->p));
	REQUIRE(lab_usable_size(block->p) >= block->size);
	REQUIRE(trace_reads_as(block->p, block->size, block->size, block->seed));
}

static inline void
trace_adopt_block(struct trace_block *block, void *p, size_t size, uint32_t seed)
{
	*block = (struct trace_block){p, size, seed};
	REQUIRE((uintptr_t)p % 16 == 0);
	REQUIRE(lab_usable_size(p) >= size);
	trace_fill(p, size, seed);
}

static inline void
trace_free_block(struct trace_block *block)
{
	if (!block->p)
		return;
	trace_check_block(block);
	lab_free(block->p);
	block->p = NULL;
}

/* ---- the runner ---- */

struct trace {
	struct trace_random random;
	struct trace_block *blocks; /* `slots` of them, all empty at first */
	size_t slots;
	unsigned small_bits; /* sizes up to 2^this, but for one in `large_every` */
	unsigned large_bits; /* up to 2^this */
	unsigned large_every;
	bool exact; /* compare each new block with all others: O(slots) */
};

/* No two live blocks share a byte, as far as the allocator says that they may be used. */
static inline void
trace_check_apart(const struct trace *trace, const struct trace_block *new_block)
{
	const unsigned char *end = new_block->p + lab_usable_size(new_block->p);

	for (size_t i = 0; i < trace->slots; i++) {
		const struct trace_block *other = &trace->blocks[i];
		if (other == new_block || !other->p)
			continue;
		REQUIRE(end <= other->p || other->p + lab_usable_size(other->p) <= new_block->p);
	}
}

static inline size_t
trace_size(struct trace *trace)
{
	bool large = trace->large_every != 0 && trace_below(&trace->random, trace->large_every) == 0;
	size_t size = trace_skewed(&trace->random, large ? trace->large_bits : trace->small_bits);

	return trace_below(&trace->random, 64) == 0 ? 0 : size;
}

static inline void
trace_allocate(struct trace *trace, struct trace_block *block)
{
	size_t size = trace_size(trace), align = 16;
	uint32_t seed = (uint32_t)trace_next(&trace->random);
	void *p;

	switch (trace_below(&trace->random, 8)) {
	case 0:
		p = lab_calloc(size, 1);
		REQUIRE(p && trace_is_zero(p, size));
		break;
	case 1:
		align = (size_t)1 << trace_below(&trace->random, 17);
		p = lab_aligned_alloc(align, size);
		break;
	default:
		p = lab_malloc(size);
		break;
	}
	REQUIRE(p && (uintptr_t)p % align == 0);
	trace_adopt_block(block, p, size, seed);
}

static inline void
trace_resize(struct trace *trace, struct trace_block *block)
{
	size_t size = trace_size(trace) + 1;
	size_t kept = size < block->size ? size : block->size;

	trace_check_block(block);
	void *p = lab_realloc(block->p, size, LAB_GFP_KERNEL);
	REQUIRE(p);
	REQUIRE(trace_reads_as(p, kept, block->size, block->seed));
	trace_adopt_block(block, p, size, block->seed + 1);
}

/* `steps` random operations on random slots. */
static inline void
trace_run(struct trace *trace, size_t steps)
{
	while (steps-- > 0) {
		struct trace_block *block = &trace->blocks[trace_below(&trace->random, trace->slots)];
		if (!block->p)
			trace_allocate(trace, block);
		else if (trace_below(&trace->random, 5) == 0)
			trace_resize(trace, block);
		else
			trace_free_block(block);
		if (trace->exact && block->p)
			trace_check_apart(trace, block);
	}
}

static inline void
trace_check_all(const struct trace *trace)
{
	for (size_t i = 0; i < trace->slots; i++)
		if (trace->blocks[i].p)
			trace_check_block(&trace->blocks[i]);
}

static inline void
trace_free_all(struct trace *trace)
{
	for (size_t i = 0; i < trace->slots; i++)
		trace_free_block(&trace->blocks[i]);
}

#endif
