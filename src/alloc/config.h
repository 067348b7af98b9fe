/* config.h - where the settings come from (docs/tuning.md), and when they are read. */
#ifndef LAB_ALLOC_CONFIG_H
#define LAB_ALLOC_CONFIG_H

#include "base/atomic.h"

/* Where all processes' settings are. */
#define LAB_CONFIG_FILE "/etc/labyrinth.conf"

/* Takes the settings from all sources; what is wrong is reported once and ignored. By one thread at a time. */
void lab_config_read(void);

/* The same, by the constructor, unless it was done. */
void lab_config_start(void);

enum lab_config_state {
	LAB_CONFIG_UNREAD,
	LAB_CONFIG_READING,
	LAB_CONFIG_IS_READ,
};
extern _Atomic uint32_t lab_config_state;

/* The same, by the first call, if it comes before the constructor and there is an environment. Any context: a call that
 * interrupts it, or another thread's, goes on with what there is. */
void lab_config_read_early(void);

static inline void
lab_config_poll(void)
{
	if (lab_unlikely(lab_load_rlx(&lab_config_state) != LAB_CONFIG_IS_READ))
		lab_config_read_early();
}

#endif
