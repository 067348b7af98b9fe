/*
 * bits.h - bit scans, rounding and modular inverses. Pure functions; any context.
 */
#ifndef LAB_BASE_BITS_H
#define LAB_BASE_BITS_H

#include "base/compiler.h"

/* Index of the lowest set bit. word != 0. */
static inline unsigned
lab_ctz(uint64_t word)
{
	return (unsigned)__builtin_ctzll(word);
}

/* Index of the highest set bit. word != 0. */
static inline unsigned
lab_log2(uint64_t word)
{
	return 63u ^ (unsigned)__builtin_clzll(word); /* one instruction on x86-64; of a difference, gcc makes three */
}

/* The least o with 1 << o >= n. n >= 1. */
static inline unsigned
lab_log2_up(uint64_t n)
{
	return n <= 1 ? 0 : lab_log2(n - 1) + 1;
}

static inline bool
lab_is_power_of_two(uint64_t n)
{
	return n != 0 && (n & (n - 1)) == 0;
}

/* n rounded up to a multiple of `to`, a power of two. The caller has excluded overflow. */
static inline size_t
lab_round_up(size_t n, size_t to)
{
	return (n + to - 1) & ~(to - 1);
}

/* The lowest n bits set, 0 <= n <= 64. */
static inline uint64_t
lab_mask(unsigned n)
{
	return n >= 64 ? ~UINT64_C(0) : (UINT64_C(1) << n) - 1;
}

static inline uint64_t
lab_rotate_right(uint64_t word, unsigned by)
{
	return (word >> (by & 63)) | (word << (-by & 63));
}

/* x with x * odd == 1 (mod 2^64), by Newton's iteration: each step doubles the number of right bits. */
static inline uint64_t
lab_inverse_odd(uint64_t odd)
{
	uint64_t x = odd; /* right to 3 bits */
	for (int i = 0; i < 5; i++)
		x *= 2 - odd * x;
	return x;
}

#endif
