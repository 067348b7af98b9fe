/* linux/gfp_types.h - for kernel sources on Labyrinth: docs/gfp.md. */
#ifndef LABYRINTH_SHIM_GFP_TYPES_H
#define LABYRINTH_SHIM_GFP_TYPES_H

#include <labyrinth/kernel/flags.h>

#endif
