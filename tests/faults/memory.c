/* memory.c - memory on its way back, and memory that runs out: decay, lab_trim, the threshold, the limit, segments that
 * come and go. */
#include <string.h>

#include "alloc/allocate.h"
#include "alloc/release.h"
#include "faults.h"
#include "page/charge.h"

#define KIB ((size_t)1 << 10)
#define MIB ((size_t)1 << 20)

enum { MANY = 60, DECAY_MS = 1000 };

static struct kept blocks[MANY];

static void
fill(size_t least, size_t step)
{
	for (int i = 0; i < MANY; i++)
		kept_calloc(&blocks[i], least + (size_t)i * step);
}

static void
free_every(int step)
{
	for (int i = 0; i < MANY; i += step)
		kept_free(&blocks[i]);
}

/* ---- going back ------------------------------------------------------------------------------------------------ */

/* A free in one segment sends back what has been free in others for long. */
static void
decay(void)
{
	for (int round = 0; round < 3; round++) {
		for (int i = 0; i < 12; i++)
			kept_calloc(&blocks[i], 500 * KIB + (size_t)i * 60 * KIB);
		for (int i = 0; i < 12; i++) {
			kept_free(&blocks[i]);
			if (i % 3 == 2)
				fault_clock += DECAY_MS;
			if (i % 4 == 3)
				kept_calloc(&blocks[i - 1], 300 * KIB);
		}
		fault_clock += 2 * DECAY_MS;
		free_every(1);
	}
}

static void
trim(void)
{
	kept_malloc(&blocks[0], 9 * MIB);
	kept_free(&blocks[0]);
	fill(2000, 900);
	free_every(2);
	(void)lab_trim(100 * KIB);
	free_every(3);
	(void)lab_trim(0);
	for (int i = 0; i < MANY; i += 6)
		kept_calloc(&blocks[i], 50 * KIB);
	free_every(1);
	(void)lab_trim(0);
}

static void
threshold(void)
{
	REQUIRE(lab_set_param(LAB_PARAM_TRIM_THRESHOLD, 256 * KIB));
	for (int round = 0; round < 2; round++) {
		fill(40 * KIB, 500);
		free_every(2);
		free_every(1);
	}
	REQUIRE(lab_set_param(LAB_PARAM_TRIM_THRESHOLD, SIZE_MAX));
}

/* ---- the limit ------------------------------------------------------------------------------------------------- */

/* Each shape needs what the one before has left free and dirty. */
static void
limit(void)
{
	REQUIRE(lab_set_param(LAB_PARAM_LIMIT, lab_charge_count() * LAB_OS_PAGE_SIZE + 8 * MIB));
	REQUIRE(lab_set_param(LAB_PARAM_WAIT_MS, 30));
	fill(1, 330); /* spans */
	free_every(1);
	fill(100 * KIB, 0);
	free_every(1);
	for (int i = 0; i < 6; i++)
		kept_pages(&blocks[i], 8);
	free_every(2);
	kept_realloc(&blocks[1], 2 * MIB, LAB_GFP_KERNEL);
	free_every(1);
	kept_malloc(&blocks[0], 4 * MIB + 100);
	kept_realloc(&blocks[0], 7 * MIB, LAB_GFP_KERNEL);
	free_every(1);
	fill(1, 330);
	free_every(1);
	REQUIRE(lab_set_param(LAB_PARAM_LIMIT, SIZE_MAX) && lab_set_param(LAB_PARAM_WAIT_MS, 0));
}

/* ---- segments ---------------------------------------------------------------------------------------------------- */

static void
segments(void)
{
	for (int i = 0; i < 15; i++)
		kept_malloc(&blocks[i], 3 * MIB);
	for (int i = 15; i < 20; i++)
		kept_malloc(&blocks[i], (size_t)i * 1000);
	kept_malloc(&blocks[20], 9 * MIB);
	kept_aligned(&blocks[21], 4 * MIB, 6 * MIB);
	free_every(2);
	kept_realloc(&blocks[21], 14 * MIB, LAB_GFP_KERNEL);
	for (int i = 22; i < 26; i++)
		kept_malloc(&blocks[i], 5 * MIB);
	kept_calloc(&blocks[26], 2 * MIB);
	free_every(1);
	(void)lab_trim(0);
}

static const struct fault_workload workloads[] = {
        {"decay", NULL, decay, false, false},         {"trim", NULL, trim, false, false},
        {"threshold", NULL, threshold, false, false}, {"limit", NULL, limit, false, false},
        {"segments", NULL, segments, false, true},
};

const struct fault_group fault_memory = FAULT_GROUP("memory", workloads);
