/* thread.c - thread and process ids, and whether a thread is alive. Any context. */
#include <sys/prctl.h>

#include "base/atomic.h"
#include "os/linux.h"
#include "os/os.h"
#include "os/syscall.h"

uint32_t
lab_os_tid(void)
{
	long tid = lab_syscall(SYS_gettid, 0, 0, 0, 0, 0);

	return lab_syscall_failed(tid) ? LAB_OS_TID_UNKNOWN : (uint32_t)tid;
}

uint32_t
lab_os_pid(void)
{
	long pid = lab_syscall(SYS_getpid, 0, 0, 0, 0, 0);

	return lab_syscall_failed(pid) ? LAB_OS_PID_UNKNOWN : (uint32_t)pid;
}

/*
 * The thread whose id the process has. When it ends before the others it stays as a zombie, which answers to tkill; but the kernel clears
 * the word that libc gave it for that, after the thread's last instruction. pthread_join waits for this word, and then makes it -1.
 */
static struct {
	_Atomic uint32_t tid;                   /* 0: not known */
	_Atomic(const _Atomic uint32_t *) word; /* in the main thread's control block, which is never unmapped */
} leader;

static bool
leader_has_ended(uint32_t tid)
{
	/* acquire: of what the ended thread wrote, as in pthread_join; and of `word`, which is written before `tid` */
	return lab_load_acq(&leader.tid) == tid && (int32_t)lab_load_acq(lab_load_rlx(&leader.word)) <= 0;
}

void
lab_os_note_leader(void)
{
	const _Atomic uint32_t *word = NULL, *known = lab_load_rlx(&leader.word);
	uint32_t tid = lab_os_tid();

	lab_linux_note_main_stack();
	lab_store_rlx(&leader.tid, 0);
	/* A thread that forked is the child's leader, but its control block may be unmapped: only the first one's is taken. */
	if (tid != lab_os_pid() || lab_syscall_failed(lab_syscall(SYS_prctl, PR_GET_TID_ADDRESS, (long)&word, 0, 0, 0)) || !word)
		return;
	if (known && known != word)
		return;
	if (lab_load_rlx(word) != tid)
		return;
	lab_store_rlx(&leader.word, word);
	lab_store_rel(&leader.tid, tid); /* pairs with leader_has_ended */
}

bool
lab_linux_thread_is_dead(uint32_t tid)
{
	/* tkill, not tgkill: a process made with CLONE_VM has another thread group. */
	return tid != LAB_OS_TID_UNKNOWN &&
	       (lab_syscall(SYS_tkill, (long)tid, 0, 0, 0, 0) == -3 /* ESRCH */ || leader_has_ended(tid));
}

bool
lab_linux_has_thread(uint32_t tid)
{
	return tid != 0 && !lab_syscall_failed(lab_syscall(SYS_tgkill, lab_syscall(SYS_getpid, 0, 0, 0, 0, 0), (long)tid, 0, 0, 0));
}
