/*
 * threads.c - malloc and free in threads: at birth, at death (destructors of thread-specific data, all rounds of them),
 * on the smallest stack, across threads, in fork's child. Death and hand-over must not let memory grow without bound.
 *
 * Clauses: G8.1, G8.2, G10.2.
 */
#include "check.h"

#include <limits.h>
#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

static void
run(void *(*function)(void *), void *argument, void **result)
{
	pthread_t thread;

	if (CHECK(pthread_create(&thread, NULL, function, argument) == 0))
		CHECK(pthread_join(thread, result) == 0);
}

/* ---- destructors ----------------------------------------------------------------------------------------------- */

static pthread_key_t key;
static pthread_key_t many_keys[64]; /* beyond 32 glibc allocates the second level */
static int destructor_runs;

/* Frees the block of its thread, allocates another for the next round, until the last round that POSIX promises. */
static void
destructor(void *value)
{
	unsigned char *block = value;
	unsigned char round = block[0];

	__atomic_add_fetch(&destructor_runs, 1, __ATOMIC_RELAXED);
	CHECK(check_filled(block + 1, 499, 1));
	block = realloc(block, 900); /* grown here, freed here or lost to the next round */
	CHECK(block != NULL && check_filled(block + 1, 499, 1));
	free(block);
	if (round + 1 == PTHREAD_DESTRUCTOR_ITERATIONS)
		return;
	block = malloc(500);
	block[0] = (unsigned char)(round + 1);
	check_fill(block + 1, 499, 1);
	pthread_setspecific(key, block);
}

static void *
thread_with_destructor(void *unused)
{
	unsigned char *block = malloc(500);

	block[0] = 0;
	check_fill(block + 1, 499, 1);
	pthread_setspecific(key, block);
	for (int i = 0; i < 64; i++)
		pthread_setspecific(many_keys[i], malloc(20 + (size_t)i));
	return unused;
}

static void
test_destructors(void)
{
	enum { THREADS = 20 };

	CHECK(pthread_key_create(&key, destructor) == 0);
	for (int i = 0; i < 64; i++)
		CHECK(pthread_key_create(&many_keys[i], free) == 0);
	for (int i = 0; i < THREADS; i++)
		run(thread_with_destructor, NULL, NULL);
	CHECK(destructor_runs == THREADS * PTHREAD_DESTRUCTOR_ITERATIONS);
	pthread_key_delete(key);
	for (int i = 0; i < 64; i++)
		pthread_key_delete(many_keys[i]);
}

/* A thread whose only use of the heap is in its destructor: its heap is born after its code has ended. */
static void
first_use(void *value)
{
	void *block = malloc(1000);

	(void)value;
	CHECK(block != NULL);
	check_fill(block, 1000, 2);
	CHECK(check_filled(block, 1000, 2));
	free(block);
}

static void *
thread_without_use(void *unused)
{
	pthread_setspecific(key, &key);
	return unused;
}

static void
test_birth_in_destructor(void)
{
	CHECK(pthread_key_create(&key, first_use) == 0);
	for (int i = 0; i < 20; i++)
		run(thread_without_use, NULL, NULL);
	pthread_key_delete(key);
}

/* ---- hand-over ------------------------------------------------------------------------------------------------- */

static void *
allocate_chain(void *count)
{
	void **head = NULL;

	for (intptr_t i = 0; i < (intptr_t)count; i++) {
		void **block = malloc(16 + (size_t)(i * 37 % 3000));

		*block = head;
		head = block;
	}
	return head;
}

static void *
free_chain(void *head)
{
	while (head) {
		void *next = *(void **)head;

		free(head);
		head = next;
	}
	return NULL;
}

/* Blocks of dead threads are freed by others, in every pairing, many times over. */
static void
test_handover(void)
{
	size_t before = 0;
	void *chain;

	for (int i = 0; i < 300; i++) {
		run(allocate_chain, (void *)2000, &chain); /* about 3 MiB */
		CHECK(chain != NULL);
		if (i % 2)
			free_chain(chain);
		else
			run(free_chain, chain, NULL);
		chain = allocate_chain((void *)100);
		run(free_chain, chain, NULL);
		if (i == 30)
			before = resident();
	}
	CHECK(resident() < before + ((size_t)48 << 20));
}

/* ---- small stacks, many threads, fork -------------------------------------------------------------------------- */

/* Blocks of all sizes up to 16 MiB, or up to *limit. */
static void *
allocate_everything(void *limit)
{
	for (size_t size = 1; size <= (limit ? *(size_t *)limit : (size_t)16 << 20); size *= 2) {
		void *block = malloc(size);
		void *zeroed = calloc(1, size);
		void *aligned = aligned_alloc(128, size);

		CHECK(block && zeroed && aligned);
		block = realloc(block, size + size / 2);
		CHECK(block != NULL);
		free(block);
		free(zeroed);
		free(aligned);
	}
	return NULL;
}

static void
test_smallest_stack(void)
{
	pthread_attr_t attributes;
	pthread_t thread;

	pthread_attr_init(&attributes);
	CHECK(pthread_attr_setstacksize(&attributes, (size_t)PTHREAD_STACK_MIN) == 0);
	for (int i = 0; i < 5; i++) {
		CHECK(pthread_create(&thread, &attributes, allocate_everything, NULL) == 0);
		CHECK(pthread_join(thread, NULL) == 0);
	}
	pthread_attr_destroy(&attributes);
}

static void
test_many_at_once(void)
{
	enum { THREADS = 40 };
	pthread_t threads[THREADS];
	void *chains[THREADS];

	for (int i = 0; i < THREADS; i++)
		CHECK(pthread_create(&threads[i], NULL, allocate_chain, (void *)3000) == 0);
	for (int i = 0; i < THREADS; i++)
		CHECK(pthread_join(threads[i], &chains[i]) == 0);
	for (int i = 0; i < THREADS; i++)
		CHECK(pthread_create(&threads[i], NULL, free_chain, chains[(i + 7) % THREADS]) == 0);
	for (int i = 0; i < THREADS; i++)
		CHECK(pthread_join(threads[i], NULL) == 0);
}

/* Detached threads that end while nobody looks: the process does not grow. */
static void *
short_life(void *unused)
{
	free(malloc(1000));
	return unused;
}

static void
test_many_in_turn(void)
{
	size_t before = 0;

	for (int i = 0; i < 2000; i++) {
		run(short_life, NULL, NULL);
		if (i == 200)
			before = resident();
	}
	CHECK(resident() < before + ((size_t)8 << 20));
}

static int stop;

static void *
churn(void *unused)
{
	while (!__atomic_load_n(&stop, __ATOMIC_RELAXED))
		free_chain(allocate_chain((void *)200));
	return unused;
}

/* The child of a process whose other threads are in the middle of malloc has a heap that works, threads included. */
static void
test_fork(void)
{
	pthread_t threads[2];
	void *chain = allocate_chain((void *)1000);
	size_t large = (size_t)1 << 20;

	for (int i = 0; i < 2; i++)
		CHECK(pthread_create(&threads[i], NULL, churn, NULL) == 0);
	for (int i = 0; i < 40; i++) {
		int status = -1;
		pid_t pid = fork();

		if (pid == 0) {
			alarm(200);
			allocate_everything(&large);
			free_chain(chain);
			run(allocate_everything, &large, NULL);
			_exit(check_failures == 0 ? 0 : 1);
		}
		CHECK(waitpid(pid, &status, 0) == pid && status == 0);
	}
	__atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
	for (int i = 0; i < 2; i++)
		CHECK(pthread_join(threads[i], NULL) == 0);
	free_chain(chain);
}

int
main(int argc, char **argv)
{
	check_begin(argc, argv);
	test_destructors();
	test_birth_in_destructor();
	test_handover();
	test_smallest_stack();
	test_many_at_once();
	test_many_in_turn();
	test_fork();
	return check_end();
}
