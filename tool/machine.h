/* machine.h - what of the system and of a process's limits matters to Labyrinth. */
#ifndef LAB_TOOL_MACHINE_H
#define LAB_TOOL_MACHINE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "findings.h"

/* The kernel's and libc's version, overcommit, huge pages, mappings. */
void machine_check(struct findings *findings);

/* Limits, seccomp filter, and number of mappings of a process; pid 0: this one, whose limits a program gets. */
void machine_check_process(struct findings *findings, pid_t pid);

/* Whether the mapping of a process in which the address lies is locked. */
bool machine_is_locked(pid_t pid, uint64_t address);

#endif
