/* process.h - processes: what the kernel says of this one, children, and this program begun anew. On top of
 * tests/signal/support.h. */
#ifndef LAB_TESTS_LIMITS_PROCESS_H
#define LAB_TESTS_LIMITS_PROCESS_H

#include "support.h"

enum { SKIPPED = 77 }; /* meson's status for "cannot run here" */

/* A figure of /proc/self/status in bytes, by its name with the colon; lines of /proc/self/maps. 0: not to be had. */
size_t process_status(const char *name);
size_t process_mappings(void);

/* Runs the body in a child, which must end well; what it must end with is 0 or SKIPPED. True: it was 0. */
bool process_in_child(void (*body)(void *argument), void *argument);

/* Becomes this program anew, on the same library, with a variable more (NAME=value) in its environment, whoever it has
 * become and whatever paths it may no longer read. Returns if that is refused. For a child; process_prepare before, by
 * who may read all. */
void process_prepare(void);
void process_again(const char *variable);

#endif
