/* library.h - the pages of this library that the atomic tier may touch. */
#ifndef LAB_BACKING_LIBRARY_H
#define LAB_BACKING_LIBRARY_H

#include "reserve/bank.h"

/* What is done with a range of whole pages; `write`: the process writes to them. */
typedef void lab_visit_pages(void *context, struct lab_range range, bool write);

/* In a statically linked program those of the reserve's own tables alone. */
void lab_library_visit(lab_visit_pages *visit, void *context);

#endif
