/* registry.c - see registry.h. Any context; every step is one CAS, and a frame cut short leaves a heap that its thread
 * finds again. */
#include "heap/registry.h"
#include "base/check.h"
#include "heap/visitor.h"
#include "os/os.h"
#include "page/space.h"

enum {
	TAKEN_AT_ONCE = 8, /* so many places in a row that are others' are tried one by one */
};

/* Dense, apart from the heaps, so that a search reads few lines and a word can be read before its heap exists. */
LAB_ALIGNED(4096) _Atomic uint64_t lab_registry_owners[LAB_HEAP_MAX];
_Atomic uint32_t lab_registry_end;    /* heaps with a lower id may exist */
static _Atomic uint32_t probe_cursor; /* a hint */

/* A page that the kernel clears in fork's child: here stands the id of the process that wrote the owner words. */
static _Atomic(_Atomic uint64_t *) fork_mark;

/* That page; NULL: there is none yet. */
static _Atomic uint64_t *
mark_page(void)
{
	return lab_load_acq(&fork_mark); /* pairs with the CAS of lab_registry_note_process: the id stands there */
}

static uint64_t
owner_of(uint32_t id)
{
	return lab_load_acq(&lab_registry_owners[id]); /* pairs with the CAS by which a holder has won it, or let go */
}

static bool
is_owned(uint64_t owner)
{
	return lab_heap_state_is_owned(lab_registry_state_in(owner));
}

bool
lab_registry_note_process(void)
{
	if (!mark_page()) {
		_Atomic uint64_t *none = NULL, *mark = lab_os_map_wiped_on_fork();
		if (!mark)
			return false;
		lab_store_rlx(mark, lab_os_pid());
		/* pairs with the acq of mark_page */
		if (!atomic_compare_exchange_strong_explicit(&fork_mark, &none, mark, memory_order_acq_rel,
		                                             memory_order_acquire))
			(void)lab_os.unmap((void *)mark, LAB_OS_PAGE_SIZE);
	}
	return true;
}

bool
lab_registry_start(void)
{
	return lab_space_start() && lab_registry_note_process();
}

const void *
lab_registry_table(size_t *size)
{
	*size = sizeof lab_registry_owners;
	return (const void *)lab_registry_owners;
}

struct lab_heap *
lab_registry_heap(uint32_t id)
{
	return (struct lab_heap *)lab_space_heap(lab_space(), id);
}

uint32_t
lab_registry_count(void)
{
	return lab_load_acq(
	        &lab_registry_end); /* pairs with the CAS of lab_registry_make: the heaps before the last are mapped */
}

enum lab_heap_state
lab_registry_state(uint32_t id)
{
	return lab_registry_state_in(owner_of(id));
}

uint32_t
lab_registry_tid(uint32_t id)
{
	return lab_lease_tid(lab_load_rlx(&lab_registry_owners[id]));
}

/* From exactly `before`, which names nobody, the caller, or the dead. */
static bool
win(uint32_t id, uint64_t before, uint32_t tid, enum lab_heap_state hold)
{
	/* pairs with the CAS by which the holder of before let go: the heap is as that left it */
	return lab_cas64(&lab_registry_owners[id], before, lab_lease_next(before, tid, (unsigned)hold));
}

/* Takes the heap of another thread, if that is dead. */
static struct lab_heap *
take_dead(uint32_t id, uint64_t owner, uint32_t tid, enum lab_heap_state hold, lab_is_dead *is_dead)
{
	struct lab_heap *heap = lab_registry_heap(id);

	if (!lab_lease_is_free(owner, tid, is_dead))
		return NULL;
	lab_poke(&heap->frame, 0); /* before it is won: nobody could tell afterwards whose frame that is */
	if (!win(id, owner, tid, hold))
		return NULL;
	if (lab_unlikely(lab_visit_is_inside(heap))) {
		uint64_t word = lab_load_rlx(&lab_registry_owners[id]);
		uint64_t as_it_was = lab_lease_next(word, lab_lease_tid(owner), lab_lease_tag(owner));
		(void)lab_cas64(&lab_registry_owners[id], word, as_it_was); /* pairs with the acq of owner_of */
		return NULL;
	}
	if (heap->drain != 0) /* what a visitor has left */
		heap->whole = LAB_HEAP_TORN;
	heap->adopted++;
	return heap;
}

static bool
is_others(uint64_t owner, uint32_t tid)
{
	return is_owned(owner) && lab_lease_tid(owner) != tid;
}

static bool
is_idle_with_frees(uint32_t id, uint64_t owner)
{
	return lab_registry_state_in(owner) == LAB_HEAP_IDLE && lab_heap_is_freed_into(lab_registry_heap(id));
}

struct lab_heap *
lab_registry_adopt(uint32_t tid, enum lab_heap_state hold, unsigned probes, bool idle_too)
{
	uint32_t end = lab_registry_count();

	if (lab_registry_is_forked())
		return NULL;
	for (uint32_t seen = 0; seen < end && probes > 0; seen++) {
		uint32_t id = lab_add_rlx(&probe_cursor, 1) % end;
		uint64_t owner = owner_of(id);
		struct lab_heap *heap = NULL;
		if (!is_others(owner, tid) && !(idle_too && is_idle_with_frees(id, owner)))
			continue;
		probes--;
		if (lab_registry_state_in(owner) == LAB_HEAP_IDLE)
			heap = lab_registry_take_if_idle(tid, hold, id);
		else
			heap = take_dead(id, owner, tid, hold, lab_os.thread_is_dead);
		if (heap)
			return heap;
	}
	return NULL;
}

struct lab_heap *
lab_registry_succeed(uint32_t tid, uint32_t id)
{
	uint64_t owner = owner_of(id);

	if (lab_registry_is_forked())
		return NULL;
	if (lab_registry_state_in(owner) == LAB_HEAP_IDLE)
		return lab_registry_take_if_idle(tid, LAB_HEAP_CURRENT, id);
	return lab_registry_state_in(owner) == LAB_HEAP_CURRENT
	               ? take_dead(id, owner, tid, LAB_HEAP_CURRENT, lab_os_is_dead_predecessor)
	               : NULL;
}

bool
lab_registry_has_to_clear(uint32_t tid)
{
	for (uint32_t id = 0; id < lab_registry_count(); id++) {
		uint64_t owner = owner_of(id);
		if (is_others(owner, tid) || is_idle_with_frees(id, owner))
			return true;
	}
	return false;
}

struct lab_heap *
lab_registry_take_if_idle(uint32_t tid, enum lab_heap_state hold, uint32_t id)
{
	uint64_t owner = lab_load_rlx(&lab_registry_owners[id]);

	return lab_registry_state_in(owner) == LAB_HEAP_IDLE && win(id, owner, tid, hold) ? lab_registry_heap(id)
	                                                                                  : NULL;
}

struct lab_heap *
lab_registry_take_idle(uint32_t tid, enum lab_heap_state hold)
{
	uint32_t end = lab_registry_count();
	struct lab_heap *heap = NULL;

	if (lab_registry_is_forked())
		return NULL;
	for (uint32_t i = 0; !heap && i < end; i++)
		heap = lab_registry_take_if_idle(tid, hold, hold == LAB_HEAP_CURRENT ? end - 1 - i : i);
	return heap;
}

struct lab_heap *
lab_registry_make(uint32_t tid, enum lab_heap_state hold)
{
	unsigned taken = 0;

	for (uint32_t id = 0; id < LAB_HEAP_MAX; id++) {
		struct lab_heap *heap = lab_registry_heap(id);
		uint64_t owner = lab_load_rlx(&lab_registry_owners[id]);
		uint32_t end = lab_registry_count();
		if (lab_registry_state_in(owner) != LAB_HEAP_UNUSED)
			continue;
		enum lab_mapped place = lab_space_map_heap(id, sizeof *heap);
		if (place == LAB_NOT_MAPPED)
			return NULL;
		if (place == LAB_OCCUPIED) { /* others' mappings are long: the steps over them grow */
			if (++taken > TAKEN_AT_ONCE)
				id += 1u << (taken - TAKEN_AT_ONCE < 10 ? taken - TAKEN_AT_ONCE : 10);
			continue;
		}
		/* counted first: a thread that is cut short after the CAS finds its heap again; pairs with the acq of
		 * lab_registry_count */
		while (end <= id && !atomic_compare_exchange_weak(&lab_registry_end, &end, id + 1))
			;
		/* before it is won, as nobody could tell afterwards whether it was done; the same value from
		 * everyone */
		lab_poke(&heap->id, id);
		if (win(id, owner, tid, hold))
			return heap;
	}
	return NULL;
}

struct lab_heap *
lab_registry_next_of(uint32_t tid, uint32_t *id, uint64_t *word)
{
	uint32_t end = lab_registry_count();

	while (*id < end && tid != LAB_OS_TID_UNKNOWN) { /* of all those who have none */
		uint32_t at = (*id)++;
		*word = lab_load_rlx(&lab_registry_owners[at]);
		if (is_owned(*word) && lab_lease_tid(*word) == tid)
			return lab_registry_heap(at);
	}
	return NULL;
}

bool
lab_registry_claim_own(struct lab_heap *heap, uint64_t word, enum lab_heap_state hold)
{
	return win(heap->id, word, lab_lease_tid(word), hold);
}

uint64_t
lab_registry_word(const struct lab_heap *heap)
{
	return lab_load_rlx(&lab_registry_owners[heap->id]);
}

void
lab_registry_give_back(struct lab_heap *heap, uint64_t word)
{
	lab_assert(heap->whole == LAB_HEAP_WHOLE && heap->drain == 0);
	lab_assert(heap->frame == 0);
	(void)lab_lease_release(&lab_registry_owners[heap->id], word, lab_lease_next(word, 0, LAB_HEAP_IDLE));
}

bool
lab_registry_is_forked(void)
{
	_Atomic uint64_t *mark = mark_page();

	return mark && lab_load_acq(mark) == 0; /* pairs with the rel of lab_registry_end_fork */
}

bool
lab_registry_in_shared_memory_child(void)
{
	_Atomic uint64_t *mark = mark_page();
	uint64_t writer = mark ? lab_load_rlx(mark) : 0, pid = lab_os_pid();

	return writer != 0 && (writer != pid || pid == LAB_OS_PID_UNKNOWN);
}

void
lab_registry_note_fork(void)
{
	_Atomic uint64_t *mark = mark_page();

	if (mark)
		lab_store_rlx(mark, 0);
}

static void
settle(uint32_t id, const struct lab_lease_fork *fork)
{
	uint64_t owner = owner_of(id), frozen = lab_lease_next(owner, 0, LAB_HEAP_FROZEN);

	switch (lab_lease_settle(&lab_registry_owners[id], fork, frozen)) {
	case LAB_LEASE_MINE:
		lab_heap_forget_frees(lab_registry_heap(id));
		break;
	case LAB_LEASE_NOBODYS:
		if (lab_registry_state_in(owner) != LAB_HEAP_UNUSED)
			(void)lab_cas64(&lab_registry_owners[id], owner, frozen); /* pairs with the acq of owner_of */
		break;
	case LAB_LEASE_KEPT:
	case LAB_LEASE_ORPHANED:
		break;
	}
}

void
lab_registry_settle(const struct lab_lease_fork *fork)
{
	for (uint32_t id = 0, end = lab_registry_count(); id < end; id++)
		settle(id, fork);
}

void
lab_registry_end_fork(void)
{
	lab_store_rel(mark_page(), lab_os_pid()); /* pairs with the acq of lab_registry_is_forked: leases are settled */
}
