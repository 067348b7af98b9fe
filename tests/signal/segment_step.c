/*
 * segment_step.c - segments are mapped for blocks, and go back to the system, and the thread is interrupted at each of
 * the instructions that this takes: by a handler that is left by siglongjmp, by one that allocates what needs segments
 * itself, and by one that forks. A jump loses one segment's addresses at most, the others nothing; what was mapped
 * meanwhile at addresses that became free is let alone, and in the child it is all the same.
 *
 * The breakpoints' signal is one that the library leaves open where it holds others back.
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
#include <sys/wait.h>
#include <unistd.h>

#include "breakpoints.h"
#include "stepper.h"
#include "support.h"

#define MIB     ((size_t)1 << 20)
#define SEGMENT (4 * MIB) /* the largest */

/* At scale 1 one in PART instructions is interrupted; a child is made at one in FORK_EACH of these. */
enum { OFFSETS = 16384, PART = 4, FORK_EACH = 6 };

static uint32_t random_state = 1;
static size_t usual; /* address space that is used when all is given back */
static sigjmp_buf target;
static size_t interrupted[3];

/* Blocks that need segments of every length. */
enum { BLOCKS = 12 };

static const size_t sizes[BLOCKS] = {90 << 10,   120 << 10, 60 << 10, 230 << 10, 500 << 10, 40 << 10,
                                     1000 << 10, 2 << 20,   3 << 20,  100 << 10, 3 << 20,   1 << 20};

struct pile {
	unsigned char *blocks[BLOCKS];
};

static void
take(struct pile *pile)
{
	for (int i = 0; i < BLOCKS; i++) {
		unsigned char *p = malloc(sizes[i]);
		if (!p)
			fail("NULL while there is memory: size", sizes[i], 0);
		p[0] = p[sizes[i] - 1] = (unsigned char)i;
		pile->blocks[i] = p;
	}
}

static void
give(struct pile *pile)
{
	for (int i = 0; i < BLOCKS; i++) {
		REQUIRE(pile->blocks[i][0] == i && pile->blocks[i][sizes[i] - 1] == i);
		free(pile->blocks[i]);
	}
}

static void
take_and_give(void)
{
	struct pile pile;

	take(&pile);
	give(&pile);
}

/* A jump may have lost one segment's addresses, and no more. */
static void
check_what_is_lost(bool was_left)
{
	size_t now;

	/* a heap that was left in the middle of a purge is put in order by the thread's next slow call */
	free(malloc(100 * 1024));
	(void)malloc_trim(0);
	(void)malloc_trim(0);
	now = address_space();
	if (now > usual + MIB + (was_left ? SEGMENT : 0))
		fail("address space was lost: bytes, usual", now, usual);
	if (was_left && now > usual)
		usual = now;
}

/* ---- the calls that are interrupted ---------------------------------------------------------------------------- */

static void
trim(void)
{
	(void)malloc_trim(0);
}

static void
make_room(void)
{
	take_and_give();
}

static const struct call {
	const char *name;
	void (*run)(void);
	bool may_be_left; /* the blocks in hand would be lost otherwise, with their segments */
} calls[] = {{"trim", trim, true}, {"room for blocks", make_room, false}};

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

/* ---- what happens in the handler ------------------------------------------------------------------------------- */

static enum action { LEAVE, ALLOCATE, FORK } action;
static bool is_child;

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
	take_and_give();
	return false;
}

/* ---- */

/* Something of the program's own. */
static void
use_addresses(size_t size)
{
	unsigned char *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	REQUIRE(p != MAP_FAILED);
	for (size_t i = 0; i < size; i += MIB)
		p[i] = 0x5a;
	(void)malloc_trim(0);
	(void)malloc_trim(0);
	for (size_t i = 0; i < size; i += MIB)
		if (p[i] != 0x5a)
			fail("somebody else's memory was changed", (uintptr_t)p, i);
	REQUIRE(munmap(p, size) == 0);
}

static void
interrupt(const struct call *call, uint32_t offset)
{
	take_and_give();
	if (sigsetjmp(target, 1) == 0) {
		break_arm(offset);
		call->run();
	}
	break_disarm(offset);
	if (action == LEAVE)
		use_addresses(20 * MIB);
	check_what_is_lost(action == LEAVE);
	if (is_child)
		_exit(0);
}

static void
interrupt_everywhere(const struct call *call)
{
	current_scenario = call->name;
	memset(&learned, 0, sizeof learned);
	for (int round = 0; round < 2; round++) {
		take_and_give();
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
	start_test(argc, argv, 1000);
	random_state = (uint32_t)now_ms();
	step_start(learn, 0);
	break_start(hook, 0);
	take_and_give();
	make_room();
	(void)malloc_trim(0);
	usual = address_space();
	for (size_t i = 0; i < sizeof calls / sizeof *calls; i++)
		if (strstr(calls[i].name, only))
			interrupt_everywhere(&calls[i]);
	printf("%zu times left, %zu times with segments of the handler's, %zu forks, at %zu distinct instructions\n",
	       interrupted[LEAVE], interrupted[ALLOCATE], interrupted[FORK], step_figures().distinct);
	return end_test();
}
