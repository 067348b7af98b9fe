/*
 * scenes_misuse.c - what programs do wrong, each in a child, which the report ends while it is interrupted: see
 * scenes_kinds.h. (What the line says is tests/libc/misuse.c's.)
 */
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "atomic_tier.h"
#include "calls.h"
#include "scenes_kinds.h"

/* From here on the pointer is not what the compiler knows. */
static void *
opaque(void *p)
{
	__asm__ volatile("" : "+r"(p));
	return p;
}

static void
twice(size_t size)
{
	void *p = malloc(size);

	free(p);
	free(opaque(p));
}

static void
into_the_middle(size_t size)
{
	char *p = malloc(size);

	free(opaque(p + size / 2 / 16 * 16));
}

static void
into_the_middle_resized(size_t size)
{
	char *p = malloc(size);

	p = realloc(opaque(p + size / 2 / 16 * 16), 2 * size);
	free(opaque(p));
}

static void
usable_size_of_the_middle(size_t size)
{
	char *p = malloc(size);

	(void)malloc_usable_size(opaque(p + size / 2 / 16 * 16));
}

static void
not_of_the_heap(size_t size)
{
	static char foreign[64];

	(void)size;
	free(opaque(foreign + 16));
}

static void
written_after_free(size_t size)
{
	enum { COUNT = 8 };
	unsigned char *p[COUNT];

	for (int i = 0; i < COUNT; i++)
		p[i] = malloc(size);
	for (int i = 0; i < COUNT; i++)
		free(p[i]);
	for (int i = 0; i < COUNT; i++)
		memset(opaque(p[i]), 0xfd, 16);
	for (int i = 0; i < 4000; i++)
		p[0] = opaque(malloc(size));
}

static void *
free_and_damage(void *block)
{
	free(block);
	free(malloc(50000)); /* sends what waits to be sent */
	memset(opaque(block), 0xfd, 16);
	return NULL;
}

static void *
free_it(void *block)
{
	free(block);
	return NULL;
}

static void
elsewhere(void *(*what)(void *), void *block)
{
	pthread_t thread;

	REQUIRE(pthread_create(&thread, NULL, what, block) == 0);
	REQUIRE(pthread_join(thread, NULL) == 0);
}

/* The heap's own thread finds it. */
static void
written_after_free_elsewhere(size_t size)
{
	void *first = malloc(size), *second = malloc(size);

	elsewhere(free_it, first);
	elsewhere(free_and_damage, second);
	for (int i = 0; i < 4000; i++)
		first = opaque(malloc(size));
}

static void
twice_elsewhere(size_t size)
{
	void *p = malloc(size);

	free(p);
	elsewhere(free_it, opaque(p));
	for (int i = 0; i < 4000; i++)
		p = opaque(malloc(size));
}

static void
exclusive_twice(size_t size)
{
	void *p = tier.alloc(size, LAB_GFP_EXCLUSIVE);

	free(p);
	free(opaque(p));
}

static void
exclusive_elsewhere(size_t size)
{
	void *p = tier.alloc(size, LAB_GFP_EXCLUSIVE);

	elsewhere(free_it, p);
}

static const struct {
	void (*run)(size_t size);
	bool is_only_seen; /* it is answered, not reported */
} misuses[] = {
        {twice, false},
        {into_the_middle, false},
        {into_the_middle_resized, false},
        {usable_size_of_the_middle, false},
        {not_of_the_heap, false},
        {written_after_free, true}, /* larger blocks have no link */
        {written_after_free_elsewhere, true},
        {twice_elsewhere, true}, /* the block may have been given out again in between, by a handler */
        {exclusive_twice, false},
        {exclusive_elsewhere, false},
};

static _Noreturn void
misuse(void (*run)(size_t size), size_t size)
{
	int output = open("/dev/null", O_WRONLY | O_CLOEXEC);

	alarm(200);
	signal(SIGABRT, SIG_DFL);
	REQUIRE(output >= 0 && dup2(output, STDERR_FILENO) == STDERR_FILENO);
	run(size);
	_exit(0);
}

void
scene_misuse(void)
{
	static const size_t sizes[] = {48, 1500, 20 * KIB, 100 * KIB, 5 * MIB};

	for (size_t m = 0; m < sizeof misuses / sizeof *misuses; m++)
		for (int i = 0; i < 5; i++) {
			int status;
			pid_t child = fork();
			REQUIRE(child >= 0);
			if (child == 0)
				misuse(misuses[m].run, sizes[i]);
			while (waitpid(child, &status, 0) < 0)
				REQUIRE(errno == EINTR);
			if (!(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT) &&
			    !(misuses[m].is_only_seen && status == 0))
				fail("a misuse has ended otherwise: status, which", (uintptr_t)status, m);
		}
}
