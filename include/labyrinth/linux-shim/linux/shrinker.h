/* linux/shrinker.h - for kernel sources on Labyrinth: docs/gfp.md. */
#ifndef LABYRINTH_SHIM_SHRINKER_H
#define LABYRINTH_SHIM_SHRINKER_H

#include <labyrinth/kernel/shrinker.h>

#endif
