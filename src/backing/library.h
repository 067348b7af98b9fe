/* library.h - the pages of this library that the atomic tier may touch. */
#ifndef LAB_BACKING_LIBRARY_H
#define LAB_BACKING_LIBRARY_H

/* Keeps them resident. Nothing in a statically linked program. */
void lab_library_keep(void);

#endif
