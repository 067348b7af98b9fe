/*
 * sampler.h - which allocations the heap profile looks at: one at each point of a random walk over the bytes that are
 * asked for. Any context.
 *
 * The distances between points are geometric with the mean of the setting, so that a request of s bytes holds a point
 * with the probability 1 - exp(-s / mean), whatever came before it: Poisson sampling, which no pattern of sizes can
 * keep step with. A request that holds one counts for 1 / (1 - exp(-s / mean)) blocks of its size, so that every sum
 * over samples has what it stands for as its expectation. Each heap walks on its own; the sum of such walks is one.
 * A request of 0 bytes holds no point.
 *
 * INV-SAMPLER-1  `left` is the distance to the next point, at least 1, or not above 0 where none has been drawn yet.
 */
#ifndef LAB_INSIGHT_SAMPLER_H
#define LAB_INSIGHT_SAMPLER_H

#include "base/atomic.h"

/* Of a heap, its holder's: zero-initialised. */
struct lab_sampler {
	int64_t left;    /* bytes: INV-SAMPLER-1 */
	uint64_t random; /* state of a generator; 0: not seeded */
	bool took;       /* the allocation of the frame inside is a sample */
};

/* The mean distance of points in bytes; 0: there is no profile. Set once, when all else is ready. */
extern _Atomic size_t lab_sample_distance;

/* What the generators are seeded from, with a number of their own; for tests, before anything is sampled. */
void lab_sampler_seed(uint64_t seed);

/* The step of the fast path: moves on by `size` bytes. False: the point is among them, or was not drawn yet, and
 * lab_sampler_undo is to be called. */
static inline bool
lab_sampler_pass(struct lab_sampler *sampler, size_t size)
{
#if defined(__x86_64__)
	bool passed; /* compilers make six instructions of the portable form, not two */
	__asm__("subq %2, %1" : "=@ccg"(passed), "+m"(sampler->left) : "r"(size));
	return passed;
#else
	return (sampler->left -= (int64_t)size) > 0;
#endif
}

static inline void
lab_sampler_undo(struct lab_sampler *sampler, size_t size)
{
	sampler->left += (int64_t)size;
}

/* Moves on by `size` bytes. True: there was a point among them. O(1). */
bool lab_sampler_step(struct lab_sampler *sampler, size_t size);

/* How many blocks a sampled one of `size` bytes stands for, in 1 / LAB_SAMPLE_ONE; and how many bytes. O(1). */
#define LAB_SAMPLE_ONE ((uint64_t)1 << 16)
uint64_t lab_sample_objects(size_t size);
uint64_t lab_sample_bytes(size_t size);

/* A sum of such objects, rounded. */
static inline uint64_t
lab_sample_whole(uint64_t objects)
{
	return (objects + LAB_SAMPLE_ONE / 2) / LAB_SAMPLE_ONE;
}

#endif
