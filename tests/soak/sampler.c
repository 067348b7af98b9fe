/* sampler.c - figures of the process and of the library, a line a sample, without a call of malloc. */
#include <fcntl.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "soak.h"

enum { QUIET_MS = 4000, PAUSE_MS = 20, EMPTY_MS = 3000 };

static const size_t quiet_bytes = 8 * MIB, empty_bytes = 64 * KIB;

static int samples = -1;
static uint64_t began;

void
open_samples(void)
{
	static const char head[] =
	        "ms,cycle,point,live,live_blocks,rss,vsz,maps,threads,in_use,blocks,committed,free_in_spans,dirty,"
	        "purged,huge,segments,heaps,remote_frees,reentrant,adopted,reserve_total,reserve_used,operations,"
	        "handlers,jumps,cuts,births,forks\n";

	samples = open(options.file, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0644);
	REQUIRE(samples >= 0);
	REQUIRE(write(samples, head, sizeof head - 1) == (ssize_t)sizeof head - 1);
	began = now_ms();
}

static void
read_statm(size_t *total, size_t *resident)
{
	char text[128] = "", *end;
	int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);

	REQUIRE(fd >= 0 && read(fd, text, sizeof text - 1) > 0);
	close(fd);
	*total = strtoul(text, &end, 10) * 4096;
	*resident = strtoul(end, NULL, 10) * 4096;
}

static size_t
count_maps(void)
{
	char text[8192];
	size_t lines = 0;
	int fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);

	REQUIRE(fd >= 0);
	for (ssize_t length; (length = read(fd, text, sizeof text)) > 0;)
		for (ssize_t i = 0; i < length; i++)
			lines += text[i] == '\n';
	close(fd);
	return lines;
}

static size_t
count_threads(void)
{
	char text[4096] = "";
	int fd = open("/proc/self/status", O_RDONLY | O_CLOEXEC);

	REQUIRE(fd >= 0 && read(fd, text, sizeof text - 1) > 0);
	close(fd);
	const char *line = strstr(text, "\nThreads:");
	return line ? strtoul(line + 9, NULL, 10) : 0;
}

void
take_sample(const char *point)
{
	char line[1024];
	struct lab_stats stats;
	size_t total, resident;

	lab_stats_get(&stats);
	read_statm(&total, &resident);
	int length = snprintf(line, sizeof line,
	                      "%llu,%u,%s,%zu,%zu,%zu,%zu,%zu,%zu,%zu,%zu,%zu,%zu,%zu,%zu,%zu,%zu,%zu,%zu,%zu,%zu,%zu,%"
	                      "zu,%zu,%zu,%zu,%"
	                      "zu,%zu,%zu\n",
	                      (unsigned long long)(now_ms() - began), cycle, point, live_bytes, live_blocks, resident,
	                      total, count_maps(), count_threads(), stats.in_use, stats.blocks, stats.committed,
	                      stats.free_in_spans, stats.dirty, stats.purged, stats.huge, stats.segments, stats.heaps,
	                      stats.remote_frees, stats.reentrant, stats.adopted, stats.reserve_total,
	                      stats.reserve_used, operations, handlers, jumps, cuts, births, forks);
	REQUIRE(length > 0 && (size_t)length < sizeof line && write(samples, line, (size_t)length) == length);
}

/* ---- until memory has come back -------------------------------------------------------------------------------- */

static void
pause_ms(long ms)
{
	nanosleep(&(struct timespec){.tv_nsec = ms * 1000000}, NULL);
}

/* What a program does that has little to do: the calls that drive decay. */
static void
call_now_and_then(void)
{
	for (size_t i = 0; i < 40; i++) {
		struct block small = new_block(100 + i * 200), large = new_block(64 * KIB);
		free_block(&small);
		free_block(&large);
	}
	pause_ms(PAUSE_MS);
}

void
rest_until_quiet(void)
{
	struct lab_stats stats;
	uint64_t deadline = now_ms() + QUIET_MS;

	do {
		call_now_and_then();
		lab_stats_get(&stats);
	} while (stats.dirty > quiet_bytes && now_ms() < deadline);
}

static void *
live_shortly(void *unused)
{
	struct block block = new_block(100);

	free_block(&block);
	(void)lab_trim(0);
	return unused;
}

void
absorb_the_dead(void)
{
	enum { THREADS = 8 };

	for (int i = 0; i < THREADS; i++) {
		pthread_t thread;
		REQUIRE(pthread_create(&thread, NULL, live_shortly, NULL) == 0);
		REQUIRE(pthread_join(thread, NULL) == 0);
	}
}

void
rest_until_empty(void)
{
	struct lab_stats stats;
	uint64_t deadline = now_ms() + EMPTY_MS;

	do {
		absorb_the_dead();
		malloc_trim(0);
		lab_stats_get(&stats);
	} while (stats.in_use > empty_bytes && now_ms() < deadline);
}
