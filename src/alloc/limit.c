/*
 * limit.c - what a KERNEL call does when the memory limit stops it: reclaim, wait, give up. What is counted, and how
 * exactly the limit holds, stands in page/charge.h. ATOMIC, NOWAIT and re-entrant calls never come here.
 *
 * One thread at a time reclaims (the lease `reclaimer`), so that a call fails only after a round of its own in which
 * nobody else had in hand what it looked for. Nothing is held while a thread waits: no heap, no claim, no lease, and no
 * count of waiters that a jump out of the wait could leave wrong. Who frees pages and sees the flag clears it, raises
 * the generation and wakes all; who still lacks memory sets the flag again. A wake that is missed costs a slice, and so
 * do frees into the waiter's own heap, for which nobody wakes it.
 */
#include "alloc/limit.h"
#include "alloc/owned.h"
#include "alloc/settings.h"
#include "base/format.h"
#include "heap/claim.h"
#include "heap/huge.h"
#include "heap/leases.h"
#include "heap/outbox.h"
#include "heap/rebuild.h"
#include "heap/registry.h"
#include "heap/remote.h"
#include "heap/visit.h"
#include "os/os.h"
#include "page/charge.h"
#include "page/frame.h"
#include "page/purge.h"

enum {
	SLICE_MS = 10,
	HOOKS = 4,
	HOOK_ROUNDS = 16, /* so often a call that hooks help does not wait */
	PROBES = 32,      /* for the heaps of dead threads, in each round */
	A_MINUTE_MS = 60000,
	RECLAIM_MS = 1000, /* so long another thread's reclaim is waited for */
	NAPS = 1000,       /* of a ms each, while others are in the way */
};

static _Atomic(size_t (*)(unsigned gfp)) hooks[HOOKS];
static _Atomic uint64_t reclaimer; /* a lease */
static _Atomic uint32_t reclaims;  /* that have ended while a thread waited for that */
static _Atomic bool is_awaited;
static _Atomic uint32_t generation;
_Atomic size_t lab_limit_wait_count;
_Atomic bool lab_limit_waiting;

bool
lab_limit_on_reclaim(size_t (*hook)(unsigned gfp))
{
	for (unsigned i = 0; i < HOOKS; i++) {
		size_t (*none)(unsigned gfp) = NULL;
		/* pairs with the acq of try_again */
		if (atomic_compare_exchange_strong_explicit(&hooks[i], &none, hook, memory_order_release,
		                                            memory_order_relaxed) ||
		    none == hook)
			return true;
	}
	return false;
}

void
lab_limit_wake(void)
{
	if (atomic_exchange_explicit(&lab_limit_waiting, false, memory_order_relaxed)) {
		lab_add_rlx(&generation, 1);
		lab_os_wake(&generation);
	}
}

/* What was freed into the heap and what the dead have left; then spans that are empty go, and all free pages. */
static void
reclaim_owned(struct lab_heap *heap)
{
	(void)lab_outbox_send_owned(heap);
	lab_remote_drain_owned(heap);
	while (lab_thread_absorb_dead_owned(heap, PROBES))
		;
	while (!lab_visit_all(heap, true))
		;
	lab_huge_finish_frees();
	lab_heap_rebuild_owned(heap);
	heap->whole = LAB_HEAP_TORN; /* a frame is inside still */
	lab_purge_all(lab_thread_purge_owned(heap));
}

void
lab_limit_settle(const struct lab_lease_fork *fork)
{
	(void)lab_lease_settle(&reclaimer, fork, 0);
}

/* What a call must not do, as a lease's tag. */
static unsigned
bans_of(unsigned gfp)
{
	return (gfp & LAB_GFP_NOIO) / LAB_GFP_NOFS;
}

/* Whether the thread that `mine` names reclaims from here on; *seen: whose turn it is instead. A lease of its own was
 * left by a jump: who reclaims does not do so inside of that. */
static bool
begin_to_reclaim(uint64_t mine, uint64_t *seen)
{
	*seen = lab_load_acq(&reclaimer); /* pairs with the CAS of whoever has it, or had it */
	if (lab_lease_tid(*seen) == lab_lease_tid(mine))
		return lab_cas64(&reclaimer, *seen, mine); /* pairs with the acq above in another thread */
	return lab_lease_win(&reclaimer, *seen, mine, lab_os.thread_is_dead);
}

/*
 * Returns the lease, once no other thread reclaims: what another one is just giving back is not to be had yet, and a
 * call that looked then would fail for nothing. 0: the call goes on without it. It does not wait if it may not, or if
 * the other call may do what this one must not, as hooks may want locks that this thread has; and for a second since
 * `start` at most. Then the lease is taken over: the reclaim may have been left by a jump.
 */
static uint64_t
wait_to_reclaim(unsigned gfp, uint64_t start)
{
	uint64_t mine = lab_lease_new(lab_thread_tid(), bans_of(gfp)), holder;
	uint32_t seen = lab_load_rlx(&reclaims);

	while (!begin_to_reclaim(mine, &holder)) {
		if (gfp & LAB_GFP_NORETRY || start == 0 || (bans_of(gfp) & ~lab_lease_tag(holder)) != 0)
			return 0;
		if (lab_os.clock_ms() - start >= RECLAIM_MS)
			return lab_cas64(&reclaimer, holder, mine) ? mine : 0; /* pairs as in begin_to_reclaim */
		lab_store_rlx(&is_awaited, true);
		lab_os.wait(&reclaims, seen, SLICE_MS);
		seen = lab_load_rlx(&reclaims);
	}
	return mine;
}

void
lab_limit_end_reclaim(uint64_t mine)
{
	if (mine != 0)
		(void)lab_lease_release(&reclaimer, mine, 0);
	if (atomic_exchange_explicit(&is_awaited, false, memory_order_relaxed)) {
		lab_add_rlx(&reclaims, 1);
		lab_os_wake(&reclaims);
	}
}

/* It calls no hooks, so that every call may wait for it. A hook may trim: then the lease is the thread's own. */
uint64_t
lab_limit_begin_trim(void)
{
	uint64_t mine = lab_lease_new(lab_thread_tid(), bans_of(LAB_GFP_NOIO)), seen;

	if (lab_lease_tid(lab_load_rlx(&reclaimer)) == lab_lease_tid(mine))
		return 0;
	return begin_to_reclaim(mine, &seen) ? mine : 0;
}

static size_t
call_hooks(unsigned gfp)
{
	size_t freed = 0;

	for (unsigned i = 0; i < HOOKS; i++) {
		size_t (*hook)(unsigned) = lab_load_acq(&hooks[i]); /* pairs with the CAS of lab_limit_on_reclaim */
		if (hook)
			freed += hook(gfp & ~LAB_GFP_INTERNAL);
	}
	return freed;
}

/* One more try, after a round of reclaiming. *over_limit: it was the limit that stopped it. */
static void *
try_again(uintptr_t sp, struct lab_request request, bool *fresh, bool *over_limit, bool *sampled)
{
	struct lab_guard guard = {.sp = sp};
	void *p = NULL;

	*over_limit = false;
	if (lab_enter(&guard)) {
		reclaim_owned(guard.heap);
		p = lab_allocate_owned(guard.heap, request, fresh);
		if (!p && guard.heap->over_limit) {
			guard.heap->over_limit = false;
			lab_thread_squeeze_owned(guard.heap);
			lab_purge_all(lab_thread_purge_owned(guard.heap));
			p = lab_allocate_owned(guard.heap, request, fresh);
		}
		*over_limit = guard.heap->over_limit;
		*sampled = guard.heap->sampler.took;
		lab_leave(&guard);
	}
	return p;
}

/* Once: a program that lives at its limit would say it all the time. */
static LAB_COLD void
tell_of_limit(void)
{
	char buffer[160];
	struct lab_text text = lab_text_start(buffer, sizeof buffer);

	lab_text_string(&text, "labyrinth: the limit of ");
	lab_text_bytes(&text, lab_load_rlx(&lab_charge_limit) << LAB_PAGE_SHIFT);
	lab_text_string(&text, " is reached: calls reclaim, wait or fail from here on (LABYRINTH_LIMIT)\n");
	lab_os_write(text.buffer, text.length);
}

static void
note_limit(struct lab_request request)
{
	static _Atomic bool is_told;

	if (!(request.gfp & LAB_GFP_NOWARN) && !lab_load_rlx(&is_told) &&
	    !atomic_exchange_explicit(&is_told, true, memory_order_relaxed))
		tell_of_limit();
}

/* Until the generation is no longer `seen`, for a slice at most. */
static void
wait_for_frees(uint32_t seen, uint64_t left)
{
	lab_os.wait(&generation, seen, left < SLICE_MS ? (unsigned)left : SLICE_MS);
}

/*
 * Whether another try is worth while, as other threads are in the middle of what keeps free memory from this one: they
 * give pages back, which count until that is done, or are inside of a heap into which blocks were freed. Waits for a
 * moment, if so; *naps: how often it may. When a call has used them up, which is a second in which somebody was in the
 * way at each look, none waits in the next minute: a frame in the way may have been left by a jump.
 */
static bool
wait_for_others(unsigned *naps)
{
	static _Atomic uint64_t in_vain; /* when, in ms */
	uint32_t tid = lab_thread_tid();
	uint64_t now = lab_os.clock_ms(), last = lab_load_rlx(&in_vain);

	if (now == 0 || (last != 0 && now - last < A_MINUTE_MS) ||
	    !(lab_purge_is_under_way(tid) || lab_visit_is_kept_out(tid)))
		return false;
	if (*naps == 0) {
		lab_store_rlx(&in_vain, now);
		return false;
	}
	(*naps)--;
	lab_os_sleep_ms(1);
	return true;
}

static void *
allocate_in_time(struct lab_guard *guard, struct lab_request request, bool *fresh, bool *sampled)
{
	bool may_retry = !(request.gfp & LAB_GFP_NORETRY), over_limit, waited = false;
	uint64_t start = lab_os.clock_ms(), passed = 0;
	uint64_t wait = start && may_retry ? lab_load_rlx(&lab_settings.wait_ms) : 0;
	unsigned naps = NAPS;

	for (unsigned round = 0;; round++) {
		/* set before the try: what is freed after it wakes us */
		uint32_t seen = lab_load_rlx(&generation);
		if (wait)
			lab_store_rlx(&lab_limit_waiting, true);
		uint64_t lease = wait_to_reclaim(request.gfp, start);
		size_t freed = call_hooks(request.gfp);
		void *p = try_again(guard->sp, request, fresh, &over_limit, sampled);
		if (!p && over_limit && freed == 0 && may_retry && round < HOOK_ROUNDS)
			freed = call_hooks(request.gfp); /* others have freed something between the two */
		lab_limit_end_reclaim(lease);
		if (p || !over_limit)
			return p;
		if (may_retry && ((freed != 0 && round < HOOK_ROUNDS) || wait_for_others(&naps)))
			continue;
		passed = lab_os.clock_ms() - start;
		if (passed >= wait)
			return NULL;
		if (!waited)
			lab_add_rlx(&lab_limit_wait_count, 1);
		waited = true;
		wait_for_frees(seen, wait - passed);
	}
}

/* A handler's call that interrupted one that waits is re-entrant like one that interrupted the heap: it neither waits
 * nor reclaims. */
void *
lab_limit_allocate(struct lab_guard *guard, struct lab_request request, bool *fresh, bool *sampled)
{
	if (lab_thread.waiting != 0 && !lab_frame_is_dead(lab_thread.waiting, guard->sp, lab_thread.tid)) {
		guard->reentrant = true;
		return NULL;
	}
	note_limit(request);
	if (request.size >> LAB_PAGE_SHIFT > lab_load_rlx(&lab_charge_limit))
		return NULL;
	lab_thread.waiting = guard->sp;
	lab_compiler_barrier();
	void *p = allocate_in_time(guard, request, fresh, sampled);
	lab_compiler_barrier();
	lab_thread.waiting = 0;
	return p;
}
