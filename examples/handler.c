/*
 * handler.c - malloc and free in a signal handler that interrupts malloc and free, 20,000 times a second.
 *
 * The main loop and the handler each keep a window of blocks, filled with a byte that is checked before they are freed.
 * POSIX does not allow this with any malloc; with Labyrinth it is allowed. examples/run.sh runs it under several.
 * usage: handler [SECONDS]
 *
 * Status: 0, and a line with the figures; 1, contents changed or malloc gave NULL; 124, the main loop has stood still
 * for a second.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

enum { WINDOW = 64 };

struct block {
	size_t size;
	unsigned char bytes[];
};

static struct block *of_main[WINDOW], *of_handler[WINDOW];
static volatile unsigned long turns, handlers, turns_seen;

#define END(status, line) (write(2, line "\n", sizeof(line)), _exit(status))

/* Checks and frees the oldest block of a window, and puts a new one in its place. All that is in this function is
 * async-signal-safe if malloc and free are. */
static void
replace(struct block **window, unsigned long turn)
{
	struct block *old = window[turn % WINDOW], *new = malloc(sizeof *new + turn * 37 % 600);

	for (size_t i = 0; old && i < old->size; i++)
		if (old->bytes[i] != (unsigned char)old->size)
			END(1, "contents changed");
	free(old);
	if (!new)
		END(1, "malloc gave NULL");
	new->size = turn * 37 % 600;
	memset(new->bytes, (unsigned char)new->size, new->size);
	window[turn % WINDOW] = new;
}

static void
on_timer(int signal)
{
	(void)signal;
	replace(of_handler, handlers++);
}

static void
on_watchdog(int signal)
{
	(void)signal;
	static int still;

	still = turns == turns_seen ? still + 1 : 0;
	if (still == 10)
		END(124, "no progress for a second");
	turns_seen = turns;
}

int
main(int argc, char **argv)
{
	time_t end = time(NULL) + (argc > 1 ? atoi(argv[1]) : 5);
	struct sigevent by_signal = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1};
	struct itimerspec often = {{0, 50000}, {0, 50000}};
	struct itimerval at_times = {{0, 100000}, {0, 100000}};
	timer_t timer;

	sigaction(SIGUSR1, &(struct sigaction){.sa_handler = on_timer, .sa_flags = SA_RESTART}, NULL);
	sigaction(SIGALRM, &(struct sigaction){.sa_handler = on_watchdog, .sa_flags = SA_RESTART}, NULL);
	setitimer(ITIMER_REAL, &at_times, NULL);
	if (timer_create(CLOCK_MONOTONIC, &by_signal, &timer) != 0 || timer_settime(timer, 0, &often, NULL) != 0)
		END(2, "no timer");
	while (turns % 4096 || time(NULL) < end)
		replace(of_main, turns++);
	timer_delete(timer);
	printf("%lu handlers ran, %lu allocations, all contents right\n", handlers, turns + handlers);
	return 0;
}
