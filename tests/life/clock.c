/*
 * clock.c - programs whose clock_gettime is not the machine's, as under faketime or in a simulator: it stands still,
 * runs a hundred times too slowly, or backward. What such a program frees goes back as everybody's does.
 *
 * Clauses: G10.1.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "support.h"

enum { BLOCKS = 100000, SIZE = 1024, LEFT_MAX_MIB = 20, ROUNDS_MAX = 60000 };

static enum { STANDS, SLOW, BACKWARD, CLOCKS } how;
static const char *const names[CLOCKS] = {"stands", "slow", "backward"};

int
clock_gettime(clockid_t clock, struct timespec *time)
{
	int result = (int)syscall(SYS_clock_gettime, clock, time);

	if (how == STANDS)
		*time = (struct timespec){.tv_sec = 1000};
	else if (how == SLOW)
		*time = (struct timespec){.tv_sec = 1000 + time->tv_sec / 100};
	else
		time->tv_sec = 1000000000 - time->tv_sec;
	return result;
}

/* Frees a spike; then goes on with some work until the memory is back, however long that takes within the time-out. */
static void
spike(void)
{
	static char *blocks[BLOCKS];
	int rounds = 0;

	for (int i = 0; i < BLOCKS; i++) {
		REQUIRE(blocks[i] = malloc(SIZE));
		memset(blocks[i], i, SIZE);
	}
	REQUIRE((resident_bytes() >> 20) > BLOCKS / 1024 / 2);
	for (int i = 0; i < BLOCKS; i++)
		free(blocks[i]);
	while ((resident_bytes() >> 20) > LEFT_MAX_MIB) {
		void *some[50];
		for (int i = 0; i < 50; i++)
			REQUIRE(some[i] = malloc(64 + (size_t)i * 700));
		for (int i = 0; i < 50; i++)
			free(some[i]);
		REQUIRE(++rounds < ROUNDS_MAX);
		usleep(2000);
	}
	printf("clock that %s: %zu MiB after %d rounds\n", names[how], (resident_bytes() >> 20), rounds);
}

int
main(void)
{
	for (how = STANDS; how < CLOCKS; how++) {
		pid_t child = fork();
		int status = 0;
		if (child == 0) {
			spike();
			exit(0);
		}
		REQUIRE(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);
	}
	return 0;
}
