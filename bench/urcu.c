/*
 * urcu.c - one question to one flavour of liburcu, for urcu.sh, which compiles it for each of them (URCU: the header). Prints the answer.
 *
 * usage: urcu keys | membarrier | jump | handler | fork | start LIBRARY PAIRS
 */
#include <errno.h>
#include <limits.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <spawn.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include URCU

enum { SECONDS = 2 };

/* ---- bounded: each question is asked in a child -------------------------------------------------------------------------------- */

/* What becomes of a child that has so many seconds for it: killed from outside, as it may have blocked all signals. */
static const char *
outcome(void (*act)(void))
{
	static char text[64];
	int status, left = SECONDS * 100;
	pid_t child = fork();

	if (child == 0) {
		(void)setpgid(0, 0);
		act();
		_exit(0);
	}
	while (waitpid(child, &status, WNOHANG) == 0 && left-- > 0)
		(void)usleep(10 * 1000);
	(void)kill(-child, SIGKILL);
	if (left < 0)
		return "hangs";
	if (WIFSIGNALED(status))
		(void)snprintf(text, sizeof text, "dies of signal %d", WTERMSIG(status));
	else
		(void)snprintf(text, sizeof text, status ? "fails with status %d" : "goes on", WEXITSTATUS(status));
	return text;
}

/* ---- keys ------------------------------------------------------------------------------------------------------------------------ */

static int
free_keys(void)
{
	static pthread_key_t keys[PTHREAD_KEYS_MAX];
	int count = 0;

	while (count < PTHREAD_KEYS_MAX && pthread_key_create(&keys[count], NULL) == 0)
		count++;
	for (int i = 0; i < count; i++)
		(void)pthread_key_delete(keys[i]);
	return count;
}

static void
print_keys(void)
{
	rcu_register_thread();
	rcu_read_lock();
	rcu_read_unlock();
	int with = free_keys();
	printf("%d", PTHREAD_KEYS_MAX - with);
}

/* ---- membarrier is denied ---------------------------------------------------------------------------------------------------------- */

static void
read_and_wait(void)
{
	rcu_register_thread();
	rcu_read_lock();
	rcu_read_unlock();
	synchronize_rcu();
	rcu_unregister_thread();
}

/* After the library's constructor has asked what there is, as filters are set by programs themselves. */
static void
deny_and_wait(void)
{
	static struct sock_filter code[] = {
	        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
	        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_membarrier, 0, 1),
	        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
	        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = {sizeof code / sizeof *code, code};

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0)
		_exit(77);
	read_and_wait();
}

/* ---- a reader is left by a jump ------------------------------------------------------------------------------------------------------ */

static sigjmp_buf target;

static void
leave(int number)
{
	(void)number;
	siglongjmp(target, 1);
}

static void *
wait_for_readers(void *unused)
{
	rcu_register_thread();
	synchronize_rcu();
	_exit(0);
	return unused;
}

static void
jump_out_of_reader(void)
{
	pthread_t thread;

	rcu_register_thread();
	(void)signal(SIGUSR1, leave);
	if (sigsetjmp(target, 1) == 0) {
		rcu_read_lock();
		(void)raise(SIGUSR1);
	}
	(void)pthread_create(&thread, NULL, wait_for_readers, NULL);
	(void)pthread_join(thread, NULL);
}

/* ---- a handler trims while its thread does -------------------------------------------------------------------------------------------- */

static _Atomic int reading;

static void *
read_for_long(void *unused)
{
	rcu_register_thread();
	rcu_read_lock();
	reading = 1;
	(void)usleep(200 * 1000);
	rcu_read_unlock();
	rcu_unregister_thread();
	return unused;
}

static void
wait_in_handler(int number)
{
	(void)number;
	synchronize_rcu();
}

static void *
interrupt(void *thread)
{
	(void)usleep(100 * 1000);
	(void)pthread_kill(*(pthread_t *)thread, SIGUSR1);
	return NULL;
}

static void
handler_waits_too(void)
{
	pthread_t reader, poker, self = pthread_self();

	rcu_register_thread();
	(void)signal(SIGUSR1, wait_in_handler);
	(void)pthread_create(&reader, NULL, read_for_long, NULL);
	while (!reading)
		(void)usleep(100);
	(void)pthread_create(&poker, NULL, interrupt, &self);
	synchronize_rcu(); /* until the reader ends; interrupted meanwhile */
}

/* ---- fork while another thread reads ---------------------------------------------------------------------------------------------------- */

static void
fork_beside_reader(void)
{
	pthread_t reader;
	int status;

	rcu_register_thread();
	(void)pthread_create(&reader, NULL, read_for_long, NULL);
	while (!reading)
		(void)usleep(100);
	pid_t child = fork();
	if (child == 0) {
		synchronize_rcu();
		_exit(0);
	}
	(void)waitpid(child, &status, 0);
}

/* ---- start-up ----------------------------------------------------------------------------------------------------------------------------- */

static double
start_once(char **environment)
{
	char *argv[] = {"true", NULL};
	struct timespec from, to;
	int status;
	pid_t child;

	(void)clock_gettime(CLOCK_MONOTONIC, &from);
	if (posix_spawn(&child, "/bin/true", NULL, NULL, argv, environment) != 0)
		exit(1);
	(void)waitpid(child, &status, 0);
	(void)clock_gettime(CLOCK_MONOTONIC, &to);
	return (double)(to.tv_sec - from.tv_sec) * 1e6 + (double)(to.tv_nsec - from.tv_nsec) / 1e3;
}

static int
by_size(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* Pairs, in turn; medians of the differences and of the ratios. */
static void
print_start(const char *library, int pairs)
{
	char preload[512];
	char *with[] = {preload, NULL}, *without[] = {NULL};
	double *difference = calloc((size_t)pairs, sizeof *difference), *ratio = calloc((size_t)pairs, sizeof *ratio);

	(void)snprintf(preload, sizeof preload, "LD_PRELOAD=%s", library);
	for (int i = 0; i < pairs; i++) {
		double plain = start_once(without), loaded = start_once(with);
		difference[i] = loaded - plain;
		ratio[i] = loaded / plain;
	}
	qsort(difference, (size_t)pairs, sizeof *difference, by_size);
	qsort(ratio, (size_t)pairs, sizeof *ratio, by_size);
	printf("%+.0f us, ratio %.2f", difference[pairs / 2], ratio[pairs / 2]);
	free(difference);
	free(ratio);
}

int
main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";

	if (strcmp(what, "keys") == 0)
		print_keys();
	else if (strcmp(what, "membarrier") == 0)
		printf("%s", outcome(deny_and_wait));
	else if (strcmp(what, "jump") == 0)
		printf("%s", outcome(jump_out_of_reader));
	else if (strcmp(what, "handler") == 0)
		printf("%s", outcome(handler_waits_too));
	else if (strcmp(what, "fork") == 0)
		printf("%s", outcome(fork_beside_reader));
	else if (strcmp(what, "start") == 0 && argc == 4)
		print_start(argv[2], atoi(argv[3]));
	else
		return 2;
	return 0;
}
