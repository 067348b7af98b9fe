/*
 * storm.c - a thread that replaces small blocks while a signal handler of its own, ten thousand times a second, does
 * the same.
 *
 * POSIX does not allow malloc in a handler, and most allocators deadlock, crash or hand blocks out twice: the runner
 * then reports how. For those that live it is the price of being interrupted. The handler's blocks are a table of
 * its own, so that the program itself shares nothing between the two.
 */
#include "bench.h"

#include <signal.h>

#define HANDLERS_BLOCKS 64

static uint64_t ops = 20000000;
static uint64_t live = 2000;
static uint64_t hertz = 10000;
static uint64_t seed = 1;

static const struct bench_option options[] = {
        {"ops", &ops, 2000000, 1, BENCH_MAX_OPS, "blocks that the thread replaces"},
        {"live", &live, 2000, 1, BENCH_MAX_BLOCK, "blocks in its window"},
        {"hertz", &hertz, 10000, 2, 100000, "signals a second"},
        {"seed", &seed, 1, 0, UINT64_MAX, "seed of the random numbers"},
};

static struct bench_slot mine[HANDLERS_BLOCKS];
static volatile uint64_t signals;

static void
handle(int signal)
{
	static uint64_t state = 7;
	(void)signal;
	for (int i = 0; i < 4; i++) {
		uint64_t random = bench_random(&state);
		struct bench_slot *slot = &mine[bench_scale_high(random, HANDLERS_BLOCKS)];
		(void)bench_slot_empty(slot);
		bench_slot_fill(slot, bench_scale_low(random, 16, 512), random);
	}
	signals = signals + 1;
}

static void
tick(uint64_t nanoseconds)
{
	static timer_t timer;
	static bool made;
	struct itimerspec when = {.it_interval.tv_nsec = (long)nanoseconds, .it_value.tv_nsec = (long)nanoseconds};
	/* not setitimer and SIGALRM, which is how `measure` ends a run that hangs */
	struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1};
	if (!made && timer_create(CLOCK_MONOTONIC, &event, &timer) != 0)
		bench_fail("no timer");
	made = true;
	if (timer_settime(timer, 0, &when, NULL) != 0)
		bench_fail("the timer cannot be set");
}

int
main(int argc, char **argv)
{
	bench_options(argc, argv, "a handler allocates while the thread does", options, BENCH_COUNT(options));
	double start = bench_seconds();
	struct sigaction action = {.sa_handler = handle, .sa_flags = SA_RESTART};
	struct bench_slot *slots = bench_slots_new(live);
	uint64_t state = seed, sum = 0;
	if (sigaction(SIGUSR1, &action, NULL) != 0)
		bench_fail("no handler");
	tick(1000000000 / hertz);
	for (uint64_t op = 0; op < ops; op++) {
		uint64_t random = bench_random(&state);
		struct bench_slot *slot = &slots[bench_scale_high(random, live)];
		sum += bench_slot_empty(slot);
		bench_slot_fill(slot, bench_scale_low(random, 16, 512), random);
	}
	tick(0);
	for (size_t i = 0; i < HANDLERS_BLOCKS; i++)
		(void)bench_slot_empty(&mine[i]);
	sum += bench_slots_free(slots, live);
	printf("signals %" PRIu64 "\n", signals);
	bench_report(ops, start, sum);
	return 0;
}
