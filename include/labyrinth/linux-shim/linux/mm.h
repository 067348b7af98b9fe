/* linux/mm.h - for kernel sources on Labyrinth: docs/gfp.md. */
#ifndef LABYRINTH_SHIM_MM_H
#define LABYRINTH_SHIM_MM_H

#include <labyrinth/kernel/block.h>
#include <labyrinth/kernel/mm.h>
#include <labyrinth/kernel/noprof.h>
#include <labyrinth/kernel/page.h>
#include <labyrinth/kernel/vmalloc.h>

#endif
