/* directory.c - see directory.h. */
#include <string.h>

#include "alloc/allocate.h"
#include "alloc/directory.h"
#include "alloc/release.h"
#include "page/map.h"

void *
lab_allocate_lasting(struct lab_bracket *bracket, size_t size, size_t align)
{
	void *p = lab_allocate(bracket, (struct lab_request){.size = size, .align = align});

	enum lab_place_kind kind = p ? lab_map_find_block(p).kind : LAB_PLACE_FOREIGN;
	if (kind != LAB_PLACE_SLOT && kind != LAB_PLACE_SHARE)
		return p;
	lab_release(bracket, p, "free");
	return NULL;
}

void *
lab_allocate_zeroed(struct lab_bracket *bracket, size_t size)
{
	void *p = lab_allocate_lasting(bracket, size, 64);

	return p ? memset(p, 0, size) : NULL;
}

bool
lab_directory_extend(struct lab_directory *directory, struct lab_bracket *bracket, size_t index, size_t element_size)
{
	char *missing = NULL;

	if (index >= LAB_DIRECTORY_MAX)
		return false;
	if (lab_directory_has(directory, index))
		return true;
	unsigned k = lab_directory_chunk(index);
	size_t size = element_size << (k + LAB_DIRECTORY_FIRST_SHIFT);
	char *chunk = lab_allocate_zeroed(bracket, size);
	if (!chunk)
		return false;
	/* acq_rel pairs with the acq of lab_directory_at. */
	if (!atomic_compare_exchange_strong_explicit(&directory->chunks[k], &missing, chunk, memory_order_acq_rel,
	                                             memory_order_acquire))
		lab_release(bracket, chunk, "free"); /* another's is there */
	return true;
}

void
lab_directory_drop(struct lab_directory *directory, struct lab_bracket *bracket)
{
	for (unsigned k = 0; k < LAB_DIRECTORY_CHUNKS; k++) {
		char *chunk = lab_load_acq(&directory->chunks[k]);
		lab_store_rlx(&directory->chunks[k], NULL);
		if (chunk)
			lab_release(bracket, chunk, "free");
	}
}
