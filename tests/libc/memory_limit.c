/*
 * memory_limit.c - `while (malloc(1));` under a limit ends with NULL and ENOMEM, and the process goes on.
 *
 * RLIMIT_AS counts reserved addresses too, so that the program sets it and starts itself anew: the reservation must fit
 * under it. RLIMIT_DATA counts what is made writable, so that it is set in a running process: each step of making
 * memory accessible may fail.
 *
 * Clauses: G9.2.
 */
#include "check.h"

#include <malloc.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define LIMIT    ((size_t)256 << 20)
#define TOO_MUCH (LIMIT * 2) /* a test that gets so much has no limit on it, and stops before it hurts the machine */

struct link {
	struct link *next;
};

static struct link *chain;

/* Allocates until there is no more. Returns the number of blocks. */
static size_t
exhaust(size_t size)
{
	size_t taken = 0;
	size_t count = 0;

	while (taken < TOO_MUCH) {
		struct link *link;

		errno = 0;
		link = malloc(size);
		if (!link) {
			CHECK(errno == ENOMEM);
			return count;
		}
		if (count == 0)
			CHECK(malloc_usable_size(link) >= sizeof *link);
		link->next = chain;
		chain = link;
		taken += malloc_usable_size(link);
		count++;
	}
	CHECK(!"the limit holds");
	return count;
}

static void
free_all(void)
{
	while (chain) {
		struct link *next = chain->next;

		free(chain);
		chain = next;
	}
}

/* With nothing left every entry fails in the same way, and what there is stays usable. */
static void
test_while_exhausted(void)
{
	void *block = NULL;

	for (int i = 0; i < 100; i++) {
		errno = 0;
		CHECK(malloc((size_t)8 << 20) == NULL && errno == ENOMEM);
	}
	errno = 0;
	CHECK(calloc(1, (size_t)8 << 20) == NULL && errno == ENOMEM);
	errno = 0;
	CHECK(aligned_alloc((size_t)8 << 20, (size_t)8 << 20) == NULL && errno == ENOMEM);
	CHECK(posix_memalign(&block, 64, (size_t)8 << 20) == ENOMEM);
	errno = 0;
	CHECK(realloc(chain, (size_t)16 << 20) == NULL && errno == ENOMEM); /* chain stays */
}

static void
test_goes_on(void)
{
	for (size_t size = 1; size <= (size_t)32 << 20; size *= 4) {
		void *block = malloc(size);

		CHECK(block != NULL);
		if (block)
			memset(block, 1, size);
		free(block);
	}
}

static void
test_exhaustion(void)
{
	size_t first = exhaust(1);
	size_t again;

	CHECK(first > LIMIT / 64); /* most of the memory was to be had */
	test_while_exhausted();
	free_all();
	test_goes_on();

	again = exhaust(1);
	CHECK(again > first / 10 * 9); /* nothing was lost */
	free_all();
	CHECK(exhaust(100000) > LIMIT / 100000 / 2); /* nor stuck in the other size */
	free_all();
	CHECK(exhaust(500) > LIMIT / 1000);
	free_all();
	test_goes_on();
}

static void
limit(int resource, size_t value)
{
	struct rlimit limits = {value, value};

	CHECK(setrlimit((__rlimit_resource_t)resource, &limits) == 0);
}

/* Bytes that count against RLIMIT_DATA now. */
static size_t
data_size(void)
{
	char line[200];
	size_t kib = 0;
	FILE *file = fopen("/proc/self/status", "r");

	while (file && fgets(line, sizeof line, file))
		if (sscanf(line, "VmData: %zu", &kib) == 1)
			break;
	fclose(file);
	return kib << 10;
}

/* Runs this program again with `part` as its argument, under the limits that the caller set. */
static void
run_part(char *program, const char *part)
{
	int status = -1;
	pid_t pid = fork();

	if (pid == 0) {
		char *arguments[] = {program, (char *)(uintptr_t)part,
		                     check_glibc ? (char *)(uintptr_t) "--glibc" : NULL, NULL};

		if (strcmp(part, "--as") == 0)
			limit(RLIMIT_AS, LIMIT + ((size_t)16 << 20)); /* the program itself needs less than 16 MiB */
		execv("/proc/self/exe", arguments);
		_exit(127);
	}
	CHECK_FOR(waitpid(pid, &status, 0) == pid && status == 0, part);
}

int
main(int argc, char **argv)
{
	check_begin(argc, argv);
	if (argc > 1 && strcmp(argv[1], "--as") == 0) {
		test_exhaustion();
	} else if (argc > 1 && strcmp(argv[1], "--data") == 0) {
		free(malloc(1));
		limit(RLIMIT_DATA, data_size() + LIMIT);
		test_exhaustion();
	} else {
		run_part(argv[0], "--as");
		run_part(argv[0], "--data");
	}
	return check_end();
}
