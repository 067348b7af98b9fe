/* objects.h - what the layer above answers for, once it has something: the objects of typed caches, which lie inside of
 * blocks. Any context. */
#ifndef LAB_ALLOC_OBJECTS_H
#define LAB_ALLOC_OBJECTS_H

#include <stddef.h>
#include <stdint.h>

#include "base/atomic.h"

struct lab_cache;

struct lab_objects {
	/* The bytes of the object p; 0: it is none. p lies in a block of the caller's. With a `call` the object is
	 * freed by it, and a double free is its misuse. */
	size_t (*visit)(void *p, const char *call);
	/* A line for each cache. */
	void (*print)(void (*write_line)(void *context, const char *line), void *context);
	/* For who looks from outside (inspect.h): the caches, and the layout of their descriptors, as a number. */
	struct lab_cache *_Atomic *caches;
	uint64_t layout;
};
extern _Atomic(const struct lab_objects *) lab_objects;

/* Frees the object p, which is no block, or reports a misuse of `call`: p is `why`. */
void lab_release_object(void *p, const char *call, const char *why);

/* The bytes of the object p; 0: it is none. */
size_t lab_object_size(const void *p);

#endif
