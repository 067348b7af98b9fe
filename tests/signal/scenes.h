/*
 * scenes.h - what the main program does while it is interrupted: each scene takes some paths of the library, all of
 * them together as many as a program can reach. Run by single_step.c and break_each.c.
 */
#ifndef LAB_TESTS_SIGNAL_SCENES_H
#define LAB_TESTS_SIGNAL_SCENES_H

#include <stddef.h>

struct scene {
	const char *name;
	void (*run)(void);
};

extern const struct scene scenes[];
extern const size_t scene_count;

/* Of one thread's blocks (scenes_blocks.c). */
void scene_small_first_use(void);
void scene_spans_of_small_blocks(void);
void scene_spans_of_medium_blocks(void);
void scene_refills(void);
void scene_runs_of_pages(void);
void scene_huge_blocks(void);
void scene_realloc_of_small_blocks(void);
void scene_realloc_of_runs(void);
void scene_growth_by_segments(void);
void scene_calloc(void);
void scene_aligned_blocks(void);

/* With other threads (scenes_threads.c). */
void scene_remote_frees(void);
void scene_remote_frees_at_the_same_time(void);
void scene_births(void);
void scene_sleeping_thread(void);
void scene_dead_threads(void);

/* On other stacks, each in a child (scenes_stacks.c); not of the table: it says itself on which stack the handlers
 * are. */
void scene_other_stacks(void);

/* Of what the kernel's names need (scenes_kernel.c); nothing where the malloc under test has no such functions. */
void scene_kernel(void);

/* The rest (scenes_rare.c). */
void scene_other_names(void);
void scene_purges(void);
void scene_sparse_spans(void);
void scene_settings(void);
void scene_failures(void);
void scene_fork(void);

#endif
