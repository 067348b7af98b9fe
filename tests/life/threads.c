/*
 * threads.c - threads that end in every way (G8, G10): short ones by the ten thousand, with all thread-specific keys in
 * use and re-armed, by raw exit, by pthread_exit and by both kinds of cancellation wherever malloc happens to be, with
 * blocks that others go on using, with blocks of a producer. Contents must stay, and heaps and memory must not grow
 * with the number of the dead.
 *
 * Clauses: G8.7.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "support.h"

enum { SHORT = 20000, AT_ONCE = 8, SHELF = 64, ENDED = 300, HEAPS_MAX = 32 };

static void
start(pthread_t *thread, void *(*body)(void *), uintptr_t argument)
{
	int error = pthread_create(thread, NULL, body, (void *)argument);

	if (error != 0)
		fail("pthread_create", (uintptr_t)error, 0);
}

static void
run(void *(*body)(void *), uintptr_t argument)
{
	pthread_t thread;

	start(&thread, body, argument);
	REQUIRE(pthread_join(thread, NULL) == 0);
}

static size_t
heaps(void)
{
	struct lab_stats stats = {0};

	if (library_stats)
		library_stats(&stats);
	return stats.heaps;
}

static void
check_heaps(void)
{
	printf("%s: %zu heaps, %zu KiB resident\n", current_scenario, heaps(), resident_bytes() >> 10);
	if (heaps() > HEAPS_MAX)
		fail("heaps grow with the dead", heaps(), HEAPS_MAX);
}

/* ---- blocks that outlive their threads ------------------------------------------------------------------------- */

struct parcel {
	size_t size;
	unsigned seed;
	_Alignas(16) unsigned char bytes[];
};

static _Atomic(struct parcel *) shelf[SHELF];

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

static void
exchange(uint32_t *random)
{
	uint32_t n = next_random(random);

	unwrap(atomic_exchange(&shelf[n % SHELF], wrap(n % 40 == 0 ? 40000 + n % 90000 : 16 + n % 900)));
}

static void
clear_shelf(void)
{
	for (int i = 0; i < SHELF; i++)
		unwrap(atomic_exchange(&shelf[i], NULL));
}

/* ---- many short ones ------------------------------------------------------------------------------------------- */

static void *
short_life(void *number)
{
	uint32_t random = (uint32_t)(uintptr_t)number;
	struct block mine = new_block(1 + next_random(&random) % 2000);

	exchange(&random);
	free_block(&mine);
	return NULL;
}

static void
short_threads(void)
{
	pthread_t threads[AT_ONCE];
	size_t before = 0, count = (size_t)SHORT * scale;

	for (size_t i = 0; i < count; i++) {
		if (i >= AT_ONCE)
			REQUIRE(pthread_join(threads[i % AT_ONCE], NULL) == 0);
		start(&threads[i % AT_ONCE], short_life, i);
		if (i == SHORT / 10)
			before = resident_bytes();
	}
	for (int i = 0; i < AT_ONCE; i++)
		REQUIRE(pthread_join(threads[i], NULL) == 0);
	clear_shelf();
	printf("%zu short threads\n", count);
	check_heaps();
	if (resident_bytes() > before + ((size_t)16 << 20))
		fail("memory grows with the dead", resident_bytes(), before);
}

/* ---- all keys, re-armed ---------------------------------------------------------------------------------------- */

static pthread_key_t keys[PTHREAD_KEYS_MAX];
static size_t key_count;
static _Atomic size_t destroyed;

static void
destroy(void *value)
{
	struct parcel *old = value, *new;
	size_t key = old->bytes[0] | (size_t)old->bytes[1] << 8, round = old->bytes[2];

	for (size_t i = 3; i < old->size; i++)
		if (old->bytes[i] != (unsigned char)key)
			fail("contents of a key's block", key, round);
	free(old);
	destroyed++;
	if (round + 1 == PTHREAD_DESTRUCTOR_ITERATIONS)
		return;
	new = malloc(sizeof *new + 30 + key % 200);
	REQUIRE(new != NULL);
	new->size = 30 + key % 200;
	memset(new->bytes, (int)key, new->size);
	new->bytes[0] = (unsigned char)key;
	new->bytes[1] = (unsigned char)(key >> 8);
	new->bytes[2] = (unsigned char)(round + 1);
	REQUIRE(pthread_setspecific(keys[key], new) == 0);
}

static void *
use_all_keys(void *unused)
{
	for (size_t key = 0; key < key_count; key++) {
		struct parcel *parcel = malloc(sizeof *parcel + 40);
		REQUIRE(parcel != NULL);
		parcel->size = 40;
		memset(parcel->bytes, (int)key, 40);
		parcel->bytes[0] = (unsigned char)key;
		parcel->bytes[1] = (unsigned char)(key >> 8);
		parcel->bytes[2] = 0;
		REQUIRE(pthread_setspecific(keys[key], parcel) == 0);
	}
	return unused;
}

static void
all_keys(void)
{
	enum { THREADS = 40 };

	while (key_count < PTHREAD_KEYS_MAX && pthread_key_create(&keys[key_count], destroy) == 0)
		key_count++;
	if (key_count < PTHREAD_KEYS_MAX - 8)
		fail("keys are taken by somebody", key_count, PTHREAD_KEYS_MAX);
	for (unsigned i = 0; i < THREADS * scale; i++)
		run(use_all_keys, 0);
	if (destroyed != THREADS * scale * key_count * PTHREAD_DESTRUCTOR_ITERATIONS)
		fail("destructors that ran", destroyed, key_count);
	for (size_t i = 0; i < key_count; i++)
		pthread_key_delete(keys[i]);
	printf("%zu keys: %zu destructors\n", key_count, destroyed);
}

/* ---- ends in the middle ---------------------------------------------------------------------------------------- */

enum end { RAW_EXIT, PTHREAD_EXIT, DEFERRED, ASYNCHRONOUS, ENDS };

static const char *const end_names[ENDS] = {"raw exit", "pthread_exit", "deferred cancellation",
                                            "asynchronous cancellation"};
static _Atomic bool at_work;
static pthread_key_t last_words;

static void
on_end_raw(int number)
{
	(void)number;
	syscall(SYS_exit, 0);
}

static void
on_end_thread(int number)
{
	(void)number;
	pthread_exit(NULL);
}

/* In the destructor of a thread that was torn: its heap must serve still. */
static void
say_last_words(void *value)
{
	struct block block = new_block(300);

	free(value);
	free_block(&block);
}

/* No block is in hand, but for those of a step: what is lost is bounded. */
static void *
allocate_for_ever(void *how)
{
	uint32_t random = 1;
	int old;

	REQUIRE(pthread_setspecific(last_words, malloc(100)) == 0);
	pthread_setcanceltype((uintptr_t)how == ASYNCHRONOUS ? PTHREAD_CANCEL_ASYNCHRONOUS : PTHREAD_CANCEL_DEFERRED,
	                      &old);
	at_work = true;
	for (;;) {
		uint32_t n = next_random(&random);
		void *p = malloc(n % 30 == 0 ? 50000 : n % 1500), *q = calloc(1, 16 + n % 5000);
		p = realloc(p, n % 4000 + 1);
		free(q);
		free(p);
		if (n % 64 == 0)
			pthread_testcancel();
	}
}

static void
end_one(enum end how, uint32_t random)
{
	pthread_t thread;
	struct timespec wait = {.tv_nsec = (long)(random % 60000)};

	at_work = false;
	start(&thread, allocate_for_ever, how);
	while (!at_work)
		sched_yield();
	nanosleep(&wait, NULL);
	if (how == RAW_EXIT || how == PTHREAD_EXIT)
		REQUIRE(pthread_kill(thread, how == RAW_EXIT ? SIGUSR1 : SIGUSR2) == 0);
	else
		REQUIRE(pthread_cancel(thread) == 0);
	REQUIRE(pthread_join(thread, NULL) == 0);
}

static void
ends_in_the_middle(void)
{
	uint32_t random = 7;

	REQUIRE(pthread_key_create(&last_words, say_last_words) == 0);
	signal(SIGUSR1, on_end_raw);
	signal(SIGUSR2, on_end_thread);
	for (int how = 0; how < ENDS; how++) {
		size_t before = 0;
		current_scenario = end_names[how];
		for (unsigned i = 0; i < ENDED * scale; i++) {
			end_one((enum end)how, next_random(&random));
			exchange(&random);
			if (i == ENDED / 5)
				before = resident_bytes();
		}
		/* two blocks of each thread are this program's to lose */
		if (resident_bytes() > before + ((size_t)8 << 20) * scale)
			fail("memory grows with the torn", resident_bytes(), before);
		check_heaps();
	}
	clear_shelf();
	pthread_key_delete(last_words);
}

/* ---- abandoned heaps ------------------------------------------------------------------------------------------- */

enum { LEAVERS = 12, LEFT = 400 };

static struct parcel *left[LEAVERS][LEFT];

static void *
leave(void *number)
{
	uint32_t random = (uint32_t)(uintptr_t)number + 99;
	struct block own[LEFT];

	for (int i = 0; i < LEFT; i++) {
		own[i] = new_block(1 + next_random(&random) % 1500);
		left[(uintptr_t)number][i] = wrap(next_random(&random) % (i % 50 == 0 ? 300000 : 2500));
	}
	for (int i = 0; i < LEFT; i++)
		free_block(&own[i]);
	return NULL;
}

static void *
take_over(void *number)
{
	uint32_t random = (uint32_t)(uintptr_t)number;

	for (int i = 0; i < LEFT; i++) {
		exchange(&random);
		if (i % 2)
			unwrap(left[(uintptr_t)number][i]);
	}
	return NULL;
}

static void
abandoned(void)
{
	pthread_t threads[LEAVERS];
	struct lab_stats before = {0}, after = {0};
	size_t early = 0;

	if (library_stats)
		library_stats(&before);
	for (unsigned round = 0; round < 20 * scale; round++) {
		if (round == 6)
			early = resident_bytes();
		for (uintptr_t i = 0; i < LEAVERS; i++)
			start(&threads[i], leave, i);
		for (int i = 0; i < LEAVERS; i++)
			REQUIRE(pthread_join(threads[i], NULL) == 0);
		for (uintptr_t i = 0; i < LEAVERS; i++)
			start(&threads[i], take_over, i);
		for (int i = 0; i < LEAVERS; i++)
			REQUIRE(pthread_join(threads[i], NULL) == 0);
		for (int i = 0; i < LEAVERS; i++)
			for (int j = 0; j < LEFT; j += 2)
				unwrap(left[i][j]);
	}
	clear_shelf();
	if (library_stats)
		library_stats(&after);
	if (library_stats && after.adopted < before.adopted + 10)
		fail("heaps adopted", before.adopted, after.adopted);
	/* it goes up and down with what lies scattered; that heaps come back is for check_heaps to say */
	if (resident_bytes() > early + ((size_t)64 << 20))
		fail("memory grows with abandoned heaps", resident_bytes(), early);
	check_heaps();
}

/* ---- a producer and its dead consumers ------------------------------------------------------------------------- */

static _Atomic(struct parcel *) queue[SHELF];
static _Atomic bool no_more;

static void *
consume(void *number)
{
	uint32_t random = (uint32_t)(uintptr_t)number;

	for (int i = 0; i < 500 + (int)((uintptr_t)number % 100) && !no_more; i++)
		unwrap(atomic_exchange(&queue[next_random(&random) % SHELF], NULL));
	syscall(SYS_exit, 0); /* with what it has collected for the producer in its hands */
	return NULL;
}

static void
dead_consumers(void)
{
	enum { CONSUMERS = 3 };
	pthread_t threads[CONSUMERS];
	uint32_t random = 3;
	size_t before = 0;

	for (unsigned round = 0; round < 200 * scale; round++) {
		for (uintptr_t i = 0; i < CONSUMERS; i++)
			start(&threads[i], consume, round * 7 + i);
		for (int i = 0; i < 3000; i++)
			unwrap(atomic_exchange(&queue[next_random(&random) % SHELF],
			                       wrap(next_random(&random) % 2000)));
		for (int i = 0; i < CONSUMERS; i++)
			REQUIRE(pthread_join(threads[i], NULL) == 0);
		if (round == 20)
			before = resident_bytes();
	}
	for (int i = 0; i < SHELF; i++)
		unwrap(atomic_exchange(&queue[i], NULL));
	if (resident_bytes() > before + ((size_t)16 << 20))
		fail("memory grows with the consumers", resident_bytes(), before);
	check_heaps();
}

/* ---- the leader ends first ------------------------------------------------------------------------------------- */

static void *
outlive(void *leader)
{
	uint32_t random = 5;

	pthread_join(*(pthread_t *)leader, NULL);
	for (int i = 0; i < 20000; i++)
		exchange(&random);
	for (int i = 0; i < LEFT; i++)
		unwrap(left[0][i]);
	run(take_over, 1);
	_exit(0);
}

static void
leader_ends(void)
{
	static pthread_t self;
	pthread_t thread;
	int status;
	pid_t child = fork();

	REQUIRE(child >= 0);
	if (child == 0) {
		alarm(300);
		self = pthread_self();
		leave((void *)0);
		leave((void *)1);
		start(&thread, outlive, (uintptr_t)&self);
		pthread_exit(NULL);
	}
	REQUIRE(waitpid(child, &status, 0) == child);
	if (status != 0)
		fail("the process of a leader that ended", (uintptr_t)status, 0);
}

/* ---- the id of an ended thread, used again --------------------------------------------------------------------- */

enum { REUSED = 10, REUSED_BLOCKS = 4000, REUSED_SIZE = 2000 };

static void *reused[REUSED_BLOCKS];

/* Where the system does not say where the kernel's word of a thread lies (CONFIG_CHECKPOINT_RESTORE), and of a raw
 * clone, its end shows otherwise. So here: the word holds no id while the thread calls malloc for the first time. */
static bool hides_its_word;

static void
first_call_without_word(void)
{
	pid_t *word = NULL;

	REQUIRE(prctl(PR_GET_TID_ADDRESS, &word) == 0);
	pid_t tid = *word;
	*word = 0;
	free(malloc(REUSED_SIZE));
	*word = tid;
}

static void *
fill_and_end(void *tid)
{
	if (hides_its_word)
		first_call_without_word();
	for (int i = 0; i < REUSED_BLOCKS; i++) {
		REQUIRE(reused[i] = malloc(REUSED_SIZE));
		memset(reused[i], 1, REUSED_SIZE);
	}
	*(pid_t *)tid = gettid();
	return NULL;
}

/*
 * A process with that id that reads from the pipe until its end; -1: the system does not let us, or somebody else was
 * quicker each time. It is not made by fork, before which the library takes over what the dead held.
 */
static pid_t
process_with_id(pid_t id, int pipe_end)
{
	char name[] = "cat", *arguments[] = {name, NULL};
	posix_spawn_file_actions_t actions;
	pid_t child = -1;

	REQUIRE(posix_spawn_file_actions_init(&actions) == 0);
	REQUIRE(posix_spawn_file_actions_adddup2(&actions, pipe_end, 0) == 0);
	for (int tries = 0; tries < 20 && child != id; tries++) {
		FILE *file = fopen("/proc/sys/kernel/ns_last_pid", "w");
		if (!file || fprintf(file, "%d", id - 1) < 0 || fclose(file) != 0)
			return -1;
		if (child > 0)
			REQUIRE(kill(child, SIGKILL) == 0 && waitpid(child, NULL, 0) == child);
		REQUIRE(posix_spawn(&child, "/bin/cat", &actions, NULL, arguments, NULL) == 0);
	}
	REQUIRE(posix_spawn_file_actions_destroy(&actions) == 0);
	return child;
}

/* What the ended threads held is taken over, although another process has the id of each. */
static void
id_is_used_again(void)
{
	size_t most = (size_t)3 * REUSED_BLOCKS * REUSED_SIZE, before = resident_bytes();
	int pipe_ends[2], got = 0;
	pid_t processes[REUSED];

	REQUIRE(pipe2(pipe_ends, O_CLOEXEC) == 0);
	for (int round = 0; round < REUSED; round++) {
		pid_t tid;
		run(fill_and_end, (uintptr_t)&tid);
		processes[round] = process_with_id(tid, pipe_ends[0]);
		got += processes[round] == tid;
		for (int i = 0; i < REUSED_BLOCKS; i++)
			free(reused[i]);
	}
	size_t after = resident_bytes();
	close(pipe_ends[0]);
	close(pipe_ends[1]);
	for (int i = 0; i < REUSED; i++)
		if (processes[i] > 0)
			REQUIRE(waitpid(processes[i], NULL, 0) == processes[i]);
	if (got < REUSED / 2)
		printf("not run: a process with the id of an ended thread cannot be made here\n");
	else if (library_stats && after > before + most)
		fail("heaps whose threads' ids other processes have were not taken over: bytes", after - before, most);
}

/* In a PID namespace of its own, so that no other test meets ids that come back. */
static int
use_ids_again(void)
{
	int status;

	(void)unshare(CLONE_NEWPID); /* where that is not allowed, the last id cannot be set either */
	pid_t first = fork();
	REQUIRE(first >= 0);
	if (first == 0) {
		alarm(300);
		id_is_used_again();
		hides_its_word = true;
		id_is_used_again();
		fflush(stdout);
		_exit(0);
	}
	REQUIRE(waitpid(first, &status, 0) == first);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

static void
id_used_again(void)
{
	int status;

	fflush(stdout);
	pid_t helper = fork();
	REQUIRE(helper >= 0);
	if (helper == 0)
		_exit(use_ids_again());
	REQUIRE(waitpid(helper, &status, 0) == helper);
	REQUIRE(status == 0);
}

int
main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*run)(void);
	} scenarios[] = {
	        {"short threads", short_threads},           {"all keys", all_keys},
	        {"ends in the middle", ends_in_the_middle}, {"abandoned heaps", abandoned},
	        {"dead consumers", dead_consumers},         {"leader ends", leader_ends},
	        {"id used again", id_used_again},
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
