/* linux/gfp.h - for kernel sources on Labyrinth: docs/gfp.md. */
#ifndef LABYRINTH_SHIM_GFP_H
#define LABYRINTH_SHIM_GFP_H

#include <labyrinth/kernel/flags.h>
#include <labyrinth/kernel/noprof.h>
#include <labyrinth/kernel/page.h>

#endif
