/*
 * moved.c - blocks that realloc has moved, page by page where the system can do that, and what lies in their old and
 * new places afterwards: contents are kept, and calloc is zero. Run by tools.py under an emulator, which may claim to
 * have given pages back.
 */
#include <malloc.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MIB ((size_t)1 << 20)

enum { BLOCKS = 3, STEPS = 5, ROUNDS = 3 };

static unsigned long moves;

static bool
reads_as(const char *p, size_t size, char byte)
{
	return p[0] == byte && memcmp(p, p + 1, size - 1) == 0;
}

/* Blocks that lie in each other's way. */
static const char *
grow(void)
{
	char *blocks[BLOCKS];
	size_t size = 5 * MIB;

	for (int i = 0; i < BLOCKS; i++) {
		if (!(blocks[i] = malloc(size)))
			return "no memory";
		memset(blocks[i], 'a' + i, size);
	}
	for (int step = 0; step < STEPS; step++, size += 5 * MIB) {
		for (int i = 0; i < BLOCKS; i++) {
			uintptr_t before = (uintptr_t)blocks[i];
			if (!(blocks[i] = realloc(blocks[i], size + 5 * MIB)))
				return "no memory to grow";
			moves += (uintptr_t)blocks[i] != before;
			if (!reads_as(blocks[i], size, (char)('a' + i)))
				return "realloc lost contents";
			memset(blocks[i], 'a' + i, size + 5 * MIB);
		}
	}
	for (int i = 0; i < BLOCKS; i++)
		free(blocks[i]);
	return NULL;
}

static const char *
look(size_t count, size_t size)
{
	static char *blocks[2000];
	const char *wrong = NULL;

	for (size_t i = 0; i < count; i++) {
		if (!(blocks[i] = calloc(1, size)))
			return "no memory for calloc";
		if (!reads_as(blocks[i], size, 0))
			wrong = "calloc is not zero";
		memset(blocks[i], 'z', size);
	}
	for (size_t i = 0; i < count; i++)
		free(blocks[i]);
	return wrong;
}

static void *
run(void *unused)
{
	const char *wrong = NULL;

	(void)unused;
	for (int round = 0; round < ROUNDS && !wrong; round++) {
		wrong = grow();
		malloc_trim(0);
		if (!wrong)
			wrong = look(4, 30 * MIB);
		malloc_trim(0);
		if (!wrong)
			wrong = look(1000, 50000);
		malloc_trim(0);
		if (!wrong)
			wrong = look(2000, 1000);
	}
	return (void *)(uintptr_t)wrong;
}

int
main(void)
{
	pthread_t thread;
	void *wrong = run(NULL);

	if (!wrong && (pthread_create(&thread, NULL, run, NULL) != 0 || pthread_join(thread, &wrong) != 0))
		wrong = (void *)(uintptr_t) "no thread";
	printf("%s, %lu moves\n", wrong ? (char *)wrong : "well", moves);
	return wrong != NULL;
}
