/*
 * support.h - what the kernel's names (labyrinth/gfp.h) need of the library beyond labyrinth.h. As there: failure is
 * NULL with errno = ENOMEM, any context unless a function says otherwise, and no call takes a lock.
 */
#ifndef LABYRINTH_KERNEL_SUPPORT_H
#define LABYRINTH_KERNEL_SUPPORT_H

#include <labyrinth/labyrinth.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- scopes ------------------------------------------------------------------------------------------------------ */

/*
 * Gives all KERNEL and NOWAIT calls of the thread the modifiers NOIO, NOFS, MEMALLOC and NORECLAIM, those that `gfp`
 * has. Returns those that they did not have before, for lab_scope_leave. Scopes nest; a jump out of one leaves it
 * entered. A handler's calls have the scope of the thread that it interrupts.
 */
unsigned lab_scope_enter(unsigned gfp);
void lab_scope_leave(unsigned entered);
unsigned lab_scope(void); /* those that the thread has */

/* ---- shrinkers --------------------------------------------------------------------------------------------------- */

/*
 * `shrink` is called by a KERNEL call that the limit stops, before it waits: it frees what it can do without, and
 * returns something that is not 0 if that was anything. gfp: NOIO and NOFS as the stopped call has them. It may
 * allocate, what must not fail excepted; its own calls do not reclaim. One call at a time of each. False: no memory, or
 * `shrink` is NULL. Not left by a jump. KERNEL contexts.
 */
bool lab_shrinker_add(size_t (*shrink)(unsigned gfp, void *context), void *context);

/* When it returns, no call of this one is under way, but one that this thread is inside. Waits for another thread's. */
void lab_shrinker_remove(size_t (*shrink)(unsigned gfp, void *context), void *context);

/* ---- pages ------------------------------------------------------------------------------------------------------- */

/*
 * Counts of pages: a block of lab_alloc_pages has one reference, and each lab_page_get adds one to its first page.
 * lab_page_put takes one away, and frees the block with the last; false: it was not the last. 2^17 references or more
 * stay for ever, as in the kernel. False of lab_page_get: the system refuses to map memory for the count, as it is
 * asked to when 512 pages have been counted, and then at each doubling. O(1).
 */
bool lab_page_get(void *page);
bool lab_page_put(void *page);
/* The same, of a block of 2^order pages, which is checked as in lab_free_pages. */
bool lab_page_put_order(void *page, unsigned order);
/* For what frees a block that starts at a page otherwise, as kfree: takes one reference away, and of a block that was
 * split one of each page. True: it was the last, and the caller frees the block. Says nothing of what is no block. */
bool lab_page_let_go(void *block);
/* lab_free_pages_exact, as far as references go: of a block that was split, one of each of the pages that `size` says;
 * of another one the block's. */
void lab_page_put_exact(void *block, size_t size);
unsigned lab_page_count(const void *page); /* 1: nobody has got it since it was allocated */

/* From here on the 2^order pages of the block are counted and given back one by one, by lab_page_put. The memory is
 * free when the last one is. False: no memory for it, and the block is as it was. O(2^order). */
bool lab_page_split(void *pages, unsigned order);

/* ---- one instance for each processor ----------------------------------------------------------------------------- */

/* From a processor's instance to the next one's. */
#define LAB_PERCPU_STRIDE ((size_t)32 << 10)

/* The instance of processor 0; those of the others follow, LAB_PERCPU_STRIDE apart. Zeroed. NULL: no memory, more than
 * LAB_PERCPU_STRIDE bytes, or an alignment above a page. gfp: KERNEL, or another with which only what was mapped
 * before is had. O(size) for each processor. */
void *lab_percpu_alloc(size_t size, size_t align, unsigned gfp);
void lab_percpu_free(void *instance);
unsigned lab_percpu_count(void);   /* processors that there may be: their numbers are less */
unsigned lab_percpu_current(void); /* the processor that the thread runs on, now */

/* ---- faults on purpose ------------------------------------------------------------------------------------------- */

/* Which calls of a program that was compiled with CONFIG_FAILSLAB get NULL. As the kernel's failslab. */
struct lab_faults {
	unsigned interval;       /* every n-th call is considered; 0 and 1: each */
	unsigned probability;    /* percent of these */
	size_t space;            /* so many bytes are allocated first */
	unsigned times;          /* so many failures at most; UINT_MAX: no bound */
	const void *start, *end; /* code from which it is called; both NULL: any */
	bool only_atomic;        /* calls that may block do not fail */
};

/* NULL: none from here on. Begins to count anew. LABYRINTH_FAULTS sets the first four at the start. Not at the same
 * time as itself. */
void lab_faults_set(const struct lab_faults *faults);
size_t lab_faults_made(void); /* so far */

/* Whether the call from which this is called is to fail. */
bool lab_fault(size_t size, unsigned gfp);

#ifdef __cplusplus
}
#endif
#endif
