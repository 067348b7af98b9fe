/* malloc.c - lab_malloc and lab_free: see fastpath.h, and slow.c for the rest. */
#include "alloc/alloc.h"
#include "alloc/fastpath.h"

LAB_EXPORT void *
lab_malloc(size_t size)
{
	return lab_malloc_fast(size);
}

LAB_EXPORT void
lab_free(void *p)
{
	lab_free_fast(p);
}
