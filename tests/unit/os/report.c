/*
 * report.c - the lines that end a program: their text, that they end it with SIGABRT, and that they do not nest.
 *
 * Clauses: G9.5.
 */
#include <criterion/criterion.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/check.h"
#include "trace.h"

/* Runs `act` in a child; returns what it wrote to stderr. It must have died of SIGABRT. */
static const char *
dying_words(void (*act)(void))
{
	static char words[512];
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

Test(report, misuse_is_one_line)
{
	cr_assert_str_eq(dying_words(misuse), "labyrinth: free(0x1234abcd): double free\n");
}

Test(report, damage_is_one_line)
{
	cr_assert_str_eq(dying_words(damage),
	                 "labyrinth: heap corrupted: a freed block of this span was written to: 0x10000-0x20000, "
	                 "blocks of 48 bytes\n");
}

Test(report, a_misuse_in_the_handler_is_one_line_more)
{
	cr_assert_str_eq(dying_words(misuse_in_handler),
	                 "labyrinth: free(0x1234abcd): double free\n"
	                 "labyrinth: free(0x5678): double free, while a report is under way\n");
}

Test(report, a_report_that_a_jump_has_left_is_none_that_is_under_way)
{
	const char *words = dying_words(misuse_after_jumps), *line = "labyrinth: free(0x1234abcd): double free\n";

	for (int i = 0; i < 5; i++, words += strlen(line))
		cr_assert_eq(strncmp(words, line, strlen(line)), 0);
	cr_assert_eq(*words, 0);
}

Test(report, an_assertion_is_one_line)
{
	cr_assert_str_eq(dying_words(failed_assertion), "labyrinth: assertion failed: x == y (some/file.c:42)\n");
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
