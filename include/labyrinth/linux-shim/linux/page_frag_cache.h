/* linux/page_frag_cache.h - for kernel sources on Labyrinth: docs/gfp.md. */
#ifndef LABYRINTH_SHIM_PAGE_FRAG_CACHE_H
#define LABYRINTH_SHIM_PAGE_FRAG_CACHE_H

#include <labyrinth/kernel/page.h>

#endif
