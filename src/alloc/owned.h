/* owned.h - allocation inside a heap that the caller has entered. Any context. */
#ifndef LAB_ALLOC_OWNED_H
#define LAB_ALLOC_OWNED_H

#include "alloc/request.h"
#include "heap/heap.h"

/* A block inside the heap, which the caller has entered; contents as they come. *fresh: it reads as zero. */
void *lab_allocate_owned(struct lab_heap *heap, struct lab_request request, bool *fresh);

#endif
