/* breakpoints.c - see breakpoints.h. */
#include "breakpoints.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#include "stepper.h"
#include "support.h"

enum { BREAKPOINT = 0xcc, TRAP_FLAG = 0x100, LIST_MAX = 1 << 16, PAGE = 4096 };

static struct step_library library;
static break_hook *hook_of_test;
static void (*diversion)(void);
static unsigned char *saved;         /* the bytes that belong where breakpoints are or were, by offset from `low` */
static unsigned char *is_ours;       /* whether a breakpoint was ever there */
static _Thread_local uintptr_t over; /* the breakpoint that is out for one instruction of this thread */

static unsigned char *
text_at(uint32_t offset)
{
	return (unsigned char *)library.base + offset;
}

static size_t
index_of(uint32_t offset)
{
	return library.base + offset - library.low;
}

/* A byte is written at once; other processors see the old instruction or the breakpoint. */
static void
write_byte(uint32_t offset, unsigned char byte)
{
	__atomic_store_n(text_at(offset), byte, __ATOMIC_SEQ_CST);
}

bool
break_is_armed(uint32_t offset)
{
	return is_ours[index_of(offset)] && *text_at(offset) == BREAKPOINT;
}

void
break_arm(uint32_t offset)
{
	REQUIRE(index_of(offset) < library.high - library.low);
	if (!is_ours[index_of(offset)]) {
		saved[index_of(offset)] = *text_at(offset);
		is_ours[index_of(offset)] = 1;
	}
	write_byte(offset, BREAKPOINT);
}

void
break_disarm(uint32_t offset)
{
	if (is_ours[index_of(offset)])
		write_byte(offset, saved[index_of(offset)]);
}

static bool
was_breakpoint(uintptr_t rip)
{
	return rip - 1 - library.low < library.high - library.low && is_ours[rip - 1 - library.low];
}

static void
on_breakpoint(int number, siginfo_t *info, void *context)
{
	greg_t *registers = ((ucontext_t *)context)->uc_mcontext.gregs;
	uintptr_t rip = (uintptr_t)registers[REG_RIP];
	int saved_errno = errno;

	if (info->si_code == TRAP_TRACE && over) {
		write_byte((uint32_t)(over - library.base), BREAKPOINT);
		over = 0;
		registers[REG_EFL] &= ~(greg_t)TRAP_FLAG;
	} else if (info->si_code != TRAP_TRACE && was_breakpoint(rip)) {
		uint32_t offset = (uint32_t)(rip - 1 - library.base);
		registers[REG_RIP]--;
		break_disarm(offset);
		current_offset = offset;
		if (hook_of_test(offset)) {
			over = rip - 1;
			registers[REG_EFL] |= TRAP_FLAG;
		}
		if (diversion)
			registers[REG_RIP] = (greg_t)diversion;
		diversion = NULL;
	} else {
		step_trap(number, info, context);
	}
	errno = saved_errno;
}

void
break_divert(void (*to)(void))
{
	diversion = to;
}

void
break_use_flags(int flags)
{
	struct sigaction action = {.sa_sigaction = on_breakpoint, .sa_flags = SA_SIGINFO | SA_NODEFER | flags};

	REQUIRE(sigaction(SIGTRAP, &action, NULL) == 0);
}

static void *
map_zeroed(size_t size)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	REQUIRE(p != MAP_FAILED);
	return p;
}

void
break_start(break_hook *hook, int flags)
{
	library = step_library();
	uintptr_t low = library.low & ~(uintptr_t)(PAGE - 1), size = library.high - low;

	hook_of_test = hook;
	saved = map_zeroed(size);
	is_ours = map_zeroed(size);
	REQUIRE(mprotect((void *)low, size, PROT_READ | PROT_WRITE | PROT_EXEC) == 0);
	break_use_flags(flags);
}

/* Without stdio, which allocates: the process's first malloc is to meet breakpoints. */
static size_t
read_all(const char *path, char *text, size_t size)
{
	int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
	size_t length = 0;
	ssize_t got;

	if (file < 0) {
		fprintf(stderr, "SIGNAL_INSTRUCTIONS names no list of instructions: run this by coverage.py --run\n");
		exit(2);
	}
	while (length < size - 1 && (got = read(file, text + length, size - 1 - length)) > 0)
		length += (size_t)got;
	close(file);
	return length;
}

struct break_list
break_list(void)
{
	static uint32_t offsets[LIST_MAX];
	static char text[LIST_MAX * 9];
	struct break_list list = {.offsets = offsets, .count = 0};
	size_t length = read_all(getenv("SIGNAL_INSTRUCTIONS"), text, sizeof text);

	for (char *at = text, *end; at < text + length && list.count < LIST_MAX; at = end + 1)
		offsets[list.count++] = (uint32_t)strtoul(at, &end, 16);
	REQUIRE(list.count > 0 && list.count < LIST_MAX);
	return list;
}
