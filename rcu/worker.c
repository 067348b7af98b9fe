/* worker.c - see worker.h. */
#include "worker.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "queue.h"
#include "report.h"

/* A nap after a cycle that freed something lets the next one have more to free; so many in a row that ended with
 * nothing to do, and the worker sleeps until it is woken. */
enum { NAP_MS = 2, NAPS = 100 };

/* How deep the worker sleeps: the low bits of `depth`. Above them is a count of those who woke it. */
enum { AWAKE, NAPPING, ASLEEP, DEPTHS = 3, ONE_WAKE = 4 };

static _Atomic uint32_t depth, begun, done, holds;
static _Atomic uint32_t waiters; /* of `done`; more than there are, if some were left by a jump */
static _Atomic bool wanted;      /* a cycle, though nothing waits */
static _Atomic uint64_t grace;   /* INV-RCU-3 */
static _Atomic uint64_t stalled; /* the last value of `grace` that was reported */
static _Atomic size_t grace_periods, stalls;

/* ---- the system -------------------------------------------------------------------------------------------------- */

uint64_t
lab_worker_now_ms(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000 + 1;
}

/* ms 0: for ever. */
static void
futex_wait(_Atomic uint32_t *word, uint32_t value, unsigned ms)
{
	struct timespec time = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};
	int saved = errno;

	(void)syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, ms ? &time : NULL);
	errno = saved;
}

static void
futex_wake(_Atomic uint32_t *word)
{
	int saved = errno;

	(void)syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, INT_MAX);
	errno = saved;
}

/* ---- the cycles -------------------------------------------------------------------------------------------------- */

/* It is the worker that says when it is awake: who is left by a jump between the two steps keeps nobody from waking. */
static void
wake(void)
{
	if ((atomic_load(&depth) & DEPTHS) == AWAKE) /* pairs with the adds of nap */
		return;
	atomic_fetch_add(&depth, ONE_WAKE); /* pairs with them: a worker about to wait does not */
	futex_wake(&depth);
}

/* INV-RCU-4 */
static void
nap(uint32_t how)
{
	/* pairs with the load of wake, and of lab_worker_note_push */
	uint32_t value = atomic_fetch_add(&depth, how) + how;
	/* pairs with the store of lab_worker_wait */
	if (!atomic_load(&wanted) && (how == NAPPING || lab_queue_is_empty()))
		futex_wait(&depth, value, how == NAPPING ? NAP_MS : 0);
	atomic_fetch_sub(&depth, how); /* pairs with the same */
}

static void
wait_for_grace(const struct rcu_flavor_struct *flavour)
{
	for (;;) {
		uint32_t held;
		while ((held = atomic_load(&holds)) != 0) /* pairs with the add of lab_worker_hold */
			futex_wait(&holds, held, NAP_MS);
		atomic_store(&grace,
		             lab_worker_now_ms()); /* pairs with the load of lab_worker_is_in_grace: INV-RCU-3 */
		if (atomic_load(&holds) == 0)      /* pairs with the add, again: who holds now sees the grace */
			break;
		atomic_store(&grace, 0); /* pairs with the load of lab_worker_is_in_grace */
	}
	flavour->update_synchronize_rcu();
	atomic_store(&grace, 0); /* pairs with the same load */
	lab_add_rlx(&grace_periods, 1);
}

/* True: there was something to free. */
static bool
cycle(const struct rcu_flavor_struct *flavour)
{
	bool taken;

	atomic_store(&wanted, false);                      /* pairs with the store of lab_worker_wait */
	uint32_t number = atomic_fetch_add(&begun, 1) + 1; /* pairs with the load of lab_worker_wait */
	taken = lab_queue_take();
	if (taken) {
		wait_for_grace(flavour);
		lab_queue_free_batch();
	}
	atomic_store(&done, number); /* pairs with the load of lab_worker_wait */
	if (atomic_load(&waiters))   /* pairs with its add */
		futex_wake(&done);
	return taken;
}

void *
lab_worker_run(void *flavour)
{
	unsigned naps = 0;

	lab_queue_settle_batch();
	if (lab_queue_has_batch()) { /* of the worker of fork's parent */
		wait_for_grace(flavour);
		lab_queue_free_batch();
	}
	for (;;) {
		naps = cycle(flavour) ? 0 : naps + 1;
		nap(naps < NAPS ? NAPPING : ASLEEP);
	}
	return NULL;
}

/* ---- fork ------------------------------------------------------------------------------------------------------- */

void
lab_worker_forget(void)
{
	lab_store_rlx(&depth, AWAKE);
	lab_store_rlx(&waiters, 0);
	lab_store_rlx(&done, lab_load_rlx(&begun));
}

void
lab_worker_hold(bool hold)
{
	atomic_fetch_add(&holds, hold ? 1 : UINT32_MAX); /* pairs with the load of wait_for_grace */
	if (!hold)
		futex_wake(&holds);
}

void
lab_worker_hold_no_more(void)
{
	lab_store_rlx(&holds, 0);
}

bool
lab_worker_is_in_grace(void)
{
	return atomic_load(&grace) != 0; /* pairs with the stores of wait_for_grace */
}

/* ---- who waits -------------------------------------------------------------------------------------------------- */

uint64_t
lab_worker_grace_ms(void)
{
	uint64_t since = lab_load_rlx(&grace), now = lab_worker_now_ms();

	return since && now > since ? now - since : 0;
}

void
lab_worker_report_stall(void)
{
	uint64_t since = lab_load_rlx(&grace), before = lab_load_rlx(&stalled);
	uint64_t ms = lab_worker_grace_ms();

	if (ms < LAB_WORKER_STALL_MS || !since || since == before)
		return;
	/* pairs with nothing: who wins writes the line */
	if (atomic_compare_exchange_strong(&stalled, &before, since)) {
		lab_add_rlx(&stalls, 1);
		lab_rcu_report(lab_queue_bytes(), lab_queue_blocks(), "and a reader has not ended for", ms);
	}
}

void
lab_worker_note_push(bool hurry)
{
	uint32_t how = atomic_load(&depth) & DEPTHS; /* pairs with the adds of nap: INV-RCU-4 */

	if (how == ASLEEP || (how == NAPPING && hurry))
		wake();
}

bool
lab_worker_wait(unsigned ms)
{
	uint32_t seen, target = atomic_load(&begun) + 1; /* pairs with the add of cycle */
	uint64_t start = lab_worker_now_ms();

	atomic_fetch_add(&waiters, 1); /* pairs with the load of cycle */
	/* pairs with the store of cycle */
	while ((int32_t)((seen = atomic_load(&done)) - target) < 0 && (!ms || lab_worker_now_ms() - start < ms)) {
		atomic_store(&wanted, true); /* pairs with the load of nap */
		wake();
		futex_wait(&done, seen, ms ? ms : LAB_WORKER_STALL_MS);
		lab_worker_report_stall();
	}
	lab_add_rlx(&waiters, UINT32_MAX);
	return (int32_t)(seen - target) >= 0;
}

size_t
lab_worker_grace_periods(void)
{
	return lab_load_rlx(&grace_periods);
}

size_t
lab_worker_stalls(void)
{
	return lab_load_rlx(&stalls);
}
