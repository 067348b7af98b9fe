/*
 * target.h - a process that is looked into from outside: its mappings, its memory, and where Labyrinth's roots are in
 * it. Nothing is written there, and it is not stopped. What is read may change meanwhile, or be anything at all.
 */
#ifndef LAB_TOOL_TARGET_H
#define LAB_TOOL_TARGET_H

#include <stdbool.h>
#include <sys/types.h>

#include "alloc/inspect.h"

struct mapping {
	uintptr_t start, end;
	uint64_t offset; /* in the file */
	bool readable;
	char *path; /* "" if there is none */
};

struct target {
	pid_t pid;
	char name[64]; /* comm */
	struct mapping *mappings;
	size_t mapping_count;
	int pagemap; /* a descriptor, or -1 */
	/* Labyrinth's: */
	uintptr_t block_address;
	const char *library; /* the path of what is mapped there */
	struct lab_inspect block;
	uint64_t started_ms; /* CLOCK_MONOTONIC; 0: unknown */
	uint32_t start_pid;
};

enum attached {
	TARGET_IS_OURS, /* runs Labyrinth, of this version */
	TARGET_IS_GONE,
	TARGET_IS_REFUSED, /* no permission */
	TARGET_IS_OTHER,   /* no Labyrinth */
	TARGET_IS_STRANGE, /* another version of it */
	TARGET_IS_EARLY,   /* it has made no heap yet */
};

/* Anything but TARGET_IS_OURS and TARGET_IS_EARLY has one line in *why, for stderr. To be detached in any case. */
enum attached target_attach(struct target *target, pid_t pid, char **why);
void target_detach(struct target *target);

/* Attaches, or says why not and returns false. A process that has made no heap is one that has no figures. */
bool target_attach_or_complain(struct target *target, pid_t pid);

/* All of [address, address + size), or false. */
bool target_read(const struct target *target, uintptr_t address, void *buffer, size_t size);

/* Pages of its mappings, as they were when it was attached. */
size_t target_pages(const struct target *target);

/* Adds to *pages those of [start, end) that are resident, and takes all of them from *most. False: the kernel does not
 * say, or they are more than *most. */
bool target_resident(const struct target *target, uintptr_t start, uintptr_t end, size_t *pages, size_t *most);

#endif
