/*
 * shrinker.c - functions that free what the program can do without when the limit is reached (lab_shrinker_add,
 * include/labyrinth/kernel/support.h).
 *
 * All shrinkers that ever were are in one list, to which new ones are pushed and from which none is taken: an entry
 * whose shrinker was removed serves for the next. An entry has one caller at a time, whose process and thread stand in
 * `caller`; who finds another thread there that lives goes on to the next entry. A caller that has ended, one of the
 * process that this one was forked from, and a call of one's own that was left by a jump, are taken over: a shrinker is
 * never called from inside itself, as a call under the limit does not reclaim inside another (alloc/limit.c).
 *
 * INV-SHRINK-1  `shrink` and `context` are written by the frame whose CAS made the state MAKING, and read by the caller
 *               after it has seen LIVE. Who removes makes the state REMOVING and then looks at `caller`; who calls
 *               writes `caller` and then looks at the state: at least one sees the other.
 */
#include <labyrinth/kernel/support.h>

#include "alloc/allocate.h"
#include "alloc/limit.h"
#include "heap/leases.h"
#include "os/os.h"

enum state { UNUSED, MAKING, LIVE, REMOVING };
enum { WAIT_MS = 1 };

struct entry {
	struct entry *next; /* never changes once it is listed */
	_Atomic uint64_t state;
	_Atomic uint64_t caller; /* process and thread; 0: nobody */
	size_t (*shrink)(unsigned gfp, void *context);
	void *context;
};

static _Atomic(struct entry *) entries;

static struct entry *
first_entry(void)
{
	return lab_load_acq(&entries); /* pairs with the CAS of claim_entry: its `next` is seen */
}

static uint64_t
who_am_i(void)
{
	return (uint64_t)lab_os_pid() << 32 | lab_thread_tid();
}

static bool
is_elsewhere(uint64_t caller, uint64_t me)
{
	return caller >> 32 == me >> 32 && caller != me && !lab_os.thread_is_dead((uint32_t)caller);
}

static size_t
call(struct entry *entry, unsigned gfp)
{
	uint64_t me = who_am_i(),
	         caller = atomic_load(&entry->caller); /* sc: INV-SHRINK-1; pairs with wait_for_caller */
	size_t freed = 0;

	if (atomic_load(&entry->state) != LIVE || (caller != 0 && is_elsewhere(caller, me)) ||
	    !lab_cas64(&entry->caller, caller, me)) /* pairs with the rel below */
		return 0;
	if (atomic_load(&entry->state) == LIVE) /* sc: INV-SHRINK-1; pairs with the CAS of lab_shrinker_remove */
		freed = entry->shrink(gfp, entry->context);
	lab_store_rel(&entry->caller, 0); /* pairs with the CAS above, and with wait_for_caller */
	return freed;
}

static size_t
shrink_all(unsigned gfp)
{
	size_t freed = 0;

	for (struct entry *entry = first_entry(); entry; entry = entry->next)
		freed += call(entry, gfp);
	return freed;
}

/* In state MAKING, used before or new. A frame that is cut short before LIVE loses it. */
static struct entry *
claim_entry(struct lab_guard *guard)
{
	struct entry *first = first_entry();

	for (struct entry *entry = first; entry; entry = entry->next)
		if (lab_cas64(&entry->state, UNUSED, MAKING)) /* pairs with the rel of lab_shrinker_remove */
			return entry;
	struct entry *entry =
	        lab_allocate(guard, (struct lab_request){sizeof *entry, LAB_ALIGN_DEFAULT, LAB_GFP_LASTING});
	if (!entry)
		return NULL;
	*entry = (struct entry){.next = first, .state = MAKING};
	while (!atomic_compare_exchange_weak(&entries, &first, entry)) /* pairs with the acq of first_entry */
		entry->next = first;
	return entry;
}

LAB_EXPORT bool
lab_shrinker_add(size_t (*shrink)(unsigned gfp, void *context), void *context)
{
	struct lab_guard guard = LAB_GUARD_HERE;
	struct entry *entry = shrink && lab_limit_on_reclaim(shrink_all) ? claim_entry(&guard) : NULL;

	if (!entry)
		return lab_or_enomem(NULL);
	entry->shrink = shrink;
	entry->context = context;
	atomic_store(&entry->state, LIVE); /* sc: pairs with the loads of call */
	return true;
}

static void
wait_for_caller(struct entry *entry)
{
	uint64_t me = who_am_i(), caller;

	/* sc: INV-SHRINK-1; pairs with the CAS of call */
	while ((caller = atomic_load(&entry->caller)) != 0 && is_elsewhere(caller, me))
		lab_os_sleep_ms(WAIT_MS);
}

LAB_EXPORT void
lab_shrinker_remove(size_t (*shrink)(unsigned gfp, void *context), void *context)
{
	for (struct entry *entry = first_entry(); entry; entry = entry->next) {
		/* sc: pairs with the store of lab_shrinker_add; nobody else removes this one */
		if (atomic_load(&entry->state) != LIVE || entry->shrink != shrink || entry->context != context ||
		    !lab_cas64(&entry->state, LIVE, REMOVING)) /* pairs with the second look of call */
			continue;
		wait_for_caller(entry);
		lab_store_rel(&entry->state, UNUSED); /* pairs with the CAS of claim_entry */
		return;
	}
}
