/* checked.c - see checks.h and checked.h. Any context. */
#include <errno.h>
#include <string.h>

#include "alloc/checked.h"
#include "alloc/fastpath.h"
#include "alloc/gfp.h"
#include "alloc/limit.h"
#include "alloc/release.h"
#include "alloc/settings.h"
#include "base/check.h"
#include "base/program.h"
#include "debug/quarantine.h"
#include "os/backtrace.h"
#include "os/fault.h"

enum { NEW_BYTE = 0xce, FILL_MOST = 1 << 20 };
#define ALIGN_MOST ((size_t)1 << 30)

static const char double_free[] = "double free";

/* ---- allocation ------------------------------------------------------------------------------------------------- */

/* Whether the calls behind may be fast: nothing but this layer wants them to be slow. */
static bool
may_be_fast(void)
{
	return lab_load_rlx(&lab_settings.perturb) == 0 && !lab_load_rlx(&lab_settings.count_allocations);
}

/* *raw_size: the bytes of the block; 0: it is no span's, or that is to be looked up. */
static void *
allocate(struct lab_guard *guard, size_t size, size_t align, unsigned gfp, size_t *raw_size)
{
	*raw_size = 0;
	if (size <= LAB_DIRECT_MAX && align <= LAB_ALIGN_DEFAULT && may_be_fast()) {
		void *p = lab_malloc_try_tagged(size, LAB_WORD_SLOW);
		if (lab_likely(p != NULL)) {
			*raw_size = lab_class_size(lab_class_of(size));
			return gfp & LAB_GFP_ZERO ? memset(p, 0, size) : p;
		}
	}
	const struct lab_request request = {size, align, gfp};
	return lab_gfp_is(gfp, LAB_GFP_NOWAIT) ? lab_allocate_nowait(guard, request)
	                                       : lab_allocate_sure(guard, request);
}

/* Blocks of the heap are aligned to the largest power of two that divides their size, which kernel sources rely on. */
static size_t
natural_align(size_t size)
{
	size_t divisor = size & (0 - size), most = size <= LAB_SMALL_MAX ? LAB_SMALL_MAX : LAB_PAGE_SIZE;

	if (!lab_program_is_kernels())
		return LAB_ALIGN_DEFAULT;
	return divisor < most ? divisor : most;
}

static void *
allocate_dressed(struct lab_guard *guard, size_t size, size_t align, unsigned gfp, enum lab_maker maker)
{
	if (align < natural_align(size))
		align = natural_align(size);
	if (align < LAB_ALIGN_DEFAULT)
		align = LAB_ALIGN_DEFAULT; /* as all other blocks have it */
	size_t least = lab_dress_raw_size(size, align), raw_size;

	if (least > LAB_SIZE_MAX || align > ALIGN_MOST)
		return allocate(guard, size, align, gfp, &raw_size);
	void *p = allocate(guard, least, align, gfp, &raw_size);
	if (!p)
		return NULL;
	if (raw_size == 0) {
		struct lab_place place = lab_map_find_block(p);
		if (place.kind == LAB_PLACE_SLOT || place.kind == LAB_PLACE_SHARE)
			return p;
		raw_size = lab_place_size(&place, p);
	}
	struct lab_stack stack;
	stack.depth = 0;
	if (lab_debug_is_all())
		lab_stack_take(&stack, guard->sp, guard->reentrant ? LAB_STACK_FRAMES : LAB_STACK_UNWIND,
		               LAB_DRESS_FRAMES);
	p = lab_dress_make(p, raw_size, size, align, maker, &stack);
	if (!(gfp & LAB_GFP_ZERO) && lab_debug_is_all() && !lab_load_rlx(&lab_settings.perturb))
		memset(p, NEW_BYTE, size < FILL_MOST ? size : FILL_MOST);
	return p;
}

/* ---- what is wrong ---------------------------------------------------------------------------------------------- */

static const char *
wrong_maker(const struct lab_dress *dress, const struct lab_release_how *how)
{
	static const char *const made[] = {
	        [LAB_BY_MALLOC] = "allocated by malloc or its like, freed by another function",
	        [LAB_BY_NEW] = "allocated by operator new, freed by another function",
	        [LAB_BY_NEW_ARRAY] = "allocated by operator new[], freed by another function",
	        [LAB_BY_ALIGNED_NEW] = "allocated by aligned operator new, freed by another function",
	        [LAB_BY_ALIGNED_NEW_ARRAY] = "allocated by aligned operator new[], freed by another function",
	};

	return dress->maker != how->maker && lab_debug_is_all() ? made[dress->maker] : NULL;
}

static const char *
wrong_claim(const struct lab_dress *dress, const struct lab_release_how *how)
{
	const char *wrong = wrong_maker(dress, how); /* first: delete of what new[] made has another size as well */

	if (!wrong && how->is_sized && how->size != dress->size)
		wrong = "wrong size";
	if (!wrong && how->align &&
	    (!lab_is_power_of_two(how->align) || (uintptr_t)lab_dress_start(dress) % how->align != 0))
		wrong = "wrong alignment";
	return wrong;
}

static void
check_canaries(const struct lab_dress *dress, const char *call)
{
	const void *at;
	const char *damage = lab_dress_damage(dress, &at);

	if (lab_unlikely(damage != NULL))
		lab_report_misuse(call, lab_dress_start(dress), damage);
}

/* p is the start of no dressed block that is known, but lies in one, or its record has been written over. */
static void
check_stranger(const void *p, const struct lab_dress *dress, const char *call)
{
	if (dress && p != dress)
		lab_report_misuse(call, p, "not the start of a block");
	if (!dress && lab_dress_was_start(p))
		lab_report_misuse(call, p, "what lies before the block was written over");
}

/* The record of the block that p starts, in whatever state; NULL: there is none. */
static struct lab_dress *
find(const void *p, const char *call, enum lab_dress_state *state)
{
	struct lab_dress *dress = lab_dress_find(p, state);

	if (lab_likely(dress && lab_dress_start(dress) == p))
		return dress;
	if (*state == LAB_DRESS_GONE) /* what is there now may be somebody's, and not dressed */
		return NULL;
	if (call)
		check_stranger(p, dress, call);
	return NULL;
}

static const struct lab_dress *
find_live(const void *p, const char *call)
{
	enum lab_dress_state state;
	const struct lab_dress *dress = lab_reserve_contains(p) ? NULL : find(p, call, &state);

	if (!dress)
		return NULL;
	if (call && state != LAB_DRESS_LIVE)
		lab_report_misuse(call, p, "the block was freed before");
	if (call)
		check_canaries(dress, call);
	return state == LAB_DRESS_LIVE ? dress : NULL;
}

/* ---- frees ------------------------------------------------------------------------------------------------------ */

/* The memory of a freed block goes back to the heap. */
static void
let_go(struct lab_dress *dress)
{
	struct lab_guard guard = LAB_GUARD_HERE;
	const void *written = lab_dress_written(dress);

	if (lab_unlikely(written != NULL))
		lab_report_misuse("write", written, "the block was freed before");
	if (lab_likely(lab_dress_undress(dress)) && /* else its pages stay without access */
	    !(may_be_fast() && lab_free_try_tagged(dress, LAB_WORD_SLOW) == LAB_FREED_FAST))
		lab_release(&guard, dress, "free");
}

static void
put_away(struct lab_dress *dress)
{
	struct lab_dress *old = lab_quarantine_push(dress);

	if (old)
		let_go(old);
	while ((old = lab_quarantine_pull()) != NULL) /* until no more bytes are kept than may be */
		let_go(old);
}

/* For lab_limit_on_reclaim: all blocks that wait go. */
static size_t
reclaim(unsigned gfp)
{
	size_t freed = 0;
	bool end = false;

	(void)gfp;
	for (size_t i = 0; !end; i++) {
		struct lab_dress *dress = lab_quarantine_take(i, &end);
		freed += dress ? dress->raw_size : 0;
		if (dress)
			let_go(dress);
	}
	return freed;
}

static bool
release_dressed(void *p, const struct lab_release_how *how)
{
	enum lab_dress_state state;
	struct lab_dress *dress = lab_reserve_contains(p) ? NULL : find(p, how->call, &state);

	if (!dress)
		return false;
	if (lab_unlikely(state != LAB_DRESS_LIVE))
		lab_report_misuse(how->call, p, double_free);
	check_canaries(dress, how->call);
	const char *wrong = wrong_claim(dress, how);
	if (lab_unlikely(wrong != NULL))
		lab_report_misuse(how->call, p, wrong);
	if (lab_unlikely(!lab_dress_free(dress, LAB_FRAME_HERE)))
		lab_report_misuse(how->call, p, double_free);
	put_away(dress);
	return true;
}

static void *
resize_dressed(struct lab_guard *guard, const struct lab_dress *dress, struct lab_request request)
{
	const struct lab_release_how how = {.call = "realloc"};
	char *p = lab_dress_start(dress);
	size_t old = dress->size, size = request.size;
	const char *wrong = wrong_maker(dress, &how);

	if (lab_unlikely(wrong != NULL))
		lab_report_misuse("realloc", p, wrong);
	if (lab_unlikely(!lab_gfp_check(request.gfp)))
		return NULL;
	if (size == 0) {
		(void)release_dressed(p, &how);
		return NULL;
	}
	/* a block that is to be no longer stays where moving it could fail, or would take from the reserve */
	bool is_smaller = size <= old && ((uintptr_t)p & (request.align - 1)) == 0;
	int saved = errno;
	void *moved = is_smaller && request.gfp & LAB_GFP_KIND ? NULL : lab_allocate_any(guard, request);
	if (!moved && is_smaller) {
		check_canaries(dress, "realloc");
		lab_dress_shorten((struct lab_dress *)(uintptr_t)dress, size);
		errno = saved;
		return p;
	}
	if (!moved)
		return NULL;
	memcpy(moved, p, old < size ? old : size);
	(void)release_dressed(p, &how);
	return moved;
}

/* ---- faults ----------------------------------------------------------------------------------------------------- */

static void
on_fault(const struct lab_os_fault *fault)
{
	enum lab_dress_state state;
	const struct lab_dress *dress = lab_dress_find((const void *)fault->address, &state);

	if (!dress || !dress->is_guarded)
		return;
	const char *reason = state == LAB_DRESS_LIVE ? "behind the end of the block" : "the block was freed before";
	lab_report_fault("access", (const void *)fault->address, reason, (const void *)fault->frame, fault->pc);
}

void
lab_checked_start(void)
{
	static const struct lab_checks checks = {allocate_dressed, release_dressed, find_live, resize_dressed};

	lab_checks_set(&checks);
	if (!lab_debug_is_on())
		return;
	(void)lab_limit_on_reclaim(reclaim);
	lab_os_on_fault(on_fault);
	if (lab_debug_is_all())
		lab_stack_prepare();
}

/* ---- C++ -------------------------------------------------------------------------------------------------------- */

void *
lab_new_checked(size_t size, size_t align, enum lab_maker maker)
{
	struct lab_guard guard = LAB_GUARD_HERE;

	if (!lab_is_power_of_two(align)) {
		errno = EINVAL;
		return NULL;
	}
	if (size > LAB_SIZE_MAX)
		return lab_or_enomem(NULL);
	return lab_or_enomem(allocate_dressed(&guard, size, align, LAB_GFP_KERNEL, maker));
}

void
lab_delete_checked(void *p, const struct lab_release_how *how)
{
	struct lab_guard guard = LAB_GUARD_HERE;

	if (p && !release_dressed(p, how))
		lab_release(&guard, p, how->call);
}

void
lab_new_note(void *p, enum lab_maker maker)
{
	const struct lab_dress *dress = lab_debug_is_on() ? find_live(p, NULL) : NULL;

	if (dress)
		((struct lab_dress *)(uintptr_t)dress)->maker = (uint8_t)maker;
}
