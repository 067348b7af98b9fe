/*
 * environment.c - a program without environment: environ set to NULL, cleared, and filled and emptied under load
 * (setenv and putenv give libc's own blocks up and take the program's).
 *
 * Clauses: G8.3.
 */
#include <pthread.h>
#include <stdio.h>

#include "boot.h"

enum { VARIABLES = 300, ROUNDS = 20 };

static volatile bool stop;

static void *
load(void *argument)
{
	while (!stop)
		boot_free(boot_allocate());
	return argument;
}

static void
storm(void)
{
	char name[32], value[200];
	char *strings[VARIABLES];

	for (int i = 0; i < VARIABLES; i++) {
		snprintf(name, sizeof name, "LABYRINTH_STORM_%d", i);
		snprintf(value, sizeof value, "%0*d", i % 150 + 1, i);
		CHECK(setenv(name, value, 1) == 0 && strcmp(getenv(name), value) == 0);
	}
	for (int i = 0; i < VARIABLES; i += 2) {
		CHECK(asprintf(&strings[i], "LABYRINTH_STORM_%d=put", i) > 0 && putenv(strings[i]) == 0);
		CHECK(strcmp(getenv("LABYRINTH_STORM_0"), "put") == 0);
	}
	for (int i = 0; i < VARIABLES; i++) {
		snprintf(name, sizeof name, "LABYRINTH_STORM_%d", i);
		CHECK(unsetenv(name) == 0 && !getenv(name));
		if (i % 2 == 0)
			free(strings[i]);
	}
}

int
main(void)
{
	pthread_t other;

	CHECK(lab_owns != NULL);
	boot_free(boot_allocate());
	char **saved = environ;
	environ = NULL;
	boot_free(boot_allocate());
	environ = saved;
	CHECK(pthread_create(&other, NULL, load, NULL) == 0);
	for (int i = 0; i < ROUNDS; i++) {
		storm();
		CHECK(clearenv() == 0);
	}
	stop = true;
	CHECK(pthread_join(other, NULL) == 0);
	return 0;
}
