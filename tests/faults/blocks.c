/* blocks.c - ordinary blocks: every class, runs of pages, huge ones, resizing, and calloc over what was used before. */
#include <string.h>

#include "faults.h"

#define KIB ((size_t)1 << 10)
#define MIB ((size_t)1 << 20)

enum { MANY = 200 };

static struct kept blocks[MANY];

static void
free_all(void)
{
	for (int i = 0; i < MANY; i++)
		kept_free(&blocks[i]);
}

static void
check_all(void)
{
	for (int i = 0; i < MANY; i++)
		kept_check(&blocks[i]);
}

/* ---- small ----------------------------------------------------------------------------------------------------- */

/* Every class, several spans of the larger ones; freed in another order, and again into what was freed. */
static void
small(void)
{
	for (int i = 0; i < MANY; i++)
		kept_malloc(&blocks[i], i < 100 ? (size_t)i * 17 : (size_t)(i - 99) * 323);
	for (int i = 0; i < MANY; i += 3)
		kept_free(&blocks[i]);
	check_all();
	for (int i = 0; i < MANY; i += 6)
		kept_calloc(&blocks[i], (size_t)(MANY - i) * 160);
	for (int i = 0; i < MANY; i += 9)
		kept_realloc(&blocks[i], (size_t)i * 99 + 1, LAB_GFP_KERNEL);
	for (int i = 1; i < MANY; i += 9)
		kept_realloc(&blocks[i], blocks[i].size / 3 + 1, LAB_GFP_ZERO);
	free_all();
}

/* ---- runs ------------------------------------------------------------------------------------------------------ */

static void
runs(void)
{
	for (int i = 0; i < 40; i++)
		kept_malloc(&blocks[i], (33 * KIB) + (size_t)i * i * 311);
	for (int i = 0; i < 40; i += 2)
		kept_free(&blocks[i]);
	for (int i = 0; i < 40; i += 4)
		kept_aligned(&blocks[i], 4 * KIB << i % 11, 40 * KIB << i % 6);
	for (unsigned order = 3; order <= 10; order++)
		kept_pages(&blocks[40 + order], order);
	kept_memalign(&blocks[60], 2 * MIB, 4 * MIB);
	check_all();
	for (int i = 1; i < 40; i += 2)
		kept_realloc(&blocks[i], (size_t)(41 - i) * 20 * KIB, LAB_GFP_KERNEL);
	free_all();
}

/* ---- huge ------------------------------------------------------------------------------------------------------ */

static void
huge(void)
{
	for (int i = 0; i < 4; i++)
		kept_malloc(&blocks[i], (size_t)(5 + 4 * i) * MIB);
	kept_aligned(&blocks[4], 16 * MIB, 5 * MIB);
	kept_free(&blocks[1]);
	kept_realloc(&blocks[0], 12 * MIB, LAB_GFP_KERNEL); /* into the gap */
	kept_realloc(&blocks[0], 5 * MIB, LAB_GFP_KERNEL);
	kept_realloc(&blocks[2], 30 * MIB, LAB_GFP_KERNEL); /* by moving pages */
	check_all();
	kept_realloc(&blocks[2], 20 * KIB, LAB_GFP_KERNEL);
	kept_realloc(&blocks[3], 2 * MIB, LAB_GFP_KERNEL);
	kept_realloc(&blocks[3], 7 * MIB, LAB_GFP_ZERO);
	check_all();
	free_all();
}

/* So large that the system is asked before, and a segment is opened after the other. */
static void
vast(void)
{
	kept_begin();
	char *p = lab_malloc((size_t)1 << 30);
	kept_judge(p);
	if (p)
		p[0] = p[((size_t)1 << 30) - 1] = 1;
	lab_free(p);
}

/* ---- zero ------------------------------------------------------------------------------------------------------ */

static void
soil(void)
{
	for (int i = 0; i < 30; i++) {
		kept_malloc(&blocks[i], (size_t)(i + 1) * 5 * KIB);
		if (blocks[i].p)
			memset(blocks[i].p, 0xa5, blocks[i].size);
	}
	kept_malloc(&blocks[30], 6 * MIB);
	if (blocks[30].p)
		memset(blocks[30].p + 3 * MIB, 0xa5, MIB / 2);
	for (int i = 0; i < 31; i++) {
		lab_free(blocks[i].p);
		blocks[i].p = NULL;
	}
}

/* Over pages that are dirty, that went back, that were to go back. */
static void
zero(void)
{
	for (int round = 0; round < 2; round++) {
		(void)lab_trim(round == 1 ? MIB : 0);
		for (int i = 0; i < 20; i++)
			kept_calloc(&blocks[i], (size_t)(i + 1) * 8 * KIB);
		kept_calloc(&blocks[20], 4 * MIB + 100 * KIB);
		for (int i = 0; i < 20; i += 2)
			kept_realloc(&blocks[i], blocks[i].size + 100 * KIB, LAB_GFP_ZERO);
		for (int i = 21; i < 90; i++)
			kept_calloc(&blocks[i], (size_t)(i - 20) * 100);
		kept_gfp(&blocks[90], 70 * KIB, LAB_GFP_NOMERGE | LAB_GFP_ZERO);
		free_all();
		soil();
	}
}

static const struct fault_workload workloads[] = {
        {"small", NULL, small, false, false}, {"runs", NULL, runs, false, false}, {"huge", NULL, huge, false, true},
        {"vast", NULL, vast, false, false},   {"zero", soil, zero, false, true},
};

const struct fault_group fault_blocks = FAULT_GROUP("blocks", workloads);
