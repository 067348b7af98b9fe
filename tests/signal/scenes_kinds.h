/*
 * scenes_kinds.h - scenes of what is not plain malloc: allocation by context, the reserve, shares, exclusive blocks,
 * the memory limit. For break_each.c, on Labyrinth only.
 */
#ifndef LAB_TESTS_SIGNAL_SCENES_KINDS_H
#define LAB_TESTS_SIGNAL_SCENES_KINDS_H

#include <stdbool.h>
#include <stddef.h>

#include "scenes.h"

/* Finds the functions. False: the malloc under test has none of this. */
bool find_kinds(void);

extern const struct scene kind_scenes[]; /* scenes_kinds.c */
extern const size_t kind_scene_count;
extern const struct scene limit_scenes[]; /* scenes_limit.c: under LABYRINTH_LIMIT, which they reach */
extern const size_t limit_scene_count;

/* Of scenes_exclusive.c. */
void scene_exclusive_blocks(void);
void scene_exclusive_blocks_of_others(void);
void scene_exclusive_blocks_and_fork(void);

/* A handler that uses the atomic tier only: in fork's child it does not do the work that its first ordinary call does.
 * Any thread. */
void handler_atomic(void);

/* One that also asks for blocks that it may not get. Any thread. */
void handler_frugal(void);

/* While true, handlers are frugal in the main thread, and atomic in others. */
extern bool memory_is_short;

#endif
