/*
 * kernel_functions.h - the functions of labyrinth/kernel/support.h, and lab_alloc_pages, found by dlsym in the malloc
 * under test, for programs that are not linked with it.
 */
#ifndef LAB_TESTS_SIGNAL_KERNEL_FUNCTIONS_H
#define LAB_TESTS_SIGNAL_KERNEL_FUNCTIONS_H

#include <labyrinth/kernel/support.h>

extern struct kernel {
	void *(*alloc_pages)(unsigned gfp, unsigned order);
	bool (*get)(void *page);
	bool (*put)(void *page);
	bool (*put_order)(void *page, unsigned order);
	unsigned (*count)(const void *page);
	bool (*let_go)(void *block);
	void (*put_exact)(void *block, size_t size);
	bool (*split)(void *pages, unsigned order);
	void *(*percpu_alloc)(size_t size, size_t align, unsigned gfp);
	void (*percpu_free)(void *instance);
	unsigned (*processors)(void);
	bool (*shrinker_add)(size_t (*shrink)(unsigned gfp, void *context), void *context);
	void (*shrinker_remove)(size_t (*shrink)(unsigned gfp, void *context), void *context);
} kernel;

/* False: the malloc under test has none of these. */
bool find_kernel_functions(void);

#endif
