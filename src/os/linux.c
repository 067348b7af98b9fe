/* linux.c - the os layer on Linux: see os.h. */
#include <errno.h>
#include <linux/mman.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/atomic.h"
#include "base/bits.h"
#include "os/linux.h"
#include "os/os.h"
#include "os/syscall.h"

static int
protection(enum lab_access access)
{
	switch (access) {
	case LAB_ACCESS_READ:
		return PROT_READ;
	case LAB_ACCESS_WRITE:
	case LAB_ACCESS_CHARGED:
		return PROT_READ | PROT_WRITE;
	default:
		return PROT_NONE;
	}
}

/* The kernel orders an unmapping before the mapping that gets its addresses: ThreadSanitizer is told so. */
static void
order_mappings(void)
{
#ifdef LAB_THREAD_SANITIZER
	static _Atomic uint32_t order;
	atomic_fetch_add_explicit(&order, 1, memory_order_acq_rel); /* pairs with itself */
#endif
}

static void *
linux_map(size_t size, enum lab_access access)
{
	const int flags = MAP_PRIVATE | MAP_ANONYMOUS | (access == LAB_ACCESS_CHARGED ? 0 : MAP_NORESERVE);
	long result = lab_syscall(SYS_mmap, 0, (long)size, protection(access), flags, -1);

	order_mappings();
	return lab_syscall_failed(result) ? NULL : (void *)result;
}

static bool
linux_unmap(void *start, size_t size)
{
	order_mappings();
	return lab_linux_munmap(start, size);
}

/* Kernels before 4.17, and some that imitate one, do not know the flag, and map elsewhere if something is there. */
static enum lab_mapped
linux_map_at(void *start, size_t size)
{
	const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE;
	long result = lab_syscall(SYS_mmap, (long)start, (long)size, PROT_READ | PROT_WRITE, flags, -1);

	order_mappings();
	if (result == (long)start)
		return LAB_MAPPED;
	if (!lab_syscall_failed(result))
		(void)linux_unmap((void *)result, size);
	return !lab_syscall_failed(result) || result == -EEXIST ? LAB_OCCUPIED : LAB_NOT_MAPPED;
}

/* Maps and unmaps the memory, and touches no page. Where munmap is refused the answer is always true from then on,
 * as each question would cost so much address space. */
static bool
linux_may_commit(size_t size)
{
	static _Atomic bool cannot_ask;
	void *pages;

	if (lab_load_rlx(&cannot_ask))
		return true;
	pages = linux_map(size, LAB_ACCESS_CHARGED);
	if (!pages)
		return false;
	if (!linux_unmap(pages, size))
		lab_store_rlx(&cannot_ask, true);
	return true;
}

static bool
linux_protect(void *start, size_t size, enum lab_access access)
{
	return !lab_syscall_failed(lab_syscall(SYS_mprotect, (long)start, (long)size, protection(access), 0, 0));
}

/*
 * Whether the system does what it says it has done. User-mode emulators answer MADV_DONTNEED with success and do
 * nothing: qemu before 7.1 for all pages, later ones for pages that mremap has moved and for those in the place that
 * was left. Tried once in a process.
 */
enum trust {
	UNTRIED,
	KEPT,
	BROKEN,
};

/* Gives pages back, and looks whether they read as zero. UNTRIED: the system does not take them. BROKEN: it says
 * that it did, and they are as before. */
static enum trust
try_purge(volatile char *start, size_t size)
{
	char before = *start;

	*start = 1;
	bool taken = lab_linux_advise_away((void *)(uintptr_t)start, size);
	if (taken && *start == 0)
		return KEPT;
	*start = before;
	return taken ? BROKEN : UNTRIED;
}

static bool
linux_purge(void *start, size_t size)
{
	static _Atomic uint32_t purges; /* enum trust */
	uint32_t trust = lab_load_rlx(&purges);

	if (lab_likely(trust == KEPT))
		return lab_linux_advise_away(start, size);
	if (trust == UNTRIED && size > 0 && (uintptr_t)start % LAB_OS_PAGE_SIZE == 0) {
		trust = try_purge(start, size);
		lab_store_rlx(&purges, trust);
	}
	return trust == KEPT;
}

static bool
linux_huge_pages(void *start, size_t size, enum lab_huge_pages when)
{
	const int advice = when == LAB_HUGE_ALWAYS ? MADV_HUGEPAGE : MADV_NOHUGEPAGE;

	return when == LAB_HUGE_BY_SYSTEM ||
	       !lab_syscall_failed(lab_syscall(SYS_madvise, (long)start, (long)size, advice, 0, 0));
}

/* Kernels before 5.14 do not know MADV_POPULATE_*: then each page is touched. */
static bool
touch(char *start, size_t size, bool write)
{
	for (size_t at = 0; at < size; at += LAB_OS_PAGE_SIZE) {
		char byte = __atomic_load_n(start + at, __ATOMIC_RELAXED);
		if (write) /* a compare-and-swap that changes nothing: compilers make a load of other such operations */
			(void)__atomic_compare_exchange_n(start + at, &byte, byte, false, __ATOMIC_RELAXED,
			                                  __ATOMIC_RELAXED);
	}
	return true;
}

static bool
linux_populate(void *start, size_t size, bool write)
{
	const int advice = write ? MADV_POPULATE_WRITE : MADV_POPULATE_READ;
	long result = lab_syscall(SYS_madvise, (long)start, (long)size, advice, 0, 0);

	if (result == -22 /* EINVAL */)
		return touch(start, size, write);
	return !lab_syscall_failed(result);
}

static bool
linux_lock(void *start, size_t size)
{
	return !lab_syscall_failed(lab_syscall(SYS_mlock, (long)start, (long)size, 0, 0, 0));
}

static void
linux_unlock(void *start, size_t size)
{
	(void)lab_syscall(SYS_munlock, (long)start, (long)size, 0, 0, 0);
}

static bool
advise(void *start, size_t size, int advice, bool may_be_unknown)
{
	long result = lab_syscall(SYS_madvise, (long)start, (long)size, advice, 0, 0);

	return !lab_syscall_failed(result) || (may_be_unknown && result == -22 /* EINVAL */);
}

static bool
linux_mark(void *start, size_t size, unsigned marks)
{
	if (marks & LAB_MARK_NOMERGE &&
	    !(advise(start, size, MADV_NOHUGEPAGE, true) && advise(start, size, MADV_UNMERGEABLE, true)))
		return false;
	if (marks & LAB_MARK_NOFORK && !advise(start, size, MADV_WIPEONFORK, false))
		return false;
	/* last: it populates */
	return !(marks & LAB_MARK_LOCKED) ||
	       !lab_syscall_failed(lab_syscall(SYS_mlock, (long)start, (long)size, 0, 0, 0));
}

static const int move_over = MREMAP_MAYMOVE | MREMAP_FIXED;

/* Tries with two pages whether moved pages can be given back, and new ones in the place that they left. */
static enum trust
try_moving(char *from, char *to)
{
	enum trust left = UNTRIED, moved = UNTRIED;

	if (!lab_syscall_failed(lab_syscall(SYS_mremap, (long)from, (long)LAB_OS_PAGE_SIZE, (long)LAB_OS_PAGE_SIZE,
	                                    move_over | MREMAP_DONTUNMAP, (long)to))) {
		left = try_purge(from, LAB_OS_PAGE_SIZE);
		moved = try_purge(to, LAB_OS_PAGE_SIZE);
	}
	return left == BROKEN || moved == BROKEN ? BROKEN : left == KEPT ? moved : UNTRIED;
}

static enum trust
moves(void)
{
	static _Atomic uint32_t known; /* enum trust */
	enum trust trust = (enum trust)lab_load_rlx(&known);

	if (lab_likely(trust != UNTRIED))
		return trust;
	char *from = linux_map(LAB_OS_PAGE_SIZE, LAB_ACCESS_WRITE), *to = linux_map(LAB_OS_PAGE_SIZE, LAB_ACCESS_WRITE);
	if (from && to) {
		trust = try_moving(from, to);
		lab_store_rlx(&known, trust);
	}
	if (from)
		linux_unmap(from, LAB_OS_PAGE_SIZE);
	if (to)
		linux_unmap(to, LAB_OS_PAGE_SIZE);
	return trust;
}

/* Puts new pages in the place of those that are there. */
static bool
replace(void *start, size_t size)
{
	const int map = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED;

	/* mmap with MAP_FIXED may leave a hole when it fails: mapped elsewhere first, and moved, where pages can be. */
	void *pages = linux_map(size, LAB_ACCESS_WRITE);
	bool can_move = moves() != BROKEN;
	if (!pages)
		return false;
	if (can_move && lab_linux_mremap(pages, size, size, move_over, start))
		return true;
	(void)linux_unmap(pages, size);
	return !can_move &&
	       lab_syscall(SYS_mmap, (long)start, (long)size, PROT_READ | PROT_WRITE, map, -1) == (long)start;
}

static bool
linux_renew(void *start, size_t size)
{
	if (replace(start, size))
		return true;
	/* Not allowed, or no room for another mapping: the marks are undone one by one. NOMERGE's ban on
	 * huge pages stays. */
	return advise(start, size, MADV_KEEPONFORK, false) &&
	       !lab_syscall_failed(lab_syscall(SYS_munlock, (long)start, (long)size, 0, 0, 0));
}

static void *
linux_extend(void *start, size_t old_size, size_t size)
{
	const int flags = moves() == BROKEN ? 0 : MREMAP_MAYMOVE;
	order_mappings();
	void *result = lab_linux_mremap(start, old_size, size, flags, NULL);

	order_mappings();
	return result;
}

static size_t
linux_read_file(const char *path, char *buffer, size_t size)
{
	int file = lab_os_open_file(path, false);
	size_t length = 0;

	for (long part = 1; file >= 0 && length + 1 < size && part > 0; length += part > 0 ? (size_t)part : 0)
		part = lab_os_read(file, buffer + length, size - 1 - length);
	if (file >= 0)
		lab_os_close_file(file);
	buffer[length] = 0;
	return length;
}

/* SS_AUTODISARM, which libc's headers do not have beside their own of this kind. */
#define DISARMS ((int)(1u << 31))

static bool
linux_alternate_stack(struct lab_os_stack *stack)
{
	stack_t kernel = {0};

	if (lab_syscall_failed(lab_syscall(SYS_sigaltstack, 0, (long)&kernel, 0, 0, 0)))
		return false;
	bool none = kernel.ss_flags & SS_DISABLE;
	if (kernel.ss_flags & DISARMS)
		lab_os_note_disarming(kernel.ss_sp);
	*stack = (struct lab_os_stack){
	        .low = (uintptr_t)kernel.ss_sp,
	        .size = none ? 0 : kernel.ss_size,
	        .running = kernel.ss_flags & SS_ONSTACK,
	};
	return true;
}

/* Stacks lie at the top of the address space, whatever its size. */
static size_t
linux_address_space(void)
{
	return (size_t)1 << (lab_log2(lab_os_main_stack_top()) + 1);
}

struct lab_os_table lab_os = {
        .map = linux_map,
        .unmap = linux_unmap,
        .map_at = linux_map_at,
        .may_commit = linux_may_commit,
        .protect = linux_protect,
        .purge = linux_purge,
        .huge_pages = linux_huge_pages,
        .populate = linux_populate,
        .lock = linux_lock,
        .unlock = linux_unlock,
        .mark = linux_mark,
        .renew = linux_renew,
        .extend = linux_extend,
        .read_file = linux_read_file,
        .wait = lab_linux_wait,
        .clock_ms = lab_linux_clock_ms,
        .thread_is_dead = lab_linux_thread_is_dead,
        .has_thread = lab_linux_has_thread,
        .alternate_stack = linux_alternate_stack,
        .is_readable = lab_linux_is_readable,
        .fence = lab_linux_fence,
        .address_space = linux_address_space,
};

void *
lab_os_map_wiped_on_fork(void)
{
	void *page = lab_os.map(LAB_OS_PAGE_SIZE, LAB_ACCESS_WRITE);

	/* If this is denied the page is an ordinary one: the caller hears of forks from libc's hook alone then. */
	if (page)
		(void)lab_os.mark(page, LAB_OS_PAGE_SIZE, LAB_MARK_NOFORK);
	return page;
}
