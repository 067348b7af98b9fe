/* cmd_replay.c - `labyrinth replay`: plays a trace on several allocators, in turn, and compares what each took. */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <jansson.h>

#include "../bench/trace.h"
#include "library.h"
#include "tool.h"

#define PLAYER "play"

enum { ROUNDS = 5, ROUNDS_MAX = 1000, TIMEOUT = 300, KEY_TIMEOUT = 256 };

/* A malloc on which the trace is played. */
struct allocator {
	const char *name;
	const char *path; /* what is preloaded; NULL: nothing */
	char *failure;    /* of the first run that failed; or NULL */
	double *seconds;  /* of each round */
	double *kib;      /* the most that was resident, beyond what was before the trace was played */
	size_t count;
};

struct replay {
	const char *trace, *player;
	struct allocator *allocators;
	size_t count;
	unsigned rounds, timeout;
	bool peers, json;
};

static void
add(struct replay *replay, const char *name, const char *path)
{
	*APPEND(replay->allocators, replay->count) = (struct allocator){.name = name, .path = path};
}

/* ---- arguments ---- */

static void
add_named(struct replay *replay, char *text, struct argp_state *state)
{
	char *path = strchr(text, '=');

	if (!path || path == text || !path[1])
		argp_error(state, "--alloc %s: it is to be NAME=FILE", text);
	*path++ = 0;
	char *real = realpath(path, NULL);
	if (!real)
		argp_error(state, "--alloc %s=%s: %s", text, path, strerror(errno));
	add(replay, text, real);
}

static unsigned
number(const char *option, const char *text, unsigned most, struct argp_state *state)
{
	char *end;
	unsigned long value = strtoul(text, &end, 10);

	if (!isdigit((unsigned char)*text) || *end || value == 0 || value > most)
		argp_error(state, "--%s %s: a number from 1 to %u", option, text, most);
	return (unsigned)value;
}

static error_t
parse(int key, char *argument, struct argp_state *state)
{
	struct replay *replay = state->input;

	switch (key) {
	case 'a':
		add_named(replay, argument, state);
		return 0;
	case 'p':
		replay->peers = true;
		return 0;
	case 'n':
		replay->rounds = number("rounds", argument, ROUNDS_MAX, state);
		return 0;
	case KEY_TIMEOUT:
		replay->timeout = number("timeout", argument, 1000000, state);
		return 0;
	case 'j':
		replay->json = true;
		return 0;
	case ARGP_KEY_ARG:
		if (replay->trace)
			argp_error(state, "one trace");
		replay->trace = argument;
		return 0;
	case ARGP_KEY_END:
		if (!replay->trace)
			argp_error(state, "which trace?");
		return 0;
	}
	return ARGP_ERR_UNKNOWN;
}

/* Allocators that the loader finds by name are those that are installed. */
static void
add_peers(struct replay *replay)
{
	static const struct {
		const char *name, *soname;
	} peers[] = {
	        {"jemalloc", "libjemalloc.so.2"},
	        {"mimalloc", "libmimalloc.so.2"},
	        {"tcmalloc", "libtcmalloc_minimal.so.4"},
	        {"tbb", "libtbbmalloc_proxy.so.2"},
	};

	for (size_t i = 0; i < sizeof peers / sizeof *peers; i++) {
		char *path = library_find_system(peers[i].soname);
		if (path)
			add(replay, peers[i].name, path);
	}
}

/* ---- a run ---- */

/* This process's, but for LD_PRELOAD, which is `preload` ("LD_PRELOAD=..."), or nothing for NULL. To be freed. */
static char **
environment_with(char *preload)
{
	char **environment = NULL;
	size_t count = 0;

	for (char **variable = environ; *variable; variable++)
		if (strncmp(*variable, "LD_PRELOAD=", strlen("LD_PRELOAD=")) != 0)
			*APPEND(environment, count) = *variable;
	if (preload)
		*APPEND(environment, count) = preload;
	*APPEND(environment, count) = NULL;
	return environment;
}

static double
now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

/* What comes out of a pipe, up to its end or the moment `end`; what is beyond the buffer is dropped. False: it was the
 * moment. */
static bool
read_until(int descriptor, double end, char *buffer, size_t size)
{
	char drop[256];
	size_t used = 0;
	ssize_t got;

	for (;;) {
		struct pollfd wanted = {.fd = descriptor, .events = POLLIN};
		double left = end - now();
		if (left <= 0)
			return false;
		int ready = poll(&wanted, 1, (int)(left * 1000) + 1);
		if (ready <= 0)
			continue;
		bool full = used == size - 1;
		got = read(descriptor, full ? drop : buffer + used, full ? sizeof drop : size - 1 - used);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			break;
		used += full ? 0 : (size_t)got;
	}
	buffer[used] = 0;
	return true;
}

static void
fail(struct allocator *allocator, char *why)
{
	allocator->failure = why;
}

/* Whether the player's malloc was that of the library that was preloaded, under the name by which it was. */
static bool
is_of(const char *path, const char *text)
{
	const char *shown = strstr(text, "malloc_of "), *named = path && shown ? strstr(shown, path) : NULL;

	return !path || (named && named[strlen(path)] == '\n');
}

static void
note_result(struct allocator *allocator, int status, const char *text)
{
	const char *time = strstr(text, " seconds "), *most = strstr(text, "peak_kib ");
	double seconds, kib;

	if (WIFSIGNALED(status)) {
		fail(allocator, print_text("ended by signal %d (%s)", WTERMSIG(status), strsignal(WTERMSIG(status))));
	} else if (WEXITSTATUS(status) != 0) {
		fail(allocator, print_text("exit status %d", WEXITSTATUS(status)));
	} else if (!time || !most || sscanf(time, " seconds %lf", &seconds) != 1 ||
	           sscanf(most, "peak_kib %lf", &kib) != 1) {
		fail(allocator, print_text("the player says nothing"));
	} else if (!is_of(allocator->path, text)) {
		fail(allocator, print_text("cannot be preloaded, or has no malloc: %s", allocator->path));
	} else {
		allocator->seconds[allocator->count] = seconds;
		allocator->kib[allocator->count++] = kib;
	}
}

static void
run(const struct replay *replay, struct allocator *allocator)
{
	char *const command[] = {(char *)(uintptr_t)replay->player, (char *)(uintptr_t)replay->trace, NULL};
	char *preload = allocator->path ? print_text("LD_PRELOAD=%s", allocator->path) : NULL;
	char **environment = environment_with(preload), text[1024];
	posix_spawn_file_actions_t actions;
	int ends[2], status = 0;
	pid_t child;

	if (pipe2(ends, O_CLOEXEC) != 0) {
		fail(allocator, print_text("pipe: %s", strerror(errno)));
		free(environment);
		free(preload);
		return;
	}
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
	int error = posix_spawn(&child, replay->player, &actions, NULL, command, environment);
	posix_spawn_file_actions_destroy(&actions);
	close(ends[1]);
	if (error) {
		fail(allocator, print_text("%s: %s", replay->player, strerror(error)));
	} else {
		bool ended = read_until(ends[0], now() + replay->timeout, text, sizeof text);
		if (!ended)
			kill(child, SIGKILL);
		while (waitpid(child, &status, 0) < 0 && errno == EINTR)
			;
		if (ended)
			note_result(allocator, status, text);
		else
			fail(allocator, print_text("not at its end after %u s", replay->timeout));
	}
	close(ends[0]);
	free(environment);
	free(preload);
}

/* ---- results ---- */

static int
compare(const void *left, const void *right)
{
	double a = *(const double *)left, b = *(const double *)right;

	return (a > b) - (a < b);
}

static double
median(double *values, size_t count)
{
	qsort(values, count, sizeof *values, compare);
	return count % 2 ? values[count / 2] : (values[count / 2 - 1] + values[count / 2]) / 2;
}

static void
print_table(const struct replay *replay)
{
	double first_seconds = 0, first_kib = 0;

	printf("%-16s %12s %7s %12s %7s\n", "# allocator", "seconds", "ratio", "most memory", "ratio");
	for (size_t i = 0; i < replay->count; i++) {
		const struct allocator *allocator = &replay->allocators[i];
		if (allocator->failure) {
			printf("%-16s %s\n", allocator->name, allocator->failure);
			continue;
		}
		double seconds = median(allocator->seconds, allocator->count);
		double kib = median(allocator->kib, allocator->count);
		if (first_seconds == 0) {
			first_seconds = seconds;
			first_kib = kib;
		}
		printf("%-16s %12.4f %7.2f %12s %7.2f\n", allocator->name, seconds, seconds / first_seconds,
		       human_bytes((uint64_t)(kib * 1024)), kib / (first_kib > 0 ? first_kib : 1));
	}
}

static json_t *
array_of(const double *values, size_t count)
{
	json_t *array = json_array();

	for (size_t i = 0; i < count; i++)
		json_array_append_new(array, json_real(values[i]));
	return array;
}

static void
print_json(const struct replay *replay)
{
	json_t *list = json_array();

	for (size_t i = 0; i < replay->count; i++) {
		const struct allocator *allocator = &replay->allocators[i];
		json_array_append_new(list, json_pack("{s:s, s:s?, s:s?, s:o, s:o}", "name", allocator->name, "path",
		                                      allocator->path, "failure", allocator->failure, "seconds",
		                                      array_of(allocator->seconds, allocator->count), "peak_kib",
		                                      array_of(allocator->kib, allocator->count)));
	}
	json_dumpf(list, stdout, JSON_INDENT(2));
	putchar('\n');
	json_decref(list);
}

/* False, after a line: it cannot be read, or is none. */
static bool
is_trace(const char *path)
{
	char magic[sizeof TRACE_MAGIC - 1];
	FILE *file = fopen(path, "re");
	bool is_one = file && fread(magic, 1, sizeof magic, file) == sizeof magic &&
	              memcmp(magic, TRACE_MAGIC, sizeof magic) == 0;

	if (!file)
		(void)complain("%s: %s", path, strerror(errno));
	else if (!is_one)
		(void)complain("%s is no trace, which `labyrinth trace' writes", path);
	if (file)
		fclose(file);
	return is_one;
}

/* In rounds: a machine that becomes slower meanwhile does so for all. One that has failed is not run again. */
static bool
play(struct replay *replay)
{
	bool any = false;

	for (size_t i = 0; i < replay->count; i++) {
		replay->allocators[i].seconds = allocate(replay->rounds * sizeof(double));
		replay->allocators[i].kib = allocate(replay->rounds * sizeof(double));
	}
	for (unsigned round = 0; round < replay->rounds; round++)
		for (size_t i = 0; i < replay->count; i++)
			if (!replay->allocators[i].failure)
				run(replay, &replay->allocators[i]);
	for (size_t i = 0; i < replay->count; i++)
		any |= !replay->allocators[i].failure;
	return any;
}

int
cmd_replay(int argc, char **argv)
{
	static const struct argp_option options[] = {
	        {"alloc", 'a', "NAME=FILE", 0, "Also on this library, under this name; may be repeated", 0},
	        {"peers", 'p', NULL, 0, "Also on jemalloc, mimalloc, tcmalloc and TBB, where they are installed", 0},
	        {"rounds", 'n', "N", 0, "So many runs on each, in turn; medians are printed (default 5)", 0},
	        {"timeout", KEY_TIMEOUT, "SECONDS", 0, "The longest run (default 300)", 0},
	        {"json", 'j', NULL, 0, "Print all runs as JSON", 0},
	        {0},
	};
	static const char doc[] =
	        "Makes the allocations that `labyrinth trace' has recorded again, as fast as it can, on Labyrinth, "
	        "on libc's malloc and on others: each thread of the program is a thread, and blocks go from one to "
	        "another as they did. The first and last word of each block are checked.\v"
	        "Ratios are to the first that worked. Memory is the most that was resident beyond what the player "
	        "holds. Exit status: 0 if one of them worked, 1 if none did.";
	static const struct argp argp = {options, parse, "TRACE", doc, NULL, NULL, NULL};
	struct replay replay = {.rounds = ROUNDS, .timeout = TIMEOUT};
	char *library = library_find();

	if (library)
		add(&replay, "labyrinth", library);
	add(&replay, "libc", NULL);
	argp_parse(&argp, argc, argv, 0, NULL, &replay);
	if (replay.peers)
		add_peers(&replay);
	replay.player = library_find_bench(PLAYER);
	if (!replay.player || !is_trace(replay.trace))
		return EXIT_NO;
	bool any = play(&replay);
	if (replay.json)
		print_json(&replay);
	else
		print_table(&replay);
	return any ? EXIT_OK : EXIT_NO;
}
