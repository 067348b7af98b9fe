/*
 * lifecycle.c - what happens around main: settings are read, fork is prepared, figures are printed. Allocation works
 * before and after all of it; nothing here is needed for it to be correct.
 */
#include <pthread.h>

#include "alloc/background.h"
#include "alloc/checked.h"
#include "alloc/config.h"
#include "alloc/damage.h"
#include "alloc/dump.h"
#include "alloc/inspect.h"
#include "alloc/lifecycle.h"
#include "alloc/limit.h"
#include "alloc/misuse.h"
#include "alloc/profiling.h"
#include "alloc/reserve_api.h"
#include "alloc/settings.h"
#include "backing/backing.h"
#include "backing/on_low.h"
#include "heap/fork.h"
#include "heap/leases.h"
#include "heap/registry.h"
#include "heap/thread.h"
#include "heap/visitor.h"
#include "os/os.h"
#include "page/space.h"

enum { TRIES = 8 };

/* A visitor that is inside of the heap at the fork would leave it closed in the child: INV-VISIT-4. */
static bool
enter_before_fork(struct lab_guard *guard)
{
	bool entered = lab_try_enter(guard);

	for (int i = 0; !entered && i < TRIES && lab_thread.word & LAB_WORD_IDLE; i++)
		entered = lab_visit_wait_for_end(lab_thread.heap) && lab_try_enter(guard);
	return entered;
}

/* What is this thread's at the fork is the child's. In a handler that interrupted malloc there is nothing to be had. */
void
lab_before_fork(void)
{
	struct lab_guard guard = LAB_GUARD_HERE;

	if (enter_before_fork(&guard)) {
		lab_thread_before_fork_owned(guard.heap);
		lab_leave(&guard);
	}
}

/* Where nothing could be had, nothing is held. */
static void
after_fork(bool in_child)
{
	struct lab_guard guard = LAB_GUARD_HERE;

	lab_thread_settle_fork(true); /* nothing in the parent */
	if (lab_try_enter(&guard)) {
		lab_thread_after_fork_owned(in_child);
		lab_leave(&guard);
	}
}

void
lab_after_fork_in_parent(void)
{
	after_fork(false);
	lab_backing_after_fork();
}

void
lab_after_fork_in_child(void)
{
	/* The page was not wiped; else it says so itself, or another's hook has had it settled. */
	if (lab_registry_in_shared_memory_child())
		lab_registry_note_fork();
	after_fork(true);
}

/* libc's fork alone: _Fork's child may not make threads. */
static void
in_child(void)
{
	lab_after_fork_in_child();
	lab_dump_in_child();
	lab_background_start();
}

__attribute__((constructor)) static void
start(void)
{
	lab_misuse_start();
	lab_inspect_start();
	lab_os_learn_threads();
	(void)lab_os_tid_to_write(); /* this thread may have been born before */
	lab_config_start();
	lab_checked_start();
	if (lab_settings.report_leaks)
		lab_os_keep_stderr();
	lab_dump_start();
	(void)lab_registry_note_process(); /* before there can be a vfork */
	lab_thread_add_leases(lab_share_settle);
	lab_thread_add_leases(lab_low_settle);
	lab_thread_add_leases(lab_backing_settle);
	lab_thread_add_leases(lab_limit_settle);
	lab_backing_start();
	lab_reserve_report();
	(void)pthread_atfork(lab_before_fork, lab_after_fork_in_parent, in_child);
	lab_profiling_start(); /* while there are as few threads as there will be */
	lab_background_start();
}

__attribute__((destructor)) static void
end(void)
{
	if (lab_space()) /* else core under the drop-in: the heap is the drop-in's */
		lab_damage_look_at_end();
	lab_profiling_end();
	lab_dump_at_exit();
}
