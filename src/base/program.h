/* program.h - what the program that is linked with the library, or runs on it, says of itself. */
#ifndef LAB_BASE_PROGRAM_H
#define LAB_BASE_PROGRAM_H

#include <stdbool.h>

/* Defined by a program that was compiled with a header of labyrinth/kernel. */
extern const char lab_gfp_is_used __attribute__((weak, visibility("default")));

/* Whether it is written in the kernel's style, and so relies on what the kernel's allocators promise. */
static inline bool
lab_program_is_kernels(void)
{
	return &lab_gfp_is_used != 0;
}

#endif
