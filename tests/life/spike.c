/*
 * spike.c - a gigabyte that is made and freed once (G10): by the main thread, by threads that sleep afterwards, by
 * threads that have ended, or made by threads that have ended and freed by the main thread, or by threads that have
 * ended, too. When the decay has passed and another thread makes some slow calls, or, with the background thread,
 * nobody calls at all, the system has it again; and of the main thread's also if there is no further
 * call.
 *
 * Each form runs in a process of its own, which this program starts: SPIKE_FORM names it there. Without --only a third
 * of the forms run, such that each size meets each way, and both meet each drive; `--only ""` runs all.
 *
 * Clauses: G10.1, G10.2, G10.7.
 */
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "support.h"

#define KIB ((size_t)1024)
#define MIB (1024 * KIB)

enum { MAKERS = 4, DEADLINE_MS = 100000, LEFT_PERCENT = 5, SKIPPED = 77 };

static const size_t peak_wanted = 1024 * MIB, memory_needed = 1400 * MIB;

struct kind {
	const char *name;
	size_t least, most;
};

static const struct kind kinds[] = {{"small", 16, 32 * KIB}, {"runs", 36 * KIB, 3 * MIB}, {"huge", 5 * MIB, 40 * MIB}};

enum way { MAIN, SLEEPING, ENDED, ENDED_MAIN, ENDED_ENDED, WAYS };

static const char *const way_names[WAYS] = {"main", "sleeping", "ended", "ended-main", "ended-ended"};

/* What happens when all is freed: 64 KiB blocks come and go, small ones come only, or nobody calls and there is the
 * background thread; nobody calls. */
enum drive { PAGES, SMALL, NOTHING, IDLE, DRIVES };

static const char *const drive_names[DRIVES] = {"pages", "small", "nothing", "idle"};

struct form {
	const struct kind *kind;
	enum way way;
	enum drive drive;
	char name[64];
};

/* ---- blocks, each of which knows the next ---------------------------------------------------------------------- */

struct node {
	struct node *next;
	uint32_t size, check;
};

struct share {
	const struct kind *kind;
	struct node *first;
	size_t bytes;
	uint32_t random;
	bool sleeps;
};

static uint32_t
check_of(const struct node *node)
{
	return node->size * 2654435761u ^ (uint32_t)((uintptr_t)node >> 4);
}

/* Each power of two is as likely as any other. */
static size_t
next_size(struct share *share)
{
	size_t least = share->kind->least, most = share->kind->most, powers = 0;

	while (least << (powers + 1) <= most)
		powers++;
	least <<= next_random(&share->random) % (powers + 1);
	size_t size = least + next_random(&share->random) % least;
	return size < most ? size : most;
}

static void
touch(unsigned char *p, size_t size)
{
	for (size_t i = 0; i < size; i += 4096)
		p[i] = 1;
	p[size - 1] = 1;
}

static void
make(struct share *share)
{
	for (size_t made = 0; made < share->bytes; made += share->first->size) {
		size_t size = next_size(share);
		struct node *node = malloc(size);

		REQUIRE(node != NULL);
		touch((unsigned char *)node, size);
		*node = (struct node){.next = share->first, .size = (uint32_t)size};
		node->check = check_of(node);
		share->first = node;
	}
}

static void
free_all(struct share *share)
{
	for (struct node *node = share->first, *next; node; node = next) {
		next = node->next;
		if (node->check != check_of(node))
			fail("contents changed", (uintptr_t)node, node->size);
		free(node);
	}
	share->first = NULL;
}

/* ---- figures --------------------------------------------------------------------------------------------------- */

static bool
has_memory(void)
{
	size_t kib = 0;
	char line[256];
	FILE *file = fopen("/proc/meminfo", "r");

	while (file && fgets(line, sizeof line, file))
		if (sscanf(line, "MemAvailable: %zu", &kib) == 1)
			break;
	if (file)
		fclose(file);
	return kib >= memory_needed / KIB;
}

/* ---- those who make and free ----------------------------------------------------------------------------------- */

static struct share shares[MAKERS];
static pthread_t threads[MAKERS];
static pthread_barrier_t made, look_at_it;
static sem_t freed, never, calls_wanted;

static void *
make_only(void *share)
{
	make(share);
	return NULL;
}

static void *
free_only(void *share)
{
	free_all(share);
	return NULL;
}

static void *
make_and_free(void *argument)
{
	struct share *share = argument;

	make(share);
	pthread_barrier_wait(&made);
	pthread_barrier_wait(&look_at_it);
	free_all(share);
	sem_post(&freed);
	while (share->sleeps)
		sem_wait(&never);
	return NULL;
}

static void
begin(void *(*body)(void *))
{
	for (int i = 0; i < MAKERS; i++)
		REQUIRE(pthread_create(&threads[i], NULL, body, &shares[i]) == 0);
}

static void
end(void)
{
	for (int i = 0; i < MAKERS; i++)
		REQUIRE(pthread_join(threads[i], NULL) == 0);
}

static size_t
spike_of_main(void)
{
	size_t peak;

	for (int i = 0; i < MAKERS; i++)
		make(&shares[i]);
	peak = resident_bytes();
	for (int i = 0; i < MAKERS; i++)
		free_all(&shares[i]);
	return peak;
}

static size_t
spike_of_threads(bool sleep)
{
	size_t peak;

	for (int i = 0; i < MAKERS; i++)
		shares[i].sleeps = sleep;
	begin(make_and_free);
	pthread_barrier_wait(&made);
	peak = resident_bytes();
	pthread_barrier_wait(&look_at_it);
	for (int i = 0; i < MAKERS; i++)
		sem_wait(&freed);
	if (!sleep)
		end();
	return peak;
}

static size_t
spike_of_heirs(bool main_frees)
{
	size_t peak;

	begin(make_only);
	end();
	peak = resident_bytes();
	if (!main_frees) {
		begin(free_only);
		end();
	}
	for (int i = 0; i < MAKERS; i++)
		free_all(&shares[i]);
	return peak;
}

static size_t
spike(const struct form *form)
{
	for (int i = 0; i < MAKERS; i++)
		shares[i] =
		        (struct share){.kind = form->kind, .bytes = peak_wanted / MAKERS, .random = (uint32_t)i + 1};
	switch (form->way) {
	case MAIN:
		return spike_of_main();
	case SLEEPING:
	case ENDED:
		return spike_of_threads(form->way == SLEEPING);
	default:
		return spike_of_heirs(form->way == ENDED_MAIN);
	}
}

/* ---- what brings it back --------------------------------------------------------------------------------------- */

static size_t limit, rounds, left;

static void
call_for_pages(void)
{
	for (int i = 0; i < 10; i++) {
		struct block block = new_block(64 * KIB);
		free_block(&block);
	}
}

/* They stay, so that no free drives anything: each round fills a span or two. */
static struct share kept = {.kind = &(const struct kind){"kept", 40, 320}, .bytes = 48 * KIB, .random = 5};

static void
call(enum drive drive)
{
	if (drive == PAGES)
		call_for_pages();
	else if (drive == SMALL)
		make(&kept);
}

/* A thread that has had a heap since before the spike. */
static void *
caller(void *form)
{
	enum drive drive = ((struct form *)form)->drive;

	call(drive);
	sem_post(&freed);
	sem_wait(&calls_wanted);
	for (uint64_t deadline = now_ms() + DEADLINE_MS; (left = resident_bytes()) >= limit && now_ms() < deadline;
	     rounds++) {
		call(drive);
		nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
	}
	return NULL;
}

static void
print_figures(const struct form *form, size_t peak)
{
	struct lab_stats stats = {0};

	printf("%s: peak %zu MiB, then %zu MiB after %zu rounds\n", form->name, peak / MIB, left / MIB, rounds);
	if (left < limit || !library_stats)
		return;
	library_stats(&stats);
	printf("%s: in use %zu MiB in %zu blocks, free in spans %zu MiB, dirty %zu MiB, purged %zu MiB, %zu heaps, %zu "
	       "segments\n",
	       form->name, stats.in_use / MIB, stats.blocks, stats.free_in_spans / MIB, stats.dirty / MIB,
	       stats.purged / MIB, stats.heaps, stats.segments);
}

static void
run_form(struct form *form)
{
	pthread_t thread;

	REQUIRE(pthread_barrier_init(&made, NULL, MAKERS + 1) == 0 &&
	        pthread_barrier_init(&look_at_it, NULL, MAKERS + 1) == 0);
	REQUIRE(pthread_create(&thread, NULL, caller, form) == 0);
	sem_wait(&freed);
	size_t peak = spike(form);
	if (peak < peak_wanted)
		fail("the peak is less than what was made", peak, peak_wanted);
	limit = peak / 100 * LEFT_PERCENT;
	sem_post(&calls_wanted);
	REQUIRE(pthread_join(thread, NULL) == 0);
	print_figures(form, peak);
	free_all(&kept);
	if (left >= limit)
		fail("memory stays: bytes, more than", left, limit);
}

/* ---- all forms ------------------------------------------------------------------------------------------------- */

static bool
run_in_a_process(char **argv, const struct form *form)
{
	char *const arguments[] = {argv[0], NULL};
	pid_t child;
	int status;

	REQUIRE(setenv("SPIKE_FORM", form->name, 1) == 0);
	REQUIRE(setenv("LABYRINTH_BACKGROUND_THREAD", form->drive == NOTHING ? "1" : "0", 1) == 0);
	REQUIRE(posix_spawn(&child, "/proc/self/exe", NULL, NULL, arguments, environ) == 0);
	REQUIRE(waitpid(child, &status, 0) == child);
	return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

/* A Latin square. */
static bool
is_chosen(size_t number)
{
	return (number % 3 + number / 3 % WAYS + number / 3 / WAYS) % 3 == 0;
}

static struct form
form_of(size_t number)
{
	struct form form = {&kinds[number % 3], (enum way)(number / 3 % WAYS), (enum drive)(number / 3 / WAYS), ""};

	snprintf(form.name, sizeof form.name, "%s %s %s", form.kind->name, way_names[form.way],
	         drive_names[form.drive]);
	return form;
}

int
main(int argc, char **argv)
{
	const char *named = getenv("SPIKE_FORM");
	size_t failed = 0;

	start_test(argc, argv, named ? 600 : 900);
	if (!named && !has_memory()) {
		printf("not run: less than %zu MiB of memory are available\n", memory_needed / MIB);
		return SKIPPED;
	}
	REQUIRE(setenv("LABYRINTH_DECAY_MS", "100", 1) == 0);
	for (size_t i = 0; i < 3 * WAYS * DRIVES; i++) {
		struct form form = form_of(i);
		current_scenario = form.name;
		if (form.drive == IDLE && form.way != MAIN)
			continue; /* others' blocks come back by decay alone */
		if (named && strcmp(named, form.name) == 0)
			run_form(&form);
		else if (!named && (argc > 1 ? strstr(form.name, only) != NULL : is_chosen(i)))
			failed += !run_in_a_process(argv, &form);
	}
	current_scenario = "all forms";
	if (failed != 0)
		fail("forms that failed", failed, 0);
	return named ? 0 : end_test();
}
