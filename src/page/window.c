/* window.c - finds a place for the window, makes the table, and maps heaps: see window.h. Any context. */
#include "page/window.h"
#include "base/check.h"

#define WINDOW_MAX ((size_t)64 << 30) /* or more, where the machine has more memory */
#define WINDOW_MIN ((size_t)4 << 30)
#define ALIGNMENT  ((size_t)64 << 20) /* of the window: what one page of slots describes */
#define HEAPS_SIZE ((size_t)LAB_HEAP_MAX * LAB_HEAP_STRIDE)
#define LOWEST     ((uintptr_t)4 << 30) /* nothing of ours is below: there are programs that want such addresses */

enum {
	LIMIT_SHARE = 32, /* the window's table takes no more of RLIMIT_AS than half of one part of so many */
	SPACE_SHARE = 8,  /* the window is no longer than one part of so many of the address space */
	RANDOM_BITS = 12,
/* At least one part of so many, and at most three, lie between the window and where the kernel maps: so what
	 * others map does not soon come to the window, be it terabytes that they never touch. ThreadSanitizer wants
	 * all mappings near the kernel's. */
#ifdef LAB_THREAD_SANITIZER
	DISTANCE_SHARE = 1024,
#else
	DISTANCE_SHARE = 16,
#endif
};

_Static_assert(WINDOW_MIN > HEAPS_SIZE, "INV-SPACE-4");
_Static_assert(ALIGNMENT >= LAB_SEGMENT_SIZE, "segments are aligned");

static struct lab_unit no_unit; /* limit 0: nothing passes */
struct lab_map lab_map = {.mask = 0, .units = (char *)&no_unit};

_Atomic(struct lab_space *) lab_space_published;
_Atomic uint32_t lab_space_huge_pages = LAB_HUGE_BY_SYSTEM;
_Atomic uint32_t lab_space_hold;

struct lab_space *
lab_space(void)
{
	return lab_load_acq(&lab_space_published); /* pairs with the CAS of make_and_publish */
}

static size_t
window_size(void)
{
	size_t size = WINDOW_MAX, memory = lab_os_memory_size(), limit = lab_os_address_space_limit();

	while (size < 2 * memory)
		size *= 2;
	while (size > WINDOW_MIN && (size / LIMIT_SHARE > limit || size > lab_os.address_space() / SPACE_SHARE))
		size /= 2;
	return size;
}

static size_t
units_size(size_t window)
{
	return (window >> LAB_UNIT_SHIFT) * sizeof(struct lab_unit);
}

static size_t
slots_size(size_t window)
{
	return (window >> LAB_SLOT_SHIFT) * sizeof(struct lab_slot);
}

static size_t
head_size(size_t window)
{
	return lab_round_up(sizeof(struct lab_space) + (window >> LAB_SLOT_SHIFT) / 64 * sizeof(struct lab_slot_bits),
	                    LAB_PAGE_SIZE);
}

/*
 * An address for the window; 0: there is no room. The table lies where the kernel maps. From there mappings grow
 * downwards, or upwards (setarch -L): in neither case do others' mappings soon come to a place that is far enough
 * below. Where there is no room below (under valgrind) the window is far above. The distance is random where the
 * stack's address is.
 */
static uintptr_t
place(uintptr_t table, size_t window)
{
	size_t space = lab_os.address_space(), unit = space / DISTANCE_SHARE;
	uint64_t random = ((uint64_t)lab_os_main_stack_top() >> 4) * UINT64_C(0x9e3779b97f4a7c15) >> (64 - RANDOM_BITS);
	size_t distance = unit + (size_t)random * (2 * unit >> RANDOM_BITS);

	if (table > distance + window + HEAPS_SIZE + LOWEST)
		return (table - distance - window) & ~(ALIGNMENT - 1);
	uintptr_t above = lab_round_up(table + space / SPACE_SHARE + distance, ALIGNMENT);
	return above > HEAPS_SIZE + LOWEST && above + window < space - space / SPACE_SHARE ? above : 0;
}

static struct lab_space *
make_table(size_t window)
{
	size_t head = head_size(window), slots = slots_size(window), total = head + slots + units_size(window);
	char *start = lab_os.map(total, LAB_ACCESS_READ);
	uintptr_t base = start ? place((uintptr_t)start, window) : 0;

	if (!start)
		return NULL;
	if (!base || !lab_os.protect(start, head, LAB_ACCESS_WRITE)) {
		(void)lab_os.unmap(start, total);
		return NULL;
	}
	struct lab_space *space = (struct lab_space *)start;
	lab_assert(lab_is_power_of_two(window) && window > HEAPS_SIZE); /* INV-SPACE-4 */
	lab_assert(base % LAB_SEGMENT_SIZE == 0);
	space->base = base;
	space->slot_count = window >> LAB_SLOT_SHIFT;
	space->slots = (struct lab_slot *)(start + head);
	space->units = (struct lab_unit *)(start + head + slots);
	space->heaps = (char *)(base - LAB_HEAP_STRIDE - HEAPS_SIZE);
	space->table_size = total;
	/* Guards: no mapping of others borders on ours. */
	lab_store_rlx(&space->bits[0].used, 1);
	lab_store_rlx(&space->bits[space->slot_count / 64 - 1].used, UINT64_C(1) << 63);
	return space;
}

static struct lab_space *
make_largest(void)
{
	struct lab_space *space = NULL;

	for (size_t window = window_size(); !space && window >= WINDOW_MIN; window /= 2)
		space = make_table(window);
	return space;
}

/* Signals are held back: a jump in the middle would leave the mapping of a table. */
static struct lab_space *
make_and_publish(void)
{
	uint64_t mask = lab_os_hold_signals();
	struct lab_space *space = make_largest(), *none = NULL;

	/* pairs with the acq of lab_space, and with itself: of two threads the second uses the first one's table */
	if (space && !atomic_compare_exchange_strong_explicit(&lab_space_published, &none, space, memory_order_acq_rel,
	                                                      memory_order_acquire)) {
		(void)lab_os.unmap(space, space->table_size);
		space = none;
	}
	lab_os_release_signals(mask);
	return space;
}

bool
lab_space_start(void)
{
	struct lab_space *space = lab_space();

	if (!space)
		space = make_and_publish();
	if (!space)
		return false;
	/* Each caller writes the same values. Only a free of NULL or of a foreign pointer can read them before, and
	 * each mixture of old and new ones leads it to a descriptor: mask 0 selects the first one of either array. */
	lab_poke(&lab_map.units, (char *)space->units);
	lab_compiler_barrier();
	atomic_thread_fence(memory_order_release); /* pairs with lab_map_unit: units before mask */
	lab_poke(&lab_map.mask, (space->slot_count * (LAB_SLOT_SIZE / LAB_UNIT_SIZE) - 1) * sizeof(struct lab_unit));
	return true;
}

static LAB_COLD void
tell_refusal(void)
{
	static const char line[] = "labyrinth: the system refused to keep the heap resident (lock_memory, prefault); "
	                           "RLIMIT_MEMLOCK is too low, or memory is short\n";
	static _Atomic bool is_told;

	if (!lab_load_rlx(&is_told) && !atomic_exchange_explicit(&is_told, true, memory_order_relaxed))
		lab_os_write(line, sizeof line - 1);
}

void
lab_space_hold_range(void *start, size_t size)
{
	uint32_t hold = lab_load_rlx(&lab_space_hold);
	bool done = true;

	if (lab_likely(hold == 0))
		return;
	if (hold & LAB_HOLD_RESIDENT)
		done = lab_os.populate(start, size, true);
	if (hold & LAB_HOLD_LOCKED)
		done = lab_os.lock(start, size) && done;
	if (!done)
		tell_refusal();
}

void
lab_space_prepare_pages(void *start, size_t size)
{
	enum lab_huge_pages when = (enum lab_huge_pages)lab_load_rlx(&lab_space_huge_pages);

	if (when != LAB_HUGE_BY_SYSTEM) /* refused: the kernel has none */
		(void)lab_os.huge_pages(start, size, when);
	lab_space_hold_range(start, size);
}

bool
lab_space_renew_pages(void *start, size_t size)
{
	if (!lab_os.renew(start, size))
		return false;
	lab_space_prepare_pages(start, size);
	return true;
}

/* ---- heaps ---- */

enum lab_mapped
lab_space_map_heap(uint32_t id, size_t size)
{
	struct lab_space *space = lab_space();
	_Atomic uint64_t *word = &space->heap_is_mapped[id / 64];
	uint64_t bit = UINT64_C(1) << (id % 64);

	if (lab_load_acq(word) & bit) /* pairs with the rel of the thread that mapped it */
		return LAB_MAPPED;
	uint64_t mask = lab_os_hold_signals();
	enum lab_mapped mapped = lab_os.map_at(lab_space_heap(space, id), lab_round_up(size, LAB_PAGE_SIZE));
	if (mapped == LAB_MAPPED) {
		lab_space_hold_range(lab_space_heap(space, id), lab_round_up(size, LAB_PAGE_SIZE));
		(void)lab_or_acq_rel(word, bit); /* pairs with the acq above */
	}
	lab_os_release_signals(mask);
	return mapped;
}
