/*
 * filter.h - seccomp filters that a program installs late, when it has allocated already. They hold for all threads of
 * the process, and for its children, until its end.
 */
#ifndef LAB_TESTS_LIMITS_FILTER_H
#define LAB_TESTS_LIMITS_FILTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Code in [from, to); {0, 0}: all code. */
struct filter_range {
	uintptr_t from, to;
};

/* These system calls, made by code in a range, fail with an errno. False: no filter can be installed here. */
bool filter_refuse(struct filter_range range, const int *calls, size_t count, int error);

/* All others than these, made by code in a range, kill the process; so do tkill and tgkill with a signal. */
bool filter_allow(struct filter_range range, const int *calls, size_t count);

/* For call `number` made by code in a range: SIGSYS to the caller. */
bool filter_trap(struct filter_range range, int number);

/* The text of the library under test. */
struct filter_range filter_library(void);

#endif
