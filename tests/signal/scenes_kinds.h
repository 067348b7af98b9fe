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

/* Of scenes_forks.c. */
void scene_blocks_of_threads_left_by_fork(void);
void scene_handlers_fork(void);

/* For handlers of the main thread: one in so many is to fork; 0: none. */
extern unsigned handlers_fork_every;
void fork_in_handler(void);

/* Of scenes_misuse.c, scenes_space.c and scenes_caches.c. */
void scene_misuse(void);
void scene_strangers(void);
void scene_many_huge_blocks(void);
void scene_settings_of_pages(void);
void scene_caches(void);
void scene_limit_caches(void);

/* Of scenes_kinds.c and scenes_limit.c, for others to use. */
void scene_shares(void);
void scene_limit_reached(void);

/* A handler that uses the atomic tier only: in fork's child it does not do the work that its first ordinary call does.
 * Any thread. */
void handler_atomic(void);

/* One that also asks for blocks that it may not get. Any thread. */
void handler_frugal(void);

/* While true, handlers are frugal in the main thread, and atomic in others. */
extern bool memory_is_short;

#endif
