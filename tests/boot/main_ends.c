/*
 * main_ends.c - the main thread leaves by pthread_exit while others go on, with its blocks; the kernel keeps its thread id until the process ends, so
 * that its heap looks alive. Others free into it, and bear and end threads of their own.
 */
#include <pthread.h>

#include "boot.h"

enum { BLOCKS = 20000, THREADS = 50 };

static void *blocks[BLOCKS];
static pthread_t main_thread;

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

	CHECK(pthread_join(main_thread, NULL) == 0);
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
	boot_say("the survivor is done\n");
	exit(0);
	return argument;
}

int
main(void)
{
	pthread_t other;

	CHECK(lab_owns != NULL);
	main_thread = pthread_self();
	for (size_t i = 0; i < BLOCKS; i++)
		CHECK((blocks[i] = malloc(i % 3000)) != NULL);
	CHECK(pthread_create(&other, NULL, survivor, NULL) == 0);
	pthread_exit(NULL);
}
