/*
 * late.c - liblabyrinth.so (argument 1) opened by a program that runs on glibc's malloc: its names are not taken, its
 * lab_ functions work, its static TLS fits into what the loader has left, and it can be closed (which does nothing) and
 * opened again. Also in a namespace of its own.
 *
 * Clauses: G8.3.
 */
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>

#include "boot.h"

struct late {
	void *handle;
	void *(*malloc)(size_t size);
	void (*free)(void *block);
	bool (*owns)(const void *p);
};

static struct late
bind(void *handle)
{
	if (!handle)
		boot_say(dlerror());
	CHECK(handle != NULL);
	struct late late = {
	        .handle = handle,
	        .malloc = (void *(*)(size_t))(uintptr_t)dlsym(handle, "lab_malloc"),
	        .free = (void (*)(void *))(uintptr_t)dlsym(handle, "lab_free"),
	        .owns = (bool (*)(const void *))(uintptr_t)dlsym(handle, "lab_owns"),
	};
	CHECK(late.malloc && late.free && late.owns);
	return late;
}

static void
use(const struct late *late)
{
	void *block = late->malloc(100), *large = late->malloc(5000000), *libc = malloc(100);

	CHECK(block && large && libc && late->owns(block) && late->owns(large) && !late->owns(libc));
	memset(large, 1, 5000000);
	late->free(block);
	late->free(large);
	free(libc);
}

static void *
use_in_thread(void *late)
{
	for (int i = 0; i < 100; i++)
		use(late);
	return NULL;
}

/* Threads that are older than the library, too: their static TLS is set up when it is opened. */
static void
use_everywhere(struct late *late)
{
	pthread_t threads[4];

	use(late);
	for (size_t i = 0; i < LENGTH(threads); i++)
		CHECK(pthread_create(&threads[i], NULL, use_in_thread, late) == 0);
	for (size_t i = 0; i < LENGTH(threads); i++)
		CHECK(pthread_join(threads[i], NULL) == 0);
	pid_t child = fork();
	if (child == 0) {
		use(late);
		_exit(0);
	}
	CHECK(boot_child_succeeded(child));
}

static pthread_barrier_t opened;

static void *
older_thread(void *late)
{
	void *block = malloc(10);

	pthread_barrier_wait(&opened);
	pthread_barrier_wait(&opened);
	free(block);
	return use_in_thread(late);
}

int
main(int argc, char **argv)
{
	static struct late late;
	pthread_t older;

	CHECK(argc == 2 && !lab_owns);
	CHECK(pthread_barrier_init(&opened, NULL, 2) == 0);
	CHECK(pthread_create(&older, NULL, older_thread, &late) == 0);
	pthread_barrier_wait(&opened);
	late = bind(dlopen(argv[1], RTLD_NOW | RTLD_LOCAL));
	pthread_barrier_wait(&opened);
	CHECK(pthread_join(older, NULL) == 0);
	use_everywhere(&late);
	for (int i = 0; i < 3; i++) { /* blocks outlive the handle, and so does the background thread */
		void *kept = late.malloc(1000);
		CHECK(dlclose(late.handle) == 0);
		usleep(150000);
		pid_t child = fork();
		if (child == 0)
			_exit(0);
		CHECK(boot_child_succeeded(child));
		late = bind(dlopen(argv[1], RTLD_NOW | (i == 1 ? RTLD_GLOBAL : RTLD_LOCAL)));
		CHECK(late.owns(kept));
		late.free(kept);
		use_everywhere(&late);
	}
	struct late other = bind(dlmopen(LM_ID_NEWLM, argv[1], RTLD_NOW));
	CHECK(other.malloc != late.malloc);
	void *block = other.malloc(100);
	CHECK(other.owns(block) && !late.owns(block));
	other.free(block);
	use(&other);
	return 0;
}
