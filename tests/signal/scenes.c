/* scenes.c - the table of scenes: see scenes.h. */
#include "scenes.h"

const struct scene scenes[] = {
        {"small blocks, first use", scene_small_first_use},
        {"births of threads", scene_births},
        {"spans of small blocks", scene_spans_of_small_blocks},
        {"spans of 17 to 32 KiB blocks", scene_spans_of_medium_blocks},
        {"refills", scene_refills},
        {"runs of pages", scene_runs_of_pages},
        {"huge blocks", scene_huge_blocks},
        {"realloc of small blocks", scene_realloc_of_small_blocks},
        {"realloc of runs", scene_realloc_of_runs},
        {"growth by segments", scene_growth_by_segments},
        {"calloc", scene_calloc},
        {"aligned blocks", scene_aligned_blocks},
        {"other names", scene_other_names},
        {"remote frees", scene_remote_frees},
        {"remote frees at the same time", scene_remote_frees_at_the_same_time},
        {"dead threads", scene_dead_threads},
        {"a thread that sleeps", scene_sleeping_thread},
        {"children of fork", scene_fork},
        {"purges", scene_purges},
        {"sparse spans", scene_sparse_spans},
        {"settings", scene_settings},
        {"the kernel's names", scene_kernel},
        {"failures", scene_failures},
};

const size_t scene_count = sizeof scenes / sizeof *scenes;
