/* faults.h - the workloads, by group: a file each. */
#ifndef LAB_TESTS_FAULTS_FAULTS_H
#define LAB_TESTS_FAULTS_FAULTS_H

#include "kept.h"

struct fault_workload {
	const char *name;
	void (*prepare)(void); /* NULL: nothing. Nothing fails in it */
	/* frees all that it allocates; done again when nothing fails any more, everything must succeed */
	void (*run)(void);
	bool spawned; /* in a new program, whose constructors run under the plan */
	bool loses;   /* the contract lets refused calls lose blocks, for ever: each at most a segment */
};

struct fault_group {
	const char *name;
	const struct fault_workload *workloads;
	size_t count;
};

extern const struct fault_group fault_first, fault_blocks, fault_interrupted, fault_memory, fault_threads,
        fault_reserve, fault_exclusive, fault_objects;

/* every.c: an allocation of every kind, all of which succeed: for when nothing is refused any more. */
void fault_every_kind(void);

/* process.c: runs one workload under the plan of fault_run, in this process, and ends it. */
_Noreturn void fault_be_process(const struct fault_workload *workload);

#define FAULT_GROUP(name_, workloads_)                                                                                 \
	{                                                                                                              \
		.name = name_, .workloads = workloads_, .count = sizeof(workloads_) / sizeof *(workloads_)             \
	}

#endif
