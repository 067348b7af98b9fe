/* dump.h - figures that are written without being asked for by a call: at exit, by a signal, now and then; and where
 * to. */
#ifndef LAB_ALLOC_DUMP_H
#define LAB_ALLOC_DUMP_H

#include "alloc/settings.h"

/* Opens the file of the setting `stats_file`, or keeps stderr, and installs the handler: by the constructor. What the
 * program may do no more later, as it has dropped its rights, is then done. */
void lab_dump_start(void);

/* In fork's child: a file of its own, where the path has the process id. */
void lab_dump_in_child(void);

void lab_dump_at_exit(void);

/* Writes if the time has come. Outside of every heap; not in a handler that interrupted the allocator. */
void lab_dump_now_and_then(void);

static inline void
lab_dump_poll(void)
{
	if (lab_unlikely(lab_load_rlx(&lab_settings.stats_interval) != 0))
		lab_dump_now_and_then();
}

#endif
