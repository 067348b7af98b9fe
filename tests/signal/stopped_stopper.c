/*
 * stopped_stopper.c - see stopped.h. A thread is stopped by ptrace from the outside: no frame of a handler lies on its
 * stack, and no thread of its process does anything for it. Only the one thread is traced, and only while it is
 * stopped, as a step by ptrace costs up to 60 us (two processes take turns), one by the trap flag 1 us.
 */
#include "stopped.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

enum request { NOTHING, STOP, RELEASE };

/* Between the two processes. */
static struct {
	sem_t request, reply;
	enum request what;
	pid_t tid;
	uintptr_t address;
	bool done;
} * shared;

extern const char stopper_spin_end[];

__asm__(".text\n"
        ".globl stopper_spin\n"
        ".globl stopper_spin_end\n"
        "stopper_spin:\n"
        "	pause\n"
        "	jmp stopper_spin\n"
        "stopper_spin_end:\n");

static void
on_child(int number)
{
	int saved = errno;

	(void)number;
	sem_post(&shared->request);
	errno = saved;
}

/* Puts the stopped thread where it would be, if it spins. A stop may come before it has left its handler: false. */
static bool
put_in_place(pid_t tid, uintptr_t address)
{
	struct user_regs_struct registers;

	if (ptrace(PTRACE_GETREGS, tid, NULL, &registers) != 0)
		return false;
	if (registers.rip - (uintptr_t)stopper_spin >= (uintptr_t)stopper_spin_end - (uintptr_t)stopper_spin)
		return false;
	registers.rip = address;
	return ptrace(PTRACE_SETREGS, tid, NULL, &registers) == 0;
}

static bool
stop(pid_t tid, uintptr_t address)
{
	int status;

	if (ptrace(PTRACE_SEIZE, tid, NULL, NULL) != 0)
		return false;
	for (;;) {
		if (ptrace(PTRACE_INTERRUPT, tid, NULL, NULL) != 0 || waitpid(tid, &status, __WALL) != tid ||
		    !WIFSTOPPED(status))
			return false;
		if (put_in_place(tid, address))
			return true;
		(void)ptrace(PTRACE_CONT, tid, NULL, NULL);
		sched_yield();
	}
}

static void
serve(void)
{
	enum request what = shared->what;

	if (what == NOTHING)
		return; /* woken by SIGCHLD */
	shared->what = NOTHING;
	if (what == STOP)
		shared->done = stop(shared->tid, shared->address);
	else
		shared->done = ptrace(PTRACE_DETACH, shared->tid, NULL, NULL) == 0;
	sem_post(&shared->reply);
}

/* A thread that dies while it is traced is waited for as well: until then its process does not count as ended. */
static bool
has_ended(pid_t child, int *status)
{
	pid_t ended;

	while ((ended = waitpid(-1, status, __WALL | WNOHANG)) > 0)
		if (ended == child)
			return true;
	return false;
}

bool
stopper_fork(int *status)
{
	struct sigaction action = {.sa_handler = on_child};

	if (!shared) {
		shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
		REQUIRE(shared != MAP_FAILED);
	}
	REQUIRE(sem_init(&shared->request, 1, 0) == 0 && sem_init(&shared->reply, 1, 0) == 0);
	shared->what = NOTHING;
	REQUIRE(sigaction(SIGCHLD, &action, NULL) == 0);
	pid_t child = fork();
	REQUIRE(child >= 0);
	if (child == 0) {
		signal(SIGCHLD, SIG_DFL);
		REQUIRE(prctl(PR_SET_PDEATHSIG, SIGKILL) == 0);
		return true;
	}
	while (!has_ended(child, status)) {
		sem_wait(&shared->request);
		serve();
	}
	return false;
}

static bool
ask(enum request what)
{
	shared->what = what;
	sem_post(&shared->request);
	await(&shared->reply, "the stopper does not answer");
	return shared->done;
}

bool
stopper_stop(pid_t tid, uintptr_t address)
{
	shared->tid = tid;
	shared->address = address;
	return ask(STOP);
}

void
stopper_release(void)
{
	REQUIRE(ask(RELEASE));
}
