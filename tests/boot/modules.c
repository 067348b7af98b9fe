/*
 * modules.c - 60 modules with thread-local variables, opened from copies of one file (argument 1), half of them closed
 * while threads use the others. Their constructors and destructors allocate; what they allocated outlives them.
 *
 * Clauses: G8.3.
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/sendfile.h>
#include <sys/stat.h>

#include "boot.h"

enum { MODULES = 60, THREADS = 4 };

typedef void *module_function(void);

static void *handles[MODULES];
static module_function *functions[MODULES];
static void *gifts[MODULES];
static pthread_barrier_t half;

static void
copy(const char *from, const char *to)
{
	struct stat status;
	int in = open(from, O_RDONLY), out = open(to, O_WRONLY | O_CREAT | O_EXCL, 0700);

	CHECK(in >= 0 && out >= 0 && fstat(in, &status) == 0);
	for (off_t at = 0; at < status.st_size;)
		CHECK(sendfile(out, in, &at, (size_t)(status.st_size - at)) > 0);
	close(in);
	close(out);
}

/* Each call of a module's function gives a block that its thread-local variable kept until then. */
static void *
use(void *argument)
{
	for (int i = 0; i < MODULES; i++)
		for (int k = 0; k < 50; k++)
			free(functions[i]());
	pthread_barrier_wait(&half);
	pthread_barrier_wait(&half);
	for (int i = 1; i < MODULES; i += 2)
		for (int k = 0; k < 50; k++)
			free(functions[i]());
	return argument;
}

int
main(int argc, char **argv)
{
	char folder[] = "/tmp/labyrinth-modules-XXXXXX", path[64];
	pthread_t threads[THREADS];

	CHECK(argc == 2 && lab_owns && mkdtemp(folder));
	for (int i = 0; i < MODULES; i++) {
		CHECK(snprintf(path, sizeof path, "%s/%d.so", folder, i) > 0);
		copy(argv[1], path);
		handles[i] = dlopen(path, i % 3 ? RTLD_NOW : RTLD_NOW | RTLD_DEEPBIND);
		CHECK(unlink(path) == 0 && handles[i] != NULL);
		functions[i] = (module_function *)(uintptr_t)dlsym(handles[i], "module_exchange");
		CHECK(functions[i] && (gifts[i] = functions[i]()) && lab_owns(gifts[i]));
	}
	CHECK(rmdir(folder) == 0);
	CHECK(pthread_barrier_init(&half, NULL, THREADS + 1) == 0);
	for (int i = 0; i < THREADS; i++)
		CHECK(pthread_create(&threads[i], NULL, use, NULL) == 0);
	pthread_barrier_wait(&half);
	for (int i = 0; i < MODULES; i += 2)
		CHECK(dlclose(handles[i]) == 0);
	pthread_barrier_wait(&half);
	for (int i = 0; i < THREADS; i++)
		CHECK(pthread_join(threads[i], NULL) == 0);
	for (int i = 0; i < MODULES; i++)
		free(gifts[i]);
	return 0;
}
