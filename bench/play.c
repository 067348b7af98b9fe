/*
 * play.c - makes the allocations of a recorded program again (trace.h), as fast as it can.
 *
 * Each thread of the trace is a thread here, and makes its calls in its order; a call that needs a block of another
 * thread's waits until that is there. The first and the last word of each block are written when it is made, and
 * checked when it goes; what the program did between its calls is left out, so that time is the allocator's, and
 * what the processor's caches make of its choice of addresses is too small. Blocks that the program never freed go
 * at the end.
 */
#include "bench.h"

#include <dlfcn.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#include "trace.h"

#define MOST_THREADS 1024

static uint64_t repeat = 1;

static const struct bench_option options[] = {
        {"repeat", &repeat, 1, 1, BENCH_MAX_BLOCK, "times that the trace is played"},
};

struct event {
	uint64_t size;
	uint32_t block; /* that is made */
	uint32_t old;   /* that goes */
	uint8_t what;
	uint8_t align_log;
};

struct block {
	_Atomic(void *) p; /* NULL: not made yet, or gone */
	uint64_t size;
};

struct thread {
	pthread_t id;
	struct event *events;
	size_t count, room;
};

static struct thread threads[MOST_THREADS];
static size_t thread_count;
static struct block *blocks;
static uint64_t block_count, event_count, checksum;

/* ---- reading ---- */

struct input {
	const unsigned char *at, *end;
};

static bool
get_number(struct input *input, uint64_t *number)
{
	*number = 0;
	for (unsigned shift = 0; input->at < input->end && shift < 64; shift += 7) {
		unsigned byte = *input->at++;
		*number |= (uint64_t)(byte & 127) << shift;
		if (byte < 128)
			return true;
	}
	return false;
}

static void
add_event(struct thread *thread, struct event event)
{
	if (thread->count == thread->room) {
		thread->room = thread->room ? 2 * thread->room : 1024;
		thread->events = realloc(thread->events, thread->room * sizeof(event));
		if (!thread->events)
			bench_fail("no memory for the trace");
	}
	thread->events[thread->count++] = event;
	event_count++;
	checksum += (event.size + 1) * (event.what + 1);
}

/* One event. False: the end. */
static bool
read_event(struct input *input, struct thread **thread)
{
	struct event event = {.what = input->at < input->end ? *input->at++ : TRACE_EVENTS};
	uint64_t number;
	if (event.what == TRACE_THREAD) {
		if (!get_number(input, &number))
			return false;
		if (number >= MOST_THREADS)
			bench_fail("more than %d threads", MOST_THREADS);
		*thread = &threads[number];
		thread_count = number >= thread_count ? number + 1 : thread_count;
		return true;
	}
	if (event.what >= TRACE_EVENTS)
		return false;
	if (event.what == TRACE_ALIGNED)
		event.align_log = input->at < input->end ? *input->at++ : 4;
	if (event.what == TRACE_REALLOC || event.what == TRACE_FREE) {
		if (!get_number(input, &number))
			return false;
		if (number == 0 || number > block_count)
			bench_fail("the trace names a block that it has not made");
		event.old = (uint32_t)(block_count - number);
	}
	if (event.what != TRACE_FREE) {
		if (!get_number(input, &event.size))
			return false;
		event.block = (uint32_t)block_count++;
	}
	add_event(*thread, event);
	return true;
}

static void
read_trace(const char *path)
{
	struct thread *thread = &threads[0];
	FILE *file = fopen(path, "rb");
	if (!file || fseek(file, 0, SEEK_END) != 0)
		bench_fail("%s: %s", path, strerror(errno));
	size_t size = (size_t)ftell(file), magic = strlen(TRACE_MAGIC);
	unsigned char *text = bench_malloc(size + 1);
	rewind(file);
	if (fread(text, 1, size, file) != size || size < magic || memcmp(text, TRACE_MAGIC, magic) != 0)
		bench_fail("%s is no trace", path);
	fclose(file);
	struct input input = {text + magic, text + size};
	while (read_event(&input, &thread))
		;
	free(text);
	blocks = calloc(block_count + 1, sizeof(*blocks));
	if (!blocks)
		bench_fail("no memory for %" PRIu64 " blocks", block_count);
}

/* ---- playing ---- */

static void
put(const struct event *event, void *p)
{
	struct block *block = &blocks[event->block];
	if (!p)
		bench_fail("an allocation of %" PRIu64 " bytes failed", event->size);
	if (event->size >= BENCH_MIN_BLOCK)
		bench_stamp(p, event->size, event->block);
	block->size = event->size;
	atomic_store_explicit(&block->p, p, memory_order_release); /* pairs with the acquire of get */
}

/* Waits until the block is there. */
static void *
get(uint32_t number)
{
	struct block *block = &blocks[number];
	void *p;
	while ((p = atomic_load_explicit(&block->p, memory_order_acquire)) == NULL) /* pairs with the release of put */
		sched_yield();
	if (block->size >= BENCH_MIN_BLOCK)
		bench_check(p, block->size, number);
	return p;
}

/* After the events that use it, at the end of a round: the block is gone. */
static void
forget(uint32_t number)
{
	atomic_store_explicit(&blocks[number].p, NULL, memory_order_relaxed);
}

static void
play_event(const struct event *event)
{
	void *p = NULL;
	switch ((enum trace_event)event->what) {
	case TRACE_MALLOC:
		put(event, bench_opaque(malloc(event->size ? event->size : 1)));
		break;
	case TRACE_CALLOC:
		put(event, bench_opaque(calloc(1, event->size ? event->size : 1)));
		break;
	case TRACE_ALIGNED:
		if (posix_memalign(&p, (size_t)1 << (event->align_log < 3 ? 3 : event->align_log),
		                   event->size + !event->size) != 0)
			p = NULL;
		put(event, bench_opaque(p));
		break;
	case TRACE_REALLOC:
		p = get(event->old);
		forget(event->old);
		put(event, bench_opaque(realloc(p, event->size + !event->size)));
		break;
	case TRACE_FREE:
		p = get(event->old);
		forget(event->old);
		free(p);
		break;
	case TRACE_THREAD:
	case TRACE_EVENTS:
		break;
	}
}

static void *
play(void *argument)
{
	const struct thread *thread = argument;
	for (size_t i = 0; i < thread->count; i++)
		play_event(&thread->events[i]);
	return NULL;
}

static void
play_all(void)
{
	for (size_t i = 1; i < thread_count; i++)
		if (pthread_create(&threads[i].id, NULL, play, &threads[i]) != 0)
			bench_fail("cannot start thread %zu", i);
	play(&threads[0]);
	for (size_t i = 1; i < thread_count; i++)
		pthread_join(threads[i].id, NULL);
	for (uint64_t i = 0; i < block_count; i++) {
		if (atomic_load_explicit(&blocks[i].p, memory_order_relaxed))
			free(get((uint32_t)i));
		forget((uint32_t)i);
	}
}

/* ---- memory ---- */

/* The most that is resident is counted from here on, where the kernel can. */
static void
count_anew(void)
{
	int file = open("/proc/self/clear_refs", O_WRONLY | O_CLOEXEC);
	if (file >= 0 && write(file, "5", 1) != 1)
		fprintf(stderr, "play: the most that was resident counts what the player held before\n");
	if (file >= 0)
		close(file);
}

static uint64_t
most_resident_kib(void)
{
	char text[4096];
	int status = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
	ssize_t length = status < 0 ? -1 : read(status, text, sizeof(text) - 1);
	if (status >= 0)
		close(status);
	text[length < 0 ? 0 : length] = '\0';
	const char *line = strstr(text, "VmHWM:");
	return line ? strtoull(line + strlen("VmHWM:"), NULL, 10) : 0;
}

int
main(int argc, char **argv)
{
	const char *path = argc > 1 && argv[1][0] != '-' ? argv[1] : NULL;
	bench_options(argc - (path != NULL), argv + (path != NULL), "plays a trace: play FILE, then options", options,
	              BENCH_COUNT(options));
	if (!path)
		bench_fail("which trace? (play FILE)");
	read_trace(path);
	count_anew();
	uint64_t before = bench_resident_kib();
	double start = bench_seconds();
	for (uint64_t round = 0; round < repeat; round++)
		play_all();
	double passed = bench_seconds() - start;
	uint64_t most = most_resident_kib();
	Dl_info where;
	if (dladdr(dlsym(RTLD_DEFAULT, "malloc"), &where) && where.dli_fname)
		printf("malloc_of %s\n", where.dli_fname); /* ld.so goes on without a library that it cannot preload */
	printf("peak_kib %" PRIu64 "\n", most > before ? most - before : 0);
	bench_report(event_count * repeat, bench_seconds() - passed, checksum);
	return 0;
}
