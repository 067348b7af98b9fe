/* scenes_blocks.c - spans, runs and huge blocks of one thread: see scenes.h. */
#include <stdlib.h>
#include <string.h>

#include "calls.h"
#include "scenes.h"

/* The very first blocks of several classes, then the same from a span that is there. */
void
scene_small_first_use(void)
{
	static const size_t sizes[] = {1, 16, 17, 128, 129, 500, 1024, 1025, 2000, 4096, 8000};
	enum { SIZES = sizeof sizes / sizeof *sizes };
	struct block blocks[SIZES][2];

	for (int i = 0; i < SIZES; i++)
		for (int j = 0; j < 2; j++)
			blocks[i][j] = step_new(sizes[i]);
	exchange_mail(40);
	for (int i = 0; i < SIZES; i++)
		for (int j = 0; j < 2; j++)
			step_free(&blocks[i][j]);
}

/* Spans of one class: carved to the end, exhausted, replaced, reopened by a free, retired. */
static void
span_lives(size_t size)
{
	enum { MAX = 160 };
	static struct block blocks[MAX];
	size_t count = 5 * (64 * KIB / size) / 2 + 1;

	if (count > MAX)
		count = MAX;
	for (size_t i = 0; i < count; i++)
		blocks[i] = step_new(size);
	for (size_t i = 0; i < count; i += 2)
		step_free(&blocks[i]);
	for (size_t i = 0; i < count; i += 4) /* into the holes */
		blocks[i] = step_new(size);
	exchange_mail(size / 2);
	for (size_t i = 0; i < count; i++)
		step_free(&blocks[i]);
}

void
scene_spans_of_small_blocks(void)
{
	span_lives(1450);
}

/* Refills choose among spans of which one block, a few, and many are free. */
void
scene_refills(void)
{
	enum { SPANS = 24, BLOCKS = 44, REFILLED = 200 };
	static struct block blocks[SPANS][BLOCKS], more[REFILLED];

	for (int round = 0; round < 2; round++) {
		for (int s = 0; s < SPANS; s++)
			for (int i = 0; i < BLOCKS; i++)
				blocks[s][i] = new_block(1450);
		for (int s = 0; s < SPANS; s++) /* first those that are not worth a refill */
			for (int i = 0; i < (s < SPANS / 2 ? 1 : s * (round ? 5 : 7) % BLOCKS); i++)
				step_free(&blocks[s][i]);
		for (int i = 0; i < REFILLED; i++)
			more[i] = step_new(1450);
		for (int s = 0; s < SPANS; s++)
			for (int i = 0; i < BLOCKS; i++)
				if (blocks[s][i].p)
					free_block(&blocks[s][i]);
		for (int i = 0; i < REFILLED; i++)
			free_block(&more[i]);
	}
}

void
scene_spans_of_medium_blocks(void)
{
	span_lives(17 * KIB);
	span_lives(24 * KIB);
	span_lives(32 * KIB);
}

void
scene_runs_of_pages(void)
{
	static const size_t sizes[] = {33 * KIB, 100 * KIB, 257 * KIB, 1 * MIB, 3 * MIB, 4 * MIB};
	struct block blocks[6];

	for (int i = 0; i < 6; i++)
		blocks[i] = step_new(sizes[i]);
	exchange_mail(50 * KIB);
	for (int i = 0; i < 6; i += 2)
		step_free(&blocks[i]);
	for (int i = 0; i < 6; i += 2)
		blocks[i] = step_new(sizes[5 - i]);
	for (int i = 0; i < 6; i++)
		step_free(&blocks[i]);
}

void
scene_huge_blocks(void)
{
	struct block a = step_new(5 * MIB), b = step_new(20 * MIB);

	step_realloc(&b, 23 * MIB);
	step_realloc(&b, 41 * MIB);
	step_realloc(&b, 9 * MIB);
	step_realloc(&a, 12 * MIB);
	step_free(&a);
	a = step_new(6 * MIB);
	step_free(&b);
	step_realloc(&a, 300 * KIB);
	step_free(&a);
}

void
scene_realloc_of_small_blocks(void)
{
	struct block block = step_new(10);

	for (size_t size = 20; size < 80 * KIB; size = size * 7 / 4)
		step_realloc(&block, size);
	for (size_t size = 60 * KIB; size > 16; size /= 3)
		step_realloc(&block, size);
	step_free(&block);
}

/* In place while the pages behind are free, by moving when a neighbour is in the way, back to fewer pages. */
void
scene_realloc_of_runs(void)
{
	struct block a = step_new(100 * KIB), b;

	step_realloc(&a, 180 * KIB);
	step_realloc(&a, 400 * KIB);
	b = step_new(100 * KIB);
	step_realloc(&a, 1500 * KIB);
	step_realloc(&a, 200 * KIB);
	step_realloc(&a, 3 * MIB);
	step_realloc(&a, 7 * MIB);
	step_realloc(&b, 40 * KIB);
	step_free(&a);
	step_free(&b);
}

/* Segments are claimed one after the other, and go back. */
void
scene_growth_by_segments(void)
{
	enum { COUNT = 14 };
	struct block blocks[COUNT];

	for (int i = 0; i < COUNT; i++)
		blocks[i] = step_new(i % 3 == 0 ? 3 * MIB : 1500 * KIB);
	for (int i = 0; i < COUNT; i++)
		step_free(&blocks[i]);
}

void
scene_calloc(void)
{
	static const size_t sizes[] = {1, 64, 1000, 2000, 20 * KIB, 100 * KIB, 700 * KIB, 5 * MIB};
	struct block block;

	for (int round = 0; round < 2; round++) { /* the second time on pages that were used before */
		for (int i = 0; i < 8; i++) {
			block = step_calloc(1, sizes[i]);
			step_free(&block);
			block = step_calloc(sizes[i], 1);
			memset(block.p, 0xff, block.size < MIB ? block.size : MIB);
			free(block.p);
		}
	}
}

void
scene_aligned_blocks(void)
{
	static const size_t alignments[] = {16, 64, 256, 4096, 16 * KIB, 32 * KIB, 64 * KIB, 1 * MIB, 8 * MIB};
	static const size_t sizes[] = {1, 100, 5000, 100 * KIB};
	struct block blocks[9];

	for (int s = 0; s < 4; s++) {
		for (int i = 0; i < 9; i++)
			blocks[i] = step_aligned(alignments[i], sizes[s], i % 2);
		for (int i = 0; i < 9; i++)
			step_free(&blocks[i]);
	}
}
