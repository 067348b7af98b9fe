/*
 * os.h - the only door to the kernel.
 *
 * Every call here leaves errno alone, takes no lock and is async-signal-safe: system calls are made directly, not
 * through libc's wrappers. The calls that tests replace (to fail them, or to move the clock) go through a table;
 * the others cannot fail in a way that matters.
 */
#ifndef LAB_OS_OS_H
#define LAB_OS_OS_H

#include "base/compiler.h"

enum lab_access {
	LAB_ACCESS_NONE,
	LAB_ACCESS_READ,
	LAB_ACCESS_WRITE,
	LAB_ACCESS_CHARGED, /* of `map`: LAB_ACCESS_WRITE, by the system's overcommit policy as any program's memory */
};

enum lab_mapped {
	LAB_MAPPED,
	LAB_OCCUPIED, /* something else is there, or may be */
	LAB_NOT_MAPPED,
};

/* The alternate signal stack that the calling thread has registered. size 0: none, or one that disarms itself and is
 * in use. */
struct lab_os_stack {
	uintptr_t low;
	size_t size;
	bool running; /* the caller is on it */
};

/* What the kernel can be told of pages. */
enum lab_mark {
	LAB_MARK_LOCKED = 1,  /* resident */
	LAB_MARK_NOFORK = 2,  /* reads as zero in a child of fork; mapped there, as a hole would be one in the heap */
	LAB_MARK_NOMERGE = 4, /* no huge pages, no KSM: trivially so on a kernel that has none */
};

enum lab_huge_pages {
	LAB_HUGE_BY_SYSTEM, /* as /sys/kernel/mm/transparent_hugepage/enabled says */
	LAB_HUGE_NEVER,
	LAB_HUGE_ALWAYS,
};

struct lab_os_table {
	/* `size` bytes of zeroed, private address space that is not charged against the commit limit where the
	 * kernel allows that; NULL on failure. */
	void *(*map)(size_t size, enum lab_access access);
	/* False: refused; all of it is mapped still. */
	bool (*unmap)(void *start, size_t size);
	/* The same as `map`, accessible, at that address and nowhere else; nothing that is there is replaced. */
	enum lab_mapped (*map_at)(void *start, size_t size);
	/* Whether the system would let a program have so much memory at once, by its overcommit policy. */
	bool (*may_commit)(size_t size);
	bool (*protect)(void *start, size_t size, enum lab_access access);
	/* Gives the pages back: they read as zero afterwards if true is returned, and are unchanged if false. */
	bool (*purge)(void *start, size_t size);
	/* Whether the range is to be made of huge pages, where the kernel has such. False: it has not, or does not
	 * know. */
	bool (*huge_pages)(void *start, size_t size, enum lab_huge_pages when);
	/* Makes the pages of an accessible range resident; `write`: as the process's own, so that a write to them
	 * does not fault either. They stay as they are. False: not all are. */
	bool (*populate)(void *start, size_t size, bool write);
	/* Keeps a range resident, however little memory is left; false: not allowed, or no memory. */
	bool (*lock)(void *start, size_t size);
	void (*unlock)(void *start, size_t size);
	/* Marks whole pages. False: refused; some of it may have been done. */
	bool (*mark)(void *start, size_t size, unsigned marks);
	/* Undoes all marks. The pages read as zero, or as before. False: what is there now is unknown. */
	bool (*renew)(void *start, size_t size);
	/* Makes a mapping longer, where it lies or elsewhere, with its contents; what is new reads as zero. Its
	 * address; NULL: all is as it was. */
	void *(*extend)(void *start, size_t old_size, size_t size);
	/* The start of a file, as text of less than `size` bytes; its length, 0 if it cannot be read. */
	size_t (*read_file)(const char *path, char *buffer, size_t size);
	/* Waits until *word is no longer `value`, a thread wakes it, a signal has been handled, or `ms` have passed. */
	void (*wait)(_Atomic uint32_t *word, uint32_t value, unsigned ms);
	/* Milliseconds of a monotonic clock; coarse (a few ms) and cheap. 0: it cannot be read. */
	uint64_t (*clock_ms)(void);
	/* Whether the thread with this id that was noted last (lab_os_tid_to_write) has ended; of others, whether no
	 * thread with this id exists in this PID namespace, which is not asked in another process that shares the
	 * memory. No system call, if it was libc's and lay where the calling thread lies. false means nothing. */
	bool (*thread_is_dead)(uint32_t tid);
	/* Whether this process has a thread with this id; false also if that cannot be told. */
	bool (*has_thread)(uint32_t tid);
	/* False: it cannot be told. */
	bool (*alternate_stack)(struct lab_os_stack *stack);
	/* Whether every page of [low, high) can be read; false also if that cannot be told. A system call a page. */
	bool (*is_readable)(uintptr_t low, uintptr_t high);
	/* Every other thread of the process that runs passes a memory barrier between the call and the return. False:
	 * the system cannot do that, or does not allow it, or the thread is under a seccomp filter. */
	bool (*fence)(void);
	/* Bytes of addresses that a process of this system can have: a power of two. */
	size_t (*address_space)(void);
};

extern struct lab_os_table lab_os;

/*
 * Whether memory is given back and moved by libc's munmap, madvise and mremap, not directly: for programs that
 * interpose those to hear what is no longer where it was, as caches of memory that is registered with a device do. The
 * interposer's code is then part of any call that gives memory back, in handlers too, and may allocate there.
 */
void lab_os_use_libc(bool use);

#define LAB_OS_PAGE_SHIFT 12
#define LAB_OS_PAGE_SIZE  ((size_t)1 << LAB_OS_PAGE_SHIFT)

/* What lab_os_tid and lab_os_pid return where a filter forbids to ask. A thread whose id is unknown is never proved
 * dead. The value fits wherever an id is kept. */
#define LAB_OS_TID_UNKNOWN 0x3fffffu
#define LAB_OS_PID_UNKNOWN UINT32_MAX

/* The number of the processor that the thread runs on, now; 0: it cannot be told. */
unsigned lab_os_processor(void);

uint32_t lab_os_tid(void);
uint32_t lab_os_pid(void);

/* The program's name without its path, as it was called. */
const char *lab_os_program(void);

/*
 * Between the two no asynchronous signal is delivered to the thread. So no handler jumps out between a system call that
 * changes what is mapped and the store that says so. (A pending signal is delivered as a system call returns: its
 * handler would run exactly there.) Signals that an instruction raises stay open. Returns the argument of
 * lab_os_release_signals. Where a filter refuses the call, nothing changes.
 */
uint64_t lab_os_hold_signals(void);
void lab_os_release_signals(uint64_t before);

/* Wakes all threads that wait (lab_os.wait). */
void lab_os_wake(_Atomic uint32_t *word);

/*
 * How the end of a thread is seen (lab_os.thread_is_dead). The kernel clears a word of each thread that libc has
 * made, after the thread's last instruction: pthread_join waits for it. Thread pointers, by which the word is found,
 * are kept in a table by thread id. Of threads without such a word (raw clones; all, where the system does not say
 * where it lies) this process's are asked for by the id, and a child of vfork, or another that shares the memory, by
 * its id alone, which any process may have later.
 */

/* Learns where the word lies, and which stack is the main thread's (lab_os_own_stack_top). Called when the library
 * starts, in a thread that libc has made. */
void lab_os_learn_threads(void);

/* In fork's child, before its threads are entered: whose they are. */
void lab_os_note_process(void);

/* The pages of that table: most are never touched. */
const void *lab_os_thread_table(size_t *size);

/* The pages in which reports are made: none is touched before the first. */
const void *lab_os_report_rooms(size_t *size);

/* The id of the calling thread, which is entered into the table: for those who write it to a word that others judge.
 * Any context. */
uint32_t lab_os_tid_to_write(void);

/* Whether libc has made the calling thread, whose id this is: the word of its end holds the id. It does not in a raw
 * clone, nor in a child of vfork, that has another's thread pointer. Any context. */
bool lab_os_is_libc_thread(uint32_t tid);

/* lab_os.thread_is_dead of a thread that lay where the calling one lies; false of all others, without a system call.
 * Any context. */
bool lab_os_is_dead_predecessor(uint32_t tid);

/* Whether there are eight bytes at p that can be read, and have this value. Any address: it does not fault. */
bool lab_os_reads_as(const uint64_t *p, uint64_t value);

/* One page that reads as zero in a child of fork, where the kernel can do that; NULL if there is no memory. */
void *lab_os_map_wiped_on_fork(void);

/* ---- the calling thread's stacks: for the proof that a frame is gone (page/frame.h) ---- */

/* lab_os.alternate_stack; false also if any thread ever had an alternate stack with SS_AUTODISARM on its own stack:
 * in handlers on such a stack the kernel says that there is none. */
bool lab_os_alternate_stack(struct lab_os_stack *stack);

/* Notes that an alternate stack with SS_AUTODISARM, which begins at `low`, is about to be registered. One that is
 * registered by a raw system call, or by libc's function where ours does not stand before it, is noted when the
 * kernel is asked while that stack is registered and not in use. */
void lab_os_note_disarming(const void *low);

/* Notes that all calls of sigaltstack come through preload/sigaltstack.c, which calls this once. */
void lab_os_note_sigaltstack(void);

/* Whether each thread that runs on an alternate stack is known to: all calls of sigaltstack are seen, and none had
 * SS_AUTODISARM. */
bool lab_os_sees_alternate_stacks(void);

/* An address above every frame of the main thread's stack. */
uintptr_t lab_os_main_stack_top(void);

/* An address above every frame of the stack that the system or libc gave to the calling thread, whose stack pointer
 * is sp. It does not go by thread ids: in fork's child the forking thread has the process's id. */
uintptr_t lab_os_own_stack_top(uintptr_t sp);

/* Whether `low` is on the stack that ends at `top`: every page up to `top` can be read (no guard page, no hole).
 * False also if `top` is further away than LAB_OS_STACK_MAX, which a main thread has by default. */
bool lab_os_stack_reaches(uintptr_t low, uintptr_t top);
#define LAB_OS_STACK_MAX ((size_t)8 << 20)

/* Bytes of memory that the machine has; 0 if that cannot be told. */
size_t lab_os_memory_size(void);

/* The soft RLIMIT_AS in bytes; SIZE_MAX if there is none. */
size_t lab_os_address_space_limit(void);

/* The soft RLIMIT_MEMLOCK in bytes; SIZE_MAX if there is none. */
size_t lab_os_lock_limit(void);

/* Whether an ELF header in memory is the program's own, not a shared library's. */
bool lab_os_is_program(const void *elf_header);

void lab_os_sleep_ms(unsigned milliseconds);

/* The next entry of the environment, NAME=VALUE, that begins with `prefix`, from the one numbered *at on; *at is then
 * behind it. NULL: there is none, the program runs set-user-ID, or it is too early. */
const char *lab_os_environment_next(const char *prefix, size_t *at);

/* Whether there is an environment: it can be too early. */
bool lab_os_has_environment(void);

/* Whether the program has more rights than who started it: it runs set-user-ID or the like. */
bool lab_os_is_privileged(void);

/* Writes to stderr. */
void lab_os_write(const char *text, size_t length);

/* The same behind what is in the file, which is created; NULL: to stderr, or if the program has closed that, to what
 * lab_os_keep_stderr keeps. */
void lab_os_append(const char *path, const char *text, size_t length);

/* A file that is kept open, out of the way of the program's descriptors, and closed on exec. All zero: none. */
struct lab_os_file {
	int fd;
	uint32_t device[2];
	uint64_t inode;
};

/* Opens a file for appending; created, and empty if `truncate`. 0; an error's number: *file is none. */
int lab_os_open(struct lab_os_file *file, const char *path, bool truncate);

/* Whether the descriptor is still that file's: the program may have closed it, and have its own there. */
bool lab_os_has(const struct lab_os_file *file);

void lab_os_append_to(const struct lab_os_file *file, const char *text, size_t length);

/* Drops what is in it; of a terminal or a pipe, nothing. */
void lab_os_empty(const struct lab_os_file *file);

/* If it is still that file's. */
void lab_os_close(struct lab_os_file *file);

/* Keeps another descriptor for stderr, closed on exec: for what is to be written when the program, as coreutils do, has
 * closed its own. */
void lab_os_keep_stderr(void);

/* A file for one use: its descriptor, or the system's error, negative. `create`: for writing, emptied if it is
 * there. */
int lab_os_open_file(const char *path, bool create);

/* Bytes that were read, 0 at the end; or the system's error, negative. */
long lab_os_read(int file, void *buffer, size_t size);

/* Writes all of it. 0, or the system's error. */
int lab_os_write_file(int file, const void *bytes, size_t length);

void lab_os_close_file(int file);

/* A number that differs from process to process. */
uint64_t lab_os_seed(void);

/* Gives a private mapping a name, which /proc/PID/maps shows, if that was asked for, and the kernel can (5.17, built
 * with CONFIG_ANON_VMA_NAME); else nothing. */
void lab_os_name_mappings(bool on);
void lab_os_name(const void *start, size_t size, const char *name);

/* Nanoseconds since 1970; 0: it cannot be told. */
uint64_t lab_os_real_time_ns(void);

/* Makes `handler` that of a signal which nobody handles. False: somebody does, or there is no such signal. */
bool lab_os_handle_signal(int signal, void (*handler)(int));

/* Whether the caller may be in a handler of SIGABRT: the signal is blocked, or its handler does not block it. True also
 * if that cannot be told. */
bool lab_os_may_handle_abort(void);

/* Ends the process by SIGABRT, whatever handler it has. */
LAB_NORETURN void lab_os_die(void);

#endif
