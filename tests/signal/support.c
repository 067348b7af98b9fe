/* support.c - see support.h. */
#include "support.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

/* Blocks up to here are filled whole; larger ones at SAMPLE bytes at the start of each page, and at their end. */
enum { WHOLE = 4096, SAMPLE = 32 };

void (*library_stats)(struct lab_stats *stats);
bool (*library_set)(enum lab_param param, size_t value);
unsigned scale = 1;
const char *only = "";

const char *volatile current_scenario = "start";
volatile uintptr_t current_offset;

static const char *program = "";

/* ---- reports --------------------------------------------------------------------------------------------------- */

struct line {
	char text[512];
	size_t length;
};

static void
add_text(struct line *line, const char *text)
{
	while (*text && line->length < sizeof line->text - 1)
		line->text[line->length++] = *text++;
}

static void
add_number(struct line *line, uintptr_t number, unsigned base)
{
	char digits[32];
	size_t at = sizeof digits;

	digits[--at] = 0;
	do
		digits[--at] = "0123456789abcdef"[number % base];
	while ((number /= base) != 0);
	add_text(line, digits + at);
}

static void
write_line(int fd, struct line *line)
{
	line->text[line->length++] = '\n';
	for (size_t done = 0; done < line->length;) {
		ssize_t n = write(fd, line->text + done, line->length - done);
		if (n < 0 && errno != EINTR)
			return;
		done += n > 0 ? (size_t)n : 0;
	}
}

static void
report(const char *what, uintptr_t a, uintptr_t b)
{
	struct line line = {.length = 0};

	add_text(&line, program);
	add_text(&line, ": FAILED: ");
	add_text(&line, what);
	add_text(&line, " (0x");
	add_number(&line, a, 16);
	add_text(&line, ", 0x");
	add_number(&line, b, 16);
	add_text(&line, ") in scenario '");
	add_text(&line, current_scenario);
	add_text(&line, "', last interrupted at library+0x");
	add_number(&line, current_offset, 16);
	write_line(2, &line);
}

/* Ends the process, unless a debugger is to have a look at it. */
static _Noreturn void
stop(int status)
{
	while (getenv("SIGNAL_TEST_WAIT"))
		pause();
	_exit(status);
}

void
fail(const char *what, uintptr_t a, uintptr_t b)
{
	report(what, a, b);
	stop(1);
}

/* ---- the frame of a test --------------------------------------------------------------------------------------- */

static void
on_alarm(int number)
{
	(void)number;
	report("no progress: hang", 0, 0);
	stop(HANG_STATUS);
}

/* Says where a crash happened, and lets it happen. */
static void
on_crash(int number, siginfo_t *info, void *context)
{
	(void)context;
	report("crash: signal, address", (uintptr_t)number, (uintptr_t)info->si_addr);
	while (getenv("SIGNAL_TEST_WAIT"))
		pause();
	signal(number, SIG_DFL);
	if (number == SIGABRT)
		raise(number);
}

static void
catch_crashes(void)
{
	static char stack[65536];
	const int numbers[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT};
	struct sigaction action = {.sa_sigaction = on_crash, .sa_flags = SA_SIGINFO | SA_ONSTACK};

	/* only where the test has no alternate stack of its own is this one used: a crash by stack overflow is then
	 * reported as well */
	sigaltstack(&(stack_t){.ss_sp = stack, .ss_size = sizeof stack}, NULL);
	for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
		sigaction(numbers[i], &action, NULL);
}

static void
read_options(int argc, char **argv)
{
	program = strrchr(argv[0], '/') ? strrchr(argv[0], '/') + 1 : argv[0];
	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--scale") == 0 && i + 1 < argc && atoi(argv[i + 1]) > 0) {
			scale = (unsigned)atoi(argv[++i]);
		} else if (strcmp(argv[i], "--only") == 0 && i + 1 < argc) {
			only = argv[++i];
		} else {
			fprintf(stderr, "usage: %s [--scale N] [--only TEXT]\n", argv[0]);
			exit(2);
		}
	}
}

void
start_test(int argc, char **argv, unsigned seconds)
{
	const char *limit = getenv("SIGNAL_TEST_TIMEOUT");

	read_options(argc, argv);
	*(void **)&library_stats = dlsym(RTLD_DEFAULT, "lab_stats_get");
	*(void **)&library_set = dlsym(RTLD_DEFAULT, "lab_set_param");
	setvbuf(stdout, NULL, _IOLBF, 0);
	catch_crashes();
	signal(SIGALRM, on_alarm);
	alarm(limit ? (unsigned)atoi(limit) : seconds * scale);
}

int
end_test(void)
{
	struct lab_stats stats;

	alarm(0);
	if (library_stats) {
		library_stats(&stats);
		printf("%s: %zu re-entrant calls, %zu heaps, %zu adopted, %zu remote frees, %zu bytes in use\n",
		       program, stats.reentrant, stats.heaps, stats.adopted, stats.remote_frees, stats.in_use);
	}
	printf("%s: passed (scale %u)\n", program, scale);
	return 0;
}

uint64_t
now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* ---- blocks ---------------------------------------------------------------------------------------------------- */

static unsigned char
pattern(size_t position, unsigned seed)
{
	return (unsigned char)(position * 31 + (position >> 8) * 7 + seed * 101 + (seed >> 8) * 13 + 1);
}

/* The next position from `i` on that is filled in a block of this size. */
static size_t
next_sample(size_t i, size_t size)
{
	if (size <= WHOLE || i % WHOLE < SAMPLE || i + SAMPLE >= size)
		return i;
	size_t page = (i | (WHOLE - 1)) + 1;
	return page + SAMPLE < size ? page : size - SAMPLE;
}

static void
fill(const struct block *block)
{
	for (size_t i = 0; i < block->size; i = next_sample(i + 1, block->size))
		block->p[i] = pattern(i, block->seed);
}

struct block
block_of(void *p, size_t size)
{
	static unsigned seeds;
	struct block block = {.p = p, .size = size, .seed = __atomic_add_fetch(&seeds, 1, __ATOMIC_RELAXED)};

	if (!p)
		fail("NULL while there is memory: size", size, 0);
	if ((uintptr_t)p % (size < 16 ? 8 : 16) !=
	    0) /* what other mallocs give to the smallest is enough for these tests */
		fail("block is not aligned", (uintptr_t)p, size);
	fill(&block);
	return block;
}

void
check_block_part(const struct block *block, size_t size)
{
	for (size_t i = 0; i < size && i < block->size; i = next_sample(i + 1, block->size))
		if (block->p[i] != pattern(i, block->seed))
			fail("contents changed: block, position", (uintptr_t)block->p, i);
}

void
check_block(const struct block *block)
{
	check_block_part(block, block->size);
}

void
check_zero(const void *p, size_t size)
{
	const unsigned char *bytes = p;

	if (!p)
		fail("NULL from calloc: size", size, 0);
	if (size && (bytes[0] != 0 || memcmp(bytes, bytes + 1, size - 1) != 0))
		fail("calloc's block is not zero", (uintptr_t)p, size);
}

void
reallocated(struct block *block, void *p, size_t size)
{
	if (!p)
		fail("NULL from realloc: size", size, 0);
	block->p = p;
	check_block_part(block, size < block->size ? size : block->size);
	*block = block_of(p, size);
}

void
free_block(struct block *block)
{
	unsigned char *p = block->p;

	if (!p)
		return;
	check_block(block);
	block->p = NULL;
	free(p);
}

struct block
new_block(size_t size)
{
	return block_of(malloc(size), size);
}

void
run_again_limited(size_t bytes, char **argv)
{
	struct rlimit limit;

	REQUIRE(getrlimit(RLIMIT_AS, &limit) == 0);
	if (limit.rlim_cur == bytes)
		return;
	limit.rlim_cur = bytes;
	REQUIRE(setrlimit(RLIMIT_AS, &limit) == 0);
	execv("/proc/self/exe", argv);
	fail("cannot run itself again", (uintptr_t)errno, 0);
}

/* The n-th figure of /proc/self/statm, in bytes. Without stdio, which allocates. */
static size_t
statm(int n)
{
	char text[128] = "", *at = text;
	int file = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
	ssize_t length = file < 0 ? -1 : read(file, text, sizeof text - 1);
	size_t pages = 0;

	REQUIRE(length > 0);
	(void)close(file);
	for (int i = 0; i <= n; i++)
		pages = strtoul(at, &at, 10);
	return pages * 4096;
}

size_t
address_space(void)
{
	return statm(0);
}

size_t
resident_bytes(void)
{
	return statm(1);
}
