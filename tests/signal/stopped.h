/*
 * stopped.h - what the parts of the test of stopped threads share: see stopped.c.
 *
 * Threads: the *victim* runs operations and is stopped, killed or sent elsewhere at one instruction; the *driver*
 * (main) decides where and how; two *workers* do what other threads do meanwhile. The process's parent is the
 * *stopper*: a tracer of the victim alone.
 */
#ifndef LAB_TESTS_SIGNAL_STOPPED_H
#define LAB_TESTS_SIGNAL_STOPPED_H

#include <semaphore.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "support.h"

#define KIB ((size_t)1024)
#define MIB (KIB * KIB)

enum { DEADLINE_SECONDS = 200 };

/* ---- operations (stopped_ops.c) ---------------------------------------------------------------------------------- */

struct operation {
	const char *name;
	void (*prepare)(void); /* the victim's, not stepped; NULL: the operation is a newborn thread's first */
	void (*run)(void);     /* stepped */
	size_t most;           /* bytes that one torn run may lose */
	bool inner;            /* run sees to it itself that a part of it is stepped */
	bool (*is_here)(void); /* whether this malloc has it; NULL: all have */
	bool is_finished;      /* others finish it when the thread is killed: no segment is lost */
};
extern const struct operation operations[];
extern const size_t operation_count;

/* Before the first thread is made. */
void operations_start(void);

/* Gives back what the operation that ran last has left, whether it has finished or not; the victim or, if that is dead,
 * the driver. */
void operations_clear(void);

/* After the victim's death: the free that it had not begun is made, by the driver. Of huge blocks only: of others it
 * cannot be told. */
void operations_begin_free(void);

/* In a child of fork: what the victim had made unreadable can be read. */
void operations_untrap(void);

/* ---- the other threads (stopped_work.c) -------------------------------------------------------------------------- */

void workers_start(void);

/* A worker runs the job; await: until it has, at most DEADLINE_SECONDS. */
void worker_order(unsigned worker, void (*job)(void));
void worker_await(unsigned worker);

/* The work of a round: allocate, free, threads born and dying, trim, huge and atomic blocks. The victim's kept blocks
 * are checked and half of them freed. Ends with the workers holding blocks whose contents workers_check looks at. */
void workers_work(void);
void workers_check(void);

/* Blocks of the victim's heap for others: made by the victim; checked and freed by whoever calls. */
void kept_fill(void);
void kept_free(void);

/* What the driver's child of fork does, or the victim's; ends the process. `from_handler`: nothing but malloc is
 * async-signal-safe. */
_Noreturn void live_in_child(void);
void wait_for_child(pid_t child);

/* A few small and large blocks, checked and freed. */
void go_on(void);

/* sem_wait for at most DEADLINE_SECONDS; then the test has failed: `what`. */
void await(sem_t *semaphore, const char *what);

/* ---- which points (stopped_points.c) ----------------------------------------------------------------------------- */

enum points_kind {
	POINTS_STEPS, /* before and after what other threads see at once: locked instructions, system calls */
	POINTS_NEW,   /* instructions that have not been covered */
	POINTS_OTHER, /* repeats, in loops and in other company */
	POINTS_KINDS,
};

/* The instructions of an operation, in order: by offset in the library, and where that is now. */
void points_forget(void);
void points_record(uint32_t offset, uintptr_t address);
size_t points_traced(void);

/* Up to `most` of a kind, evenly spread. */
size_t points_choose(enum points_kind kind, size_t most, const size_t **chosen);

/* Instruction k of the trace. */
struct point {
	uint32_t offset;    /* in the library */
	uint32_t countdown; /* the how manieth time there */
	bool is_call;       /* the first instruction of a function in another object, which is called from `offset` */
};
struct point points_aim(size_t k);

/* Around what is traced, or run up to the point: nothing else may be called in between (stopped.c). */
void watch_on(void);
void watch_off(void);

/* Notes that a round was made there; false: not the first in this mode. */
bool points_cover(uint32_t offset);

/* ---- the stopper (stopped_stopper.c) ----------------------------------------------------------------------------- */

/* Forks; in the child it returns true. In the parent it serves the child until that ends, and returns false, with the
 * wait status. */
bool stopper_fork(int *status);

/* Sends itself here to be stopped: step_divert's argument. Ends when the stopper has set the true address. */
void stopper_spin(void);

/* Stops thread `tid`, which is at stopper_spin, at `address`, all other registers being as they are. False: ptrace is
 * denied. */
bool stopper_stop(pid_t tid, uintptr_t address);

/* Lets it go on, untraced. */
void stopper_release(void);

#endif
