/*
 * cut.c - whether fork copies memory as it was at one instant, on the kernel at hand. Not a test: an experiment, run by hand (cut [FORKS]).
 * No standard promises it; src/heap/fork.c does not rely on it. Links with no library of ours.
 *
 * Two threads each write a rising number to four words on pages far apart, always in the same order. At any one instant a word is not above the
 * one before it, and the last is behind the first by one at most. Each child looks at its copy.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { WORDS = 4, THREADS = 2 };

static const size_t size = (size_t)96 << 20;
static char *low, *high;
static _Atomic uint64_t *chains[THREADS][WORDS];

static _Atomic uint64_t *
word_at(char *base, size_t offset)
{
	return (_Atomic uint64_t *)(void *)(base + offset);
}

static void *
count(void *number)
{
	_Atomic uint64_t **words = chains[(uintptr_t)number];
	uint32_t random = 1;

	for (uint64_t value = 1;; value++) {
		for (int i = 0; i < WORDS; i++)
			atomic_store_explicit(words[i], value, memory_order_release);
		if ((uintptr_t)number == 0 || value % 4 != 0)
			continue;
		for (int i = 0; i < 64; i++) { /* other pages: the processor forgets translations */
			random = random * 1664525u + 1013904223u;
			atomic_store_explicit(word_at(high, (random % size & ~(size_t)4095) + 1024), 0,
			                      memory_order_relaxed); /* no word of a chain */
		}
	}
	return NULL;
}

static int
is_no_instant(_Atomic uint64_t *const *words)
{
	uint64_t first = *words[0];

	for (int i = 1; i < WORDS; i++)
		if (*words[i] > *words[i - 1] || first - *words[i] > 1)
			return 1;
	return 0;
}

static void
lay_out(void)
{
	const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE;

	low = mmap(NULL, size, PROT_READ | PROT_WRITE, flags, -1, 0);
	high = mmap(NULL, size, PROT_READ | PROT_WRITE, flags, -1, 0);
	if (low == MAP_FAILED || high == MAP_FAILED)
		exit(2);
	chains[0][0] = word_at(low, 0);
	chains[0][1] = word_at(low, size - 4096);
	chains[0][2] = word_at(high, 0);
	chains[0][3] = word_at(high, size / 2);
	chains[1][0] = word_at(low, size / 4);
	chains[1][1] = word_at(low, 8192);
	chains[1][2] = word_at(low, size / 2);
	chains[1][3] = word_at(low, 12288);
}

int
main(int argc, char **argv)
{
	int forks = argc > 1 ? atoi(argv[1]) : 1000, torn = 0, status;
	pthread_t thread;

	lay_out();
	for (uintptr_t i = 0; i < THREADS; i++)
		if (pthread_create(&thread, NULL, count, (void *)i) != 0)
			return 2;
	for (int i = 0; i < forks; i++) {
		pid_t child = fork();
		if (child == 0)
			_exit(is_no_instant(chains[0]) | is_no_instant(chains[1]));
		if (child < 0 || waitpid(child, &status, 0) != child)
			return 2;
		torn += status != 0;
	}
	printf("%d forks, %d copies that were never the memory at one instant\n", forks, torn);
	return 0;
}
