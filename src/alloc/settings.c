/* settings.c - the defaults: see settings.h. */
#include "alloc/settings.h"

#define DECAY_MS_DEFAULT  1000
#define DIRTY_MAX_DEFAULT ((size_t)32 << 20)

struct lab_settings lab_settings = {
        .decay_ms = DECAY_MS_DEFAULT,
        .trim_threshold = LAB_TRIM_BY_DECAY,
        .dirty_max = DIRTY_MAX_DEFAULT,
        .huge_threshold = SIZE_MAX,
};
