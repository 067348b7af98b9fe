/* misuse.h - what reports of misuse say of the block, and who else is told of them. */
#ifndef LAB_ALLOC_MISUSE_H
#define LAB_ALLOC_MISUSE_H

/* From here on reports know blocks, and go to the callback. When the library starts. */
void lab_misuse_start(void);

#endif
