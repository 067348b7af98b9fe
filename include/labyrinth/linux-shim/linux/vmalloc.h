/* linux/vmalloc.h - for kernel sources on Labyrinth: docs/gfp.md. */
#ifndef LABYRINTH_SHIM_VMALLOC_H
#define LABYRINTH_SHIM_VMALLOC_H

#include <labyrinth/kernel/noprof.h>
#include <labyrinth/kernel/vmalloc.h>

#endif
