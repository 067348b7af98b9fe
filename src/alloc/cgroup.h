/* cgroup.h - the memory limit of the process's control group. */
#ifndef LAB_ALLOC_CGROUP_H
#define LAB_ALLOC_CGROUP_H

#include <stddef.h>

/* The least memory.max of this process's cgroup (v2) and those above it, in bytes; SIZE_MAX if there is none. */
size_t lab_cgroup_limit(void);

#endif
