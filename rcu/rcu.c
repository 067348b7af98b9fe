/* rcu.c - the calls of labyrinth/rcu.h. */
#include <errno.h>
#include <labyrinth/rcu.h>

#include "life.h"
#include "queue.h"
#include "report.h"
#include "worker.h"

#define MARK ((size_t)16 << 20)

enum { ROOM_WAIT_MS = 100 };

static _Atomic size_t mark = MARK;
static _Atomic size_t waits;

static bool
is_over_mark(void)
{
	return lab_queue_bytes() > lab_load_rlx(&mark);
}

/* A qsbr reader goes offline. False: the caller is a reader, of a flavour that has readers. */
static bool
go_offline(bool *was_online)
{
	const struct rcu_flavor_struct *flavour = lab_life_flavour();

	*was_online = flavour->read_ongoing();
	if (*was_online)
		flavour->thread_offline();
	return !*was_online || !flavour->read_ongoing();
}

static void
come_back(bool was_online)
{
	if (was_online)
		lab_life_flavour()->thread_online();
}

/* ---- any context ------------------------------------------------------------------------------------------------ */

/* Once a process. */
static void
report_no_worker(void)
{
	static atomic_flag is_reported = ATOMIC_FLAG_INIT;

	if (!atomic_flag_test_and_set_explicit(&is_reported, memory_order_relaxed))
		lab_rcu_report(lab_queue_bytes(), lab_queue_blocks(), "and there is no worker (lab_rcu_start)", 0);
}

static void
push(void *block, struct lab_rcu_head *head, bool head_is_block)
{
	lab_queue_push(block, head, head_is_block);
	bool over = is_over_mark();
	lab_worker_note_push(over);
	if (lab_unlikely(over)) {
		if (!lab_life_is_running())
			report_no_worker();
		lab_worker_report_stall();
	}
}

LAB_EXPORT void
lab_free_rcu_head(void *block, struct lab_rcu_head *head)
{
	if (block)
		push(block, head, false);
}

/* NOWAIT is the fast path; nothing of this waits, under a limit neither. */
static struct lab_rcu_head *
new_head(void)
{
	static const unsigned kinds[] = {LAB_GFP_NOWAIT, LAB_GFP_KERNEL | LAB_GFP_NORECLAIM | LAB_GFP_NOWARN,
	                                 LAB_GFP_ATOMIC | LAB_GFP_MEMALLOC | LAB_GFP_NOWARN};
	struct lab_rcu_head *head = NULL;
	int saved = errno;

	for (unsigned i = 0; i < sizeof kinds / sizeof *kinds && !head; i++)
		head = lab_alloc(sizeof *head, kinds[i]);
	errno = saved;
	return head;
}

LAB_EXPORT bool
lab_free_rcu(void *block)
{
	if (!block)
		return true;
	struct lab_rcu_head *head = new_head();
	if (head)
		push(block, head, true);
	return head != NULL;
}

LAB_EXPORT void
lab_rcu_set_mark(size_t bytes)
{
	lab_store_rlx(&mark, bytes);
}

LAB_EXPORT void
lab_rcu_stats_get(struct lab_rcu_stats *stats)
{
	*stats = (struct lab_rcu_stats){
	        .blocks = lab_queue_blocks(),
	        .bytes = lab_queue_bytes(),
	        .freed = lab_queue_freed(),
	        .grace_periods = lab_worker_grace_periods(),
	        .waits = lab_load_rlx(&waits),
	        .stalls = lab_worker_stalls(),
	};
}

/* ---- KERNEL contexts -------------------------------------------------------------------------------------------- */

static bool
start(const struct rcu_flavor_struct *flavour)
{
	int error = lab_life_start(flavour);

	if (error)
		errno = error;
	return error == 0;
}

LAB_EXPORT bool
lab_rcu_start(const struct rcu_flavor_struct *flavour)
{
	return start(flavour);
}

/* The worker, which in fork's child is to be made. */
static bool
has_worker(void)
{
	return start(lab_life_flavour());
}

LAB_EXPORT bool
lab_rcu_barrier(void)
{
	bool was_online;

	if (!has_worker())
		return false;
	if (!go_offline(&was_online)) {
		errno = EDEADLK;
		return false;
	}
	(void)lab_worker_wait(0);
	come_back(was_online);
	return true;
}

static void
wait_for_room(void)
{
	int saved = errno;
	bool was_online;

	if (lab_worker_grace_ms() < LAB_WORKER_STALL_MS && has_worker() && go_offline(&was_online)) {
		lab_add_rlx(&waits, 1);
		(void)lab_worker_wait(ROOM_WAIT_MS);
		come_back(was_online);
	}
	errno = saved;
}

LAB_EXPORT void
lab_free_rcu_wait(void *block)
{
	bool pushed = lab_free_rcu(block);

	if (is_over_mark())
		wait_for_room();
	if (pushed)
		return;
	if (has_worker()) { /* so liburcu works here */
		lab_life_flavour()->update_synchronize_rcu();
		lab_free(block);
	} else {
		report_no_worker();
	}
}
