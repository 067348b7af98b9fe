/* visit.c - see visit.h. Any context. */
#include "heap/visit.h"
#include "base/check.h"
#include "heap/current.h"
#include "heap/finding.h"
#include "heap/outbox.h"
#include "heap/registry.h"
#include "heap/remote.h"
#include "heap/sleeper.h"
#include "os/os.h"

enum {
	BLOCKS_A_CALL = 2048, /* some 2 ms where none of them is in a cache */
	HEAPS_A_LOOK = 64,    /* whose rest is looked at */
	VISITS_A_LOOK = 8,
	PAGES_A_VISIT = 256,
};

/* What heap->looked says: the parity of the stack and the outbox's position when they were seen, and that they were; or
 * that blocks are left. */
enum { SEEN = 2, UNFINISHED = 4, POSITION_SHIFT = 3 };

/* *waits: something is to be taken or to be sent. */
static uint32_t
look_at(const struct lab_heap *target, bool *waits)
{
	bool is_empty;
	uint32_t position = lab_outbox_position(target, &is_empty), parity = lab_load_rlx(&target->remote) & 1;

	*waits = !is_empty || lab_heap_is_freed_into(target);
	return SEEN | parity | position << POSITION_SHIFT;
}

/* What is left is to be taken up by the next visit, or by the holder. */
static void
work(struct lab_heap *target, size_t *blocks, size_t pages)
{
	size_t before = *blocks, all = 0;
	bool waits;

	(void)lab_outbox_send_owned(target);
	bool finished = lab_remote_collect(target, blocks);
	if (*blocks != before) /* pages may be free now that were not when its thread was found at rest */
		lab_poke(&target->rest.is_done, false);
	lab_store_rlx(&target->looked, finished ? look_at(target, &waits) : UNFINISHED);
	if (pages != 0)
		lab_sleeper_give_back(target, pages == SIZE_MAX ? &all : &target->rest.hand, pages);
}

/* pages: that are given back of what the thread keeps for itself, about; 0: none. False: somebody is inside, or it is
 * not whole. */
static bool
visit(struct lab_heap *heap, struct lab_heap *target, size_t *blocks, size_t pages)
{
	uint64_t owner = lab_registry_word(target), mine = lab_lease_new(lab_thread.tid, LAB_VISIT_BY_OTHER);
	bool was_inside = false;

	heap->visit.claim = mine;
	heap->visit.target = target;
	lab_compiler_barrier();
	/* sc: INV-VISIT-2; pairs also with the release of who was inside before */
	if (lab_registry_state_in(owner) == LAB_HEAP_CURRENT && lab_cas64(&target->visitor, 0, mine)) {
		if (lab_registry_word(target) == owner && target->whole == LAB_HEAP_WHOLE) {
			lab_poke(&target->whole, LAB_HEAP_VISITED); /* its thread may look: idle_word */
			lab_compiler_barrier();
			size_t freed = target->freed_pages;
			work(target, blocks, pages);
			heap->freed_pages += target->freed_pages - freed;
			lab_finding_pass_owned(target, heap);
			lab_compiler_barrier();
			lab_poke(&target->whole, LAB_HEAP_WHOLE);
			was_inside = true;
		}
		(void)lab_lease_release(&target->visitor, mine, 0);
	}
	lab_compiler_barrier();
	heap->visit.target = NULL;
	return was_inside;
}

/* Whether blocks wait there, and have since the last look: else the thread is about, and takes them in, or sends them,
 * itself. */
static bool
is_to_be_visited(struct lab_heap *target, bool at_once)
{
	bool waits;
	uint32_t looked = lab_load_rlx(&target->looked), seen = look_at(target, &waits);

	if (looked == UNFINISHED)
		return true;
	if (!waits)
		return false;
	lab_store_rlx(&target->looked, seen);
	return at_once || looked == seen;
}

/* From outside of the process a lease would name a thread by an id of another PID namespace. */
static bool
may_visit(void)
{
	return !lab_registry_is_forked() && !lab_registry_in_shared_memory_child();
}

void
lab_visit_one(struct lab_heap *heap, struct lab_heap *target)
{
	size_t blocks = BLOCKS_A_CALL;

	if (target != heap && lab_registry_tid(target->id) != lab_thread.tid && may_visit())
		(void)visit(heap, target, &blocks, 0);
	if (blocks == 0)
		lab_remote_expect_visit(target);
}

/* The next heap of another thread from *id on, but for `heap`; NULL: there is none. *id is then behind it. */
static struct lab_heap *
next_of_another(const struct lab_heap *heap, uint32_t *id)
{
	while (*id < lab_registry_count()) {
		uint32_t at = (*id)++;
		struct lab_heap *target = lab_registry_heap(at);
		if (target != heap && lab_registry_state(at) == LAB_HEAP_CURRENT &&
		    lab_registry_tid(at) != lab_thread.tid)
			return target;
	}
	return NULL;
}

bool
lab_visit_all(struct lab_heap *heap, bool at_once)
{
	size_t blocks = BLOCKS_A_CALL;
	struct lab_heap *target;

	if (!may_visit())
		return true;
	for (uint32_t id = 0; (target = next_of_another(heap, &id)) != NULL;) {
		if (!is_to_be_visited(target, at_once))
			continue;
		(void)visit(heap, target, &blocks, 0);
		if (blocks == 0)
			return false;
	}
	return true;
}

void
lab_visit_all_thoroughly(struct lab_heap *heap)
{
	struct lab_heap *target;

	for (uint32_t id = 0; may_visit() && (target = next_of_another(heap, &id)) != NULL;) {
		size_t blocks = BLOCKS_A_CALL;
		(void)visit(heap, target, &blocks, SIZE_MAX);
	}
}

/* It stays the same while the thread allocates nothing, and frees nothing that has gone into a current span. */
static uint32_t
number_of_current(const struct lab_heap *target)
{
	uint64_t number = 0;

	for (unsigned c = 0; c < LAB_CLASS_COUNT; c++) {
		const struct lab_unit *unit = lab_peek(&target->bins[c].current);
		uint64_t state = unit ? lab_peek(&unit->freelist_state) : 0;
		number = (number ^ (uintptr_t)unit ^ state) * UINT64_C(0x9e3779b97f4a7c15);
	}
	return (uint32_t)(number >> 32);
}

static void
note_rest(struct lab_rest *rest, uint32_t current, bool is_done, uint64_t since)
{
	lab_poke(&rest->current, current);
	lab_poke(&rest->is_done, is_done);
	lab_poke(&rest->since, since);
}

/* Gives back a slice if its thread has rested for so long. *n: the work. */
static void
look_at_rest(struct lab_heap *heap, struct lab_heap *target, uint64_t now, uint64_t period, unsigned *n)
{
	struct lab_rest *rest = &target->rest;
	uint32_t current = number_of_current(target);
	size_t blocks = BLOCKS_A_CALL;

	if (current != lab_peek(&rest->current))
		note_rest(rest, current, false, now);
	if (lab_peek(&rest->is_done) || now - lab_peek(&rest->since) < period)
		return;
	*n += HEAPS_A_LOOK / VISITS_A_LOOK;
	if (visit(heap, target, &blocks, PAGES_A_VISIT))
		note_rest(rest, number_of_current(target), lab_peek(&rest->hand) == 0, lab_peek(&rest->since));
}

void
lab_visit_resting(struct lab_heap *heap, uint64_t now, uint64_t period)
{
	static _Atomic uint32_t hand;
	uint32_t id = lab_load_rlx(&hand);
	struct lab_heap *target;

	if (!may_visit())
		return;
	for (unsigned n = 0; n < HEAPS_A_LOOK && (target = next_of_another(heap, &id)) != NULL; n++)
		look_at_rest(heap, target, now, period, &n);
	lab_store_rlx(&hand, id < lab_registry_count() ? id : 0);
}

bool
lab_visit_is_kept_out(uint32_t tid)
{
	bool is = false, waits;

	for (uint32_t id = 0; !is && id < lab_registry_count(); id++) {
		struct lab_heap *target = lab_registry_heap(id);
		if (lab_registry_state(id) != LAB_HEAP_CURRENT)
			continue;
		uint64_t inside = lab_load_acq(&target->visitor); /* pairs with its CAS */
		(void)look_at(target, &waits);
		is = waits && lab_lease_tid(inside) != tid && !lab_lease_is_free(inside, tid, lab_os.thread_is_dead);
	}
	return is;
}

void
lab_visit_settle(const struct lab_lease_fork *fork)
{
	for (uint32_t id = 0, end = lab_registry_count(); id < end; id++) {
		enum lab_heap_state state = lab_registry_state(id);
		if (state == LAB_HEAP_UNUSED) /* perhaps there was no memory for it */
			continue;
		uint64_t orphaned = state == LAB_HEAP_CURRENT ? lab_lease_make(0, 0, LAB_VISIT_ENDLESS) : 0;
		(void)lab_lease_settle(&lab_registry_heap(id)->visitor, fork, orphaned);
	}
}
