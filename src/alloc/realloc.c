/*
 * realloc.c - resizing: in place where there is room, by moving pages for huge blocks, else by copying. Any context.
 *
 * A run's pages are its heap's: they are added to or given back only inside that heap. A huge block is nobody's but the caller's.
 */
#include <errno.h>
#include <string.h>

#include "alloc/alloc.h"
#include "alloc/fastpath.h"
#include "base/check.h"
#include "heap/registry.h"
#include "os/os.h"
#include "page/map.h"

/* From here on moving page table entries is cheaper than copying. */
#define MOVE_MIN ((size_t)1 << 20)

static size_t
pages_for(size_t size)
{
	return lab_run_pages((size + LAB_PAGE_SIZE - 1) >> LAB_PAGE_SHIFT);
}

static bool
resize_run(struct lab_bracket *bracket, const struct lab_place *place, size_t size)
{
	bool done = false;

	if (size <= LAB_SMALL_MAX || !lab_try_enter(bracket))
		return false;
	if (bracket->heap == lab_registry_heap(place->heap_id))
		done = lab_run_resize_owned(bracket->heap, place->segment, place->run, pages_for(size));
	lab_leave(bracket);
	return done;
}

/* Whether block p of `old` bytes has become one of `size` bytes where it is. */
static bool
resize_in_place(struct lab_bracket *bracket, void *p, size_t old, size_t size)
{
	if (old <= LAB_SMALL_MAX) /* a block that would be less than half used moves */
		return size <= old && (size > old / 2 || old <= 64);
	struct lab_place place = lab_map_find(p);
	if (place.kind == LAB_PLACE_RUN)
		return resize_run(bracket, &place, size);
	if (place.kind == LAB_PLACE_HUGE)
		return size > LAB_SEGMENT_SIZE && lab_huge_resize(place.arena, place.index, size);
	return size <= old; /* a slot of the reserve */
}

/* Moves a huge block's pages into another's place; what is left of the last page with them. */
static bool
move_pages(void *from, void *to, size_t bytes)
{
	if (bytes < MOVE_MIN || lab_map_find(from).kind != LAB_PLACE_HUGE || lab_map_find(to).kind != LAB_PLACE_HUGE)
		return false;
	return lab_os.move(from, to, lab_round_up(bytes, LAB_PAGE_SIZE));
}

static void *
resize_by_moving(struct lab_bracket *bracket, void *p, size_t old, size_t size, const char *call)
{
	struct lab_bracket inner = {.sp = bracket->sp};
	void *moved = lab_allocate(&inner, (struct lab_request){size, LAB_ALIGN_DEFAULT, false});

	if (!moved)
		return size <= old ? p : NULL;
	size_t bytes = old < size ? old : size;
	if (!move_pages(p, moved, bytes))
		memcpy(moved, p, bytes);
	lab_release(bracket, p, call);
	return moved;
}

LAB_EXPORT void *
lab_realloc(void *p, size_t size)
{
	struct lab_bracket bracket = LAB_BRACKET_HERE;

	if (!p)
		return lab_malloc(size);
	size_t old = lab_block_size(p, "realloc");
	if (size == 0) {
		lab_release(&bracket, p, "realloc");
		return NULL;
	}
	if (size > LAB_SIZE_MAX)
		return lab_or_enomem(NULL);
	if (resize_in_place(&bracket, p, old, size))
		return p;
	return lab_or_enomem(resize_by_moving(&bracket, p, old, size, "realloc"));
}

LAB_EXPORT void *
lab_reallocarray(void *p, size_t count, size_t size)
{
	size_t bytes;

	if (__builtin_mul_overflow(count, size, &bytes))
		return lab_or_enomem(NULL);
	return lab_realloc(p, bytes);
}
