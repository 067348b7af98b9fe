/*
 * signals.c - a program that replaces every signal handler and blocks every signal: neither is changed by the library,
 * no handler ever runs (the library asks the kernel about threads with signal 0, which sends nothing), and everything
 * works.
 */
#include <pthread.h>
#include <signal.h>

#include "boot.h"

enum { SIGNALS = 64 };

static volatile sig_atomic_t handled;

static void
handler(int signal)
{
	(void)signal;
	handled++;
}

/* Of all that the kernel has; libc keeps two for itself. */
static bool
all_blocked(void)
{
	sigset_t mask;

	CHECK(pthread_sigmask(SIG_SETMASK, NULL, &mask) == 0);
	for (int i = 1; i <= SIGNALS; i++)
		if (i != SIGKILL && i != SIGSTOP && (i < 32 || i >= SIGRTMIN) && sigismember(&mask, i) != 1)
			return false;
	return true;
}

static bool
all_replaced(void)
{
	struct sigaction action;

	for (int i = 1; i <= SIGNALS; i++)
		if (sigaction(i, NULL, &action) == 0 && i != SIGKILL && i != SIGSTOP && action.sa_handler != handler)
			return false;
	return true;
}

static void *
thread(void *kept)
{
	boot_free(kept);
	CHECK(all_blocked());
	return boot_allocate();
}

int
main(void)
{
	struct sigaction action = {.sa_handler = handler};
	sigset_t all;
	pthread_t other;
	void *kept;

	CHECK(lab_owns != NULL);
	sigfillset(&action.sa_mask);
	for (int i = 1; i <= SIGNALS; i++)
		(void)sigaction(i, &action, NULL);
	sigfillset(&all);
	CHECK(pthread_sigmask(SIG_SETMASK, &all, NULL) == 0);
	for (int i = 0; i < 200; i++) { /* many deaths: each new thread asks after the old ones */
		CHECK(pthread_create(&other, NULL, thread, boot_allocate()) == 0);
		CHECK(pthread_join(other, &kept) == 0);
		boot_free(kept);
	}
	pid_t child = fork();
	if (child == 0) {
		boot_free(boot_allocate());
		_exit(all_blocked() && all_replaced() && handled == 0 ? 0 : 1);
	}
	CHECK(child > 0);
	int status;
	CHECK(waitpid(child, &status, 0) == child && status == 0);
	CHECK(all_blocked() && all_replaced());
	sigset_t pending;
	CHECK(sigpending(&pending) == 0);
	sigdelset(&pending, SIGCHLD);
	CHECK(sigisemptyset(&pending) && handled == 0);
	return 0;
}
