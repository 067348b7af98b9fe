/*
 * leases.c - see leases.h.
 *
 * In the child, one pass settles all leases: INV-LEASE-2. Signals are held meanwhile, so that it is run once, and the
 * new id in a word is a stranger's. Where the system refuses to hold them, or for those that an instruction raises, a
 * handler that calls malloc runs the whole pass itself, and one that jumps out leaves the rest of it to the next
 * call, or to that of its own child: then the id that the pass had begun to write is one of the forking thread's.
 */
#include "heap/leases.h"
#include "base/check.h"
#include "heap/exclusive.h"
#include "heap/huge.h"
#include "heap/registry.h"
#include "heap/visit.h"
#include "os/os.h"

static lab_lease_kind *kinds[4 + LAB_KINDS_ABOVE] = {lab_purge_settle, lab_exclusive_settle, lab_visit_settle,
                                                     lab_registry_settle};

void
lab_thread_add_leases(lab_lease_kind *kind)
{
	size_t i = 0;

	while (i < sizeof kinds / sizeof *kinds && kinds[i])
		i++;
	lab_assert(i < sizeof kinds / sizeof *kinds);
	kinds[i] = kind;
}

/* One for all frames: a handler in between that runs the pass tells the one that it interrupted what it has written. */
static struct lab_lease_fork fork_pass;

static void
settle_all(void)
{
	lab_os_note_process();
	uint32_t tid = lab_os_tid_to_write(), cut_tid = lab_thread.next_tid;

	lab_thread.next_tid = tid;
	fork_pass = (struct lab_lease_fork){lab_thread.tid, tid, cut_tid, lab_os.has_thread};
	lab_compiler_barrier();
	for (size_t i = 0; i < sizeof kinds / sizeof *kinds && kinds[i] && lab_registry_is_forked(); i++)
		kinds[i](&fork_pass);
	if (lab_registry_is_forked()) { /* else such a handler has done it all */
		lab_thread.tid = fork_pass.new_tid;
		lab_compiler_barrier();
		lab_segment_generation++;
		lab_registry_end_fork();
	}
	lab_thread.next_tid = 0;
}

void
lab_thread_settle_fork(bool is_leader)
{
	if (lab_likely(!lab_registry_is_forked()))
		return;
	uint64_t signals = lab_os_hold_signals();
	/* by the leader; until then all heaps count as alive */
	if (lab_registry_is_forked() && (is_leader || lab_os_tid() == lab_os_pid()))
		settle_all();
	lab_os_release_signals(signals);
	lab_huge_finish_frees(); /* what others were freeing is nobody's now */
}

uint32_t
lab_thread_tid(void)
{
	if (lab_unlikely(!lab_thread.heap))
		lab_thread_settle_fork(false); /* first: what the leader takes with its new id is not the parent's */
	return lab_current_tid();
}
