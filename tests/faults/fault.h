/*
 * fault.h - a kernel that fails by plan: the table lab_os with each call counted, and one of them, all from one on, or
 * all of one kind refused.
 *
 * A call fails in one of two ways. Early: nothing was done. Late: as much was done as os.h allows, or as a kernel does
 * that stops half-way: half of a range is protected, purged, populated or locked; all of it is marked; what is renewed
 * or moved to is another's from then on. Such a range is lost: the plan maps it without access, and no later call of
 * the table may name it.
 */
#ifndef LAB_TESTS_FAULTS_FAULT_H
#define LAB_TESTS_FAULTS_FAULT_H

#include <labyrinth/labyrinth.h>

#include "base/atomic.h"
#include "os/os.h"
#include "require.h"

enum fault_kind {
	FAULT_MAP,
	FAULT_MAP_AT,
	FAULT_MAY_COMMIT,
	FAULT_PROTECT,
	FAULT_PURGE,
	FAULT_POPULATE,
	FAULT_LOCK,
	FAULT_MARK,
	FAULT_RENEW,
	FAULT_EXTEND,
	FAULT_UNMAP,
	FAULT_READ_FILE,
	FAULT_DEATH, /* thread_is_dead: cannot be told */
	FAULT_HAS_THREAD,
	FAULT_ALTERNATE_STACK,
	FAULT_IS_READABLE,
	FAULT_KINDS,
};

enum fault_form {
	FAULT_NONE,
	FAULT_ONCE, /* call k */
	FAULT_FROM, /* call k and all after it */
	FAULT_ALL,  /* all of one kind */
};

struct fault_plan {
	enum fault_form form;
	unsigned long k; /* from 1 */
	enum fault_kind kind;
	bool late;
	unsigned repetitions;
};

enum { FAULT_CALLS = 4096 };

/* Of a run: what the harness tells the process under test, and hears from it. Its forks count in it as well. */
struct fault_run {
	struct fault_plan plan;
	_Atomic bool armed;
	bool disturbed;                                            /* the machine refused something */
	_Atomic uint32_t refused;                                  /* kinds, as bits */
	_Atomic unsigned long calls, failed, of_kind[FAULT_KINDS]; /* since it was last armed */
	_Atomic unsigned nulls;                                    /* the same */
	uint8_t kinds[FAULT_CALLS];                                /* of the calls, from 1 */
	struct lab_stats end;                                      /* when all was over */
};
extern struct fault_run *fault_run;

/* A mapping that forks share, from a file descriptor if that is not -1. */
void fault_share(int fd);

/* Puts the plan between the library and the kernel; once a process. */
void fault_install(void);

/* The plan begins at its call 1; ends. */
void fault_arm(void);
void fault_disarm(void);

/* Whether an allocation may fail now: a call of the table was refused. Counts the answers that it is asked for. */
bool fault_excuses(void);

/* Segments in which ranges were lost so far, or that they were. */
size_t fault_lost(void);

/* Bytes that were mapped through the table and are still. */
size_t fault_mapped(void);

/* Called within each call of the table, before it is made, as a signal handler might be. Calls within it are counted
 * too. */
extern void (*fault_interrupt)(void);

/* After a jump out of it. */
void fault_interrupt_was_left(void);

/* Milliseconds that the clock shows. Looking at it moves it by one, waits by their length. */
extern uint64_t fault_clock;

/* No map of more bytes than this succeeds, plan or not. */
extern size_t fault_map_limit;

const char *fault_kind_name(enum fault_kind kind);

/* Whether the plan lets nobody learn, again and again, that a thread or that a frame is dead: its heap then waits, with
 * what is freed into it. */
bool fault_hides_deaths(void);
bool fault_hides_frames(void);
bool fault_kind_hides_deaths(enum fault_kind kind);

/* Whether the plan lets nothing be unmapped, again and again. */
bool fault_keeps_mappings(void);

/* Whether to fail late is another thing than to fail early. */
bool fault_kind_has_late(enum fault_kind kind);

#endif
