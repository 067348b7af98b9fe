/*
 * directory.h - an array that grows and never moves: chunks of 16, 32, 64… elements, each published by one CAS. Elements begin as zero
 * bytes and stay where they are until the whole directory is dropped, so that a walker of any age reads no freed memory.
 * lab_directory_at: any context. lab_directory_extend: any context that may allocate. lab_directory_drop: by the only user.
 */
#ifndef LAB_ALLOC_DIRECTORY_H
#define LAB_ALLOC_DIRECTORY_H

#include "base/atomic.h"
#include "base/bits.h"
#include "alloc/alloc.h"

enum { LAB_DIRECTORY_FIRST_SHIFT = 4, LAB_DIRECTORY_CHUNKS = 26 };

#define LAB_DIRECTORY_MAX ((((size_t)1 << LAB_DIRECTORY_CHUNKS) - 1) << LAB_DIRECTORY_FIRST_SHIFT)

struct lab_directory {
	_Atomic(char *) chunks[LAB_DIRECTORY_CHUNKS];
};

/* Chunk k holds the 2^(k + 4) elements from 2^(k + 4) - 16 on. */
static inline unsigned
lab_directory_chunk(size_t index)
{
	return lab_log2(index + (1u << LAB_DIRECTORY_FIRST_SHIFT)) - LAB_DIRECTORY_FIRST_SHIFT;
}

/* The element, in a chunk that is there. */
static inline void *
lab_directory_at(const struct lab_directory *directory, size_t index, size_t element_size)
{
	unsigned k = lab_directory_chunk(index);
	size_t first = ((size_t)1 << (k + LAB_DIRECTORY_FIRST_SHIFT)) - (1u << LAB_DIRECTORY_FIRST_SHIFT);

	/* acq pairs with the CAS that published the chunk: its zeros are seen. */
	return lab_load_acq(&directory->chunks[k]) + (index - first) * element_size;
}

static inline bool
lab_directory_has(const struct lab_directory *directory, size_t index)
{
	return index < LAB_DIRECTORY_MAX && lab_load_rlx(&directory->chunks[lab_directory_chunk(index)]) != NULL;
}

/* Sees to it that the element is there, aligned to 64. False: no memory. A frame that is cut short loses at most the new chunk. */
bool lab_directory_extend(struct lab_directory *directory, struct lab_bracket *bracket, size_t index, size_t element_size);

/* Frees all chunks. */
void lab_directory_drop(struct lab_directory *directory, struct lab_bracket *bracket);

/* A block aligned to `align`, never from the reserve, which is no place for what stays. NULL: no memory. */
void *lab_allocate_lasting(struct lab_bracket *bracket, size_t size, size_t align);

/* The same, aligned to 64 and zeroed. */
void *lab_allocate_zeroed(struct lab_bracket *bracket, size_t size);

#endif
