/*
 * main_ends.c - the main thread leaves by pthread_exit while others go on, with its blocks. The kernel keeps its thread
 * id until the process ends, so that it answers to tkill; yet the memory of its heap is used again. Before that nobody
 * takes the heap: new threads work beside main first.
 *
 * Clauses: G8.5.
 */
#include <malloc.h>
#include <pthread.h>

#include "boot.h"

enum { BLOCKS = 20000, THREADS = 50, RIVALS = 4 };

static void *blocks[BLOCKS];
static pthread_t main_thread;
static pid_t twin;

static void
allocate_all(void)
{
	for (size_t i = 0; i < BLOCKS; i++)
		CHECK((blocks[i] = malloc(i % 3000)) != NULL);
}

static void *
short_lived(void *kept)
{
	boot_free(kept);
	return boot_allocate();
}

static void *
survivor(void *argument)
{
	pthread_t other;
	void *kept;

	size_t before = mallinfo2().arena;

	CHECK(pthread_join(main_thread, NULL) == 0);
	for (int i = 0; i < BLOCKS; i++)
		free(blocks[i]);
	allocate_all();
	CHECK(mallinfo2().arena < before + before / 2);
	for (int i = 0; i < BLOCKS; i++)
		free(blocks[i]);
	for (int i = 0; i < THREADS; i++) {
		CHECK(pthread_create(&other, NULL, short_lived, boot_allocate()) == 0);
		CHECK(pthread_join(other, &kept) == 0);
		boot_free(kept);
	}
	pid_t child = fork();
	if (child == 0) {
		boot_free(boot_allocate());
		_exit(0);
	}
	CHECK(boot_child_succeeded(child));
	CHECK(twin == 0 || boot_child_succeeded(twin));
	exit(0);
	return argument;
}

static void
work_beside_others(void)
{
	pthread_t rivals[RIVALS];

	for (uintptr_t i = 0; i < RIVALS; i++)
		CHECK(pthread_create(&rivals[i], NULL, boot_write_blocks, (void *)i) == 0);
	boot_write_blocks((void *)RIVALS);
	for (uintptr_t i = 0; i < RIVALS; i++)
		CHECK(pthread_join(rivals[i], NULL) == 0);
}

int
main(void)
{
	pthread_t other;

	CHECK(lab_owns != NULL);
	twin = fork(); /* does the same */
	CHECK(twin >= 0);
	for (int i = 0; i < 3; i++)
		work_beside_others();
	main_thread = pthread_self();
	allocate_all();
	CHECK(pthread_create(&other, NULL, survivor, NULL) == 0);
	pthread_exit(NULL);
}
