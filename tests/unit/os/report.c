/* report.c - the lines that end a program: their text, and that they end it with SIGABRT. */
#include <criterion/criterion.h>
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
failed_assertion(void)
{
	lab_assert_failed("x == y", "some/file.c", 42);
}

Test(report, misuse_is_one_line)
{
	cr_assert_str_eq(dying_words(misuse), "labyrinth: free(0x1234abcd): double free\n");
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
