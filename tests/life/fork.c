/*
 * fork.c - processes made in every way (G8, G10) by a process whose other threads are in the middle of malloc: fork,
 * _Fork, a raw clone, and all three in a handler that interrupted malloc; chains of forks; a child that begins a PID
 * namespace; what of the memory of other threads the child gets back; that what the child takes for zero is zero.
 *
 * Clauses: G8.2.
 */
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <pty.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support.h"

enum { WORKERS = 2, FORKS = 30, IN_HANDLER = 30, SHELF = 128, DEEP = 20 };

pid_t _Fork(void);

static pid_t
raw_clone(void)
{
	return (pid_t)syscall(SYS_clone, (long)SIGCHLD, NULL, NULL, NULL, 0L);
}

static const struct way {
	const char *name;
	pid_t (*fork)(void);
} ways[] = {{"fork", fork}, {"_Fork", _Fork}, {"raw clone", raw_clone}};
enum { WAYS = sizeof ways / sizeof *ways };

/* ---- the load -------------------------------------------------------------------------------------------------- */

struct parcel {
	size_t size;
	unsigned seed;
	_Alignas(16) unsigned char bytes[];
};

static _Atomic(struct parcel *) shelf[SHELF];
static _Atomic bool stop_now;
static pthread_t workers[WORKERS];

static struct parcel *
wrap(size_t size)
{
	struct parcel *parcel = malloc(sizeof *parcel + size);

	REQUIRE(parcel != NULL);
	parcel->size = size;
	parcel->seed = block_of(parcel->bytes, size).seed;
	return parcel;
}

static void
unwrap(struct parcel *parcel)
{
	if (parcel)
		check_block(&(struct block){.p = parcel->bytes, .size = parcel->size, .seed = parcel->seed});
	free(parcel);
}

static size_t
some_size(uint32_t n)
{
	return n % 300 == 0 ? (size_t)5 << 20 : n % 30 == 0 ? 40000 + n % 200000 : 1 + n % 1500;
}

static void *
work(void *number)
{
	uint32_t random = (uint32_t)(uintptr_t)number + 1;
	struct parcel *own[64] = {0};

	while (!stop_now) {
		uint32_t n = next_random(&random);
		unwrap(own[n % 64]);
		own[n % 64] = wrap(some_size(next_random(&random)));
		unwrap(atomic_exchange(&shelf[next_random(&random) % SHELF], wrap(next_random(&random) % 1000)));
	}
	for (int i = 0; i < 64; i++)
		unwrap(own[i]);
	return NULL;
}

static void
start_workers(void *(*body)(void *))
{
	sigset_t timer, before;

	sigemptyset(&timer);
	sigaddset(&timer, SIGVTALRM); /* for the main thread */
	pthread_sigmask(SIG_BLOCK, &timer, &before);
	stop_now = false;
	for (uintptr_t i = 0; i < WORKERS; i++)
		REQUIRE(pthread_create(&workers[i], NULL, body, (void *)i) == 0);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
}

static void
stop_workers(void)
{
	stop_now = true;
	for (int i = 0; i < WORKERS; i++)
		REQUIRE(pthread_join(workers[i], NULL) == 0);
	for (int i = 0; i < SHELF; i++)
		unwrap(atomic_exchange(&shelf[i], NULL));
}

/* ---- what a child does ----------------------------------------------------------------------------------------- */

enum { INHERITED = 300 };

static struct block inherited[INHERITED];

static void *
in_a_thread(void *unused)
{
	for (int i = 0; i < 200; i++) {
		struct block block = new_block(1 + (size_t)i * 97);
		free_block(&block);
	}
	return unused;
}

static void
use_heap(uint32_t random)
{
	struct block own[100] = {{0}};

	for (int i = 0; i < 600; i++) {
		struct block *block = &own[next_random(&random) % 100];
		free_block(block);
		*block = new_block(some_size(next_random(&random)));
	}
	for (int i = 0; i < 100; i++)
		free_block(&own[i]);
}

static void
live_as_child(bool with_threads)
{
	pthread_t thread;

	for (int i = 0; i < INHERITED; i += 2)
		free_block(&inherited[i]);
	use_heap((uint32_t)getpid());
	for (int i = 1; i < INHERITED; i += 2)
		free_block(&inherited[i]);
	if (with_threads) {
		REQUIRE(pthread_create(&thread, NULL, in_a_thread, NULL) == 0);
		REQUIRE(pthread_join(thread, NULL) == 0);
	}
	use_heap(1);
}

static void
wait_for(pid_t child)
{
	int status;
	pid_t ended;

	do
		ended = waitpid(child, &status, 0);
	while (ended < 0 && errno == EINTR);
	REQUIRE(ended == child);
	if (status != 0)
		fail("a child failed: status", (uintptr_t)status, 0);
}

static void
make_inheritance(void)
{
	uint32_t random = 11;

	for (int i = 0; i < INHERITED; i++)
		inherited[i] = new_block(some_size(next_random(&random)));
}

static void
leave_inheritance(void)
{
	for (int i = 0; i < INHERITED; i++)
		free_block(&inherited[i]);
}

static void
under_load(void)
{
	make_inheritance();
	start_workers(work);
	for (unsigned i = 0; i < FORKS * scale; i++) {
		const struct way *way = &ways[i % WAYS];
		current_scenario = way->name;
		pid_t child = way->fork();
		REQUIRE(child >= 0);
		if (child == 0) {
			alarm(300);
			live_as_child(way->fork == fork); /* libc wants its own fork for threads */
			_exit(0);
		}
		use_heap(i);
		wait_for(child);
	}
	stop_workers();
	leave_inheritance();
}

/* ---- in a handler that interrupted malloc ---------------------------------------------------------------------- */

static _Atomic unsigned handled;
static volatile unsigned which;

static void
on_timer(int number)
{
	int saved = errno;
	struct block block = new_block(100);

	(void)number;
	pid_t child = ways[which].fork();
	if (child == 0) {
		setitimer(ITIMER_REAL, &(struct itimerval){{0}, {30, 0}}, NULL);
		signal(SIGALRM, SIG_DFL);
		signal(SIGVTALRM, SIG_DFL);
		use_heap(handled);
		free_block(&block);
		if (handled % 2)
			_exit(0);
		handled = UINT32_MAX; /* the child goes back to what was interrupted, and ends there */
		errno = saved;
		return;
	}
	REQUIRE(child > 0);
	free_block(&block);
	wait_for(child);
	handled++;
	errno = saved;
}

static void
in_handlers(void)
{
	/* time of this process's running, so that the signal comes in malloc and not in waitpid */
	const struct itimerval soon = {{0}, {0, 700}};
	uint32_t random = 5;

	start_workers(work);
	signal(SIGVTALRM, on_timer);
	for (which = 1; which < WAYS; which++) { /* libc's own fork takes locks: not for handlers */
		current_scenario = ways[which].name;
		handled = 0;
		while (handled < IN_HANDLER * scale) {
			unsigned before = handled;
			setitimer(ITIMER_VIRTUAL, &soon, NULL);
			while (handled == before) {
				free(malloc(1 + next_random(&random) % 3000));
				free(malloc(next_random(&random) % 100000));
			}
			if (handled == UINT32_MAX) {
				use_heap(2);
				_exit(0);
			}
		}
	}
	stop_workers();
}

/* ---- chains ---------------------------------------------------------------------------------------------------- */

static struct block generations[DEEP + 1][40];

static void
descend(int depth, const struct way *way)
{
	for (int i = 0; i < 40; i++)
		generations[depth][i] =
		        new_block(i % 10 == 9 ? 60000 + (size_t)i * 1000 : 10 + (size_t)(depth * 40 + i));
	if (depth == DEEP) {
		for (int d = 0; d <= DEEP; d++)
			for (int i = 0; i < 40; i++)
				free_block(&generations[d][i]);
		use_heap(3);
		return;
	}
	pid_t child = way->fork();
	REQUIRE(child >= 0);
	if (child == 0) {
		alarm(300);
		/* threads of every generation, so that there is something to freeze in the next */
		if (way->fork == fork)
			start_workers(work);
		descend(depth + 1, way);
		_exit(0);
	}
	wait_for(child);
	for (int i = 0; i < 40; i++)
		free_block(&generations[depth][i]);
}

static void
chains(void)
{
	start_workers(work);
	for (unsigned i = 0; i < WAYS * scale; i++) {
		current_scenario = ways[i % WAYS].name;
		descend(0, &ways[i % WAYS]);
	}
	stop_workers();
}

/* ---- what the child gets back ---------------------------------------------------------------------------------- */

enum { LARGE = 200, LARGE_SIZE = 200000, SMALL = 20000 };

static struct block large[LARGE];
static void *small[SMALL];
static _Atomic bool made, may_end;

static pid_t maker;

static void *
make_large(void *unused)
{
	maker = gettid();
	for (int i = 0; i < LARGE; i++)
		large[i] = block_of(memset(malloc(LARGE_SIZE), 1, LARGE_SIZE), LARGE_SIZE);
	for (int i = 0; i < SMALL; i++)
		small[i] = malloc(500);
	made = true;
	while (!may_end)
		usleep(1000);
	return unused;
}

static struct lab_stats
figures(void)
{
	struct lab_stats stats = {0};

	library_stats(&stats);
	return stats;
}

/* Of a living thread: frozen. Large blocks go back whole. */
static void
free_others_large(void)
{
	struct lab_stats before = figures(), after;

	for (int i = 0; i < LARGE; i++)
		free_block(&large[i]);
	after = figures();
	if (before.in_use - after.in_use < (size_t)LARGE * LARGE_SIZE)
		fail("large blocks of others are not given back", before.in_use, after.in_use);
	library_set(LAB_PARAM_TRIM_THRESHOLD, 0);
	for (int i = 0; i < 2 * LARGE; i++) { /* in slices, one a call */
		free(malloc(LARGE_SIZE));
		after = figures();
	}
	if (after.purged - before.purged < (size_t)LARGE * LARGE_SIZE / 2)
		fail("their pages are not given back", before.purged, after.purged);
	for (int i = 0; i < SMALL; i++)
		free(small[i]); /* accepted */
}

/* Of a dead one: adopted before the fork, and used again. */
static void
use_memory_of_the_dead(void)
{
	struct lab_stats before, after;

	for (int i = 0; i < SMALL; i++)
		free(small[i]);
	for (int i = 0; i < LARGE; i++)
		free_block(&large[i]);
	before = figures();
	for (int i = 0; i < SMALL; i++)
		REQUIRE((small[i] = malloc(500)) != NULL);
	after = figures();
	/* without it they would take three segments of 4 MiB more; one is for what lies scattered */
	if (after.committed > before.committed + ((size_t)4 << 20))
		fail("memory of the dead is not used again: bytes", before.committed, after.committed);
}

static void
in_child(const struct way *way, void (*body)(void))
{
	pid_t child = way->fork();

	REQUIRE(child >= 0);
	if (child == 0) {
		alarm(300);
		body();
		_exit(0);
	}
	wait_for(child);
}

static void
given_back(void)
{
	pthread_t thread;

	if (!library_stats)
		return;
	for (int i = 0; i < WAYS; i++) {
		current_scenario = ways[i].name;
		made = may_end = false;
		REQUIRE(pthread_create(&thread, NULL, make_large, NULL) == 0);
		while (!made)
			usleep(100);
		in_child(&ways[i], free_others_large);
		may_end = true;
		REQUIRE(pthread_join(thread, NULL) == 0);
		while (tgkill(getpid(), maker, 0) == 0) /* the kernel says for a while that the thread lives */
			usleep(100);
		if (ways[i].fork != raw_clone)
			in_child(&ways[i], use_memory_of_the_dead);
		for (int j = 0; j < SMALL; j++)
			free(small[j]);
		for (int j = 0; j < LARGE; j++)
			free_block(&large[j]);
	}
}

/* ---- zero ------------------------------------------------------------------------------------------------------ */

/* Takes segments that are fresh, and writes to them, while they are copied. */
static void *
write_and_give_back(void *number)
{
	size_t size = ((size_t)3 << 20) + ((uintptr_t)number << 21);

	while (!stop_now) {
		void *p = malloc(size);
		memset(p, 0xa5, size);
		free(p);
		library_set(LAB_PARAM_TRIM_THRESHOLD, 0);
	}
	return NULL;
}

static void
check_all_zero(void)
{
	for (int i = 0; i < 4; i++) { /* the first have what was freed before, the others what is fresh */
		check_zero(calloc(1, (size_t)2 << 20), (size_t)2 << 20);
		check_zero(calloc(1, (size_t)6 << 20), (size_t)6 << 20);
	}
}

static void
zero(void)
{
	size_t ballast = (size_t)64 << 20;
	char *p = malloc(ballast); /* the copy takes longer */

	if (!library_set)
		return;
	memset(p, 1, ballast);
	library_set(LAB_PARAM_TRIM_THRESHOLD, 0);
	start_workers(write_and_give_back);
	for (unsigned i = 0; i < 24 * scale; i++)
		in_child(&ways[i % WAYS], check_all_zero);
	stop_workers();
	library_set(LAB_PARAM_TRIM_THRESHOLD, SIZE_MAX);
	free(p);
}

/* ---- libc's wrappers ------------------------------------------------------------------------------------------- */

/* daemon() leaves this process by a fork of its own: the grandchild says by a pipe how it was. */
static void
daemonize(void)
{
	int ends[2];
	char answer = 0;

	current_scenario = "daemon";
	REQUIRE(pipe(ends) == 0);
	pid_t child = fork();
	REQUIRE(child >= 0);
	if (child == 0) {
		REQUIRE(daemon(1, 1) == 0);
		alarm(300);
		live_as_child(true);
		REQUIRE(write(ends[1], "y", 1) == 1);
		_exit(0);
	}
	wait_for(child);
	close(ends[1]);
	REQUIRE(read(ends[0], &answer, 1) == 1 && answer == 'y');
	close(ends[0]);
}

static void
forkpty_once(void)
{
	int master;
	char buffer[256];

	current_scenario = "forkpty";
	pid_t child = forkpty(&master, NULL, NULL, NULL);
	if (child < 0) {
		printf("forkpty: not run (%s)\n", strerror(errno));
		return;
	}
	if (child == 0) {
		alarm(300);
		live_as_child(true);
		_exit(0);
	}
	while (read(master, buffer, sizeof buffer) > 0)
		;
	wait_for(child);
	close(master);
}

static void
wrappers(void)
{
	make_inheritance();
	start_workers(work);
	for (unsigned i = 0; i < 5 * scale; i++) {
		daemonize();
		forkpty_once();
	}
	stop_workers();
	leave_inheritance();
}

/* ---- a child that begins a PID namespace ---- */

enum { NOT_RUN = 77 };

static void *(*library_alloc)(size_t size, unsigned gfp);
static int (*library_owner)(const void *block);
static void *firsts_block; /* exclusive, of the process's first thread: it has id 1, as the child's leader */

/* A word that names the leader's id was written by the first thread of the parent, which is not here. */
static void
live_as_namesake(void)
{
	REQUIRE(gettid() == 1);
	use_heap(7);
	int owner = library_owner(firsts_block);
	if (owner != 0)
		fail("a namesake's block is taken for the child's own: owner", (uintptr_t)owner, 0);
	free(firsts_block);
	live_as_child(false);
}

static void *
fork_into_namespace(void *result)
{
	free(malloc(100)); /* a heap of its own */
	for (unsigned i = 0; i < 10 * scale; i++) {
		pid_t child = (pid_t)syscall(SYS_clone, (long)(SIGCHLD | CLONE_NEWPID), NULL, NULL, NULL, 0L);
		if (child < 0)
			_exit(NOT_RUN);
		if (child == 0) {
			alarm(300);
			live_as_namesake();
			_exit(0);
		}
		wait_for(child);
	}
	*(_Atomic bool *)result = true;
	return NULL;
}

/* The first process of a namespace: its first thread, which has id 1, is in the middle of malloc when another forks. */
static void
be_first(void)
{
	static _Atomic bool is_done;
	pthread_t thread;

	alarm(300);
	REQUIRE(gettid() == 1);
	make_inheritance();
	firsts_block = library_alloc(5000, LAB_GFP_EXCLUSIVE);
	REQUIRE(firsts_block && library_owner(firsts_block) == 1);
	REQUIRE(pthread_create(&thread, NULL, fork_into_namespace, (void *)&is_done) == 0);
	for (uint32_t n = 0; !is_done; n++)
		use_heap(n);
	REQUIRE(pthread_join(thread, NULL) == 0);
	leave_inheritance();
}

/* 0, or NOT_RUN. */
static int
in_namespace_of_one(void)
{
	int status;

	if (unshare(CLONE_NEWPID) != 0)
		return NOT_RUN;
	pid_t first = fork();
	REQUIRE(first >= 0);
	if (first == 0) {
		be_first();
		_exit(0);
	}
	REQUIRE(waitpid(first, &status, 0) == first);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

static void
namespaces(void)
{
	int status;

	*(void **)&library_alloc = dlsym(RTLD_DEFAULT, "lab_alloc");
	*(void **)&library_owner = dlsym(RTLD_DEFAULT, "lab_owner");
	if (!library_alloc || !library_owner)
		return;
	pid_t helper = fork();
	REQUIRE(helper >= 0);
	if (helper == 0)
		_exit(in_namespace_of_one());
	REQUIRE(waitpid(helper, &status, 0) == helper);
	if (WIFEXITED(status) && WEXITSTATUS(status) == NOT_RUN)
		printf("not run: no PID namespace can be made here\n");
	else if (status != 0)
		fail("a child that began a PID namespace, or its parent: status", (uintptr_t)status, 0);
}

int
main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*run)(void);
	} scenarios[] = {
	        {"under load", under_load},
	        {"in handlers", in_handlers},
	        {"chains", chains},
	        {"given back", given_back},
	        {"zero", zero},
	        {"wrappers", wrappers},
	        {"namespaces", namespaces},
	};

	start_test(argc, argv, 600);
	for (size_t i = 0; i < sizeof scenarios / sizeof *scenarios; i++) {
		if (!strstr(scenarios[i].name, only))
			continue;
		uint64_t from = now_ms();
		current_scenario = scenarios[i].name;
		scenarios[i].run();
		printf("%s: %llu ms\n", scenarios[i].name, (unsigned long long)(now_ms() - from));
	}
	return end_test();
}
