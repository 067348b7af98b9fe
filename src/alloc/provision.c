/* provision.c - see provision.h. */
#include "alloc/provision.h"
#include "alloc/alloc.h"
#include "heap/registry.h"
#include "os/os.h"
#include "page/map.h"

enum { LOOKS = 256, SHRINKS = 256 };

/* What is made resident cannot be taken back: so much is asked for before. */
#define ASK_FROM ((size_t)64 << 20)

static struct lab_reserve_plan plan;
static char *region;

/* NONE while it is "", and nothing has been tried. */
static _Atomic(const char *) why_not_strict = "";
static _Atomic bool resident; /* there is a reserve, and its pages are the process's own */

enum lab_reserve_mode
lab_provision_mode(const char **why)
{
	*why = lab_load_rlx(&why_not_strict);
	if (!lab_reserve_is_installed())
		return LAB_RESERVE_NONE;
	if (!lab_load_rlx(&resident) || lab_registry_is_forked()) {
		*why = "forked";
		return LAB_RESERVE_COPIED;
	}
	return **why ? LAB_RESERVE_POPULATED : LAB_RESERVE_STRICT;
}

/* ---- residence --------------------------------------------------------------------------------------------------------------- */

static const char *
why_no_lock(void)
{
	return lab_os_lock_limit() < ((size_t)1 << 30) ? "RLIMIT_MEMLOCK does not allow to lock it"
	                                               : "the system refused to lock it";
}

static void
lock(struct lab_range range)
{
	if (lab_provision_settings.lock && !lab_os.lock(range.start, range.size))
		lab_store_rlx(&why_not_strict, why_no_lock());
}

static void
hold_resident(struct lab_range range, bool write)
{
	if (range.size == 0)
		return;
	if (!lab_os.populate(range.start, range.size, write))
		lab_store_rlx(&why_not_strict, "the system refused to make it resident");
	lock(range);
}

static void
copy_again(struct lab_range range, bool write)
{
	if (range.size != 0)
		(void)lab_os.populate(range.start, range.size, write);
}

/* free() reads the descriptors that an address of a slot leads to before it knows better: zero pages, one for 4 MiB. */
static void
hold_descriptors(struct lab_range slots)
{
	uintptr_t at = (uintptr_t)slots.start & ~(LAB_UNIT_SIZE - 1), end = (uintptr_t)slots.start + slots.size;
	uintptr_t last = 0;

	for (; at < end; at += LAB_UNIT_SIZE) {
		uintptr_t page = (uintptr_t)lab_map_unit((const void *)at) & ~(LAB_OS_PAGE_SIZE - 1);
		if (page != last)
			(void)lab_os.populate((void *)page, LAB_OS_PAGE_SIZE, false);
		last = page;
	}
}

/* All slots, and what describes them. */
static void
each_slot_range(void (*visit)(struct lab_range range, bool write))
{
	struct lab_chunk chunk;
	struct lab_share *share;

	for (unsigned i = 0; lab_reserve_own_range(i).size != 0; i++)
		visit(lab_reserve_own_range(i), true);
	for (unsigned c = 0; c < LAB_RESERVE_CLASSES; c++) {
		visit(lab_reserve_fixed_range(&plan, region, c), true);
		bool end = false;
		for (uint32_t i = 0; !end; i++)
			if (lab_reserve_open_chunk(c, i, &chunk, &end)) {
				visit(chunk.words, true);
				visit(chunk.memory, true);
			}
	}
	for (unsigned i = 0; (share = lab_share_get(i)) != NULL; i++) {
		struct lab_range slots = lab_share_memory(share);
		visit((struct lab_range){(char *)share, (size_t)(slots.start - (char *)share) + slots.size}, true);
	}
}

static void
visit_descriptors(struct lab_range range, bool write)
{
	(void)write;
	hold_descriptors(range);
}

static void
each_range(void (*visit)(struct lab_range range, bool write))
{
	each_slot_range(visit);
	lab_library_each_range(visit);
}

void
lab_provision_rearm(void)
{
	if (lab_reserve_is_installed())
		each_range(copy_again);
}

void
lab_provision_after_fork(const struct lab_lease_fork *fork)
{
	(void)fork;
	if (!lab_reserve_is_installed())
		return;
	lab_store_rlx(&resident, false);
	(void)atomic_fetch_or_explicit(&lab_reserve_hungry, LAB_HUNGRY_COPIED, memory_order_relaxed);
}

/* Locks are not inherited either. */
static void
make_copies(void)
{
	each_range(hold_resident);
	each_slot_range(visit_descriptors);
	lab_store_rlx(&resident, true);
}

bool
lab_provision_fill(struct lab_range range, struct lab_range slots)
{
	if (!lab_os.protect(range.start, range.size, LAB_ACCESS_WRITE) || !lab_os.populate(range.start, range.size, true))
		return false;
	lock(range);
	hold_descriptors(slots);
	return true;
}

/* ---- the start ------------------------------------------------------------------------------------------------------------------ */

/* Where address space is limited, growth is the first to go. */
static bool
map_region(void)
{
	size_t limit = lab_os_address_space_limit();

	for (;;) {
		size_t most = plan.limit > plan.fixed ? limit / 64 : limit / 4;
		region = plan.size <= most ? lab_os.map(plan.size, LAB_ACCESS_NONE) : NULL;
		if (region)
			return true;
		if (plan.limit == plan.fixed)
			return false;
		size_t growth = (plan.limit - plan.fixed) / 2;
		plan.limit = plan.fixed + (growth >= LAB_OS_PAGE_SIZE ? growth : 0);
		(void)lab_reserve_plan(&plan);
	}
}

static bool
open_region(void)
{
	if (!lab_os.protect(region, plan.head, LAB_ACCESS_WRITE))
		return false;
	for (unsigned c = 0; c < LAB_RESERVE_CLASSES; c++) {
		struct lab_range range = lab_reserve_fixed_range(&plan, region, c);
		if (range.size != 0 && !lab_os.protect(range.start, range.size, LAB_ACCESS_WRITE))
			return false;
	}
	return true;
}

void
lab_provision_start(void)
{
	if (lab_reserve_is_installed())
		return;
	if (!lab_provision_plan(&plan)) {
		lab_store_rlx(&why_not_strict, "the settings ask for none, or for too much");
		return;
	}
	if (plan.fixed >= ASK_FROM && !lab_os.may_commit(plan.fixed)) {
		lab_store_rlx(&why_not_strict, "the system has not so much memory");
		return;
	}
	if (!lab_registry_start() || !map_region()) {
		lab_store_rlx(&why_not_strict, "there is no address space");
		return;
	}
	if (!open_region()) {
		lab_os.unmap(region, plan.size);
		lab_store_rlx(&why_not_strict, "there is no memory");
		return;
	}
	lab_reserve_install(&plan, region);
	if (!lab_provision_settings.lock)
		lab_store_rlx(&why_not_strict, "LABYRINTH_RESERVE_LOCK=0");
	make_copies();
}

/* ---- growth --------------------------------------------------------------------------------------------------------------------- */

/* Half of what there is above the low mark. */
static bool
is_enough(const struct lab_reserve_figures *figures)
{
	size_t half = (figures->slots - figures->low + 1) / 2;

	return figures->plain >= (half ? half : 1);
}

/* False: no memory. That others are quicker is no failure. */
static bool
open_chunk(unsigned c)
{
	struct lab_chunk chunk;

	if (!lab_reserve_next_closed(c, &chunk))
		return false;
	if (!lab_provision_fill(chunk.words, (struct lab_range){0}) || !lab_provision_fill(chunk.memory, chunk.memory))
		return false;
	(void)lab_reserve_open(&chunk);
	return true;
}

static bool
grow_class(unsigned c)
{
	struct lab_reserve_figures figures;
	bool grown = false;

	for (int i = 0; i < LOOKS && lab_reserve_figures(c, &figures) && !is_enough(&figures); i++) {
		if (!open_chunk(c))
			break;
		grown = true;
	}
	return grown;
}

LAB_COLD bool
lab_provision_look(uintptr_t sp)
{
	uint32_t hungry = atomic_exchange_explicit(&lab_reserve_hungry, 0, memory_order_relaxed);
	struct lab_reserve_figures figures;
	bool grown = false;

	if (hungry & LAB_HUNGRY_COPIED || (lab_reserve_is_installed() && !lab_load_rlx(&resident))) /* or a jump has left it */
		make_copies();
	for (unsigned c = 0; lab_reserve_figures(c, &figures); c++) {
		bool was_low = hungry >> c & 1;
		if (was_low)
			grown |= grow_class(c);
		(void)lab_reserve_figures(c, &figures);
		lab_low_note(c, was_low, figures.plain == 0);
	}
	lab_low_deliver(sp);
	return grown;
}

/* ---- and back ------------------------------------------------------------------------------------------------------------------- */

static bool
give_back(struct lab_range range)
{
	lab_os.unlock(range.start, range.size);
	if (lab_os.purge(range.start, range.size))
		return true;
	lock(range);
	return false;
}

/* One chunk, if what is left is as much as there was before any growth. */
static bool
close_chunk(unsigned c, uint32_t *from)
{
	struct lab_reserve_figures figures;
	struct lab_chunk chunk;

	if (!lab_reserve_figures(c, &figures) || figures.plain < figures.slots - figures.low + figures.a_chunk)
		return false;
	if (!lab_reserve_begin_close(c, from, lab_thread_tid(), lab_os.thread_is_dead, &chunk))
		return false;
	if (!give_back(chunk.memory)) {
		lab_reserve_undo_close(&chunk);
		return false;
	}
	lab_reserve_end_close(&chunk);
	return true;
}

static bool
shrink_share(struct lab_share *share)
{
	if (lab_share_tid(share) == 0 || !lab_share_win(share, lab_thread_tid(), lab_os.thread_is_dead))
		return false;
	bool given = give_back(lab_share_memory(share));
	lab_share_let_go(share);
	return given;
}

bool
lab_provision_shrink(void)
{
	struct lab_share *share;
	bool shrunk = false;

	lab_thread_settle_fork(false);
	for (unsigned c = 0; lab_reserve_is_installed() && c < LAB_RESERVE_CLASSES; c++)
		for (uint32_t from = 0; close_chunk(c, &from);)
			shrunk = true;
	for (unsigned i = 0; (share = lab_share_get(i)) != NULL; i++)
		shrunk |= shrink_share(share);
	return shrunk;
}

LAB_EXPORT bool
lab_reserve_balance(void)
{
	bool grown;

	(void)atomic_fetch_or_explicit(&lab_reserve_hungry, LAB_HUNGRY_WATCH, memory_order_relaxed);
	grown = lab_provision_tick(LAB_ENTRY_STACK_POINTER);
	if (!grown)
		(void)lab_provision_shrink();
	return grown;
}
