/* profiling.h - when the heap profile begins, and when it is written: by the settings, by a signal, by a call. */
#ifndef LAB_ALLOC_PROFILING_H
#define LAB_ALLOC_PROFILING_H

/* By the constructor: from here on allocations are sampled, if the settings say so. */
void lab_profiling_start(void);

/* At exit: writes the profile, and who holds what is left, if the settings say so. */
void lab_profiling_end(void);

#endif
