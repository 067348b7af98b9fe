/*
 * realloc.c - vectors that grow with realloc, several at a time.
 *
 * One vector in eight grows by half of its size, as vector types do; the others grow by a small step each time, as
 * naive string and line buffers do. (With more of the first kind, filling them would be most of the time.) Each grows
 * to a length of its own, up to several MiB, is verified in full and freed. The interleaving keeps a vector from always
 * being the last block of the heap, where growing in place is easy. An allocator gains by slack in its size classes, by
 * growing in place and by moving pages instead of bytes.
 */
#include "bench.h"

#define FAST_ONE_IN 8 /* of so many vectors, one grows by half */

static uint64_t ops = 600000;
static uint64_t vectors = 16;
static uint64_t step = 256;
static uint64_t min_size = 4 * BENCH_KIB;
static uint64_t max_size = 4 * BENCH_MIB;
static uint64_t seed = 1;

static const struct bench_option options[] = {
        {"ops", &ops, 8000, 1, BENCH_MAX_OPS, "calls of realloc"},
        {"vectors", &vectors, 8, 1, BENCH_MAX_BLOCK, "vectors at a time"},
        {"step", &step, 256, 8, BENCH_MAX_BLOCK, "bytes by which the slowly growing ones grow"},
        {"min", &min_size, 4 * BENCH_KIB, 1024, BENCH_MAX_BLOCK, "smallest final size, bytes"},
        {"max", &max_size, 256 * BENCH_KIB, 1024, BENCH_MAX_BLOCK, "largest final size, bytes"},
        {"seed", &seed, 1, 0, UINT64_MAX, "seed of the random numbers"},
};

/* A vector of words; word i holds key + i. All lengths are in words. */
struct vector {
	uint64_t *words;
	size_t length; /* words written: all that there is room for */
	size_t final;  /* it is freed when it has this length */
	uint64_t key;
};

static size_t
next_length(const struct vector *vector, bool by_half)
{
	size_t grown = by_half ? vector->length + vector->length / 2 + 2 : vector->length + step / sizeof(uint64_t);
	return grown < vector->final ? grown : vector->final;
}

static void
grow(struct vector *vector, size_t length)
{
	uint64_t *words = realloc(vector->words, length * sizeof(uint64_t));
	if (!words)
		bench_fail("realloc to %zu bytes failed", length * sizeof(uint64_t));
	vector->words = bench_opaque(words);
	if (vector->length > 0) {
		bench_expect_word(words, 0, vector->key);
		bench_expect_word(words, (vector->length - 1) * sizeof(uint64_t), vector->key + vector->length - 1);
	}
	for (size_t i = vector->length; i < length; i++)
		words[i] = vector->key + i;
	vector->length = length;
}

/* Verifies and frees the vector. Gives its key, for the checksum. */
static uint64_t
finish(struct vector *vector)
{
	for (size_t i = 0; i < vector->length; i++)
		bench_expect_word(vector->words, i * sizeof(uint64_t), vector->key + i);
	free(vector->words);
	uint64_t key = vector->key;
	*vector = (struct vector){0};
	return key;
}

/* The sum of the keys is taken when vectors are finished; those that are not at the end are finished then. */
static uint64_t
run(struct vector *table)
{
	uint64_t state = seed, sum = 0;
	for (uint64_t op = 0; op < ops; op++) {
		uint64_t random = bench_random(&state);
		size_t index = bench_scale_high(random, vectors);
		struct vector *vector = &table[index];
		if (!vector->words) {
			vector->key = random;
			vector->final = bench_scale_low(random, min_size, max_size) / sizeof(uint64_t);
		}
		grow(vector, next_length(vector, index % FAST_ONE_IN == 0));
		if (vector->length == vector->final)
			sum += finish(vector);
	}
	for (uint64_t i = 0; i < vectors; i++)
		sum += finish(&table[i]);
	return sum;
}

int
main(int argc, char **argv)
{
	bench_options(argc, argv, "vectors grow by half or by small steps", options, BENCH_COUNT(options));
	if (min_size > max_size)
		bench_fail("--min is above --max");
	double start = bench_seconds();
	struct vector *table = calloc(vectors, sizeof(*table));
	if (!table)
		bench_fail("calloc(%" PRIu64 ", %zu) failed", vectors, sizeof(*table));
	uint64_t sum = run(table);
	free(table);
	bench_report(ops, start, sum);
	return 0;
}
