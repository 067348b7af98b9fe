/*
 * realloc.c - resizing: in place where there is room, by moving its pages if it is a huge block, else by copying. Any context.
 *
 * A run's pages are its heap's: they are added to or given back only inside that heap. A huge block is the caller's alone.
 */
#include <errno.h>
#include <string.h>

#include "alloc/alloc.h"
#include "alloc/fastpath.h"
#include "heap/registry.h"
#include "os/os.h"
#include "page/charge.h"
#include "page/map.h"

static size_t
pages_for(size_t size)
{
	return lab_run_pages((size + LAB_PAGE_SIZE - 1) >> LAB_PAGE_SHIFT);
}

/* A block that has become small for one moves: half of what such a block has at least, so that a size that goes up and down does not. */
static void *
resize_huge(const struct lab_place *place, size_t size)
{
	size_t least = lab_load_rlx(&lab_settings.huge_threshold);

	if (least > LAB_SEGMENT_SIZE)
		least = LAB_SEGMENT_SIZE;
	return size > least / 2 ? lab_huge_resize(place->huge, size) : NULL;
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

/* Block p of `old` bytes as one of `size` bytes: where it is, or where its pages were moved to. NULL: it is as it was. */
static void *
resize_block(struct lab_bracket *bracket, void *p, size_t old, size_t size)
{
	if (old <= LAB_SMALL_MAX) /* a block that would be less than half used moves */
		return size <= old && (size > old / 2 || old <= 64) ? p : NULL;
	struct lab_place place = lab_map_find(p);
	if (place.kind == LAB_PLACE_RUN)
		return resize_run(bracket, &place, size) ? p : NULL;
	if (place.kind == LAB_PLACE_HUGE)
		return resize_huge(&place, size);
	return size <= old ? p : NULL; /* a slot of the reserve */
}

static void *
resize_by_copying(struct lab_bracket *bracket, void *p, size_t old, size_t size, unsigned gfp)
{
	struct lab_bracket inner = {.sp = bracket->sp};
	void *moved = lab_allocate(&inner, (struct lab_request){size, LAB_ALIGN_DEFAULT, gfp});

	if (!moved)
		return size <= old ? p : NULL;
	memcpy(moved, p, old < size ? old : size);
	lab_release(bracket, p, "realloc");
	return moved;
}

/* NOWAIT and ATOMIC: a block that fits stays as it is, another moves; nothing is mapped, given back or waited for. */
static void *
resize_quietly(struct lab_bracket *bracket, void *p, size_t old, size_t size, unsigned gfp)
{
	if (size == 0) {
		lab_release_quietly(p, "realloc");
		return NULL;
	}
	if (lab_unlikely(lab_exclusive_concerns(p, gfp)))
		return lab_exclusive_resize(bracket, p, old, (struct lab_request){size, LAB_ALIGN_DEFAULT, gfp});
	if (size <= old)
		return p;
	void *moved = lab_allocate_any(bracket, (struct lab_request){size, LAB_ALIGN_DEFAULT, gfp});
	if (moved) {
		memcpy(moved, p, old);
		lab_release_quietly(p, "realloc");
	}
	return moved;
}

/* Clears what a block that was not copied has behind `kept` bytes, so that it is zero when the block grows into it. A huge one reads as zero from some
 * page on. */
static void
clear_behind(char *p, size_t kept)
{
	size_t end = lab_block_size(p, NULL);
	struct lab_place place = lab_map_find(p);

	if (place.kind == LAB_PLACE_HUGE) {
		size_t dirty = lab_load_rlx(&place.huge->dirty) << LAB_PAGE_SHIFT;
		end = dirty < end ? dirty : end;
	}
	if (end > kept)
		memset(p + kept, 0, end - kept);
}

static void *
resize(struct lab_bracket *bracket, void *p, size_t old, size_t size, unsigned gfp)
{
	if (size == 0) {
		lab_release(bracket, p, "realloc");
		return NULL;
	}
	if (size > LAB_SIZE_MAX)
		return lab_or_enomem(NULL);
	if (lab_unlikely(lab_exclusive_concerns(p, gfp)))
		return lab_exclusive_resize(bracket, p, old, (struct lab_request){size, LAB_ALIGN_DEFAULT, gfp});
	void *resized = resize_block(bracket, p, old, size);
	if (!resized)
		resized = resize_by_copying(bracket, p, old, size, gfp);
	/* two blocks at once may be too much where one is not; what could be reclaimed is by now */
	if (!resized)
		resized = resize_block(bracket, p, old, size);
	return lab_or_enomem(resized);
}

/* With modifiers, or of another kind. */
static LAB_NOINLINE void *
resize_any(void *p, size_t size, unsigned gfp)
{
	struct lab_bracket bracket = LAB_BRACKET_HERE;

	if (!p)
		return lab_alloc(size, gfp);
	if (!lab_gfp_check(gfp))
		return NULL;
	size_t old = lab_block_size(p, "realloc");
	char *q = gfp & LAB_GFP_KIND ? resize_quietly(&bracket, p, old, size, gfp) : resize(&bracket, p, old, size, gfp);
	if (q && gfp & LAB_GFP_ZERO && (q == p || lab_map_find(q).kind == LAB_PLACE_HUGE))
		clear_behind(q, old < size ? old : size);
	return q;
}

LAB_EXPORT void *
lab_realloc(void *p, size_t size, unsigned gfp)
{
	struct lab_bracket bracket = LAB_BRACKET_HERE;

	if (lab_unlikely(gfp != LAB_GFP_KERNEL))
		return resize_any(p, size, gfp);
	if (!p)
		return lab_malloc(size);
	return resize(&bracket, p, lab_block_size(p, "realloc"), size, LAB_GFP_KERNEL);
}

LAB_EXPORT void *
lab_reallocarray(void *p, size_t count, size_t size)
{
	size_t bytes;

	if (__builtin_mul_overflow(count, size, &bytes))
		return lab_or_enomem(NULL);
	return lab_realloc(p, bytes, LAB_GFP_KERNEL);
}
