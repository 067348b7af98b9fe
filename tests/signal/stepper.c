/* stepper.c - see stepper.h. */
#include "stepper.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#include "support.h"

enum { TRAP_FLAG = 0x100, TEXT_MAX = 4 << 20 };

/* First and last + 1 address of executable pages. */
struct range {
	uintptr_t low, high;
};

static struct range library, program;
static uintptr_t library_base;
/* Shared with children of fork. */
static struct {
	struct step_figures figures;
	unsigned char reached[TEXT_MAX / 8];
} * shared;
static step_hook *hook_of_test;
static bool was_in_library; /* at the trap before */
static bool is_enough;      /* step_no_more was called */
static void (*diversion)(void);
uintptr_t volatile step_address;

/*
 * step_on and step_off change the trap flag of their own flags: the first trap is in the instruction after popfq.
 *
 * step_resume is where a function outside the library returns to: it goes on to the true return address with the trap
 * flag set, all registers and flags as they were. Below the stack pointer there is nothing of value, as the caller is
 * no leaf.
 */
void step_resume(void);
uintptr_t step_return_address;

__asm__(".text\n"
        ".globl step_on\n"
        "step_on:\n"
        "	pushfq\n"
        "	orq $0x100, (%rsp)\n"
        "	popfq\n"
        "	ret\n"
        ".globl step_off\n"
        "step_off:\n"
        "	pushfq\n"
        "	andq $~0x100, (%rsp)\n"
        "	popfq\n"
        "	ret\n"
        ".globl step_resume\n"
        "step_resume:\n"
        "	pushq step_return_address(%rip)\n"
        "	pushfq\n"
        "	orq $0x100, (%rsp)\n"
        "	popfq\n"
        "	ret\n");

static bool
is_in(struct range range, uintptr_t address)
{
	return address - range.low < range.high - range.low;
}

void
step_count_distinct(uint32_t offset)
{
	unsigned char bit = (unsigned char)(1u << (offset % 8));

	if (offset / 8 < sizeof shared->reached &&
	    !(__atomic_fetch_or(&shared->reached[offset / 8], bit, __ATOMIC_RELAXED) & bit))
		__atomic_add_fetch(&shared->figures.distinct, 1, __ATOMIC_RELAXED);
}

bool
step_is_counted(uint32_t offset)
{
	return offset / 8 < sizeof shared->reached && shared->reached[offset / 8] >> (offset % 8) & 1;
}

void
step_trap(int number, siginfo_t *info, void *context)
{
	greg_t *registers = ((ucontext_t *)context)->uc_mcontext.gregs;
	uintptr_t rip = (uintptr_t)registers[REG_RIP];
	int saved = errno;

	(void)number, (void)info;
	step_address = rip;
	if (is_in(library, rip)) {
		current_offset = rip - library_base;
		shared->figures.traps++;
		if (hook_of_test())
			step_count_distinct((uint32_t)(rip - library_base));
		was_in_library = true;
	} else if (was_in_library && !is_in(program, rip)) {
		/* The library has called, or jumped to, a function: its return address is on top of the stack. */
		uintptr_t *top = (uintptr_t *)registers[REG_RSP];
		(void)hook_of_test(); /* first: it may step calls of its own */
		step_return_address = *top;
		if (!is_enough)
			*top = (uintptr_t)step_resume;
		registers[REG_EFL] &= ~(greg_t)TRAP_FLAG;
		was_in_library = false;
	} else {
		was_in_library = false;
	}
	if (is_enough)
		registers[REG_EFL] &= ~(greg_t)TRAP_FLAG;
	is_enough = false;
	if (diversion)
		registers[REG_RIP] = (greg_t)diversion;
	diversion = NULL;
	errno = saved;
}

/* The executable segment of the object at data->base. */
struct search {
	uintptr_t inside;
	struct range found;
	uintptr_t base;
};

static int
look_at_object(struct dl_phdr_info *info, size_t size, void *data)
{
	struct search *search = data;

	(void)size;
	for (int i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *header = &info->dlpi_phdr[i];
		uintptr_t start = info->dlpi_addr + header->p_vaddr;
		if (header->p_type != PT_LOAD || !(header->p_flags & PF_X) || search->inside - start >= header->p_memsz)
			continue;
		search->found = (struct range){start, start + header->p_memsz};
		search->base = info->dlpi_addr;
		return 1;
	}
	return 0;
}

static struct search
find_text(uintptr_t address)
{
	struct search search = {.inside = address};

	REQUIRE(dl_iterate_phdr(look_at_object, &search) == 1);
	return search;
}

void
step_start(step_hook *hook, int flags)
{
	step_start_in("malloc", hook, flags);
}

void
step_start_in(const char *function, step_hook *hook, int flags)
{
	struct sigaction action = {.sa_sigaction = step_trap, .sa_flags = SA_SIGINFO | flags};
	struct search found = find_text((uintptr_t)dlsym(RTLD_DEFAULT, function));

	library = found.found;
	library_base = found.base;
	program = find_text((uintptr_t)&step_start).found;
	hook_of_test = hook;
	if (!shared)
		shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	REQUIRE(shared != MAP_FAILED);
	REQUIRE(sigaction(SIGTRAP, &action, NULL) == 0);
}

struct step_library
step_library(void)
{
	return (struct step_library){library_base, library.low, library.high};
}

void
step_no_more(void)
{
	is_enough = true;
}

void
step_divert(void (*to)(void))
{
	is_enough = true;
	diversion = to;
}

struct step_figures
step_figures(void)
{
	return shared->figures;
}

void
step_write_coverage(void)
{
	const char *path = getenv("SIGNAL_COVERAGE");
	FILE *file = path ? fopen(path, "a") : NULL;

	if (!file)
		return;
	for (size_t offset = 0; offset < TEXT_MAX; offset++)
		if (shared->reached[offset / 8] >> (offset % 8) & 1)
			fprintf(file, "%zx\n", offset);
	fclose(file);
}
