/*
 * kept.h - blocks whose every allocation, resizing and free is judged: a block of the size and alignment that was asked
 * for, or NULL with ENOMEM, and that only while the plan has refused something; errno as it was otherwise; contents as
 * they were left.
 */
#ifndef LAB_TESTS_FAULTS_KEPT_H
#define LAB_TESTS_FAULTS_KEPT_H

#include "fault.h"

struct kept {
	char *p; /* NULL: none */
	size_t size;
	uint64_t seed;
};

/* A block into an empty place. */
void kept_malloc(struct kept *kept, size_t size);
void kept_calloc(struct kept *kept, size_t size); /* all of it is looked at */
void kept_aligned(struct kept *kept, size_t align, size_t size);
void kept_memalign(struct kept *kept, size_t align, size_t size); /* POSIX's */
void kept_gfp(struct kept *kept, size_t size, unsigned gfp);
void kept_pages(struct kept *kept, unsigned order);

/* From an empty place: allocation. */
void kept_realloc(struct kept *kept, size_t size, unsigned gfp);

void kept_check(const struct kept *kept);

/* Nothing for an empty place. */
void kept_free(struct kept *kept);

/* Of any call whose result is a pointer: before, errno is what nobody sets; after, the rule for the answer. */
void kept_begin(void);
void kept_judge(const void *result);

/* The same for calls that answer whether they have done it; errno is not theirs. */
void kept_judge_done(bool done);

#endif
