/*
 * realloc.c - resizing: in place where there is room, by moving pages for huge blocks, else by copying. Any context.
 *
 * A run's pages are its heap's: they are added to or given back only inside that heap. A huge block is nobody's but the caller's.
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

static bool
resize_huge(struct lab_bracket *bracket, const struct lab_place *place, size_t old, size_t size)
{
	bool done = false;

	if (size <= LAB_SEGMENT_SIZE)
		return false;
	if (size <= old)
		return lab_huge_shrink(place->arena, place->index, size);
	if (!lab_try_enter(bracket))
		return false;
	done = lab_huge_grow_owned(bracket->heap, place->arena, place->index, size);
	lab_leave(bracket);
	return done;
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
		return resize_huge(bracket, &place, old, size);
	return size <= old; /* a slot of the reserve */
}

static bool
is_huge(const void *p)
{
	return lab_map_find(p).kind == LAB_PLACE_HUGE;
}

/* Part of `to` is somebody else's: what was moved there before goes back, and the rest of it is freed. */
static void
undo_transfer(char *from, char *to, size_t done)
{
	struct lab_place place = lab_map_find(to);

	memcpy(from, to, done);
	lab_huge_abandon(place.arena, place.index, done >> LAB_SEGMENT_SHIFT);
}

/*
 * Brings the contents of one block into another: by moving pages, a segment at a time, if both have whole segments, else by
 * copying. A segment lies in one mapping unless the program has changed that; the kernel says so, and it is copied.
 * False: part of `to` was lost to the system; `from` is as it was, and `to` is no more.
 */
static bool
transfer(char *from, char *to, size_t bytes)
{
	size_t at = 0;

	if (bytes > LAB_SEGMENT_SIZE && is_huge(from) && is_huge(to)) {
		for (; at + LAB_SEGMENT_SIZE <= bytes; at += LAB_SEGMENT_SIZE) {
			enum lab_move moved = lab_huge_move(from + at, to + at);
			if (moved == LAB_MOVE_LOST) {
				undo_transfer(from, to, at);
				return false;
			}
			if (moved == LAB_NOT_MOVED)
				memcpy(to + at, from + at, LAB_SEGMENT_SIZE);
		}
	}
	memcpy(to + at, from + at, bytes - at);
	return true;
}

static void *
resize_by_moving(struct lab_bracket *bracket, void *p, size_t old, size_t size, unsigned gfp)
{
	struct lab_bracket inner = {.sp = bracket->sp};
	void *moved = lab_allocate(&inner, (struct lab_request){size, LAB_ALIGN_DEFAULT, gfp});

	if (!moved || !transfer(p, moved, old < size ? old : size))
		return size <= old ? p : NULL;
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
	if (resize_in_place(bracket, p, old, size))
		return p;
	void *moved = resize_by_moving(bracket, p, old, size, gfp);
	/* two blocks at once may be too much for the limit where one is not; what could be reclaimed is by now */
	if (!moved && lab_charge_is_limited() && resize_in_place(bracket, p, old, size))
		return p;
	return lab_or_enomem(moved);
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
	/* all behind what was kept, so that it is zero when the block grows into it: a new block is already */
	if (q == p && gfp & LAB_GFP_ZERO && size > 0) {
		size_t kept = old < size ? old : size;
		memset(q + kept, 0, lab_block_size(q, NULL) - kept);
	}
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
