/* background.h - the thread of the setting `background_thread`, which gives memory back and lets the reserve grow while
 * nobody calls. */
#ifndef LAB_ALLOC_BACKGROUND_H
#define LAB_ALLOC_BACKGROUND_H

/* Starts it, if it is asked for: once by the constructor, again in fork's child. */
void lab_background_start(void);

#endif
