/*
 * left.c - a reader that does not end: a handler takes the read lock and leaves by a jump (for qsbr: a thread that
 * stays online). No grace period passes then: what is given waits, callers go on, and it is said on stderr, once. When
 * the reader has ended after all, all is freed.
 *
 * Clauses: G11.3.
 */
#include <fcntl.h>

#include "support.h"

#define MARK ((size_t)1 << 20)

enum { BLOCK = 4000, WAITING_CALLS = 20 };

static sigjmp_buf out;

static void
leave(int number)
{
	(void)number;
	begin_reading();
	siglongjmp(out, 1);
}

/* What was written to stderr since it was put aside. */
static char said[4096];

static size_t
read_said(int from)
{
	size_t lines = 0;
	ssize_t length = read(from, said, sizeof said - 1);

	said[length > 0 ? length : 0] = 0;
	for (const char *p = said; (p = strstr(p, "labyrinth: rcu: ")) != NULL; p++)
		lines++;
	return lines;
}

static size_t
fill_up(size_t bytes)
{
	size_t count = 0;

	for (; rcu_figures().bytes < bytes; count++)
		REQUIRE(lab_free_rcu(lab_malloc(BLOCK)));
	return count;
}

int
main(void)
{
	int ends[2], stderr_kept = dup(STDERR_FILENO);
	struct sigaction action = {.sa_handler = leave};
	size_t count;

	rcu_register_thread();
	if (IS_QSBR)
		rcu_thread_offline();
	REQUIRE(lab_rcu_start(&rcu_flavor));
	lab_rcu_set_mark(MARK);
	REQUIRE(sigaction(SIGUSR2, &action, NULL) == 0);
	if (sigsetjmp(out, 1) == 0)
		raise(SIGUSR2);
	REQUIRE(rcu_read_ongoing());
	REQUIRE(pipe2(ends, O_NONBLOCK) == 0 && dup2(ends[1], STDERR_FILENO) >= 0);

	count = fill_up(MARK / 2);
	sleep_ms(1500);
	count += fill_up(2 * MARK); /* memory grows, by callers that go on */
	for (unsigned i = 0; i < WAITING_CALLS; i++, count++)
		lab_free_rcu_wait(lab_malloc(BLOCK)); /* a reader's call does not wait for itself */
	size_t lines = read_said(ends[0]);
	REQUIRE(dup2(stderr_kept, STDERR_FILENO) >= 0);
	fprintf(stderr, "%s", said);
	REQUIRE(lines == 1 && strstr(said, "and a reader has not ended for "));
	REQUIRE(rcu_figures().freed == 0 && rcu_figures().blocks == count && rcu_figures().stalls == 1);
	if (!IS_QSBR)
		REQUIRE(!lab_rcu_barrier() && errno == EDEADLK);

	end_reading();
	REQUIRE(lab_rcu_barrier());
	REQUIRE(rcu_figures().blocks == 0 && rcu_figures().freed == count);
	rcu_unregister_thread();
	return 0;
}
