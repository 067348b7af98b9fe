/*
 * sites.c - a program whose memory is known by who has asked for it: profile.py reads the profile that it leaves.
 *
 * Each function asks in its own way. Some is freed, by another thread, in a child, or as realloc moves it.
 *
 * Clauses: G12.1, G12.4.
 */
#include <dlfcn.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#ifdef __clang__
#define SITE __attribute__((noinline))
#else
#define SITE __attribute__((noinline, noclone))
#endif

static void *volatile keep;

static void *
kept(void *p)
{
	if (!p)
		abort();
	keep = p;
	return p;
}

static SITE void *
site_malloc(size_t size)
{
	return kept(malloc(size));
}
static SITE void *
site_medium(size_t size)
{
	return kept(malloc(size));
}
static SITE void *
site_calloc(size_t size)
{
	return kept(calloc(1, size));
}
static SITE void *
site_aligned(size_t size)
{
	return kept(aligned_alloc(64, size));
}
static SITE void *
site_grown(void *p, size_t size)
{
	return kept(realloc(p, size));
}
static SITE void *
site_freed(size_t size)
{
	return kept(malloc(size));
}
static SITE void *
site_remote(size_t size)
{
	return kept(malloc(size));
}
static SITE void *
site_handler(size_t size)
{
	return kept(malloc(size));
}
static SITE void *
site_child(size_t size)
{
	return kept(malloc(size));
}

enum {
	SMALL = 20000,
	SMALL_SIZE = 200,
	MEDIUM = 1000,
	MEDIUM_SIZE = 8000,
	REMOTE = 4000,
	REMOTE_SIZE = 1000,
	GROWN = 16 << 20,
	HANDLED = 200,
	HANDLED_SIZE = 4000,
	CHILD = 1000,
	CHILD_SIZE = 3000
};

static void *
free_all(void *blocks)
{
	for (int i = 0; i < REMOTE; i++)
		free(((void **)blocks)[i]);
	return NULL;
}

static void
on_signal(int number)
{
	(void)number;
	site_handler(HANDLED_SIZE);
}

/* What the program has, is in use in the child as well. */
static void
in_child(void)
{
	pid_t child = fork();
	int status;

	if (child == 0) {
		for (int i = 0; i < CHILD; i++)
			site_child(CHILD_SIZE);
		exit(0);
	}
	if (waitpid(child, &status, 0) != child || status != 0)
		abort();
}

int
main(int argc, char **argv)
{
	static void *remote[REMOTE];
	bool (*dump)(const char *path);
	pthread_t thread;
	void *grown = NULL, *function = dlsym(RTLD_DEFAULT, "lab_profile_dump");

	for (int i = 0; i < SMALL; i++) {
		site_malloc(SMALL_SIZE);
		free(site_freed(SMALL_SIZE));
	}
	for (int i = 0; i < MEDIUM; i++) {
		site_medium(MEDIUM_SIZE);
		site_calloc(MEDIUM_SIZE);
		site_aligned(MEDIUM_SIZE);
	}
	for (size_t size = 64; size <= GROWN; size *= 2)
		grown = site_grown(grown, size);
	for (int i = 0; i < REMOTE; i++)
		remote[i] = site_remote(REMOTE_SIZE);
	if (pthread_create(&thread, NULL, free_all, remote) != 0 || pthread_join(thread, NULL) != 0)
		abort();
	signal(SIGUSR1, on_signal);
	for (int i = 0; i < HANDLED; i++)
		raise(SIGUSR1);
	if (argc > 1 && function) {
		memcpy(&dump, &function, sizeof dump);
		if (!dump(argv[1]))
			return 2;
	}
	if (getenv("SITES_SIGNAL"))
		raise(atoi(getenv("SITES_SIGNAL")));
	in_child();
	return 0;
}
