/* life.c - see life.h. */
#include "life.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "worker.h"

enum { STACK_SIZE = 256 * 1024 };

enum { NONE, STARTING, RUNNING, UNUSABLE, STATES = 3, STATE_BITS = 2 };
#define PARENTS (~(uint64_t)STATES | NONE) /* no process has this id */

static _Atomic uint64_t worker;
static _Atomic(const struct rcu_flavor_struct *) flavour;

/* ---- fork ------------------------------------------------------------------------------------------------------- */

/* The worker is to be outside of liburcu. Not waited for by a reader, for whom it may be waiting; nor, again, where it
 * waits for one who does not end. */
static void
before_fork(void)
{
	const struct timespec moment = {.tv_nsec = 50000};
	uint64_t start = lab_worker_now_ms();

	lab_worker_hold(true);
	while (lab_worker_is_in_grace() && lab_worker_now_ms() - start < LAB_WORKER_STALL_MS &&
	       lab_worker_grace_ms() < LAB_WORKER_STALL_MS && !lab_life_flavour()->read_ongoing())
		(void)syscall(SYS_nanosleep, &moment, NULL); /* libc's is a cancellation point */
}

static void
after_fork_in_parent(void)
{
	lab_worker_hold(false);
}

/* Other threads that were forking are not here; nor is the worker. (A child of _Fork is known by its id alone.) */
static void
after_fork_in_child(void)
{
	lab_worker_hold_no_more();
	lab_store_rlx(&worker, PARENTS);
}

/* ---- start ------------------------------------------------------------------------------------------------------ */

static uint64_t
word_of(unsigned state)
{
	return (uint64_t)(unsigned)getpid() << STATE_BITS | state;
}

static int
make_thread(const struct rcu_flavor_struct *of)
{
	pthread_attr_t attributes;
	pthread_t thread;
	int error = pthread_attr_init(&attributes);

	if (error)
		return error;
	(void)pthread_attr_setstacksize(&attributes, STACK_SIZE);
	(void)pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
	error = pthread_create(&thread, &attributes, lab_worker_run, (void *)(uintptr_t)of);
	if (!error)
		(void)pthread_setname_np(thread, "labyrinth-rcu");
	(void)pthread_attr_destroy(&attributes);
	return error;
}

/* By the one who made the word STARTING, from `before`; the state that comes of it. */
static unsigned
start(uint64_t before, const struct rcu_flavor_struct *wish, int *error)
{
	static bool is_prepared; /* in this process or an ancestor of it */

	if (before != 0 && lab_worker_is_in_grace()) { /* that of a parent is: INV-RCU-3 */
		*error = ENOTRECOVERABLE;
		return UNUSABLE;
	}
	/* Of another process, whose threads may have been forking; a child of libc's fork has been told that already,
	 * and may be forking itself. */
	if (before >> STATE_BITS != word_of(NONE) >> STATE_BITS && before != PARENTS)
		lab_worker_hold_no_more();
	lab_worker_forget();
	lab_store_rlx(&flavour, wish);
	if (!is_prepared)
		*error = pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child);
	is_prepared = *error == 0;
	if (!*error)
		*error = make_thread(wish);
	return *error ? NONE : RUNNING;
}

/* Whether nobody has to do anything: *error says how it is. */
static bool
is_settled(uint64_t word, const struct rcu_flavor_struct *wish, int *error)
{
	if (word == word_of(UNUSABLE))
		*error = ENOTRECOVERABLE;
	else if (word == word_of(RUNNING))
		*error = lab_life_flavour() == wish ? 0 : EBUSY;
	else
		return false;
	return true;
}

int
lab_life_start(const struct rcu_flavor_struct *wish)
{
	sigset_t all, before;
	int error = wish ? 0 : EINVAL;
	bool is_done = false;

	sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &before); /* the thread has them blocked, too */
	while (!error && !is_done) {
		uint64_t word = lab_load_acq(&worker); /* pairs with the rel below */
		is_done = is_settled(word, wish, &error);
		if (is_done)
			break;
		if (word == word_of(STARTING))
			(void)sched_yield();
		else if (lab_cas64(&worker, word, word_of(STARTING)))               /* pairs with the rel below */
			lab_store_rel(&worker, word_of(start(word, wish, &error))); /* pairs with the acq above */
	}
	(void)pthread_sigmask(SIG_SETMASK, &before, NULL);
	return error;
}

const struct rcu_flavor_struct *
lab_life_flavour(void)
{
	return lab_load_rlx(&flavour);
}

bool
lab_life_is_running(void)
{
	return (lab_load_rlx(&worker) & STATES) == RUNNING;
}
