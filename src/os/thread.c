/* thread.c - thread and process ids, whether a thread is alive, and what signals it holds. Any context. */
#include <errno.h>
#include <linux/membarrier.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
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

unsigned
lab_os_processor(void)
{
	int saved = errno, cpu = sched_getcpu(); /* of the vDSO or a word that the kernel keeps: no system call */

	errno = saved;
	return cpu < 0 ? 0 : (unsigned)cpu;
}

uint32_t
lab_os_pid(void)
{
	long pid = lab_syscall(SYS_getpid, 0, 0, 0, 0, 0);

	return lab_syscall_failed(pid) ? LAB_OS_PID_UNKNOWN : (uint32_t)pid;
}

/*
 * An entry is {thread pointer / 64: 41, thread id: 22}; 0: empty. Where there was no word, the thread pointer is
 * OF_THIS_PROCESS for a thread of this process, and 0 for one of another that shares its memory: that one is asked
 * for by its id alone.
 *
 * INV-END-1  A thread is entered before its id stands in any word that other threads judge, in the place of an older
 *            entry with the same id. So for an id that was read in such a word the entry of that thread is found, or of
 *            a later one; in the latter case the word has changed, or its thread is dead.
 * INV-END-2  The first entry with an id, in the order of the search, is the newest one: an older one is replaced, never
 *            passed.
 * INV-END-3  A thread of libc's is proved dead by one thing only: its word does not hold its id. A thread that lies
 *            where it lay has that word in its own control block, and reads it without asking. That it lies there
 *            proves nothing: a raw clone may have been given the thread pointer of a thread that lives, and a child
 *            of vfork has its parent's. The word then holds the id of the one that lives.
 */
enum {
	TID_BITS = 22,
	POINTER_SHIFT = 6,
	TABLE = 1 << 15,
	WINDOW = 32, /* places in which an id may stand */
	OF_THIS_PROCESS = 1 << POINTER_SHIFT,
};

/* Of the thread in which the library started: a program without threads touches no page of the table. */
static _Atomic uint64_t first;
static LAB_ALIGNED(4096) _Atomic uint64_t table[TABLE];
static _Atomic ptrdiff_t distance; /* of the word from the thread pointer; 0: not known */
static _Atomic uint32_t process;   /* the id of the one whose threads are entered; 0: not known yet */

static _Atomic uint64_t *
place(uint32_t tid, unsigned i)
{
	return i == 0 ? &first : &table[(tid + i - 1) % TABLE];
}

const void *
lab_os_thread_table(size_t *size)
{
	*size = sizeof table;
	return (const void *)table;
}

static uint32_t
tid_in(uint64_t entry)
{
	return (uint32_t)entry & ((1u << TID_BITS) - 1);
}

static uintptr_t
pointer_in(uint64_t entry)
{
	return (uintptr_t)(entry >> TID_BITS) << POINTER_SHIFT;
}

static const _Atomic uint32_t *
end_word(uintptr_t thread_pointer)
{
	return (const _Atomic uint32_t *)(thread_pointer + (uintptr_t)lab_load_rlx(&distance));
}

bool
lab_os_is_libc_thread(uint32_t tid)
{
	uintptr_t self = lab_thread_pointer();
	bool fits = self % (1u << POINTER_SHIFT) == 0 && self >> 47 == 0 && lab_load_rlx(&distance) != 0;

	return fits && lab_load_rlx(end_word(self)) == tid;
}

static uint64_t
make_entry(uint32_t tid)
{
	uintptr_t self = lab_thread_pointer();

	if (!lab_os_is_libc_thread(tid))
		self = lab_os_pid() == lab_load_rlx(&process) ? OF_THIS_PROCESS : 0;
	return (uint64_t)self << (TID_BITS - POINTER_SHIFT) | tid;
}

/* Elsewhere, in another process that shares the memory, an id may mean another thread, or none. Before the library has
 * started there is no such process. */
static bool
may_ask_by_id(void)
{
	uint32_t known = lab_load_rlx(&process), pid = lab_os_pid();

	return pid != LAB_OS_PID_UNKNOWN && (known == 0 || known == pid);
}

/* INV-END-3. */
static enum lab_compared
compare_end_word(uintptr_t thread_pointer, uint32_t tid)
{
	if (thread_pointer != lab_thread_pointer())
		return lab_linux_compare((const void *)end_word(thread_pointer), tid);
	return lab_load_rlx(end_word(thread_pointer)) == tid ? LAB_WORD_IS_EQUAL : LAB_WORD_DIFFERS;
}

static bool
has_ended(uint64_t entry)
{
	uintptr_t pointer = pointer_in(entry);

	if (pointer == 0)
		return false;
	if (pointer == OF_THIS_PROCESS)
		return may_ask_by_id() &&
		       lab_syscall(SYS_tgkill, (long)lab_load_rlx(&process), (long)tid_in(entry), 0, 0, 0) == -ESRCH;
	enum lab_compared answer = compare_end_word(pointer, tid_in(entry));
	if (answer != LAB_WORD_DIFFERS && answer != LAB_WORD_IS_NOT_THERE)
		return false;
	/* pairs with the kernel's store, which is its last: what the thread wrote is seen, as in pthread_join */
	atomic_thread_fence(memory_order_seq_cst);
	return true;
}

/* The first entry with the id; NULL: none. INV-END-2. */
static _Atomic uint64_t *
find(uint32_t tid)
{
	for (unsigned i = 0; i <= WINDOW; i++)
		if (tid_in(lab_load_acq(place(tid, i))) == tid) /* pairs with the CAS of note */
			return place(tid, i);
	return NULL;
}

/* Where no place is empty. The end of a thread whose entry is replaced is seen by its id alone, as that of a thread
 * that was never entered. So the first thread's entry is never replaced: its id answers until the process ends. */
static bool
take_place_of_ended(_Atomic uint64_t *at, uint64_t mine)
{
	uint64_t old = lab_load_acq(at); /* pairs with the CAS of note */

	return has_ended(old) && lab_cas64(at, old, mine); /* pairs with the acq of find */
}

static void
note(uint32_t tid)
{
	uint64_t mine = make_entry(tid);
	_Atomic uint64_t *at;

	if (tid == 0 || tid >> TID_BITS != 0)
		return;
	while ((at = find(tid)) != NULL) {
		uint64_t old = lab_load_rlx(at);
		/* pairs with the acq of find */
		if (old == mine || (tid_in(old) == tid && lab_cas64(at, old, mine)))
			return;
	}
	if (mine >> TID_BITS == 0)
		return; /* without an entry it is asked for by id alone as well */
	for (unsigned i = 0; i <= WINDOW; i++)
		if (lab_cas64(place(tid, i), 0, mine)) /* pairs with the acq of find */
			return;
	for (unsigned i = 1; i <= WINDOW; i++)
		if (take_place_of_ended(place(tid, i), mine))
			return;
}

uint32_t
lab_os_tid_to_write(void)
{
	uint32_t tid = lab_os_tid();

	note(tid);
	return tid;
}

void
lab_os_note_process(void)
{
	lab_store_rlx(&process, lab_os_pid());
}

void
lab_os_learn_threads(void)
{
	uintptr_t word = 0;

	lab_os_note_process();
	lab_linux_note_main_stack();
	if (lab_syscall_failed(lab_syscall(SYS_prctl, PR_GET_TID_ADDRESS, (long)&word, 0, 0, 0)) || word == 0)
		return;
	if (lab_load_rlx((const _Atomic uint32_t *)word) == lab_os_tid())
		lab_store_rlx(&distance, (ptrdiff_t)(word - lab_thread_pointer()));
}

/* 0: there is none, or it has no pointer. */
static uint64_t
entry_of(uint32_t tid)
{
	const _Atomic uint64_t *at = tid >> TID_BITS == 0 && tid != 0 ? find(tid) : NULL;
	uint64_t entry = at ? lab_load_acq(at) : 0; /* pairs with the CAS of note */

	return tid_in(entry) == tid && entry >> TID_BITS != 0 ? entry : 0;
}

bool
lab_os_is_dead_predecessor(uint32_t tid)
{
	uint64_t entry = entry_of(tid);

	return entry != 0 && pointer_in(entry) == lab_thread_pointer() && has_ended(entry);
}

bool
lab_linux_thread_is_dead(uint32_t tid)
{
	uint64_t entry = entry_of(tid);

	if (entry != 0)
		return has_ended(entry);
	return tid != LAB_OS_TID_UNKNOWN && may_ask_by_id() && lab_syscall(SYS_tkill, (long)tid, 0, 0, 0, 0) == -ESRCH;
}

bool
lab_linux_has_thread(uint32_t tid)
{
	return tid != 0 &&
	       !lab_syscall_failed(lab_syscall(SYS_tgkill, lab_syscall(SYS_getpid, 0, 0, 0, 0, 0), (long)tid, 0, 0, 0));
}

static bool
membarrier(int command)
{
	return !lab_syscall_failed(lab_syscall(SYS_membarrier, command, 0, 0, 0, 0));
}

/* A filter may kill at a call that it does not know, and glibc's malloc does not make this one. */
static bool
is_under_filter(void)
{
	static const char none[] = "\nSeccomp:\t0\n";
	char status[2048];

	return lab_os.read_file("/proc/thread-self/status", status, sizeof status) == 0 || !strstr(status, none);
}

/* A process has to register first, once; a child of fork perhaps again. */
bool
lab_linux_fence(void)
{
	if (is_under_filter())
		return false;
	return membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED) ||
	       (membarrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED) && membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED));
}

/* ---- signals of the calling thread ---- */

/* No thread's mask: SIGKILL cannot be blocked. */
#define SIGNALS_NOT_HELD (~UINT64_C(0))

uint64_t
lab_os_hold_signals(void)
{
	const int open[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP, SIGSYS};
	uint64_t held = ~UINT64_C(0), before = 0;

	for (unsigned i = 0; i < sizeof open / sizeof *open; i++)
		held &= ~(UINT64_C(1) << (open[i] - 1));
	if (lab_syscall_failed(lab_syscall(SYS_rt_sigprocmask, SIG_BLOCK, (long)&held, (long)&before, sizeof held, 0)))
		return SIGNALS_NOT_HELD;
	return before;
}

void
lab_os_release_signals(uint64_t before)
{
	if (before != SIGNALS_NOT_HELD)
		(void)lab_syscall(SYS_rt_sigprocmask, SIG_SETMASK, (long)&before, 0, sizeof before, 0);
}
