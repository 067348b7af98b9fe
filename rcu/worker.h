/*
 * worker.h - the thread that waits for grace periods and frees, and who waits for it.
 *
 * The worker goes in cycles: take all, synchronize_rcu, free. Cycles have numbers: `begun` is written before the take,
 * `done` after the frees, so that what was pushed before a look at `begun` is freed when `done` is past that look.
 *
 * INV-RCU-3  `grace` is the time, not 0, while the worker may be inside of liburcu, and 0 else. A fork that finds 0
 *            after it has said so in `holds` copies none of liburcu's locks in the worker's hand: each side writes its
 *            word and then reads the other's (Dekker).
 * INV-RCU-4  Where blocks wait, the worker is awake, or its nap ends by itself, or somebody is about to end it: it says
 *            in `depth` how deep it sleeps before it looks at the queue; pushers push before they look at `depth`. If
 *            a pusher is left by a jump in between, the next push, or lab_rcu_barrier, ends it.
 */
#ifndef LAB_RCU_WORKER_H
#define LAB_RCU_WORKER_H

#include <urcu/flavor.h>

#include "base/atomic.h"

/* A grace period that lasts so long is worth a line; a fork waits no longer. */
enum { LAB_WORKER_STALL_MS = 1000 };

/* Milliseconds of a monotonic clock, not 0. Async-signal-safe. */
uint64_t lab_worker_now_ms(void);

/* What the thread runs; `flavour` is a struct rcu_flavor_struct. One a process. */
void *lab_worker_run(void *flavour);

/* Before the first worker of fork's child: what the words say of threads that are not there. */
void lab_worker_forget(void);

/* From the first to the last of as many calls with false the worker stays outside of liburcu, or where it is inside. */
void lab_worker_hold(bool hold);

/* In fork's child: nobody holds it. */
void lab_worker_hold_no_more(void);

/* Whether the worker may be inside of liburcu, in fork's child that of the parent; and for how long. */
bool lab_worker_is_in_grace(void);
uint64_t lab_worker_grace_ms(void);

/* After each push: wakes the worker if it sleeps for long, or if it naps and there is a hurry. Any context. */
void lab_worker_note_push(bool hurry);

/* Waits for the end of a cycle that begins after the call, or for `ms` (0: for ever). True: it has come. */
bool lab_worker_wait(unsigned ms);

/* A line on stderr for a grace period that lasts too long, once for each. Any context. */
void lab_worker_report_stall(void);

/* Of grace periods that ended; of those that were reported. */
size_t lab_worker_grace_periods(void);
size_t lab_worker_stalls(void);

#endif
