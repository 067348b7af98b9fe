/*
 * report.c - the reports that end a program: their text, that they end it with SIGABRT, that they do not nest, and who
 * else gets them.
 *
 * Clauses: G9.5, G9.8.
 */
#include <criterion/criterion.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/check.h"
#include "base/format.h"
#include "labyrinth/labyrinth.h"
#include "os/backtrace.h"
#include "os/os.h"
#include "trace.h"

/* Runs `act` in a child; returns what it wrote to stderr. It must have died of SIGABRT. */
static const char *
dying_words(void (*act)(void))
{
	static char words[16384];
	size_t length = 0;
	int ends[2], status;

	REQUIRE(pipe(ends) == 0);
	pid_t child = fork();
	if (child == 0) {
		signal(SIGABRT, SIG_DFL);
		dup2(ends[1], 2);
		act();
		_exit(0);
	}
	close(ends[1]);
	for (ssize_t got; (got = read(ends[0], words + length, sizeof words - 1 - length)) > 0;)
		length += (size_t)got;
	words[length] = 0;
	close(ends[0]);
	waitpid(child, &status, 0);
	REQUIRE(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
	return words;
}

/* The same without the lines of details. */
static const char *
first_lines(void (*act)(void))
{
	static char kept[1024];
	const char *words = dying_words(act), *details = "labyrinth:   ";

	kept[0] = 0;
	while (*words) {
		size_t length = strcspn(words, "\n") + 1;
		if (strncmp(words, details, strlen(details)) != 0)
			strncat(kept, words, length);
		words += length;
	}
	return kept;
}

static void
misuse(void)
{
	lab_report_misuse("free", (void *)0x1234abcd, "double free");
}

static void
damage(void)
{
	lab_report_damage((void *)0x10000, 0x10000, 48);
}

static void
misuse_again(int signal)
{
	(void)signal;
	lab_report_misuse("free", (void *)0x5678, "double free");
}

static void
misuse_in_handler(void)
{
	signal(SIGABRT, misuse_again);
	misuse();
}

static sigjmp_buf out;

static void
jump_out(int signal)
{
	(void)signal;
	siglongjmp(out, 1);
}

/* So many bytes further down the stack. */
static LAB_NOINLINE void
misuse_deeper(size_t bytes)
{
	volatile char *frame = __builtin_alloca(bytes);

	frame[0] = 0;
	misuse();
}

static void
misuse_after_jumps(void)
{
	volatile int times = 0;

	signal(SIGABRT, jump_out);
	if (sigsetjmp(out, 1) != 0)
		times = times + 1;
	if (times == 4)
		signal(SIGABRT, SIG_DFL);
	misuse_deeper((size_t)(times * 3 % 4) * 100 + 16); /* below and above where the first was */
}

static void
failed_assertion(void)
{
	lab_assert_failed("x == y", "some/file.c", 42);
}

Test(report, misuse_begins_with_one_line)
{
	cr_assert_str_eq(first_lines(misuse), "labyrinth: free(0x1234abcd): double free\n");
}

Test(report, damage_begins_with_one_line)
{
	cr_assert_str_eq(first_lines(damage),
	                 "labyrinth: heap corrupted: a freed block of this span was written to: 0x10000-0x20000, "
	                 "blocks of 48 bytes\n");
}

Test(report, a_misuse_in_the_handler_is_one_line_more)
{
	cr_assert_str_eq(first_lines(misuse_in_handler),
	                 "labyrinth: free(0x1234abcd): double free\n"
	                 "labyrinth: free(0x5678): double free, while a report is under way\n");
}

Test(report, a_report_that_a_jump_has_left_is_none_that_is_under_way)
{
	const char *words = first_lines(misuse_after_jumps), *line = "labyrinth: free(0x1234abcd): double free\n";

	for (int i = 0; i < 5; i++, words += strlen(line))
		cr_assert_eq(strncmp(words, line, strlen(line)), 0);
	cr_assert_eq(*words, 0);
}

Test(report, an_assertion_begins_with_one_line)
{
	cr_assert_str_eq(first_lines(failed_assertion), "labyrinth: assertion failed: x == y (some/file.c:42)\n");
}

/* ---- details --------------------------------------------------------------------------------------------------- */

static const uintptr_t made[] = {0x1001}, freed[] = {0x2001, 0x3001};

static void
describe(const void *p, struct lab_block_facts *facts)
{
	*facts = (struct lab_block_facts){(const char *)p - 16, 100, made, freed, 1, 2, 7, 8};
}

static void
tell(const struct lab_report *report)
{
	char buffer[200];
	struct lab_text text = lab_text_start(buffer, sizeof buffer);

	lab_text_string(&text, "told of ");
	lab_text_string(&text, report->call);
	lab_text_string(&text, report->reason);
	lab_text_number(&text, report->block.size);
	lab_text_string(&text,
	                report->frames > 0 && report->thread != 0 && lab_abort_message == report->text ? "\n" : "?");
	lab_os_write(buffer, text.length);
}

static const struct lab_report_hooks hooks = {describe, tell};

static void
misuse_with_hooks(void)
{
	lab_report_set_hooks(&hooks);
	misuse();
}

Test(report, knows_the_block_and_tells_others)
{
	const char *words = dying_words(misuse_with_hooks);

	cr_assert(strstr(words, "the block at 0x1234abbd has 100 bytes; the pointer is 16 behind its start; thread "));
	cr_assert(strstr(words, "labyrinth:   allocated by thread 7:\nlabyrinth:     #0 0x1000\n"));
	cr_assert(
	        strstr(words, "labyrinth:   freed by thread 8:\nlabyrinth:     #0 0x2000\nlabyrinth:     #1 0x3000\n"));
	cr_assert(strstr(words, "told of freedouble free100\n"));
}

static void
tell_wrongly(const struct lab_report *report)
{
	(void)report;
	lab_report_misuse("free", (void *)0x5678, "double free");
}

static const struct lab_report_hooks wrong_hooks = {describe, tell_wrongly};

static void
misuse_in_callback(void)
{
	lab_report_set_hooks(&wrong_hooks);
	misuse();
}

Test(report, a_misuse_in_the_callback_is_one_line_more)
{
	cr_assert_str_eq(first_lines(misuse_in_callback),
	                 "labyrinth: free(0x1234abcd): double free\n"
	                 "labyrinth: free(0x5678): double free, while a report is under way\n");
}

static char path[64];

static void
misuse_with_file(void)
{
	lab_report_set_file(path);
	misuse();
}

Test(report, goes_to_a_file_too)
{
	static char kept[16384];

	snprintf(path, sizeof path, "/tmp/labyrinth-report-%d", getpid());
	const char *words = dying_words(misuse_with_file);
	FILE *file = fopen(path, "r");
	REQUIRE(file != NULL);
	kept[fread(kept, 1, sizeof kept - 1, file)] = 0;
	fclose(file);
	unlink(path);
	cr_assert_str_eq(kept, words);
}

/* ---- who called ------------------------------------------------------------------------------------------------- */

static uintptr_t trace[8], expected[2];
static unsigned frames;

static LAB_NOINLINE void
innermost(void)
{
	expected[0] = (uintptr_t)__builtin_return_address(0);
	frames = lab_os_backtrace(LAB_FRAME_HERE, trace, 8, NULL);
	__asm__ volatile("");
}

static LAB_NOINLINE void
outer(void)
{
	const void *volatile frame = LAB_FRAME_HERE; /* it keeps a frame pointer, as callers need not */

	expected[1] = (uintptr_t)__builtin_return_address(0);
	innermost();
	(void)frame;
}

static void *
call_outer(void *unused)
{
	const void *volatile frame = LAB_FRAME_HERE;

	outer();
	(void)frame;
	return unused;
}

Test(report, finds_callers)
{
	(void)call_outer(NULL);
	cr_assert(frames >= 3 && trace[0] == expected[0] && trace[1] == expected[1]);
}

Test(report, finds_callers_in_a_thread)
{
	pthread_t thread;

	REQUIRE(pthread_create(&thread, NULL, call_outer, NULL) == 0);
	pthread_join(thread, NULL);
	cr_assert(frames >= 2 && trace[0] == expected[0] && trace[1] == expected[1]);
}

/* Frames of a coroutine's stack, which nobody knows: as far as its pages can be read, and no further than 256 KiB. */
Test(report, follows_frames_of_other_stacks)
{
	enum { PAGES = 80, PAGE = 4096 };
	char *stack = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uintptr_t most[PAGES];
	bool is_whole;

	REQUIRE(stack != MAP_FAILED);
	for (int i = 0; i < PAGES; i++) { /* a frame in each page */
		uintptr_t *frame = (uintptr_t *)(stack + i * PAGE + 8 * i);
		frame[0] = i < 3 ? (uintptr_t)(frame + PAGE / 8 + 1) : 0;
		frame[1] = 0x5000 + (uintptr_t)i;
	}
	cr_assert_eq(lab_os_backtrace(stack, most, PAGES, &is_whole), 4);
	cr_assert(is_whole && most[0] == 0x5000 && most[3] == 0x5003);
	cr_assert(lab_os_backtrace(stack, most, 2, &is_whole) == 2 && is_whole);
	REQUIRE(mprotect(stack + 2 * PAGE, PAGE, PROT_NONE) == 0);
	cr_assert(lab_os_backtrace(stack, most, PAGES, &is_whole) == 2 && !is_whole);
	REQUIRE(mprotect(stack + 2 * PAGE, PAGE, PROT_READ | PROT_WRITE) == 0);
	for (int i = 0; i < PAGES - 1; i++)
		*(uintptr_t *)(stack + i * PAGE + 8 * i) = (uintptr_t)(stack + (i + 1) * PAGE + 8 * (i + 1));
	cr_assert(lab_os_backtrace(stack, most, PAGES, &is_whole) == 65 && !is_whole);
}

/* What a chain of frames that the program has written over makes of it. */
Test(report, follows_no_frame_that_is_not_on_the_stack)
{
	static const uintptr_t elsewhere[2] = {0, 0x4444};
	uintptr_t frame[2] = {(uintptr_t)elsewhere, 0x5555}, low[2] = {8, 0x6666},
	          odd[2] = {(uintptr_t)frame + 3, 0x7777};

	cr_assert(lab_os_backtrace(frame, trace, 8, NULL) == 1 && trace[0] == 0x5555);
	cr_assert(lab_os_backtrace(low, trace, 8, NULL) == 1 && trace[0] == 0x6666);
	cr_assert(lab_os_backtrace(odd, trace, 8, NULL) == 1 && trace[0] == 0x7777);
	cr_assert_eq(lab_os_backtrace((void *)3, trace, 8, NULL), 0);
	void *nothing = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	REQUIRE(nothing != MAP_FAILED);
	const uintptr_t starts[] = {(uintptr_t)nothing, (uintptr_t)nothing + 4080, 0x3ff0000000000000,
	                            (uintptr_t)-1000000};
	for (int i = 0; i < 4; i++)
		cr_assert_eq(lab_os_backtrace((void *)starts[i], trace, 8, NULL), 0);
}

Test(report, names_an_address_by_its_file)
{
	char buffer[600], room[LAB_OS_NAME_ROOM];
	struct lab_text text = lab_text_start(buffer, sizeof buffer);

	lab_os_text_address(&text, (uintptr_t)outer, room);
	const char *plus = strrchr(buffer, '+');
	cr_assert(plus && strstr(buffer, "report"));
	text = lab_text_start(buffer, sizeof buffer);
	lab_os_text_address(&text, 0x123, room);
	cr_assert_str_eq(buffer, "0x123");
}

static void
do_not_assert(void)
{
	lab_assert(LAB_ASSERTS == 0);
	lab_assert(1 == 1);
	abort();
}

Test(report, a_true_assertion_says_nothing)
{
	const char *words = dying_words(do_not_assert);

	cr_assert_eq(*words != 0, LAB_ASSERTS);
}
