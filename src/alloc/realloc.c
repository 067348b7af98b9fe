/*
 * realloc.c - resizing: in place where there is room, by moving its pages if it is a huge block, else by copying. Any
 * context.
 *
 * A run's pages are its heap's: they are added to or given back only inside that heap. A huge block is the caller's
 * alone.
 */
#include <errno.h>
#include <string.h>

#include "alloc/allocate.h"
#include "alloc/checks.h"
#include "alloc/decay.h"
#include "alloc/exclusive.h"
#include "alloc/gfp.h"
#include "alloc/release.h"
#include "alloc/settings.h"
#include "heap/huge.h"
#include "heap/leases.h"
#include "heap/run.h"
#include "insight/live.h"
#include "insight/profile.h"

static size_t
pages_for(size_t size)
{
	return lab_run_pages((size + LAB_PAGE_SIZE - 1) >> LAB_PAGE_SHIFT);
}

/* A huge block moves once the new size is at most half of the least size of a huge block, so that a size that goes up
 * and down across that limit is not copied each time. */
static void *
resize_huge(const struct lab_place *place, size_t size)
{
	size_t least = lab_load_rlx(&lab_settings.huge_threshold);

	if (least > LAB_SEGMENT_SIZE)
		least = LAB_SEGMENT_SIZE;
	if (size <= least / 2)
		return NULL;
	void *resized = lab_huge_resize(place->huge, size);
	lab_note_slow_call();
	return resized;
}

static bool
resize_run(struct lab_guard *guard, const struct lab_place *place, size_t size)
{
	bool done = false;

	if (!lab_try_enter(guard))
		return false;
	size_t freed = guard->heap->freed_pages;
	if (guard->heap->id == lab_place_heap(place))
		done = lab_run_resize_owned(guard->heap, place->segment, place->run, pages_for(size));
	freed = guard->heap->freed_pages - freed;
	lab_leave(guard);
	if (freed != 0)
		lab_decay_note_freed(guard, freed);
	return done;
}

/* A live block: what it is, and its bytes. */
struct block {
	char *p;
	size_t size;
	struct lab_place place;
};

/* For the heap profile a block of pages that was resized in place is a new one, of its new size. */
static void
count_resized(struct lab_guard *guard, void *resized, size_t size)
{
	bool sampled = false;

	if (!lab_try_enter(guard))
		return; /* in a handler; a visitor is inside */
	sampled = lab_sampler_step(&guard->heap->sampler, size);
	lab_leave(guard);
	if (sampled)
		lab_profile_add(resized, size, guard->sp, LAB_STACK_UNWIND);
}

static bool
is_aligned(const struct block *block, struct lab_request request)
{
	return ((uintptr_t)block->p & (request.align - 1)) == 0;
}

/* Whether a block of a span of so many bytes stays as it is for another size: one that would be less than half used
 * moves. */
static bool
stays_in_span(size_t bytes, size_t size)
{
	return size <= bytes && (size > bytes / 2 || bytes <= 64);
}

/* The block as what is asked for: where it is, or where its pages were moved to. NULL: it is as it was. */
static void *
try_resize_block(struct lab_guard *guard, const struct block *block, struct lab_request request)
{
	size_t size = request.size;

	if (!is_aligned(block, request))
		return NULL;
	/* A run stays one for a size that a span has as well, so that a size that goes up and down across the border is
	 * not copied each time. */
	bool stays = stays_in_span(block->size, size);

	switch (block->place.kind) {
	case LAB_PLACE_RUN:
		if (size <= LAB_SMALL_MAX)
			return stays ? block->p : NULL;
		return resize_run(guard, &block->place, size) ? block->p : NULL;
	case LAB_PLACE_HUGE:
		if (request.align > LAB_PAGE_SIZE) /* it may be moved to anywhere */
			return stays ? block->p : NULL;
		return resize_huge(&block->place, size);
	case LAB_PLACE_SPAN:
		return stays ? block->p : NULL;
	default:
		return size <= block->size ? block->p : NULL; /* a slot of the reserve */
	}
}

/* With the heap profile: a run that is to be small stays only if it is a sample, and would stay if it lay in a span;
 * else the block is to be drawn anew. */
static bool
stays_sample(const struct block *block, struct lab_request request)
{
	size_t sampled = lab_live_size(block->p);

	return sampled != 0 && sampled <= LAB_SMALL_MAX && is_aligned(block, request) &&
	       stays_in_span(lab_class_size(lab_class_of(sampled)), request.size);
}

static void *
resize_block(struct lab_guard *guard, const struct block *block, struct lab_request request)
{
	bool is_pages = block->place.kind == LAB_PLACE_RUN || block->place.kind == LAB_PLACE_HUGE;
	bool is_counted = is_pages && lab_unlikely(lab_profile_is_on());
	struct lab_profile_sample sample = {0};

	if (is_counted && block->place.kind == LAB_PLACE_RUN && request.size <= LAB_SMALL_MAX)
		return stays_sample(block, request) ? block->p : NULL;
	if (is_counted)
		sample = lab_profile_begin_move(block->p);
	void *resized = try_resize_block(guard, block, request);
	if (is_counted)
		lab_profile_end_move(block->p, sample, resized != NULL);
	if (is_counted && resized)
		count_resized(guard, resized, request.size);
	return resized;
}

/* Copies the block to `moved`, which has `size` bytes, and frees it. NULL: there is no such place. */
static void *
move_to(void *moved, size_t size, struct lab_guard *guard, const struct block *block)
{
	if (moved) {
		memcpy(moved, block->p, block->size < size ? block->size : size);
		lab_release_place(guard, &block->place, block->p, "realloc");
	}
	return moved;
}

static void *
resize_by_copying(struct lab_guard *guard, const struct block *block, struct lab_request request)
{
	struct lab_guard inner = {.sp = guard->sp};

	/* by less than half: it is going to grow again soon */
	if (request.size > block->size && block->place.kind == LAB_PLACE_RUN &&
	    request.size - block->size < block->size / 2)
		request.gfp |= LAB_GFP_GROWS;
	void *moved = lab_allocate_sure(&inner, request);
	if (!moved && request.size <= block->size && is_aligned(block, request))
		return block->p;
	return move_to(moved, request.size, guard, block);
}

/* NOWAIT and ATOMIC: a block that fits stays as it is, another moves; nothing is mapped, given back or waited for. */
static void *
resize_nowait(struct lab_guard *guard, const struct block *block, struct lab_request request)
{
	bool is_smaller = request.size <= block->size;

	if (request.size != 0 && is_smaller && is_aligned(block, request))
		return block->p;
	void *moved = request.size ? lab_allocate_any(guard, request) : NULL;
	if (moved)
		memcpy(moved, block->p, is_smaller ? request.size : block->size);
	if (moved || request.size == 0)
		lab_release_nowait(guard, &block->place, block->p, "realloc");
	return moved;
}

static void *
resize(struct lab_guard *guard, const struct block *block, struct lab_request request)
{
	if (request.size == 0) {
		lab_release_place(guard, &block->place, block->p, "realloc");
		return NULL;
	}
	if (request.size > LAB_SIZE_MAX)
		return lab_or_enomem(NULL);
	void *resized = resize_block(guard, block, request);
	if (!resized)
		resized = resize_by_copying(guard, block, request);
	/* two blocks at once may be too much where one is not; what could be reclaimed is by now */
	if (!resized)
		resized = resize_block(guard, block, request);
	return lab_or_enomem(resized);
}

/* Whether a run of so many pages is what a new block of that size would get. */
static bool
fits(size_t pages, size_t size)
{
	size_t need = (size + LAB_PAGE_SIZE - 1) >> LAB_PAGE_SHIFT;

	return need == pages || lab_run_pages(need) == pages;
}

/* An exclusive block stays one, and keeps its marks. */
static void *
resize_exclusive(struct lab_guard *guard, const struct block *block, struct lab_request request)
{
	struct lab_guard inner = {.sp = guard->sp};
	bool is_smaller = request.size <= block->size && is_aligned(block, request);

	lab_thread_settle_fork(false);
	const struct lab_run *run = lab_exclusive_run(&block->place);
	uint64_t state = run ? lab_load_acq(&run->state) : 0; /* pairs with the CAS of who made or gave the run */
	if (run && !lab_exclusive_permits(state, lab_thread_tid())) {
		lab_exclusive_refuse("realloc", block->p);
		return request.gfp & LAB_GFP_ATOMIC & LAB_GFP_KIND ? NULL : lab_or_enomem(NULL);
	}
	if (request.gfp & LAB_GFP_KIND) {
		if (is_smaller)
			return block->p;
		(void)lab_gfp_check(request.gfp | LAB_GFP_EXCLUSIVE); /* sets errno: a contradiction */
		return NULL;
	}
	bool is_marked = run && (lab_exclusive_marks(request.gfp) & ~state) == 0;
	if (is_marked && is_aligned(block, request) && fits(block->size >> LAB_PAGE_SHIFT, request.size))
		return block->p;
	request.gfp |= lab_exclusive_gfp(state);
	int saved = errno;
	void *moved = move_to(lab_allocate_any(&inner, request), request.size, guard, block);
	if (moved || !is_marked || !is_smaller)
		return moved;
	errno = saved; /* it stays, which is no failure */
	return block->p;
}

/*
 * Clears what the block or object q, which was not copied, has behind `kept` bytes, so that it is zero when the block
 * grows into it. A huge one reads as zero from some page on.
 */
static void
clear_behind(char *q, size_t kept)
{
	size_t end;
	struct lab_place place = lab_block_find(q, &end, "realloc");

	if (place.kind == LAB_PLACE_HUGE) {
		size_t dirty = lab_load_rlx(&place.huge->dirty) << LAB_PAGE_SHIFT;
		end = dirty < end ? dirty : end;
	}
	if (end > kept)
		memset(q + kept, 0, end - kept);
}

/* Whether the block is, or is to become, exclusive. */
static bool
is_exclusive(const struct lab_place *place, unsigned gfp)
{
	return gfp & LAB_GFP_EXCLUSIVE || lab_exclusive_run(place);
}

/* Of any kind, with any modifiers, exclusive blocks too. */
static void *
resize_any(struct lab_guard *guard, const struct block *block, struct lab_request request)
{
	size_t size = request.size;
	char *q;

	if (!lab_gfp_check(request.gfp))
		return NULL;
	if (size != 0 && size <= LAB_SIZE_MAX && is_exclusive(&block->place, request.gfp))
		q = resize_exclusive(guard, block, request);
	else
		q = (request.gfp & LAB_GFP_KIND ? resize_nowait : resize)(guard, block, request);
	if (q && request.gfp & LAB_GFP_ZERO && (q == block->p || block->place.kind == LAB_PLACE_HUGE))
		clear_behind(q, block->size < size ? block->size : size);
	return q;
}

/* p is a block. */
static inline void *
resize_found(struct lab_guard *guard, void *p, struct lab_request request)
{
	struct block block = {.p = p};
	const struct lab_dress *dress = lab_unlikely(lab_debug_is_on()) ? lab_checked_find(p, "realloc") : NULL;

	if (lab_unlikely(dress != NULL))
		return lab_checked_realloc(guard, dress, request);
	block.place = lab_block_find(p, &block.size, "realloc");
	if (lab_unlikely(request.gfp != LAB_GFP_KERNEL || is_exclusive(&block.place, request.gfp)))
		return resize_any(guard, &block, request);
	return resize(guard, &block, request);
}

LAB_EXPORT void *
lab_realloc(void *p, size_t size, unsigned gfp)
{
	struct lab_guard guard = LAB_GUARD_HERE;

	if (!p)
		return lab_alloc(size, gfp);
	return resize_found(&guard, p, (struct lab_request){size, LAB_ALIGN_DEFAULT, gfp});
}

LAB_EXPORT void *
lab_realloc_aligned(void *p, size_t alignment, size_t size, unsigned gfp)
{
	struct lab_guard guard = LAB_GUARD_HERE;

	if (!p || !lab_is_power_of_two(alignment))
		return lab_alloc_aligned(alignment, size, gfp);
	return resize_found(&guard, p, (struct lab_request){size, alignment, gfp});
}

LAB_EXPORT void *
lab_reallocarray(void *p, size_t count, size_t size)
{
	size_t bytes;

	if (__builtin_mul_overflow(count, size, &bytes))
		return lab_or_enomem(NULL);
	return lab_realloc(p, bytes, LAB_GFP_KERNEL);
}
