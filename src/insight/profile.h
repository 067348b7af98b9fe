/*
 * profile.h - the heap profile: what was asked for, and by whom, estimated from samples. Any context unless said.
 *
 * A sampled block is a run of whole pages, or a huge block, whatever its size: freeing one takes the slow path, which
 * asks here; all other frees are as they were. The stack is walked outside of the heap. A child of fork goes on with
 * all that its parent had counted: what it has in memory is what the profile says is in use.
 *
 * What is not seen: blocks of the reserve (the atomic tier), blocks of 0 bytes, and samples for which there was no
 * room, which are counted (lab_profile_lost).
 */
#ifndef LAB_INSIGHT_PROFILE_H
#define LAB_INSIGHT_PROFILE_H

#include "insight/sampler.h"
#include "insight/stack.h"

/* Begins, with a mean distance in bytes between samples, at least 1. False: no memory, or it has begun. When the
 * library starts; outside of every heap, as it loads the unwinder. */
bool lab_profile_start(size_t distance);

static inline bool
lab_profile_is_on(void)
{
	return lab_load_acq(&lab_sample_distance) != 0; /* pairs with the rel of lab_profile_start */
}

/* A block that was sampled is about to be returned: by the API function whose entry's stack pointer is sp. Outside of
 * the heap. */
void lab_profile_add(const void *block, size_t size, uintptr_t sp, enum lab_stack_effort effort);

/* The free of a block of whole pages was won: nobody else has it yet. */
void lab_profile_remove(const void *block);

/* The same of a block that may move, before it does: once its pages have moved, another thread's block may have its
 * address. lab_profile_end_move says whether it was resized; if not, the sample is as it was. A frame that is cut
 * short in between leaves the sample counted as in use. */
struct lab_profile_sample {
	size_t size; /* 0: the block is no sample */
	uint32_t site;
};
struct lab_profile_sample lab_profile_begin_move(const void *block);
void lab_profile_end_move(const void *block, struct lab_profile_sample sample, bool resized);

/* A sample could not be kept. */
void lab_profile_lose(void);
uint64_t lab_profile_lost(void);

#endif
