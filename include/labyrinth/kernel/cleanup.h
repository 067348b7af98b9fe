/* cleanup.h - what is freed when its variable goes out of scope: DEFINE_FREE and __free. */
#ifndef LABYRINTH_KERNEL_CLEANUP_H
#define LABYRINTH_KERNEL_CLEANUP_H

#include <labyrinth/kernel/block.h>
#include <labyrinth/kernel/vmalloc.h>

/* Defines what __free(name) does with a variable of `type`, as _T, when it goes out of scope. */
#ifndef DEFINE_FREE
#define DEFINE_FREE(name, type, statement)                                                                             \
	static inline void __free_##name(void *lab_variable)                                                           \
	{                                                                                                              \
		type _T;                                                                                               \
		__builtin_memcpy(&_T, lab_variable, sizeof _T);                                                        \
		statement;                                                                                             \
	}
#endif
#ifndef __free
#define __free(name) __attribute__((__cleanup__(__free_##name)))
#endif

/* The pointer; the variable is NULL from here on. */
static inline void *
lab_take_pointer(void *variable)
{
	void *pointer, *null = NULL;

	__builtin_memcpy(&pointer, variable, sizeof pointer);
	__builtin_memcpy(variable, &null, sizeof null);
	return pointer;
}

#ifndef no_free_ptr
#define no_free_ptr(p) ((__typeof__(p))lab_take_pointer(&(p)))
#endif
#ifndef return_ptr
#define return_ptr(p) return no_free_ptr(p)
#endif
#ifndef retain_and_null_ptr
#define retain_and_null_ptr(p) ((void)lab_take_pointer(&(p)))
#endif

/* A program that makes these itself defines LAB_KERNEL_OWN_FREES, or each as a macro. */
#ifndef LAB_KERNEL_OWN_FREES
/* Neither NULL nor one of the kernel's error pointers, -4095 to -1. */
static inline bool
lab_is_pointer(const void *p)
{
	return (uintptr_t)p - 1 < (uintptr_t)-4096;
}

static inline void
lab_kernel_cleanup(void *variable, void (*release)(const void *p))
{
	void *p;

	__builtin_memcpy(&p, variable, sizeof p);
	if (lab_is_pointer(p))
		release(p);
}

#ifndef __free_kfree
static inline void
__free_kfree(void *variable)
{
	lab_kernel_cleanup(variable, lab_kernel_free);
}
#endif

#ifndef __free_kvfree
static inline void
__free_kvfree(void *variable)
{
	lab_kernel_cleanup(variable, lab_kernel_free);
}
#endif

#ifndef __free_vfree
static inline void
__free_vfree(void *variable)
{
	lab_kernel_cleanup(variable, lab_kernel_free);
}
#endif

#ifndef __free_kfree_sensitive
static inline void
__free_kfree_sensitive(void *variable)
{
	lab_kernel_cleanup(variable, lab_kernel_free_sensitive);
}
#endif
#endif

#endif
