/* reserve_api.h - what the reserve says of itself. */
#ifndef LAB_ALLOC_RESERVE_API_H
#define LAB_ALLOC_RESERVE_API_H

#include <labyrinth/labyrinth.h>

/* One line on stderr if a reserve was asked for by name and is not strict: in which mode it is, and why. */
void lab_reserve_report(void);

/* "none", "populated only", "strict", "copied by fork". */
const char *lab_reserve_mode_name(enum lab_reserve_mode mode);

#endif
