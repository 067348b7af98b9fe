/*
 * arena_step.c - an arena goes back to the system, and is interrupted at each of the instructions that this takes: by a handler that is left by
 * siglongjmp, by one that allocates what needs an arena itself, and by one that forks. No address space is lost, what was mapped meanwhile
 * at the addresses that became free is let alone, and in the child it is all the same.
 *
 * It runs itself again under RLIMIT_AS, so that arenas are small, and one has to go for another to come.
 *
 * Clauses: G10.5, G2.1, G3.1.
 */
#include <errno.h>
#include <malloc.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "breakpoints.h"
#include "stepper.h"
#include "support.h"

#define MIB   ((size_t)1 << 20)
#define LIMIT (700 * MIB) /* the first arena has 64 MiB; 128 and 512 MiB do not fit besides */

/* At scale 1 one in PART instructions is interrupted; a child is made at one in FORK_EACH of these. */
enum { OFFSETS = 16384, PART = 4, FORK_EACH = 6 };

static uint32_t random_state = 1;
static size_t usual; /* address space that is used when no other arena is there */
static sigjmp_buf target;
static size_t interrupted[3];

static unsigned char *
take(size_t size)
{
	unsigned char *p = malloc(size);

	if (!p)
		fail("NULL while there is memory: size", size, 0);
	p[0] = p[size - 1] = 0x77;
	return p;
}

static void
give(unsigned char *p, size_t size)
{
	REQUIRE(p[0] == 0x77 && p[size - 1] == 0x77);
	free(p);
}

static void
check_nothing_is_lost(void)
{
	size_t now;

	free(malloc(100 * 1024)); /* a heap that was left in the middle of a purge is put in order by the thread's next slow call */
	(void)malloc_trim(0);
	(void)malloc_trim(0); /* the first has let go what was left of a walk */
	if ((now = address_space()) > usual + MIB)
		fail("address space was lost: bytes, usual", now, usual);
}

/* ---- the calls that are interrupted ------------------------------------------------------------------------------------------ */

static void
trim(void)
{
	(void)malloc_trim(0);
}

static void
make_room(void)
{
	unsigned char *p = take(300 * MIB);

	give(p, 300 * MIB);
}

static const struct call {
	const char *name;
	void (*run)(void);
	bool may_be_left; /* the block in hand would be lost otherwise, with its arena */
} calls[] = {{"trim", trim, true}, {"room for a block", make_room, false}};

static struct {
	uint32_t offsets[OFFSETS];
	size_t count;
	unsigned char seen[4 << 20];
} learned;

static bool
learn(void)
{
	uint32_t offset = (uint32_t)current_offset;

	if (offset < sizeof learned.seen && !learned.seen[offset] && learned.count < OFFSETS) {
		learned.seen[offset] = 1;
		learned.offsets[learned.count++] = offset;
	}
	return false;
}

/* ---- what happens in the handler ---------------------------------------------------------------------------------------------- */

static enum action { LEAVE, ALLOCATE, FORK } action;
static bool is_child, is_trimming;

static void
fork_and_wait(void)
{
	int status;
	pid_t child = fork();

	REQUIRE(child >= 0);
	if (child == 0) {
		is_child = true;
		alarm(200);
		return; /* into the call */
	}
	while (waitpid(child, &status, 0) < 0)
		REQUIRE(errno == EINTR);
	if (status != 0)
		fail("a child failed: status", (uintptr_t)status, 0);
}

static bool
hook(uint32_t offset)
{
	step_count_distinct(offset);
	interrupted[action]++;
	if (action == LEAVE)
		siglongjmp(target, 1);
	if (action == FORK)
		fork_and_wait();
	unsigned char *p = malloc(70 * MIB); /* where room is made, the interrupted frame may have all there is in hand */
	if (!p && is_trimming)
		fail("NULL while there is memory", offset, 0);
	if (p) {
		p[0] = p[70 * MIB - 1] = 0x77;
		give(p, 70 * MIB);
	}
	return false;
}

/* ---- */

/* Something of the program's own, where the payload may have been. */
static void
use_addresses(size_t size)
{
	unsigned char *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	REQUIRE(p != MAP_FAILED);
	for (size_t i = 0; i < size; i += 16 * MIB)
		p[i] = 0x5a;
	(void)malloc_trim(0);
	(void)malloc_trim(0);
	for (size_t i = 0; i < size; i += 16 * MIB)
		if (p[i] != 0x5a)
			fail("somebody else's memory was changed", (uintptr_t)p, i);
	REQUIRE(munmap(p, size) == 0);
}

static void
interrupt(const struct call *call, uint32_t offset)
{
	give(take(90 * MIB), 90 * MIB);
	if (sigsetjmp(target, 1) == 0) {
		break_arm(offset);
		call->run();
	}
	break_disarm(offset);
	if (action == LEAVE)
		use_addresses(129 * MIB);
	check_nothing_is_lost();
	if (is_child)
		_exit(0);
}

static void
interrupt_everywhere(const struct call *call)
{
	current_scenario = call->name;
	is_trimming = call->may_be_left;
	memset(&learned, 0, sizeof learned);
	for (int round = 0; round < 2; round++) {
		give(take(90 * MIB), 90 * MIB);
		step_on();
		call->run();
		step_off();
	}
	REQUIRE(learned.count > 500);
	size_t step = scale < PART ? PART - scale + 1 : 1;
	for (size_t i = next_random(&random_state) % step, n = 0; i < learned.count; i += step, n++)
		for (action = call->may_be_left ? LEAVE : ALLOCATE; action <= FORK; action++)
			if (action != FORK || n % FORK_EACH == 0)
				interrupt(call, learned.offsets[i]);
}

int
main(int argc, char **argv)
{
	run_again_limited(LIMIT, argv);
	start_test(argc, argv, 1000);
	random_state = (uint32_t)now_ms();
	step_start(learn, 0);
	break_start(hook, 0);
	give(take(90 * MIB), 90 * MIB);
	make_room();
	(void)malloc_trim(0);
	usual = address_space();
	for (size_t i = 0; i < sizeof calls / sizeof *calls; i++)
		if (strstr(calls[i].name, only))
			interrupt_everywhere(&calls[i]);
	printf("%zu times left, %zu times with an arena of the handler's, %zu forks, at %zu distinct instructions\n",
	       interrupted[LEAVE], interrupted[ALLOCATE], interrupted[FORK], step_figures().distinct);
	return end_test();
}
