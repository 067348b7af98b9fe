/*
 * lifecycle.h - what has to be done around a fork, by the forking thread: by libc's hooks, and by preload/fork.c around
 * _Fork, which calls no hooks. Any context; async-signal-safe, and cost system calls for the threads and segments that
 * there are.
 */
#ifndef LAB_ALLOC_LIFECYCLE_H
#define LAB_ALLOC_LIFECYCLE_H

#include "base/compiler.h"

void lab_before_fork(void) LAB_HIDDEN;
void lab_after_fork_in_parent(void) LAB_HIDDEN; /* also where the fork failed */
void lab_after_fork_in_child(void) LAB_HIDDEN;

#endif
